//! From the gradient of network inputs back to that of the batch: the derivative of `prepare`, in its order.

use ndarray::{Array3, Array4, Array5, ArrayD, Axis};

use crate::data::context::{self, ContextGaps};
use crate::data::{Batch, DataSpec, window_cell};
use crate::prepare::{Pixel, Preparation};

/// Derivatives with respect to the arrays of a batch, each of the shape of its array.
#[derive(Clone, Debug)]
pub(crate) struct BatchGradient {
    pub(crate) dynamic: Array5<f64>,
    pub(crate) weather: Array5<f64>,
    pub(crate) statics: Array4<f64>,
}

impl BatchGradient {
    pub(crate) fn zeros(batch: &Batch) -> BatchGradient {
        BatchGradient {
            dynamic: Array5::zeros(batch.dynamic.dim()),
            weather: Array5::zeros(batch.weather.dim()),
            statics: Array4::zeros(batch.statics.dim()),
        }
    }

    /// Adds what the gradients of `prepare::frame_inputs` mean.
    pub(crate) fn add_frames(
        &mut self,
        inputs: &[ArrayD<f32>],
        batch: &Batch,
        spec: &DataSpec,
        prep: &Preparation,
    ) {
        let (n, steps, rows, cols) = batch.valid.dim();
        let channels = batch.dynamic.dim().2;
        let (_, _, variables, wy, wx) = batch.weather.dim();
        let last = last_fed(batch, spec, prep);
        for b in 0..n {
            for (y, x) in (0..rows).flat_map(|y| (0..cols).map(move |x| (y, x))) {
                for (t, c) in (0..spec.context_steps).flat_map(|t| (0..channels).map(move |c| (t, c))) {
                    let from = [b, t.min(last[[b, y, x]]), c, y, x];
                    let gradient = f64::from(inputs[0][[b, t, c, y, x]]);
                    self.dynamic[from] += gradient * prep.unit_slope(batch.dynamic[from]);
                }
                self.add_statics((b, y, x), batch, prep, |k| inputs[1][[b, k, y, x]]);
                let (r, c) = (window_cell(y, rows, wy), window_cell(x, cols, wx));
                for (t, v) in (0..steps).flat_map(|t| (0..variables).map(move |v| (t, v))) {
                    let gradient = f64::from(inputs[2][[b, t, v, y, x]]);
                    self.weather[[b, t, v, r, c]] +=
                        gradient * prep.weather[v].slope(batch.weather[[b, t, v, r, c]]);
                }
            }
        }
    }

    /// Adds what the gradients of `prepare::pixel_inputs` mean.
    pub(crate) fn add_pixels(
        &mut self,
        inputs: &[ArrayD<f32>],
        pixels: &[Pixel],
        batch: &Batch,
        spec: &DataSpec,
        prep: &Preparation,
    ) {
        let (_, _, rows, cols) = batch.valid.dim();
        let (_, _, variables, wy, wx) = batch.weather.dim();
        let last = last_fed(batch, spec, prep);
        for (p, &(b, y, x)) in pixels.iter().enumerate() {
            for t in 0..spec.context_steps {
                let from = [b, t.min(last[[b, y, x]]), 0, y, x];
                self.dynamic[from] += f64::from(inputs[0][[p, t]]) * prep.unit_slope(batch.dynamic[from]);
            }
            let mut scaled = 0..;
            for (layer, input) in prep.statics.iter().enumerate().filter(|(_, input)| input.is_scaled()) {
                let gradient = scaled.next().map_or(0.0, |k| f64::from(inputs[1][[p, k]]));
                self.statics[[b, layer, y, x]] += gradient * input.slope(batch.statics[[b, layer, y, x]]);
            }
            let (r, c) = (window_cell(y, rows, wy), window_cell(x, cols, wx));
            for t in 0..inputs[2].len_of(Axis(1)) {
                for v in 0..variables {
                    let at = [b, prep.first_driver(spec) + t, v, r, c];
                    let gradient = f64::from(inputs[2][[p, t, v]]);
                    self.weather[at] += gradient * prep.weather[v].slope(batch.weather[at]);
                }
                self.add_statics((b, y, x), batch, prep, |k| inputs[2][[p, t, variables + k]]);
            }
        }
    }

    /// Adds what the gradients of all static inputs of a pixel mean; `of` gives that of an input.
    fn add_statics(
        &mut self,
        (b, y, x): Pixel,
        batch: &Batch,
        prep: &Preparation,
        of: impl Fn(usize) -> f32,
    ) {
        let mut first = 0;
        for (layer, input) in prep.statics.iter().enumerate() {
            let slope = input.slope(batch.statics[[b, layer, y, x]]);
            let gradient: f64 = (first..first + input.width()).map(|k| f64::from(of(k))).sum();
            self.statics[[b, layer, y, x]] += gradient * slope;
            first += input.width();
        }
    }
}

/// The last step of the context whose own value is fed, `[batch, y, x]`; it stands for the later ones.
fn last_fed(batch: &Batch, spec: &DataSpec, prep: &Preparation) -> Array3<usize> {
    let (n, _, rows, cols) = batch.valid.dim();
    let end = spec.context_steps.saturating_sub(1);
    Array3::from_shape_fn((n, rows, cols), |(b, y, x)| match prep.context_gaps {
        ContextGaps::AsStored => end,
        ContextGaps::Hold => context::last_valid(batch, b, spec.context_steps, y, x).unwrap_or(end),
    })
}
