//! Level-2 stores of one split, read sample by sample.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use minicube::{Cube, Split, list_stores};
use ndarray::{Array1, Array3, Array4, ArrayD, Axis, Ix3, s};

use crate::data::DataSpec;
use crate::error::Error;

/// One sample, all of its steps.
pub(crate) struct Sample {
    /// `[time, channel, y, x]`
    pub(crate) dynamic: Array4<f32>,
    /// `[time, y, x]`: whether there is a valid observation.
    pub(crate) valid: Array3<bool>,
    /// `[time, variable, wy, wx]`
    pub(crate) weather: Array4<f32>,
    /// `[layer, y, x]`
    pub(crate) statics: Array3<f32>,
    /// `[time]`
    pub(crate) dates: Array1<i32>,
    pub(crate) id: String,
}

impl Sample {
    pub(crate) fn bytes(&self) -> usize {
        4 * (self.dynamic.len() + self.weather.len() + self.statics.len()) + self.valid.len()
    }
}

/// One open store.
pub(crate) struct Store {
    pub(crate) cube: Cube,
    pub(crate) ids: Vec<String>,
    pub(crate) steps: usize,
    pub(crate) size: (usize, usize),
}

/// The stores of a split, by name.
pub(crate) fn store_paths(level2: &Path, split: Split) -> Result<Vec<PathBuf>, Error> {
    Ok(list_stores(&level2.join(split.to_string()))?)
}

impl Store {
    pub(crate) fn open(path: &Path) -> Result<Store, Error> {
        let cube = Cube::open(path, "level2")?;
        let shape = cube.shape("mask")?;
        let at = |axis: usize| shape.get(axis).map_or(0, |&n| n as usize);
        let ids = cube.read_strings("sample_id")?;
        Ok(Store { cube, ids, steps: at(1), size: (at(2), at(3)) })
    }

    /// Fails where a variable of the specification is not there.
    pub(crate) fn check(&self, spec: &DataSpec) -> Result<(), Error> {
        let names = |group: &str, list: &[String]| -> Vec<String> {
            list.iter().map(|name| format!("{group}{name}")).collect()
        };
        let wanted =
            [names("", &spec.dynamic), names("weather/", &spec.weather), names("static/", &spec.statics)];
        match wanted.concat().into_iter().find(|name| !self.cube.has(name)) {
            None => Ok(()),
            Some(variable) => {
                let group = variable.split_once('/').map(|(group, _)| format!("{group}/"));
                let alike = |name: &String| match &group {
                    Some(group) => name.starts_with(group),
                    None => !name.contains('/'),
                };
                let found = self.cube.vars().into_iter().filter(alike).collect::<Vec<_>>().join(", ");
                Err(Error::NoVariable { path: self.cube.path().to_owned(), variable, found })
            }
        }
    }

    /// Names of the variables of a group, without it, sorted.
    pub(crate) fn group(&self, group: &str) -> BTreeSet<String> {
        let prefix = format!("{group}/");
        self.cube.vars().iter().filter_map(|v| v.strip_prefix(&prefix)).map(str::to_owned).collect()
    }

    /// Reads one sample.
    pub(crate) fn read(&self, row: usize, spec: &DataSpec) -> Result<Sample, Error> {
        let bands = spec.dynamic.iter().map(|v| self.series(v, row)).collect::<Result<Vec<_>, _>>()?;
        let dynamic = stack(&bands, 1, (self.steps, 0, self.size.0, self.size.1));
        let mask = self.series("mask", row)?;
        let mut valid = mask.mapv(|m| m == 0.0);
        for band in &bands {
            valid.zip_mut_with(band, |valid, value| *valid &= value.is_finite());
        }
        let weather = spec
            .weather
            .iter()
            .map(|v| self.series(&format!("weather/{v}"), row))
            .collect::<Result<Vec<_>, _>>()?;
        let (wy, wx) = weather.iter().fold((1, 1), |(y, x), w| (y.max(w.dim().1), x.max(w.dim().2)));
        let weather: Vec<Array3<f32>> = weather.into_iter().map(|w| spread(w, wy, wx)).collect();
        let layers = spec
            .statics
            .iter()
            .map(|v| Ok(self.series(&format!("static/{v}"), row)?.index_axis_move(Axis(0), 0)))
            .collect::<Result<Vec<_>, Error>>()?;
        let mut statics = Array3::zeros((layers.len(), self.size.0, self.size.1));
        for (mut into, layer) in statics.outer_iter_mut().zip(&layers) {
            into.assign(layer);
        }
        let dates = self.cube.read_region::<i32>("date", &[row as u64, 0], &[1, self.steps as u64])?;
        Ok(Sample {
            dynamic,
            valid,
            weather: stack(&weather, 1, (self.steps, 0, wy, wx)),
            statics,
            dates: dates.iter().copied().collect(),
            id: self.ids[row].clone(),
        })
    }

    /// One variable of one sample as `[time, y, x]`; axes it lacks have length 1.
    fn series(&self, variable: &str, row: usize) -> Result<Array3<f32>, Error> {
        let mut shape = self.cube.shape(variable)?;
        let mut start = vec![0; shape.len()];
        start[0] = row as u64;
        shape[0] = 1;
        let array: ArrayD<f32> = self.cube.read_f32(variable, &start, &shape)?;
        let array = match (array.ndim(), variable.starts_with("static/")) {
            (2, _) => array.index_axis_move(Axis(0), 0).insert_axis(Axis(1)).insert_axis(Axis(2)),
            (3, true) => array,
            _ => array.index_axis_move(Axis(0), 0),
        };
        let found = format!("{:?}", array.shape());
        array.into_dimensionality::<Ix3>().map_err(|_| {
            Error::Files(minicube::Error::Shape {
                path: self.cube.path().to_owned(),
                variable: variable.to_owned(),
                expected: "[sample, time], [sample, time, y, x] or [sample, y, x]".into(),
                found,
            })
        })
    }
}

/// `[time, y, x]` arrays side by side on a new axis.
fn stack(arrays: &[Array3<f32>], axis: usize, shape: (usize, usize, usize, usize)) -> Array4<f32> {
    let mut out = Array4::zeros((shape.0, arrays.len(), shape.2, shape.3));
    for (k, array) in arrays.iter().enumerate() {
        out.index_axis_mut(Axis(axis), k).assign(array);
    }
    out
}

/// Repeats the cells of a window until it has `rows` × `cols` of them.
fn spread(window: Array3<f32>, rows: usize, cols: usize) -> Array3<f32> {
    let (steps, wy, wx) = window.dim();
    if (wy, wx) == (rows, cols) {
        return window;
    }
    Array3::from_shape_fn((steps, rows, cols), |(t, y, x)| {
        window[[t, super::window_cell(y, rows, wy), super::window_cell(x, cols, wx)]]
    })
}

/// Some pixels of a sample, row and column of each, as an image of one row, over `steps` steps.
pub(crate) fn pixels(sample: &Sample, first_step: usize, steps: usize, of: &[(usize, usize)]) -> Sample {
    let (_, rows, cols) = sample.valid.dim();
    let (_, channels, ..) = sample.dynamic.dim();
    let (_, variables, wy, wx) = sample.weather.dim();
    let n = of.len();
    let weather = match (wy, wx) {
        (1, 1) => sample.weather.slice(s![first_step..first_step + steps, .., .., ..]).to_owned(),
        // Each pixel has a cell of its own.
        _ => Array4::from_shape_fn((steps, variables, 1, n), |(t, v, _, k)| {
            let (y, x) = of[k];
            sample.weather
                [[first_step + t, v, super::window_cell(y, rows, wy), super::window_cell(x, cols, wx)]]
        }),
    };
    Sample {
        dynamic: Array4::from_shape_fn((steps, channels, 1, n), |(t, c, _, k)| {
            sample.dynamic[[first_step + t, c, of[k].0, of[k].1]]
        }),
        valid: Array3::from_shape_fn((steps, 1, n), |(t, _, k)| {
            sample.valid[[first_step + t, of[k].0, of[k].1]]
        }),
        weather,
        statics: Array3::from_shape_fn((sample.statics.dim().0, 1, n), |(layer, _, k)| {
            sample.statics[[layer, of[k].0, of[k].1]]
        }),
        dates: sample.dates.slice(s![first_step..first_step + steps]).to_owned(),
        id: sample.id.clone(),
    }
}

/// The part of a sample that a pick asks for, over `steps` steps.
pub(crate) fn cut(sample: &Sample, pick: &super::Pick, steps: usize) -> Sample {
    let (_, rows, cols) = sample.valid.dim();
    let c = pick.crop.unwrap_or(super::Crop { row: 0, col: 0, rows, cols });
    let time = pick.first_step..pick.first_step + steps;
    let (y, x) = (c.row..c.row + c.rows, c.col..c.col + c.cols);
    let weather = sample.weather.slice(s![time.clone(), .., .., ..]);
    let (_, variables, wy, wx) = weather.dim();
    // A crop does not cover the window evenly any more: give each of its pixels a cell of its own.
    let weather = if pick.crop.is_none() || (wy, wx) == (1, 1) {
        weather.to_owned()
    } else {
        Array4::from_shape_fn((steps, variables, c.rows, c.cols), |(t, v, r, q)| {
            weather[[t, v, super::window_cell(c.row + r, rows, wy), super::window_cell(c.col + q, cols, wx)]]
        })
    };
    Sample {
        dynamic: sample.dynamic.slice(s![time.clone(), .., y.clone(), x.clone()]).to_owned(),
        valid: sample.valid.slice(s![time.clone(), y.clone(), x.clone()]).to_owned(),
        weather,
        statics: sample.statics.slice(s![.., y, x]).to_owned(),
        dates: sample.dates.slice(s![time]).to_owned(),
        id: sample.id.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rows of four pixels under a window of two columns: the third column of pixels lies under the second.
    #[test]
    fn a_pixel_takes_the_weather_above_it() {
        let sample = Sample {
            dynamic: Array4::from_shape_fn((3, 1, 2, 4), |(t, _, y, x)| (100 * t + 10 * y + x) as f32),
            valid: Array3::from_shape_fn((3, 2, 4), |(t, y, x)| (t + y + x) % 2 == 0),
            weather: Array4::from_shape_fn((3, 1, 1, 2), |(t, _, _, c)| (10 * t + c) as f32),
            statics: Array3::from_shape_fn((1, 2, 4), |(_, y, x)| (10 * y + x) as f32),
            dates: Array1::from_vec(vec![1, 2, 3]),
            id: "a".into(),
        };
        let found = pixels(&sample, 1, 2, &[(1, 2), (0, 1)]);
        let values = |array: &Array4<f32>| array.iter().copied().collect::<Vec<f32>>();
        assert_eq!(values(&found.dynamic), [112.0, 101.0, 212.0, 201.0]);
        assert_eq!(values(&found.weather), [11.0, 10.0, 21.0, 20.0]);
        assert_eq!(found.valid.iter().copied().collect::<Vec<bool>>(), [true, true, false, false]);
        assert_eq!(found.statics.iter().copied().collect::<Vec<f32>>(), [12.0, 1.0]);
        assert_eq!(found.dates.to_vec(), [2, 3]);
    }
}
