//! Parameters by name, on the host: the form in which they are saved, averaged and optimised.
//!
//! Names are module paths (`cells.0.conv.weight`) and shapes are PyTorch's, so a safetensors file written by
//! either side loads in the other.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Device, Gradients, Tensor, TensorData};
use ndarray::{ArrayD, IxDyn};
use safetensors::tensor::{Dtype, TensorView};

use crate::error::Error;
use crate::harness::{inputs, statistics};

/// Named parameter arrays, in name order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights(pub BTreeMap<String, ArrayD<f32>>);

impl Weights {
    /// Number of single parameters.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.values().map(ArrayD::len).sum()
    }

    /// The same names and shapes, all zero.
    #[must_use]
    pub fn zeros_like(&self) -> Weights {
        Weights(self.0.iter().map(|(k, v)| (k.clone(), ArrayD::zeros(v.raw_dim()))).collect())
    }

    /// Adds another set of the same names and shapes, entry by entry.
    pub fn add(&mut self, other: &Weights) {
        for (mine, theirs) in self.0.values_mut().zip(other.0.values()) {
            *mine += theirs;
        }
    }

    /// Takes the arrays of another set that have one of these names.
    pub fn replace(&mut self, other: &Weights) {
        for (name, array) in &other.0 {
            if let Some(mine) = self.0.get_mut(name) {
                mine.clone_from(array);
            }
        }
    }

    /// Keeps the part `keep` of each entry and takes the rest from another set of the same names and shapes.
    pub fn blend(&mut self, other: &Weights, keep: f64) {
        for (mine, theirs) in self.0.values_mut().zip(other.0.values()) {
            ndarray::Zip::from(mine).and(theirs).for_each(|mine, &theirs| {
                *mine = (keep * f64::from(*mine) + (1.0 - keep) * f64::from(theirs)) as f32;
            });
        }
    }

    /// Euclidean norm over all parameters together, summed in name order.
    #[must_use]
    pub fn norm(&self) -> f64 {
        self.0.values().flat_map(|a| a.iter()).map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt()
    }

    /// Multiplies every entry.
    pub fn scale(&mut self, factor: f32) {
        for array in self.0.values_mut() {
            array.map_inplace(|v| *v *= factor);
        }
    }

    /// Those whose name begins with `prefix`, with the prefix taken off.
    #[must_use]
    pub fn strip(&self, prefix: &str) -> Weights {
        Weights(
            self.0
                .iter()
                .filter_map(|(k, v)| Some((k.strip_prefix(prefix)?.to_owned(), v.clone())))
                .collect(),
        )
    }

    /// Adds `other` under a common prefix.
    pub fn insert_all(&mut self, prefix: &str, other: &Weights) {
        for (name, array) in &other.0 {
            self.0.insert(format!("{prefix}{name}"), array.clone());
        }
    }

    /// Safetensors bytes; `note` becomes the file's `__metadata__.minicube`.
    ///
    /// # Errors
    /// When the arrays cannot be encoded.
    pub fn to_bytes(&self, note: &str) -> Result<Vec<u8>, Error> {
        let raw: Vec<(&String, Vec<u8>, &[usize])> = self
            .0
            .iter()
            .map(|(k, v)| (k, v.iter().flat_map(|x| x.to_le_bytes()).collect(), v.shape()))
            .collect();
        let views = raw
            .iter()
            .map(|(k, bytes, shape)| Ok((k.as_str(), TensorView::new(Dtype::F32, shape.to_vec(), bytes)?)))
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
        // One key only: the header's order must not depend on a hash seed.
        let metadata = HashMap::from([("minicube".to_owned(), note.to_owned())]);
        views.and_then(|v| safetensors::serialize(v, Some(metadata))).map_err(Error::encode_weights)
    }

    /// Reads safetensors bytes and their note (empty where there is none). `path` is for messages.
    ///
    /// # Errors
    /// When the bytes are no safetensors file, or a tensor is not 32-bit float.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<(Weights, String), Error> {
        let bad = |reason: String| Error::WeightsFile { path: path.to_owned(), reason };
        let (_, header) = safetensors::SafeTensors::read_metadata(bytes).map_err(|e| bad(e.to_string()))?;
        let note = header.metadata().as_ref().and_then(|m| m.get("minicube")).cloned().unwrap_or_default();
        let file = safetensors::SafeTensors::deserialize(bytes).map_err(|e| bad(e.to_string()))?;
        let mut weights = BTreeMap::new();
        for (name, view) in file.tensors() {
            if view.dtype() != Dtype::F32 {
                return Err(bad(format!("{name} is {:?}, expected F32", view.dtype())));
            }
            let values =
                view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            let array =
                ArrayD::from_shape_vec(IxDyn(view.shape()), values).map_err(|e| bad(e.to_string()))?;
            weights.insert(name, array);
        }
        Ok((Weights(weights), note))
    }

    /// Reads a safetensors file.
    ///
    /// # Errors
    /// When the file cannot be read or is no safetensors file of 32-bit floats.
    pub fn read(path: &Path) -> Result<Weights, Error> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        Ok(Weights::from_bytes(&bytes, path)?.0)
    }

    /// How `found` differs from these names and shapes; nothing where it fits.
    #[must_use]
    pub fn differences(&self, found: &Weights) -> Vec<String> {
        let shape =
            |array: Option<&ArrayD<f32>>| array.map_or("nothing".to_owned(), |a| format!("{:?}", a.shape()));
        let names: std::collections::BTreeSet<&String> = self.0.keys().chain(found.0.keys()).collect();
        names
            .into_iter()
            .map(|name| (name, shape(self.0.get(name)), shape(found.0.get(name))))
            .filter(|(_, expected, found)| expected != found)
            .map(|(name, expected, found)| format!("{name}: expected {expected}, found {found}"))
            .collect()
    }
}

/// The parameters of a module.
pub(crate) fn collect<M: Module>(module: &M) -> Weights {
    let mut visitor = Collect { path: Vec::new(), gradients: None, found: BTreeMap::new() };
    module.visit(&mut visitor);
    Weights(visitor.found)
}

/// The gradients of a module's parameters after a backward pass; zero where the loss does not depend on one.
pub(crate) fn collect_gradients<M: Module>(module: &M, gradients: &Gradients) -> Weights {
    let mut visitor = Collect { path: Vec::new(), gradients: Some(gradients), found: BTreeMap::new() };
    module.visit(&mut visitor);
    Weights(visitor.found)
}

/// The running statistics that this thread's forward pass through the module noted, by name.
pub(crate) fn collect_statistics<M: Module>(module: &M) -> Weights {
    let mut noted: HashMap<ParamId, ArrayD<f32>> = statistics::take().into_iter().collect();
    if noted.is_empty() {
        return Weights::default();
    }
    let mut visitor = Named { path: Vec::new(), noted: &mut noted, found: BTreeMap::new() };
    module.visit(&mut visitor);
    Weights(visitor.found)
}

/// The module with its parameters replaced by those of `weights`, placed on `device`; they require gradients
/// where the device records them.
///
/// # Errors
/// When a parameter is missing, left over, or of another shape.
pub(crate) fn load<M: Module>(module: M, weights: &Weights, device: &Device) -> Result<M, Error> {
    let differences = collect(&module).differences(weights);
    if !differences.is_empty() {
        return Err(Error::WeightsMismatch { differences });
    }
    Ok(module.map(&mut Load { path: Vec::new(), weights, device, track: device.is_autodiff() }))
}

struct Collect<'a> {
    path: Vec<String>,
    gradients: Option<&'a Gradients>,
    found: BTreeMap<String, ArrayD<f32>>,
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let array = match self.gradients {
            None => to_array(value),
            Some(gradients) => {
                let shape = value.dims();
                value.grad(gradients).map_or_else(|| ArrayD::zeros(IxDyn(&shape)), to_array)
            }
        };
        self.found.insert(self.path.join("."), array);
    }
}

struct Named<'a> {
    path: Vec<String>,
    noted: &'a mut HashMap<ParamId, ArrayD<f32>>,
    found: BTreeMap<String, ArrayD<f32>>,
}

impl ModuleVisitor for Named<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(value) = self.noted.remove(&param.id) {
            self.found.insert(self.path.join("."), value);
        }
    }
}

struct Load<'a> {
    path: Vec<String>,
    weights: &'a Weights,
    device: &'a Device,
    track: bool,
}

impl ModuleMapper for Load<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.join(".");
        let Some(array) = self.weights.0.get(&name) else { return param };
        let tensor = from_array::<D>(array, self.device);
        if self.track {
            return Param::from_tensor(tensor);
        }
        let (id, _, mapper) = param.consume();
        Param::from_mapped_value(id, tensor, mapper)
    }
}

/// A tensor's values on the host, in C order.
pub(crate) fn to_array<const D: usize>(tensor: Tensor<D>) -> ArrayD<f32> {
    let shape = tensor.dims();
    let values = tensor.into_data().iter::<f32>().collect();
    // The count always fits the tensor's own shape, so the fallback is never taken.
    ArrayD::from_shape_vec(IxDyn(&shape), values).unwrap_or_else(|_| ArrayD::zeros(IxDyn(&shape)))
}

/// A tensor on `device`, in the numbers that it computes with, of the values of `array`, whose number of axes must be `D`.
pub(crate) fn from_array<const D: usize>(array: &ArrayD<f32>, device: &Device) -> Tensor<D> {
    inputs::watched(array, Tensor::from_data(data(array), device))
}

/// The same in 32-bit numbers, whatever the device computes with.
pub(crate) fn from_array_f32<const D: usize>(array: &ArrayD<f32>, device: &Device) -> Tensor<D> {
    Tensor::from_data(data(array), (device, DType::F32))
}

fn data(array: &ArrayD<f32>) -> TensorData {
    TensorData::new(array.iter().copied().collect(), array.shape().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_differences_are_listed() {
        let of = |list: &[(&str, &[usize])]| {
            Weights(list.iter().map(|(k, shape)| ((*k).to_owned(), ArrayD::zeros(IxDyn(shape)))).collect())
        };
        let expected = of(&[("a", &[2]), ("b", &[3, 1]), ("c", &[1])]);
        let found = of(&[("a", &[2]), ("b", &[1, 3]), ("d", &[4])]);
        assert_eq!(
            expected.differences(&found),
            [
                "b: expected [3, 1], found [1, 3]",
                "c: expected [1], found nothing",
                "d: expected nothing, found [4]"
            ]
        );
        assert!(expected.differences(&expected).is_empty());
    }
}
