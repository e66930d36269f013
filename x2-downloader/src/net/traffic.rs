//! Bytes received, counted over all runs, killed ones too: the number that the plan is held against.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;

/// A count that is on the disk with every piece that arrives. A write of eight bytes into the system's memory costs
/// less than a microsecond and outlives a kill; it is not synced, for a lost count harms nobody.
#[derive(Debug, Default)]
pub(super) struct Received {
    total: AtomicU64,
    file: Option<File>,
}

impl Received {
    pub(super) fn open(path: Option<&Path>) -> Result<Received, Error> {
        let Some(path) = path else { return Ok(Received::default()) };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io(parent, "create"))?;
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(Error::io(path, "write"))?;
        let mut bytes = [0; 8];
        let before = file.read_exact_at(&mut bytes, 0).map_or(0, |()| u64::from_le_bytes(bytes));
        Ok(Received { total: AtomicU64::new(before), file: Some(file) })
    }

    pub(super) fn add(&self, bytes: u64) {
        let total = self.total.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if let Some(file) = &self.file {
            // A full disk is told by the data's own writes.
            let _ = file.write_all_at(&total.to_le_bytes(), 0);
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_goes_on_in_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/received");
        Received::open(Some(&path)).unwrap().add(5);
        let second = Received::open(Some(&path)).unwrap();
        second.add(7);
        assert_eq!(second.total(), 12);
        assert_eq!(Received::open(Some(&path)).unwrap().total(), 12);
    }
}
