//! Taking over compressed chunks from an older store of the same variable, so that dates and cubes can be added without
//! compressing again what is there.

use std::fs;

use serde_json::Value;

use super::Cube;
use super::shard::{ABSENT, Chunk, read_index, shard_file};
use super::write::CubeWriter;
use crate::Error;

impl CubeWriter {
    /// Takes over a whole shard from an older store by a hard link, or a copy where links are not possible. False, and
    /// nothing is done, if the older variable is laid out differently or has no such shard.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such variable, [`Error::Io`] if the file can be neither linked nor copied.
    pub fn adopt_shard(
        &self,
        var: &str,
        shard: &[u64],
        older: &Cube,
        older_shard: &[u64],
    ) -> Result<bool, Error> {
        let (Some(old), new) = (older.metadata_of(var), self.document(var)?) else { return Ok(false) };
        let same =
            ["data_type", "fill_value", "codecs", "chunk_grid"].iter().all(|key| old[*key] == new[*key]);
        let from = shard_file(older.path(), var, older_shard);
        if !same || !from.is_file() {
            return Ok(false);
        }
        let to = shard_file(self.partial(), var, shard);
        let folder = to.parent().unwrap_or(&to);
        fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
        if to.exists() {
            fs::remove_file(&to).map_err(Error::io(&to, "remove"))?;
        }
        fs::hard_link(&from, &to)
            .or_else(|_| fs::copy(&from, &to).map(|_| ()))
            .map_err(Error::io(&to, "write"))?;
        Ok(true)
    }

    /// Takes over the compressed chunks of one part from an older store, which may have more or fewer parts. False, and
    /// nothing is done, if its chunks are made differently or it has no such part.
    ///
    /// # Errors
    /// As [`CubeWriter::adopt_shard`], and [`Error::Zarr`] if the older shard is damaged.
    pub fn adopt_part(
        &self,
        var: &str,
        shard: &[u64],
        part: usize,
        older: &Cube,
        older_shard: &[u64],
    ) -> Result<bool, Error> {
        let (Some(old), new) = (older.metadata_of(var), self.document(var)?) else { return Ok(false) };
        let same = ["data_type", "fill_value", "codecs"].iter().all(|key| old[*key] == new[*key]);
        let path = shard_file(older.path(), var, older_shard);
        if !same || !path.is_file() {
            return Ok(false);
        }
        let (chunks_a_part, _) = self.chunks(var)?;
        let parts = shard_shape(old).and_then(|shape| Some(shape.get(1)? / chunk_len(old)?)).unwrap_or(0);
        if part >= parts {
            return Ok(false);
        }
        let bytes = fs::read(&path).map_err(Error::io(&path, "read"))?;
        let damaged = || Error::Zarr {
            path: path.clone(),
            variable: var.to_owned(),
            reason: "the index of the shard is damaged".to_owned(),
        };
        let places = read_index(&bytes, parts * chunks_a_part).ok_or_else(damaged)?;
        let chunk = |&(offset, size): &(u64, u64)| {
            let range = offset as usize..offset.saturating_add(size) as usize;
            if size == ABSENT { Some(None) } else { bytes.get(range).map(|bytes| Some(bytes.to_vec())) }
        };
        let chunks = places[part * chunks_a_part..(part + 1) * chunks_a_part].iter().map(chunk);
        let chunks = chunks.collect::<Option<Vec<Chunk>>>().ok_or_else(damaged)?;
        self.keep_part(var, shard, part, &chunks)?;
        Ok(true)
    }
}

fn shard_shape(metadata: &Value) -> Option<Vec<usize>> {
    let shape = metadata["chunk_grid"]["configuration"]["chunk_shape"].as_array()?;
    shape.iter().map(|len| len.as_u64().map(|len| len as usize)).collect()
}

/// Length of a compressed chunk along the second axis.
fn chunk_len(metadata: &Value) -> Option<usize> {
    let shape = &metadata["codecs"][0]["configuration"]["chunk_shape"];
    shape[1].as_u64().map(|len| len as usize).filter(|&len| len > 0)
}
