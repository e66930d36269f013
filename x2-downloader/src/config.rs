//! What the user wrote in the `[download]` section.

use std::path::PathBuf;

use minicube::NaiveDate;
use serde::{Deserialize, Deserializer, Serialize};

use crate::source::era5_config::Era5;
use crate::source::smap_config::Smap;

/// The `[download]` section. `config.toml` in this crate's folder holds the same defaults with comments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Download {
    /// Address of the STAC API's landing page.
    pub stac: String,
    /// Collection of Sentinel-2 Level-2A scenes.
    pub collection: String,
    /// Asset keys to fetch; `scl` comes along always. Empty: no Sentinel-2 at all.
    pub assets: Vec<String>,
    /// Whether to fetch the scene classification; without it no block is known to be cloudy, and Level 2 has no mask.
    pub scl: bool,
    /// Scenes with a larger `eo:cloud_cover` are not fetched, percent.
    pub max_cloud_cover: f64,
    /// Relative orbits to fetch, 1 to 143; empty: all.
    pub orbits: Vec<u32>,
    /// Months to fetch, 1 to 12; empty: all.
    pub months: Vec<u32>,
    /// First and last day, within the project's years; all of them where absent.
    pub days: Option<[NaiveDate; 2]>,
    /// Whether to leave out blocks in which no wanted cube has enough clear pixels.
    pub skip_cloudy_blocks: bool,
    /// Share of a cube's pixels in a block that must be exceeded by clear ones, 0 to 1.
    pub min_clear_fraction: f64,
    /// Scene classes (SCL) that count as clear; at least those that Level 2 keeps.
    pub clear_classes: Vec<u8>,
    /// How rasters are fetched.
    pub mode: Mode,
    /// Hosts that files may come from beside the catalogue's own and those it is known to use; `*.name` for all below.
    pub hosts: Vec<String>,
    /// Requests at the same time.
    pub connections: usize,
    /// Requests at the same time to one host.
    pub connections_per_host: usize,
    /// Requests a second to one host; 0 for no limit.
    pub requests_per_s: f64,
    /// Further tries after a failed request.
    pub retries: u32,
    /// Longest time of a request for a part of a file, seconds.
    pub timeout_s: f64,
    /// Longest silence within a transfer, seconds.
    pub stall_s: f64,
    /// Longest time of a raster with all its requests and retries, seconds; what came until then is kept for a later run.
    pub deadline_s: f64,
    /// Blocks that are at most this far apart are fetched with one request.
    pub coalesce_gap_bytes: u64,
    /// First bytes of a raster that are asked for to find its directory.
    pub header_bytes: u64,
    /// SMAP L4 granules.
    pub smap: Option<Smap>,
    /// ERA5.
    pub era5: Option<Era5>,
    /// Elevation rasters: names of products (`copernicus30`, `copernicus90`), addresses, local files or folders.
    pub dem: Vec<String>,
    /// Land-cover rasters: names of products (`worldcover2020`, `worldcover2021`), addresses, local files or folders.
    pub landcover: Vec<String>,
    /// How far around the wanted cells elevation is taken, degrees, at least 0.01; land cover is taken 0.01 around.
    pub static_margin_deg: f64,
    /// Tokens, each for one host; a table or a list of tables.
    #[serde(deserialize_with = "one_or_many")]
    pub bearer: Vec<Bearer>,
    /// File with logins by host; `$NETRC` or `~/.netrc` where absent.
    pub netrc: Option<PathBuf>,
    /// Signing of addresses; Planetary Computer's is known.
    pub sas: Option<SasConfig>,
}

/// How rasters are fetched. Has no influence on what is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Wanted blocks, or the whole file where that is cheaper.
    #[default]
    Auto,
    /// Wanted blocks.
    Blocks,
    /// Whole files, of which the wanted blocks are kept.
    Whole,
}

/// Shared access signatures, as Azure's storage wants them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SasConfig {
    /// Address that gives `{"msft:expiry": …, "token": …}`; `{collection}` stands for the collection.
    pub token: String,
    /// Hosts whose addresses are signed; `*.name` for all below.
    pub hosts: Vec<String>,
}

/// A bearer token, sent to one host only and never written anywhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bearer {
    /// The only host that gets it.
    pub host: String,
    /// Environment variable that holds it.
    pub env: Option<String>,
    /// File that holds it.
    pub file: Option<PathBuf>,
}

impl Default for Download {
    fn default() -> Self {
        Download {
            stac: "https://earth-search.aws.element84.com/v1".into(),
            collection: "sentinel-2-l2a".into(),
            assets: ["blue", "green", "red", "nir08"].map(str::to_owned).to_vec(),
            scl: true,
            max_cloud_cover: 80.0,
            orbits: Vec::new(),
            months: Vec::new(),
            days: None,
            skip_cloudy_blocks: true,
            min_clear_fraction: 0.0,
            clear_classes: vec![1, 2, 4, 5, 6, 7],
            mode: Mode::Auto,
            hosts: Vec::new(),
            connections: 16,
            connections_per_host: 16,
            requests_per_s: 0.0,
            retries: 8,
            timeout_s: 120.0,
            stall_s: 20.0,
            deadline_s: 3600.0,
            coalesce_gap_bytes: 16 << 10,
            header_bytes: 16 << 10,
            smap: None,
            era5: None,
            dem: Vec::new(),
            landcover: Vec::new(),
            static_margin_deg: 0.05,
            bearer: Vec::new(),
            netrc: None,
            sas: None,
        }
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Bearer>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(Bearer),
        Many(Vec<Bearer>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(bearer) => vec![bearer],
        OneOrMany::Many(bearers) => bearers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commented_file_holds_the_defaults() {
        #[derive(Deserialize)]
        struct File {
            download: Download,
        }
        let file: File = toml::from_str(include_str!("../config.toml")).unwrap();
        assert_eq!(file.download, Download::default());
    }
}
