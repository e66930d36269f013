//! Real numbers of several widths, and the safetensors files that hold them.

use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use crate::harness::weights::Weights;

/// Kinds of real numbers, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Real {
    F16,
    Bf16,
    F32,
    F64,
}

impl Real {
    /// Bytes of one number.
    pub(super) fn width(self) -> usize {
        match self {
            Real::F16 | Real::Bf16 => 2,
            Real::F32 => 4,
            Real::F64 => 8,
        }
    }

    /// The number in the first bytes, rounded to 32 bits; 0 where there are too few.
    pub(super) fn read(self, bytes: &[u8]) -> f32 {
        match self {
            Real::F16 => bytes.first_chunk().map_or(0.0, |&b| f16::from_le_bytes(b).to_f32()),
            Real::Bf16 => bytes.first_chunk().map_or(0.0, |&b| bf16::from_le_bytes(b).to_f32()),
            Real::F32 => bytes.first_chunk().map_or(0.0, |&b| f32::from_le_bytes(b)),
            Real::F64 => bytes.first_chunk().map_or(0.0, |&b| f64::from_le_bytes(b) as f32),
        }
    }
}

/// The arrays of real numbers in a safetensors file; others are left out. The error is a reason.
pub(super) fn safetensors(bytes: &[u8]) -> Result<Weights, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let mut found = Weights::default();
    for (name, view) in file.tensors() {
        let real = match view.dtype() {
            Dtype::F16 => Real::F16,
            Dtype::BF16 => Real::Bf16,
            Dtype::F32 => Real::F32,
            Dtype::F64 => Real::F64,
            _ => continue,
        };
        let values = view.data().chunks_exact(real.width()).map(|b| real.read(b)).collect();
        let array =
            ArrayD::from_shape_vec(IxDyn(view.shape()), values).map_err(|e| format!("{name}: {e}"))?;
        found.0.insert(name, array);
    }
    Ok(found)
}
