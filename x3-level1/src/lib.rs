#![doc = include_str!("../README.md")]

mod aspect;
mod asset;
mod baseline;
mod blocks;
mod build;
mod classic_netcdf;
mod config;
mod daily;
mod dark_pixels;
mod ease2;
mod elevation;
mod era5;
mod era5_plan;
mod error;
mod files;
mod fill_voids;
mod granule;
mod grid_window;
mod layers;
mod layout;
mod ledger;
mod mosaic;
mod netcdf_file;
mod offset;
mod older;
mod openeo;
mod optical;
mod pictures;
mod plan;
mod raster;
mod report;
mod resample;
mod run;
mod same_day;
mod scene;
mod smap;
mod sources;
mod static_blocks;
mod statics;
mod survey;
mod verify;
mod warp;

pub use asset::{ATMOSPHERE_SCALE, Quantity, Stored, asset_key};
pub use baseline::{Radiometry, STORED_OFFSET, radiometry};
pub use config::{
    Classes, Config, Era5Config, Era5Variable, GeomorphonConfig, ImportConfig, ImportFormat, Interpolation,
    LayerConfig, LayerKind, OffsetRule, SameDay, SmapConfig, SmapVariable, Static, default_resolution,
    default_size,
};
pub use daily::{Day, Reduce};
pub use dark_pixels::OffsetCheck;
pub use ease2::Ease2Grid;
pub use error::Error;
pub use offset::{DarkLevels, Says, judge};
pub use openeo::import;
pub use plan::{CubePlan, Plan, TileCubes, TilePlan};
pub use resample::{AxisWeights, area_average, area_mode, nearest};
pub use run::{STAGE, describe, run};
pub use same_day::clearest;
pub use scene::Scene;
pub use verify::verify;
