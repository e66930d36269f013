//! Whittaker smoothing: the daily values `z` that minimise `Σ (y - z)² + λ Σ (second difference of z)²`, the first sum
//! over the observed days and the second over all days from the first to the last observation of the pixel
//! (Eilers 2003, <https://doi.org/10.1021/ac034173t>).
//!
//! The normal equations have five diagonals. They are factorised once for all bands, in double precision, a few pixels
//! side by side. Between the first and the last observation the values do not depend on how far the axis reaches; one
//! observation is its own curve, two are joined by a line.

use ndarray::NdFloat;

use super::series::Series;
use super::{Daily, Extrapolate, FillPlan, LANES, narrow, wide};

/// Pixels that are solved together; their working set stays in the second-level cache.
const WIDTH: usize = 8;

type Lane = [f64; WIDTH];
const ZERO: Lane = [0.0; WIDTH];

/// The factors `L D Lᵀ` of the normal equations, by day.
#[derive(Clone, Copy)]
struct Factor {
    /// One day and two days below the diagonal of `L`.
    below: [Lane; 2],
    /// Inverse of the diagonal `D`.
    inverse: Lane,
}

const NO_FACTOR: Factor = Factor { below: [ZERO; 2], inverse: ZERO };

pub(super) fn sum<F: NdFloat + From<f32>>(
    plan: &FillPlan,
    lambda: f64,
    series: &Series<F>,
    daily: &mut Daily<F>,
) {
    let days = usize::try_from(plan.last_day() - plan.first_day() + 1).unwrap_or(0);
    let mut dates = vec![None; days];
    for (d, date) in plan.dates.iter().enumerate() {
        dates[(date.day - plan.first_day()) as usize] = Some(d);
    }
    let mut factors = vec![NO_FACTOR; days];
    let mut right = vec![ZERO; days];
    let mut sums = vec![ZERO; plan.steps.len];
    for at in (0..LANES).step_by(WIDTH) {
        let lanes = Lanes { plan, series, dates: &dates, at };
        lanes.factorise(lambda, &mut factors);
        for band in 0..series.bands {
            lanes.forward(band, &factors, &mut right);
            sums.fill(ZERO);
            let (head, tail) = lanes.backward(&factors, &right, &mut sums);
            for p in 0..WIDTH {
                daily.head[band][at + p] = narrow(head[p]);
                daily.tail[band][at + p] = narrow(tail[p]);
                for (k, sum) in sums.iter().enumerate() {
                    daily.sums[k * series.bands + band][at + p] = narrow(sum[p]);
                }
            }
        }
    }
}

/// [`WIDTH`] pixels of a block, from lane `at` on, and the date of each day that has one.
struct Lanes<'a, F> {
    plan: &'a FillPlan,
    series: &'a Series<F>,
    dates: &'a [Option<usize>],
    at: usize,
}

impl<F: NdFloat + From<f32>> Lanes<'_, F> {
    /// λ where the second difference of the days `i`, `i + 1`, `i + 2` is penalised, else 0.
    fn penalty(&self, lambda: f64, i: usize) -> Lane {
        let day = self.plan.first_day() + i as i32;
        std::array::from_fn(|p| {
            let (first, last) = (self.series.first[self.at + p], self.series.last[self.at + p]);
            if first <= day && day + 2 <= last { lambda } else { 0.0 }
        })
    }

    /// 1 where the day is observed, or lies outside the observed days, where its equation is `z = 0`.
    fn weight(&self, i: usize) -> Lane {
        let day = self.plan.first_day() + i as i32;
        let next = self.dates[i].map(|d| &self.series.next[d]);
        std::array::from_fn(|p| {
            let (first, last) = (self.series.first[self.at + p], self.series.last[self.at + p]);
            let observed = next.is_some_and(|next| next[self.at + p] == day);
            if observed || day < first || day > last { 1.0 } else { 0.0 }
        })
    }

    fn factorise(&self, lambda: f64, factors: &mut [Factor]) {
        let (mut penalties, mut previous) = ([ZERO; 2], [NO_FACTOR; 2]);
        for (i, factor) in factors.iter_mut().enumerate() {
            let (penalty, weight) = (self.penalty(lambda, i), self.weight(i));
            for p in 0..WIDTH {
                let (one_back, two_back) = (penalties[0][p], penalties[1][p]);
                let far = two_back * previous[1].inverse[p];
                // The entry beside the diagonal, before it is divided by the previous pivot.
                let beside = -2.0 * (one_back + two_back) - two_back * previous[0].below[0][p];
                let near = beside * previous[0].inverse[p];
                let diagonal = weight[p] + penalty[p] + 4.0 * one_back + two_back;
                factor.below[0][p] = near;
                factor.below[1][p] = far;
                factor.inverse[p] = 1.0 / (diagonal - two_back * far - beside * near);
            }
            penalties = [penalty, penalties[0]];
            previous = [*factor, previous[0]];
        }
    }

    /// `right` becomes the solution of `L right = y`, with `y` zero on days without an observation.
    fn forward(&self, band: usize, factors: &[Factor], right: &mut [Lane]) {
        let mut previous = [ZERO; 2];
        for (i, (factor, right)) in factors.iter().zip(right.iter_mut()).enumerate() {
            let mut value = ZERO;
            if let Some(d) = self.dates[i] {
                let day = self.plan.first_day() + i as i32;
                let observed = &self.series.values[d * self.series.bands + band];
                for p in 0..WIDTH {
                    let valid = self.series.next[d][self.at + p] == day;
                    value[p] = if valid { wide(observed[self.at + p]) } else { 0.0 };
                }
            }
            for p in 0..WIDTH {
                value[p] -= factor.below[0][p] * previous[0][p] + factor.below[1][p] * previous[1][p];
            }
            *right = value;
            previous = [value, previous[0]];
        }
    }

    /// Solves `D Lᵀ z = right` from the last day to the first and adds `z` to the sum of its step. Gives the values of
    /// the days of the first and the last observation, where they are needed.
    fn backward(&self, factors: &[Factor], right: &[Lane], sums: &mut [Lane]) -> (Lane, Lane) {
        let (mut head, mut tail) = (ZERO, ZERO);
        let (mut later, mut later_factors) = ([ZERO; 2], [NO_FACTOR; 2]);
        for (i, (factor, right)) in factors.iter().zip(right).enumerate().rev() {
            let mut z = ZERO;
            for p in 0..WIDTH {
                let one_on = later_factors[0].below[0][p] * later[0][p];
                let two_on = later_factors[1].below[1][p] * later[1][p];
                z[p] = right[p] * factor.inverse[p] - one_on - two_on;
            }
            let day = self.plan.first_day() + i as i32;
            if let Some(k) = self.plan.steps.index_of(day) {
                for p in 0..WIDTH {
                    sums[k][p] += z[p];
                }
            }
            if self.plan.extrapolate == Extrapolate::Nearest {
                for p in 0..WIDTH {
                    head[p] = if day == self.series.first[self.at + p] { z[p] } else { head[p] };
                    tail[p] = if day == self.series.last[self.at + p] { z[p] } else { tail[p] };
                }
            }
            later = [z, later[0]];
            later_factors = [*factor, later_factors[0]];
        }
        (head, tail)
    }
}
