//! What the user wrote: the `[level2]` section of a project file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Extrapolate, STATISTICS, Screen, SplitMode, SplitYears, Statistic};

/// The `[level2]` section.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Steps in a sample.
    pub steps: usize,
    /// Days in a step.
    pub step_days: u32,
    /// Samples drawn from each cube, with distinct starts.
    pub samples_per_cube: usize,
    /// Steps that a forecaster may see; a suggestion that is stored with the samples.
    pub context_steps: usize,
    /// What keeps the splits apart: by default `both` where years of the splits are known, else `spatial`.
    pub split: Option<SplitMode>,
    /// Years of the splits; by default those that the location table notes.
    pub temporal_split: Option<SplitYears>,
    /// Cubes of different splits must be farther apart than this (m).
    pub split_buffer_m: f64,
    /// Classes of the scene classification that count as a valid view of the ground.
    pub scl_clear: Vec<u8>,
    /// Pixels by which clouds and their shadows grow before masking.
    pub dilate_px: usize,
    /// Tests of each clear observation against its neighbours in time.
    pub screen: Screen,
    /// The Level-1 band that becomes `nir`: `nir08` (B8A, 20 m) or `nir` (B08, 10 m).
    pub nir: String,
    /// Further Level-1 bands, kept under their own names.
    pub extra_bands: Vec<String>,
    /// Indices of the samples: `ndvi`, `kndvi`, `kndvi_sigma`, `evi`, `nirv`.
    pub indices: Vec<String>,
    /// Length scale of `kndvi_sigma`, in reflectance.
    pub kndvi_sigma: f64,
    /// Further indices: names with formulas of the bands.
    pub formulas: BTreeMap<String, String>,
    /// How gaps between valid observations are filled.
    pub fill: Fill,
    /// Parameters of `fill = "whittaker"`.
    pub whittaker: Whittaker,
    /// Parameters of `fill = "harmonic"`.
    pub harmonic: Harmonic,
    /// Parameters of `fill = "rbf"`.
    pub rbf: Rbf,
    /// Share of each pixel's observations that are left out of a trial filling, to learn its error; 0 leaves none out.
    pub leave_out: f64,
    /// Methods whose errors are measured beside that of `fill`.
    pub compare_fills: Vec<Fill>,
    /// What happens before the first and after the last valid observation of a pixel.
    pub extrapolate: Extrapolate,
    /// Statistics of the weather of a step.
    pub weather_statistics: Vec<Statistic>,
    /// Other statistics of single weather variables, by name.
    pub weather: BTreeMap<String, Vec<Statistic>>,
    /// Import a public dataset instead of deriving from Level 1.
    pub import: Option<Import>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            steps: 45,
            step_days: 10,
            samples_per_cube: 1,
            context_steps: 9,
            split: None,
            temporal_split: None,
            split_buffer_m: 0.0,
            scl_clear: vec![4, 5, 6, 7],
            dilate_px: 0,
            screen: Screen::default(),
            nir: "nir08".into(),
            extra_bands: Vec::new(),
            indices: vec!["ndvi".into(), "kndvi".into()],
            kndvi_sigma: 0.15,
            formulas: BTreeMap::new(),
            fill: Fill::Linear,
            whittaker: Whittaker::default(),
            harmonic: Harmonic::default(),
            rbf: Rbf::default(),
            leave_out: 0.1,
            compare_fills: Vec::new(),
            extrapolate: Extrapolate::None,
            weather_statistics: STATISTICS.into(),
            weather: BTreeMap::new(),
            import: None,
        }
    }
}

/// How gaps are filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fill {
    /// Linear in time between valid observations.
    Linear,
    /// Whittaker smoothing of the daily values.
    Whittaker,
    /// Mean, trend and annual harmonics.
    Harmonic,
    /// Ensemble of Gaussian kernels.
    Rbf,
}

/// The `[level2.whittaker]` table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Whittaker {
    /// Weight of the squared second differences of the daily values: larger is smoother.
    pub lambda: f64,
}

impl Default for Whittaker {
    fn default() -> Self {
        Whittaker { lambda: 100.0 }
    }
}

/// The `[level2.harmonic]` table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Harmonic {
    /// Number of harmonics: 1 is a wave a year, 2 adds one of half a year, …
    pub harmonics: usize,
    /// Pull of trend and waves towards zero, in observations.
    pub ridge: f64,
}

impl Default for Harmonic {
    fn default() -> Self {
        Harmonic { harmonics: 2, ridge: 0.1 }
    }
}

/// The `[level2.rbf]` table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rbf {
    /// Standard deviations of the kernels (days).
    pub sigmas: Vec<f64>,
    /// Share of a kernel's weight that is kept around its centre.
    pub cutoff: f64,
}

impl Default for Rbf {
    fn default() -> Self {
        Rbf { sigmas: vec![8.0, 16.0, 32.0], cutoff: 0.95 }
    }
}

/// The `[level2.import]` section.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Import {
    /// The dataset's layout.
    pub format: Format,
    /// Files, or folders that are searched with their sub-folders; relative ones count from the working directory.
    pub input: Vec<PathBuf>,
    /// Where the cubes go.
    pub split: SplitRule,
    /// Share of the places that goes to `train`, with `split = "shares"`.
    pub train: f64,
    /// Share that goes to `val`.
    pub val: f64,
    /// Share that goes to `test`.
    pub test: f64,
    /// Steps that a forecaster may see; by default what the dataset says (a third of the steps where it does not).
    pub context_steps: Option<usize>,
}

impl Default for Import {
    fn default() -> Self {
        Import {
            format: Format::Earthnet2021,
            input: Vec::new(),
            split: SplitRule::Shares,
            train: 0.8,
            val: 0.2,
            test: 0.0,
            context_steps: None,
        }
    }
}

/// A public dataset's layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// EarthNet2021: `.npz` cubes, whole or in context and target halves.
    Earthnet2021,
    /// EarthNet2021x and GreenEarthNet: `.nc` cubes of earthnet-minicuber.
    Greenearthnet,
    /// DeepExtremes: `.zarr` cubes of years, of which samples are cut.
    Deepextremes,
}

impl Format {
    /// Extension of its files.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Format::Earthnet2021 => "npz",
            Format::Greenearthnet => "nc",
            Format::Deepextremes => "zarr",
        }
    }

    /// What is looked for, in words.
    #[must_use]
    pub fn files(self) -> &'static str {
        match self {
            Format::Earthnet2021 => ".npz files",
            Format::Greenearthnet => ".nc files",
            Format::Deepextremes => ".zarr cubes",
        }
    }

    /// The `source` attribute of its stores.
    #[must_use]
    pub fn source(self) -> &'static str {
        match self {
            Format::Earthnet2021 => "earthnet2021",
            Format::Greenearthnet => "greenearthnet",
            Format::Deepextremes => "deepextremes",
        }
    }
}

/// Which split an imported cube goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitRule {
    /// By the shares `train`, `val`, `test`: the places in the order of a hash of their name, cut at the shares.
    Shares,
    /// All to `train`; forecasters can be scored on it like on any other split.
    Train,
    /// All to `val`.
    Val,
    /// All to `test`.
    Test,
}
