//! The report page: how the samples came about, and what is in them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use minicube::report::{LinePlot, Ramp, Report, Series, Style, bars, lines, scatter_map, strip};
use minicube::{Cube, Season, Split};
use ndarray::{ArrayD, Axis, Ix3, s};
use rayon::prelude::*;

use crate::fill_errors::PooledErrors;
use crate::level1::Level1;
use crate::plan::{Plan, Source};
use crate::{Error, index};

/// Pixels of a sample that are drawn.
const PIXELS: usize = 3;
/// Samples that are drawn: the first of the first store of each split.
const FRAMES: usize = 12;

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
            let shape = cube.shape("mask")?;
            let counts: Vec<(u64, u64)> = (0..shape[0])
                .into_par_iter()
                .map(|sample| {
                    let mask = cube.read_region::<u8>(
                        "mask",
                        &[sample, 0, 0, 0],
                        &[1, shape[1], shape[2], shape[3]],
                    )?;
                    Ok((mask.iter().map(|&m| u64::from(m)).sum(), mask.len() as u64))
                })
                .collect::<Result<_, Error>>()?;
            let total = masked.entry(*split).or_default();
            counts.iter().for_each(|(gaps, all)| *total = (total.0 + gaps, total.1 + all));
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
    let imported = plan.units.iter().any(|unit| matches!(unit.source, Source::Import(_)));
    let lead = if imported {
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
        vec![split.to_string(), samples.to_string(), format!("{:.1} %", 100.0 * masked)]
    });
    let mut page = Report::new("Level 2")
        .lead(&lead)
        .section("Samples")
        .table(&["split", "samples", "pixels and steps without an observation"], rows.collect());
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
            &bars("Frames", &seasons, &groups(&balance.frames)),
        )
        .svg(
            "Season in which the samples start, percent.",
            &bars("Starts", &seasons, &groups(&balance.starts)),
        );

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

/// Curves of a few pixels and a strip of frames of the first sample of a store.
fn show_sample(page: Report, plan: &Plan, unit: usize, cube: &Cube) -> Result<Report, Error> {
    let name = cube.read_strings("sample_id")?.into_iter().next().unwrap_or_default();
    let mut page = page.section(&format!("{}: {name}", plan.units[unit].split));
    let first = |var: &str| -> Result<Vec<u64>, Error> {
        let mut shape = cube.shape(var)?;
        shape[0] = 1;
        Ok(shape)
    };
    let maps = |values: ArrayD<f32>| values.index_axis_move(Axis(0), 0).into_dimensionality::<Ix3>();
    let shape = first("mask")?;
    let start = vec![0; shape.len()];
    let (Ok(red), Ok(mut ndvi), Ok(mask), Ok(distance)) = (
        maps(cube.read_region("red", &start, &shape)?),
        maps(cube.read_region("nir", &start, &shape)?),
        maps(cube.read_f32("mask", &start, &shape)?),
        maps(cube.read_f32("dist_mask", &start, &shape)?),
    ) else {
        return Ok(page);
    };
    ndvi.zip_mut_with(&red, |nir, &red| *nir = index::ndvi(red, *nir));
    let kndvi = ndvi.mapv(index::kndvi);
    let dates: Vec<f64> =
        cube.read::<i32>("date")?.index_axis(Axis(0), 0).iter().map(|&d| f64::from(d)).collect();
    let (steps, rows, cols) = kndvi.dim();
    let span =
        (dates.first().copied().unwrap_or_default() - f64::from(plan.settings.step_days), dates[steps - 1]);
    for k in 0..PIXELS {
        let (row, col) = (rows * (2 * k + 1) / (2 * PIXELS), cols * (2 * k + 1) / (2 * PIXELS));
        let curve = |values: &ndarray::Array3<f32>| -> Vec<(f64, f64)> {
            let values = values.slice(s![.., row, col]);
            dates
                .iter()
                .zip(values)
                .filter(|(_, v)| v.is_finite())
                .map(|(&d, &v)| (d, f64::from(v)))
                .collect()
        };
        let series = |name: &str, points, style| Series { name: name.to_owned(), points, style };
        let mut plots = vec![series("kNDVI of the step", curve(&kndvi), Style::LinePoints)];
        let mut ndvi_plots = vec![series("NDVI of the step", curve(&ndvi), Style::LinePoints)];
        let (clear, cloudy) = raw_indices(plan, unit, row * cols + col, span)?;
        for (label, points) in [("acquired, clear", clear), ("acquired, masked", cloudy)] {
            if !points.is_empty() {
                let k = points.iter().map(|&(day, v)| (day, f64::from(index::kndvi(v as f32)))).collect();
                plots.push(series(label, k, Style::Points));
                ndvi_plots.push(series(label, points, Style::Points));
            }
        }
        let title = format!("kNDVI, row {row}, column {col}");
        let plot = LinePlot { title: &title, x_label: "", y_label: "kNDVI", series: plots, x_is_date: true };
        page = page.svg("Single acquisitions against the filled step means.", &lines(&plot));
        let title = format!("NDVI, row {row}, column {col}");
        let plot =
            LinePlot { title: &title, x_label: "", y_label: "NDVI", series: ndvi_plots, x_is_date: true };
        page = page.svg("The same for NDVI.", &lines(&plot));
        let gaps = vec![
            series(
                "dist_mask (days to the next valid observation, -1: none)",
                curve(&distance),
                Style::LinePoints,
            ),
            series("mask × 10 (10: no observation in the step)", scaled(curve(&mask), 10.0), Style::Points),
        ];
        let title = format!("Gaps, row {row}, column {col}");
        let plot = LinePlot { title: &title, x_label: "", y_label: "days", series: gaps, x_is_date: true };
        page = page.svg("How far the next observation is.", &lines(&plot));
    }
    let shown: Vec<usize> = (0..FRAMES.min(steps)).map(|i| i * steps / FRAMES.min(steps)).collect();
    for (what, values, ramp, range) in [
        ("kNDVI", &kndvi, Ramp::Greens, (0.0, 0.76)),
        ("mask (dark: observed)", &mask, Ramp::Gray, (0.0, 1.0)),
    ] {
        let frames: Vec<_> = shown.iter().map(|&step| values.index_axis(Axis(0), step)).collect();
        let (width, height, rgb) = strip(&frames, ramp, range);
        page = page.png(&format!("{what}, steps {shown:?}; grey: no value."), width, height, &rgb);
    }
    Ok(page)
}

fn scaled(points: Vec<(f64, f64)>, factor: f64) -> Vec<(f64, f64)> {
    points.into_iter().map(|(x, y)| (x, y * factor)).collect()
}

type Points = Vec<(f64, f64)>;

/// NDVI of the clear and of the masked acquisitions of a pixel of the unit's first cube; empty for imports.
fn raw_indices(plan: &Plan, unit: usize, pixel: usize, span: (f64, f64)) -> Result<(Points, Points), Error> {
    let (mut clear, mut cloudy) = (Vec::new(), Vec::new());
    let Source::Level1 { path, cubes, .. } = &plan.units[unit].source else { return Ok((clear, cloudy)) };
    let Some(cube) = cubes.first() else { return Ok((clear, cloudy)) };
    let level1 = Level1::open(path)?;
    let settings = &plan.settings;
    let observations = level1.observations(cube.index, settings)?;
    let (red, nir) = (settings.place_of("red"), settings.place_of("nir"));
    for (time, &day) in level1.days.iter().enumerate() {
        let day = f64::from(day);
        if day < span.0 || day > span.1 {
            continue;
        }
        if let Some((values, is_clear)) = observations.raw(time, pixel) {
            let point = (day, f64::from(index::ndvi(values[red], values[nir])));
            if is_clear { clear.push(point) } else { cloudy.push(point) }
        }
    }
    Ok((clear, cloudy))
}
