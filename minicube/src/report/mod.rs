//! Report pages: one self-contained HTML file a stage, with maps and plots, that opens offline.

mod calendar;
mod chart;
mod frames;
mod heat;
mod map;
mod page;
mod raster;
mod svg;
mod timeline;

pub use calendar::{Month, calendar, month_of};
pub use chart::{LinePlot, Series, Style, bars, lines, scatter_map};
pub use frames::{Frame, class_legend, ramp_legend};
pub use heat::heat;
pub use map::{MapColumn, PointMap};
pub use page::Report;
pub use raster::{Ramp, raster, strip};
pub use timeline::{Event, timeline};
