//! Child processes that outlive nothing: output in a log, process id in a file, leftovers of a killed run ended first.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

/// Starts a command whose output goes to `<folder>/<name>.log`; the log's path comes with it.
///
/// If an earlier run was killed, its child of this name may still be there and would write to the same files: it is
/// ended first.
pub(crate) fn spawn(command: &mut Command, folder: &Path, name: &str) -> Result<(Child, PathBuf)> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    end_leftover(folder, name);
    let log = folder.join(format!("{name}.log"));
    let out = File::create(&log).with_context(|| log.display().to_string())?;
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    let child = command.spawn().with_context(|| format!("{name}: could not start"))?;
    let pid_file = pid_file(folder, name);
    fs::write(&pid_file, child.id().to_string()).with_context(|| pid_file.display().to_string())?;
    Ok((child, log))
}

/// The last lines of a log, indented below a message.
pub(crate) fn quote_tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(6)..].iter().map(|line| format!("\n    {line}")).collect()
}

/// Ends the process of an earlier run, if it is still alive and still the same program.
pub(crate) fn end_leftover(folder: &Path, name: &str) {
    let Ok(pid) = fs::read_to_string(pid_file(folder, name)) else { return };
    let program = || fs::read_link(format!("/proc/{pid}/exe")).ok();
    // A program that was rebuilt meanwhile is called "<name> (deleted)".
    let alive = || program().and_then(|p| Some(p.file_name()?.to_str()?.starts_with(name))) == Some(true);
    if pid.parse::<u32>().is_err() || !alive() {
        return;
    }
    println!("ending {name} (process {pid}), left by a killed run");
    let _ = Command::new("kill").args(["-KILL", &pid]).status();
    for _ in 0..50 {
        if !alive() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn pid_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.pid"))
}
