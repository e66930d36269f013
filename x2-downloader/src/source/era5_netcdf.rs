//! A month of weather as NetCDF, in the form of the Climate Data Store's files.

use std::path::Path;

use ndarray::{Array2, ArrayView3};
use netcdf::FileMut;

use super::cf_hours::HOURS;
use super::hdf::{alone, not_written};
use crate::Error;

const DIMS: [&str; 3] = ["time", "latitude", "longitude"];
/// 1 where a point was fetched.
const KEPT: &str = "minicube_kept";
/// Points along the edges of a chunk: whoever reads takes few points and many hours.
const CHUNK_POINTS: usize = 8;

/// A variable of the file.
pub(crate) struct Series {
    pub(crate) name: String,
    /// `units`, `long_name` and the like.
    pub(crate) attributes: Vec<(String, String)>,
}

/// The axes of the file.
#[derive(Debug, PartialEq)]
pub(crate) struct Axes {
    /// Hours since 1900-01-01.
    pub(crate) hours: Vec<i32>,
    pub(crate) latitudes: Vec<f64>,
    pub(crate) longitudes: Vec<f64>,
    /// Points that are fetched; all others of the window are missing.
    pub(crate) wanted: Array2<bool>,
}

/// Creates the file with its axes and empty variables. `block` is how many hours are written at once.
pub(crate) fn create(
    path: &Path,
    axes: &Axes,
    series: &[Series],
    source: &str,
    block: usize,
) -> Result<FileMut, Error> {
    alone(|| {
        let make = || -> Result<FileMut, netcdf::Error> {
            let mut file = netcdf::create(path)?;
            file.add_attribute("Conventions", "CF-1.7")?;
            file.add_attribute("source", source)?;
            let lens = [axes.hours.len(), axes.latitudes.len(), axes.longitudes.len()];
            for (name, len) in DIMS.iter().zip(lens) {
                file.add_dimension(name, len)?;
            }
            for (name, units, values) in [
                ("latitude", "degrees_north", &axes.latitudes),
                ("longitude", "degrees_east", &axes.longitudes),
            ] {
                let mut axis = file.add_variable::<f64>(name, &[name])?;
                axis.put_attribute("units", units)?;
                axis.put_attribute("standard_name", name)?;
                axis.put_values(values, ..)?;
            }
            let mut time = file.add_variable::<i32>("time", &["time"])?;
            time.put_attribute("units", HOURS)?;
            time.put_attribute("calendar", "gregorian")?;
            time.put_attribute("standard_name", "time")?;
            time.put_values(&axes.hours, ..)?;
            let mut kept = file.add_variable::<i8>(KEPT, &DIMS[1..])?;
            kept.put_attribute("long_name", "1 where a point was fetched, 0 where it was left out")?;
            let flags: Vec<i8> = axes.wanted.iter().map(|wanted| i8::from(*wanted)).collect();
            kept.put_values(&flags, ..)?;
            for one in series {
                let mut variable = file.add_variable::<f32>(&one.name, &DIMS)?;
                let points = |len: usize| len.min(CHUNK_POINTS);
                variable.set_chunking(&[block.min(lens[0]), points(lens[1]), points(lens[2])])?;
                variable.set_compression(4, true)?;
                variable.set_fill_value(f32::NAN)?;
                for (key, value) in &one.attributes {
                    variable.put_attribute(key, value.as_str())?;
                }
            }
            Ok(file)
        };
        make().map_err(|error| not_written(path, error))
    })
}

/// Writes values `[time, latitude, longitude]` of a variable from an hour of the file on.
pub(crate) fn put(
    file: &mut FileMut,
    path: &Path,
    name: &str,
    first: usize,
    values: ArrayView3<'_, f32>,
) -> Result<(), Error> {
    alone(|| {
        let put = |file: &mut FileMut| -> Result<(), netcdf::Error> {
            let mut variable =
                file.variable_mut(name).ok_or_else(|| netcdf::Error::NotFound(name.to_owned()))?;
            let end = first + values.len_of(ndarray::Axis(0));
            variable.put(values, (first..end, .., ..))
        };
        put(file).map_err(|error| not_written(path, error))
    })
}

/// Ends the file; only then is it whole.
pub(crate) fn close(file: FileMut, path: &Path) -> Result<(), Error> {
    alone(|| file.close().map_err(|error| not_written(path, error)))
}

/// Whether a file of an earlier run has all these hours, variables and points, within its own window.
pub(crate) fn holds(path: &Path, axes: &Axes, names: &[String]) -> bool {
    alone(|| {
        let read = || -> Option<bool> {
            let file = netcdf::open(path).ok()?;
            let axis = |name: &str| file.variable(name)?.get_values::<f64, _>(..).ok();
            let (lat, lon) = (axis("latitude")?, axis("longitude")?);
            let hours = file.variable("time")?.get_values::<i32, _>(..).ok()?;
            let kept = file.variable(KEPT)?.get_values::<i8, _>(..).ok()?;
            let place = |axis: &[f64], value: f64| {
                let same = |other: &f64| {
                    (other - value).rem_euclid(360.0).min((value - other).rem_euclid(360.0)) < 1e-6
                };
                axis.iter().position(same)
            };
            let is_kept = |row: usize, col: usize| {
                let at = place(&lat, axes.latitudes[row]).zip(place(&lon, axes.longitudes[col]));
                at.is_some_and(|(row, col)| kept.get(row * lon.len() + col) == Some(&1))
            };
            let wanted = axes.wanted.indexed_iter().filter(|(_, wanted)| **wanted);
            Some(
                hours == axes.hours
                    && names.iter().all(|name| file.variable(name).is_some())
                    && wanted.into_iter().all(|((row, col), _)| is_kept(row, col)),
            )
        };
        read().unwrap_or(false)
    })
}
