//! Report pages: one self-contained HTML file a stage, with maps and plots, that opens offline.

mod chart;
mod heat;
mod map;
mod page;
mod raster;
mod timeline;

pub use chart::{LinePlot, Series, Style, bars, lines, scatter_map};
pub use heat::heat;
pub use map::{MapColumn, PointMap};
pub use page::Report;
pub use raster::{Ramp, raster, strip};
pub use timeline::{Event, timeline};
