//! Training one model: what is drawn at each step, and the folder that results.

use std::path::{Path, PathBuf};

use minicube::run::Progress;
use minicube::{SCHEMA_VERSION, Split, write_atomic};
use ndarray::{Array2, Array3};
use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::data::dataset::Dataset;
use crate::data::turn::Turn;
use crate::data::{Batch, Crop, Pick};
use crate::error::Error;
use crate::forecaster::ModelFile;
use crate::harness::backend;
use crate::harness::checkpoint::{Metric, State};
use crate::harness::fit::{Feed, fit};
use crate::harness::gradient::{Examples, Loss, Network};
use crate::harness::weights::Weights;
use crate::harness::{tensorboard, weights};
use crate::import;
use crate::model::Layout;
use crate::plan::ModelPlan;
use crate::prepare::{self, Pixel};
use crate::score::summary;

/// Trains a model, or goes on where an interrupted run stopped, and writes `metrics.jsonl`,
/// `weights.safetensors` and last `model.json` into its folder.
pub(crate) fn train(
    plan: &ModelPlan,
    plan_hash: &str,
    level2: &Path,
    folder: &Path,
    progress: &Progress,
) -> Result<State, Error> {
    let training = Dataset::open(level2, Split::Train, &plan.data)?;
    let validation = match Dataset::open(level2, Split::Val, &plan.data) {
        Err(Error::NoSamples { .. }) => None,
        found => Some(found?),
    };
    let events = folder.join("tensorboard").join(EVENTS);
    let feed = Sampler::new(plan, &training, validation.as_ref(), progress, events)?;
    let checkpoint = folder.join("checkpoint").join("state.safetensors");
    let network = plan.architecture.network(&backend::device());
    let initial = || match &plan.weights {
        Some(path) => import::read(path, plan.architecture.kind(), &*network),
        None => Ok(network.initial(plan.seed)),
    };
    let state = fit(&plan.name, &*network, initial, &plan.fit, &feed, &checkpoint, plan_hash)?;
    if is_dead(&*network, state.chosen(), feed.validation())? {
        tracing::warn!(
            model = plan.name,
            "the model has collapsed: it forecasts 0 everywhere, and no gradient gets through its last ReLU any more; \
             train it again with a smaller `learning_rate`, more `steps` or another `seed`"
        );
    }
    write_model(plan, plan_hash, &state, folder)?;
    Ok(state)
}

/// Whether the network answers 0 to everything: its output is a ReLU, and that is dead then.
fn is_dead(network: &dyn Network, weights: &Weights, examples: &[Examples]) -> Result<bool, Error> {
    let device = backend::device();
    let network = network.loaded(weights, &device)?;
    let silent = |part: &Examples| {
        weights::to_array(network.predict(&part.inputs, &device)).iter().all(|value| *value == 0.0)
    };
    Ok(!examples.is_empty() && examples.iter().all(silent))
}

fn write_model(plan: &ModelPlan, plan_hash: &str, state: &State, folder: &Path) -> Result<(), Error> {
    let (loss, step) = state.best.first().map_or((f64::NAN, state.step), |best| (best.loss, best.step));
    let lines: Vec<String> = state
        .metrics
        .iter()
        .map(|m| serde_json::to_string(m).map_err(|e| Error::json(folder, e)))
        .collect::<Result<_, _>>()?;
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    write_atomic(&folder.join("metrics.jsonl"), text.as_bytes())?;
    write_atomic(&folder.join("weights.safetensors"), &state.chosen().to_bytes(plan_hash)?)?;
    for best in state.best.iter().skip(1) {
        let path = folder.join("checkpoint").join(format!("step{}.safetensors", best.step));
        write_atomic(&path, &best.weights.to_bytes(plan_hash)?)?;
    }
    let file = ModelFile {
        minicube_schema: "model".into(),
        schema_version: SCHEMA_VERSION,
        plan_hash: plan_hash.to_owned(),
        architecture: plan.architecture.clone(),
        data: plan.data.clone(),
        preparation: plan.preparation.clone(),
        steps: state.step,
        best_step: step,
        best_validation_loss: loss,
    };
    let path = folder.join("model.json");
    let text = serde_json::to_string_pretty(&file).map_err(|e| Error::json(&path, e))?;
    write_atomic(&path, text.as_bytes())?;
    Ok(())
}

/// Draws examples. What a step sees depends on the seed and the step's number alone.
struct Sampler<'a> {
    plan: &'a ModelPlan,
    training: &'a Dataset,
    validation: Vec<Examples>,
    progress: &'a Progress,
    /// Where TensorBoard looks.
    events: PathBuf,
}

/// Name of the file for TensorBoard, whose names end as they like.
pub(crate) const EVENTS: &str = "events.out.tfevents.0.x5-dl";

/// Streams of the random generator that are no training step.
const VALIDATION_STREAM: u64 = u64::MAX;

impl<'a> Sampler<'a> {
    fn new(
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
        let mut batch = self.training.pick(&picks)?;
        if self.plan.sampling.augment {
            let is_square = batch.weather.dim().3 == batch.weather.dim().4;
            for item in 0..batch.len() {
                Turn::draw(&mut rng, is_square).apply(&mut batch, item, &self.plan.data.statics);
            }
        }
        Ok(examples(self.plan, &batch, &mut rng))
    }

    fn validation(&self) -> &[Examples] {
        &self.validation
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

fn stream(seed: u64, number: u64) -> ChaCha8Rng {
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
    match plan.architecture.kind().defaults().layout {
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
    }
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

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, IxDyn};

    use super::*;
    use crate::model::Model;
    use crate::model::convlstm::{ConvLstm, ConvLstmShape};

    /// Without weights the cell state stays at f · 0 + i · tanh 0 = 0, and so does the output.
    #[test]
    fn only_a_network_that_answers_nothing_is_dead() {
        let shape = ConvLstmShape {
            channels: 2,
            statics: 1,
            weather: 1,
            hidden: vec![3],
            kernel: 3,
            target_steps: 2,
            quirks: true,
        };
        let net = ConvLstm::new(&shape, &backend::device());
        let ones = |shape: &[usize]| ArrayD::<f32>::ones(IxDyn(shape));
        let target = ones(&[1, 2 * 2 * 4 * 4]);
        let inputs = vec![ones(&[1, 3, 2, 4, 4]), ones(&[1, 1, 4, 4]), ones(&[1, 5, 1, 4, 4])];
        let examples = [Examples { inputs, valid: target.clone(), target, ..Examples::default() }];
        let alive = net.initial(1);
        assert!(is_dead(&net, &alive.zeros_like(), &examples).unwrap());
        assert!(!is_dead(&net, &alive, &examples).unwrap());
        assert!(!is_dead(&net, &alive.zeros_like(), &[]).unwrap(), "nothing was asked");
    }
}
