//! The sampling design: target shares over the joint strata, whole numbers of locations, and weights.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::{Design, Target};
use crate::joint::ANY;

/// How the locations are shared among the joint strata.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shares {
    /// The design.
    pub design: Design,
    /// Exponent of the power design, and within a row of the table.
    pub alpha: f64,
    /// The target table.
    pub targets: Vec<Target>,
}

impl Shares {
    /// Target share of each stratum, sum 1: equal (`uniform`), N/ΣN (`proportional`) or N^α/ΣN^α (`power`) for strata of
    /// N cells; by the table, a row's share is shared among the strata it fits ∝ N^α, and rows that fit none are left
    /// out. Empty strata get 0. `columns` names the parts of a stratum's name.
    #[must_use]
    pub fn of(&self, columns: &[&str], strata: &[Vec<String>], sizes: &[usize]) -> Vec<f64> {
        let exponent = match self.design {
            Design::Uniform => 0.0,
            Design::Proportional => 1.0,
            Design::Power | Design::Table => self.alpha,
        };
        let power = |size: usize| if size == 0 { 0.0 } else { (size as f64).powf(exponent) };
        let mut raw: Vec<f64> = sizes.iter().map(|&size| power(size)).collect();
        if self.design == Design::Table {
            let rows: Vec<Option<usize>> = strata.iter().map(|names| self.row_of(columns, names)).collect();
            let mut sums = vec![0.0; self.targets.len()];
            for (row, value) in rows.iter().zip(&raw) {
                if let Some(row) = row {
                    sums[*row] += value;
                }
            }
            for (row, value) in rows.iter().zip(&mut raw) {
                *value = match row {
                    Some(row) if sums[*row] > 0.0 => self.targets[*row].share * *value / sums[*row],
                    _ => 0.0,
                };
            }
        }
        let sum: f64 = raw.iter().sum();
        raw.iter().map(|value| if sum > 0.0 { value / sum } else { 0.0 }).collect()
    }

    /// The rows of the table that fit no stratum, in words.
    #[must_use]
    pub fn idle_rows(&self, columns: &[&str], strata: &[Vec<String>]) -> Vec<String> {
        let used: Vec<Option<usize>> = strata.iter().map(|names| self.row_of(columns, names)).collect();
        let idle = self.targets.iter().enumerate().filter(|(row, _)| !used.contains(&Some(*row)));
        idle.map(|(_, target)| describe(&target.classes)).collect()
    }

    fn row_of(&self, columns: &[&str], names: &[String]) -> Option<usize> {
        let fits = |target: &Target| {
            target.classes.iter().all(|(column, class)| {
                let place = columns.iter().position(|name| name == column);
                place.is_some_and(|place| names[place] == *class || names[place] == ANY)
            })
        };
        self.targets.iter().position(fits)
    }
}

fn describe(classes: &BTreeMap<String, String>) -> String {
    if classes.is_empty() {
        return "the rest".to_owned();
    }
    classes.iter().map(|(column, class)| format!("{column} {class}")).collect::<Vec<_>>().join(", ")
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

    fn shares(design: Design, targets: Vec<Target>) -> Shares {
        Shares { design, alpha: 0.5, targets }
    }

    fn strata(all: &[[&str; 2]]) -> Vec<Vec<String>> {
        all.iter().map(|names| names.map(str::to_owned).to_vec()).collect()
    }

    const COLUMNS: [&str; 2] = ["climate", "landcover"];

    /// Sizes 100, 25, 4: square roots 10, 5, 2 of 17.
    #[test]
    fn target_shares_by_hand() {
        let (sizes, names) = ([100, 25, 4, 0], strata(&[["a", "x"], ["b", "x"], ["c", "x"], ["d", "x"]]));
        let of = |design| shares(design, Vec::new()).of(&COLUMNS, &names, &sizes);
        assert_eq!(of(Design::Power), [10.0 / 17.0, 5.0 / 17.0, 2.0 / 17.0, 0.0]);
        assert_eq!(of(Design::Uniform), [1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 0.0]);
        assert_eq!(of(Design::Proportional)[0], 100.0 / 129.0);
    }

    /// Half for (a, x); the rest in climate a shares a quarter by square roots 3 : 2; b is not in the table; a row for z
    /// fits nothing. Of the sum 0.75: 2/3, 1/5, 2/15, 0.
    #[test]
    fn a_target_table_by_hand() {
        let row = |classes: &[(&str, &str)], share| Target {
            classes: classes.iter().map(|(c, k)| ((*c).to_owned(), (*k).to_owned())).collect(),
            share,
        };
        let table = shares(
            Design::Table,
            vec![
                row(&[("climate", "a"), ("landcover", "x")], 0.5),
                row(&[("climate", "a")], 0.25),
                row(&[("climate", "z")], 0.25),
            ],
        );
        let names = strata(&[["a", "x"], ["a", "y"], ["a", "z"], ["b", "x"]]);
        let found = table.of(&COLUMNS, &names, &[50, 9, 4, 1000]);
        for (found, expected) in found.iter().zip([2.0 / 3.0, 0.2, 2.0 / 15.0, 0.0]) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        assert_eq!(table.idle_rows(&COLUMNS, &names), ["climate z"]);
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
}
