//! The Sentinel-2 tile grid, and the cells of minicubes inside a tile.

use serde::{Deserialize, Serialize};

use crate::{Bounds, Epsg, Error, XY};

/// Edge of a Sentinel-2 tile: 10 980 pixels of 10 m.
pub const TILE_SIZE_M: f64 = 109_800.0;

const SQUARE_M: f64 = 100_000.0;
const SNAP_M: f64 = 60.0;
const BANDS: &str = "CDEFGHJKLMNPQRSTUVWX";
const ROWS: &str = "ABCDEFGHJKLMNPQRSTUV";
const COLUMNS: [&str; 3] = ["STUVWXYZ", "ABCDEFGH", "JKLMNPQR"];

/// A Sentinel-2 tile: an MGRS 100-km square, snapped outwards to the 60 m grid and widened to the south and east.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tile {
    /// UTM zone, latitude band, column and row letter, e.g. `35KMQ`.
    pub id: String,
    /// The UTM zone of the tile.
    pub epsg: Epsg,
    /// Upper-left corner, UTM metres.
    pub origin: XY,
}

impl Tile {
    /// The geometry of a tile, from its id by the MGRS rule alone. Which squares the ESA really uses is a list,
    /// not a rule: an id of open sea gets a geometry as well.
    ///
    /// # Errors
    /// [`Error::TileId`] if a part of the id is not of the MGRS alphabet, or the column is not in the zone.
    pub fn from_id(id: &str) -> Result<Tile, Error> {
        let wrong = |reason| Error::TileId { id: id.to_owned(), reason };
        let letters: Vec<char> = id.chars().collect();
        let [z1, z2, band, column, row] = letters[..] else {
            return Err(wrong("expected two digits and three letters"));
        };
        let digit = |c: char| c.to_digit(10).ok_or_else(|| wrong("the zone is not a number"));
        let zone = digit(z1)? * 10 + digit(z2)?;
        if !(1..=60).contains(&zone) {
            return Err(wrong("the zone is not 01 to 60"));
        }
        let band =
            BANDS.find(band).ok_or_else(|| wrong("the latitude band is not C to X without I and O"))?;
        let column = COLUMNS[zone as usize % 3]
            .find(column)
            .ok_or_else(|| wrong("the column letter is not used in this zone"))?;
        let row = ROWS.find(row).ok_or_else(|| wrong("the row letter is not A to V without I and O"))?;

        let south = band < 10;
        let false_northing = if south { 10_000_000.0 } else { 0.0 };
        let bottom = square_bottom(zone, band, row) + false_northing;
        let left = (column as f64 + 1.0) * SQUARE_M;
        let top = bottom + SQUARE_M;
        let origin = XY {
            x: (left / SNAP_M).floor() * SNAP_M,
            y: ((top - false_northing) / SNAP_M).ceil() * SNAP_M + false_northing,
        };
        #[expect(clippy::cast_possible_truncation, reason = "the zone is 1 to 60")]
        Ok(Tile { id: id.to_owned(), epsg: Epsg::utm(zone as u8, south), origin })
    }

    /// The tile's extent, UTM metres.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        Bounds {
            x_min: self.origin.x,
            y_min: self.origin.y - TILE_SIZE_M,
            x_max: self.origin.x + TILE_SIZE_M,
            y_max: self.origin.y,
        }
    }
}

/// Northing of the square's south edge without false northing. Row letters repeat every 2 000 km; the latitude band,
/// 8° from 80° S on, says which repetition: the one whose middle is nearest to the band's middle.
fn square_bottom(zone: u32, band: usize, row: usize) -> f64 {
    const METRES_PER_DEGREE: f64 = 110_900.0;
    const CYCLE_M: f64 = 2_000_000.0;
    let first_row = if zone.is_multiple_of(2) { 5 } else { 0 };
    let within = ((row + 20 - first_row) % 20) as f64 * SQUARE_M;
    let height = if band == 19 { 12.0 } else { 8.0 };
    let middle = (-80.0 + band as f64 * 8.0 + height / 2.0) * METRES_PER_DEGREE;
    let cycle = ((middle - within - SQUARE_M / 2.0) / CYCLE_M).round();
    within + cycle * CYCLE_M
}

/// The cells of minicubes in a tile: squares of `size_px` pixels from the tile's upper-left corner, row 0 in the north.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellGrid {
    /// Pixels along an edge of a minicube.
    pub size_px: usize,
    /// Edge of a pixel, metres.
    pub resolution_m: f64,
}

impl Default for CellGrid {
    /// The deliverable's minicubes: 128 pixels of 30 m, 3 840 m, 28 × 28 a tile.
    fn default() -> Self {
        CellGrid { size_px: 128, resolution_m: 30.0 }
    }
}

impl CellGrid {
    /// Edge of a minicube, metres.
    #[must_use]
    pub fn cell_size_m(&self) -> f64 {
        self.size_px as f64 * self.resolution_m
    }

    /// Whole cells along an edge of a tile.
    #[must_use]
    pub fn cells_per_side(&self) -> usize {
        (TILE_SIZE_M / self.cell_size_m()).floor() as usize
    }

    /// Extent of a cell, UTM metres.
    #[must_use]
    pub fn cell_bounds(&self, tile: &Tile, row: usize, col: usize) -> Bounds {
        let size = self.cell_size_m();
        let x_min = tile.origin.x + col as f64 * size;
        let y_max = tile.origin.y - row as f64 * size;
        Bounds { x_min, y_min: y_max - size, x_max: x_min + size, y_max }
    }

    /// Row and column of the cell that holds the point; `None` outside the whole cells of the tile.
    #[must_use]
    pub fn cell_at(&self, tile: &Tile, point: XY) -> Option<(usize, usize)> {
        let size = self.cell_size_m();
        let side = self.cells_per_side();
        let index = |distance: f64| {
            (distance >= 0.0).then(|| (distance / size) as usize).filter(|&index| index < side)
        };
        Some((index(tile.origin.y - point.y)?, index(point.x - tile.origin.x)?))
    }

    /// Eastings of the pixel centres of a cell, ascending.
    #[must_use]
    pub fn pixel_x(&self, cell: &Bounds) -> Vec<f64> {
        (0..self.size_px).map(|i| cell.x_min + (i as f64 + 0.5) * self.resolution_m).collect()
    }

    /// Northings of the pixel centres of a cell, descending: row 0 is in the north.
    #[must_use]
    pub fn pixel_y(&self, cell: &Bounds) -> Vec<f64> {
        (0..self.size_px).map(|i| cell.y_max - (i as f64 + 0.5) * self.resolution_m).collect()
    }
}

/// The id of a location: tile, then row and column with two digits each, e.g. `35KMQ_1715`.
#[must_use]
pub fn location_id(tile: &str, row: usize, col: usize) -> String {
    format!("{tile}_{row:02}{col:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Upper-left corners as the ESA publishes them for these tiles.
    #[test]
    fn tiles_have_their_published_corners() {
        for (id, epsg, x, y) in [
            ("32UNA", 32632, 499_980.0, 5_600_040.0),
            ("31UDS", 32631, 399_960.0, 5_700_000.0),
            ("37MBS", 32737, 199_980.0, 9_700_000.0),
            ("29SQC", 32629, 699_960.0, 4_300_020.0),
            ("35KMQ", 32735, 399_960.0, 7_500_040.0),
            ("05VLC", 32605, 300_000.0, 6_300_000.0),
            ("01CEH", 32701, 499_980.0, 800_020.0),
        ] {
            let tile = Tile::from_id(id).unwrap();
            assert_eq!((tile.epsg.0, tile.origin.x, tile.origin.y), (epsg, x, y), "{id}");
        }
    }

    #[test]
    fn wrong_ids_say_what_is_wrong() {
        for (id, part) in
            [("35KM", "three letters"), ("61KMQ", "01 to 60"), ("35KAQ", "column"), ("35IMQ", "band")]
        {
            let message = Tile::from_id(id).unwrap_err().to_string();
            assert!(message.contains(part), "{id}: {message}");
        }
    }

    #[test]
    fn cells_tile_the_tile() {
        let grid = CellGrid::default();
        assert_eq!((grid.cells_per_side(), grid.cell_size_m()), (28, 3840.0));
        assert_eq!(CellGrid { size_px: 128, resolution_m: 20.0 }.cells_per_side(), 42);
        let tile = Tile::from_id("35KMQ").unwrap();
        for (row, col) in [(0, 0), (17, 15), (27, 27)] {
            let cell = grid.cell_bounds(&tile, row, col);
            assert_eq!(grid.cell_at(&tile, cell.center()), Some((row, col)));
            assert_eq!(grid.pixel_y(&cell)[0], cell.y_max - 15.0);
            assert_eq!(grid.pixel_x(&cell)[127], cell.x_max - 15.0);
        }
        let outside = XY { x: tile.origin.x + 28.0 * 3840.0 + 1.0, y: tile.origin.y - 1.0 };
        assert_eq!(grid.cell_at(&tile, outside), None);
        assert_eq!(location_id("35KMQ", 17, 5), "35KMQ_1705");
    }
}
