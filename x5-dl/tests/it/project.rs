//! A project on a tiny Level 2, and the program as a user runs it there.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use minicube::testing::tiny_level2;
use minicube::{sha256_file, sha256_store};
use tempfile::TempDir;
use x5_dl::Scores;

/// A network of pixels.
pub(crate) const RNN: &str = r#"
[[train.models]]
name = "rnn"
model = "rnn"
weather = ["tp_mean", "t2m_mean"]
hidden = [16]
steps = 120
pixels = 48
learning_rate = 0.02
"#;

/// A network of frames.
pub(crate) const CONVLSTM: &str = r#"
[[train.models]]
name = "convlstm"
model = "convlstm"
weather = ["tp_mean", "t2m_mean"]
context_steps = 4
target_steps = 5
hidden = [8]
steps = 30
crop = 6
learning_rate = 0.01
"#;

/// A project in a temporary folder.
pub(crate) struct Project {
    pub(crate) dir: TempDir,
}

impl Project {
    /// `samples` training samples of `steps` steps and `size` × `size` pixels; `train` is the section of that name.
    pub(crate) fn new((samples, steps, size): (usize, usize, usize), train: &str) -> Project {
        let dir = tempfile::tempdir().unwrap();
        tiny_level2(dir.path(), samples, steps, size).unwrap();
        let project = Project { dir };
        project.write(train);
        project
    }

    pub(crate) fn write(&self, train: &str) {
        let head = format!("[project]\nname = \"t\"\ndir = \"{}\"\n[train]\n", self.path().display());
        std::fs::write(self.config(), head + train).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path().join("p.toml")
    }

    pub(crate) fn model(&self, name: &str) -> PathBuf {
        self.path().join("models").join(name)
    }

    /// Mean absolute error of kNDVI of a model, or of a baseline beside it, on the validation split.
    pub(crate) fn kndvi_mae(&self, model: &str, forecaster: &str) -> f64 {
        let scores = Scores::read(&self.model(model)).unwrap().scores;
        let score = scores.iter().find(|s| s.forecaster == forecaster && s.split == "val").unwrap();
        score.kndvi.as_ref().unwrap().mae
    }

    fn bare(&self, verb: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_x5-dl"));
        command.args([verb, "--config"]).arg(self.config());
        command
    }

    pub(crate) fn command(&self, verb: &str, threads: &str) -> Command {
        let mut command = self.bare(verb);
        command.args(["--threads", threads]);
        command
    }

    pub(crate) fn run(&self, verb: &str, threads: &str) -> Output {
        self.command(verb, threads).output().unwrap()
    }

    /// Exit code and everything that was said.
    pub(crate) fn act(&self, verb: &str, more: &[&str]) -> (Option<i32>, String) {
        let output = self.bare(verb).args(more).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }
}

/// Starts a command once for each moment and kills it then; how far it gets does not matter.
pub(crate) fn kill_after(millis: &[u64], command: impl Fn() -> Command) {
    for &millis in millis {
        let mut child = command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// What a command that ends well prints.
pub(crate) fn ok(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Hashes of everything in a model folder that must not depend on when and how it was made.
pub(crate) fn hashes(folder: &Path) -> Vec<String> {
    let mut found: Vec<String> = ["model.json", "weights.safetensors", "metrics.jsonl", "scores.json"]
        .iter()
        .map(|file| sha256_file(&folder.join(file)).unwrap())
        .collect();
    found.push(sha256_file(&folder.join("checkpoint/state.safetensors")).unwrap());
    found.push(sha256_store(&folder.join("forecast.zarr")).unwrap());
    found
}
