//! What the user wrote about ERA5, and what it comes to.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::plan::{Place, http_url, identity, identity_of_url, name_twice, place};

/// The `era5` key of `[download]`: a listing, files and a Zarr store, one or more of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Era5 {
    /// A directory listing with `.nc` files; those whose name holds another year are left out.
    pub listing: Option<String>,
    /// NetCDF files, of ERA5 or another archive such as AgERA5 or E-OBS: addresses, local files, or local folders of which
    /// every `.nc` is taken.
    pub files: Vec<String>,
    /// A Zarr store over HTTPS with consolidated metadata.
    pub zarr: Option<String>,
    /// Arrays of the store.
    pub variables: Vec<String>,
    /// How far around the wanted cells of a tile the store is read, degrees.
    pub margin_deg: f64,
}

impl Default for Era5 {
    fn default() -> Era5 {
        let variables =
            ["2m_temperature", "total_precipitation", "surface_pressure", "surface_net_solar_radiation"];
        Era5 {
            listing: None,
            files: Vec::new(),
            zarr: None,
            variables: variables.map(str::to_owned).to_vec(),
            margin_deg: 0.5,
        }
    }
}

/// What is fetched of ERA5.
#[derive(Clone, Debug, Serialize)]
pub struct Era5Plan {
    /// A listing of NetCDF files.
    #[serde(serialize_with = "identity")]
    pub listing: Option<Url>,
    /// NetCDF files.
    pub files: Vec<Place>,
    /// Parts of a Zarr store.
    pub zarr: Option<ZarrPlan>,
}

/// What is fetched of a Zarr store.
#[derive(Clone, Debug, Serialize)]
pub struct ZarrPlan {
    /// The store.
    #[serde(serialize_with = "identity_of_url")]
    pub store: Url,
    /// Names of the arrays, ascending.
    pub variables: Vec<String>,
    /// Margin around the wanted cells of a tile, degrees.
    pub margin_deg: f64,
}

impl Era5Plan {
    /// Whether there are whole files to fetch.
    pub(crate) fn has_files(&self) -> bool {
        self.listing.is_some() || !self.files.is_empty()
    }
}

/// Checks the key; problems are added to `problems`.
pub(crate) fn resolve(era5: &Era5, problems: &mut Vec<String>) -> Option<Era5Plan> {
    let listing = era5.listing.as_ref().and_then(|text| http_url("era5.listing", text, problems));
    let mut files: Vec<Place> = Vec::new();
    for text in &era5.files {
        match place(text) {
            Place::Local(path) if path.is_dir() => match folder(&path) {
                Ok(found) => files.extend(found.into_iter().map(Place::Local)),
                Err(problem) => problems.push(format!("era5.files: {problem}")),
            },
            Place::Local(path) if !path.is_file() => {
                problems.push(format!("era5.files: no file or folder {}", path.display()));
            }
            place => files.push(place),
        }
    }
    problems.extend(name_twice("era5.files", &files));
    let mut variables = era5.variables.clone();
    variables.sort();
    variables.dedup();
    if let Some(name) = variables.iter().find(|name| !is_array_path(name)) {
        problems.push(format!("era5.variables: expected the name of an array, found `{name}`"));
    }
    if era5.zarr.is_some() && variables.is_empty() {
        problems.push("era5.variables: expected at least one array, found none".into());
    }
    if !(0.0..=90.0).contains(&era5.margin_deg) {
        problems.push(format!("era5.margin_deg: expected 0 to 90, found {}", era5.margin_deg));
    }
    if era5.listing.is_none() && files.is_empty() && era5.zarr.is_none() {
        problems.push("era5: expected listing, files or zarr".into());
    }
    let store = era5.zarr.as_ref().and_then(|text| http_url("era5.zarr", text, problems));
    let zarr = store.map(|store| ZarrPlan { store, variables, margin_deg: era5.margin_deg });
    Some(Era5Plan { listing, files, zarr })
}

/// The `.nc` files of a folder, ascending by name: archives such as AgERA5 have one a day.
fn folder(path: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: std::io::Error| format!("cannot list the folder {}: {error}", path.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        files.push(entry.map_err(failed)?.path());
    }
    files.retain(|file| file.extension().is_some_and(|end| end.eq_ignore_ascii_case("nc")));
    files.sort();
    if files.is_empty() { Err(format!("the folder {} has no .nc file", path.display())) } else { Ok(files) }
}

/// A name, or names of groups and a name, that cannot leave the store.
fn is_array_path(name: &str) -> bool {
    name.split('/').all(crate::ledger::is_safe_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_stands_for_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("files = [{:?}]", dir.path().to_str().unwrap());
        let era5: Era5 = toml::from_str(&text).unwrap();
        let mut problems = Vec::new();
        resolve(&era5, &mut problems);
        assert!(problems[0].contains("has no .nc file"), "{problems:?}");
        for name in ["20210102.nc", "20210101.nc", "readme.txt"] {
            std::fs::write(dir.path().join(name), b"CDF").unwrap();
        }
        let mut problems = Vec::new();
        let plan = resolve(&era5, &mut problems).unwrap();
        let names: Vec<String> = plan.files.iter().map(Place::name).collect();
        assert_eq!((names, problems.len()), (vec!["20210101.nc".into(), "20210102.nc".into()], 0));
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let text = "zarr = \"s3://bucket/era5\"\nvariables = [\"../t2m\"]\nmargin_deg = -1.0";
        let mut problems = Vec::new();
        resolve(&toml::from_str(text).unwrap(), &mut problems);
        let text = problems.join("; ");
        for expected in ["era5.zarr: expected an http(s)", "found `../t2m`", "found -1"] {
            assert!(text.contains(expected), "{text}");
        }
        resolve(&Era5::default(), &mut problems);
        assert!(problems.last().unwrap().contains("listing, files or zarr"), "{problems:?}");
    }
}
