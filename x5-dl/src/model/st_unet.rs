//! Next-cuboid U-Net of earthnet-models-pytorch (Benson et al. 2024, <https://doi.org/10.48550/arXiv.2303.16198>): all
//! context frames in as channels, all target frames out as channels.
//!
//! The weather of all steps shifts and scales the coarsest scale.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::config::ModelConfig;
use crate::harness::weights;
use crate::model::film::FilmBlock;
use crate::model::layers::{cut_to, pad_to};
use crate::model::unet::{self, Decoder, Encoder};
use crate::model::{Defaults, Model, Sizes};

/// Sizes of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StUnetShape {
    /// Forecast channels, which are also the dynamic inputs.
    pub channels: usize,
    /// Static input layers.
    pub statics: usize,
    /// Weather inputs of one step.
    pub weather: usize,
    /// Channels at every scale; 256 as published.
    pub hidden: usize,
    /// Halvings; 5 as published.
    pub depth: usize,
    /// Side of the square kernel, odd; 3 as published.
    pub kernel: usize,
    /// Steps observed.
    pub context_steps: usize,
    /// Steps forecast.
    pub target_steps: usize,
}

/// Encoder, conditioned bottleneck, decoder.
#[derive(Module, Debug)]
pub(crate) struct StUnet {
    enc: Encoder,
    latent_conditioning: FilmBlock,
    dec: Decoder,
    #[module(skip)]
    depth: usize,
}

/// The published network reads the weather in groups of this many variables, a variable of each group at a time.
const WEATHER_GROUP: usize = 8;

impl StUnet {
    /// All target frames, `[batch, step * channel, y, x]`, in -1..1.
    ///
    /// # Shapes
    /// - `context`: `[batch, context, channel, y, x]`
    /// - `statics`: `[batch, layer, y, x]`
    /// - `weather`: `[batch, context + target, variable]`
    fn forecast(&self, context: Tensor<5>, statics: Tensor<4>, weather: Tensor<3>) -> Tensor<4> {
        let [items, steps, channels, rows, cols] = context.dims();
        let images = context.reshape([items, steps * channels, rows, cols]);
        let input = pad_to(Tensor::cat(vec![images, statics], 1), 1 << self.depth);
        let scales = self.enc.forward(input);
        let weather = in_groups(weather);
        let coarsest = self.latent_conditioning.forward(scales[self.depth].clone(), &weather);
        cut_to(self.dec.forward(coarsest, &scales), rows, cols)
    }
}

/// The weather of all steps as channels: variable k of each group, of all steps, then variable k + 1. One group
/// of 1 where the groups do not fit.
fn in_groups(weather: Tensor<3>) -> Tensor<4> {
    let [items, steps, variables] = weather.dims();
    let group = if variables.is_multiple_of(WEATHER_GROUP) { WEATHER_GROUP } else { 1 };
    let groups: Tensor<4> = weather.reshape([items, steps, variables / group, group]);
    groups.permute([0, 3, 1, 2]).reshape([items, steps * variables, 1, 1])
}

impl Model for StUnet {
    type Shape = StUnetShape;

    const DEFAULTS: Defaults = Defaults::GREENNESS;

    fn shape(config: &ModelConfig, sizes: &Sizes) -> StUnetShape {
        StUnetShape {
            channels: sizes.channels,
            statics: sizes.statics,
            weather: sizes.weather,
            hidden: config.hidden.as_ref().and_then(|h| h.first().copied()).unwrap_or(256),
            depth: config.depth.unwrap_or(5),
            kernel: config.kernel.unwrap_or(3),
            context_steps: sizes.context_steps,
            target_steps: sizes.target_steps,
        }
    }

    fn new(shape: &StUnetShape, device: &Device) -> StUnet {
        let s = shape;
        let inputs = s.channels * s.context_steps + s.statics;
        let weather = s.weather * (s.context_steps + s.target_steps);
        StUnet {
            enc: Encoder::new(inputs, s.hidden, s.depth, s.kernel, device),
            latent_conditioning: FilmBlock::new(weather, s.hidden, s.hidden, device),
            dec: Decoder::new(s.hidden, s.channels * s.target_steps, s.depth, s.kernel, device),
            depth: s.depth,
        }
    }

    fn forward(&self, inputs: &[ArrayD<f32>], device: &Device) -> Tensor<2> {
        let weather: Tensor<5> = weights::from_array(&inputs[2], device);
        let [items, steps, variables, _, _] = weather.dims();
        let weather = weather.mean_dim(3).mean_dim(4).reshape([items, steps, variables]);
        let frames = self.forecast(
            weights::from_array(&inputs[0], device),
            weights::from_array(&inputs[1], device),
            weather,
        );
        let values = frames.dims()[1..].iter().product::<usize>();
        frames.reshape([items, values])
    }

    fn problems(config: &ModelConfig) -> Vec<(&'static str, String)> {
        unet::problems(config)
    }

    fn published_name(name: &str) -> Option<String> {
        unet::published_name(name)
    }

    fn exported_name(own: &str) -> Option<String> {
        Some(unet::exported_name(own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{backend, testing};

    #[test]
    fn tiny_net_matches_pytorch() {
        let golden = testing::golden("st_unet");
        let shape = StUnetShape {
            channels: 2,
            statics: 1,
            weather: 8,
            hidden: 16,
            depth: 2,
            kernel: 3,
            context_steps: 3,
            target_steps: 2,
        };
        let net = StUnet::new(&shape, &backend::device());
        testing::matches_named::<StUnet>(&net, &golden, &["ctx", "static", "wea"]);
    }
}
