//! What was fetched, and what was not and why: one row a block or file.
//!
//! While a run goes on, rows live in parts, one a unit (a scene, a day of SMAP, a kind of file): a journal that grows
//! with every block, replaced by a sealed part when the unit is finished. At the end all parts become `ledger.parquet`.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use chrono::{SecondsFormat, Utc};
use minicube::{SCHEMA_VERSION, write_atomic, write_table};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Error;

/// What became of a block or file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Transferred over the network.
    Fetched,
    /// In place without a transfer: a local file, or a block that was found in an earlier file.
    Reused,
    /// Left out because no wanted cube has enough clear pixels in it.
    SkippedCloudy,
    /// Not to be had; the reason says why.
    Failed,
    /// A scene that a newer processing of the same acquisition replaces.
    Superseded,
    /// Nothing is missing: there is no such thing, as a tile of elevation at sea.
    Absent,
}

impl State {
    /// As in the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Fetched => "fetched",
            State::Reused => "reused",
            State::SkippedCloudy => "skipped_cloudy",
            State::Failed => "failed",
            State::Superseded => "superseded",
            State::Absent => "absent",
        }
    }
}

/// A row of the ledger; see `docs/formats.md`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// `s2`, `smap`, `era5`, `dem` or `landcover`.
    pub source: String,
    /// Scene id, granule or file name.
    pub item: String,
    /// Asset key; empty for whole files.
    pub asset: String,
    /// Path of the remote address, without host and query.
    pub url_path: String,
    /// Row of the block in the raster, −1 for a whole file.
    pub block_row: i32,
    /// Column of the block in the raster, −1 for a whole file.
    pub block_col: i32,
    /// Offset in the remote file, bytes.
    pub offset: u64,
    /// Length, bytes.
    pub length: u64,
    /// What became of it.
    pub status: State,
    /// Why, where it is not there.
    pub reason: Option<String>,
    /// ETag of the remote file.
    pub etag: Option<String>,
    /// SHA-256 of the bytes, hexadecimal.
    pub sha256: Option<String>,
    /// When, UTC.
    pub utc: String,
}

impl Row {
    /// A row for a whole file or asset, now.
    pub(crate) fn whole(source: &str, item: &str, asset: &str, url_path: &str, status: State) -> Row {
        Row {
            source: source.to_owned(),
            item: item.to_owned(),
            asset: asset.to_owned(),
            url_path: url_path.to_owned(),
            block_row: -1,
            block_col: -1,
            offset: 0,
            length: 0,
            status,
            reason: None,
            etag: None,
            sha256: None,
            utc: Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
        }
    }

    pub(crate) fn because(self, reason: impl Into<String>) -> Row {
        Row { reason: Some(reason.into()), ..self }
    }

    /// Whether the bytes are on the disk.
    #[must_use]
    pub fn is_here(&self) -> bool {
        matches!(self.status, State::Fetched | State::Reused)
    }
}

/// A file of a finished unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Relative to `raw/`.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    /// Item and asset of its rows.
    pub(crate) item: String,
    pub(crate) asset: String,
}

/// First line of a sealed part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// Identity of what was wanted of the unit.
    pub(crate) want: String,
    /// Tile of a scene; empty for other sources.
    pub(crate) tile: String,
    /// Day of the unit, ISO 8601; empty where it has none.
    pub(crate) day: String,
    pub(crate) files: Vec<Kept>,
}

/// A finished unit: what it holds and its rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) head: Head,
    pub(crate) rows: Vec<Row>,
}

impl Part {
    /// Reads a sealed part; `None` if there is none or it is of no use.
    pub(crate) fn read(path: &Path) -> Option<Part> {
        let text = fs::read_to_string(path).ok()?;
        let mut lines = text.lines();
        let head = serde_json::from_str(lines.next()?).ok()?;
        let rows = lines.map(serde_json::from_str).collect::<Result<_, _>>().ok()?;
        Some(Part { head, rows })
    }

    /// Sorts the rows and writes the part whole.
    pub(crate) fn seal(mut self, path: &Path) -> Result<Part, Error> {
        self.rows.sort_by(|a, b| place(a).cmp(&place(b)));
        self.head.files.sort_by(|a, b| a.path.cmp(&b.path));
        let failed =
            |error: serde_json::Error| Error::Ledger { path: path.to_owned(), reason: error.to_string() };
        let mut text = serde_json::to_string(&self.head).map_err(failed)?;
        for row in &self.rows {
            text.push('\n');
            text.push_str(&serde_json::to_string(row).map_err(failed)?);
        }
        text.push('\n');
        write_atomic(path, text.as_bytes())?;
        Ok(self)
    }

    /// Whether the unit is complete for `want`: nothing failed, and every file is there with its length.
    pub(crate) fn is_complete(&self, want: &str, raw: &Path) -> bool {
        self.head.want == want
            && self.rows.iter().all(|row| row.status != State::Failed)
            && self.files_stand(raw)
    }

    pub(crate) fn files_stand(&self, raw: &Path) -> bool {
        self.head
            .files
            .iter()
            .all(|file| fs::metadata(raw.join(&file.path)).is_ok_and(|m| m.len() == file.bytes))
    }
}

fn place(row: &Row) -> (&str, &str, &str, i32, i32) {
    (&row.source, &row.item, &row.asset, row.block_row, row.block_col)
}

/// Rows of an unfinished unit, appended as things arrive. A torn last line is ignored.
pub(crate) struct Journal {
    path: PathBuf,
    file: Mutex<Option<File>>,
}

impl Journal {
    pub(crate) fn new(path: PathBuf) -> Journal {
        Journal { path, file: Mutex::new(None) }
    }

    /// The rows of an earlier run that was interrupted.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let Ok(file) = File::open(&self.path) else { return Vec::new() };
        BufReader::new(file)
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| serde_json::from_str(&line).ok())
            .collect()
    }

    /// Appends a row.
    pub(crate) fn append(&self, row: &Row) -> Result<(), Error> {
        let mut line = serde_json::to_string(row)
            .map_err(|error| Error::Ledger { path: self.path.clone(), reason: error.to_string() })?;
        line.push('\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.is_none() {
            if let Some(parent) = self.path.parent() {
                fs::create_dir_all(parent).map_err(Error::io(parent, "create"))?;
            }
            let mut opened = OpenOptions::new()
                .create(true)
                .append(true)
                .open(&self.path)
                .map_err(Error::io(&self.path, "write"))?;
            // Closes a line that an interrupted run may have left open.
            opened.write_all(b"\n").map_err(Error::io(&self.path, "write"))?;
            *file = Some(opened);
        }
        file.as_mut()
            .map_or(Ok(()), |file| file.write_all(line.as_bytes()))
            .map_err(Error::io(&self.path, "write"))
    }

    /// Removes the journal, its unit being sealed.
    pub(crate) fn remove(&self) {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = None;
        // Its rows are in the sealed part: a journal that stays does no harm.
        let _ = fs::remove_file(&self.path);
    }
}

/// The folder of parts.
pub(crate) fn parts_folder(raw: &Path) -> PathBuf {
    raw.join(".ledger")
}

/// Whether a name from outside may become a file name: letters, digits, `_`, `-` and `.`, not starting with a dot.
pub(crate) fn is_safe_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    !name.is_empty() && name.len() <= 200 && !name.starts_with('.') && name.chars().all(plain)
}

/// All sealed parts, ascending by path.
pub(crate) fn sealed_parts(raw: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut parts = Vec::new();
    let folder = parts_folder(raw);
    if folder.is_dir() {
        collect(&folder, &mut parts)?;
    }
    parts.sort();
    Ok(parts)
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::io(folder, "read"))? {
        let path = entry.map_err(Error::io(folder, "read"))?.path();
        if path.is_dir() {
            collect(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "jsonl") {
            into.push(path);
        }
    }
    Ok(())
}

/// Writes `ledger.parquet` from all sealed parts, in the order of their paths, and hands each part to `see`. If
/// another shard seals a part meanwhile, the table is written again.
pub(crate) fn merge(raw: &Path, mut see: impl FnMut(&Part)) -> Result<PathBuf, Error> {
    let path = raw.join("ledger.parquet");
    let mut parts = sealed_parts(raw)?;
    let mut seen = false;
    loop {
        write_parts(&path, &parts, |part| {
            if !seen {
                see(part);
            }
        })?;
        seen = true;
        let now = sealed_parts(raw)?;
        if now == parts {
            return Ok(path);
        }
        parts = now;
    }
}

fn write_parts(path: &Path, parts: &[PathBuf], mut see: impl FnMut(&Part)) -> Result<(), Error> {
    let failed =
        |error: arrow::error::ArrowError| Error::Ledger { path: path.to_owned(), reason: error.to_string() };
    let schema = batch(&[]).map_err(failed)?.schema();
    let own = json!({"minicube_schema": "ledger", "schema_version": SCHEMA_VERSION});
    let batches = parts.iter().filter_map(|part| Part::read(part)).map(|part| {
        see(&part);
        batch(&part.rows)
    });
    Ok(write_table(path, &schema, &[("minicube", own)], batches)?)
}

fn batch(rows: &[Row]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let text =
        |get: fn(&Row) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(get))) };
    let maybe = |get: fn(&Row) -> Option<&str>| -> ArrayRef {
        Arc::new(rows.iter().map(get).collect::<StringArray>())
    };
    let int =
        |get: fn(&Row) -> i32| -> ArrayRef { Arc::new(Int32Array::from_iter_values(rows.iter().map(get))) };
    let long = |get: fn(&Row) -> u64| -> ArrayRef {
        let values = rows.iter().map(|row| i64::try_from(get(row)).unwrap_or(i64::MAX));
        Arc::new(Int64Array::from_iter_values(values))
    };
    let columns: [(&str, ArrayRef, bool); 13] = [
        ("source", text(|row| &row.source), false),
        ("item", text(|row| &row.item), false),
        ("asset", text(|row| &row.asset), false),
        ("url_path", text(|row| &row.url_path), false),
        ("block_row", int(|row| row.block_row), false),
        ("block_col", int(|row| row.block_col), false),
        ("offset", long(|row| row.offset), false),
        ("length", long(|row| row.length), false),
        ("status", text(|row| row.status.name()), false),
        ("reason", maybe(|row| row.reason.as_deref()), true),
        ("etag", maybe(|row| row.etag.as_deref()), true),
        ("sha256", maybe(|row| row.sha256.as_deref()), true),
        ("utc", text(|row| &row.utc), false),
    ];
    let fields: Vec<arrow::datatypes::Field> = columns
        .iter()
        .map(|(name, array, nullable)| {
            arrow::datatypes::Field::new(*name, array.data_type().clone(), *nullable)
        })
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|column| column.1).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_journal_line_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.journal");
        let row = Row::whole("s2", "scene", "red", "/red.tif", State::Fetched);
        Journal::new(path.clone()).append(&row).unwrap();
        let mut torn = fs::read(&path).unwrap();
        torn.extend(b"{\"source\":\"s2\",\"it");
        fs::write(&path, torn).unwrap();
        let journal = Journal::new(path);
        journal.append(&row).unwrap();
        assert_eq!(journal.rows(), [row.clone(), row]);
    }

    #[test]
    fn names_from_outside_stay_inside() {
        for name in ["S2A_35KMQ_20200101_0_L2A", "nir08", "a.b-c"] {
            assert!(is_safe_name(name), "{name}");
        }
        for name in ["", "..", "../x", "a/b", "a\\b", ".hidden", "a\0"] {
            assert!(!is_safe_name(name), "{name:?}");
        }
    }

    #[test]
    fn a_part_with_a_gap_or_a_short_file_is_not_complete() {
        let dir = tempfile::tempdir().unwrap();
        let file = Kept { path: "x.tif".into(), bytes: 3, item: "i".into(), asset: "a".into() };
        let head = Head { want: "w".into(), tile: "t".into(), day: "2020-01-01".into(), files: vec![file] };
        let mut part = Part { head, rows: vec![Row::whole("s2", "i", "a", "/a", State::Fetched)] };
        assert!(!part.is_complete("w", dir.path()));
        fs::write(dir.path().join("x.tif"), b"abc").unwrap();
        assert!(part.is_complete("w", dir.path()) && !part.is_complete("v", dir.path()));
        part.rows[0].status = State::Failed;
        assert!(!part.is_complete("w", dir.path()));
        let sealed = part.clone().seal(&dir.path().join("p.jsonl")).unwrap();
        assert_eq!(Part::read(&dir.path().join("p.jsonl")), Some(sealed));
    }
}
