//! The downloader against a server that fails: the raw store must be, byte for byte, that of a server that does not,
//! but for the file that is gone, and the ledger must say so; and killed twenty times at random instants, what is
//! fetched again. One JSON object a line; what the peers make of the same server is in `xtask/peers/bench_faults.py`.
//!
//! `BENCH_EARTH` is a `testworld serve` with faults, `BENCH_EARTH_GOOD` one without.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{BANDS, Result, SECOND, WINDOW, counted, earth, stats};
use minicube::run::Ctx;
use minicube::sha256_file;
use serde_json::{Value, json};
use x2_downloader::{Download, Mode, Plan, SasConfig};

/// The file that the server with faults has not.
const GONE: &str = "S2A_35KMQ_20210126_0_L2A/red.tif";
const KILLS: usize = 20;

fn main() -> Result<()> {
    let bad = earth()?;
    let good = std::env::var("BENCH_EARTH_GOOD").map_err(|_| "BENCH_EARTH_GOOD: expected an address")?;
    let folder = tempfile::tempdir()?;
    let clock = Instant::now();
    let calm = plan(&good, &folder.path().join("calm"), false)?;
    x2_downloader::run(&calm, &Ctx::quiet(2), false)?;
    let calm_seconds = clock.elapsed().as_secs_f64();
    let expected = files(&calm.project.raw())?;

    let rough = plan(&bad, &folder.path().join("rough"), true)?;
    let (before, clock) = (stats(&bad)?, Instant::now());
    x2_downloader::run(&rough, &Ctx::quiet(2), false)?;
    let seconds = clock.elapsed().as_secs_f64();
    let faults = counted(&before, &stats(&bad)?, "faults");
    let found = files(&rough.project.raw())?;
    let gone = |name: &str| name.ends_with(GONE);
    let differing =
        expected.iter().filter(|(name, hash)| !gone(name) && found.get(*name) != Some(hash)).count();
    let stray = found.keys().filter(|name| !expected.contains_key(*name) || gone(name)).count();
    let failed = failures(&rough.project.raw())?;
    let explained = failed.len() == 1 && failed[0].contains(GONE.split('/').next().unwrap_or_default());
    let note = format!(
        "{} files, {faults:.0} faults met; in the ledger as failed: {}",
        expected.len(),
        failed.join("; ")
    );
    line("faults_differing_files", (differing + stray) as f64, "files", &note);
    line("faults_unexplained_gaps", f64::from(u8::from(!explained)), "gaps", &note);
    line("faults_seconds", seconds, "s", &format!("{calm_seconds:.1} s without faults"));
    killed(&good, folder.path())
}

/// Twenty dates of four bands, with the classification; the server with faults wants its addresses signed.
fn plan(earth: &str, dir: &Path, signed: bool) -> Result<Plan> {
    common::plan_of(&section(earth, signed)?, dir, common::locations(&[WINDOW]))
}

fn section(earth: &str, signed: bool) -> Result<Download> {
    let sas =
        SasConfig { token: format!("{earth}/sas/token/{{collection}}"), hosts: vec!["127.0.0.1".into()] };
    Ok(Download {
        stac: format!("{earth}/stac"),
        assets: BANDS.map(str::to_owned).to_vec(),
        max_cloud_cover: 100.0,
        skip_cloudy_blocks: false,
        days: Some([common::day(2021, 1, 1)?, common::day(2021, 4, 10)?]),
        stall_s: 2.0,
        mode: Mode::Blocks,
        sas: signed.then_some(sas),
        ..Download::default()
    })
}

/// SHA-256 of every raster below `raw/` by relative path.
fn files(raw: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for scene in common::scenes(raw)? {
        for file in fs::read_dir(scene)? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension != "json") {
                let name = path.strip_prefix(raw)?.to_string_lossy().into_owned();
                found.insert(name, sha256_file(&path)?);
            }
        }
    }
    Ok(found)
}

/// Items and reasons of the rows that failed.
fn failures(raw: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for part in fs::read_dir(raw.join(".ledger/s2").join(common::TILE))? {
        let path = part?.path();
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        for row in fs::read_to_string(path)?.lines().skip(1) {
            let row: Value = serde_json::from_str(row)?;
            if row["status"] == "failed" {
                let word = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
                found.push(format!("{} {}", word("item"), word("reason")));
            }
        }
    }
    Ok(found)
}

/// Kills the binary at random instants of a year of two windows, then lets it end. Counted is what arrived, which the
/// downloader keeps across kills, and what the server handed to its connections, whether or not anybody read it.
fn killed(earth: &str, folder: &Path) -> Result<()> {
    let section = Download { days: None, ..section(earth, false)? };
    let windows = common::locations(&[WINDOW, SECOND]);
    let whole = common::plan_of(&section, &folder.join("whole"), windows.clone())?;
    let clock = Instant::now();
    x2_downloader::run(&whole, &Ctx::quiet(2), false)?;
    let seconds = clock.elapsed().as_secs_f64();
    let expected = files(&whole.project.raw())?;

    let dir = folder.join("killed");
    common::plan_of(&section, &dir, windows)?;
    let config = dir.join("project.toml");
    let text = format!(
        "[project]\nname = \"bench\"\ndir = {dir:?}\nyears = [2021, 2021]\nseed = 42\n[download]\nstac = \"{earth}/stac\"\n\
         assets = [\"blue\", \"green\", \"red\", \"nir\"]\nmax_cloud_cover = 100.0\nskip_cloudy_blocks = false\n\
         mode = \"blocks\"\n"
    );
    fs::write(&config, text)?;
    let binary = binary()?;
    let command = || {
        let mut command = Command::new(&binary);
        command.args(["run", "--quiet", "--config"]).arg(&config).stdout(Stdio::null());
        command
    };
    let before = stats(earth)?;
    let mut state = 2_021_u64;
    let mut hits = 0;
    for _ in 0..KILLS {
        // Lehmer's generator: up to a fifteenth of a whole run.
        state = state * 48_271 % 2_147_483_647;
        let share = state as f64 / 2_147_483_647.0 / 15.0;
        let mut child = command().spawn()?;
        std::thread::sleep(Duration::from_secs_f64(0.05 + share * seconds));
        hits += usize::from(child.try_wait()?.is_none());
        child.kill()?;
        child.wait()?;
    }
    let status = command().status()?;
    let after = stats(earth)?;
    let raw = dir.join("raw");
    let same = status.success() && files(&raw)? == expected;
    let needed = received(&whole.project.raw())?;
    let percent = |bytes: f64| (bytes / needed - 1.0) * 100.0;
    let note = format!("{hits} of {KILLS} kills hit a run that receives {:.0} MB", needed / 1e6);
    line("faults_killed_differing", f64::from(u8::from(!same)), "stores", &note);
    line(
        "faults_killed_received_again",
        percent(received(&raw)?),
        "%",
        &format!("{note}; bytes that arrived"),
    );
    let sent = counted(&before, &after, "sent_bytes");
    line(
        "faults_killed_sent_again",
        percent(sent),
        "%",
        &format!("{note}; bytes that left the server, read or not"),
    );
    Ok(())
}

/// Bytes that all runs of a project received.
fn received(raw: &Path) -> Result<f64> {
    let bytes = fs::read(raw.join(".ledger/received"))?;
    let bytes = bytes.try_into().map_err(|_| "expected eight bytes of received")?;
    Ok(u64::from_le_bytes(bytes) as f64)
}

/// The stage's binary, beside this example's folder.
fn binary() -> Result<PathBuf> {
    let me = std::env::current_exe()?;
    let folder = me.parent().and_then(Path::parent).ok_or("no folder above the examples")?;
    Ok(folder.join("x2-downloader"))
}

fn line(name: &str, ours: f64, unit: &str, note: &str) {
    println!("{}", json!({"name": name, "ours": ours, "unit": unit, "note": note}));
}
