#![doc = include_str!("../README.md")]

mod bucket;
mod failure;
mod settings;
#[cfg(feature = "testing")]
pub mod testing;

pub use bucket::{open, open_with};
