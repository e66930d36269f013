//! ERA5-like hourly weather as a public archive keeps it: one consolidated Zarr store (version 2) per region, in the
//! layout of ARCO-ERA5, with the numbers of the NetCDF files. Chunks are made when they are asked for.

use std::io::Write;

use chrono::{Duration, NaiveDate};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::{Map, Value, json};

use crate::diurnal::hour;
use crate::era5::{CELLS, FIRST_YEAR, LAST_YEAR, VARIABLES, Variable, axes};
use crate::world::World;
use crate::{Error, Region};

/// Folder of the stores on the server.
pub(crate) const FOLDER: &str = "era5.zarr";

/// Hours, rows and columns of a chunk; rows and columns do not divide the grid.
const CHUNK: [usize; 3] = [24, 4, 4];
const ZLIB_LEVEL: u32 = 1;

/// An object of a store.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Key {
    /// `.zgroup`
    Group,
    /// `.zattrs` of the store.
    GroupAttributes,
    /// `.zmetadata`: all of these documents in one.
    Consolidated,
    /// `<array>/.zarray`
    Array(usize),
    /// `<array>/.zattrs`
    Attributes(usize),
    /// `<array>/<numbers with dots>`; an axis has one chunk.
    Chunk(usize, [usize; 3]),
}

/// The object of a name below the store, `None` if there is none.
pub(crate) fn key(name: &str) -> Option<Key> {
    match name {
        ".zgroup" => return Some(Key::Group),
        ".zattrs" => return Some(Key::GroupAttributes),
        ".zmetadata" => return Some(Key::Consolidated),
        _ => {}
    }
    let (array, object) = name.split_once('/')?;
    let index = arrays().position(|known| known.name() == array)?;
    match object {
        ".zarray" => Some(Key::Array(index)),
        ".zattrs" => Some(Key::Attributes(index)),
        _ => chunk(index, object),
    }
}

/// The chunk of a name such as `12.0.1`, if the array has it.
fn chunk(index: usize, name: &str) -> Option<Key> {
    let array = arrays().nth(index)?;
    let (shape, size) = (array.shape(), array.chunk());
    let numbers = name.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<usize>>>()?;
    let canonical = numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(".") == name;
    let inside = numbers.len() == shape.len()
        && numbers.iter().zip(shape.iter().zip(&size)).all(|(k, (len, size))| k * size < *len);
    if !canonical || !inside {
        return None;
    }
    let mut at = [0; 3];
    at[..numbers.len()].copy_from_slice(&numbers);
    Some(Key::Chunk(index, at))
}

/// The bytes of an object.
///
/// # Errors
/// [`Error::Io`] if a chunk cannot be compressed.
pub(crate) fn object(world: &World, region: Region, key: Key) -> Result<Vec<u8>, Error> {
    let array = |index: usize| arrays().nth(index).unwrap_or(Array::Time);
    let document = match key {
        Key::Group => group(),
        Key::GroupAttributes => group_attributes(region),
        Key::Consolidated => consolidated(region),
        Key::Array(index) => array(index).metadata(),
        Key::Attributes(index) => array(index).attributes(),
        Key::Chunk(index, at) => {
            let raw = array(index).numbers(world, region, at);
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(ZLIB_LEVEL));
            return encoder.write_all(&raw).and_then(|()| encoder.finish()).map_err(Error::io(FOLDER));
        }
    };
    Ok(document.to_string().into_bytes())
}

/// An array of the store.
#[derive(Clone, Copy)]
enum Array {
    Time,
    Latitude,
    Longitude,
    Data(&'static Variable),
}

fn arrays() -> impl Iterator<Item = Array> {
    [Array::Time, Array::Latitude, Array::Longitude].into_iter().chain(VARIABLES.iter().map(Array::Data))
}

impl Array {
    fn name(self) -> &'static str {
        match self {
            Array::Time => "time",
            Array::Latitude => "latitude",
            Array::Longitude => "longitude",
            Array::Data(variable) => variable.archive_name,
        }
    }

    fn shape(self) -> Vec<usize> {
        match self {
            Array::Time => vec![hours()],
            Array::Latitude | Array::Longitude => vec![CELLS],
            Array::Data(_) => vec![hours(), CELLS, CELLS],
        }
    }

    fn chunk(self) -> Vec<usize> {
        match self {
            Array::Data(_) => CHUNK.to_vec(),
            _ => self.shape(),
        }
    }

    fn metadata(self) -> Value {
        let (dtype, fill) = match self {
            Array::Time => ("<i8", Value::Null),
            Array::Latitude | Array::Longitude => ("<f4", Value::Null),
            Array::Data(_) => ("<f4", json!("NaN")),
        };
        json!({
            "chunks": self.chunk(),
            "compressor": { "id": "zlib", "level": ZLIB_LEVEL },
            "dtype": dtype,
            "fill_value": fill,
            "filters": null,
            "order": "C",
            "shape": self.shape(),
            "zarr_format": 2,
        })
    }

    fn attributes(self) -> Value {
        match self {
            Array::Time => json!({
                "_ARRAY_DIMENSIONS": ["time"],
                "calendar": "proleptic_gregorian",
                "long_name": "time",
                "standard_name": "time",
                "units": "hours since 1900-01-01",
            }),
            Array::Latitude => axis("latitude", "degrees_north"),
            Array::Longitude => axis("longitude", "degrees_east"),
            Array::Data(variable) => json!({
                "_ARRAY_DIMENSIONS": ["time", "latitude", "longitude"],
                "long_name": variable.long_name,
                "short_name": variable.short_name,
                "units": variable.units,
            }),
        }
    }

    /// The little-endian numbers of a chunk, which is as large at the grid's edge as elsewhere.
    fn numbers(self, world: &World, region: Region, at: [usize; 3]) -> Vec<u8> {
        let floats = |values: &mut dyn Iterator<Item = f32>| values.flat_map(f32::to_le_bytes).collect();
        let (longitude, latitude) = axes(world, region);
        match self {
            Array::Time => {
                let epoch = NaiveDate::from_ymd_opt(1900, 1, 1).unwrap_or_default();
                let start = (first_day() - epoch).num_hours();
                (start..start + hours() as i64).flat_map(i64::to_le_bytes).collect()
            }
            Array::Latitude => floats(&mut latitude.iter().map(|degrees| *degrees as f32)),
            Array::Longitude => floats(&mut longitude.iter().map(|degrees| degrees.rem_euclid(360.0) as f32)),
            Array::Data(variable) => floats(&mut data(world, region, variable, at).into_iter()),
        }
    }
}

fn data(world: &World, region: Region, variable: &Variable, [day, row, col]: [usize; 3]) -> Vec<f32> {
    let [hours_a_day, rows, cols] = CHUNK;
    let date = first_day() + Duration::days(day as i64);
    let Some(weather) = world.weather(region, date) else { return vec![f32::NAN; hours_a_day * rows * cols] };
    let mut numbers = Vec::with_capacity(hours_a_day * rows * cols);
    for h in 0..hours_a_day {
        let hour = hour(region, &weather, h as u32);
        for cell in 0..rows * cols {
            let (row, col) = (row * rows + cell / cols, col * cols + cell % cols);
            let inside = row < CELLS && col < CELLS;
            numbers.push(if inside { variable.number(&hour, row, col) } else { f32::NAN });
        }
    }
    numbers
}

fn axis(name: &str, units: &str) -> Value {
    json!({ "_ARRAY_DIMENSIONS": [name], "long_name": name, "standard_name": name, "units": units })
}

fn group() -> Value {
    json!({ "zarr_format": 2 })
}

fn group_attributes(region: Region) -> Value {
    json!({ "title": format!("synthetic hourly weather of {region}") })
}

fn consolidated(region: Region) -> Value {
    let mut documents = Map::new();
    documents.insert(".zattrs".to_owned(), group_attributes(region));
    documents.insert(".zgroup".to_owned(), group());
    for array in arrays() {
        documents.insert(format!("{}/.zarray", array.name()), array.metadata());
        documents.insert(format!("{}/.zattrs", array.name()), array.attributes());
    }
    json!({ "metadata": documents, "zarr_consolidated_format": 1 })
}

fn first_day() -> NaiveDate {
    NaiveDate::from_ymd_opt(FIRST_YEAR, 1, 1).unwrap_or_default()
}

/// Hours of the archive.
fn hours() -> usize {
    let end = NaiveDate::from_ymd_opt(LAST_YEAR + 1, 1, 1).unwrap_or_default();
    (end - first_day()).num_hours().unsigned_abs() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_exist_and_keys_that_do_not() {
        // 2016 to 2022 are 2557 days, of which one chunk each.
        assert_eq!(hours(), 2557 * 24);
        assert_eq!(key(".zmetadata"), Some(Key::Consolidated));
        assert_eq!(key("time/0"), Some(Key::Chunk(0, [0; 3])));
        assert_eq!(key("2m_temperature/.zarray"), Some(Key::Array(3)));
        assert_eq!(key("surface_pressure/2556.1.0"), Some(Key::Chunk(5, [2556, 1, 0])));
        for absent in [
            "",
            "t2m/0.0.0",
            "time/1",
            "time/0.0",
            "surface_pressure/2557.0.0",
            "surface_pressure/0.2.0",
            "surface_pressure/0.0",
            "surface_pressure/00.0.0",
            "surface_pressure/-1.0.0",
        ] {
            assert_eq!(key(absent), None, "{absent}");
        }
    }
}
