//! Elevation, slope and land cover on the cubes' grids.

use std::path::Path;

use minicube::{Bounds, CellGrid, CubeWriter, Epsg, Shape};
use ndarray::{Array2, Array3, Axis, s};
use rayon::prelude::*;
use serde::Serialize;

use crate::Error;
use crate::config::Static;
use crate::files::FileSet;
use crate::plan::CubePlan;
use crate::terrain::slope_deg;
use crate::warp::{Mosaic, Resampling};

/// Which layers will be made from which rasters.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StaticsPlan {
    /// The layers, in order.
    pub layers: Vec<Static>,
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

/// Resolves the wanted layers against `raw/dem` and `raw/landcover`; `None` = those that are there.
///
/// # Errors
/// [`Error::NoInput`] if a layer was asked for and has no raster.
pub(crate) fn plan(
    wanted: Option<&[Static]>,
    legend: Vec<(u8, String)>,
    raw: &Path,
) -> Result<StaticsPlan, Error> {
    const RASTERS: [&str; 4] = ["tif", "tiff", "vrt", "hgt"];
    let dem = FileSet::list(&raw.join("dem"), &RASTERS)?;
    let landcover = FileSet::list(&raw.join("landcover"), &RASTERS)?;
    let all = [Static::Dem, Static::Slope, Static::Landcover];
    let files = |layer: Static| if layer == Static::Landcover { &landcover } else { &dem };
    let mut layers = match wanted {
        None => all.into_iter().filter(|&layer| !files(layer).is_empty()).collect(),
        Some(wanted) => wanted.to_vec(),
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
    let (dem_digest, landcover_digest) = (dem.digest.clone(), landcover.digest.clone());
    Ok(StaticsPlan { layers, legend, dem_digest, landcover_digest, dem, landcover })
}

/// Computes and writes all static layers.
///
/// # Errors
/// [`Error::Raster`] or [`Error::Georeference`] for unusable rasters, [`Error::Minicube`] if the store cannot be written.
pub(crate) fn write(
    plan: &StaticsPlan,
    cubes: &[CubePlan],
    grid: CellGrid,
    epsg: Epsg,
    writer: &CubeWriter,
) -> Result<(), Error> {
    let wants = |layer| plan.layers.contains(&layer);
    if wants(Static::Dem) || wants(Static::Slope) {
        let mosaic = Mosaic::open(&plan.dem.paths)?;
        let layers = cubes
            .par_iter()
            .map(|cube| elevation(&mosaic, cube, grid, epsg))
            .collect::<Result<Vec<Array2<f32>>, Error>>()?;
        if wants(Static::Dem) {
            let n = grid.size_px;
            let inner: Vec<_> = layers.iter().map(|layer| layer.slice(s![1..=n, 1..=n])).collect();
            write_layer(writer, "static/dem", &inner)?;
        }
        if wants(Static::Slope) {
            let slopes: Vec<Array2<f32>> =
                layers.par_iter().map(|layer| slope_deg(layer.view(), grid.resolution_m)).collect();
            write_layer(
                writer,
                "static/slope",
                &slopes.iter().map(|layer| layer.view()).collect::<Vec<_>>(),
            )?;
        }
    }
    if wants(Static::Landcover) {
        let mosaic = Mosaic::open(&plan.landcover.paths)?;
        let shape = Shape { rows: grid.size_px, cols: grid.size_px };
        let layers = cubes
            .par_iter()
            .map(|cube| {
                let layer =
                    mosaic.warp(&cube.bounds, shape, epsg, Resampling::Mode, |class: u8| class == 0)?;
                Ok(layer.unwrap_or_else(|| Array2::zeros((shape.rows, shape.cols))))
            })
            .collect::<Result<Vec<Array2<u8>>, Error>>()?;
        write_layer(
            writer,
            "static/landcover",
            &layers.iter().map(|layer| layer.view()).collect::<Vec<_>>(),
        )?;
    }
    Ok(())
}

/// Elevation with a margin of one pixel, which the slope needs.
fn elevation(mosaic: &Mosaic, cube: &CubePlan, grid: CellGrid, epsg: Epsg) -> Result<Array2<f32>, Error> {
    let side = grid.size_px + 2;
    let (b, r) = (cube.bounds, grid.resolution_m);
    let wider = Bounds { x_min: b.x_min - r, y_min: b.y_min - r, x_max: b.x_max + r, y_max: b.y_max + r };
    let shape = Shape { rows: side, cols: side };
    let layer = mosaic.warp(&wider, shape, epsg, Resampling::Bilinear, f32::is_nan)?;
    Ok(layer.unwrap_or_else(|| Array2::from_elem((side, side), f32::NAN)))
}

fn write_layer<T: minicube::Element>(
    writer: &CubeWriter,
    name: &str,
    layers: &[ndarray::ArrayView2<'_, T>],
) -> Result<(), Error> {
    let stacked: Array3<T> =
        ndarray::stack(Axis(0), layers).map_err(|error| Error::variable(Path::new(name), name, error))?;
    Ok(writer.write(name, &[0, 0, 0], stacked.view().into_dyn())?)
}
