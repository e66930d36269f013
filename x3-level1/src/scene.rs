//! The acquisitions of a tile in `raw/s2`: which are there, when, and what their digital numbers mean.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use minicube::{NaiveDate, esa_name, to_cf_day};
use serde::Serialize;
use serde_json::Value;

use crate::Error;
use crate::asset::{Quantity, Stored, atmosphere_gain};
use crate::baseline::{Radiometry, radiometry};
use crate::dark_pixels::OffsetCheck;
use crate::ledger::Ledger;

/// One acquisition of one tile.
#[derive(Clone, Debug, Serialize)]
pub struct Scene {
    /// STAC item id.
    pub id: String,
    /// Start of the acquisition, UTC, ISO 8601.
    pub datetime: String,
    /// Its CF day.
    pub day: i32,
    /// Processing baseline; NaN where unknown.
    pub baseline: f64,
    /// Whether the provider took the −1000 offset off.
    pub offset_applied: bool,
    /// Added to digital numbers of reflectance to get stored ones.
    pub add: u16,
    /// Whether the pixels say the same. Not known before they were read.
    #[serde(skip)]
    pub check: OffsetCheck,
    /// Factors from the numbers of `aot` and `wvp` to stored ones, where these are wanted.
    pub gains: BTreeMap<String, f32>,
    /// Size of each asset's file, bytes; assets without a file are absent. Sparse files grow when blocks are added.
    pub sizes: BTreeMap<String, u64>,
    /// The scene's folder.
    #[serde(skip)]
    pub folder: PathBuf,
}

impl Scene {
    /// The raster of an asset, if it was fetched.
    #[must_use]
    pub fn raster(&self, asset: &str) -> Option<PathBuf> {
        self.sizes.contains_key(asset).then(|| file_of(&self.folder, asset).map(|(path, _)| path)).flatten()
    }

    /// What makes a stored number of an asset's digital number.
    #[must_use]
    pub fn stored(&self, asset: &str) -> Stored {
        match Quantity::of(asset) {
            Quantity::Reflectance => Stored { gain: 1.0, add: self.add },
            Quantity::OpticalThickness | Quantity::WaterVapour => {
                Stored { gain: self.gains.get(asset).copied().unwrap_or(1.0), add: 0 }
            }
        }
    }

    fn read(folder: &Path, assets: &[String]) -> Result<Scene, Error> {
        let path = folder.join("item.json");
        let wrong = |reason: String| Error::Item { path: path.clone(), reason };
        let bytes = fs::read(&path).map_err(Error::read(&path))?;
        let item: Value = serde_json::from_slice(&bytes).map_err(|e| wrong(format!("not JSON: {e}")))?;
        let datetime = item["properties"]["datetime"]
            .as_str()
            .and_then(|text| DateTime::parse_from_rfc3339(text).ok())
            .ok_or_else(|| {
                let found = &item["properties"]["datetime"];
                wrong(format!("properties.datetime: expected an RFC 3339 time, found {found}"))
            })?
            .with_timezone(&Utc);
        let Radiometry { baseline, offset_applied, add } = radiometry(&item).map_err(wrong)?;
        let of_air = |asset: &&String| Quantity::of(asset) != Quantity::Reflectance;
        let gains =
            assets.iter().filter(of_air).map(|asset| Ok((asset.clone(), atmosphere_gain(&item, asset)?)));
        let gains = gains.collect::<Result<_, String>>().map_err(wrong)?;
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let size = |asset: &String| file_of(folder, asset).map(|(_, size)| (asset.clone(), size));
        Ok(Scene {
            id: item["id"].as_str().map_or(name, str::to_owned),
            datetime: datetime.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            day: to_cf_day(datetime.date_naive()),
            baseline,
            offset_applied,
            add,
            check: OffsetCheck::Undecided,
            gains,
            sizes: assets.iter().filter_map(size).collect(),
            folder: folder.to_owned(),
        })
    }
}

/// The scenes of a tile from `first` to `last`, ascending by acquisition time and id. Several a day stay apart; those
/// that the ledger calls superseded are left out. A folder without `item.json` is not a scene yet.
///
/// # Errors
/// - [`Error::NoInput`] if there is no folder for the tile, or no scene in it,
/// - [`Error::Item`] if an item cannot be understood.
pub(crate) fn scenes(
    raw_s2: &Path,
    tile: &str,
    assets: &[String],
    (first, last): (NaiveDate, NaiveDate),
    ledger: &Ledger,
) -> Result<Vec<Scene>, Error> {
    let folder = raw_s2.join(tile);
    let missing = |what: String| Error::NoInput {
        path: folder.clone(),
        what,
        hint: "run `x2-downloader run` with the same project file first",
    };
    if !folder.is_dir() {
        return Err(missing("expected the raw scenes of the tile, found no such folder".into()));
    }
    let mut scenes = Vec::new();
    for date in subfolders(&folder)? {
        for path in subfolders(&date)? {
            if !path.join("item.json").is_file() {
                tracing::warn!("{}: no item.json, not taken as a scene", path.display());
                continue;
            }
            let scene = Scene::read(&path, assets)?;
            if (to_cf_day(first)..=to_cf_day(last)).contains(&scene.day) && !ledger.is_superseded(&scene.id) {
                scenes.push(scene);
            }
        }
    }
    scenes.sort_by(|a, b| (&a.datetime, &a.id).cmp(&(&b.datetime, &b.id)));
    if scenes.is_empty() {
        return Err(missing(format!("expected scenes from {first} to {last}, found none")));
    }
    Ok(scenes)
}

/// The file of an asset, under its key or under ESA's name, and its size: blocks of a GeoTIFF, or a whole JPEG 2000.
fn file_of(folder: &Path, asset: &str) -> Option<(PathBuf, u64)> {
    let names = [Some(asset), esa_name(asset)].into_iter().flatten();
    let files = names.flat_map(|name| ["tif", "jp2"].map(|suffix| folder.join(format!("{name}.{suffix}"))));
    files.into_iter().find_map(|path| fs::metadata(&path).ok().map(|file| (path, file.len())))
}

/// Folders in a folder, ascending by name.
fn subfolders(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(folder).map_err(Error::read(folder))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.retain(|path| path.is_dir() && path.extension().is_none_or(|extension| extension != "partial"));
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, date: &str, id: &str, datetime: &str) {
        let folder = root.join("35KMQ").join(date).join(id);
        fs::create_dir_all(&folder).unwrap();
        let item = serde_json::json!({"id": id, "properties": {"datetime": datetime, "s2:processing_baseline": "02.14"}});
        fs::write(folder.join("item.json"), item.to_string()).unwrap();
        fs::write(folder.join("red.tif"), b"12345").unwrap();
    }

    #[test]
    fn scenes_are_ascending_and_same_day_ones_stay_apart() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "20180106", "B", "2018-01-06T08:10:00Z");
        write(dir.path(), "20180106", "A", "2018-01-06T08:20:00.500Z");
        write(dir.path(), "20180101", "C", "2018-01-01T08:10:00Z");
        write(dir.path(), "20190101", "D", "2019-01-01T08:10:00Z");
        fs::create_dir_all(dir.path().join("35KMQ/20180107/half")).unwrap();
        let date = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).unwrap();
        let span = (date(2018, 1, 1), date(2018, 12, 31));
        let assets = ["red".to_owned(), "blue".to_owned()];
        let found = scenes(dir.path(), "35KMQ", &assets, span, &Ledger::default()).unwrap();
        let ids: Vec<&str> = found.iter().map(|scene| scene.id.as_str()).collect();
        assert_eq!(ids, ["C", "B", "A"]);
        assert_eq!(found[1].day, to_cf_day(date(2018, 1, 6)));
        assert_eq!(found[0].sizes, BTreeMap::from([("red".to_owned(), 5)]));
        assert!(found[0].raster("red").is_some() && found[0].raster("blue").is_none());

        let error = scenes(dir.path(), "35KMR", &assets, span, &Ledger::default()).unwrap_err();
        assert!(error.to_string().contains("35KMR"), "{error}");
    }
}
