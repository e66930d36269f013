//! Static layers on the cubes' grids: elevation and what follows from it, land cover, rasters of the user's own.

use std::path::Path;

use minicube::run::Project;
use minicube::{CellGrid, CubeWriter, Epsg, Shape};
use ndarray::{Array2, Array3, Axis};
use rayon::prelude::*;
use serde::Serialize;

use crate::config::{Config, GeomorphonConfig, Static};
use crate::files::FileSet;
use crate::layers::{self, LayerPlan};
use crate::ledger::Ledger;
use crate::mosaic::Mosaic;
use crate::plan::CubePlan;
use crate::warp::Resampling;
use crate::{Error, elevation, static_blocks};

/// Extensions of the rasters that are looked for.
pub(crate) const RASTERS: [&str; 4] = ["tif", "tiff", "vrt", "hgt"];

/// Voids are filled from at most so many pixels away.
const LONGEST_REACH_PX: usize = 100;

/// The longest search radius for terrain forms, and so the widest margin around a cube.
const LONGEST_SEARCH_PX: usize = 1000;

/// Which layers will be made from which rasters.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StaticsPlan {
    /// The layers, in order.
    pub layers: Vec<Static>,
    /// How terrain forms are found; `None` if they are not wanted, and then no part of the plan's hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub geomorphon: Option<GeomorphonConfig>,
    /// Rasters of the user's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub own: Vec<LayerPlan>,
    /// Voids of the elevation are filled from at most so many pixels away.
    pub fill_voids_px: usize,
    /// Land-cover code and name.
    pub legend: Vec<(u8, String)>,
    /// Identity of the elevation rasters.
    pub dem_digest: String,
    /// Identity of the land-cover rasters.
    pub landcover_digest: String,
    /// Elevation rasters.
    #[serde(skip)]
    pub dem: FileSet,
    /// Land-cover rasters.
    #[serde(skip)]
    pub landcover: FileSet,
}

/// Resolves the wanted layers against `raw/dem`, `raw/landcover` and the user's own rasters; if none are named, those that
/// are there.
///
/// # Errors
/// - [`Error::NoInput`] if a layer was asked for and has no raster,
/// - [`Error::Config`] for values that make no sense.
pub(crate) fn plan(config: &Config, project: &Project) -> Result<StaticsPlan, Error> {
    let raw = project.raw();
    let dem = FileSet::list(&raw.join("dem"), &RASTERS)?;
    let landcover = FileSet::list(&raw.join("landcover"), &RASTERS)?;
    let all = [Static::Dem, Static::Slope, Static::Landcover];
    let files = |layer: Static| if layer == Static::Landcover { &landcover } else { &dem };
    let mut layers = match &config.statics {
        None => all.into_iter().filter(|&layer| !files(layer).is_empty()).collect(),
        Some(wanted) => wanted.clone(),
    };
    layers.sort_unstable();
    layers.dedup();
    if let Some(&layer) = layers.iter().find(|&&layer| files(layer).is_empty()) {
        let folder = if layer == Static::Landcover { "landcover" } else { "dem" };
        return Err(Error::NoInput {
            path: raw.join(folder),
            what: format!("expected rasters for the static layer {layer:?}, found none").to_lowercase(),
            hint: "run `x2-downloader run` with this source in [download], or leave the layer out of [level1] statics",
        });
    }
    check(&config.geomorphon)?;
    let fill_voids_px = config.fill_voids_px;
    if fill_voids_px > LONGEST_REACH_PX {
        let (expected, found) = (format!("0 (off) to {LONGEST_REACH_PX}"), fill_voids_px.to_string());
        return Err(Error::Config { key: "fill_voids_px", expected, found });
    }
    let own = layers::plan(&config.layers, &project.dir)?;
    let geomorphon = layers.contains(&Static::Geomorphon).then_some(config.geomorphon);
    let legend = config.legend()?;
    let (dem_digest, landcover_digest) = (dem.digest.clone(), landcover.digest.clone());
    Ok(StaticsPlan {
        layers,
        geomorphon,
        own,
        fill_voids_px,
        legend,
        dem_digest,
        landcover_digest,
        dem,
        landcover,
    })
}

/// Refuses options under which nothing would be seen.
fn check(options: &GeomorphonConfig) -> Result<(), Error> {
    let &GeomorphonConfig { search_px, skip_px, flat_deg, flat_distance_px } = options;
    let wrong = |key, expected: String, found: String| Err(Error::Config { key, expected, found });
    if skip_px > LONGEST_SEARCH_PX - 2 {
        let expected = format!("0 to {}", LONGEST_SEARCH_PX - 2);
        return wrong("geomorphon.skip_px", expected, skip_px.to_string());
    }
    if !(skip_px + 2..=LONGEST_SEARCH_PX).contains(&search_px) {
        let expected = format!("{} (skip_px + 2) to {LONGEST_SEARCH_PX}", skip_px + 2);
        return wrong("geomorphon.search_px", expected, search_px.to_string());
    }
    if !(flat_deg > 0.0 && flat_deg < 90.0) {
        return wrong("geomorphon.flat_deg", "above 0 and below 90".into(), flat_deg.to_string());
    }
    if flat_distance_px != 0 && !(skip_px + 1..search_px).contains(&flat_distance_px) {
        let expected = format!("0 (off) or {} to {}", skip_px + 1, search_px - 1);
        return wrong("geomorphon.flat_distance_px", expected, flat_distance_px.to_string());
    }
    Ok(())
}

/// Computes and writes all static layers.
///
/// # Errors
/// [`Error::Raster`] or [`Error::Georeference`] for unusable rasters, [`Error::NoInput`] if a block that is needed was not
/// fetched, [`Error::Minicube`] if the store cannot be written.
pub(crate) fn write(
    plan: &StaticsPlan,
    cubes: &[CubePlan],
    (grid, epsg): (CellGrid, Epsg),
    ledger: &Ledger,
    writer: &CubeWriter,
) -> Result<(), Error> {
    let wants = |layer| plan.layers.contains(&layer);
    let fetched = |files: &FileSet, margin_px: usize| {
        let margin = margin_px as f64 * grid.resolution_m;
        static_blocks::check(&files.paths, ledger, cubes, epsg, margin)
    };
    if [Static::Dem, Static::Slope, Static::Aspect].into_iter().any(wants) {
        // A pixel for the slope, and one for the heights between pixels.
        fetched(&plan.dem, 2)?;
        elevation::write(plan, cubes, (grid, epsg), writer)?;
    }
    if let Some(options) = &plan.geomorphon {
        fetched(&plan.dem, options.search_px + 1)?;
        elevation::write_forms(plan, options, cubes, (grid, epsg), writer)?;
    }
    if wants(Static::Landcover) {
        fetched(&plan.landcover, 0)?;
        let mosaic = Mosaic::open(&plan.landcover.paths)?;
        let shape = Shape { rows: grid.size_px, cols: grid.size_px };
        let layers = cubes
            .par_iter()
            .map(|cube| Ok(mosaic.warp::<u8>(&cube.bounds, shape, epsg, Resampling::Mode)?.layer))
            .collect::<Result<Vec<Array2<u8>>, Error>>()?;
        write_layer(
            writer,
            "static/landcover",
            &layers.iter().map(|layer| layer.view()).collect::<Vec<_>>(),
        )?;
    }
    for layer in &plan.own {
        layer.write(cubes, (grid, epsg), ledger, writer)?;
    }
    Ok(())
}

/// Writes a layer, `[y, x]` of each cube.
///
/// # Errors
/// [`Error::Minicube`] if the store cannot be written.
pub(crate) fn write_layer<T: minicube::Element>(
    writer: &CubeWriter,
    name: &str,
    layers: &[ndarray::ArrayView2<'_, T>],
) -> Result<(), Error> {
    let stacked: Array3<T> =
        ndarray::stack(Axis(0), layers).map_err(|error| Error::variable(Path::new(name), name, error))?;
    Ok(writer.write(name, &[0, 0, 0], stacked.view().into_dyn())?)
}
