//! The ConvLSTM of GreenEarthNet (Benson et al. 2024, <https://doi.org/10.48550/arXiv.2303.16198>): two cells that
//! read the context and two that write the forecast.
//!
//! The states are handed over. Each step starts from the frame before: it is added before the sigmoid. The forecast
//! of step k is driven by the weather of step k. Kept from the original: one frame is decoded from the last context
//! step's state, with channel 0 of the last observation added to all of its channels; it is fed, not returned.

use burn::module::Module;
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};
use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::config::ModelConfig;
use crate::harness::weights;
use crate::model::convlstm::Cell;
use crate::model::layers::{Conv, State, frame, frames_to_rows, zero_states};
use crate::model::teacher::{Teacher, fed};
use crate::model::{Defaults, Model, Sizes};

/// Sizes of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvLstmAeShape {
    /// Forecast channels, which are also the dynamic inputs; the first is the vegetation index.
    pub channels: usize,
    /// Static input layers.
    pub statics: usize,
    /// Weather inputs.
    pub weather: usize,
    /// Hidden channels of the two cells on either side; `[64, 64]` as published.
    pub hidden: [usize; 2],
    /// Side of the square kernel, odd; 3 as published, 1 in the "1x1 LSTM".
    pub kernel: usize,
    /// Steps forecast.
    pub target_steps: usize,
}

/// Encoder, decoder and a convolution that reads frames from the decoder's state.
#[derive(Module, Debug)]
pub(crate) struct ConvLstmAe {
    encoder_1_convlstm: Cell,
    encoder_2_convlstm: Cell,
    decoder_1_convlstm: Cell,
    decoder_2_convlstm: Cell,
    conv: Conv,
    #[module(skip)]
    target_steps: usize,
}

impl ConvLstmAe {
    /// The target frames, each `[batch, channel, y, x]`, in 0..1.
    ///
    /// # Shapes
    /// - `context`: `[batch, context, channel, y, x]`
    /// - `statics`: `[batch, layer, y, x]`
    /// - `weather`: `[batch, context + target, variable, y, x]`
    fn forecast(
        &self,
        context: &Tensor<5>,
        statics: &Tensor<4>,
        weather: &Tensor<5>,
        teacher: Option<&Teacher>,
    ) -> Vec<Tensor<4>> {
        let steps = context.dims()[1];
        let encoder = [&self.encoder_1_convlstm, &self.encoder_2_convlstm];
        let decoder = [&self.decoder_1_convlstm, &self.decoder_2_convlstm];
        let mut states = zero_states(encoder.iter().map(|cell| cell.hidden), statics);
        let inputs = |image, t| Tensor::cat(vec![image, statics.clone(), frame(weather, t)], 1);
        for t in 0..steps {
            step(encoder, inputs(frame(context, t), t), &mut states);
        }
        let index = frame(context, steps - 1).narrow(1, 0, 1);
        let mut last = sigmoid(self.conv.forward(states[1].0.clone()) + index);
        let mut frames = Vec::with_capacity(self.target_steps);
        for t in 0..self.target_steps {
            if t > 0 {
                last = fed(teacher, &last, t - 1);
            }
            step(decoder, inputs(last.clone(), steps + t), &mut states);
            last = sigmoid(self.conv.forward(states[1].0.clone()) + last);
            frames.push(last.clone());
        }
        frames
    }
}

fn step(cells: [&Cell; 2], mut input: Tensor<4>, states: &mut [State]) {
    for (cell, state) in cells.into_iter().zip(states) {
        *state = cell.step(input, state.clone());
        input = state.0.clone();
    }
}

impl Model for ConvLstmAe {
    type Shape = ConvLstmAeShape;

    const DEFAULTS: Defaults = Defaults { learning_rate: 1e-3, ..Defaults::GREENNESS };

    fn shape(config: &ModelConfig, sizes: &Sizes) -> ConvLstmAeShape {
        let hidden = config.hidden.clone().unwrap_or(vec![64]);
        ConvLstmAeShape {
            channels: sizes.channels,
            statics: sizes.statics,
            weather: sizes.weather,
            hidden: [hidden.first(), hidden.last()].map(|size| size.copied().unwrap_or(64)),
            kernel: config.kernel.unwrap_or(3),
            target_steps: sizes.target_steps,
        }
    }

    fn new(shape: &ConvLstmAeShape, device: &Device) -> ConvLstmAe {
        let ([first, second], kernel) = (shape.hidden, shape.kernel);
        let inputs = shape.channels + shape.statics + shape.weather;
        ConvLstmAe {
            encoder_1_convlstm: Cell::new(inputs, first, kernel, device),
            encoder_2_convlstm: Cell::new(first, second, kernel, device),
            decoder_1_convlstm: Cell::new(inputs, first, kernel, device),
            decoder_2_convlstm: Cell::new(first, second, kernel, device),
            conv: Conv::new(second, shape.channels, kernel, device),
            target_steps: shape.target_steps,
        }
    }

    fn feeds_back() -> bool {
        true
    }

    fn forward(&self, inputs: &[ArrayD<f32>], device: &Device) -> Tensor<2> {
        frames_to_rows(self.forecast(
            &weights::from_array(&inputs[0], device),
            &weights::from_array(&inputs[1], device),
            &weights::from_array(&inputs[2], device),
            Teacher::of(inputs, device).as_ref(),
        ))
    }

    fn problems(config: &ModelConfig) -> Vec<(&'static str, String)> {
        let sizes = config.hidden.as_ref().map_or(2, Vec::len);
        let bad = (sizes > 2).then(|| ("hidden", format!("this model has one or two sizes, found {sizes}")));
        bad.into_iter().collect()
    }

    /// The published checkpoints hold the network as `model`.
    fn published_name(name: &str) -> Option<String> {
        Some(name.strip_prefix("model.").unwrap_or(name).to_owned())
    }

    fn exported_name(own: &str) -> Option<String> {
        Some(format!("model.{own}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::gradient::Network;
    use crate::harness::{backend, testing};

    #[test]
    fn tiny_net_matches_pytorch() {
        let golden = testing::golden("convlstm_ae");
        let shape = ConvLstmAeShape {
            channels: 2,
            statics: 1,
            weather: 3,
            hidden: [4, 3],
            kernel: 3,
            target_steps: 3,
        };
        testing::matches(&ConvLstmAe::new(&shape, &backend::device()), &golden, &["ctx", "static", "wea"]);
    }

    #[test]
    fn published_size_has_the_published_parameters() {
        let shape = ConvLstmAeShape {
            channels: 5,
            statics: 3,
            weather: 24,
            hidden: [64, 64],
            kernel: 3,
            target_steps: 20,
        };
        assert_eq!(ConvLstmAe::new(&shape, &backend::device()).parameters().count(), 1_036_101);
    }
}
