//! Sentinel-2 scenes to cubes, asset by asset: scenes are read once in parallel, cubes are written as whole shards.

use minicube::{CubeWriter, Epsg};
use ndarray::{Array3, Array4, ArrayView2, ArrayViewMut2, ArrayViewMut3, Axis, Zip};
use rayon::prelude::*;

use crate::Error;
use crate::blocks::Sample;
use crate::config::{Classes, SameDay};
use crate::older::Older;
use crate::plan::{SCL, TilePlan};
use crate::raster::Raster;
use crate::resample::{AxisWeights, area_average, area_mode, nearest};
use crate::same_day::{ACQUISITION, clearest};
use crate::scene::Scene;
use crate::sources::{self, Ground, of_layer};

/// What the layers of a tile are written with.
pub(crate) struct Job<'a> {
    /// The tile, its offsets decided.
    pub tile: &'a TilePlan,
    /// What lies under the cubes in its rasters.
    pub ground: &'a Ground,
    /// The store that an older plan left.
    pub older: Option<&'a Older>,
    /// The store under construction.
    pub writer: &'a CubeWriter,
    /// Bytes of decoded pixels that may be held.
    pub memory: usize,
    /// Called once a scene and asset.
    pub progress: &'a (dyn Fn() + Sync),
}

/// Writes `s2/scl`, `s2/acquisition` (of merged days) and `s2/<asset>` of all cubes that are not done yet, part by part:
/// as many dates as a chunk is long, and as many cubes as the memory holds. So memory does not grow with the number of
/// dates, and a block is decoded once as long as the tile's cubes fit. What an older store has is taken from there. Gives
/// how many frames of cubes, of the scene classification, it had.
///
/// # Errors
/// [`Error::Raster`] if a block cannot be decoded, [`Error::Minicube`] if the store cannot be written.
pub(crate) fn write(job: &Job<'_>) -> Result<usize, Error> {
    let tile = job.tile;
    let known = write_layer(job, SCL, |scenes, cubes, frame| {
        read_frame(tile, scenes, SCL, cubes, frame, &classes(tile))
    })?;
    if tile.same_day == SameDay::Merge {
        write_layer(job, ACQUISITION, |scenes, cubes, mut frame| {
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
        write_layer(job, asset, |scenes, cubes, frame| {
            read_frame(tile, scenes, asset, cubes, frame, &average)
        })?;
    }
    Ok(known)
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

/// Writes one variable; `fill` fills the frame `[cube, y, x]` of some cubes from the acquisitions of the frame. Gives how
/// many frames of cubes an older store had.
fn write_layer<T: Sample + Default>(
    job: &Job<'_>,
    layer: &str,
    fill: impl Fn(&[Scene], &[usize], ArrayViewMut3<'_, T>) -> Result<(), Error> + Sync,
) -> Result<usize, Error> {
    let (tile, writer, name) = (job.tile, job.writer, format!("s2/{layer}"));
    let made_of = of_layer(tile, layer, job.ground);
    writer.write(&sources::variable(layer), &[0, 0], made_of.view().into_dyn())?;
    let known = job.older.and_then(|older| older.layer(layer, &tile.cubes, &made_of));
    let shard = |cube: usize| [cube as u64, 0, 0, 0];
    let todo = remaining((0..tile.cubes.len()).collect(), |cube| {
        let taken = || known.as_ref().map_or(Ok(false), |known| known.take_shard(writer, cube));
        Ok(writer.has_shard(&name, &shard(cube)) || taken()?)
    })?;
    let (frames, size, part_len) = (tile.frames(), tile.grid.size_px, writer.part_len(&name)?);
    for (part, frames) in frames.chunks(part_len).enumerate() {
        let range = part * part_len..part * part_len + frames.len();
        let left = remaining(todo.clone(), |cube| {
            let taken = || {
                known.as_ref().map_or(Ok(false), |known| known.take_part(writer, cube, part, range.clone()))
            };
            Ok(writer.has_part(&name, &shard(cube), part) || taken()?)
        })?;
        if left.is_empty() {
            frames.iter().cloned().flatten().for_each(|_| (job.progress)());
        }
        let per_cube = frames.len() * size * size * size_of::<T>();
        for (pass, cubes) in left.chunks((job.memory / per_cube).max(1)).enumerate() {
            // [cube, time, y, x]; zero is "no data" in both types.
            let mut buffer = Array4::from_elem((cubes.len(), frames.len(), size, size), T::default());
            let read = |(&cube, into): (&usize, ArrayViewMut3<'_, T>)| match &known {
                Some(known) => known.read(cube, range.clone(), into),
                None => Ok(vec![false; frames.len()]),
            };
            let have = cubes.par_iter().zip(buffer.axis_iter_mut(Axis(0))).map(read);
            let have = have.collect::<Result<Vec<Vec<bool>>, Error>>()?;
            let slots = buffer.axis_iter_mut(Axis(1)).into_par_iter().zip(frames).enumerate();
            slots.try_for_each(|(index, (frame, scenes))| {
                if pass == 0 {
                    scenes.clone().for_each(|_| (job.progress)());
                }
                let lacking: Vec<usize> = (0..cubes.len()).filter(|&cube| !have[cube][index]).collect();
                fill_some(&fill, &tile.scenes[scenes.clone()], (cubes, &lacking), frame)
            })?;
            cubes.par_iter().zip(buffer.axis_chunks_iter(Axis(0), 1)).try_for_each(|(&cube, frames)| {
                writer.write_part(&name, &shard(cube), part, frames.into_dyn())
            })?;
        }
    }
    todo.par_iter().try_for_each(|&cube| writer.join_parts(&name, &shard(cube)))?;
    Ok(known.map_or(0, |known| known.count()))
}

/// The cubes that are not done.
fn remaining(
    cubes: Vec<usize>,
    is_done: impl Fn(usize) -> Result<bool, Error> + Sync,
) -> Result<Vec<usize>, Error> {
    let left = cubes.into_par_iter().map(|cube| Ok((!is_done(cube)?).then_some(cube)));
    Ok(left.collect::<Result<Vec<Option<usize>>, Error>>()?.into_iter().flatten().collect())
}

/// Fills those cubes of a frame `[cube, y, x]` that lack it.
fn fill_some<T: Sample + Default>(
    fill: &impl Fn(&[Scene], &[usize], ArrayViewMut3<'_, T>) -> Result<(), Error>,
    scenes: &[Scene],
    (cubes, lacking): (&[usize], &[usize]),
    mut frame: ArrayViewMut3<'_, T>,
) -> Result<(), Error> {
    if lacking.len() == cubes.len() {
        return fill(scenes, cubes, frame);
    }
    if lacking.is_empty() {
        return Ok(());
    }
    let (_, rows, cols) = frame.dim();
    let mut some = Array3::from_elem((lacking.len(), rows, cols), T::default());
    let wanted: Vec<usize> = lacking.iter().map(|&index| cubes[index]).collect();
    fill(scenes, &wanted, some.view_mut())?;
    for (&index, values) in lacking.iter().zip(some.outer_iter()) {
        frame.index_axis_mut(Axis(0), index).assign(&values);
    }
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
