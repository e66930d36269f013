//! Stores in a bucket: read as in a folder, and whole or absent whatever is cut short. The bucket is one in memory; that
//! of a real server is tested in `minicube-s3`.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use minicube::{
    Bucket, Cube, CubeSpec, CubeWriter, DType, Error, ObjectInfo, Part, VarSpec, file_exists, finish_sealing,
    is_sealed, list_stores, open_buckets_with, read_file, sha256_store, stored_bytes, write_atomic,
};
use ndarray::{Array2, ArrayD};

/// Objects, and what was asked of them.
#[derive(Default)]
struct Memory(Mutex<State>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, (Vec<u8>, Option<String>)>,
    log: Vec<String>,
    /// Puts until the connection breaks.
    puts_left: Option<usize>,
}

impl Memory {
    fn put(&self, key: &str, bytes: Vec<u8>, sha256: Option<&str>) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        if state.puts_left == Some(0) {
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "connection reset"));
        }
        state.puts_left = state.puts_left.map(|left| left - 1);
        state.log.push(format!("put {key}"));
        state.objects.insert(key.to_owned(), (bytes, sha256.map(str::to_owned)));
        Ok(())
    }

    fn break_after(&self, puts: Option<usize>) {
        self.0.lock().unwrap().puts_left = puts;
    }

    fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().log)
    }

    fn keys(&self) -> Vec<String> {
        self.0.lock().unwrap().objects.keys().cloned().collect()
    }
}

struct Handle(Arc<Memory>);

impl Bucket for Handle {
    fn get(&self, key: &str, part: Part) -> io::Result<Option<Vec<u8>>> {
        let state = self.0.0.lock().unwrap();
        Ok(state.objects.get(key).map(|(bytes, _)| match part {
            Part::Whole => bytes.clone(),
            Part::From(offset) => bytes[offset as usize..].to_vec(),
            Part::Range { offset, length } => bytes[offset as usize..(offset + length) as usize].to_vec(),
            Part::Last(length) => bytes[bytes.len() - length as usize..].to_vec(),
        }))
    }

    fn head(&self, key: &str) -> io::Result<Option<ObjectInfo>> {
        let state = self.0.0.lock().unwrap();
        let info = |(bytes, sha256): &(Vec<u8>, Option<String>)| ObjectInfo {
            bytes: bytes.len() as u64,
            sha256: sha256.clone(),
        };
        Ok(state.objects.get(key).map(info))
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<(String, u64)>> {
        let (state, prefix) = (self.0.0.lock().unwrap(), format!("{prefix}/"));
        let below = state.objects.iter().filter(|(key, _)| key.starts_with(&prefix));
        Ok(below.map(|(key, (bytes, _))| (key.clone(), bytes.len() as u64)).collect())
    }

    fn folders(&self, prefix: &str) -> io::Result<Vec<String>> {
        let keys = self.list(prefix)?;
        let below = keys.iter().filter_map(|(key, _)| key[prefix.len() + 1..].split_once('/'));
        let mut names: Vec<String> = below.map(|(folder, _)| folder.to_owned()).collect();
        names.dedup();
        Ok(names)
    }

    fn put(&self, key: &str, bytes: Vec<u8>, sha256: Option<&str>) -> io::Result<()> {
        self.0.put(key, bytes, sha256)
    }

    fn put_files(
        &self,
        files: &[(String, PathBuf)],
        done: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> io::Result<()> {
        files.iter().try_for_each(|(key, path)| {
            self.0.put(key, std::fs::read(path)?, None)?;
            done(key)
        })
    }

    fn delete(&self, keys: &[String]) -> io::Result<()> {
        let mut state = self.0.0.lock().unwrap();
        for key in keys {
            state.log.push(format!("delete {key}"));
            state.objects.remove(key);
        }
        Ok(())
    }
}

static BUCKETS: Mutex<BTreeMap<String, Arc<Memory>>> = Mutex::new(BTreeMap::new());

/// A bucket of its own for each test.
fn bucket(name: &str) -> Arc<Memory> {
    open_buckets_with(|name| Ok(Arc::new(Handle(bucket(name)))));
    BUCKETS.lock().unwrap().entry(name.to_owned()).or_default().clone()
}

/// A toy of one variable a name, in shards of 4 × 9 and chunks of 2 × 3.
fn spec(vars: &[&str]) -> CubeSpec {
    let var = |name: &&str| VarSpec::new(name, &["a", "b"], DType::I16).chunk(&[2, 3]).shard(&[4, 7]);
    vars.iter().map(var).fold(CubeSpec::new("toy").dim("a", 5).dim("b", 7), CubeSpec::var)
}

fn values() -> ArrayD<i16> {
    Array2::from_shape_fn((5, 7), |(a, b)| (a * 7 + b) as i16).into_dyn()
}

fn build(path: &Path, partial: &Path, vars: &[&str], plan: &str) -> Result<Cube, Error> {
    let writer = CubeWriter::create_in(path, partial.to_owned(), &spec(vars), plan)?;
    vars.iter().try_for_each(|var| writer.write(var, &[0, 0], values().view()))?;
    writer.seal()
}

#[test]
fn a_store_in_a_bucket_is_the_store_in_a_folder() {
    let memory = bucket("same");
    let dir = tempfile::tempdir().unwrap();
    let (local, url) = (dir.path().join("t.zarr"), Path::new("s3://same/a/t.zarr"));
    let partial = dir.path().join("scratch.partial");
    build(&local, &dir.path().join("t.zarr.partial"), &["g/v", "w"], "p").unwrap();
    let cube = build(url, &partial, &["g/v", "w"], "p").unwrap();
    assert!(!partial.exists());
    assert_eq!(cube.read::<i16>("g/v").unwrap(), values());
    let part = cube.read_region::<i16>("w", &[3, 5], &[2, 2]).unwrap();
    assert_eq!(part.iter().copied().collect::<Vec<_>>(), [26, 27, 33, 34]);
    assert!(is_sealed(url, "p") && !is_sealed(url, "q"));
    assert_eq!(list_stores(Path::new("s3://same/a")).unwrap(), [url]);
    assert_eq!(list_stores(Path::new("s3://same/b")).unwrap(), Vec::<PathBuf>::new());

    let expected = sha256_store(&local).unwrap();
    assert_eq!(sha256_store(url).unwrap(), expected);
    assert_eq!(stored_bytes(url).unwrap(), stored_bytes(&local).unwrap());
    // A copy by a tool that knows nothing of the hash is hashed by its content.
    memory.0.lock().unwrap().objects.get_mut("a/t.zarr/zarr.json").unwrap().1 = None;
    assert_eq!(sha256_store(url).unwrap(), expected);
}

#[test]
fn an_older_store_is_none_before_it_is_changed_and_leaves_nothing_behind() {
    let memory = bucket("older");
    let dir = tempfile::tempdir().unwrap();
    let (url, partial) = (Path::new("s3://older/t.zarr"), dir.path().join("t.partial"));
    build(url, &partial, &["old", "v"], "p").unwrap();
    let first = memory.log();
    assert_eq!(first.last().unwrap(), "put t.zarr/zarr.json");
    assert_eq!(first.iter().filter(|line| line.contains("t.zarr/zarr.json")).count(), 1);
    build(url, &partial, &["v"], "q").unwrap();
    let second = memory.log();
    assert_eq!(second[0], "delete t.zarr/zarr.json");
    assert_eq!(second.last().unwrap(), "put t.zarr/zarr.json");
    assert!(is_sealed(url, "q"));
    let keys = memory.keys();
    let names = ["checksums.sha256", "v/c/0/0", "v/c/1/0", "v/zarr.json", "zarr.json"];
    assert_eq!(keys, names.map(|name| format!("t.zarr/{name}")));
}

#[test]
fn an_upload_that_breaks_is_no_store_and_goes_on_where_it_was() {
    let memory = bucket("breaks");
    let dir = tempfile::tempdir().unwrap();
    let (url, partial) = (Path::new("s3://breaks/t.zarr"), dir.path().join("t.partial"));
    build(url, &partial, &["g/v", "w"], "p").unwrap();
    let puts = memory.log().len();
    assert_eq!(puts, 9, "two shards and a document a variable, a group, the checksums, the root");
    let expected = sha256_store(url).unwrap();
    for sent in 0..puts {
        memory.0.lock().unwrap().objects.clear();
        memory.break_after(Some(sent));
        let error = build(url, &partial, &["g/v", "w"], "p").err().unwrap();
        assert!(error.to_string().contains("s3://breaks/t.zarr: cannot upload: connection reset"), "{error}");
        assert!(error.hint().unwrap().contains("goes on where it was"));
        assert!(!is_sealed(url, "p") && list_stores(Path::new("s3://breaks")).unwrap().is_empty());
        assert!(matches!(Cube::open(url, "toy"), Err(Error::Io { .. })));
        memory.log();
        memory.break_after(None);
        build(url, &partial, &["g/v", "w"], "p").unwrap();
        assert_eq!(memory.log().len(), puts - sent, "after {sent} puts");
        assert_eq!(sha256_store(url).unwrap(), expected);
        assert!(!partial.exists());
    }
    std::fs::create_dir(&partial).unwrap();
    finish_sealing(&dir.path().join("t.zarr"), &partial).unwrap();
    assert!(partial.exists(), "of a store in a folder nothing is removed");
    finish_sealing(url, &partial).unwrap();
    assert!(!partial.exists());
}

#[test]
fn files_beside_the_stores_lie_there_too() {
    bucket("files");
    let url = Path::new("s3://files/level2/normalisation.json");
    let missing = read_file(url).unwrap_err().to_string();
    assert_eq!(missing, "s3://files/level2/normalisation.json: cannot read: no such object");
    write_atomic(url, b"{}").unwrap();
    assert_eq!(read_file(url).unwrap(), b"{}");
    assert!(file_exists(url) && stored_bytes(url).unwrap() == 2);
}
