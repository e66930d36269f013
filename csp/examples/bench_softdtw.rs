//! Measures the time-series library: one JSON object a line, for `cargo xtask bench softdtw`.
//!
//! The series lie in `BENCH_FOLDER/series.f64`, `[sample, step]` as little-endian numbers, for the peer to read.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::f64::consts::TAU;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

use csp::series::{KMeans, Metric, SeriesError, soft_dtw, soft_dtw_cross};
use ndarray::{Array2, Array3, s};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

const SAMPLES: usize = 2000;
const STEPS: usize = 30;
const CLUSTERS: usize = 7;
const REPEATS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let x = weather();
    let folder = std::env::var_os("BENCH_FOLDER").map_or_else(std::env::temp_dir, PathBuf::from);
    let bytes: Vec<u8> = x.iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(folder.join("series.f64"), bytes)?;
    pairs(&x)?;
    k_means(&x)
}

/// Soft-DTW of 400 × 400 pairs on one and on two threads.
fn pairs(x: &Array3<f64>) -> Result<(), Box<dyn std::error::Error>> {
    let some = x.slice(s![..400, .., ..]);
    let mut of_one = f64::NAN;
    for (name, threads) in [("softdtw_pairs_T30", 1), ("softdtw_pairs_T30_two_threads", 2)] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(io::Error::other)?;
        let seconds = pool.install(|| best_of(|| soft_dtw_cross(some, some, 1.0).map(drop)))?;
        let per_million = seconds * 1e6 / (400.0 * 400.0);
        let mut note = format!("{:.0} pairs/s on {threads} threads, gamma 1", 1e6 / per_million);
        if threads == 1 {
            of_one = per_million;
        } else {
            note.push_str(&format!(", {:.2} times those on one", of_one / per_million));
        }
        println!("{}", json!({"name": name, "ours": per_million, "unit": "s/Mpair", "note": note}));
    }
    Ok(())
}

/// k-means with three starts: time, and mean soft-DTW above its least possible value, that of equal series, which makes it
/// a positive number.
fn k_means(x: &Array3<f64>) -> Result<(), Box<dyn std::error::Error>> {
    let zeros = Array2::<f64>::zeros((STEPS, 1));
    for (what, gamma) in [("", 1.0), ("_gamma_001", 0.01)] {
        let options = KMeans { restarts: 3, ..KMeans::new(CLUSTERS, Metric::SoftDtw { gamma }) };
        let mut fitted = None;
        let seconds = best_of(|| {
            fitted = Some(options.fit(x.view(), &mut ChaCha8Rng::seed_from_u64(0))?);
            Ok(())
        })?;
        let Some(fitted) = fitted else { continue };
        let least = soft_dtw(zeros.view(), zeros.view(), gamma)?;
        let name = format!("softdtw_kmeans_n{SAMPLES}_k{CLUSTERS}{what}");
        let threads = rayon::current_num_threads();
        let note =
            format!("gamma {gamma}, best of 3 starts, {} rounds, {threads} threads", fitted.iterations);
        println!("{}", json!({"name": name, "ours": seconds, "unit": "s", "note": note}));
        let note = format!("mean soft-DTW {:.6}, least possible {least:.6}", fitted.objective);
        let excess = fitted.objective - least;
        println!(
            "{}",
            json!({"name": format!("{name}_objective"), "ours": excess, "unit": "squared", "note": note})
        );
    }
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

/// Nine temperature-like shapes with noise, in EarthNet's units, `[sample, step, 1]`.
fn weather() -> Array3<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let shapes: Vec<(f64, f64, f64)> = (0..9)
        .map(|_| (rng.random_range(0.0..TAU), rng.random_range(0.05..0.25), rng.random_range(0.4..0.7)))
        .collect();
    let labels: Vec<usize> = (0..SAMPLES).map(|_| rng.random_range(0..9)).collect();
    Array3::from_shape_fn((SAMPLES, STEPS, 1), |(i, t, _)| {
        let (phase, amplitude, level) = shapes[labels[i]];
        let noise: f64 = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        level + amplitude * (TAU * t as f64 / STEPS as f64 + phase).sin() + 0.03 * noise
    })
}
