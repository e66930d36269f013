//! Lag analysis: the weather of one step is shifted, and the forecast is watched: how long does it remember?
//!
//! The answers to single-step pulses, averaged over all pulses that lie equally long before a forecast step, are the
//! model's impulse response. Of a linear model it is exact and its sum is the sensitivity to a shift of all steps.

use ndarray::{Array2, Array3, Axis, s};

use crate::bootstrap::{Stratum, intervals};

/// The answer of the forecast to weather some steps before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lag {
    /// Steps from the pulse to the forecast step.
    pub lag: usize,
    /// Change of the index per unit of weather.
    pub value: f64,
    /// Lower and upper end of the bootstrap interval.
    pub interval: [f64; 2],
    /// Pairs of a pulse and a forecast step that lie so far apart.
    pub pairs: usize,
}

/// The impulse response to one variable.
#[derive(Clone, Debug)]
pub struct ImpulseResponse {
    /// Every lag, from 0 on.
    pub lags: Vec<Lag>,
    /// Change per unit, `[pulse step, forecast step]`, averaged over the segments.
    pub matrix: Array2<f64>,
    /// Sum over the lags: the change per unit of a shift that lasts.
    pub total: f64,
    /// Largest change, in size, of a forecast step by weather after it; 0 for a causal model.
    pub from_later: f64,
}

impl ImpulseResponse {
    /// The lag with the largest change in size; `None` where nothing changes.
    pub fn peak(&self) -> Option<usize> {
        let size = |lag: &Lag| lag.value.abs();
        let largest = self.lags.iter().map(size).fold(0.0, f64::max);
        self.lags.iter().find(|lag| size(lag) == largest && largest > 0.0).map(|lag| lag.lag)
    }

    /// The first lag until which `share` of the summed sizes of all changes has come; `None` where nothing changes.
    pub fn reached(&self, share: f64) -> Option<usize> {
        let all: f64 = self.lags.iter().map(|lag| lag.value.abs()).sum();
        let mut sum = 0.0;
        let come = |lag: &&Lag| {
            sum += lag.value.abs();
            all > 0.0 && sum >= share * all
        };
        self.lags.iter().find(come).map(|lag| lag.lag)
    }
}

/// Impulse responses from the `pulsed` signals `[sample, pulse step, forecast step]` of one variable, shifted by
/// `delta` at each of the context and forecast steps in turn, and the `unchanged` signals `[sample, forecast step]`.
/// Strata hold positions of samples and their weights.
pub fn impulse_response(
    pulsed: &Array3<f64>,
    unchanged: &Array2<f64>,
    delta: f64,
    strata: &[Stratum],
    draws: usize,
    seed: u64,
) -> ImpulseResponse {
    let (samples, steps, targets) = pulsed.dim();
    let context = steps - targets;
    let mut change = pulsed.clone();
    for (mut sample, unchanged) in change.outer_iter_mut().zip(unchanged.outer_iter()) {
        sample.outer_iter_mut().for_each(|mut signal| signal -= &unchanged);
    }
    change /= delta;
    let by_lag: Vec<Vec<f64>> = (0..samples)
        .map(|sample| {
            let of = change.index_axis(Axis(0), sample);
            (0..steps).map(|lag| mean(pairs(lag, context, targets).map(|(s, t)| of[[s, t]]))).collect()
        })
        .collect();
    let over_strata = |strata: &[Stratum]| -> Vec<f64> {
        let total: f64 = strata.iter().map(|stratum| stratum.weight).sum();
        let of_lag = |lag: usize| {
            let part = |stratum: &Stratum| {
                stratum.weight * mean(stratum.positions.iter().map(|position| by_lag[*position][lag]))
            };
            strata.iter().map(part).sum::<f64>() / total
        };
        (0..steps).map(of_lag).collect()
    };
    let values = over_strata(strata);
    let ranges = intervals(strata, draws, seed, over_strata);
    let lags = values.iter().zip(ranges).enumerate().map(|(lag, (value, interval))| Lag {
        lag,
        value: *value,
        interval,
        pairs: pairs(lag, context, targets).count(),
    });
    let matrix = weighted_matrix(&change, strata);
    let later = matrix.indexed_iter().filter(|((s, t), _)| *s > context + t);
    let from_later = later.map(|(_, value)| value.abs()).fold(0.0, f64::max);
    ImpulseResponse { lags: lags.collect(), total: values.iter().sum(), from_later, matrix }
}

/// Pulse and forecast steps that are `lag` steps apart.
fn pairs(lag: usize, context: usize, targets: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..targets).filter_map(move |t| Some(((context + t).checked_sub(lag)?, t)))
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_usize), |(sum, count), value| (sum + value, count + 1));
    sum / count as f64
}

fn weighted_matrix(change: &Array3<f64>, strata: &[Stratum]) -> Array2<f64> {
    let (_, steps, targets) = change.dim();
    let total: f64 = strata.iter().map(|stratum| stratum.weight).sum();
    let mut sum = Array2::zeros((steps, targets));
    for Stratum { weight, positions } in strata {
        let share = weight / total / positions.len() as f64;
        positions.iter().for_each(|position| sum.scaled_add(share, &change.slice(s![*position, .., ..])));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Index(t) = .3 · w(t) − .1 · w(t − 2), of weather w; two context and four forecast steps; pulses of 5 units.
    fn pulsed() -> Array3<f64> {
        Array3::from_shape_fn((2, 6, 4), |(sample, s, t)| {
            let kernel = |lag: i64| [0.3, 0.0, -0.1].get(usize::try_from(lag).unwrap_or(9)).copied();
            let gain = if sample == 0 { 0.5 } else { 1.5 };
            0.4 + 5.0 * gain * kernel(2 + t as i64 - s as i64).unwrap_or(0.0)
        })
    }

    #[test]
    fn a_known_kernel_comes_back() {
        let unchanged = Array2::from_elem((2, 4), 0.4);
        let strata = [Stratum { weight: 7.0, positions: vec![0, 1] }];
        let found = impulse_response(&pulsed(), &unchanged, 5.0, &strata, 200, 1);
        let values: Vec<f64> = found.lags.iter().map(|lag| lag.value).collect();
        for (ours, exact) in values.iter().zip([0.3, 0.0, -0.1, 0.0, 0.0, 0.0]) {
            assert!((ours - exact).abs() < 1e-12, "{values:?}");
        }
        assert_eq!(found.lags.iter().map(|lag| lag.pairs).collect::<Vec<_>>(), [4, 4, 4, 3, 2, 1]);
        assert_eq!((found.peak(), found.reached(0.5), found.reached(0.9)), (Some(0), Some(0), Some(2)));
        assert!((found.total - 0.2).abs() < 1e-12 && found.from_later == 0.0);
        // The two samples answer half and one and a half times as much.
        let [low, high] = found.lags[0].interval;
        assert!((low - 0.15).abs() < 1e-12 && (high - 0.45).abs() < 1e-12);
    }

    #[test]
    fn a_model_that_looks_ahead_is_found_out() {
        let ahead = Array3::from_shape_fn((1, 3, 2), |(_, s, t)| if s == 2 && t == 0 { 0.7 } else { 0.0 });
        let one = [Stratum { weight: 1.0, positions: vec![0] }];
        let found = impulse_response(&ahead, &Array2::zeros((1, 2)), 1.0, &one, 0, 1);
        assert_eq!((found.from_later, found.peak(), found.reached(0.5)), (0.7, None, None));
    }
}
