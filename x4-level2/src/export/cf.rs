//! The layout `minicube`: everything that Level 2 has of a sample, by the CF conventions, so that xarray opens it as it is.

use minicube::Cube;
use ndarray::{Array, Array1, Array2, ArrayD};
use serde_json::{Map, Value};

use super::file::{NcFile, NcVar, Values};
use crate::Error;

/// Variables that are made anew, or say nothing of a single sample.
const OWN: [&str; 9] = ["sample_id", "cube_id", "lon", "lat", "date", "start_date", "xc", "yc", "crs"];

/// A sample as a file.
///
/// # Errors
/// [`Error::Shared`] if the store cannot be read or has not what every Level-2 store has.
pub(super) fn sample(cube: &Cube, sample: usize) -> Result<NcFile, Error> {
    let mut file = NcFile { attrs: file_attributes(cube, sample)?, ..NcFile::default() };
    let maps = cube.shape("mask")?;
    file.dims
        .extend([("time", 1), ("y", 2), ("x", 3)].map(|(name, axis)| (name.to_owned(), maps[axis] as usize)));
    file.dims.push(("bnds".into(), 2));
    axes(cube, sample, &mut file)?;
    for name in cube.vars() {
        let group = name.split_once('/').map(|(group, _)| group);
        if OWN.contains(&name.as_str()) || group == Some("leave_out") {
            continue;
        }
        let values = Values::read(cube, &name, sample)?;
        let shape = cube.shape(&name)?;
        let dims: &[&'static str] = match (shape.len(), group) {
            (4, Some("weather")) => {
                for (dim, &len) in ["weather_y", "weather_x"].into_iter().zip(&shape[2..]) {
                    if !file.dims.iter().any(|(known, _)| known == dim) {
                        file.dims.push((dim.into(), len as usize));
                    }
                }
                &["time", "weather_y", "weather_x"]
            }
            (4, _) => &["time", "y", "x"],
            (3, _) => &["y", "x"],
            _ => &["time"],
        };
        let mut var = NcVar::new(file_name(&name), dims, values);
        var.attrs = attributes(cube, &name);
        if dims.contains(&"x") {
            var = var.attr("grid_mapping", "crs").attr("coordinates", "lat lon");
        }
        file.vars.push(var);
    }
    Ok(file)
}

/// Weather and static layers without their group; those of other groups would share names with maps.
fn file_name(name: &str) -> String {
    match name.split_once('/') {
        Some(("weather" | "static", rest)) => rest.to_owned(),
        _ => name.replace('/', "_"),
    }
}

/// The attributes of a variable, without those of the Zarr library and of the packing.
fn attributes(cube: &Cube, name: &str) -> Map<String, Value> {
    let mut attrs = cube.var_attrs(name);
    attrs.retain(|key, _| !["_zarrs", "grid_mapping", "_FillValue"].contains(&key.as_str()));
    attrs
}

/// The attributes of the store, and which sample it is.
pub(super) fn file_attributes(cube: &Cube, sample: usize) -> Result<Map<String, Value>, Error> {
    let mut attrs = Map::new();
    attrs.insert("Conventions".into(), "CF-1.10".into());
    attrs.insert(
        "title".into(),
        "Minicube: vegetation and weather of one place in steps of equal length".into(),
    );
    for name in ["sample_id", "cube_id"] {
        attrs.insert(name.into(), cube.read_strings(name)?.swap_remove(sample).into());
    }
    let kept = [
        "tile",
        "epsg",
        "source",
        "step_days",
        "context_steps",
        "ndvi_epsilon",
        "fill",
        "extrapolate",
        "scl_clear",
    ];
    attrs.extend(kept.into_iter().filter_map(|key| Some((key.to_owned(), cube.attrs().get(key)?.clone()))));
    Ok(attrs)
}

/// Dates with the bounds of their steps, pixel centres, projection, centre of the cube.
fn axes(cube: &Cube, sample: usize, file: &mut NcFile) -> Result<(), Error> {
    let row = |name: &str| -> Result<Vec<f64>, Error> {
        let len = cube.shape(name)?[1];
        Ok(cube.read_region::<f64>(name, &[sample as u64, 0], &[1, len])?.into_raw_vec_and_offset().0)
    };
    let scalar = |name: &str| -> Result<f64, Error> {
        Ok(cube.read_region::<f64>(name, &[sample as u64], &[1])?.first().copied().unwrap_or(f64::NAN))
    };
    let steps = cube.shape("date")?[1];
    let ends = cube.read_region::<i32>("date", &[sample as u64, 0], &[1, steps])?;
    let ends: Array1<i32> = ends.iter().copied().collect();
    let days = cube.attr_f64("step_days")? as i32;
    let bounds =
        Array2::from_shape_fn((ends.len(), 2), |(t, side)| ends[t] + 1 - if side == 0 { days } else { 0 });
    let mut time = NcVar::new("time", &["time"], Values::I32(ends.into_dyn()));
    time.attrs = attributes(cube, "date");
    file.vars.push(time.attr("standard_name", "time").attr("axis", "T").attr("bounds", "time_bnds"));
    file.vars.push(NcVar::new("time_bnds", &["time", "bnds"], Values::I32(bounds.into_dyn())));

    let (x, y) = (row("xc")?, row("yc")?);
    for (name, from, values, axis) in [("y", "yc", &y, "Y"), ("x", "xc", &x, "X")] {
        let mut var =
            NcVar::new(name, &[axis_dim(name)], Values::F64(Array::from_vec(values.clone()).into_dyn()));
        var.attrs = attributes(cube, from);
        file.vars.push(var.attr("axis", axis));
    }
    let mut crs = NcVar::new("crs", &[], Values::I32(ArrayD::zeros(vec![])));
    crs.attrs = attributes(cube, "crs");
    if let Some(wkt) = crs.attrs.get("crs_wkt").cloned() {
        crs = crs.attr("spatial_ref", wkt);
    }
    if let (Some(transform), true) = (geotransform(&x, &y), x.len() > 1) {
        crs = crs.attr("GeoTransform", transform);
    }
    file.vars.push(crs);
    for (name, standard, units) in
        [("lat", "latitude", "degrees_north"), ("lon", "longitude", "degrees_east")]
    {
        let value = ArrayD::from_elem(vec![], scalar(name)?);
        let var =
            NcVar::new(name, &[], Values::F64(value)).attr("standard_name", standard).attr("units", units);
        file.vars.push(var.attr("long_name", format!("{standard} of the cube's centre")));
    }
    Ok(())
}

fn axis_dim(name: &str) -> &'static str {
    if name == "y" { "y" } else { "x" }
}

/// GDAL's six numbers, from the centres of the pixels.
fn geotransform(x: &[f64], y: &[f64]) -> Option<String> {
    let (dx, dy) = (x.get(1)? - x.first()?, y.get(1)? - y.first()?);
    Some(format!("{} {dx} 0 {} 0 {dy}", x.first()? - dx / 2.0, y.first()? - dy / 2.0))
}
