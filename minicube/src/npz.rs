//! NumPy's `.npz`: a zip of `.npy` arrays. Little-endian floats in C order, which is all that
//! EarthNet2021 and the tools around it use.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use half::f16;
use ndarray::{ArrayD, IxDyn};
use zip::ZipArchive;

use crate::Error;

/// An open `.npz` file.
pub struct Npz {
    path: PathBuf,
    archive: ZipArchive<BufReader<File>>,
}

impl Npz {
    /// Opens a file; one that was cut short is refused here, as the table of contents is at its end.
    ///
    /// # Errors
    /// [`Error::Npz`] if it is not there or no complete zip file.
    pub fn open(path: &Path) -> Result<Npz, Error> {
        let failed = |reason: String| Error::Npz { path: path.to_owned(), reason };
        let file = File::open(path).map_err(|error| failed(error.to_string()))?;
        let archive = ZipArchive::new(BufReader::new(file)).map_err(|error| failed(error.to_string()))?;
        Ok(Npz { path: path.to_owned(), archive })
    }

    /// Names of the arrays, in the order of the file.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let names = self.archive.file_names().filter_map(|name| name.strip_suffix(".npy"));
        names.map(str::to_owned).collect()
    }

    /// Shape of an array, without reading its values.
    ///
    /// # Errors
    /// [`Error::Missing`] if it is not there, [`Error::Npz`] if it is damaged.
    pub fn shape(&mut self, name: &str) -> Result<Vec<usize>, Error> {
        let path = self.path.clone();
        let mut member = self.member(name)?;
        let mut start = vec![0; 4096.min(member.size() as usize)];
        member.read_exact(&mut start).map_err(|error| unreadable(&path, name, &error.to_string()))?;
        let header = Header::parse(&start).map_err(|reason| unreadable(&path, name, &reason))?;
        Ok(header.shape)
    }

    /// Reads an array as single precision (exact for half and single).
    ///
    /// # Errors
    /// [`Error::Missing`] if it is not there, [`Error::Npz`] if it is damaged or of another type.
    pub fn read(&mut self, name: &str) -> Result<ArrayD<f32>, Error> {
        let path = self.path.clone();
        let mut member = self.member(name)?;
        let mut bytes = Vec::with_capacity(member.size() as usize);
        member.read_to_end(&mut bytes).map_err(|error| unreadable(&path, name, &error.to_string()))?;
        let header = Header::parse(&bytes).map_err(|reason| unreadable(&path, name, &reason))?;
        let values = header.values(&bytes).map_err(|reason| unreadable(&path, name, &reason))?;
        ArrayD::from_shape_vec(IxDyn(&header.shape), values)
            .map_err(|error| unreadable(&path, name, &error.to_string()))
    }

    fn member(&mut self, name: &str) -> Result<zip::read::ZipFile<'_, BufReader<File>>, Error> {
        let file = format!("{name}.npy");
        if self.archive.index_for_name(&file).is_none() {
            return Err(Error::Missing {
                path: self.path.clone(),
                name: name.to_owned(),
                found: self.names().join(", "),
            });
        }
        self.archive.by_name(&file).map_err(|error| unreadable(&self.path, name, &error.to_string()))
    }
}

fn unreadable(path: &Path, name: &str, reason: &str) -> Error {
    Error::Npz { path: path.to_owned(), reason: format!("{name}: {reason}") }
}

/// Header of an `.npy` array (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>).
struct Header {
    descr: String,
    shape: Vec<usize>,
    data: usize,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Header, String> {
        let magic = bytes.get(..6).filter(|magic| magic == b"\x93NUMPY").and(bytes.get(6));
        let size_bytes = match magic {
            Some(1) => 2,
            Some(2 | 3) => 4,
            Some(version) => return Err(format!("npy format version {version}")),
            None => return Err("not an npy array".into()),
        };
        let begin = 8 + size_bytes;
        let size = bytes.get(8..begin).ok_or("header cut short")?;
        let size = size.iter().rev().fold(0_usize, |sum, &byte| sum << 8 | usize::from(byte));
        let text = bytes.get(begin..begin + size).ok_or("header cut short")?;
        let text = String::from_utf8_lossy(text);
        let after = |key: &str| text.split_once(key).map(|(_, rest)| rest.trim_start_matches([':', ' ']));
        let descr =
            after("'descr'").and_then(|rest| rest.split('\'').nth(1)).ok_or("no descr in the header")?;
        if after("'fortran_order'").is_some_and(|rest| rest.starts_with("True")) {
            return Err("Fortran order, expected C order".into());
        }
        let shape = after("'shape'").and_then(|rest| rest.strip_prefix('(')?.split(')').next());
        let shape =
            shape.ok_or("no shape in the header")?.split(',').map(str::trim).filter(|n| !n.is_empty());
        let shape =
            shape.map(|n| n.parse::<usize>().map_err(|_| format!("shape {n}"))).collect::<Result<_, _>>()?;
        Ok(Header { descr: descr.to_owned(), shape, data: begin + size })
    }

    fn values(&self, bytes: &[u8]) -> Result<Vec<f32>, String> {
        let data = &bytes[self.data..];
        let values: Vec<f32> = match self.descr.as_str() {
            "<f2" => data.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
            "<f4" => data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            "<f8" => data.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b) as f32).collect(),
            other => return Err(format!("element type {other}, expected <f2, <f4 or <f8")),
        };
        let expected: usize = self.shape.iter().product();
        if values.len() == expected {
            Ok(values)
        } else {
            Err(format!("expected {expected} values, found {}", values.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(dict: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((dict.len() as u16).to_le_bytes());
        bytes.extend(dict.as_bytes());
        bytes.extend(data);
        bytes
    }

    /// 1.5 as half precision is sign 0, exponent 15, fraction 0.5: 0x3E00.
    #[test]
    fn reads_half_precision() {
        let bytes = npy("{'descr': '<f2', 'fortran_order': False, 'shape': (1, 2), }\n", &[0, 0x3E, 0, 0x7E]);
        let header = Header::parse(&bytes).unwrap();
        assert_eq!(header.shape, [1, 2]);
        let values = header.values(&bytes).unwrap();
        assert_eq!(values[0], 1.5);
        assert!(values[1].is_nan());
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        let parse = |dict: &str, data: &[u8]| {
            let bytes = npy(dict, data);
            Header::parse(&bytes).and_then(|header| header.values(&bytes)).unwrap_err()
        };
        let order = "{'descr': '<f2', 'fortran_order': True, 'shape': (1,), }";
        assert!(parse(order, &[0, 0]).contains("Fortran"));
        let kind = "{'descr': '>i4', 'fortran_order': False, 'shape': (1,), }";
        assert!(parse(kind, &[0; 4]).contains(">i4"));
        let short = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
        assert!(parse(short, &[0; 4]).contains("expected 2 values, found 1"));
        assert!(Header::parse(b"PK").is_err());
    }
}
