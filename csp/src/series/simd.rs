//! Runs a kernel with the widest vector instructions of the machine, chosen at run time.

#[cfg(target_arch = "x86_64")]
use minicube::Simd;

/// Work to be compiled once per instruction set; `run` must be `#[inline(always)]` for that to happen.
pub(super) trait Kernel {
    /// What the kernel gives back.
    type Output;
    /// Does the work.
    fn run(self) -> Self::Output;
}

/// Runs `kernel` compiled for AVX-512, for AVX2 with FMA, or for the build's own target.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "calling a #[target_feature] function, after checking that the CPU has them")]
pub(super) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")]
    fn avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run()
    }
    #[target_feature(enable = "avx2,fma")]
    fn avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run()
    }
    match minicube::simd() {
        // SAFETY: `simd` found all features that `avx512` enables.
        Simd::Avx512 => unsafe { avx512(kernel) },
        // SAFETY: `simd` found all features that `avx2` enables.
        Simd::Avx2 => unsafe { avx2(kernel) },
        Simd::Baseline => kernel.run(),
    }
}

/// Runs `kernel` as compiled for the build's own target.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}
