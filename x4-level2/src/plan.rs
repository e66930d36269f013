//! What will run: settings checked, inputs found, one unit a store.

use std::path::{Path, PathBuf};

use minicube::run::{self, Failure, Project};
use minicube::{CubeSpec, CubeWriter, LocationTable, Split, partial_path, plan_hash};
use serde::Serialize;

use crate::import::{ImportUnit, plan_import};
use crate::leakage::leaks;
use crate::separation::{Separation, SplitMode, separation};
use crate::settings::{Settings, settings};
use crate::units::{Input, grounds, level1_units};
use crate::{Config, Error, Format};

/// A checked configuration and its work.
#[derive(Serialize)]
pub struct Plan {
    /// The settings, all defaults filled.
    pub settings: Settings,
    /// One entry a store to be made, in a fixed order.
    pub units: Vec<Unit>,
    /// What keeps the splits apart.
    pub separation: Separation,
    /// Inputs that cannot be used, with the reason.
    pub unusable: Vec<(String, String)>,
    /// Where the stores go: `<dir>/level2`, or a place in a bucket.
    #[serde(skip)]
    pub level2: PathBuf,
    /// `<dir>/level2`: manifest, report, and stores under construction.
    #[serde(skip)]
    pub folder: PathBuf,
    /// The location table, if there is one.
    #[serde(skip)]
    pub table: Option<LocationTable>,
}

/// One store to be made.
#[derive(Serialize)]
pub struct Unit {
    /// Split.
    pub split: Split,
    /// Tile: the store is `<split>/<tile>.zarr`.
    pub tile: String,
    /// What it is made from.
    pub source: Source,
}

/// What a store is made from.
#[derive(Serialize)]
pub enum Source {
    /// Cubes of a Level-1 store.
    Level1 {
        /// The store.
        #[serde(skip)]
        path: PathBuf,
        /// Hash of its content, see [`minicube::content_hash`].
        content_sha256: String,
        /// The cubes.
        cubes: Vec<CubeRef>,
        /// First and last year of the samples; none where all of the project's count.
        years: Option<[i32; 2]>,
        /// First and last year of the pixels' climatology, where the same cubes serve to train.
        climatology: Option<[i32; 2]>,
    },
    /// Files of a public dataset.
    Import(ImportUnit),
}

/// A cube of a Level-1 store.
#[derive(Clone, Debug, Serialize)]
pub struct CubeRef {
    /// Its place in the store.
    pub index: usize,
    /// Its location.
    pub id: String,
    /// The location's seed.
    pub seed: i64,
}

impl Unit {
    /// `<split>/<tile>`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.split, self.tile)
    }

    /// The store, below the output folder.
    #[must_use]
    pub fn path(&self, folder: &Path) -> PathBuf {
        folder.join(self.split.name()).join(format!("{}.zarr", self.tile))
    }

    /// Identity of the store's content.
    #[must_use]
    pub fn hash(&self, settings: &Settings) -> String {
        plan_hash(&(settings, self))
    }

    /// Number of samples in the store.
    #[must_use]
    pub fn samples(&self, settings: &Settings) -> usize {
        match &self.source {
            Source::Level1 { cubes, .. } => cubes.len() * settings.samples_per_cube,
            Source::Import(import) => import.cubes.len(),
        }
    }
}

impl Plan {
    /// Checks the `[level2]` section and finds the inputs.
    ///
    /// # Errors
    /// A [`Failure`] for a wrong setting, an unreadable Level-1 store or location table, cubes of different splits on the
    /// same ground, or where no input is usable.
    pub fn resolve(config: &Config, project: &Project) -> Result<Plan, Failure> {
        let settings = settings(config, project)?;
        let (level2, folder) = (project.level2(), project.level2_folder());
        if let Some(import) = &config.import {
            let (units, unusable) = plan_import(import, &settings)?;
            let separation = Separation { mode: SplitMode::Spatial, years: None, buffer_m: 0.0 };
            return Ok(Plan { settings, units, separation, unusable, level2, folder, table: None });
        }
        let table_path = project.locations();
        let table = if table_path.exists() { Some(LocationTable::read(&table_path)?) } else { None };
        if table.is_none() {
            tracing::warn!(path = %table_path.display(), "no location table: every cube goes to the training split");
        }
        let separation = separation(config, project, table.as_ref())?;
        let input = Input { folder: &project.level1(), table: table.as_ref(), table_path: &table_path };
        let (units, unusable) = level1_units(&input, &settings, &separation)?;
        let leaks = leaks(&grounds(&units, &settings)?, separation.mode, separation.buffer_m);
        if let Some(first) = leaks.first() {
            return Err(Error::Leakage { count: leaks.len(), first: first.clone() }.into());
        }
        Ok(Plan { settings, units, separation, unusable, level2, folder, table })
    }

    /// Loads a project file and resolves its `[level2]` section.
    ///
    /// # Errors
    /// As [`Plan::resolve`] and [`run::Config::load`].
    pub fn load(args: &run::Args) -> Result<Plan, Failure> {
        let file = run::Config::load(args)?;
        Plan::resolve(&file.section::<Config>("level2")?, &file.project)
    }

    /// As [`Plan::load`], for an import whose format and inputs may be given beside the project file.
    ///
    /// # Errors
    /// As [`Plan::load`].
    pub fn load_import(args: &run::Args, format: Option<Format>, input: &[PathBuf]) -> Result<Plan, Failure> {
        let file = run::Config::load(args)?;
        let mut config = file.section::<Config>("level2")?;
        let import = config.import.get_or_insert_default();
        import.format = format.unwrap_or(import.format);
        if !input.is_empty() {
            import.input = input.to_vec();
        }
        Plan::resolve(&config, &file.project)
    }

    /// Whether the samples are those of a public dataset, whose splits are not ours to separate.
    #[must_use]
    pub fn is_import(&self) -> bool {
        self.units.iter().any(|unit| matches!(unit.source, Source::Import(_)))
    }

    /// Paths of the stores of a split.
    #[must_use]
    pub fn stores_of(&self, split: Split) -> Vec<PathBuf> {
        let units = self.units.iter().filter(|unit| unit.split == split);
        units.map(|unit| self.store(unit)).collect()
    }

    /// Where the store of a unit goes.
    #[must_use]
    pub fn store(&self, unit: &Unit) -> PathBuf {
        unit.path(&self.level2)
    }

    /// Where the store of a unit is built.
    #[must_use]
    pub fn partial(&self, unit: &Unit) -> PathBuf {
        partial_path(&unit.path(&self.folder))
    }

    /// Begins the store of a unit, or goes on with it.
    ///
    /// # Errors
    /// As [`CubeWriter::create_in`].
    pub(crate) fn writer(&self, unit: &Unit, spec: &CubeSpec) -> Result<CubeWriter, minicube::Error> {
        CubeWriter::create_in(&self.store(unit), self.partial(unit), spec, &unit.hash(&self.settings))
    }

    /// Identity of all stores together.
    #[must_use]
    pub fn hash(&self) -> String {
        let units: Vec<String> = self.units.iter().map(|unit| unit.hash(&self.settings)).collect();
        plan_hash(&(units, self.separation))
    }

    /// The plan as text: what would be made, and how large it is before compression.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{:<24} {:>8}  {}\n", "store", "samples", "from");
        for unit in &self.units {
            let from = match &unit.source {
                Source::Level1 { path, years, .. } => {
                    let years = years.map_or(String::new(), |[first, last]| format!(" in {first} to {last}"));
                    format!(
                        "{}: {} steps of {} days{years}",
                        path.display(),
                        self.settings.steps,
                        self.settings.step_days
                    )
                }
                Source::Import(import) => {
                    format!("{} cubes of {}", import.cubes.len(), import.format.source())
                }
            };
            text.push_str(&format!("{:<24} {:>8}  {from}\n", unit.name(), unit.samples(&self.settings)));
        }
        for (unit, reason) in &self.unusable {
            text.push_str(&format!("unusable: {unit}: {reason}\n"));
        }
        let samples: usize = self.units.iter().map(|unit| unit.samples(&self.settings)).sum();
        if !self.is_import() {
            text.push_str(&format!("split: {}\n", self.separation.text()));
        }
        text.push_str(&format!("{samples} samples into {}", self.level2.display()));
        text
    }
}
