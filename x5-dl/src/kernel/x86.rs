//! The registers of x86-64, and which of them a kernel runs with.
#![expect(unsafe_code, reason = "vector instructions, in functions that only run where the CPU has them")]

use std::arch::x86_64::{
    __m256, __m512, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
};

use minicube::{Simd, simd};

use super::simd::{Kernel, LANES, Lanes, Register};

impl Register for __m512 {
    #[inline(always)]
    fn zero() -> __m512 {
        // SAFETY: the CPU has AVX-512, as `dispatch` found.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    fn load(from: &[f32]) -> __m512 {
        // SAFETY: as above; sixteen numbers are read from a slice that has them.
        unsafe { _mm512_loadu_ps(from[..LANES].as_ptr()) }
    }

    #[inline(always)]
    fn scaled_plus(self, factor: f32, sum: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_fmadd_ps(self, _mm512_set1_ps(factor), sum) }
    }

    #[inline(always)]
    fn times_plus(self, other: __m512, sum: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_fmadd_ps(self, other, sum) }
    }

    #[inline(always)]
    fn lanes(self) -> Lanes {
        let mut lanes = [0.0; LANES];
        // SAFETY: as above; sixteen numbers are written to an array of as many.
        unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), self) };
        lanes
    }
}

/// Two registers of AVX2.
#[derive(Clone, Copy)]
struct Pair(__m256, __m256);

impl Register for Pair {
    #[inline(always)]
    fn zero() -> Pair {
        // SAFETY: the CPU has AVX2 and FMA, as `dispatch` found.
        unsafe { Pair(_mm256_setzero_ps(), _mm256_setzero_ps()) }
    }

    #[inline(always)]
    fn load(from: &[f32]) -> Pair {
        let from = &from[..LANES];
        // SAFETY: as above; twice eight numbers are read from a slice of sixteen.
        unsafe { Pair(_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from[8..].as_ptr())) }
    }

    #[inline(always)]
    fn scaled_plus(self, factor: f32, sum: Pair) -> Pair {
        // SAFETY: as above.
        let factor = unsafe { _mm256_set1_ps(factor) };
        self.times_plus(Pair(factor, factor), sum)
    }

    #[inline(always)]
    fn times_plus(self, other: Pair, sum: Pair) -> Pair {
        // SAFETY: as above.
        unsafe { Pair(_mm256_fmadd_ps(self.0, other.0, sum.0), _mm256_fmadd_ps(self.1, other.1, sum.1)) }
    }

    #[inline(always)]
    fn lanes(self) -> Lanes {
        let mut lanes = [0.0; LANES];
        let (low, high) = lanes.split_at_mut(8);
        // SAFETY: as above; twice eight numbers are written to halves of sixteen.
        unsafe {
            _mm256_storeu_ps(low.as_mut_ptr(), self.0);
            _mm256_storeu_ps(high.as_mut_ptr(), self.1);
        }
        lanes
    }
}

/// Runs `kernel` compiled for AVX-512, for AVX2 with FMA, or for the build's own target.
pub(super) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")]
    fn avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<__m512, 8, 2>()
    }
    #[target_feature(enable = "avx2,fma")]
    fn avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Pair, 4, 1>()
    }
    match simd() {
        // SAFETY: `simd` found all features that `avx512` enables.
        Simd::Avx512 => unsafe { avx512(kernel) },
        // SAFETY: `simd` found all features that `avx2` enables.
        Simd::Avx2 => unsafe { avx2(kernel) },
        Simd::Baseline => kernel.run::<Lanes, 4, 1>(),
    }
}
