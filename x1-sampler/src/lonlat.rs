//! Coordinate transformation by PROJ, one transformer per thread and pair of reference systems.

use std::cell::RefCell;
use std::collections::BTreeMap;

use minicube::{Epsg, LonLat, XY};
use proj::Proj;

use crate::Error;

/// Longitude and latitude on WGS 84.
pub(crate) const LON_LAT: &str = "EPSG:4326";

thread_local! {
    /// PROJ objects are bound to a thread and slow to make.
    static TRANSFORMERS: RefCell<BTreeMap<(String, String), Proj>> = const { RefCell::new(BTreeMap::new()) };
}

/// Transforms points in place; axes are always easting/longitude first, degrees where geographic.
///
/// # Errors
/// [`Error::Projection`] if a reference system is unknown or a point lies outside its domain.
pub(crate) fn transform(from: &str, to: &str, points: &mut [(f64, f64)]) -> Result<(), Error> {
    if from == to {
        return Ok(());
    }
    let failed = |reason: String| Error::Projection { from: from.to_owned(), to: to.to_owned(), reason };
    TRANSFORMERS.with_borrow_mut(|known| {
        let key = (from.to_owned(), to.to_owned());
        if !known.contains_key(&key) {
            let made = Proj::new_known_crs(from, to, None).map_err(|error| failed(error.to_string()))?;
            known.insert(key.clone(), made);
        }
        if let Some(proj) = known.get(&key) {
            proj.convert_array(points).map_err(|error| failed(error.to_string()))?;
        }
        if points.iter().any(|(x, y)| !x.is_finite() || !y.is_finite()) {
            return Err(failed("a point lies outside the target system".into()));
        }
        Ok(())
    })
}

/// UTM metres to degrees.
///
/// # Errors
/// [`Error::Projection`] as [`transform`].
pub(crate) fn to_lon_lat(epsg: Epsg, points: &[XY]) -> Result<Vec<LonLat>, Error> {
    let mut pairs: Vec<(f64, f64)> = points.iter().map(|point| (point.x, point.y)).collect();
    transform(&name(epsg), LON_LAT, &mut pairs)?;
    Ok(pairs.into_iter().map(|(lon, lat)| LonLat { lon, lat }).collect())
}

/// The name by which PROJ knows the system.
pub(crate) fn name(epsg: Epsg) -> String {
    format!("EPSG:{}", epsg.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_the_cape_agrees_with_gdal() {
        // (18.5° E, 33.9° S) in EPSG:32733, computed with GDAL's CoordTransform.
        let mut points = [(18.5, -33.9)];
        transform(LON_LAT, "EPSG:32733", &mut points).unwrap();
        assert!((points[0].0 - 823_672.301_3).abs() < 1e-3, "{points:?}");
        assert!((points[0].1 - 6_243_413.742_2).abs() < 1e-3, "{points:?}");
        let back = to_lon_lat(Epsg(32733), &[XY { x: points[0].0, y: points[0].1 }]).unwrap();
        assert!((back[0].lon - 18.5).abs() < 1e-9 && (back[0].lat + 33.9).abs() < 1e-9);
    }

    #[test]
    fn an_unknown_system_is_named() {
        let message = transform("EPSG:0", LON_LAT, &mut [(0.0, 0.0)]).unwrap_err().to_string();
        assert!(message.contains("EPSG:0"), "{message}");
    }
}
