//! The draw: a seeded random order within each stratum, taken from the front as far as distance and tile caps allow.

use std::collections::HashMap;

use minicube::LonLat;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::candidates::Candidate;
use crate::design::allocate;

const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// What limits a draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// How many.
    pub count: usize,
    /// At most this many in a tile.
    pub per_tile_max: Option<usize>,
    /// Smallest great-circle distance between two centres, metres.
    pub min_distance_m: f64,
}

/// What was drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    /// Indices of the drawn candidates, ascending.
    pub chosen: Vec<usize>,
    /// How many were wanted of each stratum at first.
    pub wanted: Vec<usize>,
    /// How many were drawn of each stratum.
    pub drawn: Vec<usize>,
    /// Candidates passed over because of the distance or the cap.
    pub passed_over: usize,
}

/// Draws from the candidates. Rare strata draw first, so that common ones do not take their room. What a stratum cannot
/// give (too few cells, distance, cap) is shared among the others in proportion to their target shares, again and again.
/// The result depends on the candidates, the shares, the rules and the seed only.
#[must_use]
pub fn draw(candidates: &[Candidate], sizes: &[usize], shares: &[f64], rules: &Rules, seed: u64) -> Draw {
    let mut queues = shuffled(candidates, sizes.len(), seed);
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&stratum| (sizes[stratum], stratum));

    let mut room = Room::new(rules);
    let wanted = allocate(shares, rules.count, sizes);
    let mut todo = wanted.clone();
    let mut result = Draw { chosen: Vec::new(), wanted, drawn: vec![0; sizes.len()], passed_over: 0 };
    loop {
        for &stratum in &order {
            while todo[stratum] > 0 {
                let Some(index) = queues[stratum].pop() else { break };
                if room.take(&candidates[index as usize]) {
                    todo[stratum] -= 1;
                    result.drawn[stratum] += 1;
                    result.chosen.push(index as usize);
                } else {
                    result.passed_over += 1;
                }
            }
        }
        let missing: usize = todo.iter().sum();
        let capacity: Vec<usize> = queues.iter().map(Vec::len).collect();
        if missing == 0 || capacity.iter().all(|&left| left == 0) {
            result.chosen.sort_unstable();
            return result;
        }
        todo = allocate(shares, missing, &capacity);
    }
}

/// The candidates of each stratum in random order; each stratum has a random stream of its own.
fn shuffled(candidates: &[Candidate], strata: usize, seed: u64) -> Vec<Vec<u32>> {
    let mut queues: Vec<Vec<u32>> = vec![Vec::new(); strata];
    for (index, candidate) in candidates.iter().enumerate() {
        queues[candidate.stratum as usize].push(index as u32);
    }
    for (stratum, queue) in queues.iter_mut().enumerate() {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stratum as u64);
        queue.shuffle(&mut rng);
    }
    queues
}

/// Whether there is room for one more location.
struct Room {
    per_tile_max: usize,
    in_tile: HashMap<u32, usize>,
    /// Smallest distance as a chord of the unit sphere.
    chord: f64,
    /// Accepted centres on the unit sphere, in cubes with an edge of `chord`.
    cubes: HashMap<[i32; 3], Vec<[f64; 3]>>,
}

impl Room {
    fn new(rules: &Rules) -> Room {
        Room {
            per_tile_max: rules.per_tile_max.unwrap_or(usize::MAX),
            in_tile: HashMap::new(),
            chord: chord(rules.min_distance_m),
            cubes: HashMap::new(),
        }
    }

    /// Takes the place if it is free.
    fn take(&mut self, candidate: &Candidate) -> bool {
        let used = self.in_tile.entry(candidate.tile).or_insert(0);
        if *used >= self.per_tile_max {
            return false;
        }
        if self.chord > 0.0 {
            let point = on_sphere(candidate.center);
            let cube = point.map(|value| (value / self.chord).floor() as i32);
            let near = (0..27).any(|n| {
                let neighbour = [cube[0] + n % 3 - 1, cube[1] + n / 3 % 3 - 1, cube[2] + n / 9 - 1];
                let others = self.cubes.get(&neighbour);
                others.is_some_and(|others| others.iter().any(|other| separation(&point, other) < self.chord))
            });
            if near {
                return false;
            }
            self.cubes.entry(cube).or_default().push(point);
        }
        *used += 1;
        true
    }
}

/// Length of the straight line under an arc, on the unit sphere.
fn chord(distance_m: f64) -> f64 {
    2.0 * (distance_m / EARTH_RADIUS_M / 2.0).min(std::f64::consts::FRAC_PI_2).sin()
}

fn on_sphere(place: LonLat) -> [f64; 3] {
    let (lon, lat) = (place.lon.to_radians(), place.lat.to_radians());
    [lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()]
}

fn separation(a: &[f64; 3], b: &[f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of candidates 0.1° (11.1 km) apart on the equator, ten to a tile, every third one of stratum 1.
    fn row(count: usize) -> Vec<Candidate> {
        (0..count)
            .map(|i| Candidate {
                tile: i as u32 / 10,
                row: 0,
                col: i as u16 % 10,
                center: LonLat { lon: i as f64 * 0.1, lat: 0.0 },
                stratum: u32::from(i % 3 == 0),
            })
            .collect()
    }

    fn rules(count: usize) -> Rules {
        Rules { count, per_tile_max: None, min_distance_m: 0.0 }
    }

    #[test]
    fn the_draw_follows_the_target_and_the_seed() {
        let cells = row(90);
        let one = draw(&cells, &[60, 30], &[0.5, 0.5], &rules(20), 7);
        assert_eq!(one.drawn, [10, 10]);
        assert_eq!(one, draw(&cells, &[60, 30], &[0.5, 0.5], &rules(20), 7));
        assert_ne!(one.chosen, draw(&cells, &[60, 30], &[0.5, 0.5], &rules(20), 8).chosen);
    }

    #[test]
    fn an_exhausted_stratum_hands_on() {
        let drawn = draw(&row(9), &[6, 3], &[0.5, 0.5], &rules(8), 1);
        assert_eq!((drawn.wanted, drawn.drawn), (vec![5, 3], vec![5, 3]));
        let all = draw(&row(9), &[6, 3], &[0.5, 0.5], &rules(100), 1);
        assert_eq!(all.drawn, [6, 3]);
    }

    #[test]
    fn tile_caps_and_distances_hold() {
        let cells = row(90);
        let capped = draw(&cells, &[60, 30], &[0.5, 0.5], &Rules { per_tile_max: Some(2), ..rules(90) }, 1);
        assert_eq!(capped.chosen.len(), 18, "nine tiles of two");
        let spread =
            draw(&cells, &[60, 30], &[0.5, 0.5], &Rules { min_distance_m: 25_000.0, ..rules(90) }, 1);
        assert!(spread.chosen.windows(2).all(|pair| pair[1] - pair[0] >= 3), "{:?}", spread.chosen);
        assert!(spread.chosen.windows(2).all(|pair| pair[1] - pair[0] <= 5), "nothing is left free");
    }

    /// Each of 10 equal cells must come up in about a fifth of 2000 draws of 2: 400 ± 5 standard deviations (18).
    #[test]
    fn every_cell_has_the_same_chance() {
        let cells: Vec<Candidate> =
            row(10).into_iter().map(|cell| Candidate { stratum: 0, ..cell }).collect();
        let mut hits = [0_i32; 10];
        for seed in 0..2000 {
            for index in draw(&cells, &[10], &[1.0], &rules(2), seed).chosen {
                hits[index] += 1;
            }
        }
        assert!(hits.iter().all(|hits| (hits - 400).abs() < 90), "{hits:?}");
    }
}
