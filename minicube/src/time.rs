//! Time: CF days, evenly spaced time axes, seasons.

use chrono::{Datelike, Days, NaiveDate};
use serde::{Deserialize, Serialize};

/// The CF unit of every date that we store.
pub const CF_DAY_UNITS: &str = "days since 1970-01-01";

/// Days from 1970-01-01 (proleptic Gregorian).
#[must_use]
pub fn to_cf_day(date: NaiveDate) -> i32 {
    date.to_epoch_days()
}

/// The date of a CF day; dates outside the calendar's range are clamped to 1970-01-01.
#[must_use]
pub fn from_cf_day(day: i32) -> NaiveDate {
    NaiveDate::from_epoch_days(day).unwrap_or_default()
}

/// Parts of a year of ten days each; the last one, from 26 or 27 December on, has five or six.
pub const TEN_DAYS_A_YEAR: usize = 37;

/// Tens of days since 1 January, 0 to 36, of a CF day.
#[must_use]
pub fn ten_days_of_year(day: i32) -> usize {
    from_cf_day(day).ordinal0() as usize / 10
}

/// An evenly spaced axis of `len` steps of `step_days`, the first of which begins on `start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeAxis {
    /// First day of the first step.
    pub start: NaiveDate,
    /// Days in a step, at least 1.
    pub step_days: u32,
    /// Number of steps.
    pub len: usize,
}

impl TimeAxis {
    /// First day of step `index`.
    #[must_use]
    pub fn step_start(&self, index: usize) -> NaiveDate {
        self.start + Days::new(index as u64 * u64::from(self.step_days))
    }

    /// Last day of step `index`, inclusive.
    #[must_use]
    pub fn step_end(&self, index: usize) -> NaiveDate {
        self.start + Days::new((index as u64 + 1) * u64::from(self.step_days) - 1)
    }

    /// The step that `date` falls in, if the axis covers it.
    #[must_use]
    pub fn index_of(&self, date: NaiveDate) -> Option<usize> {
        let days = usize::try_from((date - self.start).num_days()).ok()?;
        Some(days / self.step_days as usize).filter(|&index| index < self.len)
    }

    /// The axis from `first` to `last` (both inclusive) in whole steps; a shorter rest at the end is left out.
    #[must_use]
    pub fn covering(first: NaiveDate, last: NaiveDate, step_days: u32) -> TimeAxis {
        let days = usize::try_from((last - first).num_days() + 1).unwrap_or(0);
        TimeAxis { start: first, step_days, len: days / step_days as usize }
    }
}

/// Meteorological seasons of the northern hemisphere's naming, as the deliverable balances them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Season {
    /// December to February.
    Djf,
    /// March to May.
    Mam,
    /// June to August.
    Jja,
    /// September to November.
    Son,
}

impl Season {
    /// All four, in the order of their codes.
    pub const ALL: [Season; 4] = [Season::Djf, Season::Mam, Season::Jja, Season::Son];

    /// The season that a date falls in.
    #[must_use]
    pub fn of(date: NaiveDate) -> Season {
        Season::ALL[(date.month() % 12 / 3) as usize]
    }

    /// 0 DJF, 1 MAM, 2 JJA, 3 SON.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// `DJF`, `MAM`, `JJA` or `SON`.
    #[must_use]
    pub fn name(self) -> &'static str {
        ["DJF", "MAM", "JJA", "SON"][self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(y: i32, m: u32, d: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(y, m, d).unwrap()
    }

    /// 31 December is day 365 of a leap year, counted from 0.
    #[test]
    fn a_year_has_37_parts_of_ten_days() {
        let part = |y, m, d| ten_days_of_year(to_cf_day(date(y, m, d)));
        assert_eq!([part(2021, 1, 1), part(2021, 1, 10), part(2021, 1, 11)], [0, 0, 1]);
        assert_eq!([part(2021, 12, 26), part(2021, 12, 27), part(2020, 12, 31)], [35, 36, 36]);
    }

    #[test]
    fn cf_days_count_from_1970() {
        assert_eq!(to_cf_day(date(1970, 1, 1)), 0);
        assert_eq!(to_cf_day(date(2022, 1, 25)), 19017);
        assert_eq!(from_cf_day(19017), date(2022, 1, 25));
    }

    #[test]
    fn a_two_year_axis_has_73_ten_day_steps() {
        let axis = TimeAxis::covering(date(2021, 1, 1), date(2022, 12, 31), 10);
        assert_eq!(axis.len, 73);
        assert_eq!(axis.step_end(0), date(2021, 1, 10));
        assert_eq!(axis.index_of(date(2021, 1, 10)), Some(0));
        assert_eq!(axis.index_of(date(2021, 1, 11)), Some(1));
        assert_eq!(axis.index_of(date(2022, 12, 31)), Some(72));
        assert_eq!(axis.index_of(date(2023, 1, 1)), None);
        assert_eq!(axis.index_of(date(2020, 12, 31)), None);
    }

    #[test]
    fn december_belongs_to_djf() {
        assert_eq!(Season::of(date(2020, 12, 1)), Season::Djf);
        assert_eq!(Season::of(date(2020, 2, 29)), Season::Djf);
        assert_eq!(Season::of(date(2020, 3, 1)), Season::Mam);
        assert_eq!(Season::of(date(2020, 11, 30)).name(), "SON");
    }
}
