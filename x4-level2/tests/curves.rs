//! The curves of the gap filling: Whittaker against the `whittaker-eilers` package (golden vectors), and all of them
//! against plain solutions of their definitions.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use x4_level2::{Extrapolate, FillPlan, Filled, LANES, Method, Steps};

type Series = Vec<Option<f64>>;
type Truth = fn(i32) -> f64;

/// One pixel a series, two bands: the series and one minus the series.
fn fill<F>(days: &[i32], obs: &[Series], plan: &FillPlan, cast: fn(f64) -> F) -> Filled<F>
where
    F: ndarray::NdFloat + From<f32>,
{
    let load = |time: usize, pixels: std::ops::Range<usize>, valid: &mut [u8], values: &mut [[F; LANES]]| {
        assert!(time < days.len());
        for (i, pixel) in pixels.enumerate() {
            valid[i] = u8::from(obs[pixel][time].is_some());
            values[0][i] = cast(obs[pixel][time].unwrap_or(f64::NAN));
            values[1][i] = cast(1.0 - obs[pixel][time].unwrap_or(f64::NAN));
        }
    };
    let filled = plan.fill(obs.len(), 2, load);
    let parallel: Filled<F> = plan.fill_parallel(obs.len(), 2, load);
    let bits = |f: &Filled<F>| f.values.iter().map(|v| v.to_f64().unwrap().to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&filled), bits(&parallel));
    filled
}

fn assert_close<F: ndarray::NdFloat>(
    found: &Filled<F>,
    band: usize,
    expected: &[(usize, Series)],
    tolerance: f64,
) {
    for (pixel, series) in expected {
        for (step, expected) in series.iter().enumerate() {
            let found = found.values[[band, step, *pixel]].to_f64().unwrap();
            let good = expected.map_or(found.is_nan(), |expected| (found - expected).abs() <= tolerance);
            assert!(good, "pixel {pixel} step {step} band {band}: expected {expected:?}, found {found}");
        }
    }
}

fn numbers(value: &Value) -> Series {
    value.as_array().unwrap().iter().map(Value::as_f64).collect()
}

/// Steps of one day are the daily axis.
#[test]
fn whittaker_equals_the_published_package_on_the_daily_axis() {
    let series: Value = serde_json::from_str(include_str!("data/fill.json")).unwrap();
    let golden: Value = serde_json::from_str(include_str!("data/whittaker.json")).unwrap();
    let first_day = series["first_day"].as_i64().unwrap() as i32;
    let days: Vec<i32> =
        numbers(&series["dates"]).iter().map(|day| first_day + day.unwrap() as i32).collect();
    let rows = numbers(&golden["series"]);
    let obs: Vec<Series> = rows.iter().map(|row| numbers(&series["obs"][row.unwrap() as usize])).collect();
    let shown: Vec<usize> = numbers(&golden["days"]).iter().map(|day| day.unwrap() as usize).collect();
    for smooth in golden["smooth"].as_array().unwrap() {
        let method = Method::Whittaker { lambda: smooth["lambda"].as_f64().unwrap() };
        let steps = Steps { first_day, step_days: 1, len: 480 };
        let plan = FillPlan::new(&days, steps, Extrapolate::None).with(&method);
        let filled: Filled<f64> = fill(&days, &obs, &plan, |v| v);
        for (pixel, expected) in smooth["values"].as_array().unwrap().iter().enumerate() {
            for (expected, &day) in numbers(expected).iter().zip(&shown) {
                let found = filled.values[[0, day, pixel]];
                let good = expected.map_or(found.is_nan(), |expected| (found - expected).abs() < 1e-8);
                assert!(good, "{method:?} pixel {pixel} day {day}: expected {expected:?}, found {found}");
            }
        }
    }
}

/// Mean of the valid observations of each day.
fn points(days: &[i32], obs: &Series) -> Vec<(i32, f64)> {
    let mut points: Vec<(i32, f64, f64)> = Vec::new();
    for (&day, value) in days.iter().zip(obs) {
        let Some(value) = value else { continue };
        match points.last_mut() {
            Some(last) if last.0 == day => *last = (day, last.1 + value, last.2 + 1.0),
            _ => points.push((day, *value, 1.0)),
        }
    }
    points.into_iter().map(|(day, sum, n)| (day, sum / n)).collect()
}

/// Gaussian elimination with pivoting.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let n = right.len();
    for col in 0..n {
        let pivot = (col..n).max_by(|&a, &b| matrix[a][col].abs().total_cmp(&matrix[b][col].abs())).unwrap();
        matrix.swap(col, pivot);
        right.swap(col, pivot);
        for row in col + 1..n {
            let factor = matrix[row][col] / matrix[col][col];
            let (head, tail) = matrix.split_at_mut(row);
            tail[0].iter_mut().zip(&head[col]).for_each(|(entry, pivot)| *entry -= factor * pivot);
            right[row] -= factor * right[col];
        }
    }
    for row in (0..n).rev() {
        let known: f64 = (row + 1..n).map(|k| matrix[row][k] * right[k]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    right
}

/// Values of the days from the first to the last point; `None` where the method gives none.
fn curve(method: &Method, days: &[i32], points: &[(i32, f64)]) -> Series {
    let (Some(&(first, _)), Some(&(last, _))) = (points.first(), points.last()) else { return Vec::new() };
    let n = (last - first + 1) as usize;
    match method {
        Method::Linear => unreachable!("tests/fill.rs"),
        Method::Whittaker { lambda } => {
            let (mut matrix, mut right) = (vec![vec![0.0; n]; n], vec![0.0; n]);
            for &(day, value) in points {
                let i = (day - first) as usize;
                matrix[i][i] += 1.0;
                right[i] = value;
            }
            for i in 0..n.saturating_sub(2) {
                for (j, a) in [1.0, -2.0, 1.0].iter().enumerate() {
                    for (k, b) in [1.0, -2.0, 1.0].iter().enumerate() {
                        matrix[i + j][i + k] += lambda * a * b;
                    }
                }
            }
            solve(matrix, right).into_iter().map(Some).collect()
        }
        Method::Harmonic { harmonics, ridge } => {
            let middle = f64::from(days[0] + days[days.len() - 1]) / 2.0;
            let basis = |day: i32| {
                let mut terms = vec![1.0, (f64::from(day) - middle) / 365.25];
                for k in 1..=*harmonics {
                    let angle = std::f64::consts::TAU * k as f64 * f64::from(day) / 365.25;
                    terms.extend([angle.cos(), angle.sin()]);
                }
                terms
            };
            let terms = 2 + 2 * harmonics;
            let (mut matrix, mut right) = (vec![vec![0.0; terms]; terms], vec![0.0; terms]);
            for (i, row) in matrix.iter_mut().enumerate().skip(1) {
                row[i] = *ridge;
            }
            for &(day, value) in points {
                let terms = basis(day);
                for (i, a) in terms.iter().enumerate() {
                    right[i] += a * value;
                    terms.iter().zip(&mut matrix[i]).for_each(|(b, entry)| *entry += a * b);
                }
            }
            let coefficients = solve(matrix, right);
            let at = |day| basis(day).iter().zip(&coefficients).map(|(a, b)| a * b).sum();
            (first..=last).map(|day| Some(at(day))).collect()
        }
        Method::Rbf { sigmas, cutoff } => (first..=last)
            .map(|day| {
                let (mut sum, mut weight) = (0.0, 0.0);
                for sigma in sigmas {
                    let kernel = |d: i32| {
                        (-0.5 * (f64::from(d) / sigma).powi(2)).exp()
                            / (sigma * (2.0 * std::f64::consts::PI).sqrt())
                    };
                    let total = |reach: i32| (-reach..=reach).map(kernel).sum::<f64>();
                    let reach = (0..10_000).take_while(|&r| r == 0 || total(r) <= *cutoff).last().unwrap();
                    let near: Vec<_> = points.iter().filter(|p| (p.0 - day).abs() <= reach).collect();
                    let density = near.iter().map(|p| kernel(p.0 - day)).sum::<f64>();
                    if density > 0.0 {
                        let mean = near.iter().map(|p| kernel(p.0 - day) * p.1).sum::<f64>() / density;
                        sum += mean * density / total(reach);
                        weight += density / total(reach);
                    }
                }
                (weight > 0.0).then(|| sum / weight)
            })
            .collect(),
    }
}

fn oracle(method: &Method, days: &[i32], obs: &Series, steps: Steps, extrapolate: Extrapolate) -> Series {
    let points = points(days, obs);
    let values = curve(method, days, &points);
    let at = |day: i32| -> Option<f64> {
        let (first, last) = (points.first()?.0, points.last()?.0);
        let nearest = extrapolate == Extrapolate::Nearest;
        let inside = day.clamp(first, last);
        if nearest || inside == day { values[(inside - first) as usize] } else { None }
    };
    let step = |k: usize| {
        let values: Vec<f64> = (steps.start(k)..=steps.end(k)).filter_map(at).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    (0..steps.len).map(step).collect()
}

/// Irregular dates, several a day, before, in and after the steps; densities from none to all; steps of 1 to 16 days;
/// blocks that are full and not. Of many pixels a few are solved plainly.
#[test]
fn every_curve_is_the_plain_solution_of_its_definition() {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    for case in 0..30 {
        let step_days = [1, 5, 8, 10, 16][case % 5];
        let len = rng.random_range(1..20);
        let steps = Steps { first_day: 17_000 + rng.random_range(-50..50), step_days, len };
        let last = steps.end(len - 1) + 40;
        let mut days: Vec<i32> =
            (0..rng.random_range(1..60)).map(|_| rng.random_range(steps.first_day - 40..=last)).collect();
        days.sort_unstable();
        let density: f64 = rng.random();
        let pixels = [1_usize, 7, 130][case % 3];
        let obs: Vec<Series> = (0..pixels)
            .map(|_| days.iter().map(|_| (rng.random::<f64>() < density).then(|| rng.random())).collect())
            .collect();
        let inverted = |obs: &Series| obs.iter().map(|value| value.map(|value| 1.0 - value)).collect();
        let methods = [
            Method::Whittaker { lambda: [0.5, 100.0, 1e4][case % 3] },
            Method::Harmonic { harmonics: 1 + case % 3, ridge: [0.01, 1.0][case % 2] },
            Method::Rbf {
                sigmas: [vec![8.0, 16.0, 32.0], vec![0.3], vec![20.0]][case % 3].clone(),
                cutoff: 0.95,
            },
        ];
        for (method, extrapolate) in
            methods.iter().flat_map(|m| [Extrapolate::None, Extrapolate::Nearest].map(|e| (m, e)))
        {
            let plan = FillPlan::new(&days, steps, extrapolate).with(method);
            let filled: Filled<f64> = fill(&days, &obs, &plan, |v| v);
            let single: Filled<f32> = fill(&days, &obs, &plan, |v| v as f32);
            for (band, obs) in [obs.clone(), obs.iter().map(inverted).collect()].iter().enumerate() {
                let checked = obs.iter().enumerate().step_by(pixels.div_ceil(5));
                let expected: Vec<(usize, Series)> = checked
                    .map(|(pixel, obs)| (pixel, oracle(method, &days, obs, steps, extrapolate)))
                    .collect();
                assert_close(&filled, band, &expected, 1e-8);
                assert_close(&single, band, &expected, 2e-5);
            }
            let linear: Filled<f64> = fill(&days, &obs, &FillPlan::new(&days, steps, extrapolate), |v| v);
            assert_eq!((&filled.mask, &filled.dist_next), (&linear.mask, &linear.dist_next));
        }
    }
}

/// A line is its own Whittaker curve, whatever λ; a wave of the year that of the harmonics; a constant that of kernels.
#[test]
fn what_a_curve_can_be_is_kept() {
    let days: Vec<i32> = (0..200).map(|i| 17_000 + 7 * i).collect();
    let steps = Steps { first_day: 17_000, step_days: 1, len: 1_394 };
    let line = |day: i32| 0.3 + 1e-4 * f64::from(day - 17_000);
    let wave = |day: i32| 0.4 + 0.2 * (std::f64::consts::TAU * f64::from(day) / 365.25).sin();
    let cases: [(Method, Truth); 3] = [
        (Method::Whittaker { lambda: 1e7 }, line),
        (Method::Harmonic { harmonics: 2, ridge: 1e-6 }, wave),
        (Method::Rbf { sigmas: vec![8.0, 32.0], cutoff: 0.95 }, |_| 0.7),
    ];
    for (method, truth) in &cases {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let obs = vec![days.iter().map(|&day| (rng.random::<f64>() < 0.4).then(|| truth(day))).collect()];
        let plan = FillPlan::new(&days, steps, Extrapolate::None).with(method);
        let filled: Filled<f64> = fill(&days, &obs, &plan, |v| v);
        let found = filled.values.slice(ndarray::s![0, .., 0]);
        assert!(found.iter().filter(|v| v.is_finite()).count() > 1_300);
        for (day, value) in (17_000..).zip(found).filter(|(_, value)| value.is_finite()) {
            assert!((value - truth(day)).abs() < 1e-7, "{method:?} day {day}: {value}");
        }
    }
}
