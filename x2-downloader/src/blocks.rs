//! Which blocks lie under the wanted cubes, and which requests fetch them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use minicube::Bounds;
use minicube_tiff::Header;

/// A request: neighbouring blocks in one byte range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Bytes of the remote file.
    pub(crate) bytes: Range<u64>,
    /// The blocks inside, by ascending offset.
    pub(crate) blocks: Vec<usize>,
}

/// Pixels (rows, columns) that a cell needs. Where an edge of the cell falls on a pixel edge nothing is added; else
/// the cut pixel is taken and one more, so that any resampling finds its neighbours.
pub(crate) fn wanted_area(header: &Header, cell: &Bounds) -> (Range<usize>, Range<usize>) {
    let span = |from: f64, to: f64, len: usize| {
        let low = if (from - from.round()).abs() < 1e-6 { from.round() } else { from.floor() - 1.0 };
        let high = if (to - to.round()).abs() < 1e-6 { to.round() } else { to.ceil() + 1.0 };
        let clip = |value: f64| value.clamp(0.0, len as f64) as usize;
        clip(low)..clip(high)
    };
    let (origin, pixel) = (header.origin, header.pixel);
    let rows = span((origin.y - cell.y_max) / pixel.y, (origin.y - cell.y_min) / pixel.y, header.height);
    let cols = span((cell.x_min - origin.x) / pixel.x, (cell.x_max - origin.x) / pixel.x, header.width);
    (rows, cols)
}

/// The blocks that share a pixel with a cell, of all planes.
pub(crate) fn blocks_under(header: &Header, cell: &Bounds) -> BTreeSet<usize> {
    let (rows, cols) = wanted_area(header, cell);
    if rows.is_empty() || cols.is_empty() {
        return BTreeSet::new();
    }
    let down = rows.start / header.block_height..=(rows.end - 1) / header.block_height;
    let across = cols.start / header.block_width..=(cols.end - 1) / header.block_width;
    let of_first = down.flat_map(|row| across.clone().map(move |col| row * header.blocks_across() + col));
    let plane = header.blocks_a_plane();
    of_first.flat_map(|block| (0..header.planes).map(move |index| index * plane + block)).collect()
}

/// Joins blocks whose gap is at most `gap` bytes into requests of at most `limit` bytes (a single block may be
/// longer). A block that is begun starts a request of its own, so that it can go on in the middle. Absent blocks are
/// left out.
pub(crate) fn coalesce(
    header: &Header,
    blocks: &BTreeSet<usize>,
    begun: &BTreeMap<usize, u64>,
    gap: u64,
    limit: u64,
) -> Vec<Span> {
    let mut present: Vec<(u64, u64, usize)> = blocks
        .iter()
        .filter_map(|&block| header.span(block).map(|(at, len)| (at, at.saturating_add(len), block)))
        .collect();
    present.sort_unstable();
    let mut spans: Vec<Span> = Vec::new();
    for (from, to, block) in present {
        match spans.last_mut() {
            Some(last)
                if from <= last.bytes.end.saturating_add(gap)
                    && to.saturating_sub(last.bytes.start) <= limit
                    && !begun.contains_key(&block) =>
            {
                last.bytes.end = last.bytes.end.max(to);
                last.blocks.push(block);
            }
            _ => spans.push(Span { bytes: from..to, blocks: vec![block] }),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use minicube_tiff::plain_header;

    use super::*;

    #[test]
    fn near_blocks_share_a_request() {
        // Nine blocks of 10 bytes, back to back from byte 1000.
        let header = plain_header(48, 16, 16);
        let spans = |blocks: &[usize], begun: &[usize], gap, limit| -> Vec<(Range<u64>, Vec<usize>)> {
            let begun = begun.iter().map(|&block| (block, 3)).collect();
            let blocks = blocks.iter().copied().collect();
            coalesce(&header, &blocks, &begun, gap, limit).into_iter().map(|s| (s.bytes, s.blocks)).collect()
        };
        assert_eq!(
            spans(&[0, 1, 3, 8], &[], 0, 100),
            [(1000..1020, vec![0, 1]), (1030..1040, vec![3]), (1080..1090, vec![8])]
        );
        assert_eq!(spans(&[0, 1, 3, 8], &[], 10, 100), [(1000..1040, vec![0, 1, 3]), (1080..1090, vec![8])]);
        assert_eq!(spans(&[0, 1, 2], &[], 0, 20), [(1000..1020, vec![0, 1]), (1020..1030, vec![2])]);
        assert_eq!(spans(&[0, 1, 2], &[1], 0, 100), [(1000..1010, vec![0]), (1010..1030, vec![1, 2])]);
        assert_eq!(spans(&[0], &[], 0, 5), [(1000..1010, vec![0])], "one block may be longer");
    }

    #[test]
    fn a_cell_needs_the_blocks_of_all_planes() {
        let blocks = (0..12).map(|block| 100 + block).collect();
        let header = Header { planes: 3, offsets: blocks, counts: vec![1; 12], ..plain_header(32, 16, 8) };
        let cell = Bounds { x_min: 500.0, y_min: 8850.0, x_max: 600.0, y_max: 9000.0 };
        assert_eq!(blocks_under(&header, &cell), [0, 4, 8].into());
    }
}
