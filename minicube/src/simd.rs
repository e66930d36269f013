//! Which vector instructions kernels run with.

use std::sync::OnceLock;

/// Vector instructions of x86-64, the narrowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Simd {
    /// Those that the program is compiled for.
    Baseline,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, DQ, BW and VL, beside AVX2 and FMA.
    Avx512,
}

/// The widest that the machine has, found once. The environment variable `MINICUBE_SIMD` lowers it to `avx2` or `baseline`,
/// to compare them or to look for a fault; anything else in it does nothing.
pub fn simd() -> Simd {
    static FOUND: OnceLock<Simd> = OnceLock::new();
    *FOUND.get_or_init(|| at_most(widest(), &std::env::var("MINICUBE_SIMD").unwrap_or_default()))
}

fn at_most(widest: Simd, limit: &str) -> Simd {
    match limit {
        "avx2" => widest.min(Simd::Avx2),
        "baseline" => Simd::Baseline,
        _ => widest,
    }
}

#[cfg(target_arch = "x86_64")]
fn widest() -> Simd {
    let fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let wide = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl");
    match (fma, wide) {
        (true, true) => Simd::Avx512,
        (true, false) => Simd::Avx2,
        _ => Simd::Baseline,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn widest() -> Simd {
    Simd::Baseline
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_lowers_and_never_raises() {
        assert_eq!(at_most(Simd::Avx512, "avx2"), Simd::Avx2);
        assert_eq!(at_most(Simd::Baseline, "avx2"), Simd::Baseline);
        assert_eq!(at_most(Simd::Avx2, "baseline"), Simd::Baseline);
        assert_eq!(at_most(Simd::Avx2, "avx512"), Simd::Avx2);
        assert_eq!(at_most(Simd::Avx512, ""), Simd::Avx512);
    }
}
