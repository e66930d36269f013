//! Training, validation and test by blocks of ground, so that no test location has a training location next to it.

use std::collections::BTreeMap;

use minicube::{LonLat, Split};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const KM_PER_DEGREE: f64 = 111.195;

/// A random stream that no stratum of the draw uses.
const STREAM: u64 = u64::MAX;

/// Splits of some places.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// One entry a place.
    pub splits: Vec<Split>,
    /// Edge of the blocks that was used, km.
    pub block_km: f64,
    /// Number of blocks with a place.
    pub blocks: usize,
}

/// Assigns whole blocks to splits, in random order each to the split that lacks most. The blocks are `block_km` wide or,
/// where few places or a small area do not allow the shares (within 5 percentage points or one place, and at least one
/// place for every share above 0), half of that, a quarter, … down to `smallest_km`; of all these the first that meets
/// the shares is taken, else the one that comes closest.
#[must_use]
pub fn assign(places: &[LonLat], shares: [f64; 3], block_km: f64, smallest_km: f64, seed: u64) -> Assignment {
    let mut edge = block_km;
    let mut best: Option<(f64, Assignment)> = None;
    loop {
        let found = assign_blocks(places, shares, edge, seed);
        let miss = largest_miss(&found.splits, shares);
        let good_enough = miss <= (1.0 / places.len().max(1) as f64).max(0.05);
        if best.as_ref().is_none_or(|(best_miss, _)| miss < *best_miss) {
            best = Some((miss, found.clone()));
        }
        edge /= 2.0;
        if good_enough || edge < smallest_km {
            return best.map_or(found, |(_, best)| best);
        }
    }
}

fn assign_blocks(places: &[LonLat], shares: [f64; 3], block_km: f64, seed: u64) -> Assignment {
    let mut blocks: BTreeMap<(i32, i32), Vec<usize>> = BTreeMap::new();
    for (index, place) in places.iter().enumerate() {
        blocks.entry(block_of(*place, block_km)).or_default().push(index);
    }
    let mut members: Vec<Vec<usize>> = blocks.into_values().collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(STREAM);
    members.shuffle(&mut rng);

    let mut have = [0_usize; 3];
    let mut splits = vec![Split::Train; places.len()];
    let count = members.len();
    for (done, block) in members.into_iter().enumerate() {
        let which = neediest(&have, shares, places.len(), count - done);
        have[which] += block.len();
        for index in block {
            splits[index] = Split::ALL[which];
        }
    }
    Assignment { splits, block_km, blocks: count }
}

/// The split that lacks most places; when only as many blocks are left as there are empty splits, an empty one.
fn neediest(have: &[usize; 3], shares: [f64; 3], total: usize, blocks_left: usize) -> usize {
    let empty = |split: &usize| have[*split] == 0 && shares[*split] > 0.0;
    let must_fill = (0..3).filter(empty).count() >= blocks_left;
    let lack = |split: usize| shares[split] * total as f64 - have[split] as f64;
    (0..3)
        .filter(|split| shares[*split] > 0.0 && (!must_fill || empty(split)))
        .max_by(|&a, &b| lack(a).total_cmp(&lack(b)).then(b.cmp(&a)))
        .unwrap_or(0)
}

/// Largest difference between the wanted and the reached share; infinite if a wanted split is empty.
fn largest_miss(splits: &[Split], shares: [f64; 3]) -> f64 {
    let miss = |(index, split): (usize, &Split)| {
        let have = splits.iter().filter(|other| *other == split).count();
        if have == 0 && shares[index] > 0.0 {
            return f64::INFINITY;
        }
        (have as f64 / splits.len().max(1) as f64 - shares[index]).abs()
    };
    Split::ALL.iter().enumerate().map(miss).fold(0.0, f64::max)
}

/// Row and column of a block: rows of equal latitude, columns of equal width in km at the row's middle.
fn block_of(place: LonLat, block_km: f64) -> (i32, i32) {
    let row = (place.lat * KM_PER_DEGREE / block_km).floor();
    let middle = ((row + 0.5) * block_km / KM_PER_DEGREE).clamp(-89.9, 89.9);
    let col = (place.lon * KM_PER_DEGREE * middle.to_radians().cos() / block_km).floor();
    (row as i32, col as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARES: [f64; 3] = [0.75, 0.05, 0.2];

    /// `n` × `n` places 4 km apart.
    fn field(n: usize) -> Vec<LonLat> {
        (0..n * n)
            .map(|i| LonLat { lon: 25.0 + (i % n) as f64 * 0.036, lat: (i / n) as f64 * 0.036 })
            .collect()
    }

    fn count(splits: &[Split], split: Split) -> usize {
        splits.iter().filter(|other| **other == split).count()
    }

    #[test]
    fn blocks_are_never_cut() {
        let places = field(100);
        let done = assign(&places, SHARES, 50.0, 3.84, 1);
        assert_eq!(done.block_km, 50.0);
        let mut seen = BTreeMap::new();
        for (place, split) in places.iter().zip(&done.splits) {
            assert_eq!(seen.entry(block_of(*place, 50.0)).or_insert(*split), split);
        }
        assert_eq!(seen.len(), done.blocks);
        for (split, share) in Split::ALL.into_iter().zip(SHARES) {
            let reached = count(&done.splits, split) as f64 / places.len() as f64;
            assert!((reached - share).abs() <= 0.05, "{split}: {reached}");
        }
    }

    /// 16 places within 16 km lie in one block of 50 km: the blocks shrink until all three splits are there.
    #[test]
    fn small_areas_get_smaller_blocks() {
        let done = assign(&field(4), SHARES, 50.0, 3.84, 1);
        assert!(done.block_km < 50.0);
        assert!(Split::ALL.into_iter().all(|split| count(&done.splits, split) > 0), "{:?}", done.splits);
    }

    #[test]
    fn odd_cases_end() {
        assert_eq!(assign(&[], SHARES, 50.0, 3.84, 1).splits, []);
        assert_eq!(assign(&field(1), SHARES, 50.0, 3.84, 1).splits.len(), 1);
        let all_train = assign(&field(5), [1.0, 0.0, 0.0], 50.0, 3.84, 1);
        assert_eq!(count(&all_train.splits, Split::Train), 25);
        assert_eq!(assign(&field(9), SHARES, 50.0, 3.84, 5), assign(&field(9), SHARES, 50.0, 3.84, 5));
    }
}
