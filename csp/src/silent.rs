//! Finds variables that the model does not react to, so that a sensitivity of zero is never silent: the model may
//! ignore a variable, or its output may be dead or clipped to a constant.

use ndarray::{Array3, Axis};

/// Changes of an index below this are rounding of 32-bit forecasts.
pub const RESOLUTION: f64 = 1e-6;

/// A variable none of whose shifts moves the index by as much is hardly heard: the index is between 0 and 1, and the best
/// forecasts miss it by some hundredths.
const FAINT: f64 = 0.005;

/// How far the shifts of one variable move the forecasts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Movement {
    /// Largest change of the index in any sample, step and shift.
    pub largest: f64,
    /// Share of the index values (sample, step) that no shift changes by more than [`RESOLUTION`].
    pub unmoved: f64,
}

/// Movement of `responses` `[sample, perturbation, step]` from row 0, the unchanged forecast, under the perturbations
/// `rows`. Samples with a value that is not finite are left out; NaN without any other.
pub fn movement(responses: &Array3<f64>, rows: &[usize]) -> Movement {
    let (mut largest, mut still, mut all) = (0.0_f64, 0_usize, 0_usize);
    for sample in responses.outer_iter().filter(|sample| sample.iter().all(|v| v.is_finite())) {
        for (t, unchanged) in sample.row(0).iter().enumerate() {
            let change = rows.iter().map(|row| (sample[[*row, t]] - unchanged).abs()).fold(0.0, f64::max);
            largest = largest.max(change);
            still += usize::from(change <= RESOLUTION);
            all += 1;
        }
    }
    let largest = if all > 0 { largest } else { f64::NAN };
    Movement { largest, unmoved: still as f64 / all as f64 }
}

/// The one value that every finite response has, if there is only one.
pub fn constant_value(responses: &Array3<f64>) -> Option<f64> {
    let mut finite = responses.iter().copied().filter(|v| v.is_finite());
    let first = finite.next()?;
    finite.all(|v| v == first).then_some(first)
}

/// Number of samples whose index is one and the same at all steps under all perturbations.
pub fn frozen_samples(responses: &Array3<f64>) -> usize {
    let frozen = |sample: usize| {
        let values = responses.index_axis(Axis(0), sample);
        values.iter().all(|v| v.is_finite() && *v == values[[0, 0]])
    };
    (0..responses.len_of(Axis(0))).filter(|sample| frozen(*sample)).count()
}

/// What has to be said about one variable, its largest shifts between `low` and `high` `unit`; `None` where most of the
/// index values move, and some of them far enough to matter.
pub(crate) fn remark(
    name: &str,
    index: &str,
    movement: Movement,
    [low, high]: [f64; 2],
    unit: &str,
) -> Option<String> {
    let Movement { largest, unmoved } = movement;
    let shifts = format!("shifts from {low} to {high} {unit}");
    if largest == 0.0 {
        Some(format!("{name} is ignored: not one {index} of any sample and step changes under {shifts}"))
    } else if largest <= RESOLUTION {
        Some(format!(
            "{name} is as good as ignored: {shifts} change no {index} by more than {largest:.0e}, which is rounding"
        ))
    } else if unmoved >= 0.25 {
        Some(format!(
            "{name}: {:.0} % of all {index} values do not change under {shifts}; the model ignores it there, or its \
             output is clipped",
            100.0 * unmoved
        ))
    } else if largest < FAINT {
        Some(format!(
            "{name} is hardly heard: {shifts} change no {index} of any sample and step by more than {largest:.1e}; its \
             sensitivity and curve, however well they fit, tell of next to nothing"
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    /// Two samples of two steps: the first step of the first sample moves by .2, the others do not.
    #[test]
    fn moved_and_unmoved_values_are_counted() {
        let responses = array![[[0.5, 0.1], [0.7, 0.1], [0.6, 0.1]], [[0.3, 0.3], [0.3, 0.3], [0.3, 0.3]]];
        let found = movement(&responses, &[1, 2]);
        assert!((found.largest - 0.2).abs() < 1e-15 && found.unmoved == 0.75);
        assert_eq!(frozen_samples(&responses), 1);
        assert_eq!(constant_value(&responses), None);
        let text = remark("rain", "NDVI", found, [-2.0, 10.0], "mm/day").unwrap();
        assert!(text.contains("75 % of all NDVI values"), "{text}");
    }

    #[test]
    fn nothing_moves_at_all() {
        let dead = Array3::zeros((2, 3, 4));
        assert_eq!(movement(&dead, &[1, 2]), Movement { largest: 0.0, unmoved: 1.0 });
        assert_eq!(constant_value(&dead), Some(0.0));
        let text = remark("rain", "kNDVI", movement(&dead, &[1]), [-2.0, 10.0], "mm/day").unwrap();
        assert!(text.starts_with("rain is ignored"), "{text}");
    }

    #[test]
    fn what_moves_by_less_than_half_a_hundredth_is_hardly_heard() {
        let told = |largest| remark("rain", "NDVI", Movement { largest, unmoved: 0.0 }, [0.0, 1.0], "mm");
        assert_eq!(told(0.1), None);
        assert_eq!(told(0.0051), None);
        let text = told(4.9e-4).unwrap();
        assert!(text.starts_with("rain is hardly heard: shifts from 0 to 1 mm"), "{text}");
        assert!(text.contains("by more than 4.9e-4"), "{text}");
    }
}
