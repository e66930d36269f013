//! Adam, with the global gradient-norm clip and the step schedule the published models use.

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

    /// One update of `weights`, as `torch.optim.Adam` does it.
    pub(crate) fn step(&mut self, weights: &mut Weights, gradient: &Weights, learning_rate: f64) {
        self.steps += 1;
        let exponent = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let rate = learning_rate / (1.0 - BETA_1.powi(exponent));
        let root = (1.0 - BETA_2.powi(exponent)).sqrt();
        let moments = self.first.0.values_mut().zip(self.second.0.values_mut());
        for ((w, g), (m, v)) in weights.0.values_mut().zip(gradient.0.values()).zip(moments) {
            ndarray::Zip::from(w).and(g).and(m).and(v).for_each(|w, &g, m, v| {
                let g = f64::from(g);
                let first = BETA_1 * f64::from(*m) + (1.0 - BETA_1) * g;
                let second = BETA_2 * f64::from(*v) + (1.0 - BETA_2) * g * g;
                *m = first as f32;
                *v = second as f32;
                *w = (f64::from(*w) - rate * first / (second.sqrt() / root + EPSILON)) as f32;
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

/// The learning rate at `step`: multiplied by `gamma` at each milestone reached (PyTorch's `MultiStepLR`).
pub(crate) fn multi_step(initial: f64, step: u64, milestones: &[u64], gamma: f64) -> f64 {
    let reached = milestones.iter().filter(|&&m| step >= m).count();
    initial * gamma.powi(i32::try_from(reached).unwrap_or(i32::MAX))
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
        Adam::new(&w).step(&mut w, &one(-3.0), 0.1);
        assert!((w.0["w"][0] - 1.1).abs() < 1e-6);
    }

    #[test]
    fn clips_only_long_gradients() {
        let mut g = Weights([("w".to_owned(), arr1(&[3.0, 4.0]).into_dyn())].into());
        assert_eq!(clip_norm(&mut g, Some(10.0)), 5.0);
        assert_eq!(g.0["w"][1], 4.0);
        clip_norm(&mut g, Some(1.0));
        assert!((g.0["w"][1] - 0.8).abs() < 1e-6);
    }

    #[test]
    fn schedule_drops_at_its_milestones() {
        let rate = |s| multi_step(1.0, s, &[10, 20], 0.5);
        assert_eq!([rate(0), rate(9), rate(10), rate(19), rate(20)], [1.0, 1.0, 0.5, 0.5, 0.25]);
    }
}
