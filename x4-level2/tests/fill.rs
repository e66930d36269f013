//! The gap filling against xarray (golden vectors) and against a plain daily interpolation.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use x4_level2::{Extrapolate, FillPlan, Filled, LANES, Steps};

#[derive(Deserialize)]
struct Golden {
    first_day: i32,
    days: usize,
    step_days: i32,
    dates: Vec<i32>,
    obs: Vec<Vec<Option<f64>>>,
    linear_10d_mean: Vec<Vec<Option<f64>>>,
    mask: Vec<Vec<u8>>,
    dist_next: Vec<Vec<i16>>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("data/fill.json")).unwrap()
}

/// One pixel a series, two bands: the series and twice the series.
fn fill<F>(
    days: &[i32],
    obs: &[Vec<Option<f64>>],
    steps: Steps,
    extrapolate: Extrapolate,
    cast: fn(f64) -> F,
) -> Filled<F>
where
    F: ndarray::NdFloat + From<f32>,
{
    let plan = FillPlan::new(days, steps, extrapolate);
    let load = |time: usize, pixels: std::ops::Range<usize>, valid: &mut [u8], values: &mut [[F; LANES]]| {
        for (i, pixel) in pixels.enumerate() {
            valid[i] = u8::from(obs[pixel][time].is_some());
            let value = cast(obs[pixel][time].unwrap_or(f64::NAN));
            values[0][i] = value;
            values[1][i] = value + value;
        }
    };
    let filled = plan.fill(obs.len(), 2, load);
    let parallel: Filled<F> = plan.fill_parallel(obs.len(), 2, load);
    let bits = |f: &Filled<F>| f.values.iter().map(|v| v.to_f64().unwrap().to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&filled), bits(&parallel));
    filled
}

fn assert_close<F: ndarray::NdFloat>(filled: &Filled<F>, expected: &[Vec<Option<f64>>], tolerance: f64) {
    for (pixel, series) in expected.iter().enumerate() {
        for (step, expected) in series.iter().enumerate() {
            for band in 0..2 {
                let found = filled.values[[band, step, pixel]].to_f64().unwrap() / (band + 1) as f64;
                let good = expected.map_or(found.is_nan(), |expected| (found - expected).abs() <= tolerance);
                assert!(good, "pixel {pixel} step {step} band {band}: expected {expected:?}, found {found}");
            }
        }
    }
}

#[test]
fn equals_xarray_to_1e12_in_double_and_1e6_in_single_precision() {
    let golden = golden();
    let days: Vec<i32> = golden.dates.iter().map(|day| golden.first_day + day).collect();
    let len = golden.days / golden.step_days as usize;
    let steps = Steps { first_day: golden.first_day, step_days: golden.step_days, len };
    let double: Filled<f64> = fill(&days, &golden.obs, steps, Extrapolate::None, |v| v);
    assert_close(&double, &golden.linear_10d_mean, 1e-12);
    let single: Filled<f32> = fill(&days, &golden.obs, steps, Extrapolate::None, |v| v as f32);
    assert_close(&single, &golden.linear_10d_mean, 1e-6);

    for (pixel, (mask, distance)) in golden.mask.iter().zip(&golden.dist_next).enumerate() {
        assert_eq!(double.mask.column(pixel).to_vec(), *mask, "mask of pixel {pixel}");
        assert_eq!(double.dist_next.column(pixel).to_vec(), *distance, "distance of pixel {pixel}");
    }
}

/// A window of the steps has the numbers of the whole, because acquisitions outside it still end its gaps.
#[test]
fn a_window_is_a_part_of_the_whole() {
    let golden = golden();
    let days: Vec<i32> = golden.dates.iter().map(|day| golden.first_day + day).collect();
    let steps = Steps { first_day: golden.first_day, step_days: 10, len: 48 };
    let whole: Filled<f64> = fill(&days, &golden.obs, steps, Extrapolate::None, |v| v);
    let window: Filled<f64> = fill(&days, &golden.obs, steps.window(7, 20), Extrapolate::None, |v| v);
    let part = whole.values.slice(ndarray::s![.., 7..27, ..]);
    for (a, b) in part.iter().zip(&window.values) {
        assert!((a - b).abs() < 1e-14 || (a.is_nan() && b.is_nan()));
    }
    assert_eq!(whole.mask.slice(ndarray::s![7..27, ..]), window.mask);
    assert_eq!(whole.dist_next.slice(ndarray::s![7..27, ..]), window.dist_next);
}

/// Daily values by definition: mean of the valid observations of a day, then linear between such days.
fn oracle(days: &[i32], obs: &[Option<f64>], steps: Steps, extrapolate: Extrapolate) -> Vec<Option<f64>> {
    let mut points: Vec<(i32, f64, f64)> = Vec::new();
    for (&day, value) in days.iter().zip(obs) {
        let Some(value) = value else { continue };
        match points.last_mut() {
            Some(last) if last.0 == day => *last = (day, last.1 + value, last.2 + 1.0),
            _ => points.push((day, *value, 1.0)),
        }
    }
    let points: Vec<(i32, f64)> = points.into_iter().map(|(day, sum, n)| (day, sum / n)).collect();
    let at = |day: i32| -> Option<f64> {
        let after = points.iter().position(|point| point.0 >= day);
        let nearest = extrapolate == Extrapolate::Nearest;
        match after {
            Some(i) if points[i].0 == day => Some(points[i].1),
            Some(0) => points.first().filter(|_| nearest).map(|point| point.1),
            None => points.last().filter(|_| nearest).map(|point| point.1),
            Some(i) => {
                let ((d0, v0), (d1, v1)) = (points[i - 1], points[i]);
                Some(v0 + (v1 - v0) * f64::from(day - d0) / f64::from(d1 - d0))
            }
        }
    };
    let step = |k: usize| {
        let values: Vec<f64> = (steps.start(k)..=steps.end(k)).filter_map(at).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    (0..steps.len).map(step).collect()
}

/// Irregular dates, several a day, before, in and after the steps; densities from none to all; 1 to 3 blocks of pixels.
#[test]
fn equals_plain_daily_interpolation_on_random_series() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for case in 0..60 {
        let step_days = rng.random_range(1..12);
        let len = rng.random_range(1..30);
        let steps = Steps { first_day: 17_000 + rng.random_range(-50..50), step_days, len };
        let last = steps.end(len - 1) + 40;
        let mut days: Vec<i32> =
            (0..rng.random_range(0..60)).map(|_| rng.random_range(steps.first_day - 40..=last)).collect();
        days.sort_unstable();
        let density: f64 = rng.random();
        let pixels = rng.random_range(1..300);
        let obs: Vec<Vec<Option<f64>>> = (0..pixels)
            .map(|_| days.iter().map(|_| (rng.random::<f64>() < density).then(|| rng.random())).collect())
            .collect();
        for extrapolate in [Extrapolate::None, Extrapolate::Nearest] {
            let expected: Vec<_> = obs.iter().map(|obs| oracle(&days, obs, steps, extrapolate)).collect();
            let filled: Filled<f64> = fill(&days, &obs, steps, extrapolate, |v| v);
            assert_close(&filled, &expected, 1e-12);
            let single: Filled<f32> = fill(&days, &obs, steps, extrapolate, |v| v as f32);
            assert_close(&single, &expected, 1e-6);
            check_gaps(&days, &obs, steps, &filled, case);
        }
    }
}

/// `mask` and `dist_next` by definition.
fn check_gaps(days: &[i32], obs: &[Vec<Option<f64>>], steps: Steps, filled: &Filled<f64>, case: usize) {
    for (pixel, obs) in obs.iter().enumerate() {
        let valid: Vec<i32> =
            days.iter().zip(obs).filter(|(_, v)| v.is_some()).map(|(&day, _)| day).collect();
        for k in 0..steps.len {
            let within = valid.iter().any(|day| (steps.start(k)..=steps.end(k)).contains(day));
            assert_eq!(filled.mask[[k, pixel]], u8::from(!within), "case {case}");
            let next = valid.iter().find(|&&day| day >= steps.end(k)).map_or(-1, |day| day - steps.end(k));
            assert_eq!(i32::from(filled.dist_next[[k, pixel]]), next, "case {case}");
        }
    }
}
