//! Raw scenes to Level 1 of one tile: 119 cubes, some dates, five assets. One JSON object a line.
//!
//! Three made-up scenes of full size (10 980² pixels, DEFLATE with a predictor in blocks of 1024², like the archive's) lie in
//! `BENCH_FOLDER` under as many dates as are wanted, by hard links; `tile.json` beside them tells the peer's script where.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark speaks to the terminal")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use gdal::DriverManager;
use gdal::raster::{Buffer, GdalType, RasterCreationOptions};
use gdal::spatial_ref::SpatialRef;
use minicube::run::{Ctx, Project, peak_rss_bytes};
use minicube::testing::location;
use minicube::{CellGrid, LocationTable, NaiveDate, Tile};
use rayon::prelude::*;
use serde_json::json;
use x3_level1::{Config, run};

const TILE: &str = "35KMQ";
const GRID: CellGrid = CellGrid { size_px: 128, resolution_m: 30.0 };
const CUBES: usize = 119;
const SCENES: usize = 3;
/// Dates that are timed beside the peer, and dates of the longer run, whose memory must not be larger.
const DATES: usize = 12;
const MORE_DATES: usize = 72;
/// Dates that are then added to these.
const ADDED_DATES: usize = 7;
/// Pixels of 10 m along the edge of a tile.
const EDGE: usize = 10_980;
const ASSETS: [(&str, usize); 5] = [("blue", 10), ("green", 10), ("red", 10), ("nir08", 20), ("scl", 20)];

fn main() {
    let folder = std::path::PathBuf::from(std::env::var_os("BENCH_FOLDER").unwrap());
    scenes(&folder.join("scenes"));
    let threads = rayon::current_num_threads();
    remove(&folder);
    let (seconds, peak) = level1(&folder, DATES);
    let note = format!("{CUBES} cubes, {DATES} dates, 5 assets, {threads} threads, peak {peak:.0} MB");
    for name in ["level1", "level1_by_scene"] {
        println!("{{\"name\":\"{name}\",\"ours\":{seconds:.3},\"unit\":\"s\",\"note\":\"{note}\"}}");
    }
    let folder = folder.join("more");
    remove(&folder);
    let (more, peak) = level1(&folder, MORE_DATES);
    println!(
        "{{\"name\":\"level1_peak_memory\",\"ours\":{peak:.0},\"unit\":\"MB\",\"note\":\"{MORE_DATES} dates in {more:.1} s\"}}"
    );
    let (added, _) = level1(&folder, MORE_DATES + ADDED_DATES);
    println!(
        "{{\"name\":\"level1_append\",\"ours\":{added:.3},\"unit\":\"s\",\"note\":\"{ADDED_DATES} dates added to {MORE_DATES}, which took {more:.1} s\"}}"
    );
}

fn remove(folder: &Path) {
    let data = folder.join("data");
    if data.exists() {
        fs::remove_dir_all(&data).unwrap();
    }
}

/// Seconds of a run, and the process's peak memory so far in MB.
fn level1(folder: &Path, dates: usize) -> (f64, f64) {
    let data = folder.join("data");
    let scenes = folder.ancestors().map(|folder| folder.join("scenes")).find(|path| path.is_dir()).unwrap();
    raw(folder, &data, &scenes, dates);
    let project = Project {
        name: "bench".into(),
        dir: data,
        years: [2021, 2021],
        seed: 42,
        buckets: Default::default(),
    };
    let clock = Instant::now();
    let plan = Config::default().resolve(&project).unwrap();
    run(&plan, &project, &Ctx::quiet(rayon::current_num_threads())).unwrap();
    (clock.elapsed().as_secs_f64(), peak_rss_bytes() as f64 / 1e6)
}

/// The location table, the dates and `tile.json`.
fn raw(folder: &Path, data: &Path, scenes: &Path, dates: usize) {
    let tile = Tile::from_id(TILE).unwrap();
    // 1 and 784 have no common factor with 317: cells all over the tile, none twice.
    let mut cells: Vec<usize> = (0..CUBES).map(|i| i * 317 % 784).collect();
    cells.sort_unstable();
    let cube = |&cell: &usize| {
        let (row, col) = (cell / 28, cell % 28);
        location(TILE, tile.epsg, (row, col), GRID.cell_bounds(&tile, row, col), [26.0, -22.7, 26.1, -22.6])
    };
    let locations: Vec<_> = cells.iter().map(cube).collect();
    let bounds: Vec<[f64; 4]> =
        locations.iter().map(|l| l.bounds).map(|b| [b.x_min, b.y_min, b.x_max, b.y_max]).collect();
    LocationTable { locations, grid: GRID, meta: serde_json::Map::new() }
        .write(&data.join("sampler/locations.parquet"))
        .unwrap();
    let first = NaiveDate::from_ymd_opt(2021, 1, 1).unwrap();
    let mut files: Vec<BTreeMap<&str, String>> = Vec::new();
    for (i, day) in first.iter_days().step_by(5).take(dates).enumerate() {
        let id = format!("S2A_{TILE}_{}_0_L2A", day.format("%Y%m%d"));
        let scene = data.join("raw/s2").join(TILE).join(day.format("%Y%m%d").to_string()).join(&id);
        fs::create_dir_all(&scene).unwrap();
        let properties = json!({"datetime": format!("{day}T08:11:00Z"), "s2:processing_baseline": "02.14"});
        fs::write(
            scene.join("item.json"),
            json!({"type": "Feature", "id": id, "properties": properties}).to_string(),
        )
        .unwrap();
        let link = |(asset, _): &(&'static str, usize)| {
            let path = scene.join(format!("{asset}.tif"));
            if !path.exists() {
                let source = scenes.join((i % SCENES).to_string()).join(format!("{asset}.tif"));
                fs::hard_link(source, &path).unwrap();
            }
            (*asset, path.display().to_string())
        };
        files.push(ASSETS.iter().map(link).collect());
    }
    let store = data.join("level1").join(format!("{TILE}.zarr")).display().to_string();
    let told = json!({"size_px": GRID.size_px, "cubes": bounds, "files": files, "ours": store});
    fs::write(folder.join("tile.json"), told.to_string()).unwrap();
}

/// Writes the scenes that are not there yet.
fn scenes(folder: &Path) {
    for scene in 0..SCENES {
        let folder = folder.join(scene.to_string());
        fs::create_dir_all(&folder).unwrap();
        for (band, (asset, pixel)) in ASSETS.iter().enumerate() {
            let path = folder.join(format!("{asset}.tif"));
            if !path.exists() {
                let whole = folder.join(format!("{asset}.partial.tif"));
                let edge = EDGE * 10 / pixel;
                if *asset == "scl" {
                    raster(
                        &whole,
                        edge,
                        *pixel,
                        image(edge, |y, x, _| if (y / 60 + x / 80 + scene) % 7 < 3 { 9u8 } else { 4 }),
                    );
                } else {
                    raster(
                        &whole,
                        edge,
                        *pixel,
                        image(edge, |y, x, noise| reflectance(scene, band, y * pixel, x * pixel, noise)),
                    );
                }
                fs::rename(&whole, &path).unwrap();
            }
        }
    }
}

/// Fields and roads with noise; the corner that the orbit missed has no data.
fn reflectance(scene: usize, band: usize, north: usize, east: usize, noise: u64) -> u16 {
    if north + east < 20_000 {
        return 0;
    }
    let (y, x) = (north as f32 / 700.0, east as f32 / 900.0);
    let field = (y + scene as f32).sin() * (x - band as f32).cos() * 300.0;
    let plot = ((north / 220 * 7 + east / 310 * 13) % 11) as f32 * 60.0;
    (600.0 + 250.0 * band as f32 + field + plot) as u16 + (noise % 64) as u16
}

/// `[row, column]`, rows in parallel; the third argument of `value` is noise.
fn image<T: Copy + Default + Send>(edge: usize, value: impl Fn(usize, usize, u64) -> T + Sync) -> Vec<T> {
    let mut pixels = vec![T::default(); edge * edge];
    pixels.par_chunks_mut(edge).enumerate().for_each(|(y, row)| {
        let mut state = (y as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for (x, pixel) in row.iter_mut().enumerate() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *pixel = value(y, x, state >> 32);
        }
    });
    pixels
}

fn raster<T: GdalType + Copy>(path: &Path, edge: usize, pixel: usize, values: Vec<T>) {
    let tile = Tile::from_id(TILE).unwrap();
    let options = RasterCreationOptions::from_iter([
        "TILED=YES",
        "BLOCKXSIZE=1024",
        "BLOCKYSIZE=1024",
        "COMPRESS=DEFLATE",
        "PREDICTOR=2",
        "NUM_THREADS=ALL_CPUS",
    ]);
    let driver = DriverManager::get_driver_by_name("GTiff").unwrap();
    let mut dataset =
        driver.create_with_band_type_with_options::<T, _>(path, edge, edge, 1, &options).unwrap();
    let pixel = pixel as f64;
    dataset.set_geo_transform(&[tile.origin.x, pixel, 0.0, tile.origin.y, 0.0, -pixel]).unwrap();
    dataset.set_spatial_ref(&SpatialRef::from_epsg(tile.epsg.0).unwrap()).unwrap();
    let mut band = dataset.rasterband(1).unwrap();
    band.set_no_data_value(Some(0.0)).unwrap();
    band.write((0, 0), (edge, edge), &mut Buffer::new((edge, edge), values)).unwrap();
}
