//! What can go wrong in this crate.

use std::path::{Path, PathBuf};

use minicube::run::Failure;

use crate::series::SeriesError;

/// A failure of explaining. Each variant names the place, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A shared file could not be read or written.
    #[error(transparent)]
    Files(#[from] minicube::Error),
    /// The model or its data could not be used.
    #[error(transparent)]
    Model(#[from] x5_dl::Error),
    /// Weather series could not be clustered.
    #[error("weather series {channel}: {source}")]
    Series {
        /// The weather variable.
        channel: String,
        /// What is wrong with its series.
        source: SeriesError,
    },
    /// The configuration contradicts itself or the data; all problems at once.
    #[error("[explain]: {}", .0.join("; "))]
    Config(Vec<String>),
    /// The model forecasts nothing from which a vegetation index follows.
    #[error("model {model} forecasts {found}: expected red and nir, ndvi or kndvi")]
    NoIndex {
        /// The model.
        model: String,
        /// What it forecasts.
        found: String,
    },
    /// Too few samples are left to cluster.
    #[error("{split}: {kept} of {all} samples are usable, at least {wanted} are needed")]
    TooFewSamples {
        /// The split.
        split: String,
        /// Samples that passed the checks.
        kept: usize,
        /// Samples there are.
        all: usize,
        /// Samples needed.
        wanted: usize,
    },
    /// A restriction leaves no sample.
    #[error("[explain.only] {restriction}: none of {usable} usable samples is left")]
    NothingLeft {
        /// What was asked for.
        restriction: String,
        /// Samples before it.
        usable: usize,
    },
    /// A forecast has another shape than the model promised.
    #[error("forecast of {model}: expected shape {expected:?}, found {found:?}")]
    ForecastShape {
        /// The model.
        model: String,
        /// `[batch, step, channel, y, x]` promised.
        expected: Vec<usize>,
        /// What came.
        found: Vec<usize>,
    },
    /// Not one sample could be forecast with a finite index.
    #[error(
        "model {model}: none of {samples} samples has a finite {index} in all of its {forecasts} forecasts; {absent} at \
         every pixel in {empty} of {frames} frames"
    )]
    NoForecast {
        /// The model.
        model: String,
        /// Samples that were forecast.
        samples: usize,
        /// Forecasts of a sample.
        forecasts: usize,
        /// The explained index.
        index: &'static str,
        /// When a pixel has no index.
        absent: &'static str,
        /// Frames of which no pixel has an index.
        empty: usize,
        /// Frames of all forecasts together.
        frames: usize,
    },
    /// A table or cached file could not be written or does not hold what it should.
    #[error("{path}: {reason}", path = path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Files(error) => return error.hint(),
            Error::Model(error) => return error.hint(),
            Error::Series { .. } => {
                "look at this weather variable in Level 2; it may be missing there".into()
            }
            Error::Config(_) => "the keys of [explain] are described in csp/README.md".into(),
            Error::NoIndex { .. } => {
                "train a model whose `dynamic` variables are red and nir, ndvi or kndvi".into()
            }
            Error::TooFewSamples { .. } => {
                "widen `valid` of the variables in [explain], or make more Level-2 samples".into()
            }
            Error::NothingLeft { .. } => {
                "months are those of the first forecast step, classes those of the cropped pixels: ask for more of them, or \
                 raise `crop_px`"
                    .into()
            }
            Error::ForecastShape { .. } => return None,
            Error::NoForecast { .. } => {
                "the model has probably collapsed to zero or NaN: train it again with a smaller `learning_rate` or \
                 more `steps`"
                    .into()
            }
            Error::Output { .. } => "delete the model's folder in explain/ and run csp again".into(),
        })
    }

    pub(crate) fn output(path: &Path, reason: impl std::fmt::Display) -> Error {
        Error::Output { path: path.to_owned(), reason: reason.to_string() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let failure = Failure::new(&error);
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
