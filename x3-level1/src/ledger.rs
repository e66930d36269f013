//! The downloader's ledger, as far as it explains blocks that are not in a sparse raster.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use minicube::esa_name;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::Error;

const COLUMNS: [&str; 6] = ["item", "asset", "block_row", "block_col", "status", "etag"];

/// What the ledger says about one asset of one scene.
#[derive(Clone, Debug, Default)]
pub struct AssetRecord {
    blocks: BTreeMap<(i64, i64), String>,
    /// ETag of the remote file, where the server gave one.
    pub etag: Option<String>,
}

impl AssetRecord {
    /// Status of a block, or of the whole file where it was fetched whole.
    #[must_use]
    pub fn status(&self, row: usize, col: usize) -> Option<&str> {
        let key = (i64::try_from(row).ok()?, i64::try_from(col).ok()?);
        self.blocks.get(&key).or_else(|| self.blocks.get(&(-1, -1))).map(String::as_str)
    }

    /// Whether it was fetched by the block.
    #[must_use]
    pub fn is_in_blocks(&self) -> bool {
        self.blocks.keys().any(|(row, _)| *row >= 0)
    }

    /// Whether every block has this status.
    #[must_use]
    pub fn all(&self, status: &str) -> bool {
        !self.blocks.is_empty() && self.blocks.values().all(|found| found == status)
    }
}

/// The ledger's rows by scene and asset.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    scenes: BTreeMap<String, BTreeMap<String, AssetRecord>>,
}

impl Ledger {
    /// Reads `raw/ledger.parquet`; a project without one has an empty ledger.
    ///
    /// # Errors
    /// [`Error::Ledger`] if it is no Parquet file or lacks a column.
    pub fn read(path: &Path) -> Result<Ledger, Error> {
        if !path.exists() {
            return Ok(Ledger::default());
        }
        let failed = |reason: String| Error::Ledger { path: path.to_owned(), reason };
        let file = File::open(path).map_err(Error::read(path))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| failed(e.to_string()))?;
        let schema = builder.schema().clone();
        if let Some(missing) = COLUMNS.iter().find(|name| schema.index_of(name).is_err()) {
            let found: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            return Err(failed(format!("expected a column `{missing}`, found {}", found.join(", "))));
        }
        let mask = ProjectionMask::columns(builder.parquet_schema(), COLUMNS);
        let reader = builder.with_projection(mask).build().map_err(|e| failed(e.to_string()))?;
        let mut ledger = Ledger::default();
        for batch in reader {
            let batch = batch.map_err(|e| failed(e.to_string()))?;
            let column = |name: &str, to: &DataType| {
                let array =
                    batch.column_by_name(name).ok_or_else(|| failed(format!("no column `{name}`")))?;
                cast(array, to).map_err(|e| failed(format!("column `{name}`: {e}")))
            };
            let [item, asset, status, etag] =
                ["item", "asset", "status", "etag"].map(|n| column(n, &DataType::Utf8));
            let [row, col] = ["block_row", "block_col"].map(|name| column(name, &DataType::Int64));
            let (item, asset, status, etag, row, col) = (item?, asset?, status?, etag?, row?, col?);
            let text = |array: &dyn Array, i: usize| {
                (!array.is_null(i)).then(|| array.as_string::<i32>().value(i).to_owned())
            };
            for i in 0..batch.num_rows() {
                let (Some(scene), Some(asset)) = (text(&item, i), text(&asset, i)) else { continue };
                let record = ledger.scenes.entry(scene).or_default().entry(asset).or_default();
                let key =
                    (row.as_primitive::<Int64Type>().value(i), col.as_primitive::<Int64Type>().value(i));
                record.blocks.insert(key, text(&status, i).unwrap_or_default());
                record.etag = text(&etag, i).filter(|etag| !etag.is_empty()).or(record.etag.take());
            }
        }
        Ok(ledger)
    }

    /// What is known of an asset of a scene, under its key or under ESA's name.
    #[must_use]
    pub fn asset(&self, scene: &str, asset: &str) -> Option<&AssetRecord> {
        let assets = self.scenes.get(scene)?;
        assets.get(asset).or_else(|| assets.get(esa_name(asset)?))
    }

    /// Whether the downloader dropped the scene for a newer processing of the same acquisition.
    #[must_use]
    pub fn is_superseded(&self, scene: &str) -> bool {
        self.scenes.get(scene).is_some_and(|assets| assets.values().all(|record| record.all("superseded")))
    }

    /// Whether a block that is not in the file is rightly not there.
    #[must_use]
    pub fn explains(&self, scene: &str, asset: &str, row: usize, col: usize) -> bool {
        // `fetched` or `reused` and yet absent: the remote file itself is sparse there, so there is no data.
        let status = self.asset(scene, asset).and_then(|record| record.status(row, col));
        matches!(status, Some("skipped_cloudy" | "fetched" | "reused"))
    }
}
