//! The report page: what each tile's store holds, seen.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use minicube::report::{LinePlot, Month, Report, Series, Style, calendar, lines, month_of};
use minicube::run::human_bytes;
use minicube::{Cube, from_cf_day, stored_bytes};
use ndarray::Axis;
use serde_json::Value;

use crate::Error;
use crate::dark_pixels::OffsetCheck;
use crate::pictures::{clearest, quicklooks, static_layers};
use crate::same_day::CLEAR;

/// Minicubes that get a row each in the calendar.
const MOST_ROWS: usize = 24;

/// Gaps that are listed.
const MOST_GAPS: usize = 50;

/// Number of scene classes.
const CLASSES: usize = 12;

/// Names of the scene classes of Sen2Cor.
const SCL_NAMES: [&str; CLASSES] = [
    "0 no data",
    "1 saturated or defective",
    "2 dark area",
    "3 cloud shadow",
    "4 vegetation",
    "5 not vegetated",
    "6 water",
    "7 unclassified",
    "8 cloud, medium probability",
    "9 cloud, high probability",
    "10 thin cirrus",
    "11 snow or ice",
];

/// The page over some sealed stores.
///
/// # Errors
/// [`Error::Minicube`] if a store cannot be read.
pub(crate) fn page(project: &str, stores: &[PathBuf]) -> Result<Report, Error> {
    let mut page = Report::new(&format!("Level 1 of {project}")).lead(
        "Raw files on the cubes' grids: Sentinel-2 by area average, its classification by area mode, weather by day, \
         terrain and land cover by GDAL's warper. One section a tile.",
    );
    for path in stores {
        page = tile_section(page, path)?;
    }
    Ok(page)
}

fn tile_section(page: Report, path: &Path) -> Result<Report, Error> {
    let cube = Cube::open(path, "level1")?;
    let days = cube.read::<i32>("s2/time")?.into_raw_vec_and_offset().0;
    let ids = cube.read_strings("id")?;
    let counts = class_counts(&cube, ids.len(), days.len())?;
    let shares: Vec<Vec<f64>> = counts.iter().map(|frame| frame.iter().map(clear_share).collect()).collect();
    let mean_share: Vec<f64> = shares.iter().map(|frame| mean(frame)).collect();
    let gaps = cube.attrs().get("gaps").and_then(Value::as_array).cloned().unwrap_or_default();
    let tile = cube.attr_str("tile")?.to_owned();
    let mut page = page.section(&format!("Tile {tile}")).text(&format!(
        "{} minicubes of {} × {} px of {} m, {} acquisitions, {} stored; {} gaps.",
        ids.len(),
        cube.attr_f64("size_px")?,
        cube.attr_f64("size_px")?,
        cube.attr_f64("resolution_m")?,
        days.len(),
        human_bytes(stored_bytes(path)?),
        gaps.len(),
    ));
    page = availability(page, &tile, &ids, &days, &counts);
    page = page.svg(
        "Share of pixels that show the ground (SCL 2, 4, 5, 6, 7, 11), mean over the minicubes.",
        &lines(&LinePlot {
            title: "Clear share",
            x_label: "date",
            y_label: "share",
            series: vec![Series {
                name: "clear".into(),
                points: days.iter().zip(&mean_share).map(|(&day, &share)| (f64::from(day), share)).collect(),
                style: Style::Points,
            }],
            x_is_date: true,
        }),
    );
    if let Some(id) = ids.first() {
        let frames = clearest(&shares.iter().map(|frame| frame[0]).collect::<Vec<_>>());
        page = quicklooks(page, &cube, id, &days, &frames)?;
        page = static_layers(page, &cube, id)?;
    }
    page = weather(page, &cube)?;
    page = gap_table(page, &gaps);
    scene_table(page, &cube, &days, &mean_share)
}

/// `[time][cube][class]`: pixels of each scene class.
fn class_counts(cube: &Cube, cubes: usize, scenes: usize) -> Result<Vec<Vec<[u32; CLASSES]>>, Error> {
    let shape = cube.shape("s2/scl")?;
    let mut counts = vec![Vec::with_capacity(cubes); scenes];
    for m in 0..cubes as u64 {
        let scl = cube.read_region::<u8>("s2/scl", &[m, 0, 0, 0], &[1, shape[1], shape[2], shape[3]])?;
        for (frame, counts) in scl.index_axis(Axis(0), 0).axis_iter(Axis(0)).zip(&mut counts) {
            let mut of_frame = [0; CLASSES];
            frame.iter().for_each(|&class| of_frame[usize::from(class).min(CLASSES - 1)] += 1);
            counts.push(of_frame);
        }
    }
    Ok(counts)
}

/// Share of the pixels that show the ground.
fn clear_share(counts: &[u32; CLASSES]) -> f64 {
    let clear: u32 = CLEAR.iter().map(|&class| counts[usize::from(class)]).sum();
    f64::from(clear) / f64::from(counts.iter().sum::<u32>().max(1))
}

/// What there is in each month: clear pixels by minicube (by tile where there are many), scene classes over all.
fn availability(
    page: Report,
    tile: &str,
    ids: &[String],
    days: &[i32],
    counts: &[Vec<[u32; CLASSES]>],
) -> Report {
    let mut clear: BTreeMap<usize, BTreeMap<Month, (f64, f64)>> = BTreeMap::new();
    let mut classes: BTreeMap<Month, [u64; CLASSES]> = BTreeMap::new();
    for (&day, cubes) in days.iter().zip(counts) {
        let month = month_of(day);
        for (m, counts) in cubes.iter().enumerate() {
            let row = if ids.len() <= MOST_ROWS { m } else { 0 };
            let sums = clear.entry(row).or_default().entry(month).or_default();
            *sums = (sums.0 + clear_share(counts), sums.1 + 1.0);
            let all = classes.entry(month).or_default();
            all.iter_mut().zip(counts).for_each(|(all, &count)| *all += u64::from(count));
        }
    }
    let name = |row: usize| if ids.len() <= MOST_ROWS { ids[row].clone() } else { tile.to_owned() };
    let share = |(&month, &(sum, count)): (&Month, &(f64, f64))| (month, sum / count);
    let rows: Vec<(String, BTreeMap<Month, f64>)> =
        clear.iter().map(|(&row, months)| (name(row), months.iter().map(share).collect())).collect();
    let of_class = |class: usize| {
        let share = |all: &[u64; CLASSES]| all[class] as f64 / all.iter().sum::<u64>().max(1) as f64;
        (SCL_NAMES[class].to_owned(), classes.iter().map(|(&month, all)| (month, share(all))).collect())
    };
    let by_class: Vec<(String, BTreeMap<Month, f64>)> = (0..CLASSES).map(of_class).collect();
    page.svg(
        "Share of pixels that show the ground (SCL 2, 4, 5, 6, 7, 11), mean over the acquisitions of the month.",
        &calendar("Clear pixels by month", "clear", &rows),
    )
    .svg(
        "Share of each scene class (SCL) among all pixels of all minicubes and acquisitions of the month.",
        &calendar("Scene classes by month", "of the pixels", &by_class),
    )
}

fn gap_table(page: Report, gaps: &[Value]) -> Report {
    if gaps.is_empty() {
        return page.text("No gaps: every block under a minicube was fetched, or the ledger says why not.");
    }
    let text = |gap: &Value, key: &str| gap[key].as_str().unwrap_or_default().to_owned();
    let row = |gap: &Value| {
        let cubes = gap["cubes"].as_array().map_or(0, Vec::len);
        vec![text(gap, "scene"), text(gap, "asset"), cubes.to_string(), text(gap, "reason")]
    };
    let shown = gaps.iter().take(MOST_GAPS).map(row).collect();
    page.text(&format!(
        "{} gaps, {} of them here. They read as no data.",
        gaps.len(),
        gaps.len().min(MOST_GAPS)
    ))
    .table(&["gap in", "asset", "minicubes", "reason"], shown)
}

/// One plot a daily variable: the tile's slice of ERA5, the mean over the cubes of SMAP.
fn weather(page: Report, cube: &Cube) -> Result<Report, Error> {
    let mut page = page;
    for name in cube.vars() {
        let Some((group @ ("era5" | "smap"), variable)) = name.split_once('/') else { continue };
        if variable == "time" {
            continue;
        }
        let days = cube.read::<i32>(&format!("{group}/time"))?.into_raw_vec_and_offset().0;
        let values = cube.read::<f32>(&name)?;
        let time = values.ndim() - 3;
        let points = values.axis_iter(Axis(time)).zip(&days);
        let points = points.map(|(day, &date)| {
            let finite = || day.iter().filter(|value| value.is_finite());
            (f64::from(date), finite().map(|&v| f64::from(v)).sum::<f64>() / finite().count() as f64)
        });
        let attrs = cube.var_attrs(&name);
        let text = |key: &str| attrs.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
        let label = text("units");
        let plot = LinePlot {
            title: &name,
            x_label: "date",
            y_label: if label.is_empty() { "value" } else { &label },
            series: vec![Series { name: variable.to_owned(), points: points.collect(), style: Style::Line }],
            x_is_date: true,
        };
        let caption = [text("long_name"), text("cell_methods")].into_iter().filter(|t| !t.is_empty());
        page = page.svg(&format!("{name}: {}.", caption.collect::<Vec<_>>().join(", ")), &lines(&plot));
    }
    Ok(page)
}

fn scene_table(page: Report, cube: &Cube, days: &[i32], shares: &[f64]) -> Result<Report, Error> {
    let ids = cube.read_strings("s2/scene_id")?;
    let baselines = cube.read::<f64>("s2/baseline")?;
    let applied = cube.read::<u8>("s2/offset_applied")?;
    let checks = cube.read::<u8>("s2/offset_check")?;
    let added = cube.read::<u16>("s2/offset_added")?;
    let doubtful = checks.iter().filter(|&&check| check == OffsetCheck::Disagree.code()).count();
    let page = if doubtful == 0 {
        page
    } else {
        page.text(&format!(
            "The pixels of {doubtful} acquisitions disagree with their items on the offset of baseline 04.00: if the \
             pixels are right and are not followed, these reflectances are wrong by 0.1."
        ))
    };
    let rows = (0..ids.len())
        .map(|t| {
            vec![
                ids[t].clone(),
                from_cf_day(days[t]).to_string(),
                if baselines[t].is_nan() { "unknown".to_owned() } else { format!("{:05.2}", baselines[t]) },
                if applied[t] == 1 { "yes" } else { "no" }.to_owned(),
                OffsetCheck::NAMES.get(usize::from(checks[t])).copied().unwrap_or("unknown").to_owned(),
                added[t].to_string(),
                format!("{:.0} %", 100.0 * shares[t]),
            ]
        })
        .collect();
    Ok(page.table(&["acquisition", "date", "baseline", "offset taken off", "pixels", "added", "clear"], rows))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of ten pixels two are vegetation, one is snow, three are cloud and four have no data.
    #[test]
    fn what_shows_the_ground_is_clear() {
        let mut counts = [0; CLASSES];
        (counts[0], counts[4], counts[9], counts[11]) = (4, 2, 3, 1);
        assert!((clear_share(&counts) - 0.3).abs() < 1e-12);
        assert_eq!(clear_share(&[0; CLASSES]), 0.0);
    }
}
