//! What the user writes under `[level1]`. Commented defaults: `config.toml` beside this crate's `Cargo.toml`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use minicube::terrain::Geomorphons;
use serde::{Deserialize, Serialize};

use crate::daily::Reduce;

/// The `[level1]` section.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Layers of Sentinel-2, by their Earth Search keys (`nir08`) or ESA's names (`B8A`): reflectances, `aot`, `wvp`. The
    /// scene classification `scl` is always taken.
    pub assets: Vec<String>,
    /// How a class on the cube's grid is made of those of the scene.
    pub classes: Classes,
    /// Who decides whether digital numbers carry the offset of baseline 04.00.
    pub offset: OffsetRule,
    /// What becomes of several acquisitions of a tile on one day.
    pub same_day: SameDay,
    /// Soil moisture and its companions from SMAP.
    pub smap: SmapConfig,
    /// Weather from ERA5.
    pub era5: Era5Config,
    /// Static layers: `dem`, `slope`, `landcover`, `aspect`, `geomorphon`. Absent = the first three as far as their raw
    /// files are there.
    pub statics: Option<Vec<Static>>,
    /// Voids of the elevation are filled from elevations that are at most so many pixels of the cube away, up to 100;
    /// 0 = off.
    pub fill_voids_px: usize,
    /// Further static layers from rasters of the user's own: soil, land types.
    pub layers: Vec<LayerConfig>,
    /// Terrain forms, where `statics` asks for them.
    pub geomorphon: GeomorphonConfig,
    /// Names of the land-cover codes: code = "name". Absent = ESA WorldCover.
    pub landcover_legend: Option<BTreeMap<String, String>>,
    /// Largest buffer for decoded reflectances, MiB; does not change the result.
    pub memory_mb: usize,
    /// A dataset of others to bring to Level 1 instead of `raw/`.
    pub import: Option<ImportConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            assets: ["blue", "green", "red", "nir08"].map(str::to_owned).to_vec(),
            classes: Classes::Mode,
            offset: OffsetRule::Metadata,
            same_day: SameDay::Separate,
            smap: SmapConfig::default(),
            era5: Era5Config::default(),
            statics: None,
            fill_voids_px: 0,
            layers: Vec::new(),
            geomorphon: GeomorphonConfig::default(),
            landcover_legend: None,
            memory_mb: 512,
            import: None,
        }
    }
}

/// How classes are resampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Classes {
    /// The class with the largest area.
    Mode,
    /// The class at the pixel's centre.
    Nearest,
}

/// Who decides what digital numbers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OffsetRule {
    /// The item; where the pixels disagree it is said, as a failed outcome.
    Metadata,
    /// The pixels where they are sure, elsewhere the item.
    Pixels,
}

/// What becomes of several acquisitions on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SameDay {
    /// Each stays a frame of its own.
    Separate,
    /// They become one frame, each pixel from the clearest of them.
    Merge,
}

/// `[level1.smap]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SmapConfig {
    /// Variables; absent = `sm_surface`, `sm_rootzone`, `surface_pressure`, as far as the granules have them.
    pub variables: Option<Vec<SmapVariable>>,
    /// Edge of the window of cells around the cube's centre, 1 to 128.
    pub window: usize,
    /// Granules that make a complete day (a sum needs all of them).
    pub granules_per_day: u32,
}

impl Default for SmapConfig {
    fn default() -> Self {
        SmapConfig { variables: None, window: 1, granules_per_day: 8 }
    }
}

/// One variable of SMAP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmapVariable {
    /// Its name in the store, below `smap/`.
    pub name: String,
    /// Its path in the granule; absent = `Geophysical_Data/<name>`.
    #[serde(default)]
    pub path: Option<String>,
    /// How the values of a day become one; absent = by [`SmapVariable::reduce`].
    #[serde(default)]
    pub reduce: Option<Reduce>,
    /// Index along the dimension of a variable that is not of the grid; absent = there is none, or one of length 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<usize>,
}

/// Fluxes of water in Level 4, kg m-2 s-1, three-hourly means.
const WATER_FLUXES: [&str; 7] = [
    "precipitation_total_surface_flux",
    "snowfall_surface_flux",
    "land_evapotranspiration_flux",
    "overland_runoff_flux",
    "baseflow_flux",
    "snow_melt_flux",
    "soil_water_infiltration_flux",
];

impl SmapVariable {
    /// The path in the granule.
    #[must_use]
    pub fn path(&self) -> String {
        self.path.clone().unwrap_or_else(|| format!("Geophysical_Data/{}", self.name))
    }

    /// How the values of a day become one: as asked for, else fluxes of water by their integral over the day, in kg m-2
    /// (mm), and states (moisture, temperature, pressure, fluxes of heat) by their mean.
    #[must_use]
    pub fn reduce(&self) -> Reduce {
        let path = self.path();
        let name = path.rsplit('/').next().unwrap_or_default();
        let usual = if WATER_FLUXES.contains(&name) { Reduce::Integral } else { Reduce::Mean };
        self.reduce.unwrap_or(usual)
    }
}

/// `[level1.era5]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Era5Config {
    /// Variables; absent = `t2m tp e pev ssr ssrd sp`, as far as the files have them.
    pub variables: Option<Vec<Era5Variable>>,
    /// Edge of the window of grid points around the centre of the tile's cubes, 1 to 128.
    pub window: usize,
    /// What a point of the window takes from the grid.
    pub interpolation: Interpolation,
}

impl Default for Era5Config {
    fn default() -> Self {
        Era5Config { variables: None, window: 1, interpolation: Interpolation::Nearest }
    }
}

/// What a point of the window takes from the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// The nearest grid point: the window is made of grid points.
    Nearest,
    /// Linear in latitude and longitude between four grid points: the window is centred on the place, its points a step
    /// of the grid apart. Grid points that are missing leave their weight to the others; where those that are there
    /// weigh less than half, the value is missing.
    Bilinear,
}

/// One variable of ERA5.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Era5Variable {
    /// Its name in the store, below `era5/`.
    pub name: String,
    /// Its name in the files; absent = `name`.
    #[serde(default)]
    pub source: Option<String>,
    /// How the values of a day become one.
    #[serde(default = "mean")]
    pub reduce: Reduce,
    /// Whether a value stands for the hour that *ends* at its time stamp, as ECMWF's accumulations do: 00:00 then
    /// belongs to the day before. Absent = the time stamp's own day.
    #[serde(default)]
    pub hour_ending: bool,
}

impl Era5Variable {
    /// The name in the files.
    #[must_use]
    pub fn source(&self) -> &str {
        self.source.as_deref().unwrap_or(&self.name)
    }
}

fn mean() -> Reduce {
    Reduce::Mean
}

/// A static layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Static {
    /// Elevation, metres.
    Dem,
    /// Slope, degrees, from the elevation.
    Slope,
    /// Land-cover class.
    Landcover,
    /// Terrain form, from the elevation.
    Geomorphon,
    /// Aspect, degrees clockwise from north, from the elevation.
    Aspect,
}

/// One entry of `[[level1.layers]]`: a raster, or a folder of rasters that are joined, as `static/<name>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerConfig {
    /// Its name in the store, below `static/`: small letters, digits, `_`.
    pub name: String,
    /// The file or folder, relative to the project folder.
    pub path: PathBuf,
    /// Whether its pixels are classes or numbers.
    pub kind: LayerKind,
    /// Units of the numbers; absent = those that the raster names.
    #[serde(default)]
    pub units: Option<String>,
    /// Numbers are `stored * scale + offset`; absent = as the raster says, else 1.
    #[serde(default)]
    pub scale: Option<f64>,
    /// See `scale`; absent = as the raster says, else 0.
    #[serde(default)]
    pub offset: Option<f64>,
    /// What the layer is.
    #[serde(default)]
    pub long_name: Option<String>,
    /// Names of the classes: code = "name".
    #[serde(default)]
    pub legend: BTreeMap<String, String>,
}

/// What the pixels of a raster are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerKind {
    /// Codes from 1 to 255, 0 = none: the mode, as `uint8`.
    Class,
    /// Numbers: bilinear, or over a wider area where the raster is finer than the cube, as `float32`; NaN = none.
    Number,
}

/// `[level1.geomorphon]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GeomorphonConfig {
    /// Search radius, pixels of the cube, `skip_px + 2` to 1000.
    pub search_px: usize,
    /// Pixels around the observer that are not looked at.
    pub skip_px: usize,
    /// Flatness threshold, degrees, above 0 and below 90.
    pub flat_deg: f64,
    /// Flatness distance, pixels, between `skip_px` and `search_px`; 0 = off.
    pub flat_distance_px: usize,
}

impl Default for GeomorphonConfig {
    fn default() -> Self {
        let Geomorphons { search, skip, flat_deg, flat_distance } = Geomorphons::default();
        GeomorphonConfig { search_px: search, skip_px: skip, flat_deg, flat_distance_px: flat_distance }
    }
}

impl GeomorphonConfig {
    /// The same in the words of the method.
    #[must_use]
    pub fn options(&self) -> Geomorphons {
        Geomorphons {
            search: self.search_px,
            skip: self.skip_px,
            flat_deg: self.flat_deg,
            flat_distance: self.flat_distance_px,
        }
    }
}

/// `[level1.import]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportConfig {
    /// Layout of the files.
    pub format: ImportFormat,
    /// Files or folders, relative to the working directory.
    #[serde(default)]
    pub input: Vec<PathBuf>,
    /// Pixel of the minicubes, metres.
    #[serde(default = "default_resolution")]
    pub resolution_m: f64,
    /// Pixels along an edge of a minicube.
    #[serde(default = "default_size")]
    pub size_px: usize,
}

/// Layouts that can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ImportFormat {
    /// openEO extractions of WorldCereal: `S2_L2A_10m*.nc`, `S2_L2A_20m*.nc`, `AgERA5_DAILY*.nc`.
    OpeneoNetcdf,
}

/// 20 m, the grid of the scene classification and of `nir08`.
pub fn default_resolution() -> f64 {
    20.0
}

/// 32 pixels, 640 m at 20 m.
pub fn default_size() -> usize {
    32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commented_file_holds_the_defaults() {
        #[derive(Deserialize)]
        struct File {
            level1: Config,
        }
        let file: File = toml::from_str(include_str!("../config.toml")).unwrap();
        let defaults =
            Config { smap: SmapConfig { variables: None, ..SmapConfig::default() }, ..Config::default() };
        assert_eq!(file.level1, defaults);
    }
}
