//! The whole stage on a tiny raw tree: values worked out by hand, gaps, bad input, kill and resume, thread counts.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

mod common;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use common::{SCENES, TILE, ledger, number, project, raw_tree, scene};
use gdal::Metadata;
use minicube::testing::{assert_conforms, kib_on_disk, on_full_disk};
use minicube::{Cube, NaiveDate, Tile, sha256_store, to_cf_day};

fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_x3-level1"))
}

fn act(verb: &str, config: &Path, more: &[&str]) -> Output {
    binary().arg(verb).arg("--config").arg(config).args(more).output().unwrap()
}

fn run(config: &Path) -> Output {
    act("run", config, &[])
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_tiny_tree_becomes_the_numbers_worked_out_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    raw_tree(dir.path());
    let config = project(dir.path(), "");
    let output = run(&config);
    assert!(output.status.success(), "{}", text(&output));
    assert!(!text(&output).contains("HDF5-DIAG"), "{}", text(&output));
    let store = dir.path().join("data/level1/35KMQ.zarr");
    assert_conforms(&store, "level1");
    let cube = Cube::open(&store, "level1").unwrap();

    // Georeference: the centre of the first pixel is half a pixel inside the tile's corner.
    let tile = Tile::from_id(TILE).unwrap();
    let (xc, yc) = (cube.read::<f64>("xc").unwrap(), cube.read::<f64>("yc").unwrap());
    assert_eq!((xc[[0, 0]], yc[[0, 0]]), (tile.origin.x + 15.0, tile.origin.y - 15.0));
    assert_eq!((xc[[1, 7]], yc[[1, 7]]), (tile.origin.x + 240.0 + 225.0, tile.origin.y - 225.0));

    // Acquisitions.
    let day = |y, m, d| to_cf_day(NaiveDate::from_ymd_opt(y, m, d).unwrap());
    assert_eq!(
        cube.read::<i32>("s2/time").unwrap().into_raw_vec_and_offset().0,
        [day(2021, 1, 5), day(2022, 2, 5), day(2022, 2, 10)]
    );
    assert_eq!(cube.read_strings("s2/scene_id").unwrap(), SCENES.map(|scene| scene.1));
    assert_eq!(cube.read::<f64>("s2/baseline").unwrap().as_slice().unwrap(), [2.14, 4.0, 4.0]);
    assert_eq!(cube.read::<u8>("s2/offset_applied").unwrap().as_slice().unwrap(), [0, 0, 1]);

    // 10 m → 30 m: the mean of 3 × 3 is the middle pixel, because the numbers are linear in row and column. Before
    // 04.00 and after the provider took the offset off: + 1000; as ESA makes it: + 0.
    let red = cube.read::<u16>("s2/red").unwrap();
    for (scene, add) in [(0, 1000), (1, 0), (2, 1000)] {
        for (y, x) in [(0, 0), (3, 5), (7, 7)] {
            assert_eq!(
                red[[0, scene, y, x]],
                number(scene, 3 * y + 1, 3 * x + 1) + add,
                "scene {scene} at {y},{x}"
            );
        }
    }
    assert_eq!(
        red[[1, 0, 2, 0]],
        number(0, 7, 24 + 1) + 1000,
        "the second cube begins 24 pixels to the east"
    );

    // The absent block covers columns 32 to 63: in the second cube (columns 24 to 47) the first two pixels are whole,
    // the third (30 to 32) keeps two of three columns, the rest is fill.
    let line: Vec<u16> = (0..4).map(|x| red[[1, 2, 0, x]]).collect();
    assert_eq!(line[..2], [number(2, 1, 25) + 1000, number(2, 1, 28) + 1000]);
    // Columns 30 and 31: half a column west of the middle one, 1.5 numbers less, 2307 + 90.5 rounded half up.
    assert_eq!(line[2], 2000 + 200 + 7 + 92 + 1000);
    assert_eq!(line[3], 0);
    assert_eq!(red[[0, 2, 0, 0]], number(2, 1, 1) + 1000);

    // 20 m → 30 m: 1.5 source pixels; the source is 2000 + 14 r + 6 c (in 20 m rows and columns), so that the mean
    // over 1 + ½ pixels is taken at r = c = 1/3: 2000 + 20/3 = 2006.67.
    let nir = cube.read::<u16>("s2/nir08").unwrap();
    assert_eq!(nir[[0, 0, 0, 0]], 3007);
    // The second pixel has ½ of pixel 1 and all of pixel 2: c = 5/3, r = 1/3: 2000 + 14/3 + 10 = 2014.67.
    assert_eq!(nir[[0, 0, 0, 1]], 3015);
    assert!(
        (cube.read_f32("s2/nir08", &[0, 0, 0, 0], &[1, 1, 1, 1]).unwrap()[[0, 0, 0, 0]] - 0.2007).abs()
            < 1e-6
    );

    // Rows 0 to 5 of the classification are vegetation, from row 6 on cloud: 6 / 1.5 = 4 rows of the cube.
    let scl = cube.read::<u8>("s2/scl").unwrap();
    let column: Vec<u8> = (0..8).map(|y| scl[[0, 0, y, 3]]).collect();
    assert_eq!(column, [4, 4, 4, 4, 9, 9, 9, 9]);

    // SMAP: the mean of 0.10 … 0.17, of the first four, of the seven that are there.
    let root = cube.read::<f32>("smap/sm_rootzone").unwrap();
    assert_eq!(root.shape(), [2, 730, 1, 1]);
    let first = [root[[0, 0, 0, 0]], root[[0, 1, 0, 0]], root[[1, 2, 0, 0]]];
    for (found, expected) in first.iter().zip([0.135, 0.115, 0.14]) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
    assert!(root[[0, 3, 0, 0]].is_nan());
    assert_eq!(cube.var_attrs("smap/sm_rootzone")["units"], "m3 m-3");
    assert!(!cube.has("smap/surface_pressure"), "a default that the granules lack is left out");

    // ERA5: the mean of 280 … 303; 24 mm; no sum on the day with a missing hour.
    let t2m = cube.read::<f32>("era5/t2m").unwrap();
    assert_eq!(t2m.shape(), [730, 1, 1]);
    assert!((t2m[[0, 0, 0]] - 291.5).abs() < 1e-4);
    let tp = cube.read::<f32>("era5/tp").unwrap();
    assert!((tp[[0, 0, 0]] - 0.024).abs() < 1e-7 && tp[[2, 0, 0]].is_nan() && tp[[3, 0, 0]].is_nan());
    assert_eq!(cube.var_attrs("era5/tp")["cell_methods"], "time: sum");

    // Static: a plateau across two files without a seam, and a border between the cubes.
    let dem = cube.read::<f32>("static/dem").unwrap();
    assert!(dem.iter().all(|z| (z - 1000.0).abs() < 1e-3), "{dem:?}");
    assert!(cube.read::<f32>("static/slope").unwrap().iter().all(|&s| s.abs() < 1e-3));
    let classes = cube.read::<u8>("static/landcover").unwrap();
    assert!((0..8).all(|y| (0..7).all(|x| classes[[0, y, x]] == 30 && classes[[1, y, x + 1]] == 40)));

    assert!(cube.attrs()["gaps"].as_array().unwrap().is_empty(), "the ledger explains the absent block");
    assert_eq!(cube.attrs()["source_items"][2]["etags"]["red"], "\"abc\"");
    assert!(dir.path().join("data/level1/report.html").exists());

    let again = run(&config);
    assert!(again.status.success() && text(&again).contains("nothing to do"), "{}", text(&again));
    let verified = act("verify", &config, &[]);
    assert!(verified.status.success(), "{}", text(&verified));
    assert!(text(&act("plan", &config, &[])).contains("done"));
}

#[test]
fn whatever_is_changed_in_a_store_is_found() {
    let dir = tempfile::tempdir().unwrap();
    raw_tree(dir.path());
    let config = project(dir.path(), "");
    assert!(run(&config).status.success());
    let store = dir.path().join("data/level1/35KMQ.zarr");
    let shard = store.join("s2/red/c/1/0/0/0");
    let (whole, metadata) = (fs::read(&shard).unwrap(), fs::read_to_string(store.join("zarr.json")).unwrap());
    let finds = |problem: &str| {
        let output = act("verify", &config, &[]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains(problem), "expected `{problem}` in {}", text(&output));
    };
    for at in [0, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&shard, bytes).unwrap();
        finds("s2/red/c/1/0/0/0: is not as sealed");
    }
    fs::remove_file(&shard).unwrap();
    finds("s2/red/c/1/0/0/0: is missing: it would read as fill");
    fs::write(&shard, whole).unwrap();
    fs::write(store.join("zarr.json"), metadata.replacen("35KMQ", "35KMR", 1)).unwrap();
    finds("zarr.json: is not as sealed");
    fs::write(store.join("zarr.json"), metadata).unwrap();
    assert!(act("verify", &config, &[]).status.success());
}

#[test]
fn blocks_that_the_ledger_does_not_explain_are_gaps() {
    let dir = tempfile::tempdir().unwrap();
    raw_tree(dir.path());
    let config = project(dir.path(), "[level1]\nassets = [\"red\"]");
    ledger(&dir.path().join("data/raw/ledger.parquet"), "failed");
    let missing =
        dir.path().join("data/raw/s2").join(TILE).join(SCENES[0].0).join(SCENES[0].1).join("red.tif");
    fs::remove_file(missing).unwrap();
    for _ in 0..2 {
        let output = run(&config);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains("block 0,1 is not in the file, ledger: failed"), "{}", text(&output));
        assert!(text(&output).contains("no file, not in the ledger"), "{}", text(&output));
    }
    let cube = Cube::open(&dir.path().join("data/level1/35KMQ.zarr"), "level1").unwrap();
    assert_eq!(cube.attrs()["gaps"][1]["cubes"][0], "35KMQ_0001");
    assert_eq!(cube.read::<u16>("s2/red").unwrap()[[0, 0, 0, 0]], 0, "not fetched reads as fill");
}

#[test]
fn the_same_bytes_for_any_number_of_threads_and_any_memory() {
    let hash = |threads: &str, level1: &str| {
        let dir = tempfile::tempdir().unwrap();
        raw_tree(dir.path());
        let config = project(dir.path(), level1);
        let output = act("run", &config, &["--threads", threads]);
        assert!(output.status.success(), "{}", text(&output));
        sha256_store(&dir.path().join("data/level1/35KMQ.zarr")).unwrap()
    };
    let one = hash("1", "");
    assert_eq!(one, hash("4", ""));
    assert_eq!(one, hash("3", "[level1]\nmemory_mb = 0"), "one cube a pass");
}

/// Kills a run with these flags several times in a row, at growing parts of the time that a whole one takes, and lets it end;
/// seven times over. Gives how many kills hit a running process.
fn kill_and_resume(dir: &Path, config: &Path, flags: &[&str], expected: &str) -> u32 {
    let store = dir.join("data/level1/35KMQ.zarr");
    fs::remove_dir_all(dir.join("data/level1")).unwrap();
    let clock = Instant::now();
    assert!(act("run", config, flags).status.success());
    let whole = clock.elapsed();
    let mut interrupted = 0;
    for point in 1..=7u32 {
        fs::remove_dir_all(dir.join("data/level1")).unwrap();
        for part in 0..3 {
            let mut child: Child = binary()
                .args(["run", "--config"])
                .arg(config)
                .args(flags)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            thread::sleep(Duration::from_secs_f64(whole.as_secs_f64() * f64::from(point * 3 + part) / 26.0));
            interrupted += u32::from(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            child.wait().unwrap();
            if let Ok(cube) = Cube::open(&store, "level1") {
                assert_eq!(cube.attrs()["sealed"], true, "a store that can be opened is whole");
            }
        }
        let output = act("run", config, flags);
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(sha256_store(&store).unwrap(), expected, "killed at point {point}");
    }
    interrupted
}

#[test]
fn a_killed_run_resumes_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    raw_tree(dir.path());
    let config = project(dir.path(), "[level1]\nmemory_mb = 0");
    assert!(run(&config).status.success());
    let expected = sha256_store(&dir.path().join("data/level1/35KMQ.zarr")).unwrap();
    let interrupted = kill_and_resume(dir.path(), &config, &[], &expected);
    assert!(interrupted >= 5, "only {interrupted} of 21 kills hit a running process");
}

/// Two acquisitions of one day made one, on one thread, and on eight that are killed.
#[test]
fn merged_days_are_the_same_bytes_on_eight_threads_that_are_killed() {
    let dir = tempfile::tempdir().unwrap();
    raw_tree(dir.path());
    let data = dir.path().join("data");
    scene(&data, 30, (SCENES[1].0, "S2A_35KMQ_20220205_1_L2A"), ("04.00", true), false);
    let config = project(dir.path(), "[level1]\nsame_day = \"merge\"\nmemory_mb = 0");
    assert!(act("run", &config, &["--threads", "1"]).status.success());
    let store = data.join("level1/35KMQ.zarr");
    let cube = Cube::open(&store, "level1").unwrap();
    assert_eq!(cube.dim("s2/time").unwrap(), 3, "four acquisitions, three days");
    let expected = sha256_store(&store).unwrap();
    let interrupted = kill_and_resume(dir.path(), &config, &["--threads", "8"], &expected);
    assert!(interrupted >= 5, "only {interrupted} of 21 kills hit a running process");
}

#[test]
fn a_full_disk_is_told_and_the_run_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    raw_tree(dir.path());
    let config = project(dir.path(), "[level1]\nmemory_mb = 0");
    let level1 = dir.path().join("data/level1");
    assert!(run(&config).status.success());
    let expected = sha256_store(&level1.join("35KMQ.zarr")).unwrap();
    let whole = kib_on_disk(&level1).unwrap();
    // While the store is laid out, while it is filled, and when it stands and the report does not.
    for room in [4, whole / 2, whole * 3 / 4, whole - 4] {
        let mut command = binary();
        command.args(["run", "--config"]).arg(&config);
        let Some(disk) = on_full_disk(&level1, room, &command).unwrap() else {
            println!("skipped: nobody may mount a disk here");
            return;
        };
        let error = disk.assert_told();
        assert!(error.contains("35KMQ.zarr") || room == whole - 4, "{error}");
        disk.assert_whole(&[]).unwrap();
        assert_eq!(sha256_store(&level1.join("35KMQ.zarr")).unwrap(), expected, "with {room} of {whole} KiB");
    }
}

fn fails(dir: &Path, level1: &str, code: i32, parts: &[&str]) {
    let output = run(&project(dir, level1));
    assert_eq!(output.status.code(), Some(code), "{}", text(&output));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{stderr}");
    assert_eq!(stderr.lines().filter(|line| line.starts_with("hint: ")).count(), 1, "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "expected `{part}` in {stderr}");
    }
    let level1 = dir.join("data/level1");
    assert!(
        !level1.join("35KMQ.zarr").exists() && !level1.join("35KMQ.zarr.partial").exists(),
        "a half store"
    );
}

#[test]
fn bad_input_ends_with_one_error_and_one_hint() {
    let dir = tempfile::tempdir().unwrap();
    fails(dir.path(), "", 2, &["locations.parquet", "x1-sampler run"]);
    raw_tree(dir.path());
    let raw = dir.path().join("data/raw");
    let scene = raw.join("s2").join(TILE).join(SCENES[1].0).join(SCENES[1].1);

    fails(dir.path(), "[level1]\nasets = [\"red\"]", 2, &["unknown key `asets`", "assets"]);
    fails(dir.path(), "[level1]\nassets = [\"red\", \"red\"]", 2, &["`red` twice"]);
    fails(dir.path(), "[level1.smap]\nvariables = [{ name = \"sm_rotzone\" }]", 2, &["sm_rotzone", ".h5"]);
    fails(dir.path(), "[level1.era5]\nvariables = [{ name = \"t3m\" }]", 2, &["t3m", "era5"]);
    fails(dir.path(), "[level1.era5]\nwindow = 200", 2, &["1 to 128", "found 200"]);

    // A raster cut short: the header is whole, the blocks are not.
    let red = scene.join("red.tif");
    let bytes = fs::read(&red).unwrap();
    let dataset = gdal::Dataset::open(&red).unwrap();
    let offset = dataset.rasterband(1).unwrap().metadata_item("BLOCK_OFFSET_0_0", "TIFF").unwrap();
    drop(dataset);
    fs::write(&red, &bytes[..offset.parse::<usize>().unwrap() + 10]).unwrap();
    fails(dir.path(), "", 2, &["red.tif", "unreadable raster", "cut short"]);
    fs::write(&red, b"not a raster").unwrap();
    fails(dir.path(), "", 2, &["red.tif"]);
    fs::write(&red, &bytes).unwrap();

    fs::rename(scene.join("item.json"), scene.join("kept")).unwrap();
    fs::write(scene.join("item.json"), "{}").unwrap();
    fails(dir.path(), "", 2, &["item.json", "properties.datetime"]);
    fs::rename(scene.join("kept"), scene.join("item.json")).unwrap();

    let granule = raw.join("smap/20210102/SMAP_20210102T013000.h5");
    let bytes = fs::read(&granule).unwrap();
    fs::write(&granule, &bytes[..100]).unwrap();
    fails(dir.path(), "", 2, &["SMAP_20210102T013000.h5", "unreadable HDF5"]);
    fs::write(&granule, bytes).unwrap();

    fs::remove_dir_all(raw.join("dem")).unwrap();
    fails(dir.path(), "[level1]\nstatics = [\"dem\"]", 2, &["raw/dem", "dem"]);
    fs::remove_dir_all(raw.join("s2")).unwrap();
    fails(dir.path(), "", 2, &["raw/s2", "x2-downloader run"]);
}
