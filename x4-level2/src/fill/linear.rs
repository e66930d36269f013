//! Linear in time between valid observations, in one pass over the observations.
//!
//! What xarray does with `interpolate_na("time", "linear")` on the daily axis and `resample("10D").mean()`, without the
//! daily axis: between two valid observations the days of a step lie on one line, so their sum is their number times
//! the line's value at their mean day. The work is proportional to observations + steps.

use ndarray::NdFloat;

use super::series::Series;
use super::{Daily, FillPlan, LANES, NEVER, real};
use crate::Steps;

/// `days` consecutive days inside step `step`; `twice_mean` is the sum of the first and the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    step: usize,
    days: i32,
    twice_mean: i32,
}

/// The days `from ..= to`, cut at the borders of the steps; days outside the steps are left out.
pub(super) fn spans(steps: &Steps, from: i32, to: i32) -> Vec<Span> {
    let last = steps.end(steps.len.saturating_sub(1));
    let (mut day, to) = (from.max(steps.first_day), to.min(last));
    let mut spans = Vec::new();
    while day <= to {
        let Some(step) = steps.index_of(day) else { break };
        let end = steps.end(step).min(to);
        spans.push(Span { step, days: end - day + 1, twice_mean: day + end });
        day = end + 1;
    }
    spans
}

/// From the first date to the last: adds the days since the previous date to the sums of their steps.
pub(super) fn sum<F: NdFloat + From<f32>>(plan: &FillPlan, series: &Series<F>, daily: &mut Daily<F>) {
    let (zero, one) = (F::zero(), F::one());
    let bands = series.bands;
    let mut previous = [-NEVER; LANES];
    let previous_values = &mut daily.tail;
    if let Some(head) = series.values.get(..bands) {
        daily.head.copy_from_slice(head);
    }
    let mut all_begun = false;
    for (d, date) in plan.dates.iter().enumerate() {
        let next = &series.next[d];
        let values = &series.values[d * bands..][..bands];
        // Half the inverse of the gap's length, and 1, where the gap has two ends; else 0.
        let (mut half_inverse, mut inside) = ([zero; LANES], [zero; LANES]);
        for p in 0..LANES {
            let has_ends = previous[p] != -NEVER && next[p] != NEVER;
            let twice_gap: F = real(2 * (next[p] - previous[p]).max(1));
            half_inverse[p] = if has_ends { one / twice_gap } else { zero };
            inside[p] = if has_ends { one } else { zero };
        }
        for span in &date.spans {
            let days: F = real(span.days);
            let (mut from_previous, mut from_next) = ([zero; LANES], [zero; LANES]);
            for p in 0..LANES {
                let twice_since: F = real(span.twice_mean - 2 * previous[p]);
                from_next[p] = days * (twice_since * half_inverse[p]);
                from_previous[p] = days * inside[p] - from_next[p];
            }
            let sums = &mut daily.sums[span.step * bands..][..bands];
            for ((sum, previous), value) in sums.iter_mut().zip(&*previous_values).zip(values) {
                for p in 0..LANES {
                    sum[p] += from_previous[p] * previous[p] + from_next[p] * value[p];
                }
            }
        }
        if !all_begun {
            // The first valid observation of a pixel ends no gap: its day counts by itself.
            if let Some(step) = date.step {
                let sums = &mut daily.sums[step * bands..][..bands];
                for (sum, value) in sums.iter_mut().zip(values) {
                    for p in 0..LANES {
                        let first = previous[p] == -NEVER && next[p] == date.day;
                        sum[p] += if first { value[p] } else { zero };
                    }
                }
            }
        }
        for (previous, &next) in previous.iter_mut().zip(next) {
            *previous = if next == date.day { date.day } else { *previous };
        }
        for (previous, value) in previous_values.iter_mut().zip(values) {
            for p in 0..LANES {
                previous[p] = if next[p] == date.day { value[p] } else { previous[p] };
            }
        }
        all_begun = all_begun || previous.iter().all(|&day| day != -NEVER);
    }
}
