//! Randomness as a pure function: the same seed and words give the same number on every thread and in every run.

/// Mixes a seed and any number of words into 64 well-spread bits (the finaliser of SplitMix64, chained).
pub(crate) fn mix(seed: u64, words: &[u64]) -> u64 {
    words
        .iter()
        .fold(scramble(seed), |state, &word| scramble(state ^ word.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// Uniform in `[0, 1)` from 64 random bits.
pub(crate) fn uniform(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// Standard normal from 64 random bits (Box–Muller).
pub(crate) fn gauss(bits: u64) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(bits)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(scramble(bits))).cos()
}

/// FNV-1a of a text, to use names as words.
pub(crate) fn text(words: &str) -> u64 {
    words
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn scramble(bits: u64) -> u64 {
    let mut z = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_and_gauss_have_their_moments() {
        let n = 20_000;
        let draws: Vec<u64> = (0..n).map(|i| mix(7, &[i])).collect();
        let mean = draws.iter().map(|&b| uniform(b)).sum::<f64>() / n as f64;
        let variance = draws.iter().map(|&b| gauss(b).powi(2)).sum::<f64>() / n as f64;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        assert!((variance - 1.0).abs() < 0.04, "{variance}");
    }

    #[test]
    fn every_word_counts() {
        assert_ne!(mix(1, &[2, 3]), mix(1, &[3, 2]));
        assert_ne!(mix(1, &[0]), mix(2, &[0]));
        assert_ne!(text("africa"), text("europe"));
    }
}
