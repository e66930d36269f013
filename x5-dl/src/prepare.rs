//! From a batch to network inputs, and from network outputs back to frames.

use std::ops::Not;

use ndarray::{Array2, Array3, Array4, Array5, ArrayD, Axis, IxDyn, s};
use serde::{Deserialize, Serialize};

use crate::data::context::{self, ContextGaps};
use crate::data::scaling::{Affine, StaticInput};
use crate::data::{Batch, DataSpec, window_cell};
use crate::harness::gradient::Examples;

/// What is done to a batch before a network sees it; stored with the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preparation {
    /// Scaling of each weather variable.
    pub weather: Vec<Affine>,
    /// How each static layer enters.
    pub statics: Vec<StaticInput>,
    /// What is fed where the context has no valid observation.
    pub context_gaps: ContextGaps,
    /// The dynamic variables are divided by this: tanh(1) for the RNN's kNDVI, whose range is then 0..1.
    pub dynamic_scale: f32,
    /// Networks of pixels: whether they are fed the weather of the context too.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub context_weather: bool,
}

impl Preparation {
    /// The step whose drivers are a network of pixels' first.
    pub(crate) fn first_driver(&self, spec: &DataSpec) -> usize {
        if self.context_weather { 0 } else { spec.context_steps }
    }

    /// Static inputs of one pixel, classes spread out.
    fn statics_of(&self, batch: &Batch, b: usize, y: usize, x: usize, into: &mut Vec<f32>) {
        for (layer, input) in self.statics.iter().enumerate() {
            let value = batch.statics[[b, layer, y, x]];
            into.extend((0..input.width()).map(|k| input.value(k, value)));
        }
    }

    /// Static inputs that are not classes.
    fn scaled_of(&self, batch: &Batch, b: usize, y: usize, x: usize, into: &mut Vec<f32>) {
        for (layer, input) in self.statics.iter().enumerate() {
            if let StaticInput::Scaled(affine) = input {
                into.push(affine.apply(batch.statics[[b, layer, y, x]]));
            }
        }
    }

    /// Static inputs with classes spread out.
    pub(crate) fn static_width(&self) -> usize {
        self.statics.iter().map(StaticInput::width).sum()
    }

    /// Static inputs that are not classes.
    pub(crate) fn scaled_width(&self) -> usize {
        self.statics.iter().filter(|input| input.is_scaled()).count()
    }

    fn unit(&self, value: f32) -> f32 {
        let scaled = value / self.dynamic_scale;
        if scaled.is_finite() { scaled.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Change of what is fed per unit of the value: 0 where it is cut off or missing.
    pub(crate) fn unit_slope(&self, value: f32) -> f64 {
        let fed = (0.0..=1.0).contains(&(value / self.dynamic_scale));
        if fed { 1.0 / f64::from(self.dynamic_scale) } else { 0.0 }
    }
}

/// A pixel of a batch: sample, row, column.
pub(crate) type Pixel = (usize, usize, usize);

/// RNN inputs of the given pixels: vegetation, statics, and the drivers of the *target* steps (weather of the very
/// step, then all statics), after those of the context where they are fed too.
pub(crate) fn pixel_inputs(
    batch: &Batch,
    pixels: &[Pixel],
    spec: &DataSpec,
    prep: &Preparation,
) -> Vec<ArrayD<f32>> {
    let held = context::context(batch, spec.context_steps, prep.context_gaps);
    let (n, first) = (pixels.len(), prep.first_driver(spec));
    let steps = first..spec.steps();
    let (rows, cols) = (batch.valid.dim().2, batch.valid.dim().3);
    let (_, _, variables, wy, wx) = batch.weather.dim();
    let vegetation = Array2::from_shape_fn((n, spec.context_steps), |(p, t)| {
        let (b, y, x) = pixels[p];
        prep.unit(held[[b, t, 0, y, x]])
    });
    let mut statics = Vec::with_capacity(n * prep.scaled_width());
    let mut drivers = Vec::with_capacity(n * steps.len() * (variables + prep.static_width()));
    let mut own = Vec::new();
    for &(b, y, x) in pixels {
        prep.scaled_of(batch, b, y, x, &mut statics);
        own.clear();
        prep.statics_of(batch, b, y, x, &mut own);
        let (r, c) = (window_cell(y, rows, wy), window_cell(x, cols, wx));
        for t in steps.clone() {
            let weather = batch.weather.slice(s![b, t, .., r, c]);
            drivers.extend(weather.iter().zip(&prep.weather).map(|(&v, affine)| affine.apply(v)));
            drivers.extend_from_slice(&own);
        }
    }
    vec![
        vegetation.into_dyn(),
        shaped(&[n, prep.scaled_width()], statics),
        shaped(&[n, steps.len(), variables + prep.static_width()], drivers),
    ]
}

/// RNN inputs with targets.
pub(crate) fn pixel_examples(
    batch: &Batch,
    pixels: &[Pixel],
    spec: &DataSpec,
    prep: &Preparation,
) -> Examples {
    let target = context::target(batch, spec.context_steps);
    let valid = context::target_valid(batch, spec.context_steps);
    let shape = (pixels.len(), spec.target_steps);
    Examples {
        inputs: pixel_inputs(batch, pixels, spec, prep),
        target: Array2::from_shape_fn(shape, |(p, t)| {
            prep.unit(target[[pixels[p].0, t, 0, pixels[p].1, pixels[p].2]])
        })
        .into_dyn(),
        valid: Array2::from_shape_fn(shape, |(p, t)| valid[[pixels[p].0, t, pixels[p].1, pixels[p].2]])
            .into_dyn(),
        steps: spec.target_steps,
        samples: pixels.iter().map(|&(b, ..)| batch.sample_ids[b].clone()).collect(),
        quantiles: Vec::new(),
    }
}

/// Inputs of networks of frames: context `[batch, context, channel, y, x]`, statics `[batch, layer, y, x]`, the
/// weather of all steps on every pixel `[batch, step, variable, y, x]`, and 1 where the context is not observed
/// `[batch, context, 1, y, x]`.
pub(crate) fn frame_inputs(batch: &Batch, spec: &DataSpec, prep: &Preparation) -> Vec<ArrayD<f32>> {
    let held = context::context(batch, spec.context_steps, prep.context_gaps);
    let (n, steps, rows, cols) = batch.valid.dim();
    let (_, _, variables, wy, wx) = batch.weather.dim();
    let mut statics = Array4::zeros((n, prep.static_width(), rows, cols));
    let mut values = Vec::new();
    for b in 0..n {
        for y in 0..rows {
            for x in 0..cols {
                values.clear();
                prep.statics_of(batch, b, y, x, &mut values);
                for (k, &value) in values.iter().enumerate() {
                    statics[[b, k, y, x]] = value;
                }
            }
        }
    }
    let weather = Array5::from_shape_fn((n, steps, variables, rows, cols), |(b, t, v, y, x)| {
        prep.weather[v].apply(batch.weather[[b, t, v, window_cell(y, rows, wy), window_cell(x, cols, wx)]])
    });
    let masked = batch.valid.slice(s![.., ..spec.context_steps, .., ..]).mapv(|v| 1.0 - v);
    vec![
        held.mapv(|v| prep.unit(v)).into_dyn(),
        statics.into_dyn(),
        weather.into_dyn(),
        masked.insert_axis(Axis(2)).into_dyn(),
    ]
}

/// Inputs of networks of frames with targets. The mask counts for every channel; `counted` is `[batch, y, x]`, 0 for
/// pixels that do not count at all, and `by_pixel` gives each pixel the same weight, however often it was observed.
pub(crate) fn frame_examples(
    batch: &Batch,
    counted: &Array3<f32>,
    by_pixel: bool,
    spec: &DataSpec,
    prep: &Preparation,
) -> Examples {
    let target = context::target(batch, spec.context_steps).mapv(|v| prep.unit(v));
    let valid = context::target_valid(batch, spec.context_steps);
    let (n, steps, channels, rows, cols) = target.dim();
    let index = spec.dynamic.iter().position(|name| name == "ndvi" || name == "kndvi");
    let fed = |c: usize| !by_pixel || index.is_none_or(|index| index == c);
    let mut each = Array5::from_shape_fn((n, steps, channels, rows, cols), |(b, t, c, y, x)| {
        if fed(c) { valid[[b, t, y, x]] * counted[[b, y, x]] } else { 0.0 }
    });
    if by_pixel {
        let seen = each.sum_axis(Axis(2)).sum_axis(Axis(1));
        let seen = seen.insert_axis(Axis(1)).insert_axis(Axis(1));
        each /= &seen.mapv(|count| if count > 0.0 { count } else { 1.0 });
    }
    let size = [n, steps * channels * rows * cols];
    Examples {
        inputs: frame_inputs(batch, spec, prep),
        target: shaped(&size, target.into_iter().collect()),
        valid: shaped(&size, each.into_iter().collect()),
        steps,
        samples: batch.sample_ids.clone(),
        quantiles: Vec::new(),
    }
}

/// Examples of some pixels of the frames of one channel, numbered row by row, as many of each sample; they become a
/// fifth input, `[batch, pixel]`.
pub(crate) fn only_pixels(mut examples: Examples, chosen: &Array2<usize>) -> Examples {
    let (items, count) = chosen.dim();
    let pixels = examples.target.len() / (items * examples.steps).max(1);
    let cut = |all: &ArrayD<f32>| {
        let cut = Array3::from_shape_fn((items, examples.steps, count), |(b, t, k)| {
            all[[b, t * pixels + chosen[[b, k]]]]
        });
        shaped(&[items, examples.steps * count], cut.into_iter().collect())
    };
    let (target, valid) = (cut(&examples.target), cut(&examples.valid));
    examples.inputs.push(chosen.mapv(|pixel| pixel as f32).into_dyn());
    Examples { target, valid, ..examples }
}

/// Puts `[pixel, step * quantile]` values at their places in `[step, quantile, y, x]` frames.
pub(crate) fn place_pixels(frames: &mut Array4<f32>, pixels: &[Pixel], values: &ArrayD<f32>, scale: f32) {
    let (steps, quantiles, _, _) = frames.dim();
    for (p, &(_, y, x)) in pixels.iter().enumerate() {
        for (t, q) in (0..steps).flat_map(|t| (0..quantiles).map(move |q| (t, q))) {
            frames[[t, q, y, x]] = values[[p, t * quantiles + q]] * scale;
        }
    }
}

/// An array of a shape that its values fill exactly.
pub(crate) fn shaped(shape: &[usize], values: Vec<f32>) -> ArrayD<f32> {
    ArrayD::from_shape_vec(IxDyn(shape), values).unwrap_or_else(|_| ArrayD::zeros(IxDyn(shape)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One sample of 2 × 2 pixels and 5 steps, 3 of them context; weather is 10 × step + the window's column.
    fn batch() -> (Batch, DataSpec, Preparation) {
        let batch = Batch {
            dynamic: Array5::from_shape_fn((1, 5, 1, 2, 2), |(_, t, _, y, x)| {
                0.1 * t as f32 + 0.01 * (2 * y + x) as f32
            }),
            valid: Array4::ones((1, 5, 2, 2)),
            weather: Array5::from_shape_fn((1, 5, 1, 1, 2), |(_, t, _, _, c)| (10 * t + c) as f32),
            statics: Array4::from_shape_fn((1, 2, 2, 2), |(_, layer, _, x)| {
                if layer == 0 { 500.0 } else { 10.0 + 20.0 * x as f32 }
            }),
            dates: Array2::zeros((1, 5)),
            sample_ids: vec!["a".into()],
        };
        let spec = DataSpec {
            dynamic: vec!["kndvi".into()],
            weather: vec!["tp_mean".into()],
            statics: vec!["dem".into(), "landcover".into()],
            context_steps: 3,
            target_steps: 2,
        };
        let preparation = Preparation {
            weather: vec![Affine { offset: 0.0, scale: 10.0 }],
            statics: vec![
                StaticInput::Scaled(Affine { offset: 0.0, scale: 2000.0 }),
                StaticInput::Classes(vec![10, 30]),
            ],
            context_gaps: ContextGaps::Hold,
            dynamic_scale: 1.0,
            context_weather: false,
        };
        (batch, spec, preparation)
    }

    #[test]
    fn a_pixel_is_driven_by_the_weather_of_the_step_it_predicts() {
        let (batch, spec, preparation) = batch();
        // The pixel of row 1, column 1 lies under the window's second column.
        let examples = pixel_examples(&batch, &[(0, 1, 1)], &spec, &preparation);
        let values = |a: &ArrayD<f32>| a.iter().map(|v| (v * 1000.0).round() / 1000.0).collect::<Vec<f32>>();
        assert_eq!(values(&examples.inputs[0]), [0.03, 0.13, 0.23]);
        assert_eq!(values(&examples.inputs[1]), [0.25]);
        // Steps 3 and 4: weather 31 / 10 and 41 / 10, then elevation and the two classes.
        assert_eq!(examples.inputs[2].shape(), [1, 2, 4]);
        assert_eq!(values(&examples.inputs[2]), [3.1, 0.25, 0.0, 1.0, 4.1, 0.25, 0.0, 1.0]);
        assert_eq!(values(&examples.target), [0.33, 0.43]);
    }

    #[test]
    fn the_weather_of_the_context_goes_first_where_it_is_told() {
        let (batch, spec, preparation) = batch();
        let told = Preparation { context_weather: true, ..preparation };
        let examples = pixel_examples(&batch, &[(0, 1, 1)], &spec, &told);
        assert_eq!(examples.inputs[2].shape(), [1, 5, 4]);
        let weather = examples.inputs[2].slice(s![0, .., 0]);
        assert_eq!(weather.iter().copied().collect::<Vec<f32>>(), [0.1, 1.1, 2.1, 3.1, 4.1]);
        assert_eq!(examples.target.shape(), [1, 2]);
    }

    #[test]
    fn frames_get_the_weather_of_all_steps_on_every_pixel() {
        let (batch, spec, preparation) = batch();
        let examples = frame_examples(&batch, &Array3::ones((1, 2, 2)), false, &spec, &preparation);
        let [context, statics, weather, masked] = examples.inputs.as_slice() else { panic!("four inputs") };
        assert_eq!(masked.shape(), [1, 3, 1, 2, 2]);
        assert_eq!(context.shape(), [1, 3, 1, 2, 2]);
        assert_eq!(statics.shape(), [1, 3, 2, 2]);
        assert_eq!(weather.shape(), [1, 5, 1, 2, 2]);
        // Step 1: the left column has 10 / 10, the right one 11 / 10.
        assert_eq!(
            weather.slice(s![0, 1, 0, .., ..]).iter().copied().collect::<Vec<_>>(),
            [1.0, 1.1, 1.0, 1.1]
        );
        assert_eq!(examples.target.shape(), [1, 8]);
    }

    #[test]
    fn each_pixel_weighs_the_same_where_asked_for() {
        let (mut batch, spec, preparation) = batch();
        // The first pixel is seen in one of the two target steps, the last does not count.
        batch.valid[[0, 3, 0, 0]] = 0.0;
        let mut counted = Array3::ones((1, 2, 2));
        counted[[0, 1, 1]] = 0.0;
        let examples = frame_examples(&batch, &counted, true, &spec, &preparation);
        let weights: Vec<f32> = examples.valid.iter().copied().collect();
        assert_eq!(weights, [0.0, 0.5, 0.5, 0.0, 1.0, 0.5, 0.5, 0.0]);
    }

    #[test]
    fn chosen_pixels_take_their_targets_along() {
        let (batch, spec, preparation) = batch();
        let all = frame_examples(&batch, &Array3::ones((1, 2, 2)), false, &spec, &preparation);
        // 0.1 times the step, 0.01 times the pixel; steps 3 and 4, pixels 3 and 1.
        let some = only_pixels(all, &ndarray::arr2(&[[3, 1]]));
        let rounded = some.target.iter().map(|v| (v * 100.0).round() / 100.0).collect::<Vec<f32>>();
        assert_eq!(rounded, [0.33, 0.31, 0.43, 0.41]);
        assert_eq!(some.inputs[4].iter().copied().collect::<Vec<f32>>(), [3.0, 1.0]);
    }

    #[test]
    fn pixels_go_back_to_their_places() {
        let mut frames = Array4::zeros((2, 2, 2, 2));
        place_pixels(&mut frames, &[(0, 1, 0)], &shaped(&[1, 4], vec![0.5, 0.25, 1.5, 1.0]), 2.0);
        assert_eq!((frames[[0, 0, 1, 0]], frames[[0, 1, 1, 0]]), (1.0, 0.5));
        assert_eq!((frames[[1, 0, 1, 0]], frames[[1, 1, 1, 0]], frames.sum()), (3.0, 2.0, 6.5));
    }
}
