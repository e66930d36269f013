//! How chunks are compressed, by measurement: the table below, and `cargo xtask bench zarr`.
//!
//! Compression ratio and megabytes of data a second of chunks of 64 × 64 × 64 on one core. "Test cube" is smooth fields with noise of which every
//! fifth day is observed, "Belgium" a field of Sentinel-2 L2A at 10 m, "SCL" and "means" are GreenEarthNet's.
//!
//! | chunks of | zstd 5 | shuffle + zstd 9 | bit shuffle + zstd 5 | the same, one block a chunk | and zstd 7 |
//! |---|---|---|---|---|---|
//! | test cube, uint16 | 7.45, 196 | 9.04, 97 | 8.79, 403 | 9.00, 400 | 9.03, 300 |
//! | Belgium B08, uint16 | 1.18, 65 | 1.54, 32 | 1.47, 231 | 1.51, 226 | 1.51, 166 |
//! | SCL, uint8 | 11.2, 63 | 13.2, 47 | 16.6, 361 | 16.6, 359 | 17.3, 215 |
//! | 10-daily means, float32 | 1.31, 22 | 1.34, 86 | 1.37, 357 | 1.41, 429 | 1.41, 322 |

use std::sync::Arc;

use zarrs::array::BytesToBytesCodecTraits;
use zarrs::array::codec::{
    BloscCodec, BloscCompressionLevel, BloscCompressor, BloscShuffleMode, Crc32cCodec, ZstdCodec,
};
use zarrs::plugin::PluginCreateError;

use super::VarSpec;

/// Level of Zstandard for tables and texts.
const ZSTD_LEVEL: i32 = 5;
/// Level of Blosc for maps and images: 3 of 9 is Zstandard's 5.
const BLOSC_LEVEL: u8 = 3;

/// Compression of a variable's chunks. Maps and images (three dimensions and more) have their bits shuffled, with one
/// Blosc block a chunk; everything else is plain Zstandard. A checksum follows, so that a damaged chunk is an error and not
/// other numbers.
///
/// # Errors
/// The library's, if it was built without the compressor.
pub(super) fn codecs(
    var: &VarSpec,
    chunk: &[u64],
) -> Result<Vec<Arc<dyn BytesToBytesCodecTraits>>, PluginCreateError> {
    let element = var.dtype.size();
    let compressor: Arc<dyn BytesToBytesCodecTraits> = if chunk.len() < 3 || element == 0 {
        Arc::new(ZstdCodec::new(ZSTD_LEVEL, false))
    } else {
        let level = BloscCompressionLevel::try_from(BLOSC_LEVEL)
            .map_err(|level| PluginCreateError::from(format!("blosc: {level} is no level of compression")))?;
        let bytes = chunk.iter().product::<u64>() as usize * element;
        Arc::new(BloscCodec::new(
            BloscCompressor::Zstd,
            level,
            Some(bytes),
            BloscShuffleMode::BitShuffle,
            Some(element),
        )?)
    };
    Ok(vec![compressor, checksum()])
}

/// CRC-32C behind the bytes, also of the index of a shard.
pub(super) fn checksum() -> Arc<dyn BytesToBytesCodecTraits> {
    Arc::new(Crc32cCodec::new())
}
