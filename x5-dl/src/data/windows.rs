//! All samples of Level 2 by cube, whichever split they are of.

use std::collections::BTreeMap;
use std::path::Path;

use minicube::Split;
use ndarray::ArrayD;

use crate::data::source::{Store, store_paths};
use crate::error::Error;

/// Where Level 2 holds which cube, and when.
pub(crate) struct Windows {
    stores: Vec<Store>,
    of: BTreeMap<String, Vec<Window>>,
}

/// One sample of a cube.
pub(crate) struct Window {
    pub(crate) store: usize,
    pub(crate) row: usize,
    /// Last day of each step.
    pub(crate) dates: Vec<i32>,
}

impl Windows {
    /// Notes all samples.
    ///
    /// # Errors
    /// [`Error::Files`] if a store cannot be read.
    pub(crate) fn open(level2: &Path) -> Result<Windows, Error> {
        let mut found = Windows { stores: Vec::new(), of: BTreeMap::new() };
        for split in Split::ALL {
            for path in store_paths(level2, split)? {
                let store = Store::open(&path)?;
                let cubes = store.cube.read_strings("cube_id")?;
                let dates = store.cube.read::<i32>("date")?;
                for (row, (cube, dates)) in cubes.into_iter().zip(dates.outer_iter()).enumerate() {
                    let dates = dates.iter().copied().collect();
                    found.of.entry(cube).or_default().push(Window { store: found.stores.len(), row, dates });
                }
                found.stores.push(store);
            }
        }
        Ok(found)
    }

    /// The samples of a cube; none of one that Level 2 does not hold.
    pub(crate) fn of(&self, cube: &str) -> &[Window] {
        self.of.get(cube).map(Vec::as_slice).unwrap_or_default()
    }

    /// `[1, step, y, x]` of a variable over all steps of a sample.
    ///
    /// # Errors
    /// [`Error::Files`] if the store cannot be read.
    pub(crate) fn series(&self, window: &Window, variable: &str) -> Result<ArrayD<f32>, Error> {
        let store = &self.stores[window.store];
        let (rows, cols) = (store.size.0 as u64, store.size.1 as u64);
        let (start, shape) = ([window.row as u64, 0, 0, 0], [1, store.steps as u64, rows, cols]);
        Ok(store.cube.read_f32(variable, &start, &shape)?)
    }
}
