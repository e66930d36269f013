//! The weather variables that are explained: which model inputs they move, by how much, in which units.

use std::cmp::Ordering;
use std::ops::Add;

use serde::Serialize;

use crate::config::VariableConfig;

/// A linear change of unit: `there = here * scale + offset`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Linear {
    /// Factor; what a difference is multiplied by.
    pub scale: f64,
    /// Added after that.
    pub offset: f64,
}

impl Linear {
    /// The value in the other unit.
    pub fn apply(self, value: f64) -> f64 {
        value.mul_add(self.scale, self.offset)
    }

    /// The value back from the other unit.
    pub fn invert(self, value: f64) -> f64 {
        (value - self.offset) / self.scale
    }
}

/// A resolved weather variable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Variable {
    /// Name in all outputs.
    pub name: String,
    /// Weather inputs of the model that are shifted together.
    pub channels: Vec<String>,
    /// Those of them that are clustered.
    pub cluster: Vec<String>,
    /// Shifts, in `unit`, ascending and all different, zero among them.
    pub deltas: Vec<f64>,
    /// Physical unit.
    pub unit: String,
    /// Physical to Level-2 units.
    pub level2: Linear,
    /// Physical to clustered units.
    pub clustered: Linear,
    /// Physical range of usable samples.
    pub valid: [f64; 2],
    /// Physical range of shifted weather; `None` = not clipped.
    pub clip: Option<[f64; 2]>,
    /// Shift of a single step in the lag analysis.
    pub pulse: f64,
    /// Range over which the curves of all segments are averaged; `None` = that of the data.
    pub range: Option<[f64; 2]>,
}

impl Variable {
    /// Smallest and largest shift.
    pub fn extremes(&self) -> [f64; 2] {
        self.deltas.iter().fold([0.0; 2], |[low, high], delta| [delta.min(low), delta.max(high)])
    }
}

/// A value once it is shifted and kept within the range to which its variable is clipped, ends in any order: a value outside
/// the range is left where it was. NaN stays.
pub(crate) fn shifted<T: Copy + PartialOrd + Add<Output = T>>(value: T, by: T, clip: Option<[T; 2]>) -> T {
    let moved = value + by;
    let Some([a, b]) = clip else { return moved };
    let smaller = |a: T, b: T| if a < b { a } else { b };
    let larger = |a: T, b: T| if a > b { a } else { b };
    let (low, high) = (smaller(smaller(a, b), value), larger(larger(a, b), value));
    if moved < low { low } else { smaller(moved, high) }
}

/// What is known of a variable before the user says anything.
struct Known {
    name: &'static str,
    /// Names of Level-2 weather variables without their statistic.
    bases: &'static [&'static str],
    /// Clustered series, as far as they are there.
    cluster: &'static [&'static str],
    deltas: &'static [f64],
    unit: &'static str,
    /// Equation 12 of the paper: EarthNet's scaling, in which lambda and gamma have their published meaning.
    earthnet: Linear,
    valid: [f64; 2],
    /// Range where Level 2 is EarthNet: its cells without data read 0 mm, 0 hPa, 0 °C.
    valid_earthnet: [f64; 2],
    /// Range of the paper's figure 3.
    range: [f64; 2],
}

const KNOWN: [Known; 3] = [
    Known {
        name: "precipitation",
        bases: &["tp", "rr"],
        cluster: &["tp_mean", "rr_mean", "rr"],
        deltas: &[-2.0, 0.0, 2.0, 4.0, 6.0, 8.0, 10.0],
        unit: "mm/day",
        earthnet: Linear { scale: 1.0 / 50.0, offset: 0.0 },
        valid: [-0.5, 500.0],
        valid_earthnet: [-0.5, 500.0],
        range: [-2.0, 12.0],
    },
    Known {
        name: "pressure",
        bases: &["sp", "msl", "pp", "surface_pressure"],
        cluster: &["sp_mean", "msl_mean", "pp_mean", "pp", "surface_pressure_mean"],
        deltas: &[-30.0, -20.0, -10.0, 0.0, 10.0, 20.0, 30.0],
        unit: "hPa",
        earthnet: Linear { scale: 1.0 / 200.0, offset: -4.5 },
        valid: [400.0, 1100.0],
        valid_earthnet: [900.0, 1100.0],
        range: [990.0, 1040.0],
    },
    Known {
        name: "temperature",
        bases: &["t2m", "tg", "tn", "tx"],
        cluster: &[
            "t2m_mean", "t2m_min", "t2m_max", "tg_mean", "tg", "tn_mean", "tn_min", "tn", "tx_mean",
            "tx_max", "tx",
        ],
        deltas: &[-10.0, -5.0, 0.0, 5.0, 10.0, 15.0, 20.0],
        unit: "°C",
        earthnet: Linear { scale: 1.0 / 100.0, offset: 0.5 },
        valid: [-90.0, 70.0],
        valid_earthnet: [-60.0, 60.0],
        range: [0.0, 35.0],
    },
];

/// What Level 2 says of itself, as far as it concerns units.
pub(crate) struct Level2Units<'a> {
    /// Attribute `source` of the stores.
    pub(crate) source: &'a str,
    /// Attribute `units` of `weather/<name>`; empty where absent.
    pub(crate) units: &'a dyn Fn(&str) -> String,
}

/// The variables to explain when the user names none: those whose inputs the model takes.
pub(crate) fn defaults(weather: &[String]) -> Vec<&'static str> {
    KNOWN
        .iter()
        .filter(|known| weather.iter().any(|channel| is_of(known, channel)))
        .map(|known| known.name)
        .collect()
}

/// Fills in what the user left out. Returns all problems at once.
pub(crate) fn resolve(
    name: &str,
    user: &VariableConfig,
    weather: &[String],
    level2: &Level2Units<'_>,
) -> Result<Variable, Vec<String>> {
    let known = KNOWN.iter().find(|known| known.name == name);
    let mut problems = Vec::new();
    let mut missing =
        |key: &str| problems.push(format!("variables.{name}: `{key}` is needed for a variable of this name"));
    let channels = user.channels.clone().or_else(|| {
        known.map(|known| weather.iter().filter(|channel| is_of(known, channel)).cloned().collect())
    });
    let channels = channels.unwrap_or_else(|| {
        missing("channels");
        Vec::new()
    });
    let mut deltas =
        user.deltas.clone().or_else(|| known.map(|known| known.deltas.to_vec())).unwrap_or_else(|| {
            missing("deltas");
            Vec::new()
        });
    let unit = user.unit.clone().or_else(|| known.map(|known| known.unit.to_owned())).unwrap_or_else(|| {
        missing("unit");
        String::new()
    });
    let cluster = user.cluster.clone().unwrap_or_else(|| {
        let listed = known.map_or(&[][..], |known| known.cluster);
        let found: Vec<String> = listed
            .iter()
            .filter(|c| channels.iter().any(|have| have == *c))
            .map(|c| (*c).to_owned())
            .collect();
        if found.is_empty() { channels.clone() } else { found }
    });
    for channel in channels.iter().filter(|channel| !weather.contains(channel)) {
        problems.push(format!(
            "variables.{name}: the model does not take `{channel}`, only {}",
            if weather.is_empty() { "no weather at all".to_owned() } else { weather.join(", ") }
        ));
    }
    for channel in cluster.iter().filter(|channel| !channels.contains(channel)) {
        problems
            .push(format!("variables.{name}: `cluster` names {channel}, which is not one of its channels"));
    }
    if channels.is_empty() && user.channels.is_none() && known.is_some() {
        problems
            .push(format!("variables.{name}: the model takes no such weather, only {}", weather.join(", ")));
    }
    deltas.push(0.0);
    deltas.sort_by(f64::total_cmp);
    deltas.dedup();
    if deltas.len() < 2 || deltas.iter().any(|delta| !delta.is_finite()) {
        problems.push(format!("variables.{name}: `deltas` needs at least one finite shift other than 0"));
    }
    let level2_unit = channels.first().map_or(String::new(), |channel| (level2.units)(channel));
    let derived = known.and_then(|known| from_units(known, &level2_unit, level2.source));
    let level2_linear = match (user.scale, user.offset, derived) {
        (Some(scale), offset, _) => Linear { scale, offset: offset.unwrap_or(0.0) },
        (None, _, Some(derived)) => derived,
        (None, ..) => {
            problems.push(format!(
                "variables.{name}: the unit `{level2_unit}` of Level 2 is not known here, give `scale` and `offset`"
            ));
            Linear { scale: 1.0, offset: 0.0 }
        }
    };
    if !(level2_linear.scale.is_finite() && level2_linear.scale != 0.0) {
        problems.push(format!("variables.{name}: `scale` must not be 0, found {}", level2_linear.scale));
    }
    let default_clustered = known.map_or(Linear { scale: 1.0, offset: 0.0 }, |known| known.earthnet);
    let clustered = Linear {
        scale: user.cluster_scale.unwrap_or(default_clustered.scale),
        offset: user.cluster_offset.unwrap_or(default_clustered.offset),
    };
    let valid = user.valid.or_else(|| {
        known.map(|known| if level2.source == "earthnet2021" { known.valid_earthnet } else { known.valid })
    });
    let valid = valid.unwrap_or([f64::MIN, f64::MAX]);
    if valid[0] >= valid[1] {
        problems.push(format!("variables.{name}: `valid` must be [low, high], found {valid:?}"));
    }
    for (key, range) in [("clip", user.clip), ("range", user.range)] {
        if let Some([low, high]) = range.filter(|[low, high]| low.partial_cmp(high) != Some(Ordering::Less)) {
            problems.push(format!("variables.{name}: `{key}` must be [low, high], found [{low}, {high}]"));
        }
    }
    let smallest = deltas.iter().copied().find(|delta| *delta > 0.0).or(deltas.first().copied());
    let pulse = user.pulse.or(smallest).unwrap_or(0.0);
    if pulse == 0.0 || !pulse.is_finite() {
        problems
            .push(format!("variables.{name}: `pulse` must be a finite shift other than 0, found {pulse}"));
    }
    let variable = Variable {
        name: name.to_owned(),
        channels,
        cluster,
        deltas,
        unit,
        level2: level2_linear,
        clustered,
        valid,
        clip: user.clip,
        pulse,
        range: user.range.or(known.map(|known| known.range)),
    };
    if problems.is_empty() { Ok(variable) } else { Err(problems) }
}

fn is_of(known: &Known, channel: &str) -> bool {
    let base = channel.strip_prefix("eobs_").unwrap_or(channel);
    known.bases.iter().any(|candidate| {
        base == *candidate
            || ["_mean", "_min", "_max"].iter().any(|stat| base.strip_suffix(stat) == Some(candidate))
    })
}

/// Physical to Level-2 units, from the CF units of the store.
fn from_units(known: &Known, units: &str, source: &str) -> Option<Linear> {
    let scaled = |scale: f64| Some(Linear { scale, offset: 0.0 });
    match (known.name, units.trim()) {
        ("precipitation", "m" | "m day-1" | "m d-1" | "m/day") => scaled(1e-3),
        (
            "precipitation",
            "mm" | "mm day-1" | "mm d-1" | "mm/day" | "kg m-2" | "kg m-2 day-1" | "kg m-2 d-1",
        ) => scaled(1.0),
        ("precipitation", "kg m-2 s-1" | "mm s-1") => scaled(1.0 / 86_400.0),
        ("pressure", "Pa") => scaled(100.0),
        ("pressure", "hPa" | "mbar") => scaled(1.0),
        ("pressure", "kPa") => scaled(0.1),
        ("temperature", "K") => Some(Linear { scale: 1.0, offset: 273.15 }),
        ("temperature", "degC" | "Celsius" | "celsius" | "degree_Celsius" | "degrees_Celsius" | "°C") => {
            scaled(1.0)
        }
        (_, "1" | "") if source == "earthnet2021" => Some(known.earthnet),
        // ERA5's own units, where a store of ours does not say.
        ("precipitation", "") if source == "minicube" => scaled(1e-3),
        ("pressure", "") if source == "minicube" => scaled(100.0),
        ("temperature", "") if source == "minicube" => Some(Linear { scale: 1.0, offset: 273.15 }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    fn earthnet(_: &str) -> String {
        "1".into()
    }

    /// Equation 12 inverted: 10 mm are .2, 20 hPa are .1, 5 °C are .05; 1020 hPa are .6 and 20 °C are .7.
    #[test]
    fn earthnet_shifts_leave_the_offsets_out() {
        let weather = names(&["rr_mean", "pp_mean", "tg_mean", "tn_mean", "tx_mean"]);
        let level2 = Level2Units { source: "earthnet2021", units: &earthnet };
        let get = |name| resolve(name, &VariableConfig::default(), &weather, &level2).unwrap();
        let (rain, pressure, temperature) = (get("precipitation"), get("pressure"), get("temperature"));
        assert!((rain.level2.scale * 10.0 - 0.2).abs() < 1e-15);
        assert!((pressure.level2.scale * 20.0 - 0.1).abs() < 1e-15);
        assert!((temperature.level2.scale * 5.0 - 0.05).abs() < 1e-15);
        assert!((pressure.level2.apply(1020.0) - 0.6).abs() < 1e-12);
        assert!((temperature.level2.invert(0.7) - 20.0).abs() < 1e-12);
        assert_eq!(temperature.channels, names(&["tg_mean", "tn_mean", "tx_mean"]));
        assert_eq!(temperature.cluster, temperature.channels);
        let forecasts: usize = [&rain, &pressure, &temperature].iter().map(|v| v.deltas.len() - 1).sum();
        assert_eq!(forecasts + 1, 19, "7 × 3 shifts less the two shared zeros");
        assert_eq!(pressure.valid, [900.0, 1100.0]);
    }

    #[test]
    fn era5_units_come_from_the_store() {
        let weather = names(&["tp_mean", "tp_max", "t2m_mean", "t2m_min"]);
        let units = |name: &str| if name.starts_with("tp") { "m".to_owned() } else { "K".to_owned() };
        let level2 = Level2Units { source: "minicube", units: &units };
        assert_eq!(defaults(&weather), ["precipitation", "temperature"]);
        let rain = resolve("precipitation", &VariableConfig::default(), &weather, &level2).unwrap();
        assert_eq!((rain.level2.scale, rain.cluster.len(), rain.channels.len()), (1e-3, 1, 2));
        let warm = resolve("temperature", &VariableConfig::default(), &weather, &level2).unwrap();
        assert!((warm.level2.invert(300.15) - 27.0).abs() < 1e-12);
    }

    #[test]
    fn problems_are_all_reported() {
        let level2 = Level2Units { source: "greenearthnet", units: &|_| "furlong".to_owned() };
        let weather = names(&["tp_mean"]);
        let wind = resolve("wind", &VariableConfig::default(), &weather, &level2).unwrap_err();
        assert!(wind.len() >= 4, "{wind:?}");
        let pressure = resolve("pressure", &VariableConfig::default(), &weather, &level2).unwrap_err();
        assert!(pressure.iter().any(|p| p.contains("takes no such weather")), "{pressure:?}");
        let user = VariableConfig { channels: Some(names(&["sp_mean"])), ..VariableConfig::default() };
        let absent = resolve("pressure", &user, &weather, &level2).unwrap_err();
        assert!(absent[0].contains("the model does not take `sp_mean`, only tp_mean"), "{absent:?}");
    }
}
