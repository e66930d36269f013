//! Cube stores: Zarr v3 groups that are laid out first, filled region by region, checked and sealed.

mod check;
mod checksums;
mod codecs;
mod older;
mod parts;
mod read;
mod remote;
mod shard;
mod spec;
mod upload;
mod write;

pub use check::{Violation, check};
pub use checksums::{check_files, content_hash};
pub use codecs::{CHUNK_DATES, CHUNK_PX};
pub use older::OlderStore;
pub use read::Cube;
pub use spec::{CubeSpec, DType, Element, VarSpec, add_crs};
pub use write::{CubeWriter, finish_sealing, is_sealed};
