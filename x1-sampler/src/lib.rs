#![doc = include_str!("../README.md")]

mod aoi;
mod balance;
mod candidates;
mod checks;
mod config;
mod design;
mod draw;
mod error;
mod grid_file;
mod joint;
mod judge;
mod land_tiles;
mod layers;
mod legend;
mod lonlat;
mod ogr;
mod order;
mod picture;
mod plan;
mod points;
mod raster;
mod report;
mod run;
mod sample;
mod sphere;
mod split;
mod spread;
mod squares;
mod strata;
mod tiles;
mod top_tiles;
mod verify;

pub use aoi::{Aoi, AreaIndex, Lies, bbox_area, builtin_area, countries, parse_area, parse_wkt, read_area};
pub use balance::{divergence, effective_size, largest_difference};
pub use candidates::{Candidate, Column, Population, Source, cells_inside, check_rasters, find};
pub use config::{
    Builtin, ClassRaster, Config, DemStratum, Design, ElevationRaster, ExcludeRaster, Format, LegendName,
    Product, SplitConfig, Target, UserRaster,
};
pub use design::{Shares, allocate, weights};
pub use draw::{Draw, Rules, draw};
pub use error::Error;
pub use grid_file::{GridFile, read as read_grid_file};
pub use joint::{ANY, Joint, join};
pub use judge::{Judged, judge};
pub use land_tiles::is_land_tile;
pub use layers::{ClassLayer, DemLayer, ExcludeLayer, Findings, Layers, Loss};
pub use legend::Legend;
pub use plan::{AreaPlan, Plan, RasterPlan};
pub use points::{Points, read_points};
pub use raster::{Block, Lookup, Raster, RasterSpec};
pub use report::largest_deviation;
pub use run::{Verb, check, describe, execute, population, run, verify};
pub use sample::{INCLUSION, Sample, outline, sample, seed_of};
pub use split::{Assignment, SplitRules, assign, folds};
pub use spread::{clustering, mean_nearest_m};
pub use strata::{Classified, Composition, Cut, HETEROGENEITY, TOPOGRAPHY, mean, relief};
pub use tiles::{Cell, cell_at, is_in_grid, own_cells, ring, tiles_of_zone, zones_of};
pub use top_tiles::top_tiles;
pub use verify::{split_counts, violations};
