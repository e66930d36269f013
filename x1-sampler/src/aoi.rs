//! The area of interest: polygons in degrees, and the test whether tiles and cells lie in it.

use std::collections::BTreeSet;
use std::path::Path;

use geo::{BoundingRect, Contains, Intersects, LineString, MultiPolygon, Polygon, Rect};
use geojson::GeoJson;
use minicube::{LonLat, Tile};

use crate::Error;
use crate::config::Builtin;
use crate::tiles::{ring, tiles_of_zone, zones_of};

const AFRICA: &str = include_str!("../assets/africa.geojson");
const EUROPE: &str = include_str!("../assets/europe.geojson");

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
    /// How the ground inside a ring of points (degrees, not closed) lies to the area. A ring across the antimeridian is
    /// outside.
    #[must_use]
    pub fn locate(&self, ring: &[LonLat]) -> Lies {
        let Some(area) = &self.area else { return Lies::Inside };
        let Some(polygon) = polygon(ring) else { return Lies::Outside };
        if area.contains(&polygon) {
            Lies::Inside
        } else if area.intersects(&polygon) {
            Lies::Across
        } else {
            Lies::Outside
        }
    }

    /// The tiles that meet the area, sorted by id, each with how its own ground lies.
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
        let mut found = Vec::with_capacity(self.tiles.len());
        for id in &self.tiles {
            let tile = Tile::from_id(id)?;
            let lies = self.locate(&ring(&tile)?);
            found.extend((lies != Lies::Outside).then_some((tile, lies)));
        }
        Ok(found)
    }

    fn search_tiles(&self) -> Result<Vec<(Tile, Lies)>, Error> {
        let Some(rect) = self.area.as_ref().and_then(BoundingRect::bounding_rect) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for (zone, south) in zones_of(rect.min().x, rect.min().y, rect.max().x, rect.max().y) {
            for (tile, ring) in tiles_of_zone(zone, south)? {
                if polygon(&ring).is_some_and(|ring| ring.intersects(&rect)) {
                    let lies = self.locate(&ring);
                    found.extend((lies != Lies::Outside).then_some((tile, lies)));
                }
            }
        }
        Ok(found)
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
    let part = |west: f64, east: f64| Rect::new((west, south), (east, north)).to_polygon();
    MultiPolygon::new(if west < east {
        vec![part(west, east)]
    } else {
        vec![part(west, 180.0), part(-180.0, east)]
    })
}

/// A built-in outline.
///
/// # Errors
/// [`Error::AoiFile`] never happens with the outlines as shipped.
pub fn builtin_area(which: Builtin) -> Result<MultiPolygon<f64>, Error> {
    let (name, text) = match which {
        Builtin::Africa => ("africa", AFRICA),
        Builtin::Europe => ("europe", EUROPE),
    };
    parse_area(Path::new(name), text)
}

/// All polygons of a GeoJSON text (geometry, feature or feature collection); `path` is for messages.
///
/// # Errors
/// [`Error::AoiFile`] if it is no GeoJSON, holds no polygon, or has coordinates that are not degrees.
pub fn parse_area(path: &Path, text: &str) -> Result<MultiPolygon<f64>, Error> {
    let wrong = |reason: String| Error::AoiFile { path: path.to_owned(), reason };
    let json: GeoJson =
        text.parse().map_err(|error: geojson::Error| wrong(format!("not GeoJSON: {error}")))?;
    let geometries: Vec<geojson::Geometry> = match json {
        GeoJson::Geometry(geometry) => vec![geometry],
        GeoJson::Feature(feature) => feature.geometry.into_iter().collect(),
        GeoJson::FeatureCollection(all) => {
            all.features.into_iter().filter_map(|feature| feature.geometry).collect()
        }
    };
    let mut polygons = Vec::new();
    for geometry in geometries {
        let shape = geo::Geometry::<f64>::try_from(geometry)
            .map_err(|error| wrong(format!("not a valid geometry: {error}")))?;
        collect_polygons(shape, &mut polygons);
    }
    let area = MultiPolygon::new(polygons);
    let Some(rect) = area.bounding_rect() else { return Err(wrong("found no polygon".into())) };
    if rect.min().x < -180.0 || rect.max().x > 180.0 || rect.min().y < -90.0 || rect.max().y > 90.0 {
        return Err(wrong(format!(
            "expected degrees, found coordinates from ({}, {}) to ({}, {})",
            rect.min().x,
            rect.min().y,
            rect.max().x,
            rect.max().y
        )));
    }
    Ok(area)
}

fn collect_polygons(shape: geo::Geometry<f64>, into: &mut Vec<Polygon<f64>>) {
    match shape {
        geo::Geometry::Polygon(polygon) => into.push(polygon),
        geo::Geometry::MultiPolygon(polygons) => into.extend(polygons),
        geo::Geometry::GeometryCollection(all) => {
            for shape in all {
                collect_polygons(shape, into);
            }
        }
        _ => {}
    }
}

/// `None` for a ring across the antimeridian.
fn polygon(ring: &[LonLat]) -> Option<Polygon<f64>> {
    let (low, high) =
        ring.iter().fold((f64::MAX, f64::MIN), |(low, high), p| (low.min(p.lon), high.max(p.lon)));
    let points: LineString<f64> = ring.iter().map(|point| (point.lon, point.lat)).collect();
    (high - low < 180.0).then(|| Polygon::new(points, Vec::new()))
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

    #[test]
    fn files_without_polygons_or_degrees_are_refused() {
        let parse = |text: &str| parse_area(Path::new("x.geojson"), text).unwrap_err().to_string();
        assert!(parse("nonsense").contains("x.geojson: not GeoJSON"));
        assert!(parse(r#"{"type":"Point","coordinates":[1,2]}"#).contains("no polygon"));
        let metres = r#"{"type":"Polygon","coordinates":[[[0,0],[500000,0],[500000,9],[0,0]]]}"#;
        assert!(parse(metres).contains("expected degrees"));
    }
}
