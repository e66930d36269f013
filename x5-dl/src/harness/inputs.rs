//! Gradients of a forward pass with respect to the arrays it is given.
//!
//! A network makes its tensors of its arrays itself, by `weights::from_array`. While [`pull_back`] runs, the tensors made
//! of the watched arrays record gradients, as those of parameters do in training.

use std::cell::RefCell;

use burn::tensor::{Gradients, Tensor};
use ndarray::ArrayD;

use crate::harness::backend;
use crate::harness::gradient::Network;
use crate::harness::weights;

/// Reads the gradient of one tensor after the backward pass.
type Leaf = Box<dyn Fn(&Gradients) -> Option<ArrayD<f32>>>;

#[derive(Default)]
struct Watched {
    /// Where the values of each input begin; an array without values has no place.
    places: Vec<Option<usize>>,
    /// The input that each tensor was made of.
    leaves: Vec<(usize, Leaf)>,
}

thread_local! {
    static WATCHED: RefCell<Watched> = RefCell::default();
}

/// Gradients, of the shapes of `inputs`, of the sum of all predictions, each times its factor; `factors` makes them of
/// the predictions `[item, value]`. The parameters are constants, and normalisations those of forecasting.
pub(crate) fn pull_back(
    network: &dyn Network,
    inputs: &[ArrayD<f32>],
    factors: impl FnOnce(&ArrayD<f32>) -> ArrayD<f32>,
) -> Vec<ArrayD<f32>> {
    let device = backend::training_device();
    let place = |input: &ArrayD<f32>| (!input.is_empty()).then_some(input.as_ptr() as usize);
    let watched = Watched { places: inputs.iter().map(place).collect(), leaves: Vec::new() };
    // Another pass may be waiting on this thread for the work of others: it gets its notes back.
    let outer = WATCHED.replace(watched);
    let predictions = network.predict(inputs, &device);
    let watched = WATCHED.replace(outer);
    let factors = factors(&weights::to_array(predictions.clone().detach()));
    let sum = (predictions * weights::from_array(&factors, &device)).sum();
    let mut found: Vec<ArrayD<f32>> = inputs.iter().map(|input| ArrayD::zeros(input.raw_dim())).collect();
    if sum.is_tracked() {
        let gradients = sum.backward();
        for (input, leaf) in watched.leaves {
            if let Some(gradient) = leaf(&gradients) {
                found[input] += &gradient;
            }
        }
    }
    found
}

/// The tensor made of `array`, told to record its gradient where the array is watched.
pub(crate) fn watched<const D: usize>(array: &ArrayD<f32>, tensor: Tensor<D>) -> Tensor<D> {
    let place = array.as_ptr() as usize;
    let input = WATCHED.with_borrow(|watched| watched.places.iter().position(|p| *p == Some(place)));
    let Some(input) = input else { return tensor };
    let tensor = tensor.require_grad();
    let leaf = tensor.clone();
    let gradient = move |gradients: &Gradients| leaf.grad(gradients).map(weights::to_array);
    WATCHED.with_borrow_mut(|watched| watched.leaves.push((input, Box::new(gradient))));
    tensor
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use ndarray::{Axis, IxDyn, arr2};

    use super::*;
    use crate::error::Error;
    use crate::harness::weights::Weights;

    /// Predicts the product of its first two inputs; the third is not looked at.
    struct Product;

    impl Network for Product {
        fn initial(&self, _seed: u64) -> Weights {
            Weights::default()
        }
        fn parameters(&self) -> Weights {
            Weights::default()
        }
        fn loaded(&self, _weights: &Weights, _device: &Device) -> Result<Box<dyn Network>, Error> {
            Ok(Box::new(Product))
        }
        fn predict(&self, inputs: &[ArrayD<f32>], device: &Device) -> Tensor<2> {
            weights::from_array::<2>(&inputs[0], device) * weights::from_array(&inputs[1], device)
        }
        fn gradients(&self, _gradients: &Gradients) -> Weights {
            Weights::default()
        }
    }

    /// d/da Σ f·a·b = f·b, and the factors see the predictions: f = 10 + ab.
    #[test]
    fn the_gradient_of_a_product() {
        let (a, b) = (arr2(&[[2.0f32, 3.0]]).into_dyn(), arr2(&[[5.0f32, 7.0]]).into_dyn());
        let unseen = arr2(&[[1.0f32]]).into_dyn();
        let inputs = [a, b, unseen, ArrayD::zeros(IxDyn(&[1, 0]))];
        let found = pull_back(&Product, &inputs, |predictions| predictions + 10.0);
        assert_eq!(found[0], arr2(&[[20.0 * 5.0, 31.0 * 7.0]]).into_dyn());
        assert_eq!(found[1], arr2(&[[20.0 * 2.0, 31.0 * 3.0]]).into_dyn());
        assert_eq!((found[2].sum(), found[3].len_of(Axis(1))), (0.0, 0));
        // Nothing is watched any more.
        assert!(!weights::from_array::<2>(&inputs[0], &backend::training_device()).is_require_grad());
    }
}
