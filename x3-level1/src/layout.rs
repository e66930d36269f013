//! The layout of a Level-1 store: every variable, unit, type and fill value, once. See `docs/formats.md`.

use std::collections::BTreeMap;

use minicube::terrain::GEOMORPHONS;
use minicube::{CF_DAY_UNITS, CHUNK_DATES, CHUNK_PX, CellGrid, CubeSpec, DType, Epsg, VarSpec, add_crs};
use serde::Serialize;
use serde_json::{Value, json};

use crate::asset::Quantity;
use crate::config::{Classes, OffsetRule, SameDay, Static};
use crate::daily::Reduce;
use crate::dark_pixels::OffsetCheck;
use crate::plan::SCL;
use crate::same_day::ACQUISITION;
use crate::sources;
use crate::statics::StaticsPlan;

/// A daily series from SMAP or ERA5, as it is described in the store.
#[derive(Clone, Debug, Serialize)]
pub struct SeriesInfo {
    /// Name below its group.
    pub name: String,
    /// How a day's values became one.
    pub reduce: Reduce,
    /// `units`, `long_name` and the like, from the source.
    pub attrs: BTreeMap<String, String>,
}

/// The daily series of one group (`smap` or `era5`).
#[derive(Clone, Debug)]
pub(crate) struct SeriesLayout<'a> {
    /// The variables.
    pub variables: &'a [SeriesInfo],
    /// Days.
    pub days: usize,
    /// Edge of the window of source cells.
    pub window: usize,
}

/// What variables are made of that are taken over as a whole or not at all; see [`sources`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct MadeOf {
    /// The static layers.
    pub statics: i64,
    /// The weather.
    pub era5: i64,
}

/// Attribute of the root that has [`MadeOf::statics`].
pub(crate) const SOURCE_STATIC: &str = "source_static";

/// Attribute of the root that has [`MadeOf::era5`].
pub(crate) const SOURCE_ERA5: &str = "source_era5";

/// What is known of a store before it is built.
#[derive(Clone, Debug)]
pub(crate) struct Layout<'a> {
    /// Sentinel-2 tile id.
    pub tile: &'a str,
    /// Reference system of the cubes.
    pub epsg: Epsg,
    /// Size and resolution of the cubes.
    pub grid: CellGrid,
    /// Number of cubes.
    pub cubes: usize,
    /// Number of frames of Sentinel-2: acquisitions, or days where these are merged.
    pub frames: usize,
    /// Layers of Sentinel-2 besides the scene classification.
    pub assets: &'a [String],
    /// How classes are resampled.
    pub classes: Classes,
    /// Who decided what digital numbers mean.
    pub offset: OffsetRule,
    /// What becomes of several acquisitions on one day.
    pub same_day: SameDay,
    /// SMAP series.
    pub smap: Option<SeriesLayout<'a>>,
    /// ERA5 series.
    pub era5: Option<SeriesLayout<'a>>,
    /// Static layers.
    pub statics: &'a StaticsPlan,
    /// What the values that do not change with the acquisitions are made of; `None` where a store says nothing of that.
    pub made_of: Option<MadeOf>,
    /// Item ids with ETags.
    pub source_items: Value,
    /// What was asked for and is not there.
    pub gaps: Value,
}

impl Layout<'_> {
    /// The store's specification.
    #[must_use]
    pub(crate) fn spec(&self) -> CubeSpec {
        let mut spec = CubeSpec::new("level1")
            .attr("title", format!("Level-1 minicubes of Sentinel-2 tile {}", self.tile))
            .attr("tile", self.tile)
            .attr("epsg", self.epsg.0)
            .attr("size_px", self.grid.size_px)
            .attr("resolution_m", self.grid.resolution_m)
            .attr("source_items", self.source_items.clone())
            .attr("gaps", self.gaps.clone())
            .dim("minicube", self.cubes)
            .dim("s2/time", self.frames)
            .dim("source/time", self.frames)
            .dim("y", self.grid.size_px)
            .dim("x", self.grid.size_px);
        if let Some(made_of) = self.made_of {
            spec = spec.attr(SOURCE_STATIC, made_of.statics).attr(SOURCE_ERA5, made_of.era5);
        }
        let georeference = self.coordinates().into_iter().chain(self.extent());
        for var in georeference
            .chain(self.dem_counts())
            .chain(self.optical())
            .chain(self.sources())
            .chain(self.static_layers())
        {
            spec = spec.var(var);
        }
        spec = add_crs(spec, self.epsg);
        if let Some(smap) = &self.smap {
            spec = daily_group(spec, "smap", smap, Some(self.cubes));
            if self.made_of.is_some() {
                spec = spec.dim("source/day", smap.days).var(source(sources::SMAP_DAYS, &["day"]));
            }
        }
        if let Some(era5) = &self.era5 {
            spec = daily_group(spec, "era5", era5, None);
        }
        spec
    }

    fn coordinates(&self) -> Vec<VarSpec> {
        let degrees = |name: &str, standard: &str, units: &str| {
            VarSpec::new(name, &["minicube"], DType::F64)
                .attr("standard_name", standard)
                .attr("units", units)
                .attr("long_name", format!("{standard} of the cube's centre"))
        };
        let metres = |name: &str, axis: &str, standard: &str| {
            VarSpec::new(name, &["minicube", axis], DType::F64)
                .attr("standard_name", standard)
                .attr("units", "m")
                .attr("long_name", "centres of the pixels")
        };
        vec![
            VarSpec::new("id", &["minicube"], DType::String).attr("long_name", "location id"),
            degrees("lon", "longitude", "degrees_east"),
            degrees("lat", "latitude", "degrees_north"),
            metres("xc", "x", "projection_x_coordinate"),
            metres("yc", "y", "projection_y_coordinate"),
        ]
    }

    /// Outer edges of the cubes. With the resolution they are their affine transformation: column and row 0 begin at
    /// `x_min` and `y_max`.
    fn extent(&self) -> impl Iterator<Item = VarSpec> {
        let edges =
            [("x_min", "western"), ("y_min", "southern"), ("x_max", "eastern"), ("y_max", "northern")];
        edges.into_iter().map(|(name, side)| {
            VarSpec::new(name, &["minicube"], DType::F64)
                .attr("units", "m")
                .attr("long_name", format!("{side} edge of the cube"))
                .attr("grid_mapping", "crs")
        })
    }

    /// How many elevations of a cube are not from the first rasters, and how many are missing.
    fn dem_counts(&self) -> Vec<VarSpec> {
        if !self.statics.layers.contains(&Static::Dem) {
            return Vec::new();
        }
        let count = |name: &str, what: &str| {
            VarSpec::new(name, &["minicube"], DType::I32).attr("units", "1").attr("long_name", what)
        };
        let filled = "pixels of static/dem that the first rasters lack and others, or interpolation, gave";
        let reach = self.statics.fill_voids_px;
        vec![
            count("dem_filled", filled).attr("fill_voids_px", reach),
            count("dem_void", "pixels of static/dem without an elevation"),
        ]
    }

    fn optical(&self) -> Vec<VarSpec> {
        let decided = match self.offset {
            OffsetRule::Metadata => "decided by the item",
            OffsetRule::Pixels => "decided by the pixels where offset_check is 0 or 2, else by the item",
        };
        let ids = match self.same_day {
            SameDay::Separate => "STAC item id",
            SameDay::Merge => {
                "STAC item ids of the day's acquisitions, ascending by time, separated by blanks"
            }
        };
        let mut vars = vec![
            time_axis("s2"),
            VarSpec::new("s2/scene_id", &["time"], DType::String).attr("long_name", ids),
            VarSpec::new("s2/baseline", &["time"], DType::F64).attr("long_name", "processing baseline"),
            VarSpec::new("s2/offset_applied", &["time"], DType::U8)
                .attr("long_name", "whether the provider took off the offset of -1000")
                .attr("flag_values", json!([0, 1]))
                .attr("flag_meanings", "no yes"),
            VarSpec::new("s2/offset_check", &["time"], DType::U8)
                .attr(
                    "long_name",
                    "what the pixels say of the item's statement on the offset of baseline 04.00",
                )
                .attr("flag_values", json!([0, 1, 2]))
                .attr("flag_meanings", OffsetCheck::NAMES.join(" ")),
            VarSpec::new("s2/offset_added", &["time"], DType::U16)
                .attr("long_name", "what was added to digital numbers of reflectance to get stored ones")
                .attr("comment", decided),
        ];
        if self.same_day == SameDay::Merge {
            let what = "number of the acquisition in scene_id that the pixel is from; 0 = none has data";
            let rule = "the first that shows the ground (scl 2 4 5 6 7 11), else the first that has data";
            let name = format!("s2/{ACQUISITION}");
            vars.push(
                self.scene_var(&name, DType::U8).missing(0).attr("long_name", what).attr("comment", rule),
            );
        }
        vars.extend(self.assets.iter().map(|asset| {
            Quantity::of(asset).describe(asset, self.scene_var(&format!("s2/{asset}"), DType::U16))
        }));
        let classes = match self.classes {
            Classes::Mode => "x: y: mode (ties: the class at the pixel's centre, then the lowest)",
            Classes::Nearest => "x: y: point (the class at the pixel's centre)",
        };
        vars.push(
            self.scene_var("s2/scl", DType::U8)
                .missing(0)
                .attr("long_name", "scene classification; 0 = no data or not fetched")
                .attr("cell_methods", classes)
                .attr("flag_values", json!([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]))
                .attr(
                    "flag_meanings",
                    "saturated_or_defective dark_area cloud_shadow vegetation not_vegetated water unclassified \
                     cloud_medium_probability cloud_high_probability thin_cirrus snow_or_ice",
                ),
        );
        vars
    }

    /// What each frame of each layer is made of, at each cube.
    fn sources(&self) -> Vec<VarSpec> {
        let merged = (self.same_day == SameDay::Merge).then_some(ACQUISITION);
        let layers = std::iter::once(SCL).chain(merged).chain(self.assets.iter().map(String::as_str));
        let vars = layers.map(|layer| source(&sources::variable(layer), &["minicube", "time"]));
        vars.filter(|_| self.made_of.is_some()).collect()
    }

    fn scene_var(&self, name: &str, dtype: DType) -> VarSpec {
        let size = self.grid.size_px as u64;
        VarSpec::new(name, &["minicube", "time", "y", "x"], dtype)
            .chunk(&[1, CHUNK_DATES, CHUNK_PX, CHUNK_PX])
            .shard(&[1, self.frames as u64, size, size])
            .attr("grid_mapping", "crs")
    }

    fn static_layers(&self) -> Vec<VarSpec> {
        let size = self.grid.size_px as u64;
        let layer = |name: &str, dtype| {
            VarSpec::new(name, &["minicube", "y", "x"], dtype)
                .chunk(&[1, size, size])
                .shard(&[self.cubes as u64, size, size])
                .attr("grid_mapping", "crs")
        };
        let var = |kind: &Static| match kind {
            Static::Dem => layer("static/dem", DType::F32)
                .attr("long_name", "elevation")
                .attr("standard_name", "surface_altitude")
                .attr("units", "m"),
            Static::Slope => layer("static/slope", DType::F32)
                .attr("long_name", "slope (Horn 1981)")
                .attr("units", "degree"),
            Static::Aspect => layer("static/aspect", DType::F32)
                .attr("long_name", "aspect, clockwise from north (Horn 1981); NaN where flat")
                .attr("units", "degree"),
            Static::Landcover => {
                let codes: Vec<u8> = self.statics.legend.iter().map(|(code, _)| *code).collect();
                let names: Vec<&str> = self.statics.legend.iter().map(|(_, name)| name.as_str()).collect();
                layer("static/landcover", DType::U8)
                    .missing(0)
                    .attr("long_name", "land-cover class; 0 = none")
                    .attr("cell_methods", "x: y: mode")
                    .attr("flag_values", json!(codes))
                    .attr("flag_meanings", names.join(" "))
            }
            Static::Geomorphon => {
                let codes: Vec<usize> = (1..=GEOMORPHONS.len()).collect();
                let form = layer("static/geomorphon", DType::U8)
                    .missing(0)
                    .attr("long_name", "terrain form; 0 = none")
                    .attr("references", "geomorphons: doi:10.1016/j.geomorph.2012.11.005")
                    .attr("flag_values", json!(codes))
                    .attr("flag_meanings", GEOMORPHONS.join(" "));
                self.statics.geomorphon.iter().fold(form, |form, options| {
                    form.attr("search_px", options.search_px)
                        .attr("skip_px", options.skip_px)
                        .attr("flat_deg", options.flat_deg)
                        .attr("flat_distance_px", options.flat_distance_px)
                })
            }
        };
        self.statics
            .layers
            .iter()
            .map(var)
            .chain(self.statics.own.iter().map(|own| own.spec(layer)))
            .collect()
    }
}

fn source(name: &str, dims: &[&str]) -> VarSpec {
    let what = "what the values are made of: a hash of their files and rules; equal numbers, equal values";
    VarSpec::new(name, dims, DType::I64).attr("long_name", what)
}

fn time_axis(group: &str) -> VarSpec {
    VarSpec::new(&format!("{group}/time"), &["time"], DType::I32)
        .attr("standard_name", "time")
        .attr("units", CF_DAY_UNITS)
        .attr("calendar", "proleptic_gregorian")
}

/// Adds daily series, one a cube where there are `cubes`, else one for all.
fn daily_group(spec: CubeSpec, group: &str, series: &SeriesLayout<'_>, cubes: Option<usize>) -> CubeSpec {
    let (wy, wx) = (format!("{group}_y"), format!("{group}_x"));
    let mut spec = spec
        .dim(&format!("{group}/time"), series.days)
        .dim(&wy, series.window)
        .dim(&wx, series.window)
        .var(time_axis(group));
    for info in series.variables {
        let dims = ["minicube", "time", wy.as_str(), wx.as_str()];
        let mut var = VarSpec::new(
            &format!("{group}/{}", info.name),
            &dims[usize::from(cubes.is_none())..],
            DType::F32,
        )
        .attr("cell_methods", info.reduce.cell_methods());
        for (key, value) in &info.attrs {
            var = var.attr(key, value.as_str());
        }
        if in_parts(cubes.unwrap_or(1), series.days, series.window) {
            let (days, window) = (series.days as u64, series.window as u64);
            let skip = usize::from(cubes.is_none());
            var = var
                .chunk(&[1, CHUNK_DATES, window, window][skip..])
                .shard(&[1, days, window, window][skip..]);
        }
        spec = spec.var(var);
    }
    spec
}

/// Whether a daily variable is so large (more than 16 million numbers) that each cube has a file of its own; else it is
/// in one chunk.
pub(crate) fn in_parts(cubes: usize, days: usize, window: usize) -> bool {
    cubes * days * window * window > 1 << 24
}

/// ESA WorldCover 2021, the default legend of `static/landcover` (doi:10.5281/zenodo.7254221).
#[must_use]
pub(crate) fn worldcover() -> Vec<(u8, String)> {
    [
        (10, "tree_cover"),
        (20, "shrubland"),
        (30, "grassland"),
        (40, "cropland"),
        (50, "built_up"),
        (60, "bare_or_sparse_vegetation"),
        (70, "snow_and_ice"),
        (80, "permanent_water"),
        (90, "herbaceous_wetland"),
        (95, "mangroves"),
        (100, "moss_and_lichen"),
    ]
    .map(|(code, name)| (code, name.to_owned()))
    .to_vec()
}
