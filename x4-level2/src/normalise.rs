//! Statistics of every variable over the training split, for whoever scales inputs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use minicube::{Cube, write_atomic};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Variables of a store that are no quantities.
const LABELS: [&str; 9] = ["sample_id", "cube_id", "lon", "lat", "date", "start_date", "season", "xc", "yc"];

/// Statistics of one variable; NaN is left out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation of the population (divided by `count`).
    pub std: f64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Finite values.
    pub count: u64,
}

/// Number, mean and sum of squared deviations, which two parts of the data can be merged from without loss
/// (Chan, Golub and LeVeque 1983, <https://doi.org/10.1080/00031305.1983.10483115>).
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
    min: f64,
    max: f64,
}

impl Moments {
    fn of(values: impl Iterator<Item = f32> + Clone) -> Moments {
        let finite = values.filter(|value| value.is_finite()).map(f64::from);
        let (count, sum) = finite.clone().fold((0_u64, 0.0), |(n, sum), value| (n + 1, sum + value));
        if count == 0 {
            return Moments::default();
        }
        let mean = sum / count as f64;
        let start = Moments { count, mean, squares: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY };
        finite.fold(start, |m, value| Moments {
            squares: m.squares + (value - mean) * (value - mean),
            min: m.min.min(value),
            max: m.max.max(value),
            ..m
        })
    }

    fn merge(self, other: Moments) -> Moments {
        if self.count == 0 || other.count == 0 {
            return if self.count == 0 { other } else { self };
        }
        let (n, m) = (self.count as f64, other.count as f64);
        let apart = other.mean - self.mean;
        Moments {
            count: self.count + other.count,
            mean: self.mean + apart * m / (n + m),
            squares: self.squares + other.squares + apart * apart * n * m / (n + m),
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    fn finish(self) -> Option<Statistics> {
        (self.count > 0).then(|| Statistics {
            mean: self.mean,
            std: (self.squares / self.count as f64).sqrt(),
            min: self.min,
            max: self.max,
            count: self.count,
        })
    }
}

/// Statistics over all samples of the stores, by variable. Samples are summed up in parallel and merged in order, so the
/// result does not depend on the number of threads. Variables without a finite value are left out.
///
/// # Errors
/// [`Error::Shared`] if a store cannot be read.
pub fn statistics(stores: &[PathBuf]) -> Result<BTreeMap<String, Statistics>, Error> {
    let mut merged: BTreeMap<String, Moments> = BTreeMap::new();
    for path in stores {
        let cube = Cube::open(path, "level2")?;
        for var in quantities(&cube)? {
            let shape = cube.shape(&var)?;
            let parts: Vec<Moments> = (0..shape[0])
                .into_par_iter()
                .map(|sample| {
                    let mut start = vec![0; shape.len()];
                    let mut size = shape.clone();
                    start[0] = sample;
                    size[0] = 1;
                    let values = cube.read_region::<f32>(&var, &start, &size)?;
                    Ok(Moments::of(values.iter().copied()))
                })
                .collect::<Result<_, Error>>()?;
            let entry = merged.entry(var).or_default();
            *entry = parts.into_iter().fold(*entry, Moments::merge);
        }
    }
    Ok(merged.into_iter().filter_map(|(var, moments)| Some((var, moments.finish()?))).collect())
}

/// Writes `normalisation.json`.
///
/// # Errors
/// [`Error::Shared`] if it cannot be written.
pub(crate) fn write_statistics(path: &Path, statistics: &BTreeMap<String, Statistics>) -> Result<(), Error> {
    let json = serde_json::to_vec_pretty(statistics)
        .map_err(|error| minicube::Error::Table { path: path.to_owned(), reason: error.to_string() })?;
    Ok(write_atomic(path, &json)?)
}

/// The floating-point variables that depend on the sample.
fn quantities(cube: &Cube) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for var in cube.vars() {
        if !LABELS.contains(&var.as_str())
            && !var.starts_with("leave_out/")
            && cube.dims_of(&var)?.first().is_some_and(|dim| dim == "sample")
            && cube.dtype(&var)? == "float32"
        {
            found.push(var);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1, 2, 3, 4: mean 2.5, variance (2.25 + 0.25 + 0.25 + 2.25) / 4 = 1.25.
    #[test]
    fn parts_merge_to_the_whole() {
        let whole = Moments::of([1.0_f32, f32::NAN, 2.0, 3.0, 4.0].into_iter()).finish().unwrap();
        assert_eq!((whole.mean, whole.std, whole.count), (2.5, 1.25_f64.sqrt(), 4));
        let part = |values: &'static [f32]| Moments::of(values.iter().copied());
        let merged = [part(&[1.0]), part(&[f32::NAN]), part(&[]), part(&[2.0, 3.0, 4.0])];
        let merged = merged.into_iter().fold(Moments::default(), Moments::merge).finish().unwrap();
        assert!((merged.mean - 2.5).abs() < 1e-15 && (merged.std - whole.std).abs() < 1e-15);
        assert_eq!((merged.min, merged.max), (1.0, 4.0));
        assert!(Moments::default().finish().is_none());
    }
}
