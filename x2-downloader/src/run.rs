//! The loop: search the tiles, fetch every unit that is not complete, join the ledger, write the report.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use minicube::run::{Ctx, Failure, Finish, Run, human_bytes};
use minicube::{Outcome, plan_hash, write_atomic};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use crate::Error;
use crate::estimate::Estimate;
use crate::ledger::{Part, merge, parts_folder, sealed_parts};
use crate::net::{Http, Traffic};
use crate::plan::{Place, Plan, TilePlan};
use crate::report::{Summary, ThisRun};
use crate::source::catalogue::find_scenes;
use crate::source::revisit::Completeness;
use crate::source::scenes::Scene;
use crate::source::{era5, era5_zarr, rasters, sentinel2, smap};

/// How a unit ended, and the bytes of blocks and files that this run fetched for it.
pub(crate) struct Unit {
    pub(crate) outcome: Outcome,
    pub(crate) payload: u64,
}

impl Unit {
    pub(crate) fn skipped(unit: &str, reason: &str) -> Unit {
        Unit { outcome: Outcome::skipped(unit, reason), payload: 0 }
    }
}

/// One thing to fetch.
enum Job {
    Scene(Arc<TilePlan>, Box<Scene>),
    SmapDay(smap::SmapDay),
    Era5,
    Era5Month(era5_zarr::Month),
    Rasters(&'static str, Vec<Place>),
}

/// Fetches what is missing. With `refresh` the catalogue is asked again; without, its answer of an earlier run with
/// the same question stands, so that a run that is complete makes no request at all.
///
/// # Errors
/// A [`Failure`] if the catalogue does not answer or has nothing, the network is down, or the disk is full. Single
/// scenes, blocks or files that cannot be had are failed outcomes and rows in the ledger.
pub fn run(plan: &Plan, ctx: &Ctx, refresh: bool) -> Result<Finish, Failure> {
    let raw = plan.project.raw();
    let mut record = Run::start("x2-downloader", env!("CARGO_PKG_VERSION"), ctx, plan, plan.project.seed);
    record.input(&plan.project.locations());
    let marker = Marker::of(plan, ctx);
    if !refresh && marker.stands()? {
        for name in unit_names(plan, ctx) {
            record.outcome(Outcome::skipped(name, "was complete"));
        }
        return record.finish(&raw, None);
    }
    let runtime = runtime(ctx)?;
    let http = Arc::new(Http::new(&plan.network, Some(&received_path(&raw, ctx)))?);
    let (units, passes) = runtime.block_on(fetch_all(&http, plan, ctx, refresh))?;

    let mut summary = Summary::default();
    let ledger = merge(&raw, |part| summary.add(part))?;
    record.output(&ledger);
    let complete = units.iter().all(|unit| unit.outcome.status != minicube::Status::Failed);
    let payload: u64 = units.iter().map(|unit| unit.payload).sum();
    for unit in units {
        record.outcome(unit.outcome);
    }
    let traffic = http.total();
    record.note("requests", traffic.requests);
    record.note("retries", traffic.retries);
    record.note("received_bytes", traffic.bytes);
    record.note("payload_floor_bytes", payload);
    if payload > 0 {
        record.note("received_over_floor", (traffic.bytes as f64 / payload as f64 * 1e4).round() / 1e4);
    }
    record.note("received_ever_bytes", http.received_ever());
    for (host, traffic) in http.traffic() {
        let Traffic { requests, retries, bytes } = traffic;
        record
            .note(&format!("host {host}"), json!({"requests": requests, "retries": retries, "bytes": bytes}));
    }
    let expected: usize = passes.values().map(|tile| tile.expected).sum();
    let missing: usize = passes.values().map(|tile| tile.missing.len()).sum();
    record.note("passes_expected", expected);
    record.note("passes_missing", missing);
    let estimate = Estimate::read(&raw, ctx, &plan_hash(plan));
    if let Some(estimate) = &estimate {
        record.note("planned_bytes", estimate.bytes);
    }
    if complete {
        marker.set()?;
    }
    let this_run =
        ThisRun { hosts: http.traffic(), received: traffic.bytes, payload, ever: http.received_ever() };
    record.finish(&raw, Some(summary.page(plan, &this_run, &passes, estimate.as_ref())))
}

/// Where the bytes received by all runs of a shard are counted.
pub(crate) fn received_path(raw: &std::path::Path, ctx: &Ctx) -> PathBuf {
    parts_folder(raw).join(with_shard("received", ctx))
}

/// A name of this shard's own.
pub(crate) fn with_shard(name: &str, ctx: &Ctx) -> String {
    ctx.shard_name().map_or(name.to_owned(), |shard| format!("{name}.{}", shard.replace('/', "of")))
}

pub(crate) fn runtime(ctx: &Ctx) -> Result<Runtime, Error> {
    Builder::new_multi_thread()
        .worker_threads(ctx.threads.clamp(1, 8))
        .max_blocking_threads(ctx.threads.max(2) * 2)
        .enable_all()
        .build()
        .map_err(|error| Error::Setup(error.to_string()))
}

/// Of each tile the passes of the satellites that the catalogue should have and has not.
pub(crate) type Passes = BTreeMap<String, Completeness>;

async fn fetch_all(
    http: &Arc<Http>,
    plan: &Plan,
    ctx: &Ctx,
    refresh: bool,
) -> Result<(Vec<Unit>, Passes), Error> {
    let Found { jobs, mut units, passes } = jobs(http, plan, ctx, refresh).await?;
    let progress = ctx.progress("download", jobs.len() as u64);
    let clock = Instant::now();
    let plan = Arc::new(plan.clone());
    let mut running = stream::iter(jobs)
        .map(|job| {
            let (http, plan) = (Arc::clone(http), Arc::clone(&plan));
            let task = tokio::spawn(async move { job.fetch(&http, &plan).await });
            async move { task.await.map_err(|error| Error::Setup(error.to_string()))? }
        })
        .buffer_unordered(http.settings.connections);
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            unit = running.next() => match unit {
                Some(unit) => {
                    progress.inc(1);
                    units.push(unit?);
                }
                None => break,
            },
            _ = tick.tick() => progress.set_message(news(&http.traffic(), clock.elapsed())),
        }
    }
    progress.finish();
    units.sort_by(|a, b| a.outcome.unit.cmp(&b.outcome.unit));
    Ok((units, passes))
}

/// Bytes, rate and retries, in all and by host.
fn news(hosts: &[(String, Traffic)], elapsed: Duration) -> String {
    let rate = |bytes: u64| human_bytes((bytes as f64 / elapsed.as_secs_f64().max(0.1)) as u64);
    let of = |traffic: &Traffic| {
        let retries =
            if traffic.retries > 0 { format!(", {} retries", traffic.retries) } else { String::new() };
        format!("{} at {}/s{retries}", human_bytes(traffic.bytes), rate(traffic.bytes))
    };
    hosts.iter().map(|(host, traffic)| format!("{host}: {}", of(traffic))).collect::<Vec<_>>().join(" · ")
}

/// What is to be done, and what is known before it is.
#[derive(Default)]
struct Found {
    jobs: Vec<Job>,
    units: Vec<Unit>,
    passes: Passes,
}

/// Everything that belongs to this shard, and the outcomes of tiles that have no scenes.
async fn jobs(http: &Arc<Http>, plan: &Plan, ctx: &Ctx, refresh: bool) -> Result<Found, Error> {
    let Found { mut jobs, mut units, mut passes } = Found::default();
    let tiles: Vec<&TilePlan> = mine(&plan.tiles, ctx);
    if let Some(wanted) = &plan.sentinel2 {
        let progress = ctx.progress("search", tiles.len() as u64);
        let found: Vec<_> = stream::iter(tiles.iter().copied())
            .map(|tile| {
                let progress = progress.clone();
                async move {
                    let scenes = find_scenes(http, plan, tile, refresh).await;
                    progress.inc(1);
                    (tile, scenes)
                }
            })
            .buffered(http.settings.connections)
            .collect()
            .await;
        progress.finish();
        for (tile, scenes) in found {
            let (selection, completeness) = scenes?;
            passes.insert(tile.id.clone(), completeness);
            if selection.scenes.is_empty() {
                units.push(Unit { outcome: Outcome::failed(&tile.id, "no scenes"), payload: 0 });
            }
            let tile = Arc::new(tile.clone());
            jobs.extend(
                selection.scenes.into_iter().map(|scene| Job::Scene(Arc::clone(&tile), Box::new(scene))),
            );
        }
        if jobs.is_empty() && !tiles.is_empty() {
            return Err(Error::NoScenes {
                collection: wanted.collection.clone(),
                first: plan.first.to_string(),
                last: plan.last.to_string(),
                max_cloud_cover: wanted.max_cloud_cover,
                tiles: tiles.iter().map(|tile| tile.id.as_str()).collect::<Vec<_>>().join(", "),
            });
        }
    }
    if let Some(smap) = &plan.smap {
        match smap::days(http, plan, smap, refresh).await? {
            Ok(days) => jobs.extend(mine(&days, ctx).into_iter().cloned().map(Job::SmapDay)),
            Err(failed) => units.push(failed),
        }
    }
    if ctx.mine(0) {
        if plan.era5.as_ref().is_some_and(|era5| era5.has_files()) {
            jobs.push(Job::Era5);
        }
        for (name, places) in [("dem", &plan.dem), ("landcover", &plan.landcover)] {
            if !places.is_empty() {
                jobs.push(Job::Rasters(name, places.clone()));
            }
        }
    }
    // Last: of months one is fetched at a time, and those that wait would keep others from their turn.
    if let Some(zarr) = plan.era5.as_ref().and_then(|era5| era5.zarr.as_ref()) {
        jobs.extend(mine(&era5_zarr::months(plan, zarr), ctx).into_iter().cloned().map(Job::Era5Month));
    }
    Ok(Found { jobs, units, passes })
}

impl Job {
    async fn fetch(self, http: &Arc<Http>, plan: &Plan) -> Result<Unit, Error> {
        match self {
            Job::Scene(tile, scene) => sentinel2::fetch_scene(http, plan, &tile, &scene).await,
            Job::SmapDay(day) => smap::fetch_day(http, &plan.project.raw(), &day).await,
            Job::Era5 => match &plan.era5 {
                Some(era5) => era5::fetch(http, plan, era5).await,
                None => Ok(Unit::skipped("era5", "is not wanted")),
            },
            Job::Era5Month(month) => era5_zarr::fetch_month(http, &plan.project.raw(), &month).await,
            Job::Rasters(source, places) => rasters::fetch(http, plan, source, places).await,
        }
    }
}

pub(crate) fn mine<'a, T>(all: &'a [T], ctx: &Ctx) -> Vec<&'a T> {
    all.iter().enumerate().filter(|(index, _)| ctx.mine(*index)).map(|(_, one)| one).collect()
}

/// The note that a plan was fetched completely, so that nothing has to be asked again.
struct Marker {
    path: PathBuf,
    raw: PathBuf,
    hash: String,
}

impl Marker {
    fn of(plan: &Plan, ctx: &Ctx) -> Marker {
        let raw = plan.project.raw();
        Marker { path: parts_folder(&raw).join(with_shard("complete", ctx)), raw, hash: plan_hash(plan) }
    }

    /// Whether the plan was complete and every file still stands with its length.
    fn stands(&self) -> Result<bool, Error> {
        let same = std::fs::read_to_string(&self.path).is_ok_and(|hash| hash == self.hash);
        if !same || !self.raw.join("ledger.parquet").is_file() {
            return Ok(false);
        }
        let parts = sealed_parts(&self.raw)?;
        Ok(parts.iter().all(|path| Part::read(path).is_some_and(|part| part.files_stand(&self.raw))))
    }

    fn set(&self) -> Result<(), Error> {
        Ok(write_atomic(&self.path, self.hash.as_bytes())?)
    }
}

/// What a complete run says it skipped.
fn unit_names(plan: &Plan, ctx: &Ctx) -> Vec<String> {
    let mut names: Vec<String> =
        mine(&plan.tiles, ctx).into_iter().map(|tile| format!("s2 {}", tile.id)).collect();
    let wanted = [
        ("smap", plan.smap.is_some()),
        ("era5", plan.era5.is_some()),
        ("dem", !plan.dem.is_empty()),
        ("landcover", !plan.landcover.is_empty()),
    ];
    names.extend(wanted.into_iter().filter(|(_, wanted)| *wanted).map(|(name, _)| name.to_owned()));
    names
}
