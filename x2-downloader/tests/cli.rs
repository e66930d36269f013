//! The binary: killed at random instants, and given nonsense.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod common;

use std::fs;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use common::earth::{CELLS, CENTER, TILE, TinyEarth, section};
use common::server::TestServer;
use common::{TestProject, assert_same, ledger};
use minicube::testing::{kib_on_disk, on_full_disk};

fn command(verb: &str, project: &TestProject) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_x2-downloader"));
    command.args([verb, "--config"]).arg(project.config());
    command
}

fn run(verb: &str, project: &TestProject) -> Output {
    command(verb, project).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A run that is killed eight times, each time a little later, ends in the same bytes as one that is not; and no file
/// is ever half there.
#[test]
fn killed_and_resumed_the_bytes_are_the_same() {
    let earth = TinyEarth::new(5);
    let server = TestServer::start(move |base, request| {
        std::thread::sleep(Duration::from_millis(40));
        earth.answer(base, request)
    });
    let one_connection = format!("{}\nconnections = 2", section(&server.base));
    let whole = TestProject::new(TILE, CENTER, &CELLS, &one_connection);
    let clock = Instant::now();
    assert!(run("run", &whole).status.success());
    let (full, requests) = (clock.elapsed(), server.requests());
    let expected = whole.data();

    let killed = TestProject::new(TILE, CENTER, &CELLS, &one_connection);
    let mut seed = 88_172_645_463_325_252_u64;
    let mut in_flight = 0;
    for _ in 0..8 {
        // Marsaglia's xorshift: kill points between 3 % and 18 % of a whole run.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let share = 0.03 + (seed % 1000) as f64 / 6700.0;
        let mut child = command("run", &killed).stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(full.mul_f64(share));
        in_flight += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        for (name, bytes) in killed.data().iter().filter(|(name, _)| !name.ends_with(".partial")) {
            assert!(bytes == &expected[name], "{name} was half there");
        }
    }
    assert!(in_flight >= 5, "only {in_flight} kills hit a run");
    let output = run("run", &killed);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_same(&expected, &killed.data());
    assert_eq!(ledger(&whole.raw()), ledger(&killed.raw()));
    // Each kill loses at most what is in flight: headers and ranges of two connections.
    let extra = server.requests() - 2 * requests;
    assert!(extra <= 8 * 12, "{extra} requests more than needed, of {requests}");
    assert!(run("verify", &killed).status.success());
}

/// Whole files and cut ones: the disk is full in either, and the run goes on to the same bytes.
#[test]
fn a_full_disk_is_told_and_the_run_goes_on_to_the_same_bytes() {
    let mut earth = TinyEarth::new(3);
    let noise = (0..100_000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    earth.files.insert("/dem/a.tif".into(), noise);
    let server = TestServer::start(move |base, request| earth.answer(base, request));
    let dem = format!("dem = [\"{}/dem/a.tif\"]", server.base);
    let whole_files = format!("{}\n{dem}", section(&server.base).replace("[\"red\", \"nir08\"]", "[]"));
    let cut_files = section(&server.base);
    for download in [&whole_files, &cut_files] {
        let project = TestProject::new(TILE, CENTER, &CELLS, download);
        assert!(run("run", &project).status.success());
        let expected = project.data();
        let whole = kib_on_disk(&project.raw()).unwrap();
        // 400 000 bytes are 98 pages of 4 KiB: the last of them has no room.
        let rooms =
            if download == &whole_files { vec![97 * 4, 40] } else { vec![4, whole / 3, whole * 3 / 4] };
        for room in rooms {
            let Some(disk) = on_full_disk(&project.raw(), room, &command("run", &project)).unwrap() else {
                println!("skipped: nobody may mount a disk here");
                return;
            };
            let error = disk.assert_told();
            assert!(download == &cut_files || error.contains("dem/a.tif"), "{error}");
            disk.assert_whole(&[".ledger", "ledger.parquet"]).unwrap();
            assert_same(&expected, &project.data());
            assert!(run("verify", &project).status.success());
        }
    }
}

#[test]
fn plan_and_status_tell_before_and_after() {
    let earth = TinyEarth::new(3);
    let server = TestServer::start(move |base, request| earth.answer(base, request));
    let project = TestProject::new(TILE, CENTER, &CELLS, &section(&server.base));
    let status = run("status", &project);
    assert_eq!(status.status.code(), Some(2));
    assert!(text(&status.stderr).contains("nothing was downloaded"));
    // Of red three blocks and a cloudy one, of nir08 two (one of them absent in the archive) and a cloudy one, three of
    // scl; three scenes.
    let mut exact = command("plan", &project);
    let plan = text(&exact.arg("--exact").output().unwrap().stdout);
    assert!(plan.contains("35KMQ") && plan.contains("24 blocks"), "{plan}");
    assert!(!project.data().keys().any(|name| name.ends_with("red.tif")), "a plan fetches no bands");
    let after_plan = server.requests();
    assert!(run("run", &project).status.success());
    let notes: serde_json::Value =
        serde_json::from_slice(&fs::read(project.raw().join("run.json")).unwrap()).unwrap();
    let (planned, received) = (
        notes["notes"]["planned_bytes"].as_f64().unwrap(),
        notes["notes"]["received_ever_bytes"].as_f64().unwrap(),
    );
    // The pages of the search are no part of the plan.
    let pages = received - planned;
    assert!(pages > 0.0 && pages < 8000.0, "planned {planned}, received {received}");
    // Three ranges of red and one of nir08 a scene are left: no page, directory or classification is asked for twice.
    assert_eq!(server.requests() - after_plan, 3 * 4, "{:?}", &server.log()[after_plan..]);
    let status = run("status", &project);
    let said = text(&status.stdout);
    assert!(said.contains("skipped_cloudy") && said.contains("superseded"), "{said}");
    assert!(status.status.success() && !said.contains("not fetched yet"), "{said}");
    fs::remove_file(project.raw().join(format!(".ledger/s2/{TILE}/S2A_35KMQ_20210111_0_L2A.jsonl"))).unwrap();
    let status = run("status", &project);
    assert_eq!(status.status.code(), Some(1));
    assert!(
        text(&status.stdout).contains("35KMQ: 1 of 3 scenes are not fetched yet"),
        "{}",
        text(&status.stdout)
    );
}

#[test]
fn nonsense_ends_with_code_2_an_error_and_a_hint() {
    let earth = TinyEarth::new(0);
    let server = TestServer::start(move |base, request| earth.answer(base, request));
    let cases = [
        ("max_cloud_cver = 3", "unknown key `max_cloud_cver`", "max_cloud_cover"),
        (
            "max_cloud_cover = 300.0\nconnections = 0",
            "max_cloud_cover: expected 0 to 100, found 300; connections",
            "config.toml",
        ),
        ("stac = \"earth-search\"", "stac: expected an http(s) address, found `earth-search`", "config.toml"),
        ("dem = [\"no/such.tif\"]", "dem: no file no/such.tif", "config.toml"),
        ("assets = [\"../red\"]", "assets: expected an asset key, found `../red`", "config.toml"),
        (&section(&server.base), "no scenes of sentinel-2-l2a from 2021-01-01 to 2021-12-31", "years"),
        (
            "stac = \"http://127.0.0.1:9/v1\"\nretries = 0",
            "search of tile 35KMQ failed: http://127.0.0.1:9/v1/search",
            "network",
        ),
    ];
    for (download, error, hint) in cases {
        let project = TestProject::new(TILE, CENTER, &CELLS, download);
        let output = run("run", &project);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        let line = stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
        assert!(line.contains(error), "{error}: {stderr}");
        assert!(stderr.lines().any(|line| line.starts_with("hint: ") && line.contains(hint)), "{stderr}");
    }
    let project = TestProject::new(TILE, CENTER, &CELLS, "");
    fs::remove_file(project.folder.path().join("data/sampler/locations.parquet")).unwrap();
    let stderr = text(&run("run", &project).stderr);
    assert!(stderr.contains("locations.parquet") && stderr.contains("hint: "), "{stderr}");
}
