//! Channel-U-Net of EarthNet2021 (Requena-Mesa et al. 2021, <https://doi.org/10.1109/CVPRW53098.2021.00124>): time as
//! channels. All context frames, the statics and the weather of all steps go in, all target frames come out.
//!
//! The layout is that of `Unet` of segmentation_models_pytorch.

use burn::module::Module;
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Tensor};
use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::config::ModelConfig;
use crate::harness::weights;
use crate::model::batch_norm::BatchNorm;
use crate::model::efficientnet::{EfficientNet, Encoder};
use crate::model::layers::{Conv, cut_to, double, pad_to};
use crate::model::{Defaults, Model, Sizes};

/// Channels of the way up, the coarsest first.
const UP: [usize; 5] = [256, 128, 64, 32, 16];
/// The coarsest scale has 1 / SIDE of the input's size.
const SIDE: usize = 32;

/// Sizes of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelUnetShape {
    /// Forecast channels, which are also the dynamic inputs.
    pub channels: usize,
    /// Static input layers.
    pub statics: usize,
    /// Weather inputs of one step.
    pub weather: usize,
    /// Steps observed.
    pub context_steps: usize,
    /// Steps forecast.
    pub target_steps: usize,
    /// The way down, an EfficientNet.
    pub encoder: Encoder,
}

/// The network with its sizes.
#[derive(Module, Debug)]
pub(crate) struct ChannelUnet {
    unet: Unet,
}

/// Encoder, way up, head.
#[derive(Module, Debug)]
struct Unet {
    encoder: EfficientNet,
    decoder: Up,
    segmentation_head: Conv,
}

#[derive(Module, Debug)]
struct Up {
    blocks: Vec<UpBlock>,
}

#[derive(Module, Debug)]
struct UpBlock {
    conv1: ConvNorm,
    conv2: ConvNorm,
}

#[derive(Module, Debug)]
struct ConvNorm {
    conv: Conv,
    norm: BatchNorm,
}

impl Unet {
    fn new(inputs: usize, outputs: usize, percent: (usize, usize), device: &Device) -> Unet {
        let [c1, c2, c3, c4, c5] = EfficientNet::channels(percent.0);
        let skips = [c4, c3, c2, c1, 0];
        let blocks = (0..UP.len()).map(|k| {
            let below = if k == 0 { c5 } else { UP[k - 1] };
            UpBlock {
                conv1: ConvNorm::new(below + skips[k], UP[k], device),
                conv2: ConvNorm::new(UP[k], UP[k], device),
            }
        });
        Unet {
            encoder: EfficientNet::new(inputs, percent, device),
            decoder: Up { blocks: blocks.collect() },
            segmentation_head: Conv::new(UP[4], outputs, 3, device),
        }
    }

    /// `[batch, output, y, x]` in 0..1 from `[batch, input, y, x]`, whose sizes are multiples of [`SIDE`].
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let mut scales = self.encoder.forward(input);
        let coarsest = scales.swap_remove(scales.len() - 1);
        let finest = self.decoder.blocks.iter().fold(coarsest, |x, block| {
            let wide = double(x);
            let joined = match scales.pop() {
                Some(skip) => Tensor::cat(vec![wide, skip], 1),
                None => wide,
            };
            block.conv2.forward(block.conv1.forward(joined))
        });
        sigmoid(self.segmentation_head.forward(finest))
    }
}

impl ConvNorm {
    fn new(inputs: usize, outputs: usize, device: &Device) -> ConvNorm {
        ConvNorm { conv: Conv::unbiased(inputs, outputs, 3, device), norm: BatchNorm::new(outputs, device) }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        relu(self.norm.forward(self.conv.forward(input)))
    }
}

impl Model for ChannelUnet {
    type Shape = ChannelUnetShape;

    const DEFAULTS: Defaults = Defaults::BANDS;

    fn shape(config: &ModelConfig, sizes: &Sizes) -> ChannelUnetShape {
        ChannelUnetShape {
            channels: sizes.channels,
            statics: sizes.statics,
            weather: sizes.weather,
            context_steps: sizes.context_steps,
            target_steps: sizes.target_steps,
            encoder: config.encoder.unwrap_or(Encoder::EfficientnetB5),
        }
    }

    fn new(shape: &ChannelUnetShape, device: &Device) -> ChannelUnet {
        let s = shape;
        let steps = s.context_steps + s.target_steps;
        let inputs = s.channels * s.context_steps + s.statics + s.weather * steps;
        let percent = s.encoder.percent().unwrap_or((100, 100));
        ChannelUnet { unet: Unet::new(inputs, s.channels * s.target_steps, percent, device) }
    }

    fn forward(&self, inputs: &[ArrayD<f32>], device: &Device) -> Tensor<2> {
        let context: Tensor<5> = weights::from_array(&inputs[0], device);
        let [items, steps, channels, rows, cols] = context.dims();
        let context = context.reshape([items, steps * channels, rows, cols]);
        let weather: Tensor<5> = weights::from_array(&inputs[2], device);
        let [_, steps, variables, _, _] = weather.dims();
        let weather = weather.reshape([items, steps * variables, rows, cols]);
        let statics = weights::from_array(&inputs[1], device);
        let input = pad_to(Tensor::cat(vec![context, statics, weather], 1), SIDE);
        let frames = cut_to(self.unet.forward(input), rows, cols);
        let values = frames.dims()[1] * rows * cols;
        frames.reshape([items, values])
    }

    fn problems(config: &ModelConfig) -> Vec<(&'static str, String)> {
        let flat = config.encoder.is_some_and(|encoder| encoder.percent().is_none());
        let bad = flat.then(|| ("encoder", "this model needs an efficientnet".to_owned()));
        bad.into_iter().collect()
    }

    fn published_name(name: &str) -> Option<String> {
        let name = name.strip_prefix("model.").unwrap_or(name);
        if name.starts_with("unet.encoder.conv_head.") || name.starts_with("unet.encoder.bn2.") {
            return None;
        }
        let name = name.replace("segmentation_head.0.", "segmentation_head.");
        let Some((head, rest)) = name.split_once("decoder.blocks.") else { return Some(name) };
        let parts: Vec<&str> = rest.split('.').collect();
        let [block, conv, layer @ ("0" | "1"), kind] = parts.as_slice() else { return Some(name) };
        let layer = if *layer == "0" { "conv" } else { "norm" };
        Some(format!("{head}decoder.blocks.{block}.{conv}.{layer}.{kind}"))
    }

    fn exported_name(own: &str) -> Option<String> {
        let name = format!("model.{}", own.replace("segmentation_head.", "segmentation_head.0."));
        let Some((head, rest)) = name.split_once("decoder.blocks.") else { return Some(name) };
        let rest = rest.replace(".conv.", ".0.").replace(".norm.", ".1.");
        Some(format!("{head}decoder.blocks.{rest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{backend, statistics, testing};

    #[test]
    fn a_narrow_net_matches_segmentation_models_pytorch() {
        let golden = testing::golden("channel_unet");
        let device = backend::device();
        let zero = Unet::new(3, 4, (25, 50), &device);
        let net =
            weights::load(zero.clone(), &testing::by_formula(&weights::collect(&zero)), &device).unwrap();
        let found = net.forward(weights::from_array(&golden.input("x"), &device));
        testing::close(&weights::to_array(found), &golden.output("eval"), 2e-6);
    }

    #[test]
    fn b5_has_the_parameters_of_segmentation_models_pytorch() {
        let shape = ChannelUnetShape {
            channels: 4,
            statics: 1,
            weather: 5,
            context_steps: 10,
            target_steps: 20,
            encoder: Encoder::EfficientnetB5,
        };
        let all = weights::collect(&ChannelUnet::new(&shape, &backend::device()));
        let count: usize =
            all.0.iter().filter(|(name, _)| !statistics::is_statistic(name)).map(|(_, a)| a.len()).sum();
        assert_eq!(count, 30_256_000);
    }

    #[test]
    fn names_of_published_checkpoints() {
        let own = |name: &str| ChannelUnet::published_name(name);
        let is = |name: &str| Some(name.to_owned());
        assert_eq!(
            own("model.unet.decoder.blocks.2.conv1.1.running_var"),
            is("unet.decoder.blocks.2.conv1.norm.running_var")
        );
        assert_eq!(own("unet.decoder.blocks.2.conv1.norm.bias"), is("unet.decoder.blocks.2.conv1.norm.bias"));
        assert_eq!(own("unet.encoder.bn2.weight"), None);
    }
}
