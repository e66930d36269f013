//! Smooth random fields: value noise on a hashed lattice, summed over octaves.

use rayon::prelude::*;

use crate::hash::{mix, uniform};

/// The nodes that a field is wanted on: `size × size`, `step_m` apart, from 0, 0 on.
#[derive(Clone, Copy)]
pub(crate) struct Nodes {
    pub(crate) size: usize,
    pub(crate) step_m: f64,
}

/// Fractal value noise in about `[0, 1]` with mean 0.5, row by row. `wavelength_m` is the largest feature; each further
/// octave has half the wavelength and half the amplitude.
pub(crate) fn fractal(seed: u64, nodes: Nodes, wavelength_m: f64, octaves: u32) -> Vec<f32> {
    sum_octaves(seed, nodes, wavelength_m, octaves, |smooth| smooth)
}

/// The same with sharp crests where the noise crosses its mean: mountain ridges.
pub(crate) fn ridged(seed: u64, nodes: Nodes, wavelength_m: f64, octaves: u32) -> Vec<f32> {
    sum_octaves(seed, nodes, wavelength_m, octaves, |smooth| 1.0 - (2.0 * smooth - 1.0).abs())
}

fn sum_octaves(seed: u64, nodes: Nodes, wavelength_m: f64, octaves: u32, shape: fn(f64) -> f64) -> Vec<f32> {
    let mut sums = vec![0f32; nodes.size * nodes.size];
    let total: f64 = (0..octaves).map(|octave| 0.5f64.powi(octave as i32)).sum();
    for octave in 0..octaves {
        let scale = nodes.step_m * f64::from(1 << octave) / wavelength_m;
        let amplitude = 0.5f64.powi(octave as i32) / total;
        let side = (nodes.size as f64 * scale) as usize + 2;
        let seed = mix(seed, &[octave.into()]);
        let drawn: Vec<f64> =
            (0..side * side).map(|k| uniform(mix(seed, &[(k % side) as u64, (k / side) as u64]))).collect();
        let place = |index: usize| {
            let at = index as f64 * scale;
            (at as usize, smooth_step(at.fract()))
        };
        let columns: Vec<(usize, f64)> = (0..nodes.size).map(place).collect();
        sums.par_chunks_mut(nodes.size).enumerate().for_each(|(row, sums)| {
            let (y, v) = place(row);
            let (upper, lower) = (&drawn[y * side..], &drawn[(y + 1) * side..]);
            for (sum, &(x, u)) in sums.iter_mut().zip(&columns) {
                let top = upper[x] * (1.0 - u) + upper[x + 1] * u;
                let bottom = lower[x] * (1.0 - u) + lower[x + 1] * u;
                *sum += (amplitude * shape(top * (1.0 - v) + bottom * v)) as f32;
            }
        });
    }
    sums
}

/// A `size × size` fractal texture that repeats without a seam; `wavelength` and `size` are in pixels, powers of two.
pub(crate) fn periodic_texture(seed: u64, size: usize, wavelength: usize, octaves: u32) -> Vec<f32> {
    (0..size * size)
        .into_par_iter()
        .map(|index| {
            let (y, x) = ((index / size) as f64, (index % size) as f64);
            octave_sum(octaves, |octave| {
                let step = (wavelength >> octave) as f64;
                let period = (size as f64 / step) as i64;
                lattice(mix(seed, &[octave.into()]), x / step, y / step, |node| node.rem_euclid(period))
            }) as f32
        })
        .collect()
}

fn octave_sum(octaves: u32, octave_value: impl Fn(u32) -> f64) -> f64 {
    let (mut sum, mut total, mut amplitude) = (0.0, 0.0, 1.0);
    for octave in 0..octaves {
        sum += amplitude * octave_value(octave);
        total += amplitude;
        amplitude *= 0.5;
    }
    sum / total
}

fn lattice(seed: u64, x: f64, y: f64, wrap: impl Fn(i64) -> i64) -> f64 {
    let (x0, y0) = (x.floor(), y.floor());
    let node = |dx: i64, dy: i64| {
        let (column, row) = (wrap(x0 as i64 + dx), wrap(y0 as i64 + dy));
        uniform(mix(seed, &[column as u64, row as u64]))
    };
    let (u, v) = (smooth_step(x - x0), smooth_step(y - y0));
    let top = node(0, 0) * (1.0 - u) + node(1, 0) * u;
    let bottom = node(0, 1) * (1.0 - u) + node(1, 1) * u;
    top * (1.0 - v) + bottom * v
}

fn smooth_step(t: f64) -> f64 {
    t * t * (3.0 - 2.0 * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_continuous_and_textures_wrap() {
        let field = fractal(3, Nodes { size: 200, step_m: 20.0 }, 4000.0, 4);
        // The finest octave has 500 m and 1/15 of the amplitude: 20 m change it by at most 1.5 * 20 / 500 of that,
        // and each coarser octave by as much again.
        let steepest =
            field.windows(2).enumerate().filter(|(i, _)| i % 200 != 199).map(|(_, w)| (w[0] - w[1]).abs());
        assert!(steepest.fold(0.0, f32::max) < 4.0 * 1.5 * 20.0 / 500.0 / 15.0);
        assert!(field.iter().all(|value| (0.0..=1.0).contains(value)));
        let texture = periodic_texture(1, 64, 16, 3);
        let seam = (0..64).map(|y| (texture[y * 64 + 63] - texture[y * 64]).abs()).fold(0.0, f32::max);
        let inside = (0..64).map(|y| (texture[y * 64 + 31] - texture[y * 64 + 32]).abs()).fold(0.0, f32::max);
        assert!(seam < 3.0 * inside, "{seam} {inside}");
    }
}
