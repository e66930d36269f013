//! What can stop the downloader. A missing scene or block is no error here: it is a row in the ledger.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use minicube::run::Failure;

/// Why the downloader could not run, or could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The `[download]` section makes no sense; all problems at once.
    #[error("[download] {problems}")]
    Config {
        /// Key, expected and found, joined by semicolons.
        problems: String,
    },
    /// A file that stages share could not be read or written.
    #[error(transparent)]
    Shared(#[from] minicube::Error),
    /// The operating system refused an operation on a path.
    #[error("{path}: cannot {action}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, e.g. `write`.
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The catalogue did not answer the search, or not with items.
    #[error("search of tile {tile} failed: {reason}")]
    Search {
        /// The tile.
        tile: String,
        /// What happened, naming the address.
        reason: String,
    },
    /// The catalogue has nothing for any tile.
    #[error(
        "no scenes of {collection} from {first} to {last} with at most {max_cloud_cover} % cloud on {tiles}"
    )]
    NoScenes {
        /// The collection.
        collection: String,
        /// First day.
        first: String,
        /// Last day.
        last: String,
        /// The cloud limit, percent.
        max_cloud_cover: f64,
        /// The tiles.
        tiles: String,
    },
    /// So many requests in a row failed after all retries that going on is pointless.
    #[error("gave up after {count} failed requests in a row, the last: {reason}")]
    Down {
        /// How many.
        count: usize,
        /// The last failure, naming the address.
        reason: String,
    },
    /// The network runtime or client could not be set up.
    #[error("the network client could not be set up: {0}")]
    Setup(String),
    /// Pixels of a stored file could not be read.
    #[error("{path}: {reason}", path = path.display())]
    Pixels {
        /// The file.
        path: PathBuf,
        /// Expected and found.
        reason: String,
    },
    /// The ledger could not be read or written.
    #[error("{path}: {reason}", path = path.display())]
    Ledger {
        /// The file.
        path: PathBuf,
        /// What the library says.
        reason: String,
    },
}

impl Error {
    /// What the user can do about it, in one line.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Config { .. } => "x2-downloader/config.toml lists every key with its default".into(),
            Error::Shared(error) => return error.hint(),
            Error::Io { source, .. }
                if matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) =>
            {
                "the disk is full: free some space and run the same command again, it goes on where it was"
                    .into()
            }
            Error::Io { .. } => "check the path and its permissions".into(),
            Error::Search { .. } => "check `stac` and `collection` in [download], and the network".into(),
            Error::NoScenes { .. } => "check `years`, `collection` and `max_cloud_cover`".into(),
            Error::Down { .. } => {
                "check the network and the server, then run the same command again, it goes on where it was"
                    .into()
            }
            Error::Setup(_) => return None,
            Error::Pixels { .. } => {
                "`x2-downloader verify` tells what is stored, the ledger what was fetched".into()
            }
            Error::Ledger { .. } => "delete the file and run the downloader again, it is rebuilt".into(),
        })
    }

    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { path, action, source }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::of(&error, error.hint())
    }
}
