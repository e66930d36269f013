//! From items to scenes: which are of the tile, and which processing of an acquisition is the newest.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Utc};
use minicube::NaiveDate;
use serde_json::Value;
use url::Url;

use super::assets;
use crate::allow::Hosts;
use crate::ledger::is_safe_name;
use crate::plan::Sentinel2Plan;
use crate::stated::Stated;

/// Name of the part of the ledger that has what is [`Superseded`]; no scene can have it.
pub(crate) const SUPERSEDED: &str = "superseded";
/// So many of an item's assets are named in a message; those of Sentinel-2 are fewer.
const MOST_NAMED: usize = 40;

/// One Sentinel-2 product of a tile.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scene {
    pub(crate) id: String,
    pub(crate) date: NaiveDate,
    pub(crate) cloud_cover: Option<f64>,
    pub(crate) pass: Option<Pass>,
    /// The item, without credentials in its addresses.
    pub(crate) item: Value,
    /// What tells one acquisition from another.
    acquisition: String,
    /// Start of the data strip: granules of one baseline that differ in it show different parts of the tile.
    strip: String,
    baseline: u32,
    processed: String,
}

/// When which satellite was where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pass {
    /// Relative orbit, 1 to 143.
    pub(crate) orbit: u32,
    /// `sentinel-2a`, …
    pub(crate) platform: String,
    pub(crate) moment: DateTime<Utc>,
}

/// The scenes of a tile and what became of the others.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// Those that are wanted, ascending by date and id.
    pub(crate) scenes: Vec<Scene>,
    /// Those that a newer processing replaces.
    pub(crate) superseded: Vec<Superseded>,
    /// Acquisitions with more cloud than wanted.
    pub(crate) cloudy: usize,
    /// Acquisitions of other orbits, months or days.
    pub(crate) filtered: usize,
    /// Every pass of which there is a scene, wanted or not.
    pub(crate) passes: Vec<Pass>,
}

/// A scene that is not wanted, and the one that replaces it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Superseded {
    pub(crate) id: String,
    pub(crate) by: String,
}

impl Scene {
    /// Address of an asset, if it may be asked for.
    pub(crate) fn href(&self, asset: &str, hosts: &Hosts) -> Result<Url, String> {
        hosts.check(&self.raw_href(asset)?)
    }

    /// The grid that the item states for an asset.
    pub(crate) fn stated(&self, asset: &str) -> Stated {
        assets::find(&self.item["assets"], asset).map(Stated::of).unwrap_or_default()
    }

    /// The address as the item has it; where that is of a bucket, the alternative over https if there is one.
    fn raw_href(&self, asset: &str) -> Result<String, String> {
        let all = &self.item["assets"];
        let found = assets::find(all, asset).ok_or_else(|| {
            let keys = all.as_object().into_iter().flat_map(|assets| assets.keys());
            let known = keys.map(String::as_str).filter(|key| key.len() <= 32 && is_safe_name(key));
            let known: Vec<&str> = known.take(MOST_NAMED).collect();
            format!("the item has no asset `{asset}`, only {}", known.join(", "))
        })?;
        let href = found["href"].as_str().ok_or_else(|| format!("asset `{asset}` has no address"))?;
        if !href.starts_with("s3://") {
            return Ok(href.to_owned());
        }
        Ok(match found["alternate"]["https"]["href"].as_str() {
            Some(href) => href.to_owned(),
            None => assets::over_https(href, self.item["properties"]["storage:region"].as_str()),
        })
    }
}

/// Chooses the scenes of a tile. Items of other tiles, collections or days than the first to the last asked for, without
/// a date, and doubles are left out; an id that could not be a file name is refused.
///
/// Of one acquisition (data take) the newest processing baseline wins; of that baseline, for each data strip, the
/// newest processing time. Two strips of one baseline are two halves of the tile, and both are kept.
///
/// # Errors
/// The id that was refused.
pub(crate) fn select(
    items: &[Value],
    tile: &str,
    wanted: &Sentinel2Plan,
    (first, last): (NaiveDate, NaiveDate),
) -> Result<Selection, String> {
    let mut selection = Selection::default();
    let mut acquisitions: BTreeMap<String, BTreeMap<String, Scene>> = BTreeMap::new();
    let is_wanted = |item: &&Value| {
        item["collection"].as_str().is_none_or(|collection| collection == wanted.collection)
            && tile_of(item).as_deref() == Some(tile)
    };
    for item in items.iter().filter(is_wanted) {
        let Some(scene) = scene(item, tile)?.filter(|scene| (first..=last).contains(&scene.date)) else {
            continue;
        };
        selection.passes.extend(scene.pass.clone());
        acquisitions.entry(scene.acquisition.clone()).or_default().insert(scene.id.clone(), scene);
    }
    selection.passes.sort();
    selection.passes.dedup();
    for (_, mut scenes) in acquisitions {
        scenes.retain(|_, scene| {
            let orbit = scene
                .pass
                .as_ref()
                .is_none_or(|pass| wanted.orbits.is_empty() || wanted.orbits.contains(&pass.orbit));
            orbit && (wanted.months.is_empty() || wanted.months.contains(&scene.date.month()))
        });
        if scenes.is_empty() {
            selection.filtered += 1;
            continue;
        }
        let (mut kept, superseded) = newest(scenes);
        kept.retain(|scene| scene.cloud_cover.is_none_or(|cover| cover <= wanted.max_cloud_cover));
        selection.cloudy += usize::from(kept.is_empty());
        selection.scenes.extend(kept);
        selection.superseded.extend(superseded);
    }
    selection.scenes.sort_by(|a, b| (a.date, &a.id).cmp(&(b.date, &b.id)));
    selection.superseded.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(selection)
}

/// Parts the scenes of one acquisition into those that count and those that are replaced.
fn newest(scenes: BTreeMap<String, Scene>) -> (Vec<Scene>, Vec<Superseded>) {
    let newest = scenes.values().map(|scene| scene.baseline).max().unwrap_or(0);
    let (current, mut replaced): (Vec<Scene>, Vec<Scene>) =
        scenes.into_values().partition(|scene| scene.baseline == newest);
    let mut strips: BTreeMap<String, Scene> = BTreeMap::new();
    for scene in current {
        let newer = strips
            .get(&scene.strip)
            .is_none_or(|other| (&scene.processed, &scene.id) > (&other.processed, &other.id));
        let loser = if newer { strips.insert(scene.strip.clone(), scene) } else { Some(scene) };
        replaced.extend(loser);
    }
    let by = |old: &Scene| {
        strips.get(&old.strip).or_else(|| strips.values().next()).map_or(String::new(), |s| s.id.clone())
    };
    let superseded = replaced.into_iter().map(|old| Superseded { by: by(&old), id: old.id }).collect();
    (strips.into_values().collect(), superseded)
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
    if !is_safe_name(id) || id == SUPERSEDED {
        let begin: String = id.chars().take(60).collect();
        return Err(format!("item id {begin:?} of {} bytes cannot be a folder name", id.len()));
    }
    let datetime = text(properties, &["datetime", "start_datetime"]).unwrap_or_default();
    let Some(date) = datetime.get(..10).and_then(|day| NaiveDate::parse_from_str(day, "%Y-%m-%d").ok())
    else {
        return Ok(None);
    };
    let platform = text(properties, &["platform"]).unwrap_or_default();
    let moment = DateTime::parse_from_rfc3339(&datetime).ok().map(|moment| moment.with_timezone(&Utc));
    let pass = orbit(properties, id).zip(moment).map(|(orbit, moment)| Pass {
        orbit,
        platform: platform.to_lowercase(),
        moment,
    });
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
        baseline: baseline(properties, id),
        pass,
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

/// Relative orbit, from the property or from `_R123_` in the product's name.
fn orbit(properties: &Value, id: &str) -> Option<u32> {
    let named = || {
        let word = |name: &str| {
            let word = name.split('_').find(|word| word.len() == 4 && word.starts_with('R'))?;
            word[1..].parse().ok()
        };
        product(properties).and_then(|name| word(&name)).or_else(|| word(id))
    };
    let stated = properties["sat:relative_orbit"].as_u64().and_then(|orbit| u32::try_from(orbit).ok());
    stated.or_else(named).filter(|orbit| (1..=143).contains(orbit))
}

/// Processing baseline × 100: 5.10 is 510; from a property or from `_N0510_` in the product's name.
fn baseline(properties: &Value, id: &str) -> u32 {
    let stated = ["s2:processing_baseline", "sentinel:processing_baseline", "processing:version"];
    let stated = stated.iter().find_map(|key| match &properties[*key] {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    });
    let word = |name: &str| -> Option<u32> {
        let is_number = |word: &&str| {
            word.strip_prefix('N').is_some_and(|n| n.len() == 4 && n.chars().all(|c| c.is_ascii_digit()))
        };
        name.split('_').find(is_number)?[1..].parse().ok()
    };
    let named = || product(properties).and_then(|name| word(&name)).or_else(|| word(id));
    stated.map(|number: f64| (number * 100.0).round() as u32).or_else(named).unwrap_or(0)
}

/// ESA's name of the product.
fn product(properties: &Value) -> Option<String> {
    text(properties, &["s2:product_uri", "sentinel:product_id"])
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

    fn wanted() -> Sentinel2Plan {
        Sentinel2Plan {
            stac: Url::parse("https://host/v1").unwrap(),
            collection: "sentinel-2-l2a".into(),
            assets: vec!["red".into()],
            scl: true,
            max_cloud_cover: 80.0,
            orbits: Vec::new(),
            months: Vec::new(),
            cloud_rule: None,
            hosts: Hosts::default(),
        }
    }

    fn days() -> (NaiveDate, NaiveDate) {
        let day = |month, day| NaiveDate::from_ymd_opt(2020, month, day).unwrap();
        (day(3, 1), day(3, 5))
    }

    fn ids(items: &[Value]) -> (Vec<String>, Vec<(String, String)>) {
        let found = select(items, "32TMT", &wanted(), days()).unwrap();
        let superseded = found.superseded.into_iter().map(|s| (s.id, s.by));
        (found.scenes.into_iter().map(|s| s.id).collect(), superseded.collect())
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
    fn cloudy_scenes_other_tiles_days_and_collections_are_left_out() {
        let mut cloudy = item("a", "05.00", "s", "p");
        cloudy["properties"]["eo:cloud_cover"] = json!(80.5);
        let mut other = item("b", "05.00", "s", "p");
        other["properties"]["grid:code"] = json!("MGRS-32TNT");
        let mut late = item("c", "05.00", "s", "p");
        late["properties"]["datetime"] = json!("2020-03-06T00:00:00Z");
        let mut l1c = item("d", "05.00", "s", "p");
        l1c["collection"] = json!("sentinel-2-l1c");
        assert_eq!(ids(&[cloudy.clone(), other, late, l1c]), (vec![], vec![]));
        assert_eq!(select(&[cloudy], "32TMT", &wanted(), days()).unwrap().cloudy, 1);
    }

    #[test]
    fn orbits_and_months_are_filtered_and_passes_are_known_all_the_same() {
        let mut item =
            item("S2A_MSIL2A_20200305T103021_N0214_R108_T32TMT_20200305T132101", "02.14", "s", "p");
        let count = |wanted: &Sentinel2Plan, item: &Value| {
            let found = select(std::slice::from_ref(item), "32TMT", wanted, days()).unwrap();
            (found.scenes.len(), found.filtered, found.passes.len())
        };
        assert_eq!(
            count(&Sentinel2Plan { orbits: vec![108], months: vec![3], ..wanted() }, &item),
            (1, 0, 1)
        );
        assert_eq!(count(&Sentinel2Plan { orbits: vec![65], ..wanted() }, &item), (0, 1, 1));
        assert_eq!(count(&Sentinel2Plan { months: vec![4], ..wanted() }, &item), (0, 1, 1));
        item["properties"]["sat:relative_orbit"] = json!(65);
        assert_eq!(count(&Sentinel2Plan { orbits: vec![65], ..wanted() }, &item), (1, 0, 1));
    }

    #[test]
    fn baselines_are_known_by_any_catalogue() {
        let of = |properties: Value, id: &str| baseline(&properties, id);
        assert_eq!(of(json!({"s2:processing_baseline": "05.10"}), "x"), 510);
        assert_eq!(of(json!({"processing:version": "02.14"}), "x"), 214);
        assert_eq!(
            of(
                json!({"sentinel:product_id": "S2B_MSIL2A_20200831T100559_N0208_R022_T31QGB_20200831T145215"}),
                "x"
            ),
            208
        );
        assert_eq!(of(json!({}), "S2B_MSIL2A_20190629T212529_N0212_R043_T06VVN_20201006T080531"), 212);
        assert_eq!(of(json!({}), "x"), 0);
    }

    #[test]
    fn an_id_that_climbs_out_of_its_folder_is_refused() {
        let evil = item("../../etc", "05.00", "s", "p");
        assert!(select(&[evil], "32TMT", &wanted(), days()).unwrap_err().contains("folder name"));
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
