//! What a plan says of granules and files, held against what is received.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod common;

use std::fs;

use common::TestProject;
use common::server::{Request, Response, TestServer};
use minicube::NaiveDate;
use minicube::run::Ctx;
use serde_json::{Value, json};
use x2_downloader::EstimateOptions;

/// A granule of 40 000 to 76 000 bytes, by its name.
fn granule(name: &str) -> Vec<u8> {
    let digits: usize = name.bytes().map(usize::from).sum();
    [b"\x89HDF\r\n\x1a\n".as_slice(), &vec![7; 40_000 + digits % 10 * 4000]].concat()
}

fn names(day: &str) -> [String; 3] {
    ["T0130", "T0430", "T0730"].map(|moment| format!("SMAP_{}{moment}_V1_001.h5", day.replace('.', "")))
}

fn answer(base: &str, request: &Request) -> Response {
    let listing = |names: &[String]| {
        Response::ok(names.iter().map(|name| format!("<a href=\"{name}\">x</a>")).collect::<String>())
    };
    let target = request.target.as_str();
    if let Some(day) = target.strip_prefix("/smap/").and_then(|rest| rest.strip_suffix('/')) {
        return listing(&names(day));
    }
    match target {
        "/era5/" => listing(&["era5_2020.nc", "era5_2021_1.nc", "era5_2021_2.nc"].map(str::to_owned)),
        _ if target.starts_with("/cmr/search/granules.json?") => Response::ok(feed(base).to_string()),
        _ => Response::file(request, &granule(target.rsplit('/').next().unwrap())),
    }
}

/// Thirty days; the sizes of every second one are not told.
fn feed(base: &str) -> Value {
    let entry = |day: usize, name: &str| {
        let link = json!({"rel": "http://esipfed.org/ns/fedsearch/1.1/data#", "href": format!("{base}/data/{name}")});
        let size = granule(name).len() as f64 / 1_048_576.0;
        let size = if day.is_multiple_of(2) { json!(size.to_string()) } else { Value::Null };
        json!({"time_start": format!("2021-01-{day:02}T00:00:00.000Z"), "granule_size": size, "links": [link]})
    };
    let day = |day: usize| names(&format!("2021.01.{day:02}")).map(|name| entry(day, &name));
    json!({"feed": {"entry": (1..=30).flat_map(day).collect::<Vec<_>>()}})
}

/// Planned bytes, two standard errors of them, and the bytes that all runs received.
fn planned_and_received(server: &TestServer, section: &str, exact: bool) -> (f64, f64, f64, String) {
    let project = TestProject::new("35KMQ", (26.5, -23.0), &[(11, 11)], "");
    project.set_download(&format!("assets = []\n{}", section.replace("BASE", &server.base)));
    let mut plan = project.plan();
    plan.last = NaiveDate::from_ymd_opt(2021, 1, 30).unwrap();
    let options = EstimateOptions { exact, rate_mb_s: 10.0 };
    let said = x2_downloader::estimate(&plan, &Ctx::quiet(1), options).unwrap().text().to_owned();
    let estimate: Value =
        serde_json::from_slice(&fs::read(project.raw().join(".ledger/plan.json")).unwrap()).unwrap();
    assert_eq!(estimate["is_partial"], false, "{said}");
    assert!(!said.contains("not counted"), "{said}");
    let finish = x2_downloader::run(&plan, &Ctx::quiet(2), false).unwrap();
    assert_eq!(finish.code(), 0, "{}", finish.text());
    let record: Value = serde_json::from_slice(&fs::read(project.raw().join("run.json")).unwrap()).unwrap();
    let received = record["notes"]["received_ever_bytes"].as_f64().unwrap();
    (estimate["bytes"].as_f64().unwrap(), estimate["bytes_error"].as_f64().unwrap(), received, said)
}

#[test]
fn granules_and_files_are_counted_before_they_come() {
    let server = TestServer::start(answer);
    for section in [
        "smap = { listing = \"BASE/smap\", keep_whole = true }",
        "smap = { cmr = \"BASE/cmr/search\", keep_whole = true }",
        "era5 = { listing = \"BASE/era5\" }",
    ] {
        let (planned, error, received, said) = planned_and_received(&server, section, true);
        assert_eq!(error, 0.0, "every size was told: {said}");
        assert!((planned / received - 1.0).abs() < 0.02, "{section}: planned {planned}, received {received}");
    }
    // Eight of thirty days.
    let section = "smap = { listing = \"BASE/smap\", keep_whole = true }";
    let (planned, error, received, said) = planned_and_received(&server, section, false);
    assert!(error > 0.0 && said.contains('±'), "{said}");
    assert!(
        (planned - received).abs() < error.max(0.02 * received),
        "{planned} ± {error}, received {received}"
    );
}

/// A server that is down for all but the listing.
#[test]
fn what_no_server_tells_is_said_to_be_missing() {
    let server = TestServer::start(|_, request| match request.target.as_str() {
        "/era5/" => Response::ok("<a href=\"era5_2021.nc\">x</a>"),
        _ => Response::status(503),
    });
    let project = TestProject::new("35KMQ", (26.5, -23.0), &[(11, 11)], "");
    project
        .set_download(&format!("assets = []\nretries = 0\nera5 = {{ listing = \"{}/era5\" }}", server.base));
    let options = EstimateOptions { exact: false, rate_mb_s: 10.0 };
    let said = x2_downloader::estimate(&project.plan(), &Ctx::quiet(1), options).unwrap();
    assert!(said.text().contains("not counted: ") && said.text().contains("503"), "{}", said.text());
    assert!(said.text().contains("without what is not counted"), "{}", said.text());
}
