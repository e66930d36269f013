//! A TIFF on the disk, read block by block.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::{Header, Parsed, parse};

/// An open TIFF.
#[derive(Debug)]
pub struct TiffFile {
    /// Its directory.
    pub header: Header,
    /// Its length, bytes.
    pub len: u64,
    file: File,
}

impl TiffFile {
    /// `None` if there is no such file, or its directory is not read here.
    #[must_use]
    pub fn open(path: &Path) -> Option<TiffFile> {
        let file = File::open(path).ok()?;
        let len = file.metadata().ok()?.len();
        let mut size = len.min(64 << 10);
        loop {
            let mut prefix = vec![0; usize::try_from(size).ok()?];
            file.read_exact_at(&mut prefix, 0).ok()?;
            match parse(&prefix).ok()? {
                Parsed::Header(header) => return Some(TiffFile { header: *header, len, file }),
                Parsed::NeedUpTo(end) if end <= len && end > size => size = end,
                Parsed::NeedUpTo(_) => return None,
            }
        }
    }

    /// The packed bytes of a block; `None` if it is not in the file.
    #[must_use]
    pub fn block(&self, block: usize) -> Option<Vec<u8>> {
        let (at, len) = self.header.span(block)?;
        if at.checked_add(len)? > self.len {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        self.file.read_exact_at(&mut bytes, at).ok()?;
        Some(bytes)
    }

    /// Whether blocks of `other` fit into this file.
    #[must_use]
    pub fn same_grid(&self, other: &Header) -> bool {
        let grid = |h: &Header| {
            let sizes = (h.width, h.height, h.block_width, h.block_height, h.samples, h.planes, h.bits);
            (sizes, h.compression, h.predictor, h.big_endian, h.origin, h.pixel, h.epsg)
        };
        grid(&self.header) == grid(other)
    }
}
