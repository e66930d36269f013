//! Training one model: what is drawn at each step, and the folder that results.

use std::path::Path;

use minicube::run::Progress;
use minicube::{SCHEMA_VERSION, Split, write_atomic};
use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::data::dataset::Dataset;
use crate::data::{Batch, Crop, Pick};
use crate::error::Error;
use crate::forecaster::{Architecture, ModelFile};
use crate::harness::backend;
use crate::harness::checkpoint::State;
use crate::harness::fit::{Feed, fit};
use crate::harness::gradient::{Examples, Network};
use crate::harness::weights::{self, Weights};
use crate::model::convlstm::ConvLstm;
use crate::model::rnn::PixelRnn;
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
    let feed = Sampler::new(plan, &training, validation.as_ref(), progress)?;
    let checkpoint = folder.join("checkpoint").join("state.safetensors");
    let device = backend::device();
    let state = match &plan.architecture {
        Architecture::Rnn(shape) => {
            let net = PixelRnn::new(shape, &device);
            fit(&plan.name, &net, || net.initial(plan.seed), &plan.fit, &feed, &checkpoint, plan_hash)?
        }
        Architecture::Convlstm(shape) => {
            let net = ConvLstm::new(shape, &device);
            let state =
                fit(&plan.name, &net, || net.initial(plan.seed), &plan.fit, &feed, &checkpoint, plan_hash)?;
            let weights = state.best.as_ref().map_or(&state.weights, |(best, ..)| best);
            if is_dead(&net, weights, feed.validation())? {
                tracing::warn!(
                    model = plan.name,
                    "the model has collapsed: it forecasts 0 everywhere, and no gradient gets through its last ReLU any \
                     more; train it again with a smaller `learning_rate`, more `steps` or another `seed`"
                );
            }
            state
        }
    };
    write_model(plan, plan_hash, &state, folder)?;
    Ok(state)
}

/// Whether the network answers 0 to everything: its output is a ReLU, and that is dead then.
fn is_dead<N: Network>(network: &N, weights: &Weights, examples: &[Examples]) -> Result<bool, Error> {
    let device = backend::device();
    let network = weights::load(network.clone(), weights, &device)?;
    let silent = |part: &Examples| {
        weights::to_array(network.predict(&part.inputs, &device)).iter().all(|value| *value == 0.0)
    };
    Ok(!examples.is_empty() && examples.iter().all(silent))
}

fn write_model(plan: &ModelPlan, plan_hash: &str, state: &State, folder: &Path) -> Result<(), Error> {
    let (weights, loss, step) = match &state.best {
        Some((weights, loss, step)) => (weights, *loss, *step),
        None => (&state.weights, f64::NAN, state.step),
    };
    let lines: Vec<String> = state
        .metrics
        .iter()
        .map(|m| serde_json::to_string(m).map_err(|e| Error::json(folder, e)))
        .collect::<Result<_, _>>()?;
    write_atomic(&folder.join("metrics.jsonl"), (lines.join("\n") + "\n").as_bytes())?;
    write_atomic(&folder.join("weights.safetensors"), &weights.to_bytes(plan_hash)?)?;
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
}

/// Streams of the random generator that are no training step.
const VALIDATION_STREAM: u64 = u64::MAX;

impl<'a> Sampler<'a> {
    fn new(
        plan: &'a ModelPlan,
        training: &'a Dataset,
        validation: Option<&Dataset>,
        progress: &'a Progress,
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
        Ok(Sampler { plan, training, validation: examples, progress })
    }
}

impl Feed for Sampler<'_> {
    fn training(&self, step: u64) -> Result<Examples, Error> {
        let mut rng = stream(self.plan.seed, step);
        let picks: Vec<Pick> = (0..self.plan.sampling.batch)
            .map(|_| {
                let sample = rng.random_range(0..self.training.len());
                let (first_step, crop) = part(self.plan, self.training, &mut rng);
                Pick { sample, first_step, crop }
            })
            .collect();
        let batch = self.training.pick(&picks)?;
        Ok(examples(self.plan, &batch, &mut rng))
    }

    fn validation(&self) -> &[Examples] {
        &self.validation
    }

    fn progress(&self, _step: u64, loss: f64) {
        self.progress.inc(1);
        self.progress.set_message(format!("loss {loss:.5}"));
    }
}

fn stream(seed: u64, number: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    rng
}

/// A first step and, for the ConvLSTM, a crop.
fn part(plan: &ModelPlan, dataset: &Dataset, rng: &mut ChaCha8Rng) -> (usize, Option<Crop>) {
    let first_step = rng.random_range(0..=dataset.steps() - plan.data.steps());
    let Architecture::Convlstm(_) = plan.architecture else { return (first_step, None) };
    let (rows, cols) = dataset.size();
    let side = plan.sampling.crop.min(rows).min(cols);
    let (row, col) = (rng.random_range(0..=rows - side), rng.random_range(0..=cols - side));
    (first_step, Some(Crop { row, col, rows: side, cols: side }))
}

fn examples(plan: &ModelPlan, batch: &Batch, rng: &mut ChaCha8Rng) -> Examples {
    match plan.architecture {
        Architecture::Convlstm(_) => prepare::frame_examples(batch, &plan.data, &plan.preparation),
        Architecture::Rnn(_) => {
            let pixels: Vec<Pixel> =
                (0..batch.len()).flat_map(|b| draw_pixels(plan, batch, b, rng)).collect();
            prepare::pixel_examples(batch, &pixels, &plan.data, &plan.preparation)
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
    use crate::model::convlstm::ConvLstmShape;

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
        };
        let net = ConvLstm::new(&shape, &backend::device());
        let ones = |shape: &[usize]| ArrayD::<f32>::ones(IxDyn(shape));
        let target = ones(&[1, 2 * 2 * 4 * 4]);
        let inputs = vec![ones(&[1, 3, 2, 4, 4]), ones(&[1, 1, 4, 4]), ones(&[1, 5, 1, 4, 4])];
        let examples = [Examples { inputs, valid: target.clone(), target }];
        let alive = net.initial(1);
        assert!(is_dead(&net, &alive.zeros_like(), &examples).unwrap());
        assert!(!is_dead(&net, &alive, &examples).unwrap());
        assert!(!is_dead(&net, &alive.zeros_like(), &[]).unwrap(), "nothing was asked");
    }
}
