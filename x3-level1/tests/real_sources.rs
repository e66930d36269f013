//! SMAP Level 3, ERA5 and elevations of the real data beside the workspace: skipped where it is not, an error where `CI` is
//! set.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

#[path = "common/place.rs"]
mod place;

use std::fs;
use std::path::Path;

use minicube::testing::real;
use minicube::{Bounds, LonLat};
use ndarray::{Array2, s};
use place::{Place, said};

/// A cube whose centre is said to be there.
fn place_at(dir: &Path, lon: f64, lat: f64) -> Place {
    with_red(Place::new(dir, "32ULC", Some(LonLat { lon, lat })))
}

fn with_red(place: Place) -> Place {
    place.write("red", 30.0, &Array2::from_elem((8, 8), 7u16));
    place
}

fn put(place: &Place, from: &Path, to: &str) {
    let to = place.dir.join("data/raw").join(to);
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap();
}

/// A subset of freeze and thaw of 36 km on the global and the polar grid, `[am_pm, y, x]`, and flags that are fill
/// everywhere. The cell of each place was found by its own latitude and longitude in the file.
#[test]
fn a_subset_of_level_3_on_the_global_and_the_polar_grid() {
    let Some(file) = real("smap/SPL3FTP_subsetted.nc4") else { return };
    let rows = |grid: &str| match grid {
        "Global" => [
            [20.701_72, 68.715_09, 13.962_232],
            [283.183_9, 406.673_55, 477.093_26],
            [876.117_3, 853.469_36, 825.401_25],
        ],
        _ => [
            [493.217_35, 464.775_4, 282.857_03],
            [629.673_46, 605.861_4, 245.005_42],
            [768.333_2, 659.551_3, 163.661_88],
        ],
    };
    for (grid, lon, lat) in [("Global", -16.991_701, 65.649_85), ("Polar", -67.804_54, 68.100_136)] {
        let dir = tempfile::tempdir().unwrap();
        let place = place_at(dir.path(), lon, lat);
        put(&place, &file, "smap/20210101/SPL3FTP.nc4");
        let group = format!("Freeze_Thaw_Retrieval_Data_{grid}");
        let cube = place.cube(&format!(
            "assets = [\"red\"]\n[level1.smap]\nwindow = 3\ngranules_per_day = 1\nvariables = [\n\
             {{ name = \"altitude\", path = \"{group}/altitude_dem\", layer = 0 }},\n\
             {{ name = \"direction\", path = \"{group}/transition_direction\" }}]"
        ));
        let altitude = cube.read::<f32>("smap/altitude").unwrap();
        for (found, expected) in altitude.slice(s![0, 0, .., ..]).iter().zip(rows(grid).as_flattened()) {
            assert!((found - expected).abs() < 1e-3, "{grid}: {found} {expected}");
        }
        assert_eq!(cube.var_attrs("smap/altitude")["units"], "meters");
        assert!(
            cube.read::<f32>("smap/direction").unwrap().iter().all(|v| v.is_nan()),
            "254 is the fill value"
        );

        let output = place.run(&format!(
            "assets = [\"red\"]\n[level1.smap]\ngranules_per_day = 1\nvariables = [\
             {{ name = \"a\", path = \"{group}/altitude_dem\" }}]"
        ));
        assert!(said(&output).contains("expected `layer` (0 to 1)"), "{}", said(&output));
    }
}

/// The whole 36 km grid of Level 3 says where each of its cells is: the cells around a place must be around it, a cell and
/// less apart, across the antimeridian too.
#[test]
fn cells_of_level_3_are_where_they_say() {
    let Some(file) = real("smap/SC_SPL3SMP_009_prefetch.nc4") else { return };
    let mut known = 0;
    // Cells are 0.3734 degrees wide; below 30 degrees they are 0.28 to 0.33 degrees high.
    for (lon, lat) in [(6.9, 15.0), (26.0, -16.4), (179.95, -30.6), (-179.95, -30.6), (-73.4, 10.1)] {
        let dir = tempfile::tempdir().unwrap();
        let place = place_at(dir.path(), lon, lat);
        put(&place, &file, "smap/20210101/SPL3SMP.nc4");
        let group = "Soil_Moisture_Retrieval_Data_AM";
        let cube = place.cube(&format!(
            "assets = [\"red\"]\n[level1.smap]\nwindow = 3\ngranules_per_day = 1\nvariables = [\n\
             {{ name = \"lat\", path = \"{group}/latitude\" }},\n\
             {{ name = \"lon\", path = \"{group}/longitude\" }}]"
        ));
        let read = |name: &str| -> Array2<f32> {
            cube.read::<f32>(name).unwrap().slice(s![0, 0, .., ..]).to_owned()
        };
        let (lats, lons) = (read("smap/lat"), read("smap/lon"));
        for (at, cell_lon) in lons.indexed_iter() {
            if cell_lon.is_nan() {
                continue;
            }
            known += 1;
            let east = at.1 as f64 - 1.0;
            let away = (f64::from(*cell_lon) - lon - 0.373_44 * east + 180.0).rem_euclid(360.0) - 180.0;
            assert!(away.abs() < 0.19, "{lon} {lat}: column {} is at {cell_lon}", at.1);
            let south = at.0 as f64 - 1.0;
            let away = f64::from(lats[at]) - lat + 0.31 * south;
            assert!(away.abs() < 0.2, "{lon} {lat}: row {} is at {}", at.0, lats[at]);
        }
    }
    assert!(known >= 40, "{known} of 45 cells were seen that morning");
}

/// A month of hours of ERA5 over Britain, packed in 16 bits. Expected: xarray 2026.9.0, `interp` or `sel` of the hours, then
/// `resample("1D")`, of 1, 16 and 31 March 2019.
#[test]
fn a_month_of_era5_as_xarray_has_it() {
    let Some(file) = real("era5/era5_t2m_uk_201903.nc") else { return };
    for (lon, lat, mean, max, near, near_min) in [
        (
            -1.234,
            52.345,
            [281.249_906_51, 282.664_662_09, 280.542_409_25],
            [283.013_109_6, 284.528_448_16, 283.593_777_76],
            [281.328_791_67, 282.738_916_67, 280.661_458_33],
            [279.885, 279.221, 276.851],
        ),
        (
            0.1,
            57.9,
            [279.439_701_67, 278.390_053_33, 278.028_976_67],
            [280.158_12, 279.634_76, 278.822_04],
            [279.447_625, 278.400_833_33, 277.996_333_33],
            [279.115, 276.718, 277.269],
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let bounds = Bounds { x_min: 3e5, y_min: 5_799_760.0, x_max: 300_240.0, y_max: 5.8e6 };
        let place = with_red(Place::within(dir.path(), "32ULC", bounds, Some(LonLat { lon, lat }), 2019));
        put(&place, &file, "era5/t2m.nc");
        let read = |interpolation: &str| {
            let config = format!(
                "assets = [\"red\"]\n[level1.era5]\ninterpolation = \"{interpolation}\"\nvariables = [\n\
                 {{ name = \"mean\", source = \"t2m\" }},\n\
                 {{ name = \"max\", source = \"t2m\", reduce = \"max\" }},\n\
                 {{ name = \"min\", source = \"t2m\", reduce = \"min\" }}]"
            );
            let cube = place.cube(&config);
            ["mean", "max", "min"].map(|name| cube.read::<f32>(&format!("era5/{name}")).unwrap())
        };
        let ([bilinear, bilinear_max, _], [nearest, _, nearest_min]) = (read("bilinear"), read("nearest"));
        for (values, expected) in
            [(bilinear, mean), (bilinear_max, max), (nearest, near), (nearest_min, near_min)]
        {
            // 1 March is day 59 of the year, from 0.
            for (day, expected) in [59, 74, 89].into_iter().zip(expected) {
                let found = f64::from(values[[day, 0, 0]]);
                assert!((found - expected).abs() < 5e-5, "{lon} {lat} day {day}: {found} {expected}");
            }
            assert!(values[[58, 0, 0]].is_nan() && values[[90, 0, 0]].is_nan());
        }
    }
}

/// Four tiles of Copernicus GLO-30 in Los Angeles, which overlap and touch, make the same elevations as the mosaic that
/// dem-stitcher made of them.
#[test]
fn a_mosaic_of_tiles_equals_that_of_dem_stitcher() {
    let (Some(tiles), Some(golden)) = (real("dem/los_angeles_tiles"), real("dem/los_angeles_dem_geoid.tif"))
    else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    // 118 W 34 N, where the four meet, in UTM zone 11.
    let proj = proj::Proj::new_known_crs("EPSG:4326", "EPSG:32611", None).unwrap();
    let (x, y) = proj.convert((-118.0, 34.0)).unwrap();
    let bounds = Bounds { x_min: x - 120.0, y_min: y - 120.0, x_max: x + 120.0, y_max: y + 120.0 };
    let place = with_red(Place::within(dir.path(), "11SLT", bounds, None, 2021));
    let keys = "assets = [\"red\"]\nstatics = [\"dem\", \"slope\", \"aspect\"]";
    for entry in fs::read_dir(tiles).unwrap() {
        let path = entry.unwrap().path();
        put(&place, &path, &format!("dem/{}", path.file_name().unwrap().to_string_lossy()));
    }
    let mosaic = place.cube(keys);
    fs::remove_dir_all(dir.path().join("data/raw/dem")).unwrap();
    put(&place, &golden, "dem/golden.tif");
    let whole = place.cube(keys);
    for name in ["static/dem", "static/slope", "static/aspect"] {
        let (ours, theirs) = (mosaic.read::<f32>(name).unwrap(), whole.read::<f32>(name).unwrap());
        assert!(ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-3), "{name}: {ours:?} {theirs:?}");
        assert!(name != "static/dem" || ours.iter().all(|z| (40.0..422.0).contains(z)));
    }
}
