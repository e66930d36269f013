//! Windows of many scenes from a synthetic archive on loopback into sparse COGs: seconds, requests and bytes. One JSON
//! object a line. `cargo run -p x2-downloader --example bench_cog [DAYS]`; the peer is `xtask/peers/bench_cog.py`.
//!
//! With `BENCH_EARTH` set to the base URL of a `testworld serve` both sides read from the same server.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use minicube::run::{Ctx, Project};
use minicube::{CellGrid, Location, LocationTable, Split, location_id};
use serde_json::{Value, json};
use testworld::{Region, ServeOptions, World, serve};
use x2_downloader::{Download, Plan};

const LATENCY_MS: u64 = 30;

fn main() -> Result<(), Box<dyn Error>> {
    let days: i64 = std::env::args().nth(1).map_or(Ok(100), |text| text.parse())?;
    let world = World::new(42)?;
    let folder = tempfile::tempdir()?;
    let options = ServeOptions {
        latency: Duration::from_millis(LATENCY_MS),
        cache: Some(folder.path().join("archive")),
        ..ServeOptions::default()
    };
    let given = std::env::var("BENCH_EARTH").ok();
    let own = if given.is_none() { Some(serve(world.clone(), options)?) } else { None };
    let earth = given.or(own.as_ref().map(|server| server.base_url().to_owned())).unwrap_or_default();
    let section = Download {
        stac: format!("{earth}/stac"),
        max_cloud_cover: 100.0,
        skip_cloudy_blocks: false,
        ..Download::default()
    };
    // The first run makes the server draw and keep its rasters; the second one is measured.
    let mut figures = None;
    for attempt in ["warm", "cold"] {
        let project =
            Project { name: "bench".into(), dir: folder.path().join(attempt), years: [2021, 2021], seed: 42 };
        table(&world).write(&project.locations())?;
        let mut plan = Plan::new(project, &section, &table(&world))?;
        plan.last = plan.first + chrono::Duration::days(days - 1);
        let before = requests(&earth)?;
        let clock = Instant::now();
        x2_downloader::run(&plan, &Ctx::quiet(2), false)?;
        let seconds = clock.elapsed().as_secs_f64();
        let manifest: Value = serde_json::from_slice(&std::fs::read(plan.project.raw().join("run.json"))?)?;
        figures = Some((seconds, requests(&earth)? - before, manifest["notes"].clone()));
    }
    let Some((seconds, requests, notes)) = figures else { return Ok(()) };
    let note = format!("{days} days, 5 assets, 1 cell of 3840 m, {LATENCY_MS} ms latency");
    let line = |name: &str, ours: Value, unit: &str| {
        println!("{}", json!({"name": name, "ours": ours, "unit": unit, "note": note}));
    };
    line("cog_fetch_bytes_over_floor", notes["received_over_floor"].clone(), "ratio");
    line("cog_fetch_seconds", seconds.into(), "s");
    line("cog_fetch_requests", requests.into(), "requests");
    line("cog_fetch_megabytes", (notes["received_bytes"].as_f64().unwrap_or(0.0) / 1e6).into(), "MB");
    Ok(())
}

/// Requests that the server has counted so far.
fn requests(earth: &str) -> Result<u64, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stats: Value = runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build()?;
        client.get(format!("{earth}/stats")).send().await?.error_for_status()?.json().await
    })?;
    stats["requests"].as_u64().ok_or_else(|| format!("{earth}/stats: no requests in {stats}").into())
}

/// One cell whose window crosses a block corner.
fn table(world: &World) -> LocationTable {
    let (tile, grid) = (world.tile(Region::Africa).clone(), CellGrid::default());
    let (row, col) = (13, 13);
    let bounds = grid.cell_bounds(&tile, row, col);
    let center = world.lon_lat(Region::Africa, bounds.center());
    let location = Location {
        id: location_id(&tile.id, row, col),
        tile: tile.id.clone(),
        epsg: tile.epsg,
        row,
        col,
        bounds,
        lon: center.lon,
        lat: center.lat,
        strata: BTreeMap::new(),
        attributes: BTreeMap::new(),
        fold: None,
        weight: 1.0,
        split: Split::Train,
        seed: 1,
        polygon: Vec::new(),
    };
    LocationTable { locations: vec![location], grid, meta: serde_json::Map::new() }
}
