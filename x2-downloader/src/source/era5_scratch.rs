//! What was taken of the chunks of a month, kept until the month is whole: a kill loses no more than what is in flight.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use minicube::sha256_bytes;
use serde::{Deserialize, Serialize};

use crate::Error;

/// A file of records, each a line that describes it and the values behind. A record that is torn or changed is left out,
/// and those behind it too.
pub(crate) struct Scratch {
    path: PathBuf,
    open: Mutex<Open>,
}

struct Open {
    file: File,
    end: u64,
    records: BTreeMap<String, (u64, Line)>,
}

/// The line before the values of a record.
#[derive(Clone, Serialize, Deserialize)]
struct Line {
    /// Names the values: array, chunk, part of the chunk.
    key: String,
    /// Length of the values, bytes.
    length: u64,
    /// SHA-256 of the values.
    sha256: String,
    /// Length of the chunk as it came.
    received: u64,
}

impl Scratch {
    /// Opens what an interrupted run left, if it was for `want`, or begins anew.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read or written.
    pub(crate) fn open(path: &Path, want: &str) -> Result<Scratch, Error> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io(parent, "create"))?;
        }
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        let mut file = options.open(path).map_err(Error::io(path, "write"))?;
        let (mut records, mut end) = (BTreeMap::new(), 0);
        let head = format!("{want}\n");
        let mut reader = BufReader::new(&file);
        let mut first = String::new();
        if reader.read_line(&mut first).is_ok() && first == head {
            end = head.len() as u64;
            while let Some((line, len)) = next(&mut reader) {
                records.insert(line.key.clone(), (end + len - line.length, line));
                end += len;
            }
        }
        file.set_len(end).map_err(Error::io(path, "write"))?;
        if end == 0 {
            file.write_all_at(head.as_bytes(), 0).map_err(Error::io(path, "write"))?;
            end = head.len() as u64;
        }
        file.flush().map_err(Error::io(path, "write"))?;
        Ok(Scratch { path: path.to_owned(), open: Mutex::new(Open { file, end, records }) })
    }

    /// The values of a record and the length of the chunk they are of.
    pub(crate) fn get(&self, key: &str) -> Option<(Vec<f32>, u64)> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, line) = open.records.get(key)?;
        let mut bytes = vec![0; usize::try_from(line.length).ok()?];
        open.file.read_exact_at(&mut bytes, *at).ok()?;
        let (words, _) = bytes.as_chunks::<4>();
        Some((words.iter().map(|word| f32::from_le_bytes(*word)).collect(), line.received))
    }

    /// Keeps the values of a record.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub(crate) fn put(&self, key: &str, values: &[f32], received: u64) -> Result<(), Error> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let (length, sha256) = (bytes.len() as u64, sha256_bytes(&bytes));
        let line = Line { key: key.to_owned(), length, sha256, received };
        let text = serde_json::to_string(&line)
            .map_err(|error| Error::Ledger { path: self.path.clone(), reason: error.to_string() })?;
        let record = [text.as_bytes(), b"\n", &bytes].concat();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.file.write_all_at(&record, open.end).map_err(Error::io(&self.path, "write"))?;
        open.end += record.len() as u64;
        let at = open.end - length;
        open.records.insert(line.key.clone(), (at, line));
        Ok(())
    }

    /// Removes the file, its month being whole.
    pub(crate) fn remove(self) {
        // One that stays is taken up or emptied by the next run.
        let _ = fs::remove_file(&self.path);
    }
}

/// The next record that is whole, and the bytes it takes.
fn next(reader: &mut impl BufRead) -> Option<(Line, u64)> {
    let mut text = Vec::new();
    reader.read_until(b'\n', &mut text).ok()?;
    let line: Line = serde_json::from_slice(text.strip_suffix(b"\n")?).ok()?;
    let mut bytes = Vec::new();
    reader.take(line.length).read_to_end(&mut bytes).ok()?;
    let is_whole = bytes.len() as u64 == line.length && sha256_bytes(&bytes) == line.sha256;
    is_whole.then(|| (line, (text.len() + bytes.len()) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_records_outlive_a_kill_and_torn_ones_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/202101.scratch");
        let scratch = Scratch::open(&path, "want").unwrap();
        scratch.put("a", &[1.5, f32::NAN], 100).unwrap();
        scratch.put("b", &[-2.0], 7).unwrap();
        drop(scratch);
        let whole = fs::read(&path).unwrap();
        for cut in 1..=10 {
            fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let scratch = Scratch::open(&path, "want").unwrap();
            let (values, received) = scratch.get("a").unwrap();
            assert!(values[0] == 1.5 && values[1].is_nan() && received == 100);
            assert!(scratch.get("b").is_none());
            scratch.put("b", &[-2.0], 7).unwrap();
            drop(scratch);
            assert_eq!(fs::read(&path).unwrap(), whole, "what comes again makes the same file");
        }
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() ^= 1;
        fs::write(&path, changed).unwrap();
        assert!(Scratch::open(&path, "want").unwrap().get("b").is_none(), "not the bytes that were kept");
        fs::write(&path, &whole).unwrap();
        assert!(Scratch::open(&path, "another").unwrap().get("a").is_none());
        Scratch::open(&path, "want").unwrap().remove();
        assert!(!path.exists());
    }
}
