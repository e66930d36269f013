//! A deflate encoder for noisy data: Huffman codes without any search for repetitions (RFC 1951, block type 2, literals
//! only). On differences of noisy pixels it is as small as zlib's best and several times faster than its fastest.

/// Bytes that share a table of codes: a whole block of 1024² pixels of 16 bits.
const BLOCK: usize = 1 << 21;
const WORDS: usize = 1 << 16;
const END: usize = 256;
const SYMBOLS: usize = 257;
const LONGEST_CODE: u8 = 15;

/// A zlib stream (RFC 1950) of the data.
pub(crate) fn compress(raw: &[u8]) -> Vec<u8> {
    let mut out = Bits { bytes: Vec::with_capacity(raw.len() / 3), buffer: 0, count: 0 };
    out.bytes.extend([0x78, 0x01]);
    let blocks = raw.len().div_ceil(BLOCK).max(1);
    for index in 0..blocks {
        let block = &raw[index * BLOCK..raw.len().min((index + 1) * BLOCK)];
        put_block(block, index + 1 == blocks, &mut out);
    }
    out.finish();
    out.bytes.extend(adler32(raw).to_be_bytes());
    out.bytes
}

fn put_block(block: &[u8], last: bool, out: &mut Bits) {
    // Counting and coding two bytes at a time halves the work; few of the possible pairs occur.
    let (pairs, odd) = block.as_chunks::<2>();
    let mut pair_counts = vec![0u32; WORDS];
    for pair in pairs {
        let count = &mut pair_counts[usize::from(u16::from_le_bytes(*pair))];
        *count = count.wrapping_add(1);
    }
    let mut counts = [0u32; SYMBOLS];
    odd.iter().for_each(|&byte| counts[usize::from(byte)] += 1);
    for (pair, count) in pair_counts.iter().enumerate() {
        counts[pair & 0xff] += count;
        counts[pair >> 8] += count;
    }
    counts[END] = 1;
    let lengths = code_lengths(&counts);
    let codes = canonical_codes(&lengths);

    out.put(u32::from(last), 1);
    out.put(2, 2);
    out.put(0, 5); // 257 literal and length codes
    out.put(0, 5); // one distance code
    out.put(15, 4); // all 19 code-length codes
    // Their order in the stream begins 16, 17, 18 (runs, not used); the lengths 0 to 15 have 4 bits each.
    for index in 0..19 {
        out.put(if index < 3 { 0 } else { 4 }, 3);
    }
    for length in lengths.iter().chain([&0]) {
        out.put(reversed(u32::from(*length), 4), 4);
    }
    let mut pair_codes = vec![(0, 0); WORDS];
    for pair in (0..WORDS).filter(|pair| pair_counts[*pair] > 0) {
        let ((low, low_count), (high, high_count)) = (codes[pair & 0xff], codes[pair >> 8]);
        pair_codes[pair] = (low | high << low_count, low_count + high_count);
    }
    out.put_pairs(pairs, &pair_codes);
    odd.iter().for_each(|&byte| out.put(codes[usize::from(byte)].0, codes[usize::from(byte)].1));
    out.put(codes[END].0, codes[END].1);
}

/// Huffman code lengths of at most 15 bits; 0 for a symbol that does not occur. Where the tree gets too deep the
/// counts are flattened and the tree built anew.
fn code_lengths(counts: &[u32; SYMBOLS]) -> [u8; SYMBOLS] {
    let mut weights = *counts;
    loop {
        let lengths = tree_depths(&weights);
        if lengths.iter().all(|length| *length <= LONGEST_CODE) {
            return lengths;
        }
        weights.iter_mut().filter(|weight| **weight > 0).for_each(|weight| *weight = *weight / 2 + 1);
    }
}

fn tree_depths(weights: &[u32; SYMBOLS]) -> [u8; SYMBOLS] {
    let mut leaves: Vec<(u32, usize)> =
        weights.iter().enumerate().filter(|(_, w)| **w > 0).map(|(symbol, w)| (*w, symbol)).collect();
    leaves.sort_unstable();
    let mut lengths = [0; SYMBOLS];
    if let [(_, only)] = leaves[..] {
        lengths[only] = 1;
        return lengths;
    }
    // Two sorted queues: leaves, and inner nodes in the order in which they are made.
    let mut inner: Vec<u32> = Vec::with_capacity(leaves.len());
    let mut parents = vec![0usize; 2 * leaves.len()];
    let (mut next_leaf, mut next_inner) = (0, 0);
    for made in 0..leaves.len() - 1 {
        let mut sum = 0;
        for _ in 0..2 {
            let leaf = leaves.get(next_leaf).map(|leaf| leaf.0);
            let take_leaf =
                leaf.is_some_and(|weight| inner.get(next_inner).is_none_or(|other| weight <= *other));
            if take_leaf {
                sum += leaves[next_leaf].0;
                parents[next_leaf] = made;
                next_leaf += 1;
            } else {
                sum += inner[next_inner];
                parents[leaves.len() + next_inner] = made;
                next_inner += 1;
            }
        }
        inner.push(sum);
    }
    let mut depths = vec![0u8; inner.len()];
    for node in (0..inner.len() - 1).rev() {
        depths[node] = depths[parents[leaves.len() + node]] + 1;
    }
    for (leaf, (_, symbol)) in leaves.iter().enumerate() {
        lengths[*symbol] = depths[parents[leaf]] + 1;
    }
    lengths
}

/// Code (first bit lowest) and length of every symbol.
fn canonical_codes(lengths: &[u8; SYMBOLS]) -> [(u32, u32); SYMBOLS] {
    let mut codes = [(0, 0); SYMBOLS];
    let mut next = 0;
    for length in 1..=LONGEST_CODE {
        next <<= 1;
        for symbol in (0..SYMBOLS).filter(|symbol| lengths[*symbol] == length) {
            codes[symbol] = (reversed(next, u32::from(length)), u32::from(length));
            next += 1;
        }
    }
    codes
}

fn reversed(code: u32, count: u32) -> u32 {
    code.reverse_bits() >> (32 - count)
}

fn adler32(raw: &[u8]) -> u32 {
    const MODULUS: u32 = 65_521;
    let (mut a, mut b) = (1u32, 0u32);
    // 5552 bytes are the most that cannot overflow 32 bits.
    for chunk in raw.chunks(5552) {
        for &byte in chunk {
            a = a.wrapping_add(u32::from(byte));
            b = b.wrapping_add(a);
        }
        a %= MODULUS;
        b %= MODULUS;
    }
    b << 16 | a
}

/// Bits, lowest first.
struct Bits {
    bytes: Vec<u8>,
    buffer: u64,
    count: u32,
}

impl Bits {
    /// Appends up to 32 bits.
    fn put(&mut self, bits: u32, count: u32) {
        self.buffer |= u64::from(bits) << self.count;
        self.count += count;
        if self.count >= 32 {
            self.bytes.extend_from_slice(&(self.buffer as u32).to_le_bytes());
            self.buffer >>= 32;
            self.count -= 32;
        }
    }

    /// Appends the codes of all pairs. Writes eight bytes each time and moves on by the whole bytes among them, so that
    /// the loop has no branch to guess.
    fn put_pairs(&mut self, pairs: &[[u8; 2]], codes: &[(u32, u32)]) {
        const STRETCH: usize = 4096;
        let (mut buffer, mut count) = (self.buffer, self.count);
        for stretch in pairs.chunks(STRETCH) {
            let mut end = self.bytes.len();
            // A pair has at most 30 bits.
            self.bytes.resize(end + 4 * STRETCH + 8, 0);
            for pair in stretch {
                let (bits, len) = codes[usize::from(u16::from_le_bytes(*pair))];
                buffer |= u64::from(bits) << count;
                count = count.wrapping_add(len);
                self.bytes[end..end + 8].copy_from_slice(&buffer.to_le_bytes());
                end = end.wrapping_add((count >> 3) as usize);
                buffer >>= count & 0x38;
                count &= 7;
            }
            self.bytes.truncate(end);
        }
        (self.buffer, self.count) = (buffer, count);
    }

    fn finish(&mut self) {
        let rest = self.buffer.to_le_bytes();
        self.bytes.extend_from_slice(&rest[..self.count.div_ceil(8) as usize]);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::hash::{gauss, mix};

    fn check(raw: &[u8]) -> usize {
        let packed = compress(raw);
        let mut back = Vec::new();
        flate2::read::ZlibDecoder::new(&packed[..]).read_to_end(&mut back).unwrap();
        assert!(back == raw, "{} bytes", raw.len());
        packed.len()
    }

    #[test]
    fn zlib_reads_it_back() {
        check(&[]);
        check(&[7]);
        check(&[0; 1000]);
        check(&(0..=255).cycle().take(BLOCK + 5).collect::<Vec<u8>>());
        let noise: Vec<u8> = (0..600_001).map(|i| (gauss(mix(1, &[i])) * 3.0) as i8 as u8).collect();
        // A normal distribution of standard deviation 3 has log2(3 * sqrt(2 pi e)) = 3.63 bits.
        assert!(check(&noise) < 600_001 * 39 / 80);
    }

    #[test]
    fn deep_trees_are_flattened() {
        // Fibonacci counts make the deepest tree.
        let mut raw = Vec::new();
        let (mut a, mut b) = (1usize, 1usize);
        for symbol in 0..25u8 {
            raw.extend(std::iter::repeat_n(symbol, a));
            (a, b) = (b, a + b);
        }
        check(&raw);
    }
}
