//! What every store of forecasts says of its samples: names, places, dates, layers of the land.

use minicube::{CF_DAY_UNITS, Cube, CubeSpec, CubeWriter, DType, Element, Epsg, Split, VarSpec, add_crs};
use ndarray::{Array1, Array2, ArrayD};

use crate::data::dataset::Dataset;
use crate::error::Error;

/// Dimensions and variables of the samples of all splits, one after the other.
pub(crate) fn label_spec(splits: &[(Split, Dataset)], first: &Dataset) -> CubeSpec {
    let (rows, cols) = first.size();
    let (cube, _) = first.place(0);
    let metres = |name: &str, dim: &str| VarSpec {
        attrs: cube.var_attrs(name),
        ..VarSpec::new(name, &["sample", dim], DType::F64)
    };
    let spec = CubeSpec::new("forecast")
        .dim("sample", splits.iter().map(|(_, dataset)| dataset.len()).sum())
        .dim("time", first.spec().target_steps)
        .dim("y", rows)
        .dim("x", cols)
        .attr("epsg", epsg_of(cube).0)
        .attr("context_steps", first.spec().context_steps)
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
        );
    add_crs(spec, epsg_of(cube))
}

/// A layer `static/<name>` of Level 2 as a label, in a chunk a sample.
pub(crate) fn static_spec(first: &Dataset, name: &str) -> VarSpec {
    let (cube, _) = first.place(0);
    let (rows, cols) = first.size();
    let variable = format!("static/{name}");
    let mut attrs = cube.var_attrs(&variable);
    // Labels are floats here; Level 2's missing value is of its own type.
    attrs.shift_remove("_FillValue");
    let layer =
        VarSpec::new(&variable, &["sample", "y", "x"], DType::F32).chunk(&[1, rows as u64, cols as u64]);
    VarSpec { attrs, ..layer }.attr("grid_mapping", "crs")
}

/// Writes what [`label_spec`] laid out, copied from Level 2.
///
/// # Errors
/// [`Error::Files`] if Level 2 cannot be read or the store not be written.
pub(crate) fn write_labels(writer: &CubeWriter, splits: &[(Split, Dataset)]) -> Result<(), Error> {
    let places: Vec<(Split, &Cube, usize, &Dataset)> = splits
        .iter()
        .flat_map(|(split, dataset)| {
            (0..dataset.len()).map(move |k| {
                let (cube, row) = dataset.place(k);
                (*split, cube, row, dataset)
            })
        })
        .collect();
    writer.write("crs", &[], ArrayD::<i32>::zeros(vec![]).view())?;
    for name in ["sample_id", "cube_id"] {
        let values = places
            .iter()
            .map(|(_, cube, row, _)| Ok(cube.read_strings(name)?.swap_remove(*row)))
            .collect::<Result<Vec<String>, Error>>()?;
        writer.write_strings(name, &values)?;
    }
    let splits: Vec<String> = places.iter().map(|(split, ..)| split.to_string()).collect();
    writer.write_strings("split", &splits)?;
    let epsg: Vec<i32> = places.iter().map(|(_, cube, ..)| epsg_of(cube).0 as i32).collect();
    writer.write("epsg", &[0], Array1::from(epsg).into_dyn().view())?;
    for name in ["lon", "lat"] {
        let values = places
            .iter()
            .map(|(_, cube, row, _)| Ok(row_of::<f64>(cube, name, *row, 0)?[0]))
            .collect::<Result<Vec<f64>, Error>>()?;
        writer.write(name, &[0], Array1::from(values).into_dyn().view())?;
    }
    for name in ["xc", "yc"] {
        let rows = places.iter().map(|(_, cube, row, _)| row_of::<f64>(cube, name, *row, 0));
        write_rows(writer, name, rows.collect::<Result<Vec<_>, Error>>()?)?;
    }
    let rows = places.iter().map(|(_, cube, row, dataset)| {
        let spec = dataset.spec();
        let row = row_of::<i32>(cube, "date", *row, spec.context_steps)?;
        Ok(row[..spec.target_steps.min(row.len())].to_vec())
    });
    write_rows(writer, "date", rows.collect::<Result<Vec<_>, Error>>()?)
}

fn write_rows<T: Element>(writer: &CubeWriter, name: &str, rows: Vec<Vec<T>>) -> Result<(), Error> {
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
    writer.write(name, &[0, 0], array.into_dyn().view())?;
    Ok(())
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
