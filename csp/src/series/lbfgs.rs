//! Minimisation of a smooth function by limited-memory BFGS with a diagonal start and a weak-Wolfe line search.
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

/// A function at a point.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) value: f64,
    pub(super) gradient: Vec<f64>,
    /// A guess at the second derivatives by single components, all positive: the search starts from it.
    pub(super) curvature: Vec<f64>,
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

/// Minimises `evaluate` from `start`; never ends above the starting value.
pub(super) fn minimise(
    start: Vec<f64>,
    options: Options,
    mut evaluate: impl FnMut(&[f64]) -> Value,
) -> Minimum {
    let mut x = start;
    let mut here = evaluate(&x);
    let mut memory: Vec<Correction> = Vec::new();
    let mut iterations = 0;
    while iterations < options.max_iterations && largest(&here.gradient) > options.gradient_tolerance {
        let mut direction = two_loop(&here, &memory);
        let mut slope = dot(&direction, &here.gradient);
        if slope >= 0.0 {
            memory.clear();
            direction = here.gradient.iter().map(|g| -g).collect();
            slope = dot(&direction, &here.gradient);
        }
        let Some((next, there)) = line_search(&x, here.value, &direction, slope, &mut evaluate) else {
            break;
        };
        iterations += 1;
        let step: Vec<f64> = next.iter().zip(&x).map(|(a, b)| a - b).collect();
        let change: Vec<f64> = there.gradient.iter().zip(&here.gradient).map(|(a, b)| a - b).collect();
        let curvature = dot(&step, &change);
        if curvature > 1e-14 * norm(&step) * norm(&change) {
            if memory.len() == MEMORY {
                memory.remove(0);
            }
            memory.push(Correction { step, change, rho: 1.0 / curvature });
        }
        let size = here.value.abs().max(there.value.abs()).max(f64::MIN_POSITIVE);
        let progress = (here.value - there.value) / size;
        (x, here) = (next, there);
        if progress <= options.value_tolerance {
            break;
        }
    }
    Minimum { x, value: here.value, iterations }
}

/// Minus the approximate inverse Hessian times the gradient.
fn two_loop(here: &Value, memory: &[Correction]) -> Vec<f64> {
    let mut q: Vec<f64> = here.gradient.iter().map(|g| -g).collect();
    let mut alphas = vec![0.0; memory.len()];
    for (alpha, c) in alphas.iter_mut().zip(memory).rev() {
        *alpha = c.rho * dot(&c.step, &q);
        add_scaled(&mut q, -*alpha, &c.change);
    }
    // The diagonal, scaled to the curvature that the last step has met.
    let scale = memory.last().map_or(1.0, |last| {
        let size: f64 = last.change.iter().zip(&here.curvature).map(|(y, c)| y * y / c).sum();
        1.0 / (last.rho * size)
    });
    q.iter_mut().zip(&here.curvature).for_each(|(v, c)| *v *= scale / c);
    for (alpha, c) in alphas.iter().zip(memory) {
        let beta = c.rho * dot(&c.change, &q);
        add_scaled(&mut q, alpha - beta, &c.step);
    }
    q
}

fn line_search(
    x: &[f64],
    value: f64,
    direction: &[f64],
    slope: f64,
    evaluate: &mut impl FnMut(&[f64]) -> Value,
) -> Option<(Vec<f64>, Value)> {
    let (mut low, mut high, mut length) = (0.0, f64::INFINITY, 1.0);
    let mut best: Option<(Vec<f64>, Value)> = None;
    for _ in 0..MAX_TRIALS {
        let point: Vec<f64> = x.iter().zip(direction).map(|(a, d)| a + length * d).collect();
        let trial = evaluate(&point);
        let descends = trial.value <= value + 1e-4 * length * slope;
        if !descends || !trial.value.is_finite() {
            high = length;
        } else if dot(&trial.gradient, direction) < 0.9 * slope {
            low = length;
            best = Some((point, trial));
        } else {
            return Some((point, trial));
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
            let gradient = vec![-2.0 * (1.0 - x) - 400.0 * x * (y - x * x), 200.0 * (y - x * x)];
            Value { value, gradient, curvature: vec![1.0; 2] }
        });
        assert!((minimum.x[0] - 1.0).abs() < 1e-7 && (minimum.x[1] - 1.0).abs() < 1e-7, "{minimum:?}");
        assert!(minimum.value < 1e-14 && minimum.iterations < 100);
    }

    #[test]
    fn a_minimum_is_left_alone() {
        let parabola = |p: &[f64]| Value {
            value: (p[0] - 2.0).powi(2),
            gradient: vec![2.0 * (p[0] - 2.0)],
            curvature: vec![2.0],
        };
        let minimum = minimise(vec![2.0], TIGHT, parabola);
        assert_eq!((minimum.x[0], minimum.iterations), (2.0, 0));
        // With the true curvature one step is enough.
        let minimum = minimise(vec![9.0], TIGHT, parabola);
        assert_eq!((minimum.x[0], minimum.iterations), (2.0, 1));
    }
}
