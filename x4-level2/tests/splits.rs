//! Splits in place and in time: who gets which samples, what they are made from, and what is refused.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::path::Path;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use chrono::Datelike;
use common::{config, fail, succeed, tiny_project};
use minicube::testing::{Oddities, assert_conforms, odd_level1};
use minicube::{Cube, LocationTable, from_cf_day};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

const TEMPORAL: &str = "[level2]\nsteps = 30\nsamples_per_cube = 7\nsplit = \"temporal\"\n\
                        temporal_split = { train = [2021, 2021], test = [2022, 2022] }";

fn store(dir: &Path, split: &str) -> Cube {
    let path = dir.join(format!("level2/{split}/35KMQ.zarr"));
    assert_conforms(&path, "level2");
    Cube::open(&path, "level2").unwrap()
}

fn table(dir: &Path, name: &str) -> RecordBatch {
    let file = std::fs::File::open(dir.join("level2").join(name)).unwrap();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let (schema, reader) = (builder.schema().clone(), builder.build().unwrap());
    arrow::compute::concat_batches(&schema, &reader.map(Result::unwrap).collect::<Vec<_>>()).unwrap()
}

/// A year has 36 whole steps, so samples of 30 begin at each of the steps 0 to 6: seven a cube and split. In scene t, on
/// day 5 t, cube c is cloudy where 7 t + c is a multiple of 3; no other year's scene may show in the distances.
#[test]
fn in_time_every_cube_serves_each_split_in_its_own_years() {
    let dir = tempfile::tempdir().unwrap();
    let project = tiny_project(dir.path(), TEMPORAL);
    let plan = succeed("plan", &project, &[]);
    assert!(plan.contains("split: temporal (train 2021 to 2021, test 2022 to 2022)"), "{plan}");
    succeed("run", &project, &[]);
    assert!(succeed("verify", &project, &[]).contains("2 stores with 28 samples"));
    assert!(!dir.path().join("level2/val").exists(), "no years, no samples");
    let mut none_follows = 0;
    for (split, year, first_day) in [("train", 2021, 18628), ("test", 2022, 18993)] {
        let store = store(dir.path(), split);
        let cubes = store.read_strings("cube_id").unwrap();
        let (starts, dates) = (store.read::<i32>("start_date").unwrap(), store.read::<i32>("date").unwrap());
        let distance = store.read::<i16>("dist_mask").unwrap();
        for (sample, cube) in cubes.iter().enumerate() {
            let c = i32::from(cube == "35KMQ_1215");
            assert_eq!(from_cf_day(starts[[sample]]).year(), year);
            for step in 0..30 {
                let end = dates[[sample, step]];
                assert_eq!(from_cf_day(end).year(), year);
                let clear = |day: i32| (day - 18628) % 5 == 0 && (7 * (day - 18628) / 5 + c) % 3 != 0;
                let next = (end..first_day + 365).find(|&day| clear(day));
                let expected = next.map_or(-1, |day| (day - end) as i16);
                assert_eq!(distance[[sample, step, 3, 4]], expected, "{split} {cube} {}", from_cf_day(end));
                none_follows += i32::from(next.is_none());
            }
        }
    }
    assert!(none_follows > 0, "the year's end is among the samples");
}

/// Only the training store counts, and each of its finite values once.
#[test]
fn statistics_are_those_of_the_training_years() {
    let dir = tempfile::tempdir().unwrap();
    succeed("run", &tiny_project(dir.path(), TEMPORAL), &[]);
    let bytes = std::fs::read(dir.path().join("level2/normalisation.json")).unwrap();
    let stored: Value = serde_json::from_slice(&bytes).unwrap();
    let mean = |split: &str, var: &str| {
        let values = store(dir.path(), split).read::<f32>(var).unwrap();
        let finite: Vec<f64> = values.iter().filter(|v| v.is_finite()).map(|&v| f64::from(v)).collect();
        (finite.iter().sum::<f64>() / finite.len() as f64, finite.len() as u64)
    };
    for var in ["red", "kndvi", "weather/t2m_mean"] {
        let (train, test) = (mean("train", var), mean("test", var));
        let found = stored[var]["mean"].as_f64().unwrap();
        assert!((found - train.0).abs() < 1e-9 * train.0.abs(), "{var}: {found} {}", train.0);
        assert_eq!(stored[var]["count"].as_u64(), Some(train.1));
        assert!((train.0 - test.0).abs() > 1e-7 * train.0.abs(), "{var}: the two years differ");
    }
}

/// The years repeat, so that the mean of the month around a step of 2021 is near the value of 2022 itself.
#[test]
fn a_pixel_of_a_test_sample_has_the_climatology_of_its_training_years() {
    let dir = tempfile::tempdir().unwrap();
    succeed("run", &tiny_project(dir.path(), TEMPORAL), &[]);
    assert!(!store(dir.path(), "train").has("climatology/ndvi"));
    let test = store(dir.path(), "test");
    assert_eq!(test.var_attrs("climatology/kndvi")["years"], serde_json::json!([2021, 2021]));
    let (ndvi, usual) = (test.read::<f32>("ndvi").unwrap(), test.read::<f32>("climatology/ndvi").unwrap());
    assert_eq!(usual.shape(), ndvi.shape());
    let far =
        ndvi.iter().zip(&usual).map(|(a, b)| (a - b).abs()).filter(|d| d.is_finite()).fold(0.0, f32::max);
    assert!(far > 1e-4 && far < 0.03, "{far}");
    assert!(usual.iter().all(|v| v.is_finite()), "each step has a month of 2021");
}

#[test]
fn in_place_and_time_a_cube_has_the_years_of_its_split() {
    let dir = tempfile::tempdir().unwrap();
    let project = tiny_project(dir.path(), "[level2]\nsteps = 30");
    let path = dir.path().join("sampler/locations.parquet");
    let mut locations = LocationTable::read(&path).unwrap();
    let years = serde_json::json!({"train": [2022, 2022], "test": [2021, 2021]});
    locations.meta.insert("split_years".into(), years);
    locations.write(&path).unwrap();
    let plan = succeed("plan", &project, &[]);
    assert!(plan.contains("split: both (train 2022 to 2022, val 2021 to 2021, test 2021 to 2021)"), "{plan}");
    succeed("run", &project, &[]);
    assert!(succeed("verify", &project, &[]).contains("2 stores with 2 samples"));
    for (split, year) in [("train", 2022), ("val", 2021)] {
        let dates = store(dir.path(), split).read::<i32>("date").unwrap();
        assert!(dates.iter().all(|&day| from_cf_day(day).year() == year), "{split}");
    }
    let splits = table(dir.path(), "splits.parquet");
    let east = splits.column_by_name("x_min").unwrap().as_primitive::<Float64Type>().values().to_vec();
    assert_eq!(east, [440_985.0, 450_985.0], "half a pixel west of the first centre");
    assert_eq!(splits.column_by_name("epsg").unwrap().as_primitive::<Int32Type>().values(), &[32735, 32735]);
}

#[test]
fn shared_ground_and_impossible_years_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let project = tiny_project(dir.path(), "[level2]\nsteps = 45\nsplit_buffer_m = 9000");
    succeed("plan", &project, &[]);
    let project = config(dir.path(), "[level2]\nsteps = 45\nsplit_buffer_m = 9800");
    for verb in ["plan", "run", "verify"] {
        let (error, hint) = fail(verb, &project, 2);
        assert!(error.contains("leakage: 1 pairs of cubes of different splits"), "{error}");
        assert!(
            error.contains("35KMQ_1115 (train, 2021-01-01 to 2022-12-31) and 35KMQ_1215 (val,"),
            "{error}"
        );
        assert!(hint.contains("buffer_km") && hint.contains("split = \"temporal\""), "{hint}");
    }
    assert!(!dir.path().join("level2").exists(), "before anything is made");

    odd_level1(&dir.path().join("level1"), Oddities { same_ground: true, ..Oddities::default() }).unwrap();
    let (error, _) = fail("run", &config(dir.path(), "[level2]\nsteps = 45"), 2);
    assert!(error.contains("leakage: 1 pairs"), "{error}");
    succeed("run", &config(dir.path(), TEMPORAL), &[]);

    let (error, hint) = fail("plan", &config(dir.path(), "[level2]\nsplit = \"temporal\""), 2);
    assert!(
        error.contains("temporal_split: expected years of train and of val or test, found none"),
        "{error}"
    );
    assert!(hint.contains("train = [2017, 2019]"), "{hint}");
    let long = TEMPORAL.replace("steps = 30", "steps = 37");
    let (error, _) = fail("run", &config(dir.path(), &long), 2);
    assert!(error.contains("expected at least 43 steps of 10 days in 2021 to 2021, found 36"), "{error}");
}

/// Every observed pixel and step of the training store counts once: over all, and in its class and climate.
#[test]
fn the_climatology_by_class_adds_up_to_the_training_store() {
    let dir = tempfile::tempdir().unwrap();
    succeed("run", &tiny_project(dir.path(), "[level2]\nsteps = 45\nstep_days = 5"), &[]);
    let train = store(dir.path(), "train");
    let (mask, ndvi) = (train.read::<u8>("mask").unwrap(), train.read::<f32>("ndvi").unwrap());
    let seen: Vec<f64> =
        mask.iter().zip(&ndvi).filter(|(mask, _)| **mask == 0).map(|(_, &v)| f64::from(v)).collect();
    assert!(seen.len() < ndvi.len(), "some steps are not observed");
    let rows = table(dir.path(), "climatology.parquet");
    let ints = |name: &str| rows.column_by_name(name).unwrap().as_primitive::<Int32Type>().values().to_vec();
    let means = rows.column_by_name("ndvi_mean").unwrap().as_primitive::<Float64Type>().values().to_vec();
    let counts = rows.column_by_name("count").unwrap().as_primitive::<Int64Type>().values().to_vec();
    let climate = rows.column_by_name("climate").unwrap().as_string::<i32>();
    let (class, bin) = (ints("landcover"), ints("bin"));
    let of = |wanted: i32, name: &str| {
        let rows = (0..class.len()).filter(|&i| class[i] == wanted && climate.value(i) == name);
        rows.fold((0, 0.0), |(n, sum), i| (n + counts[i], sum + counts[i] as f64 * means[i]))
    };
    let (count, sum) = of(0, "all");
    assert_eq!(count, seen.len() as i64);
    assert!((sum - seen.iter().sum::<f64>()).abs() < 1e-6 * sum.abs());
    // One row of eight is water.
    assert_eq!((of(80, "all").0, of(30, "BSh").0), (count / 8, count / 8 * 7));
    assert!(bin.iter().all(|bin| (0..=36).contains(bin)));
}
