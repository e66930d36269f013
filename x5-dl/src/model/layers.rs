//! Layers that several networks are made of; names and shapes of parameters are PyTorch's.

use burn::module::{Module, Param};
use burn::tensor::module::conv2d;
use burn::tensor::ops::{ConvOptions, PadMode};
use burn::tensor::{Device, Tensor};
use ndarray::{Array3, Array5, ArrayD, Axis};

use crate::harness::weights;
use crate::model::init;

/// A convolution with a square kernel whose output has the size of its input.
#[derive(Module, Debug)]
pub(crate) struct Conv {
    /// `[out, in, kernel, kernel]`
    pub(crate) weight: Param<Tensor<4>>,
    pub(crate) bias: Option<Param<Tensor<1>>>,
}

/// Hidden and cell state of a recurrent cell, `[batch, hidden, y, x]`.
pub(crate) type State = (Tensor<4>, Tensor<4>);

impl Conv {
    /// A convolution with a bias.
    pub(crate) fn new(inputs: usize, outputs: usize, kernel: usize, device: &Device) -> Conv {
        let bias = Some(init::zeros([outputs], device));
        Conv { weight: init::zeros([outputs, inputs, kernel, kernel], device), bias }
    }

    /// A convolution without bias.
    pub(crate) fn unbiased(inputs: usize, outputs: usize, kernel: usize, device: &Device) -> Conv {
        Conv { bias: None, ..Conv::new(inputs, outputs, kernel, device) }
    }

    /// Zeros beyond the edge.
    pub(crate) fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let half = self.weight.dims()[2] / 2;
        self.convolve(input, half)
    }

    /// The image mirrored beyond its edge, the edge itself not repeated; images of at least half a kernel.
    pub(crate) fn forward_reflected(&self, input: Tensor<4>) -> Tensor<4> {
        let half = self.weight.dims()[2] / 2;
        self.convolve(input.pad((half, half, half, half), PadMode::Reflect), 0)
    }

    fn convolve(&self, input: Tensor<4>, padding: usize) -> Tensor<4> {
        let options = ConvOptions::new([1, 1], [padding, padding], [1, 1], 1);
        conv2d(input, self.weight.val(), self.bias.as_ref().map(Param::val), options)
    }
}

/// Step `step` of `[batch, step, channel, y, x]`.
pub(crate) fn frame(frames: &Tensor<5>, step: usize) -> Tensor<4> {
    frames.clone().narrow(1, step, 1).squeeze_dim(1)
}

/// States of zeros for cells of these sizes, on the grid of `like` (`[batch, channel, y, x]`).
pub(crate) fn zero_states(sizes: impl Iterator<Item = usize>, like: &Tensor<4>) -> Vec<State> {
    let [batch, _, rows, cols] = like.dims();
    sizes
        .map(|hidden| {
            let zero = Tensor::zeros([batch, hidden, rows, cols], &like.device());
            (zero.clone(), zero)
        })
        .collect()
}

/// Frames `[batch, channel, y, x]` of the target steps as rows `[batch, step * channel * y * x]`.
pub(crate) fn frames_to_rows(frames: Vec<Tensor<4>>) -> Tensor<2> {
    let frames: Tensor<5> = Tensor::stack(frames, 1);
    let [batch, steps, channels, rows, cols] = frames.dims();
    frames.reshape([batch, steps * channels * rows * cols])
}

/// Normalises groups of channels of each item to mean 0 and variance 1, then scales each channel (Wu & He 2018,
/// <https://doi.org/10.48550/arXiv.1803.08494>).
#[derive(Module, Debug)]
pub(crate) struct GroupNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    groups: usize,
}

impl GroupNorm {
    /// Of `groups` groups, or of the largest smaller number of them that divides the channels.
    pub(crate) fn new(groups: usize, channels: usize, device: &Device) -> GroupNorm {
        let groups = (1..=groups).rev().find(|&n| channels.is_multiple_of(n)).unwrap_or(1);
        GroupNorm { weight: init::zeros([channels], device), bias: init::zeros([channels], device), groups }
    }

    pub(crate) fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let shape @ [items, channels, rows, cols] = input.dims();
        let groups: Tensor<3> = input.reshape([items, self.groups, channels / self.groups * rows * cols]);
        let (variance, mean) = groups.clone().var_mean_bias(2);
        let normal = (groups - mean) / (variance + EPSILON).sqrt();
        scale(normal.reshape(shape), &self.weight, &self.bias)
    }
}

/// Added to a variance before its root is taken, as in PyTorch.
pub(crate) const EPSILON: f64 = 1e-5;

/// Each channel times its weight, plus its bias.
pub(crate) fn scale(input: Tensor<4>, weight: &Param<Tensor<1>>, bias: &Param<Tensor<1>>) -> Tensor<4> {
    let [channels] = weight.dims();
    let each = |values: &Param<Tensor<1>>| values.val().reshape([1, channels, 1, 1]);
    input * each(weight) + each(bias)
}

/// Each pixel as 2 × 2 pixels.
pub(crate) fn double(input: Tensor<4>) -> Tensor<4> {
    let [items, channels, rows, cols] = input.dims();
    let wide: Tensor<6> = input.reshape([items, channels, rows, 1, cols, 1]);
    wide.expand([items, channels, rows, 2, cols, 2]).reshape([items, channels, 2 * rows, 2 * cols])
}

/// Repeats the last row and column until both sizes are multiples of `side`.
pub(crate) fn pad_to(frames: Tensor<4>, side: usize) -> Tensor<4> {
    let [_, _, rows, cols] = frames.dims();
    let more = |size: usize| size.next_multiple_of(side) - size;
    if (more(rows), more(cols)) == (0, 0) {
        return frames;
    }
    frames.pad((0, more(cols), 0, more(rows)), PadMode::Edge)
}

/// The first rows and columns.
pub(crate) fn cut_to(frames: Tensor<4>, rows: usize, cols: usize) -> Tensor<4> {
    frames.narrow(2, 0, rows).narrow(3, 0, cols)
}

/// The last observed value of each pixel, `[batch, channel, y, x]`; where there is none, the last value.
///
/// # Shapes
/// - `context`: `[batch, context, channel, y, x]`
/// - `masked`: `[batch, context, 1, y, x]`, 1 where the context is not observed
pub(crate) fn last_clear(context: &Tensor<5>, masked: &ArrayD<f32>) -> Tensor<4> {
    let [items, steps, rows, cols] = [0, 1, 3, 4].map(|axis| masked.len_of(Axis(axis)));
    let clear = Array3::from_shape_fn((items, rows, cols), |(b, y, x)| {
        (0..steps).rev().find(|&t| masked[[b, t, 0, y, x]] == 0.0).unwrap_or(steps - 1)
    });
    let chosen = Array5::from_shape_fn((items, steps, 1, rows, cols), |(b, t, _, y, x)| {
        f32::from(u8::from(clear[[b, y, x]] == t))
    });
    let chosen: Tensor<5> = weights::from_array(&chosen.into_dyn(), &context.device());
    (context.clone() * chosen).sum_dim(1).squeeze_dim(1)
}
