//! Bringing a finished store to a bucket: its root metadata last, so that nothing half-sent is taken for whole.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::Error;
use crate::files::{hash_files, hash_names};
use crate::objects::{join_key, object};

/// What was sent, in the folder that the store was built in: one line a file, its hash and its name.
const SENT_FILE: &str = ".sent";
const ROOT: &str = "zarr.json";

/// Uploads the files of a finished store to a URL, in place of any older store there, and removes the folder.
///
/// Of an older store the root metadata go first, so that it is none from then on, and what the new one does not have goes
/// before the new root comes. After a kill the next call sends what was not sent, or differs from what was.
///
/// # Errors
/// [`Error::Io`] naming the URL or the file.
pub(super) fn upload(folder: &Path, url: &Path) -> Result<(), Error> {
    let failed = || Error::io(url, "upload");
    let Some((bucket, prefix)) = object(url).map_err(failed())? else { return Ok(()) };
    let hashes = hash_files(folder)?;
    let there: BTreeMap<String, u64> = bucket.list(&prefix).map_err(failed())?.into_iter().collect();
    let root = join_key(&prefix, ROOT);
    if there.contains_key(&root) {
        bucket.delete(std::slice::from_ref(&root)).map_err(failed())?;
    }

    let journal = folder.join(SENT_FILE);
    let sent = read_sent(&journal);
    let mut keys = BTreeMap::new();
    let mut files = Vec::new();
    for (name, hash) in hashes.iter().filter(|(name, _)| *name != ROOT) {
        let (key, path) = (join_key(&prefix, name), folder.join(name));
        let bytes = fs::metadata(&path).map_err(Error::io(&path, "read"))?.len();
        if sent.get(name) != Some(hash) || there.get(&key) != Some(&bytes) {
            files.push((key.clone(), path));
        }
        keys.insert(key, format!("{hash} {name}"));
    }
    let mut notes =
        OpenOptions::new().create(true).append(true).open(&journal).map_err(Error::io(&journal, "write"))?;
    let mut note = |key: &str| -> io::Result<()> {
        let line = keys.get(key).map_or("", String::as_str);
        writeln!(notes, "{line}")
    };
    bucket.put_files(&files, &mut note).map_err(failed())?;
    let stale: Vec<String> =
        there.into_keys().filter(|key| !keys.contains_key(key) && *key != root).collect();
    if !stale.is_empty() {
        bucket.delete(&stale).map_err(failed())?;
    }
    let path = folder.join(ROOT);
    let bytes = fs::read(&path).map_err(Error::io(&path, "read"))?;
    bucket.put(&root, bytes, Some(&hash_names(&hashes))).map_err(failed())?;
    remove_folder(folder)
}

/// Removes the folder that a store was built in, if it is still there.
///
/// # Errors
/// [`Error::Io`] if it cannot be removed.
pub(super) fn remove_folder(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(folder, "remove")(error)),
        _ => Ok(()),
    }
}

/// Notes that a file of the store under construction is in the bucket already, under the same name.
///
/// # Errors
/// [`Error::Io`] if the note cannot be written.
pub(super) fn note_sent(folder: &Path, name: &str, hash: &str) -> Result<(), Error> {
    let journal = folder.join(SENT_FILE);
    let line = format!("{hash} {name}\n");
    let file = OpenOptions::new().create(true).append(true).open(&journal);
    file.and_then(|mut file| file.write_all(line.as_bytes())).map_err(Error::io(&journal, "write"))
}

/// The hash that each file had when it was sent last.
fn read_sent(journal: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(journal).unwrap_or_default();
    // A kill may have cut the last line short: only lines that ended count.
    let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')?.split_once(' '));
    lines.map(|(hash, name)| (name.to_owned(), hash.to_owned())).collect()
}
