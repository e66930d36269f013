//! Every layer under either name, aerosol and water vapour without the offset, classes by the nearest.

use std::fs;

use ndarray::Array2;
use serde_json::json;

use crate::tree::{EDGE, Tree};

/// Two scenes: of baseline 02.14, and of 05.00 with the offset in it and aerosol in hundredths.
fn tree() -> Tree {
    let tree = Tree::new();
    for (id, baseline, scale) in [("20210105T081100_A", "02.14", 0.001), ("20220205T081100_B", "05.00", 0.01)]
    {
        let assets = json!({ "aot": { "raster:bands": [{ "scale": scale, "offset": 0 }] } });
        let folder = tree.scene(id, &json!({ "s2:processing_baseline": baseline }), &assets);
        let path = |asset: &str| folder.join(format!("{asset}.tif"));
        let numbers = |edge: usize| Array2::from_shape_fn((edge, edge), |(r, c)| (1200 + 10 * r + c) as u16);
        tree.raster(&path("blue"), &numbers(EDGE), 10.0, Some(0.0));
        for asset in ["rededge2", "nir08", "swir22"] {
            tree.raster(&path(asset), &numbers(EDGE / 2), 20.0, Some(0.0));
        }
        tree.raster(&path("coastal"), &numbers(EDGE / 6), 60.0, Some(0.0));
        // Aerosol without data in the first row of its pixels; water vapour with 65535 for no data and a true 0.
        let aot = Array2::from_shape_fn((EDGE / 2, EDGE / 2), |(r, _)| if r == 0 { 0u16 } else { 120 });
        tree.raster(&path("aot"), &aot, 20.0, Some(0.0));
        let wvp = Array2::from_shape_fn((EDGE / 2, EDGE / 2), |(r, _)| match r {
            0..3 => 65_535u16,
            3..6 => 0,
            _ => 2345,
        });
        tree.raster(&path("wvp"), &wvp, 20.0, Some(65_535.0));
        // Of every 3 × 3 pixels of 20 m, which are 2 × 2 of the cube: 4 in the upper left, 5 in the lower right, else 9.
        let scl = Array2::from_shape_fn((EDGE / 2, EDGE / 2), |(r, c)| match (r % 3, c % 3) {
            (0, 0) => 4u8,
            (2, 2) => 5,
            _ => 9,
        });
        tree.raster(&path("scl"), &scl, 20.0, Some(0.0));
    }
    tree
}

#[test]
fn all_layers_by_either_name() {
    let tree = tree();
    let cube =
        tree.built("assets = [\"B02\", \"coastal\", \"B06\", \"nir08\", \"B12\", \"SCL\", \"AOT\", \"wvp\"]");
    let names =
        ["s2/blue", "s2/coastal", "s2/rededge2", "s2/nir08", "s2/swir22", "s2/scl", "s2/aot", "s2/wvp"];
    assert!(names.iter().all(|name| cube.has(name)), "{:?}", cube.vars());
    let number = |name: &str, t: usize, y: usize, x: usize| cube.read::<u16>(name).unwrap()[[0, t, y, x]];

    // 60 m: a pixel of 30 m is a quarter of one; row 5 and column 3 lie in row 2, column 1: 1200 + 20 + 1, plus 1000.
    assert_eq!((number("s2/coastal", 0, 5, 3), number("s2/coastal", 1, 5, 3)), (2221, 1221));
    // 20 m: the mean over 1 + ½ pixels is taken at a third: 1200 + 10/3 + 1/3 = 1203.67.
    assert_eq!((number("s2/swir22", 0, 0, 0), number("s2/rededge2", 1, 0, 0)), (2204, 1204));
    // 10 m: the middle of 3 × 3.
    assert_eq!((number("s2/blue", 0, 2, 1), number("s2/blue", 1, 2, 1)), (2274, 1274));

    // Aerosol: 120 thousandths, and 120 hundredths; no offset in either. The first row of 30 m has 1 of 1.5 pixels
    // without data and takes the rest.
    assert_eq!((number("s2/aot", 0, 4, 4), number("s2/aot", 1, 4, 4)), (120, 1200));
    assert_eq!(number("s2/aot", 0, 0, 4), 120);
    let aot = cube.read_f32("s2/aot", &[0, 0, 4, 4], &[1, 1, 1, 1]).unwrap();
    assert!((aot[[0, 0, 0, 0]] - 0.12).abs() < 1e-6, "{aot}");

    // Water vapour: 65535 is no data (rows 0 and 1); a true 0 is not, but 0 stands for no data in the store: 1.
    let column: Vec<u16> = (0..6).map(|y| number("s2/wvp", 1, y, 0)).collect();
    assert_eq!(column, [0, 0, 1, 1, 2345, 2345]);
    assert!(cube.read_f32("s2/wvp", &[0, 0, 0, 0], &[1, 1, 1, 1]).unwrap()[[0, 0, 0, 0]].is_nan());

    let attr = |name: &str, key: &str| cube.var_attrs(name).get(key).cloned().unwrap_or_default();
    assert_eq!((attr("s2/aot", "scale_factor"), attr("s2/aot", "add_offset")), (json!(0.001), json!(null)));
    assert_eq!((attr("s2/aot", "units"), attr("s2/wvp", "units")), (json!("1"), json!("cm")));
    assert_eq!(
        (attr("s2/blue", "scale_factor"), attr("s2/blue", "add_offset")),
        (json!(0.0001), json!(-0.1))
    );
    assert_eq!(attr("s2/wvp", "standard_name"), "lwe_thickness_of_atmosphere_mass_content_of_water_vapor");
}

#[test]
fn classes_by_area_or_by_the_centre() {
    let tree = tree();
    let scl = |level1: &str| {
        let cube = tree.built(level1);
        let corner = cube.read::<u8>("s2/scl").unwrap();
        let method = cube.var_attrs("s2/scl")["cell_methods"].as_str().unwrap().to_owned();
        ([(0, 0), (0, 1), (1, 1)].map(|(y, x)| corner[[0, 0, y, x]]), method)
    };
    // Upper left: 4 has 1 × 1, 9 has 0.5 + 0.5 + 0.25: the larger area, and not at the centre.
    let (mode, how) = scl("assets = [\"scl\"]");
    assert_eq!((mode, how.starts_with("x: y: mode")), ([9, 9, 9], true));
    let (nearest, how) = scl("assets = [\"scl\"]\nclasses = \"nearest\"");
    assert_eq!((nearest, how.starts_with("x: y: point")), ([4, 9, 5], true));
}

/// The downloader keeps the name that it was given.
#[test]
fn files_under_esas_names_are_found() {
    let (named, renamed) = (tree(), tree());
    for day in ["20210105", "20220205"] {
        let scene = renamed.scene_of(day);
        fs::rename(scene.join("nir08.tif"), scene.join("B8A.tif")).unwrap();
    }
    let values = |tree: &Tree| tree.built("assets = [\"B8A\"]").read::<u16>("s2/nir08").unwrap();
    assert_eq!(values(&named), values(&renamed));
}

#[test]
fn other_names_are_errors() {
    let tree = tree();
    for (assets, parts) in [
        ("[\"visual\"]", ["layers of Sentinel-2: coastal (B01)", "found `visual`"]),
        ("[\"B10\"]", ["[level1] assets", "found `B10`"]),
        ("[\"nir08\", \"B8A\"]", ["each asset once", "`nir08` twice"]),
        ("[]", ["at least one asset", "found none"]),
    ] {
        let (code, text) = tree.act("run", &format!("assets = {assets}"));
        assert_eq!(code, 2, "{text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{parts:?} in {text}");
    }
    let assets = json!({ "aot": { "raster:bands": [{ "scale": 0 }] } });
    tree.scene("20220205T081100_B", &json!({ "s2:processing_baseline": "05.00" }), &assets);
    let (code, text) = tree.act("run", "assets = [\"aot\"]");
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("20220205T081100_B/item.json: assets.aot: expected raster:bands scale"), "{text}");
}
