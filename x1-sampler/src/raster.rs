//! Strata rasters through GDAL: any format and reference system, one read per raster and tile.
//!
//! The points to look up lie on a regular lattice in the tile's UTM zone. Cell corners are transformed exactly, points
//! within a cell bilinearly between its corners (an error below a metre for cells of a few kilometres). The window of
//! the raster that holds the tile is read once, thinned while reading where the raster is finer than the lattice, so
//! that overviews are used and memory is bounded by the lattice.

use std::sync::Once;

use gdal::errors::GdalError;
use gdal::raster::{RasterCreationOptions, ResampleAlg};
use gdal::{Dataset, DriverManager};
use minicube::{CellGrid, Tile};
use ndarray::Array2;

use crate::Error;
use crate::lonlat::{name, transform};

/// Where a raster is and what the file itself may not say.
#[derive(Clone, Debug, PartialEq)]
pub struct RasterSpec {
    /// The stratum it serves, for messages.
    pub stratum: &'static str,
    /// Path, http(s) URL or GDAL name.
    pub source: String,
    /// Overrides the file's reference system.
    pub crs: Option<String>,
    /// Overrides the file's georeference: west, south, east, north edge.
    pub extent: Option<[f64; 4]>,
    /// Values that mean "no data", besides the file's own.
    pub missing: Vec<f64>,
}

/// An open raster. GDAL datasets must not be shared between threads: each worker opens its own.
pub struct Raster {
    spec: RasterSpec,
    dataset: Dataset,
    crs: String,
    /// Column = `[0]` + `[1]` x + `[2]` y, row = `[3]` + `[4]` x + `[5]` y.
    to_pixel: [f64; 6],
    geographic: bool,
    missing: Vec<f32>,
}

impl Raster {
    /// Opens a raster and finds out where it lies.
    ///
    /// # Errors
    /// [`Error::Raster`] if it cannot be opened or has no reference system or georeference.
    pub fn open(spec: &RasterSpec) -> Result<Raster, Error> {
        configure_gdal();
        let failed = |reason: String| failure(spec, reason);
        let dataset = open_dataset(&spec.source).map_err(|error| failed(reason(&error)))?;
        let crs = match &spec.crs {
            Some(crs) => crs.clone(),
            None => reference_system(&dataset).ok_or_else(|| failed("it has no reference system".into()))?,
        };
        let (cols, rows) = dataset.raster_size();
        let forward = match spec.extent {
            Some([west, south, east, north]) => {
                [west, (east - west) / cols as f64, 0.0, north, 0.0, (south - north) / rows as f64]
            }
            None => dataset.geo_transform().map_err(|_| failed("it has no georeference".into()))?,
        };
        let to_pixel =
            inverse(&forward).ok_or_else(|| failed(format!("unusable georeference {forward:?}")))?;
        let geographic = gdal::spatial_ref::SpatialRef::from_definition(&crs)
            .map_err(|error| failed(format!("reference system {crs}: {}", reason(&error))))?
            .is_geographic();
        let band = dataset.rasterband(1).map_err(|error| failed(reason(&error)))?;
        let missing =
            band.no_data_value().into_iter().chain(spec.missing.iter().copied()).map(|v| v as f32).collect();
        Ok(Raster { spec: spec.clone(), dataset, crs, to_pixel, geographic, missing })
    }

    /// Values at the lattice of a tile, `[cell, sample]` with samples row by row from the north-west; NaN where the
    /// raster has no data or does not reach. `cells` are (row, col); `samples` points along an edge of a cell.
    ///
    /// # Errors
    /// [`Error::Raster`] if the window cannot be read, [`Error::Projection`] if PROJ fails.
    pub fn sample(
        &self,
        tile: &Tile,
        grid: &CellGrid,
        cells: &[(usize, usize)],
        samples: usize,
    ) -> Result<Array2<f32>, Error> {
        let mut values = Array2::from_elem((cells.len(), samples * samples), f32::NAN);
        let corners = self.corner_pixels(tile, grid, cells)?;
        let Some(window) = self.read_window(&corners, grid.cells_per_side() * samples)? else {
            return Ok(values);
        };
        let parts: Vec<f64> = (0..samples).map(|i| (i as f64 + 0.5) / samples as f64).collect();
        for (mut cell, corner) in values.rows_mut().into_iter().zip(&corners) {
            let points = parts.iter().flat_map(|&down| {
                let (from, to) = (between(corner[0], corner[2], down), between(corner[1], corner[3], down));
                parts.iter().map(move |&right| between(from, to, right))
            });
            for (value, point) in cell.iter_mut().zip(points) {
                if let Some(found) = window.at(point).filter(|found| !self.missing.contains(found)) {
                    *value = found;
                }
            }
        }
        Ok(values)
    }

    /// Corners of each cell in pixels (column, row): upper-left, upper-right, lower-left, lower-right.
    fn corner_pixels(
        &self,
        tile: &Tile,
        grid: &CellGrid,
        cells: &[(usize, usize)],
    ) -> Result<Vec<[(f64, f64); 4]>, Error> {
        let mut points: Vec<(f64, f64)> = cells
            .iter()
            .flat_map(|&(row, col)| {
                let b = grid.cell_bounds(tile, row, col);
                [(b.x_min, b.y_max), (b.x_max, b.y_max), (b.x_min, b.y_min), (b.x_max, b.y_min)]
            })
            .collect();
        transform(&name(tile.epsg), &self.crs, &mut points)?;
        let middle = self.to_pixel_units(points.first().copied().unwrap_or_default()).0;
        // Pixels in 360°: points on the other side of the antimeridian are brought next to the first one.
        let turn = if self.geographic { (360.0 * self.to_pixel[1]).abs() } else { f64::INFINITY };
        let pixels = points.chunks_exact(4).map(|four| {
            let pixel = |point: (f64, f64)| {
                let (col, row) = self.to_pixel_units(point);
                let turns = ((col - middle) / turn).round();
                (if turns == 0.0 { col } else { col - turns * turn }, row)
            };
            [pixel(four[0]), pixel(four[1]), pixel(four[2]), pixel(four[3])]
        });
        Ok(pixels.collect())
    }

    fn to_pixel_units(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let t = &self.to_pixel;
        (t[0] + t[1] * x + t[2] * y, t[3] + t[4] * x + t[5] * y)
    }

    /// Reads the part of the raster that holds all corners; `None` if they are all outside.
    fn read_window(&self, corners: &[[(f64, f64); 4]], lattice: usize) -> Result<Option<Window>, Error> {
        let (cols, rows) = self.dataset.raster_size();
        let range = |axis: fn(&(f64, f64)) -> f64, size: usize| {
            let all = || corners.iter().flatten().map(axis);
            let low = all().fold(f64::INFINITY, f64::min).floor().max(0.0);
            let high = (all().fold(f64::NEG_INFINITY, f64::max).floor() + 1.0).min(size as f64);
            (low < high).then_some((low as usize, (high - low) as usize))
        };
        let (Some((left, width)), Some((top, height))) = (range(|p| p.0, cols), range(|p| p.1, rows)) else {
            return Ok(None);
        };
        let thin = |length: usize| length.div_ceil((length / lattice.max(1)).max(1));
        let (buffer_cols, buffer_rows) = (thin(width), thin(height));
        let failed = |error: GdalError| failure(&self.spec, reason(&error));
        let buffer = self
            .dataset
            .rasterband(1)
            .and_then(|band| {
                band.read_as::<f32>(
                    (left as isize, top as isize),
                    (width, height),
                    (buffer_cols, buffer_rows),
                    Some(ResampleAlg::NearestNeighbour),
                )
            })
            .map_err(failed)?;
        Ok(Some(Window {
            left: left as f64,
            top: top as f64,
            per_col: buffer_cols as f64 / width as f64,
            per_row: buffer_rows as f64 / height as f64,
            cols: buffer_cols,
            rows: buffer_rows,
            values: buffer.into_shape_and_vec().1,
        }))
    }
}

/// A part of a raster in memory, perhaps thinned.
struct Window {
    left: f64,
    top: f64,
    per_col: f64,
    per_row: f64,
    cols: usize,
    rows: usize,
    values: Vec<f32>,
}

impl Window {
    /// Value of the pixel under a point in raster pixels (column, row).
    fn at(&self, (col, row): (f64, f64)) -> Option<f32> {
        let index = |offset: f64, scale: f64, count: usize| {
            (offset >= 0.0).then_some((offset * scale) as usize).filter(|&index| index < count)
        };
        let col = index(col - self.left, self.per_col, self.cols)?;
        let row = index(row - self.top, self.per_row, self.rows)?;
        self.values.get(row * self.cols + col).copied()
    }
}

fn between(from: (f64, f64), to: (f64, f64), part: f64) -> (f64, f64) {
    (from.0 + part * (to.0 - from.0), from.1 + part * (to.1 - from.1))
}

/// Inverse of a GDAL geotransform (x = t0 + t1 col + t2 row, y = t3 + t4 col + t5 row).
fn inverse(t: &[f64; 6]) -> Option<[f64; 6]> {
    let determinant = t[1] * t[5] - t[2] * t[4];
    if determinant == 0.0 || !determinant.is_finite() {
        return None;
    }
    let (a, b, c, d) = (t[5] / determinant, -t[2] / determinant, -t[4] / determinant, t[1] / determinant);
    Some([-(a * t[0] + b * t[3]), a, b, -(c * t[0] + d * t[3]), c, d])
}

/// `EPSG:n` where the file says so, else its WKT.
fn reference_system(dataset: &Dataset) -> Option<String> {
    let system = dataset.spatial_ref().ok()?;
    system.authority().or_else(|_| system.to_wkt()).ok()
}

/// Opens a source; formats that can only be decoded from the beginning are decoded once, into memory.
fn open_dataset(source: &str) -> Result<Dataset, GdalError> {
    const SEQUENTIAL: [&str; 4] = ["PNG", "JPEG", "GIF", "WEBP"];
    let dataset = open_source(source)?;
    if SEQUENTIAL.contains(&dataset.driver().short_name().as_str()) {
        let memory = DriverManager::get_driver_by_name("MEM")?;
        return dataset.create_copy(&memory, "", &RasterCreationOptions::default());
    }
    Ok(dataset)
}

/// Opens a path or GDAL name as it is, a URL through GDAL's range reader and without looking for side-car files.
fn open_source(source: &str) -> Result<Dataset, GdalError> {
    const LISTING: &str = "GDAL_DISABLE_READDIR_ON_OPEN";
    if !source.starts_with("http://") && !source.starts_with("https://") {
        return Dataset::open(source);
    }
    gdal::config::set_thread_local_config_option(LISTING, "EMPTY_DIR")?;
    let opened = Dataset::open(format!("/vsicurl/{source}"));
    gdal::config::clear_thread_local_config_option(LISTING)?;
    opened
}

fn failure(spec: &RasterSpec, reason: String) -> Error {
    Error::Raster { stratum: spec.stratum, source_name: spec.source.clone(), reason }
}

/// GDAL's own words, without the wrapping of the bindings.
fn reason(error: &GdalError) -> String {
    match error {
        GdalError::CplError { msg, .. } | GdalError::NullPointer { msg, .. }
            if msg.starts_with("HTTP response code") && msg.ends_with(": 0") =>
        {
            "the server does not answer".into()
        }
        GdalError::CplError { msg, .. } | GdalError::NullPointer { msg, .. } if !msg.is_empty() => {
            msg.clone()
        }
        GdalError::NullPointer { .. } => "GDAL cannot open it".into(),
        other => other.to_string(),
    }
}

/// Quiet, frugal and patient over the network; once per process.
fn configure_gdal() {
    static ONCE: Once = Once::new();
    const OPTIONS: [(&str, &str); 4] = [
        ("GDAL_HTTP_CONNECTTIMEOUT", "10"),
        ("GDAL_HTTP_TIMEOUT", "120"),
        ("GDAL_HTTP_MAX_RETRY", "3"),
        ("GDAL_HTTP_RETRY_DELAY", "1"),
    ];
    ONCE.call_once(|| {
        for (key, value) in OPTIONS {
            if let Err(error) = gdal::config::set_config_option(key, value) {
                tracing::debug!(key, %error, "GDAL refused an option");
            }
        }
        gdal::config::set_error_handler(|class, number, message| {
            tracing::debug!(?class, number, message, "GDAL");
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_undoes_a_geotransform() {
        let forward = [10.0, 0.5, 0.1, 50.0, -0.2, -0.25];
        let back = inverse(&forward).unwrap();
        let (col, row) = (7.0, 3.0);
        let x = forward[0] + forward[1] * col + forward[2] * row;
        let y = forward[3] + forward[4] * col + forward[5] * row;
        assert!((back[0] + back[1] * x + back[2] * y - col).abs() < 1e-12);
        assert!((back[3] + back[4] * x + back[5] * y - row).abs() < 1e-12);
        assert_eq!(inverse(&[0.0; 6]), None);
    }

    #[test]
    fn a_thinned_window_keeps_its_place() {
        // Columns 10..14 of the raster thinned to two: 10 and 11 share a value, 12 and 13 the other.
        let window = Window {
            left: 10.0,
            top: 0.0,
            per_col: 0.5,
            per_row: 1.0,
            cols: 2,
            rows: 1,
            values: vec![1.0, 2.0],
        };
        assert_eq!(window.at((11.9, 0.5)), Some(1.0));
        assert_eq!(window.at((12.0, 0.5)), Some(2.0));
        assert_eq!(window.at((14.0, 0.5)), None);
        assert_eq!(window.at((9.9, 0.5)), None);
    }
}
