//! How well a sample follows its target and its population.

/// Kullback–Leibler divergence Σ p ln(p/q), nats, of two count vectors taken as shares; terms with p = 0 are 0. Infinite
/// where p > 0 meets q = 0, NaN if a side is empty.
#[must_use]
pub fn divergence(p: &[f64], q: &[f64]) -> f64 {
    let (p_sum, q_sum): (f64, f64) = (p.iter().sum(), q.iter().sum());
    let term = |(&p, &q): (&f64, &f64)| {
        if p == 0.0 { 0.0 } else { p / p_sum * ((p / p_sum) / (q / q_sum)).ln() }
    };
    if p_sum > 0.0 && q_sum > 0.0 { p.iter().zip(q).map(term).sum() } else { f64::NAN }
}

/// Largest absolute difference of the shares of two count vectors.
#[must_use]
pub fn largest_difference(p: &[f64], q: &[f64]) -> f64 {
    let (p_sum, q_sum): (f64, f64) = (p.iter().sum(), q.iter().sum());
    p.iter().zip(q).map(|(p, q)| (p / p_sum - q / q_sum).abs()).fold(0.0, f64::max)
}

/// Kish's effective sample size (Σw)² / Σw²: how many equally weighted locations would be as informative.
#[must_use]
pub fn effective_size(weights: impl Iterator<Item = f64> + Clone) -> f64 {
    let sum: f64 = weights.clone().sum();
    let squares: f64 = weights.map(|weight| weight * weight).sum();
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// p = (¾, ¼), q = (½, ½): ¾ ln 1.5 + ¼ ln ½.
    #[test]
    fn divergence_by_hand() {
        let expected = 0.75 * 1.5_f64.ln() + 0.25 * 0.5_f64.ln();
        assert!((divergence(&[3.0, 1.0], &[10.0, 10.0]) - expected).abs() < 1e-15);
        assert_eq!(divergence(&[3.0, 0.0], &[1.0, 0.0]), 0.0);
        assert_eq!(divergence(&[1.0, 1.0], &[1.0, 0.0]), f64::INFINITY);
        assert!(divergence(&[0.0], &[1.0]).is_nan());
        assert_eq!(largest_difference(&[3.0, 1.0], &[10.0, 10.0]), 0.25);
    }

    /// Weights 1.5 six times and 0.25 four times: 10² / (6 · 2.25 + 4 · 0.0625) = 100 / 13.75.
    #[test]
    fn effective_size_by_hand() {
        let weights = [1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 0.25, 0.25, 0.25, 0.25];
        assert!((effective_size(weights.into_iter()) - 100.0 / 13.75).abs() < 1e-12);
        assert_eq!(effective_size(std::iter::empty()), 0.0);
    }
}
