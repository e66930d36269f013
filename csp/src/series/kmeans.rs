//! k-means on time series: Euclidean with means, DTW with DBA, soft-DTW or its divergence with their barycentres.
//!
//! Alternates assignment and centres like tslearn's `TimeSeriesKMeans`, with three differences, because soft-DTW
//! may be negative: seeding draws by the soft-DTW *divergence*, which is not; the best restart is the one with
//! the lowest mean soft-DTW, not the lowest mean square; and a cluster that runs empty takes over the worst
//! placed series, which is counted and reported, instead of ending in an infinite inertia.
//!
//! Barycentres cost the most. While clusters still change, a few steps towards each are enough, as in generalised
//! expectation maximisation; a centre whose members stay is not touched again; and starts of large sets are tried on a
//! part of the series.

use ndarray::{Array2, Array3, ArrayView3, Axis};
use rand::Rng;
use rayon::prelude::*;

use super::SeriesError;
use super::barycentre::{self, BarycentreOptions, Smooth};
use super::dba::{self, mean_at_equal_times};
use super::distance::{divergence_matrix, soft_matrix, soft_self, squared_dtw_matrix};
use super::set::{Set, fill_gaps};

/// How far two series are apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Metric {
    /// Sum of squared differences at equal times; where points are missing, of the others, scaled up to all.
    Euclidean,
    /// Squared DTW; centres by averaging along alignments (DBA).
    Dtw,
    /// Soft-DTW with this gamma.
    SoftDtw {
        /// Smoothing, in squared units of the values.
        gamma: f64,
    },
    /// Soft-DTW divergence with this gamma: never negative, and zero for equal series.
    Divergence {
        /// Smoothing, in squared units of the values.
        gamma: f64,
    },
}

impl Metric {
    fn check(self) -> Result<(), SeriesError> {
        match self {
            Self::SoftDtw { gamma } | Self::Divergence { gamma } if !(gamma > 0.0 && gamma.is_finite()) => {
                Err(SeriesError::Gamma(gamma))
            }
            _ => Ok(()),
        }
    }

    /// Whether centres are searched for in steps.
    fn is_soft(self) -> bool {
        matches!(self, Self::SoftDtw { .. } | Self::Divergence { .. })
    }
}

/// What k-means shall do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KMeans {
    /// Number of clusters.
    pub clusters: usize,
    /// How far two series are apart.
    pub metric: Metric,
    /// Radius of the Sakoe–Chiba band of all alignments; `None` = any alignment.
    pub band: Option<usize>,
    /// Rounds of assignment and centres at most (tslearn and default: 50).
    pub max_iterations: usize,
    /// Decrease of the mean distance that ends the rounds (tslearn and default: 1e-6).
    pub tolerance: f64,
    /// Starts, of which the best is kept (default 1).
    pub restarts: usize,
    /// Series that starts are tried with at most, drawn evenly; the best start goes on with all (default 2048; after
    /// Bradley and Fayyad, "Refining initial points for k-means clustering", ICML 1998).
    pub start_samples: usize,
    /// Steps of a soft barycentre while clusters still change; once they do not, `barycentre` holds (default 2).
    pub quick_steps: usize,
    /// When each barycentre is good enough.
    pub barycentre: BarycentreOptions,
}

impl KMeans {
    /// `clusters` clusters by `metric`, everything else at its default.
    pub fn new(clusters: usize, metric: Metric) -> Self {
        Self {
            clusters,
            metric,
            band: None,
            max_iterations: 50,
            tolerance: 1e-6,
            restarts: 1,
            start_samples: 2048,
            quick_steps: 2,
            barycentre: BarycentreOptions::default(),
        }
    }

    /// Clusters the series `x` `[sample, time, dim]`; every start draws its own seed series from `rng`.
    ///
    /// # Errors
    /// Empty or infinite series, a gamma that is not positive, or more clusters than different series.
    pub fn fit(&self, x: ArrayView3<'_, f64>, rng: &mut impl Rng) -> Result<Clustering, SeriesError> {
        let set = self.checked(x)?;
        let part = self.part(&set, rng);
        let tried = part.as_ref().unwrap_or(&set);
        let mut best: Option<Clustering> = None;
        for _ in 0..self.restarts.max(1) {
            let seeds = self.plus_plus(tried, rng);
            let mut centres = Array3::zeros((seeds.len(), set.time, set.dims));
            for (mut centre, seed) in centres.outer_iter_mut().zip(seeds) {
                let mut points = tried.with_gaps(seed).to_vec();
                fill_gaps(&mut points, set.dims);
                centre.iter_mut().zip(points).for_each(|(target, value)| *target = value);
            }
            let found = self.rounds(tried, centres, Precision::Quick)?;
            if best.as_ref().is_none_or(|b| found.objective < b.objective) {
                best = Some(found);
            }
        }
        let best = best.ok_or(SeriesError::Empty)?;
        let last = self.rounds(&set, best.centres, Precision::QuickThenFull)?;
        let (iterations, reseeded) = (best.iterations + last.iterations, best.reseeded + last.reseeded);
        Ok(Clustering { iterations, reseeded, ..last })
    }

    /// The series that starts are tried with: some of a set that is too large for all, if these are still different
    /// enough.
    fn part(&self, set: &Set, rng: &mut impl Rng) -> Option<Set> {
        if set.samples <= self.start_samples {
            return None;
        }
        let mut chosen = rand::seq::index::sample(rng, set.samples, self.start_samples).into_vec();
        chosen.sort_unstable();
        let part = set.select(&chosen);
        (distinct(&part, self.clusters) >= self.clusters).then_some(part)
    }

    /// As [`fit`](Self::fit), from the given centres `[cluster, time, dim]`.
    ///
    /// # Errors
    /// As [`fit`](Self::fit), or centres with other dimensions.
    pub fn fit_from(
        &self,
        x: ArrayView3<'_, f64>,
        centres: ArrayView3<'_, f64>,
    ) -> Result<Clustering, SeriesError> {
        let set = self.checked(x)?;
        if centres.dim().2 != set.dims {
            return Err(SeriesError::Dims { left: set.dims, right: centres.dim().2 });
        }
        self.rounds(&set, centres.to_owned(), Precision::QuickThenFull)
    }

    fn checked(&self, x: ArrayView3<'_, f64>) -> Result<Set, SeriesError> {
        self.metric.check()?;
        let set = Set::new(x)?;
        let distinct = distinct(&set, self.clusters);
        if self.clusters == 0 || distinct < self.clusters {
            return Err(SeriesError::TooFewSeries { clusters: self.clusters, distinct });
        }
        Ok(set)
    }

    /// Lloyd's rounds from the given centres.
    fn rounds(
        &self,
        set: &Set,
        mut centres: Array3<f64>,
        precision: Precision,
    ) -> Result<Clustering, SeriesError> {
        let clusters = centres.len_of(Axis(0));
        let (mut reseeded, mut iterations) = (0, 0);
        let mut previous: Option<(Vec<usize>, f64)> = None;
        let mut table = distances(set, &Set::new(centres.view())?, self.metric, self.band);
        let mut full = !self.metric.is_soft();
        // The members for which each centre is in the middle.
        let mut middle_of: Vec<Vec<usize>> = vec![Vec::new(); clusters];
        let (labels, distances, converged) = loop {
            let (mut labels, distances) = nearest(&table);
            reseeded += fill_empty(&mut labels, &distances, clusters);
            let objective = mean(&distances);
            let settled = previous.is_some_and(|(old_labels, old_objective)| {
                old_labels == labels || (old_objective - objective).abs() < self.tolerance
            });
            let converged = settled && (full || precision == Precision::Quick);
            if converged || iterations == self.max_iterations {
                break (labels, distances, converged);
            }
            full |= settled;
            let members = members_of(&labels, clusters);
            let moved: Vec<usize> = (0..clusters).filter(|k| middle_of[*k] != members[*k]).collect();
            self.update(set, &members, &moved, full, &mut centres);
            let columns = Set::new(centres.select(Axis(0), &moved).view())
                .map(|centres| self::distances(set, &centres, self.metric, self.band))?;
            for (k, column) in moved.iter().zip(columns.axis_iter(Axis(1))) {
                table.column_mut(*k).assign(&column);
            }
            if full {
                middle_of = members;
            }
            previous = Some((labels, objective));
            iterations += 1;
        };
        Ok(Clustering {
            objective: mean(&distances),
            centres,
            labels,
            distances,
            iterations,
            converged,
            reseeded,
        })
    }

    /// Moves some of the centres to the middle of their members, or some steps towards it.
    fn update(
        &self,
        set: &Set,
        members: &[Vec<usize>],
        wanted: &[usize],
        full: bool,
        centres: &mut Array3<f64>,
    ) {
        let all = self.barycentre;
        let options = if full { all } else { BarycentreOptions { max_iterations: self.quick_steps, ..all } };
        let moved: Vec<Vec<f64>> = wanted
            .par_iter()
            .map(|k| {
                let members = &members[*k];
                let start = centres.index_axis(Axis(0), *k).iter().copied().collect();
                let smooth = |gamma, debiased| Smooth { gamma, band: self.band, debiased };
                let soft =
                    |start, smooth| barycentre::of_members(set, members, start, &smooth, options).series;
                match self.metric {
                    Metric::Euclidean => return mean_at_equal_times(set, members),
                    Metric::Dtw => dba::of_members(set, members, start, self.band).series,
                    Metric::SoftDtw { gamma } => soft(start, smooth(gamma, false)),
                    Metric::Divergence { gamma } => soft(start, smooth(gamma, true)),
                }
                .iter()
                .copied()
                .collect()
            })
            .collect();
        for (k, values) in wanted.iter().zip(moved) {
            let mut centre = centres.index_axis_mut(Axis(0), *k);
            centre.iter_mut().zip(values).for_each(|(target, value)| *target = value);
        }
    }
}

/// How carefully soft barycentres are searched for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Precision {
    /// A few steps a round.
    Quick,
    /// A few steps a round until clusters settle, then all that are needed until they settle again.
    QuickThenFull,
}

impl KMeans {
    /// k-means++ with ln K + 2 candidates a step: draws by the distance, or by the divergence in place of soft-DTW.
    fn plus_plus(&self, set: &Set, rng: &mut impl Rng) -> Vec<usize> {
        let own = match self.metric {
            Metric::SoftDtw { gamma } => soft_self(set, gamma, self.band).to_vec(),
            Metric::Euclidean | Metric::Dtw | Metric::Divergence { .. } => vec![0.0; set.samples],
        };
        let gaps = |candidates: &[usize]| -> Vec<Vec<f64>> {
            let chosen = set.select(candidates);
            let table = distances(set, &chosen, self.metric, self.band);
            let gap = |i: usize, c: usize| {
                if set.series(i) == set.series(candidates[c]) {
                    return 0.0;
                }
                (table[[i, c]] - 0.5 * (own[i] + own[candidates[c]])).max(0.0)
            };
            (0..candidates.len()).map(|c| (0..set.samples).map(|i| gap(i, c)).collect()).collect()
        };
        let tries = 2 + (self.clusters as f64).ln() as usize;
        let mut seeds = vec![rng.random_range(0..set.samples)];
        let mut nearest = gaps(&seeds).swap_remove(0);
        while seeds.len() < self.clusters {
            let candidates: Vec<usize> = (0..tries).map(|_| draw(&nearest, set, &seeds, rng)).collect();
            let mut best: Option<(f64, usize, Vec<f64>)> = None;
            for (candidate, gap) in candidates.iter().zip(gaps(&candidates)) {
                let merged: Vec<f64> = nearest.iter().zip(&gap).map(|(a, b)| a.min(*b)).collect();
                let potential = merged.iter().sum();
                if best.as_ref().is_none_or(|(least, ..)| potential < *least) {
                    best = Some((potential, *candidate, merged));
                }
            }
            if let Some((_, candidate, merged)) = best {
                seeds.push(candidate);
                nearest = merged;
            }
        }
        seeds
    }
}

/// Clusters, and how they were found.
#[derive(Clone, Debug)]
pub struct Clustering {
    /// Centres, `[cluster, time, dim]`.
    pub centres: Array3<f64>,
    /// Cluster of each sample.
    pub labels: Vec<usize>,
    /// Distance of each sample to its centre (squared Euclidean, squared DTW, soft-DTW or its divergence).
    pub distances: Vec<f64>,
    /// Mean of `distances`: what the rounds decrease.
    pub objective: f64,
    /// Rounds of assignment and centres.
    pub iterations: usize,
    /// Whether the rounds ended by themselves.
    pub converged: bool,
    /// How often an empty cluster took over the worst placed series.
    pub reseeded: usize,
}

impl Clustering {
    /// tslearn's `inertia_`: the mean of the squared soft-DTW values. For comparison only.
    pub fn tslearn_inertia(&self) -> f64 {
        self.distances.iter().map(|d| d * d).sum::<f64>() / self.distances.len() as f64
    }
}

/// The nearest centre of each series, ties to the lower index.
///
/// # Errors
/// Empty or infinite series, points of different dimension, or a gamma that is not positive.
pub fn assign(
    x: ArrayView3<'_, f64>,
    centres: ArrayView3<'_, f64>,
    metric: Metric,
) -> Result<Vec<usize>, SeriesError> {
    let set = Set::new(x)?;
    if set.dims != centres.dim().2 {
        return Err(SeriesError::Dims { left: set.dims, right: centres.dim().2 });
    }
    metric.check()?;
    Ok(nearest(&distances(&set, &Set::new(centres)?, metric, None)).0)
}

/// Nearest centre of each series, and how far it is, from distances `[sample, cluster]`.
fn nearest(table: &Array2<f64>) -> (Vec<usize>, Vec<f64>) {
    let of_row = |row: ndarray::ArrayView1<'_, f64>| {
        row.iter()
            .enumerate()
            .fold((0, f64::INFINITY), |best, (k, d)| if *d < best.1 { (k, *d) } else { best })
    };
    table.outer_iter().map(of_row).unzip()
}

fn distances(set: &Set, centres: &Set, metric: Metric, band: Option<usize>) -> Array2<f64> {
    match metric {
        Metric::SoftDtw { gamma } => soft_matrix(set, centres, gamma, band),
        Metric::Divergence { gamma } => divergence_matrix(set, centres, gamma, band),
        Metric::Dtw => squared_dtw_matrix(set, centres, band),
        Metric::Euclidean => Array2::from_shape_fn((set.samples, centres.samples), |(i, k)| {
            squared_gap(set.with_gaps(i), centres.with_gaps(k))
        }),
    }
}

/// Sum of the squared differences of the points that both have, scaled up to all points.
fn squared_gap(a: &[f64], b: &[f64]) -> f64 {
    let gaps = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).filter(|gap| !gap.is_nan());
    let (sum, count) = gaps.fold((0.0, 0_usize), |(sum, count), gap| (sum + gap, count + 1));
    if count == a.len() { sum } else { sum * a.len() as f64 / count as f64 }
}

/// Draws a sample by weight; where all weights vanished, the first one that differs from all seeds.
fn draw(weights: &[f64], set: &Set, seeds: &[usize], rng: &mut impl Rng) -> usize {
    let total: f64 = weights.iter().sum();
    let differs = |i: usize| seeds.iter().all(|s| set.series(*s) != set.series(i));
    let mut left = rng.random::<f64>() * total;
    if total > 0.0 {
        for (index, weight) in weights.iter().enumerate() {
            left -= weight;
            if *weight > 0.0 && left <= 0.0 {
                return index;
            }
        }
    }
    (0..set.samples).find(|i| differs(*i)).unwrap_or(0)
}

/// Gives every empty cluster the worst placed series of the clusters that can spare one; returns how many.
fn fill_empty(labels: &mut [usize], distances: &[f64], clusters: usize) -> usize {
    let mut moved = 0;
    for empty in 0..clusters {
        let mut sizes = vec![0_usize; clusters];
        labels.iter().for_each(|l| sizes[*l] += 1);
        if sizes[empty] > 0 {
            continue;
        }
        let worst = (0..labels.len()).filter(|i| sizes[labels[*i]] > 1).fold(
            None,
            |best: Option<usize>, i| match best {
                Some(b) if distances[b] >= distances[i] => Some(b),
                _ => Some(i),
            },
        );
        if let Some(worst) = worst {
            labels[worst] = empty;
            moved += 1;
        }
    }
    moved
}

fn members_of(labels: &[usize], clusters: usize) -> Vec<Vec<usize>> {
    let mut members = vec![Vec::new(); clusters];
    labels.iter().enumerate().for_each(|(i, label)| members[*label].push(i));
    members
}

/// Number of different series, counted up to `enough`.
fn distinct(set: &Set, enough: usize) -> usize {
    let mut found: Vec<&[f64]> = Vec::new();
    for sample in 0..set.samples {
        let series = set.series(sample);
        if !found.contains(&series) {
            found.push(series);
        }
        if found.len() >= enough {
            break;
        }
    }
    found.len()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
