//! What will run: the checked and resolved `[sampler]` section.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use geo::{CoordsIter, MultiPolygon};
use minicube::run::Project;
use minicube::{CellGrid, TILE_SIZE_M, Tile, sha256_bytes};
use serde::Serialize;

use crate::Error;
use crate::aoi::{Aoi, bbox_area, builtin_area, parse_area};
use crate::candidates::{ClassLayer, Layers};
use crate::config::{Builtin, ClassRaster, Config, Design, Format, LegendName, Product, SplitConfig};
use crate::draw::Rules;
use crate::legend::Legend;
use crate::raster::RasterSpec;

/// A resolved plan. Its serialised form is what the plan hash is taken of: all that decides about the output, nothing
/// that differs between machines (so URLs without host, files without folder).
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Name of the area and hash of its polygons.
    pub area: AreaPlan,
    /// Size and resolution of the minicubes.
    pub grid: CellGrid,
    /// Points along an edge of a cell.
    pub samples: usize,
    /// The rasters, by stratum.
    pub rasters: BTreeMap<&'static str, RasterPlan>,
    /// Largest share of water.
    pub water_max: f64,
    /// Reliefs at which the topography classes begin, metres.
    pub relief_m: [f64; 3],
    /// How many locations.
    pub count: usize,
    /// The design.
    pub design: Design,
    /// Exponent of the power design.
    pub alpha: f64,
    /// Cap per tile.
    pub per_tile_max: Option<usize>,
    /// Smallest distance of two centres, metres.
    pub min_distance_m: f64,
    /// Splits.
    pub split: SplitConfig,
    /// Other formats.
    pub formats: Vec<Format>,
    /// Products of interest.
    pub products: BTreeMap<String, Product>,
    /// Seed of the project.
    pub seed: u64,
    /// The area itself.
    #[serde(skip)]
    pub aoi: Aoi,
    /// The rasters themselves.
    #[serde(skip)]
    pub layers: Layers,
    /// Where the output goes.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// The area of interest in a plan.
#[derive(Clone, Debug, Serialize)]
pub struct AreaPlan {
    /// What it is called.
    pub name: String,
    /// SHA-256 of its coordinates; empty if there is no polygon.
    pub sha256: String,
    /// The only tiles, if there are such.
    pub tiles: BTreeSet<String>,
}

/// A raster in a plan.
#[derive(Clone, Debug, Serialize)]
pub struct RasterPlan {
    /// URL without scheme, host and query, or file name.
    pub source: String,
    /// Size of a local file.
    pub bytes: Option<u64>,
    /// Reference system, if given.
    pub crs: Option<String>,
    /// Extent, if given.
    pub extent: Option<[f64; 4]>,
    /// "No data" value, if given.
    pub nodata: Option<f64>,
    /// Name of the legend.
    pub legend: Option<String>,
    /// Own legend.
    pub classes: BTreeMap<String, String>,
    /// Own water classes.
    pub water: Vec<String>,
}

impl Plan {
    /// What limits the draw.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules { count: self.count, per_tile_max: self.per_tile_max, min_distance_m: self.min_distance_m }
    }

    /// The shares of training, validation and test, sum 1.
    #[must_use]
    pub fn split_shares(&self) -> [f64; 3] {
        let shares = [self.split.train, self.split.val, self.split.test];
        let sum: f64 = shares.iter().sum();
        shares.map(|share| share / sum)
    }
}

impl Config {
    /// Checks everything and fills in what follows from the rest. Relative paths count from the working directory.
    ///
    /// # Errors
    /// [`Error::Config`] with all problems at once; [`Error::AoiFile`] if the area cannot be read.
    pub fn resolve(&self, project: &Project) -> Result<Plan, Error> {
        let mut problems = self.problems();
        let climate = self
            .climate
            .as_ref()
            .map(|raster| class_layer("climate", raster, LegendName::KoppenBeck, &mut problems));
        let landcover = self
            .landcover
            .as_ref()
            .map(|raster| class_layer("landcover", raster, LegendName::Worldcover, &mut problems));
        let tiles = self.only_tiles(&mut problems)?;
        if self.areas_given() == 0 && tiles.is_empty() {
            problems.push(
                "expected one of aoi = \"africa\" | \"europe\", bbox, aoi_file or tiles, found none"
                    .to_owned(),
            );
        }
        if !problems.is_empty() {
            return Err(Error::Config { problems });
        }
        let aoi = self.find_area(tiles)?;
        let dem = self.dem.as_ref().map(|raster| RasterSpec {
            stratum: "dem",
            source: raster.source.clone(),
            crs: raster.crs.clone(),
            extent: raster.extent,
            missing: raster.nodata.into_iter().collect(),
        });
        let layers = Layers {
            climate,
            landcover,
            dem,
            samples: self.samples,
            water_max: self.water_max,
            relief_m: self.relief_m,
        };
        Ok(Plan {
            area: AreaPlan {
                name: aoi.name.clone(),
                sha256: aoi.area.as_ref().map(hash_area).unwrap_or_default(),
                tiles: aoi.tiles.clone(),
            },
            grid: CellGrid { size_px: self.size_px, resolution_m: self.resolution_m },
            samples: self.samples,
            rasters: self.raster_plans(&layers),
            water_max: self.water_max,
            relief_m: self.relief_m,
            count: self.count,
            design: self.design,
            alpha: self.alpha,
            per_tile_max: self.per_tile_max,
            min_distance_m: self.min_distance_m,
            split: self.split,
            formats: self.formats.clone(),
            products: self.products.clone(),
            seed: project.seed,
            aoi,
            layers,
            folder: project.sampler(),
        })
    }

    fn areas_given(&self) -> usize {
        [self.aoi.is_some(), self.bbox.is_some(), self.aoi_file.is_some()]
            .into_iter()
            .filter(|given| *given)
            .count()
    }

    /// Everything that is wrong without looking at a file.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |fine: bool, text: String| {
            if !fine {
                problems.push(text);
            }
        };
        check(
            self.areas_given() <= 1,
            "expected at most one of aoi, bbox and aoi_file, found several".to_owned(),
        );
        if let Some([west, south, east, north]) = self.bbox {
            let fine = [west, east].iter().all(|lon| (-180.0..=180.0).contains(lon))
                && [south, north].iter().all(|lat| (-90.0..=90.0).contains(lat))
                && south < north
                && west != east;
            check(
                fine,
                format!(
                    "bbox: expected [west, south, east, north] in degrees, found [{west}, {south}, {east}, {north}]"
                ),
            );
        }
        let size = self.size_px as f64 * self.resolution_m;
        check(
            self.size_px > 0 && self.resolution_m > 0.0 && size <= TILE_SIZE_M,
            format!(
                "size_px × resolution_m: expected more than 0 and at most {TILE_SIZE_M} m, found {size} m"
            ),
        );
        check(
            (1..=512).contains(&self.samples),
            format!("samples: expected 1 to 512, found {}", self.samples),
        );
        check(self.count > 0, "count: expected at least 1, found 0".to_owned());
        check((0.0..=1.0).contains(&self.alpha), format!("alpha: expected 0 to 1, found {}", self.alpha));
        check(
            (0.0..=1.0).contains(&self.water_max),
            format!("water_max: expected 0 to 1, found {}", self.water_max),
        );
        check(
            self.relief_m.is_sorted() && self.relief_m[0] >= 0.0,
            format!("relief_m: expected three ascending heights, found {:?}", self.relief_m),
        );
        check(
            (0.0..=2e7).contains(&self.min_distance_m),
            format!("min_distance_m: expected 0 to 2e7, found {}", self.min_distance_m),
        );
        check(self.per_tile_max != Some(0), "per_tile_max: expected at least 1, found 0".to_owned());
        let SplitConfig { train, val, test, block_km } = self.split;
        check(
            [train, val, test].iter().all(|share| (0.0..=1.0).contains(share))
                && ((train + val + test) - 1.0).abs() < 1e-6,
            format!("split: expected shares with sum 1, found train {train}, val {val}, test {test}"),
        );
        check(
            (1.0..=5000.0).contains(&block_km),
            format!("split.block_km: expected 1 to 5000, found {block_km}"),
        );
        problems
    }

    fn only_tiles(&self, problems: &mut Vec<String>) -> Result<BTreeSet<String>, Error> {
        let mut tiles: BTreeSet<String> = self.tiles.iter().cloned().collect();
        if let Some(path) = &self.tile_list {
            let lines = read(path)?;
            let ids = lines.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
            tiles.extend(ids.filter(|id| !id.is_empty()).map(str::to_owned));
            if tiles.is_empty() {
                problems.push(format!("tile_list: {} names no tile", path.display()));
            }
        }
        problems.extend(
            tiles.iter().filter_map(|id| Tile::from_id(id).err()).map(|error| format!("tiles: {error}")),
        );
        Ok(tiles)
    }

    fn find_area(&self, tiles: BTreeSet<String>) -> Result<Aoi, Error> {
        let (name, area) = if let Some(which) = self.aoi {
            let name = if which == Builtin::Africa { "africa" } else { "europe" };
            (name.to_owned(), Some(builtin_area(which)?))
        } else if let Some(bbox) = self.bbox {
            (format!("{bbox:?}"), Some(bbox_area(bbox)))
        } else if let Some(path) = &self.aoi_file {
            (file_name(path), Some(parse_area(path, &read(path)?)?))
        } else {
            (format!("{} tiles", tiles.len()), None)
        };
        Ok(Aoi { name, area, tiles })
    }

    fn raster_plans(&self, layers: &Layers) -> BTreeMap<&'static str, RasterPlan> {
        let mut plans = BTreeMap::new();
        let classes =
            [("climate", &self.climate, &layers.climate), ("landcover", &self.landcover, &layers.landcover)];
        for (stratum, config, layer) in classes {
            if let (Some(config), Some(layer)) = (config, layer) {
                plans.insert(
                    stratum,
                    RasterPlan {
                        legend: Some(layer.legend.name.clone()),
                        classes: config.classes.clone(),
                        water: config.water.clone(),
                        ..raster_plan(&config.source, config.crs.clone(), config.extent, config.nodata)
                    },
                );
            }
        }
        if let Some(dem) = &self.dem {
            plans.insert("dem", raster_plan(&dem.source, dem.crs.clone(), dem.extent, dem.nodata));
        }
        plans
    }
}

fn class_layer(
    stratum: &'static str,
    raster: &ClassRaster,
    usual: LegendName,
    problems: &mut Vec<String>,
) -> ClassLayer {
    let mut legend = Legend::builtin(raster.legend.unwrap_or(usual));
    if !raster.classes.is_empty() {
        match Legend::own(&raster.classes, &raster.water) {
            Ok(own) => legend = own,
            Err(problem) => problems.push(format!("{stratum}.{problem}")),
        }
    } else if !raster.water.is_empty() {
        problems.push(format!("{stratum}.water: expected only together with {stratum}.classes"));
    }
    // 0 is "unknown" in every built-in legend; an own legend may use it.
    let zero = legend.class_of(0.0).is_none().then_some(0.0);
    let spec = RasterSpec {
        stratum,
        source: raster.source.clone(),
        crs: raster.crs.clone(),
        extent: raster.extent,
        missing: raster.nodata.into_iter().chain(zero).collect(),
    };
    ClassLayer { raster: spec, legend }
}

fn raster_plan(
    source: &str,
    crs: Option<String>,
    extent: Option<[f64; 4]>,
    nodata: Option<f64>,
) -> RasterPlan {
    RasterPlan {
        source: portable_name(source),
        bytes: fs::metadata(source).ok().map(|file| file.len()),
        crs,
        extent,
        nodata,
        legend: None,
        classes: BTreeMap::new(),
        water: Vec::new(),
    }
}

/// What of a source is the same on every machine: the path of a URL, the name of a file.
fn portable_name(source: &str) -> String {
    match source.split_once("://") {
        Some((_, rest)) => {
            let path = rest.split_once('/').map_or("", |(_, path)| path);
            path.split(['?', '#']).next().unwrap_or_default().to_owned()
        }
        None => file_name(Path::new(source)),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path)
        .map_err(|source| minicube::Error::Io { path: path.to_owned(), action: "read", source }.into())
}

fn hash_area(area: &MultiPolygon<f64>) -> String {
    let bytes: Vec<u8> = area
        .coords_iter()
        .flat_map(|point| [point.x.to_le_bytes(), point.y.to_le_bytes()].concat())
        .collect();
    sha256_bytes(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> Project {
        Project { name: "p".into(), dir: "/tmp/p".into(), years: [2018, 2019], seed: 1 }
    }

    fn problems(config: &Config) -> String {
        config.resolve(&project()).unwrap_err().to_string()
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let config = Config {
            bbox: Some([10.0, 20.0, 30.0, 15.0]),
            aoi: Some(Builtin::Africa),
            count: 0,
            alpha: 2.0,
            split: SplitConfig { train: 0.5, ..SplitConfig::default() },
            tiles: vec!["99XYZ".into()],
            ..Config::default()
        };
        let text = problems(&config);
        for part in ["at most one of", "bbox", "count", "alpha", "split", "99XYZ"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(problems(&Config::default()).contains("found none"));
    }

    #[test]
    fn the_plan_does_not_know_the_host_or_folder() {
        assert_eq!(portable_name("http://127.0.0.1:4711/dem/a.tif?token=x"), "dem/a.tif");
        assert_eq!(portable_name("/data/dem.tif"), "dem.tif");
        let raster = |source: &str| {
            let dem = crate::config::ElevationRaster {
                source: source.into(),
                crs: None,
                extent: None,
                nodata: None,
            };
            Config { aoi: Some(Builtin::Europe), dem: Some(dem), ..Config::default() }
                .resolve(&project())
                .unwrap()
        };
        let hash = |plan: &Plan| minicube::plan_hash(plan);
        assert_eq!(hash(&raster("http://127.0.0.1:1/d.tif")), hash(&raster("http://127.0.0.1:2/d.tif")));
        assert_ne!(hash(&raster("http://127.0.0.1:1/d.tif")), hash(&raster("http://127.0.0.1:1/e.tif")));
    }
}
