//! SMAP granules (HDF5, EASE2 grid, eight a day) to daily values at the cubes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use hdf5::types::{VarLenAscii, VarLenUnicode};
use hdf5::{Dataset, File};
use minicube::{LonLat, NaiveDate, to_cf_day};
use ndarray::{Array2, Array4, s};
use serde::Serialize;

use crate::Error;
use crate::config::{SmapConfig, SmapVariable};
use crate::daily::{Day, Reduce};
use crate::ease2::{Ease2Grid, project};
use crate::files::FileSet;
use crate::layout::SeriesInfo;

/// What SMAP's documentation calls missing, beside each variable's own `_FillValue`.
const MISSING: f32 = -9999.0;

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
}

/// Resolves the configuration against the granules in `raw/smap/<yyyymmdd>/`. `None` if there are no granules and no
/// variable was asked for.
///
/// # Errors
/// - [`Error::NoInput`] if variables were asked for and there are no granules,
/// - [`Error::Variable`] if a variable that was asked for is not in the first granule, or that cannot be opened,
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
    let granule = open(first)?;
    let variables = match &config.variables {
        Some(variables) => variables.clone(),
        None => defaults().into_iter().filter(|var| granule.dataset(&var.path()).is_ok()).collect(),
    };
    if variables.is_empty() {
        return Ok(None);
    }
    let series = variables
        .iter()
        .map(|var| {
            let dataset =
                granule.dataset(&var.path()).map_err(|error| Error::variable(first, &var.path(), error))?;
            let attrs = ["units", "long_name"].into_iter();
            let attrs = attrs.filter_map(|key| Some((key.to_owned(), text_attr(&dataset, key)?))).collect();
            Ok(SeriesInfo { name: var.name.clone(), reduce: var.reduce, attrs })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let mut granules: BTreeMap<i32, Vec<PathBuf>> = BTreeMap::new();
    for path in &files.paths {
        granules.entry(day_of(path)?).or_default().push(path.clone());
    }
    let (window, granules_per_day, digest) = (config.window, config.granules_per_day, files.digest);
    Ok(Some(SmapPlan { variables, series, window, granules_per_day, digest, granules }))
}

fn defaults() -> Vec<SmapVariable> {
    ["sm_surface", "sm_rootzone", "surface_pressure"]
        .map(|name| SmapVariable { name: name.to_owned(), path: None, reduce: Reduce::Mean })
        .to_vec()
}

/// The day of a granule is the name of its folder, `yyyymmdd`.
fn day_of(path: &Path) -> Result<i32, Error> {
    let name = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    NaiveDate::parse_from_str(&name, "%Y%m%d").map(to_cf_day).map_err(|_| Error::NoInput {
        path: path.to_owned(),
        what: format!("expected the granule in a folder named yyyymmdd, found `{name}`"),
        hint: "keep SMAP granules as raw/smap/<yyyymmdd>/<granule>.h5",
    })
}

/// Daily values `[cube, day, window, window]` of each variable, for `days` CF days from `first_day`. Each granule is
/// opened once, and one window around all cubes is read from it. Days without a granule, and cells outside the grid,
/// are NaN. For an even window the centre is the upper-left one of the middle four cells.
///
/// # Errors
/// - [`Error::Variable`] for a granule that cannot be read, lacks a variable or is on another grid than the first,
/// - [`Error::Projection`] if a place cannot be projected.
pub(crate) fn daily(
    plan: &SmapPlan,
    cubes: &[LonLat],
    first_day: i32,
    days: usize,
) -> Result<Vec<Array4<f32>>, Error> {
    let size = plan.window;
    let nan = || Array4::from_elem((cubes.len(), days, size, size), f32::NAN);
    let mut series: Vec<Array4<f32>> = plan.variables.iter().map(|_| nan()).collect();
    let mut cells: Option<(Ease2Grid, Cells)> = None;
    for index in 0..days {
        let Some(granules) = i32::try_from(index).ok().and_then(|i| plan.granules.get(&(first_day + i)))
        else {
            continue;
        };
        let mut day: Vec<Day> = plan.variables.iter().map(|_| Day::new(cubes.len() * size * size)).collect();
        for path in granules {
            let granule = open(path)?;
            if cells.is_none() {
                let grid = grid_of(&granule, path, &plan.variables[0].path())?;
                let found = Cells::locate(&grid, cubes, size, path)?;
                cells = Some((grid, found));
            }
            let Some((grid, cells)) = &cells else { continue };
            for (var, day) in plan.variables.iter().zip(&mut day) {
                let window = read_window(&granule, path, &var.path(), grid, cells)?;
                day.push(&cells.pick(&window));
            }
        }
        for ((var, day), series) in plan.variables.iter().zip(&day).zip(&mut series) {
            let values = day.finish(var.reduce, plan.granules_per_day).into_iter();
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
        for (place, (x, y)) in cubes.iter().zip(project(cubes)?) {
            let (row, col) = grid.cell_of(x, y).ok_or_else(|| {
                let reason = format!(
                    "expected a grid over {:.3} E {:.3} N, found one that ends before",
                    place.lon, place.lat
                );
                Error::variable(path, "x, y", reason)
            })?;
            for (dy, dx) in (0..size).flat_map(|dy| (0..size).map(move |dx| (dy, dx))) {
                let shift = |index: usize, d: usize, len: usize| {
                    (index + d).checked_sub((size - 1) / 2).filter(|&i| i < len)
                };
                wanted.push(shift(row, dy, grid.y.len()).zip(shift(col, dx, grid.x.len())));
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

    fn pick(&self, window: &Array2<f32>) -> Vec<f64> {
        let value = |cell: &Option<(usize, usize)>| cell.map_or(f64::NAN, |cell| f64::from(window[cell]));
        self.wanted.iter().map(value).collect()
    }
}

fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|error| Error::variable(path, "/", format!("unreadable HDF5: {error}")))
}

fn read_window(
    granule: &File,
    path: &Path,
    name: &str,
    grid: &Ease2Grid,
    cells: &Cells,
) -> Result<Array2<f32>, Error> {
    let failed = |error: hdf5::Error| Error::variable(path, name, error);
    let dataset = granule.dataset(name).map_err(failed)?;
    let expected = [grid.y.len(), grid.x.len()];
    if dataset.shape() != expected {
        let reason = format!("expected shape {expected:?}, found {:?}", dataset.shape());
        return Err(Error::variable(path, name, reason));
    }
    let window = dataset
        .read_slice_2d::<f32, _>(s![cells.rows.clone(), cells.cols.clone()])
        .map_err(|error| Error::variable(path, name, error))?;
    let fill = dataset
        .attr("_FillValue")
        .and_then(|attr| Ok(attr.read_raw::<f32>()?.first().copied()))
        .ok()
        .flatten();
    Ok(window.mapv_into(|value| if value == MISSING || Some(value) == fill { f32::NAN } else { value }))
}

/// The grid of a granule: its own `x` and `y` where it has them (subsets do), else the global grid of its shape.
fn grid_of(granule: &File, path: &Path, variable: &str) -> Result<Ease2Grid, Error> {
    let dataset = granule.dataset(variable).map_err(|error| Error::variable(path, variable, error))?;
    let shape = dataset.shape();
    let [rows, cols] = shape[..] else {
        return Err(Error::variable(
            path,
            variable,
            format!("expected two dimensions, found shape {shape:?}"),
        ));
    };
    let axis = |name: &str, len: usize| {
        granule
            .dataset(name)
            .and_then(|dataset| dataset.read_raw::<f64>())
            .ok()
            .filter(|axis| axis.len() == len)
    };
    if let (Some(x), Some(y)) = (axis("x", cols), axis("y", rows)) {
        return Ok(Ease2Grid { x, y });
    }
    Ease2Grid::global(rows, cols).ok_or_else(|| {
        let reason =
            format!("expected x and y, or a global EASE2 grid such as [1624, 3856], found shape {shape:?}");
        Error::variable(path, variable, reason)
    })
}

fn text_attr(dataset: &Dataset, key: &str) -> Option<String> {
    let attr = dataset.attr(key).ok()?;
    let text = attr
        .read_scalar::<VarLenUnicode>()
        .map(|text| text.to_string())
        .or_else(|_| attr.read_scalar::<VarLenAscii>().map(|text| text.to_string()))
        .or_else(|_| attr.read_scalar::<hdf5::types::FixedAscii<256>>().map(|text| text.to_string()))
        .ok()?;
    Some(text.trim_end_matches('\0').to_owned())
}
