//! Rasters of all kinds: what the file says is what counts.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod common;

use std::fs;
use std::path::PathBuf;

use common::cog::Image;
use common::earth::{CELLS, CENTER, TILE, TinyEarth, section};
use common::server::TestServer;
use common::{TestProject, assert_same, ledger};
use minicube::Tile;
use minicube::run::Ctx;
use serde_json::json;

const SCENE: &str = "S2A_35KMQ_20210101_0_L2A";

fn red() -> String {
    format!("/cogs/{SCENE}/red.tif")
}

fn noise(row: usize, col: usize) -> u16 {
    ((row * 7919 + col * 104_729).wrapping_mul(2_654_435_761) >> 13) as u16 & 0x0fff
}

/// One scene whose red band is of another kind, and the project that fetches it. All blocks are wanted.
fn fetched(image: &Image) -> (TestProject, PathBuf) {
    let mut earth = TinyEarth::new(1);
    earth.files.insert(red(), image.write(noise));
    let server = TestServer::start(move |base, request| earth.answer(base, request));
    let project = TestProject::new(TILE, CENTER, &CELLS, &exact(&server.base));
    let finish = project.run();
    assert_eq!(finish.code(), 0, "{}", finish.text());
    assert_eq!(x2_downloader::verify(&project.plan(), &Ctx::quiet(1)).unwrap().code(), 0);
    let file = project.raw().join("s2").join(TILE).join("20210101").join(SCENE).join("red.tif");
    (project, file)
}

fn exact(base: &str) -> String {
    format!("{}\nskip_cloudy_blocks = false", section(base))
}

fn image(size: usize, block: usize) -> Image {
    Image::of_tile(&Tile::from_id(TILE).unwrap(), size, block, 16)
}

#[test]
fn every_compression_and_layout_gives_the_same_pixels() {
    let kinds = [
        Image { predictor: 2, ..image(1098, 128) },
        Image { compression: 5, ..image(1098, 128) },
        Image { compression: 50000, predictor: 2, ..image(1098, 256) },
        Image { compression: 1, big_endian: true, ..image(1098, 512) },
        Image { big_tiff: true, compression: 5, predictor: 2, ..image(1098, 64) },
        Image { strips: true, predictor: 2, ..image(1098, 100) },
        Image { strips: true, compression: 50000, big_endian: true, big_tiff: true, ..image(1098, 1) },
    ];
    for kind in kinds {
        let (_project, file) = fetched(&kind);
        // Cell (10, 10) begins at pixel 384 and ends in pixel 422.
        let pixels = x2_downloader::read_window(&file, 384..423, 384..423).unwrap();
        assert!(pixels.indexed_iter().all(|((row, col), &v)| v == noise(384 + row, 384 + col)), "{kind:?}");
        let far = x2_downloader::read_window(&file, 1000..1010, 1000..1010).unwrap_err();
        assert!(far.to_string().contains("was not fetched"), "{far}");
    }
}

/// Blocks of LERC are kept as they came, and the ledger says that nobody unpacked them.
#[test]
fn a_compression_that_is_not_read_here_is_said_to_be_unproved() {
    const LERC: u16 = 34_887;
    let (project, _) = fetched(&Image { compression: LERC, ..image(1098, 128) });
    for (_, asset, row, _, status, reason) in ledger(&project.raw()).into_iter().filter(|row| row.2 >= 0) {
        let unproved =
            reason.as_ref().is_some_and(|reason| reason.contains("compression 34887 is not unpacked here"));
        assert_eq!(unproved, asset == "red", "{asset} {row} {status} {reason:?}");
    }
}

#[test]
fn bands_in_separate_planes_are_all_there() {
    let (project, file) = fetched(&Image { planes: 3, ..image(1098, 128) });
    let rows = ledger(&project.raw());
    let blocks: Vec<(i32, i32)> = rows.iter().filter(|r| r.1 == "red").map(|r| (r.2, r.3)).collect();
    // Four blocks of each of three planes of nine rows of blocks.
    let plane = [(0, 0), (0, 6), (1, 6), (3, 3)];
    let expected: Vec<(i32, i32)> =
        (0..3).flat_map(|index| plane.map(|(row, col)| (row + 9 * index, col))).collect();
    assert_eq!(blocks, expected);
    assert!(
        x2_downloader::read_window(&file, 384..385, 384..385).unwrap_err().to_string().contains("in 3 bands")
    );
}

/// A file that is JPEG 2000 is kept whole, under its own suffix, and asked for once.
#[test]
fn jpeg_2000_comes_whole() {
    let mut earth = TinyEarth::new(1);
    let bytes = [b"\x00\x00\x00\x0cjP  \r\n\x87\n".as_slice(), &[7; 5000]].concat();
    earth.files.insert(red(), bytes.clone());
    let server = TestServer::start(move |base, request| earth.answer(base, request));
    let project = TestProject::new(TILE, CENTER, &CELLS, &section(&server.base));
    let finish = project.run();
    assert_eq!(finish.code(), 0, "{}", finish.text());
    let folder = project.raw().join("s2").join(TILE).join("20210101").join(SCENE);
    assert_eq!(fs::read(folder.join("red.jp2")).unwrap(), bytes);
    assert!(!folder.join("red.tif").exists());
    let row = ledger(&project.raw()).into_iter().find(|row| row.1 == "red").unwrap();
    assert_eq!((row.2, row.3, row.4.as_str()), (-1, -1, "fetched"));
    assert_eq!(x2_downloader::verify(&project.plan(), &Ctx::quiet(1)).unwrap().code(), 0);
    fs::remove_file(project.raw().join(".ledger/complete")).unwrap();
    let asked = server.requests();
    assert_eq!(project.run().code(), 0);
    assert_eq!(server.requests(), asked);
}

#[test]
fn whole_files_leave_the_same_bytes_as_blocks() {
    let earth = TinyEarth::new(2);
    let server = TestServer::start(move |base, request| earth.answer(base, request));
    let [blocks, whole] = ["blocks", "whole"].map(|mode| {
        let project =
            TestProject::new(TILE, CENTER, &CELLS, &format!("{}\nmode = \"{mode}\"", section(&server.base)));
        let asked = server.log().len();
        assert_eq!(project.run().code(), 0);
        let unranged =
            server.log()[asked..].iter().filter(|r| r.target.ends_with(".tif") && r.range.is_none()).count();
        (project, unranged)
    });
    assert_same(&blocks.0.data(), &whole.0.data());
    assert_eq!((blocks.1, whole.1), (0, 2 * 3), "three rasters of two scenes");
}

/// Another catalogue: other names of assets, an orbit in the product's name, a size that is not true.
#[test]
fn planetary_computers_names_are_understood() {
    let mut earth = TinyEarth::new(1);
    let item = &mut earth.items[0];
    let renamed = [("red", "B04"), ("nir08", "B8A"), ("scl", "SCL")];
    let assets = renamed.map(|(ours, theirs)| (theirs.to_owned(), item["assets"][ours].clone()));
    item["assets"] = serde_json::Value::Object(assets.into_iter().collect());
    item["assets"]["B04"]["proj:shape"] = json!([10_980, 10_980]);
    item["properties"]["s2:mgrs_tile"] = json!(TILE);
    item["properties"].as_object_mut().unwrap().remove("grid:code");
    let server = TestServer::start(move |base, request| earth.answer(base, request));
    let project = TestProject::new(TILE, CENTER, &CELLS, &section(&server.base));
    assert_eq!(project.run().code(), 0);
    let files: Vec<String> = project.data().into_keys().filter(|name| name.ends_with(".tif")).collect();
    let names: Vec<&str> = files.iter().map(|name| name.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["nir08.tif", "red.tif", "scl.tif"]);
}
