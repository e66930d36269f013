//! The networks: forward passes only, no data handling and no training.
//!
//! A model is one file here, which implements [`Model`], and one line in [`models!`].

pub(crate) mod arcon_stf;
pub(crate) mod attention;
pub(crate) mod batch_norm;
pub(crate) mod channel_unet;
pub(crate) mod content_dynamic;
pub(crate) mod context_rnn;
pub(crate) mod contextformer;
pub(crate) mod convlstm;
pub(crate) mod convlstm_ae;
pub(crate) mod efficientnet;
pub(crate) mod film;
pub(crate) mod fpn;
pub(crate) mod init;
pub(crate) mod layers;
pub(crate) mod nf_unet;
pub(crate) mod pvt;
pub(crate) mod rnn;
pub(crate) mod sg_convlstm;
pub(crate) mod st_unet;
pub(crate) mod surroundings;
pub(crate) mod teacher;
pub(crate) mod unet;

use burn::module::Module;
use burn::tensor::{Device, Gradients, Tensor};
use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use crate::config::ModelConfig;
use crate::data::scaling::Scaling;
use crate::error::Error;
use crate::harness::gradient::{Loss, Network};
use crate::harness::weights::{self, Weights};
use crate::model::arcon_stf::ArconStfShape;
use crate::model::channel_unet::ChannelUnetShape;
use crate::model::content_dynamic::ContentDynamicShape;
use crate::model::context_rnn::ContextRnnShape;
use crate::model::contextformer::ContextformerShape;
use crate::model::convlstm::ConvLstmShape;
use crate::model::convlstm_ae::ConvLstmAeShape;
use crate::model::nf_unet::NfUnetShape;
use crate::model::rnn::RnnShape;
use crate::model::sg_convlstm::SgConvLstmShape;
use crate::model::st_unet::StUnetShape;

/// A network with everything that is its own: sizes, defaults, names of its parameters elsewhere.
pub(crate) trait Model: Module + Sync + 'static {
    /// Its sizes, as `model.json` stores them.
    type Shape;

    /// What is not set in the configuration.
    const DEFAULTS: Defaults;

    /// Sizes from the configuration and the data.
    fn shape(config: &ModelConfig, sizes: &Sizes) -> Self::Shape;

    /// The network with all parameters zero.
    fn new(shape: &Self::Shape, device: &Device) -> Self;

    /// The network with so many quantiles of each value; one without where it has no heads for them.
    fn with_quantiles(self, _count: usize, _device: &Device) -> Self {
        self
    }

    /// Predictions for the items of `inputs`, each flattened to one row; the inputs are those of the model's
    /// [`Layout`].
    fn forward(&self, inputs: &[ArrayD<f32>], device: &Device) -> Tensor<2>;

    /// Parameters to start training from: U(±1/√fan_in), PyTorch's default for linear maps and convolutions.
    fn start(&self, seed: u64) -> Weights {
        init::uniform(weights::collect(self), seed, init::fan_in)
    }

    /// How many numbers say what happens between two frames, where they are drawn in training; the divergence of their
    /// distribution is then one more value of each item.
    fn latent(_shape: &Self::Shape) -> Option<usize> {
        None
    }

    /// Whether it goes on from its own frames, and takes observed ones in their place: `model::teacher`.
    fn feeds_back() -> bool {
        false
    }

    /// What is wrong with the configuration: the key and the reason.
    fn problems(_config: &ModelConfig) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// The published name of a parameter of ours, the inverse of [`Model::published_name`]; none where nothing is published.
    fn exported_name(_own: &str) -> Option<String> {
        None
    }

    /// Our name of an array of a published checkpoint; none where it is no parameter of ours. Our own names stay.
    fn published_name(name: &str) -> Option<String> {
        Some(name.to_owned())
    }
}

/// What a network is fed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Single pixels: `prepare::pixel_inputs`.
    Pixels,
    /// Frames: `prepare::frame_inputs`.
    Frames,
    /// Frames, of which some pixels are asked for in training: `prepare::only_pixels`.
    FramePixels,
}

/// What a model does where the configuration says nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    /// What it is fed with.
    pub(crate) layout: Layout,
    /// Variables it forecasts.
    pub(crate) dynamic: &'static [&'static str],
    /// How weather is scaled.
    pub(crate) scaling: Scaling,
    /// Whether land cover is an input.
    pub(crate) feed_classes: bool,
    /// Whether kNDVI is divided by tanh(1), so that its range is 0..1.
    pub(crate) unit_kndvi: bool,
    /// What is minimised.
    pub(crate) loss: Loss,
    /// AdamW's decay of the weights; 0 = Adam.
    pub(crate) weight_decay: f64,
    /// Optimiser steps.
    pub(crate) steps: u64,
    /// Learning rate at the start.
    pub(crate) learning_rate: f64,
    /// Largest norm of the gradient.
    pub(crate) clip_norm: Option<f64>,
}

impl Defaults {
    /// Frames of the four bands, as the models of EarthNet2021 forecast them.
    pub(crate) const BANDS: Defaults = Defaults {
        layout: Layout::Frames,
        dynamic: &["blue", "green", "red", "nir"],
        scaling: Scaling::Zscore,
        feed_classes: false,
        unit_kndvi: false,
        loss: Loss::MaskedL1,
        weight_decay: 0.0,
        steps: 200,
        learning_rate: 1e-3,
        clip_norm: None,
    };

    /// Frames of NDVI and the bands, of which each pixel weighs the same, as the models of GreenEarthNet forecast them.
    pub(crate) const GREENNESS: Defaults = Defaults {
        dynamic: &["ndvi", "blue", "green", "red", "nir"],
        loss: Loss::PixelMse,
        weight_decay: 0.01,
        learning_rate: 4e-4,
        clip_norm: Some(1.0),
        ..Defaults::BANDS
    };
}

/// What an older `model.json` says of quirks by saying nothing.
pub(crate) fn kept() -> bool {
    true
}

/// What the data decide about a network's sizes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Observed steps.
    pub(crate) context_steps: usize,
    /// Forecast steps.
    pub(crate) target_steps: usize,
    /// Forecast channels.
    pub(crate) channels: usize,
    /// Static inputs, classes spread out.
    pub(crate) statics: usize,
    /// Static inputs that are no classes.
    pub(crate) scaled_statics: usize,
    /// Weather inputs.
    pub(crate) weather: usize,
}

macro_rules! models {
    ($($(#[$doc:meta])* $kind:ident($shape:ident) = $net:path;)*) => {
        /// The kinds of models.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum ModelKind {
            $($(#[$doc])* $kind,)*
        }

        /// A network with its sizes.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case", tag = "kind")]
        pub enum Architecture {
            $($(#[$doc])* $kind($shape),)*
        }

        impl ModelKind {
            pub(crate) fn defaults(self) -> Defaults {
                match self {
                    $(ModelKind::$kind => <$net as Model>::DEFAULTS,)*
                }
            }

            pub(crate) fn architecture(self, config: &ModelConfig, sizes: &Sizes) -> Architecture {
                match self {
                    $(ModelKind::$kind => Architecture::$kind(<$net as Model>::shape(config, sizes)),)*
                }
            }

            pub(crate) fn problems(self, config: &ModelConfig) -> Vec<(&'static str, String)> {
                match self {
                    $(ModelKind::$kind => <$net as Model>::problems(config),)*
                }
            }

            pub(crate) fn feeds_back(self) -> bool {
                match self {
                    $(ModelKind::$kind => <$net as Model>::feeds_back(),)*
                }
            }

            /// The published name of a parameter of a network of this kind; none where nothing is published.
            pub(crate) fn exported_name(self, own: &str) -> Option<String> {
                match self {
                    $(ModelKind::$kind => <$net as Model>::exported_name(own),)*
                }
            }

            /// Our name of an array of a checkpoint of this kind, if it is a parameter of ours.
            pub(crate) fn own_name(self, name: &str) -> Option<String> {
                match self {
                    $(ModelKind::$kind => <$net as Model>::published_name(name),)*
                }
            }
        }

        impl Architecture {
            /// Which kind of model it is.
            #[must_use]
            pub fn kind(&self) -> ModelKind {
                match self {
                    $(Architecture::$kind(_) => ModelKind::$kind,)*
                }
            }

            /// How many numbers say what happens between two frames.
            pub(crate) fn latent(&self) -> Option<usize> {
                match self {
                    $(Architecture::$kind(shape) => <$net as Model>::latent(shape),)*
                }
            }

            /// The network with all parameters zero, of so many quantiles; one value where there are none.
            pub(crate) fn network(&self, quantiles: usize, device: &Device) -> Box<dyn Network> {
                match self {
                    $(Architecture::$kind(shape) => {
                        Box::new(<$net as Model>::new(shape, device).with_quantiles(quantiles.max(1), device))
                    })*
                }
            }
        }
    };
}

models! {
    /// Pixelwise RNN of the DeepCube deliverable.
    Rnn(RnnShape) = rnn::PixelRnn;
    /// Pixelwise RNN that begins with what an encoder sees of the surroundings.
    ContextRnn(ContextRnnShape) = context_rnn::ContextRnn;
    /// ConvLSTM of Diaconu et al. (2022).
    Convlstm(ConvLstmShape) = convlstm::ConvLstm;
    /// ConvLSTM with peepholes that predicts differences, after Kladny et al. (2024).
    SgConvlstm(SgConvLstmShape) = sg_convlstm::SgConvLstm;
    /// ConvLSTM encoder and decoder, the "ConvLSTM" of GreenEarthNet.
    ConvlstmAe(ConvLstmAeShape) = convlstm_ae::ConvLstmAe;
    /// U-Net from one frame to the next.
    NfUnet(NfUnetShape) = nf_unet::NfUnet;
    /// U-Net from all context frames to all target frames.
    StUnet(StUnetShape) = st_unet::StUnet;
    /// U-Net of EarthNet2021 with time as channels.
    ChannelUnet(ChannelUnetShape) = channel_unet::ChannelUnet;
    /// Content that stays and a state that weather changes.
    ContentDynamic(ContentDynamicShape) = content_dynamic::ContentDynamic;
    /// Stochastic video prediction of EarthNet2021, in our reading.
    ArconStf(ArconStfShape) = arcon_stf::ArconStf;
    /// Transformer over time of GreenEarthNet.
    Contextformer(ContextformerShape) = contextformer::Contextformer;
}

#[expect(clippy::derivable_impls, reason = "the variants come from the table of models")]
impl Default for ModelKind {
    fn default() -> ModelKind {
        ModelKind::Rnn
    }
}

/// Pixels that a network of single pixels is trained with at once: a constant, so that sums have one order.
const PIXELS_AT_ONCE: usize = 256;

impl<M: Model> Network for M {
    fn initial(&self, seed: u64) -> Weights {
        self.start(seed)
    }

    fn parameters(&self) -> Weights {
        weights::collect(self)
    }

    fn loaded(&self, weights: &Weights, device: &Device) -> Result<Box<dyn Network>, Error> {
        Ok(Box::new(weights::load(self.clone(), weights, device)?))
    }

    fn predict(&self, inputs: &[ArrayD<f32>], device: &Device) -> Tensor<2> {
        self.forward(inputs, device)
    }

    fn at_once(&self) -> usize {
        match M::DEFAULTS.layout {
            Layout::Pixels => PIXELS_AT_ONCE,
            Layout::Frames | Layout::FramePixels => usize::MAX,
        }
    }

    fn gradients(&self, gradients: &Gradients) -> Weights {
        weights::collect_gradients(self, gradients)
    }

    fn statistics(&self) -> Weights {
        weights::collect_statistics(self)
    }
}
