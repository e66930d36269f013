//! Next-frame U-Net of earthnet-models-pytorch (Benson et al. 2024, <https://doi.org/10.48550/arXiv.2303.16198>): one
//! frame in, the next one out, fed back over the forecast.
//!
//! The weather of the predicted step shifts and scales the skips of the second scale and below. Nothing is
//! remembered between the steps but the frame, so of the context only the last frame matters.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::config::ModelConfig;
use crate::harness::weights;
use crate::model::film::FilmBlock;
use crate::model::layers::{cut_to, frame, frames_to_rows, pad_to};
use crate::model::teacher::{Teacher, fed};
use crate::model::unet::{self, Decoder, Encoder};
use crate::model::{Defaults, Model, Sizes};

/// Sizes of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NfUnetShape {
    /// Forecast channels, which are also the dynamic inputs.
    pub channels: usize,
    /// Static input layers.
    pub statics: usize,
    /// Weather inputs.
    pub weather: usize,
    /// Channels at every scale; 128 as published.
    pub hidden: usize,
    /// Halvings; 5 as published.
    pub depth: usize,
    /// Side of the square kernel, odd; 3 as published.
    pub kernel: usize,
    /// Steps forecast.
    pub target_steps: usize,
}

/// Encoder, conditioned skips, decoder.
#[derive(Module, Debug)]
pub(crate) struct NfUnet {
    enc: Encoder,
    /// Of the scales from the second on.
    conditioning_layers: Vec<FilmBlock>,
    dec: Decoder,
    #[module(skip)]
    depth: usize,
    #[module(skip)]
    target_steps: usize,
}

impl NfUnet {
    /// The target frames, each `[batch, channel, y, x]`, in -1..1.
    ///
    /// # Shapes
    /// - `last`: `[batch, channel, y, x]`, the last context frame
    /// - `statics`: `[batch, layer, y, x]`
    /// - `weather`: `[batch, target, variable, 1, 1]`
    fn forecast(
        &self,
        last: Tensor<4>,
        statics: Tensor<4>,
        weather: &Tensor<5>,
        teacher: Option<&Teacher>,
    ) -> Vec<Tensor<4>> {
        let [_, _, rows, cols] = last.dims();
        let side = 1 << self.depth;
        let statics = pad_to(statics, side);
        let mut image = pad_to(last, side);
        let mut frames: Vec<Tensor<4>> = Vec::with_capacity(self.target_steps);
        for t in 0..self.target_steps {
            if let (Some(before), true) = (frames.last(), teacher.is_some()) {
                image = pad_to(fed(teacher, before, t - 1), side);
            }
            let weather = frame(weather, t);
            let mut scales = self.enc.forward(Tensor::cat(vec![image, statics.clone()], 1));
            let coarsest = scales[self.depth].clone();
            for (scale, film) in scales.iter_mut().skip(1).zip(&self.conditioning_layers) {
                *scale = film.forward(scale.clone(), &weather);
            }
            image = self.dec.forward(coarsest, &scales);
            frames.push(cut_to(image.clone(), rows, cols));
        }
        frames
    }
}

impl Model for NfUnet {
    type Shape = NfUnetShape;

    const DEFAULTS: Defaults = Defaults::GREENNESS;

    fn shape(config: &ModelConfig, sizes: &Sizes) -> NfUnetShape {
        NfUnetShape {
            channels: sizes.channels,
            statics: sizes.statics,
            weather: sizes.weather,
            hidden: config.hidden.as_ref().and_then(|h| h.first().copied()).unwrap_or(128),
            depth: config.depth.unwrap_or(5),
            kernel: config.kernel.unwrap_or(3),
            target_steps: sizes.target_steps,
        }
    }

    fn new(shape: &NfUnetShape, device: &Device) -> NfUnet {
        let s = shape;
        NfUnet {
            enc: Encoder::new(s.channels + s.statics, s.hidden, s.depth, s.kernel, device),
            conditioning_layers: (0..s.depth)
                .map(|_| FilmBlock::new(s.weather, (s.hidden / 2).max(1), s.hidden, device))
                .collect(),
            dec: Decoder::new(s.hidden, s.channels, s.depth, s.kernel, device),
            depth: s.depth,
            target_steps: s.target_steps,
        }
    }

    fn feeds_back() -> bool {
        true
    }

    fn forward(&self, inputs: &[ArrayD<f32>], device: &Device) -> Tensor<2> {
        let context: Tensor<5> = weights::from_array(&inputs[0], device);
        let steps = context.dims()[1];
        let weather: Tensor<5> = weights::from_array(&inputs[2], device);
        let weather = weather.narrow(1, steps, self.target_steps).mean_dim(3).mean_dim(4);
        let last = frame(&context, steps - 1);
        let statics = weights::from_array(&inputs[1], device);
        frames_to_rows(self.forecast(last, statics, &weather, Teacher::of(inputs, device).as_ref()))
    }

    fn problems(config: &ModelConfig) -> Vec<(&'static str, String)> {
        unet::problems(config)
    }

    /// The first scale's skip is not conditioned, so the published layers are counted from 1.
    fn published_name(name: &str) -> Option<String> {
        let own = unet::published_name(name)?;
        let Some(rest) = own.strip_prefix("conditioning_layers.") else { return Some(own) };
        let (number, rest) = rest.split_once('.')?;
        let number = number.parse::<usize>().ok()?.checked_sub(1)?;
        Some(format!("conditioning_layers.{number}.{rest}"))
    }

    fn exported_name(own: &str) -> Option<String> {
        let name = unet::exported_name(own);
        let Some(rest) = name.strip_prefix("model.conditioning_layers.") else { return Some(name) };
        let (number, rest) = rest.split_once('.')?;
        Some(format!("model.conditioning_layers.{}.{rest}", number.parse::<usize>().ok()? + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{backend, testing};

    #[test]
    fn tiny_net_matches_pytorch() {
        let golden = testing::golden("nf_unet");
        let shape = NfUnetShape {
            channels: 2,
            statics: 1,
            weather: 3,
            hidden: 16,
            depth: 2,
            kernel: 3,
            target_steps: 2,
        };
        let net = NfUnet::new(&shape, &backend::device());
        testing::matches_named::<NfUnet>(&net, &golden, &["ctx", "static", "wea"]);
    }
}
