//! The loop of the stage: explain one model, write its folder, skip it when it is done.

use std::path::Path;
use std::time::Instant;

use minicube::run::{Ctx, Failure, Finish, Project, Run};
use minicube::{Outcome, is_sealed, plan_hash};
use serde_json::{Value, json};
use x5_dl::Dataset;

use crate::config::{Config, Gamma, MetricName};
use crate::error::Error;
use crate::explain::{Explanation, explain};
use crate::output::{FILES, write_all};
use crate::plan::Plan;
use crate::predictor::{Predictor, TrainedModel};
use crate::respond::{close_cache, open_cache};
use crate::{report, verify};

/// Explains the model that the configuration names.
///
/// # Errors
/// A [`Failure`] if the model, the data or the configuration cannot be used.
pub fn run(project: &Project, config: &Config, ctx: &Ctx) -> Result<Finish, Failure> {
    let model = TrainedModel::load(&project.models().join(&config.model))?;
    run_predictor(project, config, &model, ctx)
}

/// Explains any predictor under the name that the configuration gives it.
///
/// # Errors
/// As [`run`].
pub fn run_predictor(
    project: &Project,
    config: &Config,
    predictor: &dyn Predictor,
    ctx: &Ctx,
) -> Result<Finish, Failure> {
    let (dataset, plan) = prepare(project, config, predictor)?;
    let folder = project.explain().join(&plan.model);
    let hash = plan_hash(&plan);
    let mut run = Run::start("csp", env!("CARGO_PKG_VERSION"), ctx, &plan, plan.seed);
    if is_done(&folder, &hash) {
        close_cache(&folder)?;
        run.outcome(Outcome::skipped(&plan.model, "explained before"));
        return run.finish(&folder, None);
    }
    warn_of_gamma(&plan);
    let clock = Instant::now();
    let cache = open_cache(&folder, &hash)?;
    let found = explain(&plan, &dataset, predictor, &cache, ctx)?;
    write_all(&folder, &plan, &found, &hash)?;
    close_cache(&folder)?;
    for store in dataset.paths() {
        run.input(&store);
    }
    for file in FILES {
        run.output(&folder.join(file));
    }
    run.outcome(Outcome::ok(&plan.model, clock.elapsed().as_secs_f64(), 0));
    take_notes(&mut run, &plan, &found);
    run.finish(&folder, Some(report::page(&plan, &found)))
}

/// What would be done, without doing it.
///
/// # Errors
/// As [`run`].
pub fn describe(project: &Project, config: &Config) -> Result<Finish, Failure> {
    let model = TrainedModel::load(&project.models().join(&config.model))?;
    let (_, plan) = prepare(project, config, &model)?;
    let folder = project.explain().join(&plan.model);
    let done =
        if is_done(&folder, &plan_hash(&plan)) { "\n  done before: nothing would be done" } else { "" };
    Ok(Finish::text_only(format!("{}{done}", plan.text(&folder))))
}

/// Reads an explanation back and proves it against the model and the data.
///
/// # Errors
/// A [`Failure`] that names the first file that does not hold what it should.
pub fn check(project: &Project, config: &Config) -> Result<Finish, Failure> {
    let model = TrainedModel::load(&project.models().join(&config.model))?;
    check_predictor(project, config, &model)
}

/// As [`check`], for any predictor that was explained under the name that the configuration gives it.
///
/// # Errors
/// As [`check`].
pub fn check_predictor(
    project: &Project,
    config: &Config,
    predictor: &dyn Predictor,
) -> Result<Finish, Failure> {
    let (_, plan) = prepare(project, config, predictor)?;
    let folder = project.explain().join(&plan.model);
    Ok(Finish::text_only(verify::verify(&folder, &plan, &plan_hash(&plan))?))
}

fn prepare(project: &Project, config: &Config, predictor: &dyn Predictor) -> Result<(Dataset, Plan), Error> {
    let dataset = Dataset::open(&project.level2(), config.split, predictor.spec())?;
    let plan = Plan::resolve(config, project.seed, &dataset, predictor)?;
    Ok((dataset, plan))
}

/// The store is sealed after the tables are written, and the report comes with the manifest.
fn is_done(folder: &Path, hash: &str) -> bool {
    let same_manifest = || {
        let bytes = std::fs::read(folder.join("run.json")).ok()?;
        let manifest: Value = serde_json::from_slice(&bytes).ok()?;
        Some(manifest["plan_hash"] == hash)
    };
    is_sealed(&folder.join(FILES[3]), hash)
        && FILES[..3].iter().all(|file| folder.join(file).is_file())
        && folder.join("report.html").is_file()
        && same_manifest() == Some(true)
}

fn warn_of_gamma(plan: &Plan) {
    if let (MetricName::SoftDtw, Gamma::Value(gamma)) = (plan.metric, plan.gamma)
        && gamma >= 0.1
    {
        tracing::warn!(
            "gamma {gamma} is large for normalised weather: soft-DTW is negative for every pair and resolves levels \
             rather than shapes; set gamma = \"auto\" in [explain] for finer clusters"
        );
    }
}

fn take_notes(run: &mut Run, plan: &Plan, found: &Explanation) {
    let mut ranked: Vec<usize> = (0..plan.variables.len()).collect();
    ranked.sort_by(|a, b| {
        let value = |v: usize| found.global[v].mean_over_pairs.mean;
        value(*b).total_cmp(&value(*a))
    });
    let sensitivities: Vec<String> = ranked
        .iter()
        .map(|v| {
            let (variable, value) = (&plan.variables[*v], &found.global[*v].mean_over_pairs);
            format!("{} {:.5} ± {:.5} per {}", variable.name, value.mean, value.sd, variable.unit)
        })
        .collect();
    run.note(&format!("{} sensitivity", plan.index.name()), sensitivities.join("; "));
    let clusters: Vec<String> = found
        .weather
        .channels
        .iter()
        .zip(&found.clusters)
        .map(|(channel, clusters)| format!("{channel} {}", clusters.k()))
        .collect();
    run.note("clusters", clusters.join(", "));
    let forecast: usize = found.segment_responses.iter().map(|r| r.forecast).sum();
    run.note("segments", found.segments.len());
    run.note(
        "samples",
        format!("{} usable of {}, {forecast} forecast", found.weather.samples.len(), found.weather.all),
    );
    for (reason, count) in &found.weather.excluded {
        run.note(&format!("left out: {reason}"), *count);
    }
    if !found.not_finite.is_empty() {
        run.note("left out: forecast not finite", found.not_finite.len());
    }
    let curves: Vec<Value> = plan
        .variables
        .iter()
        .zip(&found.global)
        .filter_map(|(variable, global)| {
            let curve = global.parabola.as_ref()?;
            Some(json!({"variable": variable.name, "coefficients": curve.coefficients, "vertex": curve.vertex(),
                "r2": curve.r2, "segments": global.curve_segments}))
        })
        .collect();
    run.note("curves", curves);
}
