#![doc = include_str!("../README.md")]

mod aoi;
mod balance;
mod candidates;
mod config;
mod design;
mod draw;
mod error;
mod legend;
mod lonlat;
mod plan;
mod raster;
mod report;
mod run;
mod sample;
mod split;
mod strata;
mod tiles;
mod verify;

pub use aoi::{Aoi, Lies, bbox_area, builtin_area, parse_area};
pub use balance::{divergence, effective_size, largest_difference};
pub use candidates::{Candidate, ClassLayer, Layers, Lost, Population, cells_inside, check_rasters, find};
pub use config::{
    Builtin, ClassRaster, Config, Design, ElevationRaster, Format, LegendName, Product, SplitConfig,
};
pub use design::{allocate, target_shares, weights};
pub use draw::{Draw, Rules, draw};
pub use error::Error;
pub use legend::Legend;
pub use plan::{AreaPlan, Plan, RasterPlan};
pub use raster::{Raster, RasterSpec};
pub use run::{describe, execute, run, verify};
pub use sample::{Sample, outline, sample, seed_of};
pub use split::{Assignment, assign};
pub use strata::{Composition, HETEROGENEITY, TOPOGRAPHY, relief, relief_class, tertile_class, tertiles};
pub use tiles::{Cell, own_cells, ring, tiles_of_zone, zones_of};
pub use verify::{split_counts, violations};
