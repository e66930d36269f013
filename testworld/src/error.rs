//! What can go wrong.

use std::path::PathBuf;

/// Any failure of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A region name that this Earth does not have.
    #[error("region `{name}`: expected `africa` or `europe`")]
    Region {
        /// The name as given.
        name: String,
    },
    /// A part of a fault specification that cannot be understood.
    #[error("fault specification `{part}`: {reason}")]
    Faults {
        /// The part between two commas.
        part: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server could not listen.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Loopback address and port.
        address: std::net::SocketAddr,
        /// The reason given by the operating system.
        source: std::io::Error,
    },
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The reason given by the operating system.
        source: std::io::Error,
    },
    /// The HDF5 library refused.
    #[error("cannot make the HDF5 file {name}: {source}")]
    Hdf5 {
        /// The granule's file name.
        name: String,
        /// The library's message.
        source: hdf5::Error,
    },
    /// The NetCDF library refused.
    #[error("cannot make the NetCDF file {name}: {source}")]
    NetCdf {
        /// The file's name.
        name: String,
        /// The library's message.
        source: netcdf::Error,
    },
    /// A file that this crate makes is not what it expects of itself.
    #[error("{name}: {reason}")]
    Inconsistent {
        /// The file's name.
        name: String,
        /// What was expected and what was found.
        reason: String,
    },
    /// The tile grid refused.
    #[error(transparent)]
    Minicube(#[from] minicube::Error),
}

impl Error {
    /// What the user can do about it, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Error::Faults { .. } => Some(
                "write e.g. 503=0.05,truncate=0.01,tries=2,gone=/red.tif; see `testworld serve --help` for the names",
            ),
            Error::Listen { .. } => Some("choose another port, or --port 0 for any free one"),
            Error::Io { .. } => Some("check that the folder exists and can be written"),
            _ => None,
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Error::Io { path, source }
    }
}
