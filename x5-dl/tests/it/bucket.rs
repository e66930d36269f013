//! Level 2 in a bucket of a real S3 server on loopback: the same model as from a folder.

use std::fs;
use std::path::Path;

use minicube::testing::tiny_level2;
use minicube::{sha256_file, sha256_store};
use minicube_s3::testing::{self, Server};

const TRAIN: &str = "[train]\ncontext_steps = 6\ntarget_steps = 12\n[[train.models]]\nname = \"rnn\"\nmodel = \"rnn\"\n\
                     weather = [\"tp_mean\", \"t2m_mean\"]\nhidden = [4]\nsteps = 3\npixels = 8\n";

/// Trains in `dir`, with Level 2 at a URL if one is given; the hashes of the results.
fn train(dir: &Path, level2: &str, server: &Server) -> [String; 3] {
    let config = dir.join("p.toml");
    fs::write(&config, format!("[project]\nname = \"t\"\ndir = {dir:?}\n{level2}\n{TRAIN}")).unwrap();
    let mut command = testing::command(env!("CARGO_BIN_EXE_x5-dl"), &server.settings());
    let output = command.args(["run", "--config"]).arg(&config).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let model = dir.join("models/rnn");
    let file = |name: &str| sha256_file(&model.join(name)).unwrap();
    [file("weights.safetensors"), file("scores.json"), sha256_store(&model.join("forecast.zarr")).unwrap()]
}

#[test]
fn a_model_from_a_bucket_is_the_model_from_a_folder() {
    let server = Server::start(&["cubes"]).unwrap();
    let (local, remote) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    tiny_level2(local.path(), 6, 20, 8).unwrap();
    // The server keeps an object as a file of its key.
    tiny_level2(&server.folder("cubes"), 6, 20, 8).unwrap();
    let expected = train(local.path(), "", &server);
    assert!(server.asked().is_empty());
    assert_eq!(train(remote.path(), "level2 = \"s3://cubes/level2\"", &server), expected);
    assert!(server.asked().iter().any(|asked| asked.range.is_some()), "samples are read by range");
    let manifest = fs::read_to_string(remote.path().join("models/rnn/run.json")).unwrap();
    assert!(manifest.contains("s3://cubes/level2/train/"), "{manifest}");
}
