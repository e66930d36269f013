//! Catalogues, items and files that mean harm: nothing is asked elsewhere, written elsewhere, or held without bound.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod common;

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::cog::Image;
use common::earth::{CELLS, CENTER, TILE, TinyEarth, section};
use common::server::{Request, Response, TestServer};
use common::{TestProject, hosts_asked, ledger};
use minicube::Tile;
use minicube::run::Ctx;
use serde_json::{Value, json};

const SCENE: &str = "S2A_35KMQ_20210101_0_L2A";

fn project(server: &TestServer) -> TestProject {
    TestProject::new(TILE, CENTER, &CELLS, &section(&server.base))
}

/// A server whose search is changed by `page`; the rest is a small archive of one scene.
fn with_pages(page: impl Fn(&str, &Request, Value) -> String + Send + Sync + 'static) -> TestServer {
    let earth = TinyEarth::new(1);
    TestServer::start(move |base, request| {
        if request.target.starts_with("/stac/search") {
            // A question that goes on is answered as the first one.
            let first =
                Request { body: json!({"collections": ["sentinel-2-l2a"]}).to_string(), ..request.clone() };
            let answer = earth.answer(base, &Request { target: "/stac/search".into(), ..first });
            return Response::ok(page(base, request, serde_json::from_slice(&answer.body).unwrap()));
        }
        earth.answer(base, request)
    })
}

fn with_item(change: impl Fn(&mut Value) + Send + Sync + 'static) -> TestServer {
    with_pages(move |_, _, mut page| {
        change(&mut page["features"][0]);
        page["links"] = json!([]);
        page.to_string()
    })
}

/// Why the run could not go on.
fn failure(project: &TestProject) -> String {
    match x2_downloader::run(&project.plan(), &Ctx::quiet(1), false) {
        Ok(finish) => panic!("went on: {}", finish.text()),
        Err(failure) => failure.to_string(),
    }
}

/// Why an asset is missing.
fn reason(project: &TestProject, asset: &str) -> String {
    let rows = ledger(&project.raw());
    rows.into_iter().find(|row| row.1 == asset && row.4 == "failed").unwrap().5.unwrap()
}

#[test]
fn addresses_that_lead_elsewhere() {
    for (href, expected) in [
        ("file:///etc/passwd", "expected an http(s) address, found file://"),
        ("ftp://elsewhere.example/red.tif", "expected an http(s) address, found ftp://"),
        ("data:image/tiff;base64,SUkqAA==", "expected an http(s) address, found data://"),
        ("/etc/passwd", "not an address"),
        ("//elsewhere.example/red.tif", "not an address"),
        ("http://169.254.169.254/latest/meta-data/", "refused to ask 169.254.169.254"),
        ("http://0xa9fea9fe/latest/meta-data/", "refused to ask 169.254.169.254"),
        ("http://[::ffff:169.254.169.254]/latest/", "refused to ask [::ffff:a9fe:a9fe]"),
        ("http://[::1]/red.tif", "refused to ask [::1]"),
        ("http://[fe80::1]/red.tif", "refused to ask [fe80::1]"),
        ("http://[fd00::1]/red.tif", "refused to ask [fd00::1]"),
        ("http://localhost/red.tif", "refused to ask localhost"),
        ("https://elsewhere.example/red.tif", "refused to ask elsewhere.example"),
        ("https://127.0.0.1@elsewhere.example/red.tif", "refused to ask elsewhere.example"),
        ("https://user@127.0.0.1@elsewhere.example/red.tif", "refused to ask elsewhere.example"),
        ("https://elsewhere.example\\@127.0.0.1/red.tif", "refused to ask elsewhere.example"),
        ("https://127.0.0.1.elsewhere.example/red.tif", "refused to ask 127.0.0.1.elsewhere.example"),
        ("s3://elsewhere.example#/red.tif", "refused to ask elsewhere.example"),
    ] {
        let server = with_item(move |item| item["assets"]["red"]["href"] = json!(href));
        let project = project(&server);
        assert_eq!(project.run().code(), 1, "{href}");
        assert!(reason(&project, "red").contains(expected), "{href}: {}", reason(&project, "red"));
        assert_eq!(hosts_asked(&project.raw()), [server.base.trim_start_matches("http://")], "{href}");
    }
}

#[test]
fn ids_that_are_no_names() {
    let long = "x".repeat(1 << 20);
    for id in ["../../../evil", "/etc/evil", "..", "", "evil\0", "evil\n", ".hidden", "superseded", &long] {
        let server = with_item({
            let id = id.to_owned();
            move |item| item["id"] = json!(id)
        });
        let project = project(&server);
        let reason = failure(&project);
        assert!(reason.contains("cannot be a folder name"), "{reason}");
        assert!(reason.len() < 400 && !reason.contains(char::is_control), "{} bytes", reason.len());
        assert!(!project.raw().join("s2").exists());
    }
}

/// The names of an item's assets are never names of files; not even the message gives them room.
#[test]
fn names_of_assets_that_climb() {
    let server = with_item(|item| {
        let assets = item["assets"].as_object_mut().unwrap();
        let red = assets.remove("red").unwrap();
        for name in ["../../red", "/etc/red", "red\0", "red\u{1b}[2J", &"red".repeat(1 << 16)] {
            assets.insert(name.to_owned(), red.clone());
        }
        assets.extend((0..10_000).map(|number| (format!("red{number}"), red.clone())));
    });
    let project = project(&server);
    assert_eq!(project.run().code(), 1);
    let reason = reason(&project, "red");
    assert!(
        reason.starts_with("the item has no asset `red`, only ") && reason.contains("nir08, "),
        "{reason}"
    );
    assert!(!reason.contains("../") && !reason.contains("redred"), "{reason}");
    assert!(reason.len() < 1000 && !reason.contains(char::is_control), "{} bytes", reason.len());
    let mut names: Vec<String> = project.data().into_keys().collect();
    names.retain(|name| !name.ends_with("/nir08.tif") && !name.ends_with("/scl.tif"));
    assert!(names.is_empty(), "{names:?}");
}

/// Of one satellite in the years 1, 5000 and 9999: a list of all the passes between would have 365 000 entries.
#[test]
fn days_that_nobody_asked_for() {
    let server = with_pages(|_, _, mut page| {
        let item = page["features"][0].clone();
        let other = |year: u32| {
            let mut item = item.clone();
            item["id"] = json!(format!("S2A_35KMQ_{year:04}"));
            item["properties"]["datetime"] = json!(format!("{year:04}-01-01T08:12:00Z"));
            item["properties"]["sat:relative_orbit"] = json!(35);
            item["properties"]["s2:datatake_id"] = json!(year.to_string());
            item
        };
        page["features"] = [item.clone(), other(1), other(5000), other(9999)].into();
        page["links"] = json!([]);
        page.to_string()
    });
    let project = project(&server);
    assert_eq!(project.run().code(), 0);
    let record: Value = serde_json::from_slice(&fs::read(project.raw().join("run.json")).unwrap()).unwrap();
    assert_eq!(record["notes"]["passes_expected"], 0);
    let days: Vec<_> = fs::read_dir(project.raw().join("s2").join(TILE)).unwrap().collect();
    assert_eq!(days.len(), 1, "{days:?}");
}

#[test]
fn pages_that_do_not_end() {
    // The link of every page leads to: itself; a new address with the same items; the same, by POST.
    let count = AtomicUsize::new(0);
    let itself = with_pages(|base, _, mut page| {
        page["links"] = json!([{"rel": "next", "href": format!("{base}/stac/search?page=2")}]);
        page.to_string()
    });
    let elsewhere = with_pages(move |base, _, mut page| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        page["links"] = json!([{"rel": "next", "href": format!("{base}/stac/search?page={number}")}]);
        page.to_string()
    });
    let count = AtomicUsize::new(0);
    let posted = with_pages(move |base, _, mut page| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        page["links"] = json!([{"rel": "next", "href": format!("{base}/stac/search"), "method": "POST",
                                "merge": true, "body": {"token": number}}]);
        page.to_string()
    });
    for server in [itself, elsewhere, posted] {
        let reason = failure(&project(&server));
        assert!(reason.contains("the pages of the search do not end"), "{reason}");
        assert!(server.requests() <= 3, "{} requests", server.requests());
    }
}

#[test]
fn pages_that_lead_elsewhere() {
    let other = TestServer::start(|_, _| Response::status(404));
    let port = other.base.rsplit(':').next().unwrap().to_owned();
    for (href, expected) in [
        (
            "https://elsewhere.example/stac/search".to_owned(),
            "refused to ask another host, elsewhere.example",
        ),
        (format!("http://localhost:{port}/stac/search"), "refused to ask another host, localhost"),
        (format!("http://127.0.0.1:{port}/stac/search"), "refused to ask another host, 127.0.0.1"),
        (format!("http://127.0.0.1@[::1]:{port}/stac/search"), "refused to ask another host, [::1]"),
        ("file:///etc/passwd".to_owned(), "expected an http(s) address, found `file`"),
    ] {
        let server = with_pages({
            let href = href.clone();
            move |_, _, mut page| {
                page["links"] = json!([{"rel": "next", "href": href}]);
                page.to_string()
            }
        });
        let reason = failure(&project(&server));
        assert!(reason.contains(expected), "{href}: {reason}");
    }
    assert_eq!(other.requests(), 0);
}

#[test]
fn documents_of_a_hundred_thousand_floors() {
    const DEEP: usize = 100_000;
    let nested = || format!("{}1{}", "[".repeat(DEEP), "]".repeat(DEEP));
    let bare = with_pages(move |_, _, _| nested());
    let within = with_pages(move |_, _, page| page.to_string().replacen("30.0", &nested(), 1));
    for server in [bare, within] {
        let reason = failure(&project(&server));
        assert!(reason.contains("not JSON: recursion limit exceeded"), "{reason}");
    }
}

/// Directories that claim four thousand million blocks, or a thousand million tags, and redirects that lead to
/// themselves or out of the network.
#[test]
fn files_that_mean_harm() {
    let mut earth = TinyEarth::new(2);
    let image = Image::of_tile(&Tile::from_id(TILE).unwrap(), 1098, 128, 16);
    let mut blocks = image.write(|_, _| 1);
    let entry = (8..200).find(|&at| blocks[at..at + 4] == [0x44, 0x01, 4, 0]).unwrap();
    blocks[entry + 4..entry + 8].copy_from_slice(&u32::MAX.to_le_bytes());
    earth.files.insert(format!("/cogs/{SCENE}/red.tif"), blocks);
    let mut tags = Image { big_tiff: true, ..image }.write(|_, _| 1);
    tags[16..24].copy_from_slice(&1_000_000_000_u64.to_le_bytes());
    let second = "S2A_35KMQ_20210106_1_L2A";
    earth.files.insert(format!("/cogs/{second}/red.tif"), tags);
    let server = TestServer::start(move |base, request| match request.target.as_str() {
        target if target == format!("/cogs/{SCENE}/nir08.tif") => {
            Response::status(302).header("Location", target)
        }
        target if target.ends_with("nir08.tif") => {
            Response::status(302).header("Location", "file:///etc/passwd")
        }
        _ => earth.answer(base, request),
    });
    let project = project(&server);
    assert_eq!(project.run().code(), 1);
    let rows = ledger(&project.raw());
    for (item, asset, expected) in [
        (SCENE, "red", "claims 4294967295 values"),
        (second, "red", "the directory claims 1000000000 tags"),
        (SCENE, "nir08", "more than 10 redirects"),
        (second, "nir08", "refused a redirect to file://"),
    ] {
        let row = rows.iter().find(|row| row.0 == item && row.1 == asset && row.4 == "failed").unwrap();
        assert!(row.5.as_ref().unwrap().contains(expected), "{row:?}");
    }
}
