//! What a run will cost, before anything but directories and classifications is fetched.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{StreamExt, stream};
use minicube::run::{Ctx, Failure, Finish, human_bytes, human_seconds};
use minicube::{plan_hash, write_atomic};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::estimate_sources::others;
use crate::ledger::parts_folder;
use crate::net::{Http, Stop};
use crate::plan::{Plan, Sentinel2Plan, TilePlan};
use crate::run::{mine, received_path, runtime, with_shard};
use crate::source::catalogue::find_scenes;
use crate::source::scenes::Scene;
use crate::source::sentinel2::{self, Cost};

/// Scenes of a tile that are looked at, if not all are to be.
const SAMPLE: usize = 8;
/// Waiting time of a request that the duration is reckoned with, seconds.
const LATENCY_S: f64 = 0.1;

/// How to estimate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EstimateOptions {
    /// Look at every scene instead of a sample: exact, and nothing of it is lost for the run.
    pub exact: bool,
    /// Rate that the duration is reckoned with, megabytes a second.
    pub rate_mb_s: f64,
}

/// What the plan said, kept for the run's report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Estimate {
    plan: String,
    pub(crate) scenes: usize,
    pub(crate) blocks: f64,
    pub(crate) requests: f64,
    /// Bytes over the network, from nothing.
    pub(crate) bytes: f64,
    /// Two standard errors; 0 if every scene was looked at.
    pub(crate) bytes_error: f64,
    pub(crate) disk: f64,
    /// Whether there is something of which no server told the size.
    pub(crate) is_partial: bool,
}

impl Estimate {
    /// The last estimate, if it was of this plan.
    pub(crate) fn read(raw: &Path, ctx: &Ctx, plan: &str) -> Option<Estimate> {
        let found: Estimate = serde_json::from_slice(&std::fs::read(path(raw, ctx)).ok()?).ok()?;
        (found.plan == plan).then_some(found)
    }

    pub(crate) fn add(&mut self, other: &Estimate) {
        self.scenes += other.scenes;
        self.blocks += other.blocks;
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.bytes_error = self.bytes_error.hypot(other.bytes_error);
        self.disk += other.disk;
    }

    pub(crate) fn empty(plan: &str) -> Estimate {
        let plan = plan.to_owned();
        Estimate {
            plan,
            scenes: 0,
            blocks: 0.0,
            requests: 0.0,
            bytes: 0.0,
            bytes_error: 0.0,
            disk: 0.0,
            is_partial: false,
        }
    }
}

/// The scenes, blocks, requests, bytes, disk and hours that a run costs from nothing. The directories of the rasters
/// that are looked at, and their classifications, stay for the run. Sizes of granules, files and chunks are those that
/// servers tell.
///
/// # Errors
/// As [`crate::run`].
pub fn estimate(plan: &Plan, ctx: &Ctx, options: EstimateOptions) -> Result<Finish, Failure> {
    let raw = plan.project.raw();
    let hash = plan_hash(plan);
    let runtime = runtime(ctx)?;
    let http = Arc::new(Http::new(&plan.network, Some(&received_path(&raw, ctx)))?);
    let mut lines = vec![format!(
        "{:<8} {:>6} {:>7} {:>7} {:>8} {:>9} {:>9} {:>22} {:>9}  mode",
        "tile", "cells", "scenes", "cloudy", "missing", "blocks", "requests", "bytes", "disk"
    )];
    let mut total = Estimate::empty(&hash);
    if let Some(wanted) = &plan.sentinel2 {
        let tiles = mine(&plan.tiles, ctx);
        let progress = ctx.progress("plan", tiles.len() as u64);
        for tile in tiles {
            let (line, one) = runtime.block_on(of_tile(&http, plan, wanted, tile, options.exact, &hash))?;
            lines.push(line);
            total.add(&one);
            progress.inc(1);
        }
        progress.finish();
    }
    lines.push(format!(
        "Sentinel-2: {} scenes, {:.0} blocks, {:.0} requests, {}, {} on the disk",
        total.scenes,
        total.blocks,
        total.requests,
        bytes_text(&total),
        human_bytes(total.disk as u64)
    ));
    lines.extend(runtime.block_on(others(&http, plan, options.exact, &mut total))?);
    let by_rate = total.bytes / (options.rate_mb_s * 1e6);
    let by_latency = total.requests * LATENCY_S / plan.network.connections as f64;
    lines.push(format!(
        "in all {}{}; about {} at {} MB/s and {LATENCY_S} s a request",
        bytes_text(&total),
        if total.is_partial { " (without what is not counted)" } else { "" },
        human_seconds(by_rate.max(by_latency)),
        options.rate_mb_s
    ));
    if total.bytes_error > 0.0 {
        lines.push(format!(
            "estimated from {SAMPLE} scenes a tile and samples of the rest; `plan --exact` looks at all scenes and days, \
             and a run goes on from there"
        ));
    }
    lines.push(format!("plan {hash}"));
    let text = serde_json::to_vec(&total).map_err(|error| Error::Setup(error.to_string()))?;
    write_atomic(&path(&raw, ctx), &text)?;
    Ok(Finish::text_only(lines.join("\n")))
}

fn path(raw: &Path, ctx: &Ctx) -> PathBuf {
    parts_folder(raw).join(with_shard("plan", ctx) + ".json")
}

pub(crate) fn bytes_text(estimate: &Estimate) -> String {
    let bytes = human_bytes(estimate.bytes as u64);
    match estimate.bytes_error {
        error if error > 0.0 => format!("{bytes} ± {}", human_bytes(error as u64)),
        _ => bytes,
    }
}

async fn of_tile(
    http: &Arc<Http>,
    plan: &Plan,
    wanted: &Sentinel2Plan,
    tile: &TilePlan,
    exact: bool,
    hash: &str,
) -> Result<(String, Estimate), Error> {
    let (selection, completeness) = find_scenes(http, plan, tile, false).await?;
    let scenes = sample(&selection.scenes, if exact { usize::MAX } else { SAMPLE });
    let looked: Vec<Result<Cost, Stop>> = stream::iter(scenes)
        .map(|scene| sentinel2::cost(http, plan, wanted, tile, scene))
        .buffer_unordered(http.settings.connections)
        .collect()
        .await;
    let (mut costs, mut reason) = (Vec::new(), None);
    for one in looked {
        match one {
            Ok(cost) => costs.push(cost),
            Err(Stop::Fatal(error)) => return Err(error),
            Err(Stop::Gap(why) | Stop::Later(why)) => reason = Some(why),
        }
    }
    let estimate = extrapolate(&costs, selection.scenes.len(), hash);
    let whole: usize = costs.iter().map(|cost| cost.whole_files).sum();
    let rasters = costs.len() * (wanted.assets.len() + usize::from(wanted.scl));
    let mode = match (whole, rasters, reason) {
        (_, 0, Some(reason)) => format!("no estimate: {reason}"),
        (0, ..) => "blocks".to_owned(),
        (whole, rasters, _) if whole == rasters => "whole files".to_owned(),
        (whole, rasters, _) => format!("whole files for {whole} of {rasters} rasters"),
    };
    let line = format!(
        "{:<8} {:>6} {:>7} {:>7} {:>8} {:>9.0} {:>9.0} {:>22} {:>9}  {mode}",
        tile.id,
        tile.cells.len(),
        selection.scenes.len(),
        selection.cloudy,
        completeness.missing.len(),
        estimate.blocks,
        estimate.requests,
        bytes_text(&estimate),
        human_bytes(estimate.disk as u64)
    );
    Ok((line, estimate))
}

/// Scenes evenly spread over all degrees of cloud cover.
fn sample(scenes: &[Scene], count: usize) -> Vec<&Scene> {
    let mut sorted: Vec<&Scene> = scenes.iter().collect();
    sorted.sort_by(|a, b| a.cloud_cover.unwrap_or(0.0).total_cmp(&b.cloud_cover.unwrap_or(0.0)));
    spread(&sorted, count).into_iter().copied().collect()
}

/// So many of a list, evenly spread over it; all if there are no more.
pub(crate) fn spread<T>(all: &[T], count: usize) -> Vec<&T> {
    if all.len() <= count {
        return all.iter().collect();
    }
    (0..count).map(|i| &all[(2 * i + 1) * all.len() / (2 * count)]).collect()
}

/// From the scenes that were looked at to all, with two standard errors of a random sample: of one that is spread
/// evenly it is rather less.
pub(crate) fn extrapolate(costs: &[Cost], scenes: usize, hash: &str) -> Estimate {
    let (n, all) = (costs.len() as f64, scenes as f64);
    if costs.is_empty() {
        return Estimate { scenes, ..Estimate::empty(hash) };
    }
    let mean = |get: fn(&Cost) -> f64| costs.iter().map(get).sum::<f64>() / n;
    let bytes = mean(|cost| cost.bytes as f64);
    let squares: f64 = costs.iter().map(|cost| (cost.bytes as f64 - bytes).powi(2)).sum();
    let deviation = (squares / (n - 1.0).max(1.0)).sqrt();
    let error = 2.0 * deviation / n.sqrt() * (1.0 - n / all).max(0.0).sqrt() * all;
    Estimate {
        plan: hash.to_owned(),
        scenes,
        blocks: mean(|cost| cost.blocks as f64) * all,
        requests: mean(|cost| cost.requests as f64) * all,
        bytes: bytes * all,
        bytes_error: error,
        disk: mean(|cost| cost.disk as f64) * all,
        is_partial: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(bytes: u64) -> Cost {
        Cost { blocks: 4, requests: 3, bytes, disk: bytes / 2, whole_files: 0 }
    }

    /// Of 10 scenes 4 were looked at, with 10, 20, 30 and 40 bytes: mean 25, deviation 12.91, so
    /// 2 × 12.91 / 2 × √(1 − 0.4) × 10 = 100.
    #[test]
    fn a_sample_says_how_far_it_may_be_off() {
        let found = extrapolate(&[10, 20, 30, 40].map(cost), 10, "h");
        assert_eq!((found.bytes, found.blocks, found.requests, found.disk), (250.0, 40.0, 30.0, 125.0));
        assert!((found.bytes_error - 100.0).abs() < 1e-9, "{}", found.bytes_error);
        let all = extrapolate(&[10, 20, 30, 40].map(cost), 4, "h");
        assert_eq!((all.bytes, all.bytes_error), (100.0, 0.0), "exact");
        assert_eq!(extrapolate(&[], 7, "h").bytes, 0.0);
    }
}
