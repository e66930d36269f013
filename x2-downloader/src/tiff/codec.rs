//! Unpacking blocks: to see the classes of an SCL block, and to prove that a fetched block is whole.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use super::Header;

const NONE: u16 = 1;
const DEFLATE: u16 = 8;
const OLD_DEFLATE: u16 = 32946;

/// Proves that a block unpacks to exactly its pixels. Deflate carries a checksum, so a changed byte is seen as well.
/// Other compressions than deflate are only known by their length in the directory and pass.
///
/// # Errors
/// A reason, expected and found.
pub(crate) fn check_block(header: &Header, packed: &[u8]) -> Result<(), String> {
    let expected = header.block_bytes();
    let found = match header.compression {
        NONE => packed.len(),
        DEFLATE | OLD_DEFLATE => inflated_len(packed, expected)?,
        _ => return Ok(()),
    };
    if found == expected {
        Ok(())
    } else {
        Err(format!("expected {expected} bytes of pixels, found {found}"))
    }
}

/// The pixels of a block of one byte a pixel, row-major; `None` for a compression or type that is not read here.
///
/// # Errors
/// A reason where the block is damaged.
pub(crate) fn decode_bytes(header: &Header, packed: &[u8]) -> Result<Option<Vec<u8>>, String> {
    if header.bits != 8 || header.samples != 1 || !(1..=2).contains(&header.predictor) {
        return Ok(None);
    }
    let mut pixels = match header.compression {
        NONE => packed.to_vec(),
        DEFLATE | OLD_DEFLATE => {
            let mut pixels = Vec::with_capacity(header.block_bytes());
            let limit = header.block_bytes() as u64 + 1;
            ZlibDecoder::new(packed)
                .take(limit)
                .read_to_end(&mut pixels)
                .map_err(|error| error.to_string())?;
            pixels
        }
        _ => return Ok(None),
    };
    if pixels.len() != header.block_bytes() {
        return Err(format!("expected {} pixels, found {}", header.block_bytes(), pixels.len()));
    }
    if header.predictor == 2 {
        for row in pixels.chunks_exact_mut(header.block_width) {
            for i in 1..row.len() {
                row[i] = row[i].wrapping_add(row[i - 1]);
            }
        }
    }
    Ok(Some(pixels))
}

/// A block of zeros as the file packs it: what stands for a block that the remote file leaves out because it is all
/// nodata. `None` where nodata is not 0 or the compression is not known here.
pub(crate) fn empty_block(header: &Header) -> Option<Vec<u8>> {
    if header.nodata.unwrap_or(0.0) != 0.0 {
        return None;
    }
    let pixels = vec![0; header.block_bytes()];
    match header.compression {
        NONE => Some(pixels),
        DEFLATE | OLD_DEFLATE => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(6));
            encoder.write_all(&pixels).ok()?;
            encoder.finish().ok()
        }
        _ => None,
    }
}

fn inflated_len(packed: &[u8], expected: usize) -> Result<usize, String> {
    let mut decoder = ZlibDecoder::new(packed);
    let mut scratch = vec![0; 1 << 16];
    let mut found = 0;
    loop {
        match decoder.read(&mut scratch).map_err(|error| error.to_string())? {
            0 => return Ok(found),
            read => found += read,
        }
        if found > expected {
            return Ok(found);
        }
    }
}
