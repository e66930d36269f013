//! When and where the usable samples are.

use std::path::PathBuf;

use chrono::{Datelike, NaiveDate};
use minicube::{Cube, from_cf_day};

use crate::error::Error;
use crate::input::Weather;

/// Days of a year, near enough for steps of some days.
const YEAR: i32 = 365;

/// Dates and places of usable samples, by position in the weather.
#[derive(Clone, Debug)]
pub(crate) struct Calendar {
    /// Last day of each step.
    dates: Vec<Vec<NaiveDate>>,
    /// Cube of each sample.
    places: Vec<String>,
}

impl Calendar {
    /// Reads the dates of the first `steps` steps.
    ///
    /// # Errors
    /// [`Error::Files`] if a store cannot be read.
    pub(crate) fn read(stores: &[PathBuf], weather: &Weather, steps: usize) -> Result<Self, Error> {
        let (mut dates, mut places) = (Vec::new(), Vec::new());
        for path in stores {
            let cube = Cube::open(path, "level2")?;
            for days in cube.read::<i32>("date")?.outer_iter() {
                dates.push(days.iter().take(steps).map(|day| from_cf_day(*day)).collect::<Vec<_>>());
            }
            let name = if cube.has("cube_id") { "cube_id" } else { "sample_id" };
            places.extend(cube.read_strings(name)?);
        }
        let of = |sample: &usize| (dates[*sample].clone(), places[*sample].clone());
        let (dates, places) = weather.samples.iter().map(of).unzip();
        Ok(Self { dates, places })
    }

    /// All samples of the cube of one, itself among them.
    pub(crate) fn same_place(&self, position: usize) -> Vec<usize> {
        (0..self.places.len()).filter(|other| self.places[*other] == self.places[position]).collect()
    }

    /// Month of a step.
    pub(crate) fn month(&self, position: usize, step: usize) -> u32 {
        self.dates[position][step].month()
    }

    /// All steps of some samples that lie in a month, as positions and steps.
    pub(crate) fn of_month(&self, positions: &[usize], month: u32) -> Vec<(usize, usize)> {
        let steps = |position: &usize| {
            let position = *position;
            let own = (0..self.dates[position].len()).filter(move |t| self.month(position, *t) == month);
            own.map(move |t| (position, t))
        };
        positions.iter().flat_map(steps).collect()
    }

    /// The step of some samples that lies nearest to the same day of another year, at most `days` off; nearer years first.
    pub(crate) fn other_year(
        &self,
        positions: &[usize],
        position: usize,
        step: usize,
        days: i32,
    ) -> Option<(usize, usize)> {
        let own = self.dates[position][step];
        let mut best: Option<((i32, i32), (usize, usize))> = None;
        for other in positions {
            for (t, date) in self.dates[*other].iter().enumerate() {
                let gap = (*date - own).num_days() as i32;
                let years = (gap.abs() + YEAR / 2) / YEAR;
                let off = (gap.abs() - years * YEAR).abs();
                if years > 0 && off <= days && best.is_none_or(|(least, _)| (years, off) < least) {
                    best = Some(((years, off), (*other, t)));
                }
            }
        }
        best.map(|(_, found)| found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three samples of one cube from 2019 to 2021, each of three steps, and one elsewhere.
    fn calendar() -> Calendar {
        let dates = |year: i32| {
            [(1, 20), (1, 30), (2, 9)]
                .map(|(month, day)| NaiveDate::from_ymd_opt(year, month, day).unwrap())
                .to_vec()
        };
        let places = ["a", "a", "a", "b"].map(str::to_owned).to_vec();
        Calendar { dates: [2019, 2020, 2021, 2020].map(dates).to_vec(), places }
    }

    #[test]
    fn other_years_are_found_at_the_same_place() {
        let calendar = calendar();
        let pool = calendar.same_place(0);
        assert_eq!(pool, [0, 1, 2]);
        assert_eq!(calendar.other_year(&pool, 0, 1, 5), Some((1, 1)));
        assert_eq!(calendar.other_year(&pool, 2, 2, 5), Some((1, 2)));
        assert_eq!(calendar.other_year(&calendar.same_place(3), 3, 0, 5), None);
        assert_eq!(calendar.of_month(&[3, 0], 1), [(3, 0), (3, 1), (0, 0), (0, 1)]);
        assert_eq!(calendar.month(0, 2), 2);
    }
}
