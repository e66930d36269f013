//! Elevation, land cover and climate class as rasters in longitude and latitude around the active window.

use minicube::{LonLat, XY};
use rayon::prelude::*;

use crate::Region;
use crate::cog::{Crs, Layout, Sample, Window, encode};
use crate::land::Land;
use crate::world::World;

/// Degrees that the rasters reach beyond the active window on each side.
const MARGIN_DEG: f64 = 0.04;
const BLOCK: usize = 512;
/// Columns between two exact conversions to UTM; what lies between is interpolated (error below 1 cm).
const STRIDE: usize = 64;

/// Which of the unchanging layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Static {
    /// Elevation in metres, float32, 1 arc second.
    Dem,
    /// ESA WorldCover codes, uint8, 1/12000 degree.
    LandCover,
    /// Köppen–Geiger classes 1 to 30, uint8, 1/120 degree.
    Climate,
}

impl Static {
    pub(crate) const ALL: [Static; 3] = [Static::Dem, Static::LandCover, Static::Climate];

    /// Folder of the layer on the server.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Static::Dem => "dem",
            Static::LandCover => "landcover",
            Static::Climate => "climate",
        }
    }

    fn pixels_per_degree(self) -> f64 {
        match self {
            Static::Dem => 3600.0,
            Static::LandCover => 12_000.0,
            Static::Climate => 120.0,
        }
    }
}

/// The GeoTIFF of a layer.
pub(crate) fn raster(world: &World, region: Region, layer: Static) -> Vec<u8> {
    let land = world.land(region);
    match layer {
        Static::Dem => build(land, layer, "-9999", |at| land.elevation(at) as f32),
        Static::LandCover => build(land, layer, "0", |at| land.cover(at).code),
        Static::Climate => build(land, layer, "0", |at| land.climate(at)),
    }
}

fn build<T: Sample>(
    land: &Land,
    layer: Static,
    nodata: &'static str,
    value: impl Fn(XY) -> T + Sync,
) -> Vec<u8> {
    let density = layer.pixels_per_degree();
    let bounds = land.lonlat_bounds();
    // Snap to the global grid of the layer.
    let west = ((bounds.x_min - MARGIN_DEG) * density).floor();
    let north = ((bounds.y_max + MARGIN_DEG) * density).ceil();
    let width = (((bounds.x_max + MARGIN_DEG) * density).ceil() - west) as usize;
    let height = (north - ((bounds.y_min - MARGIN_DEG) * density).floor()) as usize;

    let mut data = vec![T::default(); width * height];
    data.par_chunks_mut(width).enumerate().for_each(|(row, out)| {
        let lat = (north - row as f64 - 0.5) / density;
        let utm = |col: usize| land.utm.forward(LonLat { lon: (west + col as f64 + 0.5) / density, lat });
        for (part, out) in out.chunks_mut(STRIDE).enumerate() {
            let (from, to) = (utm(part * STRIDE), utm((part + 1) * STRIDE));
            for (step, pixel) in out.iter_mut().enumerate() {
                let share = step as f64 / STRIDE as f64;
                *pixel =
                    value(XY { x: from.x + share * (to.x - from.x), y: from.y + share * (to.y - from.y) });
            }
        }
    });
    let overviews = (1..)
        .map(|power| 1 << power)
        .take_while(|factor| width.max(height).div_ceil(*factor / 2) > BLOCK)
        .collect();
    let layout = Layout {
        width,
        height,
        block: BLOCK,
        overview_block: BLOCK,
        overviews,
        crs: Crs::LonLat,
        origin: XY { x: west / density, y: north / density },
        pixel: 1.0 / density,
        nodata,
    };
    encode(&layout, &Window { row: 0, col: 0, width, data: &data })
}
