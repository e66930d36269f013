//! Where the workspace and its build output are, and how to call cargo on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The workspace's root folder: the parent of this crate's, as cargo says, or where we are without cargo.
pub(crate) fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    own.as_deref().and_then(Path::parent).map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// `cargo`, the one that runs us, started in the workspace root.
///
/// Cargo's own variables about *this* package are withheld, so that a child cargo sees the same environment as one
/// typed by hand and nothing is rebuilt in between.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    for (name, _) in std::env::vars_os() {
        let own =
            name.to_str().is_some_and(|n| n.starts_with("CARGO_PKG_") || n.starts_with("CARGO_MANIFEST_"));
        if own {
            command.env_remove(name);
        }
    }
    command
}

/// `cargo metadata`; the dependency graph as built on this machine, or the members only.
pub(crate) fn metadata(with_dependencies: bool) -> Result<Value> {
    let mut command = cargo();
    command.args(["metadata", "--format-version", "1"]);
    if !with_dependencies {
        command.arg("--no-deps");
    } else if let Some(host) = host() {
        command.args(["--filter-platform", &host]);
    }
    let output = command.stderr(Stdio::inherit()).output().context("cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata ended with {}", output.status);
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata printed something that is not JSON")
}

/// The platform's name in rustc's words.
fn host() -> Option<String> {
    let output = Command::new("rustc").arg("-vV").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().find_map(|line| line.strip_prefix("host: ")).map(String::from)
}

/// The folder that cargo builds into (`CARGO_TARGET_DIR` where set).
pub(crate) fn target_dir() -> Result<PathBuf> {
    let metadata = metadata(false)?;
    metadata["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .context("cargo metadata names no target_directory")
}

/// Builds all binaries in the dev profile (which is optimised); the folder that holds them.
///
/// The whole workspace at once and with the features that the tests switch on, as the tests do: otherwise every member
/// would be compiled a second time. The features add functions that no binary calls.
pub(crate) fn build_binaries() -> Result<PathBuf> {
    let features = "minicube/testing,minicube-s3/testing,minicube-tiff/testing";
    let arguments = ["build", "--workspace", "--bins", "--locked", "--features", features];
    run(cargo().args(arguments), "cargo build")?;
    Ok(target_dir()?.join("debug"))
}

/// Runs a command to its end with inherited output; an error unless it succeeds.
pub(crate) fn run(command: &mut Command, what: &str) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("{what}: could not start"))?;
    if !status.success() {
        bail!("{what} ended with {status}");
    }
    Ok(())
}

/// The full path of a program on `PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|candidate| candidate.is_file())
}
