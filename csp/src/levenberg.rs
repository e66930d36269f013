//! Nonlinear least squares by damped Gauss–Newton steps (Levenberg and Marquardt, doi:10.1137/0111030).

use crate::fit::solve;

const MAX_STEPS: usize = 200;
/// Damping beyond which no step can help any more.
const MAX_DAMPING: f64 = 1e12;

/// One observation seen from the current parameters.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Observed minus modelled.
    pub(crate) residual: f64,
    /// Derivative of the modelled value by each parameter.
    pub(crate) slopes: Vec<f64>,
}

/// Parameters with a small sum of squared residuals, and that sum, from `start` on; never worse than the start. `rows`
/// gives every observation, or `None` outside the model's domain. `None` if the start itself is outside.
pub(crate) fn least_squares(
    start: Vec<f64>,
    rows: impl Fn(&[f64]) -> Option<Vec<Row>>,
) -> Option<(Vec<f64>, f64)> {
    let squares = |rows: &[Row]| rows.iter().map(|row| row.residual * row.residual).sum::<f64>();
    let mut at = start;
    let mut current = rows(&at)?;
    let mut sum = squares(&current);
    let mut damping = 1e-3;
    for _ in 0..MAX_STEPS {
        let Some(step) = damped_step(&current, damping) else { break };
        let next: Vec<f64> = at.iter().zip(&step).map(|(p, s)| p + s).collect();
        let found = rows(&next).map(|rows| (squares(&rows), rows)).filter(|(next_sum, _)| *next_sum < sum);
        if let Some((next_sum, next_rows)) = found {
            let settled = sum - next_sum <= 1e-15 * sum;
            (at, current, sum) = (next, next_rows, next_sum);
            damping = (damping / 3.0).max(1e-15);
            if settled {
                break;
            }
        } else {
            damping *= 5.0;
            if damping > MAX_DAMPING {
                break;
            }
        }
    }
    sum.is_finite().then_some((at, sum))
}

/// The solution of `(JᵀJ + damping · diag JᵀJ) step = Jᵀr`.
fn damped_step(rows: &[Row], damping: f64) -> Option<Vec<f64>> {
    let size = rows.first()?.slopes.len();
    let product = |i: usize, j: usize| rows.iter().map(|row| row.slopes[i] * row.slopes[j]).sum::<f64>();
    let mut matrix: Vec<Vec<f64>> = (0..size).map(|i| (0..size).map(|j| product(i, j)).collect()).collect();
    for (i, row) in matrix.iter_mut().enumerate() {
        // A parameter without any influence still needs a pivot.
        row[i] += damping * row[i].max(1e-12);
    }
    let right = (0..size).map(|i| rows.iter().map(|row| row.slopes[i] * row.residual).sum()).collect();
    solve(matrix, right).filter(|step| step.iter().all(|s| s.is_finite()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decay_is_found_from_afar() {
        // y = 3 e^(−0.7 t), started at 1 e^(0 t).
        let times: Vec<f64> = (0..8).map(f64::from).collect();
        let rows = |p: &[f64]| {
            let row = |t: &f64| {
                let decay = (p[1] * t).exp();
                Row { residual: 3.0 * (-0.7 * t).exp() - p[0] * decay, slopes: vec![decay, p[0] * t * decay] }
            };
            Some(times.iter().map(row).collect())
        };
        let (found, sum) = least_squares(vec![1.0, 0.0], rows).unwrap();
        assert!((found[0] - 3.0).abs() < 1e-8 && (found[1] + 0.7).abs() < 1e-8 && sum < 1e-16, "{found:?}");
    }

    #[test]
    fn a_start_outside_the_domain_is_refused() {
        assert!(least_squares(vec![0.0], |_| None).is_none());
    }
}
