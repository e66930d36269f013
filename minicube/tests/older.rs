//! What an older store holds is taken over byte for byte, and only where it is what it was sealed as.
#![cfg(feature = "testing")]
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

use std::fs;
use std::path::Path;

use minicube::{
    Cube, CubeSpec, CubeWriter, DType, OlderStore, VarSpec, finish_sealing, is_sealed, partial_path,
    sha256_store,
};
use ndarray::{Array1, Array4, ArrayD, s};

/// Shards of one cube, `times` in chunks of 4, and a plain variable.
fn spec(cubes: usize, times: usize) -> CubeSpec {
    let var = VarSpec::new("v", &["minicube", "time", "y", "x"], DType::U16);
    CubeSpec::new("toy")
        .dim("minicube", cubes)
        .dim("time", times)
        .dim("y", 6)
        .dim("x", 6)
        .var(var.chunk(&[1, 4, 6, 6]).shard(&[1, times as u64, 6, 6]).missing(0))
        .var(VarSpec::new("plain", &["y"], DType::F32))
}

fn values(cube: usize, times: usize) -> ArrayD<u16> {
    let value = |(_, t, y, x): (usize, usize, usize, usize)| (1 + cube * 1000 + t * 36 + y * 6 + x) as u16;
    Array4::from_shape_fn((1, times, 6, 6), value).into_dyn()
}

fn plain() -> ArrayD<f32> {
    Array1::from_iter((0..6u8).map(f32::from)).into_dyn()
}

fn shard(cube: usize) -> [u64; 4] {
    [cube as u64, 0, 0, 0]
}

fn build(path: &Path, cubes: usize, times: usize, plan: &str) -> Cube {
    let writer = CubeWriter::create(path, &spec(cubes, times), plan).unwrap();
    for cube in 0..cubes {
        writer.write("v", &shard(cube), values(cube, times).view()).unwrap();
    }
    writer.write("plain", &[0], plain().view()).unwrap();
    writer.seal().unwrap()
}

/// Eleven times in place of eight, and a cube more: the first two parts are the same, the third is not.
#[test]
fn a_store_that_grows_has_the_bytes_of_one_from_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (path, fresh) = (dir.path().join("grown.zarr"), dir.path().join("fresh.zarr"));
    build(&path, 2, 8, "p");
    let older = OlderStore::open(&path, "toy").unwrap();
    assert!(OlderStore::open(&path, "level1").is_none() && OlderStore::open(&fresh, "toy").is_none());
    let writer = CubeWriter::create(&path, &spec(3, 11), "q").unwrap();
    assert!(!writer.take_shard(&older, "v", &shard(0), &shard(0)).unwrap(), "the shard is longer");
    for cube in 0..2 {
        for part in 0..2 {
            assert!(writer.take_part(&older, "v", (&shard(cube), part), (&shard(cube), part)).unwrap());
            assert!(writer.has_part("v", &shard(cube), part));
        }
        let last = values(cube, 11).slice(s![.., 8.., .., ..]).to_owned();
        writer.write_part("v", &shard(cube), 2, last.view().into_dyn()).unwrap();
        writer.join_parts("v", &shard(cube)).unwrap();
    }
    writer.write("v", &shard(2), values(2, 11).view()).unwrap();
    assert!(writer.take_variable(&older, "plain").unwrap());
    writer.seal().unwrap();
    build(&fresh, 3, 11, "q");
    assert_eq!(sha256_store(&path).unwrap(), sha256_store(&fresh).unwrap());
}

/// As cube 0 becomes cube 1 where one comes before it. The older store is not written into.
#[test]
fn a_shard_may_get_another_place() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old.zarr"), dir.path().join("new.zarr"));
    build(&old, 1, 5, "p");
    let before = sha256_store(&old).unwrap();
    let older = OlderStore::open(&old, "toy").unwrap();
    let writer = CubeWriter::create(&new, &spec(2, 5), "q").unwrap();
    assert!(
        writer.take_shard(&older, "v", &shard(0), &shard(1)).unwrap() && writer.has_shard("v", &shard(1))
    );
    assert!(writer.take_variable(&older, "plain").unwrap());
    // What was taken over may yet be written anew.
    writer.write("plain", &[0], (plain() * 2.0).view()).unwrap();
    writer.write("v", &shard(1), values(7, 5).view()).unwrap();
    assert!(writer.take_shard(&older, "v", &shard(0), &shard(1)).unwrap());
    let cube = writer.seal().unwrap();
    assert_eq!(cube.read_region::<u16>("v", &shard(1), &[1, 5, 6, 6]).unwrap(), values(0, 5));
    assert_eq!(sha256_store(&old).unwrap(), before);
}

#[test]
fn nothing_is_taken_from_a_damaged_file_or_another_layout() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("old.zarr");
    build(&path, 2, 8, "p");
    let file = path.join("v/c/0/0/0/0");
    let mut bytes = fs::read(&file).unwrap();
    bytes[10] ^= 1;
    fs::write(&file, bytes).unwrap();
    fs::remove_file(path.join("plain/c/0")).unwrap();
    let older = OlderStore::open(&path, "toy").unwrap();
    let writer = CubeWriter::create(&dir.path().join("new.zarr"), &spec(2, 8), "q").unwrap();
    assert!(!writer.take_shard(&older, "v", &shard(0), &shard(0)).unwrap());
    assert!(!writer.take_part(&older, "v", (&shard(0), 0), (&shard(0), 0)).unwrap());
    assert!(!writer.take_variable(&older, "plain").unwrap() && !older.has_intact("plain"));
    assert!(!older.is_intact("v", &shard(0)) && older.is_intact("v", &shard(1)));
    assert!(writer.take_shard(&older, "v", &shard(1), &shard(1)).unwrap(), "the other one is sound");

    let mut other = spec(2, 8);
    other.vars[0] = other.vars[0].clone().chunk(&[1, 8, 6, 6]);
    let writer = CubeWriter::create(&dir.path().join("other.zarr"), &other, "q").unwrap();
    assert!(!writer.take_shard(&older, "v", &shard(1), &shard(1)).unwrap(), "chunks of 8 times, not of 4");
}

/// The three instants at which a kill may fall while a finished store takes the place of an older one.
#[test]
fn a_kill_while_the_older_store_is_replaced_loses_nothing() {
    for renamed in [0, 1, 2] {
        let dir = tempfile::tempdir().unwrap();
        let (path, aside) = (dir.path().join("t.zarr"), dir.path().join("t.zarr.older"));
        build(&path, 1, 5, "p");
        let writer = CubeWriter::create(&path, &spec(1, 6), "q").unwrap();
        writer.write("v", &shard(0), values(0, 6).view()).unwrap();
        writer.write("plain", &[0], plain().view()).unwrap();
        writer.mark_done("all").unwrap();
        drop(writer);
        if renamed > 0 {
            fs::rename(&path, &aside).unwrap();
        }
        if renamed > 1 {
            CubeWriter::create(&path, &spec(1, 6), "q").unwrap().seal().unwrap();
            fs::write(path.join(".plan"), "q").unwrap();
            assert!(is_sealed(&path, "q"));
            finish_sealing(&path, &partial_path(&path)).unwrap();
        } else {
            let writer = CubeWriter::create(&path, &spec(1, 6), "q").unwrap();
            assert!(
                writer.is_done("all") && writer.has_shard("v", &shard(0)),
                "killed after {renamed} names"
            );
            writer.seal().unwrap();
        }
        assert_eq!(Cube::open(&path, "toy").unwrap().read::<u16>("v").unwrap(), values(0, 6));
        let left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["t.zarr"]);
        assert!(!path.join(".plan").exists() && !path.join(".done").exists());
    }
}
