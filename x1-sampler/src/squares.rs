//! Which squares of the Military Grid Reference System are tiles of the Sentinel-2 grid.
//!
//! A square has edges of 100 km and is named by UTM zone, latitude band of its centre, column and row. It is a tile if it
//! shares ground with its own zone, but
//! - at the western border of a zone one with less than 47 % of its width in the zone is left out: the tiles of the zone
//!   to the west, which reach beyond the border, cover that ground. Only zone 1 keeps its western squares,
//! - and zone 60 is without such squares at its eastern border instead.
//!
//! This was read off the 20 430 land tiles of the ESA grid. The rule gives every one of them and no other tile with land;
//! the narrowest square that is kept has 48.6 %, the widest that is left out 45.1 %. In all there are 56 690 tiles, of
//! which four, at sea, are not in the 56 686 of the ESA.

use minicube::{Bounds, Epsg, LonLat, Tile, XY};

use crate::Error;
use crate::lonlat::to_lon_lat;

pub(crate) const SQUARE_M: f64 = 100_000.0;
const SOUTH_M: f64 = 10_000_000.0;
const LEAST_SHARE: f64 = 0.47;
const BANDS: &[u8; 20] = b"CDEFGHJKLMNPQRSTUVWX";
const ROWS: &[u8; 20] = b"ABCDEFGHJKLMNPQRSTUV";
const COLUMNS: [&[u8; 8]; 3] = [b"STUVWXYZ", b"ABCDEFGH", b"JKLMNPQR"];

/// A square of 100 km.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Square {
    /// UTM zone, 1–60.
    pub(crate) zone: u8,
    /// Whether it is in the southern hemisphere.
    pub(crate) south: bool,
    /// Easting of the western edge / 100 km; 1–8 have names.
    pub(crate) column: i64,
    /// Northing of the southern edge / 100 km without false northing, negative in the south.
    pub(crate) row: i64,
}

/// What a square is to the grid.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A tile, with a ring around the square, up to 100 m outside of it.
    Tile(Tile, Vec<LonLat>),
    /// Left out, its ground is in tiles of the zone to the west.
    LeftToWest,
    /// Left out, its ground is in tiles of the zone to the east.
    LeftToEast,
    /// Without ground in its zone.
    Empty,
}

impl Square {
    /// The square that a tile is made of; `None` if its system is no UTM zone.
    pub(crate) fn of(tile: &Tile) -> Option<Square> {
        const INSIDE_M: f64 = 1000.0;
        let (zone, south) = tile.epsg.utm_zone()?;
        Some(Square::at(zone, south, XY { x: tile.origin.x + INSIDE_M, y: tile.origin.y - INSIDE_M }))
    }

    /// The square of a place in UTM metres.
    pub(crate) fn at(zone: u8, south: bool, place: XY) -> Square {
        let index = |metres: f64| (metres / SQUARE_M).floor() as i64;
        Square { zone, south, column: index(place.x), row: index(place.y - false_northing(south)) }
    }

    /// Extent, UTM metres.
    pub(crate) fn bounds(&self) -> Bounds {
        let (x_min, y_min) =
            (self.column as f64 * SQUARE_M, self.row as f64 * SQUARE_M + false_northing(self.south));
        Bounds { x_min, y_min, x_max: x_min + SQUARE_M, y_max: y_min + SQUARE_M }
    }

    /// The square to the east.
    pub(crate) fn east(self) -> Square {
        Square { column: self.column + 1, ..self }
    }

    /// The tile of the square, if it is one.
    ///
    /// # Errors
    /// [`Error::Projection`] if PROJ does not know the zone.
    pub(crate) fn tile(&self) -> Result<Option<Tile>, Error> {
        Ok(match self.kind()? {
            Kind::Tile(tile, _) => Some(tile),
            _ => None,
        })
    }

    /// What the square is to the grid.
    ///
    /// # Errors
    /// [`Error::Projection`] if PROJ does not know the zone.
    pub(crate) fn kind(&self) -> Result<Kind, Error> {
        if !(1..=8).contains(&self.column) {
            return Ok(Kind::Empty);
        }
        let bounds = self.bounds();
        let middle = bounds.center();
        let mut points = ring_of(&widened(&bounds), 8);
        points.push(middle);
        points.push(XY { x: bounds.x_max - LEAST_SHARE * SQUARE_M, ..middle });
        points.push(XY { x: bounds.x_min + LEAST_SHARE * SQUARE_M, ..middle });
        let places = to_lon_lat(Epsg::utm(self.zone, self.south), &points)?;
        let (ring, [center, eastern, western]) = places.split_at(places.len() - 3) else {
            return Ok(Kind::Empty);
        };
        let in_zone =
            |place: &LonLat| band_of(place.lat).is_some_and(|band| in_strip(self.zone, band, place.lon));
        let Some(band) = band_of(center.lat).filter(|_| ring.iter().any(in_zone) || in_zone(center)) else {
            return Ok(Kind::Empty);
        };
        // Degrees east of the zone's middle, without a jump at 180°.
        let from_middle = |lon: f64| (lon - middle_of(self.zone) + 540.0).rem_euclid(360.0) - 180.0;
        let (west, east) = strip(self.zone, band).unwrap_or_else(|| regular_strip(self.zone));
        if self.zone != 1 && from_middle(eastern.lon) < west - middle_of(self.zone) {
            Ok(Kind::LeftToWest)
        } else if self.zone == 60 && from_middle(western.lon) > east - middle_of(self.zone) {
            Ok(Kind::LeftToEast)
        } else {
            Ok(Kind::Tile(Tile::from_id(&self.id(band))?, ring.to_vec()))
        }
    }

    fn id(&self, band: u8) -> String {
        let first_row = if self.zone.is_multiple_of(2) { 5 } else { 0 };
        let column =
            char::from(COLUMNS[usize::from(self.zone % 3)][(self.column - 1).rem_euclid(8) as usize]);
        let row = char::from(ROWS[(self.row + first_row).rem_euclid(20) as usize]);
        format!("{:02}{}{column}{row}", self.zone, char::from(band))
    }
}

/// Northing of the equator.
pub(crate) fn false_northing(south: bool) -> f64 {
    if south { SOUTH_M } else { 0.0 }
}

/// Latitude band letter; `None` outside 84° S to 85° N. The MGRS ends at 80° S and 84° N, the ESA grid goes on a little
/// with bands C and X.
pub(crate) fn band_of(lat: f64) -> Option<u8> {
    (-84.0..=85.0).contains(&lat).then(|| BANDS[(((lat + 80.0).max(0.0) / 8.0) as usize).min(19)])
}

/// Whether a longitude belongs to a zone in a latitude band.
pub(crate) fn in_strip(zone: u8, band: u8, lon: f64) -> bool {
    strip(zone, band).is_some_and(|(west, east)| (west..=east).contains(&lon))
}

/// The zone of a longitude in a latitude band.
pub(crate) fn zone_of(band: u8, lon: f64) -> Option<u8> {
    (1..=60).find(|&zone| in_strip(zone, band, lon))
}

/// Whether a zone begins, in a latitude band, where another ends to the west of it.
pub(crate) fn is_west_of(west: u8, east: u8, band: u8) -> bool {
    let (Some(west), Some(east)) = (strip(west, band), strip(east, band)) else { return false };
    (west.1 - east.0).rem_euclid(360.0) == 0.0
}

/// Western and eastern border of a zone in a latitude band, with the exceptions of 32V and of the 3xX zones.
fn strip(zone: u8, band: u8) -> Option<(f64, f64)> {
    match (band, zone) {
        (b'V', 31) => Some((0.0, 3.0)),
        (b'V', 32) => Some((3.0, 12.0)),
        (b'X', 31) => Some((0.0, 9.0)),
        (b'X', 33) => Some((9.0, 21.0)),
        (b'X', 35) => Some((21.0, 33.0)),
        (b'X', 37) => Some((33.0, 42.0)),
        (b'X', 32 | 34 | 36) => None,
        _ => Some(regular_strip(zone)),
    }
}

fn regular_strip(zone: u8) -> (f64, f64) {
    (middle_of(zone) - 3.0, middle_of(zone) + 3.0)
}

/// Central meridian of a zone.
pub(crate) fn middle_of(zone: u8) -> f64 {
    f64::from(zone) * 6.0 - 183.0
}

/// A margin that covers the snapping to 60 m and the bend of an edge between two points of the ring.
pub(crate) fn widened(square: &Bounds) -> Bounds {
    const MARGIN_M: f64 = 100.0;
    Bounds {
        x_min: square.x_min - MARGIN_M,
        y_min: square.y_min - MARGIN_M,
        x_max: square.x_max + MARGIN_M,
        y_max: square.y_max + MARGIN_M,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn is_tile(id: &str) -> bool {
        let tile = Tile::from_id(id).unwrap();
        let found = Square::of(&tile).unwrap().tile().unwrap();
        assert!(found.as_ref().is_none_or(|found| *found == tile), "{id}");
        found.is_some()
    }

    /// At 6° E and 44° N tiles of zone 31 reach over the border, so that column K of zone 32 is missing; at 40° N it is there.
    #[test]
    fn narrow_squares_at_western_borders_are_left_out() {
        assert!(is_tile("31TGM") && is_tile("32TLS") && !is_tile("32TKS"));
        assert!(is_tile("42TTM") && !is_tile("42TTN"));
        // The reverse at 180°, where tiles of zone 1 reach over the border.
        assert!(is_tile("01KAB") && is_tile("60KYG") && !is_tile("60KZG"));
    }

    #[test]
    fn squares_without_ground_in_their_zone_are_no_tiles() {
        assert!(is_tile("35KMQ") && is_tile("33XWH") && !is_tile("33XSH"));
        assert!(!is_tile("31VFG"), "31V ends at 3° E");
        assert!(is_tile("32VKN"));
    }

    #[test]
    fn norway_and_svalbard_have_their_own_strips() {
        assert!(in_strip(32, b'V', 4.0) && !in_strip(31, b'V', 4.0));
        assert!(in_strip(31, b'X', 8.0) && !in_strip(32, b'X', 8.0));
        assert!(in_strip(31, b'U', 4.0) && !in_strip(32, b'U', 4.0));
        assert_eq!(zone_of(b'X', 20.9), Some(33));
        assert!(is_west_of(31, 33, b'X') && !is_west_of(33, 31, b'X') && !is_west_of(31, 32, b'X'));
        assert!(is_west_of(60, 1, b'K') && is_west_of(31, 32, b'V') && !is_west_of(40, 42, b'X'));
        assert_eq!(band_of(63.999), Some(b'V'));
        assert_eq!(band_of(83.0), Some(b'X'));
        assert_eq!(band_of(84.2), Some(b'X'));
        assert_eq!(band_of(85.1), None);
        assert_eq!(band_of(-83.0), Some(b'C'));
    }
}
