//! Measures the time-series library: one JSON object a line, for `cargo xtask bench softdtw`.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::time::Instant;

use csp::series::{BarycentreOptions, KMeans, Metric, SeriesError, soft_dtw_cross};
use ndarray::{Array3, s};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

const STEPS: usize = 30;
const REPEATS: usize = 5;

fn main() -> Result<(), SeriesError> {
    let x = weather(2000);
    let some = x.slice(s![..200, .., ..]);
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(|_| SeriesError::Empty)?;
    let pairs = one.install(|| best_of(|| soft_dtw_cross(some, some, 1.0).map(drop)))?;
    let per_million = pairs * 1e6 / (200.0 * 200.0);
    let note = format!("{:.0} pairs/s on one thread, gamma 1", 1e6 / per_million);
    println!(
        "{}",
        json!({"name": "softdtw_pairs_T30", "ours": per_million, "unit": "s/Mpair", "note": note})
    );

    // The peer's settings: gamma 1, one start, at most ten rounds.
    let options = KMeans {
        max_iterations: 10,
        barycentre: BarycentreOptions::default(),
        ..KMeans::new(7, Metric::SoftDtw { gamma: 1.0 })
    };
    let mut fitted = None;
    let seconds = best_of(|| {
        fitted = Some(options.fit(x.view(), &mut ChaCha8Rng::seed_from_u64(0))?);
        Ok(())
    })?;
    let note = fitted.map_or(String::new(), |f| {
        format!("{} rounds, mean soft-DTW {:.6}, all cores", f.iterations, f.objective)
    });
    println!("{}", json!({"name": "softdtw_kmeans_n2000_k7", "ours": seconds, "unit": "s", "note": note}));
    Ok(())
}

/// Seconds of the fastest of a few runs.
fn best_of(mut work: impl FnMut() -> Result<(), SeriesError>) -> Result<f64, SeriesError> {
    let mut best = f64::INFINITY;
    for _ in 0..REPEATS {
        let clock = Instant::now();
        work()?;
        best = best.min(clock.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// Nine temperature-like shapes with noise, in EarthNet's units; the peer makes its own by the same rule.
fn weather(samples: usize) -> Array3<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let shapes: Vec<(f64, f64, f64)> = (0..9)
        .map(|_| {
            (
                rng.random_range(0.0..std::f64::consts::TAU),
                rng.random_range(0.05..0.25),
                rng.random_range(0.4..0.7),
            )
        })
        .collect();
    let labels: Vec<usize> = (0..samples).map(|_| rng.random_range(0..9)).collect();
    Array3::from_shape_fn((samples, STEPS, 1), |(i, t, _)| {
        let (phase, amplitude, level) = shapes[labels[i]];
        let noise: f64 = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        level + amplitude * (std::f64::consts::TAU * t as f64 / STEPS as f64 + phase).sin() + 0.03 * noise
    })
}
