//! Unpacking blocks: to prove that a fetched block is whole, and to see its pixels.

use std::cell::RefCell;
use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use weezl::{BitOrder, LzwStatus};

use crate::Header;
use crate::inflate::{Fault, Inflater};

const NONE: u16 = 1;
const LZW: u16 = 5;
const DEFLATE: u16 = 8;
const OLD_DEFLATE: u16 = 32946;
const ZSTD: u16 = 50000;

/// Proves that a block unpacks to exactly its pixels. Deflate carries a checksum, so a changed byte is seen as well;
/// of LZW and Zstandard a change is seen where it breaks the code. Other compressions (LERC, JPEG, …) are known by
/// their length in the directory only, and pass.
///
/// # Errors
/// A reason, expected and found.
pub fn check_block(header: &Header, block: usize, packed: &[u8]) -> Result<(), String> {
    thread_local! {
        static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    if !is_readable(header) {
        return Ok(());
    }
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.resize(header.block_bytes(block), 0);
        unpack(header.compression, packed, scratch)
    })
}

/// Whether a damaged block is told from a whole one.
#[must_use]
pub fn is_readable(header: &Header) -> bool {
    [NONE, LZW, DEFLATE, OLD_DEFLATE, ZSTD].contains(&header.compression)
}

/// The samples of a block as bytes in the file's order, row-major, predictor undone; `None` for a compression or
/// predictor that is not read here.
///
/// # Errors
/// A reason where the block is damaged.
pub fn decode_block(header: &Header, block: usize, packed: &[u8]) -> Result<Option<Vec<u8>>, String> {
    if !is_decodable(header) {
        return Ok(None);
    }
    let mut pixels = Vec::new();
    decode_into(header, block, packed, &mut pixels)?;
    Ok(Some(pixels))
}

/// As [`decode_block`], into memory that is used again, for a header that [`is_decodable`].
///
/// # Errors
/// A reason where the block is damaged.
pub fn decode_into(header: &Header, block: usize, packed: &[u8], pixels: &mut Vec<u8>) -> Result<(), String> {
    pixels.resize(header.block_bytes(block), 0);
    unpack(header.compression, packed, pixels)?;
    undo_predictor(header, pixels);
    Ok(())
}

/// As [`decode_block`], the first `rows` rows only. The block must have been proved when it was stored: what is not
/// unpacked is not checked.
///
/// # Errors
/// A reason where the block is damaged before it got that far.
pub fn decode_rows(
    header: &Header,
    block: usize,
    packed: &[u8],
    rows: usize,
) -> Result<Option<Vec<u8>>, String> {
    if ![DEFLATE, OLD_DEFLATE].contains(&header.compression) || !is_decodable(header) {
        return decode_block(header, block, packed);
    }
    let mut pixels = vec![0; header.block_bytes(block).min(rows * header.row_bytes())];
    match with_inflater(|inflater| inflater.front(packed, &mut pixels)) {
        Ok(found) if found == pixels.len() => undo_predictor(header, &mut pixels),
        _ => return Err("no sound deflate stream".to_owned()),
    }
    Ok(Some(pixels))
}

/// Whether the pixels of a file's blocks are read here.
#[must_use]
pub fn is_decodable(header: &Header) -> bool {
    is_readable(header)
        && (header.predictor == 1 || (header.predictor == 2 && [8, 16].contains(&header.bits)))
}

fn undo_predictor(header: &Header, pixels: &mut [u8]) {
    if header.predictor != 2 {
        return;
    }
    for row in pixels.chunks_exact_mut(header.row_bytes()) {
        match (header.bits, header.big_endian) {
            (8, _) => undo_bytes(row, header.samples),
            (_, false) => undo_words(row, header.samples, &u16::from_le_bytes, &u16::to_le_bytes),
            (_, true) => undo_words(row, header.samples, &u16::from_be_bytes, &u16::to_be_bytes),
        }
    }
}

/// A block of zeros as the file packs it: what stands for a block that the remote file leaves out because it is all
/// nodata. `None` where nodata is not 0 or the compression is not known here.
#[must_use]
pub fn empty_block(header: &Header, block: usize) -> Option<Vec<u8>> {
    if header.nodata.unwrap_or(0.0) != 0.0 {
        return None;
    }
    let pixels = vec![0; header.block_bytes(block)];
    match header.compression {
        NONE => Some(pixels),
        LZW => weezl::encode::Encoder::with_tiff_size_switch(BitOrder::Msb, 8).encode(&pixels).ok(),
        ZSTD => zstd::bulk::compress(&pixels, 3).ok(),
        DEFLATE | OLD_DEFLATE => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(6));
            encoder.write_all(&pixels).ok()?;
            encoder.finish().ok()
        }
        _ => None,
    }
}

/// Fills `pixels`, neither more nor less.
fn unpack(compression: u16, packed: &[u8], pixels: &mut [u8]) -> Result<(), String> {
    let expected = pixels.len();
    let wrong = |found: String| Err(format!("expected {expected} bytes of pixels, found {found}"));
    let found = match compression {
        NONE => {
            let common = packed.len().min(expected);
            pixels[..common].copy_from_slice(&packed[..common]);
            packed.len()
        }
        LZW => unpack_lzw(packed, pixels)?,
        ZSTD => match zstd::bulk::decompress_to_buffer(packed, pixels) {
            Ok(found) => found,
            Err(error) => return wrong(error.to_string()),
        },
        _ => match inflate(packed, pixels) {
            Ok(found) => found,
            Err(Fault::TooLong) => return wrong("more".to_owned()),
            Err(Fault::Damaged) => return wrong("no sound deflate stream".to_owned()),
        },
    };
    if found == expected { Ok(()) } else { wrong(found.to_string()) }
}

fn inflate(packed: &[u8], pixels: &mut [u8]) -> Result<usize, Fault> {
    with_inflater(|inflater| inflater.whole(packed, pixels))
}

fn with_inflater<T>(work: impl FnOnce(&mut Inflater) -> T) -> T {
    thread_local! {
        static INFLATER: RefCell<Inflater> = RefCell::new(Inflater::new());
    }
    INFLATER.with_borrow_mut(work)
}

fn unpack_lzw(packed: &[u8], pixels: &mut [u8]) -> Result<usize, String> {
    let mut decoder = weezl::decode::Decoder::with_tiff_size_switch(BitOrder::Msb, 8);
    let (mut read, mut found) = (0, 0);
    loop {
        let step = decoder.decode_bytes(&packed[read..], &mut pixels[found..]);
        read += step.consumed_in;
        found += step.consumed_out;
        match step.status {
            Err(error) => return Err(format!("no sound LZW stream: {error}")),
            Ok(LzwStatus::Done | LzwStatus::NoProgress) => return Ok(found),
            Ok(LzwStatus::Ok) if found == pixels.len() => return Ok(found),
            Ok(LzwStatus::Ok) => {}
        }
    }
}

/// Each sample is stored as its difference to the same band of the pixel on the left.
fn undo_bytes(row: &mut [u8], samples: usize) {
    if samples == 1 {
        // The sum stays in a register.
        let mut sum = 0_u8;
        for byte in row {
            sum = sum.wrapping_add(*byte);
            *byte = sum;
        }
        return;
    }
    for i in samples..row.len() {
        row[i] = row[i].wrapping_add(row[i - samples]);
    }
}

fn undo_words(
    row: &mut [u8],
    samples: usize,
    read: &impl Fn([u8; 2]) -> u16,
    write: &impl Fn(u16) -> [u8; 2],
) {
    let (words, _) = row.as_chunks_mut::<2>();
    if samples == 1 {
        // The sum stays in a register.
        let mut sum = 0_u16;
        for word in words {
            sum = sum.wrapping_add(read(*word));
            *word = write(sum);
        }
        return;
    }
    for i in samples..words.len() {
        words[i] = write(read(words[i]).wrapping_add(read(words[i - samples])));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plain_header;

    fn packed(compression: u16, pixels: &[u8]) -> Vec<u8> {
        match compression {
            LZW => weezl::encode::Encoder::with_tiff_size_switch(BitOrder::Msb, 8).encode(pixels).unwrap(),
            ZSTD => zstd::bulk::compress(pixels, 3).unwrap(),
            DEFLATE => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(6));
                encoder.write_all(pixels).unwrap();
                encoder.finish().unwrap()
            }
            _ => pixels.to_vec(),
        }
    }

    /// A block of 16 × 16 pixels of two bytes.
    fn header(compression: u16, predictor: u16) -> Header {
        Header { compression, predictor, ..plain_header(16, 16, 16) }
    }

    #[test]
    fn whole_blocks_pass_and_short_or_long_ones_do_not() {
        let pixels: Vec<u8> = (0..512_u32).map(|i| (i * i % 251) as u8).collect();
        for compression in [NONE, LZW, DEFLATE, ZSTD] {
            let header = header(compression, 1);
            let good = packed(compression, &pixels);
            assert_eq!(check_block(&header, 0, &good), Ok(()), "{compression}");
            assert_eq!(decode_block(&header, 0, &good).unwrap().unwrap(), pixels, "{compression}");
            let short = packed(compression, &pixels[..510]);
            assert!(check_block(&header, 0, &short).unwrap_err().contains("expected 512"), "{compression}");
            assert!(check_block(&header, 0, &good[..good.len() / 2]).is_err(), "{compression}");
            if compression != LZW {
                let long = packed(compression, &[&pixels[..], &[1, 2]].concat());
                assert!(check_block(&header, 0, &long).is_err(), "{compression}");
            }
        }
        assert_eq!(check_block(&header(34887, 1), 0, b"LERC"), Ok(()), "not read here");
    }

    #[test]
    fn a_change_of_deflate_that_changes_a_pixel_is_seen() {
        let header = header(DEFLATE, 1);
        let pixels: Vec<u8> = (0..512_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 28) as u8).collect();
        let good = packed(DEFLATE, &pixels);
        let mut seen = 0;
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            match decode_block(&header, 0, &bad) {
                Err(_) => seen += 1,
                // A bit that fills up a byte means nothing.
                Ok(found) => assert_eq!(found.as_ref(), Some(&pixels), "bit {bit}"),
            }
        }
        assert!(seen > good.len() * 8 - 16, "{seen}");
    }

    #[test]
    fn differences_are_added_up_in_either_byte_order() {
        // 10, 13, 11 as differences 10, +3, −2; the rest of the row repeats 11.
        let mut row = [0_u16; 16];
        row[..3].copy_from_slice(&[10, 3, 65_534]);
        let rows = |to: fn(u16) -> [u8; 2]| -> Vec<u8> {
            (0..16).flat_map(|_| row.iter().flat_map(|&v| to(v)).collect::<Vec<u8>>()).collect()
        };
        let little = decode_block(&header(NONE, 2), 0, &rows(u16::to_le_bytes)).unwrap().unwrap();
        assert_eq!(little[..8], [10, 0, 13, 0, 11, 0, 11, 0]);
        let big = Header { big_endian: true, ..header(NONE, 2) };
        let big = decode_block(&big, 0, &rows(u16::to_be_bytes)).unwrap().unwrap();
        assert_eq!(big[..8], [0, 10, 0, 13, 0, 11, 0, 11]);
        assert_eq!(decode_block(&header(NONE, 3), 0, &[0; 512]), Ok(None), "floats are not read here");
    }

    #[test]
    fn empty_blocks_are_zeros_in_every_packing() {
        for compression in [NONE, LZW, DEFLATE, ZSTD] {
            let header = header(compression, 1);
            let empty = empty_block(&header, 0).unwrap();
            assert_eq!(decode_block(&header, 0, &empty).unwrap().unwrap(), vec![0; 512], "{compression}");
        }
        assert_eq!(empty_block(&Header { nodata: Some(-9999.0), ..header(NONE, 1) }, 0), None);
    }
}
