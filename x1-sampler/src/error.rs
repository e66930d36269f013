//! What can go wrong while sampling.

use std::path::PathBuf;

/// A failure of the sampler; [`Error::hint`] says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something in the `[sampler]` section makes no sense; all problems are listed.
    #[error("[sampler] {}", problems.join("; "))]
    Config {
        /// One entry a problem, each naming its key.
        problems: Vec<String>,
    },
    /// The file with the area of interest cannot be used.
    #[error("{path}: {reason}", path = path.display())]
    AoiFile {
        /// The GeoJSON file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No Sentinel-2 tile meets the area of interest.
    #[error("no Sentinel-2 tile meets the area of interest {aoi}")]
    NoTiles {
        /// Name of the area.
        aoi: String,
    },
    /// Not one cell is inside the area, on land, and covered by all strata rasters.
    #[error("no candidate cell in {tiles} tiles: {reasons}")]
    NoCandidates {
        /// Number of tiles looked at.
        tiles: usize,
        /// How many cells were lost to what.
        reasons: String,
    },
    /// A raster cannot be opened or read.
    #[error("{stratum} raster {source_name}: {reason}")]
    Raster {
        /// The stratum it serves.
        stratum: String,
        /// Path or URL as configured.
        source_name: String,
        /// What GDAL says, or what is missing.
        reason: String,
    },
    /// A raster holds a class that its legend does not know.
    #[error("{stratum} raster {source_name}: value {value} in tile {tile} is not in the legend {legend}")]
    UnknownClass {
        /// The stratum.
        stratum: String,
        /// Path or URL as configured.
        source_name: String,
        /// The value found.
        value: f32,
        /// Where.
        tile: String,
        /// Name of the legend.
        legend: String,
    },
    /// A table of locations to judge cannot be used.
    #[error("{path}: {reason}", path = path.display())]
    Points {
        /// The table.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The text with the area of interest cannot be used.
    #[error("wkt: {reason}")]
    AoiText {
        /// What is wrong with it.
        reason: String,
    },
    /// A country is not known, or has no outline.
    #[error("countries: {name}: {reason}")]
    Country {
        /// As configured.
        name: String,
        /// What is wrong with it, and names like it.
        reason: String,
    },
    /// A file with the tile grid cannot be used.
    #[error("{path}: {reason}", path = path.display())]
    GridFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A coordinate transformation failed.
    #[error("cannot transform from {from} to {to}: {reason}")]
    Projection {
        /// Source reference system.
        from: String,
        /// Target reference system.
        to: String,
        /// What PROJ says.
        reason: String,
    },
    /// A shared file could not be read or written.
    #[error(transparent)]
    Minicube(#[from] minicube::Error),
}

impl Error {
    /// What the user can do about it, in one line.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Config { .. } => "the keys of [sampler] are listed in x1-sampler/README.md".into(),
            Error::AoiFile { .. } => {
                "give polygons as GeoJSON or WKT in degrees (lon, lat), or as GeoPackage, Shapefile or another format of GDAL in any reference system; `aoi_layer` chooses a layer".into()
            }
            Error::AoiText { .. } => {
                "give POLYGON, MULTIPOLYGON or GEOMETRYCOLLECTION in degrees (lon lat), e.g. POLYGON((24 -20, 25 -20, 25 -19, 24 -20))".into()
            }
            Error::Country { .. } => {
                "give English names or ISO 3166-1 codes, e.g. Kenya, KE, KEN or 404; for other areas use `aoi_file`".into()
            }
            Error::GridFile { .. } => {
                "give the KML file of the ESA, or GeoParquet, GeoPackage, Shapefile or GeoJSON with a property `tile` or `name`".into()
            }
            Error::NoTiles { .. } => {
                "bbox is [west, south, east, north] in degrees, between 84° S and 85° N; `tiles` must lie in it".into()
            }
            Error::NoCandidates { .. } => {
                "widen the area, raise water_max, or check that the rasters cover the area".into()
            }
            Error::Raster { .. } => {
                "check the path or URL with gdalinfo; a raster without georeference needs `crs` and `extent`".into()
            }
            Error::UnknownClass { stratum, .. } => format!(
                "choose another `legend`, or list every class in [sampler.{stratum}.classes], e.g. \"10\" = \"tree_cover\""
            ),
            Error::Points { .. } => {
                "give CSV, Parquet, GeoJSON or GeoPackage with longitude and latitude in degrees, e.g. as `lon` and `lat`".into()
            }
            Error::Projection { .. } => "check the `crs` of the raster".into(),
            Error::Minicube(error) => return error.hint(),
        })
    }
}

impl From<Error> for minicube::run::Failure {
    fn from(error: Error) -> Self {
        minicube::run::Failure::of(&error, error.hint())
    }
}
