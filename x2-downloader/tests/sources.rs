//! Elevation and land cover by the name of a product.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod common;

use std::fs;

use common::cog::Image;
use common::server::{Response, TestServer};
use common::{TestProject, ledger};
use minicube::run::Ctx;
use x2_downloader::EstimateOptions;

/// Of the four squares of a degree around 27 E 23 S one is on the server, as if the others were sea.
#[test]
fn tiles_of_a_product_are_fetched_and_sea_is_no_gap() {
    let server = TestServer::start(|_, request| match request.target.as_str() {
        target if target.ends_with("/Copernicus_DSM_COG_10_S23_00_E026_00_DEM.tif") => {
            Response::file(request, b"II*\0 elevation")
        }
        "/v200/2021/map/ESA_WorldCover_10m_2021_v200_S24E027_Map.tif" => {
            Response::file(request, b"II*\0 land cover")
        }
        "/v200/2021/map/ESA_WorldCover_10m_2021_v200_S24E024_Map.tif" => Response::status(403),
        _ => Response::status(404),
    });
    // The outline reaches 0.1 degrees around.
    let project = TestProject::new("35KMQ", (26.95, -22.95), &[(11, 11)], "");
    let base = &server.base;
    project.set_download(&format!(
        "assets = []\nretries = 0\ndem = [\"copernicus30@{base}\"]\nlandcover = [\"worldcover2021@{base}\"]"
    ));
    let finish = project.run();
    assert_eq!(finish.code(), 1, "only what is forbidden is a gap: {}", finish.text());
    let files: Vec<String> = project.data().into_keys().collect();
    assert_eq!(
        files,
        [
            "dem/Copernicus_DSM_COG_10_S23_00_E026_00_DEM.tif",
            "landcover/ESA_WorldCover_10m_2021_v200_S24E027_Map.tif"
        ]
    );
    let rows = ledger(&project.raw());
    let absent: Vec<&str> = rows.iter().filter(|row| row.4 == "absent").map(|row| row.0.as_str()).collect();
    assert_eq!(absent.len(), 3, "{rows:?}");
    assert!(
        rows.iter().filter(|row| row.4 == "absent").all(|row| row.5.as_deref() == Some("no such tile: sea"))
    );
    let failed: Vec<_> = rows.iter().filter(|row| row.4 == "failed").collect();
    assert!(failed.len() == 1 && failed[0].0.contains("S24E024"), "{failed:?}");

    project.set_download(&format!("assets = []\ndem = [\"copernicus30@{base}\"]"));
    assert_eq!(project.run().code(), 0);
    let asked = server.log().len();
    assert!(project.run().text().contains("nothing to do"));
    assert_eq!(server.log().len(), asked, "a complete product asks nothing, not even for tiles at sea");
}

#[test]
fn a_named_file_that_is_not_there_is_a_gap() {
    let server = TestServer::start(|_, _| Response::status(404));
    let project = TestProject::new("35KMQ", (26.5, -22.5), &[(11, 11)], "");
    project.set_download(&format!("assets = []\ndem = [\"{}/dem.tif\"]", server.base));
    assert_eq!(project.run().code(), 1);
}

#[test]
fn heights_of_a_folder_keep_their_names() {
    let project = TestProject::new("35KMQ", (26.95, -22.5), &[(11, 11)], "");
    let folder = project.folder.path().join("srtm");
    fs::create_dir(&folder).unwrap();
    for name in ["S23E026.hgt", "S23E027.hgt", "S23E028.hgt"] {
        fs::write(folder.join(name), b"heights").unwrap();
    }
    project.set_download(&format!("assets = []\ndem = [{folder:?}]"));
    assert_eq!(project.run().code(), 0);
    let files: Vec<String> = project.data().into_keys().collect();
    assert_eq!(files, ["dem/S23E026.hgt", "dem/S23E027.hgt"], "S23E028 is far");
}

/// Pixels that deflate cannot pack.
fn noise(row: usize, col: usize) -> u16 {
    ((row * 7919 + col * 104_729).wrapping_mul(2_654_435_761) >> 13) as u16 & 0x0fff
}

/// A raster of 1200 pixels a degree in blocks of 128.
fn degrees(size: usize, bits: u16, origin: (f64, f64)) -> Image {
    let tile = minicube::Tile::from_id("35KMQ").unwrap();
    Image { pixel: 1.0 / 1200.0, origin, epsg: 4326, ..Image::of_tile(&tile, size, 128, bits) }
}

/// Cells that reach 0.02 degrees around each centre.
fn project(centers: &[(f64, f64)], download: &str) -> TestProject {
    let project = TestProject::new("35KMQ", (26.5, -22.5), &[(11, 11)], download);
    set_centers(&project, centers);
    project
}

fn set_centers(project: &TestProject, centers: &[(f64, f64)]) {
    let cells: Vec<(usize, usize)> = (0..centers.len()).map(|i| (11, 11 + i)).collect();
    project.set_cells("35KMQ", (26.5, -22.5), &cells);
    let path = project.folder.path().join("data/sampler/locations.parquet");
    let mut table = minicube::LocationTable::read(&path).unwrap();
    for (location, &(lon, lat)) in table.locations.iter_mut().zip(centers) {
        (location.lon, location.lat) = (lon, lat);
        location.polygon = [(-0.02, -0.02), (0.02, -0.02), (0.02, 0.02), (-0.02, 0.02), (-0.02, -0.02)]
            .map(|(x, y)| minicube::LonLat { lon: lon + x, lat: lat + y })
            .to_vec();
    }
    table.write(&path).unwrap();
}

fn blocks(project: &TestProject, end: &str) -> Vec<(i32, i32)> {
    let rows = ledger(&project.raw()).into_iter().filter(|row| row.0.ends_with(end) && row.4 == "fetched");
    rows.map(|row| (row.2, row.3)).collect()
}

fn note(project: &TestProject, name: &str) -> f64 {
    let record = fs::read(project.raw().join("run.json")).unwrap();
    serde_json::from_slice::<serde_json::Value>(&record).unwrap()["notes"][name].as_f64().unwrap()
}

/// Elevation is wanted 0.07 degrees around 26.5 E 22.5 S, which are the pixels 516 to 684 from 26 E and from 22 S: blocks
/// 4 and 5. Land cover is wanted 0.03 degrees around: columns 2964 to 3036 from 24 E, rows 1764 to 1836 from 21 S.
#[test]
fn of_a_tile_only_the_blocks_near_the_cells_are_fetched() {
    let (dem, cover) = (degrees(1200, 16, (26.0, -22.0)), degrees(3600, 8, (24.0, -21.0)));
    let (dem, cover) = (dem.write(noise), cover.write(noise));
    let whole = (dem.len() + cover.len()) as f64;
    let server = TestServer::start(move |_, request| match request.target.as_str() {
        target if target.ends_with("S23_00_E026_00_DEM.tif") => Response::file(request, &dem),
        target if target.ends_with("S24E024_Map.tif") => Response::file(request, &cover),
        _ => Response::status(404),
    });
    let base = &server.base;
    let section = format!(
        "assets = []\nheader_bytes = 8192\ncoalesce_gap_bytes = 0\ndem = [\"copernicus30@{base}\"]\n\
         landcover = [\"worldcover2021@{base}\"]"
    );
    let project = project(&[(26.5, -22.5)], &section);
    let options = EstimateOptions { exact: false, rate_mb_s: 10.0 };
    let said = x2_downloader::estimate(&project.plan(), &Ctx::quiet(1), options).unwrap();
    assert!(
        said.text().contains("DEM: 4 blocks") && said.text().contains("land cover: 2 blocks"),
        "{}",
        said.text()
    );
    let finish = project.run();
    assert_eq!(finish.code(), 0, "{}", finish.text());
    assert_eq!(blocks(&project, "DEM.tif"), [(4, 4), (4, 5), (5, 4), (5, 5)]);
    assert_eq!(blocks(&project, "Map.tif"), [(13, 23), (14, 23)]);
    let (planned, received) = (note(&project, "planned_bytes"), note(&project, "received_ever_bytes"));
    assert!(received < 0.025 * whole, "{received} of {whole}");
    assert!((planned / received - 1.0).abs() < 0.02, "planned {planned}, received {received}");
    let file = project.raw().join("dem/Copernicus_DSM_COG_10_S23_00_E026_00_DEM.tif");
    let pixels = x2_downloader::read_window(&file, 516..684, 516..684).unwrap();
    assert!(pixels.indexed_iter().all(|((row, col), &pixel)| pixel == noise(516 + row, 516 + col)));
    let (verified, status) =
        (x2_downloader::verify(&project.plan(), &Ctx::quiet(1)), x2_downloader::status(&project.plan()));
    assert_eq!((verified.unwrap().code(), status.unwrap().code()), (0, 0));

    // A cell 0.1 degrees to the east: 0.07 around it are the columns 636 to 804, of which block 6 is new.
    let asked = server.log().len();
    set_centers(&project, &[(26.5, -22.5), (26.6, -22.5)]);
    let status = x2_downloader::status(&project.plan()).unwrap();
    assert!(status.code() == 1 && status.text().contains("dem: not complete yet"), "{}", status.text());
    assert_eq!(project.run().code(), 0);
    let again: Vec<_> =
        server.log()[asked..].iter().filter(|r| r.target.ends_with("DEM.tif")).cloned().collect();
    assert_eq!(again.len(), 2, "blocks (4, 6) and (5, 6), no directory and no block twice: {again:?}");
    assert_eq!(blocks(&project, "DEM.tif").len(), 6);
    assert_eq!(x2_downloader::verify(&project.plan(), &Ctx::quiet(1)).unwrap().code(), 0);
    let asked = server.log().len();
    assert!(project.run().text().contains("nothing to do"));
    assert_eq!(server.log().len(), asked);
}

/// Strips, JPEG 2000 and grids of which nobody knows where the cells lie are kept as served; a raster elsewhere not at all.
#[test]
fn what_has_no_useful_blocks_stays_whole() {
    let strips = Image { strips: true, ..degrees(600, 16, (26.2, -22.2)) }.write(noise);
    let sinusoidal = Image { epsg: 3857, ..degrees(600, 16, (26.2, -22.2)) }.write(noise);
    let jpeg = [b"\x00\x00\x00\x0cjP  \r\n\x87\n".as_slice(), &[7; 5000]].concat();
    let away = degrees(600, 16, (10.0, 50.0)).write(noise);
    // The tile of the cell, 12 pixels of 2 km: its cell (11, 11) is 42 to 46 km from the corner, with 5.6 km around.
    let utm = Image::of_tile(&minicube::Tile::from_id("35KMQ").unwrap(), 1098, 128, 16).write(noise);
    let files = [
        ("strips.tif", strips),
        ("mercator.tif", sinusoidal),
        ("jpeg.jp2", jpeg),
        ("away.tif", away),
        ("utm.tif", utm),
    ];
    let served = files.clone();
    let server = TestServer::start(move |_, request| {
        match served.iter().find(|(name, _)| request.target == format!("/{name}")) {
            Some((_, bytes)) => Response::file(request, bytes),
            None => Response::status(404),
        }
    });
    let dem: Vec<String> = files.iter().map(|(name, _)| format!("\"{}/{name}\"", server.base)).collect();
    let project =
        project(&[(26.5, -22.5)], &format!("assets = []\nheader_bytes = 1024\ndem = [{}]", dem.join(", ")));
    let finish = project.run();
    assert_eq!(finish.code(), 0, "{}", finish.text());
    let found = project.data();
    for (name, bytes) in &files[..3] {
        assert!(&found[&format!("dem/{name}")] == bytes, "{name} is as served");
    }
    assert!(!found.contains_key("dem/away.tif"));
    let row = ledger(&project.raw()).into_iter().find(|row| row.0 == "away.tif").unwrap();
    assert_eq!((row.4.as_str(), row.5.as_deref()), ("absent", Some("no wanted cell lies on it")));
    // Pixels of 100 m: 42 240 - 5 566 m is pixel 366, 46 080 + 5 566 m pixel 517: blocks 2 to 4.
    let expected: Vec<(i32, i32)> = (2..5).flat_map(|row| (2..5).map(move |col| (row, col))).collect();
    assert_eq!(blocks(&project, "utm.tif"), expected);
    assert_eq!(x2_downloader::verify(&project.plan(), &Ctx::quiet(1)).unwrap().code(), 0);
}

/// A project of an earlier release has the whole file: it is enough for ever.
#[test]
fn a_whole_file_of_an_earlier_run_is_kept() {
    let dem = degrees(1200, 16, (26.0, -22.0)).write(noise);
    let served = dem.clone();
    let server = TestServer::start(move |_, request| Response::file(request, &served));
    let project = project(&[(26.5, -22.5)], &format!("assets = []\ndem = [\"{}/dem.tif\"]", server.base));
    assert_eq!(project.run().code(), 0);
    let part = project.raw().join(".ledger/dem.jsonl");
    let row = |line: &str| -> serde_json::Value { serde_json::from_str(line).unwrap() };
    let text = fs::read_to_string(&part).unwrap();
    let (mut head, mut old) = (row(text.lines().next().unwrap()), row(text.lines().nth(1).unwrap()));
    (head["files"][0]["bytes"], old["length"]) = (dem.len().into(), dem.len().into());
    (old["block_row"], old["block_col"], old["sha256"]) =
        ((-1).into(), (-1).into(), minicube::sha256_bytes(&dem).into());
    fs::write(&part, format!("{head}\n{old}\n")).unwrap();
    fs::write(project.raw().join("dem/dem.tif"), &dem).unwrap();
    let asked = server.log().len();
    set_centers(&project, &[(26.6, -22.5)]);
    assert_eq!(project.run().code(), 0);
    assert_eq!(server.log().len(), asked);
    assert_eq!(x2_downloader::verify(&project.plan(), &Ctx::quiet(1)).unwrap().code(), 0);
}
