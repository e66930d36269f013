//! A map of points that answers: hover a point to see all that is known of it, choose what the colours mean, hide
//! classes, zoom and move. Plain JavaScript in the page, no file besides it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::chart::scatter_map;

const SCRIPT: &str = include_str!("map.js");

/// Points in the picture that stands in where scripts are off.
const STILL_POINTS: usize = 2000;

/// A property of the points that divides them into classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapColumn {
    /// Name.
    pub name: String,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Class of each point.
    pub of_point: Vec<u16>,
}

/// A map of points.
#[derive(Clone, Debug, PartialEq)]
pub struct PointMap {
    /// Title.
    pub title: String,
    /// (lon, lat), degrees; kept to 1e-5, a metre.
    pub points: Vec<(f64, f64)>,
    /// Name of each point.
    pub names: Vec<String>,
    /// Properties; the first gives the colours to begin with.
    pub columns: Vec<MapColumn>,
    /// Rings of (lon, lat) behind the points.
    pub outlines: Vec<Vec<(f64, f64)>>,
}

impl PointMap {
    /// The map as HTML.
    pub(super) fn html(&self) -> String {
        let places: Vec<u8> = self
            .points
            .iter()
            .flat_map(|&(lon, lat)| [lon, lat])
            .flat_map(|degrees| micro(degrees).to_le_bytes())
            .collect();
        let columns: Vec<_> = self
            .columns
            .iter()
            .map(|column| {
                let of: Vec<u8> = column.of_point.iter().flat_map(|class| class.to_le_bytes()).collect();
                json!({"name": column.name, "classes": column.classes, "of": STANDARD.encode(of)})
            })
            .collect();
        // Two decimals are a kilometre, more than a map of a continent shows.
        let rounded = |degrees: f64| (degrees * 100.0).round() / 100.0;
        let outlines: Vec<Vec<f64>> = self
            .outlines
            .iter()
            .map(|ring| ring.iter().flat_map(|&(x, y)| [rounded(x), rounded(y)]).collect())
            .collect();
        let data = json!({
            "places": STANDARD.encode(places), "names": self.names.join("\n"), "columns": columns, "outlines": outlines,
        });
        // Inside a script element only `<` could end it.
        let data = data.to_string().replace('<', "\\u003c");
        format!(
            "<div class=\"map\"><p><label>colours: <select></select></label></p>\
             <div class=\"sheet\"><canvas></canvas><div class=\"tip\" hidden></div></div>\
             <div class=\"legend\"></div><script type=\"application/json\">{data}</script></div>\
             <noscript>{}</noscript><script>{SCRIPT}</script>",
            self.still()
        )
    }

    /// A picture for readers without scripts.
    fn still(&self) -> String {
        let every = self.points.len().div_ceil(STILL_POINTS).max(1);
        let (classes, of_point): (&[String], &[u16]) =
            self.columns.first().map_or((&[], &[]), |column| (&column.classes, &column.of_point));
        let points: Vec<(f64, f64, usize)> = self
            .points
            .iter()
            .enumerate()
            .step_by(every)
            .map(|(index, &(lon, lat))| {
                (lon, lat, of_point.get(index).map_or(0, |&class| usize::from(class)))
            })
            .collect();
        scatter_map(&self.title, &points, classes, &self.outlines)
    }
}

/// Degrees in steps of 1e-5.
fn micro(degrees: f64) -> i32 {
    (degrees * 1e5).round() as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn map(count: usize) -> PointMap {
        let column = |name: &str, classes: &[&str]| MapColumn {
            name: name.into(),
            classes: classes.iter().map(|class| (*class).to_owned()).collect(),
            of_point: (0..count).map(|i| (i % classes.len()) as u16).collect(),
        };
        PointMap {
            title: "t".into(),
            points: (0..count).map(|i| (i as f64 * 0.00425 - 120.0, 60.0 - i as f64 * 0.001)).collect(),
            names: (0..count).map(|i| format!("35KMQ_{i:05}")).collect(),
            columns: vec![
                column("split", &["train", "val", "test"]),
                column("odd", &["</script><b>", "\"&'"]),
            ],
            outlines: vec![vec![(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)]],
        }
    }

    fn data(html: &str) -> Value {
        let (_, rest) = html.split_once("application/json\">").unwrap();
        serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
    }

    #[test]
    fn what_the_page_holds_is_what_was_given() {
        let map = map(100);
        let html = map.html();
        assert_eq!(html, map.html(), "the same map, the same bytes");
        let data = data(&html);
        let places = STANDARD.decode(data["places"].as_str().unwrap()).unwrap();
        let place =
            |i: usize| f64::from(i32::from_le_bytes(places[4 * i..4 * i + 4].try_into().unwrap())) / 1e5;
        for (i, (lon, lat)) in map.points.iter().enumerate() {
            assert!((place(2 * i) - lon).abs() < 6e-6 && (place(2 * i + 1) - lat).abs() < 6e-6);
        }
        assert_eq!(data["names"].as_str().unwrap().lines().nth(99), Some("35KMQ_00099"));
        assert_eq!(data["columns"][1]["classes"][0], "</script><b>");
        let of = STANDARD.decode(data["columns"][0]["of"].as_str().unwrap()).unwrap();
        assert_eq!(of[..8], [0, 0, 1, 0, 2, 0, 0, 0]);
        // Nothing but the closing tags of the page's own elements.
        assert_eq!(html.matches("</script>").count(), 2);
    }

    #[test]
    fn forty_thousand_points_stay_small() {
        let html = map(40_000).html();
        assert!(html.len() < 1_700_000, "{}", html.len());
    }
}
