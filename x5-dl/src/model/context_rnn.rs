//! ContextRNN of the DeepCube deliverable: the pixelwise RNN whose state begins with what the surroundings tell.
//!
//! An encoder sees the context frames and the statics of the whole image. The first of its maps are an embedding of
//! the place, which joins the weather at every step; the others are the state to begin with. As published, the last
//! unit of the state is overwritten by the last context value, and the small network before the GRU applies its ReLU
//! before each linear map.

use std::ops::Not;

use burn::module::Module;
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Int, Tensor, TensorData};
use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::config::ModelConfig;
use crate::data::scaling::Scaling;
use crate::harness::gradient::Loss;
use crate::harness::weights::{self, Weights};
use crate::model::efficientnet::Encoder;
use crate::model::fpn::{self, Fpn};
use crate::model::layers::{Conv, cut_to, pad_to};
use crate::model::pvt::{self, Pyramid};
use crate::model::rnn::{Gru, Linear, Mlp, exported_linear, linear_name, one_series};
use crate::model::surroundings::Surroundings;
use crate::model::{Defaults, Layout, Model, Sizes, init, kept};

/// Pixels that are forecast at once where no gradients are recorded.
const PIXELS_AT_ONCE: usize = 4096;

/// Sizes of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContextRnnShape {
    /// Context values of the vegetation index.
    pub context_steps: usize,
    /// Steps forecast.
    pub target_steps: usize,
    /// Static input layers.
    pub statics: usize,
    /// Weather inputs.
    pub weather: usize,
    /// What sees the surroundings; a feature pyramid on EfficientNet-B3 as published.
    pub encoder: Encoder,
    /// Maps that embed the place; 64 as published.
    pub location: usize,
    /// Hidden size of the GRU; 192 as published.
    pub hidden: usize,
    /// Width of the GRU's input; 96 as published.
    pub update: usize,
    /// Hidden width of the update network; 128 as published.
    pub update_hidden: usize,
    /// Whether ReLU also stands before the first linear map and a unit of the state is overwritten, as published.
    #[serde(default = "kept")]
    pub quirks: bool,
    /// Whether the GRU goes through the weather of the context before that of the steps to predict; not as published.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub context_weather: bool,
}

/// Encoder, update network, GRU and a sigmoid head.
#[derive(Module, Debug)]
pub(crate) struct ContextRnn {
    pyramid: Option<Fpn>,
    transformers: Option<Pyramid>,
    convolutions: Option<Convolutions>,
    surroundings: Option<Surroundings>,
    update_mlp: Mlp,
    rnn: Gru,
    head: Linear,
    #[module(skip)]
    location: usize,
    #[module(skip)]
    target_steps: usize,
    /// Steps of the context whose weather the GRU goes through.
    #[module(skip)]
    heard_steps: usize,
    /// Whether a unit of the state is overwritten by the last context value.
    #[module(skip)]
    forced: bool,
}

#[derive(Module, Debug)]
struct Convolutions {
    first: Conv,
    second: Conv,
}

impl ContextRnn {
    /// Embedding and state of every pixel, `[batch * y * x, location + hidden]`, from `[batch, input, y, x]`, of
    /// whose inputs the first are the context's vegetation.
    fn encode(&self, input: Tensor<4>, last: Tensor<4>) -> Tensor<2> {
        let [items, _, rows, cols] = input.dims();
        let maps = match (&self.pyramid, &self.transformers, &self.convolutions, &self.surroundings) {
            (Some(pyramid), ..) => cut_to(pyramid.forward(pad_to(input, fpn::SIDE)), rows, cols),
            (_, Some(pyramid), ..) => {
                let maps = pyramid.forward(pad_to(input, pvt::SIDE));
                cut_to(fpn::stretch(maps, pvt::PATCH), rows, cols)
            }
            (.., Some(small), _) => small.second.forward(relu(small.first.forward(input))),
            (.., Some(surroundings)) => surroundings.forward(input),
            (None, None, None, None) => input,
        };
        let all = maps.dims()[1];
        let maps = match self.forced {
            true => Tensor::cat(vec![maps.narrow(1, 0, all - 1), last], 1),
            false => maps,
        };
        maps.permute([0, 2, 3, 1]).reshape([items * rows * cols, all])
    }

    /// Vegetation index of each step, `[step, quantile, pixel]`, in 0..1.
    ///
    /// # Shapes
    /// - `pixels`: `[pixel, location + hidden]`
    /// - `weather`: `[step, pixel, variable]`, of the steps to predict and those heard before them
    fn unroll(&self, pixels: Tensor<2>, weather: Tensor<3>) -> Tensor<3> {
        let ([count, all], [steps, ..]) = (pixels.dims(), weather.dims());
        let pixels = pixels.transpose();
        let place: Tensor<3> = pixels.clone().narrow(0, 0, self.location).unsqueeze_dim(1);
        let place = place.expand([self.location, steps, count]);
        let drivers = Tensor::cat(vec![weather.permute([2, 0, 1]), place], 0);
        let width = drivers.dims()[0];
        let update = self.update_mlp.forward(drivers.reshape([width, steps * count]));
        let states = self.rnn.forward(update, pixels.narrow(0, self.location, all - self.location), steps);
        let states = states.narrow(1, self.heard_steps * count, self.target_steps * count);
        let out: Tensor<2> = sigmoid(self.head.columns(states));
        out.reshape([self.head.outputs(), self.target_steps, count]).swap_dims(0, 1)
    }
}

impl Model for ContextRnn {
    type Shape = ContextRnnShape;

    const DEFAULTS: Defaults = Defaults {
        layout: Layout::FramePixels,
        dynamic: &["kndvi"],
        scaling: Scaling::Positive,
        feed_classes: false,
        unit_kndvi: true,
        loss: Loss::MaskedMse,
        weight_decay: 0.0,
        steps: 200,
        learning_rate: 1e-3,
        clip_norm: Some(1.0),
    };

    fn shape(config: &ModelConfig, sizes: &Sizes) -> ContextRnnShape {
        let hidden = config.hidden.as_ref().and_then(|h| h.first().copied()).unwrap_or(192);
        ContextRnnShape {
            context_steps: sizes.context_steps,
            target_steps: sizes.target_steps,
            statics: sizes.statics,
            weather: sizes.weather,
            encoder: config.encoder.unwrap_or(Encoder::EfficientnetB3),
            // The published sizes (64, 96 and 128 for 192), in proportion.
            location: (hidden / 3).max(1),
            hidden,
            update: config.update.unwrap_or((hidden / 2).max(1)),
            update_hidden: (2 * hidden / 3).max(1),
            quirks: config.quirks.unwrap_or(true),
            context_weather: config.context_weather.unwrap_or(false),
        }
    }

    fn new(shape: &ContextRnnShape, device: &Device) -> ContextRnn {
        let s = shape;
        let (inputs, maps) = (s.context_steps + s.statics, s.location + s.hidden);
        let percent = s.encoder.percent();
        let unet = match s.encoder {
            Encoder::Unet => Some((s.hidden / 2).max(1)),
            Encoder::Pixel => Some(0),
            _ => None,
        };
        ContextRnn {
            pyramid: percent.map(|percent| Fpn::new(inputs, maps, percent, device)),
            transformers: (s.encoder == Encoder::PvtV2B0).then(|| Pyramid::new(inputs, maps, device)),
            convolutions: (s.encoder == Encoder::Convolutions).then(|| Convolutions {
                first: Conv::new(inputs, s.location.max(8), 3, device),
                second: Conv::new(s.location.max(8), maps, 3, device),
            }),
            surroundings: unet.map(|width| Surroundings::new(inputs, width, maps, device)),
            update_mlp: Mlp::new(&[s.weather + s.location, s.update_hidden, s.update], s.quirks, device),
            rnn: Gru::new(s.update, s.hidden, device),
            head: Linear::new(s.hidden, 1, device),
            location: s.location,
            target_steps: s.target_steps,
            heard_steps: if s.context_weather { s.context_steps } else { 0 },
            forced: s.quirks,
        }
    }

    fn with_quantiles(self, count: usize, device: &Device) -> ContextRnn {
        ContextRnn { head: Linear::new(self.head.inputs(), count, device), ..self }
    }

    fn forward(&self, inputs: &[ArrayD<f32>], device: &Device) -> Tensor<2> {
        let context: Tensor<5> = weights::from_array(&inputs[0], device);
        let [items, steps, _, rows, cols] = context.dims();
        let vegetation: Tensor<4> = context.squeeze_dim(2);
        let last = vegetation.clone().narrow(1, steps - 1, 1);
        let statics = weights::from_array(&inputs[1], device);
        let mut pixels = self.encode(Tensor::cat(vec![vegetation, statics], 1), last);
        let weather: Tensor<5> = weights::from_array(&inputs[2], device);
        let variables = weather.dims()[2];
        let mut weather: Tensor<3> = weather
            .narrow(1, steps - self.heard_steps, self.heard_steps + self.target_steps)
            .permute([1, 0, 3, 4, 2])
            .reshape([self.heard_steps + self.target_steps, items * rows * cols, variables]);
        if let Some(chosen) = inputs.get(4) {
            let chosen = places(chosen, rows * cols, device);
            pixels = pixels.select(0, chosen.clone());
            weather = weather.select(1, chosen);
        }
        let count = pixels.dims()[0];
        let at_once = if device.is_autodiff() { count } else { PIXELS_AT_ONCE };
        let parts = (0..count).step_by(at_once.max(1)).map(|from| {
            let n = at_once.min(count - from);
            self.unroll(pixels.clone().narrow(0, from, n), weather.clone().narrow(1, from, n))
        });
        let (steps, quantiles, each) = (self.target_steps, self.head.outputs(), count / items);
        let values: Tensor<3> = Tensor::cat(parts.collect(), 2);
        let values: Tensor<4> = values.reshape([steps, quantiles, items, each]);
        values.permute([2, 0, 1, 3]).reshape([items, steps * quantiles * each])
    }

    /// PyTorch's defaults: U(±1/√fan_in), for the GRU U(±1/√hidden).
    fn start(&self, seed: u64) -> Weights {
        let hidden = self.head.inputs();
        init::uniform(weights::collect(self), seed, |name, weights| {
            if name.starts_with("rnn.") { hidden } else { init::fan_in(name, weights) }
        })
    }

    fn problems(config: &ModelConfig) -> Vec<(&'static str, String)> {
        one_series(config)
    }

    fn published_name(name: &str) -> Option<String> {
        let name = name.strip_prefix("model.").unwrap_or(name);
        if let Some(inner) = name.strip_prefix("state_encoder.") {
            return fpn::published_name(inner).map(|own| format!("pyramid.{own}"));
        }
        Some(linear_name(&name.replace("update_encoder.", "update_mlp.")))
    }

    fn exported_name(own: &str) -> Option<String> {
        Some(match own.strip_prefix("pyramid.") {
            Some(inner) => format!("model.state_encoder.{}", fpn::exported_name(inner)),
            None => format!("model.{}", exported_linear(&own.replace("update_mlp.", "update_encoder."))),
        })
    }
}

/// Pixels of all items together, from the pixels `[item, n]` of each.
fn places(chosen: &ArrayD<f32>, pixels: usize, device: &Device) -> Tensor<1, Int> {
    let each = chosen.shape().get(1).copied().unwrap_or(1).max(1);
    let all = chosen.iter().enumerate().map(|(k, &pixel)| (k / each * pixels) as i64 + pixel as i64);
    let all: Vec<i64> = all.collect();
    let count = all.len();
    Tensor::from_data(TensorData::new(all, [count]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::gradient::Network;
    use crate::harness::inputs::pull_back;
    use crate::harness::{backend, testing};
    use ndarray::{Array5, Axis, IxDyn, Slice};

    fn net() -> ContextRnn {
        let shape = ContextRnnShape {
            context_steps: 9,
            target_steps: 12,
            statics: 3,
            weather: 4,
            encoder: Encoder::Convolutions,
            location: 6,
            hidden: 16,
            update: 8,
            update_hidden: 12,
            quirks: true,
            context_weather: false,
        };
        let device = backend::device();
        let convolutions =
            Convolutions { first: Conv::new(12, 10, 3, &device), second: Conv::new(10, 22, 3, &device) };
        ContextRnn { convolutions: Some(convolutions), ..ContextRnn::new(&shape, &device) }
    }

    /// Weather that is the same for every pixel; the context's is not looked at.
    fn inputs(golden: &testing::Golden) -> Vec<ArrayD<f32>> {
        let weather = golden.input("wea");
        let spread =
            Array5::from_shape_fn(
                (2, 21, 4, 5, 4),
                |(b, t, v, _, _)| {
                    if t < 9 { f32::NAN } else { weather[[b, t - 9, v]] }
                },
            );
        let masked = ArrayD::zeros(IxDyn(&[2, 9, 1, 5, 4]));
        let context = golden.input("veg").insert_axis(Axis(2));
        vec![context, golden.input("static"), spread.into_dyn(), masked]
    }

    fn named(weights: Weights) -> Weights {
        let own = |k: String| {
            k.replace("encoder.0.", "convolutions.first.").replace("encoder.2.", "convolutions.second.")
        };
        Weights(weights.0.into_iter().map(|(k, v)| (own(k), v)).collect())
    }

    #[test]
    fn context_rnn_matches_pytorch() {
        let golden = testing::golden("rnn_context_rnn");
        let device = backend::device();
        let (weights, inputs) = (named(golden.weights()), inputs(&golden));
        let found = net().loaded(&weights, &device).unwrap().predict(&inputs, &device);
        testing::close(&weights::to_array(found), &testing::rows(golden.output("pred")), 2e-6);

        // sum (p - y)² / (count + 1)
        let device = backend::training_device();
        let net = net().loaded(&weights, &device).unwrap();
        let target = testing::rows(golden.input("targ"));
        let count = target.len() as f64;
        let error = net.predict(&inputs, &device) - weights::from_array::<2>(&target, &device);
        let gradients = error.powi_scalar(2).sum().div_scalar(count + 1.0).backward();
        testing::close_gradients(&net.gradients(&gradients), &named(golden.gradients()));
    }

    /// The k-th prediction counts 0.2 + (k mod 11) / 11 times.
    #[test]
    fn gradients_of_inputs_match_pytorch() {
        let golden = testing::golden("rnn_context_rnn");
        let expected = testing::golden("rnn_context_rnn_inputs");
        let device = backend::device();
        let net = net().loaded(&named(golden.weights()), &device).unwrap();
        let found = pull_back(&*net, &inputs(&golden), |values| {
            let mut factors = (0..values.len()).map(|k| 0.2 + (k % 11) as f32 / 11.0);
            ArrayD::from_shape_simple_fn(values.raw_dim(), || factors.next().unwrap())
        });
        let [context, statics, weather, _] = found.as_slice() else { panic!("four inputs") };
        let context = context.index_axis(Axis(2), 0).to_owned();
        testing::close_relative(&context, &expected.input_gradient("veg"), 1e-5);
        testing::close_relative(statics, &expected.input_gradient("static"), 1e-5);
        let of_targets = weather.slice_axis(Axis(1), Slice::from(9..)).sum_axis(Axis(4)).sum_axis(Axis(3));
        testing::close_relative(&of_targets, &expected.input_gradient("wea"), 1e-5);
    }

    #[test]
    fn chosen_pixels_are_forecast_as_all_are() {
        let golden = testing::golden("rnn_context_rnn");
        let device = backend::device();
        let net = net().loaded(&named(golden.weights()), &device).unwrap();
        let mut inputs = inputs(&golden);
        let all = weights::to_array(net.predict(&inputs, &device));
        // Pixels 7 and 0 of the first image, 19 and 3 of the second; 20 pixels a frame.
        let chosen = [[7.0, 0.0], [19.0, 3.0]];
        inputs.push(ndarray::arr2(&chosen).into_dyn());
        let some = weights::to_array(net.predict(&inputs, &device));
        assert_eq!(some.shape(), [2, 24]);
        for (item, pixels) in chosen.iter().enumerate() {
            for (k, &pixel) in pixels.iter().enumerate() {
                for t in 0..12 {
                    let difference = some[[item, 2 * t + k]] - all[[item, 20 * t + pixel as usize]];
                    assert!(difference.abs() < 1e-6, "{item} {pixel} {t}");
                }
            }
        }
    }

    #[test]
    fn names_of_published_checkpoints() {
        let own = |name: &str| ContextRnn::published_name(name);
        let is = |name: &str| Some(name.to_owned());
        assert_eq!(own("model.update_encoder.module.1.1.weight"), is("update_mlp.lin.1.weight"));
        assert_eq!(own("model.state_encoder.encoder.bn1.bias"), is("pyramid.encoder.bn1.bias"));
        assert_eq!(own("model.state_encoder.encoder.conv_head.weight"), None);
        assert_eq!(own("pyramid.segmentation_head.bias"), is("pyramid.segmentation_head.bias"));
    }
}
