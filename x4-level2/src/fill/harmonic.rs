//! Harmonic regression: mean, trend and annual waves of each pixel, by least squares (as in Zhu and Woodcock 2014,
//! <https://doi.org/10.1016/j.rse.2014.01.011>).
//!
//! `z = a + b τ + Σ (c_k cos 2πkt/365.25 + s_k sin 2πkt/365.25)`, τ in years from the middle of the series, t in days.
//! The ridge, in observations, is added to the diagonal of the normal equations but for the mean: few observations give
//! a curve near their mean instead of a wild one. The normal equations are factorised once for all bands.

use ndarray::NdFloat;

use super::series::Series;
use super::{Daily, Extrapolate, FillPlan, LANES, NEVER, narrow, wide};

const DAYS_PER_YEAR: f64 = 365.25;

type Lane = [f64; LANES];
const ZERO: Lane = [0.0; LANES];

/// The functions that the curve is made of.
#[derive(Clone, Debug)]
pub(super) struct Basis {
    ridge: f64,
    /// Number of functions.
    terms: usize,
    first_day: i32,
    /// Sums of each function over the days before day `first_day + i`, at `i * terms + term`.
    sums: Vec<f64>,
}

impl Basis {
    /// The functions on the days `first_day ..= last_day`.
    pub(super) fn new(first_day: i32, last_day: i32, harmonics: usize, ridge: f64) -> Basis {
        let terms = 2 + 2 * harmonics;
        let middle = f64::from(first_day + last_day) / 2.0;
        let mut total = vec![0.0; terms];
        let mut sums = total.clone();
        for day in first_day..=last_day {
            let years = f64::from(day) / DAYS_PER_YEAR;
            total[0] += 1.0;
            total[1] += (f64::from(day) - middle) / DAYS_PER_YEAR;
            for k in 1..=harmonics {
                let (sin, cos) = (std::f64::consts::TAU * k as f64 * years).sin_cos();
                total[2 * k] += cos;
                total[2 * k + 1] += sin;
            }
            sums.extend_from_slice(&total);
        }
        Basis { ridge, terms, first_day, sums }
    }

    /// Sum of a function over the days `from ..= to`, which must be days of the series.
    fn sum(&self, term: usize, from: i32, to: i32) -> f64 {
        let at = |day: i32| self.sums[(day - self.first_day) as usize * self.terms + term];
        at(to + 1) - at(from)
    }
}

pub(super) fn sum<F: NdFloat + From<f32>>(
    plan: &FillPlan,
    basis: &Basis,
    series: &Series<F>,
    daily: &mut Daily<F>,
) {
    let factor = factorise(plan, basis, series);
    for band in 0..series.bands {
        let coefficients = solve(&factor, basis.terms, right_side(plan, basis, series, band));
        let between = |p: usize, from: i32, to: i32| -> F {
            let terms = coefficients.iter().enumerate();
            narrow(terms.map(|(term, values)| values[p] * basis.sum(term, from, to)).sum())
        };
        for p in (0..LANES).filter(|&p| series.first[p] != NEVER) {
            let (first, last) = (series.first[p], series.last[p]);
            for k in (0..plan.steps.len).filter(|&k| daily.counts[k][p] > 0) {
                let (from, to) = (plan.steps.start(k).max(first), plan.steps.end(k).min(last));
                daily.sums[k * series.bands + band][p] = between(p, from, to);
            }
            if plan.extrapolate == Extrapolate::Nearest {
                daily.head[band][p] = between(p, first, first);
                daily.tail[band][p] = between(p, last, last);
            }
        }
    }
}

/// Place of entry (`row`, `col`) of a lower triangle that is stored row by row.
fn place(row: usize, col: usize) -> usize {
    row * (row + 1) / 2 + col
}

/// The normal equations' Cholesky factor with the inverse of its diagonal in the diagonal's place.
fn factorise<F: NdFloat + From<f32>>(plan: &FillPlan, basis: &Basis, series: &Series<F>) -> Vec<Lane> {
    let terms = basis.terms;
    let mut matrix = vec![ZERO; place(terms, 0)];
    for (date, next) in plan.dates.iter().zip(&series.next) {
        let valid: Lane = std::array::from_fn(|p| if next[p] == date.day { 1.0 } else { 0.0 });
        for row in 0..terms {
            for col in 0..=row {
                let product = basis.sum(row, date.day, date.day) * basis.sum(col, date.day, date.day);
                for (entry, valid) in matrix[place(row, col)].iter_mut().zip(&valid) {
                    *entry += valid * product;
                }
            }
        }
    }
    for row in 0..terms {
        for col in 0..=row {
            let mut entry = matrix[place(row, col)];
            for inner in 0..col {
                let (left, right) = (&matrix[place(row, inner)], &matrix[place(col, inner)]);
                for p in 0..LANES {
                    entry[p] -= left[p] * right[p];
                }
            }
            for p in 0..LANES {
                entry[p] = if row == col {
                    let ridge = if row == 0 { 0.0 } else { basis.ridge };
                    1.0 / (entry[p] + ridge).sqrt()
                } else {
                    entry[p] * matrix[place(col, col)][p]
                };
            }
            matrix[place(row, col)] = entry;
        }
    }
    matrix
}

fn right_side<F: NdFloat + From<f32>>(
    plan: &FillPlan,
    basis: &Basis,
    series: &Series<F>,
    band: usize,
) -> Vec<Lane> {
    let mut right = vec![ZERO; basis.terms];
    for (d, date) in plan.dates.iter().enumerate() {
        let observed = &series.values[d * series.bands + band];
        let next = &series.next[d];
        let values: Lane = std::array::from_fn(|p| if next[p] == date.day { wide(observed[p]) } else { 0.0 });
        for (term, right) in right.iter_mut().enumerate() {
            let factor = basis.sum(term, date.day, date.day);
            for (right, value) in right.iter_mut().zip(&values) {
                *right += factor * value;
            }
        }
    }
    right
}

/// Solves the factorised equations for one band.
fn solve(factor: &[Lane], terms: usize, mut right: Vec<Lane>) -> Vec<Lane> {
    let eliminate = |right: &mut Vec<Lane>, row: usize, known: usize, entry: &Lane| {
        let value = right[known];
        for p in 0..LANES {
            right[row][p] -= entry[p] * value[p];
        }
    };
    let divide = |right: &mut Lane, inverse: &Lane| {
        right.iter_mut().zip(inverse).for_each(|(right, inverse)| *right *= inverse);
    };
    for row in 0..terms {
        for col in 0..row {
            eliminate(&mut right, row, col, &factor[place(row, col)]);
        }
        divide(&mut right[row], &factor[place(row, row)]);
    }
    for row in (0..terms).rev() {
        for later in row + 1..terms {
            eliminate(&mut right, row, later, &factor[place(later, row)]);
        }
        divide(&mut right[row], &factor[place(row, row)]);
    }
    right
}
