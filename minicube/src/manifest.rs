//! What a run did: the manifest beside every output.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::files::sha256_bytes;

/// How one unit of work (a tile, a scene, a cube, a model) ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Done in this run.
    Ok,
    /// Done before, or nothing to do.
    Skipped,
    /// Not done; the reason says why. The run then ends with exit code 1.
    Failed,
}

/// The result of one unit of work. A failed unit is data, not a log line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Which unit, e.g. a tile id.
    pub unit: String,
    /// How it ended.
    pub status: Status,
    /// Why, where it was skipped or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Seconds spent on it.
    pub seconds: f64,
    /// Bytes written for it.
    pub bytes: u64,
}

impl Outcome {
    /// A unit that was done.
    pub fn ok(unit: impl Into<String>, seconds: f64, bytes: u64) -> Outcome {
        Outcome { unit: unit.into(), status: Status::Ok, reason: None, seconds, bytes }
    }

    /// A unit that needed no work.
    pub fn skipped(unit: impl Into<String>, reason: impl Into<String>) -> Outcome {
        Outcome {
            unit: unit.into(),
            status: Status::Skipped,
            reason: Some(reason.into()),
            seconds: 0.0,
            bytes: 0,
        }
    }

    /// A unit that could not be done.
    pub fn failed(unit: impl Into<String>, reason: impl Into<String>) -> Outcome {
        Outcome { status: Status::Failed, ..Outcome::skipped(unit, reason) }
    }
}

/// A file or store that a run read or wrote.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FileRef {
    /// Path, relative to the project folder where it lies inside.
    pub path: PathBuf,
    /// Size; for a store the sum over its files.
    pub bytes: u64,
    /// SHA-256; for a store that of [`crate::sha256_store`].
    pub sha256: String,
}

/// The content of `run.json`; see `docs/formats.md`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunManifest {
    /// Version of this structure.
    pub schema_version: u32,
    /// The stage's name.
    pub stage: String,
    /// The stage's version.
    pub version: String,
    /// Git commit of the build, if known.
    pub build: Option<String>,
    /// The resolved plan.
    pub plan: Value,
    /// Hash of the plan.
    pub plan_hash: String,
    /// The seed.
    pub seed: u64,
    /// Files read.
    pub inputs: Vec<FileRef>,
    /// Files written.
    pub outputs: Vec<FileRef>,
    /// One entry a unit.
    pub outcomes: Vec<Outcome>,
    /// Further figures, by name.
    pub notes: serde_json::Map<String, Value>,
    /// Start, UTC, ISO 8601.
    pub started: String,
    /// End, UTC, ISO 8601.
    pub ended: String,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Peak resident memory of the process, bytes.
    pub peak_rss_bytes: u64,
    /// Bytes of the inputs.
    pub bytes_in: u64,
    /// Bytes of the outputs.
    pub bytes_out: u64,
    /// Worker threads.
    pub threads: usize,
    /// `i/n` of a sharded run.
    pub shard: Option<String>,
}

/// Identity of a resolved plan: the first 16 hexadecimal digits of the SHA-256 of its JSON and the schema version.
/// Two plans of one hash produce the same bytes.
pub fn plan_hash(plan: &impl Serialize) -> String {
    let json = serde_json::to_string(plan).unwrap_or_default();
    sha256_bytes(format!("{}\n{json}", crate::SCHEMA_VERSION).as_bytes())[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_hash_depends_on_values_only() {
        assert_eq!(plan_hash(&("a", 1)), plan_hash(&("a", 1)));
        assert_ne!(plan_hash(&("a", 1)), plan_hash(&("a", 2)));
        assert_eq!(plan_hash(&1).len(), 16);
    }
}
