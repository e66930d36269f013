//! The loop of the stage: explain one model, write its folder, skip it when it is done.

use std::path::Path;
use std::time::Instant;

use minicube::run::{Ctx, Failure, Finish, Project, Run};
use minicube::{Outcome, is_sealed, plan_hash};
use serde_json::{Value, json};
use x5_dl::Dataset;

use crate::config::{Config, Gamma, MetricName};
use crate::counterfactual::Counterfactual;
use crate::error::Error;
use crate::explain::{Explanation, explain};
use crate::map_store::{MAPS, write_maps};
use crate::plan::Plan;
use crate::predictor::{Predictor, TrainedModel};
use crate::respond::{close_cache, open_cache};
use crate::silent::{constant_value, frozen_samples, remark};
use crate::store::{STORE, write_store};
use crate::tables::{table_files, write_tables};
use crate::unheard::unheard_shifts;
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
    if is_done(&folder, &hash, plan.csv) {
        close_cache(&folder)?;
        run.outcome(Outcome::skipped(&plan.model, "explained before"));
        return run.finish(&folder, None);
    }
    warn_of_gamma(&plan);
    let clock = Instant::now();
    let cache = open_cache(&folder, &hash)?;
    let Some(found) = explain(&plan, &dataset, predictor, &cache, ctx)? else {
        let shard = ctx.shard_name().unwrap_or_default();
        return Ok(Finish::text_only(format!(
            "csp: shard {shard} of the forecasts of {} lies in {}; run csp without --shard once all are there",
            plan.model,
            cache.display()
        )));
    };
    write_tables(&folder, &plan, &found, &hash)?;
    let maps = folder.join(MAPS);
    remove_maps(&maps)?;
    write_maps(&maps, &plan, predictor.spec(), &found, &hash)?;
    write_store(&folder.join(STORE), &plan, &found, &hash)?;
    close_cache(&folder)?;
    for store in dataset.paths() {
        run.input(&store);
    }
    for file in table_files().chain([STORE]) {
        run.output(&folder.join(file));
    }
    for file in table_files().filter(|_| plan.csv) {
        run.output(&folder.join(file).with_extension("csv"));
    }
    if !found.maps.is_empty() {
        run.output(&maps);
    }
    run.outcome(Outcome::ok(&plan.model, clock.elapsed().as_secs_f64(), 0));
    let unheard = unheard_shifts(&dataset.paths(), &plan.variables, plan.steps)?;
    let remarks = [predictor.caveats()?, remarks(&plan, &found, unheard)].concat();
    for text in &remarks {
        tracing::warn!("{text}");
    }
    take_notes(&mut run, &plan, &found, &remarks);
    run.finish(&folder, Some(report::page(&plan, predictor.spec(), &found, &remarks)))
}

/// What would be done, without doing it.
///
/// # Errors
/// As [`run`].
pub fn describe(project: &Project, config: &Config) -> Result<Finish, Failure> {
    let model = TrainedModel::load(&project.models().join(&config.model))?;
    let (_, plan) = prepare(project, config, &model)?;
    let folder = project.explain().join(&plan.model);
    let done = if is_done(&folder, &plan_hash(&plan), plan.csv) {
        "\n  done before: nothing would be done"
    } else {
        ""
    };
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

/// Removes the maps of another plan.
fn remove_maps(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        std::fs::remove_dir_all(path).map_err(|error| Error::output(path, error))
    } else {
        Ok(())
    }
}

/// The store is sealed after the tables are written, and the report comes with the manifest.
fn is_done(folder: &Path, hash: &str, csv: bool) -> bool {
    let same_manifest = || {
        let bytes = std::fs::read(folder.join("run.json")).ok()?;
        let manifest: Value = serde_json::from_slice(&bytes).ok()?;
        Some(manifest["plan_hash"] == hash)
    };
    is_sealed(&folder.join(STORE), hash)
        && table_files().all(|file| folder.join(file).is_file())
        && table_files().filter(|_| csv).all(|file| folder.join(file).with_extension("csv").is_file())
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

/// What must not be overlooked: a forecast that never changes, variables that do not change it, and what of the weather is
/// unheard of.
fn remarks(plan: &Plan, found: &Explanation, unheard: Vec<String>) -> Vec<String> {
    let (index, responses) = (plan.index.name(), &found.shifted.responses);
    if let Some(value) = constant_value(responses) {
        return vec![format!(
            "the forecast {index} is {value} in every step of every sample, whatever the weather: the output of {} is \
             dead or clipped, and all sensitivities are 0 for that reason alone",
            plan.model
        )];
    }
    let mut remarks = Vec::new();
    let frozen = frozen_samples(responses);
    if frozen > 0 {
        remarks.push(format!(
            "{frozen} of {} samples have one and the same {index} at all steps under all shifts: the model's output is \
             dead or clipped there",
            found.shifted.samples.len()
        ));
    }
    let (lost, all) = (found.not_finite.len(), found.shifted.samples.len());
    if 4 * lost > all {
        remarks.push(format!(
            "{lost} of {all} samples are left out, because no pixel has an {index} under some shift ({}): what is told \
             is of the others alone",
            plan.index.absent()
        ));
    }
    for (variable, global) in plan.variables.iter().zip(&found.global) {
        let (range, unit) = (variable.extremes(), &variable.unit);
        remarks.extend(remark(&variable.name, index, global.movement, range, unit));
        if global.out_of_range > 0.25 && variable.clip.is_none() {
            let [low, high] = variable.valid;
            remarks.push(format!(
                "{}: {:.0} % of the shifted values leave {low} to {high} {unit}; `clip` would keep them within a range",
                variable.name,
                100.0 * global.out_of_range
            ));
        }
    }
    remarks.extend(unheard);
    remarks
}

/// Mean over samples and steps of each variable's share.
fn mean_changes(plan: &Plan, found: &Explanation) -> String {
    let mean = |v: usize| {
        let of = |one: &Counterfactual| one.attribution.row(v).mean().unwrap_or(f64::NAN);
        found.counterfactuals.iter().map(of).sum::<f64>() / found.counterfactuals.len() as f64
    };
    let shares = plan.variables.iter().enumerate().map(|(v, of)| format!("{} {:.5}", of.name, mean(v)));
    shares.collect::<Vec<_>>().join("; ")
}

fn take_notes(run: &mut Run, plan: &Plan, found: &Explanation, remarks: &[String]) {
    let mut ranked: Vec<usize> = (0..plan.variables.len()).collect();
    ranked.sort_by(|a, b| {
        let value = |v: usize| found.global[v].main().mean;
        value(*b).total_cmp(&value(*a))
    });
    let sensitivities: Vec<String> = ranked
        .iter()
        .map(|v| {
            let (variable, value) = (&plan.variables[*v], found.global[*v].main());
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
    if !plan.only.is_empty() {
        run.note("restricted to", plan.only.text());
    }
    if found.pixels.all > 0 {
        run.note("pixels of these classes", format!("{} of {}", found.pixels.kept, found.pixels.all));
    }
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
    let families: Vec<Value> = plan
        .variables
        .iter()
        .zip(&found.global)
        .map(|(variable, global)| {
            let counts = global.families.iter().map(|(family, n)| (family.name().to_owned(), json!(n)));
            json!({"variable": variable.name, "best": counts.collect::<serde_json::Map<_, _>>()})
        })
        .collect();
    run.note("curve families", families);
    let lags: Vec<Value> = plan
        .variables
        .iter()
        .zip(&found.lags)
        .map(|(variable, lags)| {
            json!({"variable": variable.name, "peak_lag": lags.peak(), "half_by_lag": lags.reached(0.5),
                "sum": lags.total, "from_later_weather": lags.from_later})
        })
        .collect();
    run.note("lags", lags);
    let interactions: Vec<Value> = found
        .interactions
        .iter()
        .map(|one| {
            let [first, second] = one.variables.map(|v| &plan.variables[v].name);
            json!({"first": first, "second": second, "strength": one.strength.value, "h2": one.h2.value})
        })
        .collect();
    run.note("interactions", interactions);
    let ranking: Vec<String> = found
        .ranking
        .iter()
        .map(|one| format!("{} {} {:.5}", one.input.kind.name(), one.input.name, one.change.value))
        .collect();
    run.note("inputs", ranking.join("; "));
    if !found.counterfactuals.is_empty() {
        run.note("change by other weather", mean_changes(plan, found));
    }
    if found.without_other > 0 {
        run.note("left out: no other weather", found.without_other);
    }
    if !remarks.is_empty() {
        run.note("remarks", remarks.to_vec());
    }
}
