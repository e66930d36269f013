//! Reading golden vectors and comparing with them.

use std::path::Path;

use ndarray::{ArrayD, IxDyn};

use crate::harness::weights::Weights;

/// Tensors of one golden case; `tests/data/README.md` says what the names mean.
pub(crate) struct Golden(Weights);

pub(crate) fn golden(case: &str) -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/{case}.safetensors"));
    Golden(Weights::read(&path).unwrap())
}

impl Golden {
    pub(crate) fn strip(&self, prefix: &str) -> Weights {
        self.0.strip(prefix)
    }

    pub(crate) fn weights(&self) -> Weights {
        self.strip("w.")
    }

    pub(crate) fn gradients(&self) -> Weights {
        self.strip("grad.")
    }

    pub(crate) fn input(&self, name: &str) -> ArrayD<f32> {
        self.0.0[&format!("in.{name}")].clone()
    }

    pub(crate) fn output(&self, name: &str) -> ArrayD<f32> {
        self.0.0[&format!("out.{name}")].clone()
    }

    pub(crate) fn input_gradient(&self, name: &str) -> ArrayD<f32> {
        self.0.0[&format!("gradin.{name}")].clone()
    }
}

/// `[item, …]` as `[item, value]`.
pub(crate) fn rows(array: ArrayD<f32>) -> ArrayD<f32> {
    let (items, values) = (array.shape()[0], array.len() / array.shape()[0]);
    array.into_shape_with_order(IxDyn(&[items, values])).unwrap()
}

pub(crate) fn close(found: &ArrayD<f32>, expected: &ArrayD<f32>, tolerance: f32) {
    assert_eq!(found.shape(), expected.shape());
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance, "largest difference {worst}, allowed {tolerance}");
}

/// Difference relative to the largest entry.
pub(crate) fn close_relative(found: &ArrayD<f32>, expected: &ArrayD<f32>, tolerance: f32) {
    let largest = expected.iter().map(|v| v.abs()).fold(0.0, f32::max);
    close(found, expected, tolerance * largest);
}

pub(crate) fn close_gradients(found: &Weights, expected: &Weights) {
    assert_eq!(found.0.keys().collect::<Vec<_>>(), expected.0.keys().collect::<Vec<_>>());
    for (name, gradient) in &expected.0 {
        close_relative(&found.0[name], gradient, 1e-5);
    }
}
