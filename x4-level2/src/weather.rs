//! Daily series to statistics per step.

use ndarray::ArrayView3;

use crate::Steps;

/// The statistics of a weather variable, in the order they are stored.
pub const STATISTICS: [&str; 3] = ["mean", "min", "max"];

/// Mean, minimum and maximum over the finite days of each step; NaN where a step has none.
#[derive(Clone, Debug, PartialEq)]
pub struct StepStatistics {
    /// Means, one a step.
    pub mean: Vec<f32>,
    /// Minima.
    pub min: Vec<f32>,
    /// Maxima.
    pub max: Vec<f32>,
}

impl StepStatistics {
    /// The three series, in the order of [`STATISTICS`].
    #[must_use]
    pub fn series(&self) -> [&[f32]; 3] {
        [&self.mean, &self.min, &self.max]
    }
}

/// Statistics of a daily series per step; `days` are the CF days of `values`, in any order.
#[must_use]
pub fn step_statistics(days: &[i32], values: &[f32], steps: &Steps) -> StepStatistics {
    let mut sum = vec![0.0_f64; steps.len];
    let mut count = vec![0_u32; steps.len];
    let mut min = vec![f32::NAN; steps.len];
    let mut max = vec![f32::NAN; steps.len];
    for (&day, &value) in days.iter().zip(values) {
        let Some(k) = steps.index_of(day).filter(|_| value.is_finite()) else { continue };
        sum[k] += f64::from(value);
        count[k] += 1;
        min[k] = min[k].min(value);
        max[k] = max[k].max(value);
    }
    let mean = sum.iter().zip(&count).map(|(sum, &n)| (sum / f64::from(n)) as f32).collect();
    StepStatistics { mean, min, max }
}

/// Mean over the finite pixels of a window, one value a day; NaN on days without any.
///
/// # Shapes
/// - values: `[time, y, x]`
#[must_use]
pub fn window_mean(values: ArrayView3<'_, f32>) -> Vec<f32> {
    values
        .outer_iter()
        .map(|frame| {
            let (sum, n) = frame
                .iter()
                .filter(|value| value.is_finite())
                .fold((0.0, 0_u32), |(sum, n), &value| (sum + f64::from(value), n + 1));
            (sum / f64::from(n)) as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    /// Steps of 2 days from day 10: {10, 11}, {12, 13}, {14, 15}.
    #[test]
    fn by_hand() {
        let steps = Steps { first_day: 10, step_days: 2, len: 3 };
        let found = step_statistics(&[9, 10, 11, 12, 13, 16], &[99., 1., 4., f32::NAN, -2., 99.], &steps);
        assert_eq!(found.mean[..2], [2.5, -2.0]);
        assert_eq!(found.min[..2], [1.0, -2.0]);
        assert_eq!(found.max[..2], [4.0, -2.0]);
        assert!(found.series().iter().all(|series| series[2].is_nan()));
    }

    #[test]
    fn a_window_skips_missing_pixels() {
        let window = array![[[1.0_f32, f32::NAN], [3.0, 2.0]], [[f32::NAN, f32::NAN], [f32::NAN, f32::NAN]]];
        let means = window_mean(window.view());
        assert_eq!(means[0], 2.0);
        assert!(means[1].is_nan());
    }
}
