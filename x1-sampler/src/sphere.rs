//! Distances on the Earth taken as a sphere.

use minicube::LonLat;

/// Mean radius of the Earth, metres (IUGG).
pub(crate) const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// A place on the unit sphere.
pub(crate) fn on_sphere(place: LonLat) -> [f64; 3] {
    let (lon, lat) = (place.lon.to_radians(), place.lat.to_radians());
    [lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()]
}

/// Length of the straight line under a great-circle arc, on the unit sphere.
pub(crate) fn chord(distance_m: f64) -> f64 {
    2.0 * (distance_m / EARTH_RADIUS_M / 2.0).min(std::f64::consts::FRAC_PI_2).sin()
}

/// Great-circle distance over a straight line of the unit sphere, metres.
pub(crate) fn arc_m(chord: f64) -> f64 {
    2.0 * EARTH_RADIUS_M * (chord / 2.0).min(1.0).asin()
}

/// Length of the straight line between two points.
pub(crate) fn separation(a: &[f64; 3], b: &[f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A degree of the equator is 2πR/360 = 111 195 m.
    #[test]
    fn a_degree_of_the_equator() {
        let (a, b) = (LonLat { lon: 10.0, lat: 0.0 }, LonLat { lon: 11.0, lat: 0.0 });
        let line = separation(&on_sphere(a), &on_sphere(b));
        assert!((arc_m(line) - 111_195.08).abs() < 0.01, "{}", arc_m(line));
        assert!((chord(111_195.08) - line).abs() < 1e-9);
    }
}
