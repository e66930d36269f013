//! TIFF as far as a downloader needs it: where the blocks of the full-resolution image are, how they are packed, and
//! a file that holds only some of them. Pixels are never re-encoded.

mod blocks;
mod codec;
mod header;
mod inflate;
mod sparse;

pub(crate) use blocks::{Span, blocks_under, coalesce, wanted_area};
pub(crate) use codec::{check_block, decode_block, decode_rows, empty_block, is_readable};
pub(crate) use header::{Header, Parsed, is_jpeg2000, parse};
pub(crate) use sparse::{Layout, directory, layout};

#[cfg(test)]
pub(crate) use header::tests::plain_header;
