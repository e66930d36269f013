//! Level 1 in a bucket of a real S3 server on loopback: the same bytes as in a folder.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{project, raw_tree};
use minicube::{Cube, sha256_store};
use minicube_s3::testing::{self, Server};

fn command(verb: &str, config: &Path, server: &Server) -> Command {
    let mut command = testing::command(env!("CARGO_BIN_EXE_x3-level1"), &server.settings());
    command.arg(verb).arg("--config").arg(config);
    command
}

fn act(verb: &str, config: &Path, server: &Server) -> (Option<i32>, String) {
    let output = command(verb, config, server).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_level_in_a_bucket_has_the_bytes_of_one_in_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    raw_tree(dir.path());
    let server = Server::start(&["cubes"]).unwrap();
    let config = project(dir.path(), "");
    assert_eq!(act("run", &config, &server).0, Some(0));
    let store = dir.path().join("data/level1/35KMQ.zarr");
    let expected = sha256_store(&store).unwrap();
    fs::remove_dir_all(dir.path().join("data/level1")).unwrap();

    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("years =", "level1 = \"s3://cubes/level1\"\nyears =")).unwrap();
    let (code, text) = act("run", &config, &server);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(sha256_store(&server.folder("cubes").join("level1/35KMQ.zarr")).unwrap(), expected);
    let manifest = fs::read_to_string(dir.path().join("data/level1/run.json")).unwrap();
    assert!(manifest.contains("s3://cubes/level1/35KMQ.zarr") && manifest.contains(&expected), "{manifest}");
    let mut left: Vec<_> = fs::read_dir(dir.path().join("data/level1"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["report.html", "run.json"]);

    let (code, text) = act("verify", &config, &server);
    assert!(code == Some(0) && text.contains("ok   s3://cubes/level1/35KMQ.zarr"), "{text}");
    let (code, text) = act("run", &config, &server);
    assert!(code == Some(0) && text.contains("nothing to do"), "{text}");

    // A layer more: the others are in the bucket already, and stay there.
    let before = fs::metadata(server.folder("cubes").join("level1/35KMQ.zarr/s2/red/c/0/0/0/0")).unwrap();
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}\n[level1]\nassets = [\"red\", \"nir08\", \"scl\"]\n")).unwrap();
    let (code, text) = act("run", &config, &server);
    assert_eq!(code, Some(0), "{text}");
    let after = fs::metadata(server.folder("cubes").join("level1/35KMQ.zarr/s2/red/c/0/0/0/0")).unwrap();
    assert_eq!(before.modified().unwrap(), after.modified().unwrap(), "sent again");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("level1 = \"s3://cubes/level1\"\n", "")).unwrap();
    assert_eq!(act("run", &config, &server).0, Some(0));
    let grown = sha256_store(&server.folder("cubes").join("level1/35KMQ.zarr")).unwrap();
    assert_eq!(grown, sha256_store(&store).unwrap());
}

/// A store that is new in the bucket, and one that grows there by a layer.
#[test]
fn a_run_that_is_killed_while_it_sends_leaves_no_half_store_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    raw_tree(dir.path());
    let server = Server::start(&["cubes"]).unwrap();
    let config = project(dir.path(), "");
    let small = fs::read_to_string(&config).unwrap();
    let large = format!("{small}\n[level1]\nassets = [\"red\", \"nir08\", \"scl\"]\n");
    let local = dir.path().join("data/level1");
    let expected = [&small, &large].map(|text| {
        fs::write(&config, text).unwrap();
        assert_eq!(act("run", &config, &server).0, Some(0));
        sha256_store(&local.join("35KMQ.zarr")).unwrap()
    });
    assert_ne!(expected[0], expected[1]);

    let there = server.folder("cubes").join("level1/35KMQ.zarr");
    let (mut killed, mut seen_half) = (0, 0);
    for sent in [1, 4, 9] {
        fs::remove_dir_all(&local).unwrap();
        let _ = fs::remove_dir_all(server.folder("cubes").join("level1"));
        for (text, expected) in [&small, &large].into_iter().zip(&expected) {
            fs::write(&config, text.replace("years =", "level1 = \"s3://cubes/level1\"\nyears =")).unwrap();
            killed += usize::from(server.kill_after(sent, &mut command("run", &config, &server)).unwrap());
            match Cube::open(&there, "level1") {
                Ok(cube) => assert_eq!(cube.attrs()["sealed"], true, "a store that can be opened is whole"),
                Err(_) => seen_half += 1,
            }
            let (code, said) = act("run", &config, &server);
            assert_eq!(code, Some(0), "{said}");
            assert_eq!(&sha256_store(&there).unwrap(), expected, "killed after {sent} objects");
        }
    }
    assert!(
        killed >= 5 && seen_half >= 3,
        "{killed} of 6 runs were killed, {seen_half} stores were half there"
    );
}
