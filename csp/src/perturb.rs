//! Perturb: what is done to the weather of a sample before it is forecast (equation 11, and beyond it).

use ndarray::{ArrayViewMut5, Axis};

use crate::variable::{Variable, shifted};

/// One forecast of a sample. Variables are indices, deltas in their physical units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Perturbation {
    /// The weather as it was.
    Unchanged,
    /// One variable shifted, the more the larger the transition's weight of the step.
    Shift {
        /// The variable.
        variable: usize,
        /// The whole shift.
        delta: f64,
        /// Index of the transition.
        transition: usize,
    },
    /// One variable shifted at a single step.
    Pulse {
        /// The variable.
        variable: usize,
        /// The shift.
        delta: f64,
        /// The step, from 0 at the first context step.
        step: usize,
    },
    /// Two variables shifted at once, by the first transition.
    Pair {
        /// The variables.
        variables: [usize; 2],
        /// Their shifts.
        deltas: [f64; 2],
    },
}

impl Perturbation {
    /// Name of the kind in all outputs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Shift { .. } => "shift",
            Self::Pulse { .. } => "pulse",
            Self::Pair { .. } => "pair",
        }
    }

    /// The shifted variables with their whole shifts.
    pub fn moves(&self) -> Vec<(usize, f64)> {
        match *self {
            Self::Unchanged => Vec::new(),
            Self::Shift { variable, delta, .. } | Self::Pulse { variable, delta, .. } => {
                vec![(variable, delta)]
            }
            Self::Pair { variables, deltas } => variables.into_iter().zip(deltas).collect(),
        }
    }

    /// Share of the whole shift at a step; `weights` has one list of shares a transition.
    pub fn share(&self, step: usize, weights: &[Vec<f64>]) -> f64 {
        match *self {
            Self::Unchanged => 0.0,
            Self::Shift { transition, .. } => weights[transition][step],
            Self::Pulse { step: own, .. } => f64::from(u8::from(own == step)),
            Self::Pair { .. } => weights[0][step],
        }
    }
}

/// The unchanged forecast, and every shift of every variable under every transition: 19 forecasts for the paper's
/// three variables.
pub fn shifts(variables: &[Variable], transitions: usize) -> Vec<Perturbation> {
    let mut all = vec![Perturbation::Unchanged];
    for transition in 0..transitions {
        for (variable, of) in variables.iter().enumerate() {
            let moved = of.deltas.iter().filter(|delta| **delta != 0.0);
            all.extend(moved.map(|delta| Perturbation::Shift { variable, delta: *delta, transition }));
        }
    }
    all
}

/// Each variable's pulse at each of `steps` steps.
pub fn pulses(variables: &[Variable], steps: usize) -> Vec<Perturbation> {
    let of = |(variable, of): (usize, &Variable)| {
        let delta = of.pulse;
        (0..steps).map(move |step| Perturbation::Pulse { variable, delta, step })
    };
    variables.iter().enumerate().flat_map(of).collect()
}

/// Each two variables shifted together, by `levels` of their deltas each.
pub fn pairs(variables: &[Variable], levels: usize) -> Vec<Perturbation> {
    let mut all = Vec::new();
    for first in 0..variables.len() {
        for second in first + 1..variables.len() {
            for a in thinned(&variables[first].deltas, levels) {
                let second_deltas = thinned(&variables[second].deltas, levels).into_iter();
                all.extend(
                    second_deltas.map(|b| Perturbation::Pair { variables: [first, second], deltas: [a, b] }),
                );
            }
        }
    }
    all
}

/// At most `levels` of the deltas other than zero, evenly over their order, the outermost among them.
pub(crate) fn thinned(deltas: &[f64], levels: usize) -> Vec<f64> {
    let moved: Vec<f64> = deltas.iter().copied().filter(|delta| *delta != 0.0).collect();
    if levels >= moved.len() {
        return moved;
    }
    match levels {
        0 => Vec::new(),
        1 => moved.last().copied().into_iter().collect(),
        _ => (0..levels).map(|i| moved[i * (moved.len() - 1) / (levels - 1)]).collect(),
    }
}

/// Positions in [`shifts`] of the deltas of one variable, in their order; zero is the unchanged forecast.
pub(crate) fn positions(
    all: &[Perturbation],
    variable: usize,
    deltas: &[f64],
    transition: usize,
) -> Vec<usize> {
    let find = |delta: f64| {
        let wanted = Perturbation::Shift { variable, delta, transition };
        all.iter().position(|p| *p == wanted).unwrap_or(0)
    };
    deltas.iter().map(|delta| find(*delta)).collect()
}

/// Moves the weather `[sample, step, variable, wy, wx]` by the perturbation, and keeps it within the range to which a
/// variable is clipped. `weather` names the axis of variables, `weights` has one list of shares a transition.
pub fn shift_weather(
    mut moved: ArrayViewMut5<'_, f32>,
    weather: &[String],
    variables: &[Variable],
    weights: &[Vec<f64>],
    perturbation: Perturbation,
) {
    for (variable, delta) in perturbation.moves() {
        let variable = &variables[variable];
        let clip = variable.clip.map(|range| range.map(|value| variable.level2.apply(value) as f32));
        for (index, name) in weather.iter().enumerate() {
            if !variable.channels.contains(name) {
                continue;
            }
            let mut values = moved.index_axis_mut(Axis(2), index);
            for (t, mut values) in values.axis_iter_mut(Axis(1)).enumerate() {
                let share = perturbation.share(t, weights);
                if share == 0.0 {
                    continue;
                }
                let step = (delta * share * variable.level2.scale) as f32;
                values.mapv_inplace(|value| shifted(value, step, clip));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_keep_the_outermost_deltas() {
        let rain = [-2.0, 0.0, 2.0, 4.0, 6.0, 8.0, 10.0];
        assert_eq!(thinned(&rain, 3), [-2.0, 4.0, 10.0]);
        assert_eq!(thinned(&rain, 2), [-2.0, 10.0]);
        assert_eq!(thinned(&rain, 9).len(), 6);
        assert_eq!(thinned(&rain, 1), [10.0]);
    }

    #[test]
    fn a_pulse_is_one_step_long() {
        let pulse = Perturbation::Pulse { variable: 0, delta: 2.0, step: 3 };
        let shares: Vec<f64> = (0..5).map(|t| pulse.share(t, &[])).collect();
        assert_eq!(shares, [0.0, 0.0, 0.0, 1.0, 0.0]);
    }
}
