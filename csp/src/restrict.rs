//! Restriction: only samples of some months and only pixels of some classes of land are explained.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::Datelike;
use minicube::{Cube, from_cf_day};
use ndarray::{Array3, ArrayView2, Axis};
use serde::Serialize;
use x5_dl::Crop;

use crate::config::Only;
use crate::error::Error;
use crate::group::{cropped, legend, variable_of};
use crate::input::Weather;

/// What is explained; everything where nothing is named.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Restriction {
    /// Months (1 to 12) of the first forecast step.
    pub months: Vec<u32>,
    /// Codes of the classes that count, by static layer. A pixel counts that has one of them in every layer.
    pub classes: BTreeMap<String, Vec<u8>>,
}

/// How many pixels of the samples count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pixels {
    /// Those that count.
    pub kept: usize,
    /// All of them.
    pub all: usize,
}

impl Restriction {
    /// The wish of the user, checked against a store, or all problems.
    pub(crate) fn resolve(only: &Only, store: &Cube) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        for month in only.months.iter().filter(|month| !(1..=12).contains(*month)) {
            problems.push(format!("only.months: expected 1 to 12, found {month}"));
        }
        let mut classes = BTreeMap::new();
        for (layer, names) in &only.classes {
            let variable = variable_of(layer);
            if layer == "season" || !store.has(&variable) || store.dtype(&variable).ok() != Some("uint8") {
                problems.push(format!("only.classes: Level 2 has no layer of classes static/{layer}"));
                continue;
            }
            let known = legend(store, &variable);
            let mut codes: Vec<u8> = Vec::new();
            for name in names {
                let named = known.iter().find(|(_, known)| known.replace(' ', "_") == name.replace(' ', "_"));
                match named.map(|(code, _)| *code).or_else(|| name.parse().ok()) {
                    Some(code) => codes.push(code),
                    None => problems.push(format!(
                        "only.classes: {layer} has no class `{name}`, expected a code or one of {}",
                        if known.is_empty() {
                            "none: it names no classes".to_owned()
                        } else {
                            known.values().cloned().collect::<Vec<_>>().join(", ")
                        }
                    )),
                }
            }
            if names.is_empty() {
                problems.push(format!("only.classes: expected at least one class of {layer}, found none"));
            }
            codes.sort_unstable();
            codes.dedup();
            classes.insert(layer.clone(), codes);
        }
        let mut months = only.months.clone();
        months.sort_unstable();
        months.dedup();
        if problems.is_empty() { Ok(Self { months, classes }) } else { Err(problems) }
    }

    /// Whether all samples and pixels count.
    pub fn is_empty(&self) -> bool {
        self.months.is_empty() && self.classes.is_empty()
    }

    /// The restriction in words: `months 6, 7; landcover 10, 30`.
    pub fn text(&self) -> String {
        let list = |codes: Vec<String>| codes.join(", ");
        let months = (!self.months.is_empty())
            .then(|| format!("months {}", list(self.months.iter().map(u32::to_string).collect())));
        let classes = self
            .classes
            .iter()
            .map(|(layer, codes)| format!("{layer} {}", list(codes.iter().map(u8::to_string).collect())));
        months.into_iter().chain(classes).collect::<Vec<_>>().join("; ")
    }

    /// Keeps the samples of the weather that count, and counts their pixels; what is left out stands in
    /// `weather.excluded`. `step` is the first forecast step.
    ///
    /// # Errors
    /// [`Error::Files`] if a store cannot be read, [`Error::NothingLeft`] if no sample counts.
    pub(crate) fn apply(
        &self,
        weather: Weather,
        stores: &[PathBuf],
        crop: Option<Crop>,
        step: usize,
    ) -> Result<(Weather, Pixels), Error> {
        if self.is_empty() {
            return Ok((weather, Pixels::default()));
        }
        let usable = weather.samples.len();
        let (mut positions, mut pixels) = (Vec::new(), Pixels::default());
        let (mut of_other_months, mut of_other_classes) = (0, 0);
        let mut first = 0;
        for path in stores {
            let cube = Cube::open(path, "level2")?;
            let samples = cube.dim("sample")? as usize;
            let inside = |sample: &usize| (first..first + samples).contains(sample);
            let own: Vec<usize> = (0..usable).filter(|p| inside(&weather.samples[*p])).collect();
            let dates = cube.read::<i32>("date")?;
            for position in own {
                let row = weather.samples[position] - first;
                if !self.months.is_empty() {
                    let month = from_cf_day(dates[[row, step]]).month();
                    if !self.months.contains(&month) {
                        of_other_months += 1;
                        continue;
                    }
                }
                if !self.classes.is_empty() {
                    let mask = self.mask(&cube, row, crop)?;
                    let kept = mask.iter().filter(|kept| **kept).count();
                    if kept == 0 {
                        of_other_classes += 1;
                        continue;
                    }
                    pixels = Pixels { kept: pixels.kept + kept, all: pixels.all + mask.len() };
                }
                positions.push(position);
            }
            first += samples;
        }
        if positions.is_empty() {
            return Err(Error::NothingLeft { restriction: self.text(), usable });
        }
        let mut weather = weather.select(&positions);
        let reasons = [
            ("its first forecast step is of another month", of_other_months),
            ("it has no pixel of the classes", of_other_classes),
        ];
        let left_out = reasons.into_iter().filter(|(_, count)| *count > 0);
        weather.excluded.extend(left_out.map(|(reason, count)| (reason.to_owned(), count)));
        Ok((weather, pixels))
    }

    /// Which pixels of these samples (indices over all stores) count, `[sample, y, x]`; `None` = all.
    ///
    /// # Errors
    /// [`Error::Files`] if a store cannot be read.
    pub(crate) fn masks(
        &self,
        stores: &[PathBuf],
        samples: &[usize],
        crop: Option<Crop>,
    ) -> Result<Option<Array3<bool>>, Error> {
        if self.classes.is_empty() {
            return Ok(None);
        }
        let mut found: Vec<Option<Array3<bool>>> = vec![None; samples.len()];
        let mut first = 0;
        for path in stores {
            let cube = Cube::open(path, "level2")?;
            let count = cube.dim("sample")? as usize;
            for (place, sample) in samples.iter().enumerate() {
                if (first..first + count).contains(sample) {
                    found[place] = Some(self.mask(&cube, sample - first, crop)?);
                }
            }
            first += count;
        }
        let views: Vec<_> = found.iter().flatten().map(|mask| mask.view()).collect();
        Ok(ndarray::concatenate(Axis(0), &views).ok())
    }

    /// Which pixels of one sample of a store count, `[1, y, x]`.
    fn mask(&self, cube: &Cube, row: usize, crop: Option<Crop>) -> Result<Array3<bool>, Error> {
        let mut mask: Option<Array3<bool>> = None;
        for (layer, codes) in &self.classes {
            let variable = variable_of(layer);
            let shape = cube.shape(&variable)?;
            let (rows, cols) = (shape[1], shape[2]);
            let layer = cube.read_region::<u8>(&variable, &[row as u64, 0, 0], &[1, rows, cols])?;
            let part = cropped(layer.index_axis(Axis(0), 0), crop);
            let of_layer = part.mapv(|code| codes.contains(&code)).into_dimensionality();
            let of_layer =
                of_layer.map_err(|error| Error::output(cube.path(), format!("{variable}: {error}")))?;
            mask = Some(match mask {
                None => of_layer.insert_axis(Axis(0)),
                Some(before) => both(before, of_layer.view()),
            });
        }
        Ok(mask.unwrap_or_else(|| Array3::from_elem((1, 0, 0), true)))
    }
}

fn both(mut mask: Array3<bool>, other: ArrayView2<'_, bool>) -> Array3<bool> {
    mask.index_axis_mut(Axis(0), 0).zip_mut_with(&other, |a, b| *a &= *b);
    mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use minicube::{Split, testing::tiny_level2};

    fn only(months: &[u32], landcover: &[&str]) -> Only {
        let names = landcover.iter().map(|name| (*name).to_owned()).collect();
        let classes =
            if landcover.is_empty() { BTreeMap::new() } else { [("landcover".into(), names)].into() };
        Only { months: months.to_vec(), classes }
    }

    #[test]
    fn wishes_are_checked_against_the_store() {
        let dir = tempfile::tempdir().unwrap();
        tiny_level2(dir.path(), 6, 12, 8).unwrap();
        let folder = dir.path().join("level2").join(Split::Train.to_string());
        let store = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
        let cube = Cube::open(&store, "level2").unwrap();
        let fine = Restriction::resolve(&only(&[7, 6, 7], &["30", "10"]), &cube).unwrap();
        assert_eq!(fine.text(), "months 6, 7; landcover 10, 30");
        // Land cover is 30 everywhere; a crop of 3 × 2 pixels has six.
        let crop = Some(Crop { row: 1, col: 2, rows: 3, cols: 2 });
        let stores = [store];
        let mask = |names: &[&str]| {
            let restriction = Restriction::resolve(&only(&[], names), &cube).unwrap();
            restriction.masks(&stores, &[4, 0], crop).unwrap()
        };
        assert_eq!(mask(&["30"]).unwrap(), Array3::from_elem((2, 3, 2), true));
        assert_eq!(mask(&["10"]).unwrap(), Array3::from_elem((2, 3, 2), false));
        assert_eq!(mask(&[]), None);
        let problems = Restriction::resolve(&only(&[13], &["grass"]), &cube).unwrap_err();
        assert_eq!(problems[0], "only.months: expected 1 to 12, found 13");
        assert!(problems[1].starts_with("only.classes: landcover has no class `grass`"), "{problems:?}");
    }
}
