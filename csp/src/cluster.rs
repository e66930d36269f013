//! The clusters of each weather series. What came of each number of clusters is kept on disk, so that a run that was ended
//! goes on there, and machines that share a folder share the work.

use std::fs;
use std::path::Path;

use minicube::run::{Ctx, Shard};
use minicube::write_atomic;
use ndarray::{Array2, Axis};

use crate::choose::{Clusters, Tried, auto_gamma, choose, tried_ks, try_clusters};
use crate::config::{Gamma, MetricName};
use crate::error::Error;
use crate::input::Weather;
use crate::plan::Plan;
use crate::series::{Metric, SeriesError};

/// Clusters of each channel of the weather, in its order, and the distance that each was clustered by, gamma resolved.
/// `cache` is where what came of each K stands.
///
/// # Errors
/// [`Error::Series`] if a channel cannot be clustered, [`Error::Output`] or [`Error::Files`] if the disk takes nothing.
pub(crate) fn cluster(
    plan: &Plan,
    weather: &Weather,
    cache: &Path,
    ctx: &Ctx,
) -> Result<(Vec<Clusters>, Vec<Metric>), Error> {
    let channels: Vec<Channel> = (0..weather.channels.len()).map(|c| channel(plan, weather, c)).collect();
    let ks = tried_ks(weather.samples.len(), &plan.sweep);
    let units: Vec<(usize, usize)> =
        (0..channels.len()).flat_map(|c| ks.clone().map(move |k| (c, k))).collect();
    let progress = ctx.progress("cluster", units.len() as u64);
    let mut tried: Vec<Option<Tried>> = vec![None; units.len()];
    for unit in order(units.len(), ctx.shard) {
        let (index, k) = units[unit];
        let one = &channels[index];
        let path = cache.join("clusters").join(format!("{}_{k:02}.json", one.name));
        tried[unit] = Some(remembered(&path, || {
            try_clusters(one.signals.view(), one.metric, &plan.sweep, one.seed, k)
                .map_err(|source| one.bad(source))
        })?);
        progress.inc(1);
    }
    progress.finish();
    let mut tried = tried.into_iter().flatten();
    let mut found = Vec::new();
    for one in &channels {
        let of_channel: Vec<Tried> = tried.by_ref().take(ks.clone().count()).collect();
        let clusters = choose(of_channel, one.signals.dim(), &plan.sweep);
        found.push(clusters.ok_or_else(|| one.bad(SeriesError::Empty))?);
    }
    Ok((found, channels.iter().map(|one| one.metric).collect()))
}

/// What is clustered.
struct Channel {
    name: String,
    /// `[sample, step]`, in the units of the clustering.
    signals: Array2<f64>,
    metric: Metric,
    seed: u64,
}

impl Channel {
    fn bad(&self, source: SeriesError) -> Error {
        Error::Series { channel: self.name.clone(), source }
    }
}

fn channel(plan: &Plan, weather: &Weather, index: usize) -> Channel {
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
    let name = weather.channels[index].clone();
    Channel { name, signals, metric, seed: plan.seed.wrapping_add(index as u64) }
}

/// The order in which a machine looks at the units of work: first its own, then those of the others from the last one on,
/// most of which are done by then. So machines that start together do nearly nothing twice, and none waits for another.
fn order(units: usize, shard: Option<Shard>) -> Vec<usize> {
    let is_own = |unit: &usize| shard.is_none_or(|shard| unit % shard.count == shard.index);
    let others = (0..units).rev().filter(|unit| !is_own(unit));
    (0..units).filter(is_own).chain(others).collect()
}

/// What came of a K, as it is stored at `path`, or as `fit` finds it, which is stored there.
fn remembered(path: &Path, fit: impl Fn() -> Result<Tried, Error>) -> Result<Tried, Error> {
    if let Some(tried) = fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
        return Ok(tried);
    }
    let tried = fit()?;
    let bytes = serde_json::to_vec(&tried).map_err(|error| Error::output(path, error))?;
    write_atomic(path, &bytes)?;
    Ok(tried)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_begins_with_its_own_and_comes_to_meet_the_others() {
        assert_eq!(order(4, None), [0, 1, 2, 3]);
        assert_eq!(order(7, Some(Shard { index: 0, count: 3 })), [0, 3, 6, 5, 4, 2, 1]);
        assert_eq!(order(7, Some(Shard { index: 2, count: 3 })), [2, 5, 6, 4, 3, 1, 0]);
    }
}
