//! Voids of the elevation filled from the elevations around them.

use ndarray::Array2;

/// Steps along a column and a row: the eight points of the compass.
const DIRECTIONS: [(i64, i64); 8] = [(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)];

/// A void is filled if elevations are seen in so many of the eight directions: it lies within the land, not beyond its
/// end.
const SEEN: usize = 5;

/// Fills voids (NaN) by the mean of the nearest elevation in each of eight directions, at most `reach` pixels away,
/// weighted by one over the distance (Shepard 1968, doi:10.1145/800186.810616). Voids that are seen from fewer than five
/// directions stay.
///
/// # Shapes
/// Elevations are `[y, x]`; the result says which were filled.
pub(crate) fn fill_voids(heights: &mut Array2<f32>, reach: usize) -> Array2<bool> {
    let known = heights.clone();
    let mut filled = Array2::from_elem(known.dim(), false);
    if reach == 0 {
        return filled;
    }
    for ((cell, height), filled) in heights.indexed_iter_mut().zip(&mut filled) {
        if height.is_nan()
            && let Some(value) = around(&known, cell, reach)
        {
            *height = value;
            *filled = true;
        }
    }
    filled
}

fn around(known: &Array2<f32>, (y, x): (usize, usize), reach: usize) -> Option<f32> {
    let (mut seen, mut sum, mut weight) = (0, 0.0, 0.0);
    for (dy, dx) in DIRECTIONS {
        let length = ((dy * dy + dx * dx) as f64).sqrt();
        let cell = |step: i64| {
            let row = usize::try_from(y as i64 + step * dy).ok()?;
            let col = usize::try_from(x as i64 + step * dx).ok()?;
            known.get((row, col)).filter(|height| !height.is_nan()).map(|&height| (step, height))
        };
        let steps = (reach as f64 / length).floor() as i64;
        if let Some((step, height)) = (1..=steps).find_map(cell) {
            let share = 1.0 / (step as f64 * length);
            seen += 1;
            sum += share * f64::from(height);
            weight += share;
        }
    }
    (seen >= SEEN).then(|| (sum / weight) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::s;

    /// North 10, east 20, south 30, west 40 at distance 1, the corners 25 at √2: (100 + 4·25/√2) / (4 + 4/√2) = 25.
    /// With 10 more in the north: (110 + 70.711) / 6.8284 = 26.4645.
    #[test]
    fn one_over_the_distance() {
        let mut land = ndarray::array![[25.0, 10.0, 25.0], [40.0, f32::NAN, 20.0], [25.0, 30.0, 25.0]];
        let mut other = land.clone();
        other[[0, 1]] = 20.0;
        assert!(fill_voids(&mut land, 2)[[1, 1]]);
        assert!((land[[1, 1]] - 25.0).abs() < 1e-5);
        fill_voids(&mut other, 2);
        assert!((other[[1, 1]] - 26.4645).abs() < 1e-4, "{}", other[[1, 1]]);
    }

    /// A hole of 5 × 5 in a plain at 7 m: its middle is 3 pixels from the edge, corners 3√2 = 4.2.
    #[test]
    fn a_hole_is_filled_as_far_as_the_reach() {
        let hole = || {
            let mut land = Array2::from_elem((11, 11), 7.0f32);
            land.slice_mut(s![3..8, 3..8]).fill(f32::NAN);
            land
        };
        for (reach, middle) in [(0, false), (2, false), (4, false), (5, true)] {
            let mut land = hole();
            let filled = fill_voids(&mut land, reach);
            assert_eq!(filled[[5, 5]], middle, "reach {reach}");
            assert_eq!(
                land.iter().filter(|z| z.is_nan()).count(),
                25 - filled.iter().filter(|&&f| f).count()
            );
            assert!(land.iter().all(|z| z.is_nan() || *z == 7.0));
        }
    }

    /// Beyond the end of the land nothing is made up.
    #[test]
    fn the_end_of_the_land_stays() {
        let mut land = Array2::from_elem((9, 9), f32::NAN);
        land.slice_mut(s![.., ..4]).fill(5.0);
        assert!(fill_voids(&mut land, 9).iter().all(|filled| !filled));
    }
}
