//! Pixels of a sparse file, for those who do not want to wait for Level 1.

use minicube_tiff::{Header, TiffFile, decode_rows};
use std::ops::Range;
use std::path::Path;

use ndarray::{Array2, s};

use crate::Error;

/// Reads a window of a stored band of unsigned 16-bit numbers: `[rows, cols]`, row 0 in the north, as stored (0 is "no
/// data", neither scale nor offset applied).
///
/// # Errors
/// [`Error::Pixels`] if the file is none of ours, is packed in a way that is not read here, ends before the window, or
/// does not hold a block of it: what was not fetched is not "no data".
pub fn read_window(path: &Path, rows: Range<usize>, cols: Range<usize>) -> Result<Array2<u16>, Error> {
    let wrong = |reason: String| Error::Pixels { path: path.to_owned(), reason };
    let file = TiffFile::open(path).ok_or_else(|| wrong("expected a sparse GeoTIFF, found none".into()))?;
    let header = &file.header;
    if (header.bits, header.samples, header.planes) != (16, 1, 1) {
        let found = format!("{} bits in {} bands", header.bits, header.samples * header.planes);
        return Err(wrong(format!("expected 16 bits in 1 band, found {found}")));
    }
    if rows.end > header.height || cols.end > header.width || rows.is_empty() || cols.is_empty() {
        let size = format!("{} × {}", header.height, header.width);
        return Err(wrong(format!(
            "expected a window within {size}, found rows {rows:?} and columns {cols:?}"
        )));
    }
    let mut window = Array2::zeros((rows.len(), cols.len()));
    let (down, across) = (header.block_height, header.block_width);
    for block_row in rows.start / down..=(rows.end - 1) / down {
        for block_col in cols.start / across..=(cols.end - 1) / across {
            let block = block_row * header.blocks_across() + block_col;
            let place = || format!("block {block_row},{block_col}");
            let packed = file.block(block).ok_or_else(|| wrong(format!("{} was not fetched", place())))?;
            let needed = (rows.end - block_row * down).min(down);
            let pixels = decode_rows(header, block, &packed, needed)
                .map_err(|reason| wrong(format!("{}: {reason}", place())))?
                .ok_or_else(|| wrong(format!("compression {} is not read here", header.compression)))?;
            put(header, &pixels, (block_row * down, block_col * across), (&rows, &cols), &mut window);
        }
    }
    Ok(window)
}

/// Copies the part of a block that lies in the window.
fn put(
    header: &Header,
    pixels: &[u8],
    (top, left): (usize, usize),
    (rows, cols): (&Range<usize>, &Range<usize>),
    window: &mut Array2<u16>,
) {
    let (first, last) = (cols.start.max(left), cols.end.min(left + header.block_width));
    for row in rows.start.max(top)..rows.end.min(top + header.block_height) {
        let line = &pixels[(row - top) * header.row_bytes()..][..header.row_bytes()];
        let (words, _) = line[2 * (first - left)..2 * (last - left)].as_chunks::<2>();
        let mut target = window.slice_mut(s![row - rows.start, first - cols.start..last - cols.start]);
        if header.big_endian {
            target.iter_mut().zip(words).for_each(|(to, word)| *to = u16::from_be_bytes(*word));
        } else {
            target.iter_mut().zip(words).for_each(|(to, word)| *to = u16::from_le_bytes(*word));
        }
    }
}
