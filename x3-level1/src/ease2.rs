//! The EASE-Grid 2.0 grids of SMAP, global and polar, and which cell a place falls in.

use minicube::LonLat;
use proj::Proj;

use crate::Error;

/// Upper-left corner of the global grid, EPSG:6933 metres (Brodzik et al. 2012, doi:10.3390/ijgi1010032).
const ORIGIN: (f64, f64) = (-17_367_530.445_161_5, 7_314_540.830_638_6);
const WIDTH_M: f64 = 2.0 * 17_367_530.445_161_5;

/// Half the edge of the northern polar grid, EPSG:6931 metres (same reference).
const POLAR_EDGE_M: f64 = 9_000_000.0;

/// The reference system of the global cylindrical grids.
pub(crate) const GLOBAL: u32 = 6933;
/// The reference system of the northern polar grids.
pub(crate) const NORTH: u32 = 6931;
/// The reference system of the southern polar grids.
pub(crate) const SOUTH: u32 = 6932;

/// Where the rows and columns of a granule lie, by the coordinates of their centres in metres.
#[derive(Clone, Debug, PartialEq)]
pub struct Ease2Grid {
    /// Reference system: 6933 global, 6931 around the North Pole, 6932 around the South Pole.
    pub epsg: u32,
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
            epsg: GLOBAL,
            x: (0..cols).map(|c| ORIGIN.0 + (c as f64 + 0.5) * cell).collect(),
            y: (0..rows).map(|r| ORIGIN.1 - (r as f64 + 0.5) * cell).collect(),
        })
    }

    /// The whole grid around the North Pole with `edge` cells along an edge: 2000 is N09 (9 km), 500 is N36 (36 km).
    /// `None` if there is no such grid.
    #[must_use]
    pub fn north(edge: usize) -> Option<Ease2Grid> {
        let fits = edge > 0 && edge.is_multiple_of(500);
        let cell = 2.0 * POLAR_EDGE_M / edge as f64;
        fits.then(|| Ease2Grid {
            epsg: NORTH,
            x: (0..edge).map(|c| (c as f64 + 0.5) * cell - POLAR_EDGE_M).collect(),
            y: (0..edge).map(|r| POLAR_EDGE_M - (r as f64 + 0.5) * cell).collect(),
        })
    }

    /// Row and column of the nearest cell; `None` if the place is outside the grid. On a grid round the Earth the
    /// antimeridian is no edge.
    #[must_use]
    pub fn cell_of(&self, x: f64, y: f64) -> Option<(usize, usize)> {
        Some((within(&self.y, nearest(&self.y, y)?)?, self.col(nearest(&self.x, x)?)?))
    }

    /// A column's index in the grid, `None` beyond its edge; on a grid round the Earth counting goes on at the other
    /// side.
    #[must_use]
    pub(crate) fn col(&self, index: i64) -> Option<usize> {
        let count = self.x.len() as i64;
        let index = if self.is_round_the_earth() { index.rem_euclid(count) } else { index };
        within(&self.x, index)
    }

    /// Projects places to the grid's metres, `(easting, northing)`.
    ///
    /// # Errors
    /// [`Error::Projection`] if PROJ cannot do it.
    pub fn project(&self, places: &[LonLat]) -> Result<Vec<(f64, f64)>, Error> {
        let to = format!("EPSG:{}", self.epsg);
        let failed = |reason: String| Error::Projection { from: "EPSG:4326".into(), to: to.clone(), reason };
        let proj = Proj::new_known_crs("EPSG:4326", &to, None).map_err(|e| failed(e.to_string()))?;
        places.iter().map(|p| proj.convert((p.lon, p.lat)).map_err(|e| failed(e.to_string()))).collect()
    }

    fn is_round_the_earth(&self) -> bool {
        let step = step(&self.x);
        self.epsg == GLOBAL && (self.x.len() as f64 * step - WIDTH_M).abs() < step / 2.0
    }
}

fn within(centers: &[f64], index: i64) -> Option<usize> {
    usize::try_from(index).ok().filter(|&index| index < centers.len())
}

fn step(centers: &[f64]) -> f64 {
    match centers {
        [first, .., last] => (last - first) / (centers.len() - 1) as f64,
        _ => 0.0,
    }
}

/// Index of the nearest of evenly spaced centres (either direction), as if they went on for ever. One centre is near to
/// all.
fn nearest(centers: &[f64], value: f64) -> Option<i64> {
    let (first, step) = (*centers.first()?, step(centers));
    Some(if step == 0.0 { 0 } else { ((value - first) / step).round() as i64 })
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
        for grid in [Ease2Grid::global(406, 964).unwrap(), Ease2Grid::north(500).unwrap()] {
            for (row, col) in [(0, 0), (5, grid.x.len() - 1), (grid.y.len() - 1, 17), (203, 482)] {
                assert_eq!(grid.cell_of(grid.x[col], grid.y[row]), Some((row, col)));
            }
        }
    }

    /// The antimeridian is the outer edge of the first and of the last column.
    #[test]
    fn the_antimeridian_is_no_edge_of_a_global_grid() {
        let grid = Ease2Grid::global(406, 964).unwrap();
        let place = |lon| LonLat { lon, lat: -17.0 };
        let places = [179.9, 180.0, -180.0, -179.9].map(place);
        let cols: Vec<usize> =
            grid.project(&places).unwrap().iter().map(|&(x, y)| grid.cell_of(x, y).unwrap().1).collect();
        assert_eq!((cols[0], cols[3]), (963, 0));
        assert!(cols[1..3].iter().all(|col| [0, 963].contains(col)), "{cols:?}");
        let part = Ease2Grid { x: grid.x[900..].to_vec(), ..grid };
        assert_eq!((part.col(64), part.col(-1)), (None, None), "a part of the grid ends");
    }

    /// The pole is the corner of the four middle cells; Longyearbyen (15.6 E, 78.2 N) is 1.3 Mm from it, towards 15.6 E:
    /// x = r sin λ, y = −r cos λ.
    #[test]
    fn the_northern_grid_turns_around_the_pole() {
        let grid = Ease2Grid::north(2000).unwrap();
        assert!((grid.x[1] - grid.x[0] - 9_000.0).abs() < 1e-9 && Ease2Grid::north(406).is_none());
        let (x, y) = grid.project(&[LonLat { lon: 15.6, lat: 78.2 }]).unwrap()[0];
        assert!((x.hypot(y) - 1.31e6).abs() < 1e4, "{x} {y}");
        assert!((x.atan2(-y).to_degrees() - 15.6).abs() < 1e-6, "{x} {y}");
    }
}
