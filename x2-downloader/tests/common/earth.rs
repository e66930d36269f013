//! A tiny archive: a STAC API with pages of two items, and three rasters a scene. All sizes are those of a real
//! Sentinel-2 fixture of 100 m and 200 m pixels, so that cells do not fall on pixel edges.

use std::collections::BTreeMap;

use minicube::Tile;
use serde_json::{Value, json};

use super::cog::Image;
use super::server::{Request, Response};

pub const TILE: &str = "35KMQ";
pub const CENTER: (f64, f64) = (26.5, -23.0);
/// Cells (row, column), see `fetch.rs` for the blocks that lie under them.
pub const CELLS: [(usize, usize); 3] = [(0, 2), (3, 20), (10, 10)];
pub const PAGE: usize = 2;

#[derive(Clone)]
pub struct TinyEarth {
    pub items: Vec<Value>,
    pub files: BTreeMap<String, Vec<u8>>,
}

impl TinyEarth {
    /// Scenes every five days of January 2021, the second one processed twice. West of 30 km all is cloud.
    pub fn new(scenes: usize) -> TinyEarth {
        let mut earth = TinyEarth { items: Vec::new(), files: BTreeMap::new() };
        for number in 0..scenes {
            let day = 1 + 5 * number;
            earth.add(&format!("S2A_{TILE}_202101{day:02}_0_L2A"), day, "02.14", number as u16);
            if number == 1 {
                earth.add(&format!("S2A_{TILE}_202101{day:02}_1_L2A"), day, "05.00", 100);
            }
        }
        earth
    }

    fn add(&mut self, id: &str, day: usize, baseline: &str, seed: u16) {
        let tile = Tile::from_id(TILE).unwrap();
        let image = |size, bits| Image::of_tile(&tile, size, 128, bits);
        // Noise that deflate cannot pack: blocks of different lengths, as in real scenes.
        let noise = move |row: usize, col: usize| {
            let mixed = (row * 7919 + col * 104_729 + usize::from(seed) * 31).wrapping_mul(2_654_435_761);
            (mixed >> 13) as u16 & 0x0fff
        };
        let red = Image { predictor: 2, ..image(1098, 16) };
        let nir = Image {
            big_endian: true,
            big_tiff: true,
            predictor: 2,
            absent: vec![3 * 5 + 1, 6],
            ..image(549, 16)
        };
        let scl = image(549, 8).write(|row, col| if col < 150 { 9 } else { 4 + (row / 50 % 2) as u16 });
        let mut assets = serde_json::Map::new();
        for (name, bytes) in [("red", red.write(noise)), ("nir08", nir.write(noise)), ("scl", scl)] {
            let path = format!("/cogs/{id}/{name}.tif");
            assets.insert(name.into(), json!({"href": path.clone()}));
            self.files.insert(path, bytes);
        }
        self.items.push(json!({
            "type": "Feature", "id": id, "collection": "sentinel-2-l2a", "assets": assets,
            "properties": {
                "datetime": format!("2021-01-{day:02}T08:12:00Z"), "platform": "sentinel-2a",
                "grid:code": format!("MGRS-{TILE}"), "eo:cloud_cover": 30.0,
                "s2:processing_baseline": baseline,
                "s2:datatake_id": format!("GS2A_202101{day:02}T081159_000001_N{baseline}"),
                "s2:generation_time": "2021-06-01T00:00:00Z"}}));
    }

    pub fn answer(&self, base: &str, request: &Request) -> Response {
        let path = request.target.split('?').next().unwrap();
        match path {
            "/stac/search" => self.search(base, request),
            path => match self.files.get(path) {
                Some(bytes) => Response::file(request, bytes),
                None => Response::status(404),
            },
        }
    }

    /// Pages by token, to be merged over the question; the last page is empty.
    fn search(&self, base: &str, request: &Request) -> Response {
        let body: Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!(body["collections"], json!(["sentinel-2-l2a"]), "the question is kept on every page");
        let from = body["token"].as_u64().unwrap_or(0) as usize;
        let mut items: Vec<Value> = self.items.iter().skip(from).take(PAGE).cloned().collect();
        for asset in items.iter_mut().flat_map(|item| item["assets"].as_object_mut().unwrap().values_mut()) {
            asset["href"] = json!(format!("{base}{}", asset["href"].as_str().unwrap()));
        }
        let links = if items.is_empty() {
            json!([])
        } else {
            json!([{"rel": "next", "method": "POST", "merge": true, "href": format!("{base}/stac/search"),
                    "body": {"token": from + PAGE}}])
        };
        Response::ok(json!({"type": "FeatureCollection", "features": items, "links": links}).to_string())
    }
}

/// The `[download]` section for such a server.
pub fn section(base: &str) -> String {
    format!(
        "stac = \"{base}/stac\"\nassets = [\"red\", \"nir08\"]\nretries = 4\nheader_bytes = 1024\nstall_s = 5.0"
    )
}
