//! The location table for people and for GIS: CSV and GeoJSON.

use std::path::Path;

use serde_json::{Value, json};

use super::{Location, LocationTable};
use crate::{Error, write_atomic};

impl LocationTable {
    /// Writes a CSV with a header line; no geometry.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_csv(&self, path: &Path) -> Result<(), Error> {
        let (strata, attributes) = (self.strata(), self.attributes());
        let folds = self.locations.iter().any(|location| location.fold.is_some());
        let mut text = String::from("id,tile,epsg,row,col,x_min,y_min,x_max,y_max,lon,lat");
        for name in strata.iter().chain(&attributes) {
            text.push(',');
            text.push_str(&quoted(name));
        }
        text.push_str(if folds { ",fold,weight,split,seed\n" } else { ",weight,split,seed\n" });
        for l in &self.locations {
            let b = &l.bounds;
            text.push_str(&format!(
                "{},{},{},{},{},{},{},{},{},{},{}",
                l.id, l.tile, l.epsg.0, l.row, l.col, b.x_min, b.y_min, b.x_max, b.y_max, l.lon, l.lat
            ));
            for name in &strata {
                text.push(',');
                text.push_str(&quoted(l.strata.get(name).map_or("", String::as_str)));
            }
            for name in &attributes {
                let number = l.attributes.get(name).map(f64::to_string).unwrap_or_default();
                text.push_str(&format!(",{number}"));
            }
            if folds {
                text.push_str(&format!(",{}", l.fold.map(|fold| fold.to_string()).unwrap_or_default()));
            }
            text.push_str(&format!(",{},{},{}\n", l.weight, l.split, l.seed));
        }
        write_atomic(path, text.as_bytes())
    }

    /// Writes a GeoJSON feature collection (RFC 7946) of the cell outlines.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_geojson(&self, path: &Path) -> Result<(), Error> {
        let features: Vec<Value> = self.locations.iter().map(feature).collect();
        let collection = json!({"type": "FeatureCollection", "features": features});
        write_atomic(path, format!("{collection}\n").as_bytes())
    }
}

fn feature(l: &Location) -> Value {
    let ring: Vec<[f64; 2]> = l.polygon.iter().map(|p| [p.lon, p.lat]).collect();
    let mut properties = json!({
        "tile": l.tile, "epsg": l.epsg.0, "row": l.row, "col": l.col, "lon": l.lon, "lat": l.lat,
        "weight": l.weight, "split": l.split.name(), "seed": l.seed,
    });
    for (name, class) in &l.strata {
        properties[name] = json!(class);
    }
    for (name, number) in &l.attributes {
        properties[name] = json!(number);
    }
    if let Some(fold) = l.fold {
        properties["fold"] = json!(fold);
    }
    json!({
        "type": "Feature", "id": l.id, "properties": properties,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    })
}

fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}
