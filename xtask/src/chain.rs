//! The six stages in order, and how one is run: a process, its log, what its `run.json` says it did.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::child::{quote_tail, spawn};
use crate::failure::fail;
use crate::workspace;

/// One link of the chain.
pub(crate) struct Stage {
    /// Package and binary.
    pub(crate) bin: &'static str,
    /// Its section in the project file.
    pub(crate) section: &'static str,
    /// Its folder in the project; `run.json` lies there or one level below.
    pub(crate) folder: &'static str,
    /// What it does, for people.
    pub(crate) verb: &'static str,
}

/// All stages, upstream first.
pub(crate) const CHAIN: [Stage; 6] = [
    Stage { bin: "x1-sampler", section: "sampler", folder: "sampler", verb: "choosing places" },
    Stage { bin: "x2-downloader", section: "download", folder: "raw", verb: "fetching" },
    Stage { bin: "x3-level1", section: "level1", folder: "level1", verb: "harmonising" },
    Stage { bin: "x4-level2", section: "level2", folder: "level2", verb: "filling gaps, deriving" },
    Stage { bin: "x5-dl", section: "train", folder: "models", verb: "training and forecasting" },
    Stage { bin: "csp", section: "explain", folder: "explain", verb: "explaining" },
];

/// What one stage did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) stage: String,
    /// Work units: locations, files, cubes, models.
    pub(crate) items: usize,
    /// Units that ended as failed.
    pub(crate) failed: usize,
    /// Wall time of the process.
    pub(crate) seconds: f64,
    /// Size of the stage's folder afterwards.
    pub(crate) bytes: u64,
    pub(crate) peak_rss_bytes: u64,
}

impl Stage {
    /// The stage's manifests in a project: `<folder>/run.json`, else `<folder>/*/run.json`, sorted.
    pub(crate) fn manifests(&self, project: &Path) -> Vec<PathBuf> {
        self.files(project, "run.json")
    }

    /// The stage's report pages in a project.
    pub(crate) fn reports(&self, project: &Path) -> Vec<PathBuf> {
        self.files(project, "report.html")
    }

    fn files(&self, project: &Path, name: &str) -> Vec<PathBuf> {
        let folder = project.join(self.folder);
        let below =
            fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path().join(name));
        let mut files: Vec<_> =
            std::iter::once(folder.join(name)).chain(below).filter(|f| f.is_file()).collect();
        files.sort();
        files
    }

    /// True when the stage left at least one manifest and every output that its manifests name is there.
    pub(crate) fn outputs_exist(&self, project: &Path) -> bool {
        let manifests = self.manifests(project);
        let complete = |manifest: &PathBuf| -> Option<bool> {
            let value = read_json(manifest).ok()?;
            // A manifest's paths count from the folder above its own.
            let base = manifest.parent()?.parent()?;
            let there = |path: &str| base.join(path).exists();
            Some(value["outputs"].as_array()?.iter().all(|o| o["path"].as_str().is_some_and(there)))
        };
        !manifests.is_empty() && manifests.iter().all(|m| complete(m) == Some(true))
    }

    /// Runs the stage on a project and reads what it did.
    ///
    /// Its output goes to `<project>/logs/<bin>.log`.
    ///
    /// # Errors
    /// Where the process cannot start or ends with a code other than 0 and 1 (finished with gaps).
    pub(crate) fn run(&self, bins: &Path, config: &Path, project: &Path) -> Result<Row> {
        let mut command = Command::new(bins.join(self.bin));
        command.arg("run").arg("--config").arg(config).arg("--dir").arg(project);
        let start = Instant::now();
        let (mut child, log) = spawn(&mut command, &project.join("logs"), self.bin)?;
        let status = child.wait()?;
        let seconds = start.elapsed().as_secs_f64();
        match status.code() {
            Some(0 | 1) => self.row(project, seconds),
            _ => Err(fail(
                format!("{} ended with {status}{}", self.bin, quote_tail(&log)),
                format!(
                    "its whole output is in {}; the same command resumes after the repair",
                    log.display()
                ),
            )),
        }
    }

    /// Lets the stage read back and prove what it wrote.
    ///
    /// # Errors
    /// Where it finds a fault.
    pub(crate) fn verify(&self, bins: &Path, config: &Path, project: &Path) -> Result<()> {
        let mut command = Command::new(bins.join(self.bin));
        command.arg("verify").arg("--config").arg(config).arg("--dir").arg(project);
        workspace::run(&mut command, &format!("{} verify", self.bin))
    }

    /// What the stage's manifests say, with the wall time given.
    pub(crate) fn row(&self, project: &Path, seconds: f64) -> Result<Row> {
        let mut row = Row {
            stage: self.bin.to_string(),
            items: 0,
            failed: 0,
            seconds,
            bytes: folder_bytes(&project.join(self.folder)),
            peak_rss_bytes: 0,
        };
        let manifests = self.manifests(project);
        if manifests.is_empty() {
            return Err(fail(
                format!("{} left no run.json under {}", self.bin, project.join(self.folder).display()),
                "it may have been built from older sources: run cargo build",
            ));
        }
        for path in manifests {
            let manifest = read_json(&path)?;
            let outcomes = manifest["outcomes"].as_array().map(Vec::as_slice).unwrap_or_default();
            row.items += outcomes.len();
            row.failed += outcomes.iter().filter(|o| o["status"] == "failed").count();
            row.peak_rss_bytes = row.peak_rss_bytes.max(manifest["peak_rss_bytes"].as_u64().unwrap_or(0));
        }
        Ok(row)
    }
}

/// Size of all files below a folder.
fn folder_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => folder_bytes(&entry.path()),
        _ => entry.metadata().map_or(0, |meta| meta.len()),
    };
    entries.map(size).sum()
}

/// Reads a JSON file.
pub(crate) fn read_json(path: &Path) -> Result<Value> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&bytes).with_context(|| format!("{}: not JSON", path.display()))
}
