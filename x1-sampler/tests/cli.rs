//! The binary on small rasters made with GDAL.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::Instant;

use gdal::DriverManager;
use gdal::raster::{Buffer, RasterCreationOptions};
use gdal::spatial_ref::SpatialRef;
use minicube::{LocationTable, Split};

/// Across the border of UTM zones 34 and 35.
const WEST: f64 = 23.4;
const SOUTH: f64 = -20.8;
const SIZE: f64 = 1.2;

/// Writes a lon/lat raster of `n` × `n` pixels over the test area; `value` gets (column, row) from 0 to 1.
fn raster(path: &Path, driver: &str, n: usize, value: impl Fn(f64, f64) -> u8) {
    let memory = DriverManager::get_driver_by_name("MEM").unwrap();
    let mut dataset = memory.create_with_band_type::<u8, _>("", n, n, 1).unwrap();
    dataset.set_spatial_ref(&SpatialRef::from_epsg(4326).unwrap()).unwrap();
    let step = SIZE / n as f64;
    dataset.set_geo_transform(&[WEST, step, 0.0, SOUTH + SIZE, 0.0, -step]).unwrap();
    let values = (0..n * n).map(|i| value((i % n) as f64 / n as f64, (i / n) as f64 / n as f64)).collect();
    let mut band = dataset.rasterband(1).unwrap();
    band.write((0, 0), (n, n), &mut Buffer::new((n, n), values)).unwrap();
    let driver = DriverManager::get_driver_by_name(driver).unwrap();
    dataset.create_copy(&driver, path, &RasterCreationOptions::default()).unwrap();
}

struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        // Two climates; land cover in stripes that get finer to the south, a lake in the north-east; hills in the west.
        raster(&folder.path().join("climate.tif"), "GTiff", 24, |x, _| if x < 0.4 { 4 } else { 6 });
        raster(&folder.path().join("cover.tif"), "GTiff", 600, |x, y| {
            if x > 0.8 && y < 0.2 {
                80
            } else if ((x * 600.0 / (40.0 - 30.0 * y)) as usize).is_multiple_of(2) {
                30
            } else {
                10
            }
        });
        raster(&folder.path().join("dem.tif"), "GTiff", 600, |x, _| {
            if x < 0.5 { ((x * 300.0).sin().abs() * 200.0) as u8 } else { 100 }
        });
        World { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self, sampler: &str) -> PathBuf {
        let path = self.path("project.toml");
        fs::write(&path, format!("[project]\nname = \"t\"\nseed = 7\n\n[sampler]\n{sampler}")).unwrap();
        path
    }

    fn usual(&self) -> String {
        format!(
            "bbox = [{WEST}, {SOUTH}, {}, {}]\ncount = 60\nformats = [\"geojson\", \"csv\"]\n{}",
            WEST + SIZE,
            SOUTH + SIZE,
            self.rasters()
        )
    }

    fn rasters(&self) -> String {
        let path = |name: &str| self.path(name).display().to_string();
        format!(
            "[sampler.climate]\nsource = \"{}\"\n[sampler.landcover]\nsource = \"{}\"\n[sampler.dem]\nsource = \"{}\"\n",
            path("climate.tif"),
            path("cover.tif"),
            path("dem.tif")
        )
    }

    fn call(&self, verb: &str, config: &Path, dir: &str, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_x1-sampler"))
            .args([verb, "--config"])
            .arg(config)
            .arg("--dir")
            .arg(self.path(dir))
            .args(more)
            .output()
            .unwrap()
    }

    fn table(&self, dir: &str) -> LocationTable {
        LocationTable::read(&self.path(dir).join("sampler/locations.parquet")).unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[track_caller]
fn fails(output: &Output, parts: &[&str]) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.starts_with("error: ") && error.contains("\nhint: "), "{error}");
    for part in parts {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn a_sample_from_plan_to_verify() {
    let world = World::new();
    let config = world.config(&world.usual());
    let plan = succeeds(&world.call("plan", &config, "a", &[]));
    assert!(plan.contains("to do") && plan.contains("9 (34KGB "), "{plan}");
    succeeds(&world.call("run", &config, "a", &["--threads", "1"]));
    assert!(succeeds(&world.call("verify", &config, "a", &[])).contains("all promises kept"));

    let table = world.table("a");
    assert_eq!(table.locations.len(), 60);
    assert_eq!(table.strata(), ["climate", "heterogeneity", "landcover", "topography"]);
    for split in Split::ALL {
        assert!(table.locations.iter().any(|location| location.split == split), "{split} is empty");
    }
    for location in &table.locations {
        // The lake has no locations; climate and relief are those of the place.
        let (x, y) = ((location.lon - WEST) / SIZE, (SOUTH + SIZE - location.lat) / SIZE);
        assert!(!(x > 0.82 && y < 0.18), "{location:?}");
        let expected = if x < 0.4 { "BWh" } else { "BSh" };
        assert!(location.strata["climate"] == expected || (x - 0.4).abs() < 0.05, "{x} {location:?}");
        assert!(location.strata["topography"] == "flat" || x < 0.52, "{x} {location:?}");
    }
    assert!(table.tiles().len() > 2);
    let epsgs: std::collections::BTreeSet<u32> = table.locations.iter().map(|l| l.epsg.0).collect();
    assert_eq!(epsgs.into_iter().collect::<Vec<_>>(), [32734, 32735]);

    let report = fs::read_to_string(world.path("a/sampler/report.html")).unwrap();
    for part in ["Where", "topography", "Kullback", "effective sample size", "clustering index", "34KH"] {
        assert!(report.contains(part), "{part}");
    }
    for name in ["locations.csv", "locations.geojson", "products.toml"] {
        assert!(world.path("a/sampler").join(name).is_file(), "{name}");
    }
    // The inclusion probability is what the weight was made of: weights are proportional to its inverse.
    let products: Vec<f64> =
        table.locations.iter().map(|l| l.weight * l.attributes["inclusion_probability"]).collect();
    assert!(products.iter().all(|product| (product / products[0] - 1.0).abs() < 1e-9), "{products:?}");
    assert!(table.locations.iter().all(|l| l.attributes["relief_m"] >= 0.0 && l.fold.is_none()));
}

/// Horvitz–Thompson: with the weights the share of each climate in the sample is that of the population, which the report
/// of a census (all cells drawn) gives.
#[test]
fn weights_give_the_population_back() {
    let world = World::new();
    let usual = world.usual().replace("count = 60", "count = 100000");
    world.call("run", &world.config(&usual), "census", &[]);
    let usual = world.usual().replace("count = 60", "count = 60\ndesign = \"uniform\"\nstratum_min = 3");
    succeeds(&world.call("run", &world.config(&usual), "sample", &[]));
    let share = |dir: &str, stratum: &str, class: &str| {
        let table = world.table(dir);
        let weight = |l: &minicube::Location| if l.strata[stratum] == class { l.weight } else { 0.0 };
        table.locations.iter().map(weight).sum::<f64>() / table.locations.len() as f64
    };
    // Climate leads the strata, so no merging goes across it and its share must come back exactly.
    for class in ["BWh", "BSh"] {
        let (all, some) = (share("census", "climate", class), share("sample", "climate", class));
        assert!((all - some).abs() < 1e-9, "{class}: {all} {some}");
    }
}

#[test]
fn strata_of_the_users_own_and_exclusions() {
    let world = World::new();
    let path = |name: &str| world.path(name).display().to_string();
    let more = format!(
        "[sampler.strata.soil]\nsource = \"{}\"\nclasses = {{ \"4\" = \"sand\", \"6\" = \"clay\" }}\n\
         [sampler.strata.height]\nsource = \"{}\"\nquantiles = 2\n\
         [sampler.exclude.west]\nsource = \"{}\"\nvalues = [4]\nmax_share = 0.5\n",
        path("climate.tif"),
        path("dem.tif"),
        path("climate.tif")
    );
    let forms = "strata = [\"slope\", \"geomorphon\", \"elevation\"]\nelevation_m = [50, 99]\ngeomorphon_search_m = 2000\n";
    let usual = world.usual().replace("dem.tif\"\n", &format!("dem.tif\"\n{forms}"));
    let config = world.config(&format!("{usual}{more}"));
    succeeds(&world.call("run", &config, "a", &[]));
    succeeds(&world.call("verify", &config, "a", &[]));
    let table = world.table("a");
    let names =
        ["climate", "elevation", "geomorphon", "height", "heterogeneity", "landcover", "slope", "soil"];
    assert_eq!(table.strata(), names);
    for location in &table.locations {
        let x = (location.lon - WEST) / SIZE;
        assert!(x > 0.38, "the west is excluded: {x}");
        assert_eq!(location.strata["soil"] == "clay", location.strata["climate"] == "BSh", "{location:?}");
        if x > 0.55 {
            // The plain of 100 m in the east.
            let found =
                (&*location.strata["elevation"], &*location.strata["geomorphon"], &*location.strata["slope"]);
            assert_eq!(found, ("≥ 99 m", "flat", "< 2 °"), "{location:?}");
            assert_eq!(location.attributes["elevation_m"], 100.0);
        }
    }
    let report = fs::read_to_string(world.path("a/sampler/report.html")).unwrap();
    assert!(report.contains("excluded: west"), "reasons are counted");
}

#[test]
fn a_target_table_is_met_and_rows_that_fit_nothing_are_gaps() {
    let world = World::new();
    let targets = "[[sampler.targets]]\nclasses = { climate = \"BWh\" }\nshare = 0.25\n\
                   [[sampler.targets]]\nclasses = { climate = \"BSh\", landcover = \"grassland\" }\nshare = 0.75\n";
    let usual = world.usual().replace("count = 60", "count = 60\ndesign = \"table\"");
    succeeds(&world.call("run", &world.config(&format!("{usual}{targets}")), "a", &[]));
    let table = world.table("a");
    let count = |climate: &str| table.locations.iter().filter(|l| l.strata["climate"] == climate).count();
    assert_eq!((count("BWh"), count("BSh")), (15, 45));
    assert!(
        table.locations.iter().all(|l| l.strata["climate"] == "BWh" || l.strata["landcover"] == "grassland")
    );

    let absent = targets.replace("\"BWh\"", "\"ET\"");
    let output = world.call("run", &world.config(&format!("{usual}{absent}")), "b", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("no cell is climate ET"), "{}", text(&output.stdout));
}

#[test]
fn a_budget_of_tiles_buffers_and_folds() {
    let world = World::new();
    let split = "split = { train = 0.5, val = 0.2, test = 0.3, block_km = 16, buffer_km = 6, folds = 4, stratify = \"climate\" }\n";
    let config = world.config(&format!("tiles_max = 3\nbalanced = true\n{split}{}", world.usual()));
    let output = world.call("run", &config, "a", &[]);
    let table = world.table("a");
    let short = table.locations.len() < 60;
    assert_eq!(output.status.code(), Some(i32::from(short)), "{}", text(&output.stdout));
    assert!(table.tiles().len() <= 3 && table.locations.len() >= 30, "{}", table.locations.len());
    for (i, a) in table.locations.iter().enumerate() {
        assert!(a.fold.is_some_and(|fold| fold < 4));
        for b in table.locations[..i].iter().filter(|b| b.split != a.split) {
            let (dx, dy) = ((a.lon - b.lon) * a.lat.to_radians().cos(), a.lat - b.lat);
            assert!(dx.hypot(dy) * 111.195 > 5.95, "{} {} and {} {}", a.id, a.split, b.id, b.split);
        }
    }
    let report = fs::read_to_string(world.path("a/sampler/report.html")).unwrap();
    assert!(report.contains("moved out of the buffers") && report.contains("The chosen tiles"));
}

/// The sampler's own table, judged: every location is found in its cell, with the shares that the run reported.
#[test]
fn a_table_is_judged() {
    let world = World::new();
    let config = world.config(&world.usual());
    succeeds(&world.call("run", &config, "a", &[]));
    let judge = |table: &Path| {
        Command::new(env!("CARGO_BIN_EXE_x1-sampler"))
            .arg("check")
            .arg(table)
            .arg("--config")
            .arg(&config)
            .arg("--dir")
            .arg(world.path("a"))
            .output()
            .unwrap()
    };
    for name in ["locations.parquet", "locations.csv", "locations.geojson"] {
        let found = succeeds(&judge(&world.path("a/sampler").join(name)));
        assert!(found.contains("in the population") && found.contains("60"), "{name}: {found}");
    }
    let report = fs::read_to_string(world.path("a/sampler/check-locations/report.html")).unwrap();
    assert!(report.contains("60 of 60 locations"), "all are found");

    // A drawn place twice, one in the lake, one far away.
    let (lon, lat) = (world.table("a").locations[0].lon, world.table("a").locations[0].lat);
    let csv = format!(
        "name,longitude,latitude\na,{lon},{lat}\nb,{},{lat}\nc,24.55,-19.65\nd,10,10\n",
        lon + 0.0001
    );
    fs::write(world.path("few.csv"), csv).unwrap();
    let found = succeeds(&judge(&world.path("few.csv")));
    let report = fs::read_to_string(world.path("a/sampler/check-few/report.html")).unwrap();
    assert!(report.contains("few: 2 of 4 locations"), "{found}");
    fs::write(world.path("none.csv"), "lon,lat\n10,10\n").unwrap();
    fails(&judge(&world.path("none.csv")), &["none of 1 locations", "none.csv"]);
    fails(&judge(&world.path("absent.csv")), &["absent.csv", "no such file"]);
}

#[test]
fn areas_by_text_and_by_country() {
    let world = World::new();
    let polygon = format!(
        "wkt = \"POLYGON (({WEST} {SOUTH}, {e} {SOUTH}, {e} {n}, {WEST} {n}, {WEST} {SOUTH}))\"\ncount = 60\n{}",
        world.rasters(),
        e = WEST + SIZE,
        n = SOUTH + SIZE
    );
    succeeds(&world.call("run", &world.config(&polygon), "wkt", &[]));
    succeeds(&world.call("run", &world.config(&world.usual()), "bbox", &[]));
    let ids = |dir: &str| world.table(dir).locations.into_iter().map(|l| l.id).collect::<Vec<_>>();
    assert_eq!(ids("wkt"), ids("bbox"));
    // All of the test area is in Botswana.
    let country = format!("countries = [\"Botswana\"]\ncount = 20\n{}", world.rasters());
    succeeds(&world.call("run", &world.config(&country), "country", &[]));
    assert_eq!(ids("country").len(), 20);
    let nowhere = country.replace("Botswana", "Botsvana");
    fails(&world.call("run", &world.config(&nowhere), "bad", &[]), &["Botsvana", "Botswana"]);
}

#[test]
fn the_same_bytes_for_any_number_of_threads_and_nothing_the_second_time() {
    let world = World::new();
    let config = world.config(&world.usual());
    for (dir, threads) in [("one", "1"), ("four", "4")] {
        succeeds(&world.call("run", &config, dir, &["--threads", threads]));
    }
    let bytes = |dir: &str| fs::read(world.path(dir).join("sampler/locations.parquet")).unwrap();
    assert_eq!(bytes("one"), bytes("four"));
    let report = |dir: &str| fs::read(world.path(dir).join("sampler/report.html")).unwrap();
    assert_eq!(report("one"), report("four"));

    let before = fs::metadata(world.path("one/sampler/locations.parquet")).unwrap().modified().unwrap();
    assert!(succeeds(&world.call("run", &config, "one", &[])).contains("nothing to do"));
    assert_eq!(
        fs::metadata(world.path("one/sampler/locations.parquet")).unwrap().modified().unwrap(),
        before
    );

    // Without the manifest the run was not finished: it is done again, to the same bytes.
    fs::remove_file(world.path("one/sampler/run.json")).unwrap();
    assert!(!succeeds(&world.call("run", &config, "one", &[])).contains("nothing to do"));
    assert_eq!(bytes("one"), bytes("four"));
}

/// `kill -9` at eight points of a run, spread by the golden ratio; at least five must hit a live process.
#[test]
fn a_killed_run_ends_in_the_same_bytes() {
    let world = World::new();
    let config = world.config(&world.usual());
    let clock = Instant::now();
    succeeds(&world.call("run", &config, "whole", &[]));
    let length = clock.elapsed();
    let table = |dir: &str| world.path(dir).join("sampler/locations.parquet");
    let expected = fs::read(table("whole")).unwrap();
    let mut hits = 0;
    for point in 1..=8 {
        let dir = format!("killed{point}");
        let mut child = Command::new(env!("CARGO_BIN_EXE_x1-sampler"))
            .args(["run", "--config"])
            .arg(&config)
            .arg("--dir")
            .arg(world.path(&dir))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(length.mul_f64(0.6 * (f64::from(point) * 0.618_034).fract()));
        child.kill().unwrap();
        hits += usize::from(!child.wait().unwrap().success());
        if table(&dir).exists() {
            assert_eq!(fs::read(table(&dir)).unwrap(), expected, "a table stands whole or not at all");
        }
        succeeds(&world.call("run", &config, &dir, &[]));
        assert_eq!(fs::read(table(&dir)).unwrap(), expected);
    }
    assert!(hits >= 5, "only {hits} of 8 kills hit a live run");
}

#[test]
fn designs_distances_and_caps_hold() {
    let world = World::new();
    let config = world
        .config(&format!("design = \"uniform\"\nmin_distance_m = 8000\nper_tile_max = 9\n{}", world.usual()));
    let output = world.call("run", &config, "a", &[]);
    let table = world.table("a");
    assert!(table.tiles().values().all(|locations| locations.len() <= 9));
    for (i, a) in table.locations.iter().enumerate() {
        for b in &table.locations[..i] {
            let (dx, dy) = ((a.lon - b.lon) * a.lat.to_radians().cos(), a.lat - b.lat);
            let metres = dx.hypot(dy) * 111_195.0;
            assert!(metres > 7_950.0, "{} and {}: {metres}", a.id, b.id);
        }
    }
    // A shortfall is a gap, not a silent smaller sample.
    let short = table.locations.len() < 60;
    assert_eq!(output.status.code(), Some(i32::from(short)), "{}", text(&output.stdout));
}

#[test]
fn more_locations_than_cells_is_a_reported_gap() {
    let world = World::new();
    let config = world.config(&world.usual().replace("count = 60", "count = 100000"));
    let output = world.call("run", &config, "a", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("could not be drawn"), "{}", text(&output.stdout));
    succeeds(&world.call("verify", &config, "a", &[]));
}

#[test]
fn a_png_with_crs_and_extent_equals_the_geotiff() {
    let world = World::new();
    raster(&world.path("climate.png"), "PNG", 24, |x, _| if x < 0.4 { 4 } else { 6 });
    let _ = fs::remove_file(world.path("climate.png.aux.xml"));
    let config = world.config(&world.usual());
    succeeds(&world.call("run", &config, "tif", &[]));
    let with_png = world.usual().replace("climate.tif", "climate.png");
    let config = world.config(&with_png);
    fails(&world.call("run", &config, "png", &[]), &["climate raster", "no reference system"]);
    let place = format!(
        "climate.png\"\ncrs = \"EPSG:4326\"\nextent = [{WEST}, {SOUTH}, {}, {}]",
        WEST + SIZE,
        SOUTH + SIZE
    );
    let config = world.config(&with_png.replace("climate.png\"", &place));
    succeeds(&world.call("run", &config, "png", &[]));
    assert_eq!(world.table("tif").locations, world.table("png").locations);
}

#[test]
fn verify_finds_a_changed_table() {
    let world = World::new();
    let config = world.config(&world.usual());
    succeeds(&world.call("run", &config, "a", &[]));
    let mut table = world.table("a");
    table.locations[0].weight *= 2.0;
    table.locations[1].bounds.x_min += 30.0;
    table.locations[2].lon += 0.001;
    table.locations[3].id = table.locations[4].id.clone();
    table.locations[5].col = 27;
    table.write(&world.path("a/sampler/locations.parquet")).unwrap();
    let output = world.call("verify", &config, "a", &[]);
    assert_eq!(output.status.code(), Some(1));
    let found = text(&output.stdout);
    for part in ["mean weight", "bounds", "centre", "twice", "not the tile's own"] {
        assert!(found.contains(part), "{part}: {found}");
    }
}

#[test]
fn bad_input_is_named() {
    let world = World::new();
    let run = |sampler: &str| world.call("run", &world.config(sampler), "bad", &[]);
    fails(&run("bbx = [1, 2, 3, 4]\n"), &["unknown key `bbx`", "did you mean `bbox`"]);
    fails(&run("count = 5\n"), &["found none"]);
    fails(&run("bbox = [10.0, 5.0, 11.0, 4.0]\n"), &["bbox: expected [west, south, east, north]"]);
    fails(&run("bbox = [10.0, 86.0, 11.0, 87.0]\n"), &["no Sentinel-2 tile"]);
    fails(&run("bbox = [24.0, -20.0, 24.01, -19.99]\n"), &["no candidate cell", "not wholly in the area"]);
    fails(&run("tiles = [\"35XYZ1\"]\n"), &["35XYZ1"]);
    fails(&run("aoi_file = \"missing.geojson\"\n"), &["missing.geojson"]);
    let missing = world.usual().replace("dem.tif", "absent.tif");
    fails(&run(&missing), &["dem raster", "absent.tif"]);
    let silent =
        world.usual().replace(&world.path("dem.tif").display().to_string(), "http://127.0.0.1:9/dem.tif");
    fails(&run(&silent), &["dem raster http://127.0.0.1:9/dem.tif: the server does not answer"]);
    let legend = world.usual().replace("cover.tif\"", "cover.tif\"\nlegend = \"lc100\"");
    fails(&run(&legend), &["landcover raster", "value 10", "lc100"]);
    fails(&run("bbox = [0.0, 0.0, 1.0, 1.0]\n[sampler.split]\ntrain = 0.5\n"), &["sum 1"]);
    let elsewhere = format!("bbox = [10.0, 48.0, 11.0, 49.0]\n{}", world.rasters());
    fails(&run(&elsewhere), &["no candidate cell", "no land-cover data"]);
    // A raster that ends in the middle of its data.
    let whole = fs::read(world.path("cover.tif")).unwrap();
    fs::write(world.path("cover.tif"), &whole[..whole.len() / 2]).unwrap();
    fails(&run(&world.usual()), &["landcover raster", "cover.tif"]);
    assert!(!world.path("bad/sampler/locations.parquet").exists());
    let output = world.call("run", &world.config(&world.usual()), "bad", &["--shard", "1/2"]);
    fails(&output, &["--shard"]);
}
