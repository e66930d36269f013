//! The SG-ConvLSTM of Kladny et al. (2024), <https://doi.org/10.1016/j.ecoinf.2024.102474>.
//!
//! ConvLSTM cells with convolutional peepholes and mirrored edges; the hidden state of the last is the *difference*
//! to the frame before. The first difference is added to each pixel's last cloud-free value. The mask of the
//! observed frames is an input, 0 in the frames to come. As in the ConvLSTM of Diaconu et al., weather of step k
//! goes in together with frame k.

use burn::module::Module;
use burn::tensor::activation::{sigmoid, tanh};
use burn::tensor::{Device, Tensor};
use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::config::ModelConfig;
use crate::harness::gradient::Loss;
use crate::harness::weights;
use crate::model::layers::{Conv, State, frame, frames_to_rows, last_clear, zero_states};
use crate::model::teacher::{Teacher, fed};
use crate::model::{Defaults, Model, Sizes, kept};

/// Sizes of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SgConvLstmShape {
    /// Forecast channels, which are also the dynamic inputs.
    pub channels: usize,
    /// Static input layers.
    pub statics: usize,
    /// Weather inputs.
    pub weather: usize,
    /// Hidden channels of the cells before the output cell; `[22, 22]` as published.
    pub hidden: Vec<usize>,
    /// Side of the square kernels, odd; 5 as published.
    pub kernel: usize,
    /// Steps forecast.
    pub target_steps: usize,
    /// Whether weather goes in with the frame before the predicted one; else with the predicted one.
    #[serde(default = "kept")]
    pub quirks: bool,
}

/// Stacked cells with peepholes.
#[derive(Module, Debug)]
pub(crate) struct SgConvLstm {
    cells: Vec<PeepholeCell>,
    #[module(skip)]
    target_steps: usize,
    /// Steps by which the weather is ahead of the frame it goes in with.
    #[module(skip)]
    ahead: usize,
}

/// A ConvLSTM cell whose gates i, f and o also see the old cell state.
#[derive(Module, Debug)]
struct PeepholeCell {
    conv: Conv,
    peephole: Conv,
    #[module(skip)]
    hidden: usize,
}

impl SgConvLstm {
    /// The target frames, each `[batch, channel, y, x]`.
    ///
    /// # Shapes
    /// - `context`: `[batch, context, channel, y, x]`
    /// - `last`: `[batch, channel, y, x]`, the last cloud-free values
    /// - `statics`: `[batch, layer, y, x]`
    /// - `weather`: `[batch, step, variable, y, x]`, of context and target; with the published lag the last is not looked at
    /// - `masked`: `[batch, context, 1, y, x]`, 1 where the context is not observed
    fn forecast(
        &self,
        context: &Tensor<5>,
        last: Tensor<4>,
        statics: &Tensor<4>,
        weather: &Tensor<5>,
        masked: &Tensor<5>,
        teacher: Option<&Teacher>,
    ) -> Vec<Tensor<4>> {
        let steps = context.dims()[1];
        let mut state = zero_states(self.cells.iter().map(|cell| cell.hidden), statics);
        let mut step = |t: usize, image: Tensor<4>, mask: Tensor<4>| {
            let mut input =
                Tensor::cat(vec![image, mask, statics.clone(), frame(weather, t + self.ahead)], 1);
            for (cell, state) in self.cells.iter().zip(&mut state) {
                *state = cell.step(input, state.clone());
                input = state.0.clone();
            }
            input
        };
        let mut difference = last.zeros_like();
        for t in 0..steps {
            difference = step(t, frame(context, t), frame(masked, t));
        }
        let clear = frame(masked, 0).zeros_like();
        let mut frames = vec![last + difference];
        for s in 1..self.target_steps {
            let before = fed(teacher, &frames[s - 1], s - 1);
            let difference = step(steps + s - 1, before.clone(), clear.clone());
            frames.push(before + difference);
        }
        frames
    }
}

impl PeepholeCell {
    fn new(inputs: usize, hidden: usize, kernel: usize, device: &Device) -> PeepholeCell {
        PeepholeCell {
            conv: Conv::new(inputs + hidden, 4 * hidden, kernel, device),
            peephole: Conv::unbiased(hidden, 3 * hidden, kernel, device),
            hidden,
        }
    }

    /// One step: gates i, f, g, o from the input and the hidden state, peepholes i, f, o from the old cell state.
    fn step(&self, input: Tensor<4>, (hidden, cell): State) -> State {
        let n = self.hidden;
        let gates = self.conv.forward_reflected(Tensor::cat(vec![input, hidden], 1));
        let peep = self.peephole.forward_reflected(cell.clone());
        let gate = |k: usize| gates.clone().narrow(1, k * n, n);
        let seen = |k: usize| peep.clone().narrow(1, k * n, n);
        let (i, f, o) = (sigmoid(gate(0) + seen(0)), sigmoid(gate(1) + seen(1)), sigmoid(gate(3) + seen(2)));
        let cell = f * cell + i * tanh(gate(2));
        (o * tanh(cell.clone()), cell)
    }
}

impl Model for SgConvLstm {
    type Shape = SgConvLstmShape;

    const DEFAULTS: Defaults =
        Defaults { loss: Loss::MaskedMse, weight_decay: 0.01, learning_rate: 3e-4, ..Defaults::BANDS };

    fn shape(config: &ModelConfig, sizes: &Sizes) -> SgConvLstmShape {
        SgConvLstmShape {
            channels: sizes.channels,
            statics: sizes.statics,
            weather: sizes.weather,
            hidden: config.hidden.clone().unwrap_or(vec![22, 22]),
            kernel: config.kernel.unwrap_or(5),
            target_steps: sizes.target_steps,
            quirks: config.quirks.unwrap_or(true),
        }
    }

    fn new(shape: &SgConvLstmShape, device: &Device) -> SgConvLstm {
        let mut inputs = shape.channels + 1 + shape.statics + shape.weather;
        let mut cells = Vec::new();
        for &hidden in shape.hidden.iter().chain([&shape.channels]) {
            cells.push(PeepholeCell::new(inputs, hidden, shape.kernel, device));
            inputs = hidden;
        }
        SgConvLstm { cells, target_steps: shape.target_steps, ahead: usize::from(!shape.quirks) }
    }

    fn feeds_back() -> bool {
        true
    }

    fn forward(&self, inputs: &[ArrayD<f32>], device: &Device) -> Tensor<2> {
        let context = weights::from_array(&inputs[0], device);
        let last = last_clear(&context, &inputs[3]);
        frames_to_rows(self.forecast(
            &context,
            last,
            &weights::from_array(&inputs[1], device),
            &weights::from_array(&inputs[2], device),
            &weights::from_array(&inputs[3], device),
            Teacher::of(inputs, device).as_ref(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::gradient::Network;
    use crate::harness::{backend, testing};
    use ndarray::IxDyn;

    #[test]
    fn one_cell_matches_pytorch() {
        let golden = testing::golden("convlstm_peephole_step");
        let device = backend::training_device();
        let rename = |weights: crate::harness::weights::Weights| {
            let own = |name: String| name.replace("cc.", "conv.").replace("ll.", "peephole.");
            crate::harness::weights::Weights(weights.0.into_iter().map(|(k, v)| (own(k), v)).collect())
        };
        let cell =
            weights::load(PeepholeCell::new(3, 4, 5, &device), &rename(golden.weights()), &device).unwrap();
        let input = |name| weights::from_array::<4>(&golden.input(name), &device).require_grad();
        let (x, h, c) = (input("x"), input("h"), input("c"));
        let (hidden, state) = cell.step(x.clone(), (h.clone(), c.clone()));
        testing::close(&weights::to_array(hidden.clone()), &golden.output("h"), 2e-6);
        testing::close(&weights::to_array(state.clone()), &golden.output("c"), 2e-6);

        let gradients = (hidden.powi_scalar(2).sum() + state.sum()).backward();
        testing::close_gradients(&weights::collect_gradients(&cell, &gradients), &rename(golden.gradients()));
        for (name, tensor) in [("x", x), ("h", h), ("c", c)] {
            let found = weights::to_array(tensor.grad(&gradients).unwrap());
            testing::close_relative(&found, &golden.input_gradient(name), 1e-5);
        }
    }

    #[test]
    fn without_weights_the_last_clear_value_stays() {
        let shape = SgConvLstmShape {
            channels: 1,
            statics: 1,
            weather: 1,
            hidden: vec![2],
            kernel: 3,
            target_steps: 2,
            quirks: true,
        };
        let net = SgConvLstm::new(&shape, &backend::device());
        // Two steps of 2 × 2 pixels: 0, 1, 2, 3 and 4, 5, 6, 7; the first pixel's second step is cloudy.
        let values = |shape: &[usize]| {
            let count = shape.iter().product::<usize>();
            ArrayD::from_shape_vec(IxDyn(shape), (0..count).map(|v| v as f32).collect()).unwrap()
        };
        let mut masked = ArrayD::zeros(IxDyn(&[1, 2, 1, 2, 2]));
        masked[[0, 1, 0, 0, 0]] = 1.0;
        let inputs =
            [values(&[1, 2, 1, 2, 2]), ArrayD::zeros(IxDyn(&[1, 1, 2, 2])), values(&[1, 4, 1, 2, 2]), masked];
        let frames = weights::to_array(net.predict(&inputs, &backend::device()));
        assert_eq!(frames.iter().copied().collect::<Vec<_>>(), [0.0, 5.0, 6.0, 7.0, 0.0, 5.0, 6.0, 7.0]);
    }

    #[test]
    fn published_size() {
        let shape = SgConvLstmShape {
            channels: 4,
            statics: 1,
            weather: 5,
            hidden: vec![22, 22],
            kernel: 5,
            target_steps: 20,
            quirks: true,
        };
        // Cells of 11 → 22, 22 → 22, 22 → 4: 25 · (in + n) · 4n + 4n for the gates, 25 · n · 3n for the peepholes.
        let cell = |inputs: usize, n: usize| 25 * (inputs + n) * 4 * n + 4 * n + 25 * n * 3 * n;
        let net = SgConvLstm::new(&shape, &backend::device());
        assert_eq!(net.parameters().count(), cell(11, 22) + cell(22, 22) + cell(22, 4));
    }
}
