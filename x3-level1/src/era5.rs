//! ERA5 NetCDF files to daily values at the grid points nearest to a tile's cubes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use minicube::LonLat;
use ndarray::{Array3, Axis, s};
use serde::Serialize;

use crate::Error;
use crate::cf_time::cf_day;
use crate::config::{Era5Config, Era5Variable};
use crate::daily::{Day, Reduce};
use crate::files::FileSet;
use crate::layout::SeriesInfo;
use crate::netcdf_file::NetcdfFile;

/// Time steps read at once.
const BLOCK: usize = 24 * 61;
const DAY_S: i64 = 86_400;

/// What will be read from which files.
#[derive(Clone, Debug, Serialize)]
pub struct Era5Plan {
    /// Variables.
    pub variables: Vec<Era5Variable>,
    /// How they are described in the store.
    pub series: Vec<SeriesInfo>,
    /// Edge of the window of grid points.
    pub window: usize,
    /// Identity of the files.
    pub digest: String,
    /// The files that hold each variable, in its place.
    #[serde(skip)]
    pub files: Vec<Vec<PathBuf>>,
}

/// Resolves the configuration against the files in `raw/era5/`. `None` if there are none and no variable was asked for.
///
/// # Errors
/// - [`Error::NoInput`] if variables were asked for and there are no files,
/// - [`Error::Variable`] if a variable that was asked for is in none of them, or a file cannot be opened,
/// - [`Error::Config`] for a window outside 1..=128.
pub(crate) fn plan(config: &Era5Config, folder: &Path) -> Result<Option<Era5Plan>, Error> {
    if !(1..=128).contains(&config.window) {
        let found = config.window.to_string();
        return Err(Error::Config { key: "era5.window", expected: "1 to 128 grid points".into(), found });
    }
    let set = FileSet::list(folder, &["nc", "nc4"])?;
    if set.is_empty() {
        return match &config.variables {
            Some(variables) if !variables.is_empty() => Err(Error::NoInput {
                path: folder.to_owned(),
                what: "expected ERA5 files for [level1.era5] variables, found none".into(),
                hint: "run `x2-downloader run` with ERA5 in [download], or set [level1.era5] variables = []",
            }),
            _ => Ok(None),
        };
    }
    let opened: Vec<(NetcdfFile, &PathBuf)> =
        set.paths.iter().map(|path| Ok((NetcdfFile::open(path)?, path))).collect::<Result<_, Error>>()?;
    let (mut variables, mut series, mut files) = (Vec::new(), Vec::new(), Vec::new());
    for var in config.variables.clone().unwrap_or_else(defaults) {
        let holders: Vec<_> = opened.iter().filter(|(file, _)| file.has(var.source())).collect();
        let Some((first, _)) = holders.first() else {
            if config.variables.is_none() {
                continue;
            }
            let reason = format!("expected it in one of {} files, found it in none", opened.len());
            return Err(Error::variable(folder, var.source(), reason));
        };
        let attrs = ["units", "long_name", "standard_name"].into_iter();
        let attrs =
            attrs.filter_map(|key| Some((key.to_owned(), first.text_attr(var.source(), key)?))).collect();
        series.push(SeriesInfo { name: var.name.clone(), reduce: var.reduce, attrs });
        files.push(holders.iter().map(|(_, path)| (*path).clone()).collect());
        variables.push(var);
    }
    if variables.is_empty() {
        tracing::warn!(
            files = opened.len(),
            "the files in raw/era5 have none of ERA5's usual variables: name those to read in [level1.era5] variables"
        );
        return Ok(None);
    }
    Ok(Some(Era5Plan { variables, series, window: config.window, digest: set.digest, files }))
}

/// Temperature and pressure by mean, everything that ECMWF accumulates by sum.
fn defaults() -> Vec<Era5Variable> {
    [
        ("t2m", Reduce::Mean),
        ("tp", Reduce::Sum),
        ("e", Reduce::Sum),
        ("pev", Reduce::Sum),
        ("ssr", Reduce::Sum),
        ("ssrd", Reduce::Sum),
        ("sp", Reduce::Mean),
    ]
    .map(|(name, reduce)| Era5Variable { name: name.to_owned(), source: None, reduce, hour_ending: false })
    .to_vec()
}

/// Daily values `[day, window, window]` of each variable around `place`, for `days` CF days from `first_day`. Where
/// files overlap in time the first one counts. Days without values, and points outside the grid, are NaN.
///
/// # Errors
/// [`Error::Variable`] for a file that cannot be read, unknown time units, or if no file covers the place.
pub(crate) fn daily(
    plan: &Era5Plan,
    place: LonLat,
    first_day: i32,
    days: usize,
) -> Result<Vec<Array3<f32>>, Error> {
    plan.variables
        .iter()
        .zip(&plan.files)
        .map(|(var, files)| daily_variable(var, files, plan.window, place, first_day, days))
        .collect()
}

fn daily_variable(
    var: &Era5Variable,
    files: &[PathBuf],
    size: usize,
    place: LonLat,
    first_day: i32,
    days: usize,
) -> Result<Array3<f32>, Error> {
    let mut seen: BTreeSet<i64> = BTreeSet::new();
    let mut by_day: BTreeMap<usize, Day> = BTreeMap::new();
    let mut step = DAY_S;
    let mut elsewhere = None;
    for path in files {
        let file = NetcdfFile::open(path)?;
        let (lat, lon) = file.places(var.source())?;
        let Some((row, col)) = grid_point(&lat, &lon, place) else {
            elsewhere = Some(path);
            continue;
        };
        let times = file.times(var.source())?;
        step = times.windows(2).map(|pair| pair[1] - pair[0]).filter(|&gap| gap > 0).fold(step, i64::min);
        let window = Window::around(row, col, size, lat.len(), lon.len());
        for start in (0..times.len()).step_by(BLOCK) {
            let block = start..(start + BLOCK).min(times.len());
            let values = file.read(var.source(), block.clone(), window.rows.clone(), window.cols.clone())?;
            for (time, values) in times[block].iter().zip(values.axis_iter(Axis(0))) {
                let day = cf_day(time - i64::from(var.hour_ending));
                let index = usize::try_from(day - first_day).ok().filter(|&index| index < days);
                if let Some(index) = index.filter(|_| seen.insert(*time)) {
                    let day = by_day.entry(index).or_insert_with(|| Day::new(size * size));
                    day.push(&window.pick(values));
                }
            }
        }
    }
    if seen.is_empty()
        && let Some(path) = elsewhere
    {
        let reason = format!(
            "expected a grid over {:.3} E {:.3} N, found one that does not cover it",
            place.lon, place.lat
        );
        return Err(Error::variable(path, var.source(), reason));
    }
    let expected = u32::try_from(DAY_S / step.max(1)).unwrap_or(1);
    let mut series = Array3::from_elem((days, size, size), f32::NAN);
    for (index, day) in by_day {
        let values = day.finish(var.reduce, expected);
        series.slice_mut(s![index, .., ..]).iter_mut().zip(values).for_each(|(to, from)| *to = from);
    }
    Ok(series)
}

/// Row and column of the grid point nearest to a place, if it lies within half a step of the grid. Latitudes may
/// ascend or descend, longitudes may run from −180 or from 0 to 360.
fn grid_point(lat: &[f64], lon: &[f64], place: LonLat) -> Option<(usize, usize)> {
    let row = nearest(lat, place.lat)?;
    let col =
        [place.lon, place.lon + 360.0, place.lon - 360.0].iter().find_map(|&lon_of| nearest(lon, lon_of))?;
    Some((row, col))
}

/// Index of the nearest coordinate, if it is within half of the widest step. An axis of one point is near to all.
fn nearest(axis: &[f64], value: f64) -> Option<usize> {
    let distance = |i: usize| (axis[i] - value).abs();
    let index = (0..axis.len()).min_by(|&a, &b| distance(a).total_cmp(&distance(b)))?;
    let step = axis.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f64::max);
    (axis.len() == 1 || distance(index) <= step / 2.0 + 1e-9).then_some(index)
}

/// A square of grid points, cut at the edges of the grid.
struct Window {
    rows: std::ops::Range<usize>,
    cols: std::ops::Range<usize>,
    /// For each wanted point its place in the window, `None` off the grid.
    wanted: Vec<Option<(usize, usize)>>,
}

impl Window {
    /// For an even size the centre is the upper-left one of the middle four.
    fn around(row: usize, col: usize, size: usize, height: usize, width: usize) -> Window {
        let before = (size - 1) / 2;
        let cut = |index: usize, len: usize| index.saturating_sub(before)..(index + size - before).min(len);
        let (rows, cols) = (cut(row, height), cut(col, width));
        let place = |index: usize, d: usize, range: &std::ops::Range<usize>| {
            (index + d).checked_sub(before).filter(|i| range.contains(i)).map(|i| i - range.start)
        };
        let wanted = (0..size)
            .flat_map(|dy| (0..size).map(move |dx| (dy, dx)))
            .map(|(dy, dx)| place(row, dy, &rows).zip(place(col, dx, &cols)))
            .collect();
        Window { rows, cols, wanted }
    }

    fn pick(&self, values: ndarray::ArrayView2<'_, f64>) -> Vec<f64> {
        self.wanted.iter().map(|cell| cell.map_or(f64::NAN, |cell| values[cell])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grid_points_in_any_order_of_axes() {
        let descending = [1.0, 0.5, 0.0, -0.5];
        let full_circle: Vec<f64> = (0..720).map(|i| f64::from(i) * 0.5).collect();
        let at = |lon, lat| grid_point(&descending, &full_circle, LonLat { lon, lat });
        assert_eq!(at(0.6, 0.3), Some((1, 1)));
        assert_eq!(at(-0.5, -0.74), Some((3, 719)), "359.5 is -0.5");
        assert_eq!(at(0.0, -0.76), None, "south of the last row by more than half a step");
        let ascending = [-10.0, -9.0];
        assert_eq!(grid_point(&ascending, &[10.0, 11.0], LonLat { lon: 371.2, lat: -9.4 }), Some((1, 1)));
    }

    #[test]
    fn windows_are_cut_at_the_grid() {
        let values = ndarray::array![[1.0, 2.0], [3.0, 4.0]];
        let window = Window::around(0, 0, 3, 2, 2);
        assert_eq!((window.rows.clone(), window.cols.clone()), (0..2, 0..2));
        let picked = window.pick(values.view());
        assert!(picked[..4].iter().all(|v| v.is_nan()) && picked[6].is_nan());
        assert_eq!([picked[4], picked[5], picked[7], picked[8]], [1.0, 2.0, 3.0, 4.0]);
        let even = Window::around(1, 0, 2, 2, 2);
        assert_eq!((even.rows, even.cols), (1..2, 0..2), "an even window begins at the centre");
    }
}
