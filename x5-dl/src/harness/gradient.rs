//! Loss and gradient of a batch, on all threads, with the same bits on any number of them.

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{DType, Device, Gradients, Tensor};
use ndarray::{Array4, ArrayD, Axis, Slice};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::harness::weights::{self, Weights};
use crate::harness::{backend, statistics};
use crate::kernel;

/// A network as the training loop sees it: named parameters, arrays in, `[item, value]` out.
pub(crate) trait Network: Send + Sync {
    /// Parameters to start training from.
    fn initial(&self, seed: u64) -> Weights;

    /// The parameters as they are.
    fn parameters(&self) -> Weights;

    /// The same network with other parameters, on `device`.
    fn loaded(&self, weights: &Weights, device: &Device) -> Result<Box<dyn Network>, Error>;

    /// Predictions for the items of `inputs`, each flattened to one row.
    fn predict(&self, inputs: &[ArrayD<f32>], device: &Device) -> Tensor<2>;

    /// Items that go through the network together in training, where none sees another: the fewer, the less memory.
    fn at_once(&self) -> usize {
        usize::MAX
    }

    /// The gradients of the parameters after a backward pass.
    fn gradients(&self, gradients: &Gradients) -> Weights;

    /// The running statistics that this thread's forward pass moved, by name.
    fn statistics(&self) -> Weights {
        Weights::default()
    }
}

/// Inputs and targets of one step. Every array has the items on axis 0; `target` and `valid` are
/// `[item, value]`, `valid` is above 0 where the target counts and 0 elsewhere, and `target` is finite everywhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Examples {
    pub(crate) inputs: Vec<ArrayD<f32>>,
    pub(crate) target: ArrayD<f32>,
    pub(crate) valid: ArrayD<f32>,
    /// Steps that the values of an item are of: a value is `[step, channel, pixel]`.
    pub(crate) steps: usize,
    /// The sample that each item comes from.
    pub(crate) samples: Vec<String>,
    /// Quantiles that the network predicts of each value of the target: its values are `[step, quantile, pixel]`.
    pub(crate) quantiles: Vec<f64>,
}

impl Examples {
    pub(crate) fn len(&self) -> usize {
        self.target.len_of(Axis(0))
    }

    /// The items in blocks of `size` and a rest.
    fn blocks(&self, size: usize) -> impl Iterator<Item = Examples> {
        let items = self.len();
        (0..items).step_by(size.max(1)).map(move |from| self.part(from, from.saturating_add(size).min(items)))
    }

    fn part(&self, from: usize, to: usize) -> Examples {
        let cut = |a: &ArrayD<f32>| a.slice_axis(Axis(0), Slice::from(from..to)).to_owned();
        Examples {
            inputs: self.inputs.iter().map(cut).collect(),
            target: cut(&self.target),
            valid: cut(&self.valid),
            steps: self.steps,
            samples: self.samples.get(from..to).unwrap_or_default().to_vec(),
            quantiles: self.quantiles.clone(),
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
    /// sum (NDVI(p) - NDVI(y))² / (count + 1), with NDVI = (nir - red) / (nir + red + 1e-6); where the four bands
    /// are forecast.
    MaskedNdvi,
    /// The mean over vegetation pixels of each one's mean of (p - y)²: of the vegetation index, where one is among
    /// the forecast variables. What GreenEarthNet's models minimise.
    PixelMse,
    /// The mean over the quantiles τ of sum max(τ (y - p), (τ - 1) (y - p)) / (count + 1), which each quantile
    /// minimises (Koenker & Bassett 1978, <https://doi.org/10.2307/1913643>).
    Quantile,
}

/// Parts that a batch is split into. They do not go by the number of threads, so that sums have one order.
const PARTS: usize = 16;
/// The same where the items of a part are normalised together: few parts, so that each has many.
const NORMALISED_PARTS: usize = 2;

/// What one batch says.
pub(crate) struct Answer {
    /// The loss.
    pub(crate) loss: f64,
    /// Its gradient with respect to every parameter.
    pub(crate) gradient: Weights,
    /// The running statistics that moved: the mean of the parts.
    pub(crate) statistics: Weights,
}

impl Answer {
    fn plus(mut self, other: Answer) -> Answer {
        self.loss += other.loss;
        self.gradient.add(&other.gradient);
        self.statistics.add(&other.statistics);
        self
    }
}

/// Loss, its gradient and what the pass left behind.
pub(crate) fn loss_and_gradient(
    network: &dyn Network,
    weights: &Weights,
    examples: &Examples,
    loss: Loss,
) -> Result<Answer, Error> {
    let parts = over_parts(weights, examples, loss, |device, part, norm| {
        let device = device.clone().autodiff();
        let network = network.loaded(weights, &device)?;
        let answers = part.blocks(network.at_once()).map(|block| {
            let value = masked_loss(&*network, &block, norm, loss, &device);
            let gradients = value.backward();
            Answer {
                loss: scalar(value),
                gradient: network.gradients(&gradients),
                statistics: network.statistics(),
            }
        });
        Ok(answers.reduce(Answer::plus))
    })?;
    let count = parts.len();
    let Some(mut sum) = parts.into_iter().flatten().reduce(Answer::plus) else {
        return Ok(Answer { loss: 0.0, gradient: weights.zeros_like(), statistics: Weights::default() });
    };
    sum.statistics.scale(1.0 / count as f32);
    Ok(sum)
}

/// Loss without gradients.
pub(crate) fn loss_only(
    network: &dyn Network,
    weights: &Weights,
    examples: &Examples,
    loss: Loss,
) -> Result<f64, Error> {
    let parts = over_parts(weights, examples, loss, |device, part, norm| {
        let network = network.loaded(weights, device)?;
        let losses =
            part.blocks(network.at_once()).map(|block| masked_loss(&*network, &block, norm, loss, device));
        Ok(losses.map(scalar).sum::<f64>())
    })?;
    Ok(parts.into_iter().sum())
}

/// Runs `work` on each part of the batch, one after the other in each thread; results in the order of the parts. On the CPU
/// all threads share the parts, of several GPUs each has one. `work` also gets what the sum over the whole batch is divided
/// by, so that the parts' losses and gradients simply add up.
fn over_parts<R: Send>(
    weights: &Weights,
    examples: &Examples,
    loss: Loss,
    work: impl Fn(&Device, &Examples, f64) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    let norm = match loss {
        // Each pixel's weights sum to 1.
        Loss::PixelMse => examples.valid.iter().map(|&v| f64::from(v)).sum::<f64>().max(1.0),
        Loss::MaskedNdvi => count(examples) / BANDS as f64 + 1.0,
        Loss::Quantile => (count(examples) + 1.0) * examples.quantiles.len().max(1) as f64,
        Loss::MaskedL1 | Loss::MaskedMse => count(examples) + 1.0,
    };
    let parts = match statistics::are_among(weights) {
        true => NORMALISED_PARTS,
        false => PARTS,
    };
    let devices = backend::devices();
    let (parts, threads) = match backend::IS_CPU {
        true => (parts, rayon::current_num_threads()),
        false => (devices.len(), devices.len()),
    };
    let parts: Vec<Examples> = examples.blocks(examples.len().div_ceil(parts).max(1)).collect();
    let each = threads / threads.min(parts.len()).max(1);
    let threads = threads.min(parts.len());
    let work = |device: &Device, part: &Examples| kernel::with_threads(each, || work(device, part, norm));
    if threads < 2 {
        return parts.iter().map(|part| work(&devices[0], part)).collect();
    }
    // Threads of its own: one of rayon's would take up another part while the network waits for its own work in the middle
    // of this one, and what the pass notes of itself is by thread.
    let (next, work, parts) = (&AtomicUsize::new(0), &work, &parts);
    let mut found: Vec<(usize, Result<R, Error>)> = std::thread::scope(|scope| {
        let one_by_one = |device: Device| {
            move || {
                let numbers = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)));
                let mine = numbers.map_while(|k| Some((k, work(&device, parts.get(k)?))));
                mine.collect::<Vec<_>>()
            }
        };
        let each = devices.iter().cycle().take(threads);
        let running: Vec<_> = each.map(|device| scope.spawn(one_by_one(device.clone()))).collect();
        let joined = running.into_iter().map(|thread| thread.join());
        joined.flat_map(|all| all.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    found.sort_by_key(|(k, _)| *k);
    found.into_iter().map(|(_, answer)| answer).collect()
}

fn masked_loss(network: &dyn Network, part: &Examples, norm: f64, loss: Loss, device: &Device) -> Tensor<1> {
    let target: Tensor<2> = weights::from_array_f32(&part.target, device);
    let valid: Tensor<2> = weights::from_array_f32(&part.valid, device);
    let prediction = network.predict(&part.inputs, device).cast(DType::F32);
    let sum = match loss {
        Loss::MaskedL1 => ((prediction - target).abs() * valid).sum(),
        Loss::MaskedMse | Loss::PixelMse => ((prediction - target).powi_scalar(2) * valid).sum(),
        Loss::Quantile => {
            let levels = part.quantiles.len();
            let [items, all] = target.dims();
            let by_step = |values: Tensor<2>, levels: usize| -> Tensor<4> {
                values.reshape([items, part.steps, levels, all / part.steps.max(1)])
            };
            let missing = by_step(target, 1) - by_step(prediction, levels);
            let tilt = Array4::from_shape_fn((1, 1, levels, 1), |at| (part.quantiles[at.2] - 0.5) as f32);
            let tilted: Tensor<4> = weights::from_array_f32(&tilt.into_dyn(), device);
            // max(τ e, (τ - 1) e) = |e| / 2 + (τ - 1/2) e
            ((missing.clone().abs() * 0.5 + missing * tilted) * by_step(valid, 1)).sum()
        }
        Loss::MaskedNdvi => {
            let bands = |values: Tensor<2>| -> Tensor<4> {
                let [items, all] = values.dims();
                values.reshape([items, part.steps, BANDS, all / (part.steps * BANDS)])
            };
            let ndvi = |values: Tensor<2>| {
                let values = bands(values);
                let (red, nir) = (values.clone().narrow(2, RED, 1), values.narrow(2, NIR, 1));
                (nir.clone() - red.clone()) / (nir + red + 1e-6)
            };
            ((ndvi(prediction) - ndvi(target)).powi_scalar(2) * bands(valid).narrow(2, RED, 1)).sum()
        }
    };
    sum.div_scalar(norm)
}

/// Channels of a forecast of blue, green, red and near infrared.
const BANDS: usize = 4;
const RED: usize = 2;
const NIR: usize = 3;

fn count(examples: &Examples) -> f64 {
    examples.valid.iter().filter(|&&v| v > 0.0).count() as f64
}

/// The samples whose inputs, targets or predictions are not finite, each once.
pub(crate) fn unsound(
    network: &dyn Network,
    weights: &Weights,
    examples: &Examples,
) -> Result<Vec<String>, Error> {
    let device = backend::device();
    let prediction = weights::to_array(network.loaded(weights, &device)?.predict(&examples.inputs, &device));
    let arrays: Vec<&ArrayD<f32>> = examples.inputs.iter().chain([&examples.target, &prediction]).collect();
    let bad = |item: usize| {
        arrays.iter().any(|array| array.index_axis(Axis(0), item).iter().any(|v| !v.is_finite()))
    };
    let named = examples.samples.iter().enumerate().filter(|(item, _)| bad(*item));
    let mut found: Vec<String> = named.map(|(_, name)| name.clone()).collect();
    found.dedup();
    Ok(found)
}

fn scalar(value: Tensor<1>) -> f64 {
    f64::from(value.into_scalar::<f32>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::IxDyn;

    /// Predicts its only input.
    struct Echo;

    impl Network for Echo {
        fn initial(&self, _seed: u64) -> Weights {
            Weights::default()
        }
        fn parameters(&self) -> Weights {
            Weights::default()
        }
        fn loaded(&self, _weights: &Weights, _device: &Device) -> Result<Box<dyn Network>, Error> {
            Ok(Box::new(Echo))
        }
        fn predict(&self, inputs: &[ArrayD<f32>], device: &Device) -> Tensor<2> {
            weights::from_array(&inputs[0], device)
        }
        fn gradients(&self, _gradients: &Gradients) -> Weights {
            Weights::default()
        }
    }

    fn examples(prediction: &[f32], target: &[f32], valid: &[f32]) -> Examples {
        let row = |v: &[f32]| ArrayD::from_shape_vec(IxDyn(&[1, v.len()]), v.to_vec()).unwrap();
        Examples {
            inputs: vec![row(prediction)],
            target: row(target),
            valid: row(valid),
            steps: 1,
            samples: vec!["a".into()],
            quantiles: Vec::new(),
        }
    }

    #[test]
    fn losses_by_hand() {
        let of = |loss, e: &Examples| loss_only(&Echo, &Weights::default(), e, loss).unwrap();
        let two = examples(&[1.0, 3.0, 9.0], &[0.0, 1.0, 0.0], &[1.0, 1.0, 0.0]);
        // (1 + 2) / 3 and (1 + 4) / 3: the third value does not count.
        assert!((of(Loss::MaskedL1, &two) - 1.0).abs() < 1e-6);
        assert!((of(Loss::MaskedMse, &two) - 5.0 / 3.0).abs() < 1e-6);
        // One pixel of two values, each with half of its weight: (1 + 4) / 2.
        let halves = examples(&[1.0, 3.0, 9.0], &[0.0, 1.0, 0.0], &[0.5, 0.5, 0.0]);
        assert!((of(Loss::PixelMse, &halves) - 2.5).abs() < 1e-6);
        // Two quantiles of one value 1, .1 of 3 and .9 of .5: .9 · 2 and .9 · .5, over two quantiles of 1 + 1 values.
        let both = Examples { quantiles: vec![0.1, 0.9], ..examples(&[3.0, 0.5], &[1.0], &[1.0]) };
        assert!((of(Loss::Quantile, &both) - 2.25 / 4.0).abs() < 1e-6);
        // NDVI of (0.1, 0.3) is 0.5, of (0.2, 0.3) is 0.2: 0.09 over one pixel and one.
        let bands = examples(&[0.0, 0.0, 0.1, 0.3], &[0.5, 0.5, 0.2, 0.3], &[1.0; 4]);
        assert!((of(Loss::MaskedNdvi, &bands) - 0.045).abs() < 1e-5);
    }

    #[test]
    fn the_sample_that_is_not_finite_is_named() {
        let mut e = examples(&[1.0, 2.0], &[0.0, 0.0], &[1.0, 1.0]);
        assert!(unsound(&Echo, &Weights::default(), &e).unwrap().is_empty());
        e.inputs[0][[0, 1]] = f32::NAN;
        assert_eq!(unsound(&Echo, &Weights::default(), &e).unwrap(), ["a"]);
    }
}
