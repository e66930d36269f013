//! Perturb: the same shift of one weather variable at all steps and places (equation 11).

use ndarray::Axis;
use x5_dl::Batch;

use crate::variable::Variable;

/// One forecast of a sample: unchanged, or with one variable shifted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Perturbation {
    /// Index of the shifted variable; `None` for the unchanged forecast.
    pub variable: Option<usize>,
    /// The shift, in the variable's physical unit.
    pub delta: f64,
}

/// All forecasts of a sample, the unchanged one first and only once: 19 for the paper's three variables.
pub fn perturbations(variables: &[Variable]) -> Vec<Perturbation> {
    let mut all = vec![Perturbation { variable: None, delta: 0.0 }];
    for (index, variable) in variables.iter().enumerate() {
        let shifts = variable.deltas.iter().filter(|delta| **delta != 0.0);
        all.extend(shifts.map(|delta| Perturbation { variable: Some(index), delta: *delta }));
    }
    all
}

/// Positions in [`perturbations`] of the deltas of one variable, in their order; zero is the unchanged forecast.
pub(crate) fn positions(all: &[Perturbation], variable: usize, deltas: &[f64]) -> Vec<usize> {
    let find =
        |delta: f64| all.iter().position(|p| p.variable == Some(variable) && p.delta == delta).unwrap_or(0);
    deltas.iter().map(|delta| find(*delta)).collect()
}

/// Sets the weather of `shifted` to that of `original`, moved by the perturbation. `weather` names the axis.
pub fn shift_weather(
    shifted: &mut Batch,
    original: &Batch,
    weather: &[String],
    variables: &[Variable],
    perturbation: Perturbation,
) {
    shifted.weather.assign(&original.weather);
    let Some(variable) = perturbation.variable.map(|index| &variables[index]) else { return };
    let step = (perturbation.delta * variable.level2.scale) as f32;
    for (index, name) in weather.iter().enumerate() {
        if variable.channels.contains(name) {
            shifted.weather.index_axis_mut(Axis(2), index).mapv_inplace(|value| value + step);
        }
    }
}
