//! Shifts that no model has seen: those far beyond the spread of an input, as of a day's least rain, which is next to
//! constant. What a model answers to them is extrapolation.

use std::path::PathBuf;

use minicube::Cube;
use ndarray::Array1;

use crate::error::Error;
use crate::input::window_mean;
use crate::variable::Variable;

/// Standard deviations from which on a shift is remarked.
const FAR: f64 = 6.0;

/// A sentence for each input whose largest shift is more than six times the standard deviation of its values in the first
/// `steps` steps of all samples.
///
/// # Errors
/// [`Error::Files`] if a store cannot be read.
pub(crate) fn unheard_shifts(
    stores: &[PathBuf],
    variables: &[Variable],
    steps: usize,
) -> Result<Vec<String>, Error> {
    let cubes = stores.iter().map(|path| Cube::open(path, "level2")).collect::<Result<Vec<_>, _>>()?;
    let mut sentences = Vec::new();
    for variable in variables {
        for channel in &variable.channels {
            let mut values = Vec::new();
            for cube in &cubes {
                values.extend(window_mean(cube, channel, steps, variable)?);
            }
            sentences.extend(sentence(variable, channel, spread(&values)));
        }
    }
    Ok(sentences)
}

/// Standard deviation of the finite values; NaN of none.
fn spread(values: &[f64]) -> f64 {
    values.iter().copied().filter(|value| value.is_finite()).collect::<Array1<f64>>().std(0.0)
}

fn sentence(variable: &Variable, channel: &str, sd: f64) -> Option<String> {
    let Variable { name, unit, deltas, .. } = variable;
    let largest = deltas.iter().fold(0.0f64, |largest, delta| largest.max(delta.abs()));
    (largest > FAR * sd).then(|| {
        let times = if sd > 0.0 { format!("{:.0} times", largest / sd) } else { "any number of".to_owned() };
        let remedy = match variable.channels.len() {
            1 => "shift by less".to_owned(),
            _ => format!("shift by less, leave {channel} out of `channels`, or train without it"),
        };
        format!(
            "{name}: a shift of {largest} {unit} is {times} the standard deviation of {channel} ({sd:.2e} {unit}), and its \
             answer extrapolation; {remedy}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variable::Linear;

    /// 1, 3 and 5 have the standard deviation √(8/3) = 1.633: a shift of 9.5 is less than six of them, 10 is more.
    #[test]
    fn six_standard_deviations_are_far() {
        let sd = spread(&[1.0, f64::NAN, 3.0, 5.0]);
        assert!((sd - (8.0f64 / 3.0).sqrt()).abs() < 1e-12);
        let unit = Linear { scale: 1.0, offset: 0.0 };
        let with = |delta: f64| Variable {
            name: "rain".into(),
            channels: vec!["tp_min".into()],
            cluster: vec!["tp_min".into()],
            deltas: vec![-delta, 0.0, 2.0],
            unit: "mm".into(),
            level2: unit,
            clustered: unit,
            valid: [0.0, 1.0],
            clip: None,
            pulse: 1.0,
            range: None,
        };
        assert_eq!(sentence(&with(9.5), "tp_min", sd), None);
        let told = sentence(&with(10.0), "tp_min", sd).unwrap();
        assert!(
            told.starts_with("rain: a shift of 10 mm is 6 times the standard deviation of tp_min"),
            "{told}"
        );
        assert!(sentence(&with(2.0), "tp_min", 0.0).unwrap().contains("any number of"));
        assert_eq!(sentence(&with(2.0), "tp_min", f64::NAN), None);
    }
}
