//! A sparse file in the making: what an interrupted run left is used to the byte, pieces are on the disk as they
//! arrive, and only what was proved is counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use minicube::sha256_bytes;
use minicube_tiff::{Header, Layout, TiffFile, check_block, empty_block, is_readable};
use rustix::fs::{SeekFrom, seek};

use crate::Error;
use crate::blocks::Span;
use crate::ledger::{Journal, Row, State};
use crate::net::{Http, Stop};
use crate::raster::{Raster, blocking, gap};

/// How often a block that arrives damaged is fetched again.
const DAMAGED_TRIES: usize = 4;

/// A sparse file in the making.
pub(crate) struct Work {
    pub(crate) raster: Raster,
    pub(crate) header: Arc<Header>,
    pub(crate) layout: Layout,
    etag: Option<String>,
    journal: Arc<Journal>,
    /// Behind the last block while the file is in the making: which version its blocks are of.
    mark: Vec<u8>,
}

/// The file, the rows of the blocks that are in it, and how many bytes are there of blocks that are begun.
type Prepared = (File, BTreeMap<usize, Row>, BTreeMap<usize, u64>);

impl Work {
    pub(crate) fn new(
        raster: Raster,
        header: Arc<Header>,
        layout: Layout,
        etag: Option<String>,
        journal: Arc<Journal>,
    ) -> Work {
        let mark = sha256_bytes(format!("{} {etag:?}", raster.url.path()).as_bytes()).into_bytes();
        Work { raster, header, layout, etag, journal, mark }
    }

    /// Opens the partial file, and puts in what is there already: blocks that an interrupted run left in the partial
    /// file of the same layout and version, blocks of the standing file, and empty blocks for what the remote file
    /// leaves out.
    pub(crate) fn prepare(&self, partial: &Path, standing: Option<TiffFile>) -> Result<Prepared, Error> {
        if let Some(parent) = partial.parent() {
            fs::create_dir_all(parent).map_err(Error::io(parent, "create"))?;
        }
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        let file = options.open(partial).map_err(Error::io(partial, "write"))?;
        let (known, stale) = self.known_blocks();
        let (mut rows, mut begun) = (BTreeMap::new(), BTreeMap::new());
        let trace = self.trace(&file);
        if trace != Trace::Foreign {
            for &block in self.layout.places.keys() {
                match self.find(&file, block, known.get(&block), trace) {
                    Found::Whole(row) => {
                        if known.get(&block) != Some(&row) {
                            self.journal.append(&row)?;
                        }
                        rows.insert(block, *row);
                    }
                    Found::Begun(bytes) => {
                        begun.insert(block, bytes);
                    }
                    Found::Nothing => {}
                }
            }
        } else {
            file.set_len(0).map_err(Error::io(partial, "write"))?;
            file.set_len(self.layout.len).map_err(Error::io(partial, "write"))?;
            self.put(&file, &self.layout.prefix, 0)?;
        }
        self.put(&file, &self.mark, self.layout.len)?;
        for (&block, &(at, len)) in &self.layout.places {
            if rows.contains_key(&block) {
                continue;
            }
            let old =
                standing.as_ref().filter(|_| !stale.contains(&block)).and_then(|file| file.block(block));
            let old = old.filter(|old| old.len() as u64 == len);
            let row = match (old, known.get(&block)) {
                (Some(old), Some(row)) if proves(row, &old) => {
                    self.put(&file, &old, at).map(|()| row.clone())?
                }
                (Some(old), None) if check_block(&self.header, block, &old).is_ok() => {
                    self.put(&file, &old, at)?;
                    self.row(block, &old, State::Reused)
                }
                _ if self.header.span(block).is_some() => continue,
                _ => match empty_block(&self.header, block) {
                    Some(empty) => {
                        self.put(&file, &empty, at)?;
                        self.row(block, &empty, State::Fetched)
                            .because("the remote file leaves it out: all nodata")
                    }
                    None => continue,
                },
            };
            self.journal.append(&row)?;
            begun.remove(&block);
            rows.insert(block, row);
        }
        Ok((file, rows, begun))
    }

    /// Fetches one range and stores its blocks; the first `have` bytes are there.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        http: &Http,
        span: Span,
        have: u64,
        prefix: &Bytes,
        file: &Arc<File>,
    ) -> Result<Vec<(usize, Row)>, Stop> {
        let _slot = http.slots.acquire().await;
        let (start, end) = (span.bytes.start, span.bytes.end);
        let mut reason = String::new();
        for attempt in 0..DAMAGED_TRIES {
            let mut bytes = vec![0; (end - start) as usize];
            let mut here = if attempt == 0 { have } else { 0 };
            if attempt == 0 && end <= prefix.len() as u64 {
                bytes.copy_from_slice(&prefix[start as usize..end as usize]);
                self.put_piece(file, &span, start, &bytes)?;
                here = end - start;
            } else {
                let (front, at) = (&mut bytes[..here as usize], self.layout.places[&span.blocks[0]].0);
                file.read_exact_at(front, at).map_err(Error::io(&self.raster.path, "read"))?;
            }
            if here < end - start {
                let from = start + here;
                http.pour(&self.raster.url, from..end, self.etag.as_deref(), |at, piece| {
                    here = at - start + piece.len() as u64;
                    bytes[(at - start) as usize..here as usize].copy_from_slice(piece);
                    self.put_piece(file, &span, at, piece)
                })
                .await?;
            }
            if here < end - start {
                return Err(gap(
                    &self.raster,
                    format!("expected bytes {start} to {end}, found {here} bytes"),
                ));
            }
            let (work, span) = (Arc::clone(self), span.clone());
            match blocking(move || work.take(&span, &bytes)).await?? {
                Ok(rows) => return Ok(rows),
                Err(damage) => reason = damage,
            }
        }
        Err(gap(&self.raster, reason))
    }

    /// Checks the blocks of a range that is in the file and journals them; the inner error is damage.
    pub(crate) fn take(&self, span: &Span, bytes: &[u8]) -> Result<Result<Vec<(usize, Row)>, String>, Error> {
        let slice = |block: usize| {
            let (at, len) = self.header.span(block).unwrap_or((span.bytes.start, 0));
            let from = (at - span.bytes.start) as usize;
            &bytes[from..from + len as usize]
        };
        for &block in &span.blocks {
            if let Err(reason) = check_block(&self.header, block, slice(block)) {
                let (row, col) = self.header.place(block);
                return Ok(Err(format!("block {row},{col} is damaged: {reason}")));
            }
        }
        let mut rows = Vec::new();
        for &block in &span.blocks {
            let row = self.row(block, slice(block), State::Fetched);
            let row = if is_readable(&self.header) { row } else { row.because(self.unproved()) };
            self.journal.append(&row)?;
            rows.push((block, row));
        }
        Ok(Ok(rows))
    }

    /// Writes a piece of a range into the blocks it is of.
    pub(crate) fn put_piece(&self, file: &File, span: &Span, at: u64, piece: &[u8]) -> Result<(), Error> {
        for &block in &span.blocks {
            let Some((from, len)) = self.header.span(block) else { continue };
            let (first, last) = (at.max(from), (at + piece.len() as u64).min(from + len));
            if first < last {
                let part = &piece[(first - at) as usize..(last - at) as usize];
                self.put(file, part, self.layout.places[&block].0 + (first - from))?;
            }
        }
        Ok(())
    }

    /// Rows for the cloudy blocks, and for blocks that neither side has.
    pub(crate) fn rows_without_bytes(
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

    fn trace(&self, partial: &File) -> Trace {
        let mut found = vec![0; self.layout.prefix.len()];
        let mut mark = vec![0; self.mark.len()];
        if partial.read_exact_at(&mut found, 0).is_err() || found != self.layout.prefix {
            Trace::Foreign
        } else if partial.read_exact_at(&mut mark, self.layout.len).is_ok() && mark == self.mark {
            Trace::Marked
        } else if partial.metadata().is_ok_and(|metadata| metadata.len() == self.layout.len) {
            Trace::Unmarked
        } else {
            Trace::Foreign
        }
    }

    /// How much of a block is in a partial file.
    fn find(&self, file: &File, block: usize, known: Option<&Row>, trace: Trace) -> Found {
        let (at, len) = self.layout.places[&block];
        let read = || {
            let mut bytes = vec![0; len as usize];
            file.read_exact_at(&mut bytes, at).ok().map(|()| bytes)
        };
        if let Some(row) = known {
            return match read().filter(|bytes| proves(row, bytes)) {
                Some(_) => Found::Whole(Box::new(row.clone())),
                None => Found::Nothing,
            };
        }
        // What cannot be proved afterwards is fetched from its first byte.
        if trace == Trace::Unmarked || !is_readable(&self.header) {
            return Found::Nothing;
        }
        match seek(file, SeekFrom::Hole(at)) {
            Ok(hole) if hole >= at + len => match read() {
                Some(bytes) if check_block(&self.header, block, &bytes).is_ok() => {
                    Found::Whole(Box::new(self.row(block, &bytes, State::Fetched)))
                }
                _ => Found::Nothing,
            },
            // A system writes whole pages: of the last one before a hole nobody knows how much arrived.
            Ok(hole) if hole > at + page_bytes(file) => Found::Begun(hole - at - page_bytes(file)),
            _ => Found::Nothing,
        }
    }

    /// The rows of earlier runs that still describe the remote file (same version, place and length), and the blocks
    /// whose rows do not.
    fn known_blocks(&self) -> (BTreeMap<usize, Row>, BTreeSet<usize>) {
        let header = &self.header;
        let same_version = |row: &Row| row.etag.is_none() || self.etag.is_none() || row.etag == self.etag;
        let same_place = |block: usize, row: &Row| {
            header.span(block).is_none_or(|place| place == (row.offset, row.length))
        };
        let here = self.raster.known.iter().filter(|row| row.is_here());
        let rows: BTreeMap<usize, Row> = here
            .filter_map(|row| Some((header.block_at(row.block_row, row.block_col)?, row.clone())))
            .collect();
        let (good, stale): (BTreeMap<usize, Row>, BTreeMap<usize, Row>) =
            rows.into_iter().partition(|(block, row)| same_version(row) && same_place(*block, row));
        (good, stale.into_keys().collect())
    }

    fn put(&self, file: &File, bytes: &[u8], at: u64) -> Result<(), Error> {
        file.write_all_at(bytes, at).map_err(Error::io(&self.raster.path, "write"))
    }

    fn row(&self, block: usize, bytes: &[u8], status: State) -> Row {
        let sha256 = Some(sha256_bytes(bytes));
        Row { length: bytes.len() as u64, sha256, ..self.bare(block, status) }
    }

    fn unproved(&self) -> String {
        format!(
            "as it came: compression {} is not unpacked here, only the length is checked",
            self.header.compression
        )
    }

    fn bare(&self, block: usize, status: State) -> Row {
        let (row, col) = self.header.place(block);
        let template = &self.raster.row;
        let now = Row::whole(&template.source, &template.item, &template.asset, &template.url_path, status);
        let index = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
        let (offset, length) = self.header.span(block).unwrap_or((0, 0));
        Row { block_row: index(row), block_col: index(col), offset, length, etag: self.etag.clone(), ..now }
    }
}

/// The least that is written at once, by the memory or by the disk.
fn page_bytes(file: &File) -> u64 {
    let of_disk = file.metadata().map_or(0, |metadata| metadata.blksize());
    of_disk.max(rustix::param::page_size() as u64)
}

/// What a partial file has of the one in the making.
#[derive(Clone, Copy, PartialEq)]
enum Trace {
    /// The same layout and version.
    Marked,
    /// The same layout, with the mark cut off: it was complete and about to be renamed. What the ledger proves of it
    /// counts; of what version the rest is nobody knows.
    Unmarked,
    /// Neither.
    Foreign,
}

/// What is in a partial file of a block.
enum Found {
    Whole(Box<Row>),
    Begun(u64),
    Nothing,
}

fn proves(row: &Row, bytes: &[u8]) -> bool {
    row.sha256.as_ref().is_some_and(|sha256| *sha256 == sha256_bytes(bytes))
}
