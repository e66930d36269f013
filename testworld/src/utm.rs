//! UTM on WGS 84, forward and inverse, by Krüger's series to the sixth order (error far below a millimetre in a zone).
//!
//! Formulas: C. F. F. Karney, *Transverse Mercator with an accuracy of a few nanometers* (2011),
//! <https://doi.org/10.1007/s00190-011-0445-3>.

use minicube::{Epsg, LonLat, XY};

const SEMI_MAJOR_M: f64 = 6_378_137.0;
const FLATTENING: f64 = 1.0 / 298.257_223_563;
const SCALE: f64 = 0.9996;
const FALSE_EASTING_M: f64 = 500_000.0;
const FALSE_NORTHING_SOUTH_M: f64 = 10_000_000.0;

/// One UTM zone, ready to convert points.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Utm {
    central_meridian: f64,
    false_northing: f64,
    rectifying_radius: f64,
    alpha: [f64; 6],
    beta: [f64; 6],
}

impl Utm {
    /// The zone of an EPSG code 326zz or 327zz; `None` for any other code.
    pub(crate) fn new(epsg: Epsg) -> Option<Self> {
        let (zone, south) = epsg.utm_zone()?;
        let n = FLATTENING / (2.0 - FLATTENING);
        let [n2, n3, n4, n5, n6] = [n.powi(2), n.powi(3), n.powi(4), n.powi(5), n.powi(6)];
        Some(Self {
            central_meridian: f64::from(zone) * 6.0 - 183.0,
            false_northing: if south { FALSE_NORTHING_SOUTH_M } else { 0.0 },
            rectifying_radius: SEMI_MAJOR_M / (1.0 + n) * (1.0 + n2 / 4.0 + n4 / 64.0 + n6 / 256.0),
            alpha: [
                n / 2.0 - 2.0 / 3.0 * n2 + 5.0 / 16.0 * n3 + 41.0 / 180.0 * n4 - 127.0 / 288.0 * n5
                    + 7891.0 / 37800.0 * n6,
                13.0 / 48.0 * n2 - 3.0 / 5.0 * n3 + 557.0 / 1440.0 * n4 + 281.0 / 630.0 * n5
                    - 1_983_433.0 / 1_935_360.0 * n6,
                61.0 / 240.0 * n3 - 103.0 / 140.0 * n4 + 15061.0 / 26880.0 * n5 + 167_603.0 / 181_440.0 * n6,
                49561.0 / 161_280.0 * n4 - 179.0 / 168.0 * n5 + 6_601_661.0 / 7_257_600.0 * n6,
                34729.0 / 80640.0 * n5 - 3_418_889.0 / 1_995_840.0 * n6,
                212_378_941.0 / 319_334_400.0 * n6,
            ],
            beta: [
                n / 2.0 - 2.0 / 3.0 * n2 + 37.0 / 96.0 * n3 - n4 / 360.0 - 81.0 / 512.0 * n5
                    + 96199.0 / 604_800.0 * n6,
                n2 / 48.0 + n3 / 15.0 - 437.0 / 1440.0 * n4 + 46.0 / 105.0 * n5
                    - 1_118_711.0 / 3_870_720.0 * n6,
                17.0 / 480.0 * n3 - 37.0 / 840.0 * n4 - 209.0 / 4480.0 * n5 + 5569.0 / 90720.0 * n6,
                4397.0 / 161_280.0 * n4 - 11.0 / 504.0 * n5 - 830_251.0 / 7_257_600.0 * n6,
                4583.0 / 161_280.0 * n5 - 108_847.0 / 3_991_680.0 * n6,
                20_648_693.0 / 638_668_800.0 * n6,
            ],
        })
    }

    /// Longitude and latitude (degrees) to easting and northing (metres).
    pub(crate) fn forward(&self, point: LonLat) -> XY {
        let eccentricity = (FLATTENING * (2.0 - FLATTENING)).sqrt();
        let sine = point.lat.to_radians().sin();
        let tangent = (sine.atanh() - eccentricity * (eccentricity * sine).atanh()).sinh();
        let (sin_lon, cos_lon) = (point.lon - self.central_meridian).to_radians().sin_cos();
        let xi0 = tangent.atan2(cos_lon);
        let eta0 = (sin_lon / tangent.hypot(cos_lon)).asinh();
        let (mut xi, mut eta) = (xi0, eta0);
        for (j, alpha) in self.alpha.iter().enumerate() {
            let k = 2.0 * (j + 1) as f64;
            xi += alpha * (k * xi0).sin() * (k * eta0).cosh();
            eta += alpha * (k * xi0).cos() * (k * eta0).sinh();
        }
        let radius = SCALE * self.rectifying_radius;
        XY { x: FALSE_EASTING_M + radius * eta, y: self.false_northing + radius * xi }
    }

    /// Easting and northing (metres) to longitude and latitude (degrees).
    pub(crate) fn inverse(&self, point: XY) -> LonLat {
        let radius = SCALE * self.rectifying_radius;
        let (xi0, eta0) = ((point.y - self.false_northing) / radius, (point.x - FALSE_EASTING_M) / radius);
        let (mut xi, mut eta) = (xi0, eta0);
        for (j, beta) in self.beta.iter().enumerate() {
            let k = 2.0 * (j + 1) as f64;
            xi -= beta * (k * xi0).sin() * (k * eta0).cosh();
            eta -= beta * (k * xi0).cos() * (k * eta0).sinh();
        }
        let conformal = xi.sin() / eta.sinh().hypot(xi.cos());
        let lon = self.central_meridian + eta.sinh().atan2(xi.cos()).to_degrees();
        LonLat { lon, lat: geographic_tangent(conformal).atan().to_degrees() }
    }
}

/// Solves the conformal-latitude equation for the tangent of the geographic latitude by Newton's method
/// (Karney 2011, equations 19 to 21; three steps reach full precision).
fn geographic_tangent(conformal: f64) -> f64 {
    let e2 = FLATTENING * (2.0 - FLATTENING);
    let e = e2.sqrt();
    let mut tangent = conformal;
    for _ in 0..4 {
        let root = tangent.hypot(1.0);
        let sigma = (e * (e * tangent / root).atanh()).sinh();
        let guess = tangent * sigma.hypot(1.0) - sigma * root;
        tangent += (conformal - guess) / guess.hypot(1.0) * (1.0 + (1.0 - e2) * tangent * tangent)
            / ((1.0 - e2) * root);
    }
    tangent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_proj() {
        // PROJ 9.1: (18.5 E, 33.9 S) in EPSG:32733, from GDAL's CoordTransform and from the proj crate alike.
        let utm = Utm::new(Epsg(32733)).unwrap();
        let point = utm.forward(LonLat { lon: 18.5, lat: -33.9 });
        assert!((point.x - 823_672.301_3).abs() < 1e-3, "{point:?}");
        assert!((point.y - 6_243_413.742_2).abs() < 1e-3, "{point:?}");
    }

    #[test]
    fn inverse_undoes_forward() {
        for (epsg, lon, lat) in
            [(32735, 26.4, -23.1), (32632, 11.1, 50.9), (32601, -177.0, 0.0), (32660, 178.2, 79.0)]
        {
            let utm = Utm::new(Epsg(epsg)).unwrap();
            let back = utm.inverse(utm.forward(LonLat { lon, lat }));
            assert!((back.lon - lon).abs() < 1e-10 && (back.lat - lat).abs() < 1e-10, "{lon} {lat} {back:?}");
        }
        assert!(Utm::new(Epsg(4326)).is_none());
    }
}
