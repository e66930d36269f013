//! A NetCDF4 file in memory, and on the disk whole or not at all.

use std::fs;
use std::path::Path;

use minicube::{Cube, partial_path};
use ndarray::{ArrayD, Axis};
use netcdf::AttributeValue;
use serde_json::{Map, Value};

use crate::Error;

/// Deflate level; the bytes are shuffled.
const DEFLATE: i32 = 1;
/// Greatest side of a compressed chunk.
const CHUNK: usize = 64;

/// What is written.
#[derive(Default)]
pub(super) struct NcFile {
    pub(super) attrs: Map<String, Value>,
    /// Names and lengths, in order.
    pub(super) dims: Vec<(String, usize)>,
    pub(super) vars: Vec<NcVar>,
}

/// One variable.
pub(super) struct NcVar {
    pub(super) name: String,
    pub(super) dims: Vec<&'static str>,
    pub(super) values: Values,
    pub(super) attrs: Map<String, Value>,
}

/// Values of the types that Level 2 has.
pub(super) enum Values {
    U8(ArrayD<u8>),
    I16(ArrayD<i16>),
    I32(ArrayD<i32>),
    F32(ArrayD<f32>),
    F64(ArrayD<f64>),
}

impl Values {
    /// Reads a variable of one sample, without the axis of samples.
    ///
    /// # Errors
    /// [`Error::Shared`] if it is not there or cannot be read, [`Error::Variable`] if it is of another type.
    pub(super) fn read(cube: &Cube, name: &str, sample: usize) -> Result<Values, Error> {
        let mut size = cube.shape(name)?;
        let mut start = vec![0; size.len()];
        (start[0], size[0]) = (sample as u64, 1);
        macro_rules! region {
            ($kind:ident) => {
                Values::$kind(cube.read_region(name, &start, &size)?.index_axis_move(Axis(0), 0))
            };
        }
        Ok(match cube.dtype(name)? {
            "uint8" => region!(U8),
            "int16" => region!(I16),
            "int32" => region!(I32),
            "float32" => region!(F32),
            "float64" => region!(F64),
            other => {
                return Err(Error::Variable {
                    path: cube.path().to_owned(),
                    variable: name.to_owned(),
                    expected: "numbers".into(),
                    found: other.to_owned(),
                });
            }
        })
    }
}

impl NcVar {
    pub(super) fn new(name: impl Into<String>, dims: &[&'static str], values: Values) -> NcVar {
        NcVar { name: name.into(), dims: dims.to_vec(), values, attrs: Map::new() }
    }

    pub(super) fn attr(mut self, name: &str, value: impl Into<Value>) -> NcVar {
        self.attrs.insert(name.to_owned(), value.into());
        self
    }
}

impl NcFile {
    /// Writes the file beside its place, syncs and renames it; its size.
    ///
    /// # Errors
    /// [`Error::Shared`] if the disk refuses it, [`Error::Unwritten`] if the library does. Nothing is left behind then.
    pub(super) fn write(&self, path: &Path) -> Result<u64, Error> {
        let io = |action| {
            move |source| Error::Shared(minicube::Error::Io { path: path.to_owned(), action, source })
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(io("create"))?;
        }
        let partial = partial_path(path);
        let finished = self.fill(&partial).map_err(|error| unwritten(path, &error)).and_then(|()| {
            let file = fs::File::open(&partial).map_err(io("read"))?;
            file.sync_all().map_err(io("write"))?;
            Ok(file.metadata().map_err(io("read"))?.len())
        });
        if finished.is_err() {
            // Best effort: the error that matters is the first one.
            let _ = fs::remove_file(&partial);
        }
        let bytes = finished?;
        fs::rename(&partial, path).map_err(io("rename"))?;
        Ok(bytes)
    }

    fn fill(&self, path: &Path) -> Result<(), netcdf::Error> {
        let mut file = netcdf::create(path)?;
        for (name, value) in &self.attrs {
            file.add_attribute(name, attribute(value, None))?;
        }
        for (name, len) in &self.dims {
            file.add_dimension(name, *len)?;
        }
        for var in &self.vars {
            match &var.values {
                Values::U8(values) => put(&mut file, var, values, None)?,
                Values::I16(values) => put(&mut file, var, values, None)?,
                Values::I32(values) => put(&mut file, var, values, None)?,
                Values::F32(values) => put(&mut file, var, values, Some(f32::NAN))?,
                Values::F64(values) => put(&mut file, var, values, None)?,
            }
        }
        file.close()
    }
}

fn put<T: netcdf::NcTypeDescriptor + Copy>(
    file: &mut netcdf::FileMut,
    var: &NcVar,
    values: &ArrayD<T>,
    fill: Option<T>,
) -> Result<(), netcdf::Error> {
    let mut variable = file.add_variable::<T>(&var.name, &var.dims)?;
    if values.ndim() > 1 {
        let chunk: Vec<usize> = values.shape().iter().map(|&len| len.clamp(1, CHUNK)).collect();
        variable.set_chunking(&chunk)?;
        variable.set_compression(DEFLATE, true)?;
    }
    if let (Some(fill), true) = (fill, values.ndim() > 0) {
        variable.set_fill_value(fill)?;
    }
    for (name, value) in var.attrs.iter().filter(|(name, _)| *name != "_FillValue") {
        let integers = name.starts_with("flag_").then_some(&var.values);
        variable.put_attribute(name, attribute(value, integers))?;
    }
    let values = values.as_standard_layout();
    variable.put_values(values.as_slice().unwrap_or_default(), ..)
}

/// A JSON value as an attribute; codes of flags have the type of the values that they explain.
fn attribute(value: &Value, flags_of: Option<&Values>) -> AttributeValue {
    match value {
        Value::String(text) => AttributeValue::Str(text.clone()),
        Value::Number(number) => match number.as_i64().map(i32::try_from) {
            Some(Ok(whole)) => AttributeValue::Int(whole),
            _ => AttributeValue::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::Array(list) if !list.is_empty() && list.iter().all(|item| item.as_i64().is_some()) => {
            let whole = list.iter().filter_map(Value::as_i64);
            match flags_of {
                Some(Values::U8(_)) => AttributeValue::Uchars(whole.map(|n| n as u8).collect()),
                Some(Values::I16(_)) => AttributeValue::Shorts(whole.map(|n| n as i16).collect()),
                _ => AttributeValue::Ints(whole.map(|n| n as i32).collect()),
            }
        }
        Value::Array(list) if !list.is_empty() && list.iter().all(Value::is_number) => {
            AttributeValue::Doubles(list.iter().filter_map(Value::as_f64).collect())
        }
        other => AttributeValue::Str(other.to_string()),
    }
}

/// The library tells a full disk as an error of HDF5 without a number: what the system says counts.
fn unwritten(path: &Path, error: &netcdf::Error) -> Error {
    let folder = path.parent().unwrap_or(path);
    let probe = folder.join(".room");
    let room = fs::write(&probe, [0; 4096]);
    // Best effort: an empty file in a folder that cannot be written to harms nobody.
    let _ = fs::remove_file(&probe);
    match room {
        Err(source) => Error::Shared(minicube::Error::Io { path: path.to_owned(), action: "write", source }),
        Ok(()) => Error::Unwritten { path: path.to_owned(), reason: error.to_string() },
    }
}

/// A global attribute of a file that is there and whole.
pub(super) fn text_attribute(path: &Path, name: &str) -> Option<String> {
    if !path.is_file() {
        return None;
    }
    let file = netcdf::open(path).ok()?;
    match file.attribute(name)?.value().ok()? {
        AttributeValue::Str(text) => Some(text),
        _ => None,
    }
}
