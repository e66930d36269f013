//! Forecasts every chosen sample under every perturbation, and remembers on disk what is done.

use std::fs;
use std::path::{Path, PathBuf};

use minicube::run::Ctx;
use minicube::write_atomic;
use ndarray::{Array2, Array3, Array5, Axis, s};
use x5_dl::{Batch, Crop, Dataset};

use crate::error::Error;
use crate::index::VegetationIndex;
use crate::perturb::{Perturbation, shift_weather};
use crate::predictor::Predictor;
use crate::variable::Variable;

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
/// gives the same bits.
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
    let mut all = Array3::zeros((samples.len(), each, steps));
    let progress = ctx.progress(what, (samples.len() * each) as u64);
    for (index, chunk) in samples.chunks(job.batch).enumerate() {
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

fn respond_batch(
    job: &Job<'_>,
    samples: &[usize],
    perturbations: &[Perturbation],
) -> Result<Array3<f64>, Error> {
    let spec = job.predictor.spec();
    let original = job.dataset.batch(samples, job.crop)?;
    let mut shifted = original.clone();
    let mut signals = Array3::zeros((samples.len(), perturbations.len(), spec.target_steps));
    for (p, perturbation) in perturbations.iter().enumerate() {
        shift_weather(&mut shifted, &original, &spec.weather, job.variables, job.weights, *perturbation);
        let frames = forecast(job, &shifted)?;
        signals.index_axis_mut(Axis(1), p).assign(&job.index.signals(frames.view()));
    }
    Ok(signals)
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
