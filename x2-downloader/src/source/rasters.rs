//! Elevation and land cover: of a raster that is cut into blocks those near the wanted cells, of any other all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use minicube::{Bounds, plan_hash};
use minicube_tiff::Header;
use url::Url;

use super::files::{Folder, Format, says_absent, size_of, want_of};
use super::sentinel2::Cost;
use crate::Error;
use crate::blocks::blocks_under;
use crate::headers::{Front, Headers};
use crate::ledger::{Journal, Kept, Part, Row, State, is_safe_name, parts_folder};
use crate::net::{Http, Stop};
use crate::plan::{Place, Plan};
use crate::raster::{Choice, Raster, store};
use crate::run::Unit;
use crate::stated::Stated;

/// Source of elevation in the ledger.
const ELEVATION: &str = "dem";
/// How far around the wanted cells any raster is taken, degrees: resampling looks at the pixels beside a cell.
pub(crate) const NEAR_DEG: f64 = 0.01;
/// Codes of longitude and latitude in degrees: WGS 84 and ETRS89.
const DEGREES: [u32; 2] = [4326, 4258];
const METRES_A_DEGREE: f64 = 111_320.0;

/// Fetches what is missing of the rasters of a source and seals its part of the ledger.
///
/// # Errors
/// Only what stops the whole run; anything missing is a row in the ledger and a failed outcome.
pub(crate) async fn fetch(
    http: &Arc<Http>,
    plan: &Plan,
    source: &'static str,
    places: Vec<Place>,
) -> Result<Unit, Error> {
    let clock = Instant::now();
    let raw = plan.project.raw();
    let unit = folder(source, &raw);
    let want = want(plan, source, &places);
    if unit.is_complete(&want) {
        return Ok(Unit::skipped(source, "was complete"));
    }
    let rasters = Rasters::open(plan, unit);
    let at = &rasters;
    let brought: Vec<Result<Brought, Error>> = stream::iter(places)
        .map(|place| async move { at.one(http, &place).await })
        .buffer_unordered(http.settings.connections)
        .collect()
        .await;
    let mut all = Brought::default();
    for one in brought {
        let one = one?;
        all.rows.extend(one.rows);
        all.files.extend(one.files);
        all.payload += one.payload;
        all.is_resumable |= one.is_resumable;
    }
    let journal = (!all.is_resumable).then_some(&*rasters.journal);
    rasters.unit.seal_files(want, all.rows, all.files, clock, all.payload, journal)
}

/// Whether all that is wanted of a source is there.
pub(crate) fn is_complete(plan: &Plan, source: &'static str, places: &[Place]) -> bool {
    folder(source, &plan.project.raw()).is_complete(&want(plan, source, places))
}

/// What a raster costs from nothing; its directory stays, so that a run goes on from there.
pub(crate) async fn cost(
    http: &Http,
    plan: &Plan,
    source: &'static str,
    place: &Place,
) -> Result<Cost, Stop> {
    let (Place::Remote(url) | Place::Tile(url)) = place else { return Ok(Cost::default()) };
    let headers = Headers::open(parts_folder(&plan.project.raw()).join(source).with_extension("headers"));
    match headers.front(http, url).await {
        Err(Stop::Gap(reason)) if is_sea(place, &reason) => Ok(Cost { requests: 1, ..Cost::default() }),
        Ok(Front::Tiff(remote)) if near(&remote.header, plan, source).is_some() => {
            let blocks = near(&remote.header, plan, source).unwrap_or_default();
            Ok(Cost::of_blocks(&remote, &blocks, &http.settings))
        }
        Ok(_) | Err(Stop::Gap(_)) => {
            let bytes = size_of(http, url).await?;
            Ok(Cost { requests: 2, bytes, disk: bytes, whole_files: 1, ..Cost::default() })
        }
        Err(stop) => Err(stop),
    }
}

fn folder<'a>(source: &'static str, raw: &'a std::path::Path) -> Folder<'a> {
    let name = source.to_owned();
    Folder {
        source,
        unit: name.clone(),
        folder: name.clone(),
        part: name,
        day: String::new(),
        format: Format::Any,
        wanted: None,
        raw,
    }
}

fn want(plan: &Plan, source: &str, places: &[Place]) -> String {
    plan_hash(&(want_of(places), &plan.boxes, margin(plan, source)))
}

/// How far around the wanted cells a raster is taken, degrees. Heights beyond a cell are seen from within it.
fn margin(plan: &Plan, source: &str) -> f64 {
    if source == ELEVATION { plan.static_margin_deg } else { NEAR_DEG }
}

/// The blocks near the wanted cells; `None` where the raster has no blocks, or is on a grid of which nobody knows here
/// where the cells lie.
fn near(header: &Header, plan: &Plan, source: &str) -> Option<BTreeSet<usize>> {
    let margin = margin(plan, source);
    let areas: Vec<Bounds> = match header.epsg {
        _ if header.strips => return None,
        Some(epsg) if DEGREES.contains(&epsg) => {
            plan.boxes.iter().flat_map(|cell| around(cell, margin)).collect()
        }
        Some(epsg) if plan.tiles.iter().all(|tile| tile.epsg.0 == epsg) => {
            let cells = plan.tiles.iter().flat_map(|tile| &tile.cells);
            cells.map(|cell| wider(&cell.bounds, margin * METRES_A_DEGREE)).collect()
        }
        _ => return None,
    };
    Some(areas.iter().flat_map(|area| blocks_under(header, area)).collect())
}

/// A box with a margin, on a raster whose longitudes may run from −180 or from 0, or beyond either end.
fn around(&[west, south, east, north]: &[f64; 4], margin: f64) -> [Bounds; 3] {
    let east = if east < west { east + 360.0 } else { east };
    [-360.0, 0.0, 360.0].map(|turn| {
        wider(&Bounds { x_min: west + turn, y_min: south, x_max: east + turn, y_max: north }, margin)
    })
}

fn wider(area: &Bounds, by: f64) -> Bounds {
    let Bounds { x_min, y_min, x_max, y_max } = *area;
    Bounds { x_min: x_min - by, y_min: y_min - by, x_max: x_max + by, y_max: y_max + by }
}

fn is_sea(place: &Place, reason: &str) -> bool {
    matches!(place, Place::Tile(_)) && says_absent(reason)
}

/// What was brought of one raster or of several.
#[derive(Default)]
struct Brought {
    rows: Vec<Row>,
    files: Vec<Kept>,
    payload: u64,
    /// Whether a partial file waits for another run.
    is_resumable: bool,
}

/// How a raster is to be had.
enum Way {
    Blocks,
    Whole,
    /// Not at all, and why that is no gap.
    Not(&'static str),
}

/// The rasters of a source and what earlier runs know of them.
struct Rasters<'a> {
    plan: &'a Plan,
    unit: Folder<'a>,
    known: Vec<Row>,
    whole: BTreeMap<String, Row>,
    journal: Arc<Journal>,
    headers: Headers,
}

impl<'a> Rasters<'a> {
    fn open(plan: &'a Plan, unit: Folder<'a>) -> Rasters<'a> {
        let part_path = unit.part_path();
        let journal = Arc::new(Journal::new(part_path.with_extension("journal")));
        let mut known = Part::read(&part_path).map(|part| part.rows).unwrap_or_default();
        known.extend(journal.rows());
        let whole = known.iter().filter(|row| row.block_row < 0).map(|row| (row.item.clone(), row.clone()));
        let (whole, headers) = (whole.collect(), Headers::open(part_path.with_extension("headers")));
        Rasters { plan, unit, known, whole, journal, headers }
    }

    async fn one(&self, http: &Arc<Http>, place: &Place) -> Result<Brought, Error> {
        let name = place.name();
        let (Place::Remote(url) | Place::Tile(url)) = place else { return self.whole(http, place).await };
        if self.is_here_whole(&name) || !is_safe_name(&name) {
            return self.whole(http, place).await;
        }
        let row = |status| Row::whole(self.unit.source, &name, "", url.path(), status);
        match self.way(http, place, url).await {
            Ok(Way::Whole) => self.whole(http, place).await,
            Ok(Way::Not(reason)) => {
                Ok(Brought { rows: vec![row(State::Absent).because(reason)], ..Brought::default() })
            }
            Ok(Way::Blocks) => match self.blocks(http, &name, url).await {
                Ok(brought) => Ok(brought),
                Err(stop) => failed(stop, row(State::Failed)),
            },
            Err(stop) => failed(stop, row(State::Failed)),
        }
    }

    /// By the first bytes of the file. What is no TIFF is told from what is not there when it is fetched whole.
    async fn way(&self, http: &Http, place: &Place, url: &Url) -> Result<Way, Stop> {
        let header = match self.headers.front(http, url).await {
            Ok(Front::Tiff(remote)) => remote.header,
            Err(Stop::Gap(reason)) if is_sea(place, &reason) => return Ok(Way::Not("no such tile: sea")),
            Ok(Front::Jpeg2000) | Err(Stop::Gap(_)) => return Ok(Way::Whole),
            Err(stop) => return Err(stop),
        };
        Ok(match near(&header, self.plan, self.unit.source) {
            None => Way::Whole,
            Some(blocks) if blocks.is_empty() => Way::Not("no wanted cell lies on it"),
            Some(_) => Way::Blocks,
        })
    }

    async fn blocks(&self, http: &Arc<Http>, name: &str, url: &Url) -> Result<Brought, Stop> {
        let path = self.unit.raw.join(&self.unit.folder).join(name);
        let row = Row::whole(self.unit.source, name, "", url.path(), State::Fetched);
        let known =
            self.known.iter().filter(|known| known.item == name && known.block_row >= 0).cloned().collect();
        let raster =
            Raster { url: url.clone(), path, row: row.clone(), known, epsg: None, stated: Stated::default() };
        let choose = |header: &Header| {
            let wanted = near(header, self.plan, self.unit.source).unwrap_or_default();
            Choice { wanted, ..Choice::default() }
        };
        let stored = store(http, &self.headers, raster, &self.journal, choose);
        let limit = http.settings.deadline_s;
        let stored =
            tokio::time::timeout(Duration::from_secs_f64(limit), stored).await.unwrap_or_else(|_| {
                Err(Stop::Later(format!("{name}: not complete after {limit} s (deadline_s)")))
            })?;
        let files = vec![self.unit.kept(&row, stored.bytes)];
        Ok(Brought { rows: stored.rows, files, payload: stored.payload, is_resumable: false })
    }

    async fn whole(&self, http: &Arc<Http>, place: &Place) -> Result<Brought, Error> {
        let (row, payload) = self.unit.one(http, place, &self.whole, &self.journal).await?;
        let files = row.is_here().then(|| self.unit.kept(&row, row.length)).into_iter().collect();
        Ok(Brought { rows: vec![row], files, payload, is_resumable: false })
    }

    /// Whether an earlier run kept all of it.
    fn is_here_whole(&self, name: &str) -> bool {
        let there =
            std::fs::metadata(self.unit.raw.join(&self.unit.folder).join(name)).map(|file| file.len());
        let row = self.whole.get(name).filter(|row| row.is_here());
        row.is_some_and(|row| there.is_ok_and(|there| there == row.length))
    }
}

fn failed(stop: Stop, row: Row) -> Result<Brought, Error> {
    let (reason, is_resumable) = match stop {
        Stop::Fatal(error) => return Err(error),
        Stop::Later(reason) => (reason, true),
        Stop::Gap(reason) => (reason, false),
    };
    tracing::warn!(source = row.source, file = row.item, reason, "failed");
    Ok(Brought { rows: vec![row.because(reason)], is_resumable, ..Brought::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_across_the_antimeridian_is_on_both_ends_of_a_raster() {
        let found = around(&[179.5, 10.0, -179.5, 11.0], 0.25);
        assert_eq!(
            found.map(|area| (area.x_min, area.x_max)),
            [(-180.75, -179.25), (179.25, 180.75), (539.25, 540.75)]
        );
        assert_eq!((found[0].y_min, found[0].y_max), (9.75, 11.25));
    }
}
