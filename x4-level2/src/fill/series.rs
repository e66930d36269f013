//! The observations of a block, day by day, and what follows each of them.

use std::ops::Range;

use ndarray::NdFloat;

use super::{FillPlan, LANES, NEVER};

/// The series of [`LANES`] pixels. Index of `values`: `date * bands + band`.
pub(super) struct Series<F> {
    pub(super) bands: usize,
    /// Values of the next valid observation at or after the date, zero where none is.
    pub(super) values: Vec<[F; LANES]>,
    /// Day of the next valid observation at or after the date, or [`NEVER`]: the date's own day where it is valid.
    pub(super) next: Vec<[i32; LANES]>,
    /// Day of the first valid observation, or [`NEVER`].
    pub(super) first: [i32; LANES],
    /// Day of the last valid observation, or -[`NEVER`].
    pub(super) last: [i32; LANES],
    /// By step: 0 where a valid observation falls in it, else 1.
    pub(super) mask: Vec<[u8; LANES]>,
}

impl<F: NdFloat + From<f32>> Series<F> {
    pub(super) fn new(plan: &FillPlan, bands: usize) -> Series<F> {
        Series {
            bands,
            values: vec![[F::zero(); LANES]; plan.dates.len() * bands],
            next: vec![[NEVER; LANES]; plan.dates.len()],
            first: [NEVER; LANES],
            last: [-NEVER; LANES],
            mask: vec![[1; LANES]; plan.steps.len],
        }
    }

    /// Loads all dates, then finds what follows each.
    pub(super) fn load<L>(&mut self, plan: &FillPlan, pixels: &Range<usize>, load: &L)
    where
        L: Fn(usize, Range<usize>, &mut [u8], &mut [[F; LANES]]),
    {
        let n = pixels.len();
        let mut more = vec![[F::zero(); LANES]; self.bands];
        self.mask.fill([1; LANES]);
        self.last = [-NEVER; LANES];
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
            for ((next, last), &count) in self.next[d].iter_mut().zip(&mut self.last).zip(&count) {
                *next = if count > 0 { date.day } else { NEVER };
                *last = if count > 0 { date.day } else { *last };
            }
            if let Some(step) = date.step {
                for (mask, &count) in self.mask[step].iter_mut().zip(&count) {
                    *mask = if count > 0 { 0 } else { *mask };
                }
            }
        }
        self.find_next();
    }

    /// From the last date to the first: where a date is not valid, what follows it.
    fn find_next(&mut self) {
        self.first = [NEVER; LANES];
        let Some(end) = self.next.len().checked_sub(1) else { return };
        let nothing = [F::zero(); LANES];
        for d in (0..=end).rev() {
            for b in 0..self.bands {
                let (head, tail) = self.values.split_at_mut((d + 1) * self.bands);
                let following = if d < end { &tail[b] } else { &nothing };
                let own = &mut head[d * self.bands + b];
                for p in 0..LANES {
                    own[p] = if self.next[d][p] == NEVER { following[p] } else { own[p] };
                }
            }
            if d < end {
                let following = self.next[d + 1];
                for (next, following) in self.next[d].iter_mut().zip(following) {
                    *next = (*next).min(following);
                }
            }
        }
        self.first = self.next[0];
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
