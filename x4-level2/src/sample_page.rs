//! One sample on the report page: its pixels' curves against what was acquired, and its maps over time.

use minicube::report::{Frame, LinePlot, Ramp, Report, Series, Style, class_legend, lines, ramp_legend};
use minicube::{Cube, from_cf_day};
use ndarray::{Array2, Array3, ArrayD, Axis, Ix3, s};

use crate::level1::Level1;
use crate::plan::{Plan, Source};
use crate::{Error, index};

/// Pixels of a sample that are drawn.
const PIXELS: usize = 3;

/// Steps of a sample that are drawn.
const FRAMES: usize = 12;

/// Distances from here on are drawn alike.
const FAR_DAYS: f32 = 60.0;

/// Reflectance that is drawn as full colour.
const WHITE: f32 = 0.3;

/// Curves of a few pixels and maps of some steps of the first sample of a store.
///
/// # Errors
/// [`Error::Shared`] if the store or its Level 1 cannot be read.
pub(crate) fn show_sample(page: Report, plan: &Plan, unit: usize, cube: &Cube) -> Result<Report, Error> {
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
    show_frames(page, cube, &ndvi, &mask, &distance, &dates)
}

/// True colour, NDVI, mask and distances of some steps, with their dates.
fn show_frames(
    page: Report,
    cube: &Cube,
    ndvi: &Array3<f32>,
    mask: &Array3<f32>,
    distance: &Array3<f32>,
    dates: &[f64],
) -> Result<Report, Error> {
    let steps = dates.len();
    let shown: Vec<usize> = (0..FRAMES.min(steps)).map(|i| i * steps / FRAMES.min(steps)).collect();
    let label = |step: usize| from_cf_day(dates[step] as i32).to_string();
    let mut page = page;
    let (_, rows, cols) = ndvi.dim();
    let band = |name: &str, step: usize| -> Result<Array2<f32>, Error> {
        let size = [1, 1, rows as u64, cols as u64];
        let values = cube.read_region::<f32>(name, &[0, step as u64, 0, 0], &size)?;
        Ok(Array2::from_shape_vec((rows, cols), values.into_iter().collect()).unwrap_or_default())
    };
    let colour = |&step: &usize| -> Result<Frame, Error> {
        let bands = [band("red", step)?, band("green", step)?, band("blue", step)?];
        Ok(Frame::true_colour(label(step), bands.each_ref().map(|band| band.view()), WHITE))
    };
    let frames = shown.iter().map(colour).collect::<Result<Vec<_>, Error>>()?;
    let caption = format!(
        "True colour, gap-filled, by the last day of the step: reflectance 0 is black, {WHITE} is full; grey: no value."
    );
    page = page.frames(&caption, &frames, "");
    let ramp = |caption: &str, values: &Array3<f32>, ramp: Ramp, high: f32, unit: &str, page: Report| {
        let range = (0.0, high);
        let frame = |&step: &usize| Frame::ramp(label(step), values.index_axis(Axis(0), step), ramp, range);
        let frames: Vec<Frame> = shown.iter().map(frame).collect();
        page.frames(caption, &frames, &ramp_legend(unit, ramp, range))
    };
    page = ramp("NDVI, gap-filled.", ndvi, Ramp::Greens, 0.9, "NDVI", page);
    let gaps = mask.mapv(|mask| mask as u8);
    let frame = |&step: &usize| Frame::classes(label(step), gaps.index_axis(Axis(0), step), &[0, 1]);
    let frames: Vec<Frame> = shown.iter().map(frame).collect();
    let names = ["0 a valid observation in the step".to_owned(), "1 none".to_owned()];
    page = page.frames("mask, by the last day of the step.", &frames, &class_legend(&names));
    let following = distance.mapv(|days| if days < 0.0 { f32::NAN } else { days });
    let caption =
        "dist_mask: days from the step's last day to the next valid observation; grey: none follows.";
    Ok(ramp(caption, &following, Ramp::Viridis, FAR_DAYS, &format!("days, {FAR_DAYS} or more"), page))
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
