//! From clusters and forecasts to sensitivities and curves, per segment and over all.

use ndarray::{Array2, Array3, Axis};
use rayon::prelude::*;

use crate::bootstrap::Stratum;
use crate::curve::{
    Curve, CurveChoice, Family, Voice, best, fit_all, global_parabola, median, parabola_of_means,
};
use crate::input::Weather;
use crate::perturb::{Perturbation, positions};
use crate::respond::mean_signals;
use crate::segment::Segment;
use crate::sensitivity::{Sensitivity, Weighted, global_sensitivity, sensitivity};
use crate::silent::{Movement, movement};
use crate::variable::{Variable, shifted};

/// Values of the common range at which the curves of all segments are averaged.
const RANGE_POINTS: usize = 71;

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

/// A segment's answer to one variable under the first transition.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Equation 15.
    pub sensitivity: Sensitivity,
    /// Physical mean of the variable under each delta.
    pub x: Vec<f64>,
    /// Median over the steps of the index under each delta.
    pub y: Vec<f64>,
    /// The index without a shift.
    pub unchanged: f64,
    /// All families of curves through (x, y) for which there are enough points.
    pub curves: Vec<Curve>,
    /// The best of them.
    pub best: Option<Curve>,
}

impl Answer {
    /// The parabola through (x, y).
    pub fn parabola(&self) -> Option<&Curve> {
        self.curves.iter().find(|curve| curve.family == Family::Quadratic)
    }
}

/// One variable over all segments.
#[derive(Clone, Debug)]
pub struct Global {
    /// Sensitivity under each transition: as a mean over pairs (the published reading), and as the literal sum.
    pub sensitivity: Vec<[Weighted; 2]>,
    /// How far the shifts move the forecasts at all.
    pub movement: Movement,
    /// Standard deviation of the weather over all usable samples and steps, physical units.
    pub weather_sd: f64,
    /// Share of the shifted weather that leaves the variable's valid range.
    pub out_of_range: f64,
    /// Parabola over all segments that are large enough.
    pub parabola: Option<Curve>,
    /// Segments behind the parabola.
    pub curve_segments: usize,
    /// How many of them fit best with each family.
    pub families: Vec<(Family, usize)>,
    /// Parabola through the mean of the best curves on the variable's range.
    pub of_best: Option<Curve>,
    /// Parabolas of the segments with little and with much vegetation; `None` with fewer than two segments.
    pub split: Option<VegetationSplit>,
}

impl Global {
    /// The published reading under the first transition.
    pub fn main(&self) -> &Weighted {
        &self.sensitivity[0][0]
    }
}

/// Segments split at the median of their unchanged index, weighted by size.
#[derive(Clone, Debug)]
pub struct VegetationSplit {
    /// Segments below it are low.
    pub threshold: f64,
    /// Parabola over the low segments, and their number.
    pub low: (Option<Curve>, usize),
    /// Parabola over the others, and their number.
    pub high: (Option<Curve>, usize),
}

/// What the analyses have in common.
pub(crate) struct Scene<'a> {
    pub(crate) segments: &'a [Segment],
    /// Positions in `responses` of each segment's finite forecasts.
    pub(crate) positions_of: &'a [Vec<usize>],
    /// `[forecast sample, perturbation, step]`.
    pub(crate) responses: &'a Array3<f64>,
    pub(crate) perturbations: &'a [Perturbation],
    pub(crate) weather: &'a Weather,
    pub(crate) variables: &'a [Variable],
    /// Share of a shift by step, one list a transition.
    pub(crate) weights: &'a [Vec<f64>],
    pub(crate) curve_choice: CurveChoice,
    pub(crate) min_segment: usize,
    pub(crate) bootstrap: usize,
    pub(crate) seed: u64,
}

impl Scene<'_> {
    /// Segments of which at least one sample was forecast, as strata.
    pub(crate) fn strata(&self) -> Vec<Stratum> {
        self.segments
            .iter()
            .zip(self.positions_of)
            .filter(|(_, positions)| !positions.is_empty())
            .map(|(segment, positions)| Stratum {
                weight: segment.samples.len() as f64,
                positions: positions.clone(),
            })
            .collect()
    }

    /// The first clustered series of a variable, `[sample, time]`.
    fn series(&self, variable: usize) -> ndarray::ArrayView2<'_, f64> {
        let channel = self.weather.variable_of.iter().position(|of| *of == variable).unwrap_or(0);
        self.weather.values.index_axis(Axis(0), channel)
    }
}

/// Answers of all segments of which at least one sample was forecast.
pub(crate) fn segment_responses(scene: &Scene<'_>) -> Vec<SegmentResponse> {
    let all: Vec<(usize, (&Segment, &Vec<usize>))> =
        scene.segments.iter().zip(scene.positions_of).enumerate().collect();
    all.into_par_iter()
        .filter(|(_, (_, positions))| !positions.is_empty())
        .map(|(index, (segment, positions))| {
            let signals = mean_signals(scene.responses, positions);
            let answers = (0..scene.variables.len()).map(|v| answer(scene, v, segment, &signals)).collect();
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

fn answer(scene: &Scene<'_>, index: usize, segment: &Segment, signals: &Array2<f64>) -> Answer {
    let variable = &scene.variables[index];
    let rows = signals.select(Axis(0), &positions(scene.perturbations, index, &variable.deltas, 0));
    let values = scene.series(index).select(Axis(0), &segment.samples);
    let x: Vec<f64> = variable
        .deltas
        .iter()
        .map(|delta| shifted_mean(&values, *delta, &scene.weights[0], variable.clip))
        .collect();
    let y: Vec<f64> = rows.outer_iter().map(|signal| median(signal.iter().copied())).collect();
    let curves = fit_all(&x, &y);
    Answer {
        sensitivity: sensitivity(rows.view(), &variable.deltas),
        unchanged: median(signals.row(0).iter().copied()),
        best: best(&curves, scene.curve_choice).cloned(),
        curves,
        x,
        y,
    }
}

/// Mean of weather `[sample, time]` once it is shifted and clipped as the model sees it.
fn shifted_mean(values: &Array2<f64>, delta: f64, weights: &[f64], clip: Option<[f64; 2]>) -> f64 {
    let moved = values.indexed_iter().map(|((_, t), value)| shifted(*value, delta * weights[t], clip));
    moved.sum::<f64>() / values.len() as f64
}

/// Global values of each variable. Curves come from segments with at least `min_segment` samples; where there are
/// none, from all.
pub(crate) fn global(scene: &Scene<'_>, segments: &[SegmentResponse]) -> Vec<Global> {
    let strata = scene.strata();
    let large = curve_segments(segments, scene.min_segment);
    (0..scene.variables.len()).map(|v| global_of(scene, &strata, &large, v)).collect()
}

fn global_of(scene: &Scene<'_>, strata: &[Stratum], large: &[&SegmentResponse], v: usize) -> Global {
    let variable = &scene.variables[v];
    let rows_of = |transition| positions(scene.perturbations, v, &variable.deltas, transition);
    let sensitivity = (0..scene.weights.len())
        .map(|transition| {
            let rows = rows_of(transition);
            let (draws, seed) = (scene.bootstrap, scene.seed.wrapping_add(v as u64));
            global_sensitivity(scene.responses, strata, &rows, &variable.deltas, draws, seed)
        })
        .collect();
    let all_rows: Vec<usize> = (0..scene.weights.len()).flat_map(rows_of).collect();
    let (parabola, curve_segments) = parabola_over(large.iter().copied(), v);
    let families = Family::ALL.map(|family| {
        let fits = large.iter().filter(|r| r.answers[v].best.as_ref().is_some_and(|b| b.family == family));
        (family, fits.count())
    });
    Global {
        sensitivity,
        movement: movement(scene.responses, &all_rows),
        weather_sd: scene.series(v).std(0.0),
        out_of_range: out_of_range(scene, v),
        parabola,
        curve_segments,
        families: families.to_vec(),
        of_best: of_best(large, variable, v),
        split: vegetation_split(large, v),
    }
}

/// Parabola over some segments and the number of those that have one.
fn parabola_over<'a>(
    segments: impl Iterator<Item = &'a SegmentResponse>,
    v: usize,
) -> (Option<Curve>, usize) {
    let parabolas: Vec<(Curve, f64)> =
        segments.filter_map(|r| Some((r.answers[v].parabola()?.clone(), r.size as f64))).collect();
    (global_parabola(&parabolas), parabolas.len())
}

fn of_best(segments: &[&SegmentResponse], variable: &Variable, v: usize) -> Option<Curve> {
    let voice = |response: &&SegmentResponse| {
        let answer = &response.answers[v];
        let range = [*answer.x.first()?, *answer.x.last()?];
        let (best, parabola) = (answer.best.clone()?, answer.parabola()?.clone());
        Some(Voice { best, parabola, range, weight: response.size as f64 })
    };
    let voices: Vec<Voice> = segments.iter().filter_map(voice).collect();
    let span = voices.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], voice| {
        [low.min(voice.range[0]), high.max(voice.range[1])]
    });
    // A range far from all data would be nothing but extrapolation.
    let common = variable.range.filter(|[low, high]| *low < span[1] && *high > span[0]);
    parabola_of_means(&voices, common.unwrap_or(span), RANGE_POINTS)
}

fn vegetation_split(segments: &[&SegmentResponse], v: usize) -> Option<VegetationSplit> {
    let mut sorted = segments.to_vec();
    sorted.sort_by(|a, b| a.answers[v].unchanged.total_cmp(&b.answers[v].unchanged));
    let half = sorted.iter().map(|r| r.size).sum::<usize>() / 2;
    let mut before = 0;
    let first_high = sorted.iter().position(|response| {
        let is_high = before >= half;
        before += response.size;
        is_high
    });
    let (low, high) = sorted.split_at(first_high.unwrap_or(sorted.len().saturating_sub(1)).max(1));
    let threshold = high.first()?.answers[v].unchanged;
    let over = |part: &[&SegmentResponse]| parabola_over(part.iter().copied(), v);
    Some(VegetationSplit { threshold, low: over(low), high: over(high) })
}

/// Share of the values (sample, step, shift) that lie outside the valid range, of the usable samples' weather.
fn out_of_range(scene: &Scene<'_>, v: usize) -> f64 {
    let Variable { valid: [low, high], deltas, .. } = &scene.variables[v];
    let series = scene.series(v);
    let (mut outside, mut all) = (0_usize, 0_usize);
    for weights in scene.weights {
        for delta in deltas.iter().filter(|delta| **delta != 0.0) {
            for (t, values) in series.axis_iter(Axis(1)).enumerate() {
                let moved = delta * weights[t];
                outside += values.iter().filter(|value| !(*low..=*high).contains(&(**value + moved))).count();
                all += values.len();
            }
        }
    }
    outside as f64 / all as f64
}

/// The segments that curves are taken from.
pub(crate) fn curve_segments(responses: &[SegmentResponse], min_segment: usize) -> Vec<&SegmentResponse> {
    let large: Vec<&SegmentResponse> = responses.iter().filter(|r| r.size >= min_segment).collect();
    if large.is_empty() { responses.iter().collect() } else { large }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::fit_polynomial;

    fn segment(size: usize, level: f64, slope: f64) -> SegmentResponse {
        let x = vec![-1.0, 0.0, 1.0, 2.0];
        let y: Vec<f64> = x.iter().map(|x| level + slope * x).collect();
        let curves = vec![fit_polynomial(&x, &y, 2).unwrap()];
        let sensitivity = Sensitivity { mean_over_pairs: slope, literal_sum: slope };
        let answer = Answer { sensitivity, x, y, unchanged: level, best: None, curves };
        SegmentResponse {
            segment: 0,
            size,
            forecast: 1,
            signals: Array2::zeros((1, 1)),
            answers: vec![answer],
        }
    }

    /// Unclipped (0 + 1 + 3) / 3 - 2; with nothing below 0, (0 + 0 + 1) / 3. The shift spares the second step of three.
    #[test]
    fn the_weather_of_a_curve_is_what_the_model_sees() {
        let values = ndarray::arr2(&[[0.0, 1.0, 3.0]]);
        let of = |delta, weights: &[f64], clip| shifted_mean(&values, delta, weights, clip);
        assert!((of(-2.0, &[1.0; 3], None) + 2.0 / 3.0).abs() < 1e-12);
        assert!((of(-2.0, &[1.0; 3], Some([0.0, 12.0])) - 1.0 / 3.0).abs() < 1e-12);
        assert!((of(-2.0, &[1.0, 0.0, 1.0], Some([0.0, 12.0])) - 2.0 / 3.0).abs() < 1e-12);
        assert!((of(10.0, &[1.0; 3], Some([0.0, 12.0])) - 11.0).abs() < 1e-12); // 10, 11, 12
    }

    /// Half of the 20 samples lie in the two segments below .6, so these are the low ones, with slopes 1 and 3.
    #[test]
    fn segments_are_split_at_their_weighted_median() {
        let all = [segment(6, 0.7, 9.0), segment(6, 0.3, 1.0), segment(4, 0.6, 7.0), segment(4, 0.5, 3.0)];
        let split = vegetation_split(&all.iter().collect::<Vec<_>>(), 0).unwrap();
        assert_eq!((split.threshold, split.low.1, split.high.1), (0.6, 2, 2));
        let slope = |(curve, _): &(Option<Curve>, usize)| curve.as_ref().unwrap().coefficients[1];
        assert!((slope(&split.low) - (6.0 * 1.0 + 4.0 * 3.0) / 10.0).abs() < 1e-12);
        assert!((slope(&split.high) - (6.0 * 9.0 + 4.0 * 7.0) / 10.0).abs() < 1e-12);
        assert!(vegetation_split(&[&all[0]], 0).is_none());
    }
}
