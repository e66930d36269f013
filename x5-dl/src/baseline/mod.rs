//! Forecasts that cost nothing: what a model must beat.

mod own_climatology;
mod previous_year;

use std::collections::BTreeMap;

use minicube::{TEN_DAYS_A_YEAR, ten_days_of_year};
use ndarray::{Array5, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::data::context::{finite_mean, last_valid};
use crate::data::dataset::Dataset;
use crate::data::{Batch, DataSpec};
use crate::error::Error;

pub(crate) use own_climatology::own_climatology;
pub(crate) use previous_year::PreviousYear;

/// The baselines there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// Each pixel's last valid value of the context, for ever.
    Persistence,
    /// Each pixel's mean over its valid context values: what EarthNet2021 calls persistence.
    ContextMean,
    /// The mean of the training split at the same time of year, by land cover where that is known.
    Climatology,
    /// Each pixel's mean over its training years at the same time of year; where Level 2 is split in time.
    PixelClimatology,
    /// Each pixel's value one year before.
    PreviousYear,
}

impl Baseline {
    /// Name in tables and files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Baseline::Persistence => "persistence",
            Baseline::ContextMean => "context_mean",
            Baseline::Climatology => "climatology",
            Baseline::PixelClimatology => "pixel_climatology",
            Baseline::PreviousYear => "previous_year",
        }
    }
}

/// `[batch, target, channel, y, x]`: the last valid context value. Where a pixel has none, its last finite stored
/// value; where it has none either, the mean of the frame's context.
#[must_use]
pub fn persistence(batch: &Batch, spec: &DataSpec) -> Array5<f32> {
    constant(batch, spec, |b, y, x, c| match last_valid(batch, b, spec.context_steps, y, x) {
        Some(t) => batch.dynamic[[b, t, c, y, x]],
        None => (0..spec.context_steps)
            .rev()
            .map(|t| batch.dynamic[[b, t, c, y, x]])
            .find(|v| v.is_finite())
            .unwrap_or(f32::NAN),
    })
}

/// `[batch, target, channel, y, x]`: the mean of the valid context values. Where a pixel has none, the mean over
/// the cube's valid context values.
#[must_use]
pub fn context_mean(batch: &Batch, spec: &DataSpec) -> Array5<f32> {
    constant(batch, spec, |b, y, x, c| {
        let valid = |t: &usize| batch.valid[[b, *t, y, x]] > 0.0;
        let (sum, count) = (0..spec.context_steps)
            .filter(valid)
            .map(|t| f64::from(batch.dynamic[[b, t, c, y, x]]))
            .filter(|v| v.is_finite())
            .fold((0.0, 0u32), |(s, n), v| (s + v, n + 1));
        if count == 0 { f32::NAN } else { (sum / f64::from(count)) as f32 }
    })
}

/// Repeats one frame; NaN becomes the frame's mean.
fn constant(
    batch: &Batch,
    spec: &DataSpec,
    value: impl Fn(usize, usize, usize, usize) -> f32,
) -> Array5<f32> {
    let (n, _, channels, rows, cols) = batch.dynamic.dim();
    let mut out = Array5::zeros((n, spec.target_steps, channels, rows, cols));
    for b in 0..n {
        for c in 0..channels {
            let frame = ndarray::Array2::from_shape_fn((rows, cols), |(y, x)| value(b, y, x, c));
            let mean = finite_mean(frame.iter().copied());
            let frame = frame.mapv(|v| if v.is_finite() { v } else { mean });
            for mut step in out.index_axis_mut(Axis(0), b).outer_iter_mut() {
                step.index_axis_mut(Axis(0), c).assign(&frame);
            }
        }
    }
    out
}

/// Mean over the training split, by land cover and time of year.
#[derive(Clone, Debug)]
pub struct Climatology {
    channels: usize,
    land_cover: Option<usize>,
    /// Per class (0 = all) and bin of the year, one mean a channel.
    means: BTreeMap<u8, Vec<Vec<f32>>>,
}

type Sums = BTreeMap<u8, Vec<Vec<(f64, u64)>>>;

impl Climatology {
    /// Averages the valid values of the training samples in bins of ten days of the year, smoothed over three
    /// bins around the year. A class or bin without values falls back to all classes, then to the mean of all.
    ///
    /// # Errors
    /// [`Error::Files`] if a sample cannot be read.
    pub fn of(training: &Dataset) -> Result<Climatology, Error> {
        let channels = training.spec().dynamic.len();
        let land_cover = training.spec().statics.iter().position(|name| name == "landcover");
        let steps = training.spec().steps();
        let mut sums = Sums::new();
        // Partial sums come back in sample order, so the total does not depend on the number of threads.
        let indices: Vec<usize> = (0..training.len()).collect();
        for some in indices.chunks(16) {
            let parts = some
                .par_iter()
                .map(|&k| {
                    let mut part = Sums::new();
                    let mut first = 0;
                    while first < training.steps() {
                        let start = first.min(training.steps() - steps);
                        let pick = crate::data::Pick { sample: k, first_step: start, crop: None };
                        let batch = training.pick(&[pick])?;
                        add(&mut part, &batch, land_cover, first - start);
                        first = start + steps;
                    }
                    Ok(part)
                })
                .collect::<Result<Vec<_>, Error>>()?;
            for part in parts {
                merge(&mut sums, &part);
            }
        }
        Ok(Climatology { channels, land_cover, means: means(&sums, channels) })
    }

    /// `[batch, target, channel, y, x]`.
    #[must_use]
    pub fn forecast(&self, batch: &Batch, spec: &DataSpec) -> Array5<f32> {
        let (n, _, _, rows, cols) = batch.dynamic.dim();
        let shape = (n, spec.target_steps, self.channels, rows, cols);
        Array5::from_shape_fn(shape, |(b, t, c, y, x)| {
            let class = self.land_cover.map_or(0, |layer| class_of(batch.statics[[b, layer, y, x]]));
            let table = self.means.get(&class).or_else(|| self.means.get(&0));
            table.map_or(0.0, |table| table[ten_days_of_year(batch.dates[[b, spec.context_steps + t]])][c])
        })
    }
}

fn class_of(value: f32) -> u8 {
    if value.is_finite() && (1.0..=255.0).contains(&value) { value as u8 } else { 0 }
}

/// Adds the values of a one-sample batch from step `from` on, to the pixel's class and to class 0.
fn add(sums: &mut Sums, batch: &Batch, land_cover: Option<usize>, from: usize) {
    let (_, steps, channels, rows, cols) = batch.dynamic.dim();
    let empty = || vec![vec![(0.0, 0u64); channels]; TEN_DAYS_A_YEAR];
    for t in from..steps {
        let bin = ten_days_of_year(batch.dates[[0, t]]);
        for y in 0..rows {
            for x in 0..cols {
                if batch.valid[[0, t, y, x]] <= 0.0 {
                    continue;
                }
                let class = land_cover.map_or(0, |layer| class_of(batch.statics[[0, layer, y, x]]));
                for class in if class == 0 { vec![0] } else { vec![0, class] } {
                    let cell = &mut sums.entry(class).or_insert_with(empty)[bin];
                    for (c, (sum, count)) in cell.iter_mut().enumerate() {
                        *sum += f64::from(batch.dynamic[[0, t, c, y, x]]);
                        *count += 1;
                    }
                }
            }
        }
    }
}

fn merge(into: &mut Sums, part: &Sums) {
    for (&class, bins) in part {
        match into.get_mut(&class) {
            None => {
                into.insert(class, bins.clone());
            }
            Some(mine) => {
                for (a, b) in mine.iter_mut().flatten().zip(bins.iter().flatten()) {
                    *a = (a.0 + b.0, a.1 + b.1);
                }
            }
        }
    }
}

fn means(sums: &Sums, channels: usize) -> BTreeMap<u8, Vec<Vec<f32>>> {
    let total = |bins: &Vec<Vec<(f64, u64)>>, c: usize| {
        bins.iter().map(|b| b[c]).fold((0.0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    };
    let mean = |(sum, count): (f64, u64)| (count > 0).then(|| (sum / count as f64) as f32);
    let smooth = |bins: &Vec<Vec<(f64, u64)>>, k: usize, c: usize| {
        let near = [k + TEN_DAYS_A_YEAR - 1, k, k + 1].map(|k| bins[k % TEN_DAYS_A_YEAR][c]);
        mean(near.into_iter().fold((0.0, 0), |a, b| (a.0 + b.0, a.1 + b.1)))
    };
    sums.iter()
        .map(|(&class, bins)| {
            let table = (0..TEN_DAYS_A_YEAR)
                .map(|k| {
                    (0..channels)
                        .map(|c| {
                            let all = sums.get(&0);
                            smooth(bins, k, c)
                                .or_else(|| all.and_then(|all| smooth(all, k, c)))
                                .or_else(|| all.and_then(|all| mean(total(all, c))))
                                .unwrap_or(0.0)
                        })
                        .collect()
                })
                .collect();
            (class, table)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, Array4, ArrayD, IxDyn};

    fn batch() -> (Batch, DataSpec) {
        // Two pixels: the first sees 0.1, (cloud: 0.9), 0.3; the second is never seen.
        let values = [0.1, f32::NAN, 0.9, f32::NAN, 0.3, f32::NAN, 0.7, 0.7];
        let valid = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0];
        let dynamic = ArrayD::from_shape_vec(IxDyn(&[1, 4, 1, 1, 2]), values.to_vec()).unwrap();
        let batch = Batch {
            dynamic: dynamic.into_dimensionality().unwrap(),
            valid: Array4::from_shape_vec((1, 4, 1, 2), valid.to_vec()).unwrap(),
            weather: Array5::zeros((1, 4, 0, 1, 1)),
            statics: Array4::zeros((1, 0, 1, 2)),
            dates: Array2::zeros((1, 4)),
            sample_ids: vec!["a".into()],
        };
        let spec = DataSpec {
            dynamic: vec!["kndvi".into()],
            context_steps: 3,
            target_steps: 1,
            ..DataSpec::default()
        };
        (batch, spec)
    }

    #[test]
    fn persistence_takes_the_last_valid_value() {
        let (batch, spec) = batch();
        assert_eq!(persistence(&batch, &spec).iter().copied().collect::<Vec<_>>(), [0.3, 0.3]);
    }

    #[test]
    fn context_mean_leaves_clouds_out() {
        let (batch, spec) = batch();
        // (0.1 + 0.3) / 2; the unseen pixel takes the cube's mean.
        for value in context_mean(&batch, &spec) {
            assert!((value - 0.2).abs() < 1e-7);
        }
    }

    #[test]
    fn climatology_is_a_mean_by_bin_and_class() {
        let mut sums = Sums::new();
        let (mut batch, _) = batch();
        batch.dates = Array2::from_shape_vec((1, 4), vec![0, 0, 0, 180]).unwrap();
        add(&mut sums, &batch, None, 0);
        let means = means(&sums, 1);
        // 1 January 1970: 0.1 and 0.3; 30 June: 0.7 and 0.7; nothing else, so the mean of all = 1.8 / 4.
        assert!((means[&0][0][0] - 0.2).abs() < 1e-6);
        assert!((means[&0][18][0] - 0.7).abs() < 1e-6);
        assert!((means[&0][9][0] - 0.45).abs() < 1e-6);
    }
}
