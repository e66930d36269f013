//! Tables of ours as Parquet and CSV: one writer, so that every reader finds the same keys in the same place.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde_json::Value;

use crate::files::{replace, write_atomic};
use crate::objects::is_url;
use crate::{Error, SCHEMA_VERSION};

/// Rows that are compressed together, which bounds the memory of a long table.
const ROWS_A_GROUP: usize = 1 << 16;

/// Writes batches of `schema` as one Parquet file, whole or not at all. `keys` become the file's key-value metadata,
/// each as JSON; ours is `minicube`. The bytes depend on the content alone.
///
/// # Errors
/// - [`Error::Io`] if the file cannot be written, for example because the disk is full,
/// - [`Error::Table`] if a batch is an error itself or not of this schema.
///
/// The target is then as it was before.
pub fn write_table(
    path: &Path,
    schema: &SchemaRef,
    keys: &[(&str, Value)],
    batches: impl IntoIterator<Item = Result<RecordBatch, ArrowError>>,
) -> Result<(), Error> {
    let keys = keys.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), value.to_string())).collect();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROWS_A_GROUP))
        .set_key_value_metadata(Some(keys))
        .set_created_by(format!("minicube schema {SCHEMA_VERSION}"))
        .build();
    // With an embedded Arrow schema, pyarrow and geopandas would not look at the file's own keys.
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    if is_url(path) {
        let mut bytes = Vec::new();
        encode(path, &mut bytes, schema, options, batches)?;
        return write_atomic(path, &bytes);
    }
    replace(path, |file| encode(path, file, schema, options, batches))
}

/// Writes a batch as CSV with a header (RFC 4180), whole or not at all: empty where a value is missing or not finite, dates
/// as ISO 8601. Columns that are no text, number or date are left out.
///
/// # Errors
/// As [`write_table`].
pub fn write_csv(path: &Path, batch: &RecordBatch) -> Result<(), Error> {
    let failed = |error: ArrowError| Error::table(path, error);
    let shown: Vec<usize> =
        (0..batch.num_columns()).filter(|&i| !is_binary(batch.column(i).data_type())).collect();
    let batch = batch.project(&shown).map_err(failed)?;
    let columns = batch.columns().iter().map(|column| finite(column)).collect();
    let schema = batch.schema();
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let fields: Vec<Field> = fields.collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(failed)?;
    let mut bytes = Vec::new();
    arrow::csv::Writer::new(&mut bytes).write(&batch).map_err(failed)?;
    write_atomic(path, &bytes)
}

fn is_binary(kind: &DataType) -> bool {
    matches!(kind, DataType::Binary | DataType::LargeBinary) || kind.is_nested()
}

/// The column with nothing in place of NaN and infinity.
fn finite(column: &ArrayRef) -> ArrayRef {
    let Some(numbers) = column.as_primitive_opt::<Float64Type>() else { return column.clone() };
    Arc::new(numbers.iter().map(|v| v.filter(|v| v.is_finite())).collect::<Float64Array>())
}

fn encode(
    path: &Path,
    into: impl Write + Send,
    schema: &SchemaRef,
    options: ArrowWriterOptions,
    batches: impl IntoIterator<Item = Result<RecordBatch, ArrowError>>,
) -> Result<(), Error> {
    let failed = |error| table_error(path, error);
    let mut writer = ArrowWriter::try_new_with_options(into, schema.clone(), options).map_err(failed)?;
    for batch in batches {
        let batch = batch.map_err(|error| Error::table(path, error))?;
        writer.write(&batch).map_err(failed)?;
    }
    writer.close().map_err(failed)?;
    Ok(())
}

/// The system's reason where it is one, what the Parquet library says otherwise.
fn table_error(path: &Path, error: ParquetError) -> Error {
    match error {
        ParquetError::External(cause) => match cause.downcast::<std::io::Error>() {
            Ok(source) => Error::Io { path: path.to_owned(), action: "write", source: *source },
            Err(cause) => Error::table(path, cause),
        },
        other => Error::table(path, other),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryArray, Date32Array, StringArray};
    use arrow::datatypes::Date32Type;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use serde_json::json;

    use super::*;

    fn batch(names: &[Option<&str>]) -> RecordBatch {
        let columns: [(&str, ArrayRef); 3] = [
            ("name", Arc::new(StringArray::from(names.to_vec()))),
            ("day", Arc::new(Date32Array::from_iter_values(0..names.len() as i32))),
            ("value", Arc::new(Float64Array::from_iter_values(names.iter().map(|_| 0.1)))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn write(path: &Path, batches: &[RecordBatch]) -> Result<(), Error> {
        let keys = [("minicube", json!({"minicube_schema": "toy"})), ("other", json!([1]))];
        write_table(path, &batches[0].schema(), &keys, batches.iter().cloned().map(Ok))
    }

    #[test]
    fn keys_types_and_rows_come_back_without_an_arrow_schema() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/t.parquet");
        write(&path, &[batch(&[Some("x"), None]), batch(&[Some("y")])]).unwrap();
        let builder = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path).unwrap()).unwrap();
        let keys = builder.metadata().file_metadata().key_value_metadata().unwrap();
        let keys: Vec<_> = keys.iter().map(|e| (e.key.as_str(), e.value.as_deref().unwrap())).collect();
        assert_eq!(keys, [("minicube", "{\"minicube_schema\":\"toy\"}"), ("other", "[1]")]);
        let types: Vec<_> = builder.schema().fields().iter().map(|f| f.data_type().clone()).collect();
        assert_eq!(types, [DataType::Utf8, DataType::Date32, DataType::Float64]);
        let rows: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
        let rows = arrow::compute::concat_batches(&rows[0].schema(), &rows).unwrap();
        let names: Vec<_> = rows.column(0).as_string::<i32>().iter().collect();
        assert_eq!(names, [Some("x"), None, Some("y")]);
        assert_eq!(rows.column(1).as_primitive::<Date32Type>().values(), &[0, 1, 0]);

        let again = dir.path().join("again.parquet");
        write(&again, &[batch(&[Some("x"), None]), batch(&[Some("y")])]).unwrap();
        assert_eq!(std::fs::read(path).unwrap(), std::fs::read(again).unwrap());
    }

    #[test]
    fn a_batch_of_another_schema_leaves_the_file_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        std::fs::write(&path, b"before").unwrap();
        let batches = [batch(&[Some("x")]), batch(&[Some("y")]).project(&[0]).unwrap()];
        let error = write(&path, &batches).unwrap_err();
        assert!(matches!(error, Error::Table { .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"before");
        assert!(!crate::partial_path(&path).exists());
    }

    #[test]
    fn csv_has_quotes_where_they_are_needed_and_gaps_where_nothing_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        let columns: [(&str, ArrayRef); 4] = [
            ("name", Arc::new(StringArray::from(vec![Some("Bay, \"upper\""), None]))),
            ("day", Arc::new(Date32Array::from(vec![18_628, 0]))),
            ("value", Arc::new(Float64Array::from(vec![0.1, f64::NAN]))),
            ("geometry", Arc::new(BinaryArray::from_iter_values([b"a", b"b"]))),
        ];
        write_csv(&path, &RecordBatch::try_from_iter(columns).unwrap()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "name,day,value\n\"Bay, \"\"upper\"\"\",2021-01-01,0.1\n,1970-01-01,\n");
    }

    /// `/dev/full` answers every write with "no space left on device".
    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_told_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        std::os::unix::fs::symlink("/dev/full", crate::partial_path(&path)).unwrap();
        let error = write(&path, &[batch(&[Some("x")])]).unwrap_err();
        assert!(error.is_disk_full(), "{error}");
        assert!(error.to_string().contains("t.parquet: cannot write: No space left on device"), "{error}");
        assert!(!path.exists() && !crate::partial_path(&path).exists());
    }
}
