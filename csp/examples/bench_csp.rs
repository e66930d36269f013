//! Times the clustering of a whole explanation: five weather series a sample, every K from 2 to 15, three starts each.
//! One JSON object a line, for `cargo xtask bench csp`.
//!
//! A tenth of the paper's 23 904 samples; all of them with `BENCH_FULL=1`.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::f64::consts::TAU;
use std::time::Instant;

use csp::series::{Metric, SeriesError};
use csp::{GoodnessReading, IntraReading, Sweep, auto_gamma, choose_clusters};
use minicube::run::peak_rss_bytes;
use ndarray::{Array3, Axis};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

/// Samples of EarthNet2021's training split.
const ALL: usize = 23_904;
const STEPS: usize = 30;

fn main() -> Result<(), SeriesError> {
    let samples = if std::env::var_os("BENCH_FULL").is_some() { ALL } else { ALL / 10 };
    let weather = weather(samples);
    let sweep = Sweep {
        k_range: [2, 15],
        restarts: 3,
        start_samples: 2048,
        lambda: 0.4,
        reading: GoodnessReading::default(),
        intra: IntraReading::default(),
        band: None,
    };
    let threads = rayon::current_num_threads();
    for (name, gamma) in [("csp_sweep_gamma_1", Some(1.0)), ("csp_sweep_gamma_auto", None)] {
        let clock = Instant::now();
        let mut chosen = Vec::new();
        for (channel, signals) in weather.outer_iter().enumerate() {
            let gamma = gamma.unwrap_or_else(|| auto_gamma(signals));
            let found = choose_clusters(signals, Metric::SoftDtw { gamma }, &sweep, channel as u64)?;
            chosen.push(found.k().to_string());
        }
        let seconds = clock.elapsed().as_secs_f64();
        let note = format!(
            "{samples} samples × 5 series × K = 2 to 15, {threads} threads, peak {:.0} MB; K = {}",
            peak_rss_bytes() as f64 / 1e6,
            chosen.join(", ")
        );
        println!("{}", json!({"name": name, "ours": seconds, "unit": "s", "note": note}));
    }
    Ok(())
}

/// Rain, pressure, and the mean, least and highest temperature in EarthNet's units, `[series, sample, step]`: seasons and
/// levels of their own, and weather with a memory of some steps. No clusters are put in.
fn weather(samples: usize) -> Array3<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut all = Array3::zeros((5, samples, STEPS));
    for mut sample in all.axis_iter_mut(Axis(1)) {
        let (level, swing, phase) =
            (rng.random_range(0.0..20.0), rng.random_range(5.0..14.0), rng.random::<f64>());
        let (wet, high, range) =
            (rng.random_range(0.5..4.0), rng.random_range(900.0..1013.0), rng.random_range(3.0..7.0));
        let [mut warmth, mut pressure, mut wetness] = [0.0; 3];
        for t in 0..STEPS {
            warmth = 0.7 * warmth + 0.7 * normal(&mut rng);
            pressure = 0.4 * pressure + normal(&mut rng);
            wetness = 0.3 * wetness + normal(&mut rng);
            let season = (TAU * (phase + 5.0 * t as f64 / 365.0)).sin();
            let mean = level + swing * season + 2.0 * warmth;
            let rain: f64 = wet * f64::exp(0.7 * wetness - 0.25);
            sample[[0, t]] = rain / 50.0;
            sample[[1, t]] = (high + 6.0 * pressure - 900.0) / 200.0;
            sample[[2, t]] = (mean + 50.0) / 100.0;
            sample[[3, t]] = (mean - range - 0.5 * wetness + 50.0) / 100.0;
            sample[[4, t]] = (mean + range + 0.5 * warmth + 50.0) / 100.0;
        }
    }
    all
}

/// Nearly a standard normal number.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}
