//! A remote raster's wanted blocks, fetched into a sparse file: header, ranges, checks, journal, rename.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use minicube::{Epsg, partial_path, sha256_bytes};
use url::Url;

use crate::Error;
use crate::http::{Http, Stop, plain};
use crate::ledger::{Journal, Row, State};
use crate::tiff::{Header, Layout, Parsed, Span, check_block, coalesce, empty_block, layout, parse};

/// Neighbouring blocks share a request up to this length, which bounds the memory of a request.
pub(crate) const MAX_SPAN_BYTES: u64 = 4 << 20;
/// A directory beyond this is taken for an attack or a damaged file.
const MAX_HEADER_BYTES: u64 = 32 << 20;
/// How often a block that arrives damaged is fetched again.
const DAMAGED_TRIES: usize = 4;

/// A remote raster and where its blocks go.
pub(crate) struct Raster {
    /// Its address.
    pub(crate) url: Url,
    /// The sparse file.
    pub(crate) path: PathBuf,
    /// What is common to its rows in the ledger.
    pub(crate) row: Row,
    /// Rows of earlier runs.
    pub(crate) known: Vec<Row>,
    /// The CRS it must have.
    pub(crate) epsg: Epsg,
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
    /// Length of the sparse file.
    pub(crate) bytes: u64,
    /// Bytes of the blocks fetched by this run.
    pub(crate) payload: u64,
}

/// The header of a remote raster and the bytes that came with it.
pub(crate) struct Remote {
    pub(crate) header: Header,
    prefix: Bytes,
    total: Option<u64>,
    etag: Option<String>,
}

/// Reads the first bytes of a remote file, more if its directory is longer.
pub(crate) async fn remote_header(http: &Http, url: &Url) -> Result<Remote, Stop> {
    let first = http.range(url, 0..http.settings.header_bytes).await?;
    let (total, etag, whole) = (first.total, first.etag, first.whole);
    let mut prefix = first.bytes.to_vec();
    loop {
        let end = match parse(&prefix) {
            Ok(Parsed::Header(header)) => {
                return Ok(Remote { header: *header, prefix: prefix.into(), total, etag });
            }
            Ok(Parsed::NeedUpTo(end)) => end,
            Err(reason) => return Err(Stop::Gap(format!("{}: {reason}", plain(url)))),
        };
        if whole || total.is_some_and(|total| end > total) || end > MAX_HEADER_BYTES {
            let found = total.unwrap_or(prefix.len() as u64);
            let reason =
                format!("{}: truncated: the directory reaches to byte {end}, found {found}", plain(url));
            return Err(Stop::Gap(reason));
        }
        let from = prefix.len() as u64;
        let to = end.max(from * 2).min(total.unwrap_or(end));
        prefix.extend(&http.range(url, from..to).await?.bytes);
    }
}

/// Fetches the blocks that `choose` wants and that are not there yet. The sparse file keeps the blocks it has, and
/// appears, or changes, as a whole. Nothing is requested if nothing is missing.
pub(crate) async fn store(
    http: &Arc<Http>,
    raster: Raster,
    journal: &Arc<Journal>,
    choose: impl Fn(&Header) -> Choice,
) -> Result<Stored, Stop> {
    let standing = Standing::open(&raster.path);
    if let Some(stored) = standing.as_ref().and_then(|file| file.already(&raster, &choose(&file.header))) {
        return Ok(stored);
    }
    let remote = remote_header(http, &raster.url).await?;
    let header = Arc::new(remote.header.clone());
    if header.epsg != Some(raster.epsg.0) {
        let found = header.epsg.map_or("none".to_owned(), |epsg| format!("EPSG:{epsg}"));
        return Err(gap(&raster, format!("expected EPSG:{}, found {found}", raster.epsg.0)));
    }
    let choice = choose(&header);
    let (known, stale) = known_blocks(&raster, &remote);
    let standing = standing.filter(|file| file.same_grid(&header));
    let mut kept = choice.wanted.clone();
    if let Some(file) = &standing {
        kept.extend((0..header.offsets.len()).filter(|&block| file.header.span(block).is_some()));
    }
    let empty = if kept.iter().any(|&b| header.span(b).is_none()) { empty_block(&header) } else { None };
    let lengths: BTreeMap<usize, u64> = kept
        .iter()
        .filter_map(|&b| Some((b, header.span(b).map(|s| s.1).or(empty.as_ref().map(|e| e.len() as u64))?)))
        .collect();
    if let Some((block, end)) = beyond_the_end(&header, &kept, remote.total) {
        let (row, col) = header.place(block);
        let total = remote.total.unwrap_or(0);
        return Err(gap(
            &raster,
            format!("truncated: block {row},{col} ends at byte {end}, the file at {total}"),
        ));
    }
    let layout = layout(&header, &lengths);
    let partial = partial_path(&raster.path);
    let work =
        Arc::new(Work { raster, header, layout, etag: remote.etag.clone(), journal: Arc::clone(journal) });
    let (file, mut rows) = {
        let (work, partial) = (Arc::clone(&work), partial.clone());
        blocking(move || work.prepare(&partial, standing, &known, &stale, empty.as_deref())).await??
    };
    let file = Arc::new(file);
    let missing: BTreeSet<usize> =
        lengths.keys().filter(|block| !rows.contains_key(block)).copied().collect();
    let spans = coalesce(&work.header, &missing, http.settings.coalesce_gap_bytes, MAX_SPAN_BYTES);
    let fetched = stream::iter(spans)
        .map(|span| work.fetch(http, span, &remote.prefix, &file))
        .buffer_unordered(http.settings.connections)
        .try_collect::<Vec<_>>()
        .await;
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
    let payload = fetched.iter().flatten().map(|(_, row)| row.length).sum();
    rows.extend(fetched.into_iter().flatten());
    work.rows_without_bytes(&kept, &choice.cloudy, &mut rows);
    let path = work.raster.path.clone();
    blocking(move || {
        file.sync_all().map_err(Error::io(&path, "write"))?;
        fs::rename(&partial, &path).map_err(Error::io(&path, "rename"))
    })
    .await??;
    Ok(Stored { rows: rows.into_values().collect(), bytes: work.layout.len, payload })
}

fn gap(raster: &Raster, reason: String) -> Stop {
    Stop::Gap(format!("{}: {reason}", plain(&raster.url)))
}

/// Runs work that uses the disk or the processor on the threads for that.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Stop> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Stop::Fatal(Error::Setup(error.to_string())))
}

/// The rows of earlier runs that still describe the remote file (same version, place and length), and the blocks
/// whose rows do not.
fn known_blocks(raster: &Raster, remote: &Remote) -> (BTreeMap<usize, Row>, BTreeSet<usize>) {
    let header = &remote.header;
    let same_version = |row: &Row| row.etag.is_none() || remote.etag.is_none() || row.etag == remote.etag;
    let same_place =
        |block: usize, row: &Row| header.span(block).is_none_or(|place| place == (row.offset, row.length));
    let here = raster.known.iter().filter(|row| row.is_here());
    let rows: BTreeMap<usize, Row> =
        here.filter_map(|row| Some((block_of(header, row)?, row.clone()))).collect();
    let (good, stale): (BTreeMap<usize, Row>, BTreeMap<usize, Row>) =
        rows.into_iter().partition(|(block, row)| same_version(row) && same_place(*block, row));
    (good, stale.into_keys().collect())
}

fn block_of(header: &Header, row: &Row) -> Option<usize> {
    let (r, c) = (usize::try_from(row.block_row).ok()?, usize::try_from(row.block_col).ok()?);
    (r < header.blocks_down() && c < header.blocks_across()).then(|| r * header.blocks_across() + c)
}

fn beyond_the_end(header: &Header, blocks: &BTreeSet<usize>, total: Option<u64>) -> Option<(usize, u64)> {
    let total = total?;
    let ends = blocks
        .iter()
        .filter_map(|&block| header.span(block).map(|(at, len)| (block, at.saturating_add(len))));
    ends.into_iter().find(|(_, end)| *end > total)
}

/// A sparse file that is there from an earlier run.
pub(crate) struct Standing {
    pub(crate) header: Header,
    file: File,
    len: u64,
}

impl Standing {
    /// `None` if there is no such file, or it is no sparse file of ours.
    pub(crate) fn open(path: &Path) -> Option<Standing> {
        let file = File::open(path).ok()?;
        let len = file.metadata().ok()?.len();
        let mut size = len.min(64 << 10);
        loop {
            let mut prefix = vec![0; usize::try_from(size).ok()?];
            file.read_exact_at(&mut prefix, 0).ok()?;
            match parse(&prefix).ok()? {
                Parsed::Header(header) => return Some(Standing { header: *header, file, len }),
                Parsed::NeedUpTo(end) if end <= len && end > size => size = end,
                Parsed::NeedUpTo(_) => return None,
            }
        }
    }

    /// The packed bytes of a block; `None` if it is not in the file.
    pub(crate) fn block(&self, block: usize) -> Option<Vec<u8>> {
        let (at, len) = self.header.span(block)?;
        if at.checked_add(len)? > self.len {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        self.file.read_exact_at(&mut bytes, at).ok()?;
        Some(bytes)
    }

    fn same_grid(&self, other: &Header) -> bool {
        let grid = |h: &Header| {
            let sizes = (h.width, h.height, h.block_width, h.block_height, h.samples, h.bits);
            (sizes, h.compression, h.predictor, h.big_endian, h.origin, h.pixel, h.epsg)
        };
        grid(&self.header) == grid(other)
    }

    /// The rows of a file that has all it needs and every row to tell so.
    fn already(&self, raster: &Raster, choice: &Choice) -> Option<Stored> {
        let rows: BTreeMap<usize, &Row> =
            raster.known.iter().filter_map(|row| Some((block_of(&self.header, row)?, row))).collect();
        let has = |block: &usize| {
            let here = rows.get(block).is_some_and(|row| row.is_here());
            here && self.header.span(*block).is_some_and(|(_, len)| len == rows[block].length)
        };
        let told =
            |block: &usize| has(block) || rows.get(block).is_some_and(|r| r.status == State::SkippedCloudy);
        if !(choice.wanted.iter().all(has) && choice.cloudy.iter().all(told)) {
            return None;
        }
        let stay = rows.iter().filter(|(b, row)| has(b) || (choice.cloudy.contains(b) && !row.is_here()));
        Some(Stored { rows: stay.map(|(_, row)| (*row).clone()).collect(), bytes: self.len, payload: 0 })
    }
}

/// A sparse file in the making.
struct Work {
    raster: Raster,
    header: Arc<Header>,
    layout: Layout,
    etag: Option<String>,
    journal: Arc<Journal>,
}

impl Work {
    /// Opens the partial file, and puts in what is there already: blocks that an interrupted run left in the partial
    /// file of the same layout, blocks of the standing file, and empty blocks for what the remote file leaves out.
    fn prepare(
        &self,
        partial: &Path,
        standing: Option<Standing>,
        known: &BTreeMap<usize, Row>,
        stale: &BTreeSet<usize>,
        empty: Option<&[u8]>,
    ) -> Result<(File, BTreeMap<usize, Row>), Error> {
        if let Some(parent) = partial.parent() {
            fs::create_dir_all(parent).map_err(Error::io(parent, "create"))?;
        }
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        let file = options.open(partial).map_err(Error::io(partial, "write"))?;
        let mut rows = BTreeMap::new();
        if self.is_ours(&file) {
            for (&block, &(at, len)) in &self.layout.places {
                let mut bytes = vec![0; len as usize];
                let read = file.read_exact_at(&mut bytes, at).is_ok();
                if let Some(row) = known.get(&block).filter(|row| read && proves(row, &bytes)) {
                    rows.insert(block, row.clone());
                }
            }
        } else {
            file.set_len(0).map_err(Error::io(partial, "write"))?;
            file.set_len(self.layout.len).map_err(Error::io(partial, "write"))?;
            self.put(&file, &self.layout.prefix, 0)?;
        }
        for (&block, &(at, len)) in &self.layout.places {
            if rows.contains_key(&block) {
                continue;
            }
            let old =
                standing.as_ref().filter(|_| !stale.contains(&block)).and_then(|file| file.block(block));
            let old = old.filter(|old| old.len() as u64 == len);
            let row = match (old, known.get(&block), empty) {
                (Some(old), Some(row), _) if proves(row, &old) => {
                    self.put(&file, &old, at).map(|()| row.clone())?
                }
                (Some(old), None, _) if check_block(&self.header, &old).is_ok() => {
                    self.put(&file, &old, at)?;
                    self.row(block, &old, State::Reused)
                }
                (_, _, Some(empty)) if self.header.span(block).is_none() => {
                    self.put(&file, empty, at)?;
                    self.row(block, empty, State::Fetched)
                        .because("the remote file leaves it out: all nodata")
                }
                _ => continue,
            };
            self.journal.append(&row)?;
            rows.insert(block, row);
        }
        Ok((file, rows))
    }

    fn is_ours(&self, partial: &File) -> bool {
        let mut prefix = vec![0; self.layout.prefix.len()];
        let len = partial.metadata().map_or(0, |m| m.len());
        len == self.layout.len
            && partial.read_exact_at(&mut prefix, 0).is_ok()
            && prefix == self.layout.prefix
    }

    /// Fetches one range and stores its blocks.
    async fn fetch(
        self: &Arc<Self>,
        http: &Http,
        span: Span,
        prefix: &Bytes,
        file: &Arc<File>,
    ) -> Result<Vec<(usize, Row)>, Stop> {
        let _slot = http.slots.acquire().await;
        let mut reason = String::new();
        for attempt in 0..DAMAGED_TRIES {
            let (from, to) = (span.bytes.start as usize, span.bytes.end as usize);
            let bytes = if attempt == 0 && to <= prefix.len() {
                prefix.slice(from..to)
            } else {
                let answer = http.range(&self.raster.url, span.bytes.clone()).await?;
                if let (Some(old), Some(new)) = (&self.etag, &answer.etag)
                    && old != new
                    && !old.starts_with("W/")
                {
                    return Err(Stop::Later(format!(
                        "{}: changed while it was read",
                        plain(&self.raster.url)
                    )));
                }
                match (answer.whole, answer.bytes.len()) {
                    (true, len) if len >= to => answer.bytes.slice(from..to),
                    (false, len) if len == to - from => answer.bytes,
                    (_, len) => {
                        return Err(gap(
                            &self.raster,
                            format!("expected bytes {from} to {to}, found {len} bytes"),
                        ));
                    }
                }
            };
            let (work, span, file) = (Arc::clone(self), span.clone(), Arc::clone(file));
            match blocking(move || work.take(&span, &bytes, &file)).await?? {
                Ok(rows) => return Ok(rows),
                Err(damage) => reason = damage,
            }
        }
        Err(gap(&self.raster, reason))
    }

    /// Checks the blocks of a range, then stores them; the inner error is damage.
    fn take(
        &self,
        span: &Span,
        bytes: &[u8],
        file: &File,
    ) -> Result<Result<Vec<(usize, Row)>, String>, Error> {
        let slice = |block: usize| {
            let (at, len) = self.header.span(block).unwrap_or((span.bytes.start, 0));
            let from = (at - span.bytes.start) as usize;
            &bytes[from..from + len as usize]
        };
        for &block in &span.blocks {
            if let Err(reason) = check_block(&self.header, slice(block)) {
                let (row, col) = self.header.place(block);
                return Ok(Err(format!("block {row},{col} is damaged: {reason}")));
            }
        }
        let mut rows = Vec::new();
        for &block in &span.blocks {
            let row = self.row(block, slice(block), State::Fetched);
            self.put(file, slice(block), self.layout.places[&block].0)?;
            self.journal.append(&row)?;
            rows.push((block, row));
        }
        Ok(Ok(rows))
    }

    fn put(&self, file: &File, bytes: &[u8], at: u64) -> Result<(), Error> {
        file.write_all_at(bytes, at).map_err(Error::io(&self.raster.path, "write"))
    }

    fn row(&self, block: usize, bytes: &[u8], status: State) -> Row {
        let sha256 = Some(sha256_bytes(bytes));
        Row { length: bytes.len() as u64, sha256, ..self.bare(block, status) }
    }

    fn bare(&self, block: usize, status: State) -> Row {
        let (row, col) = self.header.place(block);
        let template = &self.raster.row;
        let now = Row::whole(&template.source, &template.item, &template.asset, &template.url_path, status);
        let index = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
        let (offset, length) = self.header.span(block).unwrap_or((0, 0));
        Row { block_row: index(row), block_col: index(col), offset, length, etag: self.etag.clone(), ..now }
    }

    /// Rows for the cloudy blocks, and for blocks that neither side has.
    fn rows_without_bytes(
        &self,
        kept: &BTreeSet<usize>,
        cloudy: &BTreeSet<usize>,
        rows: &mut BTreeMap<usize, Row>,
    ) {
        for &block in kept.union(cloudy) {
            rows.entry(block).or_insert_with(|| {
                if kept.contains(&block) {
                    self.bare(block, State::Fetched).because("the remote file leaves it out")
                } else {
                    self.bare(block, State::SkippedCloudy)
                        .because("no wanted cube has enough clear pixels in it")
                }
            });
        }
    }
}

fn proves(row: &Row, bytes: &[u8]) -> bool {
    row.sha256.as_ref().is_some_and(|sha256| *sha256 == sha256_bytes(bytes))
}
