//! The binary: exit codes, and the two lines that a failure prints.

use std::path::Path;
use std::process::{Command, Output};

fn csp(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_csp")).args(args).output().unwrap()
}

fn run_with(section: &str, dir: &Path) -> (Option<i32>, String) {
    let file = dir.join("project.toml");
    std::fs::write(&file, format!("[project]\nname = \"t\"\ndir = \"{}\"\n{section}\n", dir.display()))
        .unwrap();
    let output = csp(&["run", "--config", file.to_str().unwrap()]);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn help_names_the_verbs() {
    let output = csp(&["--help"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && ["run", "plan", "verify"].iter().all(|verb| text.contains(verb)),
        "{text}"
    );
}

#[test]
fn failures_have_one_error_and_one_hint_line_and_code_2() {
    let dir = tempfile::tempdir().unwrap();
    for (section, expected) in [
        ("[explain]\ngama = 1.0", "did you mean `gamma`"),
        ("[explain]\ngamma = \"high\"", "a number or \"auto\""),
        ("[explain]\nmodel = \"nothing\"", "model.json"),
    ] {
        let (code, text) = run_with(section, dir.path());
        assert_eq!(code, Some(2), "{section}: {text}");
        assert!(text.contains(expected), "{section}: {text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("hint: ")).count(), 1, "{text}");
    }
    assert!(!dir.path().join("explain").exists());
}
