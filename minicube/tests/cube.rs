//! Stores: what is written is what is read, whole or not at all, and the same bytes every time.
#![cfg(feature = "testing")]

use std::fs;

use minicube::testing::{assert_conforms, tiny_level1, tiny_level2};
use minicube::{Cube, CubeSpec, CubeWriter, DType, Error, VarSpec, is_sealed, partial_path, sha256_store};
use ndarray::{Array2, ArrayD};

fn spec() -> CubeSpec {
    CubeSpec::new("toy")
        .dim("a", 5)
        .dim("b", 7)
        .var(VarSpec::new("g/v", &["a", "b"], DType::I16).chunk(&[2, 3]).shard(&[4, 7]).missing(-1))
}

fn values() -> ArrayD<i16> {
    Array2::from_shape_fn((5, 7), |(a, b)| (a * 7 + b) as i16).into_dyn()
}

#[test]
fn a_region_of_whole_shards_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.zarr");
    let writer = CubeWriter::create(&path, &spec(), "p").unwrap();
    writer.write("g/v", &[4, 0], values().slice(ndarray::s![4.., ..]).into_dyn()).unwrap();
    let cube = writer.seal().unwrap();
    // Shards are 4 × 9 (whole chunks of 2 × 3): the first was never written and reads as the fill value.
    let read = cube.read::<i16>("g/v").unwrap();
    assert_eq!(read[[4, 6]], 34);
    assert_eq!(read[[3, 6]], -1);
    let physical = cube.read_f32("g/v", &[3, 5], &[2, 2]).unwrap();
    assert!(physical[[0, 0]].is_nan());
    assert_eq!(physical[[1, 1]], 34.0);
    assert!(is_sealed(&path, "p") && !is_sealed(&path, "q"));
}

/// `/dev/full` answers every write with "no space left on device".
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_from_a_damaged_store_and_the_store_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.zarr");
    let writer = CubeWriter::create(&path, &spec(), "p").unwrap();
    let shard = dir.path().join("t.zarr.partial/g/v/c/1/0.partial");
    fs::create_dir_all(shard.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/full", &shard).unwrap();
    let error = writer.write("g/v", &[0, 0], values().view()).unwrap_err();
    assert!(error.is_disk_full(), "{error}");
    let message = error.to_string();
    assert!(message.contains("t.zarr.partial/g/v/c/1/0: cannot write: No space left on device"), "{message}");
    assert!(error.hint().unwrap().contains("the disk is full"));
    drop(writer);

    assert!(!shard.is_symlink(), "nothing half-written stays");
    let writer = CubeWriter::create(&path, &spec(), "p").unwrap();
    writer.write("g/v", &[0, 0], values().view()).unwrap();
    assert_eq!(writer.seal().unwrap().read::<i16>("g/v").unwrap(), values());
}

#[test]
fn a_part_of_a_shard_or_another_type_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let writer = CubeWriter::create(&dir.path().join("t.zarr"), &spec(), "p").unwrap();
    let part = values();
    for start in [[1, 0], [0, 1]] {
        let size = part.slice(ndarray::s![..4, ..]).into_dyn();
        assert!(matches!(writer.write("g/v", &start, size), Err(Error::Shape { .. })), "{start:?}");
    }
    let wrong = part.mapv(f32::from);
    let message = writer.write("g/v", &[0, 0], wrong.view()).unwrap_err().to_string();
    assert!(message.contains("g/v") && message.contains("int16") && message.contains("float32"), "{message}");
}

#[test]
fn an_interrupted_store_goes_on_and_another_plan_starts_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.zarr");
    let writer = CubeWriter::create(&path, &spec(), "p").unwrap();
    writer.write("g/v", &[0, 0], values().view()).unwrap();
    writer.mark_done("all").unwrap();
    drop(writer);
    assert!(!path.exists(), "nothing stands under the final name");
    assert!(matches!(Cube::open(&path, "toy"), Err(Error::Io { .. })));

    let again = CubeWriter::create(&path, &spec(), "p").unwrap();
    assert!(again.is_done("all"));
    drop(again);
    let other = CubeWriter::create(&path, &spec(), "other plan").unwrap();
    assert!(!other.is_done("all"));
}

/// As a newer version of this program may find it: the same plan, other chunks.
#[test]
fn a_store_that_was_begun_with_another_layout_starts_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.zarr");
    let mut older = spec();
    older.vars[0] = older.vars[0].clone().chunk(&[4, 7]);
    CubeWriter::create(&path, &older, "p").unwrap().write("g/v", &[0, 0], values().view()).unwrap();
    let writer = CubeWriter::create(&path, &spec(), "p").unwrap();
    assert!(!writer.has_shard("g/v", &[0, 0]) && !writer.has_shard("g/v", &[1, 0]));
    writer.write("g/v", &[0, 0], values().view()).unwrap();
    assert_eq!(writer.seal().unwrap().read::<i16>("g/v").unwrap(), values());
}

#[test]
fn a_kill_while_a_file_was_written_leaves_nothing_in_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let seal = |name: &str, leftovers: &[&str]| {
        let path = dir.path().join(name);
        let begin = || CubeWriter::create(&path, &spec(), "p").unwrap();
        begin().write("g/v", &[0, 0], values().view()).unwrap();
        for leftover in leftovers {
            fs::write(partial_path(&path).join(leftover), "cut sho").unwrap();
        }
        begin().seal().unwrap();
        sha256_store(&path).unwrap()
    };
    // While the list of checksums was written, the root's metadata, a shard.
    let leftovers = ["checksums.sha256.partial", "zarr.json.partial", "g/v/c/0/0.partial"];
    assert_eq!(seal("killed.zarr", &leftovers), seal("whole.zarr", &[]));
}

#[test]
fn the_same_writes_make_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut hashes = Vec::new();
    for name in ["one", "two"] {
        let folder = dir.path().join(name);
        hashes.push((
            sha256_store(&tiny_level1(&folder).unwrap()).unwrap(),
            sha256_store(&tiny_level2(&folder, 3, 12, 8).unwrap()).unwrap(),
        ));
    }
    assert_eq!(hashes[0], hashes[1]);
}

#[test]
fn the_tiny_stores_conform_and_decode() {
    let dir = tempfile::tempdir().unwrap();
    let level1 = tiny_level1(dir.path()).unwrap();
    assert_conforms(&level1, "level1");
    let cube = Cube::open(&level1, "level1").unwrap();
    assert_eq!((cube.dim("s2/time").unwrap(), cube.dim("era5/time").unwrap()), (146, 730));
    // Scene 1 of cube 0 is clear: 900 - 400 sin(2π/73) for red at y 0, x 0, minus nothing: DN + 1000 is stored.
    let red = cube.read_f32("s2/red", &[0, 1, 0, 0], &[1, 1, 1, 1]).unwrap()[[0, 0, 0, 0]];
    let expected = (900.0 - 400.0 * (std::f64::consts::TAU / 73.0).sin() + 1000.0).floor() * 1e-4 - 0.1;
    assert!((f64::from(red) - expected).abs() < 1e-6, "{red} {expected}");
    let level2 = tiny_level2(dir.path(), 3, 12, 8).unwrap();
    for split in ["train", "val", "test"] {
        assert_conforms(&level2.join(split).join("35KMQ.zarr"), "level2");
    }
}

#[test]
fn another_schema_version_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = tiny_level1(dir.path()).unwrap();
    let file = path.join("zarr.json");
    let text = fs::read_to_string(&file).unwrap().replace("\"schema_version\": 1", "\"schema_version\": 99");
    fs::write(&file, text).unwrap();
    let error = Cube::open(&path, "level1").err().unwrap();
    let message = error.to_string();
    assert!(
        message.contains("expected schema level1 version 1, found schema level1 version 99"),
        "{message}"
    );
    assert!(error.hint().unwrap().contains("another version"));
}
