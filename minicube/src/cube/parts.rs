//! Shards that are filled slab by slab along their second axis (time), so that a long series never lies in memory whole.
//!
//! A *part* is one slab of compressed chunks, kept beside the store under construction; the parts of a shard are joined,
//! byte for byte, once all of them are there. An interrupted run goes on with the whole parts that it finds. Layout of a
//! part: the sizes of its chunks (u64, little-endian; [`ABSENT`] for one that is not stored), then the chunks.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use ndarray::ArrayViewD;

use super::Element;
use super::codecs::codecs;
use super::shard::{ABSENT, Chunk, compress_chunks, index_len, number, read_index, shard_bytes, shard_file};
use super::write::{CubeWriter, chunk_shape, file_shape, zarr_error};
use crate::Error;
use crate::files::write_renamed;

/// The axis along which parts follow each other.
pub(super) const AXIS: usize = 1;

impl CubeWriter {
    /// Number of parts in a shard of a variable: chunks along its second axis.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such variable.
    pub fn parts(&self, var: &str) -> Result<usize, Error> {
        let (spec, shape) = self.lookup(var)?;
        Ok((file_shape(spec, &shape)[AXIS] / chunk_shape(spec, &shape)[AXIS]) as usize)
    }

    /// Entries of the second axis that a part holds, the last one maybe fewer.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such variable.
    pub fn part_len(&self, var: &str) -> Result<usize, Error> {
        let (spec, shape) = self.lookup(var)?;
        Ok(chunk_shape(spec, &shape)[AXIS] as usize)
    }

    /// Whether a part, or the shard it belongs to, is written and whole.
    #[must_use]
    pub fn has_part(&self, var: &str, shard: &[u64], part: usize) -> bool {
        let whole = || {
            let bytes = fs::read(self.part_path(var, shard, part)).ok()?;
            Some(split_part(&bytes, self.chunks(var).ok()?.0).is_some())
        };
        self.has_shard(var, shard) || whole().unwrap_or(false)
    }

    /// Whether a shard is written and whole: as long as its index says, and the index as its checksum says.
    #[must_use]
    pub fn has_shard(&self, var: &str, shard: &[u64]) -> bool {
        let whole = || {
            let mut file = fs::File::open(shard_file(self.partial(), var, shard)).ok()?;
            let chunks = self.chunks(var).ok()?.1;
            let end = file.metadata().ok()?.len().checked_sub(index_len(chunks) as u64)?;
            file.seek(SeekFrom::Start(end)).ok()?;
            let mut index = Vec::with_capacity(index_len(chunks));
            file.read_to_end(&mut index).ok()?;
            let stored = read_index(&index, chunks)?.into_iter().filter(|&(offset, _)| offset != ABSENT);
            Some(stored.map(|(offset, size)| offset.saturating_add(size)).max().unwrap_or(0) == end)
        };
        whole().unwrap_or(false)
    }

    /// Compresses one part of a shard and keeps it.
    ///
    /// # Shapes
    /// - data: the shard's shape, but along the second axis only what belongs to the part; less where the variable ends
    ///
    /// # Errors
    /// - [`Error::Missing`] if there is no such variable,
    /// - [`Error::Shape`] if the data is larger than a part or of another element type,
    /// - [`Error::Io`] if the disk refuses the bytes, [`Error::Zarr`] if the compressor fails.
    pub fn write_part<T: Element>(
        &self,
        var: &str,
        shard: &[u64],
        part: usize,
        data: ArrayViewD<'_, T>,
    ) -> Result<(), Error> {
        let (spec, shape) = self.lookup(var)?;
        let (chunk, mut unit) = (chunk_shape(spec, &shape), file_shape(spec, &shape));
        unit[AXIS] = chunk[AXIS];
        let fits =
            data.ndim() == unit.len() && data.shape().iter().zip(&unit).all(|(&len, &max)| len as u64 <= max);
        if !fits || T::DTYPE != spec.dtype {
            return Err(Error::Shape {
                path: self.path().to_owned(),
                variable: var.to_owned(),
                expected: format!("a part of at most {unit:?} {}", spec.dtype.name()),
                found: format!("{:?} {}", data.shape(), T::DTYPE.name()),
            });
        }
        let compressors = codecs(spec, &chunk).map_err(|error| zarr_error(self.path(), var, error))?;
        let chunks = compress_chunks(spec, (&unit, &chunk), &compressors, &data)
            .map_err(|error| zarr_error(self.path(), var, error))?;
        write_renamed(&self.part_path(var, shard, part), &part_bytes(&chunks))
    }

    /// Joins the parts of a shard to the shard, and removes them.
    ///
    /// # Errors
    /// - [`Error::Missing`] if there is no such variable,
    /// - [`Error::Io`] if a part is not there, or the disk refuses the bytes,
    /// - [`Error::Zarr`] if a part is damaged.
    pub fn join_parts(&self, var: &str, shard: &[u64]) -> Result<(), Error> {
        let (chunks_a_part, all) = self.chunks(var)?;
        let parts: Vec<PathBuf> =
            (0..all / chunks_a_part).map(|part| self.part_path(var, shard, part)).collect();
        let mut chunks: Vec<Chunk> = Vec::with_capacity(all);
        for path in &parts {
            let bytes = fs::read(path).map_err(Error::io(path, "read"))?;
            let part = split_part(&bytes, chunks_a_part)
                .ok_or_else(|| zarr_error(self.path(), var, format!("{}: cut short", path.display())))?;
            chunks.extend(part);
        }
        let bytes = shard_bytes(&chunks).map_err(|error| zarr_error(self.path(), var, error))?;
        write_renamed(&shard_file(self.partial(), var, shard), &bytes)?;
        parts.iter().try_for_each(|path| fs::remove_file(path).map_err(Error::io(path, "remove")))
    }

    /// Number of chunks in a part and in a shard.
    fn chunks(&self, var: &str) -> Result<(usize, usize), Error> {
        let (spec, shape) = self.lookup(var)?;
        let (chunk, unit) = (chunk_shape(spec, &shape), file_shape(spec, &shape));
        let all: u64 = unit.iter().zip(&chunk).map(|(len, step)| len / step).product();
        let parts = unit[AXIS] / chunk[AXIS];
        Ok(((all / parts) as usize, all as usize))
    }

    pub(super) fn part_path(&self, var: &str, shard: &[u64], part: usize) -> PathBuf {
        let index: Vec<String> = shard.iter().map(u64::to_string).collect();
        self.parts_folder().join(var).join(format!("{}-{part}", index.join(".")))
    }
}

/// The bytes of a part.
pub(super) fn part_bytes(chunks: &[Chunk]) -> Vec<u8> {
    let sizes = chunks.iter().map(|chunk| chunk.as_ref().map_or(ABSENT, |bytes| bytes.len() as u64));
    let mut file: Vec<u8> = sizes.flat_map(u64::to_le_bytes).collect();
    chunks.iter().flatten().for_each(|bytes| file.extend_from_slice(bytes));
    file
}

/// The chunks of a part; `None` if it was cut short.
fn split_part(bytes: &[u8], chunks: usize) -> Option<Vec<Chunk>> {
    let (sizes, mut rest) = bytes.split_at_checked(8 * chunks)?;
    let mut part = Vec::with_capacity(chunks);
    for size in sizes.chunks_exact(8) {
        let size = number(size)?;
        part.push(if size == ABSENT {
            None
        } else {
            let (chunk, after) = rest.split_at_checked(usize::try_from(size).ok()?)?;
            rest = after;
            Some(chunk.to_vec())
        });
    }
    rest.is_empty().then_some(part)
}
