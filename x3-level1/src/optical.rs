//! Sentinel-2 scenes to cubes, asset by asset: scenes are read once in parallel, cubes are written as whole shards.

use gdal::raster::GdalType;
use minicube::{CubeWriter, Element, Epsg};
use ndarray::{Array4, ArrayView2, ArrayViewMut2, ArrayViewMut3, Axis, s};
use rayon::prelude::*;

use crate::Error;
use crate::plan::{SCL, TilePlan};
use crate::raster::Raster;
use crate::resample::{AxisWeights, area_average, area_mode};
use crate::scene::Scene;

/// Writes `s2/<asset>` and `s2/scl` of all cubes that are not done yet. `memory` bounds the buffer of decoded pixels,
/// in bytes: as many cubes as fit are filled in one pass over the scenes, so a block is decoded once per pass.
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
    let key = |cube: usize| format!("{name}/{}", tile.cubes[cube].id);
    let todo: Vec<usize> = (0..tile.cubes.len()).filter(|&cube| !writer.is_done(&key(cube))).collect();
    let size = tile.grid.size_px;
    let per_cube = tile.scenes.len() * size * size * size_of::<T>();
    let passes = todo.chunks((memory / per_cube.max(1)).max(1));
    for cubes in passes {
        // [cube, time, y, x]; zero is "no data" in both types.
        let mut buffer = Array4::from_elem((cubes.len(), tile.scenes.len(), size, size), T::default());
        buffer.axis_iter_mut(Axis(1)).into_par_iter().zip(&tile.scenes).try_for_each(|(frame, scene)| {
            progress();
            read_scene(tile, scene, asset, cubes, frame, &resample)
        })?;
        cubes.par_iter().enumerate().try_for_each(|(i, &cube)| {
            let shard = buffer.slice(s![i..=i, .., .., ..]);
            writer.write(&name, &[cube as u64, 0, 0, 0], shard.into_dyn())?;
            writer.mark_done(&key(cube))?;
            Ok::<(), Error>(())
        })?;
    }
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
