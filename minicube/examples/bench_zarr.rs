//! The store against zarr-python: write and read 500 dates of 4 bands of 128 × 128 pixels. One JSON object a line.
//!
//! The numbers are the peer's own test cube, which its script has left in the folder `BENCH_FOLDER`.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark speaks to the terminal")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use minicube::{CHUNK_DATES, CHUNK_PX, Cube, CubeSpec, CubeWriter, DType, Epsg, VarSpec, add_crs};
use ndarray::{Array4, ArrayD, Axis};
use rayon::prelude::*;

const DAYS: usize = 500;
const BANDS: [&str; 4] = ["blue", "green", "red", "nir08"];
const SIZE: usize = 128;
const REPEATS: usize = 7;

fn main() {
    let shared = PathBuf::from(std::env::var_os("BENCH_FOLDER").unwrap());
    let bands = bands(&shared.join("cube.u16"));
    let raw = (DAYS * BANDS.len() * SIZE * SIZE * size_of::<u16>()) as f64;
    let path = shared.join("ours.zarr");
    let (mut write, mut seal, mut read, mut series) =
        (f64::INFINITY, f64::INFINITY, f64::INFINITY, f64::INFINITY);
    for _ in 0..REPEATS {
        let clock = Instant::now();
        let writer = CubeWriter::create(&path, &spec(), "0").unwrap();
        BANDS.par_iter().zip(&bands).for_each(|(name, values)| {
            writer.write(&format!("s2/{name}"), &[0, 0, 0, 0], values.view().into_dyn()).unwrap();
        });
        write = write.min(clock.elapsed().as_secs_f64());
        let clock = Instant::now();
        writer.seal().unwrap();
        seal = seal.min(clock.elapsed().as_secs_f64());
        let clock = Instant::now();
        let cube = Cube::open(&path, "bench").unwrap();
        let shape = [1, DAYS as u64, SIZE as u64, SIZE as u64];
        let back: Vec<ArrayD<u16>> = BANDS
            .par_iter()
            .map(|name| cube.read_region(&format!("s2/{name}"), &[0; 4], &shape).unwrap())
            .collect();
        read = read.min(clock.elapsed().as_secs_f64());
        assert!(back.iter().zip(&bands).all(|(back, band)| back.view() == band.view().into_dyn()));
        let clock = Instant::now();
        for name in BANDS {
            let pixel =
                cube.read_region::<u16>(&format!("s2/{name}"), &[0, 0, 64, 64], &[1, DAYS as u64, 1, 1]);
            assert_eq!(pixel.unwrap().len(), DAYS);
        }
        series = series.min(clock.elapsed().as_secs_f64());
    }
    let (bytes, files) = stored(&path);
    let threads = rayon::current_num_threads();
    let note = format!("{DAYS}x{}x{SIZE}x{SIZE} uint16, best of {REPEATS}, {threads} threads", BANDS.len());
    let line = |name: &str, ours: f64, unit: &str, note: &str| {
        println!("{{\"name\":\"{name}\",\"ours\":{ours:.5},\"unit\":\"{unit}\",\"note\":\"{note}\"}}");
    };
    line("zarr_write", write, "s", &format!("{note}; sealed and on disk {seal:.3} s later"));
    line("zarr_read_sharded", read, "s", &note);
    line("zarr_pixel_series", series, "s", "500 dates of 4 bands of one pixel");
    line("zarr_stored", bytes / 1e6, "MB", &format!("compression ratio {:.3}, {files} files", raw / bytes));
}

fn spec() -> CubeSpec {
    let (days, size) = (DAYS as u64, SIZE as u64);
    let mut spec = CubeSpec::new("bench").dim("minicube", 1).dim("time", DAYS).dim("y", SIZE).dim("x", SIZE);
    for name in BANDS {
        spec = spec.var(
            VarSpec::new(&format!("s2/{name}"), &["minicube", "time", "y", "x"], DType::U16)
                .chunk(&[1, CHUNK_DATES, CHUNK_PX, CHUNK_PX])
                .shard(&[1, days, size, size])
                .missing(0)
                .attr("grid_mapping", "crs"),
        );
    }
    add_crs(spec, Epsg(32735))
}

/// The peer's numbers, one array `[1, day, y, x]` a band.
fn bands(file: &Path) -> Vec<Array4<u16>> {
    let bytes = std::fs::read(file).unwrap();
    let values: Vec<u16> = bytes.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]])).collect();
    let cube = Array4::from_shape_vec((DAYS, BANDS.len(), SIZE, SIZE), values).unwrap();
    cube.axis_iter(Axis(1)).map(|band| band.insert_axis(Axis(0)).as_standard_layout().into_owned()).collect()
}

/// Bytes and number of the files below a folder.
fn stored(folder: &Path) -> (f64, usize) {
    std::fs::read_dir(folder).unwrap().fold((0.0, 0), |(bytes, files), entry| {
        let entry = entry.unwrap();
        if entry.metadata().unwrap().is_dir() {
            let (more, others) = stored(&entry.path());
            (bytes + more, files + others)
        } else {
            (bytes + entry.metadata().unwrap().len() as f64, files + 1)
        }
    })
}
