//! Windows of many scenes from a synthetic archive on loopback: bytes over the payload floor, and seconds. One JSON
//! object a line. `cargo run -p x2-downloader --example bench_cog [DAYS]`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use minicube::run::{Ctx, Project};
use minicube::{CellGrid, Location, LocationTable, Split, location_id};
use serde_json::json;
use testworld::{Region, ServeOptions, World, serve};
use x2_downloader::{Download, Plan};

const LATENCY_MS: u64 = 30;

fn main() -> Result<(), Box<dyn Error>> {
    let days: i64 = std::env::args().nth(1).map_or(Ok(100), |text| text.parse())?;
    let world = World::new(42)?;
    let folder = tempfile::tempdir()?;
    let cache = folder.path().join("archive");
    let options = ServeOptions {
        latency: Duration::from_millis(LATENCY_MS),
        cache: Some(cache),
        ..ServeOptions::default()
    };
    let server = serve(world.clone(), options)?;
    let section = Download {
        stac: server.stac_url(),
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
        let before = server.stats();
        let clock = Instant::now();
        x2_downloader::run(&plan, &Ctx::quiet(2), false)?;
        let seconds = clock.elapsed().as_secs_f64();
        let manifest: serde_json::Value =
            serde_json::from_slice(&std::fs::read(plan.project.raw().join("run.json"))?)?;
        let notes = manifest["notes"].clone();
        let requests = server.stats().requests - before.requests;
        figures = Some((seconds, requests, notes));
    }
    let Some((seconds, requests, notes)) = figures else { return Ok(()) };
    let megabytes = notes["received_bytes"].as_f64().unwrap_or(0.0) / 1e6;
    let note = format!(
        "{days} days, 5 assets, 1 cell of 3840 m, {requests} requests, {megabytes:.1} MB, {LATENCY_MS} ms latency"
    );
    println!(
        "{}",
        json!({"name": "cog_fetch_bytes_over_floor", "ours": notes["received_over_floor"], "unit": "ratio", "note": note})
    );
    println!("{}", json!({"name": "cog_fetch_seconds", "ours": seconds, "unit": "s", "note": note}));
    Ok(())
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
        weight: 1.0,
        split: Split::Train,
        seed: 1,
        polygon: Vec::new(),
    };
    LocationTable { locations: vec![location], grid, meta: serde_json::Map::new() }
}
