//! What the values of a store were made of, as numbers: where two are equal, so are the values.
//!
//! They are kept in the store, so that a later plan of the tile can tell which of its values are there already. A raster
//! is known by the ETag of its origin and the blocks that it lacks under a cube, not by its size: a sparse file grows when
//! blocks of other cubes are added.

use std::collections::BTreeMap;
use std::path::PathBuf;

use minicube::plan_hash;
use ndarray::{Array1, Array2};
use rayon::prelude::*;
use serde::Serialize;

use crate::config::SameDay;
use crate::ledger::Ledger;
use crate::plan::{SCL, TilePlan};
use crate::same_day::ACQUISITION;
use crate::scene::Scene;
use crate::smap::SmapPlan;

/// What lies under each cube in the rasters of each asset, `[scene, cube]`.
pub(crate) type Ground = BTreeMap<String, Array2<i64>>;

/// The first 64 bits of a hash of these values and this version.
#[must_use]
pub(crate) fn identity(of: &impl Serialize) -> i64 {
    let hex = plan_hash(&(env!("CARGO_PKG_VERSION"), of));
    u64::from_str_radix(&hex, 16).unwrap_or_default().cast_signed()
}

/// What a raster has under a cube. `absent` are the blocks there that it lacks.
#[must_use]
pub(crate) fn ground(scene: &Scene, asset: &str, absent: &[(usize, usize)], ledger: &Ledger) -> i64 {
    let etag = ledger.asset(&scene.id, asset).and_then(|record| record.etag.as_ref());
    let size = scene.sizes.get(asset).filter(|_| etag.is_none());
    identity(&(etag, size, absent))
}

/// What a layer of Sentinel-2 is made of, `[cube, frame]`. The tile's scenes have their offsets decided.
#[must_use]
pub(crate) fn of_layer(tile: &TilePlan, layer: &str, ground: &Ground) -> Array2<i64> {
    let frames = tile.frames();
    let asset = if layer == ACQUISITION { SCL } else { layer };
    let by_classes = asset == SCL || tile.same_day == SameDay::Merge;
    let rule = (tile.epsg, tile.grid, layer, tile.same_day, by_classes.then_some(tile.classes));
    let under = |asset: &str, scene: usize, cube: usize| ground.get(asset).map(|ids| ids[(scene, cube)]);
    let of_scene = |index: usize, cube: usize, merged: bool| {
        let scene = &tile.scenes[index];
        let stored = scene.stored(asset);
        let classes = merged.then(|| under(SCL, index, cube));
        (&scene.id, &scene.datetime, stored.gain, stored.add, under(asset, index, cube), classes)
    };
    let rows: Vec<i64> = tile
        .cubes
        .par_iter()
        .enumerate()
        .flat_map_iter(|(index, cube)| {
            let of_frame = move |frame: &std::ops::Range<usize>| {
                let scenes: Vec<_> =
                    frame.clone().map(|scene| of_scene(scene, index, frame.len() > 1)).collect();
                identity(&(&rule, cube.bounds, scenes))
            };
            frames.iter().map(of_frame).collect::<Vec<i64>>()
        })
        .collect();
    Array2::from_shape_vec((tile.cubes.len(), frames.len()), rows).unwrap_or_default()
}

/// What each day of SMAP is made of.
#[must_use]
pub(crate) fn of_smap_days(plan: &SmapPlan, first_day: i32, days: usize) -> Array1<i64> {
    let rule = identity(&(&plan.variables, &plan.series, plan.window, plan.granules_per_day));
    let file = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (name, std::fs::metadata(path).map_or(0, |file| file.len()))
    };
    let of_day = |day: i32| {
        let granules = plan.granules.get(&day).into_iter().flatten();
        identity(&(rule, granules.map(file).collect::<Vec<_>>()))
    };
    (first_day..).take(days).map(of_day).collect()
}

/// What the weather is made of.
#[must_use]
pub(crate) fn of_era5(tile: &TilePlan) -> i64 {
    identity(&(&tile.era5, tile.center(), tile.first_day, tile.days))
}

/// What the static layers are made of.
#[must_use]
pub(crate) fn of_statics(tile: &TilePlan) -> i64 {
    let cubes: Vec<_> = tile.cubes.iter().map(|cube| (&cube.id, cube.bounds)).collect();
    identity(&(tile.epsg, tile.grid, &tile.statics, cubes))
}

/// Name of the variable that says what a layer of Sentinel-2 is made of.
#[must_use]
pub(crate) fn variable(layer: &str) -> String {
    format!("source/{layer}")
}

/// Name of the variable that says what the days of SMAP are made of.
pub(crate) const SMAP_DAYS: &str = "source/smap";
