//! From clusters and forecasts to sensitivities and curves, per segment and over all.

use ndarray::{Array2, Array3, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::curve::{Curve, fit_best, fit_polynomial, global_parabola, median};
use crate::input::Weather;
use crate::perturb::{Perturbation, positions};
use crate::respond::mean_signals;
use crate::segment::Segment;
use crate::sensitivity::{Sensitivity, Weighted, sensitivity, weighted};
use crate::variable::Variable;

/// What is known of one segment: its answer to every perturbation.
#[derive(Clone, Debug)]
pub struct SegmentResponse {
    /// Index in the list of segments.
    pub segment: usize,
    /// Its size, the weight in all global values.
    pub size: usize,
    /// Samples of it that were forecast.
    pub forecast: usize,
    /// Mean index signals, `[perturbation, step]`.
    pub signals: Array2<f64>,
    /// One answer a variable.
    pub answers: Vec<Answer>,
}

/// A segment's answer to one variable.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Equation 15.
    pub sensitivity: Sensitivity,
    /// Physical mean of the variable under each delta.
    pub x: Vec<f64>,
    /// Median over the steps of the index under each delta.
    pub y: Vec<f64>,
    /// Parabola through (x, y).
    pub parabola: Option<Curve>,
    /// Polynomial of degree 1 to 3 with the best adjusted R².
    pub best: Option<Curve>,
}

/// One variable over all segments.
#[derive(Clone, Debug)]
pub struct Global {
    /// Sensitivity as a mean over pairs (the published reading).
    pub mean_over_pairs: Weighted,
    /// Sensitivity as the literal sum of equation 15.
    pub literal_sum: Weighted,
    /// Parabola over all segments that are large enough.
    pub parabola: Option<Curve>,
    /// Segments behind the parabola.
    pub curve_segments: usize,
    /// How many segments fit best with degree 1, 2 and 3.
    pub degrees: [usize; 3],
}

/// Answers of all segments of which at least one sample was forecast. `positions_of` gives the positions in
/// `responses` of a segment's finite forecasts.
pub(crate) fn segment_responses(
    segments: &[Segment],
    positions_of: &[Vec<usize>],
    responses: &Array3<f64>,
    weather: &Weather,
    variables: &[Variable],
    perturbations: &[Perturbation],
) -> Vec<SegmentResponse> {
    let used =
        segments.iter().zip(positions_of).enumerate().filter(|(_, (_, positions))| !positions.is_empty());
    used.map(|(index, (segment, positions))| {
        let signals = mean_signals(responses, positions);
        let answers = variables
            .iter()
            .enumerate()
            .map(|(v, variable)| answer(v, variable, segment, &signals, weather, perturbations))
            .collect();
        SegmentResponse {
            segment: index,
            size: segment.samples.len(),
            forecast: positions.len(),
            signals,
            answers,
        }
    })
    .collect()
}

fn answer(
    index: usize,
    variable: &Variable,
    segment: &Segment,
    signals: &Array2<f64>,
    weather: &Weather,
    perturbations: &[Perturbation],
) -> Answer {
    let rows = signals.select(Axis(0), &positions(perturbations, index, &variable.deltas));
    let channel = weather.variable_of.iter().position(|of| *of == index).unwrap_or(0);
    let series = weather.values.index_axis(Axis(0), channel).select(Axis(0), &segment.samples);
    let mean = series.mean().unwrap_or(f64::NAN);
    let x: Vec<f64> = variable.deltas.iter().map(|delta| mean + delta).collect();
    let y: Vec<f64> = rows.outer_iter().map(|signal| median(signal.iter().copied())).collect();
    Answer {
        sensitivity: sensitivity(rows.view(), &variable.deltas),
        parabola: fit_polynomial(&x, &y, 2),
        best: fit_best(&x, &y),
        x,
        y,
    }
}

/// Global values of each variable. Curves come from segments with at least `min_segment` samples; where there are
/// none, from all.
pub(crate) fn global(
    responses: &[SegmentResponse],
    variables: usize,
    min_segment: usize,
    bootstrap: usize,
    seed: u64,
) -> Vec<Global> {
    let sizes: Vec<f64> = responses.iter().map(|response| response.size as f64).collect();
    let large = curve_segments(responses, min_segment);
    (0..variables)
        .map(|v| {
            let over = |get: fn(&Sensitivity) -> f64| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(v as u64);
                let values: Vec<f64> = responses.iter().map(|r| get(&r.answers[v].sensitivity)).collect();
                weighted(&values, &sizes, bootstrap, &mut rng)
            };
            let parabolas: Vec<(Curve, f64)> = large
                .iter()
                .filter_map(|r| r.answers[v].parabola.clone().map(|curve| (curve, r.size as f64)))
                .collect();
            let mut degrees = [0; 3];
            for best in large.iter().filter_map(|r| r.answers[v].best.as_ref()) {
                degrees[best.degree().clamp(1, 3) - 1] += 1;
            }
            Global {
                mean_over_pairs: over(|s| s.mean_over_pairs),
                literal_sum: over(|s| s.literal_sum),
                parabola: global_parabola(&parabolas),
                curve_segments: parabolas.len(),
                degrees,
            }
        })
        .collect()
}

/// The segments that curves are taken from.
pub(crate) fn curve_segments(responses: &[SegmentResponse], min_segment: usize) -> Vec<&SegmentResponse> {
    let large: Vec<&SegmentResponse> = responses.iter().filter(|r| r.size >= min_segment).collect();
    if large.is_empty() { responses.iter().collect() } else { large }
}
