//! Asks the model everything that an explanation needs, each answer remembered on disk.

use std::path::Path;

use minicube::run::Ctx;
use ndarray::Array2;

use crate::calendar::Calendar;
use crate::choose::Clusters;
use crate::counterfactual::{Counterfactual, changes, other_weather};
use crate::error::Error;
use crate::explain::Forecasts;
use crate::input::Weather;
use crate::perturb::{Perturbation, pairs, pulses, shifts};
use crate::plan::Plan;
use crate::probe::{exchange_inputs, replace_sets, saliency_maps};
use crate::rank::{Input, inputs};
use crate::respond::{Job, respond};
use crate::saliency::Saliency;
use crate::segment::{Segment, draw_samples};
use crate::strata::draw_among;

/// All that the model is asked.
pub(crate) struct Answers {
    pub(crate) shifted: Forecasts,
    pub(crate) pulsed: Forecasts,
    pub(crate) paired: Forecasts,
    /// Inputs of the model.
    pub(crate) inputs: Vec<Input>,
    /// Samples of which they were exchanged, and the changes `[sample, input]`.
    pub(crate) exchanged: (Vec<usize>, Array2<f64>),
    pub(crate) counterfactuals: Vec<Counterfactual>,
    /// Samples without other weather.
    pub(crate) without_other: usize,
    pub(crate) maps: Vec<(usize, Saliency)>,
}

/// Asks the model everything, or our shard of it; what other shards ask stays NaN.
#[expect(clippy::too_many_arguments, reason = "what the questions need of a run, in one place only")]
pub(crate) fn ask(
    plan: &Plan,
    job: &Job<'_>,
    weather: &Weather,
    clusters: &[Clusters],
    segments: &[Segment],
    order: &[u64],
    cache: &Path,
    ctx: &Ctx,
) -> Result<Answers, Error> {
    let forecast = |what: &str, samples: Vec<usize>, perturbations: Vec<Perturbation>| {
        let chosen: Vec<usize> = samples.iter().map(|position| weather.samples[*position]).collect();
        let responses = respond(job, what, &chosen, &perturbations, &cache.join(what), ctx)?;
        Ok::<_, Error>(Forecasts { samples, perturbations, responses })
    };
    let limit = if plan.max_samples == 0 { usize::MAX } else { plan.max_samples };
    let samples = draw_samples(segments, limit, order);
    let shifted = forecast("forecasts", samples, shifts(&plan.variables, plan.weights.len()))?;
    let fewer = |limit: usize| draw_among(segments, &shifted.samples, limit, order);
    let pulsed = forecast("pulses", fewer(plan.lag_samples), pulses(&plan.variables, plan.steps))?;
    let pairs = pairs(&plan.variables, plan.interaction_levels);
    let paired = forecast("pairs", fewer(plan.interaction_samples), pairs)?;
    let inputs = inputs(job.predictor.spec());
    let exchanged = exchange(job, weather, &inputs, fewer(plan.ranking_samples), order, cache, ctx)?;
    let chosen = fewer(plan.counterfactual_samples);
    let (counterfactuals, without_other) = replace(plan, job, weather, clusters, &chosen, cache, ctx)?;
    let maps = fewer(plan.map_samples)
        .into_iter()
        .enumerate()
        .filter(|(place, _)| ctx.mine(*place))
        .map(|(_, sample)| {
            let path = cache.join(format!("maps/{sample:06}.f64"));
            Ok((
                sample,
                saliency_maps(job, weather.samples[sample], plan.patch_px, plan.gradient_points, &path)?,
            ))
        })
        .collect::<Result<_, Error>>()?;
    Ok(Answers { shifted, pulsed, paired, inputs, exchanged, counterfactuals, without_other, maps })
}

/// Replaces the weather of some samples (positions in the weather); and how many have no other weather or no finite
/// forecast.
fn replace(
    plan: &Plan,
    job: &Job<'_>,
    weather: &Weather,
    clusters: &[Clusters],
    chosen: &[usize],
    cache: &Path,
    ctx: &Ctx,
) -> Result<(Vec<Counterfactual>, usize), Error> {
    if chosen.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let calendar = Calendar::read(&job.dataset.paths(), weather, plan.steps)?;
    let window = plan.replaced_steps[0]..plan.replaced_steps[1];
    let (mut found, mut without) = (Vec::new(), 0);
    for (place, sample) in chosen.iter().enumerate().filter(|(place, _)| ctx.mine(*place)) {
        let (kind, variables) = (plan.replacement, &plan.variables);
        let other = other_weather(kind, weather, clusters, variables, &calendar, *sample, window.clone());
        let Some(other) = other else {
            without += 1;
            continue;
        };
        let changes: Vec<_> =
            variables.iter().enumerate().map(|one| changes(weather, *sample, one, other.view())).collect();
        let path = cache.join(format!("replaced/{place:06}.f64"));
        let signals = replace_sets(job, weather.samples[*sample], &changes, window.clone(), &path)?;
        if signals.iter().all(|value| value.is_finite()) {
            found.push(Counterfactual::new(*sample, signals));
        } else {
            without += 1;
        }
    }
    Ok((found, without))
}

/// Exchanges each input of some samples (positions in the weather) with that of another one of them: the samples, and the
/// changes `[sample, input]`; none with fewer than two samples.
fn exchange(
    job: &Job<'_>,
    weather: &Weather,
    inputs: &[Input],
    chosen: Vec<usize>,
    order: &[u64],
    cache: &Path,
    ctx: &Ctx,
) -> Result<(Vec<usize>, Array2<f64>), Error> {
    if chosen.len() < 2 {
        return Ok((Vec::new(), Array2::zeros((0, inputs.len()))));
    }
    // Each sample gets the inputs of the next one in random order.
    let mut ring = chosen.clone();
    ring.sort_by_key(|sample| (order[*sample], *sample));
    let next = |sample: &usize| {
        let place = ring.iter().position(|other| other == sample).unwrap_or(0);
        weather.samples[ring[(place + 1) % ring.len()]]
    };
    let donors: Vec<usize> = chosen.iter().map(next).collect();
    let own: Vec<usize> = chosen.iter().map(|sample| weather.samples[*sample]).collect();
    let changes = exchange_inputs(job, inputs, &own, &donors, &cache.join("inputs"), ctx)?;
    Ok((chosen, changes))
}
