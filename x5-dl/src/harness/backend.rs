//! The only place that names a burn backend.
//!
//! The default is `flex`, burn's pure-Rust CPU backend. The cargo features `cuda` and `wgpu` compile a GPU
//! backend in, which is then preferred; nothing else in the crate changes.

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{Device, DeviceError, DeviceType, FloatDType};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Whether the CPU computes, and the kernels made for it can be used.
pub(crate) const IS_CPU: bool = !cfg!(any(feature = "cuda", feature = "wgpu"));

/// How many devices train together.
static TOGETHER: AtomicUsize = AtomicUsize::new(1);

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

/// The devices that share a batch; the only one where nothing else was [configured](configure).
pub(crate) fn devices() -> Vec<Device> {
    match TOGETHER.load(Ordering::Relaxed) {
        1 => vec![device()],
        count => all_devices().into_iter().take(count).collect(),
    }
}

fn all_devices() -> Vec<Device> {
    #[cfg(feature = "cuda")]
    let kind = DeviceType::Cuda;
    #[cfg(all(feature = "wgpu", not(feature = "cuda")))]
    let kind = DeviceType::Wgpu;
    #[cfg(not(any(feature = "cuda", feature = "wgpu")))]
    let kind = DeviceType::Flex;
    Device::enumerate(kind).to_vec()
}

/// What trains, and in which numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Compute {
    /// Numbers of the forward and the backward pass.
    pub precision: Precision,
    /// GPUs that share a batch.
    pub devices: usize,
}

impl Compute {
    pub(crate) const USUAL: Compute = Compute { precision: Precision::F32, devices: 1 };

    pub(crate) fn is_usual(&self) -> bool {
        *self == Compute::USUAL
    }

    /// The backend, and what else is not usual: forecasts that are scored are made in the same numbers.
    pub(crate) fn text(&self) -> String {
        let mut text = backend_name().to_owned();
        if self.precision == Precision::Bf16 {
            text.push_str(", forward and backward passes and the scored forecasts in bf16");
        }
        if self.devices > 1 {
            text.push_str(&format!(", {} devices", self.devices));
        }
        text
    }
}

/// Numbers of the forward and the backward pass; weights, loss and optimiser are 32-bit always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit.
    #[default]
    F32,
    /// 16-bit with the range of 32-bit: no scaling of the loss is needed.
    Bf16,
}

/// Sets what this process computes with, before anything is computed.
///
/// # Errors
/// [`Error::FewDevices`] if there are fewer devices, [`Error::NoPrecision`] if a device does not have such numbers or has
/// computed with others before.
pub(crate) fn configure(compute: Compute) -> Result<(), Error> {
    let Compute { precision, devices: asked } = compute;
    if asked > 1 {
        let found = all_devices().len();
        if asked > found {
            return Err(Error::FewDevices { asked, found, backend: backend_name() });
        }
    }
    TOGETHER.store(asked, Ordering::Relaxed);
    let wanted = match precision {
        Precision::F32 => FloatDType::F32,
        Precision::Bf16 => FloatDType::BF16,
    };
    for mut device in devices() {
        let no = |error: DeviceError| Error::NoPrecision {
            asked: precision,
            backend: backend_name(),
            reason: error.to_string(),
        };
        if device.settings().float_dtype != wanted {
            device.configure(wanted).map_err(no)?;
        }
    }
    Ok(())
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
