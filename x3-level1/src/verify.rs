//! Reads the stores back: every file as it was sealed, layout, plan, every chunk, and values that physics allows.

use std::path::Path;

use minicube::run::{Ctx, Failure, Finish};
use minicube::{Cube, check, check_files, file_exists, is_sealed, plan_hash};
use rayon::prelude::*;

use crate::Error;
use crate::asset::Quantity;
use crate::ledger::Ledger;
use crate::plan::Plan;

/// Verifies every tile of our shard; problems are listed and give exit code 1.
///
/// # Errors
/// A [`Failure`] if the ledger or a tile's items cannot be read.
pub fn verify(plan: &Plan, ctx: &Ctx) -> Result<Finish, Failure> {
    let ledger = Ledger::read(&plan.raw.join("ledger.parquet"))?;
    let mut stores = Vec::new();
    for (_, cubes) in plan.tiles.iter().enumerate().filter(|(index, _)| ctx.mine(*index)) {
        let path = plan.store(&cubes.tile);
        let stale = !is_sealed(&path, &plan_hash(&plan.tile(cubes, &ledger)?));
        stores.push((path, stale.then_some("not built, or built from another plan or other raw files")));
    }
    Ok(verify_stores(&stores))
}

/// Verifies the given stores, each with a problem that is already known.
pub(crate) fn verify_stores(stores: &[(std::path::PathBuf, Option<&str>)]) -> Finish {
    let mut text = String::new();
    let mut bad = 0;
    for (path, known) in stores {
        let mut problems: Vec<String> = known.iter().map(|&problem| problem.to_owned()).collect();
        if file_exists(&path.join("zarr.json")) || known.is_none() {
            problems.extend(store_problems(path).unwrap_or_else(|error| vec![error.to_string()]));
        }
        bad += usize::from(!problems.is_empty());
        let verdict = if problems.is_empty() { "ok" } else { "BAD" };
        text.push_str(&format!("{verdict:<4} {}\n", path.display()));
        for problem in problems {
            text.push_str(&format!("     {problem}\n"));
        }
    }
    text.push_str(&format!("x3-level1 verify: {} of {} stores are sound", stores.len() - bad, stores.len()));
    if bad == 0 { Finish::text_only(text) } else { Finish::with_gaps(text) }
}

/// What is wrong with a store; reads all of it. A file that is damaged may be unreadable as well: both are told.
fn store_problems(path: &Path) -> Result<Vec<String>, Error> {
    let mut violations = check_files(path)?;
    violations.extend(check(path, "level1")?);
    let mut problems: Vec<String> = violations.iter().map(ToString::to_string).collect();
    problems.extend(content_problems(path).unwrap_or_else(|error| vec![error.to_string()]));
    Ok(problems)
}

fn content_problems(path: &Path) -> Result<Vec<String>, Error> {
    let mut problems = Vec::new();
    let cube = Cube::open(path, "level1")?;
    let times = cube.read::<i32>("s2/time")?;
    if !times.iter().is_sorted() {
        problems.push("s2/time: expected ascending dates, found others".to_owned());
    }
    let values: Vec<String> = cube
        .vars()
        .par_iter()
        .filter(|name| !["id", "s2/scene_id"].contains(&name.as_str()))
        .map(|name| variable_problem(&cube, name))
        .collect::<Result<Vec<_>, Error>>()?
        .into_iter()
        .flatten()
        .collect();
    problems.extend(values);
    Ok(problems)
}

/// Decodes a variable, one entry of the first dimension at a time, and compares its values with what they can be.
fn variable_problem(cube: &Cube, name: &str) -> Result<Option<String>, Error> {
    let shape = cube.shape(name)?;
    let allowed = allowed(name);
    let steps = shape.first().copied().unwrap_or(1);
    let slabs = if shape.len() > 2 { steps } else { 1 };
    for slab in 0..slabs {
        let (mut start, mut size) = (vec![0; shape.len()], shape.clone());
        if shape.len() > 2 {
            (start[0], size[0]) = (slab, 1);
        }
        let values = cube.read_f32(name, &start, &size)?;
        let wrong = values.iter().find(|value| !value.is_nan() && !(allowed.0..=allowed.1).contains(*value));
        if let Some(value) = wrong {
            return Ok(Some(format!("{name}: expected {} to {}, found {value}", allowed.0, allowed.1)));
        }
    }
    Ok(None)
}

/// Bounds of what a variable can be.
fn allowed(name: &str) -> (f32, f32) {
    match name {
        "s2/scl" => (1.0, 11.0),
        "s2/time" | "s2/baseline" => (0.0, 100_000.0),
        "s2/offset_applied" => (0.0, 1.0),
        "s2/offset_check" => (0.0, 2.0),
        "s2/offset_added" => (0.0, 1000.0),
        "s2/acquisition" => (1.0, 255.0),
        "static/slope" => (0.0, 90.0),
        "static/aspect" => (0.0, 360.0),
        "static/dem" => (-500.0, 9_000.0),
        "static/geomorphon" => (1.0, 10.0),
        "lon" => (-180.0, 180.0),
        "lat" => (-90.0, 90.0),
        _ => name
            .strip_prefix("s2/")
            .map_or((f32::NEG_INFINITY, f32::INFINITY), |asset| Quantity::of(asset).bounds()),
    }
}
