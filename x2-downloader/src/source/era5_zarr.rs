//! ERA5 from a Zarr store: each month around the wanted tiles, fetched by the chunk and written as one NetCDF file.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use chrono::{Datelike, Months};
use minicube::{NaiveDate, partial_path, plan_hash};
use tokio::sync::{Mutex, OnceCell};
use url::Url;

use super::cf_hours::{decode, hour_of};
use super::era5_config::ZarrPlan;
use super::era5_layout::{Layout, Supply};
use super::era5_netcdf::{self, Axes, Series};
use super::era5_scratch::Scratch;
use super::files::{Folder, Format, length_and_hash, says_absent, size_of};
use super::sentinel2::Cost;
use super::zarr_remote::{RemoteZarr, Transfer};
use super::zarr_window::{Window, window};
use crate::Error;
use crate::ledger::{Row, State};
use crate::net::{Http, Stop, plain};
use crate::plan::{Plan, identity_text};
use crate::raster::blocking;
use crate::run::Unit;

const SOURCE: &str = "era5";
/// Values that are gathered before they are written: 64 MiB.
const BLOCK_VALUES: usize = 16 << 20;
/// One month of a store.
#[derive(Clone)]
pub(crate) struct Month {
    store: Arc<Store>,
    first: NaiveDate,
    last: NaiveDate,
    /// Whether the first hour after the last day belongs to it: sums of the hour before are stored there.
    is_last: bool,
}

/// The store, and what all months share of it.
struct Store {
    plan: ZarrPlan,
    /// Around the wanted cells of each tile: west, south, east, north, degrees.
    boxes: Vec<[f64; 4]>,
    /// What is wanted of it, or why that cannot be had.
    opened: OnceCell<Result<Opened, String>>,
    /// One month at a time has all connections: a kill then leaves one month begun.
    turn: Mutex<()>,
}

/// What was read of a store to know which chunks are needed.
struct Opened {
    variables: Vec<Layout>,
    /// Hours since 1900-01-01 of the time axis, ascending.
    hours: Vec<i32>,
    window: Window,
}

/// The months of the project.
pub(crate) fn months(plan: &Plan, zarr: &ZarrPlan) -> Vec<Month> {
    let boxes = plan.tiles.iter().map(|tile| tile.search_box).collect();
    let (opened, turn) = (OnceCell::new(), Mutex::new(()));
    let store = Arc::new(Store { plan: zarr.clone(), boxes, opened, turn });
    let mut months = Vec::new();
    let mut first = plan.first;
    while first <= plan.last {
        let Some(next) = first.with_day(1).and_then(|day| day.checked_add_months(Months::new(1))) else {
            break;
        };
        let last = next.pred_opt().unwrap_or(next).min(plan.last);
        months.push(Month { store: Arc::clone(&store), first, last, is_last: last == plan.last });
        first = next;
    }
    months
}

/// What a plan says about the store.
pub(crate) fn describe(plan: &Plan, zarr: &ZarrPlan) -> String {
    let (months, arrays) = (months(plan, zarr).len(), zarr.variables.join(", "));
    format!(
        "ERA5: {months} months of {arrays} around {} tiles, from {}",
        plan.tiles.len(),
        plain(&zarr.store)
    )
}

/// Addresses of the chunks that all months need, array by array; a chunk that two months share comes twice.
pub(crate) async fn chunks(http: &Http, plan: &Plan, zarr: &ZarrPlan) -> Result<Vec<Vec<Url>>, Stop> {
    let months = months(plan, zarr);
    let Some(store) = months.first().map(|month| &month.store) else { return Ok(Vec::new()) };
    let opened = store.read(http).await?;
    let of = |layout: &Layout| -> Result<Vec<Url>, Stop> {
        let steps = months.iter().map(|month| month.steps(&opened.hours)).filter(|steps| !steps.is_empty());
        let chunks = steps.flat_map(|steps| layout.chunks(&opened.window, &steps));
        chunks.map(|index| layout.variable.address(&index).map_err(Stop::Gap)).collect()
    };
    opened.variables.iter().map(of).collect()
}

/// What a chunk costs; one that is not there holds fill.
pub(crate) async fn cost(http: &Http, chunk: &Url) -> Result<Cost, Stop> {
    match size_of(http, chunk).await {
        Ok(bytes) => Ok(Cost { requests: 1, bytes, ..Cost::default() }),
        Err(Stop::Gap(reason)) if says_absent(&reason) => Ok(Cost { requests: 1, ..Cost::default() }),
        Err(stop) => Err(stop),
    }
}

/// Fetches a month. If an earlier run fetched enough, no chunk is requested.
///
/// # Errors
/// Only what stops the whole run.
pub(crate) async fn fetch_month(http: &Arc<Http>, raw: &Path, month: &Month) -> Result<Unit, Error> {
    let store = &month.store;
    let yyyymm = month.first.format("%Y%m");
    let unit = Folder {
        source: SOURCE,
        unit: format!("era5 {}", month.first.format("%Y-%m")),
        folder: SOURCE.to_owned(),
        part: format!("{SOURCE}/{yyyymm}"),
        day: month.first.to_string(),
        format: Format::NetCdf,
        wanted: None,
        raw,
    };
    let same_store = plan_hash(&(identity_text(&store.plan.store), month.first, month.last, month.is_last));
    let want = format!("{same_store} {}", plan_hash(&(&store.plan, &store.boxes)));
    if unit.is_complete(&want) {
        return Ok(Unit::skipped(&unit.unit, "was complete"));
    }
    let _turn = store.turn.lock().await;
    let clock = Instant::now();
    let opened = match store.open(http).await? {
        Ok(opened) => opened,
        Err(reason) => return unit.fail(want, &store.plan.store, reason.clone()),
    };
    let steps = month.steps(&opened.hours);
    if steps.is_empty() {
        let reason = format!("{}: no hour of {}", plain(&store.plan.store), month.first.format("%Y-%m"));
        return unit.fail(want, &store.plan.store, reason);
    }
    let name = format!("era5_{yyyymm}.nc");
    let path = raw.join(SOURCE).join(&name);
    let axes = Axes {
        hours: opened.hours[steps.clone()].to_vec(),
        latitudes: opened.window.latitudes.clone(),
        longitudes: opened.window.longitudes.clone(),
        wanted: opened.window.wanted.clone(),
    };
    let names: Vec<String> = opened.variables.iter().map(|layout| layout.short_name.clone()).collect();
    if unit.holds_enough(|old| old.starts_with(&same_store)).await?
        && era5_netcdf::holds(&path, &axes, &names)
    {
        unit.reseal(want)?;
        return Ok(Unit::skipped(&unit.unit, "what was kept is enough"));
    }
    let scratch = Scratch::open(&unit.part_path().with_extension("scratch"), &want)?;
    let (transfer, received) = (Transfer::default(), AtomicU64::new(0));
    let supply = Supply { http, transfer, received, scratch: &scratch };
    let result = write(&supply, opened, &store.plan, &axes, steps, &path).await;
    let Supply { transfer, received, .. } = supply;
    let (chunks, absent) = (transfer.chunks.into_inner(), transfer.absent.into_inner());
    let result = match result {
        Ok(()) if absent == chunks => Err(Stop::Gap(format!("none of its {chunks} chunks is there"))),
        other => other,
    };
    if let Err(stop) = result {
        // Best effort: a file that is not whole is of no use.
        let _ = fs::remove_file(partial_path(&path));
        return match stop {
            Stop::Fatal(error) => Err(error),
            Stop::Gap(reason) | Stop::Later(reason) => unit.fail(want, &store.plan.store, reason),
        };
    }
    let bytes = transfer.bytes.into_inner();
    let mut reason = format!("from {chunks} chunks of {bytes} bytes");
    if absent > 0 {
        tracing::warn!(
            unit = unit.unit,
            absent,
            chunks,
            "chunks are not there: their values are the fill value"
        );
        reason.push_str(&format!("; {absent} are not there: fill value"));
    }
    if let Some(end) = month.cut_short(&opened.hours) {
        tracing::warn!(unit = unit.unit, hours = axes.hours.len(), end, "the store ends within the month");
        reason.push_str(&format!("; the store ends {end} hours after its first day began"));
    }
    let (length, sha256) = length_and_hash(&partial_path(&path))?;
    fs::rename(partial_path(&path), &path).map_err(Error::io(&path, "rename"))?;
    let row = Row::whole(SOURCE, &name, "", store.plan.store.path(), State::Fetched).because(reason);
    let row = Row { length, sha256: Some(sha256), ..row };
    let sealed = unit.seal(want, vec![row], clock, received.into_inner(), None)?;
    scratch.remove();
    Ok(sealed)
}

impl Month {
    /// Indices of its hours in an ascending time axis.
    fn steps(&self, hours: &[i32]) -> Range<usize> {
        let (from, end) = (hour_of(self.first), hour_of(self.last) + 24 + i32::from(self.is_last));
        hours.partition_point(|hour| *hour < from)..hours.partition_point(|hour| *hour < end)
    }

    /// Where an ascending time axis ends before the month does, hours from its first day on.
    fn cut_short(&self, hours: &[i32]) -> Option<i32> {
        let &[.., before, last] = hours else { return None };
        let end = last + (last - before);
        (end < hour_of(self.last) + 24).then(|| end - hour_of(self.first))
    }
}

impl Store {
    /// Reads metadata and axes, once. The inner error is a reason for gaps.
    async fn open(&self, http: &Http) -> Result<&Result<Opened, String>, Error> {
        let read = || async {
            match self.read(http).await {
                Ok(opened) => Ok(Ok(opened)),
                Err(Stop::Gap(reason) | Stop::Later(reason)) => Ok(Err(reason)),
                Err(Stop::Fatal(error)) => Err(error),
            }
        };
        self.opened.get_or_try_init(read).await
    }

    async fn read(&self, http: &Http) -> Result<Opened, Stop> {
        let store = RemoteZarr::open(http, &self.plan.store).await?;
        let variables = self.plan.variables.iter().map(|name| Layout::of(store.variable(name)?));
        let variables: Vec<Layout> = variables.collect::<Result<_, String>>().map_err(Stop::Gap)?;
        let Some(first) = variables.first() else { return Err(Stop::Gap("no array is wanted".into())) };
        let axes = first.axes();
        if let Some(other) = variables.iter().find(|other| other.axes() != axes) {
            return Err(Stop::Gap(format!(
                "{}: expected the dimensions {axes:?}, found {:?}",
                other.variable.place(),
                other.axes()
            )));
        }
        let transfer = Transfer::default();
        let [time, latitude, longitude] = axes.map(|(name, _)| store.variable(name));
        let time = time.map_err(Stop::Gap)?;
        let values = time.coordinate(http, &transfer).await?;
        let hours = decode(time.text("units").unwrap_or_default(), time.text("calendar"), &values)
            .and_then(|hours| match hours.is_sorted() {
                true => Ok(hours),
                false => Err("expected ascending times, found others".into()),
            })
            .map_err(|reason| Stop::Gap(format!("{}: {reason}", time.place())))?;
        let latitudes = latitude.map_err(Stop::Gap)?.coordinate(http, &transfer).await?;
        let longitudes = longitude.map_err(Stop::Gap)?.coordinate(http, &transfer).await?;
        let lens = [hours.len(), latitudes.len(), longitudes.len()];
        if lens != axes.map(|(_, len)| len) {
            return Err(Stop::Gap(format!(
                "{}: expected {axes:?}, found axes of {lens:?}",
                plain(&self.plan.store)
            )));
        }
        let window = window(&latitudes, &longitudes, &self.boxes, self.plan.margin_deg)
            .map_err(|reason| Stop::Gap(format!("{}: {reason}", plain(&self.plan.store))))?;
        Ok(Opened { variables, hours, window })
    }
}

/// Writes `<path>.partial`.
async fn write(
    supply: &Supply<'_>,
    opened: &Opened,
    plan: &ZarrPlan,
    axes: &Axes,
    steps: Range<usize>,
    path: &Path,
) -> Result<(), Stop> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::io(parent, "create"))?;
    }
    let partial = partial_path(path);
    // A damaged file that is in the way would be opened instead of replaced.
    let _ = fs::remove_file(&partial);
    let points = axes.wanted.len().max(1);
    let block = (BLOCK_VALUES / points).clamp(1, steps.len());
    let series: Vec<Series> = opened.variables.iter().map(Layout::series).collect();
    let mut file = era5_netcdf::create(&partial, axes, &series, &identity_text(&plan.store), block)?;
    for layout in &opened.variables {
        for block in blocks(steps.clone(), block, layout.steps_of_chunk()) {
            let values = layout.gather(supply, &opened.window, block.clone()).await?;
            let (name, first, to) = (layout.short_name.clone(), block.start - steps.start, partial.clone());
            file = blocking(move || {
                era5_netcdf::put(&mut file, &to, &name, first, values.view()).map(|()| file)
            })
            .await??;
        }
    }
    Ok(blocking(move || era5_netcdf::close(file, &partial)).await??)
}

/// Parts of some steps of about a length, that end where chunks do.
fn blocks(steps: Range<usize>, len: usize, chunk: usize) -> Vec<Range<usize>> {
    let mut blocks = Vec::new();
    let mut from = steps.start;
    while from < steps.end {
        let end = ((from + len) / chunk * chunk).max((from / chunk + 1) * chunk).min(steps.end);
        blocks.push(from..end);
        from = end;
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_end_where_chunks_do() {
        assert_eq!(blocks(5..20, 4, 1), [5..9, 9..13, 13..17, 17..20]);
        assert_eq!(blocks(5..20, 4, 3), [5..9, 9..12, 12..15, 15..18, 18..20]);
        assert_eq!(blocks(5..20, 4, 10), [5..10, 10..20]);
        assert_eq!(blocks(0..3, 99, 2), vec![0..3; 1]);
    }
}
