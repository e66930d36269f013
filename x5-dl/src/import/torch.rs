//! The files of `torch.save`: a ZIP archive of one pickle, which describes the objects, and one file a storage.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::rc::Rc;

use ndarray::{ArrayD, IxDyn};
use zip::ZipArchive;

use crate::harness::weights::Weights;
use crate::import::floats::Real;
use crate::import::pickle::{self, Value};

/// Keys under which a training program keeps the parameters beside other things.
const KEYS: [&str; 4] = ["state_dict", "model_state_dict", "model", "network"];
/// More axes than any tensor has.
const MAX_AXES: usize = 16;

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

/// The tensors of real numbers of a state dict, which is the file's only object or stands under one of the usual
/// keys. The error is a reason.
pub(super) fn state_dict(bytes: &[u8]) -> Result<Weights, String> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|e| e.to_string())?;
    let pickle = archive
        .file_names()
        .find(|name| *name == "data.pkl" || name.ends_with("/data.pkl"))
        .ok_or("no data.pkl in the archive")?
        .to_owned();
    let folder = pickle.strip_suffix("data.pkl").unwrap_or_default().to_owned();
    let order = format!("{folder}byteorder");
    if archive.index_for_name(&order).is_some() && entry(&mut archive, &order)? != b"little" {
        return Err("it was written on a big-endian machine".into());
    }
    let root = pickle::parse(&entry(&mut archive, &pickle)?)?;
    let dict = tensors_of(&root).ok_or("no state dict in it")?;
    let mut storages: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut found = Weights::default();
    for (name, tensor) in dict {
        let Some(real) = real(&tensor.kind) else { continue };
        if !storages.contains_key(&tensor.storage) {
            let data = entry(&mut archive, &format!("{folder}data/{}", tensor.storage))?;
            storages.insert(tensor.storage.clone(), data);
        }
        let data = storages.get(&tensor.storage).map(Vec::as_slice).unwrap_or_default();
        found
            .0
            .insert(name.clone(), array(&tensor, real, data).map_err(|reason| format!("{name}: {reason}"))?);
    }
    if found.0.is_empty() {
        return Err("no tensor of real numbers in its state dict".into());
    }
    Ok(found)
}

fn entry(archive: &mut Archive<'_>, name: &str) -> Result<Vec<u8>, String> {
    let mut file = archive.by_name(name).map_err(|e| format!("{name}: {e}"))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|e| format!("{name}: {e}"))?;
    Ok(bytes)
}

/// A tensor as a pickle describes it: a window of a storage.
struct Tensor {
    /// `FloatStorage` and so on.
    kind: String,
    storage: String,
    offset: usize,
    shape: Vec<usize>,
    stride: Vec<usize>,
}

/// The named tensors of a state dict, or of the one under a usual key.
fn tensors_of(root: &Value) -> Option<Vec<(String, Tensor)>> {
    let Value::Dict(pairs) = root else { return None };
    let pairs = pairs.borrow();
    let own: Vec<(String, Tensor)> =
        pairs.iter().filter_map(|(key, value)| Some((text(key)?, tensor(value)?))).collect();
    if !own.is_empty() {
        return Some(own);
    }
    let under = |name: &str| pairs.iter().find(|(key, _)| text(key).as_deref() == Some(name));
    KEYS.iter().find_map(|name| {
        let Value::Dict(inner) = &under(name)?.1 else { return None };
        let inner = inner.borrow();
        Some(inner.iter().filter_map(|(key, value)| Some((text(key)?, tensor(value)?))).collect())
    })
}

/// A call of PyTorch's function that makes a tensor of a storage, or of the one that makes a parameter of a tensor.
fn tensor(value: &Value) -> Option<Tensor> {
    let Value::Call(function, arguments) = value else { return None };
    let arguments = items(arguments)?;
    match function.as_str() {
        "torch._utils._rebuild_parameter" => tensor(arguments.first()?),
        "torch._utils._rebuild_tensor_v2" => {
            let [Value::Persistent(storage), offset, shape, stride, ..] = arguments.as_slice() else {
                return None;
            };
            let storage = items(storage)?;
            let [tag, Value::Global(kind), key, ..] = storage.as_slice() else { return None };
            (text(tag)? == "storage").then_some(())?;
            Some(Tensor {
                kind: kind.rsplit('.').next()?.to_owned(),
                storage: text(key)?,
                offset: size(offset)?,
                shape: items(shape)?.iter().map(size).collect::<Option<_>>()?,
                stride: items(stride)?.iter().map(size).collect::<Option<_>>()?,
            })
        }
        _ => None,
    }
}

fn real(kind: &str) -> Option<Real> {
    match kind {
        "HalfStorage" => Some(Real::F16),
        "BFloat16Storage" => Some(Real::Bf16),
        "FloatStorage" => Some(Real::F32),
        "DoubleStorage" => Some(Real::F64),
        _ => None,
    }
}

/// The values of a tensor in C order.
fn array(tensor: &Tensor, real: Real, data: &[u8]) -> Result<ArrayD<f32>, String> {
    let (shape, stride) = (&tensor.shape, &tensor.stride);
    if shape.len() != stride.len() || shape.len() > MAX_AXES {
        return Err(format!("{} axes with {} strides", shape.len(), stride.len()));
    }
    let stored = data.len() / real.width();
    let count = shape.iter().try_fold(1usize, |count, &n| count.checked_mul(n)).unwrap_or(usize::MAX);
    let reach = shape.iter().zip(stride).try_fold(tensor.offset, |reach, (&n, &step)| {
        reach.checked_add(n.saturating_sub(1).checked_mul(step)?)
    });
    let inside = count == 0 || reach.is_some_and(|last| last < stored);
    if !inside || count > stored {
        return Err(format!("shape {shape:?} leaves its storage of {stored} numbers"));
    }
    Ok(ArrayD::from_shape_fn(IxDyn(shape), |index| {
        let at = (0..shape.len()).map(|axis| index[axis] * stride[axis]).sum::<usize>() + tensor.offset;
        real.read(&data[at * real.width()..])
    }))
}

fn text(value: &Value) -> Option<String> {
    let Value::Text(text) = value else { return None };
    Some(text.clone())
}

fn size(value: &Value) -> Option<usize> {
    let Value::Int(number) = value else { return None };
    usize::try_from(*number).ok()
}

fn items(value: &Value) -> Option<Rc<Vec<Value>>> {
    let Value::Tuple(items) = value else { return None };
    Some(items.clone())
}
