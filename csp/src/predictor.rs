//! What can be explained: anything that turns a batch into frames.

use std::path::{Path, PathBuf};

use minicube::{sha256_bytes, sha256_file};
use ndarray::Array5;
use x5_dl::{Batch, DataSpec, Forecaster, Functional, InputGradient, Scores, without_skill};

use crate::error::Error;

/// A forecaster seen from outside: a batch in, frames out. Nothing else is asked of the explained model.
pub trait Predictor {
    /// What a batch must contain; `dynamic` names the channels of the frames.
    fn spec(&self) -> &DataSpec;

    /// Changes whenever the forecasts would: hash of weights, formula.
    fn identity(&self) -> String;

    /// Frames `[batch, target step, channel, y, x]` in Level-2 units.
    ///
    /// # Errors
    /// Whatever keeps the model from forecasting this batch.
    fn predict(&self, batch: &Batch) -> Result<Array5<f32>, Error>;

    /// Gradient of a number made of each sample's frames with respect to the batch; `None` where the model has none.
    ///
    /// # Errors
    /// Whatever keeps the model from its gradient.
    fn gradient(&self, _batch: &Batch, _of: &Functional<'_>) -> Result<Option<InputGradient>, Error> {
        Ok(None)
    }

    /// What is known against the forecasts, so that their explanation is not believed too much.
    ///
    /// # Errors
    /// Whatever keeps it from being known.
    fn caveats(&self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }
}

/// A model that x5-dl trained.
pub struct TrainedModel {
    folder: PathBuf,
    forecaster: Forecaster,
    identity: String,
}

impl TrainedModel {
    /// Loads a model folder.
    ///
    /// # Errors
    /// [`Error::Model`] if there is no usable model.
    pub fn load(folder: &Path) -> Result<Self, Error> {
        let forecaster = Forecaster::load(folder)?;
        let parts = ["model.json", "weights.safetensors"].map(|name| sha256_file(&folder.join(name)));
        let [description, weights] = parts;
        let identity = sha256_bytes(format!("{} {}", description?, weights?).as_bytes());
        Ok(Self { folder: folder.to_owned(), forecaster, identity })
    }
}

impl Predictor for TrainedModel {
    fn spec(&self) -> &DataSpec {
        self.forecaster.spec()
    }

    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn predict(&self, batch: &Batch) -> Result<Array5<f32>, Error> {
        Ok(self.forecaster.forecast(batch)?)
    }

    fn gradient(&self, batch: &Batch, of: &Functional<'_>) -> Result<Option<InputGradient>, Error> {
        Ok(Some(self.forecaster.gradient(batch, of)?))
    }

    /// Where a baseline errs less, by the scores beside the model; a model that was never scored has none.
    fn caveats(&self) -> Result<Vec<String>, Error> {
        if !self.folder.join("scores.json").exists() {
            return Ok(Vec::new());
        }
        Ok(without_skill(&Scores::read(&self.folder)?.scores))
    }
}
