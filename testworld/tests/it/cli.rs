//! The command: prints one URL, refuses what it cannot do with `error:` and `hint:`.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

fn testworld() -> Command {
    Command::new(env!("CARGO_BIN_EXE_testworld"))
}

#[tokio::test]
async fn serve_prints_its_url_and_serves() {
    let mut child = testworld().args(["serve", "--port", "0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    assert!(crate::client().get(url).send().await.unwrap().status().is_success());
    let port = url.rsplit(':').next().unwrap();
    let second = testworld().args(["serve", "--port", port]).output().unwrap();
    let message = String::from_utf8(second.stderr).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(second.status.code(), Some(2));
    assert!(message.starts_with("error: cannot listen on 127.0.0.1:"), "{message}");
    assert!(message.lines().nth(1).unwrap().starts_with("hint: "), "{message}");
}

#[test]
fn a_wrong_fault_is_named() {
    let output = testworld().args(["serve", "--faults", "505=0.1"]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(message.contains("505=0.1") && message.contains("wrong_length"), "{message}");
}
