//! A sparse file that is there from an earlier run.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::tiff::{Header, Parsed, parse};

/// An open sparse file.
pub(crate) struct Standing {
    pub(crate) header: Header,
    pub(crate) len: u64,
    file: File,
}

impl Standing {
    /// `None` if there is no such file, or it is no sparse file of ours.
    pub(crate) fn open(path: &Path) -> Option<Standing> {
        let file = File::open(path).ok()?;
        let len = file.metadata().ok()?.len();
        let mut size = len.min(64 << 10);
        loop {
            let mut prefix = vec![0; usize::try_from(size).ok()?];
            file.read_exact_at(&mut prefix, 0).ok()?;
            match parse(&prefix).ok()? {
                Parsed::Header(header) => return Some(Standing { header: *header, len, file }),
                Parsed::NeedUpTo(end) if end <= len && end > size => size = end,
                Parsed::NeedUpTo(_) => return None,
            }
        }
    }

    /// The packed bytes of a block; `None` if it is not in the file.
    pub(crate) fn block(&self, block: usize) -> Option<Vec<u8>> {
        let (at, len) = self.header.span(block)?;
        if at.checked_add(len)? > self.len {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        self.file.read_exact_at(&mut bytes, at).ok()?;
        Some(bytes)
    }

    /// Whether blocks of `other` fit into this file.
    pub(crate) fn same_grid(&self, other: &Header) -> bool {
        let grid = |h: &Header| {
            let sizes = (h.width, h.height, h.block_width, h.block_height, h.samples, h.planes, h.bits);
            (sizes, h.compression, h.predictor, h.big_endian, h.origin, h.pixel, h.epsg)
        };
        grid(&self.header) == grid(other)
    }
}
