//! Taking over what a store holds already from the sealed one that stands in its place: compressed bytes, never numbers.
//!
//! Only whole files and chunks are taken whose layout is the same, and only files that are as they were sealed: a damaged
//! one must not become sound by being copied. Whether the *content* is what is wanted is for the caller to know.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Cube;
use super::checksums::read_checksums;
use super::parts::{AXIS, part_bytes};
use super::shard::{ABSENT, Chunk, read_index, shard_file};
use super::upload::note_sent;
use super::write::CubeWriter;
use crate::Error;
use crate::files::{sha256_bytes, write_renamed};
use crate::objects::{is_url, read_file};

/// A sealed store that an older plan left where a new one will stand.
pub struct OlderStore {
    cube: Cube,
    /// SHA-256 of each file, by its path in the store.
    checksums: BTreeMap<String, String>,
}

impl OlderStore {
    /// Opens it; `None` if there is none of this schema and version that was sealed with a list of its files.
    #[must_use]
    pub fn open(path: &Path, schema: &str) -> Option<OlderStore> {
        let cube = Cube::open(path, schema).ok()?;
        let checksums = read_checksums(path).ok()?;
        Some(OlderStore { cube, checksums })
    }

    /// The store.
    #[must_use]
    pub fn cube(&self) -> &Cube {
        &self.cube
    }

    /// Names of a variable's files, ascending.
    fn files<'a>(&'a self, var: &'a str) -> impl Iterator<Item = &'a str> {
        let of = move |name: &&str| name.strip_prefix(var).is_some_and(|rest| rest.starts_with("/c"));
        self.checksums.keys().map(String::as_str).filter(of)
    }

    /// The bytes of a file; `None` if it is not there or not as it was sealed.
    fn intact(&self, name: &str) -> Option<Vec<u8>> {
        let sealed = self.checksums.get(name)?;
        let path = self.cube.path().join(name);
        let bytes = read_file(&path).ok().filter(|bytes| sha256_bytes(bytes) == *sealed);
        if bytes.is_none() {
            tracing::warn!("{}: not as it was sealed, nothing is taken over from it", path.display());
        }
        bytes
    }

    /// Whether there is such a variable, and all of its files are as they were sealed.
    #[must_use]
    pub fn has_intact(&self, var: &str) -> bool {
        self.cube.has(var) && self.files(var).all(|name| self.intact(name).is_some())
    }

    /// Whether the file of a shard is as it was sealed, so that numbers may be read from it.
    #[must_use]
    pub fn is_intact(&self, var: &str, shard: &[u64]) -> bool {
        self.intact(&shard_name(var, shard)).is_some()
    }
}

impl CubeWriter {
    /// Takes over a shard of an older store as the shard `to`, byte for byte. `false`, and nothing done, where the layout
    /// differs or the file is not as it was sealed.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such variable, [`Error::Io`] if the disk refuses the bytes.
    pub fn take_shard(&self, older: &OlderStore, var: &str, from: &[u64], to: &[u64]) -> Result<bool, Error> {
        let same = self.layouts(older, var)?.is_some_and(|(old, new)| shard_shape(&old) == shard_shape(&new));
        if !same {
            return Ok(false);
        }
        self.take_file(older, &shard_name(var, from), &shard_name(var, to), true)
    }

    /// Takes over the compressed chunks of part `from` of an older store's shard as part `to` of a shard. `false`, and
    /// nothing done, where the layout differs or the file is not as it was sealed.
    ///
    /// # Errors
    /// As [`CubeWriter::take_shard`].
    pub fn take_part(
        &self,
        older: &OlderStore,
        var: &str,
        (from, from_part): (&[u64], usize),
        (to, to_part): (&[u64], usize),
    ) -> Result<bool, Error> {
        let Some((old, new)) = self.layouts(older, var)? else { return Ok(false) };
        let chunks = || part_of(&older.intact(&shard_name(var, from))?, &old, &new, from_part);
        let Some(chunks) = chunks() else { return Ok(false) };
        write_renamed(&self.part_path(var, to, to_part), &part_bytes(&chunks))?;
        Ok(true)
    }

    /// Takes over all files of a variable that has the same shape and layout in an older store. `false` where it has not,
    /// or where a file is not as it was sealed; the variable is then to be written as usual.
    ///
    /// # Errors
    /// As [`CubeWriter::take_shard`].
    pub fn take_variable(&self, older: &OlderStore, var: &str) -> Result<bool, Error> {
        let Some((old, new)) = self.layouts(older, var)? else { return Ok(false) };
        if ["shape", "chunk_grid"].iter().any(|&key| old[key] != new[key]) {
            return Ok(false);
        }
        let sharded = old["codecs"][0]["name"] == "sharding_indexed";
        for name in older.files(var) {
            if !self.take_file(older, name, name, sharded)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes over a file. Shards are only ever replaced, never written into, so that theirs may be the older store's own:
    /// a second name for the same bytes costs nothing, and the older store loses its name when it is replaced.
    fn take_file(&self, older: &OlderStore, from: &str, to: &str, sharded: bool) -> Result<bool, Error> {
        let Some(bytes) = older.intact(from) else { return Ok(false) };
        let (source, target) = (older.cube.path().join(from), self.partial().join(to));
        if !sharded || is_url(&source) || !linked(&source, &target) {
            write_renamed(&target, &bytes)?;
        }
        if from == to && older.cube.path() == self.path() && is_url(&source) {
            note_sent(self.partial(), to, &sha256_bytes(&bytes))?;
        }
        Ok(true)
    }

    /// The documents of a variable in the older store and in this one; `None` if chunks of the one are none of the other.
    fn layouts(&self, older: &OlderStore, var: &str) -> Result<Option<(Value, Value)>, Error> {
        self.lookup(var)?;
        let new = self.document(var)?;
        let Some(old) = older.cube.document(var) else { return Ok(None) };
        let same = ["data_type", "fill_value", "codecs", "chunk_key_encoding"]
            .iter()
            .all(|&key| plain(&old[key]) == plain(&new[key]));
        Ok(same.then(|| (old.clone(), new)))
    }
}

/// A second name for a file; `false` where the file system has none to give.
fn linked(source: &Path, target: &Path) -> bool {
    let folder = target.parent().is_none_or(|folder| fs::create_dir_all(folder).is_ok());
    // An older attempt may have left the name; it was not marked done.
    let free = !target.exists() || fs::remove_file(target).is_ok();
    folder && free && fs::hard_link(source, target).is_ok()
}

/// A codec may be written as a name or as an object with nothing but the name.
fn plain(value: &Value) -> Value {
    match value {
        Value::Array(values) => values.iter().map(plain).collect(),
        Value::Object(map) if map.len() == 1 => map.get("name").map_or_else(|| value.clone(), Value::clone),
        _ => value.clone(),
    }
}

fn shard_name(var: &str, shard: &[u64]) -> String {
    shard_file(Path::new(""), var, shard).to_string_lossy().replace('\\', "/")
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
}

/// Shape of a variable's files, from its document.
fn shard_shape(document: &Value) -> Vec<u64> {
    numbers(&document["chunk_grid"]["configuration"]["chunk_shape"])
}

/// The chunks of one part of an older shard; `None` if its shards are not made of the parts of the new one.
fn part_of(bytes: &[u8], old: &Value, new: &Value, part: usize) -> Option<Vec<Chunk>> {
    let (old_shard, new_shard) = (shard_shape(old), shard_shape(new));
    let chunk = numbers(&old["codecs"][0]["configuration"]["chunk_shape"]);
    let other_axes = |shape: &[u64]| {
        shape.iter().enumerate().filter(|(axis, _)| *axis != AXIS).map(|(_, &len)| len).collect::<Vec<_>>()
    };
    if chunk.len() != old_shard.len() || other_axes(&old_shard) != other_axes(&new_shard) {
        return None;
    }
    let counts: Vec<u64> = old_shard.iter().zip(&chunk).map(|(len, step)| len / step.max(&1)).collect();
    let all: u64 = counts.iter().product();
    let a_part = usize::try_from(all / counts.get(AXIS)?.max(&1)).ok()?;
    let index = read_index(bytes, usize::try_from(all).ok()?)?;
    let places = index.get(part * a_part..(part + 1) * a_part)?;
    let chunk = |&(offset, size): &(u64, u64)| {
        if offset == ABSENT {
            return Some(None);
        }
        let (from, size) = (usize::try_from(offset).ok()?, usize::try_from(size).ok()?);
        Some(Some(bytes.get(from..from.checked_add(size)?)?.to_vec()))
    };
    places.iter().map(chunk).collect()
}
