//! Interaction: whether two variables shifted together do what they do alone, and the surface of their joint effect
//! (a partial dependence plot in two dimensions, over shifts instead of values).

use ndarray::{Array2, Array3, ArrayView2, Axis};

use crate::bootstrap::{Stratum, intervals};
use crate::perturb::{Perturbation, positions, thinned};
use crate::variable::Variable;

/// A number with its bootstrap interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Lower and upper end.
    pub interval: [f64; 2],
}

/// The joint effect of two variables.
#[derive(Clone, Debug)]
pub struct Interaction {
    /// The variables, as indices.
    pub variables: [usize; 2],
    /// Shifts of each, ascending, zero among them.
    pub deltas: [Vec<f64>; 2],
    /// Mean index over forecast steps and segments, `[shift of the first, shift of the second]`.
    pub surface: Array2<f64>,
    /// What is left of the surface after both single effects: `F(a, b) − F(a, 0) − F(0, b) + F(0, 0)`.
    pub mixed: Array2<f64>,
    /// Mean of `mixed / (a b)`: index per unit of the first and unit of the second; 0 if effects add up.
    pub strength: Estimate,
    /// Friedman and Popescu's H² over the shifts (doi:10.1214/07-AOAS148): share of the surface's variance that is
    /// neither the one's nor the other's; NaN for a flat surface.
    pub h2: Estimate,
}

/// Shifts of a variable on an axis of the surface, zero among them.
pub(crate) fn axis(variable: &Variable, levels: usize) -> Vec<f64> {
    let mut deltas = thinned(&variable.deltas, levels);
    deltas.push(0.0);
    deltas.sort_by(f64::total_cmp);
    deltas
}

/// Surfaces `[sample, shift of the first, shift of the second]`: mean index over the steps. `shifted` and `paired` are
/// responses `[sample, perturbation, step]` of the same samples.
pub(crate) fn surfaces(
    [shifted, paired]: [&Array3<f64>; 2],
    [shifts, pairs]: [&[Perturbation]; 2],
    variables: [usize; 2],
    deltas: &[Vec<f64>; 2],
) -> Array3<f64> {
    let rows = [0, 1].map(|i| positions(shifts, variables[i], &deltas[i], 0));
    Array3::from_shape_fn((shifted.len_of(Axis(0)), deltas[0].len(), deltas[1].len()), |(sample, i, j)| {
        let (a, b) = (deltas[0][i], deltas[1][j]);
        let wanted = Perturbation::Pair { variables, deltas: [a, b] };
        let signal = match pairs.iter().position(|pair| *pair == wanted) {
            Some(row) => paired.index_axis(Axis(0), sample).index_axis_move(Axis(0), row),
            None => {
                let row = if b == 0.0 { rows[0][i] } else { rows[1][j] };
                shifted.index_axis(Axis(0), sample).index_axis_move(Axis(0), row)
            }
        };
        signal.mean().unwrap_or(f64::NAN)
    })
}

/// The interaction of two variables from the surfaces of single samples.
pub fn interaction(
    surfaces: &Array3<f64>,
    variables: [usize; 2],
    deltas: [Vec<f64>; 2],
    strata: &[Stratum],
    draws: usize,
    seed: u64,
) -> Interaction {
    let zero = [0, 1].map(|i| deltas[i].iter().position(|delta| *delta == 0.0).unwrap_or(0));
    let numbers = |strata: &[Stratum]| {
        let surface = mean_surface(surfaces, strata);
        let mixed = mixed(surface.view(), zero);
        vec![strength(mixed.view(), &deltas), h2(surface.view(), mixed.view())]
    };
    let (values, ranges) = (numbers(strata), intervals(strata, draws, seed, numbers));
    let estimate = |i: usize| Estimate { value: values[i], interval: ranges[i] };
    let surface = mean_surface(surfaces, strata);
    let mixed = mixed(surface.view(), zero);
    let (strength, h2) = (estimate(0), estimate(1));
    Interaction { variables, deltas, surface, mixed, strength, h2 }
}

fn mean_surface(surfaces: &Array3<f64>, strata: &[Stratum]) -> Array2<f64> {
    let total: f64 = strata.iter().map(|stratum| stratum.weight).sum();
    let mut sum = Array2::zeros((surfaces.dim().1, surfaces.dim().2));
    for Stratum { weight, positions } in strata {
        let share = weight / total / positions.len() as f64;
        positions.iter().for_each(|position| sum.scaled_add(share, &surfaces.index_axis(Axis(0), *position)));
    }
    sum
}

fn mixed(surface: ArrayView2<'_, f64>, [row, col]: [usize; 2]) -> Array2<f64> {
    Array2::from_shape_fn(surface.dim(), |(i, j)| {
        surface[[i, j]] - surface[[i, col]] - surface[[row, j]] + surface[[row, col]]
    })
}

fn strength(mixed: ArrayView2<'_, f64>, deltas: &[Vec<f64>; 2]) -> f64 {
    let product = |(i, j): (usize, usize)| deltas[0][i] * deltas[1][j];
    let moved = mixed.indexed_iter().filter(|(cell, _)| product(*cell) != 0.0);
    let (sum, cells) = moved.fold((0.0, 0_usize), |(sum, n), (cell, m)| (sum + m / product(cell), n + 1));
    sum / cells as f64
}

fn h2(surface: ArrayView2<'_, f64>, mixed: ArrayView2<'_, f64>) -> f64 {
    let spread = |values: ArrayView2<'_, f64>| {
        let mean = values.sum() / values.len() as f64;
        values.iter().map(|value| (value - mean).powi(2)).sum::<f64>()
    };
    let all = spread(surface);
    if all > 0.0 { spread(mixed) / all } else { f64::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(f: impl Fn(f64, f64) -> f64) -> Interaction {
        let deltas = [vec![-1.0, 0.0, 1.0], vec![-2.0, 0.0, 2.0]];
        let surfaces = Array3::from_shape_fn((1, 3, 3), |(_, i, j)| f(deltas[0][i], deltas[1][j]));
        interaction(&surfaces, [0, 1], deltas, &[Stratum { weight: 3.0, positions: vec![0] }], 0, 1)
    }

    #[test]
    fn effects_that_add_up_do_not_interact() {
        let sum = found(|a, b| 0.3 + 0.1 * a - 0.05 * a * a + 0.02 * b);
        assert!(sum.strength.value.abs() < 1e-14 && sum.h2.value < 1e-28);
        assert!(found(|_, _| 0.5).h2.value.is_nan());
    }

    /// a + .5 a b: the mixed part is .5 a b. Over the grid Σ (.5 a b)² = 4 and Σ (a + .5 a b)² = 6 + 4.
    #[test]
    fn a_product_is_found_with_its_factor() {
        let product = found(|a, b| 0.3 + a + 0.5 * a * b);
        assert!((product.strength.value - 0.5).abs() < 1e-14);
        assert!((product.h2.value - 0.4).abs() < 1e-14);
        assert!((product.mixed[[2, 2]] - 1.0).abs() < 1e-14);
    }
}
