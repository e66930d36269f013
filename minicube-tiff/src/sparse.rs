//! A TIFF that holds only some blocks of another one. Its layout follows from the directory of the original and the
//! set of blocks alone, so that the same blocks make the same file in whatever order they arrive.

use std::collections::BTreeMap;

use crate::Header;
use crate::header::{STRIP_COUNTS, STRIP_OFFSETS, SUB_IFDS, TILE_COUNTS, TILE_OFFSETS, Tag, kind_size};

const LONG: u16 = 4;
const LONG8: u16 = 16;

/// Where everything stands in a sparse file.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// File header and directory: the bytes before the first block.
    pub prefix: Vec<u8>,
    /// Offset and length of each kept block.
    pub places: BTreeMap<usize, (u64, u64)>,
    /// Length of the file.
    pub len: u64,
}

/// Lays out a file with the tags of `header` and the blocks of `kept` (block and packed length) in row-major order;
/// all other blocks have offset 0 and length 0.
#[must_use]
pub fn layout(header: &Header, kept: &BTreeMap<usize, u64>) -> Layout {
    let blocks = header.offsets.len();
    let mut at = directory(header, &vec![0; blocks], &vec![0; blocks]).len() as u64;
    let mut places = BTreeMap::new();
    for (&block, &len) in kept {
        places.insert(block, (at, len));
        at += len;
    }
    let column = |part: fn(&(u64, u64)) -> u64| -> Vec<u64> {
        (0..blocks).map(|block| places.get(&block).map_or(0, part)).collect()
    };
    let prefix = directory(header, &column(|place| place.0), &column(|place| place.1));
    Layout { prefix, places, len: at }
}

/// A file header and directory with the tags of `header` and these places of blocks, and nothing behind it.
#[must_use]
pub fn directory(header: &Header, offsets: &[u64], counts: &[u64]) -> Vec<u8> {
    let word = if header.big_tiff { LONG8 } else { LONG };
    let ids = if header.strips { [STRIP_OFFSETS, STRIP_COUNTS] } else { [TILE_OFFSETS, TILE_COUNTS] };
    let own = header.tags.iter().filter(|tag| !ids.contains(&tag.id) && tag.id != SUB_IFDS);
    let mut tags: Vec<Tag> = own.cloned().collect();
    for (id, values) in ids.into_iter().zip([offsets, counts]) {
        let value = values.iter().flat_map(|&value| bytes_of(header, word, value)).collect();
        tags.push(Tag { id, kind: word, count: values.len() as u64, value });
    }
    tags.sort_by_key(|tag| tag.id);
    write(header, &tags)
}

/// File header, directory, and behind it the values that do not fit into their entry.
fn write(header: &Header, tags: &[Tag]) -> Vec<u8> {
    let (word, word_size, start) = if header.big_tiff { (LONG8, 8, 16) } else { (LONG, 4, 8) };
    let put = |out: &mut Vec<u8>, kind: u16, value: u64| out.extend(bytes_of(header, kind, value));
    let mut out = Vec::new();
    out.extend(if header.big_endian { *b"MM" } else { *b"II" });
    if header.big_tiff {
        put(&mut out, 3, 43);
        put(&mut out, 3, 8);
        put(&mut out, 3, 0);
    } else {
        put(&mut out, 3, 42);
    }
    put(&mut out, word, start);
    put(&mut out, if header.big_tiff { LONG8 } else { 3 }, tags.len() as u64);
    let entry = 4 + 2 * word_size;
    let mut free = out.len() + tags.len() * entry + word_size;
    let mut values = Vec::new();
    for tag in tags {
        put(&mut out, 3, u64::from(tag.id));
        put(&mut out, 3, u64::from(tag.kind));
        put(&mut out, word, tag.count);
        if tag.value.len() <= word_size {
            out.extend(&tag.value);
            out.resize(out.len() + word_size - tag.value.len(), 0);
        } else {
            put(&mut out, word, free as u64);
            values.extend(&tag.value);
            // Values start on even addresses.
            values.resize(values.len().next_multiple_of(8), 0);
            free += tag.value.len().next_multiple_of(8);
        }
    }
    put(&mut out, word, 0);
    out.extend(values);
    out
}

fn bytes_of(header: &Header, kind: u16, value: u64) -> Vec<u8> {
    let size = kind_size(kind) as usize;
    if header.big_endian {
        value.to_be_bytes()[8 - size..].to_vec()
    } else {
        value.to_le_bytes()[..size].to_vec()
    }
}
