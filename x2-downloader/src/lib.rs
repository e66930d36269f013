#![doc = include_str!("../README.md")]

mod allow;
mod blocks;
mod clouds;
mod config;
mod error;
mod estimate;
mod estimate_sources;
mod headers;
mod ledger;
mod net;
mod plan;
mod raster;
mod report;
mod run;
mod source;
mod sparse_work;
mod stated;
mod verify;
mod whole_file;
mod window;

pub use config::{Bearer, Download, Mode, SasConfig};
pub use error::Error;
pub use estimate::{EstimateOptions, estimate};
pub use ledger::{Row, State};
pub use plan::{Cell, CloudRule, Place, Plan, Sentinel2Plan, TilePlan};
pub use run::run;
pub use source::era5_config::{Era5, Era5Plan, ZarrPlan};
pub use source::smap_config::{Smap, SmapPlan, SmapSource};
pub use verify::{status, verify};
pub use window::read_window;
