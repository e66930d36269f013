//! Minimisation of a smooth function by limited-memory BFGS with a weak-Wolfe line search.
//!
//! Nocedal and Wright, Numerical Optimization, 2006, algorithms 7.4 and 7.5; the line search is the bisection
//! of Lewis and Overton (2013, doi:10.1007/s10107-012-0514-2).

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) max_iterations: usize,
    /// Relative decrease of the value that counts as no progress.
    pub(super) value_tolerance: f64,
    /// Largest gradient component that counts as zero.
    pub(super) gradient_tolerance: f64,
}

/// Where the search ended.
#[derive(Clone, Debug)]
pub(super) struct Minimum {
    pub(super) x: Vec<f64>,
    pub(super) value: f64,
    pub(super) iterations: usize,
}

const MEMORY: usize = 10;
const MAX_TRIALS: usize = 30;

struct Correction {
    step: Vec<f64>,
    change: Vec<f64>,
    rho: f64,
}

/// Minimises `evaluate` (value and gradient at a point) from `start`; never ends above the starting value.
pub(super) fn minimise(
    start: Vec<f64>,
    options: Options,
    mut evaluate: impl FnMut(&[f64]) -> (f64, Vec<f64>),
) -> Minimum {
    let mut x = start;
    let (mut value, mut gradient) = evaluate(&x);
    let mut memory: Vec<Correction> = Vec::new();
    let mut iterations = 0;
    while iterations < options.max_iterations && largest(&gradient) > options.gradient_tolerance {
        let mut direction = two_loop(&gradient, &memory);
        let mut slope = dot(&direction, &gradient);
        if slope >= 0.0 {
            memory.clear();
            direction = gradient.iter().map(|g| -g).collect();
            slope = dot(&direction, &gradient);
        }
        let first = if memory.is_empty() { (1.0 / norm(&gradient)).min(1.0) } else { 1.0 };
        let Some((next, next_value, next_gradient)) =
            line_search(&x, value, &direction, slope, first, &mut evaluate)
        else {
            break;
        };
        iterations += 1;
        let step: Vec<f64> = next.iter().zip(&x).map(|(a, b)| a - b).collect();
        let change: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        let curvature = dot(&step, &change);
        if curvature > 1e-14 * norm(&step) * norm(&change) {
            if memory.len() == MEMORY {
                memory.remove(0);
            }
            memory.push(Correction { step, change, rho: 1.0 / curvature });
        }
        let progress = (value - next_value) / value.abs().max(next_value.abs()).max(f64::MIN_POSITIVE);
        (x, value, gradient) = (next, next_value, next_gradient);
        if progress <= options.value_tolerance {
            break;
        }
    }
    Minimum { x, value, iterations }
}

/// Minus the approximate inverse Hessian times the gradient.
fn two_loop(gradient: &[f64], memory: &[Correction]) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut alphas = vec![0.0; memory.len()];
    for (alpha, c) in alphas.iter_mut().zip(memory).rev() {
        *alpha = c.rho * dot(&c.step, &q);
        add_scaled(&mut q, -*alpha, &c.change);
    }
    if let Some(last) = memory.last() {
        let scale = 1.0 / (last.rho * dot(&last.change, &last.change));
        q.iter_mut().for_each(|v| *v *= scale);
    }
    for (alpha, c) in alphas.iter().zip(memory) {
        let beta = c.rho * dot(&c.change, &q);
        add_scaled(&mut q, alpha - beta, &c.step);
    }
    q
}

type Trial = (Vec<f64>, f64, Vec<f64>);

fn line_search(
    x: &[f64],
    value: f64,
    direction: &[f64],
    slope: f64,
    first: f64,
    evaluate: &mut impl FnMut(&[f64]) -> (f64, Vec<f64>),
) -> Option<Trial> {
    let (mut low, mut high, mut length) = (0.0, f64::INFINITY, first);
    let mut best: Option<Trial> = None;
    for _ in 0..MAX_TRIALS {
        let point: Vec<f64> = x.iter().zip(direction).map(|(a, d)| a + length * d).collect();
        let (trial_value, trial_gradient) = evaluate(&point);
        let descends = trial_value <= value + 1e-4 * length * slope;
        if !descends || !trial_value.is_finite() {
            high = length;
        } else if dot(&trial_gradient, direction) < 0.9 * slope {
            low = length;
            best = Some((point, trial_value, trial_gradient));
        } else {
            return Some((point, trial_value, trial_gradient));
        }
        length = if high.is_finite() { 0.5 * (low + high) } else { 2.0 * length };
    }
    best
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

fn largest(a: &[f64]) -> f64 {
    a.iter().fold(0.0, |m, v| m.max(v.abs()))
}

fn add_scaled(target: &mut [f64], factor: f64, other: &[f64]) {
    target.iter_mut().zip(other).for_each(|(t, o)| *t += factor * o);
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIGHT: Options = Options { max_iterations: 200, value_tolerance: 0.0, gradient_tolerance: 1e-10 };

    #[test]
    fn rosenbrock_valley_is_walked_to_its_end() {
        let minimum = minimise(vec![-1.2, 1.0], TIGHT, |p| {
            let (x, y) = (p[0], p[1]);
            let value = (1.0 - x).powi(2) + 100.0 * (y - x * x).powi(2);
            (value, vec![-2.0 * (1.0 - x) - 400.0 * x * (y - x * x), 200.0 * (y - x * x)])
        });
        assert!((minimum.x[0] - 1.0).abs() < 1e-7 && (minimum.x[1] - 1.0).abs() < 1e-7, "{minimum:?}");
        assert!(minimum.value < 1e-14 && minimum.iterations < 100);
    }

    #[test]
    fn a_minimum_is_left_alone() {
        let minimum = minimise(vec![2.0], TIGHT, |p| ((p[0] - 2.0).powi(2), vec![2.0 * (p[0] - 2.0)]));
        assert_eq!((minimum.x[0], minimum.iterations), (2.0, 0));
    }
}
