//! Strata rasters through GDAL: any format and reference system, one read per raster and tile.
//!
//! What is looked up is a regular lattice of points in the tile's UTM zone. Cell corners are transformed exactly, points
//! within a cell bilinearly between its corners (an error below a metre for cells of a few kilometres). The window of
//! the raster that holds the block is read once, thinned while reading where the raster is finer than the lattice, so
//! that overviews are used and memory is bounded by the lattice.

use std::sync::Once;

use gdal::errors::GdalError;
use gdal::raster::{RasterCreationOptions, ResampleAlg};
use gdal::{Dataset, DriverManager};
use minicube::{CellGrid, Tile};
use ndarray::{Array2, Axis, concatenate};

use crate::Error;
use crate::lonlat::{name, transform};

/// Where a raster is and what the file itself may not say.
#[derive(Clone, Debug, PartialEq)]
pub struct RasterSpec {
    /// The stratum it serves, for messages.
    pub stratum: String,
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
        // GDAL looks for attributes that most files lack; HDF5 would print a page for each, thread by thread.
        hdf5::silence_errors(true);
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

    /// How many points along an edge of a cell meet every pixel about once, at most `most`.
    ///
    /// # Errors
    /// [`Error::Projection`] if PROJ does not know the zone.
    pub fn points_per_cell(&self, tile: &Tile, grid: &CellGrid, most: usize) -> Result<usize, Error> {
        let middle = Block { row0: 0, col0: 0, rows: 1, cols: 1 };
        let nodes = self.node_pixels(tile, grid, &middle)?;
        let [(x0, y0), (x1, _), (_, y2), _] = nodes[..] else { return Ok(most) };
        let pixels = (x1 - x0).abs().max((y2 - y0).abs());
        Ok((pixels.ceil().max(1.0) as usize).min(most))
    }

    /// Values at the lattice of a block of cells, `[rows × per_cell, cols × per_cell]`, row 0 in the north; NaN where the
    /// raster has no data or does not reach.
    ///
    /// # Errors
    /// [`Error::Raster`] if the window cannot be read, [`Error::Projection`] if PROJ fails.
    pub fn sample(
        &self,
        tile: &Tile,
        grid: &CellGrid,
        block: &Block,
        per_cell: usize,
        lookup: Lookup,
    ) -> Result<Array2<f32>, Error> {
        let shape = (block.rows * per_cell, block.cols * per_cell);
        let mut values = Array2::from_elem(shape, f32::NAN);
        let nodes = self.node_pixels(tile, grid, block)?;
        let Some(window) = self.read_window(&nodes, shape)? else { return Ok(values) };
        let node = |row: usize, col: usize| nodes[row * (block.cols + 1) + col];
        let part = |index: usize| (index as f64 + 0.5) / per_cell as f64;
        for (y, mut line) in values.rows_mut().into_iter().enumerate() {
            let (row, down) = (y / per_cell, part(y % per_cell));
            for col in 0..block.cols {
                let from = between(node(row, col), node(row + 1, col), down);
                let to = between(node(row, col + 1), node(row + 1, col + 1), down);
                for x in 0..per_cell {
                    let point = between(from, to, part(x));
                    let found = match lookup {
                        Lookup::Nearest => window.at(point).filter(|found| !self.missing.contains(found)),
                        Lookup::Bilinear => window.between(point, &self.missing),
                    };
                    if let Some(found) = found {
                        line[col * per_cell + x] = found;
                    }
                }
            }
        }
        Ok(values)
    }

    /// The corners of a block's cells in pixels (column, row), `[rows + 1, cols + 1]` row by row from the north-west.
    fn node_pixels(&self, tile: &Tile, grid: &CellGrid, block: &Block) -> Result<Vec<(f64, f64)>, Error> {
        let size = grid.cell_size_m();
        let mut points = Vec::with_capacity((block.rows + 1) * (block.cols + 1));
        for row in 0..=block.rows as i32 {
            let y = tile.origin.y - f64::from(block.row0 + row) * size;
            points.extend(
                (0..=block.cols as i32).map(|col| (tile.origin.x + f64::from(block.col0 + col) * size, y)),
            );
        }
        transform(&name(tile.epsg), &self.crs, &mut points)?;
        // A turn of 360° in pixels. The first point is brought into the raster's range, the others next to it, so that a
        // block across the antimeridian, or across the seam of a raster from 0° to 360°, stays in one piece.
        let turn = if self.geographic { (360.0 * self.to_pixel[1]).abs() } else { f64::INFINITY };
        let first = self.to_pixel_units(points.first().copied().unwrap_or_default()).0;
        let home = first - (first / turn).floor() * if turn.is_finite() { turn } else { 0.0 };
        let place = |point: (f64, f64)| {
            let (col, row) = self.to_pixel_units(point);
            let turns = ((col - home) / turn).round();
            (if turns == 0.0 { col } else { col - turns * turn }, row)
        };
        Ok(points.into_iter().map(place).collect())
    }

    fn to_pixel_units(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let t = &self.to_pixel;
        (t[0] + t[1] * x + t[2] * y, t[3] + t[4] * x + t[5] * y)
    }

    /// Reads the part of the raster that holds all nodes and a pixel around them; `None` if they are all outside.
    fn read_window(&self, nodes: &[(f64, f64)], lattice: (usize, usize)) -> Result<Option<Window>, Error> {
        let (cols, rows) = self.dataset.raster_size();
        let range = |axis: fn(&(f64, f64)) -> f64, points: usize| {
            let all = || nodes.iter().map(axis);
            let low = all().fold(f64::INFINITY, f64::min).floor() as i64;
            let high = all().fold(f64::NEG_INFINITY, f64::max).floor() as i64 + 1;
            // One of every `thin` pixels is read; the margin keeps a neighbour on every side.
            let thin = ((high - low) / points.max(1) as i64).max(1);
            (low - thin - 1, high + thin + 1, thin)
        };
        let (left, right, thin_x) = range(|p| p.0, lattice.1);
        let (top, bottom, thin_y) = range(|p| p.1, lattice.0);
        let (top, bottom) = (top.max(0), bottom.min(rows as i64));
        let whole_turn = self.geographic && ((360.0 * self.to_pixel[1]).abs() - cols as f64).abs() < 0.5;
        // Column ranges inside the raster: one, or two where the block lies across the seam of a whole turn.
        let cols = cols as i64;
        let mut parts = vec![(left.max(0), right.min(cols))];
        if whole_turn && right > cols {
            parts.push((0, (right - cols).min(left)));
        } else if whole_turn && left < 0 {
            parts.insert(0, (cols + left, cols));
        }
        parts.retain(|(from, to)| from < to);
        if parts.is_empty() || top >= bottom {
            return Ok(None);
        }
        let mut window = Window {
            left: if whole_turn && left < 0 { left as f64 } else { parts[0].0 as f64 },
            top: top as f64,
            per_col: 1.0 / thin_x as f64,
            per_row: 1.0 / thin_y as f64,
            values: Array2::zeros((0, 0)),
        };
        for (from, to) in parts {
            let part = self.read_part((from, to - from), (top, bottom - top), (thin_x, thin_y))?;
            window.values = if window.values.is_empty() {
                part
            } else {
                concatenate(Axis(1), &[window.values.view(), part.view()])
                    .map_err(|error| failure(&self.spec, error.to_string()))?
            };
        }
        Ok(Some(window))
    }

    /// Reads columns and rows (first, count), one of every `thin`; a rest at the raster's edge is left out.
    fn read_part(&self, cols: (i64, i64), rows: (i64, i64), thin: (i64, i64)) -> Result<Array2<f32>, Error> {
        let failed = |error: GdalError| failure(&self.spec, reason(&error));
        let size = |length: i64, thin: i64| (length / thin).max(1) as usize;
        let (width, height) = (size(cols.1, thin.0), size(rows.1, thin.1));
        let whole = |length: i64, thin: i64| (length - length % thin).max(length.min(thin)) as usize;
        let buffer = self
            .dataset
            .rasterband(1)
            .and_then(|band| {
                band.read_as::<f32>(
                    (cols.0 as isize, rows.0 as isize),
                    (whole(cols.1, thin.0), whole(rows.1, thin.1)),
                    (width, height),
                    Some(ResampleAlg::NearestNeighbour),
                )
            })
            .map_err(failed)?;
        Array2::from_shape_vec((height, width), buffer.into_shape_and_vec().1)
            .map_err(|error| failure(&self.spec, error.to_string()))
    }
}

/// A block of cells of a tile; it may reach beyond the tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// First row.
    pub row0: i32,
    /// First column.
    pub col0: i32,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
}

/// How a value is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The pixel under the point: classes.
    Nearest,
    /// Between the four pixels around the point; of those without data the others count alone: numbers.
    Bilinear,
}

/// A part of a raster in memory, perhaps thinned.
struct Window {
    left: f64,
    top: f64,
    per_col: f64,
    per_row: f64,
    /// `[row, col]`
    values: Array2<f32>,
}

impl Window {
    /// Value of the pixel under a point in raster pixels (column, row).
    fn at(&self, (col, row): (f64, f64)) -> Option<f32> {
        let index = |offset: f64, scale: f64| (offset >= 0.0).then_some((offset * scale) as usize);
        let (col, row) = (index(col - self.left, self.per_col)?, index(row - self.top, self.per_row)?);
        self.values.get((row, col)).copied()
    }

    /// Weighted mean of the four pixels around a point; `None` if the pixel under it has no data.
    fn between(&self, point: (f64, f64), missing: &[f32]) -> Option<f32> {
        let valid = |value: &f32| !value.is_nan() && !missing.contains(value);
        self.at(point).filter(valid)?;
        let (x, y) = ((point.0 - self.left) * self.per_col - 0.5, (point.1 - self.top) * self.per_row - 0.5);
        let (right, down) = (x - x.floor(), y - y.floor());
        let (mut sum, mut weights) = (0.0, 0.0);
        for (row, by_row) in [(y.floor(), 1.0 - down), (y.floor() + 1.0, down)] {
            for (col, by_col) in [(x.floor(), 1.0 - right), (x.floor() + 1.0, right)] {
                if row >= 0.0 && col >= 0.0 {
                    let value = self.values.get((row as usize, col as usize)).copied().filter(valid);
                    if let Some(value) = value {
                        sum += by_row * by_col * f64::from(value);
                        weights += by_row * by_col;
                    }
                }
            }
        }
        (weights > 0.0).then_some((sum / weights) as f32)
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
    Error::Raster { stratum: spec.stratum.clone(), source_name: spec.source.clone(), reason }
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
    const OPTIONS: [(&str, &str); 5] = [
        // Megabytes of decoded blocks for all rasters together; GDAL's own default is a share of the memory.
        ("GDAL_CACHEMAX", "192"),
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
    use ndarray::array;

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

    fn window(left: f64, per_col: f64, values: Array2<f32>) -> Window {
        Window { left, top: 0.0, per_col, per_row: 1.0, values }
    }

    #[test]
    fn a_thinned_window_keeps_its_place() {
        // Columns 10..14 of the raster thinned to two: 10 and 11 share a value, 12 and 13 the other.
        let window = window(10.0, 0.5, array![[1.0, 2.0]]);
        assert_eq!(window.at((11.9, 0.5)), Some(1.0));
        assert_eq!(window.at((12.0, 0.5)), Some(2.0));
        assert_eq!(window.at((14.0, 0.5)), None);
        assert_eq!(window.at((9.9, 0.5)), None);
    }

    /// Between the pixel centres (0.5, 0.5) = 0 and (1.5, 0.5) = 10; a missing neighbour leaves the other's value.
    #[test]
    fn bilinear_values_by_hand() {
        let window = window(0.0, 1.0, array![[0.0, 10.0], [0.0, 10.0]]);
        assert_eq!(window.between((1.0, 1.0), &[]), Some(5.0));
        assert_eq!(window.between((1.25, 0.5), &[]), Some(7.5));
        assert_eq!(window.between((0.1, 0.1), &[]), Some(0.0));
        assert_eq!(window.between((1.0, 1.0), &[0.0]), Some(10.0));
        assert_eq!(window.between((0.9, 1.0), &[0.0]), None, "the pixel under the point has no data");
    }
}
