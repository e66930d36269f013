//! Windows of single-band rasters through GDAL, and which blocks of a sparse GeoTIFF are there.

use std::cell::RefCell;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Once;

use gdal::{Dataset, Metadata};
use minicube::{Bounds, Epsg};
use ndarray::Array2;

use crate::Error;
use crate::blocks::{Blocks, Sample};
use crate::resample::AxisWeights;

/// Decoded blocks that GDAL may keep, megabytes.
const CACHE_MB: &str = "128";

/// An open single-band raster, north up, in a known reference system. One per thread.
pub(crate) struct Raster {
    dataset: Dataset,
    path: PathBuf,
    /// Columns and rows.
    size: (usize, usize),
    /// Upper-left corner, metres.
    origin: (f64, f64),
    /// Pixel width and height, metres, both positive.
    pixel: (f64, f64),
    /// Its blocks, where they are unpacked without GDAL.
    blocks: Option<RefCell<Blocks>>,
}

/// Keeps GDAL's own messages off the terminal: they come back as errors with the file's name.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gdal::config::set_error_handler(|_, number, message| tracing::debug!(number, "gdal: {message}"));
        // A listing of the folder at every open is wasted on thousands of scene folders.
        // Blocks of two rows of cubes: what GDAL keeps by itself is a share of the machine's memory.
        let cache = std::env::var("GDAL_CACHEMAX").unwrap_or_else(|_| CACHE_MB.to_owned());
        let options = [
            ("GDAL_DISABLE_READDIR_ON_OPEN", "EMPTY_DIR"),
            ("GDAL_PAM_ENABLED", "NO"),
            ("GDAL_CACHEMAX", cache.as_str()),
        ];
        for (key, value) in options {
            if let Err(error) = gdal::config::set_config_option(key, value) {
                tracing::warn!("gdal: {key}: {error}");
            }
        }
    });
}

/// Opens a dataset with GDAL's messages kept off the terminal.
///
/// # Errors
/// [`Error::Raster`] if GDAL does not open it.
pub(crate) fn open_dataset(path: &Path) -> Result<Dataset, Error> {
    quiet();
    Dataset::open(path).map_err(Error::raster(path))
}

impl Raster {
    /// Opens a raster that must be in `epsg` and north up.
    ///
    /// # Errors
    /// - [`Error::Raster`] if GDAL does not open it,
    /// - [`Error::Georeference`] if it is in another reference system, rotated or south up.
    pub(crate) fn open(path: &Path, epsg: Epsg) -> Result<Raster, Error> {
        let dataset = open_dataset(path)?;
        let wrong =
            |expected: String, found: String| Error::Georeference { path: path.to_owned(), expected, found };
        let code = dataset.spatial_ref().ok().and_then(|srs| srs.auth_code().ok());
        if code != i32::try_from(epsg.0).ok() {
            let found = code.map_or("no EPSG code".to_owned(), |code| format!("EPSG:{code}"));
            return Err(wrong(format!("EPSG:{}", epsg.0), found));
        }
        let transform = dataset.geo_transform().map_err(Error::raster(path))?;
        let [x0, dx, rx, y0, ry, dy] = transform;
        if rx != 0.0 || ry != 0.0 || dx <= 0.0 || dy >= 0.0 {
            return Err(wrong("a raster with north up".into(), format!("geotransform {transform:?}")));
        }
        let size = dataset.raster_size();
        let blocks = Blocks::open(path).map(RefCell::new);
        Ok(Raster { dataset, path: path.to_owned(), size, origin: (x0, y0), pixel: (dx, -dy), blocks })
    }

    /// How the pixels of a cube of `size_px` × `size_px` pixels over `bounds` take from this raster's: `(rows, cols)`.
    #[must_use]
    pub(crate) fn weights(&self, bounds: &Bounds, size_px: usize) -> (AxisWeights, AxisWeights) {
        let rows = (self.origin.1 - bounds.y_max) / self.pixel.1;
        let cols = (bounds.x_min - self.origin.0) / self.pixel.0;
        let step = |extent: f64, pixel: f64| extent / size_px as f64 / pixel;
        (
            AxisWeights::new(rows, step(bounds.height(), self.pixel.1), size_px, self.size.1),
            AxisWeights::new(cols, step(bounds.width(), self.pixel.0), size_px, self.size.0),
        )
    }

    /// Rows and columns of the pixels that touch the bounds, within the raster.
    #[must_use]
    pub(crate) fn pixels(&self, bounds: &Bounds) -> (Range<usize>, Range<usize>) {
        let span = |from: f64, to: f64, len: usize| {
            let clip = |value: f64| value.clamp(0.0, len as f64) as usize;
            clip(from.floor())..clip(to.ceil())
        };
        let rows =
            ((self.origin.1 - bounds.y_max) / self.pixel.1, (self.origin.1 - bounds.y_min) / self.pixel.1);
        let cols =
            ((bounds.x_min - self.origin.0) / self.pixel.0, (bounds.x_max - self.origin.0) / self.pixel.0);
        (span(rows.0, rows.1, self.size.1), span(cols.0, cols.1, self.size.0))
    }

    /// Whether any pixel of the raster lies within the bounds.
    #[must_use]
    pub(crate) fn covers(&self, bounds: &Bounds) -> bool {
        let width = self.size.0 as f64 * self.pixel.0;
        let height = self.size.1 as f64 * self.pixel.1;
        bounds.intersects(&Bounds {
            x_min: self.origin.0,
            y_min: self.origin.1 - height,
            x_max: self.origin.0 + width,
            y_max: self.origin.1,
        })
    }

    /// The raster's nodata value, 0 if it names none (as Sentinel-2 products have it).
    ///
    /// # Errors
    /// [`Error::Raster`] if there is no band.
    pub(crate) fn nodata(&self) -> Result<f64, Error> {
        let band = self.dataset.rasterband(1).map_err(Error::raster(&self.path))?;
        Ok(band.no_data_value().unwrap_or(0.0))
    }

    /// Reads a window, `[rows, cols]`. Absent blocks of a sparse file read as nodata.
    ///
    /// # Errors
    /// [`Error::Raster`] if a block cannot be decoded.
    pub(crate) fn read<T: Sample>(
        &self,
        rows: &Range<usize>,
        cols: &Range<usize>,
    ) -> Result<Array2<T>, Error> {
        if let Some(blocks) = &self.blocks
            && blocks.borrow().holds(T::DTYPE)
        {
            let nodata = T::from_f64(self.nodata()?);
            return blocks
                .borrow_mut()
                .read(rows, cols, nodata)
                .map_err(|reason| Error::Raster { path: self.path.clone(), reason });
        }
        let shape = (rows.len(), cols.len());
        let failed = Error::raster(&self.path);
        let band = self.dataset.rasterband(1).map_err(Error::raster(&self.path))?;
        let start = (to_isize(cols.start), to_isize(rows.start));
        let window = (cols.len(), rows.len());
        let buffer = band.read_as::<T>(start, window, window, None).map_err(failed)?;
        let (_, data) = buffer.into_shape_and_vec();
        Array2::from_shape_vec(shape, data)
            .map_err(|e| Error::Raster { path: self.path.clone(), reason: e.to_string() })
    }

    /// Blocks (row, column) under the window that the file does not hold. Only GeoTIFFs can be sparse.
    ///
    /// # Errors
    /// [`Error::Raster`] if there is no band.
    pub(crate) fn absent_blocks(
        &self,
        rows: &Range<usize>,
        cols: &Range<usize>,
    ) -> Result<Vec<(usize, usize)>, Error> {
        if rows.is_empty() || cols.is_empty() || self.dataset.driver().short_name() != "GTiff" {
            return Ok(Vec::new());
        }
        if let Some(blocks) = &self.blocks {
            return Ok(blocks.borrow().absent(rows, cols));
        }
        let band = self.dataset.rasterband(1).map_err(Error::raster(&self.path))?;
        let (width, height) = band.block_size();
        let mut absent = Vec::new();
        for row in rows.start / height..rows.end.div_ceil(height) {
            for col in cols.start / width..cols.end.div_ceil(width) {
                if band.metadata_item(&format!("BLOCK_OFFSET_{col}_{row}"), "TIFF").is_none() {
                    absent.push((row, col));
                }
            }
        }
        Ok(absent)
    }
}

fn to_isize(value: usize) -> isize {
    value as isize
}
