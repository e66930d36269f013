//! The previous year: what the same pixel was like at the same time one year before.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use ndarray::{Array5, ArrayD};

use crate::baseline::context_mean;
use crate::data::windows::{Window, Windows};
use crate::data::{Batch, DataSpec};
use crate::error::Error;

/// Days of a year.
const YEAR: i32 = 365;
/// A step further away than this says nothing about a day.
const NEAR_DAYS: i32 = 15;

/// What Level 2 holds of each cube: its earlier samples hold its previous year.
pub(crate) struct PreviousYear<'a>(pub(crate) &'a Windows);

impl PreviousYear<'_> {
    /// `[1, target, channel, y, x]` for the only sample of a batch, linear between the stored steps around each day of
    /// the year before; stored values are filled, so that clouds leave no holes. The mean of the pixel's context where
    /// Level 2 does not hold the cube at that time, or only after the context's end.
    ///
    /// # Errors
    /// [`Error::Files`] if a store cannot be read.
    pub(crate) fn forecast(&self, cube: &str, batch: &Batch, spec: &DataSpec) -> Result<Array5<f32>, Error> {
        let mut forecast = context_mean(batch, spec);
        let windows = self.0.of(cube);
        let known_until = batch.dates[[0, spec.context_steps - 1]];
        for (c, channel) in spec.dynamic.iter().enumerate() {
            let mut series: BTreeMap<usize, ArrayD<f32>> = BTreeMap::new();
            for t in 0..spec.target_steps {
                let day = batch.dates[[0, spec.context_steps + t]] - YEAR;
                for (window, step, weight) in around(windows, day, known_until) {
                    let values = match series.entry(window) {
                        Entry::Occupied(known) => known.into_mut(),
                        Entry::Vacant(free) => free.insert(self.0.series(&windows[window], channel)?),
                    };
                    let (rows, cols) = (forecast.dim().3, forecast.dim().4);
                    for y in 0..rows {
                        for x in 0..cols {
                            let value = values[[0, step, y, x]] * weight.part;
                            let cell = &mut forecast[[0, t, c, y, x]];
                            if value.is_finite() {
                                *cell = if weight.first { value } else { *cell + value };
                            }
                        }
                    }
                }
            }
        }
        Ok(forecast)
    }
}

/// A stored step's share of a day.
struct Weight {
    part: f32,
    first: bool,
}

/// The stored steps before and after a day, as far as they are near and known: window, step, share.
fn around(windows: &[Window], day: i32, known_until: i32) -> Vec<(usize, usize, Weight)> {
    let steps = windows
        .iter()
        .enumerate()
        .flat_map(|(w, window)| window.dates.iter().enumerate().map(move |(t, &date)| (date, w, t)));
    let near: Vec<(i32, usize, usize)> =
        steps.filter(|(date, ..)| (date - day).abs() <= NEAR_DAYS && *date <= known_until).collect();
    let before = near.iter().filter(|(date, ..)| *date <= day).max_by_key(|(date, ..)| *date);
    let after = near.iter().filter(|(date, ..)| *date > day).min_by_key(|(date, ..)| *date);
    let whole = |&(_, w, t): &(i32, usize, usize)| vec![(w, t, Weight { part: 1.0, first: true })];
    match (before, after) {
        (Some(before), Some(after)) => {
            let part = (day - before.0) as f32 / (after.0 - before.0) as f32;
            vec![
                (before.1, before.2, Weight { part: 1.0 - part, first: true }),
                (after.1, after.2, Weight { part, first: false }),
            ]
        }
        (Some(only), None) | (None, Some(only)) => whole(only),
        (None, None) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::dataset::Dataset;
    use minicube::Split;
    use minicube::testing::tiny_level2;

    #[test]
    fn the_year_before_lies_between_two_steps_of_ten_days() {
        let dir = tempfile::tempdir().unwrap();
        let level2 = tiny_level2(dir.path(), 2, 50, 4).unwrap();
        let spec = DataSpec {
            dynamic: vec!["kndvi".into(), "red".into()],
            context_steps: 40,
            target_steps: 10,
            ..DataSpec::default()
        };
        let samples = Dataset::open(&level2, Split::Val, &spec).unwrap();
        let batch = samples.batch(&[1], None).unwrap();
        let (cube, row) = samples.place(1);
        let id = &cube.read_strings("cube_id").unwrap()[row];
        let windows = Windows::open(&level2).unwrap();
        let found = PreviousYear(&windows).forecast(id, &batch, &spec).unwrap();
        // 365 days before step 40 + t is half-way between steps 3 + t and 4 + t.
        for ((_, t, c, y, x), &value) in found.indexed_iter() {
            let at = |step: usize| batch.dynamic[[0, step, c, y, x]];
            assert!((value - (at(3 + t) + at(4 + t)) / 2.0).abs() < 1e-6, "{t} {c} {y} {x}");
        }
        // Of a cube that Level 2 does not hold, nothing is known but the context.
        let unknown = PreviousYear(&windows).forecast("nowhere", &batch, &spec).unwrap();
        assert_eq!(unknown, context_mean(&batch, &spec));
    }

    #[test]
    fn steps_after_the_context_are_not_looked_at() {
        let windows = [Window { store: 0, row: 0, dates: vec![100, 110, 120] }];
        let parts = |day, until| {
            around(&windows, day, until).iter().map(|(_, t, w)| (*t, w.part)).collect::<Vec<_>>()
        };
        assert_eq!(parts(112, 200), [(1, 0.8), (2, 0.2)]);
        assert_eq!(parts(112, 119), [(1, 1.0)]);
        assert_eq!(parts(110, 200), [(1, 1.0), (2, 0.0)]);
        assert_eq!(parts(140, 200), []);
    }
}
