//! Regions over which forecasts are aggregated: the features of a GeoJSON file, or every cube by itself.

use std::path::Path;

use geo::{Contains, Geometry, MultiPolygon, Point};
use geojson::{Feature, GeoJson};

use crate::error::Error;

/// A named part of the Earth, in degrees (longitude, latitude).
#[derive(Clone, Debug)]
pub(crate) struct Region {
    pub(crate) name: String,
    pub(crate) shape: Geometry<f64>,
}

/// Properties that may name a feature, the first that is there counts.
const NAMES: [&str; 6] = ["name", "NAME", "Name", "id", "ID", "shapeName"];

/// Reads the polygons of a GeoJSON file. A feature is named by its property `name` or `id`, by its own id, or by its
/// number.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::Json`] if it is no GeoJSON or has no polygon.
pub(crate) fn read_regions(path: &Path) -> Result<Vec<Region>, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
    let json: GeoJson =
        text.parse().map_err(|error: geojson::Error| Error::json(path, format!("not GeoJSON: {error}")))?;
    let features = match json {
        GeoJson::FeatureCollection(all) => all.features,
        GeoJson::Feature(feature) => vec![feature],
        GeoJson::Geometry(geometry) => vec![Feature::from(geometry)],
    };
    let mut regions = Vec::new();
    for (number, feature) in (1..).zip(features) {
        let name = name_of(&feature).unwrap_or_else(|| format!("region {number}"));
        let Some(geometry) = feature.geometry else { continue };
        let shape = Geometry::try_from(geometry)
            .map_err(|error| Error::json(path, format!("feature {number}: not a valid geometry: {error}")))?;
        let shape = match shape {
            Geometry::Polygon(polygon) => MultiPolygon::new(vec![polygon]),
            Geometry::MultiPolygon(polygons) => polygons,
            _ => {
                let found = format!("feature {number} ({name}): expected a polygon, found another geometry");
                return Err(Error::json(path, found));
            }
        };
        regions.push(Region { name, shape: Geometry::MultiPolygon(shape) });
    }
    if regions.is_empty() {
        return Err(Error::json(path, "expected polygons, found none"));
    }
    Ok(regions)
}

fn name_of(feature: &Feature) -> Option<String> {
    let named = NAMES.iter().find_map(|key| feature.property(key)).filter(|value| !value.is_null());
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    named.map(text).or_else(|| match feature.id.as_ref()? {
        geojson::feature::Id::String(id) => Some(id.clone()),
        geojson::feature::Id::Number(id) => Some(id.to_string()),
    })
}

/// The regions that a cube's centre is in, by their places in the list.
pub(crate) fn regions_at(regions: &[Region], lon: f64, lat: f64) -> Vec<usize> {
    let point = Point::new(lon, lat);
    let holds = |region: &Region| match &region.shape {
        Geometry::MultiPolygon(polygons) => polygons.contains(&point),
        _ => false,
    };
    (0..regions.len()).filter(|&index| holds(&regions[index])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(west: f64) -> String {
        let east = west + 1.0;
        format!("[[[{west},0],[{east},0],[{east},1],[{west},1],[{west},0]]]")
    }

    #[test]
    fn features_are_named_and_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("regions.geojson");
        let feature = |more: &str, west: f64| {
            format!(
                r#"{{"type":"Feature",{more},"geometry":{{"type":"Polygon","coordinates":{}}}}}"#,
                square(west)
            )
        };
        let features = [
            feature(r#""properties":{"name":"west"}"#, 10.0),
            feature(r#""properties":{},"id":7"#, 11.0),
            feature(r#""properties":null"#, 10.5),
        ];
        let text = format!(r#"{{"type":"FeatureCollection","features":[{}]}}"#, features.join(","));
        std::fs::write(&path, text).unwrap();
        let regions = read_regions(&path).unwrap();
        let names: Vec<&str> = regions.iter().map(|region| region.name.as_str()).collect();
        assert_eq!(names, ["west", "7", "region 3"]);
        assert_eq!(regions_at(&regions, 10.7, 0.5), [0, 2]);
        assert_eq!(regions_at(&regions, 20.0, 0.5), [0usize; 0]);

        std::fs::write(&path, r#"{"type":"Point","coordinates":[1,2]}"#).unwrap();
        let error = read_regions(&path).unwrap_err().to_string();
        assert!(error.contains("regions.geojson") && error.contains("expected a polygon"), "{error}");
    }
}
