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

/// Decides for one item of any catalogue.
///
/// | processing baseline | offset applied | digital numbers | added |
/// |---|---|---|---|
/// | below 04.00 | any | 10⁴ ρ | 1000 |
/// | 04.00 and later | false or absent | 10⁴ ρ + 1000 | 0 |
/// | 04.00 and later | true | 10⁴ ρ | 1000 |
/// | absent | true | 10⁴ ρ | 1000 |
/// | absent | false or absent | by `raster:bands` `offset` of a reflectance asset: −0.1 or 0 | 0 or 1000 |
///
/// The baseline is `s2:processing_baseline`, `sentinel:processing_baseline`, `processing:version`, or in ESA's name of
/// the product (`_N0510_`); "offset applied" is `earthsearch:boa_offset_applied` or `sentinel:boa_offset_applied`,
/// which Planetary Computer and the collection-1 archive do not have: their numbers are ESA's.
///
/// # Errors
/// The reason, in words, where the item has neither a readable baseline nor a band offset.
pub fn radiometry(item: &Value) -> Result<Radiometry, String> {
    let properties = &item["properties"];
    let flags = ["earthsearch:boa_offset_applied", "sentinel:boa_offset_applied"];
    let offset_applied = flags.iter().find_map(|key| properties[*key].as_bool()).unwrap_or(false);
    let baseline = match baseline(properties)? {
        Some(baseline) => Some(baseline),
        None => named_baseline(item),
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

/// The baseline that a property states.
fn baseline(properties: &Value) -> Result<Option<f64>, String> {
    let keys = ["s2:processing_baseline", "sentinel:processing_baseline", "processing:version"];
    let Some((key, value)) = keys.iter().map(|key| (key, &properties[*key])).find(|(_, v)| !v.is_null())
    else {
        return Ok(None);
    };
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
    number.map(Some).ok_or_else(|| match value {
        Value::String(text) => format!("{key}: expected a number like 04.00, found `{text}`"),
        other => format!("{key}: expected a number like 04.00, found {other}"),
    })
}

/// The baseline in the name of the product: `_N0510_` is 5.1.
fn named_baseline(item: &Value) -> Option<f64> {
    let properties = &item["properties"];
    let names = [&properties["s2:product_uri"], &properties["sentinel:product_id"], &item["id"]];
    names.iter().filter_map(|name| name.as_str()).find_map(|name| {
        let number = name.split('_').find_map(|word| word.strip_prefix('N').filter(|n| n.len() == 4))?;
        number.parse::<f64>().ok().map(|hundredths| hundredths / 100.0)
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

    /// Of three archives and four states of the flag: what is added to a digital number. A wrong flag does no harm below
    /// 04.00, where there is nothing to take off; at 04.00 and later an item cannot tell, only its pixels can.
    #[test]
    fn the_matrix_of_baselines_and_flags() {
        let flag = "earthsearch:boa_offset_applied";
        let added = |baseline: &str, applied: Option<bool>| {
            let mut properties = json!({ "s2:processing_baseline": baseline });
            if let Some(applied) = applied {
                properties[flag] = json!(applied);
            }
            decide(properties).2
        };
        for applied in [None, Some(false), Some(true)] {
            assert_eq!(added("02.14", applied), 1000, "before 04.00 there is no offset, whatever is said");
        }
        assert_eq!((added("05.00", Some(true)), added("05.00", Some(false))), (1000, 0));
        assert_eq!(added("05.00", None), 0, "Planetary Computer and collection 1 serve ESA's numbers");
        let collection_1 = json!({
            "id": "S2B_T37MGP_20240710T073012_L2A",
            "properties": { "s2:product_uri": "S2B_MSIL2A_20240710T071619_N0510_R006_T37MGP_20240710T103747.SAFE" },
            "assets": { "red": { "raster:bands": [{ "offset": -0.1 }] } },
        });
        let found = radiometry(&collection_1).unwrap();
        assert_eq!((found.baseline, found.offset_applied, found.add), (5.1, false, 0));
        let version_0 = json!({ "properties": {
            "sentinel:product_id": "S2B_MSIL2A_20220201T100559_N0400_R022_T31QGB_20220201T145215",
            "sentinel:boa_offset_applied": true } });
        assert_eq!(radiometry(&version_0).unwrap().add, 1000);
        let dataspace = json!({ "properties": { "processing:version": "05.11" } });
        assert_eq!(radiometry(&dataspace).unwrap().add, 0);
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
