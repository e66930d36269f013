//! From items to scenes: which are of the tile, and which processing of an acquisition is the newest.

use std::collections::BTreeMap;

use minicube::NaiveDate;
use serde_json::Value;
use url::Url;

use crate::ledger::is_safe_name;

/// One Sentinel-2 product of a tile.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scene {
    pub(crate) id: String,
    pub(crate) date: NaiveDate,
    pub(crate) cloud_cover: Option<f64>,
    /// The item, without credentials in its addresses.
    pub(crate) item: Value,
    /// What tells one acquisition from another.
    acquisition: String,
    /// Start of the data strip: granules of one baseline that differ in it show different parts of the tile.
    strip: String,
    baseline: u32,
    processed: String,
}

/// A scene that is not wanted, and the one that replaces it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Superseded {
    pub(crate) id: String,
    pub(crate) by: String,
}

impl Scene {
    /// Address of an asset, if the item has it as http(s).
    pub(crate) fn href(&self, asset: &str) -> Result<Url, String> {
        let href = self.item["assets"][asset]["href"].as_str().ok_or_else(|| {
            let known: Vec<&str> = self.item["assets"]
                .as_object()
                .map_or(Vec::new(), |assets| assets.keys().map(String::as_str).collect());
            format!("the item has no asset `{asset}`, only {}", known.join(", "))
        })?;
        match Url::parse(href) {
            Ok(url) if ["http", "https"].contains(&url.scheme()) => Ok(url),
            Ok(url) => Err(format!("expected an http(s) address, found {}://…", url.scheme())),
            Err(error) => Err(format!("not an address: {error}")),
        }
    }
}

/// The scenes of a tile, ascending by date and id, and those that a newer processing replaces. Items of other tiles,
/// without a date, with more cloud than wanted (a server may ignore that part of the search), and doubles are left
/// out; an id that could not be a file name is refused.
///
/// Of one acquisition (data take) the newest processing baseline wins; of that baseline, for each data strip, the
/// newest processing time. Two strips of one baseline are two halves of the tile, and both are kept.
///
/// # Errors
/// The id that was refused.
pub(crate) fn select(
    items: &[Value],
    tile: &str,
    max_cloud_cover: f64,
) -> Result<(Vec<Scene>, Vec<Superseded>), String> {
    let mut acquisitions: BTreeMap<String, BTreeMap<String, Scene>> = BTreeMap::new();
    for item in items.iter().filter(|item| tile_of(item).as_deref() == Some(tile)) {
        let Some(scene) = scene(item, tile)? else { continue };
        if scene.cloud_cover.is_none_or(|cover| cover <= max_cloud_cover) {
            acquisitions.entry(scene.acquisition.clone()).or_default().insert(scene.id.clone(), scene);
        }
    }
    let (mut kept, mut superseded): (Vec<Scene>, Vec<Superseded>) = Default::default();
    for (_, scenes) in acquisitions {
        let newest = scenes.values().map(|scene| scene.baseline).max().unwrap_or(0);
        let (current, old): (Vec<Scene>, Vec<Scene>) =
            scenes.into_values().partition(|scene| scene.baseline == newest);
        let mut strips: BTreeMap<String, Scene> = BTreeMap::new();
        let mut replaced = old;
        for scene in current {
            let newer = strips
                .get(&scene.strip)
                .is_none_or(|other| (&scene.processed, &scene.id) > (&other.processed, &other.id));
            let loser = if newer { strips.insert(scene.strip.clone(), scene) } else { Some(scene) };
            replaced.extend(loser);
        }
        for old in replaced {
            let by = strips
                .get(&old.strip)
                .or_else(|| strips.values().next())
                .map_or(String::new(), |s| s.id.clone());
            superseded.push(Superseded { id: old.id, by });
        }
        kept.extend(strips.into_values());
    }
    kept.sort_by(|a, b| (a.date, &a.id).cmp(&(b.date, &b.id)));
    superseded.sort_by(|a, b| a.id.cmp(&b.id));
    Ok((kept, superseded))
}

/// Takes user names, passwords and queries, which may hold tokens, from every `href` in a document.
pub(crate) fn strip_credentials(document: &mut Value) {
    match document {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(href) if key == "href" => *href = stripped(href),
                    other => strip_credentials(other),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(strip_credentials),
        _ => {}
    }
}

fn stripped(href: &str) -> String {
    let Ok(mut url) = Url::parse(href) else { return href.split('?').next().unwrap_or_default().to_owned() };
    if url.query().is_none() && url.username().is_empty() && url.password().is_none() {
        return href.to_owned();
    }
    url.set_query(None);
    // These fail only for addresses without a host, which have no user either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

fn scene(item: &Value, tile: &str) -> Result<Option<Scene>, String> {
    let properties = &item["properties"];
    let Some(id) = item["id"].as_str() else { return Ok(None) };
    if !is_safe_name(id) {
        return Err(format!("item id {id:?} cannot be a folder name"));
    }
    let datetime = text(properties, &["datetime", "start_datetime"]).unwrap_or_default();
    let Some(date) = datetime.get(..10).and_then(|day| NaiveDate::parse_from_str(day, "%Y-%m-%d").ok())
    else {
        return Ok(None);
    };
    let platform = text(properties, &["platform"]).unwrap_or_default();
    let take = text(properties, &["s2:datatake_id"]);
    let acquisition = match &take {
        Some(take) => take.rsplit_once("_N").map_or(take.as_str(), |(name, _)| name).to_owned(),
        None => format!("{tile} {date} {}", platform.to_lowercase()),
    };
    // …_S20200305T103210_N05.00
    let strip = text(properties, &["s2:datastrip_id"])
        .and_then(|strip| strip.split("_S").last().and_then(|end| end.split('_').next()).map(str::to_owned))
        .unwrap_or_default();
    let processed = text(properties, &["s2:generation_time", "created", "updated"]).unwrap_or_default();
    let mut item = item.clone();
    strip_credentials(&mut item);
    Ok(Some(Scene {
        id: id.to_owned(),
        date,
        cloud_cover: properties["eo:cloud_cover"].as_f64(),
        baseline: baseline(properties),
        item,
        acquisition,
        strip,
        processed,
    }))
}

/// Tile id by `grid:code`, `s2:mgrs_tile`, the MGRS properties, or the item id.
fn tile_of(item: &Value) -> Option<String> {
    let properties = &item["properties"];
    if let Some(code) = text(properties, &["grid:code", "s2:mgrs_tile", "odc:region_code"]) {
        return Some(code.trim_start_matches("MGRS-").to_owned());
    }
    for prefix in ["mgrs", "sentinel"] {
        let part = |name: &str| properties.get(format!("{prefix}:{name}"));
        if let (Some(zone), Some(band), Some(square)) =
            (part("utm_zone"), part("latitude_band"), part("grid_square"))
        {
            return Some(format!("{:02}{}{}", zone.as_u64()?, band.as_str()?, square.as_str()?));
        }
    }
    let is_tile = |word: &&str| {
        let word = word.strip_prefix('T').filter(|rest| rest.len() == 5).unwrap_or(word);
        word.len() == 5
            && word[..2].chars().all(|c| c.is_ascii_digit())
            && word[2..].chars().all(|c| c.is_ascii_uppercase())
    };
    let word = item["id"].as_str().filter(|id| id.is_ascii())?.split('_').find(is_tile)?;
    Some(word[word.len() - 5..].to_owned())
}

/// Processing baseline × 100: 5.10 is 510; from the property or from `_N0510_` in the product's name.
fn baseline(properties: &Value) -> u32 {
    let named = || {
        let product = text(properties, &["s2:product_uri", "sentinel:product_id"])?;
        let number = product.split('_').find(|word| word.len() == 5 && word.starts_with('N'))?;
        number[1..].parse().ok()
    };
    let found = match &properties["s2:processing_baseline"] {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    found.map_or_else(|| named().unwrap_or(0), |number: f64| (number * 100.0).round() as u32)
}

fn text(properties: &Value, keys: &[&str]) -> Option<String> {
    keys.iter().find_map(|key| properties.get(*key)?.as_str()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item(id: &str, baseline: &str, strip: &str, processed: &str) -> Value {
        json!({"id": id, "properties": {
            "datetime": "2020-03-05T10:37:41Z", "platform": "sentinel-2a", "grid:code": "MGRS-32TMT",
            "eo:cloud_cover": 20.0, "s2:processing_baseline": baseline, "s2:generation_time": processed,
            "s2:datatake_id": format!("GS2A_20200305T103021_024558_N{baseline}"),
            "s2:datastrip_id": format!("S2A_OPER_MSI_L2A_DS_SGS__20200305T132101_S{strip}_N{baseline}")}})
    }

    fn ids(items: &[Value]) -> (Vec<String>, Vec<(String, String)>) {
        let (kept, superseded) = select(items, "32TMT", 80.0).unwrap();
        (kept.into_iter().map(|s| s.id).collect(), superseded.into_iter().map(|s| (s.id, s.by)).collect())
    }

    #[test]
    fn the_newest_baseline_wins_then_the_newest_processing() {
        let items = [
            item("a", "02.14", "20200305T103210", "2020-03-05T13:21:01Z"),
            item("c", "05.00", "20200305T103210", "2023-07-01T00:00:00Z"),
            item("b", "05.00", "20200305T103210", "2023-06-30T02:24:13Z"),
            item("c", "05.00", "20200305T103210", "2023-07-01T00:00:00Z"),
        ];
        let (kept, superseded) = ids(&items);
        assert_eq!(kept, ["c"]);
        assert_eq!(superseded, [("a".into(), "c".into()), ("b".into(), "c".into())]);
    }

    #[test]
    fn two_strips_of_one_baseline_are_two_halves() {
        let items = [
            item("north", "05.00", "20200305T103210", "2023-06-30T02:24:13Z"),
            item("south", "05.00", "20200305T103528", "2023-06-30T02:20:00Z"),
            item("old", "02.14", "20200305T103528", "2020-03-05T13:21:01Z"),
        ];
        assert_eq!(ids(&items), (vec!["north".into(), "south".into()], vec![("old".into(), "south".into())]));
    }

    #[test]
    fn cloudy_scenes_and_other_tiles_are_left_out() {
        let mut cloudy = item("a", "05.00", "s", "p");
        cloudy["properties"]["eo:cloud_cover"] = json!(80.5);
        let mut other = item("b", "05.00", "s", "p");
        other["properties"]["grid:code"] = json!("MGRS-32TNT");
        assert_eq!(ids(&[cloudy, other]), (vec![], vec![]));
    }

    #[test]
    fn an_id_that_climbs_out_of_its_folder_is_refused() {
        let evil = item("../../etc", "05.00", "s", "p");
        assert!(select(&[evil], "32TMT", 80.0).unwrap_err().contains("folder name"));
    }

    #[test]
    fn the_tile_is_known_by_any_catalogue() {
        for (expected, item) in [
            ("06VVN", json!({"id": "x", "properties": {"s2:mgrs_tile": "06VVN"}})),
            ("37MGP", json!({"id": "S2B_T37MGP_20240710T073012_L2A_C1", "properties": {}})),
            ("31QGB", json!({"id": "S2B_31QGB_20200831_0_L2A", "properties": {}})),
            (
                "05QKB",
                json!({"id": "x", "properties":
                {"sentinel:utm_zone": 5, "sentinel:latitude_band": "Q", "sentinel:grid_square": "KB"}}),
            ),
        ] {
            assert_eq!(tile_of(&item).as_deref(), Some(expected));
        }
    }

    #[test]
    fn addresses_lose_their_credentials() {
        let mut item =
            json!({"assets": {"red": {"href": "https://u:p@h/a.tif?sig=1"}, "b": {"href": "s3://b/a.tif"}}});
        strip_credentials(&mut item);
        assert_eq!(
            item,
            json!({"assets": {"red": {"href": "https://h/a.tif"}, "b": {"href": "s3://b/a.tif"}}})
        );
    }
}
