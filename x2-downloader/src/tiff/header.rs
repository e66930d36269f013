//! The first directory of a TIFF or BigTIFF, parsed from the file's first bytes.

use minicube::XY;

/// More blocks or tag bytes than this are taken for an attack or a damaged file.
const MAX_TAG_BYTES: u64 = 64 << 20;
const MAX_EDGE: u64 = 1 << 22;

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const BITS: u16 = 258;
const COMPRESSION: u16 = 259;
const STRIP_OFFSETS: u16 = 273;
const SAMPLES: u16 = 277;
const PLANAR: u16 = 284;
const PREDICTOR: u16 = 317;
const TILE_WIDTH: u16 = 322;
const TILE_HEIGHT: u16 = 323;
pub(super) const TILE_OFFSETS: u16 = 324;
pub(super) const TILE_COUNTS: u16 = 325;
pub(super) const SUB_IFDS: u16 = 330;
const PIXEL_SCALE: u16 = 33550;
const TIE_POINTS: u16 = 33922;
const TRANSFORM: u16 = 34264;
const GEO_KEYS: u16 = 34735;
const NODATA: u16 = 42113;

/// One entry of the directory, its value as stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tag {
    pub(crate) id: u16,
    pub(crate) kind: u16,
    pub(crate) count: u64,
    pub(crate) value: Vec<u8>,
}

/// The full-resolution image of a tiled TIFF.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Header {
    pub(crate) big_endian: bool,
    pub(crate) big_tiff: bool,
    pub(crate) tags: Vec<Tag>,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) block_width: usize,
    pub(crate) block_height: usize,
    pub(crate) samples: usize,
    pub(crate) bits: usize,
    pub(crate) compression: u16,
    pub(crate) predictor: u16,
    /// Upper-left corner and pixel size (both positive), CRS units.
    pub(crate) origin: XY,
    pub(crate) pixel: XY,
    pub(crate) epsg: Option<u32>,
    pub(crate) nodata: Option<f64>,
    /// By block, row-major; 0 where the block is absent.
    pub(crate) offsets: Vec<u64>,
    pub(crate) counts: Vec<u64>,
}

/// What the given first bytes were enough for.
#[derive(Debug, PartialEq)]
pub(crate) enum Parsed {
    /// The whole directory.
    Header(Box<Header>),
    /// The file must be read at least up to this byte.
    NeedUpTo(u64),
}

impl Header {
    pub(crate) fn blocks_across(&self) -> usize {
        self.width.div_ceil(self.block_width)
    }

    pub(crate) fn blocks_down(&self) -> usize {
        self.height.div_ceil(self.block_height)
    }

    /// Size of a block when unpacked, bytes.
    pub(crate) fn block_bytes(&self) -> usize {
        self.block_width * self.block_height * self.samples * self.bits / 8
    }

    /// Row and column of a block.
    pub(crate) fn place(&self, block: usize) -> (usize, usize) {
        (block / self.blocks_across(), block % self.blocks_across())
    }

    /// Where a block lies in the file, if it is there.
    pub(crate) fn span(&self, block: usize) -> Option<(u64, u64)> {
        (self.offsets[block] > 0 && self.counts[block] > 0).then(|| (self.offsets[block], self.counts[block]))
    }
}

/// Parses the directory of the full-resolution image from the first bytes of a file.
///
/// # Errors
/// A reason where the file is no tiled, north-up TIFF, or its numbers cannot be true.
pub(crate) fn parse(prefix: &[u8]) -> Result<Parsed, String> {
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
pub(super) fn kind_size(kind: u16) -> u64 {
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

    if find(TILE_WIDTH).is_none() {
        let kind = if find(STRIP_OFFSETS).is_some() { "strips" } else { "neither blocks nor strips" };
        return bad(format!("not a cloud-optimised GeoTIFF: expected blocks, found {kind}"));
    }
    let (width, height) = (edge(WIDTH, "image width")?, edge(HEIGHT, "image height")?);
    let (block_width, block_height) = (edge(TILE_WIDTH, "block width")?, edge(TILE_HEIGHT, "block height")?);
    let samples = first(SAMPLES, 1);
    if samples > 1 && first(PLANAR, 1) != 1 {
        return bad("bands in separate planes are not supported");
    }
    let bits = uints(BITS);
    if bits.iter().any(|b| b != &bits[0]) || bits.first().is_some_and(|b| ![8, 16, 32, 64].contains(b)) {
        return bad(format!("bits a sample: expected 8, 16, 32 or 64, found {bits:?}"));
    }
    let (offsets, counts) = (uints(TILE_OFFSETS), uints(TILE_COUNTS));
    let blocks = width.div_ceil(block_width) * height.div_ceil(block_height);
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
        samples: samples.clamp(1, 1 << 16) as usize,
        bits: bits.first().copied().unwrap_or(1) as usize,
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
