//! One tile of Level 1 to one store of Level 2.

use std::ops::Range;
use std::path::Path;

use chrono::Datelike;
use minicube::{CubeWriter, DType, from_cf_day};
use ndarray::Array2;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde_json::Map;

use crate::leave_out::{LeftOut, leave_out, trial_pixels};
use crate::level1::{DailySeries, Level1, Observations, Static};
use crate::plan::{CubeRef, Plan, Unit};
use crate::seasonal::Seasonal;
use crate::settings::Settings;
use crate::starts::draw_starts;
use crate::store::{
    Layout, Sample, StaticVar, WeatherVar, write_coordinates, write_left_out, write_maps, write_static,
    write_weather,
};
use crate::weather::step_statistics;
use crate::{Error, FillPlan, LANES, Method, Steps, usable_steps};

/// What a store is derived from.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    /// The Level-1 store.
    pub(crate) path: &'a Path,
    /// Its cubes that count.
    pub(crate) cubes: &'a [CubeRef],
    /// First and last year of the samples and of every observation that they are made from.
    pub(crate) years: Option<[i32; 2]>,
    /// First and last year of the pixels' climatology.
    pub(crate) climatology: Option<[i32; 2]>,
}

/// Where the samples of a unit begin.
struct Draw<'a> {
    cube: &'a CubeRef,
    /// Number of the cube's first sample in the store, and the steps of its samples.
    first: usize,
    windows: Vec<Steps>,
}

/// Derives the samples of the cubes and seals them as one store. A store that a kill interrupted is gone on with.
///
/// Where the samples have years, no observation of another year counts: not for the filling at their ends either.
///
/// Memory: per thread one cube of Level 1 as stored and the samples' maps of one cube.
///
/// # Errors
/// [`Error::ShortSeries`] if the acquisitions do not cover a sample, [`Error::Shared`] if a store cannot be read or
/// written.
pub(crate) fn derive_tile(
    input: Input<'_>,
    unit: &Unit,
    settings: &Settings,
    plan: &Plan,
) -> Result<(), Error> {
    let mut level1 = Level1::open(input.path)?;
    if let Some(years) = input.years {
        level1 = level1.within(years);
    }
    let seasonal = input.climatology.map(|years| Seasonal::open(input.path, years, settings)).transpose()?;
    let draws = draw(&level1, &input, settings)?;
    let samples = samples(&level1, &draws)?;
    let series = input.cubes.iter().map(|cube| level1.daily(cube.index)).collect::<Result<Vec<_>, _>>()?;
    let statics = level1.statics();
    let layout = layout(&level1, &samples, &series, &statics, unit, settings);
    let mut spec = layout.spec();
    if let Some(seasonal) = &seasonal {
        spec = seasonal.extend(spec, level1.size, settings);
    }
    let writer = plan.writer(unit, &spec)?;

    if !writer.is_done("coordinates") {
        write_coordinates(&writer, &samples)?;
        write_series(&writer, &draws, &series, settings)?;
        layout.write_leave_out_axes(&writer)?;
        writer.mark_done("coordinates")?;
    }
    let work = Work { level1: &level1, seasonal: seasonal.as_ref(), samples: &samples, statics: &statics };
    draws.par_iter().try_for_each(|draw| derive_cube(&work, draw, &writer, settings))?;
    writer.seal()?;
    Ok(())
}

/// What the cubes of a store have in common.
struct Work<'a> {
    level1: &'a Level1,
    seasonal: Option<&'a Seasonal>,
    samples: &'a [Sample],
    statics: &'a [(String, DType, Map<String, serde_json::Value>)],
}

fn draw<'a>(level1: &Level1, input: &Input<'a>, settings: &Settings) -> Result<Vec<Draw<'a>>, Error> {
    let (first, last) = settings.days_of(input.years);
    let usable = usable_steps((first, last), &level1.days, settings.step_days, settings.steps);
    let wanted = settings.steps + settings.samples_per_cube - 1;
    if usable.len < wanted {
        return Err(Error::ShortSeries {
            path: input.path.to_owned(),
            expected: wanted,
            first: first.year(),
            last: last.year(),
            found: usable.len,
            step_days: settings.step_days,
        });
    }
    let windows = |cube: &CubeRef| {
        draw_starts(&usable, settings.steps, settings.samples_per_cube, settings.seed, cube.seed)
            .into_iter()
            .map(|start| usable.window(start, settings.steps))
            .collect()
    };
    let draws = input.cubes.iter().enumerate();
    Ok(draws
        .map(|(i, cube)| Draw { cube, first: i * settings.samples_per_cube, windows: windows(cube) })
        .collect())
}

fn samples(level1: &Level1, draws: &[Draw<'_>]) -> Result<Vec<Sample>, Error> {
    let centres = level1.centres()?;
    let (xc, yc) = level1.pixel_centres()?;
    let mut samples = Vec::new();
    for draw in draws {
        let index = draw.cube.index;
        for &steps in &draw.windows {
            samples.push(Sample {
                id: format!("{}_{}", draw.cube.id, from_cf_day(steps.first_day).format("%Y%m%d")),
                cube_id: draw.cube.id.clone(),
                lon: centres[index].0,
                lat: centres[index].1,
                steps,
                xc: xc.row(index).to_vec(),
                yc: yc.row(index).to_vec(),
            });
        }
    }
    Ok(samples)
}

fn layout(
    level1: &Level1,
    samples: &[Sample],
    series: &[DailySeries],
    statics: &[(String, DType, Map<String, serde_json::Value>)],
    unit: &Unit,
    settings: &Settings,
) -> Layout {
    let weather = series.first().into_iter().flatten().flat_map(|(name, daily)| {
        settings.statistics_of(name).iter().map(move |statistic| {
            let stat = statistic.name();
            let mut attrs = daily.attrs.clone();
            attrs.remove("cell_methods");
            attrs.insert("long_name".into(), format!("{stat} of {name} over the days of the step").into());
            WeatherVar { name: format!("{name}_{stat}"), attrs, window: None }
        })
    });
    let statics = statics.iter().cloned();
    let mut attrs = Map::new();
    attrs.insert("fill".into(), serde_json::json!(settings.fill));
    attrs.insert("extrapolate".into(), serde_json::json!(settings.extrapolate));
    attrs.insert("scl_clear".into(), serde_json::json!(settings.scl_clear));
    if settings.screen.is_on() {
        attrs.insert("screen".into(), serde_json::json!(settings.screen));
    }
    Layout {
        tile: unit.tile.clone(),
        epsg: level1.epsg,
        source: "minicube",
        samples: samples.len(),
        steps: settings.steps,
        step_days: settings.step_days,
        rows: level1.size.0,
        cols: level1.size.1,
        context_steps: settings.context_steps,
        bands: settings.bands.iter().map(|(name, _)| name.clone()).collect(),
        indices: settings.indices.clone(),
        weather: weather.collect(),
        statics: statics.map(|(name, dtype, attrs)| StaticVar { name, dtype, attrs }).collect(),
        compared: settings.compared.iter().map(Method::name).collect(),
        attrs,
    }
}

/// Statistics per step of all weather variables of all samples.
fn write_series(
    writer: &CubeWriter,
    draws: &[Draw<'_>],
    series: &[DailySeries],
    settings: &Settings,
) -> Result<(), Error> {
    let samples = draws.iter().map(|draw| draw.windows.len()).sum();
    for name in series.first().into_iter().flat_map(DailySeries::keys) {
        let chosen = settings.statistics_of(name);
        let mut statistics = vec![Array2::from_elem((samples, settings.steps), f32::NAN); chosen.len()];
        for (draw, series) in draws.iter().zip(series) {
            let Some(daily) = series.get(name) else { continue };
            for (k, window) in draw.windows.iter().enumerate() {
                let found = step_statistics(&daily.days, &daily.values, window);
                for (values, &statistic) in statistics.iter_mut().zip(chosen) {
                    values.row_mut(draw.first + k).assign(&ndarray::aview1(found.series(statistic)));
                }
            }
        }
        for (statistic, values) in chosen.iter().zip(statistics) {
            write_weather(writer, &format!("{name}_{}", statistic.name()), &values.into_dyn())?;
        }
    }
    Ok(())
}

/// Masks, fills and writes the samples of one cube that are not written yet.
fn derive_cube(
    work: &Work<'_>,
    draw: &Draw<'_>,
    writer: &CubeWriter,
    settings: &Settings,
) -> Result<(), Error> {
    let Work { level1, seasonal, samples, statics } = *work;
    let pending: Vec<usize> = (draw.first..draw.first + draw.windows.len())
        .filter(|&sample| !writer.is_done(&samples[sample].id))
        .collect();
    if pending.is_empty() {
        return Ok(());
    }
    let seasons = seasonal.map(|seasonal| seasonal.of_cube(draw.cube.index, settings)).transpose()?;
    let names: Vec<String> = settings.bands.iter().map(|(name, _)| name.clone()).collect();
    let observations = level1.observations(draw.cube.index, settings)?;
    let left_out =
        (!settings.compared.is_empty()).then(|| errors(level1, draw.cube, &observations, settings));
    for sample in pending {
        let plan =
            FillPlan::new(&level1.days, samples[sample].steps, settings.extrapolate).with(&settings.fill);
        let (rows, cols) = level1.size;
        let filled = plan.fill(rows * cols, names.len(), |time, pixels, valid, values| {
            observations.load(time, pixels, valid, values);
        });
        write_maps(writer, sample, level1.size, &names, &settings.indices, &filled)?;
        for (name, dtype, _) in statics {
            match level1.read_static(name, *dtype, draw.cube.index)? {
                Static::Classes(values) => write_static(writer, name, sample, values.view())?,
                Static::Numbers(values) => write_static(writer, name, sample, values.view())?,
            }
        }
        if let (Some(seasonal), Some(seasons)) = (seasonal, &seasons) {
            seasonal.write(writer, sample, &samples[sample].steps, seasons, level1.size)?;
        }
        if let Some(left_out) = &left_out {
            write_left_out(writer, sample, left_out)?;
        }
        writer.mark_done(&samples[sample].id)?;
    }
    Ok(())
}

/// The errors of the compared fillings on a part of the cube's pixels.
fn errors(level1: &Level1, cube: &CubeRef, observations: &Observations, settings: &Settings) -> LeftOut {
    let bands = (settings.bands.len(), (settings.place_of("red"), settings.place_of("nir")));
    let pixels = trial_pixels(level1.size.0, level1.size.1);
    let mut seed = *b"........................x4 leave";
    seed[..8].copy_from_slice(&settings.seed.to_le_bytes());
    seed[8..16].copy_from_slice(&cube.seed.to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(seed);
    let load = |time: usize, pixels: Range<usize>, valid: &mut [u8], values: &mut [[f32; LANES]]| {
        observations.load(time, pixels, valid, values);
    };
    leave_out(&level1.days, &pixels, bands, &settings.compared, settings.leave_out, &mut rng, load)
}
