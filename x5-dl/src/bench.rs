//! What the benchmarks time.

use std::path::{Path, PathBuf};
use std::time::Instant;

use minicube::Split;
use minicube::run::Ctx;
use ndarray::{ArrayD, IxDyn};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::data::dataset::Dataset;
use crate::error::Error;
use crate::harness::adam::Adam;
use crate::harness::fit::Feed;
use crate::harness::gradient::{self, Examples, Loss, Network};
use crate::harness::{backend, weights};
use crate::model::Model;
use crate::model::convlstm::{ConvLstm, ConvLstmShape};
use crate::model::rnn::{PixelRnn, RnnShape};
use crate::plan::ModelPlan;
use crate::sampler::Sampler;

/// Best seconds of a training step of the published ConvLSTM (10 + 20 steps, five weather variables) on random
/// frames of `side` × `side` pixels, after one step to warm up.
///
/// # Errors
/// None in practice: the weights are the network's own.
pub fn convlstm_step(batch: usize, side: usize, repeats: usize) -> Result<f64, Error> {
    let mut random = generator();
    let values = 20 * 4 * side * side;
    let examples = Examples {
        inputs: frames(batch, side, &mut random),
        target: random(&[batch, values]),
        valid: ArrayD::ones(IxDyn(&[batch, values])),
        ..Examples::default()
    };
    best_step(&ConvLstm::new(&published(), &backend::device()), &examples, Loss::MaskedL1, repeats)
}

/// Best seconds of a training step of the published pixelwise RNN (nine context steps, 27 drivers, `hidden` units)
/// on random series, after one step to warm up.
///
/// # Errors
/// None in practice: the weights are the network's own.
pub fn rnn_step(pixels: usize, steps: usize, hidden: usize, repeats: usize) -> Result<f64, Error> {
    let shape = RnnShape {
        context_steps: 9,
        statics: 21,
        drivers: 27,
        hidden,
        update: hidden / 2,
        state_hidden: 2 * hidden,
        update_hidden: 2 * hidden / 3,
        quirks: true,
        context_weather: false,
    };
    let mut random = generator();
    let examples = Examples {
        inputs: vec![random(&[pixels, 9]), random(&[pixels, 21]), random(&[pixels, steps, 27])],
        target: random(&[pixels, steps]),
        valid: ArrayD::ones(IxDyn(&[pixels, steps])),
        ..Examples::default()
    };
    best_step(&PixelRnn::new(&shape, &backend::device()), &examples, Loss::MaskedMse, repeats)
}

/// Best seconds in which the published ConvLSTM forecasts `variants` of a cube of `side` × `side` pixels, side by
/// side on all threads, after one forecast to warm up.
///
/// # Errors
/// None in practice: the weights are the network's own.
pub fn convlstm_forecasts(variants: usize, side: usize, repeats: usize) -> Result<f64, Error> {
    let device = backend::device();
    let net = ConvLstm::new(&published(), &device);
    let net = net.loaded(&net.initial(0), &device)?;
    let mut random = generator();
    let inputs: Vec<Vec<ArrayD<f32>>> = (0..variants).map(|_| frames(1, side, &mut random)).collect();
    let mut best = f64::INFINITY;
    for _ in 0..=repeats {
        let clock = Instant::now();
        let forecasts: Vec<ArrayD<f32>> =
            inputs.par_iter().map(|inputs| weights::to_array(net.predict(inputs, &device))).collect();
        best = best.min(clock.elapsed().as_secs_f64());
        drop(forecasts);
    }
    Ok(best)
}

/// How fast a model's samples come and go.
#[derive(Clone, Copy, Debug)]
pub struct Loading {
    /// Samples a second that are read, drawn and made ready, while nothing else is done.
    pub loaded: f64,
    /// Samples a second that training steps take.
    pub trained: f64,
}

/// Times `batches` batches of a model as its training would draw them, on all threads, and the best of `repeats` steps on
/// the last of them.
///
/// # Errors
/// Those of [`Dataset::open`] and of reading samples.
pub fn loading(level2: &Path, plan: &ModelPlan, batches: u64, repeats: usize) -> Result<Loading, Error> {
    let training = Dataset::open(level2, Split::Train, &plan.data)?;
    let progress = Ctx::quiet(1).progress("", 0);
    let feed = Sampler::new(plan, &training, None, &progress, PathBuf::new())?;
    let clock = Instant::now();
    let mut examples = Examples::default();
    for batch in 0..batches {
        examples = feed.training(batch)?;
    }
    let samples = plan.sampling.batch as f64;
    let loaded = batches as f64 * samples / clock.elapsed().as_secs_f64();
    let network = plan.architecture.network(plan.quantiles.len(), &backend::device());
    let trained = samples / best_step(&*network, &examples, plan.fit.loss, repeats)?;
    Ok(Loading { loaded, trained })
}

/// The published ConvLSTM.
fn published() -> ConvLstmShape {
    ConvLstmShape {
        channels: 4,
        statics: 1,
        weather: 5,
        hidden: vec![32; 3],
        kernel: 3,
        target_steps: 20,
        quirks: true,
    }
}

fn frames(batch: usize, side: usize, random: &mut impl FnMut(&[usize]) -> ArrayD<f32>) -> Vec<ArrayD<f32>> {
    vec![
        random(&[batch, 10, 4, side, side]),
        random(&[batch, 1, side, side]),
        random(&[batch, 30, 5, side, side]),
    ]
}

/// Arrays of numbers in 0..1.
fn generator() -> impl FnMut(&[usize]) -> ArrayD<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    move |shape| ArrayD::from_shape_simple_fn(IxDyn(shape), || rng.random_range(0.0..1.0f32))
}

fn best_step(net: &dyn Network, examples: &Examples, loss: Loss, repeats: usize) -> Result<f64, Error> {
    let mut weights = net.initial(0);
    let mut adam = Adam::new(&weights);
    let mut best = f64::INFINITY;
    for _ in 0..=repeats {
        let clock = Instant::now();
        let answer = gradient::loss_and_gradient(net, &weights, examples, loss)?;
        adam.step(&mut weights, &answer.gradient, 1e-3, 0.0);
        best = best.min(clock.elapsed().as_secs_f64());
    }
    Ok(best)
}
