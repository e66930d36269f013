//! The raw files of a source, with an identity that does not depend on where they lie.

use std::fs;
use std::path::{Path, PathBuf};

use minicube::{files_below, plan_hash};

use crate::Error;

/// Files below a folder, ascending by path.
#[derive(Clone, Debug, Default)]
pub struct FileSet {
    /// The files.
    pub paths: Vec<PathBuf>,
    /// Hash of their names and sizes.
    pub digest: String,
}

impl FileSet {
    /// All files below `folder` with one of the extensions; none if there is no such folder. Files that are still
    /// being written (`.partial`) do not count.
    ///
    /// # Errors
    /// [`Error::Shared`] if a folder cannot be listed.
    pub fn list(folder: &Path, extensions: &[&str]) -> Result<FileSet, Error> {
        let paths = if folder.is_dir() { files_below(folder, extensions)? } else { Vec::new() };
        let names: Vec<(String, u64)> = paths
            .iter()
            .map(|path| {
                let name = path.strip_prefix(folder).unwrap_or(path).to_string_lossy().replace('\\', "/");
                (name, fs::metadata(path).map_or(0, |metadata| metadata.len()))
            })
            .collect();
        Ok(FileSet { digest: plan_hash(&names), paths })
    }

    /// A single file, or the files below a folder as [`FileSet::list`]; none if there is neither.
    ///
    /// # Errors
    /// As [`FileSet::list`].
    pub fn at(path: &Path, extensions: &[&str]) -> Result<FileSet, Error> {
        if !path.is_file() {
            return FileSet::list(path, extensions);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let size = fs::metadata(path).map_err(Error::read(path))?.len();
        Ok(FileSet { digest: plan_hash(&[(name, size)]), paths: vec![path.to_owned()] })
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }
}
