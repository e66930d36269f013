//! Cloud-optimised GeoTIFFs, byte by byte: classic little-endian TIFF with all directories in front, then the overviews
//! from the smallest to the largest, then the full resolution, all in deflate-compressed square blocks.

use std::io::Write;

use flate2::{Compression, write::ZlibEncoder};
use minicube::XY;
use rayon::prelude::*;

use crate::huffman;

/// What a pixel is made of.
pub(crate) trait Sample: Copy + Default + Sync + Send + 'static {
    const BITS: u16;
    /// TIFF SampleFormat: 1 unsigned integer, 3 floating point.
    const FORMAT: u16;
    /// TIFF Predictor: 1 none, 2 difference to the pixel on the left.
    const PREDICTOR: u16;
    /// Appends a row of a block as it is compressed.
    fn put_row(row: &[Self], out: &mut Vec<u8>);
    /// Compresses a block that has data; images of noise gain nothing from a search for repetitions.
    fn compress(raw: &[u8]) -> Vec<u8> {
        deflate(raw)
    }
}

impl Sample for u8 {
    const BITS: u16 = 8;
    const FORMAT: u16 = 1;
    const PREDICTOR: u16 = 1;
    fn put_row(row: &[Self], out: &mut Vec<u8>) {
        out.extend_from_slice(row);
    }
}

impl Sample for u16 {
    const BITS: u16 = 16;
    const FORMAT: u16 = 1;
    const PREDICTOR: u16 = 2;
    fn put_row(row: &[Self], out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + 2 * row.len(), 0);
        let (differences, _) = out[start..].as_chunks_mut::<2>();
        if let (Some(first), Some(pixel)) = (differences.first_mut(), row.first()) {
            *first = pixel.to_le_bytes();
        }
        for (difference, pair) in differences.iter_mut().skip(1).zip(row.windows(2)) {
            *difference = pair[1].wrapping_sub(pair[0]).to_le_bytes();
        }
    }
    fn compress(raw: &[u8]) -> Vec<u8> {
        huffman::compress(raw)
    }
}

impl Sample for f32 {
    const BITS: u16 = 32;
    const FORMAT: u16 = 3;
    const PREDICTOR: u16 = 1;
    fn put_row(row: &[Self], out: &mut Vec<u8>) {
        row.iter().for_each(|pixel| out.extend_from_slice(&pixel.to_le_bytes()));
    }
}

/// Coordinate system of the raster.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Crs {
    /// A UTM zone on WGS 84, by EPSG code.
    Utm(u16),
    /// Longitude and latitude on WGS 84.
    LonLat,
}

/// Size, place and block layout of a raster.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) block: usize,
    pub(crate) overview_block: usize,
    pub(crate) overviews: Vec<usize>,
    pub(crate) crs: Crs,
    pub(crate) origin: XY,
    pub(crate) pixel: f64,
    pub(crate) nodata: &'static str,
}

/// The pixels that are not nodata (0): a rectangle at `row`, `col`, `width` wide.
pub(crate) struct Window<'a, T> {
    pub(crate) row: usize,
    pub(crate) col: usize,
    pub(crate) width: usize,
    pub(crate) data: &'a [T],
}

/// One resolution level while the file is put together.
struct Level {
    factor: usize,
    width: usize,
    height: usize,
    block: usize,
    blocks: Vec<usize>,
}

/// The bytes of the file.
pub(crate) fn encode<T: Sample>(layout: &Layout, window: &Window<'_, T>) -> Vec<u8> {
    let level = |factor: usize, block: usize| {
        let (width, height) = (layout.width.div_ceil(factor), layout.height.div_ceil(factor));
        Level { factor, width, height, block, blocks: Vec::new() }
    };
    let mut levels = vec![level(1, layout.block)];
    levels.extend(layout.overviews.iter().map(|&factor| level(factor, layout.overview_block)));

    let jobs: Vec<(usize, usize, usize)> = levels
        .iter()
        .enumerate()
        .flat_map(|(index, level)| {
            let (rows, cols) = (level.height.div_ceil(level.block), level.width.div_ceil(level.block));
            (0..rows * cols).map(move |block| (index, block / cols, block % cols))
        })
        .collect();
    let empty: Vec<Vec<u8>> = [layout.block, layout.overview_block]
        .iter()
        .map(|&size| deflate(&vec![0u8; size * size * usize::from(T::BITS / 8)]))
        .collect();
    let compressed: Vec<Option<Vec<u8>>> = jobs
        .par_iter()
        .map(|&(index, row, col)| block_bytes(&levels[index], row, col, window).map(|raw| T::compress(&raw)))
        .collect();
    for (job, bytes) in jobs.iter().zip(&compressed) {
        let blank = &empty[usize::from(job.0 > 0)];
        levels[job.0].blocks.push(bytes.as_ref().map_or(blank.len(), Vec::len));
    }

    let mut file = directories(layout, &levels, T::BITS, T::FORMAT, T::PREDICTOR);
    for index in (0..levels.len()).rev() {
        for (job, bytes) in jobs.iter().zip(&compressed).filter(|(job, _)| job.0 == index) {
            file.extend_from_slice(bytes.as_ref().unwrap_or(&empty[usize::from(job.0 > 0)]));
        }
    }
    file
}

/// Uncompressed bytes of a block, `None` where the window does not reach it.
fn block_bytes<T: Sample>(level: &Level, row: usize, col: usize, window: &Window<'_, T>) -> Option<Vec<u8>> {
    let height = window.data.len() / window.width;
    let inside = |start: usize, len: usize, first: usize| {
        // Overview pixel i shows pixel i * factor.
        let begin = start.div_ceil(level.factor).max(first);
        let end = (start + len).div_ceil(level.factor).min(first + level.block);
        (begin < end).then_some((begin, end))
    };
    let (top, bottom) = inside(window.row, height, row * level.block)?;
    let (left, right) = inside(window.col, window.width, col * level.block)?;
    let mut raw = Vec::with_capacity(level.block * level.block * usize::from(T::BITS / 8));
    let mut line = vec![T::default(); level.block];
    let blank = line.clone();
    for y in row * level.block..(row + 1) * level.block {
        if !(top..bottom).contains(&y) {
            T::put_row(&blank, &mut raw);
            continue;
        }
        let source = &window.data[(y * level.factor - window.row) * window.width..][..window.width];
        let first = left * level.factor - window.col;
        let target = &mut line[left - col * level.block..right - col * level.block];
        for (pixel, value) in target.iter_mut().zip(source[first..].iter().step_by(level.factor)) {
            *pixel = *value;
        }
        T::put_row(&line, &mut raw);
    }
    Some(raw)
}

fn deflate(raw: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(raw.len() / 4), Compression::new(4));
    match encoder.write_all(raw).and_then(|()| encoder.finish()) {
        Ok(bytes) => bytes,
        Err(error) => unreachable!("writing to memory failed: {error}"),
    }
}

/// Header and directories; block offsets follow from the block sizes in `levels`.
fn directories(layout: &Layout, levels: &[Level], bits: u16, format: u16, predictor: u16) -> Vec<u8> {
    let entries = |data_start: &dyn Fn(usize) -> u32| -> Vec<Directory> {
        levels
            .iter()
            .enumerate()
            .map(|(index, level)| directory(layout, level, data_start(index), bits, format, predictor))
            .collect()
    };
    let header_len = 8 + entries(&|_| 0).iter().map(Directory::len).sum::<usize>();
    let starts = |index: usize| {
        let before: usize = levels[index + 1..].iter().flat_map(|level| &level.blocks).sum();
        (header_len + before) as u32
    };
    let mut file = b"II\x2a\x00\x08\x00\x00\x00".to_vec();
    let all = entries(&starts);
    for (index, directory) in all.iter().enumerate() {
        directory.append(&mut file, index + 1 == all.len());
    }
    file
}

fn directory(
    layout: &Layout,
    level: &Level,
    start: u32,
    bits: u16,
    format: u16,
    predictor: u16,
) -> Directory {
    let mut next = start;
    let offsets: Vec<u32> = level
        .blocks
        .iter()
        .map(|len| {
            next += *len as u32;
            next - *len as u32
        })
        .collect();
    let counts: Vec<u32> = level.blocks.iter().map(|len| *len as u32).collect();
    let mut directory = Directory::default();
    if level.factor > 1 {
        directory.longs(254, &[1]);
    }
    directory.shorts(256, &[level.width as u16]);
    directory.shorts(257, &[level.height as u16]);
    directory.shorts(258, &[bits]);
    directory.shorts(259, &[8]);
    directory.shorts(262, &[1]);
    directory.shorts(277, &[1]);
    directory.shorts(284, &[1]);
    directory.shorts(317, &[predictor]);
    directory.shorts(322, &[level.block as u16]);
    directory.shorts(323, &[level.block as u16]);
    directory.longs(324, &offsets);
    directory.longs(325, &counts);
    directory.shorts(339, &[format]);
    if level.factor == 1 {
        directory.doubles(33550, &[layout.pixel, layout.pixel, 0.0]);
        directory.doubles(33922, &[0.0, 0.0, 0.0, layout.origin.x, layout.origin.y, 0.0]);
        let (keys, words) = geo_keys(layout.crs);
        directory.shorts(34735, &keys);
        directory.text(34737, &words);
        directory.text(
            42112,
            "<GDALMetadata>\n  <Item name=\"OVR_RESAMPLING_ALG\">NEAREST</Item>\n</GDALMetadata>\n",
        );
    }
    directory.text(42113, layout.nodata);
    directory
}

/// GeoKeyDirectory and GeoAsciiParams, as GDAL writes them.
fn geo_keys(crs: Crs) -> (Vec<u16>, String) {
    const ASCII: u16 = 34737;
    match crs {
        Crs::Utm(epsg) => {
            let hemisphere = if epsg >= 32700 { 'S' } else { 'N' };
            let name = format!("WGS 84 / UTM zone {}{hemisphere}|", epsg % 100);
            let len = name.len() as u16;
            #[rustfmt::skip]
            let keys = vec![
                1, 1, 0, 7,
                1024, 0, 1, 1,
                1025, 0, 1, 1,
                1026, ASCII, len, 0,
                2049, ASCII, 7, len,
                2054, 0, 1, 9102,
                3072, 0, 1, epsg,
                3076, 0, 1, 9001,
            ];
            (keys, name + "WGS 84|")
        }
        Crs::LonLat => {
            #[rustfmt::skip]
            let keys = vec![
                1, 1, 0, 5,
                1024, 0, 1, 2,
                1025, 0, 1, 1,
                2048, 0, 1, 4326,
                2049, ASCII, 7, 0,
                2054, 0, 1, 9102,
            ];
            (keys, "WGS 84|".to_owned())
        }
    }
}

/// An image file directory; entries must be added in ascending order of tag.
#[derive(Default)]
struct Directory {
    entries: Vec<(u16, u16, u32, Vec<u8>)>,
}

impl Directory {
    fn shorts(&mut self, tag: u16, values: &[u16]) {
        self.entries.push((
            tag,
            3,
            values.len() as u32,
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ));
    }

    fn longs(&mut self, tag: u16, values: &[u32]) {
        self.entries.push((
            tag,
            4,
            values.len() as u32,
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ));
    }

    fn doubles(&mut self, tag: u16, values: &[f64]) {
        self.entries.push((
            tag,
            12,
            values.len() as u32,
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ));
    }

    fn text(&mut self, tag: u16, text: &str) {
        let bytes: Vec<u8> = text.bytes().chain([0]).collect();
        self.entries.push((tag, 2, bytes.len() as u32, bytes));
    }

    fn len(&self) -> usize {
        let values =
            self.entries.iter().map(|e| e.3.len()).filter(|len| *len > 4).map(|len| len.next_multiple_of(2));
        2 + 12 * self.entries.len() + 4 + values.sum::<usize>()
    }

    /// Appends the directory and its values to a file that ends where the directory begins.
    fn append(&self, file: &mut Vec<u8>, last: bool) {
        let next = if last { 0 } else { (file.len() + self.len()) as u32 };
        let mut value_at = (file.len() + 2 + 12 * self.entries.len() + 4) as u32;
        let mut values = Vec::new();
        file.extend((self.entries.len() as u16).to_le_bytes());
        for (tag, kind, count, bytes) in &self.entries {
            file.extend(tag.to_le_bytes());
            file.extend(kind.to_le_bytes());
            file.extend(count.to_le_bytes());
            if bytes.len() <= 4 {
                let mut inline = bytes.clone();
                inline.resize(4, 0);
                file.extend(inline);
            } else {
                file.extend(value_at.to_le_bytes());
                values.extend_from_slice(bytes);
                values.resize(values.len().next_multiple_of(2), 0);
                value_at += bytes.len().next_multiple_of(2) as u32;
            }
        }
        file.extend(next.to_le_bytes());
        file.extend(values);
    }
}
