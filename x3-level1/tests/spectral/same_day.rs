//! Several acquisitions of a tile on one day: apart, or as one frame.

use ndarray::{Array2, s};
use serde_json::json;

use crate::tree::{EDGE, Tree};

/// Two granules of one overpass and one of another orbit on 5 February, one acquisition on the 10th. Classes change by
/// the pixel, so that every pair of classes is met.
fn tree() -> Tree {
    let tree = Tree::new();
    let scenes = [
        ("20220205T081100_A", "02.14", 1usize, 1usize),
        ("20220205T081115_B", "05.00", 5, 7),
        ("20220205T163000_C", "02.14", 11, 3),
        ("20220210T081100_D", "02.14", 7, 5),
    ];
    for (i, (id, baseline, a, b)) in scenes.into_iter().enumerate() {
        let folder = tree.scene(id, &json!({ "s2:processing_baseline": baseline }), &json!({}));
        for (k, asset) in ["red", "nir08"].iter().enumerate() {
            let numbers =
                Array2::from_shape_fn((EDGE, EDGE), |(r, c)| (2000 * (i + 1) + 700 * k + r + c) as u16);
            tree.raster(&folder.join(format!("{asset}.tif")), &numbers, 10.0, Some(0.0));
        }
        let scl = Array2::from_shape_fn((EDGE / 3, EDGE / 3), |(r, c)| ((a * r + b * c + i) % 12) as u8);
        tree.raster(&folder.join("scl.tif"), &scl, 30.0, Some(0.0));
    }
    tree
}

const ASSETS: &str = "assets = [\"red\", \"nir08\"]\n";

#[test]
fn a_merged_day_has_the_clearest_pixels_and_all_bands_of_one_acquisition() {
    let tree = tree();
    let apart = tree.built(ASSETS);
    assert!(!apart.has("s2/acquisition"));
    let scl = apart.read::<u8>("s2/scl").unwrap();
    let bands = ["s2/red", "s2/nir08"].map(|name| apart.read::<u16>(name).unwrap());
    assert_eq!(scl.shape(), [1, 4, 32, 32], "apart is the default");

    let merged = tree.built(&format!("{ASSETS}same_day = \"merge\""));
    assert_eq!(merged.read::<i32>("s2/time").unwrap().len(), 2);
    assert_eq!(
        merged.read_strings("s2/scene_id").unwrap(),
        ["20220205T081100_A 20220205T081115_B 20220205T163000_C", "20220210T081100_D"]
    );
    assert_eq!(merged.attrs()["source_items"].as_array().unwrap().len(), 4, "nothing is forgotten");
    let found = merged.read::<u8>("s2/scl").unwrap();
    let numbers = ["s2/red", "s2/nir08"].map(|name| merged.read::<u16>(name).unwrap());
    let from = merged.read::<u8>("s2/acquisition").unwrap();
    // Clear, not clear, no data: spelled out class by class.
    let rank = [0, 1, 2, 1, 2, 2, 2, 2, 1, 1, 1, 2];
    let mut met = [0; 4];
    for y in 0..32 {
        for x in 0..32 {
            let classes = [0, 1, 2].map(|t| scl[[0, t, y, x]]);
            let best = classes.iter().map(|&class| rank[usize::from(class)]).max().unwrap();
            let first = classes.iter().position(|&class| rank[usize::from(class)] == best).unwrap();
            let (class, number) = if best == 0 { (0, 0) } else { (classes[first], first + 1) };
            met[number] += 1;
            assert_eq!(
                (found[[0, 0, y, x]], usize::from(from[[0, 0, y, x]])),
                (class, number),
                "{y} {x} {classes:?}"
            );
            for (band, merged) in bands.iter().zip(&numbers) {
                let expected = if best == 0 { 0 } else { band[[0, first, y, x]] };
                assert_eq!(merged[[0, 0, y, x]], expected, "{y} {x} {classes:?}");
            }
        }
    }
    assert!(met[1..].iter().all(|&count| count > 20), "each acquisition is used: {met:?}");
    // The day of one acquisition is as it was.
    assert_eq!(found.slice(s![0, 1, .., ..]), scl.slice(s![0, 3, .., ..]));
    for (band, merged) in bands.iter().zip(&numbers) {
        let alone = scl.slice(s![0, 3, .., ..]).mapv(|class| class > 0);
        for ((y, x), has_data) in alone.indexed_iter() {
            assert_eq!(from[[0, 1, y, x]] > 0, *has_data);
            assert_eq!(merged[[0, 1, y, x]], band[[0, 3, y, x]]);
        }
    }
}

/// An acquisition without a file of a band stays without it: no other one steps in, and it is a gap.
#[test]
fn a_missing_band_is_not_taken_from_another_acquisition() {
    let tree = tree();
    let scene = tree.scene("20220205T081100_A", &json!({ "s2:processing_baseline": "02.14" }), &json!({}));
    std::fs::remove_file(scene.join("red.tif")).unwrap();
    let (code, text) = tree.act("run", &format!("{ASSETS}same_day = \"merge\""));
    assert_eq!(code, 1, "{text}");
    let cube = tree.cube();
    let (red, nir) = (cube.read::<u16>("s2/red").unwrap(), cube.read::<u16>("s2/nir08").unwrap());
    let from = cube.read::<u8>("s2/acquisition").unwrap();
    for ((index, &number), (&red, &nir)) in from.indexed_iter().zip(red.iter().zip(&nir)) {
        if index[1] == 0 {
            assert_eq!((red > 0, nir > 0), (number > 1, number > 0), "{index:?}");
        }
    }
}

#[test]
fn merged_days_are_the_same_bytes_for_any_threads_and_memory() {
    let hash = |threads: &str, more: &str| {
        let tree = tree();
        let level1 = format!("{ASSETS}same_day = \"merge\"\noffset = \"pixels\"\n{more}");
        let (code, text) = tree.act_with("run", &level1, &["--threads", threads]);
        assert_eq!(code, 0, "{text}");
        minicube::sha256_store(&tree.store()).unwrap()
    };
    let one = hash("1", "");
    assert_eq!(one, hash("4", ""));
    assert_eq!(one, hash("2", "memory_mb = 0"));
}

/// What an import does not have is refused before a file is opened.
#[test]
fn an_import_has_nothing_to_merge_and_no_offset_to_check() {
    let tree = tree();
    for (level1, part) in [
        ("same_day = \"merge\"", "[level1] same_day: expected `separate`"),
        ("offset = \"pixels\"", "[level1] offset: expected `metadata`"),
        ("same_day = \"first\"", "separate, merge"),
    ] {
        let (code, text) = tree.act("import", level1);
        assert_eq!(code, 2, "{text}");
        assert!(text.contains(part), "{text}");
    }
}
