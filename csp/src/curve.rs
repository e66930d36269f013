//! Marginal correlation: a curve through the points (weather, index) of a segment, and one over all segments.

use serde::{Deserialize, Serialize};

use crate::fit::fit;

/// Kinds of curves, in the order in which ties are broken: fewest parameters first, the paper's parabola before others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// `a x + b`.
    Linear,
    /// `a x² + b x + c`.
    Quadratic,
    /// `a e^(b x) + c`.
    Exponential,
    /// `a ln(x + b) + c`, with `x + b` positive at every point.
    Logarithmic,
    /// `a x³ + b x² + c x + d`.
    Cubic,
    /// `a sin(b x + c) + d`, with at most half the angular frequency that the points can resolve.
    Sinusoidal,
    /// `a e^(−(x − b)² / 2c²) + d`, with a width c of at least half the mean distance of the points.
    Gaussian,
}

impl Family {
    /// All families.
    pub const ALL: [Self; 7] = [
        Self::Linear,
        Self::Quadratic,
        Self::Exponential,
        Self::Logarithmic,
        Self::Cubic,
        Self::Sinusoidal,
        Self::Gaussian,
    ];

    /// Name in all outputs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Quadratic => "quadratic",
            Self::Exponential => "exponential",
            Self::Logarithmic => "logarithmic",
            Self::Cubic => "cubic",
            Self::Sinusoidal => "sinusoidal",
            Self::Gaussian => "gaussian",
        }
    }

    /// Number of parameters.
    pub fn parameters(self) -> usize {
        match self {
            Self::Linear => 2,
            Self::Quadratic | Self::Exponential | Self::Logarithmic => 3,
            Self::Cubic | Self::Sinusoidal | Self::Gaussian => 4,
        }
    }
}

/// What makes one fitted curve better than another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CurveChoice {
    /// The larger R² adjusted for the number of parameters: the better one for as few points as there are deltas.
    #[default]
    AdjustedR2,
    /// The smaller Akaike information criterion.
    Aic,
}

/// A curve fitted by least squares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Its kind.
    pub family: Family,
    /// Its parameters a, b, c, d in the order of the family's formula; of polynomials the highest power first.
    pub coefficients: Vec<f64>,
    /// Share of the variance explained; 1 where the points are constant, but for the rounding of 32-bit forecasts (1e-14).
    pub r2: f64,
    /// R² adjusted for the number of parameters; NaN where there are no points to spare.
    pub adjusted_r2: f64,
    /// Akaike's criterion `n ln(RSS / n) + 2 (parameters + 1)` (doi:10.1109/TAC.1974.1100705); RSS / n counts as 1e-14
    /// at least, the resolution of an index from 32-bit forecasts.
    pub aic: f64,
}

impl Curve {
    /// Value at `x`; NaN outside the domain of a logarithm.
    pub fn at(&self, x: f64) -> f64 {
        evaluate(self.family, &self.coefficients, x)
    }

    /// Where the curve turns: of a parabola `−b / 2a`, of a Gaussian its centre; `None` for others and straight lines.
    pub fn vertex(&self) -> Option<f64> {
        match (self.family, &self.coefficients[..]) {
            (Family::Quadratic, [a, b, _]) if *a != 0.0 => Some(-b / (2.0 * a)),
            (Family::Gaussian, [_, b, ..]) => Some(*b),
            _ => None,
        }
    }
}

/// Value of a family's formula at `x`.
pub(crate) fn evaluate(family: Family, p: &[f64], x: f64) -> f64 {
    match (family, p) {
        (Family::Exponential, [a, b, c]) => a * (b * x).exp() + c,
        (Family::Logarithmic, [a, b, c]) => a * (x + b).ln() + c,
        (Family::Sinusoidal, [a, b, c, d]) => a * (b * x + c).sin() + d,
        (Family::Gaussian, [a, b, c, d]) => a * (-0.5 * ((x - b) / c).powi(2)).exp() + d,
        _ => p.iter().fold(0.0, |sum, c| sum * x + c),
    }
}

/// All families through the points, those that need more points than there are left out.
pub fn fit_all(x: &[f64], y: &[f64]) -> Vec<Curve> {
    Family::ALL.into_iter().filter_map(|family| fit(family, x, y)).collect()
}

/// The best of some curves; of equally good ones the first.
pub fn best(curves: &[Curve], choice: CurveChoice) -> Option<&Curve> {
    // Differences below this are rounding of 32-bit forecasts.
    let better = |one: &Curve, best: &Curve| match choice {
        CurveChoice::AdjustedR2 => one.adjusted_r2 > best.adjusted_r2 + 1e-9,
        CurveChoice::Aic => one.aic < best.aic - 1e-9,
    };
    curves.iter().reduce(|best, one| if better(one, best) { one } else { best })
}

/// One parabola for all segments: their coefficients averaged by weight, which equals averaging the curves on any
/// common grid and fitting again. `None` without parabolas.
pub fn global_parabola(parabolas: &[(Curve, f64)]) -> Option<Curve> {
    let total: f64 = parabolas.iter().map(|(_, weight)| weight).sum();
    if parabolas.is_empty()
        || total <= 0.0
        || parabolas.iter().any(|(curve, _)| curve.family != Family::Quadratic)
    {
        return None;
    }
    let mean = |get: &dyn Fn(&Curve) -> f64| parabolas.iter().map(|(c, w)| get(c) * w).sum::<f64>() / total;
    Some(Curve {
        family: Family::Quadratic,
        coefficients: (0..3).map(|i| mean(&|curve: &Curve| curve.coefficients[i])).collect(),
        r2: mean(&|curve| curve.r2),
        adjusted_r2: mean(&|curve| curve.adjusted_r2),
        aic: mean(&|curve| curve.aic),
    })
}

/// A segment's curves as one voice among many.
#[derive(Clone, Debug)]
pub struct Voice {
    /// Its best curve, which speaks for the range of its own points.
    pub best: Curve,
    /// Its parabola, which speaks outside, where an exponential or a cubic would run away.
    pub parabola: Curve,
    /// Smallest and largest weather of its points.
    pub range: [f64; 2],
    /// Size of the segment.
    pub weight: f64,
}

impl Voice {
    fn at(&self, x: f64) -> f64 {
        let inside = self.range[0] <= x && x <= self.range[1];
        if inside { self.best.at(x) } else { self.parabola.at(x) }
    }
}

/// The parabola through the weighted mean of all voices on `points` values from `low` to `high`: the paper's global
/// curve. `None` without voices.
pub fn parabola_of_means(voices: &[Voice], [low, high]: [f64; 2], points: usize) -> Option<Curve> {
    let total: f64 = voices.iter().map(|voice| voice.weight).sum();
    let mean = |x: f64| voices.iter().map(|voice| voice.at(x) * voice.weight).sum::<f64>() / total;
    let x: Vec<f64> =
        (0..points).map(|i| low + (high - low) * i as f64 / (points.max(2) - 1) as f64).collect();
    let y: Vec<f64> = x.iter().map(|x| mean(*x)).collect();
    if y.iter().all(|value| value.is_finite()) { fit(Family::Quadratic, &x, &y) } else { None }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parabola(c: [f64; 3]) -> Curve {
        Curve { family: Family::Quadratic, coefficients: c.to_vec(), r2: 1.0, adjusted_r2: 1.0, aic: 0.0 }
    }

    #[test]
    fn global_curve_is_the_weighted_mean_of_curves() {
        let all = global_parabola(&[(parabola([1.0, 0.0, 0.0]), 1.0), (parabola([-1.0, 4.0, 1.0]), 3.0)]);
        let all = all.unwrap();
        assert_eq!(all.coefficients, [-0.5, 3.0, 0.75]);
        assert!((all.at(2.0) - (4.0 + 3.0 * 5.0) / 4.0).abs() < 1e-12);
    }

    /// The mean of x² (weight 1) and −x² + 4 (weight 3) is −x²/2 + 3, wherever their data lie. A best curve counts in
    /// its own range only: x³ within ±1, the parabola beyond.
    #[test]
    fn global_curve_takes_best_curves_inside_and_parabolas_outside() {
        let voice = |c, range, weight| Voice { best: parabola(c), parabola: parabola(c), range, weight };
        let apart = [voice([1.0, 0.0, 0.0], [-2.0, 0.0], 1.0), voice([-1.0, 0.0, 4.0], [1.0, 2.0], 3.0)];
        let mean = parabola_of_means(&apart, [-2.0, 2.0], 9).unwrap();
        for (ours, exact) in mean.coefficients.iter().zip([-0.5, 0.0, 3.0]) {
            assert!((ours - exact).abs() < 1e-12, "{mean:?}");
        }
        let cubic =
            Curve { family: Family::Cubic, coefficients: vec![1.0, 0.0, 0.0, 0.0], ..parabola([0.0; 3]) };
        let flat = parabola([0.0, 0.0, 0.5]);
        let one = Voice { best: cubic, parabola: flat, range: [-1.0, 1.0], weight: 2.0 };
        assert_eq!((one.at(0.5), one.at(2.0)), (0.125, 0.5));
        assert_eq!(parabola_of_means(&[], [0.0, 1.0], 9), None);
    }

    #[test]
    fn medians_of_odd_even_and_empty() {
        assert_eq!(median([3.0, f64::NAN, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0]), 2.5);
        assert!(median([]).is_nan());
    }
}
