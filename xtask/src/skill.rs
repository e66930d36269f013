//! `cargo xtask bench skill`: forecasters on the synthetic Earth against the baselines, and against each other where a
//! pixel's surroundings tell of it (natural landscape, and one with ground water) and where they do not (scattered).
//!
//! What it made stays in the target folder: a second run goes on where the first one was, and has nothing to do at last.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::bench::Line;
use crate::demo::{region, run_regions};
use crate::failure::fail;
use crate::workspace::{build_binaries, root, target_dir};

/// Port of its synthetic Earth.
const PORT: u16 = 8947;
/// Names of the landscapes, as `testworld serve` takes them, and of the project files for them.
const LANDSCAPES: [(&str, &str); 3] =
    [(NATURAL, "skill-natural"), ("ground-water", "skill-surroundings"), ("scattered", "skill-surroundings")];
const NATURAL: &str = "natural";
const BASELINES: [&str; 2] = ["persistence", "climatology"];

/// What is read of `scores.json`.
#[derive(Deserialize)]
struct Scores {
    scores: Vec<Score>,
}

#[derive(Deserialize)]
struct Score {
    split: String,
    forecaster: String,
    samples: usize,
    kndvi: Option<Errors>,
}

#[derive(Deserialize)]
struct Errors {
    mae: f64,
}

/// Mean absolute error of kNDVI of each model beside each baseline and, of an RNN, beside those that see or are told less.
pub(crate) fn skill() -> Result<Vec<Line>> {
    let bins = build_binaries()?;
    let mut lines = Vec::new();
    for (landscape, file) in LANDSCAPES {
        let out = target_dir()?.join("bench-skill").join(landscape);
        fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
        let template = root().join("tests/bench").join(file).with_extension("toml");
        let regions = [region("skill", &template, PORT, &out)?];
        run_regions(&regions, &bins, PORT, &out, &["--landscape", landscape])?;
        let folder = &regions[0].folder;
        let found = found(&folder.join("models"))?;
        for model in found.iter().filter(|one| !BASELINES.contains(&one.forecaster.as_str())) {
            let there = |rival: &&&str| found.iter().any(|one| one.forecaster == **rival);
            let rivals: &[&str] = match model.forecaster.as_str() {
                "context_rnn" => &["rnn", "blind_rnn"],
                "rnn_told" | "blind_rnn" => &["rnn"],
                _ => &[],
            };
            for rival in BASELINES.iter().chain(rivals.iter().filter(there)) {
                let named = found.iter().filter(|one| one.split == model.split && one.forecaster == *rival);
                // A baseline of the model's own variables, before one of another model's.
                let peer = named.max_by_key(|one| one.file == model.file).map(|one| one.mae);
                lines.push(Line {
                    name: format!("skill/{landscape}/{}/{} against {rival}", model.split, model.forecaster),
                    ours: Some(model.mae),
                    peer,
                    ratio: peer.map(|peer| model.mae / peer),
                    unit: "MAE kNDVI".into(),
                    note: format!("{} samples scored", model.samples),
                });
            }
        }
        let mut compare = Command::new(bins.join("x5-dl"));
        compare.arg("compare").arg("--config").arg(folder.join("project.toml")).arg("--dir").arg(folder);
        let told = compare.stdin(Stdio::null()).output().context("x5-dl compare: could not start")?;
        ensure!(told.status.success(), "x5-dl compare: {}", String::from_utf8_lossy(&told.stderr));
        for line in String::from_utf8_lossy(&told.stdout).lines().filter(|line| line.contains(" over ")) {
            eprintln!("   {landscape}: {line}");
        }
    }
    Ok(lines)
}

/// The project of the natural landscape, once its stages are done.
pub(crate) fn skill_project() -> Result<PathBuf> {
    let project = target_dir()?.join("bench-skill").join(NATURAL).join("skill/project.toml");
    let level2 = project.with_file_name("level2");
    match level2.is_dir() {
        true => Ok(project),
        false => Err(fail(
            format!("{}: expected the Level 2 of the synthetic Earth, found none", level2.display()),
            "it is left by: cargo xtask bench skill",
        )),
    }
}

/// How far a forecaster is off.
struct Found {
    /// The file that says so, of the model that it was compared with.
    file: PathBuf,
    split: String,
    forecaster: String,
    samples: usize,
    mae: f64,
}

/// All that the `scores.json` of the models say.
fn found(models: &Path) -> Result<Vec<Found>> {
    let mut all: Vec<Found> = Vec::new();
    for entry in fs::read_dir(models).with_context(|| models.display().to_string())? {
        let path = entry?.path().join("scores.json");
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let scores: Scores = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        for Score { split, forecaster, samples, kndvi } in scores.scores {
            let Some(Errors { mae }) = kndvi else { continue };
            all.push(Found { file: path.clone(), split, forecaster, samples, mae });
        }
    }
    all.sort_by(|a, b| (&a.split, &a.forecaster, &a.file).cmp(&(&b.split, &b.forecaster, &b.file)));
    Ok(all)
}
