//! The public archives: ERA5 as Zarr, and the search for SMAP granules.

use std::io::Read;

use serde_json::Value;
use testworld::{Region, ServeOptions, World, serve};

use crate::{client, get_bytes, get_json, served};

async fn chunk(url: &str) -> Vec<u8> {
    let mut raw = Vec::new();
    flate2::read::ZlibDecoder::new(get_bytes(url).await.as_slice()).read_to_end(&mut raw).unwrap();
    raw
}

fn floats(raw: &[u8]) -> Vec<f32> {
    raw.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[tokio::test]
async fn chunks_hold_the_numbers_of_the_netcdf_files() {
    let (_, server) = served();
    let folder = tempfile::tempdir().unwrap();
    let names = [
        ("t2m", "2m_temperature"),
        ("tp", "total_precipitation"),
        ("sp", "surface_pressure"),
        ("ssr", "surface_net_solar_radiation"),
        ("pev", "potential_evaporation"),
    ];
    // 3 March 2020 is day 62 of its year (from 0) and day 1523 of the archive: 366 + 365 + 365 + 365 + 62.
    let (day_of_year, day) = (62, 1523);
    for region in Region::ALL {
        let store = format!("{}/era5.zarr/{region}", server.base_url());
        let path = folder.path().join(format!("{region}.nc"));
        let year = get_bytes(&format!("{}/era5/{region}/era5_{region}_2020.nc", server.base_url())).await;
        std::fs::write(&path, year).unwrap();
        let file = netcdf::open(&path).unwrap();
        let axis = |name: &str| file.variable(name).unwrap().get_values::<f64, _>(..).unwrap();
        for name in ["latitude", "longitude"] {
            let stored = floats(&chunk(&format!("{store}/{name}/0")).await);
            assert_eq!(stored.iter().map(|v| f64::from(*v)).collect::<Vec<_>>(), axis(name), "{name}");
        }
        for (short, long) in names {
            // Chunk (1, 1) holds the last two of six rows and columns, and nothing beyond.
            let stored = floats(&chunk(&format!("{store}/{long}/{day}.1.1")).await);
            let hours = day_of_year * 24..(day_of_year + 1) * 24;
            let wanted: Vec<f32> = file.variable(short).unwrap().get_values((hours, 4..6, 4..6)).unwrap();
            assert_eq!(stored.len(), 24 * 4 * 4);
            for (k, value) in stored.iter().enumerate() {
                let (hour, row, col) = (k / 16, k / 4 % 4, k % 4);
                if row < 2 && col < 2 {
                    assert_eq!(*value, wanted[hour * 4 + row * 2 + col], "{long} {hour} {row} {col}");
                } else {
                    assert!(value.is_nan());
                }
            }
        }
    }
}

#[tokio::test]
async fn the_store_is_described_once_and_piece_by_piece() {
    let (_, server) = served();
    let store = format!("{}/era5.zarr/africa", server.base_url());
    let all = get_json(&format!("{store}/.zmetadata")).await;
    assert_eq!(all["zarr_consolidated_format"], 1);
    let documents = all["metadata"].as_object().unwrap();
    assert_eq!(documents.len(), 2 + 2 * 8);
    for (name, document) in documents {
        assert_eq!(&get_json(&format!("{store}/{name}")).await, document, "{name}");
    }
    let array = &documents["total_precipitation/.zarray"];
    assert_eq!(array["shape"], serde_json::json!([61_368, 6, 6]));
    assert_eq!(array["chunks"], serde_json::json!([24, 4, 4]));
    assert_eq!(array["compressor"], serde_json::json!({ "id": "zlib", "level": 1 }));
    assert_eq!((array["fill_value"].as_str(), array["dtype"].as_str()), (Some("NaN"), Some("<f4")));
    let attributes = &documents["total_precipitation/.zattrs"];
    assert_eq!((attributes["short_name"].as_str(), attributes["units"].as_str()), (Some("tp"), Some("m")));
    let time = chunk(&format!("{store}/time/0")).await;
    let hours: Vec<i64> = time.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
    // 1900 to 2015 are 116 years with 28 leap days (1900 has none): 42 368 days.
    assert_eq!((hours[0], hours.len()), (42_368 * 24, 61_368));
    assert!(hours.windows(2).all(|pair| pair[1] == pair[0] + 1));
    for absent in ["total_precipitation/2557.0.0", "total_precipitation/0.0.2", "t2m/.zarray", ""] {
        let answer = client().get(format!("{store}/{absent}")).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{absent}");
    }
}

const QUERY: &str = "short_name=SPL4SMGP&version=007&provider=NSIDC_CPRD\
                     &temporal=2021-02-13T00:00:01Z,2021-02-15T12:00:00Z&page_size=8";

/// Names, total, and token for the next page.
async fn page(base: &str, after: Option<&str>, post: bool) -> (Vec<Value>, usize, Option<String>) {
    let url = format!("{base}/cmr/search/granules.json");
    let request = if post { client().post(url).body(QUERY) } else { client().get(format!("{url}?{QUERY}")) };
    let request = match after {
        Some(token) => request.header("CMR-Search-After", token),
        None => request,
    };
    let answer = request.send().await.unwrap().error_for_status().unwrap();
    let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (hits, next) = (header("CMR-Hits").unwrap().parse().unwrap(), header("CMR-Search-After"));
    let body: Value = answer.json().await.unwrap();
    (body["feed"]["entry"].as_array().unwrap().clone(), hits, next)
}

#[tokio::test]
async fn pages_of_granules_lead_to_each_granule_once() {
    let (_, server) = served();
    for post in [false, true] {
        let (mut all, mut after, mut sizes) = (Vec::new(), None::<String>, Vec::new());
        loop {
            let (entries, hits, next) = page(server.base_url(), after.as_deref(), post).await;
            // Two days of eight, and of the third day those that begin at 0, 3, 6, 9 and 12 o'clock.
            assert_eq!(hits, 21);
            sizes.push(entries.len());
            all.extend(entries);
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(sizes, [8, 8, 5]);
        let starts: Vec<&str> = all.iter().map(|entry| entry["time_start"].as_str().unwrap()).collect();
        assert_eq!((starts[0], starts[20]), ("2021-02-13T00:00:00.000Z", "2021-02-15T12:00:00.000Z"));
        assert!(starts.is_sorted() && starts.windows(2).all(|pair| pair[0] != pair[1]));
        let entry = &all[9];
        let links = entry["links"].as_array().unwrap();
        let of = |kind: &str| {
            let rel = format!("http://esipfed.org/ns/fedsearch/1.1/{kind}#");
            links.iter().find(|link| link["rel"] == rel.as_str()).unwrap()["href"].as_str().unwrap()
        };
        assert!(of("s3").starts_with("s3://"));
        assert!(of("data").ends_with("/2021.02.14/SMAP_L4_SM_gph_20210214T043000_Vv7032_001.h5"));
        let size = get_bytes(of("data")).await.len() as f64 / 1048576.0;
        assert_eq!(entry["granule_size"].as_str().unwrap().parse::<f64>().unwrap(), size);
        assert!(!get_bytes(of("metadata")).await.is_empty());
    }
}

#[tokio::test]
async fn each_page_of_granules_fails_on_its_own() {
    let options = ServeOptions { faults: "page2_500=1".parse().unwrap(), ..ServeOptions::default() };
    let server = serve(World::new(42).unwrap(), options).unwrap();
    let (_, _, next) = page(server.base_url(), None, false).await;
    let url = format!("{}/cmr/search/granules.json?{QUERY}", server.base_url());
    let again = || client().get(&url).header("CMR-Search-After", next.clone().unwrap()).send();
    assert_eq!(again().await.unwrap().status(), 500);
    assert_eq!(again().await.unwrap().status(), 200);
    let wrong = client().get(&url).header("CMR-Search-After", "[\"x\"]").send().await.unwrap();
    // The first try of this page is a fault too.
    assert_eq!(wrong.status(), 500);
    let wrong = client().get(&url).header("CMR-Search-After", "[\"x\"]").send().await.unwrap();
    assert_eq!(wrong.status(), 400);
}
