//! What a step of training sees: samples, crops and pixels drawn by the seed and the step's number alone.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use minicube::run::Progress;
use minicube::write_atomic;
use ndarray::{Array2, Array3, ArrayD, ArrayView3};
use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::data::dataset::Dataset;
use crate::data::turn::Turn;
use crate::data::{Batch, Crop, Pick, context};
use crate::dead_channels::tell_dead_channels;
use crate::error::Error;
use crate::harness::checkpoint::Metric;
use crate::harness::fit::Feed;
use crate::harness::gradient::{Examples, Loss, Network};
use crate::harness::keep::Judge;
use crate::harness::noise::with_noise;
use crate::harness::scheduled_sampling::{SamplingDecay, ScheduledSampling, told};
use crate::harness::tensorboard;
use crate::harness::weights::Weights;
use crate::model::Layout;
use crate::plan::ModelPlan;
use crate::prepare;
use crate::score::summary;

/// Draws examples. What a step sees depends on the seed and the step's number alone.
pub(crate) struct Sampler<'a> {
    plan: &'a ModelPlan,
    training: &'a Dataset,
    validation: Vec<Examples>,
    progress: &'a Progress,
    /// Where TensorBoard looks.
    events: PathBuf,
    /// Channels that were told to be dead.
    told_dead: Mutex<Vec<usize>>,
}

/// Streams of the random generator that are no training step.
const VALIDATION_STREAM: u64 = u64::MAX;

impl<'a> Sampler<'a> {
    pub(crate) fn new(
        plan: &'a ModelPlan,
        training: &'a Dataset,
        validation: Option<&Dataset>,
        progress: &'a Progress,
        events: PathBuf,
    ) -> Result<Sampler<'a>, Error> {
        // Without a validation split, fixed examples of the training split stand in.
        let source = validation.unwrap_or(training);
        let mut rng = stream(plan.seed, VALIDATION_STREAM);
        let count = plan.sampling.validation_samples.min(source.len());
        let mut chosen = index::sample(&mut rng, source.len(), count).into_vec();
        chosen.sort_unstable();
        let examples = chosen
            .iter()
            .map(|&sample| {
                let (first_step, crop) = part(plan, source, &mut rng);
                Ok(draw(plan, source, &[Pick { sample, first_step, crop }], false, &mut rng)?.1)
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let told_dead = Mutex::default();
        Ok(Sampler { plan, training, validation: examples, progress, events, told_dead })
    }
}

impl Feed for Sampler<'_> {
    fn training(&self, batch: u64) -> Result<Examples, Error> {
        let mut rng = stream(self.plan.seed, batch);
        let picks: Vec<Pick> = (0..self.plan.sampling.batch)
            .map(|_| {
                let sample = rng.random_range(0..self.training.len());
                let (first_step, crop) = part(self.plan, self.training, &mut rng);
                Pick { sample, first_step, crop }
            })
            .collect();
        let augment = self.plan.sampling.augment;
        let (picked, mut examples) = draw(self.plan, self.training, &picks, augment, &mut rng)?;
        let latent = self.plan.architecture.latent();
        if let Some(sampling) = self.plan.sampling.scheduled_sampling.or(latent.map(|_| NEVER)) {
            let fit = &self.plan.fit;
            let probability = sampling.probability(batch / fit.accumulate.max(1), fit.steps);
            let (_, _, _, rows, cols) = picked.dynamic.dim();
            let shape = [picked.len(), examples.steps, self.plan.data.dynamic.len(), rows, cols];
            let truth = prepare::shaped(&shape, examples.target.iter().copied().collect());
            let valid = context::target_valid(&picked, self.plan.data.context_steps);
            examples.inputs.extend([truth, told(probability, valid, &mut rng).into_dyn()]);
        }
        if let Some(latent) = latent {
            with_noise(&mut examples, self.plan.data.steps() - 1, latent, &mut rng);
        }
        Ok(examples)
    }

    fn validation(&self) -> &[Examples] {
        &self.validation
    }

    fn judge(&self, predictions: &[ArrayD<f32>]) -> f64 {
        let judge = Judge {
            by: self.plan.fit.keep_by,
            channels: self.plan.data.dynamic.clone(),
            scale: self.plan.preparation.dynamic_scale,
            ndvi_epsilon: self.plan.scoring.ndvi_epsilon,
        };
        judge.score(&self.validation, predictions)
    }

    fn validated(&self, network: &dyn Network, weights: &Weights) -> Result<(), Error> {
        let mut told = self.told_dead.lock().unwrap_or_else(PoisonError::into_inner);
        tell_dead_channels(self.plan, network, weights, &self.validation, &mut told)
    }

    fn progress(&self, _step: u64, loss: f64) {
        self.progress.inc(1);
        self.progress.set_message(format!("loss {loss:.5}"));
    }

    fn saved(&self, metrics: &[Metric]) -> Result<(), Error> {
        write_atomic(&self.events, &tensorboard::events(metrics))?;
        Ok(())
    }
}

/// Observed frames go to the encoder of what happens only.
const NEVER: ScheduledSampling =
    ScheduledSampling { start: 0.0, end: 0.0, over: 1.0, decay: SamplingDecay::Linear };

/// The random numbers of a step.
pub(crate) fn stream(seed: u64, number: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    rng
}

/// A first step and, for networks of frames, a crop.
fn part(plan: &ModelPlan, dataset: &Dataset, rng: &mut ChaCha8Rng) -> (usize, Option<Crop>) {
    let first_step = rng.random_range(0..=dataset.steps() - plan.data.steps());
    if plan.architecture.kind().defaults().layout == Layout::Pixels {
        return (first_step, None);
    }
    let (rows, cols) = dataset.size();
    let side = plan.sampling.crop.min(rows).min(cols);
    let (row, col) = (rng.random_range(0..=rows - side), rng.random_range(0..=cols - side));
    (first_step, Some(Crop { row, col, rows: side, cols: side }))
}

/// What is drawn of the picked samples, where told so turned and mirrored.
fn draw(
    plan: &ModelPlan,
    dataset: &Dataset,
    picks: &[Pick],
    augment: bool,
    rng: &mut ChaCha8Rng,
) -> Result<(Batch, Examples), Error> {
    let (data, preparation) = (&plan.data, &plan.preparation);
    let layout = plan.architecture.kind().defaults().layout;
    let (batch, mut drawn) = match layout {
        Layout::Pixels => {
            let (batch, pixels) = dataset.pick_pixels(picks, |statics| draw_pixels(plan, statics, rng))?;
            let drawn = prepare::pixel_examples(&batch, &pixels, data, preparation);
            (batch, drawn)
        }
        Layout::Frames | Layout::FramePixels => {
            let mut batch = dataset.pick(picks)?;
            if augment {
                let is_square = batch.weather.dim().3 == batch.weather.dim().4;
                for item in 0..batch.len() {
                    Turn::draw(rng, is_square).apply(&mut batch, item, &data.statics);
                }
            }
            let drawn = if layout == Layout::Frames {
                prepare::frame_examples(&batch, &counted(plan, &batch), by_pixel(plan), data, preparation)
            } else {
                some_pixels(plan, &batch, rng)
            };
            (batch, drawn)
        }
    };
    drawn.quantiles.clone_from(&plan.quantiles);
    Ok((batch, drawn))
}

/// Whether each pixel counts the same, however often it was seen.
fn by_pixel(plan: &ModelPlan) -> bool {
    plan.fit.loss == Loss::PixelMse
}

/// 1 for the pixels whose error is minimised, `[batch, y, x]`.
fn counted(plan: &ModelPlan, batch: &Batch) -> Array3<f32> {
    let mut counted = Array3::ones((batch.len(), batch.valid.dim().2, batch.valid.dim().3));
    if by_pixel(plan) {
        for (mut pixels, statics) in counted.outer_iter_mut().zip(batch.statics.outer_iter()) {
            pixels.assign(&summary::vegetation(statics, &plan.data, &plan.scoring.vegetation));
        }
    }
    counted
}

/// Whole frames go in, and vegetation pixels of each are asked for.
fn some_pixels(plan: &ModelPlan, batch: &Batch, rng: &mut ChaCha8Rng) -> Examples {
    let (rows, cols) = (batch.valid.dim().2, batch.valid.dim().3);
    let all = Array3::ones((batch.len(), rows, cols));
    let whole = prepare::frame_examples(batch, &all, by_pixel(plan), &plan.data, &plan.preparation);
    let mut chosen = Array2::zeros((batch.len(), plan.sampling.pixels));
    for (mut row, statics) in chosen.outer_iter_mut().zip(batch.statics.outer_iter()) {
        // Fewer vegetation pixels than asked for are repeated.
        let pixels = draw_pixels(plan, statics, rng);
        let numbers = pixels.iter().cycle().map(|&(y, x)| y * cols + x);
        row.iter_mut().zip(numbers).for_each(|(into, number)| *into = number);
    }
    prepare::only_pixels(whole, &chosen)
}

/// Row and column of random vegetation pixels of one sample with the statics `[layer, y, x]`, in raster order.
fn draw_pixels(plan: &ModelPlan, statics: ArrayView3<'_, f32>, rng: &mut ChaCha8Rng) -> Vec<(usize, usize)> {
    let vegetation = summary::vegetation(statics, &plan.data, &plan.scoring.vegetation);
    let all: Vec<(usize, usize)> =
        vegetation.indexed_iter().filter(|(_, v)| **v > 0.0).map(|(at, _)| at).collect();
    let count = plan.sampling.pixels.min(all.len());
    let mut chosen = index::sample(rng, all.len(), count).into_vec();
    chosen.sort_unstable();
    chosen.into_iter().map(|k| all[k]).collect()
}
