//! The soft-DTW barycentre: the series whose mean soft-DTW to a set is smallest.

use ndarray::{Array2, ArrayView2, ArrayView3};
use rayon::prelude::*;

use super::SeriesError;
use super::align::{Block, Gradient, GradientWork};
use super::dba::mean_at_equal_times;
use super::lanes::Lanes;
use super::lbfgs::{Options, Value, minimise};
use super::set::{Set, span};
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
/// Empty or infinite series, points of different dimension, or a gamma that is not positive.
pub fn soft_dtw_barycentre(
    x: ArrayView3<'_, f64>,
    gamma: f64,
    start: Option<ArrayView2<'_, f64>>,
    options: BarycentreOptions,
) -> Result<Barycentre, SeriesError> {
    let set = Set::new(x)?;
    let members: Vec<usize> = (0..set.samples).collect();
    let start = match start {
        Some(start) => {
            let start = Set::new(start.insert_axis(ndarray::Axis(0)))?;
            if start.dims != set.dims {
                return Err(SeriesError::Dims { left: start.dims, right: set.dims });
            }
            start.series(0).to_vec()
        }
        None => mean_at_equal_times(&set, &members),
    };
    if !(gamma > 0.0 && gamma.is_finite()) {
        return Err(SeriesError::Gamma(gamma));
    }
    Ok(of_members(&set, &members, start, &Smooth { gamma, band: None, debiased: false }, options))
}

/// Which mean is minimised.
pub(super) struct Smooth {
    pub(super) gamma: f64,
    /// Radius of a Sakoe–Chiba band.
    pub(super) band: Option<usize>,
    /// Whether half of the centre's soft-DTW with itself is taken off, as in the divergence.
    pub(super) debiased: bool,
}

/// The barycentre of some members of a set.
pub(super) fn of_members(
    set: &Set,
    members: &[usize],
    start: Vec<f64>,
    smooth: &Smooth,
    options: BarycentreOptions,
) -> Barycentre {
    let blocks: Vec<(Block, usize)> = set
        .blocks(members)
        .iter()
        .map(|members| {
            let mut block = Block::default();
            block.pack(set.dims, members.iter().map(|i| set.series(*i)));
            (block, members.len())
        })
        .collect();
    let options = Options {
        max_iterations: options.max_iterations,
        value_tolerance: options.value_tolerance,
        gradient_tolerance: options.gradient_tolerance,
    };
    let dims = set.dims;
    let minimum = minimise(start, options, |centre| {
        if set.is_narrow_with(span(centre.iter()), centre.len() / dims, smooth.gamma) {
            mean_value_and_gradient::<Narrow>(&blocks, members.len(), centre, dims, smooth)
        } else {
            mean_value_and_gradient::<Wide>(&blocks, members.len(), centre, dims, smooth)
        }
    });
    let time = minimum.x.len() / dims;
    let series = Array2::from_shape_fn((time, dims), |(t, d)| minimum.x[t * dims + d]);
    Barycentre { series, objective: minimum.value, iterations: minimum.iterations }
}

/// Mean soft-DTW (or divergence, but for what the centre does not change) from `centre` to the series in `blocks`, its
/// gradient by the centre's points, and their curvature while alignments stay as they are. A step by this curvature
/// alone averages along the expected alignments, as DBA does along the best one, and never climbs.
fn mean_value_and_gradient<W: Soft + Send>(
    blocks: &[(Block, usize)],
    members: usize,
    centre: &[f64],
    dims: usize,
    &Smooth { gamma, band, debiased }: &Smooth,
) -> Value {
    let mut left = Block::default();
    left.pack(dims, std::iter::once(centre));
    let left = &left;
    let one = |work: &mut GradientWork<W>, block: &Block, used: usize| -> Value {
        let total = dispatch(Gradient { a: left, b: block, scale: 1.0 / gamma, band, work }).ln();
        let sums = |lanes: &[Lanes]| lanes.iter().map(|all| all.0[..used].iter().sum()).collect::<Vec<f64>>();
        Value {
            value: total.0[..used].iter().map(|ln| -gamma * ln).sum(),
            gradient: sums(&work.gradient),
            curvature: sums(&work.matches),
        }
    };
    let parts: Vec<Value> = blocks
        .par_iter()
        .map_init(GradientWork::<W>::default, |work, (block, used)| one(work, block, *used))
        .collect();
    let share = 1.0 / members as f64;
    let mut mean =
        Value { value: 0.0, gradient: vec![0.0; centre.len()], curvature: vec![0.0; centre.len()] };
    for part in &parts {
        mean.value += share * part.value;
        mean.gradient.iter_mut().zip(&part.gradient).for_each(|(sum, g)| *sum += share * g);
        let of_points = mean.curvature.chunks_mut(dims).zip(&part.curvature);
        of_points.for_each(|(sums, matches)| sums.iter_mut().for_each(|sum| *sum += 2.0 * share * matches));
    }
    if debiased {
        // The centre stands on both sides of its own soft-DTW, so half of that has the gradient by one side.
        let own = one(&mut GradientWork::default(), left, 1);
        mean.value -= 0.5 * own.value;
        mean.gradient.iter_mut().zip(&own.gradient).for_each(|(sum, g)| *sum -= g);
    }
    mean
}
