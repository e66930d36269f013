//! What can go wrong between Level 1, or a public dataset, and Level 2.

use std::path::PathBuf;

use minicube::run::Failure;

/// A failure of this stage. [`Error::hint`] says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A shared file could not be read or written.
    #[error(transparent)]
    Shared(#[from] minicube::Error),
    /// A key of `[level2]` has a value that makes no sense.
    #[error("[level2] {key}: expected {expected}, found {found}")]
    Setting {
        /// The key.
        key: &'static str,
        /// What would make sense.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A formula of `[level2.formulas]` cannot be read.
    #[error("[level2.formulas] {name}: `{formula}`, character {column}: expected {expected}, found {found}")]
    Formula {
        /// Name of the index.
        name: String,
        /// The formula.
        formula: String,
        /// Where the trouble begins, from 1.
        column: usize,
        /// What would be right.
        expected: String,
        /// What is there.
        found: String,
    },
    /// There is nothing to work on.
    #[error("{path}: no {what}", path = path.display())]
    NoInput {
        /// The folder or pattern.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// The acquisitions do not cover a sample.
    #[error(
        "{path}: expected at least {expected} steps of {step_days} days in {first} to {last}, found {found}",
        path = path.display()
    )]
    ShortSeries {
        /// The Level-1 store.
        path: PathBuf,
        /// Steps of a sample.
        expected: usize,
        /// First of the years that count: those of the project, or of the split.
        first: i32,
        /// Last of them.
        last: i32,
        /// Steps that acquisitions cover within them.
        found: usize,
        /// Days in a step.
        step_days: i32,
    },
    /// Cubes of different splits show the same ground.
    #[error(
        "leakage: {count} pairs of cubes of different splits share ground or are too near, the first: {first}"
    )]
    Leakage {
        /// How many pairs.
        count: usize,
        /// The first of them.
        first: String,
    },
    /// A cube of a Level-1 store is not in the location table.
    #[error("{path}: location {id} is not in {table}", path = path.display(), table = table.display())]
    UnknownLocation {
        /// The Level-1 store.
        path: PathBuf,
        /// The location.
        id: String,
        /// The location table.
        table: PathBuf,
    },
    /// A variable of an input is missing or of another form.
    #[error("{path}: variable {variable}: expected {expected}, found {found}", path = path.display())]
    Variable {
        /// The file.
        path: PathBuf,
        /// The variable.
        variable: String,
        /// What was expected.
        expected: String,
        /// What is there.
        found: String,
    },
    /// An input cannot be read at all.
    #[error("{path}: cannot be read as {format}: {reason}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The format it should have.
        format: &'static str,
        /// What the reader says.
        reason: String,
    },
    /// A file could not be written by its library.
    #[error("{path}: cannot be written as NetCDF: {reason}", path = path.display())]
    Unwritten {
        /// The file.
        path: PathBuf,
        /// What the library says.
        reason: String,
    },
    /// A store has not what the loader of an exported layout reads.
    #[error("{path}: variable {variable}: expected by the loader of en22, found none; missing: {missing} (weather there: {found})", path = path.display())]
    Loader {
        /// The store.
        path: PathBuf,
        /// The first that is missing.
        variable: String,
        /// All that are missing.
        missing: String,
        /// Weather that is there.
        found: String,
    },
    /// A file's name does not follow its dataset's rule.
    #[error("{path}: expected a name like {expected}", path = path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// The rule.
        expected: &'static str,
    },
    /// A context file without its target, or the reverse.
    #[error("{path}: the other half {missing} is missing", path = path.display())]
    Unpaired {
        /// The half that is there.
        path: PathBuf,
        /// The name of the other half.
        missing: String,
    },
}

impl Error {
    /// What the user can do about it, in one line.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Shared(error) => return error.hint(),
            Error::Setting { key: "nir", .. } => {
                "nir = \"nir08\" is B8A (20 m), nir = \"nir\" is B08 (10 m): take the one that Level 1 has".into()
            }
            Error::Setting { key: "temporal_split", .. } => {
                "for example temporal_split = { train = [2017, 2019], test = [2020, 2021] }".into()
            }
            Error::Setting { .. } => "the keys and their defaults are listed in x4-level2/README.md".into(),
            Error::Formula { .. } => {
                "formulas are made of bands (others than blue, green, red, nir come with extra_bands), numbers, \
                 + - * / ^ ( ) and functions: see x4-level2/README.md"
                    .into()
            }
            Error::NoInput { what: "level-1 stores", .. } => {
                "run x3-level1 first, or import a public dataset with [level2.import]".into()
            }
            Error::NoInput { what: "level-2 stores", .. } => "run x4-level2 run first, with the same project file".into(),
            Error::NoInput { .. } => "give files or folders in [level2.import] input, or with --input".into(),
            Error::ShortSeries { .. } => {
                "lower [level2] steps, or fetch more years: [project] years must cover the acquisitions, and a split's years \
                 its samples"
                    .into()
            }
            Error::Leakage { .. } => {
                "draw the locations again with a [sampler.split] buffer_km, lower [level2] split_buffer_m, or separate the \
                 splits in time with split = \"temporal\""
                    .into()
            }
            Error::UnknownLocation { .. } => {
                "the location table was made again since Level 1: run x2-downloader and x3-level1 again".into()
            }
            Error::Variable { variable, .. } if variable == "s2/time" => {
                "x3-level1 sorts acquisitions by date: delete the store and run it again".into()
            }
            Error::Variable { .. } => {
                "the layout that is expected is described in x4-level2/README.md; is [level2] or `format` right?".into()
            }
            Error::Unreadable { .. } => {
                "the file may be truncated: compare its size with the source and fetch it again".into()
            }
            Error::Unwritten { .. } => "the same command goes on with the files that are missing".into(),
            Error::Loader { .. } => {
                "name the missing weather in [level1.smap] variables (sm_rootzone, sm_surface, surface_pressure) and \
                 [level1.era5] variables (pev, sp, ssr, t2m, tp), then run x3-level1 and x4-level2 again"
                    .into()
            }
            Error::Name { .. } => "keep the names of the published files, they carry place and date".into(),
            Error::Unpaired { .. } => {
                "a context_ and a target_ file of the same name make one cube: fetch both".into()
            }
        })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let hint = error.hint();
        Failure::of(&error, hint)
    }
}
