//! Golden vectors of the scores' tests.

/// `<name>.safetensors` and `<name>.json` of `tests/data`.
pub(crate) struct Golden {
    bytes: Vec<u8>,
    pub(crate) json: serde_json::Value,
}

impl Golden {
    pub(crate) fn open(name: &str) -> Golden {
        let read = |ending: &str| {
            let folder = minicube::testing::own_file("tests/data");
            std::fs::read(folder.join(format!("{name}.{ending}"))).unwrap()
        };
        Golden { bytes: read("safetensors"), json: serde_json::from_slice(&read("json")).unwrap() }
    }

    pub(crate) fn f64(&self, name: &str) -> Vec<f64> {
        self.values(name, f64::from_le_bytes)
    }

    pub(crate) fn i32(&self, name: &str) -> Vec<i32> {
        self.values(name, i32::from_le_bytes)
    }

    pub(crate) fn u8(&self, name: &str) -> Vec<u8> {
        self.values(name, |[byte]: [u8; 1]| byte)
    }

    fn values<T, const N: usize>(&self, name: &str, of: fn([u8; N]) -> T) -> Vec<T> {
        let file = safetensors::SafeTensors::deserialize(&self.bytes).unwrap();
        file.tensor(name).unwrap().data().chunks_exact(N).map(|b| of(b.try_into().unwrap())).collect()
    }
}
