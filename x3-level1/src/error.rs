//! What can go wrong between raw files and a Level-1 store.

use std::path::{Path, PathBuf};

use minicube::run::Failure;

/// A failure of reading raw files or of building a tile's store. Messages name the file, the variable, what was
/// expected and what was found; [`Error::hint`] says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder cannot be read.
    #[error("{}: cannot read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A stage before this one did not leave what this one needs.
    #[error("{}: {what}", path.display())]
    NoInput {
        /// Where it was looked for.
        path: PathBuf,
        /// What is missing.
        what: String,
        /// Who makes it.
        hint: &'static str,
    },
    /// A raster cannot be opened or decoded.
    #[error("{}: unreadable raster: {reason}", path.display())]
    Raster {
        /// The file.
        path: PathBuf,
        /// What GDAL says.
        reason: String,
    },
    /// A raster does not lie where it should.
    #[error("{}: expected {expected}, found {found}", path.display())]
    Georeference {
        /// The file.
        path: PathBuf,
        /// The grid it should be on.
        expected: String,
        /// The grid it is on.
        found: String,
    },
    /// A STAC item lacks something, or says something unusable.
    #[error("{}: {reason}", path.display())]
    Item {
        /// The `item.json`.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A variable of an HDF5 or NetCDF file is missing or not as it should be.
    #[error("{}: variable {variable}: {reason}", path.display())]
    Variable {
        /// The file.
        path: PathBuf,
        /// The variable.
        variable: String,
        /// Expected and found, or what the library says.
        reason: String,
    },
    /// A raster of the user's own is not what its layer says.
    #[error("{}: layer {layer}: expected {expected}, found {found}", path.display())]
    Layer {
        /// The file.
        path: PathBuf,
        /// Name of the layer.
        layer: String,
        /// What the layer needs.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// The ledger of the download cannot be understood.
    #[error("{}: {reason}", path.display())]
    Ledger {
        /// The ledger.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A coordinate transformation failed.
    #[error("cannot transform from {from} to {to}: {reason}")]
    Projection {
        /// Source reference system.
        from: String,
        /// Target reference system.
        to: String,
        /// What PROJ says.
        reason: String,
    },
    /// A configuration value that makes no sense.
    #[error("[level1] {key}: expected {expected}, found {found}")]
    Config {
        /// The key.
        key: &'static str,
        /// What would do.
        expected: String,
        /// What the file says.
        found: String,
    },
    /// A shared file could not be read or written.
    #[error(transparent)]
    Minicube(#[from] minicube::Error),
}

impl Error {
    /// What the user can do about it, in one line.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Read { .. } => "check the path and its permissions, or run the stage that writes it".into(),
            Error::NoInput { hint, .. } => (*hint).into(),
            Error::Raster { .. } => {
                "the file may be cut short: delete it and run `x2-downloader run` again, then this command".into()
            }
            Error::Georeference { .. } => {
                "the raster belongs to another tile or grid: delete its scene folder and fetch it again".into()
            }
            Error::Item { .. } => "delete the scene's folder and run `x2-downloader run` again".into(),
            Error::Variable { .. } => {
                "compare the variable names in the file with [level1]; a damaged file can be deleted and fetched again"
                    .into()
            }
            Error::Layer { .. } => {
                "convert the raster, for instance with gdal_translate, or change the layer in [[level1.layers]]".into()
            }
            Error::Ledger { .. } => "run `x2-downloader verify`, or delete the ledger to treat gaps as unknown".into(),
            Error::Projection { .. } => "check that the place lies on Earth and that PROJ finds its database".into(),
            Error::Config { .. } => "see the [level1] section in x3-level1/config.toml".into(),
            Error::Minicube(error) => return error.hint(),
        })
    }

    pub(crate) fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Read { path, source }
    }

    pub(crate) fn raster(path: &Path) -> impl FnOnce(gdal::errors::GdalError) -> Error {
        let path = path.to_owned();
        move |error| Error::Raster { path, reason: gdal_reason(&error) }
    }

    pub(crate) fn variable(path: &Path, variable: &str, reason: impl std::fmt::Display) -> Error {
        Error::Variable { path: path.to_owned(), variable: variable.to_owned(), reason: reason.to_string() }
    }
}

/// GDAL's own sentence, without the wrapping of the binding.
fn gdal_reason(error: &gdal::errors::GdalError) -> String {
    use gdal::errors::GdalError;
    match error {
        GdalError::CplError { msg, .. } | GdalError::NullPointer { msg, .. } if !msg.is_empty() => {
            msg.clone()
        }
        other => other.to_string(),
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let hint = error.hint();
        Failure::of(&error, hint)
    }
}
