//! Loss and gradient of a batch, on two threads when told so, with the same bits either way.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ndarray::{ArrayD, Axis, Slice};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::harness::backend;
use crate::harness::weights::{self, Weights};

/// A network as the training loop sees it: arrays in, `[item, value]` out.
pub(crate) trait Network: Module + Sync {
    /// Predictions for the items of `inputs`, each flattened to one row.
    fn predict(&self, inputs: &[ArrayD<f32>], device: &Device) -> Tensor<2>;
}

/// Inputs and targets of one step. Every array has the items on axis 0; `target` and `valid` are
/// `[item, value]`, `valid` is 1 where the target counts and 0 elsewhere, and `target` is finite everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Examples {
    pub(crate) inputs: Vec<ArrayD<f32>>,
    pub(crate) target: ArrayD<f32>,
    pub(crate) valid: ArrayD<f32>,
}

impl Examples {
    pub(crate) fn len(&self) -> usize {
        self.target.len_of(Axis(0))
    }

    fn part(&self, from: usize, to: usize) -> Examples {
        let cut = |a: &ArrayD<f32>| a.slice_axis(Axis(0), Slice::from(from..to)).to_owned();
        Examples {
            inputs: self.inputs.iter().map(cut).collect(),
            target: cut(&self.target),
            valid: cut(&self.valid),
        }
    }
}

/// What is minimised over the valid values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// sum |p - y| / (count + 1)
    MaskedL1,
    /// sum (p - y)² / (count + 1)
    MaskedMse,
}

/// Parts a batch is split into. It is a constant, not the number of threads, so that sums have one order.
const PARTS: usize = 2;

/// Loss and its gradient with respect to every parameter.
pub(crate) fn loss_and_gradient<N: Network>(
    network: &N,
    weights: &Weights,
    examples: &Examples,
    loss: Loss,
) -> Result<(f64, Weights), Error> {
    let parts = over_parts(examples, |part, count| {
        let device = backend::training_device();
        let network = weights::load(network.clone(), weights, &device)?;
        let value = masked_loss(&network, part, count, loss, &device);
        let gradients = value.backward();
        Ok((scalar(value), weights::collect_gradients(&network, &gradients)))
    })?;
    let mut parts = parts.into_iter();
    let Some((mut total, mut sum)) = parts.next() else { return Ok((0.0, weights.zeros_like())) };
    for (value, gradient) in parts {
        total += value;
        sum.add(&gradient);
    }
    Ok((total, sum))
}

/// Loss without gradients.
pub(crate) fn loss_only<N: Network>(
    network: &N,
    weights: &Weights,
    examples: &Examples,
    loss: Loss,
) -> Result<f64, Error> {
    let parts = over_parts(examples, |part, count| {
        let device = backend::device();
        let network = weights::load(network.clone(), weights, &device)?;
        Ok(scalar(masked_loss(&network, part, count, loss, &device)))
    })?;
    Ok(parts.into_iter().sum())
}

/// Runs `work` on each part of the batch in its own thread; results in the order of the parts. `work` also gets
/// the number of valid values of the whole batch, so that the parts' losses and gradients simply add up.
fn over_parts<R: Send>(
    examples: &Examples,
    work: impl Fn(&Examples, f64) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    let count = examples.valid.iter().filter(|&&v| v > 0.0).count() as f64;
    let items = examples.len();
    let size = items.div_ceil(PARTS).max(1);
    let parts: Vec<Examples> =
        (0..items).step_by(size).map(|from| examples.part(from, (from + size).min(items))).collect();
    if rayon::current_num_threads() < 2 {
        return parts.iter().map(|part| work(part, count)).collect();
    }
    let work = &work;
    std::thread::scope(|scope| {
        let running: Vec<_> = parts.iter().map(|part| scope.spawn(move || work(part, count))).collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

fn masked_loss<N: Network>(
    network: &N,
    part: &Examples,
    count: f64,
    loss: Loss,
    device: &Device,
) -> Tensor<1> {
    let target: Tensor<2> = weights::from_array(&part.target, device);
    let valid: Tensor<2> = weights::from_array(&part.valid, device);
    let error = network.predict(&part.inputs, device) - target;
    let error = match loss {
        Loss::MaskedL1 => error.abs(),
        Loss::MaskedMse => error.powi_scalar(2),
    };
    (error * valid).sum().div_scalar(count + 1.0)
}

fn scalar(value: Tensor<1>) -> f64 {
    f64::from(value.into_scalar::<f32>())
}
