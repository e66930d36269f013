//! Whole files: fetched as served, or taken from the local disk; checked by their first bytes, journaled, renamed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures::{StreamExt, stream};
use minicube::{Outcome, partial_path, plan_hash, sha256_file};
use url::Url;

use crate::Error;
use crate::ledger::{Head, Journal, Kept, Part, Row, State, is_safe_name, parts_folder};
use crate::net::{Http, Stop, plain};
use crate::plan::Place;
use crate::raster::blocking;
use crate::run::Unit;

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
    /// Day of the files, if they have one in common.
    pub(crate) day: String,
    pub(crate) format: Format,
    pub(crate) raw: &'a Path,
}

impl Folder<'_> {
    fn part_path(&self) -> std::path::PathBuf {
        parts_folder(self.raw).join(format!("{}.jsonl", self.folder))
    }

    /// The sealed part, if the unit is complete for `want`.
    pub(crate) fn is_complete(&self, want: &str) -> bool {
        Part::read(&self.part_path()).is_some_and(|part| part.is_complete(want, self.raw))
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
        let rows: Vec<Result<(Row, bool), Error>> = stream::iter(places)
            .map(|place| async move { self.one(http, &place, known, journal).await })
            .buffer_unordered(http.settings.connections)
            .collect()
            .await;
        let rows = rows.into_iter().collect::<Result<Vec<_>, _>>()?;
        let payload = rows
            .iter()
            .filter(|(row, new)| *new && row.status == State::Fetched)
            .map(|(r, _)| r.length)
            .sum();
        let rows: Vec<Row> = rows.into_iter().map(|(row, _)| row).collect();
        self.seal(want, rows, clock, payload, Some(journal))
    }

    /// Seals a unit of which nothing can be had.
    pub(crate) fn fail(&self, want: String, url: &Url, reason: String) -> Result<Unit, Error> {
        let row = Row::whole(self.source, &self.unit, "", url.path(), State::Failed).because(reason);
        self.seal(want, vec![row], Instant::now(), 0, None)
    }

    fn seal(
        &self,
        want: String,
        rows: Vec<Row>,
        clock: Instant,
        payload: u64,
        journal: Option<&Journal>,
    ) -> Result<Unit, Error> {
        let files: Vec<Kept> = rows
            .iter()
            .filter(|row| row.is_here())
            .map(|row| Kept {
                path: format!("{}/{}", self.folder, row.item),
                bytes: row.length,
                item: row.item.clone(),
                asset: String::new(),
            })
            .collect();
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

    /// One file; whether it is new.
    async fn one(
        &self,
        http: &Arc<Http>,
        place: &Place,
        known: &BTreeMap<String, Row>,
        journal: &Journal,
    ) -> Result<(Row, bool), Error> {
        let name = place.name();
        let path = self.raw.join(&self.folder).join(&name);
        let there = fs::metadata(&path).map(|file| file.len()).ok();
        if let Some(row) = known.get(&name).filter(|row| row.is_here() && there == Some(row.length)) {
            return Ok((row.clone(), false));
        }
        let result = if is_safe_name(&name) {
            self.bring(http, place, &path).await
        } else {
            Err(Stop::Gap(format!("the name {name:?} cannot be a file name")))
        };
        let url_path = match place {
            Place::Remote(url) => url.path().to_owned(),
            Place::Local(_) => String::new(),
        };
        match result {
            Ok(row) => {
                let row = Row { url_path, item: name, ..row };
                journal.append(&row)?;
                fs::rename(partial_path(&path), &path).map_err(Error::io(&path, "rename"))?;
                Ok((row, true))
            }
            Err(Stop::Fatal(error)) => Err(error),
            Err(Stop::Gap(reason) | Stop::Later(reason)) => {
                // Best effort: a file that is not whole is of no use.
                let _ = fs::remove_file(partial_path(&path));
                tracing::warn!(source = self.source, file = name, reason, "failed");
                Ok((Row::whole(self.source, &name, "", &url_path, State::Failed).because(reason), true))
            }
        }
    }

    /// Brings a file to `<path>.partial`, whole and of the right format.
    async fn bring(&self, http: &Arc<Http>, place: &Place, path: &Path) -> Result<Row, Stop> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io(parent, "create"))?;
        }
        let partial = partial_path(path);
        let row = match place {
            Place::Remote(url) => {
                let fetched = http.download(url, path).await?;
                Row {
                    length: fetched.len,
                    etag: fetched.etag,
                    sha256: Some(fetched.sha256),
                    ..Row::whole(self.source, "", "", "", State::Fetched)
                }
            }
            Place::Local(from) => {
                let (from, to) = (from.clone(), partial.clone());
                let (length, sha256) = blocking(move || link_or_copy(&from, &to)).await??;
                Row { length, sha256: Some(sha256), ..Row::whole(self.source, "", "", "", State::Reused) }
            }
        };
        let mut magic = [0; 16];
        let read = File::open(&partial)
            .and_then(|mut file| file.read(&mut magic))
            .map_err(Error::io(&partial, "read"))?;
        let place = match place {
            Place::Remote(url) => plain(url),
            Place::Local(path) => path.display().to_string(),
        };
        check_format(self.format, &magic[..read])
            .map_err(|reason| Stop::Gap(format!("{place}: {reason}")))?;
        Ok(row)
    }
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
    let length = fs::metadata(to).map_err(Error::io(to, "read"))?.len();
    Ok((length, sha256_file(to)?))
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
