//! The ground of Sentinel-2 tiles: which cells of a tile are its own.
//!
//! Tiles overlap their neighbours by 9.8 km and those of the next zone by more, so the ground is divided: a cell is its
//! tile's own if
//! 1. it ends before the next tile of the same zone begins, to the east and to the south, and
//! 2. all of it lies in the longitudes of the tile's UTM zone (with the exceptions of south-west Norway and Svalbard), or
//!    else in squares of the next zone that are left out, see `squares.rs`.
//!
//! By 1 no two cells of one zone share ground, by 2 no two cells of different zones do, and the ground of squares that are
//! left out is not lost. Corners are enough for 2: in UTM a zone is a convex region, its bounding meridians bend towards
//! the central one.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use minicube::{Bounds, CellGrid, Epsg, LonLat, Tile, XY};

use crate::Error;
use crate::lonlat::{LON_LAT, name, to_lon_lat, transform};
pub(crate) use crate::squares::ring_of;
use crate::squares::{
    Kind, SQUARE_M, Square, band_of, false_northing, in_strip, is_west_of, middle_of, widened, zone_of,
};

const SNAP_M: f64 = 60.0;

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

/// All tiles of a UTM zone and hemisphere, row by row from the south, each with a ring of points around the ground of its
/// own cells (degrees, counter-clockwise, not closed; up to 160 m outside of its square, further to the east where no
/// tile follows).
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
    let grid = if south { -94..0 } else { 0..95_i64 };
    let first = (lat_min * ROWS_PER_DEGREE - BEND_ROWS).floor() as i64;
    let last = (lat_max * ROWS_PER_DEGREE + BEND_ROWS).ceil() as i64;
    let mut tiles = Vec::new();
    for row in grid.start.max(first)..grid.end.min(last) {
        let squares = (1..=8).map(|column| Square { zone, south, column, row }.kind());
        let mut of_row = squares.collect::<Result<Vec<_>, Error>>()?.into_iter().peekable();
        while let Some(square) = of_row.next() {
            let Kind::Tile(tile, ring) = square else { continue };
            let is_last = !matches!(of_row.peek(), Some(Kind::Tile(..)));
            let ring = if is_last { ring_around(&tile, &reach(&tile, is_last))? } else { ring };
            tiles.push((tile, ring));
        }
    }
    Ok(tiles)
}

/// A ring of points around the ground of a tile's own cells, as [`tiles_of_zone`] gives it.
///
/// # Errors
/// [`Error::Projection`] if PROJ does not know the zone.
pub fn ring(tile: &Tile) -> Result<Vec<LonLat>, Error> {
    ring_around(tile, &ground(tile)?)
}

fn ring_around(tile: &Tile, ground: &Bounds) -> Result<Vec<LonLat>, Error> {
    to_lon_lat(tile.epsg, &ring_of(&widened(ground), 8))
}

/// Whether the ESA grid has the tile; see `squares.rs` for what it leaves out.
///
/// # Errors
/// [`Error::Projection`] if PROJ does not know the zone.
pub fn is_in_grid(tile: &Tile) -> Result<bool, Error> {
    let found = Square::of(tile).map_or(Ok(None), |square| square.tile())?;
    Ok(found.is_some_and(|found| found.id == tile.id))
}

/// The cells of a tile that are its own, by the ownership rule above, row by row from the north; none if the ESA grid does
/// not have the tile.
///
/// # Errors
/// [`Error::Projection`] if PROJ does not know the zone.
pub fn own_cells(tile: &Tile, grid: &CellGrid) -> Result<Vec<Cell>, Error> {
    let Some((zone, south)) = tile.epsg.utm_zone() else { return Ok(Vec::new()) };
    if !is_in_grid(tile)? {
        return Ok(Vec::new());
    }
    let (rows, cols) = cells_on(&ground(tile)?, grid);
    let size = grid.cell_size_m();
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

    let mut next = NextZone::default();
    let mut cells = Vec::with_capacity(rows * cols);
    for row in 0..rows {
        for col in 0..cols {
            let corners = [at(row + 1, col), at(row + 1, col + 1), at(row, col + 1), at(row, col)];
            if lies_in_zone(zone, &corners) || next.leaves(zone, south, &corners)? {
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
    let Some(home) = band_of(place.lat).and_then(|band| zone_of(band, place.lon)) else { return Ok(None) };
    // Ground that is no tile of its own zone is in a tile of one next to it, at Svalbard two zones away.
    for step in [0, -1, 1, -2, 2] {
        let zone = (i16::from(home) - 1 + step).rem_euclid(60) as u8 + 1;
        let (south, epsg) = (place.lat < 0.0, Epsg::utm(zone, place.lat < 0.0));
        let mut point = [(place.lon, place.lat)];
        transform(LON_LAT, &name(epsg), &mut point)?;
        let point = XY { x: point[0].0, y: point[0].1 };
        // Ground begins at the snapped corner, up to 60 m west and north of the square, and may end 10 km east of it.
        let square = Square::at(zone, south, XY { x: point.x + SNAP_M, y: point.y - SNAP_M });
        for (west, north) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let square = Square { column: square.column - west, row: square.row + north, ..square };
            let Some(tile) = square.tile()? else { continue };
            let ground = ground(&tile)?;
            let inside = ground.x_min <= point.x
                && point.x < ground.x_max
                && ground.y_min < point.y
                && point.y <= ground.y_max;
            if inside {
                let (rows, cols) = cells_on(&ground, grid);
                let cell = grid.cell_at(&tile, point).filter(|&(row, col)| row < rows && col < cols);
                return Ok(cell.map(|(row, col)| (tile.id, row, col)));
            }
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
        let middle = middle_of(zone);
        let mut turns = [-360.0, 0.0, 360.0].into_iter();
        if turns.any(|turn| middle + turn + 9.0 >= west && middle + turn - 9.0 <= east) {
            zones.extend((north >= 0.0).then_some((zone, false)));
            zones.extend((south <= 0.0).then_some((zone, true)));
        }
    }
    zones
}

/// What is looked up about squares of the zones next to a tile's.
#[derive(Default)]
struct NextZone {
    kinds: BTreeMap<Square, Kind>,
}

impl NextZone {
    /// Whether the part of a cell that is outside its zone is in the zone next to it, and there in squares that are left
    /// out; never for a cell across 180°, whose outline would have a jump.
    fn leaves(&mut self, zone: u8, south: bool, corners: &[LonLat; 4]) -> Result<bool, Error> {
        let mut others = zones_at(corners).filter(|&other| other != Some(zone));
        let Some(Some(other)) = others.next() else { return Ok(false) };
        if others.any(|another| another != Some(other))
            || corners.iter().any(|corner| (corner.lon - corners[0].lon).abs() > 180.0)
        {
            return Ok(false);
        }
        let follow = |west: u8, east: u8| {
            bands_at(corners).all(|band| band.is_some_and(|band| is_west_of(west, east, band)))
        };
        let left = if follow(zone, other) {
            Kind::LeftToWest
        } else if follow(other, zone) {
            Kind::LeftToEast
        } else {
            return Ok(false);
        };
        let mut points = corners.map(|corner| (corner.lon, corner.lat));
        transform(LON_LAT, &name(Epsg::utm(other, south)), &mut points)?;
        let span = |values: [f64; 4]| {
            values.iter().fold((f64::MAX, f64::MIN), |(low, high), &value| (low.min(value), high.max(value)))
        };
        let ((x_min, x_max), (y_min, y_max)) = (span(points.map(|p| p.0)), span(points.map(|p| p.1)));
        // The margin covers the snapping of tiles and the bend of edges.
        let extent = widened(&Bounds { x_min, y_min, x_max, y_max });
        let first = Square::at(other, south, XY { x: extent.x_min, y: extent.y_min });
        let last = Square::at(other, south, XY { x: extent.x_max, y: extent.y_max });
        for row in first.row..=last.row {
            for column in first.column..=last.column {
                let square = Square { column, row, ..first };
                let kind = match self.kinds.entry(square) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(place) => place.insert(square.kind()?),
                };
                if *kind != left && *kind != Kind::Empty {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// Where a tile's own cells may be: its territory, up to the tile's eastern edge if no tile of the zone follows there.
fn ground(tile: &Tile) -> Result<Bounds, Error> {
    let next = Square::of(tile).map_or(Ok(None), |square| square.east().tile())?;
    Ok(reach(tile, next.is_none()))
}

/// East of zone 60 nothing is left to its last tiles: zone 1 has all squares at 180°.
fn reach(tile: &Tile, is_last: bool) -> Bounds {
    let territory = territory(tile);
    let is_open = is_last && tile.epsg.utm_zone().is_some_and(|(zone, _)| zone != 60);
    Bounds { x_max: if is_open { tile.bounds().x_max } else { territory.x_max }, ..territory }
}

/// Rows and columns of cells that are wholly on ground.
fn cells_on(ground: &Bounds, grid: &CellGrid) -> (usize, usize) {
    let count = |length: f64| ((length / grid.cell_size_m()).floor() as usize).min(grid.cells_per_side());
    (count(ground.height()), count(ground.width()))
}

/// From the tile's upper-left corner to the upper-left corners of its neighbours to the east and to the south.
fn territory(tile: &Tile) -> Bounds {
    let south = tile.epsg.utm_zone().is_some_and(|(_, south)| south);
    let false_northing = false_northing(south);
    let square_left = ((tile.origin.x + SNAP_M / 2.0) / SQUARE_M).round() * SQUARE_M;
    let square_top = ((tile.origin.y - false_northing - SNAP_M / 2.0) / SQUARE_M).round() * SQUARE_M;
    Bounds {
        x_min: tile.origin.x,
        y_min: ((square_top - SQUARE_M) / SNAP_M).ceil() * SNAP_M + false_northing,
        x_max: ((square_left + SQUARE_M) / SNAP_M).floor() * SNAP_M,
        y_max: tile.origin.y,
    }
}

/// The latitude bands at and about a metre around a corner: the bend of the parallels along a cell's edge is less.
fn bands_at(corners: &[LonLat; 4]) -> impl Iterator<Item = Option<u8>> {
    const MARGIN_DEG: f64 = 1e-5;
    corners.iter().flat_map(|corner| [corner.lat - MARGIN_DEG, corner.lat + MARGIN_DEG]).map(band_of)
}

/// Whether the ground between four corners lies in the zone, in every latitude band it touches.
fn lies_in_zone(zone: u8, corners: &[LonLat; 4]) -> bool {
    bands_at(corners)
        .all(|band| band.is_some_and(|band| corners.iter().all(|corner| in_strip(zone, band, corner.lon))))
}

/// The zones of the corners, in every latitude band that the ground between them touches; `None`: outside the grid.
fn zones_at(corners: &[LonLat; 4]) -> impl Iterator<Item = Option<u8>> {
    bands_at(corners).flat_map(|band| corners.iter().map(move |corner| zone_of(band?, corner.lon)))
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
        let (here, ground) = (tile("35KMQ"), territory(&tile("35KMQ")));
        let strip = XY { x: ground.x_max - 60.0, y: here.origin.y - 5000.0 };
        let place = to_lon_lat(here.epsg, &[strip]).unwrap()[0];
        assert_eq!(cell_at(place, &grid).unwrap(), None);
        assert_eq!(cell_at(LonLat { lon: 0.0, lat: 89.0 }, &grid).unwrap(), None);
    }

    #[test]
    fn territories_of_neighbours_touch() {
        let (here, east, below) = (tile("35KMQ"), tile("35KNQ"), tile("35KMP"));
        let own = territory(&here);
        assert_eq!(own.x_max, east.origin.x);
        assert_eq!(own.y_min, below.origin.y);
        // Across the equator: the last row of the north ends where the first of the south begins.
        assert_eq!(territory(&tile("35NMA")).y_min, 0.0);
        assert_eq!(tile("35MMV").origin.y, 10_000_000.0);
    }
}
