//! How the samples of different splits are kept apart: in place, in time, or both.

use minicube::run::Project;
use minicube::{LocationTable, Split};
use serde::{Deserialize, Serialize};

use crate::{Config, Error};

/// What separates training, validation and test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitMode {
    /// Place: a cube has the split of its location, whatever the year.
    Spatial,
    /// Time: every cube gives samples to each split, out of the split's years.
    Temporal,
    /// Place and time: a cube has the split of its location, and its samples lie in that split's years.
    Both,
}

/// Years of the splits, first and last, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitYears {
    /// Years to fit models on.
    pub train: [i32; 2],
    /// Years to choose among models.
    pub val: Option<[i32; 2]>,
    /// Years to report on models.
    pub test: Option<[i32; 2]>,
}

/// The rule that the splits of a dataset follow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Separation {
    /// What separates them.
    pub mode: SplitMode,
    /// Their years; none with [`SplitMode::Spatial`].
    pub years: Option<SplitYears>,
    /// Cubes of different splits are farther apart than this (m); 0 where they may touch.
    pub buffer_m: f64,
}

impl Separation {
    /// Years of a split; none where it has none, or where the years do not matter. With [`SplitMode::Both`] validation
    /// has those of test, and the reverse, unless it has its own.
    #[must_use]
    pub fn years_of(&self, split: Split) -> Option<[i32; 2]> {
        let years = self.years?;
        let shared = self.mode == SplitMode::Both;
        match split {
            Split::Train => Some(years.train),
            Split::Val => years.val.or(years.test.filter(|_| shared)),
            Split::Test => years.test.or(years.val.filter(|_| shared)),
        }
    }

    /// `both (train 2017 to 2019, test 2020 to 2021), 0 m apart`.
    #[must_use]
    pub fn text(&self) -> String {
        let of =
            |split: Split| self.years_of(split).map(|[first, last]| format!("{split} {first} to {last}"));
        let years: Vec<String> = Split::ALL.into_iter().filter_map(of).collect();
        let years = if years.is_empty() { String::new() } else { format!(" ({})", years.join(", ")) };
        let mode = match self.mode {
            SplitMode::Spatial => "spatial",
            SplitMode::Temporal => "temporal",
            SplitMode::Both => "both",
        };
        let apart = if self.buffer_m > 0.0 { format!(", {} m apart", self.buffer_m) } else { String::new() };
        format!("{mode}{years}{apart}")
    }
}

/// The rule that configuration and location table ask for: years of the configuration, else those of the table; without
/// a mode, [`SplitMode::Both`] where there are years and [`SplitMode::Spatial`] where there are none.
///
/// # Errors
/// [`Error::Setting`] for years that are missing, overlap or leave the project, and for a buffer that makes no sense.
pub(crate) fn separation(
    config: &Config,
    project: &Project,
    table: Option<&LocationTable>,
) -> Result<Separation, Error> {
    let known = match config.temporal_split {
        Some(years) => Some(years),
        None => years_of_table(table)?,
    };
    let by_default = if known.is_some() { SplitMode::Both } else { SplitMode::Spatial };
    let mode = config.split.unwrap_or(by_default);
    let wrong =
        |expected, found: &str| Error::Setting { key: "temporal_split", expected, found: found.into() };
    let years = match mode {
        SplitMode::Spatial if config.temporal_split.is_some() => {
            return Err(wrong("no years, with split = \"spatial\"", "some"));
        }
        SplitMode::Spatial => None,
        SplitMode::Temporal | SplitMode::Both => {
            let missing = || wrong("years of train and of val or test", "none, nor in the location table");
            let years = known.ok_or_else(missing)?;
            check_years(&years, project)?;
            Some(years)
        }
    };
    let buffer_m = config.split_buffer_m;
    if !(0.0..=1e6).contains(&buffer_m) {
        let found = buffer_m.to_string();
        return Err(Error::Setting { key: "split_buffer_m", expected: "0 to 1000000", found });
    }
    Ok(Separation { mode, years, buffer_m })
}

/// What x1-sampler was told to note for a split in time; it notes `{}` where it was told nothing.
fn years_of_table(table: Option<&LocationTable>) -> Result<Option<SplitYears>, Error> {
    let noted = table.and_then(|table| table.meta.get("split_years"));
    let Some(noted) = noted.filter(|years| years.as_object().is_some_and(|years| !years.is_empty())) else {
        return Ok(None);
    };
    let years = serde_json::from_value(noted.clone());
    years.map(Some).map_err(|_| Error::Setting {
        key: "temporal_split",
        expected: "train = [first, last] and val or test, or [sampler.split] years like that",
        found: format!("{noted} in the location table"),
    })
}

fn check_years(years: &SplitYears, project: &Project) -> Result<(), Error> {
    let check = |good: bool, expected, found: String| {
        if good { Ok(()) } else { Err(Error::Setting { key: "temporal_split", expected, found }) }
    };
    let named: Vec<(&str, [i32; 2])> =
        [("train", Some(years.train)), ("val", years.val), ("test", years.test)]
            .into_iter()
            .filter_map(|(name, years)| Some((name, years?)))
            .collect();
    check(named.len() > 1, "years of val or test beside those of train", "train alone".into())?;
    for (i, (name, [first, last])) in named.iter().enumerate() {
        check(first <= last, "[first, last]", format!("{name} = [{first}, {last}]"))?;
        let [from, to] = project.years;
        let inside = from <= *first && *last <= to;
        let found = format!("{name} = [{first}, {last}], [project] years = [{from}, {to}]");
        check(inside, "years of the project", found)?;
        for (other, [start, end]) in &named[..i] {
            let found = format!("{other} = [{start}, {end}], {name} = [{first}, {last}]");
            check(last < start || end < first, "splits that share no year", found)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> Project {
        Project {
            name: "p".into(),
            dir: "p".into(),
            years: [2017, 2021],
            seed: 1,
            buckets: Default::default(),
        }
    }

    const YEARS: SplitYears = SplitYears { train: [2017, 2019], val: None, test: Some([2020, 2021]) };

    fn table(years: serde_json::Value) -> LocationTable {
        let meta = serde_json::Map::from_iter([("split_years".to_owned(), years)]);
        LocationTable { locations: Vec::new(), grid: minicube::CellGrid::default(), meta }
    }

    #[test]
    fn years_come_from_the_configuration_else_from_the_table() {
        let of = |config: &Config, years| separation(config, &project(), Some(&table(years))).unwrap();
        let plain = Config::default();
        let none = of(&plain, serde_json::json!({}));
        assert_eq!((none.mode, none.years), (SplitMode::Spatial, None));
        let noted = serde_json::json!({"train": [2017, 2019], "test": [2020, 2021]});
        let both = of(&plain, noted.clone());
        assert_eq!((both.mode, both.years), (SplitMode::Both, Some(YEARS)));
        assert_eq!(both.text(), "both (train 2017 to 2019, val 2020 to 2021, test 2020 to 2021)");
        let temporal = of(&Config { split: Some(SplitMode::Temporal), ..plain.clone() }, noted.clone());
        assert_eq!(temporal.years_of(Split::Val), None, "a cube that is in test cannot lend val its years");
        assert_eq!(temporal.years_of(Split::Test), Some([2020, 2021]));
        let spatial = of(&Config { split: Some(SplitMode::Spatial), ..plain.clone() }, noted.clone());
        assert_eq!(spatial.years, None);
        let own = SplitYears { train: [2018, 2018], val: Some([2019, 2019]), test: Some([2020, 2020]) };
        let own = of(&Config { temporal_split: Some(own), ..plain }, noted);
        assert_eq!(own.years_of(Split::Val), Some([2019, 2019]));
    }

    #[test]
    fn years_that_cannot_be_are_named() {
        let fail = |years: SplitYears, split| {
            let config = Config { temporal_split: Some(years), split, ..Config::default() };
            separation(&config, &project(), None).unwrap_err().to_string()
        };
        let shared = fail(SplitYears { test: Some([2019, 2021]), ..YEARS }, None);
        assert!(
            shared.contains("expected splits that share no year, found train = [2017, 2019], test"),
            "{shared}"
        );
        let outside = fail(SplitYears { test: Some([2020, 2022]), ..YEARS }, None);
        assert!(outside.contains("test = [2020, 2022], [project] years = [2017, 2021]"), "{outside}");
        assert!(fail(SplitYears { test: None, ..YEARS }, None).contains("found train alone"));
        assert!(
            fail(SplitYears { train: [2019, 2017], ..YEARS }, None).contains("[first, last], found train")
        );
        assert!(fail(YEARS, Some(SplitMode::Spatial)).contains("no years, with split"));
        let config = Config { split: Some(SplitMode::Temporal), ..Config::default() };
        let missing = separation(&config, &project(), None).unwrap_err().to_string();
        assert!(missing.contains("none, nor in the location table"), "{missing}");
        let typo = table(serde_json::json!({"training": [2017, 2019]}));
        let typo = separation(&Config::default(), &project(), Some(&typo)).unwrap_err().to_string();
        assert!(typo.contains("\"training\"") && typo.contains("in the location table"), "{typo}");
    }
}
