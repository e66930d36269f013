//! The STAC client against recorded pages of Earth Search: a small made one, and the real exchange where it is there.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use common::server::{Response, TestServer};
use common::{TestProject, ledger};
use minicube::run::Ctx;
use serde_json::Value;

const HOSTS: [&str; 2] =
    ["https://earth-search.aws.element84.com", "https://sentinel-cogs.s3.us-west-2.amazonaws.com"];

struct Exchange {
    /// The `next` token that is posted, and the whole body as recorded.
    asked: Option<(String, Value)>,
    page: String,
}

/// The searches of an `index.json`: bodies posted and pages answered.
fn exchanges(folder: &Path) -> Vec<Exchange> {
    let index: Value = serde_json::from_slice(&fs::read(folder.join("index.json")).unwrap()).unwrap();
    let searches = index.as_array().unwrap().iter().filter(|entry| entry["method"] == "POST");
    searches
        .map(|entry| {
            let body: Value = serde_json::from_str(entry["request_body"].as_str().unwrap()).unwrap();
            let page = fs::read_to_string(folder.join(entry["body_file"].as_str().unwrap())).unwrap();
            Exchange { asked: body["next"].as_str().map(|next| (next.to_owned(), body.clone())), page }
        })
        .collect()
}

/// Runs a project of `tile` against the recorded pages; the rasters are all missing. The scenes that were wanted, and
/// those that were superseded.
fn replay(folder: &Path, tile: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (pages, recorded) = (exchanges(folder), exchanges(folder));
    let server = TestServer::start(move |base, request| {
        if request.method != "POST" || request.target != "/v1/search" {
            return Response::status(404);
        }
        let body: Value = serde_json::from_str(&request.body).unwrap();
        let next = body["next"].as_str();
        match pages.iter().find(|page| page.asked.as_ref().map(|(token, _)| token.as_str()) == next) {
            Some(found) => {
                Response::ok(HOSTS.iter().fold(found.page.clone(), |page, host| page.replace(host, base)))
            }
            None => Response::status(400),
        }
    });
    let section =
        format!("stac = \"{}/v1\"\nmax_cloud_cover = 100.0\nassets = [\"red\"]\nretries = 1", server.base);
    let project = TestProject::new(tile, (9.5, 47.5), &[(11, 11)], &section);
    assert_eq!(
        x2_downloader::run(&project.plan(), &Ctx::quiet(1), false).unwrap().code(),
        1,
        "no raster is there"
    );

    let posted: Vec<Value> = server
        .log()
        .iter()
        .filter(|request| request.method == "POST")
        .map(|request| serde_json::from_str(&request.body).unwrap())
        .collect();
    assert_eq!(posted.len(), recorded.len(), "every page is asked for once, the empty last one too");
    for (posted, recorded) in posted.iter().zip(&recorded).skip(1) {
        assert_eq!(
            *posted,
            recorded.asked.as_ref().unwrap().1,
            "`merge: false`: the link's body and nothing else"
        );
    }
    let rows = ledger(&project.raw());
    let with = |status: &str| rows.iter().filter(|r| r.4 == status).map(|r| r.0.clone()).collect();
    (with("failed"), with("superseded"))
}

fn ids(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn made_pages() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/search");
    let (wanted, superseded) = replay(&folder, "32TMT");
    assert_eq!(wanted, ids(&["S2A_32TMT_20200305_1_L2A", "S2B_32TMT_20200307_0_L2A"]));
    assert_eq!(superseded, ids(&["S2A_32TMT_20200305_0_L2A"]));
}

/// 10 + 6 + 0 items of four tiles, each acquisition processed twice.
#[test]
fn the_real_three_pages() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = data.join("stac/replay/earth_search_v1_S2_3pages");
    if !folder.exists() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{} is missing", folder.display());
        println!("skipped: {} is not there", folder.display());
        return;
    }
    for tile in ["32TMT", "32TNT", "32UMU", "32UNU"] {
        let (wanted, superseded) = replay(&folder, tile);
        let both = |sequence: u8| {
            BTreeSet::from([5, 2].map(|day| format!("S2A_{tile}_2020030{day}_{sequence}_L2A")))
        };
        assert_eq!((wanted, superseded), (both(1), both(0)));
    }
}
