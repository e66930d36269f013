//! A month of the synthetic Earth over its real protocols, with and without faults.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod common;

use std::collections::BTreeSet;

use common::{TestProject, assert_same, ledger};
use minicube::NaiveDate;
use minicube::run::{Ctx, Finish};
use testworld::{FaultSpec, Region, ServeOptions, Server, World, serve};

const CELLS: [(usize, usize); 2] = [(11, 11), (13, 14)];

fn start(faults: &str) -> Server {
    let options = ServeOptions { faults: faults.parse::<FaultSpec>().unwrap(), ..ServeOptions::default() };
    serve(World::new(7).unwrap(), options).unwrap()
}

fn project(server: &Server) -> TestProject {
    let world = World::new(7).unwrap();
    let tile = world.tile(Region::Africa).clone();
    let box_ = world.active_window(Region::Africa);
    let center = world.lon_lat(Region::Africa, box_.center());
    let base = server.base_url();
    let section = format!(
        "stac = \"{}\"\nassets = [\"nir08\"]\nretries = 6\nstall_s = 2.0\nmax_cloud_cover = 90.0\n\
         smap = {{ listing = \"{base}/smap/SPL4SMGP.007/\" }}\nera5 = {{ listing = \"{base}/era5/africa/\" }}\n\
         dem = [\"{base}/dem/africa.tif\"]\nlandcover = [\"{base}/landcover/africa.tif\"]",
        server.stac_url()
    );
    TestProject::new(&tile.id, (center.lon, center.lat), &CELLS, &section)
}

fn run(project: &TestProject) -> Finish {
    let mut plan = project.plan();
    plan.first = NaiveDate::from_ymd_opt(2021, 2, 13).unwrap();
    plan.last = NaiveDate::from_ymd_opt(2021, 2, 18).unwrap();
    x2_downloader::run(&plan, &Ctx::quiet(2), false).unwrap()
}

/// 15 February is near an acquisition that was processed twice.
#[test]
fn every_source_arrives_and_faults_change_no_byte() {
    let good = start("");
    let calm = project(&good);
    let finish = run(&calm);
    assert_eq!(finish.code(), 0, "{}", finish.text());
    let rows = ledger(&calm.raw());
    let statuses: BTreeSet<&str> = rows.iter().map(|row| row.4.as_str()).collect();
    assert!(statuses.contains("superseded"), "{statuses:?}");
    let files = calm.data();
    assert_eq!(files.keys().filter(|name| name.ends_with(".h5")).count(), 6 * 8);
    for end in ["nir08.tif", "scl.tif", "dem/africa.tif", "landcover/africa.tif", ".nc"] {
        assert!(files.keys().any(|name| name.ends_with(end)), "{end}: {:?}", files.keys());
    }
    let asked = good.stats().requests;
    assert!(run(&calm).text().contains("nothing to do"));
    assert_eq!(good.stats().requests, asked);

    let bad = start(
        "503=0.1,429=0.02,truncate=0.1,stall=0.02,reset=0.1,wrong_length=0.05,corrupt=0.1,stall_s=3,tries=1",
    );
    let rough = project(&bad);
    let finish = run(&rough);
    assert!(bad.stats().faults > 10, "{:?}", bad.stats());
    let changed_whole = |name: &str| name.ends_with(".h5") || name.ends_with(".nc");
    let (mut expected, mut found) = (files, rough.data());
    assert!(found.keys().eq(expected.keys()), "{}", finish.text());
    // A whole file that arrives with changed bytes of the right length and version cannot be told from a true one.
    expected.retain(|name, _| !changed_whole(name));
    found.retain(|name, _| !changed_whole(name));
    assert_same(&expected, &found);
}
