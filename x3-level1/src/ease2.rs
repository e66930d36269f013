//! The EASE-Grid 2.0 global cylindrical grids of SMAP, and which cell a place falls in.

use minicube::LonLat;
use proj::Proj;

use crate::Error;

/// Upper-left corner of the global grid, EPSG:6933 metres (Brodzik et al. 2012, doi:10.3390/ijgi1010032).
const ORIGIN: (f64, f64) = (-17_367_530.445_161_5, 7_314_540.830_638_6);
const WIDTH_M: f64 = 2.0 * 17_367_530.445_161_5;

/// Where the rows and columns of a granule lie, by the coordinates of their centres in EPSG:6933 metres.
#[derive(Clone, Debug, PartialEq)]
pub struct Ease2Grid {
    /// Eastings of the columns, ascending.
    pub x: Vec<f64>,
    /// Northings of the rows, descending.
    pub y: Vec<f64>,
}

impl Ease2Grid {
    /// A global grid of `rows` × `cols` cells: 1624 × 3856 is M09 (9 km), 406 × 964 is M36 (36 km). `None` if the two
    /// do not fit each other.
    #[must_use]
    pub fn global(rows: usize, cols: usize) -> Option<Ease2Grid> {
        // Both grids have 203 : 482 cells, since a cell of M36 is 4 × 4 cells of M09.
        let fits = rows > 0 && rows * 482 == cols * 203;
        let cell = WIDTH_M / cols as f64;
        fits.then(|| Ease2Grid {
            x: (0..cols).map(|c| ORIGIN.0 + (c as f64 + 0.5) * cell).collect(),
            y: (0..rows).map(|r| ORIGIN.1 - (r as f64 + 0.5) * cell).collect(),
        })
    }

    /// Row and column of the nearest cell; `None` if the place is outside the grid.
    #[must_use]
    pub fn cell_of(&self, x: f64, y: f64) -> Option<(usize, usize)> {
        Some((nearest(&self.y, y)?, nearest(&self.x, x)?))
    }
}

/// Index of the nearest of evenly spaced centres (either direction), if `value` is within half a step of it.
pub(crate) fn nearest(centers: &[f64], value: f64) -> Option<usize> {
    let (first, last) = (*centers.first()?, *centers.last()?);
    let step = if centers.len() > 1 { (last - first) / (centers.len() - 1) as f64 } else { return Some(0) };
    let index = ((value - first) / step).round();
    (index >= 0.0 && index < centers.len() as f64).then_some(index as usize)
}

/// Projects places to EPSG:6933 metres, `(easting, northing)`.
///
/// # Errors
/// [`Error::Projection`] if PROJ cannot do it.
pub fn project(places: &[LonLat]) -> Result<Vec<(f64, f64)>, Error> {
    let failed =
        |reason: String| Error::Projection { from: "EPSG:4326".into(), to: "EPSG:6933".into(), reason };
    let proj = Proj::new_known_crs("EPSG:4326", "EPSG:6933", None).map_err(|e| failed(e.to_string()))?;
    places.iter().map(|p| proj.convert((p.lon, p.lat)).map_err(|e| failed(e.to_string()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nine_kilometre_grid_has_its_published_size() {
        let grid = Ease2Grid::global(1624, 3856).unwrap();
        assert!((grid.x[1] - grid.x[0] - 9_008.055_21).abs() < 1e-4);
        assert!(Ease2Grid::global(406, 964).is_some());
        assert!(Ease2Grid::global(100, 200).is_none());
        // The equator and the zero meridian are edges: the origin's neighbours are cells 811|812 and 1927|1928.
        assert_eq!(grid.cell_of(1.0, 1.0), Some((811, 1928)));
        assert_eq!(grid.cell_of(-1.0, -1.0), Some((812, 1927)));
        assert_eq!(grid.cell_of(0.0, 7_400_000.0), None);
    }

    #[test]
    fn every_cell_centre_falls_in_its_cell() {
        let grid = Ease2Grid::global(406, 964).unwrap();
        for (row, col) in [(0, 0), (5, 963), (405, 17), (203, 482)] {
            assert_eq!(grid.cell_of(grid.x[col], grid.y[row]), Some((row, col)));
        }
    }
}
