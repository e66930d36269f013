//! The sources, one file each. Every unit (a scene, a day, a kind of file) ends in a sealed part of the ledger.

pub(crate) mod assets;
pub(crate) mod catalogue;
mod cf_hours;
pub(crate) mod cmr;
mod ease2;
pub(crate) mod era5;
pub(crate) mod era5_config;
mod era5_layout;
mod era5_netcdf;
mod era5_scratch;
pub(crate) mod era5_zarr;
pub(crate) mod files;
mod hdf;
mod hdf5_copy;
pub(crate) mod listing;
pub(crate) mod rasters;
pub(crate) mod revisit;
pub(crate) mod scenes;
pub(crate) mod sentinel2;
pub(crate) mod smap;
mod smap_cells;
pub(crate) mod smap_config;
pub(crate) mod smap_subset;
pub(crate) mod stac;
pub(crate) mod static_tiles;
mod zarr_remote;
mod zarr_window;
