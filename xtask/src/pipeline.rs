//! `cargo xtask pipeline`: the chain for any project file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::chain::{CHAIN, Stage};
use crate::failure::fail;
use crate::setup;
use crate::workspace::build_binaries;

/// Flags of `pipeline`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Project file
    #[arg(long)]
    config: PathBuf,
    /// Project folder, instead of the file's `[project] dir`
    #[arg(long)]
    dir: Option<PathBuf>,
    /// First stage to run: a binary's name or its section
    #[arg(long)]
    from: Option<String>,
    /// Last stage to run
    #[arg(long)]
    to: Option<String>,
    /// Only print the stages' plans
    #[arg(long)]
    plan: bool,
}

/// Runs `pipeline`: exit 1 when a stage finished with gaps, 2 as soon as one cannot run.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let stages = stages(&args.config, args.from.as_deref(), args.to.as_deref())?;
    setup::ensure(false)?;
    let bins = build_binaries()?;
    let mut gaps = false;
    for stage in stages {
        println!("── {} ({})", stage.bin, stage.verb);
        let mut command = Command::new(bins.join(stage.bin));
        command.arg(if args.plan { "plan" } else { "run" }).arg("--config").arg(&args.config);
        if let Some(dir) = &args.dir {
            command.arg("--dir").arg(dir);
        }
        let status = command
            .stdin(Stdio::null())
            .status()
            .with_context(|| format!("{}: could not start", stage.bin))?;
        match status.code() {
            Some(0) => {}
            Some(1) => gaps = true,
            _ => {
                let again = format!("after the repair, go on with --from {}", stage.bin);
                return Err(fail(format!("{} ended with {status}", stage.bin), again));
            }
        }
    }
    Ok(if gaps { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Asks every stage for its plan of every project file under `configs/`.
///
/// The stage that owns a section checks its keys, types and ranges. A plan that stops later, because there is no
/// network or no earlier stage's output here, is as good as one that does not: only remarks on the file count.
///
/// # Errors
/// Lists the files that a stage refuses.
pub(crate) fn check_shipped_configs() -> Result<()> {
    let bins = build_binaries()?;
    let mut refused = Vec::new();
    for config in shipped_configs()? {
        for stage in stages(&config, None, None)? {
            let empty = std::env::temp_dir().join(format!("minicube-plan-{}", std::process::id()));
            let mut plan = Command::new(bins.join(stage.bin));
            plan.args(["plan", "--config"]).arg(&config).arg("--dir").arg(&empty).stdin(Stdio::null());
            let output = plan.output().with_context(|| format!("{}: could not start", stage.bin))?;
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.code() == Some(2) && message.contains(&*config.to_string_lossy()) {
                refused.push(format!("{} refuses {}: {}", stage.bin, config.display(), message.trim()));
            }
            let _ = fs::remove_dir_all(&empty);
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    Err(fail(refused.join("\n"), "each crate's src/config.rs documents the keys of its section"))
}

fn shipped_configs() -> Result<Vec<PathBuf>> {
    let folder = crate::workspace::root().join("configs");
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    Ok(files)
}

/// The stages whose section the file has, between `from` and `to`.
pub(crate) fn stages(config: &Path, from: Option<&str>, to: Option<&str>) -> Result<Vec<&'static Stage>> {
    let text = fs::read_to_string(config).map_err(|error| {
        fail(format!("{}: {error}", config.display()), "see configs/ for complete project files")
    })?;
    let table: toml::Table = text
        .parse()
        .map_err(|error| fail(format!("{}: {error}", config.display()), "TOML: https://toml.io"))?;
    let first = from.map_or(Ok(0), position)?;
    let last = to.map_or(Ok(CHAIN.len() - 1), position)?;
    let chosen: Vec<_> =
        CHAIN.iter().take(last + 1).skip(first).filter(|stage| table.contains_key(stage.section)).collect();
    if chosen.is_empty() {
        let sections: Vec<_> = CHAIN.iter().map(|stage| format!("[{}]", stage.section)).collect();
        let hint = format!("a stage runs when its section is in the file: {}", sections.join(" "));
        return Err(fail(format!("{}: no stage to run", config.display()), hint));
    }
    Ok(chosen)
}

fn position(name: &str) -> Result<usize> {
    CHAIN.iter().position(|stage| stage.bin == name || stage.section == name).ok_or_else(|| {
        let names: Vec<_> = CHAIN.iter().map(|stage| stage.bin).collect();
        fail(format!("no stage is named {name}"), format!("stages: {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(text: &str, from: Option<&str>, to: Option<&str>) -> Result<Vec<&'static str>> {
        let file =
            std::env::temp_dir().join(format!("xtask-pipeline-{}-{:x}.toml", std::process::id(), text.len()));
        fs::write(&file, text)?;
        let found = stages(&file, from, to).map(|stages| stages.iter().map(|s| s.bin).collect());
        fs::remove_file(&file)?;
        found
    }

    #[test]
    fn only_stages_with_a_section_run() {
        let text = "[project]\nname='x'\n[train]\n[level2]\n[explain]\n";
        assert_eq!(chosen(text, None, None).unwrap(), ["x4-level2", "x5-dl", "csp"]);
        assert_eq!(chosen(text, Some("x5-dl"), None).unwrap(), ["x5-dl", "csp"]);
        assert_eq!(chosen(text, None, Some("train")).unwrap(), ["x4-level2", "x5-dl"]);
    }

    #[test]
    fn nothing_to_run_is_an_error() {
        assert!(chosen("[project]\n", None, None).is_err());
        assert!(chosen("[train]\n", Some("nosuch"), None).is_err());
    }
}
