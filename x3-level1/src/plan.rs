//! What will run: per tile which cubes, scenes and sources, checked against what is on disk.

use std::ops::Range;
use std::path::{Path, PathBuf};

use minicube::run::Project;
use minicube::{
    Bounds, CellGrid, Epsg, LocationTable, LonLat, NaiveDate, SENTINEL2_NAMES, partial_path, to_cf_day,
};
use serde::Serialize;

use crate::Error;
use crate::asset::asset_key;
use crate::config::{Classes, Config, OffsetRule, SameDay};
use crate::era5_plan::{self, Era5Plan};
use crate::layout::worldcover;
use crate::ledger::Ledger;
use crate::same_day::frames;
use crate::scene::{Scene, scenes};
use crate::smap::{self, SmapPlan};
use crate::statics::{self, StaticsPlan};

/// The resolved plan of a project.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// First day, inclusive.
    pub first: NaiveDate,
    /// Last day, inclusive.
    pub last: NaiveDate,
    /// Layers besides the scene classification, by their keys.
    pub assets: Vec<String>,
    /// How classes are resampled.
    pub classes: Classes,
    /// Who decides what digital numbers mean.
    pub offset: OffsetRule,
    /// What becomes of several acquisitions on one day.
    pub same_day: SameDay,
    /// Size and resolution of the cubes.
    pub grid: CellGrid,
    /// Soil moisture.
    pub smap: Option<SmapPlan>,
    /// Weather.
    pub era5: Option<Era5Plan>,
    /// Static layers.
    pub statics: StaticsPlan,
    /// The tiles and their cubes.
    pub tiles: Vec<TileCubes>,
    /// Largest buffer of decoded reflectances, bytes.
    #[serde(skip)]
    pub memory: usize,
    /// `raw/`.
    #[serde(skip)]
    pub raw: PathBuf,
    /// Where the stores go: `level1/`, or a place in a bucket.
    #[serde(skip)]
    pub level1: PathBuf,
    /// `level1/`: manifest, report, and stores under construction.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// A tile and the cubes wanted in it.
#[derive(Clone, Debug, Serialize)]
pub struct TileCubes {
    /// Sentinel-2 tile id.
    pub tile: String,
    /// UTM zone.
    pub epsg: Epsg,
    /// Cubes, ascending by id.
    pub cubes: Vec<CubePlan>,
}

/// One minicube.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CubePlan {
    /// Location id.
    pub id: String,
    /// Extent, UTM metres.
    pub bounds: Bounds,
    /// Centre.
    pub center: LonLat,
}

/// Everything that decides the bytes of one tile's store.
#[derive(Clone, Debug, Serialize)]
pub struct TilePlan {
    /// Version of this stage: another one may compute other values.
    pub version: &'static str,
    /// Sentinel-2 tile id.
    pub tile: String,
    /// UTM zone.
    pub epsg: Epsg,
    /// Size and resolution of the cubes.
    pub grid: CellGrid,
    /// Cubes, ascending by id.
    pub cubes: Vec<CubePlan>,
    /// Acquisitions, ascending.
    pub scenes: Vec<Scene>,
    /// Layers besides the scene classification, by their keys.
    pub assets: Vec<String>,
    /// How classes are resampled.
    pub classes: Classes,
    /// Who decides what digital numbers mean.
    pub offset: OffsetRule,
    /// What becomes of several acquisitions on one day.
    pub same_day: SameDay,
    /// First CF day of the daily series.
    pub first_day: i32,
    /// Days in the daily series.
    pub days: usize,
    /// Soil moisture.
    pub smap: Option<SmapPlan>,
    /// Weather.
    pub era5: Option<Era5Plan>,
    /// Static layers.
    pub statics: StaticsPlan,
}

/// Name of the scene classification's asset.
pub(crate) const SCL: &str = "scl";

impl Config {
    /// Fills the defaults, checks the values and looks at what is on disk.
    ///
    /// # Errors
    /// - [`Error::Config`] for values that make no sense,
    /// - [`Error::NoInput`] if there are no locations or no raw data,
    /// - errors of opening the location table and the first weather files.
    pub fn resolve(&self, project: &Project) -> Result<Plan, Error> {
        let assets = self.keys()?;
        let raw = project.raw();
        let table_path = project.locations();
        if !table_path.is_file() {
            return Err(Error::NoInput {
                path: table_path,
                what: "expected the location table, found no such file".into(),
                hint: "run `x1-sampler run` with the same project file first",
            });
        }
        if !raw.join("s2").is_dir() {
            return Err(Error::NoInput {
                path: raw.join("s2"),
                what: "expected raw Sentinel-2 scenes, found no such folder".into(),
                hint: "run `x2-downloader run` with the same project file first",
            });
        }
        let table = LocationTable::read(&table_path)?;
        let tiles = table.tiles().into_iter().filter_map(|(tile, locations)| {
            let epsg = locations.first()?.epsg;
            let mut cubes: Vec<CubePlan> = locations
                .iter()
                .map(|location| CubePlan {
                    id: location.id.clone(),
                    bounds: location.bounds,
                    center: LonLat { lon: location.lon, lat: location.lat },
                })
                .collect();
            cubes.sort_by(|a, b| a.id.cmp(&b.id));
            Some(TileCubes { tile, epsg, cubes })
        });
        Ok(Plan {
            first: project.first_day(),
            last: project.last_day(),
            assets,
            classes: self.classes,
            offset: self.offset,
            same_day: self.same_day,
            grid: table.grid,
            smap: smap::plan(&self.smap, &raw.join("smap"))?,
            era5: era5_plan::plan(&self.era5, &raw.join("era5"))?,
            statics: statics::plan(self, project)?,
            tiles: tiles.collect(),
            memory: self.memory_mb.max(1) << 20,
            level1: project.level1(),
            folder: project.level1_folder(),
            raw,
        })
    }

    /// The keys of the wanted layers, without the scene classification, which comes by itself.
    ///
    /// # Errors
    /// [`Error::Config`] for a name that is none of Sentinel-2's, a layer that is named twice, and no layer at all.
    pub(crate) fn keys(&self) -> Result<Vec<String>, Error> {
        let wrong =
            |expected: &str, found: String| Error::Config { key: "assets", expected: expected.into(), found };
        if self.assets.is_empty() {
            return Err(wrong("at least one asset", "none".into()));
        }
        let mut keys: Vec<String> = Vec::new();
        for name in &self.assets {
            let Some(key) = asset_key(name) else {
                let known = SENTINEL2_NAMES.map(|(key, esa)| format!("{key} ({esa})")).join(", ");
                return Err(wrong(&format!("layers of Sentinel-2: {known}"), format!("`{name}`")));
            };
            if keys.iter().any(|known| known == key) {
                return Err(wrong("each asset once", format!("`{key}` twice")));
            }
            keys.push(key.to_owned());
        }
        keys.retain(|key| key != SCL);
        Ok(keys)
    }

    pub(crate) fn legend(&self) -> Result<Vec<(u8, String)>, Error> {
        let Some(legend) = &self.landcover_legend else { return Ok(worldcover()) };
        let mut entries = legend
            .iter()
            .map(|(code, name)| {
                let code = code.parse::<u8>().ok().filter(|&code| code > 0);
                code.map(|code| (code, name.replace(' ', "_"))).ok_or_else(|| Error::Config {
                    key: "landcover_legend",
                    expected: "codes from 1 to 255".into(),
                    found: format!("{:?}", legend.keys()),
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        entries.sort();
        Ok(entries)
    }
}

impl Plan {
    /// What will run for one tile.
    ///
    /// # Errors
    /// [`Error::NoInput`] if the tile has no scenes, [`Error::Item`] for an unusable item.
    pub fn tile(&self, tile: &TileCubes, ledger: &Ledger) -> Result<TilePlan, Error> {
        let assets: Vec<String> =
            std::iter::once(SCL.to_owned()).chain(self.assets.iter().cloned()).collect();
        let span = (self.first, self.last);
        let days = usize::try_from((self.last - self.first).num_days() + 1).unwrap_or(0);
        Ok(TilePlan {
            version: env!("CARGO_PKG_VERSION"),
            tile: tile.tile.clone(),
            epsg: tile.epsg,
            grid: self.grid,
            cubes: tile.cubes.clone(),
            scenes: scenes(&self.raw.join("s2"), &tile.tile, &assets, span, ledger)?,
            assets: self.assets.clone(),
            classes: self.classes,
            offset: self.offset,
            same_day: self.same_day,
            first_day: to_cf_day(self.first),
            days,
            smap: self.smap.clone(),
            era5: self.era5.clone(),
            statics: self.statics.clone(),
        })
    }

    /// Where a tile's store goes.
    #[must_use]
    pub fn store(&self, tile: &str) -> PathBuf {
        store_path(&self.level1, tile)
    }

    /// Where a tile's store is built.
    #[must_use]
    pub fn partial(&self, tile: &str) -> PathBuf {
        partial_path(&store_path(&self.folder, tile))
    }
}

/// `<level1>/<tile>.zarr`.
#[must_use]
pub(crate) fn store_path(level1: &Path, tile: &str) -> PathBuf {
    level1.join(format!("{tile}.zarr"))
}

impl TilePlan {
    /// The acquisitions of each frame, as ranges of `scenes`.
    #[must_use]
    pub fn frames(&self) -> Vec<Range<usize>> {
        frames(&self.scenes, self.same_day)
    }

    /// The scene classification, then the other layers.
    pub fn all_assets(&self) -> impl Iterator<Item = &str> {
        std::iter::once(SCL).chain(self.assets.iter().map(String::as_str))
    }

    /// Mean of the cubes' centres, also across the antimeridian.
    #[must_use]
    pub fn center(&self) -> LonLat {
        let n = self.cubes.len().max(1) as f64;
        let mean = |of: &dyn Fn(&LonLat) -> f64| self.cubes.iter().map(|c| of(&c.center)).sum::<f64>() / n;
        let west = self.cubes.first().map_or(0.0, |cube| cube.center.lon);
        let turned = |lon: f64| (lon + 180.0).rem_euclid(360.0) - 180.0;
        // A tile is far less than half a turn wide.
        let lon =
            mean(&|center| if (center.lon - west).abs() > 180.0 { center.lon + 360.0 } else { center.lon });
        LonLat { lon: turned(lon), lat: mean(&|center| center.lat) }
    }
}
