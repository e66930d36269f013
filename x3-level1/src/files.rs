//! The raw files of a source, with an identity that does not depend on where they lie.

use std::fs;
use std::path::{Path, PathBuf};

use minicube::plan_hash;

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
    /// [`Error::Read`] if a folder cannot be listed.
    pub fn list(folder: &Path, extensions: &[&str]) -> Result<FileSet, Error> {
        let mut paths = Vec::new();
        if folder.is_dir() {
            collect(folder, extensions, &mut paths)?;
        }
        paths.sort();
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

fn collect(folder: &Path, extensions: &[&str], into: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::read(folder))? {
        let path = entry.map_err(Error::read(folder))?.path();
        if path.is_dir() {
            collect(&path, extensions, into)?;
        } else if path
            .extension()
            .is_some_and(|found| extensions.iter().any(|e| found.eq_ignore_ascii_case(e)))
        {
            into.push(path);
        }
    }
    Ok(())
}
