//! A tiny GeoTIFF writer and reader of the tests' own, so that the crate is not checked against itself.

use std::io::{Read, Write};

use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

/// What to write.
#[derive(Clone, Debug)]
pub struct Image {
    pub size: usize,
    pub block: usize,
    pub bits: u16,
    pub pixel: f64,
    pub origin: (f64, f64),
    pub epsg: u16,
    pub big_endian: bool,
    pub big_tiff: bool,
    pub predictor: u16,
    /// Blocks that the file leaves out.
    pub absent: Vec<usize>,
    /// 8: deflate, 5: LZW, 50000: Zstandard, 1: none.
    pub compression: u16,
    /// Strips of `block` rows instead of blocks.
    pub strips: bool,
    /// Bands, all the same, in separate planes.
    pub planes: usize,
}

impl Image {
    /// A whole Sentinel-2 tile of `size` pixels on an edge.
    pub fn of_tile(tile: &minicube::Tile, size: usize, block: usize, bits: u16) -> Image {
        let (pixel, origin) = (minicube::TILE_SIZE_M / size as f64, (tile.origin.x, tile.origin.y));
        let epsg = tile.epsg.0 as u16;
        let (big_endian, big_tiff, predictor, absent) = (false, false, 1, vec![]);
        let (compression, strips, planes) = (8, false, 1);
        Image {
            size,
            block,
            bits,
            pixel,
            origin,
            epsg,
            big_endian,
            big_tiff,
            predictor,
            absent,
            compression,
            strips,
            planes,
        }
    }

    fn number(&self, value: u64, size: usize) -> Vec<u8> {
        if self.big_endian {
            value.to_be_bytes()[8 - size..].to_vec()
        } else {
            value.to_le_bytes()[..size].to_vec()
        }
    }

    /// The file, its pixels by (row, column), blocks in row-major order at the end.
    pub fn write(&self, pixel: impl Fn(usize, usize) -> u16) -> Vec<u8> {
        let down = self.size.div_ceil(self.block);
        let across = if self.strips { 1 } else { down };
        let plane: Vec<Vec<u8>> = (0..across * down)
            .map(|block| if self.absent.contains(&block) { vec![] } else { self.pack(block, across, &pixel) })
            .collect();
        let blocks = vec![plane; self.planes].concat();
        let mut tags: Vec<(u16, u16, Vec<u8>)> = Vec::new();
        let mut short = |id: u16, value: usize| tags.push((id, 3, self.number(value as u64, 2)));
        for (id, value) in [
            (256, self.size),
            (257, self.size),
            (258, usize::from(self.bits)),
            (259, self.compression.into()),
            (262, 1),
        ] {
            short(id, value);
        }
        short(277, self.planes);
        let (offsets_id, lengths_id) = if self.strips { (273, 279) } else { (324, 325) };
        if self.strips {
            short(278, self.block);
        }
        short(284, if self.planes > 1 { 2 } else { 1 });
        short(317, self.predictor.into());
        if !self.strips {
            short(322, self.block);
            short(323, self.block);
        }
        let floats =
            |values: &[f64]| values.iter().flat_map(|v| self.number(v.to_bits(), 8)).collect::<Vec<u8>>();
        let (word, word_kind) = if self.big_tiff { (8, 16) } else { (4, 4) };
        tags.push((offsets_id, word_kind, vec![0; word * blocks.len()]));
        let lengths = blocks.iter().flat_map(|b| self.number(b.len() as u64, word)).collect();
        tags.push((lengths_id, word_kind, lengths));
        tags.push((33550, 12, floats(&[self.pixel, self.pixel, 0.0])));
        tags.push((33922, 12, floats(&[0.0, 0.0, 0.0, self.origin.0, self.origin.1, 0.0])));
        let keys = [1, 1, 0, 2, 1025, 0, 1, 1, 3072, 0, 1, u64::from(self.epsg)];
        tags.push((34735, 3, keys.iter().flat_map(|v| self.number(*v, 2)).collect()));
        tags.push((42113, 2, b"0\0".to_vec()));
        tags.sort_by_key(|tag| tag.0);
        let mut at = self.directory(&tags).len() as u64;
        let offsets = blocks.iter().flat_map(|block| {
            let offset = if block.is_empty() { 0 } else { at };
            at += block.len() as u64;
            self.number(offset, word)
        });
        let offsets: Vec<u8> = offsets.collect();
        tags.iter_mut().filter(|tag| tag.0 == offsets_id).for_each(|tag| tag.2.clone_from(&offsets));
        [self.directory(&tags), blocks.concat()].concat()
    }

    fn directory(&self, tags: &[(u16, u16, Vec<u8>)]) -> Vec<u8> {
        let word = if self.big_tiff { 8 } else { 4 };
        let mut out = if self.big_endian { b"MM".to_vec() } else { b"II".to_vec() };
        if self.big_tiff {
            for value in [43, 8, 0] {
                out.extend(self.number(value, 2));
            }
            out.extend(self.number(16, 8));
            out.extend(self.number(tags.len() as u64, 8));
        } else {
            out.extend(self.number(42, 2));
            out.extend(self.number(8, 4));
            out.extend(self.number(tags.len() as u64, 2));
        }
        let mut free = out.len() + tags.len() * (4 + 2 * word) + word;
        let mut values: Vec<u8> = Vec::new();
        for (id, kind, value) in tags {
            let size = match kind {
                3 => 2,
                4 => 4,
                12 | 16 => 8,
                _ => 1,
            };
            out.extend(self.number(u64::from(*id), 2));
            out.extend(self.number(u64::from(*kind), 2));
            out.extend(self.number((value.len() / size) as u64, word));
            if value.len() <= word {
                out.extend(value);
                out.resize(out.len() + word - value.len(), 0);
            } else {
                out.extend(self.number(free as u64, word));
                values.extend(value);
                free += value.len();
            }
        }
        out.extend(self.number(0, word));
        out.extend(values);
        out
    }

    fn pack(&self, block: usize, across: usize, pixel: &impl Fn(usize, usize) -> u16) -> Vec<u8> {
        let (top, left) = (block / across * self.block, block % across * self.block);
        let width = if self.strips { self.size } else { self.block };
        let bottom = if self.strips { (top + self.block).min(self.size) } else { top + self.block };
        let mut pixels = Vec::new();
        for row in top..bottom {
            let mut before = 0;
            for col in left..left + width {
                let value = if row < self.size && col < self.size { pixel(row, col) } else { 0 };
                let stored = if self.predictor == 2 { value.wrapping_sub(before) } else { value };
                before = value;
                let stored = u64::from(stored) & ((1 << self.bits) - 1);
                pixels.extend(self.number(stored, usize::from(self.bits / 8)));
            }
        }
        match self.compression {
            1 => pixels,
            5 => weezl::encode::Encoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8)
                .encode(&pixels)
                .unwrap(),
            50000 => zstd::bulk::compress(&pixels, 1).unwrap(),
            _ => {
                let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::new(1));
                encoder.write_all(&pixels).unwrap();
                encoder.finish().unwrap()
            }
        }
    }
}

/// Offset and length of every block, by the file's own tags. Little-endian classic TIFF only.
pub fn blocks(file: &[u8]) -> Vec<(usize, usize)> {
    assert_eq!(&file[..4], b"II*\0");
    let long = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let short = |at: usize| usize::from(u16::from_le_bytes([file[at], file[at + 1]]));
    let start = long(4);
    let values = |id: usize| -> Vec<usize> {
        let entry = (0..short(start)).map(|i| start + 2 + 12 * i).find(|&at| short(at) == id).unwrap();
        let (size, count) = (if short(entry + 2) == 3 { 2 } else { 4 }, long(entry + 4));
        let at = if size * count <= 4 { entry + 8 } else { long(entry + 8) };
        (0..count).map(|i| if size == 2 { short(at + 2 * i) } else { long(at + 4 * i) }).collect()
    };
    values(324).into_iter().zip(values(325)).collect()
}

/// Unpacked bytes of a block.
pub fn unpack(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    ZlibDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    bytes
}
