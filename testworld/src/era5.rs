//! ERA5-like hourly weather: one NetCDF-4 file per region and year on a small 0.25° grid.

use chrono::{Datelike, NaiveDate};

use crate::diurnal::{Hour, hour};
use crate::scratch::bytes_of;
use crate::world::World;
use crate::{Error, Region};

/// Cells along each side.
pub(crate) const CELLS: usize = 6;
const STEP_DEG: f64 = 0.25;
pub(crate) const FIRST_YEAR: i32 = 2016;
pub(crate) const LAST_YEAR: i32 = 2022;

/// What ERA5 says of a variable, and where its numbers come from.
pub(crate) struct Variable {
    /// Name in the NetCDF files.
    pub(crate) short_name: &'static str,
    /// Name in the public Zarr archive.
    pub(crate) archive_name: &'static str,
    pub(crate) long_name: &'static str,
    pub(crate) units: &'static str,
    /// The value in an hour of a day at a place, which is given by its distance from the middle of the grid: -1 to 1 to
    /// the east and to the north.
    value: fn(&Hour, (f64, f64)) -> f64,
}

/// Pressure falls and rain grows a little to the north, temperature to the east; every mean over the grid is the
/// region's number. Fluxes are positive downwards, as in ERA5, so evaporation is negative.
pub(crate) const VARIABLES: [Variable; 5] = [
    Variable {
        short_name: "t2m",
        archive_name: "2m_temperature",
        long_name: "2 metre temperature",
        units: "K",
        value: |hour, (east, _)| hour.temperature_k + 0.3 * east,
    },
    Variable {
        short_name: "tp",
        archive_name: "total_precipitation",
        long_name: "Total precipitation",
        units: "m",
        value: |hour, (_, north)| hour.rain_mm * 1e-3 * (1.0 + 0.04 * north),
    },
    Variable {
        short_name: "sp",
        archive_name: "surface_pressure",
        long_name: "Surface pressure",
        units: "Pa",
        value: |hour, (_, north)| hour.pressure_pa - 120.0 * north,
    },
    Variable {
        short_name: "ssr",
        archive_name: "surface_net_solar_radiation",
        long_name: "Surface net short-wave (solar) radiation",
        units: "J m**-2",
        value: |hour, _| hour.solar_j_m2,
    },
    Variable {
        short_name: "pev",
        archive_name: "potential_evaporation",
        long_name: "Potential evaporation",
        units: "m",
        value: |hour, _| -1e-3 * hour.potential_evaporation_mm,
    },
];

impl Variable {
    /// The number that is stored for an hour at a cell, rows from north to south.
    pub(crate) fn number(&self, hour: &Hour, row: usize, col: usize) -> f32 {
        let centred = |k: usize| 2.0 * k as f64 / (CELLS - 1) as f64 - 1.0;
        (self.value)(hour, (centred(col), -centred(row))) as f32
    }
}

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
pub(crate) fn axes(world: &World, region: Region) -> (Vec<f64>, Vec<f64>) {
    let middle = world.active_bbox(region).center();
    let first = |centre: f64| ((centre / STEP_DEG).round() - (CELLS / 2) as f64) * STEP_DEG;
    let (west, south) = (first(middle.x), first(middle.y));
    let step = |k: usize| k as f64 * STEP_DEG;
    ((0..CELLS).map(|k| west + step(k)).collect(), (0..CELLS).rev().map(|k| south + step(k)).collect())
}

fn write(world: &World, region: Region, year: i32, path: &std::path::Path) -> Result<(), netcdf::Error> {
    let hours: Vec<Hour> = NaiveDate::from_ymd_opt(year, 1, 1)
        .unwrap_or_default()
        .iter_days()
        .take_while(|day| day.year() == year)
        .filter_map(|day| world.weather(region, day))
        .flat_map(|day| (0..24).map(move |h| hour(region, &day, h)))
        .collect();
    let (longitude, latitude) = axes(world, region);

    let mut file = netcdf::create(path)?;
    file.add_attribute("Conventions", "CF-1.6")?;
    file.add_attribute("title", format!("synthetic hourly weather of {region}, {year}"))?;
    file.add_dimension("time", hours.len())?;
    file.add_dimension("latitude", CELLS)?;
    file.add_dimension("longitude", CELLS)?;
    put_axis(&mut file, "longitude", "degrees_east", &longitude)?;
    put_axis(&mut file, "latitude", "degrees_north", &latitude)?;
    put_time(&mut file, year, hours.len())?;
    for variable in &VARIABLES {
        let numbers = hours.iter().flat_map(|hour| {
            (0..CELLS * CELLS).map(move |cell| variable.number(hour, cell / CELLS, cell % CELLS))
        });
        let data: Vec<f32> = numbers.collect();
        let mut stored = file.add_variable::<f32>(variable.short_name, &["time", "latitude", "longitude"])?;
        stored.set_chunking(&[24 * 31, CELLS, CELLS])?;
        stored.set_compression(1, true)?;
        stored.put_attribute("long_name", variable.long_name)?;
        stored.put_attribute("units", variable.units)?;
        stored.put_values(&data, ..)?;
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
