//! `score`: EarthNetScore of forecasts in files, whatever tool wrote them: NumPy archives in the layout of EarthNet2021
//! (<https://doi.org/10.1109/CVPRW53098.2021.00124>), matched by name as the package `earthnet` does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use minicube::report::{LinePlot, Report, Series, Style, lines};
use minicube::run::{Ctx, Failure, Finish, Run};
use minicube::{Npz, Outcome, Status, files_below, plan_hash, write_atomic};
use ndarray::{Array3, Array4, Axis, Ix4, Slice};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::score::ens::{EarthNetScore, EnsComponents, cube_components, earthnet_score};

/// Forecasts that one cube may have; the best counts.
const MOST_FORECASTS: usize = 10;
/// Blue, green, red, near infrared.
const BANDS: usize = 4;
const NAME: &str = "a name like [experiment_]29SQC_2017-07-02_2017-11-28_2105_2233_569_697_32_112_8_88.npz";

/// What to score.
#[derive(Clone, Debug)]
pub struct ScoreFiles {
    /// Folder with the forecasts, `[experiment_]<cube>.npz` at any depth: the array `highresdynamic`, else the first one,
    /// `[y, x, band, time]` with at least the bands blue, green, red, near infrared.
    pub predictions: PathBuf,
    /// Folder with the targets, `[target_]<cube>.npz` at any depth; the last band is the mask, 1 = bad.
    pub targets: PathBuf,
    /// Folder that becomes `scores.json`, `report.html` and `run.json`; `score` in the folder of the forecasts if absent.
    pub out: Option<PathBuf>,
}

/// `scores.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileScores {
    /// Identity of the files and of this version.
    pub plan_hash: String,
    /// EarthNetScore over all cubes.
    #[serde(flatten)]
    pub score: EarthNetScore,
    /// Each forecast of each cube.
    pub cubes: BTreeMap<String, Vec<FileScore>>,
}

/// One forecast of one cube.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileScore {
    /// Path of the forecast in its folder.
    pub prediction: String,
    /// Harmonic mean of the components; of several forecasts the one with the largest counts.
    #[serde(rename = "ENS")]
    pub ens: Option<f64>,
    /// The components.
    #[serde(flatten)]
    pub components: EnsComponents,
}

/// A target and its forecasts.
#[derive(Clone, Debug, Serialize)]
struct Cube {
    name: String,
    target: PathBuf,
    forecasts: Vec<PathBuf>,
}

/// Scores files. A target without a forecast is a gap: the package leaves it out and says nothing. What was scored before
/// is not scored again.
///
/// # Errors
/// A [`Failure`] if a folder has no cubes, a file cannot be read, or forecast and target are of different shapes.
pub fn score_files(ask: &ScoreFiles, ctx: &Ctx) -> Result<Finish, Failure> {
    let (cubes, strays) = matched(ask)?;
    let folder = ask.out.clone().unwrap_or_else(|| ask.predictions.join("score"));
    let plan = serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "cubes": cubes.iter().map(described).collect::<Vec<_>>(),
    });
    let hash = plan_hash(&plan);
    let path = folder.join("scores.json");
    let mut run = Run::start("x5-dl score", env!("CARGO_PKG_VERSION"), ctx, &plan, 0);
    for cube in cubes.iter().filter(|cube| cube.forecasts.is_empty()) {
        run.outcome(Outcome::failed(&cube.name, "no forecast of this cube"));
    }
    for stray in &strays {
        run.outcome(Outcome::failed(stray, "no target of this name"));
    }
    let known = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<FileScores>(&bytes).ok());
    let (scores, status) = match known.filter(|known| known.plan_hash == hash) {
        Some(known) => (known, Status::Skipped),
        None => {
            let scores = computed(ask, &cubes, hash, ctx)?;
            let text = serde_json::to_vec_pretty(&scores).map_err(Failure::new)?;
            fs::create_dir_all(&folder).map_err(|e| Failure::new(format!("{}: {e}", folder.display())))?;
            write_atomic(&path, &text)?;
            (scores, Status::Ok)
        }
    };
    let clock = Instant::now();
    for name in scores.cubes.keys() {
        run.outcome(match status {
            Status::Skipped => Outcome::skipped(name, "scored before"),
            _ => Outcome::ok(name, clock.elapsed().as_secs_f64(), 0),
        });
    }
    run.output(&path);
    let EarthNetScore { ens, components } = scores.score;
    for (name, value) in named(ens, &components) {
        run.note(name, shown(value));
    }
    let page = (!run.nothing_done()).then(|| page(&scores));
    run.finish(&folder, page)
}

fn named(ens: Option<f64>, components: &EnsComponents) -> [(&'static str, Option<f64>); 5] {
    [
        ("ENS", ens),
        ("MAD", components.mad),
        ("OLS", components.ols),
        ("EMD", components.emd),
        ("SSIM", components.ssim),
    ]
}

fn shown(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.4}"))
}

/// Targets in the order of their names, each with its forecasts, and forecasts without a target.
fn matched(ask: &ScoreFiles) -> Result<(Vec<Cube>, Vec<String>), Failure> {
    let inner = ask.targets.join("target");
    let targets = files_below(if inner.is_dir() { &inner } else { &ask.targets }, &["npz"])?;
    let mut forecasts: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in files_below(&ask.predictions, &["npz"])? {
        forecasts.entry(cube_name(&path)?).or_default().push(path);
    }
    let mut cubes = Vec::new();
    for target in targets {
        let name = cube_name(&target)?;
        let forecasts = forecasts.remove(&name).unwrap_or_default();
        if forecasts.len() > MOST_FORECASTS {
            let (found, path) = (forecasts.len(), target.display());
            return Err(Failure::new(format!(
                "{path}: expected at most {MOST_FORECASTS} forecasts of a cube, found {found}"
            ))
            .hint("score each experiment by itself"));
        }
        cubes.push(Cube { name, target, forecasts });
    }
    cubes.sort_by(|a, b| a.name.cmp(&b.name));
    if cubes.iter().all(|cube| cube.forecasts.is_empty()) {
        return Err(Failure::new(format!(
            "{}: expected forecasts of cubes in {}, found none",
            ask.predictions.display(),
            ask.targets.display()
        ))
        .hint("a forecast has the name of its cube, with any experiment before it"));
    }
    Ok((cubes, forecasts.into_keys().collect()))
}

/// The name of the cube: what begins with a tile's id (`target_` or an experiment may come before).
fn cube_name(path: &Path) -> Result<String, Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_tile = |part: &str| {
        let bytes = part.as_bytes();
        bytes.len() == 5
            && bytes[..2].iter().all(u8::is_ascii_digit)
            && bytes[2..].iter().all(u8::is_ascii_uppercase)
    };
    let mut from = 0;
    for part in name.split('_') {
        if is_tile(part) {
            return Ok(name[from..].to_owned());
        }
        from += part.len() + 1;
    }
    Err(Failure::new(format!("{}: expected {NAME}", path.display()))
        .hint("keep the names of the published cubes, they match forecasts with targets"))
}

/// Names and sizes: what decides the scores.
fn described(cube: &Cube) -> (String, Vec<(String, u64)>) {
    let of = |path: &PathBuf| {
        (path.display().to_string(), fs::metadata(path).map_or(0, |metadata| metadata.len()))
    };
    (cube.name.clone(), std::iter::once(&cube.target).chain(&cube.forecasts).map(of).collect())
}

/// Scores all cubes, one a thread.
fn computed(ask: &ScoreFiles, cubes: &[Cube], plan_hash: String, ctx: &Ctx) -> Result<FileScores, Failure> {
    let bar = ctx.progress("score", cubes.len() as u64);
    let of_cube = |cube: &Cube| {
        let target = Frames::target(&cube.target)?;
        let forecasts = cube.forecasts.iter().map(|path| {
            let components = target.score(path, &cube.target)?;
            let prediction = path.strip_prefix(&ask.predictions).unwrap_or(path).display().to_string();
            Ok(FileScore { prediction, ens: components.harmonic_mean(), components })
        });
        let forecasts = forecasts.collect::<Result<Vec<FileScore>, Failure>>()?;
        bar.inc(1);
        Ok((cube.name.clone(), forecasts))
    };
    let cubes = cubes.par_iter().filter(|cube| !cube.forecasts.is_empty()).map(of_cube);
    let cubes = cubes.collect::<Result<BTreeMap<String, Vec<FileScore>>, Failure>>()?;
    bar.finish();
    let components: Vec<Vec<EnsComponents>> = cubes
        .values()
        .map(|forecasts| forecasts.iter().map(|forecast| forecast.components).collect())
        .collect();
    Ok(FileScores { plan_hash, score: earthnet_score(&components), cubes })
}

/// The observed frames of a cube.
struct Frames {
    /// `[time, band, y, x]`.
    values: Array4<f32>,
    /// `[time, y, x]`, 1 where the pixel counts.
    valid: Array3<f32>,
}

impl Frames {
    fn target(path: &Path) -> Result<Frames, Failure> {
        let all = frames(path, Npz::open(path)?.read("highresdynamic")?, BANDS + 1)?;
        let mask = all.len_of(Axis(1)) - 1;
        let valid = all.index_axis(Axis(1), mask).mapv(|bad| 1.0 - bad);
        Ok(Frames { values: all.slice_axis(Axis(1), Slice::from(..BANDS)).to_owned(), valid })
    }

    /// A forecast with fewer frames is of the last ones.
    fn score(&self, path: &Path, target: &Path) -> Result<EnsComponents, Failure> {
        let mut file = Npz::open(path)?;
        let names = file.names();
        let first = || names.first().map_or("highresdynamic", String::as_str);
        let name = names.iter().find(|name| *name == "highresdynamic").map_or_else(first, String::as_str);
        let all = frames(path, file.read(name)?, BANDS)?;
        let forecast = all.slice_axis(Axis(1), Slice::from(..BANDS));
        let (steps, frames) = (forecast.len_of(Axis(0)), self.values.len_of(Axis(0)));
        let last = Slice::from(frames.saturating_sub(steps)..);
        let (values, valid) = (self.values.slice_axis(Axis(0), last), self.valid.slice_axis(Axis(0), last));
        if forecast.shape() != values.shape() {
            return Err(Failure::new(format!(
                "{}: expected [time, band, y, x] = {:?} as {}, found {:?}",
                path.display(),
                values.shape(),
                target.display(),
                forecast.shape()
            ))
            .hint("a forecast has the pixels of its target, and no more frames"));
        }
        Ok(cube_components(forecast, values, valid))
    }
}

/// `[time, band, y, x]` of an array `[y, x, band, time]`.
fn frames(path: &Path, array: ndarray::ArrayD<f32>, bands: usize) -> Result<Array4<f32>, Failure> {
    let shape = array.shape().to_vec();
    let array = array.into_dimensionality::<Ix4>().ok().filter(|array| array.len_of(Axis(2)) >= bands);
    let array = array.ok_or_else(|| {
        Failure::new(format!(
            "{}: expected [y, x, at least {bands} bands, time], found {shape:?}",
            path.display()
        ))
        .hint("the array `highresdynamic`, else the first one, is taken")
    })?;
    Ok(array.permuted_axes([3, 2, 0, 1]).as_standard_layout().into_owned())
}

/// Scores of all cubes and how they are distributed.
fn page(scores: &FileScores) -> Report {
    let counted: Vec<&FileScore> = scores.cubes.values().filter_map(|forecasts| best(forecasts)).collect();
    let row = |name: &str, ens: Option<f64>, components: &EnsComponents| -> Vec<String> {
        let values = named(ens, components).map(|(_, value)| shown(value));
        std::iter::once(name.to_owned()).chain(values).collect()
    };
    let columns = ["cube", "ENS", "MAD", "OLS", "EMD", "SSIM"];
    let sorted = |component: usize| -> Vec<(f64, f64)> {
        let value = |score: &&FileScore| named(score.ens, &score.components)[component].1;
        let mut values: Vec<f64> = counted.iter().filter_map(value).collect();
        values.sort_by(f64::total_cmp);
        let last = values.len().max(2) as f64 - 1.0;
        values.into_iter().enumerate().map(|(i, value)| (i as f64 / last, value)).collect()
    };
    let series = columns[1..].iter().enumerate().map(|(component, name)| Series {
        name: (*name).to_owned(),
        points: sorted(component),
        style: Style::Line,
    });
    let plot = LinePlot {
        title: "Scores of the cubes, sorted",
        x_label: "share of the cubes",
        y_label: "score",
        series: series.collect(),
        x_is_date: false,
    };
    let rows = scores.cubes.iter().filter_map(|(name, forecasts)| {
        let best = best(forecasts)?;
        Some(row(name, best.ens, &best.components))
    });
    Report::new("EarthNetScore")
        .lead(&format!(
            "{} cubes. Each component is the mean over the cubes that have it, ENS the harmonic mean of the four.",
            scores.cubes.len()
        ))
        .section("Score")
        .table(&columns, vec![row("all", scores.score.ens, &scores.score.components)])
        .svg("Of several forecasts of a cube the best counts.", &lines(&plot))
        .section("Cubes")
        .table(&columns, rows.collect())
}

/// The forecast that counts.
fn best(forecasts: &[FileScore]) -> Option<&FileScore> {
    let ens = |score: &FileScore| score.ens.unwrap_or(0.0);
    forecasts.iter().reduce(|best, one| if ens(one) > ens(best) { one } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cubes_are_known_by_what_begins_with_their_tile() {
        let cube = "29SQC_2017-07-02_2017-11-28_2105_2233_569_697_32_112_8_88.npz";
        for name in [cube.to_owned(), format!("target_{cube}"), format!("pred1_run-2_{cube}")] {
            assert_eq!(cube_name(Path::new(&name)).unwrap(), cube);
        }
        let error = cube_name(Path::new("a/cube_1.npz")).unwrap_err();
        assert!(error.to_string().contains("a/cube_1.npz: expected a name like"), "{error}");
    }
}
