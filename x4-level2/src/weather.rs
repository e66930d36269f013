//! Daily series to statistics per step.

use ndarray::ArrayView3;
use serde::{Deserialize, Serialize};

use crate::Steps;

/// A statistic over the days of a step that have a value; NaN where none has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Statistic {
    /// Arithmetic mean.
    Mean,
    /// Minimum.
    Min,
    /// Maximum.
    Max,
    /// Days of the step times the mean: the sum where every day has a value, and no smaller for a day that has none.
    Sum,
}

/// The statistics that are stored unless others are asked for, in that order.
pub const STATISTICS: [Statistic; 3] = [Statistic::Mean, Statistic::Min, Statistic::Max];

impl Statistic {
    /// The end of the variable's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Statistic::Mean => "mean",
            Statistic::Min => "min",
            Statistic::Max => "max",
            Statistic::Sum => "sum",
        }
    }
}

/// All statistics of a series, one value a step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepStatistics {
    /// Means.
    pub mean: Vec<f32>,
    /// Minima.
    pub min: Vec<f32>,
    /// Maxima.
    pub max: Vec<f32>,
    /// Sums.
    pub sum: Vec<f32>,
}

impl StepStatistics {
    /// The series of one statistic.
    #[must_use]
    pub fn series(&self, statistic: Statistic) -> &[f32] {
        match statistic {
            Statistic::Mean => &self.mean,
            Statistic::Min => &self.min,
            Statistic::Max => &self.max,
            Statistic::Sum => &self.sum,
        }
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
    let means = sum.iter().zip(&count).map(|(sum, &n)| sum / f64::from(n));
    let sum = means.clone().map(|mean| (mean * f64::from(steps.step_days)) as f32).collect();
    StepStatistics { mean: means.map(|mean| mean as f32).collect(), min, max, sum }
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
        assert_eq!(found.sum[..2], [5.0, -4.0], "1 + 4; -2 stands for both days of its step");
        let all = [Statistic::Mean, Statistic::Min, Statistic::Max, Statistic::Sum];
        assert!(all.iter().all(|&statistic| found.series(statistic)[2].is_nan()));
    }

    #[test]
    fn a_window_skips_missing_pixels() {
        let window = array![[[1.0_f32, f32::NAN], [3.0, 2.0]], [[f32::NAN, f32::NAN], [f32::NAN, f32::NAN]]];
        let means = window_mean(window.view());
        assert_eq!(means[0], 2.0);
        assert!(means[1].is_nan());
    }
}
