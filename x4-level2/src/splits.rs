//! `splits.parquet`: which sample is where, when and in which split.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use minicube::{Cube, LocationTable, SCHEMA_VERSION, Split, read_file, write_table};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::Error;
use crate::fill_errors::FillErrors;

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
        let tile = cube.attr_str("tile")?;
        let errors = FillErrors::read(&cube)?;
        for (i, (sample_id, cube_id)) in samples.into_iter().zip(cubes).enumerate() {
            let last = dates.index_axis(ndarray::Axis(0), i).iter().max().copied().unwrap_or(start[[i]]);
            let tile = tile.to_owned();
            let (lon, lat, start) = (lon[[i]], lat[[i]], start[[i]]);
            let fill_rmse_ndvi = errors.as_ref().map_or(f64::NAN, |errors| errors.ndvi(i));
            let (split, end) = (*split, last);
            rows.push(SplitRow { sample_id, cube_id, tile, split, lon, lat, start, end, fill_rmse_ndvi });
        }
    }
    Ok(rows)
}

/// Writes the table, with the strata of the locations where they are known. `plan_hash` names what it was made from.
///
/// # Errors
/// [`minicube::Error::Table`] or [`minicube::Error::Io`].
pub(crate) fn write_splits(
    path: &Path,
    rows: &[SplitRow],
    table: Option<&LocationTable>,
    plan_hash: &str,
) -> Result<(), Error> {
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
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .map_err(|error| minicube::Error::Table { path: path.to_owned(), reason: error.to_string() })?;
    let own = json!({"minicube_schema": "splits", "schema_version": SCHEMA_VERSION, "plan_hash": plan_hash});
    Ok(write_table(path, &batch.schema(), &[("minicube", own)], [Ok(batch)])?)
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
