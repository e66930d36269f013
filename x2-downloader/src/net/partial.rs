//! A whole file in the making, which a later run can go on with.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use minicube::partial_path;
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::Error;

/// `<path>.partial`, and beside it `<path>.partial.etag` with the version that its bytes are of.
pub(super) struct PartialFile {
    path: PathBuf,
    tag_path: PathBuf,
    file: File,
    hasher: Sha256,
    /// Bytes that are there.
    pub(super) len: u64,
    /// Version they are of.
    pub(super) etag: Option<String>,
}

impl PartialFile {
    /// Opens what an interrupted run left, or begins anew.
    pub(super) async fn open(path: &Path) -> Result<PartialFile, Error> {
        let path = partial_path(path);
        let mut tag_path = path.clone().into_os_string();
        tag_path.push(".etag");
        let tag_path = PathBuf::from(tag_path);
        let etag = fs::read_to_string(&tag_path).ok().filter(|etag| !etag.is_empty());
        if etag.is_none() {
            // It may be a link to a local file, which must not be written to.
            let _ = fs::remove_file(&path);
        }
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).await.map_err(Error::io(&path, "write"))?;
        let mut hasher = Sha256::new();
        let mut len = 0;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = file.read(&mut buffer).await.map_err(Error::io(&path, "read"))?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            len += read as u64;
        }
        Ok(PartialFile { path, tag_path, file, hasher, len, etag })
    }

    /// Forgets what is there; the bytes that follow are of version `etag`.
    pub(super) async fn restart(&mut self, etag: Option<String>) -> Result<(), Error> {
        self.remove_tag()?;
        let failed = |error| Error::io(&self.path, "write")(error);
        self.file.set_len(0).await.map_err(failed)?;
        tokio::io::AsyncSeekExt::seek(&mut self.file, std::io::SeekFrom::Start(0)).await.map_err(failed)?;
        (self.len, self.hasher) = (0, Sha256::new());
        if let Some(etag) = etag.as_ref().filter(|etag| !etag.starts_with("W/")) {
            fs::write(&self.tag_path, etag).map_err(Error::io(&self.tag_path, "write"))?;
        }
        self.etag = etag;
        Ok(())
    }

    pub(super) async fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).await.map_err(Error::io(&self.path, "write"))?;
        // The last write may still be on its way, and only a flush tells how it ended.
        self.file.flush().await.map_err(Error::io(&self.path, "write"))?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Syncs the file, which stays at `<path>.partial` for the caller to rename. Its SHA-256.
    pub(super) async fn finish(self) -> Result<String, Error> {
        self.file.sync_all().await.map_err(Error::io(&self.path, "write"))?;
        self.remove_tag()?;
        Ok(self.hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Removes what is there of a file that cannot be had.
    pub(super) fn discard(&self) {
        // Best effort: the reason why it cannot be had is what matters.
        let _ = fs::remove_file(&self.tag_path);
        let _ = fs::remove_file(&self.path);
    }

    fn remove_tag(&self) -> Result<(), Error> {
        match fs::remove_file(&self.tag_path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::io(&self.tag_path, "remove")(error))
            }
            _ => Ok(()),
        }
    }
}
