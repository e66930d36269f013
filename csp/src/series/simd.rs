//! Runs a kernel with the widest vector instructions of the machine, chosen at run time.

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
    let fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let wide = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl");
    if fma && wide {
        // SAFETY: all features that `avx512` enables were detected just above.
        unsafe { avx512(kernel) }
    } else if fma {
        // SAFETY: all features that `avx2` enables were detected just above.
        unsafe { avx2(kernel) }
    } else {
        kernel.run()
    }
}

/// Runs `kernel` as compiled for the build's own target.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}
