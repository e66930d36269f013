//! Daily weather of other archives, E-OBS and AgERA5, in files that look like theirs.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{project, raw_tree};
use minicube::{Cube, NaiveDate, to_cf_day};

/// The cubes are around 26.02 E 22.6 S. On a grid of a quarter of a degree the nearest point is 26.0 E, 22.5 S.
const LATITUDES: [f64; 3] = [-22.5, -22.75, -23.0];
const LONGITUDES: [f64; 3] = [25.75, 26.0, 26.25];

/// An archive's way to write a grid.
#[derive(Clone, Copy)]
struct Way {
    ascending: bool,
    /// Longitudes as they are, or with 360 added to those of the west; the grid may begin far in the west.
    from_zero: bool,
}

/// Latitudes and longitudes as they stand in a file, with two points far in the west.
fn axes(way: Way) -> (Vec<f64>, Vec<f64>) {
    let mut lat = LATITUDES.to_vec();
    if way.ascending {
        lat.reverse();
    }
    let west = if way.from_zero { [359.5, 359.75] } else { [-0.5, -0.25] };
    // Either way longitudes ascend over the circle.
    let lon =
        if way.from_zero { [&LONGITUDES[..], &west].concat() } else { [&west[..], &LONGITUDES].concat() };
    (lat, lon)
}

/// Creates a file with its axes.
fn file(path: &Path, way: Way, names: [&str; 2], days: &[f64], units: &str) -> netcdf::FileMut {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = netcdf::create(path).unwrap();
    let (lat, lon) = axes(way);
    for (name, values) in [("time", days), (names[0], &lat[..]), (names[1], &lon[..])] {
        file.add_dimension(name, values.len()).unwrap();
        let mut axis = file.add_variable::<f64>(name, &[name]).unwrap();
        axis.put_values(values, ..).unwrap();
        if name == "time" {
            axis.put_attribute("units", units).unwrap();
            axis.put_attribute("calendar", "standard").unwrap();
        }
    }
    file
}

fn run(dir: &Path, variables: &str) -> Cube {
    let config = project(dir, &format!("[level1.era5]\nvariables = [{variables}]"));
    let output = Command::new(env!("CARGO_BIN_EXE_x3-level1"))
        .arg("run")
        .arg("--config")
        .arg(config)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Cube::open(&dir.join("data/level1/35KMQ.zarr"), "level1").unwrap()
}

fn series(cube: &Cube, name: &str) -> Vec<f32> {
    let first = to_cf_day(NaiveDate::from_ymd_opt(2021, 1, 1).unwrap());
    assert_eq!(cube.read::<i32>("era5/time").unwrap()[[0]], first);
    cube.read::<f32>(&format!("era5/{name}")).unwrap().iter().take(4).copied().collect()
}

/// The value at the nearest point of a day, elsewhere the fill value: E-OBS has land only.
fn packed(way: Way, days: &[i16], fill: i16) -> Vec<i16> {
    let (lat, lon) = axes(way);
    let here = |row: usize, col: usize| (lat[row], lon[col]) == (-22.5, 26.0);
    let cells = |day: i16| {
        (0..lat.len()).flat_map(move |row| (0..5).map(move |col| (row, col))).map(move |cell| (cell, day))
    };
    let all = days.iter().flat_map(|day| cells(*day));
    all.map(|((row, col), day)| if here(row, col) { day } else { fill }).collect()
}

/// One file a variable, days since 1950, 16 bits with a scale: 2021-01-01 is day 25 933 after 1950-01-01 (71 years of 365
/// days and 18 leap days).
#[test]
fn e_obs_is_read_to_the_right_values_at_the_right_cell() {
    let variables = [
        ("tg", "Celsius", 0.01, [1250, 1300, -9999, -525], [12.5, 13.0, f32::NAN, -5.25]),
        ("tn", "Celsius", 0.01, [800, 900, -9999, -1000], [8.0, 9.0, f32::NAN, -10.0]),
        ("tx", "Celsius", 0.01, [2000, 2100, -9999, 0], [20.0, 21.0, f32::NAN, 0.0]),
        ("rr", "mm", 0.1, [0, 123, -9999, 5], [0.0, 12.3, f32::NAN, 0.5]),
        ("pp", "hPa", 0.1, [10132, 10001, -9999, 9900], [1013.2, 1000.1, f32::NAN, 990.0]),
        ("hu", "%", 0.01, [5000, 10000, -9999, 3333], [50.0, 100.0, f32::NAN, 33.33]),
        ("qq", "W/m2", 1.0, [120, 0, -9999, 300], [120.0, 0.0, f32::NAN, 300.0]),
        ("fg", "m/s", 0.01, [250, 1, -9999, 1000], [2.5, 0.01, f32::NAN, 10.0]),
    ];
    for (ascending, from_zero) in [(true, false), (false, false), (true, true)] {
        let way = Way { ascending, from_zero };
        let dir = tempfile::tempdir().unwrap();
        raw_tree(dir.path());
        let folder = dir.path().join("data/raw/era5");
        fs::remove_dir_all(&folder).unwrap();
        for (name, units, scale, stored, _) in variables {
            let path = folder.join(format!("{name}_ens_mean_0.25deg_reg_v29.0e.nc"));
            let days = [25_933.0, 25_934.0, 25_935.0, 25_936.0];
            let names = ["latitude", "longitude"];
            let mut file = file(&path, way, names, &days, "days since 1950-01-01 00:00");
            let mut data = file.add_variable::<i16>(name, &["time", "latitude", "longitude"]).unwrap();
            data.set_fill_value(-9999_i16).unwrap();
            data.put_attribute("missing_value", -9999_i16).unwrap();
            data.put_attribute("scale_factor", scale as f32).unwrap();
            data.put_attribute("add_offset", 0.0_f32).unwrap();
            data.put_attribute("units", units).unwrap();
            data.put_values(&packed(way, &stored, -9999), ..).unwrap();
            file.close().unwrap();
        }
        let reduce = |name: &str| if name == "rr" { "sum" } else { "mean" };
        let wanted: Vec<String> = variables
            .iter()
            .map(|(name, ..)| format!("{{ name = \"{name}\", reduce = \"{}\" }}", reduce(name)))
            .collect();
        let cube = run(dir.path(), &wanted.join(", "));
        for (name, _, _, _, expected) in variables {
            for (found, expected) in series(&cube, name).iter().zip(expected) {
                let same = (found - expected).abs() < 1e-4 * expected.abs().max(1.0);
                assert!(same || (found.is_nan() && expected.is_nan()), "{name}: {found} is not {expected}");
            }
        }
    }
}

/// One file a day with a time axis of one, numbers as they are, latitudes from north to south.
#[test]
fn agera5_is_read_day_by_day() {
    let dir = tempfile::tempdir().unwrap();
    raw_tree(dir.path());
    let folder = dir.path().join("data/raw/era5");
    fs::remove_dir_all(&folder).unwrap();
    let way = Way { ascending: false, from_zero: false };
    let variables = [
        ("Temperature_Air_2m_Mean_24h", "K", "mean", [290.5_f32, 291.25, 280.0, 300.75]),
        ("Precipitation_Flux", "mm d-1", "sum", [0.0, 2.5, 17.75, 0.125]),
    ];
    for (name, units, _, values) in variables {
        for (day, value) in values.into_iter().enumerate() {
            // 2021-01-01 is day 44 195 after 1900-01-01.
            let days = [(44_195 + day) as f64];
            let file_name =
                format!("{}_C3S-glob-agric_AgERA5_2021010{}_v1.1.nc", name.replace('_', "-"), day + 1);
            let path = folder.join(name).join(file_name);
            let mut file = file(&path, way, ["lat", "lon"], &days, "days since 1900-01-01");
            let mut data = file.add_variable::<f32>(name, &["time", "lat", "lon"]).unwrap();
            data.set_fill_value(-9999_f32).unwrap();
            data.put_attribute("units", units).unwrap();
            let (lat, lon) = axes(way);
            let cells = lat.iter().flat_map(|lat| lon.iter().map(move |lon| (*lat, *lon)));
            let cells: Vec<f32> =
                cells.map(|cell| if cell == (-22.5, 26.0) { value } else { -9999.0 }).collect();
            data.put_values(&cells, ..).unwrap();
            file.close().unwrap();
        }
    }
    let cube = run(
        dir.path(),
        "{ name = \"t2m\", source = \"Temperature_Air_2m_Mean_24h\" }, \
         { name = \"tp\", source = \"Precipitation_Flux\", reduce = \"sum\" }",
    );
    assert_eq!(series(&cube, "t2m"), variables[0].3);
    assert_eq!(series(&cube, "tp"), variables[1].3);
}
