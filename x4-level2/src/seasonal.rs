//! The climatology of single pixels: what a pixel of a test sample has been like at the same time of the training years.
//!
//! Only where place is no matter of the split, so that a pixel has training years of its own.

use std::path::Path;

use chrono::Datelike;
use minicube::{CHUNK_PX, CubeSpec, CubeWriter, DType, VarSpec, from_cf_day, to_cf_day};
use ndarray::{Array2, ArrayView2};

use crate::index::{kndvi, ndvi};
use crate::level1::Level1;
use crate::settings::Settings;
use crate::store::write_map;
use crate::{Error, FillPlan, Steps};

/// Days before and after the middle of a step in which steps of the training years count: about a month, as for the
/// climatology that GreenEarthNet scores against. Half a step where steps are longer.
const HALF_WINDOW_DAYS: i32 = 15;

/// Indices that have a climatology.
const INDICES: [&str; 2] = ["ndvi", "kndvi"];

/// The training years of a Level-1 store.
pub(crate) struct Seasonal {
    level1: Level1,
    steps: Steps,
    years: [i32; 2],
    /// Which of [`INDICES`] the samples have.
    indices: Vec<&'static str>,
}

impl Seasonal {
    /// Opens the store's training years.
    ///
    /// # Errors
    /// As [`Level1::open`].
    pub(crate) fn open(path: &Path, years: [i32; 2], settings: &Settings) -> Result<Seasonal, Error> {
        let (first, last) = settings.days_of(Some(years));
        let (first_day, step_days) = (to_cf_day(first), settings.step_days);
        let len = ((to_cf_day(last) - first_day + 1) / step_days).max(0) as usize;
        let has = |name: &&str| settings.indices.iter().any(|index| index.name == *name);
        Ok(Seasonal {
            level1: Level1::open(path)?.within(years),
            steps: Steps { first_day, step_days, len },
            years,
            indices: INDICES.into_iter().filter(has).collect(),
        })
    }

    /// Adds `climatology/<index>` to a store's layout.
    #[must_use]
    pub(crate) fn extend(
        &self,
        spec: CubeSpec,
        (rows, cols): (usize, usize),
        settings: &Settings,
    ) -> CubeSpec {
        let (steps, rows, cols) = (settings.steps as u64, rows as u64, cols as u64);
        self.indices.iter().fold(spec, |spec, index| {
            let name = format!("climatology/{index}");
            spec.var(
                VarSpec::new(&name, &["sample", "time", "y", "x"], DType::F32)
                    .chunk(&[1, steps, CHUNK_PX, CHUNK_PX])
                    .shard(&[1, steps, rows, cols])
                    .attr("grid_mapping", "crs")
                    .attr("units", "1")
                    .attr("long_name", format!("mean {index} of the training years at the same time of year"))
                    .attr("years", self.years.to_vec()),
            )
        })
    }

    /// The filled indices of a cube in the training years, `[step, pixel]` each.
    ///
    /// # Errors
    /// [`Error::Shared`] if they cannot be read.
    pub(crate) fn of_cube(&self, index: usize, settings: &Settings) -> Result<Vec<Array2<f32>>, Error> {
        let observations = self.level1.observations(index, settings)?;
        let (rows, cols) = self.level1.size;
        let plan = FillPlan::new(&self.level1.days, self.steps, settings.extrapolate).with(&settings.fill);
        let filled = plan.fill(rows * cols, settings.bands.len(), |time, pixels, valid, values| {
            observations.load(time, pixels, valid, values);
        });
        let band = |name: &str| filled.values.index_axis(ndarray::Axis(0), settings.place_of(name));
        let mut greenness = band("red").to_owned();
        greenness.zip_mut_with(&band("nir"), |red, &nir| *red = ndvi(*red, nir));
        let of = |name: &&str| if *name == "kndvi" { greenness.mapv(kndvi) } else { greenness.clone() };
        Ok(self.indices.iter().map(of).collect())
    }

    /// Writes the climatology of one sample.
    ///
    /// # Errors
    /// [`Error::Shared`] if the store cannot be written.
    pub(crate) fn write(
        &self,
        writer: &CubeWriter,
        sample: usize,
        target: &Steps,
        of_cube: &[Array2<f32>],
        size: (usize, usize),
    ) -> Result<(), Error> {
        for (name, series) in self.indices.iter().zip(of_cube) {
            let means = seasonal_mean(series.view(), &self.steps, target);
            write_map(writer, &format!("climatology/{name}"), sample, size, means.view())?;
        }
        Ok(())
    }
}

/// For each step of `target` the mean of the values of all steps, of whatever year, whose middle lies at most 15 days
/// (half a step where that is more) from the same time of year; NaN where none has a value.
///
/// # Shapes
/// - series: `[step, pixel]`, of `steps`; NaN is left out
/// - output: `[step, pixel]`, of `target`
#[must_use]
pub fn seasonal_mean(series: ArrayView2<'_, f32>, steps: &Steps, target: &Steps) -> Array2<f32> {
    let half = HALF_WINDOW_DAYS.max(steps.step_days / 2);
    let of_year =
        |steps: &Steps, k: usize| from_cf_day(steps.start(k) + steps.step_days / 2).ordinal0() as i32;
    let near = |a: i32, b: i32| {
        let apart = (a - b).abs();
        apart.min(365 - apart) <= half
    };
    let mut means = Array2::from_elem((target.len, series.ncols()), f32::NAN);
    for (k, mut means) in means.outer_iter_mut().enumerate() {
        let mut sums = vec![(0.0_f64, 0_u32); series.ncols()];
        let at = of_year(target, k);
        for (_, values) in series.outer_iter().enumerate().filter(|(j, _)| near(of_year(steps, *j), at)) {
            for (sum, &value) in sums.iter_mut().zip(values).filter(|(_, value)| value.is_finite()) {
                *sum = (sum.0 + f64::from(value), sum.1 + 1);
            }
        }
        for (mean, (sum, count)) in means.iter_mut().zip(sums) {
            *mean = (sum / f64::from(count)) as f32;
        }
    }
    means
}

#[cfg(test)]
mod tests {
    use super::*;
    use minicube::NaiveDate;

    fn steps(year: i32, len: usize) -> Steps {
        let first_day = to_cf_day(NaiveDate::from_ymd_opt(year, 1, 1).unwrap());
        Steps { first_day, step_days: 10, len }
    }

    /// Two years of 73 steps; the value is the number of the step. 2021 has its steps 0 … 36 on days 5, 15, …, 365, the
    /// second year begins with step 36 on day 365 + 0 = 1 January, so its middles are on days 0, 10, 20, …
    #[test]
    fn steps_of_the_same_time_of_both_years_count() {
        let series =
            Array2::from_shape_fn((73, 2), |(k, pixel)| if pixel == 0 { k as f32 } else { f32::NAN });
        let found = seasonal_mean(series.view(), &steps(2021, 73), &steps(2023, 36));
        // Target step 10 has its middle on day 105 (from 0): in 2021 days 95, 105, 115 are steps 9, 10, 11; in 2022
        // the middles 90, 100, 110, 120 (steps 45 … 48) are within 15 days.
        assert_eq!(found[[10, 0]], [9, 10, 11, 45, 46, 47, 48].iter().sum::<i32>() as f32 / 7.0);
        // Step 0, day 5: days 5, 15 and, around the year, 355 (10 days before 365) of 2021: steps 0, 1, 35; in 2022 days
        // 0, 10, 20 and 360: steps 36, 37, 38 and 72; and 350 (20 days before) is too far.
        let expected = [0, 1, 35, 36, 37, 38, 72].iter().sum::<i32>() as f32 / 7.0;
        assert_eq!(found[[0, 0]], expected);
        assert!(found.column(1).iter().all(|v| v.is_nan()), "no value, no mean");
    }

    #[test]
    fn long_steps_look_half_a_step_far() {
        let year = Steps { step_days: 60, ..steps(2021, 6) };
        let series = Array2::from_shape_fn((6, 1), |(k, _)| k as f32);
        let found = seasonal_mean(series.view(), &year, &Steps { step_days: 60, ..steps(2022, 6) });
        assert_eq!(found.column(0).to_vec(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    }
}
