//! What the benches share: the set-up of 20 dates and four bands, and what the process and the server have used.
#![allow(dead_code, reason = "each bench uses a part")]

use std::error::Error;
use std::path::{Path, PathBuf};

use minicube::run::Project;
use minicube::{Bounds, CellGrid, Epsg, Location, LocationTable, NaiveDate};
use serde_json::Value;
use x2_downloader::{Download, Plan};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

pub(crate) const TILE: &str = "35KMQ";
/// Upper-left corner of the tile in EPSG:32735.
pub(crate) const ORIGIN: (f64, f64) = (399_960.0, 7_500_040.0);
pub(crate) const BANDS: [&str; 4] = ["blue", "green", "red", "nir"];
/// Upper-left pixel of a window of 366 pixels of 10 m around the block corner at 5120, 5120; and of another one.
pub(crate) const WINDOW: (usize, usize) = (5120 - 183, 5120 - 183);
pub(crate) const SECOND: (usize, usize) = (2048 - 183, 8192 - 183);
pub(crate) const SIZE_PX: usize = 366;

/// Address of the synthetic Earth that both sides read from.
pub(crate) fn earth() -> Result<String> {
    std::env::var("BENCH_EARTH")
        .map_err(|_| "BENCH_EARTH: expected the address of a `testworld serve`".into())
}

/// Twenty dates every five days, the given windows, exact archive without classification.
pub(crate) fn plan(earth: &str, dir: &Path, windows: &[(usize, usize)]) -> Result<Plan> {
    let section = Download {
        stac: format!("{earth}/stac"),
        assets: BANDS.map(str::to_owned).to_vec(),
        scl: false,
        max_cloud_cover: 100.0,
        skip_cloudy_blocks: false,
        days: Some([day(2021, 1, 1)?, day(2021, 4, 10)?]),
        ..Download::default()
    };
    plan_of(&section, dir, locations(windows))
}

/// A plan for the given locations.
pub(crate) fn plan_of(section: &Download, dir: &Path, locations: Vec<Location>) -> Result<Plan> {
    let project = Project {
        name: "bench".into(),
        dir: dir.to_owned(),
        years: [2021, 2021],
        seed: 42,
        buckets: Default::default(),
    };
    let table = LocationTable { locations, grid: CellGrid::default(), meta: serde_json::Map::new() };
    table.write(&project.locations())?;
    Ok(Plan::new(project, section, &table)?)
}

/// One location a window.
pub(crate) fn locations(windows: &[(usize, usize)]) -> Vec<Location> {
    let at = |index: usize, &(row, col): &(usize, usize)| {
        let (x_min, y_max) = (ORIGIN.0 + 10.0 * col as f64, ORIGIN.1 - 10.0 * row as f64);
        let size = 10.0 * SIZE_PX as f64;
        location(index, Bounds { x_min, y_min: y_max - size, x_max: x_min + size, y_max })
    };
    windows.iter().enumerate().map(|(index, window)| at(index, window)).collect()
}

/// A location on the bench's tile with these bounds. Its outline is the tile's box in degrees, so that a cube added
/// later is no new question for the catalogue.
pub(crate) fn location(index: usize, bounds: Bounds) -> Location {
    minicube::testing::location(TILE, Epsg(32735), (0, index), bounds, [26.0, -23.6, 27.1, -22.6])
}

pub(crate) fn day(year: i32, month: u32, day: u32) -> Result<NaiveDate> {
    NaiveDate::from_ymd_opt(year, month, day).ok_or_else(|| "no such day".into())
}

/// Scene folders of a raw store, ascending.
pub(crate) fn scenes(raw: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for date in std::fs::read_dir(raw.join("s2").join(TILE))? {
        for scene in std::fs::read_dir(date?.path())? {
            found.push(scene?.path());
        }
    }
    found.sort();
    Ok(found)
}

/// The server's counters.
pub(crate) fn stats(earth: &str) -> Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build()?;
        Ok(client.get(format!("{earth}/stats")).send().await?.error_for_status()?.json().await?)
    })
}

/// What a server counted between two looks.
pub(crate) fn counted(before: &Value, after: &Value, name: &str) -> f64 {
    after[name].as_f64().unwrap_or(f64::NAN) - before[name].as_f64().unwrap_or(f64::NAN)
}

/// Processor time of this process, user and system, seconds; NaN where the system does not tell.
pub(crate) fn cpu_seconds() -> f64 {
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    ticks(11).zip(ticks(12)).map_or(f64::NAN, |(user, system)| (user + system) / TICKS_A_SECOND)
}
