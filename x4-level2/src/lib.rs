#![doc = include_str!("../README.md")]

mod clear;
mod config;
mod derive;
mod error;
mod fill;
mod import;
mod index;
mod level1;
mod normalise;
mod plan;
mod report;
mod run;
mod settings;
mod splits;
mod starts;
mod steps;
mod store;
mod utm;
mod verify;
mod weather;

pub use clear::clear_pixels;
pub use config::{Config, Fill, Format, Harmonic, Import, Rbf, SplitRule, Whittaker};
pub use error::Error;
pub use fill::{Extrapolate, FillPlan, Filled, LANES, Method, NONE_FOLLOWS};
pub use import::{ImportCube, ImportUnit};
pub use index::{NDVI_EPSILON, kndvi, ndvi};
pub use normalise::{Statistics, statistics};
pub use plan::{CubeRef, Plan, Source, Unit};
pub use run::run;
pub use settings::Settings;
pub use splits::{SplitRow, split_rows};
pub use starts::draw_starts;
pub use steps::{Steps, usable_steps};
pub use verify::verify;
pub use weather::{STATISTICS, StepStatistics, step_statistics, window_mean};
