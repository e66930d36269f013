//! Errors of one vegetation index, overall and by lead step.

use ndarray::{Array3, ArrayView4, Axis, Zip};
use serde::{Deserialize, Serialize};

/// Sums over valid values, by lead step; sums of several samples add up.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ErrorSums {
    absolute: Vec<f64>,
    squared: Vec<f64>,
    signed: Vec<f64>,
    count: Vec<u64>,
}

/// Errors of an index over the valid values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexErrors {
    /// Mean absolute error.
    pub mae: f64,
    /// Root mean squared error.
    pub rmse: f64,
    /// Mean of prediction minus target.
    pub bias: f64,
    /// Values compared.
    pub count: u64,
    /// Mean absolute error of each target step; NaN (null) where nothing is valid.
    pub mae_by_lead: Vec<Option<f64>>,
}

impl ErrorSums {
    /// Sums of one sample.
    ///
    /// # Shapes
    /// `prediction`, `target` and `valid` are `[step, y, x]`-like with any trailing axes, of one shape.
    pub(crate) fn of(prediction: &Array3<f32>, target: &Array3<f32>, valid: &Array3<f32>) -> ErrorSums {
        let steps = prediction.len_of(Axis(0));
        let mut sums = ErrorSums {
            absolute: vec![0.0; steps],
            squared: vec![0.0; steps],
            signed: vec![0.0; steps],
            count: vec![0; steps],
        };
        for t in 0..steps {
            let at = |a: &Array3<f32>| a.index_axis(Axis(0), t).to_owned();
            Zip::from(&at(prediction)).and(&at(target)).and(&at(valid)).for_each(|&p, &y, &m| {
                let error = f64::from(p) - f64::from(y);
                if m > 0.0 && error.is_finite() {
                    sums.absolute[t] += error.abs();
                    sums.squared[t] += error * error;
                    sums.signed[t] += error;
                    sums.count[t] += 1;
                }
            });
        }
        sums
    }

    pub(crate) fn add(&mut self, other: &ErrorSums) {
        if self.count.is_empty() {
            *self = other.clone();
            return;
        }
        for t in 0..self.count.len() {
            self.absolute[t] += other.absolute[t];
            self.squared[t] += other.squared[t];
            self.signed[t] += other.signed[t];
            self.count[t] += other.count[t];
        }
    }

    /// `None` where nothing was valid.
    pub(crate) fn finish(&self) -> Option<IndexErrors> {
        let count: u64 = self.count.iter().sum();
        let mean = |sums: &[f64]| sums.iter().sum::<f64>() / count as f64;
        (count > 0).then(|| IndexErrors {
            mae: mean(&self.absolute),
            rmse: mean(&self.squared).sqrt(),
            bias: mean(&self.signed),
            count,
            mae_by_lead: self
                .absolute
                .iter()
                .zip(&self.count)
                .map(|(&sum, &n)| (n > 0).then(|| sum / n as f64))
                .collect(),
        })
    }
}

/// The index that greenness is judged by: NDVI where the channels give it, clipped to −1 … 1, else kNDVI.
pub(crate) fn greenness(
    frames: ArrayView4<'_, f32>,
    channels: &[String],
    epsilon: f32,
) -> Option<(&'static str, Array3<f32>)> {
    let at = |name: &str| channels.iter().position(|c| c == name).map(|k| frames.index_axis(Axis(1), k));
    if let Some(ndvi) = at("ndvi") {
        return Some(("ndvi", ndvi.mapv(|v| v.clamp(-1.0, 1.0))));
    }
    if let (Some(red), Some(nir)) = (at("red"), at("nir")) {
        return Some(("ndvi", Zip::from(red).and(nir).map_collect(|r, n| ndvi(*r, *n, epsilon))));
    }
    Some(("kndvi", kndvi(frames, channels, epsilon)?))
}

/// kNDVI of frames `[step, channel, y, x]`: the channel itself where it is forecast, else from red and nir
/// (tanh(NDVI²), <https://doi.org/10.1126/sciadv.abc7447>). `None` where the channels give neither.
pub(crate) fn kndvi(frames: ArrayView4<'_, f32>, channels: &[String], epsilon: f32) -> Option<Array3<f32>> {
    let at = |name: &str| channels.iter().position(|c| c == name).map(|k| frames.index_axis(Axis(1), k));
    if let Some(kndvi) = at("kndvi") {
        return Some(kndvi.to_owned());
    }
    if let Some(ndvi) = at("ndvi") {
        return Some(ndvi.mapv(|v| (v * v).tanh()));
    }
    let (red, nir) = (at("red")?, at("nir")?);
    Some(Zip::from(red).and(nir).map_collect(|r, n| ndvi(*r, *n, epsilon).powi(2).tanh()))
}

/// NDVI of two reflectances, −1 … 1; NaN of NaN. Below 0 they count as 0 and above 1 as 1, as for the EarthNetScore: a network
/// without a last ReLU forecasts them next to 0 on either side.
fn ndvi(red: f32, nir: f32, epsilon: f32) -> f32 {
    let (red, nir) = (red.clamp(0.0, 1.0), nir.clamp(0.0, 1.0));
    (nir - red) / (nir + red + epsilon)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr3;

    #[test]
    fn errors_by_hand() {
        let p = arr3(&[[[0.5, 0.5]], [[0.2, 9.0]]]);
        let y = arr3(&[[[0.4, 0.7]], [[0.5, 0.0]]]);
        let m = arr3(&[[[1.0, 1.0]], [[1.0, 0.0]]]);
        let errors = ErrorSums::of(&p, &y, &m).finish().unwrap();
        // errors 0.1, -0.2, -0.3
        assert!((errors.mae - 0.2).abs() < 1e-7 && (errors.bias + 0.4 / 3.0).abs() < 1e-7);
        assert!((errors.rmse - (0.14f64 / 3.0).sqrt()).abs() < 1e-7);
        assert!((errors.mae_by_lead[0].unwrap() - 0.15).abs() < 1e-7);
        assert_eq!(errors.count, 3);
        assert_eq!(ErrorSums::of(&p, &y, &Array3::zeros((2, 1, 2))).finish(), None);
    }

    #[test]
    fn kndvi_comes_from_bands_too() {
        let channels: Vec<String> = ["red", "nir"].map(str::to_owned).into();
        // The second pixel's NDVI would be .6 / .2 = 3 where red could be below 0; it is 1.
        let frames = ndarray::Array4::from_shape_vec((1, 2, 1, 2), vec![0.1, -0.2, 0.3, 0.4]).unwrap();
        let found = kndvi(frames.view(), &channels, 0.0).unwrap();
        assert!((found[[0, 0, 0]] - 0.25f32.tanh()).abs() < 1e-6);
        assert!((found[[0, 0, 1]] - 1f32.tanh()).abs() < 1e-6);
        let (_, ndvi) = greenness(frames.view(), &channels, 0.0).unwrap();
        assert!((ndvi[[0, 0, 0]] - 0.5).abs() < 1e-6 && ndvi[[0, 0, 1]] == 1.0);
        assert!(kndvi(frames.view(), &["blue".to_owned(), "green".to_owned()], 0.0).is_none());
    }
}
