//! The binary on a tiny project: the happy path, every way to fail, the same bytes however the run goes.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use common::{binary, config, data_hash, fail, run, succeed, tiny_project};
use minicube::testing::{assert_conforms, kib_on_disk, on_full_disk};
use minicube::{Cube, Season, from_cf_day};
use serde_json::Value;

#[test]
fn level_1_becomes_level_2_and_a_second_run_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let project = tiny_project(dir.path(), "[level2]\nsteps = 45");
    assert!(succeed("plan", &project, &[]).contains("train/35KMQ"));
    assert!(!dir.path().join("level2").exists(), "a plan writes nothing");
    succeed("run", &project, &[]);
    for split in ["train", "val"] {
        assert_conforms(&dir.path().join(format!("level2/{split}/35KMQ.zarr")), "level2");
    }
    assert!(succeed("verify", &project, &[]).contains("2 stores with 2 samples"));
    let before = data_hash(dir.path());
    assert!(succeed("run", &project, &[]).contains("nothing to do"));
    assert_eq!(data_hash(dir.path()), before);

    let store = Cube::open(&dir.path().join("level2/train/35KMQ.zarr"), "level2").unwrap();
    assert_eq!(store.shape("kndvi").unwrap(), [1, 45, 8, 8]);
    check_values(&store);
    let report = fs::read_to_string(dir.path().join("level2/report.html")).unwrap();
    assert!(report.contains("<svg") && report.contains("acquired, masked"));
    let normalisation: Value =
        serde_json::from_slice(&fs::read(dir.path().join("level2/normalisation.json")).unwrap()).unwrap();
    assert_eq!(normalisation["kndvi"]["count"].as_u64(), Some(45 * 64));
    assert_eq!(normalisation["static/dem"]["min"], 1000.0);
}

/// The tiny Level 1 is known in closed form: red = 900 - 400 s + 10 y + x in 1e-4, s the sine of the scene's season,
/// cloudy where 7 t is a multiple of 3. Filled red must stay within the curvature of the sine between its neighbours.
fn check_values(store: &Cube) {
    let red = store.read::<f32>("red").unwrap();
    let mask = store.read::<u8>("mask").unwrap();
    let dates = store.read::<i32>("date").unwrap();
    let seasons = store.read::<u8>("season").unwrap();
    let t2m = store.read::<f32>("weather/t2m_mean").unwrap();
    let (low, high) =
        (store.read::<f32>("weather/t2m_min").unwrap(), store.read::<f32>("weather/t2m_max").unwrap());
    for k in 0..45 {
        let day = dates[[0, k]];
        assert_eq!(seasons[[0, k]], Season::of(from_cf_day(day)).code());
        // The middle of the step, in scenes of 5 days since 2021-01-01 (CF day 18628).
        let scene = (f64::from(day) - 4.5 - 18628.0) / 5.0;
        let season = (scene / 73.0 * std::f64::consts::TAU).sin();
        let expected = (900.0 - 400.0 * season + 25.0) * 1e-4;
        let found = f64::from(red[[0, k, 2, 5]]);
        assert!((found - expected).abs() < 5e-4, "step {k}: expected {expected}, found {found}");
        assert!(low[[0, k]] <= t2m[[0, k]] && t2m[[0, k]] <= high[[0, k]]);
    }
    assert!(mask.iter().all(|&m| m == 0), "two of three scenes are clear, so every step has one");
}

/// The curves stay near the sine that the tiny Level 1 is made of, steps of any length conform and verify.
#[test]
fn every_fill_makes_samples_of_every_step() {
    for (fill, step_days, steps) in [
        ("fill = \"whittaker\"\nwhittaker.lambda = 1e3", 5, 90),
        ("fill = \"harmonic\"", 8, 60),
        ("fill = \"rbf\"\nrbf.sigmas = [4, 8, 16]", 16, 30),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let section = format!("[level2]\nsteps = {steps}\nstep_days = {step_days}\n{fill}");
        let project = tiny_project(dir.path(), &section);
        succeed("run", &project, &[]);
        assert!(succeed("verify", &project, &[]).contains("2 stores with 2 samples"));
        let path = dir.path().join("level2/train/35KMQ.zarr");
        assert_conforms(&path, "level2");
        let store = Cube::open(&path, "level2").unwrap();
        assert!(store.attrs()["fill"].is_object(), "the method's parameters are stored");
        let (red, dates) = (store.read::<f32>("red").unwrap(), store.read::<i32>("date").unwrap());
        for k in 0..steps {
            let middle = f64::from(dates[[0, k]]) - f64::from(step_days - 1) / 2.0;
            let season = ((middle - 18628.0) / 365.0 * std::f64::consts::TAU).sin();
            let expected = (900.0 - 400.0 * season + 25.0) * 1e-4;
            let found = f64::from(red[[0, k, 2, 5]]);
            assert!((found - expected).abs() < 3e-3, "{fill}: step {k}: expected {expected}, found {found}");
        }
    }
}

/// Statistics by variable, and steps that screening empties of what it must.
#[test]
fn weather_statistics_and_screening_are_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let section = "[level2]\nsteps = 45\nstep_days = 8\nweather_statistics = [\"mean\"]\nweather.t2m = [\"max\", \"sum\"]\n\
                   screen = { days = 20, ndvi = 1e-4, dark_nir = 0.5 }";
    let project = tiny_project(dir.path(), section);
    succeed("run", &project, &[]);
    assert!(succeed("verify", &project, &[]).contains("2 stores with 2 samples"));
    let store = Cube::open(&dir.path().join("level2/train/35KMQ.zarr"), "level2").unwrap();
    let vars = store.vars();
    let weather: Vec<&str> = vars.iter().filter_map(|var| var.strip_prefix("weather/")).collect();
    assert!(weather.contains(&"t2m_max") && weather.contains(&"t2m_sum") && !weather.contains(&"t2m_mean"));
    assert!(weather.contains(&"tp_mean") && !weather.contains(&"tp_sum"), "{weather:?}");
    assert_eq!(store.attrs()["screen"]["days"], 20);
    // NDVI falls and rises by far more than the threshold but at its turns, where it is flat.
    let masked = store.read::<u8>("mask").unwrap().iter().filter(|&&mask| mask == 1).count();
    assert!(masked > 45 * 64 / 4, "only {masked} of {} are masked", 45 * 64);

    let wrong = tiny_project(dir.path(), "[level2]\nweather.rain = [\"sum\"]");
    let (error, _) = fail("run", &wrong, 2);
    assert!(error.contains("weather: expected a weather variable of Level 1, found `rain`"), "{error}");
    assert!(error.contains("t2m"), "{error}");
    let (error, _) = fail("run", &config(dir.path(), "[level2]\nscreen.blue = 0"), 2);
    assert!(error.contains("screen.blue: expected above 0, up to 1, found 0"), "{error}");
}

#[test]
fn indices_are_chosen_and_formulas_added() {
    let dir = tempfile::tempdir().unwrap();
    let section = "[level2]\nsteps = 45\nindices = [\"kndvi\", \"evi\", \"kndvi_sigma\"]\n\
                   [level2.formulas]\ngreenness = \"green / max(red, 1e-3) - 1\"";
    let project = tiny_project(dir.path(), section);
    succeed("run", &project, &[]);
    assert!(succeed("verify", &project, &[]).contains("2 stores with 2 samples"));
    let path = dir.path().join("level2/train/35KMQ.zarr");
    assert_conforms(&path, "level2");
    let store = Cube::open(&path, "level2").unwrap();
    assert!(!store.has("ndvi") && store.has("evi") && store.has("kndvi_sigma"));
    assert_eq!(store.var_attrs("greenness")["formula"], "green / max(red, 1e-3) - 1");
    let read = |var: &str| store.read::<f32>(var).unwrap()[[0, 20, 3, 4]];
    let (red, nir) = (read("red"), read("nir"));
    assert!((read("greenness") - (read("green") / red - 1.0)).abs() < 1e-6);
    let ndvi = (nir - red) / (nir + red);
    assert!((read("kndvi") - (ndvi * ndvi).tanh()).abs() < 1e-6);
    let evi = 2.5 * (nir - red) / (nir + 6.0 * red - 7.5 * read("blue") + 1.0);
    assert!((read("evi") - evi).abs() < 1e-6);
    assert!((read("kndvi_sigma") - ((nir - red) / 0.3).powi(2).tanh()).abs() < 1e-6);

    let wrong = "[level2]\n[level2.formulas]\nndmi = \"(nir - swir16) / (nir + swir16)\"";
    let (error, hint) = fail("run", &config(dir.path(), wrong), 2);
    assert!(
        error.contains("ndmi: `(nir - swir16) / (nir + swir16)`, character 8: expected a band (blue,"),
        "{error}"
    );
    assert!(error.contains("found `swir16`") && hint.contains("extra_bands"), "{error} {hint}");
    let (error, _) = fail("run", &config(dir.path(), "[level2]\nindices = [\"lai\"]"), 2);
    assert!(
        error.contains("indices: expected each of ndvi, kndvi") && error.contains("found lai"),
        "{error}"
    );
}

/// The errors of two fillings: in the store, by sample; in the table; in the manifest; on the page.
#[test]
fn errors_of_fillings_are_measured_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let section = "[level2]\nsteps = 45\nsamples_per_cube = 2\ncompare_fills = [\"harmonic\", \"linear\"]";
    let project = tiny_project(dir.path(), section);
    succeed("run", &project, &[]);
    let store = Cube::open(&dir.path().join("level2/train/35KMQ.zarr"), "level2").unwrap();
    assert_eq!(store.read_strings("leave_out/fill").unwrap(), ["linear", "harmonic"]);
    assert_eq!(store.read_strings("leave_out/quantity").unwrap(), ["blue", "green", "red", "nir", "ndvi"]);
    let rmse = store.read::<f32>("leave_out/rmse").unwrap();
    assert_eq!(rmse.shape(), [2, 2, 5]);
    assert_eq!(rmse.index_axis(ndarray::Axis(0), 0), rmse.index_axis(ndarray::Axis(0), 1), "one cube");
    // Two of three scenes are clear in 64 pixels, one of ten is left out.
    let count = store.read::<i32>("leave_out/count").unwrap()[[0]];
    assert!((500..=700).contains(&count), "{count}");
    // A sine of amplitude 0.04 and a period of 365 days, seen every 5 or 10 days, stored in steps of 1e-4.
    let red = rmse.slice(ndarray::s![0, .., 2]);
    assert!(red.iter().all(|&rmse| rmse > 2e-5 && rmse < 5e-4), "{red}");
    let normalisation = fs::read_to_string(dir.path().join("level2/normalisation.json")).unwrap();
    assert!(!normalisation.contains("leave_out"));
    let manifest = fs::read_to_string(dir.path().join("level2/run.json")).unwrap();
    assert!(manifest.contains("\"leave_out_rmse_ndvi\": \"linear 0.0"), "{manifest}");
    assert!(
        fs::read_to_string(dir.path().join("level2/report.html"))
            .unwrap()
            .contains("Error of the gap filling")
    );

    let none = tiny_project(dir.path(), "[level2]\nleave_out = 0.0\ncompare_fills = [\"rbf\"]");
    let (error, _) = fail("run", &none, 2);
    assert!(error.contains("compare_fills: expected nothing, with leave_out = 0, found 1"), "{error}");
}

#[test]
fn threads_and_shards_do_not_change_a_byte() {
    let section = "[level2]\nsteps = 30\nsamples_per_cube = 7\nextrapolate = \"nearest\"";
    let hash = |runs: &[&[&str]]| {
        let dir = tempfile::tempdir().unwrap();
        let project = tiny_project(dir.path(), section);
        runs.iter().for_each(|more| drop(succeed("run", &project, more)));
        data_hash(dir.path())
    };
    let one = hash(&[&["--threads", "1"]]);
    assert_eq!(one, hash(&[&["--threads", "3"]]));
    assert_eq!(one, hash(&[&["--shard", "2/2"], &["--shard", "1/2"]]));
}

/// Kills at many points of the run, by what is on the disk, from laying out the first store to the last files, each time
/// on a fresh folder.
#[test]
fn a_killed_run_goes_on_to_the_same_bytes() {
    let section = "[level2]\nsteps = 40\nsamples_per_cube = 8";
    let reference = tempfile::tempdir().unwrap();
    let project = tiny_project(reference.path(), section);
    succeed("run", &project, &[]);
    let whole = kib_on_disk(&reference.path().join("level2")).unwrap();
    let expected = data_hash(reference.path());

    let (mut killed, mut unfinished) = (0, 0);
    for point in 1..=8 {
        let dir = tempfile::tempdir().unwrap();
        let project = tiny_project(dir.path(), section);
        let mut child = binary()
            .args(["run", "--config"])
            .arg(&project)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A file may be renamed while the folder is looked through; then it is looked through again.
        let has_enough = || kib_on_disk(&dir.path().join("level2")).is_ok_and(|kib| kib * 9 >= whole * point);
        while child.try_wait().unwrap().is_none() && !has_enough() {
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().unwrap();
        killed += i32::from(!child.wait().unwrap().success());
        assert_no_unsealed_store(dir.path());
        unfinished += i32::from(fs::read_dir(dir.path().join("level2/train")).is_ok_and(|entries| {
            entries
                .filter_map(Result::ok)
                .any(|entry| entry.file_name().to_string_lossy().ends_with(".partial"))
        }));
        succeed("run", &project, &[]);
        assert_eq!(data_hash(dir.path()), expected, "after a kill at point {point}");
    }
    assert!(killed >= 5, "only {killed} of 8 runs were killed before their end");
    println!("{killed} runs killed, {unfinished} of them within the training store");
}

#[test]
fn a_full_disk_is_told_and_the_run_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let project = tiny_project(dir.path(), "[level2]\nsteps = 40\nsamples_per_cube = 8");
    succeed("run", &project, &[]);
    let (expected, level2) = (data_hash(dir.path()), dir.path().join("level2"));
    let whole = kib_on_disk(&level2).unwrap();
    // While the first store is laid out, in its middle, in the second store, and in the files about both.
    for room in [4, whole / 4, whole * 3 / 4, whole - 4] {
        let mut command = binary();
        command.args(["run", "--config"]).arg(&project);
        let Some(disk) = on_full_disk(&level2, room, &command).unwrap() else {
            println!("skipped: nobody may mount a disk here");
            return;
        };
        disk.assert_told();
        disk.assert_whole(&[]).unwrap();
        assert_eq!(data_hash(dir.path()), expected, "with {room} of {whole} KiB");
    }
}

/// Whatever has its final name is complete.
fn assert_no_unsealed_store(dir: &Path) {
    for split in ["train", "val"] {
        let path = dir.join(format!("level2/{split}/35KMQ.zarr"));
        assert!(!path.exists() || Cube::open(&path, "level2").is_ok(), "{}", path.display());
    }
}

#[test]
fn a_wrong_key_or_value_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (error, hint) = fail("run", &tiny_project(dir.path(), "[level2]\nstep = 45"), 2);
    assert!(error.contains("unknown key `step`") && hint.contains("`steps`"), "{error} {hint}");
    let (error, _) = fail("run", &config(dir.path(), "[level2]\ncontext_steps = 45"), 2);
    assert!(error.contains("context_steps: expected at least 1 and fewer than steps, found 45"), "{error}");
    let wrong = "[level2]\nfill = \"whittaker\"\nwhittaker.lambda = 0";
    let (error, _) = fail("run", &config(dir.path(), wrong), 2);
    assert!(error.contains("whittaker.lambda: expected 0.001 to 1e8, found 0"), "{error}");
    let (error, hint) = fail("run", &config(dir.path(), "[level2]\nnir = \"nir\""), 2);
    assert!(
        error.contains("found `nir`") && error.contains("nir08") && hint.contains("B8A"),
        "{error} {hint}"
    );
}

#[test]
fn missing_or_unfit_level_1_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (error, hint) = fail("run", &config(dir.path(), ""), 2);
    assert!(error.contains("level1: no level-1 stores") && hint.contains("x3-level1"), "{error} {hint}");

    let project = tiny_project(dir.path(), "[level2]\nsteps = 80");
    let (error, hint) = fail("run", &project, 2);
    assert!(
        error.contains("expected at least 80 steps of 10 days in 2021 to 2022, found 73")
            && hint.contains("steps"),
        "{error}"
    );

    let project = tiny_project(dir.path(), "");
    let metadata = dir.path().join("level1/35KMQ.zarr/zarr.json");
    let text = fs::read_to_string(&metadata).unwrap();
    fs::write(&metadata, text.replacen("\"schema_version\": 1", "\"schema_version\": 0", 1)).unwrap();
    let (error, hint) = fail("run", &project, 2);
    assert!(error.contains("expected schema level1 version 1, found schema level1 version 0"), "{error}");
    assert!(hint.contains("run the stage that makes it again"), "{hint}");
    assert!(!dir.path().join("level2").exists());
}

#[test]
fn a_tile_without_level_1_or_a_left_over_store_is_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let project = tiny_project(dir.path(), "[level2]\nsteps = 45");
    let table_path = dir.path().join("sampler/locations.parquet");
    let mut table = minicube::LocationTable::read(&table_path).unwrap();
    let mut far = table.locations[0].clone();
    (far.id, far.tile) = ("35KMR_0000".into(), "35KMR".into());
    table.locations.push(far);
    table.write(&table_path).unwrap();
    let output = run("run", &project, &[]);
    assert_eq!(output.status.code(), Some(1));
    let manifest: Value =
        serde_json::from_slice(&fs::read(dir.path().join("level2/run.json")).unwrap()).unwrap();
    assert_eq!(manifest["outcomes"][0]["unit"], "35KMR");
    assert_eq!(manifest["outcomes"][0]["status"], "failed");

    let moved = dir.path().join("level2/test");
    fs::create_dir_all(&moved).unwrap();
    fs::rename(dir.path().join("level2/val/35KMQ.zarr"), moved.join("35KMQ.zarr")).unwrap();
    let output = run("run", &project, &[]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("left over from another plan"), "{text}");
}

#[test]
fn verify_finds_a_changed_value() {
    let dir = tempfile::tempdir().unwrap();
    let project = tiny_project(dir.path(), "[level2]\nsteps = 45");
    succeed("run", &project, &[]);
    let normalisation = dir.path().join("level2/normalisation.json");
    let mut stored: Value = serde_json::from_slice(&fs::read(&normalisation).unwrap()).unwrap();
    stored["kndvi"]["mean"] = 0.5.into();
    fs::write(&normalisation, stored.to_string()).unwrap();
    let output = run("verify", &project, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("not the statistics of the training stores"));
}
