//! Elevation and land cover by the name of a product.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod common;

use std::fs;

use common::server::{Response, TestServer};
use common::{TestProject, ledger};

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
