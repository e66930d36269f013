//! A checked set of series: the form the kernels work on. Missing points are left out, so series may differ in length.

use std::collections::BTreeMap;

use ndarray::ArrayView3;

use super::SeriesError;
use super::lanes::LANES;
use super::weight::NARROW_RANGE;

/// Series in C order.
#[derive(Clone, Debug)]
pub(super) struct Set {
    /// The points of all series that are there, one series after the other.
    values: Vec<f64>,
    /// Where each series begins in `values`, and the end.
    starts: Vec<usize>,
    /// All points, missing ones as NaN; empty where none is missing.
    gappy: Vec<f64>,
    pub(super) samples: usize,
    /// Steps, missing ones counted.
    pub(super) time: usize,
    pub(super) dims: usize,
    /// Smallest and largest value.
    range: (f64, f64),
}

impl Set {
    pub(super) fn new(x: ArrayView3<'_, f64>) -> Result<Self, SeriesError> {
        let (samples, time, dims) = x.dim();
        if x.is_empty() {
            return Err(SeriesError::Empty);
        }
        if let Some(((sample, step, _), value)) = x.indexed_iter().find(|(_, value)| value.is_infinite()) {
            return Err(SeriesError::NotFinite { sample, step, value: *value });
        }
        let all: Vec<f64> = x.iter().copied().collect();
        let mut set = Self {
            values: all,
            starts: Vec::new(),
            gappy: Vec::new(),
            samples,
            time,
            dims,
            range: (0.0, 0.0),
        };
        if set.values.iter().any(|value| value.is_nan()) {
            set.gappy = std::mem::take(&mut set.values);
        }
        set.starts.push(0);
        for sample in 0..samples {
            if !set.gappy.is_empty() {
                let own = &set.gappy[sample * time * dims..(sample + 1) * time * dims];
                let there = own.chunks(dims).filter(|point| point.iter().all(|value| !value.is_nan()));
                set.values.extend(there.flatten());
                if Some(&set.values.len()) == set.starts.last() {
                    return Err(SeriesError::NoPoints { sample });
                }
            }
            set.starts.push(if set.gappy.is_empty() { (sample + 1) * time * dims } else { set.values.len() });
        }
        set.range = span(set.values.iter());
        Ok(set)
    }

    /// The points of a series that are there.
    pub(super) fn series(&self, sample: usize) -> &[f64] {
        &self.values[self.starts[sample]..self.starts[sample + 1]]
    }

    /// All points of a series, missing ones as NaN.
    pub(super) fn with_gaps(&self, sample: usize) -> &[f64] {
        let size = self.time * self.dims;
        let all = if self.gappy.is_empty() { &self.values } else { &self.gappy };
        &all[sample * size..(sample + 1) * size]
    }

    /// The chosen series, in that order.
    pub(super) fn select(&self, samples: &[usize]) -> Self {
        let joined = |get: &dyn Fn(usize) -> Vec<f64>| samples.iter().flat_map(|i| get(*i)).collect();
        let values: Vec<f64> = joined(&|i| self.series(i).to_vec());
        let gappy: Vec<f64> =
            if self.gappy.is_empty() { Vec::new() } else { joined(&|i| self.with_gaps(i).to_vec()) };
        let mut starts = vec![0];
        for sample in samples {
            starts.push(starts[starts.len() - 1] + self.series(*sample).len());
        }
        Self { values, starts, gappy, samples: samples.len(), ..*self }
    }

    /// Some series in groups of up to sixteen of one length, which a kernel takes side by side.
    pub(super) fn blocks(&self, members: &[usize]) -> Vec<Vec<usize>> {
        let mut of_length: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        members.iter().for_each(|i| of_length.entry(self.series(*i).len()).or_default().push(*i));
        of_length.values().flat_map(|members| members.chunks(LANES).map(<[usize]>::to_vec)).collect()
    }

    /// Whether all soft alignments of this set's series with a series of `time` steps and values within `range`
    /// fit the plain number system.
    pub(super) fn is_narrow_with(&self, range: (f64, f64), time: usize, gamma: f64) -> bool {
        let width = self.range.1.max(range.1) - self.range.0.min(range.0);
        let path = (self.time + time) as f64;
        path * (width * width * self.dims as f64 / gamma) < NARROW_RANGE && path * 3.0_f64.ln() < NARROW_RANGE
    }

    /// Smallest and largest value.
    pub(super) fn range(&self) -> (f64, f64) {
        self.range
    }
}

/// Smallest and largest value.
pub(super) fn span<'a>(values: impl Iterator<Item = &'a f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)))
}

/// Fills missing points `[time * dims]` along straight lines between their neighbours; before the first and after the
/// last point with these.
pub(super) fn fill_gaps(points: &mut [f64], dims: usize) {
    let time = points.len() / dims;
    for d in 0..dims {
        let there: Vec<usize> = (0..time).filter(|t| !points[t * dims + d].is_nan()).collect();
        for t in 0..time {
            let after = there.partition_point(|known| *known < t);
            let value = match (after.checked_sub(1).map(|i| there[i]), there.get(after)) {
                (_, Some(known)) if *known == t => continue,
                (Some(a), Some(b)) => {
                    let part = (t - a) as f64 / (b - a) as f64;
                    points[a * dims + d] * (1.0 - part) + points[b * dims + d] * part
                }
                (Some(known), None) => points[known * dims + d],
                (None, Some(known)) => points[known * dims + d],
                (None, None) => continue,
            };
            points[t * dims + d] = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn missing_points_are_left_out() {
        let x = array![[[1.0], [f64::NAN], [3.0]], [[4.0], [5.0], [6.0]]];
        let set = Set::new(x.view()).unwrap();
        assert_eq!((set.series(0), set.series(1)), (&[1.0, 3.0][..], &[4.0, 5.0, 6.0][..]));
        assert!(set.with_gaps(0)[1].is_nan());
        assert_eq!(set.blocks(&[0, 1]), [[0], [1]]);
        assert_eq!(set.select(&[1, 0]).series(1), [1.0, 3.0]);
        let nothing = array![[[f64::NAN], [f64::NAN]]];
        assert_eq!(Set::new(nothing.view()).unwrap_err(), SeriesError::NoPoints { sample: 0 });
    }

    #[test]
    fn gaps_are_filled_along_lines() {
        let mut points = [f64::NAN, 2.0, f64::NAN, f64::NAN, 5.0, f64::NAN];
        fill_gaps(&mut points, 1);
        assert_eq!(points, [2.0, 2.0, 3.0, 4.0, 5.0, 5.0]);
    }
}
