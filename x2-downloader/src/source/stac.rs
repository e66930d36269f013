//! Searching a STAC API: the request, and all its pages.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use url::Url;

use crate::net::{Answer, Http, Stop};
use crate::plan::{Plan, Sentinel2Plan, TilePlan, identity_text};

const PAGE_ITEMS: u32 = 100;
const MAX_PAGES: usize = 10_000;
/// All pages of a search beyond this are taken for an attack.
const MAX_SEARCH_BYTES: usize = 1 << 30;

/// A page to ask for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ask {
    /// With everything in the address.
    Get(Url),
    /// With a JSON body.
    Post(Url, Value),
}

/// The first page of the scenes of a tile: by collection, box of the wanted cells and dates. Which items really are of
/// the tile, and clear enough, is decided by [`super::scenes::select`]: cloudy ones tell that nothing is missing.
pub(crate) fn first_page(plan: &Plan, wanted: &Sentinel2Plan, tile: &TilePlan) -> Ask {
    let mut url = wanted.stac.clone();
    let path = format!("{}/search", url.path().trim_end_matches('/'));
    url.set_path(&path);
    let body = json!({
        "collections": [wanted.collection],
        "bbox": tile.search_box,
        "datetime": format!("{}T00:00:00Z/{}T23:59:59Z", plan.first, plan.last),
        "limit": PAGE_ITEMS,
    });
    Ask::Post(url, body)
}

/// All items of a search, page by page, in the order they come.
///
/// # Errors
/// [`Stop::Gap`] if a page cannot be had or is no item collection, or the pages go in a circle: by their addresses, or
/// by what is on them.
pub(crate) async fn search(http: &Http, first: Ask) -> Result<Vec<Value>, Stop> {
    let mut items = Vec::new();
    let (mut seen, mut known, mut received) = (BTreeSet::new(), BTreeSet::new(), 0);
    let mut ask = Some(first);
    while let Some(page) = ask {
        let stop = |reason: String| Stop::Gap(format!("{}: {reason}", crate::net::plain(page.url())));
        if seen.len() >= MAX_PAGES || !seen.insert(format!("{page:?}")) {
            return Err(stop("the pages of the search do not end".into()));
        }
        let answer = fetch(http, &page).await?;
        received += answer.bytes.len();
        if received > MAX_SEARCH_BYTES {
            return Err(stop(format!("expected at most {MAX_SEARCH_BYTES} bytes of pages, found more")));
        }
        let mut document: Value =
            serde_json::from_slice(&answer.bytes).map_err(|error| stop(format!("not JSON: {error}")))?;
        let next = next_page(&page, &document).map_err(Stop::Gap)?;
        let Value::Array(features) = document["features"].take() else {
            let found = document.get("type").and_then(Value::as_str).unwrap_or("another document");
            return Err(stop(format!("expected a FeatureCollection, found {found}")));
        };
        let before = known.len();
        known.extend(features.iter().map(|item| format!("{} {}", item["collection"], item["id"])));
        ask = if features.is_empty() { None } else { next };
        if ask.is_some() && known.len() == before {
            let reason = "the pages of the search do not end: this one has nothing that others have not";
            return Err(stop(reason.into()));
        }
        items.extend(features);
    }
    Ok(items)
}

/// A server that knows no POST gets the same question as a GET.
async fn fetch(http: &Http, page: &Ask) -> Result<Answer, Stop> {
    match page {
        Ask::Get(url) => http.get(url).await,
        Ask::Post(url, body) => match http.post(url, body).await {
            Err(Stop::Gap(reason))
                if reason.ends_with("HTTP status 405") || reason.ends_with("HTTP status 501") =>
            {
                http.get(&as_query(url, body)).await
            }
            answer => answer,
        },
    }
}

/// The next page by the `next` link: its own body, merged over the last one if the link says so, or an address.
fn next_page(last: &Ask, document: &Value) -> Result<Option<Ask>, String> {
    let links = document.get("links").and_then(Value::as_array);
    let Some(link) = links.and_then(|links| links.iter().find(|link| link["rel"] == "next")) else {
        return Ok(None);
    };
    let href = link["href"].as_str().unwrap_or_default();
    let mut url =
        last.url().join(href).map_err(|error| format!("link to the next page `{href}`: {error}"))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(format!("link to the next page: expected an http(s) address, found `{}`", url.scheme()));
    }
    // A catalogue behind a proxy may not know that it is asked over https.
    if (last.url().scheme(), url.scheme()) == ("https", "http") {
        url.set_scheme("https").map_err(|()| format!("link to the next page: not over https: `{href}`"))?;
    }
    let place = |url: &Url| (url.host().map(|host| host.to_owned()), url.port_or_known_default());
    if place(&url) != place(last.url()) {
        let host = url.host_str().unwrap_or_default();
        return Err(format!("link to the next page: refused to ask another host, {host}"));
    }
    if !link["method"].as_str().unwrap_or("GET").eq_ignore_ascii_case("post") {
        return Ok(Some(Ask::Get(url)));
    }
    let new = link.get("body").and_then(Value::as_object).cloned().unwrap_or_default();
    let body = match last {
        Ask::Post(_, Value::Object(old)) if link["merge"] == true || new.is_empty() => merged(old, new),
        _ => new,
    };
    Ok(Some(Ask::Post(url, Value::Object(body))))
}

fn merged(old: &Map<String, Value>, new: Map<String, Value>) -> Map<String, Value> {
    let mut body = old.clone();
    body.extend(new);
    body
}

/// A search body as a query string; lists joined by commas, objects as JSON.
fn as_query(url: &Url, body: &Value) -> Url {
    let mut url = url.clone();
    if let Some(fields) = body.as_object() {
        let mut pairs = url.query_pairs_mut();
        for (key, value) in fields {
            let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let text = match value {
                Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(","),
                other => plain(other),
            };
            pairs.append_pair(key, &text);
        }
    }
    url
}

impl Ask {
    /// What tells one question from another; a catalogue on this machine may have another port each time.
    pub(crate) fn identity(&self) -> String {
        match self {
            Ask::Get(url) => format!("{}?{}", identity_text(url), url.query().unwrap_or_default()),
            Ask::Post(url, body) => format!("{} {body}", identity_text(url)),
        }
    }

    pub(crate) fn url(&self) -> &Url {
        match self {
            Ask::Get(url) | Ask::Post(url, _) => url,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(body: Value) -> Ask {
        Ask::Post(Url::parse("https://host/v1/search").unwrap(), body)
    }

    #[test]
    fn all_styles_of_next_links() {
        let last = post(json!({"limit": 2, "token": "a"}));
        let own = json!({"links": [{"rel": "next", "href": "https://host/v1/search", "method": "POST", "merge": false,
                                    "body": {"next": "b"}}]});
        assert_eq!(next_page(&last, &own).unwrap(), Some(post(json!({"next": "b"}))));
        let merge = json!({"links": [{"rel": "next", "href": "search", "method": "POST", "merge": true,
                                      "body": {"token": "b"}}]});
        assert_eq!(next_page(&last, &merge).unwrap(), Some(post(json!({"limit": 2, "token": "b"}))));
        let get = json!({"links": [{"rel": "self"}, {"rel": "next", "href": "/v1/search?page=2"}]});
        let expected = Ask::Get(Url::parse("https://host/v1/search?page=2").unwrap());
        assert_eq!(next_page(&last, &get).unwrap(), Some(expected));
        assert_eq!(next_page(&last, &json!({"links": []})).unwrap(), None);
        let file = json!({"links": [{"rel": "next", "href": "file:///etc/passwd"}]});
        assert!(next_page(&last, &file).unwrap_err().contains("http(s)"));
        let plain = json!({"links": [{"rel": "next", "href": "http://host/v1/search?page=2"}]});
        let expected = Ask::Get(Url::parse("https://host/v1/search?page=2").unwrap());
        assert_eq!(next_page(&last, &plain).unwrap(), Some(expected), "what is encrypted stays so");
        for away in ["https://evil/v1/search", "https://host@evil/", "https://host:81/", "http://host:81/"] {
            let link = json!({"links": [{"rel": "next", "href": away}]});
            assert!(next_page(&last, &link).unwrap_err().contains("refused to ask another host"), "{away}");
        }
    }

    #[test]
    fn a_body_becomes_a_query() {
        let Ask::Post(url, body) =
            post(json!({"collections": ["a", "b"], "bbox": [1.5, 2], "query": {"x": 1}}))
        else {
            panic!("not a post")
        };
        let url = as_query(&url, &body);
        assert_eq!(url.query(), Some("collections=a%2Cb&bbox=1.5%2C2&query=%7B%22x%22%3A1%7D"));
    }
}
