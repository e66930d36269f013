//! Names of bands: one key whatever the catalogue calls the asset.

use minicube::esa_name;
use serde_json::Value;

/// The asset of a key: under that name, under ESA's, or under ESA's with the best resolution (`B04_10m`).
pub(crate) fn find<'a>(assets: &'a Value, key: &str) -> Option<&'a Value> {
    let esa = esa_name(key);
    let with_resolution = |esa: &str| ["10m", "20m", "60m"].map(|resolution| format!("{esa}_{resolution}"));
    let names = [key.to_owned()]
        .into_iter()
        .chain(esa.map(str::to_owned))
        .chain(esa.into_iter().flat_map(with_resolution));
    names.into_iter().find_map(|name| assets.get(name.as_str()))
}

/// The address of an object in a public bucket over https. Newer regions answer under their own name only.
pub(crate) fn over_https(href: &str, region: Option<&str>) -> String {
    let is_plain = |region: &&str| region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let region = region.filter(is_plain).map(|region| format!(".{region}")).unwrap_or_default();
    match href.strip_prefix("s3://").and_then(|rest| rest.split_once('/')) {
        Some((bucket, key)) => format!("https://{bucket}.s3{region}.amazonaws.com/{key}"),
        None => href.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_band_has_one_name_in_all_catalogues() {
        for (catalogue, key) in [
            (json!({"nir08": 1, "nir": 2}), "nir08"),
            (json!({"B8A": 1, "B08": 2}), "nir08"),
            (json!({"B8A_60m": 3, "B8A_20m": 1}), "nir08"),
            (json!({"SCL": 1}), "scl"),
            (json!({"B04": 1}), "B04"),
        ] {
            assert_eq!(find(&catalogue, key), Some(&json!(1)), "{catalogue}");
        }
        assert_eq!(find(&json!({"B08": 1}), "nir08"), None, "another band");
    }

    #[test]
    fn buckets_have_addresses() {
        let address = |region: Option<&str>| over_https("s3://bucket/a/b.tif", region);
        assert_eq!(address(None), "https://bucket.s3.amazonaws.com/a/b.tif");
        assert_eq!(address(Some("af-south-1")), "https://bucket.s3.af-south-1.amazonaws.com/a/b.tif");
        assert_eq!(address(Some("evil.example/")), "https://bucket.s3.amazonaws.com/a/b.tif");
        assert_eq!(over_https("s3://bucket", None), "s3://bucket");
    }
}
