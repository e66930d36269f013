//! Reads the weather of a split as one series per sample and weather variable, and keeps out what is not weather.

use std::path::PathBuf;

use minicube::Cube;
use ndarray::{Array2, Array3, Axis};

use crate::error::Error;
use crate::variable::Variable;

/// Weather series of the samples of a split, in physical units.
#[derive(Clone, Debug)]
pub struct Weather {
    /// Clustered weather variables, in the order of the segment tuple.
    pub channels: Vec<String>,
    /// Index of the [`Variable`] that each channel belongs to.
    pub variable_of: Vec<usize>,
    /// `[channel, sample, time]` over the usable samples.
    pub values: Array3<f64>,
    /// Index in the dataset of each usable sample.
    pub samples: Vec<usize>,
    /// Samples in the dataset.
    pub all: usize,
    /// Samples left out, by reason, in order.
    pub excluded: Vec<(String, usize)>,
}

impl Weather {
    /// Only the samples at these positions; `all` and `excluded` stay.
    pub(crate) fn select(self, positions: &[usize]) -> Self {
        let values = self.values.select(Axis(1), positions);
        let samples = positions.iter().map(|position| self.samples[*position]).collect();
        Self { values, samples, ..self }
    }
}

/// Reads the first `steps` steps of the clustered weather of all stores, in dataset order: the mean over the window
/// around the cube. Samples with missing values, or outside `valid` at any step, are left out.
///
/// # Errors
/// [`Error::Files`] if a store cannot be read.
pub fn read_weather(stores: &[PathBuf], variables: &[Variable], steps: usize) -> Result<Weather, Error> {
    let listed: Vec<(usize, &String)> = variables
        .iter()
        .enumerate()
        .flat_map(|(v, variable)| variable.cluster.iter().map(move |c| (v, c)))
        .collect();
    let channels: Vec<String> = listed.iter().map(|(_, channel)| (*channel).clone()).collect();
    let mut blocks: Vec<Array3<f64>> = Vec::new();
    for path in stores {
        let cube = Cube::open(path, "level2")?;
        let series = listed
            .iter()
            .map(|(v, channel)| window_mean(&cube, channel, steps, &variables[*v]))
            .collect::<Result<Vec<_>, _>>()?;
        let samples = series.first().map_or(0, |s| s.len_of(Axis(0)));
        let mut block = Array3::zeros((channels.len(), samples, steps));
        for (mut into, series) in block.outer_iter_mut().zip(&series) {
            into.assign(series);
        }
        blocks.push(block);
    }
    let views: Vec<_> = blocks.iter().map(|block| block.view()).collect();
    let values = match ndarray::concatenate(Axis(1), &views) {
        Ok(values) => values,
        Err(_) => Array3::zeros((channels.len(), 0, steps)),
    };
    let variable_of: Vec<usize> = listed.iter().map(|(v, _)| *v).collect();
    Ok(keep_usable(values, channels, variable_of, variables))
}

/// `[sample, time]` in physical units.
pub(crate) fn window_mean(
    cube: &Cube,
    channel: &str,
    steps: usize,
    variable: &Variable,
) -> Result<Array2<f64>, Error> {
    let name = format!("weather/{channel}");
    let mut shape = cube.shape(&name)?;
    if let Some(time) = shape.get_mut(1) {
        *time = (*time).min(steps as u64);
    }
    let stored = cube.read_f32(&name, &vec![0; shape.len()], &shape)?;
    let samples = stored.shape()[0];
    let rows = stored.to_shape((samples, steps, stored.len() / (samples * steps).max(1)));
    let rows = rows.map_err(|error| Error::output(cube.path(), format!("{name}: {error}")))?;
    Ok(rows.map_axis(Axis(2), |window| {
        let finite = window.iter().filter(|v| v.is_finite()).map(|v| f64::from(*v));
        let (sum, count) = finite.fold((0.0, 0_u32), |(sum, count), v| (sum + v, count + 1));
        variable.level2.invert(sum / f64::from(count))
    }))
}

fn keep_usable(
    values: Array3<f64>,
    channels: Vec<String>,
    variable_of: Vec<usize>,
    variables: &[Variable],
) -> Weather {
    let all = values.len_of(Axis(1));
    let mut excluded: Vec<(String, usize)> = Vec::new();
    let mut samples = Vec::new();
    for sample in 0..all {
        let problem = channels.iter().enumerate().find_map(|(c, channel)| {
            let Variable { valid: [low, high], unit, .. } = &variables[variable_of[c]];
            let series = values.index_axis(Axis(0), c);
            let series = series.row(sample);
            if series.iter().any(|v| !v.is_finite()) {
                Some(format!("{channel} is missing in some step"))
            } else if series.iter().any(|v| v < low || v > high) {
                Some(format!("{channel} leaves {low} to {high} {unit}"))
            } else {
                None
            }
        });
        match problem {
            None => samples.push(sample),
            Some(reason) => match excluded.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, count)) => *count += 1,
                None => excluded.push((reason, 1)),
            },
        }
    }
    let values = values.select(Axis(1), &samples);
    Weather { channels, variable_of, values, samples, all, excluded }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variable::Linear;

    /// A coastal cube touches a cell without data: 0 hPa, which EarthNet stores as −4.5.
    #[test]
    fn the_sea_cell_artefact_is_left_out_and_counted() {
        let unit = Linear { scale: 1.0, offset: 0.0 };
        let pressure = Variable {
            name: "pressure".into(),
            channels: vec!["pp".into()],
            cluster: vec!["pp".into()],
            deltas: vec![0.0, 1.0],
            unit: "hPa".into(),
            level2: unit,
            clustered: unit,
            valid: [900.0, 1100.0],
            clip: None,
            pulse: 1.0,
            range: None,
        };
        let mut values = Array3::from_elem((1, 4, 3), 1013.0);
        values[[0, 1, 2]] = 506.5;
        values[[0, 2, 0]] = f64::NAN;
        let kept = keep_usable(values, vec!["pp".into()], vec![0], &[pressure]);
        assert_eq!(kept.samples, [0, 3]);
        assert_eq!((kept.all, kept.values.dim()), (4, (1, 2, 3)));
        assert_eq!(kept.excluded[0], ("pp leaves 900 to 1100 hPa".to_owned(), 1));
        assert_eq!(kept.excluded[1], ("pp is missing in some step".to_owned(), 1));
    }
}
