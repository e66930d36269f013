//! Whole files: fetched as served, or taken from the local disk; checked by their first bytes, cut where less than all
//! is wanted, journaled, renamed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures::{StreamExt, stream};
use minicube::{Outcome, append_suffix, partial_path, plan_hash, sha256_file};
use url::Url;

use super::smap_subset::{self, Trouble, Wanted};
use crate::Error;
use crate::ledger::{Head, Journal, Kept, Part, Row, State, is_safe_name, parts_folder};
use crate::net::{Fetched, Http, Stop, plain};
use crate::plan::Place;
use crate::raster::blocking;
use crate::run::Unit;

/// How often a file that arrives damaged is fetched again.
const DAMAGED_TRIES: usize = 4;

/// What the first bytes of a file must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// HDF5, or NetCDF in HDF5.
    Hdf5,
    /// NetCDF, classic or in HDF5.
    NetCdf,
    /// Anything but a web page.
    Any,
}

/// A unit of whole files that go into one folder of `raw/`.
pub(crate) struct Folder<'a> {
    /// Source in the ledger.
    pub(crate) source: &'static str,
    /// Name of the unit.
    pub(crate) unit: String,
    /// Folder below `raw/`.
    pub(crate) folder: String,
    /// Name of its part of the ledger.
    pub(crate) part: String,
    /// Day of the files, if they have one in common.
    pub(crate) day: String,
    pub(crate) format: Format,
    /// What of a granule is kept; `None` to keep files as served.
    pub(crate) wanted: Option<Arc<Wanted>>,
    pub(crate) raw: &'a Path,
}

/// A file that is there, or why not, and the bytes that were transferred for it.
pub(crate) type Brought = (Row, u64);

impl Folder<'_> {
    pub(crate) fn part_path(&self) -> std::path::PathBuf {
        parts_folder(self.raw).join(format!("{}.jsonl", self.part))
    }

    /// The sealed part, if the unit is complete for `want`.
    pub(crate) fn is_complete(&self, want: &str) -> bool {
        Part::read(&self.part_path()).is_some_and(|part| part.is_complete(want, self.raw))
    }

    /// Whether an earlier run, with other wishes of the same source, kept all that is wanted now.
    ///
    /// # Errors
    /// Only what stops the whole run.
    pub(crate) async fn holds_enough(&self, same_source: impl Fn(&str) -> bool) -> Result<bool, Error> {
        let Some(part) = Part::read(&self.part_path()) else { return Ok(false) };
        if !same_source(&part.head.want) || !part.is_complete(&part.head.want, self.raw) {
            return Ok(false);
        }
        for file in &part.head.files {
            if !self.is_enough(&self.raw.join(&file.path)).await? {
                return Ok(false);
            }
        }
        Ok(!part.head.files.is_empty())
    }

    /// Notes that what is there is all that is wanted.
    ///
    /// # Errors
    /// Only what stops the whole run.
    pub(crate) fn reseal(&self, want: String) -> Result<(), Error> {
        let Some(mut part) = Part::read(&self.part_path()) else { return Ok(()) };
        part.head.want = want;
        part.seal(&self.part_path()).map(|_| ())
    }

    /// Whether a file of an earlier run holds what is wanted. Only granules are ever cut.
    async fn is_enough(&self, path: &Path) -> Result<bool, Error> {
        if self.source != "smap" {
            return Ok(true);
        }
        let (path, wanted) = (path.to_owned(), self.wanted.clone());
        match blocking(move || smap_subset::holds(&path, wanted.as_deref())).await {
            Ok(enough) => Ok(enough),
            Err(Stop::Fatal(error)) => Err(error),
            Err(Stop::Gap(_) | Stop::Later(_)) => Ok(false),
        }
    }

    /// Fetches the files that are missing and seals the unit's part of the ledger.
    ///
    /// # Errors
    /// Only what stops the whole run.
    pub(crate) async fn fetch(
        &self,
        http: &Arc<Http>,
        want: String,
        places: Vec<Place>,
    ) -> Result<Unit, Error> {
        let clock = Instant::now();
        let journal = Journal::new(self.part_path().with_extension("journal"));
        let mut known = BTreeMap::new();
        for row in Part::read(&self.part_path())
            .map(|part| part.rows)
            .unwrap_or_default()
            .into_iter()
            .chain(journal.rows())
        {
            known.insert(row.item.clone(), row);
        }
        let (known, journal) = (&known, &journal);
        let rows: Vec<Result<Brought, Error>> = stream::iter(places)
            .map(|place| async move { self.one(http, &place, known, journal).await })
            .buffer_unordered(http.settings.connections)
            .collect()
            .await;
        let rows = rows.into_iter().collect::<Result<Vec<_>, _>>()?;
        let payload = rows.iter().map(|(_, bytes)| bytes).sum();
        let rows: Vec<Row> = rows.into_iter().map(|(row, _)| row).collect();
        self.seal(want, rows, clock, payload, Some(journal))
    }

    /// Seals a unit of which nothing can be had.
    pub(crate) fn fail(&self, want: String, url: &Url, reason: String) -> Result<Unit, Error> {
        let row = Row::whole(self.source, &self.unit, "", url.path(), State::Failed).because(reason);
        self.seal(want, vec![row], Instant::now(), 0, None)
    }

    pub(crate) fn seal(
        &self,
        want: String,
        rows: Vec<Row>,
        clock: Instant,
        payload: u64,
        journal: Option<&Journal>,
    ) -> Result<Unit, Error> {
        let files = rows.iter().filter(|row| row.is_here()).map(|row| self.kept(row, row.length)).collect();
        self.seal_files(want, rows, files, clock, payload, journal)
    }

    /// As [`Folder::seal`], where files are not the same as rows.
    pub(crate) fn seal_files(
        &self,
        want: String,
        rows: Vec<Row>,
        files: Vec<Kept>,
        clock: Instant,
        payload: u64,
        journal: Option<&Journal>,
    ) -> Result<Unit, Error> {
        let bytes = files.iter().map(|file| file.bytes).sum();
        let failed = rows.iter().find(|row| row.status == State::Failed).and_then(|row| row.reason.clone());
        let head = Head { want, tile: String::new(), day: self.day.clone(), files };
        Part { head, rows }.seal(&self.part_path())?;
        if let Some(journal) = journal {
            journal.remove();
        }
        let outcome = match failed {
            Some(reason) => Outcome::failed(&self.unit, reason),
            None => Outcome::ok(&self.unit, clock.elapsed().as_secs_f64(), bytes),
        };
        Ok(Unit { outcome, payload })
    }

    /// The file that a row is of, with its length.
    pub(crate) fn kept(&self, row: &Row, bytes: u64) -> Kept {
        let path = format!("{}/{}", self.folder, row.item);
        Kept { path, bytes, item: row.item.clone(), asset: String::new() }
    }

    /// One file.
    pub(crate) async fn one(
        &self,
        http: &Arc<Http>,
        place: &Place,
        known: &BTreeMap<String, Row>,
        journal: &Journal,
    ) -> Result<Brought, Error> {
        let name = place.name();
        let path = self.raw.join(&self.folder).join(&name);
        let there = fs::metadata(&path).map(|file| file.len()).ok();
        if let Some(row) = known.get(&name).filter(|row| row.is_here() && there == Some(row.length))
            && self.is_enough(&path).await?
        {
            return Ok((row.clone(), 0));
        }
        let result = if is_safe_name(&name) {
            self.bring(http, place, &path).await
        } else {
            Err(Stop::Gap(format!("the name {name:?} cannot be a file name")))
        };
        let url_path = match place {
            Place::Remote(url) | Place::Tile(url) => url.path().to_owned(),
            Place::Local(_) => String::new(),
        };
        match result {
            Ok((row, bytes)) => {
                let row = Row { url_path, item: name, ..row };
                journal.append(&row)?;
                fs::rename(partial_path(&path), &path).map_err(Error::io(&path, "rename"))?;
                Ok((row, bytes))
            }
            Err(Stop::Fatal(error)) => Err(error),
            Err(Stop::Gap(reason)) if matches!(place, Place::Tile(_)) && says_absent(&reason) => {
                let row = Row::whole(self.source, &name, "", &url_path, State::Absent);
                Ok((row.because("no such tile: sea"), 0))
            }
            Err(Stop::Gap(reason) | Stop::Later(reason)) => {
                // Best effort: a file that is not whole is of no use.
                let _ = fs::remove_file(partial_path(&path));
                tracing::warn!(source = self.source, file = name, reason, "failed");
                Ok((Row::whole(self.source, &name, "", &url_path, State::Failed).because(reason), 0))
            }
        }
    }

    /// Brings a file to `<path>.partial`, whole and of the right format, or what is wanted of it.
    async fn bring(&self, http: &Arc<Http>, place: &Place, path: &Path) -> Result<Brought, Stop> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io(parent, "create"))?;
        }
        let partial = partial_path(path);
        match place {
            Place::Remote(url) | Place::Tile(url) => match &self.wanted {
                Some(wanted) => self.bring_cut(http, url, path, wanted).await,
                None => {
                    let fetched = self.download(http, url, path).await?;
                    Ok((self.row(&fetched), fetched.len))
                }
            },
            Place::Local(from) => {
                let (from, to) = (from.clone(), partial.clone());
                let (length, sha256) = blocking(move || link_or_copy(&from, &to)).await??;
                self.check(&partial, &place.name())?;
                let row = Row::whole(self.source, "", "", "", State::Reused);
                Ok((Row { length, sha256: Some(sha256), ..row }, 0))
            }
        }
    }

    /// A granule, cut. What is fetched is deleted; its length and hash stay in the ledger. One that arrives damaged is
    /// fetched again.
    async fn bring_cut(
        &self,
        http: &Arc<Http>,
        url: &Url,
        path: &Path,
        wanted: &Arc<Wanted>,
    ) -> Result<Brought, Stop> {
        let whole = append_suffix(path, ".whole");
        let (mut damage, mut lacked) = (String::new(), false);
        for _ in 0..DAMAGED_TRIES {
            let fetched = self.download(http, url, &whole).await?;
            let (from, to, sha256) = (partial_path(&whole), partial_path(path), fetched.sha256.clone());
            let wanted = Arc::clone(wanted);
            let cut = blocking(move || {
                let cut = smap_subset::cut(&from, &sha256, &to, &wanted);
                // It is of no use any more; if it stays, the next run replaces it.
                let _ = fs::remove_file(&from);
                cut.map(|()| length_and_hash(&to))
            });
            match cut.await? {
                Ok(kept) => {
                    let (length, sha256) = kept?;
                    let reason = format!("reduced from {} bytes, sha256 {}", fetched.len, fetched.sha256);
                    let row = Row { length, sha256: Some(sha256), ..self.row(&fetched) };
                    return Ok((row.because(reason), fetched.len));
                }
                Err(Trouble::Disk(error)) => return Err(Stop::Fatal(error)),
                Err(Trouble::Granule(reason)) => damage = reason,
                // Twice the same: other granules will not have it either, and each costs a whole transfer.
                Err(Trouble::Lacks(reason)) if lacked => {
                    let problems = format!("smap: {reason}, in {}", plain(url));
                    return Err(Stop::Fatal(Error::Config { problems }));
                }
                Err(Trouble::Lacks(reason)) => (damage, lacked) = (reason, true),
            }
        }
        Err(Stop::Gap(format!("{}: {damage}", plain(url))))
    }

    /// Fetches a file to `<path>.partial` and checks its first bytes.
    async fn download(&self, http: &Arc<Http>, url: &Url, path: &Path) -> Result<Fetched, Stop> {
        let fetched = http.download(url, path).await?;
        self.check(&partial_path(path), &plain(url))?;
        Ok(fetched)
    }

    fn check(&self, file: &Path, place: &str) -> Result<(), Stop> {
        let mut magic = [0; 16];
        let read =
            File::open(file).and_then(|mut file| file.read(&mut magic)).map_err(Error::io(file, "read"))?;
        check_format(self.format, &magic[..read]).map_err(|reason| Stop::Gap(format!("{place}: {reason}")))
    }

    fn row(&self, fetched: &Fetched) -> Row {
        Row {
            length: fetched.len,
            etag: fetched.etag.clone(),
            sha256: Some(fetched.sha256.clone()),
            ..Row::whole(self.source, "", "", "", State::Fetched)
        }
    }
}

/// Whether a request failed because there is nothing at the address.
pub(crate) fn says_absent(reason: &str) -> bool {
    reason.ends_with("HTTP status 404")
}

/// Size of a remote file, by its first byte.
///
/// # Errors
/// [`Stop::Gap`] if the server does not tell it.
pub(crate) async fn size_of(http: &Http, url: &Url) -> Result<u64, Stop> {
    let (_, told) = http.front(url, 1).await?;
    told.total.ok_or_else(|| Stop::Gap(format!("{}: its size is not told", plain(url))))
}

/// The want of a unit of named files.
pub(crate) fn want_of(places: &[Place]) -> String {
    plan_hash(&places)
}

fn link_or_copy(from: &Path, to: &Path) -> Result<(u64, String), Error> {
    // What an interrupted run left here may be a link to the source: it must go before anything is written to it.
    let _ = fs::remove_file(to);
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).map_err(Error::io(to, "write"))?;
    }
    length_and_hash(to)
}

pub(crate) fn length_and_hash(path: &Path) -> Result<(u64, String), Error> {
    let length = fs::metadata(path).map_err(Error::io(path, "read"))?.len();
    Ok((length, sha256_file(path)?))
}

/// A login page that is stored as data is the classic of this trade.
fn check_format(format: Format, magic: &[u8]) -> Result<(), String> {
    let hdf5 = magic.starts_with(b"\x89HDF\r\n\x1a\n");
    let good = match format {
        Format::Hdf5 => hdf5,
        Format::NetCdf => hdf5 || magic.starts_with(b"CDF"),
        Format::Any => true,
    };
    let text = String::from_utf8_lossy(magic).trim_start().to_lowercase();
    let page = text.starts_with("<!doctype") || text.starts_with("<html");
    match (good && !page, page) {
        (true, _) => Ok(()),
        (_, true) => Err(format!("expected {format:?} data, found a web page; is a login needed?")),
        _ => Err(format!("expected {format:?} data, found another format")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_page_is_not_data() {
        assert!(check_format(Format::Hdf5, b"<!DOCTYPE html><html").unwrap_err().contains("login"));
        assert!(check_format(Format::Any, b"<html><head>").is_err());
        assert!(check_format(Format::NetCdf, b"CDF\x01").is_ok());
        assert!(check_format(Format::Hdf5, b"\x89HDF\r\n\x1a\n12345678").is_ok());
        assert!(check_format(Format::Hdf5, b"II*\0").is_err());
    }
}
