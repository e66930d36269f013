//! A SMAP granule cut down to the wanted variables in the cells around the wanted locations.
//!
//! The cut file has the layout of the granule on the smallest window of the grid that holds all kept cells, with `x`
//! and `y` of its own. `minicube_kept` is 1 where a cell was kept: elsewhere a missing value means "cut away", there it
//! means "no data".

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use hdf5::types::TypeDescriptor;
use hdf5::{Dataset, File, Group};
use minicube::{LonLat, plan_hash};
use ndarray::{Array2, s};

use super::ease2::Grid;
use super::hdf;
use super::hdf5_copy::{
    Number, copy_attributes, copy_dimensions, copy_scale, copy_small, missing_value, put_text, with_number,
};
use super::smap_cells::Cells;
use super::smap_config::{GROUP, SmapPlan};
use crate::Error;

/// First row and column, rows and columns of the window, rows and columns of the whole grid.
const SUBSET: &str = "minicube_subset";
/// SHA-256 of the granule as served.
const ORIGIN: &str = "minicube_source_sha256";
/// `all` where no variable of the group was left out.
const VARIABLES: &str = "minicube_variables";
const KEPT: &str = "minicube_kept";
/// Half the places in a node of HDF5's tree of chunks. Its own 32 make nodes larger than the few chunks here.
const CHUNK_TREE: u32 = 4;
/// HDF5's memory of unpacked chunks of a granule: room for a row of any, so that each is unpacked once.
const CACHE_BYTES: usize = 64 << 20;
/// A prime number, some times the chunks that fit: each data set that is opened fills a table of this length.
const CACHE_SLOTS: usize = 1021;
/// Data sets on the grid that help to read the others, where a granule has them.
const COMPANIONS: [&str; 4] = ["cell_lat", "cell_lon", "cell_row", "cell_column"];
/// Small data sets that are copied as they are.
const SMALL: [&str; 2] = ["time", "EASE2_global_projection"];

/// What is kept of granules.
pub(crate) struct Wanted {
    variables: Vec<String>,
    window: usize,
    centers: Vec<LonLat>,
    /// The cells on the grid of the last granule: all granules share one.
    last: Mutex<Option<(Grid, Arc<Cells>)>>,
}

/// Why a granule was not cut.
pub(crate) enum Trouble {
    /// It is damaged.
    Granule(String),
    /// It can be read and has not what is wanted.
    Lacks(String),
    /// The disk, not the granule.
    Disk(Error),
}

impl Wanted {
    pub(crate) fn new(smap: &SmapPlan) -> Wanted {
        let (variables, centers) = (smap.variables.clone(), smap.centers.clone());
        Wanted { variables, window: smap.window_px, centers, last: Mutex::new(None) }
    }

    /// Identity of what is kept.
    pub(crate) fn digest(&self) -> String {
        plan_hash(&(&self.variables, self.window, &self.centers))
    }

    fn cells(&self, grid: &Grid) -> Option<Arc<Cells>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, cells)) = last.as_ref().filter(|(known, _)| known == grid) {
            return Some(Arc::clone(cells));
        }
        let cells = Arc::new(Cells::around(&self.centers, self.window, grid)?);
        *last = Some((grid.clone(), Arc::clone(&cells)));
        Some(cells)
    }
}

/// Cuts the granule at `whole` into a new file at `to`. Whatever the number of runs, the bytes are the same.
pub(crate) fn cut(whole: &Path, sha256: &str, to: &Path, wanted: &Wanted) -> Result<(), Trouble> {
    hdf::alone(|| {
        let granule = File::with_options()
            .with_fapl(|access| access.chunk_cache(CACHE_SLOTS, CACHE_BYTES, 1.0))
            .open(whole)
            .map_err(|error| Trouble::Granule(format!("unreadable HDF5: {error}")))?;
        let variables = variables_of(&granule, wanted)?;
        let grid = grid_of(&granule, &variables)?;
        let cells = wanted.cells(&grid).ok_or_else(|| {
            Trouble::Lacks(format!(
                "expected a grid that holds one of {} locations, found one of {} x {} cells that does not",
                wanted.centers.len(),
                grid.y.len(),
                grid.x.len()
            ))
        })?;
        for (name, data) in &variables {
            check(name, data, &grid).map_err(Trouble::Lacks)?;
        }
        let all = wanted.variables.is_empty();
        write(&granule, to, &variables, &grid, &cells, (sha256, all)).map_err(|error| {
            let damage = || Trouble::Granule(format!("unreadable HDF5: {error}"));
            hdf::disk_trouble(to).map_or_else(damage, Trouble::Disk)
        })
    })
}

/// Whether a file of an earlier run holds all that is wanted: a granule as served, or one that was cut for at least
/// these cells and variables. With `None` only a granule as served will do.
pub(crate) fn holds(path: &Path, wanted: Option<&Wanted>) -> bool {
    hdf::alone(|| {
        // What cannot be opened was not cut here.
        let Ok(file) = File::open(path) else { return wanted.is_none() };
        match (cut_cells(&file), wanted) {
            (Cut::Nothing, _) => true,
            (Cut::Unknown, _) | (Cut::Away { .. }, None) => false,
            (Cut::Away { cells, rows, cols, all }, Some(wanted)) => {
                let variables = match wanted.variables.is_empty() {
                    true => all,
                    false => wanted.variables.iter().all(|name| file.dataset(name).is_ok()),
                };
                let needed = Grid::global(rows, cols).and_then(|grid| wanted.cells(&grid));
                variables && needed.is_some_and(|needed| cells.cover(&needed))
            }
        }
    })
}

/// What was cut from a file.
enum Cut {
    Nothing,
    Away { cells: Cells, rows: usize, cols: usize, all: bool },
    Unknown,
}

fn cut_cells(file: &File) -> Cut {
    let Ok(attr) = file.attr(SUBSET) else { return Cut::Nothing };
    let read = || {
        let numbers = attr.read_raw::<i64>().ok()?;
        let numbers: Vec<usize> = numbers.into_iter().map(usize::try_from).collect::<Result<_, _>>().ok()?;
        let &[first_row, first_col, _, _, rows, cols] = &numbers[..] else { return None };
        let kept = file.dataset(KEPT).and_then(|kept| kept.read_2d::<u8>()).ok()?.mapv(|kept| kept == 1);
        let all = file.attr(VARIABLES).and_then(|attr| attr.read_scalar::<hdf5::types::VarLenUnicode>());
        let all = all.is_ok_and(|text| text.as_str() == "all");
        Some(Cut::Away { cells: Cells { first_row, first_col, kept }, rows, cols, all })
    };
    read().unwrap_or(Cut::Unknown)
}

/// The variables that are kept, by their paths.
fn variables_of(granule: &File, wanted: &Wanted) -> Result<Vec<(String, Dataset)>, Trouble> {
    let names = granule.group(GROUP).and_then(|group| group.member_names()).unwrap_or_default();
    let open = |path: &String| granule.dataset(path).ok().filter(|data| data.ndim() == 2);
    let all = wanted.variables.is_empty();
    let paths: Vec<String> = match all {
        true => names.iter().map(|name| format!("{GROUP}/{name}")).collect(),
        false => wanted.variables.clone(),
    };
    let opened: Vec<(String, Option<Dataset>)> =
        paths.into_iter().map(|path| (path.clone(), open(&path))).collect();
    let lacking = opened.iter().find(|(_, data)| data.is_none() && !all).map(|(path, _)| path.clone());
    let found: Vec<(String, Dataset)> =
        opened.into_iter().filter_map(|(path, data)| Some((path, data?))).collect();
    if found.is_empty() || lacking.is_some() {
        let expected = lacking.map_or("a variable on the grid".to_owned(), |path| format!("/{path}"));
        let reason = format!("expected {expected}, found in /{GROUP}: {}", names.join(", "));
        return Err(Trouble::Lacks(reason));
    }
    Ok(found)
}

/// The grid of a granule: its own `x` and `y`, beside the variables or at the top, else the global one of its shape.
fn grid_of(granule: &File, variables: &[(String, Dataset)]) -> Result<Grid, Trouble> {
    let Some((first, data)) = variables.first() else {
        return Err(Trouble::Lacks("no variable is wanted".into()));
    };
    let shape = data.shape();
    let &[rows, cols] = &shape[..] else {
        return Err(Trouble::Lacks(format!("/{first}: expected two dimensions, found shape {shape:?}")));
    };
    let axis = |name: &str, len: usize| {
        let values = axis_of(granule, first, name).and_then(|axis| axis.read_raw::<f64>().ok());
        values.filter(|values| values.len() == len)
    };
    match (axis("x", cols), axis("y", rows)) {
        (Some(x), Some(y)) => Ok(Grid { x, y }),
        _ => Grid::global(rows, cols).ok_or_else(|| {
            let expected = "expected x and y, or a global EASE2 grid such as [1624, 3856]";
            Trouble::Lacks(format!("/{first}: {expected}, found shape {shape:?}"))
        }),
    }
}

/// The `x` or `y` that belongs to a variable.
fn axis_of(granule: &File, variable: &str, name: &str) -> Option<Dataset> {
    let beside = variable.rsplit_once('/').map(|(group, _)| format!("{group}/{name}"));
    beside.and_then(|path| granule.dataset(&path).ok()).or_else(|| granule.dataset(name).ok())
}

/// Whether a variable is numbers on the grid; the error says what else it is.
fn check(name: &str, data: &Dataset, grid: &Grid) -> Result<(), String> {
    let failed = |error: hdf5::Error| format!("/{name}: {error}");
    let expected = [grid.y.len(), grid.x.len()];
    if data.shape() != expected {
        return Err(format!("/{name}: expected shape {expected:?}, found {:?}", data.shape()));
    }
    let kind = data.dtype().and_then(|kind| kind.to_descriptor()).map_err(failed)?;
    match kind {
        TypeDescriptor::Float(_) | TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_) => Ok(()),
        other => Err(format!("/{name}: expected numbers, found {other}")),
    }
}

fn read<T: Number>(
    data: &Dataset,
    cells: &Cells,
    rows: Range<usize>,
    cols: Range<usize>,
) -> hdf5::Result<Array2<T>> {
    let (row, col) = (cells.first_row, cells.first_col);
    data.read_slice_2d::<T, _>(s![rows.start + row..rows.end + row, cols.start + col..cols.end + col])
}

fn write(
    granule: &File,
    to: &Path,
    variables: &[(String, Dataset)],
    grid: &Grid,
    cells: &Cells,
    (sha256, all): (&str, bool),
) -> hdf5::Result<()> {
    let file = File::with_options().with_fcpl(|made| made.istore_k(CHUNK_TREE)).create(to)?;
    copy_attributes(granule, &file)?;
    let (rows, cols) = cells.kept.dim();
    let window = [cells.first_row, cells.first_col, rows, cols, grid.y.len(), grid.x.len()];
    let window = window.map(|number| number as i64);
    file.new_attr_builder().with_data(&window).create(SUBSET)?;
    put_text(&file, ORIGIN, sha256)?;
    put_text(&file, VARIABLES, if all { "all" } else { "listed" })?;
    for (name, axis, from, len) in
        [("x", &grid.x, cells.first_col, cols), ("y", &grid.y, cells.first_row, rows)]
    {
        let axis = file.new_dataset_builder().with_data(&axis[from..from + len]).create(name)?;
        if let Some(old) = variables.first().and_then(|(first, _)| axis_of(granule, first, name)) {
            copy_attributes(&old, &axis)?;
            copy_scale(&old, &axis)?;
        }
    }
    for name in SMALL {
        if let Ok(small) = granule.dataset(name) {
            copy_small(&small, &file, name)?;
        }
    }
    let companions = COMPANIONS.into_iter().filter_map(|name| {
        let data = granule.dataset(name).ok()?;
        check(name, &data, grid).is_ok().then(|| (name.to_owned(), data))
    });
    let companions: Vec<(String, Dataset)> = companions.collect();
    for (name, data) in companions.iter().chain(variables) {
        copy_groups(granule, &file, name)?;
        let kind = data.dtype()?.to_descriptor()?;
        let copy = with_number!(&kind, T => copy_cells::<T>(data, &file, name, cells)?, continue);
        copy_dimensions(data, &copy, &file, ["y", "x"])?;
    }
    write_kept(&file, cells)?;
    file.close()
}

/// The groups above a variable, with their attributes.
fn copy_groups(granule: &File, to: &File, name: &str) -> hdf5::Result<()> {
    let ends = name.match_indices('/').map(|(at, _)| at);
    for path in ends.map(|at| &name[..at]).filter(|path| !to.link_exists(path)) {
        let (old, new) = (granule.group(path)?, to.create_group(path)?);
        copy_attributes(&old, &new)?;
    }
    Ok(())
}

/// The kept cells of a data set; all others are missing, and chunks of nothing else are not stored.
fn copy_cells<T: Number>(data: &Dataset, to: &Group, name: &str, cells: &Cells) -> hdf5::Result<Dataset> {
    let missing = missing_value::<T>(data);
    let builder = to.new_dataset_builder().empty::<T>().shape(cells.kept.dim()).chunk(cells.chunk());
    let copy = builder.shuffle().deflate(4).fill_value(missing).create(name)?;
    copy_attributes(data, &copy)?;
    if copy.attr("_FillValue").is_err() {
        copy.new_attr::<T>().create("_FillValue")?.write_scalar(&missing)?;
    }
    cells.each_run(|rows, cols| {
        let mut block = read::<T>(data, cells, rows.clone(), cols.clone())?;
        let kept = cells.kept.slice(s![rows.clone(), cols.clone()]);
        block.zip_mut_with(&kept, |value, kept| {
            if !kept {
                *value = missing;
            }
        });
        copy.write_slice(&block, s![rows, cols])
    })?;
    Ok(copy)
}

fn write_kept(to: &File, cells: &Cells) -> hdf5::Result<()> {
    let builder = to.new_dataset_builder().empty::<u8>().shape(cells.kept.dim()).chunk(cells.chunk());
    let kept = builder.shuffle().deflate(4).fill_value(0_u8).create(KEPT)?;
    put_text(&kept, "long_name", "1 where a cell was kept, 0 where it was cut away")?;
    cells.each_run(|rows, cols| {
        let block = cells.kept.slice(s![rows.clone(), cols.clone()]).mapv(u8::from);
        kept.write_slice(&block, s![rows, cols])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file whose axes are tied to its variables as NetCDF does it is opened by NetCDF as before when it is cut.
    #[test]
    fn axes_stay_tied_to_their_variables() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("granule.nc"), dir.path().join("cut.h5"));
        let (x, y): (Vec<f64>, Vec<f64>) = (
            (0..60).map(|col| f64::from(col) * 1e4).collect(),
            (0..50).map(|row| f64::from(-row) * 1e4).collect(),
        );
        let mut file = netcdf::create(&from).unwrap();
        for (name, axis) in [("x", &x), ("y", &y)] {
            file.add_dimension(name, axis.len()).unwrap();
            file.add_variable::<f64>(name, &[name]).unwrap().put_values(axis, ..).unwrap();
        }
        let values: Vec<f32> = (0..50 * 60).map(|cell| cell as f32).collect();
        let mut made = file.add_group(GROUP).unwrap();
        made.add_variable::<f32>("sm_surface", &["y", "x"]).unwrap().put_values(&values, ..).unwrap();
        file.close().unwrap();
        // The cell of 0.3 E is column 3, that of 0.2 S row 2 or 3.
        let centers = vec![LonLat { lon: 0.3, lat: -0.2 }];
        let wanted = Wanted { variables: Vec::new(), window: 4, centers, last: Mutex::new(None) };
        assert!(cut(&from, "abc", &to, &wanted).is_ok());
        let again = dir.path().join("again.h5");
        assert!(self::cut(&from, "abc", &again, &wanted).is_ok());
        assert_eq!(std::fs::read(&to).unwrap(), std::fs::read(&again).unwrap());
        let cut = netcdf::open(&to).unwrap();
        let group = cut.group(GROUP).unwrap().unwrap();
        let variable = group.variable("sm_surface").unwrap();
        let dimensions = variable.dimensions().iter().map(|d| (d.name(), d.len())).collect::<Vec<_>>();
        assert_eq!(dimensions, [("y".to_owned(), 4), ("x".to_owned(), 4)]);
        let (x, y) = (cut.variable("x").unwrap(), cut.variable("y").unwrap());
        assert_eq!((x.dimensions()[0].name(), y.dimensions()[0].name()), ("x".into(), "y".into()));
        let (x, y) = (x.get_values::<f64, _>(..).unwrap(), y.get_values::<f64, _>(..).unwrap());
        let first = variable.get_value::<f32, _>([0, 0]).unwrap();
        assert_eq!(f64::from(first), -y[0] / 1e4 * 60.0 + x[0] / 1e4);
    }

    /// Part of a real SMAP granule on the global 36 km grid, whose cells tell their own latitudes and longitudes.
    #[test]
    fn a_real_granule_is_cut_where_its_own_coordinates_say() {
        let Some(real) = minicube::testing::real("smap/SPL3FTP_subsetted.nc4") else { return };
        let group = "Freeze_Thaw_Retrieval_Data_Global";
        let granule = File::open(&real).unwrap();
        let layer = |name: &str| -> Array2<f32> {
            let all = granule.dataset(&format!("{group}/{name}")).unwrap().read_dyn::<f32>().unwrap();
            all.index_axis(ndarray::Axis(0), 0).to_owned().into_dimensionality().unwrap()
        };
        let (lats, lons) = (layer("latitude"), layer("longitude"));
        let state = granule.dataset(&format!("{group}/transition_direction")).unwrap();
        let (row, col) = (13, 80);
        let center = LonLat { lon: f64::from(lons[(row, col)]), lat: f64::from(lats[(row, col)]) };
        let variables = vec![format!("{group}/transition_direction")];
        let wanted = Wanted { variables, window: 3, centers: vec![center], last: Mutex::new(None) };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cut.h5");
        assert!(cut(&real, "abc", &path, &wanted).is_ok());
        let file = File::open(&path).unwrap();
        assert_eq!(file.attr(SUBSET).unwrap().read_raw::<i64>().unwrap(), [12, 79, 3, 3, 27, 162]);
        let kept = file.dataset(&format!("{group}/transition_direction")).unwrap();
        let expected = state.read_slice_2d::<u8, _>(s![12..15, 79..82]).unwrap();
        assert_eq!(kept.read_2d::<u8>().unwrap(), expected);
        for name in ["_FillValue", "valid_max"] {
            let number = |data: &Dataset| data.attr(name).unwrap().read_raw::<u8>().unwrap();
            assert_eq!(number(&kept), number(&state), "{name}");
        }
        let ours = kept.attr_names().unwrap();
        let theirs = state.attr_names().unwrap();
        let ties = ["_Netcdf4Coordinates", "_Netcdf4Dimid"];
        let expected: Vec<&String> = theirs.iter().filter(|name| !ties.contains(&name.as_str())).collect();
        assert_eq!(ours.iter().collect::<Vec<_>>(), expected);
        let x = granule.dataset(&format!("{group}/x")).unwrap().read_raw::<f64>().unwrap();
        assert_eq!(file.dataset("x").unwrap().read_raw::<f64>().unwrap(), x[79..82]);
    }
}
