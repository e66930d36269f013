//! How evenly locations are spread: distances to the nearest other one.

use std::collections::HashMap;

use minicube::LonLat;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::sphere::{arc_m, on_sphere, separation};

/// Mean great-circle distance to the nearest other place, metres; NaN for fewer than two places.
#[must_use]
pub fn mean_nearest_m(places: &[LonLat]) -> f64 {
    if places.len() < 2 {
        return f64::NAN;
    }
    let points: Vec<[f64; 3]> = places.iter().map(|&place| on_sphere(place)).collect();
    // Cubes with about two points each if they covered the sphere; the search widens ring by ring from there.
    let edge = (2.0 * 4.0 * std::f64::consts::PI / points.len() as f64).sqrt().min(0.5);
    let cube_of = |point: &[f64; 3]| point.map(|value| (value / edge).floor() as i32);
    let mut cubes: HashMap<[i32; 3], Vec<u32>> = HashMap::new();
    for (index, point) in points.iter().enumerate() {
        cubes.entry(cube_of(point)).or_default().push(index as u32);
    }
    let widest = (2.0 / edge).ceil() as i32 + 1;
    let nearest = |index: usize| -> f64 {
        let (point, home) = (&points[index], cube_of(&points[index]));
        let mut best = f64::INFINITY;
        for ring in 0..=widest {
            // Everything outside the rings seen so far is at least this far away.
            if best <= f64::from(ring - 1) * edge {
                break;
            }
            for_ring(ring, |offset| {
                let cube = [home[0] + offset[0], home[1] + offset[1], home[2] + offset[2]];
                for &other in cubes.get(&cube).into_iter().flatten().filter(|&&other| other as usize != index)
                {
                    best = best.min(separation(point, &points[other as usize]));
                }
            });
        }
        arc_m(best)
    };
    (0..points.len()).map(nearest).sum::<f64>() / points.len() as f64
}

/// Spatial clustering index: the mean nearest-neighbour distance over that of as many places drawn at random from the
/// population. Below 1 the places lie in clusters, at 1 as at random, above 1 they are spread. The idea of Clark and Evans
/// (1954, doi:10.2307/1931034), with the population's own shape in place of an unbounded plane.
#[must_use]
pub fn clustering(places: &[LonLat], population: &[LonLat], seed: u64) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(u64::MAX - 1);
    let random: Vec<LonLat> = sample_indices(&mut rng, population.len(), places.len().min(population.len()))
        .into_iter()
        .map(|index| population[index])
        .collect();
    mean_nearest_m(places) / mean_nearest_m(&random)
}

/// `count` different numbers below `size` (Floyd's algorithm, doi:10.1145/30401.315746).
fn sample_indices(rng: &mut ChaCha8Rng, size: usize, count: usize) -> Vec<usize> {
    let mut chosen = std::collections::BTreeSet::new();
    for top in size - count..size {
        let index = rng.random_range(0..=top);
        if !chosen.insert(index) {
            chosen.insert(top);
        }
    }
    chosen.into_iter().collect()
}

/// All offsets whose largest coordinate is `ring`.
fn for_ring(ring: i32, mut visit: impl FnMut([i32; 3])) {
    for x in -ring..=ring {
        for y in -ring..=ring {
            let inside = x.abs() < ring && y.abs() < ring;
            let step = if inside { (2 * ring).max(1) } else { 1 };
            let mut z = -ring;
            while z <= ring {
                visit([x, y, z]);
                z += step;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(n: usize, step: f64) -> Vec<LonLat> {
        (0..n * n).map(|i| LonLat { lon: (i % n) as f64 * step, lat: (i / n) as f64 * step }).collect()
    }

    #[test]
    fn the_nearest_is_found_as_by_brute_force() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let places: Vec<LonLat> = (0..300)
            .map(|_| LonLat { lon: rng.random_range(-180.0..180.0), lat: rng.random_range(-60.0..60.0) })
            .collect();
        let points: Vec<[f64; 3]> = places.iter().map(|&place| on_sphere(place)).collect();
        let brute = |i: usize| {
            let others = (0..points.len()).filter(|&j| j != i);
            arc_m(others.map(|j| separation(&points[i], &points[j])).fold(f64::INFINITY, f64::min))
        };
        let expected = (0..points.len()).map(brute).sum::<f64>() / points.len() as f64;
        assert!((mean_nearest_m(&places) - expected).abs() < 1e-6);
        assert!(mean_nearest_m(&places[..1]).is_nan());
    }

    /// A square grid has its step as distance; n random points in a unit square about 0.5/√n, so the index of a grid that
    /// fills the population is about 2, that of places in one corner far below 1.
    #[test]
    fn grids_are_spread_and_corners_clustered() {
        let population = grid(100, 0.01);
        let spread: Vec<LonLat> = grid(10, 0.1);
        let corner: Vec<LonLat> = grid(10, 0.01);
        assert!((mean_nearest_m(&spread) - 11_119.5).abs() < 1.0);
        assert!((1.6..2.4).contains(&clustering(&spread, &population, 1)));
        assert!(clustering(&corner, &population, 1) < 0.3);
    }
}
