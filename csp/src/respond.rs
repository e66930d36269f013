//! Forecasts every chosen sample under every perturbation, and remembers on disk what is done.

use std::fs;
use std::path::{Path, PathBuf};

use minicube::run::Ctx;
use minicube::write_atomic;
use ndarray::{Array2, Array3, Array4, Array5, Axis, Slice, s};
use x5_dl::{Batch, Crop, Dataset};

use crate::error::Error;
use crate::index::{VegetationIndex, masked, mean_of_pixels};
use crate::perturb::{Perturbation, shift_weather};
use crate::predictor::Predictor;
use crate::restrict::Restriction;
use crate::variable::Variable;

/// Forecasts that are made at once, where a batch alone is less: enough for many cores, few enough for their memory.
const TOGETHER: usize = 16;

/// What is forecast.
pub(crate) struct Job<'a> {
    /// Where samples come from.
    pub(crate) dataset: &'a Dataset,
    /// The explained model.
    pub(crate) predictor: &'a dyn Predictor,
    /// Its name, for messages.
    pub(crate) model: &'a str,
    /// The explained index.
    pub(crate) index: VegetationIndex,
    /// The pixels that count.
    pub(crate) only: &'a Restriction,
    /// The shifted variables.
    pub(crate) variables: &'a [Variable],
    /// Shares of a shift by step, one list a transition.
    pub(crate) weights: &'a [Vec<f64>],
    /// Part of each cube that is forecast.
    pub(crate) crop: Option<Crop>,
    /// Samples forecast together.
    pub(crate) batch: usize,
}

/// Index signals `[sample, perturbation, step]` of `samples` (indices in the dataset); `what` names the forecasts for
/// people. Each batch is kept in `cache` as soon as it is done, and read from there by a later run, which therefore
/// gives the same bits. Batches of other shards are left NaN.
///
/// # Errors
/// Unreadable samples, a model that fails or returns another shape, or a full disk.
pub(crate) fn respond(
    job: &Job<'_>,
    what: &str,
    samples: &[usize],
    perturbations: &[Perturbation],
    cache: &Path,
    ctx: &Ctx,
) -> Result<Array3<f64>, Error> {
    let steps = job.predictor.spec().target_steps;
    let each = perturbations.len();
    let mut all = Array3::from_elem((samples.len(), each, steps), f64::NAN);
    let progress = ctx.progress(what, (samples.len() * each) as u64);
    for (index, chunk) in samples.chunks(job.batch).enumerate().filter(|(index, _)| ctx.mine(*index)) {
        let path = cache.join(format!("{index:06}.f64"));
        let values = remembered(&path, chunk.len() * each * steps, || {
            Ok(respond_batch(job, chunk, perturbations)?.into_iter().collect())
        })?;
        let signals = Array3::from_shape_vec((chunk.len(), each, steps), values)
            .map_err(|error| Error::output(&path, error))?;
        let start = index * job.batch;
        all.slice_mut(s![start..start + chunk.len(), .., ..]).assign(&signals);
        progress.inc((chunk.len() * each) as u64);
    }
    progress.finish();
    Ok(all)
}

/// Forecasts some samples under all perturbations, as many at once as [`TOGETHER`] allows: what they have in common is
/// read once.
fn respond_batch(
    job: &Job<'_>,
    samples: &[usize],
    perturbations: &[Perturbation],
) -> Result<Array3<f64>, Error> {
    let spec = job.predictor.spec();
    let original = job.dataset.batch(samples, job.crop)?;
    let masks = job.masks(samples)?;
    let count = samples.len();
    let at_once = (TOGETHER / count).max(1);
    let mut signals = Array3::zeros((count, perturbations.len(), spec.target_steps));
    for (first, some) in (0..).step_by(at_once).zip(perturbations.chunks(at_once)) {
        let mut stacked = repeated(&original, some.len());
        for (i, perturbation) in some.iter().enumerate() {
            let own = stacked.weather.slice_axis_mut(Axis(0), Slice::from(i * count..(i + 1) * count));
            shift_weather(own, &spec.weather, job.variables, job.weights, *perturbation);
        }
        let found = mean_of_pixels(&job.pixels(forecast(job, &stacked)?, masks.as_ref()));
        for i in 0..some.len() {
            let own = found.slice(s![i * count..(i + 1) * count, ..]);
            signals.index_axis_mut(Axis(1), first + i).assign(&own);
        }
    }
    Ok(signals)
}

/// The samples of a batch several times over.
fn repeated(batch: &Batch, times: usize) -> Batch {
    let rows: Vec<usize> = (0..times).flat_map(|_| 0..batch.len()).collect();
    Batch {
        dynamic: batch.dynamic.select(Axis(0), &rows),
        valid: batch.valid.select(Axis(0), &rows),
        weather: batch.weather.select(Axis(0), &rows),
        statics: batch.statics.select(Axis(0), &rows),
        dates: batch.dates.select(Axis(0), &rows),
        sample_ids: rows.iter().map(|row| batch.sample_ids[*row].clone()).collect(),
    }
}

impl Job<'_> {
    /// The pixels of these samples that count, `[sample, y, x]`; `None` = all.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub(crate) fn masks(&self, samples: &[usize]) -> Result<Option<Array3<bool>>, Error> {
        self.only.masks(&self.dataset.paths(), samples, self.crop)
    }

    /// Index of each pixel, `[batch, step, y, x]`; NaN where a pixel does not count. The masks may be those of the
    /// samples that the batch repeats.
    pub(crate) fn pixels(&self, frames: Array5<f32>, masks: Option<&Array3<bool>>) -> Array4<f64> {
        let pixels = self.index.pixels(frames.view());
        match masks {
            Some(masks) => masked(pixels, masks),
            None => pixels,
        }
    }
}

/// The frames of a batch, `[batch, step, channel, y, x]`.
///
/// # Errors
/// A model that fails, or frames of another shape than it promised.
pub(crate) fn forecast(job: &Job<'_>, batch: &Batch) -> Result<Array5<f32>, Error> {
    let spec = job.predictor.spec();
    let frames = job.predictor.predict(batch)?;
    let (rows, cols) = (batch.valid.dim().2, batch.valid.dim().3);
    let expected = [batch.len(), spec.target_steps, spec.dynamic.len(), rows, cols];
    if frames.shape() == expected {
        return Ok(frames);
    }
    let (model, found) = (job.model.to_owned(), frames.shape().to_vec());
    Err(Error::ForecastShape { model, expected: expected.to_vec(), found })
}

/// The numbers stored at `path`, or those that `make` gives, which are stored there.
///
/// # Errors
/// Those of `make`, or a full disk.
pub(crate) fn remembered(
    path: &Path,
    length: usize,
    make: impl FnOnce() -> Result<Vec<f64>, Error>,
) -> Result<Vec<f64>, Error> {
    if let Some(values) = read_numbers(path).filter(|values| values.len() == length) {
        return Ok(values);
    }
    let values = make()?;
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    write_atomic(path, &bytes)?;
    Ok(values)
}

fn read_numbers(path: &Path) -> Option<Vec<f64>> {
    let bytes = fs::read(path).ok()?;
    let (values, rest) = bytes.as_chunks::<8>();
    rest.is_empty().then(|| values.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect())
}

/// The cache folder of a plan, emptied of the leftovers of other plans.
///
/// # Errors
/// [`Error::Output`] if a folder cannot be read or removed.
pub(crate) fn open_cache(folder: &Path, plan_hash: &str) -> Result<PathBuf, Error> {
    let root = folder.join("responses.partial");
    let own = root.join(plan_hash);
    if root.is_dir() {
        for entry in fs::read_dir(&root).map_err(|error| Error::output(&root, error))? {
            let path = entry.map_err(|error| Error::output(&root, error))?.path();
            if path != own {
                remove(&path)?;
            }
        }
    }
    Ok(own)
}

/// Removes the cache once its content stands in the outputs.
///
/// # Errors
/// [`Error::Output`] if it cannot be removed.
pub(crate) fn close_cache(folder: &Path) -> Result<(), Error> {
    let root = folder.join("responses.partial");
    if root.exists() { remove(&root) } else { Ok(()) }
}

fn remove(path: &Path) -> Result<(), Error> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(|error| Error::output(path, error))
}

/// Splits samples into those whose every forecast is finite, and the others: positions in the responses.
pub(crate) fn finite_samples(responses: &Array3<f64>) -> (Vec<usize>, Vec<usize>) {
    (0..responses.len_of(Axis(0)))
        .partition(|sample| responses.index_axis(Axis(0), *sample).iter().all(|value| value.is_finite()))
}

/// Mean signals `[perturbation, step]` of some samples (equation 14).
pub(crate) fn mean_signals(responses: &Array3<f64>, positions: &[usize]) -> Array2<f64> {
    let mut sum = Array2::zeros((responses.len_of(Axis(1)), responses.len_of(Axis(2))));
    for position in positions {
        sum += &responses.index_axis(Axis(0), *position);
    }
    sum / positions.len() as f64
}
