//! A bucket: one client, driven by threads that wait for it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use futures::{StreamExt, TryStreamExt, stream};
use minicube::{Bucket, ObjectInfo, Part};
use object_store::aws::AmazonS3;
use object_store::path::Path as Key;
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutOptions, WriteMultipart,
};
use tokio::io::AsyncReadExt;
use tokio::runtime::Runtime;

use crate::failure::{failure, is_absent};
use crate::settings::client;

/// Files above this size are sent in parts of it.
const PART_BYTES: usize = 8 << 20;
/// Files that are sent at once, and parts of one of them: with the part that is being read, 96 MiB of memory at most.
const FILES_AT_ONCE: usize = 4;
const PARTS_AT_ONCE: usize = 2;
/// User metadata of an object that hold its hash.
const SHA256: &str = "minicube-sha256";

struct S3Bucket {
    client: AmazonS3,
    runtime: &'static Runtime,
}

/// Opens a bucket with the settings of the environment. Nothing is sent yet.
///
/// # Errors
/// `InvalidInput` for settings that make no sense.
pub fn open(bucket: &str) -> io::Result<Arc<dyn Bucket>> {
    open_with(bucket, std::env::vars())
}

/// Opens a bucket with the given variables instead of those of the environment.
///
/// # Errors
/// As [`open`].
pub fn open_with(
    bucket: &str,
    settings: impl IntoIterator<Item = (String, String)>,
) -> io::Result<Arc<dyn Bucket>> {
    Ok(Arc::new(S3Bucket { client: client(bucket, settings)?, runtime: runtime()? }))
}

/// The threads that all buckets of this process share.
fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let made = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    Ok(RUNTIME.get_or_init(|| made))
}

impl Bucket for S3Bucket {
    fn get(&self, key: &str, part: Part) -> io::Result<Option<Vec<u8>>> {
        let range = match part {
            Part::Whole => None,
            Part::From(offset) => Some(GetRange::Offset(offset)),
            Part::Range { length: 0, .. } | Part::Last(0) => return Ok(Some(Vec::new())),
            Part::Range { offset, length } => Some(GetRange::Bounded(offset..offset + length)),
            Part::Last(length) => Some(GetRange::Suffix(length)),
        };
        let options = GetOptions { range, ..GetOptions::default() };
        self.runtime.block_on(async {
            match self.client.get_opts(&name(key)?, options).await {
                Ok(found) => Ok(Some(found.bytes().await.map_err(failure)?.into())),
                Err(error) if is_absent(&error) => Ok(None),
                Err(error) => Err(failure(error)),
            }
        })
    }

    fn head(&self, key: &str) -> io::Result<Option<ObjectInfo>> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        self.runtime.block_on(async {
            match self.client.get_opts(&name(key)?, options).await {
                Ok(found) => {
                    let sha256 = found.attributes.get(&Attribute::Metadata(SHA256.into()));
                    let sha256 = sha256.map(|value| value.to_string());
                    Ok(Some(ObjectInfo { bytes: found.meta.size, sha256 }))
                }
                Err(error) if is_absent(&error) => Ok(None),
                Err(error) => Err(failure(error)),
            }
        })
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<(String, u64)>> {
        let prefix = name(prefix)?;
        let listed =
            self.client.list(Some(&prefix)).map_ok(|object| (object.location.to_string(), object.size));
        let mut found: Vec<_> = self.runtime.block_on(listed.try_collect()).map_err(failure)?;
        found.sort();
        Ok(found)
    }

    fn folders(&self, prefix: &str) -> io::Result<Vec<String>> {
        let listed = self.runtime.block_on(self.client.list_with_delimiter(Some(&name(prefix)?)));
        let prefixes = listed.map_err(failure)?.common_prefixes;
        let mut names: Vec<String> =
            prefixes.iter().filter_map(|path| path.filename()).map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    fn put(&self, key: &str, bytes: Vec<u8>, sha256: Option<&str>) -> io::Result<()> {
        let mut attributes = Attributes::new();
        if let Some(sha256) = sha256 {
            attributes.insert(Attribute::Metadata(SHA256.into()), sha256.to_owned().into());
        }
        let options = PutOptions { attributes, ..PutOptions::default() };
        let sent = self.runtime.block_on(self.client.put_opts(&name(key)?, bytes.into(), options));
        sent.map(|_| ()).map_err(failure)
    }

    fn put_files(
        &self,
        files: &[(String, PathBuf)],
        done: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> io::Result<()> {
        let sending = files.iter().map(|(key, path)| async move {
            send(&self.client, &name(key)?, path).await?;
            io::Result::Ok(key.as_str())
        });
        self.runtime.block_on(async {
            let mut sending = stream::iter(sending).buffer_unordered(FILES_AT_ONCE);
            while let Some(key) = sending.next().await {
                done(key?)?;
            }
            Ok(())
        })
    }

    fn delete(&self, keys: &[String]) -> io::Result<()> {
        let names = keys.iter().map(|key| name(key)).collect::<io::Result<Vec<_>>>()?;
        let names = stream::iter(names.into_iter().map(Ok)).boxed();
        self.runtime.block_on(async {
            let mut removed = self.client.delete_stream(names);
            while let Some(result) = removed.next().await {
                match result {
                    Err(error) if !is_absent(&error) => return Err(failure(error)),
                    _ => {}
                }
            }
            Ok(())
        })
    }
}

/// Sends one file, in parts where it is large.
async fn send(client: &AmazonS3, key: &Key, path: &Path) -> io::Result<()> {
    let unread = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut file = tokio::fs::File::open(path).await.map_err(unread)?;
    let bytes = file.metadata().await.map_err(unread)?.len();
    if bytes <= PART_BYTES as u64 {
        let mut content = Vec::new();
        file.read_to_end(&mut content).await.map_err(unread)?;
        return client.put(key, content.into()).await.map(|_| ()).map_err(failure);
    }
    let upload = client.put_multipart(key).await.map_err(failure)?;
    let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = match upload.wait_for_capacity(PARTS_AT_ONCE).await {
            Ok(()) => file.read(&mut buffer).await.map_err(unread),
            Err(error) => Err(failure(error)),
        };
        match read {
            Ok(0) => return upload.finish().await.map(|_| ()).map_err(failure),
            Ok(read) => upload.write(&buffer[..read]),
            Err(error) => {
                // Best effort: the error that matters is the first one.
                let _ = upload.abort().await;
                return Err(error);
            }
        }
    }
}

fn name(key: &str) -> io::Result<Key> {
    Key::parse(key).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}
