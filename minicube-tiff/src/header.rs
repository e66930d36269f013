//! The first directory of a TIFF or BigTIFF, parsed from the file's first bytes. Strips are blocks as wide as the image,
//! and bands in separate planes are blocks behind each other: what follows needs to know neither.

use minicube::XY;

/// More blocks or tag bytes than this are taken for an attack or a damaged file.
const MAX_TAG_BYTES: u64 = 64 << 20;
const MAX_EDGE: u64 = 1 << 22;
const MAX_BANDS: u64 = 1 << 12;

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const BITS: u16 = 258;
const COMPRESSION: u16 = 259;
pub(crate) const STRIP_OFFSETS: u16 = 273;
const SAMPLES: u16 = 277;
const ROWS_PER_STRIP: u16 = 278;
pub(crate) const STRIP_COUNTS: u16 = 279;
const PLANAR: u16 = 284;
const PREDICTOR: u16 = 317;
const SAMPLE_FORMAT: u16 = 339;
const TILE_WIDTH: u16 = 322;
const TILE_HEIGHT: u16 = 323;
pub(crate) const TILE_OFFSETS: u16 = 324;
pub(crate) const TILE_COUNTS: u16 = 325;
pub(crate) const SUB_IFDS: u16 = 330;
const PIXEL_SCALE: u16 = 33550;
const TIE_POINTS: u16 = 33922;
const TRANSFORM: u16 = 34264;
const GEO_KEYS: u16 = 34735;
const NODATA: u16 = 42113;

/// One entry of the directory, its value as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Tag {
    /// What it says.
    pub id: u16,
    /// Type of its values.
    pub kind: u16,
    /// Number of its values.
    pub count: u64,
    /// Its values in the file's byte order.
    pub value: Vec<u8>,
}

/// The full-resolution image of a TIFF.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// Whether numbers are stored with the highest byte first.
    pub big_endian: bool,
    /// Whether offsets have 64 bits.
    pub big_tiff: bool,
    /// The directory.
    pub tags: Vec<Tag>,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Columns of a block.
    pub block_width: usize,
    /// Rows of a block.
    pub block_height: usize,
    /// Bands of a block.
    pub samples: usize,
    /// Images of one band each behind each other, where bands are in separate planes; else 1.
    pub planes: usize,
    /// Whether the blocks are strips, of which the last one may be lower.
    pub strips: bool,
    /// Bits of a sample.
    pub bits: usize,
    /// Whether samples are unsigned whole numbers.
    pub unsigned: bool,
    /// TIFF's number of the packing.
    pub compression: u16,
    /// 1 none, 2 differences to the left.
    pub predictor: u16,
    /// Upper-left corner and pixel size (both positive), CRS units.
    pub origin: XY,
    /// Width and height of a pixel.
    pub pixel: XY,
    /// Reference system.
    pub epsg: Option<u32>,
    /// The number that stands for no data (GDAL's tag).
    pub nodata: Option<f64>,
    /// By block, row-major, plane after plane; 0 where the block is absent.
    pub offsets: Vec<u64>,
    /// Packed lengths of the blocks.
    pub counts: Vec<u64>,
}

/// Whether a file is JPEG 2000, by its first bytes.
pub fn is_jpeg2000(prefix: &[u8]) -> bool {
    const BOX: &[u8] = b"\x00\x00\x00\x0cjP  \r\n\x87\n";
    const CODESTREAM: &[u8] = b"\xff\x4f\xff\x51";
    prefix.starts_with(BOX) || prefix.starts_with(CODESTREAM)
}

/// What the given first bytes were enough for.
#[derive(Debug, PartialEq)]
pub enum Parsed {
    /// The whole directory.
    Header(Box<Header>),
    /// The file must be read at least up to this byte.
    NeedUpTo(u64),
}

impl Header {
    /// Blocks side by side.
    #[must_use]
    pub fn blocks_across(&self) -> usize {
        self.width.div_ceil(self.block_width)
    }

    /// Blocks above each other.
    #[must_use]
    pub fn blocks_down(&self) -> usize {
        self.height.div_ceil(self.block_height)
    }

    /// Blocks of one plane.
    pub fn blocks_a_plane(&self) -> usize {
        self.blocks_across() * self.blocks_down()
    }

    /// Size of a block when unpacked, bytes.
    pub fn block_bytes(&self, block: usize) -> usize {
        self.block_rows(block) * self.row_bytes()
    }

    /// Size of a row of a block when unpacked, bytes.
    pub fn row_bytes(&self) -> usize {
        self.block_width * self.samples * self.bits / 8
    }

    fn block_rows(&self, block: usize) -> usize {
        let top = self.place(block).0 % self.blocks_down() * self.block_height;
        if self.strips { self.block_height.min(self.height - top) } else { self.block_height }
    }

    /// Row and column of a block; the rows of further planes follow those of the first.
    pub fn place(&self, block: usize) -> (usize, usize) {
        (block / self.blocks_across(), block % self.blocks_across())
    }

    /// The block at a row and column, if there is one.
    pub fn block_at(&self, row: i32, col: i32) -> Option<usize> {
        let (row, col) = (usize::try_from(row).ok()?, usize::try_from(col).ok()?);
        let block = row * self.blocks_across() + col;
        (col < self.blocks_across() && block < self.offsets.len()).then_some(block)
    }

    /// Where a block lies in the file, if it is there.
    pub fn span(&self, block: usize) -> Option<(u64, u64)> {
        (self.offsets[block] > 0 && self.counts[block] > 0).then(|| (self.offsets[block], self.counts[block]))
    }
}

/// Parses the directory of the full-resolution image from the first bytes of a file.
///
/// # Errors
/// A reason where the file is no tiled, north-up TIFF, or its numbers cannot be true.
pub fn parse(prefix: &[u8]) -> Result<Parsed, String> {
    match Reader::open(prefix).and_then(|(reader, at)| read_header(&reader, at)) {
        Ok(header) => Ok(Parsed::Header(Box::new(header))),
        Err(Stop::Need(end)) => Ok(Parsed::NeedUpTo(end)),
        Err(Stop::Bad(reason)) => Err(reason),
    }
}

enum Stop {
    Need(u64),
    Bad(String),
}

fn bad<T>(reason: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Bad(reason.into()))
}

struct Reader<'a> {
    bytes: &'a [u8],
    big_endian: bool,
    big_tiff: bool,
}

impl<'a> Reader<'a> {
    fn open(bytes: &'a [u8]) -> Result<(Reader<'a>, u64), Stop> {
        if bytes.len() < 16 {
            return Err(Stop::Need(16));
        }
        let big_endian = match &bytes[..2] {
            b"II" => false,
            b"MM" => true,
            found => {
                return bad(format!(
                    "not a TIFF: expected II or MM, found {:?}",
                    String::from_utf8_lossy(found)
                ));
            }
        };
        let mut reader = Reader { bytes, big_endian, big_tiff: false };
        match reader.uint(2, 2)? {
            42 => {
                let at = reader.uint(4, 4)?;
                Ok((reader, at))
            }
            43 => {
                reader.big_tiff = true;
                let at = reader.uint(8, 8)?;
                Ok((reader, at))
            }
            found => bad(format!("not a TIFF: expected version 42 or 43, found {found}")),
        }
    }

    fn slice(&self, at: u64, len: u64) -> Result<&'a [u8], Stop> {
        let Some(end) = at.checked_add(len) else { return bad("an offset is out of range") };
        match (usize::try_from(at), usize::try_from(end)) {
            (Ok(from), Ok(to)) if to <= self.bytes.len() => Ok(&self.bytes[from..to]),
            _ => Err(Stop::Need(end)),
        }
    }

    /// Unsigned number of 1, 2, 4 or 8 bytes.
    fn uint(&self, at: u64, size: u64) -> Result<u64, Stop> {
        Ok(number(self.slice(at, size)?, self.big_endian))
    }

    fn tags(&self, at: u64) -> Result<Vec<Tag>, Stop> {
        let (count_size, entry_size, word) = if self.big_tiff { (8, 20, 8) } else { (2, 12, 4) };
        let count = self.uint(at, count_size)?;
        if count > 1024 {
            return bad(format!("the directory claims {count} tags"));
        }
        // One request for the whole directory rather than one a tag.
        self.slice(at, count_size + count * entry_size)?;
        let mut tags = Vec::new();
        let mut need = 0;
        for i in 0..count {
            let entry = at + count_size + i * entry_size;
            let (id, kind) = (self.uint(entry, 2)? as u16, self.uint(entry + 2, 2)? as u16);
            let values = self.uint(entry + 4, word)?;
            let Some(size) = values.checked_mul(kind_size(kind)).filter(|size| *size <= MAX_TAG_BYTES) else {
                return bad(format!("tag {id} claims {values} values"));
            };
            let place = entry + 4 + word;
            let from = if size <= word { place } else { self.uint(place, word)? };
            match self.slice(from, size) {
                Ok(value) => tags.push(Tag { id, kind, count: values, value: value.to_vec() }),
                Err(Stop::Need(end)) => need = need.max(end),
                Err(stop) => return Err(stop),
            }
        }
        if need > 0 {
            return Err(Stop::Need(need));
        }
        tags.sort_by_key(|tag| tag.id);
        Ok(tags)
    }
}

/// Size of a value of a TIFF field type, bytes.
pub(crate) fn kind_size(kind: u16) -> u64 {
    match kind {
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => 1,
    }
}

fn number(bytes: &[u8], big_endian: bool) -> u64 {
    let add = |sum: u64, byte: &u8| (sum << 8) | u64::from(*byte);
    if big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) }
}

fn read_header(reader: &Reader<'_>, at: u64) -> Result<Header, Stop> {
    let tags = reader.tags(at)?;
    let find = |id: u16| tags.iter().find(|tag| tag.id == id);
    let uints = |id: u16| -> Vec<u64> {
        find(id).map_or(Vec::new(), |tag| {
            let size = kind_size(tag.kind) as usize;
            tag.value.chunks_exact(size).map(|bytes| number(bytes, reader.big_endian)).collect()
        })
    };
    let floats = |id: u16| -> Vec<f64> {
        find(id).filter(|tag| tag.kind == 12).map_or(Vec::new(), |tag| {
            tag.value.chunks_exact(8).map(|bytes| f64::from_bits(number(bytes, reader.big_endian))).collect()
        })
    };
    let first = |id: u16, default: u64| uints(id).first().copied().unwrap_or(default);
    let edge = |id: u16, name: &str| match first(id, 0) {
        value if (1..=MAX_EDGE).contains(&value) => Ok(value as usize),
        value => bad(format!("{name}: expected 1 to {MAX_EDGE}, found {value}")),
    };

    let strips = find(TILE_WIDTH).is_none();
    if strips && find(STRIP_OFFSETS).is_none() {
        return bad("expected blocks or strips, found neither");
    }
    let (width, height) = (edge(WIDTH, "image width")?, edge(HEIGHT, "image height")?);
    let (block_width, block_height) = if strips {
        (width, first(ROWS_PER_STRIP, MAX_EDGE).clamp(1, height as u64) as usize)
    } else {
        (edge(TILE_WIDTH, "block width")?, edge(TILE_HEIGHT, "block height")?)
    };
    let bands = match first(SAMPLES, 1) {
        bands if (1..=MAX_BANDS).contains(&bands) => bands as usize,
        bands => return bad(format!("bands: expected 1 to {MAX_BANDS}, found {bands}")),
    };
    let (samples, planes) = if first(PLANAR, 1) == 2 { (1, bands) } else { (bands, 1) };
    let bits = uints(BITS);
    if bits.iter().any(|b| b != &bits[0]) || bits.first().is_some_and(|b| ![8, 16, 32, 64].contains(b)) {
        return bad(format!("bits a sample: expected 8, 16, 32 or 64, found {bits:?}"));
    }
    let (offsets, counts) = if strips {
        (uints(STRIP_OFFSETS), uints(STRIP_COUNTS))
    } else {
        (uints(TILE_OFFSETS), uints(TILE_COUNTS))
    };
    let blocks = width.div_ceil(block_width) * height.div_ceil(block_height) * planes;
    if offsets.len() != blocks || counts.len() != blocks {
        return bad(format!(
            "expected {blocks} blocks, found {} offsets and {} lengths",
            offsets.len(),
            counts.len()
        ));
    }
    let keys = uints(GEO_KEYS);
    let key = |id: u64| keys.chunks_exact(4).skip(1).find(|k| k[0] == id && k[1] == 0).map(|k| k[3]);
    let (origin, pixel) =
        georeference(&floats(PIXEL_SCALE), &floats(TIE_POINTS), &floats(TRANSFORM), key(1025) == Some(2))?;
    let nodata = find(NODATA).and_then(|tag| {
        String::from_utf8_lossy(&tag.value)
            .trim_matches(|c: char| c == '\0' || c.is_whitespace())
            .parse()
            .ok()
    });
    let epsg = key(3072).or_else(|| key(2048)).and_then(|code| u32::try_from(code).ok());
    Ok(Header {
        big_endian: reader.big_endian,
        big_tiff: reader.big_tiff,
        width,
        height,
        block_width,
        block_height,
        samples,
        planes,
        strips,
        bits: bits.first().copied().unwrap_or(1) as usize,
        unsigned: uints(SAMPLE_FORMAT).iter().all(|&format| format == 1),
        compression: first(COMPRESSION, 1) as u16,
        predictor: first(PREDICTOR, 1) as u16,
        origin,
        pixel,
        epsg,
        nodata,
        offsets,
        counts,
        tags,
    })
}

fn georeference(scale: &[f64], tie: &[f64], matrix: &[f64], point: bool) -> Result<(XY, XY), Stop> {
    let (mut origin, pixel) = match (scale, tie, matrix) {
        (&[sx, sy, ..], &[i, j, _, x, y, ..], _) => {
            (XY { x: x - i * sx, y: y + j * sy }, XY { x: sx, y: sy })
        }
        (_, _, &[a, b, _, x, c, d, _, y, ..]) if b == 0.0 && c == 0.0 => (XY { x, y }, XY { x: a, y: -d }),
        _ => return bad("no north-up georeferencing"),
    };
    if point {
        origin = XY { x: origin.x - pixel.x / 2.0, y: origin.y + pixel.y / 2.0 };
    }
    let sound = pixel.x > 0.0
        && pixel.y > 0.0
        && [origin.x, origin.y, pixel.x, pixel.y].iter().all(|v| v.is_finite());
    if sound { Ok((origin, pixel)) } else { bad("no north-up georeferencing") }
}

#[cfg(any(test, feature = "testing"))]
/// An image of `size` × `size` pixels of two bytes in blocks of `block` pixels, or strips of `block` rows.
#[must_use]
pub fn plain_header(size: usize, block: usize, bits: usize) -> Header {
    let across = size.div_ceil(block);
    let tag = |id: u16, value: u16| Tag { id, kind: 3, count: 1, value: value.to_le_bytes().to_vec() };
    let doubles = |id: u16, values: &[f64]| Tag {
        id,
        kind: 12,
        count: values.len() as u64,
        value: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    };
    let tags = vec![
        tag(WIDTH, size as u16),
        tag(HEIGHT, size as u16),
        tag(BITS, bits as u16),
        tag(COMPRESSION, 1),
        tag(TILE_WIDTH, block as u16),
        tag(TILE_HEIGHT, block as u16),
        doubles(PIXEL_SCALE, &[10.0, 10.0, 0.0]),
        doubles(TIE_POINTS, &[0.0, 0.0, 0.0, 500.0, 9000.0, 0.0]),
    ];
    Header {
        big_endian: false,
        big_tiff: false,
        tags,
        width: size,
        height: size,
        block_width: block,
        block_height: block,
        samples: 1,
        planes: 1,
        strips: false,
        bits,
        unsigned: true,
        compression: 1,
        predictor: 1,
        origin: XY { x: 500.0, y: 9000.0 },
        pixel: XY { x: 10.0, y: 10.0 },
        epsg: None,
        nodata: None,
        offsets: (0..across * across).map(|block| 1000 + 10 * block as u64).collect(),
        counts: vec![10; across * across],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory;

    fn read(bytes: &[u8]) -> Header {
        match parse(bytes).unwrap() {
            Parsed::Header(header) => *header,
            Parsed::NeedUpTo(end) => panic!("needs {end} bytes"),
        }
    }

    fn with(header: &Header, changes: &[(u16, u16)]) -> Vec<u8> {
        let mut header = header.clone();
        for &(id, value) in changes {
            header.tags.retain(|tag| tag.id != id);
            header.tags.push(Tag { id, kind: 3, count: 1, value: value.to_le_bytes().to_vec() });
        }
        directory(&header, &header.offsets, &header.counts)
    }

    #[test]
    fn a_directory_is_read_back_as_it_was_written() {
        let header = plain_header(48, 16, 16);
        let mut found = read(&directory(&header, &header.offsets, &header.counts));
        found.tags = header.tags.clone();
        assert_eq!(found, header);
    }

    #[test]
    fn strips_are_blocks_and_the_last_one_is_lower() {
        let mut header = plain_header(50, 50, 16);
        header.tags.retain(|tag| ![TILE_WIDTH, TILE_HEIGHT].contains(&tag.id));
        header.strips = true;
        (header.offsets, header.counts) = (vec![100, 200, 300], vec![9, 9, 4]);
        let found = read(&with(&header, &[(ROWS_PER_STRIP, 20)]));
        assert_eq!((found.block_width, found.block_height, found.blocks_down()), (50, 20, 3));
        assert_eq!((found.block_bytes(0), found.block_bytes(2)), (50 * 20 * 2, 50 * 10 * 2));
        assert_eq!((found.span(2), found.place(2)), (Some((300, 4)), (2, 0)));
    }

    #[test]
    fn separate_planes_follow_each_other() {
        let mut header = plain_header(32, 16, 8);
        (header.offsets, header.counts) = ((0..12).map(|b| 100 + b).collect(), vec![1; 12]);
        let found = read(&with(&header, &[(SAMPLES, 3), (PLANAR, 2)]));
        assert_eq!((found.planes, found.samples, found.blocks_a_plane()), (3, 1, 4));
        assert_eq!((found.block_bytes(11), found.place(5), found.block_at(2, 1)), (256, (2, 1), Some(5)));
        assert_eq!(found.block_at(6, 0), None);
    }

    #[test]
    fn what_cannot_be_true_is_refused() {
        let header = plain_header(48, 16, 16);
        let reason = |changes: &[(u16, u16)]| parse(&with(&header, changes)).unwrap_err();
        assert!(reason(&[(WIDTH, 480)]).contains("expected 90 blocks, found 9"));
        assert!(reason(&[(SAMPLES, 5000)]).contains("bands: expected 1 to 4096, found 5000"));
        assert!(reason(&[(BITS, 12)]).contains("found [12]"));
        assert!(parse(b"<!DOCTYPE html><html>").unwrap_err().contains("not a TIFF"));
        let mut huge = directory(&header, &header.offsets, &header.counts);
        let entry = huge.windows(2).position(|pair| pair == TILE_OFFSETS.to_le_bytes()).unwrap();
        huge[entry + 4..entry + 8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(parse(&huge).unwrap_err().contains("tag 324 claims 4294967295 values"));
    }

    #[test]
    fn jpeg_2000_is_known_by_its_first_bytes() {
        assert!(is_jpeg2000(b"\x00\x00\x00\x0cjP  \r\n\x87\nmore") && is_jpeg2000(b"\xff\x4f\xff\x51"));
        assert!(!is_jpeg2000(b"II*\0") && !is_jpeg2000(b""));
    }
}
