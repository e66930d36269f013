//! Gap filling in time and step means, by one of four methods, in blocks of [`LANES`] pixels.
//!
//! Every method reads the same series, the valid observations of each day, and gives for each step the mean of its daily
//! values. Bands share all that follows from the days of a pixel's observations alone.

mod harmonic;
mod linear;
mod rbf;
mod series;
mod whittaker;

use std::ops::Range;

use ndarray::{Array2, Array3, ArrayViewMut2, ArrayViewMut3, Axis, NdFloat, aview1};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Steps;
use harmonic::Basis;
use rbf::Kernel;
use series::Series;

/// Pixels that are filled together; their working set stays in the second-level cache.
pub const LANES: usize = 128;

/// The `dist_next` of a step that no valid observation follows.
pub const NONE_FOLLOWS: i16 = -1;

/// Later than any day, and its negative earlier than any.
const NEVER: i32 = i32::MAX / 8;

/// How the days between the valid observations of a pixel get their values.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// On a line between the two observations around the day.
    #[default]
    Linear,
    /// On the smoothest curve near the observations: see the README for all three curves.
    Whittaker {
        /// Weight of the squared second differences of the daily values.
        lambda: f64,
    },
    /// On mean, trend and annual harmonics, fitted by least squares.
    Harmonic {
        /// Number of harmonics: 1 is a wave a year.
        harmonics: usize,
        /// Added to the diagonal of the normal equations, the mean's excepted; in observations.
        ridge: f64,
    },
    /// By Gaussian kernels of several widths, weighted by how densely the observations fill them.
    Rbf {
        /// Standard deviations of the kernels (days).
        sigmas: Vec<f64>,
        /// Share of a kernel's weight that is kept around its centre.
        cutoff: f64,
    },
}

impl Method {
    /// The word in the configuration.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Method::Linear => "linear",
            Method::Whittaker { .. } => "whittaker",
            Method::Harmonic { .. } => "harmonic",
            Method::Rbf { .. } => "rbf",
        }
    }
}

/// What to do before the first and after the last valid observation of a pixel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Extrapolate {
    /// Nothing: those days have no value, as published.
    #[default]
    None,
    /// They get the value that the day of the first or last valid observation has.
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
    curve: Curve,
}

/// A method with what it needs to know about the days.
#[derive(Clone, Debug)]
enum Curve {
    Linear,
    Whittaker(f64),
    Harmonic(Basis),
    Rbf(Kernel),
}

/// One day with acquisitions.
#[derive(Clone, Debug)]
struct Date {
    day: i32,
    acquisitions: Range<usize>,
    step: Option<usize>,
    /// The days after the previous date up to this one, by step.
    spans: Vec<linear::Span>,
}

impl FillPlan {
    /// Plans the linear filling of acquisitions on `days` (CF days, ascending; several may share a day, then the mean of
    /// the valid ones counts) onto `steps`. Acquisitions outside the steps count as well: as ends of gaps, and as points
    /// that a curve goes through.
    #[must_use]
    pub fn new(days: &[i32], steps: Steps, extrapolate: Extrapolate) -> FillPlan {
        let mut dates: Vec<Date> = Vec::new();
        for (index, &day) in days.iter().enumerate() {
            match dates.last_mut() {
                Some(date) if date.day == day => date.acquisitions.end = index + 1,
                previous => {
                    let spans =
                        previous.map_or(Vec::new(), |previous| linear::spans(&steps, previous.day + 1, day));
                    let acquisitions = index..index + 1;
                    dates.push(Date { day, acquisitions, step: steps.index_of(day), spans });
                }
            }
        }
        let following = (0..steps.len)
            .map(|k| Some(dates.partition_point(|date| date.day < steps.end(k))).filter(|&d| d < dates.len()))
            .collect();
        FillPlan { steps, extrapolate, dates, following, curve: Curve::Linear }
    }

    /// The same plan with another method.
    #[must_use]
    pub fn with(mut self, method: &Method) -> FillPlan {
        self.curve = match method {
            Method::Linear => Curve::Linear,
            Method::Whittaker { lambda } => Curve::Whittaker(*lambda),
            Method::Harmonic { harmonics, ridge } => {
                Curve::Harmonic(Basis::new(self.first_day(), self.last_day(), *harmonics, *ridge))
            }
            Method::Rbf { sigmas, cutoff } => Curve::Rbf(Kernel::new(sigmas, *cutoff)),
        };
        self
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

    /// The first day with an acquisition; 0 where there is none.
    fn first_day(&self) -> i32 {
        self.dates.first().map_or(0, |date| date.day)
    }

    /// The last day with an acquisition; -1 where there is none.
    fn last_day(&self) -> i32 {
        self.dates.last().map_or(-1, |date| date.day)
    }
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

/// Working memory of one block.
struct Scratch<F> {
    series: Series<F>,
    daily: Daily<F>,
}

/// What a method makes of a block's series.
struct Daily<F> {
    /// Sum of the daily values of a step, at `step * bands + band`, between the first and the last valid observation.
    sums: Vec<[F; LANES]>,
    /// Number of those values, by step.
    counts: Vec<[i32; LANES]>,
    /// Values of the day of the first valid observation, by band; needed with [`Extrapolate::Nearest`] only.
    head: Vec<[F; LANES]>,
    /// As `head`, of the last.
    tail: Vec<[F; LANES]>,
}

impl<F: NdFloat + From<f32>> Scratch<F> {
    fn new(plan: &FillPlan, bands: usize) -> Scratch<F> {
        let zero = [F::zero(); LANES];
        let daily = Daily {
            sums: vec![zero; plan.steps.len * bands],
            counts: vec![[0; LANES]; plan.steps.len],
            head: vec![zero; bands],
            tail: vec![zero; bands],
        };
        Scratch { series: Series::new(plan, bands), daily }
    }

    fn fill<L>(&mut self, plan: &FillPlan, block: Block<'_, F>, load: &L)
    where
        L: Fn(usize, Range<usize>, &mut [u8], &mut [[F; LANES]]),
    {
        let pixels = block.first..block.first + block.mask.ncols();
        let (series, daily) = (&mut self.series, &mut self.daily);
        series.load(plan, &pixels, load);
        daily.sums.fill([F::zero(); LANES]);
        daily.count_inside(plan, series);
        match &plan.curve {
            Curve::Linear => linear::sum(plan, series, daily),
            Curve::Whittaker(lambda) => whittaker::sum(plan, *lambda, series, daily),
            Curve::Harmonic(basis) => harmonic::sum(plan, basis, series, daily),
            Curve::Rbf(kernel) => rbf::sum(plan, kernel, series, daily),
        }
        store(plan, series, daily, block);
    }
}

impl<F> Daily<F> {
    /// Counts every day from the first to the last valid observation.
    fn count_inside(&mut self, plan: &FillPlan, series: &Series<F>) {
        for (k, counts) in self.counts.iter_mut().enumerate() {
            let (start, end) = (plan.steps.start(k), plan.steps.end(k));
            for ((count, &first), &last) in counts.iter_mut().zip(&series.first).zip(&series.last) {
                *count = (end.min(last) - start.max(first) + 1).max(0);
            }
        }
    }
}

/// Divides the sums by the number of days with a value, and finds what follows each step.
fn store<F: NdFloat + From<f32>>(
    plan: &FillPlan,
    series: &Series<F>,
    daily: &Daily<F>,
    mut block: Block<'_, F>,
) {
    let n = block.mask.ncols();
    let bands = daily.head.len();
    let never = [NEVER; LANES];
    let nearest = plan.extrapolate == Extrapolate::Nearest;
    let zero = F::zero();
    for k in 0..plan.steps.len {
        let (start, end) = (plan.steps.start(k), plan.steps.end(k));
        let (mut scale, mut before, mut after) = ([F::nan(); LANES], [zero; LANES], [zero; LANES]);
        for p in 0..LANES {
            let mut count = daily.counts[k][p];
            if nearest && series.last[p] != -NEVER {
                let early = (series.first[p] - start).clamp(0, plan.steps.step_days);
                let late = (end - series.last[p]).clamp(0, plan.steps.step_days);
                (before[p], after[p]) = (real(early), real(late));
                count += early + late;
            }
            let inverse = F::one() / real(count);
            scale[p] = if count > 0 { inverse } else { F::nan() };
        }
        for b in 0..bands {
            let mut mean = daily.sums[k * bands + b];
            if nearest {
                for p in 0..LANES {
                    mean[p] += before[p] * daily.head[b][p] + after[p] * daily.tail[b][p];
                }
            }
            for p in 0..LANES {
                mean[p] *= scale[p];
            }
            block.values.slice_mut(ndarray::s![b, k, ..]).assign(&aview1(&mean[..n]));
        }
        block.mask.row_mut(k).assign(&aview1(&series.mask[k][..n]));
        let following = plan.following[k].map_or(&never, |d| &series.next[d]);
        let mut distance = [NONE_FOLLOWS; LANES];
        for p in 0..LANES {
            let days = (following[p] - end).min(i32::from(i16::MAX));
            distance[p] = if following[p] == NEVER { NONE_FOLLOWS } else { days as i16 };
        }
        block.dist_next.row_mut(k).assign(&aview1(&distance[..n]));
    }
}

/// A number of days as a float; exact, as days are far below 2²⁴.
fn real<F: From<f32>>(days: i32) -> F {
    (days as f32).into()
}

/// The nearest float: exact for single precision, to 2⁻⁴⁸ for double.
fn narrow<F: NdFloat + From<f32>>(value: f64) -> F {
    let high = value as f32;
    let low: F = ((value - f64::from(high)) as f32).into();
    <F as From<f32>>::from(high) + low
}

/// The value in double precision.
fn wide<F: NdFloat>(value: F) -> f64 {
    value.to_f64().unwrap_or(f64::NAN)
}
