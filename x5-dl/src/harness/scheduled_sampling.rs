//! Scheduled sampling (Bengio et al. 2015, <https://doi.org/10.48550/arXiv.1506.03099>): a network that goes on from its own
//! frames is at first shown the observed ones, and ever less of them.

use ndarray::{Array2, Array5, ArrayView4, Axis};
use rand::Rng;
use serde::{Deserialize, Serialize};

/// How likely an observed frame is fed in place of the forecast one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduledSampling {
    /// Probability at the first step of training, 0..1: 1.
    pub start: f64,
    /// Probability in the end, 0..1: 0.
    pub end: f64,
    /// Part of the steps, above 0 and up to 1, after which it is `end`: 1.
    pub over: f64,
    /// How it falls.
    pub decay: SamplingDecay,
}

/// The part p of the way from `start` to `end`, at the part t of the steps that it takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SamplingDecay {
    /// p = t
    #[default]
    Linear,
    /// p = 1 − 0.01^t
    Exponential,
    /// p = 1 / (1 + e^(5 − 10 t)), slow at both ends
    InverseSigmoid,
}

impl Default for ScheduledSampling {
    fn default() -> ScheduledSampling {
        ScheduledSampling { start: 1.0, end: 0.0, over: 1.0, decay: SamplingDecay::Linear }
    }
}

impl ScheduledSampling {
    /// The probability at `step` of `steps`.
    #[must_use]
    pub fn probability(&self, step: u64, steps: u64) -> f64 {
        let t = step as f64 / (self.over * steps as f64).max(1.0);
        if t >= 1.0 {
            return self.end;
        }
        let p = match self.decay {
            SamplingDecay::Linear => t,
            SamplingDecay::Exponential => 1.0 - 0.01f64.powf(t),
            SamplingDecay::InverseSigmoid => 1.0 / (1.0 + (5.0 - 10.0 * t).exp()),
        };
        self.start + (self.end - self.start) * p
    }

    /// What is wrong with the numbers.
    pub(crate) fn problem(&self) -> Option<String> {
        let inside = |v: f64| (0.0..=1.0).contains(&v);
        let fits = inside(self.start) && inside(self.end) && self.over > 0.0 && self.over <= 1.0;
        (!fits).then(|| {
            format!(
                "expected start and end inside 0..1 and over above 0, up to 1, found {}, {} and {}",
                self.start, self.end, self.over
            )
        })
    }
}

/// 1 where the observed value of a target step is fed, `[item, target step, 1, y, x]`: of steps that are drawn, one draw an
/// item and step, where they are observed (`valid` `[item, target step, y, x]`, above 0).
pub(crate) fn told(probability: f64, valid: ArrayView4<'_, f32>, rng: &mut impl Rng) -> Array5<f32> {
    let (items, steps, _, _) = valid.dim();
    let drawn = Array2::from_shape_simple_fn((items, steps), || rng.random::<f64>() < probability);
    let mut told = valid.mapv(|v| f32::from(u8::from(v > 0.0)));
    for ((item, step), _) in drawn.indexed_iter().filter(|(_, drawn)| !**drawn) {
        told.index_axis_mut(Axis(0), item).index_axis_mut(Axis(0), step).fill(0.0);
    }
    told.insert_axis(Axis(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array4;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn probabilities_by_hand() {
        let of = |decay| ScheduledSampling { start: 0.8, end: 0.2, over: 0.5, decay };
        let at = |decay, step| of(decay).probability(step, 100);
        // Half-way, then after half of the steps.
        let linear = SamplingDecay::Linear;
        assert_eq!([at(linear, 0), at(linear, 50), at(linear, 99)], [0.8, 0.2, 0.2]);
        assert!((at(linear, 25) - 0.5).abs() < 1e-12);
        assert!((at(SamplingDecay::Exponential, 25) - (0.8 - 0.6 * 0.9)).abs() < 1e-12);
        assert!((at(SamplingDecay::InverseSigmoid, 25) - 0.5).abs() < 1e-12);
        assert!((at(SamplingDecay::InverseSigmoid, 0) - (0.8 - 0.6 / (1.0 + 5f64.exp()))).abs() < 1e-12);
        assert!(ScheduledSampling { over: 0.0, ..ScheduledSampling::default() }.problem().is_some());
    }

    #[test]
    fn whole_frames_are_drawn_as_often_as_told_and_gaps_are_never_fed() {
        let mut valid = Array4::ones((40, 50, 2, 1));
        valid.index_axis_mut(Axis(2), 1).fill(0.0);
        let found = told(0.3, valid.view(), &mut ChaCha8Rng::seed_from_u64(1));
        assert_eq!(found, told(0.3, valid.view(), &mut ChaCha8Rng::seed_from_u64(1)));
        // 2000 draws: three standard deviations are .031.
        assert!((found.sum() / 2000.0 - 0.3).abs() < 0.031);
        assert_eq!(found.index_axis(Axis(3), 1).sum(), 0.0);
    }
}
