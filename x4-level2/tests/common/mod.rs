//! A tiny project on disk, and running the binary on it.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "helpers of tests; each file uses a part"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use minicube::testing::tiny_level1;
use minicube::{Bounds, CellGrid, Epsg, Location, LocationTable, Split, sha256_store};

pub(crate) fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_x4-level2"))
}

/// Writes `project.toml` with the given `[level2]` section; the project folder is `dir` itself.
pub(crate) fn config(dir: &Path, level2: &str) -> PathBuf {
    let path = dir.join("project.toml");
    let text = format!("[project]\nname = \"tiny\"\ndir = {dir:?}\nyears = [2021, 2022]\n\n{level2}\n");
    fs::write(&path, text).unwrap();
    path
}

/// Level 1 of two cubes, one to train and one to validate, and their location table.
pub(crate) fn tiny_project(dir: &Path, level2: &str) -> PathBuf {
    tiny_level1(&dir.join("level1")).unwrap();
    let location = |id: &str, split, seed| Location {
        id: id.into(),
        tile: "35KMQ".into(),
        epsg: Epsg(32735),
        row: 11,
        col: 15,
        bounds: Bounds { x_min: 0.0, y_min: 0.0, x_max: 240.0, y_max: 240.0 },
        lon: 27.0,
        lat: -20.0,
        strata: [("climate".to_owned(), "BSh".to_owned())].into(),
        attributes: std::collections::BTreeMap::new(),
        fold: None,
        weight: 1.0,
        split,
        seed,
        polygon: Vec::new(),
    };
    let table = LocationTable {
        locations: vec![location("35KMQ_1115", Split::Train, 1), location("35KMQ_1215", Split::Val, 2)],
        grid: CellGrid { size_px: 8, resolution_m: 30.0 },
        meta: serde_json::Map::new(),
    };
    table.write(&dir.join("sampler/locations.parquet")).unwrap();
    config(dir, level2)
}

pub(crate) fn run(verb: &str, config: &Path, more: &[&str]) -> Output {
    binary().arg(verb).arg("--config").arg(config).args(more).output().unwrap()
}

pub(crate) fn succeed(verb: &str, config: &Path, more: &[&str]) -> String {
    let output = run(verb, config, more);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{verb}: {out}{err}");
    out.into_owned()
}

/// Runs, expects the exit code, and gives the `error:` and `hint:` lines.
pub(crate) fn fail(verb: &str, config: &Path, code: i32) -> (String, String) {
    let output = run(verb, config, &[]);
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{err}{}", String::from_utf8_lossy(&output.stdout));
    let line = |start: &str| {
        err.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect::<Vec<_>>()
    };
    let (errors, hints) = (line("error: "), line("hint: "));
    assert_eq!((errors.len(), hints.len()), (1, 1), "{err}");
    (errors[0].clone(), hints[0].clone())
}

/// Hash of everything that must not depend on how the run went.
pub(crate) fn data_hash(dir: &Path) -> String {
    let level2 = dir.join("level2");
    let mut text = String::new();
    for name in ["train", "val", "test"] {
        let folder = level2.join(name);
        if folder.exists() {
            text.push_str(&sha256_store(&folder).unwrap());
        }
    }
    for name in ["normalisation.json", "climatology.parquet", "splits.parquet"] {
        text.push_str(&minicube::sha256_file(&level2.join(name)).unwrap());
    }
    text
}

/// A `[level2.import]` section.
pub(crate) fn import_section(format: &str, input: &[PathBuf], more: &str) -> String {
    format!("[level2.import]\nformat = \"{format}\"\ninput = {input:?}\n{more}")
}
