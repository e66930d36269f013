//! The only place that names a burn backend.
//!
//! The default is `flex`, burn's pure-Rust CPU backend. The cargo features `cuda` and `wgpu` compile a GPU
//! backend in, which is then preferred; nothing else in the crate changes.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

/// Whether the CPU computes, and the kernels made for it can be used.
pub(crate) const IS_CPU: bool = !cfg!(any(feature = "cuda", feature = "wgpu"));

/// The device that computes: the GPU where one was compiled in, else the CPU.
pub(crate) fn device() -> Device {
    #[cfg(feature = "cuda")]
    return Device::cuda(0);
    #[cfg(all(feature = "wgpu", not(feature = "cuda")))]
    return Device::wgpu(burn::tensor::DeviceKind::DefaultDevice);
    #[cfg(not(any(feature = "cuda", feature = "wgpu")))]
    Device::flex()
}

/// The same device with gradients recorded.
pub(crate) fn training_device() -> Device {
    device().autodiff()
}

/// A backend that the program may be built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// burn's CPU backend, always there.
    Flex,
    /// NVIDIA GPUs: `--features cuda`.
    Cuda,
    /// Any GPU: `--features wgpu`.
    Wgpu,
}

impl Backend {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Backend::Flex => "flex",
            Backend::Cuda => "cuda",
            Backend::Wgpu => "wgpu",
        }
    }
}

/// Name of the compiled backend, for the run manifest.
#[must_use]
pub fn backend_name() -> &'static str {
    if cfg!(feature = "cuda") {
        "cuda"
    } else if cfg!(feature = "wgpu") {
        "wgpu"
    } else {
        "flex"
    }
}

/// Keeps freed tensor memory in the process instead of handing each block back to the kernel.
///
/// Every tensor operation allocates; with glibc's defaults each block above 128 KiB is mapped and unmapped
/// again, and the page faults cost a quarter of a training step. Call once at the start of a program; it does
/// nothing where the C library is not glibc.
#[expect(unsafe_code, reason = "mallopt is a C function; it only sets allocator options")]
pub fn tune_allocator() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt takes two integers, touches no memory of ours, and reports a refusal by its result.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
    }
}
