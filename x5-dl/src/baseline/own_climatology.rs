//! The climatology of each pixel, which Level 2 stores where the split is in time: the reference of GreenEarthNet.

use minicube::Cube;
use ndarray::{Array5, Axis};

use crate::baseline::context_mean;
use crate::data::{Batch, DataSpec};
use crate::error::Error;

/// `[1, target, channel, y, x]` for the only sample of a batch, which is `row` of `cube` from its first step on: the
/// mean of the pixel's training years at the same time of year. The mean of its context where they have none.
///
/// # Errors
/// - [`Error::NoVariable`] if Level 2 has no climatology of a channel,
/// - [`Error::Files`] if the store cannot be read.
pub(crate) fn own_climatology(
    cube: &Cube,
    row: usize,
    batch: &Batch,
    spec: &DataSpec,
) -> Result<Array5<f32>, Error> {
    let mut forecast = context_mean(batch, spec);
    for (c, channel) in spec.dynamic.iter().enumerate() {
        let variable = format!("climatology/{channel}");
        if !cube.has(&variable) {
            let found = cube.vars().into_iter().filter(|name| name.starts_with("climatology/"));
            let found = found.collect::<Vec<_>>().join(", ");
            let found = if found.is_empty() { "no climatology at all".to_owned() } else { found };
            return Err(Error::NoVariable { path: cube.path().to_owned(), variable, found });
        }
        let mut shape = cube.shape(&variable)?;
        (shape[0], shape[1]) = (1, spec.target_steps as u64);
        let start = [row as u64, spec.context_steps as u64, 0, 0];
        let stored = cube.read_f32(&variable, &start, &shape)?;
        for (step, mut frame) in forecast.index_axis_mut(Axis(0), 0).outer_iter_mut().enumerate() {
            let mut frame = frame.index_axis_mut(Axis(0), c);
            for ((y, x), cell) in frame.indexed_iter_mut() {
                let value = stored[[0, step, y, x]];
                if value.is_finite() {
                    *cell = value;
                }
            }
        }
    }
    Ok(forecast)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::data::dataset::Dataset;
    use minicube::testing::tiny_level2;
    use minicube::{CubeSpec, CubeWriter, DType, Split, VarSpec};
    use ndarray::Array4;

    /// Two samples of 4 × 4 pixels and twelve steps, of which five are context and three are forecast.
    fn tiny_samples(dir: &Path) -> (Dataset, DataSpec) {
        let spec = DataSpec {
            dynamic: vec!["kndvi".into()],
            context_steps: 5,
            target_steps: 3,
            ..DataSpec::default()
        };
        let level2 = tiny_level2(dir, 2, 12, 4).unwrap();
        (Dataset::open(&level2, Split::Val, &spec).unwrap(), spec)
    }

    #[test]
    fn stored_values_of_the_target_steps_are_the_forecast() {
        let dir = tempfile::tempdir().unwrap();
        let (samples, spec) = tiny_samples(dir.path());
        let batch = samples.batch(&[1], None).unwrap();

        // The climatology is 10 · sample + step, and nothing in one pixel's step 6.
        let dims = ["sample", "time", "y", "x"];
        let layout = CubeSpec::new("seasonal").dim("sample", 2).dim("time", 12).dim("y", 4).dim("x", 4);
        let layout = layout.var(VarSpec::new("climatology/kndvi", &dims, DType::F32));
        let writer = CubeWriter::create(&dir.path().join("c.zarr"), &layout, "plan").unwrap();
        let mut values = Array4::from_shape_fn((2, 12, 4, 4), |(s, t, _, _)| (10 * s + t) as f32);
        values[[1, 6, 2, 3]] = f32::NAN;
        writer.write("climatology/kndvi", &[0; 4], values.into_dyn().view()).unwrap();
        let cube = writer.seal().unwrap();
        let found = own_climatology(&cube, 1, &batch, &spec).unwrap();
        let at = |t: usize, y: usize, x: usize| found[[0, t, 0, y, x]];
        assert_eq!([at(0, 0, 0), at(1, 0, 0), at(2, 3, 3)], [15.0, 16.0, 17.0]);
        assert_eq!(at(1, 2, 3), context_mean(&batch, &spec)[[0, 1, 0, 2, 3]]);
    }

    #[test]
    fn a_level_2_without_climatology_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (samples, spec) = tiny_samples(dir.path());
        let (cube, row) = samples.place(0);
        let batch = samples.batch(&[0], None).unwrap();
        let text = own_climatology(cube, row, &batch, &spec).unwrap_err().to_string();
        assert!(text.contains("no variable climatology/kndvi; found no climatology at all"), "{text}");
    }
}
