//! STAC item search: what a request asks for, which scenes match, and the pages of Earth Search v1.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, NaiveDate, NaiveDateTime};
use serde_json::{Map, Value, json};

use crate::Region;
use crate::item::{COLLECTION, item, timestamp};
use crate::polygon::{intersect, paths};
use crate::scene::Scene;
use crate::world::World;

const DEFAULT_LIMIT: usize = 10;
const LARGEST_LIMIT: usize = 10_000;

/// How a search came in: decides the form of its `next` link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
}

/// Answers a search, or says what is wrong with it. `request` holds the parameters as JSON, as a POST sends them;
/// `href` is the address of the search.
pub(crate) fn search(
    world: &World,
    base: &str,
    href: &str,
    verb: Verb,
    request: Map<String, Value>,
) -> Result<Value, String> {
    let wanted = Wanted::from_json(&request)?;
    let mut found: Vec<(&Scene, Option<Value>)> = Vec::new();
    for scene in newest_first(world) {
        if !wanted.admits(world, scene) {
            continue;
        }
        // Only a property query needs the item itself.
        let whole = (!wanted.query.is_empty()).then(|| item(world, base, scene));
        if whole.as_ref().is_none_or(|whole| matches(&wanted.query, &whole["properties"])) {
            found.push((scene, whole));
        }
    }
    let matched = found.len();
    let start = match &wanted.next {
        None => 0,
        Some(token) => {
            let last = found.iter().position(|(scene, _)| next_token(scene) == *token);
            last.ok_or_else(|| format!("next: `{token}` is not a token of this search"))? + 1
        }
    };
    let page: Vec<Value> = found
        .iter_mut()
        .skip(start)
        .take(wanted.limit)
        .map(|(scene, whole)| whole.take().unwrap_or_else(|| item(world, base, scene)))
        .collect();
    let mut links = Vec::new();
    // Earth Search links on from every page that is not empty, also from the last one.
    if let Some((last, _)) = page.len().checked_sub(1).map(|last| &found[start + last]) {
        links.push(next_link(href, verb, request, next_token(last)));
    }
    links.push(json!({ "rel": "root", "type": "application/json", "href": format!("{base}/stac") }));
    Ok(json!({
        "type": "FeatureCollection",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "context": { "limit": wanted.limit, "matched": matched, "returned": page.len() },
        "numberMatched": matched,
        "numberReturned": page.len(),
        "features": page,
        "links": links,
    }))
}

/// The parameters of a GET, in the form that a POST has.
pub(crate) fn from_query(
    pairs: impl Iterator<Item = (String, String)>,
) -> Result<Map<String, Value>, String> {
    pairs
        .map(|(key, text)| {
            let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
            let value = match key.as_str() {
                "bbox" => {
                    let numbers: Result<Vec<f64>, _> =
                        text.split(',').map(|part| part.trim().parse()).collect();
                    json!(numbers.map_err(|_| format!("bbox: expected numbers, found `{text}`"))?)
                }
                "collections" | "ids" => json!(list(&text)),
                "limit" => json!(
                    text.parse::<i64>().map_err(|_| format!("limit: expected a number, found `{text}`"))?
                ),
                "intersects" | "query" => {
                    serde_json::from_str(&text).map_err(|error| format!("{key}: not JSON: {error}"))?
                }
                _ => Value::String(text),
            };
            Ok((key, value))
        })
        .collect()
}

/// A checked search.
struct Wanted {
    collections: Option<Vec<String>>,
    ids: Option<Vec<String>>,
    area: Option<Vec<Vec<[f64; 2]>>>,
    span: Option<(NaiveDateTime, NaiveDateTime)>,
    query: BTreeMap<String, Map<String, Value>>,
    limit: usize,
    next: Option<String>,
}

impl Wanted {
    fn from_json(request: &Map<String, Value>) -> Result<Self, String> {
        let strings = |key: &str| -> Result<Option<Vec<String>>, String> {
            request
                .get(key)
                .map(|value| {
                    serde_json::from_value(value.clone())
                        .map_err(|_| format!("{key}: expected a list of texts"))
                })
                .transpose()
        };
        let text = |key: &str| {
            request
                .get(key)
                .map(|v| v.as_str().map(str::to_owned).ok_or(format!("{key}: expected a text")))
                .transpose()
        };
        if request.contains_key("sortby") || request.contains_key("filter") {
            return Err("sortby and filter are not supported by this server".to_owned());
        }
        let area = match (request.get("bbox"), request.get("intersects")) {
            (Some(_), Some(_)) => return Err("expected either bbox or intersects, found both".to_owned()),
            (Some(bbox), None) => Some(vec![bbox_ring(bbox)?]),
            (None, Some(geometry)) => Some(paths(geometry)?),
            (None, None) => None,
        };
        let limit = match request.get("limit") {
            None => DEFAULT_LIMIT,
            Some(value) => match value.as_u64() {
                Some(limit @ 1..) => (limit as usize).min(LARGEST_LIMIT),
                _ => return Err(format!("limit: expected 1 to {LARGEST_LIMIT}, found {value}")),
            },
        };
        let query = match request.get("query") {
            None => BTreeMap::new(),
            Some(value) => serde_json::from_value(value.clone()).map_err(|_| {
                "query: expected an object of objects, e.g. {\"eo:cloud_cover\": {\"lt\": 20}}".to_owned()
            })?,
        };
        Ok(Self {
            collections: strings("collections")?,
            ids: strings("ids")?,
            area,
            span: text("datetime")?
                .map(|text| parse_span(&text).map_err(|reason| format!("datetime: {reason}")))
                .transpose()?,
            query,
            limit,
            next: text("next")?,
        })
    }

    fn admits(&self, world: &World, scene: &Scene) -> bool {
        let listed = |list: &Option<Vec<String>>, name: &str| {
            list.as_ref().is_none_or(|names| names.is_empty() || names.iter().any(|known| known == name))
        };
        listed(&self.collections, COLLECTION)
            && listed(&self.ids, &scene.id)
            && self.span.is_none_or(|(from, to)| from <= scene.datetime && scene.datetime <= to)
            && self.area.as_ref().is_none_or(|area| {
                let corners = world.land(scene.region).footprint();
                let footprint: Vec<[f64; 2]> =
                    corners.iter().chain(corners.first()).map(|corner| [corner.lon, corner.lat]).collect();
                area.iter().any(|path| intersect(path, &footprint))
            })
    }
}

fn newest_first(world: &World) -> Vec<&Scene> {
    let mut scenes: Vec<&Scene> = Region::ALL.iter().flat_map(|&region| world.scenes(region)).collect();
    scenes.sort_by(|a, b| (b.datetime, &b.id).cmp(&(a.datetime, &a.id)));
    scenes
}

fn next_token(scene: &Scene) -> String {
    format!("{},{},{COLLECTION}", timestamp(scene.datetime), scene.id)
}

fn next_link(href: &str, verb: Verb, mut request: Map<String, Value>, token: String) -> Value {
    request.insert("next".to_owned(), Value::String(token));
    match verb {
        Verb::Post => json!({
            "rel": "next",
            "title": "Next page of Items",
            "method": "POST",
            "type": "application/geo+json",
            "href": href,
            "merge": false,
            "body": request,
        }),
        Verb::Get => {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            for (key, value) in &request {
                let text = match (key.as_str(), value) {
                    (_, Value::String(text)) => text.clone(),
                    ("bbox" | "collections" | "ids", Value::Array(parts)) => {
                        let parts: Vec<String> = parts
                            .iter()
                            .map(|part| part.as_str().map_or(part.to_string(), str::to_owned))
                            .collect();
                        parts.join(",")
                    }
                    _ => value.to_string(),
                };
                query.append_pair(key, &text);
            }
            json!({
                "rel": "next",
                "title": "Next page of Items",
                "method": "GET",
                "type": "application/geo+json",
                "href": format!("{href}?{}", query.finish()),
            })
        }
    }
}

fn bbox_ring(bbox: &Value) -> Result<Vec<[f64; 2]>, String> {
    let numbers: Vec<f64> =
        serde_json::from_value(bbox.clone()).map_err(|_| "bbox: expected four numbers".to_owned())?;
    let [west, south, east, north] = match numbers[..] {
        [west, south, east, north] | [west, south, _, east, north, _] => [west, south, east, north],
        _ => return Err(format!("bbox: expected four or six numbers, found {}", numbers.len())),
    };
    if south > north || west > east {
        return Err("bbox: expected west, south, east, north".to_owned());
    }
    Ok(vec![[west, south], [east, south], [east, north], [west, north], [west, south]])
}

/// `a/b`, `../b`, `a/..`, or one moment; a date alone is its whole day.
pub(crate) fn parse_span(text: &str) -> Result<(NaiveDateTime, NaiveDateTime), String> {
    let bound = |part: &str, end: bool| -> Result<NaiveDateTime, String> {
        if part.is_empty() || part == ".." {
            return Ok(if end { NaiveDateTime::MAX } else { NaiveDateTime::MIN });
        }
        if let Ok(moment) = DateTime::parse_from_rfc3339(part) {
            return Ok(moment.naive_utc());
        }
        let day = NaiveDate::parse_from_str(part, "%Y-%m-%d")
            .map_err(|_| format!("expected RFC 3339, found `{part}`"))?;
        let midnight = day.and_hms_opt(0, 0, 0).unwrap_or_default();
        Ok(if end { midnight + Duration::days(1) - Duration::milliseconds(1) } else { midnight })
    };
    let (from, to) = text.split_once('/').unwrap_or((text, text));
    let (from, to) = (bound(from, false)?, bound(to, true)?);
    if from > to { Err(format!("`{text}` ends before it begins")) } else { Ok((from, to)) }
}

/// The STAC `query` extension on the properties of an item.
fn matches(query: &BTreeMap<String, Map<String, Value>>, properties: &Value) -> bool {
    query.iter().all(|(name, tests)| {
        let value = &properties[name.as_str()];
        tests.iter().all(|(operator, operand)| {
            let order = match (value.as_f64(), operand.as_f64()) {
                (Some(a), Some(b)) => a.partial_cmp(&b),
                _ => value.as_str().zip(operand.as_str()).map(|(a, b)| a.cmp(b)),
            };
            let equal = order.map_or(value == operand, std::cmp::Ordering::is_eq);
            match operator.as_str() {
                "eq" => equal,
                "neq" => !equal,
                "lt" => order.is_some_and(std::cmp::Ordering::is_lt),
                "lte" => order.is_some_and(std::cmp::Ordering::is_le),
                "gt" => order.is_some_and(std::cmp::Ordering::is_gt),
                "gte" => order.is_some_and(std::cmp::Ordering::is_ge),
                "in" => operand.as_array().is_some_and(|options| options.contains(value)),
                "startsWith" => value.as_str().zip(operand.as_str()).is_some_and(|(a, b)| a.starts_with(b)),
                _ => false,
            }
        })
    })
}
