//! Small conforming stores for the tests of the stages, and the check that every writer's output must pass.

mod disk;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{Days, NaiveDate};
use ndarray::{Array, Array1, Array2, Array3, Array4, IxDyn};
use serde_json::json;

use crate::{
    Bounds, CF_DAY_UNITS, CHUNK_DATES, CHUNK_PX, CubeSpec, CubeWriter, DType, Epsg, Error, Location, LonLat,
    Season, Split, VarSpec, add_crs, check, location_id, to_cf_day, write_atomic,
};

pub use disk::{Attempt, FullDisk, kib_on_disk, on_full_disk};

const PLAN: &str = "0000000000000000";

/// A file or folder of the crate under test, by its path in the crate's folder, where cargo runs tests. Paths that were
/// compiled in are wrong where one build cache serves clones in several places.
#[must_use]
pub fn own_file(path: &str) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.into())
}

/// A file or folder of the real data in `../shared/data` beside the workspace; `None`, said aloud, where it is not there.
///
/// # Panics
/// If it is not there and `CI` is `true`.
#[must_use]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub fn real(name: &str) -> Option<PathBuf> {
    let path = own_file("../../shared/data").join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{} is missing", path.display());
    eprintln!("skipped: {} is not there", path.display());
    None
}

/// Panics with all violations if a sealed store breaks the rules of its schema.
///
/// # Panics
/// If the store cannot be read, is not sealed, or breaks a rule.
pub fn assert_conforms(path: &Path, schema: &str) {
    let violations = check(path, schema).unwrap_or_else(|error| panic!("{error}"));
    let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{}:\n{}", path.display(), lines.join("\n"));
    if let Err(error) = crate::Cube::open(path, schema) {
        panic!("{error}");
    }
}

/// A location without strata, in `train`: a cell (row, column) of a tile. Its outline is the box `[west, south, east,
/// north]`, degrees, and its centre that of the box.
#[must_use]
pub fn location(
    tile: &str,
    epsg: Epsg,
    (row, col): (usize, usize),
    bounds: Bounds,
    [west, south, east, north]: [f64; 4],
) -> Location {
    Location {
        id: location_id(tile, row, col),
        tile: tile.into(),
        epsg,
        row,
        col,
        bounds,
        lon: f64::midpoint(west, east),
        lat: f64::midpoint(south, north),
        strata: BTreeMap::new(),
        attributes: BTreeMap::new(),
        fold: None,
        weight: 1.0,
        split: Split::Train,
        seed: 1,
        polygon: [(west, south), (east, south), (east, north), (west, north), (west, south)]
            .map(|(lon, lat)| LonLat { lon, lat })
            .to_vec(),
    }
}

/// What is odd about a tiny Level-1 store.
#[derive(Clone, Copy, Debug, Default)]
pub struct Oddities {
    /// This cube has no clear pixel in any scene.
    pub all_cloud: Option<usize>,
    /// The second scene has the date of the first.
    pub twice: bool,
    /// The first two scenes are not in the order of time.
    pub out_of_order: bool,
    /// The weather of the first ten days is infinite.
    pub infinite: bool,
    /// Both cubes lie on the same ground.
    pub same_ground: bool,
}

/// A Level-1 store `35KMQ.zarr` in `dir`: 2 minicubes of 8 × 8 pixels, 10 km apart, two years of scenes every 5 days of
/// which a third is cloudy, bands whose reflectance follows the season, daily weather. Returns its path.
///
/// # Errors
/// Those of [`CubeWriter`].
pub fn tiny_level1(dir: &Path) -> Result<PathBuf, Error> {
    odd_level1(dir, Oddities::default())
}

/// As [`tiny_level1`], but odd.
///
/// # Errors
/// Those of [`CubeWriter`].
pub fn odd_level1(dir: &Path, odd: Oddities) -> Result<PathBuf, Error> {
    let (cubes, scenes, days, size) = (2_usize, 146_usize, 730_usize, 8_usize);
    let first = NaiveDate::from_ymd_opt(2021, 1, 1).unwrap_or_default();
    let band_dims = ["minicube", "time", "y", "x"];
    let chunk = [1, CHUNK_DATES, CHUNK_PX, CHUNK_PX];
    let shard = [1, scenes as u64, size as u64, size as u64];
    let mut spec = CubeSpec::new("level1")
        .dim("minicube", cubes)
        .dim("x", size)
        .dim("y", size)
        .dim("s2/time", scenes)
        .dim("smap/time", days)
        .dim("smap/smap_y", 1)
        .dim("smap/smap_x", 1)
        .dim("era5/time", days)
        .dim("era5/era5_y", 1)
        .dim("era5/era5_x", 1)
        .attr("tile", "35KMQ")
        .attr("epsg", 32735)
        .attr("size_px", size)
        .attr("resolution_m", 30.0)
        .attr("source_items", json!([]))
        .var(VarSpec::new("id", &["minicube"], DType::String))
        .var(VarSpec::new("lon", &["minicube"], DType::F64))
        .var(VarSpec::new("lat", &["minicube"], DType::F64))
        .var(VarSpec::new("xc", &["minicube", "x"], DType::F64))
        .var(VarSpec::new("yc", &["minicube", "y"], DType::F64))
        .var(VarSpec::new("s2/time", &["time"], DType::I32).attr("units", CF_DAY_UNITS))
        .var(VarSpec::new("s2/scene_id", &["time"], DType::String))
        .var(VarSpec::new("s2/baseline", &["time"], DType::F64))
        .var(VarSpec::new("s2/offset_applied", &["time"], DType::U8))
        .var(VarSpec::new("smap/time", &["time"], DType::I32).attr("units", CF_DAY_UNITS))
        .var(VarSpec::new("era5/time", &["time"], DType::I32).attr("units", CF_DAY_UNITS));
    for band in ["blue", "green", "red", "nir08"] {
        spec = spec.var(
            VarSpec::new(&format!("s2/{band}"), &band_dims, DType::U16)
                .chunk(&chunk)
                .shard(&shard)
                .missing(0)
                .attr("scale_factor", 1e-4)
                .attr("add_offset", -0.1)
                .attr("grid_mapping", "crs"),
        );
    }
    spec = spec.var(
        VarSpec::new("s2/scl", &band_dims, DType::U8).chunk(&chunk).shard(&shard).attr("grid_mapping", "crs"),
    );
    let soil_dims = ["minicube", "time", "smap_y", "smap_x"];
    spec = spec.var(VarSpec::new("smap/sm_rootzone", &soil_dims, DType::F32));
    for name in ["era5/t2m", "era5/tp", "era5/sp"] {
        spec = spec.var(VarSpec::new(name, &["time", "era5_y", "era5_x"], DType::F32));
    }
    for (name, dtype) in [("static/dem", DType::F32), ("static/landcover", DType::U8)] {
        spec = spec.var(VarSpec::new(name, &["minicube", "y", "x"], dtype).attr("grid_mapping", "crs"));
    }
    let path = dir.join("35KMQ.zarr");
    let writer = CubeWriter::create(&path, &add_crs(spec, Epsg(32735)), PLAN)?;
    let date = |day: usize| to_cf_day(first + Days::new(day as u64));
    let float = |shape: &[usize], f: &dyn Fn(&[usize]) -> f64| {
        Array::from_shape_fn(IxDyn(shape), |index| f(ndarray::Dimension::slice(&index)))
    };
    writer.write("crs", &[], Array::from_elem(IxDyn(&[]), 0_i32).view())?;
    writer.write_strings("id", &["35KMQ_1115".into(), "35KMQ_1215".into()])?;
    writer.write("lon", &[0], float(&[cubes], &|i| 27.0 + i[0] as f64).view())?;
    writer.write("lat", &[0], float(&[cubes], &|_| -20.0).view())?;
    let apart = if odd.same_ground { 0.0 } else { 10_000.0 };
    let east = |i: &[usize]| 441_000.0 + apart * i[0] as f64 + 30.0 * i[1] as f64;
    writer.write("xc", &[0, 0], float(&[cubes, size], &east).view())?;
    writer.write("yc", &[0, 0], float(&[cubes, size], &|i| 7_700_000.0 - 30.0 * i[1] as f64).view())?;
    let mut scene_days: Array1<i32> = (0..scenes).map(|i| date(i * 5)).collect();
    if odd.twice {
        scene_days[1] = scene_days[0];
    }
    if odd.out_of_order {
        scene_days.swap(0, 1);
    }
    writer.write("s2/time", &[0], scene_days.into_dyn().view())?;
    let ids: Vec<String> = (0..scenes).map(|i| format!("S2A_35KMQ_{i:03}_L2A")).collect();
    writer.write_strings("s2/scene_id", &ids)?;
    writer.write("s2/baseline", &[0], float(&[scenes], &|_| 3.0).view())?;
    writer.write("s2/offset_applied", &[0], Array1::from_elem(scenes, 0_u8).into_dyn().view())?;
    for group in ["smap", "era5"] {
        let all: Array1<i32> = (0..days).map(date).collect();
        writer.write(&format!("{group}/time"), &[0], all.into_dyn().view())?;
    }
    let shape = [cubes, scenes, size, size];
    let cloudy =
        |cube: usize, scene: usize| odd.all_cloud == Some(cube) || (scene * 7 + cube).is_multiple_of(3);
    for (band, base, swing) in
        [("blue", 500., -100.), ("green", 900., 0.), ("red", 900., -400.), ("nir08", 2500., 900.)]
    {
        let values = Array4::from_shape_fn(shape, |(c, t, y, x)| {
            let season = (t as f64 / 73.0 * std::f64::consts::TAU).sin();
            let clear = base + swing * season + (y * 10 + x) as f64;
            (if cloudy(c, t) { 7000.0 } else { clear } + 1000.0) as u16
        });
        writer.write(&format!("s2/{band}"), &[0; 4], values.into_dyn().view())?;
    }
    let scl = Array4::from_shape_fn(shape, |(c, t, _, _)| if cloudy(c, t) { 9_u8 } else { 4 });
    writer.write("s2/scl", &[0; 4], scl.into_dyn().view())?;
    let soil = float(&[cubes, days, 1, 1], &|i| 0.2 + 0.1 * (i[1] as f64 / 60.0).sin()).mapv(|v| v as f32);
    writer.write("smap/sm_rootzone", &[0; 4], soil.view())?;
    for (name, mean, swing) in
        [("era5/t2m", 293.0, 8.0), ("era5/tp", 0.002, 0.002), ("era5/sp", 90_000.0, 500.0)]
    {
        let value = |i: &[usize]| mean + swing * (i[0] as f64 / 58.0).sin();
        let odd_value = |i: &[usize]| if odd.infinite && i[0] < 10 { f64::INFINITY } else { value(i) };
        writer.write(name, &[0; 3], float(&[days, 1, 1], &odd_value).mapv(|v| v as f32).view())?;
    }
    let dem = Array3::from_shape_fn((cubes, size, size), |(c, y, x)| (1000 + c * 10 + y + x) as f32);
    writer.write("static/dem", &[0; 3], dem.into_dyn().view())?;
    let cover = Array3::from_shape_fn((cubes, size, size), |(_, y, _)| if y == 0 { 80_u8 } else { 30 });
    writer.write("static/landcover", &[0; 3], cover.into_dyn().view())?;
    writer.seal()?;
    Ok(path)
}

/// A Level-2 folder in `dir` with stores for `train` (`samples` of them), `val` and `test` (two each), `steps` ten-day
/// steps and `size` × `size` pixels. Vegetation answers the rain of the step: NDVI = 0.2 + 0.5 × rain share + a
/// pattern in space. Returns the folder.
///
/// # Errors
/// Those of [`CubeWriter`].
pub fn tiny_level2(dir: &Path, samples: usize, steps: usize, size: usize) -> Result<PathBuf, Error> {
    let season = |t: usize| (t as f64 / 36.5 * std::f64::consts::TAU).cos();
    level2_under(dir, samples, steps, size, &|name, sample, t| match name {
        "tp_mean" => 0.004 * rain_share(sample, t),
        "sp_mean" => 90_000.0 + 300.0 * season(t),
        "t2m_min" => 288.0 + 6.0 * season(t),
        "t2m_max" => 298.0 + 6.0 * season(t),
        _ => 293.0 + 6.0 * season(t),
    })
}

/// [`tiny_level2`] under other weather: of a weather input (`tp_mean`, `t2m_mean`, `t2m_min`, `t2m_max`, `sp_mean`, in m, K
/// and Pa), a sample's number, which goes on from split to split by 17, and a step. Vegetation is that of [`tiny_level2`].
///
/// # Errors
/// Those of [`CubeWriter`].
pub fn level2_under(
    dir: &Path,
    samples: usize,
    steps: usize,
    size: usize,
    weather: &dyn Fn(&str, usize, usize) -> f64,
) -> Result<PathBuf, Error> {
    let folder = dir.join("level2");
    for split in Split::ALL {
        let count = if split == Split::Train { samples } else { 2 };
        level2_store(&folder.join(split.name()).join("35KMQ.zarr"), split, [count, steps, size], weather)?;
    }
    let entry = |mean: f64, std: f64| json!({"mean": mean, "std": std, "min": mean - 3.0 * std, "max": mean + 3.0 * std, "count": 100});
    let normalisation = json!({
        "weather/tp_mean": entry(0.002, 0.0013), "weather/t2m_mean": entry(293.0, 5.0),
        "weather/sp_mean": entry(90_000.0, 300.0), "static/dem": entry(1000.0, 10.0),
        "blue": entry(0.06, 0.01), "green": entry(0.08, 0.01), "red": entry(0.1, 0.03), "nir": entry(0.25, 0.05),
        "kndvi": entry(0.2, 0.1), "ndvi": entry(0.4, 0.15),
    });
    write_atomic(&folder.join("normalisation.json"), normalisation.to_string().as_bytes())?;
    Ok(folder)
}

/// Rain of a sample and step, 0..1.
fn rain_share(sample: usize, t: usize) -> f64 {
    0.5 + 0.5 * ((t + 5 * sample) as f64 / 6.0).sin()
}

fn level2_store(
    path: &Path,
    split: Split,
    [samples, steps, size]: [usize; 3],
    weather: &dyn Fn(&str, usize, usize) -> f64,
) -> Result<(), Error> {
    let first = NaiveDate::from_ymd_opt(2021, 1, 1).unwrap_or_default();
    let pixel_dims = ["sample", "time", "y", "x"];
    let bands = ["blue", "green", "red", "nir", "ndvi", "kndvi"];
    let inputs = ["tp_mean", "t2m_mean", "t2m_min", "t2m_max", "sp_mean"];
    let cube = [1, steps as u64, size as u64, size as u64];
    let gridded = |name: &str, dtype| {
        VarSpec::new(name, &pixel_dims, dtype).chunk(&cube).shard(&cube).attr("grid_mapping", "crs")
    };
    let mut spec = CubeSpec::new("level2")
        .dim("sample", samples)
        .dim("time", steps)
        .dim("y", size)
        .dim("x", size)
        .attr("tile", "35KMQ")
        .attr("epsg", 32735)
        .attr("step_days", 10)
        .attr("context_steps", 9)
        .attr("source", "minicube")
        .attr("ndvi_epsilon", 1e-8)
        .var(VarSpec::new("sample_id", &["sample"], DType::String))
        .var(VarSpec::new("cube_id", &["sample"], DType::String))
        .var(VarSpec::new("lon", &["sample"], DType::F64))
        .var(VarSpec::new("lat", &["sample"], DType::F64))
        .var(VarSpec::new("xc", &["sample", "x"], DType::F64))
        .var(VarSpec::new("yc", &["sample", "y"], DType::F64))
        .var(VarSpec::new("date", &["sample", "time"], DType::I32).attr("units", CF_DAY_UNITS))
        .var(VarSpec::new("start_date", &["sample"], DType::I32).attr("units", CF_DAY_UNITS))
        .var(VarSpec::new("season", &["sample", "time"], DType::U8))
        .var(gridded("mask", DType::U8))
        .var(gridded("dist_mask", DType::I16));
    for band in bands {
        spec = spec.var(gridded(band, DType::F32));
    }
    for name in inputs {
        spec = spec.var(VarSpec::new(&format!("weather/{name}"), &["sample", "time"], DType::F32));
    }
    for (name, dtype) in [("static/dem", DType::F32), ("static/landcover", DType::U8)] {
        spec = spec.var(VarSpec::new(name, &["sample", "y", "x"], dtype).attr("grid_mapping", "crs"));
    }
    let writer = CubeWriter::create(path, &add_crs(spec, Epsg(32735)), PLAN)?;
    let offset = split as usize * 17;
    let ndvi = |s: usize, t: usize, y: usize, x: usize| {
        0.2 + 0.5 * rain_share(s + offset, t) + 0.005 * ((y * 3 + x) % 7) as f64
    };
    let names =
        |kind: &str| (0..samples).map(|s| format!("35KMQ_{kind}{offset:02}{s:02}")).collect::<Vec<_>>();
    writer.write("crs", &[], Array::from_elem(IxDyn(&[]), 0_i32).view())?;
    writer.write_strings("sample_id", &names("s"))?;
    writer.write_strings("cube_id", &names("c"))?;
    writer.write("lon", &[0], Array1::from_elem(samples, 27.0).into_dyn().view())?;
    writer.write("lat", &[0], Array1::from_elem(samples, -20.0).into_dyn().view())?;
    let xc = Array2::from_shape_fn((samples, size), |(_, i)| 441_000.0 + 30.0 * i as f64);
    writer.write("xc", &[0, 0], xc.into_dyn().view())?;
    let yc = Array2::from_shape_fn((samples, size), |(_, i)| 7_700_000.0 - 30.0 * i as f64);
    writer.write("yc", &[0, 0], yc.into_dyn().view())?;
    let step_end = |t: usize| first + Days::new(t as u64 * 10 + 9);
    let dates = Array2::from_shape_fn((samples, steps), |(_, t)| to_cf_day(step_end(t)));
    writer.write("date", &[0, 0], dates.into_dyn().view())?;
    writer.write("start_date", &[0], Array1::from_elem(samples, to_cf_day(first)).into_dyn().view())?;
    let seasons = Array2::from_shape_fn((samples, steps), |(_, t)| Season::of(step_end(t)).code());
    writer.write("season", &[0, 0], seasons.into_dyn().view())?;
    let shape = [samples, steps, size, size];
    for band in bands {
        let values = Array4::from_shape_fn(shape, |(s, t, y, x)| {
            let ndvi = ndvi(s, t, y, x);
            let red = 0.1;
            let value = match band {
                "ndvi" => ndvi,
                "kndvi" => (ndvi * ndvi).tanh(),
                "red" => red,
                "nir" => red * (1.0 + ndvi) / (1.0 - ndvi),
                "green" => 0.08,
                _ => 0.06,
            };
            value as f32
        });
        writer.write(band, &[0; 4], values.into_dyn().view())?;
    }
    let masked = |t: usize, y: usize| (t + y).is_multiple_of(5);
    let mask = Array4::from_shape_fn(shape, |(_, t, y, _)| u8::from(masked(t, y)));
    writer.write("mask", &[0; 4], mask.into_dyn().view())?;
    let distance = Array4::from_shape_fn(shape, |(_, t, y, _)| if masked(t, y) { 10_i16 } else { 0 });
    writer.write("dist_mask", &[0; 4], distance.into_dyn().view())?;
    for name in inputs {
        let values = Array2::from_shape_fn((samples, steps), |(s, t)| weather(name, s + offset, t) as f32);
        writer.write(&format!("weather/{name}"), &[0, 0], values.into_dyn().view())?;
    }
    let dem = Array3::from_shape_fn((samples, size, size), |(_, y, x)| (1000 + y + x) as f32);
    writer.write("static/dem", &[0; 3], dem.into_dyn().view())?;
    writer.write(
        "static/landcover",
        &[0; 3],
        Array3::from_elem((samples, size, size), 30_u8).into_dyn().view(),
    )?;
    writer.seal()?;
    Ok(())
}
