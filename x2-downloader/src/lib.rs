#![doc = include_str!("../README.md")]

mod clouds;
mod config;
mod error;
mod http;
mod ledger;
mod plan;
mod raster;
mod report;
mod run;
mod source;
mod tiff;
mod verify;

pub use config::{Bearer, Download};
pub use error::Error;
pub use ledger::{Row, State};
pub use plan::{Cell, CloudRule, Place, Plan, Sentinel2Plan, TilePlan};
pub use run::{estimate, run};
pub use source::era5_config::{Era5, Era5Plan, ZarrPlan};
pub use source::smap_config::{Smap, SmapPlan, SmapSource};
pub use verify::{status, verify};
