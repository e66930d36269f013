//! SMAP granules (HDF5, EASE2 grid) to daily values at the cubes: eight a day of Level 4, one a day of Level 3.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use minicube::{LonLat, NaiveDate, to_cf_day};
use ndarray::{Array2, Array4, s};
use serde::Serialize;

use crate::Error;
use crate::config::{SmapConfig, SmapVariable};
use crate::daily::{Day, Reduce, daily_units};
use crate::ease2::Ease2Grid;
use crate::files::FileSet;
use crate::granule::Granule;
use crate::layout::SeriesInfo;
use crate::survey::Gap;

/// What will be read from which granules.
#[derive(Clone, Debug, Serialize)]
pub struct SmapPlan {
    /// Variables, with the paths in the granules.
    pub variables: Vec<SmapVariable>,
    /// How they are described in the store.
    pub series: Vec<SeriesInfo>,
    /// Edge of the window of cells.
    pub window: usize,
    /// Granules that make a complete day.
    pub granules_per_day: u32,
    /// Identity of the granules.
    pub digest: String,
    /// Granules by CF day.
    #[serde(skip)]
    pub granules: BTreeMap<i32, Vec<PathBuf>>,
    /// Units of each variable as the granules have them.
    #[serde(skip)]
    units: Vec<Option<String>>,
}

/// Resolves the configuration against the granules in `raw/smap/<yyyymmdd>/`. `None` if there are no granules and no
/// variable was asked for.
///
/// # Errors
/// - [`Error::NoInput`] if variables were asked for and there are no granules, or a day has more than it can have,
/// - [`Error::Variable`] if a variable that was asked for is in no granule, or one cannot be opened,
/// - [`Error::Config`] for a window outside 1..=128.
pub(crate) fn plan(config: &SmapConfig, folder: &Path) -> Result<Option<SmapPlan>, Error> {
    if !(1..=128).contains(&config.window) {
        let found = config.window.to_string();
        return Err(Error::Config { key: "smap.window", expected: "1 to 128 cells".into(), found });
    }
    let files = FileSet::list(folder, &["h5", "hdf5", "nc4"])?;
    let Some(first) = files.paths.first() else {
        return match &config.variables {
            Some(variables) if !variables.is_empty() => Err(Error::NoInput {
                path: folder.to_owned(),
                what: "expected SMAP granules for [level1.smap] variables, found none".into(),
                hint: "run `x2-downloader run` with SMAP in [download], or set [level1.smap] variables = []",
            }),
            _ => Ok(None),
        };
    };
    let variables = match &config.variables {
        Some(variables) => variables.clone(),
        None => {
            let granule = Granule::open(first)?;
            defaults().into_iter().filter(|var| granule.has(&var.path())).collect()
        }
    };
    if variables.is_empty() {
        return Ok(None);
    }
    let (mut series, mut units) = (Vec::new(), Vec::new());
    for var in &variables {
        let (info, stored) = describe(var, &files.paths)?;
        series.push(info);
        units.push(stored);
    }
    let granules = by_day(&files.paths, config.granules_per_day)?;
    let (window, granules_per_day, digest) = (config.window, config.granules_per_day, files.digest);
    Ok(Some(SmapPlan { variables, series, window, granules_per_day, digest, granules, units }))
}

fn defaults() -> Vec<SmapVariable> {
    ["sm_surface", "sm_rootzone", "surface_pressure"]
        .map(|name| SmapVariable { name: name.to_owned(), path: None, reduce: None, layer: None })
        .to_vec()
}

/// What the first granule that has the variable says of it, and its units there.
fn describe(var: &SmapVariable, paths: &[PathBuf]) -> Result<(SeriesInfo, Option<String>), Error> {
    let name = var.path();
    for path in paths {
        let granule = Granule::open(path)?;
        if !granule.has(&name) {
            continue;
        }
        granule.placement(var)?;
        let attrs = ["units", "long_name"].into_iter();
        let mut attrs: BTreeMap<String, String> =
            attrs.filter_map(|key| Some((key.to_owned(), granule.text_attr(&name, key)?))).collect();
        let units = attrs.get("units").cloned();
        if var.reduce() == Reduce::Integral {
            let daily = daily_units(units.as_deref().unwrap_or_default());
            let daily = daily.map_err(|reason| Error::variable(path, &name, reason))?;
            attrs.insert("units".to_owned(), daily);
        }
        return Ok((SeriesInfo { name: var.name.clone(), reduce: var.reduce(), attrs }, units));
    }
    let first = paths.first().map_or(Path::new(""), PathBuf::as_path);
    let reason =
        format!("expected it in one of {} granules, found it in none, from this one on", paths.len());
    Err(Error::variable(first, &name, reason))
}

/// Granules by the CF day of their folder, `yyyymmdd`; a day may lack some, but not have more than it can have.
fn by_day(paths: &[PathBuf], granules_per_day: u32) -> Result<BTreeMap<i32, Vec<PathBuf>>, Error> {
    let mut granules: BTreeMap<i32, Vec<PathBuf>> = BTreeMap::new();
    for path in paths {
        let name = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        let date = NaiveDate::parse_from_str(&name, "%Y%m%d").map_err(|_| Error::NoInput {
            path: path.clone(),
            what: format!("expected the granule in a folder named yyyymmdd, found `{name}`"),
            hint: "keep SMAP granules as raw/smap/<yyyymmdd>/<granule>.h5",
        })?;
        let day = granules.entry(to_cf_day(date)).or_default();
        day.push(path.clone());
        if day.len() > granules_per_day as usize {
            return Err(Error::NoInput {
                path: path.parent().unwrap_or(path).to_owned(),
                what: format!(
                    "expected at most {granules_per_day} granules of a day, found {} or more",
                    day.len()
                ),
                hint: "keep one version of each granule, or set [level1.smap] granules_per_day",
            });
        }
    }
    Ok(granules)
}

/// Granules of the span that lack a variable, as one gap a variable. Opens every granule.
///
/// # Errors
/// [`Error::Variable`] for a granule that cannot be opened, or has a variable in other units than the first.
pub(crate) fn survey(
    plan: &SmapPlan,
    first_day: i32,
    days: usize,
    cubes: &[String],
) -> Result<Vec<Gap>, Error> {
    let mut lacking: Vec<Vec<&Path>> = vec![Vec::new(); plan.variables.len()];
    let mut granules = 0;
    for path in span(plan, first_day, days).flat_map(|(_, paths)| paths) {
        let granule = Granule::open(path)?;
        granules += 1;
        for ((var, units), lacking) in plan.variables.iter().zip(&plan.units).zip(&mut lacking) {
            let name = var.path();
            if !granule.has(&name) {
                lacking.push(path);
                continue;
            }
            let found = granule.text_attr(&name, "units");
            if found != *units {
                let show = |units: &Option<String>| units.clone().unwrap_or_else(|| "none".to_owned());
                let reason = format!("expected units {} as before, found {}", show(units), show(&found));
                return Err(Error::variable(path, &name, reason));
            }
        }
    }
    let gaps = plan.variables.iter().zip(lacking).filter_map(|(var, lacking)| {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let first = name(lacking.first()?);
        let reason =
            format!("{} of {granules} granules lack {}, the first is {first}", lacking.len(), var.path());
        Some(Gap { scene: first, asset: format!("smap/{}", var.name), cubes: cubes.to_vec(), reason })
    });
    Ok(gaps.collect())
}

/// The days of the span that have granules, by index.
fn span(plan: &SmapPlan, first_day: i32, days: usize) -> impl Iterator<Item = (usize, &[PathBuf])> {
    let index = move |day: i32| usize::try_from(day - first_day).ok().filter(|&index| index < days);
    plan.granules.iter().filter_map(move |(&day, paths)| Some((index(day)?, paths.as_slice())))
}

/// Daily values `[cube, day, window, window]` of each variable, for CF days from `first_day`. Each granule is
/// opened once, and one window around all cubes is read from it. Days without a granule, granules that lack a variable,
/// and cells outside the grid are NaN, and so are the days that are not `wanted`. For an even window the centre is the
/// upper-left one of the middle four cells.
///
/// # Errors
/// - [`Error::Variable`] for a granule that cannot be read or does not cover a cube,
/// - [`Error::Projection`] if a place cannot be projected.
pub(crate) fn daily(
    plan: &SmapPlan,
    cubes: &[LonLat],
    first_day: i32,
    wanted: &[bool],
) -> Result<Vec<Array4<f32>>, Error> {
    let (size, days) = (plan.window, wanted.len());
    let nan = || Array4::from_elem((cubes.len(), days, size, size), f32::NAN);
    let mut series: Vec<Array4<f32>> = plan.variables.iter().map(|_| nan()).collect();
    // Variables lie on grids of their own, and subsets of a granule may begin elsewhere than those before.
    let mut known: Vec<Option<(Ease2Grid, Cells)>> = plan.variables.iter().map(|_| None).collect();
    for (index, granules) in span(plan, first_day, days).filter(|(index, _)| wanted[*index]) {
        let mut day: Vec<Day> = plan.variables.iter().map(|_| Day::new(cubes.len() * size * size)).collect();
        for path in granules {
            let granule = Granule::open(path)?;
            for ((var, day), known) in plan.variables.iter().zip(&mut day).zip(&mut known) {
                if !granule.has(&var.path()) {
                    continue;
                }
                let placement = granule.placement(var)?;
                let cells = match known.take() {
                    Some((grid, cells)) if grid == placement.grid => cells,
                    _ => Cells::locate(&placement.grid, cubes, size, path)?,
                };
                let window = granule.read(var, &placement, &cells.rows, &cells.cols)?;
                day.push(&cells.pick(&window));
                *known = Some((placement.grid, cells));
            }
        }
        for ((var, day), series) in plan.variables.iter().zip(&day).zip(&mut series) {
            let values = day.finish(var.reduce(), plan.granules_per_day).into_iter();
            series.slice_mut(s![.., index, .., ..]).iter_mut().zip(values).for_each(|(to, from)| *to = from);
        }
    }
    Ok(series)
}

/// Which cells of the grid each cube takes, and the window around all of them.
struct Cells {
    rows: Range<usize>,
    cols: Range<usize>,
    /// Row and column in the window of each value, in the order cube, window row, window column; `None` off the grid.
    wanted: Vec<Option<(usize, usize)>>,
}

impl Cells {
    fn locate(grid: &Ease2Grid, cubes: &[LonLat], size: usize, path: &Path) -> Result<Cells, Error> {
        let mut wanted = Vec::new();
        for (place, (x, y)) in cubes.iter().zip(grid.project(cubes)?) {
            let (row, col) = grid.cell_of(x, y).ok_or_else(|| {
                let reason = format!(
                    "expected a grid over {:.3} E {:.3} N, found one that ends before",
                    place.lon, place.lat
                );
                Error::variable(path, "x, y", reason)
            })?;
            let before = (size - 1) / 2;
            for (dy, dx) in (0..size).flat_map(|dy| (0..size).map(move |dx| (dy, dx))) {
                let row = (row + dy).checked_sub(before).filter(|&row| row < grid.y.len());
                wanted.push(row.zip(grid.col((col + dx) as i64 - before as i64)));
            }
        }
        let range = |indices: Vec<usize>| {
            let first = indices.iter().copied().min().unwrap_or(0);
            first..indices.iter().copied().max().map_or(first, |last| last + 1)
        };
        let rows = range(wanted.iter().flatten().map(|cell| cell.0).collect());
        let cols = range(wanted.iter().flatten().map(|cell| cell.1).collect());
        for cell in wanted.iter_mut().flatten() {
            *cell = (cell.0 - rows.start, cell.1 - cols.start);
        }
        Ok(Cells { rows, cols, wanted })
    }

    fn pick(&self, window: &Array2<f64>) -> Vec<f64> {
        self.wanted.iter().map(|cell| cell.map_or(f64::NAN, |cell| window[cell])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows of all sizes on the 36 km grid, numbers worked by hand: around cell (203, 482), the first south-east of
    /// 0 E 0 N, and around the last column, whose eastern neighbour is column 0.
    #[test]
    fn windows_from_one_cell_to_128() {
        let grid = Ease2Grid::global(406, 964).unwrap();
        let numbers = Array2::from_shape_fn((406, 964), |(row, col)| (row * 1000 + col) as f64);
        let at = |lon: f64, lat: f64, size: usize| -> Vec<f64> {
            let cells = Cells::locate(&grid, &[LonLat { lon, lat }], size, Path::new("granule.h5")).unwrap();
            cells.pick(&numbers.slice(s![cells.rows.clone(), cells.cols.clone()]).to_owned())
        };
        assert_eq!(at(0.1, -0.1, 1), [203_482.0]);
        assert_eq!(at(0.1, -0.1, 2), [203_482.0, 203_483.0, 204_482.0, 204_483.0]);
        let three = at(0.1, -0.1, 3);
        assert_eq!((three[0], three[4], three[8]), (202_481.0, 203_482.0, 204_483.0));
        // 63 before and 64 after the centre.
        let many = at(0.1, -0.1, 128);
        assert_eq!((many.len(), many[0], many[63 * 128 + 63]), (128 * 128, 140_419.0, 203_482.0));
        assert_eq!(many[128 * 128 - 1], 267_546.0);
        // Across the antimeridian the columns go on at the other side.
        assert_eq!(at(179.9, -0.1, 3)[3..6], [203_962.0, 203_963.0, 203_000.0]);
        assert_eq!(at(-179.9, -0.1, 3)[3..6], [203_963.0, 203_000.0, 203_001.0]);
        // North of the first row there is nothing.
        let edge = at(0.1, 84.9, 3);
        assert!(edge[..3].iter().all(|value| value.is_nan()));
        assert_eq!(edge[3..6], [481.0, 482.0, 483.0]);
    }
}
