#![doc = include_str!("../README.md")]

mod answer;
mod asset;
mod cmr;
mod cog;
mod compare;
mod continent;
mod counters;
mod diurnal;
mod ease2;
mod ending;
mod era5;
mod era5_zarr;
mod error;
mod faults;
mod filled;
mod hash;
mod huffman;
mod item;
mod land;
mod library;
mod misbehave;
mod noise;
mod polygon;
mod region;
mod render;
mod response;
mod rope;
mod sas;
mod scene;
mod scratch;
mod search;
mod serve;
mod sky;
mod smap;
mod statics;
mod utm;
mod weather;
mod world;

pub use asset::Asset;
pub use compare::{Comparison, Deviation};
pub use continent::{GlobeRow, continent_climate, continent_elevation, continent_landcover};
pub use counters::ServeStats;
pub use error::Error;
pub use faults::{Fault, FaultSpec};
pub use land::Landscape;
pub use region::{Region, Vegetation};
pub use response::{
    COVERS, Cover, LONGEST_RAIN_LAG, TEMPERATURE_DAYS, drive, rain_lag_weight, response_rain,
    response_temperature,
};
pub use scene::{NOISE_LIMIT, REVISIT_DAYS, SUPERSEDED_BIAS, Scene, baseline_change};
pub use serve::{ServeOptions, Server, serve};
pub use weather::Weather;
pub use world::World;

/// Rows and columns of the default 3.84 km cell grid that lie inside the active window of every tile.
pub const ACTIVE_CELLS: std::ops::RangeInclusive<usize> = 11..=15;
