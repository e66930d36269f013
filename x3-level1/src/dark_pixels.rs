//! The cross-check of the radiometric offset: the darkest pixels of a few cubes, and what follows for each scene.

use minicube::Epsg;
use ndarray::Array2;
use rayon::prelude::*;

use crate::Error;
use crate::asset::Stored;
use crate::baseline::STORED_OFFSET;
use crate::config::OffsetRule;
use crate::offset::{DarkLevels, Says, judge};
use crate::older::Older;
use crate::plan::{SCL, TilePlan};
use crate::raster::Raster;
use crate::resample::{area_average, area_mode};
use crate::scene::Scene;
use crate::sources::{Ground, identity};

/// As many cubes, evenly spread over the list, are looked at.
const CUBES: usize = 4;

/// The bands in which vegetation is dark, the most telling first; two of them are looked at.
const BANDS: [&str; 4] = ["blue", "red", "coastal", "green"];

/// What the pixels say of the item's statement on the offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OffsetCheck {
    /// The same.
    Agree,
    /// Nothing sure.
    Undecided,
    /// The opposite.
    Disagree,
}

impl OffsetCheck {
    /// The names of the codes 0, 1, 2.
    pub const NAMES: [&'static str; 3] = ["agree", "undecided", "disagree"];

    /// The code in the store.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        OffsetCheck::NAMES[self as usize]
    }
}

/// The darkest pixels of a scene, and the ground that they are of.
pub(crate) struct Darkness {
    /// See [`sources`](crate::sources).
    pub source: i64,
    /// Levels by band.
    pub levels: DarkLevels,
}

/// The tile with every scene checked, and what was seen of each; by the rule "pixels" a scene whose pixels are sure is
/// stored as they say. What an older store has seen of the same ground is not looked at again.
///
/// # Errors
/// [`Error::Raster`] if a block cannot be decoded.
pub(crate) fn check_offsets(
    tile: &TilePlan,
    ground: &Ground,
    older: Option<&Older>,
) -> Result<(TilePlan, Vec<Darkness>), Error> {
    let mut tile = tile.clone();
    let bands: Vec<&str> =
        BANDS.into_iter().filter(|band| tile.assets.iter().any(|a| a == band)).take(2).collect();
    let look = |index: usize, scene: &Scene| {
        let source = source(&tile, index, &bands, ground);
        let known = older.and_then(|older| older.dark_levels(&scene.id, source));
        let levels = known.map_or_else(|| dark_levels(&tile, scene, &bands), Ok)?;
        Ok(Darkness { source, levels })
    };
    let seen = tile.scenes.par_iter().enumerate().map(|(index, scene)| look(index, scene));
    let seen = seen.collect::<Result<Vec<Darkness>, Error>>()?;
    let levels: Vec<DarkLevels> = seen.iter().map(|seen| seen.levels.clone()).collect();
    for (scene, says) in tile.scenes.iter_mut().zip(judge(&levels)) {
        let add = match says {
            Says::Plain => STORED_OFFSET,
            Says::Offset => 0,
            Says::Unsure => continue,
        };
        scene.check = if add == scene.add { OffsetCheck::Agree } else { OffsetCheck::Disagree };
        if scene.check == OffsetCheck::Disagree {
            tracing::warn!("{}/{}: {}", tile.tile, scene.id, disagreement(add));
        }
        if tile.offset == OffsetRule::Pixels {
            scene.add = add;
        }
    }
    Ok((tile, seen))
}

/// The cubes whose pixels are looked at.
fn sample(tile: &TilePlan) -> impl Iterator<Item = usize> + Clone {
    let (all, count) = (tile.cubes.len(), tile.cubes.len().min(CUBES));
    (0..count).map(move |i| i * all / count)
}

/// What the levels of a scene are made of.
fn source(tile: &TilePlan, scene: usize, bands: &[&str], ground: &Ground) -> i64 {
    let of_cube = |cube: usize| {
        let under = |asset: &&str| ground.get(*asset).map(|ids| ids[(scene, cube)]);
        let assets = std::iter::once(&SCL).chain(bands);
        (tile.cubes[cube].bounds, assets.map(under).collect::<Vec<_>>())
    };
    identity(&(tile.epsg, tile.grid, bands, sample(tile).map(of_cube).collect::<Vec<_>>()))
}

/// How item and pixels disagree, where the pixels ask for `add`.
#[must_use]
pub(crate) fn disagreement(add: u16) -> &'static str {
    if add == 0 {
        "its pixels carry the +1000 of baseline 04.00, its item says that they do not"
    } else {
        "its pixels do not carry the +1000 of baseline 04.00, its item says that they do"
    }
}

/// The levels of one scene, from the pixels of a few cubes on their grid.
fn dark_levels(tile: &TilePlan, scene: &Scene, bands: &[&str]) -> Result<DarkLevels, Error> {
    let size = (tile.grid.size_px, tile.grid.size_px);
    let mut classes = Vec::new();
    let mut numbers = vec![Vec::new(); bands.len()];
    let Some(scl) = scene.raster(SCL).filter(|_| !bands.is_empty()) else {
        return Ok(DarkLevels::of(&classes, &numbers));
    };
    let scl = Raster::open(&scl, Epsg(tile.epsg.0))?;
    let sample = sample(tile).map(|cube| &tile.cubes[cube].bounds);
    for bounds in sample.clone() {
        let (rows, cols) = scl.weights(bounds, tile.grid.size_px);
        let mut out = Array2::zeros(size);
        let source = scl.read(&rows.window, &cols.window)?;
        area_mode(source.view(), &rows, &cols, scl.nodata()? as u8, out.view_mut());
        classes.extend(out);
    }
    for (band, numbers) in bands.iter().zip(&mut numbers) {
        let Some(path) = scene.raster(band) else { continue };
        let raster = Raster::open(&path, Epsg(tile.epsg.0))?;
        for bounds in sample.clone() {
            let (rows, cols) = raster.weights(bounds, tile.grid.size_px);
            let mut out = Array2::zeros(size);
            let source = raster.read(&rows.window, &cols.window)?;
            let nodata = raster.nodata()? as u16;
            area_average(source.view(), &rows, &cols, nodata, Stored::AS_IT_IS, out.view_mut());
            numbers.extend(out);
        }
    }
    Ok(DarkLevels::of(&classes, &numbers))
}
