//! One tile: look, lay out, fill, check, seal.

use std::fs;
use std::ops::Range;
use std::path::Path;

use minicube::{CellGrid, CubeWriter, LonLat};
use ndarray::{Array1, Array2, Array4, Axis};
use serde_json::{Map, Value, json};

use crate::dark_pixels::{Darkness, check_offsets};
use crate::layout::{Layout, MadeOf, SOURCE_ERA5, SOURCE_STATIC, SeriesLayout, in_parts};
use crate::ledger::Ledger;
use crate::older::{Older, OlderSmap};
use crate::optical::Job;
use crate::plan::{CubePlan, TilePlan};
use crate::scene::Scene;
use crate::smap::SmapPlan;
use crate::survey::{Gap, Survey, survey};
use crate::{Error, era5, optical, smap, sources, statics};

/// Values of all variables of SMAP held at once, where a pass over the granules is for some of the cubes only.
const SMAP_VALUES: usize = 1 << 26;

/// What became of a tile.
pub(crate) struct Built {
    /// What was asked for and is not there.
    pub gaps: Vec<Gap>,
    /// Frames of cubes that came from the older store.
    pub taken: usize,
    /// Frames of cubes.
    pub all: usize,
}

/// Builds the store of a tile in `partial` and seals it at `path`, or goes on with an interrupted one. What the older store
/// at `path` has is taken from there. `progress` is called once per scene and asset.
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
) -> Result<Built, Error> {
    let result = survey(tile, ledger)
        .and_then(|survey| fill(tile, (path, partial), plan_hash, survey, ledger, memory, progress));
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
    Survey { gaps, ground }: Survey,
    ledger: &Ledger,
    memory: usize,
    progress: &(dyn Fn() + Sync),
) -> Result<Built, Error> {
    let older = Older::open(path);
    let (tile, seen) = check_offsets(tile, &ground, older.as_ref())?;
    let (tile, older) = (&tile, older.as_ref());
    let frames = tile.frames();
    let made_of = MadeOf { statics: sources::of_statics(tile), era5: sources::of_era5(tile) };
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
        made_of: Some(made_of),
        source_items: source_items(tile, &seen, ledger),
        gaps: json!(gaps),
    };
    let spec = layout.spec();
    let writer = CubeWriter::create_in(path, partial.to_owned(), &spec, plan_hash)?;
    write_coordinates(&tile.cubes, tile.grid, &writer)?;
    write_frames(&tile.scenes, &frames, &writer)?;
    // Variables that are the older store's as a whole, or are made anew.
    let whole = |prefixes: &[&str], attribute: &str, source: i64, make: &dyn Fn() -> Result<(), Error>| {
        let names = spec.vars.iter().map(|var| var.name.clone());
        let vars = names.filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)));
        let taken = older.map_or(Ok(false), |older| older.take_variables(&writer, attribute, source, vars));
        if taken? { Ok(()) } else { make() }
    };
    // The weather readers are single-file (one lock for all of HDF5), the rasters are not: side by side.
    let (optical, others) = rayon::join(
        || optical::write(&Job { tile, ground: &ground, older, writer: &writer, memory, progress }),
        || {
            once(&writer, "static", || {
                whole(&["static/", "dem_"], SOURCE_STATIC, made_of.statics, &|| {
                    statics::write(&tile.statics, &tile.cubes, (tile.grid, tile.epsg), ledger, &writer)
                })
            })
            .and_then(|()| {
                once(&writer, "era5", || {
                    whole(&["era5/"], SOURCE_ERA5, made_of.era5, &|| write_era5(tile, &writer))
                })
            })
            .and_then(|()| once(&writer, "smap", || write_smap(tile, older, &writer)))
        },
    );
    let taken = optical?;
    others?;
    writer.seal()?;
    Ok(Built { gaps, taken, all: tile.cubes.len() * frames.len() })
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

fn write_smap(tile: &TilePlan, older: Option<&Older>, writer: &CubeWriter) -> Result<(), Error> {
    let Some(plan) = &tile.smap else { return Ok(()) };
    write_days("smap/time", tile.first_day, tile.days, writer)?;
    let made_of = sources::of_smap_days(plan, tile.first_day, tile.days);
    writer.write(sources::SMAP_DAYS, &[0], made_of.view().into_dyn())?;
    let names: Vec<String> = plan.series.iter().map(|info| format!("smap/{}", info.name)).collect();
    let older = older.and_then(|older| older.smap(&names, &tile.cubes, tile.first_day, &made_of.to_vec()));
    let centers: Vec<LonLat> = tile.cubes.iter().map(|cube| cube.center).collect();
    let values_a_cube = tile.days * plan.window * plan.window * plan.variables.len();
    let at_once = if in_parts(centers.len(), tile.days, plan.window) {
        (SMAP_VALUES / values_a_cube.max(1)).max(1)
    } else {
        centers.len().max(1)
    };
    for (index, centers) in centers.chunks(at_once).enumerate() {
        let first_cube = index * at_once;
        let series = smap_values(plan, tile, (first_cube, centers), older.as_ref())?;
        for (name, values) in names.iter().zip(&series) {
            writer.write(name, &[first_cube as u64, 0, 0, 0], values.view().into_dyn())?;
        }
    }
    Ok(())
}

/// Daily values `[cube, day, window, window]` of each variable at some cubes; days and cubes that the older store has come
/// from there.
fn smap_values(
    plan: &SmapPlan,
    tile: &TilePlan,
    (first_cube, centers): (usize, &[LonLat]),
    older: Option<&OlderSmap<'_>>,
) -> Result<Vec<Array4<f32>>, Error> {
    let Some(older) = older else {
        return smap::daily(plan, centers, tile.first_day, &vec![true; tile.days]);
    };
    let known: Vec<bool> = older.days.iter().map(Option::is_some).collect();
    let new: Vec<bool> = known.iter().map(|known| !known).collect();
    let mut series = smap::daily(plan, centers, tile.first_day, &new)?;
    for (info, values) in plan.series.iter().zip(&mut series) {
        older.read(&format!("smap/{}", info.name), first_cube, values.view_mut())?;
    }
    let added: Vec<usize> =
        (0..centers.len()).filter(|cube| older.cubes[first_cube + cube].is_none()).collect();
    if !added.is_empty() {
        let centers: Vec<LonLat> = added.iter().map(|&cube| centers[cube]).collect();
        let rest = smap::daily(plan, &centers, tile.first_day, &known)?;
        for (values, rest) in series.iter_mut().zip(&rest) {
            for (&cube, rest) in added.iter().zip(rest.outer_iter()) {
                let mut values = values.index_axis_mut(Axis(0), cube);
                for (day, rest) in rest.outer_iter().enumerate().filter(|(day, _)| known[*day]) {
                    values.index_axis_mut(Axis(0), day).assign(&rest);
                }
            }
        }
    }
    Ok(series)
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
fn source_items(tile: &TilePlan, seen: &[Darkness], ledger: &Ledger) -> Value {
    let item = |(scene, seen): (&Scene, &Darkness)| {
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
            "dark_levels": {"all": seen.levels.all, "dark": seen.levels.dark, "source": seen.source},
            "etags": etags,
        })
    };
    tile.scenes.iter().zip(seen).map(item).collect()
}
