//! The geometry column of GeoParquet 1.1 (<https://geoparquet.org/releases/v1.1.0/>) and the key that describes it.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray};
use geo::orient::{Direction, Orient};
use geo::{BoundingRect, Geometry, Rect};
use serde_json::{Value, json};

/// A column `geometry` of shapes in degrees (longitude, latitude) as WKB, outer rings counterclockwise, and what belongs
/// in the file's key `geo`.
///
/// # Errors
/// What the WKB writer says.
pub fn geo_column(shapes: &[Geometry<f64>]) -> Result<(ArrayRef, Value), String> {
    let encoded = shapes.iter().map(wkb).collect::<Result<Vec<Vec<u8>>, String>>()?;
    let kinds: BTreeSet<&str> = shapes.iter().map(kind).collect();
    let mut column = json!({"encoding": "WKB", "geometry_types": kinds, "orientation": "counterclockwise"});
    if let Some(all) = shapes.iter().filter_map(BoundingRect::bounding_rect).reduce(both) {
        column["bbox"] = json!([all.min().x, all.min().y, all.max().x, all.max().y]);
    }
    let key = json!({"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}});
    Ok((Arc::new(BinaryArray::from_iter_values(&encoded)), key))
}

fn wkb(shape: &Geometry<f64>) -> Result<Vec<u8>, String> {
    let oriented = match shape {
        Geometry::Polygon(polygon) => Geometry::Polygon(polygon.orient(Direction::Default)),
        Geometry::MultiPolygon(polygons) => Geometry::MultiPolygon(polygons.orient(Direction::Default)),
        other => other.clone(),
    };
    let mut bytes = Vec::new();
    wkb::writer::write_geometry(&mut bytes, &oriented, &wkb::writer::WriteOptions::default())
        .map_err(|error| format!("geometry: {error}"))?;
    Ok(bytes)
}

fn kind(shape: &Geometry<f64>) -> &'static str {
    match shape {
        Geometry::Point(_) => "Point",
        Geometry::Line(_) | Geometry::LineString(_) => "LineString",
        Geometry::Polygon(_) | Geometry::Rect(_) | Geometry::Triangle(_) => "Polygon",
        Geometry::MultiPoint(_) => "MultiPoint",
        Geometry::MultiLineString(_) => "MultiLineString",
        Geometry::MultiPolygon(_) => "MultiPolygon",
        Geometry::GeometryCollection(_) => "GeometryCollection",
    }
}

fn both(a: Rect<f64>, b: Rect<f64>) -> Rect<f64> {
    let (low, high) = ((a.min(), b.min()), (a.max(), b.max()));
    Rect::new((low.0.x.min(low.1.x), low.0.y.min(low.1.y)), (high.0.x.max(high.1.x), high.0.y.max(high.1.y)))
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use geo::{Point, polygon};

    use super::*;

    /// A clockwise triangle and a point: the triangle is turned round; WKB by hand.
    #[test]
    fn rings_are_counterclockwise_and_the_key_says_what_there_is() {
        let triangle = polygon![(x: 0.0, y: 0.0), (x: 0.0, y: 2.0), (x: 3.0, y: 0.0), (x: 0.0, y: 0.0)];
        let shapes = [Geometry::Polygon(triangle), Geometry::Point(Point::new(-1.0, 5.0))];
        let (column, key) = geo_column(&shapes).unwrap();
        let mut expected = vec![1, 3, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0];
        for number in [0.0, 0.0, 3.0, 0.0, 0.0, 2.0, 0.0, 0.0f64] {
            expected.extend(number.to_le_bytes());
        }
        assert_eq!(column.as_binary::<i32>().value(0), expected);
        let column = &key["columns"]["geometry"];
        assert_eq!(column["geometry_types"], json!(["Point", "Polygon"]));
        assert_eq!(column["bbox"], json!([-1.0, 0.0, 3.0, 5.0]));
    }
}
