//! Slope from elevation.

use ndarray::{Array2, ArrayView2};

/// Slope in degrees by Horn's third-order finite differences, on square cells of `cell_m` metres.
///
/// NaN in any of the nine cells makes NaN; the outermost cells have no slope and are NaN.
///
/// Horn, B. K. P. (1981), Hill shading and the reflectance map, doi:10.1109/PROC.1981.11918.
#[must_use]
pub fn slope_deg(elevation: ArrayView2<'_, f32>, cell_m: f64) -> Array2<f32> {
    let (rows, cols) = elevation.dim();
    Array2::from_shape_fn((rows, cols), |(y, x)| {
        let rise = rise(elevation, (y, x), cell_m).map_or(f64::NAN, |(east, south)| east.hypot(south));
        rise.atan().to_degrees() as f32
    })
}

/// How much the land rises towards east and towards south, metres a metre, by Horn's differences around the cell `(y, x)`.
/// `None` for an outermost cell and where any of the nine cells is NaN.
#[must_use]
pub fn rise(elevation: ArrayView2<'_, f32>, (y, x): (usize, usize), cell_m: f64) -> Option<(f64, f64)> {
    let (rows, cols) = elevation.dim();
    if y == 0 || x == 0 || y + 1 == rows || x + 1 == cols {
        return None;
    }
    let z = |dy: usize, dx: usize| f64::from(elevation[[y + dy - 1, x + dx - 1]]);
    let east = z(0, 2) + 2.0 * z(1, 2) + z(2, 2) - z(0, 0) - 2.0 * z(1, 0) - z(2, 0);
    let south = z(2, 0) + 2.0 * z(2, 1) + z(2, 2) - z(0, 0) - 2.0 * z(0, 1) - z(0, 2);
    // Horn leaves the centre out; a void there is a void all the same.
    let is_whole = (east + south + z(1, 1)).is_finite();
    is_whole.then_some((east / (8.0 * cell_m), south / (8.0 * cell_m)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::s;

    /// A plane that rises 30 m in 30 m to the east and not at all to the south slopes by 45°.
    #[test]
    fn planes_have_their_slope() {
        let east = Array2::from_shape_fn((4, 5), |(_, x)| x as f32 * 30.0);
        let slope = slope_deg(east.view(), 30.0);
        assert!(slope.slice(s![1..3, 1..4]).iter().all(|&s| (s - 45.0).abs() < 1e-5));
        // Rise 3 east and 4 south on 10 m: atan(5 / 10) = 26.565°.
        let both = Array2::from_shape_fn((3, 3), |(y, x)| (3 * x + 4 * y) as f32);
        assert!((slope_deg(both.view(), 10.0)[[1, 1]] - 26.565).abs() < 1e-3);
        assert_eq!(slope_deg(Array2::zeros((3, 3)).view(), 30.0)[[1, 1]], 0.0);
    }

    #[test]
    fn the_border_has_no_slope() {
        let slope = slope_deg(Array2::zeros((4, 5)).view(), 30.0);
        assert_eq!(slope.iter().filter(|s| s.is_nan()).count(), 20 - 6);
        assert!(slope_deg(Array2::zeros((1, 2)).view(), 30.0).iter().all(|s| s.is_nan()));
    }

    #[test]
    fn a_void_spoils_its_neighbours_only() {
        let mut flat = Array2::<f32>::zeros((5, 5));
        flat[[0, 0]] = f32::NAN;
        let slope = slope_deg(flat.view(), 30.0);
        assert!(slope[[1, 1]].is_nan());
        assert_eq!(slope.slice(s![1..4, 1..4]).iter().filter(|s| s.is_nan()).count(), 1);
        flat[[2, 2]] = f32::NAN;
        assert!(slope_deg(flat.view(), 30.0).iter().all(|s| s.is_nan()));
    }
}
