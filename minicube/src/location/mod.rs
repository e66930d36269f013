//! The location table: which places, of which strata, in which split.

mod parquet;
mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Bounds, CellGrid, Epsg, LonLat};

/// What a location is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// To fit models.
    Train,
    /// To choose among models.
    Val,
    /// To report on models.
    Test,
}

impl Split {
    /// All three.
    pub const ALL: [Split; 3] = [Split::Train, Split::Val, Split::Test];

    /// `train`, `val` or `test`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Val => "val",
            Split::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Split {
    type Err = String;

    fn from_str(text: &str) -> Result<Split, String> {
        Split::ALL
            .into_iter()
            .find(|split| split.name() == text)
            .ok_or_else(|| format!("expected train, val or test, found `{text}`"))
    }
}

/// One minicube's place: a cell of a Sentinel-2 tile.
#[derive(Clone, Debug, PartialEq)]
pub struct Location {
    /// `<tile>_<row><col>`, see [`crate::location_id`].
    pub id: String,
    /// Sentinel-2 tile id.
    pub tile: String,
    /// UTM zone of the tile.
    pub epsg: Epsg,
    /// Cell row in the tile, 0 in the north.
    pub row: usize,
    /// Cell column in the tile, 0 in the west.
    pub col: usize,
    /// Cell extent, UTM metres.
    pub bounds: Bounds,
    /// Cell centre, degrees east.
    pub lon: f64,
    /// Cell centre, degrees north.
    pub lat: f64,
    /// Class of the cell in each stratum.
    pub strata: BTreeMap<String, String>,
    /// Measured numbers of the cell by name, e.g. `elevation_m`, and `inclusion_probability`.
    pub attributes: BTreeMap<String, f64>,
    /// Fold of a cross-validation, from 0; none where no folds were asked for.
    pub fold: Option<u32>,
    /// Inverse-frequency weight, mean 1 over the table.
    pub weight: f64,
    /// Split.
    pub split: Split,
    /// Seed for whoever draws within the cell.
    pub seed: i64,
    /// Outline in lon/lat: a closed ring, counter-clockwise.
    pub polygon: Vec<LonLat>,
}

/// The sample of locations, as stored in `locations.parquet`.
#[derive(Clone, Debug, PartialEq)]
pub struct LocationTable {
    /// One entry a minicube, ascending by id.
    pub locations: Vec<Location>,
    /// Size and resolution of the minicubes.
    pub grid: CellGrid,
    /// Further metadata: config hash, versions, products, sources, variables.
    pub meta: serde_json::Map<String, serde_json::Value>,
}

impl LocationTable {
    /// The locations by tile, tiles ascending.
    #[must_use]
    pub fn tiles(&self) -> BTreeMap<String, Vec<&Location>> {
        let mut tiles: BTreeMap<String, Vec<&Location>> = BTreeMap::new();
        for location in &self.locations {
            tiles.entry(location.tile.clone()).or_default().push(location);
        }
        tiles
    }

    /// Names of the strata, ascending.
    #[must_use]
    pub fn strata(&self) -> Vec<String> {
        let names: std::collections::BTreeSet<&String> =
            self.locations.iter().flat_map(|location| location.strata.keys()).collect();
        names.into_iter().cloned().collect()
    }

    /// Names of the attributes, ascending.
    #[must_use]
    pub fn attributes(&self) -> Vec<String> {
        let names: std::collections::BTreeSet<&String> =
            self.locations.iter().flat_map(|location| location.attributes.keys()).collect();
        names.into_iter().cloned().collect()
    }
}
