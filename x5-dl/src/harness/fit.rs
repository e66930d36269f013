//! The training loop.

use std::path::Path;

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::harness::adam::clip_norm;
use crate::harness::ahead::ahead;
use crate::harness::backend;
use crate::harness::checkpoint::{Best, Metric, State};
use crate::harness::gradient::{self, Examples, Loss, Network};
use crate::harness::keep::KeepBy;
use crate::harness::schedule::Schedule;
use crate::harness::stop;
use crate::harness::weights::{self, Weights};

/// How a network is trained. Lengths are in steps, never in seconds, so that a run can be repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitPlan {
    /// Optimiser steps.
    pub steps: u64,
    /// Adam's learning rate at the start.
    pub learning_rate: f64,
    /// How it changes.
    pub schedule: Schedule,
    /// AdamW's decay of the weights; 0 = Adam.
    pub weight_decay: f64,
    /// Batches whose gradients are averaged for one step.
    pub accumulate: u64,
    /// Forecast with the exponential mean of the weights, of which each step keeps this part; none = with the
    /// weights themselves.
    pub average: Option<f64>,
    /// Largest norm of the gradient; none = no clipping.
    pub clip_norm: Option<f64>,
    /// What is minimised.
    pub loss: Loss,
    /// So many of the best validations are kept.
    pub keep: usize,
    /// What they are best by.
    #[serde(default, skip_serializing_if = "KeepBy::is_loss")]
    pub keep_by: KeepBy,
    /// Validations in a row that are no better than one before, after which training ends; none = never.
    pub patience: Option<u64>,
    /// Validation every so many steps, and at the end.
    pub validate_every: u64,
    /// Checkpoint every so many steps, and at the end.
    pub checkpoint_every: u64,
}

impl FitPlan {
    /// Batches of a step.
    fn parts(&self) -> u64 {
        self.accumulate.max(1)
    }
}

/// What the loop asks its caller for.
pub(crate) trait Feed {
    /// The examples of a batch; a function of its number alone, so that a resumed run sees the same. With
    /// accumulation a step has several batches.
    fn training(&self, batch: u64) -> Result<Examples, Error>;
    /// Fixed examples for validation.
    fn validation(&self) -> &[Examples] {
        &[]
    }
    /// The score of the predictions for the validation examples by which the best weights are kept.
    fn judge(&self, _predictions: &[ArrayD<f32>]) -> f64 {
        f64::NAN
    }
    /// Called with the weights that were validated first, and with those that are kept at last.
    fn validated(&self, _network: &dyn Network, _weights: &Weights) -> Result<(), Error> {
        Ok(())
    }
    /// Called after each step with the last loss.
    fn progress(&self, _step: u64, _loss: f64) {}
    /// Called with all metrics so far, whenever there is a checkpoint.
    fn saved(&self, _metrics: &[Metric]) -> Result<(), Error> {
        Ok(())
    }
}

/// Trains from the checkpoint of the same plan, or from `initial`; the final state.
///
/// # Errors
/// [`Error::Diverged`] if the loss or the gradient is not finite; the last checkpoint stays as it is.
/// [`Error::Stopped`] if the system asks for an end; the state is saved. And whatever the feed or the disk report.
pub(crate) fn fit(
    name: &str,
    network: &dyn Network,
    initial: impl FnOnce() -> Result<Weights, Error>,
    plan: &FitPlan,
    feed: &(impl Feed + Sync),
    checkpoint: &Path,
    key: &str,
) -> Result<State, Error> {
    let mut state = match State::load(checkpoint, key)? {
        Some(state) => state,
        None => State::new(initial()?),
    };
    if plan.steps == 0 && state.best.is_empty() {
        let (loss, score) = validation(network, &state, plan, feed)?;
        state.validated(loss, plan.keep_by.rank(score.unwrap_or(loss)), 1);
        state.save(checkpoint, key)?;
    }
    let batches = state.step * plan.parts()..plan.steps * plan.parts();
    ahead(
        batches,
        |batch| feed.training(batch),
        |next| steps(name, network, &mut state, plan, feed, next, &mut |state| state.save(checkpoint, key)),
    )?;
    Ok(state)
}

/// Steps until the plan's end, or until nothing gets better.
fn steps(
    name: &str,
    network: &dyn Network,
    state: &mut State,
    plan: &FitPlan,
    feed: &impl Feed,
    next: &mut dyn FnMut() -> Option<Result<Examples, Error>>,
    save: &mut dyn FnMut(&State) -> Result<(), Error>,
) -> Result<(), Error> {
    while state.step < plan.steps && !is_exhausted(state, plan) {
        let rate = plan.schedule.rate(plan.learning_rate, state.step, plan.steps);
        let Some((loss, norm)) = step(name, network, state, plan, next, rate)? else { break };
        state.pending = (state.pending.0 + loss, state.pending.1 + norm);
        let stops = stop::is_asked();
        let at_end = state.step == plan.steps;
        if at_end || state.step.is_multiple_of(plan.validate_every) {
            validate(network, state, plan, feed, rate)?;
        }
        if at_end || stops || is_exhausted(state, plan) || state.step.is_multiple_of(plan.checkpoint_every) {
            save(state)?;
            feed.saved(&state.metrics)?;
        }
        feed.progress(state.step, loss);
        if stops && !at_end {
            stop::check(name, || format!("step {} of {} is saved", state.step, plan.steps))?;
        }
    }
    Ok(())
}

/// Whether the last validations were no better than one before, as many as the plan bears.
fn is_exhausted(state: &State, plan: &FitPlan) -> bool {
    let since = |best: &Best| state.metrics.iter().filter(|m| m.step > best.step).count() as u64;
    plan.patience.zip(state.best.first()).is_some_and(|(patience, best)| since(best) >= patience)
}

/// One step of the optimiser; the loss, and the norm of the gradient before clipping. `None` if there are no more batches.
fn step(
    name: &str,
    network: &dyn Network,
    state: &mut State,
    plan: &FitPlan,
    next: &mut dyn FnMut() -> Option<Result<Examples, Error>>,
    rate: f64,
) -> Result<Option<(f64, f64)>, Error> {
    let parts = plan.parts();
    let (mut loss, mut gradient) = (0.0, state.weights.zeros_like());
    for batch in state.step * parts..(state.step + 1) * parts {
        let Some(examples) = next() else { return Ok(None) };
        let examples = examples?;
        let one = gradient::loss_and_gradient(network, &state.weights, &examples, plan.loss)?;
        if !(one.loss.is_finite() && one.gradient.norm().is_finite()) {
            let samples = gradient::unsound(network, &state.weights, &examples)?;
            let model = name.to_owned();
            return Err(Error::Diverged { model, step: state.step, batch, samples, loss: one.loss });
        }
        loss += one.loss;
        gradient.add(&one.gradient);
        state.weights.replace(&one.statistics);
    }
    if parts > 1 {
        loss /= parts as f64;
        gradient.scale((1.0 / parts as f64) as f32);
    }
    let norm = clip_norm(&mut gradient, plan.clip_norm);
    state.adam.step(&mut state.weights, &gradient, rate, plan.weight_decay);
    if let Some(keep) = plan.average {
        // The first steps count more, so that the random start is soon forgotten.
        let keep = keep.min((1.0 + state.step as f64) / (10.0 + state.step as f64));
        state.average.get_or_insert_with(|| state.weights.clone()).blend(&state.weights, keep);
    }
    state.step += 1;
    Ok(Some((loss, norm)))
}

/// Loss of the validation examples, and their score where the best are kept by it.
fn validation(
    network: &dyn Network,
    state: &State,
    plan: &FitPlan,
    feed: &impl Feed,
) -> Result<(f64, Option<f64>), Error> {
    let examples = feed.validation();
    let losses = examples
        .iter()
        .map(|part| gradient::loss_only(network, state.current(), part, plan.loss))
        .collect::<Result<Vec<f64>, _>>()?;
    let loss = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
    if plan.keep_by.is_loss() {
        return Ok((loss, None));
    }
    let device = backend::device();
    let network = network.loaded(state.current(), &device)?;
    let predict = |part: &Examples| weights::to_array(network.predict(&part.inputs, &device));
    Ok((loss, Some(feed.judge(&examples.iter().map(predict).collect::<Vec<_>>()))))
}

fn validate(
    network: &dyn Network,
    state: &mut State,
    plan: &FitPlan,
    feed: &impl Feed,
    learning_rate: f64,
) -> Result<(), Error> {
    let (loss, score) = validation(network, state, plan, feed)?;
    state.validated(loss, plan.keep_by.rank(score.unwrap_or(loss)), plan.keep.max(1));
    if state.metrics.is_empty() {
        feed.validated(network, state.current())?;
    }
    let since = state.step - state.metrics.last().map_or(0, |m| m.step);
    state.metrics.push(Metric {
        step: state.step,
        train_loss: state.pending.0 / since as f64,
        validation_loss: loss,
        gradient_norm: state.pending.1 / since as f64,
        learning_rate,
        validation_score: score,
    });
    state.pending = (0.0, 0.0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::schedule::Decay;
    use crate::model::Model;
    use crate::model::rnn::{PixelRnn, RnnShape};
    use ndarray::IxDyn;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use std::sync::atomic::{AtomicU64, Ordering};

    const SHAPE: RnnShape = RnnShape {
        context_steps: 3,
        statics: 1,
        drivers: 2,
        hidden: 8,
        update: 6,
        state_hidden: 8,
        update_hidden: 6,
        quirks: true,
        context_weather: false,
    };

    #[derive(Default)]
    struct Toy {
        validation: Vec<Examples>,
        die_at: Option<u64>,
        /// A batch with a NaN in the second of its items.
        spoilt: Option<u64>,
        seen: AtomicU64,
        judged: AtomicU64,
    }

    /// The target is the first driver: learnable.
    fn examples(seed: u64) -> Examples {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut random =
            |shape: &[usize]| ArrayD::from_shape_simple_fn(IxDyn(shape), || rng.random_range(0.2..0.8f32));
        let (veg, statics, drivers) = (random(&[12, 3]), random(&[12, 1]), random(&[12, 4, 2]));
        let target = drivers.slice(ndarray::s![.., .., 0]).to_owned().into_dyn();
        Examples {
            inputs: vec![veg, statics, drivers],
            valid: ArrayD::ones(target.raw_dim()),
            target,
            steps: 4,
            samples: (0..12).map(|k| format!("sample {k}")).collect(),
            ..Examples::default()
        }
    }

    impl Feed for Toy {
        fn training(&self, step: u64) -> Result<Examples, Error> {
            if self.die_at == Some(step) {
                return Err(Error::Config(vec!["killed".into()]));
            }
            self.seen.fetch_add(1, Ordering::Relaxed);
            let mut examples = examples(step);
            if self.spoilt == Some(step) {
                examples.inputs[2][[1, 0, 0]] = f32::NAN;
            }
            Ok(examples)
        }
        fn validation(&self) -> &[Examples] {
            &self.validation
        }
        /// The later the better, until the fourth time, which is step 28.
        fn judge(&self, _predictions: &[ArrayD<f32>]) -> f64 {
            (3.0 - self.judged.fetch_add(1, Ordering::Relaxed) as f64).abs()
        }
    }

    fn plan() -> FitPlan {
        FitPlan {
            steps: 60,
            learning_rate: 0.02,
            schedule: Schedule { warm_up: 4, decay: Decay::Milestones { steps: vec![40], gamma: 0.1 } },
            weight_decay: 0.01,
            accumulate: 1,
            average: Some(0.9),
            clip_norm: Some(1.0),
            loss: Loss::MaskedMse,
            keep: 2,
            keep_by: KeepBy::Loss,
            patience: None,
            validate_every: 7,
            checkpoint_every: 5,
        }
    }

    fn run(dir: &Path, die_at: Option<u64>) -> (Result<State, Error>, u64) {
        let net = PixelRnn::new(&SHAPE, &backend::device());
        let feed = Toy { validation: vec![examples(1000)], die_at, ..Toy::default() };
        let path = dir.join("state.safetensors");
        let result = fit("toy", &net, || Ok(net.start(3)), &plan(), &feed, &path, "key");
        (result, feed.seen.into_inner())
    }

    #[test]
    fn a_killed_run_goes_on_to_the_same_bits() {
        let whole = tempfile::tempdir().unwrap();
        let (expected, steps) = run(whole.path(), None);
        let expected = expected.unwrap();
        assert_eq!(steps, 60);
        let (first, last) = (expected.metrics[0], expected.metrics[expected.metrics.len() - 1]);
        assert!(last.validation_loss < 0.9 * first.validation_loss, "{first:?} {last:?}");

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
    #[test]
    fn a_batch_that_is_not_finite_ends_the_run_and_leaves_the_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.safetensors");
        let net = PixelRnn::new(&SHAPE, &backend::device());
        let feed = Toy { validation: vec![examples(1000)], spoilt: Some(12), ..Toy::default() };
        let error = fit("toy", &net, || Ok(net.start(3)), &plan(), &feed, &path, "key").unwrap_err();
        let Error::Diverged { step: 12, batch: 12, samples, .. } = &error else { panic!("{error}") };
        assert_eq!(*samples, ["sample 1"]);
        assert!(error.to_string().contains("sample 1"), "{error}");
        assert_eq!(State::load(&path, "key").unwrap().unwrap().step, 10);
    }

    #[test]
    fn a_run_that_gets_no_better_ends_early_and_stays_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.safetensors");
        let net = PixelRnn::new(&SHAPE, &backend::device());
        // Nothing is learnt: the validation of step 7 is the best, those of 14 and 21 are as good.
        let plan = FitPlan { learning_rate: 0.0, average: None, patience: Some(2), ..plan() };
        let run = || {
            let feed = Toy { validation: vec![examples(1000)], ..Toy::default() };
            let state = fit("toy", &net, || Ok(net.start(3)), &plan, &feed, &path, "key").unwrap();
            (state.step, state.best[0].step, feed.seen.into_inner() > 0)
        };
        assert_eq!(run(), (21, 7, true));
        assert_eq!((run().0, run().1), (21, 7));
    }

    #[test]
    fn the_best_and_the_end_follow_the_score_where_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.safetensors");
        let net = PixelRnn::new(&SHAPE, &backend::device());
        // The score of steps 7, 14, 21, 28 falls to 0 and rises then.
        let plan = FitPlan { keep_by: KeepBy::KndviMae, patience: Some(2), ..plan() };
        let feed = Toy { validation: vec![examples(1000)], ..Toy::default() };
        let state = fit("toy", &net, || Ok(net.start(3)), &plan, &feed, &path, "key").unwrap();
        assert_eq!((state.step, state.best[0].step, state.best[1].step), (42, 28, 21));
        assert_eq!(state.metrics[3].validation_score, Some(0.0));
        assert_eq!(state.best[0].loss, state.metrics[3].validation_loss);
    }

    /// The mean of the gradients of two batches is that of both together, where each has as many values.
    #[test]
    fn accumulated_batches_are_one_large_batch() {
        struct Halves(bool);
        impl Feed for Halves {
            fn training(&self, batch: u64) -> Result<Examples, Error> {
                let whole = examples(7);
                let cut = |a: &ArrayD<f32>, from: usize, to: usize| {
                    a.slice_axis(ndarray::Axis(0), ndarray::Slice::from(from..to)).to_owned()
                };
                let from = if self.0 { 6 * (batch as usize % 2) } else { 0 };
                let to = if self.0 { from + 6 } else { 12 };
                Ok(Examples {
                    inputs: whole.inputs.iter().map(|a| cut(a, from, to)).collect(),
                    target: cut(&whole.target, from, to),
                    valid: cut(&whole.valid, from, to),
                    ..Examples::default()
                })
            }
        }
        let run = |halves: bool| {
            let dir = tempfile::tempdir().unwrap();
            let net = PixelRnn::new(&SHAPE, &backend::device());
            let accumulate = if halves { 2 } else { 1 };
            // Without clipping: the norms differ a little, as 48 + 1 is not 2 · (24 + 1).
            let plan = FitPlan { steps: 3, accumulate, clip_norm: None, ..plan() };
            let path = dir.path().join("state.safetensors");
            fit("toy", &net, || Ok(net.start(3)), &plan, &Halves(halves), &path, "key").unwrap().weights
        };
        let (whole, halves) = (run(false), run(true));
        for (name, array) in &whole.0 {
            // Adam does not see the factor 49 / 50 but for its epsilon.
            crate::harness::testing::close(&halves.0[name], array, 1e-5);
        }
    }
}
