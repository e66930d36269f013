//! How good a forecast is: arrays in, numbers out.

pub(crate) mod ens;
pub(crate) mod error_by_lead;
pub(crate) mod summary;
