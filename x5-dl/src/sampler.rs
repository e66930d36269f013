//! What a step of training sees: samples, crops and pixels drawn by the seed and the step's number alone.

use std::path::PathBuf;

use minicube::run::Progress;
use minicube::write_atomic;
use ndarray::{Array2, Array3, ArrayD};
use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::data::dataset::Dataset;
use crate::data::turn::Turn;
use crate::data::{Batch, Crop, Pick, context};
use crate::error::Error;
use crate::harness::checkpoint::Metric;
use crate::harness::fit::Feed;
use crate::harness::gradient::{Examples, Loss};
use crate::harness::keep::Judge;
use crate::harness::noise::with_noise;
use crate::harness::scheduled_sampling::{SamplingDecay, ScheduledSampling, told};
use crate::harness::tensorboard;
use crate::model::Layout;
use crate::plan::ModelPlan;
use crate::prepare::{self, Pixel};
use crate::score::summary;

/// Draws examples. What a step sees depends on the seed and the step's number alone.
pub(crate) struct Sampler<'a> {
    plan: &'a ModelPlan,
    training: &'a Dataset,
    validation: Vec<Examples>,
    progress: &'a Progress,
    /// Where TensorBoard looks.
    events: PathBuf,
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
                let batch = source.pick(&[Pick { sample, first_step, crop }])?;
                Ok(examples(plan, &batch, &mut rng))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        Ok(Sampler { plan, training, validation: examples, progress, events })
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
        let mut picked = self.training.pick(&picks)?;
        if self.plan.sampling.augment {
            let is_square = picked.weather.dim().3 == picked.weather.dim().4;
            for item in 0..picked.len() {
                Turn::draw(&mut rng, is_square).apply(&mut picked, item, &self.plan.data.statics);
            }
        }
        let mut examples = examples(self.plan, &picked, &mut rng);
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

fn examples(plan: &ModelPlan, batch: &Batch, rng: &mut ChaCha8Rng) -> Examples {
    let (data, preparation) = (&plan.data, &plan.preparation);
    let mut drawn = match plan.architecture.kind().defaults().layout {
        Layout::Frames => {
            let by_pixel = plan.fit.loss == Loss::PixelMse;
            let mut counted = Array3::ones((batch.len(), batch.valid.dim().2, batch.valid.dim().3));
            if by_pixel {
                for (b, mut pixels) in counted.outer_iter_mut().enumerate() {
                    pixels.assign(&summary::vegetation(batch, b, data, &plan.scoring.vegetation));
                }
            }
            prepare::frame_examples(batch, &counted, by_pixel, data, preparation)
        }
        Layout::FramePixels => {
            let (rows, cols) = (batch.valid.dim().2, batch.valid.dim().3);
            let by_pixel = plan.fit.loss == Loss::PixelMse;
            let all = Array3::ones((batch.len(), rows, cols));
            let whole = prepare::frame_examples(batch, &all, by_pixel, data, preparation);
            let count = plan.sampling.pixels;
            let mut chosen = Array2::zeros((batch.len(), count));
            for (b, mut row) in chosen.outer_iter_mut().enumerate() {
                let pixels = draw_pixels(plan, batch, b, rng);
                // Fewer vegetation pixels than asked for are repeated.
                let numbers = pixels.iter().cycle().map(|&(_, y, x)| y * cols + x);
                row.iter_mut().zip(numbers).for_each(|(into, number)| *into = number);
            }
            prepare::only_pixels(whole, &chosen)
        }
        Layout::Pixels => {
            let pixels: Vec<Pixel> =
                (0..batch.len()).flat_map(|b| draw_pixels(plan, batch, b, rng)).collect();
            prepare::pixel_examples(batch, &pixels, data, preparation)
        }
    };
    drawn.quantiles.clone_from(&plan.quantiles);
    drawn
}

/// Random vegetation pixels of one sample, in raster order.
fn draw_pixels(plan: &ModelPlan, batch: &Batch, b: usize, rng: &mut ChaCha8Rng) -> Vec<Pixel> {
    let vegetation = summary::vegetation(batch, b, &plan.data, &plan.scoring.vegetation);
    let all: Vec<Pixel> =
        vegetation.indexed_iter().filter(|(_, v)| **v > 0.0).map(|((y, x), _)| (b, y, x)).collect();
    let count = plan.sampling.pixels.min(all.len());
    let mut chosen = index::sample(rng, all.len(), count).into_vec();
    chosen.sort_unstable();
    chosen.into_iter().map(|k| all[k]).collect()
}
