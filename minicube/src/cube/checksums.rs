//! What every file of a store was when the store was sealed: a missing shard would read as fill, a damaged one as values.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::Violation;
use crate::Error;
use crate::files::{list_files, sha256_bytes, write_atomic};
use crate::objects::{file_exists, join_key, object, read_file};

/// The list inside a store, as `sha256sum` writes and checks it: `<SHA-256>  <path>`, by path.
pub(super) const CHECKSUMS_FILE: &str = "checksums.sha256";

/// Compares the files of a sealed store with the checksums it was sealed with: what is missing, changed or was added.
/// Reads all of it.
///
/// # Errors
/// [`Error::Io`] if the store is not there or a file cannot be read.
pub fn check_files(path: &Path) -> Result<Vec<Violation>, Error> {
    let list = path.join(CHECKSUMS_FILE);
    let violation = |file: &str, problem: &str| Violation { variable: file.into(), problem: problem.into() };
    if file_exists(&path.join("zarr.json")) && !file_exists(&list) {
        return Ok(vec![violation(CHECKSUMS_FILE, "is missing, so no file can be compared with it")]);
    }
    let expected = read_checksums(path)?;
    let found = checksums(path)?;
    let missing = expected.keys().filter(|name| !found.contains_key(*name));
    let mut violations: Vec<Violation> =
        missing.map(|name| violation(name, "is missing: it would read as fill")).collect();
    for (name, hash) in &found {
        match expected.get(name) {
            None => violations.push(violation(name, "was added after the store was sealed")),
            Some(sealed) if sealed != hash => {
                violations.push(violation(name, "is not as sealed: its checksum is another"));
            }
            Some(_) => {}
        }
    }
    Ok(violations)
}

/// Identity of a sealed store's content: the SHA-256 of its list of checksums; of its metadata where it has no list.
///
/// # Errors
/// [`Error::Io`] if it cannot be read.
pub fn content_hash(path: &Path) -> Result<String, Error> {
    let list = path.join(CHECKSUMS_FILE);
    let identity = if file_exists(&list) { list } else { path.join("zarr.json") };
    Ok(sha256_bytes(&read_file(&identity)?))
}

/// SHA-256 of each file as it was sealed, by path inside the store.
///
/// # Errors
/// [`Error::Io`] if there is no list.
pub(super) fn read_checksums(path: &Path) -> Result<BTreeMap<String, String>, Error> {
    let bytes = read_file(&path.join(CHECKSUMS_FILE))?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().filter_map(|line| line.split_once("  "));
    Ok(lines.map(|(hash, name)| (name.to_owned(), hash.to_owned())).collect())
}

/// Writes the list of a store that is complete but for it.
pub(super) fn write_checksums(folder: &Path) -> Result<(), Error> {
    let lines: String =
        checksums(folder)?.into_iter().map(|(name, hash)| format!("{hash}  {name}\n")).collect();
    write_atomic(&folder.join(CHECKSUMS_FILE), lines.as_bytes())
}

/// SHA-256 of every file but the list and our notes (`.done`, …), by path inside the store.
fn checksums(store: &Path) -> Result<BTreeMap<String, String>, Error> {
    let names: Vec<String> = match object(store).map_err(Error::io(store, "read"))? {
        Some((bucket, prefix)) => {
            let objects = bucket.list(&prefix).map_err(Error::io(store, "list"))?;
            let prefix = join_key(&prefix, "");
            objects.iter().filter_map(|(key, _)| key.strip_prefix(&prefix).map(str::to_owned)).collect()
        }
        None => {
            let mut files = Vec::new();
            list_files(store, &mut files)?;
            let name = |file: &PathBuf| {
                file.strip_prefix(store).unwrap_or(file).to_string_lossy().replace('\\', "/")
            };
            files.iter().map(name).collect()
        }
    };
    names
        .into_par_iter()
        .filter(|name| name != CHECKSUMS_FILE && !name.starts_with('.'))
        .map(|name| {
            let hash = sha256_bytes(&read_file(&store.join(&name))?);
            Ok((name, hash))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn problems(folder: &Path) -> Vec<String> {
        check_files(folder).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn whatever_changes_after_the_seal_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("s.zarr");
        for (name, content) in [("zarr.json", "abc"), ("red/c/0", "1"), ("red/c/1", "2")] {
            write_atomic(&store.join(name), content.as_bytes()).unwrap();
        }
        assert!(problems(&store)[0].contains("checksums.sha256: is missing"));
        write_checksums(&store).unwrap();
        let list = fs::read_to_string(store.join(CHECKSUMS_FILE)).unwrap();
        // The SHA-256 of "abc" of FIPS 180-2; names ascend.
        let last = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  zarr.json\n";
        assert!(list.ends_with(last) && list.lines().count() == 3, "{list}");
        assert!(problems(&store).is_empty());
        let before = content_hash(&store).unwrap();

        fs::write(store.join("red/c/0"), "3").unwrap();
        fs::remove_file(store.join("red/c/1")).unwrap();
        fs::write(store.join("red/c/2"), "").unwrap();
        let found = problems(&store);
        assert!(found[0].starts_with("red/c/1: is missing"), "{found:?}");
        assert!(found[1].starts_with("red/c/0: is not as sealed"), "{found:?}");
        assert!(found[2].starts_with("red/c/2: was added"), "{found:?}");
        assert_eq!(found.len(), 3);
        write_checksums(&store).unwrap();
        assert_ne!(content_hash(&store).unwrap(), before);
        assert!(check_files(&dir.path().join("none")).is_err());
    }
}
