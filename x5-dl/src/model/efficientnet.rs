//! EfficientNet (Tan & Le 2019, <https://doi.org/10.48550/arXiv.1905.11946>) as an encoder: maps at five scales.
//!
//! Names and padding are those of timm's `EfficientNet` without its head, as segmentation_models_pytorch uses it.
//! Stochastic depth is left out.

use burn::module::{Module, Param};
use burn::tensor::activation::{sigmoid, silu};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::model::batch_norm::BatchNorm;
use crate::model::init;
use crate::model::layers::Conv;

/// A stage of the smallest network: blocks, side of the kernel, stride of the first block, expansion, channels.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
];
/// Channels of the first convolution of the smallest network.
const STEM: usize = 32;
/// Stages after which the next one halves the maps, and the last.
const SCALES: [usize; 4] = [1, 2, 4, 6];

/// What makes maps of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoder {
    /// Two convolutions of 3 × 3 with a ReLU between them, for small data.
    Convolutions,
    /// A small U-Net and each pixel's own values, for networks that begin from nothing; ContextRNN only.
    Unet,
    /// Each pixel's own values alone, through the linear maps that stand behind the U-Net: what a network is worth without
    /// surroundings; ContextRNN only.
    Pixel,
    /// The smallest EfficientNet.
    EfficientnetB0,
    /// 1.2 times as wide, 1.4 times as deep.
    EfficientnetB3,
    /// 1.6 times as wide, 2.2 times as deep.
    EfficientnetB5,
    /// A pyramid of transformers.
    PvtV2B0,
}

impl Encoder {
    /// Width and depth of an EfficientNet in percent of the smallest.
    pub(crate) fn percent(self) -> Option<(usize, usize)> {
        match self {
            Encoder::Convolutions | Encoder::Unet | Encoder::Pixel | Encoder::PvtV2B0 => None,
            Encoder::EfficientnetB0 => Some((100, 100)),
            Encoder::EfficientnetB3 => Some((120, 140)),
            Encoder::EfficientnetB5 => Some((160, 220)),
        }
    }
}

/// The stem and the stages.
#[derive(Module, Debug)]
pub(crate) struct EfficientNet {
    conv_stem: Kernel,
    bn1: BatchNorm,
    blocks: Vec<Vec<Block>>,
}

/// A convolution without bias that may skip pixels and may see each channel by itself.
#[derive(Module, Debug)]
struct Kernel {
    weight: Param<Tensor<4>>,
    #[module(skip)]
    stride: usize,
    #[module(skip)]
    groups: usize,
}

/// A mobile inverted bottleneck: expansion, one convolution for each channel, attention to channels, reduction. Where
/// nothing is expanded, `conv_pw` is the reduction and there is no third normalisation.
#[derive(Module, Debug)]
struct Block {
    conv_pw: Kernel,
    bn1: BatchNorm,
    conv_dw: Kernel,
    bn2: BatchNorm,
    se: SqueezeExcite,
    conv_pwl: Option<Kernel>,
    bn3: Option<BatchNorm>,
    #[module(skip)]
    skip: bool,
}

/// Each channel times a gate that sees the mean of all channels.
#[derive(Module, Debug)]
struct SqueezeExcite {
    conv_reduce: Conv,
    conv_expand: Conv,
}

impl EfficientNet {
    /// A network of a width and a depth in percent of the smallest one.
    pub(crate) fn new(inputs: usize, (width, depth): (usize, usize), device: &Device) -> EfficientNet {
        let mut channels = rounded(STEM, width);
        let conv_stem = Kernel::new(inputs, channels, 3, 2, 1, device);
        let bn1 = BatchNorm::new(channels, device);
        let mut blocks = Vec::new();
        for (repeats, kernel, stride, expansion, outputs) in STAGES {
            let outputs = rounded(outputs, width);
            let mut stage = Vec::new();
            for k in 0..(repeats * depth).div_ceil(100) {
                let stride = if k == 0 { stride } else { 1 };
                stage.push(Block::new(channels, outputs, kernel, stride, expansion, device));
                channels = outputs;
            }
            blocks.push(stage);
        }
        EfficientNet { conv_stem, bn1, blocks }
    }

    /// Channels of the five scales.
    pub(crate) fn channels(width: usize) -> [usize; 5] {
        let [c2, c3, c4, c5] = SCALES.map(|stage| rounded(STAGES[stage].4, width));
        [rounded(STEM, width), c2, c3, c4, c5]
    }

    /// Maps at a half, a quarter, an eighth, a sixteenth and a thirty-second of the input's size.
    pub(crate) fn forward(&self, input: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = silu(self.bn1.forward(self.conv_stem.forward(input)));
        let mut scales = vec![x.clone()];
        for (k, stage) in self.blocks.iter().enumerate() {
            x = stage.iter().fold(x, |x, block| block.forward(x));
            if SCALES.contains(&k) {
                scales.push(x.clone());
            }
        }
        scales
    }
}

/// Channels scaled by a percentage, to a multiple of 8 that is at most a tenth smaller.
fn rounded(channels: usize, percent: usize) -> usize {
    let exact = channels * percent;
    let eighths = ((exact + 400) / 800 * 8).max(8);
    if eighths * 1000 < 9 * exact { eighths + 8 } else { eighths }
}

impl Block {
    fn new(
        inputs: usize,
        outputs: usize,
        kernel: usize,
        stride: usize,
        expansion: usize,
        device: &Device,
    ) -> Block {
        let inner = inputs * expansion;
        let plain = expansion == 1;
        let wide = |n: usize| BatchNorm::new(n, device);
        Block {
            conv_pw: Kernel::new(inputs, if plain { outputs } else { inner }, 1, 1, 1, device),
            bn1: wide(inner),
            conv_dw: Kernel::new(inner, inner, kernel, stride, inner, device),
            bn2: wide(if plain { outputs } else { inner }),
            se: SqueezeExcite {
                conv_reduce: Conv::new(inner, (inputs / 4).max(1), 1, device),
                conv_expand: Conv::new((inputs / 4).max(1), inner, 1, device),
            },
            conv_pwl: (!plain).then(|| Kernel::new(inner, outputs, 1, 1, 1, device)),
            bn3: (!plain).then(|| wide(outputs)),
            skip: stride == 1 && inputs == outputs,
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let x = match (&self.conv_pwl, &self.bn3) {
            (Some(reduce), Some(bn3)) => {
                let x = silu(self.bn1.forward(self.conv_pw.forward(input.clone())));
                let x = silu(self.bn2.forward(self.conv_dw.forward(x)));
                bn3.forward(reduce.forward(self.se.forward(x)))
            }
            _ => {
                let x = silu(self.bn1.forward(self.conv_dw.forward(input.clone())));
                self.bn2.forward(self.conv_pw.forward(self.se.forward(x)))
            }
        };
        if self.skip { x + input } else { x }
    }
}

impl SqueezeExcite {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let mean = input.clone().mean_dim(2).mean_dim(3);
        input * sigmoid(self.conv_expand.forward(silu(self.conv_reduce.forward(mean))))
    }
}

impl Kernel {
    fn new(
        inputs: usize,
        outputs: usize,
        kernel: usize,
        stride: usize,
        groups: usize,
        device: &Device,
    ) -> Kernel {
        Kernel { weight: init::zeros([outputs, inputs / groups, kernel, kernel], device), stride, groups }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let half = self.weight.dims()[2] / 2;
        let options = ConvOptions::new([self.stride, self.stride], [half, half], [1, 1], self.groups);
        conv2d(input, self.weight.val(), None, options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_those_of_b3() {
        // timm's B3: stem 40; stages 24, 32, 48, 96, 136, 232, 384.
        assert_eq!(rounded(STEM, 120), 40);
        assert_eq!(STAGES.map(|stage| rounded(stage.4, 120)), [24, 32, 48, 96, 136, 232, 384]);
        // A quarter: 10 would become 8, which is more than a tenth less.
        assert_eq!(rounded(40, 25), 16);
    }
}
