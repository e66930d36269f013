//! Reading a sealed store.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ndarray::{ArrayD, Axis, IxDyn, Slice};
use serde_json::{Map, Value, json};
use zarrs::array::{Array, ArrayError, ArrayMetadata, ArraySubset, CodecError};
use zarrs::filesystem::FilesystemStore;
use zarrs::storage::{ReadableStorage, ReadableStorageTraits, StorageError};

use super::Element;
use super::remote::RemoteStore;
use super::write::file_indices;
use crate::objects::{object, read_file};
use crate::{Error, SCHEMA_VERSION};

/// Root attributes of a store.
type Attrs = Map<String, Value>;

/// Consolidated metadata: one document per group and variable, by path.
type Metadata = Map<String, Value>;

/// An open, sealed store.
pub struct Cube {
    path: PathBuf,
    store: ReadableStorage,
    attrs: Attrs,
    metadata: Metadata,
}

impl Cube {
    /// Opens a store of the named schema, in a folder or, by `s3://<bucket>/<key>`, in a bucket.
    ///
    /// # Errors
    /// - [`Error::Io`] if it is not there or has no metadata,
    /// - [`Error::Schema`] if it is of another schema or version,
    /// - [`Error::Unsealed`] if it was never completed.
    pub fn open(path: &Path, schema: &str) -> Result<Cube, Error> {
        let (attrs, metadata) = read_root(path)?;
        let text =
            |key: &str| attrs.get(key).map_or("nothing".to_owned(), |v| v.to_string().replace('"', ""));
        let found = format!("schema {} version {}", text("minicube_schema"), text("schema_version"));
        let expected = format!("schema {schema} version {SCHEMA_VERSION}");
        if found != expected {
            return Err(Error::Schema { path: path.to_owned(), expected, found });
        }
        if attrs.get("sealed") != Some(&json!(true)) {
            return Err(Error::Unsealed { path: path.to_owned() });
        }
        let store: ReadableStorage = match object(path).map_err(Error::io(path, "read"))? {
            Some((bucket, prefix)) => Arc::new(RemoteStore { bucket, prefix }),
            None => Arc::new(FilesystemStore::new(path).map_err(|error| Error::Zarr {
                path: path.to_owned(),
                variable: "/".into(),
                reason: error.to_string(),
            })?),
        };
        Ok(Cube { path: path.to_owned(), store, attrs, metadata })
    }

    /// Where the store is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Root attributes.
    #[must_use]
    pub fn attrs(&self) -> &Map<String, Value> {
        &self.attrs
    }

    /// A root attribute that must be a text.
    ///
    /// # Errors
    /// [`Error::Missing`] if it is absent or not a text.
    pub fn attr_str(&self, key: &str) -> Result<&str, Error> {
        self.attrs.get(key).and_then(Value::as_str).ok_or_else(|| self.missing(&format!("attribute {key}")))
    }

    /// A root attribute that must be a number.
    ///
    /// # Errors
    /// [`Error::Missing`] if it is absent or not a number.
    pub fn attr_f64(&self, key: &str) -> Result<f64, Error> {
        self.attrs.get(key).and_then(Value::as_f64).ok_or_else(|| self.missing(&format!("attribute {key}")))
    }

    /// Names of all variables, with their groups, sorted.
    #[must_use]
    pub fn vars(&self) -> Vec<String> {
        self.metadata
            .iter()
            .filter(|(_, m)| m["node_type"] == "array")
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Whether there is such a variable.
    #[must_use]
    pub fn has(&self, var: &str) -> bool {
        self.metadata.get(var).is_some_and(|m| m["node_type"] == "array")
    }

    /// Attributes of a variable; empty if there is none.
    #[must_use]
    pub fn var_attrs(&self, var: &str) -> Map<String, Value> {
        self.metadata.get(var).and_then(|m| m["attributes"].as_object()).cloned().unwrap_or_default()
    }

    /// Shape of a variable.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such variable.
    pub fn shape(&self, var: &str) -> Result<Vec<u64>, Error> {
        let shape = self.array_metadata(var)?["shape"].as_array();
        Ok(shape.into_iter().flatten().filter_map(Value::as_u64).collect())
    }

    /// Dimension names of a variable.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such variable.
    pub fn dims_of(&self, var: &str) -> Result<Vec<String>, Error> {
        let names = self.array_metadata(var)?["dimension_names"].as_array();
        Ok(names.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// Zarr v3 name of a variable's element type, e.g. `float32`.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such variable.
    pub fn dtype(&self, var: &str) -> Result<&str, Error> {
        Ok(self.array_metadata(var)?["data_type"].as_str().unwrap_or_default())
    }

    /// Length of a dimension; `s2/time` is that of `time` inside group `s2`.
    ///
    /// # Errors
    /// [`Error::Missing`] if no variable there has it.
    pub fn dim(&self, name: &str) -> Result<u64, Error> {
        let (group, dim) = name.rsplit_once('/').unwrap_or(("", name));
        self.vars()
            .iter()
            .filter(|var| var.rsplit_once('/').map_or("", |(g, _)| g) == group)
            .find_map(|var| {
                let axis = self.dims_of(var).ok()?.iter().position(|d| d == dim)?;
                self.shape(var).ok()?.get(axis).copied()
            })
            .ok_or_else(|| self.missing(name))
    }

    /// Reads a whole variable as stored.
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::Zarr`] (also for another element type).
    pub fn read<T: Element>(&self, var: &str) -> Result<ArrayD<T>, Error> {
        let shape = self.shape(var)?;
        self.read_region(var, &vec![0; shape.len()], &shape)
    }

    /// Reads a region as stored.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Shape`] if the region leaves the variable, or [`Error::Zarr`].
    pub fn read_region<T: Element>(
        &self,
        var: &str,
        start: &[u64],
        shape: &[u64],
    ) -> Result<ArrayD<T>, Error> {
        let full = self.shape(var)?;
        let inside = start.len() == full.len()
            && shape.len() == full.len()
            && (0..full.len()).all(|axis| start[axis] + shape[axis] <= full[axis]);
        if !inside {
            return Err(Error::Shape {
                path: self.path.clone(),
                variable: var.to_owned(),
                expected: format!("a region inside {full:?}"),
                found: format!("start {start:?}, size {shape:?}"),
            });
        }
        let array = self.array(var)?;
        let sizes: Vec<usize> = shape.iter().map(|&len| len as usize).collect();
        if let Some(files) = whole_files(&array, &full, start, shape) {
            return self.read_files(var, &array, &files, start, &sizes);
        }
        let ranges: Vec<Range<u64>> = start.iter().zip(shape).map(|(&from, &len)| from..from + len).collect();
        let elements: Vec<T> = array
            .retrieve_array_subset(&ArraySubset::new_with_ranges(&ranges))
            .map_err(|error| self.unread(var, error))?;
        ArrayD::from_shape_vec(IxDyn(&sizes), elements).map_err(|error| self.zarr_error(var, error))
    }

    /// Reads whole files one by one: unlike a part of a file, they are decoded with a look at their checksums.
    fn read_files<T: Element>(
        &self,
        var: &str,
        array: &Array<dyn ReadableStorageTraits>,
        files: &[(Vec<u64>, Vec<u64>)],
        start: &[u64],
        sizes: &[usize],
    ) -> Result<ArrayD<T>, Error> {
        let read = |index: &[u64]| -> Result<ArrayD<T>, Error> {
            array.retrieve_chunk(index).map_err(|error| self.unread(var, error))
        };
        if let [(index, _)] = files {
            let file = read(index)?;
            if file.shape() == sizes {
                return Ok(file);
            }
        }
        let mut region = ArrayD::from_elem(IxDyn(sizes), T::from_f64(0.0));
        for (index, first) in files {
            let file = read(index)?;
            let from = |axis: usize| (first[axis] - start[axis]) as usize;
            let len = |axis: usize| file.len_of(Axis(axis)).min(sizes[axis] - from(axis));
            let part = file.slice_each_axis(|axis| Slice::from(..len(axis.axis.index())));
            region
                .slice_each_axis_mut(|axis| {
                    let axis = axis.axis.index();
                    Slice::from(from(axis)..from(axis) + len(axis))
                })
                .assign(&part);
        }
        Ok(region)
    }

    /// Reads a region as physical values: `_FillValue` becomes NaN, `scale_factor` and `add_offset` are applied.
    ///
    /// # Errors
    /// As [`Cube::read_region`].
    pub fn read_f32(&self, var: &str, start: &[u64], shape: &[u64]) -> Result<ArrayD<f32>, Error> {
        let attrs = self.var_attrs(var);
        let number = |key: &str| attrs.get(key).and_then(Value::as_f64);
        let fill = number("_FillValue");
        let scale = number("scale_factor").unwrap_or(1.0);
        let offset = number("add_offset").unwrap_or(0.0);
        #[expect(clippy::cast_possible_truncation, reason = "physical values are single precision")]
        let decode = |stored: f64| {
            if Some(stored) == fill { f32::NAN } else { (stored * scale + offset) as f32 }
        };
        let dtype = self.array_metadata(var)?["data_type"].as_str().unwrap_or_default().to_owned();
        Ok(match dtype.as_str() {
            "uint8" => self.read_region::<u8>(var, start, shape)?.mapv(|v| decode(f64::from(v))),
            "uint16" => self.read_region::<u16>(var, start, shape)?.mapv(|v| decode(f64::from(v))),
            "int16" => self.read_region::<i16>(var, start, shape)?.mapv(|v| decode(f64::from(v))),
            "int32" => self.read_region::<i32>(var, start, shape)?.mapv(|v| decode(f64::from(v))),
            "int64" => self.read_region::<i64>(var, start, shape)?.mapv(|v| decode(v as f64)),
            "float64" => self.read_region::<f64>(var, start, shape)?.mapv(decode),
            _ if (fill, scale, offset) == (None, 1.0, 0.0) => self.read_region::<f32>(var, start, shape)?,
            _ => self.read_region::<f32>(var, start, shape)?.mapv_into(|v| decode(f64::from(v))),
        })
    }

    /// Reads a whole variable of texts.
    ///
    /// # Errors
    /// As [`Cube::read`].
    pub fn read_strings(&self, var: &str) -> Result<Vec<String>, Error> {
        let array = self.array(var)?;
        array.retrieve_array_subset(&array.subset_all()).map_err(|error| self.unread(var, error))
    }

    /// The variable as its consolidated metadata describe it, so that nothing is read for it again.
    fn array(&self, var: &str) -> Result<Array<dyn ReadableStorageTraits>, Error> {
        let metadata: ArrayMetadata = serde_json::from_value(self.array_metadata(var)?.clone())
            .map_err(|error| self.zarr_error(var, error))?;
        Array::new_with_metadata(self.store.clone(), &format!("/{var}"), metadata)
            .map_err(|error| self.zarr_error(var, error))
    }

    /// The metadata document of a variable; `None` if there is none.
    pub(super) fn document(&self, var: &str) -> Option<&Value> {
        self.array_metadata(var).ok()
    }

    fn array_metadata(&self, var: &str) -> Result<&Value, Error> {
        self.metadata.get(var).filter(|m| m["node_type"] == "array").ok_or_else(|| self.missing(var))
    }

    fn missing(&self, name: &str) -> Error {
        Error::Missing { path: self.path.clone(), name: name.to_owned(), found: self.vars().join(", ") }
    }

    /// Why something of a variable was not read: the system's or the object store's reason where it is one, so that a
    /// lost connection is told from a damaged store.
    fn unread(&self, var: &str, error: ArrayError) -> Error {
        match error {
            ArrayError::StorageError(StorageError::IOError(source))
            | ArrayError::CodecError(
                CodecError::IOError(source) | CodecError::StorageError(StorageError::IOError(source)),
            ) => Error::Io {
                path: self.path.join(var),
                action: "read",
                source: io::Error::new(source.kind(), source),
            },
            other => self.zarr_error(var, other),
        }
    }

    fn zarr_error(&self, var: &str, reason: impl std::fmt::Display) -> Error {
        Error::Zarr { path: self.path.clone(), variable: var.to_owned(), reason: reason.to_string() }
    }
}

/// Indices and first elements of the files that make up a region; `None` if it takes only a part of one.
fn whole_files(
    array: &Array<dyn ReadableStorageTraits>,
    full: &[u64],
    start: &[u64],
    shape: &[u64],
) -> Option<Vec<(Vec<u64>, Vec<u64>)>> {
    let unit = array.chunk_shape(&vec![0; full.len()]).ok()?;
    let unit: Vec<u64> = unit.iter().map(|len| len.get()).collect();
    let whole = (0..full.len()).all(|axis| {
        let end = start[axis] + shape[axis];
        start[axis].is_multiple_of(unit[axis]) && (end.is_multiple_of(unit[axis]) || end == full[axis])
    });
    let first = |index: &Vec<u64>| index.iter().zip(&unit).map(|(i, len)| i * len).collect();
    whole.then(|| {
        file_indices(start, shape, &unit).into_iter().map(|index| (index.clone(), first(&index))).collect()
    })
}

/// Root attributes and consolidated metadata of a store.
pub(super) fn read_root(path: &Path) -> Result<(Attrs, Metadata), Error> {
    let bytes = read_file(&path.join("zarr.json"))?;
    let mut root: Value = serde_json::from_slice(&bytes).map_err(|error| Error::Zarr {
        path: path.to_owned(),
        variable: "/".into(),
        reason: error.to_string(),
    })?;
    let take = |value: &mut Value| match value.take() {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let attrs = take(&mut root["attributes"]);
    let metadata = take(&mut root["consolidated_metadata"]["metadata"]);
    Ok((attrs, metadata))
}
