//! The sampling design: target shares over the joint strata, whole numbers of locations, and weights.

use std::collections::BTreeMap;

use crate::config;

/// Numbers the joint strata that occur: names (ascending), sizes, and the stratum of each cell in the order given.
/// Cells of one key have the same names.
pub(crate) fn number_strata<'a, K: Ord + Clone, C: 'a>(
    cells: impl Iterator<Item = (K, &'a C)>,
    names: impl Fn(&C) -> Vec<String>,
) -> (Vec<Vec<String>>, Vec<usize>, Vec<u32>) {
    let mut provisional: BTreeMap<K, u32> = BTreeMap::new();
    let (mut found, mut sizes, mut of_cell) = (Vec::new(), Vec::new(), Vec::new());
    for (key, cell) in cells {
        let number = *provisional.entry(key).or_insert_with(|| {
            found.push(names(cell));
            sizes.push(0_usize);
            found.len() as u32 - 1
        });
        sizes[number as usize] += 1;
        of_cell.push(number);
    }
    let mut order: Vec<usize> = (0..found.len()).collect();
    order.sort_by(|&a, &b| found[a].cmp(&found[b]));
    let mut rank = vec![0_u32; found.len()];
    for (position, &number) in order.iter().enumerate() {
        rank[number] = position as u32;
    }
    let strata = order.iter().map(|&number| found[number].clone()).collect();
    let sizes = order.iter().map(|&number| sizes[number]).collect();
    (strata, sizes, of_cell.into_iter().map(|number| rank[number as usize]).collect())
}

/// Target share of each stratum, sum 1: equal (`uniform`), N/ΣN (`proportional`) or N^α/ΣN^α (`power`).
/// Empty strata get 0.
#[must_use]
pub fn target_shares(sizes: &[usize], design: config::Design, alpha: f64) -> Vec<f64> {
    let exponent = match design {
        config::Design::Uniform => 0.0,
        config::Design::Proportional => 1.0,
        config::Design::Power => alpha,
    };
    let raw: Vec<f64> =
        sizes.iter().map(|&size| if size == 0 { 0.0 } else { (size as f64).powf(exponent) }).collect();
    let sum: f64 = raw.iter().sum();
    raw.iter().map(|value| if sum > 0.0 { value / sum } else { 0.0 }).collect()
}

/// Shares `count` locations among strata: as `shares` say, but never more than a stratum's `capacity`; what an exhausted
/// stratum cannot take goes to the others in proportion. Whole numbers by the largest remainder, of equals the first.
/// The sum is `count`, or all there is.
#[must_use]
pub fn allocate(shares: &[f64], count: usize, capacity: &[usize]) -> Vec<usize> {
    let mut given = vec![0_usize; shares.len()];
    let mut open: Vec<usize> = (0..shares.len()).filter(|&h| shares[h] > 0.0 && capacity[h] > 0).collect();
    let mut left = count;
    loop {
        let sum: f64 = open.iter().map(|&h| shares[h]).sum();
        let ideal = |h: usize| left as f64 * shares[h] / sum;
        let (full, rest): (Vec<usize>, Vec<usize>) =
            open.iter().partition(|&&h| ideal(h) >= capacity[h] as f64);
        if full.is_empty() {
            let mut by_remainder: Vec<(f64, usize)> = Vec::with_capacity(rest.len());
            let mut placed = 0;
            for &h in &rest {
                given[h] = ideal(h).floor() as usize;
                placed += given[h];
                by_remainder.push((ideal(h) - ideal(h).floor(), h));
            }
            by_remainder.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            for &(_, h) in by_remainder.iter().take(left.saturating_sub(placed)) {
                given[h] += 1;
            }
            return given;
        }
        for h in full {
            given[h] = capacity[h];
            left -= capacity[h].min(left);
        }
        open = rest;
    }
}

/// Weight of a location of each stratum: population over sample (Horvitz–Thompson: the inverse of the probability to
/// be drawn), scaled to mean 1 over the sample. 0 for a stratum without sample. With these weights a mean over the sample
/// estimates the mean over the population of all sampled strata without bias.
#[must_use]
pub fn weights(sizes: &[usize], drawn: &[usize]) -> Vec<f64> {
    let represented: usize = sizes.iter().zip(drawn).filter(|(_, n)| **n > 0).map(|(size, _)| size).sum();
    let sample: usize = drawn.iter().sum();
    let mean = represented as f64 / sample as f64;
    let weight = |(&size, &n): (&usize, &usize)| if n == 0 { 0.0 } else { size as f64 / n as f64 / mean };
    sizes.iter().zip(drawn).map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Design;

    /// Sizes 100, 25, 4: square roots 10, 5, 2 of 17.
    #[test]
    fn target_shares_by_hand() {
        let sizes = [100, 25, 4, 0];
        assert_eq!(target_shares(&sizes, Design::Power, 0.5), [10.0 / 17.0, 5.0 / 17.0, 2.0 / 17.0, 0.0]);
        assert_eq!(target_shares(&sizes, Design::Uniform, 0.5), [1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 0.0]);
        assert_eq!(target_shares(&sizes, Design::Proportional, 0.5)[0], 100.0 / 129.0);
    }

    /// 10 over thirds: 3.33 each, the remainder goes to the first. With a stratum of 2: it gives 2, the others share 8.
    #[test]
    fn allocation_by_hand() {
        let thirds = [1.0 / 3.0; 3];
        assert_eq!(allocate(&thirds, 10, &[99, 99, 99]), [4, 3, 3]);
        assert_eq!(allocate(&thirds, 10, &[99, 2, 99]), [4, 2, 4]);
        // .5 .3 .2 of 7 = 3.5 2.1 1.4: floors 3 2 1, one left for the largest remainder.
        assert_eq!(allocate(&[0.5, 0.3, 0.2], 7, &[99, 99, 99]), [4, 2, 1]);
    }

    #[test]
    fn allocation_gives_all_there_is_but_not_more() {
        assert_eq!(allocate(&[0.5, 0.5], 10, &[3, 4]), [3, 4]);
        assert_eq!(allocate(&[0.5, 0.5], 0, &[3, 4]), [0, 0]);
        assert_eq!(allocate(&[], 5, &[]), [0; 0]);
        assert_eq!(allocate(&[0.9, 0.1], 10, &[0, 40]), [0, 10]);
        // Whatever the shares: the sum is min(count, capacity).
        for count in 0..60 {
            let given = allocate(&[0.6, 0.25, 0.1, 0.05], count, &[7, 30, 2, 11]);
            assert_eq!(given.iter().sum::<usize>(), count.min(50), "{given:?}");
        }
    }

    /// 90 cells give 6 locations and 10 give 4: a location stands for 15 or 2.5 cells, 10 on average.
    #[test]
    fn weights_by_hand() {
        assert_eq!(weights(&[90, 10], &[6, 4]), [1.5, 0.25]);
        // The mean over the sample is 1: (6 · 1.5 + 4 · .25) / 10.
        assert_eq!(weights(&[90, 10, 5], &[6, 4, 0]), [1.5, 0.25, 0.0]);
    }

    #[test]
    fn strata_are_numbered_by_name() {
        let cells = [3, 1, 3, 2];
        let (strata, sizes, of_cell) =
            number_strata(cells.iter().map(|c| (*c, c)), |c| vec![format!("c{c}")]);
        assert_eq!(strata, [["c1"], ["c2"], ["c3"]]);
        assert_eq!(sizes, [1, 1, 2]);
        assert_eq!(of_cell, [2, 0, 2, 1]);
    }
}
