//! The pixelwise RNN of the DeepCube deliverable: a GRU whose state holds the vegetation and whose input is the
//! weather of the very step it predicts. Nothing is fed back; pixels do not see each other.
//!
//! Two properties of the original are kept, unless told otherwise, because results depend on them. The small networks before the GRU
//! apply their ReLU *before* each linear map, also to the raw inputs, so negative inputs are lost: scale them to
//! be positive. And state unit 0 is overwritten by the last context value.

use std::ops::Not;

use burn::module::{Module, Param};
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Tensor};
use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::config::ModelConfig;
use crate::data::scaling::Scaling;
use crate::harness::gradient::Loss;
use crate::harness::weights::{self, Weights};
use crate::kernel::{self, GruParameters};
use crate::model::{Defaults, Layout, Model, Sizes, init, kept};

/// Sizes of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RnnShape {
    /// Context values of the vegetation index.
    pub context_steps: usize,
    /// Static inputs of the state network.
    pub statics: usize,
    /// Inputs per step: weather, and statics that are repeated.
    pub drivers: usize,
    /// Hidden size of the GRU; 192 as published.
    pub hidden: usize,
    /// Width of the GRU's input; 96 as published.
    pub update: usize,
    /// Hidden width of the state network; 384 as published.
    pub state_hidden: usize,
    /// Hidden width of the update network; 128 as published.
    pub update_hidden: usize,
    /// Whether ReLU also stands before the first linear maps and a unit of the state is overwritten, as published.
    #[serde(default = "kept")]
    pub quirks: bool,
    /// Whether the GRU goes through the weather of the context before that of the steps to predict; not as published.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub context_weather: bool,
}

/// State network, update network, GRU and a sigmoid head.
#[derive(Module, Debug)]
pub(crate) struct PixelRnn {
    state_mlp: Mlp,
    update_mlp: Mlp,
    rnn: Gru,
    head: Linear,
    /// Whether a unit of the state is overwritten by the last context value.
    #[module(skip)]
    forced: bool,
    /// Whether the drivers begin with those of the context.
    #[module(skip)]
    context_weather: bool,
}

#[derive(Module, Debug)]
pub(crate) struct Mlp {
    lin: Vec<Linear>,
    /// Whether ReLU also stands before the first.
    #[module(skip)]
    first: bool,
}

#[derive(Module, Debug)]
pub(crate) struct Linear {
    /// `[out, in]`, as PyTorch stores it.
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
pub(crate) struct Gru {
    weight_ih_l0: Param<Tensor<2>>,
    weight_hh_l0: Param<Tensor<2>>,
    bias_ih_l0: Param<Tensor<1>>,
    bias_hh_l0: Param<Tensor<1>>,
}

impl PixelRnn {
    /// Vegetation index of each driven step, `[pixel, step * quantile]`, in 0..1.
    ///
    /// # Shapes
    /// - `vegetation`: `[pixel, context]`, in 0..1
    /// - `statics`: `[pixel, static]`
    /// - `drivers`: `[pixel, step, driver]`, of the steps to predict; before them those of the context, where it is told
    ///   its weather
    fn forecast(&self, vegetation: Tensor<2>, statics: Tensor<2>, drivers: Tensor<3>) -> Tensor<2> {
        let [_, context] = vegetation.dims();
        let [pixels, steps, width] = drivers.dims();
        let last = vegetation.clone().narrow(1, context - 1, 1).transpose();
        let state = self.state_mlp.forward(Tensor::cat(vec![vegetation, statics], 1).transpose());
        let [hidden, _] = state.dims();
        let state = match self.forced {
            true => Tensor::cat(vec![last, state.narrow(0, 1, hidden - 1)], 0),
            false => state,
        };
        let drivers = drivers.permute([2, 1, 0]).reshape([width, steps * pixels]);
        let states = self.rnn.forward(self.update_mlp.forward(drivers), state, steps);
        let heard = if self.context_weather { context } else { 0 };
        let (states, steps) = (states.narrow(1, heard * pixels, (steps - heard) * pixels), steps - heard);
        let quantiles = self.head.outputs();
        let out: Tensor<3> = sigmoid(self.head.columns(states)).reshape([quantiles, steps, pixels]);
        out.permute([2, 1, 0]).reshape([pixels, steps * quantiles])
    }
}

impl Mlp {
    /// Linear maps between these widths, a ReLU between them and, where told so, before the first.
    pub(crate) fn new(widths: &[usize], first: bool, device: &Device) -> Mlp {
        Mlp { lin: widths.windows(2).map(|w| Linear::new(w[0], w[1], device)).collect(), first }
    }

    /// `[output, item]` of `[input, item]`.
    pub(crate) fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        let active = |k: usize| k > 0 || self.first;
        self.lin
            .iter()
            .enumerate()
            .fold(input, |x, (k, linear)| linear.columns(if active(k) { relu(x) } else { x }))
    }
}

impl Linear {
    pub(crate) fn new(inputs: usize, outputs: usize, device: &Device) -> Linear {
        Linear { weight: init::zeros([outputs, inputs], device), bias: init::zeros([outputs], device) }
    }

    /// Width of the input.
    pub(crate) fn inputs(&self) -> usize {
        self.weight.dims()[1]
    }

    /// Width of the output.
    pub(crate) fn outputs(&self) -> usize {
        self.weight.dims()[0]
    }

    /// `[item, output]` of `[item, input]`.
    pub(crate) fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        input.matmul(self.weight.val().transpose()) + self.bias.val().unsqueeze::<2>()
    }

    /// `[output, item]` of `[input, item]`.
    pub(crate) fn columns(&self, input: Tensor<2>) -> Tensor<2> {
        self.weight.val().matmul(input) + self.bias.val().unsqueeze_dim(1)
    }
}

impl Gru {
    pub(crate) fn new(inputs: usize, hidden: usize, device: &Device) -> Gru {
        Gru {
            weight_ih_l0: init::zeros([3 * hidden, inputs], device),
            weight_hh_l0: init::zeros([3 * hidden, hidden], device),
            bias_ih_l0: init::zeros([3 * hidden], device),
            bias_hh_l0: init::zeros([3 * hidden], device),
        }
    }

    /// States after each step, `[hidden, step * pixel]`, from inputs `[input, step * pixel]`, the pixels of a step side
    /// by side, and a state `[hidden, pixel]`.
    pub(crate) fn forward(&self, input: Tensor<2>, state: Tensor<2>, steps: usize) -> Tensor<2> {
        let parameters = GruParameters {
            input: self.weight_ih_l0.val(),
            hidden: self.weight_hh_l0.val(),
            input_bias: self.bias_ih_l0.val(),
            hidden_bias: self.bias_hh_l0.val(),
        };
        kernel::gru(input, state, parameters, steps)
    }
}

impl Model for PixelRnn {
    type Shape = RnnShape;

    const DEFAULTS: Defaults = Defaults {
        layout: Layout::Pixels,
        dynamic: &["kndvi"],
        scaling: Scaling::Positive,
        feed_classes: true,
        unit_kndvi: true,
        loss: Loss::MaskedMse,
        weight_decay: 0.0,
        steps: 400,
        learning_rate: 5e-3,
        clip_norm: Some(1.0),
    };

    fn shape(config: &ModelConfig, sizes: &Sizes) -> RnnShape {
        let hidden = config.hidden.as_ref().and_then(|h| h.first().copied()).unwrap_or(192);
        RnnShape {
            context_steps: sizes.context_steps,
            statics: sizes.scaled_statics,
            drivers: sizes.weather + sizes.statics,
            hidden,
            update: config.update.unwrap_or((hidden / 2).max(1)),
            // The published widths (384 and 128 for 192), in proportion.
            state_hidden: 2 * hidden,
            update_hidden: (2 * hidden / 3).max(1),
            quirks: config.quirks.unwrap_or(true),
            context_weather: config.context_weather.unwrap_or(false),
        }
    }

    fn new(shape: &RnnShape, device: &Device) -> PixelRnn {
        let s = shape;
        PixelRnn {
            state_mlp: Mlp::new(
                &[s.context_steps + s.statics, s.state_hidden, s.state_hidden, s.hidden],
                s.quirks,
                device,
            ),
            update_mlp: Mlp::new(&[s.drivers, s.update_hidden, s.update], s.quirks, device),
            rnn: Gru::new(s.update, s.hidden, device),
            head: Linear::new(s.hidden, 1, device),
            forced: s.quirks,
            context_weather: s.context_weather,
        }
    }

    fn with_quantiles(self, count: usize, device: &Device) -> PixelRnn {
        PixelRnn { head: Linear::new(self.head.inputs(), count, device), ..self }
    }

    fn forward(&self, inputs: &[ArrayD<f32>], device: &Device) -> Tensor<2> {
        self.forecast(
            weights::from_array(&inputs[0], device),
            weights::from_array(&inputs[1], device),
            weights::from_array(&inputs[2], device),
        )
    }

    /// PyTorch's defaults: U(±1/√fan_in) for linear maps, U(±1/√hidden) for the GRU.
    fn start(&self, seed: u64) -> Weights {
        let hidden = self.head.inputs();
        init::uniform(weights::collect(self), seed, |name, weights| {
            if name.starts_with("rnn.") { hidden } else { init::fan_in(name, weights) }
        })
    }

    fn problems(config: &ModelConfig) -> Vec<(&'static str, String)> {
        one_series(config)
    }

    fn published_name(name: &str) -> Option<String> {
        Some(linear_name(name.strip_prefix("model.").unwrap_or(name)))
    }

    fn exported_name(own: &str) -> Option<String> {
        Some(format!("model.{}", exported_linear(own)))
    }
}

/// The inverse of [`linear_name`].
pub(crate) fn exported_linear(own: &str) -> String {
    match own.split_once(".lin.").and_then(|(mlp, layer)| Some((mlp, layer.split_once('.')?))) {
        Some((mlp, (layer, kind))) => format!("{mlp}.module.{layer}.1.{kind}"),
        None => own.to_owned(),
    }
}

/// Our name of a linear map of the published networks: `update_mlp.module.0.1.weight` is `update_mlp.lin.0.weight`.
pub(crate) fn linear_name(name: &str) -> String {
    let Some((mlp, layer)) = name.split_once(".module.") else { return name.to_owned() };
    format!("{mlp}.lin.{}", layer.replacen(".1.", ".", 1))
}

/// What is wrong with the configuration of a model that has one hidden size and forecasts one variable.
pub(crate) fn one_series(config: &ModelConfig) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let (sizes, channels) =
        (config.hidden.as_ref().map_or(1, Vec::len), config.dynamic.as_ref().map_or(1, Vec::len));
    if sizes != 1 {
        found.push(("hidden", format!("this model has one size, found {sizes}")));
    }
    if channels != 1 {
        found.push(("dynamic", format!("this model forecasts one variable, found {channels}")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::backend;
    use crate::harness::gradient::{self, Examples, Network};
    use crate::harness::{adam, testing};

    const SMALL: RnnShape = RnnShape {
        context_steps: 2,
        statics: 1,
        drivers: 3,
        hidden: 5,
        update: 4,
        state_hidden: 6,
        update_hidden: 4,
        quirks: true,
        context_weather: false,
    };

    #[test]
    fn gru_matches_pytorch() {
        let golden = testing::golden("rnn_gru");
        let device = backend::training_device();
        let gru = weights::load(Gru::new(5, 4, &device), &golden.weights(), &device).unwrap();
        // The vectors are [pixel, step, …], of three pixels and six steps.
        let x = weights::from_array::<3>(&golden.input("x"), &device).require_grad();
        let h = weights::from_array::<3>(&golden.input("h0"), &device).require_grad();
        let input = x.clone().permute([2, 1, 0]).reshape([5, 18]);
        let state: Tensor<2> = h.clone().squeeze_dim(0);
        let states: Tensor<3> = gru.forward(input, state.transpose(), 6).reshape([4, 6, 3]);
        let y = states.permute([2, 1, 0]);
        testing::close(&weights::to_array(y.clone()), &golden.output("y"), 2e-6);

        let gradients = y.powi_scalar(2).sum().backward();
        testing::close_gradients(&weights::collect_gradients(&gru, &gradients), &golden.gradients());
        testing::close_relative(
            &weights::to_array(x.grad(&gradients).unwrap()),
            &golden.input_gradient("x"),
            1e-5,
        );
        testing::close_relative(
            &weights::to_array(h.grad(&gradients).unwrap()),
            &golden.input_gradient("h0"),
            1e-5,
        );
    }

    #[test]
    fn pixel_rnn_and_three_clipped_adam_steps_match_pytorch() {
        let golden = testing::golden("rnn_pixel_rnn");
        let shape = RnnShape {
            context_steps: 9,
            statics: 3,
            drivers: 6,
            hidden: 16,
            update: 8,
            state_hidden: 24,
            update_hidden: 12,
            quirks: true,
            context_weather: false,
        };
        let net = PixelRnn::new(&shape, &backend::device());
        let target = testing::rows(golden.input("targ"));
        let examples = Examples {
            inputs: vec![golden.input("veg"), golden.input("static"), golden.input("dyn")],
            valid: ArrayD::ones(target.raw_dim()),
            target,
            ..Examples::default()
        };
        let mut weights = golden.weights();
        let out = weights::load(net.clone(), &weights, &backend::device())
            .unwrap()
            .predict(&examples.inputs, &backend::device());
        testing::close(&weights::to_array(out), &testing::rows(golden.output("pred")), 2e-6);

        let mut adam = adam::Adam::new(&weights);
        for (k, expected) in [0.086_193_595_576, 0.086_004_659_807, 0.085_843_769_669].iter().enumerate() {
            let gradient::Answer { loss, mut gradient, .. } =
                gradient::loss_and_gradient(&net, &weights, &examples, Loss::MaskedMse).unwrap();
            assert!((loss - expected).abs() < 1e-6, "step {k}: expected {expected}, found {loss}");
            if k == 0 {
                testing::close_gradients(&gradient, &golden.gradients());
            }
            adam::clip_norm(&mut gradient, Some(1.0));
            adam.step(&mut weights, &gradient, 2.56e-3, 0.0);
        }
        for (name, expected) in &golden.strip("w_after3.").0 {
            testing::close(&weights.0[name], expected, 2e-6);
        }
    }

    #[test]
    fn blocks_of_pixels_add_up_on_any_threads_and_nan_goes_through() {
        let net = PixelRnn::new(&SMALL, &backend::device());
        let weights = net.start(3);
        let examples = |pixels: usize, from: usize| {
            let cut = |all: ArrayD<f32>| {
                all.slice_axis(ndarray::Axis(0), ndarray::Slice::from(from..from + pixels)).to_owned()
            };
            Examples {
                inputs: vec![
                    cut(testing::numbers(&[600, 2], 1)),
                    cut(testing::numbers(&[600, 1], 2)),
                    cut(testing::numbers(&[600, 4, 3], 3)),
                ],
                target: cut(testing::numbers(&[600, 4], 4)),
                valid: ArrayD::ones(ndarray::IxDyn(&[pixels, 4])),
                ..Examples::default()
            }
        };
        let of = |threads, examples: &Examples| {
            testing::on_threads(threads, &net, &weights, examples, Loss::MaskedMse)
        };
        let mut whole = examples(600, 0);
        let (one, two) = (of(1, &whole), of(2, &whole));
        assert_eq!(one.loss.to_bits(), two.loss.to_bits());
        assert_eq!(one.gradient, two.gradient);

        // A gradient is a sum divided by the count of values and 1.
        let mut sum = weights.zeros_like();
        for from in (0..600).step_by(100) {
            let mut part = of(1, &examples(100, from)).gradient;
            part.scale(401.0 / 2401.0);
            sum.add(&part);
        }
        testing::close_gradients(&one.gradient, &sum);

        whole.inputs[2][[599, 3, 1]] = f32::NAN;
        assert!(of(2, &whole).loss.is_nan());
    }

    #[test]
    fn negative_inputs_count_without_quirks_only() {
        let device = backend::device();
        for quirks in [true, false] {
            let net = PixelRnn::new(&RnnShape { drivers: 1, quirks, ..SMALL }, &device);
            let net = net.loaded(&net.start(1), &device).unwrap();
            let filled = |shape: &[usize], value: f32| ArrayD::from_elem(ndarray::IxDyn(shape), value);
            let of = |driver: f32| {
                let inputs = [filled(&[1, 2], 0.5), filled(&[1, 1], 0.2), filled(&[1, 3, 1], driver)];
                weights::to_array(net.predict(&inputs, &device))
            };
            assert_eq!(of(-0.5) == of(-0.9), quirks);
        }
    }

    #[test]
    fn the_weather_of_the_context_goes_through_the_gru_first() {
        let device = backend::device();
        let of = |context_weather| {
            let net = PixelRnn::new(&RnnShape { context_weather, ..SMALL }, &device);
            let net = net.loaded(&net.start(3), &device).unwrap();
            let inputs =
                [testing::numbers(&[7, 2], 1), testing::numbers(&[7, 1], 2), testing::numbers(&[7, 6, 3], 3)];
            weights::to_array(net.predict(&inputs, &device))
        };
        // Six steps of drivers: all predicted, or the first two heard only.
        let (all, told) = (of(false), of(true));
        assert_eq!((all.shape(), told.shape()), (&[7, 6][..], &[7, 4][..]));
        assert_eq!(told, all.slice_axis(ndarray::Axis(1), ndarray::Slice::from(2..)));
    }

    #[test]
    fn names_of_published_checkpoints() {
        let own = |name: &str| PixelRnn::published_name(name).unwrap();
        assert_eq!(own("model.state_mlp.module.2.1.bias"), "state_mlp.lin.2.bias");
        assert_eq!(own("model.rnn.weight_ih_l0"), "rnn.weight_ih_l0");
        assert_eq!(own("update_mlp.lin.0.weight"), "update_mlp.lin.0.weight");
    }

    #[test]
    fn published_size_has_the_published_parameters() {
        let shape = RnnShape {
            context_steps: 9,
            statics: 21,
            drivers: 27,
            hidden: 192,
            update: 96,
            state_hidden: 384,
            update_hidden: 128,
            quirks: true,
            context_weather: false,
        };
        assert_eq!(weights::collect(&PixelRnn::new(&shape, &backend::device())).count(), 416_865);
    }
}
