//! The stores to be made from Level 1, one for each split of a tile, and the ground that they cover.

use std::collections::BTreeMap;
use std::path::Path;

use minicube::{Location, LocationTable, Split, content_hash, list_stores, to_cf_day};

use crate::Error;
use crate::leakage::Ground;
use crate::level1::Level1;
use crate::plan::{CubeRef, Source, Unit};
use crate::separation::{Separation, SplitMode};
use crate::settings::Settings;

/// The units, and the inputs that cannot be used with the reason.
pub(crate) type Units = (Vec<Unit>, Vec<(String, String)>);

/// Where Level 1 and its locations are.
pub(crate) struct Input<'a> {
    /// The Level-1 stores.
    pub(crate) folder: &'a Path,
    /// The location table, if there is one.
    pub(crate) table: Option<&'a LocationTable>,
    /// Where it is.
    pub(crate) table_path: &'a Path,
}

/// One unit for each split of each Level-1 store; tiles of the table without a store are unusable.
///
/// # Errors
/// [`Error::Shared`] for a store that cannot be read, [`Error::Setting`] for bands and weather that it lacks,
/// [`Error::UnknownLocation`] for a cube that the table lacks, [`Error::NoInput`] where there is no store.
pub(crate) fn level1_units(
    input: &Input<'_>,
    settings: &Settings,
    separation: &Separation,
) -> Result<Units, Error> {
    let Input { folder, table, table_path } = *input;
    let mut units = Vec::new();
    let mut tiles = Vec::new();
    let known: Option<BTreeMap<&str, &Location>> =
        table.map(|table| table.locations.iter().map(|location| (location.id.as_str(), location)).collect());
    for path in list_stores(folder)? {
        let level1 = Level1::open(&path)?;
        let tile = level1.tile()?;
        for (name, band) in &settings.bands {
            if !level1.has_band(band) {
                let key = if name == "nir" { "nir" } else { "extra_bands" };
                let expected = "a band of Level 1";
                let found = format!("`{band}` (bands of {}: {})", path.display(), level1.band_names());
                return Err(Error::Setting { key, expected, found });
            }
        }
        let weather = level1.daily_names();
        if let Some(unknown) = settings.weather.keys().find(|name| !weather.contains_key(*name)) {
            let known: Vec<&str> = weather.keys().map(String::as_str).collect();
            let found = format!("`{unknown}` (weather of {}: {})", path.display(), known.join(", "));
            return Err(Error::Setting { key: "weather", expected: "a weather variable of Level 1", found });
        }
        let content_sha256 = content_hash(&path)?;
        let mut splits: BTreeMap<Split, Vec<CubeRef>> = BTreeMap::new();
        for (index, id) in level1.ids.iter().enumerate() {
            let (split, seed) = match &known {
                None => (Split::Train, index as i64),
                Some(known) => {
                    let location = known.get(id.as_str()).ok_or_else(|| Error::UnknownLocation {
                        path: path.clone(),
                        id: id.clone(),
                        table: table_path.to_owned(),
                    })?;
                    (location.split, location.seed)
                }
            };
            let cube = CubeRef { index, id: id.clone(), seed };
            match separation.mode {
                SplitMode::Spatial | SplitMode::Both => splits.entry(split).or_default().push(cube),
                SplitMode::Temporal => {
                    for split in Split::ALL.into_iter().filter(|split| separation.years_of(*split).is_some())
                    {
                        splits.entry(split).or_default().push(cube.clone());
                    }
                }
            }
        }
        for (split, cubes) in splits {
            let also_trains = separation.mode == SplitMode::Temporal && split != Split::Train;
            let source = Source::Level1 {
                path: path.clone(),
                content_sha256: content_sha256.clone(),
                cubes,
                years: separation.years_of(split),
                climatology: separation.years_of(Split::Train).filter(|_| also_trains),
            };
            units.push(Unit { split, tile: tile.clone(), source });
        }
        tiles.push(tile);
    }
    if units.is_empty() {
        return Err(Error::NoInput { path: folder.to_owned(), what: "level-1 stores" });
    }
    let absent = table.map(LocationTable::tiles).unwrap_or_default();
    let unusable = absent
        .into_keys()
        .filter(|tile| !tiles.contains(tile))
        .map(|tile| (tile, "the location table has it, Level 1 has not".to_owned()))
        .collect();
    Ok((units, unusable))
}

/// Where and when the samples of each cube may lie, in each split.
///
/// # Errors
/// [`Error::Shared`] if a store cannot be read.
pub(crate) fn grounds(units: &[Unit], settings: &Settings) -> Result<Vec<Ground>, Error> {
    let mut grounds = Vec::new();
    for unit in units {
        let Source::Level1 { path, cubes, years, .. } = &unit.source else { continue };
        let level1 = Level1::open(path)?;
        let bounds = level1.bounds()?;
        let (from, to) = settings.days_of(*years);
        grounds.extend(cubes.iter().map(|cube| Ground {
            cube_id: cube.id.clone(),
            split: unit.split,
            epsg: level1.epsg,
            bounds: bounds[cube.index],
            from: to_cf_day(from),
            to: to_cf_day(to),
        }));
    }
    Ok(grounds)
}
