//! Windows of 80 COGs of 10 980² pixels (20 dates, 4 bands; 366 pixels around a block corner) from a synthetic archive
//! with 30 ms of latency: fetched into sparse COGs, and fetched and decoded; a second cube of the tile; 119 cubes of a
//! tile, without and with cloudy blocks left out. One JSON object a line; the peers are in `xtask/peers/bench_cog.py`.
//!
//! `BENCH_EARTH` is the base URL of a `testworld serve --fill --latency-ms 30`. As on the peers' side the search is
//! done beforehand. Every step runs in a process of its own, so that its memory is its own.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod common;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use common::{BANDS, Result, SECOND, SIZE_PX, WINDOW, counted, cpu_seconds, earth, plan, scenes, stats};
use futures::{StreamExt, TryStreamExt, stream};
use minicube::run::{Ctx, peak_rss_bytes};
use minicube::testing::location;
use minicube::{CellGrid, Epsg, Tile, sha256_bytes};
use rayon::prelude::*;
use serde_json::{Value, json};
use x2_downloader::{Download, EstimateOptions, Plan};

const CELLS: usize = 119;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let earth = earth()?;
    if let [step, folder] = &arguments[..] {
        return match step.as_str() {
            "fetch" => fetch(&earth, Path::new(folder)),
            "decode" => decode(&earth, Path::new(folder)),
            "second" => second(&earth, Path::new(folder)),
            "limit" => limit(&earth, Path::new(folder)),
            _ => tiles(&earth, Path::new(folder)),
        };
    }
    let folder = tempfile::tempdir()?;
    // The first run makes the server draw and keep its rasters, and leaves the catalogue's answer.
    let warm = plan(&earth, &folder.path().join("warm"), &[WINDOW])?;
    x2_downloader::run(&warm, &Ctx::quiet(2), false)?;
    for step in ["fetch", "decode", "second", "limit", "tiles"] {
        let status = Command::new(std::env::current_exe()?).arg(step).arg(folder.path()).status()?;
        if !status.success() {
            return Err(format!("{step} ended with {status}").into());
        }
    }
    Ok(())
}

fn line(name: &str, ours: impl Into<Value>, unit: &str, note: &str) {
    println!("{}", json!({"name": name, "ours": ours.into(), "unit": unit, "note": note}));
}

/// A project beside the warm one that knows the catalogue's answer.
fn cold(earth: &str, folder: &Path, name: &str) -> Result<Plan> {
    let plan = plan(earth, &folder.join(name), &[WINDOW])?;
    let answer = "raw/.ledger/s2/35KMQ/search.json";
    let to = plan.project.dir.join(answer);
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::copy(folder.join("warm").join(answer), to)?;
    Ok(plan)
}

fn fetch(earth: &str, folder: &Path) -> Result<()> {
    let plan = cold(earth, folder, "fetch")?;
    let (before, cpu, clock) = (stats(earth)?, cpu_seconds(), Instant::now());
    x2_downloader::run(&plan, &Ctx::quiet(2), false)?;
    let (seconds, cpu) = (clock.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let after = stats(earth)?;
    let manifest: Value = serde_json::from_slice(&std::fs::read(plan.project.raw().join("run.json"))?)?;
    let note = "80 COGs, 366 px, 30 ms, into sparse COGs, hashed and checked";
    line("cog_fetch_seconds", seconds, "s", note);
    line("cog_fetch_cpu_seconds", cpu, "s", note);
    line("cog_requests", counted(&before, &after, "requests"), "requests", note);
    line("cog_bytes", counted(&before, &after, "file_bytes"), "bytes", note);
    line("cog_bytes_over_floor", manifest["notes"]["received_over_floor"].clone(), "ratio", note);
    line("cog_peak_rss_mb", peak_rss_bytes() as f64 / 1e6, "MB", note);
    Ok(())
}

fn decode(earth: &str, folder: &Path) -> Result<()> {
    let plan = cold(earth, folder, "decode")?;
    let (cpu, clock) = (cpu_seconds(), Instant::now());
    x2_downloader::run(&plan, &Ctx::quiet(2), false)?;
    let files: Vec<_> = scenes(&plan.project.raw())?
        .into_iter()
        .flat_map(|scene| BANDS.map(|band| scene.join(format!("{band}.tif"))))
        .collect();
    let (rows, cols) = (WINDOW.0..WINDOW.0 + SIZE_PX, WINDOW.1..WINDOW.1 + SIZE_PX);
    let planes = files
        .par_iter()
        .map(|file| x2_downloader::read_window(file, rows.clone(), cols.clone()))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let (seconds, cpu) = (clock.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let note = "the same, and decoded into [date, band, y, x]";
    line("cog_decode_seconds", seconds, "s", note);
    line("cog_decode_cpu_seconds", cpu, "s", note);
    let bytes: Vec<u8> = planes.iter().flatten().flat_map(|pixel| pixel.to_le_bytes()).collect();
    line("cog_values", 0, "", &sha256_bytes(&bytes));
    Ok(())
}

/// Another cube of a tile of which one was fetched: its blocks only.
fn second(earth: &str, folder: &Path) -> Result<()> {
    let plan = plan(earth, &folder.join("fetch"), &[WINDOW, SECOND])?;
    let before = stats(earth)?;
    x2_downloader::run(&plan, &Ctx::quiet(2), false)?;
    let after = stats(earth)?;
    let requests = counted(&before, &after, "requests");
    line(
        "cog_second_cube_requests",
        requests,
        "requests",
        "another cube of the tile, around another block corner",
    );
    Ok(())
}

/// What the server and the connections can do: the same ranges, read and thrown away.
fn limit(earth: &str, folder: &Path) -> Result<()> {
    let ledger = folder.join("fetch/raw/.ledger/s2/35KMQ");
    let mut ranges = Vec::new();
    for part in std::fs::read_dir(ledger)? {
        let path = part?.path();
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        for row in std::fs::read_to_string(path)?.lines().skip(1) {
            let row: Value = serde_json::from_str(row)?;
            let (Some(path), Some(at), Some(len)) =
                (row["url_path"].as_str(), row["offset"].as_u64(), row["length"].as_u64())
            else {
                continue;
            };
            if len > 0 {
                ranges.push((format!("{earth}{path}"), at, len));
            }
        }
    }
    ranges.truncate(320);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let clock = Instant::now();
    let received: u64 = runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let one = |(url, at, len): (String, u64, u64)| {
            let request = client.get(url).header("Range", format!("bytes={at}-{}", at + len - 1));
            async move {
                let mut response = request.send().await?.error_for_status()?;
                let mut received = 0;
                while let Some(piece) = response.chunk().await? {
                    received += piece.len() as u64;
                }
                Ok::<u64, reqwest::Error>(received)
            }
        };
        stream::iter(ranges)
            .map(one)
            .buffer_unordered(16)
            .try_fold(0, |sum, one| async move { Ok(sum + one) })
            .await
    })?;
    let seconds = clock.elapsed().as_secs_f64();
    let note = format!("320 ranges, {:.0} MB, read and thrown away on 16 connections", received as f64 / 1e6);
    line("cog_server_limit_seconds", seconds, "s", &note);
    Ok(())
}

/// A year of 119 cells drawn on a tile of each region: what it costs by the exact plan, against all files whole.
fn tiles(earth: &str, folder: &Path) -> Result<()> {
    tile(earth, folder, ("35KMQ", 32735, [26.0, -23.6, 27.1, -22.6]))?;
    tile(earth, folder, ("32UPB", 32632, [10.4, 50.4, 12.1, 51.5]))
}

fn tile(earth: &str, folder: &Path, (id, epsg, degrees): (&str, u32, [f64; 4])) -> Result<()> {
    let tile = Tile::from_id(id)?;
    let grid = CellGrid::default();
    let locations: Vec<_> = draw(CELLS)
        .into_iter()
        .map(|cell| {
            let (row, col) = (cell / 28, cell % 28);
            location(id, Epsg(epsg), (row, col), grid.cell_bounds(&tile, row, col), degrees)
        })
        .collect();
    let mut costs = Vec::new();
    let mut whole = (0, 0.0, 0);
    for skip in [false, true] {
        let section = Download {
            stac: format!("{earth}/stac"),
            assets: BANDS.map(str::to_owned).to_vec(),
            max_cloud_cover: 100.0,
            skip_cloudy_blocks: skip,
            ..Download::default()
        };
        let plan = common::plan_of(&section, &folder.join(format!("{id}-{skip}")), locations.clone())?;
        x2_downloader::estimate(&plan, &Ctx::quiet(2), EstimateOptions { exact: true, rate_mb_s: 10.0 })?;
        let ledger = plan.project.raw().join(".ledger");
        let estimate: Value = serde_json::from_slice(&std::fs::read(ledger.join("plan.json"))?)?;
        costs.push(estimate["bytes"].as_f64().ok_or("no bytes in the plan")?);
        if !skip {
            whole = totals(&ledger.join("s2").join(id))?;
        }
    }
    let (files, cloud, bytes) = whole;
    let note = format!(
        "{id}: {CELLS} cells, {files} files of 2021, {:.0} GB whole, mean cloud cover {cloud:.0} %",
        bytes as f64 / 1e9
    );
    let name = |what: &str| format!("cog_tile_share{what}/{id}");
    line(&name(""), costs[0] / bytes as f64, "of full download", &note);
    line(&name("_clear"), costs[1] / bytes as f64, "of full download", &note);
    Ok(())
}

/// Number of rasters whose directory was read, mean cloud cover of the scenes, and bytes of the rasters.
fn totals(ledger: &Path) -> Result<(usize, f64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    for part in std::fs::read_dir(ledger)? {
        let path = part?.path();
        if path.extension().is_none_or(|extension| extension != "headers") {
            continue;
        }
        for header in std::fs::read_to_string(path)?.lines().filter(|line| !line.is_empty()) {
            let (_, header) = header.split_once(' ').ok_or("no checksum before a header")?;
            let header: Value = serde_json::from_str(header)?;
            files += 1;
            bytes += header["total"].as_u64().ok_or("no total in a header")?;
        }
    }
    let search: Value = serde_json::from_slice(&std::fs::read(ledger.join("search.json"))?)?;
    let items = search["items"].as_array().ok_or("no items in the search")?;
    let cover: f64 = items.iter().filter_map(|item| item["properties"]["eo:cloud_cover"].as_f64()).sum();
    Ok((files, cover / items.len().max(1) as f64, bytes))
}

/// Different cells of 784, by Lehmer's generator.
fn draw(count: usize) -> Vec<usize> {
    let mut state = 20_210_101_u64;
    let mut cells = Vec::new();
    while cells.len() < count {
        state = state * 48_271 % 2_147_483_647;
        let cell = (state % 784) as usize;
        if !cells.contains(&cell) {
            cells.push(cell);
        }
    }
    cells
}
