//! Sentinel-2's layers: the names they go by, and what a stored number of each means.

use minicube::{SENTINEL2_NAMES, VarSpec, esa_name};
use serde_json::Value;

/// Scale of aerosol optical thickness and water vapour in the store and in Sen2Cor's products.
pub const ATMOSPHERE_SCALE: f64 = 0.001;

/// What a layer measures. The scene classification is none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Surface reflectance: stored × 0.0001 − 0.1.
    Reflectance,
    /// Aerosol optical thickness at 550 nm: stored × 0.001. Never has the radiometric offset.
    OpticalThickness,
    /// Water vapour in the column, cm of liquid water: stored × 0.001. Never has the radiometric offset.
    WaterVapour,
}

impl Quantity {
    /// What the layer of this key measures.
    #[must_use]
    pub fn of(key: &str) -> Quantity {
        match key {
            "aot" => Quantity::OpticalThickness,
            "wvp" => Quantity::WaterVapour,
            _ => Quantity::Reflectance,
        }
    }

    /// Smallest and largest value that a store may hold.
    #[must_use]
    pub fn bounds(self) -> (f32, f32) {
        match self {
            Quantity::Reflectance => (-0.1, 6.5),
            Quantity::OpticalThickness => (0.0, 10.0),
            Quantity::WaterVapour => (0.0, 15.0),
        }
    }

    /// The attributes of a layer's variable.
    #[must_use]
    pub(crate) fn describe(self, key: &str, var: VarSpec) -> VarSpec {
        let var = match self {
            Quantity::Reflectance => var
                .attr("long_name", format!("surface reflectance, {key}"))
                .attr("standard_name", "surface_bidirectional_reflectance")
                .attr("units", "1")
                .attr("scale_factor", 0.0001)
                .attr("add_offset", -0.1),
            Quantity::OpticalThickness => var
                .attr("long_name", "aerosol optical thickness at 550 nm")
                .attr("standard_name", "atmosphere_optical_thickness_due_to_ambient_aerosol_particles")
                .attr("units", "1")
                .attr("scale_factor", ATMOSPHERE_SCALE),
            Quantity::WaterVapour => var
                .attr("long_name", "water vapour in the column, as depth of liquid water")
                .attr("standard_name", "lwe_thickness_of_atmosphere_mass_content_of_water_vapor")
                .attr("units", "cm")
                .attr("scale_factor", ATMOSPHERE_SCALE),
        };
        var.missing(0).attr("cell_methods", "x: y: mean (over the pixels with data)")
    }
}

/// What makes a stored number of a digital number: `number × gain + add`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stored {
    /// Factor; 1 where the item's scale is the store's.
    pub gain: f32,
    /// Summand: 0 or [`crate::STORED_OFFSET`].
    pub add: u16,
}

impl Stored {
    /// The number as it is.
    pub const AS_IT_IS: Stored = Stored { gain: 1.0, add: 0 };
}

/// The factor that brings the numbers of `aot` or `wvp` to the store's scale: by the scale that the item states, 1
/// where it states none, because Sen2Cor's own scale is the store's.
///
/// # Errors
/// The reason, in words, where the item states a scale or an offset that cannot be.
pub(crate) fn atmosphere_gain(item: &Value, key: &str) -> Result<f32, String> {
    let esa = esa_name(key).unwrap_or(key);
    let names = [key.to_owned(), esa.to_owned()].into_iter();
    let names = names.chain(["10m", "20m", "60m"].map(|resolution| format!("{esa}_{resolution}")));
    let Some(asset) = names.into_iter().find_map(|name| item["assets"].get(name)) else { return Ok(1.0) };
    let stated = |long: &str, short: &str| {
        let band = &asset["raster:bands"][0];
        [&band[short], &asset["bands"][0][long], &asset[long]].into_iter().find_map(Value::as_f64)
    };
    if let Some(offset) = stated("raster:offset", "offset").filter(|offset| *offset != 0.0) {
        return Err(format!("assets.{key}: expected raster:bands offset 0, found {offset}"));
    }
    match stated("raster:scale", "scale") {
        None => Ok(1.0),
        Some(scale) if scale > 0.0 && scale <= 1.0 => Ok((scale / ATMOSPHERE_SCALE) as f32),
        Some(scale) => {
            Err(format!("assets.{key}: expected raster:bands scale within 0 and 1, found {scale}"))
        }
    }
}

/// The key of a layer that goes by this name, Earth Search's (`nir08`) or ESA's (`B8A`); `None` for other names.
#[must_use]
pub fn asset_key(name: &str) -> Option<&'static str> {
    let named = |(key, esa): &&(&str, &str)| *key == name || *esa == name;
    SENTINEL2_NAMES.iter().find(named).map(|(key, _)| *key)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_scale_of_the_item_counts_where_it_states_one() {
        let gain = |asset: Value| atmosphere_gain(&json!({ "assets": { "AOT": asset } }), "aot");
        assert_eq!(gain(json!({ "raster:bands": [{ "scale": 0.001, "offset": 0 }] })), Ok(1.0));
        assert_eq!(gain(json!({ "raster:bands": [{ "scale": 0.01 }] })), Ok(10.0));
        assert_eq!(gain(json!({ "bands": [{ "raster:scale": 0.002 }] })), Ok(2.0));
        assert_eq!(gain(json!({ "href": "AOT.jp2" })), Ok(1.0));
        assert_eq!(atmosphere_gain(&json!({}), "wvp"), Ok(1.0));
        let error = gain(json!({ "raster:bands": [{ "scale": -1 }] })).unwrap_err();
        assert!(error.contains("scale within 0 and 1, found -1"), "{error}");
        let error = gain(json!({ "raster:bands": [{ "scale": 0.001, "offset": -0.1 }] })).unwrap_err();
        assert!(error.contains("offset 0, found -0.1"), "{error}");
    }

    #[test]
    fn a_layer_goes_by_two_names() {
        let keys: Vec<_> = ["B8A", "nir08", "B08", "AOT", "wvp", "SCL"].into_iter().map(asset_key).collect();
        assert_eq!(keys, ["nir08", "nir08", "nir", "aot", "wvp", "scl"].map(Some));
        assert_eq!((asset_key("visual"), asset_key("B10")), (None, None));
    }

    #[test]
    fn only_reflectance_has_the_offset() {
        let of = ["coastal", "swir22", "aot", "wvp"].map(Quantity::of);
        let (r, t, w) = (Quantity::Reflectance, Quantity::OpticalThickness, Quantity::WaterVapour);
        assert_eq!(of, [r, r, t, w]);
    }
}
