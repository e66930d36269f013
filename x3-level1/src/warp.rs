//! Rasters in any reference system on the grid of a cube, by GDAL's warper.

use std::path::{Path, PathBuf};

use gdal::raster::GdalType;
use gdal::spatial_ref::SpatialRef;
use minicube::{Bounds, Epsg, Shape};
use ndarray::Array2;

use crate::Error;
use crate::raster::open_dataset;

/// How source pixels become a target pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resampling {
    /// Bilinear, with a wider kernel where the target is coarser. For heights.
    Bilinear,
    /// The class with the largest share. For classes.
    Mode,
}

/// Number types that a warp can produce.
pub(crate) trait Pixel: GdalType + Copy {
    /// GDAL's name of the type.
    const NAME: &'static str;
    /// What pixels without a source get, for GDAL.
    const NODATA: &'static str;
    /// The same as a number.
    const MISSING: Self;

    /// Whether it says nothing.
    fn is_missing(self) -> bool;
}

impl Pixel for f32 {
    const NAME: &'static str = "Float32";
    const NODATA: &'static str = "nan";
    const MISSING: f32 = f32::NAN;

    fn is_missing(self) -> bool {
        !self.is_finite()
    }
}

impl Pixel for u8 {
    const NAME: &'static str = "Byte";
    const NODATA: &'static str = "0";
    const MISSING: u8 = 0;

    fn is_missing(self) -> bool {
        self == 0
    }
}

/// A file, or a virtual mosaic in GDAL's memory.
pub(crate) struct Source {
    /// Its name.
    pub path: PathBuf,
    /// Its reference system.
    pub wkt: String,
    /// GDAL's geotransform.
    pub transform: [f64; 6],
    /// The value that says nothing.
    pub nodata: Option<f64>,
}

impl Source {
    /// Its first band on the pixels of `bounds` in `epsg`, `[shape.rows, shape.cols]`.
    ///
    /// # Errors
    /// [`Error::Raster`] if the warp fails.
    pub(crate) fn warp<T: Pixel>(
        &self,
        bounds: &Bounds,
        shape: Shape,
        epsg: Epsg,
        resampling: Resampling,
    ) -> Result<Array2<T>, Error> {
        let xml = self.warped_vrt::<T>(bounds, shape, epsg, resampling)?;
        let dataset = open_dataset(Path::new(&xml)).map_err(|error| self.rename(error))?;
        let size = (shape.cols, shape.rows);
        let buffer = dataset
            .rasterband(1)
            .and_then(|band| band.read_as::<T>((0, 0), size, size, None))
            .map_err(Error::raster(&self.path))?;
        let (_, data) = buffer.into_shape_and_vec();
        Array2::from_shape_vec((shape.rows, shape.cols), data)
            .map_err(|error| Error::Raster { path: self.path.clone(), reason: error.to_string() })
    }

    /// The same error about the source instead of the virtual raster.
    fn rename(&self, error: Error) -> Error {
        match error {
            Error::Raster { reason, .. } => Error::Raster { path: self.path.clone(), reason },
            other => other,
        }
    }

    /// GDAL's description of a warped raster, exact (no approximation of the transformation).
    fn warped_vrt<T: Pixel>(
        &self,
        bounds: &Bounds,
        shape: Shape,
        epsg: Epsg,
        resampling: Resampling,
    ) -> Result<String, Error> {
        let target = SpatialRef::from_epsg(epsg.0).and_then(|srs| srs.to_wkt()).map_err(|error| {
            Error::Projection {
                from: self.path.display().to_string(),
                to: format!("EPSG:{}", epsg.0),
                reason: error.to_string(),
            }
        })?;
        let (dx, dy) = (bounds.width() / shape.cols as f64, bounds.height() / shape.rows as f64);
        let target_transform = [bounds.x_min, dx, 0.0, bounds.y_max, 0.0, -dy];
        let source_nodata = self.nodata.map_or(String::new(), |value| {
            format!("<SrcNoDataReal>{value}</SrcNoDataReal><SrcNoDataImag>0</SrcNoDataImag>")
        });
        let algorithm = match resampling {
            Resampling::Bilinear => "Bilinear",
            Resampling::Mode => "Mode",
        };
        Ok(format!(
            r#"<VRTDataset rasterXSize="{cols}" rasterYSize="{rows}" subClass="VRTWarpedDataset">
<SRS dataAxisToSRSAxisMapping="1,2">{target}</SRS><GeoTransform>{target_transform}</GeoTransform>
<VRTRasterBand dataType="{kind}" band="1" subClass="VRTWarpedRasterBand"><NoDataValue>{fill}</NoDataValue></VRTRasterBand>
<BlockXSize>{cols}</BlockXSize><BlockYSize>{rows}</BlockYSize>
<GDALWarpOptions><WarpMemoryLimit>6.7e+07</WarpMemoryLimit><ResampleAlg>{algorithm}</ResampleAlg>
<WorkingDataType>{kind}</WorkingDataType><Option name="INIT_DEST">NO_DATA</Option>
<Option name="ERROR_OUT_IF_EMPTY_SOURCE_WINDOW">FALSE</Option>
<SourceDataset relativeToVRT="0">{path}</SourceDataset>
<Transformer><GenImgProjTransformer>
<SrcGeoTransform>{source_transform}</SrcGeoTransform><SrcInvGeoTransform>{source_inverse}</SrcInvGeoTransform>
<DstGeoTransform>{target_transform}</DstGeoTransform><DstInvGeoTransform>{target_inverse}</DstInvGeoTransform>
<ReprojectTransformer><ReprojectionTransformer>
<SourceSRS>{source}</SourceSRS><TargetSRS>{target}</TargetSRS>
</ReprojectionTransformer></ReprojectTransformer></GenImgProjTransformer></Transformer>
<BandList><BandMapping src="1" dst="1">{source_nodata}<DstNoDataReal>{fill}</DstNoDataReal><DstNoDataImag>0</DstNoDataImag></BandMapping></BandList>
</GDALWarpOptions></VRTDataset>"#,
            cols = shape.cols,
            rows = shape.rows,
            kind = T::NAME,
            fill = T::NODATA,
            path = escape(&self.path.display().to_string()),
            source = escape(&self.wkt),
            target = escape(&target),
            target_transform = numbers(&target_transform),
            target_inverse = numbers(&invert(&target_transform)),
            source_transform = numbers(&self.transform),
            source_inverse = numbers(&invert(&self.transform)),
        ))
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn numbers(values: &[f64; 6]) -> String {
    values.map(|value| format!("{value:?}")).join(",")
}

/// The inverse of an affine transformation in GDAL's order (x0, dx, rx, y0, ry, dy).
fn invert(t: &[f64; 6]) -> [f64; 6] {
    let det = t[1] * t[5] - t[2] * t[4];
    let (a, b, d, e) = (t[5] / det, -t[2] / det, -t[4] / det, t[1] / det);
    [-(a * t[0] + b * t[3]), a, b, -(d * t[0] + e * t[3]), d, e]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_undoes_the_transformation() {
        let t = [500_000.0, 30.0, 2.0, 7_763_900.0, 1.0, -30.0];
        let inverse = invert(&t);
        let apply =
            |t: &[f64; 6], (x, y): (f64, f64)| (t[0] + t[1] * x + t[2] * y, t[3] + t[4] * x + t[5] * y);
        let (x, y) = apply(&inverse, apply(&t, (12.5, 34.5)));
        assert!((x - 12.5).abs() < 1e-6 && (y - 34.5).abs() < 1e-6);
    }
}
