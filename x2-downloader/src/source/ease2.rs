//! The global grids of SMAP: EASE-Grid 2.0, an equal-area cylinder on WGS 84 that is true at 30° (EPSG:6933).
//!
//! Formulas of the projection: J. P. Snyder, Map Projections: A Working Manual (1987),
//! <https://doi.org/10.3133/pp1395>.
//! Size of the grid: M. J. Brodzik et al. (2012), <https://doi.org/10.3390/ijgi1010032>.

use minicube::{LonLat, XY};

const SEMI_MAJOR_M: f64 = 6_378_137.0;
/// First eccentricity of WGS 84, squared.
const E2: f64 = 0.006_694_379_990_141_317;
const TRUE_AT_DEG: f64 = 30.0;
/// Half of the grid's width and height, metres.
const REACH: XY = XY { x: 17_367_530.445_161_5, y: 7_314_540.830_638_6 };

/// Centres of columns (eastward) and rows (southward), EPSG:6933 metres.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grid {
    pub(crate) x: Vec<f64>,
    pub(crate) y: Vec<f64>,
}

impl Grid {
    /// The global grid of so many cells, which stand as 203 : 482 whatever their size; `None` if they do not.
    pub(crate) fn global(rows: usize, cols: usize) -> Option<Grid> {
        if rows == 0 || rows * 482 != cols * 203 {
            return None;
        }
        let cell = 2.0 * REACH.x / cols as f64;
        let center = |index: usize| (index as f64 + 0.5) * cell;
        Some(Grid {
            x: (0..cols).map(|col| center(col) - REACH.x).collect(),
            y: (0..rows).map(|row| REACH.y - center(row)).collect(),
        })
    }

    /// Row and column of the cell that holds a place; `None` if it is outside.
    pub(crate) fn cell_of(&self, place: LonLat) -> Option<(usize, usize)> {
        let at = project(place);
        Some((nearest(&self.y, at.y)?, nearest(&self.x, at.x)?))
    }
}

/// Longitude and latitude to EPSG:6933 metres.
pub(crate) fn project(place: LonLat) -> XY {
    let (sin, cos) = TRUE_AT_DEG.to_radians().sin_cos();
    let scale = cos / (1.0 - E2 * sin * sin).sqrt();
    XY {
        x: SEMI_MAJOR_M * scale * place.lon.to_radians(),
        y: SEMI_MAJOR_M * equal_area(place.lat.to_radians().sin()) / (2.0 * scale),
    }
}

/// Snyder's q: twice the area between the equator and a latitude on an ellipsoid of semi-major axis 1, for a strip of
/// one radian.
fn equal_area(sin: f64) -> f64 {
    let e = E2.sqrt();
    (1.0 - E2) * (sin / (1.0 - E2 * sin * sin) + (e * sin).atanh() / e)
}

/// Index of the evenly spaced centre that is at most half a step from a value.
fn nearest(centers: &[f64], value: f64) -> Option<usize> {
    let (first, last) = (centers.first()?, centers.last()?);
    let step = (last - first) / (centers.len().checked_sub(1).filter(|&steps| steps > 0)? as f64);
    let index = ((value - first) / step).round();
    (index >= 0.0 && index < centers.len() as f64).then_some(index as usize)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn corners_of_the_grid_are_the_published_ones() {
        let east = project(LonLat { lon: 180.0, lat: 0.0 });
        assert!((east.x - REACH.x).abs() < 1e-3 && east.y == 0.0, "{east:?}");
        // The parallel on which the grid ends, as the authors give it: 85.0445664 degrees.
        let north = project(LonLat { lon: 0.0, lat: 85.044_566_4 });
        assert!((north.y - REACH.y).abs() < 0.1, "{north:?}");
    }

    #[test]
    fn every_centre_falls_in_its_cell_and_nothing_outside() {
        let grid = Grid::global(1624, 3856).unwrap();
        assert!((grid.x[1] - grid.x[0] - 9_008.055_21).abs() < 1e-4);
        // The equator and the zero meridian are edges.
        assert_eq!(grid.cell_of(LonLat { lon: 0.01, lat: 0.01 }), Some((811, 1928)));
        assert_eq!(grid.cell_of(LonLat { lon: -0.01, lat: -0.01 }), Some((812, 1927)));
        assert_eq!(grid.cell_of(LonLat { lon: 0.0, lat: 86.0 }), None);
        assert!(Grid::global(100, 200).is_none() && Grid::global(0, 0).is_none());
    }

    /// Latitudes and longitudes of all cells of the 36 km grid, by the National Snow and Ice Data Center.
    #[test]
    fn the_centre_of_every_36_km_cell_is_where_its_makers_say() {
        let read = |name: &str| -> Option<Vec<f64>> {
            let path = minicube::testing::real(&format!("smap/EASE2_M36km.{name}.964x406x1.double.gz"))?;
            let file = std::fs::File::open(path).unwrap();
            let mut bytes = Vec::new();
            flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
            Some(bytes.chunks_exact(8).map(|eight| f64::from_le_bytes(eight.try_into().unwrap())).collect())
        };
        let (Some(lats), Some(lons)) = (read("lats"), read("lons")) else { return };
        let grid = Grid::global(406, 964).unwrap();
        assert_eq!((lats.len(), lons.len()), (406 * 964, 406 * 964));
        for (index, (&lat, &lon)) in lats.iter().zip(&lons).enumerate() {
            let (row, col) = (index / 964, index % 964);
            let at = project(LonLat { lon, lat });
            assert!(
                (at.x - grid.x[col]).abs() < 0.01 && (at.y - grid.y[row]).abs() < 0.01,
                "{row} {col}: {at:?}"
            );
        }
    }
}
