use burn::tensor::{Device, Gradients, Tensor};
use ndarray::{Array2, Array3, s};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::config::ModelConfig;
use crate::data::DataSpec;
use crate::data::context::ContextGaps;
use crate::data::scaling::{Affine, StaticInput};
use crate::forecaster::ModelFile;
use crate::harness::backend;
use crate::harness::gradient::Network;
use crate::harness::weights::{self, Weights};
use crate::index_mean::{GreenIndex, IndexMean};
use crate::model::efficientnet::Encoder;
use crate::model::{ModelKind, Sizes};
use crate::prepare::Preparation;

const CONTEXT: usize = 3;
const TARGET: usize = 2;

fn file(config: &ModelConfig) -> ModelFile {
    let defaults = config.model.defaults();
    let data = DataSpec {
        dynamic: defaults.dynamic.iter().map(|&name| name.to_owned()).collect(),
        weather: vec!["tp_mean".into(), "t2m_mean".into()],
        statics: vec!["dem".into(), "landcover".into()],
        context_steps: CONTEXT,
        target_steps: TARGET,
    };
    let preparation = Preparation {
        weather: vec![Affine { offset: 1.0, scale: 4.0 }, Affine { offset: -20.0, scale: 50.0 }],
        statics: vec![
            StaticInput::Scaled(Affine { offset: 0.0, scale: 2000.0 }),
            StaticInput::Classes(vec![10, 30]),
        ],
        context_gaps: ContextGaps::Hold,
        dynamic_scale: 0.8,
        context_weather: config.context_weather.unwrap_or(false),
    };
    let sizes = Sizes {
        context_steps: CONTEXT,
        target_steps: TARGET,
        channels: data.dynamic.len(),
        statics: preparation.static_width(),
        scaled_statics: preparation.scaled_width(),
        weather: 2,
    };
    ModelFile {
        minicube_schema: "model".into(),
        schema_version: 1,
        plan_hash: String::new(),
        architecture: config.model.architecture(config, &sizes),
        data,
        preparation,
        quantiles: config.quantiles.clone().unwrap_or_default(),
        steps: 0,
        best_step: 0,
        best_validation_loss: 0.0,
    }
}

/// Two samples of `side` × `side` pixels; each tenth value is not observed, and one elevation is missing.
fn batch(channels: usize, side: usize) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let steps = CONTEXT + TARGET;
    let mut valid = Array4::ones((2, steps, side, side));
    valid.map_inplace(|v| *v = f32::from(u8::from(rng.random_range(0..10) > 0)));
    let mut statics = Array4::from_shape_fn((2, 2, side, side), |(_, layer, y, _)| match layer {
        0 => rng.random_range(100.0..900.0),
        _ => [10.0, 30.0][y % 2],
    });
    statics[[0, 0, 1, 1]] = f32::NAN;
    Batch {
        dynamic: Array5::from_shape_simple_fn((2, steps, channels, side, side), || {
            rng.random_range(0.1..0.7)
        }),
        valid,
        weather: Array5::from_shape_simple_fn((2, steps, 2, 1, 2), || rng.random_range(2.0..20.0)),
        statics,
        dates: Array2::zeros((2, steps)),
        sample_ids: vec!["a".into(), "b".into()],
    }
}

/// Predicts each channel as the mean of its context, plus twice the first weather variable of the step and three
/// times the first static input.
struct Linear;

impl Network for Linear {
    fn initial(&self, _seed: u64) -> Weights {
        Weights::default()
    }
    fn parameters(&self) -> Weights {
        Weights::default()
    }
    fn loaded(&self, _weights: &Weights, _device: &Device) -> Result<Box<dyn Network>, Error> {
        Ok(Box::new(Linear))
    }
    fn predict(&self, inputs: &[ArrayD<f32>], device: &Device) -> Tensor<2> {
        let context: Tensor<5> = weights::from_array(&inputs[0], device);
        let statics: Tensor<5> = weights::from_array::<4>(&inputs[1], device).unsqueeze_dim(1);
        let weather: Tensor<5> = weights::from_array(&inputs[2], device);
        let of_weather = weather.narrow(1, CONTEXT, TARGET).narrow(2, 0, 1) * 2.0;
        let frames = context.mean_dim(1) + of_weather + statics.narrow(2, 0, 1) * 3.0;
        frames.flatten(1, 4)
    }
    fn gradients(&self, _gradients: &Gradients) -> Weights {
        Weights::default()
    }
}

/// A forecaster of kNDVI by [`Linear`].
fn linear() -> Forecaster {
    let mut file = file(&ModelConfig { model: ModelKind::Convlstm, ..ModelConfig::default() });
    file.data.dynamic = vec!["kndvi".into()];
    Forecaster { file, network: Box::new(Linear) }
}

/// kNDVI as forecast, one channel: the mean over 2 steps of 4 pixels of 0.8 · (context mean / 0.8 + 2 · weather / 4 + 3
/// · elevation / 2000) has the slopes 1 / (3 · 4) for each context value (both steps see it), 0.8 · 2 / 4 · 2 / 8 = 0.1
/// for the weather of a target step in each of the two columns of its window (2 of 8 values), and 0.8 · 3 / 2000 / 4
/// for the elevation of each pixel.
#[test]
fn a_linear_network_by_hand() {
    let forecaster = linear();
    let mut batch = batch(1, 2);
    batch.valid.fill(1.0);
    // The first pixel's last context step is not observed: the step before is held, and stands for both.
    batch.valid[[0, 2, 0, 0]] = 0.0;
    // Out of 0..1 once divided by 0.8: cut off.
    batch.dynamic[[1, 0, 0, 1, 1]] = 0.9;
    let weights = Array3::from_elem((TARGET, 2, 2), 1.0);
    let mean = IndexMean::new(GreenIndex::Kndvi, forecaster.channels(), 1e-6, weights).unwrap();
    let found = forecaster.gradient(&batch, &|_, frames| mean.of(frames)).unwrap();
    let forecast = forecaster.forecast(&batch).unwrap();
    for b in 0..2 {
        let expected = forecast.index_axis(Axis(0), b).iter().map(|&v| f64::from(v)).sum::<f64>() / 8.0;
        assert!((found.value[b] - expected).abs() < 1e-6);
    }
    let close = |found: f64, expected: f64| {
        assert!((found - expected).abs() < 1e-6 * expected.abs().max(1e-3), "{found} {expected}");
    };
    let each = 1.0 / 12.0;
    let dynamic = found.dynamic.slice(s![0, .., 0, .., ..]);
    assert_eq!(dynamic.slice(s![CONTEXT.., .., ..]).iter().copied().collect::<Vec<_>>(), [0.0; 8]);
    for (t, held) in [each, 2.0 * each, 0.0].into_iter().enumerate() {
        let found = [[0, 0], [0, 1], [1, 0], [1, 1]].map(|[y, x]: [usize; 2]| dynamic[[t, y, x]]);
        found.into_iter().zip([held, each, each, each]).for_each(|(slope, expected)| close(slope, expected));
    }
    close(found.dynamic[[1, 0, 0, 1, 1]], 0.0);
    close(found.dynamic[[1, 1, 0, 1, 1]], each);
    let of_weather =
        Array5::from_shape_fn(
            found.weather.dim(),
            |(_, t, v, _, _)| {
                if t >= CONTEXT && v == 0 { 0.1 } else { 0.0 }
            },
        );
    found.weather.iter().zip(&of_weather).for_each(|(&slope, &expected)| close(slope, expected));
    let of_statics = Array4::from_shape_fn(found.statics.dim(), |(b, layer, y, x)| {
        let fed = layer == 0 && (b, y, x) != (0, 1, 1);
        if fed { 0.8 * 3.0 / 2000.0 / 4.0 } else { 0.0 }
    });
    found.statics.iter().zip(&of_statics).for_each(|(&slope, &expected)| close(slope, expected));
}

#[test]
fn a_derivative_of_another_shape_is_refused() {
    let half = |_: usize, _: ArrayView4<'_, f32>| (0.0, Array4::zeros((1, 1, 2, 2)));
    let error = linear().gradient(&batch(1, 2), &half).unwrap_err();
    assert!(error.to_string().contains("expected (2, 1, 2, 2), found (1, 1, 2, 2)"), "{error}");
}

/// Steps along a random direction of one array at a time: central differences against the gradient.
fn against_differences(config: &ModelConfig, side: usize) {
    let file = file(config);
    let network = file.architecture.network(file.quantiles.len(), &backend::device());
    let mut weights = network.initial(8);
    // Strong enough that answers are felt through many layers, and that a last ReLU lets something through.
    let stronger = if config.model == ModelKind::ContentDynamic { 3.0 } else { 2.0 };
    for (name, array) in &mut weights.0 {
        match name {
            name if name.ends_with("bias") => array.map_inplace(|v| *v += 0.1),
            _ if array.ndim() > 1 => array.map_inplace(|v| *v *= stronger),
            _ => {}
        }
    }
    let forecaster = Forecaster::new(file, &weights).unwrap();
    let channels = forecaster.channels().len();
    let batch = batch(channels, side);
    // A sum of all values with uneven factors, so that no frame and no channel looks like another.
    let factor =
        |(t, c, y, x): (usize, usize, usize, usize)| 0.2 + ((7 * t + 5 * c + 3 * y + x) % 11) as f64 / 11.0;
    let of = |_: usize, frames: ArrayView4<'_, f32>| {
        let value = frames.indexed_iter().map(|(at, &v)| factor(at) * f64::from(v)).sum::<f64>();
        (value, Array4::from_shape_fn(frames.dim(), factor))
    };
    let found = forecaster.gradient(&batch, &of).unwrap();
    let value = |batch: &Batch| -> f64 {
        let frames = forecaster.forecast(batch).unwrap();
        frames.outer_iter().enumerate().map(|(b, frames)| of(b, frames).0).sum()
    };
    assert!((found.value.iter().sum::<f64>() - value(&batch)).abs() < 1e-3);
    // Steps small against each array's values, in any direction and uphill. A long one crosses bends of the network, a
    // short one drowns in rounding: one of them has to agree.
    for (name, step) in [("dynamic", 2e-3f64), ("weather", 0.05), ("statics", 4.0)] {
        for uphill in [false, true] {
            let tried = [10.0, 1.0, 0.1, 0.01].map(|times| {
                let [up, down] = [1.0, -1.0]
                    .map(|sign| walked(&batch, name, sign * times * step, uphill.then_some(&found)));
                let (expected, gross) = along(&found, &up, &down);
                (value(&up) - value(&down), expected, gross)
            });
            let agrees = |&(difference, expected, gross): &(f64, f64, f64)| {
                gross > 0.0 && (difference - expected).abs() < 0.02 * gross
            };
            assert!(tried.iter().any(agrees), "{:?} {name} {uphill}: {tried:?}", config.model);
        }
    }
}

/// A batch of which one array goes along a direction, the same for all lengths, or against what the gradient says is
/// downhill; missing values stay.
fn walked(batch: &Batch, name: &str, step: f64, uphill: Option<&InputGradient>) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let mut batch = batch.clone();
    let mut walk = |value: &mut f32, slope: Option<f64>| {
        let by: f64 = rng.random_range(-1.0..1.0);
        let by = slope.map_or(by, |slope| by.abs() * if slope == 0.0 { 0.0 } else { slope.signum() });
        *value += (step * by) as f32;
    };
    match name {
        "dynamic" => {
            batch.dynamic.indexed_iter_mut().for_each(|(at, v)| walk(v, uphill.map(|g| g.dynamic[at])));
        }
        "weather" => {
            batch.weather.indexed_iter_mut().for_each(|(at, v)| walk(v, uphill.map(|g| g.weather[at])));
        }
        _ => {
            let elevations = batch.statics.indexed_iter_mut().filter(|((_, layer, ..), _)| *layer == 0);
            elevations.for_each(|(at, v)| walk(v, uphill.map(|g| g.statics[at])));
        }
    }
    batch
}

/// What the gradient says of the way from one batch to another, and the same without signs.
fn along(gradient: &InputGradient, up: &Batch, down: &Batch) -> (f64, f64) {
    let slopes = gradient.dynamic.iter().chain(&gradient.weather).chain(&gradient.statics);
    let ups = up.dynamic.iter().chain(&up.weather).chain(&up.statics);
    let downs = down.dynamic.iter().chain(&down.weather).chain(&down.statics);
    let parts = slopes.zip(ups.zip(downs)).filter(|(_, (up, _))| up.is_finite());
    let parts = parts.map(|(slope, (up, down))| slope * (f64::from(*up) - f64::from(*down)));
    parts.fold((0.0, 0.0), |(net, gross), part| (net + part, gross + part.abs()))
}

fn small(model: ModelKind) -> ModelConfig {
    ModelConfig { model, hidden: Some(vec![8]), ..ModelConfig::default() }
}

#[test]
fn networks_of_pixels_agree_with_differences() {
    against_differences(&ModelConfig { quirks: Some(false), ..small(ModelKind::Rnn) }, 3);
    against_differences(&small(ModelKind::Rnn), 3);
    // Of quantiles the middle one is the forecast.
    against_differences(&ModelConfig { quantiles: Some(vec![0.1, 0.5, 0.7]), ..small(ModelKind::Rnn) }, 3);
    against_differences(&ModelConfig { context_weather: Some(true), ..small(ModelKind::Rnn) }, 3);
}

#[test]
fn context_rnn_agrees_with_differences() {
    let (encoder, quirks) = (Some(Encoder::Convolutions), Some(false));
    against_differences(&ModelConfig { encoder, quirks, ..small(ModelKind::ContextRnn) }, 4);
    // Of 8 units one pixel's embedding is -1.5e-6, at the bend of the first ReLU, where no step is short enough.
    let hidden = Some(vec![9]);
    against_differences(&ModelConfig { encoder, hidden, ..small(ModelKind::ContextRnn) }, 4);
    let (encoder, context_weather) = (Some(Encoder::Unet), Some(true));
    let told = ModelConfig { encoder, quirks, context_weather, ..small(ModelKind::ContextRnn) };
    against_differences(&told, 8);
    against_differences(&ModelConfig { context_weather: None, ..told }, 8);
}

#[test]
fn recurrent_networks_of_frames_agree_with_differences() {
    against_differences(&small(ModelKind::Convlstm), 4);
    against_differences(&small(ModelKind::SgConvlstm), 6);
    against_differences(&small(ModelKind::ConvlstmAe), 4);
    against_differences(&small(ModelKind::ArconStf), 5);
}

#[test]
fn other_networks_of_frames_agree_with_differences() {
    let depth = Some(2);
    against_differences(&ModelConfig { depth, ..small(ModelKind::NfUnet) }, 8);
    against_differences(&ModelConfig { depth, ..small(ModelKind::StUnet) }, 8);
    against_differences(&ModelConfig { hidden: Some(vec![2]), ..small(ModelKind::ContentDynamic) }, 16);
    let heads = Some(2);
    against_differences(&ModelConfig { heads, depth: Some(1), ..small(ModelKind::Contextformer) }, 8);
}
