//! Daily weather of a region: rain events, temperature, pressure, radiation and two soil-water buckets.

use chrono::{Datelike, NaiveDate};

use crate::Region;
use crate::hash::{gauss, mix, text, uniform};
use crate::region::Climate;
use crate::response::{LONGEST_RAIN_LAG, TEMPERATURE_DAYS, drive, rain_lag_weight};

/// One day of weather, the mean or total over the region.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weather {
    /// Rain of the day, mm.
    pub rain_mm: f64,
    /// Mean air temperature at 2 m, °C.
    pub temperature_c: f64,
    /// Difference between the day's warmest and coldest moment, K.
    pub temperature_range_k: f64,
    /// Surface pressure, Pa. Vegetation does not respond to it.
    pub pressure_pa: f64,
    /// Net solar radiation at the surface, J m⁻² per day.
    pub solar_j_m2: f64,
    /// Potential evaporation, mm per day, positive upwards.
    pub potential_evaporation_mm: f64,
    /// Volumetric water of the top 5 cm, m³ m⁻³.
    pub soil_surface: f64,
    /// Volumetric water of the root zone, m³ m⁻³. It follows rain but has no effect of its own on vegetation.
    pub soil_root_zone: f64,
    /// Rain of the last 39 days weighted by [`crate::rain_lag_weight`], mm per ten days.
    pub lagged_rain_mm: f64,
    /// Mean temperature of the last 15 days, °C.
    pub smoothed_temperature_c: f64,
    /// Vegetation drive, 0 to 1: [`crate::drive`] of the two numbers before.
    pub drive: f64,
    /// Mean cloudiness of the day, 0 to 1.
    pub cloudiness: f64,
}

/// The weather of one region for [`first_day`] to [`last_day`].
#[derive(Debug)]
pub(crate) struct Series {
    days: Vec<Weather>,
}

/// Drives of vegetation on one day: by the delay of ground water, which reaches valleys 60 days later than ridges, or, in a
/// landscape without spatial structure, by season.
pub(crate) const DRIVES: usize = 13;
/// Days between two delays.
const DELAY_DAYS: usize = 5;
const YEAR_DAYS: f64 = 365.25;

/// First day with weather: a year before the first scene, so that lags are filled.
pub(crate) fn first_day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2015, 1, 1).unwrap_or_default()
}

/// Last day of this Earth.
pub(crate) fn last_day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2022, 12, 31).unwrap_or_default()
}

impl Series {
    pub(crate) fn new(seed: u64, region: Region) -> Self {
        let mut days = generate(mix(seed, &[text("weather"), region.index() as u64]), &region.climate());
        fill_soil(&mut days);
        fill_drive(&mut days, region);
        Self { days }
    }

    /// Vegetation drive of a day by delay, the day's own first; `None` outside the years of this Earth. Before the first day
    /// every day was like it.
    pub(crate) fn delayed_drives(&self, date: NaiveDate) -> Option<[f64; DRIVES]> {
        let today = self.index(date)?;
        let drive = |delay: usize| self.days[today.saturating_sub(DELAY_DAYS * delay)].drive;
        Some(std::array::from_fn(drive))
    }

    /// Drive of a day by season, whatever the weather: 0 and 1 once a year, the next season a thirteenth of a year later; `None`
    /// outside the years of this Earth.
    pub(crate) fn seasonal_drives(&self, date: NaiveDate) -> Option<[f64; DRIVES]> {
        let years = self.index(date)? as f64 / YEAR_DAYS;
        let drive = |season: usize| {
            0.5 + 0.5 * (std::f64::consts::TAU * (years - season as f64 / DRIVES as f64)).cos()
        };
        Some(std::array::from_fn(drive))
    }

    /// Weather of a day, `None` outside the years of this Earth.
    pub(crate) fn on(&self, date: NaiveDate) -> Option<&Weather> {
        self.index(date).map(|index| &self.days[index])
    }

    fn index(&self, date: NaiveDate) -> Option<usize> {
        let index = usize::try_from((date - first_day()).num_days()).ok()?;
        (index < self.days.len()).then_some(index)
    }
}

fn generate(seed: u64, climate: &Climate) -> Vec<Weather> {
    let rain_years = rain_year_factors(seed);
    let mut spell = Memory::new(seed, "spell", 16.0);
    let mut slow = Memory::new(seed, "warm spell", 25.0);
    let mut fast = Memory::new(seed, "warm day", 4.0);
    let mut pressure = Memory::new(seed, "pressure", 3.0);
    let stream = text("rain");
    first_day()
        .iter_days()
        .take_while(|day| *day <= last_day())
        .enumerate()
        .map(|(index, day)| {
            let doy = f64::from(day.ordinal());
            let factor = rain_years[rain_year(day, climate) % rain_years.len()];
            let spell = spell.next(index);
            let season = yearly(doy, climate.rain_peak_doy).max(0.0).powf(0.7);
            let wet_share = (climate.wet_base + climate.wet_season * season) * (0.75 * spell).exp() * factor;
            let draw = |word: u64| uniform(mix(seed, &[stream, index as u64, word]));
            let wet = draw(0) < wet_share.min(0.85);
            let amount = climate.rain_mm_per_wet_day * -(1.0 - draw(1)).ln();
            let rain_mm = if wet { amount.clamp(0.2, 70.0) } else { 0.0 };
            let cloudiness = (climate.cloud_base
                + climate.cloud_season * season
                + 0.10 * spell
                + if wet { 0.25 } else { 0.0 }
                + 0.15 * (draw(2) - 0.5))
                .clamp(0.0, 1.0);
            let noise = climate.temperature_noise_k * (0.75 * slow.next(index) + 0.65 * fast.next(index));
            let cooling = if wet { climate.wet_cooling_k } else { 0.0 };
            let temperature_c = climate.temperature_c
                + climate.temperature_swing_k * yearly(doy, climate.temperature_peak_doy)
                + noise
                - cooling;
            let clear_mj =
                climate.radiation_mj + climate.radiation_swing_mj * yearly(doy, climate.radiation_peak_doy);
            let solar_mj = clear_mj * (1.0 - 0.6 * cloudiness);
            let warmth = ((temperature_c + 5.0) / 25.0).clamp(0.05, 1.5);
            Weather {
                rain_mm,
                temperature_c,
                temperature_range_k: climate.daily_range_k * (1.15 - 0.6 * cloudiness),
                pressure_pa: climate.pressure_pa + 550.0 * pressure.next(index),
                solar_j_m2: solar_mj * 1e6,
                potential_evaporation_mm: 0.6 * solar_mj / 2.45 * warmth,
                soil_surface: 0.0,
                soil_root_zone: 0.0,
                lagged_rain_mm: 0.0,
                smoothed_temperature_c: 0.0,
                drive: 0.0,
                cloudiness,
            }
        })
        .collect()
}

/// Two buckets (20 mm and 150 mm). Each day `S ← min(S + rain, capacity) − evaporation × S / capacity`, the surface
/// bucket also drains by 12 % a day; moisture runs from wilting point (empty) to field capacity (full).
fn fill_soil(days: &mut [Weather]) {
    const SURFACE_MM: f64 = 20.0;
    const ROOT_MM: f64 = 150.0;
    let (mut surface, mut root) = (0.5 * SURFACE_MM, 0.5 * ROOT_MM);
    for day in days {
        surface = (surface + day.rain_mm).min(SURFACE_MM);
        surface -= (0.4 * day.potential_evaporation_mm * surface / SURFACE_MM + 0.12 * surface).min(surface);
        root = (root + day.rain_mm).min(ROOT_MM);
        root -= (day.potential_evaporation_mm * root / ROOT_MM).min(root);
        day.soil_surface = 0.05 + 0.33 * surface / SURFACE_MM;
        day.soil_root_zone = 0.08 + 0.30 * root / ROOT_MM;
    }
}

fn fill_drive(days: &mut [Weather], region: Region) {
    for index in 0..days.len() {
        let lagged: f64 = (1..=LONGEST_RAIN_LAG.min(index))
            .map(|lag| rain_lag_weight(lag) * days[index - lag].rain_mm)
            .sum();
        let window = &days[(index + 1).saturating_sub(TEMPERATURE_DAYS)..=index];
        let smoothed = window.iter().map(|day| day.temperature_c).sum::<f64>() / window.len() as f64;
        let day = &mut days[index];
        day.lagged_rain_mm = 10.0 * lagged;
        day.smoothed_temperature_c = smoothed;
        day.drive = drive(region, day.lagged_rain_mm, smoothed);
    }
}

/// Rainfall relative to a normal year, dealt in a seeded order: every eight years hold two droughts and two wet years.
fn rain_year_factors(seed: u64) -> [f64; 8] {
    let mut factors = [0.45, 0.6, 0.8, 0.95, 1.05, 1.15, 1.35, 1.6];
    for last in (1..factors.len()).rev() {
        let other = mix(seed, &[text("rain year"), last as u64]) as usize % (last + 1);
        factors.swap(last, other);
    }
    factors
}

fn rain_year(day: NaiveDate, climate: &Climate) -> usize {
    let next = climate.first_month_of_rain_year > 1 && day.month() >= climate.first_month_of_rain_year;
    day.year().unsigned_abs() as usize + usize::from(next)
}

fn yearly(doy: f64, peak_doy: f64) -> f64 {
    (std::f64::consts::TAU * (doy - peak_doy) / 365.25).cos()
}

/// Standard normal noise that forgets with a time constant in days.
struct Memory {
    seed: u64,
    keep: f64,
    state: f64,
}

impl Memory {
    fn new(seed: u64, name: &str, days: f64) -> Self {
        let seed = mix(seed, &[text(name)]);
        Self { seed, keep: (-1.0 / days).exp(), state: gauss(seed) }
    }

    fn next(&mut self, index: usize) -> f64 {
        let fresh = gauss(mix(self.seed, &[index as u64]));
        self.state = self.keep * self.state + (1.0 - self.keep * self.keep).sqrt() * fresh;
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn year(series: &Series, year: i32) -> Vec<Weather> {
        series
            .days
            .iter()
            .zip(first_day().iter_days())
            .filter(|(_, d)| d.year() == year)
            .map(|(w, _)| *w)
            .collect()
    }

    #[test]
    fn climates_are_plausible_and_years_differ() {
        for region in Region::ALL {
            let series = Series::new(42, region);
            let totals: Vec<f64> =
                (2016..=2022).map(|y| year(&series, y).iter().map(|d| d.rain_mm).sum()).collect();
            let (low, high) =
                (totals.iter().cloned().fold(f64::MAX, f64::min), totals.iter().cloned().fold(0.0, f64::max));
            println!("{region} {totals:?}");
            assert!(low > 100.0 && high < 1800.0 && high > 1.5 * low, "{region} {totals:?}");
            for day in &series.days {
                assert!((0.0..=1.0).contains(&day.drive) && (0.0..=0.5).contains(&day.soil_root_zone));
                assert!(day.solar_j_m2 > 0.0 && day.potential_evaporation_mm > 0.0);
            }
        }
    }

    #[test]
    fn drives_are_those_of_the_days_before() {
        let series = Series::new(42, Region::Africa);
        let day = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).unwrap();
        let drive = |date| series.on(date).unwrap().drive;
        let found = series.delayed_drives(day(2020, 3, 1)).unwrap();
        assert_eq!(
            found.map(f64::to_bits)[..2],
            [day(2020, 3, 1), day(2020, 2, 25)].map(drive).map(f64::to_bits)
        );
        // 60 days before 1 March of a leap year.
        assert_eq!(found[DRIVES - 1].to_bits(), drive(day(2020, 1, 1)).to_bits());
        assert_eq!(series.delayed_drives(first_day()).unwrap()[DRIVES - 1], drive(first_day()));
        assert!(series.delayed_drives(day(2023, 1, 1)).is_none());
    }

    #[test]
    fn seasons_go_round_in_a_year_and_follow_each_other() {
        let series = Series::new(42, Region::Europe);
        let on = |days: u64| series.seasonal_drives(first_day() + chrono::Days::new(days)).unwrap();
        assert_eq!(on(0)[0], 1.0);
        // A quarter and half of 365.25 days are between two days.
        assert!((on(91)[0] - 0.5).abs() < 0.01 && on(183)[0] < 1e-4 && on(1461)[0] == 1.0);
        // A thirteenth of a year is 28.1 days.
        assert!((on(128)[1] - on(100)[0]).abs() < 1e-3);
    }

    #[test]
    fn ten_days_change_the_drive() {
        for region in Region::ALL {
            let series = Series::new(42, region);
            let drives: Vec<f64> = series.days[400..].iter().step_by(10).map(|d| d.drive).collect();
            let change = drives.windows(2).map(|w| (w[1] - w[0]).abs()).sum::<f64>() / drives.len() as f64;
            let range =
                drives.iter().cloned().fold(0.0, f64::max) - drives.iter().cloned().fold(1.0, f64::min);
            println!("{region} mean change in ten days {change:.3}, range {range:.3}");
            assert!(change > 0.03 && range > 0.5, "{region} {change} {range}");
        }
    }

    #[test]
    fn seasons_are_in_their_hemisphere() {
        let mean_rain = |region: Region, month: u32| {
            let series = Series::new(42, region);
            let days: Vec<f64> = series
                .days
                .iter()
                .zip(first_day().iter_days())
                .filter(|(_, d)| d.month() == month)
                .map(|(w, _)| w.rain_mm)
                .collect();
            days.iter().sum::<f64>() / days.len() as f64
        };
        assert!(mean_rain(Region::Africa, 1) > 10.0 * mean_rain(Region::Africa, 7).max(0.01));
        let july = Series::new(42, Region::Europe)
            .on(NaiveDate::from_ymd_opt(2020, 7, 15).unwrap())
            .copied()
            .unwrap();
        let january = Series::new(42, Region::Europe)
            .on(NaiveDate::from_ymd_opt(2020, 1, 15).unwrap())
            .copied()
            .unwrap();
        assert!(july.smoothed_temperature_c > january.smoothed_temperature_c + 8.0);
        assert!(Series::new(42, Region::Europe).on(NaiveDate::from_ymd_opt(2023, 1, 1).unwrap()).is_none());
    }
}
