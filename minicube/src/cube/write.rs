//! Building a store: lay out, write whole shards, check, seal, rename.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ndarray::{ArrayD, ArrayViewD, IxDyn, Slice};
use rayon::prelude::*;
use serde_json::{Map, Value, json};
use zarrs::array::{Array, ArrayBuilder, ArrayError, data_type};
use zarrs::filesystem::FilesystemStore;
use zarrs::group::GroupBuilder;
use zarrs::storage::StorageError;

use super::checksums::write_checksums;
use super::codecs::{CODECS, codecs};
use super::shard::{compress_chunks, shard_bytes, shard_file};
use super::upload::{remove_folder, upload};
use super::{Cube, CubeSpec, DType, Element, VarSpec, check};
use crate::files::{
    PARTIAL, append_suffix, list_files, partial_path, sha256_bytes, write_atomic, write_renamed,
};
use crate::objects::{is_url, read_file};
use crate::{Error, SCHEMA_VERSION};

const PLAN_FILE: &str = ".plan";
const DONE_FILE: &str = ".done";
const PARTS_FOLDER: &str = ".parts";

/// A store under construction in `<path>.partial`, or in another folder where its place is a bucket. Regions may be
/// written from many threads, each shard by one.
pub struct CubeWriter {
    path: PathBuf,
    partial: PathBuf,
    spec: CubeSpec,
    store: Arc<FilesystemStore>,
    done: Mutex<BTreeSet<String>>,
}

/// Whether a sealed store of this plan stands at `path`, so that there is nothing to do.
#[must_use]
pub fn is_sealed(path: &Path, plan_hash: &str) -> bool {
    let Ok(bytes) = read_file(&path.join("zarr.json")) else { return false };
    let Ok(root) = serde_json::from_slice::<Value>(&bytes) else { return false };
    let attrs = &root["attributes"];
    attrs["sealed"] == json!(true)
        && attrs["plan_hash"] == json!(plan_hash)
        && attrs["schema_version"] == json!(SCHEMA_VERSION)
}

/// Removes what a kill at the end of sealing leaves beside, or in, a sealed store: the folder that a store in a bucket was
/// built in, the notes of one in a folder, and the older store that it replaced.
///
/// # Errors
/// [`Error::Io`] if something cannot be removed.
pub fn finish_sealing(path: &Path, partial: &Path) -> Result<(), Error> {
    if is_url(path) {
        return remove_folder(partial);
    }
    for file in [DONE_FILE, PLAN_FILE] {
        let path = path.join(file);
        if path.exists() {
            fs::remove_file(&path).map_err(Error::io(&path, "remove"))?;
        }
    }
    remove_folder(&aside(path))
}

/// Where an older store waits for its removal.
fn aside(path: &Path) -> PathBuf {
    append_suffix(path, ".older")
}

impl CubeWriter {
    /// Lays out the store, or goes on with one that the same plan began and a kill interrupted.
    ///
    /// # Errors
    /// - [`Error::Io`] if the folder cannot be made,
    /// - [`Error::Missing`] if a variable uses a dimension without a length,
    /// - [`Error::Zarr`] if the layout is refused by the Zarr library.
    pub fn create(path: &Path, spec: &CubeSpec, plan_hash: &str) -> Result<CubeWriter, Error> {
        CubeWriter::create_in(path, partial_path(path), spec, plan_hash)
    }

    /// As [`CubeWriter::create`], in the folder `partial`; the store's own path may then be the URL of a place in a
    /// bucket, to which it is uploaded when it is sealed.
    ///
    /// # Errors
    /// As [`CubeWriter::create`].
    pub fn create_in(
        path: &Path,
        partial: PathBuf,
        spec: &CubeSpec,
        plan_hash: &str,
    ) -> Result<CubeWriter, Error> {
        let begun = format!("{plan_hash} {}", layout_hash(spec));
        let resumed = fs::read_to_string(partial.join(PLAN_FILE)).is_ok_and(|found| found == begun);
        if !resumed && partial.exists() {
            fs::remove_dir_all(&partial).map_err(Error::io(&partial, "remove"))?;
        }
        fs::create_dir_all(&partial).map_err(Error::io(&partial, "create"))?;
        let store = FilesystemStore::new(&partial).map_err(|error| zarr_error(path, "/", error))?;
        let mut writer = CubeWriter {
            path: path.to_owned(),
            partial,
            spec: spec.clone().attr("plan_hash", plan_hash),
            store: Arc::new(store),
            done: Mutex::default(),
        };
        if resumed {
            writer.done = Mutex::new(read_done(&writer.partial));
        } else {
            writer.lay_out()?;
            write_atomic(&writer.partial.join(PLAN_FILE), begun.as_bytes())?;
        }
        Ok(writer)
    }

    /// Writes a region. It must cover whole shards, except where the variable itself ends.
    ///
    /// # Errors
    /// - [`Error::Missing`] if there is no such variable,
    /// - [`Error::Shape`] if the region is not of whole shards, leaves the variable, or has another element type,
    /// - [`Error::Io`] if the disk refuses the bytes, [`Error::Zarr`] if the Zarr library does.
    pub fn write<T: Element>(&self, var: &str, start: &[u64], data: ArrayViewD<'_, T>) -> Result<(), Error> {
        let (spec, shape) = self.lookup(var)?;
        let unit = file_shape(spec, &shape);
        let size: Vec<u64> = data.shape().iter().map(|&len| len as u64).collect();
        self.check_region(spec, &shape, &unit, start, &size, T::DTYPE)?;
        let array = self.open(var)?;
        let files: Vec<Vec<u64>> = file_indices(start, &size, &unit);
        files.par_iter().try_for_each(|index| self.write_file(&array, spec, &unit, index, start, &data))
    }

    /// Writes a whole one-dimensional variable of texts.
    ///
    /// # Errors
    /// As [`CubeWriter::write`].
    pub fn write_strings(&self, var: &str, values: &[String]) -> Result<(), Error> {
        let (spec, shape) = self.lookup(var)?;
        self.check_region(spec, &shape, &shape, &[0], &[values.len() as u64], DType::String)?;
        if values.is_empty() {
            return Ok(());
        }
        self.open(var)?.store_chunk(&[0], values.to_vec()).map_err(|error| self.unwritten(var, error))
    }

    /// Whether `key` was marked done, in this run or in the interrupted one before.
    pub fn is_done(&self, key: &str) -> bool {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    /// Remembers on disk that the regions behind `key` are written.
    ///
    /// # Errors
    /// [`Error::Io`] if the note cannot be written.
    pub fn mark_done(&self, key: &str) -> Result<(), Error> {
        let path = self.partial.join(DONE_FILE);
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| {
                writeln!(file, "{key}")?;
                file.sync_data()
            })
            .map_err(Error::io(&path, "write"))?;
        done.insert(key.to_owned());
        Ok(())
    }

    /// Consolidates the metadata, checks the layout, marks the store sealed, lists the checksums of its files and gives it
    /// its name, in place of any older store there. In a bucket its root metadata come last.
    ///
    /// # Errors
    /// - [`Error::Violations`] if the store breaks its layout,
    /// - [`Error::Io`] or [`Error::Zarr`] if it cannot be written.
    pub fn seal(self) -> Result<Cube, Error> {
        self.consolidate()?;
        let schema = self.spec.attrs.get("minicube_schema").and_then(Value::as_str).unwrap_or_default();
        let violations = check(&self.partial, schema)?;
        if let Some(first) = violations.first() {
            return Err(Error::Violations {
                path: self.path,
                count: violations.len(),
                first: first.to_string(),
            });
        }
        let parts = self.parts_folder();
        if parts.exists() {
            fs::remove_dir_all(&parts).map_err(Error::io(&parts, "remove"))?;
        }
        remove_leftovers(&self.partial)?;
        write_checksums(&self.partial)?;
        if is_url(&self.path) {
            upload(&self.partial, &self.path)?;
            return Cube::open(&self.path, schema);
        }
        sync_all(&self.partial)?;
        if self.path.exists() {
            // Whole, under another name: killed here, the next run finds all of its work done and only renames.
            let aside = aside(&self.path);
            remove_folder(&aside)?;
            fs::rename(&self.path, &aside).map_err(Error::io(&self.path, "rename"))?;
        }
        fs::rename(&self.partial, &self.path).map_err(Error::io(&self.path, "rename"))?;
        finish_sealing(&self.path, &self.partial)?;
        Cube::open(&self.path, schema)
    }

    /// Where the store will be.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is built.
    pub(super) fn partial(&self) -> &Path {
        &self.partial
    }

    /// Where parts of shards wait to be joined.
    pub(super) fn parts_folder(&self) -> PathBuf {
        self.partial.join(PARTS_FOLDER)
    }

    fn lay_out(&self) -> Result<(), Error> {
        let mut root = GroupBuilder::new()
            .build(self.store.clone(), "/")
            .map_err(|error| zarr_error(&self.path, "/", error))?;
        *root.attributes_mut() = self.spec.attrs.clone();
        root.store_metadata().map_err(|error| self.unwritten("zarr.json", error.into()))?;
        let groups: BTreeSet<&str> =
            self.spec.vars.iter().map(VarSpec::group).filter(|g| !g.is_empty()).collect();
        for group in groups {
            GroupBuilder::new()
                .build(self.store.clone(), &format!("/{group}"))
                .map_err(|error| zarr_error(&self.path, group, error))?
                .store_metadata()
                .map_err(|error| self.unwritten(group, error.into()))?;
        }
        for var in &self.spec.vars {
            let shape = self.spec.shape_of(var).ok_or_else(|| Error::Missing {
                path: self.path.clone(),
                name: format!("{} of {}", var.dims.join(", "), var.name),
                found: self.spec.dims.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", "),
            })?;
            self.build_array(var, &shape)?;
            let mut document = self.document(&var.name)?;
            name_codecs(&mut document);
            self.write_document(&var.name, &document)?;
        }
        Ok(())
    }

    fn build_array(&self, var: &VarSpec, shape: &[u64]) -> Result<(), Error> {
        let file = file_shape(var, shape);
        let mut builder = match var.dtype {
            DType::U8 => ArrayBuilder::new(shape.to_vec(), file, data_type::uint8(), u8::from_f64(var.fill)),
            DType::U16 => {
                ArrayBuilder::new(shape.to_vec(), file, data_type::uint16(), u16::from_f64(var.fill))
            }
            DType::I16 => {
                ArrayBuilder::new(shape.to_vec(), file, data_type::int16(), i16::from_f64(var.fill))
            }
            DType::I32 => {
                ArrayBuilder::new(shape.to_vec(), file, data_type::int32(), i32::from_f64(var.fill))
            }
            DType::I64 => {
                ArrayBuilder::new(shape.to_vec(), file, data_type::int64(), i64::from_f64(var.fill))
            }
            DType::F32 => {
                ArrayBuilder::new(shape.to_vec(), file, data_type::float32(), f32::from_f64(var.fill))
            }
            DType::F64 => ArrayBuilder::new(shape.to_vec(), file, data_type::float64(), var.fill),
            DType::String => ArrayBuilder::new(shape.to_vec(), file, data_type::string(), ""),
        };
        if var.shard.is_some() {
            builder.subchunk_shape(chunk_shape(var, shape));
        }
        builder
            .bytes_to_bytes_codecs(
                codecs(var, &chunk_shape(var, shape)).map_err(|e| zarr_error(&self.path, &var.name, e))?,
            )
            .dimension_names(Some(var.dims.iter().map(String::as_str)))
            .attributes(var.attrs.clone());
        let array = builder
            .build(self.store.clone(), &format!("/{}", var.name))
            .map_err(|error| zarr_error(&self.path, &var.name, error))?;
        array.store_metadata().map_err(|error| self.unwritten(&var.name, error.into()))
    }

    pub(super) fn lookup(&self, var: &str) -> Result<(&VarSpec, Vec<u64>), Error> {
        let missing = || Error::Missing {
            path: self.path.clone(),
            name: var.to_owned(),
            found: self.spec.vars.iter().map(|v| v.name.as_str()).collect::<Vec<_>>().join(", "),
        };
        let spec = self.spec.vars.iter().find(|candidate| candidate.name == var).ok_or_else(missing)?;
        let shape = self.spec.shape_of(spec).ok_or_else(missing)?;
        Ok((spec, shape))
    }

    fn check_region(
        &self,
        var: &VarSpec,
        shape: &[u64],
        unit: &[u64],
        start: &[u64],
        size: &[u64],
        dtype: DType,
    ) -> Result<(), Error> {
        let fits = start.len() == shape.len()
            && size.len() == shape.len()
            && (0..shape.len()).all(|axis| {
                let end = start[axis] + size[axis];
                let whole = unit[axis].max(1);
                start[axis].is_multiple_of(whole)
                    && end <= shape[axis]
                    && (end.is_multiple_of(whole) || end == shape[axis])
            });
        if fits && dtype == var.dtype {
            return Ok(());
        }
        Err(Error::Shape {
            path: self.path.clone(),
            variable: var.name.clone(),
            expected: format!("{} in whole shards {unit:?} of {shape:?}", var.dtype.name()),
            found: format!("{} region at {start:?} of size {size:?}", dtype.name()),
        })
    }

    fn open(&self, var: &str) -> Result<Array<FilesystemStore>, Error> {
        Array::open(self.store.clone(), &format!("/{var}"))
            .map_err(|error| zarr_error(&self.path, var, error))
    }

    /// Writes one file (shard or chunk), padded with the fill value where the variable ends.
    fn write_file<T: Element>(
        &self,
        array: &Array<FilesystemStore>,
        var: &VarSpec,
        unit: &[u64],
        index: &[u64],
        start: &[u64],
        data: &ArrayViewD<'_, T>,
    ) -> Result<(), Error> {
        let from: Vec<usize> =
            (0..unit.len()).map(|axis| (index[axis] * unit[axis] - start[axis]) as usize).collect();
        let part = data.slice_each_axis(|axis| {
            let i = axis.axis.index();
            Slice::from(from[i]..(from[i] + unit[i] as usize).min(axis.len))
        });
        if var.shard.is_some() {
            let chunk = chunk_shape(var, array.shape());
            let failed = |error: &dyn std::fmt::Display| zarr_error(&self.path, &var.name, error);
            let compressors = codecs(var, &chunk).map_err(|error| failed(&error))?;
            let chunks = compress_chunks(var, (unit, &chunk), &compressors, &part).map_err(|e| failed(&e))?;
            let bytes = shard_bytes(&chunks).map_err(|error| failed(&error))?;
            return write_renamed(&shard_file(&self.partial, &var.name, index), &bytes);
        }
        let full: Vec<usize> = unit.iter().map(|&len| len as usize).collect();
        let elements = if part.shape() == full {
            part.iter().copied().collect::<Vec<T>>()
        } else {
            let mut padded = ArrayD::from_elem(IxDyn(&full), T::from_f64(var.fill));
            padded.slice_each_axis_mut(|axis| Slice::from(0..part.shape()[axis.axis.index()])).assign(&part);
            padded.into_raw_vec_and_offset().0
        };
        array.store_chunk(index, elements).map_err(|error| self.unwritten(&var.name, error))
    }

    /// Why something of a variable was not written: the system's reason where it is one, so that a full disk is told
    /// from a damaged store.
    fn unwritten(&self, variable: &str, error: ArrayError) -> Error {
        match error {
            ArrayError::StorageError(StorageError::IOError(source)) => Error::Io {
                path: self.partial.join(variable),
                action: "write",
                source: io::Error::new(source.kind(), source),
            },
            other => zarr_error(&self.path, variable, other),
        }
    }

    /// Adds the consolidated metadata, sorted by path, and the seal to the root's metadata document.
    fn consolidate(&self) -> Result<(), Error> {
        let groups = self.spec.vars.iter().map(VarSpec::group).filter(|group| !group.is_empty());
        let nodes: BTreeSet<&str> =
            self.spec.vars.iter().map(|var| var.name.as_str()).chain(groups).collect();
        let mut metadata = Map::new();
        for node in nodes {
            metadata.insert(node.to_owned(), self.document(node)?);
        }
        let mut root = self.document("")?;
        root["attributes"]["sealed"] = json!(true);
        root["consolidated_metadata"] =
            json!({"kind": "inline", "must_understand": false, "metadata": metadata});
        self.write_document("", &root)
    }

    pub(super) fn document(&self, node: &str) -> Result<Value, Error> {
        let path = self.partial.join(node).join("zarr.json");
        let bytes = fs::read(&path).map_err(Error::io(&path, "read"))?;
        serde_json::from_slice(&bytes).map_err(|error| zarr_error(&self.path, node, error))
    }

    fn write_document(&self, node: &str, document: &Value) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(document).map_err(|e| zarr_error(&self.path, node, e))?;
        write_atomic(&self.partial.join(node).join("zarr.json"), text.as_bytes())
    }
}

/// Writes every codec as an object. The Zarr v3 specification lets a codec without configuration be a bare name, but
/// zarr-python (3.1) reads objects only.
fn name_codecs(node: &mut Value) {
    let Some(codecs) = node.get_mut("codecs").and_then(Value::as_array_mut) else { return };
    for codec in codecs {
        if let Value::String(name) = codec {
            *codec = json!({"name": name});
        }
        if let Some(configuration) = codec.get_mut("configuration") {
            name_codecs(configuration);
            if let Some(index) = configuration.get_mut("index_codecs").map(Value::take) {
                let mut wrapped = json!({"codecs": index});
                name_codecs(&mut wrapped);
                configuration["index_codecs"] = wrapped["codecs"].take();
            }
        }
    }
}

pub(super) fn zarr_error(path: &Path, variable: &str, reason: impl std::fmt::Display) -> Error {
    Error::Zarr { path: path.to_owned(), variable: variable.to_owned(), reason: reason.to_string() }
}

/// Shape of a compressed chunk: what was asked for, cut to the variable, at least one element.
pub(super) fn chunk_shape(var: &VarSpec, shape: &[u64]) -> Vec<u64> {
    shape
        .iter()
        .enumerate()
        .map(|(axis, &len)| var.chunk.get(axis).copied().unwrap_or(len).min(len).max(1))
        .collect()
}

/// Shape of a file: a shard of whole chunks, or a chunk.
pub(super) fn file_shape(var: &VarSpec, shape: &[u64]) -> Vec<u64> {
    let chunk = chunk_shape(var, shape);
    let Some(shard) = &var.shard else { return chunk };
    (0..shape.len())
        .map(|axis| {
            let wanted = shard.get(axis).copied().unwrap_or(shape[axis]).min(shape[axis]).max(1);
            wanted.div_ceil(chunk[axis]) * chunk[axis]
        })
        .collect()
}

/// Indices of the files that a region touches, in C order.
pub(super) fn file_indices(start: &[u64], size: &[u64], unit: &[u64]) -> Vec<Vec<u64>> {
    let mut indices = vec![Vec::new()];
    for axis in 0..start.len() {
        let first = start[axis] / unit[axis];
        let end = (start[axis] + size[axis]).div_ceil(unit[axis]);
        indices = indices
            .into_iter()
            .flat_map(|prefix: Vec<u64>| {
                (first..end).map(move |i| prefix.iter().copied().chain([i]).collect::<Vec<u64>>())
            })
            .collect();
    }
    indices
}

/// Identity of a layout, codecs included: what another version of this program began is not gone on with if that lays out
/// stores in another way.
fn layout_hash(spec: &CubeSpec) -> String {
    sha256_bytes(format!("{CODECS} {spec:?}").as_bytes())
}

fn read_done(partial: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(partial.join(DONE_FILE)).unwrap_or_default();
    // A kill may have cut the last line short: only lines that ended count.
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
}

/// Removes what a kill left of files that were written but not yet renamed, the list of checksums among them: they are
/// no part of the store.
fn remove_leftovers(folder: &Path) -> Result<(), Error> {
    let mut files = Vec::new();
    list_files(folder, &mut files)?;
    files
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == PARTIAL))
        .try_for_each(|path| fs::remove_file(path).map_err(Error::io(path, "remove")))
}

fn sync_all(folder: &Path) -> Result<(), Error> {
    let mut files = Vec::new();
    list_files(folder, &mut files)?;
    files.par_iter().try_for_each(|path| {
        fs::File::open(path).and_then(|file| file.sync_all()).map_err(Error::io(path, "sync"))
    })
}
