//! Names of Sentinel-2's layers: one key, whatever an archive calls them.

/// The key of Earth Search v1, which names files and variables here, and ESA's name, which other archives use: the
/// bands by wavelength, then scene classification, aerosol optical thickness and water vapour.
pub const SENTINEL2_NAMES: [(&str, &str); 15] = [
    ("coastal", "B01"),
    ("blue", "B02"),
    ("green", "B03"),
    ("red", "B04"),
    ("rededge1", "B05"),
    ("rededge2", "B06"),
    ("rededge3", "B07"),
    ("nir", "B08"),
    ("nir08", "B8A"),
    ("nir09", "B09"),
    ("swir16", "B11"),
    ("swir22", "B12"),
    ("scl", "SCL"),
    ("aot", "AOT"),
    ("wvp", "WVP"),
];

/// ESA's name of a layer: `B8A` of `nir08`.
#[must_use]
pub fn esa_name(key: &str) -> Option<&'static str> {
    SENTINEL2_NAMES.iter().find(|(name, _)| *name == key).map(|(_, esa)| *esa)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_there_twice() {
        let mut names: Vec<&str> = SENTINEL2_NAMES.iter().flat_map(|(key, esa)| [*key, *esa]).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 2 * SENTINEL2_NAMES.len());
        assert_eq!((esa_name("nir"), esa_name("nir08"), esa_name("B08")), (Some("B08"), Some("B8A"), None));
    }
}
