//! What the stores say about the errors of the gap filling, read back and put together.

use std::collections::BTreeMap;
use std::path::PathBuf;

use minicube::report::{Report, bars};
use minicube::{Cube, Split};
use ndarray::ArrayD;

use crate::Error;

/// The errors in one store.
pub(crate) struct FillErrors {
    /// Methods, that of the samples first.
    fills: Vec<String>,
    /// The bands, then NDVI.
    quantities: Vec<String>,
    /// `[sample, fill, quantity]`
    rmse: ArrayD<f32>,
    /// `[sample]`
    counts: ArrayD<i32>,
}

/// Errors over all cubes of some stores, each cube with the weight of its observations.
#[derive(Debug)]
pub(crate) struct PooledErrors {
    /// Methods, that of the samples first.
    pub(crate) fills: Vec<String>,
    quantities: Vec<String>,
    /// `[fill][quantity]`
    rmse: Vec<Vec<f64>>,
    count: u64,
}

impl FillErrors {
    /// The errors in a store; `None` where it has none.
    ///
    /// # Errors
    /// [`Error::Shared`] if they cannot be read.
    pub(crate) fn read(cube: &Cube) -> Result<Option<FillErrors>, Error> {
        if !cube.has("leave_out/rmse") {
            return Ok(None);
        }
        Ok(Some(FillErrors {
            fills: cube.read_strings("leave_out/fill")?,
            quantities: cube.read_strings("leave_out/quantity")?,
            rmse: cube.read("leave_out/rmse")?,
            counts: cube.read("leave_out/count")?,
        }))
    }

    /// The error in NDVI of the samples' own method.
    #[must_use]
    pub(crate) fn ndvi(&self, sample: usize) -> f64 {
        f64::from(self.rmse[[sample, 0, self.quantities.len() - 1]])
    }
}

impl PooledErrors {
    /// Pools the cubes of the stores; samples of one cube have the same errors and count once.
    ///
    /// # Errors
    /// [`Error::Shared`] if a store cannot be read.
    pub(crate) fn of(stores: &[(Split, PathBuf)]) -> Result<Option<PooledErrors>, Error> {
        let mut pooled: Option<PooledErrors> = None;
        for (_, path) in stores {
            let cube = Cube::open(path, "level2")?;
            let Some(errors) = FillErrors::read(&cube)? else { continue };
            let cubes: BTreeMap<String, usize> = cube.read_strings("cube_id")?.into_iter().zip(0..).collect();
            let pooled = pooled.get_or_insert_with(|| PooledErrors {
                fills: errors.fills.clone(),
                quantities: errors.quantities.clone(),
                rmse: vec![vec![0.0; errors.quantities.len()]; errors.fills.len()],
                count: 0,
            });
            for sample in cubes.into_values().filter(|&sample| errors.counts[[sample]] > 0) {
                let count = errors.counts[[sample]];
                pooled.count += u64::from(count.unsigned_abs());
                for (fill, sums) in pooled.rmse.iter_mut().enumerate() {
                    for (quantity, sum) in sums.iter_mut().enumerate() {
                        *sum += f64::from(count) * f64::from(errors.rmse[[sample, fill, quantity]]).powi(2);
                    }
                }
            }
        }
        let mut pooled = pooled.filter(|pooled| pooled.count > 0);
        if let Some(pooled) = &mut pooled {
            let count = pooled.count as f64;
            pooled.rmse.iter_mut().flatten().for_each(|sum| *sum = (*sum / count).sqrt());
        }
        Ok(pooled)
    }

    /// `linear 0.0312, whittaker 0.0287`: the errors in NDVI.
    #[must_use]
    pub(crate) fn ndvi_text(&self) -> String {
        let ndvi = self.quantities.len() - 1;
        let part = |(fill, rmse): (&String, &Vec<f64>)| format!("{fill} {:.4}", rmse[ndvi]);
        self.fills.iter().zip(&self.rmse).map(part).collect::<Vec<_>>().join(", ")
    }

    /// Adds the errors to the report.
    #[must_use]
    pub(crate) fn show(&self, page: Report) -> Report {
        let text = format!(
            "Root mean square error at {} observations that were left out of a trial filling: single days of single \
             pixels, in reflectance and NDVI. Long cloudy spells are harder; the noise of the observations is part of it.",
            self.count
        );
        let columns: Vec<&str> =
            ["filling"].into_iter().chain(self.quantities.iter().map(String::as_str)).collect();
        let row = |(fill, rmse): (&String, &Vec<f64>)| {
            [fill.clone()].into_iter().chain(rmse.iter().map(|rmse| format!("{rmse:.4}"))).collect()
        };
        let rows = self.fills.iter().zip(&self.rmse).map(row).collect();
        let groups: Vec<(String, Vec<f64>)> =
            self.fills.iter().cloned().zip(self.rmse.iter().cloned()).collect();
        page.section("Error of the gap filling").text(&text).table(&columns, rows).svg(
            "The same as bars.",
            &bars("Root mean square error (reflectance, NDVI)", &self.quantities, &groups),
        )
    }
}
