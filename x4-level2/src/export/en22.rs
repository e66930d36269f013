//! The layout `en22`: what the EarthNet2022 loader of earthnet-models-pytorch reads (the DeepCube demo bundles it). Images are
//! `[y, x, time]`, `dem` and `lc` are `[y, x]`, weather is `[time]`. The units of the weather follow from the means and standard
//! deviations that the loader has written in.

use minicube::Cube;
use ndarray::{ArrayD, ArrayViewD, Axis};

use super::cf::file_attributes;
use super::file::{NcFile, NcVar, Values};
use crate::Error;

/// Images in our names and theirs.
const IMAGES: [&str; 6] = ["blue", "green", "red", "nir", "mask", "dist_mask"];
/// Static layers in our names and theirs.
const LAYERS: [(&str, &str); 2] = [("static/dem", "dem"), ("static/landcover", "lc")];
const STATISTICS: [&str; 3] = ["max", "mean", "min"];

/// A weather variable of the loader: its name, its units, and what a value in each of our units is multiplied with.
struct Weather {
    name: &'static str,
    units: &'static str,
    from: &'static [(&'static str, f64)],
}

/// The loader's table. Its mean of evaporation is −1.8e-4 (metres an hour, as ERA5 stores it), of surface pressure from ERA5 89
/// (kPa), from SMAP 707 (eight three-hourly values of 88 kPa added up), of radiation 16 (MJ m⁻² a day), of rain 3.2 (mm a day).
const WEATHER: [Weather; 8] = [
    Weather { name: "pev", units: "m h-1", from: &[("m", 1.0 / 24.0), ("mm", 1e-3 / 24.0)] },
    Weather { name: "sm_rootzone", units: "m3 m-3", from: &[("m3 m-3", 1.0)] },
    Weather { name: "sm_surface", units: "m3 m-3", from: &[("m3 m-3", 1.0)] },
    Weather { name: "sp", units: "kPa", from: &[("Pa", 1e-3), ("hPa", 0.1)] },
    Weather {
        name: "ssr",
        units: "MJ m-2 d-1",
        from: &[("J m-2", 1e-6), ("J m**-2", 1e-6), ("MJ m-2", 1.0)],
    },
    Weather { name: "surface_pressure", units: "8 kPa", from: &[("Pa", 8e-3), ("hPa", 0.8)] },
    Weather { name: "t2m", units: "K", from: &[("K", 1.0)] },
    Weather { name: "tp", units: "mm d-1", from: &[("m", 1e3), ("mm", 1.0)] },
];

/// Fails where the store lacks what the loader needs, naming all of it.
///
/// # Errors
/// [`Error::Variable`].
pub(super) fn check(cube: &Cube) -> Result<(), Error> {
    let weather = WEATHER.iter().flat_map(|weather| {
        STATISTICS.iter().map(move |statistic| format!("weather/{}_{statistic}", weather.name))
    });
    let layers = LAYERS.iter().map(|(ours, _)| (*ours).to_owned());
    let images = IMAGES.iter().map(|name| (*name).to_owned());
    let missing: Vec<String> = images.chain(layers).chain(weather).filter(|name| !cube.has(name)).collect();
    let Some(first) = missing.first() else { return Ok(()) };
    let found: Vec<String> = cube.vars().into_iter().filter(|name| name.starts_with("weather/")).collect();
    Err(Error::Loader {
        path: cube.path().to_owned(),
        variable: first.clone(),
        missing: missing.join(", "),
        found: found.join(", "),
    })
}

/// A sample as a file.
///
/// # Errors
/// [`Error::Shared`] if the store cannot be read, [`Error::Variable`] for weather in units that are not known.
pub(super) fn sample(cube: &Cube, sample: usize) -> Result<NcFile, Error> {
    let mut file = NcFile { attrs: file_attributes(cube, sample)?, ..NcFile::default() };
    file.attrs.insert("title".into(), "Minicube in the layout of the EarthNet2022 loader".into());
    let maps = cube.shape("mask")?;
    file.dims
        .extend([("y", 2), ("x", 3), ("time", 1)].map(|(name, axis)| (name.to_owned(), maps[axis] as usize)));
    let ends = Values::read(cube, "date", sample)?;
    let mut time = NcVar::new("time", &["time"], ends);
    time.attrs = cube.var_attrs("date");
    time.attrs.remove("_zarrs");
    file.vars.push(time);
    for name in IMAGES {
        let values = match Values::read(cube, name, sample)? {
            Values::U8(maps) => Values::U8(time_last(maps.view())),
            Values::I16(maps) => Values::I16(time_last(maps.view())),
            Values::F32(maps) => Values::F32(time_last(maps.view())),
            other => other,
        };
        file.vars.push(NcVar::new(name, &["y", "x", "time"], values));
    }
    for (ours, theirs) in LAYERS {
        // The loader looks for NaN in the land cover, which integers have not.
        let values = match Values::read(cube, ours, sample)? {
            Values::U8(classes) => Values::F32(classes.mapv(f32::from)),
            other => other,
        };
        file.vars.push(NcVar::new(theirs, &["y", "x"], values));
    }
    for weather in &WEATHER {
        for statistic in STATISTICS {
            let name = format!("{}_{statistic}", weather.name);
            let ours = format!("weather/{name}");
            let factor = factor(cube, &ours, weather)?;
            let Values::F32(values) = Values::read(cube, &ours, sample)? else { continue };
            let series = over_window(&values).mapv(|value| (f64::from(value) * factor) as f32);
            file.vars.push(NcVar::new(name, &["time"], Values::F32(series)).attr("units", weather.units));
        }
    }
    Ok(file)
}

fn factor(cube: &Cube, variable: &str, weather: &Weather) -> Result<f64, Error> {
    let attrs = cube.var_attrs(variable);
    let units = attrs.get("units").and_then(|units| units.as_str()).unwrap_or("none");
    let known = weather.from.iter().find(|(ours, _)| *ours == units);
    known.map(|(_, factor)| *factor).ok_or_else(|| Error::Variable {
        path: cube.path().to_owned(),
        variable: variable.to_owned(),
        expected: weather.from.iter().map(|(units, _)| *units).collect::<Vec<_>>().join(" or "),
        found: format!("units {units}"),
    })
}

/// `[time, y, x]` as `[y, x, time]`.
fn time_last<T: Copy>(maps: ArrayViewD<'_, T>) -> ArrayD<T> {
    maps.permuted_axes(vec![1, 2, 0]).as_standard_layout().into_owned()
}

/// `[time]`, the mean over the cells of a window where there is one; NaN where all cells are.
fn over_window(values: &ArrayD<f32>) -> ArrayD<f32> {
    if values.ndim() == 1 {
        return values.clone();
    }
    let mean = |cells: ArrayViewD<'_, f32>| {
        let known = cells.iter().copied().filter(|value| value.is_finite());
        let (sum, n) = known.fold((0.0, 0u32), |(sum, n), value| (sum + f64::from(value), n + 1));
        (sum / f64::from(n)) as f32
    };
    values.axis_iter(Axis(0)).map(mean).collect::<ndarray::Array1<f32>>().into_dyn()
}
