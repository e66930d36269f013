//! `aggregate`: the forecasts of a model as impact indexes of regions, in windows of ten days to three months: product 2
//! of the DeepCube deliverable.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chrono::Datelike;
use geo::{Geometry, Point};
use minicube::run::{Failure, Finish};
use minicube::{Cube, from_cf_day, is_sealed, plan_hash, to_cf_day};
use ndarray::Array3;
use rayon::prelude::*;

use crate::compare::frames;
use crate::error::Error;
use crate::forecast_store::layer;
use crate::impact_table::{Row, worst_first, write_tables};
use crate::plan::{ModelPlan, Plan};
use crate::regions::{Region, read_regions, regions_at};
use crate::score::impact::{ImpactSums, Usual};
use crate::usual::UsualTable;

/// What to aggregate.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// Name of the model; all where absent.
    pub model: Option<String>,
    /// GeoJSON file of polygons; a cube belongs to those that its centre is in. Each cube is a region where absent.
    pub regions: Option<PathBuf>,
    /// Lengths of the windows in days; they begin on 1 January, and the last of a year is cut short.
    pub windows: Vec<u32>,
}

/// A region in a window: its place in the list of regions, days, and the CF days of begin and end.
type Key = (usize, u32, i32, i32);

/// What falls into a region and window.
#[derive(Clone, Debug, Default)]
struct Cell {
    samples: i64,
    /// Sum over the samples of the days from the end of the context to the middle of the window's steps.
    lead: f64,
    forecast: ImpactSums,
    observed: ImpactSums,
}

/// Writes `impact.parquet` (GeoParquet), `impact.csv` and `impact.html` into the folder of each model.
///
/// # Errors
/// A [`Failure`] for a model that is not forecast as it is configured, no climatology of kNDVI, regions without a cube,
/// and files that cannot be read or written.
pub fn aggregate(plan: &Plan, ask: &Aggregate) -> Result<Finish, Failure> {
    let wanted = |model: &&ModelPlan| ask.model.as_ref().is_none_or(|name| *name == model.name);
    let models: Vec<&ModelPlan> = plan.models.iter().filter(wanted).collect();
    if models.is_empty() {
        let known: Vec<&str> = plan.models.iter().map(|model| model.name.as_str()).collect();
        let name = ask.model.clone().unwrap_or_default();
        return Err(Failure::new(format!(
            "--model {name}: expected one of {}, found another",
            known.join(", ")
        ))
        .hint("models are named in [[train.models]]"));
    }
    if ask.windows.is_empty() || ask.windows.iter().any(|days| !(1..=366).contains(days)) {
        return Err(Failure::new(format!("--windows: expected days from 1 to 366, found {:?}", ask.windows))
            .hint("ten days, a month and three months are 10,30,90"));
    }
    let usual = UsualTable::read(&plan.level2.join("climatology.parquet"))?;
    let mut text = String::new();
    for model in models {
        text.push_str(&aggregate_model(plan, model, ask, &usual)?);
    }
    Ok(Finish::text_only(text.trim_end()))
}

fn aggregate_model(
    plan: &Plan,
    model: &ModelPlan,
    ask: &Aggregate,
    usual: &UsualTable,
) -> Result<String, Failure> {
    let folder = plan.models_dir.join(&model.name);
    let store = folder.join("forecast.zarr");
    if !is_sealed(&store, &plan_hash(model)) {
        return Err(Failure::new(format!(
            "{}: expected the forecasts of the model as it is configured now, found none",
            store.display()
        ))
        .hint("train and forecast first: x5-dl run with the same project file"));
    }
    let cube = Cube::open(&store, "forecast")?;
    let places = Places::read(&cube)?;
    let regions = match &ask.regions {
        Some(path) => read_regions(path)?,
        None => places.as_regions(),
    };
    let samples = (0..places.lon.len()).into_par_iter().map(|sample| {
        let within = match ask.regions {
            Some(_) => regions_at(&regions, places.lon[sample], places.lat[sample]),
            None => regions
                .binary_search_by(|region| region.name.cmp(&places.cube_id[sample]))
                .into_iter()
                .collect(),
        };
        if within.is_empty() { Ok(BTreeMap::new()) } else { cells(&cube, sample, &within, model, ask, usual) }
    });
    // In the order of the samples, so that sums do not depend on the number of threads.
    let mut all: BTreeMap<Key, Cell> = BTreeMap::new();
    for of_sample in samples.collect::<Result<Vec<_>, Error>>()? {
        for (key, cell) in of_sample {
            let into = all.entry(key).or_default();
            into.samples += cell.samples;
            into.lead += cell.lead;
            into.forecast.merge(&cell.forecast);
            into.observed.merge(&cell.observed);
        }
    }
    let rows: Vec<Row> = all.iter().filter_map(|(key, cell)| row(&regions, *key, cell)).collect();
    if rows.is_empty() {
        return Err(Failure::new(format!(
            "{}: expected pixels of vegetation in {} regions, found none",
            store.display(),
            regions.len()
        ))
        .hint("regions are in degrees, longitude first, and hold the centres of cubes that were forecast"));
    }
    write_tables(&folder, &model.name, &regions, &rows)?;
    Ok(format!("{}\n", summary(&model.name, &folder, &rows)))
}

/// `None` without a pixel.
fn row(regions: &[Region], (region, days, begin, end): Key, cell: &Cell) -> Option<Row> {
    Some(Row {
        region,
        name: regions[region].name.clone(),
        days,
        begin,
        end,
        samples: cell.samples,
        lead: cell.lead / cell.samples as f64,
        forecast: cell.forecast.finish()?,
        observed: cell.observed.finish(),
    })
}

fn summary(model: &str, folder: &Path, rows: &[Row]) -> String {
    let regions: BTreeSet<usize> = rows.iter().map(|row| row.region).collect();
    let mut text =
        format!("{model}: {} regions, {} rows; furthest below what is usual:\n", regions.len(), rows.len());
    for row in worst_first(rows).into_iter().take(3) {
        text.push_str(&format!(
            "  {:<24} {} to {}  z {:>6.2}  percentile {:>5.1}  impacted {:>5.1} %\n",
            row.name,
            from_cf_day(row.begin),
            from_cf_day(row.end),
            row.forecast.z,
            row.forecast.percentile,
            100.0 * row.forecast.impacted
        ));
    }
    text.push_str(&format!("  report   {}\n", folder.join("impact.html").display()));
    text
}

/// Where the samples are.
struct Places {
    cube_id: Vec<String>,
    lon: Vec<f64>,
    lat: Vec<f64>,
}

impl Places {
    fn read(cube: &Cube) -> Result<Places, Error> {
        let numbers = |name: &str| Ok::<_, Error>(cube.read::<f64>(name)?.into_iter().collect());
        Ok(Places { cube_id: cube.read_strings("cube_id")?, lon: numbers("lon")?, lat: numbers("lat")? })
    }

    /// Each cube once, as the point at its centre.
    fn as_regions(&self) -> Vec<Region> {
        let mut cubes: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for ((id, &lon), &lat) in self.cube_id.iter().zip(&self.lon).zip(&self.lat) {
            cubes.entry(id).or_insert((lon, lat));
        }
        let region = |(id, (lon, lat)): (&str, (f64, f64))| Region {
            name: id.to_owned(),
            shape: Geometry::Point(Point::new(lon, lat)),
        };
        cubes.into_iter().map(region).collect()
    }
}

/// The windows of one sample, in each of the regions it is in.
fn cells(
    cube: &Cube,
    sample: usize,
    within: &[usize],
    model: &ModelPlan,
    ask: &Aggregate,
    usual: &UsualTable,
) -> Result<BTreeMap<Key, Cell>, Error> {
    let (forecast, truth) = (frames(cube, "", sample, model)?, frames(cube, "truth_", sample, model)?);
    let mask = layer(cube, "mask", sample)?;
    let cover =
        if cube.has("static/landcover") { Some(layer(cube, "static/landcover", sample)?) } else { None };
    let steps = forecast.dim().0;
    let dates: Vec<i32> =
        cube.read_region::<i32>("date", &[sample as u64, 0], &[1, steps as u64])?.into_iter().collect();
    let step_days = dates.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap_or(1);
    let issued = dates.first().map_or(0, |first| first - step_days);
    let mut cells = BTreeMap::new();
    for &days in &ask.windows {
        let mut steps_of: BTreeMap<(i32, i32), Vec<usize>> = BTreeMap::new();
        for (step, &date) in dates.iter().enumerate() {
            steps_of.entry(window(date, days)).or_default().push(step);
        }
        for ((begin, end), steps) in steps_of {
            let lead = steps.iter().map(|&step| f64::from(dates[step] - issued)).sum::<f64>();
            let lead = lead / steps.len() as f64 - f64::from(step_days) / 2.0;
            let sums = |frames: &Array3<f32>, seen: Option<&Array3<f32>>| {
                pixels(frames, seen, cover.as_ref(), (&steps, &dates), &model.scoring.vegetation, usual)
            };
            let cell = Cell {
                samples: 1,
                lead,
                forecast: sums(&forecast, None),
                observed: sums(&truth, Some(&mask)),
            };
            for &region in within {
                cells.insert((region, days, begin, end), cell.clone());
            }
        }
    }
    Ok(cells)
}

/// CF days of begin and end of the window that a date is in.
fn window(date: i32, days: u32) -> (i32, i32) {
    let day = from_cf_day(date);
    let first = date - day.ordinal0() as i32;
    let days = days as i32;
    let begin = first + (date - first) / days * days;
    let new_year = chrono::NaiveDate::from_ymd_opt(day.year() + 1, 1, 1).map_or(i32::MAX, to_cf_day);
    (begin, (begin + days).min(new_year) - 1)
}

/// Adds the pixels of vegetation, each with its mean over the steps; only where it was `seen` (0), if that is asked for.
fn pixels(
    frames: &Array3<f32>,
    mask: Option<&Array3<f32>>,
    cover: Option<&Array3<f32>>,
    (steps, dates): (&[usize], &[i32]),
    vegetation: &[u8],
    usual: &UsualTable,
) -> ImpactSums {
    let (_, rows, cols) = frames.dim();
    let mut sums = ImpactSums::default();
    // The same for every pixel of a land cover.
    let mut known: BTreeMap<u8, Vec<Option<Usual>>> = BTreeMap::new();
    for (y, x) in (0..rows).flat_map(|y| (0..cols).map(move |x| (y, x))) {
        let class = cover.map_or(0.0, |cover| cover[[0, y, x]]);
        let class = if (1.0..=255.0).contains(&class) { class as u8 } else { 0 };
        if cover.is_some() && !vegetation.is_empty() && !vegetation.contains(&class) {
            continue;
        }
        let usual_steps = known
            .entry(class)
            .or_insert_with(|| steps.iter().map(|&step| usual.at(class, dates[step])).collect());
        let (mut value, mut mean, mut sd, mut count) = (0.0, 0.0, 0.0, 0u32);
        for (&step, usual) in steps.iter().zip(usual_steps.iter()) {
            let now = f64::from(frames[[step, y, x]]);
            let counts = now.is_finite() && mask.is_none_or(|mask| mask[[step, y, x]] == 0.0);
            if let (true, Some(usual)) = (counts, usual) {
                value += now;
                mean += usual.mean;
                sd += usual.sd;
                count += 1;
            }
        }
        let n = f64::from(count);
        sums.add(value / n, Usual { mean: mean / n, sd: sd / n });
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows begin on 1 January; the last one of a year is cut: 2021 has 365 days.
    #[test]
    fn windows_begin_with_the_year() {
        let day = |y, m, d| to_cf_day(chrono::NaiveDate::from_ymd_opt(y, m, d).unwrap());
        assert_eq!(window(day(2021, 1, 10), 10), (day(2021, 1, 1), day(2021, 1, 10)));
        assert_eq!(window(day(2021, 1, 11), 10), (day(2021, 1, 11), day(2021, 1, 20)));
        assert_eq!(window(day(2021, 12, 31), 10), (day(2021, 12, 27), day(2021, 12, 31)));
        assert_eq!(window(day(2020, 12, 31), 366), (day(2020, 1, 1), day(2020, 12, 31)));
        assert_eq!(window(day(2021, 4, 1), 90), (day(2021, 4, 1), day(2021, 6, 29)));
    }
}
