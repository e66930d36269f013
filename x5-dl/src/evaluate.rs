//! Forecasting and scoring whole splits, a few samples at a time.

use std::path::Path;

use minicube::run::Progress;
use minicube::{Cube, Split};
use ndarray::{Array5, Axis};
use rayon::prelude::*;

use crate::baseline::{self, Baseline, Climatology, PreviousYear};
use crate::data::Batch;
use crate::data::dataset::Dataset;
use crate::data::windows::Windows;
use crate::error::Error;
use crate::forecast_store::ForecastStore;
use crate::forecaster::Forecaster;
use crate::harness::stop;
use crate::plan::ModelPlan;
use crate::score::summary::{self, SampleScore, Score};
use crate::seasonal_score::seasonal_score;

/// Scores the model and the baselines on the plan's splits; the model's forecasts go into `forecast.zarr`.
pub(crate) fn evaluate(
    plan: &ModelPlan,
    plan_hash: &str,
    level2: &Path,
    folder: &Path,
    forecaster: &Forecaster,
    progress: &Progress,
) -> Result<Vec<Score>, Error> {
    let mut splits: Vec<(Split, Dataset)> = Vec::new();
    for &split in &plan.score_splits {
        match Dataset::open(level2, split, &plan.data) {
            Err(Error::NoSamples { .. }) => tracing::warn!(%split, "no samples to score"),
            found => splits.push((split, found?)),
        }
    }
    let windows = Windows::open(level2)?;
    let references = References::of(plan, level2, &windows)?;
    progress.set_length(splits.iter().map(|(_, dataset)| dataset.len() as u64).sum());
    let path = folder.join("forecast.zarr");
    let store = ForecastStore::create(&path, &splits, plan_hash)?;
    let mut scores = Vec::new();
    let mut at = 0;
    for (split, dataset) in &splits {
        let names: Vec<&str> =
            [plan.name.as_str()].into_iter().chain(plan.baselines.iter().map(|b| b.name())).collect();
        let mut samples: Vec<Vec<SampleScore>> = vec![Vec::new(); names.len()];
        let indices: Vec<usize> = (0..dataset.len()).collect();
        for some in indices.chunks(rayon::current_num_threads().max(1)) {
            stop::check(&plan.name, || "it is trained but not yet scored".to_owned())?;
            let done = some
                .par_iter()
                .map(|&k| {
                    let batch = dataset.batch(&[k], None)?;
                    let (forecast, quantiles) = forecaster.forecast_and_quantiles(&batch)?;
                    store.write(at + k, &batch, &forecast, plan.data.context_steps)?;
                    progress.inc(1);
                    let mut scores = score_all(plan, dataset.place(k), &batch, &forecast, &references)?;
                    if let Some(quantiles) = quantiles {
                        let quantiles = (plan.quantiles.as_slice(), quantiles.index_axis(Axis(0), 0));
                        let own = scores.remove(0);
                        scores.insert(0, own.with_quantiles(quantiles, &batch, &plan.data, &plan.scoring));
                    }
                    Ok(scores)
                })
                .collect::<Result<Vec<_>, Error>>()?;
            for scores in done {
                for (into, score) in samples.iter_mut().zip(scores) {
                    into.push(score);
                }
            }
        }
        at += dataset.len();
        for (name, samples) in names.iter().zip(&samples) {
            scores.push(summary::summarise(&split.to_string(), name, &plan.data, samples));
        }
    }
    store.seal()?;
    let mut first = 0;
    for (split, dataset) in &splits {
        let seasonal = seasonal_score(plan, &windows, dataset, &path, first)?;
        let own = |score: &&mut Score| score.split == split.to_string() && score.forecaster == plan.name;
        if let Some(score) = scores.iter_mut().find(own) {
            score.seasonal = seasonal;
        }
        first += dataset.len();
    }
    Ok(scores)
}

/// What the baselines know beside the sample.
struct References<'a> {
    climatology: Option<Climatology>,
    previous: PreviousYear<'a>,
}

impl<'a> References<'a> {
    fn of(plan: &ModelPlan, level2: &Path, windows: &'a Windows) -> Result<References<'a>, Error> {
        let asked = |baseline| plan.baselines.contains(&baseline);
        let training = || Climatology::of(&Dataset::open(level2, Split::Train, &plan.data)?);
        Ok(References {
            climatology: asked(Baseline::Climatology).then(training).transpose()?,
            previous: PreviousYear(windows),
        })
    }
}

/// The model's score on one sample, then each baseline's.
fn score_all(
    plan: &ModelPlan,
    (cube, row): (&Cube, usize),
    batch: &Batch,
    forecast: &Array5<f32>,
    references: &References<'_>,
) -> Result<Vec<SampleScore>, Error> {
    let mut baselines = Vec::with_capacity(plan.baselines.len());
    for baseline in &plan.baselines {
        let frames = match baseline {
            Baseline::Persistence => Some(baseline::persistence(batch, &plan.data)),
            Baseline::ContextMean => Some(baseline::context_mean(batch, &plan.data)),
            Baseline::Climatology => references.climatology.as_ref().map(|c| c.forecast(batch, &plan.data)),
            Baseline::PixelClimatology => Some(baseline::own_climatology(cube, row, batch, &plan.data)?),
            Baseline::PreviousYear => {
                let cubes = cube.read_strings("cube_id")?;
                let id = cubes.get(row).map(String::as_str).unwrap_or_default();
                Some(references.previous.forecast(id, batch, &plan.data)?)
            }
        };
        baselines.extend(frames.map(|frames| (*baseline, frames)));
    }
    // Outperformance is over the pixels' own climatology, where Level 2 has one.
    let of = |wanted: Baseline| baselines.iter().find(|(baseline, _)| *baseline == wanted);
    let reference = of(Baseline::PixelClimatology).or_else(|| of(Baseline::Climatology));
    let reference = reference.map(|(_, frames)| frames.index_axis(Axis(0), 0));
    let all = [forecast].into_iter().chain(baselines.iter().map(|(_, frames)| frames));
    Ok(all
        .map(|frames| {
            let frames = frames.index_axis(Axis(0), 0);
            summary::score_sample(batch, frames, reference, &plan.data, &plan.scoring)
        })
        .collect())
}

/// Fails unless forecasting the first stored sample again gives the stored frames.
pub(crate) fn same_as_stored(
    plan: &ModelPlan,
    level2: &Path,
    path: &Path,
    forecaster: &Forecaster,
) -> Result<(), Error> {
    let stored = Cube::open(path, "forecast")?;
    for &split in &plan.score_splits {
        let dataset = match Dataset::open(level2, split, &plan.data) {
            Err(Error::NoSamples { .. }) => continue,
            found => found?,
        };
        let again = forecaster.forecast(&dataset.batch(&[0], None)?)?;
        for (k, channel) in plan.data.dynamic.iter().enumerate() {
            let mut shape = stored.shape(channel)?;
            shape[0] = 1;
            let found = stored.read_f32(channel, &[0; 4], &shape)?;
            let again = again.index_axis(Axis(2), k);
            let worst = found.iter().zip(&again).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            if worst > 1e-5 {
                let reason =
                    format!("{channel} of the first sample differs by {worst} from what the weights give");
                return Err(Error::Verify { path: path.to_owned(), reason });
            }
        }
        return Ok(());
    }
    Ok(())
}
