//! Reading the stores back and proving them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use chrono::Datelike;
use minicube::run::{Ctx, Failure, Finish};
use minicube::{Cube, Season, Split, check, check_files, file_exists, from_cf_day, is_sealed, read_file};
use ndarray::{ArrayD, Axis};
use rayon::prelude::*;

use crate::climatology::{class_climatology, climates, climatology_batch};
use crate::leakage::{Ground, leaks};
use crate::normalise::{Statistics, statistics};
use crate::plan::{Plan, Source, Unit};
use crate::settings::Settings;
use crate::splits::{grounds, read_batch, split_rows, splits_batch};
use crate::{Error, NONE_FOLLOWS};

/// Largest difference of a stored index from that of the stored bands, in units of its size where that is above 1: both are
/// the same single-precision arithmetic.
const INDEX_TOLERANCE: f32 = 1e-6;

/// Checks every store of the plan that belongs to this shard: sealed by this plan and from this Level 1, every file as it
/// was sealed, layout, samples, dates, seasons, masks, indices against bands. Then, once all stores are there, the files
/// about them: `normalisation.json` and `climatology.parquet` are what the training stores give, `splits.parquet` lists
/// the samples that there are, and no two of different splits show the same ground, see [`leaks`].
///
/// # Errors
/// A [`Failure`] if the plan's folder cannot be read. What is wrong with the data is in the text, and the exit code is
/// then 1.
pub fn verify(plan: &Plan, ctx: &Ctx) -> Result<Finish, Failure> {
    let mut problems = Vec::new();
    let mut there = 0;
    for (i, unit) in plan.units.iter().enumerate() {
        let path = plan.store(unit);
        let named = |problem: String| format!("{}: {problem}", unit.name());
        match state(&path, &unit.hash(&plan.settings)) {
            Some(problem) => problems.push(named(problem)),
            None => there += 1,
        }
        if file_exists(&path.join("zarr.json")) && ctx.mine(i) {
            problems.extend(check_store(&path, unit, &plan.settings).into_iter().map(named));
        }
    }
    if there == plan.units.len() {
        problems.extend(told(check_summaries(plan)));
    }
    if problems.is_empty() {
        let (units, samples) =
            (plan.units.len(), plan.units.iter().map(|unit| unit.samples(&plan.settings)).sum::<usize>());
        return Ok(Finish::text_only(format!(
            "x4-level2: {units} stores with {samples} samples are as they should be"
        )));
    }
    Ok(Finish::with_gaps(format!(
        "x4-level2: {} problems; delete what is wrong and run x4-level2 again\n  {}",
        problems.len(),
        problems.join("\n  ")
    )))
}

/// What keeps a store from being the plan's, if anything.
fn state(path: &Path, hash: &str) -> Option<String> {
    if is_sealed(path, hash) {
        return None;
    }
    if !file_exists(&path.join("zarr.json")) {
        return Some("not made yet".to_owned());
    }
    Some(match Cube::open(path, "level2").and_then(|cube| Ok(cube.attr_str("plan_hash")?.to_owned())) {
        Ok(found) => format!(
            "made by plan {found}, expected {hash}: the settings, the locations or Level 1 are others since"
        ),
        Err(error) => error.to_string(),
    })
}

/// An error of reading as the problem that it is.
fn told(result: Result<Vec<String>, Error>) -> Vec<String> {
    result.unwrap_or_else(|error| vec![error.to_string()])
}

fn check_store(path: &Path, unit: &Unit, settings: &Settings) -> Vec<String> {
    let texts = |found: Vec<minicube::Violation>| found.iter().map(ToString::to_string).collect();
    let mut problems = told(check_files(path).map(texts).map_err(Error::from));
    problems.extend(told(check(path, "level2").map(texts).map_err(Error::from)));
    problems.extend(told(
        Cube::open(path, "level2").map_err(Error::from).and_then(|cube| check_content(&cube, unit, settings)),
    ));
    problems
}

fn check_content(cube: &Cube, unit: &Unit, settings: &Settings) -> Result<Vec<String>, Error> {
    let samples = cube.dim("sample")?;
    let expected = unit.samples(settings);
    if samples != expected as u64 {
        return Ok(vec![format!("expected {expected} samples, found {samples}")]);
    }
    let ids: BTreeSet<String> = cube.read_strings("sample_id")?.into_iter().collect();
    if ids.len() != expected {
        return Ok(vec![format!("expected {expected} distinct samples, found {}", ids.len())]);
    }
    let years = match &unit.source {
        Source::Level1 { years, .. } => *years,
        Source::Import(_) => None,
    };
    let step_days = cube.attr_f64("step_days")? as i32;
    let (dates, seasons) = (cube.read::<i32>("date")?, cube.read::<u8>("season")?);
    let starts = cube.read::<i32>("start_date")?;
    let found = (0..samples)
        .into_par_iter()
        .map(|sample| {
            let place = sample as usize;
            let mut problems = Vec::new();
            let (dates, seasons) = (dates.index_axis(Axis(0), place), seasons.index_axis(Axis(0), place));
            let even = dates
                .iter()
                .enumerate()
                .all(|(k, &day)| day == starts[[place]] + (k as i32 + 1) * step_days - 1);
            if !even {
                problems.push("dates are not the ends of equal steps".to_owned());
            }
            if dates.iter().zip(&seasons).any(|(&day, &season)| Season::of(from_cf_day(day)).code() != season)
            {
                problems.push("seasons do not fit the dates".to_owned());
            }
            let ends = [starts[[place]], dates.last().copied().unwrap_or_default()]
                .map(|day| from_cf_day(day).year());
            if let Some([first, last]) = years.filter(|[first, last]| ends[0] < *first || ends[1] > *last) {
                problems
                    .push(format!("expected days of {first} to {last}, found {} to {}", ends[0], ends[1]));
            }
            problems.extend(check_maps(cube, sample, settings)?);
            Ok(problems.into_iter().map(|what| format!("sample {sample}: {what}")).collect())
        })
        .collect::<Result<Vec<Vec<String>>, Error>>()?;
    Ok(found.into_iter().flatten().collect())
}

fn check_maps(cube: &Cube, sample: u64, settings: &Settings) -> Result<Vec<String>, Error> {
    let mut problems = Vec::new();
    let mut shape = cube.shape("mask")?;
    shape[0] = 1;
    let start = [sample, 0, 0, 0];
    let floats =
        |var: &str| -> Result<ArrayD<f32>, Error> { Ok(cube.read_region::<f32>(var, &start, &shape)?) };
    let bands = settings.bands.iter().map(|(name, _)| floats(name)).collect::<Result<Vec<_>, Error>>()?;
    let bands: Vec<&[f32]> = bands.iter().filter_map(|band| band.as_slice()).collect();
    for index in &settings.indices {
        let stored = floats(&index.name)?;
        let mut expected = vec![0.0; stored.len()];
        index.evaluate(&bands, &mut expected);
        let same = |(a, b): (&f32, &f32)| {
            (a.is_nan() && b.is_nan()) || (a - b).abs() <= INDEX_TOLERANCE * b.abs().max(1.0)
        };
        let wrong = stored.iter().zip(&expected).filter(|pair| !same(*pair)).count();
        if wrong > 0 {
            problems.push(format!("{wrong} values of {} do not follow from the bands", index.name));
        }
    }
    let mask = cube.read_region::<u8>("mask", &start, &shape)?;
    let distance = cube.read_region::<i16>("dist_mask", &start, &shape)?;
    if mask.iter().any(|&m| m > 1) || distance.iter().any(|&d| d < NONE_FOLLOWS) {
        problems.push("mask is not 0 or 1, or dist_mask is below -1".to_owned());
    }
    let unfounded = mask.iter().zip(bands[0]).filter(|&(&m, &r)| m == 0 && r.is_nan()).count();
    if unfounded > 0 {
        problems.push(format!("{unfounded} values are NaN although an observation falls in the step"));
    }
    Ok(problems)
}

/// The files about all stores, against the stores.
fn check_summaries(plan: &Plan) -> Result<Vec<String>, Error> {
    let train = plan.stores_of(Split::Train);
    let mut problems = told(check_statistics(plan, &train));
    let expected = class_climatology(&train, &climates(plan.table.as_ref()))?;
    let another = "not the climatology of the training stores";
    problems.extend(told(check_table(plan, "climatology.parquet", climatology_batch(&expected), another)));
    let stores: Vec<(Split, PathBuf)> =
        plan.units.iter().map(|unit| (unit.split, plan.store(unit))).collect();
    let rows = split_rows(&stores)?;
    let another = "not the samples of the stores";
    problems.extend(told(check_table(
        plan,
        "splits.parquet",
        splits_batch(&rows, plan.table.as_ref()),
        another,
    )));
    problems.extend(check_separation(plan, &grounds(&rows)));
    Ok(problems)
}

/// The georeference of imported cubes is too coarse to compare grounds: there a cube must not be in two splits.
fn check_separation(plan: &Plan, grounds: &[Ground]) -> Vec<String> {
    if !plan.is_import() {
        let found = leaks(grounds, plan.separation.mode, plan.separation.buffer_m);
        return found.into_iter().map(|pair| format!("leakage: {pair}")).collect();
    }
    let mut owner: BTreeMap<&str, Split> = BTreeMap::new();
    let mut problems = Vec::new();
    for ground in grounds {
        let split = *owner.entry(&ground.cube_id).or_insert(ground.split);
        if split != ground.split {
            problems.push(format!("leakage: {} is in {split} and in {}", ground.cube_id, ground.split));
        }
    }
    problems
}

fn check_table(
    plan: &Plan,
    name: &str,
    expected: Result<RecordBatch, ArrowError>,
    another: &str,
) -> Result<Vec<String>, Error> {
    let path = plan.level2.join(name);
    let expected =
        expected.map_err(|error| minicube::Error::Table { path: path.clone(), reason: error.to_string() })?;
    let found = read_batch(&path)?;
    let schema = expected.schema();
    let differs = schema
        .fields()
        .iter()
        .find(|field| found.column_by_name(field.name()) != expected.column_by_name(field.name()));
    let (rows, there) = (expected.num_rows(), found.num_rows());
    Ok(match differs {
        _ if rows != there => {
            vec![format!("{}: {another}: expected {rows} rows, found {there}", path.display())]
        }
        Some(field) => vec![format!("{}: {another}: column {} differs", path.display(), field.name())],
        None => Vec::new(),
    })
}

fn check_statistics(plan: &Plan, train: &[PathBuf]) -> Result<Vec<String>, Error> {
    let path = plan.level2.join("normalisation.json");
    let bytes = read_file(&path)?;
    let stored: BTreeMap<String, Statistics> = serde_json::from_slice(&bytes)
        .map_err(|error| minicube::Error::Table { path: path.clone(), reason: error.to_string() })?;
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-12);
    let expected = statistics(train)?;
    let same = |s: &Statistics, e: &Statistics| {
        let pairs = [(s.mean, e.mean), (s.std, e.std), (s.min, e.min), (s.max, e.max)];
        s.count == e.count && pairs.into_iter().all(|(a, b)| close(a, b))
    };
    let names = stored.keys().chain(expected.keys());
    let wrong = |name: &&String| match (stored.get(*name), expected.get(*name)) {
        (Some(stored), Some(expected)) => !same(stored, expected),
        _ => true,
    };
    let wrong: BTreeSet<&String> = names.filter(wrong).collect();
    Ok(match wrong.first() {
        Some(name) => vec![format!("{}: not the statistics of the training stores: {name}", path.display())],
        None => Vec::new(),
    })
}
