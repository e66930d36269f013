//! The store that an older plan made of the same tile: which of its values the new plan asks for too.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use minicube::{CubeWriter, LonLat, OlderStore};
use ndarray::{Array2, ArrayD, ArrayViewMut3, ArrayViewMut4, Axis, Ix4, s};
use serde_json::Value;

use crate::Error;
use crate::blocks::Sample;
use crate::offset::DarkLevels;
use crate::plan::CubePlan;
use crate::sources;

/// An older store of the tile, sealed and of this schema.
pub(crate) struct Older {
    store: OlderStore,
    /// Its cubes by id.
    cubes: BTreeMap<String, usize>,
}

impl Older {
    /// Opens it; `None` where nothing can be taken over.
    #[must_use]
    pub(crate) fn open(path: &Path) -> Option<Older> {
        let store = OlderStore::open(path, "level1")?;
        let ids = store.cube().read_strings("id").ok()?;
        Some(Older { store, cubes: ids.into_iter().zip(0..).collect() })
    }

    /// Where a variable of Sentinel-2 has what is wanted, made of `wanted` (`[cube, frame]`).
    #[must_use]
    pub(crate) fn layer(
        &self,
        layer: &str,
        cubes: &[CubePlan],
        wanted: &Array2<i64>,
    ) -> Option<OlderLayer<'_>> {
        let made_of = self.store.cube().read::<i64>(&sources::variable(layer)).ok()?;
        let made_of = made_of.into_dimensionality::<ndarray::Ix2>().ok()?;
        let known = cubes.iter().zip(wanted.outer_iter()).map(|(cube, wanted)| {
            let &index = self.cubes.get(&cube.id)?;
            let row = made_of.row(index);
            let frames: BTreeMap<i64, usize> = row.iter().copied().zip(0..).collect();
            Some((index, wanted.iter().map(|source| frames.get(source).copied()).collect()))
        });
        let known = known.collect();
        Some(OlderLayer { store: &self.store, var: format!("s2/{layer}"), frames: made_of.ncols(), known })
    }

    /// The darkest pixels of a scene, if they are of the same ground.
    #[must_use]
    pub(crate) fn dark_levels(&self, scene: &str, source: i64) -> Option<DarkLevels> {
        let items = self.store.cube().attrs().get("source_items")?.as_array()?;
        let levels = &items.iter().find(|item| item["id"] == scene)?["dark_levels"];
        let list = |of: &Value| -> Option<Vec<Option<u16>>> { serde_json::from_value(of.clone()).ok() };
        (levels["source"].as_i64() == Some(source))
            .then(|| Some(DarkLevels { all: list(&levels["all"])?, dark: list(&levels["dark"])? }))?
    }

    /// Takes over variables that are made of the same as a whole, by the root attribute that says so. `false` where not
    /// all could be taken over.
    ///
    /// # Errors
    /// [`Error::Minicube`] if the disk refuses the bytes.
    pub(crate) fn take_variables(
        &self,
        writer: &CubeWriter,
        attribute: &str,
        source: i64,
        vars: impl IntoIterator<Item = String>,
    ) -> Result<bool, Error> {
        if self.store.cube().attrs().get(attribute).and_then(Value::as_i64) != Some(source) {
            return Ok(false);
        }
        for var in vars {
            if !writer.take_variable(&self.store, &var)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The days of SMAP that are made of the same, by their places here and there, and the cubes, likewise.
    #[must_use]
    pub(crate) fn smap(
        &self,
        vars: &[String],
        cubes: &[CubePlan],
        first_day: i32,
        wanted: &[i64],
    ) -> Option<OlderSmap<'_>> {
        let cube = self.store.cube();
        if !vars.iter().all(|var| self.store.has_intact(var)) {
            return None;
        }
        let made_of = cube.read::<i64>(sources::SMAP_DAYS).ok()?;
        let there: BTreeMap<i32, i64> =
            cube.read::<i32>("smap/time").ok()?.into_iter().zip(made_of).collect();
        let first = *there.keys().next()?;
        let place = |(day, source): (i32, &i64)| {
            (there.get(&day) == Some(source)).then(|| usize::try_from(day - first).ok()).flatten()
        };
        let days = (first_day..).zip(wanted).map(place).collect();
        let (lon, lat) = (cube.read::<f64>("lon").ok()?, cube.read::<f64>("lat").ok()?);
        let same = |wanted: &CubePlan| {
            let &index = self.cubes.get(&wanted.id)?;
            (LonLat { lon: lon[[index]], lat: lat[[index]] } == wanted.center).then_some(index)
        };
        Some(OlderSmap { store: &self.store, days, cubes: cubes.iter().map(same).collect() })
    }

    /// How many of these cubes and scenes are in it, for the plan's table.
    #[must_use]
    pub(crate) fn shared(&self, cubes: &[CubePlan], scenes: &[&str]) -> (usize, usize) {
        let ids = self.store.cube().read_strings("s2/scene_id").unwrap_or_default();
        let known: Vec<&str> = ids.iter().flat_map(|ids| ids.split(' ')).collect();
        (
            cubes.iter().filter(|cube| self.cubes.contains_key(&cube.id)).count(),
            scenes.iter().filter(|scene| known.contains(scene)).count(),
        )
    }
}

/// One variable of Sentinel-2 in an older store.
pub(crate) struct OlderLayer<'a> {
    store: &'a OlderStore,
    var: String,
    /// Frames there.
    frames: usize,
    /// By cube: its place there, and that of each frame.
    known: Vec<Option<(usize, Vec<Option<usize>>)>>,
}

impl OlderLayer<'_> {
    /// Frames of cubes that are there.
    #[must_use]
    pub(crate) fn count(&self) -> usize {
        self.known.iter().flatten().map(|(_, frames)| frames.iter().flatten().count()).sum()
    }

    /// Takes over all frames of a cube, if they are the same in the same order.
    ///
    /// # Errors
    /// [`Error::Minicube`] if the disk refuses the bytes.
    pub(crate) fn take_shard(&self, writer: &CubeWriter, cube: usize) -> Result<bool, Error> {
        let Some((index, frames)) = &self.known[cube] else { return Ok(false) };
        if frames.len() != self.frames || !frames.iter().copied().eq((0..self.frames).map(Some)) {
            return Ok(false);
        }
        Ok(writer.take_shard(self.store, &self.var, &shard(*index), &shard(cube))?)
    }

    /// Takes over the compressed frames of a part, if they are a part there too. `range` are the part's frames.
    ///
    /// # Errors
    /// [`Error::Minicube`] if the disk refuses the bytes.
    pub(crate) fn take_part(
        &self,
        writer: &CubeWriter,
        cube: usize,
        part: usize,
        range: Range<usize>,
    ) -> Result<bool, Error> {
        let Some((index, frames)) = &self.known[cube] else { return Ok(false) };
        let len = writer.part_len(&self.var)?;
        let (Some(first), count) = (frames[range.start], range.len()) else { return Ok(false) };
        let is_part = first.is_multiple_of(len) && (count == len || first + count == self.frames);
        if !is_part || !frames[range].iter().copied().eq((first..first + count).map(Some)) {
            return Ok(false);
        }
        let (from, to) = (shard(*index), shard(cube));
        Ok(writer.take_part(self.store, &self.var, (&from, first / len), (&to, part))?)
    }

    /// Reads those frames `[time, y, x]` of a range that are there, and says which.
    ///
    /// # Errors
    /// [`Error::Minicube`] if the store cannot be read.
    pub(crate) fn read<T: Sample>(
        &self,
        cube: usize,
        range: Range<usize>,
        mut into: ArrayViewMut3<'_, T>,
    ) -> Result<Vec<bool>, Error> {
        let none = vec![false; range.len()];
        let Some((index, frames)) = &self.known[cube] else { return Ok(none) };
        let frames = &frames[range];
        let (Some(&first), Some(&last)) = (frames.iter().flatten().min(), frames.iter().flatten().max())
        else {
            return Ok(none);
        };
        if !self.store.is_intact(&self.var, &shard(*index)) {
            return Ok(none);
        }
        let (_, rows, cols) = into.dim();
        let size = [1, (last + 1 - first) as u64, rows as u64, cols as u64];
        let values: ArrayD<T> =
            self.store.cube().read_region(&self.var, &[*index as u64, first as u64, 0, 0], &size)?;
        let Ok(values) = values.into_dimensionality::<Ix4>() else { return Ok(none) };
        for (frame, mut into) in frames.iter().zip(into.axis_iter_mut(Axis(0))) {
            if let Some(frame) = frame {
                into.assign(&values.slice(s![0, frame - first, .., ..]));
            }
        }
        Ok(frames.iter().map(Option::is_some).collect())
    }
}

/// SMAP in an older store.
pub(crate) struct OlderSmap<'a> {
    store: &'a OlderStore,
    /// Place there of each day.
    pub(crate) days: Vec<Option<usize>>,
    /// Place there of each cube.
    pub(crate) cubes: Vec<Option<usize>>,
}

impl OlderSmap<'_> {
    /// Copies what is known into the values `[cube, day, window, window]` of the cubes from `first_cube` on.
    ///
    /// # Errors
    /// [`Error::Minicube`] if the store cannot be read.
    pub(crate) fn read(
        &self,
        var: &str,
        first_cube: usize,
        mut into: ArrayViewMut4<'_, f32>,
    ) -> Result<(), Error> {
        let cube = self.store.cube();
        let shape = cube.shape(var)?;
        for (index, mut into) in self.cubes[first_cube..].iter().zip(into.axis_iter_mut(Axis(0))) {
            let Some(index) = index else { continue };
            let size = [1, shape[1], shape[2], shape[3]];
            let values: ArrayD<f32> = cube.read_region(var, &[*index as u64, 0, 0, 0], &size)?;
            let Ok(values) = values.into_dimensionality::<Ix4>() else { continue };
            for (day, mut into) in self.days.iter().zip(into.axis_iter_mut(Axis(0))) {
                if let Some(day) = day {
                    into.assign(&values.slice(s![0, *day, .., ..]));
                }
            }
        }
        Ok(())
    }
}

fn shard(cube: usize) -> [u64; 4] {
    [cube as u64, 0, 0, 0]
}
