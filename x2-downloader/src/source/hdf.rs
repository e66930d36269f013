//! What HDF5 and NetCDF files have in common here: one thread at a time, and the true reason of a failed write.

use std::fmt::Display;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::Error;

/// Bytes of a write that asks the system what is wrong with a disk.
const PROBE_BYTES: usize = 4 << 20;

static TURN: Mutex<()> = Mutex::new(());

/// Runs work on HDF5 or NetCDF files with no other such work beside it: the two libraries lock each for itself, and
/// NetCDF calls an HDF5 that need not be built for threads. Messages that the library would print are kept back.
pub(crate) fn alone<T>(work: impl FnOnce() -> T) -> T {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    hdf5::silence_errors(true);
    work()
}

/// What the system says about writing to a path, after a library failed to: the libraries do not tell a full disk from
/// other trouble. Removes the file, which is not whole.
pub(crate) fn disk_trouble(path: &Path) -> Option<Error> {
    let trouble = fs::write(path, vec![1; PROBE_BYTES]).map_err(Error::io(path, "write")).err();
    // Best effort: what matters is the trouble.
    let _ = fs::remove_file(path);
    trouble
}

/// Why a file could not be written: by the system or, if that sees no trouble, by the library.
pub(crate) fn not_written(path: &Path, said: impl Display) -> Error {
    let by_library = || Error::io(path, "write")(io::Error::other(said.to_string()));
    disk_trouble(path).unwrap_or_else(by_library)
}
