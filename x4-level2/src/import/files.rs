//! Which files make which cube, and which cube goes where.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use minicube::{Split, sha256_bytes, stored_bytes};
use serde::Serialize;

use super::{deepextremes, earthnet2021, greenearthnet};
use crate::Error;
use crate::Steps;
use crate::config::{Format, Import, SplitRule};
use crate::plan::{Source, Unit};
use crate::settings::Settings;

/// The cubes of one store.
#[derive(Debug, Serialize)]
pub struct ImportUnit {
    /// The dataset's layout.
    pub format: Format,
    /// Steps that a forecaster may see, where the user says so.
    pub context_steps: Option<usize>,
    /// The cubes, by id.
    pub cubes: Vec<ImportCube>,
}

/// One sample: a file, a context and a target file, or a part of a long series.
#[derive(Clone, Debug, Serialize)]
pub struct ImportCube {
    /// The published name, without `context_` or `target_` and the extension.
    pub id: String,
    /// Sentinel-2 tile, where the name tells.
    pub tile: String,
    /// The name without its dates: cubes of one place share their split.
    pub place: String,
    /// The file, or the context file and the target file.
    #[serde(skip)]
    pub files: Vec<PathBuf>,
    /// Sizes of the files, bytes.
    pub sizes: Vec<u64>,
    /// The part of the file's series, where it is not all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Steps>,
}

type Units = (Vec<Unit>, Vec<(String, String)>);

/// Finds the files, pairs them, looks into each and deals the cubes to splits. Cubes that cannot be used are returned
/// with the reason.
///
/// # Errors
/// [`Error::Setting`] for wrong shares, [`Error::NoInput`] where nothing is found, and the first cube's error where no
/// cube can be used.
pub(crate) fn plan_import(import: &Import, settings: &Settings) -> Result<Units, Error> {
    let shares = [import.train, import.val, import.test];
    if shares.iter().any(|share| !(0.0..=1.0).contains(share))
        || (shares.iter().sum::<f64>() - 1.0).abs() > 1e-6
    {
        return Err(Error::Setting {
            key: "import",
            expected: "train + val + test = 1, none below 0",
            found: format!("{shares:?}"),
        });
    }
    let mut files = Vec::new();
    for input in &import.input {
        let before = files.len();
        find(input, import.format.extension(), &mut files)?;
        if files.len() == before {
            return Err(Error::NoInput { path: input.clone(), what: import.format.files() });
        }
    }
    if files.is_empty() {
        return Err(Error::NoInput { path: "[level2.import] input".into(), what: "files or folders" });
    }
    files.sort();
    files.dedup();

    let found = match import.format {
        Format::Earthnet2021 => earthnet2021::cubes(&files),
        Format::Greenearthnet => greenearthnet::cubes(&files),
        Format::Deepextremes => deepextremes::cubes(&files, settings),
    };
    let mut usable: Vec<ImportCube> = Vec::new();
    let mut unusable = Vec::new();
    let mut first_error = None;
    for cube in found {
        let looked = cube.and_then(|cube| {
            match import.format {
                Format::Earthnet2021 => earthnet2021::inspect(&cube)?,
                Format::Greenearthnet => greenearthnet::inspect(&cube)?,
                // The starts of the samples come from a look into the cube.
                Format::Deepextremes => {}
            }
            Ok(cube)
        });
        match looked {
            Ok(cube) => usable.push(cube),
            Err(error) => {
                let hint = error.hint().map_or(String::new(), |hint| format!(" ({hint})"));
                unusable.push(("input".to_owned(), format!("{error}{hint}")));
                first_error.get_or_insert(error);
            }
        }
    }
    if usable.is_empty()
        && let Some(error) = first_error
    {
        return Err(error);
    }
    let mut import = import.clone();
    if import.format == Format::Deepextremes {
        import.context_steps.get_or_insert(settings.context_steps);
    }
    Ok((units(&import, usable), unusable))
}

fn units(import: &Import, cubes: Vec<ImportCube>) -> Vec<Unit> {
    let splits = deal(import, &cubes);
    let mut stores: BTreeMap<(Split, String), Vec<ImportCube>> = BTreeMap::new();
    for cube in cubes {
        let split = splits.get(&cube.place).copied().unwrap_or(Split::Train);
        stores.entry((split, cube.tile.clone())).or_default().push(cube);
    }
    let unit = |((split, tile), mut cubes): ((Split, String), Vec<ImportCube>)| {
        cubes.sort_by(|a, b| a.id.cmp(&b.id));
        let source = ImportUnit { format: import.format, context_steps: import.context_steps, cubes };
        Unit { split, tile, source: Source::Import(source) }
    };
    stores.into_iter().map(unit).collect()
}

/// The split of every place. With shares, the places are put in the order of a hash of their name and cut at the
/// shares: even three places are dealt as asked, and cubes of one place stay together whatever their dates.
fn deal(import: &Import, cubes: &[ImportCube]) -> BTreeMap<String, Split> {
    let mut places: Vec<(String, String)> =
        cubes.iter().map(|cube| (sha256_bytes(cube.place.as_bytes()), cube.place.clone())).collect();
    places.sort();
    places.dedup();
    let [train, val, _] = counts([import.train, import.val, import.test], places.len());
    let split = |rank: usize| match import.split {
        SplitRule::Train => Split::Train,
        SplitRule::Val => Split::Val,
        SplitRule::Test => Split::Test,
        SplitRule::Shares if rank < train => Split::Train,
        SplitRule::Shares if rank < train + val => Split::Val,
        SplitRule::Shares => Split::Test,
    };
    places.iter().enumerate().map(|(rank, (_, place))| (place.clone(), split(rank))).collect()
}

/// `n` places by shares that sum to 1: the nearest whole numbers, but one at least for every share above 0 as long as
/// there are places.
fn counts(shares: [f64; 3], n: usize) -> [usize; 3] {
    let mut counts = shares.map(|share| (share * n as f64).round().max(f64::from(share > 0.0)) as usize);
    let enough = n >= shares.iter().filter(|&&share| share > 0.0).count();
    while counts.iter().sum::<usize>() != n {
        // The count furthest from its share gives way; the later split where two are equally far.
        let excess = |i: usize| counts[i] as f64 - shares[i] * n as f64;
        let too_many = counts.iter().sum::<usize>() > n;
        let order = |a: &usize, b: &usize| excess(*a).total_cmp(&excess(*b));
        let used = (0..3).filter(|&i| shares[i] > 0.0);
        let most = used.clone().filter(|&i| counts[i] > 1 || !enough).max_by(order);
        match if too_many { most } else { used.min_by(order) } {
            Some(i) if too_many && counts[i] > 0 => counts[i] -= 1,
            Some(i) if !too_many => counts[i] += 1,
            _ => break,
        }
    }
    counts
}

/// A file itself, or the files of an extension in a folder and its sub-folders. A Zarr store is one file.
fn find(path: &Path, extension: &str, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    let io = |source| minicube::Error::Io { path: path.to_owned(), action: "read", source };
    let is_store = || extension == "zarr" && path.extension().is_some_and(|found| found == extension);
    if !std::fs::metadata(path).map_err(io)?.is_dir() || is_store() {
        found.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.is_dir() || path.extension().is_some_and(|found| found == extension) {
            find(&path, extension, found)?;
        }
    }
    Ok(())
}

/// Sizes of files or stores, 0 where they cannot be told.
pub(super) fn sizes(files: &[PathBuf]) -> Vec<u64> {
    let size = |file: &PathBuf| match std::fs::metadata(file) {
        Ok(metadata) if metadata.is_dir() => stored_bytes(file).unwrap_or(0),
        found => found.map_or(0, |metadata| metadata.len()),
    };
    files.iter().map(size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cube(id: &str, place: &str) -> ImportCube {
        let (files, sizes) = (vec![], vec![]);
        ImportCube { id: id.into(), tile: "29SND".into(), place: place.into(), files, sizes, window: None }
    }

    #[test]
    fn every_share_gets_a_place_if_there_are_enough() {
        assert_eq!(counts([0.8, 0.2, 0.0], 3), [2, 1, 0]);
        assert_eq!(counts([0.8, 0.2, 0.0], 2), [1, 1, 0]);
        assert_eq!(counts([0.8, 0.15, 0.05], 3), [1, 1, 1]);
        assert_eq!(counts([0.8, 0.15, 0.05], 100), [80, 15, 5]);
        assert_eq!(counts([1.0, 0.0, 0.0], 5), [5, 0, 0]);
        for n in 0..60 {
            assert_eq!(counts([0.34, 0.33, 0.33], n).iter().sum::<usize>(), n);
            assert_eq!(counts([0.5, 0.0, 0.5], n).iter().sum::<usize>(), n);
        }
    }

    #[test]
    fn three_places_are_dealt_two_to_one_and_dates_stay_together() {
        let cubes: Vec<ImportCube> = ["a", "b", "c"]
            .iter()
            .flat_map(|place| [cube(&format!("{place}1"), place), cube(&format!("{place}2"), place)])
            .collect();
        let units = units(&Import::default(), cubes.clone());
        let names: Vec<String> = units.iter().map(Unit::name).collect();
        assert_eq!(names, ["train/29SND", "val/29SND"]);
        let Source::Import(train) = &units[0].source else { panic!("an import") };
        assert_eq!(train.cubes.len(), 4);
        let all = Import { split: SplitRule::Test, ..Import::default() };
        assert!(deal(&all, &cubes).values().all(|&split| split == Split::Test));
    }
}
