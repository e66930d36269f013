//! Sixteen numbers at a time, in the widest vector instructions of the machine, chosen at run time.
//!
//! Everything is a plain loop over an array of sixteen, forced inline, so that LLVM turns it into AVX-512, AVX2 or
//! NEON instructions inside [`dispatch`]. Fused multiply-add is always written out and every sum has one order, so
//! the bits are the same whatever the instruction set.

use std::ops::{Deref, DerefMut};

/// Numbers of a vector.
pub(super) const LANES: usize = 16;

/// A vector.
pub(super) type Lanes = [f32; LANES];

/// Work to be compiled once per instruction set; `run` must be `#[inline(always)]` for that to happen.
pub(super) trait Kernel {
    /// What the kernel gives back.
    type Output;
    /// Does the work. A tile of `ROWS` × `VECTORS` registers `R` leaves room for what is multiplied.
    fn run<R: Register, const ROWS: usize, const VECTORS: usize>(self) -> Self::Output;
}

/// Sixteen numbers that stay in registers through a sum of products, which LLVM does not always see by itself.
///
/// Those of an instruction set may be used in what [`dispatch`] calls for it only.
pub(super) trait Register: Copy {
    /// Zeros.
    fn zero() -> Self;
    /// The first sixteen numbers of a slice.
    fn load(from: &[f32]) -> Self;
    /// `self · factor + sum`, rounded once.
    fn scaled_plus(self, factor: f32, sum: Self) -> Self;
    /// `self · other + sum`, rounded once.
    fn times_plus(self, other: Self, sum: Self) -> Self;
    /// As numbers.
    fn lanes(self) -> Lanes;
}

impl Register for Lanes {
    #[inline(always)]
    fn zero() -> Lanes {
        [0.0; LANES]
    }

    #[inline(always)]
    fn load(from: &[f32]) -> Lanes {
        load(from)
    }

    #[inline(always)]
    fn scaled_plus(self, factor: f32, sum: Lanes) -> Lanes {
        self.times_plus([factor; LANES], sum)
    }

    #[inline(always)]
    fn times_plus(mut self, other: Lanes, sum: Lanes) -> Lanes {
        for lane in 0..LANES {
            self[lane] = self[lane].mul_add(other[lane], sum[lane]);
        }
        self
    }

    #[inline(always)]
    fn lanes(self) -> Lanes {
        self
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use super::x86::dispatch;

/// Runs `kernel` as compiled for the build's own target.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Lanes, 4, 1>()
}

/// Numbers whose every sixteenth begins a line of the cache, so that no vector lies in two.
#[derive(Clone, Debug, Default)]
pub(super) struct Aligned {
    numbers: Vec<f32>,
    begin: usize,
}

impl Aligned {
    /// Zeros.
    pub(super) fn zeros(count: usize) -> Aligned {
        let numbers = vec![0.0; count + LANES];
        let begin = numbers.as_ptr().align_offset(64).min(LANES);
        Aligned { begin, numbers }
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers[self.begin..self.numbers.len() - LANES + self.begin]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        let end = self.numbers.len() - LANES + self.begin;
        &mut self.numbers[self.begin..end]
    }
}

/// The first sixteen numbers of a slice.
#[inline(always)]
pub(super) fn load(from: &[f32]) -> Lanes {
    let mut lanes = [0.0; LANES];
    lanes.copy_from_slice(&from[..LANES]);
    lanes
}

/// As many numbers as a slice has, up to sixteen; zeros after them.
#[inline(always)]
pub(super) fn load_some(from: &[f32]) -> Lanes {
    if from.len() >= LANES {
        return load(from);
    }
    let mut lanes = [0.0; LANES];
    lanes[..from.len()].copy_from_slice(from);
    lanes
}

/// Writes as many numbers as the slice has room for.
#[inline(always)]
pub(super) fn store_some(into: &mut [f32], lanes: Lanes) {
    if into.len() >= LANES {
        into[..LANES].copy_from_slice(&lanes);
    } else {
        into.copy_from_slice(&lanes[..into.len()]);
    }
}

/// 1 / (1 + e⁻ˣ), to 2 units of the last digit.
#[inline(always)]
pub(super) fn sigmoid(mut x: Lanes) -> Lanes {
    for value in &mut x {
        let (power, rest) = exp_parts(-within(*value, 87.0));
        *value = 1.0 / (1.0 + power.mul_add(rest, power));
    }
    x
}

/// tanh x, to 3 units of the last digit: with e = e²ˣ - 1 it is e / (e + 2).
#[inline(always)]
pub(super) fn tanh(mut x: Lanes) -> Lanes {
    for value in &mut x {
        let (power, rest) = exp_parts(2.0 * within(*value, 10.0));
        let e = power.mul_add(rest, power - 1.0);
        *value = e / (e + 2.0);
    }
    x
}

/// Writes sixteen numbers.
#[inline(always)]
pub(super) fn store(into: &mut [f32], lanes: Lanes) {
    into[..LANES].copy_from_slice(&lanes);
}

/// The sum of a slice: of every sixteenth number, then of those sums, halves first.
#[inline(always)]
pub(super) fn sum(of: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let (vectors, rest) = of.as_chunks::<LANES>();
    for vector in vectors {
        for l in 0..LANES {
            sums[l] += vector[l];
        }
    }
    rest.iter().fold(total(sums), |sum, value| sum + value)
}

/// The sum of a vector's numbers, halves first.
#[inline(always)]
pub(super) fn total(lanes: Lanes) -> f32 {
    let (mut eight, mut four) = ([0.0; 8], [0.0; 4]);
    for l in 0..8 {
        eight[l] = lanes[l] + lanes[l + 8];
    }
    for l in 0..4 {
        four[l] = eight[l] + eight[l + 4];
    }
    (four[0] + four[2]) + (four[1] + four[3])
}

/// 1.5 · 2²³: adding it rounds to an integer, which then stands in the low bits.
const ROUND: f32 = 12_582_912.0;
const LN2_HIGH: f32 = 0.693_145_75;
const LN2_LOW: f32 = 1.428_606_8e-6;

/// (2ⁿ, eʳ - 1) with x = n · ln 2 + r and |r| ≤ ln 2 / 2, for |x| ≤ 87; NaN stays NaN.
#[inline(always)]
fn exp_parts(x: f32) -> (f32, f32) {
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x));
    // Taylor's series: what is left out is below 2e-8 of the sum.
    let series = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0];
    let sum = series.into_iter().fold(1.0 / 5040.0, |sum: f32, next| sum.mul_add(r, next)) * r;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1f32.to_bits()));
    (power, sum)
}

/// `x` held within ± `limit`; NaN stays NaN, as it does not with `clamp` of some instructions.
#[inline(always)]
fn within(x: f32, limit: f32) -> f32 {
    let x = if x > limit { limit } else { x };
    if x < -limit { -limit } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigmoid_and_tanh_to_the_last_digits() {
        for k in -4000..4000i32 {
            let x = (k * 5) as f32 * 1e-3;
            let exact = f64::from(x);
            let (s, t) = (1.0 / (1.0 + (-exact).exp()), exact.tanh());
            let close = |found: Lanes, expected: f64| {
                (f64::from(found[0]) - expected).abs() <= 2.4e-7 * expected.abs()
            };
            assert!(close(sigmoid([x; LANES]), s), "sigmoid of {x}");
            assert!(close(tanh([x; LANES]), t), "tanh of {x}");
        }
    }

    #[test]
    fn limits_and_nan() {
        let x = load_some(&[f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, f32::NAN]);
        let (s, t) = (sigmoid(x), tanh(x));
        assert_eq!([s[0], s[2], t[0], t[1], t[2], t[3]], [1.0, 1.0, 1.0, -1.0, 1.0, -1.0]);
        assert!(s[1] < 1e-37 && s[3] < 1e-37);
        assert!(s[4].is_nan() && t[4].is_nan());
    }
}
