//! Whether digital numbers carry the +1000 of baseline 04.00, told from the pixels of a series alone.
//!
//! Vegetation and shaded ground are dark in blue and red: the darkest fiftieth of such pixels has a reflectance of 0.00
//! to 0.06 in every season. A number of 10⁴ ρ + 1000 is then above 1000, one of 10⁴ ρ far below. A veil of haze or thin
//! cloud brightens one scene too, so that brightness alone, of one scene, never decides.

/// Percentile that stands for the darkest pixels, as a fraction.
const DARKEST: f64 = 0.02;

/// Fewer pixels than this have no percentile.
const MIN_PIXELS: usize = 500;

/// Fewer scenes than this are no series.
const MIN_SCENES: usize = 3;

/// With 1000 in it, a fiftieth of the pixels would have reflectances below −0.05.
const IMPOSSIBLE_WITH_OFFSET: u16 = 500;

/// With 1000 in it, the darkest ground would have a reflectance below −0.02.
const UNLIKELY_WITH_OFFSET: u16 = 800;

/// Without 1000 in it, the darkest vegetation would have a reflectance of 0.1 or more.
const BRIGHT_WITHOUT_OFFSET: u16 = 1000;

/// How far the darkest ground of the same place varies in time.
const SEASONS: f64 = 250.0;

/// An offset brightens all bands alike; a veil does not.
const VEIL: f64 = 150.0;

/// Dark area and vegetation, the classes of the scene classification that are dark in blue and red.
const DARK: [u8; 2] = [2, 4];

/// Saturated or defective.
const DEFECTIVE: u8 = 1;

/// What the pixels of a scene say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// Digital numbers are 10⁴ ρ.
    Plain,
    /// Digital numbers are 10⁴ ρ + 1000.
    Offset,
    /// Neither is sure.
    Unsure,
}

/// The darkest digital numbers of one scene, in each of a few visible bands; `None` where there are too few pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DarkLevels {
    /// Of all pixels with data.
    pub all: Vec<Option<u16>>,
    /// Of vegetation and dark areas.
    pub dark: Vec<Option<u16>>,
}

impl DarkLevels {
    /// Takes the 2nd percentiles of a scene.
    ///
    /// # Shapes
    /// `classes` and every band are lists of the same pixels; the number 0 is no data. A band that is missing is empty.
    #[must_use]
    pub fn of(classes: &[u8], bands: &[Vec<u16>]) -> DarkLevels {
        let level = |band: &Vec<u16>, wanted: &dyn Fn(u8) -> bool| {
            let pairs = band.iter().zip(classes).filter(|(number, class)| **number > 0 && wanted(**class));
            let mut numbers: Vec<u16> = pairs.map(|(number, _)| *number).collect();
            if numbers.len() < MIN_PIXELS {
                return None;
            }
            let rank = (numbers.len() as f64 * DARKEST) as usize;
            Some(*numbers.select_nth_unstable(rank).1)
        };
        DarkLevels {
            all: bands.iter().map(|band| level(band, &|class| class != DEFECTIVE)).collect(),
            dark: bands.iter().map(|band| level(band, &|class| DARK.contains(&class))).collect(),
        }
    }

    /// Too dark for numbers with an offset: no surface reflects less than nothing.
    fn is_plain(&self) -> bool {
        self.all.iter().flatten().any(|&level| level <= IMPOSSIBLE_WITH_OFFSET)
    }

    /// Levels of the dark classes, if all bands have one.
    fn dark_levels(&self) -> Option<Vec<u16>> {
        self.dark.iter().copied().collect::<Option<Vec<u16>>>().filter(|levels| !levels.is_empty())
    }
}

/// What the pixels of each scene of a series say; all scenes show the same ground, in the same bands.
///
/// 1. A fiftieth of all pixels at 500 or below in any band: plain.
/// 2. Where at least three such scenes have enough dark ground, their median by band is the reference. Another scene is
///    offset if its dark ground is at 1000 or above and brighter than the reference by 1000 ± 250 in every band, alike
///    within 150; it is plain if its dark ground is at 800 or below and within 250 of the reference.
/// 3. Where none is plain, at least three have enough dark ground, and that of each is at 1000 or above in every band:
///    these are offset.
///
/// Everything else is unsure. One band alone never says "offset".
#[must_use]
pub fn judge(series: &[DarkLevels]) -> Vec<Says> {
    let mut says: Vec<Says> =
        series.iter().map(|scene| if scene.is_plain() { Says::Plain } else { Says::Unsure }).collect();
    let dark: Vec<Option<Vec<u16>>> = series.iter().map(DarkLevels::dark_levels).collect();
    let is_bright =
        |levels: &[u16]| levels.len() > 1 && levels.iter().all(|&level| level >= BRIGHT_WITHOUT_OFFSET);
    let plain: Vec<&Vec<u16>> = says
        .iter()
        .zip(&dark)
        .filter(|(says, _)| **says == Says::Plain)
        .filter_map(|(_, d)| d.as_ref())
        .collect();
    if plain.len() >= MIN_SCENES {
        let reference = medians(&plain);
        for (says, levels) in says.iter_mut().zip(&dark) {
            let (Says::Unsure, Some(levels)) = (*says, levels) else { continue };
            let steps: Vec<f64> =
                levels.iter().zip(&reference).map(|(&level, r)| f64::from(level) - r).collect();
            let near = |step: f64| steps.iter().all(|found| (found - step).abs() <= SEASONS);
            let (low, high) = steps.iter().fold((f64::MAX, f64::MIN), |(l, h), &s| (l.min(s), h.max(s)));
            if is_bright(levels) && near(1000.0) && high - low <= VEIL {
                *says = Says::Offset;
            } else if levels.iter().all(|&level| level <= UNLIKELY_WITH_OFFSET) && near(0.0) {
                *says = Says::Plain;
            }
        }
    } else if !says.contains(&Says::Plain) {
        let known: Vec<&Vec<u16>> = dark.iter().flatten().collect();
        if known.len() >= MIN_SCENES && known.iter().all(|levels| is_bright(levels)) {
            for (says, levels) in says.iter_mut().zip(&dark) {
                *says = levels.as_ref().map_or(Says::Unsure, |_| Says::Offset);
            }
        }
    }
    says
}

/// Median of each band; the lower of the two middle ones.
fn medians(scenes: &[&Vec<u16>]) -> Vec<f64> {
    let bands = scenes.iter().map(|levels| levels.len()).min().unwrap_or(0);
    let median = |band: usize| {
        let mut levels: Vec<u16> = scenes.iter().map(|levels| levels[band]).collect();
        levels.sort_unstable();
        f64::from(levels[(levels.len() - 1) / 2])
    };
    (0..bands).map(median).collect()
}

#[cfg(test)]
mod tests {
    use Says::{Offset, Plain, Unsure};

    use super::*;

    fn scene(blue: u16, red: u16) -> DarkLevels {
        let levels = vec![Some(blue), Some(red)];
        DarkLevels { all: levels.clone(), dark: levels }
    }

    fn cloudy(level: u16) -> DarkLevels {
        DarkLevels { all: vec![Some(level); 2], dark: vec![None; 2] }
    }

    /// 1000 pixels with the numbers 1 to 1000: the 21st is the first that has a fiftieth below it.
    #[test]
    fn levels_are_second_percentiles_of_enough_pixels() {
        let numbers: Vec<u16> = (1..=1000).rev().collect();
        let halves: Vec<u8> = (0..1000).map(|i| if i < 500 { 4 } else { 9 }).collect();
        let levels = DarkLevels::of(&halves, &[numbers.clone(), Vec::new()]);
        assert_eq!(levels.all, [Some(21), None]);
        // The upper half, 501 to 1000, is vegetation: its eleventh.
        assert_eq!(levels.dark, [Some(511), None]);
        let few: Vec<u8> = (0..1000).map(|i| if i < 499 { 2 } else { 1 }).collect();
        assert_eq!(DarkLevels::of(&few, &[numbers]), DarkLevels { all: vec![None], dark: vec![None] });
        let holed: Vec<u16> = (0..1000).map(|i| if i < 100 { 0 } else { 700 }).collect();
        assert_eq!(DarkLevels::of(&[4; 1000], &[holed]).dark, [Some(700)], "0 is no data, not dark");
    }

    #[test]
    fn a_step_of_a_thousand_in_all_bands_is_an_offset_and_a_veil_is_not() {
        let series = |last: DarkLevels| judge(&[scene(200, 250), scene(220, 240), scene(300, 330), last])[3];
        assert_eq!(series(scene(1210, 1260)), Offset);
        assert_eq!(series(scene(1400, 1450)), Offset, "a brighter season");
        assert_eq!(series(scene(1300, 1130)), Unsure, "haze: more in blue");
        assert_eq!(series(scene(1900, 1900)), Unsure, "cloud");
        assert_eq!(series(scene(990, 1050)), Unsure);
        assert_eq!(series(scene(450, 600)), Plain);
        assert_eq!(series(scene(900, 900)), Unsure);
        assert_eq!(series(cloudy(3000)), Unsure);
        assert_eq!(series(cloudy(480)), Plain, "dark pixels of any class");
    }

    /// Three scenes of a kind are needed, whichever kind.
    #[test]
    fn a_few_scenes_are_no_series() {
        assert_eq!(judge(&[scene(1145, 1173)]), [Unsure]);
        assert_eq!(judge(&[scene(1145, 1173), scene(1200, 1250)]), [Unsure, Unsure]);
        let three = [scene(1145, 1173), scene(1200, 1250), scene(1020, 1100), cloudy(4000)];
        assert_eq!(judge(&three), [Offset, Offset, Offset, Unsure]);
        let two_plain =
            [scene(200, 200), scene(200, 200), scene(1200, 1200), scene(1200, 1200), scene(1200, 1200)];
        assert_eq!(judge(&two_plain), [Plain, Plain, Unsure, Unsure, Unsure]);
        assert!(judge(&[]).is_empty());
    }

    /// Bare, bright land has no dark ground; and one scene between the two spoils the argument.
    #[test]
    fn where_nothing_is_dark_nothing_is_said() {
        assert_eq!(judge(&vec![cloudy(1500); 5]), [Unsure; 5]);
        let between = [scene(1100, 1100), scene(1100, 1100), scene(1100, 1100), scene(700, 800)];
        assert_eq!(judge(&between), [Unsure; 4]);
        let one_band = DarkLevels { all: vec![Some(1200)], dark: vec![Some(1200)] };
        assert_eq!(judge(&vec![one_band; 4]), [Unsure; 4]);
    }
}
