//! The STAC client against recorded searches: a small made one, and those of real catalogues where they are there.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::exchange::{Recording, files_asked};
use common::server::TestServer;
use common::{TestProject, hosts_asked, ledger};
use minicube::run::Ctx;
use minicube::testing::real;
use serde_json::Value;

type Ids = BTreeSet<String>;

/// A project that asks `server` for the red band of a tile in the years of the recordings.
fn project(server: &TestServer, recording: &Recording, tile: &str, collection: &str) -> TestProject {
    let api = recording.path.strip_suffix("/search").unwrap();
    let section = format!(
        "stac = \"{}{api}\"\ncollection = \"{collection}\"\nmax_cloud_cover = 100.0\nassets = [\"red\"]\nretries = 1",
        server.base
    );
    let project = TestProject::new(tile, (9.5, 47.5), &[(11, 11)], &section);
    project.set_years(2020, 2025);
    project
}

/// What was posted, page by page: every page once, by the link of the one before and nothing else.
fn assert_paged(server: &TestServer, recording: &Recording) {
    let log = server.log();
    let posts = log.iter().filter(|request| request.method == "POST");
    let posted: Vec<Value> = posts.map(|request| serde_json::from_str(&request.body).unwrap()).collect();
    for (page, body) in posted.iter().enumerate().skip(1) {
        assert_eq!(Some(body), recording.next_body(page - 1), "`merge` is false or absent: the link's body");
        assert!(!posted[..page].contains(body), "asked twice: {body}");
        if let Some(recorded) = recording.asked.get(page) {
            assert_eq!(body, recorded, "as another client asked");
        }
    }
    let ends = recording.pages.last().unwrap()["features"].as_array().unwrap().is_empty();
    assert_eq!(
        posted.len(),
        recording.pages.len() + usize::from(!ends),
        "the empty last page is asked for too"
    );
}

/// Runs a project of a tile against recorded pages; the rasters are all missing. The scenes that were wanted, those that
/// were superseded, and the files that were asked for.
fn replay(folder: &Path, tile: &str, collection: &str) -> (Ids, Ids, Ids) {
    let recording = Recording::read(folder);
    let server = recording.clone().serve();
    let project = project(&server, &recording, tile, collection);
    assert_eq!(project.run().code(), 1, "no raster is there");
    assert_paged(&server, &recording);
    assert_eq!(hosts_asked(&project.raw()), [server.base.trim_start_matches("http://")]);
    let (wanted, superseded) = by_status(&project);
    (wanted, superseded, files_asked(&server.log()))
}

fn by_status(project: &TestProject) -> (Ids, Ids) {
    let rows = ledger(&project.raw());
    let with = |status: &str| rows.iter().filter(|r| r.4 == status).map(|r| r.0.clone()).collect();
    (with("failed"), with("superseded"))
}

/// Runs a project for which the pages hold nothing; why it ended.
fn replay_in_vain(folder: &Path, collection: &str) -> String {
    let recording = Recording::read(folder);
    let server = recording.clone().serve();
    let project = project(&server, &recording, "32TMT", collection);
    let failure = x2_downloader::run(&project.plan(), &Ctx::quiet(1), false).unwrap_err();
    assert_paged(&server, &recording);
    assert!(files_asked(&server.log()).is_empty());
    failure.to_string()
}

fn ids<const N: usize>(names: [&str; N]) -> Ids {
    names.map(str::to_owned).into()
}

#[test]
fn made_pages() {
    let folder = minicube::testing::own_file("tests/data/search");
    let (wanted, superseded, _) = replay(&folder, "32TMT", "sentinel-2-l2a");
    assert_eq!(wanted, ids(["S2A_32TMT_20200305_1_L2A", "S2B_32TMT_20200307_0_L2A"]));
    assert_eq!(superseded, ids(["S2A_32TMT_20200305_0_L2A"]));
}

/// 10 + 6 + 0 items of four tiles, each acquisition processed twice.
#[test]
fn earth_search_1_in_three_pages() {
    let Some(folder) = real("stac/replay/earth_search_v1_S2_3pages") else { return };
    for tile in ["32TMT", "32TNT", "32UMU", "32UNU"] {
        let (wanted, superseded, files) = replay(&folder, tile, "sentinel-2-l2a");
        let both =
            |sequence: u8| Ids::from([5, 2].map(|day| format!("S2A_{tile}_2020030{day}_{sequence}_L2A")));
        assert_eq!((&wanted, &superseded), (&both(1), &both(0)));
        let (zone, band, square) = (&tile[..2], &tile[2..3], &tile[3..]);
        let of = |id: &String| {
            let folder = format!("/sentinel-s2-l2a-cogs/{zone}/{band}/{square}/2020/3/{id}");
            ["B04", "SCL"].map(|file| format!("{folder}/{file}.tif"))
        };
        assert_eq!(files, wanted.iter().flat_map(of).collect());
    }
}

/// The same scenes come from the same pages if they have to be asked for with everything in the address.
#[test]
fn earth_search_1_by_get() {
    let Some(folder) = real("stac/replay/earth_search_v1_S2_3pages") else { return };
    let recording = Recording::read(&folder);
    let server = recording.clone().serve_by_get();
    let project = project(&server, &recording, "32TMT", "sentinel-2-l2a");
    assert_eq!(project.run().code(), 1);
    let (wanted, superseded) = by_status(&project);
    assert_eq!(wanted, ids(["S2A_32TMT_20200302_1_L2A", "S2A_32TMT_20200305_1_L2A"]));
    assert_eq!(superseded, ids(["S2A_32TMT_20200302_0_L2A", "S2A_32TMT_20200305_0_L2A"]));
    let log = server.log();
    let asked: Vec<&String> = log
        .iter()
        .filter(|request| request.method == "GET" && request.target.starts_with("/v1/search?"))
        .map(|request| &request.target)
        .collect();
    assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), 3, "{asked:#?}");
    assert_eq!(asked.len(), 3, "{asked:#?}");
    assert!(
        asked[0].contains("collections=sentinel-2-l2a&bbox=") && asked[0].contains("limit="),
        "{}",
        asked[0]
    );
    assert_eq!(log.iter().filter(|request| request.method == "POST").count(), 1);
}

/// ESA's names of the assets, the baseline and the tile under `sentinel:`, pages by number.
#[test]
fn earth_search_0() {
    let Some(folder) = real("stac/replay/earth_search_v0_search") else { return };
    let (wanted, superseded, files) = replay(&folder, "20EPT", "sentinel-s2-l2a-cogs");
    assert_eq!((wanted, superseded), (ids(["S2B_20EPT_20250731_0_L2A"]), Ids::new()));
    let place = "/sentinel-s2-l2a-cogs/20/E/PT/2025/7/S2B_20EPT_20250731_0_L2A";
    assert_eq!(files, ["B04", "SCL"].map(|file| format!("{place}/{file}.tif")).into());
}

/// The pages hold every scene of a tile in three collections, of which one is L1C: only what was asked for is taken.
#[test]
fn items_of_other_collections_on_the_same_page() {
    let Some(folder) = real("stac/replay/TestCLISearch.test_filter_inprocess_") else { return };
    let (wanted, superseded, files) = replay(&folder, "24MVV", "sentinel-2-l2a");
    assert_eq!((wanted, superseded), (ids(["S2B_24MVV_20250731_0_L2A"]), Ids::new()));
    let place = "/sentinel-s2-l2a-cogs/24/M/VV/2025/7/S2B_24MVV_20250731_0_L2A";
    assert_eq!(files, ["B04", "SCL"].map(|file| format!("{place}/{file}.tif")).into());

    let (wanted, superseded, files) = replay(&folder, "24MVV", "sentinel-2-c1-l2a");
    assert_eq!((wanted, superseded), (ids(["S2B_T24MVV_20250731T130245_L2A"]), Ids::new()));
    let place = "/sentinel-2-c1-l2a/24/M/VV/2025/7/S2B_T24MVV_20250731T130245_L2A";
    assert_eq!(files, ["B04", "SCL"].map(|file| format!("{place}/{file}.tif")).into());

    let Some(folder) = real("stac/replay/test_multiple_collections") else { return };
    let (wanted, superseded, files) = replay(&folder, "13TDE", "sentinel-2-l2a");
    assert_eq!((wanted, superseded), (ids(["S2A_13TDE_20231008_0_L2A"]), Ids::new()));
    let place = "/sentinel-s2-l2a-cogs/13/T/DE/2023/10/S2A_13TDE_20231008_0_L2A";
    assert_eq!(files, ["B04", "SCL"].map(|file| format!("{place}/{file}.tif")).into());
}

/// Aerial pictures, whose links name no `merge`, and a model of elevation: no scene among them, and the pages end.
#[test]
fn pages_without_a_scene() {
    for (name, collection) in [
        ("TestItemSearch.test_result_paging_max_items", "naip"),
        ("TestCLISearch.test_matched_inprocess_", "cop-dem-glo-30"),
    ] {
        let Some(folder) = real(&format!("stac/replay/{name}")) else { return };
        let reason = replay_in_vain(&folder, collection);
        assert!(reason.starts_with(&format!("no scenes of {collection}")), "{reason}");
    }
}
