//! A window of points on a grid of latitudes and longitudes: the nearest grid points, or between them.

use std::ops::Range;

use minicube::LonLat;
use ndarray::ArrayView2;

use crate::config::Interpolation;

/// Of what is missing, and of what lies half a step outside the grid, this share of a point's weight may be absent.
const ABSENT: f64 = 0.5;

/// Shares of a step smaller than this are rounding errors of coordinates.
const EPSILON: f64 = 1e-9;

/// Which parts of a grid to read, and how each point of the window is made of them.
#[derive(Debug)]
pub(crate) struct GridWindow {
    /// Rows to read.
    pub rows: Range<usize>,
    /// Columns to read, one after the other: the second range is empty unless the window crosses the seam of a grid round
    /// the Earth.
    pub cols: [Range<usize>; 2],
    row_taps: Vec<[Tap; 2]>,
    col_taps: Vec<[Tap; 2]>,
}

/// An index among what was read, `None` off the grid, and its weight.
type Tap = (Option<usize>, f64);

impl GridWindow {
    /// `size` × `size` points around a place; `None` if the place is more than half a step off the grid. Latitudes may
    /// ascend or descend, longitudes may run from −180 or from 0; where they go round the Earth, their seam is no edge.
    ///
    /// Of an even size the centre is the upper-left one of the middle four points. Points off the grid are NaN.
    #[must_use]
    pub(crate) fn around(
        place: LonLat,
        lat: &[f64],
        lon: &[f64],
        size: usize,
        interpolation: Interpolation,
    ) -> Option<GridWindow> {
        let circle = circle(lon);
        let row = position(lat, place.lat, 0.5)?;
        let beyond = if circle.is_some() { 1.0 } else { 0.5 };
        let turns = [place.lon, place.lon + 360.0, place.lon - 360.0];
        let col = turns.iter().find_map(|&lon_of| position(lon, lon_of, beyond))?;
        let (rows, row_taps) = read_along(row, size, lat.len(), None, interpolation);
        let (cols, col_taps) = read_along(col, size, lon.len(), circle, interpolation);
        let [rows, _] = rows;
        Some(GridWindow { rows, cols, row_taps, col_taps })
    }

    /// The window's points, row by row, from what was read, `[rows, cols]`.
    #[must_use]
    pub(crate) fn pick(&self, values: ArrayView2<'_, f64>) -> Vec<f64> {
        let point = |rows: &[Tap; 2], cols: &[Tap; 2]| {
            let (mut sum, mut weight) = (0.0, 0.0);
            for (row, row_weight) in rows {
                for (col, col_weight) in cols {
                    let share = row_weight * col_weight;
                    let value = row.zip(*col).map_or(f64::NAN, |cell| values[cell]);
                    if share > 0.0 && value.is_finite() {
                        sum += share * value;
                        weight += share;
                    }
                }
            }
            if weight >= 1.0 - ABSENT - EPSILON { sum / weight } else { f64::NAN }
        };
        self.row_taps.iter().flat_map(|rows| self.col_taps.iter().map(|cols| point(rows, cols))).collect()
    }
}

/// Grid points in a turn round the Earth, if the longitudes go all the way.
fn circle(lon: &[f64]) -> Option<usize> {
    let [first, .., last] = lon else { return None };
    let step = (last - first).abs() / (lon.len() - 1) as f64;
    let turn = (360.0 / step).round();
    (step > 0.0 && (turn * step - 360.0).abs() < step / 100.0 && lon.len() as f64 >= turn)
        .then_some(turn as usize)
}

/// Place on an axis, in points from its first, up to `beyond` steps outside; an axis of one point is near to all.
fn position(axis: &[f64], value: f64, beyond: f64) -> Option<f64> {
    let n = axis.len();
    if n < 2 {
        return (n == 1).then_some(0.0);
    }
    let between = |i: usize| (value - axis[i]) / (axis[i + 1] - axis[i]);
    let inside = (0..n - 1).find(|&i| (0.0..=1.0).contains(&between(i)));
    let position = match inside {
        Some(i) => i as f64 + between(i),
        None if between(0) < 0.0 => between(0),
        None => (n - 2) as f64 + between(n - 2),
    };
    (position >= -beyond - EPSILON && position <= (n - 1) as f64 + beyond + EPSILON).then_some(position)
}

/// What to read along an axis of `len` points for `size` points around a position, and the weights of each. `circle` is
/// the number of points in a turn.
fn read_along(
    position: f64,
    size: usize,
    len: usize,
    circle: Option<usize>,
    interpolation: Interpolation,
) -> ([Range<usize>; 2], Vec<[Tap; 2]>) {
    let (first, next) = match interpolation {
        // A place in the middle takes the first of the two; one at the edge the last point there is.
        Interpolation::Nearest => {
            let nearest = (position - 0.5 - EPSILON).ceil();
            (if circle.is_some() { nearest } else { nearest.clamp(0.0, len as f64 - 1.0) }, 0.0)
        }
        Interpolation::Bilinear => {
            let floor = (position + EPSILON).floor();
            let next = position - floor;
            (floor, if next < EPSILON { 0.0 } else { next })
        }
    };
    let start = first as i64 - (size as i64 - 1) / 2;
    let end = start + size as i64 + i64::from(next > 0.0);
    let (ranges, turn) = match circle.map(|turn| turn as i64) {
        None => ([start.clamp(0, len as i64)..end.clamp(0, len as i64), 0..0], None),
        Some(turn) if end - start >= turn => ([0..turn, 0..0], Some(turn)),
        Some(turn) => {
            let from = start.rem_euclid(turn);
            let to = from + end - start;
            ([from..to.min(turn), 0..(to - turn).max(0)], None)
        }
    };
    let offset = if circle.is_some() { start } else { ranges[0].start };
    let read: i64 = ranges.iter().map(|range| range.end - range.start).sum();
    let index = |point: i64| {
        let at = turn.map_or(point - offset, |turn| point.rem_euclid(turn));
        usize::try_from(at).ok().filter(|_| at < read)
    };
    let taps = (start..start + size as i64).map(|i| [(index(i), 1.0 - next), (index(i + 1), next)]).collect();
    let ranges = ranges.map(|range| range.start as usize..range.end as usize);
    (ranges, taps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, Axis, concatenate, s};

    /// The window of a whole grid.
    fn window(
        values: &Array2<f64>,
        (lat, lon): (&[f64], &[f64]),
        place: (f64, f64),
        size: usize,
        interpolation: Interpolation,
    ) -> Option<Vec<f64>> {
        let place = LonLat { lon: place.0, lat: place.1 };
        let window = GridWindow::around(place, lat, lon, size, interpolation)?;
        let parts: Vec<_> =
            window.cols.iter().map(|cols| values.slice(s![window.rows.clone(), cols.clone()])).collect();
        Some(window.pick(concatenate(Axis(1), &parts).unwrap().view()))
    }

    /// Values that say where they are: 1000 × latitude index + longitude index.
    fn indices(rows: usize, cols: usize) -> Array2<f64> {
        Array2::from_shape_fn((rows, cols), |(row, col)| (1000 * row + col) as f64)
    }

    fn half_degrees(from: f64, count: i32) -> Vec<f64> {
        (0..count).map(|i| from + 0.5 * f64::from(i)).collect()
    }

    #[test]
    fn nearest_points_in_any_order_of_axes() {
        let descending = [1.0, 0.5, 0.0, -0.5];
        let (circle, values) = (half_degrees(0.0, 720), indices(4, 720));
        let at = |lon, lat| window(&values, (&descending, &circle), (lon, lat), 1, Interpolation::Nearest);
        assert_eq!(at(0.6, 0.3), Some(vec![1001.0]));
        assert_eq!(at(-0.5, -0.74), Some(vec![3719.0]), "359.5 is -0.5");
        assert_eq!(at(-0.1, 0.0), Some(vec![2000.0]), "359.9 is nearest to 0");
        assert_eq!(at(0.0, -0.76), None, "south of the last row by more than half a step");
        let part =
            window(&indices(2, 2), (&[-10.0, -9.0], &[10.0, 11.0]), (371.2, -9.4), 1, Interpolation::Nearest);
        assert_eq!(part, Some(vec![1001.0]));
        assert_eq!(at(0.25, 1.0), Some(vec![0.0]), "in the middle the first of the two");
    }

    #[test]
    fn windows_are_cut_at_the_grid_but_not_at_its_seam() {
        let picked = |place, size| {
            let axes = (&[0.0, -1.0][..], &[5.0, 6.0][..]);
            window(&indices(2, 2), axes, place, size, Interpolation::Nearest).unwrap()
        };
        let three = picked((5.0, 0.0), 3);
        assert!(three[..4].iter().all(|v| v.is_nan()) && three[6].is_nan());
        assert_eq!([three[4], three[5], three[7], three[8]], [0.0, 1.0, 1000.0, 1001.0]);
        let even = picked((5.0, -1.0), 2);
        assert_eq!(even[..2], [1000.0, 1001.0], "an even window begins at the centre");
        assert!(even[2..].iter().all(|v| v.is_nan()));
        for (from, count, expected) in [
            (0.0, 720, [719.0, 0.0, 1.0]),
            (-180.0, 720, [359.0, 360.0, 361.0]),
            // The meridian once more at the end.
            (0.0, 721, [719.0, 0.0, 1.0]),
        ] {
            let (lon, lat) = (half_degrees(from, count), [0.0]);
            let values = indices(1, count as usize);
            let row = window(&values, (&lat, &lon), (0.1, 0.0), 3, Interpolation::Nearest).unwrap();
            assert_eq!(row[3..6], expected, "longitudes from {from}");
        }
        let (lon, values) = (half_degrees(-180.0, 720), indices(1, 720));
        for place in [179.9, -180.0, 180.0] {
            let row = window(&values, (&[0.0], &lon), (place, 0.0), 3, Interpolation::Nearest).unwrap();
            assert_eq!(row[3..6], [719.0, 0.0, 1.0], "{place} is at the seam");
        }
    }

    /// At the pole of a grid of a degree: rows beyond it are missing; columns go round, also more than once.
    #[test]
    fn a_window_of_128_at_the_pole() {
        let lat: Vec<f64> = (0..181).map(|i| 90.0 - f64::from(i)).collect();
        let lon: Vec<f64> = (0..72).map(|i| 5.0 * f64::from(i)).collect();
        let values = indices(181, 72);
        let found = window(&values, (&lat, &lon), (2.0, 89.0), 128, Interpolation::Nearest).unwrap();
        // The place is row 1, column 0: 63 points before it, 64 after it.
        let at = |row: usize, col: usize| found[row * 128 + col];
        assert!(at(61, 63).is_nan());
        assert_eq!((at(62, 63), at(63, 63), at(127, 63)), (0.0, 1000.0, 65_000.0));
        assert_eq!((at(63, 62), at(63, 0), at(63, 127)), (1071.0, 1009.0, 1064.0));
    }

    /// A plane in latitude and longitude is what bilinear interpolation gives back.
    #[test]
    fn between_the_points_of_a_plane() {
        let plane = |lon: f64, lat: f64| 3.0 * lon - 2.0 * lat + 7.0;
        for lat in [vec![1.0, 0.75, 0.5, 0.25, 0.0], vec![0.0, 0.25, 0.5, 0.75, 1.0]] {
            let lon = [20.0, 20.25, 20.5, 20.75, 21.0];
            let values = Array2::from_shape_fn((5, 5), |(y, x)| plane(lon[x], lat[y]));
            let down = lat[1] - lat[0];
            let at =
                |size| window(&values, (&lat, &lon), (20.3, 0.6), size, Interpolation::Bilinear).unwrap();
            assert!((at(1)[0] - plane(20.3, 0.6)).abs() < 1e-12);
            let three = at(3);
            for (i, value) in three.iter().enumerate() {
                let (y, x) = ((i / 3) as f64 - 1.0, (i % 3) as f64 - 1.0);
                assert!((value - plane(20.3 + 0.25 * x, 0.6 + down * y)).abs() < 1e-12, "point {i}");
            }
        }
    }

    /// At a quarter of a step down and to the right the four weigh 9, 3, 3 and 1 of 16.
    #[test]
    fn missing_points_leave_their_weight_to_the_others() {
        let at = |missing: &[(usize, usize)], place: (f64, f64)| {
            let mut values = ndarray::array![[16.0, 32.0], [48.0, 64.0]];
            missing.iter().for_each(|&cell| values[cell] = f64::NAN);
            window(&values, (&[1.0, 0.0], &[0.0, 1.0]), place, 1, Interpolation::Bilinear).unwrap()[0]
        };
        assert_eq!(at(&[], (0.25, 0.75)), (9.0 * 16.0 + 3.0 * 32.0 + 3.0 * 48.0 + 64.0) / 16.0);
        assert_eq!(at(&[(1, 1)], (0.25, 0.75)), (9.0 * 16.0 + 3.0 * 32.0 + 3.0 * 48.0) / 15.0);
        assert!(at(&[(0, 0)], (0.25, 0.75)).is_nan(), "7 of 16 are not half");
        assert_eq!(at(&[(0, 1), (1, 1)], (0.5, 1.0)), 16.0, "exactly half is enough");
        // On a grid point its neighbours do not count; half a step outside the edge weighs half.
        assert_eq!(at(&[(0, 1), (1, 0), (1, 1)], (0.0, 1.0)), 16.0);
        assert_eq!(at(&[], (-0.5, 1.0)), 16.0);
    }

    #[test]
    fn between_the_last_meridian_and_the_first() {
        let (lon, values) = (half_degrees(0.0, 720), indices(1, 720));
        let at =
            |place| window(&values, (&[0.0], &lon), (place, 0.0), 1, Interpolation::Bilinear).unwrap()[0];
        assert!((at(-0.125) - 719.0 * 0.25).abs() < 1e-6, "a quarter of 719, three quarters of 0");
        assert!((at(179.75) - 359.5).abs() < 1e-6 && (at(-179.75) - 360.5).abs() < 1e-6);
    }
}
