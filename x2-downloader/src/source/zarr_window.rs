//! Which points of a grid in longitude and latitude lie around the wanted boxes.

use ndarray::Array2;

/// Points of a grid: the rows and columns of the smallest window that holds all wanted ones, and which are wanted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Window {
    /// Indices of the latitude axis, in its order, and their latitudes.
    pub(crate) rows: Vec<usize>,
    pub(crate) latitudes: Vec<f64>,
    /// Indices of the longitude axis from west to east, and their longitudes: ascending, from −180 on where the window
    /// does not reach over the antimeridian.
    pub(crate) cols: Vec<usize>,
    pub(crate) longitudes: Vec<f64>,
    /// Whether a point of the window lies in a box.
    pub(crate) wanted: Array2<bool>,
}

/// The points within boxes (west, south, east, north, degrees; west > east across the antimeridian) that are widened by
/// a margin, and by half a step of the grid, so that the point nearest to any place in a box is among them. The
/// longitude axis may run from 0 or from −180, either axis may ascend or descend.
///
/// # Errors
/// If no point of the grid is near a box.
pub(crate) fn window(
    latitudes: &[f64],
    longitudes: &[f64],
    boxes: &[[f64; 4]],
    margin: f64,
) -> Result<Window, String> {
    let near = |axis: &[f64]| margin.max(widest_step(axis) / 2.0) + 1e-9;
    let (beside, above) = (near(longitudes), near(latitudes));
    let wide: Vec<Wide> = boxes.iter().map(|b| Wide::around(b, beside, above)).collect();
    let rows: Vec<usize> = (0..latitudes.len())
        .filter(|&row| wide.iter().any(|wide| wide.south <= latitudes[row] && latitudes[row] <= wide.north))
        .collect();
    let rows: Vec<usize> = match (rows.first(), rows.last()) {
        (Some(&first), Some(&last)) => (first..=last).collect(),
        _ => Vec::new(),
    };
    let (west, length) = covering_arc(&wide);
    let mut cols: Vec<(f64, usize)> = longitudes
        .iter()
        .enumerate()
        .map(|(col, lon)| (eastward(west, *lon), col))
        .filter(|(distance, _)| *distance <= length)
        .collect();
    cols.sort_by(|a, b| a.0.total_cmp(&b.0));
    if rows.is_empty() || cols.is_empty() {
        let range = |axis: &[f64]| axis.iter().fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
        let ((west, east), (south, north)) = (range(longitudes), range(latitudes));
        return Err(format!(
            "expected a grid over the wanted cells, found one from {west} to {east} E and {south} to {north} N"
        ));
    }
    let at = |row: usize, col: usize| {
        let (lat, lon) = (latitudes[rows[row]], longitudes[cols[col].1]);
        wide.iter().any(|wide| wide.holds(lon, lat))
    };
    Ok(Window {
        latitudes: rows.iter().map(|&row| latitudes[row]).collect(),
        longitudes: cols.iter().map(|(distance, _)| round(west + distance)).collect(),
        wanted: Array2::from_shape_fn((rows.len(), cols.len()), |(row, col)| at(row, col)),
        rows,
        cols: cols.into_iter().map(|(_, col)| col).collect(),
    })
}

/// A box with its margins: from `west` eastward over `length` degrees.
struct Wide {
    west: f64,
    length: f64,
    south: f64,
    north: f64,
}

impl Wide {
    fn around(&[west, south, east, north]: &[f64; 4], beside: f64, above: f64) -> Wide {
        let length = (eastward(west, east) + 2.0 * beside).min(360.0);
        Wide { west: west - beside, length, south: south - above, north: north + above }
    }

    fn holds(&self, lon: f64, lat: f64) -> bool {
        self.south <= lat && lat <= self.north && eastward(self.west, lon) <= self.length
    }
}

/// The shortest arc that holds all boxes: where it begins, −180 up to 180, and its length. It is what the widest gap
/// between them leaves.
fn covering_arc(boxes: &[Wide]) -> (f64, f64) {
    let mut arcs: Vec<(f64, f64)> = boxes.iter().map(|wide| (normal(wide.west), wide.length)).collect();
    arcs.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let Some(&(first, _)) = arcs.first() else { return (-180.0, 0.0) };
    // Going eastward once around: how far the arcs so far reach, and the widest gap before the next.
    let (mut reach, mut gap, mut begin) = (f64::MIN, 0.0, None);
    for &(west, length) in &arcs {
        if reach > f64::MIN && west - reach > gap {
            (gap, begin) = (west - reach, Some(west));
        }
        reach = reach.max(west + length);
    }
    let last_gap = first + 360.0 - reach;
    match begin {
        Some(west) if gap > last_gap => (west, 360.0 - gap),
        _ if last_gap > 0.0 => (first, 360.0 - last_gap),
        _ => (-180.0, 360.0),
    }
}

/// Degrees to go eastward from one meridian to another, 0 up to 360.
fn eastward(from: f64, to: f64) -> f64 {
    let distance = (to - from).rem_euclid(360.0);
    // What rounding made of "no way at all".
    if distance > 360.0 - 1e-9 { 0.0 } else { distance }
}

fn normal(lon: f64) -> f64 {
    (lon + 180.0).rem_euclid(360.0) - 180.0
}

/// Takes the noise of the arithmetic from a coordinate.
fn round(degrees: f64) -> f64 {
    (degrees * 1e9).round() / 1e9
}

fn widest_step(axis: &[f64]) -> f64 {
    axis.windows(2).map(|pair| (pair[1] - pair[0]).abs()).filter(|step| *step < 180.0).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A grid of 0.25°, as ERA5 has it.
    fn latitudes() -> Vec<f64> {
        (0..721).map(|i| 90.0 - 0.25 * f64::from(i)).collect()
    }

    fn longitudes() -> Vec<f64> {
        (0..1440).map(|i| 0.25 * f64::from(i)).collect()
    }

    #[test]
    fn a_box_in_botswana_on_a_grid_from_zero() {
        let found = window(&latitudes(), &longitudes(), &[[26.1, -23.2, 26.6, -22.9]], 0.25).unwrap();
        // 25.85 to 26.85 E and 23.45 to 22.65 S.
        assert_eq!(found.longitudes, [26.0, 26.25, 26.5, 26.75]);
        assert_eq!(found.latitudes, [-22.75, -23.0, -23.25]);
        assert_eq!((found.cols, found.rows), (vec![104, 105, 106, 107], vec![451, 452, 453]));
        assert!(found.wanted.iter().all(|wanted| *wanted));
    }

    #[test]
    fn across_the_zero_meridian_the_axis_is_cut_in_two() {
        let found = window(&latitudes(), &longitudes(), &[[-0.3, 51.0, 0.2, 51.2]], 0.125).unwrap();
        assert_eq!(found.cols, [1439, 0, 1]);
        assert_eq!(found.longitudes, [-0.25, 0.0, 0.25]);
    }

    #[test]
    fn across_the_antimeridian_longitudes_go_on_ascending() {
        let from_west: Vec<f64> = (0..1440).map(|i| -180.0 + 0.25 * f64::from(i)).collect();
        let fiji = [[179.7, -17.1, -179.8, -17.0]];
        for (axis, cols) in [(longitudes(), [719, 720, 721]), (from_west, [1439, 0, 1])] {
            let found = window(&latitudes(), &axis, &fiji, 0.125).unwrap();
            assert_eq!(found.cols, cols);
            assert_eq!(found.longitudes, [179.75, 180.0, 180.25]);
        }
    }

    #[test]
    fn the_widest_gap_is_left_out_and_only_boxes_are_wanted() {
        let boxes = [[170.0, 10.0, 170.0, 10.0], [-170.0, 12.0, -170.0, 12.0]];
        let found = window(&latitudes(), &longitudes(), &boxes, 0.25).unwrap();
        assert_eq!((found.longitudes[0], *found.longitudes.last().unwrap()), (169.75, 190.25));
        assert_eq!(found.latitudes.len(), 11, "9.75 to 12.25");
        assert_eq!(found.wanted.iter().filter(|wanted| **wanted).count(), 18);
        assert!(found.wanted[(10, 0)] && !found.wanted[(0, 0)], "south-west and north-west corner");
    }

    #[test]
    fn axes_in_any_direction_and_steps_wider_than_the_margin() {
        let (lat, lon) = ([-10.0, -9.0, -8.0], [13.0, 12.0, 11.0, 10.0]);
        let found = window(&lat, &lon, &[[11.4, -9.4, 11.4, -9.4]], 0.0).unwrap();
        assert_eq!((found.rows, found.cols), (vec![1], vec![2]), "the nearest point");
        assert_eq!((found.latitudes, found.longitudes), (vec![-9.0], vec![11.0]));
        assert!(window(&lat, &lon, &[[20.0, -9.0, 21.0, -9.0]], 0.0).unwrap_err().contains("10 to 13 E"));
    }

    #[test]
    fn all_around_the_earth() {
        let boxes: Vec<[f64; 4]> =
            (0..12).map(|i| f64::from(i * 30)).map(|lon| [lon, 0.0, lon + 29.9, 1.0]).collect();
        let found = window(&latitudes(), &longitudes(), &boxes, 0.25).unwrap();
        assert_eq!(found.cols.len(), 1440);
        assert_eq!((found.longitudes[0], found.longitudes[1439]), (-180.0, 179.75));
    }
}
