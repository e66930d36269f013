//! Vegetation indices: those that have a name, and users' own formulas.

use serde::Serialize;

use crate::expression::{Expression, Flaw};

/// Added to the denominator of NDVI, so that two black pixels give 0 instead of 0/0; the value EarthNet's tools use.
pub const NDVI_EPSILON: f32 = 1e-8;

/// Names of the indices that need no formula.
pub const NAMED: [&str; 5] = ["ndvi", "kndvi", "kndvi_sigma", "evi", "nirv"];

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

/// An index of a sample: a variable that follows from its bands.
#[derive(Clone, Debug, Serialize)]
pub struct Index {
    /// Name of the variable.
    pub name: String,
    /// What it is, in words.
    pub long_name: String,
    /// How it follows from the bands.
    pub formula: String,
    #[serde(skip)]
    expression: Expression,
}

impl Index {
    /// One of [`NAMED`]; `sigma` is the length scale of `kndvi_sigma`. `None` for another name.
    ///
    /// # Errors
    /// A [`Flaw`] where a band that it needs is not among `bands`.
    pub fn named(name: &str, sigma: f64, bands: &[&str]) -> Option<Result<Index, Flaw>> {
        let ndvi = "clamp((nir - red) / (nir + red + 1e-8), -1, 1)";
        let (long_name, formula) = match name {
            "ndvi" => ("normalised difference vegetation index", ndvi.to_owned()),
            "kndvi" => ("kernel NDVI, tanh(NDVI^2)", format!("tanh({ndvi}^2)")),
            "kndvi_sigma" => {
                ("kernel NDVI with a fixed length scale", format!("tanh(((nir - red) / (2 * {sigma}))^2)"))
            }
            "evi" => (
                "enhanced vegetation index",
                "clamp(2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1), -1, 1)".to_owned(),
            ),
            "nirv" => ("near-infrared reflectance of vegetation", format!("{ndvi} * nir")),
            _ => return None,
        };
        Some(Index::new(name, long_name, &formula, bands))
    }

    /// An index by a formula of bands, as [`Expression::parse`] reads it.
    ///
    /// # Errors
    /// A [`Flaw`] where the formula is none.
    pub fn new(name: &str, long_name: &str, formula: &str, bands: &[&str]) -> Result<Index, Flaw> {
        let expression = Expression::parse(formula, bands)?;
        Ok(Index {
            name: name.to_owned(),
            long_name: long_name.to_owned(),
            formula: formula.to_owned(),
            expression,
        })
    }

    /// The index in each pixel; NaN where a band that it needs is, and where the formula gives no finite number.
    ///
    /// # Shapes
    /// - bands: `[band][pixel]`, in the order that the index was made with; output: `[pixel]`
    pub fn evaluate(&self, bands: &[&[f32]], output: &mut [f32]) {
        self.expression.evaluate(bands, output);
    }
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

    /// blue 0.05, red 0.1, nir 0.4: EVI = 2.5 · 0.3 / (0.4 + 0.6 - 0.375 + 1) = 0.461538, NIRv = 0.6 · 0.4,
    /// kNDVI with σ = 0.15: tanh 1.
    #[test]
    fn named_indices_by_hand() {
        let bands = ["blue", "red", "nir"];
        for (name, expected) in [
            ("evi", 0.461_538),
            ("nirv", 0.24),
            ("kndvi_sigma", 0.761_594),
            ("ndvi", 0.6),
            ("kndvi", 0.345_214),
        ] {
            let index = Index::named(name, 0.15, &bands).unwrap().unwrap();
            let mut found = [0.0];
            index.evaluate(&[&[0.05], &[0.1], &[0.4]], &mut found);
            assert!((found[0] - expected).abs() < 1e-6, "{name}: {}", found[0]);
        }
        assert!(Index::named("lai", 0.15, &bands).is_none());
        assert!(NAMED.iter().all(|name| Index::named(name, 0.15, &bands).is_some_and(|index| index.is_ok())));
        assert!(Index::named("evi", 0.15, &["red", "nir"]).unwrap().unwrap_err().expected.contains("a band"));
    }

    /// The formulas of NDVI and kNDVI are the functions, bit for bit.
    #[test]
    fn formulas_are_the_functions() {
        let values = [-0.05_f32, 0.0, 1e-9, 0.013, 0.2, 0.37, 1.1, f32::NAN];
        let (red, nir): (Vec<f32>, Vec<f32>) = values.iter().flat_map(|&a| values.map(|b| (a, b))).unzip();
        for (name, function) in
            [("ndvi", ndvi as fn(f32, f32) -> f32), ("kndvi", |red, nir| kndvi(ndvi(red, nir)))]
        {
            let index = Index::named(name, 0.15, &["red", "nir"]).unwrap().unwrap();
            let mut found = vec![0.0; red.len()];
            index.evaluate(&[&red, &nir], &mut found);
            for ((&red, &nir), found) in red.iter().zip(&nir).zip(found) {
                let expected = function(red, nir);
                assert!(found == expected || (found.is_nan() && expected.is_nan()), "{name} of {red}, {nir}");
            }
        }
    }
}
