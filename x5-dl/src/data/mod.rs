//! What a model eats: batches of Level-2 samples.

pub(crate) mod context;
pub(crate) mod dataset;
pub(crate) mod scaling;
pub(crate) mod source;
pub(crate) mod turn;
pub(crate) mod windows;

use ndarray::{Array2, Array4, Array5};
use serde::{Deserialize, Serialize};

/// Which variables of Level 2 a model reads, and over how many steps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// Variables that are observed in the context and forecast: `["kndvi"]` or `["blue", "green", "red", "nir"]`.
    pub dynamic: Vec<String>,
    /// Weather variables without their group: `tp_mean` is `weather/tp_mean`.
    pub weather: Vec<String>,
    /// Static layers without their group: `dem` is `static/dem`.
    pub statics: Vec<String>,
    /// Steps that are observed.
    pub context_steps: usize,
    /// Steps that are forecast, right after them.
    pub target_steps: usize,
}

impl DataSpec {
    /// Context and target steps together.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.context_steps + self.target_steps
    }
}

/// A few samples, un-normalised, over context and target steps.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[batch, time, channel, y, x]` in the units of Level 2; NaN = missing.
    pub dynamic: Array5<f32>,
    /// `[batch, time, y, x]`: 1 where there is a valid observation within the step, else 0.
    pub valid: Array4<f32>,
    /// `[batch, time, variable, wy, wx]` in the units of Level 2; the window (wy, wx) covers the batch's area
    /// evenly, and is 1 × 1 where the weather is one value a cube.
    pub weather: Array5<f32>,
    /// `[batch, layer, y, x]` in the units of Level 2; NaN = missing.
    pub statics: Array4<f32>,
    /// `[batch, time]`: last day of each step, days since 1970-01-01.
    pub dates: Array2<i32>,
    /// One id a sample.
    pub sample_ids: Vec<String>,
}

impl Batch {
    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sample_ids.len()
    }

    /// Whether there is no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sample_ids.is_empty()
    }
}

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// First row, from the north.
    pub row: usize,
    /// First column, from the west.
    pub col: usize,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
}

/// One sample of a batch: which, from which of its steps on, and which part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Index in the dataset.
    pub sample: usize,
    /// The step of the sample that is the first of the batch.
    pub first_step: usize,
    /// The part, all of it where `None`. All picks of a batch have one size.
    pub crop: Option<Crop>,
}

/// The row or column of a window of `window` cells that covers position `at` of `size` pixels.
pub(crate) fn window_cell(at: usize, size: usize, window: usize) -> usize {
    at * window / size.max(1)
}
