//! On real data beside the workspace, where it is: skipped elsewhere, an error where `CI` is set.

use std::fs;
use std::io::Read;
use std::process::Command;

use minicube::testing::assert_conforms;
use minicube::testing::real;
use minicube::{Cube, LonLat, NaiveDate, to_cf_day};
use x3_level1::{Ease2Grid, radiometry};

/// NSIDC's tables of the 36 km grid say the latitude and longitude of every cell: each must fall in its own cell.
#[test]
fn cells_of_the_published_ease2_grid() {
    let read = |name: &str| -> Option<Vec<f64>> {
        let file = fs::File::open(real(name)?).unwrap();
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
        Some(bytes.chunks_exact(8).map(|eight| f64::from_le_bytes(eight.try_into().unwrap())).collect())
    };
    let (Some(lats), Some(lons)) = (
        read("smap/EASE2_M36km.lats.964x406x1.double.gz"),
        read("smap/EASE2_M36km.lons.964x406x1.double.gz"),
    ) else {
        return;
    };
    let grid = Ease2Grid::global(406, 964).unwrap();
    let cells: Vec<(usize, usize)> =
        (0..406).step_by(29).flat_map(|row| (0..964).step_by(67).map(move |col| (row, col))).collect();
    let places: Vec<LonLat> = cells
        .iter()
        .map(|&(row, col)| LonLat { lon: lons[row * 964 + col], lat: lats[row * 964 + col] })
        .collect();
    for (&(row, col), (x, y)) in cells.iter().zip(grid.project(&places).unwrap()) {
        assert_eq!(grid.cell_of(x, y), Some((row, col)));
        assert!((grid.x[col] - x).abs() < 1.0 && (grid.y[row] - y).abs() < 1.0, "row {row} column {col}");
    }
}

/// 118 acquisitions over a Belgian field, with two years of weather.
#[test]
fn the_belgian_series_becomes_level_1() {
    let Some(input) = real("worldcereal/00002806639B424A") else { return };
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("p.toml");
    let text =
        format!("[project]\nname = \"be\"\ndir = \"{}\"\nyears = [2017, 2018]\n", dir.path().display());
    fs::write(&config, text).unwrap();
    let act = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_x3-level1"));
        let output = command.args(["import", "--format", "openeo-netcdf", "--config"]).arg(&config);
        let output = output.arg("--input").arg(&input).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    act();
    assert!(act().contains("nothing to do"));
    let store = dir.path().join("level1/31UDS.zarr");
    assert_conforms(&store, "level1");
    let cube = Cube::open(&store, "level1").unwrap();
    let day = |y, m, d| to_cf_day(NaiveDate::from_ymd_opt(y, m, d).unwrap());
    let days = cube.read::<i32>("s2/time").unwrap().into_raw_vec_and_offset().0;
    assert_eq!((days.len(), days[0], days[117]), (118, day(2017, 8, 4), day(2018, 11, 27)));
    assert!(days.is_sorted());
    assert_eq!(cube.shape("s2/red").unwrap(), [1, 118, 32, 32]);
    assert_eq!(cube.read_strings("id").unwrap(), ["00002806639B424A"]);
    let (xc, yc) = (cube.read::<f64>("xc").unwrap(), cube.read::<f64>("yc").unwrap());
    // The files' bounds are (501360, 5629040, 502000, 5629680), EPSG:32631.
    assert_eq!((xc[[0, 0]], yc[[0, 0]]), (501_370.0, 5_629_670.0));
    let (lon, lat) = (cube.read::<f64>("lon").unwrap()[[0]], cube.read::<f64>("lat").unwrap()[[0]]);
    assert!((lon - 3.024).abs() < 1e-3 && (lat - 50.816).abs() < 2e-3, "{lon} {lat}");

    // 20 m bands are copied; 10 m bands are the mean of two by two.
    let file = |part: &str| {
        let entries = fs::read_dir(&input).unwrap().map(|entry| entry.unwrap().path());
        let mut named = entries.filter(|path| path.to_string_lossy().contains(part));
        netcdf::open(named.next().unwrap()).unwrap()
    };
    let (ten, twenty) = (file("S2_L2A_10m"), file("S2_L2A_20m"));
    let read = |file: &netcdf::File, band: &str| file.variable(band).unwrap().get::<f64, _>(..).unwrap();
    let (b04, b8a) = (read(&ten, "B04"), read(&twenty, "B8A"));
    let (red, nir) = (cube.read::<u16>("s2/red").unwrap(), cube.read::<u16>("s2/nir08").unwrap());
    for (t, y, x) in [(0, 0, 0), (17, 5, 30), (60, 31, 31), (117, 16, 2)] {
        let four = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(dy, dx)| b04[[t, 2 * y + dy, 2 * x + dx]]);
        let valid: Vec<f64> = four.into_iter().filter(|&v| v > 0.0).collect();
        let mean = valid.iter().sum::<f64>() / valid.len() as f64;
        let expected = if valid.is_empty() { 0.0 } else { (mean + 1000.0 + 0.5).floor() };
        assert_eq!(f64::from(red[[0, t, y, x]]), expected, "red at {t},{y},{x}");
        let expected = if b8a[[t, y, x]] > 0.0 { b8a[[t, y, x]] + 1000.0 } else { 0.0 };
        assert_eq!(f64::from(nir[[0, t, y, x]]), expected, "nir08 at {t},{y},{x}");
    }
    let weather = cube.read::<i32>("era5/time").unwrap().into_raw_vec_and_offset().0;
    assert_eq!((weather.len(), weather[0]), (487, day(2017, 8, 1)));
    let tp = cube.read::<f32>("era5/tp").unwrap();
    let highest = tp.iter().copied().fold(0.0, f32::max);
    assert!((highest - 0.02462).abs() < 1e-4, "24.62 mm become 0.02462 m, found {highest}");
    let t2m = cube.read::<f32>("era5/t2m").unwrap();
    assert!(t2m.iter().all(|t| (255.0..305.0).contains(t)));
}

/// Items of Earth Search v1, v0 and its collection 1, and of Planetary Computer: baseline, whether the offset was taken
/// off, and what is added to a digital number.
#[test]
fn items_of_real_archives_say_what_their_numbers_mean() {
    for (name, expected) in [
        ("items/S2A_28QCH_20200714_0_L2A.json", (2.14, false, 1000)),
        ("items/S2B_31QGB_20200831_0_L2A.json", (2.14, false, 1000)),
        ("items/S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531.pc.json", (2.12, false, 1000)),
        ("items/S2B_T37MGP_20240710T073012_L2A_C1.json", (5.1, false, 0)),
        ("replay/earth_search_v0_search/001.body", (5.11, true, 1000)),
    ] {
        let Some(path) = real(&format!("stac/{name}")) else { return };
        let document: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let item = document.get("features").map_or(&document, |items| &items[0]);
        let found = radiometry(item).unwrap();
        assert_eq!((found.baseline, found.offset_applied, found.add), expected, "{name}");
    }
}
