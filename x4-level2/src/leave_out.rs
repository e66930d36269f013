//! The error of a gap filling: some observations are left out, the series is filled from the rest, and its values on
//! their days are compared with them.
//!
//! What is left out are single days of single pixels, so the numbers tell how well short gaps are filled; long cloudy
//! spells are harder. On real observations they hold the noise of the observations as well.

use std::ops::Range;

use ndarray::Array3;
use rand::Rng;

use crate::index::ndvi;
use crate::{Extrapolate, FillPlan, LANES, Method, Steps};

/// Most pixels of a cube that are tried, in each direction.
const PIXELS_ACROSS: usize = 16;

/// Root mean square errors of some methods on the same observations.
#[derive(Clone, Debug, PartialEq)]
pub struct LeftOut {
    /// Observations that were left out and that every method has a value for.
    pub count: u64,
    /// `[method][quantity]`: the bands in their order, then NDVI; NaN where nothing could be compared.
    pub rmse: Vec<Vec<f64>>,
}

/// The series of the pixels that are tried.
struct Trial {
    /// `[acquisition][pixel]`: 1 where the observation is valid.
    valid: Vec<Vec<u8>>,
    /// `[acquisition, band, pixel]`
    values: Array3<f32>,
    /// Acquisitions of each day.
    dates: Vec<(i32, Range<usize>)>,
}

/// A day of a pixel that was left out, and the mean of its valid observations by band.
struct Hidden {
    day: i32,
    pixel: usize,
    truth: Vec<f32>,
}

/// Pixels that are tried: at most 16 × 16, evenly over the cube.
#[must_use]
pub fn trial_pixels(rows: usize, cols: usize) -> Vec<usize> {
    let centres = |len: usize| {
        let n = len.min(PIXELS_ACROSS);
        (0..n).map(move |i| (2 * i + 1) * len / (2 * n))
    };
    centres(rows).flat_map(|row| centres(cols).map(move |col| row * cols + col)).collect()
}

/// Leaves out every `1 / share`-th valid day of each pixel, beginning with one that `rng` draws, and fills the series by
/// each of the methods from the other days.
///
/// `days` and `load` are those of [`FillPlan::fill`]; `red_nir` are the places of these bands.
pub fn leave_out<L>(
    days: &[i32],
    pixels: &[usize],
    (bands, red_nir): (usize, (usize, usize)),
    methods: &[Method],
    share: f64,
    rng: &mut impl Rng,
    load: L,
) -> LeftOut
where
    L: Fn(usize, Range<usize>, &mut [u8], &mut [[f32; LANES]]),
{
    let mut trial = Trial::load(days, pixels, bands, load);
    let every = (1.0 / share).round().max(2.0) as usize;
    let hidden = trial.hide(every, rng);
    let first = days.first().copied().unwrap_or(0);
    let len = days.last().map_or(0, |last| (last - first + 1) as usize);
    let daily = Steps { first_day: first, step_days: 1, len };
    let predictions: Vec<Vec<Vec<f32>>> = methods
        .iter()
        .map(|method| {
            let plan = FillPlan::new(days, daily, Extrapolate::None).with(method);
            let filled = plan.fill(pixels.len(), bands, |time, pixels, valid, values| {
                trial.copy(time, pixels, valid, values);
            });
            let at = |hidden: &Hidden| {
                let day = (hidden.day - first) as usize;
                filled.values.slice(ndarray::s![.., day, hidden.pixel]).to_vec()
            };
            hidden.iter().map(at).collect()
        })
        .collect();
    compare(&hidden, &predictions, bands, red_nir)
}

impl Trial {
    fn load<L>(days: &[i32], pixels: &[usize], bands: usize, load: L) -> Trial
    where
        L: Fn(usize, Range<usize>, &mut [u8], &mut [[f32; LANES]]),
    {
        let mut dates: Vec<(i32, Range<usize>)> = Vec::new();
        let mut valid = vec![vec![0; pixels.len()]; days.len()];
        let mut values = Array3::zeros((days.len(), bands, pixels.len()));
        let mut one = vec![[0.0; LANES]; bands];
        for (time, &day) in days.iter().enumerate() {
            match dates.last_mut() {
                Some((last, acquisitions)) if *last == day => acquisitions.end = time + 1,
                _ => dates.push((day, time..time + 1)),
            }
            for (i, &pixel) in pixels.iter().enumerate() {
                load(time, pixel..pixel + 1, &mut valid[time][i..=i], &mut one);
                for (band, value) in one.iter().enumerate() {
                    values[[time, band, i]] = value[0];
                }
            }
        }
        Trial { valid, values, dates }
    }

    /// Makes every `every`-th valid day of each pixel invalid.
    fn hide(&mut self, every: usize, rng: &mut impl Rng) -> Vec<Hidden> {
        let mut hidden = Vec::new();
        let (_, bands, pixels) = self.values.dim();
        for pixel in 0..pixels {
            let valid =
                self.dates.iter().filter(|(_, times)| times.clone().any(|time| self.valid[time][pixel] != 0));
            let chosen: Vec<_> = valid.skip(rng.random_range(0..every)).step_by(every).cloned().collect();
            for (day, acquisitions) in chosen {
                let times: Vec<usize> =
                    acquisitions.clone().filter(|&time| self.valid[time][pixel] != 0).collect();
                let mean = |band: usize| {
                    let sum: f32 = times.iter().map(|&time| self.values[[time, band, pixel]]).sum();
                    sum / times.len() as f32
                };
                let truth = (0..bands).map(mean).collect();
                acquisitions.clone().for_each(|time| self.valid[time][pixel] = 0);
                hidden.push(Hidden { day, pixel, truth });
            }
        }
        hidden
    }

    fn copy(&self, time: usize, pixels: Range<usize>, valid: &mut [u8], values: &mut [[f32; LANES]]) {
        valid.copy_from_slice(&self.valid[time][pixels.clone()]);
        for (band, values) in values.iter_mut().enumerate() {
            for (value, pixel) in values.iter_mut().zip(pixels.clone()) {
                *value = self.values[[time, band, pixel]];
            }
        }
    }
}

/// Errors where every method has a value.
///
/// # Shapes
/// - predictions: `[method][hidden][band]`
fn compare(
    hidden: &[Hidden],
    predictions: &[Vec<Vec<f32>>],
    bands: usize,
    (red, nir): (usize, usize),
) -> LeftOut {
    let known = |i: &usize| predictions.iter().all(|found| found[*i].iter().all(|value| value.is_finite()));
    let known: Vec<usize> = (0..hidden.len()).filter(known).collect();
    let quantities =
        |bands: &[f32]| -> Vec<f32> { bands.iter().copied().chain([ndvi(bands[red], bands[nir])]).collect() };
    let rmse = predictions.iter().map(|found| {
        let mut squares = vec![0.0; bands + 1];
        for &i in &known {
            let (found, truth) = (quantities(&found[i]), quantities(&hidden[i].truth));
            for ((square, found), truth) in squares.iter_mut().zip(found).zip(truth) {
                *square += f64::from(found - truth).powi(2);
            }
        }
        squares.into_iter().map(|square| (square / known.len() as f64).sqrt()).collect()
    });
    LeftOut { count: known.len() as u64, rmse: rmse.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    /// Two bands, red and nir, that are `value(time, pixel)` and three times that.
    fn run(
        days: &[i32],
        pixels: usize,
        methods: &[Method],
        value: impl Fn(usize, usize) -> Option<f32>,
    ) -> LeftOut {
        let pixels: Vec<usize> = (0..pixels).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        leave_out(days, &pixels, (2, (0, 1)), methods, 0.1, &mut rng, |time, range, valid, values| {
            for (i, pixel) in range.enumerate() {
                let value = value(time, pixel);
                valid[i] = u8::from(value.is_some());
                (values[0][i], values[1][i]) = (value.unwrap_or(9.0), 3.0 * value.unwrap_or(9.0));
            }
        })
    }

    /// A day between neighbours that differ by independent noise of deviation σ: the line has the variance σ²/2 there,
    /// the observation σ², their difference 1.5 σ². A long mean has no variance of its own.
    #[test]
    fn noise_gives_the_error_that_it_must() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let noise: Vec<f32> = (0..200 * 256).map(|_| rng.random_range(-0.1..0.1)).collect();
        let days: Vec<i32> = (0..200).map(|i| 17_000 + 5 * i).collect();
        let methods = [Method::Linear, Method::Whittaker { lambda: 1e8 }];
        let found = run(&days, 256, &methods, |time, pixel| Some(0.3 + noise[time * 256 + pixel]));
        assert!((4_900..=5_120).contains(&found.count), "a tenth but for the ends: {}", found.count);
        let sigma = 0.1 / 3.0_f64.sqrt();
        for (rmse, factor) in found.rmse.iter().zip([1.5, 1.0]) {
            let expected = sigma * f64::sqrt(factor);
            assert!((rmse[0] / expected - 1.0).abs() < 0.03, "expected {expected}, found {}", rmse[0]);
            assert!((rmse[1] / rmse[0] - 3.0).abs() < 1e-3, "the second band is three times the first");
            assert!(rmse[2] < 1e-6, "the ratio of the bands is constant");
        }
    }

    /// Observations on a line are predicted; those of one day are left out together, and none where there is one day.
    #[test]
    fn whole_days_are_left_out() {
        let days: Vec<i32> = (0..40).flat_map(|i| [17_000 + 3 * i; 2]).collect();
        let value = |time: usize, pixel: usize| (time % 3 != pixel).then_some(0.1 + 0.01 * (time / 2) as f32);
        let found = run(&days, 3, &[Method::Linear], value);
        assert!((9..=12).contains(&found.count));
        assert!(found.rmse[0][0] < 1e-6 && found.rmse[0][1] < 1e-6, "{found:?}");
        let none = run(&[17_000], 3, &[Method::Linear], |_, _| Some(0.5));
        assert!(none.count == 0 && none.rmse[0].len() == 3 && none.rmse[0].iter().all(|rmse| rmse.is_nan()));
        assert_eq!(run(&[], 3, &[Method::Linear], |_, _| None).count, 0);
    }

    #[test]
    fn pixels_spread_over_the_cube() {
        assert_eq!(trial_pixels(2, 3), [0, 1, 2, 3, 4, 5]);
        let many = trial_pixels(128, 128);
        assert_eq!((many.len(), many[0], many[255]), (256, 4 * 128 + 4, 124 * 128 + 124));
    }
}
