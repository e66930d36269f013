//! The rules that every store of ours keeps; all violations are returned, not the first.

use std::fmt;
use std::path::Path;

use serde_json::{Map, Value};

use super::read::read_root;
use crate::Error;

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The variable, or `/`.
    pub variable: String,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.problem)
    }
}

/// Variables that a store of each schema must have, with their dimensions.
fn required(schema: &str) -> &'static [(&'static str, &'static [&'static str])] {
    match schema {
        "level1" => &[
            ("id", &["minicube"]),
            ("lon", &["minicube"]),
            ("lat", &["minicube"]),
            ("xc", &["minicube", "x"]),
            ("yc", &["minicube", "y"]),
            ("crs", &[]),
            ("s2/time", &["time"]),
            ("s2/scene_id", &["time"]),
            ("s2/scl", &["minicube", "time", "y", "x"]),
        ],
        "level2" => &[
            ("sample_id", &["sample"]),
            ("cube_id", &["sample"]),
            ("lon", &["sample"]),
            ("lat", &["sample"]),
            ("date", &["sample", "time"]),
            ("start_date", &["sample"]),
            ("season", &["sample", "time"]),
            ("crs", &[]),
            ("mask", &["sample", "time", "y", "x"]),
        ],
        "forecast" => &[("sample_id", &["sample"]), ("date", &["sample", "time"]), ("crs", &[])],
        _ => &[],
    }
}

/// Checks a store, sealed or about to be, against the rules of its schema and of CF.
///
/// # Errors
/// [`Error::Io`] or [`Error::Zarr`] if its metadata cannot be read at all.
pub fn check(path: &Path, schema: &str) -> Result<Vec<Violation>, Error> {
    let (attrs, metadata) = read_root(path)?;
    let mut found = Vec::new();
    let mut report = |variable: &str, problem: String| {
        found.push(Violation { variable: variable.to_owned(), problem });
    };
    for key in ["Conventions", "minicube_schema", "schema_version", "plan_hash"] {
        if !attrs.contains_key(key) {
            report("/", format!("attribute `{key}` is missing"));
        }
    }
    if attrs.get("minicube_schema").and_then(Value::as_str) != Some(schema) {
        report("/", format!("expected minicube_schema `{schema}`, found {:?}", attrs.get("minicube_schema")));
    }
    for (name, dims) in required(schema) {
        match metadata.get(*name) {
            None => report(name, "is missing".to_owned()),
            Some(var) => {
                let names = dim_names(var);
                if names != *dims {
                    report(name, format!("expected dimensions {dims:?}, found {names:?}"));
                }
            }
        }
    }
    for (name, var) in metadata.iter().filter(|(_, var)| var["node_type"] == "array") {
        for problem in check_variable(name, var, &metadata) {
            report(name, problem);
        }
    }
    Ok(found)
}

fn check_variable(name: &str, var: &Value, all: &Map<String, Value>) -> Vec<String> {
    let mut problems = Vec::new();
    let dims = dim_names(var);
    let shape: Vec<u64> = var["shape"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    if dims.len() != shape.len() {
        problems.push(format!("{} dimension names for {} dimensions", dims.len(), shape.len()));
        return problems;
    }
    let group = name.rsplit_once('/').map_or("", |(group, _)| group);
    for (dim, len) in dims.iter().zip(&shape) {
        if let Some((other, expected)) = length_elsewhere(group, dim, *len, all) {
            problems.push(format!("dimension `{dim}` is {len} here and {expected} in `{other}`"));
        }
    }
    let attrs = &var["attributes"];
    let on_grid = dims.contains(&"y") && dims.contains(&"x");
    if on_grid && all.contains_key("crs") && attrs["grid_mapping"] != "crs" {
        problems.push("a gridded variable needs grid_mapping = \"crs\"".to_owned());
    }
    if matches!(name.rsplit('/').next(), Some("time" | "date" | "start_date"))
        && attrs["units"] != crate::CF_DAY_UNITS
    {
        problems.push(format!("dates need units = \"{}\"", crate::CF_DAY_UNITS));
    }
    problems
}

/// Another variable of the same group in which the dimension has another length.
fn length_elsewhere<'a>(
    group: &str,
    dim: &str,
    len: u64,
    all: &'a Map<String, Value>,
) -> Option<(&'a str, u64)> {
    all.iter()
        .filter(|(name, var)| {
            var["node_type"] == "array" && name.rsplit_once('/').map_or("", |(g, _)| g) == group
        })
        .find_map(|(name, var)| {
            let axis = dim_names(var).iter().position(|d| *d == dim)?;
            let other = var["shape"][axis].as_u64()?;
            (other != len).then_some((name.as_str(), other))
        })
}

fn dim_names(var: &Value) -> Vec<&str> {
    var["dimension_names"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}
