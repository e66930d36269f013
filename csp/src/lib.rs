#![doc = include_str!("../README.md")]

mod analyse;
mod bootstrap;
mod choose;
mod config;
mod curve;
mod error;
mod explain;
mod fit;
mod goodness;
mod index;
mod input;
mod interaction;
mod lag;
mod levenberg;
mod perturb;
mod plan;
mod predictor;
mod report;
mod respond;
mod run;
mod segment;
mod sensitivity;
pub mod series;
mod silent;
mod store;
mod tables;
mod toy;
mod transition;
mod variable;
mod verify;

pub use analyse::{Answer, Global, SegmentResponse, VegetationSplit};
pub use bootstrap::{Stratum, intervals};
pub use choose::{Clusters, Sweep, Trial, auto_gamma, choose_clusters};
pub use config::{Config, Gamma, MetricName, VariableConfig};
pub use curve::{
    Curve, CurveChoice, Family, Voice, best, fit_all, global_parabola, median, parabola_of_means,
};
pub use error::Error;
pub use explain::{Explanation, Forecasts, explain};
pub use fit::{fit, fit_polynomial};
pub use goodness::{Goodness, GoodnessReading, IntraReading, goodness};
pub use index::VegetationIndex;
pub use input::{Weather, read_weather};
pub use interaction::{Estimate, Interaction, interaction};
pub use lag::{ImpulseResponse, Lag, impulse_response};
pub use perturb::{Perturbation, pairs, pulses, shift_weather, shifts};
pub use plan::Plan;
pub use predictor::{Predictor, TrainedModel};
pub use run::{check, check_predictor, describe, run, run_predictor};
pub use segment::{Segment, draw_samples, segregate};
pub use sensitivity::{Sensitivity, Weighted, global_sensitivity, sensitivity, weighted};
pub use silent::{Movement, RESOLUTION, constant_value, frozen_samples, movement};
pub use toy::{Term, ToyModel};
pub use transition::{Shape, Transition};
pub use variable::{Linear, Variable};
