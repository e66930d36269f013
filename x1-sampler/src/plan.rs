//! What will run: the checked and resolved `[sampler]` section.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use geo::{CoordsIter, MultiPolygon};
use minicube::run::Project;
use minicube::terrain::GEOMORPHONS;
use minicube::{CellGrid, Tile, sha256_bytes};
use serde::Serialize;

use crate::aoi::{Aoi, bbox_area, builtin_area, countries, parse_wkt, read_area};
use crate::candidates::Source;
use crate::checks::problems;
use crate::config::{
    Builtin, ClassRaster, Config, DemStratum, Design, ElevationRaster, Format, LegendName, Product,
    SplitConfig,
};
use crate::design::Shares;
use crate::draw::Rules;
use crate::layers::{ClassLayer, DemLayer, ExcludeLayer, Layers, mean_of};
use crate::legend::Legend;
use crate::raster::RasterSpec;
use crate::strata::{Cut, TOPOGRAPHY};
use crate::{Error, grid_file};

/// A resolved plan. Its serialised form is what the plan hash is taken of: all that decides about the output, nothing
/// that differs between machines (so URLs without host, files without folder).
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Name of the area and hash of its polygons.
    pub area: AreaPlan,
    /// Size and resolution of the minicubes.
    pub grid: CellGrid,
    /// Most points along an edge of a cell.
    pub samples: usize,
    /// The rasters, by stratum or reason to exclude.
    pub rasters: BTreeMap<String, RasterPlan>,
    /// Largest share of water.
    pub water_max: f64,
    /// How the strata are cut: column and what it is made of.
    pub strata: Vec<(String, String)>,
    /// How many locations.
    pub count: usize,
    /// The design.
    pub shares: Shares,
    /// Strata with a smaller target are merged.
    pub stratum_min: f64,
    /// Whether the locations are spread evenly.
    pub balanced: bool,
    /// Cap per tile.
    pub per_tile_max: Option<usize>,
    /// Budget of tiles.
    pub tiles_max: Option<usize>,
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
    /// What the strata are made of, in the order of their importance.
    #[serde(skip)]
    pub sources: Vec<(String, Source)>,
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
    /// SHA-256 of the ids of the only tiles; empty if there are no such.
    pub tiles_sha256: String,
    /// Whether tiles of open sea count.
    pub sea_tiles: bool,
}

/// A raster in a plan.
#[derive(Clone, Debug, Serialize)]
pub struct RasterPlan {
    /// URL without scheme, host and query, or file name.
    pub source: String,
    /// Size of a local file.
    pub bytes: Option<u64>,
    /// What the user wrote about it, but for the source.
    pub settings: serde_json::Value,
}

impl Plan {
    /// What limits the draw.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules {
            count: self.count,
            per_tile_max: self.per_tile_max,
            min_distance_m: self.min_distance_m,
            balanced: self.balanced,
            seed: self.seed,
        }
    }

    /// The shares of training, validation and test, sum 1.
    #[must_use]
    pub fn split_shares(&self) -> [f64; 3] {
        let shares = [self.split.train, self.split.val, self.split.test];
        let sum: f64 = shares.iter().sum();
        shares.map(|share| share / sum)
    }

    /// Names of the strata.
    #[must_use]
    pub fn columns(&self) -> Vec<&str> {
        self.sources.iter().map(|(name, _)| name.as_str()).collect()
    }
}

impl Config {
    /// Checks everything and fills in what follows from the rest. Relative paths count from the working directory.
    ///
    /// # Errors
    /// [`Error::Config`] with all problems at once; [`Error::AoiFile`] if the area cannot be read.
    pub fn resolve(&self, project: &Project) -> Result<Plan, Error> {
        let mut wrong = problems(self);
        let layers = self.layers(&mut wrong);
        let sources = self.sources(&layers);
        for name in self.targets.iter().flat_map(|target| target.classes.keys()).chain(&self.split.stratify) {
            if !sources.iter().any(|(column, _)| column == name) {
                let known: Vec<&str> = sources.iter().map(|(column, _)| column.as_str()).collect();
                wrong.push(format!(
                    "`{name}`: expected one of the strata {}, found another",
                    known.join(", ")
                ));
            }
        }
        let tiles = self.only_tiles(&mut wrong)?;
        if crate::checks::areas_given(self) == 0 && tiles.is_empty() {
            wrong.push(
                "expected one of aoi = \"africa\" | \"europe\" | \"world\", bbox, aoi_file, wkt, countries or tiles, \
                 found none"
                    .to_owned(),
            );
        }
        if !wrong.is_empty() {
            return Err(Error::Config { problems: wrong });
        }
        let aoi = self.find_area(tiles)?;
        let ids: Vec<&str> = aoi.tiles.iter().map(String::as_str).collect();
        Ok(Plan {
            area: AreaPlan {
                name: aoi.name.clone(),
                sha256: aoi.area.as_ref().map(hash_area).unwrap_or_default(),
                tiles_sha256: if ids.is_empty() {
                    String::new()
                } else {
                    sha256_bytes(ids.join(" ").as_bytes())
                },
                sea_tiles: self.sea_tiles,
            },
            grid: CellGrid { size_px: self.size_px, resolution_m: self.resolution_m },
            samples: self.samples,
            rasters: self.raster_plans(),
            water_max: self.water_max,
            strata: sources.iter().map(|(name, source)| (name.clone(), format!("{source:?}"))).collect(),
            count: self.count,
            shares: Shares { design: self.design, alpha: self.alpha, targets: self.targets.clone() },
            stratum_min: if self.design == Design::Table { 0.0 } else { self.stratum_min },
            balanced: self.balanced,
            per_tile_max: self.per_tile_max,
            tiles_max: self.tiles_max,
            min_distance_m: self.min_distance_m,
            split: self.split.clone(),
            formats: self.formats.clone(),
            products: self.products.clone(),
            seed: project.seed,
            aoi,
            layers,
            sources,
            folder: project.sampler(),
        })
    }

    fn layers(&self, wrong: &mut Vec<String>) -> Layers {
        let mut layers = Layers { samples: self.samples, water_max: self.water_max, ..Layers::default() };
        for (name, raster) in &self.exclude {
            layers.exclude.push(ExcludeLayer {
                raster: spec(name, &raster.source, &raster.crs, raster.extent, raster.nodata),
                values: raster.values.iter().map(|&value| value as f32).collect(),
                max_share: if raster.values.is_empty() { 1.0 } else { raster.max_share },
                below: raster.below,
                above: raster.above,
            });
        }
        let usual = [
            ("landcover", &self.landcover, LegendName::Worldcover),
            ("climate", &self.climate, LegendName::KoppenBeck),
            ("landtype", &self.landtype, LegendName::Worldcover),
        ];
        for (name, raster, legend) in usual {
            layers.classes.extend(raster.as_ref().map(|raster| class_layer(name, raster, legend, wrong)));
        }
        if let Some(dem) = &self.dem {
            layers.dem = Some(dem_layer(dem));
        }
        for (name, raster) in &self.strata {
            if raster.legend.is_some() || !raster.classes.is_empty() {
                let as_classes = ClassRaster {
                    source: raster.source.clone(),
                    legend: raster.legend,
                    classes: raster.classes.clone(),
                    water: Vec::new(),
                    crs: raster.crs.clone(),
                    extent: raster.extent,
                    nodata: raster.nodata,
                };
                layers.classes.push(class_layer(name, &as_classes, LegendName::Worldcover, wrong));
            } else {
                layers.numbers.push(spec(name, &raster.source, &raster.crs, raster.extent, raster.nodata));
            }
        }
        layers
    }

    /// The strata in the order of their importance: where rare ones are merged, the last goes first.
    fn sources(&self, layers: &Layers) -> Vec<(String, Source)> {
        let class = |name: &str| {
            let place = layers.classes.iter().position(|layer| layer.raster.stratum == name)?;
            Some((name.to_owned(), Source::Class(place, layers.classes[place].legend.classes.clone())))
        };
        let number = |name: &str, attribute: &str, cut: Cut| {
            (name.to_owned(), Source::Number(attribute.to_owned(), cut))
        };
        let mut sources: Vec<(String, Source)> = Vec::new();
        sources.extend(class("climate"));
        sources.extend(class("landcover"));
        if self.landcover.is_some() {
            let cut = Cut::Quantiles(self.heterogeneity_classes);
            sources.push(number("heterogeneity", "landcover_entropy", cut));
        }
        if let Some(dem) = &self.dem {
            let mut wanted = dem.strata.clone();
            wanted.sort_unstable();
            wanted.dedup();
            sources.extend(wanted.into_iter().map(|stratum| match stratum {
                DemStratum::Topography => {
                    let bounds = self.relief_m.iter().map(|&bound| bound as f32).collect();
                    let names = TOPOGRAPHY.map(str::to_owned).to_vec();
                    number("topography", "relief_m", Cut::Breaks { bounds, names })
                }
                DemStratum::Elevation => {
                    number("elevation", "elevation_m", Cut::ranges(&dem.elevation_m, "m"))
                }
                DemStratum::Slope => number("slope", "slope_deg", Cut::ranges(&dem.slope_deg, "°")),
                DemStratum::Geomorphon => (
                    "geomorphon".to_owned(),
                    Source::Class(layers.classes.len(), GEOMORPHONS.map(str::to_owned).to_vec()),
                ),
            }));
        }
        sources.extend(class("landtype"));
        for (name, raster) in &self.strata {
            sources.push(match class(name) {
                Some(source) => source,
                None => {
                    let cut = match raster.quantiles {
                        Some(parts) => Cut::Quantiles(parts),
                        None => Cut::ranges(&raster.breaks, ""),
                    };
                    number(name, &mean_of(name), cut)
                }
            });
        }
        sources
    }

    fn only_tiles(&self, wrong: &mut Vec<String>) -> Result<BTreeSet<String>, Error> {
        let mut tiles: BTreeSet<String> = self.tiles.iter().cloned().collect();
        if let Some(path) = &self.tile_list {
            let lines = read(path)?;
            let ids = lines.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
            tiles.extend(ids.filter(|id| !id.is_empty()).map(str::to_owned));
            if tiles.is_empty() {
                wrong.push(format!("tile_list: {} names no tile", path.display()));
            }
        }
        wrong.extend(
            tiles.iter().filter_map(|id| Tile::from_id(id).err()).map(|error| format!("tiles: {error}")),
        );
        if let Some(path) = &self.grid_file {
            tiles.extend(grid_file::read(path)?.ids);
        }
        Ok(tiles)
    }

    fn find_area(&self, tiles: BTreeSet<String>) -> Result<Aoi, Error> {
        let (name, area) = if let Some(which) = self.aoi {
            let name = format!("{which:?}").to_lowercase();
            (
                name,
                if which == Builtin::World {
                    Some(bbox_area([-180.0, -90.0, 180.0, 90.0]))
                } else {
                    Some(builtin_area(which)?)
                },
            )
        } else if let Some(bbox) = self.bbox {
            (format!("{bbox:?}"), Some(bbox_area(bbox)))
        } else if let Some(path) = &self.aoi_file {
            (file_name(path), Some(read_area(path, self.aoi_layer.as_deref())?))
        } else if let Some(text) = &self.wkt {
            ("the WKT polygon".to_owned(), Some(parse_wkt(text)?))
        } else if !self.countries.is_empty() {
            (self.countries.join(", "), Some(countries(&self.countries)?))
        } else {
            (format!("{} tiles", tiles.len()), None)
        };
        Ok(Aoi { name, area, tiles })
    }

    fn raster_plans(&self) -> BTreeMap<String, RasterPlan> {
        let mut plans = BTreeMap::new();
        let mut add = |name: &str, source: &str, settings: serde_json::Value| {
            let mut settings = settings;
            if let Some(entries) = settings.as_object_mut() {
                entries.remove("source");
            }
            plans.insert(
                name.to_owned(),
                RasterPlan {
                    source: portable_name(source),
                    bytes: fs::metadata(source).ok().map(|file| file.len()),
                    settings,
                },
            );
        };
        for (name, raster) in
            [("climate", &self.climate), ("landcover", &self.landcover), ("landtype", &self.landtype)]
        {
            if let Some(raster) = raster {
                add(name, &raster.source, serde_json::json!(raster));
            }
        }
        if let Some(raster) = &self.dem {
            add("dem", &raster.source, serde_json::json!(raster));
        }
        for (name, raster) in &self.strata {
            add(name, &raster.source, serde_json::json!(raster));
        }
        for (name, raster) in &self.exclude {
            add(&format!("exclude {name}"), &raster.source, serde_json::json!(raster));
        }
        plans
    }
}

fn class_layer(
    stratum: &str,
    raster: &ClassRaster,
    usual: LegendName,
    wrong: &mut Vec<String>,
) -> ClassLayer {
    let mut legend = Legend::builtin(raster.legend.unwrap_or(usual));
    if !raster.classes.is_empty() {
        match Legend::own(&raster.classes, &raster.water) {
            Ok(own) => legend = own,
            Err(problem) => wrong.push(format!("{stratum}.{problem}")),
        }
    } else if !raster.water.is_empty() {
        wrong.push(format!("{stratum}.water: expected only together with {stratum}.classes"));
    }
    // 0 is "unknown" in every built-in legend; an own legend may use it.
    let zero = legend.class_of(0.0).is_none().then_some(0.0);
    let mut raster = spec(stratum, &raster.source, &raster.crs, raster.extent, raster.nodata);
    raster.missing.extend(zero);
    ClassLayer { raster, legend, is_landcover: stratum == "landcover" }
}

fn dem_layer(dem: &ElevationRaster) -> DemLayer {
    DemLayer {
        raster: spec("dem", &dem.source, &dem.crs, dem.extent, dem.nodata),
        strata: dem.strata.clone(),
        search_m: dem.geomorphon_search_m,
        flat_deg: dem.geomorphon_flat_deg,
    }
}

fn spec(
    stratum: &str,
    source: &str,
    crs: &Option<String>,
    extent: Option<[f64; 4]>,
    nodata: Option<f64>,
) -> RasterSpec {
    RasterSpec {
        stratum: stratum.to_owned(),
        source: source.to_owned(),
        crs: crs.clone(),
        extent,
        missing: nodata.into_iter().collect(),
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
        Project {
            name: "p".into(),
            dir: "/tmp/p".into(),
            years: [2018, 2019],
            seed: 1,
            buckets: Default::default(),
        }
    }

    #[test]
    fn the_plan_does_not_know_the_host_or_folder() {
        assert_eq!(portable_name("http://127.0.0.1:4711/dem/a.tif?token=x"), "dem/a.tif");
        assert_eq!(portable_name("/data/dem.tif"), "dem.tif");
        let hash = |source: &str| {
            let text = format!("bbox = [1, 2, 3, 4]\ndem = {{ source = \"{source}\" }}");
            let config: Config = toml::from_str(&text).unwrap();
            minicube::plan_hash(&config.resolve(&project()).unwrap())
        };
        assert_eq!(hash("http://127.0.0.1:1/d.tif"), hash("http://127.0.0.1:2/d.tif"));
        assert_ne!(hash("http://127.0.0.1:1/d.tif"), hash("http://127.0.0.1:1/e.tif"));
    }

    #[test]
    fn strata_come_in_the_order_of_their_importance() {
        let text = "bbox = [1, 2, 3, 4]\nclimate = { source = \"c.tif\" }\nlandcover = { source = \"l.tif\" }\n\
                    dem = { source = \"d.tif\", strata = [\"geomorphon\", \"topography\"] }\n\
                    strata.soil = { source = \"s.tif\", classes = { \"1\" = \"clay\" } }\n\
                    strata.ph = { source = \"p.tif\", quantiles = 4 }\n";
        let config: Config = toml::from_str(text).unwrap();
        let plan = config.resolve(&project()).unwrap();
        let expected = ["climate", "landcover", "heterogeneity", "topography", "geomorphon", "ph", "soil"];
        assert_eq!(plan.columns(), expected);
        // The geomorphon comes after the three class layers.
        assert!(matches!(plan.sources[4].1, Source::Class(3, _)));
    }
}
