//! The tiles to keep where only some may be used: those that together serve the strata best.

use std::collections::{BTreeMap, BTreeSet};

use crate::candidates::Candidate;

/// Chooses up to `budget` tiles, one after the other, each time the tile that adds most to the share of the targets that
/// can be met. A tile gives at most `per_tile` locations, those first whose strata lack most of their target. With tile
/// gains that only shrink this greedy choice reaches at least 1 − 1/e of the best possible (Nemhauser et al. 1978,
/// doi:10.1007/BF01588971). Of equals the first tile wins.
///
/// `targets` are the locations wanted of each stratum.
#[must_use]
pub fn top_tiles(candidates: &[Candidate], targets: &[f64], per_tile: usize, budget: usize) -> BTreeSet<u32> {
    let mut supply: BTreeMap<u32, BTreeMap<u32, usize>> = BTreeMap::new();
    for candidate in candidates {
        *supply.entry(candidate.tile).or_default().entry(candidate.stratum).or_default() += 1;
    }
    let mut need = targets.to_vec();
    let mut chosen = BTreeSet::new();
    // Gains only shrink as needs are met, so an old gain is an upper bound: most tiles need no new look.
    let mut bounds: Vec<(f64, u32)> = supply.keys().map(|&tile| (f64::INFINITY, tile)).collect();
    while chosen.len() < budget && !bounds.is_empty() {
        bounds.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut best: Option<(f64, u32)> = None;
        for (bound, tile) in &mut bounds {
            if best.is_some_and(|(gain, _)| gain >= *bound) {
                break;
            }
            *bound = given(&supply[tile], &need, targets, per_tile).iter().map(|(_, _, gain)| gain).sum();
            if best.is_none_or(|(gain, first)| *bound > gain || (*bound == gain && *tile < first)) {
                best = Some((*bound, *tile));
            }
        }
        let Some((gain, tile)) = best.filter(|(gain, _)| *gain > 0.0) else { break };
        debug_assert!(gain > 0.0);
        for (stratum, count, _) in given(&supply[&tile], &need, targets, per_tile) {
            need[stratum as usize] -= count;
        }
        chosen.insert(tile);
        bounds.retain(|(_, other)| *other != tile);
    }
    chosen
}

/// What a tile gives to the needs that are left: stratum, locations, and the share of the stratum's target that they are.
fn given(
    supply: &BTreeMap<u32, usize>,
    need: &[f64],
    targets: &[f64],
    per_tile: usize,
) -> Vec<(u32, f64, f64)> {
    let mut lacking: Vec<(f64, u32, f64)> = supply
        .iter()
        .filter(|(stratum, _)| need[**stratum as usize] > 0.0)
        .map(|(&stratum, &count)| {
            let need = need[stratum as usize];
            (need / targets[stratum as usize], stratum, need.min(count as f64))
        })
        .collect();
    lacking.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut room = per_tile as f64;
    let mut result = Vec::with_capacity(lacking.len());
    for (_, stratum, count) in lacking {
        let count = count.min(room);
        room -= count;
        if count > 0.0 {
            result.push((stratum, count, count / targets[stratum as usize]));
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use minicube::LonLat;

    /// Tiles with so many candidates of strata 0, 1, 2.
    fn tiles(counts: &[[usize; 3]]) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for (tile, strata) in counts.iter().enumerate() {
            for (stratum, &count) in strata.iter().enumerate() {
                for col in 0..count {
                    candidates.push(Candidate {
                        tile: tile as u32,
                        row: stratum as u16,
                        col: col as u16,
                        stratum: stratum as u32,
                        center: LonLat { lon: tile as f64, lat: 0.0 },
                    });
                }
            }
        }
        candidates
    }

    /// Wanted 10, 10, 2. Tile 0 has much of stratum 0 only, tile 1 some of all, tile 2 all of stratum 2: gains 1.0,
    /// 0.4 + 0.4 + 0 = 0.8, and 1.0 (0 is first). Then 2 (1.0) before 1, whose gain is down to 0.4.
    #[test]
    fn rare_strata_count_as_much_as_common_ones() {
        let candidates = tiles(&[[50, 0, 0], [4, 4, 0], [0, 0, 2]]);
        let targets = [10.0, 10.0, 2.0];
        assert_eq!(top_tiles(&candidates, &targets, 100, 1), [0].into());
        assert_eq!(top_tiles(&candidates, &targets, 100, 2), [0, 2].into());
        assert_eq!(top_tiles(&candidates, &targets, 100, 9), [0, 1, 2].into());
    }

    #[test]
    fn a_capped_tile_gives_less() {
        // With five a tile, tile 1 gives 4 + 1 of ten each (0.5), tile 0 five of ten (0.5): the first of equals.
        let candidates = tiles(&[[50, 0, 0], [4, 4, 0]]);
        assert_eq!(top_tiles(&candidates, &[10.0, 10.0, 0.0], 5, 1), [0].into());
        // Tiles that add nothing are not taken.
        assert_eq!(top_tiles(&candidates, &[5.0, 0.0, 0.0], 5, 2), [0].into());
    }
}
