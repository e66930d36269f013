//! Samples as NetCDF files: what is in them is what Level 2 has, every time the same bytes, whole or not there.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use common::{binary, config, run, succeed, tiny_project};
use minicube::{Cube, CubeSpec, CubeWriter, DType, Epsg, VarSpec, add_crs, sha256_file, sha256_store};
use ndarray::{Array1, Array2, Array3, Array4, ArrayD};
use netcdf::AttributeValue;

fn text(file: &netcdf::File, variable: &str, name: &str) -> String {
    match file.variable(variable).unwrap().attribute(name).unwrap().value().unwrap() {
        AttributeValue::Str(text) => text,
        other => panic!("{other:?}"),
    }
}

/// What a failing export says.
fn told(project: &Path, more: &[&str]) -> String {
    let output = run("export", project, more);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn dims(file: &netcdf::File, variable: &str) -> Vec<String> {
    file.variable(variable).unwrap().dimensions().iter().map(netcdf::Dimension::name).collect()
}

#[test]
fn a_file_has_what_level_2_has() {
    let dir = tempfile::tempdir().unwrap();
    let project = tiny_project(dir.path(), "[level2]\nsteps = 40\nsamples_per_cube = 2");
    let missing = told(&project, &[]);
    assert!(missing.contains("no level-2 stores") && missing.contains("x4-level2 run"), "{missing}");
    succeed("run", &project, &[]);
    let said = succeed("export", &project, &[]);
    assert!(said.contains("files written: 4"), "{said}");

    let cube = Cube::open(&dir.path().join("level2/train/35KMQ.zarr"), "level2").unwrap();
    for (k, id) in cube.read_strings("sample_id").unwrap().iter().enumerate() {
        let path = dir.path().join(format!("export/minicube/train/{id}.nc"));
        let file = netcdf::open(&path).unwrap();
        for name in ["blue", "nir", "kndvi"] {
            let expected = cube.read_region::<f32>(name, &[k as u64, 0, 0, 0], &[1, 40, 8, 8]).unwrap();
            let found = file.variable(name).unwrap().get_values::<f32, _>(..).unwrap();
            assert!(found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()), "{name} of {id}");
            assert_eq!(dims(&file, name), ["time", "y", "x"]);
            assert_eq!(text(&file, name, "grid_mapping"), "crs");
        }
        let dates = cube.read_region::<i32>("date", &[k as u64, 0], &[1, 40]).unwrap();
        let bounds = file.variable("time_bnds").unwrap().get_values::<i32, _>(..).unwrap();
        assert_eq!(
            file.variable("time").unwrap().get_values::<i32, _>(..).unwrap(),
            dates.as_slice().unwrap()
        );
        // A step of ten days ends with its last day: from nine days before it to the day after.
        assert_eq!((bounds[0], bounds[1]), (dates[[0, 0]] - 9, dates[[0, 0]] + 1));
        let weather = cube.read_region::<f32>("weather/t2m_mean", &[k as u64, 0], &[1, 40]).unwrap();
        assert_eq!(
            file.variable("t2m_mean").unwrap().get_values::<f32, _>(..).unwrap(),
            weather.as_slice().unwrap()
        );
        assert_eq!(dims(&file, "dem"), ["y", "x"]);
        let x = file.variable("x").unwrap().get_values::<f64, _>(..).unwrap();
        let transform = text(&file, "crs", "GeoTransform");
        assert!(transform.starts_with(&format!("{} 30 0 ", x[0] - 15.0)), "{transform}");
        assert!(text(&file, "crs", "crs_wkt").contains("UTM zone 35S"));
        let flags = file.variable("mask").unwrap().attribute("flag_values").unwrap().value().unwrap();
        assert_eq!(flags, AttributeValue::Uchars(vec![0, 1]));
        let split = file.attribute("split").unwrap().value().unwrap();
        assert_eq!(split, AttributeValue::Str("train".into()));
    }
}

#[test]
fn files_are_the_same_every_time_and_left_alone_then() {
    let dir = tempfile::tempdir().unwrap();
    let project = tiny_project(dir.path(), "[level2]\nsteps = 40");
    succeed("run", &project, &[]);
    succeed("export", &project, &["--threads", "1"]);
    let other = dir.path().join("other");
    succeed("export", &project, &["--threads", "3", "--out", other.to_str().unwrap()]);
    let files = |folder: &Path| -> Vec<(String, String)> {
        let list = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut list: Vec<_> = list
            .map(|path| {
                (path.file_name().unwrap().to_string_lossy().into_owned(), sha256_file(&path).unwrap())
            })
            .collect();
        list.sort();
        list
    };
    let first = files(&dir.path().join("export/minicube/val"));
    assert_eq!(first, files(&other.join("minicube/val")));
    assert_eq!(first.len(), 1);
    assert!(succeed("export", &project, &[]).contains("nothing to do"));

    // One file is lost, one is of another store: both are made again, and nothing else is.
    let path = dir.path().join("export/minicube/val").join(&first[0].0);
    fs::write(&path, "no NetCDF").unwrap();
    assert!(succeed("export", &project, &["--split", "val"]).contains("files written: 1"));
    assert_eq!(files(&dir.path().join("export/minicube/val")), first);
    config(dir.path(), "[level2]\nsteps = 40\nfill = \"whittaker\"");
    succeed("run", &project, &[]);
    assert!(succeed("export", &project, &[]).contains("files written: 2"));
    assert_ne!(files(&dir.path().join("export/minicube/val")), first);
}

#[test]
fn a_killed_export_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let project = tiny_project(dir.path(), "[level2]\nsteps = 30\nsamples_per_cube = 20");
    succeed("run", &project, &[]);
    succeed("export", &project, &[]);
    let folder = dir.path().join("export/minicube/train");
    let expected = sha256_store(&folder).unwrap();
    for millis in [10, 30, 60, 100] {
        fs::remove_dir_all(dir.path().join("export")).unwrap();
        let mut command = binary();
        command.args(["export", "--config"]).arg(&project).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        child.kill().unwrap();
        child.wait().unwrap();
        succeed("export", &project, &[]);
        assert_eq!(sha256_store(&folder).unwrap(), expected, "killed after {millis} ms");
    }
}

/// A store of one sample of 2 steps, 2 × 3 pixels, in which every variable is known.
fn level2(path: &Path, weather: &[(&str, &str, f32)]) {
    let maps = ["sample", "time", "y", "x"];
    let mut spec = CubeSpec::new("level2").dim("sample", 1).dim("time", 2).dim("y", 2).dim("x", 3);
    spec = spec.attr("tile", "35KMQ").attr("epsg", 32735).attr("step_days", 10).attr("source", "minicube");
    for name in ["sample_id", "cube_id"] {
        spec = spec.var(VarSpec::new(name, &["sample"], DType::String));
    }
    spec = spec
        .var(VarSpec::new("date", &["sample", "time"], DType::I32).attr("units", "days since 1970-01-01"));
    for name in ["blue", "green", "red", "nir"] {
        spec = spec.var(VarSpec::new(name, &maps, DType::F32).attr("grid_mapping", "crs"));
    }
    // What every store has; none of it is exported to this layout.
    for name in ["lon", "lat"] {
        spec = spec.var(VarSpec::new(name, &["sample"], DType::F64));
    }
    spec =
        spec.var(VarSpec::new("start_date", &["sample"], DType::I32).attr("units", "days since 1970-01-01"));
    spec = add_crs(spec.var(VarSpec::new("season", &["sample", "time"], DType::U8)), Epsg(32735));
    for (name, dtype) in [("mask", DType::U8), ("dist_mask", DType::I16)] {
        spec = spec.var(VarSpec::new(name, &maps, dtype).attr("grid_mapping", "crs"));
    }
    for (name, dtype) in [("static/dem", DType::F32), ("static/landcover", DType::U8)] {
        spec = spec.var(VarSpec::new(name, &["sample", "y", "x"], dtype).attr("grid_mapping", "crs"));
    }
    for (name, units, _) in weather {
        for statistic in ["min", "mean", "max"] {
            let name = format!("weather/{name}_{statistic}");
            spec = spec.var(VarSpec::new(&name, &["sample", "time"], DType::F32).attr("units", *units));
        }
    }
    let writer = CubeWriter::create(path, &spec, "p").unwrap();
    writer.write_strings("sample_id", &["35KMQ_0001_20210101".into()]).unwrap();
    writer.write_strings("cube_id", &["35KMQ_0001".into()]).unwrap();
    writer
        .write(
            "date",
            &[0, 0],
            Array2::from_shape_fn((1, 2), |(_, t)| 18_637 + 10 * t as i32).into_dyn().view(),
        )
        .unwrap();
    for (band, name) in ["blue", "green", "red", "nir"].into_iter().enumerate() {
        let value = |(_, t, y, x): (usize, usize, usize, usize)| (band * 1000 + t * 100 + y * 10 + x) as f32;
        writer.write(name, &[0; 4], Array4::from_shape_fn((1, 2, 2, 3), value).into_dyn().view()).unwrap();
    }
    writer.write("mask", &[0; 4], Array4::<u8>::zeros((1, 2, 2, 3)).into_dyn().view()).unwrap();
    writer.write("dist_mask", &[0; 4], Array4::<i16>::ones((1, 2, 2, 3)).into_dyn().view()).unwrap();
    writer.write("static/dem", &[0; 3], Array3::<f32>::ones((1, 2, 3)).into_dyn().view()).unwrap();
    writer
        .write("static/landcover", &[0; 3], Array3::<u8>::from_elem((1, 2, 3), 40).into_dyn().view())
        .unwrap();
    for (name, _, value) in weather {
        for statistic in ["min", "mean", "max"] {
            let values: ArrayD<f32> = Array1::from_elem(2, *value).insert_axis(ndarray::Axis(0)).into_dyn();
            writer.write(&format!("weather/{name}_{statistic}"), &[0, 0], values.view()).unwrap();
        }
    }
    writer.seal().unwrap();
}

/// The loader stacks `ndvi, blue, …` to `[band, y, x, time]` and turns that by (3, 0, 1, 2); its own means say the units.
#[test]
fn the_loader_of_earthnet2022_finds_its_layout() {
    let dir = tempfile::tempdir().unwrap();
    let project = config(dir.path(), "");
    let weather = [
        ("pev", "m", -0.0048),
        ("sm_rootzone", "m3 m-3", 0.25),
        ("sm_surface", "m3 m-3", 0.2),
        ("sp", "Pa", 89_400.0),
        ("ssr", "J m**-2", 16.5e6),
        ("surface_pressure", "Pa", 88_000.0),
        ("t2m", "K", 292.5),
        ("tp", "m", 0.0032),
    ];
    level2(&dir.path().join("level2/train/35KMQ.zarr"), &weather);
    succeed("export", &project, &["--layout", "en22"]);
    let file = netcdf::open(dir.path().join("export/en22/train/35KMQ_0001_20210101.nc")).unwrap();
    assert_eq!(dims(&file, "red"), ["y", "x", "time"]);
    let red = file.variable("red").unwrap().get_values::<f32, _>(..).unwrap();
    // Pixel (1, 2): 2000 + 10 + 2, and a hundred more in the second step.
    assert_eq!(red[10..], [2012.0, 2112.0]);
    assert_eq!(file.variable("lc").unwrap().get_values::<f32, _>(..).unwrap(), [40.0; 6]);
    assert_eq!(dims(&file, "dem"), ["y", "x"]);
    let expected = [-0.0002, 0.25, 0.2, 89.4, 16.5, 704.0, 292.5, 3.2];
    for ((name, ..), expected) in weather.iter().zip(expected) {
        for statistic in ["min", "mean", "max"] {
            let name = format!("{name}_{statistic}");
            let found = file.variable(&name).unwrap().get_values::<f32, _>(..).unwrap();
            assert!((f64::from(found[1]) - expected).abs() < 1e-6 * f64::abs(expected), "{name}: {found:?}");
            assert_eq!(dims(&file, &name), ["time"]);
        }
    }
}

#[test]
fn what_cannot_be_exported_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let project = config(dir.path(), "");
    let store = dir.path().join("level2/train/35KMQ.zarr");
    level2(&store, &[("t2m", "K", 290.0), ("tp", "m", 0.001)]);
    let error = told(&project, &["--layout", "en22"]);
    assert!(error.contains("variable weather/pev_max: expected by the loader of en22"), "{error}");
    assert!(error.contains("weather/ssr_min") && error.contains("weather there: weather/t2m_max"), "{error}");
    assert!(error.contains("hint: ") && error.contains("[level1.era5] variables (pev"), "{error}");
    assert!(!dir.path().join("export/en22").exists(), "nothing is begun");
    let error = told(&project, &["--split", "val"]);
    assert!(error.contains("level2/val: no level-2 stores"), "{error}");
    let error = told(&project, &["--layout", "greenearthnet"]);
    assert!(error.contains("possible values: minicube, en22"), "{error}");

    fs::remove_dir_all(&store).unwrap();
    let names = ["pev", "sm_rootzone", "sm_surface", "sp", "ssr", "surface_pressure", "t2m"];
    let weather: Vec<(&str, &str, f32)> =
        names.iter().map(|&name| (name, "K", 1.0)).chain([("tp", "inch", 1.0)]).collect();
    level2(&store, &weather);
    let error = told(&project, &["--layout", "en22"]);
    assert!(error.contains("expected m or mm, found units K"), "{error}");
    let metadata = fs::read_to_string(store.join("zarr.json")).unwrap();
    fs::write(store.join("zarr.json"), metadata.replace("\"sealed\": true", "\"sealed\": false")).unwrap();
    assert!(told(&project, &[]).contains("35KMQ.zarr"), "an unsealed store is named");
}
