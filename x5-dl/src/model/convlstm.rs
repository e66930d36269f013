//! The ConvLSTM of Diaconu et al. (2022), <https://doi.org/10.1109/CVPRW56347.2022.00142>.
//!
//! A stack of plain ConvLSTM cells; the last has as many hidden channels as the forecast and *is* the output
//! layer: frame = relu(hidden state). The context frames are fed first; then each predicted frame is fed back.
//! Weather of step k goes in together with frame k, so the forecast of step k has seen weather up to k - 1; without
//! quirks it has seen that of step k.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::config::ModelConfig;
use crate::harness::weights;
use crate::kernel;
use crate::model::layers::{Conv, State, frame, frames_to_rows, zero_states};
use crate::model::teacher::{Teacher, fed};
use crate::model::{Defaults, Model, Sizes, kept};

/// Sizes of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvLstmShape {
    /// Forecast channels, which are also the dynamic inputs.
    pub channels: usize,
    /// Static input layers.
    pub statics: usize,
    /// Weather inputs.
    pub weather: usize,
    /// Hidden channels of the cells before the output cell; `[32, 32, 32]` as published.
    pub hidden: Vec<usize>,
    /// Side of the square kernel, odd; 3 as published.
    pub kernel: usize,
    /// Steps forecast.
    pub target_steps: usize,
    /// As published: weather goes in with the frame before the predicted one, and frames are a ReLU of the last cell's state.
    /// Else it goes in with the predicted one, and frames are the state itself.
    #[serde(default = "kept")]
    pub quirks: bool,
}

/// Stacked ConvLSTM cells.
#[derive(Module, Debug)]
pub(crate) struct ConvLstm {
    cells: Vec<Cell>,
    #[module(skip)]
    target_steps: usize,
    /// Steps by which the weather is ahead of the frame it goes in with.
    #[module(skip)]
    ahead: usize,
    /// Whether frames are a ReLU of the state, which never comes back once it is below 0 everywhere.
    #[module(skip)]
    positive: bool,
}

/// A plain ConvLSTM cell (Shi et al. 2015, <https://doi.org/10.48550/arXiv.1506.04214>, without peepholes).
#[derive(Module, Debug)]
pub(crate) struct Cell {
    conv: Conv,
    #[module(skip)]
    pub(crate) hidden: usize,
}

impl ConvLstm {
    /// The target frames, each `[batch, channel, y, x]`.
    ///
    /// # Shapes
    /// - `context`: `[batch, context, channel, y, x]`
    /// - `statics`: `[batch, layer, y, x]`
    /// - `weather`: `[batch, step, variable, y, x]`, of context and target; with the published lag the last is not looked at
    fn forecast(
        &self,
        context: Tensor<5>,
        statics: Tensor<4>,
        weather: Tensor<5>,
        teacher: Option<&Teacher>,
    ) -> Vec<Tensor<4>> {
        let steps = context.dims()[1];
        let mut state = zero_states(self.cells.iter().map(|cell| cell.hidden), &statics);
        for t in 0..steps {
            let input =
                Tensor::cat(vec![frame(&context, t), statics.clone(), frame(&weather, t + self.ahead)], 1);
            self.step(input, &mut state);
        }
        let mut frames = vec![self.output(&state)];
        for s in 1..self.target_steps {
            let last = fed(teacher, &frames[s - 1], s - 1);
            let now = frame(&weather, steps + s - 1 + self.ahead);
            let input = Tensor::cat(vec![last, statics.clone(), now], 1);
            self.step(input, &mut state);
            frames.push(self.output(&state));
        }
        frames
    }

    fn step(&self, mut input: Tensor<4>, state: &mut [State]) {
        for (cell, state) in self.cells.iter().zip(state) {
            *state = cell.step(input, state.clone());
            input = state.0.clone();
        }
    }

    fn output(&self, state: &[State]) -> Tensor<4> {
        let last = state[self.cells.len() - 1].0.clone();
        if self.positive { relu(last) } else { last }
    }
}

impl Cell {
    /// A cell with all parameters zero.
    pub(crate) fn new(inputs: usize, hidden: usize, kernel: usize, device: &Device) -> Cell {
        Cell { conv: Conv::new(inputs + hidden, 4 * hidden, kernel, device), hidden }
    }

    /// One step: gates i, f, o, g from one convolution of the input and the hidden state.
    pub(crate) fn step(&self, input: Tensor<4>, (hidden, cell): State) -> State {
        kernel::lstm(self.conv.forward(Tensor::cat(vec![input, hidden], 1)), cell)
    }
}

impl Model for ConvLstm {
    type Shape = ConvLstmShape;

    const DEFAULTS: Defaults = Defaults::BANDS;

    fn shape(config: &ModelConfig, sizes: &Sizes) -> ConvLstmShape {
        ConvLstmShape {
            channels: sizes.channels,
            statics: sizes.statics,
            weather: sizes.weather,
            hidden: config.hidden.clone().unwrap_or(vec![32, 32, 32]),
            kernel: config.kernel.unwrap_or(3),
            target_steps: sizes.target_steps,
            quirks: config.quirks.unwrap_or(true),
        }
    }

    fn new(shape: &ConvLstmShape, device: &Device) -> ConvLstm {
        let mut inputs = shape.channels + shape.statics + shape.weather;
        let mut cells = Vec::new();
        for &hidden in shape.hidden.iter().chain([&shape.channels]) {
            cells.push(Cell::new(inputs, hidden, shape.kernel, device));
            inputs = hidden;
        }
        let (target_steps, ahead, positive) = (shape.target_steps, usize::from(!shape.quirks), shape.quirks);
        ConvLstm { cells, target_steps, ahead, positive }
    }

    fn feeds_back() -> bool {
        true
    }

    fn forward(&self, inputs: &[ArrayD<f32>], device: &Device) -> Tensor<2> {
        frames_to_rows(self.forecast(
            weights::from_array(&inputs[0], device),
            weights::from_array(&inputs[1], device),
            weights::from_array(&inputs[2], device),
            Teacher::of(inputs, device).as_ref(),
        ))
    }

    /// The layout of the published checkpoints: `model.conv_lstm.cell_list.0.conv.weight`.
    fn published_name(name: &str) -> Option<String> {
        let cell = name.split_once("conv_lstm.cell_list.").map(|(_, cell)| format!("cells.{cell}"));
        Some(cell.unwrap_or_else(|| name.to_owned()))
    }

    fn exported_name(own: &str) -> Option<String> {
        Some(format!("model.conv_lstm.cell_list.{}", own.strip_prefix("cells.")?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::backend;
    use crate::harness::gradient::{self, Examples, Loss, Network};
    use crate::harness::{adam, testing};

    fn shape(hidden: &[usize], target_steps: usize) -> ConvLstmShape {
        ConvLstmShape {
            channels: 4,
            statics: 1,
            weather: 5,
            hidden: hidden.to_vec(),
            kernel: 3,
            target_steps,
            quirks: true,
        }
    }

    fn examples(golden: &testing::Golden) -> Examples {
        Examples {
            inputs: vec![golden.input("ctx"), golden.input("dem"), golden.input("wea")],
            target: testing::rows(golden.input("targ")),
            valid: testing::rows(golden.input("mask")),
            ..Examples::default()
        }
    }

    #[test]
    fn one_cell_matches_pytorch() {
        let golden = testing::golden("convlstm_cell_step");
        let device = backend::training_device();
        let cell = weights::load(Cell::new(3, 4, 3, &device), &golden.weights(), &device).unwrap();
        let input = |name| weights::from_array::<4>(&golden.input(name), &device).require_grad();
        let (x, h, c) = (input("x"), input("h"), input("c"));
        let (hidden, state) = cell.step(x.clone(), (h.clone(), c.clone()));
        testing::close(&weights::to_array(hidden.clone()), &golden.output("h"), 2e-6);
        testing::close(&weights::to_array(state.clone()), &golden.output("c"), 2e-6);

        let gradients = (hidden.powi_scalar(2).sum() + state.sum()).backward();
        testing::close_gradients(&weights::collect_gradients(&cell, &gradients), &golden.gradients());
        for (name, tensor) in [("x", x), ("h", h), ("c", c)] {
            let found = weights::to_array(tensor.grad(&gradients).unwrap());
            testing::close_relative(&found, &golden.input_gradient(name), 1e-5);
        }
    }

    #[test]
    fn small_net_and_three_adam_steps_match_pytorch() {
        let golden = testing::golden("convlstm_tiny_net");
        let net = ConvLstm::new(&shape(&[6, 6], 3), &backend::device());
        let examples = examples(&golden);
        let mut weights = golden.weights();
        let out = weights::load(net.clone(), &weights, &backend::device())
            .unwrap()
            .predict(&examples.inputs, &backend::device());
        testing::close(&weights::to_array(out), &testing::rows(golden.output("pred")), 2e-6);

        let mut adam = adam::Adam::new(&weights);
        // Losses before each step, from PyTorch in float64.
        for (k, expected) in [0.213_854_519_639, 0.211_387_767_275, 0.208_788_996_463].iter().enumerate() {
            let gradient::Answer { loss, gradient, .. } =
                gradient::loss_and_gradient(&net, &weights, &examples, Loss::MaskedL1).unwrap();
            assert!((loss - expected).abs() < 1e-6, "step {k}: expected {expected}, found {loss}");
            if k == 0 {
                testing::close_gradients(&gradient, &golden.gradients());
            }
            adam.step(&mut weights, &gradient, 1e-3, 0.0);
        }
        for (name, expected) in &golden.strip("w_after3.").0 {
            testing::close(&weights.0[name], expected, 2e-6);
        }
    }

    #[test]
    fn published_net_matches_pytorch() {
        let golden = testing::golden("convlstm_full_net_8x8");
        let net = ConvLstm::new(&shape(&[32, 32, 32], 20), &backend::device());
        assert_eq!(weights::collect(&net).count(), 201_424);
        let examples = examples(&golden);
        let weights = golden.weights();
        let out = weights::load(net.clone(), &weights, &backend::device())
            .unwrap()
            .predict(&examples.inputs, &backend::device());
        testing::close(&weights::to_array(out), &testing::rows(golden.output("pred")), 2e-6);

        let gradient::Answer { loss, gradient, .. } =
            gradient::loss_and_gradient(&net, &weights, &examples, Loss::MaskedL1).unwrap();
        assert!((loss - 0.244_033_245_328).abs() < 1e-6, "{loss}");
        // The file keeps whole gradients of the small parameters only.
        let kept = golden.gradients();
        assert_eq!(kept.0.len(), 5);
        for (name, expected) in &kept.0 {
            testing::close_relative(&gradient.0[name], expected, 1e-5);
        }
        for (name, expected) in &golden.strip("grad_norm.").0 {
            let norm = gradient.0[name].iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
            assert!((norm / f64::from(expected[0]) - 1.0).abs() < 1e-5, "{name}");
        }
    }

    #[test]
    fn the_weather_of_the_predicted_step_counts_without_quirks_only() {
        let device = backend::device();
        for quirks in [true, false] {
            let net = ConvLstm::new(&ConvLstmShape { quirks, ..shape(&[3], 2) }, &device);
            let net = net.loaded(&net.start(5), &device).unwrap();
            let filled = |shape: &[usize], value: f32| ArrayD::from_elem(ndarray::IxDyn(shape), value);
            let mut inputs =
                [filled(&[1, 3, 4, 4, 4], 0.5), filled(&[1, 1, 4, 4], 0.1), filled(&[1, 5, 5, 4, 4], 0.3)];
            let before = weights::to_array(net.predict(&inputs, &device));
            inputs[2].index_axis_mut(ndarray::Axis(1), 4).fill(3.0);
            let after = weights::to_array(net.predict(&inputs, &device));
            assert!(before.iter().any(|v| *v > 0.0));
            assert_eq!(before == after, quirks);
        }
    }

    /// With all observed frames fed, the forecast of a step is that of a network that has them as context.
    #[test]
    fn observed_frames_stand_in_for_forecast_ones() {
        let device = backend::device();
        let net = |steps: usize| {
            let net = ConvLstm::new(&shape(&[3], steps), &device);
            net.loaded(&net.start(5), &device).unwrap()
        };
        let values = |shape: &[usize], seed: usize| {
            let mut k = seed;
            ArrayD::from_shape_simple_fn(ndarray::IxDyn(shape), || {
                k += 1;
                (k * 37 % 101) as f32 / 101.0
            })
        };
        let (context, statics) = (values(&[1, 3, 4, 4, 4], 0), values(&[1, 1, 4, 4], 7));
        let (weather, truth) = (values(&[1, 6, 5, 4, 4], 3), values(&[1, 3, 4, 4, 4], 11));
        let mut inputs = vec![context.clone(), statics, weather, ArrayD::zeros(ndarray::IxDyn(&[0]))];
        let free = weights::to_array(net(3).predict(&inputs, &device));
        let longer = ndarray::concatenate![
            ndarray::Axis(1),
            context,
            truth.slice(ndarray::s![.., ..2, .., .., ..]).into_dyn()
        ];
        let expected =
            weights::to_array(net(1).predict(&[longer, inputs[1].clone(), inputs[2].clone()], &device));
        inputs.extend([truth, ArrayD::ones(ndarray::IxDyn(&[1, 3, 1, 4, 4]))]);
        let taught = weights::to_array(net(3).predict(&inputs, &device));
        let last = |rows: &ArrayD<f32>| rows.slice(ndarray::s![.., -64..]).to_owned().into_dyn();
        testing::close(&last(&taught), &expected, 1e-6);
        assert_ne!(taught, free);
        inputs[5].fill(0.0);
        assert_eq!(weights::to_array(net(3).predict(&inputs, &device)), free);
    }

    #[test]
    fn threads_do_not_change_bits_and_nan_goes_through() {
        let net = ConvLstm::new(&shape(&[5, 3], 2), &backend::device());
        let weights = net.start(7);
        let mut examples = Examples {
            inputs: vec![
                testing::numbers(&[3, 3, 4, 7, 9], 1),
                testing::numbers(&[3, 1, 7, 9], 2),
                testing::numbers(&[3, 5, 5, 7, 9], 3),
            ],
            target: testing::numbers(&[3, 2 * 4 * 63], 4),
            valid: ArrayD::ones(ndarray::IxDyn(&[3, 2 * 4 * 63])),
            ..Examples::default()
        };
        let [one, two] =
            [1, 2].map(|threads| testing::on_threads(threads, &net, &weights, &examples, Loss::MaskedL1));
        assert_eq!(one.loss.to_bits(), two.loss.to_bits());
        assert_eq!(one.gradient, two.gradient);
        examples.inputs[0][[2, 1, 3, 6, 8]] = f32::NAN;
        assert!(testing::on_threads(2, &net, &weights, &examples, Loss::MaskedL1).loss.is_nan());
    }

    #[test]
    fn initial_weights_follow_the_seed_and_the_fan() {
        let net = ConvLstm::new(&shape(&[6, 6], 3), &backend::device());
        let first = net.initial(1);
        assert_eq!(first, net.initial(1));
        assert_ne!(first, net.initial(2));
        let bound = 1.0 / (16.0f32 * 9.0).sqrt();
        assert!(first.0["cells.0.conv.bias"].iter().all(|v| v.abs() <= bound));
        assert!(first.0["cells.0.conv.weight"].iter().any(|v| v.abs() > 0.9 * bound));
    }

    /// With tanh g = -1 the state of the last cell goes below 0: the ReLU hides it, and its gradient with it.
    #[test]
    fn without_quirks_a_channel_below_0_comes_back() {
        let gradient = |quirks: bool| {
            let device = backend::training_device();
            let net = ConvLstm::new(&ConvLstmShape { quirks, ..shape(&[3], 2) }, &backend::device());
            let mut weights = net.initial(2);
            weights.0.get_mut("cells.1.conv.bias").unwrap().iter_mut().skip(12).for_each(|g| *g = -2.0);
            let net = net.loaded(&weights, &device).unwrap();
            let random = |shape: &[usize], seed| testing::numbers(shape, seed);
            let inputs = [random(&[1, 3, 4, 4, 4], 1), random(&[1, 1, 4, 4], 2), random(&[1, 5, 5, 4, 4], 3)];
            let frames = net.predict(&inputs, &device);
            let below = weights::to_array(frames.clone().detach()).iter().all(|v| *v < 0.0);
            let found = net.gradients(&frames.sum().backward());
            (below, found.0["cells.1.conv.bias"].iter().any(|g| *g != 0.0))
        };
        assert_eq!(gradient(true), (false, false));
        assert_eq!(gradient(false), (true, true));
    }
}
