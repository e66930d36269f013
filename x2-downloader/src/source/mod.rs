//! The sources, one file each. Every unit (a scene, a day, a kind of file) ends in a sealed part of the ledger.

pub(crate) mod assets;
pub(crate) mod catalogue;
pub(crate) mod era5;
pub(crate) mod files;
pub(crate) mod listing;
pub(crate) mod revisit;
pub(crate) mod scenes;
pub(crate) mod sentinel2;
pub(crate) mod smap;
pub(crate) mod stac;
