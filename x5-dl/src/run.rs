//! The loop: for each model train, forecast, score, report.

use std::path::Path;
use std::time::Instant;

use minicube::run::{Ctx, Failure, Finish, Run};
use minicube::{Outcome, RunManifest, is_sealed, plan_hash, sha256_file, sha256_store, write_atomic};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::evaluate::evaluate;
use crate::forecaster::{Forecaster, ModelFile};
use crate::harness::backend;
use crate::harness::checkpoint::Metric;
use crate::plan::{ModelPlan, Plan};
use crate::report::report;
use crate::score::summary::Score;
use crate::train::{EVENTS, train};
use crate::without_skill::without_skill;

/// `scores.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Identity of the plan.
    pub plan_hash: String,
    /// One row a split and forecaster; for each split the model first.
    pub scores: Vec<Score>,
}

impl Scores {
    /// Reads `scores.json` of a model folder.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Json`].
    pub fn read(model_dir: &Path) -> Result<Scores, Error> {
        let path = model_dir.join("scores.json");
        let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, e))?;
        serde_json::from_slice(&bytes).map_err(|e| Error::json(&path, e))
    }
}

/// Trains, forecasts and scores every model of the plan. A model that is done is left alone; one that was
/// interrupted goes on from its checkpoint.
///
/// # Errors
/// A [`Failure`] where a model cannot be trained or a file not be written.
pub fn run(plan: &Plan, ctx: &Ctx) -> Result<Finish, Failure> {
    configure(plan)?;
    let mut texts = Vec::new();
    for (index, model) in plan.models.iter().enumerate() {
        if ctx.mine(index) {
            texts.push(run_model(plan, model, ctx)?.text().to_owned());
        }
    }
    Ok(Finish::text_only(texts.join("\n")))
}

/// Sets what all models of the plan are computed with.
fn configure(plan: &Plan) -> Result<(), Error> {
    plan.models.first().map_or(Ok(()), |model| backend::configure(model.compute))
}

fn run_model(plan: &Plan, model: &ModelPlan, ctx: &Ctx) -> Result<Finish, Failure> {
    let folder = plan.models_dir.join(&model.name);
    // A model is one unit: its manifest is the same whichever shard made it.
    let mut ctx = ctx.clone();
    ctx.shard = None;
    let mut run = Run::start("x5-dl", env!("CARGO_PKG_VERSION"), &ctx, model, model.seed);
    let hash = run.plan_hash().to_owned();
    if is_done(&folder, &hash) {
        run.outcome(Outcome::skipped(&model.name, "done before"));
        return run.finish(&folder, None);
    }
    let clock = Instant::now();
    let progress = ctx.progress(&model.name, model.fit.steps);
    let state = train(model, &hash, &plan.level2, &folder, &progress)?;
    let trained = clock.elapsed().as_secs_f64();
    progress.finish();

    let progress = ctx.progress("forecast", 0);
    let forecaster = Forecaster::load(&folder)?;
    let scores = evaluate(model, &hash, &plan.level2, &folder, &forecaster, &progress)?;
    progress.finish();
    write_scores(&folder, &hash, &scores)?;

    for (store, _) in &model.inputs {
        run.input(&plan.level2.join(store));
    }
    let events = format!("tensorboard/{EVENTS}");
    if folder.join(&events).exists() {
        run.output(&folder.join(&events));
    }
    for file in ["model.json", "weights.safetensors", "metrics.jsonl", "scores.json", "forecast.zarr"] {
        run.output(&folder.join(file));
    }
    run.note("backend", model.compute.text());
    run.note("seconds training", (trained * 10.0).round() / 10.0);
    for score in &scores {
        run.note(&format!("{} on {}", score.forecaster, score.split), sentence(score));
    }
    run.outcome(Outcome::ok(&model.name, clock.elapsed().as_secs_f64(), 0));
    let remarks = without_skill(&scores);
    for text in &remarks {
        tracing::warn!("{text}");
    }
    if !remarks.is_empty() {
        run.note("remarks", remarks.clone());
    }
    let page = report(model, &folder, &state.metrics, &scores, &remarks)?;
    run.finish(&folder, Some(page))
}

fn sentence(score: &Score) -> String {
    let mut parts = vec![format!("{} samples", score.samples)];
    if let Some(errors) = &score.kndvi {
        parts.push(format!("kNDVI MAE {:.4} RMSE {:.4}", errors.mae, errors.rmse));
    }
    if let Some(ens) = score.earthnet.as_ref().and_then(|e| e.ens) {
        parts.push(format!("ENS {ens:.4}"));
    }
    parts.join(", ")
}

fn write_scores(folder: &Path, hash: &str, scores: &[Score]) -> Result<(), Error> {
    let path = folder.join("scores.json");
    let content = Scores { plan_hash: hash.to_owned(), scores: scores.to_vec() };
    let text = serde_json::to_string_pretty(&content).map_err(|e| Error::json(&path, e))?;
    write_atomic(&path, text.as_bytes())?;
    Ok(())
}

fn is_done(folder: &Path, hash: &str) -> bool {
    let same = |path: &str| is_sealed(&folder.join(path), hash);
    same("forecast.zarr")
        && ModelFile::read(folder).is_ok_and(|file| file.plan_hash == hash)
        && Scores::read(folder).is_ok_and(|scores| scores.plan_hash == hash)
        && folder.join("run.json").exists()
}

/// Says what would be trained and what it costs.
#[must_use]
pub fn describe(plan: &Plan) -> Finish {
    let lines: Vec<String> = plan
        .models
        .iter()
        .map(|model| {
            let done = is_done(&plan.models_dir.join(&model.name), &plan_hash(model));
            format!(
                "{}: {:?}\n  {} + {} steps of {}; weather {}; statics {}\n  {} optimiser steps of {} samples, learning \
                 rate {}, loss {:?}; scored on {} against {}\n  {}",
                model.name,
                model.architecture,
                model.data.context_steps,
                model.data.target_steps,
                model.data.dynamic.join(", "),
                model.data.weather.join(", "),
                model.data.statics.join(", "),
                model.fit.steps,
                model.sampling.batch,
                model.fit.learning_rate,
                model.fit.loss,
                model.score_splits.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                model.baselines.iter().map(|b| b.name()).collect::<Vec<_>>().join(", "),
                if done { "done, nothing to do" } else { "to be trained" },
            )
        })
        .collect();
    Finish::text_only(lines.join("\n"))
}

/// Reads back every model and proves it: the files are those of the manifest, the stores conform, and the first
/// stored forecast is what the weights give.
///
/// # Errors
/// A [`Failure`] naming the first file that is not as it should be.
pub fn verify(plan: &Plan) -> Result<Finish, Failure> {
    configure(plan)?;
    let mut lines = Vec::new();
    for model in &plan.models {
        let folder = plan.models_dir.join(&model.name);
        let metrics = verify_model(plan, model, &folder)?;
        lines.push(format!("{}: verified, {} lines of metrics", model.name, metrics.len()));
    }
    Ok(Finish::text_only(lines.join("\n")))
}

fn verify_model(plan: &Plan, model: &ModelPlan, folder: &Path) -> Result<Vec<Metric>, Error> {
    let path = folder.join("forecast.zarr");
    let bad = |path: &Path, reason: String| Error::Verify { path: path.to_owned(), reason };
    if let Some(first) = minicube::check(&path, "forecast")?.first() {
        return Err(bad(&path, first.to_string()));
    }
    let hash = plan_hash(model);
    if !is_done(folder, &hash) {
        return Err(bad(folder, format!("expected a complete model of plan {hash}")));
    }
    check_hashes(folder)?;
    let forecaster = Forecaster::load(folder)?;
    crate::evaluate::same_as_stored(model, &plan.level2, &path, &forecaster)?;
    let path = folder.join("metrics.jsonl");
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
    text.lines().map(|line| serde_json::from_str(line).map_err(|e| Error::json(&path, e))).collect()
}

/// Fails where an output is not the one of the manifest.
fn check_hashes(folder: &Path) -> Result<(), Error> {
    let path = folder.join("run.json");
    let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, e))?;
    let manifest: RunManifest = serde_json::from_slice(&bytes).map_err(|e| Error::json(&path, e))?;
    for output in manifest.outputs {
        let path = folder.parent().unwrap_or(folder).join(&output.path);
        let found = if path.is_dir() { sha256_store(&path)? } else { sha256_file(&path)? };
        if found != output.sha256 {
            let reason = format!("expected sha256 {}, found {found}", output.sha256);
            return Err(Error::Verify { path, reason });
        }
    }
    Ok(())
}
