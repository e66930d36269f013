//! What a store will contain: dimensions, variables, types, chunks, attributes.

use serde_json::{Map, Value, json};

use crate::{Epsg, SCHEMA_VERSION};

/// Element types of our variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DType {
    /// Unsigned 8-bit.
    U8,
    /// Unsigned 16-bit.
    U16,
    /// Signed 16-bit.
    I16,
    /// Signed 32-bit.
    I32,
    /// Signed 64-bit.
    I64,
    /// IEEE 754 single.
    F32,
    /// IEEE 754 double.
    F64,
    /// UTF-8 text; one-dimensional variables only.
    String,
}

impl DType {
    /// Bytes of an element; 0 for texts, which differ in length.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            DType::U8 => 1,
            DType::U16 | DType::I16 => 2,
            DType::I32 | DType::F32 => 4,
            DType::I64 | DType::F64 => 8,
            DType::String => 0,
        }
    }

    /// The Zarr v3 name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            DType::U8 => "uint8",
            DType::U16 => "uint16",
            DType::I16 => "int16",
            DType::I32 => "int32",
            DType::I64 => "int64",
            DType::F32 => "float32",
            DType::F64 => "float64",
            DType::String => "string",
        }
    }
}

/// A number type that a variable can hold.
pub trait Element: zarrs::array::ElementOwned + Copy + Send + Sync + 'static {
    /// The type's place in [`DType`].
    const DTYPE: DType;
    /// The nearest value of this type; NaN stays NaN in floats.
    fn from_f64(value: f64) -> Self;
    /// Writes the values as little-endian bytes, of which there must be as many.
    fn write_le(values: &[Self], bytes: &mut [u8]);
}

macro_rules! element {
    ($($t:ty => $d:ident),*) => {$(
        impl Element for $t {
            const DTYPE: DType = DType::$d;
            #[expect(clippy::allow_attributes, reason = "the cast is exact or saturating for some types only")]
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_lossless)]
            fn from_f64(value: f64) -> Self {
                value as $t
            }
            fn write_le(values: &[Self], bytes: &mut [u8]) {
                for (bytes, value) in bytes.chunks_exact_mut(size_of::<$t>()).zip(values) {
                    bytes.copy_from_slice(&value.to_le_bytes());
                }
            }
        }
    )*};
}
element!(u8 => U8, u16 => U16, i16 => I16, i32 => I32, i64 => I64, f32 => F32, f64 => F64);

/// One variable of a store.
#[derive(Clone, Debug)]
pub struct VarSpec {
    /// Name with its group: `s2/red` is variable `red` in group `s2`.
    pub name: String,
    /// Dimension names, outermost first.
    pub dims: Vec<String>,
    /// Element type.
    pub dtype: DType,
    /// Shape of a compressed chunk, cut to the variable's shape; empty = the whole variable.
    pub chunk: Vec<u64>,
    /// Shape of a shard (one file), `None` = a file a chunk. Rounded up to whole chunks.
    pub shard: Option<Vec<u64>>,
    /// Fill value: what absent chunks read as. NaN for floats unless set.
    pub fill: f64,
    /// CF attributes.
    pub attrs: Map<String, Value>,
}

impl VarSpec {
    /// A variable in one chunk, filled with NaN (floats) or 0.
    #[must_use]
    pub fn new(name: &str, dims: &[&str], dtype: DType) -> VarSpec {
        let fill = if matches!(dtype, DType::F32 | DType::F64) { f64::NAN } else { 0.0 };
        VarSpec {
            name: name.to_owned(),
            dims: dims.iter().map(|&dim| dim.to_owned()).collect(),
            dtype,
            chunk: Vec::new(),
            shard: None,
            fill,
            attrs: Map::new(),
        }
    }

    /// Sets the shape of a compressed chunk.
    #[must_use]
    pub fn chunk(mut self, chunk: &[u64]) -> VarSpec {
        self.chunk = chunk.to_vec();
        self
    }

    /// Sets the shape of a shard.
    #[must_use]
    pub fn shard(mut self, shard: &[u64]) -> VarSpec {
        self.shard = Some(shard.to_vec());
        self
    }

    /// Sets the fill value and, where it means "missing", the CF `_FillValue` by [`VarSpec::missing`].
    #[must_use]
    pub fn fill(mut self, fill: f64) -> VarSpec {
        self.fill = fill;
        self
    }

    /// Sets the fill value and says by `_FillValue` that it means "missing" (integers only; NaN does so by itself).
    #[must_use]
    pub fn missing(mut self, fill: i64) -> VarSpec {
        self.fill = fill as f64;
        self.attr("_FillValue", fill)
    }

    /// Sets one attribute.
    #[must_use]
    pub fn attr(mut self, key: &str, value: impl Into<Value>) -> VarSpec {
        self.attrs.insert(key.to_owned(), value.into());
        self
    }

    /// The group part of the name, empty for the root.
    #[must_use]
    pub fn group(&self) -> &str {
        self.name.rsplit_once('/').map_or("", |(group, _)| group)
    }
}

/// The layout of a whole store.
#[derive(Clone, Debug)]
pub struct CubeSpec {
    /// Dimension lengths. `s2/time` is the length of `time` inside group `s2`.
    pub dims: Vec<(String, u64)>,
    /// Variables.
    pub vars: Vec<VarSpec>,
    /// Root attributes.
    pub attrs: Map<String, Value>,
}

impl CubeSpec {
    /// An empty layout of the named schema (`level1`, `level2`, …).
    #[must_use]
    pub fn new(schema: &str) -> CubeSpec {
        let mut attrs = Map::new();
        attrs.insert("Conventions".into(), json!("CF-1.10"));
        attrs.insert("minicube_schema".into(), json!(schema));
        attrs.insert("schema_version".into(), json!(SCHEMA_VERSION));
        CubeSpec { dims: Vec::new(), vars: Vec::new(), attrs }
    }

    /// Adds a dimension.
    #[must_use]
    pub fn dim(mut self, name: &str, len: usize) -> CubeSpec {
        self.dims.push((name.to_owned(), len as u64));
        self
    }

    /// Adds a variable.
    #[must_use]
    pub fn var(mut self, var: VarSpec) -> CubeSpec {
        self.vars.push(var);
        self
    }

    /// Sets a root attribute.
    #[must_use]
    pub fn attr(mut self, key: &str, value: impl Into<Value>) -> CubeSpec {
        self.attrs.insert(key.to_owned(), value.into());
        self
    }

    /// Length of dimension `name` as seen from `group`.
    #[must_use]
    pub fn dim_len(&self, group: &str, name: &str) -> Option<u64> {
        let own = format!("{group}/{name}");
        let find = |key: &str| self.dims.iter().find(|(dim, _)| dim == key).map(|&(_, len)| len);
        find(&own).or_else(|| find(name))
    }

    /// Shape of a variable of this layout; `None` if a dimension has no length.
    #[must_use]
    pub fn shape_of(&self, var: &VarSpec) -> Option<Vec<u64>> {
        var.dims.iter().map(|dim| self.dim_len(var.group(), dim)).collect()
    }
}

/// Adds the scalar grid-mapping variable `crs` (CF section 5.6); geographic variables point to it by
/// `grid_mapping = "crs"`.
#[must_use]
pub fn add_crs(spec: CubeSpec, epsg: Epsg) -> CubeSpec {
    let mut crs = VarSpec::new("crs", &[], DType::I32).attr("epsg_code", format!("EPSG:{}", epsg.0));
    if let Some((zone, south)) = epsg.utm_zone() {
        crs = crs
            .attr("grid_mapping_name", "transverse_mercator")
            .attr("longitude_of_central_meridian", f64::from(zone) * 6.0 - 183.0)
            .attr("latitude_of_projection_origin", 0.0)
            .attr("scale_factor_at_central_meridian", 0.9996)
            .attr("false_easting", 500_000.0)
            .attr("false_northing", if south { 10_000_000.0 } else { 0.0 })
            .attr("semi_major_axis", 6_378_137.0)
            .attr("inverse_flattening", 298.257_223_563);
    } else {
        crs = crs.attr("grid_mapping_name", "latitude_longitude");
    }
    if let Some(wkt) = epsg.wkt() {
        crs = crs.attr("crs_wkt", wkt);
    }
    spec.var(crs)
}
