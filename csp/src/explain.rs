//! The method itself, from weather series to sensitivities: cluster, segregate, perturb.

use std::path::Path;

use minicube::run::Ctx;
use ndarray::{Array3, Axis};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use x5_dl::Dataset;

use crate::analyse::{Global, Scene, SegmentResponse, global, segment_responses};
use crate::bootstrap::Stratum;
use crate::choose::{Clusters, auto_gamma, choose_clusters};
use crate::config::{Gamma, MetricName};
use crate::error::Error;
use crate::group::{GroupSensitivity, Grouping, group_sensitivities, read_groupings};
use crate::input::{Weather, read_weather};
use crate::interaction::{Interaction, axis, interaction, surfaces};
use crate::lag::{ImpulseResponse, impulse_response};
use crate::perturb::{Perturbation, pairs, pulses, shifts};
use crate::plan::Plan;
use crate::predictor::Predictor;
use crate::probe::{exchange_inputs, saliency_maps};
use crate::rank::{Importance, inputs, rank_inputs};
use crate::respond::{Job, finite_samples, respond};
use crate::saliency::Saliency;
use crate::segment::{Segment, draw_samples, segregate};
use crate::series::Metric;

/// Everything that came out.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Weather series of the usable samples.
    pub weather: Weather,
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

/// Runs the plan; forecasts are kept in `cache` on the way.
///
/// # Errors
/// Unreadable data, too few usable samples, series that cannot be clustered, or a model that fails.
pub fn explain(
    plan: &Plan,
    dataset: &Dataset,
    predictor: &dyn Predictor,
    cache: &Path,
    ctx: &Ctx,
) -> Result<Explanation, Error> {
    let weather = read_weather(&dataset.paths(), &plan.variables, plan.steps)?;
    let wanted = plan.sweep.k_range[0];
    if weather.samples.len() < wanted {
        let (kept, all) = (weather.samples.len(), weather.all);
        return Err(Error::TooFewSamples { split: plan.split.to_string(), kept, all, wanted });
    }
    let (clusters, metrics) = cluster(plan, &weather, ctx)?;
    let labels: Vec<Vec<usize>> = clusters.iter().map(|c| c.labels.clone()).collect();
    let segments = segregate(&labels);

    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    let order: Vec<u64> = weather.samples.iter().map(|_| rng.next_u64()).collect();
    let job = Job {
        dataset,
        predictor,
        model: &plan.model,
        index: plan.index,
        variables: &plan.variables,
        weights: &plan.weights,
        crop: plan.crop(),
        batch: plan.batch,
    };
    let forecast = |what: &str, samples: Vec<usize>, perturbations: Vec<Perturbation>| {
        let chosen: Vec<usize> = samples.iter().map(|position| weather.samples[*position]).collect();
        let responses = respond(&job, what, &chosen, &perturbations, &cache.join(what), ctx)?;
        Ok::<_, Error>(Forecasts { samples, perturbations, responses })
    };
    let limit = if plan.max_samples == 0 { usize::MAX } else { plan.max_samples };
    let samples = draw_samples(&segments, limit, &order);
    let shifted = forecast("forecasts", samples, shifts(&plan.variables, plan.weights.len()))?;
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

    let fewer = |limit: usize| draw_among(&segments, &shifted.samples, &positions_of, limit, &order);
    let pulsed = forecast("pulses", fewer(plan.lag_samples), pulses(&plan.variables, plan.steps))?;
    let lags = lag_analysis(plan, &segments, &shifted, &pulsed);
    let pairs = pairs(&plan.variables, plan.interaction_levels);
    let paired = forecast("pairs", fewer(plan.interaction_samples), pairs)?;
    let interactions = interaction_analysis(plan, &segments, &shifted, &paired);

    let context = predictor.spec().context_steps;
    let groupings = read_groupings(&dataset.paths(), &plan.groups, plan.crop(), context, &weather.samples)?;
    let groups = group_sensitivities(&scene, &groupings, &shifted.samples);
    let chosen = fewer(plan.ranking_samples);
    let (ranking, ranked_samples) = rank(plan, &job, &weather, &segments, &chosen, &order, cache, ctx)?;
    let maps = fewer(plan.map_samples)
        .into_iter()
        .map(|sample| {
            let path = cache.join(format!("maps/{sample:06}.f64"));
            Ok((sample, saliency_maps(&job, weather.samples[sample], plan.patch_px, &path)?))
        })
        .collect::<Result<_, Error>>()?;

    let ids = dataset.sample_ids();
    let sample_ids = weather.samples.iter().map(|sample| ids[*sample].clone()).collect();
    Ok(Explanation {
        weather,
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
        maps,
    })
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

fn cluster(plan: &Plan, weather: &Weather, ctx: &Ctx) -> Result<(Vec<Clusters>, Vec<Metric>), Error> {
    let progress = ctx.progress("cluster", weather.channels.len() as u64);
    let mut found = Vec::new();
    let mut metrics = Vec::new();
    for (index, channel) in weather.channels.iter().enumerate() {
        let unit = plan.variables[weather.variable_of[index]].clustered;
        let signals = weather.values.index_axis(Axis(0), index).mapv(|value| unit.apply(value));
        let gamma = match plan.gamma {
            Gamma::Value(gamma) => gamma,
            Gamma::Auto => auto_gamma(signals.view()),
        };
        let metric = match plan.metric {
            MetricName::Euclidean => Metric::Euclidean,
            MetricName::Dtw => Metric::Dtw,
            MetricName::SoftDtw => Metric::SoftDtw { gamma },
            MetricName::Divergence => Metric::Divergence { gamma },
        };
        let seed = plan.seed.wrapping_add(index as u64);
        let clusters = choose_clusters(signals.view(), metric, &plan.sweep, seed)
            .map_err(|source| Error::Series { channel: channel.clone(), source })?;
        found.push(clusters);
        metrics.push(metric);
        progress.inc(1);
    }
    progress.finish();
    Ok((found, metrics))
}

/// Positions in `forecast` of each segment's finite forecasts.
fn by_segment(segments: &[Segment], forecast: &[usize], finite: &[usize], samples: usize) -> Vec<Vec<usize>> {
    let segment_of = segment_of(segments, samples);
    let mut positions = vec![Vec::new(); segments.len()];
    finite.iter().for_each(|position| positions[segment_of[forecast[*position]]].push(*position));
    positions
}

fn segment_of(segments: &[Segment], samples: usize) -> Vec<usize> {
    let mut of = vec![0; samples];
    for (index, segment) in segments.iter().enumerate() {
        segment.samples.iter().for_each(|sample| of[*sample] = index);
    }
    of
}

/// At most `limit` of the samples with finite forecasts, a fair share of each segment.
fn draw_among(
    segments: &[Segment],
    forecast: &[usize],
    positions_of: &[Vec<usize>],
    limit: usize,
    order: &[u64],
) -> Vec<usize> {
    let kept = |(segment, positions): (&Segment, &Vec<usize>)| Segment {
        tuple: segment.tuple.clone(),
        samples: positions.iter().map(|position| forecast[*position]).collect(),
    };
    let kept: Vec<Segment> =
        segments.iter().zip(positions_of).map(kept).filter(|segment| !segment.samples.is_empty()).collect();
    draw_samples(&kept, limit, order)
}

/// The samples of some forecasts whose every response is finite, as strata of positions in these forecasts.
fn strata_of(segments: &[Segment], forecasts: &Forecasts, samples: usize) -> Vec<Stratum> {
    let (finite, _) = finite_samples(&forecasts.responses);
    by_segment(segments, &forecasts.samples, &finite, samples)
        .into_iter()
        .zip(segments)
        .filter(|(positions, _)| !positions.is_empty())
        .map(|(positions, segment)| Stratum { weight: segment.samples.len() as f64, positions })
        .collect()
}

/// Responses of `all` for the samples of `some`, in their order.
fn responses_for(all: &Forecasts, some: &Forecasts) -> Array3<f64> {
    let rows: Vec<usize> =
        some.samples.iter().filter_map(|sample| all.samples.binary_search(sample).ok()).collect();
    all.responses.select(Axis(0), &rows)
}

fn lag_analysis(
    plan: &Plan,
    segments: &[Segment],
    shifted: &Forecasts,
    pulsed: &Forecasts,
) -> Vec<ImpulseResponse> {
    let samples = segments.iter().map(|segment| segment.samples.len()).sum();
    let strata = strata_of(segments, pulsed, samples);
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

/// Ranks the inputs by exchanging them between samples (positions in the weather); the number of samples used.
#[expect(clippy::too_many_arguments, reason = "what the ranking needs of a run, in one place only")]
fn rank(
    plan: &Plan,
    job: &Job<'_>,
    weather: &Weather,
    segments: &[Segment],
    chosen: &[usize],
    order: &[u64],
    cache: &Path,
    ctx: &Ctx,
) -> Result<(Vec<Importance>, usize), Error> {
    if chosen.len() < 2 {
        return Ok((Vec::new(), 0));
    }
    // Each sample gets the inputs of the next one in random order.
    let mut ring = chosen.to_vec();
    ring.sort_by_key(|sample| (order[*sample], *sample));
    let next = |sample: &usize| {
        let place = ring.iter().position(|other| other == sample).unwrap_or(0);
        weather.samples[ring[(place + 1) % ring.len()]]
    };
    let donors: Vec<usize> = chosen.iter().map(next).collect();
    let own: Vec<usize> = chosen.iter().map(|sample| weather.samples[*sample]).collect();
    let inputs = inputs(job.predictor.spec());
    let changes = exchange_inputs(job, &inputs, &own, &donors, &cache.join("inputs"), ctx)?;
    let finite: Vec<usize> =
        (0..chosen.len()).filter(|row| changes.row(*row).iter().all(|value| value.is_finite())).collect();
    let strata: Vec<Stratum> = by_segment(segments, chosen, &finite, weather.samples.len())
        .into_iter()
        .zip(segments)
        .filter(|(positions, _)| !positions.is_empty())
        .map(|(positions, segment)| Stratum { weight: segment.samples.len() as f64, positions })
        .collect();
    if strata.is_empty() {
        return Ok((Vec::new(), 0));
    }
    Ok((rank_inputs(&inputs, &changes, &strata, plan.bootstrap, plan.seed), finite.len()))
}

fn interaction_analysis(
    plan: &Plan,
    segments: &[Segment],
    shifted: &Forecasts,
    paired: &Forecasts,
) -> Vec<Interaction> {
    let samples = segments.iter().map(|segment| segment.samples.len()).sum();
    let strata = strata_of(segments, paired, samples);
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
