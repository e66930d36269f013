//! ERA5 and its like: NetCDF files, named or from a listing.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::era5_config::Era5Plan;
use super::files::{Folder, Format, want_of};
use super::listing;
use crate::Error;
use crate::net::{Http, Stop};
use crate::plan::{Place, Plan};
use crate::run::Unit;

/// Fetches the ERA5 files of the project's years.
///
/// # Errors
/// Only what stops the whole run.
pub(crate) async fn fetch(http: &Arc<Http>, plan: &Plan, era5: &Era5Plan) -> Result<Unit, Error> {
    let raw = plan.project.raw();
    let (source, name) = ("era5", "era5".to_owned());
    let unit = Folder {
        source,
        unit: name.clone(),
        folder: name.clone(),
        part: name,
        day: String::new(),
        format: Format::NetCdf,
        wanted: None,
        raw: &raw,
    };
    let want = minicube::plan_hash(&(want_of(&era5.files), era5.listing.is_some(), &plan.project.years));
    if unit.is_complete(&want) {
        return Ok(Unit::skipped("era5", "was complete"));
    }
    let places = match (places(http, plan, era5).await, &era5.listing) {
        (Ok(places), _) => places,
        (Err(Stop::Gap(reason) | Stop::Later(reason)), Some(url)) => return unit.fail(want, url, reason),
        (Err(Stop::Fatal(error)), _) => return Err(error),
        (Err(_), None) => era5.files.clone(),
    };
    unit.fetch(http, want, places).await
}

/// The named files, and those of the project's years in the listing.
pub(crate) async fn places(http: &Http, plan: &Plan, era5: &Era5Plan) -> Result<Vec<Place>, Stop> {
    let mut places = era5.files.clone();
    let Some(listing) = &era5.listing else { return Ok(places) };
    let mut url = listing.clone();
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    let years = plan.project.years[0]..=plan.project.years[1];
    let page = http.get(&url).await?;
    let mut found = listing::files(&String::from_utf8_lossy(&page.bytes), &url);
    found.retain(|url| url.path().ends_with(".nc"));
    let found = found.into_iter().map(Place::Remote).filter(|place| is_of_years(&place.name(), &years));
    places.extend(found);
    if places.is_empty() {
        let (from, to) = (years.start(), years.end());
        return Err(Stop::Gap(format!("the listing has no .nc file of {from} to {to}")));
    }
    Ok(places)
}

/// Whether a file name holds one of the years, or no year at all.
fn is_of_years(name: &str, years: &RangeInclusive<i32>) -> bool {
    let digits: Vec<&str> =
        name.split(|c: char| !c.is_ascii_digit()).filter(|word| word.len() >= 4).collect();
    let found: Vec<i32> = digits
        .iter()
        .filter_map(|word| word[..4].parse().ok())
        .filter(|year| (1940..2100).contains(year))
        .collect();
    found.is_empty() || found.iter().any(|year| years.contains(year))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_years_are_left_out() {
        let years = 2019..=2021;
        assert!(is_of_years("era5_africa_2020.nc", &years) && is_of_years("202103.nc", &years));
        assert!(!is_of_years("era5_2018.nc", &years) && is_of_years("era5.nc", &years));
        assert!(is_of_years("era5_20181201_20190131.nc", &years));
    }
}
