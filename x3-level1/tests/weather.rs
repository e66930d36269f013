//! Weather of other shapes: SMAP Level 3 and fluxes, points between grid points, and files with faults.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

#[path = "common/place.rs"]
mod place;

use std::fs;
use std::path::Path;

use hdf5::types::VarLenUnicode;
use minicube::{Cube, LonLat};
use ndarray::{Array2, Array3};
use place::{Place, said};

/// A cube whose centre is said to be at 26.1 E 22.6 S.
fn place(dir: &Path) -> Place {
    place_at(dir, LonLat { lon: 26.1, lat: -22.6 })
}

fn place_at(dir: &Path, center: LonLat) -> Place {
    let place = Place::new(dir, "35KMQ", Some(center));
    place.write("red", 30.0, &Array2::from_elem((8, 8), 7u16));
    place
}

/// Attributes that Level 3 gives its variables.
struct Meaning {
    units: &'static str,
    valid: Option<(f32, f32)>,
    scale: Option<f64>,
}

fn text(dataset: &hdf5::Dataset, key: &str, value: &str) {
    let value: VarLenUnicode = value.parse().unwrap();
    dataset.new_attr::<VarLenUnicode>().create(key).unwrap().write_scalar(&value).unwrap();
}

fn describe(dataset: &hdf5::Dataset, meaning: &Meaning) {
    text(dataset, "units", meaning.units);
    dataset.new_attr::<f32>().create("_FillValue").unwrap().write_scalar(&-9999.0f32).unwrap();
    if let Some((low, high)) = meaning.valid {
        dataset.new_attr::<f32>().create("valid_min").unwrap().write_scalar(&low).unwrap();
        dataset.new_attr::<f32>().create("valid_max").unwrap().write_scalar(&high).unwrap();
    }
    if let Some(scale) = meaning.scale {
        dataset.new_attr::<f64>().create("scale_factor").unwrap().write_scalar(&scale).unwrap();
    }
}

fn granule(place: &Place, day: &str, name: &str) -> hdf5::File {
    let folder = place.dir.join("data/raw/smap").join(day);
    fs::create_dir_all(&folder).unwrap();
    hdf5::File::create(folder.join(name)).unwrap()
}

fn first_days(cube: &Cube, name: &str, days: usize) -> Vec<f32> {
    let values = cube.read::<f32>(name).unwrap();
    values.iter().take(days).copied().collect()
}

/// Level 3: a whole 36 km grid a day in groups, layers before and after the grid, packed bytes, a valid range. The cell of
/// 26.1 E 22.6 S, by EASE2's equations, is row 327 − … worked out by the grid itself in its own tests: here the number
/// in each cell says which it is.
#[test]
fn level_3_granules_are_read_by_path() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let grid = x3_level1::Ease2Grid::global(406, 964).unwrap();
    let (x, y) = grid.project(&[LonLat { lon: 26.1, lat: -22.6 }]).unwrap()[0];
    let (row, col) = grid.cell_of(x, y).unwrap();
    for (day, moisture) in [("20210101", 0.25f32), ("20210102", 0.55), ("20210103", -9999.0)] {
        let file = granule(&place, day, &format!("SMAP_L3_SM_P_{day}_R18240_001.h5"));
        let group = file.create_group("Soil_Moisture_Retrieval_Data_AM").unwrap();
        let mut flat = Array2::from_elem((406, 964), -9999.0f32);
        flat[[row, col]] = moisture;
        let data = group.new_dataset_builder().with_data(&flat).create("soil_moisture").unwrap();
        describe(&data, &Meaning { units: "cm**3/cm**3", valid: Some((0.02, 0.5)), scale: None });
        let mut classes = Array3::from_elem((406, 964, 3), 0u8);
        classes[[row, col, 1]] = 12;
        let data = group.new_dataset_builder().with_data(&classes).create("landcover_class").unwrap();
        text(&data, "units", "1");
        let mut layers = Array3::from_elem((2, 406, 964), 0i16);
        layers[[1, row, col]] = 2512;
        let data = group.new_dataset_builder().with_data(&layers).create("temperature").unwrap();
        describe(&data, &Meaning { units: "K", valid: None, scale: Some(0.1) });
    }
    let group = "Soil_Moisture_Retrieval_Data_AM";
    let cube = place.cube(&format!(
        "assets = [\"red\"]\n[level1.smap]\ngranules_per_day = 1\nvariables = [\n\
         {{ name = \"sm_am\", path = \"{group}/soil_moisture\" }},\n\
         {{ name = \"class\", path = \"/{group}/landcover_class\", layer = 1 }},\n\
         {{ name = \"t\", path = \"{group}/temperature\", layer = 1 }}]"
    ));
    let moisture = first_days(&cube, "smap/sm_am", 4);
    assert_eq!(moisture[0], 0.25);
    assert!(moisture[1].is_nan(), "0.55 is above valid_max");
    assert!(moisture[2].is_nan() && moisture[3].is_nan());
    assert_eq!(cube.var_attrs("smap/sm_am")["units"], "cm**3/cm**3");
    assert_eq!(first_days(&cube, "smap/class", 2), [12.0, 12.0]);
    assert!((first_days(&cube, "smap/t", 1)[0] - 251.2).abs() < 1e-4);

    let output = place.run(&format!(
        "assets = [\"red\"]\n[level1.smap]\ngranules_per_day = 1\nvariables = [\
         {{ name = \"class\", path = \"{group}/landcover_class\" }}]"
    ));
    let expected = "expected `layer` (0 to 2) for shape [406, 964, 3], found none";
    assert!(output.status.code() == Some(2) && said(&output).contains(expected), "{}", said(&output));
}

/// Name, units and value of a granule, of eight a day.
type Series = (&'static str, &'static str, fn(usize) -> f32);

/// A subset of 3 × 3 cells of 9 km around the place, each variable with its eight values of a day.
fn level_4(place: &Place, day: &str, variables: &[Series], granules: usize) {
    let grid = x3_level1::Ease2Grid::global(1624, 3856).unwrap();
    let centre = grid.project(&[LonLat { lon: 26.1, lat: -22.6 }]).unwrap()[0];
    for k in 0..granules {
        let file = granule(place, day, &format!("SMAP_L4_SM_gph_{day}T{:02}3000_Vv7032_001.h5", 3 * k + 1));
        let group = file.create_group("Geophysical_Data").unwrap();
        for (name, units, value) in variables {
            let values = Array2::from_elem((3, 3), value(k));
            let data = group.new_dataset_builder().with_data(&values).create(*name).unwrap();
            describe(&data, &Meaning { units, valid: None, scale: None });
        }
        let axis = |middle: f64, step: f64| [-step, 0.0, step].map(|d| middle + d).to_vec();
        file.new_dataset_builder().with_data(&axis(centre.0, 9008.0)).create("x").unwrap();
        file.new_dataset_builder().with_data(&axis(centre.1, -9008.0)).create("y").unwrap();
    }
}

/// Rain of 1 … 8 · 10⁻⁵ kg m-2 s-1 in eight times three hours: 36 · 10⁻⁵ · 10 800 s = 3.888 kg m-2. Heat by the mean.
#[test]
fn fluxes_of_water_are_integrated_over_the_day() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let rain: Series = ("precipitation_total_surface_flux", "kg m-2 s-1", |k| (k + 1) as f32 * 1e-5);
    let heat: Series = ("heat_flux_latent", "W m-2", |k| 100.0 + k as f32);
    level_4(&place, "20210101", &[rain, heat], 8);
    level_4(&place, "20210102", &[rain, heat], 7);
    let cube = place.cube(
        "assets = [\"red\"]\n[level1.smap]\nvariables = [\n\
         { name = \"precipitation_total_surface_flux\" },\n\
         { name = \"rate\", path = \"Geophysical_Data/precipitation_total_surface_flux\", reduce = \"mean\" },\n\
         { name = \"heat_flux_latent\" },\n\
         { name = \"heat\", path = \"Geophysical_Data/heat_flux_latent\", reduce = \"integral\" }]",
    );
    let rain = first_days(&cube, "smap/precipitation_total_surface_flux", 2);
    assert!((rain[0] - 3.888).abs() < 1e-5 && rain[1].is_nan(), "{rain:?}");
    let attrs = cube.var_attrs("smap/precipitation_total_surface_flux");
    assert_eq!(
        (attrs["units"].as_str(), attrs["cell_methods"].as_str()),
        (Some("kg m-2"), Some("time: sum"))
    );
    let rate = first_days(&cube, "smap/rate", 2);
    assert!((rate[0] - 4.5e-5).abs() < 1e-9 && (rate[1] - 4e-5).abs() < 1e-9, "{rate:?}");
    assert_eq!(first_days(&cube, "smap/heat_flux_latent", 1), [103.5]);
    assert_eq!(first_days(&cube, "smap/heat", 1), [103.5 * 86_400.0]);
    assert_eq!(cube.var_attrs("smap/heat")["units"], "J m-2");

    let output = place.run(
        "assets = [\"red\"]\n[level1.smap]\nvariables = [\
         { name = \"m\", path = \"Geophysical_Data/nothing\" }]",
    );
    let said = said(&output);
    assert!(output.status.code() == Some(2) && said.contains("Geophysical_Data/nothing"), "{said}");
    assert!(said.contains("expected it in one of 15 granules, found it in none"), "{said}");
}

/// A variable that half of the granules lack is a gap of the store, which is built all the same; a day with more
/// granules than it can have, or other units, is refused.
#[test]
fn granules_with_faults() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let surface: Series = ("sm_surface", "m3 m-3", |_| 0.25);
    let root: Series = ("sm_rootzone", "m3 m-3", |_| 0.5);
    level_4(&place, "20210101", &[surface, root], 8);
    level_4(&place, "20210102", &[surface], 8);
    let keys = "assets = [\"red\"]\n[level1.smap]\nvariables = [{ name = \"sm_surface\" }, { name = \"sm_rootzone\" }]";
    for _ in 0..2 {
        let output = place.run(keys);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(
            said(&output).contains("8 of 16 granules lack Geophysical_Data/sm_rootzone"),
            "{}",
            said(&output)
        );
    }
    let cube = Cube::open(&dir.path().join("data/level1/35KMQ.zarr"), "level1").unwrap();
    assert_eq!(first_days(&cube, "smap/sm_surface", 2), [0.25, 0.25]);
    let root = first_days(&cube, "smap/sm_rootzone", 2);
    assert!(root[0] == 0.5 && root[1].is_nan());
    let gap = &cube.attrs()["gaps"][0];
    assert_eq!(
        (gap["asset"].as_str(), gap["cubes"][0].as_str()),
        (Some("smap/sm_rootzone"), Some("35KMQ_0102"))
    );

    let folder = dir.path().join("data/raw/smap/20210102");
    let granule = folder.join("SMAP_L4_SM_gph_20210102T013000_Vv7032_001.h5");
    let newer = folder.join("SMAP_L4_SM_gph_20210102T013000_Vv7032_002.h5");
    fs::copy(&granule, &newer).unwrap();
    let output = place.run(keys);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("20210102: expected at most 8 granules of a day"), "{}", said(&output));
    fs::remove_file(newer).unwrap();

    fs::remove_dir_all(dir.path().join("data/level1")).unwrap();
    let percent: Series = ("sm_surface", "%", |_| 25.0);
    fs::remove_dir_all(&folder).unwrap();
    level_4(&place, "20210102", &[percent], 8);
    let output = place.run(keys);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("expected units m3 m-3 as before, found %"), "{}", said(&output));

    let bytes = fs::read(&granule).unwrap();
    fs::write(&granule, &bytes[..bytes.len() / 2]).unwrap();
    let output = place.run(keys);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("T013000_Vv7032_001.h5: variable /: unreadable HDF5"),
        "{}",
        said(&output)
    );
}

/// A NetCDF file in `raw/era5`.
struct Weather<'a> {
    name: &'a str,
    times: Vec<f64>,
    time_units: &'a str,
    lat: Vec<f64>,
    lon: Vec<f64>,
    variables: Vec<(&'a str, &'a str, Array3<f64>)>,
    classic: bool,
}

impl Weather<'_> {
    fn write(&self, place: &Place) {
        let folder = place.dir.join("data/raw/era5");
        fs::create_dir_all(&folder).unwrap();
        let format = if self.classic { netcdf::Options::_64BIT_OFFSET } else { netcdf::Options::NETCDF4 };
        let mut file = netcdf::create_with(folder.join(self.name), format).unwrap();
        for (name, values) in [("time", &self.times), ("latitude", &self.lat), ("longitude", &self.lon)] {
            file.add_dimension(name, values.len()).unwrap();
            let mut axis = file.add_variable::<f64>(name, &[name]).unwrap();
            if name == "time" {
                axis.put_attribute("units", self.time_units).unwrap();
            }
        }
        for (name, units, _) in &self.variables {
            let mut data = file.add_variable::<f64>(name, &["time", "latitude", "longitude"]).unwrap();
            data.put_attribute("units", *units).unwrap();
        }
        if self.classic {
            file.enddef().unwrap();
        }
        for (name, values) in [("time", &self.times), ("latitude", &self.lat), ("longitude", &self.lon)] {
            file.variable_mut(name).unwrap().put_values(values, ..).unwrap();
        }
        for (name, _, values) in &self.variables {
            file.variable_mut(name).unwrap().put_values(values.as_slice().unwrap(), ..).unwrap();
        }
        file.close().unwrap();
    }
}

/// 2021-01-01 in days since 1950-01-01.
const FIRST: f64 = 25_933.0;

/// Daily values of 2 × 2 points around the place.
fn daily<'a>(name: &'a str, variable: &'a str, days: &[f64], value: impl Fn(f64) -> f64) -> Weather<'a> {
    let values = Array3::from_shape_fn((days.len(), 2, 2), |(t, _, _)| value(days[t]));
    Weather {
        name,
        times: days.iter().map(|day| FIRST + day).collect(),
        time_units: "days since 1950-01-01",
        lat: vec![-22.5, -22.75],
        lon: vec![26.0, 26.25],
        variables: vec![(variable, "K", values)],
        classic: false,
    }
}

fn refused(place: &Place, keys: &str, expected: &str) {
    let output = place.run(keys);
    assert_eq!(output.status.code(), Some(2), "expected `{expected}` in {}", said(&output));
    assert!(said(&output).contains(expected), "expected `{expected}` in {}", said(&output));
    assert!(!place.dir.join("data/level1/35KMQ.zarr").exists());
}

const T2M: &str = "assets = [\"red\"]\n[level1.era5]\nvariables = [{ name = \"t2m\" }]";

/// Bilinear interpolation in xarray and nearest points, at places of grids that descend, ascend and go round the Earth.
#[test]
fn points_between_grid_points_equal_those_of_xarray() {
    let path = minicube::testing::own_file("tests/data/xarray/interp.json");
    let cases: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let axis = |value: &serde_json::Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
    };
    let mut compared = 0;
    for case in cases.as_array().unwrap() {
        for at in case["places"].as_array().unwrap() {
            let dir = tempfile::tempdir().unwrap();
            let center = LonLat { lon: at["lon"].as_f64().unwrap(), lat: at["lat"].as_f64().unwrap() };
            let center = LonLat { lon: (center.lon + 180.0).rem_euclid(360.0) - 180.0, ..center };
            let place = place_at(dir.path(), center);
            let (lat, lon) = (axis(&case["latitude"]), axis(&case["longitude"]));
            let values = Array3::from_shape_fn((1, lat.len(), lon.len()), |(_, r, c)| {
                ((r * 31 + c * 17) % 50) as f64 / 10.0
            });
            let weather = Weather {
                lat,
                lon,
                variables: vec![("t2m", "K", values)],
                ..daily("t2m.nc", "", &[0.0], |_| 0.0)
            };
            weather.write(&place);
            for (way, name) in [("linear", "bilinear"), ("nearest", "nearest")] {
                let cube = place.cube(&format!("{T2M}\ninterpolation = \"{name}\""));
                let found = f64::from(first_days(&cube, "era5/t2m", 1)[0]);
                let expected = at[way].as_f64().unwrap();
                assert!((found - expected).abs() < 1e-6, "{} {at}: {found}", case["name"]);
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 20);
}

/// Times may stand in any order. Infinities are absent.
#[test]
fn times_out_of_order_and_infinities() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let value = |day: f64| if day == 1.0 { f64::INFINITY } else { 280.0 + day };
    daily("t2m.nc", "t2m", &[3.0, 0.0, 2.0, 1.0], value).write(&place);
    let cube = place.cube(T2M);
    let found = first_days(&cube, "era5/t2m", 5);
    assert_eq!([found[0], found[2], found[3]], [280.0, 282.0, 283.0]);
    assert!(found[1].is_nan() && found[4].is_nan());
}

/// Half of the files lack a variable that the others have: a gap, and the rest is there.
#[test]
fn a_variable_missing_in_half_of_the_files_is_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let mut first = daily("a.nc", "t2m", &[0.0, 1.0], |day| 280.0 + day);
    first.variables.push(("tp", "m", Array3::from_elem((2, 2, 2), 0.5)));
    first.write(&place);
    daily("b.nc", "t2m", &[2.0, 3.0, 4.0], |day| 280.0 + day).write(&place);
    let output = place.run(
        "assets = [\"red\"]\n[level1.era5]\nvariables = [{ name = \"t2m\" }, { name = \"tp\", reduce = \"sum\" }]",
    );
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let expected = "no tp on 3 days from 2021-01-03 to 2021-01-05, for which there is other weather";
    assert!(said(&output).contains(expected), "{}", said(&output));
    let cube = Cube::open(&dir.path().join("data/level1/35KMQ.zarr"), "level1").unwrap();
    assert_eq!(cube.attrs()["gaps"][0]["asset"], "era5/tp");
    assert_eq!(first_days(&cube, "era5/t2m", 5), [280.0, 281.0, 282.0, 283.0, 284.0]);
    let rain = first_days(&cube, "era5/tp", 3);
    assert!(rain[..2] == [0.5, 0.5] && rain[2].is_nan());
}

#[test]
fn weather_files_with_faults_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let folder = dir.path().join("data/raw/era5");
    let clear = || fs::remove_dir_all(&folder).unwrap();

    daily("t2m.nc", "t2m", &[0.0, 1.0, 1.0], |day| 280.0 + day).write(&place);
    refused(&place, T2M, "t2m.nc: variable t2m: expected each time once, found 2021-01-02 00:00:00 twice");
    clear();
    let weather = daily("t2m.nc", "t2m", &[0.0], |_| 280.0);
    Weather { time_units: "fortnights since 1950-01-01", ..weather }.write(&place);
    refused(&place, T2M, "t2m.nc: variable time: expected time units like `hours since");
    clear();
    daily("t2m.nc", "t2m", &[0.0, f64::NAN], |_| 280.0).write(&place);
    refused(&place, T2M, "t2m.nc: variable time: expected a number for each time, found NaN");
    clear();
    daily("a.nc", "t2m", &[0.0], |_| 280.0).write(&place);
    let mut celsius = daily("b.nc", "t2m", &[1.0], |_| 8.0);
    celsius.variables[0].1 = "degC";
    celsius.write(&place);
    refused(&place, T2M, "b.nc: variable t2m: expected units K as in the files before, found degC");
    clear();
    let weather = daily("t2m.nc", "t2m", &[0.0], |_| 280.0);
    Weather { lon: vec![-20.0, -19.75], ..weather }.write(&place);
    refused(&place, T2M, "t2m.nc: variable t2m: expected a grid over 26.100 E -22.600 N");
    clear();
    // Cut short: NetCDF-4, and classic NetCDF, of which a reader may take what is missing for zeros.
    for (classic, expected) in
        [(false, "t2m.nc: variable /: unreadable NetCDF"), (true, "t2m.nc: variable /: unreadable NetCDF")]
    {
        let days: Vec<f64> = (0..300).map(f64::from).collect();
        Weather { classic, ..daily("t2m.nc", "t2m", &days, |_| 280.0) }.write(&place);
        let path = folder.join("t2m.nc");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() * 2 / 3]).unwrap();
        refused(&place, T2M, expected);
        clear();
    }
    daily("t2m.nc", "t2m", &[0.0], |_| 280.0).write(&place);
    refused(
        &place,
        &T2M.replace("t2m\" }", "t2m\", reduce = \"integral\" }"),
        "expects a rate, in units such as",
    );
    refused(&place, &format!("{T2M}\ninterpolation = \"cubic\""), "known values: nearest, bilinear");
}
