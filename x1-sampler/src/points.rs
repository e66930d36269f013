//! Other people's locations: any table with longitudes and latitudes.

use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use gdal::vector::LayerAccess;
use minicube::LonLat;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::{Error, ogr};

const LON: [&str; 5] = ["lon", "longitude", "lng", "long", "x"];
const LAT: [&str; 4] = ["lat", "latitude", "y", "lat_dd"];
const ID: [&str; 6] = ["id", "mc_id", "cube_id", "location_id", "sample_id", "name"];
const GROUP: [&str; 4] = ["split", "group", "fold", "subset"];

/// Places of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Points {
    /// One a row.
    pub places: Vec<LonLat>,
    /// Names of the rows; their numbers from 1 where the table has none.
    pub ids: Vec<String>,
    /// Name of the column that divides the rows into groups (splits, folds), and the group of each row.
    pub groups: Option<(String, Vec<String>)>,
}

/// Reads a table: Parquet with columns of longitude and latitude, or whatever GDAL reads with such columns (CSV) or with
/// points or polygons (GeoJSON, GeoPackage, …), whose middle counts. Columns are found by their usual names.
///
/// # Errors
/// [`Error::Points`] if the file cannot be read, has no such columns, no rows, or values that are not degrees; the row is
/// named.
pub fn read_points(path: &Path) -> Result<Points, Error> {
    let is_parquet = path.extension().is_some_and(|kind| kind.eq_ignore_ascii_case("parquet"));
    let points = if is_parquet { from_parquet(path) } else { from_ogr(path) };
    let points = points.map_err(|reason| wrong(path, reason))?;
    if points.places.is_empty() {
        return Err(wrong(path, "it has no rows".into()));
    }
    for (row, place) in points.places.iter().enumerate() {
        if !((-180.0..=180.0).contains(&place.lon) && (-90.0..=90.0).contains(&place.lat)) {
            let found = format!("longitude {}, latitude {}", place.lon, place.lat);
            return Err(wrong(path, format!("row {}: expected degrees, found {found}", row + 1)));
        }
    }
    Ok(points)
}

fn wrong(path: &Path, reason: String) -> Error {
    Error::Points { path: path.to_owned(), reason }
}

/// Position of the first column with one of the names.
fn column_of(columns: &[String], names: &[&str]) -> Option<usize> {
    names.iter().find_map(|name| columns.iter().position(|column| column.eq_ignore_ascii_case(name)))
}

fn missing_columns(columns: &[String]) -> String {
    format!("expected columns named like {} and {}, found {}", LON[0], LAT[0], columns.join(", "))
}

fn from_parquet(path: &Path) -> Result<Points, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| error.to_string())?;
    let columns: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    let (Some(lon), Some(lat)) = (column_of(&columns, &LON), column_of(&columns, &LAT)) else {
        return Err(missing_columns(&columns));
    };
    let (id, group) = (column_of(&columns, &ID), column_of(&columns, &GROUP));
    let mut points = Points::default();
    let mut groups = Vec::new();
    for batch in builder.build().map_err(|error| error.to_string())? {
        let batch = batch.map_err(|error| error.to_string())?;
        let as_kind = |index: usize, kind: &DataType| -> Result<ArrayRef, String> {
            cast(batch.column(index), kind).map_err(|error| format!("column {}: {error}", columns[index]))
        };
        let (lons, lats) = (as_kind(lon, &DataType::Float64)?, as_kind(lat, &DataType::Float64)?);
        let (lons, lats) = (lons.as_primitive::<Float64Type>(), lats.as_primitive::<Float64Type>());
        let texts = |index: Option<usize>| index.map(|index| as_kind(index, &DataType::Utf8)).transpose();
        let (ids, group) = (texts(id)?, texts(group)?);
        for row in 0..batch.num_rows() {
            if lons.is_null(row) || lats.is_null(row) {
                return Err(format!("row {}: longitude or latitude is missing", points.places.len() + 1));
            }
            points.places.push(LonLat { lon: lons.value(row), lat: lats.value(row) });
            let text = |array: &Option<ArrayRef>| {
                array.as_ref().map(|array| array.as_string::<i32>().value(row).to_owned())
            };
            points.ids.push(text(&ids).unwrap_or_else(|| points.places.len().to_string()));
            groups.extend(text(&group));
        }
    }
    points.groups = group.map(|index| (columns[index].clone(), groups));
    Ok(points)
}

fn from_ogr(path: &Path) -> Result<Points, String> {
    let dataset = ogr::open(path)?;
    let mut layer = dataset.layer(0).map_err(|error| error.to_string())?;
    let columns: Vec<String> = layer.defn().fields().map(|field| field.name()).collect();
    let (lon, lat) = (column_of(&columns, &LON), column_of(&columns, &LAT));
    let (id, group) = (column_of(&columns, &ID), column_of(&columns, &GROUP));
    let mut points = Points::default();
    let mut groups = Vec::new();
    for feature in layer.features() {
        let row = points.places.len() + 1;
        let text = |index: usize| feature.field_as_string(index).ok().flatten().unwrap_or_default();
        let number = |index: usize| -> Result<f64, String> {
            let found = text(index);
            let wrong =
                || format!("row {row}, column {}: expected a number, found `{found}`", columns[index]);
            found.trim().parse().map_err(|_| wrong())
        };
        let place = match (lon, lat) {
            (Some(lon), Some(lat)) => LonLat { lon: number(lon)?, lat: number(lat)? },
            _ => {
                let geometry = feature.geometry().ok_or_else(|| missing_columns(&columns))?;
                let envelope = geometry.envelope();
                LonLat {
                    lon: f64::midpoint(envelope.MinX, envelope.MaxX),
                    lat: f64::midpoint(envelope.MinY, envelope.MaxY),
                }
            }
        };
        points.places.push(place);
        points.ids.push(id.map(text).filter(|id| !id.is_empty()).unwrap_or_else(|| row.to_string()));
        groups.extend(group.map(text));
    }
    points.groups = group.map(|index| (columns[index].clone(), groups));
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Points, Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        read_points(&path)
    }

    #[test]
    fn a_csv_with_the_usual_names() {
        let points = read("t.csv", "mc_id,Longitude,Latitude,group\na,-63.25,0.5,9\nb,10.5,-3,1\n").unwrap();
        assert_eq!(points.places, [LonLat { lon: -63.25, lat: 0.5 }, LonLat { lon: 10.5, lat: -3.0 }]);
        assert_eq!(points.ids, ["a", "b"]);
        assert_eq!(points.groups, Some(("group".into(), vec!["9".into(), "1".into()])));
    }

    #[test]
    fn polygons_count_by_their_middle() {
        let text = r#"{"type":"FeatureCollection","features":[{"type":"Feature","properties":{},"geometry":
            {"type":"Polygon","coordinates":[[[10,0],[12,0],[12,2],[10,2],[10,0]]]}}]}"#;
        let points = read("t.geojson", text).unwrap();
        assert_eq!(points.places, [LonLat { lon: 11.0, lat: 1.0 }]);
        assert_eq!(points.ids, ["1"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |name: &str, text: &str| read(name, text).unwrap_err().to_string();
        assert!(message("t.csv", "a,b\n1,2\n").contains("found a, b"));
        assert!(message("t.csv", "lon,lat\n1,2\nx,3\n").contains("row 2, column lon"));
        assert!(message("t.csv", "lon,lat\n500000,2\n").contains("row 1: expected degrees"));
        assert!(message("t.csv", "lon,lat\n").contains("no rows"));
        assert!(message("t.parquet", "no").contains("t.parquet"));
        assert!(read_points(Path::new("absent.csv")).unwrap_err().to_string().contains("no such file"));
    }
}
