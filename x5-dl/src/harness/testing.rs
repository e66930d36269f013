//! Reading golden vectors and comparing with them.

use ndarray::{ArrayD, IxDyn};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::harness::backend;
use crate::harness::gradient::{self, Answer, Examples, Loss, Network};
use crate::harness::weights::{self, Weights};
use crate::model::Model;

/// Tensors of one golden case; `tests/data/README.md` says what the names mean.
pub(crate) struct Golden(Weights);

pub(crate) fn golden(case: &str) -> Golden {
    let path = minicube::testing::own_file(&format!("tests/data/{case}.safetensors"));
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

/// Numbers in -1..1.
pub(crate) fn numbers(shape: &[usize], seed: u64) -> ArrayD<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    ArrayD::from_shape_simple_fn(IxDyn(shape), || rng.random_range(-1.0..1.0f32))
}

/// Loss and gradient, computed in a pool of so many threads.
pub(crate) fn on_threads(
    threads: usize,
    network: &dyn Network,
    weights: &Weights,
    examples: &Examples,
    loss: Loss,
) -> Answer {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| gradient::loss_and_gradient(network, weights, examples, loss).unwrap())
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

/// Fails unless a network gives a case's `out.pred` from its `w.*` and the named inputs, and the gradients `grad.*`
/// of the sum of squares of its predictions.
pub(crate) fn matches(network: &dyn Network, golden: &Golden, inputs: &[&str]) {
    compare(network, golden, inputs, (2e-6, 1e-5), |name| name.to_owned());
}

/// The same, where the case has the names of published checkpoints; of networks with normalisations, whose divisions
/// make rounding errors larger.
pub(crate) fn matches_named<M: Model>(network: &M, golden: &Golden, inputs: &[&str]) {
    compare(network, golden, inputs, (1e-5, 1e-4), |name| M::published_name(name).unwrap());
}

fn compare(
    network: &dyn Network,
    golden: &Golden,
    inputs: &[&str],
    tolerance: (f32, f32),
    own: impl Fn(&str) -> String,
) {
    let named = |weights: Weights| Weights(weights.0.into_iter().map(|(k, v)| (own(&k), v)).collect());
    let (weights, expected) = (named(golden.weights()), named(golden.gradients()));
    let inputs: Vec<ArrayD<f32>> = inputs.iter().map(|name| golden.input(name)).collect();
    let device = backend::device();
    let found = network.loaded(&weights, &device).unwrap().predict(&inputs, &device);
    close(&weights::to_array(found), &rows(golden.output("pred")), tolerance.0);

    let device = backend::training_device();
    let network = network.loaded(&weights, &device).unwrap();
    let gradients = network.predict(&inputs, &device).powi_scalar(2).sum().backward();
    let found = network.gradients(&gradients);
    assert_eq!(found.0.keys().collect::<Vec<_>>(), expected.0.keys().collect::<Vec<_>>());
    for (name, gradient) in &expected.0 {
        close_relative(&found.0[name], gradient, tolerance.1);
    }
}

/// Values by a formula of their place in the order of names, which PyTorch had too; `tests/data/README.md` tells it.
pub(crate) fn by_formula(shapes: &Weights) -> Weights {
    let mut k = 0u64;
    let mut next = || {
        let value = (k.wrapping_mul(2_654_435_761) & 0xffff_ffff) as f64 / 4_294_967_296.0 - 0.5;
        k += 1;
        value
    };
    let filled = shapes.0.iter().map(|(name, array)| {
        let fan = array.shape().iter().skip(1).product::<usize>().max(1) as f64;
        let value = |u: f64| match name {
            name if name.ends_with("running_var") => 1.0 + u,
            name if name.ends_with("running_mean") || name.ends_with("bias") => 0.2 * u,
            _ if array.ndim() == 1 => 1.0 + 0.5 * u,
            _ => 1.5 * u * (12.0 / fan).sqrt(),
        };
        (name.clone(), array.map(|_| value(next()) as f32))
    });
    Weights(filled.collect())
}
