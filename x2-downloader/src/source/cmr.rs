//! NASA's Common Metadata Repository: the granules of a product, by day.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use minicube::{NaiveDate, write_atomic};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::Error;
use crate::net::{Http, Stop, plain};

const PAGE_GRANULES: &str = "2000";
const MAX_PAGES: usize = 10_000;
const BYTES_A_MEGABYTE: f64 = 1_048_576.0;
/// Names the page that follows, in an answer, and then in the request for it.
const NEXT_PAGE: &str = "cmr-search-after";

/// Addresses of the granules of each day, ascending, with their sizes in bytes where the repository tells them.
pub(crate) type Granules = BTreeMap<NaiveDate, BTreeMap<Url, Option<u64>>>;

/// An answer that is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    question: String,
    granules: BTreeMap<NaiveDate, BTreeMap<String, Option<u64>>>,
}

/// The question for all granules of a product from the first to the last day.
pub(crate) fn question(
    search: &Url,
    (short_name, version): (&str, &str),
    (first, last): (NaiveDate, NaiveDate),
) -> Url {
    let mut url = search.clone();
    url.set_path(&format!("{}/granules.json", search.path().trim_end_matches('/')));
    let period = format!("{first}T00:00:00Z,{last}T23:59:59Z");
    url.query_pairs_mut()
        .append_pair("short_name", short_name)
        .append_pair("version", version)
        .append_pair("temporal", &period)
        .append_pair("page_size", PAGE_GRANULES);
    url
}

/// The granules that begin within the days, from the answer that an earlier run kept in `cache` or, if there is none
/// for this question or `refresh` is set, from the repository.
///
/// # Errors
/// [`Stop::Gap`] if a page cannot be had or is no feed, or the pages go in a circle.
pub(crate) async fn find(http: &Http, question: &Url, cache: &Path, refresh: bool) -> Result<Granules, Stop> {
    let text = question.to_string();
    if let Some(granules) = kept(cache, &text).filter(|_| !refresh) {
        return Ok(granules);
    }
    let granules = search(http, question).await?;
    let failed =
        |error: serde_json::Error| Error::Ledger { path: cache.to_owned(), reason: error.to_string() };
    let texts =
        |urls: &BTreeMap<Url, Option<u64>>| urls.iter().map(|(url, size)| (url.to_string(), *size)).collect();
    let kept =
        Kept { question: text, granules: granules.iter().map(|(day, urls)| (*day, texts(urls))).collect() };
    let bytes = serde_json::to_vec(&kept).map_err(failed)?;
    write_atomic(cache, &bytes).map_err(Error::from)?;
    Ok(granules)
}

/// The answer of an earlier run; `None` if there is none to this question.
fn kept(cache: &Path, question: &str) -> Option<Granules> {
    let kept: Kept = serde_json::from_slice(&std::fs::read(cache).ok()?).ok()?;
    let urls = |texts: &BTreeMap<String, Option<u64>>| -> Option<BTreeMap<Url, Option<u64>>> {
        texts.iter().map(|(text, size)| Some((Url::parse(text).ok()?, *size))).collect()
    };
    let days = kept.granules.iter().map(|(day, texts)| Some((*day, urls(texts)?)));
    days.collect::<Option<Granules>>().filter(|_| kept.question == question)
}

/// All pages.
async fn search(http: &Http, question: &Url) -> Result<Granules, Stop> {
    let mut granules = Granules::new();
    let mut seen = BTreeSet::new();
    let mut after: Option<String> = None;
    loop {
        let header: Vec<(&'static str, &str)> =
            after.iter().map(|token| (NEXT_PAGE, token.as_str())).collect();
        let answer = http.get_with(question, &header).await?;
        let here = plain(question);
        let feed: Value = serde_json::from_slice(&answer.bytes)
            .map_err(|error| Stop::Gap(format!("{here}: not JSON: {error}")))?;
        let entries = feed["feed"]["entry"].as_array().ok_or_else(|| {
            let found: String = feed.to_string().chars().take(120).collect();
            Stop::Gap(format!("{here}: expected a feed with entries, found {found}"))
        })?;
        for (day, url, size) in entries.iter().filter_map(granule) {
            granules.entry(day).or_default().insert(url, size);
        }
        after = answer.headers.get(NEXT_PAGE).and_then(|token| token.to_str().ok()).map(str::to_owned);
        let Some(token) = after.as_ref().filter(|_| !entries.is_empty()) else { return Ok(granules) };
        if seen.len() >= MAX_PAGES || !seen.insert(token.clone()) {
            return Err(Stop::Gap(format!("{here}: the pages of the search do not end")));
        }
    }
}

/// Day, address and size of a granule; `None` if the entry has no day or links to no HDF5 file. Links that it inherits are
/// those of the collection. What could hold a secret is taken from the address.
fn granule(entry: &Value) -> Option<(NaiveDate, Url, Option<u64>)> {
    let day = entry["time_start"].as_str()?.get(..10)?.parse().ok()?;
    let links = entry["links"].as_array()?;
    let url = links.iter().filter(|link| link["inherited"] != true).find_map(|link| {
        let is_data = link["rel"].as_str()?.ends_with("/data#");
        let mut url = Url::parse(link["href"].as_str()?).ok()?;
        let is_file = ["http", "https"].contains(&url.scheme()) && url.path().ends_with(".h5");
        url.set_query(None);
        // These fail only for addresses without a host, which have no user either.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        (is_data && is_file).then_some(url)
    });
    Some((day, url?, size(entry)))
}

/// Bytes, from megabytes as a number or, as the repository has it, as a text.
fn size(entry: &Value) -> Option<u64> {
    let told = &entry["granule_size"];
    let megabytes = told.as_f64().or_else(|| told.as_str()?.parse().ok())?;
    (megabytes > 0.0).then_some((megabytes * BYTES_A_MEGABYTE).round() as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_question_names_product_and_period() {
        let day = |text: &str| text.parse().unwrap();
        let search = Url::parse("https://cmr.earthdata.nasa.gov/search/").unwrap();
        let url = question(&search, ("SPL4SMGP", "008"), (day("2021-01-01"), day("2021-12-31")));
        assert_eq!(url.path(), "/search/granules.json");
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let expected = [
            ("short_name", "SPL4SMGP"),
            ("version", "008"),
            ("temporal", "2021-01-01T00:00:00Z,2021-12-31T23:59:59Z"),
            ("page_size", "2000"),
        ];
        assert_eq!(pairs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn the_data_link_of_the_granule_itself_is_taken() {
        let data = "http://esipfed.org/ns/fedsearch/1.1/data#";
        let entry = json!({"time_start": "2021-02-13T03:00:00.000Z", "granule_size": "143.5", "links": [
            {"rel": data, "href": "https://host/collection/all.h5", "inherited": true},
            {"rel": data, "href": "s3://bucket/a.h5"},
            {"rel": "http://esipfed.org/ns/fedsearch/1.1/browse#", "href": "https://host/a.h5"},
            {"rel": data, "href": "https://host/a.h5.xml"},
            {"rel": data, "href": "https://user:secret@host/2021.02.13/a.h5?token=secret"},
            {"rel": data, "href": "https://other/a.h5"}]});
        let (day, url, size) = granule(&entry).unwrap();
        assert_eq!((day.to_string(), url.as_str()), ("2021-02-13".into(), "https://host/2021.02.13/a.h5"));
        assert_eq!(size, Some(287 << 19), "143.5 MiB");
        assert!(granule(&json!({"time_start": "2021-02-13T03:00:00.000Z", "links": []})).is_none());
        assert!(granule(&json!({"links": [{"rel": data, "href": "https://host/a.h5"}]})).is_none());
    }
}
