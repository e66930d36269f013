//! Files with features that GDAL reads.

use std::path::Path;

use gdal::{Dataset, DatasetOptions, GdalOpenFlags};

/// Opens a file of features for reading.
///
/// # Errors
/// A reason, if there is no such file or GDAL has no driver for it.
pub(crate) fn open(path: &Path) -> Result<Dataset, String> {
    if !path.exists() {
        return Err("no such file".to_owned());
    }
    let options = DatasetOptions {
        open_flags: GdalOpenFlags::GDAL_OF_VECTOR | GdalOpenFlags::GDAL_OF_READONLY,
        ..DatasetOptions::default()
    };
    Dataset::open_ex(path, options).map_err(|error| format!("GDAL cannot read it: {error}"))
}
