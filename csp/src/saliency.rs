//! Saliency maps: which pixels answer to weather, and which places of the cube the forecast is drawn from.

use ndarray::{Array2, Array3, Array4, ArrayView2, ArrayView3, ArrayViewMut2, Axis, s};
use x5_dl::Batch;

/// Maps of one sample.
#[derive(Clone, Debug)]
pub struct Saliency {
    /// Index of the unchanged forecast, mean over the steps, `[y, x]`; NaN where there is none.
    pub unchanged: Array2<f64>,
    /// Change of the index of a pixel per unit of each variable, `[variable, y, x]`: central differences.
    pub gradient: Array3<f64>,
    /// Change of the mean index of the whole part when a patch of an input is levelled, `[layer, patch row, patch
    /// column]`. The first layer is the whole context, the others are the static layers.
    pub occlusion: Array3<f64>,
    /// Gradients and integrated gradients; `None` where the model has no gradient or none was asked for.
    pub owed: Option<Owed>,
}

/// What the mean index of the forecast owes to its inputs, each against its own mean over the sample.
#[derive(Clone, Debug)]
pub struct Owed {
    /// Gradient, summed over the context, `[channel, y, x]` per Level-2 unit: the channels of the past, then the layers of
    /// the land.
    pub slope: Array3<f64>,
    /// Integrated gradients, summed over the context, likewise.
    pub part: Array3<f64>,
    /// Integrated gradients of the weather, `[variable, time]`.
    pub weather: Array2<f64>,
    /// Index of the forecast, and of that from inputs at their means.
    pub values: [f64; 2],
    /// Sum of all parts less the difference of the two.
    pub gap: f64,
}

impl Owed {
    /// All numbers one after the other.
    pub(crate) fn to_numbers(&self) -> Vec<f64> {
        let maps = self.slope.iter().chain(&self.part).chain(&self.weather);
        maps.chain(&self.values).chain([&self.gap]).copied().collect()
    }

    /// From these numbers; `None` if they are of another shape.
    pub(crate) fn from_numbers(
        numbers: &[f64],
        maps: (usize, usize, usize),
        weather: (usize, usize),
    ) -> Option<Self> {
        let size = maps.0 * maps.1 * maps.2;
        let (slope, rest) = numbers.split_at_checked(size)?;
        let (part, rest) = rest.split_at_checked(size)?;
        let (of_weather, rest) = rest.split_at_checked(weather.0 * weather.1)?;
        let [here, there, gap] = rest.try_into().ok()?;
        Some(Self {
            slope: Array3::from_shape_vec(maps, slope.to_vec()).ok()?,
            part: Array3::from_shape_vec(maps, part.to_vec()).ok()?,
            weather: Array2::from_shape_vec(weather, of_weather.to_vec()).ok()?,
            values: [here, there],
            gap,
        })
    }
}

/// A batch of one sample whose every input is its finite mean: of a channel of the past over pixels and context steps, of a
/// weather variable over steps and window, of a layer over pixels. Missing values stay missing.
pub(crate) fn levelled(batch: &Batch, context: usize) -> Batch {
    fn flat<D: ndarray::Dimension>(mut values: ndarray::ArrayViewMut<'_, f32, D>) {
        let finite = values.iter().filter(|value| value.is_finite());
        let (sum, count) = finite.fold((0.0, 0_usize), |(sum, n), value| (sum + f64::from(*value), n + 1));
        let mean = (sum / count as f64) as f32;
        values.iter_mut().filter(|value| value.is_finite()).for_each(|value| *value = mean);
    }
    let mut level = batch.clone();
    for c in 0..level.dynamic.dim().2 {
        flat(level.dynamic.slice_mut(s![.., ..context, c, .., ..]));
    }
    level.weather.axis_iter_mut(Axis(2)).for_each(flat);
    level.statics.axis_iter_mut(Axis(1)).for_each(flat);
    level
}

/// Mean over the steps of the index of each pixel, `[y, x]` from `[step, y, x]`; steps without an index are left out.
pub fn mean_over_steps(pixels: ArrayView3<'_, f64>) -> Array2<f64> {
    pixels.map_axis(Axis(0), |steps| {
        let finite = steps.iter().filter(|value| value.is_finite());
        let (sum, count) = finite.fold((0.0, 0_usize), |(sum, count), value| (sum + value, count + 1));
        sum / count as f64
    })
}

/// Central difference quotient of two index maps that were shifted by `delta` up and down.
pub fn central_difference(up: ArrayView2<'_, f64>, down: ArrayView2<'_, f64>, delta: f64) -> Array2<f64> {
    (&up - &down) / (2.0 * delta)
}

/// Rows and columns of patches of `side` pixels that cover so many pixels; the last ones may be smaller.
pub fn patches((rows, cols): (usize, usize), side: usize) -> (usize, usize) {
    (rows.div_ceil(side), cols.div_ceil(side))
}

/// A batch of one sample in which a patch of `side` pixels of layer `layer` has the mean of its surroundings in place of
/// its values, at each of the first `context` steps (layer 0: all context channels) or in static layer `layer − 1`.
/// Missing values stay missing.
pub fn occluded(
    batch: &Batch,
    layer: usize,
    (row, col): (usize, usize),
    side: usize,
    context: usize,
) -> Batch {
    let mut changed = batch.clone();
    if layer == 0 {
        let (channels, steps) = (changed.dynamic.dim().2, context);
        for (t, c) in (0..steps).flat_map(|t| (0..channels).map(move |c| (t, c))) {
            level(changed.dynamic.slice_mut(s![0, t, c, .., ..]), (row, col), side);
        }
    } else {
        level(changed.statics.slice_mut(s![0, layer - 1, .., ..]), (row, col), side);
    }
    changed
}

/// Sets the finite values of a patch to the mean of the finite values outside of it.
fn level(mut values: ArrayViewMut2<'_, f32>, (row, col): (usize, usize), side: usize) {
    let inside = |y: usize, x: usize| y / side == row && x / side == col;
    let outside = values.indexed_iter().filter(|((y, x), v)| !inside(*y, *x) && v.is_finite());
    let (sum, count) = outside.fold((0.0, 0_usize), |(sum, count), (_, v)| (sum + f64::from(*v), count + 1));
    if count == 0 {
        return;
    }
    let mean = (sum / count as f64) as f32;
    for ((y, x), value) in values.indexed_iter_mut().filter(|(_, v)| v.is_finite()) {
        if inside(y, x) {
            *value = mean;
        }
    }
}

/// Mean of the finite values of index maps `[sample, step, y, x]`; NaN without any.
pub(crate) fn mean_index(pixels: &Array4<f64>) -> f64 {
    let finite = pixels.iter().filter(|value| value.is_finite());
    let (sum, count) = finite.fold((0.0, 0_usize), |(sum, count), value| (sum + value, count + 1));
    sum / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_patch_gets_the_mean_of_its_surroundings() {
        let mut values = array![[9.0_f32, 8.0, 1.0], [7.0, f32::NAN, 3.0], [2.0, 2.0, f32::NAN]];
        level(values.view_mut(), (0, 0), 2);
        assert_eq!(values.slice(s![0, ..]), array![2.0, 2.0, 1.0]);
        assert!(values[[1, 0]] == 2.0 && values[[1, 1]].is_nan() && values[[1, 2]] == 3.0);
        assert_eq!(patches((3, 4), 2), (2, 2));
    }

    #[test]
    fn maps_average_the_steps_that_are_there() {
        let pixels = array![[[0.2, f64::NAN]], [[0.4, f64::NAN]]];
        let mean = mean_over_steps(pixels.view());
        assert!((mean[[0, 0]] - 0.3).abs() < 1e-15 && mean[[0, 1]].is_nan());
        let difference = central_difference(array![[0.5]].view(), array![[0.1]].view(), 2.0);
        assert!((difference[[0, 0]] - 0.1).abs() < 1e-15);
    }
}
