//! The Parquet tables of an explanation: segments, sensitivities, curves, lags and interactions.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray};
use minicube::{SCHEMA_VERSION, write_csv, write_table};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::counterfactual::Counterfactual;
use crate::curve::Curve;
use crate::error::Error;
use crate::explain::Explanation;
use crate::plan::Plan;
use crate::sensitivity::Weighted;

type Columns = Vec<(String, ArrayRef)>;
/// Makes the columns of one table.
type Maker = fn(&Plan, &Explanation) -> Columns;

/// The tables by file name, which is the schema's name with its ending.
const TABLES: [(&str, Maker); 10] = [
    ("segments.parquet", segments),
    ("sensitivity.parquet", sensitivities),
    ("curves.parquet", curves),
    ("fits.parquet", fits),
    ("lags.parquet", lags),
    ("interactions.parquet", interactions),
    ("surfaces.parquet", surfaces),
    ("groups.parquet", groups),
    ("ranking.parquet", ranking),
    ("counterfactuals.parquet", counterfactuals),
];

/// Names of all tables.
pub(crate) fn table_files() -> impl Iterator<Item = &'static str> {
    TABLES.iter().map(|(file, _)| *file)
}

/// Writes all tables into `folder`, as CSV too where the plan says so.
///
/// # Errors
/// [`Error::Files`] or [`Error::Output`] if a file cannot be written.
pub(crate) fn write_tables(folder: &Path, plan: &Plan, found: &Explanation, hash: &str) -> Result<(), Error> {
    for (file, columns) in TABLES {
        let path = folder.join(file);
        let schema = file.trim_end_matches(".parquet");
        let batch = RecordBatch::try_from_iter(columns(plan, found)).map_err(|e| Error::output(&path, e))?;
        let csv = path.with_extension("csv");
        if plan.csv {
            write_csv(&csv, &batch)?;
        } else if csv.exists() {
            // Of a plan before this one.
            std::fs::remove_file(&csv).map_err(|error| Error::output(&csv, error))?;
        }
        let own = json!({"minicube_schema": schema, "schema_version": SCHEMA_VERSION, "plan_hash": hash});
        write_table(&path, &batch.schema(), &[("minicube", own)], [Ok(batch)])?;
    }
    Ok(())
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

fn texts(values: impl Iterator<Item = String>) -> ArrayRef {
    Arc::new(StringArray::from(values.collect::<Vec<_>>()))
}

fn integers(values: impl Iterator<Item = usize>) -> ArrayRef {
    maybe_integers(values.map(Some))
}

fn maybe_integers(values: impl Iterator<Item = Option<usize>>) -> ArrayRef {
    Arc::new(Int32Array::from(values.map(|value| value.map(|v| v as i32)).collect::<Vec<_>>()))
}

/// NaN becomes null.
fn floats(values: impl Iterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from(values.map(|value| value.is_finite().then_some(value)).collect::<Vec<_>>()))
}

fn named(columns: Vec<(&str, ArrayRef)>) -> Columns {
    columns.into_iter().map(|(name, array)| (name.to_owned(), array)).collect()
}

/// One row a usable sample, in dataset order.
fn segments(_: &Plan, found: &Explanation) -> Columns {
    let samples = found.sample_ids.len();
    let mut of = vec![0; samples];
    for (index, segment) in found.segments.iter().enumerate() {
        segment.samples.iter().for_each(|sample| of[*sample] = index);
    }
    let forecast =
        (0..samples).map(|sample| usize::from(found.shifted.samples.binary_search(&sample).is_ok()));
    let mut columns = named(vec![
        ("segment", integers(of.into_iter())),
        ("sample_id", texts(found.sample_ids.iter().cloned())),
    ]);
    for (channel, clusters) in found.weather.channels.iter().zip(&found.clusters) {
        columns.push((format!("cluster_{channel}"), integers(clusters.labels.iter().copied())));
    }
    for grouping in &found.groupings {
        let class = |of: &Option<usize>| of.map(|class| grouping.classes[class].clone());
        let classes: StringArray = grouping.of.iter().map(class).collect();
        columns.push((format!("class_{}", grouping.layer), Arc::new(classes)));
    }
    columns.push(("forecast".into(), integers(forecast)));
    columns
}

/// Two rows a transition and variable: the published reading, and the literal sum.
fn sensitivities(plan: &Plan, found: &Explanation) -> Columns {
    let mut rows: Vec<(usize, usize, &str, Weighted)> = Vec::new();
    for t in 0..plan.transitions.len() {
        for (v, global) in found.global.iter().enumerate() {
            let [mean, sum] = global.sensitivity[t];
            rows.extend([(t, v, "mean_over_pairs", mean), (t, v, "literal_sum", sum)]);
        }
    }
    let number = |get: fn(&Weighted) -> f64| floats(rows.iter().map(|(.., w)| get(w)));
    let unit = |v: usize| format!("{} per {}", plan.index.name(), plan.variables[v].unit);
    let forecast: usize = found.segment_responses.iter().map(|response| response.forecast).sum();
    named(vec![
        ("variable", texts(rows.iter().map(|(_, v, ..)| plan.variables[*v].name.clone()))),
        ("reading", texts(rows.iter().map(|(_, _, reading, _)| (*reading).to_owned()))),
        ("transition", texts(rows.iter().map(|(t, ..)| plan.transitions[*t].name()))),
        ("value", number(|w| w.mean)),
        ("sd", number(|w| w.sd)),
        ("low", number(|w| w.low)),
        ("high", number(|w| w.high)),
        ("unit", texts(rows.iter().map(|(_, v, ..)| unit(*v)))),
        ("weather_sd", floats(rows.iter().map(|(_, v, ..)| found.global[*v].weather_sd))),
        ("largest_change", floats(rows.iter().map(|(_, v, ..)| found.global[*v].movement.largest))),
        ("unmoved", floats(rows.iter().map(|(_, v, ..)| found.global[*v].movement.unmoved))),
        ("out_of_range", floats(rows.iter().map(|(_, v, ..)| found.global[*v].out_of_range))),
        ("n_segments", integers(rows.iter().map(|_| found.segment_responses.len()))),
        ("n_samples", integers(rows.iter().map(|_| forecast))),
    ])
}

/// One row a segment, variable and delta of the first transition.
fn curves(plan: &Plan, found: &Explanation) -> Columns {
    let mut rows: Vec<(usize, usize, f64, f64, f64)> = Vec::new();
    for response in &found.segment_responses {
        for (v, (variable, answer)) in plan.variables.iter().zip(&response.answers).enumerate() {
            for (d, delta) in variable.deltas.iter().enumerate() {
                rows.push((response.segment, v, *delta, answer.x[d], answer.y[d]));
            }
        }
    }
    named(vec![
        ("segment", integers(rows.iter().map(|row| row.0))),
        ("variable", texts(rows.iter().map(|row| plan.variables[row.1].name.clone()))),
        ("delta", floats(rows.iter().map(|row| row.2))),
        ("x", floats(rows.iter().map(|row| row.3))),
        ("ndvi", floats(rows.iter().map(|row| row.4))),
    ])
}

/// A fitted curve and what it stands for.
struct Fit<'a> {
    scope: &'static str,
    segment: Option<usize>,
    variable: usize,
    curve: &'a Curve,
    best: bool,
}

/// One row a curve: the parabolas over segments first, then every family of every segment.
fn fits(plan: &Plan, found: &Explanation) -> Columns {
    let mut rows: Vec<Fit> = Vec::new();
    for (variable, global) in found.global.iter().enumerate() {
        let split = global.split.as_ref();
        let over_segments = [
            ("all", global.parabola.as_ref()),
            ("all_of_best", global.of_best.as_ref()),
            ("low", split.and_then(|split| split.low.0.as_ref())),
            ("high", split.and_then(|split| split.high.0.as_ref())),
        ];
        let there = over_segments.into_iter().filter_map(|(scope, curve)| Some((scope, curve?)));
        rows.extend(there.map(|(scope, curve)| Fit { scope, segment: None, variable, curve, best: false }));
    }
    for response in &found.segment_responses {
        for (variable, answer) in response.answers.iter().enumerate() {
            rows.extend(answer.curves.iter().map(|curve| Fit {
                scope: "segment",
                segment: Some(response.segment),
                variable,
                curve,
                best: answer.best.as_ref() == Some(curve),
            }));
        }
    }
    let parameter = |i: usize| {
        floats(rows.iter().map(move |fit| fit.curve.coefficients.get(i).copied().unwrap_or(f64::NAN)))
    };
    named(vec![
        ("scope", texts(rows.iter().map(|fit| fit.scope.to_owned()))),
        ("segment", maybe_integers(rows.iter().map(|fit| fit.segment))),
        ("variable", texts(rows.iter().map(|fit| plan.variables[fit.variable].name.clone()))),
        ("family", texts(rows.iter().map(|fit| fit.curve.family.name().to_owned()))),
        ("a", parameter(0)),
        ("b", parameter(1)),
        ("c", parameter(2)),
        ("d", parameter(3)),
        ("vertex", floats(rows.iter().map(|fit| fit.curve.vertex().unwrap_or(f64::NAN)))),
        ("r2", floats(rows.iter().map(|fit| fit.curve.r2))),
        ("adjusted_r2", floats(rows.iter().map(|fit| fit.curve.adjusted_r2))),
        ("aic", floats(rows.iter().map(|fit| fit.curve.aic))),
        ("best", integers(rows.iter().map(|fit| usize::from(fit.best)))),
    ])
}

/// One row a variable and lag.
fn lags(plan: &Plan, found: &Explanation) -> Columns {
    let rows: Vec<_> = found
        .lags
        .iter()
        .enumerate()
        .flat_map(|(v, response)| response.lags.iter().map(move |lag| (v, lag)))
        .collect();
    named(vec![
        ("variable", texts(rows.iter().map(|(v, _)| plan.variables[*v].name.clone()))),
        ("lag", integers(rows.iter().map(|(_, lag)| lag.lag))),
        ("value", floats(rows.iter().map(|(_, lag)| lag.value))),
        ("low", floats(rows.iter().map(|(_, lag)| lag.interval[0]))),
        ("high", floats(rows.iter().map(|(_, lag)| lag.interval[1]))),
        ("n_pairs", integers(rows.iter().map(|(_, lag)| lag.pairs))),
        ("n_samples", integers(rows.iter().map(|_| found.pulsed.samples.len()))),
    ])
}

/// One row a pair of variables.
fn interactions(plan: &Plan, found: &Explanation) -> Columns {
    let rows = || found.interactions.iter();
    let name = |i: usize| texts(rows().map(move |one| plan.variables[one.variables[i]].name.clone()));
    named(vec![
        ("first", name(0)),
        ("second", name(1)),
        ("strength", floats(rows().map(|one| one.strength.value))),
        ("strength_low", floats(rows().map(|one| one.strength.interval[0]))),
        ("strength_high", floats(rows().map(|one| one.strength.interval[1]))),
        ("h2", floats(rows().map(|one| one.h2.value))),
        ("h2_low", floats(rows().map(|one| one.h2.interval[0]))),
        ("h2_high", floats(rows().map(|one| one.h2.interval[1]))),
        ("n_samples", integers(rows().map(|_| found.paired.samples.len()))),
    ])
}

/// One row a pair of variables and pair of shifts.
fn surfaces(plan: &Plan, found: &Explanation) -> Columns {
    let cells = found.interactions.iter().flat_map(|one| {
        one.surface.indexed_iter().map(move |((i, j), index)| {
            (one.variables, [one.deltas[0][i], one.deltas[1][j]], *index, one.mixed[[i, j]])
        })
    });
    let rows: Vec<([usize; 2], [f64; 2], f64, f64)> = cells.collect();
    let name = |i: usize| texts(rows.iter().map(move |row| plan.variables[row.0[i]].name.clone()));
    named(vec![
        ("first", name(0)),
        ("second", name(1)),
        ("first_delta", floats(rows.iter().map(|row| row.1[0]))),
        ("second_delta", floats(rows.iter().map(|row| row.1[1]))),
        ("index", floats(rows.iter().map(|row| row.2))),
        ("mixed", floats(rows.iter().map(|row| row.3))),
    ])
}

/// One row a layer, class and variable.
fn groups(plan: &Plan, found: &Explanation) -> Columns {
    let rows = || found.groups.iter();
    named(vec![
        ("layer", texts(rows().map(|group| group.layer.clone()))),
        ("class", texts(rows().map(|group| group.class.clone()))),
        ("variable", texts(rows().map(|group| plan.variables[group.variable].name.clone()))),
        ("value", floats(rows().map(|group| group.value.mean))),
        ("sd", floats(rows().map(|group| group.value.sd))),
        ("low", floats(rows().map(|group| group.value.low))),
        ("high", floats(rows().map(|group| group.value.high))),
        ("n_usable", integers(rows().map(|group| group.usable))),
        ("n_forecast", integers(rows().map(|group| group.forecast))),
    ])
}

/// One row an input, the most important first.
fn ranking(_: &Plan, found: &Explanation) -> Columns {
    let rows = || found.ranking.iter();
    named(vec![
        ("input", texts(rows().map(|one| one.input.name.clone()))),
        ("kind", texts(rows().map(|one| one.input.kind.name().to_owned()))),
        ("change", floats(rows().map(|one| one.change.value))),
        ("change_low", floats(rows().map(|one| one.change.interval[0]))),
        ("change_high", floats(rows().map(|one| one.change.interval[1]))),
        ("rank", floats(rows().map(|one| one.rank.value))),
        ("rank_low", floats(rows().map(|one| one.rank.interval[0]))),
        ("rank_high", floats(rows().map(|one| one.rank.interval[1]))),
        ("n_samples", integers(rows().map(|_| found.ranked_samples))),
    ])
}

/// One row a sample, forecast step and variable.
fn counterfactuals(plan: &Plan, found: &Explanation) -> Columns {
    let all = || {
        found.counterfactuals.iter().flat_map(|one| {
            let cells = one.attribution.indexed_iter().map(move |((v, t), share)| (t, v, *share));
            let mut cells: Vec<_> = cells.collect();
            cells.sort_by_key(|(t, v, _)| (*t, *v));
            cells.into_iter().map(move |(t, v, share)| (one, t, v, share))
        })
    };
    let index =
        |get: fn(&Counterfactual, usize, usize) -> f64| floats(all().map(|(one, t, v, _)| get(one, t, v)));
    named(vec![
        ("sample_id", texts(all().map(|(one, ..)| found.sample_ids[one.sample].clone()))),
        ("step", integers(all().map(|(_, t, ..)| t))),
        ("variable", texts(all().map(|(_, _, v, _)| plan.variables[v].name.clone()))),
        ("change", floats(all().map(|(.., share)| share))),
        ("alone", index(|one, t, v| one.signals[[1 << v, t]] - one.signals[[0, t]])),
        ("before", index(|one, t, _| one.signals[[0, t]])),
        ("after", index(|one, t, _| one.signals[[one.signals.nrows() - 1, t]])),
    ])
}
