//! `climatology.parquet` of Level 2: what kNDVI is usual for a land cover and a time of year.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int32Type};
use minicube::ten_days_of_year;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::error::Error;
use crate::score::impact::Usual;

/// Rows over all climates.
const ALL: &str = "all";

/// What is usual, by land cover (0 = all) and tens of days since 1 January.
pub(crate) struct UsualTable(BTreeMap<(u8, usize), Usual>);

impl UsualTable {
    /// Reads `climatology.parquet`.
    ///
    /// # Errors
    /// [`Error::Io`] if it is not there, [`Error::Files`] if it is no table or lacks a column.
    pub(crate) fn read(path: &Path) -> Result<UsualTable, Error> {
        let file = File::open(path).map_err(|error| Error::io(path, error))?;
        let failed = |reason: String| Error::Files(minicube::Error::Table { path: path.to_owned(), reason });
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| failed(e.to_string()))?;
        let reader = builder.build().map_err(|e| failed(e.to_string()))?;
        let mut table = BTreeMap::new();
        for batch in reader {
            let batch = batch.map_err(|e| failed(e.to_string()))?;
            let column = |name: &str, kind: &DataType| {
                let found = batch.column_by_name(name).ok_or_else(|| failed(format!("no column {name}")))?;
                cast(found, kind).map_err(|e| failed(format!("column {name}: {e}")))
            };
            let climate = column("climate", &DataType::Utf8)?;
            let [cover, bin] = ["landcover", "bin"].map(|name| column(name, &DataType::Int32));
            let [mean, sd] = ["kndvi_mean", "kndvi_std"].map(|name| column(name, &DataType::Float64));
            let (cover, bin, mean, sd) = (cover?, bin?, mean?, sd?);
            for i in (0..batch.num_rows()).filter(|&i| climate.as_string::<i32>().value(i) == ALL) {
                let number = |array: &dyn Array| {
                    if array.is_null(i) { f64::NAN } else { array.as_primitive::<Float64Type>().value(i) }
                };
                let integer = |array: &dyn Array| array.as_primitive::<Int32Type>().value(i);
                let (Ok(cover), Ok(bin)) = (u8::try_from(integer(&cover)), usize::try_from(integer(&bin)))
                else {
                    continue;
                };
                table.insert((cover, bin), Usual { mean: number(&mean), sd: number(&sd) });
            }
        }
        Ok(UsualTable(table))
    }

    /// What is usual for a land cover on a CF day; that of all land where the land cover has nothing.
    pub(crate) fn at(&self, cover: u8, day: i32) -> Option<Usual> {
        let bin = ten_days_of_year(day);
        self.0.get(&(cover, bin)).or_else(|| self.0.get(&(0, bin))).copied()
    }
}
