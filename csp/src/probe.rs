//! Asks the model what the maps and the ranking of inputs need to know, and remembers the answers on disk.

use std::ops::Range;
use std::path::Path;

use minicube::run::Ctx;
use ndarray::{Array1, Array2, Array3, Array4, Array5, ArrayView4, Axis, s};
use x5_dl::{Batch, IndexMean};

use crate::attribution::integrated_gradients;
use crate::counterfactual::replace_weather;
use crate::error::Error;
use crate::index::{EPSILON, mean_of_pixels};
use crate::perturb::{Perturbation, shift_weather};
use crate::rank::{Input, changes, exchanged};
use crate::respond::{Job, forecast, remembered};
use crate::saliency::{
    Owed, Saliency, central_difference, levelled, mean_index, mean_over_steps, occluded, patches,
};

/// Mean absolute change of the index `[sample, input]` when an input of `samples` comes from `donors` (both indices in
/// the dataset). NaN where a forecast is not finite or of another shard.
///
/// # Errors
/// Unreadable samples, a model that fails, or a full disk.
pub(crate) fn exchange_inputs(
    job: &Job<'_>,
    inputs: &[Input],
    samples: &[usize],
    donors: &[usize],
    cache: &Path,
    ctx: &Ctx,
) -> Result<Array2<f64>, Error> {
    let context = job.predictor.spec().context_steps;
    let mut all = Array2::from_elem((samples.len(), inputs.len()), f64::NAN);
    let progress = ctx.progress("inputs", (samples.len() * inputs.len()) as u64);
    let chunks = samples.chunks(job.batch).zip(donors.chunks(job.batch)).enumerate();
    for (index, (own, others)) in chunks.filter(|(index, _)| ctx.mine(*index)) {
        let path = cache.join(format!("{index:06}.f64"));
        let found = remembered(&path, own.len() * inputs.len(), || {
            let (batch, donor) = (job.dataset.batch(own, job.crop)?, job.dataset.batch(others, job.crop)?);
            let masks = job.masks(own)?;
            let signals_of = |batch: &Batch| {
                Ok::<_, Error>(mean_of_pixels(&job.pixels(forecast(job, batch)?, masks.as_ref())))
            };
            let before = signals_of(&batch)?;
            let mut of_inputs = Vec::new();
            for input in inputs {
                let after = signals_of(&exchanged(&batch, &donor, input, context))?;
                of_inputs.extend(changes(before.view(), after.view()));
            }
            Ok(of_inputs)
        })?;
        let start = index * job.batch;
        for (i, of_input) in found.chunks(own.len()).enumerate() {
            let mut into = all.slice_mut(s![start..start + own.len(), i]);
            into.assign(&Array1::from_vec(of_input.to_vec()));
        }
        progress.inc((own.len() * inputs.len()) as u64);
    }
    progress.finish();
    Ok(all)
}

/// Forecasts one sample (an index in the dataset) with the weather of every set of variables changed, by as much as
/// `changes` says of each variable's channels: index signals `[set, step]`.
///
/// # Errors
/// As [`exchange_inputs`].
pub(crate) fn replace_sets(
    job: &Job<'_>,
    sample: usize,
    changes: &[Vec<(String, Vec<f64>)>],
    window: Range<usize>,
    path: &Path,
) -> Result<Array2<f64>, Error> {
    let spec = job.predictor.spec();
    let sets = 1_usize << changes.len();
    let values = remembered(path, sets * spec.target_steps, || {
        let (batch, masks) = (job.dataset.batch(&[sample], job.crop)?, job.masks(&[sample])?);
        let mut signals = Vec::new();
        for set in 0..sets {
            let mut replaced = batch.clone();
            for (_, changes) in changes.iter().enumerate().filter(|(v, _)| set >> v & 1 == 1) {
                replace_weather(replaced.weather.view_mut(), &spec.weather, changes, window.clone());
            }
            signals.extend(mean_of_pixels(&job.pixels(forecast(job, &replaced)?, masks.as_ref())));
        }
        Ok(signals)
    })?;
    Array2::from_shape_vec((sets, spec.target_steps), values).map_err(|error| Error::output(path, error))
}

/// The maps of one sample (an index in the dataset), occluded by patches of `side` pixels, and integrated gradients over so
/// many points of the way where there are any.
///
/// # Errors
/// As [`exchange_inputs`].
pub(crate) fn saliency_maps(
    job: &Job<'_>,
    sample: usize,
    side: usize,
    points: usize,
    path: &Path,
) -> Result<Saliency, Error> {
    let spec = job.predictor.spec();
    let (rows, cols) = job.crop.map_or(job.dataset.size(), |crop| (crop.rows, crop.cols));
    let (variables, layers) = (job.variables.len(), 1 + spec.statics.len());
    let grid = patches((rows, cols), side);
    let pixels = rows * cols;
    let length = (1 + variables) * pixels + layers * grid.0 * grid.1;
    let found = remembered(path, length, || {
        let batch = job.dataset.batch(&[sample], job.crop)?;
        let masks = job.masks(&[sample])?;
        let index_of = |batch: &Batch| Ok::<_, Error>(job.pixels(forecast(job, batch)?, masks.as_ref()));
        let map_of = |pixels: ndarray::Array4<f64>| mean_over_steps(pixels.index_axis(Axis(0), 0));
        let unchanged = index_of(&batch)?;
        let mut values: Vec<f64> = map_of(unchanged.clone()).into_iter().collect();
        for (variable, of) in job.variables.iter().enumerate() {
            let mut maps = [of.pulse, -of.pulse].into_iter().map(|delta| {
                let mut shifted = batch.clone();
                let shift = Perturbation::Shift { variable, delta, transition: 0 };
                let weather = shifted.weather.view_mut();
                shift_weather(weather, &spec.weather, job.variables, job.weights, shift);
                index_of(&shifted).map(map_of)
            });
            if let (Some(up), Some(down)) = (maps.next(), maps.next()) {
                values.extend(central_difference(up?.view(), down?.view(), of.pulse));
            }
        }
        let before = mean_index(&unchanged);
        for layer in 0..layers {
            for place in (0..grid.0).flat_map(|row| (0..grid.1).map(move |col| (row, col))) {
                let after = mean_index(&index_of(&occluded(&batch, layer, place, side, spec.context_steps))?);
                values.push(after - before);
            }
        }
        Ok(values)
    })?;
    let shaped = |part: &[f64], shape: (usize, usize, usize)| {
        Array3::from_shape_vec(shape, part.to_vec()).map_err(|error| Error::output(path, error))
    };
    let (maps, occlusion) = found.split_at((1 + variables) * pixels);
    let maps = shaped(maps, (1 + variables, rows, cols))?;
    let owed = if points > 0 { owed(job, sample, points, (rows, cols), path)? } else { None };
    Ok(Saliency {
        owed,
        unchanged: maps.index_axis(Axis(0), 0).to_owned(),
        gradient: maps.slice(s![1.., .., ..]).to_owned(),
        occlusion: shaped(occlusion, (layers, grid.0, grid.1))?,
    })
}

/// Gradients and integrated gradients of one sample's mean index over the pixels that count.
fn owed(
    job: &Job<'_>,
    sample: usize,
    points: usize,
    (rows, cols): (usize, usize),
    path: &Path,
) -> Result<Option<Owed>, Error> {
    let spec = job.predictor.spec();
    let (batch, masks) = (job.dataset.batch(&[sample], job.crop)?, job.masks(&[sample])?);
    let weights = Array3::from_shape_fn((spec.target_steps, rows, cols), |(_, y, x)| {
        f64::from(u8::from(masks.as_ref().is_none_or(|masks| masks[[0, y, x]])))
    });
    let Some(mean) = IndexMean::new(job.index.green(), &spec.dynamic, EPSILON, weights) else {
        return Ok(None);
    };
    let number = |_: usize, frames: ArrayView4<'_, f32>| mean.of(frames);
    let slopes_of = |batch: &Batch| job.predictor.gradient(batch, &number);
    // Whether there are gradients at all is asked of the model; what they are is remembered.
    let maps = (spec.dynamic.len() + spec.statics.len(), rows, cols);
    let weather = (spec.weather.len(), spec.steps());
    let length = 2 * maps.0 * rows * cols + weather.0 * weather.1 + 3;
    let mut missing = false;
    let found = remembered(&path.with_extension("owed.f64"), length, || {
        let Some(slopes) = slopes_of(&batch)? else {
            missing = true;
            return Ok(Vec::new());
        };
        let baseline = levelled(&batch, spec.context_steps);
        let parts = integrated_gradients(&batch, &baseline, points, |batch| {
            slopes_of(batch)?.ok_or_else(|| Error::output(path, "the model has a gradient only now and then"))
        })?;
        let raster = |past: &Array5<f64>, land: &Array4<f64>| {
            let past = past.slice(s![0, ..spec.context_steps, .., .., ..]).sum_axis(Axis(0));
            let land = land.index_axis(Axis(0), 0);
            ndarray::concatenate(Axis(0), &[past.view(), land]).map_err(|error| Error::output(path, error))
        };
        let of_weather = parts.weather.index_axis(Axis(0), 0);
        let of_weather = of_weather.sum_axis(Axis(3)).sum_axis(Axis(2)).reversed_axes();
        let owed = Owed {
            slope: raster(&slopes.dynamic, &slopes.statics)?,
            part: raster(&parts.dynamic, &parts.statics)?,
            weather: of_weather,
            values: parts.values[0],
            gap: parts.gap(0),
        };
        Ok(owed.to_numbers())
    })?;
    Ok(if missing { None } else { Owed::from_numbers(&found, maps, weather) })
}
