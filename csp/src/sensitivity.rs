//! Marginal sensitivity: how much the index changes per unit of weather (equations 15 and 16).
//!
//! Equation 15 is printed as a sum over pairs of perturbations, but the published values only come out as a mean
//! over pairs and forecast steps. The mean is the result; the literal sum is reported beside it.

use ndarray::{Array3, ArrayView2, Axis};

use crate::bootstrap::{Stratum, intervals};
use crate::respond::mean_signals;

/// Sensitivity of one segment to one variable, in index units per unit of the variable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sensitivity {
    /// Mean over the pairs of perturbations and over the steps of `|difference| / |a − b|`.
    pub mean_over_pairs: f64,
    /// Equation 15 as printed: the sum over ordered pairs, averaged over the steps.
    pub literal_sum: f64,
}

/// Sensitivity from the segment's index signals `[delta, step]` under the perturbations `deltas` (all different).
pub fn sensitivity(signals: ArrayView2<'_, f64>, deltas: &[f64]) -> Sensitivity {
    let steps = signals.len_of(Axis(1)) as f64;
    let (mut sum, mut pairs) = (0.0, 0_usize);
    for (a, left) in signals.outer_iter().enumerate() {
        for (b, right) in signals.outer_iter().enumerate().filter(|(b, _)| *b != a) {
            let change: f64 = left.iter().zip(right).map(|(x, y)| (x - y).abs()).sum();
            sum += change / steps / (deltas[a] - deltas[b]).abs();
            pairs += 1;
        }
    }
    Sensitivity { mean_over_pairs: sum / pairs as f64, literal_sum: sum }
}

/// A global value over segments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weighted {
    /// Mean, weighted by the segments' sizes.
    pub mean: f64,
    /// Weighted standard deviation over segments.
    pub sd: f64,
    /// Lower end of the bootstrap interval; NaN with fewer than two samples.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Weighted mean and standard deviation of segment values.
pub fn weighted(values: &[f64], sizes: &[f64]) -> (f64, f64) {
    let mean = values.iter().zip(sizes).map(|(v, n)| v * n).sum::<f64>() / sizes.iter().sum::<f64>();
    let total: f64 = sizes.iter().sum();
    let variance = values.iter().zip(sizes).map(|(v, n)| n * (v - mean).powi(2)).sum::<f64>() / total;
    (mean, variance.sqrt())
}

/// Equation 16 for both readings, with bootstrap intervals: `[mean over pairs, literal sum]` of one variable, whose
/// deltas are the perturbations `rows` of `responses` `[sample, perturbation, step]`. One stratum a segment.
pub fn global_sensitivity(
    responses: &Array3<f64>,
    strata: &[Stratum],
    rows: &[usize],
    deltas: &[f64],
    draws: usize,
    seed: u64,
) -> [Weighted; 2] {
    let own = responses.select(Axis(1), rows);
    let of_segments = |strata: &[Stratum]| -> [(f64, f64); 2] {
        let sizes: Vec<f64> = strata.iter().map(|stratum| stratum.weight).collect();
        let values: Vec<Sensitivity> = strata
            .iter()
            .map(|stratum| sensitivity(mean_signals(&own, &stratum.positions).view(), deltas))
            .collect();
        let over =
            |get: fn(&Sensitivity) -> f64| weighted(&values.iter().map(get).collect::<Vec<_>>(), &sizes);
        [over(|s| s.mean_over_pairs), over(|s| s.literal_sum)]
    };
    let found = of_segments(strata);
    let ranges = intervals(strata, draws, seed, |drawn| of_segments(drawn).map(|(mean, _)| mean).to_vec());
    let both =
        |i: usize| Weighted { mean: found[i].0, sd: found[i].1, low: ranges[i][0], high: ranges[i][1] };
    [both(0), both(1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_line_has_its_slope_as_sensitivity() {
        // Index = .5 + .02 d at every step: every pair gives .02; 6 ordered pairs sum to .12.
        let signals = array![[0.46, 0.46], [0.5, 0.5], [0.6, 0.6]];
        let found = sensitivity(signals.view(), &[-2.0, 0.0, 5.0]);
        assert!((found.mean_over_pairs - 0.02).abs() < 1e-15);
        assert!((found.literal_sum - 0.12).abs() < 1e-15);
    }

    #[test]
    fn the_absolute_value_comes_before_the_time_mean() {
        // Up in one step, down in the other: no change on average, but |change| = .1 per unit.
        let found = sensitivity(array![[0.5, 0.5], [0.6, 0.4]].view(), &[0.0, 1.0]);
        assert!((found.mean_over_pairs - 0.1).abs() < 1e-12);
    }

    /// Three samples with slopes .1, .2 and .3; the first two are one segment of two, the third stands for two more.
    #[test]
    fn segments_weigh_by_their_size() {
        let responses = Array3::from_shape_fn((3, 2, 4), |(i, d, _)| 0.1 * (i + 1) as f64 * d as f64);
        let strata =
            [Stratum { weight: 2.0, positions: vec![0, 1] }, Stratum { weight: 2.0, positions: vec![2] }];
        let [mean, sum] = global_sensitivity(&responses, &strata, &[0, 1], &[0.0, 1.0], 500, 1);
        // Segment values .15 and .3, deviations ± .075.
        assert!((mean.mean - 0.225).abs() < 1e-12 && (mean.sd - 0.075).abs() < 1e-12);
        assert!((sum.mean - 0.45).abs() < 1e-12);
        assert!(mean.low >= 0.1 && mean.low < mean.mean && mean.high > mean.mean && mean.high <= 0.3 + 1e-12);
    }
}
