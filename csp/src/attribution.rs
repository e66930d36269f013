//! Which values of the past, the weather and the land a forecast owes how much to: gradients, and integrated gradients
//! (Sundararajan, Taly and Yan, 2017, doi:10.48550/arXiv.1703.01365).
//!
//! Integrated gradients follow the straight line from a baseline to the sample and add up the gradients on the way: each
//! value gets its difference to the baseline times its mean gradient. All together they are the difference of the two
//! forecasts (completeness); what is left of that is the error of the sum over so many points, and is told.

use ndarray::{Array, Array4, Array5, Dimension, Zip};
use x5_dl::{Batch, InputGradient};

use crate::error::Error;

/// What a number made of each sample's forecast owes to each value that it is made of.
#[derive(Clone, Debug)]
pub struct Attribution {
    /// The number at the sample and at the baseline, one pair a sample.
    pub values: Vec<[f64; 2]>,
    /// Part of each value of the past, `[batch, time, channel, y, x]`.
    pub dynamic: Array5<f64>,
    /// Part of the weather, `[batch, time, variable, wy, wx]`.
    pub weather: Array5<f64>,
    /// Part of the land, `[batch, layer, y, x]`.
    pub statics: Array4<f64>,
}

impl Attribution {
    /// Sum of all parts of a sample less the difference of its values: 0 for exact integrals.
    pub fn gap(&self, sample: usize) -> f64 {
        let sum = |parts: ndarray::ArrayViewD<'_, f64>| parts.sum();
        let axis = ndarray::Axis(0);
        let parts = sum(self.dynamic.index_axis(axis, sample).into_dyn())
            + sum(self.weather.index_axis(axis, sample).into_dyn())
            + sum(self.statics.index_axis(axis, sample).into_dyn());
        parts - (self.values[sample][0] - self.values[sample][1])
    }
}

/// Integrated gradients of a number per sample, from `baseline` to `batch`, by the middle points of `points` equal parts of
/// the way. `gradient` gives the numbers of a batch with their gradient. Values that are missing in either batch get 0.
///
/// # Errors
/// Those of `gradient`.
pub fn integrated_gradients(
    batch: &Batch,
    baseline: &Batch,
    points: usize,
    mut gradient: impl FnMut(&Batch) -> Result<InputGradient, Error>,
) -> Result<Attribution, Error> {
    let mut found = Attribution {
        values: Vec::new(),
        dynamic: Array5::zeros(batch.dynamic.dim()),
        weather: Array5::zeros(batch.weather.dim()),
        statics: Array4::zeros(batch.statics.dim()),
    };
    let points = points.max(1);
    let share = 1.0 / points as f64;
    for point in 0..points {
        let slopes = gradient(&between(batch, baseline, (point as f64 + 0.5) * share))?;
        found.dynamic.scaled_add(share, &slopes.dynamic);
        found.weather.scaled_add(share, &slopes.weather);
        found.statics.scaled_add(share, &slopes.statics);
    }
    times_difference(&mut found.dynamic, &batch.dynamic, &baseline.dynamic);
    times_difference(&mut found.weather, &batch.weather, &baseline.weather);
    times_difference(&mut found.statics, &batch.statics, &baseline.statics);
    let ends = [gradient(batch)?.value, gradient(baseline)?.value];
    found.values = ends[0].iter().zip(&ends[1]).map(|(here, there)| [*here, *there]).collect();
    Ok(found)
}

/// The batch at `share` of the way from the baseline.
fn between(batch: &Batch, baseline: &Batch, share: f64) -> Batch {
    fn mix<D: Dimension>(here: &mut Array<f32, D>, there: &Array<f32, D>, share: f64) {
        here.zip_mut_with(there, |here, there| {
            let (a, b) = (f64::from(*there), f64::from(*here));
            *here = (a + share * (b - a)) as f32;
        });
    }
    let mut mixed = batch.clone();
    mix(&mut mixed.dynamic, &baseline.dynamic, share);
    mix(&mut mixed.weather, &baseline.weather, share);
    mix(&mut mixed.statics, &baseline.statics, share);
    mixed
}

fn times_difference<D: Dimension>(slopes: &mut Array<f64, D>, here: &Array<f32, D>, there: &Array<f32, D>) {
    Zip::from(slopes).and(here).and(there).for_each(|slope, here, there| {
        let gap = f64::from(*here) - f64::from(*there);
        *slope = if gap.is_finite() { *slope * gap } else { 0.0 };
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, Array4, Array5};

    fn batch(value: f32) -> Batch {
        Batch {
            dynamic: Array5::from_elem((1, 2, 1, 1, 2), value),
            valid: Array4::ones((1, 2, 1, 2)),
            weather: Array5::from_shape_fn((1, 2, 2, 1, 1), |(_, t, v, ..)| {
                value * (1.0 + (t + 2 * v) as f32)
            }),
            statics: Array4::from_elem((1, 1, 1, 2), 2.0 * value),
            dates: Array2::zeros((1, 2)),
            sample_ids: vec!["one".into()],
        }
    }

    /// f = 3 d₀ + w₀² + s₀ s₁ with d₀ the first value of the past, w₀ the first weather, s the land.
    fn gradient(batch: &Batch) -> Result<InputGradient, Error> {
        let number = |value: f32| f64::from(value);
        let (d, w) = (number(batch.dynamic[[0; 5]]), number(batch.weather[[0; 5]]));
        let [s, t] = [0, 1].map(|x| number(batch.statics[[0, 0, 0, x]]));
        let mut slopes = InputGradient {
            value: vec![3.0 * d + w * w + s * t],
            dynamic: Array5::zeros(batch.dynamic.dim()),
            weather: Array5::zeros(batch.weather.dim()),
            statics: Array4::zeros(batch.statics.dim()),
        };
        slopes.dynamic[[0; 5]] = 3.0;
        slopes.weather[[0; 5]] = 2.0 * w;
        slopes.statics[[0, 0, 0, 0]] = t;
        slopes.statics[[0, 0, 0, 1]] = s;
        Ok(slopes)
    }

    /// From 0 to d = 1, w = 1, s = (2, 2): 3, 1 and twice half of the product 4; from one point on, as all is of second order.
    #[test]
    fn integrals_of_known_gradients_are_exact_and_complete() {
        for points in [1, 8] {
            let found = integrated_gradients(&batch(1.0), &batch(0.0), points, gradient).unwrap();
            assert_eq!(found.values, [[8.0, 0.0]]);
            assert!((found.dynamic[[0; 5]] - 3.0).abs() < 1e-12 && (found.dynamic.sum() - 3.0).abs() < 1e-12);
            assert!((found.weather[[0; 5]] - 1.0).abs() < 1e-6 && (found.weather.sum() - 1.0).abs() < 1e-6);
            assert!(found.statics.iter().all(|part| (part - 2.0).abs() < 1e-6));
            assert!(found.gap(0).abs() < 1e-6, "{}", found.gap(0));
        }
    }

    /// f = w³ from 0 to 1: the middle-point sum over n parts is 1 − 1/4n², which the gap says.
    #[test]
    fn the_gap_is_the_error_of_the_sum() {
        let cubic = |batch: &Batch| {
            let mut slopes = gradient(batch)?;
            let w = f64::from(batch.weather[[0; 5]]);
            slopes.dynamic.fill(0.0);
            slopes.statics.fill(0.0);
            slopes.value = vec![w.powi(3)];
            slopes.weather[[0; 5]] = 3.0 * w * w;
            Ok(slopes)
        };
        for points in [1, 4] {
            let found = integrated_gradients(&batch(1.0), &batch(0.0), points, cubic).unwrap();
            let exact = -0.25 / (points * points) as f64;
            assert!((found.gap(0) - exact).abs() < 1e-6, "{} of {points} points", found.gap(0));
        }
    }

    #[test]
    fn missing_values_owe_nothing() {
        let mut some = batch(1.0);
        some.dynamic[[0; 5]] = f32::NAN;
        let found = integrated_gradients(&some, &batch(0.0), 2, |batch| {
            let mut slopes = gradient(&self::batch(0.5))?;
            slopes.value = vec![f64::from(batch.weather[[0; 5]])];
            Ok(slopes)
        });
        assert_eq!(found.unwrap().dynamic[[0; 5]], 0.0);
    }
}
