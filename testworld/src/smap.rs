//! SMAP-Level-4-like soil moisture: three-hourly HDF5 granules on the global 9 km grid, in which only the chunks
//! around the two regions are stored.
//!
//! All granules share their structure, so HDF5 makes one template; a granule is the template with other numbers in its
//! chunks. That costs microseconds and gives the same bytes every time.

use std::sync::OnceLock;

use chrono::{Duration, NaiveDate, NaiveDateTime};
use hdf5::types::VarLenUnicode;
use ndarray::Array2;

use crate::diurnal::hour;
use crate::ease2::{COLS, ROWS, cell_center, cell_of, inverse};
use crate::scratch::bytes_of;
use crate::world::World;
use crate::{Error, Region, Weather};

/// Name of the data set, the folder under `/smap`.
pub(crate) const PRODUCT: &str = "SPL4SMGP.007";
/// Granules a day.
const GRANULES: u32 = 8;
const CHUNK_ROWS: usize = 28;
const CHUNK_COLS: usize = 32;
const FILL: f32 = -9999.0;

/// Name, units and long name of a variable, and its value in a three-hour span.
type Variable = (&'static str, &'static str, &'static str, fn(&Span<'_>) -> f64);

const VARIABLES: [Variable; 6] = [
    ("sm_surface", "m3 m-3", "Top layer soil moisture (0-5 cm)", |span| span.soil(|day| day.soil_surface)),
    ("sm_rootzone", "m3 m-3", "Root zone soil moisture (0-100 cm)", |span| {
        span.soil(|day| day.soil_root_zone)
    }),
    ("surface_pressure", "Pa", "Surface pressure", |span| span.mean(|hour| hour.pressure_pa)),
    ("surface_temp", "K", "Mean land surface temperature", |span| span.mean(|hour| hour.temperature_k)),
    ("precipitation_total_surface_flux", "kg m-2 s-1", "Total surface precipitation flux", |span| {
        span.mean(|hour| hour.rain_mm) / 3600.0
    }),
    ("net_downward_shortwave_flux", "W m-2", "Net downward shortwave flux", |span| {
        span.mean(|hour| hour.solar_j_m2) / 3600.0
    }),
];

/// Three hours of a day.
struct Span<'a> {
    region: Region,
    day: &'a Weather,
    before: &'a Weather,
    first_hour: u32,
}

impl Span<'_> {
    fn mean(&self, value: fn(&crate::diurnal::Hour) -> f64) -> f64 {
        (0..3).map(|k| value(&hour(self.region, self.day, self.first_hour + k))).sum::<f64>() / 3.0
    }

    /// Soil moisture goes from the evening of the day before to the evening of the day in a straight line, shifted so
    /// that the mean over the day's granules is the daily number.
    fn soil(&self, value: fn(&Weather) -> f64) -> f64 {
        let (before, day) = (value(self.before), value(self.day));
        day + (f64::from(self.first_hour) + 1.5 - 12.0) / 24.0 * (day - before) * 0.5
    }
}

/// Names of a day's granules in order of time.
pub(crate) fn granules(date: NaiveDate) -> Vec<String> {
    (0..GRANULES)
        .map(|k| format!("SMAP_L4_SM_gph_{}T{:02}3000_Vv7032_001.h5", date.format("%Y%m%d"), 3 * k + 1))
        .collect()
}

/// Where a chunk's numbers lie in the template.
#[derive(Debug)]
struct Slot {
    at: usize,
    variable: usize,
    region: Region,
    first_row: usize,
    first_col: usize,
}

/// The file that all granules share.
#[derive(Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    time_at: usize,
}

/// The bytes of a granule, `None` if there is no such name on the day.
pub(crate) fn granule(
    world: &World,
    template: &OnceLock<Template>,
    date: NaiveDate,
    name: &str,
) -> Option<Result<Vec<u8>, Error>> {
    let index = granules(date).iter().position(|known| known == name)? as u32;
    Some(shared(world, template).map(|template| fill(world, template, date, 3 * index)))
}

/// Bytes of every granule.
pub(crate) fn size(world: &World, template: &OnceLock<Template>) -> Result<usize, Error> {
    shared(world, template).map(|template| template.bytes.len())
}

fn shared<'a>(world: &World, template: &'a OnceLock<Template>) -> Result<&'a Template, Error> {
    if let Some(ready) = template.get() {
        return Ok(ready);
    }
    let made = make_template(world)?;
    Ok(template.get_or_init(|| made))
}

fn fill(world: &World, template: &Template, date: NaiveDate, first_hour: u32) -> Vec<u8> {
    let mut bytes = template.bytes.clone();
    for slot in &template.slots {
        let today = world.weather(slot.region, date);
        let Some(day) = today else { continue };
        let before = world.weather(slot.region, date - Duration::days(1)).unwrap_or(day);
        let span = Span { region: slot.region, day: &day, before: &before, first_hour };
        let value = VARIABLES[slot.variable].3(&span);
        for cell in 0..CHUNK_ROWS * CHUNK_COLS {
            let (row, col) = (slot.first_row + cell / CHUNK_COLS, slot.first_col + cell % CHUNK_COLS);
            let local = if slot.variable < 2 { value * spread(row, col) } else { value };
            bytes[slot.at + 4 * cell..][..4].copy_from_slice(&(local as f32).to_le_bytes());
        }
    }
    let middle = date.and_hms_opt(first_hour + 1, 30, 0).unwrap_or_default();
    bytes[template.time_at..][..8].copy_from_slice(&seconds(middle).to_le_bytes());
    bytes
}

/// Soil moisture differs by up to 4 % from cell to cell.
fn spread(row: usize, col: usize) -> f64 {
    1.0 + 0.04 * (0.9 * row as f64).sin() * (0.7 * col as f64).cos()
}

/// Seconds since 2000-01-01 11:58:55.816 UTC, the J2000 epoch of the product.
fn seconds(moment: NaiveDateTime) -> f64 {
    let epoch = NaiveDate::from_ymd_opt(2000, 1, 1)
        .and_then(|day| day.and_hms_milli_opt(11, 58, 55, 816))
        .unwrap_or_default();
    (moment - epoch).num_milliseconds() as f64 / 1000.0
}

/// Chunks that hold a region's active window with a margin of a cell.
fn chunks(world: &World, region: Region) -> Vec<(usize, usize)> {
    let corners = world.land(region).footprint().map(cell_of);
    let rows = corners.map(|(row, _)| row);
    let cols = corners.map(|(_, col)| col);
    let span = |cells: [usize; 4], size: usize| {
        let first = cells.iter().min().map_or(0, |c| (c - 1) / size);
        let last = cells.iter().max().map_or(0, |c| (c + 1) / size);
        first..=last
    };
    let cols = span(cols, CHUNK_COLS);
    span(rows, CHUNK_ROWS)
        .flat_map(|row| cols.clone().map(move |col| (row * CHUNK_ROWS, col * CHUNK_COLS)))
        .collect()
}

fn make_template(world: &World) -> Result<Template, Error> {
    let places: Vec<(Region, (usize, usize))> = Region::ALL
        .iter()
        .flat_map(|&region| chunks(world, region).into_iter().map(move |chunk| (region, chunk)))
        .collect();
    let name = "template.h5";
    let failed = |source| Error::Hdf5 { name: name.to_owned(), source };
    let bytes = bytes_of(name, |path| write(path, &places).map_err(failed))?;
    let find = |marker: &[u8]| {
        bytes.windows(marker.len()).position(|window| window == marker).ok_or_else(|| Error::Inconsistent {
            name: name.to_owned(),
            reason: "a chunk's marker is not in the file".to_owned(),
        })
    };
    let mut slots = Vec::new();
    for variable in 0..VARIABLES.len() {
        for (place, &(region, (first_row, first_col))) in places.iter().enumerate() {
            let marker: Vec<u8> = (0..4).flat_map(|k| mark(variable, place, k).to_le_bytes()).collect();
            slots.push(Slot { at: find(&marker)?, variable, region, first_row, first_col });
        }
    }
    let time_at = find(&TIME_MARK.to_le_bytes())?;
    Ok(Template { bytes, slots, time_at })
}

const TIME_MARK: f64 = -7.654_321e77;

/// A number that is nowhere else in the template: which variable, which chunk, which cell.
fn mark(variable: usize, place: usize, cell: usize) -> f32 {
    -1e30 * (1.0 + variable as f32 + 0.05 * place as f32) - 1e25 * cell as f32
}

fn write(path: &std::path::Path, places: &[(Region, (usize, usize))]) -> hdf5::Result<()> {
    let file = hdf5::File::create(path)?;
    let dataset = |group: &hdf5::Group, name: &str| -> hdf5::Result<hdf5::Dataset> {
        let data = group
            .new_dataset::<f32>()
            .chunk((CHUNK_ROWS, CHUNK_COLS))
            .fill_value(FILL)
            .obj_track_times(false)
            .shape((ROWS, COLS))
            .create(name)?;
        data.new_attr::<f32>().create("_FillValue")?.write_scalar(&FILL)?;
        Ok(data)
    };
    let put = |data: &hdf5::Dataset, (row, col): (usize, usize), value: &dyn Fn(usize, usize) -> f32| {
        let block = Array2::from_shape_fn((CHUNK_ROWS, CHUNK_COLS), |(r, c)| value(r, c));
        data.write_slice(&block, (row..row + CHUNK_ROWS, col..col + CHUNK_COLS))
    };
    let group = file.create_group("Geophysical_Data")?;
    for (index, (name, units, long_name, _)) in VARIABLES.iter().enumerate() {
        let data = dataset(&group, name)?;
        attribute(&data, "units", units)?;
        attribute(&data, "long_name", long_name)?;
        for (place, (_, chunk)) in places.iter().enumerate() {
            put(&data, *chunk, &|row, col| mark(index, place, row * CHUNK_COLS + col))?;
        }
    }
    for (name, units) in [("cell_lat", "degrees_north"), ("cell_lon", "degrees_east")] {
        let data = dataset(&file, name)?;
        attribute(&data, "units", units)?;
        for (_, chunk) in places {
            let at = |row: usize, col: usize| inverse(cell_center(chunk.0 + row, chunk.1 + col));
            put(
                &data,
                *chunk,
                &|row, col| if name == "cell_lat" { at(row, col).lat } else { at(row, col).lon } as f32,
            )?;
        }
    }
    let x: Vec<f64> = (0..COLS).map(|col| cell_center(0, col).x).collect();
    let y: Vec<f64> = (0..ROWS).map(|row| cell_center(row, 0).y).collect();
    for (name, values) in [("x", x), ("y", y)] {
        let axis = file.new_dataset_builder().obj_track_times(false).with_data(&values).create(name)?;
        attribute(&axis, "units", "m")?;
        attribute(&axis, "long_name", "EASE-Grid 2.0 coordinate of the cell centre (EPSG:6933)")?;
    }
    let time = file.new_dataset_builder().obj_track_times(false).with_data(&[TIME_MARK]).create("time")?;
    attribute(&time, "units", "seconds since 2000-01-01 11:58:55.816")?;
    file.close()
}

fn attribute(data: &hdf5::Dataset, name: &str, value: &str) -> hdf5::Result<()> {
    let text: VarLenUnicode =
        value.parse().map_err(|_| hdf5::Error::Internal(format!("{name}: not a text")))?;
    data.new_attr::<VarLenUnicode>().create(name)?.write_scalar(&text)
}
