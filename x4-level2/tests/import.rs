//! The importers on tiny files of known content, on broken ones, and on real cubes where they are at hand.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{config, data_hash, fail, import_section as section, run, succeed};
use minicube::Cube;
use minicube::testing::{assert_conforms, real};

const PAIR: &str = "29SND_2017-06-20_2017-11-16_2105_2233_1849_1977_32_112_28_108";
const WHOLE: &str = "29SND_2017-06-20_2017-11-16_2105_2233_1721_1849_32_112_26_106";

fn data(name: &str) -> PathBuf {
    minicube::testing::own_file("tests/data").join(name)
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1.0), "expected {expected}, found {found}");
}

fn sum(cube: &Cube, var: &str, sample: u64) -> f64 {
    let mut shape = cube.shape(var).unwrap();
    shape[0] = 1;
    let mut start = vec![0; shape.len()];
    start[0] = sample;
    let values = cube.read_f32(var, &start, &shape).unwrap();
    values.iter().filter(|v| v.is_finite()).map(|&v| f64::from(v)).sum()
}

/// Expected numbers by numpy from the same files: 1554 bad pixels of the pair, 1577 of the whole cube; sums of the
/// four bands; 5-day means of cell (3, 3), which is the first of the centre 2 × 2 of these 8 × 8 cells.
#[test]
fn earthnet2021_pairs_and_whole_cubes() {
    let dir = tempfile::tempdir().unwrap();
    let files = [format!("context_{PAIR}.npz"), format!("target_{PAIR}.npz"), format!("{WHOLE}.npz")];
    let input: Vec<PathBuf> = files.iter().map(|file| data(file)).collect();
    let project = config(dir.path(), &section("earthnet2021", &input, "split = \"train\""));
    succeed("run", &project, &[]);
    succeed("verify", &project, &[]);
    let path = dir.path().join("level2/train/29SND.zarr");
    assert_conforms(&path, "level2");
    let cube = Cube::open(&path, "level2").unwrap();
    assert_eq!(cube.attr_str("source").unwrap(), "earthnet2021");
    assert_eq!(cube.attr_f64("context_steps").unwrap(), 10.0);
    assert_eq!(cube.read_strings("cube_id").unwrap(), [WHOLE, PAIR]);
    assert_eq!(cube.shape("weather/tg_mean").unwrap(), [2, 30, 2, 2]);
    for (sample, bad, bands) in [(1, 1554.0, 9265.640520453453), (0, 1577.0, 9199.579186081886)] {
        close(sum(&cube, "mask", sample), bad);
        close(["blue", "green", "red", "nir"].iter().map(|band| sum(&cube, band, sample)).sum(), bands);
    }
    let rain = cube.read::<f32>("weather/rr_mean").unwrap();
    close(rain[[1, 0, 0, 0]].into(), 0.04453125);
    close(rain[[1, 29, 0, 0]].into(), 0.03232574462890625);
    close(cube.read::<f32>("weather/pp_mean").unwrap()[[0, 0, 0, 0]].into(), 0.536474609375);
    close(cube.read::<f32>("weather/tx_mean").unwrap()[[1, 1, 0, 0]].into(), 0.58955078125);
    let blue = cube.read::<f32>("blue").unwrap();
    assert_eq!(blue[[1, 0, 0, 0]], 1.25, "values above 1 stay");
    assert!(blue[[1, 1, 2, 3]].is_nan(), "what was not acquired stays missing");
    // 2017-06-20 is CF day 17337; frame k is dated on its fifth day. Row 2105 and column 1849 of 20 m from the corner.
    assert_eq!(cube.read::<i32>("date").unwrap()[[1, 0]], 17341);
    let tile = minicube::Tile::from_id("29SND").unwrap();
    let west = cube.read::<f64>("xc").unwrap()[[1, 0]] - tile.origin.x - 1849.0 * 20.0;
    let south = tile.origin.y - cube.read::<f64>("yc").unwrap()[[1, 0]] - 2105.0 * 20.0;
    assert_eq!((west, south), (80.0, 80.0), "half of a pixel of 2560 m / 16");
}

/// Expected numbers by xarray from the same file.
#[test]
fn greenearthnet_cubes() {
    let dir = tempfile::tempdir().unwrap();
    let project =
        config(dir.path(), &section("greenearthnet", &[data("minicuber_tiny.nc")], "split = \"test\""));
    succeed("run", &project, &[]);
    let path = dir.path().join("level2/test/cubes.zarr");
    assert_conforms(&path, "level2");
    let cube = Cube::open(&path, "level2").unwrap();
    assert_eq!(cube.shape("red").unwrap(), [1, 6, 6, 5]);
    for (band, expected) in
        [("blue", 49.23262561), ("green", 48.34535881), ("red", 42.63260002), ("nir", 47.32613558)]
    {
        close(sum(&cube, band, 0), expected);
    }
    close(sum(&cube, "mask", 0), 180.0 - 18.0);
    let weather = |var: &str, step: usize| f64::from(cube.read::<f32>(var).unwrap()[[0, step]]);
    close(weather("weather/tg_mean", 4), 12.41509027);
    close(weather("weather/tg_min", 0), -1.9062268733978271);
    close(weather("weather/rr_max", 5), 2.761837440043827);
    close(sum(&cube, "static/dem", 0), 17127.858417175532);
    let landforms = cube.read::<u8>("static/geomorphon").unwrap();
    assert_eq!(landforms.iter().take(5).copied().collect::<Vec<u8>>(), [3, 7, 6, 5, 8]);
    let longitude = cube.read::<f64>("lon").unwrap()[[0]];
    assert!((longitude - 11.015).abs() < 1e-4, "{longitude}");
}

#[test]
fn the_import_verb_takes_format_and_files_and_reports_them() {
    let dir = tempfile::tempdir().unwrap();
    let project = config(dir.path(), "[level2.import]\nsplit = \"val\"");
    let file = data(&format!("{WHOLE}.npz"));
    let text = succeed("import", &project, &["--format", "earthnet2021", "--input", file.to_str().unwrap()]);
    assert!(text.contains("samples_val: 1"), "{text}");
}

#[test]
fn broken_files_are_named_and_leave_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join(format!("{WHOLE}.npz"));
    let bytes = fs::read(data(&format!("{WHOLE}.npz"))).unwrap();
    fs::write(&broken, &bytes[..bytes.len() / 2]).unwrap();
    let project = config(dir.path(), &section("earthnet2021", std::slice::from_ref(&broken), ""));
    let (error, hint) = fail("run", &project, 2);
    assert!(error.contains("cannot be read as npz") && hint.contains("truncated"), "{error} {hint}");
    assert!(!dir.path().join("level2").exists());

    let half = section("earthnet2021", &[data(&format!("context_{PAIR}.npz"))], "");
    let (error, hint) = fail("run", &config(dir.path(), &half), 2);
    assert!(error.contains(&format!("the other half target_{PAIR}.npz is missing")), "{error}");
    assert!(hint.contains("fetch both"));

    let misnamed = dir.path().join("cube.npz");
    fs::write(&misnamed, &bytes).unwrap();
    let (error, _) = fail("run", &config(dir.path(), &section("earthnet2021", &[misnamed], "")), 2);
    assert!(error.contains("expected a name like"), "{error}");

    let cut = dir.path().join("cut.nc");
    let bytes = fs::read(data("minicuber_tiny.nc")).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let (error, _) = fail("run", &config(dir.path(), &section("greenearthnet", &[cut], "")), 2);
    assert!(error.contains("cannot be read as NetCDF"), "{error}");

    let (error, hint) = fail("run", &config(dir.path(), "[level2.import]"), 2);
    assert!(error.contains("no files or folders") && hint.contains("--input"), "{error} {hint}");
    let shares = "[level2.import]\ntrain = 0.8\nval = 0.8\n";
    let (error, _) = fail("run", &config(dir.path(), shares), 2);
    assert!(error.contains("train + val + test = 1"), "{error}");
}

#[test]
fn one_broken_file_is_a_gap_and_the_others_are_imported() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("cubes");
    fs::create_dir_all(&input).unwrap();
    fs::copy(data(&format!("{WHOLE}.npz")), input.join(format!("{WHOLE}.npz"))).unwrap();
    let other = WHOLE.replace("1721_1849", "1600_1728");
    fs::write(input.join(format!("{other}.npz")), b"PK").unwrap();
    let project =
        config(dir.path(), &section("earthnet2021", std::slice::from_ref(&input), "split = \"train\""));
    let output = run("run", &project, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("cannot be read as npz"));
    assert_conforms(&dir.path().join("level2/train/29SND.zarr"), "level2");

    fs::copy(data(&format!("{WHOLE}.npz")), input.join(format!("{other}.npz"))).unwrap();
    succeed("run", &project, &[]);
    let cube = Cube::open(&dir.path().join("level2/train/29SND.zarr"), "level2").unwrap();
    assert_eq!(cube.dim("sample").unwrap(), 2, "a repaired file is taken in");
    let before = data_hash(dir.path());
    assert!(succeed("run", &project, &[]).contains("nothing to do"));
    assert_eq!(data_hash(dir.path()), before);
}

/// Expected numbers by numpy from the same files.
#[test]
fn real_earthnet2021() {
    let Some(input) = real("earthnet2021") else { return };
    let dir = tempfile::tempdir().unwrap();
    let project = config(dir.path(), &section("earthnet2021", &[input], "split = \"train\""));
    succeed("run", &project, &[]);
    succeed("verify", &project, &[]);
    let cube = Cube::open(&dir.path().join("level2/train/29SQC.zarr"), "level2").unwrap();
    let id = "29SQC_2017-07-02_2017-11-28_2105_2233_569_697_32_112_8_88";
    let sample = cube.read_strings("cube_id").unwrap().iter().position(|found| found == id).unwrap();
    close(sum(&cube, "mask", sample as u64), 124_463.0);
    close(sum(&cube, "red", sample as u64), 66_471.91992819309);
    let pressure = cube.read::<f32>("weather/pp_mean").unwrap();
    close(pressure[[sample, 0, 0, 1]].into(), 0.5751953125);
    close(pressure[[sample, 29, 1, 0]].into(), 0.6095703125);
    close(cube.read::<f32>("nir").unwrap()[[sample, 12, 64, 10]].into(), 0.2344970703125);
    close(sum(&cube, "static/dem", sample as u64) / 16384.0, 0.6377318501472473);
}

/// Expected numbers by xarray from the same files.
#[test]
fn real_greenearthnet() {
    let Some(input) = real("greenearthnet") else { return };
    let dir = tempfile::tempdir().unwrap();
    let project = config(dir.path(), &section("greenearthnet", &[input], "split = \"test\""));
    succeed("run", &project, &[]);
    succeed("verify", &project, &[]);
    for (tile, valid, nir, value, warmth) in [
        ("29SND", 348_167.0, 208_580.45161883, 0.45585377556416584, 18.2),
        ("34TET", 277_678.0, 212_440.93188844, 0.21144129921113447, 6.8),
    ] {
        let cube = Cube::open(&dir.path().join(format!("level2/test/{tile}.zarr")), "level2").unwrap();
        close(30.0 * 16384.0 - sum(&cube, "mask", 0), valid);
        close(sum(&cube, "nir", 0), nir);
        close(cube.read::<f32>("nir").unwrap()[[0, 3, 100, 20]].into(), value);
        close(cube.read::<f32>("weather/tg_mean").unwrap()[[0, 1]].into(), warmth);
    }
}

const DEEP: &str = "mc_11.00_47.00_1.3_20230101_0";

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// A whole uncompressed variable of Zarr version 2.
fn plain(folder: &Path, dtype: &str, shape: &[usize], dims: &str, bytes: Vec<u8>) {
    fs::create_dir_all(folder).unwrap();
    let array = format!(
        "{{\"shape\":{shape:?},\"chunks\":{shape:?},\"dtype\":\"{dtype}\",\"fill_value\":null,\"order\":\"C\",\"filters\":null,\
         \"compressor\":null,\"zarr_format\":2}}"
    );
    fs::write(folder.join(".zarray"), array).unwrap();
    fs::write(folder.join(".zattrs"), format!("{{\"_ARRAY_DIMENSIONS\":{dims}}}")).unwrap();
    fs::write(folder.join(vec!["0"; shape.len()].join(".")), bytes).unwrap();
}

/// Expected numbers by zarr-python and numpy from the same store: the first frame is padding, so that eleven are left; 77 of
/// their pixels are finite in four bands, of a clear class and under a clear mask.
#[test]
fn deepextremes_cubes_are_cut_into_samples() {
    let dir = tempfile::tempdir().unwrap();
    let level2 = "[level2]\nsteps = 11\ncontext_steps = 4\n";
    let input = [data("")];
    let project =
        config(dir.path(), &format!("{level2}{}", section("deepextremes", &input, "split = \"train\"")));
    let plan = succeed("plan", &project, &[]);
    assert!(plan.contains("train/epsg32632") && plan.contains("1 cubes of deepextremes"), "{plan}");
    succeed("run", &project, &[]);
    assert!(succeed("verify", &project, &[]).contains("1 stores with 1 samples"));
    let path = dir.path().join("level2/train/epsg32632.zarr");
    assert_conforms(&path, "level2");
    let cube = Cube::open(&path, "level2").unwrap();
    assert_eq!(cube.read_strings("sample_id").unwrap(), [format!("{DEEP}_20160106")]);
    assert_eq!(cube.read_strings("cube_id").unwrap(), [DEEP]);
    assert_eq!((cube.attr_f64("step_days").unwrap(), cube.attr_f64("context_steps").unwrap()), (5.0, 4.0));
    // The second stamp is noon of 8 January 2016: its period ends on the 10th, CF day 16 810.
    assert_eq!(cube.read::<i32>("date").unwrap()[[0, 0]], 16_810);
    let golden = [("blue", 180.1029), ("green", 184.7578), ("red", 175.3843), ("nir", 176.0145)];
    golden.into_iter().for_each(|(band, expected)| close(sum(&cube, band, 0), expected));
    assert_eq!(sum(&cube, "mask", 0), f64::from(11 * 64 - 77));
    close(cube.read::<f32>("red").unwrap()[[0, 4, 2, 3]].into(), 0.2693);
    close(sum(&cube, "static/dem", 0), 15_088.470_962_524_414);
    // Of all twelve periods the golden sum is 3410.0423; the first one is left out.
    close(sum(&cube, "weather/t2m_mean", 0), 3_410.042_327_880_859_4 - 271.550_38);
    assert_eq!(
        (cube.read::<f64>("xc").unwrap()[[0, 0]], cube.read::<f64>("yc").unwrap()[[0, 1]]),
        (600_010.0, 5_199_970.0)
    );
    assert_eq!(cube.attr_f64("epsg").unwrap(), 32632.0);
}

#[test]
fn deepextremes_gives_several_samples_and_coarse_land_cover() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join(format!("{DEEP}.zarr"));
    copy(&data(&format!("{DEEP}.zarr")), &store);
    // Four cells of 300 m around the corner between pixels 3 and 4.
    let floats = |values: &[f64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    plain(&store.join("x_300"), "<f8", &[2], "[\"x_300\"]", floats(&[600_010.0, 600_150.0]));
    plain(&store.join("y_300"), "<f8", &[2], "[\"y_300\"]", floats(&[5_199_990.0, 5_199_850.0]));
    let classes = [10f32, 50.0, 130.0, 210.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    plain(&store.join("lccs_class"), "<f4", &[2, 2], "[\"y_300\", \"x_300\"]", classes);
    // A part that was never written reads as not observed: frames 6 to 11 of one band.
    fs::remove_file(store.join("B04/1.0.0")).unwrap();
    let level2 = "[level2]\nsteps = 6\ncontext_steps = 2\nsamples_per_cube = 3\n";
    let more = "split = \"train\"";
    let project = config(
        dir.path(),
        &format!("{level2}{}", section("deepextremes", std::slice::from_ref(&store), more)),
    );
    succeed("run", &project, &[]);
    let cube = Cube::open(&dir.path().join("level2/train/epsg32632.zarr"), "level2").unwrap();
    let ids = cube.read_strings("sample_id").unwrap();
    assert_eq!(ids.len(), 3);
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    let first = cube.read::<i32>("start_date").unwrap();
    let mask = cube.read::<u8>("mask").unwrap();
    for sample in 0..3 {
        for step in 0..6 {
            // Frame 0 begins on 1 January 2016, CF day 16 801.
            let frame = (first[[sample]] - 16_801) / 5 + step as i32;
            let seen = (0..8).any(|y| (0..8).any(|x| mask[[sample, step, y, x]] == 0));
            assert_eq!(seen, frame < 6, "sample {sample}, frame {frame}");
        }
    }
    let lccs = cube.read::<u8>("static/lccs").unwrap();
    assert_eq!([lccs[[0, 0, 0]], lccs[[0, 3, 4]], lccs[[0, 4, 3]], lccs[[0, 7, 7]]], [10, 50, 130, 210]);
}

#[test]
fn deepextremes_cubes_with_faults_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join(format!("{DEEP}.zarr"));
    let project = |steps: usize| {
        let import = section("deepextremes", std::slice::from_ref(&store), "split = \"train\"");
        config(dir.path(), &format!("[level2]\nsteps = {steps}\ncontext_steps = 2\n{import}"))
    };
    let fresh = || {
        let _ = fs::remove_dir_all(&store);
        copy(&data(&format!("{DEEP}.zarr")), &store);
    };
    let fails = |steps: usize, part: &str| {
        let (error, _) = fail("run", &project(steps), 2);
        assert!(error.contains(part) && error.contains(DEEP), "expected `{part}` in {error}");
    };
    fresh();
    fails(
        12,
        "variable time: expected 12 steps with frames ([level2] steps, samples_per_cube), found 11 of 12",
    );
    fs::remove_dir_all(store.join("SCL")).unwrap();
    fails(6, "variable SCL: expected a variable of this name, found B02, B03");
    fresh();
    let chunk = store.join("B8A/0.0.0");
    let bytes = fs::read(&chunk).unwrap();
    fs::write(&chunk, &bytes[..bytes.len() / 2]).unwrap();
    fails(11, "cannot be read as Zarr: B8A");
    fresh();
    let times = |values: &[i64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let time = |values: &[i64], units: &str| {
        plain(&store.join("time"), "<i8", &[12], "[\"time\"]", times(values));
        fs::write(store.join("time/.zattrs"), format!("{{\"units\":\"{units}\"}}")).unwrap();
    };
    let axis: Vec<i64> = (0..12).map(|k| 5 * k).collect();
    time(&axis, "days since 2016-01-01");
    fails(6, "found a first period that begins 12 hours after midnight");
    let mut unsorted = axis.clone();
    unsorted.swap(3, 4);
    time(&unsorted, "days since 2016-01-03 12:00:00");
    fails(6, "between times 2 and 3");
    time(&axis, "moons since 2016");
    fails(6, "expected time units like");
    fresh();
    fs::write(store.join(".zattrs"), "{\"spatial_ref\": \"somewhere\"}").unwrap();
    fails(6, "attribute spatial_ref: expected EPSG:<code>, found somewhere");
    fs::remove_file(store.join(".zgroup")).unwrap();
    fails(6, "expected a folder with .zgroup or zarr.json");
}
