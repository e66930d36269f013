//! Whatever is changed after a run, `verify` finds it.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::Path;

use common::{run, succeed, tiny_project};
use minicube::testing::{Oddities, odd_level1};
use minicube::write_table;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

/// What `verify` says after `change`, on a finished project of its own.
fn after(change: impl FnOnce(&Path)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let project = tiny_project(dir.path(), "[level2]\nsteps = 45\nsamples_per_cube = 2");
    succeed("run", &project, &[]);
    succeed("verify", &project, &[]);
    change(dir.path());
    let output = run("verify", &project, &[]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

const SHARD: &str = "level2/train/35KMQ.zarr/red/c/1/0/0/0";

#[test]
fn a_flipped_byte_in_a_shard() {
    let text = after(|dir| {
        let mut bytes = fs::read(dir.join(SHARD)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(dir.join(SHARD), bytes).unwrap();
    });
    assert!(text.contains("train/35KMQ: red/c/1/0/0/0: is not as sealed"), "{text}");
}

#[test]
fn a_missing_shard_is_no_fill() {
    let text = after(|dir| fs::remove_file(dir.join(SHARD)).unwrap());
    assert!(text.contains("train/35KMQ: red/c/1/0/0/0: is missing: it would read as fill"), "{text}");
}

#[test]
fn an_edited_attribute() {
    let text = after(|dir| {
        let path = dir.join("level2/val/35KMQ.zarr/zarr.json");
        let metadata = fs::read_to_string(&path).unwrap();
        assert!(metadata.contains("\"context_steps\": 9"));
        fs::write(&path, metadata.replacen("\"context_steps\": 9", "\"context_steps\": 8", 1)).unwrap();
    });
    assert!(text.contains("val/35KMQ: zarr.json: is not as sealed"), "{text}");
}

#[test]
fn edited_statistics() {
    for (key, value) in [("mean", json!(0.5)), ("max", json!(2.0)), ("count", json!(7))] {
        let text = after(|dir| {
            let path = dir.join("level2/normalisation.json");
            let mut stored: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            stored["kndvi"][key] = value;
            fs::write(&path, stored.to_string()).unwrap();
        });
        assert!(text.contains("not the statistics of the training stores: kndvi"), "{text}");
    }
    let text = after(|dir| fs::remove_file(dir.join("level2/normalisation.json")).unwrap());
    assert!(text.contains("normalisation.json: cannot read"), "{text}");
}

#[test]
fn a_sample_or_a_class_that_was_taken_out() {
    for (name, problem) in [
        ("splits.parquet", "not the samples of the stores: expected 4 rows, found 3"),
        ("climatology.parquet", "not the climatology of the training stores: expected"),
    ] {
        let text = after(|dir| {
            let path = dir.join("level2").join(name);
            let builder = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(&path).unwrap()).unwrap();
            let batch = builder.build().unwrap().next().unwrap().unwrap();
            let fewer = batch.slice(1, batch.num_rows() - 1);
            write_table(&path, &batch.schema(), &[], [Ok(fewer)]).unwrap();
        });
        assert!(text.contains(name) && text.contains(problem), "{text}");
    }
}

/// The same scenes, plan and layout, but other pixels: the metadata of the two stores are equal.
#[test]
fn another_level_1() {
    let text = after(|dir| {
        let metadata = |dir: &Path| fs::read(dir.join("level1/35KMQ.zarr/zarr.json")).unwrap();
        let before = metadata(dir);
        odd_level1(&dir.join("level1"), Oddities { all_cloud: Some(1), ..Oddities::default() }).unwrap();
        assert_eq!(metadata(dir), before);
    });
    assert!(
        text.contains("train/35KMQ: made by plan") && text.contains("Level 1 are others since"),
        "{text}"
    );
}
