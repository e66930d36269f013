//! The soft-DTW barycentre: the series whose mean soft-DTW to a set is smallest.

use ndarray::{Array2, ArrayView2, ArrayView3};
use rayon::prelude::*;

use super::SeriesError;
use super::align::{Block, Gradient, GradientWork};
use super::distance::{Set, span};
use super::lanes::LANES;
use super::lbfgs::{Options, minimise};
use super::simd::dispatch;
use super::weight::{Narrow, Soft, Wide};

/// When the search for a barycentre stops.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BarycentreOptions {
    /// L-BFGS iterations at most (default 100).
    pub max_iterations: usize,
    /// Relative decrease of the objective that ends the search (default 1e-7).
    pub value_tolerance: f64,
    /// Largest component of the objective's gradient that ends it (default 1e-5).
    pub gradient_tolerance: f64,
}

impl Default for BarycentreOptions {
    fn default() -> Self {
        Self { max_iterations: 100, value_tolerance: 1e-7, gradient_tolerance: 1e-5 }
    }
}

/// A barycentre and how well it sits.
#[derive(Clone, Debug)]
pub struct Barycentre {
    /// The series, `[time, dim]`.
    pub series: Array2<f64>,
    /// Mean soft-DTW from it to the set.
    pub objective: f64,
    /// L-BFGS iterations done.
    pub iterations: usize,
}

/// Minimises the mean soft-DTW to the series `x` `[sample, time, dim]`, starting from `start` `[time, dim]`
/// (its own length may differ) or from the Euclidean mean.
///
/// # Errors
/// Empty or non-finite series, points of different dimension, or a gamma that is not positive.
pub fn soft_dtw_barycentre(
    x: ArrayView3<'_, f64>,
    gamma: f64,
    start: Option<ArrayView2<'_, f64>>,
    options: BarycentreOptions,
) -> Result<Barycentre, SeriesError> {
    let set = Set::new(x)?;
    let start = match start {
        Some(start) => Set::new(start.insert_axis(ndarray::Axis(0)))?,
        None => Set::new(
            x.mean_axis(ndarray::Axis(0)).ok_or(SeriesError::Empty)?.view().insert_axis(ndarray::Axis(0)),
        )?,
    };
    if start.dims != set.dims {
        return Err(SeriesError::Dims { left: start.dims, right: set.dims });
    }
    if !(gamma > 0.0 && gamma.is_finite()) {
        return Err(SeriesError::Gamma(gamma));
    }
    let members: Vec<usize> = (0..set.samples).collect();
    Ok(of_members(&set, &members, start.series(0).to_vec(), gamma, options))
}

/// The barycentre of some members of a set.
pub(super) fn of_members(
    set: &Set,
    members: &[usize],
    start: Vec<f64>,
    gamma: f64,
    options: BarycentreOptions,
) -> Barycentre {
    let blocks: Vec<Block> = members
        .chunks(LANES)
        .map(|chunk| {
            let mut block = Block::default();
            block.pack(set.dims, chunk.iter().map(|i| set.series(*i)));
            block
        })
        .collect();
    let options = Options {
        max_iterations: options.max_iterations,
        value_tolerance: options.value_tolerance,
        gradient_tolerance: options.gradient_tolerance,
    };
    let dims = set.dims;
    let minimum = minimise(start, options, |centre| {
        if set.is_narrow_with(span(centre.iter()), centre.len() / dims, gamma) {
            mean_value_and_gradient::<Narrow>(&blocks, members.len(), centre, dims, gamma)
        } else {
            mean_value_and_gradient::<Wide>(&blocks, members.len(), centre, dims, gamma)
        }
    });
    let time = minimum.x.len() / dims;
    let series = Array2::from_shape_fn((time, dims), |(t, d)| minimum.x[t * dims + d]);
    Barycentre { series, objective: minimum.value, iterations: minimum.iterations }
}

/// Mean soft-DTW from `centre` to the series in `blocks`, and its gradient by the centre's points.
fn mean_value_and_gradient<W: Soft + Send>(
    blocks: &[Block],
    members: usize,
    centre: &[f64],
    dims: usize,
    gamma: f64,
) -> (f64, Vec<f64>) {
    let mut left = Block::default();
    left.pack(dims, std::iter::once(centre));
    let left = &left;
    let parts: Vec<(f64, Vec<f64>)> = blocks
        .par_iter()
        .enumerate()
        .map_init(GradientWork::<W>::default, |work, (index, block)| {
            let used = (members - index * LANES).min(LANES);
            let total = dispatch(Gradient { a: left, b: block, scale: 1.0 / gamma, work }).ln();
            let value = total.0[..used].iter().map(|ln| -gamma * ln).sum();
            (value, work.gradient.iter().map(|g| g.0[..used].iter().sum()).collect())
        })
        .collect();
    let mut value = 0.0;
    let mut gradient = vec![0.0; centre.len()];
    for (part, slope) in parts {
        value += part;
        gradient.iter_mut().zip(slope).for_each(|(sum, g)| *sum += g);
    }
    let share = 1.0 / members as f64;
    (value * share, gradient.into_iter().map(|g| g * share).collect())
}
