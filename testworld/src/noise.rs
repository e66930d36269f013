//! Smooth random fields: value noise on a hashed lattice, summed over octaves.

use crate::hash::{mix, uniform};

/// Fractal value noise in about `[0, 1]` with mean 0.5. `wavelength_m` is the largest feature; each further octave has
/// half the wavelength and half the amplitude.
pub(crate) fn fractal(seed: u64, x_m: f64, y_m: f64, wavelength_m: f64, octaves: u32) -> f64 {
    octave_sum(octaves, |octave| {
        value(mix(seed, &[octave.into()]), x_m, y_m, wavelength_m / f64::from(1 << octave))
    })
}

/// The same with sharp crests where the noise crosses its mean: mountain ridges.
pub(crate) fn ridged(seed: u64, x_m: f64, y_m: f64, wavelength_m: f64, octaves: u32) -> f64 {
    octave_sum(octaves, |octave| {
        let smooth = value(mix(seed, &[octave.into()]), x_m, y_m, wavelength_m / f64::from(1 << octave));
        1.0 - (2.0 * smooth - 1.0).abs()
    })
}

/// A `size × size` fractal texture that repeats without a seam; `wavelength` and `size` are in pixels, powers of two.
pub(crate) fn periodic_texture(seed: u64, size: usize, wavelength: usize, octaves: u32) -> Vec<f32> {
    use rayon::prelude::*;
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

fn value(seed: u64, x_m: f64, y_m: f64, wavelength_m: f64) -> f64 {
    lattice(seed, x_m / wavelength_m, y_m / wavelength_m, |node| node)
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
        let step = (fractal(3, 1000.0, 500.0, 4000.0, 4) - fractal(3, 1000.01, 500.0, 4000.0, 4)).abs();
        assert!(step < 1e-4, "{step}");
        let texture = periodic_texture(1, 64, 16, 3);
        let seam = (0..64).map(|y| (texture[y * 64 + 63] - texture[y * 64]).abs()).fold(0.0, f32::max);
        let inside = (0..64).map(|y| (texture[y * 64 + 31] - texture[y * 64 + 32]).abs()).fold(0.0, f32::max);
        assert!(seam < 3.0 * inside, "{seam} {inside}");
    }
}
