//! Pictures of one minicube: the clearest acquisitions with their dates, and the static layers, each with its legend.

use minicube::report::{Frame, Ramp, Report, class_legend, ramp_legend};
use minicube::{Cube, from_cf_day};
use ndarray::{Array2, ArrayView2, Axis, Ix2};
use serde_json::Value;

use crate::Error;

/// Frames of quicklooks.
const FRAMES: usize = 12;

/// Reflectance that is drawn as full colour.
const WHITE: f32 = 0.3;

/// The clearest frame of each of some equal parts of the series, ascending.
#[must_use]
pub(crate) fn clearest(shares: &[f64]) -> Vec<usize> {
    let part = shares.len().div_ceil(FRAMES).max(1);
    let best = |start: usize| {
        let end = (start + part).min(shares.len());
        (start..end).max_by(|&a, &b| shares[a].total_cmp(&shares[b]).then(b.cmp(&a)))
    };
    (0..shares.len()).step_by(part).filter_map(best).collect()
}

/// True colour and NDVI of the first minicube in some acquisitions.
///
/// # Errors
/// [`Error::Minicube`] if the store cannot be read.
pub(crate) fn quicklooks(
    page: Report,
    cube: &Cube,
    id: &str,
    days: &[i32],
    frames: &[usize],
) -> Result<Report, Error> {
    let label = |t: usize| from_cf_day(days[t]).to_string();
    let read = |asset: &str, t: usize| -> Result<Array2<f32>, Error> {
        let name = format!("s2/{asset}");
        let size = cube.shape(&name)?;
        frame(cube, &name, cube.read_f32(&name, &[0, t as u64, 0, 0], &[1, 1, size[2], size[3]])?)
    };
    let mut page = page;
    if ["red", "green", "blue"].iter().all(|asset| cube.has(&format!("s2/{asset}"))) {
        let colour = |&t: &usize| -> Result<Frame, Error> {
            let bands = [read("red", t)?, read("green", t)?, read("blue", t)?];
            Ok(Frame::true_colour(label(t), bands.each_ref().map(|band| band.view()), WHITE))
        };
        let pictures = frames.iter().map(colour).collect::<Result<Vec<_>, Error>>()?;
        let caption = format!(
            "{id} in true colour, the clearest acquisitions: reflectance 0 is black, {WHITE} is full; grey: no data."
        );
        page = page.frames(&caption, &pictures, "");
    }
    let infrared = ["nir", "nir08"].into_iter().find(|asset| cube.has(&format!("s2/{asset}")));
    if let Some(infrared) = infrared.filter(|_| cube.has("s2/red")) {
        let range = (0.0, 0.9);
        let ndvi = |&t: &usize| -> Result<Frame, Error> {
            let (nir, red) = (read(infrared, t)?, read("red", t)?);
            Ok(Frame::ramp(label(t), ((&nir - &red) / (&nir + &red)).view(), Ramp::Greens, range))
        };
        let pictures = frames.iter().map(ndvi).collect::<Result<Vec<_>, Error>>()?;
        let caption = format!("{id}, NDVI of {infrared} and red, not masked, in the same acquisitions.");
        page = page.frames(&caption, &pictures, &ramp_legend("NDVI", Ramp::Greens, range));
    }
    Ok(page)
}

/// The static layers of the first minicube: numbers on a ramp, classes in colours.
///
/// # Errors
/// [`Error::Minicube`] if the store cannot be read.
pub(crate) fn static_layers(page: Report, cube: &Cube, id: &str) -> Result<Report, Error> {
    let mut page = page;
    for name in cube.vars().iter().filter(|name| name.starts_with("static/")) {
        let attrs = cube.var_attrs(name);
        let text = |key: &str| attrs.get(key).and_then(Value::as_str);
        let what = match (text("long_name").unwrap_or(name), text("units")) {
            (what, Some(units)) => format!("{what} ({units})"),
            (what, None) => what.to_owned(),
        };
        let shape = cube.shape(name)?;
        let (start, size) = ([0, 0, 0], [1, shape[1], shape[2]]);
        page = if cube.dtype(name)? == "uint8" {
            let codes = frame(cube, name, cube.read_region::<u8>(name, &start, &size)?)?;
            let (values, names) = classes(cube, name, codes.view());
            let picture = Frame::classes("", codes.view(), &values);
            page.frames(&format!("{id}, {what}; grey: none."), &[picture], &class_legend(&names))
        } else {
            let layer = frame(cube, name, cube.read_f32(name, &start, &size)?)?;
            let finite = || layer.iter().copied().filter(|value| value.is_finite());
            let (low, high) = finite().fold((f32::MAX, f32::MIN), |(low, high), v| (low.min(v), high.max(v)));
            if low > high {
                page.text(&format!("{name} of {id} has no data."))
            } else {
                let range = (low, high.max(low + 1e-3));
                let picture = Frame::ramp("", layer.view(), Ramp::Viridis, range);
                page.frames(&format!("{id}, {what}."), &[picture], &ramp_legend(&what, Ramp::Viridis, range))
            }
        };
    }
    Ok(page)
}

/// The last two axes of an array whose others have one entry.
fn frame<T: Clone>(cube: &Cube, name: &str, values: ndarray::ArrayD<T>) -> Result<Array2<T>, Error> {
    let mut values = values;
    while values.ndim() > 2 {
        values = values.index_axis_move(Axis(0), 0);
    }
    values.into_dimensionality::<Ix2>().map_err(|error| Error::variable(cube.path(), name, error))
}

/// Codes that occur in a layer, but for 0, and their names; a code without a name is its own.
fn classes(cube: &Cube, name: &str, codes: ArrayView2<'_, u8>) -> (Vec<u8>, Vec<String>) {
    let attrs = cube.var_attrs(name);
    let known: Vec<u64> = attrs
        .get("flag_values")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_u64)
        .collect();
    let meanings = attrs.get("flag_meanings").and_then(Value::as_str).unwrap_or_default();
    let meanings: Vec<&str> = meanings.split_whitespace().collect();
    let values: Vec<u8> = (1..=u8::MAX).filter(|code| codes.iter().any(|found| found == code)).collect();
    let name_of = |&code: &u8| {
        let place = known.iter().position(|&value| value == u64::from(code));
        let meaning = place.and_then(|place| meanings.get(place));
        meaning.map_or(code.to_string(), |meaning| format!("{code} {}", meaning.replace('_', " ")))
    };
    let names = values.iter().map(name_of).collect();
    (values, names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clearest_frame_of_each_part() {
        let shares: Vec<f64> = (0..16).map(|i| if i % 2 == 0 { 0.9 } else { 0.1 }).collect();
        assert_eq!(clearest(&shares), [0, 2, 4, 6, 8, 10, 12, 14]);
        assert_eq!(clearest(&[0.2, 0.2]), [0, 1]);
        assert!(clearest(&[]).is_empty());
    }
}
