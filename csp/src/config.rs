//! What the user wrote: the `[explain]` section.

use std::collections::BTreeMap;
use std::fmt;

use minicube::Split;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::counterfactual::Replacement;
use crate::curve::CurveChoice;
use crate::goodness::{GoodnessReading, IntraReading};
use crate::transition::Transition;

/// The `[explain]` section of a project file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Model to explain, a folder in `models/`.
    pub model: String,
    /// Split whose samples are clustered and forecast.
    pub split: Split,
    /// Weather variables by name; empty = precipitation, pressure and temperature, as far as the model takes them.
    pub variables: BTreeMap<String, VariableConfig>,
    /// What is explained: everything, or only some months and classes of land.
    pub only: Only,
    /// Distance of the clustering.
    pub metric: MetricName,
    /// Steps by which alignments may shift series at most (Sakoe–Chiba band); left out: any.
    pub band: Option<usize>,
    /// Smoothing of soft-DTW: a number, or "auto" for a tenth of the variance of the clustered values.
    pub gamma: Gamma,
    /// Fewest and most clusters tried per weather series.
    pub k_range: [usize; 2],
    /// Starts of k-means per K.
    pub restarts: usize,
    /// Samples that starts are tried with; the best start goes on with all. 0 = all.
    pub start_samples: usize,
    /// DTW below which two centroids count as similar.
    pub lambda: f64,
    /// Reading of equation 7 that chooses K.
    pub goodness_reading: GoodnessReading,
    /// Reading of equation 6.
    pub goodness_intra: IntraReading,
    /// Samples that are forecast at most, a fair share of each segment; 0 = all.
    pub max_samples: usize,
    /// Side of the centre crop that is forecast, pixels; 0 = whole cubes.
    pub crop_px: usize,
    /// Samples forecast together, and the unit of resuming.
    pub batch: usize,
    /// Samples that a segment needs for a correlation curve of its own.
    pub min_segment: usize,
    /// Bootstrap draws for the intervals; 0 = none.
    pub bootstrap: usize,
    /// How shifts come and go over time; the first one is that of curves, interactions and table I.
    pub transitions: Vec<Transition>,
    /// What the best curve of a segment is the best by.
    pub curve_choice: CurveChoice,
    /// Samples of which single steps are shifted, for the impulse response; 0 = no lag analysis.
    pub lag_samples: usize,
    /// Samples of which two variables are shifted at once; 0 = no interactions.
    pub interaction_samples: usize,
    /// Shifts of each of the two variables, zero not counted.
    pub interaction_levels: usize,
    /// Layers by whose classes sensitivities are repeated: static layers of Level 2, or "season"; left out: land cover,
    /// geomorphons and seasons, as far as they are there.
    pub groups: Option<Vec<String>>,
    /// Samples of which each input is exchanged, to rank the inputs; 0 = no ranking.
    pub ranking_samples: usize,
    /// Whose weather is replaced by which other weather, and when.
    pub counterfactual: CounterfactualConfig,
    /// Samples of which saliency maps are made; 0 = none.
    pub map_samples: usize,
    /// Side of the patches that are occluded for the maps, pixels.
    pub patch_px: usize,
    /// Points of the way from the baseline for integrated gradients; 0 = no gradients.
    pub gradient_points: usize,
    /// Whether the tables are written as CSV too.
    pub csv: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model: "convlstm".into(),
            split: Split::Train,
            variables: BTreeMap::new(),
            only: Only::default(),
            metric: MetricName::SoftDtw,
            band: None,
            gamma: Gamma::Value(1.0),
            k_range: [2, 15],
            restarts: 3,
            start_samples: 2048,
            lambda: 0.4,
            goodness_reading: GoodnessReading::default(),
            goodness_intra: IntraReading::default(),
            max_samples: 64,
            crop_px: 32,
            batch: 4,
            min_segment: 5,
            bootstrap: 1000,
            transitions: vec![Transition::default()],
            curve_choice: CurveChoice::default(),
            lag_samples: 8,
            interaction_samples: 8,
            interaction_levels: 3,
            groups: None,
            ranking_samples: 16,
            counterfactual: CounterfactualConfig::default(),
            map_samples: 2,
            patch_px: 8,
            gradient_points: 16,
            csv: false,
        }
    }
}

/// The `[explain.counterfactual]` section.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CounterfactualConfig {
    /// Samples whose weather is replaced; 0 = none.
    pub samples: usize,
    /// What stands in for it.
    pub replace: Replacement,
    /// First step that is replaced, from 0 at the first context step; left out: the first forecast step.
    pub start: Option<usize>,
    /// Steps that are replaced; left out: all from `start` on.
    pub steps: Option<usize>,
}

impl Default for CounterfactualConfig {
    fn default() -> Self {
        Self { samples: 4, replace: Replacement::default(), start: None, steps: None }
    }
}

/// The `[explain.only]` section: what is explained.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Only {
    /// Months (1 to 12) of the first forecast step; empty = all.
    pub months: Vec<u32>,
    /// Classes of static layers by name or code, `{ landcover = ["cropland", "30"] }`: only pixels of one of them count, in
    /// every layer that is named, and only samples with such pixels.
    pub classes: BTreeMap<String, Vec<String>>,
}

/// One weather variable; keys that are left out come from the defaults of the known variables.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VariableConfig {
    /// Weather inputs of the model that are shifted together.
    pub channels: Option<Vec<String>>,
    /// Those of the channels that are clustered; each gives one place of the segment tuple.
    pub cluster: Option<Vec<String>>,
    /// Shifts in `unit`.
    pub deltas: Option<Vec<f64>>,
    /// Physical unit of shifts and sensitivities.
    pub unit: Option<String>,
    /// Level-2 value = physical value × scale + offset.
    pub scale: Option<f64>,
    /// See `scale`; shifts use the scale alone.
    pub offset: Option<f64>,
    /// Clustered value = physical value × `cluster_scale` + `cluster_offset`.
    pub cluster_scale: Option<f64>,
    /// See `cluster_scale`.
    pub cluster_offset: Option<f64>,
    /// Physical range; samples that leave it at any step are left out and reported.
    pub valid: Option<[f64; 2]>,
    /// Physical range to which shifted weather is clipped; left out: not clipped, as in the paper.
    pub clip: Option<[f64; 2]>,
    /// Shift of a single step in the lag analysis, in `unit`; left out: the smallest positive delta.
    pub pulse: Option<f64>,
    /// Range of the weather over which the curves of all segments are averaged.
    pub range: Option<[f64; 2]>,
}

/// Distances that the clustering offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricName {
    /// Soft dynamic time warping, as in the paper.
    #[default]
    SoftDtw,
    /// Squared differences at equal times.
    Euclidean,
    /// Dynamic time warping, with centroids averaged along alignments.
    Dtw,
    /// Soft-DTW divergence, which is 0 for equal series.
    Divergence,
}

/// Smoothing of soft-DTW.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gamma {
    /// This value, in squared clustered units.
    Value(f64),
    /// A tenth of the variance of the clustered values.
    Auto,
}

impl Serialize for Gamma {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Gamma::Value(value) => serializer.serialize_f64(*value),
            Gamma::Auto => serializer.serialize_str("auto"),
        }
    }
}

impl<'de> Deserialize<'de> for Gamma {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrAuto;
        impl Visitor<'_> for NumberOrAuto {
            type Value = Gamma;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or \"auto\"")
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Gamma, E> {
                Ok(Gamma::Value(value))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Gamma, E> {
                Ok(Gamma::Value(value as f64))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Gamma, E> {
                if text == "auto" {
                    Ok(Gamma::Auto)
                } else {
                    Err(E::invalid_value(de::Unexpected::Str(text), &self))
                }
            }
        }
        deserializer.deserialize_any(NumberOrAuto)
    }
}
