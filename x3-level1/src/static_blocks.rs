//! Whether every block of elevation and land cover that the cubes need was fetched: one that was not would read as "no
//! data" or, where a raster names none, as a height of 0.

use std::path::{Path, PathBuf};

use gdal::spatial_ref::{AxisMappingStrategy, CoordTransform, SpatialRef};
use minicube::{Bounds, Epsg};

use crate::Error;
use crate::ledger::Ledger;
use crate::plan::CubePlan;
use crate::raster::{Raster, open_dataset};

/// Points along an edge of a cube by which its outline in another reference system is found.
const OUTLINE_POINTS: i32 = 21;

/// Refuses rasters of which a block within `margin_m` of a cube is neither in the file nor accounted for in the ledger.
/// Rasters that the ledger does not know block by block are taken as they are.
///
/// # Errors
/// [`Error::NoInput`] naming the raster, the block and the cube.
pub(crate) fn check(
    paths: &[PathBuf],
    ledger: &Ledger,
    cubes: &[CubePlan],
    epsg: Epsg,
    margin_m: f64,
) -> Result<(), Error> {
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if ledger.asset(&name, "").is_some_and(|record| record.is_in_blocks()) {
            check_raster(path, &name, ledger, cubes, epsg, margin_m)?;
        }
    }
    Ok(())
}

fn check_raster(
    path: &Path,
    name: &str,
    ledger: &Ledger,
    cubes: &[CubePlan],
    epsg: Epsg,
    margin_m: f64,
) -> Result<(), Error> {
    let failed = Error::raster(path);
    let code = open_dataset(path)?.spatial_ref().and_then(|srs| srs.auth_code()).map_err(failed)?;
    let code = u32::try_from(code).unwrap_or_default();
    let raster = Raster::open(path, Epsg(code))?;
    let transform = between(epsg.0, code).map_err(Error::raster(path))?;
    for cube in cubes {
        let (b, m) = (cube.bounds, margin_m);
        let wider = [b.x_min - m, b.y_min - m, b.x_max + m, b.y_max + m];
        let [west, south, east, north] =
            transform.transform_bounds(&wider, OUTLINE_POINTS).map_err(Error::raster(path))?;
        // Across the antimeridian the eastern edge has the smaller longitude.
        let parts = if west <= east { vec![(west, east)] } else { vec![(west, 180.0), (-180.0, east)] };
        for (x_min, x_max) in parts {
            let (rows, cols) = raster.pixels(&Bounds { x_min, y_min: south, x_max, y_max: north });
            let absent = raster.absent_blocks(&rows, &cols)?;
            if let Some((row, col)) =
                absent.into_iter().find(|&(row, col)| !ledger.explains(name, "", row, col))
            {
                return Err(Error::NoInput {
                    path: path.to_owned(),
                    what: format!(
                        "expected every block within {margin_m:.0} m of {}, found that block {row},{col} was not fetched",
                        cube.id
                    ),
                    hint: "run `x2-downloader run` for these locations; terrain forms that look far need a larger \
                           `static_margin_deg` in [download]",
                });
            }
        }
    }
    Ok(())
}

/// From one reference system to another, both with the easting or longitude first.
fn between(from: u32, to: u32) -> gdal::errors::Result<CoordTransform> {
    let system = |code| -> gdal::errors::Result<SpatialRef> {
        let mut system = SpatialRef::from_epsg(code)?;
        system.set_axis_mapping_strategy(AxisMappingStrategy::TraditionalGisOrder);
        Ok(system)
    };
    CoordTransform::new(&system(from)?, &system(to)?)
}
