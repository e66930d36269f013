//! Reading the stores back and proving them.

use std::collections::BTreeMap;

use minicube::run::{Ctx, Failure, Finish};
use minicube::{Cube, Season, Split, check, file_exists, from_cf_day, is_sealed, read_file};
use ndarray::{ArrayD, Axis};
use rayon::prelude::*;

use crate::normalise::{Statistics, statistics};
use crate::plan::{Plan, Unit};
use crate::settings::Settings;
use crate::{Error, NONE_FOLLOWS};

/// Largest difference of a stored index from that of the stored bands, in units of its size where that is above 1: both are
/// the same single-precision arithmetic.
const INDEX_TOLERANCE: f32 = 1e-6;

/// Checks every store of the plan that belongs to this shard: sealed by this plan, layout, dates, seasons, masks,
/// indices against bands; then that no sample and no cube is in two splits, and that `normalisation.json` is what the
/// training stores give.
///
/// # Errors
/// A [`Failure`] if a file cannot be read. What is wrong with the data is in the text, and the exit code is then 1.
pub fn verify(plan: &Plan, ctx: &Ctx) -> Result<Finish, Failure> {
    let mut problems = Vec::new();
    let mut owner: BTreeMap<String, Split> = BTreeMap::new();
    let mut samples = 0;
    for (i, unit) in plan.units.iter().enumerate() {
        let path = plan.store(unit);
        if !is_sealed(&path, &unit.hash(&plan.settings)) {
            problems.push(format!("{}: not made by this plan yet", unit.name()));
            continue;
        }
        let cube = Cube::open(&path, "level2")?;
        for id in cube.read_strings("cube_id")? {
            samples += 1;
            let split = *owner.entry(id.clone()).or_insert(unit.split);
            if split != unit.split {
                problems.push(format!("{id}: in {split} and in {}", unit.split));
            }
        }
        if ctx.mine(i) {
            problems
                .extend(check(&path, "level2")?.into_iter().map(|found| format!("{}: {found}", unit.name())));
            problems.extend(check_content(&cube, unit, &plan.settings)?);
        }
    }
    problems.extend(check_statistics(plan)?);
    if problems.is_empty() {
        let units = plan.units.len();
        return Ok(Finish::text_only(format!(
            "x4-level2: {units} stores with {samples} samples are as they should be"
        )));
    }
    Ok(Finish::with_gaps(format!("x4-level2: {} problems\n  {}", problems.len(), problems.join("\n  "))))
}

fn check_content(cube: &Cube, unit: &Unit, settings: &Settings) -> Result<Vec<String>, Error> {
    let samples = cube.dim("sample")?;
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
            problems.extend(check_maps(cube, sample, settings)?);
            Ok(problems.into_iter().map(|what| format!("{}: sample {sample}: {what}", unit.name())).collect())
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

fn check_statistics(plan: &Plan) -> Result<Vec<String>, Failure> {
    let path = plan.level2.join("normalisation.json");
    let train = plan.units.iter().filter(|unit| unit.split == Split::Train);
    let paths: Vec<_> = train.map(|unit| plan.store(unit)).collect();
    if paths.iter().any(|path| !file_exists(&path.join("zarr.json"))) {
        return Ok(Vec::new());
    }
    let bytes = read_file(&path)?;
    let stored: BTreeMap<String, Statistics> = serde_json::from_slice(&bytes)
        .map_err(|error| minicube::Error::Table { path: path.clone(), reason: error.to_string() })?;
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-12);
    let expected = statistics(&paths)?;
    let same = stored.len() == expected.len()
        && expected.iter().all(|(var, e)| {
            stored
                .get(var)
                .is_some_and(|s| s.count == e.count && close(s.mean, e.mean) && close(s.std, e.std))
        });
    Ok(if same {
        Vec::new()
    } else {
        vec![format!("{}: not the statistics of the training stores", path.display())]
    })
}
