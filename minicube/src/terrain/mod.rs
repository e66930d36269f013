//! What a grid of elevations says of the shape of the land. Arrays in, arrays out.
//!
//! # Shapes
//! Elevations are `[y, x]` in metres, row 0 = north, NaN = void; every result has the shape of its input.

mod geomorphon;
mod slope;

pub use geomorphon::{CellSize, GEOMORPHONS, Geomorphons, geomorphons};
pub use slope::{rise, slope_deg};
