//! Sentinel-2 scenes to cubes, asset by asset: scenes are read once in parallel, cubes are written as whole shards.

use gdal::raster::GdalType;
use minicube::{CubeWriter, Element, Epsg};
use ndarray::{Array4, ArrayView2, ArrayViewMut2, ArrayViewMut3, Axis};
use rayon::prelude::*;

use crate::Error;
use crate::plan::{SCL, TilePlan};
use crate::raster::Raster;
use crate::resample::{AxisWeights, area_average, area_mode};
use crate::scene::Scene;

/// Writes `s2/<asset>` and `s2/scl` of all cubes that are not done yet, part by part: as many scenes as a chunk is long,
/// and as many cubes as `memory` holds (bytes of decoded pixels). So memory does not grow with the number of scenes, and
/// a block is decoded once as long as the tile's cubes fit.
///
/// # Errors
/// [`Error::Raster`] if a block cannot be decoded, [`Error::Minicube`] if the store cannot be written.
pub(crate) fn write(
    tile: &TilePlan,
    writer: &CubeWriter,
    memory: usize,
    progress: &(dyn Fn() + Sync),
) -> Result<(), Error> {
    write_asset(tile, writer, SCL, memory, progress, |source, (rows, cols), nodata: u8, _, out| {
        area_mode(source, rows, cols, nodata, out);
    })?;
    for asset in &tile.assets {
        write_asset(
            tile,
            writer,
            asset,
            memory,
            progress,
            |source, (rows, cols), nodata: u16, scene, out| {
                area_average(source, rows, cols, nodata, scene.add, out);
            },
        )?;
    }
    Ok(())
}

/// Source window, weights of rows and columns, nodata, scene, target.
trait Resample<T>:
    Fn(ArrayView2<'_, T>, (&AxisWeights, &AxisWeights), T, &Scene, ArrayViewMut2<'_, T>) + Sync
{
}

impl<T, F> Resample<T> for F where
    F: Fn(ArrayView2<'_, T>, (&AxisWeights, &AxisWeights), T, &Scene, ArrayViewMut2<'_, T>) + Sync
{
}

fn write_asset<T: Element + GdalType + Default>(
    tile: &TilePlan,
    writer: &CubeWriter,
    asset: &str,
    memory: usize,
    progress: &(dyn Fn() + Sync),
    resample: impl Resample<T>,
) -> Result<(), Error> {
    let name = format!("s2/{asset}");
    let shard = |cube: usize| [cube as u64, 0, 0, 0];
    let todo: Vec<usize> =
        (0..tile.cubes.len()).filter(|&cube| !writer.has_shard(&name, &shard(cube))).collect();
    if todo.is_empty() {
        tile.scenes.iter().for_each(|_| progress());
        return Ok(());
    }
    let size = tile.grid.size_px;
    for (part, scenes) in tile.scenes.chunks(writer.part_len(&name)?).enumerate() {
        let left: Vec<usize> =
            todo.iter().copied().filter(|&cube| !writer.has_part(&name, &shard(cube), part)).collect();
        let per_cube = scenes.len() * size * size * size_of::<T>();
        if left.is_empty() {
            scenes.iter().for_each(|_| progress());
        }
        for (pass, cubes) in left.chunks((memory / per_cube).max(1)).enumerate() {
            // [cube, time, y, x]; zero is "no data" in both types.
            let mut buffer = Array4::from_elem((cubes.len(), scenes.len(), size, size), T::default());
            buffer.axis_iter_mut(Axis(1)).into_par_iter().zip(scenes).try_for_each(|(frame, scene)| {
                if pass == 0 {
                    progress();
                }
                read_scene(tile, scene, asset, cubes, frame, &resample)
            })?;
            cubes.par_iter().zip(buffer.axis_chunks_iter(Axis(0), 1)).try_for_each(|(&cube, frames)| {
                writer.write_part(&name, &shard(cube), part, frames.into_dyn())
            })?;
        }
    }
    todo.par_iter().try_for_each(|&cube| writer.join_parts(&name, &shard(cube)))?;
    Ok(())
}

/// Fills one frame `[cube, y, x]`. An asset that was not fetched stays 0.
fn read_scene<T: Element + GdalType + Default>(
    tile: &TilePlan,
    scene: &Scene,
    asset: &str,
    cubes: &[usize],
    mut frame: ArrayViewMut3<'_, T>,
    resample: &impl Resample<T>,
) -> Result<(), Error> {
    let Some(path) = scene.raster(asset) else { return Ok(()) };
    let raster = Raster::open(&path, Epsg(tile.epsg.0))?;
    let nodata = T::from_f64(raster.nodata()?);
    for (&cube, out) in cubes.iter().zip(frame.axis_iter_mut(Axis(0))) {
        let (rows, cols) = raster.weights(&tile.cubes[cube].bounds, tile.grid.size_px);
        let source = raster.read::<T>(&rows.window, &cols.window)?;
        resample(source.view(), (&rows, &cols), nodata, scene, out);
    }
    Ok(())
}
