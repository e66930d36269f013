//! Arcon-STF, the stochastic video prediction of EarthNet2021 (Requena-Mesa et al. 2021,
//! <https://doi.org/10.48550/arXiv.2104.10066>), in our reading: its code was never published, only the settings of the
//! network it comes from, SAVP (Lee et al. 2018, <https://doi.org/10.48550/arXiv.1804.01523>), without the adversary.
//!
//! A U-Net of ConvLSTM cells goes from each frame to the next. Beside frame, statics and the weather of the next step it is
//! told a few numbers of what happens between the two: in training and over the context an encoder infers them from both
//! frames, later they are 0, the mean of their prior. It paints a new image and says where that, the frame before or the
//! last of the context is shown.

use burn::module::Module;
use burn::tensor::activation::{leaky_relu, relu, sigmoid, softmax};
use burn::tensor::{Device, Tensor};
use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::config::ModelConfig;
use crate::harness::gradient::Loss;
use crate::harness::weights;
use crate::model::convlstm::Cell;
use crate::model::layers::{Conv, GroupNorm, State, cut_to, double, frame, pad_to};
use crate::model::rnn::Linear;
use crate::model::teacher::{Teacher, fed};
use crate::model::{Defaults, Model, Sizes};

/// Slope below 0 of the encoder's activations.
const SLOPE: f64 = 0.2;
/// The coarsest scale has 1 / SIDE of the input's size.
const SIDE: usize = 4;
/// Images that a frame is made of: the frame before, the last of the context, the painted one.
const IMAGES: usize = 3;

/// Sizes of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArconStfShape {
    /// Forecast channels, which are also the dynamic inputs.
    pub channels: usize,
    /// Static input layers.
    pub statics: usize,
    /// Weather inputs.
    pub weather: usize,
    /// Filters of the finest scale; 16 as published.
    pub filters: usize,
    /// Filters of the encoder's finest scale; 24 as published.
    pub encoder_filters: usize,
    /// Numbers that say what happens between two frames; 12 as published.
    pub latent: usize,
    /// Steps forecast.
    pub target_steps: usize,
}

/// Encoder of what happens, cells on the way down and up, readouts.
#[derive(Module, Debug)]
pub(crate) struct ArconStf {
    encoder: Vec<Block>,
    mean: Linear,
    log_variance: Linear,
    down: Vec<Stage>,
    up: Vec<Stage>,
    paint: Conv,
    masks: Conv,
    #[module(skip)]
    latent: usize,
    #[module(skip)]
    target_steps: usize,
}

/// A convolution, normalised by image and channel.
#[derive(Module, Debug)]
struct Block {
    conv: Conv,
    norm: GroupNorm,
}

/// A block and the cell that remembers its maps.
#[derive(Module, Debug)]
struct Stage {
    block: Block,
    cell: Cell,
}

impl Block {
    fn new(inputs: usize, outputs: usize, device: &Device) -> Block {
        Block {
            conv: Conv::unbiased(inputs, outputs, 3, device),
            norm: GroupNorm::new(outputs, outputs, device),
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.conv.forward(input))
    }
}

impl Stage {
    fn new(inputs: usize, outputs: usize, device: &Device) -> Stage {
        Stage { block: Block::new(inputs, outputs, device), cell: Cell::new(outputs, outputs, 3, device) }
    }

    fn step(&self, input: Tensor<4>, state: &mut State) -> Tensor<4> {
        *state = self.cell.step(relu(self.block.forward(input)), state.clone());
        state.0.clone()
    }
}

/// What happens between two frames, as a normal distribution: mean and logarithm of the variance, `[batch, number]`.
struct Latent {
    mean: Tensor<2>,
    log_variance: Tensor<2>,
}

impl Latent {
    /// Kullback–Leibler divergence from the standard normal distribution, `[batch, 1]`.
    fn divergence(&self) -> Tensor<2> {
        let (mean, log_variance) = (self.mean.clone(), self.log_variance.clone());
        (mean.powi_scalar(2) + log_variance.clone().exp() - log_variance - 1.0).sum_dim(1) * 0.5
    }
}

impl ArconStf {
    fn infer(&self, before: &Tensor<4>, after: &Tensor<4>) -> Latent {
        let pair = Tensor::cat(vec![before.clone(), after.clone()], 1);
        let maps = self.encoder.iter().enumerate().fold(pair, |x, (k, block)| {
            let x = if k == 0 { x } else { halve(x) };
            leaky_relu(block.forward(x), SLOPE)
        });
        let [items, features, _, _] = maps.dims();
        let mean = maps.mean_dim(2).mean_dim(3).reshape([items, features]);
        Latent { mean: self.mean.forward(mean.clone()), log_variance: self.log_variance.forward(mean) }
    }

    /// The next frame.
    fn step(&self, image: &Tensor<4>, last: &Tensor<4>, told: Tensor<4>, states: &mut [State]) -> Tensor<4> {
        let mut x = Tensor::cat(vec![image.clone(), told], 1);
        let mut scales = Vec::with_capacity(self.down.len());
        let (down, up) = states.split_at_mut(self.down.len());
        for (k, (stage, state)) in self.down.iter().zip(down).enumerate() {
            x = stage.step(if k == 0 { x } else { halve(x) }, state);
            scales.push(x.clone());
        }
        for ((stage, state), scale) in self.up.iter().zip(up).zip(scales.into_iter().rev().skip(1)) {
            x = stage.step(Tensor::cat(vec![double(x), scale], 1), state);
        }
        let painted = sigmoid(self.paint.forward(x.clone()));
        let masks = softmax(self.masks.forward(x), 1);
        let images = [image, last, &painted];
        let shown =
            images.into_iter().enumerate().map(|(k, shown)| shown.clone() * masks.clone().narrow(1, k, 1));
        shown.reduce(|sum, shown| sum + shown).unwrap_or(painted)
    }

    fn states(&self, like: &Tensor<4>) -> Vec<State> {
        let [items, _, rows, cols] = like.dims();
        let scale = |k: usize| (self.down.len() - 1).abs_diff(k);
        let stages = self.down.iter().chain(&self.up).enumerate();
        stages
            .map(|(k, stage)| {
                let by = 1 << (self.down.len() - 1 - scale(k));
                let zero = Tensor::zeros([items, stage.cell.hidden, rows / by, cols / by], &like.device());
                (zero.clone(), zero)
            })
            .collect()
    }
}

/// The mean of each 2 × 2 pixels.
fn halve(input: Tensor<4>) -> Tensor<4> {
    let [items, channels, rows, cols] = input.dims();
    let cells: Tensor<6> = input.reshape([items, channels, rows / 2, 2, cols / 2, 2]);
    cells.mean_dim(3).mean_dim(5).reshape([items, channels, rows / 2, cols / 2])
}

impl Model for ArconStf {
    type Shape = ArconStfShape;

    const DEFAULTS: Defaults = Defaults { learning_rate: 3e-4, clip_norm: Some(1.0), ..Defaults::BANDS };

    fn shape(config: &ModelConfig, sizes: &Sizes) -> ArconStfShape {
        let filters = config.hidden.as_ref().and_then(|h| h.first().copied()).unwrap_or(16);
        ArconStfShape {
            channels: sizes.channels,
            statics: sizes.statics,
            weather: sizes.weather,
            filters,
            // The published sizes (24 for 16), in proportion.
            encoder_filters: (3 * filters / 2).max(1),
            latent: config.latent.unwrap_or(12),
            target_steps: sizes.target_steps,
        }
    }

    fn new(shape: &ArconStfShape, device: &Device) -> ArconStf {
        let (s, f, e) = (shape, shape.filters, shape.encoder_filters);
        let inputs = s.channels + s.statics + s.weather + s.latent;
        ArconStf {
            encoder: [(2 * s.channels, e), (e, 2 * e), (2 * e, 4 * e)]
                .map(|(i, o)| Block::new(i, o, device))
                .into(),
            mean: Linear::new(4 * e, s.latent, device),
            log_variance: Linear::new(4 * e, s.latent, device),
            down: [(inputs, f), (f, 2 * f), (2 * f, 4 * f)].map(|(i, o)| Stage::new(i, o, device)).into(),
            up: [(6 * f, 2 * f), (3 * f, f)].map(|(i, o)| Stage::new(i, o, device)).into(),
            paint: Conv::new(f, s.channels, 3, device),
            masks: Conv::new(f, IMAGES, 3, device),
            latent: s.latent,
            target_steps: s.target_steps,
        }
    }

    fn feeds_back() -> bool {
        true
    }

    fn latent(shape: &ArconStfShape) -> Option<usize> {
        Some(shape.latent)
    }

    /// In training the inputs after the teacher's are standard normal numbers, `[batch, step - 1, latent]`; then what
    /// happens is drawn from what the encoder infers, and the divergence of that from its prior, mean over the steps, is one
    /// more value of each item.
    fn forward(&self, inputs: &[ArrayD<f32>], device: &Device) -> Tensor<2> {
        let padded = |frames: Tensor<5>| -> Tensor<5> {
            let [items, steps, channels, rows, cols] = frames.dims();
            let flat = pad_to(frames.reshape([items * steps, channels, rows, cols]), SIDE);
            let [_, _, high, wide] = flat.dims();
            flat.reshape([items, steps, channels, high, wide])
        };
        let context: Tensor<5> = weights::from_array(&inputs[0], device);
        let [items, known, channels, rows, cols] = context.dims();
        let context = padded(context);
        let statics = pad_to(weights::from_array(&inputs[1], device), SIDE);
        let weather = padded(weights::from_array(&inputs[2], device));
        let teacher = Teacher::of(inputs, device).map(|teacher| teacher.map(padded));
        let noise: Option<Tensor<3>> = inputs.get(6).map(|noise| weights::from_array(noise, device));
        let last = frame(&context, known - 1);
        let [_, _, high, wide] = last.dims();
        let mut states = self.states(&last);
        let mut frames: Vec<Tensor<4>> = Vec::with_capacity(self.target_steps);
        let mut divergences = Vec::new();
        for t in 0..known - 1 + self.target_steps {
            let image = match t.checked_sub(known) {
                None => frame(&context, t),
                Some(s) => fed(teacher.as_ref(), &frames[s], s),
            };
            let next = match (t + 1).checked_sub(known) {
                None => Some(frame(&context, t + 1)),
                Some(s) => teacher.as_ref().filter(|_| noise.is_some()).map(|teacher| teacher.frame(s)),
            };
            let happens = match next {
                None => Tensor::zeros([items, self.latent], device),
                Some(next) => {
                    let found = self.infer(&image, &next);
                    match &noise {
                        None => found.mean,
                        Some(noise) => {
                            divergences.push(found.divergence());
                            let noise: Tensor<2> = noise.clone().narrow(1, t, 1).squeeze_dim(1);
                            found.mean + (found.log_variance * 0.5).exp() * noise
                        }
                    }
                }
            };
            let happens: Tensor<4> = happens.reshape([items, self.latent, 1, 1]);
            let happens = happens.expand([items, self.latent, high, wide]);
            let told = Tensor::cat(vec![statics.clone(), frame(&weather, t + 1), happens], 1);
            let predicted = self.step(&image, &last, told, &mut states);
            if t + 1 >= known {
                frames.push(predicted);
            }
        }
        let values = self.target_steps * channels * rows * cols;
        let frames: Vec<Tensor<4>> = frames.into_iter().map(|image| cut_to(image, rows, cols)).collect();
        let frames: Tensor<5> = Tensor::stack(frames, 1);
        let found = frames.reshape([items, values]);
        if divergences.is_empty() {
            return found;
        }
        let steps = divergences.len() as f64;
        Tensor::cat(vec![found, Tensor::cat(divergences, 1).sum_dim(1) / steps], 1)
    }

    fn problems(config: &ModelConfig) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let sizes = config.hidden.as_ref().map_or(1, Vec::len);
        if sizes != 1 {
            found.push(("hidden", format!("this model has one size, found {sizes}")));
        }
        if config.loss.is_some_and(|loss| loss != Loss::MaskedL1) {
            found.push(("loss", "this model is trained by masked_l1, beside its divergence".to_owned()));
        }
        if config.latent == Some(0) {
            found.push(("latent", "expected at least 1, found 0".to_owned()));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::gradient::Network;
    use crate::harness::{backend, testing};

    fn shape(filters: usize) -> ArconStfShape {
        ArconStfShape {
            channels: 2,
            statics: 1,
            weather: 3,
            filters,
            encoder_filters: 3 * filters / 2,
            latent: 2,
            target_steps: 3,
        }
    }

    /// Forecasting, and training with observed frames and noise, whose last value is the divergence.
    #[test]
    fn a_small_net_matches_pytorch() {
        let golden = testing::golden("arcon_stf");
        let net = ArconStf::new(&shape(2), &backend::device());
        let weights = testing::by_formula(&net.parameters());
        let mut inputs: Vec<ArrayD<f32>> = ["ctx", "static", "wea"].map(|name| golden.input(name)).into();
        inputs.push(ArrayD::zeros(ndarray::IxDyn(&[0])));
        let device = backend::device();
        let free = net.loaded(&weights, &device).unwrap().predict(&inputs, &device);
        testing::close(&weights::to_array(free), &golden.output("free"), 1e-5);

        inputs.extend(["truth", "told", "noise"].map(|name| golden.input(name)));
        let device = backend::training_device();
        let net = net.loaded(&weights, &device).unwrap();
        let found = net.predict(&inputs, &device);
        testing::close(&weights::to_array(found.clone().detach()), &golden.output("taught"), 1e-5);
        let gradients = net.gradients(&found.powi_scalar(2).mean().backward());
        for (name, expected) in &golden.gradients().0 {
            testing::close_relative(&gradients.0[name], expected, 1e-4);
        }
    }

    #[test]
    fn published_size() {
        let shape = ArconStfShape {
            channels: 4,
            statics: 1,
            weather: 5,
            filters: 16,
            encoder_filters: 24,
            latent: 12,
            target_steps: 20,
        };
        // PyTorch counts the same network.
        assert_eq!(ArconStf::new(&shape, &backend::device()).parameters().count(), 598_207);
    }
}
