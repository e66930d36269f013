//! A Zarr store over HTTPS: its consolidated metadata (version 2 or 3), and chunks of its arrays.

use std::ops::Range;
use std::slice::from_ref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use ndarray::ArrayD;
use serde_json::{Map, Value};
use url::Url;
use zarrs::array::{Array, ArraySubset, ElementOwned};
use zarrs::metadata::ArrayMetadata;
use zarrs::storage::store::MemoryStore;
use zarrs::storage::{StoreKey, WritableStorageTraits};

use super::files::says_absent;
use crate::net::{Http, Stop, plain};
use crate::raster::blocking;

/// How often a chunk that arrives damaged is fetched again.
const DAMAGED_TRIES: usize = 4;
/// How many arrays a message names.
const NAMED_ARRAYS: usize = 30;

/// An open store.
pub(crate) struct RemoteZarr {
    base: Url,
    /// Metadata of each array with its attributes inside, by path.
    arrays: Map<String, Value>,
}

/// One array of a store.
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) dims: Vec<String>,
    pub(crate) attributes: Map<String, Value>,
    pub(crate) shape: Vec<usize>,
    /// Shape of a chunk.
    pub(crate) chunk: Vec<usize>,
    base: Url,
    metadata: ArrayMetadata,
    packing: Packing,
}

/// From stored to physical values.
#[derive(Clone, Debug, PartialEq)]
struct Packing {
    scale: f64,
    offset: f64,
    missing: Vec<f64>,
    /// Whether a chunk that is not there has no defined values.
    is_undefined: bool,
}

/// The chunks that were taken of a store.
#[derive(Default)]
pub(crate) struct Transfer {
    /// Their lengths as they came.
    pub(crate) bytes: AtomicU64,
    pub(crate) chunks: AtomicU64,
    pub(crate) absent: AtomicU64,
}

impl Transfer {
    /// Counts a chunk by its length, `None` where it is not there.
    pub(crate) fn count(&self, length: Option<u64>) {
        self.chunks.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(length.unwrap_or(0), Ordering::Relaxed);
        self.absent.fetch_add(u64::from(length.is_none()), Ordering::Relaxed);
    }
}

impl RemoteZarr {
    /// Reads `.zmetadata` or, where there is none, `zarr.json`.
    pub(crate) async fn open(http: &Http, store: &Url) -> Result<RemoteZarr, Stop> {
        let second = below(store, ".zmetadata");
        let (url, answer) = match http.get(&second).await {
            Err(Stop::Gap(reason)) if says_absent(&reason) => {
                let third = below(store, "zarr.json");
                let answer = http.get(&third).await?;
                (third, answer)
            }
            answer => (second, answer?),
        };
        let document: Value = serde_json::from_slice(&answer.bytes)
            .map_err(|error| Stop::Gap(format!("{}: not JSON: {error}", plain(&url))))?;
        let arrays =
            arrays_of(&document).map_err(|reason| Stop::Gap(format!("{}: {reason}", plain(&url))))?;
        Ok(RemoteZarr { base: store.clone(), arrays })
    }

    /// An array by its path.
    pub(crate) fn variable(&self, name: &str) -> Result<Variable, String> {
        let place = || format!("{}/{name}", plain(&self.base));
        let document = self.arrays.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.arrays.keys().map(String::as_str).take(NAMED_ARRAYS).collect();
            let more = if self.arrays.len() > NAMED_ARRAYS { " and others" } else { "" };
            format!("{}: no such array, only {}{more}", place(), known.join(", "))
        })?;
        let metadata: ArrayMetadata = serde_json::from_value(document.clone())
            .map_err(|error| format!("{}: not the metadata of an array: {error}", place()))?;
        let attributes = document["attributes"].as_object().cloned().unwrap_or_default();
        let names = [&document["dimension_names"], &document["attributes"]["_ARRAY_DIMENSIONS"]];
        let dims: Vec<String> = names
            .into_iter()
            .find_map(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            .unwrap_or_default();
        let array = open(&metadata, Arc::new(MemoryStore::new())).map_err(|e| format!("{}: {e}", place()))?;
        let shape: Vec<usize> = array.shape().iter().map(|&len| len as usize).collect();
        let origin = vec![0; shape.len()];
        let chunk = array.chunk_shape(&origin).map_err(|error| format!("{}: {error}", place()))?;
        let chunk = chunk.iter().map(|len| len.get() as usize).collect();
        if dims.len() != shape.len() {
            return Err(format!("{}: expected names of {} dimensions, found {dims:?}", place(), shape.len()));
        }
        let packing = Packing::of(document, &attributes);
        let (name, base) = (name.to_owned(), self.base.clone());
        Ok(Variable { name, dims, attributes, shape, chunk, base, metadata, packing })
    }
}

impl Variable {
    /// A text attribute.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.attributes.get(key)?.as_str()
    }

    /// Address without credentials, for messages.
    pub(crate) fn place(&self) -> String {
        format!("{}/{}", plain(&self.base), self.name)
    }

    /// All values of a coordinate.
    pub(crate) async fn coordinate(&self, http: &Http, transfer: &Transfer) -> Result<Vec<f64>, Stop> {
        let (&[len], &[step]) = (&self.shape[..], &self.chunk[..]) else {
            let reason = format!("{}: expected one dimension, found shape {:?}", self.place(), self.shape);
            return Err(Stop::Gap(reason));
        };
        let parts: Vec<ArrayD<f64>> = stream::iter(0..len.div_ceil(step))
            .map(|index| async move {
                let end = step.min(len - index * step);
                let (values, _) = self.part(http, transfer, &[index], from_ref(&(0..end))).await?;
                Ok::<_, Stop>(values)
            })
            .buffered(http.settings.connections)
            .try_collect()
            .await?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// Address of a chunk.
    pub(crate) fn address(&self, index: &[usize]) -> Result<Url, String> {
        let index: Vec<u64> = index.iter().map(|&i| i as u64).collect();
        Ok(self.below(&self.key(&index)?))
    }

    fn key(&self, index: &[u64]) -> Result<StoreKey, String> {
        let array = open(&self.metadata, Arc::new(MemoryStore::new()));
        array.map(|array| array.chunk_key(index)).map_err(|reason| format!("{}: {reason}", self.place()))
    }

    fn below(&self, key: &StoreKey) -> Url {
        below(&self.base, &format!("{}/{}", self.name, key.as_str()))
    }

    /// Values of a part of a chunk, by ranges within it, missing ones NaN, and the length of the chunk. One that is not
    /// there has no length and holds the array's fill value.
    pub(crate) async fn part(
        &self,
        http: &Http,
        transfer: &Transfer,
        index: &[usize],
        ranges: &[Range<usize>],
    ) -> Result<(ArrayD<f64>, Option<u64>), Stop> {
        let index: Vec<u64> = index.iter().map(|&i| i as u64).collect();
        let ranges: Vec<Range<u64>> =
            ranges.iter().map(|range| range.start as u64..range.end as u64).collect();
        let key = self.key(&index).map_err(Stop::Gap)?;
        let url = self.below(&key);
        let mut damage = String::new();
        for _ in 0..DAMAGED_TRIES {
            let bytes = match http.get(&url).await {
                Ok(answer) => Some(answer.bytes),
                Err(Stop::Gap(reason)) if says_absent(&reason) => None,
                Err(stop) => return Err(stop),
            };
            let length = bytes.as_ref().map(|bytes| bytes.len() as u64);
            let (metadata, packing) = (self.metadata.clone(), self.packing.clone());
            let (key, index, ranges) = (key.clone(), index.clone(), ranges.clone());
            match blocking(move || decode(&metadata, &packing, key, bytes, &index, &ranges)).await? {
                Ok(values) => {
                    transfer.count(length);
                    return Ok((values, length));
                }
                Err(reason) => damage = reason,
            }
        }
        Err(Stop::Gap(format!("{}: damaged: {damage}", plain(&url))))
    }
}

impl Packing {
    /// By the CF attributes. Where packed numbers of version 2 have no `_FillValue`, their fill value is it: xarray
    /// keeps it there.
    fn of(document: &Value, attributes: &Map<String, Value>) -> Packing {
        let number = |key: &str| attributes.get(key).and_then(Value::as_f64);
        let fill = &document["fill_value"];
        let (scale, offset) = (number("scale_factor"), number("add_offset"));
        let is_packed = (scale.is_some() || offset.is_some()) && document["zarr_format"] == 2;
        let stored = fill.as_f64().filter(|_| is_packed);
        Packing {
            scale: scale.unwrap_or(1.0),
            offset: offset.unwrap_or(0.0),
            missing: [number("_FillValue"), number("missing_value"), stored].into_iter().flatten().collect(),
            is_undefined: fill.is_null(),
        }
    }

    fn unpack(&self, stored: f64) -> f64 {
        if self.missing.contains(&stored) { f64::NAN } else { stored * self.scale + self.offset }
    }
}

/// The metadata of the arrays in a consolidated document, by path.
fn arrays_of(document: &Value) -> Result<Map<String, Value>, String> {
    if let Some(third) = document["consolidated_metadata"]["metadata"].as_object() {
        let arrays = third.iter().filter(|(_, node)| node["node_type"] == "array");
        return Ok(arrays.map(|(path, node)| (path.clone(), node.clone())).collect());
    }
    let Some(second) = document["metadata"].as_object() else {
        return Err("expected consolidated metadata, found none".into());
    };
    let mut arrays = Map::new();
    for (key, node) in second {
        let Some(path) = key.strip_suffix("/.zarray") else { continue };
        let mut node = node.clone();
        node["attributes"] =
            second.get(&format!("{path}/.zattrs")).cloned().unwrap_or(Value::Object(Map::new()));
        arrays.insert(path.to_owned(), node);
    }
    Ok(arrays)
}

/// An address below another one; what stands in the base stays, its query included.
fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

fn open(metadata: &ArrayMetadata, store: Arc<MemoryStore>) -> Result<Array<MemoryStore>, String> {
    Array::new_with_metadata(store, "/", metadata.clone()).map_err(|error| error.to_string())
}

/// Unpacks a part of a chunk, with a store that holds nothing but this chunk.
fn decode(
    metadata: &ArrayMetadata,
    packing: &Packing,
    key: StoreKey,
    bytes: Option<Bytes>,
    index: &[u64],
    ranges: &[Range<u64>],
) -> Result<ArrayD<f64>, String> {
    let is_there = bytes.is_some();
    let store = Arc::new(MemoryStore::new());
    if let Some(bytes) = bytes {
        store.set(&key, bytes).map_err(|error| error.to_string())?;
    }
    let array = open(metadata, store)?;
    let subset = ArraySubset::new_with_ranges(ranges);
    let kind = array.data_type().name_v3().map(|name| name.into_owned()).unwrap_or_default();
    let stored = match kind.as_str() {
        "float32" => numbers::<f32>(&array, index, &subset, f64::from),
        "float64" => numbers::<f64>(&array, index, &subset, |value| value),
        "int8" => numbers::<i8>(&array, index, &subset, f64::from),
        "int16" => numbers::<i16>(&array, index, &subset, f64::from),
        "int32" => numbers::<i32>(&array, index, &subset, f64::from),
        "int64" => numbers::<i64>(&array, index, &subset, |value| value as f64),
        "uint8" => numbers::<u8>(&array, index, &subset, f64::from),
        "uint16" => numbers::<u16>(&array, index, &subset, f64::from),
        "uint32" => numbers::<u32>(&array, index, &subset, f64::from),
        "uint64" => numbers::<u64>(&array, index, &subset, |value| value as f64),
        other => Err(format!("expected numbers, found the type {other}")),
    }?;
    let undefined = packing.is_undefined && !is_there;
    Ok(stored.mapv_into(|value| if undefined { f64::NAN } else { packing.unpack(value) }))
}

fn numbers<T: ElementOwned + Copy>(
    array: &Array<MemoryStore>,
    index: &[u64],
    subset: &ArraySubset,
    convert: fn(T) -> f64,
) -> Result<ArrayD<f64>, String> {
    let values: ArrayD<T> = array.retrieve_chunk_subset(index, subset).map_err(|error| error.to_string())?;
    Ok(values.mapv(convert))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn store(document: &Value) -> RemoteZarr {
        let base = Url::parse("https://host/era5.zarr?key=1").unwrap();
        RemoteZarr { base, arrays: arrays_of(document).unwrap() }
    }

    #[test]
    fn both_versions_say_the_same() {
        let second = json!({"zarr_consolidated_format": 1, "metadata": {
            ".zgroup": {"zarr_format": 2},
            "t/.zarray": {"zarr_format": 2, "shape": [5, 4], "chunks": [2, 4], "dtype": ">i2", "order": "C",
                          "compressor": null, "filters": null, "fill_value": -1},
            "t/.zattrs": {"_ARRAY_DIMENSIONS": ["time", "latitude"], "units": "K", "scale_factor": 0.5}}});
        let third = json!({"zarr_format": 3, "node_type": "group", "consolidated_metadata": {"metadata": {
            "t": {"zarr_format": 3, "node_type": "array", "shape": [5, 4],
                  "data_type": "int16", "fill_value": -1,
                  "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 4]}},
                  "chunk_key_encoding": {"name": "default"},
                  "codecs": [{"name": "bytes", "configuration": {"endian": "big"}}],
                  "dimension_names": ["time", "latitude"],
                  "attributes": {"units": "K", "scale_factor": 0.5, "_FillValue": -1}}}}});
        for (document, key) in [(second, "1.0"), (third, "c/1/0")] {
            let variable = store(&document).variable("t").unwrap();
            assert_eq!(
                (variable.dims.clone(), variable.text("units")),
                (vec!["time".into(), "latitude".into()], Some("K"))
            );
            assert_eq!((variable.shape.clone(), variable.chunk.clone()), (vec![5, 4], vec![2, 4]));
            let array = open(&variable.metadata, Arc::new(MemoryStore::new())).unwrap();
            assert_eq!(array.chunk_key(&[1, 0]).as_str(), key);
            // Rows 0..2 of big-endian numbers 0, 1, …, 6, -1; the part is row 1, columns 2 and 3.
            let bytes: Vec<u8> = [0_i16, 1, 2, 3, 4, 5, 6, -1].iter().flat_map(|n| n.to_be_bytes()).collect();
            let key = array.chunk_key(&[1, 0]);
            let part = |bytes| {
                decode(&variable.metadata, &variable.packing, key.clone(), bytes, &[1, 0], &[1..2, 2..4])
            };
            let values = part(Some(bytes.clone().into())).unwrap();
            assert!(values.shape() == [1, 2] && values[[0, 0]] == 3.0 && values[[0, 1]].is_nan(), "{values}");
            assert!(part(None).unwrap().iter().all(|value| value.is_nan()), "a chunk of fill values");
            assert!(part(Some(bytes[..7].to_vec().into())).is_err(), "too short");
        }
    }

    #[test]
    fn addresses_and_unknown_arrays() {
        let base = Url::parse("https://host/a/era5.zarr/?key=1").unwrap();
        assert_eq!(below(&base, "t/0.0").as_str(), "https://host/a/era5.zarr/t/0.0?key=1");
        let store = store(&json!({"metadata": {"t/.zarray": {}}}));
        assert!(store.variable("x").err().unwrap().contains("only t"));
        assert!(store.variable("t").err().unwrap().contains("not the metadata"));
        assert!(arrays_of(&json!({"zarr_format": 3})).unwrap_err().contains("consolidated"));
    }
}
