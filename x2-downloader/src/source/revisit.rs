//! Whether the catalogue has a scene of every pass: a satellite comes back to a relative orbit every ten days.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use minicube::NaiveDate;

use super::scenes::Pass;

const CYCLE_DAYS: i64 = 10;
/// Passes of which the cycle is known.
const ENOUGH: usize = 3;

/// A pass of which the catalogue has nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Missing {
    pub(crate) day: NaiveDate,
    pub(crate) orbit: u32,
    pub(crate) platform: String,
}

/// What is expected and what is missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Completeness {
    /// Passes between the first and the last one that was found, by orbit and satellite.
    pub(crate) expected: usize,
    /// Those of which nothing was found, ascending by day.
    pub(crate) missing: Vec<Missing>,
}

/// Compares passes with the ten-day cycle of each relative orbit and satellite, between the first and the last that
/// was found. Orbits with fewer than three passes say nothing. Not every gap is an error: satellites are manoeuvred.
pub(crate) fn completeness(passes: &[Pass]) -> Completeness {
    let mut orbits: BTreeMap<(u32, &str), Vec<&Pass>> = BTreeMap::new();
    for pass in passes {
        orbits.entry((pass.orbit, &pass.platform)).or_default().push(pass);
    }
    let mut found = Completeness::default();
    for ((orbit, platform), mut passes) in orbits {
        passes.sort_by_key(|pass| pass.moment);
        let (Some(first), Some(last)) = (passes.first(), passes.last()) else { continue };
        let cycle = |pass: &Pass| {
            let half = TimeDelta::days(CYCLE_DAYS) / 2;
            (pass.moment - first.moment + half).num_days().div_euclid(CYCLE_DAYS)
        };
        let mut cycles: Vec<i64> = passes.iter().map(|pass| cycle(pass)).collect();
        cycles.dedup();
        if cycles.len() < ENOUGH {
            continue;
        }
        let count = cycle(last) + 1;
        found.expected += usize::try_from(count).unwrap_or(0);
        let absent = (0..count).filter(|cycle| cycles.binary_search(cycle).is_err());
        found.missing.extend(absent.map(|cycle| Missing {
            day: (first.moment + TimeDelta::days(CYCLE_DAYS * cycle)).date_naive(),
            orbit,
            platform: platform.to_owned(),
        }));
    }
    found.missing.sort();
    found
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    fn pass(orbit: u32, platform: &str, moment: &str) -> Pass {
        let moment = DateTime::parse_from_rfc3339(moment).unwrap().with_timezone(&Utc);
        Pass { orbit, platform: platform.into(), moment }
    }

    /// Sentinel-2A over orbit 92 on 4, 14, 24 January and 13 February, so not on 3 February; 2B five days later, all
    /// there; two granules of one pass count once; of orbit 135 too little is known.
    #[test]
    fn a_lost_pass_is_found() {
        let passes = [
            pass(92, "sentinel-2a", "2021-01-04T08:12:31Z"),
            pass(92, "sentinel-2a", "2021-01-04T08:12:45Z"),
            pass(92, "sentinel-2a", "2021-01-14T08:12:01Z"),
            pass(92, "sentinel-2a", "2021-01-24T08:12:59Z"),
            pass(92, "sentinel-2a", "2021-02-13T08:11:31Z"),
            pass(92, "sentinel-2b", "2021-01-09T08:12:31Z"),
            pass(92, "sentinel-2b", "2021-01-19T08:12:31Z"),
            pass(92, "sentinel-2b", "2021-01-29T08:12:31Z"),
            pass(135, "sentinel-2b", "2021-01-02T08:22:31Z"),
            pass(135, "sentinel-2b", "2021-02-21T08:22:31Z"),
        ];
        let found = completeness(&passes);
        assert_eq!(found.expected, 5 + 3);
        let day = NaiveDate::from_ymd_opt(2021, 2, 3).unwrap();
        assert_eq!(found.missing, [Missing { day, orbit: 92, platform: "sentinel-2a".into() }]);
        assert_eq!(completeness(&[]), Completeness::default());
    }
}
