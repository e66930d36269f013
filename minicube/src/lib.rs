#![doc = include_str!("../README.md")]

mod bands;
mod cf_time;
mod cube;
mod error;
mod files;
mod geo_column;
mod grid;
mod location;
mod manifest;
mod npz;
mod objects;
pub mod report;
pub mod run;
mod simd;
mod space;
mod table;
pub mod terrain;
#[cfg(feature = "testing")]
pub mod testing;
mod time;

pub use bands::{SENTINEL2_NAMES, esa_name};
pub use cf_time::{day_of_second, decode_times};
pub use chrono::NaiveDate;
pub use cube::{
    CHUNK_DATES, CHUNK_PX, Cube, CubeSpec, CubeWriter, DType, Element, OlderStore, VarSpec, Violation,
    add_crs, check, check_files, content_hash, finish_sealing, is_sealed,
};
pub use error::Error;
pub use files::{
    append_suffix, files_below, partial_path, sha256_bytes, sha256_file, sha256_store, write_atomic,
};
pub use geo_column::geo_column;
pub use grid::{CellGrid, TILE_SIZE_M, Tile, location_id};
pub use location::{Location, LocationTable, Split};
pub use manifest::{FileRef, Outcome, RunManifest, Status, plan_hash};
pub use npz::Npz;
pub use objects::{
    Bucket, ObjectInfo, OpenBucket, Part, file_exists, is_url, list_stores, open_buckets_with, read_file,
    stored_bytes,
};
pub use simd::{Simd, simd};
pub use space::{Bounds, Epsg, LonLat, Shape, XY};
pub use table::{write_csv, write_table};
pub use time::{CF_DAY_UNITS, Season, TEN_DAYS_A_YEAR, TimeAxis, from_cf_day, ten_days_of_year, to_cf_day};

/// Version of every file layout of this workspace; a reader refuses any other.
pub const SCHEMA_VERSION: u32 = 1;
