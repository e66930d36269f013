//! `climatology.parquet`: what vegetation is like by land cover, climate and time of year, from the training split only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use minicube::{Cube, LocationTable, SCHEMA_VERSION, ten_days_of_year, write_table};
use rayon::prelude::*;
use serde_json::json;

use crate::Error;
use crate::index::{kndvi, ndvi};

/// The climate of the rows over all climates.
const ALL: &str = "all";

/// Mean and spread of a class in a part of the year.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassMean {
    /// Class of `static/landcover`; 0 over all.
    pub landcover: u8,
    /// Class of the location's climate; `all` over all.
    pub climate: String,
    /// Tens of days since 1 January, 0 to 36.
    pub bin: usize,
    /// Observed pixels and steps.
    pub count: u64,
    /// Mean and standard deviation (of the population) of NDVI.
    pub ndvi: (f64, f64),
    /// The same of kNDVI.
    pub kndvi: (f64, f64),
}

/// Land cover, climate and bin.
type Key = (u8, String, usize);

/// Number, sums and sums of squares of NDVI and kNDVI. Both lie between -1 and 1, so that nothing is lost in them.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    count: u64,
    sums: [f64; 2],
    squares: [f64; 2],
}

impl Sums {
    fn add(&mut self, values: [f32; 2]) {
        self.merge(&Sums {
            count: 1,
            sums: values.map(f64::from),
            squares: values.map(|v| f64::from(v) * f64::from(v)),
        });
    }

    fn merge(&mut self, other: &Sums) {
        self.count += other.count;
        for i in 0..2 {
            self.sums[i] += other.sums[i];
            self.squares[i] += other.squares[i];
        }
    }

    fn of(&self, i: usize) -> (f64, f64) {
        let n = self.count as f64;
        let mean = self.sums[i] / n;
        (mean, (self.squares[i] / n - mean * mean).max(0.0).sqrt())
    }
}

/// Means over the observed pixels and steps (`mask` 0) of the stores, by the step's last day: for each land cover and
/// climate, for each land cover, and over all. `climates` are those of the cubes that have one. Samples are summed up in
/// parallel and merged in order, so the result does not depend on the number of threads.
///
/// # Errors
/// [`Error::Shared`] if a store cannot be read.
pub fn class_climatology(
    stores: &[PathBuf],
    climates: &BTreeMap<String, String>,
) -> Result<Vec<ClassMean>, Error> {
    let mut merged: BTreeMap<Key, Sums> = BTreeMap::new();
    for path in stores {
        let cube = Cube::open(path, "level2")?;
        let cubes = cube.read_strings("cube_id")?;
        let parts = (0..cubes.len())
            .into_par_iter()
            .map(|sample| of_sample(&cube, sample, climates.get(&cubes[sample])))
            .collect::<Result<Vec<_>, Error>>()?;
        for (key, sums) in parts.into_iter().flatten() {
            merged.entry(key).or_default().merge(&sums);
        }
    }
    let row = |((landcover, climate, bin), sums): (Key, Sums)| {
        let (ndvi, kndvi) = (sums.of(0), sums.of(1));
        ClassMean { landcover, climate, bin, count: sums.count, ndvi, kndvi }
    };
    Ok(merged.into_iter().map(row).collect())
}

fn of_sample(cube: &Cube, sample: usize, climate: Option<&String>) -> Result<BTreeMap<Key, Sums>, Error> {
    let mut shape = cube.shape("mask")?;
    shape[0] = 1;
    let start = [sample as u64, 0, 0, 0];
    let (red, nir) =
        (cube.read_region::<f32>("red", &start, &shape)?, cube.read_region::<f32>("nir", &start, &shape)?);
    let mask = cube.read_region::<u8>("mask", &start, &shape)?;
    let pixels = (shape[2] * shape[3]) as usize;
    let has_classes = cube.has("static/landcover") && cube.dtype("static/landcover")? == "uint8";
    let classes = match has_classes {
        true => cube.read_region::<u8>("static/landcover", &start[..3], &[1, shape[2], shape[3]])?,
        false => ndarray::ArrayD::zeros(vec![1, shape[2] as usize, shape[3] as usize]),
    };
    let classes: Vec<u8> = classes.into_iter().collect();
    let dates = cube.read_region::<i32>("date", &start[..2], &[1, shape[1]])?;
    let bins: Vec<usize> = dates.iter().map(|&day| ten_days_of_year(day)).collect();
    // By class and bin first: the words are looked up once, not for every pixel.
    let mut sums: BTreeMap<(u8, usize), Sums> = BTreeMap::new();
    for (i, ((&red, &nir), &mask)) in red.iter().zip(&nir).zip(&mask).enumerate() {
        let greenness = ndvi(red, nir);
        if mask == 0 && greenness.is_finite() {
            let key = (classes[i % pixels], bins[i / pixels]);
            sums.entry(key).or_default().add([greenness, kndvi(greenness)]);
        }
    }
    let mut keyed: BTreeMap<Key, Sums> = BTreeMap::new();
    for ((class, bin), sums) in sums {
        let mut places = vec![(0, ALL.to_owned(), bin)];
        if class != 0 {
            places.push((class, ALL.to_owned(), bin));
            places.extend(climate.map(|climate| (class, climate.clone(), bin)));
        }
        for key in places {
            keyed.entry(key).or_default().merge(&sums);
        }
    }
    Ok(keyed)
}

/// The climates of the locations, by id.
#[must_use]
pub(crate) fn climates(table: Option<&LocationTable>) -> BTreeMap<String, String> {
    let locations = table.into_iter().flat_map(|table| &table.locations);
    locations.filter_map(|at| Some((at.id.clone(), at.strata.get("climate")?.clone()))).collect()
}

/// Writes the table.
///
/// # Errors
/// [`minicube::Error::Table`] or [`minicube::Error::Io`].
pub(crate) fn write_climatology(path: &Path, rows: &[ClassMean]) -> Result<(), Error> {
    let batch = climatology_batch(rows)
        .map_err(|error| minicube::Error::Table { path: path.to_owned(), reason: error.to_string() })?;
    let own = json!({"minicube_schema": "climatology", "schema_version": SCHEMA_VERSION, "bin_days": 10});
    Ok(write_table(path, &batch.schema(), &[("minicube", own)], [Ok(batch)])?)
}

/// The rows as columns.
pub(crate) fn climatology_batch(rows: &[ClassMean]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let number = |pick: fn(&ClassMean) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(rows.iter().map(pick)))
    };
    let int = |pick: fn(&ClassMean) -> i32| -> ArrayRef {
        Arc::new(Int32Array::from_iter_values(rows.iter().map(pick)))
    };
    let columns: [(&str, ArrayRef); 8] = [
        ("landcover", int(|row| i32::from(row.landcover))),
        ("climate", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.climate)))),
        ("bin", int(|row| row.bin as i32)),
        ("count", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.count as i64)))),
        ("ndvi_mean", number(|row| row.ndvi.0)),
        ("ndvi_std", number(|row| row.ndvi.1)),
        ("kndvi_mean", number(|row| row.kndvi.0)),
        ("kndvi_std", number(|row| row.kndvi.1)),
    ];
    RecordBatch::try_from_iter(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0.2, 0.4 and 0.9: mean 0.5, variance (0.09 + 0.01 + 0.16) / 3.
    #[test]
    fn sums_by_hand() {
        let mut sums = Sums::default();
        sums.add([0.2, 0.0]);
        let mut other = Sums::default();
        other.add([0.4, 0.0]);
        other.add([0.9, 0.3]);
        sums.merge(&other);
        let (mean, std) = sums.of(0);
        assert!((mean - 0.5).abs() < 1e-7 && (std - (0.26_f64 / 3.0).sqrt()).abs() < 1e-7);
        assert!((sums.of(1).0 - 0.1).abs() < 1e-7);
        assert_eq!(sums.count, 3);
    }
}
