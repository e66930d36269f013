//! From raster values in a cell to its classes. NaN means "no data" everywhere.

use crate::legend::Legend;

/// Names of the heterogeneity classes, by tertile of the Shannon entropy of land cover over all candidate cells.
pub const HETEROGENEITY: [&str; 3] = ["low", "medium", "high"];

/// Names of the topography classes, by relief.
pub const TOPOGRAPHY: [&str; 4] = ["flat", "undulating", "hilly", "mountainous"];

/// A cell needs data in at least this share of its samples.
const COVERED: f64 = 0.5;

/// How often each class of a legend occurs in a cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Composition {
    counts: Vec<u32>,
    valid: u32,
}

impl Composition {
    /// Counts the classes; `Ok(None)` if more than half of the samples have no data.
    ///
    /// # Errors
    /// The first value that the legend does not know.
    pub fn of(values: &[f32], legend: &Legend) -> Result<Option<Composition>, f32> {
        let mut counts = vec![0_u32; legend.classes.len()];
        let mut valid = 0;
        for &value in values.iter().filter(|value| !value.is_nan()) {
            counts[usize::from(legend.class_of(value).ok_or(value)?)] += 1;
            valid += 1;
        }
        let covered = f64::from(valid) >= COVERED * values.len() as f64 && valid > 0;
        Ok(covered.then_some(Composition { counts, valid }))
    }

    /// Index of the most frequent class; of equals the first in the legend.
    #[must_use]
    pub fn dominant(&self) -> usize {
        let most = self.counts.iter().copied().max().unwrap_or(0);
        self.counts.iter().position(|&count| count == most).unwrap_or(0)
    }

    /// Shannon entropy −Σ p ln p of the class shares, nats; 0 for a single class.
    #[must_use]
    pub fn entropy(&self) -> f64 {
        let shares =
            self.counts.iter().filter(|&&count| count > 0).map(|&n| f64::from(n) / f64::from(self.valid));
        // `max` turns the -0.0 of a single class into 0.0.
        (-shares.map(|share| share * share.ln()).sum::<f64>()).max(0.0)
    }

    /// Share of the classes that the legend calls water.
    #[must_use]
    pub fn water_share(&self, legend: &Legend) -> f64 {
        let wet = self.counts.iter().zip(&legend.is_water).filter(|(_, wet)| **wet).map(|(&count, _)| count);
        f64::from(wet.sum::<u32>()) / f64::from(self.valid)
    }
}

/// Highest minus lowest elevation, metres; `None` if more than half of the samples have no data.
#[must_use]
pub fn relief(elevations: &[f32]) -> Option<f64> {
    let valid = || elevations.iter().copied().filter(|value| !value.is_nan());
    let covered = valid().count() as f64 >= COVERED * elevations.len() as f64;
    let low = valid().reduce(f32::min)?;
    let high = valid().reduce(f32::max)?;
    covered.then(|| f64::from(high) - f64::from(low))
}

/// Index into [`TOPOGRAPHY`]; `bounds` are the reliefs, ascending, at which the next class begins.
#[must_use]
pub fn relief_class(relief_m: f64, bounds: &[f64; 3]) -> usize {
    bounds.iter().filter(|&&bound| relief_m >= bound).count()
}

/// The two values that cut a population into three equal parts (nearest rank); zeros if it is empty.
#[must_use]
pub fn tertiles(values: impl Iterator<Item = f32>) -> [f32; 2] {
    let mut sorted: Vec<f32> = values.collect();
    sorted.sort_unstable_by(f32::total_cmp);
    let rank =
        |third: usize| sorted.get((sorted.len() * third).div_ceil(3).max(1) - 1).copied().unwrap_or(0.0);
    [rank(1), rank(2)]
}

/// Index into [`HETEROGENEITY`]; a value equal to a cut belongs to the class below it.
#[must_use]
pub fn tertile_class(value: f32, cuts: [f32; 2]) -> usize {
    cuts.iter().filter(|&&cut| value > cut).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LegendName;

    fn composition(values: &[f32]) -> Composition {
        Composition::of(values, &Legend::builtin(LegendName::Worldcover)).unwrap().unwrap()
    }

    /// Half trees, a quarter grass, a quarter water: H = ½ ln 2 + 2 · ¼ ln 4 = 1.5 ln 2.
    #[test]
    fn entropy_by_hand() {
        let mixed = composition(&[10.0, 10.0, 30.0, 80.0]);
        assert!((mixed.entropy() - 1.5 * 2.0_f64.ln()).abs() < 1e-15);
        assert_eq!(mixed.dominant(), 0);
        assert_eq!(mixed.water_share(&Legend::builtin(LegendName::Worldcover)), 0.25);
        assert_eq!(composition(&[10.0; 9]).entropy().to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn missing_samples_do_not_count() {
        // 2 of 4 valid is enough, 1 of 4 is not.
        assert_eq!(composition(&[40.0, f32::NAN, f32::NAN, 40.0]).dominant(), 3);
        let legend = Legend::builtin(LegendName::Worldcover);
        assert_eq!(Composition::of(&[40.0, f32::NAN, f32::NAN, f32::NAN], &legend), Ok(None));
        assert_eq!(Composition::of(&[], &legend), Ok(None));
        assert_eq!(Composition::of(&[41.0], &legend), Err(41.0));
    }

    #[test]
    fn relief_classes_begin_at_their_bound() {
        let bounds = [30.0, 90.0, 300.0];
        assert_eq!(relief(&[100.0, 129.0, f32::NAN]), Some(29.0));
        assert_eq!(relief(&[100.0, f32::NAN, f32::NAN]), None);
        assert_eq!(
            [29.9, 30.0, 299.0, 300.0].map(|m| TOPOGRAPHY[relief_class(m, &bounds)]),
            ["flat", "undulating", "hilly", "mountainous"]
        );
    }

    #[test]
    fn tertiles_cut_equal_parts() {
        let values = [6.0, 1.0, 5.0, 2.0, 4.0, 3.0];
        let cuts = tertiles(values.into_iter());
        assert_eq!(cuts, [2.0, 4.0]);
        let classes: Vec<usize> = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(|v| tertile_class(v, cuts)).to_vec();
        assert_eq!(classes, [0, 0, 1, 1, 2, 2]);
        // Many equal values fall into one class together.
        let cuts = tertiles([0.0, 0.0, 0.0, 0.0, 0.0, 9.0].into_iter());
        assert_eq!((tertile_class(0.0, cuts), tertile_class(9.0, cuts)), (0, 2));
        assert_eq!(tertiles(std::iter::empty()), [0.0, 0.0]);
    }
}
