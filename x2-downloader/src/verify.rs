//! Proof of what is there: every file read again and compared with the ledger; and a short look without reading.

use std::collections::BTreeMap;

use minicube::run::{Ctx, Failure, Finish, human_bytes};
use minicube::{sha256_bytes, sha256_file};
use minicube_tiff::TiffFile;
use rayon::prelude::*;

use crate::ledger::{Kept, Part, Row, State, sealed_parts};
use crate::plan::{Place, Plan, TilePlan};
use crate::source::catalogue::kept_scenes;
use crate::source::rasters;
use crate::source::sentinel2::part_path;

/// Reads every file again and compares every block and file with its SHA-256 in the ledger. Ends with exit code 1 if
/// anything is missing, differs, or failed when it was fetched.
///
/// # Errors
/// A [`Failure`] if there is no ledger to compare with.
pub fn verify(plan: &Plan, ctx: &Ctx) -> Result<Finish, Failure> {
    let raw = plan.project.raw();
    let parts = sealed_parts(&raw)?;
    if parts.is_empty() {
        return Err(nothing(plan));
    }
    let progress = ctx.progress("verify", parts.len() as u64);
    let checked: Vec<(usize, Vec<String>)> = parts
        .par_iter()
        .map(|path| {
            let checked = match Part::read(path) {
                Some(part) => check_part(plan, &part),
                None => (0, vec![format!("{}: cannot be read", path.display())]),
            };
            progress.inc(1);
            checked
        })
        .collect();
    progress.finish();
    let proved: usize = checked.iter().map(|(proved, _)| proved).sum();
    let problems: Vec<&String> = checked.iter().flat_map(|(_, problems)| problems).collect();
    let mut text =
        format!("x2-downloader verify: {proved} blocks and files proved, {} problems", problems.len());
    for problem in problems.iter().take(20) {
        text.push_str(&format!("\n  {problem}"));
    }
    if problems.is_empty() {
        return Ok(Finish::text_only(text));
    }
    text.push_str("\n  delete a damaged file and run `x2-downloader run` again to fetch it anew");
    Ok(Finish::with_gaps(text))
}

/// What is there, left out, missing and not fetched yet, by source; by the ledger, the files' lengths, and the scenes that
/// the catalogue named.
///
/// # Errors
/// A [`Failure`] if the folder cannot be read.
pub fn status(plan: &Plan) -> Result<Finish, Failure> {
    let raw = plan.project.raw();
    let mut sources: BTreeMap<String, BTreeMap<State, (usize, u64)>> = BTreeMap::new();
    let (mut lost, mut reasons) = (Vec::new(), BTreeMap::<String, usize>::new());
    for path in sealed_parts(&raw)? {
        let Some(part) = Part::read(&path) else { continue };
        for row in &part.rows {
            let (count, bytes) =
                sources.entry(row.source.clone()).or_default().entry(row.status).or_default();
            *count += 1;
            *bytes += row.length;
            if row.status == State::Failed {
                *reasons.entry(row.reason.clone().unwrap_or_default()).or_default() += 1;
            }
        }
        lost.extend(
            part.head
                .files
                .iter()
                .filter(|file| {
                    std::fs::metadata(raw.join(&file.path)).map_or(true, |there| there.len() != file.bytes)
                })
                .map(|file| file.path.clone()),
        );
    }
    if sources.is_empty() {
        return Err(nothing(plan));
    }
    let mut text = format!("{:<10} {:<15} {:>9} {:>10}", "source", "status", "blocks", "bytes");
    for (source, states) in &sources {
        for (state, (count, bytes)) in states {
            text.push_str(&format!(
                "\n{source:<10} {:<15} {count:>9} {:>10}",
                state.name(),
                human_bytes(*bytes)
            ));
        }
    }
    for (reason, count) in &reasons {
        text.push_str(&format!("\n  failed {count} × {reason}"));
    }
    for path in &lost {
        text.push_str(&format!("\n  missing or of another length: {path}"));
    }
    let waiting = waiting(plan);
    for line in &waiting {
        text.push_str(&format!("\n  {line}"));
    }
    let is_whole = reasons.is_empty() && lost.is_empty() && waiting.is_empty();
    Ok(if is_whole { Finish::text_only(text) } else { Finish::with_gaps(text) })
}

/// Tiles of which scenes are not fetched yet, and rasters that are not.
fn waiting(plan: &Plan) -> Vec<String> {
    let rasters = [("dem", &plan.dem), ("landcover", &plan.landcover)].into_iter();
    let lacks = |(source, places): &(&'static str, &Vec<Place>)| {
        !places.is_empty() && !rasters::is_complete(plan, source, places)
    };
    let mut waiting: Vec<String> =
        rasters.filter(lacks).map(|(source, _)| format!("{source}: not complete yet")).collect();
    if plan.sentinel2.is_none() {
        return waiting;
    }
    let of_tile = |tile: &TilePlan| match kept_scenes(plan, tile) {
        None => Some(format!("{}: the catalogue was not asked yet", tile.id)),
        Some(selection) => {
            let scenes = &selection.scenes;
            let waiting = scenes.iter().filter(|scene| !part_path(plan, tile, scene).is_file()).count();
            (waiting > 0)
                .then(|| format!("{}: {waiting} of {} scenes are not fetched yet", tile.id, scenes.len()))
        }
    };
    waiting.extend(plan.tiles.iter().filter_map(of_tile));
    waiting
}

fn nothing(plan: &Plan) -> Failure {
    Failure::new(format!("{}: nothing was downloaded", plan.project.raw().display()))
        .hint("run `x2-downloader run` first")
}

/// Number of proved rows, and what is wrong.
fn check_part(plan: &Plan, part: &Part) -> (usize, Vec<String>) {
    let mut rows: BTreeMap<(&str, &str), Vec<&Row>> = BTreeMap::new();
    let mut problems = Vec::new();
    for row in &part.rows {
        match row.status {
            State::Failed => {
                let reason = row.reason.as_deref().unwrap_or("no reason");
                problems.push(format!("{} {}: {reason}", row.item, row.asset));
            }
            _ => rows.entry((&row.item, &row.asset)).or_default().push(row),
        }
    }
    let mut proved = 0;
    for file in &part.head.files {
        let rows = rows.get(&(file.item.as_str(), file.asset.as_str())).map_or(&[][..], Vec::as_slice);
        match check_file(plan, file, rows) {
            Ok(count) => proved += count,
            Err(problem) => problems.push(format!("{}: {problem}", file.path)),
        }
    }
    (proved, problems)
}

fn check_file(plan: &Plan, file: &Kept, rows: &[&Row]) -> Result<usize, String> {
    let path = plan.project.raw().join(&file.path);
    let there = std::fs::metadata(&path).map_err(|error| error.to_string())?.len();
    if there != file.bytes {
        return Err(format!("expected {} bytes, found {there}", file.bytes));
    }
    let mut proved = 0;
    let mut raster = None;
    for row in rows.iter().filter(|row| row.is_here() && row.length > 0) {
        let Some(expected) = &row.sha256 else { continue };
        let found = if row.block_row < 0 {
            sha256_file(&path).map_err(|error| error.to_string())?
        } else {
            if raster.is_none() {
                raster = TiffFile::open(&path);
            }
            let raster: &TiffFile = raster.as_ref().ok_or("not a sparse GeoTIFF of ours")?;
            let index = row.block_row as usize * raster.header.blocks_across() + row.block_col as usize;
            let known = index < raster.header.offsets.len();
            let block = known.then(|| raster.block(index)).flatten();
            let block =
                block.ok_or_else(|| format!("block {},{} is not there", row.block_row, row.block_col))?;
            sha256_bytes(&block)
        };
        if found != *expected {
            let place = if row.block_row < 0 {
                "the file".into()
            } else {
                format!("block {},{}", row.block_row, row.block_col)
            };
            return Err(format!("{place} differs: expected SHA-256 {expected}, found {found}"));
        }
        proved += 1;
    }
    Ok(proved)
}
