//! Files and stores in a bucket of an object store, named by URL: `s3://<bucket>/<key>`.
//!
//! A URL travels as a path, so that whoever reads or seals a store takes a folder and a URL alike. This crate opens no
//! socket: a binary that wants buckets says with [`open_buckets_with`] how one is opened.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::Error;
use crate::files::list_files;

const SCHEME: &str = "s3://";

/// A part of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// From this offset to the end.
    From(u64),
    /// So many bytes from this offset.
    Range {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
    },
    /// The last so many bytes.
    Last(u64),
}

/// What a bucket says of an object without sending it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Size in bytes.
    pub bytes: u64,
    /// The hash that [`Bucket::put`] gave it.
    pub sha256: Option<String>,
}

/// A bucket of an object store. Keys have no leading slash; an object appears whole or not at all. The errors' texts say
/// what the store answered, without credentials and without the queries of URLs; their kinds are `NotFound` for a bucket
/// that is not there, `PermissionDenied`, or those of the connection.
pub trait Bucket: Send + Sync {
    /// Reads a part of an object; `None` if there is no such object.
    ///
    /// # Errors
    /// The store's or the connection's.
    fn get(&self, key: &str, part: Part) -> io::Result<Option<Vec<u8>>>;

    /// Asks for an object; `None` if there is no such object.
    ///
    /// # Errors
    /// As [`Bucket::get`].
    fn head(&self, key: &str) -> io::Result<Option<ObjectInfo>>;

    /// Keys and sizes of all objects below `<prefix>/`, sorted.
    ///
    /// # Errors
    /// As [`Bucket::get`].
    fn list(&self, prefix: &str) -> io::Result<Vec<(String, u64)>>;

    /// What follows `<prefix>/` up to the next slash, of all keys that have one there, sorted.
    ///
    /// # Errors
    /// As [`Bucket::get`].
    fn folders(&self, prefix: &str) -> io::Result<Vec<String>>;

    /// Writes an object and, beside it, a hash that [`Bucket::head`] gives back.
    ///
    /// # Errors
    /// As [`Bucket::get`].
    fn put(&self, key: &str, bytes: Vec<u8>, sha256: Option<&str>) -> io::Result<()>;

    /// Uploads files, several at once, large ones in parts; `done` is called after each.
    ///
    /// # Errors
    /// As [`Bucket::get`], of reading a file, and those of `done`.
    fn put_files(
        &self,
        files: &[(String, PathBuf)],
        done: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> io::Result<()>;

    /// Removes objects; one that is not there is no error.
    ///
    /// # Errors
    /// As [`Bucket::get`].
    fn delete(&self, keys: &[String]) -> io::Result<()>;
}

/// Opens the bucket of a name.
pub type OpenBucket = fn(&str) -> io::Result<Arc<dyn Bucket>>;

struct Buckets {
    open: Option<OpenBucket>,
    by_name: BTreeMap<String, Arc<dyn Bucket>>,
}

static BUCKETS: Mutex<Buckets> = Mutex::new(Buckets { open: None, by_name: BTreeMap::new() });

/// Says how this process opens buckets; called once by a binary, before anything reads or writes.
pub fn open_buckets_with(open: OpenBucket) {
    BUCKETS.lock().unwrap_or_else(PoisonError::into_inner).open = Some(open);
}

/// Whether a path is the URL of something in a bucket.
#[must_use]
pub fn is_url(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().starts_with(SCHEME.as_bytes())
}

/// Whether a path is the URL of a Zarr store.
pub(crate) fn is_store_url(path: &Path) -> bool {
    is_url(path) && path.extension().is_some_and(|extension| extension == "zarr")
}

/// Bucket and key of a URL; `None` for a path of the file system.
pub(crate) fn object(path: &Path) -> io::Result<Option<(Arc<dyn Bucket>, String)>> {
    if !is_url(path) {
        return Ok(None);
    }
    let text = path.to_str().and_then(|text| text.strip_prefix(SCHEME)).unwrap_or_default();
    let (name, key) = text.split_once('/').unwrap_or((text, ""));
    let lock = || BUCKETS.lock().unwrap_or_else(PoisonError::into_inner);
    let (known, open) = {
        let buckets = lock();
        (buckets.by_name.get(name).cloned(), buckets.open)
    };
    let bucket = match (known, open) {
        (Some(bucket), _) => bucket,
        // Opened without the lock: another thread may open it too, and the first one stays.
        (None, Some(open)) => {
            let opened = open(name)?;
            lock().by_name.entry(name.to_owned()).or_insert(opened).clone()
        }
        (None, None) => {
            return Err(io::Error::new(ErrorKind::Unsupported, "this program reads and writes folders only"));
        }
    };
    Ok(Some((bucket, key.to_owned())))
}

/// The URL of a place in a bucket, as a project file may name it: `s3://<bucket>[/<prefix>]`.
///
/// # Errors
/// What was found instead, without any credentials in it.
pub(crate) fn parse_url(text: &str) -> Result<PathBuf, String> {
    if text.contains(['@', '?', '#']) {
        return Err("a URL with credentials or a query".into());
    }
    let found = || format!("`{text}`");
    let rest = text.strip_prefix(SCHEME).ok_or_else(found)?.trim_end_matches('/');
    let bucket = rest.split('/').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.=+".contains(c);
    let segment = |part: &str| !part.is_empty() && part != "." && part != ".." && part.chars().all(plain);
    if !(3..=63).contains(&bucket.len()) || !rest.split('/').all(segment) {
        return Err(found());
    }
    Ok(PathBuf::from(text.trim_end_matches('/')))
}

/// Reads a whole file or object.
///
/// # Errors
/// [`Error::Io`] naming it; of kind `NotFound` if it is not there.
pub fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    let read = || match object(path)? {
        None => fs::read(path),
        Some((bucket, key)) => bucket.get(&key, Part::Whole)?.ok_or_else(no_object),
    };
    read().map_err(Error::io(path, "read"))
}

/// Whether there is such a file or object; an object that cannot be asked for counts as absent.
#[must_use]
pub fn file_exists(path: &Path) -> bool {
    match object(path) {
        Ok(Some((bucket, key))) => bucket.head(&key).is_ok_and(|found| found.is_some()),
        Ok(None) => path.exists(),
        Err(_) => false,
    }
}

/// Bytes of a file or of a folder's files; in a bucket, of an object or, where the URL ends in `.zarr`, of a store.
///
/// # Errors
/// [`Error::Io`] if it is not there or cannot be read.
pub fn stored_bytes(path: &Path) -> Result<u64, Error> {
    let Some((bucket, key)) = object(path).map_err(Error::io(path, "read"))? else {
        let mut files = Vec::new();
        match path.is_dir() {
            true => list_files(path, &mut files)?,
            false => files.push(path.to_owned()),
        }
        return files.iter().map(|file| Ok(fs::metadata(file).map_err(Error::io(file, "read"))?.len())).sum();
    };
    let found = match is_store_url(path) {
        true => bucket.list(&key).map(|objects| objects.iter().map(|(_, bytes)| bytes).sum()),
        false => bucket.head(&key).and_then(|info| Ok(info.ok_or_else(no_object)?.bytes)),
    };
    found.map_err(Error::io(path, "read"))
}

/// The Zarr stores in a folder or below a URL, by name; none where there is no such folder. In a bucket a store without
/// its root metadata is one whose upload is not complete, and not listed.
///
/// # Errors
/// [`Error::Io`] if the folder or the bucket cannot be listed.
pub fn list_stores(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let Some((bucket, key)) = object(folder)? else {
            return match fs::read_dir(folder) {
                Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
                Err(error) => Err(error),
            };
        };
        let mut found = Vec::new();
        for name in bucket.folders(&key)? {
            if bucket.head(&join_key(&key, &format!("{name}/zarr.json")))?.is_some() {
                found.push(folder.join(name));
            }
        }
        Ok(found)
    };
    let mut paths = list().map_err(Error::io(folder, "list"))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "zarr"));
    paths.sort();
    Ok(paths)
}

fn no_object() -> io::Error {
    io::Error::new(ErrorKind::NotFound, "no such object")
}

/// `<prefix>/<name>`, or the name where the prefix is empty.
pub(crate) fn join_key(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_bucket_and_a_prefix_and_no_secrets() {
        assert_eq!(parse_url("s3://cubes/africa/level1/").unwrap(), Path::new("s3://cubes/africa/level1"));
        assert_eq!(
            parse_url("s3://cubes").unwrap().join("a.zarr").display().to_string(),
            "s3://cubes/a.zarr"
        );
        for wrong in
            ["/data/level1", "s3://", "s3://ab/x", "s3://cubes//x", "s3://cubes/../x", "s3://cubes/a b"]
        {
            assert_eq!(parse_url(wrong).unwrap_err(), format!("`{wrong}`"));
        }
        let secret = parse_url("s3://AKIA:secret@cubes/x").unwrap_err();
        assert!(!secret.contains("secret"), "{secret}");
    }

    #[test]
    fn a_program_without_buckets_says_so() {
        let error = read_file(Path::new("s3://nowhere/x")).unwrap_err();
        assert!(error.to_string().contains("s3://nowhere/x: cannot read: this program"), "{error}");
        assert!(!file_exists(Path::new("s3://nowhere/x")));
    }
}
