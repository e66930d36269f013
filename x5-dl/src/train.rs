//! Training one model: what is drawn at each step, and the folder that results.

use std::collections::BTreeSet;
use std::f64::consts::TAU;
use std::path::{Path, PathBuf};

use minicube::run::Progress;
use minicube::{SCHEMA_VERSION, Split, write_atomic};
use ndarray::{Array2, Array3, ArrayD, Axis, IxDyn, Slice};
use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::data::dataset::Dataset;
use crate::data::turn::Turn;
use crate::data::{Batch, Crop, Pick, context};
use crate::error::Error;
use crate::forecast_store::layer;
use crate::forecaster::ModelFile;
use crate::harness::backend;
use crate::harness::checkpoint::{Metric, State};
use crate::harness::fit::{Feed, fit};
use crate::harness::gradient::{Examples, Loss, Network};
use crate::harness::keep::Judge;
use crate::harness::scheduled_sampling::{SamplingDecay, ScheduledSampling, told};
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
    need_vegetation(plan, level2, &training)?;
    let validation = match Dataset::open(level2, Split::Val, &plan.data) {
        Err(Error::NoSamples { .. }) => None,
        found => Some(found?),
    };
    let events = folder.join("tensorboard").join(EVENTS);
    let feed = Sampler::new(plan, &training, validation.as_ref(), progress, events)?;
    let checkpoint = folder.join("checkpoint").join("state.safetensors");
    let network = plan.architecture.network(plan.quantiles.len(), &backend::device());
    let initial = || match &plan.weights {
        Some(path) => import::read(path, plan.architecture.kind(), &*network),
        None => {
            let start = network.initial(plan.seed);
            match &plan.backbone {
                Some(path) => import::with_backbone(start, path),
                None => Ok(start),
            }
        }
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

/// Fails where classes of vegetation are named, land cover is known, and no training sample has a pixel of one.
fn need_vegetation(plan: &ModelPlan, level2: &Path, training: &Dataset) -> Result<(), Error> {
    let classes = &plan.scoring.vegetation;
    if classes.is_empty() || !plan.data.statics.iter().any(|name| name == "landcover") {
        return Ok(());
    }
    let mut found = BTreeSet::new();
    for sample in 0..training.len() {
        let (cube, row) = training.place(sample);
        let cover = layer(cube, "static/landcover", row)?;
        found.extend(cover.iter().filter(|value| value.is_finite()).map(|&value| value as i64));
        if classes.iter().any(|&class| found.contains(&i64::from(class))) {
            return Ok(());
        }
    }
    let list = |all: Vec<String>| if all.is_empty() { "none".to_owned() } else { all.join(", ") };
    Err(Error::NoVegetation {
        path: level2.join(Split::Train.to_string()),
        classes: list(classes.iter().map(ToString::to_string).collect()),
        found: list(found.iter().map(ToString::to_string).collect()),
    })
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
        quantiles: plan.quantiles.clone(),
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
/// Weight of the divergence beside the mean error; that of Arcon.
const DIVERGENCE_WEIGHT: f32 = 1e-3;

/// Gives the examples of a network with `latent` numbers for what happens between two of the frames standard normal ones,
/// `[item, transition, number]`, and the divergence 0 as one more value to be met, with its weight in a loss that is divided
/// by the count of the values.
fn with_noise(examples: &mut Examples, transitions: usize, latent: usize, rng: &mut ChaCha8Rng) {
    let items = examples.len();
    let noise = ArrayD::from_shape_simple_fn(IxDyn(&[items, transitions, latent]), || normal(rng));
    examples.inputs.push(noise);
    let counted = examples.valid.iter().filter(|&&v| v > 0.0).count() + items + 1;
    let weight = DIVERGENCE_WEIGHT * counted as f32 / items.max(1) as f32;
    let more = |all: &ArrayD<f32>, value: f32| {
        let mut wider = ArrayD::from_elem(IxDyn(&[items, all.len_of(Axis(1)) + 1]), value);
        wider.slice_axis_mut(Axis(1), Slice::from(..-1)).assign(all);
        wider
    };
    examples.target = more(&examples.target, 0.0);
    examples.valid = more(&examples.valid, weight);
}

/// A standard normal number (Box & Muller 1958, <https://doi.org/10.1214/aoms/1177706645>).
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let (radius, angle): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    ((-2.0 * radius.ln()).sqrt() * (TAU * angle).cos()) as f32
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::fit::FitPlan;
    use crate::harness::keep::KeepBy;
    use crate::harness::schedule::{Decay, Schedule};
    use crate::model::Model;
    use crate::model::convlstm::{ConvLstm, ConvLstmShape};
    use crate::model::rnn::{PixelRnn, RnnShape};

    /// y = .5 + .4 d u with u from U(-1, 1): its 5 % and 95 % quantiles are .5 - .36 d and .5 + .36 d.
    struct Noisy;

    impl Noisy {
        fn examples(batch: u64, pixels: usize) -> Examples {
            let mut rng = stream(3, batch);
            let mut random = |shape: &[usize]| {
                ArrayD::from_shape_simple_fn(IxDyn(shape), || rng.random_range(0.2..0.8f32))
            };
            let (context, statics, drivers) =
                (random(&[pixels, 1]), random(&[pixels, 1]), random(&[pixels, 2, 1]));
            let spread = drivers.clone().into_shape_with_order(IxDyn(&[pixels, 2])).unwrap();
            let target = spread.mapv(|d| 0.5 + 0.4 * d * rng.random_range(-1.0..1.0f32));
            Examples {
                inputs: vec![context, statics, drivers],
                valid: ArrayD::ones(target.raw_dim()),
                target,
                steps: 2,
                quantiles: vec![0.05, 0.5, 0.95],
                ..Examples::default()
            }
        }
    }

    impl Feed for Noisy {
        fn training(&self, batch: u64) -> Result<Examples, Error> {
            Ok(Noisy::examples(batch, 128))
        }
        fn validation(&self) -> &[Examples] {
            &[]
        }
        fn judge(&self, _predictions: &[ArrayD<f32>]) -> f64 {
            f64::NAN
        }
        fn progress(&self, _step: u64, _loss: f64) {}
        fn saved(&self, _metrics: &[Metric]) -> Result<(), Error> {
            Ok(())
        }
    }

    #[test]
    fn quantiles_cover_what_they_say() {
        let shape = RnnShape {
            context_steps: 1,
            statics: 1,
            drivers: 1,
            hidden: 8,
            update: 6,
            state_hidden: 8,
            update_hidden: 6,
            quirks: true,
        };
        let device = backend::device();
        let net = PixelRnn::new(&shape, &device).with_quantiles(3, &device);
        let plan = FitPlan {
            steps: 500,
            learning_rate: 0.02,
            schedule: Schedule { warm_up: 0, decay: Decay::Cosine },
            weight_decay: 0.0,
            accumulate: 1,
            average: None,
            clip_norm: Some(1.0),
            loss: Loss::Quantile,
            keep: 1,
            keep_by: KeepBy::Loss,
            patience: None,
            validate_every: 500,
            checkpoint_every: 500,
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.safetensors");
        let state = fit("noisy", &net, || Ok(net.initial(1)), &plan, &Noisy, &path, "key").unwrap();
        let unseen = Noisy::examples(u64::MAX, 4000);
        let found = net.loaded(&state.weights, &device).unwrap().predict(&unseen.inputs, &device);
        let found = weights::to_array(found);
        // [pixel, step * quantile]
        for (k, level) in unseen.quantiles.iter().enumerate() {
            let below =
                unseen.target.indexed_iter().filter(|(at, y)| **y < found[[at[0], at[1] * 3 + k]]).count();
            let part = below as f64 / unseen.target.len() as f64;
            assert!((part - level).abs() < 0.02, "{level}: {part}");
        }
        // Where the spread is wide the interval is: .72 d.
        for range in [0.25..0.35f32, 0.65..0.75] {
            let (mut widths, mut expected, mut count) = (0.0, 0.0, 0.0f32);
            for (at, &d) in unseen.inputs[2].indexed_iter().filter(|(_, d)| range.contains(d)) {
                widths += found[[at[0], at[1] * 3 + 2]] - found[[at[0], at[1] * 3]];
                expected += 0.72 * d;
                count += 1.0;
            }
            let (width, expected) = (widths / count, expected / count);
            assert!((width / expected - 1.0).abs() < 0.1, "{range:?}: {width}, expected {expected}");
        }
    }

    /// Two items of three values, of which four count: .001 · (4 + 2 + 1) / 2 for each divergence, so that the loss has .001
    /// of their mean.
    #[test]
    fn the_divergence_weighs_a_thousandth() {
        let mut rng = stream(1, 2);
        let mut examples = Examples {
            target: ArrayD::ones(IxDyn(&[2, 3])),
            valid: ndarray::arr2(&[[1.0f32, 1.0, 0.0], [1.0, 0.0, 1.0]]).into_dyn(),
            ..Examples::default()
        };
        with_noise(&mut examples, 50, 20, &mut rng);
        assert_eq!(
            examples.target,
            ndarray::arr2(&[[1.0f32, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0]]).into_dyn()
        );
        let weights: Vec<f32> = [3, 7].map(|k| *examples.valid.iter().nth(k).unwrap()).into();
        assert!(weights.iter().all(|w| (w - 0.0035).abs() < 1e-8), "{weights:?}");
        // 2000 numbers: three standard deviations of mean and variance.
        let noise = &examples.inputs[0];
        let mean = noise.mean().unwrap();
        assert!(mean.abs() < 0.07 && (noise.mapv(|v| (v - mean).powi(2)).mean().unwrap() - 1.0).abs() < 0.1);
    }

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
