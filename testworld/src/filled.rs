//! A tile that has data everywhere: the blocks of the active window, repeated over the whole raster.
//!
//! At full resolution the window is a whole number of blocks and begins at a block's corner, so nothing is compressed
//! anew: the filled file is the directories of the other one, with new offsets and lengths, and its blocks over and over.
//! Overviews repeat the blocks that hold a part of the window, edges included.

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::rope::Rope;

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const BLOCK: u16 = 322;
const OFFSETS: u16 = 324;
const COUNTS: u16 = 325;

/// One resolution level, as the file's directory tells.
struct Level {
    width: usize,
    height: usize,
    block: usize,
    offsets: Longs,
    counts: Longs,
}

/// An array of a directory and where it lies in the file.
#[derive(Default)]
struct Longs {
    at: usize,
    values: Vec<u32>,
}

/// The filled form of a square raster that this crate has made and whose data lie in a square of `size` pixels from row
/// and column `first` on; `None` if it is not such a file.
pub(crate) fn filled(cog: &Bytes, first: usize, size: usize) -> Option<Rope> {
    let levels = levels(cog)?;
    let width = levels.first()?.width;
    // The directories come first, then nothing but blocks.
    let start = levels.iter().flat_map(|level| &level.offsets.values).min().map(|offset| *offset as usize)?;
    let mut head = cog.get(..start)?.to_vec();
    let mut blocks = Vec::new();
    let mut next = start;
    for level in levels.iter().rev() {
        let factor = (width + level.width / 2) / level.width;
        let with_data = blocks_with_data(first, size, factor, level.block);
        let (rows, cols) = (level.height.div_ceil(level.block), level.width.div_ceil(level.block));
        for target in 0..rows * cols {
            let (row, col) = (repeated(target / cols, &with_data), repeated(target % cols, &with_data));
            let source = row * cols + col;
            let (offset, count) = (*level.offsets.values.get(source)?, *level.counts.values.get(source)?);
            let end = offset.checked_add(count).filter(|end| *end as usize <= cog.len())?;
            put(&mut head, &level.offsets, target, u32::try_from(next).ok()?)?;
            put(&mut head, &level.counts, target, count)?;
            blocks.push(cog.slice(offset as usize..end as usize));
            next += count as usize;
        }
    }
    let held = cog.len() + head.len();
    Some(Rope::new(std::iter::once(Bytes::from(head)).chain(blocks), held))
}

/// Rows (and columns) of blocks of an overview that show a part of the window.
fn blocks_with_data(first: usize, size: usize, factor: usize, block: usize) -> RangeInclusive<usize> {
    // Overview pixel i shows pixel i * factor.
    let (begin, end) = (first.div_ceil(factor), (first + size).div_ceil(factor));
    begin / block..=(end - 1) / block
}

/// The row (or column) of blocks that stands at `target` when those with data are repeated in both directions.
fn repeated(target: usize, with_data: &RangeInclusive<usize>) -> usize {
    let (first, period) = (*with_data.start(), with_data.end() - with_data.start() + 1);
    first + (target + period - first % period) % period
}

fn put(head: &mut [u8], array: &Longs, index: usize, value: u32) -> Option<()> {
    let at = array.at + 4 * index;
    head.get_mut(at..at + 4)?.copy_from_slice(&value.to_le_bytes());
    Some(())
}

/// The directories of a classic little-endian TIFF of square blocks.
fn levels(file: &[u8]) -> Option<Vec<Level>> {
    let mut levels = Vec::new();
    let mut at = long(file, 4)? as usize;
    while at != 0 {
        let mut level =
            Level { width: 0, height: 0, block: 0, offsets: Longs::default(), counts: Longs::default() };
        let entries = usize::from(short(file, at)?);
        for entry in (0..entries).map(|index| at + 2 + 12 * index) {
            match short(file, entry)? {
                WIDTH => level.width = usize::from(short(file, entry + 8)?),
                HEIGHT => level.height = usize::from(short(file, entry + 8)?),
                BLOCK => level.block = usize::from(short(file, entry + 8)?),
                OFFSETS => level.offsets = longs(file, entry)?,
                COUNTS => level.counts = longs(file, entry)?,
                _ => {}
            }
        }
        if level.width == 0 || level.block == 0 {
            return None;
        }
        levels.push(level);
        at = long(file, at + 2 + 12 * entries)? as usize;
    }
    Some(levels)
}

/// The array of an entry; a single number stands in the entry itself.
fn longs(file: &[u8], entry: usize) -> Option<Longs> {
    let count = long(file, entry + 4)? as usize;
    let at = if count > 1 { long(file, entry + 8)? as usize } else { entry + 8 };
    let values = (0..count).map(|index| long(file, at + 4 * index)).collect::<Option<Vec<u32>>>()?;
    Some(Longs { at, values })
}

fn short(file: &[u8], at: usize) -> Option<u16> {
    file.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}

fn long(file: &[u8], at: usize) -> Option<u32> {
    file.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_repeated_in_both_directions() {
        // 10 m: the window is blocks 4 and 5 of eleven.
        let full = blocks_with_data(4096, 2048, 1, 1024);
        assert_eq!(full, 4..=5);
        let rows: Vec<usize> = (0..11).map(|target| repeated(target, &full)).collect();
        assert_eq!(rows, [4, 5, 4, 5, 4, 5, 4, 5, 4, 5, 4]);
        // 20 m: block 2 alone.
        let coarse = blocks_with_data(2048, 1024, 1, 1024);
        assert_eq!(coarse, 2..=2);
        assert_eq!(repeated(0, &coarse), 2);
        // Overviews of 1/8 and 1/16 of the 10 m raster: pixels 512 to 767, and 256 to 383.
        assert_eq!(blocks_with_data(4096, 2048, 8, 512), 1..=1);
        assert_eq!(blocks_with_data(4096, 2048, 16, 512), 0..=0);
        // A window that begins at an odd block: 3 4 5 3 4 5.
        assert_eq!((0..6).map(|target| repeated(target, &(3..=5))).collect::<Vec<_>>(), [3, 4, 5, 3, 4, 5]);
    }

    #[test]
    fn what_is_no_such_file_is_refused() {
        assert!(filled(&Bytes::from_static(b"II\x2a\x00\x08\x00\x00\x00"), 0, 1).is_none());
        assert!(filled(&Bytes::new(), 0, 1).is_none());
    }
}
