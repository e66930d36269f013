//! Training, validation and test by blocks of ground, so that no test location has a training location next to it.

use std::collections::BTreeMap;

use minicube::{LonLat, Split};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const KM_PER_DEGREE: f64 = 111.195;

/// A random stream that no stratum of the draw uses.
const STREAM: u64 = u64::MAX;

/// How locations are split.
#[derive(Clone, Copy, Debug)]
pub struct SplitRules<'a> {
    /// Shares of training, validation and test, sum 1.
    pub shares: [f64; 3],
    /// Edge of the blocks, km.
    pub block_km: f64,
    /// Blocks are never smaller than this, km.
    pub smallest_km: f64,
    /// Class of each place, where every class shall have its share in every split.
    pub classes: Option<&'a [u16]>,
    /// Seed.
    pub seed: u64,
}

/// Splits of some places.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// One entry a place.
    pub splits: Vec<Split>,
    /// Edge of the blocks that was used, km.
    pub block_km: f64,
    /// Split of every block with a place, by row and column.
    pub blocks: BTreeMap<(i32, i32), Split>,
}

/// Assigns whole blocks to splits, in random order each to the split that lacks most. The blocks are `block_km` wide or,
/// where few places or a small area do not allow the shares (within 5 percentage points or one place, and at least one
/// place for every share above 0), half of that, a quarter, … down to `smallest_km`; of all these the first that meets
/// the shares is taken, else the one that comes closest.
#[must_use]
pub fn assign(places: &[LonLat], rules: &SplitRules<'_>) -> Assignment {
    let mut edge = rules.block_km;
    let mut best: Option<(f64, Assignment)> = None;
    loop {
        let (parts, of_block) = assign_blocks(places, &rules.shares, edge, rules.classes, rules.seed);
        let blocks = of_block.into_iter().map(|(block, part)| (block, Split::ALL[part])).collect();
        let splits: Vec<Split> = parts.into_iter().map(|part| Split::ALL[part]).collect();
        let miss = largest_miss(&splits, rules.shares);
        let found = Assignment { splits, block_km: edge, blocks };
        let good_enough = miss <= (1.0 / places.len().max(1) as f64).max(0.05);
        if best.as_ref().is_none_or(|(best_miss, _)| miss < *best_miss) {
            best = Some((miss, found.clone()));
        }
        edge /= 2.0;
        if good_enough || edge < rules.smallest_km {
            return best.map_or(found, |(_, best)| best);
        }
    }
}

/// Folds of equal size for cross-validation, by the blocks of an assignment: one number from 0 a place.
#[must_use]
pub fn folds(places: &[LonLat], count: usize, block_km: f64, classes: Option<&[u16]>, seed: u64) -> Vec<u32> {
    let shares = vec![1.0 / count as f64; count];
    let (parts, _) = assign_blocks(places, &shares, block_km, classes, seed);
    parts.into_iter().map(|part| part as u32).collect()
}

impl Assignment {
    /// Split of the ground under a place; blocks without a location belong to training.
    #[must_use]
    pub fn split_at(&self, place: LonLat) -> Split {
        self.blocks.get(&block_of(place, self.block_km)).copied().unwrap_or(Split::Train)
    }

    /// Whether a place must stay empty, because ground of another split is nearer than `buffer_km`: training gives way to
    /// validation and test, validation to test.
    #[must_use]
    pub fn in_buffer(&self, place: LonLat, buffer_km: f64) -> bool {
        let own = self.split_at(place);
        if buffer_km <= 0.0 || own == Split::Test {
            return false;
        }
        let (row, _) = block_of(place, self.block_km);
        let reach = (buffer_km / self.block_km).ceil() as i32;
        (row - reach..=row + reach).any(|row| {
            let south = f64::from(row) * self.block_km / KM_PER_DEGREE;
            let north = south + self.block_km / KM_PER_DEGREE;
            let away_lat = (south - place.lat).max(place.lat - north).max(0.0) * KM_PER_DEGREE;
            if away_lat > buffer_km {
                return false;
            }
            // The parallel nearest to the pole is the shortest: there the ground comes nearest.
            let shortest = place.lat.abs().max(south.abs().min(90.0)).max(north.abs().min(90.0)).min(89.9);
            let per_degree = KM_PER_DEGREE * shortest.to_radians().cos();
            let width = self.block_km / (KM_PER_DEGREE * middle_of(row, self.block_km).to_radians().cos());
            let reach = buffer_km / per_degree;
            [-360.0, 0.0, 360.0].into_iter().any(|turn| {
                let lon = place.lon + turn;
                let (first, last) =
                    (((lon - reach) / width).floor() as i32, ((lon + reach) / width).floor() as i32);
                self.blocks.range((row, first)..=(row, last)).any(|(&(_, col), &split)| {
                    let west = f64::from(col) * width;
                    let away_lon = (west - lon).max(lon - west - width).max(0.0) * per_degree;
                    split > own && away_lon.hypot(away_lat) < buffer_km
                })
            })
        })
    }
}

/// Part of each place, and of each block, for any number of parts.
fn assign_blocks(
    places: &[LonLat],
    shares: &[f64],
    block_km: f64,
    classes: Option<&[u16]>,
    seed: u64,
) -> (Vec<usize>, BTreeMap<(i32, i32), usize>) {
    let mut blocks: BTreeMap<(i32, i32), Vec<usize>> = BTreeMap::new();
    for (index, place) in places.iter().enumerate() {
        blocks.entry(block_of(*place, block_km)).or_default().push(index);
    }
    let mut members: Vec<((i32, i32), Vec<usize>)> = blocks.into_iter().collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(STREAM);
    members.shuffle(&mut rng);
    if classes.is_some() {
        // Large blocks first: they are the hardest to place well.
        members.sort_by_key(|(_, block)| std::cmp::Reverse(block.len()));
    }

    let class_of = |index: usize| classes.map_or(0, |classes| usize::from(classes[index]));
    let width = (0..places.len()).map(class_of).max().unwrap_or(0) + 1;
    let mut total = vec![0.0; width];
    (0..places.len()).for_each(|index| total[class_of(index)] += 1.0);
    let mut have = vec![vec![0.0; width]; shares.len()];
    let mut parts = vec![0; places.len()];
    let mut of_block = BTreeMap::new();
    let count = members.len();
    for (done, (block, indices)) in members.into_iter().enumerate() {
        let mut brings = vec![0.0; width];
        indices.iter().for_each(|&index| brings[class_of(index)] += 1.0);
        let which = neediest(&have, &brings, &total, shares, count - done);
        have[which].iter_mut().zip(&brings).for_each(|(have, brings)| *have += brings);
        indices.into_iter().for_each(|index| parts[index] = which);
        of_block.insert(block, which);
    }
    (parts, of_block)
}

/// The part that lacks most of what a block brings: of each class the share of its wanted number that is still missing,
/// weighted by the block's content. When only as many blocks are left as there are empty parts, an empty one.
fn neediest(have: &[Vec<f64>], brings: &[f64], total: &[f64], shares: &[f64], blocks_left: usize) -> usize {
    let empty = |part: &usize| have[*part].iter().sum::<f64>() == 0.0 && shares[*part] > 0.0;
    let must_fill = (0..shares.len()).filter(empty).count() >= blocks_left;
    let lack = |part: usize| -> f64 {
        let classes = brings.iter().zip(total).zip(&have[part]).filter(|((brings, _), _)| **brings > 0.0);
        classes.map(|((brings, total), have)| brings * (shares[part] * total - have) / total).sum()
    };
    (0..shares.len())
        .filter(|part| shares[*part] > 0.0 && (!must_fill || empty(part)))
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
    let row = (place.lat * KM_PER_DEGREE / block_km).floor() as i32;
    let col = (place.lon * KM_PER_DEGREE * middle_of(row, block_km).to_radians().cos() / block_km).floor();
    (row, col as i32)
}

/// Latitude of the middle of a row of blocks.
fn middle_of(row: i32, block_km: f64) -> f64 {
    ((f64::from(row) + 0.5) * block_km / KM_PER_DEGREE).clamp(-89.9, 89.9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sphere::{arc_m, on_sphere, separation};

    fn rules(shares: [f64; 3]) -> SplitRules<'static> {
        SplitRules { shares, block_km: 50.0, smallest_km: 3.84, classes: None, seed: 1 }
    }

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
        let done = assign(&places, &rules(SHARES));
        assert_eq!(done.block_km, 50.0);
        let mut seen = BTreeMap::new();
        for (place, split) in places.iter().zip(&done.splits) {
            assert_eq!(seen.entry(block_of(*place, 50.0)).or_insert(*split), split);
            assert_eq!(done.split_at(*place), *split);
        }
        assert_eq!(seen.len(), done.blocks.len());
        for (split, share) in Split::ALL.into_iter().zip(SHARES) {
            let reached = count(&done.splits, split) as f64 / places.len() as f64;
            assert!((reached - share).abs() <= 0.05, "{split}: {reached}");
        }
    }

    /// 16 places within 16 km lie in one block of 50 km: the blocks shrink until all three splits are there.
    #[test]
    fn small_areas_get_smaller_blocks() {
        let done = assign(&field(4), &rules(SHARES));
        assert!(done.block_km < 50.0);
        assert!(Split::ALL.into_iter().all(|split| count(&done.splits, split) > 0), "{:?}", done.splits);
    }

    #[test]
    fn odd_cases_end() {
        assert_eq!(assign(&[], &rules(SHARES)).splits, []);
        assert_eq!(assign(&field(1), &rules(SHARES)).splits.len(), 1);
        let all_train = assign(&field(5), &rules([1.0, 0.0, 0.0]));
        assert_eq!(count(&all_train.splits, Split::Train), 25);
    }

    /// Class 1 lies in the eastern tenth only; each split still gets its share of it.
    #[test]
    fn every_class_has_its_share_in_every_split() {
        let places = field(200);
        let classes: Vec<u16> = (0..places.len()).map(|i| u16::from(i % 200 >= 180)).collect();
        let shares = [0.5, 0.25, 0.25];
        let done = assign(&places, &SplitRules { classes: Some(&classes), block_km: 20.0, ..rules(shares) });
        let rare = classes.iter().filter(|class| **class == 1).count() as f64;
        for (split, share) in Split::ALL.into_iter().zip(shares) {
            let here =
                done.splits.iter().zip(&classes).filter(|(s, class)| **s == split && **class == 1).count();
            assert!((here as f64 / rare - share).abs() < 0.05, "{split}: {here} of {rare}");
        }
    }

    /// The places that are left outside the buffers keep their distance, at 60° N and across the antimeridian too.
    #[test]
    fn buffers_keep_splits_apart() {
        for (lon, lat) in [(25.0, 0.0), (25.0, 60.0), (179.0, -17.0)] {
            let step = 0.05;
            let places: Vec<LonLat> = (0..60 * 60)
                .map(|i| {
                    let lon = lon + (i % 60) as f64 * step;
                    LonLat {
                        lon: if lon > 180.0 { lon - 360.0 } else { lon },
                        lat: lat + (i / 60) as f64 * step,
                    }
                })
                .collect();
            let done = assign(&places, &rules([0.5, 0.2, 0.3]));
            let kept: Vec<(Split, [f64; 3])> = places
                .iter()
                .filter(|&&place| !done.in_buffer(place, 12.0))
                .map(|&place| (done.split_at(place), on_sphere(place)))
                .collect();
            assert!(kept.len() > places.len() / 4, "{}", kept.len());
            for (i, (split, point)) in kept.iter().enumerate() {
                for (other_split, other) in &kept[..i] {
                    if split != other_split {
                        let metres = arc_m(separation(point, other));
                        assert!(metres >= 11_990.0, "{split} and {other_split}: {metres} m at {lon} {lat}");
                    }
                }
            }
        }
    }

    #[test]
    fn folds_are_of_equal_size_and_follow_blocks() {
        let places = field(100);
        let folds = folds(&places, 10, 20.0, None, 3);
        let mut sizes = [0_usize; 10];
        let mut seen = BTreeMap::new();
        for (place, fold) in places.iter().zip(&folds) {
            sizes[*fold as usize] += 1;
            assert_eq!(seen.entry(block_of(*place, 20.0)).or_insert(*fold), fold);
        }
        assert!(sizes.iter().all(|size| (900..=1100).contains(size)), "{sizes:?}");
    }
}
