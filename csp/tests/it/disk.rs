//! A full disk while a trained model is explained.

use std::process::Command;

use minicube::run::{Ctx, Project};
use minicube::testing::{kib_on_disk, on_full_disk, tiny_level2};
use minicube::{Cube, sha256_file, sha256_store};
use x5_dl::ModelConfig;

const EXPLAIN: &str = "\n[explain]\nmodel = \"rnn\"\ngamma = \"auto\"\nk_range = [2, 4]\nmax_samples = 9\nbatch = 3\n\
                       crop_px = 4\nbootstrap = 50\n";

#[test]
fn a_full_disk_is_told_and_the_run_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    tiny_level2(dir.path(), 24, 12, 8).unwrap();
    let project = Project {
        name: "t".into(),
        dir: dir.path().to_owned(),
        years: [2021, 2021],
        seed: 42,
        buckets: Default::default(),
    };
    let model = ModelConfig {
        name: "rnn".into(),
        weather: Some(["tp_mean", "t2m_mean", "sp_mean"].map(str::to_owned).to_vec()),
        hidden: Some(vec![8]),
        steps: Some(4),
        pixels: Some(8),
        ..ModelConfig::default()
    };
    let train =
        x5_dl::Config { context_steps: 4, target_steps: 6, models: vec![model], ..x5_dl::Config::default() };
    x5_dl::run(&train.resolve(&project).unwrap(), &Ctx::quiet(2)).unwrap();
    let file = dir.path().join("project.toml");
    let head = format!("[project]\nname = \"t\"\ndir = {:?}\nyears = [2021, 2021]\n", dir.path());
    std::fs::write(&file, head + EXPLAIN).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_csp"));
    command.args(["run", "--config"]).arg(&file);

    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let explain = dir.path().join("explain");
    let hashes = || {
        let tables = ["segments.parquet", "sensitivity.parquet", "curves.parquet"]
            .map(|name| sha256_file(&explain.join("rnn").join(name)).unwrap());
        (tables, sha256_store(&explain.join("rnn/signals.zarr")).unwrap())
    };
    let (expected, whole) = (hashes(), kib_on_disk(&explain).unwrap());
    // While responses are remembered, in the store, and in the report.
    for room in [4, whole / 2, whole - 4] {
        let Some(disk) = on_full_disk(&explain, room, &command).unwrap() else {
            println!("skipped: nobody may mount a disk here");
            return;
        };
        disk.assert_told();
        disk.assert_whole(&[]).unwrap();
        let store = disk.left.join("rnn/signals.zarr");
        assert!(!store.exists() || Cube::open(&store, "signals").is_ok());
        assert_eq!(hashes(), expected, "with {room} of {whole} KiB");
    }
}
