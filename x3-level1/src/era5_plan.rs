//! Which weather is read from which NetCDF files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::Error;
use crate::config::{Era5Config, Era5Variable, Interpolation};
use crate::daily::{Reduce, daily_units};
use crate::files::FileSet;
use crate::layout::SeriesInfo;
use crate::netcdf_file::NetcdfFile;

/// What will be read from which files.
#[derive(Clone, Debug, Serialize)]
pub struct Era5Plan {
    /// Variables.
    pub variables: Vec<Era5Variable>,
    /// How they are described in the store.
    pub series: Vec<SeriesInfo>,
    /// Edge of the window of grid points.
    pub window: usize,
    /// What a point of the window takes from the grid.
    pub interpolation: Interpolation,
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
    let wanted = config.variables.clone().unwrap_or_else(defaults);
    let mut held: Vec<Vec<PathBuf>> = vec![Vec::new(); wanted.len()];
    let mut described: Vec<Option<SeriesInfo>> = vec![None; wanted.len()];
    // One file at a time: an archive may have more than a process may open.
    for path in &set.paths {
        let file = NetcdfFile::open(path)?;
        for ((var, held), described) in wanted.iter().zip(&mut held).zip(&mut described) {
            if file.has(var.source()) {
                let info = describe(var, &file, path)?;
                same_units(described.get_or_insert_with(|| info.clone()), &info, path, var)?;
                held.push(path.clone());
            }
        }
    }
    let (mut variables, mut series, mut files) = (Vec::new(), Vec::new(), Vec::new());
    for ((var, held), described) in wanted.into_iter().zip(held).zip(described) {
        match described {
            Some(info) => {
                series.push(info);
                files.push(held);
                variables.push(var);
            }
            None if config.variables.is_none() => {}
            None => {
                let reason = format!("expected it in one of {} files, found it in none", set.paths.len());
                return Err(Error::variable(folder, var.source(), reason));
            }
        }
    }
    if variables.is_empty() {
        tracing::warn!(
            files = set.paths.len(),
            "the files in raw/era5 have none of ERA5's usual variables: name those to read in [level1.era5] variables"
        );
        return Ok(None);
    }
    let (window, interpolation, digest) = (config.window, config.interpolation, set.digest);
    Ok(Some(Era5Plan { variables, series, window, interpolation, digest, files }))
}

/// What a file says of a variable.
fn describe(var: &Era5Variable, file: &NetcdfFile, path: &Path) -> Result<SeriesInfo, Error> {
    let attrs = ["units", "long_name", "standard_name"].into_iter();
    let mut attrs: BTreeMap<String, String> =
        attrs.filter_map(|key| Some((key.to_owned(), file.text_attr(var.source(), key)?))).collect();
    if var.reduce == Reduce::Integral {
        let daily = daily_units(attrs.get("units").map_or("", String::as_str));
        let daily = daily.map_err(|reason| Error::variable(path, var.source(), reason))?;
        attrs.insert("units".to_owned(), daily);
    }
    Ok(SeriesInfo { name: var.name.clone(), reduce: var.reduce, attrs })
}

/// Refuses a file whose numbers mean something else than those before.
fn same_units(known: &SeriesInfo, found: &SeriesInfo, path: &Path, var: &Era5Variable) -> Result<(), Error> {
    let units = |info: &SeriesInfo| info.attrs.get("units").cloned().unwrap_or_else(|| "none".to_owned());
    let (known, found) = (units(known), units(found));
    if known == found {
        return Ok(());
    }
    let reason = format!("expected units {known} as in the files before, found {found}");
    Err(Error::variable(path, var.source(), reason))
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
