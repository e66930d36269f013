//! Ensemble of radial basis functions: Gaussian kernels of several widths, each weighted by how densely the observations
//! fill it (Schwieder et al. 2016, <https://doi.org/10.1016/j.jag.2016.06.019>; as in FORCE).
//!
//! A kernel's mean of the observations has the weight `Σ w / M`, the kernel's weight on the observed days over that on
//! all days. The ensemble is then `Σ_k (Σ w_k y) / M_k` over `Σ_k (Σ w_k) / M_k`: one kernel, the mixture of all, which
//! is narrow where observations are dense and wide where they are not. A day has no value where no observation is
//! within the reach of the widest.

use ndarray::NdFloat;

use super::series::Series;
use super::{Daily, Extrapolate, FillPlan, LANES, narrow};

/// The mixture: the weight of an observation by its distance in days.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    weights: Vec<f64>,
}

impl Kernel {
    /// Each kernel reaches as far as its weights on both sides sum up to at most `cutoff`, and at least over its own day.
    pub(super) fn new(sigmas: &[f64], cutoff: f64) -> Kernel {
        let mut weights: Vec<f64> = Vec::new();
        for sigma in sigmas {
            let weight = |days: usize| {
                let distance = days as f64 / sigma;
                (-0.5 * distance * distance).exp() / (sigma * std::f64::consts::TAU.sqrt())
            };
            let (mut reach, mut sum) = (0, weight(0));
            while sum + 2.0 * weight(reach + 1) <= cutoff {
                reach += 1;
                sum += 2.0 * weight(reach);
            }
            weights.resize(weights.len().max(reach + 1), 0.0);
            for (days, total) in weights.iter_mut().enumerate().take(reach + 1) {
                *total += weight(days) / sum;
            }
        }
        Kernel { weights }
    }

    /// The weight of an observation on `from` for a day, 0 beyond the reach.
    fn weight(&self, from: i32, day: i32) -> f64 {
        self.weights.get(from.abs_diff(day) as usize).copied().unwrap_or(0.0)
    }
}

pub(super) fn sum<F: NdFloat + From<f32>>(
    plan: &FillPlan,
    kernel: &Kernel,
    series: &Series<F>,
    daily: &mut Daily<F>,
) {
    let (zero, one) = (F::zero(), F::one());
    let bands = series.bands;
    let observed: Vec<[F; LANES]> = plan
        .dates
        .iter()
        .zip(&series.next)
        .map(|(date, next)| std::array::from_fn(|p| if next[p] == date.day { one } else { zero }))
        .collect();
    let reach = kernel.weights.len() as i32 - 1;
    let mut smooth = vec![[zero; LANES]; bands];
    for (k, counts) in daily.counts.iter_mut().enumerate() {
        *counts = [0; LANES];
        let from = plan.steps.start(k).max(plan.first_day());
        let to = plan.steps.end(k).min(plan.last_day());
        for day in from..=to {
            let mut total = [zero; LANES];
            smooth.fill([zero; LANES]);
            let begin = plan.dates.partition_point(|date| date.day < day - reach);
            let end = plan.dates.partition_point(|date| date.day <= day + reach);
            for (d, date) in plan.dates.iter().enumerate().take(end).skip(begin) {
                let weight: F = narrow(kernel.weight(date.day, day));
                let mut weights = [zero; LANES];
                for p in 0..LANES {
                    weights[p] = weight * observed[d][p];
                    total[p] += weights[p];
                }
                for (smooth, values) in smooth.iter_mut().zip(&series.values[d * bands..][..bands]) {
                    for p in 0..LANES {
                        smooth[p] += weights[p] * values[p];
                    }
                }
            }
            let mut inverse = [zero; LANES];
            for p in 0..LANES {
                let found = total[p] > zero && series.first[p] <= day && day <= series.last[p];
                inverse[p] = if found { one / total[p] } else { zero };
                counts[p] += i32::from(found);
            }
            for (sum, smooth) in daily.sums[k * bands..][..bands].iter_mut().zip(&smooth) {
                for p in 0..LANES {
                    sum[p] += smooth[p] * inverse[p];
                }
            }
        }
    }
    if plan.extrapolate == Extrapolate::Nearest {
        for (band, (head, tail)) in daily.head.iter_mut().zip(&mut daily.tail).enumerate() {
            for p in 0..LANES {
                head[p] = on_day(plan, kernel, series, band, p, series.first[p]);
                tail[p] = on_day(plan, kernel, series, band, p, series.last[p]);
            }
        }
    }
}

/// The value of one pixel on one day; 0 where no observation is near.
fn on_day<F: NdFloat + From<f32>>(
    plan: &FillPlan,
    kernel: &Kernel,
    series: &Series<F>,
    band: usize,
    pixel: usize,
    day: i32,
) -> F {
    let (mut sum, mut total) = (F::zero(), F::zero());
    for (d, date) in plan.dates.iter().enumerate().filter(|(d, date)| series.next[*d][pixel] == date.day) {
        let weight: F = narrow(kernel.weight(date.day, day));
        sum += weight * series.values[d * series.bands + band][pixel];
        total += weight;
    }
    if total > F::zero() { sum / total } else { F::zero() }
}
