//! Where samples begin: random, but no season more often than another.

use std::collections::BTreeMap;

use minicube::from_cf_day;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::Steps;

/// First steps of `count` distinct samples of `len` steps, ascending in `k`, the number of the sample.
///
/// Sample `k` draws a time of year first, uniformly among those that some possible start has, and then the year:
/// so the starts are spread evenly over the year even where the series offers, say, January starts in three years and
/// October starts in two. Each draw depends on (`project_seed`, `location_seed`, `k`) and on the earlier starts only.
/// Fewer are returned where the series has fewer possible starts.
#[must_use]
pub fn draw_starts(
    usable: &Steps,
    len: usize,
    count: usize,
    project_seed: u64,
    location_seed: i64,
) -> Vec<usize> {
    let possible = (usable.len + 1).saturating_sub(len);
    let mut chosen: Vec<usize> = Vec::new();
    for k in 0..count.min(possible) {
        let mut by_phase: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for start in (0..possible).filter(|start| !chosen.contains(start)) {
            by_phase.entry(phase(usable, start)).or_default().push(start);
        }
        let phases: Vec<&Vec<usize>> = by_phase.values().collect();
        let mut rng = rng(project_seed, location_seed, k as u64);
        let starts = phases[rng.random_range(0..phases.len())];
        chosen.push(starts[rng.random_range(0..starts.len())]);
    }
    chosen
}

/// The time of year of a start, as one of as many equal parts of the year as it has whole steps.
fn phase(usable: &Steps, start: usize) -> u32 {
    use chrono::Datelike;
    let parts = (365 / usable.step_days).max(1) as u32;
    from_cf_day(usable.start(start)).ordinal0() * parts / 366
}

fn rng(project_seed: u64, location_seed: i64, k: u64) -> ChaCha8Rng {
    let mut seed = *b"........................x4 start";
    seed[..8].copy_from_slice(&project_seed.to_le_bytes());
    seed[8..16].copy_from_slice(&location_seed.to_le_bytes());
    seed[16..24].copy_from_slice(&k.to_le_bytes());
    ChaCha8Rng::from_seed(seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use minicube::{NaiveDate, Season, to_cf_day};

    fn four_years() -> Steps {
        let first = to_cf_day(NaiveDate::from_ymd_opt(2018, 1, 1).unwrap());
        Steps { first_day: first, step_days: 10, len: 146 }
    }

    #[test]
    fn starts_are_distinct_inside_and_repeatable() {
        let starts = draw_starts(&four_years(), 45, 20, 42, 7);
        assert_eq!(starts, draw_starts(&four_years(), 45, 20, 42, 7));
        assert_eq!(
            starts[..5],
            draw_starts(&four_years(), 45, 5, 42, 7),
            "more samples do not move the first"
        );
        assert_ne!(starts, draw_starts(&four_years(), 45, 20, 42, 8));
        let mut sorted = starts.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 20);
        assert!(sorted.iter().all(|&s| s + 45 <= 146));
    }

    /// 102 possible starts: January to mid-October of one year are offered three times, the rest twice. A plain
    /// uniform draw would start in DJF 22 %, in MAM 27 % of the time; the drawn ones must be within noise of 25 %.
    #[test]
    fn every_season_starts_equally_often() {
        let steps = four_years();
        let mut counts = [0; 4];
        for location in 0..4000 {
            let start = draw_starts(&steps, 45, 1, 42, location)[0];
            counts[Season::of(from_cf_day(steps.start(start))).code() as usize] += 1;
        }
        for count in counts {
            assert!((900..1100).contains(&count), "{counts:?}");
        }
    }

    #[test]
    fn a_series_that_just_fits_has_one_start() {
        let steps = Steps { len: 45, ..four_years() };
        assert_eq!(draw_starts(&steps, 45, 3, 1, 1), vec![0]);
        assert!(draw_starts(&Steps { len: 44, ..steps }, 45, 3, 1, 1).is_empty());
    }
}
