//! What will run: settings checked, inputs found, one unit a store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use minicube::run::{self, Failure, Project};
use minicube::{
    CubeSpec, CubeWriter, Location, LocationTable, Split, list_stores, partial_path, plan_hash, sha256_file,
};
use serde::Serialize;

use crate::import::{ImportUnit, plan_import};
use crate::level1::Level1;
use crate::settings::{Settings, settings};
use crate::{Config, Error, Format};

/// A checked configuration and its work.
#[derive(Serialize)]
pub struct Plan {
    /// The settings, all defaults filled.
    pub settings: Settings,
    /// One entry a store to be made, in a fixed order.
    pub units: Vec<Unit>,
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
        /// Hash of its metadata, which name its plan and its scenes.
        metadata_sha256: String,
        /// The cubes.
        cubes: Vec<CubeRef>,
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
    /// A [`Failure`] for a wrong setting, an unreadable Level-1 store or location table, or where no input is usable.
    pub fn resolve(config: &Config, project: &Project) -> Result<Plan, Failure> {
        let settings = settings(config, project)?;
        let (level2, folder) = (project.level2(), project.level2_folder());
        if let Some(import) = &config.import {
            let (units, unusable) = plan_import(import)?;
            return Ok(Plan { settings, units, unusable, level2, folder, table: None });
        }
        let table_path = project.locations();
        let table = if table_path.exists() { Some(LocationTable::read(&table_path)?) } else { None };
        if table.is_none() {
            tracing::warn!(path = %table_path.display(), "no location table: every cube goes to the training split");
        }
        let (units, unusable) = level1_units(&project.level1(), table.as_ref(), &table_path, &settings)?;
        Ok(Plan { settings, units, unusable, level2, folder, table })
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
        plan_hash(&self.units.iter().map(|unit| unit.hash(&self.settings)).collect::<Vec<_>>())
    }

    /// The plan as text: what would be made, and how large it is before compression.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{:<24} {:>8}  {}\n", "store", "samples", "from");
        for unit in &self.units {
            let from = match &unit.source {
                Source::Level1 { path, .. } => {
                    format!(
                        "{}: {} steps of {} days",
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
        text.push_str(&format!("{samples} samples into {}", self.level2.display()));
        text
    }
}

type Units = (Vec<Unit>, Vec<(String, String)>);

/// One unit for each split of each Level-1 store; tiles of the table without a store are unusable.
fn level1_units(
    folder: &Path,
    table: Option<&LocationTable>,
    table_path: &Path,
    settings: &Settings,
) -> Result<Units, Error> {
    let mut units = Vec::new();
    let mut tiles = Vec::new();
    let known: Option<BTreeMap<&str, &Location>> =
        table.map(|table| table.locations.iter().map(|location| (location.id.as_str(), location)).collect());
    for path in list_stores(folder)? {
        let level1 = Level1::open(&path)?;
        let tile = level1.tile()?;
        for (name, band) in &settings.bands {
            if !level1.has_band(band) {
                let key = if name == "nir" { "nir" } else { "extra_bands" };
                let expected = "a band of Level 1";
                let found = format!("`{band}` (bands of {}: {})", path.display(), level1.band_names());
                return Err(Error::Setting { key, expected, found });
            }
        }
        let weather = level1.daily_names();
        if let Some(unknown) = settings.weather.keys().find(|name| !weather.contains_key(*name)) {
            let known: Vec<&str> = weather.keys().map(String::as_str).collect();
            let found = format!("`{unknown}` (weather of {}: {})", path.display(), known.join(", "));
            return Err(Error::Setting { key: "weather", expected: "a weather variable of Level 1", found });
        }
        let metadata_sha256 = sha256_file(&path.join("zarr.json"))?;
        let mut splits: BTreeMap<Split, Vec<CubeRef>> = BTreeMap::new();
        for (index, id) in level1.ids.iter().enumerate() {
            let (split, seed) = match &known {
                None => (Split::Train, index as i64),
                Some(known) => {
                    let location = known.get(id.as_str()).ok_or_else(|| Error::UnknownLocation {
                        path: path.clone(),
                        id: id.clone(),
                        table: table_path.to_owned(),
                    })?;
                    (location.split, location.seed)
                }
            };
            splits.entry(split).or_default().push(CubeRef { index, id: id.clone(), seed });
        }
        for (split, cubes) in splits {
            let source =
                Source::Level1 { path: path.clone(), metadata_sha256: metadata_sha256.clone(), cubes };
            units.push(Unit { split, tile: tile.clone(), source });
        }
        tiles.push(tile);
    }
    if units.is_empty() {
        return Err(Error::NoInput { path: folder.to_owned(), what: "level-1 stores" });
    }
    let absent = table.map(LocationTable::tiles).unwrap_or_default();
    let unusable = absent
        .into_keys()
        .filter(|tile| !tiles.contains(tile))
        .map(|tile| (tile, "the location table has it, Level 1 has not".to_owned()))
        .collect();
    Ok((units, unusable))
}
