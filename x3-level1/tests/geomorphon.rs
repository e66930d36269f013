//! Terrain forms on the cubes: to their very borders, with nothing else changed.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::{TILE, cube_lon_lat, project, raw_tree};
use gdal::DriverManager;
use gdal::raster::Buffer;
use gdal::spatial_ref::SpatialRef;
use minicube::testing::assert_conforms;
use minicube::{Cube, Tile};
use serde_json::json;

const ALL: &str = "[level1]\nstatics = [\"dem\", \"slope\", \"landcover\", \"geomorphon\"]";

fn act(verb: &str, dir: &Path, level1: &str) -> Output {
    let config = project(dir, level1);
    Command::new(env!("CARGO_BIN_EXE_x3-level1")).arg(verb).arg("--config").arg(config).output().unwrap()
}

fn cube(dir: &Path, level1: &str) -> Cube {
    let output = act("run", dir, level1);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let store = dir.join("data/level1/35KMQ.zarr");
    assert_conforms(&store, "level1");
    Cube::open(&store, "level1").unwrap()
}

/// Replaces the elevations by one raster of `size` columns and rows; `height` is of row and column.
fn elevations(
    dir: &Path,
    epsg: u32,
    transform: [f64; 6],
    size: (usize, usize),
    height: impl Fn(usize, usize) -> f32,
) {
    let dem = dir.join("data/raw/dem");
    fs::remove_dir_all(&dem).unwrap();
    fs::create_dir_all(&dem).unwrap();
    let driver = DriverManager::get_driver_by_name("GTiff").unwrap();
    let mut dataset = driver.create_with_band_type::<f32, _>(dem.join("dem.tif"), size.0, size.1, 1).unwrap();
    dataset.set_geo_transform(&transform).unwrap();
    dataset.set_spatial_ref(&SpatialRef::from_epsg(epsg).unwrap()).unwrap();
    let heights = (0..size.0 * size.1).map(|index| height(index / size.0, index % size.0)).collect();
    dataset.rasterband(1).unwrap().write((0, 0), size, &mut Buffer::new(size, heights)).unwrap();
}

/// A valley from north to south along the first column of the tile, on the grid of the cubes: 1000 m + col² / 2, from
/// 20 pixels outside the tile to column 11.
fn valley(dir: &Path) {
    let tile = Tile::from_id(TILE).unwrap();
    let transform = [tile.origin.x - 600.0, 30.0, 0.0, tile.origin.y + 600.0, 0.0, -30.0];
    elevations(dir, tile.epsg.0, transform, (32, 60), |_, col| 1000.0 + (col as f32 - 20.0).powi(2) / 2.0);
}

#[test]
fn cubes_are_classified_to_their_borders() {
    let dir = tempfile::tempdir().unwrap();
    raw_tree(dir.path());
    valley(dir.path());
    let cube = cube(dir.path(), ALL);
    let forms = cube.read::<u8>("static/geomorphon").unwrap();
    assert_eq!(forms.shape(), [2, 8, 8]);
    for y in 0..8 {
        let row = |m: usize| (0..8).map(|x| forms[[m, y, x]]).collect::<Vec<u8>>();
        // The valley (9) and, from its fourth pixel on, the slope (6): three higher, three lower, level along it.
        assert_eq!(row(0)[..2], [9, 9], "row {y}");
        assert_eq!(row(0)[3..], [6; 5], "row {y}");
        // The elevations end: the last two pixels see less than two to the east, so that it counts as level: three
        // lower, a shoulder (4).
        assert_eq!(row(1), [6, 6, 4, 4, 0, 0, 0, 0], "row {y}");
    }
    let attrs = cube.var_attrs("static/geomorphon");
    assert_eq!(attrs["flag_values"], json!([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]));
    let meanings = attrs["flag_meanings"].as_str().unwrap();
    assert_eq!(meanings.split(' ').nth(8), Some("valley"));
    assert_eq!(attrs["_FillValue"], 0);
    assert_eq!((&attrs["search_px"], &attrs["flat_deg"]), (&json!(11), &json!(1.0)));
    let verified = act("verify", dir.path(), ALL);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));

    // Lines of sight of two pixels: up to 2 m / 60 m from the valley, and 13 m / 60 m from column 6; tan 5° is 0.087.
    let near = format!("{ALL}\n[level1.geomorphon]\nsearch_px = 3\nflat_deg = 5");
    let near = self::cube(dir.path(), &near).read::<u8>("static/geomorphon").unwrap();
    assert_eq!((near[[0, 0, 0]], near[[0, 0, 6]]), (1, 6));
}

#[test]
fn the_other_layers_do_not_notice() {
    let dir = tempfile::tempdir().unwrap();
    raw_tree(dir.path());
    // Rough land on a grid of degrees, finer than the cubes.
    let place = cube_lon_lat();
    let transform = [place.lon - 0.05, 0.0002, 0.0, place.lat + 0.05, 0.0, -0.0002];
    elevations(dir.path(), 4326, transform, (500, 500), |row, col| {
        ((7919 * row + 104_729 * col) % 97) as f32
    });
    let without = cube(dir.path(), "");
    assert!(!without.has("static/geomorphon"), "terrain forms must be asked for");
    let read = |cube: &Cube| ["static/dem", "static/slope"].map(|name| cube.read::<f32>(name).unwrap());
    let before = read(&without);
    let with = cube(dir.path(), ALL);
    assert_eq!(read(&with), before);
    assert!(with.read::<u8>("static/geomorphon").unwrap().iter().all(|&form| form != 0));
}

#[test]
fn options_under_which_nothing_is_seen_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    raw_tree(dir.path());
    for (options, parts) in [
        ("search_px = 1", ["geomorphon.search_px", "2 (skip_px + 2) to 1000", "found 1"]),
        ("search_px = 5\nskip_px = 4", ["geomorphon.search_px", "6 (skip_px + 2)", "found 5"]),
        ("skip_px = 4000", ["geomorphon.skip_px", "0 to 998", "found 4000"]),
        ("flat_deg = 0", ["geomorphon.flat_deg", "above 0 and below 90", "found 0"]),
        ("flat_distance_px = 11", ["geomorphon.flat_distance_px", "0 (off) or 1 to 10", "found 11"]),
        ("search = 5", ["unknown key", "search", "search_px"]),
    ] {
        let output = act("run", dir.path(), &format!("{ALL}\n[level1.geomorphon]\n{options}"));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(parts.iter().all(|part| stderr.contains(part)), "expected {parts:?} in {stderr}");
    }
}
