//! How a forecast does beside what recurs every year, for cubes of which Level 2 holds several years.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chrono::Datelike;
use minicube::{Cube, from_cf_day};
use ndarray::{Array1, Array2, Array3, Array4, Axis};
use serde::{Deserialize, Serialize};

use crate::compare::frames;
use crate::data::dataset::Dataset;
use crate::data::windows::{Window, Windows};
use crate::error::Error;
use crate::forecast_store::layer;
use crate::plan::ModelPlan;
use crate::score::error_by_lead::kndvi;
use crate::score::seasonal::{interannual_std, mean_seasonal_cycle};

/// Tens of days of a year.
const BINS: usize = 37;
const BIN_DAYS: u32 = 10;

/// A forecast beside the mean seasonal cycle of its own pixels, of kNDVI on vegetation. The cycle is the mean over all years
/// that Level 2 holds of a cube, those that are scored among them, by tens of days since 1 January of the steps' last days;
/// only tens that two years have count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeasonalScore {
    /// Cubes with more than one year.
    pub cubes: usize,
    /// Standard deviation between the years, mean over steps and pixels.
    pub interannual_std: f64,
    /// Mean absolute anomaly of the observed target values: the error of forecasting the cycle itself.
    pub anomaly: f64,
    /// Mean absolute error of the forecast on the same values.
    pub mae: f64,
    /// Pearson's correlation of the forecast's anomalies with the observed ones; none where one of them does not vary.
    pub anomaly_correlation: Option<f64>,
    /// Values compared.
    pub count: u64,
}

/// The score of the forecasts of a split, which are those from `first` on in the store; `None` where no cube has two years.
///
/// # Errors
/// [`Error::Files`] if a store cannot be read.
pub(crate) fn seasonal_score(
    plan: &ModelPlan,
    windows: &Windows,
    dataset: &Dataset,
    store: &Path,
    first: usize,
) -> Result<Option<SeasonalScore>, Error> {
    let store = Cube::open(store, "forecast")?;
    let mut samples: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (sample, cube) in
        store.read_strings("cube_id")?.into_iter().enumerate().skip(first).take(dataset.len())
    {
        samples.entry(cube).or_default().push(sample);
    }
    let mut sums = Sums::default();
    for (cube, samples) in &samples {
        let Some(years) = Years::read(windows, windows.of(cube), plan)? else { continue };
        sums.cubes += 1;
        sums.add_spread(&years, &vegetation(&store, samples[0], plan)?);
        for &sample in samples {
            sums.add_sample(&years, &store, sample, plan)?;
        }
    }
    Ok(sums.finish())
}

/// kNDVI of a cube by year.
struct Years {
    /// `[bin, pixel]`; NaN where fewer than two years have the bin.
    cycle: Array2<f64>,
    /// `[pixel]`
    spread: Array1<f64>,
}

impl Years {
    /// `None` where no bin is in two years.
    fn read(windows: &Windows, of: &[Window], plan: &ModelPlan) -> Result<Option<Years>, Error> {
        let place = |day: i32| {
            let date = from_cf_day(day);
            (date.year(), (date.ordinal0() / BIN_DAYS) as usize)
        };
        let days: BTreeSet<i32> = of.iter().flat_map(|window| window.dates.iter().copied()).collect();
        let mut in_years = [0usize; BINS];
        for (_, bin) in days.iter().map(|&day| place(day)).collect::<BTreeSet<_>>() {
            in_years[bin] += 1;
        }
        if in_years.iter().all(|&count| count < 2) {
            return Ok(None);
        }
        let years: Vec<i32> =
            days.iter().map(|&day| place(day).0).collect::<BTreeSet<_>>().into_iter().collect();
        let mut sums: Option<(Array3<f64>, Array3<f64>)> = None;
        let mut seen = BTreeSet::new();
        for window in of {
            let frames = window_kndvi(windows, window, plan)?;
            let pixels = frames.len() / frames.len_of(Axis(0)).max(1);
            let shape = (years.len(), BINS, pixels);
            let (sum, count) = sums.get_or_insert_with(|| (Array3::zeros(shape), Array3::zeros(shape)));
            for (step, &day) in window.dates.iter().enumerate().filter(|(_, day)| seen.insert(**day)) {
                let (year, bin) = place(day);
                let year = years.iter().position(|&known| known == year).unwrap_or(0);
                for (pixel, &value) in frames.index_axis(Axis(0), step).iter().enumerate() {
                    if value.is_finite() {
                        sum[[year, bin, pixel]] += f64::from(value);
                        count[[year, bin, pixel]] += 1.0;
                    }
                }
            }
        }
        Ok(sums.map(|(sum, count)| {
            let mut series = sum / count;
            for (mut bin, _) in series.axis_iter_mut(Axis(1)).zip(in_years).filter(|(_, years)| *years < 2) {
                bin.fill(f64::NAN);
            }
            Years { cycle: mean_seasonal_cycle(series.view()), spread: interannual_std(series.view()) }
        }))
    }
}

/// kNDVI `[step, y, x]` of a sample of Level 2.
fn window_kndvi(windows: &Windows, window: &Window, plan: &ModelPlan) -> Result<Array3<f32>, Error> {
    let channels = plan
        .data
        .dynamic
        .iter()
        .map(|channel| windows.series(window, channel))
        .collect::<Result<Vec<_>, _>>()?;
    let shape = channels.first().map_or(vec![0; 4], |channel| channel.shape().to_vec());
    let mut stacked = Array4::zeros((shape[1], channels.len(), shape[2], shape[3]));
    for (mut into, channel) in stacked.axis_iter_mut(Axis(1)).zip(&channels) {
        into.assign(&channel.index_axis(Axis(0), 0));
    }
    kndvi(stacked.view(), &plan.data.dynamic, plan.scoring.ndvi_epsilon).ok_or_else(|| Error::NoVariable {
        path: PathBuf::from(&plan.name),
        variable: "kndvi, ndvi, or red and nir".into(),
        found: plan.data.dynamic.join(", "),
    })
}

/// Whether each pixel of a sample counts.
fn vegetation(store: &Cube, sample: usize, plan: &ModelPlan) -> Result<Option<Vec<bool>>, Error> {
    let classes = &plan.scoring.vegetation;
    if classes.is_empty() || !store.has("static/landcover") {
        return Ok(None);
    }
    let cover = layer(store, "static/landcover", sample)?;
    Ok(Some(cover.iter().map(|&value| classes.iter().any(|&class| f32::from(class) == value)).collect()))
}

#[derive(Default)]
struct Sums {
    cubes: usize,
    pixels: u64,
    spread: f64,
    count: u64,
    anomaly: f64,
    error: f64,
    /// Sums of both anomalies, of their squares, of their product.
    observed: f64,
    forecast: f64,
    observed_squared: f64,
    forecast_squared: f64,
    product: f64,
}

impl Sums {
    fn add_spread(&mut self, years: &Years, vegetation: &Option<Vec<bool>>) {
        for (pixel, spread) in years.spread.iter().enumerate() {
            if spread.is_finite() && vegetation.as_ref().is_none_or(|counts| counts[pixel]) {
                self.spread += spread;
                self.pixels += 1;
            }
        }
    }

    fn add_sample(
        &mut self,
        years: &Years,
        store: &Cube,
        sample: usize,
        plan: &ModelPlan,
    ) -> Result<(), Error> {
        let (forecast, truth) = (frames(store, "", sample, plan)?, frames(store, "truth_", sample, plan)?);
        let mask = layer(store, "mask", sample)?;
        let counts = vegetation(store, sample, plan)?;
        let steps = truth.len_of(Axis(0));
        let dates = store.read_region::<i32>("date", &[sample as u64, 0], &[1, steps as u64])?;
        for (step, &day) in dates.iter().enumerate() {
            let cycle = years.cycle.row((from_cf_day(day).ordinal0() / BIN_DAYS) as usize);
            let of =
                |frames: &Array3<f32>| frames.index_axis(Axis(0), step).iter().copied().collect::<Vec<f32>>();
            let (forecast, truth, mask) = (of(&forecast), of(&truth), of(&mask));
            for (pixel, &usual) in cycle.iter().enumerate() {
                let counts = mask[pixel] == 0.0 && counts.as_ref().is_none_or(|counts| counts[pixel]);
                if counts {
                    self.add(f64::from(truth[pixel]) - usual, f64::from(forecast[pixel]) - usual);
                }
            }
        }
        Ok(())
    }

    /// One value: the observed and the forecast anomaly.
    fn add(&mut self, observed: f64, forecast: f64) {
        if !(observed.is_finite() && forecast.is_finite()) {
            return;
        }
        self.count += 1;
        self.anomaly += observed.abs();
        self.error += (forecast - observed).abs();
        self.observed += observed;
        self.forecast += forecast;
        self.observed_squared += observed * observed;
        self.forecast_squared += forecast * forecast;
        self.product += observed * forecast;
    }

    fn finish(&self) -> Option<SeasonalScore> {
        if self.count == 0 {
            return None;
        }
        let n = self.count as f64;
        let spread_of = |sum: f64, squares: f64| (squares - sum * sum / n).max(0.0).sqrt();
        let both =
            spread_of(self.observed, self.observed_squared) * spread_of(self.forecast, self.forecast_squared);
        let correlation = (self.product - self.observed * self.forecast / n) / both;
        Some(SeasonalScore {
            cubes: self.cubes,
            interannual_std: self.spread / self.pixels as f64,
            anomaly: self.anomaly / n,
            mae: self.error / n,
            anomaly_correlation: (both > 1e-12).then_some(correlation),
            count: self.count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Observed anomalies .1, −.1, .2, 0 and forecast ones of half their size and .05 more.
    #[test]
    fn sums_by_hand() {
        let mut sums = Sums { cubes: 1, pixels: 2, spread: 0.3, ..Sums::default() };
        for observed in [0.1, -0.1, 0.2, 0.0] {
            sums.add(observed, observed / 2.0 + 0.05);
        }
        sums.add(f64::NAN, 0.0);
        let found = sums.finish().unwrap();
        assert!((found.anomaly - 0.1).abs() < 1e-12 && (found.interannual_std - 0.15).abs() < 1e-12);
        // |.05 − a / 2|: 0, .1, .05, .05
        assert!((found.mae - 0.05).abs() < 1e-12 && found.count == 4);
        assert!((found.anomaly_correlation.unwrap() - 1.0).abs() < 1e-9);
        let mut flat = Sums::default();
        flat.add(0.1, 0.0);
        flat.add(0.2, 0.0);
        assert_eq!(flat.finish().unwrap().anomaly_correlation, None);
        assert_eq!(Sums::default().finish(), None);
    }
}
