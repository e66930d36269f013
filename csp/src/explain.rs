//! The method itself, from weather series to sensitivities: cluster, segregate, perturb.

use std::path::Path;

use minicube::run::Ctx;
use ndarray::{Array3, Axis};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use x5_dl::Dataset;

use crate::analyse::{Global, SegmentResponse, global, segment_responses};
use crate::choose::{Clusters, auto_gamma, choose_clusters};
use crate::config::{Gamma, MetricName};
use crate::error::Error;
use crate::input::{Weather, read_weather};
use crate::perturb::{Perturbation, perturbations};
use crate::plan::Plan;
use crate::predictor::Predictor;
use crate::respond::{Job, finite_samples, respond};
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
    /// Forecasts of a sample.
    pub perturbations: Vec<Perturbation>,
    /// Forecast samples, as positions in `weather`.
    pub forecast: Vec<usize>,
    /// Their index signals, `[forecast sample, perturbation, step]`.
    pub responses: Array3<f64>,
    /// Forecast samples left out because a forecast was not finite, as positions in `forecast`.
    pub not_finite: Vec<usize>,
    /// Answers of the segments.
    pub segment_responses: Vec<SegmentResponse>,
    /// One value a variable.
    pub global: Vec<Global>,
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

    let perturbations = perturbations(&plan.variables);
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    let order: Vec<u64> = weather.samples.iter().map(|_| rng.next_u64()).collect();
    let limit = if plan.max_samples == 0 { usize::MAX } else { plan.max_samples };
    let forecast = draw_samples(&segments, limit, &order);
    let job = Job {
        dataset,
        predictor,
        model: &plan.model,
        index: plan.index,
        variables: &plan.variables,
        perturbations: &perturbations,
        crop: plan.crop(),
        batch: plan.batch,
    };
    let chosen: Vec<usize> = forecast.iter().map(|position| weather.samples[*position]).collect();
    let responses = respond(&job, &chosen, cache, ctx)?;

    let (finite, not_finite) = finite_samples(&responses);
    if finite.is_empty() {
        return Err(no_forecast(plan, &responses));
    }
    let positions_of = by_segment(&segments, &forecast, &finite, weather.samples.len());
    let segment_responses =
        segment_responses(&segments, &positions_of, &responses, &weather, &plan.variables, &perturbations);
    let global =
        global(&segment_responses, plan.variables.len(), plan.min_segment, plan.bootstrap, plan.seed);
    let ids = dataset.sample_ids();
    let sample_ids = weather.samples.iter().map(|sample| ids[*sample].clone()).collect();
    Ok(Explanation {
        weather,
        sample_ids,
        clusters,
        metrics,
        segments,
        perturbations,
        forecast,
        responses,
        not_finite,
        segment_responses,
        global,
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
        let metric = match (plan.metric, plan.gamma) {
            (MetricName::Euclidean, _) => Metric::Euclidean,
            (MetricName::SoftDtw, Gamma::Value(gamma)) => Metric::SoftDtw { gamma },
            (MetricName::SoftDtw, Gamma::Auto) => Metric::SoftDtw { gamma: auto_gamma(signals.view()) },
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
    let mut segment_of = vec![0; samples];
    for (index, segment) in segments.iter().enumerate() {
        segment.samples.iter().for_each(|sample| segment_of[*sample] = index);
    }
    let mut positions = vec![Vec::new(); segments.len()];
    finite.iter().for_each(|position| positions[segment_of[forecast[*position]]].push(*position));
    positions
}
