//! Reads an explanation back and proves that its files belong together.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type};
use minicube::{Cube, check};
use ndarray::{Array2, Array3, Axis, Ix1, Ix2, Ix3};

use crate::error::Error;
use crate::map_store::MAPS;
use crate::plan::Plan;
use crate::sensitivity::sensitivity;
use crate::store::STORE;
use crate::tables::{read_table, table_files};

const SEGMENTS: &str = "segments.parquet";
const SENSITIVITY: &str = "sensitivity.parquet";

/// Checks every file of the explanation in `folder`; returns what was proved.
///
/// # Errors
/// [`Error::Output`] or [`Error::Files`] naming the first file that is missing, of another plan or contradicts
/// the others.
pub(crate) fn verify(folder: &Path, plan: &Plan, hash: &str) -> Result<String, Error> {
    let store = folder.join(STORE);
    let cube = Cube::open(&store, "signals")?;
    let found = cube.attr_str("plan_hash")?;
    if found != hash {
        return Err(Error::output(&store, format!("expected plan {hash}, found {found}; run csp again")));
    }
    if let Some(violation) = check(&store, "signals")?.first() {
        return Err(Error::output(&store, violation));
    }
    let maps = folder.join(MAPS);
    if plan.map_samples > 0 && maps.exists() {
        let found = Cube::open(&maps, "saliency")?.attr_str("plan_hash")?.to_owned();
        if found != hash {
            return Err(Error::output(&maps, format!("expected plan {hash}, found {found}; run csp again")));
        }
        if let Some(violation) = check(&maps, "saliency")?.first() {
            return Err(Error::output(&maps, violation));
        }
    }
    let mut tables = BTreeMap::new();
    for file in table_files() {
        let path = folder.join(file);
        let (own, batches) = read_table(&path)?;
        if own["plan_hash"] != hash {
            return Err(Error::output(&path, format!("expected plan {hash}, found {}", own["plan_hash"])));
        }
        tables.insert(file, batches);
    }
    let table = |file: &str| tables.get(file).map_or(&[][..], Vec::as_slice);
    let segments = column_i32(table(SEGMENTS), "segment");
    let samples = cube.dim("sample")? as usize;
    if segments.len() != samples {
        let reason = format!("expected {samples} samples, found {}", segments.len());
        return Err(Error::output(&folder.join(SEGMENTS), reason));
    }
    let worst = sensitivities_again(folder, &cube, plan, &segments, table(SENSITIVITY))?;
    Ok(format!(
        "csp: {} is complete: {samples} samples in {} segments; sensitivities follow from the stored responses \
         within {worst:.1e}",
        folder.display(),
        segments.iter().max().map_or(0, |most| most + 1)
    ))
}

/// Computes the global sensitivities from the stored responses; returns the largest relative difference.
fn sensitivities_again(
    folder: &Path,
    cube: &Cube,
    plan: &Plan,
    segments: &[i32],
    table: &[RecordBatch],
) -> Result<f64, Error> {
    let shaped =
        |variable: &str| Error::output(&folder.join(STORE), format!("{variable}: wrong number of axes"));
    let responses: Array3<f64> =
        cube.read::<f64>("response")?.into_dimensionality::<Ix3>().map_err(|_| shaped("response"))?;
    let forecast =
        cube.read::<i32>("forecast_sample")?.into_dimensionality::<Ix1>().map_err(|_| shaped("forecast"))?;
    let labels: Array2<i32> =
        cube.read::<i32>("label")?.into_dimensionality::<Ix2>().map_err(|_| shaped("label"))?;
    // Same segment if and only if same tuple of labels.
    for (a, b) in (1..segments.len()).map(|i| (i - 1, i)) {
        if (segments[a] == segments[b]) != (labels.column(a) == labels.column(b)) {
            return Err(Error::output(
                &folder.join(SEGMENTS),
                format!("segment of sample {b} contradicts its labels"),
            ));
        }
    }
    let transitions = plan.transitions.len();
    let perturbations = crate::perturb::shifts(&plan.variables, transitions);
    let asked = || (0..transitions).flat_map(|t| (0..plan.variables.len()).map(move |v| (t, v)));
    let count = segments.iter().max().map_or(0, |most| *most as usize + 1);
    let (mut total, mut sums) = (0.0, vec![0.0; transitions * plan.variables.len()]);
    for segment in 0..count {
        let size = segments.iter().filter(|s| **s as usize == segment).count() as f64;
        let rows: Vec<usize> = (0..forecast.len())
            .filter(|i| segments[forecast[*i] as usize] as usize == segment)
            .filter(|i| responses.index_axis(Axis(0), *i).iter().all(|v| v.is_finite()))
            .collect();
        if rows.is_empty() {
            continue;
        }
        let mean = crate::respond::mean_signals(&responses, &rows);
        for (sum, (t, v)) in sums.iter_mut().zip(asked()) {
            let deltas = &plan.variables[v].deltas;
            let signals = mean.select(Axis(0), &crate::perturb::positions(&perturbations, v, deltas, t));
            *sum += size * sensitivity(signals.view(), deltas).mean_over_pairs;
        }
        total += size;
    }
    let stored = column_f64(table, "value");
    let mut worst: f64 = 0.0;
    for (row, (sum, (_, v))) in sums.iter().zip(asked()).enumerate() {
        let again = sum / total;
        // The literal sum follows each mean over pairs.
        let value = stored.get(2 * row).copied().unwrap_or(f64::NAN);
        let error =
            if again == value { 0.0 } else { (again - value).abs() / again.abs().max(f64::MIN_POSITIVE) };
        if error.is_nan() || error > 1e-9 {
            let reason = format!("{}: stored {value}, computed {again}", plan.variables[v].name);
            return Err(Error::output(&folder.join(SENSITIVITY), reason));
        }
        worst = worst.max(error);
    }
    Ok(worst)
}

fn column_i32(batches: &[RecordBatch], name: &str) -> Vec<i32> {
    let columns = batches.iter().filter_map(|batch| batch.column_by_name(name));
    columns
        .filter_map(|c| c.as_primitive_opt::<Int32Type>())
        .flat_map(|c| c.values().iter().copied())
        .collect()
}

fn column_f64(batches: &[RecordBatch], name: &str) -> Vec<f64> {
    let columns = batches.iter().filter_map(|batch| batch.column_by_name(name));
    columns
        .filter_map(|c| c.as_primitive_opt::<Float64Type>())
        .flat_map(|c| (0..c.len()).map(move |i| if c.is_null(i) { f64::NAN } else { c.value(i) }))
        .collect()
}
