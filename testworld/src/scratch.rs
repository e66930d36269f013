//! Files that a C library insists on writing to disk, made in a private folder and read back.

use std::path::Path;

use crate::Error;

/// Lets `write` make a file of the given name in a fresh temporary folder and returns its bytes.
pub(crate) fn bytes_of(name: &str, write: impl FnOnce(&Path) -> Result<(), Error>) -> Result<Vec<u8>, Error> {
    let folder = tempfile::tempdir().map_err(Error::io(std::env::temp_dir()))?;
    let path = folder.path().join(name);
    write(&path)?;
    std::fs::read(&path).map_err(Error::io(&path))
}
