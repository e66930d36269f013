//! The verb `forecast`: mean and spread of several models, with labels.
#![expect(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

use std::fs;
use std::path::Path;
use std::process::Command;

use minicube::testing::{assert_conforms, tiny_level2};
use minicube::{Cube, sha256_store};

/// Two RNNs that differ in their seed, and one that forecasts other steps.
const CONFIG: &str = r#"
[train]
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
name = "other"
model = "rnn"
context_steps = 5
weather = ["tp_mean", "t2m_mean"]
hidden = [4]
steps = 1
pixels = 8
"#;

fn act(dir: &Path, verb: &str, more: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_x5-dl"))
        .args([verb, "--config"])
        .arg(dir.join("p.toml"))
        .args(more)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn the_mean_and_the_spread_of_models_with_the_labels_of_the_land() {
    let dir = tempfile::tempdir().unwrap();
    tiny_level2(dir.path(), 6, 20, 8).unwrap();
    let head = format!("[project]\nname = \"t\"\ndir = \"{}\"\n", dir.path().display());
    fs::write(dir.path().join("p.toml"), head + CONFIG).unwrap();
    let (code, said) = act(dir.path(), "forecast", &["--models", "one,two"]);
    assert!(
        code == Some(2)
            && said.contains("models/one: expected a trained model")
            && said.contains("x5-dl run"),
        "{said}"
    );
    assert_eq!(act(dir.path(), "run", &[]).0, Some(0));
    let (code, said) = act(dir.path(), "forecast", &["--models", "one,two", "--split", "val"]);
    assert_eq!(code, Some(0), "{said}");

    // `run` has forecast the same split, each model by itself.
    let store = dir.path().join("forecasts/one+two/val.zarr");
    assert_conforms(&store, "forecast");
    let product = Cube::open(&store, "forecast").unwrap();
    let member = |name: &str| {
        let path = dir.path().join("models").join(name).join("forecast.zarr");
        Cube::open(&path, "forecast").unwrap().read::<f32>("kndvi").unwrap()
    };
    let (one, two) = (member("one"), member("two"));
    let (mean, sd) = (product.read::<f32>("kndvi").unwrap(), product.read::<f32>("kndvi_sd").unwrap());
    assert_eq!(mean.shape(), one.shape());
    assert_ne!(one, two, "the seeds differ");
    for ((a, b), (mean, sd)) in one.iter().zip(&two).zip(mean.iter().zip(&sd)) {
        assert!((mean - (a + b) / 2.0).abs() < 1e-6 && (sd - (a - b).abs() / 2f32.sqrt()).abs() < 1e-6);
    }
    let level2 = Cube::open(&dir.path().join("level2/val/35KMQ.zarr"), "level2").unwrap();
    for layer in ["static/dem", "static/landcover"] {
        let expected = level2.read_f32(layer, &[0; 3], &level2.shape(layer).unwrap()).unwrap();
        assert_eq!(product.read::<f32>(layer).unwrap(), expected, "{layer}");
    }
    let page = fs::read_to_string(dir.path().join("forecasts/one+two/report.html")).unwrap();
    assert!(page.contains("standard deviation of the members"));

    let hash = sha256_store(&store).unwrap();
    assert!(
        act(dir.path(), "forecast", &["--models", "one,two", "--split", "val"]).1.contains("nothing to do")
    );
    fs::remove_dir_all(dir.path().join("forecasts")).unwrap();
    assert_eq!(
        act(dir.path(), "forecast", &["--models", "one,two", "--split", "val", "--threads", "1"]).0,
        Some(0)
    );
    assert_eq!(sha256_store(&store).unwrap(), hash, "on any number of threads");

    let (code, said) =
        act(dir.path(), "forecast", &["--models", "one", "--split", "test", "--name", "alone"]);
    assert_eq!(code, Some(0), "{said}");
    let alone = Cube::open(&dir.path().join("forecasts/alone/test.zarr"), "forecast").unwrap();
    assert!(alone.has("kndvi") && !alone.has("kndvi_sd"));

    let (code, said) = act(dir.path(), "forecast", &[]);
    assert!(code == Some(2) && said.contains("other (5, 12)"), "{said}");
    let (code, said) = act(dir.path(), "forecast", &["--models", "three"]);
    assert!(code == Some(2) && said.contains("expected some of one, two, other"), "{said}");
}
