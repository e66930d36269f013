//! Continent-sized stand-ins for elevation, land cover and climate at any resolution: smooth in space, the same for the
//! same seed, made row by row. They have no known answer to weather; they are for measuring what works on large rasters.

use crate::hash::{mix, uniform};

/// Wavelengths in degrees with their amplitudes, from the shape of the land to single slopes.
const OCTAVES: [(f64, f64); 8] =
    [(24.0, 1.0), (9.0, 0.6), (3.0, 0.35), (1.0, 0.2), (0.3, 0.1), (0.1, 0.06), (0.03, 0.03), (0.01, 0.02)];

/// A row of pixels of a grid of longitudes and latitudes.
#[derive(Clone, Copy, Debug)]
pub struct GlobeRow {
    /// Longitude of the first pixel's centre, degrees.
    pub west: f64,
    /// Latitude of the row, degrees.
    pub lat: f64,
    /// Width of a pixel, degrees.
    pub step: f64,
    /// Number of pixels.
    pub cols: usize,
}

/// Elevation in metres; 0 is the sea.
#[must_use]
pub fn continent_elevation(seed: u64, row: GlobeRow) -> Vec<i16> {
    let height = |noise: f32| if noise < 0.42 { 0.0 } else { ((noise - 0.42) * 7.0).powf(1.6) * 900.0 + 1.0 };
    field(seed, 1, row).into_iter().map(|noise| height(noise) as i16).collect()
}

/// Land cover with the codes of ESA WorldCover: water where the elevation is 0, else by dampness and latitude.
#[must_use]
pub fn continent_landcover(seed: u64, row: GlobeRow) -> Vec<u8> {
    let heights = continent_elevation(seed, row);
    let damp = field(seed, 2, row);
    let tropics = (1.0 - (row.lat.abs() / 40.0).min(1.0)) as f32;
    let class = |(height, damp): (i16, f32)| {
        if height == 0 {
            return 80;
        }
        match damp + 0.25 * tropics - f32::from(height) / 16_000.0 {
            wet if wet > 0.82 => 90,
            wet if wet > 0.66 => 10,
            wet if wet > 0.58 => 40,
            wet if wet > 0.50 => 30,
            wet if wet > 0.42 => 20,
            wet if wet > 0.415 => 50,
            _ => 60,
        }
    };
    heights.into_iter().zip(damp).map(class).collect()
}

/// Köppen–Geiger classes 1–30 in the order of Beck et al. 2018, by latitude and dampness; the sea has the class of its
/// latitude too.
#[must_use]
pub fn continent_climate(seed: u64, row: GlobeRow) -> Vec<u8> {
    let class = |damp: f32| {
        let warm = row.lat.abs() as f32 + 20.0 * (0.5 - damp);
        match (warm, damp) {
            (warm, damp) if warm < 16.0 => [3, 2, 1][usize::from(damp > 0.5) + usize::from(damp > 0.62)],
            (warm, damp) if warm < 32.0 => [4, 6, 11][usize::from(damp > 0.45) + usize::from(damp > 0.56)],
            (warm, damp) if warm < 48.0 => [7, 8, 15][usize::from(damp > 0.42) + usize::from(damp > 0.5)],
            (warm, _) if warm < 62.0 => 26,
            (warm, _) if warm < 70.0 => 27,
            _ => 29,
        }
    };
    field(seed, 3, row).into_iter().map(class).collect()
}

/// Value noise of all octaves along a row, in `[0, 1]`.
fn field(seed: u64, which: u64, row: GlobeRow) -> Vec<f32> {
    let total: f64 = OCTAVES.iter().map(|(_, amplitude)| amplitude).sum();
    let mut sums = vec![0_f32; row.cols];
    for (octave, (wavelength, amplitude)) in OCTAVES.into_iter().enumerate() {
        let seed = mix(seed, &[which, octave as u64]);
        let y = (row.lat + 90.0) / wavelength;
        let down = smooth_step(y.fract());
        let first = ((row.west + 360.0) / wavelength).floor() as u64;
        let nodes = (row.cols as f64 * row.step / wavelength) as u64 + 3;
        let node = |x: u64| {
            let at = |y: u64| uniform(mix(seed, &[first + x, y]));
            at(y as u64) * (1.0 - down) + at(y as u64 + 1) * down
        };
        let line: Vec<f32> = (0..nodes).map(|x| (node(x) * amplitude / total) as f32).collect();
        for (col, sum) in sums.iter_mut().enumerate() {
            let x = (row.west + col as f64 * row.step + 360.0) / wavelength - first as f64;
            let right = smooth_step(x.fract()) as f32;
            *sum += line[x as usize] * (1.0 - right) + line[x as usize + 1] * right;
        }
    }
    sums
}

fn smooth_step(t: f64) -> f64 {
    t * t * (3.0 - 2.0 * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: GlobeRow = GlobeRow { west: 10.0, lat: 5.0, step: 0.01, cols: 4000 };

    /// A part of a row is the same as that part of the whole row, and neighbours differ little.
    #[test]
    fn rows_can_be_made_in_parts() {
        let whole = field(42, 1, ROW);
        let part = field(42, 1, GlobeRow { west: ROW.west + 15.0, cols: 100, ..ROW });
        let largest = |pairs: &mut dyn Iterator<Item = f32>| pairs.fold(0.0, f32::max);
        assert!(largest(&mut whole[1500..].iter().zip(&part).map(|(a, b)| (a - b).abs())) < 1e-5);
        assert!(whole.iter().all(|noise| (0.0..=1.0).contains(noise)));
        assert!(largest(&mut whole.windows(2).map(|pair| (pair[0] - pair[1]).abs())) < 0.03);
    }

    #[test]
    fn the_sea_is_water_and_the_land_is_not() {
        let (heights, covers) = (continent_elevation(42, ROW), continent_landcover(42, ROW));
        assert!(heights.iter().zip(&covers).all(|(height, cover)| (*height == 0) == (*cover == 80)));
        assert!(covers.iter().collect::<std::collections::BTreeSet<_>>().len() >= 4, "classes vary");
        assert!(continent_climate(42, ROW).iter().all(|class| (1..=30).contains(class)));
    }
}
