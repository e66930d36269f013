//! Polygons of the globe as polygons of a plain map: longitudes from -180° to 180° without a jump, poles as the upper and
//! lower edge, and no two polygons that share ground.

use geo::orient::Direction;
use geo::{
    BooleanOps, BoundingRect, Coord, LineString, MapCoords, MultiPolygon, Orient, Polygon, Rect, Translate,
    unary_union,
};

/// Checks polygons whose edges are straight in longitude and latitude, cuts what reaches beyond 180°, and joins what
/// touches or overlaps.
///
/// # Errors
/// A reason, if there is no ground in them or coordinates are not degrees: longitudes from -360° to 360°, latitudes from
/// -90° to 90°.
pub(super) fn to_area(polygons: Vec<Polygon<f64>>) -> Result<MultiPolygon<f64>, String> {
    let all = MultiPolygon::new(polygons);
    let rect = all.bounding_rect().ok_or("found no polygon")?;
    let (min, max) = (rect.min(), rect.max());
    if min.x < -360.0 || max.x > 360.0 || min.y < -90.0 || max.y > 90.0 {
        let (min, max) = (min.x_y(), max.x_y());
        return Err(format!("expected degrees, found coordinates from {min:?} to {max:?}"));
    }
    let mut parts: Vec<Polygon<f64>> = all.into_iter().flat_map(within_one_turn).collect();
    if parts.len() > 1 {
        parts = joined(&parts).0;
    }
    if parts.is_empty() {
        return Err("found polygons without ground".to_owned());
    }
    Ok(MultiPolygon::new(parts).orient(Direction::Default))
}

/// Adds whole turns to longitudes, so that none is more than 180° from the one before.
pub(super) fn unwrap(ring: &mut LineString<f64>) {
    let Some(mut last) = ring.0.first().map(|point| point.x) else { return };
    for point in &mut ring.0 {
        point.x += 360.0 * ((last - point.x) / 360.0).round();
        last = point.x;
    }
}

/// A closed ring of the globe, with less than half a turn from point to point, as one of the plain map: without a jump at
/// 180°, along the edge of the map where it goes around a pole, its middle within one turn.
pub(super) fn on_map(mut ring: LineString<f64>) -> LineString<f64> {
    unwrap(&mut ring);
    if let (Some(&first), Some(&last)) = (ring.0.first(), ring.0.last())
        && (last.x - first.x).abs() > 180.0
    {
        let middle = ring.0.iter().map(|point| point.y).sum::<f64>() / ring.0.len() as f64;
        let pole = 90.0_f64.copysign(middle);
        ring.0.extend([Coord { x: last.x, y: pole }, Coord { x: first.x, y: pole }, first]);
    }
    let turns = ring.bounding_rect().map_or(0.0, |rect| (rect.center().x / 360.0).round());
    ring.translate(-360.0 * turns, 0.0)
}

/// The polygon cut at -180° and 180°, and what was beyond moved by a turn.
fn within_one_turn(polygon: Polygon<f64>) -> MultiPolygon<f64> {
    let fits = |ring: &LineString<f64>| ring.0.iter().all(|point| point.x.abs() <= 180.0);
    if fits(polygon.exterior()) && polygon.interiors().iter().all(fits) {
        return MultiPolygon::new(vec![polygon]);
    }
    let (outline, holes) = polygon.into_inner();
    holes.into_iter().fold(cut(outline), |ground, hole| ground.difference(&cut(hole)))
}

fn cut(ring: LineString<f64>) -> MultiPolygon<f64> {
    let ground = Polygon::new(ring, Vec::new());
    let turn = |turn: f64| {
        let window = Rect::new((turn - 180.0, -90.0), (turn + 180.0, 90.0)).to_polygon();
        ground.intersection(&window).translate(-turn, 0.0)
    };
    joined(&[-360.0, 0.0, 360.0].into_iter().flat_map(turn).collect::<Vec<_>>())
}

/// The union. It rounds to about 2 cm, so that what was on the edge of the map is put back there.
fn joined(polygons: &[Polygon<f64>]) -> MultiPolygon<f64> {
    // `unary_union` needs every ring in the same sense.
    let even: Vec<Polygon<f64>> = polygons.iter().map(|polygon| polygon.orient(Direction::Default)).collect();
    unary_union(&even).map_coords(|point| Coord { x: snapped(point.x, 180.0), y: snapped(point.y, 90.0) })
}

fn snapped(value: f64, edge: f64) -> f64 {
    const ROUNDED_DEG: f64 = 1e-6;
    if (value.abs() - edge).abs() < ROUNDED_DEG { edge.copysign(value) } else { value }
}

#[cfg(test)]
mod tests {
    use geo::{Area, Contains, Point, polygon};

    use super::*;

    /// The area in square degrees, and whether places are in it.
    #[track_caller]
    fn check(
        polygons: Vec<Polygon<f64>>,
        square_degrees: f64,
        inside: &[(f64, f64)],
        outside: &[(f64, f64)],
    ) {
        let area = to_area(polygons).unwrap();
        assert!((area.unsigned_area() - square_degrees).abs() < 1e-4, "{}", area.unsigned_area());
        assert!(area.iter().flat_map(|p| p.exterior().0.iter()).all(|point| point.x.abs() <= 180.0));
        for &place in inside {
            assert!(area.contains(&Point::from(place)), "{place:?}");
        }
        for &place in outside {
            assert!(!area.contains(&Point::from(place)), "{place:?}");
        }
    }

    #[test]
    fn what_reaches_beyond_180_is_moved() {
        let fiji =
            polygon![(x: 177.0, y: -19.0), (x: 182.0, y: -19.0), (x: 182.0, y: -16.0), (x: 177.0, y: -16.0)];
        check(vec![fiji.clone()], 15.0, &[(179.5, -17.0), (-178.5, -17.0)], &[(-177.5, -17.0), (0.0, -17.0)]);
        check(vec![fiji.translate(-360.0, 0.0)], 15.0, &[(179.5, -17.0), (-178.5, -17.0)], &[(176.5, -17.0)]);
        let hole = polygon![exterior: [(x: 170.0, y: 0.0), (x: 190.0, y: 0.0), (x: 190.0, y: 10.0), (x: 170.0, y: 10.0)],
            interiors: [[(x: 175.0, y: 2.0), (x: 185.0, y: 2.0), (x: 185.0, y: 8.0), (x: 175.0, y: 8.0)]]];
        check(
            vec![hole],
            200.0 - 60.0,
            &[(171.0, 5.0), (-171.0, 5.0), (-179.0, 1.0)],
            &[(178.0, 5.0), (-178.0, 5.0)],
        );
    }

    #[test]
    fn neighbours_and_overlaps_are_joined() {
        let left = polygon![(x: 0.0, y: 0.0), (x: 1.0, y: 0.0), (x: 1.0, y: 1.0), (x: 0.0, y: 1.0)];
        // The other sense of rotation.
        let right = polygon![(x: 1.0, y: 0.0), (x: 1.0, y: 1.0), (x: 2.0, y: 1.0), (x: 2.0, y: 0.0)];
        let area = to_area(vec![left.clone(), right.clone(), left.translate(0.5, 0.5)]).unwrap();
        assert_eq!(area.0.len(), 1);
        check(
            vec![left.clone(), right, left.translate(0.5, 0.5)],
            2.5,
            &[(1.0, 0.3), (0.7, 0.7)],
            &[(1.7, 1.2)],
        );
    }

    /// A coast around the south pole at 70° S with a lake around the pole at 80° S: 360° × 10°.
    #[test]
    fn rings_around_a_pole_reach_the_edge_of_the_map() {
        let around = |lat: f64, from: i32| -> LineString<f64> {
            on_map(
                (0..=36)
                    .map(|step| (f64::from((from + step * 10 + 180).rem_euclid(360) - 180), lat))
                    .collect(),
            )
        };
        let ice = Polygon::new(around(-70.0, 55), Vec::new());
        check(vec![ice], 360.0 * 20.0, &[(0.0, -75.0), (179.99, -89.0), (-179.99, -71.0)], &[(0.0, -69.0)]);
        let rim = Polygon::new(around(-70.0, 55), vec![around(-80.0, -100)]);
        check(vec![rim], 360.0 * 10.0, &[(-101.0, -75.0), (56.0, -75.0)], &[(-101.0, -85.0), (56.0, -85.0)]);
    }

    #[test]
    fn metres_and_nothing_are_refused() {
        let big = polygon![(x: 0.0, y: 0.0), (x: 400.0, y: 0.0), (x: 0.0, y: 1.0)];
        assert!(to_area(vec![big]).unwrap_err().contains("expected degrees"));
        assert_eq!(to_area(Vec::new()).unwrap_err(), "found no polygon");
    }
}
