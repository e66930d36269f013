//! DeepExtremes: Zarr cubes of seven years (<https://doi.org/10.5281/zenodo.10105992>), 128 × 128 pixels of 20 m, a frame every
//! five days that is stamped with the middle of its period, ERA5-Land weather of the same periods.
//!
//! Samples of the configured number of steps are cut from a cube as they are from Level 1: only whole years count, starts are
//! spread evenly over the seasons. Steps stay those of the cube. What lies before the archive begins is padding, and left out.

use std::path::{Path, PathBuf};

use minicube::{DType, Epsg, day_of_second, from_cf_day, sha256_bytes};
use ndarray::{Array1, Array2, Array3, Axis};
use rayon::prelude::*;
use serde_json::{Map, json};

use super::files::sizes;
use super::zarr_v2::ForeignZarr;
use super::{BANDS, CLEAR, ImportCube, Imported, centre, unfilled, weather_attrs};
use crate::settings::Settings;
use crate::starts::draw_starts;
use crate::store::{Sample, StaticVar, WeatherVar};
use crate::{Error, Steps};

const SOURCES: [&str; 4] = ["B02", "B03", "B04", "B8A"];
/// Classes of the learned cloud mask; 0 is clear. Its first steps are 0 because they were not computed.
const MASK: &str = "cloudmask_en";

/// Weather in our names, what it is, and its units where the cube does not say.
const WEATHER: [(&str, &str, &str); 8] = [
    ("e", "evaporation", "m"),
    ("pev", "potential evaporation", "m"),
    ("slhf", "surface latent heat flux", "J m-2"),
    ("sp", "surface pressure", "Pa"),
    ("sshf", "surface sensible heat flux", "J m-2"),
    ("ssr", "surface net solar radiation", "J m-2"),
    ("t2m", "temperature at 2 m", "K"),
    ("tp", "total precipitation", "m"),
];

/// The samples that are cut from each cube.
pub(super) fn cubes(files: &[PathBuf], settings: &Settings) -> Vec<Result<ImportCube, Error>> {
    let found: Vec<Vec<Result<ImportCube, Error>>> = files
        .par_iter()
        .map(|path| match samples(path, settings) {
            Ok(samples) => samples.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })
        .collect();
    found.into_iter().flatten().collect()
}

fn samples(path: &Path, settings: &Settings) -> Result<Vec<ImportCube>, Error> {
    let name = path.file_stem().and_then(|stem| stem.to_str());
    let name =
        name.ok_or_else(|| Error::Name { path: path.to_owned(), expected: "mc_<lon>_<lat>_….zarr" })?;
    let file = ForeignZarr::open(path)?;
    for variable in SOURCES.iter().chain(&["SCL", "x", "y"]) {
        file.shape(variable)?;
    }
    let epsg = projection(&file)?;
    let all = steps(&file)?;
    let first = first_frame(&file, all.len)?;
    let usable = all.window(first, all.len - first);
    let wanted = settings.steps + settings.samples_per_cube - 1;
    let days = usable.len as f64 * f64::from(usable.step_days);
    let usable = usable.whole_years(days, wanted);
    if usable.len < wanted {
        let expected = format!("{wanted} steps with frames ([level2] steps, samples_per_cube)");
        return Err(file.misshapen("time", &expected, &format!("{} of {}", usable.len, all.len)));
    }
    // `mc_<lon>_<lat>_<version>_<date>_<count>`: versions of a place share its split.
    let parts: Vec<&str> = name.splitn(4, '_').collect();
    let place = if parts.len() == 4 { parts[..3].join("_") } else { name.to_owned() };
    let seed = i64::from_str_radix(&sha256_bytes(place.as_bytes())[..15], 16).unwrap_or_default();
    let starts = draw_starts(&usable, settings.steps, settings.samples_per_cube, settings.seed, seed);
    Ok(starts
        .into_iter()
        .map(|start| {
            let window = usable.window(start, settings.steps);
            ImportCube {
                id: format!("{name}_{}", from_cf_day(window.first_day).format("%Y%m%d")),
                tile: format!("epsg{}", epsg.0),
                place: place.clone(),
                sizes: sizes(&[path.to_owned()]),
                files: vec![path.to_owned()],
                window: Some(window),
            }
        })
        .collect())
}

/// Decodes a sample.
pub(super) fn load(cube: &ImportCube, context_steps: Option<usize>) -> Result<Imported, Error> {
    let (Some(path), Some(window)) = (cube.files.first(), cube.window) else {
        return Err(Error::Name { path: cube.id.clone().into(), expected: "mc_<lon>_<lat>_….zarr" });
    };
    let file = ForeignZarr::open(path)?;
    let all = steps(&file)?;
    let first = all.index_of(window.first_day).filter(|first| first + window.len <= all.len);
    let first = first.ok_or_else(|| file.misshapen("time", "the steps of the plan", "others"))?;
    let (xc, yc) = pixel_axes(&file)?;
    let (rows, cols, len) = (yc.len(), xc.len(), window.len);
    let frames = |name: &str| -> Result<Array2<f64>, Error> {
        let shape = file.shape(name)?;
        if shape != [all.len, rows, cols] {
            let expected = format!("[{}, {rows}, {cols}]", all.len);
            return Err(file.misshapen(name, &expected, &format!("{shape:?}")));
        }
        let read = file.read(name, &[first, 0, 0], &[len, rows, cols])?;
        read.into_shape_with_order((len, rows * cols))
            .map_err(|error| file.misshapen(name, "[time, y, x]", &error.to_string()))
    };
    let mut values = Array3::from_elem((BANDS.len(), len, rows * cols), f32::NAN);
    for (band, source) in SOURCES.iter().enumerate() {
        values.index_axis_mut(Axis(0), band).assign(&frames(source)?.mapv(|value| value as f32));
    }
    let mut valid = frames("SCL")?.mapv(|class| CLEAR.contains(&(class as u8)));
    if file.has(MASK) {
        ndarray::Zip::from(&mut valid).and(&frames(MASK)?).for_each(|valid, &mask| *valid &= mask == 0.0);
    }
    let epsg = projection(&file)?;
    let middle = centre(&xc, &yc, epsg);
    let sample = Sample {
        id: cube.id.clone(),
        cube_id: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        lon: middle.lon,
        lat: middle.lat,
        steps: window,
        xc: xc.clone(),
        yc: yc.clone(),
    };
    Ok(Imported {
        sample,
        epsg,
        rows,
        cols,
        context_steps: context_steps.unwrap_or(len / 3),
        frames: unfilled(values, valid, window.step_days),
        weather: weather(&file, first, len)?,
        statics: statics(&file, (&yc, &xc))?,
        missing_weather: 0,
    })
}

/// The periods of a cube, of which `time` has the middles.
fn steps(file: &ForeignZarr) -> Result<Steps, Error> {
    const DAY: i64 = 86_400;
    let times = file.seconds()?;
    let wrong = |found: String| {
        file.misshapen("time", "the middles of periods of equal length in whole days, ascending", &found)
    };
    let (Some(&first), Some(&second)) = (times.first(), times.get(1)) else {
        return Err(wrong(format!("{} times", times.len())));
    };
    let period = second - first;
    if period < DAY || period % DAY != 0 {
        return Err(wrong(format!("a period of {} days", period as f64 / DAY as f64)));
    }
    if let Some(k) = times.windows(2).position(|pair| pair[1] - pair[0] != period) {
        return Err(wrong(format!("{} seconds between times {k} and {}", times[k + 1] - times[k], k + 1)));
    }
    let begin = first - period / 2;
    if begin % DAY != 0 {
        return Err(wrong(format!("a first period that begins {} hours after midnight", begin % DAY / 3600)));
    }
    Ok(Steps { first_day: day_of_second(begin), step_days: (period / DAY) as i32, len: times.len() })
}

/// The first frame that has a value, chunk by chunk: everything before is padding.
fn first_frame(file: &ForeignZarr, len: usize) -> Result<usize, Error> {
    let name = SOURCES[0];
    let shape = file.shape(name)?;
    let [frames, rows, cols] = shape[..] else {
        return Err(file.misshapen(name, "[time, y, x]", &format!("{shape:?}")));
    };
    if frames != len {
        return Err(file.misshapen(name, &format!("{len} times"), &frames.to_string()));
    }
    let chunk = file.chunk_len(name)?;
    for start in (0..len).step_by(chunk.max(1)) {
        let values = file.read(name, &[start, 0, 0], &[chunk.min(len - start), rows, cols])?;
        let found = values.outer_iter().position(|frame| frame.iter().any(|value| value.is_finite()));
        if let Some(k) = found {
            return Ok(start + k);
        }
    }
    Err(file.misshapen(name, "at least one frame with values", "none"))
}

fn projection(file: &ForeignZarr) -> Result<Epsg, Error> {
    let attrs = file.attrs();
    let text = attrs.get("spatial_ref").and_then(|text| text.as_str()).unwrap_or("nothing");
    let code = text.strip_prefix("EPSG:").and_then(|code| code.parse().ok());
    code.map(Epsg).ok_or_else(|| file.misshapen("attribute spatial_ref", "EPSG:<code>", text))
}

/// Eastings, ascending, and northings, descending, of the pixel centres.
fn pixel_axes(file: &ForeignZarr) -> Result<(Vec<f64>, Vec<f64>), Error> {
    let (xc, yc) = (file.axis("x")?, file.axis("y")?);
    for (name, axis, sign) in [("x", &xc, 1.0), ("y", &yc, -1.0)] {
        let step = axis.get(1).map_or(f64::NAN, |second| second - axis[0]);
        let even = axis.windows(2).all(|pair| (pair[1] - pair[0] - step).abs() < 1e-3 * step.abs());
        if !(even && step * sign > 0.0) {
            let expected = if name == "x" {
                "ascending eastings at equal distances"
            } else {
                "descending northings at equal distances"
            };
            return Err(file.misshapen(
                name,
                expected,
                &format!("{} values from {:?}", axis.len(), axis.first()),
            ));
        }
    }
    Ok((xc, yc))
}

/// The weather that there is, with the statistics of its periods.
fn weather(
    file: &ForeignZarr,
    first: usize,
    len: usize,
) -> Result<Vec<(WeatherVar, ndarray::ArrayD<f32>)>, Error> {
    let mut found = Vec::new();
    for (name, what, units) in WEATHER {
        for stat in ["mean", "min", "max"] {
            let variable = format!("{name}_{stat}");
            if !file.has(&variable) {
                continue;
            }
            let series = file.axis(&variable)?;
            let part = series.get(first..first + len);
            let part = part.ok_or_else(|| {
                file.misshapen(
                    &variable,
                    &format!("{} values or more", first + len),
                    &series.len().to_string(),
                )
            })?;
            let units = file.text(&variable, "units").unwrap_or_else(|| units.to_owned());
            let attrs = weather_attrs(&format!("{stat} of {what} over the days of the step"), &units);
            let values: Array1<f32> = part.iter().map(|&value| value as f32).collect();
            found.push((WeatherVar { name: variable, attrs, window: None }, values.into_dyn()));
        }
    }
    Ok(found)
}

/// Elevation, and the land cover of ESA CCI, which is coarser: each pixel has the class of the nearest cell.
fn statics(file: &ForeignZarr, (yc, xc): (&[f64], &[f64])) -> Result<Vec<(StaticVar, Array2<f32>)>, Error> {
    let plane = |name: &str, rows: usize, cols: usize| -> Result<Array2<f64>, Error> {
        let shape = file.shape(name)?;
        if shape != [rows, cols] {
            return Err(file.misshapen(name, &format!("[{rows}, {cols}]"), &format!("{shape:?}")));
        }
        file.read(name, &[0, 0], &[rows, cols])?
            .into_dimensionality()
            .map_err(|error| file.misshapen(name, "[y, x]", &error.to_string()))
    };
    let mut found = Vec::new();
    if file.has("cop_dem") {
        let attrs = Map::from_iter([
            ("long_name".into(), json!("elevation (cop_dem)")),
            ("units".into(), json!("m")),
        ]);
        let values = plane("cop_dem", yc.len(), xc.len())?.mapv(|value| value as f32);
        found.push((StaticVar { name: "dem".into(), dtype: DType::F32, attrs }, values));
    }
    if file.has("lccs_class") {
        let (y, x) = (file.axis("y_300")?, file.axis("x_300")?);
        let classes = plane("lccs_class", y.len(), x.len())?;
        let nearest = |axis: &[f64], at: f64| {
            let distance = |&a: &usize, &b: &usize| (axis[a] - at).abs().total_cmp(&(axis[b] - at).abs());
            (0..axis.len()).min_by(distance).unwrap_or_default()
        };
        let (rows, cols): (Vec<usize>, Vec<usize>) =
            (yc.iter().map(|&at| nearest(&y, at)).collect(), xc.iter().map(|&at| nearest(&x, at)).collect());
        let values = Array2::from_shape_fn((rows.len(), cols.len()), |(row, col)| {
            classes[[rows[row], cols[col]]] as f32
        });
        let attrs = Map::from_iter([(
            "long_name".into(),
            json!("land-cover class of ESA CCI (LCCS), 10 to 220; 0 = none"),
        )]);
        found.push((StaticVar { name: "lccs".into(), dtype: DType::U8, attrs }, values));
    }
    Ok(found)
}
