//! Reads a Parquet table of an explanation.

use std::fs::File;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// A table in memory.
pub(crate) struct Table(Vec<RecordBatch>);

impl Table {
    /// Reads `explain/toy/<name>.parquet` of a project.
    pub(crate) fn read(project: &Path, name: &str) -> Self {
        let file = File::open(project.join(format!("explain/toy/{name}.parquet"))).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        Self(reader.map(Result::unwrap).collect())
    }

    /// A column of texts.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        let columns = self.0.iter().map(|batch| batch.column_by_name(name).unwrap().as_string::<i32>());
        columns.flat_map(|column| column.iter().map(|text| text.unwrap().to_owned())).collect()
    }

    /// A column of numbers; null is NaN.
    pub(crate) fn numbers(&self, name: &str) -> Vec<f64> {
        let number = |column: &dyn Array, i: usize| {
            if column.is_null(i) {
                f64::NAN
            } else if let Some(integers) = column.as_primitive_opt::<Int32Type>() {
                f64::from(integers.value(i))
            } else {
                column.as_primitive::<Float64Type>().value(i)
            }
        };
        let columns = self.0.iter().map(|batch| batch.column_by_name(name).unwrap());
        columns.flat_map(|column| (0..column.len()).map(move |i| number(column, i))).collect()
    }

    /// Indices of the rows of which these text columns have these values.
    pub(crate) fn rows(&self, wanted: &[(&str, &str)]) -> Vec<usize> {
        let columns: Vec<(Vec<String>, &str)> =
            wanted.iter().map(|(name, value)| (self.texts(name), *value)).collect();
        let all = 0..columns[0].0.len();
        all.filter(|row| columns.iter().all(|(column, value)| column[*row] == *value)).collect()
    }
}
