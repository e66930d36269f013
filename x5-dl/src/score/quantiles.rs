//! Whether forecast quantiles hold: which part of the observations lies below each.

use ndarray::{Array3, Zip};
use serde::{Deserialize, Serialize};

/// How one quantile holds on the valid vegetation pixels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantileScore {
    /// Its level, 0..1.
    pub level: f64,
    /// Part of the observed values of kNDVI that is below it; the level itself, if the quantile is right.
    pub below: f64,
    /// Mean of max(τ (y - q), (τ - 1) (y - q)) of kNDVI, smaller is better; <https://doi.org/10.2307/1913643>.
    pub loss: f64,
    /// Values compared.
    pub count: u64,
}

/// Sums over valid values, by quantile; sums of several samples add up.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct QuantileSums(Vec<Sums>);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sums {
    level: f64,
    below: f64,
    loss: f64,
    count: u64,
}

impl QuantileSums {
    /// Adds one quantile of a sample; all arrays are `[step, y, x]`.
    pub(crate) fn push(
        &mut self,
        level: f64,
        quantile: &Array3<f32>,
        truth: &Array3<f32>,
        valid: &Array3<f32>,
    ) {
        let mut sums = Sums { level, ..Sums::default() };
        Zip::from(quantile).and(truth).and(valid).for_each(|&q, &y, &m| {
            let missing = f64::from(y) - f64::from(q);
            if m > 0.0 && missing.is_finite() {
                // An observation that is the quantile lies half below it.
                sums.below += if missing == 0.0 { 0.5 } else { f64::from(u8::from(missing < 0.0)) };
                sums.loss += (level * missing).max((level - 1.0) * missing);
                sums.count += 1;
            }
        });
        self.0.push(sums);
    }

    pub(crate) fn add(&mut self, other: &QuantileSums) {
        if self.0.is_empty() {
            *self = other.clone();
            return;
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            mine.below += theirs.below;
            mine.loss += theirs.loss;
            mine.count += theirs.count;
        }
    }

    /// Empty where nothing was valid.
    pub(crate) fn finish(&self) -> Vec<QuantileScore> {
        let seen = self.0.iter().filter(|sums| sums.count > 0);
        seen.map(|sums| QuantileScore {
            level: sums.level,
            below: sums.below / sums.count as f64,
            loss: sums.loss / sums.count as f64,
            count: sums.count,
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr3;

    /// Of .1, .2 and .3 one is below .15 and the fourth is not valid: losses .9 · .05, .1 · .05 and .1 · .15.
    #[test]
    fn by_hand() {
        let truth = arr3(&[[[0.1f32, 0.2], [0.3, 0.0]]]);
        let valid = arr3(&[[[1.0f32, 1.0], [1.0, 0.0]]]);
        let mut sums = QuantileSums::default();
        sums.push(0.1, &Array3::from_elem((1, 2, 2), 0.15), &truth, &valid);
        let mut both = QuantileSums::default();
        both.add(&sums);
        both.add(&sums);
        let [found] = both.finish()[..] else { panic!("one quantile") };
        assert!((found.below - 1.0 / 3.0).abs() < 1e-12 && found.count == 6);
        assert!((found.loss - (0.045 + 0.005 + 0.015) / 3.0).abs() < 1e-7);
        assert!(QuantileSums::default().finish().is_empty());
    }
}
