//! Elevation and land cover by the name of a product or by a folder: the tiles that lie under the wanted cells.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use minicube::LocationTable;
use url::Url;

use crate::plan::{Place, place};

/// A global raster in tiles of whole degrees, each named by its south-west corner.
struct Product {
    name: &'static str,
    base: &'static str,
    /// Edge of a tile, degrees.
    edge: i32,
    /// Path below the base, by the corner's latitude and longitude.
    path: fn(i32, i32) -> String,
}

const PRODUCTS: [Product; 4] = [
    Product {
        name: "copernicus30",
        base: "https://copernicus-dem-30m.s3.amazonaws.com",
        edge: 1,
        path: |lat, lon| copernicus(10, lat, lon),
    },
    Product {
        name: "copernicus90",
        base: "https://copernicus-dem-90m.s3.amazonaws.com",
        edge: 1,
        path: |lat, lon| copernicus(30, lat, lon),
    },
    Product {
        name: "worldcover2020",
        base: "https://esa-worldcover.s3.eu-central-1.amazonaws.com",
        edge: 3,
        path: |lat, lon| worldcover("v100", 2020, lat, lon),
    },
    Product {
        name: "worldcover2021",
        base: "https://esa-worldcover.s3.eu-central-1.amazonaws.com",
        edge: 3,
        path: |lat, lon| worldcover("v200", 2021, lat, lon),
    },
];

/// West, south, east, north of each location's cell, degrees; west > east across the antimeridian. Where a location
/// has no outline it is its centre and 0.02° around.
pub(crate) fn cell_boxes(table: &LocationTable) -> Vec<[f64; 4]> {
    table.locations.iter().map(|at| cell_box(at.lon, at.lat, &at.polygon)).collect()
}

fn cell_box(lon: f64, lat: f64, outline: &[minicube::LonLat]) -> [f64; 4] {
    let reach = |low: f64, high: f64, value: f64| (low.min(value), high.max(value));
    if outline.is_empty() {
        return [lon - 0.02, lat - 0.02, lon + 0.02, lat + 0.02];
    }
    // Longitudes as distances from the centre, so that the antimeridian is a line like any other.
    let (west, east) = outline
        .iter()
        .map(|point| (point.lon - lon + 540.0).rem_euclid(360.0) - 180.0)
        .fold((0.0, 0.0), |(low, high), value| reach(low, high, value));
    let (south, north) =
        outline.iter().map(|point| point.lat).fold((lat, lat), |(low, high), value| reach(low, high, value));
    let wrap = |lon: f64| (lon + 540.0).rem_euclid(360.0) - 180.0;
    [wrap(lon + west), south, wrap(lon + east), north]
}

/// The files that a word of `dem` or `landcover` stands for: the tiles of a product under the cells with a margin
/// (`copernicus30`, or `copernicus30@http://mirror`), the rasters of a folder (all `.tif`, and those `.hgt` that are
/// needed), or the file or address itself.
///
/// # Errors
/// What was expected and found.
pub(crate) fn expand(text: &str, boxes: &[[f64; 4]], margin: f64) -> Result<Vec<Place>, String> {
    let (name, base) = text.split_once('@').map_or((text, None), |(name, base)| (name, Some(base)));
    if let Some(product) = PRODUCTS.iter().find(|product| product.name == name) {
        let base = base.unwrap_or(product.base).trim_end_matches('/');
        let Place::Remote(_) = place(base) else {
            return Err(format!("expected an http(s) address after {name}@, found `{base}`"));
        };
        let corners = corners(boxes, margin, product.edge);
        return corners.into_iter().map(|(lat, lon)| tile(product, base, lat, lon)).collect();
    }
    let path = match place(text) {
        Place::Local(path) => path,
        remote => return Ok(vec![remote]),
    };
    if path.is_dir() {
        return folder(&path, &corners(boxes, margin, 1));
    }
    if path.is_file() {
        return Ok(vec![Place::Local(path)]);
    }
    let known: Vec<&str> = PRODUCTS.iter().map(|product| product.name).collect();
    Err(format!("no file {}, and no product of this name: there are {}", path.display(), known.join(", ")))
}

/// What a plan says about files: their names, or how many there are.
pub(crate) fn describe(places: &[Place]) -> String {
    const NAMED: usize = 6;
    let mut names: Vec<String> = places.iter().take(NAMED).map(Place::name).collect();
    let tiles = places.iter().filter(|place| matches!(place, Place::Tile(_))).count();
    if places.len() > NAMED {
        names.push(format!("… of {} files", places.len()));
    }
    let sea = if tiles > 0 { " (none where it is sea)" } else { "" };
    format!("{}{sea}", names.join(", "))
}

fn tile(product: &Product, base: &str, lat: i32, lon: i32) -> Result<Place, String> {
    let address = format!("{base}/{}", (product.path)(lat, lon));
    Url::parse(&address).map(Place::Tile).map_err(|error| format!("{address}: {error}"))
}

/// South-west corners (latitude, longitude) of the tiles that the boxes touch, from south to north.
fn corners(boxes: &[[f64; 4]], margin: f64, edge: i32) -> BTreeSet<(i32, i32)> {
    let step = f64::from(edge);
    // A box that ends on an edge does not touch the tile beyond.
    let tiles = |from: f64, to: f64| {
        let (first, end) = ((from / step).floor() as i32, (to / step).ceil() as i32);
        (first..end.max(first + 1)).map(move |index| index * edge)
    };
    let mut found = BTreeSet::new();
    for &[west, south, east, north] in boxes {
        let east = if east < west { east + 360.0 } else { east };
        let (south, north) = ((south - margin).max(-90.0), (north + margin).min(90.0));
        for lat in tiles(south, north) {
            for lon in tiles(west - margin, east + margin) {
                found.insert((lat, (lon + 180).rem_euclid(360) - 180));
            }
        }
    }
    found
}

/// The rasters of a folder: every `.tif`, and every `.hgt` that is named by one of the corners.
fn folder(path: &Path, corners: &BTreeSet<(i32, i32)>) -> Result<Vec<Place>, String> {
    let needed: BTreeSet<String> =
        corners.iter().map(|&(lat, lon)| format!("{}{}", latitude(lat), longitude(lon))).collect();
    let failed = |error: std::io::Error| format!("cannot list the folder {}: {error}", path.display());
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        files.push(entry.map_err(failed)?.path());
    }
    files.sort();
    let part = |text: Option<&std::ffi::OsStr>| text.unwrap_or_default().to_string_lossy().into_owned();
    files.retain(|file| match part(file.extension()).to_lowercase().as_str() {
        "tif" | "tiff" => true,
        "hgt" => needed.contains(&part(file.file_stem()).to_uppercase()),
        _ => false,
    });
    if files.is_empty() {
        let example = needed.iter().next().map_or(String::new(), |name| format!(" such as {name}.hgt"));
        return Err(format!("the folder {} has no .tif and no needed .hgt{example}", path.display()));
    }
    Ok(files.into_iter().map(Place::Local).collect())
}

fn copernicus(arc_seconds_tenfold: u32, lat: i32, lon: i32) -> String {
    let (lat, lon) = (latitude(lat), longitude(lon));
    let name = format!("Copernicus_DSM_COG_{arc_seconds_tenfold}_{lat}_00_{lon}_00_DEM");
    format!("{name}/{name}.tif")
}

fn worldcover(version: &str, year: u32, lat: i32, lon: i32) -> String {
    let tile = format!("{}{}", latitude(lat), longitude(lon));
    format!("{version}/{year}/map/ESA_WorldCover_10m_{year}_{version}_{tile}_Map.tif")
}

fn latitude(degrees: i32) -> String {
    format!("{}{:02}", if degrees < 0 { 'S' } else { 'N' }, degrees.abs())
}

fn longitude(degrees: i32) -> String {
    format!("{}{:03}", if degrees < 0 { 'W' } else { 'E' }, degrees.abs())
}

#[cfg(test)]
mod tests {
    use minicube::LonLat;

    use super::*;

    fn addresses(text: &str, boxes: &[[f64; 4]]) -> Vec<String> {
        let places = expand(text, boxes, 0.05).unwrap();
        let text = |place| match place {
            Place::Tile(url) => url.to_string(),
            other => panic!("{other:?}"),
        };
        places.into_iter().map(text).collect()
    }

    #[test]
    fn a_cell_in_botswana_needs_the_published_files() {
        let cell = [[26.4, -22.6, 26.44, -22.56]];
        assert_eq!(
            addresses("copernicus30", &cell),
            ["https://copernicus-dem-30m.s3.amazonaws.com/Copernicus_DSM_COG_10_S23_00_E026_00_DEM/\
              Copernicus_DSM_COG_10_S23_00_E026_00_DEM.tif"]
        );
        assert_eq!(
            addresses("worldcover2021", &cell),
            ["https://esa-worldcover.s3.eu-central-1.amazonaws.com/v200/2021/map/\
              ESA_WorldCover_10m_2021_v200_S24E024_Map.tif"]
        );
        assert_eq!(
            addresses("copernicus90@http://127.0.0.1:1234/", &cell),
            ["http://127.0.0.1:1234/Copernicus_DSM_COG_30_S23_00_E026_00_DEM/\
                 Copernicus_DSM_COG_30_S23_00_E026_00_DEM.tif"]
        );
        assert!(
            addresses("worldcover2020", &cell)[0]
                .ends_with("/v100/2020/map/ESA_WorldCover_10m_2020_v100_S24E024_Map.tif")
        );
    }

    #[test]
    fn a_margin_reaches_over_the_edge_and_a_shared_tile_comes_once() {
        // 26.96 + 0.05 > 27; and north of -22.01 + 0.05 > -22.
        let corner = [26.92, -22.05, 26.96, -22.01];
        assert_eq!(
            corners(&[corner, corner], 0.05, 1),
            BTreeSet::from([(-23, 26), (-23, 27), (-22, 26), (-22, 27)])
        );
        assert_eq!(corners(&[corner], 0.0, 1), BTreeSet::from([(-23, 26)]));
        assert_eq!(
            corners(&[[26.0, -23.0, 27.0, -22.0]], 0.0, 1),
            BTreeSet::from([(-23, 26)]),
            "edges on edges"
        );
        assert_eq!(
            corners(&[[5.5, 5.5, 6.5, 6.5]], 0.0, 3),
            BTreeSet::from([(3, 3), (3, 6), (6, 3), (6, 6)])
        );
    }

    #[test]
    fn the_equator_and_the_zero_meridian_have_four_letters() {
        let names: Vec<String> = corners(&[[-0.01, -0.01, 0.01, 0.01]], 0.0, 1)
            .into_iter()
            .map(|(lat, lon)| format!("{}{}", latitude(lat), longitude(lon)))
            .collect();
        assert_eq!(names, ["S01W001", "S01E000", "N00W001", "N00E000"]);
    }

    #[test]
    fn the_antimeridian_is_a_line_like_any_other() {
        assert_eq!(corners(&[[179.9, 51.2, -179.9, 51.3]], 0.0, 1), BTreeSet::from([(51, 179), (51, -180)]));
        assert_eq!(corners(&[[179.9, 51.2, 179.96, 51.3]], 0.05, 1), BTreeSet::from([(51, 179), (51, -180)]));
        let outline = [(179.99, 10.0), (-179.99, 10.0), (-179.99, 10.02), (179.99, 10.02)];
        let outline = outline.map(|(lon, lat)| LonLat { lon, lat });
        let found = cell_box(180.0, 10.01, &outline);
        for (found, expected) in found.iter().zip([179.99, 10.0, -179.99, 10.02]) {
            assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
        }
    }

    #[test]
    fn a_folder_gives_its_rasters_and_the_needed_heights() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["N51E009.hgt", "n50e009.HGT", "N00E009.hgt", "hills.tif", "readme.txt"] {
            fs::write(dir.path().join(name), b"x").unwrap();
        }
        let boxes = [[9.1, 50.97, 9.14, 51.0]];
        let text = dir.path().to_str().unwrap();
        let names: Vec<String> = expand(text, &boxes, 0.05).unwrap().iter().map(Place::name).collect();
        assert_eq!(names, ["N51E009.hgt", "hills.tif", "n50e009.HGT"]);
        let empty = tempfile::tempdir().unwrap();
        let error = expand(empty.path().to_str().unwrap(), &boxes, 0.05).unwrap_err();
        assert!(error.contains("N50E009.hgt"), "{error}");
    }

    #[test]
    fn what_is_nothing_of_that_is_told() {
        assert!(expand("copernicus31", &[], 0.0).unwrap_err().contains("copernicus30"));
        assert!(expand("copernicus30@mirror", &[], 0.0).unwrap_err().contains("http(s)"));
        let there = expand("https://host/dem.tif", &[], 0.0).unwrap();
        assert_eq!(there, [Place::Remote(Url::parse("https://host/dem.tif").unwrap())]);
    }
}
