//! A model of known answer: NDVI is a parabola of each weather input's mean, so that its sensitivities, curves and
//! optima can be written down. For tests, and for trying the pipeline without a network.

use ndarray::{Array5, Axis};
use x5_dl::{Batch, DataSpec};

use crate::error::Error;
use crate::predictor::Predictor;

/// One term of a [`ToyModel`]: `linear · m + quadratic · m²`, `m` the mean of the input over steps and window.
#[derive(Clone, Debug)]
pub struct Term {
    /// Weather input.
    pub channel: String,
    /// Factor of the mean, per Level-2 unit.
    pub linear: f64,
    /// Factor of the squared mean.
    pub quadratic: f64,
}

/// NDVI = base + the sum of its terms, the same at every pixel and step, given as red and nir reflectance.
#[derive(Clone, Debug)]
pub struct ToyModel {
    /// What a batch must contain; `dynamic` must be red and nir.
    pub spec: DataSpec,
    /// NDVI without weather.
    pub base: f64,
    /// Its dependence on weather.
    pub terms: Vec<Term>,
}

impl ToyModel {
    /// A model of red and nir that reads this weather.
    pub fn new(
        weather: &[&str],
        context_steps: usize,
        target_steps: usize,
        base: f64,
        terms: Vec<Term>,
    ) -> Self {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        let spec = DataSpec {
            dynamic: names(&["red", "nir"]),
            weather: names(weather),
            statics: Vec::new(),
            context_steps,
            target_steps,
        };
        Self { spec, base, terms }
    }

    /// NDVI from the mean of each weather input.
    pub fn ndvi(&self, mean_of: impl Fn(&str) -> f64) -> f64 {
        self.terms.iter().fold(self.base, |sum, term| {
            let mean = mean_of(&term.channel);
            sum + term.linear * mean + term.quadratic * mean * mean
        })
    }
}

impl Predictor for ToyModel {
    fn spec(&self) -> &DataSpec {
        &self.spec
    }

    fn identity(&self) -> String {
        format!("{self:?}")
    }

    fn predict(&self, batch: &Batch) -> Result<Array5<f32>, Error> {
        let (rows, cols) = (batch.valid.dim().2, batch.valid.dim().3);
        let mut frames = Array5::zeros((batch.len(), self.spec.target_steps, 2, rows, cols));
        for (sample, mut frame) in frames.outer_iter_mut().enumerate() {
            let weather = batch.weather.index_axis(Axis(0), sample);
            let ndvi = self.ndvi(|channel| {
                let index = self.spec.weather.iter().position(|name| name == channel).unwrap_or(0);
                weather.index_axis(Axis(1), index).mapv(f64::from).mean().unwrap_or(f64::NAN)
            });
            let red = 0.1;
            frame.index_axis_mut(Axis(1), 0).fill(red as f32);
            frame.index_axis_mut(Axis(1), 1).fill((red * (1.0 + ndvi) / (1.0 - ndvi)) as f32);
        }
        Ok(frames)
    }
}
