//! A feature pyramid (Kirillov et al. 2019, <https://doi.org/10.1109/CVPR.2019.00656>) on an EfficientNet: maps of the
//! input's size that have seen their surroundings at four scales.
//!
//! The layout is that of `FPN` of segmentation_models_pytorch, the four scales put side by side, without dropout.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};

use crate::model::efficientnet::EfficientNet;
use crate::model::layers::{Conv, GroupNorm, double};

/// Channels of the pyramid.
const PYRAMID: usize = 256;
/// Channels that each scale contributes.
const SEGMENTATION: usize = 128;
/// Groups of a normalisation.
const GROUPS: usize = 32;
/// The coarsest scale has 1 / SIDE of the input's size; inputs are multiples of it.
pub(crate) const SIDE: usize = 32;

/// Encoder, pyramid and head.
#[derive(Module, Debug)]
pub(crate) struct Fpn {
    encoder: EfficientNet,
    decoder: Pyramid,
    segmentation_head: Conv,
}

#[derive(Module, Debug)]
struct Pyramid {
    p5: Conv,
    p4: Skip,
    p3: Skip,
    p2: Skip,
    /// Of the coarsest scale first.
    seg_blocks: Vec<Vec<Segment>>,
}

#[derive(Module, Debug)]
struct Skip {
    skip_conv: Conv,
}

#[derive(Module, Debug)]
struct Segment {
    conv: Conv,
    norm: GroupNorm,
}

impl Fpn {
    /// On an EfficientNet of a width and a depth in percent of the smallest one.
    pub(crate) fn new(inputs: usize, outputs: usize, percent: (usize, usize), device: &Device) -> Fpn {
        let [_, c2, c3, c4, c5] = EfficientNet::channels(percent.0);
        let skip = |channels| Skip { skip_conv: Conv::new(channels, PYRAMID, 1, device) };
        let segment = |k: usize| Segment {
            conv: Conv::unbiased(if k == 0 { PYRAMID } else { SEGMENTATION }, SEGMENTATION, 3, device),
            norm: GroupNorm::new(GROUPS, SEGMENTATION, device),
        };
        Fpn {
            encoder: EfficientNet::new(inputs, percent, device),
            decoder: Pyramid {
                p5: Conv::new(c5, PYRAMID, 1, device),
                p4: skip(c4),
                p3: skip(c3),
                p2: skip(c2),
                seg_blocks: [3, 2, 1, 1].map(|n| (0..n).map(segment).collect()).into(),
            },
            segmentation_head: Conv::new(4 * SEGMENTATION, outputs, 1, device),
        }
    }

    /// `[batch, output, y, x]` from `[batch, input, y, x]`, whose sizes are multiples of [`SIDE`].
    pub(crate) fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let scales = self.encoder.forward(input);
        stretch(self.segmentation_head.forward(self.decoder.forward(&scales)), 4)
    }
}

impl Pyramid {
    fn forward(&self, scales: &[Tensor<4>]) -> Tensor<4> {
        let at = |k: usize| scales[k + 1].clone();
        let p5 = self.p5.forward(at(3));
        let p4 = double(p5.clone()) + self.p4.skip_conv.forward(at(2));
        let p3 = double(p4.clone()) + self.p3.skip_conv.forward(at(1));
        let p2 = double(p3.clone()) + self.p2.skip_conv.forward(at(0));
        let maps = [p5, p4, p3, p2].into_iter().enumerate().map(|(k, map)| {
            let finest = k == 3;
            self.seg_blocks[k].iter().fold(map, |x, segment| {
                let x = relu(segment.norm.forward(segment.conv.forward(x)));
                if finest { x } else { stretch(x, 2) }
            })
        });
        Tensor::cat(maps.collect(), 1)
    }
}

/// Maps `factor` times as large, linear between the pixels' centres, the corners staying what they are.
pub(crate) fn stretch(input: Tensor<4>, factor: usize) -> Tensor<4> {
    let [items, channels, rows, cols] = input.dims();
    let device = input.device();
    let wide = input.reshape([items * channels * rows, cols]).matmul(between(cols, factor, &device));
    let turned: Tensor<3> = wide.reshape([items * channels, rows, cols * factor]).swap_dims(1, 2);
    let high =
        turned.reshape([items * channels * cols * factor, rows]).matmul(between(rows, factor, &device));
    let turned: Tensor<3> = high.reshape([items * channels, cols * factor, rows * factor]);
    turned.swap_dims(1, 2).reshape([items, channels, rows * factor, cols * factor])
}

/// `[size, size * factor]`: what each pixel contributes to each of the pixels between.
fn between(size: usize, factor: usize, device: &Device) -> Tensor<2> {
    let wide = size * factor;
    let mut values = vec![0.0f32; size * wide];
    for k in 0..wide {
        let place = if wide > 1 { (k * (size - 1)) as f64 / (wide - 1) as f64 } else { 0.0 };
        let low = (place as usize).min(size - 1);
        let part = (place - low as f64) as f32;
        values[low * wide + k] += 1.0 - part;
        if part > 0.0 {
            values[(low + 1) * wide + k] += part;
        }
    }
    Tensor::from_data(TensorData::new(values, [size, wide]), device)
}

/// Our name of a parameter of segmentation_models_pytorch's `FPN`; none for its unused last convolution.
pub(crate) fn published_name(name: &str) -> Option<String> {
    if name.starts_with("encoder.conv_head.") || name.starts_with("encoder.bn2.") {
        return None;
    }
    let name = name.replace("segmentation_head.0.", "segmentation_head.");
    let Some((head, rest)) = name.split_once("seg_blocks.") else { return Some(name) };
    let parts: Vec<&str> = rest.split('.').collect();
    let [scale, "block", block, "block", layer, kind] = parts.as_slice() else { return Some(name) };
    let layer = if *layer == "0" { "conv" } else { "norm" };
    Some(format!("{head}seg_blocks.{scale}.{block}.{layer}.{kind}"))
}

/// The inverse of [`published_name`].
pub(crate) fn exported_name(own: &str) -> String {
    let name = own.replace("segmentation_head.", "segmentation_head.0.");
    let Some((head, rest)) = name.split_once("seg_blocks.") else { return name };
    let parts: Vec<&str> = rest.split('.').collect();
    let [scale, block, layer, kind] = parts.as_slice() else { return name };
    let layer = if *layer == "conv" { "0" } else { "1" };
    format!("{head}seg_blocks.{scale}.block.{block}.block.{layer}.{kind}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::weights;
    use crate::harness::{backend, statistics, testing};

    #[test]
    fn a_narrow_pyramid_matches_segmentation_models_pytorch() {
        let golden = testing::golden("fpn");
        let input = golden.input("x");
        let net = |device: &Device| {
            let zero = Fpn::new(3, 4, (25, 50), device);
            weights::load(zero.clone(), &testing::by_formula(&weights::collect(&zero)), device).unwrap()
        };
        let device = backend::device();
        let found = net(&device).forward(weights::from_array(&input, &device));
        testing::close_relative(&weights::to_array(found), &golden.output("eval"), 2e-5);

        // In training the batch is normalised by itself, and the running statistics move.
        let device = backend::training_device();
        let net = net(&device);
        statistics::take();
        let found = net.forward(weights::from_array(&input, &device));
        testing::close_relative(&weights::to_array(found.clone()), &golden.output("train"), 1e-4);
        let moved = weights::collect_statistics(&net);
        for (name, expected) in &golden.strip("moved.").0 {
            testing::close_relative(&moved.0[name], expected, 1e-4);
        }
        let gradients = found.powi_scalar(2).mean().backward();
        let gradients = weights::collect_gradients(&net, &gradients);
        for (name, expected) in &golden.gradients().0 {
            testing::close_relative(&gradients.0[name], expected, 2e-3);
        }
    }

    #[test]
    fn b3_has_the_parameters_of_segmentation_models_pytorch() {
        let all = weights::collect(&Fpn::new(30, 256, (120, 140), &backend::device()));
        let count: usize =
            all.0.iter().filter(|(name, _)| !statistics::is_statistic(name)).map(|(_, a)| a.len()).sum();
        // 12 615 712 of the original, of which 592 896 are of its unused last convolution.
        assert_eq!(count, 12_615_712 - 592_896);
    }

    #[test]
    fn names_of_segmentation_models_pytorch() {
        let own = |name: &str| published_name(name);
        let is = |name: &str| Some(name.to_owned());
        assert_eq!(own("decoder.seg_blocks.0.block.2.block.1.bias"), is("decoder.seg_blocks.0.2.norm.bias"));
        assert_eq!(own("segmentation_head.0.weight"), is("segmentation_head.weight"));
        assert_eq!(own("encoder.blocks.1.0.bn2.weight"), is("encoder.blocks.1.0.bn2.weight"));
        assert_eq!(own("encoder.bn2.weight"), None);
    }
}
