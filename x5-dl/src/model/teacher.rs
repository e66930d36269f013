//! Observed frames in place of forecast ones, for networks that go on from their own frames; in training only.

use burn::tensor::{Device, Tensor};
use ndarray::ArrayD;

use crate::harness::weights;
use crate::model::layers::frame;

/// Frames of the target steps, and where they are fed.
pub(crate) struct Teacher {
    /// `[batch, target, channel, y, x]`
    truth: Tensor<5>,
    /// `[batch, target, 1, y, x]`, 1 or 0
    told: Tensor<5>,
}

impl Teacher {
    /// The two inputs after the four of `prepare::frame_inputs`, where they are there.
    pub(crate) fn of(inputs: &[ArrayD<f32>], device: &Device) -> Option<Teacher> {
        let (truth, told) = inputs.get(4).zip(inputs.get(5))?;
        Some(Teacher { truth: weights::from_array(truth, device), told: weights::from_array(told, device) })
    }

    /// The same frames of another size.
    pub(crate) fn map(self, change: impl Fn(Tensor<5>) -> Tensor<5>) -> Teacher {
        Teacher { truth: change(self.truth), told: change(self.told) }
    }

    /// The observed frame of a target step.
    pub(crate) fn frame(&self, step: usize) -> Tensor<4> {
        frame(&self.truth, step)
    }
}

/// What is fed after the forecast frame `own` `[batch, channel, y, x]` of a target step.
pub(crate) fn fed(teacher: Option<&Teacher>, own: &Tensor<4>, step: usize) -> Tensor<4> {
    let Some(Teacher { truth, told }) = teacher else { return own.clone() };
    let told = frame(told, step);
    own.clone() * (told.clone().neg() + 1.0) + frame(truth, step) * told
}
