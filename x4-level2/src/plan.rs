//! What will run: settings checked, inputs found, one unit a store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use minicube::run::{self, Failure, Project};
use minicube::{
    CubeSpec, CubeWriter, Location, LocationTable, Split, content_hash, list_stores, partial_path, plan_hash,
    to_cf_day,
};
use serde::Serialize;

use crate::import::{ImportUnit, plan_import};
use crate::leakage::{Ground, leaks};
use crate::level1::Level1;
use crate::separation::{Separation, SplitMode, separation};
use crate::settings::{Settings, settings};
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
        /// Hash of its content, see [`content_hash`].
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
            let (units, unusable) = plan_import(import)?;
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
        text.push_str(&format!("split: {}\n", self.separation.text()));
        text.push_str(&format!("{samples} samples into {}", self.level2.display()));
        text
    }
}

type Units = (Vec<Unit>, Vec<(String, String)>);

/// Where Level 1 and its locations are.
struct Input<'a> {
    folder: &'a Path,
    table: Option<&'a LocationTable>,
    table_path: &'a Path,
}

/// One unit for each split of each Level-1 store; tiles of the table without a store are unusable.
fn level1_units(input: &Input<'_>, settings: &Settings, separation: &Separation) -> Result<Units, Error> {
    let Input { folder, table, table_path } = *input;
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
        let content_sha256 = content_hash(&path)?;
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
            let cube = CubeRef { index, id: id.clone(), seed };
            match separation.mode {
                SplitMode::Spatial | SplitMode::Both => splits.entry(split).or_default().push(cube),
                SplitMode::Temporal => {
                    for split in Split::ALL.into_iter().filter(|split| separation.years_of(*split).is_some())
                    {
                        splits.entry(split).or_default().push(cube.clone());
                    }
                }
            }
        }
        for (split, cubes) in splits {
            let also_trains = separation.mode == SplitMode::Temporal && split != Split::Train;
            let source = Source::Level1 {
                path: path.clone(),
                content_sha256: content_sha256.clone(),
                cubes,
                years: separation.years_of(split),
                climatology: separation.years_of(Split::Train).filter(|_| also_trains),
            };
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

/// Where and when the samples of each cube may lie, in each split.
fn grounds(units: &[Unit], settings: &Settings) -> Result<Vec<Ground>, Error> {
    let mut grounds = Vec::new();
    for unit in units {
        let Source::Level1 { path, cubes, years, .. } = &unit.source else { continue };
        let level1 = Level1::open(path)?;
        let bounds = level1.bounds()?;
        let (from, to) = settings.days_of(*years);
        grounds.extend(cubes.iter().map(|cube| Ground {
            cube_id: cube.id.clone(),
            split: unit.split,
            epsg: level1.epsg,
            bounds: bounds[cube.index],
            from: to_cf_day(from),
            to: to_cf_day(to),
        }));
    }
    Ok(grounds)
}
