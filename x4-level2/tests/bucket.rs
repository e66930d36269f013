//! Level 1 and Level 2 in a bucket of a real S3 server on loopback: the same bytes as in folders, also after kills.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

mod common;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{data_hash, succeed, tiny_project};
use minicube::testing::assert_conforms;
use minicube_s3::testing::{self, KEYS, Server};

const SECTION: &str = "[level2]\nsteps = 40\nsamples_per_cube = 4";

/// The project of [`tiny_project`] with both levels in the bucket; Level 1 is put where the server keeps its objects.
fn project_in_bucket(dir: &Path, server: &Server, bucket: &str) -> PathBuf {
    let project = tiny_project(dir, SECTION);
    let levels = format!("level1 = \"s3://{bucket}/a/level1\"\nlevel2 = \"s3://{bucket}/a/level2\"\n");
    let text = fs::read_to_string(&project).unwrap().replace("years =", &format!("{levels}years ="));
    fs::write(&project, text).unwrap();
    let there = server.folder("cubes").join("a");
    fs::create_dir_all(&there).unwrap();
    if there.join("level1").exists() {
        fs::remove_dir_all(dir.join("level1")).unwrap();
    } else {
        move_tree(&dir.join("level1"), &there.join("level1"));
    }
    project
}

fn move_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            move_tree(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    fs::remove_dir_all(from).unwrap();
}

/// The binary with the server's settings and no others.
fn stage(verb: &str, project: &Path, settings: &[(String, String)]) -> Command {
    let mut command = testing::command(env!("CARGO_BIN_EXE_x4-level2"), settings);
    command.arg(verb).arg("--config").arg(project);
    command
}

/// Runs it and gives its exit code and all it printed.
fn finish(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// What the same work gives in folders.
fn expected() -> String {
    let dir = tempfile::tempdir().unwrap();
    succeed("run", &tiny_project(dir.path(), SECTION), &[]);
    data_hash(dir.path())
}

#[test]
fn levels_in_a_bucket_have_the_bytes_of_levels_in_folders() {
    let server = Server::start(&["cubes"]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let project = project_in_bucket(dir.path(), &server, "cubes");
    let (code, text) = finish(stage("run", &project, &server.settings()));
    assert_eq!(code, Some(0), "{text}");
    let there = server.folder("cubes").join("a");
    assert_eq!(data_hash(&there), expected());
    assert_conforms(&there.join("level2/train/35KMQ.zarr"), "level2");
    let puts = |server: &Server| server.asked().iter().filter(|asked| asked.method == "PUT").count();
    assert!(puts(&server) > 20);

    let left: Vec<_> = fs::read_dir(dir.path().join("level2/train")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    let manifest = fs::read_to_string(dir.path().join("level2/run.json")).unwrap();
    assert!(manifest.contains("s3://cubes/a/level2/train/35KMQ.zarr"), "{manifest}");
    assert!(KEYS.iter().all(|key| !manifest.contains(key)));
    assert!(dir.path().join("level2/report.html").exists());

    let (code, text) = finish(stage("run", &project, &server.settings()));
    assert!(code == Some(0) && text.contains("nothing to do"), "{text}");
    assert_eq!(puts(&server), 0, "a second run sends nothing");
    let (code, text) = finish(stage("verify", &project, &server.settings()));
    assert!(code == Some(0) && text.contains("8 samples are as they should be"), "{text}");
}

#[test]
fn a_run_that_is_killed_while_it_sends_leaves_no_half_store_and_goes_on() {
    let expected = expected();
    let stores = ["train", "val"].map(|split| format!("a/level2/{split}/35KMQ.zarr"));
    let server = Server::start(&["cubes"]).unwrap();
    let mut killed = 0;
    for sent in [1, 12, 30, 45] {
        let dir = tempfile::tempdir().unwrap();
        let project = project_in_bucket(dir.path(), &server, "cubes");
        let _ = fs::remove_dir_all(server.folder("cubes").join("a/level2"));
        let mut run = stage("run", &project, &server.settings());
        killed += i32::from(server.kill_after(sent, &mut run).unwrap());
        for store in stores.iter().map(|store| server.folder("cubes").join(store)) {
            if store.join("zarr.json").exists() {
                assert_conforms(&store, "level2");
            }
        }
        let (code, text) = finish(stage("run", &project, &server.settings()));
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(data_hash(&server.folder("cubes").join("a")), expected, "killed after {sent} objects");
    }
    assert!(killed >= 3, "only {killed} of 4 runs were killed before their end");
}

#[test]
fn a_bucket_that_cannot_be_used_is_told_at_once() {
    let server = Server::start(&["cubes"]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let project = project_in_bucket(dir.path(), &server, "cubes");
    let text = fs::read_to_string(&project).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refused = format!("http://127.0.0.1:{port}");
    for (bucket, key, value, error, hint) in [
        (
            "cubes",
            "AWS_SECRET_ACCESS_KEY",
            "another",
            "cannot list: access denied (",
            "AWS_SECRET_ACCESS_KEY",
        ),
        ("cubes", "AWS_ENDPOINT_URL", &refused, "cannot list: Connection refused", "check AWS_ENDPOINT_URL"),
        ("cubes", "AWS_ENDPOINT_URL", "http://minio.example.org", "expected an https URL", "AWS_ALLOW_HTTP"),
        ("nowhere", "AWS_REGION", "us-east-1", "cannot list: no such bucket", "check the bucket's name"),
    ] {
        fs::write(&project, text.replace("s3://cubes", &format!("s3://{bucket}"))).unwrap();
        let mut settings = server.settings();
        settings.iter_mut().find(|(name, _)| name == key).unwrap().1 = value.to_owned();
        let (code, told) = finish(stage("run", &project, &settings));
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains(&format!("error: s3://{bucket}/a/level1: cannot list")), "{told}");
        assert!(told.contains(error) && told.contains("hint: ") && told.contains(hint), "{told}");
        assert!(!told.contains(KEYS[1]) && !told.contains("another"), "{told}");
    }
}
