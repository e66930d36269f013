//! NetCDF files of others: axes, times, packed values.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use minicube::decode_times;
use ndarray::{Array3, Ix3};
use netcdf::{AttributeValue, Extent, Variable};

use crate::{Error, classic_netcdf};

const TIME: [&str; 5] = ["time", "valid_time", "timestamp", "day", "t"];
const LATITUDE: [&str; 3] = ["latitude", "lat", "y"];
const LONGITUDE: [&str; 3] = ["longitude", "lon", "x"];

/// An open NetCDF file.
pub(crate) struct NetcdfFile {
    file: netcdf::File,
    path: PathBuf,
}

impl NetcdfFile {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::Variable`] if it is no NetCDF file, or one that is cut short.
    pub(crate) fn open(path: &Path) -> Result<NetcdfFile, Error> {
        // The library asks for attributes that need not be there, and HDF5 would print each miss, per thread.
        hdf5::silence_errors(true);
        let file = netcdf::open(path)
            .map_err(|error| Error::variable(path, "/", format!("unreadable NetCDF: {error}")))?;
        let expected = classic_netcdf::expected_length(path).map_err(Error::read(path))?;
        let found = fs::metadata(path).map_err(Error::read(path))?.len();
        if let Some(expected) = expected.filter(|&expected| expected > found) {
            let reason = format!("unreadable NetCDF: expected {expected} bytes, found {found}");
            return Err(Error::variable(path, "/", reason));
        }
        Ok(NetcdfFile { file, path: path.to_owned() })
    }

    /// Whether there is such a variable.
    #[must_use]
    pub(crate) fn has(&self, name: &str) -> bool {
        self.file.variable(name).is_some()
    }

    /// A text attribute of a variable.
    #[must_use]
    pub(crate) fn text_attr(&self, variable: &str, key: &str) -> Option<String> {
        text(self.file.variable(variable)?.attribute_value(key)?.ok()?)
    }

    /// A global text attribute.
    #[must_use]
    pub(crate) fn global_attr(&self, key: &str) -> Option<String> {
        text(self.file.attribute(key)?.value().ok()?)
    }

    /// Seconds since 1970 of the time axis of a variable.
    ///
    /// # Errors
    /// [`Error::Variable`] if the variable has no time axis, or its units are unknown.
    pub(crate) fn times(&self, variable: &str) -> Result<Vec<i64>, Error> {
        let name = self.axis_name(variable, &TIME)?;
        let values = self.axis(&name)?;
        let units = self.text_attr(&name, "units").unwrap_or_default();
        let calendar = self.text_attr(&name, "calendar");
        decode_times(&units, calendar.as_deref(), &values).map_err(|reason| self.error(&name, reason))
    }

    /// Latitudes (or northings) and longitudes (or eastings) of a variable's grid.
    ///
    /// # Errors
    /// [`Error::Variable`] if it has no such axes.
    pub(crate) fn places(&self, variable: &str) -> Result<(Vec<f64>, Vec<f64>), Error> {
        let (lat, lon) = (self.axis_name(variable, &LATITUDE)?, self.axis_name(variable, &LONGITUDE)?);
        Ok((self.axis(&lat)?, self.axis(&lon)?))
    }

    /// Physical values `[time, y, x]` of a region: packing undone, missing as NaN. Further dimensions must have
    /// length 1.
    ///
    /// # Errors
    /// [`Error::Variable`] if the variable is missing, has other dimensions or cannot be decoded.
    pub(crate) fn read(
        &self,
        variable: &str,
        times: Range<usize>,
        rows: Range<usize>,
        cols: Range<usize>,
    ) -> Result<Array3<f64>, Error> {
        let var = self.variable(variable)?;
        let mut extents = Vec::new();
        // Where each of time, y, x stands among the dimensions that are kept.
        let mut kept = Vec::new();
        for dimension in var.dimensions() {
            let name = dimension.name();
            let axis = [&TIME[..], &LATITUDE[..], &LONGITUDE[..]]
                .iter()
                .position(|names| names.contains(&name.as_str()));
            match axis {
                Some(axis) => {
                    kept.push(axis);
                    extents.push(Extent::from([&times, &rows, &cols][axis].clone()));
                }
                None if dimension.len() == 1 => extents.push(Extent::from(0)),
                None => {
                    let reason = format!(
                        "expected time, latitude and longitude, found also {name} of length {}",
                        dimension.len()
                    );
                    return Err(self.error(variable, reason));
                }
            }
        }
        let order: Vec<usize> =
            (0..3).filter_map(|axis| kept.iter().position(|&found| found == axis)).collect();
        let [t, y, x] = order[..] else {
            let names: Vec<String> = var.dimensions().iter().map(netcdf::Dimension::name).collect();
            return Err(self.error(
                variable,
                format!("expected time, latitude and longitude, found {}", names.join(", ")),
            ));
        };
        let values = var.get::<f64, _>(extents).map_err(|error| self.error(variable, error))?;
        let values = values.into_dimensionality::<Ix3>().map_err(|error| self.error(variable, error))?;
        let number = |key: &str| f64::try_from(var.attribute_value(key)?.ok()?).ok();
        let missing = [number("_FillValue"), number("missing_value")];
        let (scale, offset) = (number("scale_factor").unwrap_or(1.0), number("add_offset").unwrap_or(0.0));
        let decode =
            |value: f64| if missing.contains(&Some(value)) { f64::NAN } else { value * scale + offset };
        Ok(values.permuted_axes([t, y, x]).mapv(decode))
    }

    /// Values of a region as stored, `[time, y, x]` in this order in the file.
    ///
    /// # Errors
    /// As [`NetcdfFile::read`].
    pub(crate) fn read_stored<T: netcdf::NcTypeDescriptor + Copy>(
        &self,
        variable: &str,
    ) -> Result<Array3<T>, Error> {
        let var = self.variable(variable)?;
        let values = var.get::<T, _>(..).map_err(|error| self.error(variable, error))?;
        values.into_dimensionality::<Ix3>().map_err(|error| self.error(variable, error))
    }

    fn axis_name(&self, variable: &str, names: &[&str]) -> Result<String, Error> {
        let var = self.variable(variable)?;
        let dimensions: Vec<String> = var.dimensions().iter().map(netcdf::Dimension::name).collect();
        dimensions.iter().find(|name| names.contains(&name.as_str())).cloned().ok_or_else(|| {
            let reason =
                format!("expected a dimension {}, found {}", names.join(" or "), dimensions.join(", "));
            self.error(variable, reason)
        })
    }

    fn axis(&self, name: &str) -> Result<Vec<f64>, Error> {
        self.variable(name)?.get_values::<f64, _>(..).map_err(|error| self.error(name, error))
    }

    fn variable(&self, name: &str) -> Result<Variable<'_>, Error> {
        self.file.variable(name).ok_or_else(|| {
            let found: Vec<String> = self.file.variables().map(|var| var.name()).collect();
            self.error(name, format!("expected it in the file, found {}", found.join(", ")))
        })
    }

    fn error(&self, variable: &str, reason: impl std::fmt::Display) -> Error {
        Error::variable(&self.path, variable, reason)
    }
}

fn text(value: AttributeValue) -> Option<String> {
    match value {
        AttributeValue::Str(text) => Some(text),
        AttributeValue::Strs(texts) => texts.into_iter().next(),
        _ => None,
    }
}
