//! What a forecaster may know of the context.

use ndarray::{Array5, Axis};
use serde::{Deserialize, Serialize};

use crate::data::Batch;

/// What is fed where the context has no valid observation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContextGaps {
    /// The stored value, except that after a pixel's last valid observation of the context that observation is
    /// held. Level 2 fills gaps between the observations on both sides; without this the last context steps
    /// would be interpolated towards the future that is to be forecast.
    #[default]
    Hold,
    /// The stored value, whatever it is; as the published models do.
    AsStored,
}

/// The context of a batch, `[batch, context, channel, y, x]`.
pub(crate) fn context(batch: &Batch, steps: usize, gaps: ContextGaps) -> Array5<f32> {
    let mut context = batch.dynamic.slice(ndarray::s![.., ..steps, .., .., ..]).to_owned();
    if gaps == ContextGaps::AsStored {
        return context;
    }
    let (n, _, channels, rows, cols) = context.dim();
    for b in 0..n {
        for y in 0..rows {
            for x in 0..cols {
                let Some(last) = last_valid(batch, b, steps, y, x) else { continue };
                for c in 0..channels {
                    let held = context[[b, last, c, y, x]];
                    for t in last + 1..steps {
                        context[[b, t, c, y, x]] = held;
                    }
                }
            }
        }
    }
    context
}

/// The last context step with a valid observation of a pixel.
pub(crate) fn last_valid(batch: &Batch, sample: usize, steps: usize, y: usize, x: usize) -> Option<usize> {
    (0..steps).rev().find(|&t| batch.valid[[sample, t, y, x]] > 0.0)
}

/// Mean over the finite values of an axis-0 slice, 0 where there are none.
pub(crate) fn finite_mean(values: impl Iterator<Item = f32>) -> f32 {
    let (sum, count) =
        values.filter(|v| v.is_finite()).fold((0.0f64, 0u32), |(s, n), v| (s + f64::from(v), n + 1));
    if count == 0 { 0.0 } else { (sum / f64::from(count)) as f32 }
}

/// The frames after the context, `[batch, target, channel, y, x]`.
pub(crate) fn target(batch: &Batch, context_steps: usize) -> ndarray::ArrayView5<'_, f32> {
    batch.dynamic.slice_axis(Axis(1), ndarray::Slice::from(context_steps..))
}

/// Validity after the context, `[batch, target, y, x]`.
pub(crate) fn target_valid(batch: &Batch, context_steps: usize) -> ndarray::ArrayView4<'_, f32> {
    batch.valid.slice_axis(Axis(1), ndarray::Slice::from(context_steps..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, Array4, ArrayD, IxDyn};

    /// One pixel, one channel.
    pub(crate) fn series(values: &[f32], valid: &[f32]) -> Batch {
        let n = values.len();
        let five = |v: &[f32]| {
            ArrayD::from_shape_vec(IxDyn(&[1, n, 1, 1, 1]), v.to_vec())
                .unwrap()
                .into_dimensionality()
                .unwrap()
        };
        Batch {
            dynamic: five(values),
            valid: Array4::from_shape_vec((1, n, 1, 1), valid.to_vec()).unwrap(),
            weather: Array5::zeros((1, n, 0, 1, 1)),
            statics: Array4::zeros((1, 0, 1, 1)),
            dates: Array2::zeros((1, n)),
            sample_ids: vec!["a".into()],
        }
    }

    #[test]
    fn the_future_does_not_leak_through_filled_gaps() {
        // Steps 2 and 3 were filled towards the target value 0.9; the forecaster must see 0.2 held.
        let batch = series(&[0.1, 0.2, 0.4, 0.6, 0.9], &[1.0, 1.0, 0.0, 0.0, 1.0]);
        let held = context(&batch, 4, ContextGaps::Hold);
        assert_eq!(held.iter().copied().collect::<Vec<_>>(), [0.1, 0.2, 0.2, 0.2]);
        let stored = context(&batch, 4, ContextGaps::AsStored);
        assert_eq!(stored.iter().copied().collect::<Vec<_>>(), [0.1, 0.2, 0.4, 0.6]);
    }

    #[test]
    fn gaps_inside_the_context_stay_filled() {
        let batch = series(&[0.1, 0.2, 0.3, 0.9], &[1.0, 0.0, 1.0, 1.0]);
        let held = context(&batch, 3, ContextGaps::Hold);
        assert_eq!(held.iter().copied().collect::<Vec<_>>(), [0.1, 0.2, 0.3]);
    }
}
