//! What will run: the configuration, checked against the model and the data, with nothing left open.

use std::collections::BTreeMap;
use std::path::Path;

use minicube::{Cube, Split};
use serde::Serialize;
use x5_dl::{Crop, DataSpec, Dataset};

use crate::choose::Sweep;
use crate::config::{Config, CounterfactualConfig, Gamma, MetricName, VariableConfig};
use crate::counterfactual::Replacement;
use crate::curve::CurveChoice;
use crate::error::Error;
use crate::group::{LAYERS, variable_of};
use crate::index::VegetationIndex;
use crate::perturb::{pairs, pulses, shifts};
use crate::predictor::Predictor;
use crate::rank::inputs;
use crate::restrict::Restriction;
use crate::saliency::patches;
use crate::transition::Transition;
use crate::variable::{Level2Units, Variable, defaults, resolve};

/// Variables of which all sets are replaced: 64 forecasts of a sample.
const MOST_REPLACED: usize = 6;

/// Everything that the outputs depend on.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Model name.
    pub model: String,
    /// Changes with the model's weights.
    pub model_identity: String,
    /// Split that is explained.
    pub split: Split,
    /// Plan of each Level-2 store, by file name.
    pub stores: BTreeMap<String, String>,
    /// Samples in them.
    pub samples: usize,
    /// Explained index.
    pub index: VegetationIndex,
    /// Steps that the model sees, context and target.
    pub steps: usize,
    /// What is explained of the samples.
    pub only: Restriction,
    /// Explained variables.
    pub variables: Vec<Variable>,
    /// Distance of the clustering.
    pub metric: MetricName,
    /// Its smoothing.
    pub gamma: Gamma,
    /// How K is chosen.
    pub sweep: Sweep,
    /// Samples forecast at most; 0 = all.
    pub max_samples: usize,
    /// Part of each cube that is forecast, `[row, col, rows, cols]`; `None` = whole.
    pub crop: Option<[usize; 4]>,
    /// Samples forecast together.
    pub batch: usize,
    /// Samples a segment needs for a curve of its own.
    pub min_segment: usize,
    /// Bootstrap draws.
    pub bootstrap: usize,
    /// How shifts come and go.
    pub transitions: Vec<Transition>,
    /// Share of a shift at each step, one list a transition.
    pub weights: Vec<Vec<f64>>,
    /// What the best curve is the best by.
    pub curve_choice: CurveChoice,
    /// Samples of the lag analysis; 0 = none.
    pub lag_samples: usize,
    /// Samples of the interactions; 0 = none.
    pub interaction_samples: usize,
    /// Shifts of each of two variables, zero not counted.
    pub interaction_levels: usize,
    /// Layers by whose classes sensitivities are repeated.
    pub groups: Vec<String>,
    /// Samples of the ranking of inputs; 0 = none.
    pub ranking_samples: usize,
    /// Samples whose weather is replaced; 0 = none.
    pub counterfactual_samples: usize,
    /// What replaces it.
    pub replacement: Replacement,
    /// First replaced step, and the one behind the last.
    pub replaced_steps: [usize; 2],
    /// Samples with saliency maps; 0 = none.
    pub map_samples: usize,
    /// Side of an occluded patch, pixels.
    pub patch_px: usize,
    /// Points of integrated gradients; 0 = no gradients.
    pub gradient_points: usize,
    /// Whether tables are CSV too.
    pub csv: bool,
    /// Inputs of the model.
    pub inputs: usize,
    /// Forecasts of a sample for its saliency maps.
    pub map_forecasts: usize,
    /// Seed of everything random.
    pub seed: u64,
}

impl Plan {
    /// Checks the configuration against the model and its data.
    ///
    /// # Errors
    /// - [`Error::Config`] with all problems of the configuration,
    /// - [`Error::NoIndex`] if the model forecasts no vegetation index,
    /// - [`Error::Files`] or [`Error::Model`] if a store cannot be read.
    pub fn resolve(
        config: &Config,
        seed: u64,
        dataset: &Dataset,
        predictor: &dyn Predictor,
    ) -> Result<Self, Error> {
        let spec = predictor.spec();
        let index = VegetationIndex::of_channels(&spec.dynamic)
            .ok_or_else(|| Error::NoIndex { model: config.model.clone(), found: spec.dynamic.join(", ") })?;
        let mut problems = check_numbers(config);
        let first = Cube::open(&dataset.paths()[0], "level2")?;
        let source = first.attr_str("source").unwrap_or_default().to_owned();
        let units = |channel: &str| {
            let attrs = first.var_attrs(&format!("weather/{channel}"));
            attrs.get("units").and_then(|unit| unit.as_str()).unwrap_or_default().to_owned()
        };
        let level2 = Level2Units { source: &source, units: &units };
        let asked: Vec<(String, VariableConfig)> = if config.variables.is_empty() {
            defaults(&spec.weather)
                .into_iter()
                .map(|name| (name.to_owned(), VariableConfig::default()))
                .collect()
        } else {
            config.variables.iter().map(|(name, user)| (name.clone(), user.clone())).collect()
        };
        if asked.is_empty() {
            let found = if spec.weather.is_empty() { "none".to_owned() } else { spec.weather.join(", ") };
            problems.push(format!(
                "the model {} takes no weather that is known here; it takes {found}",
                config.model
            ));
        }
        let mut variables = Vec::new();
        for (name, user) in &asked {
            match resolve(name, user, &spec.weather, &level2) {
                Ok(variable) => variables.push(variable),
                Err(more) => problems.extend(more),
            }
        }
        let weights = transition_weights(&config.transitions, spec.steps(), seed).unwrap_or_else(|more| {
            problems.extend(more);
            Vec::new()
        });
        let groups = group_layers(config.groups.as_deref(), &first).unwrap_or_else(|more| {
            problems.extend(more);
            Vec::new()
        });
        let only = Restriction::resolve(&config.only, &first).unwrap_or_else(|more| {
            problems.extend(more);
            Restriction::default()
        });
        let replaced_steps = replaced_steps(&config.counterfactual, spec, &mut problems);
        if config.counterfactual.samples > 0 && variables.len() > MOST_REPLACED {
            problems.push(format!(
                "counterfactual: all sets of at most {MOST_REPLACED} variables can be replaced, found {} variables",
                variables.len()
            ));
        }
        if !problems.is_empty() {
            return Err(Error::Config(problems));
        }
        let stores = dataset
            .paths()
            .iter()
            .map(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                Ok((name, Cube::open(path, "level2")?.attr_str("plan_hash").unwrap_or_default().to_owned()))
            })
            .collect::<Result<_, Error>>()?;
        let crop = centre_crop(dataset.size(), config.crop_px);
        let (patch_rows, patch_cols) =
            patches(crop.map_or(dataset.size(), |[.., rows, cols]| (rows, cols)), config.patch_px);
        let occlusions = (1 + spec.statics.len()) * patch_rows * patch_cols;
        let map_forecasts = 1 + 2 * variables.len() + occlusions;
        Ok(Self {
            model: config.model.clone(),
            model_identity: predictor.identity(),
            split: config.split,
            stores,
            samples: dataset.len(),
            index,
            steps: spec.steps(),
            only,
            variables,
            metric: config.metric,
            gamma: config.gamma,
            sweep: Sweep {
                k_range: config.k_range,
                restarts: config.restarts,
                start_samples: config.start_samples,
                lambda: config.lambda,
                reading: config.goodness_reading,
                intra: config.goodness_intra,
                band: config.band,
            },
            max_samples: config.max_samples,
            crop,
            batch: config.batch,
            min_segment: config.min_segment,
            bootstrap: config.bootstrap,
            transitions: config.transitions.clone(),
            weights,
            curve_choice: config.curve_choice,
            lag_samples: config.lag_samples,
            interaction_samples: config.interaction_samples,
            interaction_levels: config.interaction_levels,
            groups,
            ranking_samples: config.ranking_samples,
            counterfactual_samples: config.counterfactual.samples,
            replacement: config.counterfactual.replace,
            replaced_steps,
            map_samples: config.map_samples,
            patch_px: config.patch_px,
            gradient_points: config.gradient_points,
            csv: config.csv,
            inputs: inputs(spec).len(),
            map_forecasts,
            seed,
        })
    }

    /// The part of each cube that is forecast.
    pub fn crop(&self) -> Option<Crop> {
        self.crop.map(|[row, col, rows, cols]| Crop { row, col, rows, cols })
    }

    /// Samples that will be forecast.
    pub fn forecast_samples(&self) -> usize {
        if self.max_samples == 0 { self.samples } else { self.max_samples.min(self.samples) }
    }

    /// The plan for people: what will be done, and what it costs.
    pub fn text(&self, folder: &Path) -> String {
        let each = shifts(&self.variables, self.transitions.len()).len();
        let samples = self.forecast_samples();
        let series: usize = self.variables.iter().map(|variable| variable.cluster.len()).sum();
        let [least, most] = self.sweep.k_range;
        let mut text = format!(
            "explain {} with {} samples of {} in {}\n",
            self.model,
            self.samples,
            self.split,
            folder.display()
        );
        if !self.only.is_empty() {
            text.push_str(&format!("  only     {}\n", self.only.text()));
        }
        text.push_str(&format!(
            "  cluster  {series} weather series of {} steps, K = {least} to {most}, {} starts each\n",
            self.steps, self.sweep.restarts
        ));
        for variable in &self.variables {
            text.push_str(&format!(
                "  perturb  {} ({}) by {:?} {}\n",
                variable.name,
                variable.channels.join(", "),
                variable.deltas,
                variable.unit
            ));
        }
        let part =
            self.crop.map_or("whole cubes".to_owned(), |crop| format!("{} × {} pixels", crop[2], crop[3]));
        text.push_str(&format!(
            "  forecast {samples} samples × {each} = {} forecasts of {part}, explaining {}",
            samples * each,
            self.index.name()
        ));
        let extra = [
            ("lag", self.lag_samples, pulses(&self.variables, self.steps).len()),
            ("interact", self.interaction_samples, pairs(&self.variables, self.interaction_levels).len()),
            ("rank", self.ranking_samples, self.inputs + 1),
            ("replace", self.counterfactual_samples, 1 << self.variables.len()),
            ("map", self.map_samples, self.map_forecasts),
        ];
        for (what, limit, each) in extra.into_iter().filter(|(_, limit, each)| limit * each > 0) {
            let samples = limit.min(samples);
            text.push_str(&format!("\n  {what:8} {samples} samples × {each} = {} forecasts", samples * each));
        }
        text
    }
}

/// The window of replaced steps, first and behind the last.
fn replaced_steps(config: &CounterfactualConfig, spec: &DataSpec, problems: &mut Vec<String>) -> [usize; 2] {
    let all = spec.steps();
    let start = config.start.unwrap_or(spec.context_steps);
    let end = config.steps.map_or(all, |steps| start.saturating_add(steps));
    if start >= end || end > all {
        problems.push(format!(
            "counterfactual: expected steps within the {all} of the model, found {start} to {end}"
        ));
    }
    [start, end]
}

/// Shares of a shift by step, or all problems.
fn transition_weights(
    transitions: &[Transition],
    steps: usize,
    seed: u64,
) -> Result<Vec<Vec<f64>>, Vec<String>> {
    if transitions.is_empty() {
        return Err(vec!["transitions: expected at least one, found none".to_owned()]);
    }
    let mut problems = Vec::new();
    let mut weights = Vec::new();
    for (index, transition) in transitions.iter().enumerate() {
        if transitions[..index].contains(transition) {
            problems.push(format!("transitions: {} is there twice", transition.name()));
        }
        match transition.weights(steps, seed) {
            Ok(of_one) => weights.push(of_one),
            Err(problem) => problems.push(format!("transitions: {problem}")),
        }
    }
    if problems.is_empty() { Ok(weights) } else { Err(problems) }
}

/// The layers to group by that are there, or all problems with those asked for.
fn group_layers(asked: Option<&[String]>, store: &Cube) -> Result<Vec<String>, Vec<String>> {
    let is_there = |layer: &str| {
        let variable = variable_of(layer);
        store.has(&variable) && store.dtype(&variable).is_ok_and(|dtype| dtype == "uint8")
    };
    let Some(asked) = asked else {
        return Ok(LAYERS.into_iter().filter(|layer| is_there(layer)).map(str::to_owned).collect());
    };
    let absent = asked.iter().filter(|layer| !is_there(layer));
    let problems: Vec<String> = absent
        .map(|layer| format!("groups: Level 2 has no layer of classes {}", variable_of(layer)))
        .collect();
    if problems.is_empty() { Ok(asked.to_vec()) } else { Err(problems) }
}

fn check_numbers(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    let mut check = |fine: bool, message: String| {
        if !fine {
            problems.push(message);
        }
    };
    let [least, most] = config.k_range;
    check(
        2 <= least && least <= most,
        format!("k_range: expected [low, high] from 2 on, found [{least}, {most}]"),
    );
    check(config.restarts > 0, "restarts: expected at least 1, found 0".into());
    check(config.patch_px > 0, "patch_px: expected at least 1, found 0".into());
    check(config.batch > 0, "batch: expected at least 1, found 0".into());
    check(config.lambda >= 0.0, format!("lambda: expected 0 or more, found {}", config.lambda));
    if let Gamma::Value(gamma) = config.gamma {
        check(gamma > 0.0 && gamma.is_finite(), format!("gamma: expected a positive number, found {gamma}"));
    }
    check(!config.model.is_empty(), "model: expected a name, found nothing".into());
    problems
}

/// `[row, col, rows, cols]` of a crop of `side` pixels around the centre.
fn centre_crop((rows, cols): (usize, usize), side: usize) -> Option<[usize; 4]> {
    if side == 0 || (side >= rows && side >= cols) {
        return None;
    }
    let (height, width) = (side.min(rows), side.min(cols));
    Some([(rows - height) / 2, (cols - width) / 2, height, width])
}
