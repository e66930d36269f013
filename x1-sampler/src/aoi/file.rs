//! Areas of interest from files and text: GeoJSON, WKT, and whatever else GDAL reads, in any reference system.

use std::fs;
use std::path::Path;

use gdal::Dataset;
use gdal::spatial_ref::{AxisMappingStrategy, CoordTransform, SpatialRef};
use gdal::vector::{Geometry, Layer, LayerAccess};
use geo::{LineString, MultiPolygon, Polygon};
use geojson::GeoJson;

use super::shape::{on_map, to_area};
use crate::{Error, ogr};

/// All polygons of a file, with their holes, as an area in degrees: GeoJSON, WKT (`.wkt`, `.txt`), or whatever else GDAL
/// reads (GeoPackage, Shapefile, FlatGeobuf, KML, …) in any reference system; without one, coordinates must be degrees.
/// `layer` names the layer where there are several.
///
/// # Errors
/// [`Error::AoiFile`] if
/// - the file cannot be read, or has several layers and `layer` names none of them,
/// - it holds no polygon, or a ring of fewer than four points, the first repeated, or with a coordinate that is no
///   number; the feature is named by its number from 1,
/// - coordinates are not degrees and the file names no reference system, or PROJ cannot transform them.
pub fn read_area(path: &Path, layer: Option<&str>) -> Result<MultiPolygon<f64>, Error> {
    let wrong = |reason: String| Error::AoiFile { path: path.to_owned(), reason };
    let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default().to_lowercase();
    let text = || fs::read_to_string(path).map_err(|error| wrong(error.to_string()));
    match kind.as_str() {
        "wkt" | "txt" if layer.is_some() => Err(wrong("WKT has no layers".to_owned())),
        "wkt" | "txt" => from_wkt(&text()?).map_err(wrong),
        "json" | "geojson" if layer.is_none() && !names_crs(&text()?) => parse_area(path, &text()?),
        _ => from_ogr(path, layer).map_err(wrong),
    }
}

/// All polygons of a GeoJSON text (geometry, feature or feature collection) in degrees; `path` is for messages.
///
/// # Errors
/// [`Error::AoiFile`] if it is no GeoJSON, or as [`read_area`].
pub fn parse_area(path: &Path, text: &str) -> Result<MultiPolygon<f64>, Error> {
    from_geojson(text).map_err(|reason| Error::AoiFile { path: path.to_owned(), reason })
}

/// All polygons of a text with POLYGON, MULTIPOLYGON or GEOMETRYCOLLECTION in degrees (longitude, latitude), one or more;
/// `SRID=…;` before one names the EPSG code of another reference system.
///
/// # Errors
/// [`Error::AoiText`] if it is no WKT, or as [`read_area`].
pub fn parse_wkt(text: &str) -> Result<MultiPolygon<f64>, Error> {
    from_wkt(text).map_err(|reason| Error::AoiText { reason })
}

fn from_geojson(text: &str) -> Result<MultiPolygon<f64>, String> {
    let json: GeoJson = text.parse().map_err(|error: geojson::Error| format!("not GeoJSON: {error}"))?;
    let geometries: Vec<Option<geojson::Geometry>> = match json {
        GeoJson::Geometry(geometry) => vec![Some(geometry)],
        GeoJson::Feature(feature) => vec![feature.geometry],
        GeoJson::FeatureCollection(all) => all.features.into_iter().map(|feature| feature.geometry).collect(),
    };
    let mut polygons = Vec::new();
    for (number, geometry) in (1..).zip(geometries) {
        let Some(geometry) = geometry else { continue };
        let shape = geo::Geometry::try_from(geometry);
        let shape = shape.map_err(|error| format!("feature {number}: not a valid geometry: {error}"))?;
        polygons.extend(polygons_of(shape, number)?);
    }
    to_area(polygons)
}

/// Whether a GeoJSON text has the member `crs` of the first edition of the format.
fn names_crs(text: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(text)
        .is_ok_and(|json| json.get("crs").is_some_and(|crs| !crs.is_null()))
}

fn from_wkt(text: &str) -> Result<MultiPolygon<f64>, String> {
    let mut polygons = Vec::new();
    for (number, item) in (1..).zip(wkt_items(text)?) {
        let begins = item.get(..5).is_some_and(|begin| begin.eq_ignore_ascii_case("SRID="));
        let (to_degrees, wkt) = match item.split_once(';').filter(|_| begins) {
            Some((code, wkt)) => {
                let code = code[5..].trim();
                let srs = code.parse().ok().and_then(|code| SpatialRef::from_epsg(code).ok());
                let srs = srs.ok_or_else(|| format!("SRID={code} is not an EPSG code that PROJ knows"))?;
                (ToDegrees::new(srs)?, wkt)
            }
            None => (None, item),
        };
        let geometry = Geometry::from_wkt(wkt).map_err(|_| format!("not WKT: `{}`", beginning(wkt)))?;
        polygons.extend(in_degrees(&geometry, to_degrees.as_ref(), number)?);
    }
    to_area(polygons)
}

/// The geometries of a text, one after the other; separators are blanks, commas and semicolons.
fn wkt_items(text: &str) -> Result<Vec<&str>, String> {
    let blank = |c: char| c.is_whitespace() || c == ',' || c == ';';
    let mut items = Vec::new();
    let (mut depth, mut start) = (0_i32, 0);
    for (place, letter) in text.char_indices() {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        if letter == ')' && depth == 0 {
            items.push(text[start..=place].trim_start_matches(blank));
            start = place + 1;
        }
        if depth < 0 {
            return Err(format!("not WKT: bracket {} closes nothing", items.len()));
        }
    }
    let rest = text[start..].trim_matches(blank);
    match rest {
        "" => Ok(items),
        _ if depth > 0 => Err(format!("not WKT: a bracket is not closed in `{}`", beginning(rest))),
        _ => Err(format!("not WKT: `{}`", beginning(rest))),
    }
}

fn beginning(text: &str) -> String {
    const LETTERS: usize = 40;
    let more = if text.chars().count() > LETTERS { "…" } else { "" };
    text.chars().take(LETTERS).collect::<String>() + more
}

fn from_ogr(path: &Path, layer: Option<&str>) -> Result<MultiPolygon<f64>, String> {
    let dataset = ogr::open(path)?;
    let mut layer = choose(&dataset, layer)?;
    let to_degrees = layer.spatial_ref().map_or(Ok(None), ToDegrees::new)?;
    let mut polygons = Vec::new();
    for (number, feature) in (1..).zip(layer.features()) {
        if let Some(geometry) = feature.geometry() {
            polygons.extend(in_degrees(geometry, to_degrees.as_ref(), number)?);
        }
    }
    to_area(polygons)
}

/// The layer of a name, or the only one; tables without geometry do not count.
fn choose<'a>(dataset: &'a Dataset, name: Option<&str>) -> Result<Layer<'a>, String> {
    let mut layers: Vec<Layer<'a>> =
        dataset.layers().filter(|layer| layer.defn().geom_fields().next().is_some()).collect();
    let names: Vec<String> = layers.iter().map(LayerAccess::name).collect();
    let place = match name {
        Some(name) => names.iter().position(|known| known == name),
        None => (layers.len() == 1).then_some(0),
    };
    match (place, name) {
        (Some(place), _) => Ok(layers.swap_remove(place)),
        (None, _) if names.is_empty() => Err("it has no layer with geometries".to_owned()),
        (None, Some(name)) => Err(format!("it has no layer `{name}`, only {}", names.join(", "))),
        (None, None) => Err(format!("it has {} layers, choose one: {}", names.len(), names.join(", "))),
    }
}

fn in_degrees(
    geometry: &Geometry,
    to_degrees: Option<&ToDegrees>,
    number: usize,
) -> Result<Vec<Polygon<f64>>, String> {
    if geometry.is_empty() {
        return Ok(Vec::new());
    }
    let mut flat = geometry.clone();
    flat.flatten_to_2d();
    let shape = geo::Geometry::try_from(&flat).map_err(|_| {
        format!("feature {number}: a {} cannot be used, make it a polygon", flat.geometry_name())
    })?;
    let polygons = polygons_of(shape, number)?;
    let Some(to_degrees) = to_degrees else { return Ok(polygons) };
    let moved = polygons.iter().map(|polygon| to_degrees.apply(polygon));
    moved.collect::<Result<_, String>>().map_err(|reason| format!("feature {number}: {reason}"))
}

/// The polygons of a geometry; `number` is that of its feature.
fn polygons_of(shape: geo::Geometry<f64>, number: usize) -> Result<Vec<Polygon<f64>>, String> {
    let polygons = match shape {
        geo::Geometry::Polygon(polygon) => vec![polygon],
        geo::Geometry::MultiPolygon(polygons) => polygons.0,
        geo::Geometry::GeometryCollection(all) => {
            return all.into_iter().map(|shape| polygons_of(shape, number)).try_fold(
                Vec::new(),
                |mut polygons, part| {
                    polygons.extend(part?);
                    Ok(polygons)
                },
            );
        }
        _ => Vec::new(),
    };
    let used: Vec<Polygon<f64>> =
        polygons.into_iter().filter(|polygon| !polygon.exterior().0.is_empty()).collect();
    for ring in used.iter().flat_map(|polygon| [polygon.exterior()].into_iter().chain(polygon.interiors())) {
        if ring.0.len() < 4 {
            let points = ring.0.len();
            return Err(format!("feature {number}: expected at least 4 points in a ring, found {points}"));
        }
        if let Some(point) = ring.0.iter().find(|point| !point.x.is_finite() || !point.y.is_finite()) {
            return Err(format!("feature {number}: ({}, {}) is not a place", point.x, point.y));
        }
    }
    Ok(used)
}

/// From a reference system to degrees on WGS 84.
struct ToDegrees {
    transform: CoordTransform,
    /// Edges are bent by the transformation: their points are at most this far apart, in units of the system. About 5 km,
    /// which leaves an error of a few metres, or half a degree.
    step: f64,
}

impl ToDegrees {
    /// `None` where coordinates are degrees on WGS 84 already.
    fn new(source: SpatialRef) -> Result<Option<ToDegrees>, String> {
        let failed = |error: gdal::errors::GdalError| format!("cannot transform to degrees: {error}");
        let mut target = SpatialRef::from_epsg(4326).map_err(failed)?;
        target.set_axis_mapping_strategy(AxisMappingStrategy::TraditionalGisOrder);
        if source == target {
            return Ok(None);
        }
        let step = if source.is_geographic() { 0.5 } else { 5000.0 / source.linear_units() };
        let transform = CoordTransform::new(&source, &target).map_err(failed)?;
        Ok(Some(ToDegrees { transform, step }))
    }

    fn apply(&self, polygon: &Polygon<f64>) -> Result<Polygon<f64>, String> {
        let holes = polygon.interiors().iter().map(|ring| self.ring(ring)).collect::<Result<_, String>>()?;
        Ok(Polygon::new(self.ring(polygon.exterior())?, holes))
    }

    fn ring(&self, ring: &LineString<f64>) -> Result<LineString<f64>, String> {
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for line in ring.lines() {
            let (dx, dy) = (line.dx(), line.dy());
            let steps = (dx.hypot(dy) / self.step).ceil().max(1.0) as usize;
            for step in 0..steps {
                let part = step as f64 / steps as f64;
                x.push(line.start.x + part * dx);
                y.push(line.start.y + part * dy);
            }
        }
        self.transform.transform_coords(&mut x, &mut y, &mut []).map_err(|error| error.to_string())?;
        let mut moved: LineString<f64> = x.into_iter().zip(y).collect();
        if let Some(point) = moved.0.iter().find(|point| !point.x.is_finite() || !point.y.is_finite()) {
            return Err(format!("it lies outside of its reference system: ({}, {})", point.x, point.y));
        }
        moved.close();
        Ok(on_map(moved))
    }
}

#[cfg(test)]
mod tests {
    use geo::{Area, BoundingRect};

    use super::*;

    fn square_degrees(area: &MultiPolygon<f64>) -> f64 {
        (area.unsigned_area() * 1e6).round() / 1e6
    }

    #[test]
    fn wkt_of_several_kinds() {
        let size = |text: &str| square_degrees(&parse_wkt(text).unwrap());
        assert_eq!(size("POLYGON((0 0, 4 0, 4 4, 0 4, 0 0), (1 1, 1 3, 3 3, 3 1, 1 1))"), 12.0);
        assert_eq!(size("SRID=4326; multipolygon(((0 0,1 0,1 1,0 0)),((5 5,6 5,6 6,5 6,5 5)))"), 1.5);
        assert_eq!(size("GEOMETRYCOLLECTION(POINT(9 9), POLYGON Z((0 0 7,1 0 7,1 1 7,0 1 7,0 0 7)))"), 1.0);
        assert_eq!(size("POLYGON((0 0,1 0,1 1,0 1,0 0))\nPOLYGON((2 0,3 0,3 1,2 1,2 0));\n"), 2.0);
        assert_eq!(size("POLYGON((179 0,181 0,181 1,179 1,179 0))"), 2.0);
    }

    /// A square of 100 km around the middle of zone 35 S in UTM; its corners from PROJ.
    #[test]
    fn wkt_in_metres() {
        let text = "SRID=32735;POLYGON((450000 7500000,550000 7500000,550000 7600000,450000 7600000,450000 7500000))";
        let rect = parse_wkt(text).unwrap().bounding_rect().unwrap();
        assert!(
            (rect.min().x - 26.513_511).abs() < 1e-5 && (rect.max().x - 27.486_489).abs() < 1e-5,
            "{rect:?}"
        );
    }

    #[test]
    fn wrong_wkt_is_quoted() {
        let reason = |text: &str| parse_wkt(text).unwrap_err().to_string();
        assert!(reason("").contains("no polygon"));
        assert!(reason("POINT(1 2)").contains("no polygon"));
        assert!(reason("POLYGON((0 0,1 0,1 1,0 0)").contains("not closed"));
        assert!(reason("POLYGON((0 0,1 0,1 1,0 0)))").contains("closes nothing"));
        assert!(reason("POLYGON((0 0,1 0,1 1,0 0)) and more").contains("`and more`"));
        assert!(reason("CIRCLE(0 0)").contains("`CIRCLE(0 0)`"));
        assert!(
            reason("POLYGON((0 0,1 0,1 1,0 0)) POLYGON((0 0,1 0,0 0))")
                .contains("feature 2: expected at least 4")
        );
        assert!(reason("POLYGON((0 0,nan 0,1 1,0 0))").contains("not WKT"));
        assert!(reason("SRID=1;POLYGON((0 0,1 0,1 1,0 0))").contains("SRID=1"));
        assert!(reason("POLYGON((0 0,500000 0,1 1,0 0))").contains("expected degrees"));
    }

    #[test]
    fn geojson_without_polygons_or_degrees_is_refused() {
        let parse = |text: &str| parse_area(Path::new("x.geojson"), text).unwrap_err().to_string();
        assert!(parse("nonsense").contains("x.geojson: not GeoJSON"));
        assert!(parse(r#"{"type":"Point","coordinates":[1,2]}"#).contains("no polygon"));
        let metres = r#"{"type":"Polygon","coordinates":[[[0,0],[500000,0],[500000,9],[0,0]]]}"#;
        assert!(parse(metres).contains("expected degrees"));
        let line = r#"{"type":"Polygon","coordinates":[[[0,0],[1,1],[0,0]]]}"#;
        assert!(parse(line).contains("feature 1: expected at least 4 points in a ring, found 3"));
    }
}
