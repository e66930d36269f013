//! How good a clustering is: clusters tight inside, centroids unlike each other (equations 5 to 7 of the paper).
//!
//! The published formulas can be read in several ways (square on the count of similar pairs or on the fraction;
//! inner sum or average). All are computed; the configuration says which one chooses K. Distances are hard DTW,
//! because the paper states that they are never negative.

use ndarray::{ArrayView3, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::series::{SeriesError, dtw, dtw_cross};

/// Readings of equation 7, the inter-centroid score, for P pairs of which S are similar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GoodnessReading {
    /// `(P − S²) / P`, as typeset; negative once S² > P.
    #[default]
    SquaredCount,
    /// `((P − S) / P)²`, which stays in [0, 1].
    SquaredFraction,
    /// `(P − S) / P`.
    Plain,
}

impl GoodnessReading {
    /// All readings, the default first.
    pub const ALL: [Self; 3] = [Self::SquaredCount, Self::SquaredFraction, Self::Plain];

    /// Name as in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::SquaredCount => "squared_count",
            Self::SquaredFraction => "squared_fraction",
            Self::Plain => "plain",
        }
    }
}

/// Readings of equation 6, the intra-cluster score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntraReading {
    /// Fractional average, as the text says: the mean over all samples of `exp(DTW to the own centroid)`.
    #[default]
    Average,
    /// As typeset: the inner sum is not divided by the cluster's size.
    Literal,
}

/// The parts of the goodness score of one clustering.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Goodness {
    /// Pairs of centroids, `K (K − 1) / 2`.
    pub pairs: usize,
    /// Pairs of centroids with a DTW below lambda.
    pub similar: usize,
    /// Equation 6 as an average.
    pub intra_average: f64,
    /// Equation 6 as typeset.
    pub intra_literal: f64,
}

impl Goodness {
    /// Equation 7. A single cluster has no pairs and scores 0.
    pub fn inter(&self, reading: GoodnessReading) -> f64 {
        let (pairs, similar) = (self.pairs as f64, self.similar as f64);
        if self.pairs == 0 {
            return 0.0;
        }
        match reading {
            GoodnessReading::SquaredCount => (pairs - similar * similar) / pairs,
            GoodnessReading::SquaredFraction => ((pairs - similar) / pairs).powi(2),
            GoodnessReading::Plain => (pairs - similar) / pairs,
        }
    }

    /// Equation 5: the higher the better.
    pub fn score(&self, reading: GoodnessReading, intra: IntraReading) -> f64 {
        let below = match intra {
            IntraReading::Average => self.intra_average,
            IntraReading::Literal => self.intra_literal,
        };
        self.inter(reading) / below
    }
}

/// Scores the clustering of the series `x` `[sample, time, dim]` into `centres` `[cluster, time, dim]`.
///
/// # Errors
/// Empty or non-finite series.
pub fn goodness(
    x: ArrayView3<'_, f64>,
    labels: &[usize],
    centres: ArrayView3<'_, f64>,
    lambda: f64,
) -> Result<Goodness, SeriesError> {
    let clusters = centres.len_of(Axis(0));
    let spread: Vec<f64> = labels
        .par_iter()
        .enumerate()
        .map(|(i, label)| Ok(dtw(x.index_axis(Axis(0), i), centres.index_axis(Axis(0), *label))?.exp()))
        .collect::<Result<_, SeriesError>>()?;
    let mut sums = vec![(0_usize, 0.0); clusters];
    for (label, value) in labels.iter().zip(spread) {
        sums[*label].0 += 1;
        sums[*label].1 += value;
    }
    let share = |count: usize| count as f64 / labels.len() as f64;
    let filled = || sums.iter().filter(|(count, _)| *count > 0);
    let between = dtw_cross(centres, centres)?;
    let similar = (0..clusters).flat_map(|i| (i + 1..clusters).map(move |j| (i, j)));
    Ok(Goodness {
        pairs: clusters * clusters.saturating_sub(1) / 2,
        similar: similar.filter(|pair| between[*pair] < lambda).count(),
        intra_average: filled().map(|(count, sum)| share(*count) * (sum / *count as f64)).sum(),
        intra_literal: filled().map(|(count, sum)| share(*count) * sum).sum(),
    })
}
