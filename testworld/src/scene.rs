//! The Sentinel-2 archive: which scenes exist, and what is special about each.

use chrono::{Datelike, Duration, NaiveDate, NaiveDateTime};

use crate::Region;
use crate::hash::{gauss, mix, text, uniform};
use crate::weather::Series;

/// Days between two scenes of a region.
pub const REVISIT_DAYS: i64 = 5;

/// Largest difference, in reflectance, between a clear pixel and the truth: sensor noise and rounding.
pub const NOISE_LIMIT: f64 = 0.0036;

/// Reflectance that the first processing of a reprocessed scene has too much: use the newer one.
pub const SUPERSEDED_BIAS: f64 = 0.02;

/// First day on which scenes are processed with baseline 04.00 and its +1000 offset.
#[must_use]
pub fn baseline_change() -> NaiveDate {
    NaiveDate::from_ymd_opt(2022, 1, 25).unwrap_or_default()
}

/// One Level-2A product.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// Item id as in Earth Search: `S2A_35KMQ_20210104_0_L2A`.
    pub id: String,
    /// The region it shows.
    pub region: Region,
    /// Day of acquisition (UTC).
    pub date: NaiveDate,
    /// Moment of acquisition (UTC), to the millisecond.
    pub datetime: NaiveDateTime,
    /// `sentinel-2a` or `sentinel-2b`.
    pub platform: &'static str,
    /// Relative orbit number.
    pub orbit: u32,
    /// Processing baseline, e.g. `04.00`.
    pub baseline: &'static str,
    /// Moment of processing (UTC).
    pub processed: NaiveDateTime,
    /// 0 for the first processing, 1 for a reprocessed one.
    pub sequence: u32,
    /// Item property `earthsearch:boa_offset_applied`: true where the provider has taken the +1000 off.
    pub offset_applied: bool,
    /// Number that was added to `reflectance × 10000` in the stored pixels: 1000 or 0.
    pub stored_offset: u16,
    /// Share of the active window under cloud (SCL 8, 9, 10), 0 to 1.
    pub cloud_share: f64,
    /// True for the first processing of a scene that was reprocessed: its reflectance is [`SUPERSEDED_BIAS`] too high.
    pub superseded: bool,
    pub(crate) seed: u64,
}

/// Every scene of a region in order of date, the older processing of a day first.
pub(crate) fn archive(seed: u64, region: Region, weather: &Series) -> Vec<Scene> {
    let seed = mix(seed, &[text("scene"), region.index() as u64]);
    let mut scenes = Vec::new();
    for (number, date) in overpasses(region).enumerate() {
        if is_missing(date) {
            continue;
        }
        let scene = first_processing(seed, region, number, date, weather);
        if is_reprocessed(date) {
            let again = reprocessed(&scene);
            scenes.push(Scene { superseded: true, ..scene });
            scenes.push(again);
        } else {
            scenes.push(scene);
        }
    }
    scenes
}

/// Days on which a satellite passes, whether or not a scene exists.
pub(crate) fn overpasses(region: Region) -> impl Iterator<Item = NaiveDate> {
    let first_day = match region {
        Region::Africa => 3,
        Region::Europe => 1,
    };
    let first = NaiveDate::from_ymd_opt(2016, 1, first_day).unwrap_or_default();
    (0..)
        .map(move |k| first + Duration::days(REVISIT_DAYS * k))
        .take_while(|date| *date <= crate::weather::last_day())
}

/// The first overpass from 10 June of every year was lost.
pub(crate) fn is_missing(date: NaiveDate) -> bool {
    is_first_overpass_from(date, 6, 10)
}

/// The first overpass from 15 February of every year before 2022 was processed twice.
fn is_reprocessed(date: NaiveDate) -> bool {
    date.year() < 2022 && is_first_overpass_from(date, 2, 15)
}

fn is_first_overpass_from(date: NaiveDate, month: u32, day: u32) -> bool {
    NaiveDate::from_ymd_opt(date.year(), month, day)
        .is_some_and(|from| (0..REVISIT_DAYS).contains(&(date - from).num_days()))
}

fn first_processing(seed: u64, region: Region, number: usize, date: NaiveDate, weather: &Series) -> Scene {
    let draw = |word: &str| mix(seed, &[number as u64, text(word)]);
    let second_orbit = number % 2 == 1;
    let launched = NaiveDate::from_ymd_opt(2017, 7, 1).is_some_and(|launch| date >= launch);
    let platform = if second_orbit && launched { "sentinel-2b" } else { "sentinel-2a" };
    let (hour, minute, orbits) = match region {
        Region::Africa => (8, 12, [92, 135]),
        Region::Europe => (10, 20, [22, 65]),
    };
    let millisecond = (draw("millisecond") % 1000) as u32;
    let second = (draw("second") % 60) as u32;
    let datetime = date.and_hms_milli_opt(hour, minute, second, millisecond).unwrap_or_default();
    let after_change = date >= baseline_change();
    let offset_applied = after_change && second_orbit;
    let cloudiness = weather.on(date).map_or(0.5, |day| day.cloudiness);
    Scene {
        id: scene_id(platform, region, date, 0),
        region,
        date,
        datetime,
        platform,
        orbit: orbits[usize::from(second_orbit)],
        baseline: first_baseline(date),
        processed: datetime + Duration::seconds(20_000 + (draw("processing") % 9_000) as i64),
        sequence: 0,
        offset_applied,
        stored_offset: if after_change && !offset_applied { 1000 } else { 0 },
        cloud_share: cloud_share(cloudiness, draw("cloud")),
        superseded: false,
        seed: draw("pixels"),
    }
}

fn reprocessed(first: &Scene) -> Scene {
    let years_later =
        NaiveDate::from_ymd_opt(2023, 6, 18).unwrap_or_default().and_time(first.datetime.time());
    Scene {
        id: scene_id(first.platform, first.region, first.date, 1),
        baseline: "05.00",
        processed: years_later,
        sequence: 1,
        offset_applied: true,
        ..first.clone()
    }
}

fn scene_id(platform: &str, region: Region, date: NaiveDate, sequence: u32) -> String {
    let letter = if platform.ends_with('b') { 'B' } else { 'A' };
    format!("S2{letter}_{}_{}_{sequence}_L2A", region.tile_id(), date.format("%Y%m%d"))
}

/// Clear and overcast days are both common; what lies between is less so.
fn cloud_share(cloudiness: f64, bits: u64) -> f64 {
    let share = cloudiness - 0.12 + 0.38 * gauss(bits);
    match share {
        s if s < 0.04 => 0.0,
        s if s > 0.95 => 1.0,
        s => (s + 0.02 * uniform(bits)).min(1.0),
    }
}

/// The operational baseline of a day.
fn first_baseline(date: NaiveDate) -> &'static str {
    const CHANGES: [((i32, u32, u32), &str); 8] = [
        ((2022, 1, 25), "04.00"),
        ((2021, 6, 30), "03.01"),
        ((2021, 3, 30), "03.00"),
        ((2020, 2, 4), "02.14"),
        ((2019, 7, 8), "02.13"),
        ((2018, 11, 6), "02.11"),
        ((2017, 10, 23), "02.06"),
        ((2015, 1, 1), "02.04"),
    ];
    let since = |&&((y, m, d), _): &&((i32, u32, u32), &str)| {
        NaiveDate::from_ymd_opt(y, m, d).is_some_and(|change| date >= change)
    };
    CHANGES.iter().find(since).map_or("02.04", |(_, baseline)| baseline)
}
