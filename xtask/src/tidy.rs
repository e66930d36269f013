//! `cargo xtask tidy`: the invariants of ARCHITECTURE.md that a machine can see.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::failure::fail;
use crate::workspace::{metadata, root};

/// Flags of `tidy`.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Crates that link a system library.
const SYSTEM: [&str; 8] =
    ["gdal", "gdal-sys", "hdf5-metno", "hdf5-metno-sys", "netcdf", "netcdf-sys", "proj", "proj-sys"];
/// Crates that open sockets.
const NETWORK: [&str; 4] = ["reqwest", "tokio", "hyper", "axum"];
/// Longest source file without a remark, tests left out.
const LONG_FILE_LINES: usize = 500;

/// What the sources must not hold: machine paths, registry hosts, marks of unfinished work.
///
/// Written in halves, so that this list does not find itself.
const FORBIDDEN: [(&str, &str); 10] = [
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/fa", "rm/"), "a path of one machine"),
    (concat!("env!(\"CARGO_", "MANIFEST_DIR\")"), "the path of one build; minicube::testing::own_file"),
    (concat!("index.crates", ".io"), "a registry host"),
    (concat!("static.crates", ".io"), "a registry host"),
    (concat!("files.python", "hosted"), "a registry host"),
    (concat!("registry.npm", "js"), "a registry host"),
    (concat!("deb.debian", ".org"), "a registry host"),
    (concat!("TO", "DO"), "unfinished work"),
    (concat!("FIX", "ME"), "unfinished work"),
];

/// Runs `tidy`: exit 1 when an invariant is broken.
pub(crate) fn run(_: &Args) -> Result<ExitCode> {
    check()?;
    println!("tidy");
    Ok(ExitCode::SUCCESS)
}

/// Checks everything; remarks are printed, violations are the error.
pub(crate) fn check() -> Result<()> {
    let mut violations = Graph::load()?.violations();
    for file in tracked_files()? {
        let Ok(text) = fs::read_to_string(root().join(&file)) else { continue };
        violations.extend(forbidden(&file, &text));
        if file.ends_with(".rs") {
            violations.extend(prints(&file, &text));
            let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
            if lines > LONG_FILE_LINES && !is_test(&file) {
                println!("remark: {file} has {lines} lines: one idea each?");
            }
        }
    }
    if violations.is_empty() {
        return Ok(());
    }
    Err(fail(
        format!("{} broken invariants:\n    {}", violations.len(), violations.join("\n    ")),
        "each is explained in ARCHITECTURE.md",
    ))
}

/// Who depends on whom.
struct Graph {
    /// Workspace members by name: what they list themselves, tests included.
    members: BTreeMap<String, Member>,
    /// Every package by id.
    packages: BTreeMap<String, Package>,
}

struct Member {
    id: String,
    direct: BTreeSet<String>,
}

struct Package {
    name: String,
    /// Ids of what its library or binary needs to build, without dev-dependencies.
    needs: Vec<String>,
}

impl Graph {
    fn load() -> Result<Graph> {
        Graph::from_metadata(&metadata(true)?)
    }

    fn from_metadata(metadata: &Value) -> Result<Graph> {
        let nodes =
            metadata["resolve"]["nodes"].as_array().context("cargo metadata has no dependency graph")?;
        let names: BTreeMap<&str, &str> = list(&metadata["packages"])
            .iter()
            .filter_map(|package| Some((package["id"].as_str()?, package["name"].as_str()?)))
            .collect();
        let name_of = |id: &str| names.get(id).map_or(String::new(), |name| (*name).to_string());
        let package = |node: &Value| -> Option<(String, Package)> {
            let id = node["id"].as_str()?.to_string();
            let built = list(&node["deps"])
                .iter()
                .filter(|dep| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev"));
            let needs = built.filter_map(|dep| dep["pkg"].as_str().map(String::from)).collect();
            Some((id.clone(), Package { name: name_of(&id), needs }))
        };
        let member = |package: &Value| -> Option<(String, Member)> {
            let direct =
                list(&package["dependencies"]).iter().filter_map(|d| d["name"].as_str().map(String::from));
            let id = package["id"].as_str()?.to_string();
            Some((package["name"].as_str()?.to_string(), Member { id, direct: direct.collect() }))
        };
        let ids: BTreeSet<&str> =
            list(&metadata["workspace_members"]).iter().filter_map(Value::as_str).collect();
        let own = list(&metadata["packages"])
            .iter()
            .filter(|p| p["id"].as_str().is_some_and(|id| ids.contains(id)));
        Ok(Graph {
            members: own.filter_map(member).collect(),
            packages: nodes.iter().filter_map(package).collect(),
        })
    }

    /// Names of all packages that a member's own code is built with, itself left out.
    fn closure(&self, member: &Member) -> BTreeSet<&str> {
        let mut seen = BTreeSet::from([member.id.as_str()]);
        let mut queue = vec![member.id.as_str()];
        while let Some(package) = queue.pop().and_then(|id| self.packages.get(id)) {
            queue.extend(package.needs.iter().map(String::as_str).filter(|id| seen.insert(id)));
        }
        seen.remove(member.id.as_str());
        seen.into_iter().filter_map(|id| self.packages.get(id)).map(|package| package.name.as_str()).collect()
    }

    fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, member) in &self.members {
            let needs = self.closure(member);
            let mut refuse = |banned: &[&str], why: &str| {
                let hits = banned.iter().filter(|banned| needs.contains(**banned));
                found.extend(hits.map(|hit| format!("{name} is built with {hit}: {why}")));
            };
            match name.as_str() {
                "minicube" => {
                    refuse(&SYSTEM, "minicube needs no system library");
                    refuse(&NETWORK, "minicube opens no socket");
                }
                "xtask" => {
                    refuse(&SYSTEM, "xtask starts on a bare machine");
                    refuse(&NETWORK, "xtask opens no socket");
                    let members: Vec<_> = self.members.keys().map(String::as_str).collect();
                    refuse(&members, "xtask runs the stages, it does not link them");
                }
                _ => {}
            }
            if name != "x5-dl" && !needs.contains("x5-dl") {
                refuse(&["burn", "burn-core"], "only x5-dl, and what depends on it, knows burn");
            }
            if is_numbered(name) {
                let others = member.direct.iter().filter(|other| is_numbered(other));
                found.extend(
                    others.map(|other| format!("{name} lists {other}: stages meet in files, never in code")),
                );
                if needs.contains("testworld") {
                    found.push(format!("{name} is built with testworld: only its tests may use it"));
                }
            }
        }
        found
    }
}

/// `x1-sampler` … `x5-dl`.
fn is_numbered(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next() == Some('x')
        && letters.next().is_some_and(|c| c.is_ascii_digit())
        && letters.next() == Some('-')
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Files that git tracks or would track.
fn tracked_files() -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.current_dir(root()).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let output = git.output().context("git ls-files")?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|file| *file != "Cargo.lock")
        .map(String::from)
        .collect())
}

fn forbidden(file: &str, text: &str) -> Vec<String> {
    let numbered = text.lines().enumerate();
    let hits = numbered.flat_map(|(number, line)| {
        let found = FORBIDDEN.iter().filter(move |(word, _)| line.contains(word));
        found.map(move |(word, why)| format!("{file}:{}: {word}: {why}", number + 1))
    });
    hits.collect()
}

/// Printing outside minicube::run, main.rs and xtask.
fn prints(file: &str, text: &str) -> Vec<String> {
    // A build script talks to cargo by printing.
    let speaks = ["src/main.rs", "build.rs"].iter().any(|name| file.ends_with(name));
    let allowed = file.starts_with("xtask/") || file.starts_with("minicube/src/run") || speaks;
    if allowed || is_test(file) {
        return Vec::new();
    }
    let code = text.lines().enumerate().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
    let calls = code.filter(|(_, line)| {
        let code = line.trim_start();
        !code.starts_with("//") && ["println!(", "print!("].iter().any(|call| code.contains(call))
    });
    calls
        .map(|(number, _)| format!("{file}:{}: only minicube::run, main.rs and xtask print", number + 1))
        .collect()
}

fn is_test(file: &str) -> bool {
    ["/tests/", "/benches/", "/examples/"].iter().any(|folder| file.contains(folder))
        || file.ends_with("/testing.rs")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// x4-level2 lists x3-level1; minicube reaches gdal through a helper; csp has burn through x5-dl, which is fine.
    fn sick_workspace() -> Value {
        let package = |name: &str, lists: &[&str]| {
            let listed: Vec<_> = lists.iter().map(|other| json!({"name": other})).collect();
            json!({"id": name, "name": name, "dependencies": listed})
        };
        let node = |name: &str, needs: &[&str]| {
            let deps: Vec<_> =
                needs.iter().map(|n| json!({"pkg": n, "dep_kinds": [{"kind": null}]})).collect();
            json!({"id": name, "deps": deps})
        };
        json!({
            "workspace_members": ["minicube", "x3-level1", "x4-level2", "x5-dl", "csp"],
            "packages": [
                package("minicube", &["helper"]), package("helper", &["gdal"]), package("gdal", &[]),
                package("x3-level1", &[]), package("x4-level2", &["x3-level1"]),
                package("x5-dl", &["burn"]), package("burn", &[]), package("csp", &["x5-dl"]),
            ],
            "resolve": {"nodes": [
                node("minicube", &["helper"]), node("helper", &["gdal"]), node("gdal", &[]),
                node("x3-level1", &[]), node("x4-level2", &["x3-level1"]),
                node("x5-dl", &["burn"]), node("burn", &[]), node("csp", &["x5-dl"]),
            ]}
        })
    }

    #[test]
    fn broken_invariants_are_found() {
        let violations = Graph::from_metadata(&sick_workspace()).unwrap().violations();
        assert_eq!(violations.len(), 2, "{violations:?}");
        assert!(violations[0].starts_with("minicube is built with gdal"));
        assert!(violations[1].starts_with("x4-level2 lists x3-level1"));
    }

    #[test]
    fn development_dependencies_do_not_count_as_built() {
        let mut metadata = sick_workspace();
        metadata["resolve"]["nodes"][0]["deps"][0]["dep_kinds"][0]["kind"] = json!("dev");
        let violations = Graph::from_metadata(&metadata).unwrap().violations();
        assert!(!violations.iter().any(|v| v.starts_with("minicube")), "{violations:?}");
    }

    #[test]
    fn what_must_not_be_held_is_found() {
        let text = concat!("let a = env!(\"CARGO_", "MANIFEST_DIR\");\nlet b = env!(\"CARGO_PKG_NAME\");\n");
        let found = forbidden("x1-sampler/tests/a.rs", text);
        assert!(found.len() == 1 && found[0].starts_with("x1-sampler/tests/a.rs:1: "), "{found:?}");
    }

    #[test]
    fn printing_in_a_library_is_found() {
        let text =
            "fn f() {\n    println!(\"x\");\n}\n#[cfg(test)]\nmod tests { fn g() { println!(\"y\"); } }\n";
        assert_eq!(prints("x1-sampler/src/strata.rs", text).len(), 1);
        assert_eq!(prints("x1-sampler/src/main.rs", text).len(), 0);
        assert_eq!(prints("x1-sampler/tests/run.rs", text).len(), 0);
    }
}
