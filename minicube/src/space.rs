//! Places: types whose names hold the axis order.

use serde::{Deserialize, Serialize};

/// An EPSG code of a coordinate reference system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epsg(pub u32);

/// Degrees on WGS 84, longitude first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LonLat {
    /// Degrees east.
    pub lon: f64,
    /// Degrees north.
    pub lat: f64,
}

/// Projected coordinates in metres, easting first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct XY {
    /// Easting, metres.
    pub x: f64,
    /// Northing, metres.
    pub y: f64,
}

/// Size of a raster, rows first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Number of rows (y).
    pub rows: usize,
    /// Number of columns (x).
    pub cols: usize,
}

/// An axis-parallel rectangle in metres (or degrees, where said so).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// West edge.
    pub x_min: f64,
    /// South edge.
    pub y_min: f64,
    /// East edge.
    pub x_max: f64,
    /// North edge.
    pub y_max: f64,
}

impl Epsg {
    /// Degrees on WGS 84.
    pub const WGS84: Epsg = Epsg(4326);

    /// The WGS 84 / UTM zone, `zone` 1–60.
    #[must_use]
    pub fn utm(zone: u8, south: bool) -> Epsg {
        Epsg(if south { 32_700 } else { 32_600 } + u32::from(zone))
    }

    /// Zone and whether it is the southern one, for a WGS 84 / UTM code.
    #[must_use]
    pub fn utm_zone(self) -> Option<(u8, bool)> {
        let zone = u8::try_from(self.0 % 100).ok().filter(|zone| (1..=60).contains(zone))?;
        match self.0 / 100 {
            326 => Some((zone, false)),
            327 => Some((zone, true)),
            _ => None,
        }
    }

    /// Well-known text (WKT 2:2019) of a WGS 84 / UTM zone or of WGS 84 itself; `None` for other codes.
    #[must_use]
    pub fn wkt(self) -> Option<String> {
        if self == Epsg::WGS84 {
            return Some(format!(
                "GEOGCRS[\"WGS 84\",{DATUM},CS[ellipsoidal,2],AXIS[\"geodetic latitude (Lat)\",north],\
                 AXIS[\"geodetic longitude (Lon)\",east],ANGLEUNIT[\"degree\",0.0174532925199433],ID[\"EPSG\",4326]]"
            ));
        }
        let (zone, south) = self.utm_zone()?;
        let name = format!("UTM zone {zone}{}", if south { 'S' } else { 'N' });
        let meridian = i32::from(zone) * 6 - 183;
        let northing = if south { 10_000_000 } else { 0 };
        Some(format!(
            "PROJCRS[\"WGS 84 / {name}\",BASEGEOGCRS[\"WGS 84\",{DATUM},ID[\"EPSG\",4326]],\
             CONVERSION[\"{name}\",METHOD[\"Transverse Mercator\",ID[\"EPSG\",9807]],\
             PARAMETER[\"Latitude of natural origin\",0,ANGLEUNIT[\"degree\",0.0174532925199433],ID[\"EPSG\",8801]],\
             PARAMETER[\"Longitude of natural origin\",{meridian},ANGLEUNIT[\"degree\",0.0174532925199433],\
             ID[\"EPSG\",8802]],PARAMETER[\"Scale factor at natural origin\",0.9996,SCALEUNIT[\"unity\",1],\
             ID[\"EPSG\",8805]],PARAMETER[\"False easting\",500000,LENGTHUNIT[\"metre\",1],ID[\"EPSG\",8806]],\
             PARAMETER[\"False northing\",{northing},LENGTHUNIT[\"metre\",1],ID[\"EPSG\",8807]]],CS[Cartesian,2],\
             AXIS[\"(E)\",east,ORDER[1],LENGTHUNIT[\"metre\",1]],AXIS[\"(N)\",north,ORDER[2],\
             LENGTHUNIT[\"metre\",1]],ID[\"EPSG\",{}]]",
            self.0
        ))
    }
}

const DATUM: &str = "DATUM[\"World Geodetic System 1984\",ELLIPSOID[\"WGS 84\",6378137,298.257223563,\
                     LENGTHUNIT[\"metre\",1]]],PRIMEM[\"Greenwich\",0,ANGLEUNIT[\"degree\",0.0174532925199433]]";

impl Bounds {
    /// The middle.
    #[must_use]
    pub fn center(&self) -> XY {
        XY { x: (self.x_min + self.x_max) / 2.0, y: (self.y_min + self.y_max) / 2.0 }
    }

    /// East–west extent.
    #[must_use]
    pub fn width(&self) -> f64 {
        self.x_max - self.x_min
    }

    /// North–south extent.
    #[must_use]
    pub fn height(&self) -> f64 {
        self.y_max - self.y_min
    }

    /// Whether the interiors share a point; touching edges do not count.
    #[must_use]
    pub fn intersects(&self, other: &Bounds) -> bool {
        self.x_min < other.x_max
            && other.x_min < self.x_max
            && self.y_min < other.y_max
            && other.y_min < self.y_max
    }

    /// Whether the point lies inside or on the edge.
    #[must_use]
    pub fn contains(&self, point: XY) -> bool {
        (self.x_min..=self.x_max).contains(&point.x) && (self.y_min..=self.y_max).contains(&point.y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utm_codes_name_zone_and_hemisphere() {
        assert_eq!(Epsg::utm(35, true), Epsg(32735));
        assert_eq!(Epsg(32632).utm_zone(), Some((32, false)));
        assert_eq!(Epsg(4326).utm_zone(), None);
        assert_eq!(Epsg(32661).utm_zone(), None, "UPS is not UTM");
    }

    #[test]
    fn wkt_carries_the_central_meridian() {
        let wkt = Epsg(32735).wkt().unwrap();
        assert!(wkt.contains("\"Longitude of natural origin\",27,"), "{wkt}");
        assert!(wkt.contains("\"False northing\",10000000,"), "{wkt}");
        assert_eq!(wkt.matches('[').count(), wkt.matches(']').count());
    }

    #[test]
    fn touching_bounds_do_not_intersect() {
        let left = Bounds { x_min: 0.0, y_min: 0.0, x_max: 10.0, y_max: 10.0 };
        let right = Bounds { x_min: 10.0, ..left };
        assert!(!left.intersects(&Bounds { x_max: 20.0, ..right }));
        assert!(left.contains(left.center()));
    }
}
