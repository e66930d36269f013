//! A map to explore: points with several classes each, drawn by a script inside the page.
//!
//! What the script reads is JSON with packed numbers: coordinates are three little-endian bytes each (two's complement,
//! in 0.0001 degrees, longitude before latitude), classes one or two bytes, both as base64; names are one text with a
//! line a point. 40 000 points with six columns make about a megabyte.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::chart::scatter_map;

/// The script that draws every map of a page.
pub(super) const SCRIPT: &str = include_str!("map.js");

/// How maps look.
pub(super) const CSS: &str = "\
.pointmap{color-scheme:light;font-size:.85rem;line-height:1.35}\
.pointmap .bar{display:flex;flex-wrap:wrap;gap:.3rem .9rem;align-items:center;margin-bottom:.5rem}\
.pointmap .bar strong{margin-right:auto;font-size:1rem}\
.pointmap .bar button{min-width:2rem;margin-left:.2rem}\
.pointmap .main{display:grid;grid-template-columns:minmax(0,1fr) 14rem;gap:.8rem}\
.pointmap .view{position:relative;overflow:hidden;border:1px solid #ccc;aspect-ratio:1.2}\
.pointmap canvas{position:absolute;inset:0;width:100%;height:100%;cursor:crosshair}\
.pointmap .dragged canvas{cursor:grabbing}\
.pointmap .ring,.pointmap .tip{display:none;position:absolute;pointer-events:none}\
.pointmap .ring{width:13px;height:13px;margin:-8.5px;border:2px solid #000;border-radius:50%;\
box-shadow:0 0 0 1px #fff,inset 0 0 0 1px #fff}\
.pointmap .tip{background:#fffffff2;border:1px solid #888;border-radius:4px;padding:.3rem .5rem;max-width:20rem;\
width:max-content;overflow-wrap:anywhere}\
.pointmap dl{display:grid;grid-template-columns:auto minmax(0,1fr);gap:0 .6rem;margin:.2rem 0 0}\
.pointmap dt{color:#666}.pointmap dd{margin:0}\
.pointmap .legend{height:0;min-height:100%;overflow-y:auto}\
.pointmap .all{margin-bottom:.3rem}.pointmap .all button{margin-right:.2rem}\
.pointmap .legend>button{display:flex;gap:.4rem;align-items:center;width:100%;padding:.1rem .2rem;border:0;\
background:none;color:inherit;font:inherit;text-align:left;cursor:pointer}\
.pointmap .legend>button:hover{background:#eee}\
.pointmap .legend>button[aria-pressed=false]{opacity:.4;text-decoration:line-through}\
.pointmap .legend>.empty{color:#888}\
.pointmap .legend i{flex:none;width:.75rem;height:.75rem;border-radius:50%}\
.pointmap .legend span{flex:1;min-width:0;overflow-wrap:anywhere}.pointmap .legend small{color:#666}\
@media(max-width:44rem){.pointmap .main{grid-template-columns:minmax(0,1fr)}\
.pointmap .legend{height:auto;min-height:0;max-height:14rem}}";

/// Colours of classes, used again from the first when there are more. The first eight are those of the charts; the
/// others are far from them and from each other, with and without red-green deficiency.
const COLORS: [&str; 32] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#5a5a5a", "#a08c00", "#0000a8",
    "#6018ff", "#600060", "#78f078", "#004800", "#9078ff", "#c01890", "#78c078", "#0048c0", "#486000",
    "#d830d8", "#90d8ff", "#900078", "#18f0d8", "#d8d818", "#c00048", "#ff3078", "#ff78d8", "#603048",
    "#a8d8a8", "#ff6048", "#6078d8", "#606090", "#1800d8",
];

/// Most points of the picture for readers without scripts.
const STATIC_POINTS: usize = 2000;

/// Points with classes, for [`Report::map`](super::Report::map).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PointMap {
    /// Title.
    pub title: String,
    /// Longitude and latitude in degrees, kept to 0.0001. Points that are not finite are left out.
    pub points: Vec<(f64, f64)>,
    /// Id of each point.
    pub names: Vec<String>,
    /// What the points can be coloured by; the first one is shown at first.
    pub columns: Vec<MapColumn>,
    /// Rings of longitude and latitude in degrees, drawn in grey. Detail below 1/4000 of their extent is left out.
    pub outlines: Vec<Vec<(f64, f64)>>,
}

/// One property of the points of a [`PointMap`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapColumn {
    /// Name.
    pub name: String,
    /// Names of its classes.
    pub classes: Vec<String>,
    /// Class of each point, an index into `classes`; any other value or a missing one means: no class.
    pub of_point: Vec<u16>,
}

impl MapColumn {
    /// Class of a point; the number of classes stands for none.
    fn class(&self, point: usize) -> usize {
        self.of_point
            .get(point)
            .map_or(self.classes.len(), |&class| usize::from(class).min(self.classes.len()))
    }
}

/// The element of a page that holds a map.
pub(super) fn html(map: &PointMap) -> String {
    // No `<` at all: a class named `</script>` must not end the element.
    let data = packed(map).to_string().replace('<', "\\u003c");
    format!(
        "<div class=\"pointmap\"><noscript>{}</noscript><script type=\"application/json\">{data}</script></div>",
        picture(map)
    )
}

fn packed(map: &PointMap) -> Value {
    let kept = finite(map);
    let names: Vec<String> = kept
        .iter()
        .map(|&i| map.names.get(i).map_or(String::new(), |name| name.replace('\n', " ")))
        .collect();
    let columns = map.columns.iter().map(|column| {
        let wide = column.classes.len() > usize::from(u8::MAX);
        let bytes = kept.iter().flat_map(|&i| {
            let [low, high, ..] = column.class(i).to_le_bytes();
            [low, high].into_iter().take(if wide { 2 } else { 1 })
        });
        json!({
            "name": column.name,
            "classes": column.classes,
            "wide": wide,
            "of_point": STANDARD.encode(bytes.collect::<Vec<u8>>()),
        })
    });
    let outlines = thinned(&map.outlines, 4000.0).into_iter().map(|ring| coordinates(ring.into_iter()));
    json!({
        "title": map.title,
        "colors": COLORS,
        "points": coordinates(kept.iter().map(|&i| map.points[i])),
        "names": names.join("\n"),
        "columns": columns.collect::<Vec<_>>(),
        "outlines": outlines.collect::<Vec<_>>(),
    })
}

/// The map as a picture: the first column, points taken evenly.
fn picture(map: &PointMap) -> String {
    let kept = finite(map);
    let (mut classes, class): (Vec<String>, Box<dyn Fn(usize) -> usize>) = match map.columns.first() {
        Some(column) => (column.classes.clone(), Box::new(|i| column.class(i))),
        None => (Vec::new(), Box::new(|_| 0)),
    };
    let every = kept.len().div_ceil(STATIC_POINTS).max(1);
    let points: Vec<_> =
        kept.iter().step_by(every).map(|&i| (map.points[i].0, map.points[i].1, class(i))).collect();
    if points.iter().any(|point| point.2 == classes.len()) {
        classes.push("no class".to_owned());
    }
    scatter_map(&map.title, &points, &classes, &thinned(&map.outlines, 800.0))
}

/// Indices of the points that can be drawn.
fn finite(map: &PointMap) -> Vec<usize> {
    let can_be_drawn = |&i: &usize| map.points[i].0.is_finite() && map.points[i].1.is_finite();
    (0..map.points.len()).filter(can_be_drawn).collect()
}

fn coordinates(points: impl Iterator<Item = (f64, f64)>) -> String {
    let three_bytes = |degrees: f64| {
        let [low, middle, high, _] =
            ((degrees * 1e4).round().clamp(-8_388_608.0, 8_388_607.0) as i32).to_le_bytes();
        [low, middle, high]
    };
    let bytes: Vec<u8> = points.flat_map(|(lon, lat)| [lon, lat]).flat_map(three_bytes).collect();
    STANDARD.encode(bytes)
}

/// Rings without the vertices that lie closer than 1/`parts` of the extent of all rings to the one before.
fn thinned(rings: &[Vec<(f64, f64)>], parts: f64) -> Vec<Vec<(f64, f64)>> {
    let finite = |ring: &[(f64, f64)]| -> Vec<(f64, f64)> {
        ring.iter().copied().filter(|(lon, lat)| lon.is_finite() && lat.is_finite()).collect()
    };
    let rings: Vec<_> = rings.iter().map(|ring| finite(ring)).collect();
    let length = |pick: fn(&(f64, f64)) -> f64| {
        let values = || rings.iter().flatten().map(pick);
        values().fold(f64::NEG_INFINITY, f64::max) - values().fold(f64::INFINITY, f64::min)
    };
    let shortest = length(|point| point.0).max(length(|point| point.1)) / parts;
    let thin = |ring: Vec<(f64, f64)>| {
        let mut kept: Vec<(f64, f64)> = Vec::new();
        for (number, &(lon, lat)) in ring.iter().enumerate() {
            let far = |last: &(f64, f64)| (lon - last.0).abs().max((lat - last.1).abs()) >= shortest;
            if number + 1 == ring.len() || kept.last().is_none_or(far) {
                kept.push((lon, lat));
            }
        }
        kept
    };
    rings.into_iter().map(thin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;

    fn column(name: &str, classes: &[&str], of_point: &[u16]) -> MapColumn {
        MapColumn {
            name: name.into(),
            classes: classes.iter().map(|&class| class.to_owned()).collect(),
            of_point: of_point.to_vec(),
        }
    }

    fn small() -> PointMap {
        PointMap {
            title: "Where <b>".into(),
            points: vec![(-179.99994, -56.5), (f64::NAN, 1.0), (0.0, 0.0), (13.40495, 89.9999)],
            names: vec!["a".into(), "left out".into(), "two\nlines".into(), "</script>&\"é".into()],
            columns: vec![
                column("split", &["train", "</script><b>&"], &[1, 0, 0, 7]),
                MapColumn {
                    name: "many".into(),
                    classes: (0..300).map(|class| format!("c{class}")).collect(),
                    of_point: vec![299, 0, 256],
                },
            ],
            outlines: vec![vec![(-10.0, 0.0), (-10.0, 0.001), (f64::NAN, 0.0), (10.0, 5.0), (-10.0, 0.0)]],
        }
    }

    /// The data of the first map of a page, read as a browser does: up to the first end tag.
    fn data(page: &str) -> Value {
        let (_, rest) = page.split_once("<script type=\"application/json\">").unwrap();
        serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
    }

    fn bytes(value: &Value) -> Vec<u8> {
        STANDARD.decode(value.as_str().unwrap()).unwrap()
    }

    /// Steps of 0.0001 degrees.
    fn steps(value: &Value) -> Vec<i32> {
        let number = |b: &[u8]| {
            let unsigned = i32::from(b[0]) + 256 * i32::from(b[1]) + 65_536 * i32::from(b[2]);
            if unsigned >= 1 << 23 { unsigned - (1 << 24) } else { unsigned }
        };
        bytes(value).chunks(3).map(number).collect()
    }

    #[test]
    fn what_the_script_reads_is_what_was_given() {
        let data = data(&html(&small()));
        assert_eq!(data["title"], "Where <b>");
        assert_eq!(
            steps(&data["points"]),
            [-1_799_999, -565_000, 0, 0, 134_050, 899_999],
            "0.00004 is rounded"
        );
        assert_eq!(data["names"], "a\ntwo lines\n</script>&\"é");
        assert_eq!(data["columns"][0]["classes"], json!(["train", "</script><b>&"]));
        assert_eq!(data["columns"][0]["wide"], false);
        assert_eq!(bytes(&data["columns"][0]["of_point"]), [1, 0, 2], "class 7 is none of the two");
        assert_eq!(data["columns"][1]["wide"], true);
        // 299 = 43 + 256; 256 = 0 + 256; the last point has no class: 300 = 44 + 256.
        assert_eq!(bytes(&data["columns"][1]["of_point"]), [43, 1, 0, 1, 44, 1]);
        assert_eq!(
            steps(&data["outlines"][0]),
            [-100_000, 0, 100_000, 50_000, -100_000, 0],
            "a step of 0.001 is below 20 / 4000; the ring stays closed"
        );
    }

    #[test]
    fn no_text_becomes_markup() {
        let page = Report::new("t").map("caption <i>", &small()).html();
        assert!(!page.contains("<b>") && !page.contains("<i>"), "{page}");
        assert_eq!(page.matches("</script>").count(), 2, "one for the data and one for the script");
        assert_eq!(page.matches("</noscript>").count(), 1);
        assert!(!SCRIPT.contains("</") && !SCRIPT.contains("<!--") && !SCRIPT.contains("http"));
    }

    #[test]
    fn the_script_is_there_once_and_only_with_a_map() {
        let two = Report::new("t").map("a", &small()).map("b", &small()).html();
        assert_eq!((two.matches(SCRIPT).count(), two.matches(CSS).count()), (1, 1));
        assert_eq!(two.matches("<div class=\"pointmap\">").count(), 2);
        assert!(two.find(SCRIPT) > two.rfind("<div class=\"pointmap\">"), "runs when the maps are there");
        let none = Report::new("t").text("x").html();
        assert!(!none.contains("script") && !none.contains("pointmap"));
    }

    #[test]
    fn a_map_of_nothing_is_a_map() {
        let page = html(&PointMap::default());
        assert!(page.contains("<svg"));
        assert_eq!(data(&page)["points"], "");
    }

    #[test]
    fn forty_thousand_points_stay_small_and_are_the_same_bytes_again() {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / (1_u64 << 31) as f64
        };
        let number = 40_000;
        let points: Vec<_> =
            (0..number).map(|_| (random() * 360.0 - 180.0, random() * 180.0 - 90.0)).collect();
        let columns = (0..6).map(|c| MapColumn {
            name: format!("column {c}"),
            classes: (0..20).map(|class| format!("a class with a name of some length, {class}")).collect(),
            of_point: (0..number).map(|_| (random() * 20.0) as u16).collect(),
        });
        let map = PointMap {
            title: "many".into(),
            columns: columns.collect(),
            names: (0..number).map(|i| format!("35KMQ_{i:05}")).collect(),
            points,
            outlines: vec![],
        };
        let page = Report::new("t").map("c", &map).html();
        assert!(page.len() < 1_500_000, "{} bytes", page.len());
        assert_eq!(
            page.matches("<circle").count(),
            STATIC_POINTS + 20,
            "points and legend of the static picture"
        );
        let back = steps(&data(&page)["points"]);
        let worst = map.points.iter().zip(back.chunks(2)).map(|(point, back)| {
            (point.0 - f64::from(back[0]) / 1e4).abs().max((point.1 - f64::from(back[1]) / 1e4).abs())
        });
        assert!(worst.fold(0.0, f64::max) < 0.000_050_1);
        assert_eq!(page, Report::new("t").map("c", &map.clone()).html());
    }

    #[test]
    fn colours_differ_and_begin_like_those_of_the_charts() {
        let classes: Vec<String> = (0..8).map(|class| class.to_string()).collect();
        let points: Vec<_> = (0..8).map(|class| (class as f64, 0.0, class)).collect();
        let chart = scatter_map("m", &points, &classes, &[]).to_lowercase();
        let mut at = 0;
        for color in &COLORS[..8] {
            at += chart[at..].find(color).unwrap_or_else(|| panic!("{color} in its place"));
        }
        let rgb = |color: &str| [1, 3, 5].map(|i| i32::from_str_radix(&color[i..i + 2], 16).unwrap());
        for (i, a) in COLORS.iter().enumerate() {
            for b in &COLORS[..i] {
                let far: i32 = rgb(a).iter().zip(rgb(b)).map(|(a, b)| (a - b).pow(2)).sum();
                assert!(far >= 44 * 44, "{a} {b}");
            }
        }
    }
}
