//! An explanation of a forecaster trained on the synthetic Earth beside that of the vegetation itself: the same samples under
//! the same shifts, forecast by its true response. One JSON object a line, for `cargo xtask bench explain`; the project file
//! is `BENCH_PROJECT`, and the explanation of its model is there.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use csp::{Config, Predictor, TrainedModel, run_predictor};
use minicube::run::{self, Args, Ctx};
use serde_json::{Value, json};
use testworld::Region;

#[path = "../tests/it/vegetation.rs"]
mod vegetation;

use vegetation::TrueVegetation;

fn main() -> Result<(), Box<dyn Error>> {
    let config = PathBuf::from(std::env::var_os("BENCH_PROJECT").ok_or("BENCH_PROJECT is not set")?);
    let dir = config.parent().map(PathBuf::from);
    let config = run::Config::load(&Args { config, dir, ..Args::default() })?;
    let (project, explain): (_, Config) = (&config.project, config.section("explain")?);
    let model = project.dir.join("explain").join(&explain.model);
    let trained = TrainedModel::load(&project.models().join(&explain.model))?;
    let spec = trained.spec();
    let truth = TrueVegetation::new(Region::Africa, spec.context_steps, spec.target_steps);
    let of_truth = Config { model: "truth".into(), ..explain };
    run_predictor(project, &of_truth, &truth, &Ctx::quiet(rayon::current_num_threads()))?;
    let (ours, peer) = (Explanation::read(&model)?, Explanation::read(&project.dir.join("explain/truth"))?);

    let rain = |of: &Explanation| of.sensitivity("precipitation");
    let per_degree = |of: &Explanation| rain(of) / of.sensitivity("temperature");
    for (name, unit, of) in [
        (
            "rain's optimum",
            "mm/day",
            &(|of: &Explanation| of.curve("precipitation", "vertex")) as &dyn Fn(&_) -> f64,
        ),
        ("temperature's optimum", "°C", &|of: &Explanation| of.curve("temperature", "vertex")),
        ("rain's sensitivity", "NDVI per mm/day", &rain),
        ("pressure's sensitivity", "NDVI per hPa", &|of: &Explanation| of.sensitivity("pressure")),
        ("rain over temperature", "°C per mm/day", &per_degree),
        ("lag of rain", "steps", &|of: &Explanation| of.lag("precipitation")),
    ] {
        let note = format!("{} beside the true response, NDVI of the same samples", of_name(&model));
        println!(
            "{}",
            json!({"name": format!("explain/{name}"), "ours": of(&ours), "peer": of(&peer), "unit": unit, "note": note})
        );
    }
    Ok(())
}

fn of_name(folder: &Path) -> String {
    folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What the manifest of an explanation says of it.
struct Explanation(Value);

impl Explanation {
    fn read(folder: &Path) -> Result<Explanation, Box<dyn Error>> {
        let manifest: Value = serde_json::from_slice(&fs::read(folder.join("run.json"))?)?;
        Ok(Explanation(manifest["notes"].clone()))
    }

    /// The mean over all pairs of shifts and all segments, as it is told: `precipitation 0.04585 ± …; …`.
    fn sensitivity(&self, variable: &str) -> f64 {
        let all = self.0["NDVI sensitivity"].as_str().unwrap_or_default();
        let told = all.split("; ").find_map(|part| part.strip_prefix(variable)?.split_whitespace().next());
        told.and_then(|number| number.parse().ok()).unwrap_or(f64::NAN)
    }

    fn curve(&self, variable: &str, key: &str) -> f64 {
        self.number("curves", variable, key)
    }

    /// The lag of the largest answer to a pulse.
    fn lag(&self, variable: &str) -> f64 {
        self.number("lags", variable, "peak_lag")
    }

    fn number(&self, list: &str, variable: &str, key: &str) -> f64 {
        let all = self.0[list].as_array().map(Vec::as_slice).unwrap_or_default();
        let found = all.iter().find(|entry| entry["variable"] == variable);
        found.and_then(|entry| entry[key].as_f64()).unwrap_or(f64::NAN)
    }
}
