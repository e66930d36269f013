//! The `[train]` section: what the user wrote. What is left out is decided in `plan.rs`.

use std::path::PathBuf;

use minicube::Split;
use serde::{Deserialize, Serialize};

use crate::baseline::Baseline;
use crate::data::context::ContextGaps;
use crate::data::scaling::Scaling;
use crate::harness::backend::{Backend, Precision};
use crate::harness::gradient::Loss;
use crate::harness::keep::KeepBy;
use crate::harness::scheduled_sampling::ScheduledSampling;
use crate::model::ModelKind;
use crate::model::efficientnet::Encoder;

/// Section `[train]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What each model is compared with.
    pub baselines: Vec<Baseline>,
    /// Observed steps.
    pub context_steps: usize,
    /// Forecast steps.
    pub target_steps: usize,
    /// Splits that are forecast and scored.
    pub score_splits: Vec<Split>,
    /// Land-cover classes that count as vegetation, for the RNN's pixels and for the scores. Empty = all.
    pub vegetation: Vec<u8>,
    /// What has to compute; whatever the program is built with where absent.
    pub backend: Option<Backend>,
    /// Numbers of the forward and the backward pass.
    pub precision: Precision,
    /// GPUs that share each batch.
    pub devices: usize,
    /// Seed; that of the project where absent.
    pub seed: Option<u64>,
    /// The models.
    pub models: Vec<ModelConfig>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            baselines: vec![Baseline::Persistence, Baseline::Climatology],
            context_steps: 9,
            target_steps: 36,
            score_splits: vec![Split::Val],
            // ESA WorldCover: trees, shrubs, grass, crops.
            vegetation: vec![10, 20, 30, 40],
            backend: None,
            precision: Precision::F32,
            devices: 1,
            seed: None,
            models: vec![ModelConfig { name: "rnn".into(), ..ModelConfig::default() }],
        }
    }
}

/// How the learning rate falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecayKind {
    /// Drops by `gamma` at the `milestones`.
    #[default]
    Milestones,
    /// Half a cosine to 0.
    Cosine,
}

/// One entry of `[[train.models]]`. Everything but the name has a default that depends on the kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Name of the model's folder.
    pub name: String,
    /// Its kind.
    pub model: ModelKind,
    /// Observed steps, where other than the section's.
    pub context_steps: Option<usize>,
    /// Forecast steps, where other than the section's.
    pub target_steps: Option<usize>,
    /// Variables to forecast; the model's own where absent: `["kndvi"]` (RNN), the four bands (ConvLSTM).
    pub dynamic: Option<Vec<String>>,
    /// Weather variables; all that Level 2 has.
    pub weather: Option<Vec<String>>,
    /// Static layers; those of `dem` and `landcover` that Level 2 has (ConvLSTM: `dem`).
    pub statics: Option<Vec<String>>,
    /// How weather is scaled.
    pub scaling: Scaling,
    /// What is fed where the context has no observation; the stored value for EarthNet2021, else the last
    /// observation is held at the end of the context.
    pub context_gaps: Option<ContextGaps>,
    /// Hidden sizes, by the model: one for the RNN (192), those before the output cell for the ConvLSTM (32, 32, 32).
    pub hidden: Option<Vec<usize>>,
    /// RNN: width of the GRU's input (half of hidden).
    pub update: Option<usize>,
    /// ContextRNN, Channel-U-Net: what makes maps of the image.
    pub encoder: Option<Encoder>,
    /// Contextformer: heads of the attention (8).
    pub heads: Option<usize>,
    /// U-Nets: halvings of the image (5). Contextformer: layers (3).
    pub depth: Option<usize>,
    /// Convolutions: side of the kernel, odd; the published one where absent.
    pub kernel: Option<usize>,
    /// Whether what is odd in the published model is kept, as its card tells: true.
    pub quirks: Option<bool>,
    /// RNN, ContextRNN: whether the GRU goes through the weather of the context first; false, as published.
    pub context_weather: Option<bool>,
    /// A file of weights to begin from: `.safetensors`, or a state dict or Lightning checkpoint of PyTorch.
    pub weights: Option<PathBuf>,
    /// RNN, ContextRNN: quantiles of the index to forecast, ascending, inside 0..1 and with 0.5, which is the forecast;
    /// none: one value alone.
    pub quantiles: Option<Vec<f64>>,
    /// Arcon-STF: numbers that say what happens between two frames (12).
    pub latent: Option<usize>,
    /// A file of weights of the backbone alone, an EfficientNet or a PVT v2 under timm's names, as those of ImageNet are.
    pub backbone: Option<PathBuf>,
    /// ConvLSTMs, next-frame U-Net: how observed frames are fed in training; never as published.
    pub scheduled_sampling: Option<ScheduledSampling>,
    /// What is minimised; as published where absent, `quantile` where there are quantiles.
    pub loss: Option<Loss>,
    /// Optimiser steps: 400 (RNN), 200 (others). 0 = the weights of the file as they are.
    pub steps: Option<u64>,
    /// Samples a batch: 4.
    pub batch: Option<usize>,
    /// Batches a step: 1.
    pub accumulate: Option<u64>,
    /// RNN: vegetation pixels of each sample (512).
    pub pixels: Option<usize>,
    /// All others: side of the crop in pixels (32).
    pub crop: Option<usize>,
    /// Models of frames: whether crops are turned and mirrored at random; false.
    pub augment: Option<bool>,
    /// Learning rate after the warm-up: 0.005 (RNN), 0.001 (ConvLSTM).
    pub learning_rate: Option<f64>,
    /// Part of the steps, 0..1, over which the learning rate rises: 0.
    pub warm_up: Option<f64>,
    /// How it falls then.
    pub decay: DecayKind,
    /// Parts of the steps, 0..1, after which the learning rate drops: 0.6 and 0.85.
    pub milestones: Option<Vec<f64>>,
    /// Factor of each drop: 0.3.
    pub gamma: Option<f64>,
    /// AdamW's decay of the weights; 0 = Adam. As published where absent.
    pub weight_decay: Option<f64>,
    /// Part of the mean of the weights that each step keeps, 0..1; the mean then forecasts. 0 = off.
    pub average: Option<f64>,
    /// Best validations whose weights are kept: 1.
    pub keep: Option<usize>,
    /// What they are best by, also for `patience`: the loss.
    pub keep_by: KeepBy,
    /// Validations in a row without a better one after which training ends: never.
    pub patience: Option<u64>,
    /// Largest gradient norm: 1 (RNN), none (ConvLSTM). 0 = none.
    pub clip_norm: Option<f64>,
    /// Validation every so many steps: a twentieth of the steps.
    pub validate_every: Option<u64>,
    /// Checkpoint every so many steps: as validation.
    pub checkpoint_every: Option<u64>,
    /// Samples of the validation split that are used while training: 8.
    pub validation_samples: Option<usize>,
    /// Seed, where other than the section's.
    pub seed: Option<u64>,
}
