//! Sixteen numbers at a time: the arithmetic of the batched kernels.
//!
//! Everything is a plain loop over an array of sixteen, forced inline, so that LLVM turns it into AVX-512, AVX2
//! or NEON instructions inside [`dispatch`](super::simd::dispatch): two or more vectors side by side, because each step of
//! an alignment waits for the one before. Fused multiply-add is always written out, which makes the results the same
//! bits whatever the instruction set.

/// Pairs that one kernel call handles side by side.
pub(super) const LANES: usize = 16;

/// One number for each of [`LANES`] pairs.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Lanes(pub(super) [f64; LANES]);

/// 1.5 · 2⁵²: adding it rounds to an integer, which then stands in the low bits.
const ROUND: f64 = 6_755_399_441_055_744.0;
const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;

impl Lanes {
    /// The same number in every lane.
    #[inline(always)]
    pub(super) fn splat(value: f64) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    fn map(self, f: impl Fn(f64) -> f64) -> Self {
        let mut out = self;
        for value in &mut out.0 {
            *value = f(*value);
        }
        out
    }

    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        let mut out = self;
        for lane in 0..LANES {
            out.0[lane] = f(self.0[lane], other.0[lane]);
        }
        out
    }

    #[inline(always)]
    pub(super) fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    #[inline(always)]
    pub(super) fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    #[inline(always)]
    pub(super) fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }

    #[inline(always)]
    pub(super) fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }

    /// `self * b + c`, rounded once.
    #[inline(always)]
    pub(super) fn fma(self, b: Self, c: Self) -> Self {
        let mut out = self;
        for lane in 0..LANES {
            out.0[lane] = self.0[lane].mul_add(b.0[lane], c.0[lane]);
        }
        out
    }

    #[inline(always)]
    pub(super) fn min(self, other: Self) -> Self {
        self.zip(other, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    pub(super) fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }

    /// `(m, k)` with `eˣ = m · 2ᵏ`, `m` in [0.7, 1.42] and `k` an integer; |x| below 10⁹, relative error 1e-14.
    #[inline(always)]
    pub(super) fn exp_parts(self) -> (Self, Self) {
        let rounded = self.fma(Self::splat(std::f64::consts::LOG2_E), Self::splat(ROUND));
        let power = rounded.sub(Self::splat(ROUND));
        let rest = power.fma(Self::splat(-LN2_HIGH), self);
        let rest = power.fma(Self::splat(-LN2_LOW), rest);
        (exp_near_zero(rest), power)
    }

    /// `2ᵏ` for integers `k`; below −1022 it is the smallest normal number.
    #[inline(always)]
    pub(super) fn exp2_integer(self) -> Self {
        self.max(Self::splat(-1022.0)).map(|k| f64::from_bits((k + ROUND).to_bits().wrapping_add(1023) << 52))
    }

    /// `(m, k)` with `self = m · 2ᵏ` and `m` in [1, 2), for positive normal numbers.
    #[inline(always)]
    pub(super) fn split_exponent(self) -> (Self, Self) {
        const MANTISSA: u64 = (1 << 52) - 1;
        const MAGIC: u64 = 0x4330_0000_0000_0000; // 2⁵²
        let mantissa = self.map(|x| f64::from_bits((x.to_bits() & MANTISSA) | 1.0_f64.to_bits()));
        let power =
            self.map(|x| f64::from_bits((x.to_bits() >> 52) | MAGIC) - (4_503_599_627_370_496.0 + 1023.0));
        (mantissa, power)
    }
}

/// Taylor polynomial of the exponential to degree 11: 6e-15 at |x| = ln 2 / 2.
#[inline(always)]
fn exp_near_zero(x: Lanes) -> Lanes {
    const COEFFICIENTS: [f64; 11] = [
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        1.0 / 2.0,
        1.0,
        1.0,
    ];
    let mut sum = Lanes::splat(1.0 / 39_916_800.0);
    for coefficient in COEFFICIENTS {
        sum = sum.fma(x, Lanes::splat(coefficient));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_is_accurate_over_its_range() {
        for step in 0..20_000 {
            let x = -700.0 + f64::from(step) * 0.0351;
            let (mantissa, power) = Lanes::splat(x).exp_parts();
            let ours = mantissa.mul(power.exp2_integer()).0[3];
            assert!((ours / x.exp() - 1.0).abs() < 2e-14, "exp({x}) = {ours}");
        }
    }

    #[test]
    fn splitting_and_joining_is_exact() {
        for x in [1.0, 1.5, 0.1, 1e-200, 3e200] {
            let (mantissa, power) = Lanes::splat(x).split_exponent();
            assert!((1.0..2.0).contains(&mantissa.0[0]));
            assert_eq!(mantissa.mul(power.exp2_integer()).0[0], x);
        }
    }
}
