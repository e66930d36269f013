//! What can go wrong with the files that stages share.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::objects::is_url;

/// A failure of reading, writing or checking a shared file. Each variant names the place, what was expected and
/// what was found; [`Error::hint`] says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on a path.
    #[error("{path}: cannot {action}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, e.g. `read`.
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A Zarr store could not be read or written.
    #[error("{path}: variable {variable}: {reason}", path = path.display())]
    Zarr {
        /// The store.
        path: PathBuf,
        /// The variable, or `/` for the store itself.
        variable: String,
        /// What the Zarr library says.
        reason: String,
    },
    /// A variable or dimension is not in the store.
    #[error("{path}: no variable or dimension `{name}`, found {found}", path = path.display())]
    Missing {
        /// The store.
        path: PathBuf,
        /// What was asked for.
        name: String,
        /// What there is.
        found: String,
    },
    /// An array or region does not have the shape that the store's layout demands.
    #[error("{path}: variable {variable}: expected {expected}, found {found}", path = path.display())]
    Shape {
        /// The store.
        path: PathBuf,
        /// The variable.
        variable: String,
        /// The shape or region that would fit.
        expected: String,
        /// The shape or region that was given.
        found: String,
    },
    /// The file is of another kind or another schema version.
    #[error("{path}: expected {expected}, found {found}", path = path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Schema and version this program reads.
        expected: String,
        /// Schema and version in the file.
        found: String,
    },
    /// The store was never completed.
    #[error("{path}: the store is not sealed", path = path.display())]
    Unsealed {
        /// The store.
        path: PathBuf,
    },
    /// A store breaks the rules of its layout.
    #[error("{path}: {count} violations of the layout, the first: {first}", path = path.display())]
    Violations {
        /// The store.
        path: PathBuf,
        /// How many.
        count: usize,
        /// The first of them.
        first: String,
    },
    /// A table could not be read or written.
    #[error("{path}: {reason}", path = path.display())]
    Table {
        /// The table.
        path: PathBuf,
        /// What the Parquet library says, or which column is wrong.
        reason: String,
    },
    /// A file of NumPy arrays cannot be read.
    #[error("{path}: cannot be read as npz: {reason}", path = path.display())]
    Npz {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A Sentinel-2 tile id that the grid rule does not know.
    #[error("`{id}` is not a Sentinel-2 tile id: {reason}")]
    TileId {
        /// The id.
        id: String,
        /// Which part is wrong.
        reason: &'static str,
    },
}

/// What to do about a full disk.
const DISK_FULL_HINT: &str =
    "the disk is full: free some space and run the same command again, it goes on where it was";

/// Whether a disk, or the user's share of it, is full.
fn is_disk_full(source: &std::io::Error) -> bool {
    matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// What to do where a bucket refuses.
fn bucket_hint(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "check the bucket's name, or run the stage that writes there first",
        ErrorKind::PermissionDenied => {
            "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_REGION; for a public bucket set \
             AWS_SKIP_SIGNATURE=true"
        }
        ErrorKind::InvalidInput => {
            "set AWS_ENDPOINT_URL to an https URL, or AWS_ALLOW_HTTP=true if you mean it"
        }
        ErrorKind::Unsupported => "download the data, or use the binary of the stage",
        _ => "check AWS_ENDPOINT_URL, AWS_REGION and the connection; the same command goes on where it was",
    }
}

impl Error {
    /// Whether the disk is full, so that every further write would fail as well and a run has to end.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Error::Io { source, .. } if is_disk_full(source))
    }

    /// What the user can do about it, in one line.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Io { source, .. } if is_disk_full(source) => DISK_FULL_HINT.into(),
            Error::Io { path, source, .. } if is_url(path) => bucket_hint(source.kind()).into(),
            Error::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
                "check the path, or run the stage that writes it first".into()
            }
            Error::Io { .. } => "check the path and its permissions".into(),
            Error::Schema { .. } => {
                "the file was written by another version: run the stage that makes it again".into()
            }
            Error::Unsealed { .. } => {
                "run the stage that writes it again, it goes on where it stopped".into()
            }
            Error::Zarr { .. } | Error::Violations { .. } | Error::Table { .. } => {
                "the file may be damaged: delete it and run the stage that writes it again".into()
            }
            Error::Npz { .. } => {
                "the file may be truncated: compare its size with the source and fetch it again".into()
            }
            Error::Missing { .. } => "the variable names are listed in docs/formats.md".into(),
            Error::TileId { .. } => {
                "a tile id is zone, latitude band, column and row letter, for example 35KMQ".into()
            }
            Error::Shape { .. } => return None,
        })
    }

    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { path, action, source }
    }

    pub(crate) fn table(path: &Path, reason: impl std::fmt::Display) -> Error {
        Error::Table { path: path.to_owned(), reason: reason.to_string() }
    }
}
