//! Counterfactual replacement: what would be forecast with other weather in a window of steps, and how much of the change
//! each variable makes.
//!
//! All sets of variables are replaced. The change is attributed by Shapley values (doi:10.1515/9781400881970-018): the mean
//! effect of a variable over all orders in which the variables could be replaced one after the other. They add up to the
//! whole change; what two variables do only together is shared between them.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, ArrayViewMut5, Axis};
use serde::{Deserialize, Serialize};

use crate::calendar::Calendar;
use crate::choose::Clusters;
use crate::input::Weather;
use crate::variable::Variable;

/// Days by which a step of another year may be off.
const DAYS_OFF: i32 = 16;

/// Where the other weather comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replacement {
    /// The mean of the same month: of the same cube where Level 2 has more than one sample of it, else of all samples.
    #[default]
    Climatology,
    /// The same days of the nearest other year of the same cube.
    OtherYear,
    /// The centroid of the largest cluster to which the sample does not belong, each weather series for itself; a series
    /// of one cluster stays as it is.
    OtherCluster,
}

impl Replacement {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Climatology => "the mean of the same month",
            Self::OtherYear => "that of the nearest other year",
            Self::OtherCluster => "the centroid of the largest other cluster",
        }
    }
}

/// The forecasts of one sample with some of its weather replaced.
#[derive(Clone, Debug)]
pub struct Counterfactual {
    /// Position in the weather.
    pub sample: usize,
    /// Index signals `[set, step]`; bit `v` of a set says whether variable `v` is replaced, so the first row is the
    /// unchanged forecast and the last one that with all variables replaced.
    pub signals: Array2<f64>,
    /// Share of each variable in the whole change, `[variable, step]`.
    pub attribution: Array2<f64>,
}

impl Counterfactual {
    /// Attributes the change between the first and the last of the signals `[2^variables, step]`.
    pub fn new(sample: usize, signals: Array2<f64>) -> Self {
        let shares: Vec<Vec<f64>> =
            signals.axis_iter(Axis(1)).map(|of_sets| shapley(&of_sets.to_vec())).collect();
        let variables = shares.first().map_or(0, Vec::len);
        let attribution = Array2::from_shape_fn((variables, shares.len()), |(v, t)| shares[t][v]);
        Self { sample, signals, attribution }
    }

    /// The change of the index when all variables are replaced, at each step.
    pub fn change(&self) -> Vec<f64> {
        let last = self.signals.nrows().saturating_sub(1);
        self.signals.row(last).iter().zip(self.signals.row(0)).map(|(after, before)| after - before).collect()
    }
}

/// Shapley values of `n` players from the values of all `2^n` sets of them; bit `v` of a set's place says whether player
/// `v` is in it. Their sum is the last value less the first.
pub fn shapley(values: &[f64]) -> Vec<f64> {
    let players = values.len().max(1).ilog2() as usize;
    let factorial = |n: usize| (1..=n).map(|i| i as f64).product::<f64>();
    let of = |player: usize| -> f64 {
        (0..values.len())
            .filter(|set| set >> player & 1 == 0)
            .map(|set| {
                let size = set.count_ones() as usize;
                let weight = factorial(size) * factorial(players - size - 1) / factorial(players);
                weight * (values[set | 1 << player] - values[set])
            })
            .sum()
    };
    (0..players).map(of).collect()
}

/// Adds a change `[step]` in Level-2 units to the weather `[sample, step, variable, wy, wx]` of some channels in a window of
/// steps; `names` names the axis of variables.
pub fn replace_weather(
    mut weather: ArrayViewMut5<'_, f32>,
    names: &[String],
    changes: &[(String, Vec<f64>)],
    window: Range<usize>,
) {
    for (channel, change) in changes {
        let Some(place) = names.iter().position(|name| name == channel) else { continue };
        let mut values = weather.index_axis_mut(Axis(2), place);
        for (t, mut values) in values.axis_iter_mut(Axis(1)).enumerate().filter(|(t, _)| window.contains(t)) {
            values += change[t] as f32;
        }
    }
}

/// How the channels of a variable change, in Level-2 units by step, when its clustered series become `other` `[channel,
/// step]`. Channels that are not clustered change as the variable's first clustered one.
pub(crate) fn changes(
    weather: &Weather,
    position: usize,
    variable: (usize, &Variable),
    other: ArrayView2<'_, f64>,
) -> Vec<(String, Vec<f64>)> {
    let (index, variable) = variable;
    let first = weather.variable_of.iter().position(|v| *v == index).unwrap_or(0);
    let of = |channel: &String| {
        let series = weather.channels.iter().position(|name| name == channel).unwrap_or(first);
        let own = weather.values.index_axis(Axis(0), series);
        let gap = &other.row(series) - &own.row(position);
        let change: Vec<f64> = gap.iter().map(|gap| variable.level2.scale * gap).collect();
        (channel.clone(), change)
    };
    variable.channels.iter().map(of).collect()
}

/// The other weather of a sample `[channel, step]`, in physical units; `None` where there is no such weather at a step of
/// the window. Steps outside it are the sample's own.
pub(crate) fn other_weather(
    replacement: Replacement,
    weather: &Weather,
    clusters: &[Clusters],
    variables: &[Variable],
    calendar: &Calendar,
    position: usize,
    window: Range<usize>,
) -> Option<Array2<f64>> {
    let mut other = weather.values.index_axis(Axis(1), position).to_owned();
    match replacement {
        Replacement::Climatology => {
            let pool = calendar.same_place(position);
            let pool = if pool.len() > 1 { pool } else { (0..weather.samples.len()).collect() };
            for t in window {
                let places = calendar.of_month(&pool, calendar.month(position, t));
                for (c, mut series) in other.outer_iter_mut().enumerate() {
                    let sum: f64 = places.iter().map(|(p, u)| weather.values[[c, *p, *u]]).sum();
                    series[t] = sum / places.len() as f64;
                }
            }
        }
        Replacement::OtherYear => {
            let pool = calendar.same_place(position);
            for t in window {
                let (p, u) = calendar.other_year(&pool, position, t, DAYS_OFF)?;
                other.column_mut(t).assign(&weather.values.slice(ndarray::s![.., p, u]));
            }
        }
        Replacement::OtherCluster => {
            let mut any = false;
            for (c, (clusters, mut series)) in clusters.iter().zip(other.outer_iter_mut()).enumerate() {
                let unit = variables[weather.variable_of[c]].clustered;
                let own = clusters.labels[position];
                let size = |k: usize| clusters.labels.iter().filter(|label| **label == k).count();
                let others = (0..clusters.k()).filter(|k| *k != own);
                let Some(largest) = others.max_by_key(|k| (size(*k), usize::MAX - k)) else { continue };
                any = true;
                for t in window.clone() {
                    series[t] = unit.invert(clusters.centroids[[largest, t]]);
                }
            }
            if !any {
                return None;
            }
        }
    }
    Some(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    /// f = 1 + a + 2 b + 4 a b + 8 c for variables that are 0 or 1: the product is shared by halves.
    #[test]
    fn shapley_values_add_up_and_share_products() {
        let f = |set: usize| {
            let [a, b, c] = [0, 1, 2].map(|v| (set >> v & 1) as f64);
            1.0 + a + 2.0 * b + 4.0 * a * b + 8.0 * c
        };
        let values: Vec<f64> = (0..8).map(f).collect();
        let found = shapley(&values);
        for (found, exact) in found.iter().zip([3.0, 4.0, 8.0]) {
            assert!((found - exact).abs() < 1e-14, "{found}");
        }
        assert!((found.iter().sum::<f64>() - (values[7] - values[0])).abs() < 1e-14);
        assert_eq!(shapley(&[5.0]), Vec::<f64>::new());
    }

    #[test]
    fn each_step_is_attributed_for_itself() {
        let one = Counterfactual::new(0, array![[0.1, 0.2], [0.4, 0.2], [0.1, 0.3], [0.4, 0.3]]);
        let exact = array![[0.3, 0.0], [0.0, 0.1]];
        assert!((&one.attribution - &exact).iter().all(|gap| gap.abs() < 1e-15));
        assert!(one.change().iter().zip([0.3, 0.1]).all(|(found, exact)| (found - exact).abs() < 1e-15));
    }
}
