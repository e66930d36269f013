//! The global 9 km EASE-Grid 2.0 of SMAP Level 4 (EPSG:6933): cells, and cylindrical equal-area coordinates on WGS 84.
//!
//! Formulas: Snyder, *Map Projections: A Working Manual* (1987), equations 10-13 to 10-15 and 3-12,
//! <https://doi.org/10.3133/pp1395>.

use minicube::{LonLat, XY};

/// Rows of the global 9 km grid, from north to south.
pub(crate) const ROWS: usize = 1624;
/// Columns of the global 9 km grid, from west to east.
pub(crate) const COLS: usize = 3856;
/// Side of a cell in metres.
pub(crate) const CELL_M: f64 = 9_008.055_210_146;
const ORIGIN: XY = XY { x: -17_367_530.445_161_5, y: 7_314_540.830_638_6 };
const SEMI_MAJOR_M: f64 = 6_378_137.0;
const E2: f64 = 0.006_694_379_990_141_316;
const STANDARD_PARALLEL_DEG: f64 = 30.0;

/// Centre of a cell, EPSG:6933 metres.
pub(crate) fn cell_center(row: usize, col: usize) -> XY {
    XY { x: ORIGIN.x + (col as f64 + 0.5) * CELL_M, y: ORIGIN.y - (row as f64 + 0.5) * CELL_M }
}

/// The cell that holds a point.
pub(crate) fn cell_of(point: LonLat) -> (usize, usize) {
    let xy = forward(point);
    let row = ((ORIGIN.y - xy.y) / CELL_M).floor().clamp(0.0, ROWS as f64 - 1.0);
    let col = ((xy.x - ORIGIN.x) / CELL_M).floor().clamp(0.0, COLS as f64 - 1.0);
    (row as usize, col as usize)
}

/// Longitude and latitude (degrees) to EPSG:6933 metres.
pub(crate) fn forward(point: LonLat) -> XY {
    XY {
        x: SEMI_MAJOR_M * scale() * point.lon.to_radians(),
        y: SEMI_MAJOR_M * authalic(point.lat.to_radians()) / (2.0 * scale()),
    }
}

/// EPSG:6933 metres to longitude and latitude (degrees).
pub(crate) fn inverse(point: XY) -> LonLat {
    let target = 2.0 * scale() * point.y / SEMI_MAJOR_M;
    let mut lat = (target / 2.0).clamp(-1.0, 1.0).asin();
    for _ in 0..6 {
        let (sin, cos) = lat.sin_cos();
        lat += (target - authalic(lat)) * (1.0 - E2 * sin * sin).powi(2) / (2.0 * (1.0 - E2) * cos);
    }
    LonLat { lon: (point.x / (SEMI_MAJOR_M * scale())).to_degrees(), lat: lat.to_degrees() }
}

fn scale() -> f64 {
    let (sin, cos) = STANDARD_PARALLEL_DEG.to_radians().sin_cos();
    cos / (1.0 - E2 * sin * sin).sqrt()
}

fn authalic(lat: f64) -> f64 {
    let e = E2.sqrt();
    let sin = lat.sin();
    (1.0 - E2) * (sin / (1.0 - E2 * sin * sin) + (e * sin).atanh() / e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_is_closed_by_the_antimeridian() {
        let corner = forward(LonLat { lon: 180.0, lat: 0.0 });
        assert!((corner.x + ORIGIN.x).abs() < 1e-3, "{corner:?}");
        assert!((COLS as f64 * CELL_M + 2.0 * ORIGIN.x).abs() < 1e-3);
        assert!((ROWS as f64 * CELL_M - 2.0 * ORIGIN.y).abs() < 1e-3);
    }

    #[test]
    fn inverse_undoes_forward_and_cells_hold_their_centre() {
        for (lon, lat) in [(26.4, -23.1), (11.1, 50.9), (-179.9, 0.0), (3.0, 83.0)] {
            let back = inverse(forward(LonLat { lon, lat }));
            assert!((back.lon - lon).abs() < 1e-10 && (back.lat - lat).abs() < 1e-9, "{back:?}");
        }
        assert_eq!(cell_of(inverse(cell_center(1000, 2200))), (1000, 2200));
    }
}
