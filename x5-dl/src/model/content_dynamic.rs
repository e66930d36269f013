//! Content and dynamics apart, after the models of earthnet-models-pytorch's `codyn` and the stochastic latent residual
//! model they come from (Franceschi et al. 2020, <https://doi.org/10.48550/arXiv.2002.09219>); without its noise.
//!
//! What an image shows (the mean of its context's maps at five scales) stays; a small state, to which each step adds
//! what a network makes of the weather of that step, changes it. A decoder draws both.

use burn::module::Module;
use burn::tensor::activation::{leaky_relu, relu, sigmoid, tanh};
use burn::tensor::{Device, Tensor};
use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::config::ModelConfig;
use crate::harness::weights;
use crate::model::batch_norm::BatchNorm;
use crate::model::layers::{Conv, cut_to, double, pad_to};
use crate::model::rnn::Linear;
use crate::model::{Defaults, Model, Sizes};

/// Slope below 0 of the activations.
const SLOPE: f64 = 0.2;
/// Width of each scale in filters, and its convolutions, the finest first.
const SCALES: [(usize, usize); 5] = [(1, 2), (2, 2), (4, 2), (6, 3), (12, 3)];
/// Widths on the way up, coarsest scale first: inside, and handed on.
const UP: [(usize, usize); 5] = [(12, 6), (6, 4), (2, 2), (2, 1), (2, 1)];
/// The coarsest scale has 1 / SIDE of the input's size.
const SIDE: usize = 16;

/// Sizes of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContentDynamicShape {
    /// Forecast channels, which are also the dynamic inputs.
    pub channels: usize,
    /// Static input layers.
    pub statics: usize,
    /// Weather inputs.
    pub weather: usize,
    /// Filters of the finest scale; 32 as published. Encodings and state have four times as many features.
    pub filters: usize,
    /// Steps observed.
    pub context_steps: usize,
    /// Steps forecast.
    pub target_steps: usize,
}

/// Encoder of frames, state, its changes, decoder.
#[derive(Module, Debug)]
pub(crate) struct ContentDynamic {
    encoder: Vec<Vec<Block>>,
    latent: Linear,
    state: Vec<Linear>,
    change: Vec<Linear>,
    first: Linear,
    decoder: Vec<Vec<Block>>,
    readout: Conv,
    #[module(skip)]
    target_steps: usize,
}

#[derive(Module, Debug)]
struct Block {
    conv: Conv,
    norm: BatchNorm,
}

impl Block {
    fn new(inputs: usize, outputs: usize, device: &Device) -> Block {
        Block { conv: Conv::unbiased(inputs, outputs, 3, device), norm: BatchNorm::new(outputs, device) }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        leaky_relu(self.norm.forward(self.conv.forward(input)), SLOPE)
    }
}

impl ContentDynamic {
    /// Maps of each frame at five scales, the finest first, and its encoding `[frame, feature]`.
    fn encode(&self, frames: Tensor<4>) -> (Vec<Tensor<4>>, Tensor<2>) {
        let mut scales: Vec<Tensor<4>> = Vec::with_capacity(SCALES.len());
        for (k, blocks) in self.encoder.iter().enumerate() {
            let finer = match scales.last() {
                Some(finer) if k > 0 => halve(finer.clone()),
                _ => frames.clone(),
            };
            scales.push(blocks.iter().fold(finer, |x, block| block.forward(x)));
        }
        let coarsest = scales[SCALES.len() - 1].clone();
        let [items, features, _, _] = coarsest.dims();
        let mean = coarsest.mean_dim(2).mean_dim(3).reshape([items, features]);
        (scales, tanh(self.latent.forward(mean)))
    }

    /// The state at each target step, `[batch, target, feature]`, from the encodings of the context `[batch, context *
    /// feature]` and the weather of the target steps `[batch, target, variable]`.
    fn states(&self, encodings: Tensor<2>, weather: Tensor<3>) -> Tensor<3> {
        let [items, steps, variables] = weather.dims();
        let state = two(&self.state, encodings);
        let features = state.dims()[1];
        let changes = two(&self.change, weather.reshape([items * steps, variables]));
        let changes: Tensor<3> = changes.reshape([items, steps, features]);
        let mut state: Tensor<3> = state.unsqueeze_dim(1);
        let mut states = Vec::with_capacity(steps);
        for t in 0..steps {
            state = state + changes.clone().narrow(1, t, 1);
            states.push(state.clone());
        }
        Tensor::cat(states, 1)
    }

    /// Frames `[frame, channel, y, x]` in 0..1 of what each shows and of its scales.
    fn decode(&self, shown: Tensor<2>, scales: &[Tensor<4>]) -> Tensor<4> {
        let [_, _, rows, cols] = scales[scales.len() - 1].dims();
        let flat = leaky_relu(self.first.forward(shown), SLOPE);
        let [frames, features] = flat.dims();
        let start: Tensor<4> = flat.reshape([frames, features, 1, 1]).expand([frames, features, rows, cols]);
        let last = UP.len() - 1;
        let drawn = self.decoder.iter().zip(scales.iter().rev()).enumerate().fold(
            start,
            |x, (k, (blocks, scale))| {
                let joined = Tensor::cat(vec![x, scale.clone()], 1);
                let x = blocks.iter().fold(joined, |x, block| block.forward(x));
                if k == last { x } else { double(x) }
            },
        );
        sigmoid(self.readout.forward(drawn))
    }
}

/// Two linear maps with a ReLU between them.
fn two(layers: &[Linear], input: Tensor<2>) -> Tensor<2> {
    layers.iter().enumerate().fold(input, |x, (k, layer)| layer.forward(if k == 0 { x } else { relu(x) }))
}

/// The largest of each 2 × 2 pixels.
fn halve(input: Tensor<4>) -> Tensor<4> {
    let [items, channels, rows, cols] = input.dims();
    let cells: Tensor<6> = input.reshape([items, channels, rows / 2, 2, cols / 2, 2]);
    cells.max_dim(3).max_dim(5).reshape([items, channels, rows / 2, cols / 2])
}

impl Model for ContentDynamic {
    type Shape = ContentDynamicShape;

    const DEFAULTS: Defaults = Defaults { clip_norm: Some(1.0), ..Defaults::BANDS };

    fn shape(config: &ModelConfig, sizes: &Sizes) -> ContentDynamicShape {
        ContentDynamicShape {
            channels: sizes.channels,
            statics: sizes.statics,
            weather: sizes.weather,
            filters: config.hidden.as_ref().and_then(|h| h.first().copied()).unwrap_or(32),
            context_steps: sizes.context_steps,
            target_steps: sizes.target_steps,
        }
    }

    fn new(shape: &ContentDynamicShape, device: &Device) -> ContentDynamic {
        let (s, f) = (shape, shape.filters);
        let features = 4 * f;
        let row = |inputs: usize, outputs: usize, count: usize| -> Vec<Block> {
            (0..count).map(|k| Block::new(if k == 0 { inputs } else { outputs }, outputs, device)).collect()
        };
        let encoder = SCALES.iter().enumerate().map(|(k, &(width, count))| {
            let inputs = if k == 0 { s.channels + s.statics } else { SCALES[k - 1].0 * f };
            row(inputs, width * f, count)
        });
        let decoder = UP.iter().enumerate().map(|(k, &(inner, outer))| {
            let below = if k == 0 { 12 * f } else { UP[k - 1].1 * f };
            let skip = SCALES[SCALES.len() - 1 - k].0 * f;
            let mut blocks = row(below + skip, inner * f, 2);
            blocks.push(Block::new(inner * f, outer * f, device));
            blocks
        });
        ContentDynamic {
            encoder: encoder.collect(),
            latent: Linear::new(12 * f, features, device),
            state: vec![
                Linear::new(s.context_steps * features, 2 * features, device),
                Linear::new(2 * features, features, device),
            ],
            change: vec![
                Linear::new(s.weather, 2 * features, device),
                Linear::new(2 * features, features, device),
            ],
            first: Linear::new(2 * features, 12 * f, device),
            decoder: decoder.collect(),
            readout: Conv::new(f, s.channels, 1, device),
            target_steps: s.target_steps,
        }
    }

    fn forward(&self, inputs: &[ArrayD<f32>], device: &Device) -> Tensor<2> {
        let context: Tensor<5> = weights::from_array(&inputs[0], device);
        let [items, steps, channels, rows, cols] = context.dims();
        let targets = self.target_steps;
        let statics: Tensor<5> = weights::from_array::<4>(&inputs[1], device).unsqueeze_dim(1);
        let layers = statics.dims()[2];
        let frames = Tensor::cat(vec![context, statics.expand([items, steps, layers, rows, cols])], 2);
        let frames = pad_to(frames.reshape([items * steps, channels + layers, rows, cols]), SIDE);
        let weather: Tensor<5> = weights::from_array(&inputs[2], device);
        let [_, all, variables, _, _] = weather.dims();
        let weather: Tensor<3> = weather.mean_dim(3).mean_dim(4).reshape([items, all, variables]);

        let (scales, encodings) = self.encode(frames);
        let features = encodings.dims()[1];
        let states = self
            .states(encodings.clone().reshape([items, steps * features]), weather.narrow(1, steps, targets));
        // What the context shows is the same at every target step.
        let content: Tensor<3> = encodings.reshape([items, steps, features]).mean_dim(1);
        let shown = Tensor::cat(vec![content.expand([items, targets, features]), states], 2);
        let scales: Vec<Tensor<4>> = scales
            .into_iter()
            .map(|scale| {
                let [_, width, rows, cols] = scale.dims();
                let mean: Tensor<5> = scale.reshape([items, steps, width, rows, cols]).mean_dim(1);
                mean.expand([items, targets, width, rows, cols]).reshape([items * targets, width, rows, cols])
            })
            .collect();
        let drawn = self.decode(shown.reshape([items * targets, 2 * features]), &scales);
        cut_to(drawn, rows, cols).reshape([items, targets * channels * rows * cols])
    }

    fn problems(config: &ModelConfig) -> Vec<(&'static str, String)> {
        let sizes = config.hidden.as_ref().map_or(1, Vec::len);
        let bad = (sizes != 1).then(|| ("hidden", format!("this model has one size, found {sizes}")));
        bad.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::gradient::Network;
    use crate::harness::{backend, testing};

    #[test]
    fn a_narrow_net_matches_pytorch() {
        let golden = testing::golden("content_dynamic");
        let shape = ContentDynamicShape {
            channels: 2,
            statics: 1,
            weather: 3,
            filters: 4,
            context_steps: 3,
            target_steps: 2,
        };
        let net = ContentDynamic::new(&shape, &backend::device());
        let weights = testing::by_formula(&net.parameters());
        let inputs = ["ctx", "static", "wea"].map(|name| golden.input(name));
        let device = backend::device();
        let found = weights::to_array(net.loaded(&weights, &device).unwrap().predict(&inputs, &device));
        testing::close(&found, &testing::rows(golden.output("eval")), 5e-6);

        let device = backend::training_device();
        let net = net.loaded(&weights, &device).unwrap();
        let found = net.predict(&inputs, &device);
        testing::close(&weights::to_array(found.clone()), &testing::rows(golden.output("train")), 5e-5);
        let gradients = net.gradients(&found.powi_scalar(2).mean().backward());
        for (name, expected) in &golden.gradients().0 {
            testing::close_relative(&gradients.0[name], expected, 2e-3);
        }
    }
}
