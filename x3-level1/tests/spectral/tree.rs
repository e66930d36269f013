//! Raw trees of Sentinel-2 alone: one cube of 32 × 32 px of 30 m in the corner of a tile, or any other.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gdal::DriverManager;
use gdal::raster::{Buffer, GdalType};
use gdal::spatial_ref::SpatialRef;
use minicube::{Bounds, CellGrid, Cube, Epsg, Location, LocationTable, LonLat, Split, Tile};
use ndarray::Array2;
use serde_json::Value;

pub(crate) const TILE: &str = "35KMQ";
pub(crate) const GRID: CellGrid = CellGrid { size_px: 32, resolution_m: 30.0 };
/// Pixels of 10 m along the edge of the cube.
pub(crate) const EDGE: usize = 96;

/// A project folder that goes away by itself.
pub(crate) struct Tree {
    dir: tempfile::TempDir,
    tile: String,
    epsg: Epsg,
    /// Upper-left corner of the rasters, metres.
    origin: (f64, f64),
}

impl Tree {
    /// One cube in the corner of the tile.
    pub(crate) fn new() -> Tree {
        let tile = Tile::from_id(TILE).unwrap();
        let bounds = GRID.cell_bounds(&tile, 0, 0);
        Tree::over(TILE, tile.epsg, bounds, GRID, (tile.origin.x, tile.origin.y))
    }

    /// One cube anywhere.
    pub(crate) fn over(tile: &str, epsg: Epsg, bounds: Bounds, grid: CellGrid, origin: (f64, f64)) -> Tree {
        let dir = tempfile::tempdir().unwrap();
        let center = bounds.center();
        let proj = proj::Proj::new_known_crs(&format!("EPSG:{}", epsg.0), "EPSG:4326", None).unwrap();
        let (lon, lat) = proj.convert((center.x, center.y)).unwrap();
        let corner = |dx: f64, dy: f64| LonLat { lon: lon + dx, lat: lat + dy };
        let location = Location {
            id: format!("{tile}_0000"),
            tile: tile.to_owned(),
            epsg,
            row: 0,
            col: 0,
            bounds,
            lon,
            lat,
            strata: BTreeMap::new(),
            attributes: BTreeMap::new(),
            fold: None,
            weight: 1.0,
            split: Split::Train,
            seed: 1,
            polygon: vec![corner(0.0, 0.0), corner(0.01, 0.0), corner(0.01, 0.01), corner(0.0, 0.0)],
        };
        let table = LocationTable { locations: vec![location], grid, meta: serde_json::Map::new() };
        table.write(&dir.path().join("data/sampler/locations.parquet")).unwrap();
        Tree { dir, tile: tile.to_owned(), epsg, origin }
    }

    /// The folder of a scene, with its item. The id begins with the time: `20220205T081100_A`.
    pub(crate) fn scene(&self, id: &str, properties: &Value, assets: &Value) -> PathBuf {
        let folder = self.dir.path().join("data/raw/s2").join(&self.tile).join(&id[..8]).join(id);
        fs::create_dir_all(&folder).unwrap();
        let mut properties = properties.clone();
        let part = |range: std::ops::Range<usize>| &id[range];
        properties["datetime"] = Value::String(format!(
            "{}-{}-{}T{}:{}:{}Z",
            part(0..4),
            part(4..6),
            part(6..8),
            part(9..11),
            part(11..13),
            part(13..15)
        ));
        let item =
            serde_json::json!({"type": "Feature", "id": id, "properties": properties, "assets": assets});
        fs::write(folder.join("item.json"), item.to_string()).unwrap();
        folder
    }

    /// A GeoTIFF in the corner of the tile.
    pub(crate) fn raster<T: GdalType + Copy>(
        &self,
        path: &Path,
        values: &Array2<T>,
        pixel: f64,
        nodata: Option<f64>,
    ) {
        self.raster_at(path, values, &[self.origin.0, pixel, 0.0, self.origin.1, 0.0, -pixel], nodata);
    }

    /// A GeoTIFF with this geotransform.
    pub(crate) fn raster_at<T: GdalType + Copy>(
        &self,
        path: &Path,
        values: &Array2<T>,
        transform: &[f64; 6],
        nodata: Option<f64>,
    ) {
        let (rows, cols) = values.dim();
        let driver = DriverManager::get_driver_by_name("GTiff").unwrap();
        let mut dataset = driver.create_with_band_type::<T, _>(path, cols, rows, 1).unwrap();
        dataset.set_geo_transform(transform).unwrap();
        dataset.set_spatial_ref(&SpatialRef::from_epsg(self.epsg.0).unwrap()).unwrap();
        let mut band = dataset.rasterband(1).unwrap();
        band.set_no_data_value(nodata).unwrap();
        let mut buffer = Buffer::new((cols, rows), values.iter().copied().collect());
        band.write((0, 0), (cols, rows), &mut buffer).unwrap();
    }

    /// The folder of the one scene of a day.
    pub(crate) fn scene_of(&self, day: &str) -> PathBuf {
        let folder = self.dir.path().join("data/raw/s2").join(&self.tile).join(day);
        fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
    }

    fn config(&self, level1: &str) -> PathBuf {
        let path = self.dir.path().join("project.toml");
        let data = self.dir.path().join("data");
        let head =
            format!("[project]\nname = \"tree\"\ndir = \"{}\"\nyears = [2019, 2024]\n", data.display());
        fs::write(&path, format!("{head}\n[level1]\n{level1}\n")).unwrap();
        path
    }

    /// A verb of the stage; exit code and everything it said.
    pub(crate) fn act(&self, verb: &str, level1: &str) -> (i32, String) {
        self.act_with(verb, level1, &[])
    }

    /// The same with further arguments.
    pub(crate) fn act_with(&self, verb: &str, level1: &str, more: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_x3-level1"));
        let command = command.arg(verb).arg("--config").arg(self.config(level1)).args(more);
        let output: Output = command.output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (output.status.code().unwrap(), text.concat())
    }

    /// Runs and verifies the stage, which must succeed; the store.
    pub(crate) fn built(&self, level1: &str) -> Cube {
        for verb in ["run", "verify"] {
            let (code, text) = self.act(verb, level1);
            assert_eq!(code, 0, "{verb}: {text}");
        }
        self.cube()
    }

    /// The store.
    pub(crate) fn cube(&self) -> Cube {
        minicube::testing::assert_conforms(&self.store(), "level1");
        Cube::open(&self.store(), "level1").unwrap()
    }

    /// Where the store is.
    pub(crate) fn store(&self) -> PathBuf {
        self.level1().join(format!("{}.zarr", self.tile))
    }

    /// Where the store, the manifest and the report are.
    pub(crate) fn level1(&self) -> PathBuf {
        self.dir.path().join("data/level1")
    }

    /// Removes the store.
    pub(crate) fn forget(&self) {
        fs::remove_dir_all(self.level1()).unwrap();
    }
}
