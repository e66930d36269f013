#![doc = include_str!("../README.md")]

mod baseline;
mod build;
mod cf_time;
mod config;
mod daily;
mod ease2;
mod era5;
mod error;
mod files;
mod layout;
mod ledger;
mod netcdf_file;
mod openeo;
mod optical;
mod pictures;
mod plan;
mod raster;
mod report;
mod resample;
mod run;
mod scene;
mod smap;
mod static_blocks;
mod statics;
mod survey;
mod verify;
mod warp;

pub use baseline::{Radiometry, STORED_OFFSET, radiometry};
pub use config::{
    Config, Era5Config, Era5Variable, GeomorphonConfig, ImportConfig, ImportFormat, SmapConfig, SmapVariable,
    Static, default_resolution, default_size,
};
pub use daily::{Day, Reduce};
pub use ease2::{Ease2Grid, project};
pub use error::Error;
pub use openeo::import;
pub use plan::{CubePlan, Plan, TileCubes, TilePlan};
pub use resample::{AxisWeights, area_average, area_mode};
pub use run::{STAGE, describe, run};
pub use scene::Scene;
pub use verify::verify;
