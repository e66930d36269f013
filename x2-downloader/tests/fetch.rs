//! What is fetched, byte by byte, from a tiny archive.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::earth::{CELLS, CENTER, TILE, TinyEarth, section};
use common::server::{Response, TestServer};
use common::{TestProject, assert_same, cog, ledger};
use minicube::run::Ctx;

const SCENE: &str = "S2A_35KMQ_20210101_0_L2A";

fn serve(earth: TinyEarth) -> TestServer {
    TestServer::start(move |base, request| earth.answer(base, request))
}

fn project(server: &TestServer) -> TestProject {
    TestProject::new(TILE, CENTER, &CELLS, &section(&server.base))
}

fn kept(file: &[u8]) -> BTreeSet<usize> {
    cog::blocks(file)
        .iter()
        .enumerate()
        .filter(|(_, (at, len))| *at > 0 && *len > 0)
        .map(|(i, _)| i)
        .collect()
}

/// Red has 1098 pixels of 100 m, blocks of 128 pixels, 9 across. Cell (10, 10) begins at 38 400 m, pixel 384, and ends
/// at pixel 422.4, so with the next pixel it needs 384..424: block 3. Cell (3, 20) has the rows 115.2 to 153.6, with
/// neighbours 114..155, blocks 0 and 1, and the columns 768..808, block 6. Cell (0, 2) has the columns 76.8 to 115.2
/// and the rows 0..40, block (0, 0), where all is cloud.
#[test]
fn the_wanted_clear_blocks_are_copied_verbatim() {
    let earth = TinyEarth::new(3);
    let server = serve(earth.clone());
    let project = project(&server);
    let finish = project.run();
    assert_eq!(finish.code(), 0, "{}", finish.text());

    let folder = project.raw().join("s2").join(TILE).join("20210101").join(SCENE);
    let local = fs::read(folder.join("red.tif")).unwrap();
    let remote = &earth.files[&format!("/cogs/{SCENE}/red.tif")];
    assert_eq!(kept(&local), BTreeSet::from([6, 9 + 6, 3 * 9 + 3]));
    for ((here, len), (there, length)) in cog::blocks(&local).into_iter().zip(cog::blocks(remote)) {
        if here > 0 {
            assert_eq!(local[here..here + len], remote[there..there + length]);
        }
    }
    // 549 pixels of 200 m, 5 blocks across: pixels 192..213 are block 1; 56..78 and 384..405 are (0, 3); (0, 0).
    let classes = fs::read(folder.join("scl.tif")).unwrap();
    assert_eq!(kept(&classes), BTreeSet::from([0, 3, 5 + 1]));

    let rows = ledger(&project.raw());
    let of = |item: &str, asset: &str, status: &str| -> Vec<(i32, i32)> {
        let matching = rows.iter().filter(|r| r.0 == item && r.1 == asset && r.4 == status);
        matching.map(|r| (r.2, r.3)).collect()
    };
    assert_eq!(of(SCENE, "red", "fetched"), [(0, 6), (1, 6), (3, 3)]);
    assert_eq!(of(SCENE, "red", "skipped_cloudy"), [(0, 0)]);
    let old = rows.iter().find(|r| r.4 == "superseded").unwrap();
    assert_eq!(old.0, "S2A_35KMQ_20210106_0_L2A");
    assert!(old.5.as_ref().unwrap().contains("S2A_35KMQ_20210106_1_L2A"));
    assert_eq!(x2_downloader::verify(&project.plan(), &Ctx::quiet(2)).unwrap().code(), 0);
    assert!(project.raw().join("report.html").exists());
}

/// A BigTIFF in big-endian order stays one; a block that the archive leaves out, (1, 1) of the 5 × 5, becomes a stored
/// block of zeros, because an absent block would mean "not fetched".
#[test]
fn another_byte_order_and_absent_blocks_are_kept_apart() {
    let earth = TinyEarth::new(1);
    let server = serve(earth.clone());
    let project = project(&server);
    assert_eq!(project.run().code(), 0);
    let folder = project.raw().join("s2").join(TILE).join("20210101").join(SCENE);
    let local = fs::read(folder.join("nir08.tif")).unwrap();
    assert_eq!(local[..4], *b"MM\0\x2b");
    let row = ledger(&project.raw()).into_iter().find(|r| r.1 == "nir08" && (r.2, r.3) == (1, 1)).unwrap();
    assert!(row.4 == "fetched" && row.5.unwrap().contains("nodata"));
    // The stored zeros are the last block of the file: (0, 3) comes first, (0, 0) is cloudy.
    let start = (0..local.len() - 1).rev().find(|&at| {
        let mut bytes = Vec::new();
        let mut decoder = flate2::read::ZlibDecoder::new(&local[at..]);
        std::io::Read::read_to_end(&mut decoder, &mut bytes).is_ok() && bytes.len() == 128 * 128 * 2
    });
    assert!(cog::unpack(&local[start.unwrap()..]).iter().all(|byte| *byte == 0));
}

#[test]
fn a_complete_run_asks_nothing_and_a_lost_file_alone_is_fetched_again() {
    let server = serve(TinyEarth::new(2));
    let project = project(&server);
    project.run();
    let (before, asked) = (project.data(), server.requests());
    let again = project.run();
    assert!(again.text().contains("nothing to do"), "{}", again.text());
    assert_eq!(server.requests(), asked);

    fs::remove_file(project.raw().join(format!("s2/{TILE}/20210101/{SCENE}/red.tif"))).unwrap();
    assert_eq!(project.run().code(), 0);
    assert_same(&before, &project.data());
    // One for the header; three blocks in two ranges, or three.
    assert!((2..=4).contains(&(server.requests() - asked)), "{}", server.requests() - asked);
}

/// A kill between the last check of a complete file and its renaming costs nothing.
#[test]
fn a_complete_file_that_was_not_renamed_is_not_fetched_again() {
    let server = serve(TinyEarth::new(2));
    let project = project(&server);
    project.run();
    let (before, asked) = (project.data(), server.requests());
    let path = project.raw().join(format!("s2/{TILE}/20210101/{SCENE}/red.tif"));
    let partial = minicube::partial_path(&path);
    fs::rename(&path, &partial).unwrap();
    assert_eq!(project.run().code(), 0);
    assert_same(&before, &project.data());
    assert_eq!(server.requests(), asked);

    // Where the ledger does not prove it, it is not trusted.
    let mut damaged = fs::read(&path).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&partial, damaged).unwrap();
    assert_eq!(project.run().code(), 0);
    assert_same(&before, &project.data());
    assert_eq!(server.requests() - asked, 1, "one block");
}

#[test]
fn cells_added_later_make_the_same_files_as_all_at_once() {
    let server = serve(TinyEarth::new(2));
    let (grown, fresh) = (project(&server), project(&server));
    grown.set_cells(TILE, CENTER, &CELLS[..2]);
    grown.run();
    let asked = server.requests();
    grown.set_cells(TILE, CENTER, &CELLS);
    grown.run();
    let added = server.requests() - asked;
    let asked = server.requests();
    fresh.run();
    assert_same(&fresh.data(), &grown.data());
    assert!(added < server.requests() - asked, "what was there is not fetched again");
    assert_eq!(x2_downloader::verify(&grown.plan(), &Ctx::quiet(2)).unwrap().code(), 0);
}

#[test]
fn what_cannot_be_had_is_a_gap_with_a_reason() {
    let mut earth = TinyEarth::new(3);
    let ids = [SCENE, "S2A_35KMQ_20210106_1_L2A", "S2A_35KMQ_20210111_0_L2A"];
    earth.files.remove(&format!("/cogs/{}/red.tif", ids[0]));
    let whole = earth.files.get_mut(&format!("/cogs/{}/red.tif", ids[1])).unwrap();
    whole.truncate(whole.len() / 3);
    *earth.files.get_mut(&format!("/cogs/{}/red.tif", ids[2])).unwrap() =
        b"<html>Not a raster at all</html>".to_vec();
    let server = serve(earth.clone());
    let project = project(&server);
    let finish = project.run();
    assert_eq!(finish.code(), 1, "{}", finish.text());
    let rows = ledger(&project.raw());
    for (id, word) in ids.iter().zip(["status 404", "truncated", "not a TIFF"]) {
        let row = rows.iter().find(|r| r.0 == *id && r.1 == "red").unwrap();
        assert_eq!((row.2, row.3, row.4.as_str()), (-1, -1, "failed"));
        assert!(row.5.as_ref().unwrap().contains(word), "{row:?}");
    }
    let files = project.data();
    assert!(
        files.keys().all(|name| !name.ends_with("red.tif") && !name.contains("partial")),
        "{:?}",
        files.keys()
    );
    assert_eq!(files.keys().filter(|name| name.ends_with("nir08.tif")).count(), 3);
    assert_eq!(x2_downloader::status(&project.plan()).unwrap().code(), 1);

    // The next run tries the gaps again, and nothing else.
    let (asked, log) = (server.requests(), server.log().len());
    assert_eq!(project.run().code(), 1);
    assert!(server.requests() > asked);
    assert!(server.log()[log..].iter().all(|r| r.target.ends_with("red.tif")));
}

/// Every distinct request fails first with 503, then with half a body, then with changed bytes.
#[test]
fn a_bad_network_changes_no_byte() {
    let earth = TinyEarth::new(2);
    let (good, clean) = (serve(earth.clone()), earth.clone());
    let expected = project(&good);
    expected.run();
    let tries = std::sync::Mutex::new(std::collections::BTreeMap::<String, usize>::new());
    let bad = TestServer::start(move |base, request| {
        // A transfer that goes on in the middle is the same one.
        let key = format!("{} {:?} {}", request.target, request.range.map(|(_, to)| to), request.body);
        let count = {
            let mut tries = tries.lock().unwrap();
            let count = tries.entry(key).or_default();
            *count += 1;
            *count
        };
        let mut response = clean.answer(base, request);
        match count {
            1 => Response::status(if request.target.len() % 2 == 0 { 503 } else { 429 })
                .header("Retry-After", "0"),
            2 => Response { cut: Some(response.body.len() / 2), ..response },
            // Nobody can tell that a directory is not the true one as long as it makes sense.
            3 if request.range.is_some_and(|(_, to)| to > 4096) => {
                let middle = response.body.len() / 2;
                response.body[middle] ^= 0xff;
                response
            }
            _ => response,
        }
    });
    let survived = project(&bad);
    let finish = survived.run();
    assert_eq!(finish.code(), 0, "{}", finish.text());
    assert_same(&expected.data(), &survived.data());
}

#[test]
fn a_server_that_ignores_ranges_serves_as_well() {
    let earth = TinyEarth::new(1);
    let (good, whole) = (serve(earth.clone()), earth);
    let stubborn = TestServer::start(move |base, request| {
        whole.answer(base, &common::server::Request { range: None, ..request.clone() })
    });
    let (expected, found) = (project(&good), project(&stubborn));
    expected.run();
    assert_eq!(found.run().code(), 0);
    assert_same(&expected.data(), &found.data());
}

#[test]
fn a_token_goes_to_its_host_only_and_is_written_nowhere() {
    let earth = TinyEarth::new(1);
    let server = serve(earth);
    let project = project(&server);
    let token = project.folder.path().join("token");
    fs::write(&token, "s3cret\n").unwrap();
    let bearer =
        |host: &str| format!("{}\nbearer = {{ host = \"{host}\", file = {token:?} }}", section(&server.base));
    project.set_download(&bearer("127.0.0.1"));
    project.run();
    assert!(server.log().iter().all(|r| r.authorization.as_deref() == Some("Bearer s3cret")));
    for name in ["run.json", "ledger.parquet", "report.html"] {
        let text = fs::read(project.raw().join(name)).unwrap();
        assert!(!text.windows(6).any(|window| window == b"s3cret"), "{name}");
    }
    let asked = server.log().len();
    project.set_download(&bearer("elsewhere.example"));
    x2_downloader::run(&project.plan(), &Ctx::quiet(1), true).unwrap();
    assert!(server.log().len() > asked && server.log()[asked..].iter().all(|r| r.authorization.is_none()));
}

#[test]
fn shards_make_the_same_files_and_one_ledger() {
    let server = serve(TinyEarth::new(2));
    let (whole, parts) = (project(&server), project(&server));
    let dem = whole.folder.path().join("dem.tif");
    fs::write(&dem, b"II*\0 elevation").unwrap();
    let with_dem = format!("{}\ndem = [{dem:?}]", section(&server.base));
    whole.set_download(&with_dem);
    parts.set_download(&with_dem);
    whole.run();
    for index in 0..2 {
        let mut ctx = Ctx::quiet(1);
        ctx.shard = Some(minicube::run::Shard { index, count: 2 });
        x2_downloader::run(&parts.plan(), &ctx, false).unwrap();
    }
    assert_same(&whole.data(), &parts.data());
    assert_eq!(ledger(&whole.raw()), ledger(&parts.raw()));
    assert!(parts.raw().join("run.2of2.json").exists());
}

#[test]
fn a_network_that_is_down_stops_the_run() {
    let earth = TinyEarth::new(4);
    let count = AtomicUsize::new(0);
    let server = TestServer::start(move |base, request| {
        count.fetch_add(1, Ordering::SeqCst);
        if request.target == "/stac/search" {
            earth.answer(base, request)
        } else {
            Response::status(503).header("Retry-After", "0")
        }
    });
    let project = project(&server);
    project.set_download(&format!(
        "{}\nconnections = 2",
        section(&server.base).replace("retries = 4", "retries = 0")
    ));
    let failure = x2_downloader::run(&project.plan(), &Ctx::quiet(1), false).unwrap_err();
    assert!(failure.to_string().contains("in a row"), "{failure}");
    assert!(failure.hint_text().is_some());
}
