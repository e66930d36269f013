//! Shards that are filled slab by slab along their second axis (time), so that a long series never lies in memory whole.
//!
//! A *part* is one slab of compressed chunks, kept beside the store under construction; the parts of a shard are joined,
//! byte for byte, once all of them are there. An interrupted run goes on with the whole parts that it finds. Layout of a
//! part: the sizes of its chunks (u64, little-endian; [`EMPTY`] for a chunk of nothing but the fill value), then the chunks.

use std::borrow::Cow;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use ndarray::{ArrayViewD, Axis, Slice};
use zarrs::array::{ArrayBytesRaw, BytesToBytesCodecTraits, CodecOptions};

use super::adopt::shard_file;
use super::codecs::{checksum, codecs};
use super::write::{CubeWriter, chunk_shape, file_shape, zarr_error};
use super::{Element, VarSpec};
use crate::Error;
use crate::files::write_renamed;

/// In the index of a shard: this chunk is absent, it holds only the fill value.
pub(super) const EMPTY: u64 = u64::MAX;
/// The axis along which parts follow each other.
const AXIS: usize = 1;

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
            let places = read_index(&index, chunks)?.into_iter().filter(|&(offset, _)| offset != EMPTY);
            Some(places.map(|(offset, size)| offset.saturating_add(size)).max().unwrap_or(0) == end)
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
        let failed = |error: &dyn std::fmt::Display| zarr_error(self.path(), var, error);
        let compressors = codecs(spec, &chunk).map_err(|error| failed(&error))?;
        let options = CodecOptions::default().with_concurrent_target(1);
        let (mut sizes, mut chunks) = (Vec::new(), Vec::new());
        for index in grid(&unit, &chunk) {
            match chunk_bytes(spec, &chunk, &index, &data) {
                None => sizes.push(EMPTY),
                Some(bytes) => {
                    let bytes = compress(bytes, &compressors, &options).map_err(|error| failed(&error))?;
                    sizes.push(bytes.len() as u64);
                    chunks.extend_from_slice(&bytes);
                }
            }
        }
        let mut file: Vec<u8> = sizes.iter().flat_map(|size| size.to_le_bytes()).collect();
        file.append(&mut chunks);
        write_renamed(&self.part_path(var, shard, part), &file)
    }

    /// Joins the parts of a shard to the shard, and removes them.
    ///
    /// # Errors
    /// - [`Error::Missing`] if there is no such variable,
    /// - [`Error::Io`] if a part is not there, or the disk refuses the bytes,
    /// - [`Error::Zarr`] if a part is damaged.
    pub fn join_parts(&self, var: &str, shard: &[u64]) -> Result<(), Error> {
        let (chunks_a_part, _) = self.chunks(var)?;
        let (mut file, mut index) = (Vec::new(), Vec::new());
        let parts = self.parts(var)?;
        for part in 0..parts {
            let path = self.part_path(var, shard, part);
            let bytes = fs::read(&path).map_err(Error::io(&path, "read"))?;
            let (sizes, chunks) = split_part(&bytes, chunks_a_part)
                .ok_or_else(|| zarr_error(self.path(), var, format!("{}: cut short", path.display())))?;
            let mut offset = file.len() as u64;
            for size in sizes {
                let place = if size == EMPTY { [EMPTY, EMPTY] } else { [offset, size] };
                index.extend(place.iter().flat_map(|number| number.to_le_bytes()));
                offset += if size == EMPTY { 0 } else { size };
            }
            file.extend_from_slice(chunks);
        }
        let index = compress(index, &[checksum()], &CodecOptions::default());
        file.extend_from_slice(&index.map_err(|error| zarr_error(self.path(), var, error))?);
        write_renamed(&shard_file(self.partial(), var, shard), &file)?;
        for part in 0..parts {
            let path = self.part_path(var, shard, part);
            fs::remove_file(&path).map_err(Error::io(&path, "remove"))?;
        }
        Ok(())
    }

    /// Number of chunks in a part and in a shard.
    pub(super) fn chunks(&self, var: &str) -> Result<(usize, usize), Error> {
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

/// Bytes of the index of a shard, with its checksum.
fn index_len(chunks: usize) -> usize {
    16 * chunks + 4
}

/// Offsets and sizes of the chunks of a shard, from the bytes that end with its index; `None` if that is damaged.
pub(super) fn read_index(bytes: &[u8], chunks: usize) -> Option<Vec<(u64, u64)>> {
    let tail = &bytes[bytes.len().checked_sub(index_len(chunks))?..];
    let index = &tail[..16 * chunks];
    let sealed = compress(index.to_vec(), &[checksum()], &CodecOptions::default()).ok()?;
    let places =
        index.chunks_exact(16).filter_map(|place| Some((number(&place[..8])?, number(&place[8..])?)));
    (sealed == tail).then(|| places.collect())
}

/// Sizes of the chunks of a part, and the chunks; `None` if it was cut short.
fn split_part(bytes: &[u8], chunks: usize) -> Option<(Vec<u64>, &[u8])> {
    let (sizes, rest) = bytes.split_at_checked(8 * chunks)?;
    let sizes: Vec<u64> = sizes.chunks_exact(8).filter_map(number).collect();
    let total: u64 = sizes.iter().filter(|&&size| size != EMPTY).sum();
    (total == rest.len() as u64).then_some((sizes, rest))
}

fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// First elements of the chunks of a region, in C order.
fn grid(unit: &[u64], chunk: &[u64]) -> Vec<Vec<usize>> {
    let mut firsts = vec![Vec::new()];
    for (&len, &step) in unit.iter().zip(chunk) {
        firsts = firsts
            .into_iter()
            .flat_map(|first: Vec<usize>| {
                (0..len)
                    .step_by(step as usize)
                    .map(move |i| first.iter().copied().chain([i as usize]).collect())
            })
            .collect();
    }
    firsts
}

/// A chunk's elements as little-endian bytes, padded with the fill value; `None` if there is nothing else in it.
fn chunk_bytes<T: Element>(
    var: &VarSpec,
    chunk: &[u64],
    first: &[usize],
    data: &ArrayViewD<'_, T>,
) -> Option<Vec<u8>> {
    let view = data.slice_each_axis(|axis| {
        let i = axis.axis.index();
        Slice::from(first[i].min(axis.len)..(first[i] + chunk[i] as usize).min(axis.len))
    });
    let fill = T::from_f64(var.fill);
    let fill_bytes = T::le_bytes(&[fill]);
    let count = chunk.iter().product::<u64>() as usize;
    let whole = view.shape().iter().zip(chunk).all(|(&len, &full)| len as u64 == full);
    let elements: Vec<T> = if whole {
        view.iter().copied().collect()
    } else {
        let mut padded = vec![fill; count];
        let shape: Vec<usize> = chunk.iter().map(|&len| len as usize).collect();
        let mut target = ndarray::ArrayViewMutD::from_shape(shape, &mut padded).ok()?;
        target.slice_each_axis_mut(|axis| Slice::from(0..view.len_of(Axis(axis.axis.index())))).assign(&view);
        padded
    };
    let bytes = T::le_bytes(&elements);
    let empty = bytes.chunks_exact(fill_bytes.len()).all(|element| element == fill_bytes);
    (!empty).then_some(bytes)
}

fn compress(
    bytes: Vec<u8>,
    compressors: &[Arc<dyn BytesToBytesCodecTraits>],
    options: &CodecOptions,
) -> Result<Vec<u8>, zarrs::array::CodecError> {
    let start: ArrayBytesRaw<'static> = Cow::Owned(bytes);
    let encoded = compressors.iter().try_fold(start, |bytes, codec| {
        Ok::<_, zarrs::array::CodecError>(Cow::Owned(codec.encode(bytes, options)?.into_owned()))
    })?;
    Ok(encoded.into_owned())
}
