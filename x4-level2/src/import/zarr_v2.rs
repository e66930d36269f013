//! Zarr stores of other people, version 2 or 3, a region at a time.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use minicube::decode_times;
use ndarray::{ArrayD, IxDyn};
use serde_json::{Map, Value};
use zarrs::array::{Array, ArraySubset, data_type};
use zarrs::filesystem::FilesystemStore;

use crate::Error;

/// An open store.
pub(super) struct ForeignZarr {
    path: PathBuf,
    store: Arc<FilesystemStore>,
}

impl ForeignZarr {
    /// # Errors
    /// [`Error::Unreadable`] if there is no Zarr group.
    pub(super) fn open(path: &Path) -> Result<ForeignZarr, Error> {
        let unreadable = |reason: String| Error::Unreadable { path: path.to_owned(), format: "Zarr", reason };
        if ![".zgroup", "zarr.json"].iter().any(|name| path.join(name).is_file()) {
            return Err(unreadable("expected a folder with .zgroup or zarr.json, found none of them".into()));
        }
        let store = FilesystemStore::new(path).map_err(|error| unreadable(error.to_string()))?;
        Ok(ForeignZarr { path: path.to_owned(), store: Arc::new(store) })
    }

    /// Whether there is such a variable.
    pub(super) fn has(&self, name: &str) -> bool {
        [".zarray", "zarr.json"].iter().any(|file| self.path.join(name).join(file).is_file())
    }

    /// Attributes of the store.
    pub(super) fn attrs(&self) -> Map<String, Value> {
        let read = |name: &str| -> Option<Value> {
            serde_json::from_slice(&std::fs::read(self.path.join(name)).ok()?).ok()
        };
        let attrs = read(".zattrs").or_else(|| Some(read("zarr.json")?.get("attributes")?.clone()));
        attrs.and_then(|attrs| attrs.as_object().cloned()).unwrap_or_default()
    }

    /// Shape of a variable.
    ///
    /// # Errors
    /// [`Error::Variable`] if there is none, [`Error::Unreadable`] if its metadata cannot be read.
    pub(super) fn shape(&self, name: &str) -> Result<Vec<usize>, Error> {
        Ok(self.array(name)?.shape().iter().map(|&len| len as usize).collect())
    }

    /// Length of a variable's chunks along its first axis.
    ///
    /// # Errors
    /// As [`ForeignZarr::shape`].
    pub(super) fn chunk_len(&self, name: &str) -> Result<usize, Error> {
        let array = self.array(name)?;
        let first = vec![0; array.dimensionality()];
        let shape = array.chunk_shape(&first).map_err(|error| self.unreadable(name, &error))?;
        Ok(shape.first().map_or(1, |len| len.get() as usize))
    }

    /// A region, unpacked by `scale_factor` and `add_offset`; the fill value of packed integers and of `_FillValue` is NaN.
    /// A chunk that is not there is fill.
    ///
    /// # Errors
    /// As [`ForeignZarr::shape`], and [`Error::Unreadable`] if a chunk cannot be decoded.
    pub(super) fn read(&self, name: &str, start: &[usize], size: &[usize]) -> Result<ArrayD<f64>, Error> {
        let array = self.array(name)?;
        let ranges = start.iter().zip(size).map(|(&from, &len)| from as u64..(from + len) as u64);
        let region = ArraySubset::new_with_ranges(&ranges.collect::<Vec<_>>());
        let failed = |error| self.unreadable(name, &error);
        macro_rules! numbers {
            ($t:ty) => {{
                let fill = array.fill_value().as_ne_bytes().try_into().ok().map(<$t>::from_ne_bytes);
                let stored: Vec<$t> = array.retrieve_array_subset(&region).map_err(failed)?;
                (
                    stored.into_iter().map(|value| value as f64).collect::<Vec<f64>>(),
                    fill.map(|fill| fill as f64),
                )
            }};
        }
        let dtype = array.data_type().clone();
        let (stored, array_fill) = match &dtype {
            kind if *kind == data_type::uint8() => numbers!(u8),
            kind if *kind == data_type::int16() => numbers!(i16),
            kind if *kind == data_type::uint16() => numbers!(u16),
            kind if *kind == data_type::int32() => numbers!(i32),
            kind if *kind == data_type::int64() => numbers!(i64),
            kind if *kind == data_type::float32() => numbers!(f32),
            kind if *kind == data_type::float64() => numbers!(f64),
            other => {
                return Err(self.misshapen(
                    name,
                    "integers or floating-point numbers",
                    &format!("{other:?}"),
                ));
            }
        };
        let attrs = array.attributes();
        let number = |key: &str| attrs.get(key).and_then(Value::as_f64);
        let packed = number("scale_factor").is_some();
        let fill = number("_FillValue").or(array_fill.filter(|_| packed));
        let (scale, offset) = (number("scale_factor").unwrap_or(1.0), number("add_offset").unwrap_or(0.0));
        let unpack = |value: f64| if Some(value) == fill { f64::NAN } else { value * scale + offset };
        ArrayD::from_shape_vec(IxDyn(size), stored.into_iter().map(unpack).collect())
            .map_err(|error| self.unreadable(name, &error))
    }

    /// A whole variable of one dimension.
    ///
    /// # Errors
    /// As [`ForeignZarr::read`], and [`Error::Variable`] for other dimensions.
    pub(super) fn axis(&self, name: &str) -> Result<Vec<f64>, Error> {
        match self.shape(name)?[..] {
            [len] => Ok(self.read(name, &[0], &[len])?.into_raw_vec_and_offset().0),
            ref other => Err(self.misshapen(name, "one dimension", &format!("{other:?}"))),
        }
    }

    /// Seconds since 1970 of the axis `time`.
    ///
    /// # Errors
    /// As [`ForeignZarr::axis`], and [`Error::Variable`] for units that are not known.
    pub(super) fn seconds(&self) -> Result<Vec<i64>, Error> {
        let text = |key: &str| self.text("time", key);
        let values = self.axis("time")?;
        decode_times(&text("units").unwrap_or_default(), text("calendar").as_deref(), &values)
            .map_err(|reason| self.misshapen("time", "a CF time axis", &reason))
    }

    /// An attribute of a variable.
    pub(super) fn text(&self, name: &str, key: &str) -> Option<String> {
        Some(self.array(name).ok()?.attributes().get(key)?.as_str()?.to_owned())
    }

    pub(super) fn misshapen(&self, variable: &str, expected: &str, found: &str) -> Error {
        Error::Variable {
            path: self.path.clone(),
            variable: variable.to_owned(),
            expected: expected.to_owned(),
            found: found.to_owned(),
        }
    }

    /// Names of all variables, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.path).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| self.has(name)).collect();
        names.sort();
        names
    }

    fn array(&self, name: &str) -> Result<Array<FilesystemStore>, Error> {
        if !self.has(name) {
            return Err(self.misshapen(name, "a variable of this name", &self.names().join(", ")));
        }
        Array::open(self.store.clone(), &format!("/{name}")).map_err(|error| self.unreadable(name, &error))
    }

    fn unreadable(&self, name: &str, error: &dyn std::fmt::Display) -> Error {
        Error::Unreadable { path: self.path.clone(), format: "Zarr", reason: format!("{name}: {error}") }
    }
}
