//! Conditioning on weather: each channel is shifted and scaled by what two small networks make of the weather
//! (FiLM, Perez et al. 2018, <https://doi.org/10.1609/aaai.v32i1.11671>).

use burn::module::Module;
use burn::tensor::activation::leaky_relu;
use burn::tensor::{Device, Tensor};

use crate::model::layers::{Conv, GroupNorm};

/// Slope below 0 of the activations.
pub(crate) const SLOPE: f64 = 0.01;

/// A residual block whose inner channels are shifted and scaled by the weather.
#[derive(Module, Debug)]
pub(crate) struct FilmBlock {
    film: Film,
    conv: Conv,
    norm: GroupNorm,
}

#[derive(Module, Debug)]
struct Film {
    beta: Mlp,
    gamma: Mlp,
}

/// Two linear maps of the channels with an activation between them.
#[derive(Module, Debug)]
struct Mlp {
    conv1: Conv,
    conv2: Conv,
}

impl FilmBlock {
    /// Conditions `channels` channels on `weather` variables, over `hidden` units.
    pub(crate) fn new(weather: usize, hidden: usize, channels: usize, device: &Device) -> FilmBlock {
        let mlp = || Mlp {
            conv1: Conv::new(weather, hidden, 1, device),
            conv2: Conv::new(hidden, channels, 1, device),
        };
        let groups = if channels > 16 && channels.is_multiple_of(16) { 16 } else { 2 };
        FilmBlock {
            film: Film { beta: mlp(), gamma: mlp() },
            conv: Conv::new(channels, channels, 1, device),
            norm: GroupNorm::new(groups, channels, device),
        }
    }

    /// # Shapes
    /// - `input`: `[batch, channel, y, x]`
    /// - `weather`: `[batch, variable, 1, 1]`
    pub(crate) fn forward(&self, input: Tensor<4>, weather: &Tensor<4>) -> Tensor<4> {
        let normal = self.norm.forward(self.conv.forward(input.clone()));
        let (beta, gamma) = (self.film.beta.forward(weather), self.film.gamma.forward(weather));
        input + leaky_relu(beta + gamma * normal, SLOPE)
    }
}

impl Mlp {
    fn forward(&self, input: &Tensor<4>) -> Tensor<4> {
        self.conv2.forward(leaky_relu(self.conv1.forward(input.clone()), SLOPE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::weights::{self, Weights};
    use crate::harness::{backend, testing};

    #[test]
    fn one_block_matches_pytorch() {
        let golden = testing::golden("convlstm_film_block");
        let device = backend::training_device();
        let rename = |weights: Weights| {
            let own = |k: String| {
                let k = k.replace(".0.", ".conv1.").replace(".2.", ".conv2.");
                if k.starts_with("beta") || k.starts_with("gamma") { format!("film.{k}") } else { k }
            };
            Weights(weights.0.into_iter().map(|(k, v)| (own(k), v)).collect())
        };
        let block =
            weights::load(FilmBlock::new(5, 6, 8, &device), &rename(golden.weights()), &device).unwrap();
        let x = weights::from_array::<4>(&golden.input("x"), &device);
        let c = weights::from_array::<2>(&golden.input("c"), &device).reshape([2, 5, 1, 1]);
        let y = block.forward(x, &c);
        testing::close(&weights::to_array(y.clone()), &golden.output("y"), 1e-5);
        let gradients = y.powi_scalar(2).sum().backward();
        testing::close_gradients(
            &weights::collect_gradients(&block, &gradients),
            &rename(golden.gradients()),
        );
    }
}
