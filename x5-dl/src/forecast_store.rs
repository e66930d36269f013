//! `forecast.zarr`: forecasts with the truth beside them.

use std::path::Path;

use minicube::{
    CF_DAY_UNITS, CHUNK_PX, Cube, CubeSpec, CubeWriter, DType, Element, Epsg, Split, VarSpec, add_crs,
};
use ndarray::{Array2, Array3, Array5, ArrayD, Axis, Ix3, Slice};
use serde_json::Value;

use crate::data::Batch;
use crate::data::dataset::Dataset;
use crate::error::Error;

/// A forecast store under construction; samples may be written from many threads.
pub(crate) struct ForecastStore {
    writer: CubeWriter,
    channels: Vec<String>,
    statics: Vec<String>,
    steps: usize,
}

impl ForecastStore {
    /// Lays the store out for the samples of all splits, one after the other, and writes everything but the
    /// frames.
    pub(crate) fn create(
        path: &Path,
        splits: &[(Split, Dataset)],
        plan_hash: &str,
    ) -> Result<ForecastStore, Error> {
        let Some((_, first)) = splits.first() else {
            return Err(Error::NoSamples {
                path: path.to_owned(),
                reason: "no split has samples to score".into(),
            });
        };
        let writer = CubeWriter::create(path, &layout(splits, first), plan_hash)?;
        let (channels, statics) = (first.spec().dynamic.clone(), first.spec().statics.clone());
        let store = ForecastStore { writer, channels, statics, steps: first.spec().target_steps };
        store.write_labels(splits)?;
        Ok(store)
    }

    /// Writes one sample: the forecast `[1, target, channel, y, x]`, the truth, and where it was observed.
    pub(crate) fn write(
        &self,
        sample: usize,
        batch: &Batch,
        forecast: &Array5<f32>,
        context_steps: usize,
    ) -> Result<(), Error> {
        let start = [sample as u64, 0, 0, 0];
        let after = Slice::from(context_steps..);
        let truth = batch.dynamic.slice_axis(Axis(1), after);
        for (k, channel) in self.channels.iter().enumerate() {
            let frames = forecast.index_axis(Axis(2), k).to_owned().into_dyn();
            self.writer.write(channel, &start, frames.view())?;
            let frames = truth.index_axis(Axis(2), k).to_owned().into_dyn();
            self.writer.write(&format!("truth_{channel}"), &start, frames.view())?;
        }
        let mask = batch.valid.slice_axis(Axis(1), after).mapv(|v| u8::from(v <= 0.0)).into_dyn();
        self.writer.write("mask", &start, mask.view())?;
        for (k, name) in self.statics.iter().enumerate() {
            let layer = batch.statics.index_axis(Axis(1), k).to_owned().into_dyn();
            self.writer.write(&format!("static/{name}"), &start[..3], layer.view())?;
        }
        Ok(())
    }

    /// Checks and publishes the store.
    pub(crate) fn seal(self) -> Result<(), Error> {
        self.writer.seal()?;
        Ok(())
    }

    /// Coordinates and names of all samples, copied from Level 2.
    fn write_labels(&self, splits: &[(Split, Dataset)]) -> Result<(), Error> {
        let places: Vec<(Split, &Cube, usize, usize)> = splits
            .iter()
            .flat_map(|(split, dataset)| {
                (0..dataset.len()).map(|k| {
                    let (cube, row) = dataset.place(k);
                    (*split, cube, row, dataset.spec().context_steps)
                })
            })
            .collect();
        self.writer.write("crs", &[], ArrayD::<i32>::zeros(vec![]).view())?;
        for name in ["sample_id", "cube_id"] {
            let values = places
                .iter()
                .map(|(_, cube, row, _)| Ok(cube.read_strings(name)?.swap_remove(*row)))
                .collect::<Result<Vec<String>, Error>>()?;
            self.writer.write_strings(name, &values)?;
        }
        let splits: Vec<String> = places.iter().map(|(split, ..)| split.to_string()).collect();
        self.writer.write_strings("split", &splits)?;
        let epsg: Vec<i32> = places.iter().map(|(_, cube, ..)| epsg_of(cube).0 as i32).collect();
        self.writer.write("epsg", &[0], ndarray::Array1::from(epsg).into_dyn().view())?;
        for name in ["lon", "lat"] {
            let values = places
                .iter()
                .map(|(_, cube, row, _)| Ok(row_of::<f64>(cube, name, *row, 0)?[0]))
                .collect::<Result<Vec<f64>, Error>>()?;
            self.writer.write(name, &[0], ndarray::Array1::from(values).into_dyn().view())?;
        }
        for name in ["xc", "yc"] {
            let rows = places.iter().map(|(_, cube, row, _)| row_of::<f64>(cube, name, *row, 0));
            self.write_rows(name, rows.collect::<Result<Vec<_>, Error>>()?)?;
        }
        let rows = places.iter().map(|(_, cube, row, context)| row_of::<i32>(cube, "date", *row, *context));
        let rows = rows.map(|row| row.map(|row| row[..self.steps.min(row.len())].to_vec()));
        self.write_rows("date", rows.collect::<Result<Vec<_>, Error>>()?)
    }

    fn write_rows<T: Element>(&self, name: &str, rows: Vec<Vec<T>>) -> Result<(), Error> {
        let width = rows.first().map_or(0, Vec::len);
        let samples = rows.len();
        let values: Vec<T> = rows.into_iter().flatten().collect();
        let found = format!("{} values in {samples} rows", values.len());
        let array = Array2::from_shape_vec((samples, width), values).map_err(|_| {
            Error::Files(minicube::Error::Shape {
                path: "level2".into(),
                variable: name.to_owned(),
                expected: format!("rows of {width}"),
                found,
            })
        })?;
        self.writer.write(name, &[0, 0], array.into_dyn().view())?;
        Ok(())
    }
}

/// `[time, y, x]` of one sample; a layer without time has one step.
pub(crate) fn layer(cube: &Cube, variable: &str, sample: usize) -> Result<Array3<f32>, Error> {
    let mut size = cube.shape(variable)?;
    let mut start = vec![0; size.len()];
    (start[0], size[0]) = (sample as u64, 1);
    let array = cube.read_f32(variable, &start, &size)?;
    let array = if array.ndim() == 4 { array.index_axis_move(Axis(0), 0) } else { array };
    let found = format!("{:?}", array.shape());
    array.into_dimensionality::<Ix3>().map_err(|_| {
        Error::Files(minicube::Error::Shape {
            path: cube.path().to_owned(),
            variable: variable.to_owned(),
            expected: "[sample, time, y, x] or [sample, y, x]".into(),
            found,
        })
    })
}

/// A row of a two-dimensional variable from column `from` on, or one value of a one-dimensional one.
fn row_of<T: Element>(cube: &Cube, name: &str, row: usize, from: usize) -> Result<Vec<T>, Error> {
    let shape = cube.shape(name)?;
    let (mut start, mut size) = (vec![row as u64], vec![1]);
    if let Some(&width) = shape.get(1) {
        start.push(from as u64);
        size.push(width - from as u64);
    }
    Ok(cube.read_region::<T>(name, &start, &size)?.iter().copied().collect())
}

fn epsg_of(cube: &Cube) -> Epsg {
    cube.attr_f64("epsg").map_or(Epsg(4326), |code| Epsg(code as u32))
}

fn layout(splits: &[(Split, Dataset)], first: &Dataset) -> CubeSpec {
    let spec = first.spec();
    let (rows, cols) = first.size();
    let samples = splits.iter().map(|(_, dataset)| dataset.len()).sum();
    let (cube, _) = first.place(0);
    let shard = [1, spec.target_steps as u64, rows as u64, cols as u64];
    let gridded = |name: &str, dtype| {
        VarSpec::new(name, &["sample", "time", "y", "x"], dtype)
            .chunk(&[1, shard[1], CHUNK_PX.min(shard[2]), CHUNK_PX.min(shard[3])])
            .shard(&shard)
            .attr("grid_mapping", "crs")
    };
    let metres = |name: &str, dim: &str| VarSpec {
        attrs: cube.var_attrs(name),
        ..VarSpec::new(name, &["sample", dim], DType::F64)
    };
    let mut store = CubeSpec::new("forecast")
        .dim("sample", samples)
        .dim("time", spec.target_steps)
        .dim("y", rows)
        .dim("x", cols)
        .attr("epsg", epsg_of(cube).0)
        .attr("context_steps", spec.context_steps)
        .var(VarSpec::new("sample_id", &["sample"], DType::String))
        .var(VarSpec::new("cube_id", &["sample"], DType::String))
        .var(VarSpec::new("split", &["sample"], DType::String))
        .var(VarSpec::new("epsg", &["sample"], DType::I32).attr("long_name", "EPSG code of xc and yc"))
        .var(VarSpec::new("lon", &["sample"], DType::F64).attr("units", "degrees_east"))
        .var(VarSpec::new("lat", &["sample"], DType::F64).attr("units", "degrees_north"))
        .var(metres("xc", "x"))
        .var(metres("yc", "y"))
        .var(
            VarSpec::new("date", &["sample", "time"], DType::I32)
                .attr("units", CF_DAY_UNITS)
                .attr("calendar", "proleptic_gregorian")
                .attr("long_name", "last day of the step"),
        )
        .var(
            gridded("mask", DType::U8)
                .fill(1.0)
                .attr("long_name", "0: the truth was observed within the step; 1: it was not"),
        );
    store = add_crs(store, epsg_of(cube));
    for channel in &spec.dynamic {
        let units = cube.var_attrs(channel).get("units").cloned().unwrap_or(Value::from("1"));
        let truth = format!("truth_{channel}");
        store = store
            .var(
                gridded(channel, DType::F32)
                    .attr("units", units.clone())
                    .attr("long_name", format!("forecast {channel}")),
            )
            .var(
                gridded(&truth, DType::F32)
                    .attr("units", units)
                    .attr("long_name", format!("{channel} as in Level 2")),
            );
    }
    for name in &spec.statics {
        let variable = format!("static/{name}");
        let mut attrs = cube.var_attrs(&variable);
        // Labels are floats here; Level 2's missing value is of its own type.
        attrs.shift_remove("_FillValue");
        let layer =
            VarSpec::new(&variable, &["sample", "y", "x"], DType::F32).chunk(&[1, shard[2], shard[3]]);
        store = store.var(VarSpec { attrs, ..layer }.attr("grid_mapping", "crs"));
    }
    store
}
