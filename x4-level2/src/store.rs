//! The layout of a Level-2 store, and writing samples into it. Written once here, for derived and imported samples.

use minicube::{CF_DAY_UNITS, CHUNK_PX, CubeSpec, CubeWriter, DType, Epsg, VarSpec, add_crs};
use ndarray::{Array1, Array2, Array3, ArrayD, ArrayView2, ArrayViewD, Axis};
use serde_json::{Map, Value, json};

use crate::index::Index;
use crate::{Error, Filled, LeftOut, Steps};

/// What a store contains: enough to lay it out.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// Sentinel-2 tile, or whatever the samples have in common.
    pub(crate) tile: String,
    /// Projection of `xc` and `yc`.
    pub(crate) epsg: Epsg,
    /// `minicube`, `earthnet2021`, `greenearthnet` or `deepextremes`.
    pub(crate) source: &'static str,
    /// Number of samples.
    pub(crate) samples: usize,
    /// Steps in a sample.
    pub(crate) steps: usize,
    /// Days in a step.
    pub(crate) step_days: i32,
    /// Pixels from north to south.
    pub(crate) rows: usize,
    /// Pixels from west to east.
    pub(crate) cols: usize,
    /// Steps that a forecaster may see; a suggestion.
    pub(crate) context_steps: usize,
    /// Band names; `red` and `nir` must be among them.
    pub(crate) bands: Vec<String>,
    /// Indices.
    pub(crate) indices: Vec<Index>,
    /// Weather variables.
    pub(crate) weather: Vec<WeatherVar>,
    /// Static layers.
    pub(crate) statics: Vec<StaticVar>,
    /// Names of the methods whose errors are stored; none where nothing was left out.
    pub(crate) compared: Vec<&'static str>,
    /// Further root attributes.
    pub(crate) attrs: Map<String, Value>,
}

/// A weather variable of a store, `weather/<name>`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WeatherVar {
    /// `<var>_<stat>`.
    pub(crate) name: String,
    /// CF attributes, `units` among them.
    pub(crate) attrs: Map<String, Value>,
    /// Rows and columns of the window around the cube; `None` for one value a step.
    pub(crate) window: Option<(usize, usize)>,
}

/// A static layer of a store, `static/<name>`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StaticVar {
    /// The name.
    pub(crate) name: String,
    /// `U8` for classes, `F32` else.
    pub(crate) dtype: DType,
    /// CF attributes.
    pub(crate) attrs: Map<String, Value>,
}

/// Where and when a sample is.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// `<cube id>_<yyyymmdd of the first step>`.
    pub(crate) id: String,
    /// The cube it was cut from.
    pub(crate) cube_id: String,
    /// Centre, degrees east.
    pub(crate) lon: f64,
    /// Centre, degrees north.
    pub(crate) lat: f64,
    /// Its steps.
    pub(crate) steps: Steps,
    /// Eastings of the pixel centres.
    pub(crate) xc: Vec<f64>,
    /// Northings of the pixel centres, descending.
    pub(crate) yc: Vec<f64>,
}

impl Layout {
    /// The store's specification; see `docs/formats.md`.
    #[must_use]
    pub(crate) fn spec(&self) -> CubeSpec {
        let maps = |name: &str, dtype| {
            let (steps, rows, cols) = (self.steps as u64, self.rows as u64, self.cols as u64);
            VarSpec::new(name, &["sample", "time", "y", "x"], dtype)
                .chunk(&[1, steps, CHUNK_PX, CHUNK_PX])
                .shard(&[1, steps, rows, cols])
                .attr("grid_mapping", "crs")
        };
        let dates = |name: &str, dims: &[&str]| {
            VarSpec::new(name, dims, DType::I32)
                .attr("units", CF_DAY_UNITS)
                .attr("calendar", "proleptic_gregorian")
        };
        let degrees = |name: &str, standard: &str, units: &str| {
            VarSpec::new(name, &["sample"], DType::F64).attr("standard_name", standard).attr("units", units)
        };
        let metres = |name: &str, dim: &str, standard: &str| {
            VarSpec::new(name, &["sample", dim], DType::F64)
                .attr("standard_name", standard)
                .attr("units", "m")
        };
        let mut spec = CubeSpec::new("level2")
            .dim("sample", self.samples)
            .dim("time", self.steps)
            .dim("y", self.rows)
            .dim("x", self.cols)
            .attr("tile", self.tile.as_str())
            .attr("epsg", self.epsg.0)
            .attr("source", self.source)
            .attr("step_days", self.step_days)
            .attr("context_steps", self.context_steps)
            .attr("ndvi_epsilon", 1e-8)
            .var(VarSpec::new("sample_id", &["sample"], DType::String))
            .var(VarSpec::new("cube_id", &["sample"], DType::String))
            .var(degrees("lon", "longitude", "degrees_east"))
            .var(degrees("lat", "latitude", "degrees_north"))
            .var(dates("date", &["sample", "time"]).attr("long_name", "last day of the step"))
            .var(dates("start_date", &["sample"]).attr("long_name", "first day of the first step"))
            .var(
                VarSpec::new("season", &["sample", "time"], DType::U8)
                    .attr("flag_values", json!([0, 1, 2, 3]))
                    .attr("flag_meanings", "DJF MAM JJA SON"),
            )
            .var(metres("xc", "x", "projection_x_coordinate"))
            .var(metres("yc", "y", "projection_y_coordinate"));
        spec = add_crs(spec, self.epsg);
        for band in &self.bands {
            spec = spec.var(
                maps(band, DType::F32).attr("units", "1").attr("long_name", format!("{band} reflectance")),
            );
        }
        for index in &self.indices {
            spec = spec.var(
                maps(&index.name, DType::F32)
                    .attr("units", "1")
                    .attr("long_name", index.long_name.as_str())
                    .attr("formula", index.formula.as_str()),
            );
        }
        spec = spec
            .var(
                maps("mask", DType::U8)
                    .fill(1.0)
                    .attr("flag_values", json!([0, 1]))
                    .attr("flag_meanings", "observed_within_the_step not_observed"),
            )
            .var(maps("dist_mask", DType::I16).fill(f64::from(crate::NONE_FOLLOWS)).attr("units", "d").attr(
                "long_name",
                "days from the step's last day to the next valid observation, -1: none follows",
            ));
        for weather in &self.weather {
            let name = format!("weather/{}", weather.name);
            let dims: &[&str] =
                if weather.window.is_some() { &["sample", "time", "wy", "wx"] } else { &["sample", "time"] };
            spec =
                spec.var(VarSpec { attrs: weather.attrs.clone(), ..VarSpec::new(&name, dims, DType::F32) });
            if let Some((rows, cols)) = weather.window {
                spec.dims.retain(|(dim, _)| dim != "weather/wy" && dim != "weather/wx");
                spec = spec.dim("weather/wy", rows).dim("weather/wx", cols);
            }
        }
        for layer in &self.statics {
            let (rows, cols) = (self.rows as u64, self.cols as u64);
            let name = format!("static/{}", layer.name);
            let var = VarSpec::new(&name, &["sample", "y", "x"], layer.dtype).chunk(&[1, rows, cols]);
            spec = spec.var(VarSpec { attrs: layer.attrs.clone(), ..var }.attr("grid_mapping", "crs"));
        }
        if !self.compared.is_empty() {
            spec = self.leave_out_spec(spec);
        }
        spec.attrs.extend(self.attrs.clone());
        spec
    }

    fn leave_out_spec(&self, spec: CubeSpec) -> CubeSpec {
        let (fills, quantities) = (self.compared.len() as u64, self.bands.len() as u64 + 1);
        let rmse = VarSpec::new("leave_out/rmse", &["sample", "fill", "quantity"], DType::F32)
            .chunk(&[1, fills, quantities])
            .attr("units", "1")
            .attr(
                "long_name",
                "error of the gap filling at observations that were left out, whole series of the cube",
            );
        let count = VarSpec::new("leave_out/count", &["sample"], DType::I32)
            .chunk(&[1])
            .attr("units", "1")
            .attr("long_name", "observations that were left out");
        spec.dim("leave_out/fill", self.compared.len())
            .dim("leave_out/quantity", self.bands.len() + 1)
            .var(VarSpec::new("leave_out/fill", &["fill"], DType::String))
            .var(VarSpec::new("leave_out/quantity", &["quantity"], DType::String))
            .var(rmse)
            .var(count)
    }

    /// Writes the names of what `leave_out/rmse` is about.
    ///
    /// # Errors
    /// [`Error::Shared`] if the store cannot be written.
    pub(crate) fn write_leave_out_axes(&self, writer: &CubeWriter) -> Result<(), Error> {
        if self.compared.is_empty() {
            return Ok(());
        }
        let fills: Vec<String> = self.compared.iter().map(|&fill| fill.to_owned()).collect();
        let quantities: Vec<String> = self.bands.iter().cloned().chain(["ndvi".to_owned()]).collect();
        writer.write_strings("leave_out/fill", &fills)?;
        Ok(writer.write_strings("leave_out/quantity", &quantities)?)
    }
}

/// Writes where and when all samples are.
///
/// # Errors
/// [`Error::Shared`] if the store cannot be written.
pub(crate) fn write_coordinates(writer: &CubeWriter, samples: &[Sample]) -> Result<(), Error> {
    let texts =
        |pick: fn(&Sample) -> &String| samples.iter().map(|s| pick(s).clone()).collect::<Vec<String>>();
    writer.write_strings("sample_id", &texts(|s| &s.id))?;
    writer.write_strings("cube_id", &texts(|s| &s.cube_id))?;
    let numbers = |pick: fn(&Sample) -> f64| samples.iter().map(pick).collect::<Array1<f64>>().into_dyn();
    writer.write("lon", &[0], numbers(|s| s.lon).view())?;
    writer.write("lat", &[0], numbers(|s| s.lat).view())?;
    let starts = samples.iter().map(|s| s.steps.first_day).collect::<Array1<i32>>().into_dyn();
    writer.write("start_date", &[0], starts.view())?;
    write_rows(writer, "date", samples, |s| s.steps.ends())?;
    write_rows(writer, "season", samples, |s| s.steps.seasons())?;
    write_rows(writer, "xc", samples, |s| s.xc.clone())?;
    write_rows(writer, "yc", samples, |s| s.yc.clone())?;
    Ok(())
}

fn write_rows<T: minicube::Element>(
    writer: &CubeWriter,
    var: &str,
    samples: &[Sample],
    row: impl Fn(&Sample) -> Vec<T>,
) -> Result<(), Error> {
    let rows: Vec<T> = samples.iter().flat_map(&row).collect();
    let columns = rows.len() / samples.len().max(1);
    let rows =
        Array2::from_shape_vec((samples.len(), columns), rows).map_err(|error| misshapen(var, &error))?;
    Ok(writer.write(var, &[0, 0], rows.view().into_dyn())?)
}

/// Samples of one store that do not have the same shape: the layout was made for others.
fn misshapen(var: &str, error: &ndarray::ShapeError) -> Error {
    Error::Variable {
        path: "level2".into(),
        variable: var.to_owned(),
        expected: "samples of one shape".into(),
        found: error.to_string(),
    }
}

/// Writes a weather variable of all samples.
///
/// # Shapes
/// - values: `[sample, time]` or `[sample, time, wy, wx]`
///
/// # Errors
/// [`Error::Shared`] if the store cannot be written.
pub(crate) fn write_weather(writer: &CubeWriter, name: &str, values: &ArrayD<f32>) -> Result<(), Error> {
    Ok(writer.write(&format!("weather/{name}"), &vec![0; values.ndim()], values.view())?)
}

/// Writes the bands, indices, mask and distances of one sample.
///
/// # Shapes
/// - filled.values: `[band, step, pixel]`, bands in the order of `bands`, which the indices were made with; pixels row
///   by row
///
/// # Errors
/// [`Error::Shared`] if the store cannot be written.
pub(crate) fn write_maps(
    writer: &CubeWriter,
    sample: usize,
    (rows, cols): (usize, usize),
    bands: &[String],
    indices: &[Index],
    filled: &Filled<f32>,
) -> Result<(), Error> {
    let steps = filled.mask.nrows();
    for (band, values) in bands.iter().zip(filled.values.outer_iter()) {
        write_map(writer, band, sample, (rows, cols), values)?;
    }
    let mut values = Array2::from_elem((steps, rows * cols), f32::NAN);
    let in_order = filled.values.as_standard_layout();
    for index in indices {
        for (k, mut values) in values.outer_iter_mut().enumerate() {
            let bands = in_order.index_axis(Axis(1), k);
            let bands: Vec<&[f32]> = bands.outer_iter().filter_map(|band| band.to_slice()).collect();
            if let Some(values) = values.as_slice_mut() {
                index.evaluate(&bands, values);
            }
        }
        write_map(writer, &index.name, sample, (rows, cols), values.view())?;
    }
    write_map(writer, "mask", sample, (rows, cols), filled.mask.view())?;
    write_map(writer, "dist_mask", sample, (rows, cols), filled.dist_next.view())
}

pub(crate) fn write_map<T: minicube::Element>(
    writer: &CubeWriter,
    var: &str,
    sample: usize,
    (rows, cols): (usize, usize),
    values: ArrayView2<'_, T>,
) -> Result<(), Error> {
    let steps = values.nrows();
    let maps =
        values.into_shape_with_order((1, steps, rows, cols)).map_err(|error| misshapen(var, &error))?;
    Ok(writer.write(var, &[sample as u64, 0, 0, 0], maps.into_dyn())?)
}

/// Writes a static layer of one sample.
///
/// # Shapes
/// - values: `[1, y, x]`
///
/// # Errors
/// [`Error::Shared`] if the store cannot be written.
pub(crate) fn write_static<T: minicube::Element>(
    writer: &CubeWriter,
    name: &str,
    sample: usize,
    values: ArrayViewD<'_, T>,
) -> Result<(), Error> {
    Ok(writer.write(&format!("static/{name}"), &[sample as u64, 0, 0], values)?)
}

/// Writes the errors of one sample's cube.
///
/// # Errors
/// [`Error::Shared`] if the store cannot be written.
pub(crate) fn write_left_out(writer: &CubeWriter, sample: usize, left_out: &LeftOut) -> Result<(), Error> {
    let rmse: Vec<f32> = left_out.rmse.iter().flatten().map(|&rmse| rmse as f32).collect();
    let shape = (1, left_out.rmse.len(), rmse.len() / left_out.rmse.len().max(1));
    let rmse = Array3::from_shape_vec(shape, rmse).map_err(|error| misshapen("leave_out/rmse", &error))?;
    writer.write("leave_out/rmse", &[sample as u64, 0, 0], rmse.view().into_dyn())?;
    let count = Array1::from_elem(1, i32::try_from(left_out.count).unwrap_or(i32::MAX));
    Ok(writer.write("leave_out/count", &[sample as u64], count.view().into_dyn())?)
}
