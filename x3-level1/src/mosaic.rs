//! Rasters of one layer, joined where they are of one kind, filled by one another where they are not.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use gdal::programs::raster::{BuildVRTOptions, build_vrt};
use gdal::raster::GdalDataType;
use minicube::{Bounds, Epsg, Shape};
use ndarray::Array2;

use crate::Error;
use crate::raster::open_dataset;
use crate::warp::{Pixel, Resampling, Source};

/// Rasters of one layer.
pub(crate) struct Mosaic {
    parts: Vec<Source>,
}

/// A layer on the grid of a cube.
pub(crate) struct Warped<T> {
    /// Its pixels.
    pub layer: Array2<T>,
    /// Those that the first kind of rasters lacks and another one has.
    pub filled: Array2<bool>,
}

/// What rasters must share to be joined without loss: a virtual mosaic has one reference system, type and nodata value,
/// and takes pixels of another size by the nearest.
#[derive(Clone, PartialEq)]
struct Kind {
    wkt: String,
    pixel: (f64, f64),
    band: GdalDataType,
    nodata: Option<u64>,
}

impl Kind {
    fn of(path: &Path) -> Result<Kind, Error> {
        let dataset = open_dataset(path)?;
        let wkt = dataset.projection();
        if wkt.is_empty() {
            let (expected, found) = ("a reference system".to_owned(), "none".to_owned());
            return Err(Error::Georeference { path: path.to_owned(), expected, found });
        }
        let transform = dataset.geo_transform().map_err(Error::raster(path))?;
        let band = dataset.rasterband(1).map_err(Error::raster(path))?;
        let nodata = band.no_data_value().map(f64::to_bits);
        Ok(Kind { wkt, pixel: (transform[1], transform[5]), band: band.band_type(), nodata })
    }

    fn fits(&self, other: &Kind) -> bool {
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * a.abs();
        let pixels = near(self.pixel.0, other.pixel.0) && near(self.pixel.1, other.pixel.1);
        pixels && Kind { pixel: self.pixel, ..other.clone() } == *self
    }

    /// What a virtual mosaic shall have where no raster lies, if the rasters do not say it.
    fn void(&self) -> Option<&'static str> {
        match (self.nodata, self.band) {
            (None, GdalDataType::Float32 | GdalDataType::Float64) => Some("nan"),
            (None, GdalDataType::Int16 | GdalDataType::Int32) => Some("-32768"),
            _ => None,
        }
    }
}

impl Mosaic {
    /// Opens the files. Those of one kind are joined without seams, the first file on top; kinds follow in the order of
    /// their first files.
    ///
    /// # Errors
    /// [`Error::Raster`] if a file cannot be opened; [`Error::Georeference`] if one has no reference system.
    pub(crate) fn open(paths: &[PathBuf]) -> Result<Mosaic, Error> {
        let mut groups: Vec<(Kind, Vec<PathBuf>)> = Vec::new();
        for path in paths {
            let kind = Kind::of(path)?;
            match groups.iter_mut().find(|(known, _)| known.fits(&kind)) {
                Some((_, members)) => members.push(path.clone()),
                None => groups.push((kind, vec![path.clone()])),
            }
        }
        let parts = groups.into_iter().map(|(kind, members)| join(&kind, &members));
        Ok(Mosaic { parts: parts.collect::<Result<_, _>>()? })
    }

    /// The layer on the pixels of `bounds` in `epsg`, `[shape.rows, shape.cols]`. Where the first kind of rasters has no
    /// data, the next one fills. What is not finite is missing.
    ///
    /// # Errors
    /// [`Error::Raster`] if the warp fails.
    pub(crate) fn warp<T: Pixel>(
        &self,
        bounds: &Bounds,
        shape: Shape,
        epsg: Epsg,
        resampling: Resampling,
    ) -> Result<Warped<T>, Error> {
        let size = (shape.rows, shape.cols);
        let mut warped =
            Warped { layer: Array2::from_elem(size, T::MISSING), filled: Array2::from_elem(size, false) };
        for (index, part) in self.parts.iter().enumerate() {
            if !warped.layer.iter().any(|pixel| pixel.is_missing()) {
                break;
            }
            let next = part.warp::<T>(bounds, shape, epsg, resampling)?;
            let pixels = warped.layer.iter_mut().zip(&mut warped.filled).zip(&next);
            for ((to, filled), &from) in
                pixels.filter(|((to, _), from)| to.is_missing() && !from.is_missing())
            {
                (*to, *filled) = (from, index > 0);
            }
        }
        Ok(warped)
    }
}

/// One source of several rasters of a kind: a file, or a virtual mosaic in GDAL's memory.
fn join(kind: &Kind, members: &[PathBuf]) -> Result<Source, Error> {
    static COUNTER: AtomicUsize = AtomicUsize::new(0);
    let path = match members {
        [single] => single.clone(),
        several => {
            // Later sources lie on top in a virtual mosaic: reversed, the first file wins.
            let datasets =
                several.iter().rev().map(|path| open_dataset(path)).collect::<Result<Vec<_>, Error>>()?;
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = PathBuf::from(format!("/vsimem/minicube-mosaic-{number}.vrt"));
            let void = kind.void().map_or(Vec::new(), |value| vec!["-vrtnodata", value]);
            let options = [&["-resolution", "highest"][..], &void].concat();
            let options = BuildVRTOptions::new(options).map_err(Error::raster(&several[0]))?;
            let mut mosaic =
                build_vrt(Some(&path), &datasets, Some(options)).map_err(Error::raster(&several[0]))?;
            mosaic.flush_cache().map_err(Error::raster(&several[0]))?;
            path
        }
    };
    let dataset = open_dataset(&path)?;
    let transform = dataset.geo_transform().map_err(Error::raster(&path))?;
    let nodata = dataset.rasterband(1).map_err(Error::raster(&path))?.no_data_value();
    Ok(Source { path, wkt: kind.wkt.clone(), transform, nodata })
}
