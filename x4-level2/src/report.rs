//! The report page: how the samples came about, and what is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use minicube::report::{Month, Report, bars, calendar, month_of, scatter_map};
use minicube::{Cube, Season, Split, from_cf_day};
use ndarray::{ArrayViewD, Axis};
use rayon::prelude::*;

use crate::Error;
use crate::fill_errors::PooledErrors;
use crate::normalise::statistics;
use crate::plan::Plan;
use crate::sample_page::show_sample;

/// How samples, seasons and gaps are distributed.
#[derive(Debug, Default)]
pub(crate) struct Balance {
    /// Samples by split.
    pub(crate) samples: BTreeMap<Split, u64>,
    /// Steps by split and season.
    frames: BTreeMap<Split, [u64; 4]>,
    /// First steps by split and season.
    starts: BTreeMap<Split, [u64; 4]>,
    /// Share of the pixels and steps without an observation, by split.
    masked: BTreeMap<Split, f64>,
    /// The same over all splits.
    pub(crate) share_masked: f64,
    /// Observed pixels and steps, and all of them, by store and month.
    months: BTreeMap<String, BTreeMap<Month, (u64, u64)>>,
    /// Cubes, first and last day, by split.
    spans: BTreeMap<Split, (BTreeSet<String>, i32, i32)>,
    /// Centres with the number of their split.
    places: Vec<(f64, f64, usize)>,
}

impl Balance {
    /// Counts over sealed stores.
    ///
    /// # Errors
    /// [`Error::Shared`] if a store cannot be read.
    pub(crate) fn of(stores: &[(Split, PathBuf)]) -> Result<Balance, Error> {
        let mut balance = Balance::default();
        let mut masked: BTreeMap<Split, (u64, u64)> = BTreeMap::new();
        for (split, path) in stores {
            let cube = Cube::open(path, "level2")?;
            let seasons = cube.read::<u8>("season")?;
            *balance.samples.entry(*split).or_default() += seasons.len_of(Axis(0)) as u64;
            let frames = balance.frames.entry(*split).or_default();
            seasons.iter().for_each(|&season| frames[usize::from(season % 4)] += 1);
            let starts = balance.starts.entry(*split).or_default();
            seasons.index_axis(Axis(1), 0).iter().for_each(|&season| starts[usize::from(season % 4)] += 1);
            let (lon, lat) = (cube.read::<f64>("lon")?, cube.read::<f64>("lat")?);
            balance.places.extend(lon.iter().zip(&lat).map(|(&lon, &lat)| (lon, lat, *split as usize)));
            let (starts, dates) = (cube.read::<i32>("start_date")?, cube.read::<i32>("date")?);
            let cubes = cube.read_strings("cube_id")?;
            let span = balance.spans.entry(*split).or_insert_with(|| (BTreeSet::new(), i32::MAX, i32::MIN));
            span.0.extend(cubes.iter().cloned());
            span.1 = starts.iter().fold(span.1, |first, &day| first.min(day));
            span.2 = dates.iter().fold(span.2, |last, &day| last.max(day));
            let total = masked.entry(*split).or_default();
            let name = format!("{split} {}", cube.attr_str("tile")?);
            let months = balance.months.entry(name).or_default();
            for (sample, gaps) in gaps_by_step(&cube)?.into_iter().enumerate() {
                let (pixels, gaps) = gaps;
                for (&day, gaps) in dates.index_axis(Axis(0), sample).iter().zip(gaps) {
                    *total = (total.0 + gaps, total.1 + pixels);
                    let month = months.entry(month_of(day)).or_default();
                    *month = (month.0 + pixels - gaps, month.1 + pixels);
                }
            }
        }
        let share = |(gaps, all): (u64, u64)| gaps as f64 / (all.max(1)) as f64;
        balance.share_masked =
            share(masked.values().fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1)));
        balance.masked = masked.into_iter().map(|(split, counts)| (split, share(counts))).collect();
        Ok(balance)
    }

    /// `DJF 25.1 %, MAM 24.9 %, …` over all splits.
    #[must_use]
    pub(crate) fn frame_shares_text(&self) -> String {
        let mut all = [0; 4];
        self.frames.values().for_each(|counts| (0..4).for_each(|i| all[i] += counts[i]));
        let shares = shares(&all);
        let part = |(season, share): (Season, &f64)| format!("{} {share:.1} %", season.name());
        Season::ALL.into_iter().zip(&shares).map(part).collect::<Vec<_>>().join(", ")
    }
}

/// For each sample the pixels of a step, and in each step those without an observation.
fn gaps_by_step(cube: &Cube) -> Result<Vec<(u64, Vec<u64>)>, Error> {
    let shape = cube.shape("mask")?;
    let of_sample = |sample| {
        let size = [1, shape[1], shape[2], shape[3]];
        let mask = cube.read_region::<u8>("mask", &[sample, 0, 0, 0], &size)?;
        let count = |step: ArrayViewD<'_, u8>| step.iter().map(|&m| u64::from(m)).sum();
        Ok((shape[2] * shape[3], mask.axis_iter(Axis(1)).map(count).collect()))
    };
    (0..shape[0]).into_par_iter().map(of_sample).collect()
}

fn shares(counts: &[u64; 4]) -> Vec<f64> {
    let sum = counts.iter().sum::<u64>().max(1);
    counts.iter().map(|&count| 100.0 * count as f64 / sum as f64).collect()
}

/// Builds the page from the sealed stores and, for the raw observations, from Level 1.
///
/// # Errors
/// [`Error::Shared`] if a store cannot be read.
pub(crate) fn report(
    plan: &Plan,
    stores: &[(Split, PathBuf)],
    balance: &Balance,
    errors: Option<&PooledErrors>,
) -> Result<Report, Error> {
    let settings = &plan.settings;
    let lead = if plan.is_import() {
        "Samples of a public dataset in the layout of Level 2. Nothing is filled: values stay as published."
            .to_owned()
    } else {
        format!(
            "Training-ready samples of {} steps of {} days: clouds masked by scene class {:?}, gaps filled in time \
             ({}), step means, indices, weather per step.",
            settings.steps,
            settings.step_days,
            settings.scl_clear,
            settings.fill.name()
        )
    };
    let rows = balance.samples.iter().map(|(split, samples)| {
        let masked = balance.masked.get(split).copied().unwrap_or_default();
        let (cubes, from, to) = balance.spans.get(split).map_or((0, 0, 0), |s| (s.0.len(), s.1, s.2));
        vec![
            split.to_string(),
            cubes.to_string(),
            samples.to_string(),
            from_cf_day(from).to_string(),
            from_cf_day(to).to_string(),
            format!("{:.1} %", 100.0 * masked),
        ]
    });
    let columns =
        ["split", "cubes", "samples", "first day", "last day", "pixels and steps without an observation"];
    let rule = match plan.is_import() {
        true => "Splits as the import was told.".to_owned(),
        false => format!("Splits: {}.", plan.separation.text()),
    };
    let mut page =
        Report::new("Level 2").lead(&lead).section("Samples").text(&rule).table(&columns, rows.collect());
    let classes: Vec<String> = Split::ALL.iter().map(|split| split.name().to_owned()).collect();
    page = page.svg("Where the samples are.", &scatter_map("Splits", &balance.places, &classes, &[]));

    let seasons: Vec<String> = Season::ALL.iter().map(|season| season.name().to_owned()).collect();
    let groups = |counts: &BTreeMap<Split, [u64; 4]>| {
        counts.iter().map(|(split, counts)| (split.to_string(), shares(counts))).collect::<Vec<_>>()
    };
    page = page
        .section("Seasons")
        .svg(
            "Share of the frames in each season, percent; 25 is balance.",
            &bars("Frames by season (%)", &seasons, &groups(&balance.frames)),
        )
        .svg(
            "Season in which the samples start, percent.",
            &bars("Starts by season (%)", &seasons, &groups(&balance.starts)),
        );

    let share = |(&month, &(seen, all)): (&Month, &(u64, u64))| (month, seen as f64 / all.max(1) as f64);
    let months =
        balance.months.iter().map(|(name, months)| (name.clone(), months.iter().map(share).collect()));
    page = page.section("Availability").svg(
        "Share of the pixels and steps with a valid observation, by the month of the step's last day; over all samples \
         of a store.",
        &calendar("Observations by month", "observed", &months.collect::<Vec<_>>()),
    );
    page = statistics_table(page, stores)?;
    if let Some(errors) = errors {
        page = errors.show(page);
    }
    for split in Split::ALL {
        if let Some((i, (_, path))) = stores.iter().enumerate().find(|(_, (found, _))| *found == split) {
            page = show_sample(page, plan, i, &Cube::open(path, "level2")?)?;
        }
    }
    Ok(page)
}

/// Four digits behind the point, or after the first one where the number is very large or small.
fn short(number: f64) -> String {
    let plain = number == 0.0 || (0.01..1e6).contains(&number.abs());
    if plain { format!("{number:.4}") } else { format!("{number:.4e}") }
}

/// Mean, spread and range of every variable in each split. Only those of `train` are in `normalisation.json`.
fn statistics_table(page: Report, stores: &[(Split, PathBuf)]) -> Result<Report, Error> {
    let mut rows = Vec::new();
    for split in Split::ALL {
        let paths: Vec<PathBuf> =
            stores.iter().filter(|(of, _)| *of == split).map(|(_, path)| path.clone()).collect();
        for (name, found) in statistics(&paths)? {
            let numbers = [found.mean, found.std, found.min, found.max];
            let cells = [name, split.to_string()].into_iter();
            let numbers = numbers.into_iter().map(short);
            rows.push(cells.chain(numbers).chain([found.count.to_string()]).collect::<Vec<String>>());
        }
    }
    rows.sort();
    let columns = ["variable", "split", "mean", "standard deviation", "smallest", "largest", "values"];
    Ok(page
        .section("Statistics")
        .text("Over all finite values, in the units of the variables. Models are scaled by those of train alone.")
        .table(&columns, rows))
}
