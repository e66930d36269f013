//! Observations that their neighbours in time contradict: clouds and shadows that the scene classification missed.
//!
//! Each clear observation of a pixel is held against the median of the pixel's other clear observations up to `days` days
//! before and after it. It is dropped where it is an outlier of NDVI or blue (haze, cloud edges; compare the blue test
//! of Hagolle et al. 2010, <https://doi.org/10.1016/j.rse.2010.03.002>) or dark in the near infrared (shadow). All are
//! judged by the series as it was, so the order does not matter. With fewer than [`NEIGHBOURS`] others there is no verdict.

use serde::{Deserialize, Serialize};

/// Fewest other observations that can contradict one.
pub const NEIGHBOURS: usize = 3;

/// The `[level2.screen]` table: each test is off unless it has a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Screen {
    /// How far neighbours may be, before and after (days).
    pub days: u32,
    /// Largest departure of NDVI from the median, up or down.
    pub ndvi: Option<f32>,
    /// Largest excess of blue reflectance over the median.
    pub blue: Option<f32>,
    /// Smallest near-infrared reflectance, as a share of the median.
    pub dark_nir: Option<f32>,
}

impl Default for Screen {
    fn default() -> Self {
        Screen { days: 30, ndvi: None, blue: None, dark_nir: None }
    }
}

/// A clear observation of a pixel.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// CF day.
    pub day: i32,
    /// Reflectance.
    pub blue: f32,
    /// Normalised difference vegetation index.
    pub ndvi: f32,
    /// Reflectance.
    pub nir: f32,
}

impl Screen {
    /// Whether any test is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.ndvi.is_some() || self.blue.is_some() || self.dark_nir.is_some()
    }

    /// Which observations of a pixel are kept; `series` are its clear ones, by day.
    #[must_use]
    pub fn keep(&self, series: &[Seen]) -> Vec<bool> {
        let reach = self.days as i32;
        let mut others = Vec::new();
        let mut keep = Vec::with_capacity(series.len());
        let (mut begin, mut end) = (0, 0);
        for (i, seen) in series.iter().enumerate() {
            begin += series[begin..].iter().take_while(|other| other.day < seen.day - reach).count();
            end += series[end..].iter().take_while(|other| other.day <= seen.day + reach).count();
            others.clear();
            others.extend(series[begin..i].iter().chain(&series[i + 1..end]).copied());
            keep.push(others.len() < NEIGHBOURS || self.agrees(seen, &others));
        }
        keep
    }

    fn agrees(&self, seen: &Seen, others: &[Seen]) -> bool {
        let median = |pick: fn(&Seen) -> f32| median(others.iter().map(pick).collect());
        let greenness = self.ndvi.is_none_or(|most| (seen.ndvi - median(|seen| seen.ndvi)).abs() <= most);
        let haze = self.blue.is_none_or(|most| seen.blue - median(|seen| seen.blue) <= most);
        let shadow = self.dark_nir.is_none_or(|least| seen.nir >= least * median(|seen| seen.nir));
        greenness && haze && shadow
    }
}

/// The middle value, or the mean of the two in the middle.
fn median(mut values: Vec<f32>) -> f32 {
    values.sort_unstable_by(f32::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn seen(day: i32, blue: f32, ndvi: f32, nir: f32) -> Seen {
        Seen { day, blue, ndvi, nir }
    }

    /// Haze on day 20 lowers NDVI and lifts blue, shadow on day 40 darkens NIR.
    fn series() -> Vec<Seen> {
        let mut series: Vec<Seen> = (0..8).map(|i| seen(10 * i, 0.05, 0.6 + 0.01 * i as f32, 0.4)).collect();
        series[2] = seen(20, 0.15, 0.3, 0.45);
        series[4] = seen(40, 0.02, 0.55, 0.15);
        series
    }

    #[test]
    fn each_test_drops_what_it_is_for() {
        let dropped = |screen: Screen| -> Vec<usize> {
            let keep = screen.keep(&series());
            (0..keep.len()).filter(|&i| !keep[i]).collect()
        };
        let off = Screen::default();
        assert!(!off.is_on() && dropped(off).is_empty());
        assert_eq!(dropped(Screen { ndvi: Some(0.2), ..off }), [2]);
        assert_eq!(dropped(Screen { blue: Some(0.05), ..off }), [2]);
        assert_eq!(dropped(Screen { dark_nir: Some(0.5), ..off }), [4]);
        assert_eq!(dropped(Screen { ndvi: Some(0.2), dark_nir: Some(0.5), ..off }), [2, 4]);
    }

    /// Neighbours on days 0 and 30 only: two are too few for a verdict.
    #[test]
    fn few_neighbours_give_no_verdict() {
        let screen = Screen { days: 15, ndvi: Some(0.1), ..Screen::default() };
        assert_eq!(screen.keep(&series()[..4]), [true; 4]);
        assert_eq!(screen.keep(&[]), [true; 0]);
    }

    /// The median by counting, the neighbours by looking at every pair.
    #[test]
    fn equals_the_plain_definition_on_random_series() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        for _ in 0..300 {
            let n = rng.random_range(0..40);
            let mut days: Vec<i32> = (0..n).map(|_| rng.random_range(0..200)).collect();
            days.sort_unstable();
            // Few distinct values, so that ties and exact thresholds occur.
            let mut value = || rng.random_range(0..8) as f32 / 8.0;
            let series: Vec<Seen> = days.iter().map(|&day| seen(day, value(), value(), value())).collect();
            let screen = Screen { days: 25, ndvi: Some(0.25), blue: Some(0.25), dark_nir: Some(0.5) };
            for (i, kept) in screen.keep(&series).into_iter().enumerate() {
                let others: Vec<&Seen> = (0..series.len())
                    .filter(|&j| j != i && (series[j].day - series[i].day).abs() <= 25)
                    .map(|j| &series[j])
                    .collect();
                let nth = |pick: fn(&Seen) -> f32, k: usize| {
                    let below = |v: f32| others.iter().filter(|other| pick(other) < v).count();
                    let up_to = |v: f32| others.iter().filter(|other| pick(other) <= v).count();
                    others.iter().map(|other| pick(other)).find(|&v| below(v) <= k && k < up_to(v)).unwrap()
                };
                let median = |pick| (nth(pick, (others.len() - 1) / 2) + nth(pick, others.len() / 2)) / 2.0;
                let expected = others.len() < 3
                    || ((series[i].ndvi - median(|seen| seen.ndvi)).abs() <= 0.25
                        && series[i].blue - median(|seen| seen.blue) <= 0.25
                        && series[i].nir >= 0.5 * median(|seen| seen.nir));
                assert_eq!(kept, expected);
            }
        }
    }
}
