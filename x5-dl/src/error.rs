//! What can go wrong in this crate.

use std::path::{Path, PathBuf};

use minicube::run::Failure;

use crate::harness::backend::Precision;

/// A failure of learning, forecasting or scoring. Each variant names the place, what was expected and found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A shared file could not be read or written.
    #[error(transparent)]
    Files(#[from] minicube::Error),
    /// A file of this crate could not be read.
    #[error("{path}: cannot read: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A JSON file does not hold what it should.
    #[error("{path}: {reason}", path = path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        reason: String,
    },
    /// A weights file is damaged or of another kind.
    #[error("{path}: not a usable safetensors file: {reason}", path = path.display())]
    WeightsFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Weights do not fit the network.
    #[error("the weights do not fit the network: {}", list(.differences))]
    WeightsMismatch {
        /// Each parameter that differs, with expected and found shape.
        differences: Vec<String>,
    },
    /// A checkpoint of PyTorch is damaged, or holds what cannot be read without running code.
    #[error("{path}: not a usable PyTorch checkpoint: {reason}", path = path.display())]
    TorchFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A checkpoint is of another network.
    #[error("{path}: weights of another network: {}", list(.differences), path = path.display())]
    Import {
        /// The file.
        path: PathBuf,
        /// Each parameter that differs, with expected and found shape.
        differences: Vec<String>,
    },
    /// Weights could not be encoded.
    #[error("weights cannot be encoded: {reason}")]
    EncodeWeights {
        /// What the encoder says.
        reason: String,
    },
    /// A variable that the data specification asks for is not in a store.
    #[error("{path}: no variable {variable}; found {found}", path = path.display())]
    NoVariable {
        /// The store.
        path: PathBuf,
        /// What was asked for.
        variable: String,
        /// What there is of that kind.
        found: String,
    },
    /// A split has no samples, or its samples are too short.
    #[error("{path}: {reason}", path = path.display())]
    NoSamples {
        /// The split's folder.
        path: PathBuf,
        /// Why nothing is usable.
        reason: String,
    },
    /// A batch does not fit the model it is given to.
    #[error("batch does not fit the model: {what}: expected {expected}, found {found}")]
    Batch {
        /// Which array and axis.
        what: &'static str,
        /// What the model needs.
        expected: String,
        /// What the batch has.
        found: String,
    },
    /// Another backend is asked for than the program is built with.
    #[error("[train] backend: expected {asked}, this program is built with {built}")]
    NoBackend {
        /// What is asked for.
        asked: &'static str,
        /// What there is.
        built: &'static str,
    },
    /// More devices are asked for than there are.
    #[error("[train] devices: expected {asked}, found {found} for {backend}")]
    FewDevices {
        /// How many are asked for.
        asked: usize,
        /// How many there are.
        found: usize,
        /// What the program is built with.
        backend: &'static str,
    },
    /// The devices do not compute in such numbers.
    #[error("[train] precision: expected {asked:?}, {backend} has none: {reason}")]
    NoPrecision {
        /// What is asked for.
        asked: Precision,
        /// What the program is built with.
        backend: &'static str,
        /// What the backend says.
        reason: String,
    },
    /// No pixel to learn from.
    #[error(
        "{path}: no pixel of the training split is of a vegetation class: expected one of {classes}, found {found}",
        path = path.display()
    )]
    NoVegetation {
        /// The split's folder.
        path: PathBuf,
        /// The classes that count.
        classes: String,
        /// The classes that there are.
        found: String,
    },
    /// The configuration contradicts itself or the data; all problems at once.
    #[error("[train]: {}", .0.join("; "))]
    Config(Vec<String>),
    /// Training left the numbers behind.
    #[error("model {model}: the loss is {loss} at step {step}, batch {batch}{}", blame(.samples))]
    Diverged {
        /// The model's name.
        model: String,
        /// The step.
        step: u64,
        /// The batch, which is the step unless gradients are accumulated.
        batch: u64,
        /// The samples whose inputs, targets or predictions are not finite.
        samples: Vec<String>,
        /// The loss.
        loss: f64,
    },
    /// The system asked the run to end.
    #[error("model {model}: stopped by a signal, {done}")]
    Stopped {
        /// The model's name.
        model: String,
        /// How far it is.
        done: String,
    },
    /// An output does not hold what it should.
    #[error("{path}: {reason}", path = path.display())]
    Verify {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Files(error) => return error.hint(),
            Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                "check the path, or run the stage that writes it first".into()
            }
            Error::Io { .. } => "check the path and its permissions".into(),
            Error::Json { .. } => {
                "the file was changed by hand or by another version: delete it and run again".into()
            }
            Error::WeightsFile { .. } => "delete the model's folder and train again".into(),
            Error::WeightsMismatch { .. } => {
                "the weights belong to another network: compare `hidden` and the inputs in model.json".into()
            }
            Error::NoVariable { .. } => {
                "change `dynamic`, `weather` or `statics` of the model in [train]".into()
            }
            Error::NoSamples { .. } => {
                "run x4-level2 first, or lower `context_steps` and `target_steps` in [train]".into()
            }
            Error::NoBackend { asked: "flex", .. } => {
                "leave `backend` out, or use a program built without --features".into()
            }
            Error::NoBackend { asked, .. } => format!(
                "leave `backend` out, or build it for such a GPU: cargo build --release -p x5-dl --features {asked}"
            ),
            Error::FewDevices { .. } => {
                "lower `devices`; CUDA shows those of CUDA_VISIBLE_DEVICES, and the CPU counts as one".into()
            }
            Error::NoPrecision { .. } => "leave `precision` out".into(),
            Error::NoVegetation { .. } => {
                "name classes of the land cover in `vegetation` of [train]; [] counts every pixel".into()
            }
            Error::Config(_) => "the keys of [train] are described in x5-dl/README.md".into(),
            Error::TorchFile { .. } => {
                "save the state dict again with torch.save, or as .safetensors with safetensors.torch.save_file".into()
            }
            Error::Import { .. } => {
                "set `hidden`, `kernel`, `dynamic`, `weather` and `statics` of the model as they were when it was trained"
                    .into()
            }
            Error::Diverged { samples, .. } if !samples.is_empty() => {
                "look at these samples in Level 2, or lower `learning_rate`; the last checkpoint is kept".into()
            }
            Error::Diverged { .. } => {
                "lower `learning_rate` or set `clip_norm` for this model; the last checkpoint is kept".into()
            }
            Error::Stopped { .. } => "the same command goes on from there".into(),
            Error::Verify { .. } => "delete the model's folder and run x5-dl again".into(),
            Error::EncodeWeights { .. } | Error::Batch { .. } => return None,
        })
    }

    pub(crate) fn io(path: &Path, source: std::io::Error) -> Error {
        Error::Io { path: path.to_owned(), source }
    }

    pub(crate) fn json(path: &Path, reason: impl std::fmt::Display) -> Error {
        Error::Json { path: path.to_owned(), reason: reason.to_string() }
    }

    pub(crate) fn encode_weights(reason: impl std::fmt::Display) -> Error {
        Error::EncodeWeights { reason: reason.to_string() }
    }
}

/// The first of many things.
fn list(things: &[String]) -> String {
    const SHOWN: usize = 12;
    let shown = things[..things.len().min(SHOWN)].join("; ");
    match things.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

fn blame(samples: &[String]) -> String {
    if samples.is_empty() { String::new() } else { format!(", not finite in sample {}", samples.join(", ")) }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let failure = Failure::new(error.to_string());
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
