//! A remote raster's wanted blocks, fetched into a sparse file: directory, ranges, checks, rename.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use minicube::{Epsg, partial_path};
use minicube_tiff::{Header, TiffFile, empty_block, layout};
use url::Url;

use crate::blocks::{Span, coalesce};
use crate::config::Mode;
use crate::headers::{Front, Headers, Remote};
use crate::ledger::{Journal, Row, State};
use crate::net::{Http, Stop, plain};
use crate::sparse_work::Work;
use crate::stated::Stated;
use crate::{Error, whole_file};

/// Neighbouring blocks share a request up to this length, which bounds the memory of a request.
pub(crate) const MAX_SPAN_BYTES: u64 = 4 << 20;
/// A longer block cannot be held.
const MAX_BLOCK_BYTES: u64 = 256 << 20;

/// A remote raster and where its blocks go.
#[derive(Clone)]
pub(crate) struct Raster {
    /// Its address.
    pub(crate) url: Url,
    /// The sparse file.
    pub(crate) path: PathBuf,
    /// What is common to its rows in the ledger.
    pub(crate) row: Row,
    /// Rows of earlier runs.
    pub(crate) known: Vec<Row>,
    /// The CRS it must have, if only one will do.
    pub(crate) epsg: Option<Epsg>,
    /// The grid that its catalogue states.
    pub(crate) stated: Stated,
}

/// Which blocks are wanted, and which would be if they were not cloudy.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Choice {
    pub(crate) wanted: BTreeSet<usize>,
    pub(crate) cloudy: BTreeSet<usize>,
}

/// A raster whose wanted blocks are all on the disk.
pub(crate) struct Stored {
    pub(crate) rows: Vec<Row>,
    /// The file, and its length.
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// Bytes of the blocks fetched by this run.
    pub(crate) payload: u64,
}

/// Fetches the blocks that `choose` wants and that are not there yet. The sparse file keeps the blocks it has, and
/// appears, or changes, as a whole. Nothing is requested if nothing is missing.
pub(crate) async fn store(
    http: &Arc<Http>,
    headers: &Headers,
    raster: Raster,
    journal: &Arc<Journal>,
    choose: impl Fn(&Header) -> Choice,
) -> Result<Stored, Stop> {
    if let Some(file) = TiffFile::open(&raster.path)
        && let Some(stored) = already(&file, &raster, &choose(&file.header))
    {
        return Ok(stored);
    }
    let mut again = true;
    loop {
        let remote = match headers.front(http, &raster.url).await? {
            Front::Tiff(remote) => *remote,
            Front::Jpeg2000 => return whole_file::store_as_it_is(http, raster, journal).await,
        };
        match fill(http, raster.clone(), remote, journal, &choose).await {
            // The remote file may be another one than when its directory was read, or the directory came damaged.
            Err(Stop::Gap(reason)) if again => {
                tracing::debug!(reason, "the directory is read again");
                headers.forget(&raster.url)?;
                again = false;
            }
            result => return result,
        }
    }
}

/// Fetches the blocks that are missing, by the given directory.
async fn fill(
    http: &Arc<Http>,
    raster: Raster,
    remote: Remote,
    journal: &Arc<Journal>,
    choose: &impl Fn(&Header) -> Choice,
) -> Result<Stored, Stop> {
    check(&raster, &remote.header)?;
    let header = Arc::new(remote.header);
    let total = remote.told.total;
    let choice = choose(&header);
    let standing = TiffFile::open(&raster.path).filter(|file| file.same_grid(&header));
    let mut kept = choice.wanted.clone();
    if let Some(file) = &standing {
        kept.extend((0..header.offsets.len()).filter(|&block| file.header.span(block).is_some()));
    }
    let mut lengths: BTreeMap<usize, u64> = BTreeMap::new();
    for &block in &kept {
        let empty = || empty_block(&header, block).map(|bytes| bytes.len() as u64);
        if let Some(len) = header.span(block).map(|span| span.1).or_else(empty) {
            lengths.insert(block, len);
        }
    }
    check_blocks(&raster, &header, &kept, total)?;
    let layout = layout(&header, &lengths);
    let partial = partial_path(&raster.path);
    let work = Arc::new(Work::new(raster, header, layout, remote.told.etag, Arc::clone(journal)));
    let (file, mut rows, begun) = {
        let (work, partial) = (Arc::clone(&work), partial.clone());
        blocking(move || work.prepare(&partial, standing)).await??
    };
    let file = Arc::new(file);
    let missing: BTreeSet<usize> =
        lengths.keys().filter(|block| !rows.contains_key(block)).copied().collect();
    let spans = coalesce(&work.header, &missing, &begun, http.settings.coalesce_gap_bytes, MAX_SPAN_BYTES);
    let fetched = if is_whole_cheaper(http.settings.mode, &spans, http.settings.coalesce_gap_bytes, total) {
        whole_file::take_blocks(http, &work, &missing, &file).await
    } else {
        stream::iter(spans)
            .map(|span| {
                let have = begun.get(&span.blocks[0]).copied().unwrap_or(0);
                work.fetch(http, span, have, &remote.prefix, &file)
            })
            .buffer_unordered(http.settings.connections)
            .try_concat()
            .await
    };
    let fetched = match fetched {
        Ok(rows) => rows,
        Err(stop) => {
            if matches!(stop, Stop::Gap(_)) {
                // A file that can never be completed leaves nothing behind; the ledger has the reason.
                let _ = fs::remove_file(&partial);
            }
            return Err(stop);
        }
    };
    let payload = fetched.iter().map(|(_, row)| row.length).sum();
    rows.extend(fetched);
    work.rows_without_bytes(&kept, &choice.cloudy, &mut rows);
    let (path, bytes) = (work.raster.path.clone(), work.layout.len);
    let target = path.clone();
    blocking(move || {
        file.set_len(bytes).and_then(|()| file.sync_all()).map_err(Error::io(&target, "write"))?;
        fs::rename(&partial, &target).map_err(Error::io(&target, "rename"))
    })
    .await??;
    Ok(Stored { rows: rows.into_values().collect(), path, bytes, payload })
}

/// The rows of a file that has all it needs and every row to tell so.
fn already(file: &TiffFile, raster: &Raster, choice: &Choice) -> Option<Stored> {
    let header = &file.header;
    let block_of = |row: &Row| header.block_at(row.block_row, row.block_col);
    let rows: BTreeMap<usize, &Row> =
        raster.known.iter().filter_map(|row| Some((block_of(row)?, row))).collect();
    let has = |block: &usize| {
        let here = rows.get(block).is_some_and(|row| row.is_here());
        here && header.span(*block).is_some_and(|(_, len)| len == rows[block].length)
    };
    let told =
        |block: &usize| has(block) || rows.get(block).is_some_and(|r| r.status == State::SkippedCloudy);
    if !(choice.wanted.iter().all(has) && choice.cloudy.iter().all(told)) {
        return None;
    }
    let stay = rows.iter().filter(|(b, row)| has(b) || (choice.cloudy.contains(b) && !row.is_here()));
    let rows = stay.map(|(_, row)| (*row).clone()).collect();
    Some(Stored { rows, path: raster.path.clone(), bytes: file.len, payload: 0 })
}

/// Whether one transfer of the whole file costs less than many of its parts. The largest gap that is worth fetching
/// says how many bytes a request is worth.
pub(crate) fn is_whole_cheaper(mode: Mode, spans: &[Span], gap: u64, total: Option<u64>) -> bool {
    let parts: u64 = spans.iter().map(|span| span.bytes.end - span.bytes.start).sum();
    let requests = (spans.len() as u64).saturating_sub(1);
    match mode {
        _ if spans.is_empty() => false,
        Mode::Blocks => false,
        Mode::Whole => true,
        Mode::Auto => total.is_some_and(|total| total <= parts + requests * gap),
    }
}

/// The file decides; what its catalogue says otherwise is worth a warning.
fn check(raster: &Raster, header: &Header) -> Result<(), Stop> {
    if let Some(expected) = raster.epsg
        && header.epsg != Some(expected.0)
    {
        let found = header.epsg.map_or("none".to_owned(), |epsg| format!("EPSG:{epsg}"));
        return Err(gap(raster, format!("expected EPSG:{}, found {found}", expected.0)));
    }
    for contradiction in raster.stated.contradictions(header) {
        let (item, asset) = (&raster.row.item, &raster.row.asset);
        tracing::warn!(item, asset, "{contradiction}; the file is what counts");
    }
    Ok(())
}

fn check_blocks(
    raster: &Raster,
    header: &Header,
    blocks: &BTreeSet<usize>,
    total: Option<u64>,
) -> Result<(), Stop> {
    for &block in blocks {
        let Some((at, len)) = header.span(block) else { continue };
        let (row, col) = header.place(block);
        let end = at.saturating_add(len);
        if let Some(total) = total.filter(|total| end > *total) {
            let reason = format!("truncated: block {row},{col} ends at byte {end}, the file at {total}");
            return Err(gap(raster, reason));
        }
        if len > MAX_BLOCK_BYTES || header.block_bytes(block) as u64 > MAX_BLOCK_BYTES {
            let reason = format!("block {row},{col}: expected at most {MAX_BLOCK_BYTES} bytes, found {len}");
            return Err(gap(raster, format!("{reason}; the file is not cut into blocks of a useful size")));
        }
    }
    Ok(())
}

pub(crate) fn gap(raster: &Raster, reason: String) -> Stop {
    Stop::Gap(format!("{}: {reason}", plain(&raster.url)))
}

/// Runs work that uses the disk or the processor on the threads for that.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Stop> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Stop::Fatal(Error::Setup(error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_file_is_fetched_where_that_is_cheaper() {
        let span = |from: u64, to: u64| Span { bytes: from..to, blocks: vec![0] };
        let spans = [span(100, 400), span(500, 900), span(950, 1000)];
        // 750 bytes in three requests; with a request worth 100 bytes that is 950.
        let whole = |mode, gap, total| is_whole_cheaper(mode, &spans, gap, total);
        assert!(whole(Mode::Auto, 100, Some(950)) && !whole(Mode::Auto, 100, Some(951)));
        assert!(!whole(Mode::Auto, 100, None));
        assert!(whole(Mode::Whole, 0, None) && !whole(Mode::Blocks, 1 << 20, Some(1)));
        assert!(!is_whole_cheaper(Mode::Whole, &[], 0, None), "nothing is missing");
    }
}
