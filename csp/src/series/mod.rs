//! Time series: alignment distances and clustering, usable without anything else of this crate.
//!
//! Sets of series are arrays `[sample, time, dim]`; a single series is `[time, dim]`. All numbers are f64 and
//! must not be infinite. A point with a NaN is missing: alignments pass over it, so that series padded with NaN are
//! shorter ones. Costs are squared Euclidean distances of points. [`dtw`] returns the square root of the
//! cheapest summed cost; [`soft_dtw`] returns the smoothed sum itself, without a root, and may be negative
//! (Cuturi and Blondel, 2017, arXiv:1703.01541); [`soft_dtw_divergence`] is its debiased form, zero for equal
//! series (Blondel, Mensch and Vert, 2021, arXiv:2010.08354).
//!
//! Everything is spread over all cores with rayon, and gives the same bits for any number of them.

mod align;
mod barycentre;
mod dba;
mod distance;
mod kmeans;
mod lanes;
mod lbfgs;
mod set;
mod simd;
mod weight;

pub use barycentre::{Barycentre, BarycentreOptions, soft_dtw_barycentre};
pub use dba::dtw_barycentre;
pub use distance::{
    SoftDtwGradient, dtw, dtw_banded, dtw_cross, soft_dtw, soft_dtw_cross, soft_dtw_divergence,
    soft_dtw_gradient, soft_dtw_self,
};
pub use kmeans::{Clustering, KMeans, Metric, assign};

/// Why a series function could not work.
#[derive(Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum SeriesError {
    /// A value is infinite.
    #[error("series {sample}: value {value} at step {step} is not finite")]
    NotFinite {
        /// Index of the series.
        sample: usize,
        /// Index in time.
        step: usize,
        /// What was found.
        value: f64,
    },
    /// All points of a series are missing.
    #[error("series {sample}: all points are missing")]
    NoPoints {
        /// Index of the series.
        sample: usize,
    },
    /// No series, or series without points.
    #[error("no series, or series without points")]
    Empty,
    /// Points of different dimension cannot be compared.
    #[error("series have points of {left} and of {right} dimensions")]
    Dims {
        /// Dimensions on the left.
        left: usize,
        /// Dimensions on the right.
        right: usize,
    },
    /// Gamma must be positive.
    #[error("gamma must be a positive number, found {0}")]
    Gamma(f64),
    /// More clusters than different series.
    #[error("{clusters} clusters asked of {distinct} different series")]
    TooFewSeries {
        /// Clusters asked for.
        clusters: usize,
        /// Series that differ from each other.
        distinct: usize,
    },
}
