//! How a number made of a forecast answers to each value that the forecast is made of.

use ndarray::{Array4, Array5, ArrayD, ArrayView4, Axis, IxDyn, Slice};
use rayon::prelude::*;

use crate::data::Batch;
use crate::error::Error;
use crate::forecaster::{Forecaster, PIXELS_AT_ONCE, one_sample};
use crate::harness::inputs::pull_back;
use crate::model::Layout;
use crate::prepare::{self, Pixel};
use crate::prepare_gradient::BatchGradient;

/// A number made of one sample's forecast: its value, and its derivative with respect to each value of the frames, both
/// from the sample's index in the batch and its frames `[step, channel, y, x]` in the units of Level 2.
/// [`IndexMean::of`](crate::IndexMean::of) is one.
pub type Functional<'a> = dyn Fn(usize, ArrayView4<'_, f32>) -> (f64, Array4<f64>) + Sync + 'a;

/// Gradient of a number per sample with respect to the arrays of a batch, in the units of Level 2.
#[derive(Clone, Debug)]
pub struct InputGradient {
    /// The number, one a sample.
    pub value: Vec<f64>,
    /// `[batch, time, channel, y, x]`, per unit of [`Batch::dynamic`]; 0 after the context, where a value is missing or
    /// out of 0..1, and where an observation is held instead of it, to which its part goes.
    pub dynamic: Array5<f64>,
    /// `[batch, time, variable, wy, wx]`, per unit of [`Batch::weather`]; 0 where it is missing or not looked at.
    pub weather: Array5<f64>,
    /// `[batch, layer, y, x]`, per unit of [`Batch::statics`]; 0 for layers of classes.
    pub statics: Array4<f64>,
}

impl Forecaster {
    /// The gradient of `of` the forecast of each sample with respect to everything that the forecast is made of; exact,
    /// by one backward pass a sample. Parameters are constants. Takes the memory of a training step on all samples of
    /// the batch (networks of pixels: of 4096 pixels of each), so crop large images.
    ///
    /// Samples do not see each other: the gradient of a sample's number is that of its own arrays. Same bytes on any
    /// number of threads.
    ///
    /// # Errors
    /// [`Error::Batch`] as [`Forecaster::forecast`], and if the derivative has another shape than the frames.
    pub fn gradient(&self, batch: &Batch, of: &Functional<'_>) -> Result<InputGradient, Error> {
        self.check(batch)?;
        let parts = (0..batch.len())
            .into_par_iter()
            .map(|b| {
                let one = one_sample(batch, b);
                match self.file.architecture.kind().defaults().layout {
                    Layout::Pixels => self.gradient_by_pixel(&one, &|frames| of(b, frames)),
                    Layout::Frames | Layout::FramePixels => {
                        self.gradient_by_frame(&one, &|frames| of(b, frames))
                    }
                }
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let all = BatchGradient::zeros(batch);
        let mut all = InputGradient {
            value: Vec::with_capacity(parts.len()),
            dynamic: all.dynamic,
            weather: all.weather,
            statics: all.statics,
        };
        for (b, (value, part)) in parts.into_iter().enumerate() {
            all.value.push(value);
            all.dynamic.index_axis_mut(Axis(0), b).assign(&part.dynamic.index_axis(Axis(0), 0));
            all.weather.index_axis_mut(Axis(0), b).assign(&part.weather.index_axis(Axis(0), 0));
            all.statics.index_axis_mut(Axis(0), b).assign(&part.statics.index_axis(Axis(0), 0));
        }
        Ok(all)
    }

    fn gradient_by_frame(&self, one: &Batch, of: &OfFrames<'_>) -> Result<(f64, BatchGradient), Error> {
        let (spec, prep) = (&self.file.data, &self.file.preparation);
        let (rows, cols) = (one.valid.dim().2, one.valid.dim().3);
        let inputs = prepare::frame_inputs(one, spec, prep);
        let mut answer = Ok((f64::NAN, Array4::zeros((0, 0, 0, 0))));
        let gradients = pull_back(&*self.network, &inputs, |values| {
            let all = self.in_frames(values, rows, cols);
            let mut factors = Array4::zeros(all.dim());
            answer = checked(&self.forecast_of(all), of);
            if let Ok((_, derivative)) = &answer {
                self.place_derivative(&mut factors, derivative);
            }
            let mut factors = factors.into_iter();
            ArrayD::from_shape_simple_fn(values.raw_dim(), || factors.next().unwrap_or(0.0))
        });
        let (value, _) = answer?;
        let mut found = BatchGradient::zeros(one);
        found.add_frames(&gradients, one, spec, prep);
        Ok((value, found))
    }

    fn gradient_by_pixel(&self, one: &Batch, of: &OfFrames<'_>) -> Result<(f64, BatchGradient), Error> {
        let (spec, prep) = (&self.file.data, &self.file.preparation);
        let (rows, cols) = (one.valid.dim().2, one.valid.dim().3);
        let all = self.pixels(one);
        let mut factors = Array4::zeros(all.dim());
        let (value, derivative) = checked(&self.forecast_of(all), of)?;
        self.place_derivative(&mut factors, &derivative);
        let every: Vec<Pixel> = (0..rows * cols).map(|p| (0, p / cols, p % cols)).collect();
        let mut found = BatchGradient::zeros(one);
        for pixels in every.chunks(PIXELS_AT_ONCE) {
            let inputs = prepare::pixel_inputs(one, pixels, spec, prep);
            let width = self.width();
            let factors = ArrayD::from_shape_fn(IxDyn(&[pixels.len(), spec.target_steps * width]), |at| {
                let (_, y, x) = pixels[at[0]];
                factors[[at[1] / width, at[1] % width, y, x]]
            });
            let gradients = pull_back(&*self.network, &inputs, |_| factors);
            found.add_pixels(&gradients, pixels, one, spec, prep);
        }
        Ok((value, found))
    }

    /// The forecast `[step, channel, y, x]` among all that the network says.
    fn forecast_of(&self, all: Array4<f32>) -> Array4<f32> {
        match self.middle() {
            None => all,
            Some(k) => all.slice_axis(Axis(1), Slice::from(k..k + 1)).to_owned(),
        }
    }

    /// Puts a derivative with respect to the forecast where the network says it.
    fn place_derivative(&self, factors: &mut Array4<f32>, derivative: &Array4<f64>) {
        let scale = f64::from(self.file.preparation.dynamic_scale);
        let first = self.middle().unwrap_or(0);
        let at = Slice::from(first..first + derivative.len_of(Axis(1)));
        factors.slice_axis_mut(Axis(1), at).assign(&derivative.mapv(|d| (d * scale) as f32));
    }
}

type OfFrames<'a> = dyn Fn(ArrayView4<'_, f32>) -> (f64, Array4<f64>) + 'a;

fn checked(frames: &Array4<f32>, of: &OfFrames<'_>) -> Result<(f64, Array4<f64>), Error> {
    let (value, derivative) = of(frames.view());
    if derivative.dim() != frames.dim() {
        return Err(Error::Batch {
            what: "derivative [step, channel, y, x] of the number",
            expected: format!("{:?}", frames.dim()),
            found: format!("{:?}", derivative.dim()),
        });
    }
    Ok((value, derivative))
}

#[cfg(test)]
mod tests;
