//! Whole files: SMAP granules from listings, ERA5, elevation and land cover.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod common;

use std::fs;

use common::server::{Response, TestServer};
use common::{TestProject, ledger};
use minicube::NaiveDate;
use minicube::run::{Ctx, Finish};

const HDF5: &[u8] = b"\x89HDF\r\n\x1a\n";

fn run(project: &TestProject) -> Finish {
    let mut plan = project.plan();
    plan.last = NaiveDate::from_ymd_opt(2021, 1, 3).unwrap();
    x2_downloader::run(&plan, &Ctx::quiet(2), false).unwrap()
}

fn granule(target: &str) -> Vec<u8> {
    [HDF5, target.as_bytes(), &vec![7; 300_000]].concat()
}

fn listing(names: &[&str]) -> Response {
    let links: String = names.iter().map(|name| format!("<a href=\"{name}\">{name}</a>\n")).collect();
    Response::ok(format!(
        "<html><pre><a href=\"?C=N;O=D\">Name</a>\n<a href=\"../\">Parent</a>\n{links}</pre></html>"
    ))
}

fn serve() -> TestServer {
    TestServer::start(|_, request| match request.target.as_str() {
        "/smap/2021.01.01/" => listing(&["a.h5", "b.h5", "a.h5.xml"]),
        "/smap/2021.01.02/" => listing(&["login.h5", "c.h5"]),
        "/smap/2021.01.02/login.h5" => Response::ok("<!DOCTYPE html><html>please log in</html>"),
        "/era5/" => listing(&["era5_2020.nc", "era5_2021.nc"]),
        "/era5/era5_2021.nc" => Response::file(request, &[HDF5, &[1; 100]].concat()),
        "/landcover.tif" => Response::file(request, b"II*\0 land cover"),
        target if target.ends_with(".h5") => Response::file(request, &granule(target)),
        _ => Response::status(404),
    })
}

fn project(server: &TestServer) -> TestProject {
    let project = TestProject::new("35KMQ", (26.5, -23.0), &[(11, 11)], "");
    let dem = project.folder.path().join("dem.tif");
    fs::write(&dem, b"II*\0 elevation").unwrap();
    let base = &server.base;
    project.set_download(&format!(
        "assets = []\nretries = 3\nsmap = {{ listing = \"{base}/smap\", keep_whole = true }}\n\
         era5 = {{ listing = \"{base}/era5\" }}\ndem = [{dem:?}]\nlandcover = [\"{base}/landcover.tif\"]"
    ));
    project
}

#[test]
fn granules_and_files_arrive_whole_and_gaps_are_told() {
    let server = serve();
    let project = project(&server);
    let finish = run(&project);
    assert_eq!(finish.code(), 1, "{}", finish.text());
    let files = project.data();
    let expected = [
        "dem/dem.tif",
        "era5/era5_2021.nc",
        "landcover/landcover.tif",
        "smap/20210101/a.h5",
        "smap/20210101/b.h5",
        "smap/20210102/c.h5",
    ];
    assert_eq!(files.keys().map(String::as_str).collect::<Vec<_>>(), expected);
    assert_eq!(files["smap/20210101/a.h5"], granule("/smap/2021.01.01/a.h5"));
    let rows = ledger(&project.raw());
    let failed: Vec<&str> =
        rows.iter().filter(|r| r.4 == "failed").map(|r| r.5.as_deref().unwrap()).collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(failed[0].contains("web page") && failed[0].contains("login"), "{failed:?}");
    assert!(failed[1].contains("status 404") && failed[1].contains("2021.01.03"), "{failed:?}");
    assert!(rows.iter().any(|r| r.0 == "dem.tif" && r.4 == "reused"));

    let asked = server.log().len();
    run(&project);
    let again: Vec<String> = server.log()[asked..].iter().map(|r| r.target.clone()).collect();
    assert_eq!(again.len(), 3, "the day without listing, and the day with the login page: {again:?}");
}

/// The connection breaks after half of the file; the rest is asked for, not all of it.
#[test]
fn a_broken_transfer_goes_on_where_it_stopped() {
    let server = TestServer::start(|_, request| match request.target.as_str() {
        "/big.nc" => {
            let response = Response::file(request, &granule("big"));
            let cut = request.range.is_none().then_some(200_000);
            Response { cut, ..response }
        }
        _ => Response::status(404),
    });
    let project = TestProject::new("35KMQ", (26.5, -23.0), &[(11, 11)], "");
    project.set_download(&format!("assets = []\nera5 = {{ files = [\"{}/big.nc\"] }}", server.base));
    assert_eq!(run(&project).code(), 0);
    assert_eq!(project.data()["era5/big.nc"], granule("big"));
    let ranges: Vec<_> = server.log().iter().map(|r| r.range).collect();
    assert!(ranges.len() == 2 && ranges[1].unwrap().0 > 0, "{ranges:?}");
    assert_eq!(x2_downloader::verify(&project.plan(), &Ctx::quiet(1)).unwrap().code(), 0);

    fs::write(project.raw().join("era5/big.nc"), [HDF5, &vec![0; granule("big").len() - 8]].concat())
        .unwrap();
    let verified = x2_downloader::verify(&project.plan(), &Ctx::quiet(1)).unwrap();
    assert!(verified.code() == 1 && verified.text().contains("differs"), "{}", verified.text());
}
