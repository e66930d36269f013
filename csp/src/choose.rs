//! Clusters each weather series and chooses the number of clusters by the goodness score.

use std::ops::RangeInclusive;

use ndarray::{Array2, ArrayView2, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::goodness::{Goodness, GoodnessReading, IntraReading, goodness};
use crate::series::{KMeans, Metric, SeriesError};

/// What is tried to find the clusters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sweep {
    /// Fewest and most clusters tried, both included.
    pub k_range: [usize; 2],
    /// Starts per K; the one with the lowest mean distance counts.
    pub restarts: usize,
    /// Series that starts are tried with; the best start goes on with all. 0 = all.
    pub start_samples: usize,
    /// DTW below which two centroids are similar.
    pub lambda: f64,
    /// Reading of equation 7 that chooses.
    pub reading: GoodnessReading,
    /// Reading of equation 6 that chooses.
    pub intra: IntraReading,
    /// Radius of the Sakoe–Chiba band of alignments in k-means.
    pub band: Option<usize>,
}

/// One tried number of clusters.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trial {
    /// Number of clusters.
    pub k: usize,
    /// Parts of its goodness score.
    pub goodness: Goodness,
    /// Mean distance of a series to its centroid.
    pub objective: f64,
    /// Rounds of k-means.
    pub iterations: usize,
    /// Whether k-means ended by itself.
    pub converged: bool,
    /// Empty clusters that were re-seeded on the way.
    pub reseeded: usize,
}

/// The chosen clustering of one weather series, and what else was tried.
#[derive(Clone, Debug)]
pub struct Clusters {
    /// Cluster of each sample.
    pub labels: Vec<usize>,
    /// Centroids, `[cluster, time]`, in normalised units.
    pub centroids: Array2<f64>,
    /// Every K tried, ascending.
    pub trials: Vec<Trial>,
    /// The K that each reading of equation 7 would choose, in the order of [`GoodnessReading::ALL`].
    pub choices: Vec<usize>,
    /// What had to be given up, for the report.
    pub notes: Vec<String>,
}

impl Clusters {
    /// The chosen number of clusters.
    pub fn k(&self) -> usize {
        self.centroids.len_of(Axis(0))
    }
}

/// Clusters `signals` `[sample, time]` for every K of the range and keeps the best by goodness, ties to the
/// smallest K. At least four samples a cluster are wanted: a shorter range is tried where there are fewer.
///
/// # Errors
/// Empty or non-finite series.
pub fn choose_clusters(
    signals: ArrayView2<'_, f64>,
    metric: Metric,
    sweep: &Sweep,
    seed: u64,
) -> Result<Clusters, SeriesError> {
    let ks = tried_ks(signals.len_of(Axis(0)), sweep);
    let tried = ks.map(|k| try_clusters(signals, metric, sweep, seed, k)).collect::<Result<Vec<_>, _>>()?;
    choose(tried, signals.dim(), sweep).ok_or(SeriesError::Empty)
}

/// The numbers of clusters that are tried with so many samples.
pub(crate) fn tried_ks(samples: usize, sweep: &Sweep) -> RangeInclusive<usize> {
    let [least, wanted] = sweep.k_range;
    let most = wanted.min((samples / 4).max(least)).min(samples);
    least.min(most)..=most
}

/// What came of one K.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Tried {
    /// How many different series there are, where that is fewer than clusters.
    distinct: Option<usize>,
    /// The clustering; none where one of so many clusters was tried before.
    fit: Option<Fit>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Fit {
    trial: Trial,
    labels: Vec<usize>,
    /// Centroids in C order.
    centroids: Vec<f64>,
}

/// The best of what came of each K of [`tried_ks`], in their order, for `[sample, time]` series. `None` without series.
pub(crate) fn choose(
    tried: impl IntoIterator<Item = Tried>,
    (samples, steps): (usize, usize),
    sweep: &Sweep,
) -> Option<Clusters> {
    let (most, wanted) = (*tried_ks(samples, sweep).end(), sweep.k_range[1]);
    let mut notes = Vec::new();
    if most < wanted {
        notes.push(format!(
            "{samples} samples are too few for more than {most} clusters; {wanted} were asked for"
        ));
    }
    let mut trials: Vec<Trial> = Vec::new();
    let mut best: Option<(f64, Fit)> = None;
    for Tried { distinct, fit } in tried {
        if let Some(distinct) = distinct {
            notes.push(format!("only {distinct} different series: no more clusters than that are possible"));
        }
        let Some(fit) = fit else { break };
        trials.push(fit.trial.clone());
        let score = fit.trial.goodness.score(sweep.reading, sweep.intra);
        if best.as_ref().is_none_or(|(highest, _)| score > *highest) {
            best = Some((score, fit));
        }
        if distinct.is_some() {
            break;
        }
    }
    let (_, Fit { trial, labels, centroids }) = best?;
    let choices = GoodnessReading::ALL.map(|reading| best_k(&trials, reading, sweep.intra)).to_vec();
    let centroids = Array2::from_shape_vec((trial.k, steps), centroids).ok()?;
    Some(Clusters { labels, centroids, trials, choices, notes })
}

/// K clusters. Where there are fewer different series, none, or for the least K as many as there are.
///
/// # Errors
/// Empty or non-finite series.
pub(crate) fn try_clusters(
    signals: ArrayView2<'_, f64>,
    metric: Metric,
    sweep: &Sweep,
    seed: u64,
    k: usize,
) -> Result<Tried, SeriesError> {
    let is_least = k == *tried_ks(signals.len_of(Axis(0)), sweep).start();
    let x = signals.insert_axis(Axis(2));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(k as u64);
    let options = KMeans {
        restarts: sweep.restarts,
        start_samples: if sweep.start_samples == 0 { signals.len_of(Axis(0)) } else { sweep.start_samples },
        band: sweep.band,
        ..KMeans::new(k, metric)
    };
    let (distinct, found) = match options.fit(x, &mut rng) {
        Err(SeriesError::TooFewSeries { distinct, .. }) if !is_least => {
            return Ok(Tried { distinct: Some(distinct), fit: None });
        }
        Err(SeriesError::TooFewSeries { distinct, .. }) => {
            (Some(distinct), KMeans { clusters: distinct, ..options }.fit(x, &mut rng)?)
        }
        other => (None, other?),
    };
    let trial = Trial {
        k: found.centres.len_of(Axis(0)),
        goodness: goodness(x, &found.labels, found.centres.view(), sweep.lambda)?,
        objective: found.objective,
        iterations: found.iterations,
        converged: found.converged,
        reseeded: found.reseeded,
    };
    let centroids = found.centres.iter().copied().collect();
    Ok(Tried { distinct, fit: Some(Fit { trial, labels: found.labels, centroids }) })
}

fn best_k(trials: &[Trial], reading: GoodnessReading, intra: IntraReading) -> usize {
    let mut best = (f64::NEG_INFINITY, 0);
    for trial in trials {
        let score = trial.goodness.score(reading, intra);
        if score > best.0 {
            best = (score, trial.k);
        }
    }
    best.1
}

/// Gamma for series of this spread: a tenth of the variance of all values, so that the smoothing keeps its
/// meaning in any unit. A constant set gets 1e-6.
pub fn auto_gamma(signals: ArrayView2<'_, f64>) -> f64 {
    (0.1 * signals.var(0.0)).max(1e-6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep() -> Sweep {
        Sweep {
            k_range: [2, 6],
            restarts: 3,
            start_samples: 0,
            lambda: 0.4,
            reading: GoodnessReading::default(),
            intra: IntraReading::default(),
            band: None,
        }
    }

    /// Three levels .4 apart: DTW between neighbours is .4 · √30 = 2.2, far above lambda.
    fn three_levels(samples: usize) -> Array2<f64> {
        Array2::from_shape_fn((samples, 30), |(i, t)| {
            0.4 * (i % 3) as f64 + 0.002 * (((i * 13 + t * 7) % 11) as f64)
        })
    }

    #[test]
    fn three_levels_are_three_clusters() {
        for gamma in [1.0, 0.01] {
            let found =
                choose_clusters(three_levels(60).view(), Metric::SoftDtw { gamma }, &sweep(), 1).unwrap();
            assert_eq!(found.k(), 3, "gamma {gamma}: {:?}", found.trials);
            assert!(found.labels.iter().zip(found.labels.iter().skip(3)).all(|(a, b)| a == b));
            assert_eq!(found.trials.len(), 5);
        }
    }

    #[test]
    fn few_samples_shorten_the_range_and_say_so() {
        let found = choose_clusters(three_levels(12).view(), Metric::Euclidean, &sweep(), 1).unwrap();
        assert_eq!(found.trials.iter().map(|t| t.k).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(found.notes.len(), 1);
    }

    #[test]
    fn constant_series_are_one_cluster() {
        let flat = Array2::from_elem((24, 5), 0.3);
        let found = choose_clusters(flat.view(), Metric::SoftDtw { gamma: 1.0 }, &sweep(), 1).unwrap();
        assert_eq!((found.k(), found.notes.len()), (1, 1));
        assert!((auto_gamma(flat.view()) - 1e-6).abs() < 1e-12);
    }
}
