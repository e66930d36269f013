//! Level 1 to Level 2: the gap filling in memory, then whole cubes from store to store. One JSON object a line.
//!
//! `level2_fill` is the task of the xarray peer: mask, fill and average 500 daily frames of 4 bands of 128 × 128 pixels,
//! single precision, of which every fifth day is observed and 60 % of that is cloudy in blocks of 8 × 8 pixels.
//! `level2_fill_<method>` is the same by the other methods.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark speaks to the terminal")]

use std::path::Path;
use std::time::Instant;

use minicube::run::{Ctx, Project, peak_rss_bytes};
use minicube::{
    CF_DAY_UNITS, CHUNK_DATES, CHUNK_PX, Cube, CubeSpec, CubeWriter, DType, Epsg, VarSpec, add_crs,
};
use ndarray::{Array1, Array2, Array3, Array4, ArrayD, Axis};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use x4_level2::{Config, Extrapolate, FillPlan, Filled, Method, Plan, Steps, run};

const DAYS: usize = 500;
const BANDS: usize = 4;
const SIZE: usize = 128;
const PIXELS: usize = SIZE * SIZE;
const REVISIT: usize = 5;
const REPEATS: usize = 7;

const STORE_CUBES: usize = 8;
const STORE_SCENES: usize = 146;

fn main() {
    fill_in_memory();
    store_to_store();
}

fn fill_in_memory() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let data: Array3<f32> = Array3::from_shape_fn((DAYS, BANDS, PIXELS), |_| rng.random::<f32>() * 0.3 + 0.1);
    let mask = cloud_mask(&mut rng);
    let steps = Steps { first_day: 0, step_days: 10, len: DAYS / 10 };
    let before = peak_rss_bytes();
    let (best, checksum) = time(&data, &mask, steps, &Method::Linear);
    let cube = (DAYS * BANDS * PIXELS * size_of::<f32>()) as f64;
    let extra = (peak_rss_bytes() - before) as f64 / cube;
    println!(
        "{{\"name\":\"level2_fill\",\"ours\":{best:.5},\"unit\":\"s\",\"note\":\"{DAYS}x{BANDS}x{SIZE}x{SIZE} float32, \
         best of {REPEATS}, {} threads, {extra:.2} cubes of memory beside the input, sum {checksum:.1}\"}}",
        rayon::current_num_threads()
    );
    let others = [
        Method::Whittaker { lambda: 1e4 },
        Method::Harmonic { harmonics: 2, ridge: 0.1 },
        Method::Rbf { sigmas: vec![8.0, 16.0, 32.0], cutoff: 0.95 },
    ];
    for method in others {
        let (best, checksum) = time(&data, &mask, steps, &method);
        println!(
            "{{\"name\":\"level2_fill_{}\",\"ours\":{best:.5},\"unit\":\"s\",\"note\":\"the same task, sum {checksum:.1}\"}}",
            method.name()
        );
    }
}

/// The best time, and the sum of the result.
fn time(data: &Array3<f32>, mask: &Array2<u8>, steps: Steps, method: &Method) -> (f64, f64) {
    let mut best = f64::INFINITY;
    let mut checksum = 0.0;
    for _ in 0..REPEATS {
        let clock = Instant::now();
        let filled = fill(data, mask, steps, method);
        best = best.min(clock.elapsed().as_secs_f64());
        checksum = filled.values.iter().filter(|v| v.is_finite()).map(|&v| f64::from(v)).sum();
    }
    (best, checksum)
}

/// Days without a single observation are left out, as they are in Level 1; finding them is part of the work.
fn fill(data: &Array3<f32>, mask: &Array2<u8>, steps: Steps, method: &Method) -> Filled<f32> {
    let observed: Vec<usize> =
        (0..DAYS).filter(|&day| mask.row(day).iter().any(|&masked| masked == 0)).collect();
    let days: Vec<i32> = observed.iter().map(|&day| day as i32).collect();
    let plan = FillPlan::new(&days, steps, Extrapolate::None).with(method);
    let (data, mask) = (data.as_slice().unwrap(), mask.as_slice().unwrap());
    plan.fill_parallel(PIXELS, BANDS, |time, pixels, valid, values| {
        let day = observed[time];
        for (valid, &masked) in valid.iter_mut().zip(&mask[day * PIXELS..][pixels.clone()]) {
            *valid = 1 - masked;
        }
        for (band, values) in values.iter_mut().enumerate() {
            let frame = &data[(day * BANDS + band) * PIXELS..][pixels.clone()];
            values[..frame.len()].copy_from_slice(frame);
        }
    })
}

/// `[day, pixel]`, 1 = not observed or cloudy.
fn cloud_mask(rng: &mut ChaCha8Rng) -> Array2<u8> {
    let blocks = SIZE / 8;
    let clouds = Array2::from_shape_fn((DAYS, blocks * blocks), |_| u8::from(rng.random::<f64>() < 0.6));
    Array2::from_shape_fn((DAYS, PIXELS), |(day, pixel)| {
        let block = pixel / SIZE / 8 * blocks + pixel % SIZE / 8;
        if day % REVISIT == 0 { clouds[[day, block]] } else { 1 }
    })
}

fn store_to_store() {
    let folder = std::env::temp_dir().join(format!("bench-level2-{}", std::process::id()));
    let level1 = folder.join("level1").join("35KMQ.zarr");
    write_level1(&level1);
    let project = Project {
        name: "bench".into(),
        dir: folder.clone(),
        years: [2021, 2022],
        seed: 42,
        buckets: Default::default(),
    };
    let clock = Instant::now();
    let plan = Plan::resolve(&Config::default(), &project).unwrap();
    run(&plan, &Ctx::quiet(rayon::current_num_threads())).unwrap();
    let seconds = clock.elapsed().as_secs_f64();
    let per_hour = STORE_CUBES as f64 / seconds * 3600.0;
    println!(
        "{{\"name\":\"level2_store\",\"ours\":{:.5},\"unit\":\"s/cube\",\"note\":\"{STORE_SCENES} scenes of 4 bands and SCL, \
         {SIZE}x{SIZE}, to 45 ten-day steps, with statistics and report; {per_hour:.0} cubes/h, {} threads\"}}",
        seconds / STORE_CUBES as f64,
        rayon::current_num_threads()
    );
    let plain = plain_codecs(&level1, &folder.join("level2/train/35KMQ.zarr"), &folder.join("copy.zarr"));
    println!(
        "{{\"name\":\"level2_codecs\",\"ours\":{:.5},\"unit\":\"s/cube\",\"note\":\"the same bytes read from Level 1 and \
         written to Level 2, nothing derived; the stage takes {:.2} times as long\"}}",
        plain / STORE_CUBES as f64,
        seconds / plain
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Seconds to decompress all of Level 1 and to compress all maps of Level 2, in parallel over cubes.
fn plain_codecs(level1: &Path, level2: &Path, copy: &Path) -> f64 {
    let (from, to) = (Cube::open(level1, "level1").unwrap(), Cube::open(level2, "level2").unwrap());
    let maps = |cube: &Cube| -> Vec<(String, Vec<u64>)> {
        let vars = cube.vars().into_iter().map(|var| (cube.shape(&var).unwrap(), var));
        vars.filter(|(shape, _)| shape.len() == 4).map(|(shape, var)| (var, shape)).collect()
    };
    let mut spec = CubeSpec::new("level2");
    let mut samples = Vec::new();
    for (var, shape) in maps(&to) {
        let dims: Vec<String> = (0..4).map(|axis| format!("{axis}_{}", shape[axis])).collect();
        let names: Vec<&str> = dims.iter().map(String::as_str).collect();
        for (dim, &len) in names.iter().zip(&shape) {
            if !spec.dims.iter().any(|(name, _)| name == dim) {
                spec = spec.dim(dim, len as usize);
            }
        }
        let dtype = match to.dtype(&var).unwrap() {
            "uint8" => DType::U8,
            "int16" => DType::I16,
            _ => DType::F32,
        };
        let unit = [1, shape[1], shape[2], shape[3]];
        spec = spec.var(VarSpec::new(&var, &names, dtype).chunk(&unit).shard(&unit));
        samples.push((var, dtype, shape));
    }
    let writer = CubeWriter::create(copy, &spec, "0").unwrap();
    let decoded: Vec<Maps> = samples.iter().map(|(var, dtype, _)| Maps::read(&to, var, *dtype)).collect();
    let clock = Instant::now();
    (0..STORE_CUBES as u64).into_par_iter().for_each(|cube| {
        for (var, shape) in maps(&from) {
            let (start, size) = ([cube, 0, 0, 0], [1, shape[1], shape[2], shape[3]]);
            match from.dtype(&var).unwrap() {
                "uint8" => drop(from.read_region::<u8>(&var, &start, &size).unwrap()),
                _ => drop(from.read_region::<u16>(&var, &start, &size).unwrap()),
            }
        }
        for ((var, ..), maps) in samples.iter().zip(&decoded) {
            maps.write(&writer, var, cube);
        }
    });
    clock.elapsed().as_secs_f64()
}

/// Maps `[sample, time, y, x]` of a variable of Level 2.
enum Maps {
    Numbers(ArrayD<f32>),
    Masks(ArrayD<u8>),
    Distances(ArrayD<i16>),
}

impl Maps {
    fn read(cube: &Cube, var: &str, dtype: DType) -> Maps {
        match dtype {
            DType::U8 => Maps::Masks(cube.read(var).unwrap()),
            DType::I16 => Maps::Distances(cube.read(var).unwrap()),
            _ => Maps::Numbers(cube.read(var).unwrap()),
        }
    }

    fn write(&self, writer: &CubeWriter, var: &str, sample: u64) {
        let (start, at) = ([sample, 0, 0, 0], sample as usize..=sample as usize);
        match self {
            Maps::Numbers(maps) => {
                writer.write(var, &start, maps.slice_axis(Axis(0), at.into()).into_dyn()).unwrap();
            }
            Maps::Masks(maps) => {
                writer.write(var, &start, maps.slice_axis(Axis(0), at.into()).into_dyn()).unwrap();
            }
            Maps::Distances(maps) => {
                writer.write(var, &start, maps.slice_axis(Axis(0), at.into()).into_dyn()).unwrap();
            }
        }
    }
}

/// Cubes with smooth fields, some noise and clouds, so that they compress like real ones.
fn write_level1(path: &Path) {
    let dims = ["minicube", "time", "y", "x"];
    let (scenes, size) = (STORE_SCENES as u64, SIZE as u64);
    let map = |name: &str, dtype| {
        VarSpec::new(name, &dims, dtype)
            .chunk(&[1, CHUNK_DATES, CHUNK_PX, CHUNK_PX])
            .shard(&[1, scenes, size, size])
            .missing(0)
            .attr("grid_mapping", "crs")
    };
    let mut spec = CubeSpec::new("level1")
        .dim("minicube", STORE_CUBES)
        .dim("x", SIZE)
        .dim("y", SIZE)
        .dim("s2/time", STORE_SCENES)
        .attr("tile", "35KMQ")
        .attr("epsg", 32735)
        .var(VarSpec::new("id", &["minicube"], DType::String))
        .var(VarSpec::new("lon", &["minicube"], DType::F64))
        .var(VarSpec::new("lat", &["minicube"], DType::F64))
        .var(VarSpec::new("xc", &["minicube", "x"], DType::F64))
        .var(VarSpec::new("yc", &["minicube", "y"], DType::F64))
        .var(VarSpec::new("s2/time", &["time"], DType::I32).attr("units", CF_DAY_UNITS))
        .var(VarSpec::new("s2/scene_id", &["time"], DType::String))
        .var(map("s2/scl", DType::U8));
    let bands = ["blue", "green", "red", "nir08"];
    for band in bands {
        spec = spec
            .var(map(&format!("s2/{band}"), DType::U16).attr("scale_factor", 1e-4).attr("add_offset", -0.1));
    }
    let writer = CubeWriter::create(path, &add_crs(spec, Epsg(32735)), "0").unwrap();
    let ids: Vec<String> = (0..STORE_CUBES).map(|i| format!("35KMQ_00{i:02}")).collect();
    writer.write_strings("id", &ids).unwrap();
    writer.write_strings("s2/scene_id", &vec![String::new(); STORE_SCENES]).unwrap();
    writer.write("lon", &[0], Array1::from_elem(STORE_CUBES, 27.0).into_dyn().view()).unwrap();
    writer.write("lat", &[0], Array1::from_elem(STORE_CUBES, -20.0).into_dyn().view()).unwrap();
    for axis in ["xc", "yc"] {
        let centres = Array2::from_shape_fn((STORE_CUBES, SIZE), |(_, i)| 30.0 * i as f64);
        writer.write(axis, &[0, 0], centres.into_dyn().view()).unwrap();
    }
    let first = minicube::to_cf_day(minicube::NaiveDate::from_ymd_opt(2021, 1, 1).unwrap());
    let days: Array1<i32> = (0..STORE_SCENES as i32).map(|i| first + i * 5).collect();
    writer.write("s2/time", &[0], days.into_dyn().view()).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let shape = (1, STORE_SCENES, SIZE, SIZE);
    for cube in 0..STORE_CUBES as u64 {
        let cloudy: Vec<bool> = (0..STORE_SCENES * 256).map(|_| rng.random::<f64>() < 0.4).collect();
        let is_cloudy = |t: usize, y: usize, x: usize| cloudy[t * 256 + y / 8 * 16 + x / 8];
        let scl = Array4::from_shape_fn(shape, |(_, t, y, x)| if is_cloudy(t, y, x) { 9_u8 } else { 4 });
        writer.write("s2/scl", &[cube, 0, 0, 0], scl.into_dyn().view()).unwrap();
        for (band, base) in bands.iter().zip([1500.0, 1800.0, 2000.0, 3500.0]) {
            let values = Array4::from_shape_fn(shape, |(_, t, y, x)| {
                let field = 300.0 * ((x + y) as f64 / 20.0).sin() + 200.0 * (t as f64 / 11.6).sin();
                let noise = rng.random::<f64>() * 40.0;
                (if is_cloudy(t, y, x) { 6000.0 } else { base + field } + noise) as u16
            });
            writer.write(&format!("s2/{band}"), &[cube, 0, 0, 0], values.into_dyn().view()).unwrap();
        }
    }
    writer.seal().unwrap();
}
