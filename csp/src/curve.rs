//! Marginal correlation: polynomials through the points (weather, index) of a segment, and over all segments.

use serde::{Deserialize, Serialize};

/// A polynomial fitted by least squares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Coefficients, highest power first.
    pub coefficients: Vec<f64>,
    /// Share of the variance explained; 1 where the points are constant and met exactly.
    pub r2: f64,
    /// R² adjusted for the number of coefficients; NaN where there are no points to spare.
    pub adjusted_r2: f64,
}

impl Curve {
    /// Value at `x`.
    pub fn at(&self, x: f64) -> f64 {
        self.coefficients.iter().fold(0.0, |sum, c| sum * x + c)
    }

    /// Degree.
    pub fn degree(&self) -> usize {
        self.coefficients.len().saturating_sub(1)
    }

    /// Where a parabola turns, `−b / 2a`; `None` for other degrees and for straight lines.
    pub fn vertex(&self) -> Option<f64> {
        match self.coefficients[..] {
            [a, b, _] if a != 0.0 => Some(-b / (2.0 * a)),
            _ => None,
        }
    }
}

/// The least-squares polynomial of this degree; `None` with fewer different x than coefficients.
pub fn fit_polynomial(x: &[f64], y: &[f64], degree: usize) -> Option<Curve> {
    let mut different = x.to_vec();
    different.sort_by(f64::total_cmp);
    different.dedup();
    if different.len() <= degree || x.len() != y.len() {
        return None;
    }
    // Normal equations in u = (x − middle) / half range, where powers stay near one.
    let (low, high) = (different[0], different[different.len() - 1]);
    let (middle, half) = (0.5 * (low + high), (0.5 * (high - low)).max(f64::MIN_POSITIVE));
    let u: Vec<f64> = x.iter().map(|v| (v - middle) / half).collect();
    let size = degree + 1;
    let power = |k: usize| u.iter().map(|v| v.powi(k as i32)).sum::<f64>();
    let matrix: Vec<Vec<f64>> = (0..size).map(|i| (0..size).map(|j| power(i + j)).collect()).collect();
    let right: Vec<f64> =
        (0..size).map(|i| u.iter().zip(y).map(|(v, y)| v.powi(i as i32) * y).sum()).collect();
    let ascending = in_original_unit(&solve(matrix, right)?, middle, half);
    let mut curve =
        Curve { coefficients: ascending.into_iter().rev().collect(), r2: 0.0, adjusted_r2: f64::NAN };
    let n = y.len() as f64;
    let mean = y.iter().sum::<f64>() / n;
    let rest: f64 = x.iter().zip(y).map(|(x, y)| (y - curve.at(*x)).powi(2)).sum();
    let spread: f64 = y.iter().map(|y| (y - mean).powi(2)).sum();
    curve.r2 = if spread > 0.0 { 1.0 - rest / spread } else { 1.0 };
    if y.len() > size {
        curve.adjusted_r2 = 1.0 - (1.0 - curve.r2) * (n - 1.0) / (n - size as f64);
    }
    Some(curve)
}

/// The polynomial of degree 1 to 3 with the best adjusted R², ties to the lower degree.
pub fn fit_best(x: &[f64], y: &[f64]) -> Option<Curve> {
    let better = |one: &Curve, best: &Curve| one.adjusted_r2 > best.adjusted_r2 + 1e-12;
    let fits = (1..=3).filter_map(|degree| fit_polynomial(x, y, degree));
    fits.reduce(|best, one| if better(&one, &best) { one } else { best })
}

/// One parabola for all segments: their coefficients averaged by weight, which equals averaging the curves on any
/// common grid and fitting again. `None` without parabolas.
pub fn global_parabola(parabolas: &[(Curve, f64)]) -> Option<Curve> {
    let total: f64 = parabolas.iter().map(|(_, weight)| weight).sum();
    if parabolas.is_empty() || total <= 0.0 || parabolas.iter().any(|(curve, _)| curve.degree() != 2) {
        return None;
    }
    let mean = |get: &dyn Fn(&Curve) -> f64| parabolas.iter().map(|(c, w)| get(c) * w).sum::<f64>() / total;
    Some(Curve {
        coefficients: (0..3).map(|i| mean(&|curve: &Curve| curve.coefficients[i])).collect(),
        r2: mean(&|curve| curve.r2),
        adjusted_r2: mean(&|curve| curve.adjusted_r2),
    })
}

/// Median of finite values; NaN without any. The mean of the middle two where their number is even.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => 0.5 * (sorted[n / 2 - 1] + sorted[n / 2]),
    }
}

/// Gaussian elimination with partial pivoting; `None` for singular systems.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Option<Vec<f64>> {
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
        assert_eq!(fit_best(&x, &y).unwrap().degree(), 2);
        let line = x.map(|x| 3.0 - x);
        assert_eq!(fit_best(&x, &line).unwrap().degree(), 1);
    }

    #[test]
    fn too_few_points_fit_nothing() {
        assert_eq!(fit_polynomial(&[1.0, 1.0, 2.0], &[0.0, 0.0, 1.0], 2), None);
        assert_eq!(fit_polynomial(&[], &[], 1), None);
    }

    #[test]
    fn global_curve_is_the_weighted_mean_of_curves() {
        let curve = |c: [f64; 3]| Curve { coefficients: c.to_vec(), r2: 1.0, adjusted_r2: 1.0 };
        let all = global_parabola(&[(curve([1.0, 0.0, 0.0]), 1.0), (curve([-1.0, 4.0, 1.0]), 3.0)]).unwrap();
        assert_eq!(all.coefficients, [-0.5, 3.0, 0.75]);
        assert!((all.at(2.0) - (4.0 + 3.0 * 5.0) / 4.0).abs() < 1e-12);
    }

    #[test]
    fn medians_of_odd_even_and_empty() {
        assert_eq!(median([3.0, f64::NAN, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0]), 2.5);
        assert!(median([]).is_nan());
    }
}
