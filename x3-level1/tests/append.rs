//! A store that grows (dates, cubes, days of SMAP, layers) has the bytes of one that is built from nothing, and what it
//! has already is not read again.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use common::{SCENES, TILE, locations, project, raw_tree, scene};
use minicube::sha256_store;

/// A project, and the same one that is always built from nothing.
struct Pair {
    dir: tempfile::TempDir,
    years: &'static str,
}

impl Pair {
    fn new() -> Pair {
        let dir = tempfile::tempdir().unwrap();
        raw_tree(dir.path());
        Pair { dir, years: "[2021, 2022]" }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn scene(&self, index: usize) -> PathBuf {
        self.data().join("raw/s2").join(TILE).join(SCENES[index].0).join(SCENES[index].1)
    }

    fn store(&self) -> PathBuf {
        self.data().join("level1").join(format!("{TILE}.zarr"))
    }

    fn command(&self, verb: &str, level1: &str) -> Command {
        let config = project(self.dir.path(), level1);
        let text = fs::read_to_string(&config).unwrap().replace("[2021, 2022]", self.years);
        fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_x3-level1"));
        command.arg(verb).arg("--config").arg(config);
        command
    }

    /// What a command says; it must succeed.
    fn act(&self, verb: &str, level1: &str) -> String {
        let output = self.command(verb, level1).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(output.status.success(), "{said}");
        said
    }

    /// The hash of a store that is built from nothing, beside the one that stands.
    fn fresh(&self, level1: &str) -> String {
        let (level, kept) = (self.data().join("level1"), self.data().join("kept"));
        fs::rename(&level, &kept).unwrap();
        self.act("run", level1);
        let hash = sha256_store(&self.store()).unwrap();
        fs::remove_dir_all(&level).unwrap();
        fs::rename(&kept, &level).unwrap();
        hash
    }

    /// Runs, and compares with a store from nothing. Gives what `run.json` says was taken over.
    fn grows(&self, level1: &str) -> String {
        let expected = self.fresh(level1);
        self.act("run", level1);
        assert_eq!(sha256_store(&self.store()).unwrap(), expected);
        let manifest = fs::read(self.data().join("level1/run.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        manifest["notes"]["taken over from older stores"].as_str().unwrap_or("nothing").to_owned()
    }
}

/// Makes the blocks of a raster rubbish, and leaves its header and its size.
fn spoil(raster: &Path) {
    let mut bytes = fs::read(raster).unwrap();
    let end = bytes.len();
    // Blocks come after the directory; the last ones are whole blocks of the cubes or of nothing.
    let dataset = gdal::Dataset::open(raster).unwrap();
    let band = dataset.rasterband(1).unwrap();
    let from: usize =
        gdal::Metadata::metadata_item(&band, "BLOCK_OFFSET_0_0", "TIFF").unwrap().parse().unwrap();
    bytes[from..end].fill(0x55);
    fs::write(raster, bytes).unwrap();
}

#[test]
fn dates_before_between_and_after_are_added_without_reading_the_others() {
    for late in [0, 1, 2] {
        let pair = Pair::new();
        let away = pair.dir.path().join("away");
        fs::rename(pair.scene(late), &away).unwrap();
        pair.act("run", "");
        fs::rename(&away, pair.scene(late)).unwrap();
        let plan = pair.act("plan", "");
        assert!(plan.contains("to do: 0 new cubes, 1 new scenes"), "{plan}");
        let expected = pair.fresh("");
        for old in [0, 1, 2].into_iter().filter(|&old| old != late) {
            for asset in ["blue", "green", "red", "nir08", "scl"] {
                spoil(&pair.scene(old).join(format!("{asset}.tif")));
            }
        }
        pair.act("run", "");
        assert_eq!(sha256_store(&pair.store()).unwrap(), expected, "without scene {late}");
        let manifest = fs::read_to_string(pair.data().join("level1/run.json")).unwrap();
        assert!(manifest.contains("35KMQ: 4 of 6 frames of cubes"), "{manifest}");
        assert!(pair.act("run", "").contains("nothing to do"));
    }
}

/// A cube that comes first moves the other one.
#[test]
fn cubes_are_added() {
    let pair = Pair::new();
    locations(&pair.data(), 1);
    pair.act("run", "");
    locations(&pair.data(), 2);
    assert_eq!(pair.grows(""), "35KMQ: 3 of 6 frames of cubes");
    locations(&pair.data(), 1);
    assert_eq!(pair.grows(""), "35KMQ: 3 of 3 frames of cubes", "a cube less");
}

#[test]
fn what_a_new_setting_does_not_touch_is_kept() {
    let pair = Pair::new();
    pair.act("run", "[level1]\nassets = [\"red\"]");
    let spoilt = pair.scene(0).join("red.tif");
    let sound = fs::read(&spoilt).unwrap();
    let expected = pair.fresh("[level1]\nassets = [\"red\", \"nir08\"]\nclasses = \"nearest\"");
    spoil(&spoilt);
    // The dark pixels are looked at in two bands of these, so that blue and green would be read of all scenes.
    pair.act("run", "[level1]\nassets = [\"red\", \"nir08\"]\nclasses = \"nearest\"");
    assert_eq!(sha256_store(&pair.store()).unwrap(), expected);
    fs::write(&spoilt, sound).unwrap();
    assert_eq!(pair.grows("[level1]\nassets = [\"red\"]\nsame_day = \"merge\""), "nothing", "another rule");
}

#[test]
fn a_raster_that_gets_its_missing_block_is_read_again() {
    let pair = Pair::new();
    pair.act("run", "");
    // The ledger knows this file by its ETag, so that the size does not tell.
    let (day, id, baseline, applied) = SCENES[2];
    scene(&pair.data(), 2, (day, id), (baseline, applied), false);
    assert_eq!(pair.grows(""), "35KMQ: 6 of 6 frames of cubes", "the scene classification is the same");
}

#[test]
fn days_of_smap_and_weather_are_added() {
    let pair = Pair::new();
    let (late, away) = (pair.data().join("raw/smap/20210102"), pair.dir.path().join("away"));
    fs::rename(&late, &away).unwrap();
    pair.act("run", "");
    fs::rename(&away, &late).unwrap();
    let expected = pair.fresh("");
    let granule = pair.data().join("raw/smap/20210103/SMAP_20210103T013000.h5");
    // The values of a day that is there already are not read: they are others now, in a file of the same size.
    {
        let file = hdf5::File::open_rw(&granule).unwrap();
        let values = file.dataset("Geophysical_Data/sm_surface").unwrap();
        values.write(&ndarray::Array2::from_elem((3, 3), 7.0f32)).unwrap();
    }
    pair.act("run", "");
    assert_eq!(sha256_store(&pair.store()).unwrap(), expected);
}

#[test]
fn a_year_is_added() {
    let mut pair = Pair::new();
    pair.years = "[2021, 2021]";
    pair.act("run", "");
    pair.years = "[2020, 2022]";
    assert_eq!(pair.grows(""), "35KMQ: 2 of 6 frames of cubes");
}

#[test]
fn a_damaged_older_store_is_built_anew_where_it_is_damaged() {
    let pair = Pair::new();
    let away = pair.dir.path().join("away");
    fs::rename(pair.scene(1), &away).unwrap();
    pair.act("run", "");
    fs::rename(&away, pair.scene(1)).unwrap();
    for name in ["s2/red/c/0/0/0/0", "s2/scl/c/1/0/0/0", "static/dem/c/0/0/0"] {
        let file = pair.store().join(name);
        let mut bytes = fs::read(&file).unwrap();
        bytes[5] ^= 1;
        fs::write(&file, bytes).unwrap();
    }
    let said = pair.act("run", "");
    assert!(said.contains("s2/red/c/0/0/0/0: not as it was sealed"), "{said}");
    let grown = sha256_store(&pair.store()).unwrap();
    assert_eq!(grown, pair.fresh(""));
}

/// More than one chunk of dates: the first 64 are taken as they are, the rest is compressed again.
#[test]
fn a_long_series_grows_by_chunks() {
    let pair = Pair::new();
    let add = |from: usize, to: usize| {
        for index in from..to {
            let (month, day) = (3 + index / 28, 1 + index % 28);
            let (date, id) =
                (format!("2022{month:02}{day:02}"), format!("S2A_35KMQ_2022{month:02}{day:02}_0_L2A"));
            scene(&pair.data(), index, (&date, &id), ("04.00", true), false);
        }
    };
    add(3, 67);
    pair.act("run", "");
    add(67, 70);
    let red = pair.scene(0).join("red.tif");
    let sound = fs::read(&red).unwrap();
    spoil(&red);
    pair.act("run", "");
    fs::write(&red, sound).unwrap();
    assert_eq!(sha256_store(&pair.store()).unwrap(), pair.fresh(""));
}

#[test]
fn killed_while_it_grows_it_goes_on_to_the_same_bytes() {
    let pair = Pair::new();
    let (away, level1) = (pair.dir.path().join("away"), "[level1]\nmemory_mb = 0");
    fs::rename(pair.scene(1), &away).unwrap();
    pair.act("run", level1);
    fs::rename(&away, pair.scene(1)).unwrap();
    let (older, kept) = (pair.data().join("level1"), pair.data().join("older"));
    let copy = |from: &Path, to: &Path| {
        assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
    };
    copy(&older, &kept);
    let expected = pair.fresh(level1);
    let clock = Instant::now();
    pair.act("run", level1);
    let whole = clock.elapsed();
    for point in 1..=8u32 {
        fs::remove_dir_all(&older).unwrap();
        copy(&kept, &older);
        for part in 0..2 {
            let mut child =
                pair.command("run", level1).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            thread::sleep(Duration::from_secs_f64(whole.as_secs_f64() * f64::from(point * 2 + part) / 18.0));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        pair.act("run", level1);
        assert_eq!(sha256_store(&pair.store()).unwrap(), expected, "killed at point {point}");
        let mut left: Vec<_> =
            fs::read_dir(&older).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["35KMQ.zarr", "report.html", "run.json"]);
    }
}
