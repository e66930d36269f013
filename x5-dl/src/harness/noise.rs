//! What happens between two frames that nothing tells: standard normal numbers, and how far from them a network may stray.

use std::f64::consts::TAU;

use ndarray::{ArrayD, Axis, IxDyn, Slice};
use rand::Rng;

use crate::harness::gradient::Examples;

/// Weight of the divergence beside the mean error; that of Arcon.
const DIVERGENCE_WEIGHT: f32 = 1e-3;

/// Gives the examples of a network with `latent` numbers for what happens between two of the frames standard normal ones,
/// `[item, transition, number]`, and the divergence 0 as one more value to be met, with its weight in a loss that is divided
/// by the count of the values.
pub(crate) fn with_noise(examples: &mut Examples, transitions: usize, latent: usize, rng: &mut impl Rng) {
    let items = examples.len();
    let noise = ArrayD::from_shape_simple_fn(IxDyn(&[items, transitions, latent]), || normal(rng));
    examples.inputs.push(noise);
    let counted = examples.valid.iter().filter(|&&v| v > 0.0).count() + items + 1;
    let weight = DIVERGENCE_WEIGHT * counted as f32 / items.max(1) as f32;
    let more = |all: &ArrayD<f32>, value: f32| {
        let mut wider = ArrayD::from_elem(IxDyn(&[items, all.len_of(Axis(1)) + 1]), value);
        wider.slice_axis_mut(Axis(1), Slice::from(..-1)).assign(all);
        wider
    };
    examples.target = more(&examples.target, 0.0);
    examples.valid = more(&examples.valid, weight);
}

/// A standard normal number (Box & Muller 1958, <https://doi.org/10.1214/aoms/1177706645>).
fn normal(rng: &mut impl Rng) -> f32 {
    let (radius, angle): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    ((-2.0 * radius.ln()).sqrt() * (TAU * angle).cos()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    /// Two items of three values, of which four count: .001 · (4 + 2 + 1) / 2 for each divergence, so that the loss has .001
    /// of their mean.
    #[test]
    fn the_divergence_weighs_a_thousandth() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut examples = Examples {
            target: ArrayD::ones(IxDyn(&[2, 3])),
            valid: ndarray::arr2(&[[1.0f32, 1.0, 0.0], [1.0, 0.0, 1.0]]).into_dyn(),
            ..Examples::default()
        };
        with_noise(&mut examples, 50, 20, &mut rng);
        assert_eq!(
            examples.target,
            ndarray::arr2(&[[1.0f32, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0]]).into_dyn()
        );
        let weights: Vec<f32> = [3, 7].map(|k| *examples.valid.iter().nth(k).unwrap()).into();
        assert!(weights.iter().all(|w| (w - 0.0035).abs() < 1e-8), "{weights:?}");
        // 2000 numbers: three standard deviations of mean and variance.
        let noise = &examples.inputs[0];
        let mean = noise.mean().unwrap();
        assert!(mean.abs() < 0.07 && (noise.mapv(|v| (v - mean).powi(2)).mean().unwrap() - 1.0).abs() < 0.1);
    }
}
