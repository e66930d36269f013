//! SMAP L4: the granules of a day, from a listing with a folder a day.

use std::sync::Arc;

use minicube::NaiveDate;
use minicube::plan_hash;
use url::Url;

use super::files::{Folder, Format};
use super::listing;
use crate::Error;
use crate::net::{Http, Stop};
use crate::plan::{Place, Plan};
use crate::run::Unit;

/// Granules of a whole day: one each three hours.
const GRANULES_A_DAY: usize = 8;

/// Fetches the granules of a day.
///
/// # Errors
/// Only what stops the whole run.
pub(crate) async fn fetch_day(
    http: &Arc<Http>,
    plan: &Plan,
    listing: &Url,
    day: NaiveDate,
) -> Result<Unit, Error> {
    let raw = plan.project.raw();
    let unit = Folder {
        source: "smap",
        unit: format!("smap {day}"),
        folder: format!("smap/{}", day.format("%Y%m%d")),
        day: day.to_string(),
        format: Format::Hdf5,
        raw: &raw,
    };
    let want = plan_hash(&("smap", day));
    if unit.is_complete(&want) {
        return Ok(Unit::skipped(&unit.unit, "was complete"));
    }
    let folder = day_folder(listing, day);
    let granules = match http.get(&folder).await {
        Ok(page) => granules(&String::from_utf8_lossy(&page.bytes), &folder),
        Err(Stop::Fatal(error)) => return Err(error),
        Err(Stop::Gap(reason) | Stop::Later(reason)) => return unit.fail(want, &folder, reason),
    };
    if granules.is_empty() {
        return unit.fail(want, &folder, "the listing has no .h5 granule".into());
    }
    if granules.len() < GRANULES_A_DAY {
        tracing::warn!(%day, found = granules.len(), expected = GRANULES_A_DAY, "granules are missing");
    }
    unit.fetch(http, want, granules.into_iter().map(Place::Remote).collect()).await
}

fn day_folder(listing: &Url, day: NaiveDate) -> Url {
    let mut url = listing.clone();
    url.set_path(&format!("{}/{}/", listing.path().trim_end_matches('/'), day.format("%Y.%m.%d")));
    url
}

fn granules(html: &str, folder: &Url) -> Vec<Url> {
    let mut found = listing::files(html, folder);
    found.retain(|url| url.path().ends_with(".h5"));
    found
}
