//! Shards of Zarr v3: compressed chunks in C order, then their offsets and sizes with a checksum.
//!
//! Written here rather than by the library because its order of chunks depends on a race as soon as it uses more than one
//! thread. Chunks are compressed by all threads and laid down in order.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ndarray::{ArrayViewD, Slice};
use rayon::prelude::*;
use zarrs::array::{ArrayBytesRaw, BytesToBytesCodecTraits, CodecError, CodecOptions};

use super::codecs::checksum;
use super::{Element, VarSpec};

/// A compressed chunk; `None` if it holds nothing but the fill value, and is not stored.
pub(super) type Chunk = Option<Vec<u8>>;

/// Offset and size, in the index of a shard, of a chunk that is not stored.
pub(super) const ABSENT: u64 = u64::MAX;

/// Compresses the chunks of a region that begins with a chunk, in C order.
///
/// # Shapes
/// - data: `unit`, a whole number of chunks, or less where the variable ends
///
/// # Errors
/// The library's, if a compressor fails.
pub(super) fn compress_chunks<T: Element>(
    var: &VarSpec,
    (unit, chunk): (&[u64], &[u64]),
    compressors: &[Arc<dyn BytesToBytesCodecTraits>],
    data: &ArrayViewD<'_, T>,
) -> Result<Vec<Chunk>, CodecError> {
    let one = |first: &Vec<usize>| match chunk_bytes(var, chunk, first, data) {
        None => Ok(None),
        Some(bytes) => compress(bytes, compressors).map(Some),
    };
    first_elements(unit, chunk).par_iter().map(one).collect()
}

/// The bytes of a shard: chunks, index, checksum of the index.
///
/// # Errors
/// The library's, if the checksum fails.
pub(super) fn shard_bytes(chunks: &[Chunk]) -> Result<Vec<u8>, CodecError> {
    let size: usize = chunks.iter().flatten().map(Vec::len).sum();
    let mut file = Vec::with_capacity(size + index_len(chunks.len()));
    let mut index = Vec::with_capacity(index_len(chunks.len()));
    for chunk in chunks {
        let place = chunk.as_ref().map_or([ABSENT; 2], |bytes| [file.len() as u64, bytes.len() as u64]);
        index.extend(place.iter().flat_map(|number| number.to_le_bytes()));
        file.extend_from_slice(chunk.as_deref().unwrap_or_default());
    }
    file.extend_from_slice(&compress(index, &[checksum()])?);
    Ok(file)
}

/// Offsets and sizes of the chunks of a shard, from the bytes that end with its index; `None` if that is damaged.
pub(super) fn read_index(bytes: &[u8], chunks: usize) -> Option<Vec<(u64, u64)>> {
    let tail = &bytes[bytes.len().checked_sub(index_len(chunks))?..];
    let index = &tail[..16 * chunks];
    let sealed = compress(index.to_vec(), &[checksum()]).ok()?;
    let places =
        index.chunks_exact(16).filter_map(|place| Some((number(&place[..8])?, number(&place[8..])?)));
    (sealed == tail).then(|| places.collect())
}

/// Bytes of the index of a shard, with its checksum.
pub(super) fn index_len(chunks: usize) -> usize {
    16 * chunks + 4
}

/// A little-endian number of eight bytes.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// The file of a shard: the default chunk keys of Zarr v3.
pub(super) fn shard_file(store: &Path, var: &str, shard: &[u64]) -> PathBuf {
    let folder = store.join(var).join("c");
    shard.iter().fold(folder, |path, index| path.join(index.to_string()))
}

/// First elements of the chunks of a region, in C order.
fn first_elements(unit: &[u64], chunk: &[u64]) -> Vec<Vec<usize>> {
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
    let size = var.dtype.size();
    let mut fill = vec![0; size];
    T::write_le(&[T::from_f64(var.fill)], &mut fill);
    let full: Vec<usize> = chunk.iter().map(|&len| len as usize).collect();
    let row = full.last().copied().unwrap_or(1);
    let bytes = full.iter().product::<usize>() * size;
    let mut bytes = if view.shape() == full { vec![0; bytes] } else { fill.repeat(bytes / size) };
    // Rows of the view, each to its place among the rows of the chunk.
    let (last, outer) = view.shape().split_last().unwrap_or((&1, &[]));
    let mut position = vec![0; outer.len()];
    for lane in view.rows() {
        let at = position.iter().zip(&full).fold(0, |at, (&i, &len)| at * len + i) * row * size;
        let target = &mut bytes[at..at + last * size];
        match lane.as_slice() {
            Some(values) => T::write_le(values, target),
            None => T::write_le(&lane.to_vec(), target),
        }
        for axis in (0..outer.len()).rev() {
            position[axis] += 1;
            if position[axis] < outer[axis] {
                break;
            }
            position[axis] = 0;
        }
    }
    let empty = bytes.chunks_exact(size).all(|element| element == fill);
    (!empty).then_some(bytes)
}

fn compress(bytes: Vec<u8>, compressors: &[Arc<dyn BytesToBytesCodecTraits>]) -> Result<Vec<u8>, CodecError> {
    let options = CodecOptions::default().with_concurrent_target(1);
    let start: ArrayBytesRaw<'static> = Cow::Owned(bytes);
    let encoded = compressors.iter().try_fold(start, |bytes, codec| {
        Ok::<_, CodecError>(Cow::Owned(codec.encode(bytes, &options)?.into_owned()))
    })?;
    Ok(encoded.into_owned())
}
