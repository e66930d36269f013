//! What the tests share: projects in temporary folders, and a server that answers as it is told.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a helper of tests may fail loudly")]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

pub mod cog;
pub mod earth;
pub mod exchange;
pub mod server;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use minicube::run::{Args, Config, Ctx, Finish};
use minicube::testing::location;
use minicube::{CellGrid, LocationTable, Tile};
use x2_downloader::Plan;

/// A project folder with a location table and a project file.
pub struct TestProject {
    pub folder: tempfile::TempDir,
}

impl TestProject {
    /// `cells` are (row, column) in the tile; `download` is the TOML of the section.
    pub fn new(tile: &str, center: (f64, f64), cells: &[(usize, usize)], download: &str) -> TestProject {
        let project = TestProject { folder: tempfile::tempdir().unwrap() };
        project.set_cells(tile, center, cells);
        project.set_download(download);
        project
    }

    pub fn set_cells(&self, tile: &str, (lon, lat): (f64, f64), cells: &[(usize, usize)]) {
        let (tile, grid) = (Tile::from_id(tile).unwrap(), CellGrid::default());
        let outline = [lon - 0.1, lat - 0.1, lon + 0.1, lat + 0.1];
        let location = |&(row, col): &(usize, usize)| {
            location(&tile.id, tile.epsg, (row, col), grid.cell_bounds(&tile, row, col), outline)
        };
        let locations = cells.iter().map(location).collect();
        let table = LocationTable { locations, grid, meta: serde_json::Map::new() };
        table.write(&self.folder.path().join("data/sampler/locations.parquet")).unwrap();
    }

    pub fn set_download(&self, download: &str) {
        let dir = self.folder.path().join("data");
        let text = format!(
            "[project]\nname = \"test\"\ndir = {:?}\nyears = [2021, 2021]\n\n[download]\n{download}\n",
            dir.to_str().unwrap()
        );
        fs::write(self.config(), text).unwrap();
    }

    /// Instead of the year 2021.
    pub fn set_years(&self, first: i32, last: i32) {
        let text = fs::read_to_string(self.config()).unwrap();
        fs::write(self.config(), text.replace("years = [2021, 2021]", &format!("years = [{first}, {last}]")))
            .unwrap();
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("project.toml")
    }

    pub fn raw(&self) -> PathBuf {
        self.folder.path().join("data/raw")
    }

    pub fn plan(&self) -> Plan {
        let args = Args { config: self.config(), ..Args::default() };
        Plan::load(&Config::load(&args).unwrap()).unwrap()
    }

    pub fn run(&self) -> Finish {
        x2_downloader::run(&self.plan(), &Ctx::quiet(2), false).unwrap()
    }

    /// Every data file below `raw/` by relative path; not the ledger (it holds times), items (they hold the address
    /// of the server) and the record of the run.
    pub fn data(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        if self.raw().is_dir() {
            collect(&self.raw(), &self.raw(), &mut files);
        }
        files
    }
}

fn collect(base: &Path, folder: &Path, into: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(base).unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            if name != ".ledger" {
                collect(base, &path, into);
            }
        } else if ![".json", ".html", "ledger.parquet"].iter().any(|end| name.ends_with(end)) {
            into.insert(name, fs::read(&path).unwrap());
        }
    }
}

/// Two folders hold the same files; says which differ, not their bytes.
pub fn assert_same(one: &BTreeMap<String, Vec<u8>>, two: &BTreeMap<String, Vec<u8>>) {
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(one), names(two));
    for (name, bytes) in one {
        let first = bytes.iter().zip(&two[name]).position(|(a, b)| a != b);
        assert!(bytes == &two[name], "{name} differs, first at byte {first:?}");
    }
}

/// The hosts that the last run asked, by its own record.
pub fn hosts_asked(raw: &Path) -> Vec<String> {
    let record = fs::read(raw.join("run.json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    let names = record["notes"].as_object().unwrap().keys();
    names.filter_map(|name| name.strip_prefix("host ").map(str::to_owned)).collect()
}

/// The ledger's rows as text: item, asset, block row, block column, status, reason.
pub fn ledger(raw: &Path) -> Vec<(String, String, i32, i32, String, Option<String>)> {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::Int32Type;
    let file = fs::File::open(raw.join("ledger.parquet")).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap();
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
        let int = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int32Type>().clone();
        let (item, asset, status, reason) = (text("item"), text("asset"), text("status"), text("reason"));
        let (row, col) = (int("block_row"), int("block_col"));
        for i in 0..batch.num_rows() {
            let why = reason.is_valid(i).then(|| reason.value(i).to_owned());
            let (item, asset, status) = (item.value(i).into(), asset.value(i).into(), status.value(i).into());
            rows.push((item, asset, row.value(i), col.value(i), status, why));
        }
    }
    rows
}
