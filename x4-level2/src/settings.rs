//! The `[level2]` section with all defaults filled and all ranges checked.

use std::collections::BTreeMap;

use minicube::NaiveDate;
use minicube::run::Project;
use serde::Serialize;

use crate::index::{Index, NAMED};
use crate::{Config, Error, Extrapolate, Fill, Method, Screen, Statistic};

/// Variables of a store that are no bands and no indices.
const RESERVED: [&str; 13] = [
    "sample_id",
    "cube_id",
    "lon",
    "lat",
    "date",
    "start_date",
    "season",
    "xc",
    "yc",
    "crs",
    "mask",
    "dist_mask",
    "time",
];

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
    /// Tests of each clear observation against its neighbours in time.
    pub screen: Screen,
    /// Level-2 band names with the Level-1 bands they come from.
    pub bands: Vec<(String, String)>,
    /// Indices, in the order they are stored.
    pub indices: Vec<Index>,
    /// Gap filling.
    pub fill: Method,
    /// Share of the observations that are left out to learn the error of the filling.
    pub leave_out: f64,
    /// The methods whose errors are measured, that of `fill` first; none where nothing is left out.
    pub compared: Vec<Method>,
    /// Ends of the series.
    pub extrapolate: Extrapolate,
    /// Statistics of the weather of a step.
    pub weather_statistics: Vec<Statistic>,
    /// Other statistics of single weather variables.
    pub weather: BTreeMap<String, Vec<Statistic>>,
}

impl Settings {
    /// Statistics of a weather variable, in the order they are stored.
    #[must_use]
    pub fn statistics_of(&self, variable: &str) -> &[Statistic] {
        self.weather.get(variable).unwrap_or(&self.weather_statistics)
    }

    /// First and last day of some years; of the project without any.
    #[must_use]
    pub fn days_of(&self, years: Option<[i32; 2]>) -> (NaiveDate, NaiveDate) {
        let Some([first, last]) = years else { return self.years };
        let day = |year, month, day| NaiveDate::from_ymd_opt(year, month, day);
        (day(first, 1, 1).unwrap_or(self.years.0), day(last, 12, 31).unwrap_or(self.years.1))
    }

    /// Place of a band among the bands.
    #[must_use]
    pub fn place_of(&self, band: &str) -> usize {
        self.bands.iter().position(|(name, _)| name == band).unwrap_or_default()
    }
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
    check_screen(&config.screen)?;
    for statistics in config.weather.values().chain([&config.weather_statistics]) {
        let distinct =
            statistics.iter().enumerate().all(|(i, statistic)| !statistics[..i].contains(statistic));
        let good = distinct && !statistics.is_empty();
        check(good, "weather", "some of mean, min, max, sum, each once", format!("{statistics:?}"))?;
    }
    check((0.0..=0.5).contains(&config.leave_out), "leave_out", "0 to 0.5", config.leave_out)?;
    let bands = bands(config)?;
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
        screen: config.screen,
        indices: indices(config, &bands)?,
        bands,
        fill: method(config.fill, config)?,
        leave_out: config.leave_out,
        compared: compared(config)?,
        extrapolate: config.extrapolate,
        weather_statistics: config.weather_statistics.clone(),
        weather: config.weather.clone(),
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

fn check_screen(screen: &Screen) -> Result<(), Error> {
    check((1..=366).contains(&screen.days), "screen.days", "1 to 366", screen.days)?;
    for (key, threshold, most, expected) in [
        ("screen.ndvi", screen.ndvi, 2.0, "above 0, up to 2"),
        ("screen.blue", screen.blue, 1.0, "above 0, up to 1"),
        ("screen.dark_nir", screen.dark_nir, 1.0, "above 0, up to 1"),
    ] {
        if let Some(threshold) = threshold {
            check(threshold > 0.0 && threshold <= most, key, expected, threshold)?;
        }
    }
    Ok(())
}

fn bands(config: &Config) -> Result<Vec<(String, String)>, Error> {
    let mut bands: Vec<(String, String)> =
        ["blue", "green", "red"].map(|band| (band.into(), band.into())).into();
    bands.push(("nir".into(), config.nir.clone()));
    let extra_bands = if config.import.is_some() { &[] } else { config.extra_bands.as_slice() };
    for extra in extra_bands {
        let new = !bands.iter().any(|(name, _)| name == extra);
        check(new, "extra_bands", "bands beside blue, green, red and nir", extra)?;
        bands.push((extra.clone(), extra.clone()));
    }
    Ok(bands)
}

fn indices(config: &Config, bands: &[(String, String)]) -> Result<Vec<Index>, Error> {
    let bands: Vec<&str> = bands.iter().map(|(name, _)| name.as_str()).collect();
    let sigma = config.kndvi_sigma;
    check((0.001..=1.0).contains(&sigma), "kndvi_sigma", "0.001 to 1", sigma)?;
    let mut indices: Vec<Index> = Vec::new();
    for name in &config.indices {
        let index = Index::named(name, sigma, &bands).and_then(Result::ok);
        let new = !indices.iter().any(|index| index.name == *name);
        check(
            index.is_some() && new,
            "indices",
            "each of ndvi, kndvi, kndvi_sigma, evi, nirv at most once",
            name,
        )?;
        indices.extend(index);
    }
    for (name, formula) in &config.formulas {
        let word = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        let free = !NAMED.contains(&name.as_str()) && !RESERVED.contains(&name.as_str());
        let new = free && !bands.contains(&name.as_str());
        check(
            word && new,
            "formulas",
            "names of lower-case letters, digits and _ that no other variable has",
            name,
        )?;
        let index = Index::new(name, &format!("{name}, a formula of the bands"), formula, &bands);
        indices.push(index.map_err(|flaw| Error::Formula {
            name: name.clone(),
            formula: formula.clone(),
            column: flaw.column,
            expected: flaw.expected,
            found: flaw.found,
        })?);
    }
    Ok(indices)
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
