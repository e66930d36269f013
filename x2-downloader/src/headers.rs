//! The directories of remote rasters, kept on the disk: a raster whose blocks were looked up once is not asked for
//! them again, in this run or a later one.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use minicube::sha256_bytes;
use minicube_tiff::{Header, Parsed, directory, is_jpeg2000, parse};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::Error;
use crate::net::{Http, Stop, Told, plain};

/// A directory beyond this is taken for an attack or a damaged file.
const MAX_HEADER_BYTES: u64 = 32 << 20;
/// Longer ones are not kept.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// The header of a remote raster.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) header: Header,
    /// What the server said of the file.
    pub(crate) told: Told,
    /// The first bytes of the file, if they were read just now.
    pub(crate) prefix: Bytes,
}

/// What the first bytes of a remote file are of.
pub(crate) enum Front {
    /// A TIFF.
    Tiff(Box<Remote>),
    /// A JPEG 2000 file, which has no blocks that could be copied one by one.
    Jpeg2000,
}

/// The directories of one unit's rasters, by the path of their address: a file of lines, each behind its own SHA-256,
/// the last one of a raster counts.
#[derive(Debug, Default)]
pub(crate) struct Headers {
    path: PathBuf,
    known: Mutex<BTreeMap<String, Option<Remote>>>,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    url_path: String,
    total: Option<u64>,
    etag: Option<String>,
    /// A TIFF that holds the directory and nothing else; absent where the directory is to be forgotten.
    tiff: Option<String>,
}

impl Headers {
    /// Reads what is there. Lines that are torn, damaged, or without a checksum are left out.
    pub(crate) fn open(path: PathBuf) -> Headers {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let known =
            text.lines().filter_map(Line::read).map(|line| (line.url_path.clone(), line.remote())).collect();
        Headers { path, known: Mutex::new(known) }
    }

    pub(crate) fn get(&self, url: &Url) -> Option<Remote> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(url.path()).cloned().flatten()
    }

    /// The first bytes of a remote file, from here or over the network.
    pub(crate) async fn front(&self, http: &Http, url: &Url) -> Result<Front, Stop> {
        if let Some(remote) = self.get(url) {
            return Ok(Front::Tiff(Box::new(remote)));
        }
        let front = read_front(http, url).await?;
        if let Front::Tiff(remote) = &front {
            self.put(url, Some(remote))?;
        }
        Ok(front)
    }

    /// Forgets a directory that does not fit the remote file any more.
    pub(crate) fn forget(&self, url: &Url) -> Result<(), Error> {
        self.put(url, None)
    }

    fn put(&self, url: &Url, remote: Option<&Remote>) -> Result<(), Error> {
        let tiff =
            remote.map(|remote| directory(&remote.header, &remote.header.offsets, &remote.header.counts));
        if tiff.as_ref().is_some_and(|tiff| tiff.len() > MAX_KEPT_BYTES) {
            return Ok(());
        }
        let told = remote.map(|remote| remote.told.clone()).unwrap_or_default();
        let (url_path, tiff) = (url.path().to_owned(), tiff.map(|tiff| STANDARD.encode(tiff)));
        let line = Line { url_path: url_path.clone(), total: told.total, etag: told.etag, tiff };
        let failed =
            |error: serde_json::Error| Error::Ledger { path: self.path.clone(), reason: error.to_string() };
        let text = line.write().map_err(failed)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        append(&self.path, &text)?;
        known.insert(url_path, remote.map(|remote| Remote { prefix: Bytes::new(), ..remote.clone() }));
        Ok(())
    }
}

impl Line {
    /// The line of a text that is whole: a directory with another number in it would send requests astray.
    fn read(text: &str) -> Option<Line> {
        let (sum, line) = text.split_once(' ')?;
        (sum == sha256_bytes(line.as_bytes())).then(|| serde_json::from_str(line).ok()).flatten()
    }

    fn write(&self) -> Result<String, serde_json::Error> {
        let line = serde_json::to_string(self)?;
        Ok(format!("{} {line}", sha256_bytes(line.as_bytes())))
    }

    fn remote(self) -> Option<Remote> {
        let tiff = STANDARD.decode(self.tiff?).ok()?;
        let Parsed::Header(header) = parse(&tiff).ok()? else { return None };
        let told = Told { total: self.total, etag: self.etag };
        Some(Remote { header: *header, told, prefix: Bytes::new() })
    }
}

/// A line of its own, even behind one that an interrupted run left open.
fn append(path: &Path, text: &str) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::io(parent, "create"))?;
    }
    let mut file =
        OpenOptions::new().create(true).append(true).open(path).map_err(Error::io(path, "write"))?;
    file.write_all(format!("\n{text}\n").as_bytes()).map_err(Error::io(path, "write"))
}

/// Reads the first bytes of a remote file, more if its directory is longer.
async fn read_front(http: &Http, url: &Url) -> Result<Front, Stop> {
    let (first, told) = http.front(url, http.settings.header_bytes).await?;
    let mut prefix = first.to_vec();
    if is_jpeg2000(&prefix) {
        return Ok(Front::Jpeg2000);
    }
    loop {
        let end = match parse(&prefix) {
            Ok(Parsed::Header(header)) => {
                let remote = Remote { header: *header, told, prefix: prefix.into() };
                return Ok(Front::Tiff(Box::new(remote)));
            }
            Ok(Parsed::NeedUpTo(end)) => end,
            Err(reason) => return Err(Stop::Gap(format!("{}: {reason}", plain(url)))),
        };
        if end > MAX_HEADER_BYTES {
            let reason = format!("the directory reaches to byte {end}, expected at most {MAX_HEADER_BYTES}");
            return Err(Stop::Gap(format!("{}: {reason}", plain(url))));
        }
        if told.total.is_some_and(|total| end > total) {
            let found = told.total.unwrap_or(prefix.len() as u64);
            let reason = format!("truncated: the directory reaches to byte {end}, found {found}");
            return Err(Stop::Gap(format!("{}: {reason}", plain(url))));
        }
        let from = prefix.len() as u64;
        let to = end.max(from * 2).min(told.total.unwrap_or(end));
        let (more, _) = http.part(url, from..to).await?;
        if more.is_empty() {
            let reason = format!("truncated: the directory reaches to byte {end}, found {from}");
            return Err(Stop::Gap(format!("{}: {reason}", plain(url))));
        }
        prefix.extend(&more);
    }
}

#[cfg(test)]
mod tests {
    use minicube_tiff::plain_header;

    use super::*;

    #[test]
    fn directories_are_there_in_the_next_run_until_they_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scene.headers");
        let url = Url::parse("https://host/a/red.tif?sig=secret").unwrap();
        let told = Told { total: Some(5000), etag: Some("\"v1\"".into()) };
        let header = plain_header(48, 16, 16);
        let remote = Remote { header: header.clone(), told: told.clone(), prefix: Bytes::new() };
        Headers::open(path.clone()).put(&url, Some(&remote)).unwrap();
        let mut torn = fs::read(&path).unwrap();
        assert!(!String::from_utf8_lossy(&torn).contains("secret"));
        torn.extend(b"0123 {\"url_path\":\"/a/re");
        fs::write(&path, torn).unwrap();

        let headers = Headers::open(path.clone());
        let found = headers.get(&url).unwrap();
        assert_eq!((&found.header.offsets, &found.header.counts), (&header.offsets, &header.counts));
        assert_eq!(found.told, told);
        headers.forget(&url).unwrap();
        assert!(headers.get(&url).is_none());
        assert!(Headers::open(path).get(&url).is_none());
    }

    /// One offset of the directory is another one, in a line that is whole JSON around a whole TIFF.
    #[test]
    fn a_damaged_directory_is_asked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scene.headers");
        let url = Url::parse("https://host/a/red.tif").unwrap();
        let header = plain_header(48, 16, 16);
        let remote = Remote { header: header.clone(), told: Told::default(), prefix: Bytes::new() };
        Headers::open(path.clone()).put(&url, Some(&remote)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(Headers::open(path.clone()).get(&url).is_some());

        let tiff = directory(&header, &header.offsets, &header.counts);
        let mut offsets = header.offsets.clone();
        offsets[4] += 1;
        let other = directory(&header, &offsets, &header.counts);
        let damaged = text.replace(&STANDARD.encode(tiff), &STANDARD.encode(other));
        assert_ne!(damaged, text);
        let (_, line) = damaged.trim().split_once(' ').unwrap();
        let read: Line = serde_json::from_str(line).unwrap();
        assert_eq!(read.remote().unwrap().header.offsets, offsets, "it would be believed");
        for unproven in [&damaged, line] {
            fs::write(&path, unproven).unwrap();
            assert!(Headers::open(path.clone()).get(&url).is_none());
        }
    }
}
