//! Training one model, and the folder that results.

use std::collections::BTreeSet;
use std::path::Path;

use minicube::run::Progress;
use minicube::{SCHEMA_VERSION, Split, write_atomic};

use crate::data::dataset::Dataset;
use crate::error::Error;
use crate::forecast_store::layer;
use crate::forecaster::ModelFile;
use crate::harness::backend;
use crate::harness::checkpoint::State;
use crate::harness::fit::{Feed, fit};
use crate::import;
use crate::plan::ModelPlan;
use crate::sampler::Sampler;

/// Name of the file for TensorBoard, whose names end as they like.
pub(crate) const EVENTS: &str = "events.out.tfevents.0.x5-dl";

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
    feed.validated(&*network, state.chosen())?;
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

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, IxDyn};
    use rand::Rng;

    use super::*;
    use crate::harness::fit::FitPlan;
    use crate::harness::gradient::{Examples, Loss, Network};
    use crate::harness::keep::KeepBy;
    use crate::harness::schedule::{Decay, Schedule};
    use crate::harness::weights;
    use crate::model::Model;
    use crate::model::rnn::{PixelRnn, RnnShape};
    use crate::sampler::stream;

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
            context_weather: false,
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
}
