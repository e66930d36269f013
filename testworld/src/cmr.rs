//! Search for granules in the shape of NASA's Common Metadata Repository.

use chrono::{DateTime, Duration, NaiveDate, NaiveDateTime, SecondsFormat};
use serde_json::{Value, json};

use crate::search::parse_span;
use crate::smap;
use crate::weather::last_day;

/// Name of the header with the number of granules on all pages.
pub(crate) const HITS: &str = "cmr-hits";
/// Name of the header that leads from page to page.
pub(crate) const SEARCH_AFTER: &str = "cmr-search-after";

const DEFAULT_PAGE: usize = 10;
const LARGEST_PAGE: usize = 2000;
const SHORT_NAME: &str = "SPL4SMGP";
const VERSION: &str = "007";
/// Hours that a granule covers.
const SPAN_HOURS: i64 = 3;

/// A page of a search.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) body: Value,
    /// Granules on all pages.
    pub(crate) hits: usize,
    /// What to ask with for the next page, unless this is the last.
    pub(crate) search_after: Option<String>,
}

/// The page of a search, or what is wrong with it. `pairs` is the query, `after` the token of the page before, `base` the
/// server's address, `granule_bytes` the size of every granule.
pub(crate) fn granules(
    pairs: impl Iterator<Item = (String, String)>,
    after: Option<&str>,
    base: &str,
    granule_bytes: usize,
) -> Result<Page, String> {
    let wanted = Wanted::from_pairs(pairs)?;
    let found: Vec<Granule> =
        if wanted.has_product { archive().filter(|g| wanted.admits(g)).collect() } else { vec![] };
    let from = match after {
        None => 0,
        Some(token) => {
            let last = found.iter().position(|granule| search_after(granule) == token);
            last.ok_or_else(|| format!("The search-after header [{token}] is invalid."))? + 1
        }
    };
    let until = found.len().min(from + wanted.page_size);
    let page = &found[from..until];
    let entries: Vec<Value> = page.iter().map(|granule| entry(granule, base, granule_bytes)).collect();
    let href = format!("{base}/cmr/search/granules.json");
    Ok(Page {
        body: json!({
            "feed": {
                "updated": "2023-01-01T00:00:00.000Z",
                "id": href,
                "title": "ECHO granule metadata",
                "entry": entries,
            },
        }),
        hits: found.len(),
        search_after: page.last().filter(|_| until < found.len()).map(search_after),
    })
}

/// A granule by its name and the first moment that it covers.
struct Granule {
    name: String,
    start: NaiveDateTime,
}

impl Granule {
    fn end(&self) -> NaiveDateTime {
        self.start + Duration::hours(SPAN_HOURS)
    }
}

/// All granules in order of time.
fn archive() -> impl Iterator<Item = Granule> {
    let first = NaiveDate::from_ymd_opt(2016, 1, 1).unwrap_or_default();
    first.iter_days().take_while(|day| *day <= last_day()).flat_map(|day| {
        let midnight = day.and_hms_opt(0, 0, 0).unwrap_or_default();
        smap::granules(day)
            .into_iter()
            .zip(0..)
            .map(move |(name, k)| Granule { name, start: midnight + Duration::hours(SPAN_HOURS * k) })
    })
}

/// A checked search.
struct Wanted {
    /// False where the query names a product that this Earth does not have.
    has_product: bool,
    span: Option<(NaiveDateTime, NaiveDateTime)>,
    page_size: usize,
}

impl Wanted {
    /// Parameters that narrow the search in other ways are passed over.
    fn from_pairs(pairs: impl Iterator<Item = (String, String)>) -> Result<Self, String> {
        let mut wanted = Self { has_product: true, span: None, page_size: DEFAULT_PAGE };
        for (key, value) in pairs {
            match key.trim_end_matches("[]") {
                "short_name" => wanted.has_product &= value.eq_ignore_ascii_case(SHORT_NAME),
                "version" => wanted.has_product &= value == VERSION,
                "temporal" => {
                    // A moment alone has no end.
                    let (from, to) = value.split_once(',').unwrap_or((&value, ""));
                    let span = parse_span(&format!("{from}/{to}"));
                    wanted.span = Some(span.map_err(|reason| format!("temporal: {reason}"))?);
                }
                "page_size" => {
                    let size = value.parse().ok().filter(|size| *size <= LARGEST_PAGE);
                    wanted.page_size =
                        size.ok_or(format!("page_size must be a number between 0 and {LARGEST_PAGE}"))?;
                }
                _ => {}
            }
        }
        Ok(wanted)
    }

    /// Both ends of the span and of the granule belong to them, as in CMR: a granule that ends at midnight is also found
    /// by a search from midnight on.
    fn admits(&self, granule: &Granule) -> bool {
        self.span.is_none_or(|(from, to)| from <= granule.end() && granule.start <= to)
    }
}

fn search_after(granule: &Granule) -> String {
    json!(["nsidc_ecs", granule.start.and_utc().timestamp_millis()]).to_string()
}

fn entry(granule: &Granule, base: &str, bytes: usize) -> Value {
    let name = &granule.name;
    let path = format!("smap/{}/{}/{name}", smap::PRODUCT, granule.start.format("%Y.%m.%d"));
    let moment =
        |time: NaiveDateTime| DateTime::to_rfc3339_opts(&time.and_utc(), SecondsFormat::Millis, true);
    let link = |rel: &str, kind: &str, href: String| json!({ "rel": format!("http://esipfed.org/ns/fedsearch/1.1/{rel}#"), "type": kind, "hreflang": "en-US", "href": href });
    json!({
        "producer_granule_id": name,
        "title": name,
        "id": format!("G{}-TESTWORLD", granule.start.and_utc().timestamp() / 3600),
        "data_center": "NSIDC_ECS",
        "dataset_id": "Synthetic soil moisture in the shape of SMAP Level 4",
        "original_format": "ISO-SMAP",
        "coordinate_system": "CARTESIAN",
        "boxes": ["-85.044 -180 85.044 180"],
        "day_night_flag": "UNSPECIFIED",
        "online_access_flag": true,
        "browse_flag": false,
        "time_start": moment(granule.start),
        "time_end": moment(granule.end()),
        "updated": "2023-01-01T00:00:00.000Z",
        "granule_size": format!("{}", bytes as f64 / 1048576.0),
        "links": [
            link("data", "application/x-hdfeos", format!("{base}/{path}")),
            link("s3", "application/x-hdfeos", format!("s3://testworld/{path}")),
            link("metadata", "text/xml", format!("{base}/{path}.iso.xml")),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str, after: Option<&str>) -> Result<Page, String> {
        granules(url::form_urlencoded::parse(query.as_bytes()).into_owned(), after, "http://host", 1 << 20)
    }

    #[test]
    fn a_day_and_its_neighbour() {
        let day =
            page("short_name=SPL4SMGP&temporal=2021-02-13T00:00:00Z,2021-02-13T23:59:59Z", None).unwrap();
        // Eight of the day, and the last of the day before, which ends at midnight.
        assert_eq!((day.hits, day.search_after), (9, None));
        let first = &day.body["feed"]["entry"][0];
        assert_eq!(first["producer_granule_id"], "SMAP_L4_SM_gph_20210212T223000_Vv7032_001.h5");
        let second = &day.body["feed"]["entry"][1];
        assert_eq!(second["time_start"], "2021-02-13T00:00:00.000Z");
        assert_eq!(second["time_end"], "2021-02-13T03:00:00.000Z");
        assert_eq!(second["granule_size"], "1");
        assert_eq!(page("temporal=2021-02-13T00:00:01Z,2021-02-13T23:59:59Z", None).unwrap().hits, 8);
        assert_eq!(page("temporal[]=2022-12-31T12:00:01Z,", None).unwrap().hits, 4);
    }

    #[test]
    fn other_products_are_not_found_and_nonsense_is_refused() {
        assert_eq!(page("short_name=SPL3SMP", None).unwrap().hits, 0);
        assert_eq!(page("version=006", None).unwrap().hits, 0);
        assert_eq!(page("short_name=spl4smgp&version=007&provider=X", None).unwrap().hits, 2557 * 8);
        for wrong in ["page_size=2001", "page_size=x", "temporal=yesterday,today"] {
            assert!(page(wrong, None).is_err(), "{wrong}");
        }
        assert!(page("", Some("[1]")).is_err());
    }
}
