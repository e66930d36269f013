//! What recurs every year and what does not: mean seasonal cycle, anomalies, spread between years (the deliverable's
//! figure 6-2).

use ndarray::{Array1, Array2, Array3, ArrayView2, ArrayView3, Axis};

/// Mean over the years, `[step, pixel]`, of a series `[year, step, pixel]`. NaN values are left out; NaN where no year has
/// a value.
#[must_use]
pub fn mean_seasonal_cycle(series: ArrayView3<'_, f64>) -> Array2<f64> {
    series.map_axis(Axis(0), |years| finite_mean(years.iter().copied()))
}

/// What a series `[year, step, pixel]` is above its cycle `[step, pixel]`; NaN where either is.
#[must_use]
pub fn anomalies(series: ArrayView3<'_, f64>, cycle: ArrayView2<'_, f64>) -> Array3<f64> {
    &series - &cycle
}

/// Standard deviation between the years (divided by their number, not one less), mean over the steps, `[pixel]`, of a series
/// `[year, step, pixel]`. NaN values are left out; a step that one year alone has counts as 0, one that none has not at all.
/// NaN where there is no value.
#[must_use]
pub fn interannual_std(series: ArrayView3<'_, f64>) -> Array1<f64> {
    let spread = series.map_axis(Axis(0), |years| {
        let mean = finite_mean(years.iter().copied());
        finite_mean(years.iter().map(|value| (value - mean) * (value - mean))).sqrt()
    });
    spread.map_axis(Axis(0), |steps| finite_mean(steps.iter().copied()))
}

/// NaN without a finite value.
fn finite_mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) =
        values.filter(|v| v.is_finite()).fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::testing::Golden;
    use ndarray::arr3;

    #[test]
    fn equals_numpy() {
        let golden = Golden::open("landscape");
        let series = Array3::from_shape_vec((4, 36, 30), golden.f64("series")).unwrap();
        let near = |found: Vec<f64>, name: &str| {
            let expected = golden.f64(name);
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                let both_missing = found.is_nan() && expected.is_nan();
                assert!(both_missing || (found - expected).abs() < 1e-12, "{name}: {found} {expected}");
            }
        };
        let cycle = mean_seasonal_cycle(series.view());
        let found = anomalies(series.view(), cycle.view());
        let size = finite_mean(found.iter().map(|value| value.abs()));
        assert!((size - golden.json["mean_abs_anomaly"].as_f64().unwrap()).abs() < 1e-12);
        near(cycle.into_raw_vec_and_offset().0, "msc");
        near(found.into_raw_vec_and_offset().0, "anomaly");
        near(interannual_std(series.view()).to_vec(), "interannual_std");
    }

    /// Two years of two steps of one pixel: .2 and .4 spread by .1, the second step is known once and spreads by 0.
    #[test]
    fn missing_years_are_left_out() {
        let series = arr3(&[[[0.2], [0.5]], [[0.4], [f64::NAN]]]);
        let cycle = mean_seasonal_cycle(series.view());
        assert!((cycle[[0, 0]] - 0.3).abs() < 1e-12 && cycle[[1, 0]] == 0.5);
        assert!((interannual_std(series.view())[0] - 0.05).abs() < 1e-12);
        let found = anomalies(series.view(), cycle.view());
        assert!((found[[0, 0, 0]] + 0.1).abs() < 1e-12 && found[[1, 1, 0]].is_nan());
        assert!(interannual_std(arr3(&[[[f64::NAN]]]).view())[0].is_nan());
    }
}
