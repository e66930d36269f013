//! Elevation of several rasters, voids, aspect, and rasters of the user's own.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

#[path = "common/place.rs"]
mod place;

use std::path::Path;

use gdal::Dataset;
use minicube::testing::assert_conforms;
use ndarray::{Array2, s};
use place::{Place, geotiff, said};

const TILE: &str = "32ULC";

/// A cube with one band, and a raster of the given pixels on the cube's own grid, 8 pixels of margin around it.
fn place(dir: &Path) -> Place {
    let place = Place::new(dir, TILE, None);
    place.write("red", 30.0, &Array2::from_elem((8, 8), 7u16));
    place
}

/// Elevations on the grid of the cube with 8 pixels around it, 24 × 24 pixels of 30 m.
fn dem<T: gdal::raster::GdalType + Copy>(
    place: &Place,
    name: &str,
    heights: &Array2<T>,
    nodata: Option<f64>,
) {
    let transform = [place.bounds.x_min - 240.0, 30.0, 0.0, place.bounds.y_max + 240.0, 0.0, -30.0];
    geotiff(&place.dir.join("data/raw/dem").join(name), place.tile.epsg.0, transform, heights, nodata);
}

const KEYS: &str = "assets = [\"red\"]\nstatics = [\"dem\", \"slope\", \"aspect\"]";

/// Voids of SRTM (−32768) are filled from Copernicus, which has another type and another pixel, and counted. The file
/// that comes first by name is on top.
#[test]
fn voids_are_filled_from_further_rasters() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let mut srtm = Array2::from_elem((24, 24), 100i16);
    srtm.slice_mut(s![10..13, 9..11]).fill(-32768);
    dem(&place, "1_srtm.tif", &srtm, Some(-32768.0));
    let alone = place.cube(KEYS);
    let heights = alone.read::<f32>("static/dem").unwrap();
    // Rows 2 to 4 and columns 1 and 2 of the cube.
    assert_eq!(heights.iter().filter(|z| z.is_nan()).count(), 6);
    assert!((2..5).all(|y| (1..3).all(|x| heights[[0, y, x]].is_nan())));
    assert_eq!(
        (alone.read::<i32>("dem_filled").unwrap()[[0]], alone.read::<i32>("dem_void").unwrap()[[0]]),
        (0, 6)
    );

    let transform = [place.bounds.x_min - 240.0, 60.0, 0.0, place.bounds.y_max + 240.0, 0.0, -60.0];
    let path = dir.path().join("data/raw/dem/2_copernicus.tif");
    geotiff(&path, place.tile.epsg.0, transform, &Array2::from_elem((12, 12), 107f32), None);
    let both = place.cube(KEYS);
    assert_conforms(&dir.path().join("data/level1/32ULC.zarr"), "level1");
    let heights = both.read::<f32>("static/dem").unwrap();
    for ((_, y, x), z) in heights.indexed_iter().map(|(at, z)| ((at[0], at[1], at[2]), z)) {
        let void = (2..5).contains(&y) && (1..3).contains(&x);
        assert_eq!(*z, if void { 107.0 } else { 100.0 }, "{y},{x}");
    }
    assert_eq!(
        (both.read::<i32>("dem_filled").unwrap()[[0]], both.read::<i32>("dem_void").unwrap()[[0]]),
        (6, 0)
    );
}

/// Beyond the end of a mosaic of rasters that name no nodata value there is a void, not the level of the sea.
#[test]
fn the_end_of_a_mosaic_is_void() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let (west, north) = (place.bounds.x_min - 240.0, place.bounds.y_max + 240.0);
    // Two tiles of 12 × 12 that touch at a corner, the middle of the cube.
    for (name, index) in [("a.tif", 0.0), ("b.tif", 1.0)] {
        let transform = [west + 360.0 * index, 30.0, 0.0, north - 360.0 * index, 0.0, -30.0];
        let path = dir.path().join("data/raw/dem").join(name);
        geotiff(&path, place.tile.epsg.0, transform, &Array2::from_elem((12, 12), 300f32), None);
    }
    let heights = place.cube(KEYS).read::<f32>("static/dem").unwrap();
    for (y, x) in (0..8).flat_map(|y| (0..8).map(move |x| (y, x))) {
        let there = (y < 4) == (x < 4);
        assert!(if there { heights[[0, y, x]] == 300.0 } else { heights[[0, y, x]].is_nan() }, "{y},{x}");
    }
}

/// Infinities and NaN of a raster are voids; asked for, they are filled from around them.
#[test]
fn infinities_are_voids_and_can_be_filled() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let mut heights = Array2::from_shape_fn((24, 24), |(row, _)| 200.0 + 3.0 * row as f32);
    heights[[11, 11]] = f32::NAN;
    heights[[14, 10]] = f32::INFINITY;
    dem(&place, "dem.tif", &heights, None);
    let cube = place.cube(KEYS);
    let found = cube.read::<f32>("static/dem").unwrap();
    assert!(found[[0, 3, 3]].is_nan() && found[[0, 6, 2]].is_nan());
    assert!(found.iter().all(|z| z.is_nan() || (200.0..300.0).contains(z)), "{found:?}");
    let void = cube.read::<i32>("dem_void").unwrap()[[0]];
    assert_eq!(void as usize, found.iter().filter(|z| z.is_nan()).count());
    assert!(cube.read::<f32>("static/slope").unwrap()[[0, 2, 2]].is_nan(), "no slope beside a void");

    let cube = place.cube(&format!("{KEYS}\nfill_voids_px = 4"));
    let found = cube.read::<f32>("static/dem").unwrap();
    // On a plane the mean of opposite neighbours is the plane.
    assert!((found[[0, 3, 3]] - 233.0).abs() < 1e-3 && (found[[0, 6, 2]] - 242.0).abs() < 1e-3, "{found:?}");
    assert_eq!(cube.read::<i32>("dem_filled").unwrap()[[0]], void);
    assert_eq!(cube.read::<i32>("dem_void").unwrap()[[0]], 0);
    assert_eq!(cube.var_attrs("dem_filled")["fill_voids_px"], 4);
    // It rises 3 m in 30 m to the south: it faces north.
    let aspect = cube.read::<f32>("static/aspect").unwrap();
    assert!(aspect.iter().all(|a| a.min(360.0 - a) < 0.1), "{aspect:?}");
    assert_eq!(cube.var_attrs("static/aspect")["units"], "degree");
}

const LAYERS: &str = r#"
[[level1.layers]]
name = "soil_clay"
path = "raw/soil/clay.tif"
kind = "number"
units = "%"
long_name = "clay, 0 to 5 cm"

[[level1.layers]]
name = "landtype"
path = "raw/landtype"
kind = "class"
legend = { 1 = "plain", 2 = "rocky slope" }
"#;

fn soil(place: &Place) {
    // Clay in g/kg of 250 m pixels, 200 to the west of the cube's middle and 400 to the east; −9999 is nodata.
    let clay = Array2::from_shape_fn((8, 8), |(row, col)| match (row, col) {
        (7, _) => -9999i16,
        (_, ..4) => 200,
        _ => 400,
    });
    let (x, y) = (place.bounds.center().x, place.bounds.center().y);
    let path = place.dir.join("data/raw/soil/clay.tif");
    geotiff(
        &path,
        place.tile.epsg.0,
        [x - 1000.0, 250.0, 0.0, y + 1000.0, 0.0, -250.0],
        &clay,
        Some(-9999.0),
    );
    let mut dataset = Dataset::open_ex(
        &path,
        gdal::DatasetOptions { open_flags: gdal::GdalOpenFlags::GDAL_OF_UPDATE, ..Default::default() },
    )
    .unwrap();
    dataset.rasterband(1).unwrap().set_scale(0.1).unwrap();
    dataset.flush_cache().unwrap();
}

/// Soil in its own units by the raster's scale, interpolated; land types by the mode, with their names.
#[test]
fn rasters_of_the_users_own_become_layers() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    soil(&place);
    let types = Array2::from_shape_fn((24, 24), |(row, _)| if row < 11 { 1u8 } else { 2 });
    let (x, y) = (place.bounds.x_min, place.bounds.y_max);
    for (name, west) in [("west.tif", x - 120.0), ("east.tif", x + 120.0)] {
        let path = dir.path().join("data/raw/landtype").join(name);
        geotiff(&path, place.tile.epsg.0, [west, 10.0, 0.0, y, 0.0, -10.0], &types, Some(255.0));
    }
    let cube = place.cube(&format!("assets = [\"red\"]\n{LAYERS}"));
    assert_conforms(&dir.path().join("data/level1/32ULC.zarr"), "level1");
    let clay = cube.read::<f32>("static/soil_clay").unwrap();
    // Between the middles of two pixels, 250 m apart, it goes from 20 to 40: 0.08 a metre, and 30 in the cube's middle.
    for x in 0..8 {
        let expected = 30.0 + 0.08 * (30.0 * x as f32 + 15.0 - 120.0);
        assert!((clay[[0, 5, x]] - expected).abs() < 1e-3, "{x}: {} {expected}", clay[[0, 5, x]]);
    }
    let attrs = cube.var_attrs("static/soil_clay");
    assert_eq!((attrs["units"].as_str(), attrs["long_name"].as_str()), (Some("%"), Some("clay, 0 to 5 cm")));
    let types = cube.read::<u8>("static/landtype").unwrap();
    // Rows 0 to 10 of 10 m are 1: the fourth row of 30 m has two of three. East of 360 − 120 m nothing is missing.
    let column: Vec<u8> = (0..8).map(|y| types[[0, y, 6]]).collect();
    assert_eq!(column, [1, 1, 1, 1, 2, 2, 2, 2]);
    let attrs = cube.var_attrs("static/landtype");
    assert_eq!(attrs["flag_values"], serde_json::json!([1, 2]));
    assert_eq!(attrs["flag_meanings"], "plain rocky_slope");
}

#[test]
fn layers_that_cannot_be_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    soil(&place);
    let layer = |rest: &str| format!("assets = [\"red\"]\n[[level1.layers]]\n{rest}");
    for (keys, expected) in [
        (
            "name = \"clay\"\npath = \"raw/soil/sand.tif\"\nkind = \"number\"",
            "sand.tif: expected a raster or a folder",
        ),
        ("name = \"dem\"\npath = \"raw/soil\"\nkind = \"number\"", "layers.name: expected each name once"),
        ("name = \"Clay\"\npath = \"raw/soil\"\nkind = \"number\"", "found `Clay`"),
        (
            "name = \"clay\"\npath = \"raw/soil\"\nkind = \"class\"",
            "clay.tif: layer clay: expected classes of 8 bits (0 to 255), found Int16",
        ),
        ("name = \"clay\"\npath = \"raw/soil\"\nkind = \"mean\"", "known values: class, number"),
        (
            "name = \"clay\"\npath = \"raw/soil\"\nkind = \"number\"\nlegend = { 1 = \"low\" }",
            "layers.legend: expected codes from 1 to 255 of a layer of kind",
        ),
    ] {
        let output = place.run(&layer(keys));
        assert_eq!(output.status.code(), Some(2));
        assert!(said(&output).contains(expected), "expected `{expected}` in {}", said(&output));
    }
}
