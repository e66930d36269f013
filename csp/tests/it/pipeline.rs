//! The whole stage on a small Level-2 folder, with models whose answer is known.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use csp::{
    Config, Error, Gamma, Only, Plan, Predictor, Term, ToyModel, VariableConfig, check_predictor,
    run_predictor,
};
use minicube::run::{Ctx, Project, Shard};
use minicube::testing::{assert_conforms, tiny_level2};
use minicube::{Cube, sha256_file, sha256_store};
use ndarray::Array5;
use tempfile::TempDir;
use x5_dl::{Batch, DataSpec, Dataset};

use crate::table::Table;

pub(crate) const WEATHER: [&str; 5] = ["tp_mean", "t2m_mean", "t2m_min", "t2m_max", "sp_mean"];

/// NDVI = .1 + 80 r − 4000 r² + .001 (T − 273.15) with rain r in m/day: its optimum is r = 10 mm/day.
fn toy() -> ToyModel {
    let term = |channel: &str, linear, quadratic| Term { channel: channel.into(), linear, quadratic };
    let terms = vec![term("tp_mean", 80.0, -4000.0), term("t2m_mean", 0.001, 0.0)];
    ToyModel::new(&WEATHER, 4, 6, 0.1 - 0.27315, terms)
}

pub(crate) fn project(dir: &Path) -> Project {
    Project {
        name: "tiny".into(),
        dir: dir.to_owned(),
        years: [2021, 2021],
        seed: 42,
        buckets: Default::default(),
    }
}

pub(crate) fn config() -> Config {
    Config {
        model: "toy".into(),
        k_range: [2, 4],
        gamma: Gamma::Auto,
        crop_px: 4,
        batch: 3,
        bootstrap: 50,
        ..Config::default()
    }
}

pub(crate) fn tiny(samples: usize) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    tiny_level2(dir.path(), samples, 12, 8).unwrap();
    dir
}

pub(crate) fn manifest(dir: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(dir.join("explain/toy/run.json")).unwrap()).unwrap()
}

const TABLES: [&str; 10] = [
    "segments.parquet",
    "sensitivity.parquet",
    "curves.parquet",
    "fits.parquet",
    "lags.parquet",
    "interactions.parquet",
    "surfaces.parquet",
    "groups.parquet",
    "ranking.parquet",
    "counterfactuals.parquet",
];

/// Hashes of the data files.
fn hashes(dir: &Path) -> BTreeMap<&'static str, String> {
    let folder = dir.join("explain/toy");
    TABLES
        .into_iter()
        .chain(["saliency.zarr", "signals.zarr"])
        .map(|name| {
            let path = folder.join(name);
            (name, if path.is_dir() { sha256_store(&path).unwrap() } else { sha256_file(&path).unwrap() })
        })
        .collect()
}

#[test]
fn known_sensitivities_and_optimum_are_recovered() {
    let dir = tiny(30);
    let finish = run_predictor(&project(dir.path()), &config(), &toy(), &Ctx::quiet(2)).unwrap();
    assert_eq!(finish.code(), 0);
    let notes = &manifest(dir.path())["notes"];
    let curves = notes["curves"].as_array().unwrap();
    let curve = |name: &str| curves.iter().find(|curve| curve["variable"] == name).unwrap();
    let coefficient = |name: &str, i: usize| curve(name)["coefficients"][i].as_f64().unwrap();
    // In mm/day: .08 x − .004 x², turning at 10.
    assert!((coefficient("precipitation", 0) / -0.004 - 1.0).abs() < 0.01);
    assert!((coefficient("precipitation", 1) / 0.08 - 1.0).abs() < 0.01);
    assert!((curve("precipitation")["vertex"].as_f64().unwrap() / 10.0 - 1.0).abs() < 0.01);
    assert!(
        (coefficient("temperature", 1) / 0.001 - 1.0).abs() < 0.01
            && coefficient("temperature", 0).abs() < 1e-6
    );
    assert!(coefficient("pressure", 1).abs() < 1e-7);
    // Every pair of temperature shifts gives .001 per °C; pressure does nothing at all; rain is strongest.
    let ranking = notes["NDVI sensitivity"].as_str().unwrap();
    assert!(ranking.starts_with("precipitation"), "{ranking}");
    assert!(ranking.contains("temperature 0.00100 ± 0.00000 per °C"), "{ranking}");
    assert!(ranking.ends_with("pressure 0.00000 ± 0.00000 per hPa"), "{ranking}");
    // A zero is never silent.
    let remarks = notes["remarks"].as_array().unwrap();
    assert_eq!(
        remarks[0],
        "pressure is ignored: not one NDVI of any sample and step changes under shifts from -30 to 30 hPa"
    );
    // Nor is weather that no model has seen: it hardly changes here. All other remarks are of that, one an input.
    let unheard: Vec<&str> = remarks[1..].iter().map(|remark| remark.as_str().unwrap()).collect();
    let [rain, pressure, temperatures @ ..] = unheard.as_slice() else { panic!("{unheard:?}") };
    let shift = "precipitation: a shift of 10 mm/day is 7 times the standard deviation of tp_mean";
    assert!(rain.starts_with(shift) && rain.ends_with("shift by less"), "{rain}");
    let shift = "pressure: a shift of 30 hPa is 30 times the standard deviation of sp_mean";
    assert!(pressure.starts_with(shift) && pressure.ends_with("shift by less"), "{pressure}");
    assert!(temperatures.len() == 3 && temperatures.iter().all(|text| text.starts_with("temperature: ")));
    let page = std::fs::read_to_string(dir.path().join("explain/toy/report.html")).unwrap();
    assert!(page.contains("pressure is ignored"));
    assert_conforms(&dir.path().join("explain/toy/signals.zarr"), "signals");
    let proof = check_predictor(&project(dir.path()), &config(), &toy()).unwrap();
    assert!(proof.text().contains("30 samples"), "{}", proof.text());
}

#[test]
fn segments_cover_all_samples_and_the_report_has_all_parts() {
    let dir = tiny(30);
    run_predictor(&project(dir.path()), &config(), &toy(), &Ctx::quiet(2)).unwrap();
    let cube = Cube::open(&dir.path().join("explain/toy/signals.zarr"), "signals").unwrap();
    assert_eq!(cube.shape("signal").unwrap(), [5, 30, 10]);
    assert_eq!(cube.shape("response").unwrap(), [30, 19, 6]);
    assert_eq!(cube.read_strings("perturbed_variable").unwrap()[0], "none");
    let signal = cube.read::<f64>("signal").unwrap();
    // Physical units: degrees Celsius and hectopascal.
    let channel = |name: &str| {
        let at = cube.read_strings("variable").unwrap().iter().position(|v| v == name).unwrap();
        signal[[at, 0, 0]]
    };
    assert!((channel("sp_mean") - 903.0).abs() < 0.1 && (channel("t2m_mean") - 25.85).abs() < 0.1);
    let page = std::fs::read_to_string(dir.path().join("explain/toy/report.html")).unwrap();
    let parts = [
        "table I",
        "table II",
        "Clusters",
        "Weather segments",
        "paper: precipitation",
        "0.0183",
        "Lag",
        "H²",
    ];
    for part in parts {
        assert!(page.contains(part), "{part}");
    }
    assert!(!dir.path().join("explain/toy/responses.partial").exists());
}

#[test]
fn same_bytes_for_any_number_of_threads_and_nothing_to_do_the_second_time() {
    let (one, three) = (tiny(24), tiny(24));
    for (dir, threads) in [(&one, 1), (&three, 3)] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            run_predictor(&project(dir.path()), &config(), &toy(), &Ctx::quiet(threads)).unwrap()
        });
    }
    assert_eq!(hashes(one.path()), hashes(three.path()));
    let again = run_predictor(&project(one.path()), &config(), &toy(), &Ctx::quiet(1)).unwrap();
    assert!(again.text().contains("nothing to do"), "{}", again.text());
    let other = Config { lambda: 0.5, ..config() };
    let redone = run_predictor(&project(one.path()), &other, &toy(), &Ctx::quiet(1)).unwrap();
    assert!(!redone.text().contains("nothing to do"), "another plan is another explanation");
}

#[test]
fn fewer_forecasts_keep_every_segment_and_weigh_by_its_full_size() {
    let dir = tiny(30);
    let few = Config { max_samples: 9, ..config() };
    run_predictor(&project(dir.path()), &few, &toy(), &Ctx::quiet(2)).unwrap();
    let notes = &manifest(dir.path())["notes"];
    assert!(notes["samples"].as_str().unwrap().ends_with("9 forecast"));
    assert!(notes["NDVI sensitivity"].as_str().unwrap().contains("temperature 0.00100"));
}

/// Forecasts one value everywhere for the samples whose id ends so.
struct Broken {
    toy: ToyModel,
    suffix: &'static str,
    value: f32,
}

impl Predictor for Broken {
    fn spec(&self) -> &DataSpec {
        self.toy.spec()
    }
    fn identity(&self) -> String {
        format!("broken {} {}", self.suffix, self.value)
    }
    fn predict(&self, batch: &Batch) -> Result<Array5<f32>, Error> {
        let mut frames = self.toy.predict(batch)?;
        for (id, mut frame) in batch.sample_ids.iter().zip(frames.outer_iter_mut()) {
            if id.ends_with(self.suffix) {
                frame.fill(self.value);
            }
        }
        Ok(frames)
    }
}

#[test]
fn forecasts_that_are_not_finite_are_left_out_and_counted() {
    let dir = tiny(24);
    let some = Broken { toy: toy(), suffix: "07", value: f32::NAN };
    run_predictor(&project(dir.path()), &config(), &some, &Ctx::quiet(2)).unwrap();
    assert_eq!(manifest(dir.path())["notes"]["left out: forecast not finite"], 1);
}

/// A dead ReLU forecasts 0 everywhere, and broken weights NaN: 9 samples under 19 weathers of 6 steps each.
#[test]
fn a_collapsed_model_is_told_as_such() {
    for value in [0.0, f32::NAN] {
        let dir = tiny(24);
        let dead = Broken { toy: toy(), suffix: "", value };
        let few = Config { max_samples: 9, ..config() };
        let failure = run_predictor(&project(dir.path()), &few, &dead, &Ctx::quiet(2)).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "model toy: none of 9 samples has a finite NDVI in all of its 19 forecasts; red and nir are 0 or below, or NaN at every \
             pixel in 1026 of 1026 frames"
        );
        let hint = failure.hint_text().unwrap();
        assert!(hint.contains("collapsed") && hint.contains("smaller `learning_rate`"), "{hint}");
        assert!(!dir.path().join("explain/toy/signals.zarr").exists());
    }
}

/// 30 samples under 18 shifts and none; pulses of 3 variables at 10 steps; 3 × 3 shifts of 3 pairs; 2 bands and 5 weather
/// series exchanged, and not; 3 variables up and down, one patch of the past, and nothing changed.
#[test]
fn the_plan_counts_all_forecasts() {
    let dir = tiny(30);
    let dataset = Dataset::open(&dir.path().join("level2"), minicube::Split::Train, toy().spec()).unwrap();
    let text = Plan::resolve(&config(), 42, &dataset, &toy()).unwrap().text(dir.path());
    for part in [
        "forecast 30 samples × 19 = 570 forecasts of 4 × 4 pixels",
        "lag      8 samples × 30 = 240",
        "interact 8 samples × 27 = 216",
        "rank     16 samples × 8 = 128",
        "map      2 samples × 8 = 16",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn wrong_requests_are_refused_with_all_their_problems() {
    let dir = tiny(12);
    let refused = |config: &Config| {
        let failure = run_predictor(&project(dir.path()), config, &toy(), &Ctx::quiet(1)).unwrap_err();
        format!("{failure} | {}", failure.hint_text().unwrap_or_default())
    };
    let two = refused(&Config { k_range: [5, 2], restarts: 0, ..config() });
    assert!(
        two.contains("k_range: expected [low, high]") && two.contains("restarts: expected at least 1"),
        "{two}"
    );
    let wind = VariableConfig { channels: Some(vec!["wind".into()]), ..VariableConfig::default() };
    let absent = refused(&Config { variables: BTreeMap::from([("pressure".into(), wind)]), ..config() });
    assert!(absent.contains("the model does not take `wind`"), "{absent}");
    let cold = VariableConfig { valid: Some([-80.0, -70.0]), ..VariableConfig::default() };
    let none = refused(&Config { variables: BTreeMap::from([("temperature".into(), cold)]), ..config() });
    assert!(none.contains("0 of 12 samples are usable"), "{none}");
}

/// One sample, fewer samples than the least K, and more clusters wanted than samples allow.
#[test]
fn few_samples_are_refused_or_told() {
    let run = |samples: usize, k_range: [usize; 2]| {
        let dir = tiny(samples);
        let wanted = Config { k_range, ..config() };
        (run_predictor(&project(dir.path()), &wanted, &toy(), &Ctx::quiet(2)), dir)
    };
    for (samples, least) in [(1, 2), (3, 5)] {
        let failure = run(samples, [least, 9]).0.unwrap_err();
        let expected =
            format!("train: {samples} of {samples} samples are usable, at least {least} are needed");
        assert_eq!(failure.to_string(), expected);
        assert!(failure.hint_text().unwrap().contains("make more Level-2 samples"));
    }
    let (finish, dir) = run(6, [5, 9]);
    assert_eq!(finish.unwrap().code(), 0);
    let page = std::fs::read_to_string(dir.path().join("explain/toy/report.html")).unwrap();
    assert!(page.contains("6 samples are too few for more than 5 clusters; 9 were asked for"));
    // Temperature is the same in all samples.
    assert!(page.contains("only 1 different series"));
}

/// Temperatures of the tiny project lie between 9 and 31 °C; shifts by −10 to 20 °C leave 5 to 35 °C.
#[test]
fn shifts_that_leave_the_valid_range_are_told() {
    let dir = tiny(12);
    let warm = VariableConfig { valid: Some([5.0, 35.0]), ..VariableConfig::default() };
    let only_warm = Config { variables: BTreeMap::from([("temperature".into(), warm)]), ..config() };
    run_predictor(&project(dir.path()), &only_warm, &toy(), &Ctx::quiet(2)).unwrap();
    let remarks = manifest(dir.path())["notes"]["remarks"].as_array().unwrap().clone();
    let text =
        remarks.iter().filter_map(|remark| remark.as_str()).find(|text| text.contains("leave 5 to 35"));
    assert!(text.is_some_and(|text| text.contains("`clip` would keep them")), "{remarks:?}");
}

/// Three machines with a copy of the data each: their forecasts brought together are all that the last run needs.
#[test]
fn shards_come_together_to_the_bytes_of_one_machine() {
    let (whole, last) = (tiny(24), tiny(24));
    run_predictor(&project(whole.path()), &config(), &toy(), &Ctx::quiet(2)).unwrap();
    for index in 0..3 {
        let machine = tiny(24);
        let mut ctx = Ctx::quiet(1);
        ctx.shard = Some(Shard { index, count: 3 });
        let finish = run_predictor(&project(machine.path()), &config(), &toy(), &ctx).unwrap();
        let name = format!("shard {}/3", index + 1);
        assert!(finish.code() == 0 && finish.text().contains(&name), "{}", finish.text());
        assert!(!machine.path().join("explain/toy/run.json").exists());
        let cache = "explain/toy/responses.partial";
        copy_into(&machine.path().join(cache), &last.path().join(cache));
    }
    let silent = Silent(toy());
    run_predictor(&project(last.path()), &config(), &silent, &Ctx::quiet(2)).unwrap();
    assert_eq!(hashes(whole.path()), hashes(last.path()));
}

/// Two shards in one folder: the second finds the clusters of the first, and makes again what is damaged.
#[test]
fn clusters_are_found_again() {
    let dir = tiny(24);
    let shard = |index| {
        let mut ctx = Ctx::quiet(1);
        ctx.shard = Some(Shard { index, count: 2 });
        assert_eq!(run_predictor(&project(dir.path()), &config(), &toy(), &ctx).unwrap().code(), 0);
    };
    shard(0);
    let cache = std::fs::read_dir(dir.path().join("explain/toy/responses.partial")).unwrap();
    let clusters = cache.map(|plan| plan.unwrap().path().join("clusters")).next().unwrap();
    let (kept, damaged) = (clusters.join("tp_mean_02.json"), clusters.join("tp_mean_03.json"));
    // Five series with K from 2 to 4.
    assert_eq!(std::fs::read_dir(&clusters).unwrap().count(), 15);
    let whole = std::fs::read(&damaged).unwrap();
    std::fs::write(&damaged, &whole[..whole.len() / 2]).unwrap();
    let modified = |path: &Path| std::fs::metadata(path).unwrap().modified().unwrap();
    let before = modified(&kept);
    shard(1);
    assert_eq!(modified(&kept), before);
    assert_eq!(std::fs::read(&damaged).unwrap(), whole);
}

fn copy_into(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy_into(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Must not be asked.
struct Silent(ToyModel);

impl Predictor for Silent {
    fn spec(&self) -> &DataSpec {
        self.0.spec()
    }
    fn identity(&self) -> String {
        self.0.identity()
    }
    fn predict(&self, _: &Batch) -> Result<Array5<f32>, Error> {
        panic!("all forecasts were there")
    }
}

/// Samples are forecast together in other groups, with the same result.
#[test]
fn the_batch_does_not_matter() {
    let values = |batch: usize| {
        let dir = tiny(24);
        run_predictor(&project(dir.path()), &Config { batch, ..config() }, &toy(), &Ctx::quiet(2)).unwrap();
        let cube = Cube::open(&dir.path().join("explain/toy/signals.zarr"), "signals").unwrap();
        ["response", "pulse_response", "pair_response"].map(|name| cube.read::<f64>(name).unwrap())
    };
    assert_eq!(values(1), values(24));
}

/// Level 2 of the tiny project begins in January; the forecast begins at its fifth step, on 10 February. Land cover is 30.
#[test]
fn only_what_is_asked_for_is_explained() {
    let dir = tiny(24);
    let only = |months: &[u32], class: &str| Only {
        months: months.to_vec(),
        classes: BTreeMap::from([("landcover".into(), vec![class.into()])]),
    };
    let run = |only: Only| {
        let wanted = Config { only, csv: true, ..config() };
        run_predictor(&project(dir.path()), &wanted, &toy(), &Ctx::quiet(2))
    };
    run(only(&[2, 3], "30")).unwrap();
    let notes = &manifest(dir.path())["notes"];
    assert_eq!(notes["restricted to"], "months 2, 3; landcover 30");
    assert_eq!(notes["pixels of these classes"], "384 of 384");
    let page = std::fs::read_to_string(dir.path().join("explain/toy/report.html")).unwrap();
    assert!(page.contains("384 of 384 pixels (100 %)"));
    // The tables are there as CSV, with the same columns and rows.
    let text = std::fs::read_to_string(dir.path().join("explain/toy/sensitivity.csv")).unwrap();
    let table = Table::read(dir.path(), "sensitivity");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("variable,reading,transition,value,sd"), "{}", lines[0]);
    assert_eq!(lines.len(), 1 + table.numbers("value").len());
    for (line, value) in lines[1..].iter().zip(table.numbers("value")) {
        assert_eq!(line.split(',').nth(3).unwrap().parse::<f64>().unwrap(), value);
    }

    for (wish, expected) in [
        (only(&[7], "30"), "[explain.only] months 7; landcover 30: none of 24 usable samples is left"),
        (only(&[2], "10"), "[explain.only] months 2; landcover 10: none of 24 usable samples is left"),
        (only(&[0], "30"), "only.months: expected 1 to 12, found 0"),
        (only(&[], "grass"), "only.classes: landcover has no class `grass`"),
    ] {
        let failure = run(wish).unwrap_err();
        assert!(failure.to_string().contains(expected), "{failure}");
        assert!(failure.hint_text().is_some());
    }
    run_predictor(&project(dir.path()), &config(), &toy(), &Ctx::quiet(2)).unwrap();
    assert!(!dir.path().join("explain/toy/sensitivity.csv").exists(), "CSV of another plan");
}

/// Takes a few milliseconds a forecast, so that a kill hits it at work.
struct Slow(ToyModel);

impl Predictor for Slow {
    fn spec(&self) -> &DataSpec {
        self.0.spec()
    }
    fn identity(&self) -> String {
        self.0.identity()
    }
    fn predict(&self, batch: &Batch) -> Result<Array5<f32>, Error> {
        std::thread::sleep(Duration::from_millis(4));
        self.0.predict(batch)
    }
}

/// Not a test of its own: what [`killed_runs_resume_to_the_same_bytes`] starts and kills.
#[test]
fn victim() {
    if let Ok(dir) = std::env::var("CSP_TEST_VICTIM") {
        run_predictor(&project(Path::new(&dir)), &config(), &Slow(toy()), &Ctx::quiet(1)).unwrap();
    }
}

#[test]
fn killed_runs_resume_to_the_same_bytes() {
    let (clean, hit) = (tiny(24), tiny(24));
    run_predictor(&project(clean.path()), &config(), &toy(), &Ctx::quiet(2)).unwrap();
    let start = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "pipeline::victim"])
            .env("CSP_TEST_VICTIM", hit.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    // Seven kills, each a little later into what is left of the work; the last run ends by itself.
    for wait in [20_u64, 61, 97, 140, 183, 229, 310] {
        let mut child = start();
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(start().wait().unwrap().success());
    assert_eq!(hashes(clean.path()), hashes(hit.path()));
    assert!(!hit.path().join("explain/toy/responses.partial").exists());
}
