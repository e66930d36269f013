//! Fits one family of curves to points by least squares.
//!
//! Polynomials come from their normal equations. Of the others some parameters enter linearly: for each of a few
//! starts of the remaining ones they are solved for, and the best starts are refined in all parameters together.

use std::f64::consts::{FRAC_PI_4, PI, TAU};

use crate::curve::{Curve, Family, evaluate};
use crate::levenberg::{Row, least_squares};

/// Starts that are refined, the best ones.
const REFINED: usize = 4;

/// Mean square, of an index from 32-bit forecasts, below which there is nothing but rounding.
const RESOLUTION: f64 = 1e-14;

/// The least-squares curve of this family; `None` with fewer different x than parameters, or (for families that are
/// not polynomials) not more.
pub fn fit(family: Family, x: &[f64], y: &[f64]) -> Option<Curve> {
    let scale = Scale::of(x)?;
    let spare = if is_polynomial(family) { 0 } else { 1 };
    if x.len() != y.len() || scale.different < family.parameters() + spare {
        return None;
    }
    let u: Vec<f64> = x.iter().map(|x| (x - scale.middle) / scale.half).collect();
    let coefficients = if is_polynomial(family) {
        let ascending = polynomial(&u, y, family.parameters())?;
        in_original_unit(&ascending, scale.middle, scale.half).into_iter().rev().collect()
    } else {
        rescale(family, &nonlinear(family, &u, y, scale.different)?, &scale)
    };
    Some(judged(family, coefficients, x, y))
}

/// The least-squares polynomial of degree 1, 2 or 3; `None` for other degrees, or with fewer different x than
/// coefficients.
pub fn fit_polynomial(x: &[f64], y: &[f64], degree: usize) -> Option<Curve> {
    let family = [Family::Linear, Family::Quadratic, Family::Cubic].get(degree.checked_sub(1)?).copied()?;
    fit(family, x, y)
}

fn is_polynomial(family: Family) -> bool {
    matches!(family, Family::Linear | Family::Quadratic | Family::Cubic)
}

/// Where the points lie. In u = (x − middle) / half all powers and exponents stay near one.
struct Scale {
    middle: f64,
    half: f64,
    /// Number of different x.
    different: usize,
}

impl Scale {
    fn of(x: &[f64]) -> Option<Self> {
        let mut different = x.to_vec();
        different.sort_by(f64::total_cmp);
        different.dedup();
        let (low, high) = (*different.first()?, *different.last()?);
        let half = (0.5 * (high - low)).max(f64::MIN_POSITIVE);
        Some(Self { middle: 0.5 * (low + high), half, different: different.len() })
    }
}

/// Adds R², adjusted R² and AIC.
fn judged(family: Family, coefficients: Vec<f64>, x: &[f64], y: &[f64]) -> Curve {
    let (n, size) = (y.len() as f64, family.parameters() as f64);
    let mean = y.iter().sum::<f64>() / n;
    let rest: f64 = x.iter().zip(y).map(|(x, y)| (y - evaluate(family, &coefficients, *x)).powi(2)).sum();
    let spread: f64 = y.iter().map(|y| (y - mean).powi(2)).sum();
    let r2 = if spread / n > RESOLUTION { 1.0 - rest / spread } else { 1.0 };
    let adjusted_r2 = if n > size { 1.0 - (1.0 - r2) * (n - 1.0) / (n - size) } else { f64::NAN };
    let aic = n * (rest / n).max(RESOLUTION).ln() + 2.0 * (size + 1.0);
    Curve { family, coefficients, r2, adjusted_r2, aic }
}

/// Ascending coefficients in u.
fn polynomial(u: &[f64], y: &[f64], size: usize) -> Option<Vec<f64>> {
    let columns: Vec<Vec<f64>> =
        (0..size).map(|power| u.iter().map(|v| v.powi(power as i32)).collect()).collect();
    linear_part(&columns, y)
}

/// Factors of the columns with the smallest sum of squared residuals.
fn linear_part(columns: &[Vec<f64>], y: &[f64]) -> Option<Vec<f64>> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let matrix = columns.iter().map(|a| columns.iter().map(|b| dot(a, b)).collect()).collect();
    solve(matrix, columns.iter().map(|column| dot(column, y)).collect())
}

/// Parameters in u of a family that is not a polynomial, in the order of its formula.
fn nonlinear(family: Family, u: &[f64], y: &[f64], different: usize) -> Option<Vec<f64>> {
    let rows = |p: &[f64]| -> Option<Vec<Row>> {
        if !is_inside(family, p, different) {
            return None;
        }
        let row = |(u, y): (&f64, &f64)| Row {
            residual: y - evaluate(family, p, *u),
            slopes: slopes(family, p, *u),
        };
        let rows: Vec<Row> = u.iter().zip(y).map(row).collect();
        rows.iter().all(|row| row.residual.is_finite()).then_some(rows)
    };
    let mut begun: Vec<(f64, Vec<f64>)> = starts(family, different)
        .into_iter()
        .filter_map(|start| {
            let p = with_linear_part(family, &start, u, y)?;
            let sum = rows(&p)?.iter().map(|row| row.residual * row.residual).sum();
            Some((sum, p))
        })
        .collect();
    begun.sort_by(|a, b| a.0.total_cmp(&b.0));
    let refined = begun.into_iter().take(REFINED).filter_map(|(_, p)| least_squares(p, rows));
    refined.reduce(|best, one| if one.1 < best.1 { one } else { best }).map(|(p, _)| p)
}

/// Starts of the parameters that do not enter linearly.
fn starts(family: Family, different: usize) -> Vec<Vec<f64>> {
    match family {
        Family::Exponential => [0.1, 0.5, 1.0, 2.0, 4.0].iter().flat_map(|b| [vec![*b], vec![-b]]).collect(),
        Family::Logarithmic => [1.01, 1.1, 1.4, 2.0, 4.0].iter().map(|b| vec![*b]).collect(),
        Family::Sinusoidal => {
            (1..=10).map(|i| vec![highest_frequency(different) * f64::from(i) / 10.0]).collect()
        }
        Family::Gaussian => [-1.0, -0.5, 0.0, 0.5, 1.0]
            .iter()
            .flat_map(|b| [0.3, 0.6, 1.0, 2.0].map(|c| vec![*b, c]))
            .collect(),
        Family::Linear | Family::Quadratic | Family::Cubic => Vec::new(),
    }
}

/// Half the angular frequency in u that as many evenly spaced points resolve.
fn highest_frequency(different: usize) -> f64 {
    FRAC_PI_4 * (different.max(2) - 1) as f64
}

/// Keeps curves from bending between the points, where nothing is known of them.
fn is_inside(family: Family, p: &[f64], different: usize) -> bool {
    match (family, p) {
        (Family::Exponential, [_, b, _]) => b.abs() < 20.0,
        (Family::Logarithmic, [_, b, _]) => *b > 1.0,
        (Family::Sinusoidal, [_, b, ..]) => (0.05..=highest_frequency(different)).contains(b),
        (Family::Gaussian, [_, b, c, _]) => {
            b.abs() < 5.0 && (1.0 / (different.max(2) - 1) as f64..10.0).contains(c)
        }
        _ => true,
    }
}

/// All parameters of a formula, from those that do not enter linearly.
fn with_linear_part(family: Family, start: &[f64], u: &[f64], y: &[f64]) -> Option<Vec<f64>> {
    let column = |f: &dyn Fn(f64) -> f64| u.iter().map(|u| f(*u)).collect::<Vec<f64>>();
    let ones = vec![1.0; u.len()];
    match (family, start) {
        (Family::Exponential, [b]) => {
            let part = linear_part(&[column(&|u| (b * u).exp()), ones], y)?;
            Some(vec![part[0], *b, part[1]])
        }
        (Family::Logarithmic, [b]) => {
            let part = linear_part(&[column(&|u| (u + b).ln()), ones], y)?;
            Some(vec![part[0], *b, part[1]])
        }
        (Family::Sinusoidal, [b]) => {
            let part = linear_part(&[column(&|u| (b * u).sin()), column(&|u| (b * u).cos()), ones], y)?;
            Some(vec![part[0].hypot(part[1]), *b, part[1].atan2(part[0]), part[2]])
        }
        (Family::Gaussian, [b, c]) => {
            let part = linear_part(&[column(&|u| (-0.5 * ((u - b) / c).powi(2)).exp()), ones], y)?;
            Some(vec![part[0], *b, *c, part[1]])
        }
        _ => None,
    }
}

/// Derivatives of a formula by its parameters.
fn slopes(family: Family, p: &[f64], u: f64) -> Vec<f64> {
    match (family, p) {
        (Family::Exponential, [a, b, _]) => {
            let e = (b * u).exp();
            vec![e, a * u * e, 1.0]
        }
        (Family::Logarithmic, [a, b, _]) => vec![(u + b).ln(), a / (u + b), 1.0],
        (Family::Sinusoidal, [a, b, c, _]) => {
            let (sin, cos) = (b * u + c).sin_cos();
            vec![sin, a * u * cos, a * cos, 1.0]
        }
        (Family::Gaussian, [a, b, c, _]) => {
            let gap = (u - b) / c;
            let e = (-0.5 * gap * gap).exp();
            vec![e, a * e * gap / c, a * e * gap * gap / c, 1.0]
        }
        _ => (0..p.len()).rev().map(|power| u.powi(power as i32)).collect(),
    }
}

/// Parameters in x from those in u = (x − middle) / half.
fn rescale(family: Family, p: &[f64], Scale { middle, half, .. }: &Scale) -> Vec<f64> {
    match (family, p) {
        (Family::Exponential, [a, b, c]) => vec![a * (-b * middle / half).exp(), b / half, *c],
        (Family::Logarithmic, [a, b, c]) => vec![*a, b * half - middle, c - a * half.ln()],
        (Family::Sinusoidal, [a, b, c, d]) => {
            // Amplitude positive and phase within half a turn, so that one curve has one set of parameters.
            let phase = c - b * middle / half + if *a < 0.0 { PI } else { 0.0 };
            vec![a.abs(), b / half, phase - TAU * (phase / TAU).round(), *d]
        }
        (Family::Gaussian, [a, b, c, d]) => vec![*a, b * half + middle, c * half, *d],
        _ => p.to_vec(),
    }
}

/// Gaussian elimination with partial pivoting; `None` for singular systems.
pub(crate) fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Option<Vec<f64>> {
    let n = b.len();
    for column in 0..n {
        let pivot = (column..n).max_by(|i, j| a[*i][column].abs().total_cmp(&a[*j][column].abs()))?;
        if a[pivot][column].abs() < 1e-300 {
            return None;
        }
        a.swap(column, pivot);
        b.swap(column, pivot);
        let (above, below) = a.split_at_mut(column + 1);
        let pivot_row = &above[column];
        for (offset, row) in below.iter_mut().enumerate() {
            let factor = row[column] / pivot_row[column];
            row.iter_mut().zip(pivot_row).skip(column).for_each(|(value, p)| *value -= factor * p);
            b[column + 1 + offset] -= factor * b[column];
        }
    }
    for row in (0..n).rev() {
        let known: f64 = (row + 1..n).map(|k| a[row][k] * b[k]).sum();
        b[row] = (b[row] - known) / a[row][row];
    }
    Some(b)
}

/// Ascending coefficients in x of a polynomial given by ascending coefficients in u = (x − middle) / half.
fn in_original_unit(in_u: &[f64], middle: f64, half: f64) -> Vec<f64> {
    let mut result = vec![0.0; in_u.len()];
    for coefficient in in_u.iter().rev() {
        // result = result · (x − middle) / half + coefficient
        for power in (0..result.len()).rev() {
            let lower = if power > 0 { result[power - 1] } else { 0.0 };
            result[power] = (lower - middle * result[power]) / half;
        }
        result[0] += coefficient;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{CurveChoice, best, fit_all};

    #[test]
    fn exact_polynomials_come_back() {
        // y = 2 x² − 8 x + 1 turns at x = 2.
        let x = [0.0, 1.0, 2.0, 3.0, 5.0];
        let y = x.map(|x| 2.0 * x * x - 8.0 * x + 1.0);
        let curve = fit_polynomial(&x, &y, 2).unwrap();
        for (ours, exact) in curve.coefficients.iter().zip([2.0, -8.0, 1.0]) {
            assert!((ours - exact).abs() < 1e-12);
        }
        assert!((curve.vertex().unwrap() - 2.0).abs() < 1e-12 && (curve.r2 - 1.0).abs() < 1e-12);
        assert_eq!(best(&fit_all(&x, &y), CurveChoice::AdjustedR2).unwrap().family, Family::Quadratic);
        let line = x.map(|x| 3.0 - x);
        assert_eq!(best(&fit_all(&x, &line), CurveChoice::Aic).unwrap().family, Family::Linear);
    }

    /// Every family, on the paper's seven shifts around its mean temperature and pressure, gives its own points back
    /// and is then chosen by both criteria.
    #[test]
    fn every_family_is_recovered_and_chosen() {
        let known: [(Family, &[f64], f64, f64); 5] = [
            (Family::Exponential, &[0.2, 0.08, 0.3], 20.0, 5.0),
            (Family::Logarithmic, &[0.15, 3.0, 0.2], 5.0, 2.0),
            (Family::Sinusoidal, &[0.2, 0.3, 0.4, 0.5], 12.0, 3.0),
            (Family::Gaussian, &[0.3, 18.0, 9.0, 0.2], 20.0, 5.0),
            (Family::Cubic, &[1e-4, -2e-3, 1e-2, 0.4], 10.0, 5.0),
        ];
        for (family, exact, mean, step) in known {
            let x: Vec<f64> = (-2..=4).map(|i| mean + step * f64::from(i)).collect();
            let y: Vec<f64> = x.iter().map(|x| evaluate(family, exact, *x)).collect();
            let all = fit_all(&x, &y);
            for choice in [CurveChoice::AdjustedR2, CurveChoice::Aic] {
                assert_eq!(best(&all, choice).unwrap().family, family, "{choice:?}: {all:?}");
            }
            let curve = fit(family, &x, &y).unwrap();
            for (ours, exact) in curve.coefficients.iter().zip(exact) {
                assert!((ours / exact - 1.0).abs() < 0.01, "{family:?}: {:?}", curve.coefficients);
            }
        }
    }

    /// RSS of the mean line through (0, 0), (1, 0), (2, 3): the line is 1.5 x − .5, its residuals .5, −1, .5.
    #[test]
    fn quality_by_hand() {
        let line = fit_polynomial(&[0.0, 1.0, 2.0], &[0.0, 0.0, 3.0], 1).unwrap();
        assert!((line.coefficients[0] - 1.5).abs() < 1e-14 && (line.coefficients[1] + 0.5).abs() < 1e-14);
        // RSS 1.5 of 6: R² = .75; adjusted 1 − .25 · 2 / 1 = .5; AIC = 3 ln .5 + 6.
        assert!((line.r2 - 0.75).abs() < 1e-14 && (line.adjusted_r2 - 0.5).abs() < 1e-14);
        assert!((line.aic - (3.0 * 0.5_f64.ln() + 6.0)).abs() < 1e-12);
    }

    /// A forecast that does not move is the same in all but the last bits of its 32: no curve explains those.
    #[test]
    fn rounding_is_not_explained() {
        let x: Vec<f64> = (0..7).map(f64::from).collect();
        let y: Vec<f64> = [1, 0, 0, 2, 0, 1, 1].map(|k| 0.4 + 3e-8 * f64::from(k)).to_vec();
        let all = fit_all(&x, &y);
        let chosen = best(&all, CurveChoice::AdjustedR2).unwrap();
        assert_eq!((chosen.family, chosen.r2), (Family::Linear, 1.0));
        let moved: Vec<f64> = y.iter().map(|y| 0.4 + 1e3 * (y - 0.4)).collect();
        assert!(fit_all(&x, &moved).iter().all(|curve| curve.r2 < 0.999));
    }

    #[test]
    fn too_few_points_fit_nothing() {
        assert_eq!(fit_polynomial(&[1.0, 1.0, 2.0], &[0.0, 0.0, 1.0], 2), None);
        assert_eq!(fit_polynomial(&[], &[], 1), None);
        assert_eq!(fit(Family::Gaussian, &[1.0, 2.0, 3.0, 4.0], &[0.0, 1.0, 1.0, 0.0]), None);
    }
}
