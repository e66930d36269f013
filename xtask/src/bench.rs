//! `cargo xtask bench`: ours beside a peer's, on this machine, alternating; one JSON object a line.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::Value;

use crate::demo::{regions, run_regions};
use crate::failure::fail;
use crate::interop::compare_with_truth;
use crate::skill::{skill, skill_project};
use crate::workspace::{build_binaries, cargo, root, run as run_command, target_dir};
use crate::world::World;
use crate::{python, report, setup};

/// Port of the bench's synthetic Earth, and of one without faults beside it.
const PORT: u16 = 8937;
const GOOD_PORT: u16 = 8938;

/// Flags of `bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Benches to run; all where none is named
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(["chain", "cog", "csp", "explain", "faults", "infer", "level1", "level2", "loader", "sampler", "scores", "skill", "softdtw", "train", "zarr"]))]
    names: Vec<String>,
    /// Also write the lines to a file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Rounds; ours and the peer's alternate, the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// A crate's `examples/bench_<name>.rs`, beside `xtask/peers/bench_<name>.py` where a peer exists.
struct Duel {
    name: &'static str,
    package: &'static str,
    /// Flags of the synthetic Earth that both sides read from, at the address in `BENCH_EARTH`.
    earth: Option<&'static [&'static str]>,
    /// Whether there is one without faults as well, at the address in `BENCH_EARTH_GOOD`.
    good_earth: bool,
    /// The side that makes what both sides read, and so goes first. It lies in the folder `BENCH_FOLDER`.
    first: First,
}

#[derive(Clone, Copy, PartialEq)]
enum First {
    Ours,
    Peer,
}

/// Every way in which a server fails, and one file that it has lost.
const FAULTS: &str = "503=0.05,429=0.02,truncate=0.01,stall=0.01,corrupt=0.01,page2_500=1,stall_s=30,token_s=60,\
                      gone=S2A_35KMQ_20210126_0_L2A/red.tif";

const DUELS: [Duel; 11] = [
    Duel {
        name: "cog",
        package: "x2-downloader",
        earth: Some(&["--latency-ms", "30", "--fill", "--memory-mb", "1024"]),
        good_earth: false,
        first: First::Ours,
    },
    Duel { name: "csp", package: "csp", earth: None, good_earth: false, first: First::Ours },
    Duel {
        name: "faults",
        package: "x2-downloader",
        earth: Some(&["--fill", "--faults", FAULTS]),
        good_earth: true,
        first: First::Ours,
    },
    Duel { name: "infer", package: "x5-dl", earth: None, good_earth: false, first: First::Ours },
    Duel { name: "level1", package: "x3-level1", earth: None, good_earth: false, first: First::Ours },
    Duel { name: "level2", package: "x4-level2", earth: None, good_earth: false, first: First::Ours },
    Duel { name: "sampler", package: "x1-sampler", earth: None, good_earth: false, first: First::Ours },
    Duel { name: "scores", package: "x5-dl", earth: None, good_earth: false, first: First::Peer },
    Duel { name: "softdtw", package: "csp", earth: None, good_earth: false, first: First::Ours },
    Duel { name: "train", package: "x5-dl", earth: None, good_earth: false, first: First::Ours },
    Duel { name: "zarr", package: "minicube", earth: None, good_earth: false, first: First::Peer },
];

/// One result. `ratio` is ours / peer of a cost: below 1 we are cheaper.
#[derive(Serialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) ours: Option<f64>,
    pub(crate) peer: Option<f64>,
    pub(crate) ratio: Option<f64>,
    pub(crate) unit: String,
    pub(crate) note: String,
}

/// Runs `bench`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup::ensure(false)?;
    let wanted = |name: &str| args.names.is_empty() || args.names.iter().any(|n| n == name);
    let create = |path: &PathBuf| fs::File::create(path).with_context(|| path.display().to_string());
    let mut file = args.json.as_ref().map(create).transpose()?;
    let mut lines: Vec<Line> = Vec::new();
    // Told at once: what one bench has measured is not lost where the next one fails.
    let mut tell = |found: Vec<Line>| -> Result<()> {
        for line in &found {
            let json = serde_json::to_string(line)?;
            println!("{json}");
            if let Some(file) = &mut file {
                writeln!(file, "{json}")?;
            }
        }
        lines.extend(found);
        Ok(())
    };
    for duel in DUELS.iter().filter(|duel| wanted(duel.name)) {
        eprintln!("── {}", duel.name);
        tell(duel.fight(args.rounds)?)?;
    }
    if wanted("chain") {
        eprintln!("── chain");
        tell(chain()?)?;
    }
    // The longest by far: only where it is asked for.
    if args.names.iter().any(|name| name == "skill") {
        eprintln!("── skill");
        tell(skill()?)?;
    }
    if args.names.iter().any(|name| name == "explain") {
        eprintln!("── explain");
        tell(explain()?)?;
    }
    if args.names.iter().any(|name| name == "loader") {
        eprintln!("── loader");
        tell(loader()?)?;
    }
    println!();
    report::print_table(
        &["bench", "unit", "ours", "peer", "ratio"],
        &lines.iter().map(Line::cells).collect::<Vec<_>>(),
    );
    Ok(ExitCode::SUCCESS)
}

impl Line {
    fn cells(&self) -> Vec<String> {
        let number = |value: Option<f64>| value.map_or("–".to_string(), |v| format!("{v:.4}"));
        let ours = number(self.ours);
        vec![self.name.clone(), self.unit.clone(), ours, number(self.peer), number(self.ratio)]
    }
}

/// Measurements of one side, by name.
#[derive(Default)]
struct Side {
    values: BTreeMap<String, Vec<f64>>,
    /// Unit and note as the first line of a name gave them.
    words: BTreeMap<String, (String, String)>,
}

impl Duel {
    fn fight(&self, rounds: usize) -> Result<Vec<Line>> {
        let binary = example(self.name, self.package)?;
        let script = root().join("xtask/peers").join(format!("bench_{}.py", self.name));
        let good = self.good_earth.then(|| earth(GOOD_PORT, &["--fill"])).transpose()?;
        let earth = self.earth.map(|flags| earth(PORT, flags)).transpose()?;
        let folder = target_dir()?.join("bench").join(self.name);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let (mut ours, mut peer) = (Side::default(), Side::default());
        for _ in 0..rounds.max(1) {
            let mut command = Command::new(&binary);
            let own = on(&earth, &good, command.env("BENCH_FOLDER", &folder));
            if self.first == First::Ours {
                ours.add(own, "ours")?;
            }
            if script.is_file() {
                let mut script = python::script(&script, &script)?;
                peer.add(on(&earth, &good, script.env("BENCH_FOLDER", &folder)), "peer")?;
            }
            if self.first == First::Peer {
                ours.add(own, "ours")?;
            }
        }
        ensure!(!ours.values.is_empty(), "bench_{} printed no result", self.name);
        Ok(ours.against(&peer))
    }
}

/// A synthetic Earth that keeps its files on disk from one bench to the next.
fn earth(port: u16, flags: &[&str]) -> Result<World> {
    let folder = target_dir()?.join(format!("bench-earth-{port}"));
    let cache = target_dir()?.join("bench-earth/cache").display().to_string();
    World::start(&build_binaries()?, port, &folder, &[flags, &["--cache", &cache]].concat())
}

/// Tells a side where the Earth is, if there is one.
fn on<'a>(earth: &Option<World>, good: &Option<World>, command: &'a mut Command) -> &'a mut Command {
    for (name, world, port) in [("BENCH_EARTH", earth, PORT), ("BENCH_EARTH_GOOD", good, GOOD_PORT)] {
        if world.is_some() {
            command.env(name, format!("http://127.0.0.1:{port}"));
        }
    }
    command
}

/// What a command prints.
fn text_of(command: &mut Command) -> Result<String> {
    let output = command.current_dir(root()).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("{command:?}: could not start"))?;
    ensure!(output.status.success(), "{command:?} ended with {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Side {
    /// Runs a command and collects its JSON lines; the value stands under `key`.
    fn add(&mut self, command: &mut Command, key: &str) -> Result<()> {
        self.read(&text_of(command)?, key)
    }

    fn read(&mut self, text: &str, key: &str) -> Result<()> {
        for line in text.lines().filter(|line| line.starts_with('{')) {
            let value: Value = serde_json::from_str(line).with_context(|| line.to_string())?;
            let name = value["name"].as_str().with_context(|| format!("no name in {line}"))?.to_string();
            let number = value[key].as_f64().with_context(|| format!("no {key} in {line}"))?;
            let word = |field: &str| value[field].as_str().unwrap_or_default().to_string();
            self.words.entry(name.clone()).or_insert_with(|| (word("unit"), word("note")));
            self.values.entry(name).or_default().push(number);
        }
        Ok(())
    }

    fn against(&self, other: &Side) -> Vec<Line> {
        let line = |(name, values): (&String, &Vec<f64>)| {
            let ours = median(values);
            let peer = other.values.get(name).map(|values| median(values));
            let (unit, note) = self.words.get(name).cloned().unwrap_or_default();
            let ratio = peer.map(|peer| ours / peer).filter(|ratio| ratio.is_finite());
            Line { name: name.clone(), ours: Some(ours), peer, ratio, unit, note }
        };
        let mut lines: Vec<Line> = self.values.iter().map(line).collect();
        // What only the peer measures, as how it fails.
        let alone = other.values.iter().filter(|(name, _)| !self.values.contains_key(*name));
        lines.extend(alone.map(|(name, values)| {
            let (unit, note) = other.words.get(name).cloned().unwrap_or_default();
            Line { name: name.clone(), ours: None, peer: Some(median(values)), ratio: None, unit, note }
        }));
        lines
    }
}

/// Reading of samples beside training, on what the bench of skill has left.
fn loader() -> Result<Vec<Line>> {
    let project = skill_project()?;
    let mut ours = Side::default();
    ours.add(Command::new(example("loader", "x5-dl")?).env("BENCH_PROJECT", project), "ours")?;
    Ok(ours.against(&Side::default()))
}

/// The explanation of a forecaster beside that of the true vegetation, on what the bench of skill has left.
fn explain() -> Result<Vec<Line>> {
    let project = skill_project()?;
    let (mut ours, mut truth) = (Side::default(), Side::default());
    let mut command = Command::new(example("explain", "csp")?);
    let told = text_of(command.env("BENCH_PROJECT", project))?;
    ours.read(&told, "ours")?;
    truth.read(&told, "peer")?;
    Ok(ours.against(&truth))
}

/// Builds a bench's own side.
fn example(name: &str, package: &str) -> Result<PathBuf> {
    let example = format!("bench_{name}");
    let arguments = ["build", "--workspace", "--example", &example, "--locked"];
    run_command(cargo().args(arguments), "cargo build --example")
        .map_err(|error| fail(format!("{error:#}"), format!("{package}/examples/{example}.rs")))?;
    Ok(target_dir()?.join("debug/examples").join(example))
}

/// The demo's stages from nothing: seconds and peak memory of each.
fn chain() -> Result<Vec<Line>> {
    let out = target_dir()?.join("bench-chain");
    remove(&out)?;
    fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    let regions = regions(&["africa".to_string(), "europe".to_string()], PORT, &out)?;
    let bins = build_binaries()?;
    let done = run_regions(&regions, &bins, PORT, &out, &[])?;
    regions.iter().try_for_each(|region| compare_with_truth(&bins, &region.folder))?;
    let mut lines = Vec::new();
    for (region, row) in &done.rows {
        let note = format!("{} items, {}", row.items, report::bytes(row.bytes));
        let line = |what: &str, ours: f64, unit: &str| Line {
            name: format!("chain/{region}/{}/{what}", row.stage),
            ours: Some(ours),
            peer: None,
            ratio: None,
            unit: unit.to_string(),
            note: note.clone(),
        };
        lines.push(line("wall", row.seconds, "s"));
        lines.push(line("peak memory", row.peak_rss_bytes as f64 / 1e6, "MB"));
    }
    let total: f64 = done.rows.iter().map(|(_, row)| row.seconds).sum();
    let note = "both regions, after the build".to_string();
    lines.push(Line {
        name: "chain/total/wall".into(),
        ours: Some(total),
        peer: None,
        ratio: None,
        unit: "s".into(),
        note,
    });
    remove(&out)?;
    Ok(lines)
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context(folder.display().to_string())
        }
        _ => Ok(()),
    }
}

/// Middle value; mean of the two middle ones for an even count; NaN of none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_is_ours_over_peers_median() {
        let (mut ours, mut peer) = (Side::default(), Side::default());
        ours.read(
            "{\"name\":\"a\",\"ours\":2,\"unit\":\"s\",\"note\":\"n\"}\nnoise\n{\"name\":\"b\",\"ours\":1}",
            "ours",
        )
        .unwrap();
        for value in [9.0, 4.0, 3.0] {
            peer.read(&format!("{{\"name\":\"a\",\"peer\":{value}}}"), "peer").unwrap();
        }
        let lines = ours.against(&peer);
        assert_eq!((lines[0].ratio, lines[0].unit.as_str()), (Some(0.5), "s"));
        assert_eq!(lines[1].ratio, None);
    }

    #[test]
    fn median_of_an_even_count() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
    }
}
