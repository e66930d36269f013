//! The files of an explanation: signals and clusters as Zarr, segments, sensitivities and curves as Parquet.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray};
use minicube::{CubeSpec, CubeWriter, DType, SCHEMA_VERSION, VarSpec, write_table};
use ndarray::{Array1, Array2, Array3, Axis};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::error::Error;
use crate::explain::Explanation;
use crate::plan::Plan;
use crate::sensitivity::Weighted;

/// Names of the files in an explanation's folder; the store is sealed last and so proves the others.
pub(crate) const FILES: [&str; 4] =
    ["segments.parquet", "sensitivity.parquet", "curves.parquet", "signals.zarr"];

/// Writes all data files of an explanation into `folder`.
///
/// # Errors
/// [`Error::Files`] or [`Error::Output`] if a file cannot be written.
pub(crate) fn write_all(folder: &Path, plan: &Plan, found: &Explanation, hash: &str) -> Result<(), Error> {
    write_columns(&folder.join(FILES[0]), "segments", hash, segments(found))?;
    write_columns(&folder.join(FILES[1]), "sensitivity", hash, sensitivities(plan, found))?;
    write_columns(&folder.join(FILES[2]), "curves", hash, curves(plan, found))?;
    write_signals(&folder.join(FILES[3]), plan, found, hash)
}

type Columns = Vec<(&'static str, ArrayRef)>;

fn texts(values: impl Iterator<Item = String>) -> ArrayRef {
    Arc::new(StringArray::from(values.collect::<Vec<_>>()))
}

fn integers(values: impl Iterator<Item = usize>) -> ArrayRef {
    Arc::new(Int32Array::from(values.map(|value| value as i32).collect::<Vec<_>>()))
}

/// NaN becomes null.
fn floats(values: impl Iterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from(values.map(|value| value.is_finite().then_some(value)).collect::<Vec<_>>()))
}

/// One row a usable sample, in dataset order.
fn segments(found: &Explanation) -> Vec<(String, ArrayRef)> {
    let samples = found.sample_ids.len();
    let mut of = vec![0; samples];
    for (index, segment) in found.segments.iter().enumerate() {
        segment.samples.iter().for_each(|sample| of[*sample] = index);
    }
    let forecast = (0..samples).map(|sample| usize::from(found.forecast.binary_search(&sample).is_ok()));
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("segment".into(), integers(of.into_iter())),
        ("sample_id".into(), texts(found.sample_ids.iter().cloned())),
    ];
    for (channel, clusters) in found.weather.channels.iter().zip(&found.clusters) {
        columns.push((format!("cluster_{channel}"), integers(clusters.labels.iter().copied())));
    }
    columns.push(("forecast".into(), integers(forecast)));
    columns
}

/// Two rows a variable: the published reading first, then the literal sum.
fn sensitivities(plan: &Plan, found: &Explanation) -> Vec<(String, ArrayRef)> {
    let rows: Vec<(usize, &str, &Weighted)> = found
        .global
        .iter()
        .enumerate()
        .flat_map(|(v, g)| [(v, "mean_over_pairs", &g.mean_over_pairs), (v, "literal_sum", &g.literal_sum)])
        .collect();
    let number = |get: fn(&Weighted) -> f64| floats(rows.iter().map(|(_, _, w)| get(w)));
    let unit = |v: usize| format!("{} per {}", plan.index.name(), plan.variables[v].unit);
    let forecast: usize = found.segment_responses.iter().map(|response| response.forecast).sum();
    let columns: Columns = vec![
        ("variable", texts(rows.iter().map(|(v, ..)| plan.variables[*v].name.clone()))),
        ("reading", texts(rows.iter().map(|(_, reading, _)| (*reading).to_owned()))),
        ("value", number(|w| w.mean)),
        ("sd", number(|w| w.sd)),
        ("low", number(|w| w.low)),
        ("high", number(|w| w.high)),
        ("unit", texts(rows.iter().map(|(v, ..)| unit(*v)))),
        ("n_segments", integers(rows.iter().map(|_| found.segment_responses.len()))),
        ("n_samples", integers(rows.iter().map(|_| forecast))),
    ];
    columns.into_iter().map(|(name, array)| (name.to_owned(), array)).collect()
}

/// One row a segment, variable and delta.
fn curves(plan: &Plan, found: &Explanation) -> Vec<(String, ArrayRef)> {
    let mut rows: Vec<(usize, usize, f64, f64, f64)> = Vec::new();
    for response in &found.segment_responses {
        for (v, (variable, answer)) in plan.variables.iter().zip(&response.answers).enumerate() {
            for (d, delta) in variable.deltas.iter().enumerate() {
                rows.push((response.segment, v, *delta, answer.x[d], answer.y[d]));
            }
        }
    }
    let columns: Columns = vec![
        ("segment", integers(rows.iter().map(|row| row.0))),
        ("variable", texts(rows.iter().map(|row| plan.variables[row.1].name.clone()))),
        ("delta", floats(rows.iter().map(|row| row.2))),
        ("x", floats(rows.iter().map(|row| row.3))),
        ("ndvi", floats(rows.iter().map(|row| row.4))),
    ];
    columns.into_iter().map(|(name, array)| (name.to_owned(), array)).collect()
}

fn write_columns(
    path: &Path,
    schema: &str,
    hash: &str,
    columns: Vec<(String, ArrayRef)>,
) -> Result<(), Error> {
    let batch = RecordBatch::try_from_iter(columns).map_err(|error| Error::output(path, error))?;
    let own = json!({"minicube_schema": schema, "schema_version": SCHEMA_VERSION, "plan_hash": hash});
    Ok(write_table(path, &batch.schema(), &[("minicube", own)], [Ok(batch)])?)
}

/// Reads a table of ours back: its own metadata and its rows.
///
/// # Errors
/// [`Error::Output`] if it is not there or damaged.
pub(crate) fn read_table(path: &Path) -> Result<(Value, Vec<RecordBatch>), Error> {
    let file = File::open(path).map_err(|error| Error::output(path, error))?;
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| Error::output(path, error))?;
    let entries = builder.metadata().file_metadata().key_value_metadata();
    let own = entries.into_iter().flatten().find(|entry| entry.key == "minicube");
    let own = own.and_then(|entry| entry.value.as_deref()).and_then(|text| serde_json::from_str(text).ok());
    let reader = builder.build().map_err(|error| Error::output(path, error))?;
    let batches = reader.collect::<Result<Vec<_>, _>>().map_err(|error| Error::output(path, error))?;
    Ok((own.unwrap_or(Value::Null), batches))
}

fn write_signals(path: &Path, plan: &Plan, found: &Explanation, hash: &str) -> Result<(), Error> {
    let (channels, samples, steps) = found.weather.values.dim();
    let most = found.clusters.iter().map(|clusters| clusters.k()).max().unwrap_or(0);
    let (forecast, perturbations, targets) = found.responses.dim();
    let units: Vec<String> =
        found.weather.variable_of.iter().map(|v| plan.variables[*v].unit.clone()).collect();
    let spec = CubeSpec::new("signals")
        .dim("variable", channels)
        .dim("sample", samples)
        .dim("time", steps)
        .dim("cluster", most)
        .dim("forecast", forecast)
        .dim("perturbation", perturbations)
        .dim("step", targets)
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
        .var(
            VarSpec::new("forecast_sample", &["forecast"], DType::I32)
                .attr("long_name", "index along sample"),
        )
        .var(
            VarSpec::new("perturbed_variable", &["perturbation"], DType::String)
                .attr("long_name", "variable that is shifted; `none` for the unchanged forecast"),
        )
        .var(VarSpec::new("delta", &["perturbation"], DType::F64).attr("long_name", "shift, physical units"))
        .var(
            VarSpec::new("response", &["forecast", "perturbation", "step"], DType::F64)
                .chunk(&[1024, perturbations as u64, targets as u64])
                .attr("long_name", format!("mean {} of the forecast", plan.index.name()))
                .attr("units", "1"),
        );
    let writer = CubeWriter::create(path, &spec, hash)?;
    writer.write_strings("variable", &found.weather.channels)?;
    writer.write_strings("unit", &units)?;
    writer.write_strings("sample_id", &found.sample_ids)?;
    writer.write("signal", &[0; 3], found.weather.values.view().into_dyn())?;
    writer.write("centroid", &[0; 3], centroids(plan, found, most, steps).view().into_dyn())?;
    let labels = Array2::from_shape_fn((channels, samples), |(c, s)| found.clusters[c].labels[s] as i32);
    writer.write("label", &[0; 2], labels.view().into_dyn())?;
    let chosen: Array1<i32> = found.forecast.iter().map(|sample| *sample as i32).collect();
    writer.write("forecast_sample", &[0], chosen.view().into_dyn())?;
    let shifted =
        |variable: Option<usize>| variable.map_or("none".to_owned(), |v| plan.variables[v].name.clone());
    let names: Vec<String> = found.perturbations.iter().map(|p| shifted(p.variable)).collect();
    writer.write_strings("perturbed_variable", &names)?;
    let deltas: Array1<f64> = found.perturbations.iter().map(|p| p.delta).collect();
    writer.write("delta", &[0], deltas.view().into_dyn())?;
    writer.write("response", &[0; 3], found.responses.view().into_dyn())?;
    writer.seal()?;
    Ok(())
}

/// Centroids in physical units; NaN beyond a variable's number of clusters.
fn centroids(plan: &Plan, found: &Explanation, most: usize, steps: usize) -> Array3<f64> {
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
