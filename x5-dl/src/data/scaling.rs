//! How weather and statics are brought to the range a network likes; stored with the model.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::source::Store;
use crate::error::Error;

/// `(value - offset) / scale`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Affine {
    /// Taken off first.
    pub offset: f32,
    /// Divided by then.
    pub scale: f32,
}

impl Affine {
    /// Leaves values as they are.
    pub const IDENTITY: Affine = Affine { offset: 0.0, scale: 1.0 };

    /// The scaled value; 0 for NaN.
    #[must_use]
    pub fn apply(self, value: f32) -> f32 {
        let scaled = (value - self.offset) / self.scale;
        if scaled.is_finite() { scaled } else { 0.0 }
    }

    /// Change of the scaled value per unit; 0 for NaN.
    pub(crate) fn slope(self, value: f32) -> f64 {
        if ((value - self.offset) / self.scale).is_finite() { 1.0 / f64::from(self.scale) } else { 0.0 }
    }
}

/// How one static layer enters a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StaticInput {
    /// One scaled input.
    Scaled(Affine),
    /// One input a class, 1 where the pixel is of it.
    Classes(Vec<u8>),
    /// Read for the scores, but no input of the network.
    NotFed,
}

impl StaticInput {
    /// Number of network inputs.
    #[must_use]
    pub fn width(&self) -> usize {
        match self {
            StaticInput::Scaled(_) => 1,
            StaticInput::Classes(classes) => classes.len(),
            StaticInput::NotFed => 0,
        }
    }

    /// Whether it enters as a number.
    pub(crate) fn is_scaled(&self) -> bool {
        matches!(self, StaticInput::Scaled(_))
    }

    /// Change of the input per unit of the pixel's value; 0 for classes, which jump.
    pub(crate) fn slope(&self, value: f32) -> f64 {
        match self {
            StaticInput::Scaled(affine) => affine.slope(value),
            StaticInput::Classes(_) | StaticInput::NotFed => 0.0,
        }
    }

    /// Input number `k` of this layer for a pixel's value.
    pub(crate) fn value(&self, k: usize, value: f32) -> f32 {
        match self {
            StaticInput::Scaled(affine) => affine.apply(value),
            StaticInput::Classes(classes) => f32::from(u8::from(f32::from(classes[k]) == value)),
            StaticInput::NotFed => 0.0,
        }
    }
}

/// How weather is scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// `none` where Level 2 came from EarthNet2021 (its weather is scaled to 0..1 already), else what the model
    /// prefers: `positive` for the RNN, `zscore` for the ConvLSTM.
    #[default]
    Auto,
    /// Mean 0, standard deviation 1 over the training split.
    Zscore,
    /// The training split's range becomes 0.25..0.75: positive, with room for weather never seen.
    Positive,
    /// As stored.
    None,
}

/// Statistics of the training split, as Level 2 stores them.
pub(crate) struct Statistics {
    path: std::path::PathBuf,
    values: Value,
}

impl Statistics {
    pub(crate) fn read(level2: &Path) -> Result<Statistics, Error> {
        let path = level2.join("normalisation.json");
        let bytes = minicube::read_file(&path)?;
        let values = serde_json::from_slice(&bytes).map_err(|e| Error::json(&path, e))?;
        Ok(Statistics { path, values })
    }

    fn get(&self, variable: &str, key: &str) -> Option<f32> {
        let table = self.values.get("variables").unwrap_or(&self.values);
        Some(table.get(variable)?.get(key)?.as_f64()? as f32)
    }

    /// The scaling of a variable (named with its group).
    pub(crate) fn affine(&self, variable: &str, scaling: Scaling) -> Result<Affine, Error> {
        let need = |key| {
            self.get(variable, key).ok_or_else(|| {
                Error::json(
                    &self.path,
                    format!("no `{key}` of {variable}; [level2] writes it for every variable"),
                )
            })
        };
        Ok(match scaling {
            Scaling::None | Scaling::Auto => Affine::IDENTITY,
            Scaling::Zscore => positive_scale(need("mean")?, need("std")?),
            Scaling::Positive => {
                let (min, max) = (need("min")?, need("max")?);
                let half = (max - min) / 2.0;
                positive_scale(min - half, 4.0 * half)
            }
        })
    }
}

fn positive_scale(offset: f32, scale: f32) -> Affine {
    Affine { offset, scale: if scale > 0.0 { scale } else { 1.0 } }
}

/// How each static layer enters: layers with a legend (CF `flag_values`) as classes, or not at all where
/// `feed_classes` is false; elevation in units of 2 km as published; others by their z-score. Where the source's
/// values are `scaled_already`, they stay as they are.
pub(crate) fn static_inputs(
    store: &Store,
    statistics: &Statistics,
    names: &[String],
    feed_classes: bool,
    scaled_already: bool,
) -> Result<Vec<StaticInput>, Error> {
    names
        .iter()
        .map(|name| {
            let variable = format!("static/{name}");
            let attrs = store.cube.var_attrs(&variable);
            let legend: Vec<u8> = attrs
                .get("flag_values")
                .and_then(Value::as_array)
                .map(|list| list.iter().filter_map(|v| u8::try_from(v.as_u64()?).ok()).collect())
                .unwrap_or_default();
            if !legend.is_empty() || name == "landcover" {
                let fed = feed_classes && !legend.is_empty();
                return Ok(if fed { StaticInput::Classes(legend) } else { StaticInput::NotFed });
            }
            if scaled_already {
                return Ok(StaticInput::Scaled(Affine::IDENTITY));
            }
            if name == "dem" {
                return Ok(StaticInput::Scaled(Affine { offset: 0.0, scale: 2000.0 }));
            }
            Ok(StaticInput::Scaled(statistics.affine(&variable, Scaling::Zscore)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics() -> Statistics {
        let values =
            serde_json::json!({"weather/tp_mean": {"mean": 3.0, "std": 2.0, "min": 0.0, "max": 8.0}});
        Statistics { path: "normalisation.json".into(), values }
    }

    #[test]
    fn scalings_by_hand() {
        let scale = |scaling, v| statistics().affine("weather/tp_mean", scaling).unwrap().apply(v);
        assert_eq!(scale(Scaling::Zscore, 5.0), 1.0);
        assert_eq!([0.0, 4.0, 8.0].map(|v| scale(Scaling::Positive, v)), [0.25, 0.5, 0.75]);
        assert_eq!(scale(Scaling::None, 5.0), 5.0);
        assert_eq!(scale(Scaling::Zscore, f32::NAN), 0.0);
        assert!(statistics().affine("weather/sp_mean", Scaling::Zscore).is_err());
    }

    #[test]
    fn classes_become_one_input_each() {
        let layer = StaticInput::Classes(vec![10, 30]);
        assert_eq!([layer.value(0, 30.0), layer.value(1, 30.0)], [0.0, 1.0]);
        assert_eq!(layer.width(), 2);
    }
}
