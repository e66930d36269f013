//! What a demo has finished, so that running it twice does nothing: `demo-state.json` in each region's folder.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::chain::{Row, Stage, read_json};

/// Stages finished under one text of the project file.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// The project file that the rows were made with.
    config: String,
    rows: Vec<Row>,
}

const FILE: &str = "demo-state.json";

impl State {
    /// Reads a region's state; empty where there is none, it is unreadable, or it belongs to another configuration.
    pub(crate) fn load(region: &Path, config: &str) -> State {
        let stored = read_json(&region.join(FILE)).ok().and_then(|value| serde_json::from_value(value).ok());
        match stored {
            Some(State { config: same, rows }) if same == config => State { config: same, rows },
            _ => State { config: config.to_string(), rows: Vec::new() },
        }
    }

    /// The row of a stage that finished without gaps and whose outputs are still there.
    pub(crate) fn finished(&self, stage: &Stage, region: &Path) -> Option<&Row> {
        let row = self.rows.iter().find(|row| row.stage == stage.bin && row.failed == 0);
        row.filter(|_| stage.outputs_exist(region))
    }

    /// Forgets a stage and all after it in `chain`: what follows must be made anew.
    pub(crate) fn forget_from(&mut self, chain: &[&Stage], first: usize) {
        self.rows.retain(|row| !chain[first..].iter().any(|stage| stage.bin == row.stage));
    }

    /// Records a finished stage on disk.
    pub(crate) fn record(&mut self, region: &Path, row: Row) -> Result<()> {
        self.rows.push(row);
        let path = region.join(FILE);
        let partial = region.join(format!("{FILE}.partial"));
        fs::write(&partial, serde_json::to_vec_pretty(self)?)
            .with_context(|| partial.display().to_string())?;
        fs::rename(&partial, &path).with_context(|| path.display().to_string())
    }
}
