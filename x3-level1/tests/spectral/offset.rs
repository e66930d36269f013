//! The radiometric offset: what items say against what pixels say.

use minicube::Cube;
use ndarray::Array2;
use serde_json::{Value, json};

use crate::tree::{EDGE, Tree};

const APPLIED: &str = "earthsearch:boa_offset_applied";
const BASELINE: &str = "s2:processing_baseline";

/// Where the item tells the truth, where it says "taken off" of pixels that still have it, and the reverse.
fn scenes() -> [(&'static str, Value, u16); 7] {
    let before = json!({ BASELINE: "02.14" });
    [
        ("20210105T081100_A", before.clone(), 0),
        ("20210110T081100_B", before.clone(), 0),
        ("20210115T081100_C", before, 0),
        ("20220205T081100_D", json!({ BASELINE: "04.00" }), 1000),
        ("20220210T081100_E", json!({ BASELINE: "04.00", APPLIED: true }), 1000),
        ("20220215T081100_F", json!({ BASELINE: "04.00", APPLIED: false }), 0),
        ("20220220T081100_G", json!({ BASELINE: "04.00", APPLIED: true }), 0),
    ]
}

/// Vegetation: 220 to 420 in blue, 20 more in red, 3000 in the near infrared; `veil` is what haze adds to (blue, red).
fn tree(scenes: &[(&str, Value, u16)], veil: &dyn Fn(usize) -> (u16, u16)) -> Tree {
    let tree = Tree::new();
    for (i, (id, properties, offset)) in scenes.iter().enumerate() {
        let folder = tree.scene(id, properties, &json!({}));
        let (blue, red) = veil(i);
        let surface = |r: usize, c: usize| ((7 * r + 3 * c + 11 * i) % 200) as u16 + 220 + offset;
        let band = |add: u16| Array2::from_shape_fn((EDGE, EDGE), |(r, c)| surface(r, c) + add);
        for (asset, add) in [("blue", blue), ("red", 20 + red), ("nir08", 2800)] {
            tree.raster(&folder.join(format!("{asset}.tif")), &band(add), 10.0, Some(0.0));
        }
        let scl = Array2::from_elem((EDGE / 2, EDGE / 2), 4u8);
        tree.raster(&folder.join("scl.tif"), &scl, 20.0, Some(0.0));
    }
    tree
}

fn codes(cube: &Cube) -> (Vec<u8>, Vec<u16>) {
    let checks = cube.read::<u8>("s2/offset_check").unwrap().into_raw_vec_and_offset().0;
    (checks, cube.read::<u16>("s2/offset_added").unwrap().into_raw_vec_and_offset().0)
}

const ASSETS: &str = "assets = [\"blue\", \"red\", \"nir08\"]\n";

#[test]
fn wrong_flags_are_told_and_followed_on_request() {
    let tree = tree(&scenes(), &|_| (0, 0));
    for _ in 0..2 {
        // The second time nothing is to do, and it is said again.
        let (code, text) = tree.act("run", ASSETS);
        assert_eq!(code, 1, "{text}");
        assert!(text.contains("its pixels carry the +1000 of baseline 04.00"), "{text}");
        assert!(text.contains("its pixels do not carry the +1000 of baseline 04.00"), "{text}");
        assert!(text.contains("offset = \"pixels\""), "{text}");
    }
    let (checks, added) = codes(&tree.cube());
    assert_eq!(checks, [0, 0, 0, 0, 2, 2, 0]);
    assert_eq!(added, [1000, 1000, 1000, 0, 1000, 0, 1000], "as the items say");
    let cube = tree.cube();
    let items = cube.attrs()["source_items"].as_array().unwrap();
    assert_eq!((&items[4]["offset_check"], &items[4]["offset_added"]), (&json!("disagree"), &json!(1000)));
    assert_eq!((&items[5]["offset_applied"], &items[5]["baseline"]), (&json!(false), &json!(4.0)));

    assert_eq!(cube.var_attrs("s2/offset_added")["comment"], "decided by the item");
    let report = std::fs::read_to_string(tree.level1().join("report.html")).unwrap();
    assert!(report.contains("The pixels of 2 acquisitions disagree with their items"));

    let cube = tree.built(&format!("{ASSETS}offset = \"pixels\""));
    assert!(cube.var_attrs("s2/offset_added")["comment"].as_str().unwrap().contains("by the pixels"));
    let (checks, added) = codes(&cube);
    assert_eq!(checks, [0, 0, 0, 0, 2, 2, 0], "what was found does not depend on what was done");
    assert_eq!(added, [1000, 1000, 1000, 0, 0, 1000, 1000], "as the pixels say");
    // The middle of 3 × 3 pixels in the corner is 10 + 11 i of 200; the sums stay below 200 in all of them.
    let blue = cube.read::<u16>("s2/blue").unwrap();
    for (i, _) in scenes().iter().enumerate() {
        assert_eq!(usize::from(blue[[0, i, 0, 0]]), 220 + 10 + 11 * i + 1000, "scene {i}");
    }
    tree.forget();
    let (code, text) = tree.act("run", &format!("{ASSETS}offset = \"pixels\""));
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("2 acquisitions are stored as their pixels say, against their items"), "{text}");
}

/// Haze, thin cloud and cloud on scenes whose items are right: nothing is decided against them, in either mode.
#[test]
fn a_veil_is_no_offset() {
    let veils = [(0, 0), (0, 0), (0, 0), (900, 500), (700, 700), (3000, 3000), (0, 0)];
    let mut right = scenes();
    (right[4].2, right[5].1) = (0, json!({ BASELINE: "04.00", APPLIED: true }));
    let tree = tree(&right, &|i| veils[i]);
    let cube = tree.built(&format!("{ASSETS}offset = \"pixels\""));
    let (checks, added) = codes(&cube);
    assert_eq!(checks, [0, 0, 0, 1, 1, 1, 0]);
    assert_eq!(added, [1000, 1000, 1000, 0, 1000, 1000, 1000], "as the items say");
}

/// A project that begins after the change, whose items are all wrong: no scene of before is needed to see it.
#[test]
fn a_series_of_wrong_items_is_seen_without_a_right_one() {
    let wrong: Vec<(&str, Value, u16)> = ["20230105T081100_A", "20230110T081100_B", "20230115T081100_C"]
        .map(|id| (id, json!({ BASELINE: "05.09", APPLIED: true }), 1000))
        .to_vec();
    let (code, text) = tree(&wrong, &|_| (0, 0)).act("run", ASSETS);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("3 × its pixels carry the +1000"), "{text}");
    // Two are no series, and without a visible band nothing can be said.
    for (scenes, assets) in [(&wrong[..2], ASSETS), (&wrong[..], "assets = [\"nir08\"]")] {
        let tree = tree(scenes, &|_| (0, 0));
        assert!(codes(&tree.built(assets)).0.iter().all(|&check| check == 1));
    }
}
