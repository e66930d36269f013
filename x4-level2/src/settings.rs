//! The `[level2]` section with all defaults filled and all ranges checked.

use minicube::NaiveDate;
use minicube::run::Project;
use serde::Serialize;

use crate::{Config, Error, Extrapolate, Fill, Method};

/// Settings that every sample depends on.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// Version of this crate: another one may give other bytes.
    pub version: &'static str,
    /// The project's seed.
    pub seed: u64,
    /// First and last day of the project.
    pub years: (NaiveDate, NaiveDate),
    /// Steps in a sample.
    pub steps: usize,
    /// Days in a step.
    pub step_days: i32,
    /// Samples drawn from each cube.
    pub samples_per_cube: usize,
    /// Steps that a forecaster may see.
    pub context_steps: usize,
    /// Scene classes that are valid.
    pub scl_clear: Vec<u8>,
    /// Pixels by which clouds grow.
    pub dilate_px: usize,
    /// Level-2 band names with the Level-1 bands they come from.
    pub bands: Vec<(String, String)>,
    /// Gap filling.
    pub fill: Method,
    /// Share of the observations that are left out to learn the error of the filling.
    pub leave_out: f64,
    /// The methods whose errors are measured, that of `fill` first; none where nothing is left out.
    pub compared: Vec<Method>,
    /// Ends of the series.
    pub extrapolate: Extrapolate,
}

/// Fills and checks the section.
///
/// # Errors
/// [`Error::Setting`] for a value that makes no sense.
pub(crate) fn settings(config: &Config, project: &Project) -> Result<Settings, Error> {
    let (steps, context) = (config.steps, config.context_steps);
    check((2..=10_000).contains(&steps), "steps", "2 to 10000", steps)?;
    check((1..=366).contains(&config.step_days), "step_days", "1 to 366", config.step_days)?;
    check(config.samples_per_cube >= 1, "samples_per_cube", "at least 1", 0)?;
    check((1..steps).contains(&context), "context_steps", "at least 1 and fewer than steps", context)?;
    check(
        !config.scl_clear.is_empty() && config.scl_clear.iter().all(|class| (1..=11).contains(class)),
        "scl_clear",
        "classes of 1 to 11",
        format!("{:?}", config.scl_clear),
    )?;
    check(config.dilate_px <= 64, "dilate_px", "0 to 64", config.dilate_px)?;
    check((0.0..=0.5).contains(&config.leave_out), "leave_out", "0 to 0.5", config.leave_out)?;
    Ok(Settings {
        version: env!("CARGO_PKG_VERSION"),
        seed: project.seed,
        years: (project.first_day(), project.last_day()),
        steps,
        step_days: config.step_days as i32,
        samples_per_cube: config.samples_per_cube,
        context_steps: context,
        scl_clear: config.scl_clear.clone(),
        dilate_px: config.dilate_px,
        bands: bands(config)?,
        fill: method(config.fill, config)?,
        leave_out: config.leave_out,
        compared: compared(config)?,
        extrapolate: config.extrapolate,
    })
}

fn check(
    good: bool,
    key: &'static str,
    expected: &'static str,
    found: impl std::fmt::Display,
) -> Result<(), Error> {
    if good { Ok(()) } else { Err(Error::Setting { key, expected, found: found.to_string() }) }
}

fn bands(config: &Config) -> Result<Vec<(String, String)>, Error> {
    let mut bands: Vec<(String, String)> =
        ["blue", "green", "red"].map(|band| (band.into(), band.into())).into();
    bands.push(("nir".into(), config.nir.clone()));
    for extra in &config.extra_bands {
        let new = !bands.iter().any(|(name, _)| name == extra);
        check(new, "extra_bands", "bands beside blue, green, red and nir", extra)?;
        bands.push((extra.clone(), extra.clone()));
    }
    Ok(bands)
}

/// The method with its parameters.
fn method(fill: Fill, config: &Config) -> Result<Method, Error> {
    Ok(match fill {
        Fill::Linear => Method::Linear,
        Fill::Whittaker => {
            let lambda = config.whittaker.lambda;
            check((1e-3..=1e8).contains(&lambda), "whittaker.lambda", "0.001 to 1e8", lambda)?;
            Method::Whittaker { lambda }
        }
        Fill::Harmonic => {
            let (harmonics, ridge) = (config.harmonic.harmonics, config.harmonic.ridge);
            check((1..=6).contains(&harmonics), "harmonic.harmonics", "1 to 6", harmonics)?;
            check((1e-6..=1e6).contains(&ridge), "harmonic.ridge", "1e-6 to 1e6", ridge)?;
            Method::Harmonic { harmonics, ridge }
        }
        Fill::Rbf => {
            let (sigmas, cutoff) = (config.rbf.sigmas.clone(), config.rbf.cutoff);
            let good = !sigmas.is_empty() && sigmas.iter().all(|sigma| (0.5..=366.0).contains(sigma));
            check(good, "rbf.sigmas", "at least one number of days, each 0.5 to 366", format!("{sigmas:?}"))?;
            check((0.5..=0.999).contains(&cutoff), "rbf.cutoff", "0.5 to 0.999", cutoff)?;
            Method::Rbf { sigmas, cutoff }
        }
    })
}

fn compared(config: &Config) -> Result<Vec<Method>, Error> {
    let mut fills = vec![config.fill];
    for &fill in &config.compare_fills {
        if !fills.contains(&fill) {
            fills.push(fill);
        }
    }
    let wanted = config.leave_out > 0.0;
    check(wanted || fills.len() == 1, "compare_fills", "nothing, with leave_out = 0", fills.len() - 1)?;
    if wanted { fills.into_iter().map(|fill| method(fill, config)).collect() } else { Ok(Vec::new()) }
}
