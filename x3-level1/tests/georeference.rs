//! Half-pixel exactness, in both hemispheres and at the borders of UTM zones: planes of coordinates, and rasterio.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

#[path = "common/place.rs"]
mod place;

use std::fs;

use ndarray::Array2;
use place::{Place, geotiff, said};
use serde_json::Value;

/// Tiles at the border of zones 31 and 32, and at the antimeridian in the south and in the north.
const TILES: [(&str, u32); 6] = [
    ("31UGT", 32631),
    ("32ULC", 32632),
    ("60KYE", 32760),
    ("01KAB", 32701),
    ("60UXC", 32660),
    ("01UBT", 32601),
];

/// A band whose pixels say where they are, 100 + metres / 5 to the east or the south of the cube's corner: its mean over a
/// pixel of 30 m is what it is at that pixel's centre, 15 m + 30 m a pixel, from pixels of 10 m and of 20 m.
#[test]
fn a_pixel_is_where_its_coordinates_say() {
    for (tile, epsg) in TILES {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path(), tile, None);
        // Of each pixel size a layer for the easting and one for the northing.
        let layers = [("red", "green", 10.0, 24), ("nir08", "swir16", 20.0, 12)];
        for (east, south, pixel, edge) in layers {
            let metres = |index: usize| ((index as f64 + 0.5) * pixel / 5.0) as u16 + 100;
            place.write(east, pixel, &Array2::from_shape_fn((edge, edge), |(_, c)| metres(c)));
            place.write(south, pixel, &Array2::from_shape_fn((edge, edge), |(r, _)| metres(r)));
        }
        let cube = place.cube("assets = [\"red\", \"green\", \"nir08\", \"swir16\"]");
        let (xc, yc) = (cube.read::<f64>("xc").unwrap(), cube.read::<f64>("yc").unwrap());
        let edge = |name: &str| cube.read::<f64>(name).unwrap()[[0]];
        for i in 0..8 {
            assert_eq!(xc[[0, i]], edge("x_min") + 15.0 + 30.0 * i as f64, "{tile}");
            assert_eq!(yc[[0, i]], edge("y_max") - 15.0 - 30.0 * i as f64, "{tile}");
        }
        assert_eq!(
            (edge("x_min"), edge("y_max")),
            (place.tile.origin.x + 480.0, place.tile.origin.y - 240.0)
        );
        assert_eq!((edge("x_max"), edge("y_min")), (edge("x_min") + 240.0, edge("y_max") - 240.0));
        for (east, south, ..) in layers {
            let east = cube.read::<u16>(&format!("s2/{east}")).unwrap();
            let south = cube.read::<u16>(&format!("s2/{south}")).unwrap();
            for (y, x) in (0..8).flat_map(|y| (0..8).map(move |x| (y, x))) {
                let (e, s) = (xc[[0, x]] - edge("x_min"), edge("y_max") - yc[[0, y]]);
                assert_eq!(f64::from(east[[0, 0, y, x]]), 1000.0 + 100.0 + e / 5.0, "{tile} {y},{x}");
                assert_eq!(f64::from(south[[0, 0, y, x]]), 1000.0 + 100.0 + s / 5.0, "{tile} {y},{x}");
            }
        }
        let crs = cube.var_attrs("crs");
        assert_eq!(crs["epsg_code"], format!("EPSG:{epsg}"));
        assert_eq!(crs["false_northing"], if epsg > 32700 { 10_000_000.0 } else { 0.0 });
        let wkt = crs["crs_wkt"].as_str().unwrap();
        assert!(
            wkt.contains(&format!("UTM zone {}{}", epsg % 100, if epsg > 32700 { "S" } else { "N" })),
            "{wkt}"
        );
        assert_eq!(cube.var_attrs("s2/red")["grid_mapping"], "crs");
        assert_eq!(cube.attr_f64("resolution_m").unwrap(), 30.0);
    }
}

fn vectors(kind: &str) -> Vec<Value> {
    let path = minicube::testing::own_file("tests/data/rasterio/georeference.json");
    let all: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    all[kind].as_array().unwrap().clone()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect()
}

/// Averages by rasterio of bands of 10, 20 and 60 m with holes, on the cube's grid, a few whole pixels and fractions of a
/// pixel away from it.
#[test]
fn averages_equal_those_of_rasterio() {
    let mut compared = 0;
    for (tile, epsg) in TILES {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path(), tile, None);
        let cases: Vec<Value> = vectors("area").into_iter().filter(|case| case["tile"] == tile).collect();
        let names = ["coastal", "blue", "green", "red", "rededge1"];
        assert_eq!(cases.len(), names.len());
        for (name, case) in names.iter().zip(&cases) {
            assert_eq!(case["epsg"], epsg);
            let (origin, pixel) = (numbers(&case["origin"]), case["pixel"].as_f64().unwrap());
            let size = case["size"].as_u64().unwrap() as usize;
            let band = Array2::from_shape_fn((size, size), |(r, c)| {
                let hole = (5 * r + 3 * c).is_multiple_of(17);
                if hole { 0u16 } else { ((r * 7 + c * 13 + r * c) % 997 + 1) as u16 }
            });
            let transform = [origin[0], pixel, 0.0, origin[1], 0.0, -pixel];
            geotiff(&place.scene().join(format!("{name}.tif")), epsg, transform, &band, Some(0.0));
        }
        let cube = place.cube(&format!("assets = {names:?}"));
        for (name, case) in names.iter().zip(&cases) {
            let ours = cube.read::<u16>(&format!("s2/{name}")).unwrap();
            for (ours, theirs) in ours.iter().zip(numbers(&case["average"])) {
                compared += 1;
                let ours = f64::from(*ours);
                // Ours are rounded and have the offset of 1000; what rasterio has no data for is 0.
                let same =
                    if theirs.is_nan() { ours == 0.0 } else { (ours - 1000.0 - theirs).abs() <= 0.501 };
                assert!(same, "{case}: {ours} {theirs}");
            }
        }
    }
    assert_eq!(compared, 6 * 5 * 64);
}

/// Elevations in degrees on the cube's grid, also where the next cube is beyond the antimeridian.
#[test]
fn elevations_equal_those_of_rasterio() {
    for case in vectors("elevation") {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path(), case["tile"].as_str().unwrap(), None);
        place.write("red", 30.0, &Array2::from_elem((8, 8), 7u16));
        let number = |key: &str| case[key].as_f64().unwrap();
        let heights =
            Array2::from_shape_fn((128, 128), |(r, c)| 500.0 + ((r * 31 + c * 17) % 97) as f32 / 4.0);
        let transform = [number("west"), number("step"), 0.0, number("north"), 0.0, -number("step")];
        geotiff(&dir.path().join("data/raw/dem/dem.tif"), 4326, transform, &heights, None);
        let cube = place.cube("assets = [\"red\"]\nstatics = [\"dem\"]");
        for (ours, theirs) in cube.read::<f32>("static/dem").unwrap().iter().zip(numbers(&case["bilinear"])) {
            assert!((f64::from(*ours) - theirs).abs() < 2e-3, "{}: {ours} {theirs}", case["tile"]);
        }
    }
}

/// What does not lie on the cubes' grid is refused, by the name of the file.
#[test]
fn other_grids_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path(), "32ULC", None);
    let (x, y) = (place.bounds.x_min, place.bounds.y_max);
    let red = place.scene().join("red.tif");
    for (epsg, transform, expected) in [
        (32631, [x, 10.0, 0.0, y, 0.0, -10.0], "expected EPSG:32632, found EPSG:32631"),
        (4326, [6.0, 1e-4, 0.0, 52.0, 0.0, -1e-4], "expected EPSG:32632, found EPSG:4326"),
        (32632, [x, 10.0, 1.0, y, 1.0, -10.0], "expected a raster with north up, found geotransform"),
        (32632, [x, 10.0, 0.0, y - 240.0, 0.0, 10.0], "expected a raster with north up, found geotransform"),
        (32632, [x + 5000.0, 10.0, 0.0, y, 0.0, -10.0], "found one that does not touch it"),
    ] {
        geotiff(&red, epsg, transform, &Array2::from_elem((24, 24), 7u16), Some(0.0));
        let output = place.run("assets = [\"red\"]");
        assert_eq!(output.status.code(), Some(2));
        let said = said(&output);
        assert!(said.contains("red.tif") && said.contains(expected), "expected `{expected}` in {said}");
        assert!(!dir.path().join("data/level1/32ULC.zarr").exists());
    }
}
