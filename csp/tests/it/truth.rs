//! The synthetic Earth's own vegetation explained: what comes out must be what its formulas say.

use csp::{Config, VariableConfig, run_predictor};
use minicube::run::Ctx;
use minicube::testing::level2_under;
use tempfile::TempDir;
use testworld::Region;

use crate::pipeline::{config, manifest, project};
use crate::table::Table;
use crate::vegetation::{GAIN, TrueVegetation, rain_shares};

const SAMPLES: usize = 40;
const CONTEXT: usize = 4;
const TARGET: usize = 6;

/// Rain, mm a day, of a sample; it rains evenly.
fn rain(sample: usize) -> f64 {
    4.2 + 1.6 * (7 * sample % 23) as f64 / 22.0
}

/// Temperature, °C, of a sample; it stays.
fn temperature(sample: usize) -> f64 {
    20.0 + 8.0 * (5 * sample % 19) as f64 / 18.0
}

/// Weather that does not change within a sample, so that a segment's mean weather is what its vegetation answers to.
fn steady() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    level2_under(dir.path(), SAMPLES, CONTEXT + TARGET + 2, 8, &|name, sample, _| match name {
        "tp_mean" => 1e-3 * rain(sample),
        "sp_mean" => 90_000.0 + 100.0 * (sample % 7) as f64,
        "t2m_min" => temperature(sample) + 268.15,
        "t2m_max" => temperature(sample) + 278.15,
        _ => temperature(sample) + 273.15,
    })
    .unwrap();
    dir
}

fn explain(rain: &[f64]) -> TempDir {
    let dir = steady();
    let deltas = |list: &[f64]| VariableConfig { deltas: Some(list.to_vec()), ..VariableConfig::default() };
    let variables = [
        ("precipitation".to_owned(), deltas(rain)),
        ("temperature".to_owned(), deltas(&[-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0])),
        ("pressure".to_owned(), deltas(&[-2.0, 0.0, 2.0])),
    ];
    let config = Config { variables: variables.into(), max_samples: 0, lag_samples: SAMPLES, ..config() };
    let truth = TrueVegetation::new(Region::Africa, CONTEXT, TARGET);
    let finish = run_predictor(&project(dir.path()), &config, &truth, &Ctx::quiet(2)).unwrap();
    assert_eq!(finish.code(), 0);
    dir
}

fn within_a_percent(found: f64, expected: f64, what: &str) {
    assert!((found / expected - 1.0).abs() < 0.01, "{what}: expected {expected}, found {found}");
}

/// Africa's drive is .7 (1 − ((R − 40) / 40)²) + .3 (1 − ((T − 24) / 14)²) with R mm of rain in ten days: in mm a day the
/// parabola of rain is that of (r − 4)² · 100 / 1600.
#[test]
fn optima_and_curves_are_those_of_the_formulas() {
    let dir = explain(&[-2.0, -1.0, 0.0, 1.0, 2.0]);
    let notes = &manifest(dir.path())["notes"]["curves"];
    let curve =
        |name: &str| notes.as_array().unwrap().iter().find(|curve| curve["variable"] == name).unwrap();
    let coefficient = |name: &str, i: usize| curve(name)["coefficients"][i].as_f64().unwrap();
    within_a_percent(curve("precipitation")["vertex"].as_f64().unwrap(), 4.0, "rain's optimum");
    within_a_percent(coefficient("precipitation", 0), -GAIN * 0.7 * 100.0 / 1600.0, "rain's square");
    within_a_percent(curve("temperature")["vertex"].as_f64().unwrap(), 24.0, "temperature's optimum");
    within_a_percent(coefficient("temperature", 0), -GAIN * 0.3 / 196.0, "temperature's square");
    // Per hPa: rounding of the fit only.
    assert!(coefficient("pressure", 0).abs() < 1e-12 && coefficient("pressure", 1).abs() < 1e-10);
}

/// Where it always rains more than the optimum, the slope between two shifts is -2 a (r + their mean - 4) in size and
/// linear in r, so that the mean over segments is that over samples.
#[test]
fn sensitivities_and_lags_are_those_of_the_formulas() {
    let deltas = [0.0, 1.0, 2.0];
    let dir = explain(&deltas);
    let square = GAIN * 0.7 * 100.0 / 1600.0;
    let mean_rain = (0..SAMPLES).map(rain).sum::<f64>() / SAMPLES as f64;
    let sensitivity = Table::read(dir.path(), "sensitivity");
    let of = |variable: &str| {
        let row = sensitivity.rows(&[("variable", variable), ("reading", "mean_over_pairs")])[0];
        sensitivity.numbers("value")[row]
    };
    // The pairs' means .5, 1 and 1.5 have the mean 1.
    within_a_percent(of("precipitation"), 2.0 * square * (mean_rain + 1.0 - 4.0), "rain's sensitivity");
    assert_eq!(of("pressure"), 0.0);

    // A pulse of 1 mm a day changes rain by its step's share w: -a ((r - 4 + w)² - (r - 4)²).
    let lags = Table::read(dir.path(), "lags");
    let (rows, values) = (lags.rows(&[("variable", "precipitation")]), lags.numbers("value"));
    let shares = rain_shares();
    assert_eq!(rows.len(), CONTEXT + TARGET);
    for (lag, row) in rows.into_iter().enumerate() {
        match shares.get(lag) {
            Some(w) => {
                let expected = -square * w * (2.0 * (mean_rain - 4.0) + w);
                within_a_percent(values[row], expected, &format!("lag {lag}"));
            }
            None => assert!(values[row].abs() < 1e-7, "lag {lag}: {}", values[row]),
        }
    }
    assert_eq!(manifest(dir.path())["notes"]["lags"][0]["peak_lag"], 2, "20 to 29 days before a step's end");
}
