//! The verb `forecast`: mean and spread of several models, with labels.

use std::fs;

use minicube::testing::assert_conforms;
use minicube::{Cube, sha256_store};
use x5_dl::Scores;

use crate::project::{Project, kill_after, ok};

/// Two RNNs that differ in their seed, and one that forecasts other steps.
const CONFIG: &str = r#"
context_steps = 6
target_steps = 12
vegetation = []

[[train.models]]
name = "one"
model = "rnn"
weather = ["tp_mean", "t2m_mean"]
hidden = [4]
steps = 2
pixels = 8
seed = 1

[[train.models]]
name = "two"
model = "rnn"
weather = ["tp_mean", "t2m_mean"]
hidden = [4]
steps = 2
pixels = 8
seed = 2

[[train.models]]
name = "sure"
model = "rnn"
weather = ["tp_mean", "t2m_mean"]
hidden = [4]
steps = 2
pixels = 8
quantiles = [0.05, 0.5, 0.975]

[[train.models]]
name = "surroundings"
model = "context_rnn"
encoder = "convolutions"
weather = ["tp_mean", "t2m_mean"]
hidden = [6]
steps = 2
pixels = 8
crop = 8
quantiles = [0.05, 0.5, 0.975]

[[train.models]]
name = "other"
model = "rnn"
context_steps = 5
weather = ["tp_mean", "t2m_mean"]
hidden = [4]
steps = 1
pixels = 8
"#;

#[test]
fn the_mean_and_the_spread_of_models_with_the_labels_of_the_land() {
    let project = Project::new((6, 20, 8), CONFIG);
    let dir = project.path();
    let (code, said) = project.act("forecast", &["--models", "one,two"]);
    assert!(
        code == Some(2)
            && said.contains("models/one: expected a trained model")
            && said.contains("x5-dl run"),
        "{said}"
    );
    assert_eq!(project.act("run", &[]).0, Some(0));
    let (code, said) = project.act("forecast", &["--models", "one,two", "--split", "val"]);
    assert_eq!(code, Some(0), "{said}");

    // `run` has forecast the same split, each model by itself.
    let store = dir.join("forecasts/one+two/val.zarr");
    assert_conforms(&store, "forecast");
    let product = Cube::open(&store, "forecast").unwrap();
    let member = |name: &str| {
        let path = dir.join("models").join(name).join("forecast.zarr");
        Cube::open(&path, "forecast").unwrap().read::<f32>("kndvi").unwrap()
    };
    let (one, two) = (member("one"), member("two"));
    let (mean, sd) = (product.read::<f32>("kndvi").unwrap(), product.read::<f32>("kndvi_sd").unwrap());
    assert_eq!(mean.shape(), one.shape());
    assert_ne!(one, two, "the seeds differ");
    for ((a, b), (mean, sd)) in one.iter().zip(&two).zip(mean.iter().zip(&sd)) {
        assert!((mean - (a + b) / 2.0).abs() < 1e-6 && (sd - (a - b).abs() / 2f32.sqrt()).abs() < 1e-6);
    }
    let level2 = Cube::open(&dir.join("level2/val/35KMQ.zarr"), "level2").unwrap();
    for layer in ["static/dem", "static/landcover"] {
        let expected = level2.read_f32(layer, &[0; 3], &level2.shape(layer).unwrap()).unwrap();
        assert_eq!(product.read::<f32>(layer).unwrap(), expected, "{layer}");
    }
    let page = fs::read_to_string(dir.join("forecasts/one+two/report.html")).unwrap();
    assert!(page.contains("standard deviation of the members"));

    let hash = sha256_store(&store).unwrap();
    assert!(project.act("forecast", &["--models", "one,two", "--split", "val"]).1.contains("nothing to do"));
    fs::remove_dir_all(dir.join("forecasts")).unwrap();
    assert_eq!(
        project.act("forecast", &["--models", "one,two", "--split", "val", "--threads", "1"]).0,
        Some(0)
    );
    assert_eq!(sha256_store(&store).unwrap(), hash, "on any number of threads");

    let (code, said) = project.act("forecast", &["--models", "one", "--split", "test", "--name", "alone"]);
    assert_eq!(code, Some(0), "{said}");
    let alone = Cube::open(&dir.join("forecasts/alone/test.zarr"), "forecast").unwrap();
    assert!(alone.has("kndvi") && !alone.has("kndvi_sd"));

    quantiles_do_not_cross(&project);

    let (code, said) = project.act("forecast", &[]);
    assert!(code == Some(2) && said.contains("other (5, 12)"), "{said}");
    let (code, said) = project.act("forecast", &["--models", "three"]);
    assert!(
        code == Some(2) && said.contains("expected some of one, two, sure, surroundings, other"),
        "{said}"
    );
}

/// Many samples, so that a kill hits the forecasting; what is written by then is kept.
#[test]
fn a_killed_forecast_goes_on_to_the_same_bytes() {
    let models = CONFIG.split("[[train.models]]").take(3).collect::<Vec<_>>().join("[[train.models]]");
    let project = Project::new((200, 18, 16), &models);
    ok(&project.run("run", "2"));
    let command = || {
        let mut command = project.command("forecast", "2");
        command.args(["--split", "train"]);
        command
    };
    let store = project.path().join("forecasts/one+two/train.zarr");
    kill_after(&[60, 120, 180, 240, 300], command);
    ok(&command().output().unwrap());
    let found = sha256_store(&store).unwrap();
    fs::remove_dir_all(project.path().join("forecasts")).unwrap();
    ok(&command().output().unwrap());
    assert_eq!(found, sha256_store(&store).unwrap());
}

/// Of two models with the same quantiles each is averaged; one model's are its own, around its forecast.
fn quantiles_do_not_cross(project: &Project) {
    let dir = project.path();
    let ask = ["--split", "val", "--models"];
    for models in ["sure", "surroundings", "sure,surroundings", "one,sure"] {
        let (code, said) = project.act("forecast", &[&ask[..], &[models]].concat());
        assert_eq!(code, Some(0), "{said}");
    }
    let read = |models: &str, name: &str| {
        let store = dir.join("forecasts").join(models).join("val.zarr");
        Cube::open(&store, "forecast").unwrap().read::<f32>(name).unwrap()
    };
    for model in ["sure", "surroundings"] {
        let [low, middle, high] = ["kndvi_q05", "kndvi", "kndvi_q975"].map(|name| read(model, name));
        assert!(
            low.iter().zip(&middle).all(|(a, b)| a <= b) && middle.iter().zip(&high).all(|(a, b)| a <= b)
        );
        assert_ne!(low, high);
        let scores = fs::read_to_string(dir.join("models").join(model).join("scores.json")).unwrap();
        assert!(scores.contains("\"level\": 0.975") && scores.contains("\"below\""), "{scores}");
    }
    let of = |models| read(models, "kndvi_q05");
    for ((a, b), both) in of("sure").iter().zip(&of("surroundings")).zip(&of("sure+surroundings")) {
        assert!(((a + b) / 2.0 - both).abs() < 1e-6);
    }
    let mixed = Cube::open(&dir.join("forecasts/one+sure/val.zarr"), "forecast").unwrap();
    assert!(mixed.has("kndvi_sd") && !mixed.has("kndvi_q05"));
    assert!(mixed.attr_str("uncertainty").unwrap().starts_with("kndvi_sd: disagreement"));
    let page = fs::read_to_string(dir.join("forecasts/sure/report.html")).unwrap();
    assert!(page.contains("width from kndvi_q05 to kndvi_q975"));
}

/// A sample of 500 days: tens of days that come twice have a cycle, the mean of both. A model's forecast is compared with
/// it where the target has them.
#[test]
fn scores_beside_the_seasonal_cycle() {
    let train = CONFIG.split("[[train.models]]").take(2).collect::<Vec<_>>().join("[[train.models]]");
    let train = train.replace("context_steps = 6", "context_steps = 38");
    let project = Project::new((3, 50, 4), &train);
    let dir = project.path();
    let (code, said) = project.act("run", &[]);
    assert_eq!(code, Some(0), "{said}");
    let scores = Scores::read(&dir.join("models/one")).unwrap().scores;
    let found = scores[0].seasonal.unwrap();
    assert!(scores[1..].iter().all(|score| score.seasonal.is_none()), "baselines have none");

    // The same from the stores: each target value with the one of the same tens of days a year before.
    let store = Cube::open(&dir.join("models/one/forecast.zarr"), "forecast").unwrap();
    let (truth, forecast) = (store.read::<f32>("truth_kndvi").unwrap(), store.read::<f32>("kndvi").unwrap());
    let (mask, dates) = (store.read::<u8>("mask").unwrap(), store.read::<i32>("date").unwrap());
    let level2 = Cube::open(&dir.join("level2/val/35KMQ.zarr"), "level2").unwrap();
    let (all, all_dates) = (
        level2.read_f32("kndvi", &[0; 4], &level2.shape("kndvi").unwrap()).unwrap(),
        level2.read::<i32>("date").unwrap(),
    );
    let place = |day: i32| {
        let date = minicube::from_cf_day(day);
        (date.format("%Y").to_string(), (date.format("%j").to_string().parse::<u32>().unwrap() - 1) / 10)
    };
    let (mut anomaly, mut mae, mut count) = (0.0, 0.0, 0u64);
    for ((at, &value), &forecast) in truth.indexed_iter().zip(&forecast) {
        let (sample, step, y, x) = (at[0], at[1], at[2], at[3]);
        let (year, bin) = place(dates[[sample, step]]);
        let other = (0..50).find(|&t| {
            let (its_year, its_bin) = place(all_dates[[sample, t]]);
            its_bin == bin && its_year != year
        });
        let Some(other) = other.filter(|_| mask[at.clone()] == 0) else { continue };
        let usual = (f64::from(value) + f64::from(all[[sample, other, y, x]])) / 2.0;
        anomaly += (f64::from(value) - usual).abs();
        mae += (f64::from(forecast) - f64::from(value)).abs();
        count += 1;
    }
    assert_eq!(found.count, count);
    assert!((found.anomaly - anomaly / count as f64).abs() < 1e-6, "{found:?} {}", anomaly / count as f64);
    assert!((found.mae - mae / count as f64).abs() < 1e-6);
    let page = fs::read_to_string(dir.join("models/one/report.html")).unwrap();
    assert!(page.contains("std between years"));
}
