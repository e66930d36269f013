//! The two regions: where they lie and the constants of their climate and land cover.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// One of the two places the synthetic Earth has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Region {
    /// Southern Africa: Sentinel-2 tile 35KMQ (EPSG:32735), semi-arid, summer rain, vegetation follows rain.
    Africa,
    /// Central Europe: Sentinel-2 tile 32UPB (EPSG:32632), temperate, vegetation follows temperature and rain.
    Europe,
}

impl Region {
    /// Both regions.
    pub const ALL: [Region; 2] = [Region::Africa, Region::Europe];

    /// The name used in paths: `africa` or `europe`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Region::Africa => "africa",
            Region::Europe => "europe",
        }
    }

    /// Id of the region's Sentinel-2 tile.
    #[must_use]
    pub fn tile_id(self) -> &'static str {
        match self {
            Region::Africa => "35KMQ",
            Region::Europe => "32UPB",
        }
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Region::Africa => 0,
            Region::Europe => 1,
        }
    }

    /// The response of vegetation to weather.
    #[must_use]
    pub fn vegetation(self) -> Vegetation {
        match self {
            Region::Africa => Vegetation {
                rain_share: 0.7,
                rain_optimum: 40.0,
                temperature_optimum: 24.0,
                temperature_width: 14.0,
            },
            Region::Europe => Vegetation {
                rain_share: 0.4,
                rain_optimum: 25.0,
                temperature_optimum: 20.0,
                temperature_width: 20.0,
            },
        }
    }

    pub(crate) fn climate(self) -> Climate {
        match self {
            Region::Africa => Climate {
                first_month_of_rain_year: 7,
                rain_peak_doy: 15.0,
                wet_base: 0.02,
                wet_season: 0.38,
                rain_mm_per_wet_day: 9.5,
                temperature_c: 21.0,
                temperature_swing_k: 6.0,
                temperature_peak_doy: 350.0,
                temperature_noise_k: 2.2,
                wet_cooling_k: 2.0,
                daily_range_k: 13.0,
                pressure_pa: 90_500.0,
                radiation_mj: 24.0,
                radiation_swing_mj: 6.0,
                radiation_peak_doy: 355.0,
                cloud_base: 0.18,
                cloud_season: 0.30,
                local_hours: 2,
            },
            Region::Europe => Climate {
                first_month_of_rain_year: 1,
                rain_peak_doy: 190.0,
                wet_base: 0.30,
                wet_season: 0.08,
                rain_mm_per_wet_day: 5.5,
                temperature_c: 9.0,
                temperature_swing_k: 9.5,
                temperature_peak_doy: 200.0,
                temperature_noise_k: 3.6,
                wet_cooling_k: 1.0,
                daily_range_k: 9.0,
                pressure_pa: 97_500.0,
                radiation_mj: 13.0,
                radiation_swing_mj: 9.5,
                radiation_peak_doy: 172.0,
                cloud_base: 0.48,
                cloud_season: -0.12,
                local_hours: 1,
            },
        }
    }

    pub(crate) fn terrain(self) -> Terrain {
        match self {
            Region::Africa => Terrain {
                base_m: 980.0,
                relief_m: 260.0,
                water: 0.025,
                built: 0.03,
                bare: 0.04,
                tree: 0.18,
                shrub: 0.30,
                grass: 0.30,
                low_climate: 6,
                high_climate: 11,
            },
            Region::Europe => Terrain {
                base_m: 340.0,
                relief_m: 420.0,
                water: 0.02,
                built: 0.06,
                bare: 0.01,
                tree: 0.36,
                shrub: 0.05,
                grass: 0.24,
                low_climate: 15,
                high_climate: 26,
            },
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Region {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Region::ALL
            .into_iter()
            .find(|region| region.name() == name)
            .ok_or_else(|| Error::Region { name: name.to_owned() })
    }
}

/// The constants of a region's response to weather; the formulas are in [`crate::response_rain`] and
/// [`crate::response_temperature`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Vegetation {
    /// Weight of the rain response in the vegetation drive; the temperature response has the rest.
    pub rain_share: f64,
    /// Lagged rain at which vegetation is greenest, mm per ten days; also the half-width of the parabola.
    pub rain_optimum: f64,
    /// Smoothed temperature at which vegetation is greenest, °C.
    pub temperature_optimum: f64,
    /// Half-width of the temperature parabola, K.
    pub temperature_width: f64,
}

/// What the weather generator needs to know of a place; day-of-year peaks are of a cosine.
pub(crate) struct Climate {
    pub(crate) first_month_of_rain_year: u32,
    pub(crate) rain_peak_doy: f64,
    pub(crate) wet_base: f64,
    pub(crate) wet_season: f64,
    pub(crate) rain_mm_per_wet_day: f64,
    pub(crate) temperature_c: f64,
    pub(crate) temperature_swing_k: f64,
    pub(crate) temperature_peak_doy: f64,
    pub(crate) temperature_noise_k: f64,
    pub(crate) wet_cooling_k: f64,
    pub(crate) daily_range_k: f64,
    pub(crate) pressure_pa: f64,
    pub(crate) radiation_mj: f64,
    pub(crate) radiation_swing_mj: f64,
    pub(crate) radiation_peak_doy: f64,
    pub(crate) cloud_base: f64,
    pub(crate) cloud_season: f64,
    pub(crate) local_hours: u32,
}

/// Relief, area shares of the land covers (cropland has the rest) and the two Köppen–Geiger classes of a place.
pub(crate) struct Terrain {
    pub(crate) base_m: f64,
    pub(crate) relief_m: f64,
    pub(crate) water: f64,
    pub(crate) built: f64,
    pub(crate) bare: f64,
    pub(crate) tree: f64,
    pub(crate) shrub: f64,
    pub(crate) grass: f64,
    pub(crate) low_climate: u8,
    pub(crate) high_climate: u8,
}
