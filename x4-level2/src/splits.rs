//! `splits.parquet`: which sample is where, when and in which split.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Float64Array, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use bytes::Bytes;
use minicube::{Bounds, Cube, Epsg, LocationTable, SCHEMA_VERSION, Split, read_file, write_table};
use ndarray::{ArrayD, Axis};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::Error;
use crate::fill_errors::FillErrors;
use crate::leakage::Ground;
use crate::level1::outer_edges;
use crate::separation::Separation;

/// One row of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct SplitRow {
    /// Sample.
    pub sample_id: String,
    /// Cube it was cut from.
    pub cube_id: String,
    /// Tile.
    pub tile: String,
    /// Split.
    pub split: Split,
    /// Centre, degrees east.
    pub lon: f64,
    /// Centre, degrees north.
    pub lat: f64,
    /// First day of the first step (CF day).
    pub start: i32,
    /// Last day of the last step (CF day).
    pub end: i32,
    /// Last day of the last step that a forecaster may see (CF day); what follows is forecast.
    pub context_end: i32,
    /// Projection of the bounds.
    pub epsg: Epsg,
    /// Outer edges of the pixels, in the projection.
    pub bounds: Bounds,
    /// Error of the gap filling in NDVI, on observations that were left out; NaN where it is not known.
    pub fill_rmse_ndvi: f64,
}

/// The rows of sealed stores, in the order of the stores.
///
/// # Errors
/// [`Error::Shared`] if a store cannot be read.
pub fn split_rows(stores: &[(Split, PathBuf)]) -> Result<Vec<SplitRow>, Error> {
    let mut rows = Vec::new();
    for (split, path) in stores {
        let cube = Cube::open(path, "level2")?;
        let (samples, cubes) = (cube.read_strings("sample_id")?, cube.read_strings("cube_id")?);
        let (lon, lat) = (cube.read::<f64>("lon")?, cube.read::<f64>("lat")?);
        let (start, dates) = (cube.read::<i32>("start_date")?, cube.read::<i32>("date")?);
        let (xc, yc) = (cube.read::<f64>("xc")?, cube.read::<f64>("yc")?);
        let epsg = Epsg(cube.attr_f64("epsg")? as u32);
        let context = (cube.attr_f64("context_steps")? as usize).clamp(1, dates.len_of(Axis(1)).max(1));
        let tile = cube.attr_str("tile")?;
        let errors = FillErrors::read(&cube)?;
        for (i, (sample_id, cube_id)) in samples.into_iter().zip(cubes).enumerate() {
            let last = dates.index_axis(Axis(0), i).iter().max().copied().unwrap_or(start[[i]]);
            let tile = tile.to_owned();
            let (lon, lat, start) = (lon[[i]], lat[[i]], start[[i]]);
            let fill_rmse_ndvi = errors.as_ref().map_or(f64::NAN, |errors| errors.ndvi(i));
            let row =
                |values: &ArrayD<f64>| values.index_axis(Axis(0), i).iter().copied().collect::<Vec<f64>>();
            rows.push(SplitRow {
                sample_id,
                cube_id,
                tile,
                split: *split,
                lon,
                lat,
                start,
                end: last,
                context_end: dates[[i, context - 1]],
                epsg,
                bounds: outer_edges(&row(&xc), &row(&yc)),
                fill_rmse_ndvi,
            });
        }
    }
    Ok(rows)
}

/// The grounds of the samples: one entry a cube and split.
#[must_use]
pub(crate) fn grounds(rows: &[SplitRow]) -> Vec<Ground> {
    let mut grounds: BTreeMap<(&str, Split), Ground> = BTreeMap::new();
    for row in rows {
        let ground = grounds.entry((&row.cube_id, row.split)).or_insert_with(|| Ground {
            cube_id: row.cube_id.clone(),
            split: row.split,
            epsg: row.epsg,
            bounds: row.bounds,
            from: row.start,
            to: row.end,
        });
        (ground.from, ground.to) = (ground.from.min(row.start), ground.to.max(row.end));
    }
    grounds.into_values().collect()
}

/// Writes the table, with the strata of the locations where they are known, and in its metadata what keeps the splits
/// apart. `plan_hash` names what it was made from.
///
/// # Errors
/// [`minicube::Error::Table`] or [`minicube::Error::Io`].
pub(crate) fn write_splits(
    path: &Path,
    rows: &[SplitRow],
    table: Option<&LocationTable>,
    separation: &Separation,
    plan_hash: &str,
) -> Result<(), Error> {
    let batch = splits_batch(rows, table)
        .map_err(|error| minicube::Error::Table { path: path.to_owned(), reason: error.to_string() })?;
    let own = json!({
        "minicube_schema": "splits",
        "schema_version": SCHEMA_VERSION,
        "plan_hash": plan_hash,
        "separation": separation,
    });
    Ok(write_table(path, &batch.schema(), &[("minicube", own)], [Ok(batch)])?)
}

/// The rows as columns.
pub(crate) fn splits_batch(
    rows: &[SplitRow],
    table: Option<&LocationTable>,
) -> Result<RecordBatch, ArrowError> {
    let text = |pick: fn(&SplitRow) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(pick)))
    };
    let number = |pick: fn(&SplitRow) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(rows.iter().map(pick)))
    };
    let date = |pick: fn(&SplitRow) -> i32| -> ArrayRef {
        Arc::new(Date32Array::from_iter_values(rows.iter().map(pick)))
    };
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("sample_id".into(), text(|row| &row.sample_id)),
        ("cube_id".into(), text(|row| &row.cube_id)),
        ("tile".into(), text(|row| &row.tile)),
        ("split".into(), text(|row| row.split.name())),
        ("lon".into(), number(|row| row.lon)),
        ("lat".into(), number(|row| row.lat)),
        ("start_date".into(), date(|row| row.start)),
        ("end_date".into(), date(|row| row.end)),
        ("context_end_date".into(), date(|row| row.context_end)),
        ("epsg".into(), Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.epsg.0 as i32)))),
        ("x_min".into(), number(|row| row.bounds.x_min)),
        ("y_min".into(), number(|row| row.bounds.y_min)),
        ("x_max".into(), number(|row| row.bounds.x_max)),
        ("y_max".into(), number(|row| row.bounds.y_max)),
    ];
    if rows.iter().any(|row| row.fill_rmse_ndvi.is_finite()) {
        columns.push(("fill_rmse_ndvi".into(), number(|row| row.fill_rmse_ndvi)));
    }
    if let Some(table) = table {
        let strata: BTreeMap<&str, _> = table.locations.iter().map(|l| (l.id.as_str(), &l.strata)).collect();
        for name in table.strata() {
            let class = |row: &SplitRow| strata.get(row.cube_id.as_str()).and_then(|s| s.get(&name)).cloned();
            columns.push((name.clone(), Arc::new(StringArray::from_iter(rows.iter().map(class)))));
        }
    }
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, values)| {
            Field::new(name, values.data_type().clone(), *values.data_type() == DataType::Utf8)
        })
        .collect();
    let arrays = columns.into_iter().map(|(_, values)| values).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
}

/// The `plan_hash` that a table was written with; `None` where there is no such table.
#[must_use]
pub(crate) fn splits_plan_hash(path: &Path) -> Option<String> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(read_file(path).ok()?)).ok()?;
    let entries = builder.metadata().file_metadata().key_value_metadata()?;
    let own: Value =
        serde_json::from_str(entries.iter().find(|e| e.key == "minicube")?.value.as_deref()?).ok()?;
    own["plan_hash"].as_str().map(str::to_owned)
}

/// The table as it is on the disk, in one piece.
///
/// # Errors
/// [`minicube::Error::Io`] or [`minicube::Error::Table`] if it cannot be read.
pub(crate) fn read_batch(path: &Path) -> Result<RecordBatch, Error> {
    let file = Bytes::from(read_file(path)?);
    let damaged = |error: &dyn std::fmt::Display| minicube::Error::Table {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| damaged(&error))?;
    let schema = builder.schema().clone();
    let batches = builder.build().map_err(|error| damaged(&error))?;
    let batches = batches.collect::<Result<Vec<_>, _>>().map_err(|error| damaged(&error))?;
    Ok(arrow::compute::concat_batches(&schema, &batches).map_err(|error| damaged(&error))?)
}
