//! Static layers from rasters of the user's own: soil, land types.

use std::path::Path;

use gdal::raster::GdalDataType;
use minicube::{CellGrid, CubeWriter, DType, Epsg, Shape, VarSpec};
use ndarray::Array2;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

use crate::Error;
use crate::config::{LayerConfig, LayerKind};
use crate::files::FileSet;
use crate::ledger::Ledger;
use crate::mosaic::Mosaic;
use crate::plan::CubePlan;
use crate::raster::open_dataset;
use crate::static_blocks;
use crate::statics::{RASTERS, write_layer};
use crate::warp::Resampling;

/// Names that our own layers have.
const TAKEN: [&str; 5] = ["dem", "slope", "aspect", "landcover", "geomorphon"];

/// A layer and what its rasters say of it.
#[derive(Clone, Debug, Serialize)]
pub struct LayerPlan {
    /// What the user wrote.
    pub config: LayerConfig,
    /// Code and name of the classes.
    pub legend: Vec<(u8, String)>,
    /// Numbers are `stored * scale + offset`.
    pub scale: f64,
    /// See `scale`.
    pub offset: f64,
    /// Units of the numbers.
    pub units: Option<String>,
    /// Identity of the rasters.
    pub digest: String,
    /// The rasters.
    #[serde(skip)]
    pub files: FileSet,
}

/// Resolves `[[level1.layers]]` against the project folder.
///
/// # Errors
/// - [`Error::Config`] for names that are taken or cannot be, and for codes that are none,
/// - [`Error::NoInput`] if there is no raster,
/// - [`Error::Layer`] for classes of more than 8 bits, or rasters of several scales or units,
/// - [`Error::Raster`] for rasters that cannot be opened.
pub(crate) fn plan(layers: &[LayerConfig], project: &Path) -> Result<Vec<LayerPlan>, Error> {
    let named = |name: &str| {
        let small = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(small)
            && !TAKEN.contains(&name)
    };
    for (index, layer) in layers.iter().enumerate() {
        let twice = layers[..index].iter().any(|other| other.name == layer.name);
        if twice || !named(&layer.name) {
            return Err(Error::Config {
                key: "layers.name",
                expected: format!("each name once, of a-z, 0-9 and _, and none of {}", TAKEN.join(" ")),
                found: format!("`{}`{}", layer.name, if twice { " twice" } else { "" }),
            });
        }
    }
    layers.iter().map(|layer| resolve(layer, project)).collect()
}

fn resolve(layer: &LayerConfig, project: &Path) -> Result<LayerPlan, Error> {
    let path = project.join(&layer.path);
    let files = FileSet::at(&path, &RASTERS)?;
    if files.is_empty() {
        return Err(Error::NoInput {
            path,
            what: format!(
                "expected a raster or a folder of rasters for the layer {}, found none",
                layer.name
            ),
            hint: "paths in [[level1.layers]] begin in the project folder ([project] dir)",
        });
    }
    let mut tags = None;
    for path in &files.paths {
        let found = raster_tags(path, layer)?;
        let first = tags.get_or_insert_with(|| found.clone());
        if *first != found {
            let show = |(scale, offset, units): &(f64, f64, String)| {
                format!("scale {scale}, offset {offset}, units `{units}`")
            };
            let expected = format!("{} as in the rasters before it", show(first));
            return Err(wrong(path, layer, expected, show(&found)));
        }
    }
    let (scale, offset, units) = tags.unwrap_or((1.0, 0.0, String::new()));
    let (scale, offset) = (layer.scale.unwrap_or(scale), layer.offset.unwrap_or(offset));
    let units = layer.units.clone().or(Some(units).filter(|units| !units.is_empty()));
    let legend = legend(layer)?;
    let digest = files.digest.clone();
    Ok(LayerPlan { config: layer.clone(), legend, scale, offset, units, digest, files })
}

fn wrong(path: &Path, layer: &LayerConfig, expected: String, found: String) -> Error {
    Error::Layer { path: path.to_owned(), layer: layer.name.clone(), expected, found }
}

/// Scale, offset and units of a raster's first band.
fn raster_tags(path: &Path, layer: &LayerConfig) -> Result<(f64, f64, String), Error> {
    let dataset = open_dataset(path)?;
    let band = dataset.rasterband(1).map_err(Error::raster(path))?;
    if layer.kind == LayerKind::Class && band.band_type() != GdalDataType::UInt8 {
        return Err(wrong(path, layer, "classes of 8 bits (0 to 255)".into(), band.band_type().name()));
    }
    Ok((band.scale().unwrap_or(1.0), band.offset().unwrap_or(0.0), band.unit()))
}

fn legend(layer: &LayerConfig) -> Result<Vec<(u8, String)>, Error> {
    let entry = |(code, name): (&String, &String)| {
        let code = code.parse::<u8>().ok().filter(|&code| code > 0)?;
        (layer.kind == LayerKind::Class).then(|| (code, name.replace(' ', "_")))
    };
    let entries: Option<Vec<(u8, String)>> = layer.legend.iter().map(entry).collect();
    let mut entries = entries.ok_or_else(|| Error::Config {
        key: "layers.legend",
        expected: "codes from 1 to 255 of a layer of kind \"class\"".into(),
        found: format!("{:?} for {}", layer.legend.keys(), layer.name),
    })?;
    entries.sort();
    Ok(entries)
}

impl LayerPlan {
    /// The stored variable, `[minicube, y, x]`.
    #[must_use]
    pub(crate) fn spec(&self, layer: impl Fn(&str, DType) -> VarSpec) -> VarSpec {
        let name = format!("static/{}", self.config.name);
        let mut var = match self.config.kind {
            LayerKind::Class => layer(&name, DType::U8).missing(0).attr("cell_methods", "x: y: mode"),
            LayerKind::Number => layer(&name, DType::F32),
        };
        if let Some(long_name) = &self.config.long_name {
            var = var.attr("long_name", long_name.as_str());
        }
        if let Some(units) = &self.units {
            var = var.attr("units", units.as_str());
        }
        if !self.legend.is_empty() {
            let names: Vec<&str> = self.legend.iter().map(|(_, name)| name.as_str()).collect();
            var = var
                .attr("flag_values", json!(self.legend.iter().map(|(code, _)| *code).collect::<Vec<_>>()))
                .attr("flag_meanings", names.join(" "));
        }
        var
    }

    /// Puts the rasters on the cubes' grids and writes the layer. Numbers that are not finite are NaN.
    ///
    /// # Errors
    /// [`Error::Raster`] or [`Error::Georeference`] for unusable rasters, [`Error::NoInput`] if a block that is needed was
    /// not fetched, [`Error::Minicube`] if the store cannot be written.
    pub(crate) fn write(
        &self,
        cubes: &[CubePlan],
        (grid, epsg): (CellGrid, Epsg),
        ledger: &Ledger,
        writer: &CubeWriter,
    ) -> Result<(), Error> {
        static_blocks::check(&self.files.paths, ledger, cubes, epsg, grid.resolution_m)?;
        let mosaic = Mosaic::open(&self.files.paths)?;
        let shape = Shape { rows: grid.size_px, cols: grid.size_px };
        let name = format!("static/{}", self.config.name);
        match self.config.kind {
            LayerKind::Class => {
                let warp = |cube: &CubePlan| {
                    Ok(mosaic.warp::<u8>(&cube.bounds, shape, epsg, Resampling::Mode)?.layer)
                };
                let layers = cubes.par_iter().map(warp).collect::<Result<Vec<Array2<u8>>, Error>>()?;
                write_layer(writer, &name, &layers.iter().map(|layer| layer.view()).collect::<Vec<_>>())
            }
            LayerKind::Number => {
                let physical = |stored: f32| (f64::from(stored) * self.scale + self.offset) as f32;
                let warp = |cube: &CubePlan| {
                    let warped = mosaic.warp::<f32>(&cube.bounds, shape, epsg, Resampling::Bilinear)?;
                    Ok(warped.layer.mapv_into(physical))
                };
                let layers = cubes.par_iter().map(warp).collect::<Result<Vec<Array2<f32>>, Error>>()?;
                write_layer(writer, &name, &layers.iter().map(|layer| layer.view()).collect::<Vec<_>>())
            }
        }
    }
}
