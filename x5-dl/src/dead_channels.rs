//! Channels that a model has lost: behind a last ReLU that lets nothing through there is no way back.

use ndarray::Axis;

use crate::error::Error;
use crate::harness::backend;
use crate::harness::gradient::{Examples, Network};
use crate::harness::weights::{self, Weights};
use crate::plan::ModelPlan;

/// Says which channels the model will never forecast any more, unless that was `told` before.
pub(crate) fn tell_dead_channels(
    plan: &ModelPlan,
    network: &dyn Network,
    weights: &Weights,
    validation: &[Examples],
    told: &mut Vec<usize>,
) -> Result<(), Error> {
    let channels = &plan.data.dynamic;
    let dead = dead_channels(network, weights, validation, channels.len())?;
    if !dead.is_empty() && dead != *told {
        let names: Vec<&str> = dead.iter().map(|&k| channels[k].as_str()).collect();
        tracing::warn!(
            model = plan.name,
            "the model has collapsed{}: it forecasts 0 everywhere, and no gradient gets through its last ReLU there any \
             more; train it again with a smaller `learning_rate`, a `warm_up`, more `steps` or another `seed`",
            if dead.len() < channels.len() { format!(" in {}", names.join(", ")) } else { String::new() }
        );
        *told = dead;
    }
    Ok(())
}

/// The channels in which the network answers 0 to everything: its output is a ReLU, and that is dead there.
fn dead_channels(
    network: &dyn Network,
    weights: &Weights,
    examples: &[Examples],
    channels: usize,
) -> Result<Vec<usize>, Error> {
    let device = backend::device();
    let network = network.loaded(weights, &device)?;
    let mut silent = vec![!examples.is_empty(); channels];
    for part in examples {
        let values = weights::to_array(network.predict(&part.inputs, &device));
        let pixels = values.len_of(Axis(1)) / (part.steps * channels).max(1);
        for item in values.outer_iter() {
            // A divergence may come after the frames.
            for (k, value) in item.iter().take(part.steps * channels * pixels).enumerate() {
                silent[k / pixels.max(1) % channels] &= *value == 0.0;
            }
        }
    }
    Ok((0..channels).filter(|&channel| silent[channel]).collect())
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, IxDyn};

    use super::*;
    use crate::model::Model;
    use crate::model::convlstm::{ConvLstm, ConvLstmShape};

    /// Without weights the cell state stays at f · 0 + i · tanh 0 = 0, and so does the output.
    #[test]
    fn only_channels_without_any_answer_are_dead() {
        let shape = ConvLstmShape {
            channels: 2,
            statics: 1,
            weather: 1,
            hidden: vec![3],
            kernel: 3,
            target_steps: 2,
            quirks: true,
        };
        let net = ConvLstm::new(&shape, &backend::device());
        let ones = |shape: &[usize]| ArrayD::<f32>::ones(IxDyn(shape));
        let target = ones(&[1, 2 * 2 * 4 * 4]);
        let inputs = vec![ones(&[1, 3, 2, 4, 4]), ones(&[1, 1, 4, 4]), ones(&[1, 5, 1, 4, 4])];
        let examples = [Examples { inputs, valid: target.clone(), target, steps: 2, ..Examples::default() }];
        // The last cell has two units and gates i, f, o and g: tanh g tells whether a unit's state is above or below 0.
        let with_gates = |g: [f32; 2]| {
            let mut weights = net.initial(1);
            let bias = weights.0.get_mut("cells.1.conv.bias").unwrap();
            (bias[6], bias[7]) = (g[0], g[1]);
            weights
        };
        let alive = with_gates([1e6, 1e6]);
        let dead =
            |weights: &Weights, examples: &[Examples]| dead_channels(&net, weights, examples, 2).unwrap();
        assert_eq!(dead(&alive.zeros_like(), &examples), [0, 1]);
        assert!(dead(&alive, &examples).is_empty());
        assert!(dead(&alive.zeros_like(), &[]).is_empty(), "nothing was asked");
        assert_eq!(dead(&with_gates([1e6, -1e6]), &examples), [1]);
    }
}
