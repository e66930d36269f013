//! Files with the tiles of the Sentinel-2 grid: which tiles there are is theirs to say, where they lie is a rule.

use std::collections::BTreeSet;
use std::path::Path;

use arrow::array::{Array, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use gdal::vector::{Feature, LayerAccess};
use minicube::Tile;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::{Error, ogr};

const ID: [&str; 3] = ["tile", "tile_id", "name"];
const EPSG: [&str; 1] = ["epsg"];
const BOUNDS: [&str; 2] = ["utm_bounds", "utm_wkt"];
const DESCRIPTION: [&str; 1] = ["description"];
/// The layer with the tiles in the KML file of the ESA.
const ESA_LAYER: &str = "Features";
const TOLERANCE_M: f64 = 0.001;

/// What a grid file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GridFile {
    /// The tiles, sorted.
    pub ids: BTreeSet<String>,
    /// Of how many the file gives the UTM zone or the extent; they agree with the rule of [`Tile::from_id`].
    pub compared: usize,
}

/// Reads the ids of tiles: from a GeoParquet file or what else GDAL reads (GeoJSON, GeoPackage, Shapefile, the KML file of
/// the ESA). Properties are `tile`, `tile_id` or `name`, and as far as there are, `epsg` and `utm_bounds` or `utm_wkt`; in
/// KML these are in the table of the description.
///
/// # Errors
/// [`Error::GridFile`] if the file cannot be read or has no tiles, if a feature, named by its number from 1, has an id that
/// is no tile, or if the file has tiles in another UTM zone or more than 1 mm away from where the rule has them.
pub fn read(path: &Path) -> Result<GridFile, Error> {
    let is_parquet = path.extension().is_some_and(|kind| kind.eq_ignore_ascii_case("parquet"));
    let rows = if is_parquet { from_parquet(path) } else { from_ogr(path) };
    rows.and_then(|rows| compare(&rows)).map_err(|reason| Error::GridFile { path: path.to_owned(), reason })
}

/// What a file says of one tile.
#[derive(Clone, Debug, Default, PartialEq)]
struct Row {
    id: String,
    epsg: Option<u32>,
    /// West, south, east, north in UTM metres.
    bounds: Option<[f64; 4]>,
}

impl Row {
    /// `number` counts from 1; empty texts say nothing.
    fn new(number: usize, id: &str, epsg: &str, bounds: &str) -> Result<Row, String> {
        let wrong = |what: &str, text: &str| format!("feature {number}: `{text}` is no {what}");
        let epsg = Some(epsg.trim()).filter(|text| !text.is_empty());
        let epsg = epsg.map(|text| text.parse().map_err(|_| wrong("EPSG code", text))).transpose()?;
        let bounds = Some(bounds.trim()).filter(|text| !text.is_empty());
        let bounds = bounds.map(|text| extent(text).ok_or_else(|| wrong("extent", text))).transpose()?;
        Ok(Row { id: id.trim().to_owned(), epsg, bounds })
    }

    /// In what the row differs from the rule.
    fn difference(&self, tile: &Tile) -> Option<String> {
        let Row { id, .. } = self;
        if let Some(epsg) = self.epsg.filter(|&epsg| epsg != tile.epsg.0) {
            return Some(format!("{id} in EPSG:{epsg}, expected EPSG:{}", tile.epsg.0));
        }
        let bounds = tile.bounds();
        let expected = [bounds.x_min, bounds.y_min, bounds.x_max, bounds.y_max];
        let found = self.bounds?;
        let same =
            found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() <= TOLERANCE_M);
        (!same).then(|| format!("{id} at {found:?}, expected {expected:?}"))
    }
}

fn compare(rows: &[Row]) -> Result<GridFile, String> {
    const SHOWN: usize = 3;
    let mut ids = BTreeSet::new();
    let mut differences = Vec::new();
    for (number, row) in (1..).zip(rows) {
        let tile = Tile::from_id(&row.id).map_err(|error| format!("feature {number}: {error}"))?;
        differences.extend(row.difference(&tile));
        ids.insert(tile.id);
    }
    if !differences.is_empty() {
        let more = if differences.len() > SHOWN { "; …" } else { "" };
        return Err(format!(
            "{} of {} tiles are not where the MGRS rule has them: {}{more}",
            differences.len(),
            rows.len(),
            differences[..differences.len().min(SHOWN)].join("; ")
        ));
    }
    if ids.is_empty() {
        return Err("it has no tiles".to_owned());
    }
    let compared = rows.iter().filter(|row| row.epsg.is_some() || row.bounds.is_some()).count();
    Ok(GridFile { ids, compared })
}

/// The extent in `(west, south, east, north)` or in the points of a WKT polygon.
fn extent(text: &str) -> Option<[f64; 4]> {
    let words = text.split(|letter: char| !letter.is_ascii_digit() && !".-+eE".contains(letter));
    let numbers: Vec<f64> = words.filter_map(|word| word.parse().ok()).collect();
    if let [west, south, east, north] = numbers[..] {
        return Some([west, south, east, north]);
    }
    if numbers.len() < 6 || !numbers.len().is_multiple_of(2) {
        return None;
    }
    let of =
        |first: usize, best: fn(f64, f64) -> f64| numbers.iter().skip(first).step_by(2).copied().reduce(best);
    Some([of(0, f64::min)?, of(1, f64::min)?, of(0, f64::max)?, of(1, f64::max)?])
}

fn column_of(columns: &[String], names: &[&str]) -> Option<usize> {
    names.iter().find_map(|name| columns.iter().position(|column| column.eq_ignore_ascii_case(name)))
}

fn missing_id(columns: &[String]) -> String {
    format!("expected a property {}, found {}", ID.join(" or "), columns.join(", "))
}

fn from_parquet(path: &Path) -> Result<Vec<Row>, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| error.to_string())?;
    let columns: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    let id = column_of(&columns, &ID).ok_or_else(|| missing_id(&columns))?;
    let (epsg, bounds) = (column_of(&columns, &EPSG), column_of(&columns, &BOUNDS));
    let mut rows = Vec::new();
    for batch in builder.build().map_err(|error| error.to_string())? {
        let batch = batch.map_err(|error| error.to_string())?;
        let texts = |index: usize| -> Result<StringArray, String> {
            let texts = cast(batch.column(index), &DataType::Utf8);
            Ok(texts
                .map_err(|error| format!("column {}: {error}", columns[index]))?
                .as_string::<i32>()
                .clone())
        };
        let ids = texts(id)?;
        let (epsg, bounds) = (epsg.map(texts).transpose()?, bounds.map(texts).transpose()?);
        let text = |array: &Option<StringArray>, row: usize| match array {
            Some(array) if !array.is_null(row) => array.value(row).to_owned(),
            _ => String::new(),
        };
        for row in 0..batch.num_rows() {
            rows.push(Row::new(rows.len() + 1, ids.value(row), &text(&epsg, row), &text(&bounds, row))?);
        }
    }
    Ok(rows)
}

fn from_ogr(path: &Path) -> Result<Vec<Row>, String> {
    let dataset = ogr::open(path)?;
    let is_esa = dataset.layers().any(|layer| layer.name() == ESA_LAYER);
    let mut rows = Vec::new();
    let mut without = Vec::new();
    for mut layer in dataset.layers().filter(|layer| !is_esa || layer.name() == ESA_LAYER) {
        let columns: Vec<String> = layer.defn().fields().map(|field| field.name()).collect();
        let Some(id) = column_of(&columns, &ID) else {
            without.extend(columns);
            continue;
        };
        let [epsg, bounds, description] =
            [&EPSG[..], &BOUNDS[..], &DESCRIPTION[..]].map(|names| column_of(&columns, names));
        for feature in layer.features() {
            let table = text(&feature, description);
            let of = |column: Option<usize>, label: &str| match column {
                Some(_) => text(&feature, column),
                None => entry(&table, label).to_owned(),
            };
            let (epsg, bounds) = (of(epsg, "EPSG"), of(bounds, "UTM_WKT"));
            rows.push(Row::new(rows.len() + 1, &text(&feature, Some(id)), &epsg, &bounds)?);
        }
    }
    if rows.is_empty() && !without.is_empty() {
        return Err(missing_id(&without));
    }
    Ok(rows)
}

fn text(feature: &Feature, column: Option<usize>) -> String {
    column.and_then(|column| feature.field_as_string(column).ok().flatten()).unwrap_or_default()
}

/// What stands after a label in the table of a description in HTML; empty without the label.
fn entry<'a>(html: &'a str, label: &str) -> &'a str {
    let texts = html.split('<').filter_map(|piece| piece.split_once('>')).map(|(_, text)| text.trim());
    texts.filter(|text| !text.is_empty()).skip_while(|&text| text != label).nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(name: &str, text: &str) -> Result<GridFile, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        read(&path).map_err(|error| error.to_string())
    }

    /// A KML file as the ESA writes it, with the tiles that are asked for.
    fn kml(tiles: &[(&str, &str, &str)]) -> String {
        let cell = |text: &str| format!("<td><font COLOR=\"#008000\">{text}</font></td>");
        let line =
            |label: &str, text: &str| format!("<tr bgcolor=\"#E3E3F3\">{}{}</tr>", cell(label), cell(text));
        let marks = tiles.iter().map(|(id, epsg, points)| {
            let table = ["<table border=0><tr><td><b>TILE PROPERTIES</b></td></tr>".to_owned(), line("TILE_ID", id),
                line("EPSG", epsg), line("MGRS_REF", "MULTIPOLYGON(((9 5,7 5,7 6,9 5)))"),
                line("UTM_WKT", &format!("MULTIPOLYGON((({points})))")), "</table>".to_owned()].concat();
            format!("<Placemark><name>{id}</name><description><![CDATA[{table}]]></description>
                <MultiGeometry><Polygon><outerBoundaryIs><LinearRing><coordinates>26,-22,0 27,-22,0 27,-23,0 26,-22,0
                </coordinates></LinearRing></outerBoundaryIs></Polygon><Point><coordinates>26,-22,0</coordinates></Point>
                </MultiGeometry></Placemark>")
        });
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><kml xmlns=\"http://www.opengis.net/kml/2.2\"><Document>
            <Folder><name>Features</name>{}</Folder></Document></kml>", marks.collect::<String>())
    }

    const KMQ: &str = "399960 7500040,509760 7500040,509760 7390240,399960 7390240,399960 7500040";
    const UNA: &str = "499980 5600040,609780 5600040,609780 5490240,499980 5490240,499980 5600040";

    #[test]
    fn the_esa_file_is_read_and_compared() {
        let grid = read_text("grid.kml", &kml(&[("35KMQ", "32735", KMQ), ("32UNA", "32632", UNA)])).unwrap();
        assert_eq!(grid.ids.into_iter().collect::<Vec<_>>(), ["32UNA", "35KMQ"]);
        assert_eq!(grid.compared, 2);
    }

    #[test]
    fn what_differs_from_the_rule_is_an_error() {
        let zone =
            read_text("grid.kml", &kml(&[("35KMQ", "32734", KMQ), ("32UNA", "32632", UNA)])).unwrap_err();
        assert!(
            zone.contains("1 of 2 tiles") && zone.contains("35KMQ in EPSG:32734, expected EPSG:32735"),
            "{zone}"
        );
        let moved = KMQ.replace("399960", "399960.002");
        let place = read_text("grid.kml", &kml(&[("35KMQ", "32735", &moved)])).unwrap_err();
        assert!(place.contains("35KMQ at [399960.002, 7390240.0"), "{place}");
        let near = KMQ.replace("399960", "399960.0005");
        assert!(read_text("grid.kml", &kml(&[("35KMQ", "32735", &near)])).is_ok());
    }

    #[test]
    fn any_file_with_ids_will_do() {
        let point = |properties: &str| {
            format!(
                r#"{{"type":"Feature","properties":{{{properties}}},"geometry":{{"type":"Point","coordinates":[0,0]}}}}"#
            )
        };
        let file = |features: &[String]| {
            let all = format!(r#"{{"type":"FeatureCollection","features":[{}]}}"#, features.join(","));
            read_text("grid.geojson", &all)
        };
        let plain = file(&[point(r#""Name":"35KMQ""#), point(r#""Name":"01KAB""#)]).unwrap();
        assert_eq!((plain.ids.len(), plain.compared), (2, 0));
        let bounds =
            r#""tile":"35KMQ","epsg":32735,"utm_bounds":"(399960.0, 7390240.0, 509760.0, 7500040.0)""#;
        assert_eq!(file(&[point(bounds)]).unwrap().compared, 1);
        let wrong = file(&[point(r#""Name":"35KMQ""#), point(r#""Name":"Paris""#)]).unwrap_err();
        assert!(wrong.contains("feature 2") && wrong.contains("Paris"), "{wrong}");
        let none = file(&[point(r#""city":"Paris""#)]).unwrap_err();
        assert!(none.contains("tile or tile_id or name, found city"), "{none}");
        assert!(file(&[]).is_err());
    }

    #[test]
    fn extents_of_both_kinds() {
        assert_eq!(extent("(1.5, -2e3, 3, 4)"), Some([1.5, -2000.0, 3.0, 4.0]));
        assert_eq!(extent("POLYGON ((0 5, 2 5, 2 7, 0 7, 0 5))"), Some([0.0, 5.0, 2.0, 7.0]));
        assert_eq!(extent("POLYGON EMPTY"), None);
    }
}
