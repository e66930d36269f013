//! Elevation on the cubes' grids, and what follows from it: slope, aspect, terrain form.

use minicube::terrain::{geomorphons, slope_deg};
use minicube::{Bounds, CellGrid, CubeWriter, Epsg, Shape};
use ndarray::{Array1, Array2, s};
use rayon::prelude::*;

use crate::Error;
use crate::aspect::aspect_deg;
use crate::config::{GeomorphonConfig, Static};
use crate::fill_voids::fill_voids;
use crate::mosaic::Mosaic;
use crate::plan::CubePlan;
use crate::statics::{StaticsPlan, write_layer};
use crate::warp::Resampling;

/// Elevations of one cube with a margin.
struct Heights {
    /// Metres, NaN void.
    heights: Array2<f32>,
    /// Those that further rasters or interpolation gave.
    filled: Array2<bool>,
}

/// Writes elevation, slope and aspect as far as they are wanted, and how many elevations of each cube were filled.
///
/// # Errors
/// [`Error::Raster`] or [`Error::Georeference`] for unusable rasters, [`Error::Minicube`] if the store cannot be written.
pub(crate) fn write(
    plan: &StaticsPlan,
    cubes: &[CubePlan],
    (grid, epsg): (CellGrid, Epsg),
    writer: &CubeWriter,
) -> Result<(), Error> {
    let wants = |layer| plan.layers.contains(&layer);
    let mosaic = Mosaic::open(&plan.dem.paths)?;
    let cubes = cubes
        .par_iter()
        .map(|cube| heights(&mosaic, cube, (grid, epsg), 1, plan.fill_voids_px))
        .collect::<Result<Vec<Heights>, Error>>()?;
    let n = grid.size_px;
    let inner = s![1..=n, 1..=n];
    if wants(Static::Dem) {
        let layers: Vec<_> = cubes.iter().map(|cube| cube.heights.slice(inner)).collect();
        write_layer(writer, "static/dem", &layers)?;
        let count = |of: &dyn Fn(&Heights) -> usize| -> Array1<i32> {
            cubes.iter().map(|cube| i32::try_from(of(cube)).unwrap_or(i32::MAX)).collect()
        };
        let filled = count(&|cube| cube.filled.slice(inner).iter().filter(|&&filled| filled).count());
        let void = count(&|cube| cube.heights.slice(inner).iter().filter(|height| height.is_nan()).count());
        writer.write("dem_filled", &[0], filled.view().into_dyn())?;
        writer.write("dem_void", &[0], void.view().into_dyn())?;
    }
    for (layer, name) in [(Static::Slope, "static/slope"), (Static::Aspect, "static/aspect")] {
        if !wants(layer) {
            continue;
        }
        let derive = |cube: &Heights| match layer {
            Static::Aspect => aspect_deg(cube.heights.view(), grid.resolution_m),
            _ => slope_deg(cube.heights.view(), grid.resolution_m),
        };
        let layers: Vec<Array2<f32>> = cubes.par_iter().map(derive).collect();
        write_layer(writer, name, &layers.iter().map(|layer| layer.slice(inner)).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Writes terrain forms.
///
/// # Errors
/// As [`write`].
pub(crate) fn write_forms(
    plan: &StaticsPlan,
    options: &GeomorphonConfig,
    cubes: &[CubePlan],
    (grid, epsg): (CellGrid, Epsg),
    writer: &CubeWriter,
) -> Result<(), Error> {
    let mosaic = Mosaic::open(&plan.dem.paths)?;
    let margin = options.search_px;
    let inner = s![margin..margin + grid.size_px, margin..margin + grid.size_px];
    // A warp of its own: heights depend in the last bits on the window, and elevation and slope must not depend on
    // whether terrain forms are wanted.
    let layers = cubes
        .par_iter()
        .map(|cube| {
            let heights = heights(&mosaic, cube, (grid, epsg), margin, plan.fill_voids_px)?.heights;
            let forms = geomorphons(heights.view(), grid.resolution_m, &options.options());
            Ok(forms.slice(inner).to_owned())
        })
        .collect::<Result<Vec<Array2<u8>>, Error>>()?;
    write_layer(writer, "static/geomorphon", &layers.iter().map(|layer| layer.view()).collect::<Vec<_>>())
}

/// Elevations with a margin of some pixels, voids filled from at most `reach` pixels away.
fn heights(
    mosaic: &Mosaic,
    cube: &CubePlan,
    (grid, epsg): (CellGrid, Epsg),
    margin: usize,
    reach: usize,
) -> Result<Heights, Error> {
    // Pixels within the margin are filled from as far as those of the cube.
    let wider = margin + reach;
    let side = grid.size_px + 2 * wider;
    let (b, m) = (cube.bounds, wider as f64 * grid.resolution_m);
    let bounds = Bounds { x_min: b.x_min - m, y_min: b.y_min - m, x_max: b.x_max + m, y_max: b.y_max + m };
    let shape = Shape { rows: side, cols: side };
    let warped = mosaic.warp::<f32>(&bounds, shape, epsg, Resampling::Bilinear)?;
    let (mut heights, mut filled) = (warped.layer, warped.filled);
    filled.zip_mut_with(&fill_voids(&mut heights, reach), |filled, &more| *filled |= more);
    let kept = s![reach..side - reach, reach..side - reach];
    Ok(Heights { heights: heights.slice(kept).to_owned(), filled: filled.slice(kept).to_owned() })
}
