//! The U-Net of the next-frame and next-cuboid models: residual convolutions of one width at every scale, patches of
//! 2 × 2 pixels merged on the way down, pixels doubled on the way up, skips added.

use burn::module::Module;
use burn::tensor::activation::{leaky_relu, tanh};
use burn::tensor::{Device, Tensor};

use crate::config::ModelConfig;
use crate::model::film::SLOPE;
use crate::model::layers::{Conv, GroupNorm, double};

/// Groups of a normalisation.
const GROUPS: usize = 16;

/// The way down.
#[derive(Module, Debug)]
pub(crate) struct Encoder {
    layers: Vec<Block>,
    downsamplers: Vec<Merge>,
    last_layer: Conv,
    last_norm: GroupNorm,
}

/// The way up.
#[derive(Module, Debug)]
pub(crate) struct Decoder {
    layers: Vec<Block>,
    last_layer: Conv,
    last_norm: GroupNorm,
    readout: Conv,
}

#[derive(Module, Debug)]
struct Block {
    conv: Conv,
    norm: GroupNorm,
}

/// Four neighbours become one pixel.
#[derive(Module, Debug)]
struct Merge {
    norm: GroupNorm,
    reduction: Conv,
}

impl Encoder {
    /// `depth` halvings; `width` channels at every scale.
    pub(crate) fn new(inputs: usize, width: usize, depth: usize, kernel: usize, device: &Device) -> Encoder {
        let block = |i: usize| Block::new(if i == 0 { inputs } else { width }, width, kernel, device);
        Encoder {
            layers: (0..depth).map(block).collect(),
            downsamplers: (0..depth).map(|_| Merge::new(width, device)).collect(),
            last_layer: Conv::unbiased(width, width, kernel, device),
            last_norm: GroupNorm::new(GROUPS, width, device),
        }
    }

    /// The scales from the finest to the coarsest, `[batch, width, y, x]`, whose sizes halve.
    pub(crate) fn forward(&self, input: Tensor<4>) -> Vec<Tensor<4>> {
        let mut scales = Vec::with_capacity(self.layers.len() + 1);
        let mut x = input;
        for (i, (layer, merge)) in self.layers.iter().zip(&self.downsamplers).enumerate() {
            x = if i == 0 { layer.forward(x) } else { x.clone() + layer.forward(x) };
            scales.push(x.clone());
            x = merge.forward(x);
        }
        x = x.clone() + self.last_layer.forward(x);
        scales.push(leaky_relu(self.last_norm.forward(x), SLOPE));
        scales
    }
}

impl Decoder {
    /// As many doublings as the encoder has halvings.
    pub(crate) fn new(width: usize, outputs: usize, depth: usize, kernel: usize, device: &Device) -> Decoder {
        Decoder {
            layers: (0..depth).map(|_| Block::new(width, width, kernel, device)).collect(),
            last_layer: Conv::unbiased(width, width, kernel, device),
            last_norm: GroupNorm::new(GROUPS, width, device),
            readout: Conv::unbiased(width, outputs, 1, device),
        }
    }

    /// `[batch, output, y, x]` in -1..1, from the coarsest scale and the skips of all, the finest first.
    pub(crate) fn forward(&self, coarsest: Tensor<4>, skips: &[Tensor<4>]) -> Tensor<4> {
        let mut x = coarsest;
        for (layer, skip) in self.layers.iter().zip(skips.iter().rev()) {
            x = x + skip.clone();
            x = double(x.clone() + layer.forward(x));
        }
        x = x + skips[0].clone();
        x = x.clone() + self.last_layer.forward(x);
        tanh(self.readout.forward(leaky_relu(self.last_norm.forward(x), SLOPE)))
    }
}

impl Block {
    fn new(inputs: usize, outputs: usize, kernel: usize, device: &Device) -> Block {
        Block {
            conv: Conv::unbiased(inputs, outputs, kernel, device),
            norm: GroupNorm::new(GROUPS, outputs, device),
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        leaky_relu(self.norm.forward(self.conv.forward(input)), SLOPE)
    }
}

impl Merge {
    fn new(width: usize, device: &Device) -> Merge {
        Merge {
            norm: GroupNorm::new(GROUPS, 4 * width, device),
            reduction: Conv::unbiased(4 * width, width, 1, device),
        }
    }

    /// Channel 4 c + 2 dy + dx is channel c of the pixel at (dy, dx) of each patch.
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let [items, channels, rows, cols] = input.dims();
        let patches: Tensor<6> = input.reshape([items, channels, rows / 2, 2, cols / 2, 2]);
        let merged = patches.permute([0, 1, 3, 5, 2, 4]).reshape([items, 4 * channels, rows / 2, cols / 2]);
        self.reduction.forward(self.norm.forward(merged))
    }
}

/// What is wrong with the configuration of a U-Net.
pub(crate) fn problems(config: &ModelConfig) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let sizes = config.hidden.as_ref().map_or(1, Vec::len);
    if sizes != 1 {
        found.push(("hidden", format!("this model has one size, found {sizes}")));
    }
    let depth = config.depth.unwrap_or(5);
    if !(1..=8).contains(&depth) {
        found.push(("depth", format!("expected 1 to 8 halvings, found {depth}")));
    }
    found
}

/// Our name of a parameter of a published checkpoint of earthnet-models-pytorch.
pub(crate) fn published_name(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.strip_prefix("model.").unwrap_or(name).split('.').collect();
    let own = |i: usize, part: &str| {
        let in_sequence = i >= 2 && parts[i - 2] == "layers";
        match part {
            "0" if in_sequence => Some("conv"),
            "1" if in_sequence => Some("norm"),
            "0" if i >= 1 && parts[i - 1] == "last_layer" => None,
            "FiLM" => Some("film"),
            _ => Some(parts[i]),
        }
    };
    let named: Vec<&str> = parts.iter().enumerate().filter_map(|(i, part)| own(i, part)).collect();
    Some(named.join("."))
}

/// The inverse of [`published_name`].
pub(crate) fn exported_name(own: &str) -> String {
    let parts: Vec<&str> = own.split('.').collect();
    let mut named = vec!["model"];
    for (i, part) in parts.iter().enumerate() {
        let in_sequence = i >= 2 && parts[i - 2] == "layers";
        named.push(match *part {
            "conv" if in_sequence => "0",
            "norm" if in_sequence => "1",
            "film" => "FiLM",
            part => part,
        });
        if *part == "last_layer" {
            named.push("0");
        }
    }
    named.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_published_checkpoints() {
        let own = |name: &str| published_name(name).unwrap();
        assert_eq!(own("model.enc.layers.2.0.weight"), "enc.layers.2.conv.weight");
        assert_eq!(own("model.dec.layers.0.1.bias"), "dec.layers.0.norm.bias");
        assert_eq!(own("model.enc.last_layer.0.weight"), "enc.last_layer.weight");
        assert_eq!(
            own("conditioning_layers.1.FiLM.beta.conv1.weight"),
            "conditioning_layers.1.film.beta.conv1.weight"
        );
    }
}
