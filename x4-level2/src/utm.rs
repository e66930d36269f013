//! Longitude and latitude to UTM and back, by Krüger's series.
//!
//! Karney 2011, <https://doi.org/10.1007/s00190-011-0445-3>, to fourth order: within 0.1 mm in the zone and its
//! neighbours. Enough for labels of imported cubes, and it spares this crate a projection library.

use minicube::{Epsg, LonLat, XY};

const SEMI_MAJOR_M: f64 = 6_378_137.0;
const FLATTENING: f64 = 1.0 / 298.257_223_563;
const SCALE: f64 = 0.9996;
const FALSE_EASTING_M: f64 = 500_000.0;
const FALSE_NORTHING_M: f64 = 10_000_000.0;
const N: f64 = FLATTENING / (2.0 - FLATTENING);

const FORWARD: [f64; 4] = [
    N / 2.0 - 2.0 * N * N / 3.0 + 5.0 * N * N * N / 16.0 + 41.0 * N * N * N * N / 180.0,
    13.0 * N * N / 48.0 - 3.0 * N * N * N / 5.0 + 557.0 * N * N * N * N / 1440.0,
    61.0 * N * N * N / 240.0 - 103.0 * N * N * N * N / 140.0,
    49_561.0 * N * N * N * N / 161_280.0,
];
const INVERSE: [f64; 4] = [
    N / 2.0 - 2.0 * N * N / 3.0 + 37.0 * N * N * N / 96.0 - N * N * N * N / 360.0,
    N * N / 48.0 + N * N * N / 15.0 - 437.0 * N * N * N * N / 1440.0,
    17.0 * N * N * N / 480.0 - 37.0 * N * N * N * N / 840.0,
    4397.0 * N * N * N * N / 161_280.0,
];

/// The zone that a point lies in, by longitude and hemisphere alone (no exceptions for Norway and Svalbard).
#[must_use]
pub(crate) fn zone_of(point: LonLat) -> Epsg {
    let zone = ((point.lon + 180.0) / 6.0).floor().rem_euclid(60.0) as u8 + 1;
    Epsg::utm(zone, point.lat < 0.0)
}

/// Easting and northing of a point; `None` if `epsg` is no UTM zone.
#[must_use]
pub(crate) fn to_utm(point: LonLat, epsg: Epsg) -> Option<XY> {
    let (meridian, false_northing) = zone(epsg)?;
    let east = (point.lon - meridian).to_radians();
    let tau = conformal(point.lat.to_radians().tan());
    let xi = tau.atan2(east.cos());
    let eta = (east.sin() / tau.hypot(east.cos())).asinh();
    let (xi, eta) = series(xi, eta, &FORWARD, 1.0);
    let radius = SCALE * rectifying_radius();
    Some(XY { x: FALSE_EASTING_M + radius * eta, y: false_northing + radius * xi })
}

/// Longitude and latitude of a point in a UTM zone; `None` if `epsg` is none.
#[must_use]
pub(crate) fn from_utm(point: XY, epsg: Epsg) -> Option<LonLat> {
    let (meridian, false_northing) = zone(epsg)?;
    let radius = SCALE * rectifying_radius();
    let (xi, eta) = ((point.y - false_northing) / radius, (point.x - FALSE_EASTING_M) / radius);
    let (xi, eta) = series(xi, eta, &INVERSE, -1.0);
    let wanted = xi.sin() / eta.sinh().hypot(xi.cos());
    let e2 = FLATTENING * (2.0 - FLATTENING);
    let mut tau = wanted;
    for _ in 0..5 {
        let found = conformal(tau);
        let slope = (1.0 + (1.0 - e2) * tau * tau) / ((1.0 - e2) * 1.0_f64.hypot(tau));
        tau += (wanted - found) / 1.0_f64.hypot(found) * slope;
    }
    Some(LonLat { lon: meridian + eta.sinh().atan2(xi.cos()).to_degrees(), lat: tau.atan().to_degrees() })
}

fn zone(epsg: Epsg) -> Option<(f64, f64)> {
    let (zone, south) = epsg.utm_zone()?;
    Some((f64::from(zone) * 6.0 - 183.0, if south { FALSE_NORTHING_M } else { 0.0 }))
}

fn rectifying_radius() -> f64 {
    SEMI_MAJOR_M / (1.0 + N) * (1.0 + N * N / 4.0 + N * N * N * N / 64.0)
}

/// Tangent of the conformal latitude from that of the geographic one.
fn conformal(tau: f64) -> f64 {
    let e = (FLATTENING * (2.0 - FLATTENING)).sqrt();
    let secant = 1.0_f64.hypot(tau);
    let sigma = (e * (e * tau / secant).atanh()).sinh();
    tau * 1.0_f64.hypot(sigma) - sigma * secant
}

fn series(xi: f64, eta: f64, coefficients: &[f64; 4], sign: f64) -> (f64, f64) {
    coefficients.iter().zip([2.0, 4.0, 6.0, 8.0]).fold((xi, eta), |(x, e), (c, j)| {
        (x + sign * c * (j * xi).sin() * (j * eta).cosh(), e + sign * c * (j * xi).cos() * (j * eta).sinh())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From PROJ 9.
    const KNOWN: [(u32, f64, f64, f64, f64); 5] = [
        (32629, -8.56, 39.29, 537944.4286, 4349051.2601),
        (32634, 22.05, 47.37, 579273.7428, 5246816.6627),
        (32735, 27.5, -15.25, 553691.3630, 8313960.9705),
        (32631, 5.9, 51.2, 702597.2260, 5676063.3649),
        (32701, -179.9, -60.0, 338279.2491, 3345043.2801),
    ];

    #[test]
    fn agrees_with_proj_to_a_millimetre_and_back() {
        for (epsg, lon, lat, x, y) in KNOWN {
            let found = to_utm(LonLat { lon, lat }, Epsg(epsg)).unwrap();
            assert!((found.x - x).abs() < 1e-3 && (found.y - y).abs() < 1e-3, "{found:?} {x} {y}");
            let back = from_utm(found, Epsg(epsg)).unwrap();
            assert!((back.lon - lon).abs() < 1e-9 && (back.lat - lat).abs() < 1e-9, "{back:?}");
        }
        assert!(to_utm(LonLat { lon: 0.0, lat: 0.0 }, Epsg::WGS84).is_none());
    }

    #[test]
    fn zones() {
        assert_eq!(zone_of(LonLat { lon: 27.5, lat: -15.25 }), Epsg(32735));
        assert_eq!(zone_of(LonLat { lon: -180.0, lat: 1.0 }), Epsg(32601));
    }
}
