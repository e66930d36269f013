//! Shards that are filled part by part: the same numbers as in one piece, and an interrupted run goes on.
#![cfg(feature = "testing")]
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

use std::fs;
use std::path::Path;

use minicube::{Cube, CubeSpec, CubeWriter, DType, Error, VarSpec};
use ndarray::{Array4, ArrayD, s};

const TIMES: usize = 11;

/// Shards of one cube, 11 times in chunks of 4 (three parts, the last of three times), 6 × 6 pixels in chunks of 4 × 4.
fn spec() -> CubeSpec {
    let var = VarSpec::new("v", &["minicube", "time", "y", "x"], DType::U16);
    CubeSpec::new("toy")
        .dim("minicube", 2)
        .dim("time", TIMES)
        .dim("y", 6)
        .dim("x", 6)
        .var(var.chunk(&[1, 4, 4, 4]).shard(&[1, TIMES as u64, 6, 6]).missing(0))
}

/// Numbers from 1 on; the chunk of times 4 to 7 and the first four rows and columns holds nothing but fill.
fn values(cube: usize) -> ArrayD<u16> {
    Array4::from_shape_fn((1, TIMES, 6, 6), |(_, t, y, x)| {
        if (4..8).contains(&t) && y < 4 && x < 4 { 0 } else { (1 + cube * 1000 + t * 36 + y * 6 + x) as u16 }
    })
    .into_dyn()
}

fn write_part(writer: &CubeWriter, cube: usize, part: usize) {
    let times = s![.., 4 * part..(4 * part + 4).min(TIMES), .., ..];
    writer.write_part("v", &[cube as u64, 0, 0, 0], part, values(cube).slice(times).into_dyn()).unwrap();
}

fn read(cube: &Cube, index: u64) -> ArrayD<u16> {
    cube.read_region("v", &[index, 0, 0, 0], &[1, TIMES as u64, 6, 6]).unwrap()
}

fn build(path: &Path) -> Cube {
    let writer = CubeWriter::create(path, &spec(), "p").unwrap();
    assert_eq!((writer.parts("v").unwrap(), writer.part_len("v").unwrap()), (3, 4));
    for cube in 0..2 {
        (0..3).for_each(|part| write_part(&writer, cube, part));
        writer.join_parts("v", &[cube as u64, 0, 0, 0]).unwrap();
    }
    writer.seal().unwrap()
}

#[test]
fn joined_parts_read_as_they_were_written() {
    let dir = tempfile::tempdir().unwrap();
    let cube = build(&dir.path().join("parts.zarr"));
    assert_eq!((read(&cube, 0), read(&cube, 1)), (values(0), values(1)));
    assert!(!dir.path().join("parts.zarr/.parts").exists());
    // A single pixel is found through the index, in every part.
    let series = cube.read_region::<u16>("v", &[1, 0, 5, 5], &[1, TIMES as u64, 1, 1]).unwrap();
    assert_eq!(series.into_raw_vec_and_offset().0, values(1).slice(s![0, .., 5, 5]).to_vec());

    let whole = CubeWriter::create(&dir.path().join("whole.zarr"), &spec(), "p").unwrap();
    for index in 0..2 {
        whole.write("v", &[index as u64, 0, 0, 0], values(index).view()).unwrap();
    }
    let whole = whole.seal().unwrap();
    assert_eq!((read(&whole, 0), read(&whole, 1)), (values(0), values(1)));
    let bytes = |cube: &Cube| fs::read(cube.path().join("v/c/0/0/0/0")).unwrap();
    assert_eq!(bytes(&cube), bytes(&whole), "in one piece or in parts");
}

#[test]
fn an_interrupted_shard_goes_on_with_its_whole_parts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.zarr");
    let writer = CubeWriter::create(&path, &spec(), "p").unwrap();
    let shard = [1, 0, 0, 0];
    assert!(!writer.has_part("v", &shard, 0));
    (0..2).for_each(|part| write_part(&writer, 1, part));
    drop(writer);

    // As a power failure leaves a file whose bytes never reached the disk.
    let cut = dir.path().join("t.zarr.partial/.parts/v/1.0.0.0-1");
    let bytes = fs::read(&cut).unwrap();
    fs::write(&cut, &bytes[..bytes.len() - 1]).unwrap();
    let writer = CubeWriter::create(&path, &spec(), "p").unwrap();
    let found: Vec<bool> = (0..3).map(|part| writer.has_part("v", &shard, part)).collect();
    assert_eq!(found, [true, false, false]);
    let error = writer.join_parts("v", &shard).unwrap_err().to_string();
    assert!(error.contains("cut short"), "{error}");
    (1..3).for_each(|part| write_part(&writer, 1, part));
    writer.join_parts("v", &shard).unwrap();
    assert!(writer.has_shard("v", &shard) && writer.has_part("v", &shard, 2));
    assert!(!writer.has_shard("v", &[0, 0, 0, 0]));

    let file = dir.path().join("t.zarr.partial/v/c/1/0/0/0");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[1..]).unwrap();
    assert!(!writer.has_shard("v", &shard), "a shard that lost a byte");
    fs::write(&file, &bytes).unwrap();
    assert_eq!(read(&writer.seal().unwrap(), 1), values(1));
}

#[test]
fn a_damaged_chunk_is_an_error_and_not_other_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let cube = build(&dir.path().join("t.zarr"));
    let file = cube.path().join("v/c/0/0/0/0");
    let mut bytes = fs::read(&file).unwrap();
    bytes[40] ^= 1; // in the numbers of the first chunk
    fs::write(&file, bytes).unwrap();
    let error = cube.read::<u16>("v").unwrap_err().to_string();
    assert!(error.contains("t.zarr") && error.contains("checksum"), "{error}");
}

#[test]
fn a_part_of_another_type_or_size_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let writer = CubeWriter::create(&dir.path().join("t.zarr"), &spec(), "p").unwrap();
    let shard = [0, 0, 0, 0];
    let wrong = writer.write_part("v", &shard, 0, values(0).view()).unwrap_err();
    assert!(matches!(wrong, Error::Shape { .. }), "{wrong}");
    let floats = ArrayD::<f32>::zeros(vec![1, 4, 6, 6]);
    let wrong = writer.write_part("v", &shard, 0, floats.view()).unwrap_err().to_string();
    assert!(wrong.contains("uint16") && wrong.contains("float32"), "{wrong}");
}
