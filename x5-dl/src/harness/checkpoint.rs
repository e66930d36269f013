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
    /// The score of the validation examples by which the best weights are told, where it is not the loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_score: Option<f64>,
}

/// The state of a training run after `step` steps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    pub(crate) step: u64,
    pub(crate) weights: Weights,
    pub(crate) adam: Adam,
    /// The mean of the weights over the steps, newer ones counting more; where it is asked for.
    pub(crate) average: Option<Weights>,
    /// The best validations so far, the best first.
    pub(crate) best: Vec<Best>,
    pub(crate) metrics: Vec<Metric>,
    /// Loss and gradient norm summed since the last line of metrics.
    pub(crate) pending: (f64, f64),
}

/// Weights that did well on the validation examples.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Best {
    pub(crate) weights: Weights,
    pub(crate) loss: f64,
    pub(crate) step: u64,
    /// What puts them in order, smaller is better.
    pub(crate) rank: f64,
}

#[derive(Serialize, Deserialize)]
struct Note {
    key: String,
    step: u64,
    adam_steps: u64,
    average: bool,
    best: Vec<(f64, u64)>,
    /// Of each of the best; the loss, where an older file says none.
    #[serde(default)]
    ranks: Vec<f64>,
    metrics: Vec<Metric>,
    pending: (f64, f64),
}

impl State {
    pub(crate) fn new(weights: Weights) -> State {
        let adam = Adam::new(&weights);
        State {
            step: 0,
            weights,
            adam,
            average: None,
            best: Vec::new(),
            metrics: Vec::new(),
            pending: (0.0, 0.0),
        }
    }

    /// The weights to forecast with: the best on the validation examples, else the average, else the last.
    pub(crate) fn chosen(&self) -> &Weights {
        self.best.first().map_or_else(|| self.current(), |best| &best.weights)
    }

    /// The weights to validate: the average where there is one.
    pub(crate) fn current(&self) -> &Weights {
        self.average.as_ref().unwrap_or(&self.weights)
    }

    /// Notes a validation of the current weights; the `keep` best by `rank` are kept, the earlier of two equal ones
    /// first, NaN last.
    pub(crate) fn validated(&mut self, loss: f64, rank: f64, keep: usize) {
        let at =
            self.best.iter().position(|best| rank.total_cmp(&best.rank).is_lt()).unwrap_or(self.best.len());
        if at < keep {
            let weights = self.current().clone();
            self.best.insert(at, Best { weights, loss, step: self.step, rank });
            self.best.truncate(keep);
        }
    }

    /// Writes the state, whole or not at all. `key` is the identity of the plan.
    pub(crate) fn save(&self, path: &Path, key: &str) -> Result<(), Error> {
        let mut all = Weights::default();
        all.insert_all("weights.", &self.weights);
        all.insert_all("first.", &self.adam.first);
        all.insert_all("second.", &self.adam.second);
        if let Some(average) = &self.average {
            all.insert_all("average.", average);
        }
        for (rank, best) in self.best.iter().enumerate() {
            all.insert_all(&format!("best{rank}."), &best.weights);
        }
        let note = Note {
            key: key.to_owned(),
            step: self.step,
            adam_steps: self.adam.steps,
            average: self.average.is_some(),
            best: self.best.iter().map(|best| (best.loss, best.step)).collect(),
            ranks: self.best.iter().map(|best| best.rank).collect(),
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
            average: note.average.then(|| all.strip("average.")),
            best: note
                .best
                .iter()
                .enumerate()
                .map(|(at, &(loss, step))| {
                    let rank = note.ranks.get(at).copied().unwrap_or(loss);
                    Best { weights: all.strip(&format!("best{at}.")), loss, step, rank }
                })
                .collect(),
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
        state.average = Some(weights);
        state.validated(0.1 + 0.2, 0.6, 2);
        state.validated(0.1, 0.7, 2);
        state.pending = (1.0 / 3.0, 0.7);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.safetensors");
        state.save(&path, "k").unwrap();
        assert_eq!(State::load(&path, "k").unwrap(), Some(state));
        assert_eq!(State::load(&path, "other").unwrap(), None);
    }

    #[test]
    fn the_best_validations_are_kept_in_order() {
        let mut state = State::new(Weights::default());
        for (step, loss) in [(1, 0.5), (2, 0.3), (3, 0.5), (4, f64::NAN), (5, 0.4)] {
            state.step = step;
            state.validated(7.0, loss, 3);
        }
        assert_eq!(state.best.iter().map(|best| best.step).collect::<Vec<_>>(), [2, 5, 1]);
    }
}
