//! A store in a bucket, as the Zarr library reads it: by range, so that of a shard only its index and the chunks that are
//! asked for are sent.

use std::sync::Arc;

use zarrs::storage::byte_range::{ByteRange, ByteRangeIterator};
use zarrs::storage::{Bytes, MaybeBytes, MaybeBytesIterator, ReadableStorageTraits, StorageError, StoreKey};

use crate::objects::{Bucket, Part, join_key};

/// Objects below a prefix.
pub(super) struct RemoteStore {
    pub(super) bucket: Arc<dyn Bucket>,
    pub(super) prefix: String,
}

impl RemoteStore {
    fn part(&self, key: &StoreKey, part: Part) -> Result<MaybeBytes, StorageError> {
        Ok(self.bucket.get(&join_key(&self.prefix, key.as_str()), part)?.map(Bytes::from))
    }
}

impl ReadableStorageTraits for RemoteStore {
    fn get(&self, key: &StoreKey) -> Result<MaybeBytes, StorageError> {
        self.part(key, Part::Whole)
    }

    fn get_partial_many<'a>(
        &'a self,
        key: &StoreKey,
        byte_ranges: ByteRangeIterator<'a>,
    ) -> Result<MaybeBytesIterator<'a>, StorageError> {
        let mut parts = Vec::new();
        for range in byte_ranges {
            let part = match range {
                ByteRange::FromStart(offset, None) => Part::From(offset),
                ByteRange::FromStart(offset, Some(length)) => Part::Range { offset, length },
                ByteRange::Suffix(length) => Part::Last(length),
            };
            match self.part(key, part)? {
                Some(bytes) => parts.push(Ok(bytes)),
                None => return Ok(None),
            }
        }
        Ok(Some(Box::new(parts.into_iter())))
    }

    fn size_key(&self, key: &StoreKey) -> Result<Option<u64>, StorageError> {
        Ok(self.bucket.head(&join_key(&self.prefix, key.as_str()))?.map(|info| info.bytes))
    }

    fn supports_get_partial(&self) -> bool {
        true
    }
}
