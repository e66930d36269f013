//! Sentinel-2 to Level 1: layers and their numbers, the radiometric offset, days with several acquisitions, JPEG 2000,
//! and real scenes against cubes that others made of them.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

mod greenearthnet;
mod jp2;
mod layers;
mod offset;
mod real_offset;
mod same_day;
mod tree;
