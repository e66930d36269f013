//! TIFF as far as a downloader needs it: where the blocks of the full-resolution image are, how they are packed, and
//! a file that holds only some of them. Pixels are never re-encoded.

mod blocks;
mod codec;
mod header;
mod sparse;

pub(crate) use blocks::{Span, blocks_under, coalesce, wanted_area};
pub(crate) use codec::{check_block, decode_bytes, empty_block};
pub(crate) use header::{Header, Parsed, parse};
pub(crate) use sparse::{Layout, layout};
