//! The radiometric offset of processing baseline 04.00: what a digital number of an item means.

use serde_json::Value;

/// Reflectance = stored × 0.0001 − 0.1: every scene is stored with the +1000 of baseline 04.00, and 0 is "no data".
pub const STORED_OFFSET: u16 = 1000;

/// What a STAC item says about its digital numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Radiometry {
    /// Processing baseline, e.g. 4.0; NaN where the item does not say.
    pub baseline: f64,
    /// Whether the provider took the offset off before serving the pixels.
    pub offset_applied: bool,
    /// What to add to a digital number to get the stored one: 0 or [`STORED_OFFSET`].
    pub add: u16,
}

/// Decides for one item.
///
/// | `s2:processing_baseline` | `earthsearch:boa_offset_applied` | digital numbers | added |
/// |---|---|---|---|
/// | below 04.00 | false or absent | 10⁴ ρ | 1000 |
/// | 04.00 and later | false or absent | 10⁴ ρ + 1000 | 0 |
/// | any | true | 10⁴ ρ | 1000 |
/// | absent | false or absent | by `raster:bands` `offset` of a reflectance asset: −0.1 or 0 | 0 or 1000 |
///
/// # Errors
/// The reason, in words, where the item has neither a readable baseline nor a band offset.
pub fn radiometry(item: &Value) -> Result<Radiometry, String> {
    let properties = &item["properties"];
    let offset_applied = properties["earthsearch:boa_offset_applied"].as_bool().unwrap_or(false);
    let baseline = match &properties["s2:processing_baseline"] {
        Value::Null => None,
        Value::Number(number) => number.as_f64(),
        Value::String(text) => {
            Some(text.parse().map_err(|_| {
                format!("s2:processing_baseline: expected a number like 04.00, found `{text}`")
            })?)
        }
        other => return Err(format!("s2:processing_baseline: expected a number like 04.00, found {other}")),
    };
    let carries_offset = match baseline {
        _ if offset_applied => false,
        Some(baseline) => baseline >= 4.0,
        None => band_offset(item).ok_or(
            "expected s2:processing_baseline or raster:bands offset, found neither: the meaning of its digital \
             numbers is unknown",
        )? < 0.0,
    };
    Ok(Radiometry {
        baseline: baseline.unwrap_or(f64::NAN),
        offset_applied,
        add: if carries_offset { 0 } else { STORED_OFFSET },
    })
}

/// `raster:bands` offset of the first reflectance asset that has one.
fn band_offset(item: &Value) -> Option<f64> {
    ["red", "green", "blue", "nir", "nir08", "B04", "B03", "B02"]
        .iter()
        .find_map(|asset| item["assets"][asset]["raster:bands"][0]["offset"].as_f64())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decide(properties: Value) -> (f64, bool, u16) {
        let found = radiometry(&json!({ "properties": properties })).unwrap();
        (found.baseline, found.offset_applied, found.add)
    }

    #[test]
    fn the_decision_table_holds() {
        let (baseline, applied) = ("s2:processing_baseline", "earthsearch:boa_offset_applied");
        assert_eq!(decide(json!({ baseline: "02.14", applied: false })), (2.14, false, 1000));
        assert_eq!(decide(json!({ baseline: "02.12" })), (2.12, false, 1000));
        assert_eq!(decide(json!({ baseline: "03.01", applied: false })), (3.01, false, 1000));
        assert_eq!(decide(json!({ baseline: "04.00", applied: false })), (4.0, false, 0));
        assert_eq!(decide(json!({ baseline: "05.10" })), (5.1, false, 0));
        assert_eq!(decide(json!({ baseline: "04.00", applied: true })), (4.0, true, 1000));
        assert_eq!(decide(json!({ baseline: 5.09, applied: true })), (5.09, true, 1000));
    }

    #[test]
    fn without_a_baseline_the_band_offset_decides() {
        let with_offset = |offset: f64| {
            radiometry(
                &json!({ "properties": {}, "assets": { "red": { "raster:bands": [{ "offset": offset }] } } }),
            )
            .unwrap()
        };
        assert_eq!(with_offset(-0.1).add, 0);
        assert_eq!(with_offset(0.0).add, 1000);
        assert!(with_offset(0.0).baseline.is_nan());
        assert!(radiometry(&json!({ "properties": {} })).unwrap_err().contains("expected"));
        let garbled = json!({ "properties": { "s2:processing_baseline": "four" } });
        assert!(radiometry(&garbled).unwrap_err().contains("found `four`"));
    }
}
