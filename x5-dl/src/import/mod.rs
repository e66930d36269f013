//! Weights that were trained elsewhere: safetensors, and PyTorch's state dicts and Lightning checkpoints.

mod backbone;
mod floats;
mod pickle;
mod torch;

use std::path::{Path, PathBuf};

use minicube::run::{Failure, Finish};
use minicube::write_atomic;

use crate::error::Error;
use crate::harness::backend;
use crate::harness::gradient::Network;
use crate::harness::weights::Weights;
use crate::model::ModelKind;
use crate::plan::Plan;

/// Checks a file of weights against a model of the plan and writes them as safetensors under our names, which a
/// model's `weights` can name and PyTorch can load. By default into `imported.safetensors` of the model's folder.
///
/// # Errors
/// A [`Failure`] where there is no such model, the file cannot be read, or its weights are of another network; then
/// every parameter that differs is listed.
pub fn import_weights(plan: &Plan, model: &str, file: &Path, out: Option<&Path>) -> Result<Finish, Failure> {
    let Some(found) = plan.models.iter().find(|m| m.name == model) else {
        let names: Vec<&str> = plan.models.iter().map(|m| m.name.as_str()).collect();
        let failure = Failure::new(format!("no model `{model}` in [train]; found {}", names.join(", ")));
        return Err(failure.hint("name one of them with --model"));
    };
    let network = found.architecture.network(found.quantiles.len(), &backend::device());
    let weights = read(file, found.architecture.kind(), &*network)?;
    let default: PathBuf = plan.models_dir.join(model).join("imported.safetensors");
    let out = out.unwrap_or(&default);
    write_atomic(out, &weights.to_bytes("imported")?).map_err(Error::from)?;
    Ok(Finish::text_only(format!(
        "{}: {} parameters in {} arrays, as {model} has them\n  written to {}\n  to forecast with them: weights = \"{}\" \
         and steps = 0",
        file.display(),
        weights.count(),
        weights.0.len(),
        out.display(),
        out.display(),
    )))
}

/// The weights of a file under our names, which fit the network.
///
/// # Errors
/// - [`Error::Io`], [`Error::WeightsFile`] or [`Error::TorchFile`] if the file cannot be read,
/// - [`Error::Import`] if it is of another network.
pub(crate) fn read(path: &Path, kind: ModelKind, network: &dyn Network) -> Result<Weights, Error> {
    let raw = arrays(path)?;
    let expected = network.parameters();
    let named =
        Weights(raw.0.into_iter().filter_map(|(name, array)| Some((kind.own_name(&name)?, array))).collect());
    let differences = expected.differences(&named);
    if differences.is_empty() {
        return Ok(named);
    }
    Err(Error::Import { path: path.to_owned(), differences })
}

/// The weights `start` of a network, with those of its backbone from a file.
///
/// # Errors
/// - [`Error::Config`] if the network has no backbone,
/// - [`Error::Io`], [`Error::WeightsFile`] or [`Error::TorchFile`] if the file cannot be read,
/// - [`Error::Import`] if it is of another backbone.
pub(crate) fn with_backbone(start: Weights, path: &Path) -> Result<Weights, Error> {
    backbone::with_backbone(start, &arrays(path)?, path)
}

/// The arrays of real numbers in a file, by name.
fn arrays(path: &Path) -> Result<Weights, Error> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    if bytes.starts_with(b"PK\x03\x04") {
        return torch::state_dict(&bytes)
            .map_err(|reason| Error::TorchFile { path: path.to_owned(), reason });
    }
    if bytes.starts_with(&[0x80]) && path.extension().is_none_or(|ext| ext != "safetensors") {
        let reason = "it is of the format before PyTorch 1.6".to_owned();
        return Err(Error::TorchFile { path: path.to_owned(), reason });
    }
    floats::safetensors(&bytes).map_err(|reason| Error::WeightsFile { path: path.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::testing;
    use crate::model::Model;
    use crate::model::convlstm::{ConvLstm, ConvLstmShape};

    fn file(name: &str) -> PathBuf {
        minicube::testing::own_file("tests/data").join(name)
    }

    fn net(hidden: &[usize]) -> ConvLstm {
        let shape = ConvLstmShape {
            channels: 4,
            statics: 1,
            weather: 5,
            hidden: hidden.to_vec(),
            kernel: 3,
            target_steps: 3,
            quirks: true,
        };
        ConvLstm::new(&shape, &backend::device())
    }

    /// PyTorch saved the weights of the golden case in each of these ways.
    #[test]
    fn files_of_pytorch_hold_the_weights_they_were_made_of() {
        let expected = testing::golden("convlstm_tiny_net").weights();
        for name in ["tiny_lightning.ckpt", "tiny_state_dict.pt", "tiny_state_dict.safetensors"] {
            let found = read(&file(name), ModelKind::Convlstm, &net(&[6, 6])).unwrap();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn half_precision_and_views_are_read() {
        // 1.5, -2 and 0.1 as f16, bf16 and f64; a transposed 2 × 3 array of 0..6; every second of 0..6.
        let found = arrays(&file("kinds.pt")).unwrap();
        let values = |name: &str| found.0[name].iter().copied().collect::<Vec<f32>>();
        assert_eq!(values("half"), [1.5, -2.0, 0.099_975_586]);
        assert_eq!(values("brain"), [1.5, -2.0, 0.100_097_656]);
        assert_eq!(values("double"), [1.5, -2.0, 0.1]);
        assert_eq!(found.0["transposed"].shape(), [3, 2]);
        assert_eq!(values("transposed"), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(values("second"), [0.0, 2.0, 4.0]);
        assert!(!found.0.contains_key("counter"), "whole numbers are no weights");
    }

    #[test]
    fn another_network_is_refused_with_all_that_differs() {
        let path = file("tiny_state_dict.pt");
        let error = read(&path, ModelKind::Convlstm, &net(&[8, 6])).unwrap_err();
        let text = error.to_string();
        for part in [
            "tiny_state_dict.pt",
            "cells.0.conv.bias: expected [32], found [24]",
            "cells.0.conv.weight: expected [32, 18, 3, 3], found [24, 16, 3, 3]",
            "cells.1.conv.weight: expected [24, 14, 3, 3], found [24, 12, 3, 3]",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("cells.2"), "{text}");
        assert!(error.hint().is_some());
    }

    #[test]
    fn damaged_and_foreign_files_are_refused() {
        let whole = std::fs::read(file("tiny_state_dict.pt")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pt");
        for bytes in [&whole[..whole.len() / 2], b"PK\x03\x04", b"\x80\x02.", b"", b"{}"] {
            std::fs::write(&path, bytes).unwrap();
            assert!(arrays(&path).is_err(), "{} bytes", bytes.len());
        }
    }
}
