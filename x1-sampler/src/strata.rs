//! From raster values in a cell to its classes. NaN means "no data" everywhere.

use crate::legend::Legend;

/// Names of three classes of equal size, as of the Shannon entropy of land cover over all candidate cells.
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

    /// Number of classes that occur.
    #[must_use]
    pub fn richness(&self) -> usize {
        self.counts.iter().filter(|&&count| count > 0).count()
    }

    /// Share of the most frequent class.
    #[must_use]
    pub fn dominant_share(&self) -> f64 {
        f64::from(self.counts[self.dominant()]) / f64::from(self.valid)
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

/// Mean of the values with data; `None` if more than half of the samples have none.
#[must_use]
pub fn mean(values: &[f32]) -> Option<f64> {
    let (mut sum, mut valid) = (0.0, 0_usize);
    for &value in values.iter().filter(|value| !value.is_nan()) {
        sum += f64::from(value);
        valid += 1;
    }
    (valid > 0 && valid as f64 >= COVERED * values.len() as f64).then(|| sum / valid as f64)
}

/// How numbers become classes.
#[derive(Clone, Debug, PartialEq)]
pub enum Cut {
    /// A class begins at each of these values (ascending); one more class lies below the first.
    Breaks {
        /// Where classes begin.
        bounds: Vec<f32>,
        /// Their names, one more than bounds.
        names: Vec<String>,
    },
    /// This many classes of equal size over the whole population.
    Quantiles(usize),
}

impl Cut {
    /// Classes that begin at these values, named after their ranges with a unit, e.g. `200–500 m`.
    #[must_use]
    pub fn ranges(bounds: &[f64], unit: &str) -> Cut {
        let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
        let mut names = Vec::with_capacity(bounds.len() + 1);
        if let (Some(first), Some(last)) = (bounds.first(), bounds.last()) {
            names.push(format!("< {first}{unit}"));
            names.extend(bounds.windows(2).map(|pair| format!("{}–{}{unit}", pair[0], pair[1])));
            names.push(format!("≥ {last}{unit}"));
        } else {
            names.push("all".to_owned());
        }
        Cut::Breaks { bounds: bounds.iter().map(|&bound| bound as f32).collect(), names }
    }

    /// Class of each value, and the names of the classes. Quantiles: a value equal to a cut belongs to the class below it,
    /// so that equal values stay together; three are called low, medium and high.
    #[must_use]
    pub fn classify(&self, values: &[f32]) -> Classified {
        match self {
            Cut::Breaks { bounds, names } => Classified {
                of_value: values
                    .iter()
                    .map(|value| bounds.iter().filter(|&bound| value >= bound).count() as u16)
                    .collect(),
                names: names.clone(),
                cuts: bounds.clone(),
            },
            Cut::Quantiles(parts) => {
                let cuts = quantiles(values, *parts);
                let names = if *parts == 3 {
                    HETEROGENEITY.map(str::to_owned).to_vec()
                } else {
                    (1..=*parts).map(|part| format!("q{part}of{parts}")).collect()
                };
                let class = |value: &f32| cuts.iter().filter(|&cut| value > cut).count() as u16;
                Classified { of_value: values.iter().map(class).collect(), names, cuts }
            }
        }
    }
}

/// Values put into classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Classified {
    /// Index into `names`, per value.
    pub of_value: Vec<u16>,
    /// Names of the classes.
    pub names: Vec<String>,
    /// The values between the classes.
    pub cuts: Vec<f32>,
}

/// The values that cut a population into `parts` of equal size (nearest rank), ascending; zeros if it is empty.
fn quantiles(values: &[f32], parts: usize) -> Vec<f32> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let rank = |part: usize| (sorted.len() * part).div_ceil(parts).max(1) - 1;
    (1..parts).map(|part| sorted.get(rank(part)).copied().unwrap_or(0.0)).collect()
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
        assert_eq!((mixed.dominant(), mixed.dominant_share(), mixed.richness()), (0, 0.5, 3));
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
    fn classes_begin_at_their_bound() {
        assert_eq!(relief(&[100.0, 129.0, f32::NAN]), Some(29.0));
        assert_eq!(relief(&[100.0, f32::NAN, f32::NAN]), None);
        let names = TOPOGRAPHY.map(str::to_owned).to_vec();
        let cut = Cut::Breaks { bounds: vec![30.0, 90.0, 300.0], names };
        let done = cut.classify(&[29.9, 30.0, 299.0, 300.0]);
        let classes: Vec<&str> = done.of_value.iter().map(|&c| done.names[usize::from(c)].as_str()).collect();
        assert_eq!(classes, ["flat", "undulating", "hilly", "mountainous"]);
        let ranges = Cut::ranges(&[200.0, 500.0], "m").classify(&[200.0]);
        assert_eq!(ranges.names, ["< 200 m", "200–500 m", "≥ 500 m"]);
        assert_eq!(ranges.of_value, [1]);
    }

    #[test]
    fn quantiles_cut_equal_parts() {
        let done = Cut::Quantiles(3).classify(&[6.0, 1.0, 5.0, 2.0, 4.0, 3.0]);
        assert_eq!((done.cuts, done.of_value), (vec![2.0, 4.0], vec![2, 0, 2, 0, 1, 1]));
        assert_eq!(done.names, ["low", "medium", "high"]);
        // Many equal values fall into one class together.
        assert_eq!(Cut::Quantiles(3).classify(&[0.0, 0.0, 0.0, 0.0, 0.0, 9.0]).of_value, [0, 0, 0, 0, 0, 2]);
        assert_eq!(Cut::Quantiles(4).classify(&[1.0, 2.0, 3.0, 4.0]).of_value, [0, 1, 2, 3]);
        assert!(Cut::Quantiles(3).classify(&[]).of_value.is_empty());
    }

    /// Three of four samples have data, one of four has not enough.
    #[test]
    fn means_leave_out_missing_samples() {
        assert_eq!(mean(&[1.0, f32::NAN, 3.0, 5.0]), Some(3.0));
        assert_eq!(mean(&[1.0, f32::NAN, f32::NAN, f32::NAN]), None);
        assert_eq!(mean(&[]), None);
    }
}
