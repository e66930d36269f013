//! Intervals by the bootstrap in two stages: segments are drawn with replacement, and samples within each of them.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Samples that stand for a share of all samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Stratum {
    /// How many samples they stand for.
    pub weight: f64,
    /// Their positions in the responses.
    pub positions: Vec<usize>,
}

/// The central 95 % of `draws` redrawn values of each number of `statistic`; NaN with fewer than two samples or without
/// draws. Both what differs between segments and that only some of their samples were forecast is in it.
pub fn intervals(
    strata: &[Stratum],
    draws: usize,
    seed: u64,
    statistic: impl Fn(&[Stratum]) -> Vec<f64> + Sync,
) -> Vec<[f64; 2]> {
    let samples: usize = strata.iter().map(|stratum| stratum.positions.len()).sum();
    if samples < 2 || draws == 0 {
        return statistic(strata).iter().map(|_| [f64::NAN; 2]).collect();
    }
    let drawn: Vec<Vec<f64>> = (0..draws)
        .into_par_iter()
        .map(|draw| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(draw as u64);
            statistic(&redrawn(strata, &mut rng))
        })
        .collect();
    let numbers = drawn.first().map_or(0, Vec::len);
    (0..numbers)
        .map(|i| {
            let mut sorted: Vec<f64> =
                drawn.iter().map(|values| values[i]).filter(|v| v.is_finite()).collect();
            sorted.sort_by(f64::total_cmp);
            [quantile(&sorted, 0.025), quantile(&sorted, 0.975)]
        })
        .collect()
}

fn redrawn(strata: &[Stratum], rng: &mut impl Rng) -> Vec<Stratum> {
    (0..strata.len())
        .map(|_| {
            let Stratum { weight, positions } = &strata[rng.random_range(0..strata.len())];
            let pick = |rng: &mut _| positions[Rng::random_range(rng, 0..positions.len())];
            Stratum { weight: *weight, positions: (0..positions.len()).map(|_| pick(&mut *rng)).collect() }
        })
        .collect()
}

/// Linear interpolation between order statistics, as numpy's default; NaN without values.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = share * last as f64;
    let (below, part) = (position.floor() as usize, position.fract());
    sorted[below] + part * (sorted[(below + 1).min(last)] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean of 100 values with SD σ has a standard error of σ / 10, so the interval is ± 1.96 σ / 10 wide.
    #[test]
    fn one_stratum_gives_the_standard_error() {
        let values: Vec<f64> = (0..100).map(|i| f64::from((i * 37) % 100) / 100.0).collect();
        let all = [Stratum { weight: 1.0, positions: (0..100).collect() }];
        let mean =
            |strata: &[Stratum]| vec![strata[0].positions.iter().map(|p| values[*p]).sum::<f64>() / 100.0];
        let [low, high] = intervals(&all, 2000, 3, mean)[0];
        let sd = values.iter().map(|v| (v - 0.495).powi(2)).sum::<f64>().sqrt() / 10.0;
        let half = 1.96 * sd / 10.0;
        assert!(((high - low) / (2.0 * half) - 1.0).abs() < 0.08, "{low} {high}, expected ± {half}");
        assert!((0.5 * (low + high) - 0.495).abs() < 0.1 * half);
    }

    #[test]
    fn one_sample_has_no_interval() {
        let one = [Stratum { weight: 5.0, positions: vec![0] }];
        assert!(intervals(&one, 100, 1, |_| vec![1.0])[0][0].is_nan());
        assert!(quantile(&[], 0.5).is_nan());
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
    }
}
