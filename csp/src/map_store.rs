//! The Zarr store of the saliency maps.

use std::path::Path;

use minicube::{CubeSpec, CubeWriter, DType, VarSpec};
use ndarray::{Axis, NewAxis, s};
use x5_dl::DataSpec;

use crate::error::Error;
use crate::explain::Explanation;
use crate::plan::Plan;

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
    let writer = CubeWriter::create(path, &maps, hash)?;
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

/// Names of the layers that are occluded: the whole context, then the static layers.
pub(crate) fn layer_names(spec: &DataSpec) -> Vec<String> {
    std::iter::once("context".to_owned()).chain(spec.statics.iter().cloned()).collect()
}
