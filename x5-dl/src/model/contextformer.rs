//! Contextformer of GreenEarthNet (Benson et al. 2024, <https://doi.org/10.48550/arXiv.2303.16198>), the published
//! successor of the deliverable's FullyTransformer3D.
//!
//! A pyramid of transformers makes one token of each patch of 4 × 4 pixels of each context frame; the weather of a step
//! is added to its token. The tokens of all steps of *one* patch see each other; the forecast is the difference to
//! the last cloud-free value. Patches with a cloud, and the frames to come, are a learned token.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::config::ModelConfig;
use crate::harness::weights::{self, Weights};
use crate::model::attention::{Block, Mlp};
use crate::model::layers::{cut_to, last_clear, pad_to};
use crate::model::pvt::{self, PATCH, Pyramid};
use crate::model::{Defaults, Model, Sizes, init};

/// Base of the wavelengths of the time code.
const WAVES: f64 = 1000.0;

/// Sizes of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContextformerShape {
    /// Forecast channels, which are also the dynamic inputs.
    pub channels: usize,
    /// Static input layers.
    pub statics: usize,
    /// Weather inputs.
    pub weather: usize,
    /// Features of a token; 256 as published (6M), 512 (16M).
    pub hidden: usize,
    /// Heads of the attention; 8 as published.
    pub heads: usize,
    /// Layers; 3 as published (6M), 5 (16M).
    pub depth: usize,
    /// Steps forecast.
    pub target_steps: usize,
}

/// Embeddings, transformer layers, head.
#[derive(Module, Debug)]
pub(crate) struct Contextformer {
    embed_images: Pyramid,
    embed_weather: Mlp,
    mask_token: Param<Tensor<1>>,
    blocks: Vec<Block>,
    head: Mlp,
    #[module(skip)]
    target_steps: usize,
}

impl Contextformer {
    /// Differences to the last clear frame, `[batch, target, channel, y, x]`, whose sizes are multiples of 32.
    ///
    /// # Shapes
    /// - `images`: `[batch * context, channel + layer, y, x]`
    /// - `masked`: `[batch * context, 1, y, x]`, 1 where the context is not observed
    /// - `weather`: `[batch, context + target, variable]`
    fn differences(&self, images: Tensor<4>, masked: Tensor<4>, weather: Tensor<3>) -> Tensor<5> {
        let [items, steps, _] = weather.dims();
        let context = steps - self.target_steps;
        let seen = self.embed_images.forward(images).permute([0, 2, 3, 1]);
        let [_, rows, cols, features] = seen.dims();
        let patches = items * rows * cols;
        let by_patch = |x: Tensor<4>, width: usize| -> Tensor<3> {
            let x: Tensor<5> = x.reshape([items, context, rows, cols, width]);
            x.permute([0, 2, 3, 1, 4]).reshape([patches, context, width])
        };
        let cells: Tensor<5> = masked.reshape([items * context, rows, PATCH, cols, PATCH]);
        let cloudy = cells.max_dim(2).max_dim(4).reshape([items * context, rows, cols, 1]);
        let (seen, cloudy) = (by_patch(seen, features), by_patch(cloudy, 1));
        let token: Tensor<3> = self.mask_token.val().reshape([1, 1, features]);
        let seen = seen * (cloudy.clone().neg() + 1.0) + token.clone() * cloudy;
        let unseen = token.expand([patches, self.target_steps, features]);
        let weather: Tensor<4> = self.embed_weather.forward(weather).unsqueeze_dim(1);
        let weather =
            weather.expand([items, rows * cols, steps, features]).reshape([patches, steps, features]);
        let code = time_code(steps, features, &weather.device());
        let tokens = Tensor::cat(vec![seen, unseen], 1) + weather + code;
        let tokens = self.blocks.iter().fold(tokens, |x, block| block.forward(x));
        let out = self.head.forward(tokens.narrow(1, context, self.target_steps));
        let channels = out.dims()[2] / (PATCH * PATCH);
        let out: Tensor<7> = out.reshape([items, rows, cols, self.target_steps, channels, PATCH, PATCH]);
        out.permute([0, 3, 4, 1, 5, 2, 6]).reshape([
            items,
            self.target_steps,
            channels,
            rows * PATCH,
            cols * PATCH,
        ])
    }
}

/// `[1, step, feature]`: sine and cosine of the step's number, in wavelengths that grow with the feature.
fn time_code(steps: usize, features: usize, device: &Device) -> Tensor<3> {
    let value = |k: usize| {
        let (step, feature) = (k / features, k % features);
        let angle = step as f64 / WAVES.powf((2 * (feature / 2)) as f64 / features as f64);
        (if feature.is_multiple_of(2) { angle.sin() } else { angle.cos() }) as f32
    };
    let values: Vec<f32> = (0..steps * features).map(value).collect();
    Tensor::from_data(TensorData::new(values, [1, steps, features]), device)
}

impl Model for Contextformer {
    type Shape = ContextformerShape;

    const DEFAULTS: Defaults = Defaults::GREENNESS;

    fn shape(config: &ModelConfig, sizes: &Sizes) -> ContextformerShape {
        ContextformerShape {
            channels: sizes.channels,
            statics: sizes.statics,
            weather: sizes.weather,
            hidden: config.hidden.as_ref().and_then(|h| h.first().copied()).unwrap_or(256),
            heads: config.heads.unwrap_or(8),
            depth: config.depth.unwrap_or(3),
            target_steps: sizes.target_steps,
        }
    }

    fn new(shape: &ContextformerShape, device: &Device) -> Contextformer {
        let (s, hidden) = (shape, shape.hidden);
        Contextformer {
            embed_images: Pyramid::new(s.channels + s.statics, hidden, device),
            embed_weather: Mlp::new(s.weather, hidden, hidden, device),
            mask_token: init::zeros([hidden], device),
            blocks: (0..s.depth).map(|_| Block::new(hidden, s.heads, device)).collect(),
            head: Mlp::new(hidden, hidden, s.channels * PATCH * PATCH, device),
            target_steps: s.target_steps,
        }
    }

    fn forward(&self, inputs: &[ArrayD<f32>], device: &Device) -> Tensor<2> {
        let context: Tensor<5> = weights::from_array(&inputs[0], device);
        let [items, steps, channels, rows, cols] = context.dims();
        let flat = items * steps;
        let statics: Tensor<5> = weights::from_array::<4>(&inputs[1], device).unsqueeze_dim(1);
        let layers = statics.dims()[2];
        let statics = statics.expand([items, steps, layers, rows, cols]);
        let images = Tensor::cat(vec![context.clone(), statics], 2);
        let images = pad_to(images.reshape([flat, channels + layers, rows, cols]), pvt::SIDE);
        let masked: Tensor<5> = weights::from_array(&inputs[3], device);
        let masked = pad_to(masked.reshape([flat, 1, rows, cols]), pvt::SIDE);
        let weather: Tensor<5> = weights::from_array(&inputs[2], device);
        let [_, all, variables, _, _] = weather.dims();
        let weather = weather.mean_dim(3).mean_dim(4).reshape([items, all, variables]);
        let differences = self.differences(images, masked, weather);
        let [_, _, _, high, wide] = differences.dims();
        let differences: Tensor<4> = differences.reshape([items * self.target_steps, channels, high, wide]);
        let differences: Tensor<5> =
            cut_to(differences, rows, cols).reshape([items, self.target_steps, channels, rows, cols]);
        let last: Tensor<5> = last_clear(&context, &inputs[3]).unsqueeze_dim(1);
        (differences + last).reshape([items, self.target_steps * channels * rows * cols])
    }

    /// PyTorch's defaults; the learned token begins as 0, as published.
    fn start(&self, seed: u64) -> Weights {
        let mut start = init::uniform(weights::collect(self), seed, init::fan_in);
        if let Some(token) = start.0.get_mut("mask_token") {
            token.fill(0.0);
        }
        start
    }

    fn problems(config: &ModelConfig) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let sizes = config.hidden.as_ref().map_or(1, Vec::len);
        if sizes != 1 {
            found.push(("hidden", format!("this model has one size, found {sizes}")));
        }
        let hidden = config.hidden.as_ref().and_then(|h| h.first().copied()).unwrap_or(256);
        let heads = config.heads.unwrap_or(8);
        if heads == 0 || !hidden.is_multiple_of(heads) {
            found.push(("heads", format!("expected a divisor of {hidden}, found {heads}")));
        }
        found
    }

    fn published_name(name: &str) -> Option<String> {
        Some(pvt::published_name(name.strip_prefix("model.").unwrap_or(name)))
    }

    fn exported_name(own: &str) -> Option<String> {
        Some(format!("model.{}", own.replace("stages.", "stages_")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::gradient::Network;
    use crate::harness::{backend, testing};

    fn shape(hidden: usize, heads: usize, depth: usize) -> ContextformerShape {
        ContextformerShape { channels: 2, statics: 1, weather: 3, hidden, heads, depth, target_steps: 2 }
    }

    /// timm's pyramid and PyTorch's transformer layers.
    #[test]
    fn a_small_net_matches_pytorch() {
        let golden = testing::golden("contextformer");
        let net = Contextformer::new(&shape(32, 4, 2), &backend::device());
        let weights = testing::by_formula(&net.parameters());
        let inputs = ["ctx", "static", "wea", "mask"].map(|name| golden.input(name));
        let device = backend::device();
        let found = weights::to_array(net.loaded(&weights, &device).unwrap().predict(&inputs, &device));
        testing::close_relative(&found, &testing::rows(golden.output("pred")), 2e-5);

        let device = backend::training_device();
        let net = net.loaded(&weights, &device).unwrap();
        let gradients = net.gradients(&net.predict(&inputs, &device).powi_scalar(2).mean().backward());
        for (name, expected) in &golden.gradients().0 {
            testing::close_relative(&gradients.0[name], expected, 2e-3);
        }
    }

    #[test]
    fn published_size() {
        let shape = ContextformerShape {
            channels: 5,
            statics: 3,
            weather: 24,
            hidden: 256,
            heads: 8,
            depth: 3,
            target_steps: 20,
        };
        // PyTorch counts the same network, with five channels forecast instead of one.
        let net = Contextformer::new(&shape, &backend::device());
        assert_eq!(net.parameters().count(), 6_077_008);
    }
}
