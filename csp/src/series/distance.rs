//! DTW and soft-DTW: single pairs, gradients, and matrices of many pairs.

use ndarray::{Array1, Array2, ArrayView2, ArrayView3};
use rayon::prelude::*;

use super::SeriesError;
use super::align::{Block, Gradient, GradientWork, Total};
use super::lanes::LANES;
use super::set::Set;
use super::simd::dispatch;
use super::weight::{Narrow, Shortest, Soft, Wide};

/// Which number system holds all soft alignments of series from `a` with series from `b`.
fn is_narrow(a: &Set, b: &Set, gamma: f64) -> bool {
    a.is_narrow_with(b.range(), b.time, gamma)
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
/// Empty or infinite series, or points of different dimension.
pub fn dtw(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> Result<f64, SeriesError> {
    let (a, b) = (single(a)?, single(b)?);
    check_pair(&a, &b, 1.0)?;
    Ok(dtw_matrix(&a, &b, None)[[0, 0]])
}

/// As [`dtw`], with alignments within a Sakoe–Chiba band only (doi:10.1109/TASSP.1978.1163055): points at most `radius`
/// steps apart, more by the difference of the lengths where these differ.
///
/// # Errors
/// As [`dtw`].
pub fn dtw_banded(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>, radius: usize) -> Result<f64, SeriesError> {
    let (a, b) = (single(a)?, single(b)?);
    check_pair(&a, &b, 1.0)?;
    Ok(dtw_matrix(&a, &b, Some(radius))[[0, 0]])
}

/// DTW of every series of `a` with every series of `b`: `[sample of a, sample of b]`.
///
/// # Errors
/// As [`dtw`].
pub fn dtw_cross(a: ArrayView3<'_, f64>, b: ArrayView3<'_, f64>) -> Result<Array2<f64>, SeriesError> {
    let (a, b) = (Set::new(a)?, Set::new(b)?);
    check_pair(&a, &b, 1.0)?;
    Ok(dtw_matrix(&a, &b, None))
}

/// Soft-DTW of two series `[time, dim]`, in squared units, without a root; negative values are normal.
///
/// # Errors
/// Empty or infinite series, points of different dimension, or a gamma that is not positive.
pub fn soft_dtw(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>, gamma: f64) -> Result<f64, SeriesError> {
    let (a, b) = (single(a)?, single(b)?);
    check_pair(&a, &b, gamma)?;
    Ok(soft_matrix(&a, &b, gamma, None)[[0, 0]])
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
    Ok(soft_matrix(&a, &b, gamma, None))
}

/// Soft-DTW of each series with itself, `[sample]`: what the divergence takes off.
///
/// # Errors
/// As [`soft_dtw`].
pub fn soft_dtw_self(x: ArrayView3<'_, f64>, gamma: f64) -> Result<Array1<f64>, SeriesError> {
    let set = Set::new(x)?;
    check_pair(&set, &set, gamma)?;
    Ok(soft_self(&set, gamma, None))
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
    Ok(divergence_matrix(&a, &b, gamma, None))
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
        let total =
            dispatch(Gradient { a: &left, b: &right, scale: 1.0 / gamma, band: None, work: &mut work });
        let usage = work.usage.unwrap_or_default();
        SoftDtwGradient {
            value: -gamma * total.ln().0[0],
            gradient: Array2::from_shape_fn((left.len(), a.dims), |(t, d)| {
                work.gradient[t * a.dims + d].0[0]
            }),
            alignment: Array2::from_shape_fn((left.len(), right.len()), |(i, j)| {
                usage[i * right.len() + j].0[0]
            }),
        }
    }
    let (a, b) = (single(a)?, single(b)?);
    check_pair(&a, &b, gamma)?;
    Ok(if is_narrow(&a, &b, gamma) { go::<Narrow>(&a, &b, gamma) } else { go::<Wide>(&a, &b, gamma) })
}

/// DTW of every series of `a` with every series of `b`.
fn dtw_matrix(a: &Set, b: &Set, band: Option<usize>) -> Array2<f64> {
    squared_dtw_matrix(a, b, band).mapv_into(|sum| sum.max(0.0).sqrt())
}

/// Smallest summed cost of every series of `a` with every series of `b`.
pub(super) fn squared_dtw_matrix(a: &Set, b: &Set, band: Option<usize>) -> Array2<f64> {
    matrix::<Shortest>(a, b, |left, right, row| {
        dispatch(Total { a: left, b: right, scale: 1.0, band, row }).0.0
    })
}

/// Soft-DTW of every series of `a` with every series of `b`.
pub(super) fn soft_matrix(a: &Set, b: &Set, gamma: f64, band: Option<usize>) -> Array2<f64> {
    if is_narrow(a, b, gamma) {
        matrix::<Narrow>(a, b, |left, right, row| soft_block(left, right, gamma, band, row))
    } else {
        matrix::<Wide>(a, b, |left, right, row| soft_block(left, right, gamma, band, row))
    }
}

/// Soft-DTW divergence of every series of `a` with every series of `b`.
pub(super) fn divergence_matrix(a: &Set, b: &Set, gamma: f64, band: Option<usize>) -> Array2<f64> {
    let (of_a, of_b) = (soft_self(a, gamma, band), soft_self(b, gamma, band));
    let mut cross = soft_matrix(a, b, gamma, band);
    cross.indexed_iter_mut().for_each(|((i, j), value)| *value -= 0.5 * (of_a[i] + of_b[j]));
    cross
}

/// Soft-DTW of each series with itself.
pub(super) fn soft_self(set: &Set, gamma: f64, band: Option<usize>) -> Array1<f64> {
    fn go<W: Soft + Send>(set: &Set, gamma: f64, band: Option<usize>) -> Array1<f64> {
        let blocks = set.blocks(&(0..set.samples).collect::<Vec<_>>());
        let values: Vec<[f64; LANES]> = blocks
            .par_iter()
            .map_init(
                || (Block::default(), Vec::<W>::new()),
                |(block, row), members| {
                    block.pack(set.dims, members.iter().map(|i| set.series(*i)));
                    soft_block(block, block, gamma, band, row)
                },
            )
            .collect();
        let mut all = Array1::zeros(set.samples);
        for (members, values) in blocks.iter().zip(values) {
            members.iter().zip(values).for_each(|(member, value)| all[*member] = value);
        }
        all
    }
    if is_narrow(set, set, gamma) { go::<Narrow>(set, gamma, band) } else { go::<Wide>(set, gamma, band) }
}

fn soft_block<W: Soft>(
    a: &Block,
    b: &Block,
    gamma: f64,
    band: Option<usize>,
    row: &mut Vec<W>,
) -> [f64; LANES] {
    dispatch(Total { a, b, scale: 1.0 / gamma, band, row }).ln().0.map(|ln| -gamma * ln)
}

/// Runs `pair` for blocks of up to sixteen series of `a` against each series of `b`.
fn matrix<W: Send>(
    a: &Set,
    b: &Set,
    pair: impl Fn(&Block, &Block, &mut Vec<W>) -> [f64; LANES] + Sync,
) -> Array2<f64> {
    let blocks = a.blocks(&(0..a.samples).collect::<Vec<_>>());
    let rows: Vec<Vec<[f64; LANES]>> = blocks
        .par_iter()
        .map_init(
            || (Block::default(), Block::default(), Vec::<W>::new()),
            |(left, right, row), members| {
                left.pack(a.dims, members.iter().map(|i| a.series(*i)));
                (0..b.samples)
                    .map(|j| {
                        right.pack(b.dims, std::iter::once(b.series(j)));
                        pair(left, right, row)
                    })
                    .collect()
            },
        )
        .collect();
    let mut all = Array2::zeros((a.samples, b.samples));
    for (members, columns) in blocks.iter().zip(rows) {
        for (j, values) in columns.iter().enumerate() {
            members.iter().zip(values).for_each(|(member, value)| all[[*member, j]] = *value);
        }
    }
    all
}
