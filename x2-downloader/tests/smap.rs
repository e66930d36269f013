//! SMAP granules cut on arrival, from a listing and from a search.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::server::{Request, Response, TestServer};
use common::{TestProject, assert_same, ledger};
use hdf5::File;
use hdf5::types::{FixedAscii, VarLenUnicode};
use minicube::NaiveDate;
use minicube::run::{Ctx, Failure, Finish};
use ndarray::Array2;
use serde_json::json;

const ROWS: usize = 203;
const COLS: usize = 482;
/// Cell of 26.5 E 23 S: (26.5 + 180) / 360 * 482 = 276.5, and the northing of 23 S is -2 857 911 m, which is
/// (7 314 541 + 2 857 911) / 72 064.4 = 141.2 cells from the upper edge.
const HERE: (f64, f64) = (26.5, -23.0);
const HERE_CELL: (usize, usize) = (141, 276);
/// Cell of 0.1 E on the equator, which is the middle of row 101.
const THERE: (f64, f64) = (0.1, 0.0);
const THERE_CELL: (usize, usize) = (101, 241);
/// In the same cell as `HERE`, whose edges are 26.2 and 26.9 E.
const BESIDE: (f64, f64) = (26.6, -23.1);
const FILL: f32 = -9999.0;

fn value(variable: usize, row: usize, col: usize) -> f32 {
    (variable * 1_000_000 + row * 1000 + col) as f32
}

/// A granule of the layout of SPL4SMGP on a grid of 72 km.
fn granule(hour: usize) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("granule.h5");
    let file = File::create(&path).unwrap();
    let text = |at: &hdf5::Location, name: &str, text: &str| {
        let text: VarLenUnicode = text.parse().unwrap();
        at.new_attr::<VarLenUnicode>().create(name).unwrap().write_scalar(&text).unwrap();
    };
    text(&file, "Source", "made by hand");
    for (index, name) in ["sm_surface", "sm_rootzone", "surface_pressure", "surface_temp"].iter().enumerate()
    {
        let values =
            Array2::from_shape_fn((ROWS, COLS), |(row, col)| value(index, row, col) + hour as f32 / 16.0);
        let group =
            file.group("Geophysical_Data").or_else(|_| file.create_group("Geophysical_Data")).unwrap();
        let data =
            group.new_dataset_builder().deflate(3).chunk((29, 50)).with_data(&values).create(*name).unwrap();
        data.new_attr::<f32>().create("_FillValue").unwrap().write_scalar(&FILL).unwrap();
        let units = FixedAscii::<8>::from_ascii("m3 m-3").unwrap();
        data.new_attr::<FixedAscii<8>>().create("units").unwrap().write_scalar(&units).unwrap();
        text(&data, "long_name", "soil moisture");
        text(&data, "grid_mapping", "EASE2_global_projection");
        text(&data, "CLASS", "of no use elsewhere");
    }
    let rows = Array2::from_shape_fn((ROWS, COLS), |(row, _)| row as u32);
    file.new_dataset_builder().with_data(&rows).create("cell_row").unwrap();
    let (x, y) = axes();
    for (name, axis) in [("x", &x), ("y", &y)] {
        text(&file.new_dataset_builder().with_data(axis).create(name).unwrap(), "units", "m");
    }
    file.new_dataset_builder().with_data(&[hour as f64]).create("time").unwrap();
    let mapping = file.new_dataset::<FixedAscii<1>>().shape(1).create("EASE2_global_projection").unwrap();
    text(&mapping, "grid_mapping_name", "lambert_cylindrical_equal_area");
    drop(mapping);
    file.close().unwrap();
    fs::read(path).unwrap()
}

fn axes() -> (Vec<f64>, Vec<f64>) {
    let cell = 2.0 * 17_367_530.445_161_5 / COLS as f64;
    let x = (0..COLS).map(|col| (col as f64 + 0.5) * cell - 17_367_530.445_161_5).collect();
    (x, (0..ROWS).map(|row| 7_314_540.830_638_6 - (row as f64 + 0.5) * cell).collect())
}

fn listing() -> Response {
    Response::ok("<a href=\"SMAP_T0130_V1_001.h5\">x</a><a href=\"SMAP_T0430_V1_001.h5\">x</a>")
}

fn answer(request: &Request) -> Response {
    match request.target.as_str() {
        "/smap/2021.01.01/" => listing(),
        target if target.contains("T0130") => Response::file(request, &granule(1)),
        target if target.contains("T0430") => Response::file(request, &granule(4)),
        _ => Response::status(404),
    }
}

fn project(server: &TestServer, places: &[(f64, f64)], more: &str) -> TestProject {
    let project = TestProject::new("35KMQ", HERE, &[(11, 11)], "");
    set_places(&project, places);
    set_smap(&project, server, more);
    project
}

fn set_smap(project: &TestProject, server: &TestServer, more: &str) {
    let text = format!("assets = []\nsmap = {{ listing = \"{}/smap\"{more} }}", server.base);
    project.set_download(&text);
}

fn set_places(project: &TestProject, places: &[(f64, f64)]) {
    let cells: Vec<(usize, usize)> = (0..places.len()).map(|i| (11, 11 + i)).collect();
    project.set_cells("35KMQ", HERE, &cells);
    let path = project.folder.path().join("data/sampler/locations.parquet");
    let mut table = minicube::LocationTable::read(&path).unwrap();
    for (location, (lon, lat)) in table.locations.iter_mut().zip(places) {
        (location.lon, location.lat) = (*lon, *lat);
    }
    table.write(&path).unwrap();
}

fn try_run(project: &TestProject) -> Result<Finish, Failure> {
    let mut plan = project.plan();
    plan.last = NaiveDate::from_ymd_opt(2021, 1, 1).unwrap();
    x2_downloader::run(&plan, &Ctx::quiet(2), false)
}

fn run(project: &TestProject) {
    let finish = try_run(project).unwrap();
    assert_eq!(finish.code(), 0, "{}", finish.text());
}

fn granules_asked(server: &TestServer) -> usize {
    server.log().iter().filter(|request| request.target.ends_with(".h5")).count()
}

fn open(project: &TestProject, name: &str) -> File {
    File::open(project.raw().join("smap/20210101").join(name)).unwrap()
}

/// The cell that Level 1 takes for a place: the nearest by `x` and `y` of the file.
fn cell_of(file: &File, (row, col): (usize, usize)) -> (usize, usize) {
    let (x, y) = axes();
    let at = |name: &str, value: f64| {
        let axis = file.dataset(name).unwrap().read_raw::<f64>().unwrap();
        axis.iter().position(|center| *center == value).unwrap()
    };
    (at("y", y[row]), at("x", x[col]))
}

#[test]
fn a_granule_is_cut_to_the_wanted_variables_and_cells() {
    let server = TestServer::start(|_, request| answer(request));
    let project = project(&server, &[HERE, THERE], ", window_px = 4");
    run(&project);
    let file = open(&project, "SMAP_T0130_V1_001.h5");

    // Squares of 4: one cell before the centre, two behind. Rows 100..104 and 140..144, columns 240..244 and 275..279.
    let subset = file.attr("minicube_subset").unwrap().read_raw::<i64>().unwrap();
    assert_eq!(subset, [100, 240, 44, 39, 203, 482]);
    let in_square = |row: usize, col: usize| {
        let near = |(r, c): (usize, usize)| (r - 1..r + 3).contains(&row) && (c - 1..c + 3).contains(&col);
        near(HERE_CELL) || near(THERE_CELL)
    };
    let names = file.group("Geophysical_Data").unwrap().member_names().unwrap();
    assert_eq!(names, ["sm_rootzone", "sm_surface", "surface_pressure"], "surface_temp is not wanted");
    for (index, name) in ["sm_surface", "sm_rootzone", "surface_pressure"].iter().enumerate() {
        let data = file.dataset(&format!("Geophysical_Data/{name}")).unwrap();
        let values = data.read_2d::<f32>().unwrap();
        for ((row, col), found) in values.indexed_iter() {
            let (row, col) = (row + 100, col + 240);
            let expected = if in_square(row, col) { value(index, row, col) + 1.0 / 16.0 } else { FILL };
            assert_eq!(*found, expected, "{name} {row} {col}");
        }
        assert_eq!(data.attr("_FillValue").unwrap().read_raw::<f32>().unwrap(), [FILL]);
        let units = data.attr("units").unwrap().read_scalar::<FixedAscii<256>>().unwrap();
        assert_eq!(units.as_str(), "m3 m-3");
        let text = |name: &str| data.attr(name).unwrap().read_scalar::<VarLenUnicode>().unwrap().to_string();
        assert_eq!(
            (text("long_name"), text("grid_mapping")),
            ("soil moisture".into(), "EASE2_global_projection".into())
        );
        assert!(data.attr("CLASS").is_err());
    }
    let (row, col) = cell_of(&file, HERE_CELL);
    let rows = file.dataset("cell_row").unwrap().read_2d::<u32>().unwrap();
    let kept = file.dataset("minicube_kept").unwrap().read_2d::<u8>().unwrap();
    assert_eq!((rows[(row, col)], kept[(row, col)], kept[(0, 38)]), (141, 1, 0));
    assert_eq!(kept.iter().filter(|kept| **kept == 1).count(), 32);
    assert_eq!(file.dataset("time").unwrap().read_raw::<f64>().unwrap(), [1.0]);
    assert!(file.dataset("EASE2_global_projection").unwrap().attr("grid_mapping_name").is_ok());
    assert_eq!(file.attr("Source").unwrap().read_scalar::<VarLenUnicode>().unwrap().as_str(), "made by hand");

    let whole = granule(1);
    let rows = ledger(&project.raw());
    let (_, _, _, _, status, reason) = rows.iter().find(|row| row.0.contains("T0130")).unwrap();
    let expected = format!("reduced from {} bytes, sha256 {}", whole.len(), minicube::sha256_bytes(&whole));
    assert_eq!((status.as_str(), reason.as_deref()), ("fetched", Some(expected.as_str())));
    let files: Vec<String> = project.data().into_keys().collect();
    assert_eq!(
        files,
        ["smap/20210101/SMAP_T0130_V1_001.h5", "smap/20210101/SMAP_T0430_V1_001.h5"],
        "nothing is left over"
    );
    let size = fs::metadata(project.raw().join(&files[0])).unwrap().len();
    assert!(size < 60_000 && whole.len() > 200_000, "{size} of {}", whole.len());
    assert_eq!(x2_downloader::verify(&project.plan(), &Ctx::quiet(1)).unwrap().code(), 0);
}

#[test]
fn at_another_time_the_bytes_are_the_same() {
    let server = TestServer::start(|_, request| answer(request));
    let (one, two) = (project(&server, &[HERE, THERE], ""), project(&server, &[HERE, THERE], ""));
    run(&one);
    // HDF5 tells times by the second.
    std::thread::sleep(Duration::from_millis(1100));
    run(&two);
    assert_same(&one.data(), &two.data());
}

#[test]
fn only_what_was_cut_away_is_fetched_again() {
    let server = TestServer::start(|_, request| answer(request));
    let project = project(&server, &[HERE], ", window_px = 4");
    run(&project);
    assert_eq!(granules_asked(&server), 2);
    let asked = server.log().len();

    // Another place in the same cell, a narrower square, fewer variables: all of that is there.
    set_places(&project, &[HERE, BESIDE]);
    set_smap(&project, &server, ", window_px = 3, variables = [\"sm_surface\"]");
    run(&project);
    assert_eq!(server.log().len(), asked, "no request");
    run(&project);
    assert_eq!(server.log().len(), asked, "and none when it is complete");

    for (count, places, more) in [
        (4, &[HERE, THERE][..], ", window_px = 4"),
        (6, &[HERE, THERE], ", window_px = 5"),
        (8, &[HERE, THERE], ", window_px = 5, variables = [\"surface_temp\"]"),
        (10, &[HERE, THERE], ", window_px = 5, variables = []"),
        // A wanted variable is among all; and all is all.
        (10, &[HERE, THERE], ", window_px = 5, variables = [\"sm_surface\"]"),
        (10, &[HERE, THERE], ", window_px = 5, variables = []"),
        (12, &[HERE], ", keep_whole = true"),
        // A whole granule has everything.
        (12, &[HERE, THERE], ""),
    ] {
        set_places(&project, places);
        set_smap(&project, &server, more);
        run(&project);
        assert_eq!(granules_asked(&server), count, "{places:?}{more}");
    }
    assert!(project.data()["smap/20210101/SMAP_T0130_V1_001.h5"] == granule(1), "as served");
    assert_eq!(x2_downloader::verify(&project.plan(), &Ctx::quiet(1)).unwrap().code(), 0);
}

/// The first transfer of each granule has other bytes in its middle, with the right length.
#[test]
fn a_damaged_granule_is_fetched_again() {
    let seen = std::sync::Mutex::new(std::collections::BTreeSet::new());
    let server = TestServer::start(move |_, request| {
        let mut response = answer(request);
        if request.target.ends_with(".h5") && seen.lock().unwrap().insert(request.target.clone()) {
            let middle = response.body.len() / 4;
            response.body[middle..middle * 3].fill(0);
        }
        response
    });
    let damaged = project(&server, &[HERE], "");
    run(&damaged);
    assert_eq!(granules_asked(&server), 4);
    let server = TestServer::start(|_, request| answer(request));
    let calm = project(&server, &[HERE], "");
    run(&calm);
    assert_same(&calm.data(), &damaged.data());
}

#[test]
fn a_variable_that_no_granule_has_stops_the_run_with_those_there_are() {
    let server = TestServer::start(|_, request| answer(request));
    let project = project(&server, &[HERE], ", variables = [\"sm_surfaces\"]");
    let error = try_run(&project).err().unwrap().to_string();
    assert!(error.contains("smap: expected /Geophysical_Data/sm_surfaces"), "{error}");
    assert!(error.contains("sm_rootzone, sm_surface, surface_pressure"), "{error}");
    assert!(project.data().keys().all(|name| name.ends_with(".partial")), "{:?}", project.data().keys());
}

/// Two pages and an empty one; a granule of the day before that reaches into the period; a newer release.
fn feed(base: &str, request: &Request) -> Response {
    let query = request.target.split_once('?').unwrap().1;
    for word in
        ["short_name=SPL4SMGP", "version=008", "temporal=2021-01-01T00%3A00%3A00Z%2C2021-01-02T23%3A59%3A59Z"]
    {
        assert!(query.contains(word), "{query}");
    }
    let entry = |day: &str, name: &str| {
        let link = |href: String| json!({"rel": "http://esipfed.org/ns/fedsearch/1.1/data#", "href": href});
        json!({"time_start": format!("{day}T00:00:00.000Z"), "title": name, "links": [
            link(format!("s3://bucket/{name}.h5")), link(format!("{base}/data/{name}.h5")),
            {"rel": "http://esipfed.org/ns/fedsearch/1.1/data#", "href": "https://elsewhere/", "inherited": true}]})
    };
    let after =
        request.headers.iter().find(|(name, _)| name == "cmr-search-after").map(|(_, token)| token.as_str());
    let (entries, next) = match after {
        None => (
            vec![entry("2020-12-31", "T2230_V1_001"), entry("2021-01-01", "T0130_V1_001")],
            Some("[1, \"a\"]"),
        ),
        Some("[1, \"a\"]") => {
            (vec![entry("2021-01-01", "T0130_V1_002"), entry("2021-01-01", "T0430_V1_001")], Some("[2]"))
        }
        Some("[2]") => (Vec::new(), None),
        Some(other) => panic!("an unknown page {other}"),
    };
    let response = Response::ok(json!({"feed": {"entry": entries}}).to_string());
    next.iter().fold(response, |response, token| response.header("CMR-Search-After", token))
}

#[test]
fn granules_are_found_by_a_search_that_is_asked_once() {
    let server = TestServer::start(|base, request| match request.target.as_str() {
        target if target.starts_with("/cmr/search/granules.json?") => feed(base, request),
        _ => answer(request),
    });
    let project = project(&server, &[HERE], "");
    project.set_download(&format!("assets = []\nsmap = {{ cmr = \"{}/cmr/search\" }}", server.base));
    let run = || {
        let mut plan = project.plan();
        plan.last = NaiveDate::from_ymd_opt(2021, 1, 2).unwrap();
        x2_downloader::run(&plan, &Ctx::quiet(2), false).unwrap()
    };
    let finish = run();
    assert_eq!(finish.code(), 1, "{}", finish.text());
    let files: Vec<String> = project.data().into_keys().collect();
    assert_eq!(files, ["smap/20210101/T0130_V1_002.h5", "smap/20210101/T0430_V1_001.h5"]);
    let failed: Vec<_> = ledger(&project.raw()).into_iter().filter(|row| row.4 == "failed").collect();
    assert_eq!(failed.len(), 1);
    assert!(failed[0].5.as_ref().unwrap().contains("no .h5 granule of 2021-01-02"), "{failed:?}");
    let searches = || server.log().iter().filter(|request| request.target.contains("granules.json")).count();
    assert_eq!((searches(), granules_asked(&server)), (3, 2));
    run();
    assert_eq!((searches(), granules_asked(&server)), (3, 2), "the answer was kept");
}

#[test]
fn a_search_that_fails_is_an_outcome_and_the_rest_goes_on() {
    for body in ["<html>down for maintenance</html>", "{\"errors\": [\"Parameter is invalid\"]}"] {
        let server = TestServer::start(move |_, request| match request.target.as_str() {
            "/dem.tif" => Response::file(request, b"II*\0 elevation"),
            _ => Response::ok(body),
        });
        let project = project(&server, &[HERE], "");
        let base = &server.base;
        project.set_download(&format!(
            "assets = []\nsmap = {{ cmr = \"{base}/cmr/search\" }}\ndem = [\"{base}/dem.tif\"]"
        ));
        let finish = try_run(&project).unwrap();
        assert!(
            finish.code() == 1 && finish.text().contains("/cmr/search/granules.json: "),
            "{}",
            finish.text()
        );
        assert!(Path::new(&project.raw().join("dem/dem.tif")).is_file());
    }
}
