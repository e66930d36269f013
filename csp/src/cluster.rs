//! The clusters of each weather series. What came of each number of clusters is kept on disk, so that a run that was ended
//! goes on there, and a machine that comes later to a shared folder finds them.

use std::fs;
use std::path::Path;

use minicube::run::Ctx;
use minicube::write_atomic;
use ndarray::Axis;

use crate::choose::{Clusters, Tried, auto_gamma, choose_with};
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
    let [least, most] = plan.sweep.k_range;
    let progress = ctx.progress("cluster", (weather.channels.len() * (most + 1 - least.min(most))) as u64);
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
        let bad = |source: SeriesError| Error::Series { channel: channel.clone(), source };
        let clusters = choose_with(signals.view(), metric, &plan.sweep, seed, |k, fit| {
            progress.inc(1);
            let path = cache.join("clusters").join(format!("{channel}_{k:02}.json"));
            remembered_clusters(&path, || fit().map_err(bad))
        })?;
        found.push(clusters.ok_or_else(|| bad(SeriesError::Empty))?);
        metrics.push(metric);
    }
    progress.finish();
    Ok((found, metrics))
}

/// What came of a K, as it is stored at `path`, or as `fit` finds it, which is stored there.
fn remembered_clusters(path: &Path, fit: impl Fn() -> Result<Tried, Error>) -> Result<Tried, Error> {
    if let Some(tried) = fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
        return Ok(tried);
    }
    let tried = fit()?;
    let bytes = serde_json::to_vec(&tried).map_err(|error| Error::output(path, error))?;
    write_atomic(path, &bytes)?;
    Ok(tried)
}
