//! Which forecasts stand for which weather segment.

use ndarray::{Array3, Axis};

use crate::bootstrap::Stratum;
use crate::explain::Forecasts;
use crate::respond::finite_samples;
use crate::segment::{Segment, draw_samples};

/// Positions in `forecast` of each segment's finite forecasts; `samples` is the number of usable samples.
pub(crate) fn by_segment(
    segments: &[Segment],
    forecast: &[usize],
    finite: &[usize],
    samples: usize,
) -> Vec<Vec<usize>> {
    let mut segment_of = vec![0; samples];
    for (index, segment) in segments.iter().enumerate() {
        segment.samples.iter().for_each(|sample| segment_of[*sample] = index);
    }
    let mut positions = vec![Vec::new(); segments.len()];
    finite.iter().for_each(|position| positions[segment_of[forecast[*position]]].push(*position));
    positions
}

/// At most `limit` of the samples that are forecast, a fair share of each segment.
pub(crate) fn draw_among(
    segments: &[Segment],
    forecast: &[usize],
    limit: usize,
    order: &[u64],
) -> Vec<usize> {
    let is_forecast = |sample: &usize| forecast.binary_search(sample).is_ok();
    let kept = |segment: &Segment| Segment {
        tuple: segment.tuple.clone(),
        samples: segment.samples.iter().copied().filter(is_forecast).collect(),
    };
    let kept: Vec<Segment> =
        segments.iter().map(kept).filter(|segment| !segment.samples.is_empty()).collect();
    draw_samples(&kept, limit, order)
}

/// Positions with a weight by segment, without segments of none.
pub(crate) fn weighted(segments: &[Segment], positions: Vec<Vec<usize>>) -> Vec<Stratum> {
    positions
        .into_iter()
        .zip(segments)
        .filter(|(positions, _)| !positions.is_empty())
        .map(|(positions, segment)| Stratum { weight: segment.samples.len() as f64, positions })
        .collect()
}

/// The samples of some forecasts whose every response is finite, there and in `all`, as strata of positions in `some`.
pub(crate) fn strata_of(segments: &[Segment], some: &Forecasts, all: &Forecasts) -> Vec<Stratum> {
    let samples = segments.iter().map(|segment| segment.samples.len()).sum();
    let (finite, _) = finite_samples(&some.responses);
    let (_, bad) = finite_samples(&all.responses);
    let is_fine = |position: &usize| bad.iter().all(|row| all.samples[*row] != some.samples[*position]);
    let finite: Vec<usize> = finite.into_iter().filter(is_fine).collect();
    weighted(segments, by_segment(segments, &some.samples, &finite, samples))
}

/// Responses of `all` for the samples of `some`, in their order.
pub(crate) fn responses_for(all: &Forecasts, some: &Forecasts) -> Array3<f64> {
    let rows: Vec<usize> =
        some.samples.iter().filter_map(|sample| all.samples.binary_search(sample).ok()).collect();
    all.responses.select(Axis(0), &rows)
}
