//! One Sentinel-2 scene: the item, the scene classification first, then the bands' blocks that show clear ground.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use minicube::{Outcome, plan_hash, write_atomic};
use minicube_tiff::{Header, TiffFile, directory};

use super::scenes::Scene;
use crate::Error;
use crate::blocks::coalesce;
use crate::clouds::{ClearSky, all_blocks};
use crate::headers::{Front, Headers, Remote};
use crate::ledger::{Head, Journal, Kept, Part, Row, State, parts_folder};
use crate::net::{Http, Stop};
use crate::plan::{Network, Plan, Sentinel2Plan, TilePlan};
use crate::raster::{Choice, MAX_SPAN_BYTES, Raster, Stored, blocking, is_whole_cheaper, store};
use crate::run::Unit;

pub(crate) const SOURCE: &str = "s2";
const CLASSES: &str = "scl";

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
    let part_path = part_path(plan, tile, scene);
    let want = plan_hash(&(&tile.cells, &wanted.assets, &wanted.cloud_rule, wanted.scl));
    let before = Part::read(&part_path);
    if before.as_ref().is_some_and(|part| part.is_complete(&want, &plan.project.raw())) {
        return Ok(Unit::skipped(&scene.id, "was complete"));
    }
    let place = Place::new(plan, wanted, tile, scene);

    let mut result = Gathered::default();
    result.keep(place.item()?);
    let sky = match place.sky(http).await? {
        Some((classes, sky)) => {
            result.add(&place, CLASSES, classes)?;
            sky
        }
        None => None,
    };
    let choose = |header: &Header| choose(header, tile, sky.as_ref());
    let (at, choose) = (&place, &choose);
    let bands = wanted.assets.iter().map(|asset| async move {
        let stored = at.fetch(http, asset, choose).await;
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
        place.journal.remove();
    }
    let outcome = match reason {
        Some(reason) => Outcome::failed(&scene.id, reason),
        None => Outcome::ok(&scene.id, clock.elapsed().as_secs_f64(), result.bytes),
    };
    Ok(Unit { outcome, payload: result.payload })
}

/// What a scene costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cost {
    pub(crate) blocks: usize,
    pub(crate) requests: usize,
    /// Bytes over the network.
    pub(crate) bytes: u64,
    /// Bytes on the disk.
    pub(crate) disk: u64,
    /// Rasters fetched as whole files.
    pub(crate) whole_files: usize,
}

/// What a scene costs from nothing, to the byte: the directories of its rasters are read, and its classification is
/// fetched, for they say what else is wanted. Both stay, so that a run goes on from there.
pub(crate) async fn cost(
    http: &Arc<Http>,
    plan: &Plan,
    wanted: &Sentinel2Plan,
    tile: &TilePlan,
    scene: &Scene,
) -> Result<Cost, Stop> {
    let place = Place::new(plan, wanted, tile, scene);
    let mut cost = Cost::default();
    let sky = match place.sky(http).await? {
        Some((classes, sky)) => {
            classes?;
            cost.add(place.cost_of(http, CLASSES, |header| all_blocks(header, &tile.cells)).await?);
            sky
        }
        None => None,
    };
    let choose = |header: &Header| choose(header, tile, sky.as_ref());
    let (at, choose) = (&place, &choose);
    let bands = wanted.assets.iter().map(|asset| at.cost_of(http, asset, choose));
    for one in try_join_all(bands).await? {
        cost.add(one);
    }
    Ok(cost)
}

fn choose(header: &Header, tile: &TilePlan, sky: Option<&ClearSky>) -> Choice {
    sky.map_or_else(|| all_blocks(header, &tile.cells), |sky| sky.choose(header))
}

/// Where the sealed part of a scene stands.
pub(crate) fn part_path(plan: &Plan, tile: &TilePlan, scene: &Scene) -> PathBuf {
    parts_folder(&plan.project.raw()).join(SOURCE).join(&tile.id).join(format!("{}.jsonl", scene.id))
}

/// A scene and where it goes.
struct Place<'a> {
    raw: PathBuf,
    wanted: &'a Sentinel2Plan,
    tile: &'a TilePlan,
    scene: &'a Scene,
    known: Vec<Row>,
    journal: Arc<Journal>,
    headers: Headers,
}

impl<'a> Place<'a> {
    /// Reads what earlier runs know of the scene.
    fn new(plan: &Plan, wanted: &'a Sentinel2Plan, tile: &'a TilePlan, scene: &'a Scene) -> Place<'a> {
        let part_path = part_path(plan, tile, scene);
        let journal = Arc::new(Journal::new(part_path.with_extension("journal")));
        let mut known = Part::read(&part_path).map(|part| part.rows).unwrap_or_default();
        known.extend(journal.rows());
        let headers = Headers::open(part_path.with_extension("headers"));
        Place { raw: plan.project.raw(), wanted, tile, scene, known, journal, headers }
    }

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

    /// The classification, and the clear pixels by it if clouds are to be left out; `None` if it is not wanted.
    async fn sky(&self, http: &Arc<Http>) -> Result<Option<(Result<Stored, Stop>, Option<ClearSky>)>, Error> {
        if !self.wanted.scl {
            return Ok(None);
        }
        let classes = self.fetch(http, CLASSES, |header| all_blocks(header, &self.tile.cells)).await;
        let (Some(rule), Ok(stored)) = (&self.wanted.cloud_rule, &classes) else {
            return Ok(Some((classes, None)));
        };
        let (path, cells, rule) = (stored.path.clone(), self.tile.cells.clone(), rule.clone());
        let read =
            blocking(move || TiffFile::open(&path).map(|scl| ClearSky::read(&scl, &cells, &rule))).await;
        let sky = match read {
            Ok(Some(Ok(Some(sky)))) => Some(sky),
            Ok(other) => {
                let reason = match other {
                    Some(Err(reason)) => reason,
                    _ => "it is not packed in a way that is read here".into(),
                };
                tracing::warn!(
                    scene = self.scene.id,
                    reason,
                    "no block is left out for clouds: the classification is of no use"
                );
                None
            }
            Err(stop) => return Err(fatal(stop, &self.scene.id)),
        };
        Ok(Some((classes, sky)))
    }

    async fn fetch(
        &self,
        http: &Arc<Http>,
        asset: &str,
        choose: impl Fn(&Header) -> Choice,
    ) -> Result<Stored, Stop> {
        let url = self.scene.href(asset, &self.wanted.hosts).map_err(Stop::Gap)?;
        let known = self.known.iter().filter(|row| row.asset == asset).cloned().collect();
        let row = Row::whole(SOURCE, &self.scene.id, asset, url.path(), State::Fetched);
        let (path, epsg, stated) = (self.path(asset), Some(self.tile.epsg), self.scene.stated(asset));
        let raster = Raster { url, path, row, known, epsg, stated };
        let deadline = Duration::from_secs_f64(http.settings.deadline_s);
        let stored = store(http, &self.headers, raster, &self.journal, choose);
        tokio::time::timeout(deadline, stored).await.unwrap_or_else(|_| {
            let limit = http.settings.deadline_s;
            Err(Stop::Later(format!("{} {asset}: not complete after {limit} s (deadline_s)", self.scene.id)))
        })
    }

    /// What a raster costs from nothing.
    async fn cost_of(
        &self,
        http: &Arc<Http>,
        asset: &str,
        choose: impl Fn(&Header) -> Choice,
    ) -> Result<Cost, Stop> {
        let url = self.scene.href(asset, &self.wanted.hosts).map_err(Stop::Gap)?;
        let settings = &http.settings;
        let Front::Tiff(remote) = self.headers.front(http, &url).await? else {
            return Err(Stop::Gap(format!("{asset}: JPEG 2000, its length is known when it is fetched")));
        };
        Ok(Cost::of_blocks(&remote, &choose(&remote.header).wanted, settings))
    }
}

impl Cost {
    /// What blocks of a raster cost from nothing.
    pub(crate) fn of_blocks(remote: &Remote, blocks: &BTreeSet<usize>, settings: &Network) -> Cost {
        let header = &remote.header;
        let spans =
            coalesce(header, blocks, &Default::default(), settings.coalesce_gap_bytes, MAX_SPAN_BYTES);
        let total = remote.told.total;
        let parts: u64 = spans.iter().map(|span| span.bytes.end - span.bytes.start).sum();
        let stored: u64 = blocks.iter().filter_map(|&block| header.span(block)).map(|(_, len)| len).sum();
        let prefix = directory(header, &header.offsets, &header.counts).len() as u64;
        // Blocks within the first bytes come with them.
        let front = settings.header_bytes.max(prefix).min(total.unwrap_or(u64::MAX));
        let again = spans.iter().filter(|span| span.bytes.end > front).count();
        let in_front: u64 = spans
            .iter()
            .filter(|span| span.bytes.end <= front)
            .map(|span| span.bytes.end - span.bytes.start)
            .sum();
        let whole = is_whole_cheaper(settings.mode, &spans, settings.coalesce_gap_bytes, total);
        Cost {
            blocks: blocks.len(),
            requests: 1 + if whole { 1 } else { again },
            bytes: front + if whole { total.unwrap_or(parts) } else { parts - in_front },
            disk: prefix + stored,
            whole_files: usize::from(whole),
        }
    }

    pub(crate) fn add(&mut self, other: Cost) {
        self.blocks += other.blocks;
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.disk += other.disk;
        self.whole_files += other.whole_files;
    }
}

fn fatal(stop: Stop, what: &str) -> Error {
    match stop {
        Stop::Fatal(error) => error,
        Stop::Gap(reason) | Stop::Later(reason) => Error::Setup(format!("{what}: {reason}")),
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
                let name = stored.path.file_name().unwrap_or_default().to_string_lossy();
                let (path, item) = (place.relative(&name), place.scene.id.clone());
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
        let url_path =
            place.scene.href(asset, &place.wanted.hosts).map(|url| url.path().to_owned()).unwrap_or_default();
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
