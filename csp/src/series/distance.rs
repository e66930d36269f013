//! DTW and soft-DTW: single pairs, gradients, and matrices of many pairs.

use ndarray::{Array1, Array2, ArrayView2, ArrayView3};
use rayon::prelude::*;

use super::SeriesError;
use super::align::{Block, Gradient, GradientWork, Total};
use super::lanes::LANES;
use super::simd::dispatch;
use super::weight::{NARROW_RANGE, Narrow, Shortest, Soft, Wide};

/// A checked set of equally long series in C order: the form the kernels work on.
#[derive(Clone, Debug)]
pub(super) struct Set {
    values: Vec<f64>,
    pub(super) samples: usize,
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
        if let Some(((sample, step, _), value)) = x.indexed_iter().find(|(_, value)| !value.is_finite()) {
            return Err(SeriesError::NotFinite { sample, step, value: *value });
        }
        let range = span(x.iter());
        Ok(Self { values: x.iter().copied().collect(), samples, time, dims, range })
    }

    pub(super) fn series(&self, sample: usize) -> &[f64] {
        let size = self.time * self.dims;
        &self.values[sample * size..(sample + 1) * size]
    }

    /// The chosen series, in that order.
    pub(super) fn select(&self, samples: &[usize]) -> Self {
        let values: Vec<f64> = samples.iter().flat_map(|i| self.series(*i)).copied().collect();
        Self { values, samples: samples.len(), ..*self }
    }

    /// Whether all soft alignments of this set's series with a series of `time` steps and values within `range`
    /// fit the plain number system.
    pub(super) fn is_narrow_with(&self, range: (f64, f64), time: usize, gamma: f64) -> bool {
        let width = self.range.1.max(range.1) - self.range.0.min(range.0);
        let path = (self.time + time) as f64;
        path * (width * width * self.dims as f64 / gamma) < NARROW_RANGE && path * 3.0_f64.ln() < NARROW_RANGE
    }
}

/// Smallest and largest value.
pub(super) fn span<'a>(values: impl Iterator<Item = &'a f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)))
}

/// Which number system holds all soft alignments of series from `a` with series from `b`.
fn is_narrow(a: &Set, b: &Set, gamma: f64) -> bool {
    a.is_narrow_with(b.range, b.time, gamma)
}

fn check_pair(a: &Set, b: &Set, gamma: f64) -> Result<(), SeriesError> {
    if a.dims != b.dims {
        return Err(SeriesError::Dims { left: a.dims, right: b.dims });
    }
    if !(gamma > 0.0 && gamma.is_finite()) {
        return Err(SeriesError::Gamma(gamma));
    }
    Ok(())
}

fn single(x: ArrayView2<'_, f64>) -> Result<Set, SeriesError> {
    Set::new(x.insert_axis(ndarray::Axis(0)))
}

/// Dynamic time warping distance of two series `[time, dim]`: the root of the smallest summed squared distance.
///
/// # Errors
/// Empty or non-finite series, or points of different dimension.
pub fn dtw(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> Result<f64, SeriesError> {
    let (a, b) = (single(a)?, single(b)?);
    check_pair(&a, &b, 1.0)?;
    Ok(dtw_matrix(&a, &b)[[0, 0]])
}

/// DTW of every series of `a` with every series of `b`: `[sample of a, sample of b]`.
///
/// # Errors
/// As [`dtw`].
pub fn dtw_cross(a: ArrayView3<'_, f64>, b: ArrayView3<'_, f64>) -> Result<Array2<f64>, SeriesError> {
    let (a, b) = (Set::new(a)?, Set::new(b)?);
    check_pair(&a, &b, 1.0)?;
    Ok(dtw_matrix(&a, &b))
}

/// Soft-DTW of two series `[time, dim]`, in squared units, without a root; negative values are normal.
///
/// # Errors
/// Empty or non-finite series, points of different dimension, or a gamma that is not positive.
pub fn soft_dtw(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>, gamma: f64) -> Result<f64, SeriesError> {
    let (a, b) = (single(a)?, single(b)?);
    check_pair(&a, &b, gamma)?;
    Ok(soft_matrix(&a, &b, gamma)[[0, 0]])
}

/// Soft-DTW of every series of `a` with every series of `b`: `[sample of a, sample of b]`.
///
/// # Errors
/// As [`soft_dtw`].
pub fn soft_dtw_cross(
    a: ArrayView3<'_, f64>,
    b: ArrayView3<'_, f64>,
    gamma: f64,
) -> Result<Array2<f64>, SeriesError> {
    let (a, b) = (Set::new(a)?, Set::new(b)?);
    check_pair(&a, &b, gamma)?;
    Ok(soft_matrix(&a, &b, gamma))
}

/// Soft-DTW of each series with itself, `[sample]`: what the divergence takes off.
///
/// # Errors
/// As [`soft_dtw`].
pub fn soft_dtw_self(x: ArrayView3<'_, f64>, gamma: f64) -> Result<Array1<f64>, SeriesError> {
    let set = Set::new(x)?;
    check_pair(&set, &set, gamma)?;
    Ok(soft_self(&set, gamma))
}

/// Soft-DTW divergence of every pair, `[sample of a, sample of b]`:
/// `s(a, b) − ½ s(a, a) − ½ s(b, b)`, zero for equal series.
///
/// # Errors
/// As [`soft_dtw`].
pub fn soft_dtw_divergence(
    a: ArrayView3<'_, f64>,
    b: ArrayView3<'_, f64>,
    gamma: f64,
) -> Result<Array2<f64>, SeriesError> {
    let (a, b) = (Set::new(a)?, Set::new(b)?);
    check_pair(&a, &b, gamma)?;
    let (of_a, of_b) = (soft_self(&a, gamma), soft_self(&b, gamma));
    let mut cross = soft_matrix(&a, &b, gamma);
    cross.indexed_iter_mut().for_each(|((i, j), value)| *value -= 0.5 * (of_a[i] + of_b[j]));
    Ok(cross)
}

/// What [`soft_dtw_gradient`] gives back.
#[derive(Clone, Debug)]
pub struct SoftDtwGradient {
    /// The soft-DTW value.
    pub value: f64,
    /// Its derivative by the points of the first series, `[time, dim]`.
    pub gradient: Array2<f64>,
    /// Expected alignment matrix E `[time of a, time of b]`: the derivative by the squared distances.
    pub alignment: Array2<f64>,
}

/// Soft-DTW of two series `[time, dim]` with its gradient by the first.
///
/// # Errors
/// As [`soft_dtw`].
pub fn soft_dtw_gradient(
    a: ArrayView2<'_, f64>,
    b: ArrayView2<'_, f64>,
    gamma: f64,
) -> Result<SoftDtwGradient, SeriesError> {
    fn go<W: Soft>(a: &Set, b: &Set, gamma: f64) -> SoftDtwGradient {
        let (mut left, mut right) = (Block::default(), Block::default());
        left.pack(a.dims, std::iter::once(a.series(0)));
        right.pack(b.dims, std::iter::once(b.series(0)));
        let mut work = GradientWork::<W>::default();
        work.usage = Some(Vec::new());
        let total = dispatch(Gradient { a: &left, b: &right, scale: 1.0 / gamma, work: &mut work });
        let usage = work.usage.unwrap_or_default();
        SoftDtwGradient {
            value: -gamma * total.ln().0[0],
            gradient: Array2::from_shape_fn((a.time, a.dims), |(t, d)| work.gradient[t * a.dims + d].0[0]),
            alignment: Array2::from_shape_fn((a.time, b.time), |(i, j)| usage[i * b.time + j].0[0]),
        }
    }
    let (a, b) = (single(a)?, single(b)?);
    check_pair(&a, &b, gamma)?;
    Ok(if is_narrow(&a, &b, gamma) { go::<Narrow>(&a, &b, gamma) } else { go::<Wide>(&a, &b, gamma) })
}

fn dtw_matrix(a: &Set, b: &Set) -> Array2<f64> {
    matrix::<Shortest>(a, b, |left, right, row| {
        dispatch(Total { a: left, b: right, scale: 1.0, row }).0.0.map(|sum: f64| sum.max(0.0).sqrt())
    })
}

/// Soft-DTW of every series of `a` with every series of `b`.
pub(super) fn soft_matrix(a: &Set, b: &Set, gamma: f64) -> Array2<f64> {
    if is_narrow(a, b, gamma) {
        matrix::<Narrow>(a, b, |left, right, row| soft_block(left, right, gamma, row))
    } else {
        matrix::<Wide>(a, b, |left, right, row| soft_block(left, right, gamma, row))
    }
}

/// Soft-DTW of each series with itself.
pub(super) fn soft_self(set: &Set, gamma: f64) -> Array1<f64> {
    fn go<W: Soft + Send>(set: &Set, gamma: f64) -> Array1<f64> {
        let starts: Vec<usize> = (0..set.samples).step_by(LANES).collect();
        let values: Vec<f64> = starts
            .into_par_iter()
            .map_init(
                || (Block::default(), Vec::<W>::new()),
                |(block, row), start| {
                    let lanes = start..(start + LANES).min(set.samples);
                    block.pack(set.dims, lanes.clone().map(|i| set.series(i)));
                    soft_block(block, block, gamma, row)[..lanes.len()].to_vec()
                },
            )
            .flatten()
            .collect();
        Array1::from_vec(values)
    }
    if is_narrow(set, set, gamma) { go::<Narrow>(set, gamma) } else { go::<Wide>(set, gamma) }
}

fn soft_block<W: Soft>(a: &Block, b: &Block, gamma: f64, row: &mut Vec<W>) -> [f64; LANES] {
    dispatch(Total { a, b, scale: 1.0 / gamma, row }).ln().0.map(|ln| -gamma * ln)
}

/// Runs `pair` for blocks of eight series of `a` against each series of `b`.
fn matrix<W: Send>(
    a: &Set,
    b: &Set,
    pair: impl Fn(&Block, &Block, &mut Vec<W>) -> [f64; LANES] + Sync,
) -> Array2<f64> {
    let starts: Vec<usize> = (0..a.samples).step_by(LANES).collect();
    let rows: Vec<Vec<[f64; LANES]>> = starts
        .par_iter()
        .map_init(
            || (Block::default(), Block::default(), Vec::<W>::new()),
            |(left, right, row), start| {
                left.pack(a.dims, (*start..(start + LANES).min(a.samples)).map(|i| a.series(i)));
                (0..b.samples)
                    .map(|j| {
                        right.pack(b.dims, std::iter::once(b.series(j)));
                        pair(left, right, row)
                    })
                    .collect()
            },
        )
        .collect();
    Array2::from_shape_fn((a.samples, b.samples), |(i, j)| rows[i / LANES][j][i % LANES])
}
