//! Batch normalisation (Ioffe & Szegedy 2015, <https://doi.org/10.48550/arXiv.1502.03167>).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use ndarray::ArrayD;

use crate::harness::{statistics, weights};
use crate::model::init;
use crate::model::layers::{EPSILON, scale};

/// Part of the running statistics that each batch replaces.
const MOMENTUM: f32 = 0.1;

/// Normalises each channel over the batch where gradients are recorded, else by the running statistics. A batch is
/// what one thread computes, as it is what one GPU computes in PyTorch.
#[derive(Module, Debug)]
pub(crate) struct BatchNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    running_mean: Param<Tensor<1>>,
    running_var: Param<Tensor<1>>,
}

impl BatchNorm {
    pub(crate) fn new(channels: usize, device: &Device) -> BatchNorm {
        let zeros = || init::zeros([channels], device);
        BatchNorm { weight: zeros(), bias: zeros(), running_mean: zeros(), running_var: zeros() }
    }

    /// `[batch, channel, y, x]`
    pub(crate) fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let [items, channels, rows, cols] = input.dims();
        let each = |values: Tensor<1>| values.reshape([1, channels, 1, 1]);
        let (mean, variance) = if self.weight.val().device().is_autodiff() {
            let count = items * rows * cols;
            let values = input.clone().swap_dims(0, 1).reshape([channels, count]);
            let (variance, mean) = values.var_mean_bias(1);
            let (mean, variance) = (mean.reshape([channels]), variance.reshape([channels]));
            let unbiased = count as f32 / (count.max(2) - 1) as f32;
            renew(&self.running_mean, weights::to_array(mean.clone().detach()));
            renew(&self.running_var, weights::to_array(variance.clone().detach()) * unbiased);
            (mean, variance)
        } else {
            (self.running_mean.val(), self.running_var.val())
        };
        let normal = (input - each(mean)) / (each(variance) + EPSILON).sqrt();
        scale(normal, &self.weight, &self.bias)
    }
}

fn renew(statistic: &Param<Tensor<1>>, batch: ArrayD<f32>) {
    let before = weights::to_array(statistic.val().detach());
    statistics::note(statistic.id, before * (1.0 - MOMENTUM) + batch * MOMENTUM);
}
