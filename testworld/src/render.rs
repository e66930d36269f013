//! Pixels of a scene: the truth, seen through cloud, shadow and noise, as stored numbers.

use std::sync::OnceLock;

use rayon::prelude::*;

use crate::asset::{Asset, Band};
use crate::hash::{gauss, mix, text};
use crate::land::{Pixels, WINDOW_PX};
use crate::scene::{SUPERSEDED_BIAS, Scene};
use crate::sky::{SKY_PX, Sky};
use crate::weather::DRIVES;
use crate::world::World;

/// Stored numbers are multiples of this, so that blocks compress about as well as real ones.
const QUANTUM: i32 = 16;
const NOISE_SIGMA: f64 = 9.0;
const NOISE_LIMIT_DN: f64 = 24.0;
const NOISE_TABLE: usize = 1 << 16;
const CLOUD_DN: f32 = 5600.0;
const SHADOW: f32 = 0.45;

/// The active window of a reflectance asset, row by row: 2048² pixels of 10 m or 1024² of 20 m.
pub(crate) fn reflectance(world: &World, scene: &Scene, asset: Asset, band: Band, sky: &Sky) -> Vec<u16> {
    let drives = world.drives(scene.region, scene.date).unwrap_or_default().map(|drive| drive as f32);
    let pixels = world.land(scene.region).pixels();
    let bias = if scene.superseded { SUPERSEDED_BIAS } else { 0.0 };
    let constant = (1e4 * (band.constant + bias)) as f32;
    let (sum, difference) = (1e4 * band.sum as f32, 1e4 * band.difference as f32);
    let stream = mix(scene.seed, &[text(asset.key()), scene.sequence.into()]);
    let coarse = asset.resolution_m() > 15.0;
    let size = if coarse { SKY_PX } else { WINDOW_PX };
    let mut stored = vec![0u16; size * size];
    stored.par_chunks_mut(size).enumerate().for_each_init(
        || vec![0f32; size],
        |clear, (row, out)| {
            let mix_bands = |s: f32, red_to_nir: f32| constant + sum * s + difference * red_to_nir;
            if coarse {
                clear_row_20m(pixels, row, clear, &drives, mix_bands);
            } else {
                clear_row_10m(pixels, row, clear, &drives, mix_bands);
            }
            let sky_row = if coarse { row } else { row / 2 };
            if !sky.clear_row[sky_row] {
                let span = sky_row * SKY_PX..(sky_row + 1) * SKY_PX;
                cover_row(clear, &sky.opacity[span.clone()], &sky.scl[span]);
            }
            let noise = noise_row(stream, row, size);
            store_row(clear, noise, scene.stored_offset, out);
        },
    );
    stored
}

type Drives = [f32; DRIVES];

fn clear_row_10m(
    pixels: &Pixels,
    row: usize,
    out: &mut [f32],
    drives: &Drives,
    value: impl Fn(f32, f32) -> f32,
) {
    let span = row * WINDOW_PX..(row + 1) * WINDOW_PX;
    let (sum, fixed, growing) =
        (&pixels.sum[span.clone()], &pixels.fixed[span.clone()], &pixels.growing[span.clone()]);
    let of_land = sum.iter().zip(fixed).zip(growing);
    for ((out, ((s, f), g)), drive) in out.iter_mut().zip(of_land).zip(&pixels.drive[span]) {
        *out = value(*s, f + g * drives[usize::from(*drive)]);
    }
}

fn clear_row_20m(
    pixels: &Pixels,
    row: usize,
    out: &mut [f32],
    drives: &Drives,
    value: impl Fn(f32, f32) -> f32,
) {
    for (col, out) in out.iter_mut().enumerate() {
        let first = 2 * row * WINDOW_PX + 2 * col;
        let mean = |field: &dyn Fn(usize) -> f32| {
            0.25 * (field(first) + field(first + 1) + field(first + WINDOW_PX) + field(first + WINDOW_PX + 1))
        };
        let growth = |i: usize| pixels.growing[i] * drives[usize::from(pixels.drive[i])];
        let ndvi = mean(&|i| pixels.fixed[i]) + mean(&growth);
        *out = value(mean(&|i| pixels.sum[i]), ndvi);
    }
}

fn cover_row(row: &mut [f32], opacity: &[u8], scl: &[u8]) {
    let per_sky_pixel = row.len() / opacity.len();
    for ((pixels, &opacity), &class) in row.chunks_mut(per_sky_pixel).zip(opacity).zip(scl) {
        if opacity > 0 {
            let cover = f32::from(opacity) / 255.0;
            pixels.iter_mut().for_each(|pixel| *pixel += (CLOUD_DN - *pixel) * cover);
        } else if class == 3 {
            pixels.iter_mut().for_each(|pixel| *pixel *= SHADOW);
        }
    }
}

fn store_row(row: &[f32], noise: &[i8], offset: u16, out: &mut [u16]) {
    let half = (QUANTUM / 2) as f32;
    for ((out, value), noise) in out.iter_mut().zip(row).zip(noise) {
        let number = ((value + f32::from(*noise) + half).max(QUANTUM as f32) as i32) & !(QUANTUM - 1);
        *out = number as u16 + offset;
    }
}

/// A stretch of the noise table: another one for every row of every asset of every scene.
fn noise_row(stream: u64, row: usize, len: usize) -> &'static [i8] {
    static TABLE: OnceLock<Vec<i8>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let draw = |index: u64| NOISE_SIGMA * gauss(mix(text("noise"), &[index]));
        (0..NOISE_TABLE as u64)
            .map(|i| draw(i).round().clamp(-NOISE_LIMIT_DN, NOISE_LIMIT_DN) as i8)
            .collect()
    });
    let start = mix(stream, &[row as u64]) as usize % (NOISE_TABLE - len);
    &table[start..start + len]
}
