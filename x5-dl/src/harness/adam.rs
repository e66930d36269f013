//! Adam and AdamW, with the global gradient-norm clip the published models use.

use crate::harness::statistics::is_statistic;
use crate::harness::weights::Weights;

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// Moments of Adam (Kingma & Ba 2015, <https://arxiv.org/abs/1412.6980>) for a set of parameters.
///
/// It runs on the host: the networks here have below a million parameters, their gradients come back anyway to
/// be summed in a fixed order, and the whole state is then a few arrays that a checkpoint stores exactly.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Adam {
    pub(crate) first: Weights,
    pub(crate) second: Weights,
    pub(crate) steps: u64,
}

impl Adam {
    pub(crate) fn new(weights: &Weights) -> Adam {
        Adam { first: weights.zeros_like(), second: weights.zeros_like(), steps: 0 }
    }

    /// One update of `weights`, as `torch.optim.Adam` does it; with a weight `decay` as `torch.optim.AdamW` does it:
    /// the weights shrink by `learning_rate · decay` first (Loshchilov & Hutter 2019,
    /// <https://doi.org/10.48550/arXiv.1711.05101>).
    pub(crate) fn step(&mut self, weights: &mut Weights, gradient: &Weights, learning_rate: f64, decay: f64) {
        self.steps += 1;
        let exponent = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let rate = learning_rate / (1.0 - BETA_1.powi(exponent));
        let root = (1.0 - BETA_2.powi(exponent)).sqrt();
        let keep = 1.0 - learning_rate * decay;
        let moments = self.first.0.values_mut().zip(self.second.0.values_mut());
        for (((name, w), g), (m, v)) in weights.0.iter_mut().zip(gradient.0.values()).zip(moments) {
            if is_statistic(name) {
                continue;
            }
            ndarray::Zip::from(w).and(g).and(m).and(v).for_each(|w, &g, m, v| {
                let g = f64::from(g);
                let first = BETA_1 * f64::from(*m) + (1.0 - BETA_1) * g;
                let second = BETA_2 * f64::from(*v) + (1.0 - BETA_2) * g * g;
                *m = first as f32;
                *v = second as f32;
                *w = (keep * f64::from(*w) - rate * first / (second.sqrt() / root + EPSILON)) as f32;
            });
        }
    }
}

/// Scales the gradient down to a norm of at most `limit`, as `torch.nn.utils.clip_grad_norm_` does; returns the
/// norm before.
pub(crate) fn clip_norm(gradient: &mut Weights, limit: Option<f64>) -> f64 {
    let norm = gradient.norm();
    if let Some(limit) = limit {
        let factor = limit / (norm + 1e-6);
        if factor < 1.0 {
            gradient.scale(factor as f32);
        }
    }
    norm
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr1;

    fn one(value: f32) -> Weights {
        Weights([("w".to_owned(), arr1(&[value]).into_dyn())].into())
    }

    #[test]
    fn first_step_moves_by_the_learning_rate() {
        // m/(1-b1) = g and sqrt(v/(1-b2)) = |g|, so the step is lr * sign(g).
        let mut w = one(1.0);
        Adam::new(&w).step(&mut w, &one(-3.0), 0.1, 0.0);
        assert!((w.0["w"][0] - 1.1).abs() < 1e-6);
    }

    #[test]
    fn a_decay_shrinks_the_weights_whatever_the_gradient() {
        // 1 · (1 - 0.1 · 0.5) = 0.95, and the step of 0.1 away from the gradient.
        let mut w = one(1.0);
        Adam::new(&w).step(&mut w, &one(-3.0), 0.1, 0.5);
        assert!((w.0["w"][0] - 1.05).abs() < 1e-6);
    }

    #[test]
    fn clips_only_long_gradients() {
        let mut g = Weights([("w".to_owned(), arr1(&[3.0, 4.0]).into_dyn())].into());
        assert_eq!(clip_norm(&mut g, Some(10.0)), 5.0);
        assert_eq!(g.0["w"][1], 4.0);
        clip_norm(&mut g, Some(1.0));
        assert!((g.0["w"][1] - 0.8).abs() < 1e-6);
    }
}
