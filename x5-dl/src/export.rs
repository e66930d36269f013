//! Weights under the names of the published code, the way back from `import`.

use std::path::Path;

use minicube::run::{Failure, Finish};
use minicube::write_atomic;

use crate::error::Error;
use crate::forecaster::ModelFile;
use crate::harness::weights::Weights;
use crate::model::ModelKind;
use crate::plan::Plan;

/// Writes the weights of a trained model of the plan as safetensors under the published names; by default into
/// `exported.safetensors` of the model's folder.
///
/// # Errors
/// A [`Failure`] where there is no such model, it is not trained, or nothing of its kind is published.
pub fn export_weights(plan: &Plan, model: &str, out: Option<&Path>) -> Result<Finish, Failure> {
    if plan.models.iter().all(|m| m.name != model) {
        let names: Vec<&str> = plan.models.iter().map(|m| m.name.as_str()).collect();
        let failure = Failure::new(format!("no model `{model}` in [train]; found {}", names.join(", ")));
        return Err(failure.hint("name one of them with --model"));
    }
    let folder = plan.models_dir.join(model);
    let kind = ModelFile::read(&folder)?.architecture.kind();
    let weights = Weights::read(&folder.join("weights.safetensors"))?;
    let Some(named) = published(&weights, kind) else {
        let failure = Failure::new(format!(
            "{model}: no weights of {kind:?} are published, so there are no names to use"
        ));
        return Err(failure.hint("weights.safetensors of its folder has the arrays in PyTorch's shapes"));
    };
    let default = folder.join("exported.safetensors");
    let out = out.unwrap_or(&default);
    write_atomic(out, &named.to_bytes("exported")?).map_err(Error::from)?;
    Ok(Finish::text_only(format!(
        "{model}: {} parameters in {} arrays under the published names\n  written to {}\n  counters of batches and layers \
         that the published code does not use are left out: load with strict=False",
        named.count(),
        named.0.len(),
        out.display(),
    )))
}

/// The same arrays under the published names; `None` where one has none.
fn published(weights: &Weights, kind: ModelKind) -> Option<Weights> {
    let named = weights.0.iter().map(|(name, array)| Some((kind.exported_name(name)?, array.clone())));
    named.collect::<Option<_>>().map(Weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelConfig;
    use crate::harness::{backend, testing};
    use crate::import;
    use crate::model::Sizes;
    use crate::model::efficientnet::Encoder;

    const SIZES: Sizes =
        Sizes { context_steps: 3, target_steps: 2, channels: 1, statics: 1, scaled_statics: 1, weather: 2 };

    /// Reading what was written gives the same arrays under our names, for each kind that has published names.
    #[test]
    fn what_is_exported_can_be_imported() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("exported.safetensors");
        let of = |model| ModelConfig { model, hidden: Some(vec![8]), ..ModelConfig::default() };
        let small = |model| ModelConfig { depth: Some(2), heads: Some(2), ..of(model) };
        let on = |model, encoder| ModelConfig { encoder: Some(encoder), ..of(model) };
        for config in [
            of(ModelKind::Rnn),
            on(ModelKind::ContextRnn, Encoder::EfficientnetB0),
            on(ModelKind::ContextRnn, Encoder::PvtV2B0),
            on(ModelKind::ContextRnn, Encoder::Unet),
            on(ModelKind::ContextRnn, Encoder::Pixel),
            of(ModelKind::Convlstm),
            of(ModelKind::ConvlstmAe),
            small(ModelKind::NfUnet),
            small(ModelKind::StUnet),
            on(ModelKind::ChannelUnet, Encoder::EfficientnetB0),
            small(ModelKind::Contextformer),
        ] {
            let network = config.model.architecture(&config, &SIZES).network(0, &backend::device());
            let weights = network.initial(1);
            let named = published(&weights, config.model).unwrap();
            assert!(named.0.keys().all(|name| name.starts_with("model.")), "{:?}", config.model);
            std::fs::write(&path, named.to_bytes("").unwrap()).unwrap();
            let back = import::read(&path, config.model, &*network).unwrap();
            assert!(back == weights, "{:?}", config.model);
        }
        let weights = testing::golden("content_dynamic").gradients();
        assert!(published(&weights, ModelKind::ContentDynamic).is_none());
    }

    /// The names of networks of earthnet-models-pytorch, as the golden cases have them.
    #[test]
    fn names_are_the_published_ones() {
        for (case, kind) in [("st_unet", ModelKind::StUnet), ("nf_unet", ModelKind::NfUnet)] {
            let golden = testing::golden(case).weights();
            let own = golden.0.iter().map(|(name, array)| (kind.own_name(name).unwrap(), array.clone()));
            let back = published(&Weights(own.collect()), kind).unwrap();
            assert_eq!(back.strip("model."), golden, "{case}");
        }
        let name = |kind: ModelKind, own: &str| kind.exported_name(own).unwrap();
        assert_eq!(
            name(ModelKind::Convlstm, "cells.0.conv.weight"),
            "model.conv_lstm.cell_list.0.conv.weight"
        );
        assert_eq!(name(ModelKind::Rnn, "state_mlp.lin.2.bias"), "model.state_mlp.module.2.1.bias");
        assert_eq!(
            name(ModelKind::ContextRnn, "pyramid.decoder.seg_blocks.1.0.norm.weight"),
            "model.state_encoder.decoder.seg_blocks.1.block.0.block.1.weight"
        );
        assert_eq!(
            name(ModelKind::ChannelUnet, "unet.decoder.blocks.3.conv2.norm.bias"),
            "model.unet.decoder.blocks.3.conv2.1.bias"
        );
        assert_eq!(
            name(ModelKind::Contextformer, "embed_images.pvt.stages.1.blocks.0.norm1.bias"),
            "model.embed_images.pvt.stages_1.blocks.0.norm1.bias"
        );
    }
}
