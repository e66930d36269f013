//! Which cells of SMAP's grid are kept around the wanted locations.

use std::collections::BTreeSet;
use std::ops::Range;

use minicube::LonLat;
use ndarray::{Array2, s};

use super::ease2::Grid;

/// Cells along the edge of a chunk; a chunk without a kept cell is not stored.
const CHUNK: usize = 32;

/// The kept cells: a window of the grid and which cells in it are kept.
#[derive(Debug, PartialEq)]
pub(crate) struct Cells {
    pub(crate) first_row: usize,
    pub(crate) first_col: usize,
    pub(crate) kept: Array2<bool>,
}

impl Cells {
    /// The cells of a square around each centre; of an even edge the centre is the upper-left one of the middle four.
    /// `None` if no centre is on the grid.
    pub(crate) fn around(centers: &[LonLat], window: usize, grid: &Grid) -> Option<Cells> {
        let middles: BTreeSet<(usize, usize)> =
            centers.iter().filter_map(|center| grid.cell_of(*center)).collect();
        let reach = |index: usize, len: usize| {
            let before = (window - 1) / 2;
            index.saturating_sub(before)..(index + window - before).min(len)
        };
        let squares: Vec<(Range<usize>, Range<usize>)> = middles
            .into_iter()
            .map(|(row, col)| (reach(row, grid.y.len()), reach(col, grid.x.len())))
            .collect();
        let first_row = squares.iter().map(|(rows, _)| rows.start).min()?;
        let end_row = squares.iter().map(|(rows, _)| rows.end).max()?;
        let first_col = squares.iter().map(|(_, cols)| cols.start).min()?;
        let end_col = squares.iter().map(|(_, cols)| cols.end).max()?;
        let mut kept = Array2::from_elem((end_row - first_row, end_col - first_col), false);
        for (rows, cols) in squares {
            let rows = rows.start - first_row..rows.end - first_row;
            kept.slice_mut(s![rows, cols.start - first_col..cols.end - first_col]).fill(true);
        }
        Some(Cells { first_row, first_col, kept })
    }

    /// Edges of a chunk in a file of these cells.
    pub(crate) fn chunk(&self) -> (usize, usize) {
        let (rows, cols) = self.kept.dim();
        (rows.min(CHUNK), cols.min(CHUNK))
    }

    /// Calls `work` with the rows and columns of every run of chunks that lie side by side and each hold a kept cell.
    pub(crate) fn each_run(
        &self,
        mut work: impl FnMut(Range<usize>, Range<usize>) -> hdf5::Result<()>,
    ) -> hdf5::Result<()> {
        let (rows, cols) = self.kept.dim();
        let (down, across) = self.chunk();
        for row in (0..rows).step_by(down) {
            let rows = row..(row + down).min(rows);
            let mut run: Option<Range<usize>> = None;
            for col in (0..cols).step_by(across) {
                let chunk = col..(col + across).min(cols);
                if self.kept.slice(s![rows.clone(), chunk.clone()]).iter().any(|kept| *kept) {
                    run = Some(run.map_or(col, |run| run.start)..chunk.end);
                } else if let Some(run) = run.take() {
                    work(rows.clone(), run)?;
                }
            }
            if let Some(run) = run {
                work(rows, run)?;
            }
        }
        Ok(())
    }

    /// Whether every cell of `wanted` is among these.
    pub(crate) fn cover(&self, wanted: &Cells) -> bool {
        wanted.kept.indexed_iter().filter(|(_, kept)| **kept).all(|((row, col), _)| {
            let row = (row + wanted.first_row).checked_sub(self.first_row);
            let col = (col + wanted.first_col).checked_sub(self.first_col);
            row.zip(col).and_then(|at| self.kept.get(at)) == Some(&true)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::ease2::project;
    use super::*;

    fn grid() -> Grid {
        Grid::global(203, 482).unwrap()
    }

    /// The place in the middle of a cell.
    fn place(row: usize, col: usize) -> LonLat {
        // Columns are evenly spaced in longitude; latitudes are found by halving.
        let grid = grid();
        let lon = 360.0 * (col as f64 + 0.5) / 482.0 - 180.0;
        let (mut south, mut north) = (-89.0, 89.0);
        for _ in 0..60 {
            let lat = (south + north) / 2.0;
            let below = project(LonLat { lon, lat }).y < grid.y[row];
            *(if below { &mut south } else { &mut north }) = lat;
        }
        LonLat { lon, lat: south }
    }

    #[test]
    fn squares_around_places_and_the_window_of_all() {
        let cells = Cells::around(&[place(50, 100), place(53, 110)], 4, &grid()).unwrap();
        // An edge of 4 has one cell before the centre and two behind.
        assert_eq!((cells.first_row, cells.first_col, cells.kept.dim()), (49, 99, (7, 14)));
        let kept: Vec<(usize, usize)> =
            cells.kept.indexed_iter().filter(|(_, kept)| **kept).map(|(at, _)| at).collect();
        assert_eq!(kept.len(), 32);
        assert!(kept.contains(&(0, 0)) && kept.contains(&(3, 3)) && kept.contains(&(6, 13)));
        assert!(!kept.contains(&(0, 4)) && !kept.contains(&(2, 10)));
    }

    /// Two squares of one cell, 40 rows and 70 columns apart: in chunks of 32 the first of row 0 and the third of row 1.
    #[test]
    fn runs_are_of_chunks_with_kept_cells() {
        let runs = |cells: &Cells| {
            let mut runs = Vec::new();
            cells
                .each_run(|rows, cols| {
                    runs.push((rows, cols));
                    Ok(())
                })
                .unwrap();
            runs
        };
        let two = Cells::around(&[place(50, 100), place(90, 170)], 1, &grid()).unwrap();
        assert_eq!(runs(&two), [(0..32, 0..32), (32..41, 64..71)]);
        let wide = Cells::around(&[place(50, 100)], 70, &grid()).unwrap();
        assert_eq!(runs(&wide), [(0..32, 0..70), (32..64, 0..70), (64..70, 0..70)]);
    }

    #[test]
    fn squares_end_where_the_grid_does() {
        let cells = Cells::around(&[place(0, 481)], 5, &grid()).unwrap();
        assert_eq!((cells.first_row, cells.first_col, cells.kept.dim()), (0, 479, (3, 3)));
        assert_eq!(Cells::around(&[LonLat { lon: 0.0, lat: 89.0 }], 5, &grid()), None);
    }

    #[test]
    fn a_wider_square_covers_a_narrower_one_and_not_its_neighbour() {
        let around = |places: &[LonLat], window| Cells::around(places, window, &grid()).unwrap();
        let wide = around(&[place(50, 100)], 16);
        for window in 1..=16 {
            assert!(wide.cover(&around(&[place(50, 100)], window)), "{window}");
        }
        assert!(!wide.cover(&around(&[place(50, 100)], 17)));
        assert!(!wide.cover(&around(&[place(50, 120)], 1)));
        // Within the window of both squares, but in neither.
        let two = around(&[place(50, 100), place(60, 110)], 3);
        assert!(two.cover(&around(&[place(60, 110)], 2)) && !two.cover(&around(&[place(55, 105)], 1)));
    }
}
