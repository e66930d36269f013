//! One tile with one acquisition, anywhere on Earth, for tests of a single source.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gdal::DriverManager;
use gdal::raster::{Buffer, GdalType};
use gdal::spatial_ref::SpatialRef;
use minicube::{Bounds, CellGrid, Cube, Location, LocationTable, LonLat, Split, Tile, location_id};
use ndarray::Array2;

/// Cubes of 8 × 8 pixels of 30 m.
const GRID: CellGrid = CellGrid { size_px: 8, resolution_m: 30.0 };

/// A project folder with one cube.
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    pub(crate) tile: Tile,
    pub(crate) bounds: Bounds,
    year: i32,
}

impl Place {
    /// One cube in cell 1, 2 of a tile, in 2021. Its centre is `center`, or where it is.
    pub(crate) fn new(dir: &Path, tile: &str, center: Option<LonLat>) -> Place {
        let bounds = GRID.cell_bounds(&Tile::from_id(tile).unwrap(), 1, 2);
        Place::within(dir, tile, bounds, center, 2021)
    }

    /// One cube within these bounds, 240 m wide and high. There is one acquisition without an offset, and its
    /// classification.
    pub(crate) fn within(dir: &Path, tile: &str, bounds: Bounds, center: Option<LonLat>, year: i32) -> Place {
        let tile = Tile::from_id(tile).unwrap();
        let proj = proj::Proj::new_known_crs(&format!("EPSG:{}", tile.epsg.0), "EPSG:4326", None).unwrap();
        let (lon, lat) = proj.convert((bounds.center().x, bounds.center().y)).unwrap();
        let center = center.unwrap_or(LonLat { lon, lat });
        let location = Location {
            id: location_id(&tile.id, 1, 2),
            tile: tile.id.clone(),
            epsg: tile.epsg,
            row: 1,
            col: 2,
            bounds,
            lon: center.lon,
            lat: center.lat,
            strata: BTreeMap::new(),
            attributes: BTreeMap::new(),
            fold: None,
            weight: 1.0,
            split: Split::Train,
            seed: 1,
            polygon: [(0.0, 0.0), (0.01, 0.0), (0.01, 0.01), (0.0, 0.0)]
                .map(|(x, y)| LonLat { lon: center.lon + x, lat: center.lat + y })
                .to_vec(),
        };
        let table = LocationTable { locations: vec![location], grid: GRID, meta: serde_json::Map::new() };
        table.write(&dir.join("data/sampler/locations.parquet")).unwrap();
        let place = Place { dir: dir.to_owned(), tile, bounds, year };
        fs::create_dir_all(place.scene()).unwrap();
        let item = serde_json::json!({"type": "Feature", "id": "scene", "properties": {
            "datetime": format!("{year}-01-05T08:11:00Z"), "s2:processing_baseline": "02.14",
            "earthsearch:boa_offset_applied": false}});
        fs::write(place.scene().join("item.json"), item.to_string()).unwrap();
        place.write("scl", 20.0, &Array2::from_elem((20, 20), 4u8));
        place
    }

    /// The folder of the acquisition.
    pub(crate) fn scene(&self) -> PathBuf {
        self.dir.join("data/raw/s2").join(&self.tile.id).join(format!("{}0105/scene", self.year))
    }

    /// A raster of the acquisition with the upper-left corner of the cube.
    pub(crate) fn write<T: GdalType + Copy>(&self, asset: &str, pixel: f64, values: &Array2<T>) {
        let transform = [self.bounds.x_min, pixel, 0.0, self.bounds.y_max, 0.0, -pixel];
        geotiff(&self.scene().join(format!("{asset}.tif")), self.tile.epsg.0, transform, values, Some(0.0));
    }

    /// `x3-level1 run` with these keys of `[level1]`.
    pub(crate) fn run(&self, level1: &str) -> Output {
        let config = self.dir.join("project.toml");
        let data = self.dir.join("data");
        let text = format!(
            "[project]\nname = \"place\"\ndir = \"{}\"\nyears = [{year}, {year}]\n\n[level1]\n{level1}\n",
            data.display(),
            year = self.year,
        );
        fs::write(&config, text).unwrap();
        Command::new(env!("CARGO_BIN_EXE_x3-level1")).arg("run").arg("--config").arg(config).output().unwrap()
    }

    /// The store, after a run that must succeed.
    pub(crate) fn cube(&self, level1: &str) -> Cube {
        let output = self.run(level1);
        assert!(output.status.success(), "{}", said(&output));
        Cube::open(&self.dir.join(format!("data/level1/{}.zarr", self.tile.id)), "level1").unwrap()
    }
}

/// Everything a command wrote.
pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A GeoTIFF of one band.
pub(crate) fn geotiff<T: GdalType + Copy>(
    path: &Path,
    epsg: u32,
    transform: [f64; 6],
    values: &Array2<T>,
    nodata: Option<f64>,
) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let (rows, cols) = values.dim();
    let driver = DriverManager::get_driver_by_name("GTiff").unwrap();
    let mut dataset = driver.create_with_band_type::<T, _>(path, cols, rows, 1).unwrap();
    dataset.set_geo_transform(&transform).unwrap();
    dataset.set_spatial_ref(&SpatialRef::from_epsg(epsg).unwrap()).unwrap();
    let mut band = dataset.rasterband(1).unwrap();
    band.set_no_data_value(nodata).unwrap();
    let mut buffer = Buffer::new((cols, rows), values.iter().copied().collect());
    band.write((0, 0), (cols, rows), &mut buffer).unwrap();
}
