//! The method itself, from weather series to sensitivities: cluster, segregate, perturb.

use std::path::Path;

use minicube::run::Ctx;
use ndarray::{Array2, Array3, Axis};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use x5_dl::Dataset;

use crate::analyse::{Global, Scene, SegmentResponse, global, segment_responses};
use crate::ask::{Answers, ask};
use crate::choose::Clusters;
use crate::cluster::cluster;
use crate::counterfactual::Counterfactual;
use crate::error::Error;
use crate::group::{GroupSensitivity, Grouping, group_sensitivities, read_groupings};
use crate::input::{Weather, read_weather};
use crate::interaction::{Interaction, axis, interaction, surfaces};
use crate::lag::{ImpulseResponse, impulse_response};
use crate::perturb::Perturbation;
use crate::plan::Plan;
use crate::predictor::Predictor;
use crate::rank::{Importance, Input, rank_inputs};
use crate::respond::{Job, finite_samples};
use crate::restrict::Pixels;
use crate::saliency::Saliency;
use crate::segment::{Segment, segregate};
use crate::series::Metric;
use crate::strata::{by_segment, responses_for, strata_of, weighted};

/// Everything that came out.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Weather series of the usable samples.
    pub weather: Weather,
    /// Pixels of these samples that count under a restriction to classes.
    pub pixels: Pixels,
    /// Id of each usable sample.
    pub sample_ids: Vec<String>,
    /// Clusters of each channel of `weather`.
    pub clusters: Vec<Clusters>,
    /// Distance of each channel's clustering, gamma resolved.
    pub metrics: Vec<Metric>,
    /// Weather segments, largest first; their samples are positions in `weather`.
    pub segments: Vec<Segment>,
    /// Shifts of one variable, and the unchanged forecast.
    pub shifted: Forecasts,
    /// Forecast samples left out because a forecast was not finite, as positions in `shifted.samples`.
    pub not_finite: Vec<usize>,
    /// Answers of the segments.
    pub segment_responses: Vec<SegmentResponse>,
    /// One value a variable.
    pub global: Vec<Global>,
    /// Shifts of single steps.
    pub pulsed: Forecasts,
    /// One impulse response a variable; none without lag analysis.
    pub lags: Vec<ImpulseResponse>,
    /// Shifts of two variables.
    pub paired: Forecasts,
    /// One a pair of variables; none without interactions.
    pub interactions: Vec<Interaction>,
    /// Classes of the usable samples in each layer.
    pub groupings: Vec<Grouping>,
    /// Sensitivities by class.
    pub groups: Vec<GroupSensitivity>,
    /// Inputs, the most important first; none without a ranking.
    pub ranking: Vec<Importance>,
    /// Samples behind the ranking.
    pub ranked_samples: usize,
    /// Samples with other weather.
    pub counterfactuals: Vec<Counterfactual>,
    /// Samples for which there is no such weather.
    pub without_other: usize,
    /// Saliency maps of some samples, which are positions in the weather.
    pub maps: Vec<(usize, Saliency)>,
}

/// Forecasts of some samples under some perturbations.
#[derive(Clone, Debug)]
pub struct Forecasts {
    /// Samples, as positions in the weather.
    pub samples: Vec<usize>,
    /// Forecasts of a sample.
    pub perturbations: Vec<Perturbation>,
    /// Index signals, `[sample, perturbation, step]`.
    pub responses: Array3<f64>,
}

/// Runs the plan; forecasts are kept in `cache` on the way. `None` after the forecasts of one shard: what follows needs
/// those of all.
///
/// # Errors
/// Unreadable data, too few usable samples, series that cannot be clustered, or a model that fails.
pub fn explain(
    plan: &Plan,
    dataset: &Dataset,
    predictor: &dyn Predictor,
    cache: &Path,
    ctx: &Ctx,
) -> Result<Option<Explanation>, Error> {
    let stores = dataset.paths();
    let weather = read_weather(&stores, &plan.variables, plan.steps)?;
    let context = predictor.spec().context_steps;
    let (weather, pixels) = plan.only.apply(weather, &stores, plan.crop(), context)?;
    let wanted = plan.sweep.k_range[0];
    if weather.samples.len() < wanted {
        let (kept, all) = (weather.samples.len(), weather.all);
        return Err(Error::TooFewSamples { split: plan.split.to_string(), kept, all, wanted });
    }
    let (clusters, metrics) = cluster(plan, &weather, cache, ctx)?;
    let labels: Vec<Vec<usize>> = clusters.iter().map(|c| c.labels.clone()).collect();
    let segments = segregate(&labels);

    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    let order: Vec<u64> = weather.samples.iter().map(|_| rng.next_u64()).collect();
    let job = Job {
        dataset,
        predictor,
        model: &plan.model,
        index: plan.index,
        only: &plan.only,
        variables: &plan.variables,
        weights: &plan.weights,
        crop: plan.crop(),
        batch: plan.batch,
    };
    let answers = ask(plan, &job, &weather, &clusters, &segments, &order, cache, ctx)?;
    if ctx.shard.is_some() {
        return Ok(None);
    }
    let Answers { shifted, pulsed, paired, inputs, exchanged, counterfactuals, without_other, maps } =
        answers;
    let (finite, not_finite) = finite_samples(&shifted.responses);
    if finite.is_empty() {
        return Err(no_forecast(plan, &shifted.responses));
    }
    let positions_of = by_segment(&segments, &shifted.samples, &finite, weather.samples.len());
    let scene = Scene {
        segments: &segments,
        positions_of: &positions_of,
        responses: &shifted.responses,
        perturbations: &shifted.perturbations,
        weather: &weather,
        variables: &plan.variables,
        weights: &plan.weights,
        curve_choice: plan.curve_choice,
        min_segment: plan.min_segment,
        bootstrap: plan.bootstrap,
        seed: plan.seed,
    };
    let segment_responses = segment_responses(&scene);
    let global = global(&scene, &segment_responses);
    let lags = lag_analysis(plan, &segments, &shifted, &pulsed);
    let interactions = interaction_analysis(plan, &segments, &shifted, &paired);
    let groupings = read_groupings(&stores, &plan.groups, plan.crop(), context, &weather.samples)?;
    let groups = group_sensitivities(&scene, &groupings, &shifted.samples);
    let (ranking, ranked_samples) = rank(plan, &inputs, &segments, &exchanged, weather.samples.len());

    let ids = dataset.sample_ids();
    let sample_ids = weather.samples.iter().map(|sample| ids[*sample].clone()).collect();
    Ok(Some(Explanation {
        weather,
        pixels,
        sample_ids,
        clusters,
        metrics,
        segments,
        shifted,
        not_finite,
        segment_responses,
        global,
        pulsed,
        lags,
        paired,
        interactions,
        groupings,
        groups,
        ranking,
        ranked_samples,
        counterfactuals,
        without_other,
        maps,
    }))
}

/// Says of how many frames nothing is left.
fn no_forecast(plan: &Plan, responses: &Array3<f64>) -> Error {
    let (samples, forecasts, _) = responses.dim();
    Error::NoForecast {
        model: plan.model.clone(),
        samples,
        forecasts,
        index: plan.index.name(),
        absent: plan.index.absent(),
        empty: responses.iter().filter(|value| !value.is_finite()).count(),
        frames: responses.len(),
    }
}

fn lag_analysis(
    plan: &Plan,
    segments: &[Segment],
    shifted: &Forecasts,
    pulsed: &Forecasts,
) -> Vec<ImpulseResponse> {
    let strata = strata_of(segments, pulsed, shifted);
    if strata.is_empty() || pulsed.perturbations.is_empty() {
        return Vec::new();
    }
    let unchanged = responses_for(shifted, pulsed).index_axis_move(Axis(1), 0);
    let of = |(v, variable): (usize, &crate::variable::Variable)| {
        let rows: Vec<usize> = (v * plan.steps..(v + 1) * plan.steps).collect();
        let own = pulsed.responses.select(Axis(1), &rows);
        let seed = plan.seed.wrapping_add(v as u64);
        impulse_response(&own, &unchanged, variable.pulse, &strata, plan.bootstrap, seed)
    };
    plan.variables.iter().enumerate().map(of).collect()
}

/// Ranks the inputs by their changes; the number of samples used.
fn rank(
    plan: &Plan,
    inputs: &[Input],
    segments: &[Segment],
    (chosen, changes): &(Vec<usize>, Array2<f64>),
    samples: usize,
) -> (Vec<Importance>, usize) {
    let finite: Vec<usize> =
        (0..chosen.len()).filter(|row| changes.row(*row).iter().all(|value| value.is_finite())).collect();
    let strata = weighted(segments, by_segment(segments, chosen, &finite, samples));
    if strata.is_empty() {
        return (Vec::new(), 0);
    }
    (rank_inputs(inputs, changes, &strata, plan.bootstrap, plan.seed), finite.len())
}

fn interaction_analysis(
    plan: &Plan,
    segments: &[Segment],
    shifted: &Forecasts,
    paired: &Forecasts,
) -> Vec<Interaction> {
    let strata = strata_of(segments, paired, shifted);
    if strata.is_empty() || paired.perturbations.is_empty() {
        return Vec::new();
    }
    let single = responses_for(shifted, paired);
    let count = plan.variables.len();
    let of = |[a, b]: [usize; 2]| {
        let deltas = [a, b].map(|v| axis(&plan.variables[v], plan.interaction_levels));
        let perturbations = [&shifted.perturbations[..], &paired.perturbations[..]];
        let each = surfaces([&single, &paired.responses], perturbations, [a, b], &deltas);
        interaction(&each, [a, b], deltas, &strata, plan.bootstrap, plan.seed)
    };
    (0..count).flat_map(|a| (a + 1..count).map(move |b| [a, b])).map(of).collect()
}
