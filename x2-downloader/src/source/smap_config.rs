//! What the user wrote about SMAP, and what it comes to.

use minicube::{LocationTable, LonLat};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::plan::{http_url, identity_of_url};

/// Group of the variables in a granule.
pub(crate) const GROUP: &str = "Geophysical_Data";

/// The `smap` key of `[download]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Smap {
    /// A directory listing with a folder `yyyy.mm.dd/` a day.
    pub listing: Option<String>,
    /// The search of NASA's Common Metadata Repository; instead of `listing`.
    pub cmr: Option<String>,
    /// Short name of the product, for `cmr`.
    pub short_name: String,
    /// Version of the product, for `cmr`.
    pub version: String,
    /// Variables that are kept: names in `/Geophysical_Data`, or paths. Empty: all of `/Geophysical_Data`.
    pub variables: Vec<String>,
    /// Edge of the square of grid cells that is kept around each wanted location.
    pub window_px: usize,
    /// Whether to keep granules as served, 150 MB each.
    pub keep_whole: bool,
}

impl Default for Smap {
    fn default() -> Smap {
        Smap {
            listing: None,
            cmr: None,
            short_name: "SPL4SMGP".into(),
            version: "008".into(),
            variables: ["sm_surface", "sm_rootzone", "surface_pressure"].map(str::to_owned).to_vec(),
            window_px: 16,
            keep_whole: false,
        }
    }
}

/// What is fetched of SMAP.
#[derive(Clone, Debug, Serialize)]
pub struct SmapPlan {
    /// Where the granules are.
    pub source: SmapSource,
    /// Paths of the variables that are kept; empty for all of `/Geophysical_Data`.
    pub variables: Vec<String>,
    /// Edge of the square of grid cells that is kept around each location.
    pub window_px: usize,
    /// Whether granules are kept as served.
    pub keep_whole: bool,
    /// Centres of the wanted cells; the plan has the cells already.
    #[serde(skip)]
    pub(crate) centers: Vec<LonLat>,
}

/// Where SMAP granules are found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SmapSource {
    /// In a listing with a folder a day.
    #[serde(serialize_with = "identity_of_url")]
    Listing(Url),
    /// By a search.
    Cmr {
        /// Address of the search.
        #[serde(serialize_with = "identity_of_url")]
        search: Url,
        /// Short name of the product.
        short_name: String,
        /// Version of the product.
        version: String,
    },
}

/// Checks the key; problems are added to `problems`.
pub(crate) fn resolve(smap: &Smap, table: &LocationTable, problems: &mut Vec<String>) -> Option<SmapPlan> {
    let source = match (&smap.listing, &smap.cmr) {
        (Some(listing), None) => http_url("smap.listing", listing, problems).map(SmapSource::Listing),
        (None, Some(cmr)) => http_url("smap.cmr", cmr, problems).map(|search| SmapSource::Cmr {
            search,
            short_name: smap.short_name.clone(),
            version: smap.version.clone(),
        }),
        _ => {
            problems.push("smap: expected either listing or cmr".into());
            None
        }
    };
    if !(1..=128).contains(&smap.window_px) {
        problems.push(format!("smap.window_px: expected 1 to 128, found {}", smap.window_px));
    }
    let path = |name: &String| match name.trim_start_matches('/') {
        name if name.contains('/') => name.to_owned(),
        name => format!("{GROUP}/{name}"),
    };
    let mut variables: Vec<String> = smap.variables.iter().map(path).collect();
    variables.sort();
    variables.dedup();
    let mut centers: Vec<LonLat> =
        table.locations.iter().map(|at| LonLat { lon: at.lon, lat: at.lat }).collect();
    centers.sort_by(|a, b| a.lon.total_cmp(&b.lon).then(a.lat.total_cmp(&b.lat)));
    let (window_px, keep_whole) = (smap.window_px, smap.keep_whole);
    Some(SmapPlan { source: source?, variables, window_px, keep_whole, centers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> (Option<SmapPlan>, String) {
        let table = LocationTable {
            locations: Vec::new(),
            grid: minicube::CellGrid::default(),
            meta: serde_json::Map::new(),
        };
        let mut problems = Vec::new();
        let plan = resolve(&toml::from_str(text).unwrap(), &table, &mut problems);
        (plan, problems.join("; "))
    }

    #[test]
    fn a_source_is_needed_and_names_become_paths() {
        let (plan, none) = problems("cmr = \"https://host/search\"\nvariables = [\"sm_surface\", \"/A/b\"]");
        assert_eq!(plan.unwrap().variables, ["A/b", "Geophysical_Data/sm_surface"]);
        assert_eq!(none, "");
        assert!(problems("").1.contains("expected either listing or cmr"));
        let both = "listing = \"https://host/a\"\ncmr = \"https://host/b\"\nwindow_px = 0";
        let found = problems(both).1;
        assert!(found.contains("either listing or cmr") && found.contains("1 to 128, found 0"), "{found}");
    }
}
