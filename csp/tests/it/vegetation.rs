//! The vegetation of the synthetic Earth as a model: what it truly answers to weather, from means over ten days.

use csp::{Error, Predictor};
use ndarray::Array5;
use testworld::{LONGEST_RAIN_LAG, Region, TEMPERATURE_DAYS, drive, rain_lag_weight};
use x5_dl::{Batch, DataSpec};

/// Days of a step.
const STEP_DAYS: usize = 10;

/// NDVI = `FLOOR` + `GAIN` × drive at every pixel: between those of shrubs and of grass.
pub(crate) const FLOOR: f64 = 0.2;
pub(crate) const GAIN: f64 = 0.45;

/// A forecaster that knows.
pub(crate) struct TrueVegetation {
    region: Region,
    spec: DataSpec,
}

impl TrueVegetation {
    /// Of a region, from the inputs `tp_mean`, `t2m_mean` and `sp_mean`, in m a day, K and Pa.
    pub(crate) fn new(region: Region, context_steps: usize, target_steps: usize) -> TrueVegetation {
        let spec = DataSpec {
            dynamic: vec!["ndvi".to_owned()],
            weather: ["tp_mean", "t2m_mean", "sp_mean"].map(str::to_owned).to_vec(),
            statics: Vec::new(),
            context_steps,
            target_steps,
        };
        TrueVegetation { region, spec }
    }
}

impl Predictor for TrueVegetation {
    fn spec(&self) -> &DataSpec {
        &self.spec
    }

    fn identity(&self) -> String {
        format!("true vegetation of {}", self.region)
    }

    fn predict(&self, batch: &Batch) -> Result<Array5<f32>, Error> {
        let (rows, cols) = (batch.valid.dim().2, batch.valid.dim().3);
        let DataSpec { context_steps, target_steps, .. } = self.spec;
        let (rain, temperature) = (rain_shares(), temperature_shares());
        let mut frames = Array5::zeros((batch.len(), target_steps, 1, rows, cols));
        for (sample, mut frame) in frames.outer_iter_mut().enumerate() {
            for t in 0..target_steps {
                // What lies before the first step is taken to be as that.
                let past = |input: usize, shares: &[f64]| -> f64 {
                    let at = |ago: usize| {
                        batch.weather[[sample, (context_steps + t).saturating_sub(ago), input, 0, 0]]
                    };
                    shares.iter().enumerate().map(|(ago, share)| share * f64::from(at(ago))).sum()
                };
                let mm = past(0, &rain) * 1e3 * STEP_DAYS as f64;
                let ndvi = FLOOR + GAIN * drive(self.region, mm, past(1, &temperature) - 273.15);
                frame.index_axis_mut(ndarray::Axis(0), t).fill(ndvi as f32);
            }
        }
        Ok(frames)
    }
}

/// Part of each step, from the own one backwards, in the lagged rain at the own one's last day.
pub(crate) fn rain_shares() -> Vec<f64> {
    let mut shares = vec![0.0; LONGEST_RAIN_LAG / STEP_DAYS + 1];
    (0..=LONGEST_RAIN_LAG).for_each(|lag| shares[lag / STEP_DAYS] += rain_lag_weight(lag));
    shares
}

/// The same in the smoothed temperature.
fn temperature_shares() -> Vec<f64> {
    let mut shares = vec![0.0; (TEMPERATURE_DAYS - 1) / STEP_DAYS + 1];
    (0..TEMPERATURE_DAYS).for_each(|ago| shares[ago / STEP_DAYS] += 1.0 / TEMPERATURE_DAYS as f64);
    shares
}
