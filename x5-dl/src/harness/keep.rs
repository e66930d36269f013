//! By what the best weights are told from the others: the loss, or a score of the validation examples.

use ndarray::{Array3, Array4, ArrayD, Axis, Slice};
use serde::{Deserialize, Serialize};

use crate::harness::gradient::Examples;
use crate::score::ens::{self, EnsComponents};
use crate::score::error_by_lead::{ErrorSums, greenness, kndvi};
use crate::score::pixel::PixelScore;

/// What decides which validation is the best, and when training has stopped getting better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepBy {
    /// The loss.
    #[default]
    Loss,
    /// Mean absolute error of kNDVI over the values that count.
    KndviMae,
    /// Mean over the pixels of the normalised Nash–Sutcliffe efficiency, 1 / (2 − NSE), of NDVI or, where that is not
    /// forecast, kNDVI; pixels with fewer than two observations or none that differ are left out.
    Nnse,
    /// The EarthNetScore of the crops, where the four bands are forecast.
    Ens,
}

/// What a score is made of, beside examples and predictions.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    pub(crate) by: KeepBy,
    /// Forecast variables.
    pub(crate) channels: Vec<String>,
    /// What the values were divided by.
    pub(crate) scale: f32,
    pub(crate) ndvi_epsilon: f32,
}

impl KeepBy {
    /// The score where smaller is better, to put validations in order; NaN is the last.
    pub(crate) fn rank(self, score: f64) -> f64 {
        match self {
            // A NaN may have any sign, and the order of numbers heeds it.
            _ if score.is_nan() => f64::NAN,
            KeepBy::Loss | KeepBy::KndviMae => score,
            KeepBy::Nnse | KeepBy::Ens => -score,
        }
    }

    /// Whether it is the loss.
    pub(crate) fn is_loss(&self) -> bool {
        *self == KeepBy::Loss
    }
}

impl Judge {
    /// The score of predictions `[item, value]` for each of the examples; NaN where there is nothing to judge. Items are
    /// single pixels, or squares of them.
    pub(crate) fn score(&self, examples: &[Examples], predictions: &[ArrayD<f32>]) -> f64 {
        let items = examples.iter().zip(predictions).flat_map(|(examples, predictions)| {
            (0..examples.len()).map(move |item| self.item(examples, predictions, item))
        });
        match self.by {
            KeepBy::Loss => f64::NAN,
            KeepBy::KndviMae => {
                let mut sums = ErrorSums::default();
                for item in items {
                    let index =
                        |frames: &Array4<f32>| kndvi(frames.view(), &self.channels, self.ndvi_epsilon);
                    if let (Some(p), Some(y)) = (index(&item.prediction), index(&item.target)) {
                        sums.add(&ErrorSums::of(&p, &y, &item.valid));
                    }
                }
                sums.finish().map_or(f64::NAN, |errors| errors.mae)
            }
            KeepBy::Nnse => {
                let scores = items.flat_map(|item| self.nnse(&item));
                let (sum, count) = scores.fold((0.0, 0u64), |(sum, count), nnse| (sum + nnse, count + 1));
                sum / count as f64
            }
            KeepBy::Ens => {
                let of = |item: Item| {
                    ens::cube_components(item.prediction.view(), item.target.view(), item.valid.view())
                };
                let cubes: Vec<Vec<EnsComponents>> = items.map(|item| vec![of(item)]).collect();
                ens::earthnet_score(&cubes).ens.unwrap_or(f64::NAN)
            }
        }
    }

    fn nnse(&self, item: &Item) -> Vec<f64> {
        let index = |frames: &Array4<f32>| {
            greenness(frames.view(), &self.channels, self.ndvi_epsilon).map(|(_, i)| i)
        };
        let (Some(p), Some(y)) = (index(&item.prediction), index(&item.target)) else { return Vec::new() };
        let (steps, rows, cols) = p.dim();
        let pixels = (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col)));
        let scores = pixels.map(|(row, col)| {
            let pairs: Vec<(f64, f64)> = (0..steps)
                .filter(|&t| item.valid[[t, row, col]] > 0.0)
                .map(|t| (f64::from(y[[t, row, col]]), f64::from(p[[t, row, col]])))
                .collect();
            PixelScore::of(&pairs)
        });
        scores.filter(|score| score.count > 1 && score.spread > 0.0).map(|score| score.nnse()).collect()
    }

    fn item(&self, examples: &Examples, predictions: &ArrayD<f32>, item: usize) -> Item {
        let (steps, channels) = (examples.steps, self.channels.len());
        let row = |array: &ArrayD<f32>| array.index_axis(Axis(0), item).iter().copied().collect::<Vec<f32>>();
        let pixels = examples.target.len() / (examples.len() * steps * channels).max(1);
        let side = pixels.isqrt();
        let (rows, cols) = if side * side == pixels { (side, side) } else { (pixels, 1) };
        let frames = |values: Vec<f32>, width: usize| {
            let mut values = values.into_iter().map(|v| v * self.scale);
            Array4::from_shape_simple_fn((steps, width, rows, cols), || values.next().unwrap_or(f32::NAN))
        };
        let quantiles = examples.quantiles.len();
        let mut prediction = frames(row(predictions), channels.max(quantiles));
        if let Some(k) = examples.quantiles.iter().position(|&level| level == 0.5) {
            prediction = prediction.slice_axis(Axis(1), Slice::from(k..k + 1)).to_owned();
        }
        // Where only some channels count, the others have no weight.
        let weights = frames(row(&examples.valid), channels);
        let valid = weights.map_axis(Axis(1), |each| f32::from(u8::from(each.iter().any(|&w| w > 0.0))));
        Item { prediction, target: frames(row(&examples.target), channels), valid }
    }
}

/// Frames of one item.
struct Item {
    /// `[step, channel, y, x]`
    prediction: Array4<f32>,
    /// `[step, channel, y, x]`
    target: Array4<f32>,
    /// `[step, y, x]`, above 0 where the target counts.
    valid: Array3<f32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{ArrayView2, arr2};

    fn judge(by: KeepBy, channels: &[&str]) -> Judge {
        let channels = channels.iter().map(|&name| name.to_owned()).collect();
        Judge { by, channels, scale: 1.0, ndvi_epsilon: 0.0 }
    }

    fn examples(target: ArrayView2<'_, f32>, valid: ArrayView2<'_, f32>, steps: usize) -> Examples {
        let (target, valid) = (target.to_owned().into_dyn(), valid.to_owned().into_dyn());
        Examples { target, valid, steps, ..Examples::default() }
    }

    /// kNDVI of two pixels of three steps: observations 1, 2, 3 of tenths with an error of .1 at the second: NNSE 2/3; the
    /// other pixel is seen once, with an error of .2. MAE (0 + .1 + 0 + .2) / 4.
    #[test]
    fn pixels_by_hand() {
        let target = arr2(&[[0.1f32, 0.2, 0.3], [0.5, 0.5, 0.5]]);
        let valid = arr2(&[[1.0f32, 1.0, 1.0], [1.0, 0.0, 0.0]]);
        let all = [examples(target.view(), valid.view(), 3)];
        let predictions = [arr2(&[[0.1f32, 0.3, 0.3], [0.7, 0.0, 0.0]]).into_dyn()];
        let of = |by| judge(by, &["kndvi"]).score(&all, &predictions);
        assert!((of(KeepBy::KndviMae) - 0.075).abs() < 1e-7);
        assert!((of(KeepBy::Nnse) - 2.0 / 3.0).abs() < 1e-6);
        assert!(judge(KeepBy::Nnse, &["kndvi"]).score(&[], &[]).is_nan());
    }

    /// Of three quantiles the middle one is judged; values were divided by .5.
    #[test]
    fn the_middle_quantile_is_judged() {
        let mut all = examples(arr2(&[[0.4f32, 0.6]]).view(), arr2(&[[1.0f32, 1.0]]).view(), 2);
        all.quantiles = vec![0.1, 0.5, 0.9];
        let predictions = [arr2(&[[0.0f32, 0.5, 1.0, 0.0, 0.6, 1.0]]).into_dyn()];
        let judge = Judge { scale: 0.5, ..judge(KeepBy::KndviMae, &["kndvi"]) };
        assert!((judge.score(&[all], &predictions) - 0.025).abs() < 1e-7);
    }

    /// A forecast that is the truth has the best EarthNetScore there is.
    #[test]
    fn frames_by_their_earthnet_score() {
        let bands = ["blue", "green", "red", "nir"];
        let target = ndarray::Array2::from_shape_fn((1, 3 * 4 * 16 * 16), |(_, k)| {
            0.1 + 0.4 * ((k * 7 + k / 64) % 13) as f32 / 13.0
        });
        let valid = ndarray::Array2::ones(target.dim());
        let all = [examples(target.view(), valid.view(), 3)];
        let of = |frames: ArrayD<f32>| judge(KeepBy::Ens, &bands).score(&all, &[frames]);
        let perfect = of(target.clone().into_dyn());
        assert!((perfect - 1.0).abs() < 1e-6, "{perfect}");
        assert!(of(target.mapv(|v| v * 0.8).into_dyn()) < perfect - 0.01);
    }

    #[test]
    fn ranks_put_the_best_first_and_what_is_unknown_last() {
        let mut scores = [0.3, -f64::NAN, 0.5];
        scores.sort_by(|a, b| KeepBy::Ens.rank(*a).total_cmp(&KeepBy::Ens.rank(*b)));
        assert!(scores[0] == 0.5 && scores[2].is_nan());
        scores.sort_by(|a, b| KeepBy::Loss.rank(*a).total_cmp(&KeepBy::Loss.rank(*b)));
        assert!(scores[0] == 0.3 && scores[2].is_nan());
    }
}
