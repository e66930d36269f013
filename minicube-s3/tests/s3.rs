//! Against a real server on loopback, which checks signatures.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use minicube::{Bucket, Cube, CubeSpec, CubeWriter, DType, Part, VarSpec, list_stores, open_buckets_with};
use minicube_s3::open_with;
use minicube_s3::testing::{KEYS, Server};
use ndarray::{Array3, s};

/// The server of the test that is running, for whoever opens a bucket by URL.
static SERVER: OnceLock<Server> = OnceLock::new();

fn bucket(server: &Server, name: &str) -> Arc<dyn Bucket> {
    open_with(name, server.settings()).unwrap()
}

/// Settings of a server with one of them changed.
fn with(server: &Server, key: &str, value: &str) -> Vec<(String, String)> {
    let mut settings = server.settings();
    settings.iter_mut().find(|(name, _)| name == key).unwrap().1 = value.to_owned();
    settings
}

#[test]
fn of_a_shard_only_the_index_and_the_chunks_asked_for_are_sent() {
    let server = SERVER.get_or_init(|| Server::start(&["cubes"]).unwrap());
    open_buckets_with(|name| open_with(name, SERVER.get().unwrap().settings()));
    let var = VarSpec::new("v", &["t", "y", "x"], DType::I32).chunk(&[1, 16, 16]).shard(&[2, 64, 64]);
    let spec = CubeSpec::new("toy").dim("t", 2).dim("y", 64).dim("x", 64).var(var);
    // Numbers that do not compress: a chunk stays near its 1024 bytes.
    let values = Array3::from_shape_fn((2, 64, 64), |(t, y, x)| {
        ((t * 4096 + y * 64 + x) as i32)
            .wrapping_mul(-1_640_531_527)
            .rotate_left(11)
            .wrapping_mul(668_265_263)
    });
    let dir = tempfile::tempdir().unwrap();
    let url = Path::new("s3://cubes/a/level1/t.zarr");
    let writer = CubeWriter::create_in(url, dir.path().join("t.partial"), &spec, "p").unwrap();
    writer.write("v", &[0, 0, 0], values.view().into_dyn()).unwrap();
    drop(writer.seal().unwrap());

    server.asked();
    let cube = Cube::open(url, "toy").unwrap();
    assert_eq!(server.asked().len(), 1, "to open is one request");
    assert_eq!(cube.read::<i32>("v").unwrap(), values.clone().into_dyn());
    let whole: u64 = server.asked().iter().map(|asked| asked.bytes).sum();
    assert!(whole > 30_000, "{whole}");

    let part = cube.read_region::<i32>("v", &[1, 16, 32], &[1, 16, 16]).unwrap();
    assert_eq!(part, values.slice(s![1..2, 16..32, 32..48]).into_dyn());
    let asked = server.asked();
    // The index has an offset and a size for each of 32 chunks, and a checksum of 4 bytes.
    let index = asked.iter().find(|asked| asked.bytes == 32 * 16 + 4).unwrap();
    assert_eq!((index.range.as_deref(), index.status), (Some("bytes=-516"), 206));
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked.iter().all(|asked| asked.bytes < 1100 && asked.path == "/cubes/a/level1/t.zarr/v/c/0/0/0"));
    assert_eq!(list_stores(Path::new("s3://cubes/a/level1")).unwrap(), [url]);
}

#[test]
fn a_large_file_is_sent_in_parts_and_a_small_one_at_once() {
    let server = Server::start(&["parts"]).unwrap();
    let bucket = bucket(&server, "parts");
    let dir = tempfile::tempdir().unwrap();
    let (large, small) = (dir.path().join("large"), dir.path().join("small"));
    let content: Vec<u8> = (0..20_000_003_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(&large, &content).unwrap();
    fs::write(&small, b"abc").unwrap();
    let mut done = Vec::new();
    let files = [("p/large".to_owned(), large), ("p/small".to_owned(), small)];
    bucket
        .put_files(&files, &mut |key| {
            done.push(key.to_owned());
            Ok(())
        })
        .unwrap();
    done.sort();
    assert_eq!(done, ["p/large", "p/small"]);
    let puts = server.asked().iter().filter(|asked| asked.method == "PUT").count();
    assert_eq!(puts, 1 + 3, "20 MB are three parts of 8 MiB");
    assert_eq!(bucket.list("p").unwrap(), [("p/large".to_owned(), 20_000_003), ("p/small".to_owned(), 3)]);
    assert!(bucket.get("p/large", Part::Whole).unwrap().unwrap() == content);
    let range = Part::Range { offset: 9_000_000, length: 5 };
    assert_eq!(bucket.get("p/large", range).unwrap().unwrap(), content[9_000_000..9_000_005]);
    assert_eq!(bucket.get("p/small", Part::From(1)).unwrap().unwrap(), b"bc");
    assert_eq!(bucket.get("p/small", Part::Last(1)).unwrap().unwrap(), b"c");
}

#[test]
fn objects_carry_a_hash_and_absent_ones_are_no_error() {
    let server = Server::start(&["small"]).unwrap();
    let bucket = bucket(&server, "small");
    bucket.put("a/b.zarr/zarr.json", b"{}".to_vec(), Some("00ff")).unwrap();
    bucket.put("a/plain", b"x".to_vec(), None).unwrap();
    let info = bucket.head("a/b.zarr/zarr.json").unwrap().unwrap();
    assert_eq!((info.bytes, info.sha256.as_deref()), (2, Some("00ff")));
    assert_eq!(bucket.head("a/plain").unwrap().unwrap().sha256, None);
    assert_eq!(bucket.folders("a").unwrap(), ["b.zarr"]);
    assert_eq!(bucket.head("a/none").unwrap(), None);
    assert_eq!(bucket.get("a/none", Part::Last(4)).unwrap(), None);
    assert_eq!(bucket.list("none").unwrap(), []);
    bucket.delete(&["a/none".to_owned(), "a/plain".to_owned()]).unwrap();
    assert_eq!(bucket.get("a/plain", Part::Whole).unwrap(), None);
}

#[test]
fn what_a_server_refuses_is_told_without_keys() {
    let server = Server::start(&["cubes"]).unwrap();
    let missing = bucket(&server, "nowhere").list("a").unwrap_err();
    assert_eq!((missing.kind(), missing.to_string()), (ErrorKind::NotFound, "no such bucket".to_owned()));

    for (key, value) in [("AWS_SECRET_ACCESS_KEY", "another secret"), ("AWS_ACCESS_KEY_ID", "nobody")] {
        let denied = open_with("cubes", with(&server, key, value)).unwrap();
        let errors = [
            denied.list("a").unwrap_err(),
            denied.get("a", Part::Whole).unwrap_err(),
            denied.put("a", Vec::new(), None).unwrap_err(),
        ];
        for error in errors {
            let text = error.to_string();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{text}");
            assert!(
                text.starts_with("access denied") && !text.contains(value) && !text.contains(KEYS[0]),
                "{text}"
            );
        }
    }
}

#[test]
fn a_server_that_is_not_there_is_told() {
    let server = Server::start(&[]).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = with(&server, "AWS_ENDPOINT_URL", &format!("http://127.0.0.1:{port}"));
    let error = open_with("cubes", settings).unwrap().list("a").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
    let plain = with(&server, "AWS_ENDPOINT_URL", "http://minio.example.org");
    let error = open_with("cubes", plain).err().unwrap();
    assert!(error.to_string().contains("expected an https URL"), "{error}");
}
