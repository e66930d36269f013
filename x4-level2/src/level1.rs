//! Reading a Level-1 store: observations, daily series and static layers of one cube at a time.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use chrono::Datelike;
use minicube::{Bounds, Cube, DType, Epsg, from_cf_day};
use ndarray::{Array2, ArrayD, Ix3};
use serde_json::{Map, Value};

use crate::Error;
use crate::clear::clear_pixels;
use crate::fill::LANES;
use crate::index::ndvi;
use crate::screen::{Screen, Seen};
use crate::settings::Settings;
use crate::weather::window_mean;

/// An open Level-1 store.
pub(crate) struct Level1 {
    cube: Cube,
    /// Location ids, in the order of the store.
    pub(crate) ids: Vec<String>,
    /// Dates of the acquisitions (CF days), ascending; several may share a day.
    pub(crate) days: Vec<i32>,
    /// Place of the first of them in the store.
    first: usize,
    /// Rows and columns of a cube.
    pub(crate) size: (usize, usize),
    /// Projection of the tile.
    pub(crate) epsg: Epsg,
}

/// The observations of one cube as stored, and which of them show the ground.
pub(crate) struct Observations {
    /// `[time, pixel]`, 1 where the scene class is clear.
    clear: Vec<u8>,
    bands: Vec<Band>,
    pixels: usize,
}

/// One band of one cube: `reflectance = (stored + shift) × scale`, `missing` = no data.
struct Band {
    stored: Vec<u16>,
    scale: f32,
    shift: f32,
    missing: u16,
}

/// Daily series by variable, spatial means of their windows.
pub(crate) type DailySeries = BTreeMap<String, Daily>;

/// One daily series.
#[derive(Clone, Debug)]
pub(crate) struct Daily {
    /// CF days of the values.
    pub(crate) days: Vec<i32>,
    /// The values, NaN where missing.
    pub(crate) values: Vec<f32>,
    /// CF attributes of the variable.
    pub(crate) attrs: Map<String, Value>,
}

/// Content of a static layer of one cube, `[1, y, x]`.
pub(crate) enum Static {
    /// Classes.
    Classes(ArrayD<u8>),
    /// Numbers.
    Numbers(ArrayD<f32>),
}

impl Level1 {
    /// Opens the store.
    ///
    /// # Errors
    /// [`Error::Shared`] if it cannot be read, is unsealed, of another schema or lacks its coordinates, [`Error::Variable`]
    /// if its acquisitions are not in the order of time.
    pub(crate) fn open(path: &Path) -> Result<Level1, Error> {
        let cube = Cube::open(path, "level1")?;
        let ids = cube.read_strings("id")?;
        let days = cube.read::<i32>("s2/time")?.into_raw_vec_and_offset().0;
        if let Some(pair) = days.windows(2).find(|pair| pair[0] > pair[1]) {
            return Err(Error::Variable {
                path: path.to_owned(),
                variable: "s2/time".to_owned(),
                expected: "dates in the order of time".to_owned(),
                found: format!("{} before {}", from_cf_day(pair[0]), from_cf_day(pair[1])),
            });
        }
        let size = (cube.dim("s2/y")? as usize, cube.dim("s2/x")? as usize);
        let epsg = Epsg(cube.attr_f64("epsg")? as u32);
        Ok(Level1 { cube, ids, days, first: 0, size, epsg })
    }

    /// The same store with the acquisitions of some years only, both inclusive.
    #[must_use]
    pub(crate) fn within(mut self, [first, last]: [i32; 2]) -> Level1 {
        let year = |day: &i32| from_cf_day(*day).year();
        let from = self.days.partition_point(|day| year(day) < first);
        let to = self.days.partition_point(|day| year(day) <= last);
        self.days = self.days[from..to].to_vec();
        self.first += from;
        self
    }

    /// The tile's id.
    ///
    /// # Errors
    /// [`Error::Shared`] if the store does not say.
    pub(crate) fn tile(&self) -> Result<String, Error> {
        Ok(self.cube.attr_str("tile")?.to_owned())
    }

    /// Whether the store has a band.
    #[must_use]
    pub(crate) fn has_band(&self, band: &str) -> bool {
        self.cube.has(&format!("s2/{band}"))
    }

    /// The bands, comma-separated, for messages.
    #[must_use]
    pub(crate) fn band_names(&self) -> String {
        let other = [
            "time",
            "scene_id",
            "baseline",
            "offset_applied",
            "offset_check",
            "offset_added",
            "acquisition",
            "scl",
        ];
        let names = self.cube.vars().into_iter().filter_map(|var| var.strip_prefix("s2/").map(str::to_owned));
        names.filter(|name| !other.contains(&name.as_str())).collect::<Vec<_>>().join(", ")
    }

    /// Longitudes and latitudes of the cubes' centres.
    ///
    /// # Errors
    /// [`Error::Shared`] if they cannot be read.
    pub(crate) fn centres(&self) -> Result<Vec<(f64, f64)>, Error> {
        let (lon, lat) = (self.cube.read::<f64>("lon")?, self.cube.read::<f64>("lat")?);
        Ok(lon.into_iter().zip(lat).collect())
    }

    /// Eastings and northings of the pixel centres: `[minicube, x]` and `[minicube, y]`.
    ///
    /// # Errors
    /// [`Error::Shared`] if they cannot be read.
    pub(crate) fn pixel_centres(&self) -> Result<(Array2<f64>, Array2<f64>), Error> {
        let read = |var: &str| -> Result<Array2<f64>, Error> {
            let values = self.cube.read::<f64>(var)?;
            let shape = values.shape().to_vec();
            values.into_dimensionality().map_err(|_| self.misshapen(var, "[minicube, pixel]", &shape))
        };
        Ok((read("xc")?, read("yc")?))
    }

    /// Outer edges of the cubes' pixels, in the projection of the tile.
    ///
    /// # Errors
    /// [`Error::Shared`] if they cannot be read.
    pub(crate) fn bounds(&self) -> Result<Vec<Bounds>, Error> {
        let (xc, yc) = self.pixel_centres()?;
        Ok(xc.outer_iter().zip(yc.outer_iter()).map(|(x, y)| outer_edges(&x.to_vec(), &y.to_vec())).collect())
    }

    /// Reads all observations of cube `index`, masked as the settings say.
    ///
    /// # Errors
    /// [`Error::Shared`] if they cannot be read, [`Error::Variable`] if a band has another shape than the store.
    pub(crate) fn observations(&self, index: usize, settings: &Settings) -> Result<Observations, Error> {
        let (rows, cols) = self.size;
        let start = [index as u64, self.first as u64, 0, 0];
        let shape = [1, self.days.len() as u64, rows as u64, cols as u64];
        let scl = self.cube.read_region::<u8>("s2/scl", &start, &shape)?;
        let scl = scl.index_axis_move(ndarray::Axis(0), 0).into_dimensionality::<Ix3>();
        let scl = scl.map_err(|_| self.misshapen("s2/scl", "[minicube, time, y, x]", &[]))?;
        let clear =
            clear_pixels(scl.view(), &settings.scl_clear, settings.dilate_px).into_raw_vec_and_offset().0;
        let bands = settings
            .bands
            .iter()
            .map(|(_, band)| {
                let var = format!("s2/{band}");
                let stored = self.cube.read_region::<u16>(&var, &start, &shape)?.into_raw_vec_and_offset().0;
                let attrs = self.cube.var_attrs(&var);
                let number =
                    |key: &str, default: f64| attrs.get(key).and_then(Value::as_f64).unwrap_or(default);
                let (scale, offset) = (number("scale_factor", 1e-4), number("add_offset", -0.1));
                Ok(Band {
                    stored,
                    scale: scale as f32,
                    shift: (offset / scale) as f32,
                    missing: number("_FillValue", 0.0) as u16,
                })
            })
            .collect::<Result<Vec<Band>, Error>>()?;
        let mut observations = Observations { clear, bands, pixels: rows * cols };
        if settings.screen.is_on() {
            let places = ["blue", "red", "nir"].map(|band| settings.place_of(band));
            observations.screen(&self.days, &settings.screen, places);
        }
        Ok(observations)
    }

    /// The daily series of cube `index`. A variable that both SMAP and ERA5 have is named `smap_<var>`, `era5_<var>`.
    ///
    /// # Errors
    /// [`Error::Shared`] if they cannot be read, [`Error::Variable`] for a shape that is not of Level 1.
    pub(crate) fn daily(&self, index: usize) -> Result<DailySeries, Error> {
        let mut series = DailySeries::new();
        for (key, var) in self.daily_names() {
            let group = var.split('/').next().unwrap_or_default();
            let days = self.cube.read::<i32>(&format!("{group}/time"))?.into_raw_vec_and_offset().0;
            let values = self.window_series(&var, index)?;
            series.insert(key, Daily { days, values, attrs: self.cube.var_attrs(&var) });
        }
        Ok(series)
    }

    /// Names of the daily series with the variables they are read from.
    #[must_use]
    pub(crate) fn daily_names(&self) -> BTreeMap<String, String> {
        let mut names = BTreeMap::new();
        for (group, other) in [("smap", "era5"), ("era5", "smap")] {
            if !self.cube.has(&format!("{group}/time")) {
                continue;
            }
            for name in self.series_of(group) {
                let ambiguous = self.cube.has(&format!("{other}/{name}"));
                let key = if ambiguous { format!("{group}_{name}") } else { name.clone() };
                names.insert(key, format!("{group}/{name}"));
            }
        }
        names
    }

    /// Names and attributes of the static layers, ascending.
    #[must_use]
    pub(crate) fn statics(&self) -> Vec<(String, DType, Map<String, Value>)> {
        let names =
            self.cube.vars().into_iter().filter_map(|var| var.strip_prefix("static/").map(str::to_owned));
        names
            .map(|name| {
                let var = format!("static/{name}");
                let attrs = self.cube.var_attrs(&var);
                let classes = self.cube.dtype(&var).is_ok_and(|dtype| dtype == "uint8");
                (name, if classes { DType::U8 } else { DType::F32 }, attrs)
            })
            .collect()
    }

    /// A static layer of cube `index`.
    ///
    /// # Errors
    /// [`Error::Shared`] if it cannot be read.
    pub(crate) fn read_static(&self, name: &str, dtype: DType, index: usize) -> Result<Static, Error> {
        let var = format!("static/{name}");
        let (start, shape) = ([index as u64, 0, 0], [1, self.size.0 as u64, self.size.1 as u64]);
        Ok(match dtype {
            DType::U8 => Static::Classes(self.cube.read_region(&var, &start, &shape)?),
            _ => Static::Numbers(self.cube.read_f32(&var, &start, &shape)?),
        })
    }

    fn series_of(&self, group: &str) -> Vec<String> {
        let names = self.cube.vars().into_iter();
        let names = names.filter_map(|var| var.strip_prefix(&format!("{group}/")).map(str::to_owned));
        names.filter(|name| name != "time").collect()
    }

    /// Window means of `[minicube, time, y, x]` (of one cube) or `[time, y, x]` (the same for all).
    fn window_series(&self, var: &str, index: usize) -> Result<Vec<f32>, Error> {
        let full = self.cube.shape(var)?;
        let per_cube = self.cube.dims_of(var)?.first().is_some_and(|dim| dim == "minicube");
        let mut start = vec![0; full.len()];
        let mut shape = full.clone();
        if per_cube {
            start[0] = index as u64;
            shape[0] = 1;
        }
        let values = self.cube.read_f32(var, &start, &shape)?;
        let values = if per_cube { values.index_axis_move(ndarray::Axis(0), 0) } else { values };
        let found: Vec<usize> = full.iter().map(|&len| len as usize).collect();
        let values = values
            .into_dimensionality::<Ix3>()
            .map_err(|_| self.misshapen(var, "[minicube, time, y, x] or [time, y, x]", &found))?;
        Ok(window_mean(values.view()))
    }

    fn misshapen(&self, var: &str, expected: &str, found: &[usize]) -> Error {
        Error::Variable {
            path: self.cube.path().to_owned(),
            variable: var.to_owned(),
            expected: expected.to_owned(),
            found: format!("{found:?}"),
        }
    }
}

/// Outer edges of pixels whose centres are given, evenly spaced.
#[must_use]
pub(crate) fn outer_edges(xc: &[f64], yc: &[f64]) -> Bounds {
    let range = |centres: &[f64]| {
        let fold = centres.iter().fold((f64::MAX, f64::MIN), |(low, high), &v| (low.min(v), high.max(v)));
        let half = (fold.1 - fold.0) / (2.0 * (centres.len().max(2) - 1) as f64);
        (fold.0 - half, fold.1 + half)
    };
    let ((x_min, x_max), (y_min, y_max)) = (range(xc), range(yc));
    Bounds { x_min, y_min, x_max, y_max }
}

impl Band {
    fn reflectance(&self, at: usize) -> Option<f32> {
        let stored = self.stored[at];
        (stored != self.missing).then(|| (f32::from(stored) + self.shift) * self.scale)
    }
}

impl Observations {
    /// Masks the observations that their neighbours in time contradict.
    fn screen(&mut self, days: &[i32], screen: &Screen, [blue, red, nir]: [usize; 3]) {
        let (mut series, mut places) = (Vec::new(), Vec::new());
        for pixel in 0..self.pixels {
            series.clear();
            places.clear();
            for (time, &day) in days.iter().enumerate() {
                let at = time * self.pixels + pixel;
                let value = |band: usize| self.bands[band].reflectance(at).filter(|_| self.clear[at] != 0);
                if let (Some(blue), Some(red), Some(nir)) = (value(blue), value(red), value(nir)) {
                    series.push(Seen { day, blue, ndvi: ndvi(red, nir), nir });
                    places.push(at);
                }
            }
            for (&at, keep) in places.iter().zip(screen.keep(&series)) {
                self.clear[at] = u8::from(keep);
            }
        }
    }

    /// Copies one acquisition for [`crate::FillPlan::fill`]: valid where the class is clear and every band has data.
    pub(crate) fn load(
        &self,
        time: usize,
        pixels: Range<usize>,
        valid: &mut [u8],
        values: &mut [[f32; LANES]],
    ) {
        let range = time * self.pixels + pixels.start..time * self.pixels + pixels.end;
        valid.copy_from_slice(&self.clear[range.clone()]);
        for (band, values) in self.bands.iter().zip(values) {
            for ((value, valid), &stored) in
                values.iter_mut().zip(&mut *valid).zip(&band.stored[range.clone()])
            {
                *valid &= u8::from(stored != band.missing);
                *value = (f32::from(stored) + band.shift) * band.scale;
            }
        }
    }

    /// Reflectances of one pixel in one acquisition, clear or not; `None` where a band has no data.
    #[must_use]
    pub(crate) fn raw(&self, time: usize, pixel: usize) -> Option<(Vec<f32>, bool)> {
        let at = time * self.pixels + pixel;
        let values: Option<Vec<f32>> = self.bands.iter().map(|band| band.reflectance(at)).collect();
        Some((values?, self.clear[at] != 0))
    }
}
