//! A tiny raw tree of every source, with numbers that can be worked out by hand.
//!
//! One tile (35KMQ), two cubes of 8 × 8 px of 30 m in its upper-left corner, three acquisitions, three days.
#![expect(clippy::unwrap_used, unreachable_pub, reason = "helpers of tests may fail loudly")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use gdal::DriverManager;
use gdal::raster::{Buffer, GdalType, RasterCreationOptions};
use gdal::spatial_ref::SpatialRef;
use minicube::{CellGrid, Location, LocationTable, LonLat, Split, Tile, location_id};
use ndarray::Array2;
use parquet::arrow::ArrowWriter;

pub const TILE: &str = "35KMQ";
pub const GRID: CellGrid = CellGrid { size_px: 8, resolution_m: 30.0 };
/// Pixels of the 10 m rasters along an edge; 20 m rasters have half of them.
const EDGE: usize = 96;
const BLOCK: usize = 32;

/// Day, scene id, baseline, offset applied.
pub const SCENES: [(&str, &str, &str, bool); 3] = [
    ("20210105", "S2A_35KMQ_20210105_0_L2A", "02.14", false),
    ("20220205", "S2B_35KMQ_20220205_0_L2A", "04.00", false),
    ("20220210", "S2A_35KMQ_20220210_0_L2A", "04.00", true),
];

/// What a 10 m band holds: a different number everywhere, never 0.
pub fn number(scene: usize, row: usize, col: usize) -> u16 {
    (2000 + 100 * scene + 7 * row + 3 * col) as u16
}

/// A project in `dir`: its TOML file.
pub fn project(dir: &Path, level1: &str) -> PathBuf {
    let path = dir.join("project.toml");
    let text = format!(
        "[project]\nname = \"tiny\"\ndir = \"{}\"\nyears = [2021, 2022]\n\n{level1}\n",
        dir.join("data").display()
    );
    fs::write(&path, text).unwrap();
    path
}

/// Everything that x1 and x2 would have left in `dir/data`.
pub fn raw_tree(dir: &Path) {
    let data = dir.join("data");
    locations(&data, 2);
    for (index, (day, id, baseline, applied)) in SCENES.into_iter().enumerate() {
        // In the last scene the block under the second cube is not there.
        scene(&data, index, (day, id), (baseline, applied), index == 2);
    }
    ledger(&data.join("raw/ledger.parquet"), "skipped_cloudy");
    smap(&data.join("raw/smap"));
    era5(&data.join("raw/era5"));
    statics(&data.join("raw"));
}

/// A scene with its five rasters. In a sparse one the second block of the 10 m bands is not there.
pub fn scene(
    data: &Path,
    index: usize,
    (day, id): (&str, &str),
    (baseline, applied): (&str, bool),
    sparse: bool,
) {
    let folder = data.join("raw/s2").join(TILE).join(day).join(id);
    fs::create_dir_all(&folder).unwrap();
    let datetime = format!("{}-{}-{}T08:11:{:02}Z", &day[..4], &day[4..6], &day[6..], index % 60);
    let item = serde_json::json!({"type": "Feature", "id": id, "properties": {
        "datetime": datetime, "s2:processing_baseline": baseline, "earthsearch:boa_offset_applied": applied}});
    fs::write(folder.join("item.json"), item.to_string()).unwrap();
    for asset in ["blue", "green", "red"] {
        let values = Array2::from_shape_fn((EDGE, EDGE), |(r, c)| number(index, r, c));
        raster(&folder.join(format!("{asset}.tif")), &values, 10.0, sparse);
    }
    let half = Array2::from_shape_fn((EDGE / 2, EDGE / 2), |(r, c)| number(index, 2 * r, 2 * c));
    raster(&folder.join("nir08.tif"), &half, 20.0, false);
    let classes = Array2::from_shape_fn((EDGE / 2, EDGE / 2), |(r, _)| if r < 6 { 4u8 } else { 9 });
    raster(&folder.join("scl.tif"), &classes, 20.0, false);
}

/// The table of the first `count` of the two cubes.
pub fn locations(data: &Path, count: usize) {
    let tile = Tile::from_id(TILE).unwrap();
    let location = |col: usize| {
        let bounds = GRID.cell_bounds(&tile, 0, col);
        Location {
            id: location_id(TILE, 0, col),
            tile: TILE.to_owned(),
            epsg: tile.epsg,
            row: 0,
            col,
            bounds,
            lon: 26.02 + 0.01 * col as f64,
            lat: -22.6,
            strata: BTreeMap::new(),
            attributes: BTreeMap::new(),
            fold: None,
            weight: 1.0,
            split: Split::Train,
            seed: 1,
            polygon: [(0.0, 0.0), (0.01, 0.0), (0.01, 0.01), (0.0, 0.0)]
                .map(|(x, y)| LonLat { lon: 26.0 + x, lat: -22.6 + y })
                .to_vec(),
        }
    };
    // Cells 0 and 1 are 240 m apart: 24 source pixels of 10 m.
    let table = LocationTable {
        locations: (0..count).map(location).collect(),
        grid: GRID,
        meta: serde_json::Map::new(),
    };
    table.write(&data.join("sampler/locations.parquet")).unwrap();
}

/// A GeoTIFF in the tile's corner with blocks of 32 px; a sparse one lacks the second block of the first row.
pub fn raster<T: GdalType + Copy>(path: &Path, values: &Array2<T>, pixel: f64, sparse: bool) {
    let tile = Tile::from_id(TILE).unwrap();
    let (rows, cols) = values.dim();
    let options = RasterCreationOptions::from_iter([
        "TILED=YES",
        "BLOCKXSIZE=32",
        "BLOCKYSIZE=32",
        "COMPRESS=DEFLATE",
        "PREDICTOR=2",
        "SPARSE_OK=TRUE",
    ]);
    let driver = DriverManager::get_driver_by_name("GTiff").unwrap();
    let mut dataset =
        driver.create_with_band_type_with_options::<T, _>(path, cols, rows, 1, &options).unwrap();
    dataset.set_geo_transform(&[tile.origin.x, pixel, 0.0, tile.origin.y, 0.0, -pixel]).unwrap();
    dataset.set_spatial_ref(&SpatialRef::from_epsg(tile.epsg.0).unwrap()).unwrap();
    let mut band = dataset.rasterband(1).unwrap();
    band.set_no_data_value(Some(0.0)).unwrap();
    for row in (0..rows).step_by(BLOCK) {
        for col in (0..cols).step_by(BLOCK) {
            if sparse && (row, col) == (0, BLOCK) {
                continue;
            }
            let (height, width) = (BLOCK.min(rows - row), BLOCK.min(cols - col));
            let part = values.slice(ndarray::s![row..row + height, col..col + width]);
            let mut buffer = Buffer::new((width, height), part.iter().copied().collect());
            band.write((col as isize, row as isize), (width, height), &mut buffer).unwrap();
        }
    }
}

/// A ledger that knows the one absent block.
pub fn ledger(path: &Path, status: &str) {
    let assets = ["blue", "green", "red"];
    let text = |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value; 3])) };
    let number = |value: i32| -> ArrayRef { Arc::new(Int32Array::from(vec![value; 3])) };
    let batch = RecordBatch::try_from_iter([
        ("item", text(SCENES[2].1)),
        ("asset", Arc::new(StringArray::from(assets.to_vec())) as ArrayRef),
        ("block_row", number(0)),
        ("block_col", number(1)),
        ("status", text(status)),
        ("etag", text("\"abc\"")),
    ])
    .unwrap();
    let mut writer = ArrowWriter::try_new(fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// A subset of 3 × 3 cells around the place with its own x and y. On 1 January 2021 all eight granules k hold
/// 0.1 + 0.01 k in the middle cell; on the 2nd only the first four are there; on the 3rd one is missing its value.
fn smap(folder: &Path) {
    let centre = x3_level1::Ease2Grid::global(1624, 3856)
        .unwrap()
        .project(&[LonLat { lon: 26.025, lat: -22.6 }])
        .unwrap()[0];
    for (day, granules) in [("20210101", 8), ("20210102", 4), ("20210103", 8)] {
        let folder = folder.join(day);
        fs::create_dir_all(&folder).unwrap();
        for k in 0..granules {
            let file =
                hdf5::File::create(folder.join(format!("SMAP_{day}T{:02}3000.h5", 3 * k + 1))).unwrap();
            let group = file.create_group("Geophysical_Data").unwrap();
            for (name, base) in [("sm_rootzone", 0.1f32), ("sm_surface", 0.2)] {
                let mut values = Array2::from_elem((3, 3), 9.0f32);
                values[[1, 1]] = if day == "20210103" && k == 0 { -9999.0 } else { base + 0.01 * k as f32 };
                let data = group.new_dataset_builder().with_data(&values).create(name).unwrap();
                data.new_attr::<f32>().create("_FillValue").unwrap().write_scalar(&-9999.0f32).unwrap();
                let units: hdf5::types::VarLenUnicode = "m3 m-3".parse().unwrap();
                data.new_attr::<hdf5::types::VarLenUnicode>()
                    .create("units")
                    .unwrap()
                    .write_scalar(&units)
                    .unwrap();
            }
            let x: Vec<f64> = [-9008.0, 0.0, 9008.0].iter().map(|d| centre.0 + d).collect();
            let y: Vec<f64> = [9008.0, 0.0, -9008.0].iter().map(|d| centre.1 + d).collect();
            file.new_dataset_builder().with_data(&x).create("x").unwrap();
            file.new_dataset_builder().with_data(&y).create("y").unwrap();
        }
    }
}

/// Hourly, packed, latitudes descending, longitudes from 0 to 360. t2m = 280 + hour of the day, tp = 0.001 an hour, of
/// which one value is missing on 3 January.
fn era5(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let mut file = netcdf::create(folder.join("era5_2021.nc")).unwrap();
    file.add_dimension("time", 72).unwrap();
    file.add_dimension("latitude", 3).unwrap();
    file.add_dimension("longitude", 3).unwrap();
    let mut axis = |name: &str, units: &str, values: &[f64]| {
        let mut var = file.add_variable::<f64>(name, &[name]).unwrap();
        var.put_attribute("units", units).unwrap();
        var.put_values(values, ..).unwrap();
    };
    axis("latitude", "degrees_north", &[-22.5, -22.75, -23.0]);
    axis("longitude", "degrees_east", &[25.75, 26.0, 26.25]);
    // 2021-01-01 is day 44 195 after 1900-01-01.
    let hours: Vec<f64> = (0..72).map(|hour| f64::from(44_195 * 24 + hour)).collect();
    axis("time", "hours since 1900-01-01 00:00:00.0", &hours);
    for (name, units, scale, offset) in [("t2m", "K", 0.01, 290.0), ("tp", "m", 1e-6, 0.0)] {
        let mut var = file.add_variable::<i16>(name, &["time", "latitude", "longitude"]).unwrap();
        var.set_fill_value(-32767i16).unwrap();
        var.put_attribute("units", units).unwrap();
        var.put_attribute("scale_factor", scale).unwrap();
        var.put_attribute("add_offset", offset).unwrap();
        let value = |hour: usize, cell: usize| match name {
            // The wanted cell is the first row (−22.5), middle column (26.0): cell 1.
            _ if cell != 1 => 7,
            "t2m" => ((280.0 + (hour % 24) as f64 - 290.0) / 0.01f64).round() as i16,
            _ if hour == 50 => -32767,
            _ => 1000,
        };
        let values: Vec<i16> =
            (0..72).flat_map(|hour| (0..9).map(move |cell| (hour, cell))).map(|(h, c)| value(h, c)).collect();
        var.put_values(&values, ..).unwrap();
    }
    file.close().unwrap();
}

/// Elevation 1000 m everywhere in two degree-grid files that meet within the cubes, and land cover 30 in the west, 40
/// in the east.
fn statics(raw: &Path) {
    let degrees = SpatialRef::from_epsg(4326).unwrap();
    let driver = DriverManager::get_driver_by_name("GTiff").unwrap();
    let place = cube_lon_lat();
    fs::create_dir_all(raw.join("dem")).unwrap();
    fs::create_dir_all(raw.join("landcover")).unwrap();
    for (name, west) in [("a.tif", place.lon - 0.1), ("b.tif", place.lon)] {
        let mut dataset =
            driver.create_with_band_type::<f32, _>(raw.join("dem").join(name), 100, 200, 1).unwrap();
        dataset.set_geo_transform(&[west, 0.001, 0.0, place.lat + 0.1, 0.0, -0.001]).unwrap();
        dataset.set_spatial_ref(&degrees).unwrap();
        let mut buffer = Buffer::new((100, 200), vec![1000f32; 20_000]);
        dataset.rasterband(1).unwrap().write((0, 0), (100, 200), &mut buffer).unwrap();
    }
    let mut dataset =
        driver.create_with_band_type::<u8, _>(raw.join("landcover/lc.tif"), 2000, 2000, 1).unwrap();
    dataset.set_geo_transform(&[place.lon - 0.1, 0.0001, 0.0, place.lat + 0.1, 0.0, -0.0001]).unwrap();
    dataset.set_spatial_ref(&degrees).unwrap();
    let values = (0..4_000_000).map(|i| if i % 2000 < 1000 { 30u8 } else { 40 }).collect();
    let mut buffer = Buffer::new((2000, 2000), values);
    dataset.rasterband(1).unwrap().write((0, 0), (2000, 2000), &mut buffer).unwrap();
}

/// The middle of the edge between the two cubes.
pub fn cube_lon_lat() -> LonLat {
    let tile = Tile::from_id(TILE).unwrap();
    let proj = proj::Proj::new_known_crs(&format!("EPSG:{}", tile.epsg.0), "EPSG:4326", None).unwrap();
    let (lon, lat) = proj.convert((tile.origin.x + 240.0, tile.origin.y - 120.0)).unwrap();
    LonLat { lon, lat }
}
