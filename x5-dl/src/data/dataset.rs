//! A split of Level 2 as numbered samples that are read when asked for.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use minicube::{Cube, Split};
use ndarray::{Array2, Array4, Array5, ArrayView3, Axis};
use rayon::prelude::*;

use crate::data::source::{self, Sample, Store};
use crate::data::{Batch, Crop, DataSpec, Pick};
use crate::error::Error;
use crate::prepare::Pixel;

/// Bytes of decoded samples that are kept for the next batch.
const CACHE_BYTES: usize = 256 << 20;

/// The samples of one split. Reading is lazy; a bounded number of decoded samples is kept.
pub struct Dataset {
    spec: DataSpec,
    stores: Vec<Store>,
    /// Store and row of each sample.
    rows: Vec<(usize, usize)>,
    size: (usize, usize),
    steps: usize,
    cache: Mutex<VecDeque<(usize, Arc<Sample>)>>,
}

impl Dataset {
    /// Opens all stores of `level2/<split>`, in name order.
    ///
    /// # Errors
    /// - [`Error::NoSamples`] if there is no sample, if samples are shorter than context and target, or if the
    ///   stores are not of one size,
    /// - [`Error::NoVariable`] if a store lacks a variable of the specification,
    /// - [`Error::Files`] if a store is damaged, unsealed or of another version.
    pub fn open(level2: &Path, split: Split, spec: &DataSpec) -> Result<Dataset, Error> {
        let folder = level2.join(split.to_string());
        let none = |reason: String| Error::NoSamples { path: folder.clone(), reason };
        let stores = source::store_paths(level2, split)?
            .iter()
            .map(|path| Store::open(path))
            .collect::<Result<Vec<_>, _>>()?;
        for store in &stores {
            store.check(spec)?;
        }
        let rows: Vec<(usize, usize)> = stores
            .iter()
            .enumerate()
            .flat_map(|(k, store)| (0..store.ids.len()).map(move |r| (k, r)))
            .collect();
        let Some(first) = stores.iter().find(|store| !store.ids.is_empty()) else {
            return Err(none("no samples".into()));
        };
        let (size, steps) = (first.size, stores.iter().map(|s| s.steps).min().unwrap_or(0));
        if let Some(other) = stores.iter().find(|store| store.size != size && !store.ids.is_empty()) {
            return Err(none(format!("stores differ in size: {:?} and {size:?} pixels", other.size)));
        }
        if steps < spec.steps() {
            let (context, target) = (spec.context_steps, spec.target_steps);
            return Err(none(format!("samples have {steps} steps, expected {context} + {target}")));
        }
        Ok(Dataset { spec: spec.clone(), stores, rows, size, steps, cache: Mutex::default() })
    }

    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no samples; never, as [`Dataset::open`] refuses that.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Rows and columns of a sample.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        self.size
    }

    /// Steps of a sample; at least context and target together.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// What is read.
    #[must_use]
    pub fn spec(&self) -> &DataSpec {
        &self.spec
    }

    /// Paths of the stores.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.stores.iter().map(|store| store.cube.path().to_owned()).collect()
    }

    /// Ids of all samples, in order.
    #[must_use]
    pub fn sample_ids(&self) -> Vec<String> {
        self.rows.iter().map(|&(store, row)| self.stores[store].ids[row].clone()).collect()
    }

    /// The store that holds a sample, and its row there.
    pub(crate) fn place(&self, sample: usize) -> (&Cube, usize) {
        let (store, row) = self.rows[sample];
        (&self.stores[store].cube, row)
    }

    /// The samples of these indices over their first context and target steps, whole or one part of them all.
    ///
    /// # Errors
    /// [`Error::Files`] if a store cannot be read.
    pub fn batch(&self, samples: &[usize], crop: Option<Crop>) -> Result<Batch, Error> {
        let picks: Vec<Pick> = samples.iter().map(|&sample| Pick { sample, first_step: 0, crop }).collect();
        self.pick(&picks)
    }

    /// Samples that differ in first step and part.
    ///
    /// # Errors
    /// [`Error::Files`] if a store cannot be read, [`Error::Batch`] if the parts differ in size or leave the
    /// sample.
    pub fn pick(&self, picks: &[Pick]) -> Result<Batch, Error> {
        let steps = self.spec.steps();
        let (rows, cols) = picks.first().and_then(|p| p.crop).map_or(self.size, |c| (c.rows, c.cols));
        for pick in picks {
            self.check_pick(pick, (rows, cols))?;
        }
        let parts = picks
            .par_iter()
            .map(|pick| Ok(source::cut(&*self.sample(pick.sample)?, pick, steps)))
            .collect::<Result<Vec<Sample>, Error>>()?;
        self.batch_of(parts, (rows, cols))
    }

    /// Pixels of samples, which `choose` draws from the statics `[layer, y, x]` of each, in their order. The batch has them as
    /// images of one row, as long as the longest; the pixels are told as sample, row and column there.
    ///
    /// # Errors
    /// As [`Dataset::pick`].
    pub(crate) fn pick_pixels(
        &self,
        picks: &[Pick],
        mut choose: impl FnMut(ArrayView3<'_, f32>) -> Vec<(usize, usize)>,
    ) -> Result<(Batch, Vec<Pixel>), Error> {
        for pick in picks {
            self.check_pick(pick, self.size)?;
        }
        let whole =
            picks.par_iter().map(|pick| self.sample(pick.sample)).collect::<Result<Vec<_>, Error>>()?;
        let chosen: Vec<Vec<(usize, usize)>> =
            whole.iter().map(|sample| choose(sample.statics.view())).collect();
        let longest = chosen.iter().map(Vec::len).max().unwrap_or(0);
        let part = |(k, sample): (usize, Arc<Sample>)| {
            let row: Vec<(usize, usize)> = chosen[k].iter().copied().cycle().take(longest).collect();
            source::pixels(&sample, picks[k].first_step, self.spec.steps(), &row)
        };
        let parts = whole.into_iter().enumerate().map(part).collect();
        let each = chosen.iter().enumerate().flat_map(|(b, row)| (0..row.len()).map(move |k| (b, 0, k)));
        Ok((self.batch_of(parts, (1, longest))?, each.collect()))
    }

    /// Samples of one size as a batch.
    fn batch_of(&self, parts: Vec<Sample>, (rows, cols): (usize, usize)) -> Result<Batch, Error> {
        let steps = self.spec.steps();
        let window = |part: &Sample| (part.weather.dim().2, part.weather.dim().3);
        let (wy, wx) = parts.first().map_or((1, 1), window);
        let n = parts.len();
        let spec = &self.spec;
        let mut batch = Batch {
            dynamic: Array5::zeros((n, steps, spec.dynamic.len(), rows, cols)),
            valid: Array4::zeros((n, steps, rows, cols)),
            weather: Array5::zeros((n, steps, spec.weather.len(), wy, wx)),
            statics: Array4::zeros((n, spec.statics.len(), rows, cols)),
            dates: Array2::zeros((n, steps)),
            sample_ids: Vec::with_capacity(n),
        };
        for (k, part) in parts.into_iter().enumerate() {
            if window(&part) != (wy, wx) {
                let (expected, found) = (format!("{wy} × {wx}"), format!("{:?}", window(&part)));
                return Err(Error::Batch { what: "weather window", expected, found });
            }
            batch.dynamic.index_axis_mut(Axis(0), k).assign(&part.dynamic);
            batch
                .valid
                .index_axis_mut(Axis(0), k)
                .assign(&part.valid.mapv(|valid| f32::from(u8::from(valid))));
            batch.weather.index_axis_mut(Axis(0), k).assign(&part.weather);
            batch.statics.index_axis_mut(Axis(0), k).assign(&part.statics);
            batch.dates.index_axis_mut(Axis(0), k).assign(&part.dates);
            batch.sample_ids.push(part.id);
        }
        Ok(batch)
    }

    fn check_pick(&self, pick: &Pick, (rows, cols): (usize, usize)) -> Result<(), Error> {
        let crop = pick.crop.unwrap_or(Crop { row: 0, col: 0, rows: self.size.0, cols: self.size.1 });
        let problem = |what, expected: String, found: String| Err(Error::Batch { what, expected, found });
        if pick.sample >= self.len() {
            return problem("sample", format!("below {}", self.len()), pick.sample.to_string());
        }
        if pick.first_step + self.spec.steps() > self.steps {
            let expected = format!("{} steps from step {}", self.spec.steps(), pick.first_step);
            return problem("steps", expected, self.steps.to_string());
        }
        let inside = crop.row + crop.rows <= self.size.0 && crop.col + crop.cols <= self.size.1;
        if !inside || (crop.rows, crop.cols) != (rows, cols) {
            let expected = format!("{rows} × {cols} inside {} × {}", self.size.0, self.size.1);
            return problem("crop", expected, format!("{crop:?}"));
        }
        Ok(())
    }

    fn sample(&self, index: usize) -> Result<Arc<Sample>, Error> {
        let lock = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, sample)) = lock().iter().find(|(k, _)| *k == index) {
            return Ok(sample.clone());
        }
        let (store, row) = self.rows[index];
        let sample = Arc::new(self.stores[store].read(row, &self.spec)?);
        let mut cache = lock();
        while cache.iter().map(|(_, s)| s.bytes()).sum::<usize>() + sample.bytes() > CACHE_BYTES {
            if cache.pop_front().is_none() {
                break;
            }
        }
        if !cache.iter().any(|(k, _)| *k == index) {
            cache.push_back((index, sample.clone()));
        }
        Ok(sample)
    }
}

#[cfg(test)]
mod tests {
    use minicube::testing::tiny_level2;

    use super::*;
    use crate::data::context::ContextGaps;
    use crate::data::scaling::{Affine, StaticInput};
    use crate::prepare::{self, Preparation};

    /// Two samples of which other pixels are drawn, one more of the first.
    #[test]
    fn pixels_of_samples_are_those_of_whole_ones() {
        let dir = tempfile::tempdir().unwrap();
        let level2 = tiny_level2(dir.path(), 3, 12, 5).unwrap();
        let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let spec = DataSpec {
            dynamic: texts(&["kndvi"]),
            weather: texts(&["tp_mean", "t2m_mean"]),
            statics: texts(&["dem", "landcover"]),
            context_steps: 4,
            target_steps: 5,
        };
        let preparation = Preparation {
            weather: vec![Affine { offset: 0.0, scale: 1.0 }; 2],
            statics: vec![
                StaticInput::Scaled(Affine { offset: 0.0, scale: 1.0 }),
                StaticInput::Classes(vec![30]),
            ],
            context_gaps: ContextGaps::Hold,
            dynamic_scale: 1.0,
            context_weather: false,
        };
        let dataset = Dataset::open(&level2, Split::Train, &spec).unwrap();
        let picks = [(2, 1), (0, 3)].map(|(sample, first_step)| Pick { sample, first_step, crop: None });
        let drawn = [vec![(0, 4), (2, 1), (4, 4)], vec![(1, 0), (3, 3)]];
        let mut lists = drawn.iter().cloned();
        let (batch, pixels) = dataset.pick_pixels(&picks, |_| lists.next().unwrap()).unwrap();
        assert_eq!(batch.valid.dim(), (2, 9, 1, 3));
        let found = prepare::pixel_examples(&batch, &pixels, &spec, &preparation);
        let whole = dataset.pick(&picks).unwrap();
        let places: Vec<Pixel> =
            drawn.iter().enumerate().flat_map(|(b, row)| row.iter().map(move |&(y, x)| (b, y, x))).collect();
        let expected = prepare::pixel_examples(&whole, &places, &spec, &preparation);
        assert_eq!(found.inputs, expected.inputs);
        assert_eq!((found.target, found.valid), (expected.target, expected.valid));
        assert_eq!(found.samples, expected.samples);
    }
}
