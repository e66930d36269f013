//! A trained model: a folder that knows how to forecast.

use std::path::Path;

use minicube::SCHEMA_VERSION;
use ndarray::{Array4, Array5, ArrayD, Axis, Slice, s};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::data::{Batch, DataSpec};
use crate::error::Error;
use crate::harness::backend;
use crate::harness::gradient::Network;
use crate::harness::weights::{self, Weights};
use crate::kernel;
use crate::model::{Architecture, Layout};
use crate::prepare::{self, Pixel, Preparation};

/// Pixels that a network of single pixels forecasts at once.
pub(crate) const PIXELS_AT_ONCE: usize = 4096;

/// `model.json`: enough to rebuild the network and to feed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Always `model`.
    pub minicube_schema: String,
    /// Version of this layout.
    pub schema_version: u32,
    /// Identity of the plan that trained it.
    pub plan_hash: String,
    /// Network and its sizes.
    pub architecture: Architecture,
    /// What it reads from Level 2.
    pub data: DataSpec,
    /// What is done to that before the network sees it.
    pub preparation: Preparation,
    /// Quantiles that it forecasts, ascending; the forecast is that of 0.5. None: it forecasts one value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<f64>,
    /// Optimiser steps done.
    pub steps: u64,
    /// The step whose weights were kept, by validation loss.
    pub best_step: u64,
    /// Validation loss at that step.
    pub best_validation_loss: f64,
}

/// A model that forecasts from un-normalised Level-2 batches.
pub struct Forecaster {
    pub(crate) file: ModelFile,
    pub(crate) network: Box<dyn Network>,
}

impl Forecaster {
    /// Loads `model.json` and `weights.safetensors` of a model folder.
    ///
    /// # Errors
    /// - [`Error::Io`] or [`Error::Json`] if the folder is no model of this version,
    /// - [`Error::WeightsFile`] or [`Error::WeightsMismatch`] if the weights are damaged or of another network.
    pub fn load(model_dir: &Path) -> Result<Forecaster, Error> {
        let file = ModelFile::read(model_dir)?;
        Forecaster::new(file, &Weights::read(&model_dir.join("weights.safetensors"))?)
    }

    /// A forecaster from its parts.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`] if the weights are not of this architecture.
    pub fn new(file: ModelFile, weights: &Weights) -> Result<Forecaster, Error> {
        let device = backend::device();
        let network = file.architecture.network(file.quantiles.len(), &device).loaded(weights, &device)?;
        Ok(Forecaster { file, network })
    }

    /// What a batch must contain.
    #[must_use]
    pub fn spec(&self) -> &DataSpec {
        &self.file.data
    }

    /// Names of the forecast variables, in the order of the forecast's channels.
    #[must_use]
    pub fn channels(&self) -> &[String] {
        &self.file.data.dynamic
    }

    /// The model's description.
    #[must_use]
    pub fn file(&self) -> &ModelFile {
        &self.file
    }

    /// Forecasts `[batch, target step, channel, y, x]` in the units of Level 2.
    ///
    /// The dynamic variables of the context and the weather of context *and* target steps are used; the dynamic
    /// variables of the target steps are not looked at and may be NaN.
    ///
    /// # Errors
    /// [`Error::Batch`] if the batch has other steps, channels, weather variables or layers than
    /// [`Forecaster::spec`] asks for.
    pub fn forecast(&self, batch: &Batch) -> Result<Array5<f32>, Error> {
        Ok(self.forecast_and_quantiles(batch)?.0)
    }

    /// Quantiles `[batch, target step, quantile, y, x]` of the forecast variable in the units of Level 2, as
    /// [`ModelFile::quantiles`] names them; that of 0.5 is the forecast, and none crosses another. `None` where the model
    /// forecasts one value.
    ///
    /// # Errors
    /// As [`Forecaster::forecast`].
    pub fn quantiles(&self, batch: &Batch) -> Result<Option<Array5<f32>>, Error> {
        Ok(self.forecast_and_quantiles(batch)?.1)
    }

    /// [`Forecaster::forecast`] and [`Forecaster::quantiles`] of one pass.
    pub(crate) fn forecast_and_quantiles(
        &self,
        batch: &Batch,
    ) -> Result<(Array5<f32>, Option<Array5<f32>>), Error> {
        let mut all = self.all(batch)?;
        let Some(middle) = self.middle() else { return Ok((all, None)) };
        for mut quantiles in all.lanes_mut(Axis(2)) {
            for k in middle + 1..quantiles.len() {
                quantiles[k] = quantiles[k].max(quantiles[k - 1]);
            }
            for k in (0..middle).rev() {
                quantiles[k] = quantiles[k].min(quantiles[k + 1]);
            }
        }
        let forecast = all.slice_axis(Axis(2), Slice::from(middle..middle + 1)).to_owned();
        Ok((forecast, Some(all)))
    }

    /// Which of the quantiles is the forecast.
    pub(crate) fn middle(&self) -> Option<usize> {
        self.file.quantiles.iter().position(|&level| level == 0.5)
    }

    /// What the network says: `[batch, target step, channel, y, x]`, or its quantiles in place of the one channel.
    fn all(&self, batch: &Batch) -> Result<Array5<f32>, Error> {
        self.check(batch)?;
        let (rows, cols) = (batch.valid.dim().2, batch.valid.dim().3);
        // Who is one of many threads already has no others to share its kernels with.
        let threads = if rayon::current_thread_index().is_some() { 1 } else { rayon::current_num_threads() };
        let each = threads / batch.len().max(1);
        let parts: Vec<Array4<f32>> = (0..batch.len())
            .into_par_iter()
            .map(|b| {
                let one = one_sample(batch, b);
                kernel::with_threads(each, || match self.file.architecture.kind().defaults().layout {
                    Layout::Pixels => self.pixels(&one),
                    Layout::Frames | Layout::FramePixels => self.frames(&one),
                })
            })
            .collect();
        let mut all = Array5::zeros((batch.len(), self.file.data.target_steps, self.width(), rows, cols));
        for (mut into, part) in all.outer_iter_mut().zip(&parts) {
            into.assign(part);
        }
        Ok(all)
    }

    /// Values of a pixel and step: channels, or quantiles of the one.
    pub(crate) fn width(&self) -> usize {
        self.file.data.dynamic.len().max(self.file.quantiles.len())
    }

    /// `[step, quantile, y, x]` of one sample; one quantile where there are none.
    pub(crate) fn pixels(&self, one: &Batch) -> Array4<f32> {
        let (spec, prep) = (&self.file.data, &self.file.preparation);
        let (rows, cols) = (one.valid.dim().2, one.valid.dim().3);
        let all: Vec<Pixel> = (0..rows * cols).map(|p| (0, p / cols, p % cols)).collect();
        let mut frames = Array4::zeros((spec.target_steps, self.width(), rows, cols));
        let device = backend::device();
        for pixels in all.chunks(PIXELS_AT_ONCE) {
            let inputs = prepare::pixel_inputs(one, pixels, spec, prep);
            let values = weights::to_array(self.network.predict(&inputs, &device));
            prepare::place_pixels(&mut frames, pixels, &values, prep.dynamic_scale);
        }
        frames
    }

    /// `[step, channel, y, x]` of one sample.
    fn frames(&self, one: &Batch) -> Array4<f32> {
        let (spec, prep) = (&self.file.data, &self.file.preparation);
        let (rows, cols) = (one.valid.dim().2, one.valid.dim().3);
        let inputs = prepare::frame_inputs(one, spec, prep);
        let values = weights::to_array(self.network.predict(&inputs, &backend::device()));
        self.in_frames(&values, rows, cols)
    }

    /// The answer `[1, value]` of a network of frames as `[step, channel, y, x]` in the units of Level 2.
    pub(crate) fn in_frames(&self, values: &ArrayD<f32>, rows: usize, cols: usize) -> Array4<f32> {
        let scale = self.file.preparation.dynamic_scale;
        let mut values = values.iter().map(|v| v * scale);
        // A network answers in this order, with as many values.
        Array4::from_shape_simple_fn((self.file.data.target_steps, self.width(), rows, cols), || {
            values.next().unwrap_or(f32::NAN)
        })
    }

    pub(crate) fn check(&self, batch: &Batch) -> Result<(), Error> {
        let spec = &self.file.data;
        let (n, steps, channels, rows, cols) = batch.dynamic.dim();
        let checks = [
            ("steps", spec.steps(), steps),
            ("channels", spec.dynamic.len(), channels),
            ("weather variables", spec.weather.len(), batch.weather.dim().2),
            ("weather steps", spec.steps(), batch.weather.dim().1),
            ("static layers", spec.statics.len(), batch.statics.dim().1),
            ("samples of weather", n, batch.weather.dim().0),
            ("samples of statics", n, batch.statics.dim().0),
            ("sample ids", n, batch.sample_ids.len()),
            ("rows of statics", rows, batch.statics.dim().2),
            ("columns of statics", cols, batch.statics.dim().3),
            ("steps of valid", steps, batch.valid.dim().1),
        ];
        match checks.into_iter().find(|(_, expected, found)| expected != found) {
            None => Ok(()),
            Some((what, expected, found)) => {
                Err(Error::Batch { what, expected: expected.to_string(), found: found.to_string() })
            }
        }
    }
}

impl ModelFile {
    /// Reads `model.json` of a model folder.
    ///
    /// # Errors
    /// [`Error::Io`] if it is not there, [`Error::Json`] if it is of another version or damaged.
    pub fn read(model_dir: &Path) -> Result<ModelFile, Error> {
        let path = model_dir.join("model.json");
        let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, e))?;
        let file: ModelFile = serde_json::from_slice(&bytes).map_err(|e| Error::json(&path, e))?;
        if (file.minicube_schema.as_str(), file.schema_version) != ("model", SCHEMA_VERSION) {
            let found = format!("{} version {}", file.minicube_schema, file.schema_version);
            return Err(Error::json(
                &path,
                format!("expected schema model version {SCHEMA_VERSION}, found {found}"),
            ));
        }
        Ok(file)
    }
}

pub(crate) fn one_sample(batch: &Batch, b: usize) -> Batch {
    let at = Slice::from(b..b + 1);
    Batch {
        dynamic: batch.dynamic.slice_axis(Axis(0), at).to_owned(),
        valid: batch.valid.slice_axis(Axis(0), at).to_owned(),
        weather: batch.weather.slice_axis(Axis(0), at).to_owned(),
        statics: batch.statics.slice_axis(Axis(0), at).to_owned(),
        dates: batch.dates.slice(s![b..b + 1, ..]).to_owned(),
        sample_ids: vec![batch.sample_ids[b].clone()],
    }
}
