//! The loop over tiles, and its two companions: say what would be done, and prove what was done.

use std::path::Path;
use std::time::Instant;

use minicube::run::{Ctx, Failure, Finish, Project, Run, human_bytes};
use minicube::{Cube, Outcome, finish_sealing, is_sealed, list_stores, plan_hash, stored_bytes};
use serde_json::Value;

use crate::Error;
use crate::baseline::STORED_OFFSET;
use crate::build::{Built, build};
use crate::config::{OffsetRule, SameDay};
use crate::dark_pixels::{OffsetCheck, disagreement};
use crate::ledger::Ledger;
use crate::older::Older;
use crate::plan::{Plan, TilePlan};
use crate::report;
use crate::survey::Gap;

/// This stage's name.
pub const STAGE: &str = "x3-level1";

/// Builds the store of every tile of our shard. A tile that fails is an outcome, and the others go on; only when no
/// tile can be built at all, or the disk is full, does the run itself fail. Gaps are outcomes too.
///
/// # Errors
/// A [`Failure`] if the ledger cannot be read, if every tile fails, if the disk is full, or if manifest or report
/// cannot be written.
pub fn run(plan: &Plan, project: &Project, ctx: &Ctx) -> Result<Finish, Failure> {
    let ledger_path = plan.raw.join("ledger.parquet");
    let ledger = Ledger::read(&ledger_path)?;
    // A bucket that cannot be reached is told before the work, not after it.
    list_stores(&plan.level1)?;
    let mut run = Run::start(STAGE, env!("CARGO_PKG_VERSION"), ctx, plan, project.seed);
    run.input(&project.locations());
    if ledger_path.exists() {
        run.input(&ledger_path);
    }
    let (mut stores, mut failures) = (Vec::new(), Vec::new());
    let mut followed = 0;
    let mut taken_over = Vec::new();
    for (_, cubes) in plan.tiles.iter().enumerate().filter(|(index, _)| ctx.mine(*index)) {
        let (path, partial) = (plan.store(&cubes.tile), plan.partial(&cubes.tile));
        let place = (path.as_path(), partial.as_path());
        match plan.tile(cubes, &ledger).and_then(|tile| build_tile(&tile, place, plan.memory, &ledger, ctx)) {
            Ok((outcome, gaps, taken)) => {
                run.outcome(outcome);
                taken_over.extend(taken.map(|taken| format!("{}: {taken}", cubes.tile)));
                gaps.iter().for_each(|gap| run.outcome(gap_outcome(&cubes.tile, gap)));
                let doubts = doubtful(&path)?;
                if plan.offset == OffsetRule::Pixels {
                    followed += doubts.len();
                } else {
                    doubts.iter().for_each(|doubt| run.outcome(doubt_outcome(&cubes.tile, doubt)));
                }
                run.output(&path);
                stores.push(path);
            }
            Err(Error::Minicube(error)) if error.is_disk_full() => return Err(error.into()),
            Err(error) => {
                let hint = error.hint().map_or(String::new(), |hint| format!(" (hint: {hint})"));
                run.outcome(Outcome::failed(&cubes.tile, format!("{error}{hint}")));
                failures.push(error);
            }
        }
    }
    if !taken_over.is_empty() {
        run.note("taken over from older stores", taken_over.join("; "));
    }
    if followed > 0 {
        let note = format!("{followed} acquisitions are stored as their pixels say, against their items");
        run.note("radiometric offset", note);
    }
    let page = if run.nothing_done() { None } else { Some(report::page(&project.name, &stores)?) };
    let finish = run.finish(&plan.folder, page)?;
    match failures.into_iter().next() {
        Some(first) if stores.is_empty() => Err(first.into()),
        _ => Ok(finish),
    }
}

fn build_tile(
    tile: &TilePlan,
    (path, partial): (&Path, &Path),
    memory: usize,
    ledger: &Ledger,
    ctx: &Ctx,
) -> Result<(Outcome, Vec<Gap>, Option<String>), Error> {
    let hash = plan_hash(tile);
    if is_sealed(path, &hash) {
        finish_sealing(path, partial)?;
        let gaps = Cube::open(path, "level1")?.attrs().get("gaps").cloned().unwrap_or_default();
        let gaps: Vec<Gap> = serde_json::from_value(gaps).unwrap_or_default();
        return Ok((Outcome::skipped(&tile.tile, "done before"), gaps, None));
    }
    let clock = Instant::now();
    let layers = tile.assets.len() + 1 + usize::from(tile.same_day == SameDay::Merge);
    let bar = ctx.progress(&tile.tile, (tile.scenes.len() * layers) as u64);
    let built = build(tile, (path, partial), &hash, ledger, memory, &|| bar.inc(1));
    bar.finish();
    let Built { gaps, taken, all } = built?;
    let taken = (taken > 0).then(|| format!("{taken} of {all} frames of cubes"));
    Ok((Outcome::ok(&tile.tile, clock.elapsed().as_secs_f64(), stored_bytes(path)?), gaps, taken))
}

fn gap_outcome(tile: &str, gap: &Gap) -> Outcome {
    let unit = format!("{tile}/{}/{}", gap.scene, gap.asset);
    Outcome::failed(unit, format!("{} cubes have a gap: {}", gap.cubes.len(), gap.reason))
}

/// An acquisition whose pixels disagree with its item on the offset.
struct Doubt {
    /// Scene id.
    scene: String,
    /// What the pixels ask to add.
    add: u16,
}

/// The doubts of a sealed store whose offsets are those of the items.
fn doubtful(path: &Path) -> Result<Vec<Doubt>, Error> {
    let cube = Cube::open(path, "level1")?;
    let items = cube.attrs().get("source_items").and_then(Value::as_array).cloned().unwrap_or_default();
    let doubts =
        items.iter().filter(|item| item["offset_check"] == OffsetCheck::Disagree.name()).map(|item| {
            let scene = item["id"].as_str().unwrap_or_default().to_owned();
            Doubt { scene, add: if item["offset_added"] == 0 { STORED_OFFSET } else { 0 } }
        });
    Ok(doubts.collect())
}

fn doubt_outcome(tile: &str, doubt: &Doubt) -> Outcome {
    let unit = format!("{tile}/{}/offset", doubt.scene);
    let what = disagreement(doubt.add);
    Outcome::failed(unit, format!("{what} (hint: `offset = \"pixels\"` in [level1] follows the pixels)"))
}

/// What a tile's store lacks, by cubes and acquisitions.
fn what_is_new(tile: &TilePlan, path: &Path) -> String {
    let Some(older) = Older::open(path) else { return "to do".to_owned() };
    let scenes: Vec<&str> = tile.scenes.iter().map(|scene| scene.id.as_str()).collect();
    let (cubes, shared) = older.shared(&tile.cubes, &scenes);
    let (cubes, scenes) = (tile.cubes.len() - cubes, scenes.len() - shared);
    format!("to do: {cubes} new cubes, {scenes} new scenes")
}

/// A table of what would be done, without doing it.
///
/// # Errors
/// A [`Failure`] if the ledger or a tile's items cannot be read.
pub fn describe(plan: &Plan, ctx: &Ctx) -> Result<Finish, Failure> {
    let ledger = Ledger::read(&plan.raw.join("ledger.parquet"))?;
    let mut text =
        format!("{:<8} {:>6} {:>7} {:>10} {:>13}  state\n", "tile", "cubes", "scenes", "raw", "uncompressed");
    for (_, cubes) in plan.tiles.iter().enumerate().filter(|(index, _)| ctx.mine(*index)) {
        let tile = plan.tile(cubes, &ledger)?;
        let raw: u64 = tile.scenes.iter().flat_map(|scene| scene.sizes.values()).sum();
        let pixels = tile.cubes.len() * tile.scenes.len() * tile.grid.size_px * tile.grid.size_px;
        let done = is_sealed(&plan.store(&tile.tile), &plan_hash(&tile));
        text.push_str(&format!(
            "{:<8} {:>6} {:>7} {:>10} {:>13}  {}\n",
            tile.tile,
            tile.cubes.len(),
            tile.scenes.len(),
            human_bytes(raw),
            human_bytes((pixels * (2 * tile.assets.len() + 1)) as u64),
            if done { "done".to_owned() } else { what_is_new(&tile, &plan.store(&tile.tile)) },
        ));
    }
    let names = |series: Vec<&str>| if series.is_empty() { "none".to_owned() } else { series.join(" ") };
    let smap = plan.smap.iter().flat_map(|smap| &smap.series).map(|info| info.name.as_str()).collect();
    let era5 = plan.era5.iter().flat_map(|era5| &era5.series).map(|info| info.name.as_str()).collect();
    let own = plan.statics.own.iter().map(|layer| layer.config.name.clone());
    let statics = plan.statics.layers.iter().map(|layer| format!("{layer:?}").to_lowercase());
    let statics: Vec<String> = statics.chain(own).collect();
    text.push_str(&format!(
        "  s2: scl {}\n  smap: {}\n  era5: {}\n  static: {}\n  days: {} to {}",
        plan.assets.join(" "),
        names(smap),
        names(era5),
        names(statics.iter().map(String::as_str).collect()),
        plan.first,
        plan.last
    ));
    Ok(Finish::text_only(text))
}
