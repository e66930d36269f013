//! EarthNet2021x and GreenEarthNet: NetCDF cubes of earthnet-minicuber (<https://doi.org/10.48550/arXiv.2303.16198>).
//! Daily time axis, Sentinel-2 on every fifth day from index 4 on, E-OBS weather, integers packed by `scale_factor` and
//! `add_offset`.

use std::path::{Path, PathBuf};

use minicube::{DType, LonLat, NaiveDate, Tile, XY, from_cf_day, to_cf_day};
use ndarray::{Array2, Array3, aview1};
use netcdf::AttributeValue;
use serde_json::{Map, json};

use super::files::sizes;
use super::{BANDS, CLEAR, ImportCube, Imported, centre, pixel_centres, unfilled, weather_attrs};
use crate::store::{Sample, StaticVar, WeatherVar};
use crate::utm::{to_utm, zone_of};
use crate::weather::{STATISTICS, step_statistics};
use crate::{Error, Steps};

const STEP_DAYS: usize = 5;
const SOURCES: [&str; 4] = ["s2_B02", "s2_B03", "s2_B04", "s2_B8A"];

/// Cloud masks, the newer first; 0 = clear.
const MASKS: [&str; 2] = ["s2_dlmask", "s2_mask"];

/// Elevation models, the best first.
const ELEVATIONS: [&str; 3] = ["cop_dem", "nasa_dem", "alos_dem"];

/// Class layers and their names here.
const CLASSES: [(&str, &str, &str); 2] = [
    ("esawc_lc", "landcover", "ESA WorldCover class, 10 to 100"),
    ("geom_cls", "geomorphon", "landform, 1 flat to 10 depression"),
];

/// The cubes that the files make: one each.
pub(super) fn cubes(files: &[PathBuf]) -> Vec<Result<ImportCube, Error>> {
    files
        .iter()
        .map(|path| {
            let id = path.file_stem().and_then(|stem| stem.to_str());
            let id = id.ok_or_else(|| Error::Name { path: path.clone(), expected: "<name>.nc" })?.to_owned();
            let tile = id.split('_').find(|word| Tile::from_id(word).is_ok()).unwrap_or("cubes").to_owned();
            let is_date = |word: &&str| word.parse::<NaiveDate>().is_err();
            let place = id.split('_').filter(is_date).collect::<Vec<_>>().join("_");
            Ok(ImportCube {
                id,
                tile,
                place,
                sizes: sizes(std::slice::from_ref(path)),
                files: vec![path.clone()],
                window: None,
            })
        })
        .collect()
}

/// Opens a cube and checks that its variables are there.
pub(super) fn inspect(cube: &ImportCube) -> Result<(), Error> {
    for path in &cube.files {
        let file = Nc::open(path)?;
        for name in ["time", "lat", "lon"].iter().chain(&SOURCES).chain(&["s2_SCL"]) {
            file.variable(name)?;
        }
    }
    Ok(())
}

/// Decodes a cube.
pub(super) fn load(cube: &ImportCube, context_steps: Option<usize>) -> Result<Imported, Error> {
    let Some(path) = cube.files.first() else {
        return Err(Error::Name { path: cube.id.clone().into(), expected: "<name>.nc" });
    };
    let file = Nc::open(path)?;
    let days = file.days()?;
    let (lat, lon) = (file.read("lat")?, file.read("lon")?);
    let (rows, cols) = (lat.len(), lon.len());
    let len = days.len() / STEP_DAYS;
    let steps = Steps { first_day: days[0], step_days: STEP_DAYS as i32, len };

    let mut values = Array3::from_elem((BANDS.len(), len, rows * cols), f32::NAN);
    for (band, source) in SOURCES.iter().enumerate() {
        values.index_axis_mut(ndarray::Axis(0), band).assign(&file.frames(
            source,
            days.len(),
            rows * cols,
        )?);
    }
    let classes = file.frames("s2_SCL", days.len(), rows * cols)?;
    let mut valid = classes.mapv(|class| CLEAR.contains(&(class as u8)));
    if let Some(mask) = MASKS.iter().find(|name| file.has(name)) {
        let mask = file.frames(mask, days.len(), rows * cols)?;
        ndarray::Zip::from(&mut valid).and(&mask).for_each(|valid, &mask| *valid &= mask == 0.0);
    }

    let (epsg, xc, yc) = grid(cube, &lat, &lon, path)?;
    let middle = centre(&xc, &yc, epsg);
    let sample = Sample {
        id: format!("{}_{}", cube.id, from_cf_day(steps.first_day).format("%Y%m%d")),
        cube_id: cube.id.clone(),
        lon: middle.lon,
        lat: middle.lat,
        steps,
        xc,
        yc,
    };
    Ok(Imported {
        sample,
        epsg,
        rows,
        cols,
        context_steps: context_steps.unwrap_or(len / 3),
        frames: unfilled(values, valid, STEP_DAYS as i32),
        weather: weather(&file, &days, &steps)?,
        statics: statics(&file, rows, cols)?,
        missing_weather: 0,
    })
}

/// Projection and pixel centres. The labels `lat` and `lon` are no reprojected grid: the pixels fill the upright UTM
/// rectangle between the positions of the outer upper-left and lower-right corners (checked against the native 20 m
/// scenes of the same dates; the labels themselves are up to two pixels off).
fn grid(
    cube: &ImportCube,
    lat: &[f64],
    lon: &[f64],
    path: &Path,
) -> Result<(minicube::Epsg, Vec<f64>, Vec<f64>), Error> {
    let (rows, cols) = (lat.len(), lon.len());
    if rows < 2 || cols < 2 || lat[0] <= lat[rows - 1] || lon[0] >= lon[cols - 1] {
        return Err(Error::Variable {
            path: path.to_owned(),
            variable: "lat, lon".into(),
            expected: "at least 2 descending latitudes and 2 ascending longitudes".into(),
            found: format!("{rows} and {cols}"),
        });
    }
    let half = LonLat {
        lon: (lon[cols - 1] - lon[0]) / (cols - 1) as f64 / 2.0,
        lat: (lat[0] - lat[rows - 1]) / (rows - 1) as f64 / 2.0,
    };
    let upper_left = LonLat { lon: lon[0] - half.lon, lat: lat[0] + half.lat };
    let lower_right = LonLat { lon: lon[cols - 1] + half.lon, lat: lat[rows - 1] - half.lat };
    let epsg = Tile::from_id(&cube.tile).map_or_else(|_| zone_of(upper_left), |tile| tile.epsg);
    let nowhere = XY { x: f64::NAN, y: f64::NAN };
    let from = to_utm(upper_left, epsg).unwrap_or(nowhere);
    let to = to_utm(lower_right, epsg).unwrap_or(nowhere);
    let pixel = ((to.x - from.x) / cols as f64, (from.y - to.y) / rows as f64);
    let (xc, yc) = pixel_centres(from, pixel, rows, cols);
    Ok((epsg, xc, yc))
}

/// Mean, minimum and maximum over the days of each step of every E-OBS variable, in its own unit.
fn weather(file: &Nc, days: &[i32], steps: &Steps) -> Result<Vec<(WeatherVar, ndarray::ArrayD<f32>)>, Error> {
    let mut found = Vec::new();
    for (source, name) in file.series("eobs_") {
        let values: Vec<f32> = file.read(&source)?.into_iter().map(|value| value as f32).collect();
        let units = file.text(&source, "units").unwrap_or_else(|| "1".into());
        let long_name = file.text(&source, "long_name").unwrap_or_else(|| name.clone());
        let statistics = step_statistics(days, &values, steps);
        for statistic in STATISTICS {
            let (stat, series) = (statistic.name(), statistics.series(statistic));
            let attrs = weather_attrs(&format!("{stat} of {long_name} over the days of the step"), &units);
            let var = WeatherVar { name: format!("{name}_{stat}"), attrs, window: None };
            found.push((var, aview1(series).to_owned().into_dyn()));
        }
    }
    Ok(found)
}

fn statics(file: &Nc, rows: usize, cols: usize) -> Result<Vec<(StaticVar, Array2<f32>)>, Error> {
    let mut found = Vec::new();
    let mut push = |source: &str, name: &str, dtype, long_name: &str, units: &str| -> Result<(), Error> {
        let values: Vec<f32> = file.read(source)?.into_iter().map(|value| value as f32).collect();
        let values = Array2::from_shape_vec((rows, cols), values)
            .map_err(|error| file.misshapen(source, "[lat, lon]", &error.to_string()))?;
        let mut attrs = Map::from_iter([("long_name".to_owned(), json!(long_name))]);
        if !units.is_empty() {
            attrs.insert("units".into(), json!(units));
        }
        found.push((StaticVar { name: name.to_owned(), dtype, attrs }, values));
        Ok(())
    };
    if let Some(source) = ELEVATIONS.iter().find(|name| file.has(name)) {
        push(source, "dem", DType::F32, &format!("elevation ({source})"), "m")?;
    }
    for (source, name, long_name) in CLASSES {
        if file.has(source) {
            push(source, name, DType::U8, long_name, "")?;
        }
    }
    Ok(found)
}

/// An open cube.
struct Nc {
    path: PathBuf,
    file: netcdf::File,
}

impl Nc {
    fn open(path: &Path) -> Result<Nc, Error> {
        let file = netcdf::open(path).map_err(|error| Error::Unreadable {
            path: path.to_owned(),
            format: "NetCDF",
            reason: error.to_string(),
        })?;
        Ok(Nc { path: path.to_owned(), file })
    }

    fn has(&self, name: &str) -> bool {
        self.file.variable(name).is_some()
    }

    fn variable(&self, name: &str) -> Result<netcdf::Variable<'_>, Error> {
        self.file.variable(name).ok_or_else(|| {
            let names: Vec<String> = self.file.variables().map(|var| var.name()).collect();
            self.misshapen(name, "a variable of this name", &names.join(", "))
        })
    }

    /// Variables along time only, with the prefix and without it, by name.
    fn series(&self, prefix: &str) -> Vec<(String, String)> {
        let names = self.file.variables().filter(|var| var.dimensions().len() == 1).map(|var| var.name());
        let mut found: Vec<(String, String)> =
            names.filter_map(|name| Some((name.clone(), name.strip_prefix(prefix)?.to_owned()))).collect();
        found.sort();
        found
    }

    /// A whole variable, unpacked; missing values are NaN.
    fn read(&self, name: &str) -> Result<Vec<f64>, Error> {
        let var = self.variable(name)?;
        let number = |key: &str| match var.attribute_value(key) {
            Some(Ok(value)) => as_number(&value),
            _ => None,
        };
        let (scale, offset) = (number("scale_factor").unwrap_or(1.0), number("add_offset").unwrap_or(0.0));
        let fill = number("_FillValue");
        let stored: Vec<f64> = var.get_values(..).map_err(|error| Error::Unreadable {
            path: self.path.clone(),
            format: "NetCDF",
            reason: format!("{name}: {error}"),
        })?;
        let unpack = |value: f64| if Some(value) == fill { f64::NAN } else { value * scale + offset };
        Ok(stored.into_iter().map(unpack).collect())
    }

    /// Every fifth day of a `[time, lat, lon]` variable: `[step, pixel]`.
    fn frames(&self, name: &str, days: usize, pixels: usize) -> Result<Array2<f32>, Error> {
        let values = self.read(name)?;
        if values.len() != days * pixels {
            let found = format!("{} values", values.len());
            return Err(self.misshapen(name, &format!("{days} days of {pixels} pixels"), &found));
        }
        let day = |step: usize| step * STEP_DAYS + STEP_DAYS - 1;
        Ok(Array2::from_shape_fn((days / STEP_DAYS, pixels), |(k, pixel)| {
            values[day(k) * pixels + pixel] as f32
        }))
    }

    fn text(&self, name: &str, key: &str) -> Option<String> {
        match self.file.variable(name)?.attribute_value(key)? {
            Ok(AttributeValue::Str(text)) => Some(text),
            _ => None,
        }
    }

    /// The daily time axis as CF days.
    fn days(&self) -> Result<Vec<i32>, Error> {
        let units = self.text("time", "units").unwrap_or_default();
        let wrong = |found: &str| self.misshapen("time", "consecutive days since a date, at least 5", found);
        let epoch =
            units.strip_prefix("days since ").and_then(|rest| rest.get(..10)?.parse::<NaiveDate>().ok());
        let epoch = to_cf_day(epoch.ok_or_else(|| wrong(&units))?);
        let days: Vec<i32> = self.read("time")?.into_iter().map(|day| epoch + day.round() as i32).collect();
        if days.len() < STEP_DAYS || days.windows(2).any(|pair| pair[1] != pair[0] + 1) {
            return Err(wrong(&format!("{} times with gaps or too few", days.len())));
        }
        Ok(days)
    }

    fn misshapen(&self, variable: &str, expected: &str, found: &str) -> Error {
        Error::Variable {
            path: self.path.clone(),
            variable: variable.to_owned(),
            expected: expected.to_owned(),
            found: found.to_owned(),
        }
    }
}

fn as_number(value: &AttributeValue) -> Option<f64> {
    Some(match *value {
        AttributeValue::Float(v) => f64::from(v),
        AttributeValue::Double(v) => v,
        AttributeValue::Short(v) => f64::from(v),
        AttributeValue::Int(v) => f64::from(v),
        AttributeValue::Schar(v) => f64::from(v),
        AttributeValue::Uchar(v) => f64::from(v),
        AttributeValue::Ushort(v) => f64::from(v),
        AttributeValue::Uint(v) => f64::from(v),
        AttributeValue::Longlong(v) => v as f64,
        _ => return None,
    })
}
