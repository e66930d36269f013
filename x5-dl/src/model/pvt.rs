//! Pyramid Vision Transformer, version 2, B0 (Wang et al. 2022, <https://doi.org/10.1007/s41095-022-0274-8>): maps of an
//! image at four scales.
//!
//! Names are those of timm's `pvt_v2_b0`.

use burn::module::{Module, Param};
use burn::tensor::activation::gelu;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};

use crate::model::attention::{LayerNorm, attend, linear};
use crate::model::init;
use crate::model::layers::{Conv, double};
use crate::model::rnn::Linear;

/// A scale: channels, heads, side of the patches that keys and values are reduced by, inner features per feature.
const SCALES: [(usize, usize, usize, usize); 4] =
    [(32, 1, 8, 8), (64, 2, 4, 8), (160, 5, 2, 4), (256, 8, 1, 4)];
/// Layers of a scale.
const LAYERS: usize = 2;
/// Channels of all scales together.
const CHANNELS: usize = 512;
/// The finest scale has 1 / PATCH of the input's size …
pub(crate) const PATCH: usize = 4;
/// … and the coarsest 1 / SIDE.
pub(crate) const SIDE: usize = 32;
/// Added to variances, as timm does.
const EPSILON: f64 = 1e-6;

/// All scales of an image side by side, mapped to as many features as are asked for.
#[derive(Module, Debug)]
pub(crate) struct Pyramid {
    pvt: Pvt,
    pvt_project: Conv,
}

impl Pyramid {
    pub(crate) fn new(inputs: usize, features: usize, device: &Device) -> Pyramid {
        Pyramid { pvt: Pvt::new(inputs, device), pvt_project: Conv::new(CHANNELS, features, 1, device) }
    }

    /// `[batch, feature, y, x]` of the finest scale; each pixel of a coarser one is repeated.
    pub(crate) fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let maps = self.pvt.forward(images).into_iter().enumerate();
        let alike = maps.map(|(k, map)| (0..k).fold(map, |map, _| double(map)));
        self.pvt_project.forward(Tensor::cat(alike.collect(), 1))
    }
}

/// Four scales of transformer layers.
#[derive(Module, Debug)]
struct Pvt {
    patch_embed: Patches,
    stages: Vec<Stage>,
}

/// Overlapping patches become tokens.
#[derive(Module, Debug)]
struct Patches {
    proj: Kernel,
    norm: LayerNorm,
}

#[derive(Module, Debug)]
struct Stage {
    downsample: Option<Patches>,
    blocks: Vec<Layer>,
    norm: LayerNorm,
}

#[derive(Module, Debug)]
struct Layer {
    norm1: LayerNorm,
    attn: Attention,
    norm2: LayerNorm,
    mlp: SpatialMlp,
}

/// Attention to patches of the map instead of all of its pixels.
#[derive(Module, Debug)]
struct Attention {
    q: Linear,
    kv: Linear,
    proj: Linear,
    sr: Option<Kernel>,
    norm: Option<LayerNorm>,
    #[module(skip)]
    heads: usize,
}

/// Two linear maps, between which each feature sees its neighbours.
#[derive(Module, Debug)]
struct SpatialMlp {
    fc1: Linear,
    dwconv: Kernel,
    fc2: Linear,
}

#[derive(Module, Debug)]
struct Kernel {
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    stride: usize,
    #[module(skip)]
    padding: usize,
    #[module(skip)]
    groups: usize,
}

impl Pvt {
    fn new(inputs: usize, device: &Device) -> Pvt {
        let stages = SCALES.iter().enumerate().map(|(k, &(channels, heads, reduction, ratio))| Stage {
            downsample: (k > 0).then(|| Patches::new(SCALES[k - 1].0, channels, 3, 2, device)),
            blocks: (0..LAYERS).map(|_| Layer::new(channels, heads, reduction, ratio, device)).collect(),
            norm: LayerNorm::new(channels, EPSILON, device),
        });
        Pvt { patch_embed: Patches::new(inputs, SCALES[0].0, 7, 4, device), stages: stages.collect() }
    }

    /// Maps at 1/4, 1/8, 1/16 and 1/32 of the input's size, `[batch, channel, y, x]`.
    fn forward(&self, input: Tensor<4>) -> Vec<Tensor<4>> {
        let mut scales: Vec<Tensor<4>> = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            let (tokens, size) = match (&stage.downsample, scales.last()) {
                (Some(patches), Some(finer)) => patches.forward(finer.clone()),
                _ => self.patch_embed.forward(input.clone()),
            };
            let tokens = stage.blocks.iter().fold(tokens, |x, layer| layer.forward(x, size));
            scales.push(to_map(stage.norm.forward(tokens), size));
        }
        scales
    }
}

impl Patches {
    fn new(inputs: usize, outputs: usize, kernel: usize, stride: usize, device: &Device) -> Patches {
        Patches {
            proj: Kernel::new([outputs, inputs, kernel, kernel], stride, kernel / 2, 1, device),
            norm: LayerNorm::new(outputs, EPSILON, device),
        }
    }

    /// Tokens `[batch, token, feature]` and the size of their map.
    fn forward(&self, input: Tensor<4>) -> (Tensor<3>, [usize; 2]) {
        let map = self.proj.forward(input);
        let [_, _, rows, cols] = map.dims();
        (self.norm.forward(to_tokens(map)), [rows, cols])
    }
}

impl Layer {
    fn new(features: usize, heads: usize, reduction: usize, ratio: usize, device: &Device) -> Layer {
        let (inner, reduced) = (features * ratio, reduction > 1);
        let sr = || Kernel::new([features, features, reduction, reduction], reduction, 0, 1, device);
        Layer {
            norm1: LayerNorm::new(features, EPSILON, device),
            attn: Attention {
                q: Linear::new(features, features, device),
                kv: Linear::new(features, 2 * features, device),
                proj: Linear::new(features, features, device),
                sr: reduced.then(sr),
                norm: reduced.then(|| LayerNorm::new(features, EPSILON, device)),
                heads,
            },
            norm2: LayerNorm::new(features, EPSILON, device),
            mlp: SpatialMlp {
                fc1: Linear::new(features, inner, device),
                dwconv: Kernel::new([inner, 1, 3, 3], 1, 1, inner, device),
                fc2: Linear::new(inner, features, device),
            },
        }
    }

    fn forward(&self, input: Tensor<3>, size: [usize; 2]) -> Tensor<3> {
        let x = input.clone() + self.attn.forward(self.norm1.forward(input), size);
        x.clone() + self.mlp.forward(self.norm2.forward(x), size)
    }
}

impl Attention {
    fn forward(&self, input: Tensor<3>, size: [usize; 2]) -> Tensor<3> {
        let features = input.dims()[2];
        let query = linear(&self.q, input.clone());
        let seen = match (&self.sr, &self.norm) {
            (Some(reduce), Some(norm)) => norm.forward(to_tokens(reduce.forward(to_map(input, size)))),
            _ => input,
        };
        let both = linear(&self.kv, seen);
        let (key, value) = (both.clone().narrow(2, 0, features), both.narrow(2, features, features));
        linear(&self.proj, attend(query, key, value, self.heads))
    }
}

impl SpatialMlp {
    fn forward(&self, input: Tensor<3>, size: [usize; 2]) -> Tensor<3> {
        let inner = to_map(linear(&self.fc1, input), size);
        linear(&self.fc2, gelu(to_tokens(self.dwconv.forward(inner))))
    }
}

impl Kernel {
    fn new(shape: [usize; 4], stride: usize, padding: usize, groups: usize, device: &Device) -> Kernel {
        let (weight, bias) = (init::zeros(shape, device), init::zeros([shape[0]], device));
        Kernel { weight, bias, stride, padding, groups }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        let options = ConvOptions::new(stride, padding, [1, 1], self.groups);
        conv2d(input, self.weight.val(), Some(self.bias.val()), options)
    }
}

/// `[batch, y * x, channel]` of `[batch, channel, y, x]`.
fn to_tokens(map: Tensor<4>) -> Tensor<3> {
    let [items, channels, rows, cols] = map.dims();
    map.reshape([items, channels, rows * cols]).swap_dims(1, 2)
}

fn to_map(tokens: Tensor<3>, [rows, cols]: [usize; 2]) -> Tensor<4> {
    let [items, _, channels] = tokens.dims();
    tokens.swap_dims(1, 2).reshape([items, channels, rows, cols])
}

/// Our name of a parameter of timm's `pvt_v2_b0`, whose stages are counted with a line.
pub(crate) fn published_name(name: &str) -> String {
    name.replace("stages_", "stages.")
}
