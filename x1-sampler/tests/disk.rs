//! A full disk: told as such, nothing half left, and the same bytes once there is room.

use std::fs;
use std::process::Command;

use minicube::testing::{kib_on_disk, on_full_disk};

const PROJECT: &str = r#"
[project]
name = "t"
[sampler]
bbox = [23.4, -20.8, 24.6, -19.6]
count = 60
formats = ["geojson", "csv"]
"#;

#[test]
fn a_full_disk_is_told_and_the_next_run_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("project.toml");
    fs::write(&config, PROJECT).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_x1-sampler"));
    command.args(["run", "--config"]).arg(&config).arg("--dir").arg(dir.path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let sampler = dir.path().join("sampler");
    let names = ["locations.parquet", "locations.geojson", "locations.csv", "products.toml", "report.html"];
    let read = || names.map(|name| fs::read(sampler.join(name)).unwrap());
    let (expected, whole) = (read(), kib_on_disk(&sampler).unwrap());
    // In the first file, in the tables, and in the report or manifest.
    for room in [4, whole / 4, whole - 4] {
        let Some(disk) = on_full_disk(&sampler, room, &command).unwrap() else {
            println!("skipped: nobody may mount a disk here");
            return;
        };
        disk.assert_told();
        disk.assert_whole(&[]).unwrap();
        assert!(read() == expected, "with {room} of {whole} KiB");
    }
}
