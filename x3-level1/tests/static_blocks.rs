//! Elevation and land cover of which only the blocks near the cubes were fetched.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use common::{cube_lon_lat, project, raw_tree};
use gdal::DriverManager;
use gdal::raster::{Buffer, GdalType, RasterCreationOptions};
use gdal::spatial_ref::SpatialRef;
use minicube::Cube;
use parquet::arrow::ArrowWriter;

const EDGE: usize = 512;
const BLOCK: usize = 64;

fn run(dir: &Path, search_px: usize) -> Output {
    let level1 = format!(
        "[level1]\nstatics = [\"dem\", \"slope\", \"landcover\", \"geomorphon\"]\n[level1.geomorphon]\n\
         search_px = {search_px}"
    );
    let config = project(dir, &level1);
    Command::new(env!("CARGO_BIN_EXE_x3-level1")).arg("run").arg("--config").arg(config).output().unwrap()
}

/// A raster of 3600 pixels a degree around the cubes, without a word about nodata; only those blocks of it that lie within
/// 0.01 degrees (36 pixels) of the cubes, if `near`. The cubes reach 240 m, 8.4 pixels, from the middle. The blocks.
fn raster<T: GdalType + Copy>(path: &Path, near: bool, value: impl Fn(usize, usize) -> T) -> Vec<(i32, i32)> {
    let (place, degrees) = (cube_lon_lat(), 1.0 / 3600.0);
    let (west, north) = (place.lon - 256.0 * degrees, place.lat + 256.0 * degrees);
    let options = ["TILED=YES", "BLOCKXSIZE=64", "BLOCKYSIZE=64", "COMPRESS=DEFLATE", "SPARSE_OK=TRUE"];
    let driver = DriverManager::get_driver_by_name("GTiff").unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let options = RasterCreationOptions::from_iter(options);
    let mut dataset =
        driver.create_with_band_type_with_options::<T, _>(path, EDGE, EDGE, 1, &options).unwrap();
    dataset.set_geo_transform(&[west, degrees, 0.0, north, 0.0, -degrees]).unwrap();
    dataset.set_spatial_ref(&SpatialRef::from_epsg(4326).unwrap()).unwrap();
    let wanted = (256 - 9 - 36) / BLOCK..=(256 + 9 + 36) / BLOCK;
    let mut blocks = Vec::new();
    for row in (0..EDGE / BLOCK).filter(|row| !near || wanted.contains(row)) {
        for col in (0..EDGE / BLOCK).filter(|col| !near || wanted.contains(col)) {
            let at = |i: usize| value(row * BLOCK + i / BLOCK, col * BLOCK + i % BLOCK);
            let mut buffer = Buffer::new((BLOCK, BLOCK), (0..BLOCK * BLOCK).map(at).collect());
            let corner = ((col * BLOCK) as isize, (row * BLOCK) as isize);
            dataset.rasterband(1).unwrap().write(corner, (BLOCK, BLOCK), &mut buffer).unwrap();
            blocks.push((row as i32, col as i32));
        }
    }
    blocks
}

/// The statics of a tree, and its ledger.
fn tree(dir: &Path, near: bool) {
    raw_tree(dir);
    let raw = dir.join("data/raw");
    fs::remove_dir_all(raw.join("dem")).unwrap();
    fs::remove_dir_all(raw.join("landcover")).unwrap();
    let height = |row: usize, col: usize| ((row * 31 + col * 17) % 97) as f32 + 500.0;
    let class = |row: usize, col: usize| if (row / 3 + col / 5).is_multiple_of(2) { 30_u8 } else { 40 };
    let rows: Vec<(&str, (i32, i32))> = [
        ("heights.tif", raster(&raw.join("dem/heights.tif"), near, height)),
        ("classes.tif", raster(&raw.join("landcover/classes.tif"), near, class)),
    ]
    .into_iter()
    .flat_map(|(name, blocks)| blocks.into_iter().map(move |block| (name, block)))
    .collect();
    let text = |get: &dyn Fn(&str) -> String| -> ArrayRef {
        Arc::new(rows.iter().map(|(name, _)| Some(get(name))).collect::<StringArray>())
    };
    let number = |get: fn(&(i32, i32)) -> i32| -> ArrayRef {
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|(_, block)| get(block))))
    };
    let batch = RecordBatch::try_from_iter([
        ("item", text(&str::to_owned)),
        ("asset", text(&|_| String::new())),
        ("block_row", number(|block| block.0)),
        ("block_col", number(|block| block.1)),
        ("status", text(&|_| "fetched".to_owned())),
        ("etag", text(&|_| "\"abc\"".to_owned())),
    ])
    .unwrap();
    let file = fs::File::create(raw.join("ledger.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn cube(dir: &Path) -> Cube {
    Cube::open(&dir.join("data/level1/35KMQ.zarr"), "level1").unwrap()
}

#[test]
fn blocks_near_the_cubes_make_the_same_layers_as_the_whole_file() {
    let (whole, sparse) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (dir, near) in [(&whole, false), (&sparse, true)] {
        tree(dir.path(), near);
        let output = run(dir.path(), 11);
        // Their ledger does not explain the block that the tree's last scene lacks.
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let size = |dir: &Path, name: &str| fs::metadata(dir.join("data/raw").join(name)).unwrap().len();
    assert!(size(sparse.path(), "dem/heights.tif") * 2 < size(whole.path(), "dem/heights.tif"));
    let (whole, sparse) = (cube(whole.path()), cube(sparse.path()));
    for name in ["static/dem", "static/slope"] {
        let values = whole.read::<f32>(name).unwrap();
        assert!(values.iter().all(|value| value.is_finite()), "{name}");
        assert_eq!(values, sparse.read::<f32>(name).unwrap(), "{name}");
    }
    for name in ["static/landcover", "static/geomorphon"] {
        let values = whole.read::<u8>(name).unwrap();
        assert!(values.iter().all(|value| *value > 0), "{name}");
        assert_eq!(values, sparse.read::<u8>(name).unwrap(), "{name}");
    }
}

/// Terrain forms that look 80 pixels of 30 m far need what was not fetched: it would read as a plain at 0 m.
#[test]
fn a_block_that_was_not_fetched_is_not_sea_level() {
    let dir = tempfile::tempdir().unwrap();
    tree(dir.path(), true);
    let output = run(dir.path(), 80);
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert_ne!(output.status.code(), Some(0));
    for expected in ["heights.tif: expected every block within 2430 m of 35KMQ_0000", "was not fetched"] {
        assert!(said.contains(expected), "{said}");
    }
}
