//! `cargo xtask bench skill`: forecasters on the synthetic Earth against the baselines, and against each other where a
//! pixel's surroundings tell of it (natural landscape) and where they do not (scattered).
//!
//! What it made stays in the target folder: a second run goes on where the first one was, and has nothing to do at last.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::bench::Line;
use crate::demo::{region, run_regions};
use crate::workspace::{build_binaries, root, target_dir};

/// Port of its synthetic Earth.
const PORT: u16 = 8947;
/// Names of the landscapes and the flags of `testworld serve` that make them.
const LANDSCAPES: [(&str, &[&str]); 2] = [("natural", &[]), ("scattered", &["--scattered"])];
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

/// Mean absolute error of kNDVI of each model beside each baseline and, for the ContextRNN, beside the RNN.
pub(crate) fn skill() -> Result<Vec<Line>> {
    let bins = build_binaries()?;
    let mut lines = Vec::new();
    for (landscape, flags) in LANDSCAPES {
        let out = target_dir()?.join("bench-skill").join(landscape);
        fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
        let regions = [region("skill", &root().join("tests/bench/skill.toml"), PORT, &out)?];
        run_regions(&regions, &bins, PORT, &out, flags)?;
        let folder = &regions[0].folder;
        let errors = errors(&folder.join("models"))?;
        let models: Vec<&(String, String, usize, f64)> =
            errors.iter().filter(|(_, name, ..)| !BASELINES.contains(&name.as_str())).collect();
        for (split, model, samples, error) in models {
            let rivals = BASELINES.iter().chain((model == "context_rnn").then_some(&"rnn"));
            for rival in rivals {
                let other = errors.iter().find(|(s, name, ..)| s == split && name == rival);
                let peer = other.map(|(.., error)| *error);
                lines.push(Line {
                    name: format!("skill/{landscape}/{split}/{model} against {rival}"),
                    ours: Some(*error),
                    peer,
                    ratio: peer.map(|peer| error / peer),
                    unit: "MAE kNDVI".into(),
                    note: format!("{samples} samples scored"),
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

/// Split, forecaster, samples and error, each once, from the `scores.json` of all models.
fn errors(models: &std::path::Path) -> Result<Vec<(String, String, usize, f64)>> {
    let mut found: Vec<(String, String, usize, f64)> = Vec::new();
    for entry in fs::read_dir(models).with_context(|| models.display().to_string())? {
        let path = entry?.path().join("scores.json");
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let scores: Scores = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        for score in scores.scores {
            let known = found.iter().any(|(s, name, ..)| *s == score.split && *name == score.forecaster);
            if let (false, Some(errors)) = (known, score.kndvi) {
                found.push((score.split, score.forecaster, score.samples, errors.mae));
            }
        }
    }
    found.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    Ok(found)
}
