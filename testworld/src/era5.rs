//! ERA5-like hourly weather: one NetCDF-4 file per region and year on a small 0.25° grid.

use chrono::{Datelike, NaiveDate};

use crate::diurnal::hour;
use crate::scratch::bytes_of;
use crate::world::World;
use crate::{Error, Region, Weather};

/// Cells along each side.
const CELLS: usize = 6;
const STEP_DEG: f64 = 0.25;
const FIRST_YEAR: i32 = 2016;
const LAST_YEAR: i32 = 2022;

/// Name, long name and units of a variable, and its value in an hour of a day at a cell.
type Variable = (&'static str, &'static str, &'static str, fn(Region, &Weather, u32, (f64, f64)) -> f64);

/// Pressure falls and rain grows a little to the north, temperature to the east; every mean over the grid is the
/// region's number. Fluxes are positive downwards, as in ERA5, so evaporation is negative.
const VARIABLES: [Variable; 5] = [
    ("t2m", "2 metre temperature", "K", |region, day, h, (east, _)| {
        hour(region, day, h).temperature_k + 0.3 * east
    }),
    ("tp", "Total precipitation", "m", |region, day, h, (_, north)| {
        hour(region, day, h).rain_mm * 1e-3 * (1.0 + 0.04 * north)
    }),
    ("sp", "Surface pressure", "Pa", |region, day, h, (_, north)| {
        hour(region, day, h).pressure_pa - 120.0 * north
    }),
    ("ssr", "Surface net short-wave (solar) radiation", "J m**-2", |region, day, h, _| {
        hour(region, day, h).solar_j_m2
    }),
    ("pev", "Potential evaporation", "m", |region, day, h, _| {
        -1e-3 * hour(region, day, h).potential_evaporation_mm
    }),
];

/// File names of a region, one a year.
pub(crate) fn names(region: Region) -> Vec<String> {
    (FIRST_YEAR..=LAST_YEAR).map(|year| format!("era5_{region}_{year}.nc")).collect()
}

/// The bytes of a file, `None` if there is no such name.
pub(crate) fn file(world: &World, region: Region, name: &str) -> Option<Result<Vec<u8>, Error>> {
    let year = names(region).iter().position(|known| known == name)? as i32 + FIRST_YEAR;
    Some(bytes_of(name, |path| {
        write(world, region, year, path).map_err(|source| Error::NetCdf { name: name.to_owned(), source })
    }))
}

/// Longitudes (ascending) and latitudes (descending) of the cell centres.
fn axes(world: &World, region: Region) -> (Vec<f64>, Vec<f64>) {
    let middle = world.active_bbox(region).center();
    let first = |centre: f64| ((centre / STEP_DEG).round() - (CELLS / 2) as f64) * STEP_DEG;
    let (west, south) = (first(middle.x), first(middle.y));
    let step = |k: usize| k as f64 * STEP_DEG;
    ((0..CELLS).map(|k| west + step(k)).collect(), (0..CELLS).rev().map(|k| south + step(k)).collect())
}

fn write(world: &World, region: Region, year: i32, path: &std::path::Path) -> Result<(), netcdf::Error> {
    let days: Vec<Weather> = NaiveDate::from_ymd_opt(year, 1, 1)
        .unwrap_or_default()
        .iter_days()
        .take_while(|day| day.year() == year)
        .filter_map(|day| world.weather(region, day))
        .collect();
    let hours = days.len() * 24;
    let (longitude, latitude) = axes(world, region);

    let mut file = netcdf::create(path)?;
    file.add_attribute("Conventions", "CF-1.6")?;
    file.add_attribute("title", format!("synthetic hourly weather of {region}, {year}"))?;
    file.add_dimension("time", hours)?;
    file.add_dimension("latitude", CELLS)?;
    file.add_dimension("longitude", CELLS)?;
    put_axis(&mut file, "longitude", "degrees_east", &longitude)?;
    put_axis(&mut file, "latitude", "degrees_north", &latitude)?;
    put_time(&mut file, year, hours)?;
    for (name, long_name, units, value) in VARIABLES {
        let mut data = Vec::with_capacity(hours * CELLS * CELLS);
        for day in &days {
            for hour in 0..24 {
                for cell in 0..CELLS * CELLS {
                    let centred = |k: usize| 2.0 * k as f64 / (CELLS - 1) as f64 - 1.0;
                    let place = (centred(cell % CELLS), -centred(cell / CELLS));
                    data.push(value(region, day, hour, place) as f32);
                }
            }
        }
        let mut variable = file.add_variable::<f32>(name, &["time", "latitude", "longitude"])?;
        variable.set_chunking(&[24 * 31, CELLS, CELLS])?;
        variable.set_compression(1, true)?;
        variable.put_attribute("long_name", long_name)?;
        variable.put_attribute("units", units)?;
        variable.put_values(&data, ..)?;
    }
    file.close()
}

fn put_axis(
    file: &mut netcdf::FileMut,
    name: &str,
    units: &str,
    values: &[f64],
) -> Result<(), netcdf::Error> {
    let mut axis = file.add_variable::<f64>(name, &[name])?;
    axis.put_attribute("units", units)?;
    axis.put_attribute("standard_name", name)?;
    axis.put_values(values, ..)
}

fn put_time(file: &mut netcdf::FileMut, year: i32, hours: usize) -> Result<(), netcdf::Error> {
    let epoch = NaiveDate::from_ymd_opt(1900, 1, 1).unwrap_or_default();
    let first = NaiveDate::from_ymd_opt(year, 1, 1).unwrap_or_default();
    let start = (first - epoch).num_hours() as i32;
    let values: Vec<i32> = (0..hours as i32).map(|hour| start + hour).collect();
    let mut time = file.add_variable::<i32>("time", &["time"])?;
    time.put_attribute("units", "hours since 1900-01-01 00:00:00.0")?;
    time.put_attribute("calendar", "gregorian")?;
    time.put_attribute("long_name", "start of the hour over which tp, ssr and pev are accumulated")?;
    time.put_attribute("standard_name", "time")?;
    time.put_values(&values, ..)
}
