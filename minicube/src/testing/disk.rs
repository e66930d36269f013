//! A disk of a few kibibytes for a program's output, so that "no space left on device" is real.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Error;
use crate::files::{append_suffix, list_files};

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Its exit code.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it printed as errors.
    pub stderr: String,
}

/// A program that met a full disk, and was run again once there was room.
#[derive(Clone, Debug)]
pub struct FullDisk {
    /// The run without enough room.
    pub first: Attempt,
    /// A copy of what the first run left on the disk.
    pub left: PathBuf,
    /// The run on the same disk, grown.
    pub second: Attempt,
    /// Where the disk was; now a copy of what the second run left on it.
    pub folder: PathBuf,
}

/// Mounts a small disk on a folder, runs the command, grows the disk, runs the command again. Nobody else sees the
/// disk, and it goes when the shell ends; so both states are copied.
const SCRIPT: &str = r#"
disk=$1 kib=$2 notes=$3
shift 3
mount -t tmpfs -o size="${kib}k" minicube "$disk" || exit 1
"$@" >"$notes/first.stdout" 2>"$notes/first.stderr"
echo $? >"$notes/first.code"
cp -R "$disk" "$notes/left" && mount -t tmpfs -o remount,size=1g minicube "$disk" || exit 1
"$@" >"$notes/second.stdout" 2>"$notes/second.stderr"
echo $? >"$notes/second.code"
cp -R "$disk" "$notes/done"
"#;

/// Runs `command` twice with a disk mounted on `folder` that is empty at first: of `kib` kibibytes, then of plenty. The
/// folder then holds what the second run left, in place of all that was there before. `Ok(None)` where this system lets
/// nobody mount, which a test says in a line of its own.
///
/// # Errors
/// [`Error::Io`] if `unshare` (util-linux) cannot be started or a folder cannot be made.
///
/// # Panics
/// If mounts are refused although the environment variable CI is `true`.
pub fn on_full_disk(folder: &Path, kib: u64, command: &Command) -> Result<Option<FullDisk>, Error> {
    let notes = append_suffix(folder, ".disk");
    let mut refusal = String::new();
    // As root; else as root of a user namespace.
    for rights in [["--mount"].as_slice(), &["--mount", "--map-root-user"]] {
        for empty in [&notes, folder] {
            if empty.exists() {
                fs::remove_dir_all(empty).map_err(Error::io(empty, "remove"))?;
            }
            fs::create_dir_all(empty).map_err(Error::io(empty, "create"))?;
        }
        let mut shell = Command::new("unshare");
        shell.args(rights).args(["sh", "-c", SCRIPT, "sh"]).arg(folder).arg(kib.max(4).to_string());
        shell.arg(&notes).arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(key, value),
                None => shell.env_remove(key),
            };
        }
        if let Some(place) = command.get_current_dir() {
            shell.current_dir(place);
        }
        let output = shell.output().map_err(Error::io(Path::new("unshare"), "start"))?;
        refusal = String::from_utf8_lossy(&output.stderr).into_owned();
        if notes.join("first.code").exists() {
            assert!(output.status.success(), "the disk cannot be grown or copied: {refusal}");
            fs::remove_dir(folder).map_err(Error::io(folder, "remove"))?;
            fs::rename(notes.join("done"), folder).map_err(Error::io(folder, "rename"))?;
            return Ok(Some(FullDisk {
                first: attempt(&notes, "first")?,
                left: notes.join("left"),
                second: attempt(&notes, "second")?,
                folder: folder.to_owned(),
            }));
        }
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "no disk can be mounted: {refusal}");
    Ok(None)
}

fn attempt(notes: &Path, name: &str) -> Result<Attempt, Error> {
    let read = |end: &str| {
        let path = notes.join(format!("{name}.{end}"));
        let bytes = fs::read(&path).map_err(Error::io(&path, "read"))?;
        Ok::<_, Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    let code = read("code")?.trim().parse().unwrap_or(-1);
    Ok(Attempt { code, stdout: read("stdout")?, stderr: read("stderr")? })
}

/// Room that the files below a folder take on a disk with pages of 4 KiB, in kibibytes.
///
/// # Errors
/// [`Error::Io`] if a folder or file cannot be read.
pub fn kib_on_disk(folder: &Path) -> Result<u64, Error> {
    let mut files = Vec::new();
    list_files(folder, &mut files)?;
    let sizes = files.iter().map(|file| fs::metadata(file).map_err(Error::io(file, "read")));
    sizes.map(|size| Ok(size?.len().div_ceil(4096) * 4)).sum()
}

impl FullDisk {
    /// Panics unless the first run ended with code 1 or 2, one `error:` line that says which file met the full disk
    /// and one `hint:` line, and the second run with code 0. Gives the `error:` line.
    ///
    /// # Panics
    /// If one of that is not so.
    pub fn assert_told(&self) -> &str {
        let text = &self.first.stderr;
        assert!([1, 2].contains(&self.first.code), "code {}: {text}", self.first.code);
        let lines = |start: &str| text.lines().filter(|line| line.starts_with(start)).collect::<Vec<_>>();
        let (errors, hints) = (lines("error: "), lines("hint: "));
        assert!(errors.len() == 1 && hints.len() == 1, "expected one error and one hint: {text}");
        assert!(errors[0].contains("space left") || errors[0].contains("storage space"), "{text}");
        let disk = self.folder.display().to_string();
        assert!(errors[0].contains(&disk), "no file on the disk is named: {text}");
        assert!(hints[0].contains("the disk is full"), "{text}");
        assert_eq!(self.second.code, 0, "with room: {}{}", self.second.stdout, self.second.stderr);
        errors[0]
    }

    /// Panics if a file that the first run left under its final name is not what the second run left there: then it
    /// was not whole. Files whose path holds one of `changing` may change.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read.
    ///
    /// # Panics
    /// If a file changed.
    pub fn assert_whole(&self, changing: &[&str]) -> Result<(), Error> {
        let mut files = Vec::new();
        list_files(&self.left, &mut files)?;
        for path in files {
            let name = path.strip_prefix(&self.left).unwrap_or(&path).to_string_lossy().into_owned();
            if name.contains(".partial") || changing.iter().any(|part| name.contains(part)) {
                continue;
            }
            let read = |path: &Path| fs::read(path).map_err(Error::io(path, "read"));
            let (before, after) = (read(&path)?, read(&self.folder.join(&name))?);
            assert!(before == after, "{name} stood there with {} of {} bytes", before.len(), after.len());
        }
        Ok(())
    }
}
