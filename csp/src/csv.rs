//! A table as CSV: the columns and rows of the Parquet file, for people without a Parquet reader.

use std::fmt::Write;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type};
use minicube::write_atomic;

use crate::error::Error;

/// Writes one batch of texts, integers and numbers. Null is an empty field; numbers have all their digits.
///
/// # Errors
/// [`Error::Files`] if the file cannot be written.
pub(crate) fn write_csv(path: &Path, batch: &RecordBatch) -> Result<(), Error> {
    Ok(write_atomic(path, text(batch).as_bytes())?)
}

/// Fields as RFC 4180 has them, but for the ends of lines.
fn text(batch: &RecordBatch) -> String {
    let schema = batch.schema();
    let names: Vec<String> = schema.fields().iter().map(|field| quoted(field.name())).collect();
    let mut text = names.join(",");
    text.push('\n');
    for row in 0..batch.num_rows() {
        for (place, column) in batch.columns().iter().enumerate() {
            if place > 0 {
                text.push(',');
            }
            if column.is_null(row) {
                continue;
            }
            if let Some(texts) = column.as_string_opt::<i32>() {
                text.push_str(&quoted(texts.value(row)));
            } else if let Some(integers) = column.as_primitive_opt::<Int32Type>() {
                let _ = write!(text, "{}", integers.value(row));
            } else if let Some(numbers) = column.as_primitive_opt::<Float64Type>() {
                let _ = write!(text, "{}", numbers.value(row));
            }
        }
        text.push('\n');
    }
    text
}

fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use arrow::array::{ArrayRef, Float64Array, Int32Array, StringArray};

    #[test]
    fn fields_are_quoted_where_they_must_be_and_null_is_empty() {
        let columns: [(&str, ArrayRef); 3] = [
            ("name", Arc::new(StringArray::from(vec!["a, \"b\"", "c"]))),
            ("n", Arc::new(Int32Array::from(vec![Some(3), None]))),
            ("value", Arc::new(Float64Array::from(vec![Some(0.1), None]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        assert_eq!(text(&batch), "name,n,value\n\"a, \"\"b\"\"\",3,0.1\nc,,\n");
    }
}
