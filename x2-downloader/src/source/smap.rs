//! SMAP L4: the granules of each day, from a listing with a folder a day or from a search.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use minicube::{NaiveDate, Outcome, plan_hash};
use url::Url;

use super::files::{Folder, Format, says_absent, size_of};
use super::sentinel2::Cost;
use super::smap_config::{SmapPlan, SmapSource};
use super::smap_subset::Wanted;
use super::{cmr, listing};
use crate::Error;
use crate::ledger::parts_folder;
use crate::net::{Http, Stop, plain};
use crate::plan::{Place, Plan};
use crate::run::Unit;

const SOURCE: &str = "smap";
/// Granules of a whole day: one each three hours.
const GRANULES_A_DAY: usize = 8;

/// One day and where its granules are.
#[derive(Clone)]
pub(crate) struct SmapDay {
    date: NaiveDate,
    granules: Granules,
    /// What is kept of a granule; `None` to keep all.
    wanted: Option<Arc<Wanted>>,
    /// Identity of the source, and of what is kept.
    want: (String, String),
}

#[derive(Clone)]
enum Granules {
    Listed(Url),
    Found { search: Url, granules: Vec<Url>, sizes: BTreeMap<Url, Option<u64>> },
}

/// All days of the project, with the granules of each where a search can tell. The inner error is the outcome of a
/// search that failed.
///
/// # Errors
/// Only what stops the whole run.
pub(crate) async fn days(
    http: &Http,
    plan: &Plan,
    smap: &SmapPlan,
    refresh: bool,
) -> Result<Result<Vec<SmapDay>, Unit>, Error> {
    let dates = dates(plan);
    let (Some(first), Some(last)) = (dates.first(), dates.last()) else { return Ok(Ok(Vec::new())) };
    let wanted = (!smap.keep_whole).then(|| Arc::new(Wanted::new(smap)));
    let what = wanted.as_ref().map_or("whole".to_owned(), |wanted| wanted.digest());
    let want = (plan_hash(&(SOURCE, &smap.source)), what);
    let mut found: Box<dyn FnMut(NaiveDate) -> Granules + Send> = match &smap.source {
        SmapSource::Listing(listing) => Box::new(|date| Granules::Listed(day_folder(listing, date))),
        SmapSource::Cmr { search, short_name, version } => {
            let question = cmr::question(search, (short_name, version), (*first, *last));
            let cache = parts_folder(&plan.project.raw()).join(SOURCE).join("search.json");
            let mut days = match cmr::find(http, &question, &cache, refresh).await {
                Ok(days) => days,
                Err(Stop::Fatal(error)) => return Err(error),
                Err(Stop::Gap(reason) | Stop::Later(reason)) => {
                    tracing::warn!(reason, "the search of SMAP granules failed");
                    return Ok(Err(Unit { outcome: Outcome::failed("smap search", reason), payload: 0 }));
                }
            };
            Box::new(move |date| {
                let sizes = days.remove(&date).unwrap_or_default();
                let granules = newest(sizes.keys().cloned().collect());
                Granules::Found { search: question.clone(), granules, sizes }
            })
        }
    };
    let day = |date| SmapDay { date, granules: found(date), wanted: wanted.clone(), want: want.clone() };
    Ok(Ok(dates.into_iter().map(day).collect()))
}

/// Fetches the granules of a day. What is kept of each is cut out as it arrives. If an earlier run kept enough, no
/// request is made.
///
/// # Errors
/// Only what stops the whole run.
pub(crate) async fn fetch_day(http: &Arc<Http>, raw: &Path, day: &SmapDay) -> Result<Unit, Error> {
    let date = day.date;
    let unit = Folder {
        source: SOURCE,
        unit: format!("smap {date}"),
        folder: format!("smap/{}", date.format("%Y%m%d")),
        part: format!("smap/{}", date.format("%Y%m%d")),
        day: date.to_string(),
        format: Format::Hdf5,
        wanted: day.wanted.clone(),
        raw,
    };
    let want = format!("{} {}", day.want.0, day.want.1);
    if unit.is_complete(&want) {
        return Ok(Unit::skipped(&unit.unit, "was complete"));
    }
    let same_source = |old: &str| old.starts_with(&day.want.0);
    if unit.holds_enough(same_source).await? {
        unit.reseal(want)?;
        return Ok(Unit::skipped(&unit.unit, "what was kept is enough"));
    }
    let (from, granules) = match &day.granules {
        Granules::Found { search, granules, .. } => (search, granules.clone()),
        Granules::Listed(folder) => match http.get(folder).await {
            Ok(page) => (folder, newest(granules(&String::from_utf8_lossy(&page.bytes), folder))),
            Err(Stop::Fatal(error)) => return Err(error),
            Err(Stop::Gap(reason) | Stop::Later(reason)) => return unit.fail(want, folder, reason),
        },
    };
    if granules.is_empty() {
        return unit.fail(want, from, format!("{}: no .h5 granule of {date}", plain(from)));
    }
    if granules.len() < GRANULES_A_DAY {
        tracing::warn!(day = %date, found = granules.len(), expected = GRANULES_A_DAY, "granules are missing");
    }
    unit.fetch(http, want, granules.into_iter().map(Place::Remote).collect()).await
}

/// What the granules of a day cost: by the sizes that the search told or, where it did not, that the server tells.
pub(crate) async fn cost(http: &Http, day: &SmapDay) -> Result<Cost, Stop> {
    let none = BTreeMap::new();
    let (page, granules, sizes) = match &day.granules {
        Granules::Found { granules, sizes, .. } => (None, granules.clone(), sizes),
        Granules::Listed(folder) => match http.get(folder).await {
            Ok(page) => {
                let granules = newest(granules(&String::from_utf8_lossy(&page.bytes), folder));
                (Some(page.bytes.len() as u64), granules, &none)
            }
            Err(Stop::Gap(reason)) if says_absent(&reason) => (Some(0), Vec::new(), &none),
            Err(stop) => return Err(stop),
        },
    };
    let requests = granules.len() + usize::from(page.is_some());
    let mut cost = Cost { requests, bytes: page.unwrap_or(0), ..Cost::default() };
    for url in granules {
        let bytes = match sizes.get(&url) {
            Some(Some(bytes)) => *bytes,
            _ => size_of(http, &url).await?,
        };
        cost.bytes += bytes;
        cost.disk += if day.wanted.is_none() { bytes } else { 0 };
    }
    Ok(cost)
}

/// Days of the project on which there can be granules.
pub(crate) fn dates(plan: &Plan) -> Vec<NaiveDate> {
    const FIRST_DAY_OF_SMAP: (i32, u32, u32) = (2015, 3, 31);
    let (year, month, day) = FIRST_DAY_OF_SMAP;
    let first = NaiveDate::from_ymd_opt(year, month, day).map_or(plan.first, |start| plan.first.max(start));
    first.iter_days().take_while(|day| *day <= plan.last).collect()
}

/// What a plan says about the granules.
pub(crate) fn describe(plan: &Plan, smap: &SmapPlan) -> String {
    let days = dates(plan).len();
    let from = match &smap.source {
        SmapSource::Listing(url) | SmapSource::Cmr { search: url, .. } => plain(url),
    };
    let kept = match (smap.keep_whole, smap.variables.len()) {
        (true, _) => "kept whole".to_owned(),
        (false, 0) => format!("all variables kept in {} cells around each location", smap.window_px),
        (false, count) => format!("{count} variables kept in {} cells around each location", smap.window_px),
    };
    format!(
        "SMAP: {days} days, {} granules at {GRANULES_A_DAY} a day, {kept}, from {from}",
        days * GRANULES_A_DAY
    )
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

/// Of granules that differ in nothing but the release behind `_V` the newest: a day must not count twice.
fn newest(granules: Vec<Url>) -> Vec<Url> {
    let mut kept: BTreeMap<String, Url> = BTreeMap::new();
    for url in granules {
        let name = Place::Remote(url.clone()).name();
        let moment = name.rsplit_once("_V").map_or(name.as_str(), |(moment, _)| moment).to_owned();
        let newer = kept.get(&moment).is_none_or(|old| Place::Remote(old.clone()).name() < name);
        let old = if newer { kept.insert(moment, url) } else { Some(url) };
        if let Some(old) = old {
            tracing::info!(granule = plain(&old), "superseded by a newer release");
        }
    }
    kept.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_release_of_a_moment_counts() {
        let urls = [
            "h/SMAP_L4_SM_gph_20210213T013000_Vv7030_001.h5",
            "h/SMAP_L4_SM_gph_20210213T043000_Vv7032_001.h5",
            "h/SMAP_L4_SM_gph_20210213T013000_Vv7032_002.h5",
            "h/SMAP_L4_SM_gph_20210213T013000_Vv7032_001.h5",
            "h/other.h5",
        ];
        let urls = urls.map(|path| Url::parse(&format!("https://{path}")).unwrap()).to_vec();
        let names: Vec<String> = newest(urls).iter().map(|url| url.path()[1..].to_owned()).collect();
        assert_eq!(
            names,
            [
                "SMAP_L4_SM_gph_20210213T013000_Vv7032_002.h5",
                "SMAP_L4_SM_gph_20210213T043000_Vv7032_001.h5",
                "other.h5"
            ]
        );
    }
}
