//! Reads the test vectors.

use ndarray::ArrayD;
use serde_json::Value;

/// A file of test vectors.
pub(crate) struct Golden(pub(crate) Value);

impl Golden {
    /// Reads `tests/data/<name>.json`.
    pub(crate) fn read(name: &str) -> Self {
        let path = minicube::testing::own_file("tests/data").join(format!("{name}.json"));
        Self(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
    }

    /// A stored array.
    pub(crate) fn array(&self, name: &str) -> ArrayD<f64> {
        let entry = &self.0["arrays"][name];
        assert!(entry.is_object(), "no array {name}");
        let shape: Vec<usize> = numbers(&entry["shape"]).iter().map(|v| *v as usize).collect();
        ArrayD::from_shape_vec(shape, numbers(&entry["values"])).unwrap()
    }

    /// A stored array as sets of series `[sample, time, dim]`; a trailing dimension of one is added where absent.
    pub(crate) fn series(&self, name: &str) -> ndarray::Array3<f64> {
        let array = self.array(name);
        let array = if array.ndim() == 2 { array.insert_axis(ndarray::Axis(2)) } else { array };
        array.into_dimensionality().unwrap()
    }

    /// A stored array as one series `[time, dim]`.
    pub(crate) fn one(&self, name: &str) -> ndarray::Array2<f64> {
        let array = self.array(name);
        let array = if array.ndim() == 1 { array.insert_axis(ndarray::Axis(1)) } else { array };
        array.into_dimensionality().unwrap()
    }
}

/// A JSON list of numbers.
pub(crate) fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// Fails unless `ours` is `theirs` within a relative tolerance (absolute below one).
pub(crate) fn close(ours: f64, theirs: f64, tolerance: f64, what: &str) {
    let error = (ours - theirs).abs() / theirs.abs().max(1.0);
    assert!(error <= tolerance, "{what}: ours {ours}, expected {theirs}, error {error:e}");
}
