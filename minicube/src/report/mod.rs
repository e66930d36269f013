//! Report pages: one self-contained HTML file a stage, with maps and plots, that opens offline.

mod chart;
mod page;
mod raster;

pub use chart::{LinePlot, Series, Style, bars, lines, scatter_map};
pub use page::Report;
pub use raster::{Ramp, raster, strip};
