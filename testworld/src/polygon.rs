//! Do two shapes on the map touch: enough geometry for a STAC search.

use serde_json::Value;

type Point = [f64; 2];

/// The points, lines and outer rings of a GeoJSON geometry, each as a path; a ring ends where it begins.
pub(crate) fn paths(geometry: &Value) -> Result<Vec<Vec<Point>>, String> {
    let kind = geometry["type"].as_str().unwrap_or_default();
    let coordinates = &geometry["coordinates"];
    let wrong = || format!("intersects: the coordinates are not those of a {kind}");
    let list = |value: &Value| value.as_array().cloned().ok_or_else(wrong);
    match kind {
        "Point" => Ok(vec![vec![point(coordinates).ok_or_else(wrong)?]]),
        "MultiPoint" => {
            Ok(line(coordinates).ok_or_else(wrong)?.into_iter().map(|point| vec![point]).collect())
        }
        "LineString" => Ok(vec![line(coordinates).ok_or_else(wrong)?]),
        "Polygon" => Ok(vec![line(&coordinates[0]).ok_or_else(wrong)?]),
        "MultiLineString" => list(coordinates)?.iter().map(|part| line(part).ok_or_else(wrong)).collect(),
        "MultiPolygon" => list(coordinates)?.iter().map(|part| line(&part[0]).ok_or_else(wrong)).collect(),
        "GeometryCollection" => {
            let parts: Result<Vec<_>, _> = list(&geometry["geometries"])?.iter().map(paths).collect();
            Ok(parts?.into_iter().flatten().collect())
        }
        _ => Err(format!("intersects: expected a GeoJSON geometry, found type `{kind}`")),
    }
}

/// Whether a path and a ring share a point.
pub(crate) fn intersect(path: &[Point], ring: &[Point]) -> bool {
    let closed = path.len() > 3 && path.first() == path.last();
    path.iter().any(|&corner| inside(corner, ring))
        || (closed && ring.iter().any(|&corner| inside(corner, path)))
        || path.windows(2).any(|a| ring.windows(2).any(|b| cross(a, b)))
}

fn point(value: &Value) -> Option<Point> {
    Some([value[0].as_f64()?, value[1].as_f64()?])
}

fn line(value: &Value) -> Option<Vec<Point>> {
    value.as_array()?.iter().map(point).collect()
}

/// Even–odd rule.
fn inside([x, y]: Point, ring: &[Point]) -> bool {
    ring.windows(2).filter(|edge| (edge[0][1] > y) != (edge[1][1] > y)).fold(false, |odd, edge| {
        let share = (y - edge[0][1]) / (edge[1][1] - edge[0][1]);
        odd != (x < edge[0][0] + share * (edge[1][0] - edge[0][0]))
    })
}

fn cross(a: &[Point], b: &[Point]) -> bool {
    let side = |p: Point, q: Point, r: Point| {
        let turn = (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]);
        if turn == 0.0 { 0.0 } else { turn.signum() }
    };
    side(a[0], a[1], b[0]) * side(a[0], a[1], b[1]) <= 0.0
        && side(b[0], b[1], a[0]) * side(b[0], b[1], a[1]) < 0.0
        || side(a[0], a[1], b[0]) * side(a[0], a[1], b[1]) < 0.0
            && side(b[0], b[1], a[0]) * side(b[0], b[1], a[1]) <= 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SQUARE: [Point; 5] = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]];

    fn touches(geometry: Value) -> bool {
        paths(&geometry).unwrap().iter().any(|path| intersect(path, &SQUARE))
    }

    #[test]
    fn shapes_within_around_across_and_apart() {
        assert!(touches(json!({"type": "Point", "coordinates": [0.5, 0.5]})));
        assert!(!touches(json!({"type": "Point", "coordinates": [1.5, 0.5]})));
        assert!(touches(json!({"type": "LineString", "coordinates": [[-1, 0.5], [2, 0.6]]})));
        assert!(!touches(json!({"type": "LineString", "coordinates": [[-1, 1.5], [2, 1.6]]})));
        let around =
            json!({"type": "Polygon", "coordinates": [[[-9, -9], [9, -9], [9, 9], [-9, 9], [-9, -9]]]});
        assert!(touches(around));
        let apart = json!({"type": "MultiPolygon", "coordinates": [[[[2, 2], [3, 2], [3, 3], [2, 2]]]]});
        assert!(!touches(apart));
        assert!(paths(&json!({"type": "Circle"})).is_err());
    }
}
