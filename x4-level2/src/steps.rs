//! The step axis of a sample, and where on a series it may lie.

use minicube::{NaiveDate, Season, from_cf_day, to_cf_day};
use serde::Serialize;

/// Acquisitions may begin this much after the project's first day, or end this much before its last, without the
/// axis being cut: a cloudy or missing month is no reason to lose the season balance of a whole year.
const EDGE_TOLERANCE_DAYS: i32 = 30;

const DAYS_PER_YEAR: f64 = 365.25;

/// Equal steps of days: step `k` covers the days `start(k) ..= end(k)`, which the deliverable writes as `(t-1, t]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Steps {
    /// First day of the first step (CF day).
    pub first_day: i32,
    /// Days in a step, at least 1.
    pub step_days: i32,
    /// Number of steps.
    pub len: usize,
}

impl Steps {
    /// First day of step `k`.
    #[must_use]
    pub fn start(&self, k: usize) -> i32 {
        self.first_day + k as i32 * self.step_days
    }

    /// Last day of step `k`.
    #[must_use]
    pub fn end(&self, k: usize) -> i32 {
        self.start(k + 1) - 1
    }

    /// The step that a day falls in, if the axis covers it.
    #[must_use]
    pub fn index_of(&self, day: i32) -> Option<usize> {
        let step = (day - self.first_day).div_euclid(self.step_days);
        usize::try_from(step).ok().filter(|&step| step < self.len)
    }

    /// `len` of the steps, from step `start` on.
    #[must_use]
    pub fn window(&self, start: usize, len: usize) -> Steps {
        Steps { first_day: self.start(start), len, ..*self }
    }

    /// The first of the steps, as many as make whole years of the `days` that they cover, so that every season is equally
    /// often there; all of them where that leaves fewer than `wanted`.
    #[must_use]
    pub(crate) fn whole_years(&self, days: f64, wanted: usize) -> Steps {
        let years = ((days + 1.0) / DAYS_PER_YEAR).floor();
        let whole = ((years * DAYS_PER_YEAR).round().min(days) / f64::from(self.step_days)) as usize;
        self.window(0, if whole >= wanted { whole } else { self.len })
    }

    /// The last day of every step.
    #[must_use]
    pub fn ends(&self) -> Vec<i32> {
        (0..self.len).map(|k| self.end(k)).collect()
    }

    /// The season code of every step, by its last day.
    #[must_use]
    pub fn seasons(&self) -> Vec<u8> {
        (0..self.len).map(|k| Season::of(from_cf_day(self.end(k))).code()).collect()
    }
}

/// The steps that samples may be cut from: those of the project's years, anchored on their first day, without ends
/// that no acquisition covers, and only whole years of them, so that every season is equally often there.
/// Where whole years leave fewer than `wanted` steps, all covered steps are kept.
///
/// `acquisitions` are CF days, ascending. The result may still be shorter than `wanted`.
#[must_use]
pub fn usable_steps(
    years: (NaiveDate, NaiveDate),
    acquisitions: &[i32],
    step_days: i32,
    wanted: usize,
) -> Steps {
    let (first, last) = (to_cf_day(years.0), to_cf_day(years.1));
    let days = last - first + 1;
    let all = Steps { first_day: first, step_days, len: (days / step_days).max(0) as usize };
    let inside: Vec<i32> = acquisitions.iter().copied().filter(|day| (first..=last).contains(day)).collect();
    let (Some(&from), Some(&to)) = (inside.first(), inside.last()) else {
        return Steps { len: 0, ..all };
    };
    let begin = if from - first <= EDGE_TOLERANCE_DAYS { 0 } else { all.index_of(from).unwrap_or(all.len) };
    let end =
        if last - to <= EDGE_TOLERANCE_DAYS { all.len } else { all.index_of(to).map_or(all.len, |k| k + 1) };
    let covered = end.saturating_sub(begin);

    let covered_days =
        if covered == all.len { f64::from(days) } else { covered as f64 * f64::from(step_days) };
    all.window(begin, covered).whole_years(covered_days, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(y: i32, m: u32, d: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(y, m, d).unwrap()
    }

    #[test]
    fn a_step_ends_on_its_last_day() {
        let steps = Steps { first_day: 100, step_days: 10, len: 3 };
        assert_eq!((steps.start(1), steps.end(1)), (110, 119));
        assert_eq!(steps.index_of(109), Some(0));
        assert_eq!(steps.index_of(110), Some(1));
        assert_eq!((steps.index_of(99), steps.index_of(130)), (None, None));
        assert_eq!(steps.window(1, 2).ends(), vec![119, 129]);
    }

    #[test]
    fn well_covered_years_are_kept_whole() {
        let first = to_cf_day(date(2018, 1, 1));
        let days: Vec<i32> = (0..1461).step_by(5).map(|d| first + d + 3).collect();
        let steps = usable_steps((date(2018, 1, 1), date(2021, 12, 31)), &days, 10, 45);
        assert_eq!((steps.first_day, steps.len), (first, 146));
    }

    /// 2017-08-01 to 2018-11-30: one whole year is 36 steps, too few for 45, so all 49 covered steps stay:
    /// 2017-08-01 is day 212 (step 21), 2018-11-30 day 698 (step 69).
    #[test]
    fn a_short_series_keeps_every_covered_step() {
        let (first, last) = (to_cf_day(date(2017, 8, 1)), to_cf_day(date(2018, 11, 30)));
        let days: Vec<i32> = (first..=last).step_by(3).collect();
        let years = (date(2017, 1, 1), date(2018, 12, 31));
        let steps = usable_steps(years, &days, 10, 45);
        assert_eq!((steps.first_day, steps.len), (to_cf_day(years.0) + 210, 49));
        assert_eq!(usable_steps(years, &days, 10, 30).len, 36, "one whole year");
    }

    /// Whenever the series begins and however long it is: what is left are whole years, in which each season has its days,
    /// but for a step at each of its two borders.
    #[test]
    fn whole_years_hold_every_season_equally_often() {
        let years = (date(2016, 1, 1), date(2021, 12, 31));
        let (first, last) = (to_cf_day(years.0), to_cf_day(years.1));
        for step_days in [5, 10, 16] {
            for begin in (first..first + 1000).step_by(47) {
                for end in (begin + 600..=last).step_by(101) {
                    let days: Vec<i32> = (begin..=end).step_by(4).collect();
                    let steps = usable_steps(years, &days, step_days, 20);
                    let covered = f64::from(step_days) * steps.len as f64 / DAYS_PER_YEAR;
                    let rest = (covered - covered.round()).abs() * DAYS_PER_YEAR;
                    assert!(rest <= f64::from(step_days), "{covered} years");
                    let mut counts = [0.0; 4];
                    steps.seasons().iter().for_each(|&season| counts[usize::from(season)] += 1.0);
                    for (count, days) in counts.iter().zip([90.25, 92.0, 92.0, 91.0]) {
                        let expected = days * covered.round() / f64::from(step_days);
                        let off: f64 = count - expected;
                        assert!(off.abs() <= covered.round() + 1.0, "{counts:?}, expected {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn no_acquisition_leaves_no_step() {
        assert_eq!(usable_steps((date(2018, 1, 1), date(2018, 12, 31)), &[], 10, 45).len, 0);
    }
}
