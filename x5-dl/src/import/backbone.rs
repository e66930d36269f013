//! The part of a network that sees images, with weights that were trained on ImageNet or elsewhere.

use std::path::Path;

use ndarray::{ArrayD, Axis, Ix4, stack};

use crate::error::Error;
use crate::harness::weights::Weights;

/// The first convolutions of the backbones, by which they are found; the only arrays that depend on the inputs.
const FIRST: [&str; 2] = ["conv_stem.weight", "patch_embed.proj.weight"];
/// What follows a backbone when it names pictures, and is no part of ours.
const HEADS: [&str; 4] = ["conv_head.", "bn2.", "classifier.", "head."];

/// The weights `start` of a network with those of its backbone from a file, which has timm's names. A first convolution of
/// another number of inputs repeats its inputs in turn, scaled so that their sum stays (as timm does it).
///
/// # Errors
/// - [`Error::Config`] if the network has no backbone,
/// - those of reading a file of weights,
/// - [`Error::Import`] if it is of another backbone, with every array that differs.
pub(super) fn with_backbone(mut start: Weights, file: &Weights, path: &Path) -> Result<Weights, Error> {
    let found = start.0.keys().find_map(|name| {
        let first = FIRST.into_iter().find(|first| name.ends_with(first))?;
        Some((name.strip_suffix(first)?.to_owned(), first))
    });
    let Some((prefix, first)) = found else {
        return Err(Error::Config(vec!["backbone: this model has none, found a file for it".to_owned()]));
    };
    let own = start.strip(&prefix);
    let named = file.0.iter().filter(|(name, _)| HEADS.iter().all(|head| !name.starts_with(head)));
    let mut named = Weights(named.map(|(name, a)| (name.replace("stages_", "stages."), a.clone())).collect());
    let inputs = own.0.get(first).map_or(0, |array| array.len_of(Axis(1)));
    if let Some(adapted) = named.0.get(first).and_then(|array| with_inputs(array, inputs)) {
        named.0.insert(first.to_owned(), adapted);
    }
    let differences = own.differences(&named);
    if !differences.is_empty() {
        return Err(Error::Import { path: path.to_owned(), differences });
    }
    start.insert_all(&prefix, &named);
    Ok(start)
}

/// A convolution `[out, in, y, x]` of so many inputs.
fn with_inputs(array: &ArrayD<f32>, inputs: usize) -> Option<ArrayD<f32>> {
    let array = array.view().into_dimensionality::<Ix4>().ok()?;
    let theirs = array.len_of(Axis(1));
    let columns: Vec<_> = (0..inputs).map(|k| array.index_axis(Axis(1), k % theirs.max(1))).collect();
    let scale = theirs as f32 / inputs as f32;
    Some(stack(Axis(1), &columns).ok()?.mapv(|v| v * scale).into_dyn())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelConfig;
    use crate::harness::backend;
    use crate::model::efficientnet::Encoder;
    use crate::model::{ModelKind, Sizes};
    use ndarray::IxDyn;

    /// The start of a ContextRNN of four image inputs.
    fn start(encoder: Encoder) -> Weights {
        let config = ModelConfig {
            model: ModelKind::ContextRnn,
            encoder: Some(encoder),
            hidden: Some(vec![6]),
            ..ModelConfig::default()
        };
        let sizes = Sizes {
            context_steps: 3,
            target_steps: 2,
            channels: 1,
            statics: 1,
            scaled_statics: 1,
            weather: 2,
        };
        config.model.architecture(&config, &sizes).network(0, &backend::device()).initial(1)
    }

    /// A file as timm writes it: pictures of three colours, and a head.
    fn file(start: &Weights, prefix: &str, first: &str) -> Weights {
        let mut file = start.strip(prefix);
        for array in file.0.values_mut() {
            array.fill(0.25);
        }
        let mut shape = file.0[first].shape().to_vec();
        shape[1] = 3;
        let colours = ArrayD::from_shape_fn(IxDyn(&shape), |at| (at[1] + 1) as f32);
        file.0.insert(first.to_owned(), colours);
        file.0.insert("classifier.weight".to_owned(), ArrayD::zeros(IxDyn(&[10, 4])));
        file
    }

    #[test]
    fn a_backbone_takes_its_place_and_its_first_convolution_has_our_inputs() {
        for (encoder, prefix, first) in [
            (Encoder::EfficientnetB0, "pyramid.encoder.", "conv_stem.weight"),
            (Encoder::PvtV2B0, "transformers.pvt.", "patch_embed.proj.weight"),
        ] {
            let start = start(encoder);
            let found = with_backbone(start.clone(), &file(&start, prefix, first), Path::new("x")).unwrap();
            // Inputs 1, 2, 3, 1 of colours 1, 2, 3, times 3/4.
            let stem = &found.0[&format!("{prefix}{first}")];
            let inputs: Vec<f32> = (0..4).map(|k| stem[[0, k, 0, 0]]).collect();
            assert_eq!(inputs, [0.75, 1.5, 2.25, 0.75]);
            for (name, array) in &found.0 {
                let of_backbone = name.starts_with(prefix);
                assert!(name.ends_with(first) || !of_backbone || array.iter().all(|&v| v == 0.25), "{name}");
                assert!(of_backbone || *array == start.0[name], "{name}");
            }
        }
    }

    #[test]
    fn another_backbone_is_refused_with_all_that_differs() {
        let (small, other) = (start(Encoder::EfficientnetB0), start(Encoder::PvtV2B0));
        let theirs = file(&other, "transformers.pvt.", "patch_embed.proj.weight");
        let text = with_backbone(small, &theirs, Path::new("pvt.safetensors")).unwrap_err().to_string();
        assert!(text.starts_with("pvt.safetensors: weights of another network: "), "{text}");
        assert!(text.contains("expected [32], found nothing") && text.contains("more"), "{text}");
        let plain = start(Encoder::Convolutions);
        let text = with_backbone(plain, &theirs, Path::new("x")).unwrap_err().to_string();
        assert!(text.contains("backbone: this model has none"), "{text}");
    }
}
