//! Everything that is wrong with a `[sampler]` section without looking at a file.

use minicube::TILE_SIZE_M;

use crate::config::{Config, Design, SplitConfig};

/// Names that a stratum of the user's own must not have: those of the table's columns and of the built-in strata.
const TAKEN: [&str; 26] = [
    "id",
    "tile",
    "epsg",
    "row",
    "col",
    "x_min",
    "y_min",
    "x_max",
    "y_max",
    "lon",
    "lat",
    "weight",
    "split",
    "seed",
    "geometry",
    "fold",
    "climate",
    "landcover",
    "heterogeneity",
    "topography",
    "elevation",
    "slope",
    "geomorphon",
    "landtype",
    "elevation_m",
    "inclusion_probability",
];

/// One entry a problem, each naming its key, what is expected and what was found.
pub(crate) fn problems(config: &Config) -> Vec<String> {
    let mut found = where_problems(config);
    found.extend(strata_problems(config));
    found.extend(design_problems(config));
    found.extend(split_problems(&config.split));
    found
}

/// How many areas of interest the section gives.
pub(crate) fn areas_given(config: &Config) -> usize {
    let given = [
        config.aoi.is_some(),
        config.bbox.is_some(),
        config.aoi_file.is_some(),
        config.wkt.is_some(),
        !config.countries.is_empty(),
    ];
    given.into_iter().filter(|given| *given).count()
}

/// A list of problems that grows by the checks that fail.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn check(&mut self, fine: bool, text: impl FnOnce() -> String) {
        if !fine {
            self.0.push(text());
        }
    }
}

fn where_problems(config: &Config) -> Vec<String> {
    let mut wrong = Problems::default();
    wrong.check(areas_given(config) <= 1, || {
        "expected at most one of aoi, bbox, aoi_file, wkt and countries, found several".to_owned()
    });
    wrong.check(config.aoi_layer.is_none() || config.aoi_file.is_some(), || {
        "aoi_layer: expected only together with aoi_file".to_owned()
    });
    if let Some([west, south, east, north]) = config.bbox {
        let fine = [west, east].iter().all(|lon| (-180.0..=180.0).contains(lon))
            && [south, north].iter().all(|lat| (-90.0..=90.0).contains(lat))
            && south < north
            && west != east;
        wrong.check(fine, || {
            format!(
                "bbox: expected [west, south, east, north] in degrees, found [{west}, {south}, {east}, {north}]"
            )
        });
    }
    let size = config.size_px as f64 * config.resolution_m;
    wrong.check(config.size_px > 0 && config.resolution_m > 0.0 && size <= TILE_SIZE_M, || {
        format!("size_px × resolution_m: expected more than 0 and at most {TILE_SIZE_M} m, found {size} m")
    });
    wrong.0
}

fn strata_problems(config: &Config) -> Vec<String> {
    let mut wrong = Problems::default();
    let ascending = |bounds: &[f64]| bounds.windows(2).all(|pair| pair[0] < pair[1]);
    wrong.check((1..=512).contains(&config.samples), || {
        format!("samples: expected 1 to 512, found {}", config.samples)
    });
    wrong.check((0.0..=1.0).contains(&config.water_max), || {
        format!("water_max: expected 0 to 1, found {}", config.water_max)
    });
    wrong.check((2..=100).contains(&config.heterogeneity_classes), || {
        format!("heterogeneity_classes: expected 2 to 100, found {}", config.heterogeneity_classes)
    });
    wrong.check(config.relief_m.is_sorted() && config.relief_m[0] >= 0.0, || {
        format!("relief_m: expected three ascending heights, found {:?}", config.relief_m)
    });
    if let Some(dem) = &config.dem {
        wrong.check(!dem.strata.is_empty(), || "dem.strata: expected at least one, found none".to_owned());
        for (key, bounds) in [("elevation_m", &dem.elevation_m), ("slope_deg", &dem.slope_deg)] {
            wrong.check(!bounds.is_empty() && ascending(bounds), || {
                format!("dem.{key}: expected ascending numbers, found {bounds:?}")
            });
        }
        wrong.check((100.0..=100_000.0).contains(&dem.geomorphon_search_m), || {
            format!("dem.geomorphon_search_m: expected 100 to 100000, found {}", dem.geomorphon_search_m)
        });
        wrong.check((0.0..90.0).contains(&dem.geomorphon_flat_deg), || {
            format!("dem.geomorphon_flat_deg: expected 0 to 90, found {}", dem.geomorphon_flat_deg)
        });
    }
    for (name, raster) in &config.strata {
        let is_class = raster.legend.is_some() || !raster.classes.is_empty();
        wrong.check(!TAKEN.contains(&name.as_str()), || format!("strata.{name}: the name is taken"));
        let ways = [is_class, raster.quantiles.is_some(), !raster.breaks.is_empty()];
        wrong.check(ways.into_iter().filter(|way| *way).count() == 1, || {
            format!("strata.{name}: expected exactly one of legend or classes, quantiles, breaks")
        });
        wrong.check(ascending(&raster.breaks), || {
            format!("strata.{name}.breaks: expected ascending numbers, found {:?}", raster.breaks)
        });
        wrong.check(raster.quantiles.is_none_or(|parts| (2..=100).contains(&parts)), || {
            format!("strata.{name}.quantiles: expected 2 to 100")
        });
    }
    for (name, raster) in &config.exclude {
        let rules = !raster.values.is_empty() || raster.below.is_some() || raster.above.is_some();
        wrong.check(rules, || {
            format!("exclude.{name}: expected at least one of values, below and above, found none")
        });
        wrong.check((0.0..=1.0).contains(&raster.max_share), || {
            format!("exclude.{name}.max_share: expected 0 to 1, found {}", raster.max_share)
        });
    }
    wrong.0
}

fn design_problems(config: &Config) -> Vec<String> {
    let mut wrong = Problems::default();
    wrong.check(config.count > 0, || "count: expected at least 1, found 0".to_owned());
    wrong.check((0.0..=1.0).contains(&config.alpha), || {
        format!("alpha: expected 0 to 1, found {}", config.alpha)
    });
    wrong.check(config.stratum_min.is_finite() && config.stratum_min >= 0.0, || {
        format!("stratum_min: expected 0 or more, found {}", config.stratum_min)
    });
    wrong.check((0.0..=2e7).contains(&config.min_distance_m), || {
        format!("min_distance_m: expected 0 to 2e7, found {}", config.min_distance_m)
    });
    for (key, value) in [("per_tile_max", config.per_tile_max), ("tiles_max", config.tiles_max)] {
        wrong.check(value != Some(0), || format!("{key}: expected at least 1, found 0"));
    }
    let is_table = config.design == Design::Table;
    wrong.check(is_table != config.targets.is_empty(), || {
        if is_table {
            "targets: expected at least one row for design = \"table\", found none".to_owned()
        } else {
            "targets: expected only together with design = \"table\"".to_owned()
        }
    });
    for (row, target) in config.targets.iter().enumerate() {
        wrong.check(target.share.is_finite() && target.share > 0.0, || {
            format!("targets[{row}].share: expected more than 0, found {}", target.share)
        });
    }
    wrong.0
}

fn split_problems(split: &SplitConfig) -> Vec<String> {
    let mut wrong = Problems::default();
    let SplitConfig { train, val, test, block_km, buffer_km, folds, .. } = *split;
    let sum_is_one = ((train + val + test) - 1.0).abs() < 1e-6;
    wrong.check([train, val, test].iter().all(|share| (0.0..=1.0).contains(share)) && sum_is_one, || {
        format!("split: expected shares with sum 1, found train {train}, val {val}, test {test}")
    });
    wrong.check((1.0..=5000.0).contains(&block_km), || {
        format!("split.block_km: expected 1 to 5000, found {block_km}")
    });
    wrong.check((0.0..=5000.0).contains(&buffer_km), || {
        format!("split.buffer_km: expected 0 to 5000, found {buffer_km}")
    });
    wrong.check(folds != 1 && folds <= 1000, || {
        format!("split.folds: expected 0 or 2 to 1000, found {folds}")
    });
    for (name, [first, last]) in &split.years {
        wrong.check(["train", "val", "test"].contains(&name.as_str()), || {
            format!("split.years.{name}: expected train, val or test")
        });
        wrong.check(first <= last, || {
            format!("split.years.{name}: expected [first, last], found [{first}, {last}]")
        });
    }
    wrong.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(section: &str) -> String {
        problems(&toml::from_str(section).unwrap()).join("\n")
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let text = text_of(
            "bbox = [10, 20, 30, 15]\naoi = \"africa\"\ncount = 0\nalpha = 2.0\nheterogeneity_classes = 1\n\
             tiles_max = 0\ndesign = \"table\"\nsplit = { train = 0.5, folds = 1, years = { dev = [1, 2] } }\n\
             strata.id = { source = \"x\" }\nexclude.sea = { source = \"x\" }\n",
        );
        let parts = [
            "at most one of",
            "bbox",
            "count",
            "alpha",
            "heterogeneity_classes",
            "tiles_max",
            "targets",
            "split:",
            "folds",
            "years.dev",
            "the name is taken",
            "exactly one of",
            "exclude.sea",
        ];
        for part in parts {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(problems(&Config::default()), Vec::<String>::new());
    }
}
