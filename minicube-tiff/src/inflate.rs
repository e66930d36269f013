//! Deflate (RFC 1951) in its zlib wrapping (RFC 1950), for blocks of images. Differences of neighbouring pixels that the packer
//! found no repetitions in are short codes, of which one look into a table gives up to three: blocks like these, and flat ones,
//! are unpacked here, about twice as fast as by general libraries. Blocks with many short repetitions are unpacked by
//! libdeflate, which is twice as fast as this at them. The first bytes of a block tell which it is. Megabytes a second on one
//! core:
//!
//! | blocks of | repetitions a KiB | here | libdeflate |
//! |---|---|---|---|
//! | differences, Huffman codes alone | 0 | 757 | 377 |
//! | Sentinel-2 AOT, flat | 9 | 2789 | 1323 |
//! | Sentinel-2 B8A, 20 m | 83 | 499 | 838 |
//! | Sentinel-2 B04, 10 m | 127 | 299 | 550 |
//! | noisy differences, packed by GDAL | 200 | 194 | 399 |

use libdeflater::{DecompressionError, Decompressor};
use simd_adler32::Adler32;

const LITERAL_BITS: u32 = 10;
const DISTANCE_BITS: u32 = 9;
const LONGEST_CODE: usize = 15;
/// Bytes by which a block is judged, and repetitions among them from which on libdeflate is faster.
const JUDGED: usize = 32 << 10;
const MANY: usize = 20 * (JUDGED >> 10);
const LITERALS: usize = 288;
const DISTANCES: usize = 32;

// An entry of a table: bits 0–3 the length of the code, 4–5 the number of literals, 6–7 the kind if there are none,
// then three literals, or a number.
const KIND: u32 = 6;
const INVALID: u32 = 0;
const NUMBER: u32 = 1;
const END: u32 = 2;
const DEEPER: u32 = 3;

const LENGTH_BASE: [u16; 29] = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195,
    227, 258,
];
const LENGTH_EXTRA: [u8; 29] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const DISTANCE_BASE: [u16; 30] = [
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073,
    4097, 6145, 8193, 12_289, 16_385, 24_577,
];
const DISTANCE_EXTRA: [u8; 30] =
    [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13];

/// Why a stream could not be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is no sound zlib stream, or its checksum is another.
    Damaged,
    /// It holds more than there is room for.
    TooLong,
}

/// Tables that are used again for every block.
pub(crate) struct Inflater {
    literals: Box<[u32; 1 << LITERAL_BITS]>,
    deep_literals: Vec<u32>,
    distances: Box<[u32; 1 << DISTANCE_BITS]>,
    deep_distances: Vec<u32>,
    general: Decompressor,
}

impl Inflater {
    pub(crate) fn new() -> Inflater {
        Inflater {
            literals: Box::new([0; 1 << LITERAL_BITS]),
            deep_literals: Vec::new(),
            distances: Box::new([0; 1 << DISTANCE_BITS]),
            deep_distances: Vec::new(),
            general: Decompressor::new(),
        }
    }

    /// Unpacks a whole stream and compares its checksum; how many bytes it held.
    pub(crate) fn whole(&mut self, packed: &[u8], out: &mut [u8]) -> Result<usize, Fault> {
        if self.is_repetitive(packed, out) {
            return self.general.zlib_decompress(packed, out).map_err(|error| match error {
                DecompressionError::InsufficientSpace => Fault::TooLong,
                DecompressionError::BadData => Fault::Damaged,
            });
        }
        let (len, mut source) = self.run(packed, out)?;
        let mut adler = Adler32::new();
        adler.write(&out[..len]);
        source.align();
        let stated = (0..4).try_fold(0, |sum, _| Some(sum << 8 | source.take(8)?));
        if stated == Some(u64::from(adler.finish())) { Ok(len) } else { Err(Fault::Damaged) }
    }

    /// Whether a large block begins with many repetitions.
    fn is_repetitive(&mut self, packed: &[u8], out: &mut [u8]) -> bool {
        let Some(front) = out.get_mut(..JUDGED).filter(|_| packed.len() >= JUDGED / 8) else { return false };
        let mut source = Source { bytes: packed, at: 2, bits: 0, count: 0, repetitions: 0 };
        // It ends for want of room, or because the stream is damaged, which is told afterwards.
        let _ = self.blocks(&mut source, front);
        source.repetitions >= MANY
    }

    /// Unpacks the first bytes of a stream, as many as there is room for; how many there were. Nothing is proved.
    pub(crate) fn front(&mut self, packed: &[u8], out: &mut [u8]) -> Result<usize, Fault> {
        match self.run(packed, out) {
            Ok((len, _)) => Ok(len),
            Err(Fault::TooLong) => Ok(out.len()),
            Err(Fault::Damaged) => Err(Fault::Damaged),
        }
    }

    /// The length, and what follows the stream.
    fn run<'a>(&mut self, packed: &'a [u8], out: &mut [u8]) -> Result<(usize, Source<'a>), Fault> {
        let [method, flags, ..] = packed else { return Err(Fault::Damaged) };
        let check = u16::from(*method) << 8 | u16::from(*flags);
        if method & 15 != 8 || flags & 32 != 0 || check % 31 != 0 {
            return Err(Fault::Damaged);
        }
        let mut source = Source { bytes: packed, at: 2, bits: 0, count: 0, repetitions: 0 };
        let len = self.blocks(&mut source, out)?;
        Ok((len, source))
    }

    /// Unpacks the blocks of a stream; how many bytes they held.
    fn blocks(&mut self, source: &mut Source<'_>, out: &mut [u8]) -> Result<usize, Fault> {
        let mut at = 0;
        loop {
            let last = source.take(1).ok_or(Fault::Damaged)?;
            match source.take(2).ok_or(Fault::Damaged)? {
                0 => stored(source, out, &mut at)?,
                1 => {
                    self.fixed()?;
                    self.codes(source, out, &mut at)?;
                }
                2 => {
                    self.dynamic(source).ok_or(Fault::Damaged)?;
                    self.codes(source, out, &mut at)?;
                }
                _ => return Err(Fault::Damaged),
            }
            if last == 1 {
                return Ok(at);
            }
        }
    }

    fn fixed(&mut self) -> Result<(), Fault> {
        let length = |symbol: usize| match symbol {
            0..=143 => 8,
            144..=255 => 9,
            256..=279 => 7,
            _ => 8,
        };
        let lengths: [u8; LITERALS] = std::array::from_fn(length);
        self.tables(&lengths, &[5; DISTANCES]).ok_or(Fault::Damaged)
    }

    /// Reads the codes of a block; `None` if they make no sense.
    fn dynamic(&mut self, source: &mut Source<'_>) -> Option<()> {
        const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
        let (literals, distances) = (source.take(5)? as usize + 257, source.take(5)? as usize + 1);
        let count = source.take(4)? as usize + 4;
        if literals > 286 || distances > 30 {
            return None;
        }
        let mut of_lengths = [0; 19];
        for symbol in &ORDER[..count] {
            of_lengths[*symbol] = source.take(3)? as u8;
        }
        let mut table = [0; 128];
        build(&of_lengths, 7, &mut table, &mut Vec::new(), |symbol| NUMBER << KIND | (symbol as u32) << 8)?;
        let mut lengths = [0_u8; 320];
        let mut known = 0;
        while known < literals + distances {
            source.fill();
            let entry = table[(source.bits & 127) as usize];
            if entry == INVALID {
                return None;
            }
            source.take(entry & 15)?;
            let (value, times) = match entry >> 8 {
                16 => (*lengths.get(known.checked_sub(1)?)?, source.take(2)? as usize + 3),
                17 => (0, source.take(3)? as usize + 3),
                18 => (0, source.take(7)? as usize + 11),
                length => (length as u8, 1),
            };
            if known + times > literals + distances {
                return None;
            }
            lengths[known..known + times].fill(value);
            known += times;
        }
        let end_of_block = lengths[256];
        if end_of_block == 0 {
            return None;
        }
        self.tables(&lengths[..literals], &lengths[literals..literals + distances])
    }

    fn tables(&mut self, literals: &[u8], distances: &[u8]) -> Option<()> {
        build(
            literals,
            LITERAL_BITS,
            &mut self.literals[..],
            &mut self.deep_literals,
            |symbol| match symbol {
                0..=255 => 1 << 4 | (symbol as u32) << 8,
                256 => END << KIND,
                257..=285 => NUMBER << KIND | (symbol as u32 - 257) << 8,
                _ => INVALID,
            },
        )?;
        pack_literals(&mut self.literals);
        build(distances, DISTANCE_BITS, &mut self.distances[..], &mut self.deep_distances, |symbol| {
            match symbol {
                0..=29 => NUMBER << KIND | (symbol as u32) << 8,
                _ => INVALID,
            }
        })
    }

    /// Unpacks the codes of a block, with the shifts of newer processors where there are.
    #[expect(
        unsafe_code,
        reason = "calling a #[target_feature] function, after checking that the CPU has it"
    )]
    fn codes(&self, source: &mut Source<'_>, out: &mut [u8], at: &mut usize) -> Result<(), Fault> {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "bmi1,bmi2")]
            fn with_bmi2(
                inflater: &Inflater,
                source: &mut Source<'_>,
                out: &mut [u8],
                at: &mut usize,
            ) -> Result<(), Fault> {
                inflater.codes_on_any(source, out, at)
            }
            if is_x86_feature_detected!("bmi1") && is_x86_feature_detected!("bmi2") {
                // SAFETY: both features were just found.
                return unsafe { with_bmi2(self, source, out, at) };
            }
        }
        self.codes_on_any(source, out, at)
    }

    #[inline(always)]
    fn codes_on_any(&self, source: &mut Source<'_>, out: &mut [u8], at: &mut usize) -> Result<(), Fault> {
        const MASK: u64 = (1 << LITERAL_BITS) - 1;
        let mut to = *at;
        loop {
            source.fill();
            let mut entry = self.literals[(source.bits & MASK) as usize];
            // Four looks use at most 40 of 56 bits, which leaves enough for any code; each writes four bytes, of which
            // up to three count.
            if source.count >= 56
                && let Some(room) = out.get_mut(to..to.wrapping_add(16))
            {
                let (mut bits, mut count, mut here) = (source.bits, source.count, 0_usize);
                for _ in 0..4 {
                    if entry & 0x30 == 0 {
                        break;
                    }
                    if let Some(four) = room.get_mut(here..here.wrapping_add(4)) {
                        four.copy_from_slice(&(entry >> 8).to_le_bytes());
                    }
                    here = here.wrapping_add((entry >> 4 & 3) as usize);
                    bits >>= entry & 15;
                    count = count.wrapping_sub(entry & 15);
                    entry = self.literals[(bits & MASK) as usize];
                }
                (source.bits, source.count) = (bits, count);
                to = to.wrapping_add(here);
                if entry & 0x30 != 0 {
                    continue;
                }
            }
            if entry & 0xf0 == DEEPER << KIND {
                let (first, bits) = ((entry >> 12) as usize, entry >> 8 & 15);
                let index = first + (source.bits >> LITERAL_BITS & ((1 << bits) - 1)) as usize;
                entry = *self.deep_literals.get(index).ok_or(Fault::Damaged)?;
            }
            if entry == INVALID || entry & 15 > source.count {
                return Err(Fault::Damaged);
            }
            source.drop(entry & 15);
            let literals = (entry >> 4 & 3) as usize;
            if literals > 0 {
                for &literal in &(entry >> 8).to_le_bytes()[..literals] {
                    *out.get_mut(to).ok_or(Fault::TooLong)? = literal;
                    to += 1;
                }
                continue;
            }
            if entry & 0xc0 == END << KIND {
                *at = to;
                return Ok(());
            }
            source.repetitions += 1;
            let symbol = (entry >> 8) as usize;
            let extra = source.take(LENGTH_EXTRA[symbol].into()).ok_or(Fault::Damaged)?;
            let length = usize::from(LENGTH_BASE[symbol]) + extra as usize;
            let distance = self.distance(source).ok_or(Fault::Damaged)?;
            copy(out, &mut to, distance, length)?;
        }
    }

    #[inline(always)]
    fn distance(&self, source: &mut Source<'_>) -> Option<usize> {
        source.fill();
        let mut entry = self.distances[(source.bits & ((1 << DISTANCE_BITS) - 1)) as usize];
        if entry & 0xf0 == DEEPER << KIND {
            let (first, bits) = ((entry >> 12) as usize, entry >> 8 & 15);
            entry = *self
                .deep_distances
                .get(first + (source.bits >> DISTANCE_BITS & ((1 << bits) - 1)) as usize)?;
        }
        if entry == INVALID {
            return None;
        }
        source.take(entry & 15)?;
        let symbol = (entry >> 8) as usize;
        Some(usize::from(DISTANCE_BASE[symbol]) + source.take(DISTANCE_EXTRA[symbol].into())? as usize)
    }
}

/// The packed bytes, and the bits of them that are next.
struct Source<'a> {
    bytes: &'a [u8],
    at: usize,
    bits: u64,
    count: u32,
    /// Repetitions so far.
    repetitions: usize,
}

impl Source<'_> {
    /// Brings at least 56 bits, or all that are left.
    #[inline(always)]
    fn fill(&mut self) {
        if let Some(next) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) {
            self.bits |= u64::from_le_bytes(*next) << (self.count & 63);
            self.at = self.at.wrapping_add((63_usize.wrapping_sub(self.count as usize)) >> 3);
            self.count |= 56;
            return;
        }
        while self.count <= 56 {
            let Some(&byte) = self.bytes.get(self.at) else { return };
            self.bits |= u64::from(byte) << self.count;
            self.at += 1;
            self.count += 8;
        }
    }

    #[inline(always)]
    fn drop(&mut self, bits: u32) {
        self.bits >>= bits;
        self.count = self.count.wrapping_sub(bits);
    }

    /// The next bits as a number, `None` at the end.
    #[inline(always)]
    fn take(&mut self, bits: u32) -> Option<u64> {
        if self.count < bits {
            self.fill();
            if self.count < bits {
                return None;
            }
        }
        let value = self.bits & ((1 << bits) - 1);
        self.drop(bits);
        Some(value)
    }

    /// Goes to the next whole byte.
    fn align(&mut self) {
        self.drop(self.count % 8);
    }
}

fn stored(source: &mut Source<'_>, out: &mut [u8], at: &mut usize) -> Result<(), Fault> {
    source.align();
    let (length, inverse) = (source.take(16), source.take(16));
    let length = length.zip(inverse).filter(|(length, inverse)| length ^ inverse == 0xffff);
    let length = length.ok_or(Fault::Damaged)?.0 as usize;
    // Bytes that are among the bits go back.
    let from = source.at - source.count as usize / 8;
    let bytes = source.bytes.get(from..from + length).ok_or(Fault::Damaged)?;
    let room = out.len() - *at;
    let count = length.min(room);
    out[*at..*at + count].copy_from_slice(&bytes[..count]);
    *at += count;
    (source.at, source.bits, source.count) = (from + length, 0, 0);
    if count < length { Err(Fault::TooLong) } else { Ok(()) }
}

/// Repeats what stands `distance` before; the two may overlap.
fn copy(out: &mut [u8], to: &mut usize, distance: usize, length: usize) -> Result<(), Fault> {
    let from = to.checked_sub(distance).ok_or(Fault::Damaged)?;
    let count = length.min(out.len() - *to);
    if distance >= count {
        out.copy_within(from..from + count, *to);
    } else if distance == 1 {
        let value = out[from];
        out[*to..*to + count].fill(value);
    } else {
        for i in 0..count {
            out[*to + i] = out[from + i];
        }
    }
    *to += count;
    if count < length { Err(Fault::TooLong) } else { Ok(()) }
}

/// Makes the table of a canonical code: by the next `bits` bits, lowest first; longer codes lead into `deep`. `None` if
/// the lengths make no code; a code that is not complete is one, and its gaps are invalid.
fn build(
    lengths: &[u8],
    bits: u32,
    table: &mut [u32],
    deep: &mut Vec<u32>,
    entry: impl Fn(usize) -> u32,
) -> Option<()> {
    let mut counts = [0_u32; LONGEST_CODE + 1];
    lengths.iter().for_each(|&length| counts[usize::from(length)] += 1);
    counts[0] = 0;
    let mut next = [0_u32; LONGEST_CODE + 2];
    for length in 1..=LONGEST_CODE {
        next[length + 1] = (next[length] + counts[length]) << 1;
        if next[length] + counts[length] > 1 << length {
            return None;
        }
    }
    table.fill(INVALID);
    deep.clear();
    let longest = (1..=LONGEST_CODE).rev().find(|&length| counts[length] > 0).unwrap_or(0) as u32;
    let deeper = longest.saturating_sub(bits);
    for (symbol, &length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
        let length = u32::from(length);
        let code = next[length as usize];
        next[length as usize] += 1;
        let code = (code.reverse_bits() >> (32 - length)) as usize;
        let value = match entry(symbol) {
            INVALID => INVALID,
            value => value | length,
        };
        if length <= bits {
            table[code..].iter_mut().step_by(1 << length).for_each(|slot| *slot = value);
            continue;
        }
        let slot = code & ((1 << bits) - 1);
        if table[slot] == INVALID {
            table[slot] = DEEPER << KIND | deeper << 8 | (deep.len() as u32) << 12;
            deep.resize(deep.len() + (1 << deeper), INVALID);
        }
        let first = (table[slot] >> 12) as usize;
        let part = &mut deep[first..first + (1 << deeper)];
        part[code >> bits..].iter_mut().step_by(1 << (length - bits)).for_each(|slot| *slot = value);
    }
    Some(())
}

/// Puts the literals that follow a literal within the same bits into its entry.
fn pack_literals(table: &mut [u32; 1 << LITERAL_BITS]) {
    // From the back: what an entry looks at stands before it and has one literal still.
    for index in (0..table.len()).rev() {
        let mut entry = table[index];
        if entry & 0x30 == 0 {
            continue;
        }
        for count in 1..3 {
            let used = entry & 15;
            let next = table[index >> used];
            if next & 0x30 != 0x10 || used + (next & 15) > LITERAL_BITS {
                break;
            }
            entry = entry + 0x10 + (next & 15) + (next >> 8 << (8 + 8 * count));
        }
        table[index] = entry;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;

    fn pack(bytes: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Marsaglia's xorshift.
    fn random(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    /// Noise of few or many values, runs, repetitions, and mixtures of them.
    fn samples() -> Vec<Vec<u8>> {
        let mut state = 88_172_645_463_325_252;
        let mut all: Vec<Vec<u8>> = vec![vec![], vec![7], vec![0; 100_000], b"abcabcabcabcabcab".repeat(300)];
        for length in [1, 2, 3, 100, 5000, 70_000, 300_000] {
            for bits in [1, 3, 6, 8] {
                all.push(
                    (0..length)
                        .map(|_| (random(&mut state) >> 20) as u8 & ((1_u16 << bits) - 1) as u8)
                        .collect(),
                );
            }
            // Differences of an image: the second byte is nearly always 0 or 255.
            let pixel = |state: &mut u64| {
                let sum: i16 = (0..4).map(|shift| (random(state) >> (8 * shift) & 31) as i16 - 16).sum();
                sum.to_le_bytes()
            };
            all.push((0..length / 2).flat_map(|_| pixel(&mut state)).collect());
            // Geometric: codes of up to fifteen bits.
            all.push(
                (0..length).map(|_| (random(&mut state) | 1 << 40).trailing_zeros() as u8 * 3).collect(),
            );
            let mut mixed = Vec::new();
            while mixed.len() < length {
                let value = random(&mut state);
                match value % 3 {
                    0 => mixed.extend(vec![value as u8; (value >> 8 & 63) as usize]),
                    1 if mixed.len() > 40 => {
                        let end = mixed.len() - (value >> 8 & 31) as usize;
                        mixed.extend_from_within(mixed.len() - 37..end);
                    }
                    _ => mixed.extend(value.to_le_bytes()),
                }
            }
            all.push(mixed);
        }
        all
    }

    #[test]
    fn what_zlib_packs_comes_out_again() {
        let mut inflater = Inflater::new();
        for bytes in samples() {
            for level in [0, 1, 4, 6, 9] {
                let packed = pack(&bytes, level);
                let mut out = vec![0xaa; bytes.len()];
                assert_eq!(inflater.whole(&packed, &mut out), Ok(bytes.len()), "level {level}");
                assert!(out == bytes, "level {level}, {} bytes", bytes.len());
                let mut roomy = vec![0; bytes.len() + 9];
                assert_eq!(inflater.whole(&packed, &mut roomy), Ok(bytes.len()));
                let mut front = vec![0; bytes.len() / 3];
                assert_eq!(inflater.front(&packed, &mut front), Ok(bytes.len() / 3));
                assert!(front == bytes[..bytes.len() / 3]);
                if !bytes.is_empty() {
                    let mut short = vec![0; bytes.len() - 1];
                    assert_eq!(inflater.whole(&packed, &mut short), Err(Fault::TooLong));
                }
            }
        }
    }

    #[test]
    fn fixed_codes_are_known() {
        // "a" and end of block in fixed codes: 1 final, 01 fixed, 10010001, 0000000; Adler-32 of "a" is 0x00620062.
        let packed = [0x78, 0x9c, 0x4b, 0x04, 0x00, 0x00, 0x62, 0x00, 0x62];
        let mut out = [0; 1];
        assert_eq!(Inflater::new().whole(&packed, &mut out), Ok(1));
        assert_eq!(&out, b"a");
    }

    /// A changed bit or a cut: an error wherever another implementation sees one, else its bytes. (Adler-32 lets some
    /// changes through: two codes changed into each other may add up to the same.)
    #[test]
    fn damage_is_seen() {
        let mut inflater = Inflater::new();
        let mut state = 1;
        let (mut seen, mut all) = (0, 0);
        for bytes in samples().iter().filter(|bytes| (50..10_000).contains(&bytes.len())) {
            for level in [0, 1, 6] {
                let packed = pack(bytes, level);
                let mut out = vec![0; bytes.len()];
                for _ in 0..200 {
                    let mut damaged = packed.clone();
                    let bit = random(&mut state) as usize % (8 * damaged.len());
                    damaged[bit / 8] ^= 1 << (bit % 8);
                    all += 1;
                    match inflater.whole(&damaged, &mut out) {
                        Ok(len) => assert_eq!(other(&damaged).as_deref(), Some(&out[..len]), "bit {bit}"),
                        Err(_) => seen += 1,
                    }
                    let cut = random(&mut state) as usize % packed.len();
                    assert!(inflater.whole(&packed[..cut], &mut out).is_err(), "cut at {cut}");
                    (0..9).for_each(|_| damaged[random(&mut state) as usize % packed.len()] ^= 0x5a);
                    if let Ok(len) = inflater.whole(&damaged, &mut out) {
                        assert_eq!(other(&damaged).as_deref(), Some(&out[..len]));
                    }
                    let _ = inflater.front(&damaged, &mut out);
                }
            }
        }
        assert!(seen * 100 > all * 99, "{seen} of {all}");
    }

    fn other(packed: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut decoder = flate2::read::ZlibDecoder::new(packed);
        std::io::Read::read_to_end(&mut decoder, &mut bytes).ok().map(|_| bytes)
    }

    #[test]
    fn streams_of_nonsense_end() {
        let mut inflater = Inflater::new();
        let mut state = 5;
        let mut out = vec![0; 5000];
        for _ in 0..3000 {
            let mut packed: Vec<u8> = (0..300).map(|_| random(&mut state) as u8).collect();
            (packed[0], packed[1]) = (0x78, 0x9c);
            let _ = inflater.whole(&packed, &mut out);
        }
        assert_eq!(inflater.whole(&[], &mut out), Err(Fault::Damaged));
        assert_eq!(inflater.whole(b"BZh9", &mut out), Err(Fault::Damaged));
    }
}
