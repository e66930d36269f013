//! A number to take gradients of: the mean of a vegetation index over parts of a forecast.

use ndarray::{Array3, Array4, ArrayView4};

/// A vegetation index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GreenIndex {
    /// (nir − red) / (nir + red + ε) of reflectances between 0 and 1; what is below counts as 0, what is above as 1.
    Ndvi,
    /// tanh(NDVI²), <https://doi.org/10.1126/sciadv.abc7447>
    Kndvi,
}

/// Weighted mean of a vegetation index over the steps and pixels of one sample's forecast.
#[derive(Clone, Debug)]
pub struct IndexMean {
    index: GreenIndex,
    source: Source,
    epsilon: f64,
    weights: Array3<f64>,
}

/// The channels that the index comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    Bands { red: usize, nir: usize },
    Ndvi(usize),
    Kndvi(usize),
}

impl IndexMean {
    /// A mean of forecasts with these channels; `weights` are those of the values `[step, y, x]`, at least 0, and
    /// `ndvi_epsilon` is that of Level 2 (1e-6 where it says none). A forecast index is taken as it is, and comes before
    /// red and nir. `None` where the channels do not give the index.
    #[must_use]
    pub fn new(
        index: GreenIndex,
        channels: &[String],
        ndvi_epsilon: f64,
        weights: Array3<f64>,
    ) -> Option<IndexMean> {
        let at = |name: &str| channels.iter().position(|channel| channel == name);
        let bands = at("red").zip(at("nir")).map(|(red, nir)| Source::Bands { red, nir });
        let ndvi = at("ndvi").map(Source::Ndvi).or(bands);
        let source = match index {
            GreenIndex::Ndvi => ndvi,
            GreenIndex::Kndvi => at("kndvi").map(Source::Kndvi).or(ndvi),
        };
        source.map(|source| IndexMean { index, source, epsilon: ndvi_epsilon, weights })
    }

    /// The mean over the values that have an index (finite, nir + red + ε not 0), and its derivative with respect to
    /// each value of the frames `[step, channel, y, x]`; NaN and zeros where no value has one.
    #[must_use]
    pub fn of(&self, frames: ArrayView4<'_, f32>) -> (f64, Array4<f64>) {
        let (mut sum, mut all) = (0.0, 0.0);
        let mut derivative = Array4::zeros(frames.dim());
        for ((t, y, x), &weight) in self.weights.indexed_iter() {
            let value = |channel: usize| f64::from(frames[[t, channel, y, x]]);
            let (ndvi, slopes) = match self.source {
                Source::Kndvi(channel) => (value(channel), [(channel, 1.0), (channel, 0.0)]),
                Source::Ndvi(channel) => (value(channel), [(channel, 1.0), (channel, 0.0)]),
                Source::Bands { red, nir } => {
                    let within = |v: f64| if (0.0..=1.0).contains(&v) { 1.0 } else { 0.0 };
                    let [to_red, to_nir] = [red, nir].map(|channel| within(value(channel)));
                    let [r, n] = [red, nir].map(|channel| value(channel).clamp(0.0, 1.0));
                    let (total, e) = (n + r + self.epsilon, self.epsilon);
                    let [by_nir, by_red] = [2.0 * r + e, -(2.0 * n + e)].map(|by| by / (total * total));
                    ((n - r) / total, [(nir, to_nir * by_nir), (red, to_red * by_red)])
                }
            };
            let as_it_is = self.index == GreenIndex::Ndvi || matches!(self.source, Source::Kndvi(_));
            let (index, slope) = match as_it_is {
                true => (ndvi, 1.0),
                false => {
                    let kndvi = (ndvi * ndvi).tanh();
                    (kndvi, (1.0 - kndvi * kndvi) * 2.0 * ndvi)
                }
            };
            if index.is_finite() {
                sum += weight * index;
                all += weight;
                for (channel, inner) in slopes {
                    derivative[[t, channel, y, x]] += weight * slope * inner;
                }
            }
        }
        if all > 0.0 {
            derivative /= all;
        }
        (sum / all, derivative)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr3;

    fn mean(index: GreenIndex, channels: &[&str], weights: Array3<f64>) -> Option<IndexMean> {
        let channels: Vec<String> = channels.iter().map(|&name| name.to_owned()).collect();
        IndexMean::new(index, &channels, 0.0, weights)
    }

    /// NDVI of red .1 and nir .3 is .5, and changes by 2 · .1 / .16 = 1.25 a unit of nir, −2 · .3 / .16 = −3.75 of red;
    /// kNDVI is tanh(.25) and changes by 1 − tanh² (.25) times as much (2 · .5 = 1).
    #[test]
    fn slopes_of_the_indexes_by_hand() {
        let mut frames = Array4::zeros((1, 2, 1, 2));
        (frames[[0, 0, 0, 0]], frames[[0, 1, 0, 0]]) = (0.1f32, 0.3);
        // The second pixel is black: it has no index and does not count.
        let weights = arr3(&[[[0.5, 0.5]]]);
        let (value, slopes) =
            mean(GreenIndex::Ndvi, &["red", "nir"], weights.clone()).unwrap().of(frames.view());
        assert!((value - 0.5).abs() < 1e-7);
        assert!((slopes[[0, 0, 0, 0]] + 3.75).abs() < 1e-6 && (slopes[[0, 1, 0, 0]] - 1.25).abs() < 1e-6);
        assert_eq!((slopes[[0, 0, 0, 1]], slopes[[0, 1, 0, 1]]), (0.0, 0.0));
        let (value, slopes) = mean(GreenIndex::Kndvi, &["red", "nir"], weights).unwrap().of(frames.view());
        let kndvi = 0.25f64.tanh();
        assert!((value - kndvi).abs() < 1e-7);
        assert!((slopes[[0, 1, 0, 0]] - 1.25 * (1.0 - kndvi * kndvi)).abs() < 1e-6);
    }

    /// Red of −.2 counts as 0: NDVI is 1 instead of 3, and no small change of red matters.
    #[test]
    fn reflectances_below_0_count_as_0() {
        let frames = Array4::from_shape_vec((1, 2, 1, 1), vec![-0.2f32, 0.4]).unwrap();
        let (value, slopes) =
            mean(GreenIndex::Ndvi, &["red", "nir"], arr3(&[[[1.0]]])).unwrap().of(frames.view());
        assert_eq!((value, slopes[[0, 0, 0, 0]], slopes[[0, 1, 0, 0]]), (1.0, 0.0, 0.0));
    }

    /// Weights 1 and 3: (.2 + 3 · .6) / 4 = .5, and slopes 1/4 and 3/4.
    #[test]
    fn a_forecast_index_is_averaged_as_it_is() {
        let frames = Array4::from_shape_vec((1, 1, 1, 2), vec![0.2f32, 0.6]).unwrap();
        let weights = arr3(&[[[1.0, 3.0]]]);
        let (value, slopes) = mean(GreenIndex::Kndvi, &["kndvi"], weights).unwrap().of(frames.view());
        assert!((value - 0.5).abs() < 1e-7);
        assert_eq!(slopes.iter().copied().collect::<Vec<_>>(), [0.25, 0.75]);
        assert!(mean(GreenIndex::Ndvi, &["kndvi"], arr3(&[[[1.0, 3.0]]])).is_none());
        let none = mean(GreenIndex::Kndvi, &["kndvi"], Array3::zeros((1, 1, 2))).unwrap();
        assert!(none.of(frames.view()).0.is_nan());
    }
}
