//! EarthNet2021: `.npz` cubes of 128 × 128 pixels of 20 m, a frame every 5 days, weather of 80 × 80 cells daily
//! (<https://doi.org/10.1109/CVPRW53098.2021.00124>). Axes `h, w, c, t`, half precision.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use minicube::{DType, NaiveDate, Npz, Tile, XY, from_cf_day, to_cf_day};
use ndarray::{Array2, Array3, Array4, ArrayD, Axis, Ix3, Ix4, s};
use serde_json::{Map, json};

use super::files::sizes;
use super::{BANDS, ImportCube, Imported, TILE_PIXELS_20M, centre, pixel_centres, unfilled, weather_attrs};
use crate::store::{Sample, StaticVar, WeatherVar};
use crate::{Error, Steps};

const STEP_DAYS: i32 = 5;
const PIXEL_M: f64 = 20.0;

const NAME: &str = "[context_|target_]29SQC_2017-07-02_2017-11-28_<x0>_<x1>_<y0>_<y1>_<4 meso pixels>.npz";

/// Rows to add to the pixel numbers of the tiles of the "extreme" split, which were counted from another corner.
const SHIFTED_ROWS: usize = 57;
const SHIFTED_TILES: [&str; 4] = ["32UMC", "32UNC", "32UPC", "32UQC"];

/// Channels of `mesodynamic`, with how they are scaled in the files; they are kept so.
const WEATHER: [(&str, &str); 5] = [
    ("rr", "rainfall in mm / 50"),
    ("pp", "(sea-level pressure in hPa - 900) / 200"),
    ("tg", "(mean temperature in degree C + 50) / 100"),
    ("tn", "(minimum temperature in degree C + 50) / 100"),
    ("tx", "(maximum temperature in degree C + 50) / 100"),
];
const PRESSURE: usize = 1;

/// What a file's name says.
struct Name {
    cube: String,
    tile: String,
    place: String,
    start: NaiveDate,
    /// First and last pixel from north to south and from west to east.
    rows: (usize, usize),
    cols: (usize, usize),
}

impl Name {
    fn parse(path: &Path) -> Result<(Name, Part), Error> {
        let wrong = || Error::Name { path: path.to_owned(), expected: NAME };
        let stem = path.file_stem().and_then(|stem| stem.to_str()).ok_or_else(wrong)?;
        let (part, cube) = match (stem.strip_prefix("context_"), stem.strip_prefix("target_")) {
            (Some(cube), _) => (Part::Context, cube),
            (_, Some(cube)) => (Part::Target, cube),
            _ => (Part::Whole, stem),
        };
        let words: Vec<&str> = cube.split('_').collect();
        let [tile, start, _end, pixels @ ..] = words.as_slice() else { return Err(wrong()) };
        let pixels: Vec<usize> = pixels.iter().map_while(|word| word.parse().ok()).collect();
        let [x0, x1, y0, y1, _, _, _, _] = pixels[..] else { return Err(wrong()) };
        let start = start.parse().map_err(|_| wrong())?;
        let place = format!("{tile}_{x0}_{x1}_{y0}_{y1}");
        let shift = if SHIFTED_TILES.contains(tile) { SHIFTED_ROWS } else { 0 };
        if x1 <= x0 || y1 <= y0 || x1 > TILE_PIXELS_20M || y1 > TILE_PIXELS_20M {
            return Err(wrong());
        }
        let (rows, cols) = ((x0 + shift, x1 + shift), (y0, y1));
        Ok((Name { cube: cube.to_owned(), tile: (*tile).to_owned(), place, start, rows, cols }, part))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    Context,
    Target,
}

/// The cubes that the files make; a context without its target and the reverse are errors.
pub(super) fn cubes(files: &[PathBuf]) -> Vec<Result<ImportCube, Error>> {
    let mut found = Vec::new();
    let mut halves: BTreeMap<String, (Name, [Option<PathBuf>; 2])> = BTreeMap::new();
    for path in files {
        match Name::parse(path) {
            Err(error) => found.push(Err(error)),
            Ok((name, Part::Whole)) => found.push(Ok(cube(name, vec![path.clone()]))),
            Ok((name, part)) => {
                let (_, parts) = halves.entry(name.cube.clone()).or_insert((name, [None, None]));
                parts[usize::from(part == Part::Target)] = Some(path.clone());
            }
        }
    }
    for (id, (name, parts)) in halves {
        found.push(match parts {
            [Some(context), Some(target)] => Ok(cube(name, vec![context, target])),
            [Some(path), None] => Err(Error::Unpaired { path, missing: format!("target_{id}.npz") }),
            [None, path] => {
                Err(Error::Unpaired { path: path.unwrap_or_default(), missing: format!("context_{id}.npz") })
            }
        });
    }
    found
}

fn cube(name: Name, files: Vec<PathBuf>) -> ImportCube {
    let sizes = sizes(&files);
    ImportCube { id: name.cube, tile: name.tile, place: name.place, files, sizes, window: None }
}

/// Opens the files of a cube and checks the shapes of their arrays.
pub(super) fn inspect(cube: &ImportCube) -> Result<(), Error> {
    let mut frames = 0;
    for path in &cube.files {
        let shape = Npz::open(path)?.shape("highresdynamic")?;
        if shape.len() != 4 || shape[2] < 5 {
            return Err(misshapen(path, "highresdynamic", "[128, 128, 5 or 7, t]", &shape));
        }
        frames += shape[3];
    }
    let Some(path) = cube.files.first() else { return Ok(()) };
    let mut file = Npz::open(path)?;
    let shape = file.shape("mesodynamic")?;
    let days = frames * STEP_DAYS as usize;
    if shape.len() != 4 || shape[2] != WEATHER.len() || shape[3] < days {
        return Err(misshapen(path, "mesodynamic", &format!("[80, 80, 5, {days}]"), &shape));
    }
    let shape = file.shape("highresstatic")?;
    if shape.len() == 3 { Ok(()) } else { Err(misshapen(path, "highresstatic", "[128, 128, 1]", &shape)) }
}

/// Decodes a cube. Bands, elevation and weather keep the dataset's scaling.
pub(super) fn load(cube: &ImportCube, context_steps: Option<usize>) -> Result<Imported, Error> {
    let (name, _) = cube.files.first().map_or_else(
        || Err(Error::Name { path: cube.id.clone().into(), expected: NAME }),
        |path| Name::parse(path),
    )?;
    let path = &cube.files[0];
    let mut first = Npz::open(path)?;
    let mut parts = vec![read::<Ix4>(&mut first, path, "highresdynamic")?];
    for path in &cube.files[1..] {
        parts.push(read::<Ix4>(&mut Npz::open(path)?, path, "highresdynamic")?);
    }
    let context = context_steps.unwrap_or(match parts.as_slice() {
        [whole] => whole.len_of(Axis(3)) / 3,
        _ => parts[0].len_of(Axis(3)),
    });
    let (rows, cols, ..) = parts[0].dim();
    let len = parts.iter().map(|part| part.len_of(Axis(3))).sum();
    let steps = Steps { first_day: to_cf_day(name.start), step_days: STEP_DAYS, len };
    let (values, valid) = frames(&parts, rows * cols, len, path)?;

    let tile = Tile::from_id(&name.tile)?;
    let corner = XY {
        x: tile.origin.x + name.cols.0 as f64 * PIXEL_M,
        y: tile.origin.y - name.rows.0 as f64 * PIXEL_M,
    };
    // From the extent, so that coordinates stay right where a file holds the cube on a coarser grid.
    let pixel = (
        (name.cols.1 - name.cols.0) as f64 * PIXEL_M / cols as f64,
        (name.rows.1 - name.rows.0) as f64 * PIXEL_M / rows as f64,
    );
    let (xc, yc) = pixel_centres(corner, pixel, rows, cols);
    let middle = centre(&xc, &yc, tile.epsg);
    let sample = Sample {
        id: format!("{}_{}", cube.id, from_cf_day(steps.first_day).format("%Y%m%d")),
        cube_id: cube.id.clone(),
        lon: middle.lon,
        lat: middle.lat,
        steps,
        xc,
        yc,
    };
    let meso = read::<Ix4>(&mut first, path, "mesodynamic")?;
    let (weather, missing_weather) = weather(&meso, len);
    let dem = read::<Ix3>(&mut first, path, "highresstatic")?.index_axis_move(Axis(2), 0);
    let attrs = Map::from_iter([
        ("long_name".to_owned(), json!("(elevation in m + 2000) / 4000")),
        ("units".to_owned(), json!("1")),
    ]);
    let layer = StaticVar { name: "dem".into(), dtype: DType::F32, attrs };
    Ok(Imported {
        sample,
        epsg: tile.epsg,
        rows,
        cols,
        context_steps: context,
        frames: unfilled(values, valid, STEP_DAYS),
        weather,
        statics: vec![(layer, dem)],
        missing_weather,
    })
}

/// Bands `[band, step, pixel]` and validity `[step, pixel]` of the parts one after the other. The last channel is the
/// quality mask, 1 = bad.
fn frames(
    parts: &[Array4<f32>],
    pixels: usize,
    len: usize,
    path: &Path,
) -> Result<(Array3<f32>, Array2<bool>), Error> {
    let mut values = Array3::from_elem((BANDS.len(), len, pixels), f32::NAN);
    let mut valid = Array2::from_elem((len, pixels), false);
    let mut first = 0;
    for part in parts {
        let (rows, cols, channels, count) = part.dim();
        if rows * cols != pixels {
            return Err(misshapen(path, "highresdynamic", "context and target of one size", part.shape()));
        }
        for t in 0..count {
            for (pixel, channel) in part.slice(s![.., .., .., t]).lanes(Axis(2)).into_iter().enumerate() {
                for band in 0..BANDS.len() {
                    values[[band, first + t, pixel]] = channel[band];
                }
                valid[[first + t, pixel]] = channel[channels - 1] < 0.5;
            }
        }
        first += count;
    }
    Ok((values, valid))
}

/// 5-day means of the centre 2 × 2 cells, and the number of steps in which they hold missing values: those are stored
/// as "0 physical", which for the pressure is -4.5, far below any real value.
fn weather(meso: &Array4<f32>, steps: usize) -> (Vec<(WeatherVar, ArrayD<f32>)>, usize) {
    let (rows, cols, ..) = meso.dim();
    let (y, x) = (rows / 2 - 1, cols / 2 - 1);
    let days = STEP_DAYS as usize;
    let block = |k: usize, channel: usize, y: usize, x: usize| {
        meso.slice(s![y, x, channel, k * days..(k + 1) * days])
    };
    let series = WEATHER.iter().enumerate().map(|(channel, (name, long_name))| {
        let means = Array3::from_shape_fn((steps, 2, 2), |(k, i, j)| {
            (block(k, channel, y + i, x + j).iter().copied().map(f64::from).sum::<f64>() / days as f64) as f32
        });
        let attrs = weather_attrs(&format!("mean over the days of the step of {long_name}"), "1");
        (WeatherVar { name: format!("{name}_mean"), attrs, window: Some((2, 2)) }, means.into_dyn())
    });
    let missing = (0..steps)
        .filter(|&k| {
            (0..4).any(|i| block(k, PRESSURE, y + i / 2, x + i % 2).iter().any(|&pressure| pressure < 0.0))
        })
        .count();
    (series.collect(), missing)
}

fn read<D: ndarray::Dimension>(
    file: &mut Npz,
    path: &Path,
    name: &str,
) -> Result<ndarray::Array<f32, D>, Error> {
    let values = file.read(name)?;
    let shape = values.shape().to_vec();
    let expected = format!("{} dimensions", D::NDIM.unwrap_or_default());
    values.into_dimensionality().map_err(|_| misshapen(path, name, &expected, &shape))
}

fn misshapen(path: &Path, variable: &str, expected: &str, found: &[usize]) -> Error {
    Error::Variable {
        path: path.to_owned(),
        variable: variable.to_owned(),
        expected: expected.to_owned(),
        found: format!("{found:?}"),
    }
}
