//! The location table as GeoParquet 1.1.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Float64Type, Int32Type, Int64Type, Schema};
use geo::{Coord, Geometry, LineString, Polygon};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value, json};

use super::{Location, LocationTable};
use crate::{Bounds, CellGrid, Epsg, Error, LonLat, SCHEMA_VERSION, geo_column, write_table};

const FIXED: [&str; 15] = [
    "id", "tile", "epsg", "row", "col", "x_min", "y_min", "x_max", "y_max", "lon", "lat", "weight", "split",
    "seed", "geometry",
];

/// The optional column of cross-validation folds.
const FOLD: &str = "fold";

impl LocationTable {
    /// Writes `locations.parquet`, whole or not at all. The bytes depend on the content only.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Table`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let shapes: Vec<Geometry<f64>> = self.locations.iter().map(|l| polygon(&l.polygon)).collect();
        let geo = geo_column(&shapes).and_then(|(column, key)| Ok((to_batch(self, column)?, key)));
        let (batch, geo) = geo.map_err(|reason| Error::table(path, reason))?;
        let keys = [("geo", geo), ("minicube", own_metadata(self))];
        write_table(path, &batch.schema(), &keys, [Ok(batch)])
    }

    /// Reads a table.
    ///
    /// # Errors
    /// - [`Error::Io`] if the file cannot be opened,
    /// - [`Error::Schema`] if it is no location table of this version,
    /// - [`Error::Table`] naming the column that is missing or of another type.
    pub fn read(path: &Path) -> Result<LocationTable, Error> {
        let file = File::open(path).map_err(Error::io(path, "read"))?;
        let builder =
            ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| Error::table(path, error))?;
        let own = builder
            .metadata()
            .file_metadata()
            .key_value_metadata()
            .into_iter()
            .flatten()
            .find(|entry| entry.key == "minicube")
            .and_then(|entry| entry.value.as_deref())
            .and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok())
            .unwrap_or_default();
        let found = format!(
            "schema {} version {}",
            own.get("minicube_schema").and_then(Value::as_str).unwrap_or("nothing"),
            own.get("schema_version").cloned().unwrap_or_default()
        );
        let expected = format!("schema locations version {SCHEMA_VERSION}");
        if found != expected {
            return Err(Error::Schema { path: path.to_owned(), expected, found });
        }
        let number = |key: &str| own.get(key).and_then(Value::as_f64);
        let default = CellGrid::default();
        let grid = CellGrid {
            size_px: number("size_px").map_or(default.size_px, |size| size as usize),
            resolution_m: number("resolution_m").unwrap_or(default.resolution_m),
        };
        let mut locations = Vec::new();
        for batch in builder.build().map_err(|error| Error::table(path, error))? {
            let batch = batch.map_err(|error| Error::table(path, error))?;
            from_batch(&batch, &mut locations).map_err(|reason| Error::table(path, reason))?;
        }
        let meta = own
            .into_iter()
            .filter(|(key, _)| {
                !["minicube_schema", "schema_version", "size_px", "resolution_m", "strata"]
                    .contains(&key.as_str())
            })
            .collect();
        Ok(LocationTable { locations, grid, meta })
    }
}

fn own_metadata(table: &LocationTable) -> Value {
    let mut own = json!({
        "minicube_schema": "locations",
        "schema_version": SCHEMA_VERSION,
        "size_px": table.grid.size_px,
        "resolution_m": table.grid.resolution_m,
        "strata": table.strata(),
    });
    for (key, value) in &table.meta {
        own[key] = value.clone();
    }
    own
}

fn to_batch(table: &LocationTable, geometry: ArrayRef) -> Result<RecordBatch, String> {
    let rows = &table.locations;
    let text = |get: &dyn Fn(&Location) -> String| -> ArrayRef {
        Arc::new(rows.iter().map(|l| Some(get(l))).collect::<StringArray>())
    };
    let float = |get: &dyn Fn(&Location) -> f64| -> ArrayRef {
        Arc::new(rows.iter().map(get).collect::<Float64Array>())
    };
    let int = |get: &dyn Fn(&Location) -> usize| -> Result<ArrayRef, String> {
        let values: Result<Vec<i32>, _> = rows.iter().map(|l| i32::try_from(get(l))).collect();
        Ok(Arc::new(Int32Array::from(values.map_err(|error| error.to_string())?)))
    };
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("id".into(), text(&|l| l.id.clone())),
        ("tile".into(), text(&|l| l.tile.clone())),
        ("epsg".into(), int(&|l| l.epsg.0 as usize)?),
        ("row".into(), int(&|l| l.row)?),
        ("col".into(), int(&|l| l.col)?),
        ("x_min".into(), float(&|l| l.bounds.x_min)),
        ("y_min".into(), float(&|l| l.bounds.y_min)),
        ("x_max".into(), float(&|l| l.bounds.x_max)),
        ("y_max".into(), float(&|l| l.bounds.y_max)),
        ("lon".into(), float(&|l| l.lon)),
        ("lat".into(), float(&|l| l.lat)),
    ];
    for stratum in table.strata() {
        let column: StringArray = rows.iter().map(|l| l.strata.get(&stratum).cloned()).collect();
        columns.push((stratum, Arc::new(column)));
    }
    for attribute in table.attributes() {
        let column: Float64Array = rows.iter().map(|l| l.attributes.get(&attribute).copied()).collect();
        columns.push((attribute, Arc::new(column)));
    }
    if rows.iter().any(|l| l.fold.is_some()) {
        let column: Int32Array =
            rows.iter().map(|l| l.fold.and_then(|fold| i32::try_from(fold).ok())).collect();
        columns.push((FOLD.into(), Arc::new(column)));
    }
    columns.extend([
        ("weight".into(), float(&|l| l.weight)),
        ("split".into(), text(&|l| l.split.to_string())),
        ("seed".into(), Arc::new(rows.iter().map(|l| l.seed).collect::<Int64Array>()) as ArrayRef),
        ("geometry".into(), geometry),
    ]);
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(name, array.data_type().clone(), !FIXED.contains(&name.as_str())))
        .collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|error| error.to_string())
}

fn polygon(ring: &[LonLat]) -> Geometry<f64> {
    let line: LineString<f64> = ring.iter().map(|p| Coord { x: p.lon, y: p.lat }).collect();
    Geometry::Polygon(Polygon::new(line, Vec::new()))
}

fn ring_of(bytes: &[u8]) -> Result<Vec<LonLat>, String> {
    use geo::CoordsIter;
    use wkb::reader::Wkb;
    let wkb = Wkb::try_new(bytes).map_err(|error| error.to_string())?;
    match geo_traits::to_geo::ToGeoGeometry::try_to_geometry(&wkb) {
        Some(Geometry::Polygon(polygon)) => {
            Ok(polygon.exterior().coords_iter().map(|c| LonLat { lon: c.x, lat: c.y }).collect())
        }
        _ => Err("column geometry: expected a polygon".into()),
    }
}

fn from_batch(batch: &RecordBatch, into: &mut Vec<Location>) -> Result<(), String> {
    let column = |name: &str, kind: &DataType| -> Result<&ArrayRef, String> {
        let column = batch.column_by_name(name).ok_or_else(|| format!("column {name} is missing"))?;
        if column.data_type() != kind {
            return Err(format!("column {name}: expected {kind}, found {}", column.data_type()));
        }
        if column.null_count() > 0 && FIXED.contains(&name) {
            return Err(format!("column {name}: {} values are missing", column.null_count()));
        }
        Ok(column)
    };
    let text = |name: &str| column(name, &DataType::Utf8).map(|c| c.as_string::<i32>());
    let float = |name: &str| column(name, &DataType::Float64).map(|c| c.as_primitive::<Float64Type>());
    let int = |name: &str| column(name, &DataType::Int32).map(|c| c.as_primitive::<Int32Type>());
    let (id, tile, split) = (text("id")?, text("tile")?, text("split")?);
    let (epsg, row, col) = (int("epsg")?, int("row")?, int("col")?);
    let (x_min, y_min, x_max, y_max) = (float("x_min")?, float("y_min")?, float("x_max")?, float("y_max")?);
    let (lon, lat, weight) = (float("lon")?, float("lat")?, float("weight")?);
    let seed = column("seed", &DataType::Int64)?.as_primitive::<Int64Type>();
    let geometry = column("geometry", &DataType::Binary)?.as_binary::<i32>();
    let schema = batch.schema();
    let (mut strata, mut attributes) = (Vec::new(), Vec::new());
    let free = |name: &str| !FIXED.contains(&name) && name != FOLD;
    for field in schema.fields().iter().filter(|field| free(field.name())) {
        match field.data_type() {
            DataType::Utf8 => strata.push((field.name(), text(field.name())?)),
            DataType::Float64 => attributes.push((field.name(), float(field.name())?)),
            other => {
                return Err(format!("column {}: expected Utf8 or Float64, found {other}", field.name()));
            }
        }
    }
    let fold = if schema.column_with_name(FOLD).is_some() { Some(int(FOLD)?) } else { None };
    for i in 0..batch.num_rows() {
        let unsigned = |name: &str, value: i32| {
            usize::try_from(value).map_err(|_| format!("column {name}: expected 0 or more, found {value}"))
        };
        let classes = strata.iter().filter(|(_, column)| column.is_valid(i));
        let numbers = attributes.iter().filter(|(_, column)| column.is_valid(i));
        let fold = fold.filter(|column| column.is_valid(i)).map(|column| unsigned(FOLD, column.value(i)));
        into.push(Location {
            id: id.value(i).to_owned(),
            tile: tile.value(i).to_owned(),
            epsg: Epsg(u32::try_from(epsg.value(i)).map_err(|error| format!("column epsg: {error}"))?),
            row: unsigned("row", row.value(i))?,
            col: unsigned("col", col.value(i))?,
            bounds: Bounds {
                x_min: x_min.value(i),
                y_min: y_min.value(i),
                x_max: x_max.value(i),
                y_max: y_max.value(i),
            },
            lon: lon.value(i),
            lat: lat.value(i),
            strata: classes.map(|(name, column)| ((*name).clone(), column.value(i).to_owned())).collect(),
            attributes: numbers.map(|(name, column)| ((*name).clone(), column.value(i))).collect(),
            fold: fold.transpose()?.map(|fold| fold as u32),
            weight: weight.value(i),
            split: split.value(i).parse().map_err(|error| format!("column split: {error}"))?,
            seed: seed.value(i),
            polygon: ring_of(geometry.value(i))?,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Split, Tile, location_id};

    fn table() -> LocationTable {
        let tile = Tile::from_id("35KMQ").unwrap();
        let grid = CellGrid::default();
        let locations = (0..3)
            .map(|col| Location {
                id: location_id("35KMQ", 17, col),
                tile: "35KMQ".into(),
                epsg: tile.epsg,
                row: 17,
                col,
                bounds: grid.cell_bounds(&tile, 17, col),
                lon: 26.5 + col as f64,
                lat: -20.25,
                strata: BTreeMap::from([("climate".into(), "BSh".into())]),
                attributes: BTreeMap::from([("elevation_m".into(), 912.5)]),
                fold: (col > 0).then_some(col as u32),
                weight: 1.0,
                split: Split::ALL[col],
                seed: -5,
                polygon: [(26.0, -21.0), (27.0, -21.0), (27.0, -20.0), (26.0, -21.0)]
                    .map(|(lon, lat)| LonLat { lon, lat })
                    .to_vec(),
            })
            .collect();
        let meta = json!({"config_hash": "abc"}).as_object().unwrap().clone();
        LocationTable { locations, grid, meta }
    }

    #[test]
    fn a_table_survives_the_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("1.parquet"), dir.path().join("2.parquet"));
        table().write(&one).unwrap();
        let read = LocationTable::read(&one).unwrap();
        assert_eq!(read, table());
        read.write(&two).unwrap();
        assert_eq!(std::fs::read(one).unwrap(), std::fs::read(two).unwrap(), "same content, same bytes");
    }

    #[test]
    fn another_table_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.parquet");
        std::fs::write(&path, b"PAR1 not really").unwrap();
        assert!(matches!(LocationTable::read(&path), Err(Error::Table { .. })));
        assert!(matches!(LocationTable::read(&dir.path().join("no")), Err(Error::Io { .. })));
    }
}
