//! What will run: every default filled in, checked against the data.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use minicube::Split;
use minicube::run::Project;
use serde::Serialize;

use crate::baseline::Baseline;
use crate::config::{Config, DecayKind, ModelConfig};
use crate::data::DataSpec;
use crate::data::context::ContextGaps;
use crate::data::scaling::{Scaling, Statistics, static_inputs};
use crate::data::source::{self, Store};
use crate::error::Error;
use crate::harness::backend::{Backend, Compute, backend_name};
use crate::harness::fit::FitPlan;
use crate::harness::gradient::Loss;
use crate::harness::keep::KeepBy;
use crate::harness::schedule::{Decay, Schedule};
use crate::harness::scheduled_sampling::ScheduledSampling;
use crate::model::{Architecture, Layout, Sizes};
use crate::prepare::Preparation;
use crate::score::summary::Scoring;

/// Everything a run does.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Level-2 folder.
    #[serde(skip)]
    pub level2: PathBuf,
    /// Folder of all models.
    #[serde(skip)]
    pub models_dir: PathBuf,
    /// Folder of what `forecast` writes.
    #[serde(skip)]
    pub forecasts_dir: PathBuf,
    /// The models, in the order of the configuration.
    pub models: Vec<ModelPlan>,
}

/// Everything that decides the bytes of one model's folder.
#[derive(Clone, Debug, Serialize)]
pub struct ModelPlan {
    /// The model's name and folder.
    pub name: String,
    /// Network and sizes.
    pub architecture: Architecture,
    /// What it reads.
    pub data: DataSpec,
    /// What is done to that first.
    pub preparation: Preparation,
    /// Quantiles it forecasts; none: one value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<f64>,
    /// The file of weights to begin from.
    #[serde(skip)]
    pub weights: Option<PathBuf>,
    /// Its SHA-256.
    pub weights_sha256: Option<String>,
    /// The file of the backbone's weights to begin from.
    #[serde(skip)]
    pub backbone: Option<PathBuf>,
    /// Its SHA-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backbone_sha256: Option<String>,
    /// How it is trained.
    pub fit: FitPlan,
    /// How examples are drawn.
    pub sampling: Sampling,
    /// What it is compared with.
    pub baselines: Vec<Baseline>,
    /// Where it is scored.
    pub score_splits: Vec<Split>,
    /// How it is scored.
    pub scoring: Scoring,
    /// What trains it, and in which numbers.
    #[serde(skip_serializing_if = "Compute::is_usual")]
    pub compute: Compute,
    /// Seed of the weights and of the sampling.
    pub seed: u64,
    /// Level-2 stores and the identity of the plan that made each.
    pub inputs: Vec<(String, String)>,
}

/// How training examples are drawn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sampling {
    /// Samples a batch.
    pub batch: usize,
    /// Networks of single pixels: pixels of each.
    pub pixels: usize,
    /// Networks of frames: side of the crop.
    pub crop: usize,
    /// Networks of frames: whether crops are turned and mirrored at random.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub augment: bool,
    /// Samples of the validation split used while training.
    pub validation_samples: usize,
    /// How observed frames are fed in training; none = never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduled_sampling: Option<ScheduledSampling>,
}

/// What Level 2 offers.
struct Facts {
    store: Store,
    source: String,
    ndvi_epsilon: f32,
    statistics: Statistics,
    inputs: Vec<(String, String)>,
    has_validation: bool,
}

impl Config {
    /// Fills in all defaults and checks everything; all problems of the section come at once.
    ///
    /// # Errors
    /// - [`Error::Config`] with every problem of the section,
    /// - [`Error::NoBackend`] if another backend is asked for than there is,
    /// - [`Error::NoSamples`] if there is no training split,
    /// - [`Error::NoVariable`] if a named variable is not in Level 2,
    /// - [`Error::Files`], [`Error::Io`] or [`Error::Json`] if Level 2 cannot be read.
    pub fn resolve(&self, project: &Project) -> Result<Plan, Error> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(Error::Config(problems));
        }
        if let Some(asked) = self.backend.map(Backend::name).filter(|&asked| asked != backend_name()) {
            return Err(Error::NoBackend { asked, built: backend_name() });
        }
        let facts = Facts::read(&project.level2(), &self.score_splits)?;
        let models = self
            .models
            .iter()
            .map(|model| self.resolve_model(model, &facts, project.seed))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Plan {
            level2: project.level2(),
            models_dir: project.models(),
            forecasts_dir: project.dir.join("forecasts"),
            models,
        })
    }

    fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut need = |ok: bool, text: String| {
            if !ok {
                found.push(text);
            }
        };
        need(self.devices > 0, "devices: expected at least 1, found 0".into());
        need(!self.models.is_empty(), "models: expected at least one [[train.models]], found none".into());
        let names: BTreeSet<&str> = self.models.iter().map(|m| m.name.as_str()).collect();
        need(names.len() == self.models.len(), "models: names must differ".into());
        for m in &self.models {
            let at = |key: &str| format!("models.{}.{key}", if m.name.is_empty() { "?" } else { &m.name });
            let plain =
                !m.name.is_empty() && m.name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
            need(plain, format!("{}: expected letters, digits, - and _, found `{}`", at("name"), m.name));
            let (context, target) = self.lengths(m);
            need(
                context > 0 && target > 0,
                format!("{}: context and target need at least one step", at("context_steps")),
            );
            let positive = [
                ("batch", m.batch.map(|v| v as u64)),
                ("accumulate", m.accumulate),
                ("keep", m.keep.map(|v| v as u64)),
                ("patience", m.patience),
                ("pixels", m.pixels.map(|v| v as u64)),
                ("crop", m.crop.map(|v| v as u64)),
                ("validate_every", m.validate_every),
                ("checkpoint_every", m.checkpoint_every),
                ("validation_samples", m.validation_samples.map(|v| v as u64)),
            ];
            for (key, value) in positive {
                need(value != Some(0), format!("{}: expected at least 1, found 0", at(key)));
            }
            let untrained = m.steps == Some(0) && m.weights.is_none();
            need(
                !untrained,
                format!("{}: expected at least 1 where there are no `weights`, found 0", at("steps")),
            );
            let rate = m.learning_rate.unwrap_or(1e-3);
            need(rate > 0.0 && rate < 1.0, format!("{}: expected 0..1, found {rate}", at("learning_rate")));
            let parts = [("warm_up", m.warm_up), ("average", m.average), ("weight_decay", m.weight_decay)];
            for (key, value) in parts.into_iter().filter_map(|(key, value)| Some((key, value?))) {
                need(
                    (0.0..1.0).contains(&value),
                    format!("{}: expected 0 to below 1, found {value}", at(key)),
                );
            }
            let inside = m.milestones.iter().flatten().all(|v| (0.0..=1.0).contains(v));
            need(inside, format!("{}: expected parts of the steps, 0..1", at("milestones")));
            let hidden = m.hidden.clone().unwrap_or(vec![1]);
            let sized = !hidden.is_empty() && !hidden.contains(&0);
            need(sized, format!("{}: expected sizes of at least 1", at("hidden")));
            let kernel = m.kernel.unwrap_or(3);
            need(kernel % 2 == 1, format!("{}: expected an odd number, found {kernel}", at("kernel")));
            let bands = m.dynamic.as_ref().map_or(m.model.defaults().dynamic.len(), Vec::len) == 4;
            let fits = m.loss != Some(Loss::MaskedNdvi) || bands;
            need(fits, format!("{}: masked_ndvi needs the four bands to be forecast", at("loss")));
            let turns = m.augment != Some(true) || m.model.defaults().layout != Layout::Pixels;
            need(turns, format!("{}: this model sees single pixels, which nothing turns", at("augment")));
            need(
                m.backbone.is_none() || m.weights.is_none(),
                format!("{}: `weights` hold the backbone too, leave one of them out", at("backbone")),
            );
            let told = m.context_weather.is_none() || m.model.defaults().layout != Layout::Frames;
            need(told, format!("{}: only rnn and context_rnn have this choice", at("context_weather")));
            if let Some(sampling) = &m.scheduled_sampling {
                need(
                    m.model.feeds_back(),
                    format!("{}: this model does not go on from its own frames", at("scheduled_sampling")),
                );
                if let Some(reason) = sampling.problem() {
                    need(false, format!("{}: {reason}", at("scheduled_sampling")));
                }
            }
            if let Some(reason) = keep_problem(m) {
                need(false, format!("{}: {reason}", at("keep_by")));
            }
            if let Some(reason) = quantile_problem(m) {
                need(false, format!("{}: {reason}", at("quantiles")));
            }
            for (key, reason) in m.model.problems(m) {
                need(false, format!("{}: {reason}", at(key)));
            }
        }
        found
    }

    fn lengths(&self, model: &ModelConfig) -> (usize, usize) {
        (model.context_steps.unwrap_or(self.context_steps), model.target_steps.unwrap_or(self.target_steps))
    }

    fn resolve_model(&self, m: &ModelConfig, facts: &Facts, project_seed: u64) -> Result<ModelPlan, Error> {
        let own = m.model.defaults();
        let (context_steps, target_steps) = self.lengths(m);
        let texts = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect::<Vec<String>>();
        let layers = facts.store.group("static");
        // Land cover is read even where it is no input: the scores count vegetation only.
        let default_statics: Vec<String> =
            texts(&["dem", "landcover"]).into_iter().filter(|name| layers.contains(name)).collect();
        let data = DataSpec {
            dynamic: m.dynamic.clone().unwrap_or(texts(own.dynamic)),
            weather: m.weather.clone().unwrap_or_else(|| facts.store.group("weather").into_iter().collect()),
            statics: m.statics.clone().unwrap_or(default_statics),
            context_steps,
            target_steps,
        };
        facts.store.check(&data)?;
        let preparation = facts.preparation(m, &data)?;
        let sizes = Sizes {
            context_steps,
            target_steps,
            channels: data.dynamic.len(),
            statics: preparation.static_width(),
            scaled_statics: preparation.scaled_width(),
            weather: data.weather.len(),
        };
        let steps = m.steps.unwrap_or(own.steps);
        let part = |p: f64| (p * steps as f64).round() as u64;
        let validate_every = m.validate_every.unwrap_or((steps / 20).max(1));
        let milestones = m.milestones.clone().unwrap_or(vec![0.6, 0.85]).into_iter().map(part).collect();
        let above_0 = |value: Option<f64>| value.filter(|&v| v > 0.0);
        let backbone_sha256 = m.backbone.as_deref().map(minicube::sha256_file).transpose()?;
        let weights_sha256 = m.weights.as_deref().map(minicube::sha256_file).transpose()?;
        Ok(ModelPlan {
            name: m.name.clone(),
            architecture: m.model.architecture(m, &sizes),
            data,
            preparation,
            quantiles: m.quantiles.clone().unwrap_or_default(),
            weights: m.weights.clone(),
            weights_sha256,
            backbone: m.backbone.clone(),
            backbone_sha256,
            fit: FitPlan {
                steps,
                learning_rate: m.learning_rate.unwrap_or(own.learning_rate),
                schedule: Schedule {
                    warm_up: part(m.warm_up.unwrap_or(0.0)),
                    decay: match m.decay {
                        DecayKind::Milestones => {
                            Decay::Milestones { steps: milestones, gamma: m.gamma.unwrap_or(0.3) }
                        }
                        DecayKind::Cosine => Decay::Cosine,
                    },
                },
                weight_decay: m.weight_decay.unwrap_or(own.weight_decay),
                accumulate: m.accumulate.unwrap_or(1),
                average: above_0(m.average),
                clip_norm: above_0(m.clip_norm.or(own.clip_norm)),
                loss: m.loss.unwrap_or(if m.quantiles.is_some() { Loss::Quantile } else { own.loss }),
                keep: m.keep.unwrap_or(1),
                keep_by: m.keep_by,
                patience: m.patience,
                validate_every,
                checkpoint_every: m.checkpoint_every.unwrap_or(validate_every),
            },
            sampling: Sampling {
                batch: m.batch.unwrap_or(4),
                pixels: m.pixels.unwrap_or(512),
                crop: m.crop.unwrap_or(32).min(facts.store.size.0).min(facts.store.size.1),
                augment: m.augment.unwrap_or(false),
                validation_samples: m.validation_samples.unwrap_or(8),
                scheduled_sampling: m.scheduled_sampling,
            },
            baselines: self.baselines.clone(),
            score_splits: if facts.has_validation { self.score_splits.clone() } else { vec![Split::Train] },
            scoring: Scoring { vegetation: self.vegetation.clone(), ndvi_epsilon: facts.ndvi_epsilon },
            compute: Compute { precision: self.precision, devices: self.devices },
            seed: m.seed.or(self.seed).unwrap_or(project_seed),
            inputs: facts.inputs.clone(),
        })
    }
}

/// What is wrong with the score that weights are kept by.
fn keep_problem(m: &ModelConfig) -> Option<String> {
    let own = m.model.defaults();
    let channels: Vec<&str> = match &m.dynamic {
        Some(names) => names.iter().map(String::as_str).collect(),
        None => own.dynamic.to_vec(),
    };
    let has = |name: &str| channels.contains(&name);
    let ndvi = has("ndvi") || (has("red") && has("nir"));
    let bands = channels == ["blue", "green", "red", "nir"] && own.layout == Layout::Frames;
    let (fits, needs) = match m.keep_by {
        KeepBy::Loss => (true, ""),
        KeepBy::KndviMae | KeepBy::Nnse => (ndvi || has("kndvi"), "ndvi, kndvi, or red and nir"),
        KeepBy::Ens => (bands, "blue, green, red and nir, in this order, of whole frames"),
    };
    (!fits).then(|| format!("it needs {needs} to be forecast, found {}", channels.join(", ")))
}

/// What is wrong with the quantiles of a model, and with its loss because of them.
fn quantile_problem(m: &ModelConfig) -> Option<String> {
    let Some(levels) = &m.quantiles else {
        return (m.loss == Some(Loss::Quantile))
            .then(|| "the loss `quantile` needs them, found none".to_owned());
    };
    let ascending = levels.windows(2).all(|pair| pair[0] < pair[1]);
    let inside = levels.iter().all(|level| *level > 0.0 && *level < 1.0);
    if !(ascending && inside && levels.contains(&0.5)) {
        return Some(format!("expected ascending numbers inside 0..1 with 0.5 among them, found {levels:?}"));
    }
    if m.model.defaults().layout == Layout::Frames {
        return Some(
            "only rnn and context_rnn forecast quantiles; others tell their spread as several models".into(),
        );
    }
    let other = m.loss.filter(|loss| *loss != Loss::Quantile);
    other.map(|_| "they need the loss `quantile`: leave `loss` out".to_owned())
}

impl Facts {
    fn read(level2: &Path, score_splits: &[Split]) -> Result<Facts, Error> {
        let mut inputs = Vec::new();
        let mut has_validation = false;
        for split in [Split::Train, Split::Val, Split::Test] {
            for path in source::store_paths(level2, split)? {
                let store = Store::open(&path)?;
                let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
                inputs.push((format!("{split}/{name}"), store.cube.attr_str("plan_hash")?.to_owned()));
                has_validation |= score_splits.contains(&split) && !store.ids.is_empty();
            }
        }
        let folder = level2.join("train");
        let Some(first) = source::store_paths(level2, Split::Train)?.into_iter().next() else {
            return Err(Error::NoSamples { path: folder, reason: "no training samples".into() });
        };
        let store = Store::open(&first)?;
        let source = store.cube.attr_str("source").unwrap_or("minicube").to_owned();
        let ndvi_epsilon = store.cube.attr_f64("ndvi_epsilon").unwrap_or(1e-6) as f32;
        Ok(Facts {
            statistics: Statistics::read(level2)?,
            store,
            source,
            ndvi_epsilon,
            inputs,
            has_validation,
        })
    }

    fn preparation(&self, m: &ModelConfig, data: &DataSpec) -> Result<Preparation, Error> {
        let own = m.model.defaults();
        let from_earthnet = self.source == "earthnet2021";
        let scaling = match m.scaling {
            Scaling::Auto if from_earthnet => Scaling::None,
            Scaling::Auto => own.scaling,
            chosen => chosen,
        };
        let weather = data
            .weather
            .iter()
            .map(|name| self.statistics.affine(&format!("weather/{name}"), scaling))
            .collect::<Result<Vec<_>, _>>()?;
        let is_kndvi = data.dynamic == ["kndvi"];
        Ok(Preparation {
            weather,
            statics: static_inputs(
                &self.store,
                &self.statistics,
                &data.statics,
                own.feed_classes || m.statics.is_some(),
                from_earthnet,
            )?,
            context_gaps: m.context_gaps.unwrap_or(if from_earthnet {
                ContextGaps::AsStored
            } else {
                ContextGaps::Hold
            }),
            dynamic_scale: if own.unit_kndvi && is_kndvi { 1f32.tanh() } else { 1.0 },
            context_weather: own.layout == Layout::Pixels && m.context_weather.unwrap_or(false),
        })
    }
}
