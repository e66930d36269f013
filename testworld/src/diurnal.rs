//! How a day's weather is spread over its hours, for the products that are finer than a day.

use crate::{Region, Weather};

/// What one hour (UTC) of a day looks like. Means of temperature and pressure and sums of the rest over the 24 hours
/// equal the daily numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hour {
    pub(crate) temperature_k: f64,
    pub(crate) pressure_pa: f64,
    pub(crate) rain_mm: f64,
    pub(crate) solar_j_m2: f64,
    pub(crate) potential_evaporation_mm: f64,
}

/// The weather in the hour that begins at `hour` UTC.
pub(crate) fn hour(region: Region, day: &Weather, hour: u32) -> Hour {
    let local = f64::from((hour + region.climate().local_hours) % 24);
    let angle = |peak: f64| std::f64::consts::TAU * (local - peak) / 24.0;
    let rain_share = (1.0 + 0.7 * angle(17.0).cos()) / 24.0;
    let sun_share = (0..24).map(|h| sun(f64::from(h))).sum::<f64>().recip() * sun(local);
    Hour {
        temperature_k: day.temperature_c + 273.15 + 0.5 * day.temperature_range_k * angle(15.0).cos(),
        pressure_pa: day.pressure_pa + 80.0 * (2.0 * angle(10.0)).cos(),
        rain_mm: day.rain_mm * rain_share,
        solar_j_m2: day.solar_j_m2 * sun_share,
        potential_evaporation_mm: day.potential_evaporation_mm * sun_share,
    }
}

fn sun(local_hour: f64) -> f64 {
    (std::f64::consts::TAU * (local_hour - 12.0) / 24.0).cos().max(0.0)
}
