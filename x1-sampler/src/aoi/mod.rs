//! The area of interest: polygons in degrees, and the test whether tiles and cells lie in it.
//!
//! Edges are straight in longitude and latitude. Polygons from files and of countries lie between -180° and 180° and share
//! no ground; what crosses the 180° meridian is in two of them.

mod countries;
mod file;
mod index;
mod shape;

use std::collections::BTreeSet;
use std::path::Path;

use geo::{BoundingRect, MultiPolygon, Polygon, Rect};
use minicube::{LonLat, Tile};
use rayon::prelude::*;

pub use self::countries::countries;
pub use self::file::{parse_area, parse_wkt, read_area};
pub use self::index::AreaIndex;

use crate::Error;
use crate::config::Builtin;
use crate::tiles::{is_in_grid, ring, tiles_between, zones_of};

const AFRICA: &str = include_str!("../../assets/africa.geojson");
const EUROPE: &str = include_str!("../../assets/europe.geojson");

/// Where minicubes may lie.
#[derive(Clone, Debug)]
pub struct Aoi {
    /// How to call it in messages and reports.
    pub name: String,
    /// Polygons in degrees; `None`: everywhere, limited by `tiles` alone.
    pub area: Option<MultiPolygon<f64>>,
    /// If not empty, only these tiles.
    pub tiles: BTreeSet<String>,
}

/// How a piece of ground lies to the area of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lies {
    /// Wholly inside.
    Inside,
    /// Partly inside.
    Across,
    /// Wholly outside.
    Outside,
}

impl Aoi {
    /// How the ground inside a ring of points (degrees, not closed) lies to the area, see [`AreaIndex::locate`]. For many
    /// rings make an [`Aoi::index`] first.
    #[must_use]
    pub fn locate(&self, ring: &[LonLat]) -> Lies {
        let Some(area) = &self.area else { return Lies::Inside };
        index::locate(ring, area.bounding_rect(), |_| index::edges(area))
    }

    /// The area prepared for many questions.
    #[must_use]
    pub fn index(&self) -> AreaIndex {
        AreaIndex::new(self.area.as_ref())
    }

    /// The tiles that meet the area, sorted by id, each with how its own ground lies. Named tiles that the ESA grid does
    /// not have are left out with a warning.
    ///
    /// # Errors
    /// [`Error::NoTiles`] if there is none; [`Error::Projection`] if PROJ fails.
    pub fn find_tiles(&self) -> Result<Vec<(Tile, Lies)>, Error> {
        let mut tiles = if self.tiles.is_empty() { self.search_tiles()? } else { self.named_tiles()? };
        if tiles.is_empty() {
            return Err(Error::NoTiles { aoi: self.name.clone() });
        }
        tiles.sort_by(|a, b| a.0.id.cmp(&b.0.id));
        Ok(tiles)
    }

    fn named_tiles(&self) -> Result<Vec<(Tile, Lies)>, Error> {
        let index = self.index();
        let mut found = Vec::with_capacity(self.tiles.len());
        for id in &self.tiles {
            let tile = Tile::from_id(id)?;
            if !is_in_grid(&tile)? {
                tracing::warn!("{id} is no tile of the ESA grid: its ground is in other tiles or in no zone");
                continue;
            }
            let lies = index.locate(&ring(&tile)?);
            found.extend((lies != Lies::Outside).then_some((tile, lies)));
        }
        Ok(found)
    }

    fn search_tiles(&self) -> Result<Vec<(Tile, Lies)>, Error> {
        let rects: Vec<Rect<f64>> =
            self.area.iter().flatten().filter_map(BoundingRect::bounding_rect).collect();
        let zones: BTreeSet<(u8, bool)> = rects
            .iter()
            .flat_map(|rect| zones_of(rect.min().x, rect.min().y, rect.max().x, rect.max().y))
            .collect();
        let south = rects.iter().map(|rect| rect.min().y).fold(f64::MAX, f64::min);
        let north = rects.iter().map(|rect| rect.max().y).fold(f64::MIN, f64::max);
        let index = self.index();
        let of_zone = |(zone, hemisphere): (u8, bool)| -> Result<Vec<(Tile, Lies)>, Error> {
            let tiles = tiles_between(zone, hemisphere, south, north)?.into_iter();
            let located = tiles.map(|(tile, ring)| (tile, index.locate(&ring)));
            Ok(located.filter(|&(_, lies)| lies != Lies::Outside).collect())
        };
        let found: Vec<Vec<(Tile, Lies)>> =
            zones.into_par_iter().map(of_zone).collect::<Result<_, Error>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    /// The outer rings of the area as (lon, lat), for maps.
    #[must_use]
    pub fn outlines(&self) -> Vec<Vec<(f64, f64)>> {
        let rings = self.area.iter().flatten().map(Polygon::exterior);
        rings.map(|ring| ring.coords().map(|point| (point.x, point.y)).collect()).collect()
    }
}

/// A box of degrees; `west` > `east` means: across the antimeridian.
#[must_use]
pub fn bbox_area([west, south, east, north]: [f64; 4]) -> MultiPolygon<f64> {
    let part =
        |west: f64, east: f64| (west < east).then(|| Rect::new((west, south), (east, north)).to_polygon());
    let parts =
        if west < east { vec![part(west, east)] } else { vec![part(west, 180.0), part(-180.0, east)] };
    MultiPolygon::new(parts.into_iter().flatten().collect())
}

/// A built-in outline.
///
/// # Errors
/// [`Error::AoiFile`] never happens with the outlines as shipped.
pub fn builtin_area(which: Builtin) -> Result<MultiPolygon<f64>, Error> {
    match which {
        Builtin::Africa => parse_area(Path::new("africa"), AFRICA),
        Builtin::Europe => parse_area(Path::new("europe"), EUROPE),
        Builtin::World => Ok(bbox_area([-180.0, -90.0, 180.0, 90.0])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(lon: f64, lat: f64) -> Vec<LonLat> {
        [(0.0, 0.0), (0.1, 0.0), (0.1, 0.1), (0.0, 0.1)]
            .map(|(x, y)| LonLat { lon: lon + x, lat: lat + y })
            .to_vec()
    }

    fn aoi(area: MultiPolygon<f64>) -> Aoi {
        Aoi { name: "test".into(), area: Some(area), tiles: BTreeSet::new() }
    }

    #[test]
    fn ground_is_inside_across_or_outside() {
        let aoi = aoi(bbox_area([24.0, -20.0, 25.0, -19.0]));
        assert_eq!(aoi.locate(&square(24.5, -19.5)), Lies::Inside);
        assert_eq!(aoi.locate(&square(24.95, -19.5)), Lies::Across);
        assert_eq!(aoi.locate(&square(25.5, -19.5)), Lies::Outside);
    }

    #[test]
    fn a_box_across_the_antimeridian_has_two_parts() {
        let aoi = aoi(bbox_area([179.0, -17.0, -179.0, -16.0]));
        assert_eq!(aoi.locate(&square(179.5, -16.5)), Lies::Inside);
        assert_eq!(aoi.locate(&square(-179.5, -16.5)), Lies::Inside);
        assert_eq!(aoi.locate(&square(0.0, -16.5)), Lies::Outside);
    }

    /// Capital cities are inside, mid-ocean points and the other continent's capitals outside.
    #[test]
    fn outlines_hold_their_capitals() {
        let africa = aoi(builtin_area(Builtin::Africa).unwrap());
        let europe = aoi(builtin_area(Builtin::Europe).unwrap());
        let at = |lon: f64, lat: f64| square(lon - 0.05, lat - 0.05);
        for (lon, lat) in
            [(31.24, 30.04), (36.8, -1.28), (28.2, -25.75), (-17.4, 14.7), (47.5, -18.9), (3.4, 6.6)]
        {
            assert_ne!(africa.locate(&at(lon, lat)), Lies::Outside, "{lon} {lat}");
            assert_eq!(europe.locate(&at(lon, lat)), Lies::Outside, "{lon} {lat}");
        }
        for (lon, lat) in
            [(4.35, 50.85), (13.4, 52.5), (-3.7, 40.4), (23.7, 38.0), (37.6, 55.75), (-21.9, 64.1)]
        {
            assert_ne!(europe.locate(&at(lon, lat)), Lies::Outside, "{lon} {lat}");
            assert_eq!(africa.locate(&at(lon, lat)), Lies::Outside, "{lon} {lat}");
        }
    }
}
