//! Which inputs matter at all: each is taken from another sample, and the forecast is watched (permutation importance,
//! doi:10.1023/A:1010933404324). Bands, weather and static layers alike, so that weather is seen beside the rest.

use ndarray::{Array2, ArrayView2, Axis};
use x5_dl::{Batch, DataSpec};

use crate::bootstrap::{Stratum, intervals};
use crate::interaction::Estimate;

/// An input of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// What it is.
    pub kind: InputKind,
    /// Its name in the model's specification.
    pub name: String,
    /// Its place along the channels of its kind.
    pub place: usize,
}

/// Kinds of inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// A band or index of the past.
    Context,
    /// A weather series.
    Weather,
    /// A layer that does not change.
    Static,
}

impl InputKind {
    /// Name in all outputs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Context => "context",
            Self::Weather => "weather",
            Self::Static => "static",
        }
    }
}

/// How much an input matters.
#[derive(Clone, Debug)]
pub struct Importance {
    /// The input.
    pub input: Input,
    /// Mean absolute change of the index when the input comes from another sample.
    pub change: Estimate,
    /// Rank by that, 1 for the largest, and the ranks that it takes in 95 % of redrawn samples.
    pub rank: Estimate,
}

/// All inputs of a model.
pub fn inputs(spec: &DataSpec) -> Vec<Input> {
    let of = |kind: InputKind, names: &[String]| -> Vec<Input> {
        let input = |(place, name): (usize, &String)| Input { kind, name: name.clone(), place };
        names.iter().enumerate().map(input).collect()
    };
    [
        of(InputKind::Context, &spec.dynamic),
        of(InputKind::Weather, &spec.weather),
        of(InputKind::Static, &spec.statics),
    ]
    .concat()
}

/// `batch` with one input of `donors`, sample by sample. Of context inputs the first `context` steps are taken.
pub fn exchanged(batch: &Batch, donors: &Batch, input: &Input, context: usize) -> Batch {
    let mut changed = batch.clone();
    match input.kind {
        InputKind::Context => {
            let from = donors.dynamic.index_axis(Axis(2), input.place);
            let mut into = changed.dynamic.index_axis_mut(Axis(2), input.place);
            for t in 0..context {
                into.index_axis_mut(Axis(1), t).assign(&from.index_axis(Axis(1), t));
            }
        }
        InputKind::Weather => {
            let from = donors.weather.index_axis(Axis(2), input.place);
            changed.weather.index_axis_mut(Axis(2), input.place).assign(&from);
        }
        InputKind::Static => {
            let from = donors.statics.index_axis(Axis(1), input.place);
            changed.statics.index_axis_mut(Axis(1), input.place).assign(&from);
        }
    }
    changed
}

/// Mean absolute difference over the steps of two sets of signals `[sample, step]`: one number a sample.
pub(crate) fn changes(before: ArrayView2<'_, f64>, after: ArrayView2<'_, f64>) -> Vec<f64> {
    let one = |(a, b): (ndarray::ArrayView1<'_, f64>, ndarray::ArrayView1<'_, f64>)| {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>() / a.len() as f64
    };
    before.outer_iter().zip(after.outer_iter()).map(one).collect()
}

/// Ranks inputs by their `changes` `[sample, input]`, the most important first; strata hold positions of samples.
pub fn rank_inputs(
    inputs: &[Input],
    changes: &Array2<f64>,
    strata: &[Stratum],
    draws: usize,
    seed: u64,
) -> Vec<Importance> {
    let numbers = |strata: &[Stratum]| {
        let mut means = vec![0.0; inputs.len()];
        let total: f64 = strata.iter().map(|stratum| stratum.weight).sum();
        for Stratum { weight, positions } in strata {
            let share = weight / total / positions.len() as f64;
            for position in positions {
                means
                    .iter_mut()
                    .zip(changes.row(*position))
                    .for_each(|(mean, change)| *mean += share * change);
            }
        }
        let ranks: Vec<f64> = ranks(&means);
        [means, ranks].concat()
    };
    let (values, ranges) = (numbers(strata), intervals(strata, draws, seed, numbers));
    let estimate = |i: usize| Estimate { value: values[i], interval: ranges[i] };
    let mut all: Vec<Importance> = inputs
        .iter()
        .enumerate()
        .map(|(i, input)| Importance {
            input: input.clone(),
            change: estimate(i),
            rank: estimate(inputs.len() + i),
        })
        .collect();
    all.sort_by(|a, b| a.rank.value.total_cmp(&b.rank.value));
    all
}

/// Rank of each value, 1 for the largest; equal ones share the mean of their ranks.
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let larger = values.iter().filter(|other| *other > value).count();
        let equal = values.iter().filter(|other| *other == value).count();
        larger as f64 + 0.5 * (equal as f64 + 1.0)
    };
    values.iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn the_input_that_changes_most_comes_first() {
        let names = ["a", "b", "c"];
        let inputs: Vec<Input> = names
            .iter()
            .enumerate()
            .map(|(place, name)| Input { kind: InputKind::Weather, name: (*name).to_owned(), place })
            .collect();
        let strata = [Stratum { weight: 1.0, positions: vec![0, 1, 2] }];
        let found =
            rank_inputs(&inputs, &array![[0.0, 0.3, 0.1], [0.0, 0.5, 0.1], [0.0, 0.1, 0.1]], &strata, 300, 1);
        let order: Vec<&str> = found.iter().map(|one| one.input.name.as_str()).collect();
        assert_eq!(order, ["b", "c", "a"]);
        assert!((found[0].change.value - 0.3).abs() < 1e-15);
        assert_eq!(
            (found[2].change.value, found[2].rank.value, found[2].rank.interval),
            (0.0, 3.0, [3.0, 3.0])
        );
        // Where the third sample is drawn thrice, b changes as much as c.
        assert!(found[0].rank.interval[0] == 1.0 && found[0].rank.interval[1] <= 2.0);
    }

    #[test]
    fn equal_values_share_their_ranks() {
        assert_eq!(ranks(&[0.5, 0.1, 0.5, 0.9]), [2.5, 4.0, 2.5, 1.0]);
    }
}
