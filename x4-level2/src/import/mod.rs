//! Public datasets into the layout of Level 2.
//!
//! Nothing is filled: values stay as published, NaN where nothing was acquired, because scores such as EarthNetScore are
//! defined on the originals.

mod deepextremes;
mod earthnet2021;
mod files;
mod greenearthnet;
mod zarr_v2;

use minicube::{CubeWriter, DType, Epsg, LonLat, TILE_SIZE_M, XY};
use ndarray::{Array2, Array3, ArrayD, Axis};
use rayon::prelude::*;
use serde_json::{Map, Value, json};

pub(crate) use files::plan_import;
pub use files::{ImportCube, ImportUnit};

use crate::config::Format;
use crate::plan::{Plan, Unit};
use crate::settings::Settings;
use crate::store::{
    Layout, Sample, StaticVar, WeatherVar, write_coordinates, write_maps, write_static, write_weather,
};
use crate::{Error, Filled, NONE_FOLLOWS};

/// The bands of all datasets, in the order of [`Imported::frames`].
const BANDS: [&str; 4] = ["blue", "green", "red", "nir"];

/// Scene classes that count as clear beside a clear cloud mask.
const CLEAR: [u8; 6] = [1, 2, 4, 5, 6, 7];

/// One cube of a public dataset, decoded.
struct Imported {
    sample: Sample,
    epsg: Epsg,
    rows: usize,
    cols: usize,
    context_steps: usize,
    frames: Filled<f32>,
    weather: Vec<(WeatherVar, ArrayD<f32>)>,
    statics: Vec<(StaticVar, Array2<f32>)>,
    /// Steps of the sample that contain weather values which stand for "missing".
    missing_weather: usize,
}

/// Imports the cubes of a unit and seals them as one store; returns a remark where the data has a flaw.
/// A store that a kill interrupted is gone on with.
///
/// # Errors
/// [`Error::Variable`] if a cube has another shape than the first, [`Error::Unreadable`] if one cannot be read,
/// [`Error::Shared`] if the store cannot be written.
pub(crate) fn import_unit(
    import: &ImportUnit,
    unit: &Unit,
    settings: &Settings,
    plan: &Plan,
) -> Result<Option<String>, Error> {
    let Some(first) = import.cubes.first() else { return Ok(None) };
    let first = load(import, first)?;
    let layout = layout(&first, import, unit, settings);
    drop(first);
    let writer = plan.writer(unit, &layout.spec())?;
    let bands = BANDS.map(str::to_owned);
    // The maps go to disk at once; only what is one number a step stays in memory.
    let small = import
        .cubes
        .par_iter()
        .enumerate()
        .map(|(index, cube)| {
            let loaded = load(import, cube)?;
            check_shape(&layout, &loaded, cube)?;
            if !writer.is_done(&cube.id) {
                let (size, indices) = ((loaded.rows, loaded.cols), &settings.indices);
                write_maps(&writer, index, size, &bands, indices, &loaded.frames)?;
                for (layer, values) in &loaded.statics {
                    write_layer(&writer, layer, index, values)?;
                }
                writer.mark_done(&cube.id)?;
            }
            Ok((loaded.sample, loaded.weather, loaded.missing_weather))
        })
        .collect::<Result<Vec<_>, Error>>()?;

    let samples: Vec<Sample> = small.iter().map(|(sample, _, _)| sample.clone()).collect();
    write_coordinates(&writer, &samples)?;
    for (i, var) in layout.weather.iter().enumerate() {
        let parts: Vec<_> = small.iter().map(|(_, weather, _)| weather[i].1.view()).collect();
        let values = ndarray::stack(Axis(0), &parts).map_err(|error| Error::Variable {
            path: plan.store(unit),
            variable: var.name.clone(),
            expected: "the shape of the first cube".into(),
            found: error.to_string(),
        })?;
        write_weather(&writer, &var.name, &values)?;
    }
    writer.seal()?;
    let flawed: Vec<&str> = small
        .iter()
        .filter(|(_, _, missing)| *missing > 0)
        .map(|(sample, _, _)| sample.cube_id.as_str())
        .collect();
    Ok((!flawed.is_empty()).then(|| {
        format!(
            "missing weather is stored as numbers (pressure below 900 hPa, sea cells) in {}",
            flawed.join(", ")
        )
    }))
}

fn load(import: &ImportUnit, cube: &ImportCube) -> Result<Imported, Error> {
    match import.format {
        Format::Earthnet2021 => earthnet2021::load(cube, import.context_steps),
        Format::Greenearthnet => greenearthnet::load(cube, import.context_steps),
        Format::Deepextremes => deepextremes::load(cube, import.context_steps),
    }
}

fn layout(first: &Imported, import: &ImportUnit, unit: &Unit, settings: &Settings) -> Layout {
    let mut attrs = Map::new();
    attrs.insert("fill".into(), json!("none"));
    attrs.insert("extrapolate".into(), json!("none"));
    Layout {
        tile: unit.tile.clone(),
        epsg: first.epsg,
        source: import.format.source(),
        samples: import.cubes.len(),
        steps: first.sample.steps.len,
        step_days: first.sample.steps.step_days,
        rows: first.rows,
        cols: first.cols,
        context_steps: first.context_steps,
        bands: BANDS.map(str::to_owned).into(),
        indices: settings.indices.clone(),
        weather: first.weather.iter().map(|(var, _)| var.clone()).collect(),
        statics: first.statics.iter().map(|(var, _)| var.clone()).collect(),
        compared: Vec::new(),
        attrs,
    }
}

/// All cubes of a store have the same steps, size and variables.
fn check_shape(layout: &Layout, cube: &Imported, file: &ImportCube) -> Result<(), Error> {
    let describe = |steps, rows, cols, context, epsg: Epsg, weather: Vec<&str>, statics: Vec<&str>| {
        format!(
            "{steps} steps ({context} context) of {rows} × {cols} px in EPSG:{}, weather {}, static {}",
            epsg.0,
            weather.join(" "),
            statics.join(" ")
        )
    };
    let expected = describe(
        layout.steps,
        layout.rows,
        layout.cols,
        layout.context_steps,
        layout.epsg,
        layout.weather.iter().map(|var| var.name.as_str()).collect(),
        layout.statics.iter().map(|var| var.name.as_str()).collect(),
    );
    let found = describe(
        cube.sample.steps.len,
        cube.rows,
        cube.cols,
        cube.context_steps,
        cube.epsg,
        cube.weather.iter().map(|(var, _)| var.name.as_str()).collect(),
        cube.statics.iter().map(|(var, _)| var.name.as_str()).collect(),
    );
    if expected == found {
        return Ok(());
    }
    let path = file.files.first().cloned().unwrap_or_default();
    Err(Error::Variable { path, variable: "all, as in the first cube of the tile".into(), expected, found })
}

fn write_layer(
    writer: &CubeWriter,
    layer: &StaticVar,
    sample: usize,
    values: &Array2<f32>,
) -> Result<(), Error> {
    let values = values.view().insert_axis(Axis(0));
    if layer.dtype == DType::U8 {
        // Classes are small whole numbers; a missing one becomes 0, "none".
        let classes = values.mapv(|class| class as u8);
        return write_static(writer, &layer.name, sample, classes.view().into_dyn());
    }
    write_static(writer, &layer.name, sample, values.into_dyn())
}

/// Mask and distances of frames that are not filled: a pixel counts where `valid` and all of its bands are finite.
///
/// # Shapes
/// - values: `[band, step, pixel]`; valid: `[step, pixel]`
fn unfilled(values: Array3<f32>, mut valid: Array2<bool>, step_days: i32) -> Filled<f32> {
    for band in values.outer_iter() {
        ndarray::Zip::from(&mut valid).and(band).for_each(|valid, value| *valid &= value.is_finite());
    }
    let mut dist_next = Array2::from_elem(valid.raw_dim(), NONE_FOLLOWS);
    for step in (0..valid.nrows()).rev() {
        for pixel in 0..valid.ncols() {
            let following =
                if step + 1 < valid.nrows() { dist_next[[step + 1, pixel]] } else { NONE_FOLLOWS };
            dist_next[[step, pixel]] = match (valid[[step, pixel]], following) {
                (true, _) => 0,
                (false, NONE_FOLLOWS) => NONE_FOLLOWS,
                (false, days) => days + step_days as i16,
            };
        }
    }
    Filled { mask: valid.mapv(|valid| u8::from(!valid)), values, dist_next }
}

/// Pixel centres of a raster with the given upper-left corner and pixel size: eastings, northings.
fn pixel_centres(corner: XY, pixel: (f64, f64), rows: usize, cols: usize) -> (Vec<f64>, Vec<f64>) {
    let xc = (0..cols).map(|i| corner.x + (i as f64 + 0.5) * pixel.0).collect();
    let yc = (0..rows).map(|i| corner.y - (i as f64 + 0.5) * pixel.1).collect();
    (xc, yc)
}

/// The middle of a raster, in degrees; NaN if the projection is not UTM.
fn centre(xc: &[f64], yc: &[f64], epsg: Epsg) -> LonLat {
    let middle = |values: &[f64]| match (values.first(), values.last()) {
        (Some(first), Some(last)) => (first + last) / 2.0,
        _ => f64::NAN,
    };
    let point = XY { x: middle(xc), y: middle(yc) };
    crate::utm::from_utm(point, epsg).unwrap_or(LonLat { lon: f64::NAN, lat: f64::NAN })
}

/// CF attributes of a weather variable.
fn weather_attrs(long_name: &str, units: &str) -> Map<String, Value> {
    Map::from_iter([("long_name".to_owned(), json!(long_name)), ("units".to_owned(), json!(units))])
}

/// Pixels of 20 m along the edge of a tile.
const TILE_PIXELS_20M: usize = (TILE_SIZE_M / 20.0) as usize;

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{arr2, array};

    /// Steps of 5 days; pixel 0 valid in steps 0 and 3, pixel 1 never (not flagged, but without a value).
    #[test]
    fn distances_count_to_the_next_valid_frame() {
        let values = array![[
            [0.1, f32::NAN],
            [0.1, f32::NAN],
            [f32::NAN, f32::NAN],
            [0.2, f32::NAN],
            [0.1, f32::NAN]
        ]];
        let valid = arr2(&[[true, true], [false, true], [true, true], [true, true], [false, true]]);
        let filled = unfilled(values, valid, 5);
        assert_eq!(filled.mask, arr2(&[[0, 1], [1, 1], [1, 1], [0, 1], [1, 1]]));
        assert_eq!(filled.dist_next, arr2(&[[0, -1], [10, -1], [5, -1], [0, -1], [-1, -1]]));
    }
}
