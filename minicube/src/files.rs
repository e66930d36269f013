//! Files that appear whole or not at all, and their hashes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::Error;
use crate::objects::{is_url, join_key, object, read_file};

/// What the name of an unfinished file or store ends with, after a point.
pub(crate) const PARTIAL: &str = "partial";

/// Writes `bytes` to `<path>.partial`, syncs and renames, creating parent folders. An object appears whole by itself.
///
/// # Errors
/// [`Error::Io`] naming the path; the target is then as it was before.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if let Some((bucket, key)) = object(path).map_err(Error::io(path, "write"))? {
        return bucket.put(&key, bytes.to_vec(), None).map_err(Error::io(path, "write"));
    }
    replace(path, |file| file.write_all(bytes).map_err(Error::io(path, "write")))
}

/// As [`write_atomic`] without the sync: after a power failure the file may be cut short, so whoever finds it must look.
pub(crate) fn write_renamed(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let partial = partial_path(path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::io(parent, "create"))?;
    }
    let written = fs::write(&partial, bytes).map_err(Error::io(path, "write"));
    if written.is_err() {
        // Best effort: the error that matters is the first one.
        let _ = fs::remove_file(&partial);
    }
    written?;
    fs::rename(&partial, path).map_err(Error::io(path, "rename"))
}

/// As [`write_atomic`], with the content that `fill` writes.
pub(crate) fn replace(path: &Path, fill: impl FnOnce(&mut File) -> Result<(), Error>) -> Result<(), Error> {
    let partial = partial_path(path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::io(parent, "create"))?;
    }
    let mut file = File::create(&partial).map_err(Error::io(path, "write"))?;
    let written = fill(&mut file).and_then(|()| file.sync_all().map_err(Error::io(path, "write")));
    if written.is_err() {
        // Best effort: the error that matters is the first one.
        let _ = fs::remove_file(&partial);
    }
    written?;
    fs::rename(&partial, path).map_err(Error::io(path, "rename"))
}

/// The files below a folder with one of the extensions (in any case), at any depth, ascending by path. Files that are
/// still being written do not count.
///
/// # Errors
/// [`Error::Io`] naming the folder that cannot be listed.
pub fn files_below(folder: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder, "list"))? {
        let path = entry.map_err(Error::io(folder, "list"))?.path();
        let has = |wanted: &&str| path.extension().is_some_and(|found| found.eq_ignore_ascii_case(wanted));
        if path.is_dir() {
            found.extend(files_below(&path, extensions)?);
        } else if extensions.iter().any(has) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The name under which a file or store is built before it is renamed: `<path>.partial`.
#[must_use]
pub fn partial_path(path: &Path) -> PathBuf {
    append_suffix(path, &format!(".{PARTIAL}"))
}

/// `path` with `suffix` appended to its last component.
#[must_use]
pub fn append_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// SHA-256 of the content of a file or object, in hexadecimal.
///
/// # Errors
/// [`Error::Io`] if it cannot be read.
pub fn sha256_file(path: &Path) -> Result<String, Error> {
    if is_url(path) {
        return Ok(sha256_bytes(&read_file(path)?));
    }
    let mut file = File::open(path).map_err(Error::io(path, "read"))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(Error::io(path, "read"))?;
        if read == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
    }
}

/// SHA-256 of a folder: over the sorted relative paths of its files and their hashes, so equal trees hash equal. Of a
/// store in a bucket it is the hash that was sent with it, or, where that was lost, that of the objects.
///
/// # Errors
/// [`Error::Io`] if a file or folder cannot be read.
pub fn sha256_store(path: &Path) -> Result<String, Error> {
    let Some((bucket, prefix)) = object(path).map_err(Error::io(path, "read"))? else {
        return Ok(hash_names(&hash_files(path)?));
    };
    let root = bucket.head(&join_key(&prefix, "zarr.json")).map_err(Error::io(path, "read"))?;
    if let Some(sent) = root.and_then(|info| info.sha256) {
        return Ok(sent);
    }
    let mut hashes = BTreeMap::new();
    for (key, _) in bucket.list(&prefix).map_err(Error::io(path, "list"))? {
        let name = key.strip_prefix(&prefix).unwrap_or(&key).trim_start_matches('/').to_owned();
        let hash = sha256_file(&path.join(&name))?;
        hashes.insert(name, hash);
    }
    Ok(hash_names(&hashes))
}

/// Hashes of all files below a folder, by relative path. Notes of ours (`.plan`, …) are no part of a store.
pub(crate) fn hash_files(folder: &Path) -> Result<BTreeMap<String, String>, Error> {
    let mut files = Vec::new();
    list_files(folder, &mut files)?;
    let name = |file: &Path| file.strip_prefix(folder).unwrap_or(file).to_string_lossy().replace('\\', "/");
    let named = files.iter().map(|file| (name(file), file)).filter(|(name, _)| !name.starts_with('.'));
    named.map(|(name, file)| Ok((name, sha256_file(file)?))).collect()
}

/// SHA-256 over names and hashes, in the order of the names.
pub(crate) fn hash_names(hashes: &BTreeMap<String, String>) -> String {
    let mut hasher = Sha256::new();
    for (name, hash) in hashes {
        hasher.update(name.as_bytes());
        hasher.update([0]);
        hasher.update(hash.as_bytes());
    }
    hex(&hasher.finalize())
}

/// Every file below a folder, in no particular order.
pub(crate) fn list_files(folder: &Path, into: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::io(folder, "read"))? {
        let path = entry.map_err(Error::io(folder, "read"))?.path();
        if path.is_dir() {
            list_files(&path, into)?;
        } else {
            into.push(path);
        }
    }
    Ok(())
}

/// SHA-256 of bytes, in hexadecimal.
#[must_use]
pub fn sha256_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_leaves_no_partial() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.txt");
        write_atomic(&path, b"abc").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abc");
        assert!(!partial_path(&path).exists());
        // The SHA-256 of "abc" of FIPS 180-2.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_file(&path).unwrap(), expected);
    }

    #[test]
    fn a_store_hash_sees_names_and_contents() {
        let dir = tempfile::tempdir().unwrap();
        write_atomic(&dir.path().join("s/x/1"), b"1").unwrap();
        let one = sha256_store(&dir.path().join("s")).unwrap();
        fs::rename(dir.path().join("s/x/1"), dir.path().join("s/x/2")).unwrap();
        assert_ne!(one, sha256_store(&dir.path().join("s")).unwrap());
    }
}
