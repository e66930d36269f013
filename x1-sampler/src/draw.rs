//! The draw: a seeded order within each stratum, taken from the front as far as distance and tile caps allow.

use std::collections::HashMap;

use crate::candidates::Candidate;
use crate::design::allocate;
use crate::order::queues;
use crate::sphere::{chord, on_sphere, separation};

/// What limits a draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// How many.
    pub count: usize,
    /// At most this many in a tile.
    pub per_tile_max: Option<usize>,
    /// Smallest great-circle distance between two centres, metres.
    pub min_distance_m: f64,
    /// Whether the locations of a stratum are spread evenly over its cells.
    pub balanced: bool,
    /// Seed.
    pub seed: u64,
}

/// What was drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    /// Indices of the drawn candidates, ascending.
    pub chosen: Vec<usize>,
    /// Open candidates of each stratum.
    pub open: Vec<usize>,
    /// How many were wanted of each stratum at first, as far as it has them.
    pub wanted: Vec<usize>,
    /// How many were drawn of each stratum.
    pub drawn: Vec<usize>,
    /// Candidates passed over because of the distance or the cap.
    pub passed_over: usize,
}

/// Draws from those candidates that are `open`. Rare strata draw first, so that common ones do not take their room. What
/// a stratum cannot give (too few cells, distance, cap) is shared among the others in proportion to their target shares,
/// again and again. The result depends on the candidates, the shares and the rules only.
#[must_use]
pub fn draw(
    candidates: &[Candidate],
    shares: &[f64],
    rules: &Rules,
    open: impl Fn(&Candidate) -> bool,
) -> Draw {
    let mut queues = queues(candidates, shares.len(), rules, open);
    let sizes: Vec<usize> = queues.iter().map(Vec::len).collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&stratum| (sizes[stratum], stratum));

    let mut room = Room::new(rules);
    let wanted = allocate(shares, rules.count, &sizes);
    let mut todo = wanted.clone();
    let drawn = vec![0; sizes.len()];
    let mut result = Draw { chosen: Vec::new(), open: sizes, wanted, drawn, passed_over: 0 };
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

#[cfg(test)]
mod tests {
    use super::*;
    use minicube::LonLat;

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
        Rules { count, per_tile_max: None, min_distance_m: 0.0, balanced: false, seed: 1 }
    }

    fn all(_: &Candidate) -> bool {
        true
    }

    #[test]
    fn the_draw_follows_the_target_and_the_seed() {
        let cells = row(90);
        let with = |seed| draw(&cells, &[0.5, 0.5], &Rules { seed, ..rules(20) }, all);
        assert_eq!(with(7).drawn, [10, 10]);
        assert_eq!(with(7), with(7));
        assert_ne!(with(7).chosen, with(8).chosen);
    }

    #[test]
    fn an_exhausted_stratum_hands_on() {
        let drawn = draw(&row(9), &[0.5, 0.5], &rules(8), all);
        assert_eq!((drawn.wanted, drawn.drawn), (vec![5, 3], vec![5, 3]));
        assert_eq!(draw(&row(9), &[0.5, 0.5], &rules(100), all).drawn, [6, 3]);
    }

    #[test]
    fn closed_candidates_are_not_drawn() {
        let drawn = draw(&row(90), &[0.5, 0.5], &rules(20), |candidate| candidate.tile < 3);
        assert_eq!(drawn.open, [20, 10]);
        assert_eq!(drawn.drawn, [10, 10]);
        assert!(drawn.chosen.iter().all(|&index| index < 30), "{:?}", drawn.chosen);
    }

    #[test]
    fn tile_caps_and_distances_hold() {
        let cells = row(90);
        let capped = draw(&cells, &[0.5, 0.5], &Rules { per_tile_max: Some(2), ..rules(90) }, all);
        assert_eq!(capped.chosen.len(), 18, "nine tiles of two");
        let spread = draw(&cells, &[0.5, 0.5], &Rules { min_distance_m: 25_000.0, ..rules(90) }, all);
        assert!(spread.chosen.windows(2).all(|pair| pair[1] - pair[0] >= 3), "{:?}", spread.chosen);
        assert!(spread.chosen.windows(2).all(|pair| pair[1] - pair[0] <= 5), "nothing is left free");
    }

    /// Each of 10 equal cells must come up in about a fifth of 2000 draws of 2: 400 ± 5 standard deviations (18), whether
    /// drawn at random or spread evenly.
    #[test]
    fn every_cell_has_the_same_chance() {
        let cells: Vec<Candidate> =
            row(10).into_iter().map(|cell| Candidate { stratum: 0, ..cell }).collect();
        for balanced in [false, true] {
            let mut hits = [0_i32; 10];
            for seed in 0..2000 {
                for index in draw(&cells, &[1.0], &Rules { seed, balanced, ..rules(2) }, all).chosen {
                    hits[index] += 1;
                }
            }
            assert!(hits.iter().all(|hits| (hits - 400).abs() < 90), "{balanced}: {hits:?}");
        }
    }

    /// Of 64 cells in a row every eighth is taken: no two neighbours, no gap above two steps.
    #[test]
    fn a_balanced_draw_is_spread_evenly() {
        let cells: Vec<Candidate> =
            row(64).into_iter().map(|cell| Candidate { stratum: 0, ..cell }).collect();
        for seed in 0..20 {
            let chosen = draw(&cells, &[1.0], &Rules { seed, balanced: true, ..rules(8) }, all).chosen;
            let gaps: Vec<usize> = chosen.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(gaps.iter().all(|gap| (4..=16).contains(gap)), "{gaps:?}");
        }
    }
}
