//! The Zarr store of an explanation: signals, clusters, and every forecast behind the tables.

use std::path::Path;

use minicube::{CubeSpec, CubeWriter, DType, VarSpec};
use ndarray::{Array1, Array2, Array3, Axis};

use crate::error::Error;
use crate::explain::{Explanation, Forecasts};
use crate::perturb::Perturbation;
use crate::plan::Plan;

/// Name of the store; it is sealed last and so proves the tables.
pub(crate) const STORE: &str = "signals.zarr";

/// Writes and seals the store.
///
/// # Errors
/// [`Error::Files`] if it cannot be written.
pub(crate) fn write_store(path: &Path, plan: &Plan, found: &Explanation, hash: &str) -> Result<(), Error> {
    let most = found.clusters.iter().map(|clusters| clusters.k()).max().unwrap_or(0);
    let writer = CubeWriter::create(path, &specification(plan, found, most), hash)?;
    let units: Vec<String> =
        found.weather.variable_of.iter().map(|v| plan.variables[*v].unit.clone()).collect();
    writer.write_strings("variable", &found.weather.channels)?;
    writer.write_strings("unit", &units)?;
    writer.write_strings("sample_id", &found.sample_ids)?;
    writer.write("signal", &[0; 3], found.weather.values.view().into_dyn())?;
    writer.write("centroid", &[0; 3], centroids(plan, found, most).view().into_dyn())?;
    let (channels, samples, _) = found.weather.values.dim();
    let labels = Array2::from_shape_fn((channels, samples), |(c, s)| found.clusters[c].labels[s] as i32);
    writer.write("label", &[0; 2], labels.view().into_dyn())?;
    let transitions: Vec<String> = plan.transitions.iter().map(|transition| transition.name()).collect();
    writer.write_strings("transition", &transitions)?;
    let weights = Array2::from_shape_fn((plan.weights.len(), plan.steps), |(i, t)| plan.weights[i][t]);
    writer.write("weight", &[0; 2], weights.view().into_dyn())?;
    for set in sets(found) {
        write_set(&writer, plan, &set)?;
    }
    writer.seal()?;
    Ok(())
}

/// Forecasts with the beginning of the names of their variables.
struct Set<'a> {
    prefix: &'static str,
    forecasts: &'a Forecasts,
    what: &'static str,
}

/// The sets that have forecasts at all.
fn sets(found: &Explanation) -> Vec<Set<'_>> {
    let all = [
        Set { prefix: "", forecasts: &found.shifted, what: "one variable shifted" },
        Set { prefix: "pulse_", forecasts: &found.pulsed, what: "one variable shifted at one step" },
        Set { prefix: "pair_", forecasts: &found.paired, what: "two variables shifted" },
    ];
    all.into_iter().filter(|set| !set.forecasts.responses.is_empty()).collect()
}

fn specification(plan: &Plan, found: &Explanation, most: usize) -> CubeSpec {
    let (channels, samples, steps) = found.weather.values.dim();
    let mut spec = CubeSpec::new("signals")
        .dim("variable", channels)
        .dim("sample", samples)
        .dim("time", steps)
        .dim("cluster", most)
        .dim("transition", plan.transitions.len())
        .dim("step", steps_of(found))
        .attr("model", plan.model.clone())
        .attr("split", plan.split.to_string())
        .attr("index", plan.index.name())
        .var(VarSpec::new("variable", &["variable"], DType::String).attr("long_name", "weather variable"))
        .var(VarSpec::new("unit", &["variable"], DType::String).attr("long_name", "physical unit of signal"))
        .var(VarSpec::new("sample_id", &["sample"], DType::String))
        .var(
            VarSpec::new("signal", &["variable", "sample", "time"], DType::F64)
                .chunk(&[1, 4096, steps as u64])
                .attr("long_name", "mean weather around the cube, physical units"),
        )
        .var(
            VarSpec::new("centroid", &["variable", "cluster", "time"], DType::F64)
                .attr("long_name", "cluster centroids, physical units"),
        )
        .var(
            VarSpec::new("label", &["variable", "sample"], DType::I32)
                .attr("long_name", "cluster of the sample"),
        )
        .var(VarSpec::new("transition", &["transition"], DType::String))
        .var(
            VarSpec::new("weight", &["transition", "time"], DType::F64)
                .attr("long_name", "share of the shift at the step")
                .attr("units", "1"),
        );
    for set in sets(found) {
        spec = with_set(spec, plan, &set);
    }
    spec
}

fn steps_of(found: &Explanation) -> usize {
    found.shifted.responses.len_of(Axis(2))
}

fn with_set(spec: CubeSpec, plan: &Plan, set: &Set<'_>) -> CubeSpec {
    let (samples, perturbations, steps) = set.forecasts.responses.dim();
    let name = |of: &str| format!("{}{of}", set.prefix);
    let (forecast, perturbation) = (name("forecast"), name("perturbation"));
    let (sample, response) = (name("forecast_sample"), name("response"));
    let mut spec = spec
        .dim(&forecast, samples)
        .dim(&perturbation, perturbations)
        .var(VarSpec::new(&sample, &[&forecast], DType::I32).attr("long_name", "index along sample"))
        .var(
            VarSpec::new(&response, &[&forecast, &perturbation, "step"], DType::F64)
                .chunk(&[1024, perturbations as u64, steps as u64])
                .attr("long_name", format!("mean {} of the forecast: {}", plan.index.name(), set.what))
                .attr("units", "1"),
        )
        .var(
            VarSpec::new(&name("perturbed_variable"), &[&perturbation], DType::String)
                .attr("long_name", "variable that is shifted; `none` for the unchanged forecast"),
        )
        .var(
            VarSpec::new(&name("delta"), &[&perturbation], DType::F64)
                .attr("long_name", "shift, physical units"),
        );
    let extra = match set.prefix {
        "" => [(name("perturbed_by"), DType::I32, "index along transition")].to_vec(),
        "pulse_" => [(name("step"), DType::I32, "index along time of the shifted step")].to_vec(),
        _ => [
            (name("second_variable"), DType::String, "the other variable that is shifted"),
            (name("second_delta"), DType::F64, "its shift, physical units"),
        ]
        .to_vec(),
    };
    for (name, dtype, long_name) in extra {
        spec = spec.var(VarSpec::new(&name, &[&perturbation], dtype).attr("long_name", long_name));
    }
    spec
}

fn write_set(writer: &CubeWriter, plan: &Plan, set: &Set<'_>) -> Result<(), Error> {
    let name = |of: &str| format!("{}{of}", set.prefix);
    let Forecasts { samples, perturbations, responses } = set.forecasts;
    let chosen: Array1<i32> = samples.iter().map(|sample| *sample as i32).collect();
    writer.write(&name("forecast_sample"), &[0], chosen.view().into_dyn())?;
    writer.write(&name("response"), &[0; 3], responses.view().into_dyn())?;
    let nth = |n: usize| -> (Vec<String>, Array1<f64>) {
        let one = |p: &Perturbation| match p.moves().get(n) {
            Some((variable, delta)) => (plan.variables[*variable].name.clone(), *delta),
            None => ("none".to_owned(), 0.0),
        };
        let (names, deltas): (Vec<String>, Vec<f64>) = perturbations.iter().map(one).unzip();
        (names, Array1::from_vec(deltas))
    };
    let (variables, deltas) = nth(0);
    writer.write_strings(&name("perturbed_variable"), &variables)?;
    writer.write(&name("delta"), &[0], deltas.view().into_dyn())?;
    match set.prefix {
        "pair_" => {
            let (variables, deltas) = nth(1);
            writer.write_strings(&name("second_variable"), &variables)?;
            writer.write(&name("second_delta"), &[0], deltas.view().into_dyn())?;
        }
        prefix => {
            let number = |p: &Perturbation| match *p {
                Perturbation::Shift { transition, .. } => transition as i32,
                Perturbation::Pulse { step, .. } => step as i32,
                Perturbation::Unchanged | Perturbation::Pair { .. } => 0,
            };
            let numbers: Array1<i32> = perturbations.iter().map(number).collect();
            let of = if prefix.is_empty() { "perturbed_by" } else { "step" };
            writer.write(&name(of), &[0], numbers.view().into_dyn())?;
        }
    }
    Ok(())
}

/// Centroids in physical units; NaN beyond a variable's number of clusters.
fn centroids(plan: &Plan, found: &Explanation, most: usize) -> Array3<f64> {
    let steps = found.weather.values.len_of(Axis(2));
    let mut all = Array3::from_elem((found.clusters.len(), most, steps), f64::NAN);
    for (c, clusters) in found.clusters.iter().enumerate() {
        let unit = plan.variables[found.weather.variable_of[c]].clustered;
        for (k, centroid) in clusters.centroids.outer_iter().enumerate() {
            let mut into = all.index_axis_mut(Axis(0), c);
            into.row_mut(k).assign(&centroid.mapv(|value| unit.invert(value)));
        }
    }
    all
}
