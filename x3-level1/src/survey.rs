//! A look at every file's header before anything is decoded: does it lie right, and what is missing in it.

use minicube::Epsg;
use ndarray::Array2;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::ledger::Ledger;
use crate::plan::TilePlan;
use crate::raster::Raster;
use crate::scene::Scene;
use crate::sources::{Ground, ground};
use crate::{Error, era5, smap};

/// What lies under a cube where there is no file.
const NO_FILE: i64 = 0;

/// What a cube should have and the raw files do not: blocks that are neither in the raster nor accounted for in the
/// ledger, or a variable of the weather that is missing in some files. Kept in the store's attributes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gap {
    /// Scene id; of weather the first granule, or the first day.
    pub scene: String,
    /// Asset; of weather the variable, with its group.
    pub asset: String,
    /// Ids of the cubes concerned.
    pub cubes: Vec<String>,
    /// What is missing, and what the ledger says of it.
    pub reason: String,
}

/// What a look at every file tells.
pub(crate) struct Survey {
    /// The gaps of the tile, in the order of scenes and assets, then of weather.
    pub gaps: Vec<Gap>,
    /// What lies under each cube in the rasters.
    pub ground: Ground,
}

/// Looks at the files of a tile.
///
/// # Errors
/// - [`Error::Raster`] or [`Error::Georeference`] for a raster that cannot be opened, is of another zone or does not
///   touch the tile's cubes,
/// - [`Error::Variable`] for a file of weather that cannot be opened or means something else than the others.
pub(crate) fn survey(tile: &TilePlan, ledger: &Ledger) -> Result<Survey, Error> {
    let assets: Vec<&str> = tile.all_assets().collect();
    let per_scene = tile
        .scenes
        .par_iter()
        .map(|scene| assets.iter().map(|asset| survey_asset(tile, scene, asset, ledger)).collect())
        .collect::<Result<Vec<Vec<(Option<Gap>, Vec<i64>)>>, Error>>()?;
    let mut gaps = Vec::new();
    let mut columns: Vec<Vec<i64>> = vec![Vec::new(); assets.len()];
    for found in per_scene {
        for ((gap, under), column) in found.into_iter().zip(&mut columns) {
            gaps.extend(gap);
            column.extend(under);
        }
    }
    let shape = (tile.scenes.len(), tile.cubes.len());
    let table = |ids: Vec<i64>| Array2::from_shape_vec(shape, ids).unwrap_or_default();
    let ground = assets.into_iter().map(str::to_owned).zip(columns.into_iter().map(table)).collect();
    let cubes: Vec<String> = tile.cubes.iter().map(|cube| cube.id.clone()).collect();
    if let Some(plan) = &tile.smap {
        gaps.extend(smap::survey(plan, tile.first_day, tile.days, &cubes)?);
    }
    if let Some(plan) = &tile.era5 {
        gaps.extend(era5::survey(plan, tile.center(), tile.first_day, tile.days, &cubes)?);
    }
    Ok(Survey { gaps, ground })
}

/// The gap of an asset, and what lies under each cube.
fn survey_asset(
    tile: &TilePlan,
    scene: &Scene,
    asset: &str,
    ledger: &Ledger,
) -> Result<(Option<Gap>, Vec<i64>), Error> {
    let gap = |cubes: Vec<String>, reason: String| {
        let (scene, asset) = (scene.id.clone(), asset.to_owned());
        (!cubes.is_empty()).then_some(Gap { scene, asset, cubes, reason })
    };
    let Some(path) = scene.raster(asset) else {
        let gap = missing_file(scene, asset, ledger)
            .and_then(|reason| gap(tile.cubes.iter().map(|cube| cube.id.clone()).collect(), reason));
        return Ok((gap, vec![NO_FILE; tile.cubes.len()]));
    };
    let raster = Raster::open(&path, Epsg(tile.epsg.0))?;
    let (mut cubes, mut under) = (Vec::new(), Vec::new());
    let mut reason = None;
    for cube in &tile.cubes {
        if !raster.covers(&cube.bounds) {
            return Err(Error::Georeference {
                path,
                expected: format!("a raster over {} at {:?}", cube.id, cube.bounds),
                found: "one that does not touch it".into(),
            });
        }
        let (rows, cols) = raster.weights(&cube.bounds, tile.grid.size_px);
        let absent = raster.absent_blocks(&rows.window, &cols.window)?;
        under.push(ground(scene, asset, &absent, ledger));
        let unexplained = absent.iter().find(|(row, col)| !ledger.explains(&scene.id, asset, *row, *col));
        if let Some(&(row, col)) = unexplained {
            cubes.push(cube.id.clone());
            let status = ledger.asset(&scene.id, asset).and_then(|record| record.status(row, col));
            reason.get_or_insert_with(|| {
                let status =
                    status.map_or("not in the ledger".to_owned(), |status| format!("ledger: {status}"));
                format!("block {row},{col} is not in the file, {status}")
            });
        }
    }
    Ok((gap(cubes, reason.unwrap_or_default()), under))
}

/// Why an asset without a file is a gap; `None` if the downloader found nothing worth fetching in it.
fn missing_file(scene: &Scene, asset: &str, ledger: &Ledger) -> Option<String> {
    match ledger.asset(&scene.id, asset) {
        Some(record) if record.all("skipped_cloudy") => None,
        Some(_) => Some("no file, though the ledger has blocks for it".to_owned()),
        None => Some("no file, not in the ledger".to_owned()),
    }
}
