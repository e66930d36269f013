//! The training loop.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::harness::adam::{clip_norm, multi_step};
use crate::harness::checkpoint::State;
use crate::harness::gradient::{self, Examples, Loss, Network};
use crate::harness::weights::Weights;

/// How a network is trained. Lengths are in steps, never in seconds, so that a run can be repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitPlan {
    /// Optimiser steps.
    pub steps: u64,
    /// Adam's learning rate at the start.
    pub learning_rate: f64,
    /// Steps at which the learning rate is multiplied by `gamma`.
    pub milestones: Vec<u64>,
    /// Factor at each milestone.
    pub gamma: f64,
    /// Largest norm of the gradient; none = no clipping.
    pub clip_norm: Option<f64>,
    /// What is minimised.
    pub loss: Loss,
    /// Validation every so many steps, and at the end.
    pub validate_every: u64,
    /// Checkpoint every so many steps, and at the end.
    pub checkpoint_every: u64,
}

/// What the loop asks its caller for.
pub(crate) trait Feed {
    /// The examples of a step; a function of the step alone, so that a resumed run sees the same.
    fn training(&self, step: u64) -> Result<Examples, Error>;
    /// Fixed examples for validation.
    fn validation(&self) -> &[Examples];
    /// Called after each step with the last loss.
    fn progress(&self, step: u64, loss: f64);
}

/// Trains from the checkpoint of the same plan, or from `initial`; the final state, whose `best` is set.
///
/// # Errors
/// [`Error::Diverged`] if the loss is not finite, and whatever the feed or the disk report.
pub(crate) fn fit<N: Network>(
    name: &str,
    network: &N,
    initial: impl FnOnce() -> Weights,
    plan: &FitPlan,
    feed: &impl Feed,
    checkpoint: &Path,
    key: &str,
) -> Result<State, Error> {
    let mut state = match State::load(checkpoint, key)? {
        Some(state) => state,
        None => State::new(initial()),
    };
    while state.step < plan.steps {
        let examples = feed.training(state.step)?;
        let rate = multi_step(plan.learning_rate, state.step, &plan.milestones, plan.gamma);
        let (loss, mut gradient) =
            gradient::loss_and_gradient(network, &state.weights, &examples, plan.loss)?;
        let norm = clip_norm(&mut gradient, plan.clip_norm);
        if !(loss.is_finite() && norm.is_finite()) {
            return Err(Error::Diverged { model: name.to_owned(), step: state.step, loss });
        }
        state.adam.step(&mut state.weights, &gradient, rate);
        state.step += 1;
        state.pending = (state.pending.0 + loss, state.pending.1 + norm);
        let at_end = state.step == plan.steps;
        if at_end || state.step.is_multiple_of(plan.validate_every) {
            validate(network, &mut state, plan, feed.validation(), rate)?;
        }
        if at_end || state.step.is_multiple_of(plan.checkpoint_every) {
            state.save(checkpoint, key)?;
        }
        feed.progress(state.step, loss);
    }
    Ok(state)
}

fn validate<N: Network>(
    network: &N,
    state: &mut State,
    plan: &FitPlan,
    examples: &[Examples],
    learning_rate: f64,
) -> Result<(), Error> {
    let losses = examples
        .iter()
        .map(|part| gradient::loss_only(network, &state.weights, part, plan.loss))
        .collect::<Result<Vec<f64>, _>>()?;
    let loss = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
    if state.best.as_ref().is_none_or(|&(_, best, _)| loss < best) {
        state.best = Some((state.weights.clone(), loss, state.step));
    }
    let since = state.step - state.metrics.last().map_or(0, |m| m.step);
    state.metrics.push(crate::harness::checkpoint::Metric {
        step: state.step,
        train_loss: state.pending.0 / since as f64,
        validation_loss: loss,
        gradient_norm: state.pending.1 / since as f64,
        learning_rate,
    });
    state.pending = (0.0, 0.0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::backend;
    use crate::model::rnn::{PixelRnn, RnnShape};
    use ndarray::{ArrayD, IxDyn};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use std::cell::Cell;

    const SHAPE: RnnShape = RnnShape {
        context_steps: 3,
        statics: 1,
        drivers: 2,
        hidden: 8,
        update: 6,
        state_hidden: 8,
        update_hidden: 6,
    };

    struct Toy {
        validation: Vec<Examples>,
        die_at: Option<u64>,
        seen: Cell<u64>,
    }

    /// The target is the first driver: learnable.
    fn examples(seed: u64) -> Examples {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut random =
            |shape: &[usize]| ArrayD::from_shape_simple_fn(IxDyn(shape), || rng.random_range(0.2..0.8f32));
        let (veg, statics, drivers) = (random(&[12, 3]), random(&[12, 1]), random(&[12, 4, 2]));
        let target = drivers.slice(ndarray::s![.., .., 0]).to_owned().into_dyn();
        Examples { inputs: vec![veg, statics, drivers], valid: ArrayD::ones(target.raw_dim()), target }
    }

    impl Feed for Toy {
        fn training(&self, step: u64) -> Result<Examples, Error> {
            if self.die_at == Some(step) {
                return Err(Error::Config(vec!["killed".into()]));
            }
            self.seen.set(self.seen.get() + 1);
            Ok(examples(step))
        }
        fn validation(&self) -> &[Examples] {
            &self.validation
        }
        fn progress(&self, _step: u64, _loss: f64) {}
    }

    fn run(dir: &Path, die_at: Option<u64>) -> (Result<State, Error>, u64) {
        let plan = FitPlan {
            steps: 60,
            learning_rate: 0.02,
            milestones: vec![40],
            gamma: 0.1,
            clip_norm: Some(1.0),
            loss: Loss::MaskedMse,
            validate_every: 7,
            checkpoint_every: 5,
        };
        let net = PixelRnn::new(&SHAPE, &backend::device());
        let feed = Toy { validation: vec![examples(1000)], die_at, seen: Cell::new(0) };
        let path = dir.join("state.safetensors");
        let result = fit("toy", &net, || net.initial(3), &plan, &feed, &path, "key");
        (result, feed.seen.get())
    }

    #[test]
    fn a_killed_run_goes_on_to_the_same_bits() {
        let whole = tempfile::tempdir().unwrap();
        let (expected, steps) = run(whole.path(), None);
        let expected = expected.unwrap();
        assert_eq!(steps, 60);
        let (first, last) = (expected.metrics[0], expected.metrics[expected.metrics.len() - 1]);
        assert!(last.validation_loss < 0.7 * first.validation_loss, "{first:?} {last:?}");

        let killed = tempfile::tempdir().unwrap();
        for die_at in [3, 18, 44] {
            assert!(run(killed.path(), Some(die_at)).0.is_err());
        }
        let (found, steps) = run(killed.path(), None);
        assert_eq!(steps, 20, "goes on from the checkpoint of step 40");
        assert_eq!(found.unwrap(), expected);
        assert_eq!(
            std::fs::read(killed.path().join("state.safetensors")).unwrap(),
            std::fs::read(whole.path().join("state.safetensors")).unwrap()
        );
        // Nothing is left to do.
        assert_eq!(run(killed.path(), None).1, 0);
    }
}
