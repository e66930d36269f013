//! Items and rasters of real archives, where they are there: what becomes of each.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use common::exchange::{files_asked, rehosted};
use common::server::{Response, TestServer};
use common::{TestProject, cog, hosts_asked, ledger};
use minicube::run::Ctx;
use minicube::testing::real;
use serde_json::{Value, json};

/// A server whose only page has this one item; files come from a folder, if there is one.
fn serve(item: &Value, files: Option<&Path>) -> TestServer {
    let page = json!({"type": "FeatureCollection", "features": [item], "links": []}).to_string();
    let files = files.map(Path::to_owned);
    TestServer::start(move |base, request| match (request.target.as_str(), &files) {
        ("/v1/search", _) => Response::ok(rehosted(&page, base)),
        (path, Some(folder)) => match fs::read(folder.join(path.trim_start_matches('/'))) {
            Ok(bytes) => Response::file(request, &bytes),
            Err(_) => Response::status(404),
        },
        _ => Response::status(404),
    })
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// What is expected of an item: file, collection, tile, day, id.
const ITEMS: [[&str; 5]; 3] = [
    ["S2A_28QCH_20200714_0_L2A.json", "sentinel-2-l2a", "28QCH", "20200714", "S2A_28QCH_20200714_0_L2A"],
    ["S2B_31QGB_20200831_0_L2A.json", "sentinel-2-l2a", "31QGB", "20200831", "S2B_31QGB_20200831_0_L2A"],
    [
        "S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531.pc.json",
        "sentinel-2-l2a",
        "06VVN",
        "20190629",
        "S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531",
    ],
];

const PLANETARY_COMPUTER: &str = "/sentinel2-l2/06/V/VN/2019/06/29/\
    S2B_MSIL2A_20190629T212529_N0212_R043_T06VVN_20201006T080531.SAFE/GRANULE/\
    L2A_T06VVN_A012081_20190629T212530/IMG_DATA";

/// Of red, near infrared at 10 m and the classification.
fn addresses(tile: &str) -> [String; 3] {
    match tile {
        "28QCH" => ["B04", "B08", "SCL"]
            .map(|band| format!("/sentinel-s2-l2a-cogs/28/Q/CH/2020/7/S2A_28QCH_20200714_0_L2A/{band}.tif")),
        "31QGB" => ["B04", "B08", "SCL"]
            .map(|band| format!("/sentinel-s2-l2a-cogs/31/Q/GB/2020/8/S2B_31QGB_20200831_0_L2A/{band}.tif")),
        _ => [
            "R10m/T06VVN_20190629T212529_B04_10m",
            "R10m/T06VVN_20190629T212529_B08_10m",
            "R20m/T06VVN_20190629T212529_SCL_20m",
        ]
        .map(|file| format!("{PLANETARY_COMPUTER}/{file}.tif")),
    }
}

#[test]
fn items_of_real_archives_are_understood() {
    let Some(folder) = real("stac/items") else { return };
    for [file, collection, tile, day, id] in ITEMS {
        let item = read(&folder.join(file));
        let server = serve(&item, None);
        let section = format!(
            "stac = \"{}/v1\"\ncollection = \"{collection}\"\nassets = [\"red\", \"nir\"]\nretries = 1",
            server.base
        );
        let project = TestProject::new(tile, (9.5, 47.5), &[(11, 11)], &section);
        project.set_years(2019, 2024);
        assert_eq!(project.run().code(), 1, "no raster is there");
        assert_eq!(files_asked(&server.log()), addresses(tile).into());
        assert_eq!(hosts_asked(&project.raw()), [server.base.trim_start_matches("http://")]);
        // All that a later stage has to know of the digital numbers.
        let kept = read(&project.raw().join(format!("s2/{tile}/{day}/{id}/item.json")));
        assert_eq!((&kept["id"], &kept["properties"]), (&json!(id), &item["properties"]));
        let bands = |item: &Value| item["assets"]["red"]["raster:bands"].clone();
        assert_eq!(bands(&kept), bands(&item));
    }
}

/// Collection 1 names a bucket and its region. Nothing is asked of a host that is not known.
#[test]
fn an_item_that_names_a_bucket() {
    let Some(folder) = real("stac/items") else { return };
    let item = read(&folder.join("S2B_T37MGP_20240710T073012_L2A_C1.json"));
    let server = serve(&item, None);
    let section = format!(
        "stac = \"{}/v1\"\ncollection = \"s2_l2a_c1\"\nassets = [\"red\", \"nir\"]\nmax_cloud_cover = 100.0",
        server.base
    );
    let project = TestProject::new("37MGP", (9.5, 47.5), &[(11, 11)], &section);
    project.set_years(2024, 2024);
    assert_eq!(project.run().code(), 1);
    assert!(files_asked(&server.log()).is_empty());
    let rows = ledger(&project.raw());
    let assets: BTreeSet<&str> = rows.iter().map(|row| row.1.as_str()).collect();
    assert_eq!(assets, BTreeSet::from(["nir", "red", "scl"]));
    for row in &rows {
        let reason = row.5.as_ref().unwrap();
        let host = "deafrica-sentinel-2-l2a-c1-dev.s3.us-west-2.amazonaws.com";
        assert!(
            row.0 == "S2B_T37MGP_20240710T073012_L2A" && reason.contains(&format!("refused to ask {host}")),
            "{row:?}"
        );
    }
    let kept = project.raw().join("s2/37MGP/20240710/S2B_T37MGP_20240710T073012_L2A/item.json");
    assert_eq!(read(&kept)["properties"], item["properties"]);
}

/// Rasters of 100 m and 200 m in blocks of 512 pixels, of which the item says 10 m and 20 m. Cell (3, 20) has the rows
/// 115.2 to 153.6 and the columns 768 to 806.4 of 100 m, block (0, 1); cell (27, 27) begins at pixel 1036.8, block
/// (2, 2), and at 518.4 of 200 m, block (1, 1) of 2 × 2.
#[test]
fn real_rasters_are_where_their_file_says() {
    let Some(folder) = real("s2_l2a_cog") else { return };
    let scene = "S2A_29RKH_20200219_0_L2A";
    let place = folder.join("sentinel-s2-l2a-cogs/29/R/KH/2020/2").join(scene);
    let server = serve(&read(&place.join(format!("{scene}.json"))), Some(&folder));
    let section = format!(
        "stac = \"{}/v1\"\nassets = [\"red\", \"nir08\"]\nskip_cloudy_blocks = false\nheader_bytes = 1024\nmode = \"blocks\"",
        server.base
    );
    let project = TestProject::new("29RKH", (-11.4, 24.8), &[(0, 2), (3, 20), (27, 27)], &section);
    project.set_years(2020, 2020);
    let finish = project.run();
    assert_eq!(finish.code(), 0, "{}", finish.text());
    assert_eq!(x2_downloader::verify(&project.plan(), &Ctx::quiet(1)).unwrap().code(), 0);
    for (asset, file, expected) in
        [("red", "B04", vec![0, 1, 8]), ("nir08", "B8A", vec![0, 3]), ("scl", "SCL", vec![0, 3])]
    {
        let remote = fs::read(place.join(format!("{file}.tif"))).unwrap();
        let local = fs::read(project.raw().join(format!("s2/29RKH/20200219/{scene}/{asset}.tif"))).unwrap();
        let (there, here) = (cog::blocks(&remote), cog::blocks(&local));
        let kept: Vec<usize> = (0..here.len()).filter(|&block| here[block].0 > 0).collect();
        assert_eq!(kept, expected, "{asset}");
        for block in kept {
            let ((at, len), (from, length)) = (here[block], there[block]);
            assert_eq!(local[at..at + len], remote[from..from + length], "{asset}, block {block}");
        }
    }
}
