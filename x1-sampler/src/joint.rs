//! Joint strata: which combinations of classes occur, and what becomes of the rare ones.

use std::collections::BTreeMap;

/// What stands for "any class" in a merged stratum.
pub const ANY: &str = "*";

/// A class per column, or any.
type Key = Vec<Option<u16>>;

/// Joint strata of a population.
#[derive(Clone, Debug, PartialEq)]
pub struct Joint {
    /// One class name per column, ascending; [`ANY`] where strata were merged.
    pub strata: Vec<Vec<String>>,
    /// Cells in each.
    pub sizes: Vec<usize>,
    /// Stratum of each cell.
    pub of_cell: Vec<u32>,
    /// The strata that were too rare: names, size, and the stratum they went to.
    pub merged: Vec<(Vec<String>, usize, u32)>,
}

/// Joins the classes (`classes[column][cell]`, `names[column][class]`) of `cells` cells. Rare strata, those whose target
/// (locations wanted, from names and sizes) is below `least`, are merged: first those that differ in the last column only,
/// then, as far as they are still rare, those that differ in the last two, and so on. A stratum that is not rare is
/// never touched. So the columns count in their order; put the most important one first.
#[must_use]
pub fn join(
    cells: usize,
    classes: &[&[u16]],
    names: &[&[String]],
    target: impl Fn(&[Vec<String>], &[usize]) -> Vec<f64>,
    least: f64,
) -> Joint {
    // A joint class as one number, for speed; a key is the same with room for "any".
    let code_of = |cell: usize| {
        let digits = classes.iter().zip(names);
        digits.fold(0_u64, |code, (column, names)| code * names.len() as u64 + u64::from(column[cell]))
    };
    let key_of = |mut code: u64| -> Key {
        let mut key = vec![None; names.len()];
        for (class, names) in key.iter_mut().zip(names).rev() {
            *class = Some((code % names.len() as u64) as u16);
            code /= names.len() as u64;
        }
        key
    };
    let mut codes: BTreeMap<u64, usize> = BTreeMap::new();
    for cell in 0..cells {
        *codes.entry(code_of(cell)).or_default() += 1;
    }
    let first: BTreeMap<Key, usize> = codes.iter().map(|(&code, &size)| (key_of(code), size)).collect();
    let mut keys = first.clone();
    let label = |key: &Key| -> Vec<String> {
        let class = |(column, class): (usize, &Option<u16>)| match class {
            Some(class) => names[column][usize::from(*class)].clone(),
            None => ANY.to_owned(),
        };
        key.iter().enumerate().map(class).collect()
    };
    // Where each first key went, followed to the end.
    let mut went: BTreeMap<Key, Key> = BTreeMap::new();
    for kept in (0..classes.len()).rev() {
        let labels: Vec<Vec<String>> = keys.keys().map(&label).collect();
        let sizes: Vec<usize> = keys.values().copied().collect();
        let targets = target(&labels, &sizes);
        let rare: Vec<Key> = keys
            .keys()
            .zip(&targets)
            .filter(|(_, target)| **target < least)
            .map(|(key, _)| key.clone())
            .collect();
        let wider = |key: &[Option<u16>]| -> Key {
            key.iter().enumerate().map(|(column, class)| class.filter(|_| column < kept)).collect()
        };
        let mut groups: BTreeMap<Key, Vec<Key>> = BTreeMap::new();
        for key in rare {
            groups.entry(wider(&key)).or_default().push(key);
        }
        for (group, members) in groups {
            // A stratum that is alone in its group has nobody to merge with yet.
            if members.len() < 2 && members.first() != Some(&group) {
                continue;
            }
            let mut size = keys.remove(&group).unwrap_or(0);
            for member in members.into_iter().filter(|member| *member != group) {
                size += keys.remove(&member).unwrap_or(0);
                went.insert(member, group.clone());
            }
            keys.insert(group, size);
        }
    }
    let mut order: Vec<(Vec<String>, Key)> = keys.keys().map(|key| (label(key), key.clone())).collect();
    order.sort();
    let rank: BTreeMap<&Key, u32> =
        order.iter().enumerate().map(|(index, (_, key))| (key, index as u32)).collect();
    let home = |key: &Key| -> u32 {
        let mut key = key;
        while let Some(next) = went.get(key) {
            key = next;
        }
        rank.get(key).copied().unwrap_or(0)
    };
    let homes: BTreeMap<u64, u32> = codes.keys().map(|&code| (code, home(&key_of(code)))).collect();
    let merged = first.iter().filter(|(key, _)| went.contains_key(*key));
    Joint {
        strata: order.iter().map(|(names, _)| names.clone()).collect(),
        sizes: order.iter().map(|(_, key)| keys[key]).collect(),
        of_cell: (0..cells).map(|cell| homes.get(&code_of(cell)).copied().unwrap_or(0)).collect(),
        merged: merged.map(|(key, &size)| (label(key), size, home(key))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|name| (*name).to_owned()).collect()
    }

    /// The target is the size itself.
    fn as_sizes(_: &[Vec<String>], sizes: &[usize]) -> Vec<f64> {
        sizes.iter().map(|&size| size as f64).collect()
    }

    fn joined(columns: &[&[u16]], least: f64) -> Joint {
        let (dry_wet, low_high) = (names(&["wet", "dry"]), names(&["low", "mid", "high"]));
        join(columns[0].len(), columns, &[&dry_wet, &low_high], as_sizes, least)
    }

    #[test]
    fn strata_are_numbered_by_name() {
        let joint = joined(&[&[0, 1, 0, 1], &[2, 0, 2, 1]], 1.0);
        assert_eq!(joint.strata, [["dry", "low"], ["dry", "mid"], ["wet", "high"]]);
        assert_eq!((joint.sizes, joint.of_cell), (vec![1, 1, 2], vec![2, 0, 2, 1]));
        assert!(joint.merged.is_empty());
    }

    /// wet: low ×3, mid ×1, high ×1; dry: low ×1. Below 2: wet/mid and wet/high become wet/*, which is 2 and stays;
    /// dry/low has no partner at either level, it stays alone.
    #[test]
    fn rare_strata_merge_with_those_that_share_the_leading_columns() {
        let joint = joined(&[&[0, 0, 0, 0, 0, 1], &[0, 0, 0, 1, 2, 0]], 2.0);
        assert_eq!(joint.strata, [["dry", "low"], ["wet", "*"], ["wet", "low"]]);
        assert_eq!((joint.sizes, joint.of_cell), (vec![1, 2, 3], vec![2, 2, 2, 1, 1, 0]));
        let merged: Vec<(Vec<String>, usize, u32)> =
            vec![(names(&["wet", "mid"]), 1, 1), (names(&["wet", "high"]), 1, 1)];
        assert_eq!(joint.merged, merged);
    }

    /// Below 3 wet/* (2) is still rare: with dry/low it becomes */*.
    #[test]
    fn what_is_still_rare_merges_further() {
        let joint = joined(&[&[0, 0, 0, 0, 0, 1], &[0, 0, 0, 1, 2, 0]], 3.0);
        assert_eq!(joint.strata, [["*", "*"], ["wet", "low"]]);
        assert_eq!((joint.sizes.clone(), joint.of_cell), (vec![3, 3], vec![1, 1, 1, 0, 0, 0]));
        assert_eq!(joint.merged.iter().map(|(_, size, _)| size).sum::<usize>(), 3);
    }

    #[test]
    fn without_columns_there_is_one_stratum() {
        let joint = join(3, &[], &[], as_sizes, 1.0);
        assert_eq!((joint.strata, joint.sizes, joint.of_cell), (vec![vec![]], vec![3], vec![0, 0, 0]));
    }
}
