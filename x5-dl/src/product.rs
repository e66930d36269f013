//! `forecast`: kNDVI of samples with its uncertainty and the labels of the land, product 1 of the DeepCube deliverable.
//!
//! Uncertainty comes in two ways, and the store says which. Of several models the mean is the forecast and their standard
//! deviation tells where they disagree: what training left open. Quantiles that the models forecast tell how far
//! observations lie from the forecast: what no model knows. Quantiles of several models are averaged.

use std::path::{Path, PathBuf};
use std::time::Instant;

use minicube::report::{Frame, Ramp, Report, ramp_legend};
use minicube::run::{Ctx, Failure, Finish, Run};
use minicube::{
    Cube, CubeWriter, DType, Outcome, Split, finish_sealing, is_sealed, partial_path, plan_hash, stored_bytes,
};
use ndarray::{Array3, ArrayView4, Axis, Slice, Zip};
use rayon::prelude::*;
use serde_json::json;

use crate::data::dataset::Dataset;
use crate::error::Error;
use crate::forecast_store::{gridded, layer};
use crate::forecaster::Forecaster;
use crate::labels::{label_spec, static_spec, write_labels};
use crate::plan::{ModelPlan, Plan};
use crate::score::error_by_lead::kndvi;

/// Samples shown in the report, and frames of each.
const STRIPS: usize = 3;
const FRAMES: usize = 9;

/// What to forecast.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// Names of the models; all of the section where there are none.
    pub models: Vec<String>,
    /// The split whose samples are forecast.
    pub split: Split,
    /// Folder of the product below `forecasts/`; the models' names, joined, where absent.
    pub name: Option<String>,
}

/// Writes `forecasts/<name>/<split>.zarr`, `run.json` and `report.html`. A killed run goes on at the sample where it stopped.
///
/// # Errors
/// A [`Failure`] for a model that is not trained, models that forecast other steps than the first, an empty split, and files
/// that cannot be read or written.
pub fn forecast(plan: &Plan, ask: &Forecast, ctx: &Ctx) -> Result<Finish, Failure> {
    let members = members(plan, ask)?;
    let names: Vec<&str> = members.iter().map(|(model, _)| model.name.as_str()).collect();
    let folder = plan.forecasts_dir.join(ask.name.clone().unwrap_or_else(|| names.join("+")));
    let path = folder.join(format!("{}.zarr", ask.split));
    let identity = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "split": ask.split,
        "members": members.iter().map(|(model, _)| (&model.name, plan_hash(model))).collect::<Vec<_>>(),
    });
    let hash = plan_hash(&identity);
    let mut run = Run::start("x5-dl forecast", env!("CARGO_PKG_VERSION"), ctx, &identity, 0);
    let unit = format!("{} {}", names.join("+"), ask.split);
    if is_sealed(&path, &hash) {
        finish_sealing(&path, &partial_path(&path))?;
        run.outcome(Outcome::skipped(unit, "forecast before"));
    } else {
        let clock = Instant::now();
        write(plan, &members, ask.split, (&path, &hash), ctx)?;
        run.outcome(Outcome::ok(unit, clock.elapsed().as_secs_f64(), stored_bytes(&path)?));
    }
    for (model, _) in &members {
        run.input(&plan.models_dir.join(&model.name).join("weights.safetensors"));
    }
    run.output(&path);
    let page = if run.nothing_done() { None } else { Some(page(&path, &names)?) };
    run.finish(&folder, page)
}

/// The trained models, in the order of the configuration.
fn members<'a>(plan: &'a Plan, ask: &Forecast) -> Result<Vec<(&'a ModelPlan, Forecaster)>, Failure> {
    let known: Vec<&str> = plan.models.iter().map(|model| model.name.as_str()).collect();
    if let Some(name) = ask.models.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(Failure::new(format!(
            "--models {name}: expected some of {}, found another",
            known.join(", ")
        ))
        .hint("models are named in [[train.models]]"));
    }
    let wanted = |model: &&ModelPlan| ask.models.is_empty() || ask.models.contains(&model.name);
    let mut members: Vec<(&ModelPlan, Forecaster)> = Vec::new();
    for model in plan.models.iter().filter(wanted) {
        let folder = plan.models_dir.join(&model.name);
        let forecaster = Forecaster::load(&folder).map_err(|error| {
            Failure::new(format!("{}: expected a trained model: {error}", folder.display()))
                .hint("train it first: x5-dl run with the same project file")
        })?;
        if forecaster.file().plan_hash != plan_hash(model) {
            return Err(Failure::new(format!("{}: trained by another configuration", folder.display()))
                .hint("train it again: x5-dl run with the same project file"));
        }
        let steps = |model: &ModelPlan| (model.data.context_steps, model.data.target_steps);
        if let Some((first, _)) = members.first().filter(|(first, _)| steps(first) != steps(model)) {
            return Err(Failure::new(format!(
                "{} forecasts {:?} context and target steps, {} {:?}",
                first.name,
                steps(first),
                model.name,
                steps(model)
            ))
            .hint("name models of the same steps with --models"));
        }
        members.push((model, forecaster));
    }
    Ok(members)
}

fn write(
    plan: &Plan,
    members: &[(&ModelPlan, Forecaster)],
    split: Split,
    (path, hash): (&Path, &str),
    ctx: &Ctx,
) -> Result<(), Failure> {
    let open = |(model, _): &(&ModelPlan, Forecaster)| Dataset::open(&plan.level2, split, &model.data);
    let datasets = members.iter().map(open).collect::<Result<Vec<Dataset>, Error>>()?;
    let Some(first) = datasets.first() else { return Ok(()) };
    let (cube, _) = first.place(0);
    let statics: Vec<String> =
        cube.vars().iter().filter_map(|name| name.strip_prefix("static/")).map(str::to_owned).collect();
    let splits = [(split, Dataset::open(&plan.level2, split, first.spec())?)];
    let (rows, cols) = first.size();
    let shape = [first.spec().target_steps, rows, cols];
    let names: Vec<&str> = members.iter().map(|(model, _)| model.name.as_str()).collect();
    let levels = common_levels(members);
    let index = |name: &str, what: String| {
        gridded(name, DType::F32, shape).attr("units", "1").attr("long_name", what)
    };
    let what = "forecast kNDVI = tanh(NDVI²), mean of the members";
    let mut spec = label_spec(&splits, first)
        .attr("members", names.clone())
        .attr("uncertainty", uncertainty(members.len(), &levels))
        .var(index("kndvi", what.to_owned()));
    if members.len() > 1 {
        spec = spec.var(index("kndvi_sd", "standard deviation of the members".to_owned()));
    }
    for &level in &levels {
        let what = format!("{level} quantile of kNDVI, mean of the members");
        spec = spec.var(index(&quantile_name(level), what).attr("quantile", level));
    }
    for name in &statics {
        spec = spec.var(static_spec(first, name));
    }
    let writer = CubeWriter::create(path, &spec, hash)?;
    write_labels(&writer, &splits)?;
    let bar = ctx.progress("forecast", first.len() as u64);
    (0..first.len()).into_par_iter().try_for_each(|sample| -> Result<(), Error> {
        let start = [sample as u64, 0, 0, 0];
        // The last that is written; it is there where all are.
        if !writer.has_shard("kndvi", &start) {
            let found = members
                .iter()
                .zip(&datasets)
                .map(|((model, forecaster), dataset)| member(model, forecaster, dataset, sample))
                .collect::<Result<Vec<MemberForecast>, Error>>()?;
            let write = |name: &str, frames: Array3<f32>| {
                writer.write(name, &start, frames.insert_axis(Axis(0)).view().into_dyn())
            };
            for &level in &levels {
                let of = |m: &MemberForecast| m.quantiles.iter().find(|q| q.0 == level).map(|q| q.1.clone());
                let frames: Vec<Array3<f32>> = found.iter().filter_map(of).collect();
                write(&quantile_name(level), mean_and_sd(&frames).0)?;
            }
            let frames: Vec<Array3<f32>> = found.into_iter().map(|m| m.kndvi).collect();
            let (mean, sd) = mean_and_sd(&frames);
            if members.len() > 1 {
                write("kndvi_sd", sd)?;
            }
            write("kndvi", mean)?;
        }
        let (cube, row) = first.place(sample);
        for name in &statics {
            let label = layer(cube, &format!("static/{name}"), row)?;
            writer.write(&format!("static/{name}"), &start[..3], label.view().into_dyn())?;
        }
        bar.inc(1);
        Ok(())
    })?;
    bar.finish();
    writer.seal()?;
    Ok(())
}

/// Quantiles that all members forecast, but for the forecast itself; none where one of them has others.
fn common_levels(members: &[(&ModelPlan, Forecaster)]) -> Vec<f64> {
    let of = |(_, forecaster): &(&ModelPlan, Forecaster)| forecaster.file().quantiles.clone();
    let mut all = members.iter().map(of);
    let first = all.next().unwrap_or_default();
    let same = all.all(|levels| levels == first);
    first.into_iter().filter(|&level| same && level != 0.5).collect()
}

/// Name of the variable of a quantile: `kndvi_q05` of 0.05, `kndvi_q975` of 0.975.
fn quantile_name(level: f64) -> String {
    let digits = level.to_string();
    format!("kndvi_q{:0<2}", digits.trim_start_matches("0."))
}

/// What the store says its uncertainty is.
fn uncertainty(members: usize, levels: &[f64]) -> String {
    let spread = (members > 1).then_some("kndvi_sd: disagreement of models that differ in seed or kind");
    let quantiles = (!levels.is_empty()).then_some(
        "kndvi_q*: quantiles of what is observed, learnt by quantile regression; scores.json tells how they hold",
    );
    match (spread, quantiles) {
        (None, None) => "none: one model without quantiles".to_owned(),
        _ => spread.into_iter().chain(quantiles).collect::<Vec<_>>().join("; "),
    }
}

/// What one model says of one sample.
struct MemberForecast {
    /// `[step, y, x]`
    kndvi: Array3<f32>,
    /// Levels with their kNDVI.
    quantiles: Vec<(f64, Array3<f32>)>,
}

fn member(
    model: &ModelPlan,
    forecaster: &Forecaster,
    dataset: &Dataset,
    sample: usize,
) -> Result<MemberForecast, Error> {
    let (frames, quantiles) = forecaster.forecast_and_quantiles(&dataset.batch(&[sample], None)?)?;
    let index = |frames: ArrayView4<'_, f32>| {
        kndvi(frames, forecaster.channels(), model.scoring.ndvi_epsilon).ok_or_else(|| Error::NoVariable {
            path: PathBuf::from(&model.name),
            variable: "kndvi, ndvi, or red and nir".into(),
            found: forecaster.channels().join(", "),
        })
    };
    let of_level = |(k, &level): (usize, &f64)| {
        let all = quantiles.as_ref()?.index_axis(Axis(0), 0);
        Some(index(all.slice_axis(Axis(1), Slice::from(k..k + 1))).map(|frames| (level, frames)))
    };
    Ok(MemberForecast {
        kndvi: index(frames.index_axis(Axis(0), 0))?,
        quantiles: forecaster
            .file()
            .quantiles
            .iter()
            .enumerate()
            .filter_map(of_level)
            .collect::<Result<_, _>>()?,
    })
}

/// Mean and standard deviation of the members (with n − 1; 0 of a single one), step by step and pixel by pixel.
fn mean_and_sd(members: &[Array3<f32>]) -> (Array3<f32>, Array3<f32>) {
    let shape = members.first().map_or((0, 0, 0), Array3::dim);
    let n = members.len() as f64;
    let mut sums = Array3::from_elem(shape, (0.0f64, 0.0f64));
    for member in members {
        Zip::from(&mut sums).and(member).for_each(|sum, &value| {
            let value = f64::from(value);
            *sum = (sum.0 + value, sum.1 + value * value);
        });
    }
    let sd = |&(sum, squares): &(f64, f64)| {
        if n < 2.0 { 0.0 } else { ((squares - sum * sum / n) / (n - 1.0)).max(0.0).sqrt() as f32 }
    };
    (sums.mapv(|(sum, _)| (sum / n) as f32), sums.map(sd))
}

fn page(path: &Path, names: &[&str]) -> Result<Report, Error> {
    let cube = Cube::open(path, "forecast")?;
    let ids = cube.read_strings("sample_id")?;
    let mut page = Report::new("Forecast of kNDVI").lead(&format!(
        "{} samples, {} steps each, by {}.",
        ids.len(),
        cube.dim("time")?,
        names.join(", ")
    ));
    for (sample, id) in ids.iter().enumerate().take(STRIPS) {
        page = page.section(id);
        let mut shown = vec![("kNDVI".to_owned(), layer(&cube, "kndvi", sample)?, (0.0, 0.76))];
        if cube.has("kndvi_sd") {
            let what = "standard deviation of the members".to_owned();
            shown.push((what, layer(&cube, "kndvi_sd", sample)?, (0.0, 0.1)));
        }
        let mut quantiles = cube.vars();
        quantiles.retain(|name| name.starts_with("kndvi_q"));
        quantiles.sort_unstable();
        if let [low, .., high] = quantiles.as_slice() {
            let width = layer(&cube, high, sample)? - layer(&cube, low, sample)?;
            shown.push((format!("width from {low} to {high}"), width, (0.0, 0.4)));
        }
        for (what, frames, range) in shown {
            let every = frames.len_of(Axis(0)).div_ceil(FRAMES).max(1);
            let some = frames.slice_axis(Axis(0), Slice::new(0, None, every as isize));
            let drawn: Vec<Frame> = some
                .outer_iter()
                .enumerate()
                .map(|(k, frame)| Frame::ramp(format!("step {}", k * every + 1), frame, Ramp::Greens, range))
                .collect();
            page = page.frames(&what, &drawn, &ramp_legend(&what, Ramp::Greens, range));
        }
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_quantiles() {
        let names = [0.05, 0.1, 0.5, 0.975].map(quantile_name);
        assert_eq!(names, ["kndvi_q05", "kndvi_q10", "kndvi_q50", "kndvi_q975"]);
    }

    /// Of .2 and .4 the mean is .3, the standard deviation √(2 · .01) = .1414.
    #[test]
    fn the_spread_of_the_members() {
        let member = |value: f32| Array3::from_elem((1, 1, 2), value);
        let (mean, sd) = mean_and_sd(&[member(0.2), member(0.4)]);
        assert!((mean[[0, 0, 1]] - 0.3).abs() < 1e-7 && (sd[[0, 0, 0]] - 0.141_421_36).abs() < 1e-6);
        let (mean, sd) = mean_and_sd(&[member(0.2)]);
        assert_eq!((mean[[0, 0, 0]], sd[[0, 0, 0]]), (0.2, 0.0));
    }
}
