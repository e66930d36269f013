//! The Zarr store of the saliency maps.

use std::path::Path;

use minicube::{CubeSpec, CubeWriter, DType, VarSpec};
use ndarray::{Array1, Array2, Axis, NewAxis, s};
use x5_dl::DataSpec;

use crate::error::Error;
use crate::explain::Explanation;
use crate::plan::Plan;
use crate::saliency::Owed;

/// Name of the store; it is there where maps were asked for.
pub(crate) const MAPS: &str = "saliency.zarr";

/// Writes and seals the store of `found`, which must have maps.
///
/// # Errors
/// [`Error::Files`] if it cannot be written.
pub(crate) fn write_maps(
    path: &Path,
    plan: &Plan,
    spec: &DataSpec,
    found: &Explanation,
    hash: &str,
) -> Result<(), Error> {
    let Some((_, first)) = found.maps.first() else { return Ok(()) };
    let (variables, rows, cols) = first.gradient.dim();
    let (layers, patch_rows, patch_cols) = first.occlusion.dim();
    let index = plan.index.name();
    let maps = CubeSpec::new("saliency")
        .dim("map", found.maps.len())
        .dim("variable", variables)
        .dim("layer", layers)
        .dim("y", rows)
        .dim("x", cols)
        .dim("patch_y", patch_rows)
        .dim("patch_x", patch_cols)
        .attr("model", plan.model.clone())
        .attr("index", index)
        .attr("patch_px", plan.patch_px)
        .attr("first_row", plan.crop.map_or(0, |crop| crop[0]))
        .attr("first_col", plan.crop.map_or(0, |crop| crop[1]))
        .var(VarSpec::new("sample_id", &["map"], DType::String))
        .var(VarSpec::new("variable", &["variable"], DType::String))
        .var(VarSpec::new("unit", &["variable"], DType::String).attr("long_name", "physical unit"))
        .var(VarSpec::new("layer", &["layer"], DType::String).attr("long_name", "what is occluded"))
        .var(
            VarSpec::new("unchanged", &["map", "y", "x"], DType::F64)
                .chunk(&[1, rows as u64, cols as u64])
                .attr("long_name", format!("{index} of the forecast, mean over the steps")),
        )
        .var(
            VarSpec::new("gradient", &["map", "variable", "y", "x"], DType::F64)
                .chunk(&[1, variables as u64, rows as u64, cols as u64])
                .attr("long_name", format!("change of {index} per unit of the variable")),
        )
        .var(
            VarSpec::new("occlusion", &["map", "layer", "patch_y", "patch_x"], DType::F64)
                .chunk(&[1, layers as u64, patch_rows as u64, patch_cols as u64])
                .attr("long_name", format!("change of the mean {index} when the patch is levelled")),
        );
    let owed: Vec<&Owed> = found.maps.iter().filter_map(|(_, map)| map.owed.as_ref()).collect();
    let maps = if owed.len() == found.maps.len() { with_owed(maps, spec, index) } else { maps };
    let writer = CubeWriter::create(path, &maps, hash)?;
    if owed.len() == found.maps.len() {
        write_owed(&writer, spec, &owed)?;
    }
    let ids: Vec<String> = found.maps.iter().map(|(sample, _)| found.sample_ids[*sample].clone()).collect();
    writer.write_strings("sample_id", &ids)?;
    let of_variables =
        |get: fn(&crate::Variable) -> String| plan.variables.iter().map(get).collect::<Vec<_>>();
    writer.write_strings("variable", &of_variables(|variable| variable.name.clone()))?;
    writer.write_strings("unit", &of_variables(|variable| variable.unit.clone()))?;
    writer.write_strings("layer", &layer_names(spec))?;
    for (place, (_, map)) in found.maps.iter().enumerate() {
        let at = place as u64;
        let unchanged = map.unchanged.view().insert_axis(Axis(0));
        writer.write("unchanged", &[at, 0, 0], unchanged.into_dyn())?;
        writer.write("gradient", &[at, 0, 0, 0], map.gradient.slice(s![NewAxis, .., .., ..]).into_dyn())?;
        writer.write("occlusion", &[at, 0, 0, 0], map.occlusion.slice(s![NewAxis, .., .., ..]).into_dyn())?;
    }
    writer.seal()?;
    Ok(())
}

/// Adds gradients and integrated gradients.
fn with_owed(maps: CubeSpec, spec: &DataSpec, index: &str) -> CubeSpec {
    let raster = ["map", "input", "y", "x"];
    maps.dim("input", spec.dynamic.len() + spec.statics.len())
        .dim("weather", spec.weather.len())
        .dim("time", spec.steps())
        .dim("end", 2)
        .var(
            VarSpec::new("input", &["input"], DType::String)
                .attr("long_name", "channel of the past, or layer"),
        )
        .var(VarSpec::new("weather", &["weather"], DType::String).attr("long_name", "weather input"))
        .var(VarSpec::new("slope", &raster, DType::F64).attr(
            "long_name",
            format!("gradient of the mean {index}, summed over the context, per stored unit"),
        ))
        .var(
            VarSpec::new("integrated", &raster, DType::F64)
                .attr("long_name", format!("part of the value in the mean {index}: integrated gradients")),
        )
        .var(
            VarSpec::new("integrated_weather", &["map", "weather", "time"], DType::F64)
                .attr("long_name", format!("part of the weather in the mean {index}: integrated gradients")),
        )
        .var(VarSpec::new("mean_index", &["map", "end"], DType::F64).attr(
            "long_name",
            format!("mean {index} of the forecast, and of that from inputs at their means"),
        ))
        .var(
            VarSpec::new("gap", &["map"], DType::F64)
                .attr("long_name", "sum of all parts less the difference of the two ends"),
        )
}

fn write_owed(writer: &CubeWriter, spec: &DataSpec, owed: &[&Owed]) -> Result<(), Error> {
    let inputs: Vec<String> = spec.dynamic.iter().chain(&spec.statics).cloned().collect();
    writer.write_strings("input", &inputs)?;
    writer.write_strings("weather", &spec.weather)?;
    let stacked = |get: fn(&Owed) -> ndarray::ArrayViewD<'_, f64>| {
        let views: Vec<_> = owed.iter().map(|one| get(one)).collect();
        ndarray::stack(Axis(0), &views).unwrap_or_else(|_| ndarray::ArrayD::zeros(vec![0]))
    };
    let (slope, part) =
        (stacked(|one| one.slope.view().into_dyn()), stacked(|one| one.part.view().into_dyn()));
    writer.write("slope", &[0; 4], slope.view())?;
    writer.write("integrated", &[0; 4], part.view())?;
    writer.write("integrated_weather", &[0; 3], stacked(|one| one.weather.view().into_dyn()).view())?;
    let values = Array2::from_shape_fn((owed.len(), 2), |(map, end)| owed[map].values[end]);
    writer.write("mean_index", &[0; 2], values.view().into_dyn())?;
    let gaps: Array1<f64> = owed.iter().map(|one| one.gap).collect();
    writer.write("gap", &[0], gaps.view().into_dyn())?;
    Ok(())
}

/// Names of the layers that are occluded: the whole context, then the static layers.
pub(crate) fn layer_names(spec: &DataSpec) -> Vec<String> {
    std::iter::once("context".to_owned()).chain(spec.statics.iter().cloned()).collect()
}
