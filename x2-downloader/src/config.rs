//! What the user wrote in the `[download]` section.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
    /// Scenes with a larger `eo:cloud_cover` are not fetched, percent.
    pub max_cloud_cover: f64,
    /// Whether to leave out blocks in which no wanted cube has enough clear pixels.
    pub skip_cloudy_blocks: bool,
    /// Share of a cube's pixels in a block that must be exceeded by clear ones, 0 to 1.
    pub min_clear_fraction: f64,
    /// Scene classes (SCL) that count as clear; at least those that Level 2 keeps.
    pub clear_classes: Vec<u8>,
    /// Requests at the same time.
    pub connections: usize,
    /// Further tries after a failed request.
    pub retries: u32,
    /// Longest time of a request for a part of a file, seconds.
    pub timeout_s: f64,
    /// Longest silence within a transfer, seconds.
    pub stall_s: f64,
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
    /// How far around the wanted cells tiles of named products and of folders are taken, degrees.
    pub static_margin_deg: f64,
    /// A token for one host.
    pub bearer: Option<Bearer>,
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
            max_cloud_cover: 80.0,
            skip_cloudy_blocks: true,
            min_clear_fraction: 0.0,
            clear_classes: vec![1, 2, 4, 5, 6, 7],
            connections: 16,
            retries: 8,
            timeout_s: 120.0,
            stall_s: 20.0,
            coalesce_gap_bytes: 16 << 10,
            header_bytes: 16 << 10,
            smap: None,
            era5: None,
            dem: Vec::new(),
            landcover: Vec::new(),
            static_margin_deg: 0.05,
            bearer: None,
        }
    }
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
