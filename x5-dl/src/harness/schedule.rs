//! The learning rate over the steps of a run.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// How the learning rate falls after the warm-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Decay {
    /// Multiplied by `gamma` at each milestone (PyTorch's `MultiStepLR`).
    Milestones {
        /// Steps at which it drops.
        steps: Vec<u64>,
        /// Factor of each drop.
        gamma: f64,
    },
    /// Half a cosine from the initial rate to 0 at the last step (Loshchilov & Hutter 2017,
    /// <https://doi.org/10.48550/arXiv.1608.03983>, without restarts).
    Cosine,
}

/// Warm-up and decay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Steps over which the rate rises linearly; step k of w has (k + 1) / (w + 1) of it.
    pub warm_up: u64,
    /// What follows.
    pub decay: Decay,
}

impl Schedule {
    /// The learning rate at `step` of `steps`.
    #[must_use]
    pub fn rate(&self, initial: f64, step: u64, steps: u64) -> f64 {
        if step < self.warm_up {
            return initial * (step + 1) as f64 / (self.warm_up + 1) as f64;
        }
        match &self.decay {
            Decay::Milestones { steps, gamma } => {
                let reached = steps.iter().filter(|&&m| step >= m).count();
                initial * gamma.powi(i32::try_from(reached).unwrap_or(i32::MAX))
            }
            Decay::Cosine => {
                let (done, all) = (step - self.warm_up, steps.saturating_sub(self.warm_up).max(1));
                initial * 0.5 * (1.0 + (PI * done as f64 / all as f64).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milestones_drop_the_rate() {
        let schedule = Schedule { warm_up: 0, decay: Decay::Milestones { steps: vec![10, 20], gamma: 0.5 } };
        let rate = |s| schedule.rate(1.0, s, 30);
        assert_eq!([rate(0), rate(9), rate(10), rate(19), rate(20)], [1.0, 1.0, 0.5, 0.5, 0.25]);
    }

    #[test]
    fn a_warm_up_rises_to_a_cosine_that_falls_to_nothing() {
        let schedule = Schedule { warm_up: 3, decay: Decay::Cosine };
        let rate = |s| schedule.rate(0.8, s, 11);
        // 1/4, 2/4 and 3/4 of 0.8; then eight steps of cosine: cos 0 = 1, cos(π/2) = 0.
        assert_eq!([rate(0), rate(1), rate(2), rate(3)], [0.2, 0.4, 0.600_000_000_000_000_1, 0.8]);
        assert!((rate(7) - 0.4).abs() < 1e-12);
        // One step before the end: 0.4 · (1 + cos(7π/8)) = 0.4 · (1 - 0.923880).
        assert!((rate(10) - 0.030_448).abs() < 1e-6);
    }
}
