//! One tile: look, lay out, fill, check, seal.

use std::fs;
use std::ops::Range;
use std::path::Path;

use minicube::{CellGrid, CubeWriter, LonLat};
use ndarray::{Array1, Array2};
use serde_json::{Map, Value, json};

use crate::dark_pixels::check_offsets;
use crate::layout::{Layout, SeriesLayout, in_parts};
use crate::ledger::Ledger;
use crate::plan::{CubePlan, TilePlan};
use crate::scene::Scene;
use crate::survey::{Gap, survey};
use crate::{Error, era5, optical, smap, statics};

/// Values of all variables of SMAP held at once, where a pass over the granules is for some of the cubes only.
const SMAP_VALUES: usize = 1 << 26;

/// Builds the store of a tile in `partial` and seals it at `path`, or goes on with an interrupted one, and gives its gaps.
/// `progress` is called once per scene and asset.
///
/// # Errors
/// Whatever is wrong with the raw files or the disk. After a raw file's fault nothing is left behind; after a fault of
/// the disk the work done so far stays, to be resumed.
pub(crate) fn build(
    tile: &TilePlan,
    (path, partial): (&Path, &Path),
    plan_hash: &str,
    ledger: &Ledger,
    memory: usize,
    progress: &(dyn Fn() + Sync),
) -> Result<Vec<Gap>, Error> {
    let result = survey(tile, ledger).and_then(|gaps| {
        fill(&check_offsets(tile)?, (path, partial), plan_hash, &gaps, ledger, memory, progress)?;
        Ok(gaps)
    });
    if let Err(error) = &result
        && !matches!(error, Error::Minicube(_))
    {
        // Best effort: the error that matters is the first one.
        let _ = fs::remove_dir_all(partial);
    }
    result
}

fn fill(
    tile: &TilePlan,
    (path, partial): (&Path, &Path),
    plan_hash: &str,
    gaps: &[Gap],
    ledger: &Ledger,
    memory: usize,
    progress: &(dyn Fn() + Sync),
) -> Result<(), Error> {
    let frames = tile.frames();
    let layout = Layout {
        tile: &tile.tile,
        epsg: tile.epsg,
        grid: tile.grid,
        cubes: tile.cubes.len(),
        frames: frames.len(),
        assets: &tile.assets,
        classes: tile.classes,
        offset: tile.offset,
        same_day: tile.same_day,
        smap: tile.smap.as_ref().map(|s| SeriesLayout {
            variables: &s.series,
            days: tile.days,
            window: s.window,
        }),
        era5: tile.era5.as_ref().map(|e| SeriesLayout {
            variables: &e.series,
            days: tile.days,
            window: e.window,
        }),
        statics: &tile.statics,
        source_items: source_items(tile, ledger),
        gaps: json!(gaps),
    };
    let writer = CubeWriter::create_in(path, partial.to_owned(), &layout.spec(), plan_hash)?;
    write_coordinates(&tile.cubes, tile.grid, &writer)?;
    write_frames(&tile.scenes, &frames, &writer)?;
    // The weather readers are single-file (one lock for all of HDF5), the rasters are not: side by side.
    let (optical, others) = rayon::join(
        || optical::write(tile, &writer, memory, progress),
        || {
            once(&writer, "static", || {
                statics::write(&tile.statics, &tile.cubes, (tile.grid, tile.epsg), ledger, &writer)
            })
            .and_then(|()| once(&writer, "era5", || write_era5(tile, &writer)))
            .and_then(|()| once(&writer, "smap", || write_smap(tile, &writer)))
        },
    );
    optical.and(others)?;
    writer.seal()?;
    Ok(())
}

/// Does `work` unless it was done before an interruption.
fn once(writer: &CubeWriter, key: &str, work: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    if !writer.is_done(key) {
        work()?;
        writer.mark_done(key)?;
    }
    Ok(())
}

/// Writes the coordinates of cubes.
pub(crate) fn write_coordinates(
    cubes: &[CubePlan],
    grid: CellGrid,
    writer: &CubeWriter,
) -> Result<(), Error> {
    let column = |of: fn(&CubePlan) -> f64| cubes.iter().map(of).collect::<Array1<f64>>();
    let pixels = |of: fn(CellGrid, &CubePlan) -> Vec<f64>| {
        let rows: Vec<f64> = cubes.iter().flat_map(|cube| of(grid, cube)).collect();
        Array2::from_shape_vec((cubes.len(), grid.size_px), rows).unwrap_or_default()
    };
    writer.write_strings("id", &cubes.iter().map(|cube| cube.id.clone()).collect::<Vec<_>>())?;
    writer.write("lon", &[0], column(|cube| cube.center.lon).view().into_dyn())?;
    writer.write("lat", &[0], column(|cube| cube.center.lat).view().into_dyn())?;
    writer.write("xc", &[0, 0], pixels(|grid, cube| grid.pixel_x(&cube.bounds)).view().into_dyn())?;
    writer.write("yc", &[0, 0], pixels(|grid, cube| grid.pixel_y(&cube.bounds)).view().into_dyn())?;
    writer.write("x_min", &[0], column(|cube| cube.bounds.x_min).view().into_dyn())?;
    writer.write("y_min", &[0], column(|cube| cube.bounds.y_min).view().into_dyn())?;
    writer.write("x_max", &[0], column(|cube| cube.bounds.x_max).view().into_dyn())?;
    writer.write("y_max", &[0], column(|cube| cube.bounds.y_max).view().into_dyn())?;
    writer.write("crs", &[], ndarray::arr0(0i32).view().into_dyn())?;
    Ok(())
}

/// Writes what is known of each frame of Sentinel-2. A frame of several acquisitions has the day, the baseline and the
/// offset of the first, the ids of all, and the worst of their checks.
pub(crate) fn write_frames(
    scenes: &[Scene],
    frames: &[Range<usize>],
    writer: &CubeWriter,
) -> Result<(), Error> {
    let firsts = || frames.iter().map(|frame| &scenes[frame.start]);
    let days: Array1<i32> = firsts().map(|scene| scene.day).collect();
    let baselines: Array1<f64> = firsts().map(|scene| scene.baseline).collect();
    let applied: Array1<u8> = firsts().map(|scene| u8::from(scene.offset_applied)).collect();
    let added: Array1<u16> = firsts().map(|scene| scene.add).collect();
    let worst = |frame: &Range<usize>| scenes[frame.clone()].iter().map(|scene| scene.check.code()).max();
    let checks: Array1<u8> = frames.iter().filter_map(worst).collect();
    let ids = |frame: &Range<usize>| {
        let ids: Vec<&str> = scenes[frame.clone()].iter().map(|scene| scene.id.as_str()).collect();
        ids.join(" ")
    };
    writer.write("s2/time", &[0], days.view().into_dyn())?;
    writer.write("s2/baseline", &[0], baselines.view().into_dyn())?;
    writer.write("s2/offset_applied", &[0], applied.view().into_dyn())?;
    writer.write("s2/offset_check", &[0], checks.view().into_dyn())?;
    writer.write("s2/offset_added", &[0], added.view().into_dyn())?;
    writer.write_strings("s2/scene_id", &frames.iter().map(ids).collect::<Vec<_>>())?;
    Ok(())
}

fn write_smap(tile: &TilePlan, writer: &CubeWriter) -> Result<(), Error> {
    let Some(plan) = &tile.smap else { return Ok(()) };
    write_days("smap/time", tile.first_day, tile.days, writer)?;
    let centers: Vec<LonLat> = tile.cubes.iter().map(|cube| cube.center).collect();
    let values_a_cube = tile.days * plan.window * plan.window * plan.variables.len();
    let at_once = if in_parts(centers.len(), tile.days, plan.window) {
        (SMAP_VALUES / values_a_cube.max(1)).max(1)
    } else {
        centers.len().max(1)
    };
    for (index, centers) in centers.chunks(at_once).enumerate() {
        let first_cube = (index * at_once) as u64;
        let series = smap::daily(plan, centers, tile.first_day, tile.days)?;
        for (info, values) in plan.series.iter().zip(&series) {
            let start = [first_cube, 0, 0, 0];
            writer.write(&format!("smap/{}", info.name), &start, values.view().into_dyn())?;
        }
    }
    Ok(())
}

fn write_era5(tile: &TilePlan, writer: &CubeWriter) -> Result<(), Error> {
    let Some(plan) = &tile.era5 else { return Ok(()) };
    write_days("era5/time", tile.first_day, tile.days, writer)?;
    for (index, info) in plan.series.iter().enumerate() {
        let values = era5::daily(plan, index, tile.center(), tile.first_day, tile.days)?;
        writer.write(&format!("era5/{}", info.name), &[0, 0, 0], values.view().into_dyn())?;
    }
    Ok(())
}

/// Writes a daily time axis.
pub(crate) fn write_days(name: &str, first: i32, days: usize, writer: &CubeWriter) -> Result<(), Error> {
    let axis: Array1<i32> = (first..).take(days).collect();
    writer.write(name, &[0], axis.view().into_dyn())?;
    Ok(())
}

/// Item ids with the ETags of their assets, as far as the servers gave some, and what became of the offset.
fn source_items(tile: &TilePlan, ledger: &Ledger) -> Value {
    let item = |scene: &Scene| {
        let etags: Map<String, Value> = tile
            .all_assets()
            .filter_map(|asset| {
                Some((asset.to_owned(), json!(ledger.asset(&scene.id, asset)?.etag.as_ref()?)))
            })
            .collect();
        json!({
            "id": scene.id,
            "datetime": scene.datetime,
            "baseline": scene.baseline,
            "offset_applied": scene.offset_applied,
            "offset_check": scene.check.name(),
            "offset_added": scene.add,
            "etags": etags,
        })
    };
    tile.scenes.iter().map(item).collect()
}
