//! Marginal sensitivity: how much the index changes per unit of weather (equations 15 and 16).
//!
//! Equation 15 is printed as a sum over pairs of perturbations, but the published values only come out as a mean
//! over pairs and forecast steps. The mean is the result; the literal sum is reported beside it.

use ndarray::{ArrayView2, Axis};
use rand::Rng;

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
    /// Lower end of the bootstrap interval; NaN with fewer than two segments.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Weighted mean and SD of segment values, with the central 95 % interval of `draws` bootstrap means over segments.
pub fn weighted(values: &[f64], sizes: &[f64], draws: usize, rng: &mut impl Rng) -> Weighted {
    let mean = weighted_mean(values, sizes);
    let total: f64 = sizes.iter().sum();
    let variance = values.iter().zip(sizes).map(|(v, n)| n * (v - mean).powi(2)).sum::<f64>() / total;
    let (mut low, mut high) = (f64::NAN, f64::NAN);
    if values.len() > 1 && draws > 0 {
        let mut means: Vec<f64> = (0..draws)
            .map(|_| {
                let picks: Vec<usize> = values.iter().map(|_| rng.random_range(0..values.len())).collect();
                let of = |list: &[f64]| picks.iter().map(|i| list[*i]).collect::<Vec<_>>();
                weighted_mean(&of(values), &of(sizes))
            })
            .collect();
        means.sort_by(f64::total_cmp);
        (low, high) = (quantile(&means, 0.025), quantile(&means, 0.975));
    }
    Weighted { mean, sd: variance.sqrt(), low, high }
}

fn weighted_mean(values: &[f64], sizes: &[f64]) -> f64 {
    values.iter().zip(sizes).map(|(v, n)| v * n).sum::<f64>() / sizes.iter().sum::<f64>()
}

/// Linear interpolation between order statistics, as numpy's default.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let position = share * (sorted.len() - 1) as f64;
    let (below, part) = (position.floor() as usize, position.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + part * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use rand::SeedableRng;

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

    #[test]
    fn intervals_need_two_segments() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let one = weighted(&[0.3], &[5.0], 100, &mut rng);
        assert!(one.low.is_nan() && one.sd == 0.0 && one.mean == 0.3);
        let many = weighted(&[0.1, 0.2, 0.3], &[1.0, 2.0, 1.0], 500, &mut rng);
        assert!((many.mean - 0.2).abs() < 1e-15 && (many.sd - (0.005_f64).sqrt()).abs() < 1e-15);
        assert!(many.low >= 0.1 && many.low < many.mean && many.high > many.mean && many.high <= 0.3);
    }
}
