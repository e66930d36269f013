//! SMAP, ERA5 and the unchanging rasters: readable by their libraries, equal to the weather and the land.

use chrono::{Datelike, NaiveDate};
use gdal::Dataset;
use gdal::spatial_ref::{AxisMappingStrategy, CoordTransform, SpatialRef};
use gdal::vsi::{create_mem_file, unlink_mem_file};
use testworld::Region;

use crate::{client, get_bytes, get_json, served};

fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap()
}

async fn get_text(url: &str) -> String {
    String::from_utf8(get_bytes(url).await).unwrap()
}

#[tokio::test]
async fn smap_days_and_granules_are_listed() {
    let (_, server) = served();
    let root = format!("{}/smap/SPL4SMGP.007/", server.base_url());
    let days = get_text(&root).await;
    assert!(days.contains("<a href=\"2021.01.01/\">2021.01.01/</a>"));
    assert_eq!(days.matches("<a href=\"20").count(), 2557);
    let granules = get_text(&format!("{root}2021.01.01/")).await;
    assert_eq!(granules.matches("_001.h5\"").count(), 8);
    assert!(granules.contains("SMAP_L4_SM_gph_20210101T013000_Vv7032_001.h5"));
    assert_eq!(client().get(format!("{root}2024.01.01/")).send().await.unwrap().status(), 404);
    assert_eq!(client().get(format!("{root}2021.01.01/other.h5")).send().await.unwrap().status(), 404);
    let xml = client().get(format!("{root}2021.01.01/SMAP_L4_SM_gph_20210101T013000_Vv7032_001.h5.iso.xml"));
    assert!(xml.send().await.unwrap().status().is_success());
}

#[tokio::test]
async fn a_day_of_smap_is_the_weather() {
    let (world, server) = served();
    let date = day(2021, 1, 14);
    let folder = tempfile::tempdir().unwrap();
    let centre = world.active_bbox(Region::Africa).center();
    let (mut moisture, mut rain, mut size) = (0.0, 0.0, 0);
    for k in 0..8 {
        let name = format!("SMAP_L4_SM_gph_20210114T{:02}3000_Vv7032_001.h5", 3 * k + 1);
        let bytes = get_bytes(&format!("{}/smap/SPL4SMGP.007/2021.01.14/{name}", server.base_url())).await;
        size = bytes.len();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let file = hdf5::File::open(&path).unwrap();
        let x = file.dataset("x").unwrap().read_1d::<f64>().unwrap();
        let y = file.dataset("y").unwrap().read_1d::<f64>().unwrap();
        assert_eq!((x.len(), y.len()), (3856, 1624));
        let projected = to_ease(centre.x, centre.y);
        let col = x.iter().position(|x| (x - projected.0).abs() <= 4504.1).unwrap();
        let row = y.iter().position(|y| (y - projected.1).abs() <= 4504.1).unwrap();
        let cell = |name: &str| {
            let data = file.dataset(name).unwrap();
            assert_eq!(data.shape(), [1624, 3856]);
            data.read_slice_2d::<f32, _>((row..row + 1, col..col + 1)).unwrap()[[0, 0]]
        };
        assert!((f64::from(cell("cell_lat")) - centre.y).abs() < 0.1);
        assert!((f64::from(cell("cell_lon")) - centre.x).abs() < 0.1);
        moisture += f64::from(cell("Geophysical_Data/sm_rootzone")) / 8.0;
        rain += f64::from(cell("Geophysical_Data/precipitation_total_surface_flux")) * 3.0 * 3600.0;
        let far = file.dataset("Geophysical_Data/sm_surface").unwrap();
        assert_eq!(far.read_slice_2d::<f32, _>((0..1, 0..1)).unwrap()[[0, 0]], -9999.0);
        let seconds = file.dataset("time").unwrap().read_1d::<f64>().unwrap()[0];
        let epoch = day(2000, 1, 1).and_hms_milli_opt(11, 58, 55, 816).unwrap();
        let moment = epoch + chrono::Duration::milliseconds((seconds * 1e3).round() as i64);
        assert_eq!(moment, date.and_hms_opt(3 * k + 1, 30, 0).unwrap());
    }
    println!("{size} bytes a granule");
    let truth = world.weather(Region::Africa, date).unwrap();
    assert!((rain - truth.rain_mm).abs() < 1e-3 * truth.rain_mm.max(1.0), "{rain} {}", truth.rain_mm);
    assert!((moisture / truth.soil_root_zone - 1.0).abs() < 0.041, "{moisture} {}", truth.soil_root_zone);
}

#[tokio::test]
async fn era5_days_are_the_weather() {
    let (world, server) = served();
    for region in Region::ALL {
        let listing = get_text(&format!("{}/era5/{region}/", server.base_url())).await;
        assert!(listing.contains(&format!("era5_{region}_2020.nc")));
        let url = format!("{}/era5/{region}/era5_{region}_2020.nc", server.base_url());
        let start = std::time::Instant::now();
        let bytes = get_bytes(&url).await;
        println!("{} bytes in {:?}", bytes.len(), start.elapsed());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("era5.nc");
        std::fs::write(&path, &bytes).unwrap();
        let file = netcdf::open(&path).unwrap();
        let latitude: Vec<f64> = file.variable("latitude").unwrap().get_values(..).unwrap();
        assert!(latitude.windows(2).all(|pair| pair[0] > pair[1]));
        let centre = world.active_bbox(region).center();
        assert!(latitude[5] < centre.y && centre.y < latitude[0]);
        let time: Vec<i32> = file.variable("time").unwrap().get_values(..).unwrap();
        assert_eq!(time.len(), 366 * 24);
        let date = day(2020, 3, 3);
        let hours = (date.ordinal0() as usize * 24)..(date.ordinal() as usize * 24);
        let mean = |name: &str| {
            let values: Vec<f32> = file.variable(name).unwrap().get_values((hours.clone(), .., ..)).unwrap();
            values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64
        };
        let truth = world.weather(region, date).unwrap();
        assert!((mean("t2m") - 273.15 - truth.temperature_c).abs() < 1e-3);
        assert!((mean("tp") * 24e3 - truth.rain_mm).abs() < 1e-4 * truth.rain_mm.max(1.0));
        assert!((mean("sp") - truth.pressure_pa).abs() < 0.1);
        assert!((mean("pev") * -24e3 - truth.potential_evaporation_mm).abs() < 1e-4);
        assert!((mean("ssr") * 24.0 / truth.solar_j_m2 - 1.0).abs() < 1e-5);
        drop(file);
        let (_, again) = served();
        let url = format!("{}/era5/{region}/era5_{region}_2020.nc", again.base_url());
        assert!(bytes == get_bytes(&url).await, "two servers differ");
    }
}

#[tokio::test]
async fn rasters_cover_the_window_and_show_the_land() {
    let (world, server) = served();
    for region in Region::ALL {
        let window = world.active_window(region);
        for layer in ["dem", "landcover", "climate"] {
            let start = std::time::Instant::now();
            let bytes = get_bytes(&format!("{}/{layer}/{region}.tif", server.base_url())).await;
            println!("{layer} {region}: {} bytes, {:?}", bytes.len(), start.elapsed());
            let path = format!("/vsimem/{layer}_{region}.tif");
            create_mem_file(&path, bytes).unwrap();
            let data = Dataset::open(&path).unwrap();
            assert_eq!(data.spatial_ref().unwrap().auth_code().unwrap(), 4326);
            let [west, step, _, north, _, _] = data.geo_transform().unwrap();
            let (width, height) = data.raster_size();
            let pixels = data
                .rasterband(1)
                .unwrap()
                .read_as::<f64>((0, 0), (width, height), (width, height), None)
                .unwrap();
            let mut seen = std::collections::BTreeMap::<i64, usize>::new();
            for row in 0..40 {
                for col in 0..40 {
                    let at = minicube::XY {
                        x: window.x_min + 512.0 * (col as f64 + 0.5),
                        y: window.y_max - 512.0 * (row as f64 + 0.5),
                    };
                    let point = world.lon_lat(region, at);
                    let (i, j) =
                        (((point.lon - west) / step) as usize, ((north - point.lat) / step) as usize);
                    let value = pixels.data()[j * width + i];
                    *seen.entry(value as i64).or_default() += 1;
                    if layer == "dem" {
                        let truth = world.elevation(region, at.x, at.y);
                        assert!((value - truth).abs() < 25.0, "{value} {truth}");
                    }
                }
            }
            match layer {
                "dem" => assert!(seen.keys().last().unwrap() - seen.keys().next().unwrap() > 60, "{seen:?}"),
                "landcover" => assert!(seen.len() >= 6, "{seen:?}"),
                _ => assert!(seen.len() == 2 && seen.values().all(|count| *count > 150), "{seen:?}"),
            }
            println!("{seen:?}");
            drop(data);
            unlink_mem_file(&path).unwrap();
        }
    }
}

fn to_ease(lon: f64, lat: f64) -> (f64, f64) {
    let reference = |code| {
        let mut reference = SpatialRef::from_epsg(code).unwrap();
        reference.set_axis_mapping_strategy(AxisMappingStrategy::TraditionalGisOrder);
        reference
    };
    let transform = CoordTransform::new(&reference(4326), &reference(6933)).unwrap();
    let (mut x, mut y) = ([lon], [lat]);
    transform.transform_coords(&mut x, &mut y, &mut []).unwrap();
    (x[0], y[0])
}

#[tokio::test]
async fn the_counters_are_served_and_do_not_count_themselves() {
    let (_, server) = served();
    let stats = format!("{}/stats", server.base_url());
    assert_eq!(get_json(&stats).await["requests"], 0);
    let body = get_bytes(&format!("{}/climate/africa.tif", server.base_url())).await;
    let after = get_json(&stats).await;
    assert_eq!(
        (after["requests"].as_u64(), after["file_bytes"].as_u64(), after["sent_bytes"].as_u64()),
        (Some(1), Some(body.len() as u64), Some(body.len() as u64))
    );
    assert!(after["busy_s"].as_f64().unwrap() > 0.0);
    let head = client().head(format!("{}/climate/africa.tif", server.base_url())).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], body.len().to_string().as_str());
    assert_eq!(get_json(&stats).await["sent_bytes"].as_u64(), Some(body.len() as u64));
}
