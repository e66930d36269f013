//! How good a forecast is: arrays in, numbers out.

pub(crate) mod ens;
pub(crate) mod error_by_lead;
pub(crate) mod greenearthnet;
pub(crate) mod impact;
pub(crate) mod landscape;
pub(crate) mod pixel;
pub(crate) mod quantiles;
pub(crate) mod seasonal;
pub(crate) mod summary;
#[cfg(test)]
mod testing;
