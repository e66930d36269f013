//! What transformers are made of (Vaswani et al. 2017, <https://doi.org/10.48550/arXiv.1706.03762>), before the sums:
//! normalisation of the features, attention, two linear maps.

use burn::module::{Module, Param};
use burn::tensor::activation::{gelu, softmax};
use burn::tensor::{Device, Tensor};

use crate::model::init;
use crate::model::rnn::Linear;

/// Normalises the features of each token to mean 0 and variance 1, then scales them.
#[derive(Module, Debug)]
pub(crate) struct LayerNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    epsilon: f64,
}

impl LayerNorm {
    pub(crate) fn new(features: usize, epsilon: f64, device: &Device) -> LayerNorm {
        let zeros = || init::zeros([features], device);
        LayerNorm { weight: zeros(), bias: zeros(), epsilon }
    }

    /// `[batch, token, feature]`
    pub(crate) fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        let (variance, mean) = input.clone().var_mean_bias(2);
        let normal = (input - mean) / (variance + self.epsilon).sqrt();
        normal * self.weight.val().unsqueeze() + self.bias.val().unsqueeze()
    }
}

/// A linear map of each token's features, `[batch, token, feature]`.
pub(crate) fn linear(layer: &Linear, input: Tensor<3>) -> Tensor<3> {
    let [items, tokens, features] = input.dims();
    let out = layer.forward(input.reshape([items * tokens, features]));
    let width = out.dims()[1];
    out.reshape([items, tokens, width])
}

/// Two linear maps with a GELU between them.
#[derive(Module, Debug)]
pub(crate) struct Mlp {
    fc1: Linear,
    fc2: Linear,
}

impl Mlp {
    pub(crate) fn new(inputs: usize, hidden: usize, outputs: usize, device: &Device) -> Mlp {
        Mlp { fc1: Linear::new(inputs, hidden, device), fc2: Linear::new(hidden, outputs, device) }
    }

    /// `[batch, token, feature]`
    pub(crate) fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        linear(&self.fc2, gelu(linear(&self.fc1, input)))
    }
}

/// Attention of queries `[batch, token, feature]` to keys and values `[batch, other token, feature]`, each head with
/// its own features.
pub(crate) fn attend(query: Tensor<3>, key: Tensor<3>, value: Tensor<3>, heads: usize) -> Tensor<3> {
    let [items, tokens, features] = query.dims();
    let size = features / heads;
    let split = |x: Tensor<3>| {
        let count = x.dims()[1];
        x.reshape([items, count, heads, size]).swap_dims(1, 2)
    };
    let scores = split(query).matmul(split(key).swap_dims(2, 3)) / (size as f64).sqrt();
    let mixed = softmax(scores, 3).matmul(split(value));
    mixed.swap_dims(1, 2).reshape([items, tokens, features])
}

/// A layer of a transformer whose tokens see each other.
#[derive(Module, Debug)]
pub(crate) struct Block {
    norm1: LayerNorm,
    attn: SelfAttention,
    norm2: LayerNorm,
    mlp: Mlp,
}

#[derive(Module, Debug)]
struct SelfAttention {
    qkv: Linear,
    proj: Linear,
    #[module(skip)]
    heads: usize,
}

impl Block {
    /// With inner maps of four times the features.
    pub(crate) fn new(features: usize, heads: usize, device: &Device) -> Block {
        Block {
            norm1: LayerNorm::new(features, 1e-5, device),
            attn: SelfAttention {
                qkv: Linear::new(features, 3 * features, device),
                proj: Linear::new(features, features, device),
                heads,
            },
            norm2: LayerNorm::new(features, 1e-5, device),
            mlp: Mlp::new(features, 4 * features, features, device),
        }
    }

    /// `[batch, token, feature]`
    pub(crate) fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        let x = input.clone() + self.attn.forward(self.norm1.forward(input));
        x.clone() + self.mlp.forward(self.norm2.forward(x))
    }
}

impl SelfAttention {
    fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        let features = input.dims()[2];
        let all = linear(&self.qkv, input);
        let part = |k: usize| all.clone().narrow(2, k * features, features);
        linear(&self.proj, attend(part(0), part(1), part(2), self.heads))
    }
}
