//! Draws 40 000 locations out of all land cells of Africa, with climate, land cover and elevation of 300 m: seconds, peak
//! memory and how well the strata are met. Prints one JSON object a line. `cargo run -p x1-sampler --example bench_sampler`
//!
//! The rasters are synthetic (`testworld`), made once and kept in the folder `bench-continent` of the build output. The
//! sample is drawn in a process of its own, so that its memory is its own.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use gdal::DriverManager;
use gdal::raster::{Buffer, GdalType, RasterCreationOptions};
use gdal::spatial_ref::SpatialRef;
use minicube::run::{Args, Config as ProjectFile, Ctx};
use rayon::prelude::*;
use serde_json::{Value, json};
use testworld::{GlobeRow, continent_climate, continent_elevation, continent_landcover};
use x1_sampler::Config;

/// Africa and its islands, degrees: west, south, east, north.
const EXTENT: [f64; 4] = [-26.0, -36.0, 60.0, 38.0];
const SEED: u64 = 42;
const COUNT: usize = 40_000;

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(config) = std::env::args().nth(1) {
        return sample(Path::new(&config));
    }
    let folder = rasters()?;
    let project = tempfile::tempdir()?;
    let config = project.path().join("project.toml");
    let source = |name: &str| folder.join(name).display().to_string();
    fs::write(
        &config,
        format!(
            "[project]\nname = \"africa\"\ndir = \"{}\"\nseed = {SEED}\n\n[sampler]\naoi = \"africa\"\ncount = {COUNT}\nstratum_min = 25\n\
             climate = {{ source = \"{}\", legend = \"koppen_beck\" }}\n\
             landcover = {{ source = \"{}\", legend = \"worldcover\" }}\ndem = {{ source = \"{}\" }}\n",
            project.path().display(),
            source("climate.tif"),
            source("landcover.tif"),
            source("dem.tif")
        ),
    )?;
    let output = Command::new(std::env::current_exe()?).arg(&config).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    print!("{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

/// Runs the stage and tells what it took.
fn sample(config: &Path) -> Result<(), Box<dyn Error>> {
    let file = ProjectFile::load(&Args { config: config.to_owned(), ..Args::default() })?;
    let plan = file.section::<Config>("sampler")?.resolve(&file.project)?;
    let clock = Instant::now();
    x1_sampler::run(&plan, &Ctx::quiet(2))?;
    let seconds = clock.elapsed().as_secs_f64();
    let manifest: Value = serde_json::from_slice(&fs::read(plan.folder.join("run.json"))?)?;
    let notes = &manifest["notes"];
    let note = format!(
        "{} locations of {} cells in {} joint strata, 2 threads; climate, land cover and elevation of 300 m",
        notes["locations"], notes["candidate cells"], notes["joint strata"]
    );
    let line = |name: &str, ours: f64, unit: &str| {
        println!("{}", json!({"name": name, "ours": ours, "unit": unit, "note": note}));
    };
    line("sampler_africa_seconds", seconds, "s");
    line("sampler_africa_peak_memory", manifest["peak_rss_bytes"].as_f64().unwrap_or(f64::NAN) / 1e6, "MB");
    line(
        "sampler_africa_largest_deviation",
        notes["largest deviation"].as_f64().unwrap_or(f64::NAN) * 100.0,
        "%",
    );
    Ok(())
}

/// The folder with the three rasters, made where it is not there yet.
fn rasters() -> Result<PathBuf, Box<dyn Error>> {
    let build = std::env::current_exe()?;
    let target = build.ancestors().nth(3).ok_or("the build output has no folder")?;
    let folder = target.join("bench-continent");
    fs::create_dir_all(&folder)?;
    write(&folder.join("climate.tif"), 1.0 / 120.0, |row| continent_climate(SEED, row))?;
    write(&folder.join("landcover.tif"), 1.0 / 360.0, |row| continent_landcover(SEED, row))?;
    write(&folder.join("dem.tif"), 1.0 / 360.0, |row| continent_elevation(SEED, row))?;
    Ok(folder)
}

/// Writes a tiled, compressed GeoTIFF of `step` degrees, whole or not at all.
fn write<T: GdalType + Copy + Send + Default>(
    path: &Path,
    step: f64,
    row: impl Fn(GlobeRow) -> Vec<T> + Sync,
) -> Result<(), Box<dyn Error>> {
    const TILE: usize = 512;
    if path.is_file() {
        return Ok(());
    }
    let [west, south, east, north] = EXTENT;
    let size = |length: f64| (length / step).round() as usize;
    let (cols, rows) = (size(east - west), size(north - south));
    let part = minicube::partial_path(path);
    let options = RasterCreationOptions::from_iter([
        "TILED=YES",
        "BLOCKXSIZE=512",
        "BLOCKYSIZE=512",
        "COMPRESS=ZSTD",
        "ZSTD_LEVEL=1",
        "NUM_THREADS=2",
    ]);
    let driver = DriverManager::get_driver_by_name("GTiff")?;
    let mut dataset = driver.create_with_band_type_with_options::<T, _>(&part, cols, rows, 1, &options)?;
    dataset.set_spatial_ref(&SpatialRef::from_epsg(4326)?)?;
    dataset.set_geo_transform(&[west, step, 0.0, north, 0.0, -step])?;
    let mut band = dataset.rasterband(1)?;
    for top in (0..rows).step_by(TILE) {
        let height = TILE.min(rows - top);
        let lines: Vec<Vec<T>> = (top..top + height)
            .into_par_iter()
            .map(|y| {
                row(GlobeRow { west: west + step / 2.0, lat: north - (y as f64 + 0.5) * step, step, cols })
            })
            .collect();
        band.write((0, top as isize), (cols, height), &mut Buffer::new((cols, height), lines.concat()))?;
    }
    drop(dataset);
    fs::rename(&part, path)?;
    Ok(())
}
