//! Weather of NetCDF files, hourly or daily, to daily values at the grid points around a tile's cubes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use chrono::DateTime;
use minicube::{LonLat, day_of_second, from_cf_day};
use ndarray::{Array3, Axis, concatenate, s};

use crate::Error;
use crate::config::Era5Variable;
use crate::daily::Day;
use crate::era5_plan::Era5Plan;
use crate::grid_window::GridWindow;
use crate::netcdf_file::NetcdfFile;
use crate::survey::Gap;

/// Values held at once while days are made, of all points of a window.
const VALUES: usize = 1 << 21;
const DAY_S: i64 = 86_400;

/// A file of a variable that covers the place.
struct Source<'a> {
    path: &'a PathBuf,
    /// Seconds since 1970.
    times: Vec<i64>,
    window: GridWindow,
}

/// The files of a variable that cover the place.
///
/// # Errors
/// [`Error::Variable`] for a file that cannot be read, has unknown time units or has a time twice, or if no file covers
/// the place.
fn sources<'a>(plan: &'a Era5Plan, index: usize, place: LonLat) -> Result<Vec<Source<'a>>, Error> {
    let name = plan.variables[index].source();
    let mut sources = Vec::new();
    for path in &plan.files[index] {
        let file = NetcdfFile::open(path)?;
        let (lat, lon) = file.places(name)?;
        if let Some(window) = GridWindow::around(place, &lat, &lon, plan.window, plan.interpolation) {
            let times = file.times(name)?;
            each_once(&times).map_err(|reason| Error::variable(path, name, reason))?;
            sources.push(Source { path, times, window });
        }
    }
    if let (true, Some(path)) = (sources.is_empty(), plan.files[index].last()) {
        let reason = format!(
            "expected a grid over {:.3} E {:.3} N, found one that does not cover it",
            place.lon, place.lat
        );
        return Err(Error::variable(path, name, reason));
    }
    Ok(sources)
}

/// Refuses a file that gives two values to a time: only its maker knows which one is right.
fn each_once(times: &[i64]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    let Some(&twice) = times.iter().find(|&&time| !seen.insert(time)) else { return Ok(()) };
    let time = DateTime::from_timestamp(twice, 0).unwrap_or_default();
    Err(format!("expected each time once, found {} twice", time.format("%Y-%m-%d %H:%M:%S")))
}

/// Days of the span for which some variables have values and others have none, as one gap a variable.
///
/// # Errors
/// As [`daily`].
pub(crate) fn survey(
    plan: &Era5Plan,
    place: LonLat,
    first_day: i32,
    days: usize,
    cubes: &[String],
) -> Result<Vec<Gap>, Error> {
    let mut present: Vec<BTreeSet<i32>> = Vec::new();
    let mut usual: BTreeSet<i32> = BTreeSet::new();
    for (index, var) in plan.variables.iter().enumerate() {
        let mut times: BTreeMap<i32, usize> = BTreeMap::new();
        for time in sources(plan, index, place)?.iter().flat_map(|source| &source.times) {
            let day = var.day(*time);
            if usize::try_from(day - first_day).is_ok_and(|index| index < days) {
                *times.entry(day).or_default() += 1;
            }
        }
        // A single hour of a day, where a series begins or ends, is not yet a day of it.
        let half = times.values().max().map_or(0, |&most| most.div_ceil(2));
        usual.extend(times.iter().filter(|&(_, &count)| count >= half).map(|(&day, _)| day));
        present.push(times.into_keys().collect());
    }
    let gaps = plan.variables.iter().zip(&present).filter_map(|(var, present)| {
        let lacking: Vec<i32> = usual.difference(present).copied().collect();
        let (first, last) = (from_cf_day(*lacking.first()?), from_cf_day(*lacking.last()?));
        let (name, count) = (var.source(), lacking.len());
        let reason =
            format!("no {name} on {count} days from {first} to {last}, for which there is other weather");
        let asset = format!("era5/{}", var.name);
        Some(Gap { scene: first.format("%Y%m%d").to_string(), asset, cubes: cubes.to_vec(), reason })
    });
    Ok(gaps.collect())
}

/// Daily values `[day, window, window]` of the variable at `index` around `place`, for `days` CF days from `first_day`.
/// Times may be in any order; where files overlap the first one counts. Days without values, and points outside the
/// grid, are NaN.
///
/// # Errors
/// [`Error::Variable`] for a file that cannot be read, has unknown time units or has a time twice, or if no file covers
/// the place.
pub(crate) fn daily(
    plan: &Era5Plan,
    index: usize,
    place: LonLat,
    first_day: i32,
    days: usize,
) -> Result<Array3<f32>, Error> {
    let (var, size) = (&plan.variables[index], plan.window);
    let sources = sources(plan, index, place)?;
    let expected = times_a_day(&sources);
    let mut series = Array3::from_elem((days, size, size), f32::NAN);
    // So many days at a time that their values fit.
    let part = (VALUES / (size * size)).clamp(1, days.max(1));
    for start in (0..days).step_by(part) {
        let span = start..(start + part).min(days);
        let mut made: Vec<Option<Day>> = vec![None; span.len()];
        let mut seen: BTreeSet<i64> = BTreeSet::new();
        let place_of = |time: i64| {
            let index = usize::try_from(var.day(time) - first_day).ok()?;
            span.contains(&index).then(|| index - span.start)
        };
        for source in &sources {
            add(source, var.source(), size, &place_of, &mut seen, &mut made)?;
        }
        for (index, day) in span.clone().zip(made) {
            let Some(day) = day else { continue };
            let values = day.finish(var.reduce, expected);
            series.slice_mut(s![index, .., ..]).iter_mut().zip(values).for_each(|(to, from)| *to = from);
        }
    }
    Ok(series)
}

/// Adds a file's values to the days that `place_of` gives for their times, each time once.
fn add(
    source: &Source<'_>,
    name: &str,
    size: usize,
    place_of: &impl Fn(i64) -> Option<usize>,
    seen: &mut BTreeSet<i64>,
    made: &mut [Option<Day>],
) -> Result<(), Error> {
    let Source { path, times, window } = source;
    let wanted = |index: &usize| place_of(times[*index]).is_some();
    let Some(first) = (0..times.len()).find(wanted) else { return Ok(()) };
    let last = (0..times.len()).rev().find(wanted).unwrap_or(first);
    let file = NetcdfFile::open(path)?;
    let block = (VALUES / (size * size)).max(1);
    for start in (first..=last).step_by(block) {
        let block = start..(start + block).min(last + 1);
        let parts = window
            .cols
            .iter()
            .filter(|cols| !cols.is_empty())
            .map(|cols| file.read(name, block.clone(), window.rows.clone(), cols.clone()))
            .collect::<Result<Vec<_>, Error>>()?;
        let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
        let values = concatenate(Axis(2), &views).map_err(|error| Error::variable(path, name, error))?;
        for (time, values) in times[block].iter().zip(values.axis_iter(Axis(0))) {
            if let Some(index) = place_of(*time).filter(|_| seen.insert(*time)) {
                made[index].get_or_insert_with(|| Day::new(size * size)).push(&window.pick(values));
            }
        }
    }
    Ok(())
}

/// Values in a complete day, by the smallest step between times.
fn times_a_day(sources: &[Source<'_>]) -> u32 {
    let step = |source: &Source<'_>| {
        let mut times = source.times.clone();
        times.sort_unstable();
        times.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap_or(DAY_S)
    };
    let step = sources.iter().map(step).fold(DAY_S, i64::min);
    u32::try_from(DAY_S / step.max(1)).unwrap_or(1)
}

impl Era5Variable {
    /// The CF day that a value belongs to.
    fn day(&self, time: i64) -> i32 {
        day_of_second(time - i64::from(self.hour_ending))
    }
}
