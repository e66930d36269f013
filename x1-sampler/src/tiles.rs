//! The Sentinel-2 tile grid: which tiles there are, and which cells of a tile are its own.
//!
//! **Naming.** Every 100-km MGRS square that shares ground with its own UTM zone is one tile; its latitude band letter
//! is that of the square's centre. This rule gives the id and bounds of all 20 430 land tiles of the ESA grid.
//!
//! **Ownership.** Tiles overlap their neighbours by 9.8 km and those of the next zone by more, so the ground is divided:
//! a cell is its tile's own if
//! 1. it ends before the next tile of the same zone begins, to the east and to the south, and
//! 2. all of it lies in the longitudes of the tile's UTM zone (with the exceptions of south-west Norway and Svalbard).
//!
//! By 1 no two cells of one zone share ground, by 2 no two cells of different zones do. Corners are enough for 2: in
//! UTM a zone is a convex region, its bounding meridians bend towards the central one.

use minicube::{Bounds, CellGrid, Epsg, LonLat, Tile, XY};

use crate::Error;
use crate::lonlat::{LON_LAT, name, to_lon_lat, transform};

const SQUARE_M: f64 = 100_000.0;
const SNAP_M: f64 = 60.0;
const SOUTH_M: f64 = 10_000_000.0;
const BANDS: &[u8; 20] = b"CDEFGHJKLMNPQRSTUVWX";
const ROWS: &[u8; 20] = b"ABCDEFGHJKLMNPQRSTUV";
const COLUMNS: [&[u8; 8]; 3] = [b"STUVWXYZ", b"ABCDEFGH", b"JKLMNPQR"];

/// A cell that is its tile's own.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Row in the tile's cell grid, 0 = north.
    pub row: usize,
    /// Column in the tile's cell grid, 0 = west.
    pub col: usize,
    /// Extent in the tile's UTM zone, metres.
    pub bounds: Bounds,
    /// Centre, degrees.
    pub center: LonLat,
    /// The corners, counter-clockwise from the lower-left one, degrees.
    pub corners: [LonLat; 4],
}

/// All tiles of a UTM zone and hemisphere by the MGRS rule, row by row from the south, each with a ring of points around
/// the ground of its own cells (degrees, counter-clockwise, not closed; up to 160 m outside of it).
///
/// # Errors
/// [`Error::Projection`] if PROJ does not know the zone.
pub fn tiles_of_zone(zone: u8, south: bool) -> Result<Vec<(Tile, Vec<LonLat>)>, Error> {
    tiles_between(zone, south, -90.0, 90.0)
}

/// Those of [`tiles_of_zone`] that may have ground between two latitudes, and some more.
pub(crate) fn tiles_between(
    zone: u8,
    south: bool,
    lat_min: f64,
    lat_max: f64,
) -> Result<Vec<(Tile, Vec<LonLat>)>, Error> {
    // A row bends towards the pole: by 120 km at 84° N, at the edge of the widest zone.
    const ROWS_PER_DEGREE: f64 = 1.11;
    const BEND_ROWS: f64 = 3.0;
    let epsg = Epsg::utm(zone, south);
    let grid = if south { -94..0 } else { 0..95_i64 };
    let first = (lat_min * ROWS_PER_DEGREE - BEND_ROWS).floor() as i64;
    let last = (lat_max * ROWS_PER_DEGREE + BEND_ROWS).ceil() as i64;
    let mut tiles = Vec::new();
    for row in grid.start.max(first)..grid.end.min(last) {
        for column in 0..8_usize {
            let (left, bottom) =
                ((column + 1) as f64 * SQUARE_M, row as f64 * SQUARE_M + false_northing(south));
            let square =
                Bounds { x_min: left, y_min: bottom, x_max: left + SQUARE_M, y_max: bottom + SQUARE_M };
            let ring = to_lon_lat(epsg, &ring_of(&widened(&square), 8))?;
            let center = to_lon_lat(epsg, &[square.center()])?[0];
            let in_zone =
                |point: &LonLat| band_of(point.lat).is_some_and(|band| in_strip(zone, band, point.lon));
            if let Some(band) = band_of(center.lat).filter(|_| ring.iter().any(in_zone) || in_zone(&center)) {
                let id = tile_id(zone, band, column, row);
                tiles.push((Tile::from_id(&id)?, ring));
            }
        }
    }
    Ok(tiles)
}

/// A ring of points around the ground of a tile's own cells, as [`tiles_of_zone`] gives it.
///
/// # Errors
/// [`Error::Projection`] if PROJ does not know the zone.
pub fn ring(tile: &Tile) -> Result<Vec<LonLat>, Error> {
    let south = tile.epsg.utm_zone().is_some_and(|(_, south)| south);
    to_lon_lat(tile.epsg, &ring_of(&widened(&territory(tile, south)), 8))
}

/// The cells of a tile that are its own, by the ownership rule above, row by row from the north.
///
/// # Errors
/// [`Error::Projection`] if PROJ does not know the zone.
pub fn own_cells(tile: &Tile, grid: &CellGrid) -> Result<Vec<Cell>, Error> {
    let Some((zone, south)) = tile.epsg.utm_zone() else { return Ok(Vec::new()) };
    let territory = territory(tile, south);
    let size = grid.cell_size_m();
    let count = |length: f64| ((length / size).floor() as usize).min(grid.cells_per_side());
    let (rows, cols) = (count(territory.height()), count(territory.width()));

    let node = |row: usize, col: usize| XY {
        x: tile.origin.x + col as f64 * size,
        y: tile.origin.y - row as f64 * size,
    };
    let nodes: Vec<XY> = (0..=rows).flat_map(|row| (0..=cols).map(move |col| node(row, col))).collect();
    let nodes = to_lon_lat(tile.epsg, &nodes)?;
    let at = |row: usize, col: usize| nodes[row * (cols + 1) + col];
    let centers: Vec<XY> = (0..rows)
        .flat_map(|row| (0..cols).map(move |col| grid.cell_bounds(tile, row, col).center()))
        .collect();
    let centers = to_lon_lat(tile.epsg, &centers)?;

    let mut cells = Vec::with_capacity(rows * cols);
    for row in 0..rows {
        for col in 0..cols {
            let corners = [at(row + 1, col), at(row + 1, col + 1), at(row, col + 1), at(row, col)];
            if lies_in_zone(zone, &corners) {
                let (bounds, center) = (grid.cell_bounds(tile, row, col), centers[row * cols + col]);
                cells.push(Cell { row, col, bounds, center, corners });
            }
        }
    }
    Ok(cells)
}

/// The tile whose ground a place is on, and the row and column of the cell there; `None` on the strips at the edge of a
/// tile's ground that are too narrow for a cell, and outside the grid. Whether the cell is the tile's own up to the border
/// of its UTM zone [`own_cells`] tells.
///
/// # Errors
/// [`Error::Projection`] if PROJ does not know the zone.
pub fn cell_at(place: LonLat, grid: &CellGrid) -> Result<Option<(String, usize, usize)>, Error> {
    let zone = band_of(place.lat).and_then(|band| (1..=60).find(|&zone| in_strip(zone, band, place.lon)));
    let Some(zone) = zone else { return Ok(None) };
    let south = place.lat < 0.0;
    let epsg = Epsg::utm(zone, south);
    let mut point = [(place.lon, place.lat)];
    transform(LON_LAT, &name(epsg), &mut point)?;
    let point = XY { x: point[0].0, y: point[0].1 };
    // Ground begins at the snapped corner, up to 60 m west and north of the square's own.
    let column = ((point.x + SNAP_M) / SQUARE_M).floor() as usize;
    let row = ((point.y - false_northing(south) - SNAP_M) / SQUARE_M).floor() as i64;
    for (column, row) in [
        (column, row),
        (column.saturating_sub(1), row),
        (column, row + 1),
        (column.saturating_sub(1), row + 1),
    ] {
        if !(1..=8).contains(&column) {
            continue;
        }
        let (left, bottom) = (column as f64 * SQUARE_M, row as f64 * SQUARE_M + false_northing(south));
        let center = XY { x: left + SQUARE_M / 2.0, y: bottom + SQUARE_M / 2.0 };
        let Some(band) = band_of(to_lon_lat(epsg, &[center])?[0].lat) else { continue };
        let tile = Tile::from_id(&tile_id(zone, band, column - 1, row))?;
        let ground = territory(&tile, south);
        let inside = ground.x_min <= point.x
            && point.x < ground.x_max
            && ground.y_min < point.y
            && point.y <= ground.y_max;
        if inside {
            let size = grid.cell_size_m();
            let fits = |length: f64, index: usize| index < (length / size).floor() as usize;
            let cell = grid.cell_at(&tile, point);
            return Ok(cell
                .filter(|&(row, col)| fits(ground.height(), row) && fits(ground.width(), col))
                .map(|(row, col)| (tile.id, row, col)));
        }
    }
    Ok(None)
}

/// The UTM zones (and hemispheres, `true` = south) that may have tiles in a box of longitudes and latitudes, degrees,
/// beyond the 180° meridian as well.
#[must_use]
pub fn zones_of(west: f64, south: f64, east: f64, north: f64) -> Vec<(u8, bool)> {
    let mut zones = Vec::new();
    for zone in 1..=60_u8 {
        // One zone more on each side: the Norwegian and Svalbard zones are wider than 6°.
        let middle = f64::from(zone) * 6.0 - 183.0;
        let mut turns = [-360.0, 0.0, 360.0].into_iter();
        if turns.any(|turn| middle + turn + 9.0 >= west && middle + turn - 9.0 <= east) {
            zones.extend((north >= 0.0).then_some((zone, false)));
            zones.extend((south <= 0.0).then_some((zone, true)));
        }
    }
    zones
}

/// Points along the edges of a box, counter-clockwise from the lower-left corner, `per_side` on each side, not closed.
pub(crate) fn ring_of(bounds: &Bounds, per_side: usize) -> Vec<XY> {
    let corners = [
        XY { x: bounds.x_min, y: bounds.y_min },
        XY { x: bounds.x_max, y: bounds.y_min },
        XY { x: bounds.x_max, y: bounds.y_max },
        XY { x: bounds.x_min, y: bounds.y_max },
    ];
    let mut ring = Vec::with_capacity(4 * per_side);
    for side in 0..4 {
        let (from, to) = (corners[side], corners[(side + 1) % 4]);
        ring.extend((0..per_side).map(|step| {
            let part = step as f64 / per_side as f64;
            XY { x: from.x + part * (to.x - from.x), y: from.y + part * (to.y - from.y) }
        }));
    }
    ring
}

/// From the tile's upper-left corner to the upper-left corners of its neighbours to the east and to the south.
fn territory(tile: &Tile, south: bool) -> Bounds {
    let square_left = ((tile.origin.x + SNAP_M / 2.0) / SQUARE_M).round() * SQUARE_M;
    let false_northing = false_northing(south);
    let square_top = ((tile.origin.y - false_northing - SNAP_M / 2.0) / SQUARE_M).round() * SQUARE_M;
    Bounds {
        x_min: tile.origin.x,
        y_min: ((square_top - SQUARE_M) / SNAP_M).ceil() * SNAP_M + false_northing,
        x_max: ((square_left + SQUARE_M) / SNAP_M).floor() * SNAP_M,
        y_max: tile.origin.y,
    }
}

/// A margin that covers the snapping to 60 m and the bend of an edge between two points of the ring.
fn widened(square: &Bounds) -> Bounds {
    const MARGIN_M: f64 = 100.0;
    Bounds {
        x_min: square.x_min - MARGIN_M,
        y_min: square.y_min - MARGIN_M,
        x_max: square.x_max + MARGIN_M,
        y_max: square.y_max + MARGIN_M,
    }
}

fn false_northing(south: bool) -> f64 {
    if south { SOUTH_M } else { 0.0 }
}

/// Zone, band letter, column 0–7 and row (northing / 100 km, negative in the south) as an MGRS square.
fn tile_id(zone: u8, band: u8, column: usize, row: i64) -> String {
    let first_row = if zone.is_multiple_of(2) { 5 } else { 0 };
    let column = char::from(COLUMNS[usize::from(zone % 3)][column]);
    let row = char::from(ROWS[(row + first_row).rem_euclid(20) as usize]);
    format!("{zone:02}{}{column}{row}", char::from(band))
}

/// Latitude band letter; `None` outside 84° S to 85° N. The MGRS ends at 80° S and 84° N, the ESA grid goes on a little
/// with bands C and X.
fn band_of(lat: f64) -> Option<u8> {
    (-84.0..=85.0).contains(&lat).then(|| BANDS[(((lat + 80.0).max(0.0) / 8.0) as usize).min(19)])
}

/// Whether a longitude belongs to a zone in a latitude band, with the exceptions of 32V and of the 3xX zones.
fn in_strip(zone: u8, band: u8, lon: f64) -> bool {
    let regular = (f64::from(zone) * 6.0 - 186.0, f64::from(zone) * 6.0 - 180.0);
    let (west, east) = match (band, zone) {
        (b'V', 31) => (0.0, 3.0),
        (b'V', 32) => (3.0, 12.0),
        (b'X', 31) => (0.0, 9.0),
        (b'X', 33) => (9.0, 21.0),
        (b'X', 35) => (21.0, 33.0),
        (b'X', 37) => (33.0, 42.0),
        (b'X', 32 | 34 | 36) => return false,
        _ => regular,
    };
    (west..=east).contains(&lon)
}

/// Whether the ground between four corners lies in the zone, in every latitude band it touches. The margin of about a
/// metre covers the bend of the parallels along a cell's edge.
fn lies_in_zone(zone: u8, corners: &[LonLat; 4]) -> bool {
    const MARGIN_DEG: f64 = 1e-5;
    let bands =
        corners.iter().flat_map(|corner| [corner.lat - MARGIN_DEG, corner.lat + MARGIN_DEG]).map(band_of);
    bands
        .into_iter()
        .all(|band| band.is_some_and(|band| corners.iter().all(|corner| in_strip(zone, band, corner.lon))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(id: &str) -> Tile {
        Tile::from_id(id).unwrap()
    }

    #[test]
    fn ids_round_trip_through_the_shared_rule() {
        for (zone, south) in [(31, false), (32, false), (35, true), (60, true), (1, true)] {
            for (tile, _) in tiles_of_zone(zone, south).unwrap() {
                assert_eq!(Tile::from_id(&tile.id).unwrap(), tile);
                assert_eq!(tile.epsg, Epsg::utm(zone, south), "{}", tile.id);
            }
        }
    }

    /// In the middle of a zone 26 of 28 cells per axis are own: 26 × 3840 m = 99 840 m of the 100 km to the next tile.
    #[test]
    fn inner_tiles_own_26_by_26_cells() {
        assert_eq!(own_cells(&tile("35KMQ"), &CellGrid::default()).unwrap().len(), 26 * 26);
        assert_eq!(own_cells(&tile("32UNA"), &CellGrid::default()).unwrap().len(), 26 * 26);
    }

    /// The centre of every own cell is found in that cell: inside a zone, at its border, and in the south.
    #[test]
    fn places_are_found_in_their_cells() {
        let grid = CellGrid::default();
        for id in ["35KMQ", "32UNA", "31VDH", "34KHB", "01CEH", "33XWH"] {
            let cells = own_cells(&tile(id), &grid).unwrap();
            for cell in cells.iter().step_by(7) {
                let found = cell_at(cell.center, &grid).unwrap();
                assert_eq!(found, Some((id.to_owned(), cell.row, cell.col)), "{id}");
            }
        }
        // 26 × 26 cells of 3840 m are 99 840 m: the strip of about 180 m to the next tile belongs to no cell.
        let (here, ground) = (tile("35KMQ"), territory(&tile("35KMQ"), true));
        let strip = XY { x: ground.x_max - 60.0, y: here.origin.y - 5000.0 };
        let place = to_lon_lat(here.epsg, &[strip]).unwrap()[0];
        assert_eq!(cell_at(place, &grid).unwrap(), None);
        assert_eq!(cell_at(LonLat { lon: 0.0, lat: 89.0 }, &grid).unwrap(), None);
    }

    #[test]
    fn territories_of_neighbours_touch() {
        let (here, east, below) = (tile("35KMQ"), tile("35KNQ"), tile("35KMP"));
        let own = territory(&here, true);
        assert_eq!(own.x_max, east.origin.x);
        assert_eq!(own.y_min, below.origin.y);
        // Across the equator: the last row of the north ends where the first of the south begins.
        assert_eq!(territory(&tile("35NMA"), false).y_min, 0.0);
        assert_eq!(tile("35MMV").origin.y, SOUTH_M);
    }

    #[test]
    fn norway_and_svalbard_have_their_own_strips() {
        assert!(in_strip(32, b'V', 4.0) && !in_strip(31, b'V', 4.0));
        assert!(in_strip(31, b'X', 8.0) && !in_strip(32, b'X', 8.0));
        assert!(in_strip(31, b'U', 4.0) && !in_strip(32, b'U', 4.0));
        assert_eq!(band_of(63.999), Some(b'V'));
        assert_eq!(band_of(83.0), Some(b'X'));
        assert_eq!(band_of(84.2), Some(b'X'));
        assert_eq!(band_of(85.1), None);
        assert_eq!(band_of(-83.0), Some(b'C'));
    }
}
