//! Signatures, redirects, limits, and transfers that go on where they stopped.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod common;

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::cog::Image;
use common::earth::{CELLS, CENTER, TILE, TinyEarth, section};
use common::server::{Response, TestServer};
use common::{TestProject, assert_same, ledger};
use minicube::Tile;

fn serve(earth: TinyEarth) -> TestServer {
    TestServer::start(move |base, request| earth.answer(base, request))
}

fn all_files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(all_files(&path)) } else { found.push(path) }
    }
    found
}

/// The server takes a token seven times and then wants another one. Only rasters are signed, and no file knows a token.
#[test]
fn signatures_are_renewed_and_written_nowhere() {
    const USES: usize = 7;
    let earth = TinyEarth::new(2);
    let plain = serve(earth.clone());
    let expected = TestProject::new(TILE, CENTER, &CELLS, &section(&plain.base));
    expected.run();

    let (tokens, uses) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    let given = Arc::clone(&tokens);
    let signed = TestServer::start(move |base, request| {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        match path {
            "/sas/sentinel-2-l2a" => {
                let number = given.fetch_add(1, Ordering::SeqCst) + 1;
                uses.store(0, Ordering::SeqCst);
                let answer = serde_json::json!({"msft:expiry": "2999-01-01T00:00:00Z", "token": format!("sig=s3cret{number}")});
                Response::ok(answer.to_string())
            }
            path if path.starts_with("/cogs/") => {
                let is_valid = query == format!("sig=s3cret{}", given.load(Ordering::SeqCst));
                if !is_valid || uses.fetch_add(1, Ordering::SeqCst) >= USES {
                    return Response::status(403);
                }
                earth.answer(base, &common::server::Request { target: path.to_owned(), ..request.clone() })
            }
            _ => {
                // Rasters have another name of this machine than the catalogue.
                let elsewhere = base.replace("127.0.0.1", "localhost");
                let answer = earth.answer(&elsewhere, request);
                let page = String::from_utf8(answer.body).unwrap();
                let page = page.replace(&format!("{elsewhere}/cogs"), &format!("{base}/cogs"));
                Response { body: page.into_bytes(), ..answer }
            }
        }
    });
    let elsewhere = signed.base.replace("127.0.0.1", "localhost");
    let project = TestProject::new(TILE, CENTER, &CELLS, "");
    project.set_download(&format!(
        "{}\nconnections = 2\nsas = {{ token = \"{}/sas/{{collection}}\", hosts = [\"127.0.0.1\"] }}",
        section(&signed.base).replace(&format!("{}/stac", signed.base), &format!("{elsewhere}/stac")),
        signed.base
    ));
    // The items' addresses are of 127.0.0.1, which a catalogue on `localhost` must be allowed to name.
    let refused = project.run();
    assert!(refused.code() == 1 && refused.text().contains("refused to ask 127.0.0.1"), "{}", refused.text());
    let text = fs::read_to_string(project.config()).unwrap() + "hosts = [\"127.0.0.1\"]\n";
    fs::write(project.config(), text).unwrap();
    let finish = project.run();
    assert_eq!(finish.code(), 0, "{}", finish.text());
    assert_same(&expected.data(), &project.data());
    assert!(tokens.load(Ordering::SeqCst) >= 2, "the first token was used up");
    let log = signed.log();
    let is_signed = |target: &str| target.contains("sig=");
    assert!(log.iter().all(|request| is_signed(&request.target) == request.target.starts_with("/cogs/")));
    for file in all_files(project.folder.path()) {
        let bytes = fs::read(&file).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"s3cret"), "{}", file.display());
    }
}

/// A bearer token and a login are for 127.0.0.1; a redirect leads to the same server under another name.
#[test]
fn a_redirect_to_another_host_carries_no_secret() {
    let earth = TinyEarth::new(1);
    let server = TestServer::start(move |base, request| {
        let port = base.rsplit(':').next().unwrap();
        match request.target.strip_prefix("/moved") {
            Some(target) => {
                earth.answer(base, &common::server::Request { target: target.to_owned(), ..request.clone() })
            }
            None if request.target.starts_with("/cogs/") => Response::status(307)
                .header("Location", &format!("http://localhost:{port}/moved{}", request.target)),
            None => earth.answer(base, request),
        }
    });
    let project = TestProject::new(TILE, CENTER, &CELLS, "");
    let netrc = project.folder.path().join("netrc");
    fs::write(&netrc, "machine 127.0.0.1 login me password s3cret\n").unwrap();
    let token = project.folder.path().join("token");
    fs::write(&token, "t0ken").unwrap();
    for (secret, expected) in [
        (format!("netrc = {netrc:?}"), "Basic bWU6czNjcmV0"),
        (format!("bearer = {{ host = \"127.0.0.1\", file = {token:?} }}"), "Bearer t0ken"),
    ] {
        let _ = fs::remove_dir_all(project.raw());
        project.set_download(&format!("{}\n{secret}", section(&server.base)));
        let asked = server.log().len();
        let finish = project.run();
        assert_eq!(finish.code(), 0, "{}", finish.text());
        let log = &server.log()[asked..];
        let (moved, direct): (Vec<_>, Vec<_>) =
            log.iter().partition(|request| request.target.starts_with("/moved"));
        assert!(moved.len() > 5 && moved.iter().all(|request| request.authorization.is_none()));
        assert!(direct.iter().all(|request| request.authorization.as_deref() == Some(expected)));
    }
}

/// A block of more than a megabyte of which the server sends half before the program is killed: the next run asks for
/// the other half.
#[test]
fn a_killed_run_goes_on_in_the_middle_of_a_block() {
    let mut earth = TinyEarth::new(1);
    let id = "S2A_35KMQ_20210101_0_L2A";
    let image = Image { predictor: 1, ..Image::of_tile(&Tile::from_id(TILE).unwrap(), 2196, 1024, 16) };
    earth.files.insert(
        format!("/cogs/{id}/red.tif"),
        image.write(|row, col| ((row * 7919 + col * 104_729).wrapping_mul(2_654_435_761) >> 13) as u16),
    );
    let plain = serve(earth.clone());
    let only_red = |base: &str| {
        section(base).replace("[\"red\", \"nir08\"]", "[\"red\"]")
            + "\nconnections = 1\nscl = false\nstall_s = 60.0"
    };
    let only_red = |base: &str| only_red(base).replace("\nstall_s = 5.0", "");
    let expected = TestProject::new(TILE, CENTER, &CELLS[2..], &only_red(&plain.base));
    assert_eq!(expected.run().code(), 0);

    let first = AtomicUsize::new(0);
    let server = TestServer::start(move |base, request| {
        let answer = earth.answer(base, request);
        let is_block = request.range.is_some_and(|(from, to)| to - from > 4096);
        if is_block && first.fetch_add(1, Ordering::SeqCst) == 0 {
            let cut = Some(answer.body.len() / 2);
            return Response { cut, hold: Duration::from_secs(60), ..answer };
        }
        answer
    });
    let project = TestProject::new(TILE, CENTER, &CELLS[2..], &only_red(&server.base));
    let command = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_x2-downloader"));
        command.args(["run", "--config"]).arg(project.config()).stdout(Stdio::null());
        command
    };
    let mut child = command().spawn().unwrap();
    let received = project.raw().join(".ledger/received");
    let count = || {
        fs::read(&received)
            .ok()
            .filter(|b| b.len() == 8)
            .map_or(0, |b| u64::from_le_bytes(b.try_into().unwrap()))
    };
    let clock = Instant::now();
    while count() < 700_000 && clock.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(300));
    child.kill().unwrap();
    child.wait().unwrap();
    let before = count();
    assert!(before > 700_000, "{before}");
    assert!(command().status().unwrap().success());
    assert_same(&expected.data(), &project.data());
    let block = fs::metadata(project.raw().join(format!("s2/{TILE}/20210101/{id}/red.tif"))).unwrap().len();
    let again = count() - block;
    assert!(again < 100_000, "{again} bytes more than the file's {block}, after {before}");
    let ranges: Vec<_> =
        server.log().into_iter().filter_map(|r| r.range).filter(|(from, to)| to - from > 4096).collect();
    assert_eq!(ranges.len(), 2, "{ranges:?}");
    assert!(ranges[1].0 > ranges[0].0 + 500_000 && ranges[1].1 == ranges[0].1, "{ranges:?}");
}

#[test]
fn one_host_is_not_asked_by_more_than_its_connections() {
    let earth = TinyEarth::new(3);
    let (now, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let server = TestServer::start(move |base, request| {
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(15));
        let answer = earth.answer(base, request);
        now.fetch_sub(1, Ordering::SeqCst);
        answer
    });
    let project = TestProject::new(
        TILE,
        CENTER,
        &CELLS,
        &format!("{}\nconnections_per_host = 2", section(&server.base)),
    );
    assert_eq!(project.run().code(), 0);
    assert_eq!(seen.load(Ordering::SeqCst), 2);
}

#[test]
fn a_raster_that_takes_too_long_is_left_for_a_later_run() {
    let earth = TinyEarth::new(1);
    let slow = Arc::new(AtomicUsize::new(1));
    let flag = Arc::clone(&slow);
    let server = TestServer::start(move |base, request| {
        if request.target.ends_with("red.tif") && flag.load(Ordering::SeqCst) == 1 {
            std::thread::sleep(Duration::from_secs(3));
        }
        earth.answer(base, request)
    });
    let project =
        TestProject::new(TILE, CENTER, &CELLS, &format!("{}\ndeadline_s = 1.0", section(&server.base)));
    assert_eq!(project.run().code(), 1);
    let row = ledger(&project.raw()).into_iter().find(|row| row.4 == "failed").unwrap();
    assert!(row.1 == "red" && row.5.as_ref().unwrap().contains("deadline_s"), "{row:?}");
    slow.store(0, Ordering::SeqCst);
    assert_eq!(project.run().code(), 0);
}
