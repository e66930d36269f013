//! The chain at test size, and Python's view of its files: other people's readers must see our values.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::chain::CHAIN;
use crate::demo::{region, run_regions};
use crate::workspace::{build_binaries, root, run, target_dir};
use crate::{index, python};

/// Port of the test's synthetic Earth: not the demo's, so that both can run.
const PORT: u16 = 8927;

/// Runs the whole chain on a few cubes, from scratch; the project's folder.
///
/// A second run has to find nothing to do, and every stage has to prove its output.
pub(crate) fn small_chain() -> Result<PathBuf> {
    let out = target_dir()?.join("small-chain");
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| out.display().to_string())?;
    }
    fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    let small = region("small", &root().join("tests/interop/small.toml"), PORT, &out)?;
    let folder = small.folder.clone();
    let regions = [small];
    let bins = build_binaries()?;
    let done = run_regions(&regions, &bins, PORT, &out, &[])?;
    index::write(&out, &regions, &done.rows)?;
    let failed: usize = done.rows.iter().map(|(_, row)| row.failed).sum();
    ensure!(failed == 0, "{failed} work units of the small chain failed; see {}", folder.display());
    let again = run_regions(&regions, &bins, PORT, &out, &[])?;
    ensure!(again.ran == 0, "a second run found {} stages to do", again.ran);
    for stage in &CHAIN {
        stage.verify(&bins, &folder.join("project.toml"), &folder)?;
    }
    compare_with_truth(&bins, &folder)?;
    Ok(folder)
}

/// Holds a project's Level 2 against the synthetic Earth that it came from.
pub(crate) fn compare_with_truth(bins: &Path, project: &Path) -> Result<()> {
    run(Command::new(bins.join("testworld")).arg("compare").arg(project.join("level2")), "testworld compare")
}

/// Folder of the small chain's project, made when a test is run by itself.
pub(crate) fn small_chain_folder() -> Result<PathBuf> {
    let folder = target_dir()?.join("small-chain/small");
    if folder.join("explain").is_dir() { Ok(folder) } else { small_chain() }
}

/// Runs every `tests/interop/check_*.py` on a project.
pub(crate) fn check(project: &Path) -> Result<()> {
    let folder = root().join("tests/interop");
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut scripts: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("check_")))
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .collect();
    scripts.sort();
    ensure!(!scripts.is_empty(), "no check_*.py in {}", folder.display());
    let bins = build_binaries()?;
    for script in scripts {
        let name = script.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut check = python::script(&script, &folder.join("common.py"))?;
        run(check.arg(project).env("MINICUBE_BINARIES", &bins), &name)?;
    }
    Ok(())
}
