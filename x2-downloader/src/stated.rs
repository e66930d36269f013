//! What a catalogue states of a raster's grid, held against the file. The file decides.

use minicube_tiff::Header;
use serde_json::Value;

/// Corners and pixels that differ by less than this share of a pixel are the same.
const TOLERANCE: f64 = 1e-3;

/// The grid by the item's asset, as far as it says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Stated {
    /// `proj:shape`: rows and columns.
    shape: Option<[usize; 2]>,
    /// `proj:transform`: x = a · column + b · row + c, y = d · column + e · row + f.
    transform: Option<[f64; 6]>,
}

impl Stated {
    pub(crate) fn of(asset: &Value) -> Stated {
        let shape: Option<Vec<usize>> = asset["proj:shape"].as_array().and_then(|edges| {
            edges.iter().map(|edge| edge.as_u64().and_then(|edge| usize::try_from(edge).ok())).collect()
        });
        let transform: Option<Vec<f64>> =
            asset["proj:transform"].as_array().and_then(|terms| terms.iter().map(Value::as_f64).collect());
        Stated {
            shape: shape.and_then(|shape| shape.try_into().ok()),
            transform: transform.and_then(|terms| terms.first_chunk().copied()),
        }
    }

    /// What the file contradicts, in words.
    pub(crate) fn contradictions(&self, header: &Header) -> Vec<String> {
        let mut found = Vec::new();
        if let Some([rows, cols]) = self.shape
            && (rows, cols) != (header.height, header.width)
        {
            let (height, width) = (header.height, header.width);
            found.push(format!("proj:shape is {rows} × {cols}, the file has {height} × {width} pixels"));
        }
        if let Some([a, b, c, d, e, f]) = self.transform {
            let (pixel, origin) = (header.pixel, header.origin);
            let differ = |stated: f64, found: f64| (stated - found).abs() > TOLERANCE * pixel.x;
            if differ(a, pixel.x) || differ(e, -pixel.y) || differ(b, 0.0) || differ(d, 0.0) {
                let file = format!("{} × {}", pixel.x, pixel.y);
                found.push(format!("proj:transform has pixels of {a} × {}, the file of {file}", -e));
            }
            if differ(c, origin.x) || differ(f, origin.y) {
                let file = format!("{}, {}", origin.x, origin.y);
                found.push(format!("proj:transform begins at {c}, {f}, the file at {file}"));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {

    use serde_json::json;

    use minicube_tiff::{Parsed, parse, plain_header};

    use super::*;

    /// 48 × 48 pixels of 10 m from 500 E 9000 N.
    #[test]
    fn what_the_file_contradicts_is_told() {
        let header = plain_header(48, 16, 16);
        let told = |asset: Value| Stated::of(&asset).contradictions(&header);
        let shape = json!([48, 48]);
        for same in [
            json!({}),
            json!({"proj:shape": shape, "proj:transform": [10, 0, 500, 0, -10, 9000]}),
            json!({"proj:shape": shape, "proj:transform": [10.0, 0.0, 500.0, 0.0, -10.0, 9000.0, 0, 0, 1]}),
            json!({"proj:shape": null, "proj:transform": [10, 0, 500]}),
            json!({"proj:shape": [48], "proj:transform": [10, 0, 500, 0, "x", 9000]}),
        ] {
            assert!(told(same.clone()).is_empty(), "{same}");
        }
        assert_eq!(
            told(json!({"proj:shape": [24, 48]})),
            ["proj:shape is 24 × 48, the file has 48 × 48 pixels"]
        );
        let pixels = ["proj:transform has pixels of 20 × 20, the file of 10 × 10"];
        assert_eq!(told(json!({"proj:transform": [20, 0, 500, 0, -20, 9000]})), pixels);
        let corner = ["proj:transform begins at 500, 9010, the file at 500, 9000"];
        assert_eq!(told(json!({"proj:transform": [10, 0, 500, 0, -10, 9010]})), corner);
        assert_eq!(told(json!({"proj:transform": [10, 1, 500, 0, -10, 9000]})).len(), 1, "turned");
        assert_eq!(told(json!({"proj:transform": [500, 10, 0, 9000, 0, -10]})).len(), 2, "in GDAL's order");
    }

    /// Rasters of Earth Search in a tenth of their resolution, their item as it was.
    #[test]
    fn real_rasters_that_their_item_does_not_know() {
        const FOLDER: &str = "s2_l2a_cog/sentinel-s2-l2a-cogs/29/R/KH/2020/2/S2A_29RKH_20200219_0_L2A";
        let Some(folder) = minicube::testing::real(FOLDER) else { return };
        let item = std::fs::read(folder.join("S2A_29RKH_20200219_0_L2A.json")).unwrap();
        let item: Value = serde_json::from_slice(&item).unwrap();
        let told = |asset: &str, file: &str| {
            let Parsed::Header(header) = parse(&std::fs::read(folder.join(file)).unwrap()).unwrap() else {
                panic!("{file} is cut off")
            };
            Stated::of(&item["assets"][asset]).contradictions(&header)
        };
        assert_eq!(
            told("red", "B04.tif"),
            [
                "proj:shape is 10980 × 10980, the file has 1098 × 1098 pixels",
                "proj:transform has pixels of 10 × 10, the file of 100 × 100"
            ]
        );
        assert_eq!(
            told("scl", "SCL.tif"),
            [
                "proj:shape is 5490 × 5490, the file has 549 × 549 pixels",
                "proj:transform has pixels of 20 × 20, the file of 200 × 200"
            ]
        );
    }
}
