//! What the benchmarks time.

use std::time::Instant;

use ndarray::{ArrayD, IxDyn};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::Error;
use crate::harness::adam::Adam;
use crate::harness::backend;
use crate::harness::gradient::{self, Examples, Loss, Network};
use crate::model::Model;
use crate::model::convlstm::{ConvLstm, ConvLstmShape};

/// Best seconds of a training step of the published ConvLSTM (10 + 20 steps, five weather variables) on random
/// frames of `side` × `side` pixels, after one step to warm up.
///
/// # Errors
/// None in practice: the weights are the network's own.
pub fn convlstm_step(batch: usize, side: usize, repeats: usize) -> Result<f64, Error> {
    let shape = ConvLstmShape {
        channels: 4,
        statics: 1,
        weather: 5,
        hidden: vec![32; 3],
        kernel: 3,
        target_steps: 20,
        quirks: true,
    };
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut random =
        |shape: &[usize]| ArrayD::from_shape_simple_fn(IxDyn(shape), || rng.random_range(0.0..1.0f32));
    let values = 20 * 4 * side * side;
    let examples = Examples {
        inputs: vec![
            random(&[batch, 10, 4, side, side]),
            random(&[batch, 1, side, side]),
            random(&[batch, 30, 5, side, side]),
        ],
        target: random(&[batch, values]),
        valid: ArrayD::ones(IxDyn(&[batch, values])),
        ..Examples::default()
    };
    let net = ConvLstm::new(&shape, &backend::device());
    let mut weights = net.initial(0);
    let mut adam = Adam::new(&weights);
    let mut best = f64::INFINITY;
    for _ in 0..=repeats {
        let clock = Instant::now();
        let answer = gradient::loss_and_gradient(&net, &weights, &examples, Loss::MaskedL1)?;
        adam.step(&mut weights, &answer.gradient, 1e-3, 0.0);
        best = best.min(clock.elapsed().as_secs_f64());
    }
    Ok(best)
}
