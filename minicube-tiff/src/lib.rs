//! The blocks of tiled and striped GeoTIFFs, BigTIFFs and COGs: where they lie, whether they are whole, and their pixels. Shared
//! by the downloader, which fetches blocks and proves them, and by Level 1, which decodes them.
//!
//! Read are unsigned numbers of 8 and 16 bits, without packing or by Deflate, LZW or Zstandard, with or without horizontal
//! differences. Everything else is for GDAL.

mod codec;
mod file;
mod header;
mod inflate;
mod sparse;

pub use codec::{
    check_block, decode_block, decode_into, decode_rows, empty_block, is_decodable, is_readable,
};
pub use file::TiffFile;
pub use header::{Header, Parsed, Tag, is_jpeg2000, parse};
pub use sparse::{Layout, directory, layout};

#[cfg(any(test, feature = "testing"))]
pub use header::plain_header;
