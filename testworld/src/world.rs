//! The synthetic Earth: everything that is true of it, as functions of place and date.

use std::sync::{Arc, OnceLock};

use chrono::NaiveDate;
use minicube::{Bounds, LonLat, Tile, XY};

use crate::asset::Asset;
use crate::land::{Land, Landscape};
use crate::scene::{Scene, archive};
use crate::sky::CloudTextures;
use crate::weather::{DRIVES, Series};
use crate::{Error, Region, Weather};

/// A deterministic Earth with two regions; a copy shares everything with its original.
#[derive(Clone, Debug)]
pub struct World {
    seed: u64,
    regions: Arc<[Place; 2]>,
    clouds: Arc<OnceLock<CloudTextures>>,
}

#[derive(Debug)]
struct Place {
    land: Land,
    weather: Series,
    scenes: Vec<Scene>,
}

impl World {
    /// The Earth of a seed, with its natural landscape. Two Earths of the same seed serve the same bytes.
    ///
    /// # Errors
    /// [`Error::Minicube`] if the tile grid does not know a region's tile.
    pub fn new(seed: u64) -> Result<Self, Error> {
        Self::with_landscape(seed, Landscape::Natural)
    }

    /// The Earth of a seed and a landscape.
    ///
    /// # Errors
    /// [`Error::Minicube`] if the tile grid does not know a region's tile.
    pub fn with_landscape(seed: u64, landscape: Landscape) -> Result<Self, Error> {
        let place = |region| -> Result<Place, Error> {
            let weather = Series::new(seed, region);
            let scenes = archive(seed, region, &weather);
            Ok(Place { land: Land::new(seed, region, landscape)?, weather, scenes })
        };
        let regions = Arc::new([place(Region::Africa)?, place(Region::Europe)?]);
        Ok(Self { seed, regions, clouds: Arc::default() })
    }

    /// The seed it was made from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How its vegetation is arranged in space.
    #[must_use]
    pub fn landscape(&self) -> Landscape {
        self.land(Region::Africa).landscape()
    }

    /// A name for a folder of what this Earth serves.
    pub(crate) fn folder_name(&self, version: u32) -> String {
        let landscape = match self.landscape() {
            Landscape::Natural => "",
            Landscape::GroundWater => "-ground-water",
            Landscape::Scattered => "-scattered-seasons",
        };
        format!("testworld-{version}-{}{landscape}", self.seed)
    }

    /// The Sentinel-2 tile of a region.
    #[must_use]
    pub fn tile(&self, region: Region) -> &Tile {
        &self.land(region).tile
    }

    /// The part of the tile that has Sentinel-2 data, in UTM metres: 20.48 km square, 40.96 km from the tile's west
    /// and north edge. The 5 × 5 cells in rows and columns [`crate::ACTIVE_CELLS`] lie in it.
    #[must_use]
    pub fn active_window(&self, region: Region) -> Bounds {
        self.land(region).window()
    }

    /// Smallest box in degrees (x = longitude, y = latitude) around the active window.
    #[must_use]
    pub fn active_bbox(&self, region: Region) -> Bounds {
        self.land(region).lonlat_bounds()
    }

    /// Longitude and latitude of a point of the region's UTM zone.
    #[must_use]
    pub fn lon_lat(&self, region: Region, at: XY) -> LonLat {
        self.land(region).utm.inverse(at)
    }

    /// The weather of a day, `None` outside 2015–2022.
    #[must_use]
    pub fn weather(&self, region: Region, date: NaiveDate) -> Option<Weather> {
        self.series(region).on(date).copied()
    }

    /// All scenes of a region in order of date.
    #[must_use]
    pub fn scenes(&self, region: Region) -> &[Scene] {
        &self.place(region).scenes
    }

    /// Days of a regular overpass for which no scene exists.
    #[must_use]
    pub fn missing_dates(&self, region: Region) -> Vec<NaiveDate> {
        crate::scene::overpasses(region).filter(|date| crate::scene::is_missing(*date)).collect()
    }

    /// ESA WorldCover code of a point (UTM metres).
    #[must_use]
    pub fn land_cover(&self, region: Region, x: f64, y: f64) -> u8 {
        self.land(region).cover(XY { x, y }).code
    }

    /// Köppen–Geiger class of a point (UTM metres), 1 to 30.
    #[must_use]
    pub fn climate_class(&self, region: Region, x: f64, y: f64) -> u8 {
        self.land(region).climate(XY { x, y })
    }

    /// Height above sea level of a point (UTM metres), metres.
    #[must_use]
    pub fn elevation(&self, region: Region, x: f64, y: f64) -> f64 {
        self.land(region).elevation(XY { x, y })
    }

    /// NDVI of a point (UTM metres) without cloud and noise; NaN outside the active window or the years of this Earth.
    #[must_use]
    pub fn truth_ndvi(&self, region: Region, x: f64, y: f64, date: NaiveDate) -> f64 {
        let at = XY { x, y };
        match self.drives(region, date) {
            Some(drives) if self.active_window(region).contains(at) => {
                let place = self.land(region).place(at);
                place.floor + place.gain * drives[usize::from(place.drive)]
            }
            _ => f64::NAN,
        }
    }

    /// How much NDVI changes per unit of the vegetation drive at a point (UTM metres). By the chain rule, NDVI changes
    /// by this times `rain_share × 2 (R₀ − R) / R₀²` per mm of lagged rain.
    #[must_use]
    pub fn ndvi_gain(&self, region: Region, x: f64, y: f64) -> f64 {
        self.land(region).place(XY { x, y }).gain
    }

    /// Surface reflectance of a point (UTM metres) in one band, without cloud and noise: the value at the centre of
    /// the 10 m pixel that holds the point, or for a 20 m band the mean of its four 10 m pixels. NaN outside the active
    /// window or the years of this Earth, and for the scene classification.
    #[must_use]
    pub fn truth_reflectance(&self, region: Region, asset: Asset, x: f64, y: f64, date: NaiveDate) -> f64 {
        let (Some(drives), Some(band)) = (self.drives(region, date), asset.band()) else {
            return f64::NAN;
        };
        let window = self.active_window(region);
        if !window.contains(XY { x, y }) {
            return f64::NAN;
        }
        let at = |x: f64, y: f64| {
            let place = self.land(region).place(XY { x, y });
            let ndvi = place.floor + place.gain * drives[usize::from(place.drive)];
            band.reflectance(place.brightness, place.brightness * ndvi)
        };
        let resolution = asset.resolution_m();
        let snap = |distance: f64| (distance / resolution).floor() * resolution + 0.5 * resolution;
        let (x, y) = (window.x_min + snap(x - window.x_min), window.y_max - snap(window.y_max - y));
        if resolution < 15.0 {
            return at(x, y);
        }
        [(-5.0, -5.0), (5.0, -5.0), (-5.0, 5.0), (5.0, 5.0)]
            .iter()
            .map(|(dx, dy)| at(x + dx, y + dy))
            .sum::<f64>()
            / 4.0
    }

    pub(crate) fn land(&self, region: Region) -> &Land {
        &self.place(region).land
    }

    /// Every drive that vegetation may have on a day; `None` outside the years of this Earth.
    pub(crate) fn drives(&self, region: Region, date: NaiveDate) -> Option<[f64; DRIVES]> {
        self.land(region).drives(self.series(region), date)
    }

    pub(crate) fn series(&self, region: Region) -> &Series {
        &self.place(region).weather
    }

    pub(crate) fn clouds(&self) -> &CloudTextures {
        self.clouds.get_or_init(|| CloudTextures::new(self.seed))
    }

    fn place(&self, region: Region) -> &Place {
        &self.regions[region.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gains along a row of 30 m blocks, from the tile's corner on, 10 m into each.
    fn gains(world: &World, count: usize) -> Vec<f64> {
        let (tile, window) = (world.tile(Region::Africa), world.active_window(Region::Africa));
        let first = ((window.x_min - tile.origin.x) / 30.0).ceil();
        let row = ((tile.origin.y - window.y_max) / 30.0).ceil();
        let at = |k: usize, shift: f64| {
            let x = tile.origin.x + 30.0 * (first + k as f64) + 10.0;
            world.ndvi_gain(Region::Africa, x + shift, tile.origin.y - 30.0 * row - 10.0)
        };
        assert!((0..count).all(|k| world.landscape() != Landscape::Scattered || at(k, 0.0) == at(k, 15.0)));
        (0..count).map(|k| at(k, 0.0)).collect()
    }

    fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    /// The mean of the product of neighbours' deviations, as a share of the variance.
    fn likeness(values: &[f64]) -> f64 {
        let middle = mean(values);
        let covariance: Vec<f64> = values.windows(2).map(|w| (w[0] - middle) * (w[1] - middle)).collect();
        let variance: Vec<f64> = values.iter().map(|v| (v - middle).powi(2)).collect();
        mean(&covariance) / mean(&variance)
    }

    #[test]
    fn a_scattered_landscape_has_the_same_values_without_neighbours() {
        let scattered = World::with_landscape(42, Landscape::Scattered).unwrap();
        let (natural, scattered) = (gains(&World::new(42).unwrap(), 680), gains(&scattered, 680));
        assert!(likeness(&natural) > 0.7, "{}", likeness(&natural));
        // The standard error of a correlation of 680 independent pairs is 0.04.
        assert!(likeness(&scattered).abs() < 0.12, "{}", likeness(&scattered));
        // One row of the natural landscape is not the whole window.
        assert!((mean(&natural) - mean(&scattered)).abs() < 0.08);
    }

    /// By how many days the vegetation of a pixel is behind that of the natural landscape, which is unlike on all days.
    fn delay(world: &World, natural: &World, x: f64, y: f64) -> Option<f64> {
        let days = (0..6).map(|k| NaiveDate::from_ymd_opt(2020, 1 + 2 * k, 7).unwrap());
        let (land, days) = (Region::Africa, days.collect::<Vec<_>>());
        (0..=60).step_by(5).map(f64::from).find(|delay| {
            let before = |day: &NaiveDate| *day - chrono::Days::new(*delay as u64);
            days.iter()
                .all(|day| world.truth_ndvi(land, x, y, *day) == natural.truth_ndvi(land, x, y, before(day)))
        })
    }

    #[test]
    fn with_ground_water_valleys_are_behind_ridges() {
        let natural = World::new(42).unwrap();
        let world = World::with_landscape(42, Landscape::GroundWater).unwrap();
        let window = world.active_window(Region::Africa);
        let (mut delays, mut heights) = (Vec::new(), Vec::new());
        for k in 0..680 {
            let (x, y) = (window.x_min + 30.0 * f64::from(k) + 15.0, window.center().y);
            // Water has no vegetation that could be late.
            if natural.ndvi_gain(Region::Africa, x, y) == 0.0 {
                continue;
            }
            delays.push(delay(&world, &natural, x, y).unwrap());
            let around = [-600.0, -300.0, 300.0, 600.0];
            let around = around.iter().flat_map(|dx| around.iter().map(move |dy| (x + dx, y + dy)));
            let mean = around.map(|(x, y)| world.elevation(Region::Africa, x, y)).sum::<f64>() / 16.0;
            heights.push(world.elevation(Region::Africa, x, y) - mean);
        }
        assert!(likeness(&delays) > 0.95, "{}", likeness(&delays));
        let over = |late: bool| -> Vec<f64> {
            heights.iter().zip(&delays).filter(|(_, d)| (**d > 30.0) == late).map(|(h, _)| *h).collect()
        };
        assert!(mean(&over(true)) < 0.0 && mean(&over(false)) > 0.0);
        assert!(delays.contains(&0.0) && delays.contains(&60.0));
    }
}
