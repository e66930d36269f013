//! Months of weather from a Zarr store: only the chunks needed, as NetCDF.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::server::{Request, Response, TestServer};
use common::{TestProject, assert_same, ledger};
use minicube::NaiveDate;
use minicube::run::{Ctx, Finish};
use ndarray::{Array3, Ix3};
use serde_json::{Value, json};

/// Six-hourly from 31 December 2020, latitudes 80 to -80 and longitudes 0 to 350, ten degrees apart.
const STEPS: usize = 140;
const ROWS: usize = 17;
const COLS: usize = 36;
/// Shape of a chunk: a third of the globe.
const CHUNK: [usize; 3] = [40, ROWS, 12];
/// 31 December 2020 is day 44 194 since 1900.
const FIRST_HOUR: usize = 44_194 * 24;
/// Steps from 1 January to 31 January, and 0:00 of 1 February.
const JANUARY: std::ops::Range<usize> = 4..129;

fn kelvin(step: usize, row: usize, col: usize) -> i16 {
    (step * 100 + row + col) as i16
}

fn metres(step: usize, row: usize, col: usize) -> f32 {
    (step * 10_000 + row * 100 + col) as f32 / 1e6
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(1));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// All files of a store of version 2 by their paths.
fn store() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let array = |shape: Value, chunks: Value, kind: &str, fill: Value| {
        json!({"zarr_format": 2, "shape": shape, "chunks": chunks, "dtype": kind, "order": "C", "filters": null,
               "compressor": {"id": "zlib", "level": 1}, "fill_value": fill})
    };
    let dims = json!(["time", "latitude", "longitude"]);
    let metadata = json!({"zarr_consolidated_format": 1, "metadata": {
        ".zgroup": {"zarr_format": 2},
        ".zattrs": {},
        "time/.zarray": array(json!([STEPS]), json!([100]), "<i8", Value::Null),
        "time/.zattrs": {"_ARRAY_DIMENSIONS": ["time"], "units": "hours since 1900-01-01",
                         "calendar": "proleptic_gregorian"},
        "latitude/.zarray": array(json!([ROWS]), json!([ROWS]), "<f4", json!("NaN")),
        "latitude/.zattrs": {"_ARRAY_DIMENSIONS": ["latitude"]},
        "longitude/.zarray": array(json!([COLS]), json!([COLS]), "<f4", json!("NaN")),
        "longitude/.zattrs": {"_ARRAY_DIMENSIONS": ["longitude"]},
        "2m_temperature/.zarray": array(json!([STEPS, ROWS, COLS]), json!(CHUNK), "<i2", json!(-32767)),
        "2m_temperature/.zattrs": {"_ARRAY_DIMENSIONS": dims, "units": "K", "long_name": "2 metre temperature",
                                   "scale_factor": 0.01, "add_offset": 273.15},
        "total_precipitation/.zarray": array(json!([STEPS, ROWS, COLS]), json!(CHUNK), "<f4", json!("NaN")),
        "total_precipitation/.zattrs": {"_ARRAY_DIMENSIONS": dims, "units": "m", "short_name": "tp"}}});
    files.insert(".zmetadata".to_owned(), metadata.to_string().into_bytes());
    for part in 0..2 {
        // The last chunk of an axis is as long as the others.
        let hours: Vec<u8> = (part * 100..part * 100 + 100)
            .flat_map(|i| ((FIRST_HOUR + 6 * i) as i64).to_le_bytes())
            .collect();
        files.insert(format!("time/{part}"), zlib(&hours));
    }
    let axis =
        |values: &mut dyn Iterator<Item = f32>| zlib(&values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>());
    files.insert("latitude/0".into(), axis(&mut (0..ROWS).map(|row| 80.0 - 10.0 * row as f32)));
    files.insert("longitude/0".into(), axis(&mut (0..COLS).map(|col| 10.0 * col as f32)));
    for (part, third) in (0..4).flat_map(|part| (0..3).map(move |third| (part, third))) {
        let cells = (0..CHUNK[0]).flat_map(|step| {
            (0..CHUNK[1]).flat_map(move |row| (0..CHUNK[2]).map(move |col| (step, row, col)))
        });
        let cells = cells.map(|(step, row, col)| (part * CHUNK[0] + step, row, third * CHUNK[2] + col));
        let t2m: Vec<u8> =
            cells.clone().flat_map(|(s, r, c)| kelvin(s % STEPS, r, c).to_le_bytes()).collect();
        let tp: Vec<u8> = cells.flat_map(|(s, r, c)| metres(s, r, c).to_le_bytes()).collect();
        files.insert(format!("2m_temperature/{part}.0.{third}"), zlib(&t2m));
        files.insert(format!("total_precipitation/{part}.0.{third}"), zlib(&tp));
    }
    files
}

fn serve(files: BTreeMap<String, Vec<u8>>) -> TestServer {
    TestServer::start(move |_, request: &Request| {
        match request.target.strip_prefix("/era5.zarr/").and_then(|path| files.get(path)) {
            Some(bytes) => Response::file(request, bytes),
            None => Response::status(404),
        }
    })
}

/// Tiles at 6 W and 8 E on 51 N; the outline of their cells reaches 0.1 degrees around.
fn project(server: &TestServer, margin: f64) -> TestProject {
    project_at(server, margin, [-6.0, 8.0])
}

fn project_at(server: &TestServer, margin: f64, lons: [f64; 2]) -> TestProject {
    let project = TestProject::new("30UVB", (lons[0], 51.0), &[(11, 11)], "");
    let path = project.folder.path().join("data/sampler/locations.parquet");
    let mut table = minicube::LocationTable::read(&path).unwrap();
    let mut east = table.locations[0].clone();
    (east.id, east.tile, east.lon) = ("32UMB_1111".into(), "32UMB".into(), lons[1]);
    east.polygon.iter_mut().for_each(|point| point.lon += lons[1] - lons[0]);
    table.locations.push(east);
    table.write(&path).unwrap();
    set_margin(&project, server, margin);
    project
}

fn set_margin(project: &TestProject, server: &TestServer, margin: f64) {
    project.set_download(&format!(
        "assets = []\nretries = 1\nera5 = {{ zarr = \"{}/era5.zarr\", margin_deg = {margin:?}, variables = \
         [\"total_precipitation\", \"2m_temperature\"] }}",
        server.base
    ));
}

fn run(project: &TestProject, last: &str) -> Finish {
    let mut plan = project.plan();
    plan.last = last.parse::<NaiveDate>().unwrap();
    x2_downloader::run(&plan, &Ctx::quiet(2), false).unwrap()
}

fn january(project: &TestProject) -> netcdf::File {
    netcdf::open(project.raw().join("era5/era5_202101.nc")).unwrap()
}

fn values(file: &netcdf::File, name: &str) -> Array3<f32> {
    file.variable(name).unwrap().get::<f32, _>(..).unwrap().into_dimensionality::<Ix3>().unwrap()
}

fn chunks_asked(server: &TestServer) -> BTreeSet<String> {
    let targets = server.log().into_iter().map(|request| request.target);
    let chunks = targets.filter_map(|target| target.strip_prefix("/era5.zarr/").map(str::to_owned));
    chunks.filter(|path| path.contains(".0.")).collect()
}

/// With half a step of margin the western tile is near 10 W, the eastern one near 10 E; both near 50 N.
#[test]
fn a_month_holds_the_points_near_the_tiles_and_asks_for_no_other_chunk() {
    let server = serve(store());
    let project = project(&server, 0.0);
    let finish = run(&project, "2021-01-31");
    assert_eq!(finish.code(), 0, "{}", finish.text());
    let file = january(&project);
    let axis = |name: &str| file.variable(name).unwrap().get_values::<f64, _>(..).unwrap();
    assert_eq!((axis("latitude"), axis("longitude")), (vec![50.0], vec![-10.0, 0.0, 10.0]));
    let hours = file.variable("time").unwrap().get_values::<i32, _>(..).unwrap();
    let expected: Vec<i32> = JANUARY.map(|step| (FIRST_HOUR + 6 * step) as i32).collect();
    assert_eq!(hours, expected);
    let units = |name: &str| file.variable(name).unwrap().attribute_value("units").unwrap().unwrap();
    assert_eq!(units("time"), "hours since 1900-01-01 00:00:00.0".into());
    assert_eq!((units("t2m"), units("tp")), ("K".into(), "m".into()));

    // 10 W is column 35, 10 E column 1; 50 N is row 3. 0 E is in the window and near no tile.
    let (t2m, tp) = (values(&file, "t2m"), values(&file, "tp"));
    assert_eq!((t2m.dim(), tp.dim()), ((125, 1, 3), (125, 1, 3)));
    for (at, step) in JANUARY.enumerate() {
        for (place, col) in [(0, 35), (2, 1)] {
            let expected = (f64::from(kelvin(step, 3, col)) * 0.01 + 273.15) as f32;
            assert_eq!(t2m[(at, 0, place)], expected, "step {step}, column {col}");
            assert_eq!(tp[(at, 0, place)], metres(step, 3, col), "step {step}, column {col}");
        }
        assert!(t2m[(at, 0, 1)].is_nan() && tp[(at, 0, 1)].is_nan());
    }
    let kept = file.variable("minicube_kept").unwrap().get_values::<i8, _>(..).unwrap();
    assert_eq!(kept, [1, 0, 1]);

    // Steps 4 to 128 are in four chunks; the second third of the globe holds no wanted point.
    let names = ["2m_temperature", "total_precipitation"];
    let expected: BTreeSet<String> = names
        .iter()
        .flat_map(|name| (0..4).flat_map(move |part| [0, 2].map(|third| format!("{name}/{part}.0.{third}"))))
        .collect();
    assert_eq!(chunks_asked(&server), expected);
    assert_eq!(server.log().iter().filter(|request| request.target.contains(".0.")).count(), 16, "each once");
    let rows = ledger(&project.raw());
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].0.as_str(), rows[0].4.as_str()), ("era5_202101.nc", "fetched"));
    assert!(rows[0].5.as_ref().unwrap().starts_with("from 16 chunks of "), "{rows:?}");
    assert_eq!(x2_downloader::verify(&project.plan(), &Ctx::quiet(1)).unwrap().code(), 0);
}

/// The metadata and axes come twice, with the plan and with the run.
#[test]
fn a_plan_counts_the_chunks() {
    let server = serve(store());
    let project = project(&server, 0.0);
    let mut plan = project.plan();
    plan.last = NaiveDate::from_ymd_opt(2021, 1, 31).unwrap();
    let options = x2_downloader::EstimateOptions { exact: false, rate_mb_s: 10.0 };
    let said = x2_downloader::estimate(&plan, &Ctx::quiet(1), options).unwrap();
    let sizes_asked = server.log().iter().filter(|request| request.target.contains(".0.")).count();
    assert_eq!(sizes_asked, 16, "eight chunks of each array are all there are: {}", said.text());
    assert_eq!(run(&project, "2021-01-31").code(), 0);
    let read = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(project.raw().join(name)).unwrap()).unwrap()
    };
    let (plan, record) = (read(".ledger/plan.json"), read("run.json"));
    let (planned, received) =
        (plan["bytes"].as_f64().unwrap(), record["notes"]["received_bytes"].as_f64().unwrap());
    assert!((planned / received - 1.0).abs() < 0.02, "planned {planned}, received {received}");
    assert_eq!(plan["is_partial"], false);
}

#[test]
fn at_another_time_the_bytes_are_the_same() {
    let server = serve(store());
    let (one, two) = (project(&server, 15.0), project(&server, 15.0));
    assert_eq!(run(&one, "2021-01-31").code(), 0);
    // HDF5 tells times by the second.
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(run(&two, "2021-01-31").code(), 0);
    assert_same(&one.data(), &two.data());
}

#[test]
fn a_chunk_that_is_not_there_is_fill_and_is_told_and_a_month_of_them_is_a_gap() {
    let mut files = store();
    files.remove("total_precipitation/1.0.0").unwrap();
    let server = serve(files.clone());
    let sparse = project(&server, 0.0);
    assert_eq!(run(&sparse, "2021-01-31").code(), 0);
    let tp = values(&january(&sparse), "tp");
    // Chunk 1 holds the steps 40 to 79, which are 36 to 75 of the month.
    for at in 0..125 {
        assert_eq!(tp[(at, 0, 2)].is_nan(), (36..76).contains(&at), "{at}");
        assert!(!tp[(at, 0, 0)].is_nan());
    }
    let reason = ledger(&sparse.raw())[0].5.clone().unwrap();
    assert!(
        reason.contains("from 16 chunks") && reason.ends_with("; 1 are not there: fill value"),
        "{reason}"
    );

    files.retain(|name, _| !name.contains(".0."));
    let server = serve(files);
    let empty = project(&server, 0.0);
    let finish = run(&empty, "2021-01-31");
    assert!(finish.code() == 1 && finish.text().contains("none of its 16 chunks"), "{}", finish.text());
    assert!(empty.data().is_empty(), "{:?}", empty.data().keys());
}

#[test]
fn what_was_kept_is_not_fetched_again_and_a_month_stands_alone() {
    let server = serve(store());
    let project = project(&server, 15.0);
    // 1 to 3 February are beyond the last steps.
    let finish = run(&project, "2021-02-03");
    assert_eq!(finish.code(), 0, "{}", finish.text());
    let names: Vec<String> = project.data().into_keys().collect();
    assert_eq!(names, ["era5/era5_202101.nc", "era5/era5_202102.nc"]);
    let january = january(&project);
    assert_eq!(january.variable("time").unwrap().len(), 124, "0:00 of 1 February is in February");
    let asked = server.log().len();
    assert!(run(&project, "2021-02-03").text().contains("nothing to do"));
    assert_eq!(server.log().len(), asked);

    let before = project.data();
    set_margin(&project, &server, 0.0);
    assert_eq!(run(&project, "2021-02-03").code(), 0);
    let again: Vec<String> = server.log()[asked..].iter().map(|request| request.target.clone()).collect();
    assert!(again.iter().all(|target| !target.contains(".0.")), "{again:?}");
    assert_same(&before, &project.data());
    set_margin(&project, &server, 25.0);
    assert_eq!(run(&project, "2021-02-03").code(), 0);
    assert!(server.log()[asked..].iter().any(|request| request.target.contains(".0.")));
}

/// Tiles at 100 E and 115 W: the window between them reaches over the second third of the globe, where nobody is.
#[test]
fn a_chunk_within_the_window_that_no_tile_is_near_is_not_fetched() {
    let server = serve(store());
    let project = project_at(&server, 0.0, [100.0, -115.0]);
    assert_eq!(run(&project, "2021-01-31").code(), 0);
    let tp = values(&january(&project), "tp");
    // 100 E is column 10. Of 250 and 240 E both are within half a step of 245 E, columns 25 and 24.
    assert_eq!(tp.dim(), (125, 1, 16), "100 to 250 E");
    for (place, col) in [(0, 10), (14, 24), (15, 25)] {
        assert_eq!(tp[(7, 0, place)], metres(11, 3, col));
    }
    assert!((1..14).all(|place| tp[(7, 0, place)].is_nan()));
    let asked = chunks_asked(&server);
    assert!(asked.len() == 16 && asked.iter().all(|path| !path.ends_with(".0.1")), "{asked:?}");
}

/// At first the store ends on 24 January, later it goes on.
#[test]
fn a_month_that_a_store_had_not_whole_is_not_enough() {
    let mut files = store();
    let mut metadata: Value = serde_json::from_slice(&files[".zmetadata"]).unwrap();
    for name in ["time", "2m_temperature", "total_precipitation"] {
        metadata["metadata"][format!("{name}/.zarray")]["shape"][0] = json!(100);
    }
    files.insert(".zmetadata".into(), metadata.to_string().into_bytes());
    let server = serve(files);
    let project = project(&server, 15.0);
    assert_eq!(run(&project, "2021-01-31").code(), 0);
    assert_eq!(january(&project).variable("time").unwrap().len(), 96);
    let reason = ledger(&project.raw())[0].5.clone().unwrap();
    assert!(reason.ends_with("; the store ends 576 hours after its first day began"), "24 days: {reason}");
    let longer = serve(store());
    set_margin(&project, &longer, 0.0);
    assert_eq!(run(&project, "2021-01-31").code(), 0);
    assert_eq!(january(&project).variable("time").unwrap().len(), 125);
    assert!(!ledger(&project.raw())[0].5.as_ref().unwrap().contains("ends"));
}

/// The first transfer of each chunk has changed bytes.
#[test]
fn a_damaged_chunk_is_fetched_again() {
    let files = store();
    let seen = std::sync::Mutex::new(BTreeSet::new());
    let server = TestServer::start(move |_, request: &Request| {
        let Some(bytes) = request.target.strip_prefix("/era5.zarr/").and_then(|path| files.get(path)) else {
            return Response::status(404);
        };
        let mut response = Response::file(request, bytes);
        if request.target.contains(".0.") && seen.lock().unwrap().insert(request.target.clone()) {
            let middle = response.body.len() / 2;
            response.body[middle..middle + 16].iter_mut().for_each(|byte| *byte = !*byte);
        }
        response
    });
    let damaged = project(&server, 0.0);
    assert_eq!(run(&damaged, "2021-01-31").code(), 0);
    let calm_server = serve(store());
    let calm = project(&calm_server, 0.0);
    assert_eq!(run(&calm, "2021-01-31").code(), 0);
    let bare = |project: &TestProject| values(&january(project), "tp").mapv(f32::to_bits);
    assert_eq!(bare(&damaged), bare(&calm));
}

/// The server goes away after the fifth chunk; later it is back. One request at a time, so that none is in flight.
#[test]
fn what_an_interrupted_month_had_is_not_asked_for_again() {
    let files = store();
    let (served, down) =
        (Arc::new(std::sync::Mutex::new(0)), Arc::new(std::sync::atomic::AtomicBool::new(true)));
    let is_down = Arc::clone(&down);
    let server = TestServer::start(move |_, request: &Request| {
        let Some(bytes) = request.target.strip_prefix("/era5.zarr/").and_then(|path| files.get(path)) else {
            return Response::status(404);
        };
        if request.target.contains(".0.") {
            let mut served = served.lock().unwrap();
            if *served == 5 && is_down.load(std::sync::atomic::Ordering::SeqCst) {
                return Response::status(503);
            }
            *served += 1;
        }
        Response::file(request, bytes)
    });
    let project = project(&server, 0.0);
    let text = std::fs::read_to_string(project.config()).unwrap();
    std::fs::write(project.config(), text.replace("retries = 1", "retries = 0\nconnections = 1")).unwrap();
    let finish = run(&project, "2021-01-31");
    assert!(finish.code() == 1 && finish.text().contains("503"), "{}", finish.text());
    assert!(project.data().is_empty(), "{:?}", project.data().keys());
    down.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(run(&project, "2021-01-31").code(), 0);
    let mut asked: Vec<String> = server.log().into_iter().map(|request| request.target).collect();
    asked.retain(|target| target.contains(".0."));
    asked.sort();
    assert_eq!(asked.len(), 16 + 1, "each once, but for the one that was refused: {asked:?}");
    assert!(!project.raw().join(".ledger/era5/202101.scratch").exists());

    let calm_server = serve(store());
    let calm = self::project(&calm_server, 0.0);
    assert_eq!(run(&calm, "2021-01-31").code(), 0);
    assert_same(&calm.data(), &project.data());
    assert_eq!(ledger(&calm.raw()), ledger(&project.raw()));
}

#[test]
fn what_a_store_lacks_is_a_gap_with_a_reason() {
    let document = |change: &dyn Fn(&mut Value)| {
        let mut files = store();
        let mut metadata: Value = serde_json::from_slice(&files[".zmetadata"]).unwrap();
        change(&mut metadata["metadata"]);
        files.insert(".zmetadata".into(), metadata.to_string().into_bytes());
        files
    };
    let mut bare = store();
    bare.remove(".zmetadata");
    let mut page = store();
    page.insert(".zmetadata".into(), b"<html>log in</html>".to_vec());
    for (files, expected) in [
        (bare, "zarr.json: HTTP status 404"),
        (page, ".zmetadata: not JSON"),
        (
            document(&|m| drop(m.as_object_mut().unwrap().remove("2m_temperature/.zarray"))),
            "2m_temperature: no such array",
        ),
        (document(&|m| m["time/.zattrs"]["units"] = json!("moons since 1900-01-01")), "moons since"),
        (
            document(&|m| m["2m_temperature/.zattrs"]["_ARRAY_DIMENSIONS"][1] = json!("level")),
            "found time, level, longitude",
        ),
        (
            document(&|m| m["2m_temperature/.zarray"]["compressor"] = json!({"id": "unheard-of"})),
            "unheard-of",
        ),
    ] {
        let server = serve(files);
        let finish = run(&project(&server, 0.0), "2021-01-31");
        assert!(finish.code() == 1 && finish.text().contains(expected), "{expected}: {}", finish.text());
    }
}

/// A store of version 3 made by its library: chunks in shards, packed with zstd, longitudes from -180.
#[test]
fn a_sharded_store_of_version_3() {
    let dir = tempfile::tempdir().unwrap();
    make_v3(dir.path());
    let root = dir.path().to_owned();
    let server = TestServer::start(move |_, request: &Request| {
        let path = request.target.strip_prefix("/era5.zarr/").unwrap();
        match std::fs::read(root.join(path)) {
            Ok(bytes) => Response::file(request, &bytes),
            Err(_) => Response::status(404),
        }
    });
    let project = project(&server, 0.0);
    project.set_download(&format!(
        "assets = []\nera5 = {{ zarr = \"{}/era5.zarr\", margin_deg = 0.0, variables = [\"surface_pressure\"] }}",
        server.base
    ));
    let finish = run(&project, "2021-01-01");
    assert_eq!(finish.code(), 0, "{}", finish.text());
    let file = january(&project);
    let axis = |name: &str| file.variable(name).unwrap().get_values::<f64, _>(..).unwrap();
    assert_eq!((axis("latitude"), axis("longitude")), (vec![50.0], vec![-10.0, 0.0, 10.0]));
    let sp = values(&file, "sp");
    // Latitudes ascend: 50 N is row 13. Longitudes begin at 180 W: 10 W is column 17.
    for hour in 0..25 {
        assert_eq!(sp[(hour, 0, 0)], (hour * 10_000 + 13 * 100 + 17) as f32);
        assert_eq!(sp[(hour, 0, 2)], (hour * 10_000 + 13 * 100 + 19) as f32);
    }
    let asked = server.log().iter().filter(|request| request.target.contains("/surface_pressure/c/")).count();
    assert_eq!(asked, 3, "shards of 12 of the 25 hours, all of the globe");
}

fn make_v3(root: &Path) {
    use zarrs::array::codec::ZstdCodec;
    use zarrs::array::codec::array_to_bytes::sharding::ShardingCodecBuilder;
    use zarrs::array::{ArrayBuilder, data_type};
    use zarrs::filesystem::FilesystemStore;
    let store = Arc::new(FilesystemStore::new(root).unwrap());
    let mut consolidated = serde_json::Map::new();
    let mut note = |name: &str, metadata: Value| consolidated.insert(name.to_owned(), metadata);
    let axes: [(&str, Vec<f64>); 3] = [
        ("time", (0..36).map(f64::from).collect()),
        ("latitude", (0..17).map(|row| f64::from(row) * 10.0 - 80.0).collect()),
        ("longitude", (0..36).map(|col| f64::from(col) * 10.0 - 180.0).collect()),
    ];
    for (name, values) in axes {
        let mut builder = ArrayBuilder::new(
            vec![values.len() as u64],
            vec![values.len() as u64],
            data_type::float64(),
            f64::NAN,
        );
        builder.dimension_names([name].into());
        let attributes = json!({"units": "hours since 2021-01-01"});
        builder.attributes(attributes.as_object().unwrap().clone());
        let array = builder.build(Arc::clone(&store), &format!("/{name}")).unwrap();
        array.store_chunk(&[0], &values).unwrap();
        note(name, serde_json::to_value(array.metadata()).unwrap());
    }
    let mut builder = ArrayBuilder::new(vec![36, 17, 36], vec![12, 17, 36], data_type::float32(), f32::NAN);
    let inner = vec![
        std::num::NonZeroU64::new(4).unwrap(),
        std::num::NonZeroU64::new(17).unwrap(),
        std::num::NonZeroU64::new(9).unwrap(),
    ];
    let mut sharding = ShardingCodecBuilder::new(inner, &data_type::float32());
    sharding.bytes_to_bytes_codecs(vec![Arc::new(ZstdCodec::new(1, false))]);
    builder.array_to_bytes_codec(Arc::new(sharding.build()));
    builder.dimension_names(["time", "latitude", "longitude"].into());
    let array = builder.build(Arc::clone(&store), "/surface_pressure").unwrap();
    for part in 0..3_u64 {
        let values: Vec<f32> = (0..12)
            .flat_map(|step| (0..17).flat_map(move |row| (0..36).map(move |col| (step, row, col))))
            .map(|(step, row, col)| ((part * 12 + step) * 10_000 + row * 100 + col) as f32)
            .collect();
        array.store_chunk(&[part, 0, 0], &values).unwrap();
    }
    note("surface_pressure", serde_json::to_value(array.metadata()).unwrap());
    let group = json!({"zarr_format": 3, "node_type": "group", "attributes": {},
                       "consolidated_metadata":
                           {"kind": "inline", "must_understand": false, "metadata": consolidated}});
    std::fs::write(root.join("zarr.json"), group.to_string()).unwrap();
}
