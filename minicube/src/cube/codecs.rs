//! How large chunks are and how they are compressed, by measurement: the table below, and `cargo xtask bench zarr`.
//!
//! Compression ratio (of the chunks alone) and megabytes of data a second on one core, by Blosc 1.21 through numcodecs. "Test
//! cube" is smooth fields with noise of which every fifth day is observed, "Belgium" a field of Sentinel-2 L2A at 10 m, "SCL"
//! and "means" are GreenEarthNet's. Bits are shuffled, one Blosc block a chunk.
//!
//! | 64 dates of | 64², zstd 1 | 64², zstd 5 | 128², zstd 1 | 128², zstd 5 | 128², zstd 9 |
//! |---|---|---|---|---|---|
//! | test cube, uint16 | 8.98, 763 | 9.00, 405 | 9.08, 964 | 9.12, 508 | 9.17, 315 |
//! | Belgium B08, uint16 | 1.50, 458 | 1.51, 219 | 1.50, 483 | 1.51, 219 | 1.52, 150 |
//! | B8A, int16 | 1.18, 528 | 1.18, 288 | 1.19, 586 | 1.19, 243 | 1.20, 160 |
//! | SCL, uint8 | 16.8, 487 | 16.6, 222 | 16.6, 465 | 16.3, 229 | 17.1, 129 |
//! | 10-daily means, float32 | 1.40, 491 | 1.41, 424 | 1.41, 727 | 1.41, 407 | 1.41, 255 |
//!
//! Without the shuffle, zstd 5 stores the test cube at 7.45 with 196 MB/s; with bytes shuffled, zstd 9 at 9.04 with 97 MB/s.

use std::sync::Arc;

use zarrs::array::BytesToBytesCodecTraits;
use zarrs::array::codec::{
    BloscCodec, BloscCompressionLevel, BloscCompressor, BloscShuffleMode, Crc32cCodec, ZstdCodec,
};
use zarrs::plugin::PluginCreateError;

use super::VarSpec;

/// Level of Zstandard for tables and texts.
const ZSTD_LEVEL: i32 = 5;
/// Level of Blosc for maps and images: 1 of 9 is Zstandard's 1.
const BLOSC_LEVEL: u8 = 1;

/// Name of what [`codecs`] makes, to be changed with it.
pub(super) const CODECS: &str = "zstd 5, blosc zstd 1 bitshuffle, crc32c";

/// Greatest length of a chunk of images in time. Series are built, and taken into memory, by this many dates.
pub const CHUNK_DATES: u64 = 64;

/// Greatest side of a chunk of maps and images: a whole cube of the usual size.
pub const CHUNK_PX: u64 = 128;

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
