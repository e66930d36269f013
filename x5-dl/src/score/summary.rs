//! One row of the score table for each split and forecaster.

use ndarray::{Array2, Array3, ArrayView3, ArrayView4, Axis, Slice, Zip};
use serde::{Deserialize, Serialize};

use crate::data::{Batch, DataSpec, context};
use crate::score::ens::{self, EarthNetScore, EnsComponents};
use crate::score::error_by_lead::{ErrorSums, IndexErrors, greenness, kndvi};
use crate::score::greenearthnet::{self, CubeScore, Filter, GreennessScore};
use crate::score::pixel::PixelScore;
use crate::score::quantiles::{QuantileScore, QuantileSums};
use crate::seasonal_score::SeasonalScore;

/// Scores of one forecaster on one split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Split, `val` for instance.
    pub split: String,
    /// Model or baseline.
    pub forecaster: String,
    /// Samples scored.
    pub samples: usize,
    /// Observed steps.
    pub context_steps: usize,
    /// Forecast steps.
    pub target_steps: usize,
    /// Errors of kNDVI = tanh(NDVI²) on valid vegetation pixels. The deliverable divides by tanh(1) = 0.7616.
    pub kndvi: Option<IndexErrors>,
    /// EarthNetScore, where the four bands are forecast.
    pub earthnet: Option<EarthNetScore>,
    /// Scores of greenness by pixel and land cover, where land cover is known and some pixel is observed often enough.
    pub greenness: Option<GreennessScore>,
    /// How forecast quantiles of kNDVI hold; none where the model forecasts one value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<QuantileScore>,
    /// The forecast beside the mean seasonal cycle, where Level 2 has several years of a cube; of models only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seasonal: Option<SeasonalScore>,
}

/// What one sample contributes to a score.
#[derive(Clone, Debug)]
pub(crate) struct SampleScore {
    errors: Option<ErrorSums>,
    components: Option<EnsComponents>,
    greenness: Option<(&'static str, CubeScore)>,
    quantiles: QuantileSums,
}

impl SampleScore {
    /// The same with what quantiles `[step, quantile, y, x]` of the only forecast variable contribute.
    pub(crate) fn with_quantiles(
        self,
        (levels, quantiles): (&[f64], ArrayView4<'_, f32>),
        batch: &Batch,
        spec: &DataSpec,
        scoring: &Scoring,
    ) -> SampleScore {
        let index = |frames| kndvi(frames, &spec.dynamic, scoring.ndvi_epsilon);
        let target = context::target(batch, spec.context_steps);
        let counted = counted(batch, spec, scoring);
        let mut sums = QuantileSums::default();
        if let Some(truth) = index(target.index_axis(Axis(0), 0)) {
            for (k, &level) in levels.iter().enumerate() {
                if let Some(quantile) = index(quantiles.slice_axis(Axis(1), Slice::from(k..k + 1))) {
                    sums.push(level, &quantile, &truth, &counted);
                }
            }
        }
        SampleScore { quantiles: sums, ..self }
    }
}

/// How samples are scored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scoring {
    /// Land-cover classes that count as vegetation; empty = every pixel counts.
    pub vegetation: Vec<u8>,
    /// Added to the denominator of NDVI, as the data's source does.
    pub ndvi_epsilon: f32,
}

/// Scores the forecast `[step, channel, y, x]` of the only sample of a batch; `reference` is what greenness has to
/// outperform.
pub(crate) fn score_sample(
    batch: &Batch,
    forecast: ArrayView4<'_, f32>,
    reference: Option<ArrayView4<'_, f32>>,
    spec: &DataSpec,
    scoring: &Scoring,
) -> SampleScore {
    let target = context::target(batch, spec.context_steps);
    let target = target.index_axis(Axis(0), 0);
    let valid = context::target_valid(batch, spec.context_steps).index_axis(Axis(0), 0).to_owned();
    let index = |frames| kndvi(frames, &spec.dynamic, scoring.ndvi_epsilon);
    let errors = index(forecast)
        .zip(index(target))
        .map(|(p, y)| ErrorSums::of(&p, &y, &counted(batch, spec, scoring)));
    let bands = ["blue", "green", "red", "nir"];
    let components = (spec.dynamic.iter().map(String::as_str).eq(bands))
        .then(|| ens::cube_components(forecast, target, valid.view()));
    let greenness = cube_greenness(batch, forecast, reference, spec, scoring.ndvi_epsilon);
    SampleScore { errors, components, greenness, quantiles: QuantileSums::default() }
}

/// `[step, y, x]`: above 0 where the target of the only sample is a valid observation of vegetation.
fn counted(batch: &Batch, spec: &DataSpec, scoring: &Scoring) -> Array3<f32> {
    let valid = context::target_valid(batch, spec.context_steps);
    let vegetation = vegetation(batch.statics.index_axis(Axis(0), 0), spec, &scoring.vegetation);
    let valid = valid.index_axis(Axis(0), 0);
    Array3::from_shape_fn(valid.dim(), |(t, r, c)| valid[[t, r, c]] * vegetation[[r, c]])
}

/// Greenness by pixel; `None` where the land cover or the index is not known.
fn cube_greenness(
    batch: &Batch,
    forecast: ArrayView4<'_, f32>,
    reference: Option<ArrayView4<'_, f32>>,
    spec: &DataSpec,
    epsilon: f32,
) -> Option<(&'static str, CubeScore)> {
    let layer = spec.statics.iter().position(|name| name == "landcover")?;
    let cover = batch.statics.index_axis(Axis(0), 0).index_axis(Axis(0), layer).to_owned();
    let of = |frames| greenness(frames, &spec.dynamic, epsilon);
    let (name, predicted) = of(forecast)?;
    let reference = reference.and_then(of).map(|(_, frames)| frames);
    let (_, observed) = of(batch.dynamic.index_axis(Axis(0), 0))?;
    let valid = batch.valid.index_axis(Axis(0), 0);
    let context = spec.context_steps;
    let steps = predicted.len_of(Axis(0));
    let pixels: Vec<greenearthnet::Pixel> = cover
        .indexed_iter()
        .map(|((y, x), &cover)| {
            let seen = |t: usize| valid[[t, y, x]] > 0.0;
            let agreement = |frames: &Array3<f32>| {
                let pairs: Vec<(f64, f64)> = (0..steps)
                    .filter(|t| seen(context + t))
                    .map(|t| (f64::from(observed[[context + t, y, x]]), f64::from(frames[[t, y, x]])))
                    .collect();
                PixelScore::of(&pairs)
            };
            let lowest = (0..context + steps).filter(|&t| seen(t)).map(|t| observed[[t, y, x]]);
            greenearthnet::Pixel {
                cover: if (1.0..=255.0).contains(&cover) { cover as u8 } else { u8::MAX },
                in_context: (0..context).filter(|&t| seen(t)).count(),
                lowest: f64::from(lowest.fold(f32::INFINITY, f32::min)),
                score: agreement(&predicted),
                reference: reference.as_ref().map(agreement),
            }
        })
        .collect();
    Some((name, greenearthnet::cube_score(&pixels, &Filter::PUBLISHED)))
}

/// 1 where a pixel of a sample is of a vegetation class, or everywhere where no class is given, known or found in the sample;
/// `statics` is `[layer, y, x]`.
pub(crate) fn vegetation(statics: ArrayView3<'_, f32>, spec: &DataSpec, classes: &[u8]) -> Array2<f32> {
    let everywhere = Array2::ones((statics.dim().1, statics.dim().2));
    let layer = spec.statics.iter().position(|name| name == "landcover");
    let (Some(layer), false) = (layer, classes.is_empty()) else { return everywhere };
    let cover = statics.index_axis(Axis(0), layer);
    let found =
        Zip::from(cover).map_collect(|&v| f32::from(u8::from(classes.iter().any(|&c| f32::from(c) == v))));
    if found.iter().all(|&v| v == 0.0) { everywhere } else { found }
}

/// Puts the samples' contributions together, in their order.
pub(crate) fn summarise(split: &str, forecaster: &str, spec: &DataSpec, samples: &[SampleScore]) -> Score {
    let mut sums = ErrorSums::default();
    for errors in samples.iter().filter_map(|s| s.errors.as_ref()) {
        sums.add(errors);
    }
    let mut quantiles = QuantileSums::default();
    for sample in samples {
        quantiles.add(&sample.quantiles);
    }
    let cubes: Vec<Vec<EnsComponents>> =
        samples.iter().filter_map(|s| s.components).map(|c| vec![c]).collect();
    let greenness: Vec<CubeScore> =
        samples.iter().filter_map(|s| s.greenness.as_ref()).map(|(_, cube)| cube.clone()).collect();
    let greenest = samples.iter().find_map(|s| s.greenness.as_ref()).map(|(index, _)| *index);
    Score {
        split: split.to_owned(),
        forecaster: forecaster.to_owned(),
        samples: samples.len(),
        context_steps: spec.context_steps,
        target_steps: spec.target_steps,
        kndvi: sums.finish(),
        earthnet: (!cubes.is_empty()).then(|| ens::earthnet_score(&cubes)),
        greenness: greenest.and_then(|index| greenearthnet::aggregate(index, &greenness)),
        quantiles: quantiles.finish(),
        seasonal: None,
    }
}
