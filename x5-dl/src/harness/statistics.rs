//! What a forward pass leaves behind: the running statistics of batch normalisations.
//!
//! A pass returns predictions only, so a layer notes its new statistics here and the training loop takes them. Each
//! part of a batch runs in one thread, so the notes of a pass are those of its thread.

use std::cell::RefCell;

use burn::module::ParamId;
use ndarray::ArrayD;

use crate::harness::weights::Weights;

thread_local! {
    static NOTED: RefCell<Vec<(ParamId, ArrayD<f32>)>> = const { RefCell::new(Vec::new()) };
}

/// Endings of the names of arrays that no gradient moves.
const NAMES: [&str; 2] = ["running_mean", "running_var"];

/// Whether an array is a statistic and no parameter.
pub(crate) fn is_statistic(name: &str) -> bool {
    NAMES.iter().any(|end| name.ends_with(end))
}

/// Whether some array is one, so that the items that go through together are normalised together.
pub(crate) fn are_among(weights: &Weights) -> bool {
    weights.0.keys().any(|name| is_statistic(name))
}

/// Notes the new value of a statistic.
pub(crate) fn note(id: ParamId, value: ArrayD<f32>) {
    NOTED.with_borrow_mut(|noted| noted.push((id, value)));
}

/// Takes what this thread noted.
pub(crate) fn take() -> Vec<(ParamId, ArrayD<f32>)> {
    NOTED.take()
}
