//! Linear gap filling in time and step means, in one pass over the observations.
//!
//! What xarray does with `interpolate_na("time", "linear")` on the daily axis and `resample("10D").mean()`, without the
//! daily axis: between two valid observations the days of a step lie on one line, so their sum is their number times
//! the line's value at their mean day. The work is proportional to observations + steps, and it runs over
//! [`LANES`] pixels at once, all bands sharing the weights.

use std::ops::Range;

use ndarray::{Array2, Array3, ArrayViewMut2, ArrayViewMut3, Axis, NdFloat, aview1};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Steps;

/// Pixels that are filled together; their working set stays in the second-level cache.
pub const LANES: usize = 128;

/// The `dist_next` of a step that no valid observation follows.
pub const NONE_FOLLOWS: i16 = -1;

/// Later than any day, and its negative earlier than any.
const NEVER: i32 = i32::MAX / 8;

/// What to do before the first and after the last valid observation of a pixel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Extrapolate {
    /// Nothing: those days have no value, as published.
    #[default]
    None,
    /// They get the value of the first or last valid observation.
    Nearest,
}

/// Step means of the gap-filled series.
#[derive(Clone, Debug)]
pub struct Filled<F> {
    /// `[band, step, pixel]`; NaN where no day of the step has a value.
    pub values: Array3<F>,
    /// `[step, pixel]`: 0 where at least one valid observation falls in the step, else 1.
    pub mask: Array2<u8>,
    /// `[step, pixel]`: days from the last day of the step to the next valid observation at or after it;
    /// [`NONE_FOLLOWS`] if none follows.
    pub dist_next: Array2<i16>,
}

/// Which days of which step lie between which acquisitions: the same for all pixels.
#[derive(Clone, Debug)]
pub struct FillPlan {
    steps: Steps,
    extrapolate: Extrapolate,
    dates: Vec<Date>,
    /// For each step, the first date at or after its last day.
    following: Vec<Option<usize>>,
}

/// One day with acquisitions.
#[derive(Clone, Debug)]
struct Date {
    day: i32,
    acquisitions: Range<usize>,
    step: Option<usize>,
    /// The days after the previous date up to this one, by step.
    spans: Vec<Span>,
}

/// `days` consecutive days inside step `step`; `twice_mean` is the sum of the first and the last.
#[derive(Clone, Copy, Debug)]
struct Span {
    step: usize,
    days: i32,
    twice_mean: i32,
}

impl FillPlan {
    /// Plans the filling of acquisitions on `days` (CF days, ascending; several may share a day, then the mean of the
    /// valid ones counts) onto `steps`. Acquisitions outside the steps serve as ends of gaps.
    #[must_use]
    pub fn new(days: &[i32], steps: Steps, extrapolate: Extrapolate) -> FillPlan {
        let mut dates: Vec<Date> = Vec::new();
        for (index, &day) in days.iter().enumerate() {
            match dates.last_mut() {
                Some(date) if date.day == day => date.acquisitions.end = index + 1,
                previous => {
                    let spans = previous.map_or(Vec::new(), |previous| spans(&steps, previous.day + 1, day));
                    dates.push(Date {
                        day,
                        acquisitions: index..index + 1,
                        step: steps.index_of(day),
                        spans,
                    });
                }
            }
        }
        let following = (0..steps.len)
            .map(|k| Some(dates.partition_point(|date| date.day < steps.end(k))).filter(|&d| d < dates.len()))
            .collect();
        FillPlan { steps, extrapolate, dates, following }
    }

    /// Fills `pixels` pixels of `bands` bands on the calling thread.
    ///
    /// `load(acquisition, pixels, valid, values)` copies one acquisition: `valid[i]` becomes 1 or 0 and
    /// `values[band][i]` the value of the `i`-th pixel of the range. Values of invalid pixels are ignored.
    pub fn fill<F, L>(&self, pixels: usize, bands: usize, load: L) -> Filled<F>
    where
        F: NdFloat + From<f32>,
        L: Fn(usize, Range<usize>, &mut [u8], &mut [[F; LANES]]),
    {
        let mut filled = self.unfilled(pixels, bands);
        let mut scratch = Scratch::new(self, bands);
        for block in blocks(&mut filled) {
            scratch.fill(self, block, &load);
        }
        filled
    }

    /// As [`FillPlan::fill`], on all threads of the current rayon pool. The result is the same, bit for bit.
    pub fn fill_parallel<F, L>(&self, pixels: usize, bands: usize, load: L) -> Filled<F>
    where
        F: NdFloat + From<f32>,
        L: Fn(usize, Range<usize>, &mut [u8], &mut [[F; LANES]]) + Sync,
    {
        let mut filled = self.unfilled(pixels, bands);
        blocks(&mut filled)
            .into_par_iter()
            .for_each_init(|| Scratch::new(self, bands), |scratch, block| scratch.fill(self, block, &load));
        filled
    }

    fn unfilled<F: NdFloat>(&self, pixels: usize, bands: usize) -> Filled<F> {
        Filled {
            values: Array3::zeros((bands, self.steps.len, pixels)),
            mask: Array2::zeros((self.steps.len, pixels)),
            dist_next: Array2::zeros((self.steps.len, pixels)),
        }
    }
}

/// The days `from ..= to`, cut at the borders of the steps; days outside the steps are left out.
fn spans(steps: &Steps, from: i32, to: i32) -> Vec<Span> {
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

/// The part of the output that holds up to [`LANES`] consecutive pixels.
struct Block<'a, F> {
    first: usize,
    values: ArrayViewMut3<'a, F>,
    mask: ArrayViewMut2<'a, u8>,
    dist_next: ArrayViewMut2<'a, i16>,
}

fn blocks<F>(filled: &mut Filled<F>) -> Vec<Block<'_, F>> {
    let values = filled.values.axis_chunks_iter_mut(Axis(2), LANES);
    let mask = filled.mask.axis_chunks_iter_mut(Axis(1), LANES);
    let dist_next = filled.dist_next.axis_chunks_iter_mut(Axis(1), LANES);
    let parts = values.zip(mask).zip(dist_next).enumerate();
    parts
        .map(|(i, ((values, mask), dist_next))| Block { first: i * LANES, values, mask, dist_next })
        .collect()
}

/// Working memory of one block. Indices: `date * bands + band` and `step * bands + band`.
struct Scratch<F> {
    bands: usize,
    /// Observed values; after the backward pass those of the next valid observation at or after the date.
    values: Vec<[F; LANES]>,
    /// Day of the next valid observation at or after the date, or [`NEVER`].
    next: Vec<[i32; LANES]>,
    /// Sum over the days of a step.
    sums: Vec<[F; LANES]>,
    /// Day of the latest valid observation, or -[`NEVER`]; at the end, the last one.
    previous: [i32; LANES],
    previous_values: Vec<[F; LANES]>,
    mask: Vec<[u8; LANES]>,
}

impl<F: NdFloat + From<f32>> Scratch<F> {
    fn new(plan: &FillPlan, bands: usize) -> Scratch<F> {
        let zero = [F::zero(); LANES];
        Scratch {
            bands,
            values: vec![zero; plan.dates.len() * bands],
            next: vec![[NEVER; LANES]; plan.dates.len()],
            sums: vec![zero; plan.steps.len * bands],
            previous: [-NEVER; LANES],
            previous_values: vec![zero; bands],
            mask: vec![[1; LANES]; plan.steps.len],
        }
    }

    fn fill<L>(&mut self, plan: &FillPlan, block: Block<'_, F>, load: &L)
    where
        L: Fn(usize, Range<usize>, &mut [u8], &mut [[F; LANES]]),
    {
        let pixels = block.first..block.first + block.mask.ncols();
        self.load(plan, &pixels, load);
        self.find_next();
        self.sum(plan);
        self.store(plan, block);
    }

    /// Loads all dates; `next` becomes the date's own day where it is valid.
    fn load<L>(&mut self, plan: &FillPlan, pixels: &Range<usize>, load: &L)
    where
        L: Fn(usize, Range<usize>, &mut [u8], &mut [[F; LANES]]),
    {
        let n = pixels.len();
        let mut more = vec![[F::zero(); LANES]; self.bands];
        self.mask.fill([1; LANES]);
        for (d, date) in plan.dates.iter().enumerate() {
            let values = &mut self.values[d * self.bands..][..self.bands];
            let mut valid = [0; LANES];
            load(date.acquisitions.start, pixels.clone(), &mut valid[..n], values);
            let mut count = valid;
            for acquisition in date.acquisitions.clone().skip(1) {
                let mut more_valid = [0; LANES];
                load(acquisition, pixels.clone(), &mut more_valid[..n], &mut more);
                merge(&mut count, values, &more_valid, &more);
            }
            for (next, &count) in self.next[d].iter_mut().zip(&count) {
                *next = if count > 0 { date.day } else { NEVER };
            }
            if let Some(step) = date.step {
                for (mask, &count) in self.mask[step].iter_mut().zip(&count) {
                    *mask = if count > 0 { 0 } else { *mask };
                }
            }
        }
    }

    /// From the last date to the first: where a date is not valid, what follows it.
    fn find_next(&mut self) {
        let Some(last) = self.next.len().checked_sub(1) else { return };
        let nothing = [F::zero(); LANES];
        for d in (0..=last).rev() {
            for b in 0..self.bands {
                let (head, tail) = self.values.split_at_mut((d + 1) * self.bands);
                let following = if d < last { &tail[b] } else { &nothing };
                let own = &mut head[d * self.bands + b];
                for p in 0..LANES {
                    own[p] = if self.next[d][p] == NEVER { following[p] } else { own[p] };
                }
            }
            if d < last {
                let following = self.next[d + 1];
                for (next, following) in self.next[d].iter_mut().zip(following) {
                    *next = (*next).min(following);
                }
            }
        }
    }

    /// From the first date to the last: adds the days since the previous date to the sums of their steps.
    fn sum(&mut self, plan: &FillPlan) {
        let (zero, one) = (F::zero(), F::one());
        self.sums.fill([zero; LANES]);
        self.previous = [-NEVER; LANES];
        let mut all_begun = false;
        for (d, date) in plan.dates.iter().enumerate() {
            let next = &self.next[d];
            let values = &self.values[d * self.bands..][..self.bands];
            // Half the inverse of the gap's length, and 1, where the gap has two ends; else 0.
            let (mut half_inverse, mut inside) = ([zero; LANES], [zero; LANES]);
            for p in 0..LANES {
                let has_ends = self.previous[p] != -NEVER && next[p] != NEVER;
                let twice_gap: F = real(2 * (next[p] - self.previous[p]).max(1));
                half_inverse[p] = if has_ends { one / twice_gap } else { zero };
                inside[p] = if has_ends { one } else { zero };
            }
            for span in &date.spans {
                let days: F = real(span.days);
                let (mut from_previous, mut from_next) = ([zero; LANES], [zero; LANES]);
                for p in 0..LANES {
                    let twice_since: F = real(span.twice_mean - 2 * self.previous[p]);
                    from_next[p] = days * (twice_since * half_inverse[p]);
                    from_previous[p] = days * inside[p] - from_next[p];
                }
                let sums = &mut self.sums[span.step * self.bands..][..self.bands];
                for ((sum, previous), value) in sums.iter_mut().zip(&self.previous_values).zip(values) {
                    for p in 0..LANES {
                        sum[p] += from_previous[p] * previous[p] + from_next[p] * value[p];
                    }
                }
            }
            if !all_begun {
                // The first valid observation of a pixel ends no gap: its day counts by itself.
                if let Some(step) = date.step {
                    let sums = &mut self.sums[step * self.bands..][..self.bands];
                    for (sum, value) in sums.iter_mut().zip(values) {
                        for p in 0..LANES {
                            let first = self.previous[p] == -NEVER && next[p] == date.day;
                            sum[p] += if first { value[p] } else { zero };
                        }
                    }
                }
            }
            for (previous, &next) in self.previous.iter_mut().zip(next) {
                *previous = if next == date.day { date.day } else { *previous };
            }
            for (previous, value) in self.previous_values.iter_mut().zip(values) {
                for p in 0..LANES {
                    previous[p] = if next[p] == date.day { value[p] } else { previous[p] };
                }
            }
            all_begun = all_begun || self.previous.iter().all(|&day| day != -NEVER);
        }
    }

    /// Divides the sums by the number of days with a value, and finds what follows each step.
    fn store(&self, plan: &FillPlan, mut block: Block<'_, F>) {
        let n = block.mask.ncols();
        let never = [NEVER; LANES];
        let first = self.next.first().unwrap_or(&never);
        let nearest = plan.extrapolate == Extrapolate::Nearest;
        let zero = F::zero();
        for k in 0..plan.steps.len {
            let (start, end) = (plan.steps.start(k), plan.steps.end(k));
            let (mut scale, mut before, mut after) = ([F::nan(); LANES], [zero; LANES], [zero; LANES]);
            for p in 0..LANES {
                let last = self.previous[p];
                let inside = (end.min(last) - start.max(first[p]) + 1).max(0);
                let count = if nearest && last != -NEVER { plan.steps.step_days } else { inside };
                let inverse = F::one() / real(count);
                scale[p] = if count > 0 { inverse } else { F::nan() };
                if nearest {
                    before[p] = real((first[p] - start).clamp(0, plan.steps.step_days));
                    after[p] = real((end - last).clamp(0, plan.steps.step_days));
                }
            }
            for b in 0..self.bands {
                let mut mean = self.sums[k * self.bands + b];
                if nearest {
                    let (head, tail) =
                        (self.values.get(b).copied().unwrap_or([zero; LANES]), self.previous_values[b]);
                    for p in 0..LANES {
                        mean[p] += before[p] * head[p] + after[p] * tail[p];
                    }
                }
                for p in 0..LANES {
                    mean[p] *= scale[p];
                }
                block.values.slice_mut(ndarray::s![b, k, ..]).assign(&aview1(&mean[..n]));
            }
            block.mask.row_mut(k).assign(&aview1(&self.mask[k][..n]));
            let following = plan.following[k].map_or(&never, |d| &self.next[d]);
            let mut distance = [NONE_FOLLOWS; LANES];
            for p in 0..LANES {
                let days = (following[p] - end).min(i32::from(i16::MAX));
                distance[p] = if following[p] == NEVER { NONE_FOLLOWS } else { days as i16 };
            }
            block.dist_next.row_mut(k).assign(&aview1(&distance[..n]));
        }
    }
}

/// Adds a further acquisition of the same day to the running means of the valid ones.
fn merge<F: NdFloat + From<f32>>(
    count: &mut [u8; LANES],
    values: &mut [[F; LANES]],
    more_valid: &[u8; LANES],
    more: &[[F; LANES]],
) {
    for p in (0..LANES).filter(|&p| more_valid[p] != 0) {
        count[p] = count[p].saturating_add(1);
        let n: F = f32::from(count[p]).into();
        for (value, more) in values.iter_mut().zip(more) {
            value[p] = if count[p] == 1 { more[p] } else { value[p] + (more[p] - value[p]) / n };
        }
    }
}

/// A number of days as a float; exact, as days are far below 2²⁴.
fn real<F: From<f32>>(days: i32) -> F {
    (days as f32).into()
}
