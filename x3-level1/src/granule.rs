//! One SMAP granule (HDF5): where the grid of a variable lies, and a window of its values.

use std::ops::Range;
use std::path::{Path, PathBuf};

use hdf5::types::{FixedAscii, VarLenAscii, VarLenUnicode};
use hdf5::{Dataset, File};
use ndarray::{Array2, s};

use crate::Error;
use crate::config::SmapVariable;
use crate::ease2::{Ease2Grid, GLOBAL, NORTH, SOUTH};

/// What SMAP's documentation calls missing, beside each variable's own `_FillValue`.
const MISSING: f64 = -9999.0;

/// An open granule.
pub(crate) struct Granule {
    file: File,
    path: PathBuf,
}

/// The grid of a variable and how it lies in the file.
pub(crate) struct Placement {
    /// The cells.
    pub grid: Ease2Grid,
    /// The dimension of the rows; that of the columns is the next.
    row_dim: usize,
}

impl Granule {
    /// Opens a granule.
    ///
    /// # Errors
    /// [`Error::Variable`] if it is no whole HDF5 file.
    pub(crate) fn open(path: &Path) -> Result<Granule, Error> {
        let file = File::open(path)
            .map_err(|error| Error::variable(path, "/", format!("unreadable HDF5: {error}")))?;
        Ok(Granule { file, path: path.to_owned() })
    }

    /// Whether it holds such a variable.
    #[must_use]
    pub(crate) fn has(&self, variable: &str) -> bool {
        self.file.dataset(variable).is_ok()
    }

    /// A text attribute of a variable.
    #[must_use]
    pub(crate) fn text_attr(&self, variable: &str, key: &str) -> Option<String> {
        text(&self.file.dataset(variable).ok()?, key)
    }

    /// Where the variable's cells lie: by `x` and `y` of its group or of one above it (subsets have them), else by its
    /// shape, which is that of a whole grid. Variables are `[y, x]`, `[layer, y, x]` or `[y, x, layer]`.
    ///
    /// # Errors
    /// [`Error::Variable`] if the variable is missing, has other dimensions, or `layer` does not fit them.
    pub(crate) fn placement(&self, var: &SmapVariable) -> Result<Placement, Error> {
        let path = var.path();
        let dataset = self.dataset(&path)?;
        let shape = dataset.shape();
        let row_dims: &[usize] = match shape.len() {
            2 => &[0],
            3 => &[1, 0],
            _ => {
                return Err(
                    self.error(&path, format!("expected two or three dimensions, found shape {shape:?}"))
                );
            }
        };
        let found = row_dims
            .iter()
            .find_map(|&dim| Some((self.grid(&dataset, &path, shape[dim], shape[dim + 1])?, dim)));
        let Some((grid, row_dim)) = found else {
            let reason = format!(
                "expected x and y, or a whole EASE2 grid such as [1624, 3856], found shape {shape:?}"
            );
            return Err(self.error(&path, reason));
        };
        let layers = if shape.len() == 3 { shape[2 - 2 * row_dim] } else { 1 };
        match var.layer {
            None if layers > 1 => {
                let reason =
                    format!("expected `layer` (0 to {}) for shape {shape:?}, found none", layers - 1);
                Err(self.error(&path, reason))
            }
            Some(layer) if layer >= layers => {
                let reason =
                    format!("expected `layer` 0 to {} for shape {shape:?}, found {layer}", layers - 1);
                Err(self.error(&path, reason))
            }
            _ => Ok(Placement { grid, row_dim }),
        }
    }

    /// Physical values `[rows, cols]` of a window; NaN where the number is the variable's `_FillValue` or −9999, lies
    /// outside its `valid_min` … `valid_max` (CF 2.5.1) or is not finite.
    ///
    /// # Errors
    /// [`Error::Variable`] if it cannot be decoded.
    pub(crate) fn read(
        &self,
        var: &SmapVariable,
        placement: &Placement,
        rows: &Range<usize>,
        cols: &Range<usize>,
    ) -> Result<Array2<f64>, Error> {
        let path = var.path();
        let dataset = self.dataset(&path)?;
        let (rows, cols, layer) = (rows.clone(), cols.clone(), var.layer.unwrap_or(0));
        let window = match (dataset.ndim(), placement.row_dim) {
            (2, _) => dataset.read_slice_2d::<f64, _>(s![rows, cols]),
            (_, 0) => dataset.read_slice_2d::<f64, _>(s![rows, cols, layer]),
            _ => dataset.read_slice_2d::<f64, _>(s![layer, rows, cols]),
        };
        let stored = window.map_err(|error| self.error(&path, error))?;
        let attr = |key: &str| number(&dataset, key);
        let fill = attr("_FillValue");
        let low = attr("valid_min").unwrap_or(f64::NEG_INFINITY);
        let high = attr("valid_max").unwrap_or(f64::INFINITY);
        let (scale, offset) = (attr("scale_factor").unwrap_or(1.0), attr("add_offset").unwrap_or(0.0));
        let missing = |value: f64| {
            !value.is_finite() || value == MISSING || Some(value) == fill || value < low || value > high
        };
        Ok(stored.mapv_into(|value| if missing(value) { f64::NAN } else { value * scale + offset }))
    }

    /// The grid that fits `rows` × `cols`, if any.
    fn grid(&self, dataset: &Dataset, path: &str, rows: usize, cols: usize) -> Option<Ease2Grid> {
        let axis = |group: &str, name: &str, len: usize| {
            let axis = self.file.dataset(&format!("{group}/{name}")).ok()?.read_raw::<f64>().ok()?;
            (axis.len() == len).then_some(axis)
        };
        // From the variable's own group up to the root, "".
        let path = path.trim_start_matches('/');
        let parents = std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|(above, _)| above));
        for group in parents.skip(1).chain([""]) {
            if let (Some(x), Some(y)) = (axis(group, "x", cols), axis(group, "y", rows)) {
                return Some(Ease2Grid { epsg: self.reference_system(dataset), x, y });
            }
        }
        Ease2Grid::global(rows, cols).or_else(|| Ease2Grid::north(rows).filter(|_| rows == cols))
    }

    /// By the variable's CF grid mapping; global where it has none.
    fn reference_system(&self, dataset: &Dataset) -> u32 {
        let mapping = text(dataset, "grid_mapping").and_then(|name| self.file.dataset(&name).ok());
        let Some(mapping) = mapping else { return GLOBAL };
        match text(&mapping, "grid_mapping_name").as_deref() {
            Some("lambert_azimuthal_equal_area") => {
                let north = number(&mapping, "latitude_of_projection_origin").is_none_or(|lat| lat > 0.0);
                if north { NORTH } else { SOUTH }
            }
            _ => GLOBAL,
        }
    }

    fn dataset(&self, variable: &str) -> Result<Dataset, Error> {
        self.file.dataset(variable).map_err(|error| self.error(variable, error))
    }

    fn error(&self, variable: &str, reason: impl std::fmt::Display) -> Error {
        Error::variable(&self.path, variable, reason)
    }
}

fn number(dataset: &Dataset, key: &str) -> Option<f64> {
    dataset.attr(key).ok()?.read_raw::<f64>().ok()?.first().copied()
}

fn text(dataset: &Dataset, key: &str) -> Option<String> {
    let attr = dataset.attr(key).ok()?;
    let text = attr
        .read_scalar::<VarLenUnicode>()
        .map(|text| text.to_string())
        .or_else(|_| attr.read_scalar::<VarLenAscii>().map(|text| text.to_string()))
        .or_else(|_| attr.read_scalar::<FixedAscii<256>>().map(|text| text.to_string()))
        .ok()?;
    Some(text.trim_end_matches('\0').to_owned())
}
