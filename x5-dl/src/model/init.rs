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
/// parameter from its shape (a bias has that of its weight). Normalisations begin by changing nothing: weights and
/// variances 1, biases and means 0.
pub(crate) fn uniform(zeros: Weights, seed: u64, fan: impl Fn(&str, &Weights) -> usize) -> Weights {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let drawn = zeros.0.iter().map(|(name, array)| {
        if let Some(value) = of_normalisation(name, &zeros) {
            return (name.clone(), array.map(|_| value));
        }
        let bound = 1.0 / (fan(name, &zeros).max(1) as f32).sqrt();
        let filled = ArrayD::from_shape_simple_fn(array.raw_dim(), || rng.random_range(-bound..bound));
        (name.clone(), filled)
    });
    Weights(drawn.collect())
}

/// What a parameter of a normalisation begins as; its weight has one axis.
fn of_normalisation(name: &str, weights: &Weights) -> Option<f32> {
    let (layer, kind) = name.rsplit_once('.')?;
    weights.0.get(&format!("{layer}.weight")).filter(|weight| weight.ndim() == 1)?;
    Some(if kind == "weight" || kind == "running_var" { 1.0 } else { 0.0 })
}

/// Inputs of one output of the layer a parameter belongs to: the product of its weight's axes after the first.
pub(crate) fn fan_in(name: &str, weights: &Weights) -> usize {
    let weight = name.strip_suffix("bias").map_or(name.to_owned(), |layer| format!("{layer}weight"));
    weights.0.get(&weight).map_or(1, |w| w.shape().iter().skip(1).product())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::IxDyn;

    #[test]
    fn normalisations_begin_by_changing_nothing() {
        let shapes: [(&str, &[usize]); 6] = [
            ("conv.bias", &[2]),
            ("conv.weight", &[2, 9, 1, 1]),
            ("norm.bias", &[2]),
            ("norm.running_mean", &[2]),
            ("norm.running_var", &[2]),
            ("norm.weight", &[2]),
        ];
        let zeros = shapes.map(|(name, shape)| (name.to_owned(), ArrayD::zeros(IxDyn(shape))));
        let start = uniform(Weights(zeros.into()), 1, fan_in);
        let values = |name: &str| start.0[name].iter().copied().collect::<Vec<f32>>();
        assert_eq!((values("norm.weight"), values("norm.bias")), (vec![1.0; 2], vec![0.0; 2]));
        assert_eq!((values("norm.running_var"), values("norm.running_mean")), (vec![1.0; 2], vec![0.0; 2]));
        let inside = |v: &f32| *v != 0.0 && v.abs() <= 1.0 / 3.0;
        assert!(values("conv.weight").iter().chain(&values("conv.bias")).all(inside));
    }
}
