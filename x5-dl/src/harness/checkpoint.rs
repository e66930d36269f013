//! Everything that training needs to go on exactly where it stopped, in one safetensors file.

use std::path::Path;

use minicube::write_atomic;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::harness::adam::Adam;
use crate::harness::weights::Weights;

/// One line of `metrics.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Steps done.
    pub step: u64,
    /// Mean training loss over the steps since the last line.
    pub train_loss: f64,
    /// Loss on the validation examples.
    pub validation_loss: f64,
    /// Mean norm of the gradient, before clipping, over the same steps.
    pub gradient_norm: f64,
    /// Learning rate of the last step.
    pub learning_rate: f64,
}

/// The state of a training run after `step` steps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    pub(crate) step: u64,
    pub(crate) weights: Weights,
    pub(crate) adam: Adam,
    /// Weights, loss and step of the best validation so far.
    pub(crate) best: Option<(Weights, f64, u64)>,
    pub(crate) metrics: Vec<Metric>,
    /// Loss and gradient norm summed since the last line of metrics.
    pub(crate) pending: (f64, f64),
}

#[derive(Serialize, Deserialize)]
struct Note {
    key: String,
    step: u64,
    adam_steps: u64,
    best: Option<(f64, u64)>,
    metrics: Vec<Metric>,
    pending: (f64, f64),
}

impl State {
    pub(crate) fn new(weights: Weights) -> State {
        let adam = Adam::new(&weights);
        State { step: 0, weights, adam, best: None, metrics: Vec::new(), pending: (0.0, 0.0) }
    }

    /// Writes the state, whole or not at all. `key` is the identity of the plan.
    pub(crate) fn save(&self, path: &Path, key: &str) -> Result<(), Error> {
        let mut all = Weights::default();
        all.insert_all("weights.", &self.weights);
        all.insert_all("first.", &self.adam.first);
        all.insert_all("second.", &self.adam.second);
        if let Some((best, _, _)) = &self.best {
            all.insert_all("best.", best);
        }
        let note = Note {
            key: key.to_owned(),
            step: self.step,
            adam_steps: self.adam.steps,
            best: self.best.as_ref().map(|&(_, loss, step)| (loss, step)),
            metrics: self.metrics.clone(),
            pending: self.pending,
        };
        let note = serde_json::to_string(&note).map_err(|e| Error::json(path, e))?;
        write_atomic(path, &all.to_bytes(&note)?)?;
        Ok(())
    }

    /// The state a run of the same plan left, if there is one.
    pub(crate) fn load(path: &Path, key: &str) -> Result<Option<State>, Error> {
        if !path.exists() {
            return Ok(None);
        }
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let (all, note) = Weights::from_bytes(&bytes, path)?;
        let note: Note = serde_json::from_str(&note).map_err(|e| Error::json(path, e))?;
        if note.key != key {
            return Ok(None);
        }
        Ok(Some(State {
            step: note.step,
            weights: all.strip("weights."),
            adam: Adam { first: all.strip("first."), second: all.strip("second."), steps: note.adam_steps },
            best: note.best.map(|(loss, step)| (all.strip("best."), loss, step)),
            metrics: note.metrics,
            pending: note.pending,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr1;

    #[test]
    fn a_state_comes_back_bit_for_bit_and_only_for_its_plan() {
        let weights = Weights([("a".to_owned(), arr1(&[0.1f32, -3.7e-9]).into_dyn())].into());
        let mut state = State::new(weights.clone());
        state.step = 7;
        state.best = Some((weights, 0.1 + 0.2, 5));
        state.pending = (1.0 / 3.0, 0.7);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.safetensors");
        state.save(&path, "k").unwrap();
        assert_eq!(State::load(&path, "k").unwrap(), Some(state));
        assert_eq!(State::load(&path, "other").unwrap(), None);
    }
}
