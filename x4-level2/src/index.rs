//! Vegetation indices.

/// Added to the denominator of NDVI, so that two black pixels give 0 instead of 0/0; the value EarthNet's tools use.
pub const NDVI_EPSILON: f32 = 1e-8;

/// Normalised difference vegetation index, `(nir - red) / (nir + red + ε)`, cut to -1…1: reflectances slightly below
/// zero, which atmospheric correction produces over water and shadow, would otherwise give values without bound.
/// NaN where either band is.
#[must_use]
pub fn ndvi(red: f32, nir: f32) -> f32 {
    ((nir - red) / (nir + red + NDVI_EPSILON)).clamp(-1.0, 1.0)
}

/// Kernel NDVI with the length scale σ = (nir + red) / 2: `tanh(NDVI²)`
/// (Camps-Valls et al. 2021, <https://doi.org/10.1126/sciadv.abc7447>). 0…tanh 1 ≈ 0.762.
#[must_use]
pub fn kndvi(ndvi: f32) -> f32 {
    (ndvi * ndvi).tanh()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (0.4 - 0.1) / 0.5 = 0.6; tanh 0.36 = 0.345214.
    #[test]
    fn by_hand() {
        let value = ndvi(0.1, 0.4);
        assert!((value - 0.6).abs() < 1e-6);
        assert!((kndvi(value) - 0.345_214).abs() < 1e-6);
    }

    #[test]
    fn edges() {
        assert_eq!(ndvi(0.0, 0.0), 0.0);
        assert!(ndvi(f32::NAN, 0.3).is_nan() && kndvi(f32::NAN).is_nan());
        assert_eq!(ndvi(-0.01, 0.0099), -1.0, "a sum below zero stays in range");
        assert_eq!(kndvi(-1.0), 1.0_f32.tanh());
    }
}
