//! From forecast frames to a vegetation-index signal.

use ndarray::{Array2, Array3, Array4, ArrayView5, Axis};
use serde::Serialize;
use x5_dl::GreenIndex;

/// Keeps the quotient finite where both reflectances are nearly 0.
pub(crate) const EPSILON: f64 = 1e-8;

/// The explained index and the forecast channels it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VegetationIndex {
    /// NDVI from the forecast reflectances (equation 13).
    NdviFromBands {
        /// Channel of the near infrared.
        nir: usize,
        /// Channel of the red.
        red: usize,
    },
    /// NDVI that the model forecasts itself.
    Ndvi {
        /// Its channel.
        channel: usize,
    },
    /// kNDVI that the model forecasts itself: then all results are per unit of kNDVI.
    Kndvi {
        /// Its channel.
        channel: usize,
    },
}

impl VegetationIndex {
    /// The index that follows from these forecast channels: NDVI before kNDVI.
    pub fn of_channels(channels: &[String]) -> Option<Self> {
        let find = |name: &str| channels.iter().position(|channel| channel == name);
        match (find("nir"), find("red"), find("ndvi"), find("kndvi")) {
            (Some(nir), Some(red), ..) => Some(Self::NdviFromBands { nir, red }),
            (_, _, Some(channel), _) => Some(Self::Ndvi { channel }),
            (_, _, _, Some(channel)) => Some(Self::Kndvi { channel }),
            _ => None,
        }
    }

    /// Name in all outputs.
    pub fn name(self) -> &'static str {
        match self {
            Self::NdviFromBands { .. } | Self::Ndvi { .. } => "NDVI",
            Self::Kndvi { .. } => "kNDVI",
        }
    }

    /// The index for gradients.
    pub(crate) fn green(self) -> GreenIndex {
        match self {
            Self::NdviFromBands { .. } | Self::Ndvi { .. } => GreenIndex::Ndvi,
            Self::Kndvi { .. } => GreenIndex::Kndvi,
        }
    }

    /// What is so where a pixel has no index.
    pub(crate) fn absent(self) -> &'static str {
        match self {
            Self::NdviFromBands { .. } => "red and nir are 0 or below, or NaN",
            Self::Ndvi { .. } => "ndvi is NaN",
            Self::Kndvi { .. } => "kndvi is NaN",
        }
    }

    /// Index of each pixel, `[batch, step, y, x]` from `[batch, step, channel, y, x]`; NaN without a finite value and
    /// where nir + red = 0. Reflectances below 0 count as 0, above 1 as 1: else NDVI may be any number.
    pub fn pixels(self, frames: ArrayView5<'_, f32>) -> Array4<f64> {
        let finite = |value: f64| if value.is_finite() { value } else { f64::NAN };
        match self {
            Self::NdviFromBands { nir, red } => {
                let reflectance = |value: f32| f64::from(value).clamp(0.0, 1.0);
                let mut index = frames.index_axis(Axis(2), nir).mapv(reflectance);
                index.zip_mut_with(&frames.index_axis(Axis(2), red), |nir, red| {
                    let red = reflectance(*red);
                    let sum = *nir + red;
                    *nir = if sum == 0.0 { f64::NAN } else { finite((*nir - red) / (sum + EPSILON)) };
                });
                index
            }
            Self::Ndvi { channel } | Self::Kndvi { channel } => {
                frames.index_axis(Axis(2), channel).mapv(|value| finite(f64::from(value)))
            }
        }
    }

    /// Mean over the pixels of each frame: `[batch, step]` from `[batch, step, channel, y, x]`. Pixels without an index
    /// are left out; NaN where none is left.
    pub fn signals(self, frames: ArrayView5<'_, f32>) -> Array2<f64> {
        mean_of_pixels(&self.pixels(frames))
    }
}

/// Mean over the pixels that are there, `[batch, step]` from `[batch, step, y, x]`; NaN where there is none.
pub(crate) fn mean_of_pixels(pixels: &Array4<f64>) -> Array2<f64> {
    let (batch, steps, ..) = pixels.dim();
    Array2::from_shape_fn((batch, steps), |(b, t)| {
        let frame = pixels.index_axis(Axis(0), b).index_axis_move(Axis(0), t);
        let there = frame.iter().filter(|value| !value.is_nan());
        let (sum, count) = there.fold((0.0, 0_usize), |(sum, count), value| (sum + value, count + 1));
        sum / count as f64
    })
}

/// Index maps `[batch, step, y, x]` that are NaN where a pixel does not count. `masks` `[sample, y, x]` may be those of
/// samples that the batch repeats.
pub(crate) fn masked(mut pixels: Array4<f64>, masks: &Array3<bool>) -> Array4<f64> {
    for (sample, mut steps) in pixels.outer_iter_mut().enumerate() {
        let mask = masks.index_axis(Axis(0), sample % masks.len_of(Axis(0)));
        for mut frame in steps.outer_iter_mut() {
            frame.zip_mut_with(&mask, |value, counts| *value = if *counts { *value } else { f64::NAN });
        }
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array5, array};

    /// Two samples, each twice: of the first only the left pixel counts, of the second none.
    #[test]
    fn only_pixels_that_count_are_averaged() {
        let pixels = Array4::from_shape_fn((4, 1, 1, 2), |(sample, _, _, x)| sample as f64 + 0.5 * x as f64);
        let mean = mean_of_pixels(&masked(pixels, &array![[[true, false]], [[false, false]]]));
        assert_eq!((mean[[0, 0]], mean[[2, 0]]), (0.0, 2.0));
        assert!(mean[[1, 0]].is_nan() && mean[[3, 0]].is_nan());
    }

    #[test]
    fn ndvi_skips_black_and_missing_pixels() {
        let channels = ["blue", "red", "nir"].map(str::to_owned);
        let index = VegetationIndex::of_channels(&channels).unwrap();
        let mut frames = Array5::<f32>::zeros((1, 1, 3, 2, 2));
        // (.3 − .1) / .4 = .5 and (.1 − .1) / .2 = 0; the others are black and missing.
        for (pixel, red, nir) in
            [((0, 0), 0.1, 0.3), ((0, 1), 0.1, 0.1), ((1, 0), 0.0, 0.0), ((1, 1), f32::NAN, 0.3)]
        {
            frames[[0, 0, 1, pixel.0, pixel.1]] = red;
            frames[[0, 0, 2, pixel.0, pixel.1]] = nir;
        }
        assert!((index.signals(frames.view())[[0, 0]] - 0.25).abs() < 1e-6);
        // Forecasts below 0: NDVI is 1 where it would be 3, and there is none where both are.
        (frames[[0, 0, 1, 1, 0]], frames[[0, 0, 2, 1, 0]]) = (-0.2, 0.4);
        (frames[[0, 0, 1, 1, 1]], frames[[0, 0, 2, 1, 1]]) = (-0.2, -0.1);
        assert!((index.signals(frames.view())[[0, 0]] - 0.5).abs() < 1e-6);
        frames.fill(0.0);
        assert!(index.signals(frames.view())[[0, 0]].is_nan());
    }

    #[test]
    fn a_forecast_index_is_taken_as_it_is() {
        let index = VegetationIndex::of_channels(&["kndvi".to_owned()]).unwrap();
        assert_eq!((index, index.name()), (VegetationIndex::Kndvi { channel: 0 }, "kNDVI"));
        let frames = Array5::<f32>::from_elem((2, 3, 1, 4, 4), 0.5);
        assert!(index.signals(frames.view()).iter().all(|v| *v == 0.5));
        assert_eq!(VegetationIndex::of_channels(&["green".to_owned()]), None);
    }
}
