//! Geomorphons: the form of the land around a cell, from what is higher and what is lower in eight directions.
//!
//! Jasiewicz, J. and Stepinski, T. F. (2013), Geomorphons – a pattern recognition approach to classification and
//! mapping of landforms, doi:10.1016/j.geomorph.2012.11.005. Everything the paper leaves open is as in the program of
//! its authors, `r.geomorphon` of GRASS 8.2 with its default comparison of angles.

use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView2, Axis};

/// Names of the ten forms; the first has code 1.
pub const GEOMORPHONS: [&str; 10] =
    ["flat", "summit", "ridge", "shoulder", "spur", "slope", "hollow", "footslope", "valley", "depression"];

/// Codes by the number of lower directions (rows) and of higher ones (places in a row), together 8 at most.
const FORMS: [&[u8]; 9] = [
    &[1, 1, 1, 8, 8, 9, 9, 9, 10],
    &[1, 1, 8, 8, 8, 9, 9, 9],
    &[1, 4, 6, 6, 7, 7, 9],
    &[4, 4, 6, 6, 6, 7],
    &[4, 4, 5, 6, 6],
    &[3, 3, 5, 5],
    &[3, 3, 3],
    &[3, 3],
    &[2],
];

/// The eight directions as steps of row and column.
const DIRECTIONS: [(isize, isize); 8] =
    [(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)];

/// Tangents closer than this share of themselves differ by rounding only.
const ROUNDING: f64 = 1e-15;

/// How far the lines of sight reach, and what is flat to them. The defaults suit hillslopes on cells of 30 m.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geomorphons {
    /// Search radius, cells (of the size from north to south). Cells nearer than that are seen.
    pub search: usize,
    /// Cells around the observer that are not looked at.
    pub skip: usize,
    /// Flatness threshold, degrees: what is seen at a smaller angle up or down is level.
    pub flat_deg: f64,
    /// Flatness distance, cells: beyond it what counts is the height that has the threshold's angle at this distance.
    /// 0 = off; so is a distance that is not between `skip` and `search`.
    pub flat_distance: usize,
}

impl Default for Geomorphons {
    fn default() -> Self {
        Geomorphons { search: 11, skip: 0, flat_deg: 1.0, flat_distance: 0 }
    }
}

/// Size of a cell, metres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CellSize {
    /// From west to east.
    pub x: f64,
    /// From north to south.
    pub y: f64,
}

/// A square cell.
impl From<f64> for CellSize {
    fn from(edge: f64) -> CellSize {
        CellSize { x: edge, y: edge }
    }
}

/// The form of every cell: 1 to 10 as in [`GEOMORPHONS`], 0 = none.
///
/// # Shapes
/// `elevation` is `[y, x]` in metres, row 0 = north, NaN = void; the result has the same shape.
///
/// None have void cells and the outermost `skip + 1` rows and columns. A line of sight ends at the edge of the grid. It
/// passes over voids, unless one lies right beside the observer: then that direction is level.
///
/// Two habits of GRASS come along: a direction whose highest and lowest angle are the same to the last bit is level
/// however steep, so that a perfect plane is flat; and cells within `search` rows of the last row do not see that row.
#[must_use]
pub fn geomorphons<T: Copy + Into<f64> + Send + Sync>(
    elevation: ArrayView2<'_, T>,
    cell: impl Into<CellSize>,
    options: &Geomorphons,
) -> Array2<u8> {
    let (rows, cols) = elevation.dim();
    let land = Land { heights: elevation.iter().copied().collect(), rows, cols };
    let eye = Eye::new(&land, cell.into(), options);
    let mut forms = Array2::zeros((rows, cols));
    forms.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(row, mut forms)| {
        if row < eye.first || row + eye.first >= rows {
            return;
        }
        for col in eye.first..cols.saturating_sub(eye.first) {
            forms[col] = eye.form(&land, row, col);
        }
    });
    forms
}

/// Elevations row by row.
struct Land<T> {
    heights: Vec<T>,
    rows: usize,
    cols: usize,
}

impl<T: Copy + Into<f64>> Land<T> {
    fn height(&self, index: usize) -> f64 {
        self.heights[index].into()
    }
}

/// The observer: the options in metres.
struct Eye {
    /// The nearest cell that is looked at.
    first: usize,
    /// Search radius, rows.
    search: usize,
    /// Distances of the cells in each direction, from the neighbour on.
    runs: [Vec<f64>; 8],
    flat_tangent: f64,
    flat_distance: f64,
    flat_height: f64,
}

/// A cell seen from the observer: height above it and distance to it, metres.
#[derive(Clone, Copy)]
struct Sight {
    rise: f64,
    run: f64,
    tangent: f64,
}

impl Eye {
    fn new<T>(land: &Land<T>, cell: CellSize, options: &Geomorphons) -> Eye {
        let radius = options.search as f64 * cell.y;
        let runs = DIRECTIONS.map(|(dy, dx)| {
            let run =
                |step: usize| (step as f64 * dx as f64 * cell.x).hypot(step as f64 * dy as f64 * cell.y);
            (1..land.rows.max(land.cols)).map(run).take_while(|&run| run < radius).collect()
        });
        let flat_tangent = options.flat_deg.to_radians().tan();
        let within = (options.skip + 1..options.search).contains(&options.flat_distance);
        let flat_distance = if within { options.flat_distance as f64 * cell.y } else { f64::INFINITY };
        let flat_height = flat_tangent * flat_distance;
        Eye {
            first: options.skip + 1,
            search: options.search,
            runs,
            flat_tangent,
            flat_distance,
            flat_height,
        }
    }

    /// The form of a cell that is no part of the border.
    fn form<T: Copy + Into<f64>>(&self, land: &Land<T>, row: usize, col: usize) -> u8 {
        if land.height(row * land.cols + col).is_nan() {
            return 0;
        }
        let (mut lower, mut higher) = (0, 0);
        for (direction, runs) in DIRECTIONS.into_iter().zip(&self.runs) {
            match self.look(land, (row, col), direction, runs) {
                Some(true) => higher += 1,
                Some(false) => lower += 1,
                None => {}
            }
        }
        FORMS[lower][higher]
    }

    /// Whether the land in a direction is higher; `None` where it is level or there is nothing to see.
    fn look<T: Copy + Into<f64>>(
        &self,
        land: &Land<T>,
        (row, col): (usize, usize),
        (dy, dx): (isize, isize),
        runs: &[f64],
    ) -> Option<bool> {
        let south = land.rows - 1 - row;
        let rows = match dy {
            -1 => row,
            1 if south <= self.search => south - 1,
            1 => south,
            _ => usize::MAX,
        };
        let cols = match dx {
            -1 => col,
            1 => land.cols - 1 - col,
            _ => usize::MAX,
        };
        let center = row * land.cols + col;
        let stride = dy * land.cols as isize + dx;
        let height = land.height(center);
        if land.height(center.wrapping_add_signed(stride)).is_nan() {
            return None;
        }
        let runs = runs.get(self.first - 1..runs.len().min(rows).min(cols))?;
        let start = center.wrapping_add_signed(stride * (self.first as isize - 1));
        let indices = (1..).map(|step| start.wrapping_add_signed(stride * step));
        let sights = indices.zip(runs).map(|(index, &run)| Sight::new(land.height(index) - height, run));
        let (zenith, nadir) = extremes(sights)?;
        if !self.is_steep(zenith) && !self.is_steep(nadir) {
            return None;
        }
        let (up, down) = (zenith.absolute(), nadir.absolute());
        if up.is_above(down) {
            Some(true)
        } else if down.is_above(up) {
            Some(false)
        } else {
            None
        }
    }

    fn is_steep(&self, sight: Sight) -> bool {
        if sight.run > self.flat_distance {
            sight.rise.abs() > self.flat_height
        } else {
            sight.tangent.abs() > self.flat_tangent
        }
    }
}

impl Sight {
    fn new(rise: f64, run: f64) -> Sight {
        Sight { rise, run, tangent: rise / run }
    }

    /// What anything seen is above or below.
    fn nothing(tangent: f64) -> Sight {
        Sight { rise: tangent, run: 1.0, tangent }
    }

    fn absolute(self) -> Sight {
        Sight::new(self.rise.abs(), self.run)
    }

    /// Whether the two angles differ by rounding only, if at all.
    fn is_close(self, other: Sight) -> bool {
        (self.tangent - other.tangent).abs() < ROUNDING * self.tangent.abs()
    }

    /// Whether this is seen at a larger angle. Where the tangents cannot tell, the rounded angles do, as in GRASS: of
    /// equal ones the nearer counts, and with a flatness distance it matters which.
    fn is_above(self, other: Sight) -> bool {
        if self.is_close(other) {
            return self.rise.atan2(self.run) > other.rise.atan2(other.run);
        }
        self.tangent > other.tangent
    }
}

/// The highest and the lowest of what is seen, the nearest of equal ones; `None` if nothing is. Voids are passed over.
fn extremes(sights: impl Iterator<Item = Sight> + Clone) -> Option<(Sight, Sight)> {
    let (mut zenith, mut nadir) = (Sight::nothing(f64::NEG_INFINITY), Sight::nothing(f64::INFINITY));
    let mut is_close = false;
    // Without a branch that depends on the land, which is what makes it fast.
    for sight in sights.clone() {
        is_close |= sight.is_close(zenith) | sight.is_close(nadir);
        zenith = if sight.tangent > zenith.tangent { sight } else { zenith };
        nadir = if sight.tangent < nadir.tangent { sight } else { nadir };
    }
    if zenith.tangent.is_infinite() {
        return None;
    }
    if is_close {
        let mut seen = sights.filter(|sight| !sight.tangent.is_nan());
        let first = seen.next()?;
        (zenith, nadir) = (first, first);
        for sight in seen {
            zenith = if sight.is_above(zenith) { sight } else { zenith };
            nadir = if nadir.is_above(sight) { sight } else { nadir };
        }
    }
    Some((zenith, nadir))
}
