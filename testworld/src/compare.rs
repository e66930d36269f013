//! Level 2 against the truth: what the clear pixels should be, and what lay in the gaps.

use std::path::Path;

use minicube::{Bounds, Cube, XY, from_cf_day, list_stores};
use ndarray::{Array4, Axis};
use rayon::prelude::*;

use crate::land::{Pixels, WINDOW_PX};
use crate::weather::DRIVES;
use crate::{Asset, Error, Region, World};

/// Bounds of the classes of gaps, in steps: 0 is an observed step, the last class has no end.
const GAP_CLASSES: [usize; 7] = [0, 1, 2, 3, 5, 9, 17];

/// Steps of Level 2 whose values were compared with the truth.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deviation {
    /// Pixels and steps.
    pub count: u64,
    sum: f64,
    squares: f64,
}

/// What [`World::compare_level2`] finds.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Reflectance of the pixels and steps that were observed, by band of Level 2.
    pub observed: Vec<(&'static str, Deviation)>,
    /// kNDVI by the length of the gap that the step is in: shortest and longest number of steps (`None`: no end).
    pub gaps: Vec<(usize, Option<usize>, Deviation)>,
}

impl Deviation {
    fn add(&mut self, difference: f64) {
        self.count += 1;
        self.sum += difference;
        self.squares += difference * difference;
    }

    fn merge(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            sum: self.sum + other.sum,
            squares: self.squares + other.squares,
        }
    }

    /// Mean of value minus truth; NaN of nothing.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }

    /// Root of the mean square of value minus truth; NaN of nothing.
    #[must_use]
    pub fn rmse(&self) -> f64 {
        (self.squares / self.count as f64).sqrt()
    }
}

impl World {
    /// Compares all stores below a Level-2 folder with what was under the clouds. The truth of a step is the mean over
    /// its days and over the 10 m pixels under the cube's; where Level 2 has no value nothing is compared. `nir` is the
    /// asset that became the band of that name.
    ///
    /// # Errors
    /// [`Error::Minicube`] if a store cannot be read, [`Error::Inconsistent`] if it is not of this Earth or there is none.
    pub fn compare_level2(&self, level2: &Path, nir: Asset) -> Result<Comparison, Error> {
        let splits = ["train", "val", "test"].map(|split| list_stores(&level2.join(split)));
        let stores = splits.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
        let bands = [("blue", Asset::Blue), ("green", Asset::Green), ("red", Asset::Red), ("nir", nir)];
        let mut found = Comparison {
            observed: bands.iter().map(|&(name, _)| (name, Deviation::default())).collect(),
            gaps: (0..GAP_CLASSES.len())
                .map(|i| (GAP_CLASSES[i], GAP_CLASSES.get(i + 1).map(|next| next - 1), Deviation::default()))
                .collect(),
        };
        for store in &stores {
            let cube = Cube::open(store, "level2")?;
            let count = cube.shape("sample_id")?[0];
            for sample in 0..count {
                self.compare_sample(&cube, sample, &bands, &mut found)?;
            }
        }
        if stores.is_empty() {
            return Err(Error::Inconsistent {
                name: level2.display().to_string(),
                reason: "expected Level-2 stores below train, val, test; found none".into(),
            });
        }
        Ok(found)
    }

    fn compare_sample(
        &self,
        cube: &Cube,
        sample: u64,
        bands: &[(&'static str, Asset)],
        found: &mut Comparison,
    ) -> Result<(), Error> {
        let strange =
            |reason: String| Error::Inconsistent { name: cube.path().display().to_string(), reason };
        let tile = cube.attr_str("tile")?;
        let region = Region::ALL.into_iter().find(|region| region.tile_id() == tile);
        let region = region.ok_or_else(|| strange(format!("tile {tile} is not of this Earth")))?;
        let shape: Vec<u64> =
            cube.shape("mask")?.iter().enumerate().map(|(i, &n)| if i == 0 { 1 } else { n }).collect();
        let steps = shape[1];
        let row = |name: &str| -> Result<Vec<f64>, Error> {
            let len = cube.shape(name)?[1];
            Ok(cube.read_region::<f64>(name, &[sample, 0], &[1, len])?.into_raw_vec_and_offset().0)
        };
        let (xc, yc) = (row("xc")?, row("yc")?);
        let ends = cube.read_region::<i32>("date", &[sample, 0], &[1, steps])?;
        let length = cube.attr_f64("step_days")? as i32;
        let drives: Vec<[f64; DRIVES]> =
            ends.iter().map(|&end| self.mean_drives(region, end - length + 1..=end)).collect();
        let read = |name: &str| -> Result<Array4<f32>, Error> {
            let values = cube.read_region::<f32>(name, &[sample, 0, 0, 0], &shape)?;
            values.into_dimensionality().map_err(|error| strange(error.to_string()))
        };
        let values = bands.iter().map(|(name, _)| read(name)).collect::<Result<Vec<_>, _>>()?;
        let kndvi = if cube.has("kndvi") { Some(read("kndvi")?) } else { None };
        let masked = cube.read_region::<u8>("mask", &[sample, 0, 0, 0], &shape)?;
        let masked = masked.index_axis_move(Axis(0), 0);
        let side = (xc[1] - xc[0]).abs();
        let window = self.active_window(region);
        let land = self.land(region).pixels();
        let epsilon = cube.attr_f64("ndvi_epsilon")?;

        let rows: Vec<Comparison> = (0..yc.len())
            .into_par_iter()
            .map(|y| {
                let mut row = Comparison {
                    observed: bands.iter().map(|&(name, _)| (name, Deviation::default())).collect(),
                    gaps: found.gaps.iter().map(|&(from, to, _)| (from, to, Deviation::default())).collect(),
                };
                for (x, &easting) in xc.iter().enumerate() {
                    let grounds: Vec<Ground> = bands
                        .iter()
                        .map(|(_, asset)| {
                            Ground::under(land, &window, XY { x: easting, y: yc[y] }, side, *asset)
                        })
                        .collect();
                    let gaps = gap_lengths((0..steps as usize).map(|t| masked[[t, y, x]] != 0));
                    for (t, drives) in drives.iter().enumerate() {
                        let truth: Vec<f64> = grounds
                            .iter()
                            .zip(bands)
                            .map(|(ground, (_, asset))| ground.reflectance(*asset, drives))
                            .collect();
                        if gaps[t] == 0 {
                            for ((deviation, truth), values) in
                                row.observed.iter_mut().zip(&truth).zip(&values)
                            {
                                let difference = f64::from(values[[0, t, y, x]]) - truth;
                                if difference.is_finite() {
                                    deviation.1.add(difference);
                                }
                            }
                        }
                        let Some(kndvi) = &kndvi else { continue };
                        let (red, nir) = (truth[2], truth[3]);
                        let ndvi = (nir - red) / (nir + red + epsilon);
                        let difference = f64::from(kndvi[[0, t, y, x]]) - (ndvi * ndvi).tanh();
                        let class = GAP_CLASSES.iter().rposition(|&from| from <= gaps[t]);
                        if let (true, Some(class)) = (difference.is_finite(), class) {
                            row.gaps[class].2.add(difference);
                        }
                    }
                }
                row
            })
            .collect();
        for row in rows {
            for (all, one) in found.observed.iter_mut().zip(row.observed) {
                all.1 = all.1.merge(one.1);
            }
            for (all, one) in found.gaps.iter_mut().zip(row.gaps) {
                all.2 = all.2.merge(one.2);
            }
        }
        Ok(())
    }

    fn mean_drives(&self, region: Region, days: std::ops::RangeInclusive<i32>) -> [f64; DRIVES] {
        let count = days.clone().count() as f64;
        let mut means = [0.0; DRIVES];
        for day in days {
            let drives = self.drives(region, from_cf_day(day)).unwrap_or([f64::NAN; DRIVES]);
            means.iter_mut().zip(drives).for_each(|(mean, drive)| *mean += drive / count);
        }
        means
    }
}

/// Means of the constants of the 10 m pixels under a pixel of a cube: `brightness`, and what it is multiplied with.
struct Ground {
    sum: f64,
    fixed: f64,
    /// By the drive of their vegetation.
    growing: [f64; DRIVES],
}

impl Ground {
    /// Of a pixel of `side` metres around `centre`, as an asset shows it: 20 m pixels count by the area that they share.
    fn under(land: &Pixels, window: &Bounds, centre: XY, side: f64, asset: Asset) -> Self {
        let pixels = |distance: f64| -> Vec<usize> {
            let first = ((distance - side / 2.0) / 10.0).round() as usize;
            let own = first..first + (side / 10.0).round() as usize;
            if asset.resolution_m() < 15.0 {
                own.collect()
            } else {
                own.flat_map(|i| [i & !1, i | 1]).collect()
            }
        };
        let (rows, cols) = (pixels(window.y_max - centre.y), pixels(centre.x - window.x_min));
        let places: Vec<usize> =
            rows.iter().flat_map(|row| cols.iter().map(move |col| row * WINDOW_PX + col)).collect();
        let number = |field: &[f32], at: usize| field.get(at).map_or(f64::NAN, |&v| f64::from(v));
        let mean =
            |field: &[f32]| places.iter().map(|&at| number(field, at)).sum::<f64>() / places.len() as f64;
        let mut growing = [0.0; DRIVES];
        for &at in &places {
            let drive = land.drive.get(at).map_or(0, |&drive| usize::from(drive));
            growing[drive] += number(&land.growing, at) / places.len() as f64;
        }
        Self { sum: mean(&land.sum), fixed: mean(&land.fixed), growing }
    }

    fn reflectance(&self, asset: Asset, drives: &[f64; DRIVES]) -> f64 {
        let grown: f64 = self.growing.iter().zip(drives).map(|(growing, drive)| growing * drive).sum();
        asset.band().map_or(f64::NAN, |band| band.reflectance(self.sum, self.fixed + grown))
    }
}

/// Length of the run of masked steps that each step is in; 0 where it is not masked.
fn gap_lengths(masked: impl Iterator<Item = bool>) -> Vec<usize> {
    let masked: Vec<bool> = masked.collect();
    masked
        .chunk_by(|a, b| a == b)
        .flat_map(|run| vec![if run[0] { run.len() } else { 0 }; run.len()])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Landscape;

    #[test]
    fn runs_of_masked_steps_by_hand() {
        let masked = [1, 0, 0, 1, 1, 1, 0, 1].map(|flag| flag == 1);
        assert_eq!(gap_lengths(masked.into_iter()), [1, 0, 0, 3, 3, 3, 0, 1]);
        assert!(gap_lengths(std::iter::empty()).is_empty());
    }

    #[test]
    fn deviations_by_hand() {
        let mut one = Deviation::default();
        [3.0, -1.0].into_iter().for_each(|difference| one.add(difference));
        let mut other = Deviation::default();
        other.add(1.0);
        let both = one.merge(other);
        assert_eq!((both.count, both.mean()), (3, 1.0));
        assert!((both.rmse() - (11.0_f64 / 3.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn the_ground_under_a_pixel_is_the_mean_of_its_points() {
        the_ground_of(&World::new(42).unwrap());
        the_ground_of(&World::with_landscape(42, Landscape::GroundWater).unwrap());
        the_ground_of(&World::with_landscape(42, Landscape::Scattered).unwrap());
    }

    fn the_ground_of(world: &World) {
        let window = world.active_window(Region::Africa);
        let land = world.land(Region::Africa).pixels();
        // 30 m pixels that begin on an even and on an odd 10 m pixel.
        for (col, row) in [(4, 10), (7, 13)] {
            let centre = XY {
                x: window.x_min + 30.0 * f64::from(col) + 15.0,
                y: window.y_max - 30.0 * f64::from(row) - 15.0,
            };
            let date = chrono::NaiveDate::from_ymd_opt(2021, 3, 14).unwrap();
            let drives = world.drives(Region::Africa, date).unwrap();
            for asset in [Asset::Red, Asset::Nir08] {
                let offsets = [-10.0, 0.0, 10.0];
                let points = offsets
                    .iter()
                    .flat_map(|dx| offsets.iter().map(move |dy| (centre.x + dx, centre.y + dy)));
                let expected: f64 =
                    points.map(|(x, y)| world.truth_reflectance(Region::Africa, asset, x, y, date)).sum();
                let found = Ground::under(land, &window, centre, 30.0, asset).reflectance(asset, &drives);
                assert!((found - expected / 9.0).abs() < 1e-6, "{asset}: {found} {}", expected / 9.0);
            }
        }
    }
}
