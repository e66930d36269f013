//! One Sentinel-2 scene: the item, the scene classification first, then the bands' blocks that show clear ground.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use futures::future::try_join_all;
use minicube::{Outcome, plan_hash, write_atomic};
use serde_json::{Value, json};

use super::scenes::{Scene, Superseded, select, strip_credentials};
use super::stac;
use crate::clouds::{ClearSky, all_blocks};
use crate::http::{Http, Stop};
use crate::ledger::{Head, Journal, Kept, Part, Row, State, parts_folder};
use crate::plan::{Plan, Sentinel2Plan, TilePlan};
use crate::raster::{Choice, Raster, Standing, Stored, blocking, store};
use crate::run::Unit;
use crate::{Error, tiff};

const SOURCE: &str = "s2";
const CLASSES: &str = "scl";

/// The scenes of a tile, from the catalogue's answer of an earlier run or, if there is none for this question or
/// `refresh` is set, from the catalogue. What newer processings replace goes into the ledger.
///
/// # Errors
/// [`Error::Search`] if the catalogue does not answer, or not with items.
pub(crate) async fn find_scenes(
    http: &Http,
    plan: &Plan,
    tile: &TilePlan,
    refresh: bool,
) -> Result<Vec<Scene>, Error> {
    let Some(wanted) = &plan.sentinel2 else { return Ok(Vec::new()) };
    let failed = |reason: String| Error::Search { tile: tile.id.clone(), reason };
    let folder = parts_folder(&plan.project.raw()).join(SOURCE).join(&tile.id);
    let cache = folder.join("search.json");
    let first = stac::first_page(plan, wanted, tile);
    let question = format!("{first:?}");
    let items = match cached(&cache, &question).filter(|_| !refresh) {
        Some(items) => items,
        None => {
            let mut items = Value::Array(match stac::search(http, first).await {
                Ok(items) => items,
                Err(Stop::Gap(reason) | Stop::Later(reason)) => return Err(failed(reason)),
                Err(Stop::Fatal(error)) => return Err(error),
            });
            strip_credentials(&mut items);
            let answer = json!({"question": question, "items": items});
            write_atomic(&cache, answer.to_string().as_bytes())?;
            let Value::Array(items) = items else { return Ok(Vec::new()) };
            items
        }
    };
    let (scenes, superseded) = select(&items, &tile.id, wanted.max_cloud_cover).map_err(failed)?;
    note_superseded(&folder.join("superseded.jsonl"), tile, &superseded)?;
    Ok(scenes)
}

fn cached(path: &Path, question: &str) -> Option<Vec<Value>> {
    let mut answer: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    if answer["question"] != question {
        return None;
    }
    match answer["items"].take() {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

fn note_superseded(path: &Path, tile: &TilePlan, superseded: &[Superseded]) -> Result<(), Error> {
    let row = |old: &Superseded| {
        Row::whole(SOURCE, &old.id, "", "", State::Superseded).because(format!("replaced by {}", old.by))
    };
    let want = plan_hash(&superseded.iter().map(|old| (&old.id, &old.by)).collect::<Vec<_>>());
    if Part::read(path).is_some_and(|part| part.head.want == want) {
        return Ok(());
    }
    let head = Head { want, tile: tile.id.clone(), day: String::new(), files: Vec::new() };
    Part { head, rows: superseded.iter().map(row).collect() }.seal(path).map(|_| ())
}

/// Fetches what is missing of a scene and seals its part of the ledger.
///
/// # Errors
/// Only what stops the whole run; anything missing is a row in the ledger and a failed outcome.
pub(crate) async fn fetch_scene(
    http: &Arc<Http>,
    plan: &Plan,
    tile: &TilePlan,
    scene: &Scene,
) -> Result<Unit, Error> {
    let Some(wanted) = &plan.sentinel2 else { return Ok(Unit::skipped(&scene.id, "no assets are wanted")) };
    let clock = Instant::now();
    let raw = plan.project.raw();
    let part_path = parts_folder(&raw).join(SOURCE).join(&tile.id).join(format!("{}.jsonl", scene.id));
    let want = plan_hash(&(&tile.cells, &wanted.assets, &wanted.cloud_rule));
    let before = Part::read(&part_path);
    if before.as_ref().is_some_and(|part| part.is_complete(&want, &raw)) {
        return Ok(Unit::skipped(&scene.id, "was complete"));
    }
    let journal = Arc::new(Journal::new(part_path.with_extension("journal")));
    let mut known = before.map(|part| part.rows).unwrap_or_default();
    known.extend(journal.rows());
    let place = Place { raw: &raw, tile, scene, known };

    let mut result = Gathered::default();
    result.keep(place.item()?);
    let classes = place.fetch(http, &journal, CLASSES, |header| all_blocks(header, &tile.cells)).await;
    let has_classes = classes.is_ok();
    result.add(&place, CLASSES, classes)?;
    let sky = match &wanted.cloud_rule {
        Some(rule) if has_classes => {
            let (path, cells, rule) = (place.path(CLASSES), tile.cells.clone(), rule.clone());
            let read =
                blocking(move || Standing::open(&path).map(|scl| ClearSky::read(&scl, &cells, &rule))).await;
            match read {
                Ok(Some(Ok(sky))) => sky,
                Ok(other) => {
                    let reason =
                        other.and_then(Result::err).unwrap_or_else(|| "the file cannot be read".into());
                    tracing::warn!(
                        scene = scene.id,
                        reason,
                        "no cloud skipping: the classification is of no use"
                    );
                    None
                }
                Err(stop) => return Err(fatal(stop, &scene.id)),
            }
        }
        _ => None,
    };
    let choose = |header: &tiff::Header| -> Choice {
        sky.as_ref().map_or_else(|| all_blocks(header, &tile.cells), |sky| sky.choose(header))
    };
    let (at, log, choose) = (&place, &journal, &choose);
    let bands = wanted.assets.iter().map(|asset| async move {
        let stored = at.fetch(http, log, asset, choose).await;
        if let Err(Stop::Fatal(error)) = stored { Err(error) } else { Ok((asset, stored)) }
    });
    for (asset, stored) in try_join_all(bands).await? {
        result.add(&place, asset, stored)?;
    }
    let reason = result.failures();
    let head = Head {
        want,
        tile: tile.id.clone(),
        day: scene.date.to_string(),
        files: std::mem::take(&mut result.files),
    };
    Part { head, rows: result.rows }.seal(&part_path)?;
    if !result.resumable {
        journal.remove();
    }
    let outcome = match reason {
        Some(reason) => Outcome::failed(&scene.id, reason),
        None => Outcome::ok(&scene.id, clock.elapsed().as_secs_f64(), result.bytes),
    };
    Ok(Unit { outcome, payload: result.payload })
}

fn fatal(stop: Stop, what: &str) -> Error {
    match stop {
        Stop::Fatal(error) => error,
        Stop::Gap(reason) | Stop::Later(reason) => Error::Setup(format!("{what}: {reason}")),
    }
}

/// A scene and where it goes.
struct Place<'a> {
    raw: &'a Path,
    tile: &'a TilePlan,
    scene: &'a Scene,
    known: Vec<Row>,
}

impl Place<'_> {
    fn relative(&self, name: &str) -> String {
        format!("{SOURCE}/{}/{}/{}/{name}", self.tile.id, self.scene.date.format("%Y%m%d"), self.scene.id)
    }

    fn path(&self, asset: &str) -> PathBuf {
        self.raw.join(self.relative(&format!("{asset}.tif")))
    }

    /// Writes `item.json` unless it is there.
    fn item(&self) -> Result<Kept, Error> {
        let path = self.relative("item.json");
        let full = self.raw.join(&path);
        let bytes = match std::fs::metadata(&full) {
            Ok(there) => there.len(),
            Err(_) => {
                let text = format!("{:#}\n", self.scene.item);
                write_atomic(&full, text.as_bytes())?;
                text.len() as u64
            }
        };
        Ok(Kept { path, bytes, item: self.scene.id.clone(), asset: String::new() })
    }

    async fn fetch(
        &self,
        http: &Arc<Http>,
        journal: &Arc<Journal>,
        asset: &str,
        choose: impl Fn(&tiff::Header) -> Choice,
    ) -> Result<Stored, Stop> {
        let url = self.scene.href(asset).map_err(Stop::Gap)?;
        let known = self.known.iter().filter(|row| row.asset == asset).cloned().collect();
        let row = Row::whole(SOURCE, &self.scene.id, asset, url.path(), State::Fetched);
        let raster = Raster { url, path: self.path(asset), row, known, epsg: self.tile.epsg };
        store(http, raster, journal, choose).await
    }
}

/// What is gathered of a scene.
#[derive(Default)]
struct Gathered {
    rows: Vec<Row>,
    files: Vec<Kept>,
    bytes: u64,
    payload: u64,
    /// Whether a partial file waits for another run.
    resumable: bool,
}

impl Gathered {
    fn keep(&mut self, file: Kept) {
        self.bytes += file.bytes;
        self.files.push(file);
    }

    fn add(&mut self, place: &Place<'_>, asset: &str, stored: Result<Stored, Stop>) -> Result<(), Error> {
        let reason = match stored {
            Ok(stored) => {
                let (path, item) = (place.relative(&format!("{asset}.tif")), place.scene.id.clone());
                self.keep(Kept { path, bytes: stored.bytes, item, asset: asset.to_owned() });
                self.payload += stored.payload;
                self.rows.extend(stored.rows);
                return Ok(());
            }
            Err(Stop::Fatal(error)) => return Err(error),
            Err(Stop::Later(reason)) => {
                self.resumable = true;
                reason
            }
            Err(Stop::Gap(reason)) => reason,
        };
        let url_path = place.scene.href(asset).map(|url| url.path().to_owned()).unwrap_or_default();
        tracing::warn!(scene = place.scene.id, asset, reason, "failed");
        self.rows.push(Row::whole(SOURCE, &place.scene.id, asset, &url_path, State::Failed).because(reason));
        Ok(())
    }

    fn failures(&self) -> Option<String> {
        let failed = self.rows.iter().filter(|row| row.status == State::Failed);
        let texts: Vec<String> = failed
            .map(|row| format!("{}: {}", row.asset, row.reason.as_deref().unwrap_or("no reason")))
            .collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}

/// What a plan costs, judged by the headers of one scene.
pub(crate) async fn estimate(
    http: &Http,
    wanted: &Sentinel2Plan,
    tile: &TilePlan,
    scene: &Scene,
) -> Result<Cost, Stop> {
    let mut cost = Cost::default();
    for asset in wanted.assets.iter().map(String::as_str).chain([CLASSES]) {
        let url = scene.href(asset).map_err(Stop::Gap)?;
        let header = crate::raster::remote_header(http, &url).await?.header;
        let blocks = all_blocks(&header, &tile.cells).wanted;
        let spans =
            tiff::coalesce(&header, &blocks, http.settings.coalesce_gap_bytes, crate::raster::MAX_SPAN_BYTES);
        cost.blocks += blocks.len();
        cost.requests += 1 + spans.len();
        cost.bytes +=
            http.settings.header_bytes + spans.iter().map(|s| s.bytes.end - s.bytes.start).sum::<u64>();
    }
    Ok(cost)
}

/// Cost of one scene, nothing left out for clouds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) blocks: usize,
    pub(crate) requests: usize,
    pub(crate) bytes: u64,
}
