//! The known response of vegetation to weather: the truth that forecasters and explanations are examined on.

use crate::Region;

/// Response to lagged rain (mm per ten days), 0 to 1: `max(0, 1 − ((R − R₀) / R₀)²)`.
///
/// A parabola that is 0 without rain, 1 at the optimum `R₀` ([`crate::Vegetation::rain_optimum`]) and 0 again at twice
/// the optimum and beyond. Its slope is `2 (R₀ − R) / R₀²`: positive below, negative above the optimum.
#[must_use]
pub fn response_rain(region: Region, lagged_rain_mm: f64) -> f64 {
    let optimum = region.vegetation().rain_optimum;
    parabola(lagged_rain_mm, optimum, optimum)
}

/// Response to smoothed temperature (°C), 0 to 1: `max(0, 1 − ((T − T₀) / w)²)`.
#[must_use]
pub fn response_temperature(region: Region, smoothed_temperature_c: f64) -> f64 {
    let vegetation = region.vegetation();
    parabola(smoothed_temperature_c, vegetation.temperature_optimum, vegetation.temperature_width)
}

/// The vegetation drive `D`, 0 to 1: the weighted mean of both responses. Pressure, radiation and soil moisture have
/// no part in it.
#[must_use]
pub fn drive(region: Region, lagged_rain_mm: f64, smoothed_temperature_c: f64) -> f64 {
    let share = region.vegetation().rain_share;
    share * response_rain(region, lagged_rain_mm)
        + (1.0 - share) * response_temperature(region, smoothed_temperature_c)
}

/// Weight of the rain that fell `lag` days before, in the lagged rain: a triangle over 1 to 39 days with its top and
/// mean at 20 days. The weights sum to 1.
#[must_use]
pub fn rain_lag_weight(lag: usize) -> f64 {
    const PEAK: usize = 20;
    PEAK.saturating_sub(lag.abs_diff(PEAK)) as f64 / (PEAK * PEAK) as f64
}

/// Days whose mean is the smoothed temperature: the day itself and the 14 before.
pub const TEMPERATURE_DAYS: usize = 15;

/// Longest lag, days, with weight in the lagged rain.
pub const LONGEST_RAIN_LAG: usize = 39;

fn parabola(value: f64, optimum: f64, width: f64) -> f64 {
    (1.0 - ((value - optimum) / width).powi(2)).max(0.0)
}

/// How one kind of land cover answers: `NDVI = base + … + amplitude × … × D` (see the crate documentation).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cover {
    /// ESA WorldCover code.
    pub code: u8,
    /// NDVI at drive 0, on a slope without texture.
    pub base: f64,
    /// NDVI gained from drive 0 to drive 1, on a slope.
    pub amplitude: f64,
    /// Sum of red and near-infrared reflectance.
    pub brightness: f64,
}

/// Every land cover of this Earth.
pub const COVERS: [Cover; 7] = [
    Cover { code: 10, base: 0.40, amplitude: 0.30, brightness: 0.40 },
    Cover { code: 20, base: 0.24, amplitude: 0.38, brightness: 0.46 },
    Cover { code: 30, base: 0.15, amplitude: 0.50, brightness: 0.50 },
    Cover { code: 40, base: 0.12, amplitude: 0.55, brightness: 0.50 },
    Cover { code: 50, base: 0.10, amplitude: 0.08, brightness: 0.44 },
    Cover { code: 60, base: 0.08, amplitude: 0.10, brightness: 0.58 },
    Cover { code: 80, base: -0.30, amplitude: 0.0, brightness: 0.09 },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parabolas_have_their_optimum_and_zeros() {
        assert!((response_rain(Region::Africa, 40.0) - 1.0).abs() < 1e-12);
        assert!(response_rain(Region::Africa, 0.0).abs() < 1e-12);
        assert!(response_rain(Region::Africa, 95.0).abs() < 1e-12);
        // 1 - ((30 - 40) / 40)^2 = 1 - 1/16
        assert!((response_rain(Region::Africa, 30.0) - 0.9375).abs() < 1e-12);
        // 1 - ((10 - 20) / 20)^2 = 3/4
        assert!((response_temperature(Region::Europe, 10.0) - 0.75).abs() < 1e-12);
        // 0.4 * (1 - (5/25)^2) + 0.6 * 0.75 = 0.384 + 0.45
        assert!((drive(Region::Europe, 20.0, 10.0) - 0.834).abs() < 1e-12);
    }

    #[test]
    fn the_lag_weights_are_a_distribution_with_mean_twenty() {
        let sum: f64 = (0..100).map(rain_lag_weight).sum();
        let mean: f64 = (0..100).map(|lag| lag as f64 * rain_lag_weight(lag)).sum();
        assert!((sum - 1.0).abs() < 1e-12 && (mean - 20.0).abs() < 1e-9, "{sum} {mean}");
        assert_eq!(rain_lag_weight(LONGEST_RAIN_LAG + 1), 0.0);
        assert!(rain_lag_weight(LONGEST_RAIN_LAG) > 0.0);
    }
}
