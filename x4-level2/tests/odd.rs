//! Level 1 that is odd or broken: what can be used is used, everything else is named.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::Path;

use common::{config, fail, succeed, tiny_project};
use minicube::Cube;
use minicube::testing::{Oddities, assert_conforms, odd_level1};
use serde_json::Value;

fn odd_project(dir: &Path, odd: Oddities, level2: &str) -> std::path::PathBuf {
    let project = tiny_project(dir, level2);
    odd_level1(&dir.join("level1"), odd).unwrap();
    project
}

/// The training cube is never seen: its samples are kept, without a value, and nothing is made up for them.
#[test]
fn a_cube_under_clouds_all_the_time_is_kept_empty() {
    let dir = tempfile::tempdir().unwrap();
    let odd = Oddities { all_cloud: Some(0), ..Oddities::default() };
    let section = "[level2]\nsteps = 45\nextrapolate = \"nearest\"\ncompare_fills = [\"whittaker\", \"harmonic\", \"rbf\"]";
    let project = odd_project(dir.path(), odd, section);
    succeed("run", &project, &[]);
    assert!(succeed("verify", &project, &[]).contains("2 stores with 2 samples"));
    let path = dir.path().join("level2/train/35KMQ.zarr");
    assert_conforms(&path, "level2");
    let store = Cube::open(&path, "level2").unwrap();
    assert!(store.read::<u8>("mask").unwrap().iter().all(|&mask| mask == 1));
    assert!(store.read::<i16>("dist_mask").unwrap().iter().all(|&days| days == -1));
    for var in ["red", "ndvi", "kndvi"] {
        assert!(store.read::<f32>(var).unwrap().iter().all(|v| v.is_nan()), "{var}");
    }
    assert_eq!(store.read::<i32>("leave_out/count").unwrap()[[0]], 0);
    assert!(store.read::<f32>("leave_out/rmse").unwrap().iter().all(|v| v.is_nan()));
    let bytes = fs::read(dir.path().join("level2/normalisation.json")).unwrap();
    let statistics: Value = serde_json::from_slice(&bytes).unwrap();
    assert!(statistics.get("red").is_none(), "no value, no statistics");
    assert!(statistics["static/dem"]["count"].as_u64() == Some(64));
}

/// Two acquisitions of one day count as their mean, as the README says.
#[test]
fn two_scenes_of_one_day_are_one_observation() {
    let dir = tempfile::tempdir().unwrap();
    let odd = Oddities { twice: true, ..Oddities::default() };
    let project = odd_project(dir.path(), odd, "[level2]\nsteps = 73");
    succeed("run", &project, &[]);
    succeed("verify", &project, &[]);
    let store = Cube::open(&dir.path().join("level2/val/35KMQ.zarr"), "level2").unwrap();
    // Cube 1 is clear in scenes 0 and 1, both of day 0 now, and cloudy in scene 2; scene 3 is of day 15.
    let red = |scene: f64| 1e-4 * (900.0 - 400.0 * (scene / 73.0 * std::f64::consts::TAU).sin()).floor();
    let first = f64::midpoint(red(0.0), red(1.0));
    let expected = first + (red(3.0) - first) * 4.5 / 15.0;
    let found = f64::from(store.read::<f32>("red").unwrap()[[0, 0, 0, 0]]);
    assert!((found - expected).abs() < 2e-6, "{found} {expected}");
}

#[test]
fn infinite_weather_is_missing_weather() {
    let dir = tempfile::tempdir().unwrap();
    let odd = Oddities { infinite: true, ..Oddities::default() };
    let project = odd_project(
        dir.path(),
        odd,
        "[level2]\nsteps = 73\nweather_statistics = [\"mean\", \"max\", \"sum\"]",
    );
    succeed("run", &project, &[]);
    succeed("verify", &project, &[]);
    let store = Cube::open(&dir.path().join("level2/train/35KMQ.zarr"), "level2").unwrap();
    for var in ["weather/t2m_mean", "weather/t2m_max", "weather/tp_sum"] {
        let values = store.read::<f32>(var).unwrap();
        assert!(values[[0, 0]].is_nan() && values.iter().skip(1).all(|v| v.is_finite()), "{var}");
    }
}

#[test]
fn dates_out_of_order_and_unsealed_stores_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let odd = Oddities { out_of_order: true, ..Oddities::default() };
    let project = odd_project(dir.path(), odd, "[level2]\nsteps = 45");
    let (error, hint) = fail("run", &project, 2);
    let expected =
        "variable s2/time: expected dates in the order of time, found 2021-01-06 before 2021-01-01";
    assert!(error.contains("35KMQ.zarr") && error.contains(expected), "{error}");
    assert!(hint.contains("x3-level1"), "{hint}");

    odd_level1(&dir.path().join("level1"), Oddities::default()).unwrap();
    let metadata = dir.path().join("level1/35KMQ.zarr/zarr.json");
    let text = fs::read_to_string(&metadata).unwrap();
    fs::write(&metadata, text.replacen("\"sealed\": true", "\"sealed\": false", 1)).unwrap();
    let (error, hint) = fail("run", &config(dir.path(), "[level2]\nsteps = 45"), 2);
    assert!(
        error.contains("35KMQ.zarr: the store is not sealed") && hint.contains("again"),
        "{error} {hint}"
    );
    assert!(!dir.path().join("level2").exists());
}
