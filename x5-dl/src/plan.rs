//! What will run: every default filled in, checked against the data.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use minicube::Split;
use minicube::run::Project;
use serde::Serialize;

use crate::baseline::Baseline;
use crate::config::{Config, ModelConfig, ModelKind};
use crate::data::DataSpec;
use crate::data::context::ContextGaps;
use crate::data::scaling::{Scaling, Statistics, static_inputs};
use crate::data::source::{self, Store};
use crate::error::Error;
use crate::forecaster::Architecture;
use crate::harness::fit::FitPlan;
use crate::harness::gradient::Loss;
use crate::model::convlstm::ConvLstmShape;
use crate::model::rnn::RnnShape;
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
    /// Seed of the weights and of the sampling.
    pub seed: u64,
    /// Level-2 stores and the identity of the plan that made each.
    pub inputs: Vec<(String, String)>,
}

/// How training examples are drawn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sampling {
    /// Samples a step.
    pub batch: usize,
    /// RNN: pixels of each.
    pub pixels: usize,
    /// ConvLSTM: side of the crop.
    pub crop: usize,
    /// Samples of the validation split used while training.
    pub validation_samples: usize,
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
    /// - [`Error::NoSamples`] if there is no training split,
    /// - [`Error::NoVariable`] if a named variable is not in Level 2,
    /// - [`Error::Files`], [`Error::Io`] or [`Error::Json`] if Level 2 cannot be read.
    pub fn resolve(&self, project: &Project) -> Result<Plan, Error> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(Error::Config(problems));
        }
        let facts = Facts::read(&project.level2(), &self.score_splits)?;
        let models = self
            .models
            .iter()
            .map(|model| self.resolve_model(model, &facts, project.seed))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Plan { level2: project.level2(), models_dir: project.models(), models })
    }

    fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut need = |ok: bool, text: String| {
            if !ok {
                found.push(text);
            }
        };
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
                ("steps", m.steps),
                ("batch", m.batch.map(|v| v as u64)),
                ("pixels", m.pixels.map(|v| v as u64)),
                ("crop", m.crop.map(|v| v as u64)),
                ("validate_every", m.validate_every),
                ("checkpoint_every", m.checkpoint_every),
                ("validation_samples", m.validation_samples.map(|v| v as u64)),
            ];
            for (key, value) in positive {
                need(value != Some(0), format!("{}: expected at least 1, found 0", at(key)));
            }
            let rate = m.learning_rate.unwrap_or(1e-3);
            need(rate > 0.0 && rate < 1.0, format!("{}: expected 0..1, found {rate}", at("learning_rate")));
            let inside = m.milestones.iter().flatten().all(|v| (0.0..=1.0).contains(v));
            need(inside, format!("{}: expected parts of the steps, 0..1", at("milestones")));
            let hidden = m.hidden.clone().unwrap_or(vec![1]);
            need(!hidden.contains(&0), format!("{}: expected sizes of at least 1", at("hidden")));
            let kernel = m.kernel.unwrap_or(3);
            need(kernel % 2 == 1, format!("{}: expected an odd number, found {kernel}", at("kernel")));
            if m.model == ModelKind::Rnn {
                need(
                    hidden.len() == 1,
                    format!("{}: the RNN has one size, found {}", at("hidden"), hidden.len()),
                );
                let channels = m.dynamic.as_ref().map_or(1, Vec::len);
                need(
                    channels == 1,
                    format!("{}: the RNN forecasts one variable, found {channels}", at("dynamic")),
                );
            }
        }
        found
    }

    fn lengths(&self, model: &ModelConfig) -> (usize, usize) {
        (model.context_steps.unwrap_or(self.context_steps), model.target_steps.unwrap_or(self.target_steps))
    }

    fn resolve_model(&self, m: &ModelConfig, facts: &Facts, project_seed: u64) -> Result<ModelPlan, Error> {
        let is_rnn = m.model == ModelKind::Rnn;
        let (context_steps, target_steps) = self.lengths(m);
        let texts = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect::<Vec<String>>();
        let default_dynamic =
            if is_rnn { texts(&["kndvi"]) } else { texts(&["blue", "green", "red", "nir"]) };
        let layers = facts.store.group("static");
        // The ConvLSTM reads land cover too, though not as an input: the scores count vegetation only.
        let default_statics: Vec<String> =
            texts(&["dem", "landcover"]).into_iter().filter(|name| layers.contains(name)).collect();
        let data = DataSpec {
            dynamic: m.dynamic.clone().unwrap_or(default_dynamic),
            weather: m.weather.clone().unwrap_or_else(|| facts.store.group("weather").into_iter().collect()),
            statics: m.statics.clone().unwrap_or(default_statics),
            context_steps,
            target_steps,
        };
        facts.store.check(&data)?;
        let preparation = facts.preparation(m, &data)?;
        let architecture = architecture(m, &data, &preparation);
        let steps = m.steps.unwrap_or(if is_rnn { 400 } else { 200 });
        let part = |p: &f64| (p * steps as f64).round() as u64;
        let validate_every = m.validate_every.unwrap_or((steps / 20).max(1));
        let clip = m.clip_norm.or(is_rnn.then_some(1.0));
        Ok(ModelPlan {
            name: m.name.clone(),
            architecture,
            data,
            preparation,
            fit: FitPlan {
                steps,
                learning_rate: m.learning_rate.unwrap_or(if is_rnn { 5e-3 } else { 1e-3 }),
                milestones: m.milestones.clone().unwrap_or(vec![0.6, 0.85]).iter().map(part).collect(),
                gamma: m.gamma.unwrap_or(0.3),
                clip_norm: clip.filter(|&limit| limit > 0.0),
                loss: m.loss.unwrap_or(if is_rnn { Loss::MaskedMse } else { Loss::MaskedL1 }),
                validate_every,
                checkpoint_every: m.checkpoint_every.unwrap_or(validate_every),
            },
            sampling: Sampling {
                batch: m.batch.unwrap_or(4),
                pixels: m.pixels.unwrap_or(512),
                crop: m.crop.unwrap_or(32).min(facts.store.size.0).min(facts.store.size.1),
                validation_samples: m.validation_samples.unwrap_or(8),
            },
            baselines: self.baselines.clone(),
            score_splits: if facts.has_validation { self.score_splits.clone() } else { vec![Split::Train] },
            scoring: Scoring { vegetation: self.vegetation.clone(), ndvi_epsilon: facts.ndvi_epsilon },
            seed: m.seed.or(self.seed).unwrap_or(project_seed),
            inputs: facts.inputs.clone(),
        })
    }
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
        let is_rnn = m.model == ModelKind::Rnn;
        let from_earthnet = self.source == "earthnet2021";
        let scaling = match m.scaling {
            Scaling::Auto if from_earthnet => Scaling::None,
            Scaling::Auto if is_rnn => Scaling::Positive,
            Scaling::Auto => Scaling::Zscore,
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
                is_rnn || m.statics.is_some(),
                from_earthnet,
            )?,
            context_gaps: m.context_gaps.unwrap_or(if from_earthnet {
                ContextGaps::AsStored
            } else {
                ContextGaps::Hold
            }),
            dynamic_scale: if is_rnn && is_kndvi { 1f32.tanh() } else { 1.0 },
        })
    }
}

fn architecture(m: &ModelConfig, data: &DataSpec, preparation: &Preparation) -> Architecture {
    match m.model {
        ModelKind::Rnn => {
            let hidden = m.hidden.as_ref().and_then(|h| h.first().copied()).unwrap_or(192);
            Architecture::Rnn(RnnShape {
                context_steps: data.context_steps,
                statics: preparation.scaled_width(),
                drivers: data.weather.len() + preparation.static_width(),
                hidden,
                update: m.update.unwrap_or((hidden / 2).max(1)),
                // The published widths (384 and 128 for 192), in proportion.
                state_hidden: 2 * hidden,
                update_hidden: (2 * hidden / 3).max(1),
            })
        }
        ModelKind::Convlstm => Architecture::Convlstm(ConvLstmShape {
            channels: data.dynamic.len(),
            statics: preparation.static_width(),
            weather: data.weather.len(),
            hidden: m.hidden.clone().unwrap_or(vec![32, 32, 32]),
            kernel: m.kernel.unwrap_or(3),
            target_steps: data.target_steps,
        }),
    }
}
