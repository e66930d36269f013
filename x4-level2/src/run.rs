//! The loop: every store of the plan that is not sealed yet, then the files about all of them.

use std::path::{Path, PathBuf};
use std::time::Instant;

use minicube::run::{Ctx, Failure, Finish, Run};
use minicube::{Outcome, Split, file_exists, finish_sealing, is_sealed, list_stores, stored_bytes};

use crate::Error;
use crate::climatology::{class_climatology, climates, write_climatology};
use crate::derive::{Input, derive_tile};
use crate::fill_errors::PooledErrors;
use crate::import::import_unit;
use crate::normalise::{statistics, write_statistics};
use crate::plan::{Plan, Source, Unit};
use crate::report::{Balance, report};
use crate::splits::{split_rows, splits_plan_hash, write_splits};

/// Makes all stores of the plan that belong to this shard, and, once every store of the plan is there,
/// `normalisation.json`, `climatology.parquet`, `splits.parquet` and the report.
///
/// # Errors
/// A [`Failure`] where the disk is full, an output cannot be written, or not one store could be made. Single stores
/// that could not be made are outcomes, and the exit code is then 1.
pub fn run(plan: &Plan, ctx: &Ctx) -> Result<Finish, Failure> {
    let mut run = Run::start("x4-level2", plan.settings.version, ctx, plan, plan.settings.seed);
    // Also tells a bucket that cannot be reached before the work, not after it.
    let leftovers = leftovers(plan)?;
    for (unit, reason) in &plan.unusable {
        run.outcome(Outcome::failed(unit, reason));
    }
    let mine: Vec<&Unit> =
        plan.units.iter().enumerate().filter(|(i, _)| ctx.mine(*i)).map(|(_, unit)| unit).collect();
    let progress = ctx.progress("level 2", mine.len() as u64);
    let mut first_error = None;
    let mut made = 0;
    for unit in &mine {
        progress.set_message(unit.name());
        let path = plan.store(unit);
        if is_sealed(&path, &unit.hash(&plan.settings)) {
            finish_sealing(&path, &plan.partial(unit))?;
            run.outcome(Outcome::skipped(unit.name(), "done before"));
            made += 1;
        } else {
            let clock = Instant::now();
            match make(unit, plan) {
                Ok(remark) => {
                    let bytes = stored_bytes(&path)?;
                    let outcome = Outcome::ok(unit.name(), clock.elapsed().as_secs_f64(), bytes);
                    run.outcome(Outcome { reason: remark, ..outcome });
                    run.output(&path);
                    made += 1;
                }
                // Every further store would fail as well.
                Err(Error::Shared(error)) if error.is_disk_full() => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(unit = unit.name(), %error, "store not made");
                    run.outcome(Outcome::failed(unit.name(), error.to_string()));
                    first_error.get_or_insert(error);
                }
            }
        }
        progress.inc(1);
    }
    progress.finish();
    if let (0, Some(error)) = (made, first_error) {
        return Err(error.into());
    }
    for path in leftovers {
        let reason = "left over from another plan: delete it, or it would be trained on";
        run.outcome(Outcome::failed(path.display().to_string(), reason));
    }
    note_inputs(&mut run, &mine);
    let report = summarise(plan, &mut run)?;
    run.finish(&plan.folder, report)
}

fn make(unit: &Unit, plan: &Plan) -> Result<Option<String>, Error> {
    match &unit.source {
        Source::Level1 { path, cubes, years, climatology, .. } => {
            let input = Input { path, cubes, years: *years, climatology: *climatology };
            derive_tile(input, unit, &plan.settings, plan).map(|()| None)
        }
        Source::Import(import) => import_unit(import, unit, &plan.settings, plan),
    }
}

/// What is about all stores; only once all of them are there, so that the last shard to finish does it.
fn summarise(plan: &Plan, run: &mut Run) -> Result<Option<minicube::report::Report>, Failure> {
    let sealed = |unit: &&Unit| is_sealed(&plan.store(unit), &unit.hash(&plan.settings));
    let (there, expected) = (plan.units.iter().filter(sealed).count(), plan.units.len());
    if there < expected {
        run.note("waiting_for_stores", expected - there);
        return Ok(None);
    }
    let paths: Vec<(Split, PathBuf)> = plan.units.iter().map(|unit| (unit.split, plan.store(unit))).collect();
    let files =
        ["normalisation.json", "climatology.parquet", "splits.parquet"].map(|name| plan.level2.join(name));
    let [normalisation, climatology, splits] = &files;
    // The table of splits names the plan and comes last.
    let done = splits_plan_hash(splits).is_some_and(|found| found == plan.hash())
        && file_exists(normalisation)
        && file_exists(climatology);
    if !done {
        let train = plan.stores_of(Split::Train);
        write_statistics(normalisation, &statistics(&train)?)?;
        write_climatology(climatology, &class_climatology(&train, &climates(plan.table.as_ref()))?)?;
        write_splits(splits, &split_rows(&paths)?, plan.table.as_ref(), &plan.separation, &plan.hash())?;
        files.iter().for_each(|file| run.output(file));
    }
    if !plan.is_import() {
        run.note("split", plan.separation.text());
    }
    let balance = Balance::of(&paths)?;
    for (split, samples) in &balance.samples {
        run.note(&format!("samples_{split}"), *samples);
    }
    run.note("season_share_of_frames", balance.frame_shares_text());
    run.note("share_masked", (balance.share_masked * 1e4).round() / 1e4);
    let errors = PooledErrors::of(&paths)?;
    if let Some(errors) = &errors {
        run.note("leave_out_rmse_ndvi", errors.ndvi_text());
    }
    if run.nothing_done() && plan.folder.join("report.html").exists() {
        return Ok(None);
    }
    Ok(Some(report(plan, &paths, &balance, errors.as_ref())?))
}

fn note_inputs(run: &mut Run, units: &[&Unit]) {
    let mut seen: Vec<&Path> = Vec::new();
    for unit in units {
        match &unit.source {
            Source::Level1 { path, .. } => {
                let metadata = path.join("zarr.json");
                if !seen.contains(&path.as_path()) {
                    seen.push(path);
                    run.input(&metadata);
                }
            }
            Source::Import(import) => {
                import.cubes.iter().flat_map(|cube| &cube.files).for_each(|file| run.input(file));
            }
        }
    }
}

/// Sealed stores beside those of the plan that it does not know.
fn leftovers(plan: &Plan) -> Result<Vec<PathBuf>, Error> {
    let known: Vec<PathBuf> = plan.units.iter().map(|unit| plan.store(unit)).collect();
    let mut found = Vec::new();
    for split in Split::ALL {
        found.extend(list_stores(&plan.level2.join(split.name()))?);
    }
    found.retain(|path| !known.contains(path));
    Ok(found)
}
