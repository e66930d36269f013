//! Aspect from elevation: which way a slope faces.

use minicube::terrain::rise;
use ndarray::{Array2, ArrayView2};

/// Slopes of less than a centimetre in a kilometre face nowhere: they are rounding errors of elevations.
const FLAT: f64 = 1e-5;

/// Direction in which the land falls, degrees clockwise from north, 0 to below 360, by Horn's third-order finite
/// differences on square cells of `cell_m` metres.
///
/// # Shapes
/// Elevations and result are `[y, x]`, row 0 = north. NaN where the land is flat or any of the nine cells is NaN; the
/// outermost cells have no aspect and are NaN.
///
/// Horn, B. K. P. (1981), Hill shading and the reflectance map, doi:10.1109/PROC.1981.11918.
#[must_use]
pub(crate) fn aspect_deg(elevation: ArrayView2<'_, f32>, cell_m: f64) -> Array2<f32> {
    let (rows, cols) = elevation.dim();
    Array2::from_shape_fn((rows, cols), |(y, x)| {
        let rise = rise(elevation, (y, x), cell_m);
        let Some((east, south)) = rise.filter(|(east, south)| east.hypot(*south) >= FLAT) else {
            return f32::NAN;
        };
        let degrees = (-east).atan2(south).to_degrees().rem_euclid(360.0) as f32;
        if degrees >= 360.0 { 0.0 } else { degrees }
    })
}

#[cfg(test)]
mod tests {
    use gdal::DriverManager;
    use gdal::raster::Buffer;
    use gdal::raster::processing::dem::{AspectOptions, aspect};

    use super::*;

    /// Land that rises to one side faces the other: planes by the direction of their rise.
    #[test]
    fn planes_face_away_from_their_rise() {
        for (east, north, faces) in [
            (0.0, -1.0, 0.0),
            (-1.0, -1.0, 45.0),
            (-1.0, 0.0, 90.0),
            (0.0, 1.0, 180.0),
            (1.0, 0.0, 270.0),
            (1.0, -1.0, 315.0),
        ] {
            let plane = Array2::from_shape_fn((3, 3), |(y, x)| 100.0 + east * x as f32 - north * y as f32);
            let found = aspect_deg(plane.view(), 30.0)[[1, 1]];
            assert!((found - faces).abs() < 1e-4, "rises {east} to the east, {north} to the north: {found}");
        }
    }

    #[test]
    fn flat_land_voids_and_borders_face_nowhere() {
        let mut land = Array2::from_shape_fn((5, 5), |(y, _)| y as f32);
        assert_eq!(aspect_deg(land.view(), 30.0).iter().filter(|a| a.is_nan()).count(), 25 - 9);
        land[[0, 0]] = f32::NAN;
        assert!(aspect_deg(land.view(), 30.0)[[1, 1]].is_nan());
        land[[2, 2]] = f32::NAN;
        assert!(aspect_deg(land.view(), 30.0).iter().all(|a| a.is_nan()));
        assert!(aspect_deg(Array2::from_elem((3, 3), 7.0).view(), 30.0)[[1, 1]].is_nan());
    }

    /// Hills of many directions, against GDAL's own.
    #[test]
    fn the_same_as_gdal() {
        let n = 40;
        let hills = Array2::from_shape_fn((n, n), |(y, x)| {
            let (y, x) = (y as f32 / 3.0, x as f32 / 4.0);
            50.0 * (x.sin() + (y + x / 2.0).cos()) + x * y
        });
        let driver = DriverManager::get_driver_by_name("MEM").unwrap();
        let mut source = driver.create_with_band_type::<f32, _>("", n, n, 1).unwrap();
        source.set_geo_transform(&[500_000.0, 30.0, 0.0, 4_000_000.0, 0.0, -30.0]).unwrap();
        let mut buffer = Buffer::new((n, n), hills.iter().copied().collect());
        source.rasterband(1).unwrap().write((0, 0), (n, n), &mut buffer).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let result = aspect(&source, folder.path().join("aspect.tif"), &AspectOptions::new()).unwrap();
        let theirs = result.rasterband(1).unwrap().read_as::<f32>((0, 0), (n, n), (n, n), None).unwrap();
        let ours = aspect_deg(hills.view(), 30.0);
        for (i, (ours, theirs)) in ours.iter().zip(theirs.data()).enumerate() {
            let (y, x) = (i / n, i % n);
            let border = y == 0 || x == 0 || y + 1 == n || x + 1 == n;
            assert!(border || (ours - theirs).abs() < 1e-3, "{y},{x}: {ours} {theirs}");
        }
    }
}
