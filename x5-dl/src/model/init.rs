//! Parameters that begin as PyTorch's do, from a seed.

use burn::module::Param;
use burn::tensor::{Device, Tensor};
use ndarray::ArrayD;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::harness::weights::Weights;

/// A parameter of zeros, to be filled by [`uniform`] or from a file.
pub(crate) fn zeros<const D: usize>(shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    Param::from_tensor(Tensor::zeros(shape, device))
}

/// Fills every parameter from U(-b, b), b = 1/√fan, drawn in name order; `fan` gives the fan of a named
/// parameter from its shape (a bias has that of its weight).
pub(crate) fn uniform(zeros: Weights, seed: u64, fan: impl Fn(&str, &Weights) -> usize) -> Weights {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let drawn = zeros.0.iter().map(|(name, array)| {
        let bound = 1.0 / (fan(name, &zeros).max(1) as f32).sqrt();
        let filled = ArrayD::from_shape_simple_fn(array.raw_dim(), || rng.random_range(-bound..bound));
        (name.clone(), filled)
    });
    Weights(drawn.collect())
}

/// Inputs of one output of the layer a parameter belongs to: the product of its weight's axes after the first.
pub(crate) fn fan_in(name: &str, weights: &Weights) -> usize {
    let weight = name.strip_suffix("bias").map_or(name.to_owned(), |layer| format!("{layer}weight"));
    weights.0.get(&weight).map_or(1, |w| w.shape().iter().skip(1).product())
}
