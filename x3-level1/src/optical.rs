//! Sentinel-2 scenes to cubes, asset by asset: scenes are read once in parallel, cubes are written as whole shards.

use minicube::{CubeWriter, Epsg};
use ndarray::{Array3, Array4, ArrayView2, ArrayViewMut2, ArrayViewMut3, Axis, Zip};
use rayon::prelude::*;

use crate::Error;
use crate::blocks::Sample;
use crate::config::{Classes, SameDay};
use crate::plan::{SCL, TilePlan};
use crate::raster::Raster;
use crate::resample::{AxisWeights, area_average, area_mode, nearest};
use crate::same_day::{ACQUISITION, clearest};
use crate::scene::Scene;

/// Writes `s2/scl`, `s2/acquisition` (of merged days) and `s2/<asset>` of all cubes that are not done yet, part by part:
/// as many dates as a chunk is long, and as many cubes as `memory` holds (bytes of decoded pixels). So memory does not grow
/// with the number of dates, and a block is decoded once as long as the tile's cubes fit.
///
/// # Errors
/// [`Error::Raster`] if a block cannot be decoded, [`Error::Minicube`] if the store cannot be written.
pub(crate) fn write(
    tile: &TilePlan,
    writer: &CubeWriter,
    memory: usize,
    progress: &(dyn Fn() + Sync),
) -> Result<(), Error> {
    write_layer(tile, writer, SCL, memory, progress, |scenes, cubes, frame| {
        read_frame(tile, scenes, SCL, cubes, frame, &classes(tile))
    })?;
    if tile.same_day == SameDay::Merge {
        write_layer(tile, writer, ACQUISITION, memory, progress, |scenes, cubes, mut frame| {
            frame.assign(&chosen(tile, scenes, cubes)?);
            Ok(())
        })?;
    }
    for asset in &tile.assets {
        let average = |source: ArrayView2<'_, u16>,
                       (rows, cols): (&AxisWeights, &AxisWeights),
                       nodata: u16,
                       scene: &Scene,
                       out: ArrayViewMut2<'_, u16>| {
            area_average(source, rows, cols, nodata, scene.stored(asset), out);
        };
        write_layer(tile, writer, asset, memory, progress, |scenes, cubes, frame| {
            read_frame(tile, scenes, asset, cubes, frame, &average)
        })?;
    }
    Ok(())
}

/// How classes are resampled.
fn classes(tile: &TilePlan) -> impl Resample<u8> {
    let rule = match tile.classes {
        Classes::Mode => area_mode,
        Classes::Nearest => nearest,
    };
    move |source: ArrayView2<'_, u8>,
          (rows, cols): (&AxisWeights, &AxisWeights),
          nodata: u8,
          _: &Scene,
          out: ArrayViewMut2<'_, u8>| rule(source, rows, cols, nodata, out)
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

/// Writes one variable; `fill` fills the frame `[cube, y, x]` of some cubes from the acquisitions of the frame.
fn write_layer<T: Sample + Default>(
    tile: &TilePlan,
    writer: &CubeWriter,
    layer: &str,
    memory: usize,
    progress: &(dyn Fn() + Sync),
    fill: impl Fn(&[Scene], &[usize], ArrayViewMut3<'_, T>) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let name = format!("s2/{layer}");
    let shard = |cube: usize| [cube as u64, 0, 0, 0];
    let todo: Vec<usize> =
        (0..tile.cubes.len()).filter(|&cube| !writer.has_shard(&name, &shard(cube))).collect();
    let (frames, size) = (tile.frames(), tile.grid.size_px);
    for (part, frames) in frames.chunks(writer.part_len(&name)?).enumerate() {
        let left: Vec<usize> =
            todo.iter().copied().filter(|&cube| !writer.has_part(&name, &shard(cube), part)).collect();
        if left.is_empty() {
            frames.iter().cloned().flatten().for_each(|_| progress());
        }
        let per_cube = frames.len() * size * size * size_of::<T>();
        for (pass, cubes) in left.chunks((memory / per_cube).max(1)).enumerate() {
            // [cube, time, y, x]; zero is "no data" in both types.
            let mut buffer = Array4::from_elem((cubes.len(), frames.len(), size, size), T::default());
            buffer.axis_iter_mut(Axis(1)).into_par_iter().zip(frames).try_for_each(|(frame, scenes)| {
                if pass == 0 {
                    scenes.clone().for_each(|_| progress());
                }
                fill(&tile.scenes[scenes.clone()], cubes, frame)
            })?;
            cubes.par_iter().zip(buffer.axis_chunks_iter(Axis(0), 1)).try_for_each(|(&cube, frames)| {
                writer.write_part(&name, &shard(cube), part, frames.into_dyn())
            })?;
        }
    }
    todo.par_iter().try_for_each(|&cube| writer.join_parts(&name, &shard(cube)))?;
    Ok(())
}

/// Fills one frame `[cube, y, x]`: of several acquisitions each pixel is of the one that is chosen for it.
fn read_frame<T: Sample + Default>(
    tile: &TilePlan,
    scenes: &[Scene],
    asset: &str,
    cubes: &[usize],
    mut frame: ArrayViewMut3<'_, T>,
    resample: &impl Resample<T>,
) -> Result<(), Error> {
    if let [scene] = scenes {
        return read_scene(tile, scene, asset, cubes, frame, resample);
    }
    let chosen = chosen(tile, scenes, cubes)?;
    for (number, scene) in (1..=u8::MAX).zip(scenes) {
        let mut part = Array3::from_elem(frame.dim(), T::default());
        read_scene(tile, scene, asset, cubes, part.view_mut(), resample)?;
        Zip::from(&mut frame).and(&part).and(&chosen).for_each(|pixel, &value, &choice| {
            if choice == number {
                *pixel = value;
            }
        });
    }
    Ok(())
}

/// The acquisition that each pixel `[cube, y, x]` of a frame is taken from, counted from 1; 0 where none has data.
fn chosen(tile: &TilePlan, scenes: &[Scene], cubes: &[usize]) -> Result<Array3<u8>, Error> {
    let size = tile.grid.size_px;
    let read = |scene: &Scene| {
        let mut scl = Array3::zeros((cubes.len(), size, size));
        read_scene(tile, scene, SCL, cubes, scl.view_mut(), &classes(tile))?;
        Ok(scl)
    };
    let scls = scenes.iter().map(read).collect::<Result<Vec<Array3<u8>>, Error>>()?;
    let mut chosen = Array3::zeros((cubes.len(), size, size));
    for (cube, mut out) in chosen.axis_iter_mut(Axis(0)).enumerate() {
        let views: Vec<ArrayView2<'_, u8>> = scls.iter().map(|scl| scl.index_axis(Axis(0), cube)).collect();
        out.assign(&clearest(&views));
    }
    Ok(chosen)
}

/// Fills one frame `[cube, y, x]` from one acquisition. An asset that was not fetched stays 0.
fn read_scene<T: Sample + Default>(
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
