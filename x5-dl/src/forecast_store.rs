//! `forecast.zarr`: forecasts with the truth beside them.

use std::path::Path;

use minicube::{CHUNK_PX, Cube, CubeSpec, CubeWriter, DType, Split, VarSpec};
use ndarray::{Array3, Array5, Axis, Ix3, Slice, Zip};
use serde_json::Value;

use crate::data::Batch;
use crate::data::dataset::Dataset;
use crate::error::Error;
use crate::labels::{label_spec, static_spec, write_labels};

/// A forecast store under construction; samples may be written from many threads.
pub(crate) struct ForecastStore {
    writer: CubeWriter,
    channels: Vec<String>,
    statics: Vec<String>,
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
        write_labels(&writer, splits)?;
        let (channels, statics) = (first.spec().dynamic.clone(), first.spec().statics.clone());
        Ok(ForecastStore { writer, channels, statics })
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

/// Makes the truth `[step, y, x]` of one sample NaN where it was not observed: what Level 2 has there is a cloud or a filled gap.
pub(crate) fn only_observed(cube: &Cube, sample: usize, truth: &mut Array3<f32>) -> Result<(), Error> {
    let mask = layer(cube, "mask", sample)?;
    Zip::from(truth).and(&mask).for_each(|value, hidden| {
        if *hidden != 0.0 {
            *value = f32::NAN;
        }
    });
    Ok(())
}

fn layout(splits: &[(Split, Dataset)], first: &Dataset) -> CubeSpec {
    let spec = first.spec();
    let (rows, cols) = first.size();
    let (cube, _) = first.place(0);
    let shape = [spec.target_steps, rows, cols];
    let mut store = label_spec(splits, first).var(
        gridded("mask", DType::U8, shape)
            .fill(1.0)
            .attr("long_name", "0: the truth was observed within the step; 1: it was not"),
    );
    for channel in &spec.dynamic {
        let units = cube.var_attrs(channel).get("units").cloned().unwrap_or(Value::from("1"));
        let truth = format!("truth_{channel}");
        store = store
            .var(
                gridded(channel, DType::F32, shape)
                    .attr("units", units.clone())
                    .attr("long_name", format!("forecast {channel}")),
            )
            .var(
                gridded(&truth, DType::F32, shape)
                    .attr("units", units)
                    .attr("long_name", format!("{channel} as in Level 2")),
            );
    }
    for name in &spec.statics {
        store = store.var(static_spec(first, name));
    }
    store
}

/// Frames `[sample, time, y, x]` of this many steps, rows and columns, a shard a sample.
pub(crate) fn gridded(name: &str, dtype: DType, shape: [usize; 3]) -> VarSpec {
    let [steps, rows, cols] = shape.map(|len| len as u64);
    VarSpec::new(name, &["sample", "time", "y", "x"], dtype)
        .chunk(&[1, steps, CHUNK_PX.min(rows), CHUNK_PX.min(cols)])
        .shard(&[1, steps, rows, cols])
        .attr("grid_mapping", "crs")
}

#[cfg(test)]
mod tests {
    use ndarray::{Array4, array};

    use super::*;

    #[test]
    fn truth_that_was_not_observed_is_no_number() {
        let dir = tempfile::tempdir().unwrap();
        let layout = CubeSpec::new("masks").dim("sample", 2).dim("time", 1).dim("y", 1).dim("x", 2);
        let layout = layout.var(gridded("mask", DType::U8, [1, 1, 2]));
        let writer = CubeWriter::create(&dir.path().join("f.zarr"), &layout, "plan").unwrap();
        let mask: Array4<u8> = array![[[[0, 0]]], [[[1, 0]]]];
        writer.write("mask", &[0; 4], mask.into_dyn().view()).unwrap();
        let cube = writer.seal().unwrap();
        let mut truth: Array3<f32> = array![[[0.25, 0.5]]];
        only_observed(&cube, 0, &mut truth).unwrap();
        assert_eq!(truth, array![[[0.25, 0.5]]]);
        only_observed(&cube, 1, &mut truth).unwrap();
        assert!(truth[[0, 0, 0]].is_nan() && truth[[0, 0, 1]] == 0.5);
    }
}
