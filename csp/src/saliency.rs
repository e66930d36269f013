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
