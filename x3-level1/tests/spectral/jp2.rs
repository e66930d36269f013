//! Whole JPEG 2000 files instead of GeoTIFFs.

use std::fs;
use std::path::Path;

use gdal::DriverManager;
use gdal::raster::RasterCreationOptions;
use minicube::testing::real;
use ndarray::Array2;
use serde_json::json;

use crate::tree::{EDGE, Tree};

/// Makes a lossless JPEG 2000 of a GeoTIFF, and removes it.
fn to_jp2(tif: &Path) {
    let source = gdal::Dataset::open(tif).unwrap();
    let options = RasterCreationOptions::from_iter(["QUALITY=100", "REVERSIBLE=YES"]);
    let driver = DriverManager::get_driver_by_name("JP2OpenJPEG").unwrap();
    let copy = source.create_copy(&driver, tif.with_extension("jp2"), &options).unwrap();
    drop((copy, source));
    fs::remove_file(tif).unwrap();
    // GDAL keeps the nodata value, which the format has no place for, in a file of its own.
    fs::remove_file(tif.with_extension("jp2.aux.xml")).unwrap();
}

#[test]
fn jpeg_2000_gives_what_the_same_pixels_give_as_geotiff() {
    let tree = Tree::new();
    let folder = tree.scene("20220205T081100_A", &json!({ "s2:processing_baseline": "05.00" }), &json!({}));
    // Textured, with a hole of no data, and with the full range of a uint16.
    let numbers = Array2::from_shape_fn((EDGE, EDGE), |(r, c)| match (r, c) {
        (10..20, 30..50) => 0,
        (40, 40) => 65_535u16,
        _ => (1000 + (r * r * 7 + c * 131) % 9000) as u16,
    });
    let classes = Array2::from_shape_fn((EDGE / 2, EDGE / 2), |(r, c)| ((r / 3 + c / 5) % 12) as u8);
    let red = folder.join("red.tif");
    tree.raster(&red, &numbers, 10.0, Some(0.0));
    tree.raster(&folder.join("scl.tif"), &classes, 20.0, Some(0.0));
    let values = || {
        let cube = tree.built("assets = [\"red\"]");
        (cube.read::<u16>("s2/red").unwrap(), cube.read::<u8>("s2/scl").unwrap())
    };
    let expected = values();
    assert!(expected.0.iter().any(|&number| number == 0) && expected.0.iter().any(|&number| number > 9000));
    to_jp2(&red);
    to_jp2(&folder.join("scl.tif"));
    assert!(folder.join("red.jp2").exists() && !red.exists());
    assert_eq!(values(), expected);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 3, "nothing is left beside the scene's own files");

    // Cut short: an error that names the file.
    let path = folder.join("red.jp2");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let (code, text) = tree.act("run", "assets = [\"red\"]");
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("red.jp2: unreadable raster") && text.contains("hint: "), "{text}");
}

/// A real file of another sensor is no scene of the tile.
#[test]
fn a_jpeg_2000_of_another_grid_is_an_error() {
    let Some(modis) = real("modis_ndvi/mod13q1_sinop/TERRA_MODIS_012010_NDVI_2014-07-28.jp2") else { return };
    let tree = Tree::new();
    let folder = tree.scene("20220205T081100_A", &json!({ "s2:processing_baseline": "05.00" }), &json!({}));
    tree.raster(&folder.join("scl.tif"), &Array2::from_elem((EDGE, EDGE), 4u8), 10.0, Some(0.0));
    fs::copy(modis, folder.join("red.jp2")).unwrap();
    let (code, text) = tree.act("run", "assets = [\"red\"]");
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("red.jp2: expected EPSG:32735, found"), "{text}");
}
