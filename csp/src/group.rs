//! Sensitivities by land cover, landform or season: the same segments, but only their samples of one class.

use std::collections::BTreeMap;
use std::path::PathBuf;

use minicube::Cube;
use ndarray::{ArrayViewD, Axis, Slice};
use serde_json::Value;
use x5_dl::Crop;

use crate::analyse::Scene;
use crate::bootstrap::Stratum;
use crate::error::Error;
use crate::perturb::positions;
use crate::sensitivity::{Weighted, global_sensitivity};

/// Layers by which results are grouped when the user names none, as far as they are there.
pub(crate) const LAYERS: [&str; 3] = ["landcover", "geomorphon", "season"];

/// Samples sorted into the classes of one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Grouping {
    /// Name of the static layer, or `season`.
    pub layer: String,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Class of each usable sample; `None` where the layer has none.
    pub of: Vec<Option<usize>>,
}

/// The sensitivity of the samples of one class to one variable.
#[derive(Clone, Debug)]
pub struct GroupSensitivity {
    /// The layer.
    pub layer: String,
    /// The class.
    pub class: String,
    /// Index of the variable.
    pub variable: usize,
    /// As a mean over pairs, under the first transition.
    pub value: Weighted,
    /// Usable samples of the class.
    pub usable: usize,
    /// Those of them that were forecast.
    pub forecast: usize,
}

/// Name of a layer's variable in Level 2.
pub(crate) fn variable_of(layer: &str) -> String {
    if layer == "season" { layer.to_owned() } else { format!("static/{layer}") }
}

/// The most frequent class of each sample (indices over all stores, ascending) within the crop; of equally frequent
/// ones the lowest code. Seasons are those of step `step`.
///
/// # Errors
/// [`Error::Files`] if a store cannot be read.
pub(crate) fn read_groupings(
    stores: &[PathBuf],
    layers: &[String],
    crop: Option<Crop>,
    step: usize,
    samples: &[usize],
) -> Result<Vec<Grouping>, Error> {
    layers.iter().map(|layer| read_grouping(stores, layer, crop, step, samples)).collect()
}

fn read_grouping(
    stores: &[PathBuf],
    layer: &str,
    crop: Option<Crop>,
    step: usize,
    samples: &[usize],
) -> Result<Grouping, Error> {
    let variable = variable_of(layer);
    let is_season = layer == "season";
    let mut codes: Vec<Option<u8>> = Vec::new();
    let mut names: BTreeMap<u8, String> = BTreeMap::new();
    for path in stores {
        let cube = Cube::open(path, "level2")?;
        names.extend(legend(&cube, &variable));
        for values in cube.read::<u8>(&variable)?.outer_iter() {
            // Code 0 is winter in seasons and nothing in layers.
            codes.push(if is_season {
                values.iter().nth(step).copied()
            } else {
                most_frequent(cropped(values, crop).iter().copied().filter(|code| *code != 0))
            });
        }
    }
    let own: Vec<Option<u8>> = samples.iter().map(|sample| codes.get(*sample).copied().flatten()).collect();
    let mut found: Vec<u8> = own.iter().copied().flatten().collect();
    found.sort_unstable();
    found.dedup();
    let name = |code: &u8| names.get(code).cloned().unwrap_or_else(|| code.to_string());
    Ok(Grouping {
        layer: layer.to_owned(),
        classes: found.iter().map(name).collect(),
        of: own.iter().map(|code| found.binary_search(code.as_ref()?).ok()).collect(),
    })
}

/// Names of the codes, where the store has them.
pub(crate) fn legend(cube: &Cube, variable: &str) -> BTreeMap<u8, String> {
    let attrs = cube.var_attrs(variable);
    let codes = attrs.get("flag_values").and_then(Value::as_array).into_iter().flatten();
    let codes = codes.filter_map(|code| u8::try_from(code.as_u64()?).ok());
    let names = attrs.get("flag_meanings").and_then(Value::as_str).unwrap_or_default();
    codes.zip(names.split_whitespace().map(|name| name.replace('_', " "))).collect()
}

/// The crop of a map; series are left as they are.
pub(crate) fn cropped(mut values: ArrayViewD<'_, u8>, crop: Option<Crop>) -> ArrayViewD<'_, u8> {
    if let (Some(crop), 2) = (crop, values.ndim()) {
        values.slice_axis_inplace(Axis(0), Slice::from(crop.row..crop.row + crop.rows));
        values.slice_axis_inplace(Axis(1), Slice::from(crop.col..crop.col + crop.cols));
    }
    values
}

fn most_frequent(codes: impl Iterator<Item = u8>) -> Option<u8> {
    let mut counts = [0_usize; 256];
    codes.for_each(|code| counts[usize::from(code)] += 1);
    let most = counts.iter().max().copied().filter(|count| *count > 0)?;
    counts.iter().position(|count| *count == most).and_then(|code| u8::try_from(code).ok())
}

/// Sensitivity of every class of every grouping, of which at least one sample was forecast, to every variable.
/// `forecast` holds the usable sample of each position in the responses.
pub(crate) fn group_sensitivities(
    scene: &Scene<'_>,
    groupings: &[Grouping],
    forecast: &[usize],
) -> Vec<GroupSensitivity> {
    let mut found = Vec::new();
    for grouping in groupings {
        for (class, name) in grouping.classes.iter().enumerate() {
            let is_member = |sample: usize| grouping.of[sample] == Some(class);
            let strata: Vec<Stratum> = scene
                .segments
                .iter()
                .zip(scene.positions_of)
                .map(|(segment, positions)| Stratum {
                    weight: segment.samples.iter().filter(|sample| is_member(**sample)).count() as f64,
                    positions: positions.iter().copied().filter(|p| is_member(forecast[*p])).collect(),
                })
                .filter(|stratum| !stratum.positions.is_empty())
                .collect();
            if strata.is_empty() {
                continue;
            }
            for (v, variable) in scene.variables.iter().enumerate() {
                let rows = positions(scene.perturbations, v, &variable.deltas, 0);
                let (deltas, draws) = (&variable.deltas, scene.bootstrap);
                let [value, _] =
                    global_sensitivity(scene.responses, &strata, &rows, deltas, draws, scene.seed);
                found.push(GroupSensitivity {
                    layer: grouping.layer.clone(),
                    class: name.clone(),
                    variable: v,
                    value,
                    usable: grouping.of.iter().filter(|of| **of == Some(class)).count(),
                    forecast: strata.iter().map(|stratum| stratum.positions.len()).sum(),
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_majority_counts_and_ties_go_to_the_lower_code() {
        assert_eq!(most_frequent([30, 10, 30].into_iter()), Some(30));
        assert_eq!(most_frequent([30, 10].into_iter()), Some(10));
        assert_eq!(most_frequent(std::iter::empty()), None);
    }
}
